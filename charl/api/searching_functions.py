"""Searching: argmax, argmin, count_nonzero, nonzero, searchsorted, where. Source: array API
2025.12, searching.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from charl.api import build as b
from charl.api.statistical_functions import extreme
from charl.core import dtypes
from charl.tensor import quick, recorded, wrap

BLOCK = 1024  # elements of which one extreme is kept, or up to twice as many
BIG, BIG_BLOCK = 1 << 21, 1 << 13  # on axes beyond BIG: one workgroup of a GPU sees all extremes
MOST = 1 << 13  # extremes
LONG = 1 << 13  # elements from which on that pays for its launches
_INDEX = dtypes.int32, dtypes.int64  # what holds an index: twice the lanes, if 32 bits do


def _arg(function, name, x, axis, keepdims):
    """The first index at which x equals its extreme, or is NaN: the least of iota where it is, n
    elsewhere.
    """
    n = b.node(x, function)
    ndim = len(n.shape)
    if axis is None:
        n = b.reshape(n, (math.prod(n.shape),))
        at = 0
    else:
        at = b.axis_in(axis, ndim, function)
    extent = n.shape[at]
    if extent == 0:
        raise ValueError(f"{function}: no element along axis {axis} of shape {n.shape}")
    if at == len(n.shape) - 1 and extent >= LONG:
        out = _by_blocks(name, n, extent)
    else:
        out = _first(n, extreme(name, n, (at,), True), at, _INDEX[extent >= 1 << 31])
    out = b.cast(out, dtypes.int64)
    kept = (1,) * ndim if axis is None else (*n.shape[:at], 1, *n.shape[at + 1 :])
    return wrap(b.reshape(out, kept) if keepdims else out)


def _first(n, best, at, dtype):
    """The least index along an axis at which n equals best, or is NaN; the axis's size without one."""
    index = b.cast(b.iota_along(n.shape, at), dtype)
    index = b.call("where", _matches(n, best), index, b.const(n.shape[at], dtype))
    return b.reduce("min", index, (at,))


def _matches(n, best):
    found = b.call("equal", n, best)
    return b.call("logical_or", found, b.call("isnan", n)) if b.dtype_of(n).kind == "f" else found


@functools.lru_cache(256)
def _block(extent):
    """The elements of a block: in quads, and such that none is left over where that can be."""
    least = max(BLOCK if extent <= BIG else BIG_BLOCK, extent // MOST)
    sizes = range((least + 3) // 4 * 4, 2 * least, 4)
    return next((size for size in sizes if extent % size == 0), sizes[0])


def _by_blocks(name, n, extent):
    """The index along a long last axis, which is read once: the extreme of each block, and then its
    first place in the first block that has the extreme of all.
    """
    last, lead = len(n.shape) - 1, n.shape[:-1]
    block = _block(extent)
    count = extent // block
    blocks = b.reshape(b.cut(n, last, 0, count * block), (*lead, count, block))
    own = extreme(name, blocks, (last + 1,))
    best = extreme(name, own, (last,), True)
    if extent % block:
        rest = extreme(name, b.cut(n, last, count * block, extent), (last,), True)
        best = b.call("maximum" if name == "max" else "minimum", best, rest)
    first = _first(own, best, last, dtypes.int32)  # count, where it is none of them
    start = b.call("multiply", b.cast(first, dtypes.int64), b.const(block, dtypes.int64))
    start = b.call("minimum", start, b.const(extent - block, dtypes.int64))
    rows = math.prod(lead)
    row = b.call("multiply", b.iota(rows), b.const(extent, dtypes.int64))
    place = b.call("add", b.reshape(start, (rows,)), row)
    every = b.windows(b.reshape(n, (rows * extent,)), (0,), (block,), (1,), (1,))
    chosen, best = b.gather_at(every, place, 0), b.reshape(best, (rows, 1))
    inside = b.cast(_first(chosen, best, 1, dtypes.int32), dtypes.int64)
    return b.call("add", start, b.reshape(inside, lead))


@recorded
def argmax(x, /, *, axis=None, keepdims=False):
    """The index of the greatest element, the first of equals; NaN wins. int64. axis None: into the
    flat x.

    Raises ValueError if there is no element.

    >>> ch.argmax(ch.asarray([[1, 5], [7, 4]]), axis=1)
    Tensor([1, 0])
    """
    return _arg("argmax", "max", x, axis, keepdims)


@recorded
def argmin(x, /, *, axis=None, keepdims=False):
    """The index of the least element, the first of equals; NaN wins. int64. axis None: into the
    flat x.

    Raises ValueError if there is no element.

    >>> ch.argmin(ch.asarray([[1, 5], [7, 4]]), axis=1)
    Tensor([0, 1])
    """
    return _arg("argmin", "min", x, axis, keepdims)


@recorded
def count_nonzero(x, /, *, axis=None, keepdims=False):
    """The number of elements that are not 0 or False. int64.

    >>> ch.count_nonzero(ch.asarray([[0, 5], [7, 4]]), axis=1)
    Tensor([1, 2])
    """
    n = b.node(x, "count_nonzero")
    axes = b.axes_in(axis, len(n.shape), "count_nonzero")
    ones = b.cast(b.cast(n, dtypes.bool_), dtypes.int64)
    return wrap(b.reduce("sum", ones, axes, keepdims))


def nonzero(x, /):
    """The indices of the elements that are not 0: one int64 array a dimension, in C order.

    The result's shape depends on values, so x is realized. Raises ValueError if x is 0-d.

    >>> ch.nonzero(ch.asarray([0, 3, 0, 4]))
    (Tensor([1, 3]),)
    """
    values = b.values(x, "nonzero")
    if values.ndim == 0:
        raise ValueError("nonzero: x must have at least one dimension")
    return tuple(b.adopt(index, x) for index in np.nonzero(values))


def searchsorted(x1, x2, /, *, side="left", sorter=None):
    """Where in the sorted x1 (n,) the values x2 (...) would be put to keep it sorted. int64 (...).

    side "left": before equals, "right": after them. sorter: indices that sort x1, as argsort gives
    them. Realizes its arguments. Raises ValueError for another side or if x1 is not
    one-dimensional.

    >>> ch.searchsorted(ch.asarray([1, 3, 5]), ch.asarray([3, 4]))
    Tensor([1, 2])
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    first, second = b.common("searchsorted", x1, x2)
    if len(first.shape) != 1:
        raise ValueError(f"searchsorted: x1 must have one dimension; shape is {first.shape}")
    order = None if sorter is None else b.values(sorter, "searchsorted")
    at = np.searchsorted(b.realized(first), b.realized(second), side=side, sorter=order)
    return b.adopt(np.asarray(at, np.int64), x1, x2)


@quick
def where(condition, x1, x2, /):
    """x1 where condition is True (nonzero), else x2. All three broadcast; x1 and x2 are promoted.

    >>> ch.where(ch.asarray([True, False]), 1, ch.asarray([5, 6]))
    Tensor([1, 6])
    """
    test = b.cast(b.node(condition, "where"), dtypes.bool_)
    return wrap(b.call("where", test, *b.common("where", x1, x2)))
