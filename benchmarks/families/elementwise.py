"""Element-wise work: single functions, long chains, broadcasts, layouts, masks, integers, casts, several results."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.libraries import expression, versions
from benchmarks.workload import workload

FAMILY = ("elements",)
SIZES = (16_000, 1_000_000, 10_000_000)  # of float32: in L2, in L3, in memory


def vectors(count: int, dtype: str = "float32"):
    return lambda n, rng: tuple(rng.standard_normal(n).astype(dtype) for _ in range(count))


def side(size: int) -> int:
    return math.isqrt(size)


def matrices(count: int):
    return lambda n, rng: tuple(
        rng.standard_normal((side(n), side(n))).astype(np.float32) for _ in range(count)
    )


def add(xp, a, b):
    return a + b


workload(
    "add",
    "a + b",
    sizes=SIZES,
    make=vectors(2),
    run={**versions(add), **expression("a + b", "a", "b")},
    nbytes=lambda n: 12 * n,
    flops=lambda n: n,
    quick=10_000,
    tags=FAMILY,
)


def chain15(xp, x):
    """15 operations, six of them transcendental."""
    a = xp.sin(x)
    b = xp.cos(x)
    c = a * b + a * 0.5
    d = xp.exp(-c * c)
    e = xp.log(d + 1.5)
    f = xp.sqrt(e * e + b * b)
    return xp.tanh(f) * 0.25 + c


TEXT = "tanh(sqrt(log(exp(-(C)*(C))+(h+h+h))**2+cos(x)**2))*h*h+C".replace(
    "C", "sin(x)*cos(x)+sin(x)*h"
)

for _dtype, _bytes, _suffix in (("float32", 4, ""), ("float64", 8, "64")):
    workload(
        f"chain15{_suffix}",
        f"15 operations on {_dtype}, six transcendental",
        sizes=(*SIZES[:-1], 4_000_000),
        make=vectors(1, _dtype),
        run={**versions(chain15), **expression(TEXT, "x")},
        nbytes=lambda n, w=_bytes: 2 * w * n,
        flops=lambda n: 15 * n,
        tolerance=1e-5 if _suffix == "" else 1e-12,
        quick=10_000,
        tags=FAMILY,
    )


def polynomial(xp, x):
    """Degree 8 by Horner's rule: 16 operations without any function."""
    y = x * 0.125
    for c in (0.25, -0.5, 0.75, -1.0, 1.25, -1.5, 1.75):
        y = (y + c) * x
    return y + 2.0


workload(
    "polynomial",
    "a polynomial of degree 8 by Horner's rule",
    sizes=SIZES,
    make=vectors(1),
    run=versions(polynomial),
    nbytes=lambda n: 8 * n,
    flops=lambda n: 16 * n,
    quick=10_000,
    tags=FAMILY,
)


def single(name):
    return lambda xp, x: getattr(xp, name)(x)


def erf_numpy(xp, x):
    from scipy import special

    return special.erf(x)


def erf_jax(xp, x):
    import jax

    return jax.scipy.special.erf(x)


def power(xp, x):
    return xp.abs(x) ** 1.7


for _name, _runs in (
    ("exp", versions(single("exp")) | expression("exp(x)", "x")),
    ("log", versions(lambda xp, x: xp.log(xp.abs(x))) | expression("log(abs(x))", "x")),
    ("sin", versions(single("sin")) | expression("sin(x)", "x")),
    ("tanh", versions(single("tanh")) | expression("tanh(x)", "x")),
    ("erf", versions(single("erf"), numpy=erf_numpy, jax=erf_jax)),
    ("pow", versions(power)),
):
    for _dtype, _bytes, _suffix in (("float32", 4, ""), ("float64", 8, "64")):
        workload(
            f"{_name}{_suffix}",
            f"{_name} of {_dtype}",
            sizes=SIZES[1:],
            make=vectors(1, _dtype),
            run=_runs,
            nbytes=lambda n, w=_bytes: 2 * w * n,
            flops=lambda n: n,
            tolerance=1e-6 if _suffix == "" else 1e-14,
            quick=10_000,
            tags=FAMILY,
        )


def outer(xp, a, b):
    return a[:, None] * b[None, :] + a[:, None]


workload(
    "outer",
    "a[:, None] * b + a[:, None], square",
    sizes=(128 * 128, 1024 * 1024, 4096 * 4096),
    make=lambda n, rng: tuple(rng.standard_normal(side(n)).astype(np.float32) for _ in range(2)),
    run=versions(outer),
    nbytes=lambda n: 4 * n,
    flops=lambda n: 2 * n,
    quick=128 * 128,
    tags=FAMILY,
)


def transposed(xp, a, b):
    return a.T + b


def strided(xp, a, b):
    return a[::2] + b[1::2]


def reversed_numpy(xp, a, b):
    return a[::-1] * b


def reversed_torch(xp, a, b):
    return xp.flip(a, dims=(0,)) * b


def masked(xp, a, b):
    return xp.where(a > b, a, b * 0.1)


workload(
    "transposed",
    "a.T + b, square",
    sizes=(128 * 128, 1024 * 1024, 4096 * 4096),
    make=matrices(2),
    run=versions(transposed),
    nbytes=lambda n: 12 * n,
    flops=lambda n: n,
    quick=128 * 128,
    tags=FAMILY,
)
workload(
    "strided",
    "a[::2] + b[1::2]; the size is that of a",
    sizes=SIZES,
    make=vectors(2),
    run=versions(strided),
    nbytes=lambda n: 10 * n,
    flops=lambda n: n // 2,
    quick=10_000,
    tags=FAMILY,
)
workload(
    "reversed",
    "a[::-1] * b",
    sizes=SIZES,
    make=vectors(2),
    run=versions(reversed_numpy, torch=reversed_torch),
    nbytes=lambda n: 12 * n,
    flops=lambda n: n,
    quick=10_000,
    tags=FAMILY,
)
workload(
    "where",
    "where(a > b, a, 0.1 * b)",
    sizes=SIZES,
    make=vectors(2),
    run=versions(masked),
    nbytes=lambda n: 12 * n,
    flops=lambda n: 2 * n,
    quick=10_000,
    tags=FAMILY,
)


def integers(xp, a, b):
    return ((a * 3 + b) // 7) ^ (a >> 2)


def mixed(xp, a, b, c):
    return a * b + c


workload(
    "integers",
    "((3 a + b) // 7) ^ (a >> 2) of int32",
    sizes=SIZES,
    make=lambda n, rng: tuple(rng.integers(-1000, 1000, n).astype(np.int32) for _ in range(2)),
    run={**versions(integers), **expression("((a * 3 + b) // 7) ^ (a >> 2)", "a", "b")},
    nbytes=lambda n: 12 * n,
    flops=lambda n: 5 * n,
    tolerance=0,
    quick=10_000,
    tags=FAMILY,
)
workload(
    "mixed",
    "float32 * int16 + float64",
    sizes=SIZES,
    make=lambda n, rng: (
        rng.standard_normal(n).astype(np.float32),
        rng.integers(-100, 100, n).astype(np.int16),
        rng.standard_normal(n),
    ),
    run=versions(mixed),
    nbytes=lambda n: 22 * n,
    flops=lambda n: 2 * n,
    quick=10_000,
    tags=FAMILY,
)


def several(xp, a, b):
    s, d = a + b, a - b
    return s, d, s * d


workload(
    "several",
    "a + b, a - b and their product: three results of one pass",
    sizes=SIZES,
    make=vectors(2),
    run=versions(several),
    nbytes=lambda n: 20 * n,
    flops=lambda n: 3 * n,
    quick=10_000,
    tags=FAMILY,
)
