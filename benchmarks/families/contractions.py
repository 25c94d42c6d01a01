"""Matrix products of all shapes: squares, thin ones, batches, vectors, transposed operands, einsum, epilogues, int8."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.libraries import versions
from benchmarks.workload import workload

FAMILY = ("contractions",)


def product(xp, a, b):
    return a @ b


def pair(first, second, dtype="float32"):
    return lambda n, rng: tuple(rng.standard_normal(s(n)).astype(dtype) for s in (first, second))


def edge(n):
    return math.isqrt(n)


def square(n):
    return (edge(n), edge(n))


for _dtype, _bytes, _suffix, _edges in (
    ("float32", 4, "", (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)),
    ("float64", 8, "64", (16, 64, 128, 512, 1024, 2048)),
):
    workload(
        f"square{_suffix}",
        f"product of two squares, {_dtype}; the size is that of one",
        sizes=tuple(n * n for n in _edges),
        make=pair(square, square, _dtype),
        run=versions(product),
        nbytes=lambda n, w=_bytes: 3 * w * n,
        # a float64 takes twice the room of a vector: its flops count double against float32's peak
        flops=lambda n, w=_bytes: 2 * edge(n) ** 3 * w // 4,
        tolerance=1e-4 if _suffix == "" else 1e-12,
        quick=64 * 64,
        tags=FAMILY,
    )

# name, (m, k, n) of a size
THIN = {
    "tall": ("(size, 256) @ (256, 64)", (1_000, 10_000, 100_000), lambda s: (s, 256, 64)),
    "wide": ("(64, 256) @ (256, size)", (1_000, 10_000, 100_000), lambda s: (64, 256, s)),
    "skinny": ("(size, 64) @ (64, size)", (256, 1024, 4096), lambda s: (s, 64, s)),
    "deep": ("(64, size) @ (size, 64)", (1_000, 10_000, 100_000), lambda s: (64, s, 64)),
    "matvec": ("(size, size) @ (size,)", (128, 1024, 4096), lambda s: (s, s, 0)),
    "vecmat": ("(size,) @ (size, size)", (128, 1024, 4096), lambda s: (0, s, s)),
    "few": ("(4, size) @ (size, size)", (128, 1024, 4096), lambda s: (4, s, s)),
}


def given(dims):
    """Operands (m, k) and (k, n), a vector where m or n is 0."""

    def make(size, rng):
        m, k, n = dims(size)
        return tuple(
            rng.standard_normal(tuple(d for d in shape if d)).astype(np.float32)
            for shape in ((m, k), (k, n))
        )

    return make


def moved(dims):
    def nbytes(size):
        m, k, n = (max(d, 1) for d in dims(size))
        return 4 * (m * k + k * n + m * n)

    return nbytes


for _name, (_doc, _sizes, _dims) in THIN.items():
    workload(
        _name,
        f"{_doc}, float32",
        sizes=_sizes,
        make=given(_dims),
        run=versions(product),
        nbytes=moved(_dims),
        flops=lambda size, d=_dims: 2 * math.prod(max(x, 1) for x in d(size)),
        tolerance=1e-4,
        quick=_sizes[0],
        tags=FAMILY,
    )

for _name, _doc, _shapes in (
    (
        "batched",
        "(size, 64, 64) @ (size, 64, 64)",
        (lambda s: (s, 64, 64), lambda s: (s, 64, 64)),
    ),
    ("batchedsmall", "(size, 8, 8) @ (size, 8, 8)", (lambda s: (s, 8, 8), lambda s: (s, 8, 8))),
):
    workload(
        _name,
        f"{_doc}, float32",
        sizes=(8, 128, 2048),
        make=pair(*_shapes),
        run=versions(product),
        nbytes=lambda s, f=_shapes[0]: 12 * math.prod(f(s)),
        flops=lambda s, f=_shapes[0]: 2 * math.prod(f(s)) * f(s)[2],
        tolerance=1e-4,
        quick=8,
        tags=FAMILY,
    )


def left_transposed(xp, a, b):
    return a.T @ b


def right_transposed(xp, a, b):
    return a @ b.T


for _name, _doc, _function in (
    ("transposedleft", "a.T @ b", left_transposed),
    ("transposedright", "a @ b.T", right_transposed),
):
    workload(
        _name,
        f"{_doc} of squares, float32; the size is that of one",
        sizes=(128 * 128, 512 * 512, 1024 * 1024),
        make=pair(square, square),
        run=versions(_function),
        nbytes=lambda n: 12 * n,
        flops=lambda n: 2 * edge(n) ** 3,
        tolerance=1e-4,
        quick=128 * 128,
        tags=FAMILY,
    )


def fused(xp, x, w, b):
    """matmul + bias + GELU (by tanh, which all of them have)."""
    y = x @ w + b
    return y * 0.5 * (xp.tanh((y + y * y * y * 0.044715) * 0.7978845608) + 1.0)


def fused_torch(xp, x, w, b):
    return xp.nn.functional.gelu(xp.addmm(b, x, w), approximate="tanh")


def residual(xp, x, w, b, r):
    return (x @ w + b) * 0.5 + r


def layer(count):
    """x (n, n), w (n, n), b (n,), and a residual (n, n)."""

    def make(size, rng):
        n = edge(size)
        shapes = ((n, n), (n, n), (n,), (n, n))[:count]
        scale = 1 / math.sqrt(n)
        return tuple((rng.standard_normal(s) * scale).astype(np.float32) for s in shapes)

    return make


for _name, _doc, _run, _count in (
    ("biasgelu", "gelu(x @ w + b)", versions(fused, torch=fused_torch), 3),
    ("residual", "(x @ w + b) * 0.5 + r", versions(residual), 4),
):
    workload(
        _name,
        f"{_doc} of squares, float32; the size is that of one",
        sizes=(128 * 128, 512 * 512, 1024 * 1024),
        make=layer(_count),
        run=_run,
        nbytes=lambda n, c=_count: 4 * n * c,
        flops=lambda n: 2 * edge(n) ** 3,
        tolerance=1e-4,
        quick=128 * 128,
        tags=FAMILY,
    )


def widened(xp, a, b):
    return xp.matmul(a, b, dtype=xp.int32)


workload(
    "int8",
    "int8 products summed in int32; the size is that of one square",
    sizes=(128 * 128, 256 * 256, 512 * 512),
    make=lambda n, rng: tuple(rng.integers(-128, 128, square(n)).astype(np.int8) for _ in range(2)),
    run=versions(
        widened,
        jax=lambda xp, a, b: xp.matmul(a, b, preferred_element_type=xp.int32),
        torch=lambda xp, a, b: a.to(xp.int32) @ b.to(xp.int32),
    ),
    nbytes=lambda n: 6 * n,
    flops=lambda n: 2 * edge(n) ** 3,
    quick=128 * 128,
    tags=FAMILY,
)


def three(xp, a, b, c):
    return xp.einsum("ij,jk,ik->i", a, b, c)


workload(
    "einsum",
    "ij,jk,ik->i of squares, float32; the size is that of one",
    sizes=(64 * 64, 256 * 256, 1024 * 1024),
    make=lambda n, rng: tuple(rng.standard_normal(square(n)).astype(np.float32) for _ in range(3)),
    run=versions(three, numpy=lambda xp, a, b, c: xp.einsum("ij,jk,ik->i", a, b, c, optimize=True)),
    nbytes=lambda n: 12 * n,
    flops=lambda n: 2 * edge(n) ** 3,
    tolerance=1e-4,
    quick=64 * 64,
    tags=FAMILY,
)
