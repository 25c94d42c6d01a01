"""The short way of small work: objects that are used again, plans that are found again, launches without ceremony."""

import gc
import threading
import weakref

import numpy as np
import pytest

import charl as ch
from charl.runtime import pool
from charl.tensor import node_of, recorded


@pytest.fixture(autouse=True)
def _machine_code():
    with ch.config(backend="llvm"):
        yield


def hot(function, *arrays):
    """The function's result once its kernel is fully optimised, as its launches are short ones then."""
    for _ in range(40):
        ch.eval(function(*arrays))
    ch.wait_compiled()
    return function(*arrays)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0,), (300, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_values_are_numpys(shape, dtype):
    a = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    x = ch.asarray(a)
    found = hot(lambda x: (x + x) * x - 3, x)
    np.testing.assert_array_equal(found.numpy(), (a + a) * a - 3)


def test_more_dead_tensors_than_are_kept():
    x = ch.ones(3)
    for count in (1, 1000, 50, 2000):
        made = [x + k for k in range(count)]
        views = [t[1:] for t in made]
        assert float(made[-1][0]) == count
        assert float(views[0][1]) == 1
        del made, views
        gc.collect()


def test_a_dead_tensor_is_gone_for_weak_references():
    seen = []
    t = ch.ones(3) + 1
    dead = weakref.ref(t, lambda r: seen.append(r() is None))
    ch.eval(t)
    del t
    assert dead() is None and seen == [True]
    other = ch.ones(3) + 2
    assert dead() is None and weakref.ref(other)() is other


def test_long_chains_and_shared_sources_die_by_a_loop():
    x = ch.asarray(np.arange(3.0))
    with ch.config(pending_nodes=100_000):
        chain = x
        for _ in range(50_000):
            chain = (chain + 1) - x  # each step reads the one before, and x
        kept = (x * 2).shape
        middle = x + 1
        fork = ch.where(middle > 0, middle, middle * middle)
        del chain, middle
        np.testing.assert_array_equal(fork.numpy(), [1, 2, 3])
    assert kept == (3,)


def test_nodes_of_many_sources():
    """More than a Node has room for."""

    @recorded
    def total(a, b, c, d, e):
        return a * b + c * d + e

    given = [np.arange(4.0) + k for k in range(5)]
    for round in range(200):
        found = total(*map(ch.asarray, given))
        assert len(node_of(found).src) == 5
        if round % 2:
            want = given[0] * given[1] + given[2] * given[3] + given[4]
            np.testing.assert_array_equal(found.numpy(), want)


def test_an_error_in_flight_survives_dying_tensors():
    def failing():
        t = ch.ones(10) + 1
        v = t[2:]
        ch.eval(t, v)
        raise KeyError("mine")

    for _ in range(500):
        with pytest.raises(KeyError, match="mine"):
            failing()


def test_a_lender_that_computes_when_it_dies():
    """Its finalizer makes and frees Tensors within the death of one."""
    results = []

    class Lender(np.ndarray):
        def __del__(self):
            results.append(float((ch.ones(4) + 1).sum()))

    for _ in range(300):
        array = np.arange(4.0).view(Lender)
        array.flags.writeable = False
        t = ch.asarray(array, copy=False)
        ch.eval(t + 1)
        del t, array
    gc.collect()
    assert results and set(results) == {8.0}


def test_plans_that_take_turns_and_are_forgotten():
    x = ch.asarray(np.arange(5.0))
    makes = [lambda k=k: x * k + 1 for k in range(3)] + [lambda: x - 1, lambda: x[1:] + x[:-1]]
    wanted = [np.arange(5.0) * k + 1 for k in range(3)]
    wanted += [np.arange(5.0) - 1, np.arange(1.0, 5) + np.arange(4.0)]
    for turn in range(60):
        for make, want in zip(makes, wanted, strict=True):
            np.testing.assert_array_equal(make().numpy(), want)
        if turn % 20 == 19:
            ch.wait_compiled()
            ch.engine.clear_plans()


def test_no_memory_leaves_a_small_result_pending():
    x = ch.asarray(np.arange(6.0))
    hot(lambda x: x * 2 + 1, x)
    t = x * 2 + 1
    pool.fail_after(0)
    try:
        with pytest.raises(MemoryError):
            ch.eval(t)
    finally:
        pool.fail_after(-1)
    np.testing.assert_array_equal(t.numpy(), np.arange(6.0) * 2 + 1)


def test_threads_share_the_short_way():
    faults = []

    def work(seed):
        a = np.random.default_rng(seed).normal(size=20)
        x = ch.asarray(a)
        for k in range(300):
            t = x * k + x
            v = t[3:]
            if not np.array_equal((v - 1).numpy(), (a * k + a)[3:] - 1):
                faults.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults
