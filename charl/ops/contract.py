"""Contractions: sums of products over a shared axis, which tile gives to packed micro-kernels."""

from charl.ops.table import op

# fmt: off
op("matmul", 2, "f", group="contract", numpy="matmul", cost=1000,
   doc="(..., m, k) x (..., k, n) -> (..., m, n), f32 or f64, summed with fma in blocks of k.")
