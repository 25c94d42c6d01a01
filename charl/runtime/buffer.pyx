"""Buffer: owned or borrowed memory of a realized value."""

cimport cython
from cpython.object cimport PyObject, PyTypeObject, destructor

from charl.runtime.pool cimport pool_alloc, pool_free

import gc

from charl.runtime.pool import shortage, trim


cdef extern from "Python.h":
    void Py_SET_REFCNT(PyObject*, Py_ssize_t)


cdef void* EMPTY = pool_alloc(0)


# no_gc: the one reference is the lender; one that refers back to its own Buffer leaks.
@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Buffer:
    """`nbytes` bytes at `address`, 64-byte aligned where the pool owns them: see buffer_new."""

    def __cinit__(self):
        self.data = EMPTY

    @property
    def address(self) -> int:
        """Where the memory starts; never 0."""
        return <size_t>self.data

    def __reduce__(self):
        raise TypeError("Buffer: memory cannot be pickled; pickle the Tensor")

    def __repr__(self) -> str:
        kind = "owned" if self.lender is None else f"lent by {type(self.lender).__name__}"
        return f"<Buffer {self.nbytes} bytes at {<size_t>self.data:#x}, {kind}>"


cdef destructor _drop_fields = (<PyTypeObject*>Buffer).tp_dealloc


cdef void _dealloc(PyObject* self) noexcept:
    """Buffer's tp_dealloc, before Cython's: a __dealloc__ would save and restore the error in flight, for nothing."""
    if (<Buffer>self).lender is None:
        pool_free((<Buffer>self).data, (<Buffer>self).nbytes)
    _drop_fields(self)


(<PyTypeObject*>Buffer).tp_dealloc = _dealloc


cdef void* alloc_hard(size_t nbytes) except NULL:
    """After a failure: collects garbage, gives cached memory back, tries again."""
    cdef void* data
    gc.collect()
    trim()
    data = pool_alloc(nbytes)
    if data is NULL:
        raise MemoryError(shortage(nbytes))
    return data


cpdef Buffer buffer_new(size_t nbytes):
    """A Buffer of nbytes that the pool owns, not cleared.

    Raises MemoryError, which names the largest live blocks, once garbage is collected and cached
    memory given back.
    """
    cdef Buffer buffer = Buffer.__new__(Buffer)
    cdef void* data = pool_alloc(nbytes)
    buffer.data = data if data is not NULL else alloc_hard(nbytes)
    buffer.nbytes = nbytes
    return buffer


cdef Buffer buffer_borrow(void* data, size_t nbytes, object lender):
    """A Buffer on the lender's memory. It keeps the lender alive and frees nothing itself."""
    if lender is None:
        raise ValueError("buffer_borrow: lender is None, must be the object that owns the memory")
    if data is NULL and nbytes:
        raise ValueError(f"buffer_borrow: {nbytes} bytes at address 0")
    cdef Buffer buffer = Buffer.__new__(Buffer)
    if data is not NULL:
        buffer.data = data
    buffer.nbytes = nbytes
    buffer.lender = lender
    return buffer
