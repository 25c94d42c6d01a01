"""Tensor: a mutable handle on a Node, and what it is made of.

operands turns values of all kinds into Nodes, promoted; views leads from a root to its parts;
indexing says what an index means, assign what storing by arrays gives; interop and export exchange
with NumPy and others. Upon these stand value (what a Tensor shows), operators and parts, which the
class itself, in handle, calls. make is what the api builds on, and what it uses is handed on here.
"""

from charl.tensor.handle import Tensor, register_method
from charl.tensor.indexing import user_site
from charl.tensor.make import (
    as_tensor,
    binary,
    evaluate,
    from_capsule,
    from_numpy,
    from_numpy_owned,
    joined,
    moved,
    node_of,
    plain_bounds,
    plain_cast,
    plain_filled,
    plain_nodes,
    plain_product,
    unary,
    unset,
    wrap,
)
from charl.tensor.parts import view_expand, view_permute, view_reshape
from charl.tensor.quick import quick
from charl.tensor.recorded import recorded
