"""Ops that are not element-wise: sources, movement, indexed access, contractions, reductions, scans.

See graph/node for their attrs; the order of a fold or a scan is schedule/kernel's.
"""

from charl.ops.table import op

# fmt: off

# Contractions: sums of products over a shared axis, which tile gives to packed micro-kernels.
op("matmul", 2, "f", group="contract", numpy="matmul", cost=1000,
   doc="(..., m, k) x (..., k, n) -> (..., m, n), f32 or f64, summed with fma in blocks of k.")

# Indexed access: reads at computed places, the check of an index, and the write of a view.
op("gather", 2, "biuf", group="index", numpy="take",
   doc="Elements at int64 indices along the axis in attrs.")
op("wrap_index", 1, "i", group="index",
   doc="i or i + n where -n <= i < n; else IndexError when run.")
op("update", 2, "biuf", group="index", doc="The base with one view of it replaced by a value.")

# Sources, and movement, which the scheduler turns into index maps.
op("leaf", 0, "biuf", "any", group="source", doc="A stored array.")
op("const", 0, "biuf", "any", group="source", doc="A scalar, given by its bits.")
op("iota", 0, "i", "any", group="source", numpy="arange", doc="0..n-1 as int64.")
op("reshape", 1, "biuf", group="movement", numpy="reshape", doc="Another shape in C order.")
op("permute", 1, "biuf", group="movement", numpy="transpose", doc="Axes in the order attrs.")
op("expand", 1, "biuf", group="movement", numpy="broadcast_to", doc="Right-aligned broadcast.")
op("slice", 1, "biuf", group="movement", doc="start + step*i along each axis.")
op("windows", 1, "biuf", group="movement", doc="Elements step*i + dilation*p of axes.")

# Reductions fold the axes in attrs.
op("sum", 1, "iuf", group="reduce", numpy="sum",
   doc="Sum; float16 and bfloat16 are summed in float32.")
op("prod", 1, "iuf", group="reduce", numpy="prod", doc="Product.")
op("max", 1, "biuf", group="reduce", numpy="max", doc="Maximum; NaN wins.")
op("min", 1, "biuf", group="reduce", numpy="min", doc="Minimum; NaN wins.")
op("any", 1, "b", group="reduce", numpy="any", doc="Whether one is true.")
op("all", 1, "b", group="reduce", numpy="all", doc="Whether all are true.")

# Scans: inclusive prefixes along the axis in attrs.
op("cumsum", 1, "iuf", group="scan", numpy="cumsum", doc="Prefix sums.")
op("cumprod", 1, "iuf", group="scan", numpy="cumprod", doc="Prefix products.")
