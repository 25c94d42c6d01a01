"""top_k and bincount against NumPy: values, indices, dtypes, and what they refuse."""

import numpy as np
import pytest

import charl as ch

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_top_k(k, axis, largest):
    a = np.random.default_rng(k).permutation(35).reshape(7, 5).astype(np.float32)
    a[2, 3] = np.nan
    found = ch.top_k(ch.asarray(a), k, axis=axis, largest=largest)
    order = np.sort(a, axis=axis)  # NaN last
    order = np.flip(order, axis) if largest else order
    expected = np.take(order, range(k), axis=axis)
    assert np.array_equal(found.values.numpy(), expected, equal_nan=True)
    assert found.indices.dtype == ch.int64
    at = np.take_along_axis(a, found.indices.numpy(), axis)
    assert np.array_equal(at, expected, equal_nan=True)


def test_top_k_of_equal_elements_and_of_all():
    x = ch.asarray([2, 2, 1, 2])
    found = ch.top_k(x, 4)
    assert found.values.tolist() == [2, 2, 2, 1]
    assert sorted(found.indices.tolist()) == [0, 1, 2, 3]
    assert ch.top_k(ch.zeros((3, 0)), 0).values.shape == (3, 0)


def test_top_k_refuses():
    x = ch.asarray([1.0, 2.0])
    for k in (3, -1):
        with pytest.raises(ValueError, match="top_k: k must be from 0 to 2"):
            ch.top_k(x, k)
    with pytest.raises(TypeError):
        ch.top_k(x, 1.5)
    with pytest.raises(IndexError):
        ch.top_k(x, 1, axis=1)
    with pytest.raises(IndexError):
        ch.top_k(ch.asarray(1.0), 1)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_bincount(dtype):
    a = np.random.default_rng(5).integers(0, 20, 300).astype(dtype)
    for least in (0, 5, 50):
        found = ch.bincount(ch.asarray(a), minlength=least)
        assert found.dtype == ch.int64
        assert np.array_equal(found.numpy(), np.bincount(a.astype(int), minlength=least))
    empty = ch.bincount(ch.asarray(a[:0]), minlength=3)
    assert empty.tolist() == [0, 0, 0]


def test_bincount_adds_weights_in_order():
    a = np.random.default_rng(6).integers(0, 20, 300)
    w = np.random.default_rng(7).standard_normal(300).astype(np.float32)
    found = ch.bincount(ch.asarray(a), weights=ch.asarray(w))
    assert found.dtype == ch.float64
    assert np.array_equal(found.numpy(), np.bincount(a, w))


def test_bincount_refuses():
    with pytest.raises(TypeError, match="integer"):
        ch.bincount(ch.asarray([1.0]))
    with pytest.raises(ValueError, match="negative"):
        ch.bincount(ch.asarray([1, -1]))
    with pytest.raises(ValueError, match="one dimension"):
        ch.bincount(ch.asarray([[1]]))
    with pytest.raises(ValueError, match="minlength"):
        ch.bincount(ch.asarray([1]), minlength=-1)
    with pytest.raises(ValueError, match="weights"):
        ch.bincount(ch.asarray([1]), weights=ch.asarray([1.0, 2.0]))
