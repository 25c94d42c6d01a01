# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Parts of Tensors: indexing, reshaping and permuting, as views where NumPy gives views; assignment to parts."""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from charl.core cimport infer
from charl.core.ints cimport charl_int
from charl.engine cimport leaves
from charl.engine cimport realize as engine
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor cimport assign, boxes, indexing, interop, operands, views
from charl.tensor.boxes cimport Box
from charl.tensor.handle cimport Tensor, blank
from charl.tensor.value cimport (
    bare, check_writable, current, dtype_of, keep, replace, root_of, shape_of, wrapped, write,
)
from charl.tensor.views cimport View

from charl.core import shapes
from charl.tensor.indexing import Advanced


cdef Tensor part(Tensor tensor, object index):
    """tensor[index]: a view where NumPy gives one, else a Tensor of its own."""
    cdef tuple shape = shape_of(tensor), found
    cdef Tensor made = tensor
    cdef Box box
    if type(index) is Tensor:
        return wrapped(_selected(tensor, <Tensor>index))
    box = _box(tensor, shape, index)
    if box is not None:
        return _boxed(root_of(tensor), box)
    made = _read(tensor, shape, index)
    if made is not None:
        return made
    made = tensor
    found = indexing.basic(index, shape)
    if found is None:
        return wrapped(_gathered(tensor, index))
    sizes, sliced, result, all_ints, whole, axes = found
    if all_ints and shape:
        return _element(tensor, sizes)
    if not whole:
        made = _sliced(tensor, sizes, sliced)
    if result != sliced:
        strides = _strides(made)
        strides = tuple([strides[axis] if axis >= 0 else 1 for axis in axes])
        return _view(made, graph.RESHAPE, result, None, (), strides, _offset(made))
    return made if made is not tensor else _whole(tensor)


cdef int assign_part(Tensor tensor, object index, object value) except -1:
    """tensor[index] = value."""
    cdef tuple shape = shape_of(tensor), found
    cdef Tensor target = tensor
    cdef int dtype = dtype_of(tensor)
    cdef View mine
    cdef Box box = _box(tensor, shape, index)
    if box is not None:
        return _assign_box(root_of(tensor), box, value)
    found = indexing.basic(index, shape)
    check_writable(tensor)
    if found is None:
        _scatter(tensor, index, value)
        return 0
    sizes, sliced, result, all_ints, whole, _ = found
    if type(value) is Tensor and (<Tensor>value).view is not None and not all_ints:
        if (<Tensor>value).view.base is root_of(tensor):
            mine = part(tensor, index).view
            if mine is not None and mine.steps == (<Tensor>value).view.steps:
                return 0  # x[index] += y has written through that view already
    if not whole:
        target = _sliced(tensor, sizes, sliced)
    node = operands.fit(operands.stored(bare(value), dtype, current(tensor).device), result, "setitem")
    if result != sliced:
        node = graph.make(graph.RESHAPE, dtype, sliced, (node,))
    write(target, node)
    return 0


cdef inline Box _box(Tensor tensor, tuple shape, object index):
    """The Box, in tensor's root, of an index; None where there is none."""
    if tensor.view is None:
        return boxes.of(shape, index)
    return None if tensor.view.box is None else boxes.within(tensor.view.box, index)


cdef int _assign_box(Tensor root, Box box, object value) except -1:
    """Stores value in a box of a root, as assign_part does."""
    cdef View view
    cdef Node node
    if type(value) is Tensor and (<Tensor>value).view is not None:
        view = (<Tensor>value).view
        if view.base is root and box.steps == view.steps:
            return 0
    node = operands.fit(operands.stored(bare(value), root.node.dtype, root.node.device), box.shape, "setitem")
    return replace(root, boxes.updated(box, root.node, node))


cdef Tensor _boxed(Tensor root, Box box):
    """A view of a root's box. Many writes are realized here rather than later: between two rounds of a loop nothing but
    their outcome is wanted, amid an expression each of its parts."""
    if root.node.depth > engine.UPDATE_LIMIT and root.node.op == graph.UPDATE:
        engine.bound_pending(root.node, engine.UPDATE_LIMIT)
    cdef Tensor made = blank()
    cdef View view = View.__new__(View)
    view.base, view.box = root, box
    view.shape, view.strides, view.offset, view.steps = box.shape, box.strides, box.offset, box.steps
    made.view = view
    return made


cdef tuple _strides(Tensor tensor):
    """Elements of the base from one index of an axis to the next."""
    return boxes.c_strides(tensor.node.shape) if tensor.view is None else tensor.view.strides


cdef inline int64_t _offset(Tensor tensor):
    return 0 if tensor.view is None else tensor.view.offset


cdef enum:
    VIEWS = 512

cdef dict _views = {}  # of roots, by (op, shape, what it gives): a program takes the same ones again and again


cdef Tensor _known_view(Tensor tensor, int op, tuple given):
    """The view of a root that the same movement of the same shape gave before; None where there is none."""
    cdef View like, view
    cdef Tensor made
    if tensor.view is not None:
        return None
    like = <View>_views.get((op, tensor.node.shape, given))
    if like is None:
        return None
    view = View.__new__(View)
    view.base = tensor
    view.shape, view.strides, view.steps, view.readonly = like.shape, like.strides, like.steps, like.readonly
    made = blank()
    made.view = view
    return made


cdef Tensor _new_view(Tensor tensor, int op, tuple given, tuple shape, object attrs, tuple strides):
    """A view of tensor by one more movement, to be known if tensor is a root."""
    if tensor.view is None:
        if len(_views) >= VIEWS:
            _views.clear()
        _views[op, tensor.node.shape, given] = views.moved(None, op, shape, attrs, (), strides, 0)
    return _view(tensor, op, shape, attrs, (), strides, _offset(tensor))


cdef Tensor _view(Tensor tensor, int op, tuple shape, object attrs, tuple sizes, tuple strides, int64_t offset):
    """A view of tensor by one more movement."""
    cdef Tensor made = blank()
    made.view = views.moved(tensor.view, op, shape, attrs, sizes, strides, offset)
    made.view.base = root_of(tensor)
    return made


cdef Tensor _whole(Tensor tensor):
    """A view of all of tensor."""
    cdef Tensor made = blank()
    cdef View view = View.__new__(View)
    view.base = root_of(tensor)
    view.shape, view.strides, view.offset = shape_of(tensor), _strides(tensor), _offset(tensor)
    view.steps = () if tensor.view is None else tensor.view.steps
    view.readonly = tensor.view is not None and tensor.view.readonly
    made.view = view
    return made


cdef Tensor _sliced(Tensor tensor, tuple sizes, tuple shape):
    """A view of tensor at start + step * i along each axis; sizes: starts, then steps."""
    cdef Py_ssize_t n = len(shape), k
    cdef tuple strides = _strides(tensor)
    cdef int64_t offset = _offset(tensor)
    for k in range(n):
        offset += <int64_t>strides[k] * <int64_t>sizes[k]
    return _view(tensor, graph.SLICE, shape, None, sizes, tuple([strides[k] * sizes[n + k] for k in range(n)]), offset)


def view_reshape(Tensor x not None, tuple shape, copy=None):
    """x in another shape of as many elements: a view where NumPy gives one, else a copy.

    copy=False raises ValueError where a copy would be needed.
    """
    cdef Tensor known = _known_view(x, graph.RESHAPE, shape)
    if known is not None:
        return known
    found = shapes.reshape_strides(shape_of(x), _strides(x), shape)
    if found is None:
        if copy is False:
            raise ValueError("reshape: unable to avoid creating a copy while reshaping")
        return wrapped(graph.make(graph.RESHAPE, dtype_of(x), shape, (current(x),)))
    return _new_view(x, graph.RESHAPE, shape, shape, None, found)


cdef Tensor permuted(Tensor x, tuple perm):
    """x with axes in the order perm: a view."""
    cdef Tensor known = _known_view(x, graph.PERMUTE, perm)
    cdef tuple shape, strides
    if known is not None:
        return known
    shape, strides = shape_of(x), _strides(x)
    shape = tuple([shape[p] for p in perm])
    return _new_view(x, graph.PERMUTE, perm, shape, perm, tuple([strides[p] for p in perm]))


def view_expand(Tensor x not None, tuple shape):
    """x broadcast to shape, to which it must: a view, and as NumPy's one that cannot be written."""
    cdef Tensor known = _known_view(x, graph.EXPAND, shape)
    cdef tuple here = shape_of(x), strides
    cdef Py_ssize_t k, new = len(shape) - len(here)
    if known is not None:
        return known
    strides = _strides(x)
    kept = [strides[k] if here[k] == shape[new + k] else 0 for k in range(len(here))]
    return _new_view(x, graph.EXPAND, shape, shape, None, (0,) * new + tuple(kept))


def view_permute(Tensor x not None, tuple perm):
    """x with axes in the order perm: a view."""
    return permuted(x, perm)


cdef Tensor _read(Tensor tensor, tuple shape, object index):
    """The element of a root that has its value, at ints that are in range; None for all else."""
    cdef Node node = tensor.node
    cdef Py_ssize_t n = PyTuple_GET_SIZE(shape), k
    cdef bint many = type(index) is tuple
    cdef object item = index
    cdef int64_t at = 0, extent, place
    cdef int overflow
    if tensor.view is not None or node.value is None or node.depth >= graph.BORROWED or node.device:
        return None
    if n == 0 or n != (PyTuple_GET_SIZE(<tuple>index) if many else 1):
        return None
    for k in range(n):
        if many:
            item = <object>PyTuple_GET_ITEM(<tuple>index, k)
        if type(item) is not int:
            return None
        extent = charl_int(PyTuple_GET_ITEM(shape, k))
        place = PyLong_AsLongLongAndOverflow(item, &overflow)
        if overflow or not -extent <= place < extent:
            return None
        at = at * extent + (place + extent if place < 0 else place)
    return _at(node, at)


cdef Tensor _at(Node node, int64_t place):
    """The element at a place in the memory of a Node's value."""
    cdef int size = infer.ITEMSIZE[node.dtype]
    cdef int64_t bits = 0
    memcpy(&bits, <char *>leaves.memory_of(node) + place * size, size)
    return wrapped(graph.new_const(node.dtype, bits))


cdef Tensor _element(Tensor tensor, tuple sizes):
    """One element, 0-d and never a view: read at once where the value is there, else a Node."""
    cdef Node node = current(tensor)
    cdef tuple shape = node.shape
    cdef Py_ssize_t k, n = PyTuple_GET_SIZE(shape)
    cdef int64_t at = 0
    if node.value is not None and node.depth < graph.BORROWED and node.device == 0:
        for k in range(n):
            at = at * <int64_t>shape[k] + <int64_t>sizes[k]
        return _at(node, at)
    node = graph.make(graph.SLICE, node.dtype, (1,) * n, (node,), None, sizes)
    return wrapped(graph.make(graph.RESHAPE, node.dtype, (), (node,)))


cdef object _bare_index(object index):
    """An index with Tensors in it replaced by their Nodes."""
    return tuple([bare(item) for item in index]) if isinstance(index, tuple) else bare(index)


cdef Node _selected(Tensor tensor, Tensor index):
    """Reading by one array: integers along the first axis, or a mask of the first axes."""
    cdef Node node = current(tensor), at = current(index)
    cdef tuple shape = node.shape
    cdef int kind = infer.KIND[at.dtype]
    if kind == infer.KIND_B and not node.device and not at.device and at.shape and at.shape == shape[: len(at.shape)]:
        engine.realize_all([node, at])
        keep(tensor, node)
        keep(index, at)
        return interop.from_owned(interop.to_ndarray(node)[interop.to_ndarray(at)])
    if not (kind == infer.KIND_I or kind == infer.KIND_U) or not shape or 0 in shape or 0 in at.shape:
        return _gathered(tensor, index)
    at = indexing.checked(at, shape[0], 0)
    return graph.make(graph.GATHER, node.dtype, at.shape + shape[1:], (node, at), 0)


cdef Node _gathered(Tensor tensor, object index):
    """Reading by arrays: the basic part as a view, then a gather."""
    found = Advanced(_bare_index(index), shape_of(tensor))
    return found.apply(current(part(tensor, found.base_index)))


cdef int _scatter(Tensor tensor, object index, object value) except -1:
    """Writing by arrays."""
    cdef Tensor root = root_of(tensor)
    cdef Node new = operands.stored(bare(value), dtype_of(tensor), root.node.device), changed
    index = _bare_index(index)
    changed = assign.selected(current(tensor), index, new)
    if changed is not None:
        return write(tensor, changed)
    return replace(root, assign.stored_at(root.node, tensor.view, index, new))
