"""Orders of sums, to the bit, against loops in plain NumPy: few elements of a row, and few columns."""

import numpy as np
import pytest

import charl as ch
from charl.schedule.kernel import COLUMN_BLOCK, LANES, STEPS

pytestmark = pytest.mark.cpu


def numbers(*shape, dtype="float32"):
    return np.random.default_rng(3).standard_normal(shape).astype(dtype)


def by_lanes(x):
    """The sum of at most LANES elements along the last axis: one a lane, then the tree."""
    lanes = np.full((*x.shape[:-1], LANES), -0.0, x.dtype)
    lanes[..., : x.shape[-1]] += x
    half = LANES // 2
    while half:
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
        half //= 2
    return lanes[..., 0]


def down(x):
    """The sum along the first axis: chunks in order, chunks' sums in order, blocks' sums likewise."""
    if len(x) > COLUMN_BLOCK:
        starts = range(0, len(x), COLUMN_BLOCK)
        return down(np.stack([down(x[k : k + COLUMN_BLOCK]) for k in starts]))
    total = np.full(x.shape[1:], -0.0, x.dtype)
    for k in range(0, len(x), STEPS):
        chunk = np.full(x.shape[1:], -0.0, x.dtype)
        for row in x[k : k + STEPS]:
            chunk = chunk + row
        total = total + chunk
    return total


def same_bits(found, expected):
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert np.array_equal(found.view(np.uint8), expected.view(np.uint8))


def on_both(function):
    """function() interpreted, and by fully optimised machine code."""
    with ch.config(backend="interp"):
        interpreted = function().numpy()
    with ch.config(backend="auto", hot_launches=1):
        for _ in range(3):
            ch.eval(function())
            ch.wait_compiled()
        return interpreted, function().numpy()


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_elements_are_folded_as_the_lanes_of_a_row(n, dtype):
    a = numbers(70, 9, n, dtype=dtype)
    a[0, 0], a[0, 1], a[1, 0, 0] = -0.0, np.inf, np.nan
    x = ch.asarray(a)
    for found in on_both(lambda: ch.sum(x, axis=2)):
        same_bits(np.nan_to_num(found), np.nan_to_num(by_lanes(a)))
    for name in ("max", "min", "prod"):
        for found in on_both(lambda: getattr(ch, name)(x, axis=-1)):
            assert np.allclose(found, getattr(np, name)(a, axis=-1), rtol=1e-5, equal_nan=True)
    for name in ("any", "all"):
        for found in on_both(lambda: getattr(ch, name)(x > 0, axis=-1)):
            assert np.array_equal(found, getattr(np, name)(a > 0, axis=-1))


@pytest.mark.parametrize("columns", [1, 3, 8, 16, 31, 40])
@pytest.mark.parametrize("rows", [5, 32, 127, 128, 300, 1025, 2500])
def test_few_columns_are_added_in_the_order_of_many(rows, columns):
    a = numbers(rows, columns)
    x = ch.asarray(a)
    expected = down(a) if columns > 1 else None
    wide = numbers(rows, 300)
    wide[:, :columns] = a
    y = ch.asarray(wide)
    for found, other in zip(on_both(lambda: ch.sum(x, axis=0)), on_both(lambda: ch.sum(y, axis=0))):
        if columns > 1:  # a single column is a row
            same_bits(found, expected)
            same_bits(other[:columns], expected)
    for found in on_both(lambda: ch.max(x, axis=0)):
        same_bits(found, a.max(0))
    for found in on_both(lambda: ch.mean(x * x + 1, axis=0)):
        assert np.allclose(found, (a * a + 1).mean(0), rtol=1e-5)


@pytest.mark.parametrize("n", [33, 1024, 1025, 5000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_last_nan_of_a_lane_is_kept_by_extremes(n, dtype):
    """Beside NumPy's rule, that a NaN wins: the same NaN, to the bit, on both backends."""
    a = np.tile(numbers(n, dtype=dtype), (6, 1))
    payloads = np.array([np.nan, -np.nan], dtype)
    payloads.view(f"u{a.itemsize}")[:] += np.array([1, 2], f"u{a.itemsize}")
    for row, places in zip(a, [(), (0,), (n - 1,), (n // 2, n - 1), (0, 32), (5, 7)]):
        row[list(places)] = payloads[: len(places)]
    a[0, 3], a[0, 4] = np.inf, -np.inf
    x = ch.asarray(a)
    for name in ("max", "min"):
        first, second = on_both(lambda: getattr(ch, name)(x, axis=1))
        same_bits(first, second)
        assert np.array_equal(first, getattr(np, name)(a, axis=1), equal_nan=True)
    z = np.zeros((2, n), dtype)
    z[:, ::2] = -0.0
    for name in ("max", "min"):
        first, second = on_both(lambda: getattr(ch, name)(ch.asarray(z), axis=1))
        same_bits(first, second)


@pytest.mark.parametrize("n", [1, 3, 8, 9, 16, 23, 40])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_rows_are_scanned_one_by_one(n, dtype):
    a = (numbers(70, n, dtype="float64") * 4).astype(dtype)
    for found in on_both(lambda: ch.cumulative_sum(ch.asarray(a), axis=1)):
        expected = np.cumsum(a, axis=1, dtype=np.int64 if dtype == "int32" else dtype)
        same_bits(found, expected)
    for found in on_both(lambda: ch.cumulative_prod(ch.asarray(a), axis=1)):
        expected = np.cumprod(a, axis=1, dtype=np.int64 if dtype == "int32" else dtype)
        same_bits(found, expected)


@pytest.mark.parametrize("n", [1, 5, 16, 33, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_extremes_of_rows_with_and_without_nans(name, n, dtype):
    a = numbers(40, n, dtype=dtype)
    a[::3, ::2] = -np.inf
    a[1::3] = -0.0
    a[1::6, n // 2] = 0.0
    a[::5, n - 1] = np.nan
    first, second = on_both(lambda: getattr(ch, name)(ch.asarray(a), axis=1))
    same_bits(first, second)
    assert np.array_equal(first, getattr(np, name)(a, axis=1), equal_nan=True)
