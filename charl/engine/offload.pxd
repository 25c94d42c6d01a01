# cython: language_level=3
from libc.stdint cimport int64_t

from charl.engine.walk cimport state_t
from charl.runtime.buffer cimport Buffer
from charl.runtime.launch cimport Plan

cdef list run(state_t *s, Plan plan)
cdef object allocated(int64_t nbytes, int device)
cdef object uploaded(Buffer buffer, int device)
cdef int read(object value, Buffer into) except -1
