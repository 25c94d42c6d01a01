"""random: bits against an independent Philox, distributions against their theory, and what the
counter promises.
"""

import copy
import pickle

import numpy as np
import pytest
import scipy.stats

import charl as ch
from tests import device


def philox(counter, key):
    """Philox4x32-10 in Python ints, words 0 and 1. Source: Random123."""
    x = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        p, q = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [(q >> 32) ^ x[1] ^ k[0], q & 0xFFFFFFFF, (p >> 32) ^ x[3] ^ k[1], p & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return x[0] | x[1] << 32


def unit(word, dtype):
    """The top bits of a word in [0, 1)."""
    digits = np.finfo(dtype).nmant + 1
    return (word >> (64 - digits)) * 2.0**-digits


@pytest.fixture(params=device.BACKENDS, autouse=True)
def backend(request):
    with ch.config(backend=request.param):
        yield


def test_bits_and_uniforms_are_philox():
    rng = ch.random.default_rng(5)
    words = [philox(k, rng.key) for k in range(13)]
    assert rng.integers(0, 2**64, 5, dtype=ch.uint64).tolist() == words[:5]
    assert rng.random(4).tolist() == [unit(w, device.FLOAT) for w in words[5:9]]
    assert rng.random((2, 2), dtype=ch.float32).numpy().ravel().tolist() == [
        unit(w, np.dtype("f4")) for w in words[9:]
    ]
    assert rng.counter == 13


def test_the_counter_advances_at_the_call():
    one, two = ch.random.default_rng(3), ch.random.default_rng(3)
    first, second = one.random(7), one.standard_normal(5)
    later = two.random(7), two.standard_normal(5)
    ch.eval(later[1])
    assert second.tolist() == later[1].tolist() and first.tolist() == later[0].tolist()
    assert one.counter == two.counter == (17 if device.FLOAT.itemsize == 8 else 12)


def test_seeds():
    def draw(seed):
        return ch.random.default_rng(seed).random(4).tolist()

    assert draw(1) == draw(1) != draw(2)
    assert draw([1, 2]) == draw((1, 2)) != draw([2, 1])
    assert draw(None) != draw(None)
    rng = ch.random.default_rng(1)
    assert ch.random.default_rng(rng) is rng
    with pytest.raises(ValueError):
        ch.random.default_rng(-1)
    with pytest.raises(TypeError):
        ch.random.default_rng("a")


def test_state_survives_copies():
    rng = ch.random.default_rng(8)
    rng.random(3)
    for other in (copy.copy(rng), copy.deepcopy(rng), pickle.loads(pickle.dumps(rng))):
        assert other.random(3).tolist() == copy.copy(rng).random(3).tolist()


@pytest.mark.parametrize("dtype", sorted({"float32", device.FLOAT.name}))
def test_distributions(dtype):
    rng = ch.random.default_rng(11)
    dtype = getattr(ch, dtype)
    cases = [
        (rng.random(40000, dtype=dtype), scipy.stats.uniform()),
        (rng.uniform(-3.0, 5.0, 40000, dtype=dtype), scipy.stats.uniform(-3, 8)),
        (rng.standard_normal(40000, dtype=dtype), scipy.stats.norm()),
        (rng.normal(2.0, 3.0, 40000, dtype=dtype), scipy.stats.norm(2, 3)),
    ]
    for sample, law in cases:
        assert sample.dtype == dtype
        assert scipy.stats.kstest(sample.numpy().astype(float), law.cdf).pvalue > 1e-4
    normal = cases[2][0].numpy()
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 0.03


def test_integers():
    rng = ch.random.default_rng(2)
    counts = np.bincount(rng.integers(0, 7, 35000).numpy(), minlength=7)
    assert scipy.stats.chisquare(counts).pvalue > 1e-4
    x = rng.integers(-3, 3, (50, 4), dtype=ch.int8, endpoint=True)
    assert x.dtype == ch.int8 and set(x.numpy().ravel().tolist()) == set(range(-3, 4))
    assert set(rng.integers(2, size=50, dtype=ch.bool).tolist()) == {True, False}
    wide = rng.integers(-(2**63), 2**63 - 1, 100, dtype=ch.int64, endpoint=True).numpy()
    assert (wide < 0).any() and (wide > 0).any()
    for bad in (
        lambda: rng.integers(3, 3),
        lambda: rng.integers(0, 300, dtype=ch.uint8),
        lambda: rng.integers(-1),
    ):
        with pytest.raises(ValueError, match="integers"):
            bad()
    with pytest.raises(TypeError, match="integers"):
        rng.integers(3, dtype=ch.float32)


def test_broadcast_parameters():
    rng = ch.random.default_rng(2)
    low = ch.asarray([0.0, 10.0, 20.0])
    x = rng.uniform(low, low + 1, (4, 3)).numpy()
    assert ((x >= low.numpy()) & (x < low.numpy() + 1)).all()
    assert rng.normal(low, 1.0).shape == (3,) and rng.normal().shape == ()
    with pytest.raises(ValueError, match="uniform"):
        rng.uniform(low, 30.0, (3, 2))
    with pytest.raises(TypeError, match="random"):
        rng.random(3, dtype=ch.float16)


def test_permutations():
    rng = ch.random.default_rng(4)
    assert sorted(rng.permutation(100).tolist()) == list(range(100))
    x = np.arange(20).reshape(5, 4)
    moved = rng.permutation(ch.asarray(x), axis=1).numpy()
    assert sorted(map(tuple, moved.T)) == sorted(map(tuple, x.T))
    y = ch.asarray(x)
    view = y[1:]
    rng.shuffle(y)
    assert sorted(map(tuple, y.numpy())) == sorted(map(tuple, x))
    assert view.tolist() == y.numpy()[1:].tolist()
    with pytest.raises(TypeError, match="shuffle"):
        rng.shuffle([1, 2])
    first = np.bincount(
        [ch.random.default_rng(k).permutation(4)[0].item() for k in range(400)], minlength=4
    )
    assert scipy.stats.chisquare(first).pvalue > 1e-4


def test_choice():
    rng = ch.random.default_rng(6)
    assert set(rng.choice(3, 100).tolist()) == {0, 1, 2}
    assert sorted(rng.choice(5, 5, replace=False).tolist()) == [0, 1, 2, 3, 4]
    names = ch.asarray([[1, 2], [3, 4], [5, 6]])
    assert rng.choice(names, (2, 2)).shape == (2, 2, 2)
    assert rng.choice(names, 4, axis=1).shape == (3, 4)
    p = [0.1, 0.0, 0.6, 0.3]
    counts = np.bincount(rng.choice(4, 20000, p=p).numpy(), minlength=4)
    assert (
        counts[1] == 0
        and scipy.stats.chisquare(counts[[0, 2, 3]], 20000 * np.array([0.1, 0.6, 0.3])).pvalue
        > 1e-4
    )
    assert 1 not in rng.choice(4, 3, replace=False, p=p).tolist()
    assert isinstance(rng.choice(5).item(), int)
    for bad in (
        lambda: rng.choice(3, 4, replace=False),
        lambda: rng.choice(0, 1),
        lambda: rng.choice(2, p=[0.5, 0.6]),
        lambda: rng.choice(4, 4, replace=False, p=p),
    ):
        with pytest.raises(ValueError, match="choice"):
            bad()


def test_draws_do_not_depend_on_how_they_run():
    def draw():
        rng = ch.random.default_rng(9)
        return [
            rng.random(3000).tolist(),
            rng.standard_normal(3001, dtype=ch.float32).tolist(),
            rng.standard_normal((50, 61)).tolist(),
            rng.permutation(50).tolist(),
        ]

    want = draw()
    for config in ({"backend": "llvm"}, {"eager": True}, {"num_threads": 5, "parallel_work": 16}):
        with ch.config(**config):
            assert draw() == want
