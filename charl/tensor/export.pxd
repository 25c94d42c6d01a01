# cython: language_level=3
from charl.graph.node cimport Node

cdef object scalar(Node node)
cdef tuple flat_index(object index, tuple shape)
cdef int fill_buffer(object tensor, Node node, Py_buffer *view, int flags) except -1
cdef void free_buffer(Py_buffer *view) noexcept
cdef object to_capsule(Node node, object caller, object max_version, object dl_device, object copy)
cdef object to_text(Node node)
