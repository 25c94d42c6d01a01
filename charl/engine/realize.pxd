# cython: language_level=3
from charl.graph.node cimport Node

cdef int PENDING_LIMIT   # depth of a pending Node beyond which a new Tensor flushes
cdef int UPDATE_LIMIT    # and that of an update, beyond which reading a part of it does

cdef int realize(Node node) except -1
cdef int realize_all(list nodes) except -1
cdef int bound_pending(Node node, int limit) except -1
cdef int begin_recording() except -1
cdef int end_recording() except -1
cdef bint is_recording() except -1
