"""broadcast_to and broadcast_arrays: views that see writes and cannot be written."""

import numpy as np
import pytest

import charl as ch
from tests import device


def test_it_sees_later_writes():
    x = ch.asarray([1.0, 2.0])
    y = ch.broadcast_to(x, (3, 2))
    z = y[1:, ::-1].T
    x[0] = 5
    assert y.tolist() == [[5, 2]] * 3
    assert z.tolist() == [[2, 2], [5, 5]]
    assert (y + y.T[:, :1].T).tolist() == [[10, 4]] * 3


@pytest.mark.parametrize(
    "write",
    [
        lambda y: y.__setitem__(0, 1),
        lambda y: y.__setitem__([0], 1),
        lambda y: y.__setitem__(y > 0, 1),
        lambda y: y[1:].__setitem__(0, 1),
        lambda y: y.T.__iadd__(1),
        lambda y: y.fill(0),
        lambda y: y.sort(),
    ],
)
def test_it_cannot_be_written(write):
    array = np.arange(1, 4, dtype=device.FLOAT)
    x = ch.asarray(array)
    for base in (np.broadcast_to(array, (2, 3)), ch.broadcast_to(x, (2, 3))):
        with pytest.raises(ValueError, match="read-only"):
            write(base)
    with pytest.raises(ValueError, match="read-only"):
        write(ch.broadcast_to(ch.broadcast_to(x, (1, 3)), (2, 3)))
    assert x.tolist() == [1, 2, 3]


def test_its_own_shape_is_read_only_too():
    x = ch.zeros(2)
    with pytest.raises(ValueError, match="read-only"):
        ch.broadcast_to(x, (2,))[0] = 1


def test_a_copy_can_be_written():
    x = ch.asarray([1, 2])
    y = ch.broadcast_to(x, (2, 2)).copy()
    y[0] = 7
    assert y.tolist() == [[7, 7], [1, 2]] and x.tolist() == [1, 2]
    flat = ch.broadcast_to(x, (2, 2)).reshape(-1)
    flat[0] = 9
    assert flat.tolist() == [9, 2, 1, 2] and x.tolist() == [1, 2]


@pytest.mark.parametrize("shape", [(2, 3), (4, 2, 3), (0, 2, 3), (1, 2, 3)])
@pytest.mark.parametrize(
    "movement",
    [
        lambda x: x.reshape(-1),
        lambda x: x.reshape((-1, 3)) if x.size else x,
        lambda x: x.T,
        lambda x: x[..., ::-2],
        lambda x: x[..., None, 0, :],
        lambda x: x.sum(axis=-1),
    ],
)
def test_movements_of_it(shape, movement):
    array = np.array([[1], [2]], device.FLOAT)
    expected = movement(np.broadcast_to(array, shape))
    got = movement(ch.broadcast_to(ch.asarray(array), shape))
    assert np.array_equal(got, expected) and got.shape == expected.shape


def test_arrays():
    x, y = ch.asarray([1, 2]), ch.asarray([[3], [4]])
    a, b, c = ch.broadcast_arrays(x, y, ch.zeros((2, 2)))
    x[0] = 9
    assert a.tolist() == [[9, 2]] * 2 and b.tolist() == [[3, 3], [4, 4]]
    c[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        a[0] = 1
