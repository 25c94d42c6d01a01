"""Kernel -> LLVM text. The text defines `i32 @kernel(ptr %launch, i64 %begin, i64 %end)`.

    entry     buffers, params and constants that the kernel uses
    units     a loop over rows (order row) or over groups of columns (order column)
      stage   before: what stays the same in the loop: addresses, splats, uniform arithmetic
              walk:   vectors of `width` lanes; in column order the lanes are columns
              finish: totals; the fixed tree over the lanes of a row

Tier "full" walks whole vectors without masks, then one masked tail; "quick" masks every vector and
is half the text.
"""

from __future__ import annotations

from charl.codegen.bytes import Bytes
from charl.codegen.columns import Columns
from charl.codegen.gemm import Gemm
from charl.codegen.host import Host
from charl.codegen.rows import Rows
from charl.schedule.kernel import Kernel, Value


def emit(kernel: Value, host: Host, tier: str) -> str:
    """The text of a module that defines @kernel. tier is "quick" (compact) or "full" (fast)."""
    if not isinstance(kernel, Kernel):
        # both tiers: code made without optimising is a tenth as fast
        return (Bytes if kernel.operands == "i8" else Gemm)(kernel, host).text()
    order = Columns if kernel.order == "column" else Rows
    return order(kernel, host, tier).text()
