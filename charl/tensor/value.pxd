# cython: language_level=3
from charl.graph.node cimport Node
from charl.tensor.handle cimport Tensor

cdef Tensor wrapped(Node node)
cdef Node shown(Tensor view)
cdef int keep(Tensor tensor, Node node) except -1
cdef Node demand(Tensor tensor)
cdef int check_writable(Tensor tensor) except -1
cdef int replace(Tensor root, Node node) except -1
cdef int write(Tensor tensor, Node value) except -1
cdef Tensor copied(Tensor tensor)
cdef object scalar_of(Tensor tensor)


cdef inline Node current(Tensor tensor):
    """The Node of a Tensor's present value."""
    return tensor.node if tensor.view is None else shown(tensor)


cdef inline object bare(object value):
    """A Tensor's Node; anything else as it is."""
    return current(<Tensor>value) if type(value) is Tensor else value


cdef inline Tensor root_of(Tensor tensor):
    return tensor if tensor.view is None else <Tensor>tensor.view.base


cdef inline tuple shape_of(Tensor tensor):
    return tensor.node.shape if tensor.view is None else tensor.view.shape


cdef inline int dtype_of(Tensor tensor):
    return tensor.node.dtype if tensor.view is None else (<Tensor>tensor.view.base).node.dtype
