"""Floor 1: every op, declared once. Pure Python without numpy, so that setup.py can load it by path.

Importing any module of this package registers all rows in table.OPS.
"""

# The order gives the codes.
from charl.ops import table, elementwise, approx, trig, inverse, special, random, movement, reduce, scan, contract, indexing  # noqa: F401, I001
