"""The families of workloads that charl is measured by, each at sizes within the caches and beyond. A family is a tag:
`python -m benchmarks stencils` runs one. elements, reductions, stencils, contractions, neural, overhead.
"""

from benchmarks.families import (  # noqa: F401  (they declare workloads)
    contractions,
    elementwise,
    neural,
    overhead,
    reductions,
    stencils,
)
