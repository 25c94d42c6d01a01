from libc.stdint cimport int64_t


cdef class Raw:
    cdef readonly object handle
    cdef readonly int64_t nbytes
    cdef readonly int64_t number


cdef class DeviceBuffer:
    cdef object __weakref__
    cdef readonly object device
    cdef DevicePool pool
    cdef readonly Raw raw
    cdef readonly int64_t nbytes


cdef class DevicePool:
    cdef readonly object freed
    cdef public int64_t limit
    cdef object _create
    cdef object _forget
    cdef int64_t _largest
    cdef dict _free
    cdef int64_t _numbers
    cdef int64_t _live
    cdef int64_t _kept
    cdef int64_t _peak
    cdef int64_t _count
    cpdef Raw take(self, int64_t nbytes)
    cdef Raw _lend(self, Raw raw)
    cdef int _collect(self) except -1
    cdef int _shrink(self, int64_t most) except -1


cpdef int64_t size_class(int64_t nbytes) noexcept
