cdef class Buffer:
    """Memory of a value: the pool's where `lender` is None, else the lender's, kept alive."""

    cdef void* data  # never NULL
    cdef readonly size_t nbytes
    cdef readonly object lender
    cdef readonly int exports  # holders outside charl that see this memory


cpdef Buffer buffer_new(size_t nbytes)
cdef Buffer buffer_borrow(void* data, size_t nbytes, object lender)
