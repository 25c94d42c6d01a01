"""sort, argsort, top_k and bincount: NumPy's, on the realized buffer. Source: array API 2025.12, sorting functions."""

from __future__ import annotations

import numpy as np

from charl.api import build as b
from charl.core.named import NamedTuple
from charl.tensor import Tensor


def sort(x, /, *, axis=-1, descending=False, stable=True):
    """x in order along an axis, NaN last (first if descending). A new array; x is realized.

    Raises IndexError for an axis out of range, so for any if x is 0-d.

    >>> ch.sort(ch.asarray([3, 1, 2]))
    Tensor([1, 2, 3])
    """
    values = b.values(x, "sort")
    at = b.axis_in(axis, values.ndim, "sort")
    out = np.sort(values, axis=at, kind="stable" if stable else None)
    return b.adopt(np.flip(out, at) if descending else out, x)


def argsort(x, /, *, axis=-1, descending=False, stable=True):
    """The indices that put x in order along an axis, NaN last (first if descending). int64; x is
    realized.

    stable: equal elements keep their order, descending too.

    >>> ch.argsort(ch.asarray([3, 1, 2]))
    Tensor([1, 2, 0])
    """
    values = b.values(x, "argsort")
    at = b.axis_in(axis, values.ndim, "argsort")
    kind = "stable" if stable else None
    if not descending:
        return b.adopt(np.argsort(values, axis=at, kind=kind), x)
    # sorting the reversed array and reversing the result keeps equals in order
    order = np.flip(np.argsort(np.flip(values, at), axis=at, kind=kind), at)
    return b.adopt(values.shape[at] - 1 - order, x)


class TopK(NamedTuple):
    values: Tensor
    indices: Tensor


def top_k(x, k, /, *, axis=-1, largest=True):
    """(values, indices) of the k largest, or smallest, elements along an axis, best first; NaN counts
    as the largest. Of equal elements any may be taken. indices are int64; x is realized.

    Not of the standard. Raises IndexError for an axis out of range, TypeError unless k is an integer,
    ValueError unless 0 <= k <= the axis's size.

    >>> ch.top_k(ch.asarray([3, 1, 2]), 2)
    TopK(values=Tensor([3, 2]), indices=Tensor([0, 2]))
    """
    values = b.values(x, "top_k")
    at = b.axis_in(axis, values.ndim, "top_k")
    count, size = b.integer(k, "top_k", "k"), values.shape[at]
    if not 0 <= count <= size:
        raise ValueError(f"top_k: k must be from 0 to {size}, the size of axis {at}, got {count}")
    rows = np.moveaxis(values, at, -1)
    start = size - count if largest else 0
    order = np.arange(size) + np.zeros(rows.shape, np.int64)
    if 0 < count < size:
        order = np.argpartition(rows, start if largest else count - 1, axis=-1)
    order = order[..., start : start + count]
    inner = np.argsort(np.take_along_axis(rows, order, -1), axis=-1, kind="stable")
    order = np.take_along_axis(order, np.flip(inner, -1) if largest else inner, -1)
    found = np.take_along_axis(rows, order, -1)
    return TopK(*(b.adopt(np.moveaxis(part, -1, at), x) for part in (found, order)))


def bincount(x, /, *, weights=None, minlength=0):
    """How often each of 0, 1, ... occurs in x (n,), integers that are not negative; with weights (n,),
    the sum of the weights at which it does, in order and in float64. At least minlength elements.

    int64, or float64 with weights. Not of the standard: NumPy's. x is realized. Raises TypeError
    unless x has integers, ValueError for negative ones and where shapes do not fit.

    >>> ch.bincount(ch.asarray([0, 2, 2]))
    Tensor([1, 0, 2])
    """
    values = b.values(x, "bincount")
    least = b.integer(minlength, "bincount", "minlength")
    if values.dtype.kind not in "iu":
        raise TypeError(f"bincount: x must have an integer dtype, got {values.dtype}")
    if values.ndim != 1:
        raise ValueError(f"bincount: x must have one dimension; shape is {values.shape}")
    if least < 0:
        raise ValueError(f"bincount: minlength must not be negative, got {least}")
    if values.size and int(values.min()) < 0:
        raise ValueError(f"bincount: x must not be negative, the least is {values.min()}")
    if values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"bincount: x is too large: {values.max()}")
    if weights is not None:
        weights = b.values(weights, "bincount")
        if weights.shape != values.shape:
            raise ValueError(f"bincount: weights are {weights.shape}, x is {values.shape}")
        weights = weights.astype(np.float64, copy=False)
    counts = np.bincount(values.astype(np.int64, copy=False), weights, least)
    return b.adopt(counts, x)
