"""Every elementwise function of the op table: op x dtype x backend x layout, against NumPy with the
row's bound.
"""

import numpy as np
import pytest
import scipy.special

import charl as ch
from charl.core.dtypes import as_dtype, to_numpy
from charl.ops.table import OPS
from tests import device, oracle

ALL = [as_dtype(d) for d in device.DTYPES]
ROWS = [
    row
    for row in OPS.values()
    if row.group == "elementwise" and hasattr(ch, row.name) and row.name not in ("where", "clip")
]
CASES = [(row.name, d.name) for row in ROWS for d in ALL if d.kind in row.kinds]
SIZE = 203
# where NumPy's own loops differ in the sign of a zero
ZERO_SIGN_OPEN = ("maximum", "minimum", "nextafter")


def reference(name):
    if name == "sigmoid":
        return lambda x: 1 / (1 + np.exp(-x))
    return scipy.special.erf if name == "erf" else getattr(np, OPS[name].numpy)


def expected(name, args):
    """NumPy's answer in NumPy's result dtype; inexact floats are computed in a wider one."""
    row, dtype = OPS[name], args[0].dtype
    function = reference(name)
    with np.errstate(all="ignore"):
        if name == "abs" and dtype.kind == "b":
            return args[0]
        if name == "signbit" and dtype.kind in "biu":
            return args[0] < 0
        if name == "reciprocal" and dtype.kind in "iu":
            return np.where(args[0] == 0, 0, function(np.where(args[0] == 0, 1, args[0]))).astype(
                dtype
            )
        if not oracle.is_float(dtype) and row.result == "float":
            like = np.exp if name in ("erf", "sigmoid") else function
            dtype = device.own(like(*(np.zeros(0, a.dtype) for a in args)).dtype)
            args = [oracle.cast(a, dtype) for a in args]
        if row.result == "bool" and oracle.is_float(dtype) and dtype.itemsize < 4:
            return function(*(a.astype(np.float32) for a in args))
        if oracle.is_float(dtype) and row.ulp:
            wide = {2: np.float32, 4: np.float64, 8: np.longdouble}[dtype.itemsize]
            if name == "erf" and wide is np.longdouble:  # scipy has none
                wide = np.float64
            return oracle.cast(np.asarray(function(*(a.astype(wide) for a in args))), dtype)
        if dtype == oracle.BFLOAT16 and name not in ("nextafter", "positive"):
            return np.asarray(function(*(a.astype(np.float32) for a in args))).astype(dtype)
        return np.asarray(function(*args))


def values(name, dtype, count):
    row = OPS[name]
    args = [oracle.fill((SIZE,), dtype, seed) for seed in range(count)]
    if row.domain and oracle.is_float(dtype):
        low, high = row.domain
        rng = np.random.default_rng(5)
        args = [rng.uniform(low, high, SIZE).astype(dtype) for _ in args]
    if name == "pow" and dtype.kind in "iu":
        args[1] = (args[1] & 7).astype(dtype)
    return args


def agrees(name, got, want, where, args=()):
    assert got.dtype == want.dtype and got.shape == want.shape, (where, got.dtype, want.dtype)
    row = OPS[name]
    skip = device.open_at(want, *args)
    got, want, *args = (z[~skip] for z in (got, want, *args))
    bound = device.ulp(name, row.ulp)
    if name == "logaddexp":  # where the result is near 0 it cancels: the bound is in ULP of x and y
        size = np.maximum.reduce([np.abs(z.astype(np.longdouble)) for z in (want, *args)])
        bound = bound * float(oracle.finfo(want.dtype).eps) * size
        assert oracle.close(got, want, np.where(np.isfinite(want), bound, 0)), where
    elif oracle.is_float(want.dtype) and bound:
        own = 1 if name == "erf" else 0  # scipy's own error
        assert oracle.ulps(got, want) <= bound + own, where
    elif name in ZERO_SIGN_OPEN:
        assert oracle.equal(got, want), where
    else:
        wrong = np.flatnonzero([not oracle.same(g, w) for g, w in zip(got.ravel(), want.ravel())])
        assert not wrong.size, (where, got.ravel()[wrong[:5]], want.ravel()[wrong[:5]])


@pytest.mark.parametrize("backend", device.BACKENDS)
@pytest.mark.parametrize("name, dtype", CASES)
def test_values_and_layouts(name, dtype, backend):
    dtype = to_numpy(getattr(ch, dtype))
    args = values(name, dtype, OPS[name].arity)
    function = getattr(ch, name)
    with ch.config(backend=backend):
        x = [ch.asarray(a) for a in args]
        views = {
            "strided": (slice(3, 190, 2),),
            "negative": (slice(None, None, -1),),
            "zero-size": (slice(5, 5),),
            "0-d": (7,),
        }
        parts = {what: function(*(t[at] for t in x)) for what, at in views.items()}
        parts["contiguous"] = function(*x)
        square = [ch.reshape(t[:196], (14, 14)) for t in x]
        parts["transposed"] = function(square[0].T, *square[1:])
        parts["broadcast"] = function(square[0][:, 2:3], *(t[3] for t in square[1:]))
        ch.eval(*parts.values())
        operands = {what: [np.asarray(a[at]) for a in args] for what, at in views.items()}
        operands["contiguous"] = args
        squares = [a[:196].reshape(14, 14) for a in args]
        operands["transposed"] = [squares[0].T, *squares[1:]]
        operands["broadcast"] = np.broadcast_arrays(
            squares[0][:, 2:3], *(a[3] for a in squares[1:])
        )
        for what, given in operands.items():
            agrees(name, parts[what].numpy(), expected(name, given), what, given)


@pytest.mark.parametrize("name", sorted(row.name for row in ROWS if row.arity == 2))
def test_weak_scalars(name):
    """A Python scalar takes the array's dtype, on either side."""
    function, same = getattr(ch, name), reference(name)
    kinds = OPS[name].kinds
    for dtype, scalar in (
        ("float32", 2.5),
        ("float32", 2),
        ("float16", 1.5),
        ("int8", 3),
        ("uint16", 2),
    ):
        if np.dtype(dtype).kind not in kinds:
            continue
        a = np.abs(oracle.fill((9,), dtype, 3, "whole"))
        x = ch.asarray(a)
        with np.errstate(all="ignore"):
            for got, want in (
                (function(x, scalar), same(a, scalar)),
                (function(scalar, x), same(scalar, a)),
            ):
                want = device.narrow(want)
                bound = device.ulp(name, OPS[name].ulp)
                if want.dtype.kind == "f" and bound:
                    assert oracle.ulps(got.numpy(), want) <= bound
                else:
                    assert oracle.equal(got.numpy(), want), (name, dtype, scalar)


@pytest.mark.parametrize("left", [d.name for d in ALL])
def test_promotion_of_mixed_dtypes(left):
    for right in ALL:
        if "bfloat16" in (left, right.name):
            continue
        a = oracle.fill((40,), left, 1, "whole")
        b = oracle.fill((40,), right.name, 2, "whole")
        got = ch.add(ch.asarray(a), ch.asarray(b))
        assert oracle.same(got.numpy(), device.narrow(np.add(a, b))), right
        for name in ("divide", "copysign", "less", "maximum"):
            with np.errstate(all="ignore"):
                want = device.narrow(getattr(np, name)(a, b))
            found = getattr(ch, name)(ch.asarray(a), ch.asarray(b)).numpy()
            if want.dtype.kind == "f" and device.ulp(name, 0):
                assert oracle.ulps(found, want) <= device.ulp(name, 0), name
            else:
                assert oracle.equal(found, want), name
        assert got.dtype == device.own(ch.result_type(getattr(ch, left), right).dtype)


@pytest.mark.parametrize("source", [d.name for d in ALL])
@pytest.mark.parametrize("backend", device.BACKENDS)
def test_casts(source, backend):
    a = oracle.fill((SIZE,), oracle.BY_NAME[source], 11)
    with ch.config(backend=backend):
        x = ch.asarray(a)
        out = {d: ch.astype(x[::-1], d) for d in ALL}
        ch.eval(*out.values())
        for d, got in out.items():
            want = oracle.cast(a[::-1], to_numpy(d))
            kept = ~device.open_at(a[::-1], want)
            assert oracle.same(got.numpy()[kept], want[kept]), d


def test_clip():
    rng = np.random.default_rng(0)
    for dtype in ("int8", "uint16", "float32", device.FLOAT):
        a = oracle.fill((60,), dtype, 4)
        for low, high in ((1, 5), (None, 3), (2, None), (5, 1)):
            want = np.clip(a, low, high)
            kept = ~device.open_at(want)
            assert oracle.equal(ch.clip(ch.asarray(a), low, high).numpy()[kept], want[kept])
    a, low = (rng.normal(size=shape).astype(device.FLOAT) for shape in ((4, 5), 5))
    assert oracle.same(ch.clip(ch.asarray(a), ch.asarray(low), None).numpy(), np.clip(a, low, None))
    small = ch.clip(ch.asarray(np.array([0, 100, 255], np.uint8)), -5, 300)
    assert small.dtype == ch.uint8 and small.tolist() == [0, 100, 255]


def test_real_valued_complex_functions():
    x = ch.asarray([1.5, -2.0])
    assert ch.real(x).tolist() == ch.conj(x).tolist() == [1.5, -2.0]
    assert ch.imag(x).tolist() == [0.0, 0.0] and ch.imag(x).dtype == device.FLOAT


def test_errors_at_the_call():
    x = ch.ones((2, 3))
    with pytest.raises(ValueError, match="broadcast"):
        ch.add(x, ch.ones(2))
    with pytest.raises(TypeError, match="bitwise_and"):
        ch.bitwise_and(x, x)
    with pytest.raises(TypeError):
        ch.add(x, 1j)
    with pytest.raises(TypeError):
        ch.exp("text")
    with pytest.raises(OverflowError):
        ch.add(ch.ones(2, dtype=ch.uint8), 300)
    with pytest.raises(TypeError, match="subtract"):
        ch.subtract(ch.asarray([True]), ch.asarray([False]))
