cdef void* pool_alloc(size_t nbytes) noexcept nogil
cdef void pool_free(void* block, size_t nbytes) noexcept nogil
