# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What a Tensor shows, and writing it.

Every value that a Tensor has passes here: a root's Node, a view's movements applied to its root's, both realized on
demand, and the two ways of a write.
"""

from cpython.object cimport PyObject

from charl.core cimport infer
from charl.engine cimport leaves
from charl.engine cimport realize as engine
from charl.graph cimport held
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor cimport export, views
from charl.tensor.handle cimport Tensor
from charl.tensor.operands cimport POSITIVE
from charl.tensor.views cimport View

from charl.tensor.operands import elsewhere


cdef Node shown(Tensor tensor):
    """The Node of a view's present value."""
    cdef View view = tensor.view
    if view.node is not None:
        if view.seen == (<Tensor>view.base).version:
            return view.node
        view.node = None
    return views.applied(view, (<Tensor>view.base).node)


cdef Node demand(Tensor tensor):
    """The Node of a Tensor's present value, realized."""
    cdef Node node = current(tensor)
    engine.realize(node)
    keep(tensor, node)
    return node


cdef int keep(Tensor tensor, Node node) except -1:
    """A view keeps its realized Node until its base is written."""
    if tensor.view is not None:
        tensor.view.node = node
        tensor.view.seen = (<Tensor>tensor.view.base).version
    return 0


cdef int replace(Tensor root, Node node) except -1:
    """A write: root, and so its views, now show node, which stays on root's device."""
    cdef Node old = root.node
    if node.device != old.device:
        node = _beside(node, old)
    held.acquire(node)
    root.node = node
    root.version += 1
    held.release(<PyObject *>old)
    old = None
    if node.depth > engine.PENDING_LIMIT or graph.PRESSURE:
        engine.bound_pending(node, engine.PENDING_LIMIT)
    return 0


cdef Node _beside(Node node, Node old):
    """A value to be stored on the device of old, as an operand of it would be. Raises ValueError."""
    if node.device == 0 and not node.shape:
        return graph.put(graph.make(graph.EXPAND, node.dtype, (), (node,)), old.device)
    if node.device == 0:
        return leaves.moved(node, old.device)
    raise elsewhere(node.device, old.device)


cdef int check_writable(Tensor tensor) except -1:
    """Raises NumPy's ValueError for a view whose elements are repeated."""
    if tensor.view is not None and tensor.view.readonly:
        raise ValueError("assignment destination is read-only: a broadcast view; copy() makes one of its own")
    return 0


cdef int write(Tensor tensor, Node value) except -1:
    """Stores value, of the Tensor's shape and dtype, into it: a root is replaced, a view updates its root."""
    cdef Tensor root = root_of(tensor)
    check_writable(tensor)
    if tensor.view is None or not tensor.view.steps:
        return replace(root, value)
    if 0 in value.shape:  # nothing is written
        return 0
    tensor.view.node = None
    return replace(root, views.updated(tensor.view, root.node, value))


cdef object scalar_of(Tensor tensor):
    """The Python scalar of a Tensor of one element."""
    cdef Node node = current(tensor)
    if node.op == graph.CONST and node.value is None:
        return infer.bits_value(node.bits, node.dtype)
    return export.scalar(demand(tensor))


cdef Tensor copied(Tensor tensor):
    """A root of the same value, which nobody outside can change."""
    cdef Node node = current(tensor)
    if node.depth >= graph.BORROWED:  # borrowed memory may change under us
        node = graph.new1(POSITIVE, node.dtype, node.shape, node) if node.dtype else node
    return wrapped(node)
