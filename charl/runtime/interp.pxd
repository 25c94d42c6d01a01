# cython: language_level=3
from libc.stdint cimport int64_t

from charl.runtime.abi cimport charl_kernel_t


cdef class Bytecode:
    cdef void *code                       # a copy of the program, aligned
    cdef readonly int64_t nbytes
    cdef readonly int64_t scratch_bytes   # of one thread, beyond the kernel's slots
    cdef readonly int params              # how many launch parameters and buffers it reads
    cdef readonly int buffers

cdef charl_kernel_t interp_entry() noexcept nogil
