# cython: language_level=3
from charl.graph.node cimport Node
from charl.tensor.views cimport View

cdef Node selected(Node node, object index, Node value)
cdef Node stored_at(Node root, View view, object index, Node value)
