"""Creation: from other objects, constants and ranges. Source: array API 2025.12, creation
functions.

dtype None means the default: float64, int64 or bool by the values given (float32 and int32 on a GPU
that lacks 64 bits). device None means the default device, or that of x in *_like. Constants and
ranges are not stored: they are computed where they are used.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from charl.api import build as b
from charl.core import dtypes
from charl.core.dtypes import as_dtype
from charl.core.settings import config
from charl.tensor import (
    Tensor,
    as_tensor,
    from_capsule,
    from_numpy,
    from_numpy_owned,
    plain_filled,
    recorded,
    wrap,
)


def _filled(function, shape, value, dtype, device):
    if device is None and config.default_device == "cpu" and type(shape) is not Tensor:
        plain = _plainly(shape, value, dtype)
        if plain is not None:
            return plain
    at = b.on_device(device, function)
    dtype = b.dtype_on(at, dtype, dtypes.float64, function)
    return b.placed(b.expand(b.const(value, dtype, function), b.shape_in(shape, function)), at)


def zeros(shape, *, dtype=None, device=None):
    """0 everywhere. shape: an int or a tuple of ints; float64 unless dtype is given.

    >>> ch.zeros((2, 2))
    Tensor([[0., 0.],
            [0., 0.]])
    """
    return _filled("zeros", shape, 0, dtype, device)


def ones(shape, *, dtype=None, device=None):
    """1 everywhere. shape: an int or a tuple of ints; float64 unless dtype is given.

    >>> ch.ones(3, dtype=ch.int8)
    Tensor([1, 1, 1], dtype=int8)
    """
    return _filled("ones", shape, 1, dtype, device)


def empty(shape, *, dtype=None, device=None):
    """An array to be written: zeros, since no result of charl depends on what memory held before.

    >>> ch.empty((2, 3)).shape
    (2, 3)
    """
    return _filled("empty", shape, 0, dtype, device)


def full(shape, fill_value, *, dtype=None, device=None):
    """fill_value everywhere, in dtype or (None) its own. Raises OverflowError where an int does not
    fit.

    >>> ch.full(2, 7)
    Tensor([7, 7])
    """
    if not b.is_scalar(fill_value):
        at = b.on_device(device, "full")
        n = b.node(fill_value, "full")
        shape = b.shape_in(shape, "full")
        if b.broadcast("full", n.shape, shape) != shape:
            raise ValueError(f"full: fill_value of shape {n.shape} does not fit shape {shape}")
        own = b.dtype_of(n)
        target = b.dtype_on(at, own if dtype is None else dtype, own, "full")
        return b.placed(b.expand(b.cast(n, target), shape), at)
    at = b.on_device(device, "full")
    own = b.weak(fill_value, None, "full")
    dtype = b.dtype_on(at, dtype, own, "full") if own.kind != "b" else b.dtype_or(dtype, own)
    return _filled("full", shape, fill_value, dtype, device)


def _plainly(shape, value, dtype):
    """What plain_filled makes of 0 and 1; None for other values."""
    return plain_filled(shape, value, dtype) if type(value) is int and 0 <= value <= 1 else None


def _like(function, x, value, dtype, device):
    if device is None and type(x) is Tensor:
        plain = _plainly(x, value, dtype)
        if plain is not None:
            return plain
    n = b.node(x, function)
    return _filled(function, n.shape, value, b.dtype_or(dtype, b.dtype_of(n)), _beside(n, device))


def _beside(n, device):
    """The device that is asked for, or else that of n."""
    return b.devices.name(n.device) if device is None else device


def zeros_like(x, /, *, dtype=None, device=None):
    """0 in x's shape, and its dtype unless another is given.

    >>> ch.zeros_like(ch.asarray([1, 2]))
    Tensor([0, 0])
    """
    return _like("zeros_like", x, 0, dtype, device)


def ones_like(x, /, *, dtype=None, device=None):
    """1 in x's shape, and its dtype unless another is given.

    >>> ch.ones_like(ch.asarray([1, 2]))
    Tensor([1, 1])
    """
    return _like("ones_like", x, 1, dtype, device)


def empty_like(x, /, *, dtype=None, device=None):
    """An array to be written, zeros, in x's shape, and its dtype unless another is given.

    >>> ch.empty_like(ch.asarray([1, 2])).shape
    (2,)
    """
    return _like("empty_like", x, 0, dtype, device)


def full_like(x, /, fill_value, *, dtype=None, device=None):
    """fill_value in x's shape, and its dtype unless another is given.

    >>> ch.full_like(ch.asarray([1, 2]), 7)
    Tensor([7, 7])
    """
    if b.is_scalar(fill_value):
        return _like("full_like", x, fill_value, dtype, device)
    n = b.node(x, "full_like")
    return full(
        n.shape, fill_value, dtype=b.dtype_or(dtype, b.dtype_of(n)), device=_beside(n, device)
    )


def arange(start, /, stop=None, step=1, *, dtype=None, device=None):
    """start, start + step, ... up to but without stop. Shape (ceil((stop - start) / step),), 0 if
    that is negative.

    With one argument from 0 to it. int64 if all are ints, else float64. Raises ValueError if step
    is 0.

    >>> ch.arange(2, 10, 3)
    Tensor([2, 5, 8])
    """
    at = b.on_device(device, "arange")
    if stop is None:
        start, stop = 0, start
    whole = type(start) is type(stop) is type(step) is int
    if not whole:
        start, stop, step = (_number(v, "arange") for v in (start, stop, step))
        whole = not any(isinstance(v, float) for v in (start, stop, step))
    if step == 0:
        raise ValueError("arange: step must not be 0")
    size = max(0, -((start - stop) // step)) if whole else _steps(start, stop, step)
    default = dtypes.int64 if whole else dtypes.float64
    dtype = b.dtype_on(at, dtype, default, "arange")
    if dtype.kind == "b":
        raise TypeError("arange: dtype must not be bool")
    if dtype.kind in "iu":
        first, delta = int(start), int(start + step) - int(start)
        wide = dtypes.int64 if dtype.kind == "i" else dtypes.uint64
        term = b.iota(size, wide)
        if delta != 1:
            term = b.call("multiply", term, _wrapped(delta, wide))
        if first:
            term = b.call("add", term, _wrapped(first, wide))
        return b.placed(b.cast(term, dtype), at)
    wide = b.WIDE.get(dtype, dtype)
    # as NumPy: the second element is rounded first, and its distance from the first is the step
    real = dtypes.to_numpy(wide).type
    with np.errstate(all="ignore"):
        first = real(start)
        delta = real(start + step) - first
    term = b.call("multiply", b.iota(size, wide), b.const(float(delta), wide))
    return b.placed(b.cast(b.call("add", term, b.const(float(first), wide)), dtype), at)


def _number(value, function):
    """A Python int or float from a number or a 0-d array."""
    if isinstance(value, (bool, complex)):
        raise TypeError(f"{function}: an int or a float is needed, got {value!r}")
    if isinstance(value, (int, float)):
        return float(value) if isinstance(value, float) else int(value)
    try:
        return operator.index(value)
    except TypeError:
        return float(value)


def _steps(start, stop, step) -> int:
    span = (stop - start) / step
    if not math.isfinite(span):
        raise ValueError(f"arange: no number of steps of {step} from {start} to {stop}")
    return max(0, math.ceil(span))


def _wrapped(value: int, dtype):
    bits = 1 << 64
    value %= bits
    return b.const(value - bits if dtype.kind == "i" and value >> 63 else value, dtype)


def linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True):
    """num evenly spaced numbers from start to stop, which is the last one, or left out if not
    endpoint.

    float64 unless dtype is given; an integer dtype rounds down. Raises ValueError if num is
    negative.

    >>> ch.linspace(0.0, 1.0, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    at = b.on_device(device, "linspace")
    count = b.integer(num, "linspace", "num")
    if count < 0:
        raise ValueError(f"linspace: num must not be negative, got {count}")
    target = b.dtype_on(at, dtype, dtypes.float64, "linspace")
    wide = b.dtype_on(at, None, dtypes.float64, "linspace")
    start, stop = (float(_number(v, "linspace")) for v in (start, stop))
    gaps = count - 1 if endpoint else count
    place = b.iota(count, wide)
    delta = stop - start
    if gaps > 0 and delta / gaps != 0:
        out = b.call("multiply", place, b.const(delta / gaps, wide))
    elif gaps > 0:
        out = b.call("multiply", b.call("divide", place, b.const(gaps, wide)), b.const(delta, wide))
    else:
        out = b.call("multiply", place, b.const(delta, wide))
    out = b.call("add", out, b.const(start, wide))
    if endpoint and count > 1:
        last = b.call("equal", b.iota(count), b.const(count - 1, dtypes.int64))
        out = b.call("where", last, b.const(stop, wide), out)
    if target.kind in "iu":
        out = b.call("floor", out)
    return b.placed(b.cast(out, target), at)


def eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None):
    """1 on the k-th diagonal (above the main one if positive), else 0. Shape (n_rows, n_cols or
    n_rows).

    >>> ch.eye(2, 3, k=1)
    Tensor([[0., 1., 0.],
            [0., 0., 1.]])
    """
    at = b.on_device(device, "eye")
    shape = b.shape_in((n_rows, n_rows if n_cols is None else n_cols), "eye")
    on = b.call("equal", _diagonal(shape, b.integer(k, "eye", "k")), b.const(0, dtypes.int64))
    return b.placed(b.cast(on, b.dtype_on(at, dtype, dtypes.float64, "eye")), at)


def _diagonal(shape, k):
    """j - i - k at row i and column j of the last two axes: 0 on the k-th diagonal."""
    columns = b.iota(shape[-1])
    rows = b.reshape(b.iota(shape[-2]), (shape[-2], 1))
    return b.call("subtract", columns, b.call("add", rows, b.const(k, dtypes.int64)))


def _triangle(function, compare, x, k):
    n = b.node(x, function)
    if len(n.shape) < 2:
        raise ValueError(f"{function}: x must have at least two dimensions; shape is {n.shape}")
    k = b.integer(k, function, "k")
    kept = b.call(compare, _diagonal(n.shape, k), b.const(0, dtypes.int64))
    return wrap(b.call("where", kept, n, b.const(0, b.dtype_of(n))))


@recorded
def tril(x, /, *, k=0):
    """x (..., m, n) with 0 above the k-th diagonal. Raises ValueError with fewer than two
    dimensions.

    >>> ch.tril(ch.asarray([[1, 2], [3, 4]]))
    Tensor([[1, 0],
            [3, 4]])
    """
    return _triangle("tril", "less_equal", x, k)


@recorded
def triu(x, /, *, k=0):
    """x (..., m, n) with 0 below the k-th diagonal. Raises ValueError with fewer than two
    dimensions.

    >>> ch.triu(ch.asarray([[1, 2], [3, 4]]))
    Tensor([[1, 2],
            [0, 4]])
    """
    return _triangle("triu", "greater_equal", x, k)


def meshgrid(*arrays, indexing="xy"):
    """Coordinate arrays of a grid from vectors: a tuple, one each, of shape (n1, n2, ...), or (n2,
    n1, ...) for "xy".

    Raises ValueError for another indexing, for an array of two dimensions or more, or differing
    dtypes.

    >>> ch.meshgrid(ch.asarray([1, 2]), ch.asarray([3, 4, 5]))[0].shape
    (3, 2)
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    nodes = [b.node(x, "meshgrid") for x in arrays]
    for n in nodes:
        if len(n.shape) > 1:
            raise ValueError(f"meshgrid: arrays must be vectors; one has shape {n.shape}")
        if n.dtype != nodes[0].dtype:
            raise ValueError("meshgrid: arrays must have one dtype")
    places = list(range(len(nodes)))
    if indexing == "xy" and len(nodes) > 1:
        places[:2] = 1, 0
    shape = [1] * len(nodes)
    for n, at in zip(nodes, places):
        shape[at] = math.prod(n.shape)
    out = []
    for n, at in zip(nodes, places):
        ones = [1] * len(nodes)
        ones[at] = shape[at]
        out.append(wrap(b.expand(b.reshape(n, tuple(ones)), tuple(shape))))
    return tuple(out)


def asarray(obj, /, *, dtype=None, device=None, copy=None):
    """A Tensor of a Tensor, an array, a scalar or nested sequences of scalars.

    A Tensor is handed back as it is if dtype agrees. Memory of other libraries (NumPy arrays, the
    buffer protocol, DLPack) is copied, unless its owner says that it is read-only: then it is
    borrowed. copy True: always a copy; False: never (ValueError, or BufferError for memory that
    cannot be borrowed). Raises TypeError for objects and dtypes that charl has not.

    >>> ch.asarray([[1, 2], [3, 4]], dtype=ch.float32)
    Tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    target = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, Tensor):
        n = b.node_of(obj)
        at = n.device if device is None else b.on_device(device, "asarray")
        same = (target is None or obj.dtype == target) and at == n.device
        if same:
            return obj.copy() if copy else obj
        if copy is False:
            what = f"{obj.dtype} on {obj.device} to {target or obj.dtype} on {b.devices.name(at)}"
            raise ValueError(f"asarray: {what} needs a copy, but copy=False")
        n = b.node_of(b.placed(n, at))
        return wrap(n if target is None else b.cast(n, target))
    at = b.on_device(device, "asarray")
    if at:
        return _on_gpu(obj, target, copy, at)
    if target is not None and copy is not False and isinstance(obj, (int, float)):
        return wrap(b.const(obj, target, "asarray"))
    try:
        return _imported(obj, target, copy)
    except (TypeError, OverflowError, ValueError) as error:
        raise type(error)(f"asarray: {error}") from None


def _on_gpu(obj, target, copy, at):
    """asarray for a GPU: made on the cpu, and moved. Python's numbers take the device's dtypes."""
    if copy is False:
        raise ValueError("asarray: copy=False, but memory must be copied to a GPU")
    made = asarray(obj, dtype=target, device="cpu")
    if target is None and not hasattr(obj, "dtype") and made.dtype in b.NARROW:
        target = b.dtype_on(at, None, made.dtype, "asarray")
        made = wrap(b.cast(b.node_of(made), target))
    b.devices.check(at, made.dtype.name, "asarray")
    return b.placed(b.node_of(made), at)


def _imported(obj, target, copy):
    """A Tensor of anything else. Casts are charl's; nested sequences are read by NumPy in the
    target's dtype.
    """
    if hasattr(obj, "__dlpack__") and not isinstance(obj, (np.ndarray, np.generic)):
        array = np.from_dlpack(obj)
        copy = copy is not False  # NumPy calls all of it read-only, whatever the producer says
    elif isinstance(obj, np.ndarray) or _has_buffer(obj):
        array = np.asarray(obj)
    else:
        if copy is False:
            raise ValueError(f"a {type(obj).__name__} has no memory to borrow; copy=False")
        if isinstance(obj, np.generic) or target is None:
            x = as_tensor(obj)
            return x if target is None else wrap(b.cast(b.node_of(x), target))
        return from_numpy_owned(np.array(obj, dtypes.to_numpy(target)))
    if target is None or as_dtype(array.dtype) == target:
        return from_numpy(array, copy)
    if copy is False:
        raise ValueError(f"{array.dtype} to {target} needs a copy, but copy=False")
    return wrap(b.cast(b.node_of(from_numpy(array, True)), target))


def _has_buffer(obj) -> bool:
    """Whether obj lends its memory by the buffer protocol (bytes-like objects, array.array, ...)."""
    try:
        memoryview(obj).release()
    except TypeError:
        return False
    return True


def from_dlpack(x, /, *, device=None, copy=None):
    """A Tensor of an object with __dlpack__ and __dlpack_device__, on its device unless another is
    given.

    Its memory is borrowed unless copy is True: work that reads it runs before the call that asks
    for it returns, and writing the Tensor copies first. Raises BufferError where memory cannot be
    borrowed under copy=False.

    >>> ch.from_dlpack(ch.arange(3))
    Tensor([0, 1, 2])
    """
    if isinstance(x, Tensor) and device is None:
        return x.copy()
    at = b.on_device("cpu" if device is None else device, "from_dlpack")
    there = b.node_of(x).device if isinstance(x, Tensor) else 0
    if copy is False and at != there:
        names = b.devices.name(there), b.devices.name(at)
        raise BufferError("from_dlpack: {} to {} is a copy, but copy=False".format(*names))
    made = x if isinstance(x, Tensor) else from_capsule(x, copy)
    if at == there:
        return made.copy() if made is x else made
    b.devices.check(at, made.dtype.name, "from_dlpack")
    return made.to_device(b.devices.name(at))
