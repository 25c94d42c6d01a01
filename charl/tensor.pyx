# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Tensor: the user's mutable handle on a Node. Operators, views, in-place writes, Python's protocols.

A root holds the Node of its whole value; writing replaces that Node. A view holds its root and the movements that lead
there: each use applies them to the root's present Node, so that a view sees every write, and writing through a view
gives the root an `update` Node. Functions of the api come in as methods through `register_method`.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT, Py_NE, PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        const char *ml_name
        void *ml_meth
        int ml_flags
        const char *ml_doc

    int METH_FASTCALL
    object PyCFunction_NewEx(PyMethodDef *, object, object)

from charl cimport indexing, interop
from charl.core cimport infer
from charl.engine cimport leaves
from charl.engine cimport realize as engine
from charl.graph cimport node as graph
from charl.graph.node cimport Node

import builtins
import sys
import types

import numpy

from charl import indexing as advanced
from charl.core import dtypes, shapes
from charl.ops.table import OPS

cdef list _DTYPES = list(dtypes.ALL)
cdef dict _METHODS = {}
cdef dict _OPS = {name: row.code for name, row in OPS.items() if row.group == "elementwise"}
cdef dict _NAMES = {code: name for name, code in _OPS.items()}
cdef dict _ARITY = {row.code: row.arity for row in OPS.values()}
cdef tuple _EMPTY = ()
_FORMATS = ("?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", None, "f", "d")


cdef int _op(name) except -1:
    return _OPS[name]


cdef int ADD = _op("add"), SUBTRACT = _op("subtract"), MULTIPLY = _op("multiply"), DIVIDE = _op("divide")
cdef int FLOOR_DIVIDE = _op("floor_divide"), REMAINDER = _op("remainder"), POW = _op("pow")
cdef int AND = _op("bitwise_and"), OR = _op("bitwise_or"), XOR = _op("bitwise_xor"), INVERT = _op("bitwise_invert")
cdef int LEFT = _op("bitwise_left_shift"), RIGHT = _op("bitwise_right_shift")
cdef int NEGATIVE = _op("negative"), POSITIVE = _op("positive"), ABS = _op("abs")
cdef int SQRT = _op("sqrt"), RECIPROCAL = _op("reciprocal")
cdef int EQUAL = _op("equal"), NOT_EQUAL = _op("not_equal"), LESS = _op("less"), LESS_EQUAL = _op("less_equal")
cdef int GREATER = _op("greater"), GREATER_EQUAL = _op("greater_equal")
cdef int LOGICAL_AND = _op("logical_and"), LOGICAL_OR = _op("logical_or")
cdef int[6] _COMPARE
_COMPARE[Py_EQ], _COMPARE[Py_NE], _COMPARE[Py_LT] = EQUAL, NOT_EQUAL, LESS
_COMPARE[Py_LE], _COMPARE[Py_GT], _COMPARE[Py_GE] = LESS_EQUAL, GREATER, GREATER_EQUAL


# Nodes and Tensors


cdef Tensor wrapped(Node node):
    """A new root on node; computes it, or flushes, where pending work must be bounded."""
    cdef Tensor tensor = Tensor.__new__(Tensor)
    tensor.node = node
    graph.acquire(node)
    if node.depth > engine.PENDING_LIMIT or graph.PRESSURE:
        engine.bound_pending(node)
    return tensor


cdef inline Node _apply_steps(Node node, tuple steps):
    cdef tuple step
    for step in steps:
        node = graph.make(step[0], node.dtype, <tuple>step[1], (node,), step[2], <tuple>step[3])
    return node


cdef Node current(Tensor tensor):
    """The Node of a Tensor's present value."""
    cdef View view = tensor.view
    if view is None:
        return tensor.node
    if view.node is not None:
        if view.seen == view.base.version:
            return view.node
        view.node = None
    return _apply_steps(view.base.node, view.steps)


cdef int _keep(Tensor tensor, Node node) except -1:
    """A view keeps its realized Node until its base is written."""
    if tensor.view is not None:
        tensor.view.node = node
        tensor.view.seen = tensor.view.base.version
    return 0


cdef Node _demand(Tensor tensor):
    """The Node of a Tensor's present value, realized."""
    cdef Node node = current(tensor)
    engine.realize(node)
    if tensor.view is not None:
        _keep(tensor, node)
    return node


cdef int _replace(Tensor root, Node node) except -1:
    """A write: root, and so its views, now show node."""
    cdef Node old = root.node
    graph.acquire(node)
    root.node = node
    root.version += 1
    graph.release(<PyObject *>old)
    old = None
    if node.depth > engine.PENDING_LIMIT or graph.PRESSURE:
        engine.bound_pending(node)
    return 0


cdef int _write(Tensor tensor, Node value) except -1:
    """Stores value, of the Tensor's shape and dtype, into it: a root is replaced, a view updates its root."""
    cdef list attrs, sizes
    cdef Tensor root
    if tensor.view is None:
        return _replace(tensor, value)
    root = tensor.view.base
    if not tensor.view.steps:
        return _replace(root, value)
    if 0 in value.shape:  # nothing is written
        return 0
    attrs, sizes = [], []
    if _is_tangled(tensor.view.steps):
        attrs.append(("strided", len(tensor.view.shape)))
        sizes = [tensor.view.offset, *tensor.view.strides, *tensor.view.shape]
    for op, shape, permutation, numbers in () if attrs else tensor.view.steps:
        if op == graph.SLICE:
            attrs.append(("slice", len(shape)))
            sizes.extend(numbers)
            sizes.extend(shape)
        elif op == graph.PERMUTE:
            attrs.append(("permute", permutation))
        else:
            attrs.append(("reshape", len(shape)))
            sizes.extend(shape)
    tensor.view.node = None
    return _replace(
        root,
        graph.make(graph.UPDATE, root.node.dtype, root.node.shape, (root.node, value), tuple(attrs), tuple(sizes)),
    )


cdef bint _is_tangled(tuple steps) except -1:
    """Whether a reshape of more than unit axes follows another movement: strides say it better."""
    cdef Py_ssize_t k
    for k in range(1, len(steps)):
        if steps[k][0] == graph.RESHAPE:
            if [n for n in steps[k][1] if n != 1] != [n for n in steps[k - 1][1] if n != 1]:
                return True
    return False


cdef Tensor _viewed(Tensor tensor, tuple shape, tuple strides, tuple steps, int64_t offset):
    """A Tensor that shows a part of tensor's root."""
    cdef View view = View.__new__(View)
    cdef Tensor made = Tensor.__new__(Tensor)
    view.base = tensor if tensor.view is None else tensor.view.base
    view.shape, view.strides, view.steps, view.offset = shape, strides, steps, offset
    made.view = view
    return made


cdef inline tuple _steps(Tensor tensor):
    return _EMPTY if tensor.view is None else tensor.view.steps


cdef tuple _strides(Tensor tensor):
    """Elements of the base from one index of an axis to the next."""
    cdef list strides
    cdef Py_ssize_t k
    cdef int64_t stride = 1
    if tensor.view is not None:
        return tensor.view.strides
    strides = list(tensor.node.shape)
    for k in range(len(strides) - 1, -1, -1):
        extent = strides[k]
        strides[k] = stride
        stride *= max(<int64_t>extent, 1)
    return tuple(strides)


cdef inline int64_t _offset(Tensor tensor):
    return 0 if tensor.view is None else tensor.view.offset


cdef Tensor _view(Tensor tensor, int op, tuple shape, object attrs, tuple sizes, tuple strides, int64_t offset):
    """A view of tensor by one more movement; it and a last one of its kind are made one."""
    cdef tuple steps = _steps(tensor)
    cdef Py_ssize_t n = len(shape), k, last = len(steps) - 1
    if last < 0 or steps[last][0] != op:
        pass
    elif op == graph.RESHAPE:
        steps = steps[:last]
    elif op == graph.PERMUTE:
        attrs = tuple([steps[last][2][k] for k in attrs])
        steps = steps[:last]
    else:
        before = steps[last][3]
        starts = [before[k] + before[n + k] * sizes[k] if shape[k] else 0 for k in range(n)]
        paces = [before[n + k] * sizes[n + k] if shape[k] > 1 else 1 for k in range(n)]
        sizes = tuple(starts + paces)
        steps = steps[:last]
    return _viewed(tensor, shape, strides, steps + ((op, shape, attrs, sizes),), offset)


cdef Tensor _sliced(Tensor tensor, tuple sizes, tuple shape):
    cdef Py_ssize_t n = len(shape), k
    cdef tuple strides = _strides(tensor)
    cdef int64_t offset = _offset(tensor)
    for k in range(n):
        offset += <int64_t>strides[k] * <int64_t>sizes[k]
    return _view(tensor, graph.SLICE, shape, None, sizes, tuple([strides[k] * sizes[n + k] for k in range(n)]), offset)


def wrap(Node node not None):
    """A Tensor on a Node."""
    return wrapped(node)


def node_of(Tensor tensor not None):
    """The Node of a Tensor's present value."""
    return current(tensor)


def view_reshape(Tensor x not None, tuple shape, copy=None):
    """x in another shape of as many elements: a view where NumPy gives one, else a copy.

    copy=False raises ValueError where a copy would be needed.
    """
    cdef tuple here = x.get_shape()
    found = shapes.reshape_strides(here, _strides(x), shape)
    if found is None:
        if copy is False:
            raise ValueError("reshape: unable to avoid creating a copy while reshaping")
        return wrapped(graph.make(graph.RESHAPE, x.get_dtype(), shape, (current(x),)))
    return _view(x, graph.RESHAPE, shape, None, (), found, _offset(x))


def view_permute(Tensor x not None, tuple perm):
    """x with axes in the order perm: a view."""
    cdef tuple shape = x.get_shape(), strides = _strides(x)
    return _view(
        x, graph.PERMUTE, tuple([shape[p] for p in perm]), perm, (), tuple([strides[p] for p in perm]), _offset(x)
    )


def view_slice(Tensor x not None, starts, steps, shape):
    """x at start + step * i along each axis, i below the new extent: a view. Bounds are trusted."""
    return _sliced(x, (*starts, *steps), tuple(shape))


# Operands


cdef Node _const(object value, int dtype):
    return graph.new_const(dtype, infer.scalar_bits(value, dtype))


cdef Node _array_node(object value, object copy):
    """The Node of an ndarray or a NumPy scalar."""
    if isinstance(value, numpy.generic):
        descr = value.dtype
        dtype = dtypes.as_dtype(descr)
        return graph.new_const(dtype.code, infer.scalar_bits(value.item(), dtype.code))
    return interop.from_ndarray(value, copy)


cdef Node _operand(object value):
    """The Node of a Tensor, an ndarray, a NumPy scalar or nested lists; None for what is no operand."""
    if type(value) is Tensor:
        return current(<Tensor>value)
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return _array_node(value, True)
    if isinstance(value, (list, tuple)):
        return interop.from_ndarray(numpy.asarray(value), True)
    return None


cdef inline Node _cast(Node node, int dtype):
    if node.dtype == dtype:
        return node
    return graph.new(graph.CAST, dtype, node.shape, (node,))


cdef Node _beyond(int op, object value, bint left, int dtype, tuple shape):
    """A comparison with an int that dtype cannot hold: the same answer for every element."""
    cdef bint above = value > 0, answer
    if op == EQUAL or op == NOT_EQUAL:
        answer = op == NOT_EQUAL
    elif op == LESS or op == LESS_EQUAL:
        answer = above != left
    else:
        answer = above == left
    node = graph.new_const(infer.B1, answer)
    return node if not shape else graph.new(graph.EXPAND, infer.B1, shape, (node,))


cdef Node _mixed_compare(int op, Node a, Node b):
    """Compares int64 and the like with uint64 exactly: no dtype holds both."""
    cdef bint signed_left = infer.KIND[a.dtype] == infer.KIND_I
    cdef Node signed_one = a if signed_left else b
    cdef Node other = b if signed_left else a
    cdef Node zero = graph.new_const(signed_one.dtype, 0)
    cdef Node below = graph.new(LESS, infer.B1, signed_one.shape, (signed_one, zero))
    cdef Node unsigned_one = _cast(signed_one, infer.U64)
    cdef tuple shape = infer.broadcast2(a.shape, b.shape)
    pair = (unsigned_one, other) if signed_left else (other, unsigned_one)
    cdef Node fits = graph.new(op, infer.B1, shape, pair)
    if op == NOT_EQUAL or op == (LESS if signed_left else GREATER) or (
        op == (LESS_EQUAL if signed_left else GREATER_EQUAL)
    ):
        return graph.new(LOGICAL_OR, infer.B1, shape, (below, fits))
    zero = graph.new(_op("logical_not"), infer.B1, below.shape, (below,))
    return graph.new(LOGICAL_AND, infer.B1, shape, (zero, fits))


cdef inline bint _is_compare(int op) noexcept:
    return (
        op == EQUAL or op == NOT_EQUAL or op == LESS or op == LESS_EQUAL or op == GREATER or op == GREATER_EQUAL
    )


cdef Node _general(int op, tuple args):
    """An elementwise Node on any operands, promoted as in NumPy 2; None where an operand is none.

    Raises TypeError for dtypes, ValueError for shapes, OverflowError for a Python int that does not fit.
    """
    cdef int dtype = -1, weak = 0, operand, result, kind
    cdef Py_ssize_t k, count = len(args)
    cdef list nodes = [None] * count
    cdef tuple shape = _EMPTY
    cdef Node node, condition = None
    for k in range(count):
        value = args[k]
        kind = infer.weak_kind(value)
        if kind and not (op == graph.WHERE and k == 0):
            weak = max(weak, kind)
            continue
        node = _operand(value) if not kind else graph.new_const(infer.B1, 1 if value else 0)
        if node is None:
            if isinstance(value, complex):
                raise TypeError(f"{_NAMES[op]}: complex numbers are not supported yet; got {value!r}")
            return None
        nodes[k] = node
        shape = infer.broadcast2(shape, node.shape)
        if op == graph.WHERE and k == 0:
            condition = node
        else:
            dtype = node.dtype if dtype < 0 else infer.PROMOTE[dtype][node.dtype]
    if weak or dtype < 0:
        dtype = infer.with_weak(dtype, weak)
    operand = infer.operand_dtype(op, dtype)
    result = infer.RESULT[op][dtype]
    if operand != dtype and not weak:  # int8 and uint8 both become float16, though together they are int16
        operand = -1
        for node in nodes:
            kind = infer.operand_dtype(op, node.dtype)
            operand = kind if operand < 0 else infer.PROMOTE[operand][kind]
        result = operand
    if _is_compare(op) and dtype == infer.F64 and not weak:
        if (<Node>nodes[0]).dtype == infer.U64 and infer.KIND[(<Node>nodes[1]).dtype] == infer.KIND_I or (
            (<Node>nodes[1]).dtype == infer.U64 and infer.KIND[(<Node>nodes[0]).dtype] == infer.KIND_I
        ):
            return _mixed_compare(op, nodes[0], nodes[1])
    for k in range(count):
        node = nodes[k]
        if node is None:
            if operand != dtype or infer.KIND[operand] != infer.KIND_F:
                try:
                    infer.scalar_bits(args[k], dtype)
                except OverflowError:
                    if not _is_compare(op):
                        raise
                    return _beyond(op, args[k], k == 0, dtype, shape)
            nodes[k] = _const(args[k], operand)
        elif node is condition:
            nodes[k] = _cast(node, infer.B1)
        else:
            nodes[k] = _cast(node, operand)
    return graph.new(op, result, shape, tuple(nodes))


cdef Node _binary_node(int op, object left, object right):
    """The hot path: two Tensors of one dtype, or a Tensor and a Python scalar."""
    cdef Node a, b
    cdef int dtype
    if type(left) is Tensor:
        a = current(<Tensor>left)
        dtype = a.dtype
        if type(right) is Tensor:
            b = current(<Tensor>right)
            if b.dtype == dtype and infer.OPERAND[op][dtype] == dtype:
                return graph.new(op, infer.RESULT[op][dtype], infer.broadcast2(a.shape, b.shape), (a, b))
        elif infer.OPERAND[op][dtype] == dtype:
            if infer.KIND[dtype] == infer.KIND_F:
                if type(right) is float or type(right) is int:
                    b = graph.new_const(dtype, infer.scalar_bits(right, dtype))
                    return graph.new(op, infer.RESULT[op][dtype], a.shape, (a, b))
            elif type(right) is int and dtype != infer.B1 and not _is_compare(op):
                b = graph.new_const(dtype, infer.scalar_bits(right, dtype))
                return graph.new(op, infer.RESULT[op][dtype], a.shape, (a, b))
    return _general(op, (left, right))


cdef object binary(int op, object left, object right):
    """The Tensor of an operator, or NotImplemented."""
    cdef Node node = _binary_node(op, left, right)
    if node is None:
        return NotImplemented
    return wrapped(node)


cdef Node _unary_node(int op, object value):
    cdef Node node = current(<Tensor>value)
    cdef int dtype = node.dtype
    return graph.new(
        op, infer.RESULT[op][dtype], node.shape, (_cast(node, infer.operand_dtype(op, dtype)),)
    )


cdef Node _power(object base, object exponent):
    """x ** p; the scalar exponents 0, 1, 2, 3, 1/2 and -1 become cheaper operations, as in NumPy."""
    cdef Node node
    cdef int dtype, kind
    if infer.weak_kind(base) == 0 and infer.weak_kind(exponent) in (infer.WEAK_INT, infer.WEAK_FLOAT):
        node = _operand(base)
        if node is None:
            return None
        dtype = infer.with_weak(node.dtype, infer.weak_kind(exponent))
        kind = infer.KIND[dtype]
        if kind == infer.KIND_F or type(exponent) is not float:
            if kind != infer.KIND_F:
                infer.scalar_bits(exponent, dtype)
                if exponent < 0:
                    raise ValueError("Integers to negative integer powers are not allowed.")
            node = _cast(node, dtype)
            if exponent == 2:
                return graph.new(MULTIPLY, dtype, node.shape, (node, node))
            if exponent == 3:
                return graph.new(
                    MULTIPLY, dtype, node.shape, (graph.new(MULTIPLY, dtype, node.shape, (node, node)), node)
                )
            if exponent == 1:
                return graph.new(POSITIVE, dtype, node.shape, (node,)) if dtype else node
            if exponent == 0:
                return graph.new(graph.EXPAND, dtype, node.shape, (_const(1, dtype),))
            if kind == infer.KIND_F and exponent == 0.5:
                return graph.new(SQRT, dtype, node.shape, (node,))
            if kind == infer.KIND_F and exponent == -1:
                return graph.new(RECIPROCAL, dtype, node.shape, (node,))
    return _general(POW, (base, exponent))


cdef Node _fit(Node node, tuple shape, str what):
    """node broadcast to shape; leading axes of size 1 that are too many go, as in NumPy's assignment."""
    cdef Py_ssize_t extra
    if infer.same_shape(node.shape, shape):
        return node
    extra = PyTuple_GET_SIZE(node.shape) - PyTuple_GET_SIZE(shape)
    if extra > 0 and node.shape[:extra] == (1,) * extra:
        node = graph.make(graph.RESHAPE, node.dtype, node.shape[extra:], (node,))
        if infer.same_shape(node.shape, shape):
            return node
    shapes.check_broadcast_to(node.shape, shape, what)
    return graph.new(graph.EXPAND, node.dtype, shape, (node,))


cdef Node _stored(object value, int dtype):
    """The Node of a value to be stored, cast to dtype as NumPy's assignment does. Raises TypeError, OverflowError."""
    cdef Node node
    if infer.weak_kind(value):
        return _const(value, dtype)
    node = _operand(value)
    if node is None:
        raise TypeError(f"setitem: cannot store {type(value).__name__} in a Tensor of {_DTYPES[dtype]}")
    return _cast(node, dtype)


cdef object _in_place(Tensor tensor, Node node, int op):
    """tensor op= ...: node is the result of the operator. A 0-d root is rebound, as NumPy's scalars are."""
    cdef int dtype = tensor.get_dtype()
    cdef tuple shape = tensor.get_shape()
    if node is None:
        return NotImplemented
    if node.dtype != dtype:
        if not numpy.can_cast(interop_dtype(node.dtype), interop_dtype(dtype), "same_kind"):
            raise TypeError(
                f"{_NAMES[op]}: cannot cast output from {_DTYPES[node.dtype]} to {_DTYPES[dtype]} in place "
                "with casting rule 'same_kind'"
            )
        node = _cast(node, dtype)
    if not infer.same_shape(node.shape, shape):
        raise ValueError(
            f"non-broadcastable output operand with shape {shape} doesn't match the broadcast shape {node.shape}"
        )
    if tensor.view is None and PyTuple_GET_SIZE(shape) == 0:
        return wrapped(node)
    _write(tensor, node)
    return tensor


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class View:
    """What makes a Tensor a view: see tensor.pxd."""


@cython.final
@cython.no_gc
@cython.freelist(128)
@cython.c_api_binop_methods(True)
cdef class Tensor:
    """An n-dimensional array. Made by the functions of the namespace, not by calling this class."""

    __array_ufunc__ = None
    __array_priority__ = 1000.0
    __hash__ = None

    def __init__(self):
        raise TypeError("Tensor: use asarray, zeros, ... to make one")

    def __dealloc__(self):
        if self.node is not None:
            graph.release(<PyObject *>self.node)

    cdef tuple get_shape(self):
        return self.node.shape if self.view is None else self.view.shape

    cdef int get_dtype(self):
        return self.node.dtype if self.view is None else self.view.base.node.dtype

    # Attributes

    @property
    def shape(self):
        """The extents, a tuple of ints."""
        return self.get_shape()

    @property
    def dtype(self):
        """The DType of the elements."""
        return _DTYPES[self.get_dtype()]

    @property
    def ndim(self):
        """The number of axes."""
        return len(self.get_shape())

    @property
    def size(self):
        """The number of elements."""
        return infer.size_of(self.get_shape())

    @property
    def itemsize(self):
        """Bytes of an element."""
        return infer.ITEMSIZE[self.get_dtype()]

    @property
    def nbytes(self):
        """Bytes of all elements."""
        return infer.size_of(self.get_shape()) * infer.ITEMSIZE[self.get_dtype()]

    @property
    def device(self):
        """Where the elements live."""
        return "cpu"

    @property
    def T(self):
        """A view with the axes in reverse order."""
        return view_permute(self, tuple(reversed(range(len(self.get_shape())))))

    @property
    def mT(self):
        """A view with the last two axes exchanged. Raises ValueError below two axes."""
        cdef Py_ssize_t n = len(self.get_shape())
        if n < 2:
            raise ValueError(f"mT: at least two axes are needed; shape is {self.get_shape()}")
        return view_permute(self, (*range(n - 2), n - 1, n - 2))

    def __getattr__(self, name):
        function = _METHODS.get(name)
        if function is None:
            raise AttributeError(f"'Tensor' object has no attribute '{name}'")
        return types.MethodType(function, self)

    def __dir__(self):
        return sorted({*object.__dir__(self), *_METHODS})

    # Operators. The left operand need not be a Tensor.

    def __add__(left, right):
        return binary(ADD, left, right)

    def __sub__(left, right):
        return binary(SUBTRACT, left, right)

    def __mul__(left, right):
        return binary(MULTIPLY, left, right)

    def __truediv__(left, right):
        return binary(DIVIDE, left, right)

    def __floordiv__(left, right):
        return binary(FLOOR_DIVIDE, left, right)

    def __mod__(left, right):
        return binary(REMAINDER, left, right)

    def __divmod__(left, right):
        return binary(FLOOR_DIVIDE, left, right), binary(REMAINDER, left, right)

    def __and__(left, right):
        return binary(AND, left, right)

    def __or__(left, right):
        return binary(OR, left, right)

    def __xor__(left, right):
        return binary(XOR, left, right)

    def __lshift__(left, right):
        return binary(LEFT, left, right)

    def __rshift__(left, right):
        return binary(RIGHT, left, right)

    def __pow__(left, right, modulus):
        if modulus is not None:
            return NotImplemented
        node = _power(left, right)
        return NotImplemented if node is None else wrapped(node)

    def __matmul__(left, right):
        return _METHODS["matmul"](left, right)

    def __neg__(self):
        return wrapped(_unary_node(NEGATIVE, self))

    def __pos__(self):
        return wrapped(_unary_node(POSITIVE, self))

    def __abs__(self):
        return wrapped(_unary_node(ABS, self))

    def __invert__(self):
        return wrapped(_unary_node(INVERT, self))

    def __richcmp__(self, other, int relation):
        return binary(_COMPARE[relation], self, other)

    def __iadd__(self, other):
        return _in_place(self, _binary_node(ADD, self, other), ADD)

    def __isub__(self, other):
        return _in_place(self, _binary_node(SUBTRACT, self, other), SUBTRACT)

    def __imul__(self, other):
        return _in_place(self, _binary_node(MULTIPLY, self, other), MULTIPLY)

    def __itruediv__(self, other):
        return _in_place(self, _binary_node(DIVIDE, self, other), DIVIDE)

    def __ifloordiv__(self, other):
        return _in_place(self, _binary_node(FLOOR_DIVIDE, self, other), FLOOR_DIVIDE)

    def __imod__(self, other):
        return _in_place(self, _binary_node(REMAINDER, self, other), REMAINDER)

    def __iand__(self, other):
        return _in_place(self, _binary_node(AND, self, other), AND)

    def __ior__(self, other):
        return _in_place(self, _binary_node(OR, self, other), OR)

    def __ixor__(self, other):
        return _in_place(self, _binary_node(XOR, self, other), XOR)

    def __ilshift__(self, other):
        return _in_place(self, _binary_node(LEFT, self, other), LEFT)

    def __irshift__(self, other):
        return _in_place(self, _binary_node(RIGHT, self, other), RIGHT)

    def __ipow__(self, other):
        return _in_place(self, _power(self, other), POW)

    def __imatmul__(self, other):
        return _in_place(self, current(_METHODS["matmul"](self, other)), MULTIPLY)

    # Indexing

    def __getitem__(self, index):
        cdef tuple shape = self.get_shape(), found = indexing.basic(index, shape)
        cdef Tensor part = self
        if found is None:
            return wrapped(_fancy(self, index))
        sizes, sliced, result, all_ints, axes = found
        if all_ints and shape:
            return _element(self, sizes)
        if sliced != shape or sizes != (0,) * len(shape) + (1,) * len(shape):
            part = _sliced(self, sizes, sliced)
        if result != sliced:
            strides = _strides(part)
            strides = tuple([strides[axis] if axis >= 0 else 1 for axis in axes])
            return _view(part, graph.RESHAPE, result, None, (), strides, _offset(part))
        return part if part is not self else _viewed(self, shape, _strides(self), _steps(self), _offset(self))

    def __setitem__(self, index, value):
        cdef tuple shape = self.get_shape(), found = indexing.basic(index, shape)
        cdef Tensor part = self
        cdef int dtype = self.get_dtype()
        if found is None:
            _scatter(self, index, value)
            return
        if type(value) is Tensor and (<Tensor>value).view is not None:
            if (<Tensor>value).view.base is (self if self.view is None else self.view.base):
                if _steps(<Tensor>self[index]) == (<Tensor>value).view.steps:
                    return  # x[index] += y has written through that view already
        sizes, sliced, result, _, _ = found
        if sliced != shape or sizes != (0,) * len(shape) + (1,) * len(shape):
            part = _sliced(self, sizes, sliced)
        node = _fit(_stored(value, dtype), result, "setitem")
        if result != sliced:
            node = graph.make(graph.RESHAPE, dtype, sliced, (node,))
        _write(part, node)

    def __delitem__(self, index):
        raise ValueError("cannot delete array elements")

    def __len__(self):
        cdef tuple shape = self.get_shape()
        if not shape:
            raise TypeError("len() of unsized object")
        return shape[0]

    def __iter__(self):
        if not self.get_shape():
            raise TypeError("iteration over a 0-d array")
        _demand(self)
        return (self[k] for k in range(len(self)))

    def __contains__(self, value):
        found = binary(EQUAL, self, value)
        return found is not NotImplemented and bool(interop.to_ndarray(_demand(found)).any())

    # Values

    def item(self, *args):
        """The Python scalar of a Tensor of one element, or of the element at an index."""
        if args:
            return self[args[0] if len(args) == 1 else args].item()
        if infer.size_of(self.get_shape()) != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return _scalar(self)

    def tolist(self):
        """Nested lists of Python scalars; a scalar for a 0-d Tensor."""
        return interop.to_ndarray(_demand(self)).tolist()

    def numpy(self):
        """A read-only ndarray snapshot; it shares memory, and never sees later writes."""
        return interop.to_ndarray(_demand(self))

    def __array__(self, dtype=None, copy=None):
        array = interop.to_ndarray(_demand(self))
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"__array__: a copy is needed to go from {array.dtype} to {dtype}")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __bool__(self):
        cdef int64_t size = infer.size_of(self.get_shape())
        if size != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
                if size
                else "The truth value of an empty array is ambiguous. Use `array.size > 0` to check "
                "that it is not empty."
            )
        return builtins.bool(_scalar(self))

    def __float__(self):
        return float(_zero_d(self))

    def __int__(self):
        return int(_zero_d(self))

    def __complex__(self):
        return complex(_zero_d(self))

    def __index__(self):
        if self.get_shape() or infer.KIND[self.get_dtype()] not in (infer.KIND_I, infer.KIND_U):
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return _scalar(self)

    def __round__(self, ndigits=None):
        return builtins.round(_zero_d(self), ndigits)

    def __format__(self, spec):
        if self.get_shape():
            if spec:
                raise TypeError("unsupported format string passed to Tensor.__format__")
            return str(self)
        return format(_scalar(self), spec)

    def __str__(self):
        return str(interop.to_ndarray(_demand(self)))

    def __repr__(self):
        array = interop.to_ndarray(_demand(self))
        dtype = self.dtype
        usual = array.size and dtype in (dtypes.float64, dtypes.int64, dtypes.bool_)
        tail = ")" if usual else f", dtype={dtype.name})"
        if not array.size:
            shown = "[]" if array.shape == (0,) else f"[], shape={array.shape}"
            return f"Tensor({shown}{tail}"
        shown = numpy.array2string(array, separator=", ", prefix="Tensor(", suffix=tail)
        return f"Tensor({shown}{tail}"

    # Exchange

    def __getbuffer__(self, Py_buffer *view, int flags):
        cdef Node node
        cdef object holder
        cdef Py_ssize_t k, n
        cdef Py_ssize_t *numbers
        if flags & PyBUF_WRITABLE:
            raise BufferError("a Tensor's memory is read-only; numpy.array(t) makes a writable copy")
        node = _demand(self)
        if _FORMATS[node.dtype] is None:
            raise BufferError(f"the buffer protocol has no format for {_DTYPES[node.dtype]}")
        holder = leaves.holder_of(node)
        n = PyTuple_GET_SIZE(node.shape)
        numbers = <Py_ssize_t *>malloc((2 * n + 1) * sizeof(Py_ssize_t))
        if numbers == NULL:
            raise MemoryError("out of memory: a buffer's shape")
        strides = shapes.c_strides(node.shape)
        for k in range(n):
            numbers[k] = node.shape[k]
            numbers[n + k] = strides[k] * infer.ITEMSIZE[node.dtype]
        view.buf = leaves.memory_of(node)
        view.len = infer.size_of(node.shape) * infer.ITEMSIZE[node.dtype]
        view.itemsize = infer.ITEMSIZE[node.dtype]
        view.readonly = 1
        view.ndim = n
        view.format = _format_of(node.dtype) if flags & PyBUF_FORMAT else NULL
        view.shape = numbers if flags & PyBUF_ND == PyBUF_ND else NULL
        view.strides = numbers + n if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        view.suboffsets = NULL
        Py_INCREF(holder)
        hold = <_hold_t *>malloc(sizeof(_hold_t))
        if hold == NULL:
            free(numbers)
            Py_DECREF(holder)
            raise MemoryError("out of memory: a buffer's shape")
        hold.numbers = numbers
        hold.holder = <PyObject *>holder
        view.internal = hold
        view.obj = self

    def __releasebuffer__(self, Py_buffer *view):
        cdef _hold_t *hold = <_hold_t *>view.internal
        Py_DECREF(<object>hold.holder)
        free(hold.numbers)
        free(hold)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """A capsule. Consumers that honour the read-only flag get a snapshot, others (and PyTorch) a copy."""
        if stream is not None:
            raise ValueError("__dlpack__: stream must be None on the cpu")
        array = interop.to_ndarray(_demand(self))
        caller = sys._getframe().f_globals.get("__name__", "")
        if copy or max_version is None or max_version[0] < 1 or caller.partition(".")[0] == "torch":
            if copy is False:
                raise BufferError("__dlpack__: a read-only Tensor can only be given as a copy here")
            array = array.copy()
        return array.__dlpack__(max_version=max_version, dl_device=dl_device)

    def __dlpack_device__(self):
        return 1, 0

    def __array_namespace__(self, *, api_version=None):
        namespace = sys.modules["charl"]
        if api_version is not None and api_version > namespace.__array_api_version__:
            raise ValueError(f"__array_namespace__: version {api_version} is not supported")
        return namespace

    def to_device(self, device, *, stream=None):
        """This Tensor; there is one device, "cpu"."""
        if device != "cpu":
            raise ValueError(f"to_device: there is no device {device!r}, only 'cpu'")
        return self

    def copy(self):
        """A Tensor of its own with the same value; nothing is copied until one of the two is written."""
        return _copied(self)

    def __copy__(self):
        return _copied(self)

    def __deepcopy__(self, memo):
        return _copied(self)

    def __reduce__(self):
        return _restore, (interop.to_ndarray(_demand(self)).copy(),)


cdef Tensor _copied(Tensor tensor):
    cdef Node node = current(tensor)
    if node.depth >= graph.BORROWED:  # borrowed memory may change under us
        node = graph.new(POSITIVE, node.dtype, node.shape, (node,)) if node.dtype else node
    return wrapped(node)


def _restore(array):
    """Unpickles."""
    return wrapped(interop.from_ndarray(array, True))


ctypedef struct _hold_t:
    Py_ssize_t *numbers
    PyObject *holder


cdef char *_format_of(int dtype) noexcept:
    if dtype == infer.B1:
        return b"?"
    return [b"?", b"b", b"h", b"i", b"q", b"B", b"H", b"I", b"Q", b"e", b"", b"f", b"d"][dtype]


cdef object _scalar(Tensor tensor):
    """The Python scalar of a Tensor of one element."""
    cdef Node node
    cdef int64_t bits = 0
    node = current(tensor)
    if node.op == graph.CONST and node.value is None:
        return infer.bits_value(node.bits, node.dtype)
    node = _demand(tensor)
    memcpy(&bits, leaves.memory_of(node), infer.ITEMSIZE[node.dtype])
    return infer.bits_value(bits, node.dtype)


cdef object _zero_d(Tensor tensor):
    if tensor.get_shape():
        raise TypeError("only 0-dimensional arrays can be converted to Python scalars")
    return _scalar(tensor)


cdef Tensor _element(Tensor tensor, tuple sizes):
    """One element, 0-d and never a view: read at once where the value is there, else a Node."""
    cdef Node node = current(tensor)
    cdef tuple shape = node.shape
    cdef Py_ssize_t k, n = PyTuple_GET_SIZE(shape)
    cdef int64_t at = 0, bits = 0
    cdef int size = infer.ITEMSIZE[node.dtype]
    if node.value is not None and node.depth < graph.BORROWED:
        for k in range(n):
            at = at * <int64_t>shape[k] + <int64_t>sizes[k]
        memcpy(&bits, <char *>leaves.memory_of(node) + at * size, size)
        return wrapped(graph.new_const(node.dtype, bits))
    node = graph.make(graph.SLICE, node.dtype, (1,) * n, (node,), None, sizes)
    return wrapped(graph.make(graph.RESHAPE, node.dtype, (), (node,)))


def _is_tensor(value):
    return isinstance(value, Tensor)


def _leaf_of(array):
    return interop.from_ndarray(array, True)


cdef Node _fancy(Tensor tensor, object index):
    """Reading by arrays: the basic part as a view, then a gather."""
    found = advanced.Advanced(index, tensor.get_shape(), node_of, _is_tensor)
    part = tensor[found.base_index]
    return found.apply(current(part), _leaf_of)


cdef int _scatter(Tensor tensor, object index, object value) except -1:
    """Writing by one boolean mask; by other arrays through NumPy, on a copy of the whole."""
    cdef tuple shape = tensor.get_shape()
    cdef Node mask, node, place
    cdef int dtype = tensor.get_dtype()
    given = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    if isinstance(given, (list, numpy.ndarray)):
        given = numpy.asarray(given)
    if not isinstance(given, (Tensor, numpy.ndarray)) or given.dtype != "bool" or not given.shape:
        _scatter_by_numpy(tensor, index, value)
        return 0
    covered = len(given.shape)
    if given.shape != shape[:covered]:
        advanced.Advanced(given, shape, node_of, _is_tensor)  # raises NumPy's IndexError
    mask = _operand(given)
    if covered < len(shape):
        mask = graph.make(graph.RESHAPE, infer.B1, shape[:covered] + (1,) * (len(shape) - covered), (mask,))
    node = _stored(value, dtype)
    if len(node.shape) > len(shape) - covered:  # one value for each True
        engine.realize(mask)
        places = interop.to_ndarray(mask).reshape(shape[:covered])
        node = _fit(node, (int(places.sum()), *shape[covered:]), "setitem: boolean mask")
        if not places.any():
            return 0
        order = numpy.maximum(numpy.cumsum(places.reshape(-1), dtype=numpy.int64) - 1, 0).reshape(places.shape)
        place = interop.from_ndarray(order, True)
        node = graph.make(graph.GATHER, dtype, shape, (node, place), 0)
    else:
        node = _fit(node, shape[covered:], "setitem: boolean mask")
    _write(tensor, graph.new(graph.WHERE, dtype, shape, (mask, node, current(tensor))))
    return 0


def _scatter_by_numpy(tensor, index, value):
    """Any other index: the last of equal indices wins, as in NumPy."""
    items = index if isinstance(index, tuple) else (index,)
    items = tuple(numpy.asarray(item) if isinstance(item, Tensor) else item for item in items)
    array = numpy.array(tensor)
    array[items] = numpy.asarray(value) if isinstance(value, Tensor) else value
    _write(tensor, interop.from_ndarray(array, True))


# What the api builds on


def register_method(str name, function):
    """Makes function(tensor, ...) the method `name` of every Tensor."""
    _METHODS[name] = function


def elementwise(str name, *args, dtype=None):
    """The Tensor of an elementwise op on arrays and Python scalars that broadcast together, promoted as in NumPy 2.

    dtype: the result is cast to it. Raises TypeError, ValueError or OverflowError, each naming what was wrong.
    """
    cdef int op = _OPS[name]
    cdef Node node
    if len(args) != _ARITY[op]:
        raise TypeError(f"{name}: takes {_ARITY[op]} arrays, got {len(args)}")
    if op == POW:
        node = _power(args[0], args[1])
    elif len(args) == 2:
        node = _binary_node(op, args[0], args[1])
    elif len(args) == 1 and type(args[0]) is Tensor:
        node = _unary_node(op, args[0])
    else:
        node = _general(op, args)
    if node is None:
        wrong = next(a for a in args if _operand(a) is None and not infer.weak_kind(a))
        raise TypeError(f"{name}: an array or a number is needed, got {type(wrong).__name__}")
    if dtype is not None:
        node = _cast(node, dtypes.as_dtype(dtype).code)
    return wrapped(node)


def as_tensor(value):
    """A Tensor from a Tensor (itself), an ndarray (copied), a number, or nested sequences of them.

    Raises TypeError for what NumPy would make an object array of, or a dtype charl has not.
    """
    cdef int kind
    if type(value) is Tensor:
        return value
    kind = infer.weak_kind(value)
    if kind:
        return wrapped(_const(value, infer.with_weak(-1, kind)))
    if isinstance(value, numpy.generic):
        return wrapped(_array_node(value, True))
    array = numpy.asarray(value)
    if array.dtype.kind in "OUSMmVc":
        numpy_name = array.dtype.name
        if numpy_name != "bfloat16":
            raise TypeError(f"cannot make a Tensor of {type(value).__name__} (dtype {array.dtype})")
    return wrapped(interop.from_ndarray(array, True))


def from_numpy(array, copy=True):
    """A Tensor with an ndarray's elements: copied, or borrowed (copy False; None: if the array is read-only).

    Raises TypeError for a dtype charl has not, BufferError where copy=False and the memory cannot be borrowed.
    """
    return wrapped(interop.from_ndarray(array, copy))


def from_numpy_owned(array):
    """A Tensor on an ndarray's memory, which the caller gives away: nobody will write it. Copied if not contiguous."""
    array = numpy.ascontiguousarray(array).reshape(array.shape)
    array = array.view()
    array.flags.writeable = False
    cdef Node node = interop.from_ndarray(array, None)
    node.depth = 0
    return wrapped(node)


def unset(dtype, tuple shape):
    """A leaf Node of a DType whose elements hold anything: the base of updates that write them all."""
    return leaves.leaf_copy(dtype.code, shape, NULL, infer.size_of(shape) * dtype.itemsize)


def const(value, dtype):
    """A 0-d Node of a Python scalar in a DType. Raises OverflowError where an int does not fit."""
    return _const(value, dtypes.as_dtype(dtype).code)


cdef object _evaluate(object module, PyObject **tensors, Py_ssize_t count):
    cdef Tensor tensor
    cdef list found, waiting, nodes
    if count == 1 and type(<object>tensors[0]) is Tensor:
        _demand(<Tensor>tensors[0])
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
        _keep(tensor, node)
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


def interop_dtype(int dtype):
    """The numpy.dtype of a dtype code; of bfloat16 float32, whose casts are of the same kinds."""
    return numpy.dtype(numpy.float32) if dtype == infer.BF16 else dtypes.to_numpy(_DTYPES[dtype])
