"""The cost of calls: one and five operations on few elements, and loops of small steps."""

from __future__ import annotations

import numpy as np

from benchmarks.libraries import versions
from benchmarks.workload import workload

FAMILY = ("overhead",)
STEPS = 200


def one(xp, a, b):
    return a + b


def five(xp, a, b):
    return (a + b) * a - b * 0.5


def steps(xp, a, b):
    """A loop whose body is four operations; the values stay near 1."""
    for _ in range(STEPS):
        a = a * 0.99 + b * 0.01
    return a


for _name, _doc, _function, _ops in (
    ("one", "a + b", one, 1),
    ("five", "five operations", five, 5),
    ("loop", f"{STEPS} rounds of a = 0.99 a + 0.01 b", steps, 3 * STEPS),
):
    workload(
        _name,
        f"{_doc}, float32",
        sizes=(10, 100, 1_000),
        make=lambda n, rng: tuple(rng.uniform(1, 2, n).astype(np.float32) for _ in range(2)),
        run=versions(_function),
        nbytes=lambda n: 12 * n,
        flops=lambda n, ops=_ops: ops * n,
        quick=10,
        tags=FAMILY,
    )
