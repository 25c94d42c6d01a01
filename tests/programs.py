"""Array programs as data, run by NumPy and by charl alike. tests/drawing.py draws random ones.

A Program is a tuple of steps; a step is (name, ...) with variables named by number. Shapes never
depend on values, so NumPy alone can say which steps fit.
"""

import numpy as np

from tests import device, oracle

# names alike in charl and NumPy; bit for bit equal, or within ULP of the exact value
EXACT1 = (
    "abs",
    "negative",
    "square",
    "sign",
    "floor",
    "ceil",
    "trunc",
    "sqrt",
    "isnan",
    "logical_not",
    "signbit",
)
ROUNDED1 = ("exp", "log", "sin", "cos", "tanh", "expm1", "log1p", "atan", "sinh")
EXACT2 = (
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "less",
    "equal",
    "greater_equal",
    "not_equal",
    "logical_or",
    "logical_and",
    "floor_divide",
    "remainder",
    "copysign",
)
INTEGER2 = ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift")
ROUNDED2 = ("hypot", "atan2")
EXTREMES = ("max", "min", "any", "all", "argmax", "argmin")
SUMS = ("sum", "prod", "mean", "var", "std")
NUMPY_NAMES = {
    "atan": "arctan",
    "atan2": "arctan2",
    "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
}
IN_PLACE = {
    "add": "__iadd__",
    "subtract": "__isub__",
    "multiply": "__imul__",
    "divide": "__itruediv__",
}


class World:
    """Variables of a running program. xp: numpy, or charl."""

    def __init__(self, xp):
        self.xp, self.numpy = xp, xp is np
        self.vars, self.exports = {}, {}
        self.count = 0

    def function(self, name):
        return getattr(np, NUMPY_NAMES.get(name, name)) if self.numpy else getattr(self.xp, name)

    def put(self, value):
        """A new variable. Results of NumPy are C-ordered copies, as charl's count as."""
        if self.numpy and not isinstance(value, np.ndarray):
            value = np.asarray(value)
        self.vars[self.count] = value
        self.count += 1
        return self.count - 1

    def result(self, value):
        return self.put(device.narrow(np.array(value, order="C")) if self.numpy else value)

    def value(self, k):
        """Variable k as an ndarray; operands may be scalars instead."""
        return np.asarray(self.vars[k])

    def operand(self, spec):
        return self.vars[spec] if isinstance(spec, int) else spec[1]

    def run(self, step):
        """Executes a step; returns the numbers of the variables it made or wrote."""
        name, *rest = step
        with np.errstate(all="ignore"):
            return getattr(self, "do_" + name)(*rest)

    def do_new(self, shape, dtype, seed, style):
        value = device.flushed(oracle.fill(shape, oracle.BY_NAME[dtype], seed, style))
        return [self.put(value if self.numpy else self.xp.asarray(value))]

    def weak(self, *operands):
        """Beside a bfloat16 array, NumPy's Python scalars are not weak: they are made bfloat16."""
        if self.numpy and any(getattr(x, "dtype", None) == oracle.BFLOAT16 for x in operands):
            return [
                x if hasattr(x, "dtype") else np.asarray(x).astype(oracle.BFLOAT16)
                for x in operands
            ]
        return list(operands)

    def do_map(self, name, *operands):
        operands = self.weak(*map(self.operand, operands))
        function = self.function(name)
        value = function(*operands)
        if self.numpy and device.FLOAT.itemsize < 8 and _in_doubles(value, operands):
            value = function(*(np.asarray(x).astype(device.FLOAT) for x in operands))
        return [self.result(value)]

    def do_where(self, c, x, y):
        x, y = self.weak(self.operand(x), self.operand(y))
        return [self.result(self.xp.where(self.operand(c), x, y))]

    def do_clip(self, x, low, high):
        return [self.result(self.xp.clip(*self.weak(self.vars[x], low, high)))]

    def do_cast(self, x, dtype):
        target = oracle.BY_NAME[dtype]
        value = (
            oracle.cast(self.vars[x], target)
            if self.numpy
            else self.xp.astype(self.vars[x], target)
        )
        return [self.result(value)]

    def do_reduce(self, name, x, axis, keepdims):
        return [self.result(self.function(name)(self.vars[x], axis=axis, keepdims=keepdims))]

    def do_scan(self, name, x, axis):
        return [self.result(self.function(name)(self.vars[x], axis=axis))]

    def do_matmul(self, x, y):
        return [self.result(self.xp.matmul(self.vars[x], self.vars[y]))]

    def do_view(self, x, index):
        return [self.put(self.vars[x][index])]

    def do_transpose(self, x, perm):
        return [self.put(self.xp.permute_dims(self.vars[x], perm))]

    def do_reshape(self, x, shape):
        return [self.put(self.xp.reshape(self.vars[x], shape))]

    def do_broadcast(self, x, shape):
        return [self.result(self.xp.broadcast_to(self.vars[x], shape).copy())]

    def do_concat(self, xs, axis):
        return [self.result(self.xp.concat([self.vars[x] for x in xs], axis=axis))]

    def do_take(self, x, index, axis):
        index = np.asarray(index, np.int64)
        if not self.numpy:
            index = self.xp.asarray(index)
        return [self.result(self.xp.take(self.vars[x], index, axis=axis))]

    def do_roll(self, x, shift, axis):
        return [self.result(self.xp.roll(self.vars[x], shift, axis=axis))]

    def do_sort(self, x, axis):
        return [self.result(self.xp.sort(self.vars[x], axis=axis))]

    def do_call(self, name, x, args, kw):
        """Any function of one array that gives a new one, flip a view."""
        value = self.function(name)(self.vars[x], *args, **kw)
        return [self.put(value) if name == "flip" else self.result(value)]

    def do_fancy(self, x, index):
        """Reading by integer arrays."""
        return [self.result(self.vars[x][tuple(map(_array, index))])]

    def do_fancy_write(self, x, index, value):
        self.vars[x][tuple(map(_array, index))] = value
        return [x]

    def do_write(self, x, index, value):
        """x[index] = value, cast by charl's rules."""
        value = self.operand(value)
        if self.numpy and isinstance(value, np.ndarray):
            value = oracle.cast(value, self.vars[x].dtype)
        self.vars[x][index] = value
        return [x]

    def do_update(self, name, x, index, y, other):
        """x[index] op= y[other], which may overlap."""
        target = self.vars[x]
        value = self.vars[y][other] if isinstance(y, int) else y[1]
        part = target[index]
        part = getattr(part, IN_PLACE[name])(value)
        target[index] = part
        return [x]

    def do_mask(self, x, threshold, value):
        """x[x > threshold] = value."""
        self.vars[x][self.vars[x] > threshold] = value
        return [x]

    def do_export(self, x):
        """A snapshot that later writes must not reach."""
        self.exports[len(self.exports)] = self.value(x).copy() if self.numpy else self.value(x)
        return []

    def do_delete(self, x):
        del self.vars[x]
        return []

    def do_eval(self, *xs):
        if not self.numpy:
            self.xp.eval(*(self.vars[x] for x in xs))
        return []


def _in_doubles(value, operands):
    """Whether NumPy took float64 by its rules, and not to compare int64 with uint64, which is exact."""
    kinds = {x.dtype.kind for x in operands if isinstance(x, np.ndarray)}
    joint = np.result_type(*operands)
    return value.dtype == np.float64 or (joint == np.float64 and kinds != {"i", "u"})


def _array(part):
    """An index: a tuple of ints stands for an array of them."""
    return np.array(part, np.int64) if isinstance(part, tuple) else part
