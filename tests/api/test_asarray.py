"""asarray and from_dlpack: what is copied, what is borrowed, and what is refused."""

import array

import ml_dtypes
import numpy as np
import pytest

import charl as ch
from tests import device, oracle


def test_scalars_and_sequences():
    for given, dtype in (
        (3, device.INT),
        (2.5, device.FLOAT),
        (True, "bool"),
        ([1, 2.5], device.FLOAT),
    ):
        x = ch.asarray(given)
        assert x.dtype == dtype and x.tolist() == given
    assert ch.asarray([]).shape == (0,) and ch.asarray([]).dtype == device.FLOAT
    assert ch.asarray([[1, 2], [3, 4]], dtype=ch.float32).dtype == ch.float32
    assert ch.asarray(np.float32(2.5)).dtype == ch.float32
    assert ch.asarray([ch.asarray(1), 2]).tolist() == [1, 2]
    assert ch.asarray(3, dtype=ch.bfloat16).numpy().dtype == ml_dtypes.bfloat16
    assert ch.asarray([300], dtype=ch.float16).item() == 300
    with pytest.raises(OverflowError, match="asarray"):
        ch.asarray([300], dtype=ch.uint8)
    with pytest.raises(OverflowError, match="asarray"):
        ch.asarray(300, dtype=ch.uint8)


def test_arrays_are_cast_by_charls_rules():
    a = np.array([np.nan, 300.0, -300.0, np.inf], device.FLOAT)
    assert ch.asarray(a, dtype=ch.int8).tolist() == [0, 127, -128, 127]


@pytest.mark.parametrize(
    "given", ["text", [["a"]], {1: 2}, object(), [[1, 2], [3]], np.array(["a"])]
)
def test_what_is_refused(given):
    with pytest.raises((TypeError, ValueError), match="asarray"):
        ch.asarray(given)


def test_a_tensor_is_handed_back_or_copied():
    x = ch.ones(3)
    assert ch.asarray(x) is x and ch.asarray(x, dtype=device.FLOAT) is x
    y = ch.asarray(x, copy=True)
    y += 1
    assert x.tolist() == [1, 1, 1]
    assert ch.asarray(x, dtype=ch.int8).dtype == ch.int8
    with pytest.raises(ValueError, match="copy"):
        ch.asarray(x, dtype=ch.int8, copy=False)


def test_writable_memory_is_copied():
    a = np.arange(4, dtype=device.FLOAT)
    x = ch.asarray(a)
    y = x + 1
    a[:] = -1
    assert x.tolist() == [0, 1, 2, 3] and y.tolist() == [1, 2, 3, 4]


@pytest.mark.cpu
def test_read_only_memory_is_borrowed_and_never_written():
    a = np.arange(100.0)
    a.flags.writeable = False
    x = ch.asarray(a)
    assert np.shares_memory(x.numpy(), a)
    x += 1
    assert a[5] == 5 and x[5].item() == 6
    z = ch.asarray(a, copy=True)
    assert not np.shares_memory(z.numpy(), a)


@pytest.mark.cpu
def test_borrowed_writable_memory_is_read_at_the_call():
    a = np.arange(4.0)
    x = ch.asarray(a, copy=False)
    assert np.shares_memory(x.numpy(), a)
    y = x * 2
    kept = x.copy()
    a[:] = -1
    assert y.tolist() == [0, 2, 4, 6] and kept.tolist() == [0, 1, 2, 3]
    x[0] = 9
    assert a[0] == -1


@pytest.mark.cpu
def test_what_cannot_be_borrowed():
    a = np.arange(8.0)
    for given in (a[::2], a.astype(">f8"), np.frombuffer(bytes(65), np.uint8)[1:].view(np.float64)):
        want = np.asarray(given, np.float64)
        assert ch.asarray(given).tolist() == want.tolist()
        with pytest.raises(BufferError, match="copy=False"):
            ch.asarray(given, copy=False)
    for given in (3, [1, 2]):
        with pytest.raises(ValueError, match="copy"):
            ch.asarray(given, copy=False)


def test_the_buffer_protocol():
    lent = array.array("f", [1.0, 2.0])
    x = ch.asarray(lent)
    lent[0] = 5.0
    assert x.tolist() == [1, 2]
    assert ch.asarray(memoryview(b"ab")).tolist() == [97, 98]
    assert ch.asarray(lent, dtype=ch.int16).dtype == ch.int16


@pytest.mark.parametrize("dtype", device.DTYPES, ids=str)
def test_round_trips(dtype):
    a = oracle.fill((3, 4), dtype, 1)
    x = ch.asarray(a)
    assert (
        oracle.same(x.numpy(), a) and oracle.same(np.asarray(x), a) and oracle.same(np.array(x), a)
    )
    assert np.array(x).flags.writeable and not x.numpy().flags.writeable
    assert oracle.same(ch.asarray(x.numpy()).numpy(), a)


@pytest.mark.cpu
def test_dlpack():
    a = np.arange(6.0).reshape(2, 3)
    x = ch.from_dlpack(a)
    assert np.shares_memory(x.numpy(), a)
    y = x + 1
    a += 10
    assert y.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert not np.shares_memory(ch.from_dlpack(a, copy=True).numpy(), a)
    assert ch.from_dlpack(a[:, ::2]).tolist() == a[:, ::2].tolist()
    with pytest.raises(BufferError):
        ch.from_dlpack(a[:, ::2], copy=False)
    t = ch.arange(5)
    theirs = np.from_dlpack(t)
    t += 1
    assert theirs.tolist() == [0, 1, 2, 3, 4]
    back = ch.from_dlpack(t)
    back += 1
    assert t.tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="device"):
        ch.from_dlpack(a, device="tpu")
