"""Tensor against NumPy: operators, promotion, indices, views and writes, Python's protocols,
exchange.
"""

import copy
import operator
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import charl as ch
from tests import device

DTYPES = device.NAMES
VALUES = {
    "b": [False, True, True, False],
    "i": [0, 1, -3, 100],
    "u": [0, 1, 7, 200],
    "f": [0.0, -1.5, 2.25, np.inf],
}


def sample(dtype):
    return np.array(VALUES[np.dtype(dtype).kind]).astype(dtype)


def same(tensor, array):
    got, array = np.asarray(tensor), device.narrow(array)
    assert got.dtype == array.dtype and got.shape == array.shape
    np.testing.assert_array_equal(got, array)


# Operators and promotion

ARITHMETIC = [operator.add, operator.sub, operator.mul]
COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
BITS = [operator.and_, operator.or_, operator.xor]


@pytest.mark.parametrize("left", DTYPES)
@pytest.mark.parametrize("right", DTYPES)
def test_operators_promote_as_numpy(left, right):
    x, y = sample(left), sample(right)[::-1].copy()
    for function in ARITHMETIC + COMPARE + BITS:
        try:
            with np.errstate(all="ignore"):
                expected = function(x, y)
        except TypeError:
            with pytest.raises(TypeError):
                function(ch.asarray(x), ch.asarray(y))
            continue
        same(function(ch.asarray(x), ch.asarray(y)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "scalar",
    [
        True,
        2,
        -1,
        300,
        2**40,
        1.5,
        float("nan"),
        np.float32(1.5),
        np.int8(3),
        device.FLOAT.type(0.1),
    ],
)
def test_python_scalars_are_weak(dtype, scalar):
    x = sample(dtype)
    t = ch.asarray(x)
    for function in ARITHMETIC + COMPARE:
        for swap in (False, True):
            args, mine = ((scalar, x), (scalar, t)) if swap else ((x, scalar), (t, scalar))
            try:
                with np.errstate(all="ignore"):
                    expected = function(*args)
            except (TypeError, OverflowError) as error:
                with pytest.raises(type(error)):
                    function(*mine)
                continue
            same(function(*mine), np.asarray(expected))


def test_out_of_range_ints():
    x = ch.asarray(np.array([1], "u1"))
    with pytest.raises(OverflowError, match="Python integer 300 out of bounds for uint8"):
        x + 300
    same(x / 300, np.array([1], "u1") / 300)
    same(x < 300, np.array([True]))
    same(300 <= x, np.array([False]))
    with pytest.raises(OverflowError):
        ch.asarray(np.ones(1, "f4")) + 10**400


def test_signed_and_unsigned_compare_exactly():
    a = np.array([-1, 2**62 + 1, 5], "i8")
    b = np.array([2**64 - 1, 2**62, 5], "u8")
    for function in COMPARE:
        same(function(ch.asarray(a), ch.asarray(b)), function(a, b))
        same(function(ch.asarray(b), ch.asarray(a)), function(b, a))


def test_ndarrays_on_either_side():
    x, t = np.arange(3, dtype=device.FLOAT), ch.asarray([1.0, 2.0, 3.0])
    for got in (x + t, t + x, x * t, t - x):
        assert isinstance(got, ch.Tensor)
    same(x - t, x - np.array([1.0, 2.0, 3.0]))
    same(device.FLOAT.type(2) ** t, 2 ** np.array([1.0, 2.0, 3.0]))
    assert (t == "text") is False and (t != None) is True  # noqa: E711
    with pytest.raises(TypeError):
        t + "text"
    with pytest.raises(TypeError, match="complex"):
        t + 1j


def test_shapes_that_do_not_broadcast():
    with pytest.raises(
        ValueError, match=r"operands could not be broadcast together with shapes \(2,\) \(3,\)"
    ):
        ch.ones(2) + ch.ones(3)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5, 2.0, 5, -2, 1.7])
@pytest.mark.parametrize(
    "dtype", [n for n in ("int32", "uint8", "float32", "float64") if n in DTYPES]
)
def test_powers(dtype, exponent):
    x = np.array([1, 2, 3], dtype)
    try:
        expected = x**exponent
    except ValueError:
        with pytest.raises(ValueError, match="negative integer powers"):
            ch.asarray(x) ** exponent
        return
    except OverflowError:
        with pytest.raises(OverflowError):
            ch.asarray(x) ** exponent
        return
    got = ch.asarray(x) ** exponent
    assert np.asarray(got).dtype == device.narrow(expected).dtype
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-6)


# Reading by index

SHAPE = (4, 3, 5)
X = np.arange(60, dtype=device.FLOAT).reshape(SHAPE)
INDICES = [
    0, -1, (1, 2), (1, 2, 3), (..., 2), (slice(1, 3), None, 1), (None, ..., None), slice(None, None, -1),
    (slice(3, 0, -2), slice(None), slice(4, None, -3)), (slice(2, 2),), (), ..., (0, ..., 0, 0),
    [0, 2, 2], np.array([[0, 1], [3, -1]]), (slice(None), [0, 2]), ([0, 1], [1, 2]), ([0, 1], slice(None), [1, 2]),
    (0, slice(None), [1, 2]), (slice(None), 0, [1, 2]), ([[0], [1]], [0, 2]), (None, [0, 1], slice(1, 3)),
    X[:, 0, 0] > 20, X > 30, (slice(None), X[0, :, 0] > 3), (X[:, :, 0] > 12, 2), (X[:, 0, 0] > 20, slice(None), 1),
    ([], slice(1)), np.array(2), (np.int8(1), [2]), ([1, 2], ..., [0, 1]), (True,), np.zeros((4, 3), bool),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_reads(index):
    t = ch.asarray(X)
    same(t[index], np.asarray(X[index]))
    pending = ch.asarray(X) * 2
    same(pending[index], np.asarray((X * 2)[index]))


def test_reads_by_tensors():
    t, rows = ch.asarray(X), ch.asarray([2, 0, -1])
    same(t[rows], X[[2, 0, -1]])
    same(t[:, rows], X[:, [2, 0, -1]])
    same(t[rows, rows], X[[2, 0, -1], [2, 0, -1]])
    same(t[rows, [0, 1, 2]], X[[2, 0, -1], [0, 1, 2]])
    same(t[t > 30], X[X > 30])
    same(t[rows[:, None], [[0, 1]]], X[np.array([2, 0, -1])[:, None], [[0, 1]]])


@pytest.mark.parametrize(
    "index", [4, -5, (0, 3), (0, 0, 0, 0), "a", 1.0, [0, 4], ([0, 1], [0, 1, 2]), np.zeros(3, bool), (..., ...)],
    ids=repr,
)  # fmt: skip
def test_wrong_indices(index):
    with pytest.raises(IndexError) as expected:
        X[index]
    with pytest.raises(IndexError) as found:
        ch.asarray(X)[index]
    assert str(found.value).split(" with ")[0][:40] == str(expected.value).split(" with ")[0][:40]


def test_computed_index_out_of_range_names_the_line():
    t, index = ch.arange(10), ch.asarray([3, 12]) + 0
    picked = t[index] + 1
    with pytest.raises(
        IndexError, match=r"index 12 is out of bounds for axis with size 10 .*test_tensor\.py:\d+"
    ):
        picked.numpy()
    same(t[index - 5] + 1, np.array([9, 8], device.INT))


# Views and writes


def steps():
    """A movement that NumPy answers with a view."""
    cut = st.slices(4)
    return st.one_of(
        st.tuples(st.just("slice"), cut),
        st.tuples(st.just("last"), cut),
        st.just(("T",)),
        st.just(("new",)),
        st.tuples(
            st.just("reshape"),
            st.sampled_from([(-1,), (2, -1), (-1, 3), (2, 2, -1), (3, -1), (-1, 4), (4, -1)]),
        ),
        st.tuples(st.just("pick"), st.integers(0, 3)),
    )


def move(x, step):
    kind = step[0]
    if kind == "slice":
        return x[step[1]]
    if kind == "last":
        return x[..., step[1]]
    if kind == "T":
        return x.T
    if kind == "new":
        return x[:, None]
    if kind == "reshape":
        return x.reshape(step[1])
    return x[step[1]]


@given(
    st.lists(steps(), max_size=5), st.sampled_from(["=", "+", "*", "self", "mask"]), st.booleans()
)
def test_writes_through_views(path, how, realized):
    x = np.arange(24, dtype=device.FLOAT).reshape(4, 6)
    t = ch.asarray(x.copy())
    if not realized:
        t = t + 0
    v, w = x, t
    other_v, other_w = x[1:3, ::2], t[1:3, ::2]
    try:
        for step in path:
            if v.ndim == 1 and step[0] == "pick":
                continue
            v, w = move(v, step), move(w, step)
            assume(v.ndim and v.ndim < 6)
    except (ValueError, IndexError) as error:
        with pytest.raises(type(error)):
            move(w, step)
        return
    if how == "=":
        v[...] = 7
        w[...] = 7
    elif how == "+":
        v += 1
        w += 1
    elif how == "*":
        v *= np.arange(1.0, v.shape[-1] + 1)
        w *= np.arange(1.0, v.shape[-1] + 1).astype(device.FLOAT)
    elif how == "self":
        v[1:] += v[:-1].copy()
        w[1:] += w[:-1]
    else:
        v[v > 5] = -1
        w[w > 5] = -1
    same(t, x)
    same(w, v)
    same(other_w, other_v)


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (1, 5.0), ((slice(None), 1), np.arange(4.0)), ((0, 0), 3), (..., np.arange(6.0)), (slice(1, 1), 9),
        ((slice(None, None, -1), slice(None, None, 2)), np.arange(12.0).reshape(4, 3)), ([0, 2], 1.5),
        (([0, 0], [1, 1]), [1.0, 2.0]), (np.eye(4, 6) > 0, np.arange(4.0)), (np.eye(4, 6) > 0, -1),
        (np.array([True, False, True, False]), np.arange(6.0)), (np.array([True, False, True, False]), [[1.0], [2.0]]),
        (slice(0, 2), [[1.0], [2.0]]), (1, np.ones((1, 1, 6))), (np.zeros(4, bool), 8.0),
    ],
    ids=repr,
)  # fmt: skip
def test_assignments(index, value):
    x = np.zeros((4, 6), device.FLOAT)
    t = ch.asarray(x)
    x[index] = value
    t[index] = value
    same(t, x)


def test_assignments_that_do_not_fit():
    t = ch.zeros((4, 6))
    for index, value in [
        (0, np.ones(5)),
        (slice(2), np.ones((3, 6))),
        (np.eye(4, 6) > 0, np.ones(3)),
    ]:
        with pytest.raises(ValueError):
            t[index] = value
    with pytest.raises(IndexError):
        t[4] = 0
    with pytest.raises(TypeError):
        t[0] = "text"
    u = ch.zeros(3, dtype=ch.uint8)
    with pytest.raises(OverflowError):
        u[0] = 300
    u[0] = 2.9
    assert u.tolist() == [2, 0, 0]


def test_in_place_operators_keep_dtype_and_shape():
    t = ch.asarray([1, 2, 3])
    with pytest.raises(TypeError, match="same_kind"):
        t += 1.5
    with pytest.raises(ValueError, match="non-broadcastable output"):
        t += ch.ones((2, 3), dtype=ch.int64)
    same(t, np.array([1, 2, 3], device.INT))
    alias = t
    t *= 2
    assert alias is t
    f = ch.ones(2, dtype=ch.float32)
    f += np.array([0.25, 0.5], device.FLOAT)
    assert f.dtype == ch.float32 and f.tolist() == [1.25, 1.5]


def test_scalars_are_rebound():
    x = ch.asarray([1.0, 2.0])
    s = x[0]
    kept = s
    s += 5
    assert (float(s), float(kept), x.tolist()) == (6.0, 1.0, [1.0, 2.0])
    view = x[0, ...]
    view += 5
    assert x.tolist() == [6.0, 2.0]


def test_reshape_shares_only_where_numpy_does():
    x = np.arange(12, dtype=device.FLOAT).reshape(3, 4)
    t = ch.asarray(x)
    for take in (
        lambda a: a.reshape(4, 3),
        lambda a: a.T.reshape(12),
        lambda a: a[:, ::2].reshape(6),
    ):
        v, w = take(x), take(t)
        v += 1
        w += 1
        same(t, x)
        same(w, v)


def test_a_write_does_not_reach_older_results():
    x = ch.asarray([1.0, 2.0, 3.0])
    doubled, kept = x * 2, x.copy()
    x[0] = 100
    assert (
        doubled.tolist() == [2, 4, 6] and kept.tolist() == [1, 2, 3] and x.tolist() == [100, 2, 3]
    )


# Protocols


def test_truth_and_conversion():
    assert float(ch.asarray(2.5)) == 2.5 and int(ch.asarray(7)) == 7 and bool(ch.asarray([1]))
    assert [10, 20, 30][ch.asarray(1)] == 20 and complex(ch.asarray(1.5)) == 1.5
    assert ch.asarray([[3]]).item() == 3 and ch.asarray([1, 2]).item(1) == 2
    with pytest.raises(ValueError, match="ambiguous"):
        bool(ch.ones(2))
    with pytest.raises(ValueError, match="empty"):
        bool(ch.ones(0))
    with pytest.raises(TypeError, match="0-dimensional"):
        float(ch.ones(1))
    with pytest.raises(TypeError, match="integer scalar"):
        operator.index(ch.asarray(1.0))
    with pytest.raises(TypeError, match="unhashable"):
        hash(ch.ones(1))
    with pytest.raises(ValueError):
        ch.ones(2).item()


def test_containers():
    t = ch.asarray([[1, 2], [3, 4]])
    assert (
        len(t) == 2
        and [row.tolist() for row in t] == [[1, 2], [3, 4]]
        and t.tolist() == [[1, 2], [3, 4]]
    )
    assert 3 in t and 9 not in t and [int(v) for v in t[0]] == [1, 2]
    for wrong in (len, iter):
        with pytest.raises(TypeError):
            wrong(ch.asarray(1))


def test_text():
    assert repr(ch.asarray([1.0, 2.5], device="cpu")) == "Tensor([1. , 2.5])"
    assert repr(ch.asarray([1, 2], dtype=ch.int8)) == "Tensor([1, 2], dtype=int8)"
    assert repr(ch.zeros((2, 0), dtype=ch.float32)) == "Tensor([], shape=(2, 0), dtype=float32)"
    assert repr(ch.asarray(True)) == "Tensor(True)" and str(ch.asarray([1, 2])) == "[1 2]"
    assert f"{ch.asarray(2.5):.2f}" == "2.50" and f"{ch.asarray([1, 2])}" == "[1 2]"
    with pytest.raises(TypeError):
        format(ch.ones(2), ".2f")


def test_copies_and_pickles():
    t = ch.asarray(np.arange(3, dtype="f4"))
    for twin in (copy.copy(t), copy.deepcopy(t), pickle.loads(pickle.dumps(t)), t.copy()):
        twin += 1
        same(twin, np.arange(1, 4, dtype="f4"))
    same(t, np.arange(3, dtype="f4"))
    same(pickle.loads(pickle.dumps(t[::2])), np.array([0, 2], "f4"))


def test_unknown_attributes():
    t = ch.ones(2)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        t.nonsense
    assert "sum" in dir(t) and "shape" in dir(t)
    with pytest.raises(TypeError):
        ch.Tensor()


# Exchange


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_numpy_round_trip(dtype):
    dtype = ch.asarray([0], dtype=getattr(ch, dtype)).numpy().dtype
    x = np.array([[0, 1], [2, 3]]).astype(dtype)
    for given_array in (x, x.T, x[:, ::-1], np.broadcast_to(x[0], (3, 2))):
        same(ch.asarray(given_array), given_array)


def test_byte_swapped_and_misaligned_input():
    same(ch.asarray(np.arange(3, dtype=">f4")), np.arange(3, dtype="f4"))
    raw = np.frombuffer(b"\0" + np.arange(3).tobytes(), np.uint8)[1:].view(np.int64)
    same(ch.asarray(raw), np.arange(3))


@pytest.mark.cpu
def test_exports_are_snapshots():
    t = ch.asarray([1.0, 2.0])
    a, m = t.numpy(), memoryview(t)
    with pytest.raises(ValueError):
        a[0] = 5
    assert m.readonly and m.format == "d" and m.shape == (2,)
    t += 1
    t[0] = 9
    assert a.tolist() == [1, 2] and m.tolist() == [1, 2] and t.tolist() == [9, 3]
    w = np.array(t)
    w[0] = 7
    assert t.tolist() == [9, 3]
    assert np.shares_memory(ch.asarray(t.numpy(), copy=None).numpy(), t.numpy())


def test_buffer_protocol():
    t = ch.asarray(np.arange(6, dtype="i4").reshape(2, 3))
    m = memoryview(t.T)
    assert m.shape == (3, 2) and m.tolist() == [[0, 3], [1, 4], [2, 5]] and m.c_contiguous
    assert bytes(ch.asarray([1], dtype=ch.uint8)) == b"\x01"
    with pytest.raises(BufferError):
        memoryview(ch.zeros(1, dtype=ch.bfloat16))


@pytest.mark.cpu
def test_dlpack():
    t = ch.asarray(np.arange(6.0).reshape(2, 3))
    a = np.from_dlpack(t)
    assert np.shares_memory(a, t.numpy()) and not a.flags.writeable
    t += 1
    np.testing.assert_array_equal(a, np.arange(6.0).reshape(2, 3))
    assert t.__dlpack_device__() == (1, 0)
    source = np.arange(4.0)
    borrowed = ch.from_dlpack(source)
    total = borrowed + 1
    source[0] = 50
    assert total.tolist() == [1, 2, 3, 4]
    borrowed += 1
    assert source.tolist() == [50, 1, 2, 3]


def test_pending_bfloat16_scalars():
    t = ch.ones(2, dtype=ch.bfloat16) * 1.5
    assert t.dtype == ch.bfloat16 and float(t[0]) == 1.5


BOOL_OPS = (
    operator.floordiv, operator.mod, operator.pow, operator.lshift, operator.rshift, operator.add,
    operator.sub, operator.mul, operator.truediv, operator.and_,
)  # fmt: skip


@pytest.mark.parametrize("function", BOOL_OPS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", [np.array([True, True, False]), True, False, 2, np.True_, 2.0])
def test_bools_in_arithmetic(function, other):
    """Where NumPy has no loop for bool, it takes int8's; subtract it refuses."""
    x = np.array([True, False, True])
    theirs = ch.asarray(other) if isinstance(other, np.ndarray) else other
    for args, mine in (
        ((x, other), (ch.asarray(x), theirs)),
        ((other, x), (theirs, ch.asarray(x))),
    ):
        try:
            with np.errstate(all="ignore"):
                expected = function(*args)
        except TypeError:
            with pytest.raises(TypeError):
                function(*mine)
            continue
        same(function(*mine), expected)


def test_bools_in_functions():
    x = np.array([True, False])
    same(ch.square(ch.asarray(x)), np.square(x))
    same(ch.pow(ch.asarray(x), 2), np.power(x, 2))
    same(ch.remainder(ch.asarray(x), ch.asarray(x)), np.array([0, 0], "i1"))
    for function in (ch.negative, ch.positive, ch.sign):
        with pytest.raises(TypeError, match="bool"):
            function(ch.asarray(x))


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "?"])
@pytest.mark.parametrize("scalar", [300, -1, 70000, 2**70])
def test_ints_that_a_float_result_holds(dtype, scalar):
    x = np.array([1, 0, 1], dtype)
    with np.errstate(all="ignore"):
        same(ch.asarray(x) / scalar, x / scalar)
        same(scalar / ch.asarray(x), scalar / x)


@pytest.mark.parametrize("array", [np.array(4), np.arange(3), np.arange(6).reshape(2, 3)])
@pytest.mark.parametrize("index", [(), (0,), (-1,), (5,), (0, 1), ((0, 1),), ((0,),), (0, 0, 0)])
def test_items(array, index):
    x = ch.asarray(array)
    try:
        expected = array.item(*index)
    except (ValueError, IndexError) as error:
        with pytest.raises(type(error)):
            x.item(*index)
        return
    got = x.item(*index)
    assert got == expected and type(got) is type(expected)


def test_parts_of_real_numbers():
    x = ch.asarray([1.5, 2.0])
    x.real[0] = 7
    assert x.tolist() == [7, 2] and x.imag.tolist() == [0, 0]
    assert x.conj().tolist() == x.conjugate().tolist() == [7, 2]
