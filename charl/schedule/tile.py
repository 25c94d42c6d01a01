"""How a Kernel is walked: units of work, their cost, and scratch. No choice made here changes a
value.
"""

from __future__ import annotations

from collections.abc import Sequence

from charl.core.dtypes import BY_SHORT
from charl.ops.table import OPS
from charl.schedule.kernel import COLUMNS, KC, PACK_I, TILE_I, TILE_J, UNIT, Kernel
from charl.schedule.sizes import Number, ceildiv, product, value

TINY = 8  # an inner axis shorter than this makes poor use of vectors
SPARE = 4096  # elements that a contraction's packing may write past its panels


def units(kernel: Kernel, outer: Sequence[Number], inner: Number) -> Number:
    """How many units a launch has: see kernel.py."""
    if kernel.order == "column":
        return product(outer[:-1]) * ceildiv(outer[-1], COLUMNS)
    if outer:
        return product(outer)
    if kernel.inner is not None and not _folds(kernel):
        return ceildiv(inner, UNIT)
    return 1


def vector_axis(extents: Sequence[Number]) -> int:
    """The axis that a kernel without reductions walks innermost: the last, or, where that is tiny,
    the longest.
    """
    last = len(extents) - 1
    if last and extents[last] < TINY:
        longest = max(range(last), key=lambda a: value(extents[a]))
        if value(extents[longest]) > value(extents[last]):
            return longest
    return last


def _folds(kernel: Kernel) -> bool:
    return any(i.op in ("reduce", "scan") for stage in kernel.stages for i in stage.body)


def work(kernel: Kernel, outer: Sequence[Number], inner: Number) -> Number:
    """Element operations in all, in units of one addition: an estimate, for threads and waiting."""
    once, each = 0, 0
    for stage in kernel.stages:
        cost = sum(OPS[i.op].cost if i.op in OPS else 1 for i in stage.body)
        if stage.loop:
            each += cost
        else:
            once += cost
    if (
        kernel.block is not None
    ):  # each block walks its part: all blocks together walk the inner axis once
        outer = [n for k, n in enumerate(outer) if k != kernel.block]
    return product(outer) * (inner * each + once)


def scratch(kernel: Kernel, inner: Number) -> Number:
    """Bytes of a thread's slots."""
    width = COLUMNS if kernel.order == "column" else 1
    total: Number = 0
    for slot in kernel.slots:
        total = total + ceildiv(inner * (width * BY_SHORT[slot].itemsize), 64) * 64
    return total


def contract_units(outer: Sequence[Number], i: Number, j: Number) -> Number:
    return product(outer) * ceildiv(i, TILE_I) * ceildiv(j, TILE_J)


def contract_work(outer: Sequence[Number], i: Number, j: Number, k: Number) -> Number:
    return ceildiv(product(outer) * i * j * k, 8)


def contract_scratch(dtype: str) -> int:
    elements = (KC + PACK_I) * TILE_J + KC * PACK_I + SPARE
    return elements * BY_SHORT[dtype].itemsize
