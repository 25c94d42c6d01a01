"""The workloads. A function of (xp, arrays) serves charl, NumPy and JAX alike; others say their
own.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import charl as ch
from benchmarks.libraries import expression, versions
from benchmarks.workload import workload

POWERS = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
LARGE = (1 << 20, 1 << 26)  # for a GPU: 4 and 256 MB of float32


def plain(
    function: Callable[..., Any], torch: Callable[..., Any] | None = None
) -> dict[str, Callable]:
    """The same text for each array namespace; torch's where its names agree."""
    return versions(function, torch=torch or function)


def normal(*shapes: Callable[[int], tuple[int, ...]], dtype: str = "float32") -> Callable:
    """make() of standard normal arrays whose shapes follow from the size."""
    return lambda size, rng: tuple(
        rng.standard_normal(shape(size)).astype(dtype) for shape in shapes
    )


def vector(size: int) -> tuple[int, ...]:
    return (size,)


def square(size: int) -> tuple[int, ...]:
    """The square matrix of about `size` elements."""
    return (math.isqrt(size), math.isqrt(size))


# Element-wise.


def add(xp, a, b):
    return a + b


def five(xp, a, b):
    return (a + b) * a - b * 0.5


def chain(xp, x, y):
    """15 ops, two of them exp, as in the README."""
    b = x * y + x
    d = xp.exp(-xp.abs(b)) * 0.5
    e = d + y
    f = xp.sqrt(e * e + 1.0)
    return xp.exp(-f) / (f + 1.0) + d


def transcendental(xp, x, y):
    """8 transcendental functions of 15 ops: arithmetic bounds it."""
    a = xp.sin(x) * 0.5 + xp.cos(y)
    b = xp.exp(a) + xp.tanh(y)
    c = xp.log1p(xp.abs(b)) * xp.exp(-xp.abs(x))
    return xp.atan(c) + xp.sin(a * b) if hasattr(xp, "atan") else xp.arctan(c) + xp.sin(a * b)


def multiply_add(xp, a, b, c):
    return a * b + c


workload(
    "small",
    "a + b of float32: the cost of a call",
    sizes=(10, 100, 1_000),
    make=normal(vector, vector),
    run=plain(add),
    nbytes=lambda n: 12 * n,
    flops=lambda n: n,
    quick=10,
)
workload(
    "small5",
    "five ops on float32",
    sizes=(10, 100, 1_000),
    make=normal(vector, vector),
    run=plain(five),
    nbytes=lambda n: 12 * n,
    flops=lambda n: 5 * n,
    quick=100,
)
workload(
    "elementwise",
    "a * b + c of float32",
    sizes=POWERS,
    make=normal(vector, vector, vector),
    run={**plain(multiply_add), **expression("a * b + c", "a", "b", "c")},
    nbytes=lambda n: 16 * n,
    flops=lambda n: 2 * n,
    quick=100_000,
    gpu=LARGE,
    tags=("table",),
)
workload(
    "chain",
    "15 element-wise ops on float32",
    sizes=(*POWERS[:-1], 4_000_000, POWERS[-1]),
    make=normal(vector, vector),
    run={
        **plain(chain),
        **expression(
            "exp(-sqrt((exp(-abs(x*y+x))*h+y)**2 + 1))"
            " / (sqrt((exp(-abs(x*y+x))*h+y)**2 + 1) + 1)"
            " + exp(-abs(x*y+x))*h",
            "x",
            "y",
        ),
    },
    nbytes=lambda n: 12 * n,
    flops=lambda n: 15 * n,
    tolerance=1e-5,
    quick=100_000,
    gpu=LARGE,
)
workload(
    "transcendental",
    "15 element-wise ops on float32, 8 of them transcendental",
    sizes=POWERS,
    make=normal(vector, vector),
    run=plain(transcendental),
    nbytes=lambda n: 12 * n,
    flops=lambda n: 15 * n,
    tolerance=1e-5,
    quick=100_000,
    gpu=LARGE,
    tags=("table",),
)

STEPS = 1_000


def steps(realize, x):
    """Each needs the one before; realize(x) is called after each."""
    for _ in range(STEPS):
        x = x * 0.999 + 0.001
        realize(x)
    return x


def pending(realize, x):
    """As many, of which charl records and fuses what it likes."""
    for _ in range(STEPS):
        x = x * 0.999 + 0.001
    realize(x)
    return x


for _name, _doc, _function in (
    ("steps", "1,000 dependent small steps, each realized", steps),
    ("pending", "1,000 dependent small steps, realized at the end", pending),
):
    workload(
        _name,
        _doc,
        sizes=(1_000,),
        make=normal(vector),
        run={
            "charl": functools.partial(_function, ch.eval),
            **{
                name: functools.partial(_function, lambda x: None)
                for name in ("numpy", "torch", "cupy")
            },
        },
        nbytes=lambda n: 8 * n * STEPS,
        flops=lambda n: 2 * n * STEPS,
        quick=1_000,
        steps=STEPS,
    )

# Reductions.


def total(xp, x):
    return xp.sum(x)


def row_sums(xp, x):
    return xp.sum(x, axis=1)


def column_sums(xp, x):
    return xp.sum(x, axis=0)


def variance(xp, x):
    return xp.var(x, axis=1)


def largest(xp, x):
    return xp.max(x)


def softmax(xp, x):
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)


def softmax_torch(xp, x):
    return xp.softmax(x, dim=1)


def layer_norm(xp, x):
    centred = x - xp.mean(x, axis=1, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred * centred, axis=1, keepdims=True) + 1e-5)


def layer_norm_torch(xp, x):
    return xp.nn.functional.layer_norm(x, x.shape[1:])


def rows(size: int) -> tuple[int, ...]:
    """A (m, 1024) matrix of about `size` elements."""
    return (max(1, size // 1024), 1024)


REDUCED = (10_000, 1_000_000, 10_000_000)
for _name, _doc, _function, _shape, _ops in (
    ("sum", "sum of float32", total, vector, 1),
    ("max", "max of float32", largest, vector, 1),
    ("rowsum", "sum over the last axis of (m, 1024)", row_sums, rows, 1),
    ("colsum", "sum over the first axis of (m, 1024)", column_sums, rows, 1),
    ("var", "variance over the last axis of (m, 1024)", variance, rows, 4),
):
    workload(
        _name,
        _doc,
        sizes=REDUCED,
        make=normal(_shape),
        run=plain(_function),
        nbytes=lambda n: 4 * n,
        flops=lambda n, ops=_ops: ops * n,
        tolerance=1e-4,
        quick=10_000,
        gpu=LARGE,
        tags=("reduction",),
    )
for _name, _doc, _function, _torch, _ops in (
    ("softmax", "softmax", softmax, softmax_torch, 5),
    ("layernorm", "layer norm", layer_norm, layer_norm_torch, 7),
):
    workload(
        _name,
        f"{_doc} over the last axis of (m, 1024) float32; the largest on a CPU is 4096 x 1024",
        sizes=(10_240, 1_048_576, 4_194_304),
        make=normal(rows),
        run=plain(_function, _torch),
        nbytes=lambda n: 8 * n,
        flops=lambda n, ops=_ops: ops * n,
        quick=10_240,
        gpu=LARGE,
    )

# Matrix products and a network.


def matmul(xp, a, b):
    return a @ b


def forward(xp, x, w1, b1, w2, b2, w3, b3):
    """784-128-64-10 with relu."""
    h = xp.maximum(x @ w1 + b1, xp.zeros_like(b1))
    h = xp.maximum(h @ w2 + b2, xp.zeros_like(b2))
    return h @ w3 + b3


def network(size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Inputs (size, 784) and the weights."""
    widths = (784, 128, 64, 10)
    arrays = [rng.standard_normal((size, 784))]
    for fan_in, fan_out in itertools.pairwise(widths):
        arrays += [
            rng.standard_normal((fan_in, fan_out)) / math.sqrt(fan_in),
            rng.standard_normal(fan_out),
        ]
    return tuple(array.astype(np.float32) for array in arrays)


WEIGHTS = 784 * 128 + 128 * 64 + 64 * 10

workload(
    "matmul",
    "product of two square float32 matrices; the size is that of one",
    sizes=(*(n * n for n in (10, 32, 100, 316, 512, 1000, 1024, 3162)),),
    make=normal(square, square),
    run=plain(matmul),
    nbytes=lambda n: 12 * n,
    flops=lambda n: 2 * math.isqrt(n) ** 3,
    tolerance=1e-4,
    quick=100 * 100,
    gpu=(1024 * 1024, 4096 * 4096),
    tags=("table",),
)
workload(
    "mlp",
    "forward pass of a 784-128-64-10 network, float32; the size is the batch",
    sizes=(32, 512),
    make=network,
    run=plain(forward),
    nbytes=lambda n: 4 * (WEIGHTS + n * (784 + 10)),
    flops=lambda n: 2 * n * WEIGHTS,
    tolerance=1e-4,
    quick=32,
    gpu=(512, 16_384),
    tags=("table",),
)


def black_scholes(xp, spot, strike, years):
    """Price of a call, rate 0.02, volatility 0.3; the normal distribution by tanh."""
    root = xp.sqrt(years) * 0.3
    d1 = (xp.log(spot / strike) + years * 0.065) / root
    d2 = d1 - root
    p1 = (xp.tanh((d1 + d1 * d1 * d1 * 0.044715) * 0.7978845608) + 1.0) * 0.5
    p2 = (xp.tanh((d2 + d2 * d2 * d2 * 0.044715) * 0.7978845608) + 1.0) * 0.5
    return spot * p1 - strike * xp.exp(years * -0.02) * p2


workload(
    "blackscholes",
    "option prices, float64",
    sizes=(10_000, 1_000_000),
    make=lambda n, rng: (rng.uniform(10, 50, n), rng.uniform(10, 50, n), rng.uniform(0.1, 2, n)),
    run=plain(black_scholes),
    nbytes=lambda n: 32 * n,
    flops=lambda n: 33 * n,
    tolerance=1e-12,
    quick=10_000,
    gpu=(1 << 24,),
)
