"""Scans of axes that are cut into blocks, against NumPy's scans in extended precision."""

import numpy as np
import pytest

import charl as ch
from charl.schedule.kernel import COLUMN_BLOCK, ROW_BLOCK
from tests import device

SUM, PRODUCT = (ch.cumulative_sum, np.cumsum), (ch.cumulative_prod, np.cumprod)
EDGES = [(block, n) for block in (1, 2) for n in (-1, 0, 1, 9)]
SHAPES = [
    *(((block * ROW_BLOCK + n,), 0) for block, n in EDGES),
    *(((block * COLUMN_BLOCK + n, 3), 0) for block, n in EDGES),
    ((2, 3, 2 * ROW_BLOCK + 77), 2),
    ((2, 3 * COLUMN_BLOCK + 5, 300), 1),
    ((3, 2100, 2, 2), 1),
]


@pytest.fixture(params=device.BACKENDS)
def backend(request):
    with ch.config(backend=request.param):
        yield


def sample(dtype, shape, seed=1):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(device.own(dtype))
    low = 0 if np.dtype(dtype).kind == "u" else -100
    return rng.integers(low, 100, shape).astype(dtype)


def scan(pair, x, axis, **options):
    ours = ch.asarray(device.narrow(x))
    return pair[0](ours, axis=axis, dtype=ours.dtype, **options).numpy()


@pytest.mark.parametrize("shape, axis", SHAPES)
@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "u8", "i8"])
def test_integers_are_exact(dtype, shape, axis, backend):
    x = sample(dtype, shape)
    for pair in (SUM, PRODUCT):
        want = pair[1](x | 1, axis=axis, dtype=x.dtype)  # odd: products do not end at 0
        assert np.array_equal(scan(pair, x | 1, axis), want)


@pytest.mark.parametrize("shape, axis", SHAPES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_errors_are_no_larger_than_numpys(dtype, shape, axis, backend):
    x = sample(dtype, shape)
    true = np.cumsum(x.astype("g"), axis=axis)
    ours = abs(scan(SUM, x, axis) - true).max()
    assert ours <= abs(np.cumsum(x, axis=axis, dtype=x.dtype) - true).max()


def test_halves_are_added_in_float32(backend):
    x = sample("f2", 2 * ROW_BLOCK + 5) / 64
    want = np.cumsum(x.astype("f8")).astype("f2")
    np.testing.assert_allclose(scan(SUM, x, 0), want, rtol=2e-3, atol=1e-3)


@pytest.mark.cpu  # the software adapter ends loops after 65,535 rounds
def test_products_of_floats_keep_the_strict_order(backend):
    """A product of later elements alone may overflow: 0 * inf is NaN where NumPy has 0."""
    x = sample("f8", (2, 2 * ROW_BLOCK + 5)) * 3
    x[0, 0], x[1] = 0, np.exp(sample("f8", x.shape[1], 2) / 100)
    assert np.array_equal(scan(PRODUCT, x, 1), np.cumprod(x, axis=1))
    assert np.array_equal(scan(PRODUCT, x.T, 0), np.cumprod(x.T, axis=0))


@pytest.mark.cpu
def test_short_axes_and_many_rows_keep_the_strict_order(backend):
    for shape, axis in [((3, ROW_BLOCK), 1), ((64, ROW_BLOCK + 3), 1), ((COLUMN_BLOCK, 5), 0)]:
        x = sample("f4", shape)
        assert np.array_equal(scan(SUM, x, axis), np.cumsum(x, axis=axis))


@pytest.mark.parametrize("n", [2 * ROW_BLOCK + 50, 3 * COLUMN_BLOCK + 50])
def test_specials_reach_what_follows_them_alone(n, backend):
    row = n > ROW_BLOCK
    for at in (0, 1, 7, 8, 1023, 1024, 2000, n // 2, n - 2):
        x = np.ones(n) if row else np.ones((n, 2))
        x[at] = np.nan
        y = scan(SUM, x, 0)
        assert np.isnan(y[at:]).all() and not np.isnan(y[:at]).any()
        x[at] = np.inf
        assert np.array_equal(scan(SUM, x, 0), np.cumsum(x, axis=0))
        x[at + 1] = -np.inf
        with np.errstate(invalid="ignore"):
            want = np.cumsum(x, axis=0)
        assert np.array_equal(scan(SUM, x, 0), want, equal_nan=True)


def test_negative_zeros_stay(backend):
    y = scan(SUM, np.full(ROW_BLOCK + 20, -0.0), 0)
    assert (y == 0).all() and np.signbit(y).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(5 * ROW_BLOCK + 321,), (9 * COLUMN_BLOCK + 321, 3)])
def test_sums_of_what_is_not_negative_never_fall(shape, dtype, backend):
    for scale in (1, 15):
        y = scan(SUM, np.exp(sample(dtype, shape) * scale), 0)
        assert (y[1:] >= y[:-1]).all()


@pytest.mark.parametrize("shape, axis", [((200_000,), 0), ((2, 70_000), 1), ((9000, 7), 0)])
def test_threads_and_backends_give_the_same_bits(shape, axis):
    x, results = sample("f4", shape), []
    for backend in ("interp", "llvm"):
        for threads in (1, 2, 5):
            with ch.config(backend=backend, num_threads=threads, parallel_work=1):
                results.append(scan(SUM, x, axis).tobytes())
    assert len(set(results)) == 1


def test_what_is_scanned_may_be_computed_or_strided(backend):
    x = sample("f8", (2 * ROW_BLOCK + 30, 2))
    ours = ch.asarray(x)
    plain = scan(SUM, np.ascontiguousarray(x[::-1, 1]), 0)
    assert np.array_equal(ch.cumulative_sum(ours[::-1, 1], axis=0).numpy(), plain)
    doubled = ch.cumulative_sum(ours[::-1, 1] * 2 + 0 * ours[::-1, 1], axis=0)
    assert np.array_equal((doubled / 2).numpy(), plain)
    flat = ch.cumulative_sum(ch.reshape(ours.T, (-1,)))
    assert np.array_equal(flat.numpy(), scan(SUM, x.T.ravel(), 0))
    first = ch.cumulative_sum(ours, axis=0, include_initial=True).numpy()
    assert not first[0].any() and np.array_equal(first[1:], scan(SUM, x, 0))
