"""Nodes for the api: small makers over graph.node.make, argument checks, and the way from values to
Nodes.

A function of the api checks its arguments, composes Nodes with these makers, and wraps only its
result in a Tensor, so that intermediate Nodes have no handle. Makers trust their arguments: shapes
and dtypes are right.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from charl.core import dtypes, shapes
from charl.core.dtypes import ALL, DType, as_dtype
from charl.core.infer import broadcast_pair, encode
from charl.core.settings import config
from charl.engine import devices
from charl.graph.node import Node, make, put
from charl.ops.table import OPS
from charl.tensor import (
    Tensor,
    as_tensor,
    from_numpy_owned,
    moved,
    node_of,
    plain_nodes,
    wrap,
)

CODE = {name: row.code for name, row in OPS.items()}
COMPARES = {name for name, row in OPS.items() if row.result == "bool"}
# the default dtypes of a device that lacks 64 bits
NARROW = {dtypes.float64: dtypes.float32, dtypes.int64: dtypes.int32}
# float16 and bfloat16 reduce, scan and multiply in float32
WIDE = {dtypes.float16: dtypes.float32, dtypes.bfloat16: dtypes.float32}


# Arguments -> checked values


def node(x: object, function: str) -> Node:
    """The Node of a Tensor, or of what asarray takes. Raises TypeError naming the function."""
    return node_of(tensor(x, function))


def tensor(x: object, function: str) -> Tensor:
    """A Tensor itself, or one of what asarray takes. Raises TypeError naming the function."""
    if isinstance(x, Tensor):
        return x
    try:
        return as_tensor(x)
    except TypeError as error:
        raise TypeError(f"{function}: {error}") from None


def values(x: object, function: str) -> np.ndarray:
    """The elements of x, realized, as a read-only ndarray."""
    return tensor(x, function).numpy()


def dtype_of(n: Node) -> DType:
    return ALL[n.dtype]


def dtype_or(dtype: object, default: DType) -> DType:
    return default if dtype is None else as_dtype(dtype)


def integer(value: object, function: str, name: str) -> int:
    """An int from anything with __index__ but bool."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise TypeError(f"{function}: {name} must be an int, got {value!r}")


def axis_in(axis: Any, ndim: int, function: str) -> int:
    """One axis, counted from the front. Raises IndexError, or TypeError where it is no int."""
    return shapes.normalize_axis(axis, ndim, function)


def axes_in(axis: Any, ndim: int, function: str) -> tuple[int, ...]:
    """None (all axes), an int, or a tuple -> sorted axes. Raises IndexError, ValueError if one
    repeats.
    """
    return shapes.normalize_axes(axis, ndim, function)


def shape_in(shape: object, function: str) -> tuple[int, ...]:
    """An int or a sequence of ints, none negative."""
    given = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    return (_sizes if shapes.all_ints(given) else _sizes.__wrapped__)(given, function)


@functools.lru_cache(shapes.KEPT)
def _sizes(given: tuple, function: str) -> tuple[int, ...]:
    sizes = tuple(integer(n, function, "a size of the shape") for n in given)
    for n in sizes:
        if n < 0:
            raise ValueError(f"{function}: a size must not be negative; shape is {sizes}")
    if math.prod(sizes) >= 1 << 60:
        raise ValueError(f"{function}: shape {sizes} is too large")
    return sizes


def broadcast(function: str, *given: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all shapes broadcast to. Raises ValueError naming the function."""
    try:
        return broadcast_pair(*given) if len(given) == 2 else shapes.broadcast_shapes(*given)
    except ValueError as error:
        raise ValueError(f"{function}: {error}") from None


def on_device(device: object, function: str) -> int:
    """The code of a device; None stands for the default one. Raises ValueError for what is none."""
    if device == "cpu" or (device is None and config.default_device == "cpu"):
        return 0
    return devices.code(device, function)


def dtype_on(device: int, dtype: object, default: DType, function: str) -> DType:
    """dtype, or where None the default, which a device without 64 bits has in 32. Raises TypeError
    where the device has it not.
    """
    if device == 0:
        return dtype_or(dtype, default)
    if dtype is None:
        return NARROW[default] if devices.narrow(device, default.name) else default
    found = as_dtype(dtype)
    devices.check(device, found.name, function)
    return found


def dtype_at(n: Node, dtype: object, default: DType, function: str) -> DType:
    """dtype, or where None the default. Raises TypeError where n's device has it not."""
    if dtype is None:
        return default
    found = as_dtype(dtype)
    devices.check(n.device, found.name, function)
    return found


def default_float(n: Node) -> DType:
    """float64, or float32 where n is on a device that has it not."""
    return dtype_on(n.device, None, dtypes.float64, "")


def placed(n: Node, device: int) -> Tensor:
    """A Tensor of a Node on a device: what is only constants and indices yet is made there, all else
    is moved.
    """
    if n.device == device:
        return wrap(n)
    devices.check(device, dtype_of(n).name, "to_device")
    return wrap(moved(n, device) if n.realized or n.handles or n.device else put(n, device))


def kinds(n: Node, allowed: str, function: str) -> None:
    """Raises TypeError unless the dtype's kind is one of `allowed`."""
    dtype = ALL[n.dtype]
    if dtype.kind not in allowed:
        names = {"b": "bool", "i": "signed", "u": "unsigned", "f": "floating-point"}
        wanted = ", ".join(names[k] for k in allowed)
        raise TypeError(f"{function}: dtype must be {wanted}; got {dtype.name}")


# Promotion of arrays and weak Python scalars


def is_scalar(x: object) -> bool:
    """A weak operand: a Python bool, int, float or complex, but not a NumPy scalar."""
    return isinstance(x, (int, float, complex)) and not isinstance(x, np.generic)


def weak(scalar: object, beside: DType | None, function: str) -> DType:
    """The dtype a Python scalar takes beside a dtype (None: on its own). Source: NEP 50."""
    kind = beside.kind if beside else ""
    if isinstance(scalar, bool):
        return beside or dtypes.bool_
    if isinstance(scalar, int):
        return beside if beside and kind != "b" else dtypes.int64
    if isinstance(scalar, float):
        return beside if beside and kind == "f" else dtypes.float64
    raise TypeError(f"{function}: complex numbers are not supported yet; got {scalar!r}")


def common(function: str, *operands: object) -> list[Node]:
    """Nodes of arrays and Python scalars, cast to their promoted dtype. Shapes stay as they are."""
    plain = plain_nodes(operands)
    if plain is not None:
        return plain
    nodes = [None if is_scalar(x) else node(x, function) for x in operands]
    joint: DType | None = None
    for n in nodes:
        if n is not None:
            joint = ALL[n.dtype] if joint is None else dtypes.promote(joint, ALL[n.dtype])
    for x, n in zip(operands, nodes):
        if n is None:
            joint = weak(x, joint, function)
    assert joint is not None
    joint = where_computed(joint, [n for n in nodes if n is not None], function)
    return [
        const(x, joint, function) if n is None else cast(n, joint) for x, n in zip(operands, nodes)
    ]


def where_computed(joint: DType, nodes: Sequence[Node], function: str) -> DType:
    """The promoted dtype of nodes: float64 that none of them has is float32 on a device without it.
    Raises TypeError where one has it.
    """
    at = max((n.device for n in nodes), default=0)
    if joint is not dtypes.float64 or not devices.lacks(at, joint.name):
        return joint
    if any(n.dtype == joint.code for n in nodes):
        devices.check(at, joint.name, function)
    return dtypes.float32


# Makers of Nodes


def const(value: object, dtype: DType, function: str = "const") -> Node:
    """A 0-d constant. Raises OverflowError where an int does not fit, as NumPy does."""
    try:
        bits = encode(value, dtype)
    except OverflowError as error:
        raise OverflowError(f"{function}: {error}") from None
    return make(CODE["const"], dtype.code, (), (), None, (), bits)


def cast(n: Node, dtype: DType) -> Node:
    """n in dtype; n itself where it is that already."""
    if n.dtype == dtype.code:
        return n
    return make(CODE["cast"], dtype.code, n.shape, (n,))


def call(name: str, *operands: Node) -> Node:
    """An elementwise op on operands of one dtype that broadcast together (where: bool first)."""
    shape = operands[0].shape
    for n in operands[1:]:
        if n.shape != shape:
            shape = broadcast(name, *(n.shape for n in operands))
            break
    code = dtypes.bool_.code if name in COMPARES else operands[-1].dtype
    return make(CODE[name], code, shape, operands)


def iota(size: int, dtype: DType = dtypes.int64) -> Node:
    """0, 1, ... size - 1. Shape (size,)."""
    return cast(make(CODE["iota"], dtypes.int64.code, (size,), ()), dtype)


def iota_along(shape: tuple[int, ...], axis: int) -> Node:
    """Each element's index along an axis, with size 1 along the others: it broadcasts to shape."""
    ones = [1] * len(shape)
    ones[axis] = shape[axis]
    return reshape(iota(shape[axis]), tuple(ones))


def reshape(n: Node, shape: tuple[int, ...]) -> Node:
    return n if n.shape == shape else make(CODE["reshape"], n.dtype, shape, (n,))


def permute(n: Node, perm: Sequence[int]) -> Node:
    perm = tuple(perm)
    if perm == tuple(range(len(perm))):
        return n
    return make(CODE["permute"], n.dtype, tuple(n.shape[p] for p in perm), (n,), perm)


def expand(n: Node, shape: tuple[int, ...]) -> Node:
    return n if n.shape == shape else make(CODE["expand"], n.dtype, shape, (n,))


def cut(n: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
    """n[..., start:stop:step, ...] along one axis, bounds already right; step may be negative."""
    size = max(0, -(-(stop - start) // step))
    if size == n.shape[axis] and start == 0 and step == 1:
        return n
    starts, steps = [0] * len(n.shape), [1] * len(n.shape)
    starts[axis], steps[axis] = start if size else 0, step
    shape = (*n.shape[:axis], size, *n.shape[axis + 1 :])
    return make(CODE["slice"], n.dtype, shape, (n,), None, (*starts, *steps))


def windows(
    n: Node, axes: Sequence[int], sizes: Sequence[int], steps: Sequence[int], apart: Sequence[int]
) -> Node:
    """Windows of `sizes` elements, `apart` from each other, at each `steps` elements of these sorted
    axes, which count them; the windows' own axes come last. At least one fits.
    """
    shape = list(n.shape)
    for axis, size, step, far in zip(axes, sizes, steps, apart):
        shape[axis] = (shape[axis] - far * (size - 1) - 1) // step + 1
    numbers = (*steps, *apart)
    return make(CODE["windows"], n.dtype, (*shape, *sizes), (n,), tuple(axes), numbers)


def reduce(name: str, n: Node, axes: Sequence[int], keepdims: bool = False) -> Node:
    """sum prod max min any all over axes, which are dropped, or kept with size 1."""
    dropped = tuple(sorted(axes))
    shape = n.shape
    left = kept = shape
    for k in reversed(dropped):
        left = left[:k] + left[k + 1 :]
        kept = (*kept[:k], 1, *kept[k + 1 :])
    out = make(CODE[name], n.dtype, left, (n,), dropped) if dropped else n
    return reshape(out, kept) if keepdims else out


def gather(n: Node, index: Node, axis: int, site: str) -> Node:
    """n at int64 indices along an axis; a negative index counts from the end. `site` is the user's
    line.
    """
    return gather_at(n, wrap_index(index, n.shape[axis], site), axis)


def wrap_index(index: Node, extent: int, site: str) -> Node:
    """int64 indices from -extent to extent - 1 as 0 to extent - 1; others raise IndexError when
    realized.
    """
    code = dtypes.int64.code
    return make(CODE["wrap_index"], code, index.shape, (index,), None, (extent,), 0, site)


def gather_at(n: Node, index: Node, axis: int) -> Node:
    """n at int64 indices that are known to lie in 0..extent-1."""
    shape = (*n.shape[:axis], *index.shape, *n.shape[axis + 1 :])
    return make(CODE["gather"], n.dtype, shape, (n, index), axis)


# Realized values


def host(array: np.ndarray) -> Node:
    """A Node on an ndarray that nobody else will write: an operand, at home on every device."""
    return node_of(from_numpy_owned(array))


def realized(n: Node) -> np.ndarray:
    """The value of a Node, computed now, as a read-only ndarray."""
    return wrap(n).numpy()


def adopt(array: np.ndarray, *beside: object) -> Tensor:
    """A Tensor on an ndarray that nobody else will write, without a copy where it is contiguous. It
    goes to the device of the Tensors among `beside`, or else to the default one.
    """
    made = from_numpy_owned(array)
    for x in beside:
        if isinstance(x, Tensor):
            return placed(node_of(made), node_of(x).device)
    return at_home(node_of(made))


def at_home(n: Node) -> Tensor:
    """A Tensor of a Node that reads no Tensor, on the default device."""
    return wrap(n) if n.device else placed(n, on_device(None, "default_device"))
