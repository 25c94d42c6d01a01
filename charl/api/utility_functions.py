"""all, any, diff. Source: array API 2025.12, utility functions."""

from __future__ import annotations

from charl.api import build as b
from charl.core import dtypes
from charl.tensor import joined, recorded, wrap


def _test(name, x, axis, keepdims):
    n = b.node(x, name)
    axes = b.axes_in(axis, len(n.shape), name)
    return wrap(b.reduce(name, b.cast(n, dtypes.bool_), axes, keepdims))


@recorded
def all(x, /, *, axis=None, keepdims=False):
    """Whether all elements are nonzero (NaN is); True of none. Bool.

    >>> ch.all(ch.asarray([[1, 2], [0, 4]]), axis=1)
    Tensor([ True, False])
    """
    return _test("all", x, axis, keepdims)


@recorded
def any(x, /, *, axis=None, keepdims=False):
    """Whether any element is nonzero (NaN is); False of none. Bool.

    >>> ch.any(ch.asarray([[1, 2], [0, 0]]), axis=1)
    Tensor([ True, False])
    """
    return _test("any", x, axis, keepdims)


@recorded
def diff(x, /, *, axis=-1, n=1, prepend=None, append=None):
    """Differences of neighbours along an axis, n times over; of bools, whether they differ.

    prepend and append are joined to x first: of x's shape but along the axis, or scalars. The axis
    gets n shorter, not below 0. Raises ValueError if n is negative or x is 0-d.

    >>> ch.diff(ch.asarray([1, 4, 9, 16]))
    Tensor([3, 5, 7])
    """
    times = b.integer(n, "diff", "n")
    if times < 0:
        raise ValueError(f"diff: n must not be negative, got {times}")
    out = b.node(x, "diff")
    if not out.shape:
        raise ValueError("diff: x must have at least one dimension")
    axis = b.axis_in(axis, len(out.shape), "diff")
    if prepend is not None or append is not None:
        out = _joined(x, prepend, append, axis)
    name = "not_equal" if out.dtype == dtypes.bool_.code else "subtract"
    for _ in range(min(times, out.shape[axis])):
        size = out.shape[axis]
        out = b.call(name, b.cut(out, axis, 1, size), b.cut(out, axis, 0, size - 1))
    return wrap(out)


def _joined(x, prepend, append, axis):
    given = [part for part in (prepend, x, append) if part is not None]
    middle = 0 if prepend is None else 1
    nodes = b.common("diff", *given)
    shape = nodes[middle].shape
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    parts = [n if n.shape else b.expand(n, one) for n in nodes]
    for n in parts:
        if len(n.shape) != len(shape) or any_other(n.shape, shape, axis):
            raise ValueError(f"diff: shapes {n.shape} and {shape} differ outside axis {axis}")
    return joined(parts, axis)


def any_other(left, right, axis) -> bool:
    """Whether two shapes differ at another place than axis."""
    return left[:axis] + left[axis + 1 :] != right[:axis] + right[axis + 1 :]
