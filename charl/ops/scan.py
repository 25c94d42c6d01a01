"""Scans: inclusive prefixes along the axis in attrs; the order is schedule/kernel.py's."""

from charl.ops.table import op

# fmt: off
op("cumsum", 1, "iuf", group="scan", numpy="cumsum", doc="Prefix sums.")
op("cumprod", 1, "iuf", group="scan", numpy="cumprod", doc="Prefix products.")
