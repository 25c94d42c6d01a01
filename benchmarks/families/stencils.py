"""Stencils and time loops written as slices, n-body, mandelbrot; numba's are loops written by hand."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.libraries import loops, versions
from benchmarks.workload import workload

FAMILY = ("stencils",)
ROUNDS = 10


def square(n, rng):
    return (rng.standard_normal((math.isqrt(n), math.isqrt(n))).astype(np.float32),)


def five_points(a):
    return (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:]) * 0.25


def jacobi(xp, a):
    """ROUNDS sweeps; the border stays."""
    a = a + 0
    for _ in range(ROUNDS):
        a[1:-1, 1:-1] = five_points(a)
    return a


def jacobi_numpy(xp, a):
    a = a.copy()
    b = a.copy()
    for _ in range(ROUNDS):
        xp.add(a[:-2, 1:-1], a[2:, 1:-1], out=b[1:-1, 1:-1])
        b[1:-1, 1:-1] += a[1:-1, :-2]
        b[1:-1, 1:-1] += a[1:-1, 2:]
        b[1:-1, 1:-1] *= np.float32(0.25)
        a, b = b, a
    return a


def jacobi_jax(xp, a):
    for _ in range(ROUNDS):
        a = a.at[1:-1, 1:-1].set(five_points(a))
    return a


def jacobi_torch(xp, a):
    a = a.clone()
    for _ in range(ROUNDS):
        b = a.clone()
        b[1:-1, 1:-1] = five_points(a)
        a = b
    return a


JACOBI = f"""
def run(a):
    n, m = a.shape
    a, b = a.copy(), a.copy()
    for _ in range({ROUNDS}):
        for i in prange(1, n - 1):
            for j in range(1, m - 1):
                b[i, j] = (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1]) * np.float32(0.25)
        a, b = b, a
    return a
"""

workload(
    "jacobi",
    f"{ROUNDS} sweeps of the five-point stencil over a square, float32",
    sizes=(128 * 128, 512 * 512, 2048 * 2048),
    make=square,
    run=versions(
        jacobi, numpy=jacobi_numpy, jax=jacobi_jax, torch=jacobi_torch, numba=loops(JACOBI)
    ),
    nbytes=lambda n: 8 * n * ROUNDS,
    flops=lambda n: 4 * n * ROUNDS,
    quick=128 * 128,
    tags=FAMILY,
)


def seven_points(a):
    inner = a[1:-1, 1:-1, 1:-1]
    around = a[:-2, 1:-1, 1:-1] + a[2:, 1:-1, 1:-1] + a[1:-1, :-2, 1:-1]
    around = around + a[1:-1, 2:, 1:-1] + a[1:-1, 1:-1, :-2] + a[1:-1, 1:-1, 2:]
    return inner + (around - inner * 6.0) * 0.1


def heat(xp, a):
    a = a + 0
    for _ in range(ROUNDS):
        a[1:-1, 1:-1, 1:-1] = seven_points(a)
    return a


def heat_jax(xp, a):
    for _ in range(ROUNDS):
        a = a.at[1:-1, 1:-1, 1:-1].set(seven_points(a))
    return a


def heat_torch(xp, a):
    a = a.clone()
    for _ in range(ROUNDS):
        b = a.clone()
        b[1:-1, 1:-1, 1:-1] = seven_points(a)
        a = b
    return a


HEAT = f"""
def run(a):
    n, m, l = a.shape
    a, b = a.copy(), a.copy()
    for _ in range({ROUNDS}):
        for i in prange(1, n - 1):
            for j in range(1, m - 1):
                for k in range(1, l - 1):
                    s = a[i - 1, j, k] + a[i + 1, j, k] + a[i, j - 1, k]
                    s = s + a[i, j + 1, k] + a[i, j, k - 1] + a[i, j, k + 1]
                    b[i, j, k] = a[i, j, k] + (s - a[i, j, k] * 6.0) * 0.1
        a, b = b, a
    return a
"""


def cubes(n, rng):
    edge = round(n ** (1 / 3))
    return (rng.standard_normal((edge, edge, edge)),)


workload(
    "heat",
    f"{ROUNDS} steps of the heat equation in three dimensions, float64",
    sizes=(24**3, 64**3, 160**3),
    make=cubes,
    run=versions(heat, jax=heat_jax, torch=heat_torch, numba=loops(HEAT)),
    nbytes=lambda n: 16 * n * ROUNDS,
    flops=lambda n: 9 * n * ROUNDS,
    tolerance=1e-12,
    quick=24**3,
    tags=FAMILY,
)


def hdiff(xp, a, c):
    """Horizontal diffusion with limited fluxes, as in weather models."""
    lap = a[1:-1, 1:-1] * 4.0 - (a[2:, 1:-1] + a[:-2, 1:-1] + a[1:-1, 2:] + a[1:-1, :-2])
    fx = lap[1:, 1:-1] - lap[:-1, 1:-1]
    fx = xp.where(fx * (a[2:-1, 2:-2] - a[1:-2, 2:-2]) > 0, xp.zeros_like(fx), fx)
    fy = lap[1:-1, 1:] - lap[1:-1, :-1]
    fy = xp.where(fy * (a[2:-2, 2:-1] - a[2:-2, 1:-2]) > 0, xp.zeros_like(fy), fy)
    return a[2:-2, 2:-2] - c[2:-2, 2:-2] * (fx[1:] - fx[:-1] + fy[:, 1:] - fy[:, :-1])


HDIFF = """
def run(a, c):
    n, m = a.shape
    out = np.empty((n - 4, m - 4))
    for i in prange(2, n - 2):
        for j in range(2, m - 2):
            l0 = a[i, j] * 4.0 - (a[i + 1, j] + a[i - 1, j] + a[i, j + 1] + a[i, j - 1])
            ln = a[i - 1, j] * 4.0 - (a[i, j] + a[i - 2, j] + a[i - 1, j + 1] + a[i - 1, j - 1])
            ls = a[i + 1, j] * 4.0 - (a[i + 2, j] + a[i, j] + a[i + 1, j + 1] + a[i + 1, j - 1])
            lw = a[i, j - 1] * 4.0 - (a[i + 1, j - 1] + a[i - 1, j - 1] + a[i, j] + a[i, j - 2])
            le = a[i, j + 1] * 4.0 - (a[i + 1, j + 1] + a[i - 1, j + 1] + a[i, j + 2] + a[i, j])
            f0, f1, g0, g1 = l0 - ln, ls - l0, l0 - lw, le - l0
            if f0 * (a[i, j] - a[i - 1, j]) > 0:
                f0 = 0.0
            if f1 * (a[i + 1, j] - a[i, j]) > 0:
                f1 = 0.0
            if g0 * (a[i, j] - a[i, j - 1]) > 0:
                g0 = 0.0
            if g1 * (a[i, j + 1] - a[i, j]) > 0:
                g1 = 0.0
            out[i - 2, j - 2] = a[i, j] - c[i, j] * (f1 - f0 + g1 - g0)
    return out
"""

workload(
    "hdiff",
    "horizontal diffusion with limited fluxes on a square, float64",
    sizes=(128 * 128, 512 * 512, 2048 * 2048),
    make=lambda n, rng: tuple(
        rng.standard_normal((math.isqrt(n), math.isqrt(n))) for _ in range(2)
    ),
    run=versions(hdiff, numba=loops(HDIFF)),
    nbytes=lambda n: 24 * n,
    flops=lambda n: 30 * n,
    tolerance=1e-12,
    quick=128 * 128,
    tags=FAMILY,
)


def forces(xp, p, mass):
    """Accelerations of bodies p (n, 3) that attract each other."""
    d = p[None, :, :] - p[:, None, :]
    r2 = xp.sum(d * d, axis=2) + 0.01
    w = mass / (r2 * xp.sqrt(r2))
    return xp.sum(d * w[:, :, None], axis=1)


FORCES = """
def run(p, mass):
    n = p.shape[0]
    out = np.empty((n, 3))
    for i in prange(n):
        x, y, z = 0.0, 0.0, 0.0
        for j in range(n):
            dx, dy, dz = p[j, 0] - p[i, 0], p[j, 1] - p[i, 1], p[j, 2] - p[i, 2]
            r2 = dx * dx + dy * dy + dz * dz + 0.01
            w = mass[j] / (r2 * np.sqrt(r2))
            x += dx * w
            y += dy * w
            z += dz * w
        out[i, 0], out[i, 1], out[i, 2] = x, y, z
    return out
"""

workload(
    "nbody",
    "accelerations of n bodies, float64; the size is the number of pairs",
    sizes=(100 * 100, 1000 * 1000, 3000 * 3000),
    make=lambda n, rng: (rng.standard_normal((math.isqrt(n), 3)), rng.uniform(1, 2, math.isqrt(n))),
    run=versions(forces, numba=loops(FORCES)),
    nbytes=lambda n: 56 * math.isqrt(n),
    flops=lambda n: 18 * n,
    tolerance=1e-10,
    quick=100 * 100,
    tags=FAMILY,
)

DEPTH = 30


def mandelbrot(xp, cx, cy):
    """Rounds until |z| > 2, at most DEPTH, for each point."""
    x, y = cx, cy
    count = xp.zeros_like(cx)
    for _ in range(DEPTH):
        x2, y2 = x * x, y * y
        inside = x2 + y2 < 4.0
        count = count + inside
        x, y = xp.where(inside, x2 - y2 + cx, x), xp.where(inside, x * y * 2.0 + cy, y)
    return count


MANDELBROT = f"""
def run(cx, cy):
    out = np.empty(cx.shape, np.float64)
    for i in prange(cx.shape[0]):
        for j in range(cx.shape[1]):
            x, y = cx[i, j], cy[i, j]
            n = 0.0
            for _ in range({DEPTH}):
                x2, y2 = x * x, y * y
                if not x2 + y2 < 4.0:
                    break
                n += 1.0
                x, y = x2 - y2 + cx[i, j], x * y * 2.0 + cy[i, j]
            out[i, j] = n
    return out
"""


def plane(n, rng):
    edge = math.isqrt(n)
    x, y = np.meshgrid(np.linspace(-2, 0.6, edge), np.linspace(-1.2, 1.2, edge))
    return x, y


workload(
    "mandelbrot",
    f"rounds until a point leaves, at most {DEPTH}, float64",
    sizes=(64 * 64, 512 * 512, 1500 * 1500),
    make=plane,
    run=versions(mandelbrot, numba=loops(MANDELBROT)),
    nbytes=lambda n: 24 * n,
    flops=lambda n: 9 * DEPTH * n,
    tolerance=0,
    quick=64 * 64,
    tags=FAMILY,
)
