"""Reading and writing by indices of all kinds, mixed as NumPy lets them mix, against NumPy."""

import ctypes
import threading

import numpy as np
import pytest

import charl as ch
from tests import device

I = np.array
INDICES = {
    "array": I([0, 1, 0]),
    "negative": I([-1, 0]),
    "list": [1, 0],
    "two axes at once": I([[0, 1], [1, 0]]),
    "unsigned": I([1, 0], np.uint8),
    "pair": (I([0, 1]), I([2, 0])),
    "outer": (I([[0], [1]]), I([0, 2])),
    "apart": (I([0, 1]), slice(None), I([3, 1])),
    "array, int": (I([0, 1]), 1),
    "int, array": (1, I([0, 2])),
    "int, :, array": (0, slice(None), I([0, 2])),
    "array, :, int": (I([0, 1]), slice(None), 2),
    "..., array": (Ellipsis, I([0, 2])),
    "new axis, array": (None, I([0, 1])),
    "array, new axis, array": (I([0, 1]), None, I([1, 2])),
    "array, slice": (I([1, 0]), slice(0, 2)),
    "reversed, array, stepped": (slice(None, None, -1), I([2, 0]), slice(None, None, 2)),
    "0-d array": I(1),
    "0-d arrays": (I(1), I(0)),
    "0-d array, array": (I(1), I([0, 2])),
    "equal places": (I([0, 0, 1]), I([1, 1, 2])),
    "no place": [],
    "no place of a slice": (slice(0, 0), I([0, 1])),
    "mask": I([True, False]),
    "mask of two axes": I([[True, False, True], [False, False, True]]),
    "mask, int": (I([True, False]), 1),
    "mask, array": (I([True, False]), I([0, 2])),
    "slice, mask": (slice(None), I([True, False, True])),
    "mask, :, mask": (I([True, True]), slice(None), I([True, False, False, True])),
    "..., mask": (Ellipsis, I([True, False, True, False])),
    "True": True,
    "False": False,
    "True, int": (True, 0),
    "mask of another size": I([True, False, True]),
    "out of range": I([5]),
    "below range": I([-3]),
    "floats": I([1.0], np.float32),
    "do not broadcast": (I([0, 1]), I([0, 1, 2])),
    "too many": (I([0]), 0, 0, 0),
}
LAYOUTS = {
    "whole": lambda x: x,
    "reversed": lambda x: x[:, ::-1],
    "transposed": lambda x: x.T,
    "part": lambda x: x[:, 1:, ::-2],
}


def start():
    return np.arange(24, dtype=device.FLOAT).reshape(2, 3, 4)


def tensors(index):
    """index with Tensors for ndarrays."""
    if isinstance(index, tuple):
        return tuple(tensors(item) for item in index)
    return ch.asarray(index) if isinstance(index, np.ndarray) else index


def both(function, index):
    """function(array, index) of NumPy and of charl, its index as it is and as Tensors: equal."""
    for layout in LAYOUTS.values():
        array = start()
        try:
            expected = function(layout(array), index)
        except (IndexError, ValueError) as error:
            for given in (index, tensors(index)):
                mine = ch.asarray(start())
                # a Tensor's indices are looked at last, when the shapes have been found wrong
                either = IndexError if given is index else (IndexError, ValueError)
                with pytest.raises(either if isinstance(error, IndexError) else type(error)):
                    np.asarray(function(layout(mine), given))
                assert np.array_equal(mine, start())
            continue
        for given in (index, tensors(index)):
            mine = ch.asarray(start())
            got = function(layout(mine), given)
            assert np.array_equal(np.asarray(got), expected)
            assert np.shape(got) == np.shape(expected)
            assert np.array_equal(mine, array)


@pytest.mark.parametrize("name", INDICES)
def test_read(name):
    both(lambda x, index: x[index], INDICES[name])


def assign(x, index, value):
    x[index] = value
    return x


def add(x, index, value):
    x[index] += value
    return x


@pytest.mark.parametrize("write", [assign, add])
@pytest.mark.parametrize("name", INDICES)
def test_write(name, write):
    index = INDICES[name]
    both(lambda x, given: write(x, given, -1), index)
    both(lambda x, given: write(x, given, np.array([3], device.FLOAT)), index)

    def ramp(x, given):
        shape = np.shape(np.empty(x.shape)[index])
        return write(x, given, 100 + np.arange(np.prod(shape, dtype=int)).reshape(shape))

    both(ramp, index)
    both(lambda x, given: write(x, given, np.zeros((2, 2, 2, 2, 2), device.FLOAT)), index)


def test_the_last_of_equal_places_wins():
    x = ch.zeros(3)
    x[[0, 0, 2]] = ch.asarray([1.0, 2.0, 3.0])
    assert x.tolist() == [2, 0, 3]


def test_nobody_else_sees_a_write():
    x = ch.arange(4.0)
    copy, snapshot, later = x.copy(), x.numpy(), x + 1
    x[[0, 3]] = -1
    assert x.tolist() == [-1, 1, 2, -1]
    assert copy.tolist() == snapshot.tolist() == [0, 1, 2, 3]
    assert later.tolist() == [1, 2, 3, 4]


def test_a_write_reads_what_was_there():
    x = ch.arange(4.0)
    x[[0, 1, 2, 3]] = x[::-1]
    assert x.tolist() == [3, 2, 1, 0]
    x[[3, 2]] = x[[0, 1]]
    assert x.tolist() == [3, 2, 2, 3]


@pytest.mark.cpu
def test_borrowed_memory_is_not_written():
    array = np.zeros(4)
    x = ch.asarray(array, copy=False)
    x[[1]] = 1
    assert array.tolist() == [0, 0, 0, 0] and x.tolist() == [0, 1, 0, 0]


def test_values_are_cast_as_in_any_assignment():
    x = ch.zeros(2, dtype=ch.int8)
    with pytest.raises(OverflowError):
        x[[0]] = 300
    x[[0]] = 2.7
    x[[1]] = ch.asarray([1e9])  # saturates
    assert x.tolist() == [2, 127]
    h = ch.zeros(3, dtype=ch.bfloat16)
    h[[2, 0]] = [1.5, 2]
    assert h.tolist() == [2, 0, 1.5]


def test_an_element_is_assigned_from_an_element():
    x, y = ch.zeros(5) + ch.arange(5), ch.zeros((3, 4)) + 7
    ch.eval(x, y)
    x[0] = x[3, ...]
    y[1, 2] = y[0:1, 0:1].reshape(())
    assert x.tolist() == [3, 1, 2, 3, 4] and (y.numpy() == 7).all()


def test_a_broadcast_is_not_assigned_to_itself():
    wide = ch.broadcast_to(ch.asarray([1.0, 2.0]), (3, 2))
    with pytest.raises(ValueError, match="read-only"):
        wide[0:1] = wide[0:1]


def test_arrays_of_integers_write_into_a_copy():
    x = ch.ones(1 << 16)
    seen, before = x.numpy(), np.ones(1 << 16)
    index = np.arange(1 << 16)
    writers = [threading.Thread(target=x.__setitem__, args=(index, float(k))) for k in range(8)]
    for writer in writers:
        writer.start()
        snapshot = x.numpy()
        assert (snapshot == snapshot[0]).all()
    for writer in writers:
        writer.join()
    assert (seen == before).all() and 0 <= x[0].item() < 8


def test_a_fortran_buffer_is_refused():
    flags = 0x40 | 0x18  # PyBUF_F_CONTIGUOUS, of PyBUF_STRIDES
    request = ctypes.pythonapi.PyObject_GetBuffer
    view = ctypes.create_string_buffer(256)
    with pytest.raises(BufferError, match="Fortran"):
        request(ctypes.py_object(ch.ones((3, 4))), view, flags)
