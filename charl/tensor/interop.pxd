# cython: language_level=3
from charl.graph.node cimport Node

cdef Node from_ndarray(object array, object copy)
cdef object to_ndarray(Node node)
cdef object writable(Node node)
cdef tuple intern_shape(tuple shape)
