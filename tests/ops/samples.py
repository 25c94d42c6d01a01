"""Operands for tests: random bits and the values at which things go wrong."""

import numpy as np

from charl.core.dtypes import BY_SHORT

from .evaluate import NUMPY

_SPECIAL = [0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 2, 3, np.inf, -np.inf, np.nan]


def specials(dtype):
    """Extremes, zeros, NaN, subnormals, integers and halves."""
    target = NUMPY[dtype]
    kind = BY_SHORT[dtype].kind
    if kind == "b":
        return np.array([False, True])
    if kind in "iu":
        info = np.iinfo(target)
        picks = [
            0,
            1,
            2,
            3,
            7,
            8,
            15,
            16,
            31,
            32,
            63,
            64,
            info.max,
            info.max - 1,
            info.min,
            info.min + 1,
        ]
        return np.array(picks + ([-1, -2, -3, -7, -64] if kind == "i" else []), dtype=target)
    bits = np.dtype(f"u{target.itemsize}")
    tiny = np.array([1, 2, 3], bits).view(target)
    with np.errstate(all="ignore"):
        largest = np.nextafter(np.array(np.inf, target), np.array(0, target)).reshape(1)
        near = np.nextafter(np.array([1, 1, 0.5], target), np.array([0, 2, 0], target))
    values = np.concatenate([np.array(_SPECIAL).astype(target), tiny, largest, near])
    return np.concatenate([values, -values]).astype(target)


def random(dtype, n, rng):
    """Random bits, and for floats as many values of ordinary size."""
    target = NUMPY[dtype]
    if dtype == "b1":
        return rng.integers(0, 2, n).astype(bool)
    bits = rng.integers(0, 256, n * target.itemsize, dtype=np.uint8).view(target)
    if BY_SHORT[dtype].kind == "f":
        usual = rng.normal(scale=8, size=n).astype(target)
        return np.where(rng.random(n) < 0.5, bits, usual)
    small = rng.integers(0, 12, n).astype(target)
    return np.where(rng.random(n) < 0.5, bits, small)


def operands(args, n=2000, seed=0):
    """Arrays of dtypes `args`: all pairs of special values, then random ones."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*(specials(d) for d in args[:2]), indexing="ij")
    columns = [g.ravel() for g in grids]
    while len(columns) < len(args):
        columns.append(rng.permutation(columns[-1].repeat(1)))
    if len(args) == 3:
        m = len(columns[0])
        third = specials(args[2])
        columns[2] = third[rng.integers(0, len(third), m)]
    return [np.concatenate([c, random(d, n, rng)]) for c, d in zip(columns, args)]


def same_bits(x, y):
    """Equality of every element's bits; all NaNs count as equal."""
    if x.dtype != y.dtype:
        return np.zeros(x.shape, bool)
    equal = x.view(f"u{x.itemsize}") == y.view(f"u{y.itemsize}")
    if x.dtype.kind in "iub":
        return equal
    with np.errstate(invalid="ignore"):
        return equal | ((x != x) & (y != y))
