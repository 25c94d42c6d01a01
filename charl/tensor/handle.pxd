# cython: language_level=3
from libc.stdint cimport int64_t

from charl.graph.node cimport Node
from charl.tensor.views cimport View

cdef class Tensor:
    cdef Node node          # a root's value
    cdef View view          # None: a root
    cdef int64_t version    # of a root: the number of writes
    cdef object __weakref__

cdef Tensor blank()
