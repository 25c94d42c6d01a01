"""Constants. Source: array API 2025.12, constants."""

import math

e = math.e
inf = math.inf
nan = math.nan
newaxis = None
pi = math.pi
