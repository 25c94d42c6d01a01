"""Buffer: ownership, alignment, lenders, and what an error says."""

import ctypes
import gc
import pickle
import weakref

import numpy as np
import pytest

from charl.runtime import buffer, pool
from tests.runtime.native import c_function

pytestmark = pytest.mark.sanitize
MIB = 1 << 20
buffer_new = buffer.buffer_new
borrow = c_function(
    buffer,
    "buffer_borrow",
    ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_size_t, ctypes.py_object),
)


@pytest.fixture(autouse=True)
def restored():
    yield
    pool.set_limit(0)
    pool.fail_after(-1)
    assert pool.stats()["bad_frees"] == 0


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000, 32768, 32769, 2 * MIB, 2 * MIB + 1, 9 * MIB])
def test_memory_is_aligned_and_all_there(size):
    block = buffer_new(size)
    assert block.nbytes == size
    assert block.address % 64 == 0
    assert block.lender is None
    ctypes.memset(block.address, 0xA5, size)
    assert ctypes.string_at(block.address, size) == b"\xa5" * size


def test_live_buffers_do_not_overlap():
    blocks = sorted((buffer_new(n * 37 % 9000 + 1) for n in range(2000)), key=lambda b: b.address)
    for left, right in zip(blocks, blocks[1:]):
        assert left.address + left.nbytes <= right.address


def test_no_bytes_still_have_an_address():
    empty = buffer_new(0)
    assert empty.nbytes == 0
    assert empty.address % 64 == 0 and empty.address != 0
    assert buffer.Buffer().nbytes == 0
    assert buffer.Buffer().address == empty.address


def test_borrowed_memory_keeps_the_lender_and_is_not_freed():
    gc.collect()  # what other tests left
    before = pool.stats()["in_use"]
    lender = np.arange(10.0)
    block = borrow(lender.ctypes.data, lender.nbytes, lender)
    assert block.address == lender.ctypes.data
    assert block.lender is lender
    gone = weakref.ref(lender)
    del lender
    assert np.array_equal(block.lender, np.arange(10.0))
    del block
    gc.collect()
    assert gone() is None
    assert pool.stats()["in_use"] == before


def test_borrowing_says_what_is_wrong():
    with pytest.raises(ValueError, match="lender is None"):
        borrow(4096, 8, None)
    with pytest.raises(ValueError, match="8 bytes at address 0"):
        borrow(None, 8, "lender")
    assert borrow(None, 0, "lender").address == buffer_new(0).address


def test_error_says_size_use_limit_and_holders():
    held = [buffer_new(n * MIB) for n in (80, 60)]
    used = pool.stats()["in_use"]
    pool.set_limit(used + 10 * MIB)
    with pytest.raises(MemoryError) as error:
        buffer_new(20 * MIB)
    text = str(error.value)
    assert "20.0 MiB (20971520 bytes)" in text
    assert f"{pool.readable(used)} in use" in text
    assert f"limit {pool.readable(used + 10 * MIB)}" in text
    assert "largest live blocks: 80.0 MiB, 60.0 MiB" in text
    assert len(held) == 2


def test_impossible_sizes_are_memory_errors():
    for size in (1 << 47, 1 << 62, 2**64 - 1):
        with pytest.raises(MemoryError):
            buffer_new(size)
    with pytest.raises(OverflowError):
        buffer_new(-1)


def test_a_single_failure_is_tried_again():
    pool.fail_after(0, 1)
    assert buffer_new(100).nbytes == 100


def test_garbage_makes_room():
    class Holder:
        def __init__(self):
            self.self = self
            self.block = buffer_new(20 * MIB)

    gc.collect()
    pool.set_limit(pool.stats()["in_use"] + 30 * MIB)
    gc.disable()
    try:
        Holder()  # a cycle that only the collector frees
        assert buffer_new(20 * MIB).nbytes == 20 * MIB
    finally:
        gc.enable()


def test_buffers_are_no_pickles_and_print():
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(buffer_new(8))
    assert "8 bytes" in repr(buffer_new(8))
    assert "lent by bytes" in repr(borrow(4096, 8, b""))


def test_bytes_readable():
    assert pool.readable(0) == "0 bytes"
    assert pool.readable(1023) == "1023 bytes"
    assert pool.readable(1536) == "1.5 KiB"
    assert pool.readable(3 << 40) == "3.0 TiB"
