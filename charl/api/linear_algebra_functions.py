"""Products of vectors, matrices and batches of them. Source: array API 2025.12, linear algebra
functions.

float32 and float64 are contracted with fused multiply-add along the common axis in fixed blocks, so
results depend on shapes alone; float16 and bfloat16 are contracted in float32; integers wrap; bools
give "any of both".
"""

from __future__ import annotations

import math

from charl.api import build as b
from charl.core import dtypes
from charl.tensor import plain_product, recorded, view_permute, wrap

KINDS = "buif"  # each is cast to those after it


def contract(left, right):
    """The Node of (..., m, k) times (..., k, n), both of one dtype and at least 2-D."""
    dtype = b.dtype_of(left)
    batch = b.broadcast("matmul", left.shape[:-2], right.shape[:-2])
    m, k, n = left.shape[-2], left.shape[-1], right.shape[-1]
    if dtype.kind == "f":
        wide = b.WIDE.get(dtype, dtype)
        operands = (b.cast(left, wide), b.cast(right, wide))
        return b.cast(b.make(b.CODE["matmul"], wide.code, (*batch, m, n), operands), dtype)
    name, ndim = "any" if dtype is dtypes.bool_ else "sum", len(batch) + 3
    if n == 1:  # along k: (..., m, 1, k) * (..., 1, 1, k)
        left = b.reshape(left, (*left.shape[:-1], 1, k))
        right = b.reshape(right, (*right.shape[:-2], 1, 1, k))
        return b.reduce(name, b.call("multiply", left, right), (ndim - 1,))
    # lanes are columns: (..., m, k, 1) * (..., 1, k, n)
    left = b.reshape(left, (*left.shape, 1))
    right = b.reshape(right, (*right.shape[:-2], 1, k, n))
    return b.reduce(name, b.call("multiply", left, right), (ndim - 2,))


def _cast(left, right, dtype):
    """Both in dtype, by NumPy's rule "same_kind"."""
    target = b.dtype_at(left, dtype, dtypes.float64, "matmul")
    for n in (left, right):
        given = b.dtype_of(n)
        if KINDS.index(given.kind) > KINDS.index(target.kind):
            raise TypeError(f"matmul: {given.name} is not cast to {target.name}, another kind")
    return b.cast(left, target), b.cast(right, target)


def matmul(x1, x2, /, *, dtype=None):
    """The matrix product: (..., m, k) times (..., k, n) gives (..., m, n); leading axes broadcast.

    A vector x1 counts as (1, k) and x2 as (k, 1), and that axis is dropped again.
    dtype: operands are cast to it as they are read, so that int8 products are summed in int32.
    Raises ValueError where k differs or an operand is 0-d, TypeError where the cast is to another
    kind of number.

    >>> ch.matmul(ch.asarray([[1.0, 2.0], [3.0, 4.0]]), ch.asarray([1.0, 1.0]))
    Tensor([3., 7.])
    """
    if dtype is None:
        out = plain_product(x1, x2)
        if out is not None:
            return out
    return _matmul(x1, x2, dtype)


@recorded
def _matmul(x1, x2, dtype):
    left, right = b.common("matmul", x1, x2)
    if dtype is not None:
        left, right = _cast(left, right, dtype)
    if not left.shape or not right.shape:
        raise ValueError(
            "matmul: operands must have at least one dimension; use multiply for scalars"
        )
    row, column = len(left.shape) == 1, len(right.shape) == 1
    shapes = f"{left.shape} and {right.shape}"
    if row:
        left = b.reshape(left, (1, *left.shape))
    if column:
        right = b.reshape(right, (*right.shape, 1))
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"matmul: inner sizes differ in shapes {shapes}")
    out = contract(left, right)
    shape = out.shape[:-2] + (() if row else out.shape[-2:-1]) + (() if column else out.shape[-1:])
    return wrap(b.reshape(out, shape))


def matrix_transpose(x, /):
    """A view of x (..., m, n) as (..., n, m). Raises ValueError with fewer than two dimensions.

    >>> ch.matrix_transpose(ch.asarray([[1, 2], [3, 4]]))
    Tensor([[1, 3],
            [2, 4]])
    """
    x = b.tensor(x, "matrix_transpose")
    ndim = len(x.shape)
    if ndim < 2:
        raise ValueError(
            f"matrix_transpose: x must have at least two dimensions; shape is {x.shape}"
        )
    return view_permute(x, (*range(ndim - 2), ndim - 1, ndim - 2))


def _pairs(axes, ndims) -> tuple[list[int], list[int]]:
    if isinstance(axes, (tuple, list)):
        if len(axes) != 2:
            raise ValueError(f"tensordot: axes must be an int or two sequences, got {axes!r}")
        ends = [e if isinstance(e, (tuple, list)) else (e,) for e in axes]
        for end, ndim in zip(ends, ndims):
            b.axes_in(tuple(end), ndim, "tensordot")
        pairs = [[b.axis_in(a, ndim, "tensordot") for a in e] for e, ndim in zip(ends, ndims)]
    else:
        count = b.integer(axes, "tensordot", "axes")
        if not 0 <= count <= min(ndims):
            raise ValueError(f"tensordot: {count} axes of operands with {ndims} dimensions")
        pairs = [list(range(ndims[0] - count, ndims[0])), list(range(count))]
    if len(pairs[0]) != len(pairs[1]):
        raise ValueError(f"tensordot: axes {axes!r} pair {len(pairs[0])} with {len(pairs[1])}")
    return pairs[0], pairs[1]


@recorded
def tensordot(x1, x2, /, *, axes=2):
    """The sum of products over axes of x1 paired with axes of x2; the other axes of x1, then of x2,
    remain.

    axes: a number n (the last n of x1 with the first n of x2) or two sequences. Raises ValueError
    where paired sizes differ, IndexError for an axis out of range.

    >>> ch.tensordot(ch.asarray([[1.0, 2.0]]), ch.asarray([3.0, 4.0]), axes=1)
    Tensor([11.])
    """
    left, right = b.common("tensordot", x1, x2)
    inner1, inner2 = _pairs(axes, (len(left.shape), len(right.shape)))
    for p, q in zip(inner1, inner2):
        if left.shape[p] != right.shape[q]:
            raise ValueError(
                f"tensordot: axis {p} of shape {left.shape} and axis {q} of {right.shape} differ"
            )
    rest1 = [k for k in range(len(left.shape)) if k not in inner1]
    rest2 = [k for k in range(len(right.shape)) if k not in inner2]
    kept = tuple(left.shape[k] for k in rest1), tuple(right.shape[k] for k in rest2)
    size = math.prod(left.shape[k] for k in inner1)
    rows = b.reshape(b.permute(left, rest1 + inner1), (math.prod(kept[0]), size))
    columns = b.reshape(b.permute(right, inner2 + rest2), (size, math.prod(kept[1])))
    return wrap(b.reshape(contract(rows, columns), kept[0] + kept[1]))


@recorded
def vecdot(x1, x2, /, *, axis=-1):
    """The dot product along an axis, counted from the end of both; the other axes broadcast.

    Raises ValueError where the sizes differ, IndexError for an axis out of range.

    >>> ch.vecdot(ch.asarray([[1.0, 2.0], [3.0, 4.0]]), ch.asarray([1.0, 1.0]))
    Tensor([3., 7.])
    """
    at = b.integer(axis, "vecdot", "axis")
    sides = []
    for n in b.common("vecdot", x1, x2):
        ndim = len(n.shape)
        k = b.axis_in(at, ndim, "vecdot")
        sides.append(b.permute(n, (*(a for a in range(ndim) if a != k), k)))
    left, right = sides
    if left.shape[-1] != right.shape[-1]:
        raise ValueError(
            f"vecdot: sizes {left.shape[-1]} and {right.shape[-1]} differ along axis {axis}"
        )
    left = b.reshape(left, (*left.shape[:-1], 1, left.shape[-1]))
    right = b.reshape(right, (*right.shape, 1))
    out = contract(left, right)
    return wrap(b.reshape(out, out.shape[:-2]))
