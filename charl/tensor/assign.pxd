# cython: language_level=3
from cpython.object cimport PyObject

from charl.graph.node cimport Node
from charl.tensor.views cimport View

cdef Node selected(Node node, object index, Node value)
cdef Node stored_at(PyObject *held, View view, object index, Node value)
