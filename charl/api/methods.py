"""ndarray-style methods of Tensor: the functions of the api with NumPy's method signatures.

`install` registers them; charl/__init__.py calls it once. Each takes the Tensor as `self`.
"""

from __future__ import annotations

from charl.api import build as b
from charl.api import data_type_functions as types
from charl.api import elementwise_functions as elementwise
from charl.api import indexing_functions as indexing
from charl.api import linear_algebra_functions as linear
from charl.api import manipulation_functions as manipulation
from charl.api import searching_functions as searching
from charl.api import statistical_functions as statistics
from charl.api import utility_functions as utility
from charl.core.lazy import Module
from charl.tensor import register_method, wrap

sorting = Module("charl.api.sorting_functions")  # NumPy's work: few programs want it


def sum(self, axis=None, dtype=None, keepdims=False):
    """The sum over axis; see charl.sum."""
    return statistics.sum(self, axis=axis, dtype=dtype, keepdims=keepdims)


def prod(self, axis=None, dtype=None, keepdims=False):
    """The product over axis; see charl.prod."""
    return statistics.prod(self, axis=axis, dtype=dtype, keepdims=keepdims)


def mean(self, axis=None, keepdims=False):
    """The mean over axis; see charl.mean."""
    return statistics.mean(self, axis=axis, keepdims=keepdims)


def std(self, axis=None, ddof=0, keepdims=False):
    """The standard deviation over axis with count less ddof as divisor; see charl.std."""
    return statistics.std(self, axis=axis, correction=ddof, keepdims=keepdims)


def var(self, axis=None, ddof=0, keepdims=False):
    """The variance over axis with count less ddof as divisor; see charl.var."""
    return statistics.var(self, axis=axis, correction=ddof, keepdims=keepdims)


def max(self, axis=None, keepdims=False):
    """The greatest element over axis; see charl.max."""
    return statistics.max(self, axis=axis, keepdims=keepdims)


def min(self, axis=None, keepdims=False):
    """The least element over axis; see charl.min."""
    return statistics.min(self, axis=axis, keepdims=keepdims)


def any(self, axis=None, keepdims=False):
    """Whether any element over axis is nonzero; see charl.any."""
    return utility.any(self, axis=axis, keepdims=keepdims)


def all(self, axis=None, keepdims=False):
    """Whether all elements over axis are nonzero; see charl.all."""
    return utility.all(self, axis=axis, keepdims=keepdims)


def argmax(self, axis=None, keepdims=False):
    """The index of the greatest element; see charl.argmax."""
    return searching.argmax(self, axis=axis, keepdims=keepdims)


def argmin(self, axis=None, keepdims=False):
    """The index of the least element; see charl.argmin."""
    return searching.argmin(self, axis=axis, keepdims=keepdims)


def cumsum(self, axis=None, dtype=None):
    """Running sums along axis, or (None) of the flat Tensor; see charl.cumulative_sum."""
    x = ravel(self) if axis is None else self
    return statistics.cumulative_sum(x, axis=0 if axis is None else axis, dtype=dtype)


def cumprod(self, axis=None, dtype=None):
    """Running products along axis, or (None) of the flat Tensor; see charl.cumulative_prod."""
    x = ravel(self) if axis is None else self
    return statistics.cumulative_prod(x, axis=0 if axis is None else axis, dtype=dtype)


def astype(self, dtype, copy=True):
    """The elements in dtype; see charl.astype."""
    return types.astype(self, dtype, copy=copy)


def reshape(self, *shape, copy=None):
    """The elements in C order in another shape, x.reshape(2, 3) or x.reshape((2, 3)); see
    charl.reshape.
    """
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    return manipulation.reshape(self, shape, copy=copy)


def flatten(self):
    """The elements in C order as a new one-dimensional Tensor."""
    return ravel(self.copy())


def ravel(self):
    """The elements in C order in one dimension: a view where strides allow it."""
    return manipulation.reshape(self, (self.size,))


def transpose(self, *axes):
    """A view with axes permuted, or (none given) reversed: x.transpose(1, 0) or x.transpose((1,
    0)).
    """
    if not axes or axes == (None,):
        axes = tuple(reversed(range(self.ndim)))
    elif len(axes) == 1 and isinstance(axes[0], (tuple, list)):
        axes = tuple(axes[0])
    return manipulation.permute_dims(self, axes)


def swapaxes(self, axis1, axis2):
    """A view with two axes exchanged."""
    first = b.axis_in(axis1, self.ndim, "swapaxes")
    second = b.axis_in(axis2, self.ndim, "swapaxes")
    perm = list(range(self.ndim))
    perm[first], perm[second] = second, first
    return manipulation.permute_dims(self, tuple(perm))


def squeeze(self, axis=None):
    """A view without axis, whose size is 1, or (None) without all such axes; see charl.squeeze."""
    if axis is None:
        axis = tuple(k for k, n in enumerate(self.shape) if n == 1)
    return manipulation.squeeze(self, axis)


def repeat(self, repeats, axis=None):
    """Each element repeated; see charl.repeat."""
    return manipulation.repeat(self, repeats, axis=axis)


def take(self, indices, axis=None):
    """Slices at indices along axis, or (None) of the flat Tensor; see charl.take."""
    return indexing.take(self, indices, axis=axis)


def clip(self, min=None, max=None):
    """The elements, not below min and not above max; see charl.clip."""
    return elementwise.clip(self, min, max)


def round(self, decimals=0):
    """Rounded to `decimals` places, halves to even. Other than 0 places scales by a power of ten,
    as NumPy does; ints to places before the point by way of the default float.
    """
    places = b.integer(decimals, "round", "decimals")
    n = b.node_of(self)
    dtype = b.dtype_of(n)
    if places == 0 or (places > 0 and dtype.kind != "f"):
        return elementwise.round(self)
    if dtype.kind not in "iuf":
        raise TypeError(f"round: decimals below 0 need a number's dtype, got {dtype.name}")
    wide = dtype if dtype.kind == "f" else b.default_float(n)
    scale = b.const(10.0 ** builtin_abs(places), wide)
    there, back = ("multiply", "divide") if places > 0 else ("divide", "multiply")
    rounded = b.call("round", b.call(there, b.cast(n, wide), scale))
    return wrap(b.cast(b.call(back, rounded, scale), dtype))


builtin_abs = int.__abs__


def conj(self):
    """A copy: all dtypes are real."""
    return elementwise.conj(self)


def conjugate(self):
    """A copy: all dtypes are real."""
    return elementwise.conj(self)


def dot(self, other):
    """The product with other as NumPy's dot: of scalars, vectors, or x's last axis with other's
    last but one.
    """
    other = b.tensor(other, "dot")
    if self.ndim == 0 or other.ndim == 0:
        return elementwise.multiply(self, other)
    if other.ndim <= 2:
        return linear.matmul(self, other)
    return linear.tensordot(self, other, axes=((self.ndim - 1,), (other.ndim - 2,)))


def matmul(self, other):
    """The matrix product self @ other; see charl.matmul."""
    return linear.matmul(self, other)


def nonzero(self):
    """The indices of nonzero elements, one Tensor a dimension; see charl.nonzero."""
    return searching.nonzero(self)


def argsort(self, axis=-1, *, descending=False, stable=True):
    """The indices that sort along axis, or (None) the flat Tensor; see charl.argsort."""
    x, at = (ravel(self), 0) if axis is None else (self, axis)
    return sorting.argsort(x, axis=at, descending=descending, stable=stable)


def sort(self, axis=-1):
    """Sorts in place along axis. Returns None, as NumPy's method does; charl.sort makes a new
    Tensor.
    """
    self[...] = sorting.sort(self, axis=axis)


def fill(self, value):
    """Sets all elements to a scalar, in place. Returns None."""
    self[...] = value


_METHODS = (
    sum,
    prod,
    mean,
    std,
    var,
    max,
    min,
    any,
    all,
    argmax,
    argmin,
    cumsum,
    cumprod,
    astype,
    reshape,
    flatten,
    ravel,
    transpose,
    swapaxes,
    squeeze,
    repeat,
    take,
    clip,
    round,
    conj,
    conjugate,
    dot,
    matmul,
    nonzero,
    argsort,
    sort,
    fill,
)


def install() -> None:
    """Gives Tensor these methods."""
    for function in _METHODS:
        register_method(function.__name__, function)
