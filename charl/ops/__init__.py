"""Floor 1: every op, declared once. Pure Python without numpy, so that setup.py can load it.

Importing any module of this package registers all rows in table.OPS.
"""

# The order gives the codes.
from charl.ops import table  # isort: split

from charl.ops import elementwise  # isort: split

from charl.ops import approx, erf, inverse, special, trig  # isort: split

from charl.ops import random, structure
