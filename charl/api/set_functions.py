"""Sets: unique elements and membership, by NumPy on realized values. Source: array API 2025.12, set
functions.

NaNs count as distinct, -0.0 and 0.0 as equal. Unique values come in ascending order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from charl.api import build as b
from charl.tensor import Tensor


class UniqueAll(NamedTuple):
    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    values: Tensor
    inverse_indices: Tensor


def _int64(index: np.ndarray, x) -> Tensor:
    return b.adopt(np.asarray(index, np.int64), x)


def isin(x1, x2, /, *, invert=False):
    """Whether each element of x1 (...) equals one of x2's; the reverse under invert. Bool (...).

    >>> ch.isin(ch.asarray([1, 2, 3]), ch.asarray([2, 5]))
    Tensor([False,  True, False])
    """
    first, second = b.common("isin", x1, x2)
    return b.adopt(
        np.asarray(np.isin(b.realized(first), b.realized(second), invert=invert)), x1, x2
    )


def unique_all(x, /):
    """(values, indices, inverse_indices, counts): x's distinct elements, where each first occurs in
    the flat x, for each element of x the index of its value, and how often each occurs.

    >>> ch.unique_all(ch.asarray([3, 1, 3])).counts
    Tensor([1, 2])
    """
    found = np.unique_all(b.values(x, "unique_all"))
    return UniqueAll(b.adopt(found.values, x), *(_int64(index, x) for index in found[1:]))


def unique_counts(x, /):
    """(values, counts): x's distinct elements and how often each occurs.

    >>> ch.unique_counts(ch.asarray([3, 1, 3])).values
    Tensor([1, 3])
    """
    found = np.unique_counts(b.values(x, "unique_counts"))
    return UniqueCounts(b.adopt(found.values, x), _int64(found.counts, x))


def unique_inverse(x, /):
    """(values, inverse_indices): x's distinct elements and, of x's shape, the index of each
    element's value.

    >>> ch.unique_inverse(ch.asarray([3, 1, 3])).inverse_indices
    Tensor([1, 0, 1])
    """
    found = np.unique_inverse(b.values(x, "unique_inverse"))
    return UniqueInverse(b.adopt(found.values, x), _int64(found.inverse_indices, x))


def unique_values(x, /):
    """x's distinct elements in ascending order. Shape (number of them,).

    >>> ch.unique_values(ch.asarray([3, 1, 3]))
    Tensor([1, 3])
    """
    values = b.values(x, "unique_values")
    return b.adopt(np.unique(values, equal_nan=False), x)
