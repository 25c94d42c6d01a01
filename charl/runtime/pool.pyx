"""The memory of every Buffer (csrc/pool.c): statistics, limit, trim, fault injection."""

from libc.stdint cimport int64_t, uint64_t


cdef extern from "pool.h" nogil:
    ctypedef struct charl_pool_stats_t:
        size_t in_use
        size_t cached
        size_t peak
        size_t limit
        uint64_t allocations
        uint64_t hits
        uint64_t failures
        uint64_t bad_frees

    void* charl_pool_alloc(size_t nbytes)
    void charl_pool_free(void* block, size_t nbytes)
    void charl_pool_stats(charl_pool_stats_t* out)
    void charl_pool_reset_peak()
    size_t charl_pool_trim()
    void charl_pool_set_limit(size_t nbytes)
    void charl_pool_fail_after(int64_t successes, int64_t failures)
    size_t charl_pool_largest(size_t* sizes, size_t count)


cdef enum:
    NAMED = 5  # how many of the largest blocks an error names


cdef void* pool_alloc(size_t nbytes) noexcept nogil:
    return charl_pool_alloc(nbytes)


cdef void pool_free(void* block, size_t nbytes) noexcept nogil:
    charl_pool_free(block, nbytes)


def stats() -> dict:
    """What the pool holds and has done: a dict of ints, sizes in bytes of whole blocks.

    in_use: live. cached: held for reuse. peak: the most that was out at once, threads' caches of
    small blocks included. limit: on what is out, 0 for none. allocations; hits: those that asked
    the system for nothing; failures. bad_frees: of what was not allocated: a bug of charl if not 0.
    """
    cdef charl_pool_stats_t s
    with nogil:
        charl_pool_stats(&s)
    return s


def reset_peak() -> None:
    """Lets `peak` start again from what is out now."""
    with nogil:
        charl_pool_reset_peak()


def trim() -> int:
    """Gives cached memory back to the system. Returns the bytes given back."""
    cdef size_t freed
    with nogil:
        freed = charl_pool_trim()
    return freed


def set_limit(size_t nbytes) -> None:
    """Sets how many bytes may be out at once; 0 for no limit. What is out already stays."""
    with nogil:
        charl_pool_set_limit(nbytes)


def fail_after(int64_t successes, int64_t failures=-1) -> None:
    """Fault injection: after `successes` more allocations the next `failures` ones fail.

    failures < 0: all of them, until the next call. successes < 0 ends the injection.
    """
    with nogil:
        charl_pool_fail_after(successes, failures)


def largest() -> tuple[list[int], int]:
    """Sizes in bytes of the largest live blocks, largest first, and how many blocks qualify.

    Only blocks over 2 MiB are looked at, and five at most are listed.
    """
    cdef size_t sizes[NAMED]
    cdef size_t live, k
    with nogil:
        live = charl_pool_largest(sizes, NAMED)
    return [sizes[k] for k in range(min(live, <size_t>NAMED))], live


def readable(nbytes: int) -> str:
    """`1.5 GiB` for a number of bytes."""
    if nbytes < 1024:
        return f"{nbytes} bytes"
    size, unit = nbytes / 1024, 0
    while size >= 1024 and unit < 5:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {('KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB')[unit]}"


def shortage(nbytes: int) -> str:
    """The text of a MemoryError: what was asked, what is out, how large the largest blocks are."""
    now = stats()
    limit = readable(now["limit"]) if now["limit"] else "none"
    sizes, live = largest()
    text = (
        f"allocate: no memory for {readable(nbytes)} ({nbytes} bytes); "
        f"{readable(now['in_use'])} in use, {readable(now['cached'])} cached, limit {limit}"
    )
    if not sizes:
        return f"{text}; no live block is over 2 MiB"
    others = f" and {live - len(sizes)} more over 2 MiB" if live > len(sizes) else ""
    return f"{text}; largest live blocks: {', '.join(map(readable, sizes))}{others}"
