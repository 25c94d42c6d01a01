"""How often the loops of a shader go round. Mesa's llvmpipe ends them without a word once all loops of
an invocation together have gone round 65,535 times, and what they make is wrong.
"""

from __future__ import annotations

import re
from typing import Any

from charl.codegen.wgsl_elements import Elements
from charl.codegen.wgsl_library import LIBRARY
from charl.codegen.wgsl_matmul import UNROLLED, Product
from charl.codegen.wgsl_rows import Folds
from charl.codegen.wgsl_scans import UNROLLED as CHAINED
from charl.codegen.wgsl_scans import Scans, one_by_one
from charl.schedule.kernel import COLUMN_BLOCK, ROW_BLOCK, STEPS, Int

MOST = 65_000  # rounds that such a device takes
ENTERED = 2  # rounds that a loop around another one counts as
# the library's loops, at most; others go round once a bit
_LONG = {"frem_f32": 280, "frem_f64": 2200}
_LOOPS = {name: _LONG.get(name, 64) for name, text in LIBRARY.items() if "for (" in text}

Turns = tuple[tuple[Int, int, int], ...]


def turns(walk: Any, text: str) -> Turns:
    """Rounds of an invocation, at most: the sum over (extent, per, times) of ceil(extent / per) *
    times. `text` is the walk's module.
    """
    each = sum(
        most * (len(re.findall(rf"\b{name}\(", text)) - 1)
        for name, most in _LOOPS.items()
        if f"fn {name}(" in text
    )
    if isinstance(walk, Product):
        inner = walk.step // (walk.slices if walk.slices > 1 else min(UNROLLED, walk.step))
        return ((walk.kernel.k.extent, walk.step, ENTERED + inner), (1, 1, each))
    kernel = walk.kernel
    if kernel.inner is None or isinstance(walk, Elements):
        return ((1, 1, 4 * each),)
    extent, result = kernel.inner.extent, []
    if kernel.block is not None:
        extent = COLUMN_BLOCK if kernel.order == "column" else ROW_BLOCK
    per = walk.lanes * (4 if isinstance(walk, Folds) else 1)
    for stage in kernel.stages:
        if not stage.loop:
            continue
        scans = [i for i in stage.body if i.op == "scan"]
        times = 1 + each * (4 if isinstance(walk, Folds) else 1)
        for instr in scans if isinstance(walk, Scans) else ():
            size = walk.workgroup
            times += ENTERED + (4 * size // CHAINED if one_by_one(instr) else size.bit_length())
        result += [(extent, per, times), (extent, per * STEPS, ENTERED)]
    return tuple(result)
