"""Sine, cosine and tangent, for f32 and f64, with correct reduction of arguments of any size.

|x| up to a bound is reduced by subtracting n * pi/2, with pi/2 in three parts; larger ones are rare
and are multiplied by the bits of 2/pi that matter (Payne and Hanek), in integers.
"""

from charl.ops.floats import FORMATS, INF, declare, horner, product, two_sum, whole

# (r - sin(r)) / r**3 and (cos(r) - 1 + r*r/2) / r**4 in z = r*r, |r| <= pi/4; errors of sin 2**-28,
# 2**-58, of cos 2**-33, 2**-64
SIN = {
    "f32": (0.166666552, -0.0083321901, 0.000195184082),
    "f64": (0.16666666666666632, -0.0083333333333224582, 0.00019841269829817026,
        -2.7557313688905192e-06, 2.5050756923470973e-08, -1.5896693732000028e-10),
}  # fmt: skip
COS = {
    "f32": (0.0416666456, -0.00138873071, 2.44319399e-05),
    "f64": (0.041666666666666602, -0.0013888888888874446, 2.4801587289640383e-05,
        -2.755731438885105e-07, 2.0875727261269295e-09, -1.135981331082141e-11),
}  # fmt: skip

# The first 1280 bits of 2/pi after the point, and before them 32 zeros, as 32-bit words.
_TWO_OVER_PI = (
    "00000000"
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e0"
    "06492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639835339f4"
    "9c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d"
    "7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6babf0cfbc209af4361d"
)
WORDS = tuple(int(_TWO_OVER_PI[k : k + 8], 16) for k in range(0, len(_TWO_OVER_PI), 8))
_LARGE = {"f32": 2.0**16, "f64": 2.0**30}


def _reduce(b, x):
    """x = n * pi/2 + r - d, |r| <= pi/4 or so, |d| at most half an ULP of r: (n as in `whole`, r,
    d).
    """
    f = FORMATS[x.dtype]
    t = b.fma(x, 0.6366197723675814, f.magic)
    n = t - f.magic
    r = b.fma(n, -f.half_pi[0], x)  # exact, because the places of both reach no lower than r's
    p, p_error = product(b, n, b.like(x, f.half_pi[1]))
    s = r - p
    d = ((s - r) + p) + b.fma(n, f.half_pi[2], p_error)
    r = s - d
    return whole(b, t), r, d - (s - r)


def _window(b, bits):
    """Words of 2/pi around x, whose exponent field and mantissa are in `bits`: (mantissa as u64,
    shift, 32-bit words).

    The first word holds at bit 31 - shift the bit of 2/pi that times the mantissa's last counts as
    2 turns' quarters.
    """
    f = FORMATS["f32" if bits.dtype == "u32" else "f64"]
    m = b.cast((bits & ((1 << f.mantissa) - 1)) | (1 << f.mantissa), "u64")
    at = b.cast(bits >> f.mantissa, "i32") + (30 - f.bias - f.mantissa)
    word = at >> 5
    words = [b.lut(word + k, WORDS, "u64") for k in range(4 if f.mantissa == 23 else 7)]
    return m, b.cast(at & 31, "u64"), words


def _quadrant(p):
    """Splits a fraction with two bits before the point into the nearest integer and the (signed)
    rest.
    """
    q = (p + (1 << 61)) >> 62
    return q, p - (q << 62)


def _quarter_turns(b, rest):
    """(r, d) of _reduce, of rest * 2**-62 quarter turns, in pairs of f32."""
    high = b.cast(rest, "f32")
    low = b.cast(rest - b.cast(high, "i64"), "f32")
    p1, p2, _ = FORMATS["f32"].half_pi
    high, low = high * 2.0**-62, low * 2.0**-62
    p, error = product(b, high, b.like(high, p1))
    error = error + b.fma(high, p2, low * p1)
    r = p + error
    return r, (r - p) - error


def _large_f32(b, x):
    """_reduce of |x| for 2**16 < |x| < inf, in f64 at the end."""
    m, shift, w = _window(b, b.bitcast(x, "u32") & 0x7FFFFFFF)
    first = (((w[0] << 32) | w[1]) << shift) | (w[2] >> (32 - shift))
    second = (((w[2] << 32) | w[3]) << shift) >> 32
    q, rest = _quadrant(m * first + ((m * second) >> 32))
    if b.narrow:
        return b.cast(q, "u32"), *_quarter_turns(b, b.bitcast(rest, "i64"))
    exact = b.cast(b.bitcast(rest, "i64"), "f64") * (1.5707963267948966 * 2.0**-62)
    r = b.cast(exact, "f32")
    return b.cast(q, "u32"), r, b.cast(b.cast(r, "f64") - exact, "f32")


def _high_product(b, x, y):
    """The upper 64 bits of x * y, all u64."""
    low = 0xFFFFFFFF
    x0, x1, y0, y1 = x & low, x >> 32, y & low, y >> 32
    t = x1 * y0 + ((x0 * y0) >> 32)
    u = x0 * y1 + (t & low)
    return x1 * y1 + (t >> 32) + (u >> 32)


def _large_f64(b, x):
    """_reduce of |x| for 2**30 < |x| < inf: 128 bits of x * 2/pi, of which at least 64 count."""
    m, shift, w = _window(b, b.bitcast(x, "u64") & 0x7FFFFFFFFFFFFFFF)
    pairs = [(w[k] << 32) | w[k + 1] for k in (0, 2, 4)] + [w[6] << 32]
    first, second, third = (
        (pairs[k] << shift) | ((pairs[k + 1] >> 32) >> (32 - shift)) for k in range(3)
    )
    carried = _high_product(b, m, third)
    low = m * second + carried
    high = m * first + _high_product(b, m, second) + b.cast(low < carried, "u64")
    q, high = _quadrant(high)
    negative = (high >> 63) != 0
    high = b.select(negative, ~high + b.cast(low == 0, "u64"), high)
    low = b.select(negative, 0 - low, low)

    def part(value, exponent):
        return b.cast(value, "f64") * 2.0**exponent

    s, error = two_sum(b, part(high >> 32, -30), part(high & 0xFFFFFFFF, -62))
    t, error = two_sum(b, s, error + part(low >> 11, -62 - 53))
    sign = b.select(negative, b.like(t, -1.0), 1.0)
    p1, p2, _ = FORMATS["f64"].half_pi
    r, r_error = product(b, t * sign, b.like(t, p1))
    r_error = r_error + b.fma(t * sign, p2, error * sign * p1)
    s = r + r_error
    return q, s, (s - r) - r_error


def _large(b, x):
    """_reduce for large x; NaN for infinite ones."""
    n, r, d = (_large_f32 if x.dtype == "f32" else _large_f64)(b, x)
    r = b.select(b.fabs(x) < INF, r, x - x)
    return b.select(x < 0, 0 - n, n), b.select(x < 0, -r, r), b.select(x < 0, -d, d)


def _wave(b, n, r, d):
    """sin(n * pi/2 + r - d). The sums keep the sign of a zero r."""
    z = r * r
    half = z * 0.5
    w = 1 - half
    sin = r - b.fma(r * z, horner(b, z, SIN[r.dtype]), d * w)
    cos = w + (((1 - w) - half) + b.fma(z * z, horner(b, z, COS[r.dtype]), r * d))
    y = b.select((n & 1) == 0, sin, cos)
    return b.bitcast(b.bitcast(y, n.dtype) ^ ((n & 2) << (y.width - 2)), r.dtype)


def _shifted_wave(quarters):
    def fast(b, x, reduce=_reduce):
        n, r, d = reduce(b, x)
        return _wave(b, n + quarters if quarters else n, r, d)

    def large(b, x):
        return fast(b, x, _large)

    return lambda b, x: b.rare(b.fabs(x) > _LARGE[x.dtype], fast(b, x), large, x)


def sin(b, x):
    """Sine. Error 0.79, 0.77 ULP for every x; -0 kept, NaN at infinity."""
    return _shifted_wave(0)(b, x)


def cos(b, x):
    """Cosine. Error 0.78, 0.76 ULP for every x; NaN at infinity."""
    return _shifted_wave(1)(b, x)


def _slope(b, n, r, d):
    """tan(n * pi/2 + r - d): the quotient of sine and cosine with what they lost in rounding."""
    z, z_error = product(b, r, r)
    half = z * 0.5
    w = 1 - half
    sin, sin_error = two_sum(b, r, -b.fma(r * z, horner(b, z, SIN[r.dtype]), d * w))
    tail = b.fma(z * z, horner(b, z, COS[r.dtype]), r * d - z_error * 0.5)
    cos, cos_error = two_sum(b, w, ((1 - w) - half) + tail)
    even = (n & 1) == 0
    x, x_error = b.select(even, sin, -cos), b.select(even, sin_error, -cos_error)
    y, y_error = b.select(even, cos, sin), b.select(even, cos_error, sin_error)
    q = x / y
    return b.select(r == 0, q, q + (b.fma(-q, y, x) + b.fma(-q, y_error, x_error)) / y)


def _large_tan(b, x):
    return _slope(b, *_large(b, x))


def tan(b, x):
    """Tangent. Error 0.87, 0.80 ULP for every x; -0 kept, NaN at infinity."""
    return b.rare(b.fabs(x) > _LARGE[x.dtype], _slope(b, *_reduce(b, x)), _large_tan, x)


declare("sin", sin, cost=25)
declare("cos", cos, cost=25)
declare("tan", tan, cost=50)
