"""The pool as Python sees it. What needs C, many threads or the sanitizers is in stress.c."""

import gc
import os
import threading

import pytest

from charl.runtime import buffer, pool

pytestmark = pytest.mark.sanitize
MIB = 1 << 20


@pytest.fixture(autouse=True)
def restored():
    """Starts from a trimmed pool; leaves neither limit nor injection nor a bad free."""
    gc.collect()
    pool.trim()
    yield
    pool.set_limit(0)
    pool.fail_after(-1)
    assert pool.stats()["bad_frees"] == 0


def test_in_use_follows_what_lives():
    before = pool.stats()["in_use"]
    blocks = [buffer.buffer_new(size) for size in (1, 64, 65, 5000, 70_000, 3 * MIB)]
    used = pool.stats()["in_use"] - before
    asked = sum(block.nbytes for block in blocks)
    assert asked <= used <= asked * 1.3 + 64 * len(blocks)
    del blocks
    assert pool.stats()["in_use"] == before


def test_freed_blocks_are_reused():
    block = buffer.buffer_new(10 * MIB)
    address = block.address
    del block
    hits = pool.stats()["hits"]
    assert buffer.buffer_new(10 * MIB).address == address
    assert pool.stats()["hits"] == hits + 1


def test_trim_gives_cached_memory_back():
    buffer.buffer_new(10 * MIB)
    assert pool.stats()["cached"] >= 10 * MIB
    assert pool.trim() >= 10 * MIB
    assert pool.stats()["cached"] < 10 * MIB


def test_peak_is_the_most_that_was_out():
    pool.reset_peak()
    start = pool.stats()["peak"]
    held = [buffer.buffer_new(4 * MIB) for _ in range(3)]
    del held[:2]
    assert start + 12 * MIB <= pool.stats()["peak"] <= start + 13 * MIB
    pool.reset_peak()
    assert pool.stats()["peak"] <= start + 5 * MIB


def test_allocations_and_failures_are_counted():
    before = pool.stats()
    for _ in range(100):
        buffer.buffer_new(128)
    pool.fail_after(0)
    with pytest.raises(MemoryError):
        buffer.buffer_new(128)
    pool.fail_after(-1)
    after = pool.stats()
    assert after["allocations"] == before["allocations"] + 100
    assert after["failures"] == before["failures"] + 2  # the call and its second try


def test_limit_holds_and_can_be_lifted():
    used = pool.stats()["in_use"]
    pool.set_limit(used + 32 * MIB)
    kept = buffer.buffer_new(20 * MIB)
    with pytest.raises(MemoryError):
        buffer.buffer_new(20 * MIB)
    del kept
    kept = buffer.buffer_new(30 * MIB)  # what is cached is in nobody's way
    pool.set_limit(0)
    also = buffer.buffer_new(64 * MIB)
    assert kept.nbytes + also.nbytes <= pool.stats()["in_use"]


def test_limit_below_what_is_out_keeps_it():
    kept = buffer.buffer_new(8 * MIB)
    pool.set_limit(1)
    with pytest.raises(MemoryError):
        buffer.buffer_new(8 * MIB)
    assert buffer.buffer_new(0).nbytes == 0
    pool.set_limit(0)
    assert kept.nbytes == 8 * MIB


def test_largest_lists_the_largest():
    before = pool.largest()[1]
    held = [buffer.buffer_new(n * MIB) for n in (63, 68, 65, 67, 64, 66, 69)]
    sizes, live = pool.largest()
    assert sizes == [n * MIB for n in (69, 68, 67, 66, 65)]
    assert live == before + len(held)


@pytest.mark.parametrize("size", [32, 40_000, 4 * MIB])
def test_every_allocation_can_fail_in_turn(size):
    gc.collect()  # a failing allocation collects: what other tests left must not count
    before = pool.stats()["in_use"]
    for n in range(6):
        pool.fail_after(n)
        held = []
        with pytest.raises(MemoryError):
            for _ in range(6):
                held.append(buffer.buffer_new(size))
        assert len(held) == n
        pool.fail_after(-1)
        assert buffer.buffer_new(size).nbytes == size
        held.clear()
        assert pool.stats()["in_use"] == before


def test_threads_allocate_and_free_each_others_blocks():
    before = pool.stats()["in_use"]
    shelf, errors = [None] * 32, []

    def work(seed):
        try:
            for k in range(3000):
                size = (seed * 7919 + k * 104729) % (3000 if k % 50 else 3 * MIB)
                shelf[(seed + k) % 32] = buffer.buffer_new(size)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    shelf.clear()
    assert pool.stats()["in_use"] == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_child_of_a_fork_allocates_while_parents_threads_do():
    stop = threading.Event()

    def work():
        while not stop.is_set():
            buffer.buffer_new(1000)
            buffer.buffer_new(3 * MIB)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                held = [buffer.buffer_new(size) for size in (100, 50_000, 5 * MIB)]
                del held
                pool.trim()
                os._exit(pool.stats()["bad_frees"])
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
