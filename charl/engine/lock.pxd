# cython: language_level=3
cdef enum:
    NESTING = 4  # how deep runs nest on one thread

cdef bint awaits_compile  # the owner waits for the compile thread

cdef int enter() except -1
cdef void leave() noexcept
