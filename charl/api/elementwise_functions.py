"""Elementwise functions: arithmetic, comparison, logic, bits, rounding. Source: array API 2025.12,
elementwise.

Operands of any shape; two operands broadcast together and are promoted as in NumPy 2, where one of
them may be a Python scalar. A shape or dtype that does not fit raises ValueError or TypeError at
the call. Values follow IEEE 754 op by op, without warnings, and agree with NumPy's bit for bit.
Exponentials, logarithms and angles: elementwise_calculus.py.
"""

from __future__ import annotations

from charl.api import build as b
from charl.tensor import binary, plain_bounds, quick, unary, wrap


@quick
def abs(x, /):
    """The absolute value; the least signed integer stays as it is.

    >>> ch.abs(ch.asarray([-1, 2]))
    Tensor([1, 2])
    """
    return unary("abs", x)


@quick
def bitwise_invert(x, /):
    """Every bit flipped; logical not of bools.

    >>> ch.bitwise_invert(ch.asarray([0, 5]))
    Tensor([-1, -6])
    """
    return unary("bitwise_invert", x)


@quick
def ceil(x, /):
    """The least integer not below x, in x's dtype.

    >>> ch.ceil(ch.asarray([1.5, -1.5]))
    Tensor([ 2., -1.])
    """
    return unary("ceil", x)


@quick
def floor(x, /):
    """The greatest integer not above x, in x's dtype.

    >>> ch.floor(ch.asarray([1.5, -1.5]))
    Tensor([ 1., -2.])
    """
    return unary("floor", x)


@quick
def isfinite(x, /):
    """Whether x is neither infinite nor NaN.

    >>> ch.isfinite(ch.asarray([1.0, ch.inf]))
    Tensor([ True, False])
    """
    return unary("isfinite", x)


@quick
def isinf(x, /):
    """Whether x is +inf or -inf.

    >>> ch.isinf(ch.asarray([1.0, ch.inf]))
    Tensor([False,  True])
    """
    return unary("isinf", x)


@quick
def isnan(x, /):
    """Whether x is NaN.

    >>> ch.isnan(ch.asarray([1.0, ch.nan]))
    Tensor([False,  True])
    """
    return unary("isnan", x)


@quick
def logical_not(x, /):
    """True where x is 0 or False.

    >>> ch.logical_not(ch.asarray([True, False]))
    Tensor([False,  True])
    """
    return unary("logical_not", x)


@quick
def negative(x, /):
    """-x; integers wrap.

    >>> ch.negative(ch.asarray([1, -2]))
    Tensor([-1,  2])
    """
    return unary("negative", x)


@quick
def positive(x, /):
    """x, as a new array.

    >>> ch.positive(ch.asarray([1, -2]))
    Tensor([ 1, -2])
    """
    return unary("positive", x)


@quick
def reciprocal(x, /):
    """1 / x; of integers, the integer part (0 of 0).

    >>> ch.reciprocal(ch.asarray([4.0, 0.5]))
    Tensor([0.25, 2.  ])
    """
    return unary("reciprocal", x)


@quick
def round(x, /):
    """The nearest integer, halves to even, in x's dtype.

    >>> ch.round(ch.asarray([0.5, 1.5, 2.6]))
    Tensor([0., 2., 3.])
    """
    return unary("round", x)


@quick
def sign(x, /):
    """-1, 0 or 1 by the sign of x; NaN of NaN.

    >>> ch.sign(ch.asarray([-3, 0, 7]))
    Tensor([-1,  0,  1])
    """
    return unary("sign", x)


@quick
def signbit(x, /):
    """Whether the sign bit is set, that of -0.0 and NaN too.

    >>> ch.signbit(ch.asarray([-0.0, 1.0]))
    Tensor([ True, False])
    """
    return unary("signbit", x)


@quick
def square(x, /):
    """x * x.

    >>> ch.square(ch.asarray([3, -4]))
    Tensor([ 9, 16])
    """
    return unary("square", x)


@quick
def trunc(x, /):
    """The integer part, towards 0, in x's dtype.

    >>> ch.trunc(ch.asarray([1.5, -1.5]))
    Tensor([ 1., -1.])
    """
    return unary("trunc", x)


@quick
def add(x1, x2, /):
    """x1 + x2; integers wrap, bools give logical or.

    >>> ch.add(ch.asarray([1, 2]), 3)
    Tensor([4, 5])
    """
    return binary("add", x1, x2)


@quick
def bitwise_and(x1, x2, /):
    """The bits set in both.

    >>> ch.bitwise_and(ch.asarray([6, 5]), 3)
    Tensor([2, 1])
    """
    return binary("bitwise_and", x1, x2)


@quick
def bitwise_left_shift(x1, x2, /):
    """x1 * 2**x2; a shift outside 0..width-1 gives 0.

    >>> ch.bitwise_left_shift(ch.asarray([1, 3]), 2)
    Tensor([ 4, 12])
    """
    return binary("bitwise_left_shift", x1, x2)


@quick
def bitwise_or(x1, x2, /):
    """The bits set in either.

    >>> ch.bitwise_or(ch.asarray([6, 5]), 3)
    Tensor([7, 7])
    """
    return binary("bitwise_or", x1, x2)


@quick
def bitwise_right_shift(x1, x2, /):
    """x1 // 2**x2; a shift outside 0..width-1 gives 0 or, below 0, -1.

    >>> ch.bitwise_right_shift(ch.asarray([8, -3]), 1)
    Tensor([ 4, -2])
    """
    return binary("bitwise_right_shift", x1, x2)


@quick
def bitwise_xor(x1, x2, /):
    """The bits set in exactly one.

    >>> ch.bitwise_xor(ch.asarray([6, 5]), 3)
    Tensor([5, 6])
    """
    return binary("bitwise_xor", x1, x2)


@quick
def copysign(x1, x2, /):
    """x1 with the sign of x2.

    >>> ch.copysign(ch.asarray([1.0, 2.0]), -1.0)
    Tensor([-1., -2.])
    """
    return binary("copysign", x1, x2)


@quick
def divide(x1, x2, /):
    """x1 / x2; integers become float64.

    >>> ch.divide(ch.asarray([1, 2]), 4)
    Tensor([0.25, 0.5 ])
    """
    return binary("divide", x1, x2)


@quick
def equal(x1, x2, /):
    """x1 == x2. Bool.

    >>> ch.equal(ch.asarray([1, 2]), 2)
    Tensor([False,  True])
    """
    return binary("equal", x1, x2)


@quick
def floor_divide(x1, x2, /):
    """The greatest integer not above x1 / x2; x // 0 of integers is 0.

    >>> ch.floor_divide(ch.asarray([7, -7]), 2)
    Tensor([ 3, -4])
    """
    return binary("floor_divide", x1, x2)


@quick
def greater(x1, x2, /):
    """x1 > x2. Bool.

    >>> ch.greater(ch.asarray([1, 2]), 2)
    Tensor([False, False])
    """
    return binary("greater", x1, x2)


@quick
def greater_equal(x1, x2, /):
    """x1 >= x2. Bool.

    >>> ch.greater_equal(ch.asarray([1, 2]), 2)
    Tensor([False,  True])
    """
    return binary("greater_equal", x1, x2)


@quick
def less(x1, x2, /):
    """x1 < x2. Bool.

    >>> ch.less(ch.asarray([1, 2]), 2)
    Tensor([ True, False])
    """
    return binary("less", x1, x2)


@quick
def less_equal(x1, x2, /):
    """x1 <= x2. Bool.

    >>> ch.less_equal(ch.asarray([1, 2]), 2)
    Tensor([ True,  True])
    """
    return binary("less_equal", x1, x2)


@quick
def logical_and(x1, x2, /):
    """True where both are nonzero. Bool.

    >>> ch.logical_and(ch.asarray([True, False]), True)
    Tensor([ True, False])
    """
    return binary("logical_and", x1, x2)


@quick
def logical_or(x1, x2, /):
    """True where either is nonzero. Bool.

    >>> ch.logical_or(ch.asarray([True, False]), False)
    Tensor([ True, False])
    """
    return binary("logical_or", x1, x2)


@quick
def logical_xor(x1, x2, /):
    """True where exactly one is nonzero. Bool.

    >>> ch.logical_xor(ch.asarray([True, False]), True)
    Tensor([False,  True])
    """
    return binary("logical_xor", x1, x2)


@quick
def maximum(x1, x2, /):
    """The greater of both; NaN where either is.

    >>> ch.maximum(ch.asarray([1, 5]), 3)
    Tensor([3, 5])
    """
    return binary("maximum", x1, x2)


@quick
def minimum(x1, x2, /):
    """The lesser of both; NaN where either is.

    >>> ch.minimum(ch.asarray([1, 5]), 3)
    Tensor([1, 3])
    """
    return binary("minimum", x1, x2)


@quick
def multiply(x1, x2, /):
    """x1 * x2; integers wrap, bools give logical and.

    >>> ch.multiply(ch.asarray([1, 2]), 3)
    Tensor([3, 6])
    """
    return binary("multiply", x1, x2)


@quick
def nextafter(x1, x2, /):
    """The next number after x1 in the direction of x2.

    >>> ch.nextafter(ch.asarray([1.0]), 2.0)
    Tensor([1.])
    """
    return binary("nextafter", x1, x2)


@quick
def not_equal(x1, x2, /):
    """x1 != x2. Bool.

    >>> ch.not_equal(ch.asarray([1, 2]), 2)
    Tensor([ True, False])
    """
    return binary("not_equal", x1, x2)


@quick
def pow(x1, x2, /):
    """x1 to the power x2. Raises ValueError for an integer array to a negative Python int.

    >>> ch.pow(ch.asarray([2, 3]), 2)
    Tensor([4, 9])
    """
    return binary("pow", x1, x2)


@quick
def remainder(x1, x2, /):
    """x1 - x2 * floor(x1 / x2), with the sign of x2; x % 0 of integers is 0.

    >>> ch.remainder(ch.asarray([7, -7]), 3)
    Tensor([1, 2])
    """
    return binary("remainder", x1, x2)


@quick
def subtract(x1, x2, /):
    """x1 - x2; integers wrap.

    >>> ch.subtract(ch.asarray([1, 2]), 3)
    Tensor([-2, -1])
    """
    return binary("subtract", x1, x2)


def clip(x, /, min=None, max=None):
    """x, but not below min and not above max, which broadcast with it; max wins where min > max.

    The dtype is x's promoted with those of array bounds; a Python scalar is weak, and one that lies
    outside an integer dtype's range does not bound it. NaN in x or a bound gives NaN.

    >>> ch.clip(ch.asarray([1, 5, 9]), 2, 6)
    Tensor([2, 5, 6])
    """
    plain = plain_bounds(x, min, max)
    if plain is not None:
        return plain
    kind = b.dtype_of(b.node(x, "clip")).kind
    bounds = []
    for bound in (min, max):
        if type(bound) is int and kind in "iu":
            bound = _held(bound, b.dtype_of(b.node(x, "clip")))
        bounds.append(bound)
    given = [bound for bound in bounds if bound is not None]
    out, *nodes = b.common("clip", x, *given)
    if bounds[0] is not None:
        out = b.call("maximum", out, nodes.pop(0))
    if bounds[1] is not None:
        out = b.call("minimum", out, nodes.pop(0))
    return wrap(out)


def _held(bound: int, dtype):
    """A Python int moved into an integer dtype's range."""
    bits = 8 * dtype.itemsize
    least, most = (
        (0, (1 << bits) - 1) if dtype.kind == "u" else (-1 << (bits - 1), (1 << (bits - 1)) - 1)
    )
    return least if bound < least else most if bound > most else bound


def conj(x, /):
    """x itself as a new array: all dtypes are real.

    >>> ch.conj(ch.asarray([1.0, 2.0]))
    Tensor([1., 2.])
    """
    return unary("positive", x)


def imag(x, /):
    """Zeros of x's shape and dtype: all dtypes are real.

    >>> ch.imag(ch.asarray([1.0, 2.0]))
    Tensor([0., 0.])
    """
    n = b.node(x, "imag")
    return wrap(b.expand(b.const(0, b.dtype_of(n)), n.shape))


def real(x, /):
    """x itself as a new array: all dtypes are real.

    >>> ch.real(ch.asarray([1.0, 2.0]))
    Tensor([1., 2.])
    """
    return unary("positive", x)
