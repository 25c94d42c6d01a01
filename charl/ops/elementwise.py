"""Element-wise ops that are exact or one rounding away: arithmetic, comparisons, bits, rounding.

Semantics are NumPy's, made total: ints wrap, x // 0 and x % 0 are 0, MIN // -1 is MIN, shifts
outside 0..width-1 give 0 or the sign, no input is undefined. A name that is a primitive's too (add,
floor) is declared again for the kinds that the primitive lacks; `b.prim` is the primitive itself.
"""

from charl.ops.table import op


def _arithmetic(prim, boolean=None):
    def expand(b, x, y):
        return b.prim(boolean if x.kind == "b" else prim, x, y)

    return expand


def _compare(prim):
    return lambda b, x, y: b.prim(prim, x, y)


def _truth(x):
    return x if x.kind == "b" else x != 0


def _least(x):
    return -(1 << (x.width - 1)) if x.kind == "i" else 0


# arithmetic


def _safe_divisor(b, x, y):
    """1 where x / y would be undefined: both have the quotient and remainder that are wanted (but
    for x // 0).
    """
    bad = y == 0
    if x.kind == "i":
        bad = bad | ((x == _least(x)) & (y == -1))
    return b.select(bad, 1, y)


def _divmod(b, x, y):
    """Quotient and remainder of floats, to the bit as NumPy's npy_divmod."""
    mod = b.frem(x, y)
    div = (x - mod) / y
    adjust = (mod != 0) & ((y < 0) ^ (mod < 0))
    div = b.select(adjust, div - 1, div)
    mod = b.select(mod != 0, b.select(adjust, mod + y, mod), b.prim("copysign", b.like(x, 0.0), y))
    floor = b.prim("floor", div)
    floor = b.select(div - floor > 0.5, floor + 1, floor)
    return b.select(div != 0, floor, b.prim("copysign", b.like(x, 0.0), x / y)), mod


def _floor_divide(b, x, y):
    if x.kind == "f":
        return b.select(y == 0, x / y, _divmod(b, x, y)[0])
    divisor = _safe_divisor(b, x, y)
    q = b.idiv(x, divisor)
    if x.kind == "i":
        r = x - q * divisor
        q = b.select((r != 0) & ((r ^ divisor) < 0), q - 1, q)
    return b.select(y == 0, 0, q)


def _remainder(b, x, y):
    if x.kind == "f":
        return b.select(y == 0, b.frem(x, y), _divmod(b, x, y)[1])
    divisor = _safe_divisor(b, x, y)
    r = b.irem(x, divisor)
    if x.kind == "i":
        r = b.select((r != 0) & ((r ^ divisor) < 0), r + divisor, r)
    return r


def _abs(b, x):
    if x.kind == "f":
        return b.fabs(x)
    return b.select(x < 0, 0 - x, x) if x.kind == "i" else x


def _sign(b, x):
    if x.kind == "f":
        return b.select(x > 0, 1, b.select(x < 0, -1, b.select(x == 0, 0, x)))
    positive = b.select(x > 0, 1, b.like(x, 0))
    return b.select(x < 0, -1, positive) if x.kind == "i" else positive


def _reciprocal(b, x):
    if x.kind == "f":
        return 1 / x
    inside = x <= 1 if x.kind == "u" else (x >= -1) & (x <= 1)
    return b.select(inside, x, 0)


def _maximum(b, x, y):
    """x86 has `y > x ? y : x` as one instruction, which keeps an x that is a NaN."""
    if x.kind == "b":
        return x | y
    r = b.select(y > x, y, x)
    return b.select(y != y, y, r) if x.kind == "f" else r


def _minimum(b, x, y):
    if x.kind == "b":
        return x & y
    r = b.select(y < x, y, x)
    return b.select(y != y, y, r) if x.kind == "f" else r


def _clip(b, x, low, high):
    if x.kind != "f":
        return _minimum(b, _maximum(b, x, low), high)
    y = b.select(x < low, low, b.select(low != low, low, x))
    return b.select(y > high, high, b.select(high != high, high, y))


# fmt: off
op("add", 2, "biuf", expand=_arithmetic("add", "or"), numpy="add")
op("subtract", 2, "iuf", expand=_arithmetic("sub"), numpy="subtract")
op("multiply", 2, "biuf", expand=_arithmetic("mul", "and"), numpy="multiply")
op("divide", 2, "biuf", "float", expand=lambda b, x, y: x / y, numpy="divide", cost=3)
op("floor_divide", 2, "iuf", "number", expand=_floor_divide, numpy="floor_divide", cost=20)
op("remainder", 2, "iuf", "number", expand=_remainder, numpy="remainder", cost=20)
op("negative", 1, "iuf", expand=lambda b, x: -x, numpy="negative")
op("positive", 1, "iuf", expand=lambda b, x: x, numpy="positive", half=True)
op("abs", 1, "biuf", expand=_abs, numpy="abs")
op("sign", 1, "iuf", expand=_sign, numpy="sign")
op("square", 1, "iuf", "number", expand=lambda b, x: x * x, numpy="square")
op("reciprocal", 1, "iuf", "number", expand=_reciprocal, numpy="reciprocal", cost=3)
op("sqrt", 1, "biuf", "float", expand=lambda b, x: b.prim("sqrt", x), numpy="sqrt", cost=4)
op("maximum", 2, "biuf", expand=_maximum, numpy="maximum", doc="NaN propagates.")
op("minimum", 2, "biuf", expand=_minimum, numpy="minimum", doc="NaN propagates.")
op("clip", 3, "biuf", expand=_clip, numpy="clip", doc="minimum(maximum(x, low), high).")
# fmt: on

# comparisons and truth


def _isnan(b, x):
    return x != x if x.kind == "f" else b.const(False, "b1")


def _isinf(b, x):
    return b.fabs(x) == float("inf") if x.kind == "f" else b.const(False, "b1")


def _isfinite(b, x):
    return b.fabs(x) < float("inf") if x.kind == "f" else b.const(True, "b1")


def _signbit(b, x):
    if x.kind == "f":
        return b.bitcast(x, f"i{x.width}") < 0
    return x < 0 if x.kind == "i" else b.const(False, "b1")


# fmt: off
op("equal", 2, "biuf", "bool", expand=_compare("eq"), numpy="equal")
op("not_equal", 2, "biuf", "bool", expand=_compare("ne"), numpy="not_equal")
op("less", 2, "biuf", "bool", expand=_compare("lt"), numpy="less")
op("less_equal", 2, "biuf", "bool", expand=_compare("le"), numpy="less_equal")
op("greater", 2, "biuf", "bool", expand=_compare("gt"), numpy="greater")
op("greater_equal", 2, "biuf", "bool", expand=_compare("ge"), numpy="greater_equal")
op("logical_and", 2, "biuf", "bool",
   expand=lambda b, x, y: _truth(x) & _truth(y), numpy="logical_and")
op("logical_or", 2, "biuf", "bool",
   expand=lambda b, x, y: _truth(x) | _truth(y), numpy="logical_or")
op("logical_xor", 2, "biuf", "bool",
   expand=lambda b, x, y: _truth(x) ^ _truth(y), numpy="logical_xor")
op("logical_not", 1, "biuf", "bool", expand=lambda b, x: ~_truth(x), numpy="logical_not")
op("isnan", 1, "biuf", "bool", expand=_isnan, numpy="isnan")
op("isinf", 1, "biuf", "bool", expand=_isinf, numpy="isinf")
op("isfinite", 1, "biuf", "bool", expand=_isfinite, numpy="isfinite")
op("signbit", 1, "biuf", "bool", expand=_signbit, numpy="signbit")
# fmt: on

# bits


def _left_shift(b, x, y):
    inside = y < x.width if x.kind == "u" else (y >= 0) & (y < x.width)
    return b.select(inside, x << b.select(inside, y, 0), 0)


def _right_shift(b, x, y):
    if x.kind == "u":
        inside = y < x.width
        return b.select(inside, x >> b.select(inside, y, 0), 0)
    inside = (y >= 0) & (y < x.width)
    return x >> b.select(inside, y, x.width - 1)


# fmt: off
op("bitwise_and", 2, "biu", expand=_compare("and"), numpy="bitwise_and")
op("bitwise_or", 2, "biu", expand=_compare("or"), numpy="bitwise_or")
op("bitwise_xor", 2, "biu", expand=_compare("xor"), numpy="bitwise_xor")
op("bitwise_invert", 1, "biu", expand=lambda b, x: ~x, numpy="invert")
op("bitwise_left_shift", 2, "iu", "number", expand=_left_shift, numpy="left_shift")
op("bitwise_right_shift", 2, "iu", "number", expand=_right_shift, numpy="right_shift")
# fmt: on

# rounding, and the neighbourhood of a float


def _rounding(prim):
    """Ints are whole already, as in NumPy 2.1."""
    return lambda b, x: b.prim(prim, x) if x.kind == "f" else x


def _nextafter(b, x, y):
    """The next value of x's own dtype towards y; y where they are equal, NaN where one is."""
    small = x.width == 16
    u, v = (b.cast(x, "f32"), b.cast(y, "f32")) if small else (x, y)
    bits = b.bitcast(x, f"i{x.width}")
    outward = (u < v) ^ (bits < 0)
    stepped = b.select(outward, bits + 1, bits - 1)
    least = (b.bitcast(y, f"i{x.width}") & _least(bits)) | 1
    moved = b.bitcast(b.select(u == 0, least, stepped), x.dtype)
    moved = b.select(u == v, y, moved)
    return b.select(u != u, x, b.select(v != v, y, moved))


# fmt: off
op("floor", 1, "biuf", expand=_rounding("floor"), numpy="floor")
op("ceil", 1, "biuf", expand=_rounding("ceil"), numpy="ceil")
op("trunc", 1, "biuf", expand=_rounding("trunc"), numpy="trunc")
op("round", 1, "iuf", expand=_rounding("rint"), numpy="round",
   doc="To the nearest integer, half to even.")
op("copysign", 2, "biuf", "float", expand=_compare("copysign"), numpy="copysign")
op("nextafter", 2, "biuf", "float", expand=_nextafter, numpy="nextafter", half=True)
# fmt: on

# choice and conversion

# fmt: off
op("where", 3, "biuf", expand=lambda b, c, x, y: b.select(c, x, y), numpy="where", half=True,
   doc="Operand 0 is bool; dtype and kinds are those of the others.")
op("cast", 1, "biuf", "any", numpy="astype", half=True,
   doc="Float to int saturates and NaN gives 0; ints wrap; floats round once, half to even.")
# fmt: on
