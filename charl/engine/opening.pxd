# cython: language_level=3
from charl.engine.walk cimport state_t

cdef class Work:
    cdef readonly list nodes   # sources first
    cdef readonly list flags   # of each of them, as the walk's headers have them
    cdef readonly list places  # their numbers in the walk; -1: a template's
    cdef list scalars          # for each constant its number in the walk, or -1 and its bits: pairs

cdef Work opened(state_t *s)
