"""argmax and argmin of long axes, which are searched by blocks."""

import numpy as np
import pytest

import charl as ch
from charl.api import searching_functions

RNG = np.random.default_rng(4)
SIZES = [searching_functions.LONG, searching_functions.LONG + 4097]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "int16", "bool"])
def test_long_axes(size, dtype):
    a = (RNG.standard_normal((2, size)) * 300).astype(dtype)
    if dtype == "bool":
        a[:] = False
        a[1, -2:] = True
    x = ch.asarray(a)
    for name in ("argmax", "argmin"):
        found, want = getattr(ch, name), getattr(np, name)
        np.testing.assert_array_equal(found(x, axis=1).numpy(), want(a, axis=1))
        np.testing.assert_array_equal(
            found(x[0], keepdims=True).numpy(), want(a[0], keepdims=True), strict=True
        )


@pytest.mark.parametrize("places", [(5, 9), (searching_functions.BLOCK, -1), (-1,), (-3, -1)])
def test_the_first_nan_wins(places):
    a = np.full(SIZES[1], -np.inf, np.float32)
    for place in places:
        a[place] = np.inf
    assert int(ch.argmax(ch.asarray(a))) == a.argmax()
    for place in places:
        a[place] = np.nan
    assert int(ch.argmax(ch.asarray(a))) == a.argmax() == int(ch.argmin(ch.asarray(a)))


@pytest.mark.parametrize("size", [searching_functions.LONG + 1, 300_000])
def test_what_is_searched_need_not_be_stored(size):
    a = RNG.standard_normal((3, 2 * size)).astype(np.float32)
    a[1, 7] = np.nan
    x = ch.asarray(a)
    for view, of in ((x[:, ::-2], a[:, ::-2]), (ch.abs(x - 1), np.abs(a - 1)), (x[2], a[2])):
        assert np.array_equal(ch.argmax(view, axis=-1).numpy(), of.argmax(-1))
        assert np.array_equal(ch.argmin(view, axis=-1).numpy(), of.argmin(-1))


@pytest.mark.parametrize("more", [0, 3])
def test_blocks_grow_with_the_axis(more):
    """So that the extremes of all blocks stay few; none of them is left over, or some are."""
    a = np.zeros(searching_functions.BIG_BLOCK * 5000 // 8 + more, np.int8)
    assert a.size > searching_functions.BIG
    for place in (a.size - 1, a.size - 4, a.size // 2, 1):
        a[place] = 1
        x = ch.asarray(a)
        assert int(ch.argmax(x)) == place == int(ch.argmin(-x))
