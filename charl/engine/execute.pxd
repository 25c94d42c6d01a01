# cython: language_level=3
from charl.engine.walk cimport state_t
from charl.runtime.launch cimport Plan

cdef int run(state_t *s, Plan plan) except -1
cdef int begin_compiles() except -1
