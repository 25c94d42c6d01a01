"""Functions of the api against NumPy's of the same name, on both backends."""

import itertools
import operator

import numpy as np
import pytest

import charl as ch
from tests import device, oracle

RNG = np.random.default_rng(2)
A = RNG.normal(size=(4, 5, 6)).astype(device.FLOAT)
F = RNG.normal(size=(33, 70)).astype(np.float32)
N = RNG.integers(-9, 9, (6, 7))
B = RNG.integers(0, 2, (5, 8)).astype(bool)
CREATION = ("arange", "linspace", "eye", "zeros", "ones", "full")
U = RNG.integers(0, 200, (3, 4)).astype(np.uint8)


@pytest.fixture(params=device.BACKENDS, autouse=True)
def backend(request):
    with ch.config(backend=request.param):
        yield


def both(name, *args, exact=True, **kw):
    """The function of both libraries on equal arguments."""
    ours = [ch.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
    with np.errstate(all="ignore"):
        want = getattr(np, name)(*args, **kw)
        if name in CREATION and "dtype" not in kw:
            want = getattr(np, name)(*args, dtype=made(want.dtype), **kw)
    kw = {k: getattr(ch, v.name) if isinstance(v, np.dtype) else v for k, v in kw.items()}
    got = getattr(ch, name)(*ours, **kw)
    agree(got, want, exact)


def made(dtype):
    """The default dtype of this device for NumPy's."""
    return {"i": device.INT, "f": device.FLOAT}.get(dtype.kind, dtype)


def agree(got, want, exact=True):
    if isinstance(want, tuple):
        assert len(got) == len(want)
        for g, w in zip(got, want):
            agree(g, w, exact)
        return
    got, want = got.numpy(), device.narrow(want)
    if exact:
        alike = oracle.same if exact is True else oracle.equal
        assert alike(got, want), (got, want)
    else:
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=200 * oracle.finfo(want.dtype).eps, atol=1e-5)


AXES = [None, 0, 1, -1, 2, (0, 2), (1,), (2, 1, 0), ()]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["max", "min", "any", "all", "count_nonzero"])
def test_exact_reductions(name, axis):
    for keepdims in (False, True):
        both(name, A, axis=axis, keepdims=keepdims)
        both(name, np.asarray(A > 0), axis=axis, keepdims=keepdims)
        both(name, np.asarray(A * 9, np.int8), axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std"])
def test_rounded_reductions(name, axis):
    for keepdims in (False, True):
        both(name, A, axis=axis, keepdims=keepdims, exact=False)
        both(name, A.astype(np.float32), axis=axis, keepdims=keepdims, exact=False)
        whole = np.asarray(A * 3, np.int16)
        both(name, whole, axis=axis, keepdims=keepdims, exact=name in ("sum", "prod"))


@pytest.mark.parametrize("dtype", device.NAMES)
def test_dtypes_of_reductions(dtype):
    x = oracle.fill((5, 4), dtype, 1, "whole")
    for name in ("sum", "prod", "mean", "var", "std", "max", "min"):
        want = device.own(getattr(np, name)(x).dtype)
        assert getattr(ch, name)(ch.asarray(x)).numpy().dtype == want, name
    for name in ("cumulative_sum", "cumulative_prod"):
        assert (
            getattr(ch, name)(ch.asarray(x), axis=0).numpy().dtype
            == getattr(np, name)(x, axis=0).dtype
        )
    both("sum", x, dtype=device.FLOAT)
    both("prod", x, axis=1, dtype=np.dtype("int16"))


def test_float16_is_reduced_in_float32():
    x = np.full(5000, 1.0, np.float16)
    assert ch.sum(ch.asarray(x)).item() == 5000.0
    assert ch.mean(ch.asarray(np.full(300, 60000, np.float16))).item() == float(np.float16(60000))
    ones = ch.ones(1000, dtype=ch.bfloat16)
    assert ch.sum(ones).item() == 1000.0 and ch.sum(ones).dtype == ch.bfloat16


def test_variance_with_correction():
    for correction in (1, 0.5, 2):
        got = ch.var(ch.asarray(A), axis=1, correction=correction)
        agree(got, np.var(A, axis=1, correction=correction), exact=False)
    one = ch.std(ch.asarray([2.0]), correction=1)
    assert np.isnan(one.numpy())
    with pytest.raises(TypeError):
        ch.var(ch.ones(3), correction="1")


def test_empty_reductions():
    empty = np.zeros((0, 3), device.FLOAT)
    for name in ("sum", "prod", "any", "all"):
        both(name, empty, axis=0)
        both(name, empty)
    assert np.isnan(ch.mean(ch.asarray(empty)).numpy())
    for name in ("max", "min", "argmax", "argmin"):
        with pytest.raises(ValueError, match=name):
            getattr(ch, name)(ch.asarray(empty), axis=0)
        assert getattr(ch, name)(ch.asarray(empty), axis=1).shape == (0,)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arg_extremes(name):
    ties = np.array([[1, 3, 3, 0], [0, 0, 5, 5]])
    for x in (A, N, B, U, F, ties):
        for axis in (None, *range(-x.ndim, x.ndim)):
            for keepdims in (False, True):
                both(name, x, axis=axis, keepdims=keepdims)
    for row in ([1.0, np.nan, 9.0, np.nan], [np.nan] * 3, [np.inf, -np.inf], [-0.0, 0.0]):
        both(name, np.array(row, device.FLOAT))


def test_scans():
    for name in ("cumulative_sum", "cumulative_prod"):
        for x in (A, N, U, F, B):
            for axis in range(x.ndim):
                # a GPU adds in an order of its own
                exact = not (device.GPU and oracle.is_float(x.dtype))
                both(name, x, axis=axis, exact=exact)
                both(name, x, axis=axis, include_initial=True, exact=exact)
        both(name, A[0, 0], exact=not device.GPU)
        quarters = np.arange(70000, dtype=device.FLOAT) % 7 * 0.25
        both(name, quarters, exact=not (device.GPU and name == "cumulative_prod"))
        with pytest.raises(ValueError, match="axis"):
            getattr(ch, name)(ch.asarray(A))
    assert ch.cumulative_sum(ch.asarray(5)).tolist() == [5]


def test_where_searching_and_sorting():
    both("where", B[:, :1], A[0][:, :1], 3)
    both("where", N > 0, N, 2.5)
    both("nonzero", N)
    both("nonzero", A > 0)
    ordered = np.sort(A[0, 0])
    for side in ("left", "right"):
        both("searchsorted", ordered, A[1], side=side)
        both("searchsorted", ordered, 0.25, side=side)
    order = np.argsort(A[0, 0])
    got = ch.searchsorted(ch.asarray(A[0, 0]), ch.asarray(A[1]), sorter=ch.asarray(order))
    agree(got, np.searchsorted(A[0, 0], A[1], sorter=order))
    with_nan = A.copy()
    with_nan[0, 0, :3] = np.nan
    for x in (A, N, B, U, with_nan):
        for axis in range(x.ndim):
            both("sort", x, axis=axis)
            both("argsort", x, axis=axis, stable=True)
            down = ch.argsort(ch.asarray(x), axis=axis, descending=True)
            agree(
                ch.take_along_axis(ch.asarray(x), down, axis=axis),
                np.flip(np.sort(x, axis=axis), axis),
            )
    assert ch.argsort(ch.asarray([1, 0, 1, 0]), descending=True).tolist() == [0, 2, 1, 3]


def test_sets():
    x = np.array([[3, 1, 3], [2, 1, 0]])
    for name in ("unique_all", "unique_counts", "unique_inverse"):
        both(name, x)
    agree(ch.unique_values(ch.asarray(x)), np.unique(x))
    found = ch.unique_counts(ch.asarray([np.nan, 1.0, np.nan, -0.0, 0.0]))
    assert found.counts.tolist() == [2, 1, 1, 1]
    both("isin", x, np.array([1, 7]))
    both("isin", x, np.array([1, 7]), invert=True)
    both("isin", x, 3)


def test_manipulation():
    both("concat", (N, N[:2]))
    agree(
        ch.concat([ch.asarray(N), ch.asarray(device.narrow(N[:2] * 1.5))]),
        np.concat([N, N[:2] * 1.5]),
    )
    agree(
        ch.concat([ch.asarray(A), ch.asarray(A[:, :, :2])], axis=-1),
        np.concat([A, A[:, :, :2]], axis=-1),
    )
    agree(ch.concat([ch.asarray(N), ch.asarray(U)], axis=None), np.concat([N, U], axis=None))
    agree(
        ch.concat([ch.zeros((0, 3)), ch.ones((2, 3))]),
        np.concat([np.zeros((0, 3)), np.ones((2, 3))]),
    )
    for axis in (0, 1, -1):
        agree(
            ch.stack([ch.asarray(N), ch.asarray(N + 1)], axis=axis), np.stack([N, N + 1], axis=axis)
        )
    for axis in range(3):
        agree(ch.unstack(ch.asarray(A), axis=axis), np.unstack(A, axis=axis))
        both("expand_dims", A, axis)
        both("flip", A, axis=axis)
        both("roll", A, 2, axis=axis)
        both("roll", A, -7, axis=axis)
        both("repeat", A, 3, axis=axis)
        both("moveaxis", A, axis, -1)
    both("expand_dims", A, (0, -1))
    both("flip", A)
    both("flip", A, axis=(0, 2))
    both("roll", A, 5)
    both("roll", A, (1, 2), axis=(0, 2))
    both("roll", A, (1, 2), axis=(1, 1))
    both("repeat", N, 2)
    both("repeat", N, np.array([1, 0, 2, 3, 1, 1]), axis=0)
    both("moveaxis", A, (0, 1), (-1, 0))
    for window, axis in ((3, 1), ((2, 3), (2, 0)), ((1, 2, 3), None)):
        got = ch.sliding_window_view(ch.asarray(A), window, axis)
        want = np.lib.stride_tricks.sliding_window_view(A, window, axis)
        assert got.shape == want.shape and np.array_equal(got.numpy(), want)
    got = ch.sliding_window_view(ch.asarray(A), (2, 3), (0, 2), stride=(1, 2), dilation=(1, 2))
    want = np.lib.stride_tricks.sliding_window_view(A, (2, 5), (0, 2))[:, :, ::2, :, ::2]
    assert np.array_equal(got.numpy(), want)
    both("permute_dims", A, (2, 0, 1))
    both("permute_dims", A, (-1, 0, 1))
    both("reshape", A, (-1, 10))
    both("squeeze", A[:, :1, :1], (1, 2))
    both("broadcast_to", A[0], (2, 5, 6))
    both("broadcast_arrays", N[0], N[:, :1])
    both("tile", N, (2, 3))
    both("tile", N, (2, 1, 2))
    both("tile", N, (2,))
    both("diff", A)
    both("diff", A, axis=0, n=2)
    both("diff", N, n=9)
    both("diff", B)
    agree(
        ch.diff(ch.asarray(N), prepend=ch.asarray(N[:, :1]), append=0),
        np.diff(N, prepend=N[:, :1], append=0),
    )
    assert ch.broadcast_shapes((3, 1), (1, 4), (4,)) == (3, 4)
    assert ch.broadcast_shapes() == ()
    assert ch.broadcast_shapes((None, 1), (3, 4)) == (3, 4)


def test_views_alias_and_copies_do_not():
    x = ch.zeros((2, 3))
    for view in (
        ch.permute_dims(x, (1, 0)),
        ch.reshape(x, (6,)),
        ch.expand_dims(x, 0),
        ch.flip(x),
        ch.moveaxis(x, 0, 1),
        ch.matrix_transpose(x),
        *ch.unstack(x),
        x.T,
        x.ravel(),
        x[1:],
    ):
        before = x.numpy().copy()
        view += 1
        assert (x.numpy() != before).any()
    before = x.numpy().copy()
    for other in (
        ch.reshape(x, (6,), copy=True),
        x.flatten(),
        x.copy(),
        ch.astype(x, x.dtype),
        ch.concat([x]),
        ch.roll(x, 0),
        ch.tile(x, (1,)),
        ch.asarray(x, copy=True),
        ch.sort(x),
        +x,
    ):
        other += 1
        assert (x.numpy() == before).all()
    with pytest.raises(ValueError, match="copy"):
        ch.reshape(x.T, (6,), copy=False)


def test_take():
    index = np.array([[0, -1], [2, 1]])
    for axis in range(3):
        both("take", A, index, axis=axis)
        both("take_along_axis", A, np.argsort(A, axis=axis), axis=axis)
    both("take", A[0, 0], index)
    both("take", N, np.abs(index).astype(np.uint8), axis=1)
    both("take_along_axis", N, np.array([[0, -1]]), axis=1)
    bad = ch.take(ch.asarray(N), ch.asarray([0, 6]), axis=0)
    with pytest.raises(IndexError, match="test_functions.py"):
        ch.eval(bad)


@pytest.mark.parametrize(
    "dtype", sorted({"float32", device.FLOAT.name, "float16", "int32", "uint8", "bool"})
)
def test_products(dtype):
    def make(*shape):
        return oracle.fill(shape, dtype, sum(shape), "whole")

    # small whole numbers: products and sums are exact, but for the sign of a zero
    exact = "but zero" if dtype != "float16" else False
    for left, right in (
        ((5, 7), (7, 3)),
        ((7,), (7, 3)),
        ((5, 7), (7,)),
        ((7,), (7,)),
        ((2, 5, 7), (7, 3)),
        ((4, 1, 5, 7), (3, 7, 2)),
        ((5, 0), (0, 3)),
        ((130, 300), (300, 70)),
        ((1, 9), (9, 1)),
    ):
        both("matmul", make(*left), make(*right), exact=exact)
    if dtype == "bool":
        return
    both("vecdot", make(4, 6), make(6), exact=exact)
    both("vecdot", make(6, 4), make(6, 4), axis=-2, exact=exact)
    both("tensordot", make(3, 4, 5), make(4, 5, 2), exact=exact)
    both("tensordot", make(3, 4, 5), make(5, 3), axes=((0, 2), (1, 0)), exact=exact)
    both("tensordot", make(3), make(4), axes=0, exact=exact)
    both("matrix_transpose", make(2, 3, 4))


def test_mixed_matmul():
    got = ch.matmul(ch.asarray(N), ch.asarray(device.narrow(N.T * 0.5)))
    agree(got, N @ (N.T * 0.5))


@pytest.mark.parametrize("backend", device.BACKENDS)
@pytest.mark.parametrize(
    "shape", [(5, 7, 3), (70, 300, 33), (2, 2500, 9), (4, 300, 1), (1, 40, 20)]
)
def test_products_of_small_integers(backend, shape):
    m, k, n = shape
    rng = np.random.default_rng(k)
    for left, right in (("int8", "int8"), ("uint8", "int8"), ("int16", "int16"), ("bool", "uint8")):
        a = rng.integers(
            0 if left in ("uint8", "bool") else -128, 2 if left == "bool" else 128, (m, k)
        )
        a, b = a.astype(left), rng.integers(0, 128, (k, n)).astype(right)
        want = a.astype("int64") @ b.astype("int64")
        with ch.config(backend=backend):
            got = ch.matmul(ch.asarray(a), ch.asarray(b), dtype=ch.int32).numpy()
            turned = ch.matmul(ch.asarray(b).T, ch.asarray(a).T, dtype="int32").numpy()
        assert got.dtype == turned.dtype == np.int32
        np.testing.assert_array_equal(got, want.astype("int32"))
        np.testing.assert_array_equal(turned.T, got)


def test_matmul_dtype():
    a = np.arange(6, dtype="int8").reshape(2, 3)
    for dtype in ("int16", "float32", device.FLOAT.name):
        want = np.matmul(a, a.T, dtype=dtype)
        got = ch.matmul(ch.asarray(a), ch.asarray(a.T), dtype=dtype)
        assert got.dtype.name == want.dtype.name
        np.testing.assert_array_equal(got.numpy(), want)
    for given, dtype in (("float32", "int32"), ("int8", "uint8"), ("int32", "bool")):
        x = ch.asarray(a.astype(given))
        with pytest.raises(TypeError, match=f"matmul: {given} is not cast to {dtype}"):
            ch.matmul(x, x.T, dtype=dtype)


def test_products_that_are_recorded_at_once():
    """All ranks, as the operator and as the function, against NumPy; and what is left to the rules."""
    for left, right in itertools.product(((), (3,), (2, 3), (4, 2, 3), (1, 2, 3), (5, 4, 2, 3)),
                                         ((), (3,), (3, 2), (4, 3, 2), (5, 4, 3, 2), (2, 2))):  # fmt: skip
        a, b = (oracle.fill(s, "float32", len(s), "whole") for s in (left, right))
        try:
            want = a @ b
        except ValueError:
            for product in (ch.matmul, operator.matmul):
                with pytest.raises(ValueError, match="matmul"):
                    product(ch.asarray(a), ch.asarray(b))
            continue
        for product in (ch.matmul, operator.matmul):
            got = product(ch.asarray(a), ch.asarray(b))
            assert got.shape == np.shape(want)
            np.testing.assert_array_equal(got.numpy(), want)


def test_creation():
    for args in ((5,), (2, 9, 3), (9, 2, -2), (0.0, 1.0, 0.1), (1, 0), (3, 10, 2.5)):
        both("arange", *args)
        both("arange", *args, dtype=np.dtype("float32"))
    both("arange", 200, 260, dtype=np.dtype("uint16"))
    both("arange", 5, dtype=np.dtype("float16"))
    for args in ((0.0, 1.0, 7), (1, -3, 5), (2.0, 2.0, 3), (0, 10, 0), (0, 10, 1), (0, 1e-320, 5)):
        for endpoint in (True, False):
            # NumPy works in float64, charl in the device's float, and a GPU may fuse i * step + start
            for kw in ({}, {"dtype": np.dtype("float32")}):
                both("linspace", *args, endpoint=endpoint, exact=not device.GPU, **kw)
    both("linspace", 0, 10, 7, dtype=np.dtype("int32"))
    for k in (-2, 0, 1, 9):
        both("eye", 4, 6, k=k)
        both("tril", A, k=k)
        both("triu", N, k=k)
    both("eye", 3, dtype=np.dtype("int8"))
    for indexing in ("xy", "ij"):
        both("meshgrid", np.arange(3), np.arange(4), np.arange(2), indexing=indexing)
        both("meshgrid", np.arange(3), indexing=indexing)
    for name in ("zeros", "ones"):
        both(name, (2, 3))
        both(name, 4, dtype=np.dtype("uint8"))
        both(name + "_like", N)
        both(name + "_like", N, dtype=np.dtype("bool"))
    both("full", (2, 2), 7)
    both("full", 3, 2.5, dtype=np.dtype("float16"))
    both("full", 3, True)
    both("full_like", N, 3)
    assert ch.empty((2, 3)).shape == ch.empty_like(ch.ones((2, 3))).shape == (2, 3)


def test_data_types():
    assert ch.isdtype(ch.float32, ("integral", "real floating"))
    assert not ch.isdtype(ch.int8, "unsigned integer")
    assert ch.can_cast(ch.uint8, ch.int16) and not ch.can_cast(ch.int64, ch.float32)
    assert ch.result_type(ch.ones(2, dtype=ch.int8), 3, 2.5) == device.FLOAT
    assert ch.result_type(ch.bool, 3) == ch.int64
    for name in ("float16", "float32", "float64", "bfloat16"):
        ours, theirs = ch.finfo(getattr(ch, name)), oracle.finfo(oracle.BY_NAME[name])
        for field in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(ours, field) == float(getattr(theirs, field)), (name, field)
    for name in ("int8", "uint64", "int64"):
        ours, theirs = ch.iinfo(getattr(ch, name)), np.iinfo(name)
        assert (ours.bits, ours.max, ours.min) == (theirs.bits, theirs.max, theirs.min)


def test_save_and_load(tmp_path):
    for x in (
        A,
        N,
        B,
        F[::2, ::-1],
        np.asarray(3.5, np.float16),
        oracle.fill((4,), oracle.BFLOAT16, 0),
    ):
        ch.save(tmp_path / "x.npy", ch.asarray(x))
        assert oracle.same(ch.load(tmp_path / "x.npy").numpy(), x)
    assert oracle.same(
        np.load(tmp_path / "x.npy").view(oracle.BFLOAT16), oracle.fill((4,), oracle.BFLOAT16, 0)
    )
    np.save(tmp_path / "c.npy", np.array([1j]))
    with pytest.raises(ValueError, match="complex"):
        ch.load(tmp_path / "c.npy")
    np.savez(tmp_path / "z.npz", a=A)
    with pytest.raises(ValueError, match="npz"):
        ch.load(tmp_path / "z.npz")


@pytest.mark.parametrize(
    "error, message, call",
    [
        (IndexError, "sum", lambda x: ch.sum(x, axis=2)),
        (ValueError, "max", lambda x: ch.max(x, axis=(0, 0))),
        (TypeError, "mean", lambda x: ch.mean(x, axis="0")),
        (
            ValueError,
            "squeeze: axis 1 has size 3, must be 1; shape is \\(2, 3\\)",
            lambda x: ch.squeeze(x, 1),
        ),
        (ValueError, "reshape", lambda x: ch.reshape(x, (4, 2))),
        (ValueError, "permute_dims", lambda x: ch.permute_dims(x, (0, 0))),
        (ValueError, "sliding_window_view", lambda x: ch.sliding_window_view(x, 4, 1)),
        (ValueError, "sliding_window_view", lambda x: ch.sliding_window_view(x, (1, 1), 1)),
        (ValueError, "sliding_window_view", lambda x: ch.sliding_window_view(x, (1, 1), (0, 0))),
        (ValueError, "sliding_window_view", lambda x: ch.sliding_window_view(x, 2, 1, stride=0)),
        (TypeError, "sliding_window_view", lambda x: ch.sliding_window_view(x, 2, 1, stride=1.0)),
        (ValueError, "matmul", lambda x: ch.matmul(x, x)),
        (ValueError, "matmul", lambda x: ch.matmul(x, 2)),
        (ValueError, "concat", lambda x: ch.concat([x, ch.ones((2, 2))])),
        (ValueError, "concat", lambda x: ch.concat([])),
        (ValueError, "stack", lambda x: ch.stack([x, ch.ones(3)])),
        (TypeError, "take", lambda x: ch.take(x, ch.ones(2), axis=0)),
        (ValueError, "broadcast_to", lambda x: ch.broadcast_to(x, (2, 4))),
        (ValueError, "tril", lambda x: ch.tril(ch.ones(3))),
        (ValueError, "device", lambda x: ch.zeros(2, device="tpu")),
        (ValueError, "negative", lambda x: ch.zeros(-1)),
        (TypeError, "shape", lambda x: ch.zeros(2.5)),
        (ValueError, "step", lambda x: ch.arange(1, 2, 0)),
        (OverflowError, "full", lambda x: ch.full(2, 300, dtype=ch.int8)),
        (ValueError, "side", lambda x: ch.searchsorted(ch.ones(2), 1, side="middle")),
        (ValueError, "nonzero", lambda x: ch.nonzero(ch.asarray(3))),
        (ValueError, "tensordot", lambda x: ch.tensordot(x, x, axes=1)),
        (TypeError, "eval", lambda x: ch.eval(3)),
        (ValueError, "kind", lambda x: ch.isdtype(ch.int8, "real")),
        (ValueError, "finfo", lambda x: ch.finfo(ch.int8)),
        (ValueError, "roll", lambda x: ch.roll(x, (1, 2), axis=(0,) * 3)),
    ],
)
def test_argument_errors_name_the_function(error, message, call):
    with pytest.raises(error, match=message):
        call(ch.ones((2, 3)))


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_where_of_plain_operands_and_others(dtype):
    """Tensors of one shape and dtype, and floats beside a number, are recorded on a path of their own."""
    mask = np.array([[True, False, True], [False, True, False]])
    x, y = np.arange(6).reshape(2, 3).astype(dtype), np.full((2, 3), 9).astype(dtype)
    m, a, b = ch.asarray(mask), ch.asarray(x), ch.asarray(y)
    cases = [(a, b, x, y), (a, 0, x, 0), (7, b, 7, y), (a, 0.5, x, 0.5), (a, True, x, True)]
    cases += [(a, b[0], x, y[0]), (ch.asarray(x.astype("int8")), b, x.astype("int8"), y)]
    for first, second, left, right in cases:
        found, want = ch.where(m, first, second), np.where(mask, left, right)
        assert found.dtype.name == device.own(want.dtype).name
        assert found.tolist() == want.tolist()
    assert ch.where(m[0], a, b).tolist() == np.where(mask[0], x, y).tolist()
    assert ch.where(a, a, b).tolist() == np.where(x, x, y).tolist()
    with pytest.raises(ValueError, match="where"):
        ch.where(m, a[:, :2], b)


def test_functions_kept_for_their_shapes_may_still_look_at_values():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    y = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    axis = ch.asarray(1)
    for _ in range(3):
        found = ch.tensordot(ch.asarray(x), ch.asarray(y), axes=((0, 1), (0, 1)))
        assert np.array_equal(found, np.tensordot(x, y, axes=((0, 1), (0, 1))))
        assert np.array_equal(
            ch.vecdot(ch.asarray(x), ch.asarray(x), axis=axis - 2), (x * x).sum(1)
        )
        assert np.array_equal(ch.tril(ch.asarray(x), k=axis - 1), np.tril(x))
    with pytest.raises(ValueError, match="must name"):
        ch.permute_dims(ch.asarray(x), (0, 0))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_clip_of_floats_by_numbers(dtype):
    x = np.asarray([-3.0, -0.0, 0.5, np.nan, np.inf, -np.inf], device.own(dtype))
    for bounds in ((-1, 1), (None, 0.25), (0.1, None), (None, None), (2, 1), (np.nan, 1.0)):
        with np.errstate(invalid="ignore"):
            expected = np.clip(x, *bounds)
        found = ch.clip(ch.asarray(x), *bounds)
        assert found.dtype == expected.dtype and np.array_equal(found, expected, equal_nan=True)


def test_methods_belong_to_the_class():
    x = ch.asarray([1.0, 2.0])
    assert float(type(x).sum(x)) == 3.0
    assert "mean" in dir(x) and type(x).mean.__doc__
    with pytest.raises(AttributeError, match="no attribute 'summ'"):
        x.summ  # noqa: B018


def test_reading_by_an_array_of_integers_or_a_mask():
    x = np.arange(24.0, dtype=np.float32).reshape(4, 3, 2)
    for index in (np.asarray([3, -1, 0], np.int8), np.zeros((2, 0), np.int64), np.asarray(2)):
        assert np.array_equal(ch.asarray(x)[ch.asarray(index)], x[index])
    for mask in (x > 7, x[:, :, 0] > 7, x[:, 0, 0] > 99, np.asarray(True)):
        found = (ch.asarray(x) * 1)[ch.asarray(mask)]
        assert found.shape == x[mask].shape and np.array_equal(found, x[mask])
    with pytest.raises(IndexError, match="boolean index did not match"):
        ch.asarray(x)[ch.asarray(x[:3] > 7)]
    with pytest.raises(IndexError):
        ch.eval(ch.asarray(x)[ch.asarray([4])])


@pytest.mark.parametrize("dtype", [None, "float16", "bool", "int8", "uint64", "float32"])
@pytest.mark.parametrize("shape", [3, (2, 3), (), (0, 5), (2, 0, 1 << 40)])
def test_filled_arrays(shape, dtype):
    chosen = None if dtype is None else getattr(ch, dtype)
    for name, value in (("zeros", 0), ("ones", 1), ("empty", 0)):
        got = getattr(ch, name)(shape, dtype=chosen)
        want = np.full(shape, value, dtype or device.own(np.dtype("float64")).name)
        assert got.shape == want.shape and got.dtype.name == want.dtype.name
        assert np.array_equal(got, want)
        like = getattr(ch, f"{name}_like")(got)
        assert like.shape == got.shape and like.dtype == got.dtype
