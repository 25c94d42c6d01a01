"""Evaluates Expansions with numpy alone: an oracle for the emitters, independent of them."""

import ctypes
import ctypes.util

import ml_dtypes
import numpy as np

from charl.core.dtypes import BY_SHORT
from charl.ops.trace import Expansion

NUMPY = {
    d.short: np.dtype(d.name if d.short != "bf16" else ml_dtypes.bfloat16)
    for d in BY_SHORT.values()
}
_libm = ctypes.CDLL(ctypes.util.find_library("m"))
_fma = {}
for _short, _name, _c in (("f32", "fmaf", ctypes.c_float), ("f64", "fma", ctypes.c_double)):
    _f = getattr(_libm, _name)
    _f.restype, _f.argtypes = _c, [_c] * 3
    _fma[_short] = np.frompyfunc(_f, 3, 1)


def fma(x, y, z):
    """Correctly rounded x * y + z. f32 in f64 (rounded to odd, so that only one rounding shows);
    f64 by libm.
    """
    if x.dtype == np.float64:
        return _fma["f64"](x, y, z).astype(np.float64)
    product = x.astype(np.float64) * y  # exact
    z = z.astype(np.float64)
    s = product + z
    t = s - product
    error = (product - (s - t)) + (z - t)
    bits = np.atleast_1d(s).view(np.int64)
    finite = np.isfinite(s) & (error != 0) & (bits & 1 == 0)
    toward = np.where((error > 0) == (s > 0), 1, -1)
    return (
        np.where(finite, bits + toward, bits).view(np.float64).reshape(s.shape).astype(np.float32)
    )


def cast(x, dtype):
    """The value conversion of the contract: saturating, NaN to 0, one rounding."""
    target = NUMPY[dtype]
    kind = BY_SHORT[dtype].kind
    if kind == "b":
        return x != 0
    if kind in "iu" and x.dtype.kind not in "iub":
        x = x.astype(np.float64)
        info = np.iinfo(target)
        inside = (
            (x > info.min - 1.0) & (x < info.max + 1.0)
            if target.itemsize < 8
            else (x >= float(info.min)) & (x < float(info.max))
        )
        y = np.where(inside, x, 0).astype(target)
        most, least = target.type(info.max), target.type(info.min)
        return np.where(
            inside, y, np.where(np.isnan(x), target.type(0), np.where(x > 0, most, least))
        )
    if (
        dtype == "bf16"
        and x.dtype.itemsize > 4
        or dtype in ("bf16", "f16")
        and x.dtype.kind in "iu"
    ):
        x = _round_to_odd(x)
    return x.astype(target)


def _round_to_odd(x):
    """f32 that keeps in its last bit whether anything was lost."""
    wide = x.astype(np.longdouble)
    f = wide.astype(np.float32)
    bits = np.atleast_1d(f).view(np.uint32)
    away = np.abs(f.astype(np.longdouble)) > np.abs(wide)
    odd = (bits - away) | np.uint32(1)
    same = (f == wide) | np.isnan(wide)
    return np.where(same, bits, odd).astype(np.uint32).view(np.float32).reshape(x.shape)


_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "frem": np.fmod,
    "copysign": np.copysign,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "shl": np.left_shift,
    "shr": np.right_shift,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "neg": np.negative, "sqrt": np.sqrt, "fabs": np.abs, "rint": np.rint,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "fma": fma, "select": np.where,
}  # fmt: skip


def _integer_division(op, x, y):
    """Truncating, as the hardware's. Asserts the preconditions."""
    assert (y != 0).all()
    if x.dtype.kind == "i":
        assert not ((x == np.iinfo(x.dtype).min) & (y == -1)).any()
    q = np.fmod(x, y)
    return q if op == "irem" else (x - q) // y


def assert_scaled(product, y, n):
    """Any way to y * 2**n must do. n is unsigned, modulo its width."""
    finite = np.isfinite(product) & np.isfinite(y)
    exponent = n.view(f"i{n.itemsize}")[finite].astype(np.int32)
    np.testing.assert_array_equal(product[finite], np.ldexp(y[finite], exponent))


def evaluate(e: Expansion, *operands):
    """The result of an Expansion on 1-D arrays of its dtypes, all of one length."""
    n = len(operands[0])
    values = list(operands)
    for x, dtype in zip(operands, e.args):
        assert x.dtype == NUMPY[dtype], (x.dtype, dtype)
    with np.errstate(all="ignore"):
        for p in e.code:
            args = [values[a] for a in p.args]
            target = NUMPY[p.dtype]
            if p.op == "const":
                y = np.full(n, p.attr, target)
            elif p.op == "lut":
                y = np.array(p.attr, target)[args[0]]
            elif p.op == "rare":
                cond, y, *rest = args
                if cond.any():
                    y = y.copy()
                    y[cond] = evaluate(p.attr, *(x[cond] for x in rest))
            elif p.op == "scaled":
                y = args[0]
                assert_scaled(y, *args[1:])
            elif p.op == "cast":
                y = cast(args[0], p.dtype)
            elif p.op == "bitcast":
                y = args[0].view(target)
            elif p.op in ("idiv", "irem"):
                y = _integer_division(p.op, *args)
            else:
                if p.op in ("shl", "shr"):
                    assert (args[1] >= 0).all() and (args[1] < 8 * target.itemsize).all()
                y = _BINARY[p.op](*args)
            assert y.dtype == target and y.shape == (n,), (p, y.dtype)
            values.append(y)
    return values[e.result]
