"""Random numbers: default_rng and Generator, with the method names of NumPy's Generator but not its
stream.

A Generator is a key (from the seed) and a counter. Word i of a draw is philox(counter + i, key): 64
bits of Philox4x32-10. The counter advances at the call, by the draw's shape and dtype alone, so
pending draws may be realized in any order. Bits, integers, permutations and uniforms are the same
on every backend. Where no dtype is stated, draws are float64 or int64, or float32 and int32 where
the default device lacks those.

Source: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

import math
import operator
import threading

import numpy as np

from charl.api import build as b
from charl.core import dtypes
from charl.tensor import Tensor, wrap

_WRAP = 1 << 64


def default_rng(seed=None):
    """A Generator. seed: an int >= 0 or a sequence of such, which fixes all draws; None: from the
    system's entropy.

    A Generator is handed back as it is. Raises TypeError or ValueError for other seeds.

    >>> ch.random.default_rng(7).integers(0, 10, 4).shape
    (4,)
    """
    if isinstance(seed, Generator):
        return seed
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return Generator(int(state[0]))


def _shape(size, function):
    return () if size is None else b.shape_in(size, function)


class Generator:
    """Draws random Tensors. Made by default_rng; safe to share between threads, picklable.

    key, counter: 0 <= int < 2**64. `size` of a method is None (a 0-d result), an int or a tuple.
    """

    def __init__(self, key: int, counter: int = 0):
        self.key, self.counter = operator.index(key) % _WRAP, operator.index(counter) % _WRAP
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Generator(key={self.key:#018x}, counter={self.counter})"

    def __reduce__(self):
        return Generator, (self.key, self.counter)

    def _words(self, shape, each: int = 1):
        """A list of `each` Nodes of random uint64 words, all of `shape`."""
        count = math.prod(shape)
        with self._lock:
            start = self.counter
            self.counter = (start + each * count) % _WRAP
        key = b.const(self.key, dtypes.uint64)
        place = b.iota(count, dtypes.uint64)
        words = []
        for k in range(each):
            first = b.const((start + k * count) % _WRAP, dtypes.uint64)
            bits = b.call("philox", b.call("add", place, first), key)
            words.append(b.reshape(bits, shape))
        return words

    def _unit(self, shape, dtype):
        """Uniform in [0, 1): the top 24 (float32) or 53 (float64) bits of a word, scaled exactly."""
        (word,) = self._words(shape)
        digits = 24 if dtype is dtypes.float32 else 53
        top = b.call("bitwise_right_shift", word, b.const(64 - digits, dtypes.uint64))
        return b.call("multiply", b.cast(top, dtype), b.const(2.0**-digits, dtype))

    def _gauss(self, shape, dtype):
        """Standard normal, by Box and Muller: sqrt(-2 log u) cos(2 pi v), u in (0, 1], v in [0, 1)."""
        if dtype is dtypes.float32:
            (word,) = self._words(shape)
            digits = 32
            high = b.call("bitwise_right_shift", word, b.const(32, dtypes.uint64))
            low = b.call("bitwise_and", word, b.const((1 << 32) - 1, dtypes.uint64))
        else:
            digits = 53
            high, low = (
                b.call("bitwise_right_shift", word, b.const(11, dtypes.uint64))
                for word in self._words(shape, 2)
            )
        scale = b.const(2.0**-digits, dtype)
        u = b.call("multiply", b.call("add", b.cast(high, dtype), b.const(1.0, dtype)), scale)
        angle = b.call("multiply", b.cast(low, dtype), b.const(2.0**-digits * math.tau, dtype))
        radius = b.call("sqrt", b.call("multiply", b.call("log", u), b.const(-2.0, dtype)))
        return b.call("multiply", radius, b.call("cos", angle))

    def random(self, size=None, dtype=None):
        """Uniform floats in [0, 1). dtype float64 (53 random bits) or float32 (24).

        >>> ch.random.default_rng(1).random(3).dtype
        charl.float64
        """
        shape = _shape(size, "random")
        return b.at_home(self._unit(shape, _real(dtype, "random")))

    def uniform(self, low=0.0, high=1.0, size=None, dtype=None):
        """Uniform floats in [low, high), which broadcast, to size if it is given.

        >>> ch.random.default_rng(1).uniform(-1.0, 1.0, (2, 3)).shape
        (2, 3)
        """
        dtype, low, high = _parameters("uniform", dtype, low, high)
        shape = _over("uniform", size, low, high)
        width = b.call("subtract", high, low)
        return b.at_home(b.call("add", low, b.call("multiply", width, self._unit(shape, dtype))))

    def standard_normal(self, size=None, dtype=None):
        """Normal floats of mean 0 and variance 1, float64 or float32; equal on every CPU backend.

        >>> ch.random.default_rng(1).standard_normal((2, 3)).shape
        (2, 3)
        """
        shape = _shape(size, "standard_normal")
        return b.at_home(self._gauss(shape, _real(dtype, "standard_normal")))

    def normal(self, loc=0.0, scale=1.0, size=None, dtype=None):
        """Normal floats of mean loc and standard deviation scale, which broadcast, to size if it is
        given.

        >>> ch.random.default_rng(1).normal(5.0, 2.0, 4).shape
        (4,)
        """
        dtype, loc, scale = _parameters("normal", dtype, loc, scale)
        shape = _over("normal", size, loc, scale)
        return b.at_home(b.call("add", loc, b.call("multiply", scale, self._gauss(shape, dtype))))

    def integers(self, low, high=None, size=None, dtype=None, endpoint=False):
        """Integers in low <= i < high (<= under endpoint), or below low where high is None. low,
        high: Python ints.

        A word modulo the range: exact for powers of two, else no value is likelier by more than
        range / 2**64. Raises ValueError where the range is empty or exceeds dtype.

        >>> ch.random.default_rng(1).integers(6, size=3).shape
        (3,)
        """
        dtype = b.dtype_on(b.on_device(None, "integers"), dtype, dtypes.int64, "integers")
        if dtype.kind not in "biu":
            raise TypeError(f"integers: dtype must be an integer or bool, got {dtype.name}")
        first = 0 if high is None else b.integer(low, "integers", "low")
        last = b.integer(low if high is None else high, "integers", "high") - (not endpoint)
        bits = 1 if dtype.kind == "b" else 8 * dtype.itemsize
        least = -(1 << (bits - 1)) if dtype.kind == "i" else 0
        if last < first:
            raise ValueError(f"integers: no integer from {first} to {last}")
        if first < least or last >= least + (1 << bits):
            raise ValueError(f"integers: {first} to {last} is out of bounds for {dtype.name}")
        (out,) = self._words(_shape(size, "integers"))
        if last - first + 1 < _WRAP:
            out = b.call("remainder", out, b.const(last - first + 1, dtypes.uint64))
        # in uint64, where sums wrap; the cast keeps the low bits
        return b.at_home(b.cast(b.call("add", out, b.const(first % _WRAP, dtypes.uint64)), dtype))

    def _order(self, count: int):
        """The Node of a random permutation of 0..count-1: the order of random words."""
        (words,) = self._words((count,))
        return b.host(np.argsort(b.realized(words), kind="stable"))

    def permutation(self, x, axis=0):
        """x's slices along an axis in random order, as a new Tensor; of an int x: of 0..x-1.

        >>> ch.random.default_rng(1).permutation(5).shape
        (5,)
        """
        if b.is_scalar(x):
            count = b.integer(x, "permutation", "x")
            if count < 0:
                raise ValueError(f"permutation: x must not be negative, got {count}")
            return b.at_home(self._order(count))
        n = b.node(x, "permutation")
        at = b.axis_in(axis, len(n.shape), "permutation")
        return wrap(b.gather_at(n, self._order(n.shape[at]), at))

    def shuffle(self, x, axis=0):
        """Puts x's slices along an axis in random order, in place. Returns None. x must be a
        Tensor.
        """
        if not isinstance(x, Tensor):
            raise TypeError(f"shuffle: x must be a Tensor, got {type(x).__name__}")
        x[...] = self.permutation(x, axis)

    def choice(self, a, size=None, replace=True, p=None, axis=0, shuffle=True):
        """Random slices of a along an axis; of an int a: of 0..a-1. p: the weight of each, which
        sum to 1.

        replace=False draws each at most once. `shuffle` is there for NumPy's signature: the order
        is random always. Raises ValueError where there are too few to draw or p does not fit.

        >>> ch.random.default_rng(1).choice(5, 3, replace=False).shape
        (3,)
        """
        n = b.iota(b.integer(a, "choice", "a")) if b.is_scalar(a) else b.node(a, "choice")
        at = b.axis_in(axis, len(n.shape), "choice")
        count, shape = n.shape[at], _shape(size, "choice")
        drawn = math.prod(shape)
        weights = None if p is None else _weights(b.values(p, "choice"), count)
        enough = count if weights is None else np.count_nonzero(weights)
        if drawn and (enough == 0 or (not replace and drawn > enough)):
            raise ValueError(f"choice: cannot draw {drawn} of {enough}, replace is {replace}")
        if replace and weights is None:
            (words,) = self._words(shape)
            span = b.const(max(count, 1), dtypes.uint64)
            index = b.cast(b.call("remainder", words, span), dtypes.int64)
        elif replace:
            steps = np.cumsum(weights)
            units = b.realized(self._unit(shape, dtypes.float64))
            index = b.host(np.searchsorted(steps, units * steps[-1], side="right"))
        elif weights is None:
            index = b.reshape(b.cut(self._order(count), 0, 0, drawn), shape)
        else:
            # the least of -log(u) / p come first: Efraimidis and Spirakis, 2006
            units = 1.0 - b.realized(self._unit((count,), dtypes.float64))
            with np.errstate(divide="ignore"):
                order = np.argsort(-np.log(units) / weights, kind="stable")[:drawn]
            index = b.reshape(b.host(order), shape)
        return b.at_home(b.gather_at(n, index, at))


def _real(dtype, function, *nodes):
    """The dtype of a draw beside `nodes`, or on the default device."""
    at = max((n.device for n in nodes), default=0) or b.on_device(None, function)
    found = b.dtype_on(at, dtype, dtypes.float64, function)
    if found not in (dtypes.float32, dtypes.float64):
        raise TypeError(f"{function}: dtype must be float32 or float64, got {found.name}")
    return found


def _parameters(function, dtype, *given):
    """The dtype of a draw, and the Nodes of its parameters in it."""
    nodes = [None if b.is_scalar(x) else b.node(x, function) for x in given]
    dtype = _real(dtype, function, *(n for n in nodes if n is not None))
    cast = (b.const(x, dtype) if n is None else b.cast(n, dtype) for x, n in zip(given, nodes))
    return dtype, *cast


def _over(function, size, *nodes):
    """The shape of a draw whose parameters are `nodes`."""
    joint = b.broadcast(function, *(n.shape for n in nodes))
    if size is None:
        return joint
    shape = _shape(size, function)
    if b.broadcast(function, joint, shape) != shape:
        raise ValueError(
            f"{function}: parameters of shape {joint} do not broadcast to size {shape}"
        )
    return shape


def _weights(p: np.ndarray, count: int) -> np.ndarray:
    p = p.astype(np.float64)
    if p.shape != (count,) or not (p >= 0).all() or abs(p.sum() - 1) > 1e-8:
        raise ValueError(f"choice: p must be {count} numbers >= 0 that sum to 1")
    return p
