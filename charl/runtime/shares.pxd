# cython: language_level=3
from libc.stdint cimport int32_t, int64_t

from charl.runtime.abi cimport charl_kernel_t, charl_launch_t

ctypedef struct timing_t:
    double nanoseconds  # of the launch on one thread; 0 until it was measured
    int32_t samples

cdef int32_t threads_for(
    timing_t *timing, int64_t units, int64_t work, double estimated, bint machine, bint *timed
) noexcept
cdef bint is_alone(timing_t *timing, int64_t work, double estimated) noexcept
cdef int32_t launched(
    charl_kernel_t fn, charl_launch_t *launch, int64_t units, int32_t threads, timing_t *timed
) noexcept nogil
