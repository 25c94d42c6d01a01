"""Slices of whole arrays, which are remembered: the same ones again, of other shapes, and stored to."""

import itertools

import numpy as np
import pytest

import charl as ch
from tests.device import BACKENDS

PARTS = [
    slice(None), slice(1, -1), slice(None, -2), slice(2, None), slice(None, None, 2), slice(None, None, -1),
    slice(-2, 0, -2), slice(3, 3), slice(0, 100), slice(-100, 4),
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(7,), (5, 6), (6, 5), (4, 5, 6), (3, 2, 4, 5, 2)])
def test_reads_and_writes(backend, shape):
    x = np.arange(np.prod(shape), dtype="int32").reshape(shape)
    with ch.config(backend=backend):
        for index in itertools.chain(
            PARTS, itertools.product(PARTS, repeat=2) if len(shape) > 1 else ()
        ):
            for _ in range(2):
                a, want = ch.asarray(x), x.copy()
                view = a[index]
                assert np.array_equal(view.numpy(), want[index])
                a[index] = view + 1
                want[index] = want[index] + 1
                assert np.array_equal(a.numpy(), want)
                a[index] += 2
                want[index] += 2
                view[:1] = 5  # a view of the view
                want[index][:1] = 5
                assert np.array_equal(view.numpy(), want[index])
                assert np.array_equal(a.numpy(), want)


def test_many_more_than_are_remembered():
    x = np.arange(3000)
    a = ch.asarray(x)
    for k in [*range(1500), *range(1500)]:
        assert a[k : 2 * k + 1].shape == x[k : 2 * k + 1].shape
    for k in range(0, 1500, 100):
        assert np.array_equal(a[k : 2 * k + 1].numpy(), x[k : 2 * k + 1])


def test_one_index_for_other_shapes_and_dtypes():
    for shape, dtype in itertools.product([(4, 4), (4, 5), (5, 4), (4, 4, 4)], ["f4", "i8", "?"]):
        x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        a = ch.asarray(x)
        assert np.array_equal(a[1:, :-1].numpy(), x[1:, :-1])
        a[1:, :-1] = a[:-1, 1:]
        x[1:, :-1] = x[:-1, 1:].copy()
        assert np.array_equal(a.numpy(), x)


def test_errors():
    a = ch.zeros((3, 4))
    with pytest.raises(ValueError, match="step cannot be zero"):
        a[::0]
    with pytest.raises(IndexError, match="too many indices"):
        a[1:, 1:, 1:]
    with pytest.raises(TypeError):
        a["x":]
    with pytest.raises(ValueError, match="broadcast"):
        a[1:, 1:] = ch.zeros((3, 3))
    with pytest.raises(TypeError):
        a[1:, 1:] = "text"
