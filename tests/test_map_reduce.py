"""Reductions over tiny axes and over broadcasts: their order, and what they launch."""

import numpy as np
import pytest

import charl as ch
from charl.engine import planning
from tests.device import BACKENDS, GPU

from .test_engine import during

MANY = 4100  # results, from where on tiny axes are unrolled
FOLDS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


def row(op, x):
    """Along the last axis, at most 32 long: lane l takes op(l, l + h) for h = 16, 8, 4, 2, 1."""
    for half in (16, 8, 4, 2, 1):
        low, high = x[..., :half], x[..., half:]
        x = np.concatenate([op(low[..., : high.shape[-1]], high), low[..., high.shape[-1] :]], -1)
    return x[..., 0]


def column(op, x):
    """Along the first axis: chunks of 32, and blocks of 32 chunks, one element after the other."""
    for length in (32, 32):
        x = np.stack([column_of(op, x[k : k + length]) for k in range(0, len(x), length)])
    return column_of(op, x)


def column_of(op, x):
    total = x[0]
    for y in x[1:]:
        total = op(total, y)
    return total


def values(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.7
    if dtype.startswith("int"):
        return rng.integers(-9, 9, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def same(a, b):
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@pytest.mark.cpu
@pytest.mark.parametrize("backend", ["interp", "llvm"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("n", range(2, 10))
def test_the_order_along_a_tiny_axis(backend, dtype, n):
    x = values((MANY, n), dtype, n)
    if dtype != "int64":
        x[::7, 0], x[::5, n - 1], x[::11] = -0.0, np.nan, -0.0
    with ch.config(backend=backend):
        for name, op in FOLDS.items():
            reduce = getattr(ch, name)
            assert same(reduce(ch.asarray(x), axis=1).numpy(), row(op, x)), name
            assert same(reduce(ch.asarray(x.T.copy()), axis=0).numpy(), column_of(op, x.T)), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_tiny_axes_of_bools(backend):
    x = values((MANY, 3), "bool")
    with ch.config(backend=backend):
        for name in ("any", "all"):
            found = getattr(ch, name)(ch.asarray(x), axis=1).numpy()
            assert same(found, getattr(np, name)(x, axis=1))
        rows = ch.broadcast_to(ch.asarray(x[:40, None]), (40, 50, 3))
        assert same(ch.any(rows, axis=1).numpy(), x[:40])


def forces(xp, p, mass):
    d = p[None, :, :] - p[:, None, :]
    r2 = xp.sum(d * d, axis=2) + 0.5
    return d * (mass / (r2 * xp.sqrt(r2)))[:, :, None]


@pytest.mark.cpu
@pytest.mark.parametrize("backend", ["interp", "llvm"])
@pytest.mark.parametrize("n", [5, 40, 300, 1030])
def test_a_sum_that_keeps_a_tiny_axis(backend, n):
    """The order is that of any sum over an axis that is not the last, in blocks or not."""
    rng = np.random.default_rng(n)
    p, mass = rng.standard_normal((n, 3)), rng.uniform(1, 2, n)
    each = ch.asarray(p), ch.asarray(mass)
    d = p[None, :, :] - p[:, None, :]
    r2 = row(np.add, d * d) + 0.5
    terms = d * (mass / (r2 * np.sqrt(r2)))[:, :, None]
    with ch.config(backend=backend):
        found = ch.sum(forces(ch, *each), axis=1).numpy()
        kept = ch.max(forces(ch, *each), axis=1, keepdims=True).numpy()
    assert same(found, column(np.add, terms.transpose(1, 0, 2)))
    assert same(kept, terms.max(axis=1, keepdims=True))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tiny", [2, 3, 8])
def test_a_tiny_axis_among_many(backend, tiny):
    x, y = values((6, 50, tiny), "int32"), values((60, tiny), "int32", 1)
    a, b = ch.asarray(x), ch.asarray(y)
    each = x[:, :, None, :] - y
    with ch.config(backend=backend):
        d = a[:, :, None, :] - b
        assert same(ch.max(d * d, axis=2).numpy(), (each * each).max(axis=2))
        assert same(ch.min(ch.abs(d), axis=(2, 3)).numpy(), np.abs(each).min(axis=(2, 3)))
        assert same(ch.max(ch.max(d, axis=3), axis=1).numpy(), each.max(axis=3).max(axis=1))


@pytest.mark.cpu
@pytest.mark.parametrize("backend", ["interp", "llvm"])
@pytest.mark.parametrize("n", [9, 16, 31, 32, 33])
def test_points_of_more_dimensions(backend, n):
    x, y = values((70, n), "float32"), values((90, n), "float32", 1)
    each = x[:, None, :] - y
    want = np.concatenate([each * each, np.full((70, 90, 64 - n), -0.0, "f4")], -1)
    want = row(np.add, want[..., :32] + want[..., 32:])
    with ch.config(backend=backend):
        assert same(distances(ch, ch.asarray(x), ch.asarray(y)).numpy(), want)


def distances(xp, a, b):
    d = a[:, None, :] - b[None, :, :]
    return xp.sum(d * d, axis=2)


@pytest.mark.skipif(GPU, reason="launches of the cpu are counted")
def test_a_map_reduce_over_broadcasts_stores_nothing():
    """Points are packed by coordinate, once; then there is one kernel."""
    a, b = (ch.asarray(values((90, 3), "float32", seed)) for seed in (1, 2))
    p = ch.asarray(values((90, 3), "float64"))
    mass = ch.ones((90,))
    assert during(lambda: ch.eval(distances(ch, a, b)), "launches") == [2]
    assert during(lambda: ch.eval(ch.min(distances(ch, a, b), axis=1)), "launches") == [2]
    assert during(lambda: ch.eval(ch.sum(forces(ch, p, mass), axis=1)), "launches") == [1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_packed_may_be_overwritten(backend):
    x = values((80, 3), "int32")
    with ch.config(backend=backend):
        a = ch.asarray(x)
        far = ch.max(distances(ch, a, a), axis=1)
        a[:, 1] = 7
        moved = distances(ch, a, a)
        ch.eval(a, far, moved)
        assert same(far.numpy(), distances(np, x, x).max(axis=1))
        x[:, 1] = 7
        assert same(moved.numpy(), distances(np, x, x))


@pytest.mark.cpu
def test_values_at_many_places_are_stored():
    """A kernel that worked each of them out apart would be endless."""
    x = ch.asarray(np.arange(200, dtype="int32"))
    planning.forget()
    y, want = x, np.arange(200, dtype="int32")
    for k in range(10):
        y, want = (y + k) * 3, (want + k) * 3
    total = sum([y[k] for k in range(0, 200, 7)], ch.asarray(0, dtype="int32"))
    assert int(total) == int(want[::7].sum(dtype="int32"))
    assert max(len(program.text.splitlines()) for program in planning.kernels()) < 400
