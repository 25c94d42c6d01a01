"""Updates that read what they overwrite, at other places: the values, and that arrays are not copied."""

import numpy as np
import pytest

import charl as ch
from charl.runtime import pool
from tests.device import BACKENDS, GPU

from .test_engine import during


def five_points(a):
    return (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:]) * 2


def jacobi(a):
    a[1:-1, 1:-1] = five_points(a)


def seven_points(a):
    inner = a[1:-1, 1:-1, 1:-1]
    a[1:-1, 1:-1, 1:-1] = inner * 2 - a[:-2, 1:-1, 1:-1] + a[1:-1, 2:, 1:-1] - a[1:-1, 1:-1, :-2]


def shift(a):
    a[3:] = a[:-3] * 2


def uneven(a):
    a[2:-1, 3:] = a[1:-2, :-3] - a[3:, 1:-2]


def one_side(a):
    a[:, :-2] = a[:, 2:] + 1


def all_of_it(a):
    a[:] = a[::-1] + 1


def steps(a):
    a[1:-1:2] = a[:-2:2] + a[2::2]


def small_part(a):
    a[4:7] = a[3:6] - a[5:8]


def turned(a):
    a.T[1:-1] = a.T[:-2] * 3


def increment(a):
    a[1:] += a[:-1]


SWEEPS = [jacobi, shift, uneven, one_side, all_of_it, steps, small_part, turned, increment]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(9, 12), (12, 12), (13, 7), (9, 70), (70, 70)])
def test_sweeps(backend, sweep, shape):
    x = np.arange(np.prod(shape), dtype="int32").reshape(shape) % 11
    with ch.config(backend=backend):
        a, want = ch.asarray(x), x.copy()
        for _ in range(3):
            sweep(a)
            sweep(want)
        assert np.array_equal(a.numpy(), want)
        before = a.numpy()  # a snapshot
        view = a[1:]
        kept = a + 0
        sweep(a)
        sweep(want)
        ch.eval(a)
        sweep(a)
        sweep(want)
        assert np.array_equal(view.numpy(), want[1:])
        assert np.array_equal(kept.numpy(), before)
        assert np.array_equal(a.numpy(), want)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(3, 3, 3), (4, 5, 6), (8, 8, 8), (4, 5, 66), (5, 66, 66)])
def test_sweeps_in_three_dimensions(backend, shape):
    x = np.arange(np.prod(shape), dtype="int32").reshape(shape) % 7
    with ch.config(backend=backend):
        a, want = ch.asarray(x), x.copy()
        for _ in range(3):
            seven_points(a)
            seven_points(want)
        assert np.array_equal(a.numpy(), want)


@pytest.mark.skipif(GPU, reason="launches of the cpu are counted")
@pytest.mark.parametrize("width, copies", [(96, 2), (48, 1)])
def test_a_sweep_copies_its_border_alone(width, copies):
    """Two launches of two slabs each for the first, none for those that find a border in the buffer before last; short
    rows are copied whole.
    """
    a = ch.asarray(np.ones((64, width), "float32")) + 0

    def sweeps():
        for _ in range(4):
            jacobi(a)
        ch.eval(a)

    assert during(sweeps, "launches") == [1 + copies + 4]


@pytest.mark.skipif(GPU, reason="launches of the cpu are counted")
def test_sweeps_of_a_realized_array_take_turns_with_its_buffer():
    """One border alone is copied, into the second buffer: the first is the array's own, which nobody else sees."""
    a = ch.asarray(np.ones((64, 96), "float32")) + 0

    def sweeps():
        for _ in range(4):
            jacobi(a)
        ch.eval(a)

    during(sweeps, "launches")
    assert during(sweeps, "launches") == [2 + 4]
    kept = a.numpy()  # who sees the old value keeps it: the array is copied
    before = kept.copy()
    assert during(sweeps, "launches") == [1 + 2 + 4]
    assert np.array_equal(kept, before)


def long_body(a):
    b = a[1:-1] * 3 - a[:-2]
    for _ in range(6):
        b = b * 2 + a[2:]
    a[1:-1] = b


@pytest.mark.skipif(GPU, reason="launches of the cpu are counted")
def test_plans_end_between_the_rounds_of_a_loop():
    """A chain of 160 operations with ten updates: nothing is stored but what those store."""
    x = np.arange(300, dtype="int32").reshape(60, 5)
    a, want = ch.asarray(x) + 0, x.copy()

    def rounds():
        for _ in range(10):
            long_body(a)
        ch.eval(a)

    (launches,) = during(rounds, "launches")
    for _ in range(10):
        long_body(want)
    assert np.array_equal(a.numpy(), want)
    assert launches <= 10 + 2 * 3 + 1


def two_boxes(a):
    a[1:-1, 1:-1] = five_points(a)
    a[2:-1, 1:-1] = a[1:-2, 1:-1] - a[3:, 1:-1]


def grown_between(a):
    a[1:-1, 1:-1] = five_points(a)
    a += 1
    a[1:-1, 1:-1] = five_points(a)


def border_between(a):
    a[1:-1, 1:-1] = five_points(a)
    a[0] = a[1] * 3
    a[:, -1] = a[:, -2] - 5


def leap(a):
    before = a + 0
    jacobi(a)
    for _ in range(3):
        a[1:-1, 1:-1], before = five_points(a) - before[1:-1, 1:-1], a + 0


def far_leap(a):
    before = a + 0
    jacobi(a)
    for _ in range(3):
        a[1:-1, 1:-1], before = five_points(a) - before[2:, 1:-1], a + 0


def all_kept(a):
    kept = []
    for k in range(4):
        jacobi(a)
        kept.append(a[k] + a[:, k][-1])
        if k % 2:
            kept.append(a + 0)
    for each in kept:
        a += each


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(9, 9), (12, 12)])
@pytest.mark.parametrize(
    "run",
    [two_boxes, grown_between, border_between, leap, far_leap, all_kept],
    ids=lambda f: f.__name__,
)
def test_sweeps_that_take_turns_with_buffers(backend, run, shape):
    """Borders that change between sweeps, values of earlier sweeps that are wanted later."""
    x = np.arange(np.prod(shape), dtype="int32").reshape(shape) % 11
    with ch.config(backend=backend):
        a, want = ch.asarray(x), x.copy()
        for _ in range(3):
            run(a)
            run(want)
        assert np.array_equal(a.numpy(), want)
        for _ in range(3):  # likewise from a realized array
            run(a)
            run(want)
            ch.eval(a)
        seen = a.numpy()
        before = want.copy()
        run(a)
        run(want)
        assert np.array_equal(a.numpy(), want)
        assert np.array_equal(seen, before)


@pytest.mark.cpu
def test_sweeps_take_few_buffers():
    """The old buffer of each sweep serves a later one."""
    a = ch.asarray(np.ones((512, 512)))

    def peak(rounds):
        before = pool.stats()["in_use"]
        pool.reset_peak()
        for _ in range(rounds):
            jacobi(a)
        ch.eval(a)
        return pool.stats()["peak"] - before

    peak(3)
    assert peak(40) <= 8.5 * 512 * 512 * 8


@pytest.mark.cpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [3, 5, 16, 17, 24, 32, 48, 80, 128, 144])
def test_rows_that_begin_within_a_line(dtype, columns):
    """Rows of a multiple of 64 bytes, and others; the first element stored lies anywhere in a line."""
    rng = np.random.default_rng(0)
    with ch.config(backend="llvm"):
        for left in (*range(1, min(columns, 20), 3), columns - 2):
            x = rng.standard_normal((6, columns)).astype(dtype)
            for _ in range(40):  # until it is compiled fully
                a, want = ch.asarray(x) + 0, x.copy()
                a[1:-1, left:] = a[:-2, left:] * 2 + a[2:, left - 1 : -1]
                ch.eval(a)
            want[1:-1, left:] = want[:-2, left:] * 2 + want[2:, left - 1 : -1]
            ch.wait_compiled()
            a = ch.asarray(x) + 0
            a[1:-1, left:] = a[:-2, left:] * 2 + a[2:, left - 1 : -1]
            assert np.array_equal(a.numpy(), want)
