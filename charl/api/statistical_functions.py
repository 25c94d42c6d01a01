"""Reductions and scans: sums, products, extremes, means, variances. Source: array API 2025.12,
statistical.

Reductions take `axis` None (all), an int or a tuple; axes are dropped, or kept with size 1 under
keepdims. The order of a sum depends on axes and extents alone (schedule/kernel.py states it), so
results do not vary with threads or backend. float16 and bfloat16 are reduced in float32. A bad axis
raises AxisError, a repeated one ValueError.
"""

from __future__ import annotations

from charl.api import build as b
from charl.core import dtypes
from charl.tensor import joined, recorded, wrap

_SUMS = {"b": dtypes.int64, "i": dtypes.int64, "u": dtypes.uint64}


def _accumulate(name: str, function: str, x, axis, dtype, keepdims):
    n = b.node(x, function)
    own = b.dtype_of(n)
    target = b.dtype_at(n, dtype, _SUMS.get(own.kind, own), function)
    axes = b.axes_in(axis, len(n.shape), function)
    n = b.cast(n, b.WIDE.get(target, target))
    return wrap(b.cast(b.reduce(name, n, axes, keepdims), target))


@recorded
def sum(x, /, *, axis=None, dtype=None, keepdims=False):
    """The sum. Ints and bools give int64, unsigned ints uint64, floats their dtype, unless dtype
    states one.

    >>> ch.sum(ch.asarray([[1, 2], [3, 4]]), axis=0)
    Tensor([4, 6])
    """
    return _accumulate("sum", "sum", x, axis, dtype, keepdims)


@recorded
def prod(x, /, *, axis=None, dtype=None, keepdims=False):
    """The product, with dtypes as sum has them.

    >>> ch.prod(ch.asarray([[1, 2], [3, 4]]), axis=1)
    Tensor([ 2, 12])
    """
    return _accumulate("prod", "prod", x, axis, dtype, keepdims)


def extreme(name: str, n, axes, keepdims=False):
    """The Node of the greatest or least element. Raises ValueError where there is none."""
    if any_zero(n.shape[a] for a in axes):
        raise ValueError(f"{name}: no element along axes {axes} of shape {n.shape}")
    if n.dtype == dtypes.bool_.code:
        name = "any" if name == "max" else "all"
    return b.reduce(name, n, axes, keepdims)


def any_zero(sizes) -> bool:
    return 0 in tuple(sizes)


@recorded
def max(x, /, *, axis=None, keepdims=False):
    """The greatest element; NaN where there is one. Raises ValueError if there is no element.

    >>> ch.max(ch.asarray([[1, 5], [3, 4]]), axis=1)
    Tensor([5, 4])
    """
    n = b.node(x, "max")
    return wrap(extreme("max", n, b.axes_in(axis, len(n.shape), "max"), keepdims))


@recorded
def min(x, /, *, axis=None, keepdims=False):
    """The least element; NaN where there is one. Raises ValueError if there is no element.

    >>> ch.min(ch.asarray([[1, 5], [3, 4]]), axis=1)
    Tensor([1, 3])
    """
    n = b.node(x, "min")
    return wrap(extreme("min", n, b.axes_in(axis, len(n.shape), "min"), keepdims))


def _floating(x, function):
    """The Node to average, in the dtype to compute in, and the dtype of the result."""
    n = b.node(x, function)
    own = b.dtype_of(n)
    target = own if own.kind == "f" else b.default_float(n)
    return b.cast(n, b.WIDE.get(target, target)), target


def _count(n, axes) -> int:
    count = 1
    for a in axes:
        count *= n.shape[a]
    return count


def _mean(n, axes, keepdims):
    count = b.const(_count(n, axes), b.dtype_of(n))
    return b.call("divide", b.reduce("sum", n, axes, keepdims), count)


@recorded
def mean(x, /, *, axis=None, keepdims=False):
    """The sum divided by the number of elements; NaN if there is none. Ints and bools give float64.

    >>> ch.mean(ch.asarray([[1, 2], [3, 5]]), axis=1)
    Tensor([1.5, 4. ])
    """
    n, target = _floating(x, "mean")
    axes = b.axes_in(axis, len(n.shape), "mean")
    return wrap(b.cast(_mean(n, axes, keepdims), target))


def _variance(function, x, axis, correction, keepdims):
    """The mean first, then the mean of squared differences from it."""
    n, target = _floating(x, function)
    axes = b.axes_in(axis, len(n.shape), function)
    if not b.is_scalar(correction) or isinstance(correction, complex):
        raise TypeError(f"{function}: correction must be a number, got {correction!r}")
    left = _count(n, axes) - correction
    away = b.call("subtract", n, _mean(n, axes, True))
    squares = b.reduce("sum", b.call("multiply", away, away), axes, keepdims)
    divisor = b.const(left if left > 0 else 0, b.dtype_of(n))
    return b.call("divide", squares, divisor), target


@recorded
def var(x, /, *, axis=None, correction=0.0, keepdims=False):
    """The variance: the sum of squared differences from the mean, divided by the count less
    `correction`.

    Ints and bools give float64. NaN or inf if the divisor is not above 0.

    >>> ch.var(ch.asarray([1.0, 3.0])), ch.var(ch.asarray([1.0, 3.0]), correction=1)
    (Tensor(1.), Tensor(2.))
    """
    n, target = _variance("var", x, axis, correction, keepdims)
    return wrap(b.cast(n, target))


@recorded
def std(x, /, *, axis=None, correction=0.0, keepdims=False):
    """The standard deviation: the square root of var.

    >>> ch.std(ch.asarray([1.0, 3.0]))
    Tensor(1.)
    """
    n, target = _variance("std", x, axis, correction, keepdims)
    return wrap(b.cast(b.call("sqrt", n), target))


def _scan(name, function, initial, x, axis, dtype, include_initial):
    n = b.node(x, function)
    if not n.shape:
        n = b.reshape(n, (1,))
    if axis is None:
        if len(n.shape) != 1:
            raise ValueError(f"{function}: axis is needed for {len(n.shape)} dimensions")
        axis = 0
    axis = b.axis_in(axis, len(n.shape), function)
    own = b.dtype_of(n)
    target = b.dtype_at(n, dtype, _SUMS.get(own.kind, own), function)
    n = b.cast(n, b.WIDE.get(target, target))
    out = b.cast(b.make(b.CODE[name], n.dtype, n.shape, (n,), axis), target)
    if include_initial:
        shape = (*n.shape[:axis], 1, *n.shape[axis + 1 :])
        out = joined([b.expand(b.const(initial, target), shape), out], axis)
    return wrap(out)


@recorded
def cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False):
    """Sums of all elements up to each one. axis may be left out in one dimension.

    include_initial puts a 0 in front. dtypes as in sum. On the CPU sums of numbers that are not
    negative never fall. Short axes are added strictly in order, as NumPy does; an axis of more than
    32768 elements (1024, if it is not the last) by blocks, where few others go beside it. Raises
    ValueError without axis in two dimensions or more.

    >>> ch.cumulative_sum(ch.asarray([1, 2, 3]), include_initial=True)
    Tensor([0, 1, 3, 6])
    """
    return _scan("cumsum", "cumulative_sum", 0, x, axis, dtype, include_initial)


@recorded
def cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False):
    """Products of all elements up to each one, in order on the CPU; include_initial puts a 1 in front.

    >>> ch.cumulative_prod(ch.asarray([1, 2, 3]))
    Tensor([1, 2, 6])
    """
    return _scan("cumprod", "cumulative_prod", 1, x, axis, dtype, include_initial)
