"""NumPy as the oracle: values at which things go wrong, comparison to the bit, and stated bounds.

Where NumPy leaves an operation open (casts of floats out of range), the functions here say what
charl promises.
"""

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(name) for name in (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64")] + [BFLOAT16]  # fmt: skip
BY_NAME = {d.name: d for d in DTYPES}


def is_float(dtype) -> bool:
    return dtype.kind == "f" or dtype == BFLOAT16


def finfo(dtype):
    return ml_dtypes.finfo(dtype)


def fill(shape, dtype, seed, style="mixed"):
    """An array of a style: "whole" (small integers), "plain" (ordinary numbers) or "mixed"
    (extremes among them).
    """
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    size = int(np.prod(shape))
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    low = 0 if dtype.kind == "u" else -9
    whole = rng.integers(low, 10, shape)
    if style == "whole" or (style == "plain" and not is_float(dtype)):
        return whole.astype(dtype)
    if is_float(dtype):
        values = np.array(rng.normal(scale=3.0, size=shape).astype(dtype))
        if style == "mixed":
            info = finfo(dtype)
            tiny = np.array([1, 3], f"u{dtype.itemsize}").view(dtype)
            picks = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, 2.5, -1.5]
            picks = np.concatenate([
                np.array(picks).astype(dtype), tiny, -tiny,
                np.array([info.max, info.min, info.smallest_normal]).astype(dtype)])  # fmt: skip
            at = rng.random(shape) < 0.3
            values[at] = picks[rng.integers(0, len(picks), shape)][at]
        return values
    info = np.iinfo(dtype)
    bits = rng.integers(0, 256, size * dtype.itemsize, dtype=np.uint8).view(dtype).reshape(shape)
    picks = np.array([info.min, info.max, info.min + 1, info.max - 1, 0, 1], dtype)
    choice = rng.random(shape)
    ends = picks[rng.integers(0, len(picks), shape)]
    return np.where(choice < 0.4, whole.astype(dtype), np.where(choice < 0.7, ends, bits))


def cast(x, dtype):
    """x in dtype by charl's rules: floats saturate to ints, NaN is 0, and each cast rounds once."""
    x, dtype = np.asarray(x), np.dtype(dtype)
    with np.errstate(all="ignore"):
        if is_float(x.dtype) and dtype.kind in "iu":
            info = np.iinfo(dtype)
            wide = np.trunc(x.astype(np.float64))
            top = 2.0 ** (8 * dtype.itemsize - (dtype.kind == "i"))
            inside = (wide >= float(info.min)) & (wide < top)
            out = np.where(inside, wide, 0.0).astype(dtype)
            out = np.where(wide >= top, info.max, out)
            return np.where(wide < float(info.min), info.min, out).astype(dtype)
        if dtype == BFLOAT16 and x.dtype.kind in "iuf" and x.dtype.itemsize > 2:
            return _to_bfloat16(x)
        return x.astype(dtype)


def _to_bfloat16(x):
    """Rounded once: to odd in float32 first, where rounding to even after it is exact."""
    if x.dtype == np.float32:
        return x.astype(BFLOAT16)
    near = x.astype(np.float32)
    wide = near.astype(np.longdouble)
    exact = x.astype(np.longdouble)
    bits = near.view(np.uint32) if near.ndim else near.reshape(1).view(np.uint32).reshape(())
    even = (bits & 1) == 0
    off = np.isfinite(wide) & (wide != exact) & even
    toward = np.where(exact > wide, np.float32(np.inf), np.float32(-np.inf))
    odd = np.where(off, np.nextafter(near, toward), near).astype(np.float32)
    return odd.astype(BFLOAT16)


def bits(x):
    x = np.ascontiguousarray(x)
    return x.view(f"u{x.dtype.itemsize}")


def same(x, y) -> bool:
    """Equal dtype, shape and bits; all NaNs count as equal."""
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    equal = bits(x) == bits(y)
    if is_float(x.dtype):
        with np.errstate(invalid="ignore"):
            equal = equal | np.ascontiguousarray((x != x) & (y != y))
    return bool(equal.all())


def equal(x, y) -> bool:
    """As same, but zeros of either sign are equal."""
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    with np.errstate(invalid="ignore"):
        return bool(((x == y) | ((x != x) & (y != y))).all())


def ulps(x, y) -> float:
    """The greatest distance of two float arrays in units in the last place; NaN equals NaN."""
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype and x.shape == y.shape, (x.dtype, y.dtype, x.shape, y.shape)
    if x.size == 0:
        return 0.0
    width = 8 * x.dtype.itemsize
    ordered = []
    for z in (x, y):
        z = np.ascontiguousarray(z)
        signed = z.view(f"i{x.dtype.itemsize}").astype(object)
        ordered.append(np.where(signed < 0, -(signed + (1 << (width - 1))), signed))
    nan = (x != x), (y != y)
    if (nan[0] != nan[1]).any():
        return np.inf
    apart = np.where(np.ascontiguousarray(nan[0]), 0, abs(ordered[0] - ordered[1]))
    return float(apart.max())


def close(got, want, bound, extra=0.0) -> bool:
    """|got - want| <= bound elementwise, in extended precision; elements whose bound is NaN are not
    compared.

    Where want is not finite, got must equal it.
    """
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return False
    # a result at the edge of got's dtype may round to infinity
    edge = 0.99 * float(finfo(got.dtype).max)
    bound = np.where(np.isfinite(want) & (np.abs(want) > edge), np.nan, bound)
    g, w = got.astype(np.longdouble), want.astype(np.longdouble)
    with np.errstate(all="ignore"):
        fine = np.abs(g - w) <= bound + extra
        alike = (g == w) | ((g != g) & (w != w))
        return bool((fine | alike | np.isnan(bound)).all())
