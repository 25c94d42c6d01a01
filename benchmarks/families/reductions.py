"""Reductions along every axis, and what is built from them: norms, searches, distances, scans; sorting."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.libraries import loops, versions
from benchmarks.workload import workload

FAMILY = ("reductions",)
SIZES = (16_384, 1_048_576, 10_485_760)


def arrays(shape, dtype="float32"):
    return lambda n, rng: (rng.standard_normal(shape(n)).astype(dtype),)


def rows(n):
    return (max(1, n // 1024), 1024)


def cube(n):
    return (max(1, n // 4096), 64, 64)


def tall(n):
    return (n // 8, 8)


def vector(n):
    return (n,)


def summed(axis):
    def numpy(xp, x):
        return xp.sum(x, axis=axis)

    return numpy


for _name, _doc, _axis, _shape in (
    ("sumall", "sum of all of (m, 1024)", None, rows),
    ("sumlast", "sum over the last axis of (m, 1024)", 1, rows),
    ("sumfirst", "sum over the first axis of (m, 1024)", 0, rows),
    ("summiddle", "sum over the middle axis of (m, 64, 64)", 1, cube),
    ("sumtall", "sum over the first axis of (m, 8)", 0, tall),
):
    for _dtype, _bytes, _suffix in (("float32", 4, ""), ("float64", 8, "64")):
        workload(
            f"{_name}{_suffix}",
            f"{_doc}, {_dtype}",
            sizes=SIZES,
            make=arrays(_shape, _dtype),
            run=versions(summed(_axis)),
            nbytes=lambda n, w=_bytes: w * n,
            flops=lambda n: n,
            tolerance=1e-4 if _suffix == "" else 1e-12,
            quick=SIZES[0],
            tags=FAMILY,
        )


def moments(xp, x):
    return xp.mean(x, axis=1), xp.var(x, axis=1)


def moments_torch(xp, x):
    return xp.mean(x, dim=1), xp.var(x, dim=1, correction=0)


def logsumexp(xp, x):
    top = xp.max(x, axis=1, keepdims=True)
    return xp.log(xp.sum(xp.exp(x - top), axis=1)) + top[:, 0]


def logsumexp_torch(xp, x):
    return xp.logsumexp(x, dim=1)


def logsumexp_jax(xp, x):
    import jax

    return jax.nn.logsumexp(x, axis=1)


def norms(xp, x):
    return xp.sqrt(xp.sum(x * x, axis=1))


def norms_torch(xp, x):
    return xp.linalg.vector_norm(x, dim=1)


for _name, _doc, _run, _ops in (
    ("moments", "mean and variance", versions(moments, torch=moments_torch), 4),
    (
        "logsumexp",
        "log of the sum of exp",
        versions(logsumexp, torch=logsumexp_torch, jax=logsumexp_jax),
        4,
    ),
    ("norm", "Euclidean norm", versions(norms, torch=norms_torch), 2),
):
    workload(
        _name,
        f"{_doc} over the last axis of (m, 1024)",
        sizes=(*SIZES[:-1], 4_194_304),
        make=arrays(rows),
        run=_run,
        nbytes=lambda n: 4 * n,
        flops=lambda n, ops=_ops: ops * n,
        tolerance=1e-4,
        quick=SIZES[0],
        tags=FAMILY,
    )


def argmax(xp, x):
    return xp.argmax(x)


workload(
    "argmax",
    "argmax of all",
    sizes=(16_000, 1_000_000, 10_000_000),
    make=arrays(vector),
    run=versions(argmax),
    nbytes=lambda n: 4 * n,
    flops=lambda n: n,
    tolerance=0,
    quick=16_000,
    tags=FAMILY,
)


def any_early(xp, x):
    return xp.any(x > 3.0)


def all_late(xp, x):
    return xp.all(x > -100.0)


for _name, _doc, _function in (
    ("any", "any(x > 3): true early on", any_early),
    ("all", "all(x > -100): true to the end", all_late),
):
    workload(
        _name,
        _doc,
        sizes=(16_000, 1_000_000, 10_000_000),
        make=arrays(vector),
        run=versions(_function),
        nbytes=lambda n: 4 * n,
        flops=lambda n: n,
        tolerance=0,
        quick=16_000,
        tags=FAMILY,
    )


def distances(xp, a, b):
    d = a[:, None, :] - b[None, :, :]
    return xp.sqrt(xp.sum(d * d, axis=2))


def distances_torch(xp, a, b):
    return xp.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


DISTANCES = """
def run(a, b):
    out = np.empty((a.shape[0], b.shape[0]), np.float32)
    for i in prange(a.shape[0]):
        for j in range(b.shape[0]):
            t = np.float32(0)
            for k in range(a.shape[1]):
                d = a[i, k] - b[j, k]
                t += d * d
            out[i, j] = np.sqrt(t)
    return out
"""


def nearest(xp, a, b):
    d = a[:, None, :] - b[None, :, :]
    return xp.min(xp.sum(d * d, axis=2), axis=1)


def nearest_torch(xp, a, b):
    d = a[:, None, :] - b[None, :, :]
    return xp.amin(xp.sum(d * d, dim=2), dim=1)


for _name, _doc, _run, _out in (
    (
        "distances",
        "distances of points in 3 dimensions, each to each",
        versions(distances, torch=distances_torch, numba=loops(DISTANCES)),
        1,
    ),
    (
        "nearest",
        "the square of the distance to the nearest of as many points",
        versions(nearest, torch=nearest_torch),
        0,
    ),
):
    workload(
        _name,
        f"{_doc}; the size is the number of pairs",
        sizes=(100 * 100, 500 * 500, 2000 * 2000),
        make=lambda n, rng: tuple(
            rng.standard_normal((math.isqrt(n), 3)).astype(np.float32) for _ in range(2)
        ),
        run=_run,
        nbytes=lambda n, out=_out: 4 * n * out + 24 * math.isqrt(n),
        flops=lambda n: 9 * n,
        tolerance=1e-4,
        quick=100 * 100,
        tags=FAMILY,
    )


def running(xp, x):
    return xp.cumsum(x, 0)


def running_charl(xp, x):
    return xp.cumulative_sum(x)


for _dtype, _bytes, _suffix in (("float32", 4, ""), ("float64", 8, "64")):
    workload(
        f"cumsum{_suffix}",
        f"cumulative sum of {_dtype}",
        sizes=(16_000, 1_000_000, 10_000_000),
        make=arrays(vector, _dtype),
        run=versions(running, charl=running_charl),
        nbytes=lambda n, w=_bytes: 2 * w * n,
        flops=lambda n: n,
        tolerance=1e-3 if _suffix == "" else 1e-10,
        quick=16_000,
        tags=FAMILY,
    )


def sorted_values(xp, x):
    return xp.sort(x)


def sorted_torch(xp, x):
    return xp.sort(x).values


workload(
    "sort",
    "sort of float32, which charl leaves to NumPy: reported, not counted",
    sizes=(16_000, 1_000_000),
    make=arrays(vector),
    run=versions(sorted_values, torch=sorted_torch),
    nbytes=lambda n: 8 * n,
    flops=lambda n: int(n * math.log2(n)),
    tolerance=0,
    quick=16_000,
    tags=("sorting",),
)


def top(xp, x):
    return xp.partition(x, -64)[-64:].sum()


def top_charl(xp, x):
    return xp.sum(xp.top_k(x, 64).values)


def top_torch(xp, x):
    return xp.topk(x, 64).values.sum()


def top_jax(xp, x):
    import jax

    return jax.lax.top_k(x, 64)[0].sum()


workload(
    "topk",
    "sum of the 64 largest, which charl leaves to NumPy: reported, not counted",
    sizes=(16_000, 1_000_000),
    make=arrays(vector),
    run=versions(top, charl=top_charl, torch=top_torch, jax=top_jax),
    nbytes=lambda n: 4 * n,
    flops=lambda n: n,
    tolerance=1e-5,
    quick=16_000,
    tags=("sorting",),
)


def counted(xp, x):
    return xp.bincount(x, minlength=256)


def counted_jax(xp, x):
    return xp.bincount(x, length=256)


workload(
    "bincount",
    "histogram of 256 bins, a scatter-add, which charl leaves to NumPy: reported, not counted",
    sizes=(16_000, 1_000_000),
    make=lambda n, rng: (rng.integers(0, 256, n),),
    run=versions(counted, jax=counted_jax),
    nbytes=lambda n: 8 * n,
    flops=lambda n: n,
    tolerance=0,
    quick=16_000,
    tags=("sorting",),
)
