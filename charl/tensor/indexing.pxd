# cython: language_level=3
from charl.graph.node cimport Node

cdef tuple basic(object index, tuple shape)
cpdef Node checked(Node node, object extent, object axis)
