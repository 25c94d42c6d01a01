# cython: language_level=3
from charl.engine cimport realize as engine
from charl.graph cimport held
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor.handle cimport Tensor, blank

cdef Node shown(Tensor view)
cdef int keep(Tensor tensor, Node node) except -1
cdef Node demand(Tensor tensor)
cdef int check_writable(Tensor tensor) except -1
cdef int replace(Tensor root, Node node) except -1
cdef int write(Tensor tensor, Node value) except -1
cdef Tensor copied(Tensor tensor)
cdef object scalar_of(Tensor tensor)


cdef inline Tensor wrapped(Node node):
    """A new root on node; computes it, or flushes, where pending work must be bounded."""
    cdef Tensor tensor = blank()
    tensor.node = node
    held.acquire(node)
    if node.depth > engine.PENDING_LIMIT or graph.PRESSURE:
        engine.bound_pending(node, engine.PENDING_LIMIT)
    return tensor


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
