"""Exponentials, logarithms and hyperbolic functions as straight lines of primitives, with the
special cases of C99 (Annex F). floats.py says what "Error 0.98, 0.97 ULP" means.
"""

from charl.ops.floats import (
    FORMATS,
    INF,
    NAN,
    declare,
    horner,
    power_of_two,
    product,
    quotient,
    sum_any,
    two_sum,
    whole,
)

# (exp(r) - 1 - r) / r**2 for |r| <= ln(2)/2; relative error of exp 2**-33, 2**-63
EXP = {
    "f32": (0.5, 0.166666657, 0.041666463, 0.00833357126, 0.00139350782, 0.000197393631),
    "f64": (0.5, 0.1666666666666668, 0.041666666666666408, 0.0083333333333192715,
        0.0013888888889036256, 0.00019841269891827343, 2.4801587017995294e-05,
        2.7557238744291951e-06, 2.7557533525407585e-07, 2.5110853390061285e-08,
        2.0836026571562672e-09),
}  # fmt: skip
# the same where a relative error of 2**-28.2 is enough
EXP_SHORT = EXP | {"f32": (0.49999994, 0.166665211, 0.0416682623, 0.00836867746, 0.00138210866)}
# (2**r - 1 - r*ln(2)) / r**2 for |r| <= 1/2; 2**-28.3, 2**-57.9
EXP2 = {
    "f32": (0.240226477, 0.0555036217, 0.00961850397, 0.00133902021, 0.000153272136),
    "f64": (0.24022650695910122, 0.05550410866482073, 0.0096181291075970055,
        0.0013333558146687444, 0.00015403530454059303, 1.5252733545486571e-05,
        1.3215436605238301e-06, 1.0178185254330908e-07, 7.0735810154913763e-09,
        4.4362116778127361e-10),
}  # fmt: skip
# (2*atanh(s)/s - 2) / s**2 in z = s**2, |s| <= 0.1716; absolute error of z times it 2**-29.2,
# 2**-58.5
LOG = {
    "f32": (0.666667759, 0.399775833, 0.298708051),
    "f64": (0.6666666666666734, 0.39999999999416747, 0.28571428741988425, 0.2222219861015817,
        0.18183562556882846, 0.15314092692479453, 0.14795554587706697),
}  # fmt: skip
# (sinh(r)/r - 1) / r**2 and (cosh(r) - 1) / r**2 in z = r**2, |r| <= ln(2)/2; errors below 2**-33,
# 2**-61
SINH = {
    "f32": (0.166666672, 0.00833317544, 0.000199741131),
    "f64": (0.16666666666666677, 0.0083333333333214486, 0.00019841269886535729,
        2.755724383558704e-06, 2.5109156666357233e-08),
}  # fmt: skip
COSH = {
    "f32": (0.5, 0.0416664593, 0.00139354216),
    "f64": (0.5, 0.041666666666666685, 0.0013888888888873316, 2.4801587349076251e-05,
        2.7557251974119174e-07, 2.0921709205739047e-09),
}  # fmt: skip

# (tanh(x)/x - 1) / x**2 in z = x*x, |x| <= 0.18005; relative errors of tanh 2**-32, 2**-56.9
TANH = {
    "f32": (-0.333333194, 0.133307815, -0.0526196100),
    "f64": (-0.33333333333331955, 0.13333333332516223, -0.05396825234535909, 0.02186933981878577,
        -0.008856323087745553, 0.003433210609754801),
}  # fmt: skip

# exponentials


def clamp(b, x, low, high):
    """NaN passes."""
    x = b.select(x > high, high, x)
    return b.select(x < low, low, x)


def scale(b, y, n):
    """y * 2**n, rounded once, for |n| < 4096 where y * 2**n is near the range of exponents."""
    up = n + 8192
    half = up >> 1
    product = y * power_of_two(b, half - 4096, y.dtype)
    return b.scaled(product * power_of_two(b, up - half - 4096, y.dtype), y, n)


def reduce_exp(b, x):
    """x = n*ln(2) + r + d: (n as in `whole`, n as a float, r, d). x is in the range of exp."""
    f = FORMATS[x.dtype]
    t = b.fma(x, f.log2_e[0], f.magic)
    n = t - f.magic
    r = b.fma(n, -f.ln2[0], x)
    low = n * f.ln2[1]
    s = r - low
    return whole(b, t), n, s, (r - s) - low


def exp_parts(b, x):
    """e**x = 2**n * (high + low), |low| < 0.07: (n + magic, n as in `whole`, high, low). low
    has what high lost in rounding, and is small: its own roundings count for little.
    """
    f = FORMATS[x.dtype]
    t = b.fma(x, f.log2_e[0], f.magic)
    n = t - f.magic
    r = b.fma(n, -f.ln2[0], x)
    low = n * -f.ln2[1]
    s = r + low
    rest = b.fma(s * s, horner(b, s, EXP_SHORT[x.dtype]), low)
    high = 1 + r
    return t, whole(b, t), high, ((1 - high) + r) + rest


def exp(b, x):
    """e**x. Error 0.98, 0.97 ULP; exact limits: inf beyond the range, 0 below, NaN kept."""
    f = FORMATS[x.dtype]
    x = clamp(b, x, -(f.bias + f.mantissa + 1) * 0.694, (f.bias + 1) * 0.694)
    n, _, r, _ = reduce_exp(b, x)
    y = b.fma(r * r, horner(b, r, EXP[x.dtype]), r) + 1
    return scale(b, y, n)


def exp2(b, x):
    """2**x. Error 0.82, 0.89 ULP; whole x give exact powers."""
    f = FORMATS[x.dtype]
    x = clamp(b, x, -(f.bias + f.mantissa + 2.0), f.bias + 2.0)
    t = x + f.magic
    r = x - (t - f.magic)
    high, low = product(b, r, b.like(r, f.ln2[0]))
    y = (high + b.fma(r * r, horner(b, r, EXP2[x.dtype]), low)) + 1
    return scale(b, y, whole(b, t))


def expm1(b, x):
    """e**x - 1. Error 0.87, 0.86 ULP; -0 and subnormals kept, -1 at -inf."""
    f = FORMATS[x.dtype]
    y = clamp(b, x, -(f.mantissa + 3) * 0.7, (f.bias + 1) * 0.69335)
    n, _, r, d = reduce_exp(b, y)
    s = power_of_two(
        b, n - 1, x.dtype
    )  # half of 2**n, which would overflow at the end of the range
    tail = b.fma(r * r, horner(b, r, EXP[x.dtype]), b.fma(d, r, d))
    base = s - 0.5
    high, error = two_sum(b, base, s * r)
    error = error + ((s - base) - 0.5)
    return b.select(b.fabs(x) < f.epsilon / 4, x, (high + b.fma(s, tail, error)) * 2)


def sigmoid(b, x):
    """1 / (1 + e**-x). Error 0.88, 0.82 ULP; right at both ends: no overflow, no lost gradient.

    With t = e**-|x| it is 1 / (1 + t) for x >= 0, else t / (1 + t).
    """
    f = FORMATS[x.dtype]
    t, end = -b.fabs(x), -(f.bias + f.mantissa + 1) * 0.694
    t, n, high, low = exp_parts(b, b.select(t < end, end, t))
    least = f.magic - 2 * f.mantissa  # 2**n beyond it makes no difference to 1
    s = power_of_two(b, whole(b, b.select(t < least, least, t)), x.dtype) * (high + low)
    right = x >= 0
    high, low = b.select(right, 1, high), b.select(right, 0, low)
    inverse = 1 / (1 + s)
    y = high * inverse
    rest = b.fma(-y, s, high - y) + low  # high - y is exact: y is half of high or more
    return scale(b, b.fma(rest, inverse, y), b.select(right, 0, n))


# logarithms


def reduce_log(b, x, subnormals=True):
    """x = 2**e * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for positive finite x: (e as float, f)."""
    fmt = FORMATS[x.dtype]
    offset = fmt.magic + fmt.bias
    if subnormals:
        small = x < fmt.tiny
        x = b.select(small, x * 2.0 ** (fmt.mantissa + 1), x)
        offset = b.select(small, offset + fmt.mantissa + 1, b.like(x, offset))
    bits = b.bitcast(x, fmt.uint) + ((fmt.bias << fmt.mantissa) - fmt.sqrt_half)
    e = (
        b.bitcast((bits >> fmt.mantissa) + b.bitcast(b.like(x, fmt.magic), fmt.uint), x.dtype)
        - offset
    )
    m = b.bitcast((bits & ((1 << fmt.mantissa) - 1)) + fmt.sqrt_half, x.dtype)
    return e, m - 1


def _atanh_series(b, f):
    """log(1 + f) = f - (h - s * (h + r)), with h = f*f/2: (h, s * (h + r))."""
    s = f / (f + 2)
    z = s * s
    h = f * f * 0.5
    return h, s * b.fma(z, horner(b, z, LOG[f.dtype]), h)


def _log_limits(b, x, y, at=0.0):
    """-inf at `at`, NaN below it, x itself for inf and NaN, else y."""
    y = b.select(x < INF, y, x)
    return b.select(x > at, y, b.select(x == at, b.like(x, -INF), NAN))


def log(b, x):
    """Natural logarithm. Error 0.81, 0.79 ULP; subnormals at full precision. The series is
    fdlibm's.
    """
    high, low = FORMATS[x.dtype].ln2
    e, f = reduce_log(b, x)
    h, series = _atanh_series(b, f)
    return _log_limits(b, x, b.fma(e, high, f - (h - b.fma(e, low, series))))


def log_of_sum(b, x, error, twos):
    """log(x + error) + twos * ln(2), for a normal positive x and a far smaller error; near 1 the
    error counts in full.
    """
    high, low = FORMATS[x.dtype].ln2
    e, f = reduce_log(b, x, subnormals=False)
    e = e + twos
    h, series = _atanh_series(b, f)
    return b.fma(e, high, f - (h - (series + b.fma(e, low, error / x))))


def log1p(b, x):
    """log(1 + x). Error 0.84, 0.82 ULP; -0 and subnormals kept, -inf at -1."""
    u, error = sum_any(b, b.like(x, 1.0), x)
    y = log_of_sum(b, u, error, b.like(x, 0.0))
    return b.select(b.fabs(x) < FORMATS[x.dtype].epsilon / 4, x, _log_limits(b, x, y, at=-1.0))


def log_pair(b, x):
    """log(x) as e * ln(2) + (high + low): (e, high, low), for positive finite x."""
    e, f = reduce_log(b, x)
    h, series = _atanh_series(b, f)
    high = f - h
    return e, high, ((f - high) - h) + (series - b.fma(f * 0.5, f, -h))


def _log_base(b, x, scale, two):
    """e*two + log(1 + f)*scale, with scale and two given as pairs."""
    e, high, low = log_pair(b, x)
    p, p_error = product(b, high, b.like(x, scale[0]))
    tail = b.fma(low, scale[0], b.fma(high, scale[1], p_error))
    if two == (1.0, 0.0):
        q = e
    else:
        q, q_error = product(b, e, b.like(x, two[0]))
        tail = tail + b.fma(e, two[1], q_error)
    y, y_error = two_sum(b, q, p)
    return _log_limits(b, x, y + (y_error + tail))


def log2(b, x):
    """Base 2 logarithm. Error 0.66, 0.66 ULP; powers of two are exact."""
    return _log_base(b, x, FORMATS[x.dtype].log2_e, (1.0, 0.0))


def log10(b, x):
    """Base 10 logarithm. Error 0.65, 0.62 ULP."""
    return _log_base(b, x, FORMATS[x.dtype].log10_e, FORMATS[x.dtype].log10_2)


def in_f64(function):
    """f32 by way of f64: one rounding at the end. A narrow one is computed as it stands."""

    def expand(b, *operands):
        if operands[0].dtype != "f32" or b.narrow:
            return function(b, *operands)
        return b.cast(function(b, *(b.cast(x, "f64") for x in operands)), "f32")

    expand.__doc__ = function.__doc__
    return expand


def logaddexp(b, x, y):
    """log(e**x + e**y). Error < 3 ULP of the larger of the result and max(x, y), which may cancel;
    inf and -inf kept.
    """
    above = x > y
    high, low = b.select(above, x, y), b.select(above, y, x)
    d, error = sum_any(b, low, -high)
    t = exp(b, d)
    t = b.fma(t, b.select(d > -1000, error, 0), t)
    z = b.select(x == y, x + FORMATS[x.dtype].ln2[0], high + log1p(b, t))
    return b.select((x != x) | (y != y), x + y, z)


# hyperbolic functions


def sinh(b, x):
    """Hyperbolic sine. Error 0.73, 0.78 ULP; -0 and subnormals kept.

    With |x| = n*ln(2) + r:  sinh(|x|) = c*cosh(r) + a*sinh(r), a = (2**n + 2**-n)/2,
    c = (2**n - 2**-n)/2; all this by a quarter.
    """
    f = FORMATS[x.dtype]
    limit, y = (f.bias + 2) * 0.694, b.fabs(x)
    n, k, r, d = reduce_exp(b, b.select(y > limit, limit, y))
    up = power_of_two(b, n - 3, x.dtype)
    down = power_of_two(b, -3 - b.select(k > 2 * f.mantissa, 2 * f.mantissa, n), x.dtype)
    a, a_error = two_sum(b, up, down)
    c, c_error = two_sum(b, up, -down)
    z = r * r
    cosh = z * horner(b, z, COSH[x.dtype])
    sinh = b.fma(r * z, horner(b, z, SINH[x.dtype]), d)
    high, low = product(b, a, r)
    high, error = two_sum(b, c, high)
    low = low + b.fma(a_error, r, c_error)
    y = high + (error + (low + b.fma(c, cosh, a * sinh)))
    y = b.prim("copysign", y * 4, x)
    return b.select(b.fabs(x) < f.epsilon, x, b.select(x != x, x, y))


def cosh(b, x):
    """Hyperbolic cosine. Error 0.87, 0.85 ULP."""
    f = FORMATS[x.dtype]
    a, limit = b.fabs(x), (f.bias + 2) * 0.694
    t, n, high, low = exp_parts(b, b.select(a > limit, limit, a))
    most = f.magic + 2 * f.mantissa  # 2**-n beyond it makes no difference
    up = power_of_two(b, n - 3, x.dtype)
    down = power_of_two(b, -3 - whole(b, b.select(t > most, most, t)), x.dtype)
    other = down * (1 / (high + low))
    y = b.fma(up, high, other)
    return (y + b.fma(up, low, b.fma(up, high, -y) + other)) * 4


def tanh(b, x):
    """Hyperbolic tangent. Error 0.79, 0.78 ULP; -0 and subnormals kept, +-1 at the ends.

    By the tangent of a sum, with 2 * |x| = n*ln(2) + 2 * r, t = tanh(r) and T = 2**n:
    ((T - 1) + (T + 1) * t) / ((T + 1) + (T - 1) * t), of t = r + rest.
    """
    f = FORMATS[x.dtype]
    a, end = b.fabs(x), {"f32": 9.1, "f64": 19.1}[x.dtype]
    a = b.select(a > end, end, a)
    # a shift of 0.00675 keeps r above -1/6: then 1 + 3 * r is at least 1/2, and 1 less that is exact
    whole_n = b.fma(a - 0.00675, 2 * f.log2_e[0], f.magic)
    n = whole_n - f.magic
    r = b.fma(n, -f.ln2[0] / 2, a)
    z = r * r
    rest = b.fma(r * z, horner(b, z, TANH[x.dtype]), n * (-f.ln2[1] / 2))
    power = power_of_two(b, whole(b, whole_n), x.dtype)
    less, more = power - 1, power + 1
    high, t = b.fma(more, r, less), r + rest
    lost = (more - less) - 2  # where T is beyond the mantissa
    error = b.fma(more, rest, b.fma(more, r, less - high) + lost)
    c = b.fma(less, t, more)
    y, y_error = quotient(b, high, error, c, b.fma(less, t, more - c))
    return b.prim("copysign", y + y_error, x)


declare("exp", exp, cost=15)
declare("exp2", exp2, cost=15)
declare("expm1", expm1, cost=20)
declare("sigmoid", sigmoid, cost=20, numpy="special.expit")
declare("log", log, cost=20)
declare("log1p", log1p, cost=30)
declare("log2", log2, cost=30)
declare("log10", log10, cost=30)
declare("logaddexp", in_f64(logaddexp), cost=60, arity=2, ulp=3, domain=(0.0, 700.0))
declare("sinh", sinh, cost=30)
declare("cosh", cosh, cost=30)
declare("tanh", tanh, cost=30)
