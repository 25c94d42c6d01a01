"""Sources, and movement ops, which the scheduler turns into index maps. See graph/node for their
attrs.
"""

from charl.ops.table import op

# fmt: off
op("leaf", 0, "biuf", "any", group="source", doc="A stored array.")
op("const", 0, "biuf", "any", group="source", doc="A scalar, given by its bits.")
op("iota", 0, "i", "any", group="source", numpy="arange", doc="0..n-1 as int64.")
op("reshape", 1, "biuf", group="movement", numpy="reshape", doc="Another shape in C order.")
op("permute", 1, "biuf", group="movement", numpy="transpose", doc="Axes in the order attrs.")
op("expand", 1, "biuf", group="movement", numpy="broadcast_to", doc="Right-aligned broadcast.")
op("slice", 1, "biuf", group="movement", doc="start + step*i along each axis.")
op("windows", 1, "biuf", group="movement", doc="Elements step*i + dilation*p of axes.")
