"""Checks of a graph's Nodes, for tests and `config.verify`: what makers trust, stated once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from charl.core import dtypes, shapes
from charl.core.errors import InternalError
from charl.graph import printer
from charl.graph.node import Node, table_name
from charl.ops.table import OPS

_FLOATS = (dtypes.float32.code, dtypes.float64.code)


def _joint(*given: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that all broadcast to, or None."""
    try:
        return shapes.broadcast_shapes(*given)
    except ValueError:
        return None


def verify(nodes: Sequence[Node]) -> None:
    """Raises InternalError where a Node breaks the rules of graph/node.pyx. Sources come before
    their users.
    """
    for node in nodes:
        wrong = None if node.realized else _wrong(node)
        if wrong:
            raise InternalError(
                f"graph verifier: {wrong} in {node!r}", printer.text(printer.walk([node]))
            )


def _sliced(node: Node) -> str | None:
    ndim = len(node.shape)
    extents = node.src[0].shape
    if len(node.sizes) != 2 * ndim or len(extents) != ndim:
        return "slice: sizes are not a start and a step an axis"
    for n, extent, start, step in zip(node.shape, extents, node.sizes[:ndim], node.sizes[ndim:]):
        if n and not (0 <= start < extent and 0 <= start + step * (n - 1) < extent):
            return f"slice: {start} + {step} * i, i < {n}, leaves the axis of size {extent}"
    return None


def _windowed(node: Node) -> str | None:
    x, axes, rank = node.src[0].shape, node.attrs, len(node.src[0].shape)
    if list(axes) != sorted(set(axes)) or len(node.sizes) != 2 * len(axes):
        return "windows: axes, or sizes that are not a step and a dilation an axis"
    if len(node.shape) != rank + len(axes):
        return "windows: rank"
    for a, n in enumerate(node.shape[:rank]):
        if a not in axes:
            if n != x[a]:
                return f"windows: axis {a} of size {x[a]} became {n}"
            continue
        k = axes.index(a)
        step, apart = node.sizes[k], node.sizes[len(axes) + k]
        size = node.shape[rank + k]
        if min(step, apart, size, n) < 1 or step * (n - 1) + apart * (size - 1) >= x[a]:
            return f"windows: {n} of {size} elements leave the axis of size {x[a]}"
    return None


def _elementwise(node: Node) -> str | None:
    name = table_name(node.op)
    row, kinds = OPS[name], [dtypes.ALL[s.dtype].kind for s in node.src]
    if row.arity != len(node.src):
        return f"{name}: {len(node.src)} operands"
    if _joint(*(s.shape for s in node.src)) != node.shape:
        return f"{name}: operands do not broadcast to the shape"
    operands = node.src[1:] if name == "where" else node.src
    if len({s.dtype for s in operands}) > 1 or any(k not in row.kinds for k in kinds):
        return f"{name}: operand dtypes"
    if name == "where" and node.src[0].dtype != dtypes.bool_.code:
        return "where: the condition is not bool"
    wanted = node.dtype if name == "cast" else operands[0].dtype
    if name != "cast" and row.result == "bool":
        wanted = dtypes.bool_.code
    return None if node.dtype == wanted else f"{name}: result dtype"


def _updated(node: Node) -> str | None:
    base, value = node.src
    if base.shape != node.shape or base.dtype != node.dtype or value.dtype != node.dtype:
        return "update: base, value and result disagree"
    shape, at = base.shape, 0
    for step in node.attrs:
        if step[0] == "slice":
            ndim = step[1]
            if len(shape) != ndim:
                return "update: a slice of another rank"
            shape = tuple(node.sizes[at + 2 * ndim : at + 3 * ndim])
            at += 3 * ndim
        elif step[0] == "strided":
            ndim = step[1]
            shape = tuple(node.sizes[ndim + 1 : 2 * ndim + 1])
            at += 2 * ndim + 1
        elif step[0] == "permute":
            shape = tuple(shape[p] for p in step[1])
        else:
            shape = tuple(node.sizes[at : at + step[1]])
            at += step[1]
    if at != len(node.sizes) or shape != value.shape:
        return f"update: the view is {shape}, the value {value.shape}"
    return None


def _wrong(node: Node) -> str | None:
    name = table_name(node.op)
    shape, src = node.shape, node.src
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        return "a shape that is not one"
    if name == "const":
        width = 8 * dtypes.ALL[node.dtype].itemsize
        return (
            None if shape == () and (width == 64 or 0 <= node.bits < 1 << width) else "const: bits"
        )
    if name == "leaf":
        return "a leaf without a value"
    if OPS[name].group == "elementwise":
        return _elementwise(node)
    if name == "iota":
        return None if len(shape) == 1 and node.dtype == dtypes.int64.code and not src else "iota"
    if name not in ("update", "matmul", "gather") and len(src) != 1:
        return f"{name}: {len(src)} sources"
    if name != "wrap_index" and name != "gather" and src[0].dtype != node.dtype:
        return f"{name}: changes the dtype"
    x = src[0].shape
    if name == "reshape":
        return None if math.prod(x) == math.prod(shape) else "reshape: changes the size"
    if name == "permute":
        fits = sorted(node.attrs) == list(range(len(x))) and shape == tuple(
            x[p] for p in node.attrs
        )
        return None if fits else "permute: shape"
    if name == "expand":
        return None if _joint(x, shape) == shape else "expand: shape"
    if name == "slice":
        return _sliced(node)
    if name == "windows":
        return _windowed(node)
    if name in ("sum", "prod", "max", "min", "any", "all"):
        kept = tuple(n for a, n in enumerate(x) if a not in node.attrs)
        fits = shape == kept and list(node.attrs) == sorted(set(node.attrs))
        return None if fits else f"{name}: axes"
    if name in ("cumsum", "cumprod"):
        return None if shape == x and 0 <= node.attrs < len(x) else f"{name}: axis"
    if name == "matmul":
        a, b = x, src[1].shape
        fits = len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2] and node.dtype in _FLOATS
        batch = _joint(a[:-2], b[:-2]) if fits else None
        return None if batch is not None and shape == (*batch, a[-2], b[-1]) else "matmul: shapes"
    if name == "gather":
        axis = node.attrs
        fits = shape == (*x[:axis], *src[1].shape, *x[axis + 1 :]) and src[0].dtype == node.dtype
        return None if fits and src[1].dtype == dtypes.int64.code else "gather: shape or dtypes"
    if name == "wrap_index":
        return None if shape == x and len(node.sizes) == 1 else "wrap_index: sizes"
    if name == "update":
        return _updated(node)
    return f"{name}: no such op in a graph"
