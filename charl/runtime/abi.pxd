# csrc/charl.h, the launch ABI, for Cython.
from libc.stdint cimport int32_t, int64_t


cdef extern from "charl.h" nogil:
    const int32_t CHARL_ABI
    const int32_t CHARL_OK
    const int32_t CHARL_EINDEX
    const int32_t CHARL_ENOMEM
    const int32_t CHARL_EABI
    const int32_t CHARL_EINTERRUPT

    ctypedef struct charl_error_t:
        int64_t site
        int64_t index
        int64_t extent

    ctypedef struct charl_launch_t:
        void **buffers
        const int64_t *params
        char *scratch
        const void *code
        charl_error_t error
        int64_t scratch_bytes
        int32_t abi
        int32_t thread
        int32_t nthreads
        int32_t backward

    ctypedef int32_t (*charl_kernel_t)(
        charl_launch_t *launch, int64_t begin, int64_t end
    ) noexcept nogil
