# cython: language_level=3
from charl.graph.node cimport Node

cdef Node masked(Node node, Node mask, Node value)
cdef Node scattered(Node node, object index, object value)
