# cython: language_level=3
from libc.stdint cimport int64_t

from charl.engine.walk cimport state_t
from charl.runtime.launch cimport Plan

cdef int64_t structure_hits

cdef Plan plan_for(state_t *s)
