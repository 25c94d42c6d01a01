"""The default device of this run, and what it promises: the cpu, or under CHARL_DEFAULT_DEVICE=gpu
a GPU.

A GPU computes integers, bools, casts, comparisons and movement exactly, and a single + - * of normal
floats; other float operations are within ULP, and subnormals may count as 0 (docs/accuracy.md). One
that has no float64 takes float32 and int32 where a dtype is not stated. Tests marked `cpu` are about
memory, threads or launches of the cpu, and run there on any device.
"""

import numpy as np

import charl as ch
from tests import oracle

_INFO = ch.__array_namespace_info__()
NAME = _INFO.default_device()
GPU = NAME != "cpu"
ULP = 4  # of a rounded float operation on a GPU
LAUNCHES = "dispatches" if GPU else "launches"  # in ch.cache_info()
BACKENDS = ("auto",) if GPU else ("interp", "llvm")  # the ways to run
FLOAT = np.dtype(_INFO.default_dtypes()["real floating"].name)
RTOL = 1e-7 if FLOAT.itemsize == 8 else 4e-6  # of short expressions in FLOAT
INT = np.dtype(_INFO.default_dtypes()["integral"].name)
DTYPES = [d for d in oracle.DTYPES if d.name in _INFO.dtypes() or d.itemsize == 2]  # halves always
NAMES = [d.name for d in DTYPES if d != oracle.BFLOAT16]  # those that NumPy has too
# whether subnormals count as 0 here
FLUSHES = GPU and float(ch.asarray(np.float32(1e-40)) * 2) == 0
# float operations that are exact on a GPU as well, where nothing is subnormal
EXACT = frozenset(
    """abs add ceil clip copysign equal floor greater greater_equal isfinite isinf isnan less less_equal
    logical_and logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal
    positive round sign signbit square subtract trunc where""".split()  # noqa: SIM905
)


def own(dtype):
    """A NumPy dtype as the outcome of a rule: float32 for float64 where this device has none."""
    dtype = np.dtype(dtype)
    return FLOAT if dtype == np.float64 else dtype


def narrow(x):
    """x in its own dtype here."""
    x = np.asarray(x)
    return x.astype(own(x.dtype))


def ulp(name, stated):
    """The bound in ULP of an elementwise op, of which the op table states one for the cpu."""
    return stated if not GPU or name in EXACT else max(stated, ULP)


def least(dtype):
    """What a float may be off at 0: the least number, of which there are fewer on a GPU."""
    info = oracle.finfo(dtype)
    return float(info.smallest_normal if GPU else info.smallest_subnormal)


def open_at(*arrays):
    """Where values are not compared: on a GPU, where an element of any of the arrays, which have one
    shape, is subnormal or so small that what comes of it may be. It may count as 0.
    """
    found = np.zeros(arrays[0].shape, bool)
    for x in arrays if GPU else ():
        if oracle.is_float(x.dtype):
            least = 2 * float(oracle.finfo(x.dtype).smallest_normal)
            found |= (x != 0) & (abs(x.astype(np.longdouble)) < least)
    return found


def flushed(x):
    """x, with 0 for its subnormals where this device takes them for that."""
    if not FLUSHES or not oracle.is_float(x.dtype):
        return x
    tiny = abs(x.astype(np.longdouble)) < float(oracle.finfo(x.dtype).smallest_normal)
    return np.where(tiny, x.dtype.type(0), x)
