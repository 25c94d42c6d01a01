"""Shapes and strides: broadcasting, axes, and when a reshape needs no copy. Pure Python.

Strides count elements. Errors are worded as NumPy's, since users know those.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

Shape = tuple[int, ...]


def _show(shape: Shape) -> str:
    return "(" + ",".join(map(str, shape)) + (",)" if len(shape) == 1 else ")")


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape that all of `shapes` broadcast to. Raises ValueError. Source: NumPy's broadcasting."""
    ndim = max(map(len, shapes), default=0)
    result = [1] * ndim
    for shape in shapes:
        for axis, extent in enumerate(shape, ndim - len(shape)):
            if result[axis] == 1:
                result[axis] = extent
            elif extent != 1 and extent != result[axis]:
                shown = " ".join(map(_show, shapes))
                raise ValueError(f"operands could not be broadcast together with shapes {shown} ")
    return tuple(result)


def check_broadcast_to(shape: Shape, target: Shape, what: str) -> None:
    """Raises ValueError unless an array of `shape` broadcasts to exactly `target`."""
    if len(shape) > len(target) or any(
        a != 1 and a != b for a, b in zip(reversed(shape), reversed(target))
    ):
        raise ValueError(
            f"{what}: could not broadcast from shape {_show(shape)} into {_show(target)}"
        )


def normalize_axis(axis: int, ndim: int, what: str = "") -> int:
    """axis in 0..ndim-1. Raises IndexError (worded as numpy.exceptions.AxisError, which is one)."""
    index = axis
    if type(axis) is not int:
        try:
            index = axis.__index__()
        except AttributeError:
            raise TypeError(f"{what or 'axis'}: an axis must be an integer, not {axis!r}") from None
    if not -ndim <= index < ndim:
        start = f"{what}: " if what else ""
        raise IndexError(f"{start}axis {index} is out of bounds for array of dimension {ndim}")
    return index % ndim


def normalize_axes(axis: int | Iterable[int] | None, ndim: int, what: str = "") -> tuple[int, ...]:
    """Sorted distinct axes; None means all. Raises IndexError, or ValueError if an axis repeats."""
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, (tuple, list)):
        return (normalize_axis(axis, ndim, what),)  # type: ignore[arg-type]
    axes = sorted(normalize_axis(a, ndim, what) for a in axis)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{what or 'axis'}: duplicate value in 'axis'")
    return tuple(axes)


def c_strides(shape: Shape) -> Shape:
    """Strides of a C-contiguous array, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * max(shape[axis], 1)
    return tuple(strides)


_INT = {int}
KEPT = 4096  # shapes whose arithmetic is remembered: it takes longer than making a Node


def all_ints(numbers: Sequence) -> bool:
    """Whether all are plain ints, and not what equals one: then a cache may be asked."""
    return _INT.issuperset(map(type, numbers))


def resolve_reshape(size: int, shape: int | Sequence[int]) -> Shape:
    """`shape` with -1 replaced by what `size` leaves. Raises ValueError as NumPy's reshape does."""
    asked = (shape,) if hasattr(shape, "__index__") else tuple(shape)  # type: ignore[arg-type]
    return _resolved(size, asked) if all_ints(asked) else _resolved.__wrapped__(size, asked)


@functools.lru_cache(KEPT)
def _resolved(size: int, asked: Shape) -> Shape:
    wanted = [extent.__index__() for extent in asked]
    unknown = [axis for axis, extent in enumerate(wanted) if extent < 0]
    if len(unknown) > 1:
        raise ValueError("can only specify one unknown dimension")
    known = math.prod(extent for extent in wanted if extent >= 0)
    if unknown and known and size % known == 0:
        wanted[unknown[0]] = size // known
    elif unknown or known != size:
        raise ValueError(f"cannot reshape array of size {size} into shape {_show(tuple(wanted))}")
    return tuple(wanted)


@functools.lru_cache(KEPT)
def reshape_strides(shape: Shape, strides: Shape, target: Shape) -> Shape | None:
    """Strides that show the same memory as `target`, or None where NumPy would copy.

    Source: _attempt_nocopy_reshape of numpy/_core/src/multiarray/shape.c, for C order.
    """
    if 0 in shape or 0 in target:
        return c_strides(target)
    old = [(extent, stride) for extent, stride in zip(shape, strides) if extent != 1]
    result = [0] * len(target)
    at, axis = 0, 0
    while axis < len(target) and at < len(old):
        end, stop = at + 1, axis + 1
        here, there = old[at][0], target[axis]
        while here != there:
            if here < there:
                here *= old[end][0]
                end += 1
            else:
                there *= target[stop]
                stop += 1
        if any(old[k][1] != old[k + 1][0] * old[k + 1][1] for k in range(at, end - 1)):
            return None
        stride = old[end - 1][1]
        for k in range(stop - 1, axis - 1, -1):
            result[k] = stride
            stride *= target[k]
        at, axis = end, stop
    last = result[axis - 1] if axis else 1
    for k in range(axis, len(target)):
        result[k] = last
    return tuple(result)
