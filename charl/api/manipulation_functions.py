"""Manipulation: shape, order and number of elements. Source: array API 2025.12, manipulation
functions.

expand_dims, flip, matrix_transpose, moveaxis, permute_dims, squeeze and unstack give views: they
share memory with x as NumPy's do. reshape gives a view where strides can express it, else a copy.
The others give new arrays.
"""

from __future__ import annotations

import functools
import math

from charl.api import build as b
from charl.core import shapes
from charl.tensor import joined, recorded, view_expand, view_permute, view_reshape, wrap


def broadcast_shapes(*shapes):
    """The shape that all shapes broadcast to; a size may be None, unknown.

    Raises ValueError where sizes differ and neither is 1.

    >>> ch.broadcast_shapes((3, 1), (4,))
    (3, 4)
    """
    ndim = max(map(len, shapes), default=0)
    out: list[int | None] = [1] * ndim
    for shape in shapes:
        for k, size in enumerate(shape, ndim - len(shape)):
            if out[k] == 1:
                out[k] = size
            elif size is None or size == 1:
                continue
            elif out[k] is None:
                out[k] = size
            elif size != out[k]:
                raise ValueError(f"broadcast_shapes: {shapes} do not broadcast together")
    return tuple(out)


def broadcast_to(x, /, shape):
    """x (...) repeated to shape, without storing the repeats: a view, which cannot be written.

    Raises ValueError if x does not broadcast to shape.

    >>> ch.broadcast_to(ch.asarray([1, 2]), (2, 2))
    Tensor([[1, 2],
            [1, 2]])
    """
    x, target = b.tensor(x, "broadcast_to"), b.shape_in(shape, "broadcast_to")
    shapes.check_broadcast_to(x.shape, target, "broadcast_to")
    return view_expand(x, target)


def broadcast_arrays(*arrays):
    """All arrays broadcast to their common shape, each in its dtype. A tuple of the arrays that have
    this shape and of views, which cannot be written, of the others.

    >>> ch.broadcast_arrays(ch.asarray([1, 2]), ch.asarray([[3], [4]]))
    (Tensor([[1, 2],
            [1, 2]]), Tensor([[3, 3],
            [4, 4]]))
    """
    tensors = [b.tensor(x, "broadcast_arrays") for x in arrays]
    shape = b.broadcast("broadcast_arrays", *(x.shape for x in tensors))
    return tuple(x if x.shape == shape else view_expand(x, shape) for x in tensors)


def concat(arrays, /, *, axis=0):
    """Arrays of equal shapes but along `axis`, one after the other; axis None joins them flat.
    Dtypes are promoted.

    Raises ValueError without arrays or where shapes differ.

    >>> ch.concat([ch.asarray([1, 2]), ch.asarray([3])])
    Tensor([1, 2, 3])
    """
    if not isinstance(arrays, (tuple, list)) or not arrays:
        raise ValueError("concat: a non-empty tuple or list of arrays is needed")
    nodes = b.common("concat", *arrays)
    if axis is None:
        nodes = [b.reshape(n, (math.prod(n.shape),)) for n in nodes]
        axis = 0
    first = nodes[0].shape
    if not first:
        raise ValueError("concat: arrays must have at least one dimension; use stack")
    at = b.axis_in(axis, len(first), "concat")
    for n in nodes:
        if n.shape != first and not _alike(n.shape, first, at):
            raise ValueError(f"concat: shapes {first} and {n.shape} differ outside axis {at}")
    return wrap(joined(nodes, at))


def _alike(one, other, axis):
    """Whether two shapes agree but for the extent along axis."""
    return (
        one[:axis] == other[:axis]
        and one[axis + 1 :] == other[axis + 1 :]
        and len(one) == len(other)
    )


def stack(arrays, /, *, axis=0):
    """Arrays of one shape side by side along a new axis. Dtypes are promoted.

    Raises ValueError without arrays or where shapes differ.

    >>> ch.stack([ch.asarray([1, 2]), ch.asarray([3, 4])], axis=1)
    Tensor([[1, 3],
            [2, 4]])
    """
    if not isinstance(arrays, (tuple, list)) or not arrays:
        raise ValueError("stack: a non-empty tuple or list of arrays is needed")
    nodes = b.common("stack", *arrays)
    shape = nodes[0].shape
    at = b.axis_in(axis, len(shape) + 1, "stack")
    for n in nodes:
        if n.shape != shape:
            raise ValueError(f"stack: shapes {shape} and {n.shape} differ")
    one = (*shape[:at], 1, *shape[at:])
    return wrap(joined([b.reshape(n, one) for n in nodes], at))


def unstack(x, /, *, axis=0):
    """Views of x at each index of an axis, which they lack. A tuple. Raises ValueError if x is 0-d.

    >>> ch.unstack(ch.asarray([[1, 2], [3, 4]]))
    (Tensor([1, 2]), Tensor([3, 4]))
    """
    x = b.tensor(x, "unstack")
    if not x.shape:
        raise ValueError("unstack: x must have at least one dimension")
    at = b.axis_in(axis, len(x.shape), "unstack")
    before = (slice(None),) * at
    return tuple(x[(*before, k, ...)] for k in range(x.shape[at]))


def expand_dims(x, /, axis):
    """A view of x with axes of size 1 put in, where the result has them.

    Raises IndexError for an axis out of range, ValueError if one repeats.

    >>> ch.expand_dims(ch.asarray([1, 2]), 0).shape
    (1, 2)
    """
    x = b.tensor(x, "expand_dims")
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    axes = b.axes_in(axis, len(x.shape) + count, "expand_dims")
    left = iter(x.shape)
    shape = tuple(1 if k in axes else next(left) for k in range(len(x.shape) + count))
    return view_reshape(x, shape)


def squeeze(x, /, axis):
    """A view of x without `axis` (an int or a tuple), whose size must be 1.

    Raises ValueError where it is not, IndexError for an axis out of range.

    >>> ch.squeeze(ch.asarray([[1, 2]]), 0).shape
    (2,)
    """
    x = b.tensor(x, "squeeze")
    axes = b.axes_in(axis, len(x.shape), "squeeze")
    for k in axes:
        if x.shape[k] != 1:
            raise ValueError(
                f"squeeze: axis {k} has size {x.shape[k]}, must be 1; shape is {x.shape}"
            )
    return view_reshape(x, tuple(s for k, s in enumerate(x.shape) if k not in axes))


def flip(x, /, *, axis=None):
    """A view of x with the order reversed along an axis, several, or (None) all.

    >>> ch.flip(ch.asarray([1, 2, 3]))
    Tensor([3, 2, 1])
    """
    x = b.tensor(x, "flip")
    axes = b.axes_in(axis, len(x.shape), "flip")
    back, whole = slice(None, None, -1), slice(None)
    return x[tuple(back if k in axes else whole for k in range(len(x.shape)))]


def permute_dims(x, /, axes):
    """A view of x whose axis k is x's axis axes[k]. Raises ValueError unless axes names each once.

    >>> ch.permute_dims(ch.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x, axes = b.tensor(x, "permute_dims"), tuple(axes)
    permutation = _permutation if shapes.all_ints(axes) else _permutation.__wrapped__
    return view_permute(x, permutation(axes, len(x.shape)))


@functools.lru_cache(shapes.KEPT)
def _permutation(axes, ndim):
    if len(axes) != ndim:
        raise ValueError(f"permute_dims: axes {axes} don't match an array of {ndim} axes")
    perm = tuple(b.axis_in(a, ndim, "permute_dims") for a in axes)
    if sorted(perm) != list(range(ndim)):
        raise ValueError(f"permute_dims: axes {axes} must name each of {ndim} axes once")
    return perm


def moveaxis(x, source, destination, /):
    """A view of x with axes at `source` moved to `destination` (ints or tuples), the others in
    order.

    Raises ValueError where the two differ in number or repeat.

    >>> ch.moveaxis(ch.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = b.tensor(x, "moveaxis")
    ndim = len(x.shape)
    ends = []
    for given in (source, destination):
        given = given if isinstance(given, (tuple, list)) else (given,)
        b.axes_in(tuple(given), ndim, "moveaxis")
        ends.append([b.axis_in(a, ndim, "moveaxis") for a in given])
    if len(ends[0]) != len(ends[1]):
        raise ValueError(f"moveaxis: {source} and {destination} must be equally many axes")
    perm = [k for k in range(ndim) if k not in ends[0]]
    for to, origin in sorted(zip(ends[1], ends[0])):
        perm.insert(to, origin)
    return view_permute(x, tuple(perm))


def sliding_window_view(x, window_shape, axis=None, *, stride=1, dilation=1):
    """Windows of x: the axes in `axis` count them, and the last axes of the result are their own. Elements are not
    repeated in memory: what reads the windows reads x. The result cannot be written through.

    window_shape, stride (from window to window) and dilation (from element to element of one) are ints, one for each
    axis; axis None is all axes. Raises ValueError where no window fits, or an axis repeats. Source: NumPy's function in
    numpy.lib.stride_tricks, which lacks stride and dilation.

    >>> ch.sliding_window_view(ch.arange(5), 3, stride=2)
    Tensor([[0, 1, 2],
            [2, 3, 4]])
    """
    name = "sliding_window_view"
    n = b.node(x, name)
    axes = axis if axis is None or isinstance(axis, (tuple, list)) else (axis,)
    given = tuple(
        tuple(v) if isinstance(v, (tuple, list)) else v
        for v in (window_shape, axes, stride, dilation)
    )
    plain = all(
        shapes.all_ints(v if isinstance(v, tuple) else (v,)) for v in given if v is not None
    )
    made, perm = (_windows if plain else _windows.__wrapped__)(n.shape, *given)
    return wrap(b.permute(b.windows(n, *made), perm) if made[0] else n)


@functools.lru_cache(shapes.KEPT)
def _windows(shape, window_shape, axis, stride, dilation):
    """What b.windows takes, axes sorted, and how its result's axes are to be permuted."""
    name, ndim = "sliding_window_view", len(shape)
    sizes = b.shape_in(window_shape, name)
    b.axes_in(axis, ndim, name)
    axes = range(ndim) if axis is None else [b.axis_in(a, ndim, name) for a in axis]
    count = len(axes)
    steps, apart = (
        b.shape_in(v, name) * (1 if isinstance(v, tuple) else count) for v in (stride, dilation)
    )
    if not len(sizes) == len(steps) == len(apart) == count:
        raise ValueError(f"{name}: window_shape, stride and dilation must name {count} axes each")
    if min((*steps, *apart), default=1) < 1:
        raise ValueError(f"{name}: stride and dilation must be positive")
    for a, size, far in zip(axes, sizes, apart):
        if size < 1 or far * (size - 1) >= shape[a]:
            raise ValueError(f"{name}: a window of {sizes} does not fit into {shape}")
    order = sorted(range(count), key=axes.__getitem__)
    made = tuple(tuple(v[k] for k in order) for v in (axes, sizes, steps, apart))
    return made, (*range(ndim), *(ndim + order.index(k) for k in range(count)))


def reshape(x, /, shape, *, copy=None):
    """x's elements in C order as another shape; one size may be -1. A view where strides allow it.

    copy True: always a new array; False: ValueError where a copy would be needed. Raises ValueError
    if the number of elements differs.

    >>> ch.reshape(ch.arange(6), (2, -1))
    Tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    x = b.tensor(x, "reshape")
    try:
        target = shapes.resolve_reshape(math.prod(x.shape), shape)
    except ValueError as error:
        raise ValueError(f"reshape: {error}") from None
    if copy:
        x = x.copy()
    return view_reshape(x, target, copy)


def repeat(x, repeats, /, *, axis=None):
    """Each element (or each slice along axis) repeated: as often as the int `repeats`, or as
    repeats[k] states.

    axis None repeats the flat x. An array of repeats is realized. Raises ValueError if one is
    negative or their number is not that of the axis.

    >>> ch.repeat(ch.asarray([1, 2]), 2)
    Tensor([1, 1, 2, 2])
    """
    n = b.node(x, "repeat")
    if axis is None:
        n = b.reshape(n, (math.prod(n.shape),))
        axis = 0
    at = b.axis_in(axis, len(n.shape), "repeat")
    if hasattr(repeats, "shape") or isinstance(repeats, (list, tuple)):
        counts = b.values(repeats, "repeat")
        if counts.size != 1:
            return _repeat_each(n, counts, at)
        repeats = counts.reshape(()).item()
    times = b.integer(repeats, "repeat", "repeats")
    if times < 0:
        raise ValueError(f"repeat: repeats must not be negative, got {times}")
    before, size, after = n.shape[:at], n.shape[at], n.shape[at + 1 :]
    spread = b.expand(b.reshape(n, (*before, size, 1, *after)), (*before, size, times, *after))
    return wrap(b.reshape(spread, (*before, size * times, *after)))


def _repeat_each(n, counts, axis):
    if counts.dtype.kind not in "iu" or counts.shape != (n.shape[axis],):
        raise ValueError(
            f"repeat: repeats must be {n.shape[axis]} ints; "
            f"got {counts.dtype} of shape {counts.shape}"
        )
    if (counts < 0).any():
        raise ValueError("repeat: repeats must not be negative")
    index = b.np.repeat(b.np.arange(n.shape[axis]), counts)
    return wrap(b.gather_at(n, b.host(index), axis))


def roll(x, /, shift, *, axis=None):
    """x with elements moved by `shift` places along axis, the last coming first; axis None rolls
    the flat x.

    Tuples shift several axes; one int shifts all named axes alike. Raises ValueError where numbers
    differ.

    >>> ch.roll(ch.asarray([1, 2, 3]), 1)
    Tensor([3, 1, 2])
    """
    n = b.node(x, "roll")
    shape = n.shape
    if axis is None:
        n, axis = b.reshape(n, (math.prod(shape),)), 0
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    if len(axes) == 1:
        axes = tuple(axes) * len(shifts)
    if len(shifts) != len(axes):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    totals: dict[int, int] = {}
    for a, s in zip(axes, shifts):
        at = b.axis_in(a, len(n.shape), "roll")
        totals[at] = totals.get(at, 0) + b.integer(s, "roll", "shift")
    for at, total in totals.items():
        size = n.shape[at]
        if size and total % size:
            seam = size - total % size
            n = joined([b.cut(n, at, seam, size), b.cut(n, at, 0, seam)], at)
    return wrap(b.reshape(n, shape))


@recorded
def tile(x, repetitions, /):
    """x repeated as a whole, repetitions[k] times along axis k; the shorter of shape and
    repetitions is padded with 1.

    >>> ch.tile(ch.asarray([1, 2]), (2, 2))
    Tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    n = b.node(x, "tile")
    times = b.shape_in(repetitions, "tile")
    ndim = max(len(times), len(n.shape))
    times = (1,) * (ndim - len(times)) + times
    shape = (1,) * (ndim - len(n.shape)) + n.shape
    apart = [part for size in shape for part in (1, size)]
    spread = [part for t, size in zip(times, shape) for part in (t, size)]
    n = b.expand(b.reshape(n, tuple(apart)), tuple(spread))
    return wrap(b.reshape(n, tuple(t * size for t, size in zip(times, shape))))
