"""take and take_along_axis. Source: array API 2025.12, indexing functions.

Negative indices count from the end. An index out of range raises IndexError when the result is
realized, and the error names the line of this call.
"""

from __future__ import annotations

import math

from charl.api import build as b
from charl.core import dtypes
from charl.tensor import Tensor, user_site, wrap


def _index(x, function):
    n = b.node(x, function)
    if b.dtype_of(n).kind not in "iu":
        raise TypeError(f"{function}: indices must be integers, got {b.dtype_of(n).name}")
    return b.cast(n, dtypes.int64)


def take(x, indices, /, *, axis=None):
    """x's slices at indices (...) along an axis, which is replaced by the axes of indices.

    axis None: of the only axis, or of the flat x. Raises TypeError unless indices are integers.

    >>> ch.take(ch.asarray([10, 20, 30]), ch.asarray([2, 0]))
    Tensor([30, 10])
    """
    if axis == 0 and type(x) is type(indices) is Tensor and indices.dtype.kind in "iu":
        return x[indices]
    n, index = b.node(x, "take"), _index(indices, "take")
    if axis is None:
        n, axis = b.reshape(n, (math.prod(n.shape),)), 0
    at = b.axis_in(axis, len(n.shape), "take")
    if n.shape[at] == 0 and math.prod(index.shape):
        raise IndexError(f"take: axis {at} of shape {n.shape} is empty")
    return wrap(b.gather(n, index, at, user_site()))


def take_along_axis(x, indices, /, *, axis=-1):
    """out[i, j, k] = x[i, indices[i, j, k], k] for axis 1, and so on; the other axes broadcast.

    Raises ValueError unless x and indices have equally many axes, TypeError unless indices are
    integers.

    >>> ch.take_along_axis(ch.asarray([[3, 1], [5, 9]]), ch.asarray([[1], [0]]), axis=1)
    Tensor([[1],
            [5]])
    """
    n, index = b.node(x, "take_along_axis"), _index(indices, "take_along_axis")
    ndim = len(n.shape)
    if len(index.shape) != ndim:
        raise ValueError(f"take_along_axis: x has {ndim} dimensions and indices {len(index.shape)}")
    at = b.axis_in(axis, ndim, "take_along_axis")
    outer = b.broadcast(
        "take_along_axis",
        *((*s[:at], 1, *s[at + 1 :]) for s in (n.shape, index.shape)),
    )
    extent = n.shape[at]
    n = b.expand(n, (*outer[:at], extent, *outer[at + 1 :]))
    shape = (*outer[:at], index.shape[at], *outer[at + 1 :])
    if extent == 0 and math.prod(shape):
        raise IndexError(f"take_along_axis: axis {at} of shape {n.shape} is empty")
    # the position in the flat x: the index along the axis, the place itself along the others
    flat = b.wrap_index(b.expand(index, shape), extent, user_site())
    total, stride = b.const(0, dtypes.int64), 1
    for k in reversed(range(ndim)):
        place = flat if k == at else b.iota_along(shape, k)
        total = b.call("add", total, b.call("multiply", place, b.const(stride, dtypes.int64)))
        stride *= n.shape[k]
    return wrap(b.gather_at(b.reshape(n, (math.prod(n.shape),)), b.expand(total, shape), 0))
