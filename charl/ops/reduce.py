"""Reductions: fold the axes in attrs. The order of the fold is schedule/kernel's."""

from charl.ops.table import op

# fmt: off
op("sum", 1, "iuf", group="reduce", numpy="sum",
   doc="Sum; float16 and bfloat16 are summed in float32.")
op("prod", 1, "iuf", group="reduce", numpy="prod", doc="Product.")
op("max", 1, "biuf", group="reduce", numpy="max", doc="Maximum; NaN wins.")
op("min", 1, "biuf", group="reduce", numpy="min", doc="Minimum; NaN wins.")
op("any", 1, "b", group="reduce", numpy="any", doc="Whether one is true.")
op("all", 1, "b", group="reduce", numpy="all", doc="Whether all are true.")
