"""Data types: casts, limits, promotion. Source: array API 2025.12, data type functions."""

from __future__ import annotations

import numpy as np

from charl.api import build as b
from charl.core import dtypes
from charl.core.dtypes import DType, as_dtype
from charl.core.named import NamedTuple
from charl.tensor import Tensor, plain_cast, wrap


def astype(x, dtype, /, *, copy=True, device=None):
    """x (...) -> (...) of dtype. With copy=False, x itself where it has that dtype already.

    Floats become ints by truncation, saturating at the ends, and NaN becomes 0 (NumPy leaves those
    cases undefined); ints wrap; any number but 0 becomes True. Raises TypeError if dtype is not one
    charl has.

    >>> ch.astype(ch.asarray([1.7, -1.7, 300.0]), ch.int8)
    Tensor([  1,  -1, 127], dtype=int8)
    """
    if device is None:
        plain = plain_cast(x, dtype)
        if plain is not None:
            return plain
    n, target = b.node(x, "astype"), as_dtype(dtype)
    at = n.device if device is None else b.on_device(device, "astype")
    if n.dtype == target.code and n.device == at and isinstance(x, Tensor):
        return x.copy() if copy else x
    b.devices.check(at, target.name, "astype")
    return wrap(b.cast(b.node_of(b.placed(n, at)), target))


def _dtype_of(x: object, function: str) -> DType:
    if isinstance(x, Tensor):
        return x.dtype
    if isinstance(x, (np.ndarray, np.generic)):
        return as_dtype(x.dtype)
    try:
        return as_dtype(x)
    except TypeError as error:
        raise TypeError(f"{function}: {error}") from None


def result_type(*arrays_and_dtypes) -> DType:
    """The dtype that arithmetic on all arguments gives; Python scalars are weak. Source: NumPy 2.

    Raises ValueError without arguments, TypeError for anything but arrays, dtypes and real numbers.

    >>> ch.result_type(ch.int8, ch.uint8), ch.result_type(ch.float32, 2.0)
    (charl.int16, charl.float32)
    """
    if not arrays_and_dtypes:
        raise ValueError("result_type: at least one argument is needed")
    joint = None
    scalars = [x for x in arrays_and_dtypes if b.is_scalar(x)]
    for x in arrays_and_dtypes:
        if not b.is_scalar(x):
            found = _dtype_of(x, "result_type")
            joint = found if joint is None else dtypes.promote(joint, found)
    for x in sorted(scalars, key=lambda s: (isinstance(s, float), not isinstance(s, bool))):
        joint = b.weak(x, joint, "result_type")
    nodes = [b.node_of(x) for x in arrays_and_dtypes if isinstance(x, Tensor)]
    return b.where_computed(joint, nodes, "result_type")  # type: ignore[arg-type]


def can_cast(from_, to, /) -> bool:
    """Whether every value of dtype (or array) `from_` can be held by `to` under promotion.

    >>> ch.can_cast(ch.int32, ch.float64), ch.can_cast(ch.int64, ch.int8)
    (True, False)
    """
    source, target = _dtype_of(from_, "can_cast"), _dtype_of(to, "can_cast")
    return dtypes.promote(source, target) == target


_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def isdtype(dtype, kind) -> bool:
    """Whether dtype is of a kind: a dtype, a name of the standard ("integral", ...), or a tuple of
    those.

    Raises ValueError for an unknown name, TypeError where dtype is none.

    >>> ch.isdtype(ch.float32, "real floating"), ch.isdtype(ch.int8, ("bool", ch.int8))
    (True, True)
    """
    if not isinstance(dtype, (DType, np.dtype)):
        raise TypeError(f"isdtype: dtype must be a dtype, got {dtype!r}")
    found = as_dtype(dtype)
    for one in kind if isinstance(kind, tuple) else (kind,):
        if isinstance(one, str):
            if one not in _KINDS:
                raise ValueError(f"isdtype: unknown kind {one!r}; there are {', '.join(_KINDS)}")
            if found.kind in _KINDS[one]:
                return True
        elif isinstance(one, (DType, np.dtype)):
            if found == as_dtype(one):
                return True
        else:
            raise TypeError(f"isdtype: kind must be a dtype or a str, got {one!r}")
    return False


class finfo_object(NamedTuple):
    """Limits of a floating-point dtype, as Python floats."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class iinfo_object(NamedTuple):
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


# fraction bits and greatest exponent
_FORMATS = {
    dtypes.float16: (10, 15),
    dtypes.bfloat16: (7, 127),
    dtypes.float32: (23, 127),
    dtypes.float64: (52, 1023),
}


def finfo(type, /) -> finfo_object:
    """Limits of a floating-point dtype, or of an array's. Raises ValueError for other dtypes.

    >>> ch.finfo(ch.float32).eps
    1.1920928955078125e-07
    """
    dtype = _dtype_of(type, "finfo")
    if dtype not in _FORMATS:
        raise ValueError(f"finfo: {dtype} is not a floating-point dtype")
    fraction, exponent = _FORMATS[dtype]
    most = (2.0 - 2.0**-fraction) * 2.0**exponent
    return finfo_object(
        8 * dtype.itemsize, 2.0**-fraction, most, -most, 2.0 ** (1 - exponent), dtype
    )


def iinfo(type, /) -> iinfo_object:
    """Limits of an integer dtype, or of an array's. Raises ValueError for other dtypes.

    >>> ch.iinfo(ch.int8).max
    127
    """
    dtype = _dtype_of(type, "iinfo")
    if dtype.kind not in "iu":
        raise ValueError(f"iinfo: {dtype} is not an integer dtype")
    bits = 8 * dtype.itemsize
    if dtype.kind == "u":
        return iinfo_object(bits, (1 << bits) - 1, 0, dtype)
    return iinfo_object(bits, (1 << (bits - 1)) - 1, -(1 << (bits - 1)), dtype)
