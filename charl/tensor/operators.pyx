# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Operators of Tensors: the hot path of recording, and `op=`."""

from cpython.tuple cimport PyTuple_GET_SIZE

from charl.core cimport infer
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor cimport operands
from charl.tensor.handle cimport Tensor
from charl.tensor.operands cimport MATMUL, POW, RESHAPE, SQUARE
from charl.tensor.value cimport bare, current, dtype_of, shape_of, wrapped, write

import numpy

from charl.core import dtypes
from charl.tensor.interop import numpy_dtype
from charl.tensor.operands import NAMES

cdef list _DTYPES = list(dtypes.ALL)


cdef object recorded(int op, object left, object right, bint as_node):
    """A binary op's Node or its Tensor; None where an operand is none. The hot path: two Tensors of one dtype, or a
    Tensor and a Python scalar.
    """
    cdef Node a, b = None
    cdef tuple shape
    cdef int dtype
    if type(left) is Tensor:
        a = current(<Tensor>left)
        shape = a.shape
        dtype = a.dtype
        if type(right) is Tensor:
            b = current(<Tensor>right)
            if b.dtype != dtype:
                dtype = infer.PROMOTE[dtype][b.dtype]
                if dtype != a.dtype and dtype != b.dtype or a.device | b.device:
                    return _general(op, a, b, as_node)
            if infer.OPERAND[op][dtype] != dtype:
                return _general(op, a, b, as_node)
            if a.dtype != dtype:
                a = operands.cast(a, dtype)
            elif b.dtype != dtype:
                b = operands.cast(b, dtype)
            if b.shape is not shape:
                shape = infer.broadcast2(shape, b.shape)
        elif type(right) is float or type(right) is int:
            b = _beside(op, right, dtype)
        if b is not None:
            a = graph.new2(op, infer.RESULT[op][dtype], shape, a, b)
            return a if as_node else wrapped(a)
    return _general(op, left, right, as_node)


cdef Node _beside(int op, object number, int dtype):
    """The constant for a Python number beside an array of a dtype; None where there are rules to follow."""
    if infer.OPERAND[op][dtype] != dtype or op == POW:
        return None
    if infer.KIND[dtype] == infer.KIND_F:
        return graph.new_const(dtype, infer.scalar_bits(number, dtype))
    if type(number) is int and dtype != infer.B1 and infer.RESULT[op][dtype] == dtype:
        return graph.new_const(dtype, infer.scalar_bits(number, dtype))
    return None


cdef object _general(int op, object left, object right, bint as_node):
    cdef Node node
    if op == POW:
        node = operands.power(bare(left), bare(right))
    else:
        node = operands.general(op, (bare(left), bare(right)))
    return node if as_node or node is None else wrapped(node)


cdef Node product_node(Node a, Node b):
    """The Node of the product of two float32 or float64 vectors, matrices, or stacks of matrices; None for all
    else, where there are rules to follow or errors to tell. Those take longer than to launch a small product.
    """
    cdef tuple first = a.shape, second = b.shape, shape
    cdef Py_ssize_t m = PyTuple_GET_SIZE(first), n = PyTuple_GET_SIZE(second)
    if a.dtype != b.dtype or not (a.dtype == infer.F32 or a.dtype == infer.F64) or m == 0 or n == 0:
        return None
    if first[m - 1] != second[n - 2 if n > 1 else 0]:
        return None
    if m > 2 or n > 2:
        if m == 1 or n == 1:
            return None
        shape = first[: m - 2]
        if shape != second[: n - 2]:
            try:
                shape = infer.broadcast2(shape, second[: n - 2])
            except ValueError:
                return None
        return graph.new2(MATMUL, a.dtype, shape + (first[m - 2], second[n - 1]), a, b)
    shape = (1 if m == 1 else first[0], 1 if n == 1 else second[1])
    if m == 1:
        a = graph.new1(RESHAPE, a.dtype, (1, first[0]), a)
    if n == 1:
        b = graph.new1(RESHAPE, b.dtype, (second[0], 1), b)
    cdef Node node = graph.new2(MATMUL, a.dtype, shape, a, b)
    if m == 1 or n == 1:
        node = graph.new1(RESHAPE, a.dtype, first[: m - 1] + (second[1:] if n == 2 else ()), node)
    return node


cdef object product(object left, object right):
    """The Tensor of such a product of two Tensors, or None."""
    cdef Node node
    if type(left) is not Tensor or type(right) is not Tensor:
        return None
    node = product_node(current(<Tensor>left), current(<Tensor>right))
    return None if node is None else wrapped(node)


cdef object power(object left, object right):
    """The operator **. Of bool to the Python int 2 it is `square`, as in NumPy, whose function power gives int64."""
    if type(left) is Tensor and dtype_of(<Tensor>left) == infer.B1 and type(right) is int and right == 2:
        return unary(SQUARE, <Tensor>left)
    return binary(POW, left, right)


cdef Node unary_node(int op, Tensor tensor):
    """The Node of a unary op."""
    cdef Node node = current(tensor)
    cdef int dtype = node.dtype
    if infer.OPERAND[op][dtype] != dtype:
        if node.device:
            dtype = operands.narrowed(infer.operand_dtype(op, dtype), node)
        node = operands.cast(node, infer.operand_dtype(op, dtype))
    return graph.new1(op, infer.RESULT[op][dtype], node.shape, node)


cdef object unary(int op, Tensor tensor):
    """The Tensor of a unary operator."""
    return wrapped(unary_node(op, tensor))


cdef object in_place(Tensor tensor, int op, object other):
    """tensor op= other."""
    return assigned(tensor, op, binary_node(op, tensor, other))


cdef object assigned(Tensor tensor, int op, Node node):
    """tensor op= ...: node is the result of the operator. A 0-d root is rebound, as NumPy's scalars are."""
    cdef int dtype = dtype_of(tensor)
    cdef tuple shape = shape_of(tensor)
    if node is None:
        return NotImplemented
    if node.dtype != dtype:
        if not _same_kind(node.dtype, dtype):
            raise TypeError(
                f"{NAMES[op]}: cannot cast output from {_DTYPES[node.dtype]} to {_DTYPES[dtype]} in place "
                "with casting rule 'same_kind'"
            )
        node = operands.cast(node, dtype)
    if not infer.same_shape(node.shape, shape):
        raise ValueError(
            f"non-broadcastable output operand with shape {shape} doesn't match the broadcast shape {node.shape}"
        )
    if tensor.view is None and PyTuple_GET_SIZE(shape) == 0:
        return wrapped(node)
    write(tensor, node)
    return tensor


cdef bint _same_kind(int given, int target) except -1:
    """NumPy's casting rule; bfloat16 stands as float32, whose casts are of the same kinds."""
    return numpy.can_cast(
        numpy_dtype(infer.F32 if given == infer.BF16 else given),
        numpy_dtype(infer.F32 if target == infer.BF16 else target),
        "same_kind",
    )
