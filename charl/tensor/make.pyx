# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What the api builds on: Tensors from Nodes, numbers, ndarrays and element-wise ops; realizing many at once."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from charl.core cimport infer
from charl.engine cimport leaves
from charl.engine cimport realize as engine
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor cimport interop, operands
from charl.tensor.handle cimport Tensor
from charl.tensor.operators cimport product, recorded, unary_node
from charl.tensor.value cimport bare, current, dtype_of, keep, root_of, shape_of, wrapped

import numpy

from charl.core import dtypes
from charl.core.dtypes import DType
from charl.ops.table import OPS
from charl.tensor import dlpack

cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        const char *ml_name
        void *ml_meth
        int ml_flags
        const char *ml_doc

    int METH_FASTCALL
    object PyCFunction_NewEx(PyMethodDef *, object, object)

cdef list _DTYPES = list(dtypes.ALL)
cdef int64_t MOST = (<int64_t>1 << 60) - 1  # elements
cdef dict _OPS = {name: row.code for name, row in OPS.items() if row.group == "elementwise"}
cdef int MAXIMUM = OPS["maximum"].code, MINIMUM = OPS["minimum"].code


def wrap(Node node not None):
    """A Tensor on a Node."""
    return wrapped(node)


def node_of(Tensor tensor not None):
    """The Node of a Tensor's present value."""
    return current(tensor)


def plain_product(x1, x2):
    """The product of Tensors that need no rules of promotion or broadcasting; None for all else."""
    return product(x1, x2)


def plain_cast(x, dtype):
    """A Tensor of the cpu in another DType; None for all else."""
    cdef Node node
    if type(x) is not Tensor or type(dtype) is not DType:
        return None
    node = current(<Tensor>x)
    if node.device or node.dtype == <int>dtype.code:
        return None
    return wrapped(operands.cast(node, dtype.code))


def plain_bounds(x, least, most):
    """minimum(maximum(x, least), most) of a Tensor of floats and Python numbers, or None for no bound; None for all
    else.
    """
    cdef Node node
    if type(x) is not Tensor or infer.KIND[current(<Tensor>x).dtype] != infer.KIND_F:
        return None
    node = current(<Tensor>x)
    for op, bound in ((MAXIMUM, least), (MINIMUM, most)):
        if type(bound) is float or type(bound) is int:
            limit = graph.new_const(node.dtype, infer.scalar_bits(bound, node.dtype))
            node = graph.new2(op, node.dtype, node.shape, node, limit)
        elif bound is not None:
            return None
    return wrapped(node)


def plain_filled(shape, bint one, dtype):
    """A Tensor of the cpu with 0, or 1, everywhere. shape: an int, a tuple of them, or a Tensor of the cpu, whose shape
    is taken, and whose dtype where dtype is None. None for all else, where there are rules to follow or errors to tell.
    """
    cdef tuple sizes
    cdef int code
    cdef int64_t count = 1, size
    if dtype is not None and type(dtype) is not DType:
        return None
    if type(shape) is Tensor:
        if root_of(<Tensor>shape).node.device:
            return None
        sizes, code = shape_of(<Tensor>shape), dtype_of(<Tensor>shape) if dtype is None else dtype.code
    else:
        sizes, code = shape if type(shape) is tuple else (shape,), infer.F64 if dtype is None else dtype.code
        for extent in sizes:
            if type(extent) is not int or not 0 <= extent <= MOST:
                return None
            size = extent
            if size and count > MOST // size:
                return None
            count *= size
    return wrapped(graph.new1(graph.EXPAND, code, sizes, graph.new_const(code, infer.scalar_bits(one, code))))


def plain_nodes(tuple given):
    """The Nodes of Tensors of one dtype; None for all else."""
    cdef list nodes = []
    cdef Node node
    cdef int dtype = -1
    for x in given:
        if type(x) is not Tensor:
            return None
        node = current(<Tensor>x)
        if dtype >= 0 and node.dtype != dtype:
            return None
        dtype = node.dtype
        nodes.append(node)
    return nodes


def joined(parts, int axis):
    """Nodes of one dtype, one after the other along an axis: updates of a base, one a part. Their other extents are
    equal."""
    cdef list filled = [part for part in parts if (<Node>part).shape[axis]]
    cdef Node first = filled[0] if filled else parts[0], out, part
    cdef Py_ssize_t ndim = len(first.shape), total = 0, at = 0
    cdef int device = 0
    cdef tuple shape, before = (0,) * axis, after = (0,) * (ndim - axis - 1), steps = (1,) * ndim
    if len(filled) <= 1:
        return first
    for part in filled:
        total += part.shape[axis]
        device = max(device, part.device)
    shape = first.shape[:axis] + (total,) + first.shape[axis + 1 :]
    out = unset(_DTYPES[first.dtype], shape, device)
    for part in filled:
        sizes = before + (at,) + after + steps + part.shape
        out = graph.make(graph.UPDATE, first.dtype, shape, (out, part), (("slice", ndim),), sizes)
        at += part.shape[axis]
    return out


def unary(str name, x):
    """The Tensor of an elementwise op of that name on an array or a Python number.

    Raises TypeError or OverflowError, each naming what was wrong.
    """
    cdef int op = _OPS[name]
    if type(x) is Tensor:
        return wrapped(unary_node(op, <Tensor>x))
    cdef Node node = operands.general(op, (bare(x),))
    return _refused(name, x) if node is None else wrapped(node)


def binary(str name, x1, x2):
    """The Tensor of an elementwise op on arrays and Python numbers that broadcast together, promoted as in NumPy 2.

    Raises TypeError, ValueError or OverflowError, each naming what was wrong.
    """
    found = recorded(_OPS[name], x1, x2, False)
    return _refused(name, x1, x2) if found is None else found


cdef object _refused(str name, object first, object second=None):
    """Raises the TypeError of an op that takes no operand of this type."""
    wrong = next(a for a in (first, second) if operands.as_node(bare(a)) is None and not infer.weak_kind(a))
    raise TypeError(f"{name}: an array or a number is needed, got {type(wrong).__name__}")


def as_tensor(value):
    """A Tensor from a Tensor (itself), an ndarray (copied), a number, or nested sequences of them.

    Raises TypeError for what NumPy would make an object array of, or a dtype charl has not.
    """
    cdef int kind
    if type(value) is Tensor:
        return value
    kind = infer.weak_kind(value)
    if kind:
        return wrapped(operands.const(value, infer.with_weak(-1, kind)))
    if isinstance(value, numpy.generic):
        return wrapped(operands.as_node(value))
    array = numpy.asarray(value)
    if array.dtype.kind in "OUSMmVc":
        numpy_name = array.dtype.name
        if numpy_name != "bfloat16":
            raise TypeError(f"cannot make a Tensor of {type(value).__name__} (dtype {array.dtype})")
    return wrapped(interop.from_ndarray(array, True))


def moved(Node node not None, int device):
    """A Node with node's value on a device, by its code; moved there now if it is elsewhere."""
    if node.device == device:
        return node
    return leaves.moved(node, device)


def from_numpy(array, copy=True):
    """A Tensor with an ndarray's elements: copied, or borrowed (copy False; None: if the array is read-only).

    Raises TypeError for a dtype charl has not, BufferError where copy=False and the memory cannot be borrowed.
    """
    return wrapped(interop.from_ndarray(array, copy))


def from_numpy_owned(array):
    """A Tensor on an ndarray's memory, which the caller gives away: nobody will write it. Copied if not contiguous."""
    return wrapped(interop.from_owned(array))


def from_capsule(producer, copy):
    """A Tensor on the memory of an object with __dlpack__ on the cpu; copy as in `from_numpy`.

    Memory that is not contiguous is copied unless copy is False.
    """
    array = dlpack.take(producer, lambda: dtypes.to_numpy(dtypes.bfloat16))
    if copy is None and not array.flags.c_contiguous:
        copy = True
    return from_numpy(array, bool(copy))


def unset(dtype, tuple shape, int device=0):
    """A leaf Node of a DType, on a device by its code, whose elements hold anything: the base of updates that write
    them all."""
    cdef int64_t nbytes = infer.size_of(shape) * dtype.itemsize
    if device:
        return leaves.leaf_unset(dtype.code, shape, nbytes, device)
    return leaves.leaf_copy(dtype.code, shape, NULL, nbytes)


cdef object _evaluate(object module, PyObject **tensors, Py_ssize_t count):
    cdef Tensor tensor
    cdef Node node
    cdef list found, waiting, nodes
    if count == 1 and type(<object>tensors[0]) is Tensor:
        node = current(<Tensor>tensors[0])
        engine.realize(node)
        if (<Tensor>tensors[0]).view is not None:
            keep(<Tensor>tensors[0], node)
        return None
    found, waiting = [], [<object>tensors[k] for k in range(count - 1, -1, -1)]
    while waiting:
        item = waiting.pop()
        if type(item) is Tensor:
            found.append(item)
        elif isinstance(item, (list, tuple)):
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            waiting.extend(reversed(item.values()))
        else:
            raise TypeError(f"eval: Tensors are needed, got {type(item).__name__}")
    nodes = [current(tensor) for tensor in found]
    engine.realize_all(nodes)
    for tensor, node in zip(found, nodes):
        keep(tensor, node)
    return None


# A plain C function: what Cython makes of `def eval(*tensors)` takes 30 ns longer to call.
cdef PyMethodDef _EVALUATE
_EVALUATE.ml_name = b"eval"
_EVALUATE.ml_meth = <void *>_evaluate
_EVALUATE.ml_flags = METH_FASTCALL
_EVALUATE.ml_doc = b"""eval($module, /, *tensors)
--

Realizes all tensors together, with what they share computed once. Lists, tuples and dicts of Tensors too.

Raises TypeError for anything else. Returns None.

>>> x = ch.ones(3) + 1; ch.eval(x); x
Tensor([2., 2., 2.])
"""
evaluate = PyCFunction_NewEx(&_EVALUATE, None, "charl")
