"""Kernel -> WGSL text: one compute shader, entry point `main`.

Bindings of group 0, in the order of `Shader.bindings`:

    params   array<u32>: the number of workgroups, 0, then (low, high) of each launch parameter
    a0, ...  the arguments; bool and 8 and 16 bits lie packed in u32 words, those that are written
             are atomic words, because neighbouring invocations may share one
    scratch  array<u32>: slots that a later stage cannot compute again
    error    six atomic u32: how many indices are out of range, and of one of them site, index, extent
             (both low word first)

An argument or scratch of more bytes than a binding reaches is several bindings (a0_0, a0_1, ...), one
for each `Features.part` bytes: functions load_a0 and store_a0 choose by the index's high bits.

How a Kernel is walked (kernel.py's orders of reduction hold but for the number of lanes, which of
them takes an element, and the order of their tree; all of these depend on extents alone):

    row, no folds     an invocation is one element, or four of one row (wgsl_elements)
    row               some lanes share an outer index, a workgroup has several (wgsl_rows)
    row with a scan   a workgroup is one outer index; its invocations are the lanes of j (wgsl_scans)
    column            an invocation is one outer index, and walks j, or some share it
    Contract          a workgroup is one tile (wgsl_matmul)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from charl.codegen import wgsl_loops, wgsl_probe
from charl.codegen.wgsl_elements import Elements
from charl.codegen.wgsl_matmul import Cut, Product, cut
from charl.codegen.wgsl_quads import quads
from charl.codegen.wgsl_rows import Fit, Folds
from charl.codegen.wgsl_scans import Scans
from charl.codegen.wgsl_values import Features, Tiling, Unsupported
from charl.codegen.wgsl_walks import Columns
from charl.core.named import NamedTuple
from charl.schedule.kernel import COLUMN_BLOCK, Int, Kernel, P, Value

__all__ = ["Features", "Shader", "Tiling", "Unsupported", "beyond", "emit", "probe", "suited"]

LANES = 256  # invocations that share a row
SHORT = ((16, 1), (128, 8), (1024, 32))  # or fewer, for rows of up to so many elements
SHORT_SCAN = (128, 32)  # likewise, where there are scans
COLUMN_LANES = 64  # that share a column, at most
MANY = 1 << 18  # lanes whose loads keep a large GPU's memory busy
COLUMN_STEPS = 8  # elements that each of them has at least
ROOM = 8192  # elements of a row that its lanes may keep
USUAL = Tiling()
WHOLE = Cut()
MOST = (1 << 32) - (1 << 16)  # elements of an axis: loops step beyond it by less than the rest


class Shader(NamedTuple):
    """A WGSL module and what its launch needs.

    text       the module; entry point "main"
    bindings   what binding k is: "params", "a0", "a1_0", "a1_1", ..., "scratch", "error"
    workgroup  invocations of a workgroup
    units      elements, rows, columns or tiles that a workgroup covers
    grid       workgroups are the product over (extents, per) of ceil(prod(extents) / per)
    scratch    words of scratch for each workgroup are the sum over (extent, words) of their product
    turns      wgsl_loops.turns
    """

    text: str
    bindings: tuple[str, ...]
    workgroup: int
    units: int
    grid: tuple[tuple[tuple[Int, ...], int], ...]
    scratch: tuple[tuple[Int, int], ...] = ()
    turns: tuple[tuple[Int, int, int], ...] = ()

    def groups(self, params: Sequence[int]) -> int:
        """The number of workgroups, for these launch parameters; 0 means nothing is to be done."""
        total = 1
        for extents, per in self.grid:
            total *= -(-prod(_number(e, params) for e in extents) // per)
        return total

    def scratch_bytes(self, params: Sequence[int]) -> int:
        """Bytes of scratch for all workgroups together."""
        words = sum(_number(extent, params) * count for extent, count in self.scratch)
        return 4 * words * self.groups(params)

    def rounds(self, params: Sequence[int]) -> int:
        """How often loops go round in an invocation, at most."""
        return sum(-(-_number(extent, params) // per) * times for extent, per, times in self.turns)


def _number(value: Int, params: Sequence[int]) -> int:
    return params[value.k] if isinstance(value, P) else value


def suited(kernel: Value, params: Sequence[int], tiling: Tiling = USUAL) -> tuple:
    """What `emit` takes after the features, for these launch parameters: how many invocations share
    a row or column (a sum's order follows it, so it depends on extents alone), the tiling, the arguments that
    may be taken as vectors, for how many elements of a row to keep room, and how rows fill that; of a
    product, its Cut.
    """
    if not isinstance(kernel, Kernel):
        return LANES, tiling, frozenset(), 0, Fit.ANY, cut(kernel, params)
    if kernel.inner is None:
        return LANES, tiling, frozenset(), 0, Fit.ANY, WHOLE
    extent = _number(kernel.inner.extent, params)
    vectors = quads(kernel, params)
    if kernel.outer and extent % 4 and Elements.takes(kernel):  # a row begins anywhere
        vectors = frozenset()
    if kernel.order == "column":
        return _column_lanes(kernel, params, extent), tiling, frozenset(), 0, Fit.ANY, WHOLE
    short = (SHORT_SCAN,) if _scans(kernel) else SHORT
    lanes = next((n for most, n in short if 0 < extent <= most), LANES)
    stages = sum(stage.loop for stage in kernel.stages)
    keeps = stages > 1 and kernel.block is None and 0 < extent <= ROOM
    room = max(4, 1 << (extent - 1).bit_length()) if keeps else 0
    fit = Fit.ANY if extent % 4 else Fit.FULL if extent == room else Fit.FOURS
    return lanes, tiling, vectors, room, fit, WHOLE


def _column_lanes(kernel: Kernel, params: Sequence[int], extent: int) -> int:
    """Invocations that share a column: more where there are few columns."""
    columns = prod(_number(axis.extent, params) for axis in kernel.outer)
    steps = extent if kernel.block is None else min(extent, COLUMN_BLOCK)
    lanes = 1
    while columns * lanes < MANY and steps >= 2 * lanes * COLUMN_STEPS and lanes < COLUMN_LANES:
        lanes *= 2
    return lanes


def _scans(kernel: Kernel) -> bool:
    return any(i.op == "scan" for stage in kernel.stages for i in stage.body)


def beyond(
    kernel: Value, shader: Shader, params: Sequence[int], side: int, features: Features
) -> str:
    """What of this work u32 indices, `side` workgroups in a dimension, or a device's loops do not
    reach; or "". All else that a shader computes may wrap: addresses are right modulo 2**32.
    """
    axes = list(kernel.outer)
    if not isinstance(kernel, Kernel):
        axes += kernel.i, kernel.j, kernel.k
    elif kernel.inner is not None:
        axes.append(kernel.inner)
    longest = max((_number(axis.extent, params) for axis in axes), default=1)
    groups = shader.groups(params)
    if longest > MOST:
        return f"an axis of {longest} elements; at most {MOST} are counted"
    if groups * shader.units > 1 << 32:
        return f"work of {groups * shader.units} elements; at most {1 << 32} are counted"
    if shader.scratch_bytes(params) > 4 << 32:
        return f"a kernel that keeps {shader.scratch_bytes(params)} bytes; at most {4 << 32} are reached"
    if groups > side * side:
        return f"work of {groups} workgroups; this adapter takes {side} x {side}"
    if not features.endless and shader.rounds(params) > wgsl_loops.MOST:
        return f"{shader.rounds(params)} rounds of loops; this adapter ends them after 65535"
    return ""


def emit(
    kernel: Value,
    features: Features,
    lanes: int = LANES,
    tiling: Tiling = USUAL,
    quads: frozenset[int] = frozenset(),
    room: int = 0,
    fit: Fit = Fit.ANY,
    cut: Cut = WHOLE,
    parts: Sequence[int] = (),
) -> Shader:
    """The shader of a Kernel. `lanes`, a power of two, are the invocations that share a row; `quads`
    the arguments all of whose accesses are aligned vectors; `room` the elements of a row, a power of
    two, that lanes may keep, and `fit` how rows fill that; `cut` is of products. `parts` tells in how many parts each
    argument, and then scratch, is bound; 1 where it does not. Raises Unsupported where the device
    lacks a dtype or a limit.
    """
    most = 1 << (features.max_workgroup.bit_length() - 1)
    several = {k for k, count in enumerate(parts) if count > 1}
    quads, cut = quads - several, cut._replace(quads=cut.quads - several)
    walk: Product | Columns | Elements | Folds
    if not isinstance(kernel, Kernel):
        walk = Product(kernel, features, tiling, cut)
    elif kernel.order == "column":
        walk = Columns(kernel, features, min(lanes, most), min(tiling.columns, most))
    elif Elements.takes(kernel):
        walk = Elements(kernel, features, min(tiling.elements, most), tiling, quads)
    elif _scans(kernel):
        walk = Scans(kernel, features, min(lanes, most), quads)
    else:
        walk = Folds(kernel, features, min(lanes, most), min(tiling.rows, most), quads, room, fit)
    walk.divide(parts)
    text = walk.text()
    return Shader(text, *walk.launch())._replace(turns=wgsl_loops.turns(walk, text))


def probe(features: Features) -> Shader:
    """A shader that finds out what WGSL leaves to a device: `wgsl_probe` reads what it leaves in a0."""
    return Shader(wgsl_probe.text(features), ("params", "a0"), wgsl_probe.INVOCATIONS, 1, ())
