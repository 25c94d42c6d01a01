from libc.stdint cimport int32_t, int64_t

from charl.runtime.abi cimport charl_kernel_t, charl_launch_t


cdef int32_t parallel(
    charl_kernel_t fn, charl_launch_t* launch, int64_t units, int32_t max_threads
) noexcept nogil
cpdef int32_t num_threads() noexcept nogil
cpdef int set_num_threads(int32_t n) except -1
