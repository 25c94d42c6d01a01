# cython: language_level=3
from libc.stdint cimport int64_t

from charl.runtime.launch cimport Plan

cdef int64_t hits, misses
cdef Py_ssize_t plans  # how many there are

cdef Plan find(const int64_t *key, Py_ssize_t words)
cdef int remember(const int64_t *key, Py_ssize_t words, Plan plan) except -1
cdef void clear() noexcept
