# cython: language_level=3
"""The interpreter's programs, which csrc/interp.c runs through the launch ABI."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from charl.runtime.abi cimport charl_kernel_t, charl_launch_t

cdef extern from "interp.h" nogil:
    int32_t charl_interp_run(charl_launch_t *launch, int64_t begin, int64_t end) noexcept
    const char *charl_interp_check(const void *program, int64_t nbytes) noexcept
    const char charl_loop_hash[]

OPS_HASH = charl_loop_hash.decode()  # of the op table that the element loops were generated from
ENTRY = <uintptr_t>&charl_interp_run  # the address of the kernel that runs Bytecode


cdef charl_kernel_t interp_entry() noexcept nogil:
    """The kernel to launch with launch.code = Bytecode.code."""
    return charl_interp_run


cdef class Bytecode:
    """A checked program (charl.codegen.bytecode.Encoded). It must outlive all launches of it.

    Raises ValueError if an index in it is out of range or it was made for another op table.
    """

    def __cinit__(self, encoded):
        cdef bytes program = encoded.program
        self.nbytes = PyBytes_GET_SIZE(program)
        self.code = malloc(max(self.nbytes, 1))
        if self.code == NULL:
            raise MemoryError
        memcpy(self.code, PyBytes_AS_STRING(program), self.nbytes)
        cdef const char *wrong = charl_interp_check(self.code, self.nbytes)
        if wrong != NULL:
            raise ValueError(f"Bytecode: {wrong.decode()}")
        self.scratch_bytes = encoded.scratch_bytes
        self.params = encoded.params
        self.buffers = encoded.buffers

    def __dealloc__(self):
        free(self.code)

    @property
    def address(self):
        """Where the program lies: launch.code."""
        return <uintptr_t>self.code
