"""The file to read first: what charl does, each promise in a few lines."""

import numpy as np
import pytest

import charl as ch
from tests import device


def test_plain_array_code():
    x = ch.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    y = ch.sum(ch.exp(x) * 2, axis=1)
    assert y.shape == (2,) and y.dtype == device.FLOAT
    expected = (np.exp(x.numpy()) * 2).sum(axis=1)
    np.testing.assert_allclose(y.numpy(), expected, rtol=device.RTOL)


def test_nothing_runs_before_a_value_is_needed():
    before = ch.cache_info()[device.LAUNCHES]
    x = ch.ones(1000)
    for _ in range(10):
        x = x * 0.5 + 1
    assert ch.cache_info()[device.LAUNCHES] == before
    assert float(x[0]) == pytest.approx(2.0, rel=1e-3)
    assert ch.cache_info()[device.LAUNCHES] > before


def test_a_chain_is_one_kernel():
    x, y = ch.arange(100.0), ch.ones(100)
    ch.eval(x, y)
    before = ch.cache_info()[device.LAUNCHES]
    z = ch.sqrt(x * x + y) - ch.sin(x) / (y + 2)
    ch.eval(z)
    assert ch.cache_info()[device.LAUNCHES] == before + 1


def test_views_share_memory():
    x = ch.zeros((3, 4))
    rows, turned = x[1:], x.T
    rows += 1
    turned[0] = 7
    assert x.tolist() == [[7, 0, 0, 0], [7, 1, 1, 1], [7, 1, 1, 1]]


def test_overlapping_writes_mean_what_numpy_means():
    x = ch.arange(6)
    x[1:] += x[:-1]
    assert x.tolist() == [0, 1, 3, 5, 7, 9]


def test_an_export_never_sees_later_writes():
    x = ch.zeros(3)
    before = x.numpy()
    x += 1
    assert before.tolist() == [0, 0, 0] and x.tolist() == [1, 1, 1]


def test_promotion_is_numpys():
    assert (ch.ones(2, dtype=ch.float32) * 2.5).dtype == ch.float32
    assert (ch.ones(2, dtype=ch.int8) + ch.ones(2, dtype=ch.uint8)).dtype == ch.int16
    assert (ch.asarray([1, 2]) / 2).dtype == device.FLOAT


def test_errors_come_at_the_call():
    with pytest.raises(ValueError, match="broadcast"):
        ch.ones(3) + ch.ones(4)
    with pytest.raises(IndexError):
        ch.ones(3)[3]


def test_every_way_to_run_gives_the_same_bits():
    def softmax(x):
        e = ch.exp(x - ch.max(x, axis=1, keepdims=True))
        return e / ch.sum(e, axis=1, keepdims=True)

    x = np.random.default_rng(0).normal(size=(37, 129)).astype(np.float32)
    results = []
    for settings in (
        {"backend": "interp"},
        {"backend": "llvm"},
        {"eager": True},
        {"num_threads": 2},
    ):
        with ch.config(**settings):
            results.append(softmax(ch.asarray(x)).numpy().tobytes())
    assert len(set(results)) == 1


def test_random_numbers_repeat():
    one, two = ch.random.default_rng(7), ch.random.default_rng(7)
    assert one.normal(size=5).tolist() == two.normal(size=5).tolist()
