# cython: language_level=3
from charl.graph.node cimport Node

cdef Node from_ndarray(object array, object copy)
cdef Node from_owned(object array)
cdef object to_ndarray(Node node)
cdef object writable(Node node)
cdef tuple intern_shape(tuple shape)
