"""Inverse trigonometric and hyperbolic functions, for f32 and f64. C99's special cases."""

from charl.ops.approx import in_f64, log_of_sum
from charl.ops.floats import INF, declare, horner, product, quotient, sum_any, two_sum

# (asin(s)/s - 1) / s**2 in z = s*s, s <= 1/2; errors of asin 2**-27.6, 2**-55.9
ASIN = {
    "f32": (0.166667536, 0.0749524981, 0.0454764776, 0.0241493583, 0.0422173068),
    "f64": (0.16666666666665375, 0.075000000003448655, 0.044642856821960022,
        0.030381959395135074, 0.022371751962463278, 0.017359795097879622, 0.013884356994303577,
        0.012174894243933705, 0.0065037431666072013, 0.019593702179265472, -0.016325657163456256,
        0.031980963093123475),
}  # fmt: skip
# (1 - atan(t)/t) / t**2 in z = t*t, t <= 7/16; errors of atan 2**-29.6, 2**-57.7
ATAN = {
    "f32": (0.333333045, -0.199977875, 0.142303124, -0.104951411, 0.0582806356),
    "f64": (0.33333333333332926, -0.19999999999875268, 0.14285714272406017, -0.11111110401443164,
        0.090908870359038982, -0.076918747192082249, 0.066610585278643858, -0.058334775373715807,
        0.049765127175319904, -0.036523416805988002, 0.016277948025724256),
}  # fmt: skip
# atan(1/2), atan(1), atan(3/2), and pi/2, as pairs
_hex = float.fromhex
_ATAN_STEPS = {
    "f32": (
        (_hex("0x1.dac67p-2"), _hex("0x1.586ed4p-28")),
        (_hex("0x1.921fb6p-1"), _hex("-0x1.777a5cp-26")),
        (_hex("0x1.f730bep-1"), _hex("-0x1.afc12cp-26")),
    ),
    "f64": (
        (_hex("0x1.dac670561bb4fp-2"), _hex("0x1.a2b7f222f65e2p-56")),
        (_hex("0x1.921fb54442d18p-1"), _hex("0x1.1a62633145c07p-55")),
        (_hex("0x1.f730bd281f69bp-1"), _hex("0x1.007887af0cbbdp-56")),
    ),
}
_HALF_PI = {
    "f32": (_hex("0x1.921fb6p+0"), _hex("-0x1.777a5cp-25")),
    "f64": (_hex("0x1.921fb54442d18p+0"), _hex("0x1.1a62633145c07p-54")),
}


def _arc(b, x):
    """For acos and asin: (|x| < 1/2, s, arcsine of s less s), s = |x| or sqrt((1 - |x|) / 2)."""
    a = b.fabs(x)
    inner = a < 0.5
    z = b.select(inner, a * a, (1 - a) * 0.5)
    root = b.prim("sqrt", z)
    error = b.fma(-root, root, z) / b.select(root == 0, 1, root + root)
    s = b.select(inner, a, root)
    return inner, s, b.fma(s * z, horner(b, z, ASIN[x.dtype]), b.select(inner, 0, error))


def _offset(b, high, low, s, rest, factor):
    """high + low + factor * (s + rest); |high| >= |factor * s| or high is 0."""
    y, error = two_sum(b, high, factor * s)
    return y + (error + (low + factor * rest))


def asin(b, x):
    """Arcsine. Error 0.67, 0.72 ULP; NaN outside -1..1, -0 kept."""
    inner, s, rest = _arc(b, x)
    high, low = _HALF_PI[x.dtype]
    y = _offset(b, b.select(inner, 0, b.like(x, high)), b.select(inner, 0, b.like(x, low)), s, rest,
                b.select(inner, b.like(x, 1.0), -2.0))  # fmt: skip
    return b.prim("copysign", y, x)


def acos(b, x):
    """Arccosine. Error 0.65, 0.70 ULP; NaN outside -1..1, 0 at 1."""
    inner, s, rest = _arc(b, x)
    negative = x < 0

    def choose(at_half, right, left):
        return b.select(inner, at_half, b.select(negative, left, b.like(x, right)))

    high, low = _HALF_PI[x.dtype]
    factor = b.select(
        inner, b.select(negative, b.like(x, 1.0), -1.0), b.select(negative, b.like(x, -2.0), 2.0)
    )
    return _offset(b, choose(high, 0.0, 2 * high), choose(low, 0.0, 2 * low), s, rest, factor)


def _arctangent(b, y, x):
    """atan(y / x) as (rounded, error), for y, x >= 0, not both 0, and neither infinite."""
    steps = ((7 / 16, 0.5), (11 / 16, 1.0), (19 / 16, 1.5))
    c = high = low = b.like(x, 0.0)
    for (bound, center), (step, step_error) in zip(steps, _ATAN_STEPS[x.dtype]):
        above = y > x * bound
        c = b.select(above, center, c)
        high, low = b.select(above, step, high), b.select(above, step_error, low)
    above = y > x * (39 / 16)
    high, low = (
        b.select(above, _HALF_PI[x.dtype][0], high),
        b.select(above, _HALF_PI[x.dtype][1], low),
    )
    top, bottom = b.fma(-c, x, y), b.fma(c, y, x)
    bottom_error = b.fma(c, y, x - bottom)
    top, bottom = b.select(above, -x, top), b.select(above, y, bottom)
    bottom_error = b.select(above, 0, bottom_error)
    bottom = b.select(bottom == 0, 1, bottom)
    t, t_error = quotient(b, top, b.like(x, 0.0), bottom, bottom_error)
    z = t * t
    series = b.fma(-(t * z), horner(b, z, ATAN[x.dtype]), t_error)
    angle, error = two_sum(b, high, t)
    return two_sum(b, angle, error + (low + series))


def atan(b, x):
    """Arctangent. Error 0.62, 0.63 ULP; +-pi/2 at infinity, -0 kept."""
    a = b.fabs(x)
    large = a > 2.0**60
    y, _ = _arctangent(b, b.select(large, 2.0**60, a), b.like(x, 1.0))
    return b.select(x != x, x, b.prim("copysign", y, x))


def atan2(b, y, x):
    """The angle of the point (x, y), -pi..pi. Error 0.50, 0.77 ULP; signed zeros, infinities as in
    C99.
    """
    p, q = b.fabs(y), b.fabs(x)
    large = b.maximum(p, q)
    above, down, below, up = (100, -40, -90, 60) if x.dtype == "f32" else (1000, -100, -900, 100)
    unbounded = large == INF
    p = b.select(unbounded, b.select(p == INF, b.like(x, 1.0), 0.0), p)
    q = b.select(unbounded, b.select(q == INF, b.like(x, 1.0), 0.0), q)
    scale = b.select(
        large > 2.0**above,
        b.like(x, 2.0**down),
        b.select(large < 2.0**below, b.like(x, 2.0**up), 1.0),
    )
    angle, error = _arctangent(b, p * scale, q * scale)
    high, low = _HALF_PI[x.dtype]
    turned, turned_error = two_sum(b, b.like(x, 2 * high), -angle)
    back = b.bitcast(x, f"i{x.width}") < 0
    angle = b.select(back, turned + (turned_error + (2 * low - error)), angle)
    return b.select((x != x) | (y != y), x + y, b.prim("copysign", angle, y))


def _root(b, square, error):
    """sqrt(square + error) as (rounded, error)."""
    w = b.prim("sqrt", square)
    return w, (b.fma(-w, w, square) + error) / b.select(w == 0, 1, w + w)


def _log_of_sum_with_root(b, x, one):
    """log(x + sqrt(x*x + one)), for x >= 0."""
    huge = x > 2.0**60
    a = b.select(huge, 1, x)
    square, square_error = product(b, a, a)
    high, low = sum_any(b, square, b.like(x, one))
    w, w_error = _root(b, high, low + square_error)
    v, v_error = sum_any(b, a, w)
    v, v_error = b.select(huge, x, v), b.select(huge, 0, v_error + w_error)
    return log_of_sum(b, v, v_error, b.select(huge, b.like(x, 1.0), 0.0))


def asinh(b, x):
    """Inverse hyperbolic sine. Error 0.50, 0.85 ULP; -0 and subnormals kept."""
    a = b.fabs(x)
    y = b.prim("copysign", _log_of_sum_with_root(b, a, 1.0), x)
    return b.select(a < 2.0**-28, x, b.select(a < INF, y, x))


def acosh(b, x):
    """Inverse hyperbolic cosine. Error 0.50, 0.79 ULP; NaN below 1."""
    y = _log_of_sum_with_root(b, x, -1.0)
    return b.select(x >= 1, b.select(x < INF, y, x), float("nan"))


def atanh(b, x):
    """Inverse hyperbolic tangent. Error 0.50, 0.79 ULP; +-inf at +-1, NaN beyond, -0 kept."""
    a = b.fabs(x)
    inside = b.select(a < 1, a, 0.5)
    one = b.like(x, 1.0)
    top, top_error = two_sum(b, one, inside)
    bottom, bottom_error = two_sum(b, one, -inside)
    q, q_error = quotient(b, top, top_error, bottom, bottom_error)
    y = log_of_sum(b, q, q_error, b.like(x, 0.0)) * 0.5
    y = b.select(a < 1, y, b.select(a == 1, b.like(x, INF), float("nan")))
    return b.select(a < 2.0**-28, x, b.prim("copysign", y, x))


declare("asin", asin, cost=40)
declare("acos", acos, cost=40)
declare("atan", atan, cost=40)
declare("atan2", in_f64(atan2), cost=70, arity=2)
declare("asinh", in_f64(asinh), cost=80)
declare("acosh", in_f64(acosh), cost=80)
declare("atanh", in_f64(atanh), cost=70)
