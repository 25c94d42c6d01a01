"""sort and argsort: NumPy's, on the realized buffer. Source: array API 2025.12, sorting functions."""

from __future__ import annotations

import numpy as np

from charl.api import build as b


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
