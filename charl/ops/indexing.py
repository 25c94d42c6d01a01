"""Indexed access: reads at computed places, the check of an index, and the write of a view."""

from charl.ops.table import op

# fmt: off
op("gather", 2, "biuf", group="index", numpy="take",
   doc="Elements at int64 indices along the axis in attrs.")
op("wrap_index", 1, "i", group="index",
   doc="i or i + n where -n <= i < n; else IndexError when run.")
op("update", 2, "biuf", group="index", doc="The base with one view of it replaced by a value.")
