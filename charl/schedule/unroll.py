"""Tiny axes of reductions: plain arithmetic on slices, so that kernels walk the long axes.

Both forms follow the reduction's own order, so no value tells which of them ran. Extents of the tiny
axis become part of the structure here, and each has kernels of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from charl.ops.table import OPS
from charl.schedule.kernel import LANES
from charl.schedule.sizes import Number, product, same, value

if TYPE_CHECKING:
    from charl.schedule.prepare import Graph

TINY = 8  # up to LANES where nothing large is read
MANY = 4096  # results that make it worth while to have code for one extent
COPIES = 96  # operations that unrolling makes, at most
FEW = 16  # a map-reduce over broadcasts has so many times more elements than each input
HEAVY = 10
FOLDS = {"add": "add", "mul": "multiply", "max": "maximum", "min": "minimum"}
LOGICAL = {"or": "bitwise_or", "and": "bitwise_and"}
ENDS = ("leaf", "const", "fill", "empty", "iota", "reduce", "scan", "matmul", "gather", "update")


def folded(graph: Graph, kind: str, at: int, axis: int) -> int | None:
    """A reduction over a tiny axis, LANES long at most, as operations on its slices; None where that
    does not pay.
    """
    x = graph[at]
    fold = (LOGICAL if x.dtype == "b1" else FOLDS).get(kind)
    extent, rest = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
    if fold is None or not product(rest) >= MANY or not extent <= LANES:
        return None
    inputs = _inputs(graph, at, x.shape, extent)
    if inputs is None or not (extent <= TINY or _all_small(graph, inputs, x.shape)):
        return None
    parts = [_part(graph, at, axis, k) for k in range(_fixed(extent))]

    def op(a: int, b: int) -> int:
        return graph.add(fold, x.dtype, rest, (a, b))

    if axis < len(x.shape) - 1:  # column order: one by one
        while len(parts) > 1:
            parts[:2] = [op(parts[0], parts[1])]
    half = LANES // 2  # row order: the tree over lanes
    while len(parts) > 1:
        parts = [op(a, parts[k + half]) if k + half < len(parts) else a
                 for k, a in enumerate(parts[:half])]  # fmt: skip
        half //= 2
    return parts[0]


def split(graph: Graph, kind: str, at: int, axis: int) -> list[int] | None:
    """A map-reduce over broadcasts that keeps a tiny last axis: (..., n, tiny) over n. One source
    (n, ...) to be reduced over its first axis for each part; None where it is something else.
    """
    x = graph[at]
    if not 0 < axis == len(x.shape) - 2 or (kind not in FOLDS and kind not in LOGICAL):
        return None
    extent, before = x.shape[-1], x.shape[:axis]
    if not product(before) >= FEW or not extent <= TINY:
        return None
    inputs = _inputs(graph, at, x.shape, extent)
    if inputs is None:
        return None
    if not _all_small(graph, inputs, x.shape):
        return None
    order = (axis, *range(axis))
    shape = (x.shape[axis], *before)
    parts = [_part(graph, at, axis + 1, k) for k in range(_fixed(extent))]
    return [graph.add("permute", x.dtype, shape, (p,), order) for p in parts]


def _all_small(graph: Graph, inputs: set[int], shape: tuple[Number, ...]) -> bool:
    """Whether a space of this shape has many times more elements than each of these vertices."""
    return all(product(graph.shape(s)) * FEW <= product(shape) for s in inputs)


def _fixed(extent: Number) -> int:
    """The extent as a number, by a guard."""
    number = value(extent)
    return number if extent == number else 0


def _part(graph: Graph, at: int, axis: int, k: int) -> int:
    """Element k of an axis, which goes."""
    x = graph[at]
    shape = [*x.shape[:axis], 1, *x.shape[axis + 1 :]]
    rank = len(shape)
    sizes = [k if a == axis else 0 for a in range(rank)] + [1] * rank
    part = graph.add("slice", x.dtype, shape, (at,), None, sizes)
    return graph.reshape(part, shape[:axis] + shape[axis + 1 :])


def _inputs(graph: Graph, at: int, shape: tuple[Number, ...], extent: Number) -> set[int] | None:
    """What the arithmetic behind a vertex reads. None where so many copies of it are too much, or a
    part of its own shape is heavy.
    """
    seen, inputs, todo, cost = {at}, set(), [at], 0
    whole = product(shape)
    while todo:
        v = graph[now := todo.pop()]
        if v.op in ENDS or v.op == "parts":
            inputs.add(now)
            continue
        row = OPS.get(v.op)
        cost += row is not None and row.group != "movement"
        if cost * value(extent) > COPIES:
            return None
        if row is not None and row.cost >= HEAVY and same(product(v.shape), whole):
            return None
        new = set(v.src) - seen
        seen |= new
        todo += new
    return inputs
