"""Powers and roots, and hypot, for f32 and f64. C99's special cases."""

from charl.ops.approx import EXP, clamp, in_f64, log_pair, reduce_exp, reduce_log, scale
from charl.ops.floats import FORMATS, INF, declare, horner, power_of_two, product, two_sum
from charl.ops.table import op

# cbrt(m) for 1 <= m <= 2; relative error 2**-33.5
CBRT = (
    0.38010525843387372, 1.345626577470582, -1.7045744263245537, 1.987266465031551,
    -1.7585913190424705, 1.1459909670895698, -0.54033879392847495, 0.17925667520738492,
    -0.039692383029433294, 0.0052680575256080116, -0.00031707835295047439,
)  # fmt: skip
# (log(1 + r) - r + r*r/2) / r**3 for |r| <= 0.0101; error of the logarithm 2**-73
LOG1P = (
    0.33333333333333331, -0.25, 0.20000000000112883, -0.16666666666670205,
    0.14285712291136635, -0.12499999851068216, 0.11122568779316865, -0.10001969515207403,
)  # fmt: skip
# log2(1 + f) / f for sqrt(1/2) <= 1 + f <= sqrt(2), and (2**r - 1) / r for |r| <= 1/2, for pow of
# f32 in f64; relative errors of the logarithm 2**-35.8, of the power 2**-28.9
LOG2_IN_F64 = (
    1.4426950408687056, -0.7213475208687299, 0.48089836139529796, -0.3606736748322617,
    0.2885372934908735, -0.24045316538920591, 0.2061753586569559, -0.18030060497952252,
    0.15876981573892202, -0.14315643535105851, 0.14474834710352588, -0.14283937148826548,
    0.07737058766838703,
)  # fmt: skip
EXP2_IN_F64 = (
    0.6931472028549082, 0.24022647913619327, 0.055503324713603204, 0.009618437358584026,
    0.0013398874347481929, 0.00015353361708783729,
)  # fmt: skip

# roots


def cbrt(b, x):
    """Cube root. Error 0.50, 0.50 ULP; -0, subnormals and infinities kept. f32 in f64."""
    f = FORMATS[x.dtype]
    up, thirds = (24, 100) if x.dtype == "f32" else (54, 400)
    offset = 3 * thirds - f.bias
    a = b.fabs(x)
    small = a < f.tiny
    bits = b.bitcast(b.select(small, a * 2.0**up, a), f.uint)
    e = (bits >> f.mantissa) + b.select(small, b.const(offset - up, f.uint), offset)
    third = (e * 0x5556) >> 16
    rest = e - third * 3
    m = b.bitcast((bits & ((1 << f.mantissa) - 1)) | (f.bias << f.mantissa), x.dtype)
    scaled = m * power_of_two(b, rest, x.dtype)
    root = b.select(
        rest == 0, 1, b.select(rest == 1, b.like(x, 1.2599210498948732), 1.5874010519681994)
    )
    y = horner(b, m, CBRT) * root
    square, square_error = product(b, y, y)
    residue = b.fma(square, y, -scaled) + square_error * y
    y = (y - residue / (square * 3)) * power_of_two(b, third - thirds, x.dtype)
    return b.select((a > 0) & (a < INF), b.prim("copysign", y, x), x)


def _scaled_hypot(b, x, y):
    bound, by = (30, 90) if x.dtype == "f32" else (500, 600)
    p, q = b.fabs(x), b.fabs(y)
    large, small = b.select(p > q, p, q), b.select(p > q, q, p)
    up = b.select(large < 2.0**-bound, b.like(x, 2.0**by), 1.0)
    up = b.select(large > 2.0**bound, b.like(x, 2.0**-by), up)
    down = b.select(large < 2.0**-bound, b.like(x, 2.0**-by), 1.0)
    down = b.select(large > 2.0**bound, b.like(x, 2.0**by), down)
    large, small = large * up, small * up
    s, s_error = product(b, large, large)
    t, t_error = product(b, small, small)
    s, error = two_sum(b, s, t)
    w = b.prim("sqrt", s)
    w = w + (b.fma(-w, w, s) + (error + (s_error + t_error))) / b.select(w == 0, 1, w + w)
    y = b.select((p == INF) | (q == INF), b.like(x, INF), w * down)
    return b.select((p != p) & (q != INF), p, y)


def hypot(b, x, y):
    """sqrt(x*x + y*y) without overflow between. Error 0.50, 0.74 ULP; inf wins over NaN."""
    if x.dtype == "f64" or b.narrow:
        return _scaled_hypot(b, x, y)
    p, q = b.cast(x, "f64"), b.cast(y, "f64")
    w = b.cast(b.prim("sqrt", p * p + q * q), "f32")
    return b.select((b.fabs(x) == INF) | (b.fabs(y) == INF), b.like(x, INF), w)


# powers

_STEPS = 64  # intervals of the mantissa in the logarithm of pow


def _log_fixed(numerator, denominator, places):
    """log(numerator / denominator) * 2**places, in integers: twice the series of atanh, near 1."""
    s = ((numerator - denominator) << (places + 16)) // (numerator + denominator)
    total, power, k = 0, s, 1
    while power:
        total += power // k
        power = (power * s >> (places + 16)) * s >> (places + 16)
        k += 2
    return total >> 15


def _log_table():
    """For each interval of the mantissa: 1/c to 8 bits, and log(c) as a multiple of 2**-42 and the
    rest.
    """
    start = FORMATS["f64"].sqrt_half - (1023 << 52)
    inverses, high, low = [], [], []
    for k in range(_STEPS):
        bits = start + (((2 * k + 1) << 52) // (2 * _STEPS))
        center = 2.0 ** (bits >> 52) * (1 + (bits & ((1 << 52) - 1)) / 2**52)
        n = round(256 / center)
        value = _log_fixed(256, n, 160)
        top = round(value / 2**118)
        inverses.append(n / 256)
        high.append(top / 2.0**42)
        low.append(float(value - (top << 118)) / 2.0**160)
    return inverses, high, low


_LN2_HIGH = float.fromhex("0x1.62e42fefa38p-1")  # 42 bits
_LN2_LOW = float.fromhex("0x1.ef35793c7673p-45")


def _log_to_66_bits(b, x):
    """log of a positive, finite f64 as (rounded, error), relative error 2**-65."""
    inverses, logs, log_errors = _log_table()
    small = x < FORMATS["f64"].tiny
    bits = b.bitcast(b.select(small, x * 2.0**53, x), "u64") - FORMATS["f64"].sqrt_half
    step = b.cast((bits >> 46) & (_STEPS - 1), "i32")
    exponent = bits + (1023 << 52)
    e = b.bitcast((exponent >> 52) + b.bitcast(b.like(x, FORMATS["f64"].magic), "u64"), "f64")
    e = e - b.select(
        small, b.like(x, FORMATS["f64"].magic + 1023 + 53), FORMATS["f64"].magic + 1023
    )
    m = b.bitcast((bits & ((1 << 52) - 1)) + FORMATS["f64"].sqrt_half, "f64")
    p, r_error = product(b, m, b.lut(step, inverses, "f64"))
    r = p - 1
    t = b.fma(e, _LN2_HIGH, b.lut(step, logs, "f64"))  # exact
    low = b.fma(e, _LN2_LOW, b.lut(step, log_errors, "f64"))
    s, error1 = two_sum(b, t, r)
    h, h_error = product(b, r * -0.5, r)
    s, error2 = two_sum(b, s, h)
    tail = b.fma(r * r * r, horner(b, r, LOG1P), b.fma(b.fma(r, r, -r), r_error, r_error))
    return two_sum(b, s, error1 + (error2 + (h_error + (low + tail))))


def _log_of_two_floats(b, x):
    """log of a positive, finite f32 as (rounded, error), absolute error 2**-29."""
    e, high, low = log_pair(b, x)
    ln2, ln2_error = FORMATS["f32"].ln2
    q, q_error = product(b, e, b.like(x, ln2))
    y, error = two_sum(b, q, high)
    return two_sum(b, y, error + (q_error + b.fma(e, ln2_error, low)))


def _positive_pow(b, x, y):
    """x**y, x >= 0, neither NaN; |y| <= 1e300, or 1e30 for f32."""
    high, low = (_log_of_two_floats if x.dtype == "f32" else _log_to_66_bits)(b, x)
    high = b.select(x == 0, b.like(x, -INF), b.select(x == INF, b.like(x, INF), high))
    p = y * high
    error = b.fma(y, low, b.fma(y, high, -p))
    inside = b.fabs(p) < 1000
    least, most = (-104.0, 89.0) if x.dtype == "f32" else (-746.0, 710.0)
    n, _, r, d = reduce_exp(b, clamp(b, p, least, most))
    d = d + b.select(inside, error, 0)
    y, y_error = two_sum(b, b.like(x, 1.0), b.fma(r * r, horner(b, r, EXP[x.dtype]), r))
    return scale(b, y + b.fma(d, y, y_error), n)


def _positive_pow_f32(b, x, y):
    """x**y of f32 values held in f64, whose exponents reach far enough for one rounding at the end.

    Without a division: 2**n is put into the exponent of the power by an integer addition.
    """
    e, f = reduce_log(b, x, subnormals=False)
    high = b.fma(f, horner(b, f, LOG2_IN_F64), e)
    high = b.select(x == 0, b.like(x, -INF), b.select(x == INF, b.like(x, INF), high))
    p = clamp(b, y * high, -160.0, 130.0)
    t = p + FORMATS["f64"].magic
    r = p - (t - FORMATS["f64"].magic)
    power = b.fma(r, horner(b, r, EXP2_IN_F64), 1.0)
    return b.cast(b.bitcast(b.bitcast(power, "u64") + (b.bitcast(t, "u64") << 52), "f64"), "f32")


def pow(b, x, y):
    """x**y. Error 0.55, 0.86 ULP, with C99's forty special cases; ints by squaring, wrapping, and 0
    for 1/x below 1.
    """
    if x.kind != "f":
        return _integer_pow(b, x, y)
    a = b.fabs(x)
    if x.dtype == "f32":
        bounded = clamp(b, y, -1e30, 1e30)
    if x.dtype == "f32" and b.narrow:
        r = _positive_pow(b, a, bounded)
    elif x.dtype == "f32":
        r = _positive_pow_f32(b, b.cast(a, "f64"), b.cast(bounded, "f64"))
    else:
        r = _positive_pow(b, a, clamp(b, y, -1e300, 1e300))
    half = y * 0.5
    whole = b.prim("floor", y) == y
    odd = whole & (b.prim("floor", half) != half)
    negative = b.bitcast(x, f"i{x.width}") < 0
    r = b.select(negative & odd, -r, r)
    r = b.select((x < 0) & (x > -INF) & ~whole, float("nan"), r)
    r = b.select((x != x) | (y != y), x + y, r)
    return b.select((x == 1) | (y == 0), 1, r)


def _square_and_multiply(b, x, y, first, count):
    result, power = b.like(x, 1), x
    for k in range(first + count):
        if k:
            power = power * power
        if k >= first:
            result = b.select((y & (1 << k)) != 0, result * power, result)
    return result


def _large_exponent(b, x, y):
    """x**y for exponents of any size."""
    return _square_and_multiply(b, x, y, 0, x.width - (x.kind == "i"))


def _integer_pow(b, x, y):
    """Exponents up to 63 in line; larger ones are rare."""
    bits = min(6, x.width - (x.kind == "i"))
    r = _square_and_multiply(b, x, y, 0, bits)
    if bits < x.width - (x.kind == "i"):
        r = b.rare(y >= 1 << bits, r, _large_exponent, x, y)
    if x.kind == "i":
        sign = b.select(
            (x == -1) & ((y & 1) != 0),
            b.like(x, -1),
            b.select((x == 1) | (x == -1), b.like(x, 1), 0),
        )
        r = b.select(y < 0, sign, r)
    return r


declare("cbrt", in_f64(cbrt), cost=40)
declare("hypot", hypot, cost=30, arity=2)
op("pow", 2, "iuf", "number", expand=pow, numpy="pow", ulp=1, cost=100, doc=pow.__doc__)
