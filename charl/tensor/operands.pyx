# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Operands as Nodes: values of all kinds, promoted as in NumPy 2, for element-wise ops and assignments.

A Tensor is given as its Node: this file knows no Tensor.
"""

from cpython.tuple cimport PyTuple_GET_SIZE

from charl.core cimport infer
from charl.engine cimport realize as engine
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor cimport interop

import numpy

from charl.core import dtypes, shapes
from charl.engine.devices import check, lacks
from charl.engine.devices import name as device_name
from charl.ops.table import OPS

NAMES = {row.code: row.name for row in OPS.values() if row.group == "elementwise"}
_DTYPES = list(dtypes.ALL)
cdef tuple _EMPTY = ()


def _code(name):
    return OPS[name].code


ADD, SUBTRACT, MULTIPLY, DIVIDE = map(_code, ("add", "subtract", "multiply", "divide"))
FLOOR_DIVIDE, REMAINDER, POW = map(_code, ("floor_divide", "remainder", "pow"))
AND, OR, XOR = map(_code, ("bitwise_and", "bitwise_or", "bitwise_xor"))
INVERT, LEFT, RIGHT = map(_code, ("bitwise_invert", "bitwise_left_shift", "bitwise_right_shift"))
NEGATIVE, POSITIVE, ABS = map(_code, ("negative", "positive", "abs"))
SQRT, SQUARE, RECIPROCAL = map(_code, ("sqrt", "square", "reciprocal"))
MATMUL, RESHAPE = map(_code, ("matmul", "reshape"))
EQUAL, NOT_EQUAL, LESS = map(_code, ("equal", "not_equal", "less"))
LESS_EQUAL, GREATER, GREATER_EQUAL = map(_code, ("less_equal", "greater", "greater_equal"))
LOGICAL_AND, LOGICAL_OR, LOGICAL_NOT = map(_code, ("logical_and", "logical_or", "logical_not"))


cdef Node const(object value, int dtype):
    """A Python scalar as dtype. Raises OverflowError where an int does not fit."""
    return graph.new_const(dtype, infer.scalar_bits(value, dtype))


cdef Node _array_node(object value, object copy):
    """The Node of an ndarray or a NumPy scalar."""
    if isinstance(value, numpy.generic):
        descr = value.dtype
        dtype = dtypes.as_dtype(descr)
        return graph.new_const(dtype.code, infer.scalar_bits(value.item(), dtype.code))
    return interop.from_ndarray(value, copy)


cdef Node as_node(object value):
    """The Node of a Node (itself), an ndarray, a NumPy scalar or nested lists; None for what is no operand."""
    if type(value) is Node:
        return <Node>value
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return _array_node(value, True)
    if isinstance(value, (list, tuple)):
        return interop.from_ndarray(numpy.asarray(value), True)
    return None


cdef Node zeros(int dtype, tuple shape):
    """Zeros, stored nowhere."""
    return graph.new1(graph.EXPAND, dtype, shape, graph.new_const(dtype, 0))


cdef Node cast(Node node, int dtype):
    """node as dtype."""
    if node.dtype == dtype:
        return node
    return graph.new1(graph.CAST, dtype, node.shape, node)


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
    return node if not shape else graph.new1(graph.EXPAND, infer.B1, shape, node)


cdef Node _mixed_compare(int op, Node a, Node b):
    """Compares int64 and the like with uint64 exactly: no dtype holds both."""
    cdef bint signed_left = infer.KIND[a.dtype] == infer.KIND_I
    cdef Node signed_one = a if signed_left else b
    cdef Node other = b if signed_left else a
    cdef Node zero = graph.new_const(signed_one.dtype, 0)
    cdef Node below = graph.new2(LESS, infer.B1, signed_one.shape, signed_one, zero)
    cdef Node unsigned_one = cast(signed_one, infer.U64)
    cdef tuple shape = infer.broadcast2(a.shape, b.shape)
    cdef Node left = unsigned_one if signed_left else other
    cdef Node fits = graph.new2(op, infer.B1, shape, left, other if signed_left else unsigned_one)
    if op == NOT_EQUAL or op == (LESS if signed_left else GREATER) or (
        op == (LESS_EQUAL if signed_left else GREATER_EQUAL)
    ):
        return graph.new2(LOGICAL_OR, infer.B1, shape, below, fits)
    zero = graph.new1(LOGICAL_NOT, infer.B1, below.shape, below)
    return graph.new2(LOGICAL_AND, infer.B1, shape, zero, fits)


cdef bint is_compare(int op) noexcept:
    """Whether op is one of == != < <= > >=."""
    return (
        op == EQUAL or op == NOT_EQUAL or op == LESS or op == LESS_EQUAL or op == GREATER or op == GREATER_EQUAL
    )


cdef int narrowed(int dtype, Node node) except -1:
    """dtype as the outcome of a rule and not of an operand's: float32 for float64 on a device that has none."""
    return infer.F32 if dtype == infer.F64 and lacks(node.device, "float64") else dtype


cdef Node general(int op, tuple args):
    """An elementwise Node on any operands, promoted as in NumPy 2; None where an operand is none.

    Raises TypeError for dtypes, ValueError for shapes, OverflowError for a Python int that does not fit.
    """
    cdef int dtype = -1, weak = 0, operand, result, kind
    cdef Py_ssize_t k, count = len(args)
    cdef list nodes = [None] * count
    cdef tuple shape = _EMPTY
    cdef Node node, condition = None, there = None
    cdef bint has_double = False
    for k in range(count):
        value = args[k]
        kind = 0 if type(value) is Node else infer.weak_kind(value)  # asking costs 30 ns for what is no number
        if kind and not (op == graph.WHERE and k == 0):
            weak = max(weak, kind)
            continue
        node = as_node(value) if not kind else graph.new_const(infer.B1, 1 if value else 0)
        if node is None:
            if isinstance(value, complex):
                raise TypeError(f"{NAMES[op]}: complex numbers are not supported yet; got {value!r}")
            return None
        nodes[k] = node
        shape = infer.broadcast2(shape, node.shape)
        if op == graph.WHERE and k == 0:
            condition = node
        else:
            dtype = node.dtype if dtype < 0 else infer.PROMOTE[dtype][node.dtype]
            has_double |= node.dtype == infer.F64
        if node.device:
            there = node
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
    if is_compare(op) and dtype == infer.F64 and not weak:
        if (<Node>nodes[0]).dtype == infer.U64 and infer.KIND[(<Node>nodes[1]).dtype] == infer.KIND_I or (
            (<Node>nodes[1]).dtype == infer.U64 and infer.KIND[(<Node>nodes[0]).dtype] == infer.KIND_I
        ):
            return _mixed_compare(op, nodes[0], nodes[1])
    if there is not None and operand == infer.F64:
        if has_double:
            check(there.device, "float64", NAMES[op])
        else:
            operand = narrowed(operand, there)
            result = operand if result == infer.F64 else result
    for k in range(count):
        node = nodes[k]
        if node is None:
            if infer.KIND[operand] != infer.KIND_F:
                try:
                    infer.scalar_bits(args[k], dtype)
                except OverflowError:
                    if not is_compare(op):
                        raise
                    return _beyond(op, args[k], k == 0, dtype, shape)
            nodes[k] = const(args[k], operand)
        elif node is condition:
            nodes[k] = cast(node, infer.B1)
        else:
            nodes[k] = cast(node, operand)
    return graph.new(op, result, shape, tuple(nodes))


cdef Node power(object base, object exponent):
    """x ** p; the scalar exponents 0, 1, 2, 3, 1/2 and -1 become cheaper operations, as in NumPy."""
    cdef Node node, square
    cdef int dtype, kind, weak = 0 if type(exponent) is Node else infer.weak_kind(exponent)
    if weak > infer.WEAK_BOOL and (type(base) is Node or infer.weak_kind(base) == 0):
        node = as_node(base)
        if node is None:
            return None
        dtype = infer.with_weak(node.dtype, weak)
        if node.device and node.dtype != infer.F64:
            dtype = narrowed(dtype, node)
        kind = infer.KIND[dtype]
        if kind == infer.KIND_F or type(exponent) is not float:
            if kind != infer.KIND_F:
                infer.scalar_bits(exponent, dtype)
                if exponent < 0:
                    raise ValueError("Integers to negative integer powers are not allowed.")
            node = cast(node, dtype)
            if exponent == 2:
                return graph.new2(MULTIPLY, dtype, node.shape, node, node)
            if exponent == 3:
                square = graph.new2(MULTIPLY, dtype, node.shape, node, node)
                return graph.new2(MULTIPLY, dtype, node.shape, square, node)
            if exponent == 1:
                return graph.new1(POSITIVE, dtype, node.shape, node) if dtype else node
            if exponent == 0:
                return graph.new1(graph.EXPAND, dtype, node.shape, const(1, dtype))
            if kind == infer.KIND_F and exponent == 0.5:
                return graph.new1(SQRT, dtype, node.shape, node)
            if kind == infer.KIND_F and exponent == -1:
                return graph.new1(RECIPROCAL, dtype, node.shape, node)
    return general(POW, (base, exponent))


cdef Node fit(Node node, tuple shape, str what):
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
    return graph.new1(graph.EXPAND, node.dtype, shape, node)


def elsewhere(int given, int wanted):
    """The error of storing an array of another device."""
    return ValueError(
        f"setitem: the value is on {device_name(given)}, the array on {device_name(wanted)}; "
        "x.to_device(...) moves one"
    )


cdef Node stored(object value, int dtype, int device):
    """The Node of a value to be stored on a device, cast to dtype as NumPy's assignment does.

    What the device cannot cast, the cpu does now. Raises TypeError, OverflowError, and ValueError for an array of
    another device.
    """
    cdef Node node
    if type(value) is not Node and infer.weak_kind(value):
        return const(value, dtype)
    node = as_node(value)
    if node is None:
        raise TypeError(f"setitem: cannot store {type(value).__name__} in a Tensor of {_DTYPES[dtype]}")
    if node.device != device and infer.size_of(node.shape) and node.shape and (node.device or node.handles):
        raise elsewhere(node.device, device)
    if node.device == 0 and node.dtype == infer.F64 and dtype != infer.F64 and lacks(device, "float64"):
        node = cast(node, dtype)
        engine.realize(node)
    return cast(node, dtype)
