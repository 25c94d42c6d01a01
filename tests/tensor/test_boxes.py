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


ITEMS = [*PARTS, None, 0, -1, 2]


@pytest.mark.parametrize("shape", [(5,), (5, 6), (3, 4, 5)])
def test_ints_and_new_axes(shape):
    x = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    for index in itertools.chain(
        ITEMS, itertools.product(ITEMS, repeat=2), itertools.product([None, 1, PARTS[1]], repeat=4)
    ):
        items = index if isinstance(index, tuple) else (index,)
        if sum(item is not None for item in items) > len(shape):
            with pytest.raises(IndexError, match="too many"):
                ch.asarray(x)[index]
            continue
        for _ in range(2):
            a, want = ch.asarray(x) + 0, x.copy()
            assert a[index].shape == want[index].shape
            assert np.array_equal(a[index].numpy(), want[index])
            a[index] = a[index] * 2  # aliases what it reads
            want[index] = want[index] * 2
            a[index] += 1
            want[index] += 1
            view = a[index]
            if view.shape:
                view *= 3
                want[index] *= 3
                assert np.array_equal(view[-1:].numpy(), want[index][-1:])
            a[1:] += 1  # seen by the view
            want[1:] += 1
            assert np.array_equal(a.numpy(), want)
            if view.shape:
                assert np.array_equal(view.numpy(), want[index])


def test_parts_of_parts():
    x = np.arange(240).reshape(10, 24)
    more = [slice(0, -1, 3), slice(None, None, 7), slice(4, 5), slice(5, 4), slice(1, None, 2**62)]
    for first, second in itertools.product([*PARTS, *more], repeat=2):
        for _ in range(2):
            a, want = ch.asarray(x), x.copy()
            assert np.array_equal(a[first][second].numpy(), x[first][second])
            assert np.array_equal(a[:, first][1:, second][1:].numpy(), x[:, first][1:, second][1:])
            a[first][second] += a[first][second][:1]
            want[first][second] += want[first][second][:1].copy()
            a[first, 1:][second, 2:] = -1
            want[first, 1:][second, 2:] = -1
            assert np.array_equal(a.numpy(), want)


def test_what_is_no_box():
    a, x = ch.asarray(np.arange(6).reshape(2, 3)), np.arange(6).reshape(2, 3)
    for index in [(), ..., (..., 1), (1, ...), np.int64(1), True, False, (None,) * 5, (1, True)]:
        assert np.array_equal(a[index].numpy(), x[index])
    scalar = ch.asarray(3.0)
    assert scalar[None].shape == (1,) and scalar[None, None].shape == (1, 1)
    for wrong in (2, -3, (0, 3), (slice(1), 3), 2**70):
        for _ in range(2):
            with pytest.raises(IndexError):
                a[wrong]
            with pytest.raises(IndexError):
                a[wrong] = 1


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


@pytest.mark.cpu
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u8", "?", "f2"])
def test_elements(dtype):
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    a = ch.asarray(x)
    for index in itertools.product([0, 1, -1, -2], [2, -3], [3, -4]):
        assert a[index].shape == () and a[index].numpy().dtype == x.dtype
        assert a[index].item() == x[index]
    flat = ch.asarray(x.reshape(-1))
    read = flat[5]
    flat[5] = 0
    assert (read.item(), flat[5].item(), flat[6].item()) == (x[0, 1, 1], 0, x[0, 1, 2])
    for wrong in (24, -25, 2**63, -(2**63) - 1, 2**200):
        with pytest.raises(IndexError):
            flat[wrong]
    for wrong in ((0, 0, 4), (0, -4, 0), (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            a[wrong]
    assert flat[True].shape == (1, 24) and flat[np.int8(3)].item() == x[0, 0, 3]
    assert flat[::2][3].item() == x[0, 1, 2]


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5)])
def test_ints_and_new_axes_of_parts(shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    for first in (slice(1, None), slice(None, None, 2), (slice(None), None), (None, slice(2))):
        part = x[first]
        for second in itertools.product(ITEMS, repeat=2):
            if sum(item is not None for item in second) > part.ndim:
                continue
            try:
                want = part[second]
            except IndexError:
                with pytest.raises(IndexError):
                    ch.asarray(x)[first][second]
                continue
            a, b = ch.asarray(x), x.copy()
            assert np.array_equal(a[first][second].numpy(), want)
            a[first][second] = 9
            b[first][second] = 9
            assert np.array_equal(a.numpy(), b)
