# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""How many threads share a launch: as many as get work worth handing out.

What a launch of machine code takes on one thread is measured while it runs, and so is, once, what handing work to
threads takes on this host. An estimate only says which launches to time: not the tiny ones, and not those that surely
want all threads. No value depends on any of this.
"""

from libc.stdint cimport int32_t, int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from charl.runtime.abi cimport CHARL_ABI, charl_kernel_t, charl_launch_t
from charl.runtime.threads cimport num_threads, parallel

cdef enum:
    UNMEASURED_WORK = 65536  # of a thread, where no time is known
    FIRST_SAMPLES = 4        # launches of a step that are timed, and then every so manieth
    SAMPLE_EVERY = 64
cdef double TINY_NS = 500
cdef double SAMPLED_NS = 100_000
cdef double LEAST_SHARE_NS = 600
cdef double _share_ns = 0    # that a thread must get: twice what an empty launch takes
cdef int _share_threads = 0  # for which it was measured
cdef int64_t _parallel_work = 0


def set_parallel_work(int64_t work):
    """Element operations that each thread must at least get; 0: by the time that launches take."""
    global _parallel_work
    _parallel_work = work


cdef int32_t threads_for(
    timing_t *timing, int64_t units, int64_t work, double estimated, bint machine, bint *timed
) noexcept:
    """The threads of a launch, whose nanoseconds are estimated. timed: whether to time it, on its one thread."""
    cdef int64_t most = min(units, num_threads()), each = _parallel_work if _parallel_work else UNMEASURED_WORK
    cdef bint known = machine and _parallel_work == 0
    timed[0] = False
    if most < 2 or known and estimated < TINY_NS:
        return 1
    if not known or timing.nanoseconds == 0 and estimated >= SAMPLED_NS:
        return <int32_t>max(1, min(most, work // each))
    timing.samples += 1
    timed[0] = timing.nanoseconds < SAMPLED_NS and (
        timing.samples <= FIRST_SAMPLES or timing.samples % SAMPLE_EVERY == 0
    )
    if timed[0] or timing.nanoseconds < 2 * LEAST_SHARE_NS:
        timed[0] = True
        return 1
    most = min(most, <int64_t>(timing.nanoseconds / _share()))
    timed[0] = most < 2
    return <int32_t>max(1, most)


cdef bint is_alone(timing_t *timing, int64_t work, double estimated) noexcept:
    """Whether a launch of machine code gets one thread, untimed."""
    if num_threads() < 2:
        return True
    if _parallel_work:
        return work < 2 * _parallel_work
    return estimated < TINY_NS or 0 < timing.nanoseconds < 2 * LEAST_SHARE_NS


cdef int32_t launched(
    charl_kernel_t fn, charl_launch_t *launch, int64_t units, int32_t threads, timing_t *timed
) noexcept nogil:
    """One launch; the time that it takes on one thread is kept in `timed`, if given."""
    cdef double time
    cdef int32_t code
    if threads > 1:
        return parallel(fn, launch, units, threads)
    if timed == NULL:
        return fn(launch, 0, units)
    time = _now()
    code = fn(launch, 0, units)
    time = _now() - time
    if timed.nanoseconds > 0:  # other programs make it longer, never shorter
        time = min(time, 1.05 * timed.nanoseconds)
    timed.nanoseconds = time
    return code


cdef double _now() noexcept nogil:
    """Nanoseconds of a clock that never goes back."""
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return 1e9 * at.tv_sec + at.tv_nsec


cdef int32_t _nothing(charl_launch_t *launch, int64_t begin, int64_t end) noexcept nogil:
    return 0


cdef double _share() noexcept:
    """Nanoseconds of work that make up for handing it to another thread, on this host."""
    global _share_ns, _share_threads
    cdef charl_launch_t launch
    cdef double least = 1e6, time
    cdef int threads = num_threads()
    if threads != _share_threads:
        launch.abi, launch.scratch, launch.scratch_bytes = CHARL_ABI, NULL, 0
        for _ in range(32):
            time = _now()
            parallel(_nothing, &launch, 64 * threads, threads)
            least = min(least, _now() - time)
        _share_ns, _share_threads = max(2 * least, LEAST_SHARE_NS), threads
    return _share_ns
