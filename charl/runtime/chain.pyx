# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Chains at a launch: several kernels, item by item of a batch. charl.schedule.chain finds them.

A thread's scratch begins with its own buffer pointers, a row of them a step, and the places of what it fetches;
then come the strips, which hold one item each of what only the chain reads; then the kernels' own scratch.
"""

from libc.stdint cimport int32_t, int64_t, uintptr_t

from charl.runtime.abi cimport charl_launch_t

cdef extern from *:
    """
    static inline void charl_fetch(uintptr_t at) {
        __builtin_prefetch((const void *)at, 0, 2);
        __asm__ volatile(""); /* GCC drops calls of a function that does nothing but prefetch */
    }
    """
    void charl_fetch(uintptr_t at) noexcept nogil

cdef enum:
    LINE = 64


cdef int32_t run_chain(charl_launch_t *launch, int64_t begin, int64_t end) noexcept nogil:
    """All steps of a chain for items [begin, end) of its walk, one item after the other: what one step makes of it,
    the next finds in the cache. Kernels index as if the whole were there, so a strip's address is that of item 0.
    """
    cdef chain_t *chain = <chain_t *>launch.code
    cdef link_t *link
    cdef charl_launch_t local = launch[0]
    cdef void **pointers
    cdef uintptr_t *ahead = <uintptr_t *>(launch.scratch + chain.pointer_bytes) - chain.nreads
    cdef char *strips = launch.scratch + chain.pointer_bytes
    cdef int64_t n, item, following, pieces, piece, start
    cdef int32_t code
    cdef int k, j
    local.scratch = strips + chain.strip_bytes
    local.scratch_bytes = launch.scratch_bytes - chain.pointer_bytes - chain.strip_bytes
    following = _turned(chain, begin)
    for n in range(begin, end):
        item, following = following, _turned(chain, min(n + 1, chain.items - 1))
        _look_ahead(chain, item, following, ahead)
        pointers = <void **>launch.scratch
        for k in range(chain.count):
            link = &chain.links[k]
            for j in range(link.nbuffers):
                pointers[j] = link.buffers[j]
                if link.strips[j] >= 0:
                    pointers[j] = strips + link.strips[j] - item * link.chunks[j]
            local.buffers, local.params, local.code = pointers, link.params, link.code
            pieces = chain.pieces if k == chain.resting else 1
            start = item * link.units
            for piece in range(pieces):
                code = link.fn(&local, start + link.units * piece // pieces, start + link.units * (piece + 1) // pieces)
                if code:
                    launch.error = local.error
                    return code
                if pieces > 1:
                    _fetch(chain, ahead, piece)
            pointers += link.nbuffers
    return 0


cdef int64_t _turned(chain_t *chain, int64_t n) noexcept nogil:
    """The n-th item of the walk."""
    cdef int64_t block = chain.extent * chain.inside, rest = n % block
    return n - rest + rest % chain.extent * chain.inside + rest // chain.extent


cdef void _look_ahead(chain_t *chain, int64_t item, int64_t following, uintptr_t *ahead) noexcept nogil:
    """Where what the next item reads begins; 0 where this one reads the same."""
    cdef read_t *read
    cdef int64_t here, there, step, a, b
    cdef int k, axis
    for k in range(chain.nreads):
        read = &chain.reads[k]
        here, there, a, b = 0, 0, item, following
        for axis in range(read.naxes - 1, -1, -1):
            step = read.outer[2 * axis + 1]
            here += a % read.outer[2 * axis] * step
            there += b % read.outer[2 * axis] * step
            a, b = a // read.outer[2 * axis], b // read.outer[2 * axis]
        ahead[k] = 0
        if here != there:
            ahead[k] = <uintptr_t>chain.links[read.link].buffers[read.arg] + <uintptr_t>(read.offset + there)


cdef void _fetch(chain_t *chain, uintptr_t *ahead, int64_t piece) noexcept nogil:
    """One piece's share of the next item's operands."""
    cdef read_t *read
    cdef int64_t row, line
    cdef int k
    for k in range(chain.nreads):
        read = &chain.reads[k]
        if ahead[k] == 0:
            continue
        for row in range(piece * read.each, min((piece + 1) * read.each, read.rows)):
            for line in range(read.lines):
                charl_fetch(ahead[k] + <uintptr_t>(row * read.apart + line * LINE))
