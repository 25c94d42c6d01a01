"""Elementwise functions of calculus: exponentials, logarithms, angles. Source: array API 2025.12,
elementwise.

All take real arrays of any shape and give a floating-point array of that shape: floats keep their
dtype; as in NumPy, ints and bools of 8 bits become float16, of 16 bits float32, others float64. The
error bound of each is its row's in the op table. cbrt, erf, exp2 and sigmoid are charl's own
additions. TypeError is raised at the call for a dtype that the row does not take.
"""

from __future__ import annotations

from charl.tensor import binary, quick, unary


@quick
def acos(x, /):
    """The angle in [0, pi] whose cosine is x; NaN outside [-1, 1].

    >>> ch.acos(ch.asarray([1.0, 0.0]))
    Tensor([0.        , 1.57079633])
    """
    return unary("acos", x)


@quick
def acosh(x, /):
    """The inverse hyperbolic cosine, >= 0; NaN below 1.

    >>> ch.acosh(ch.asarray([1.0, 2.0]))
    Tensor([0.       , 1.3169579])
    """
    return unary("acosh", x)


@quick
def asin(x, /):
    """The angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1].

    >>> ch.asin(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 1.57079633])
    """
    return unary("asin", x)


@quick
def asinh(x, /):
    """The inverse hyperbolic sine.

    >>> ch.asinh(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 0.88137359])
    """
    return unary("asinh", x)


@quick
def atan(x, /):
    """The angle in [-pi/2, pi/2] whose tangent is x.

    >>> ch.atan(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 0.78539816])
    """
    return unary("atan", x)


@quick
def atanh(x, /):
    """The inverse hyperbolic tangent; +-inf at +-1, NaN beyond.

    >>> ch.atanh(ch.asarray([0.0, 0.5]))
    Tensor([0.        , 0.54930614])
    """
    return unary("atanh", x)


@quick
def cbrt(x, /):
    """The cube root, of negative numbers too.

    >>> ch.cbrt(ch.asarray([8.0, -27.0]))
    Tensor([ 2., -3.])
    """
    return unary("cbrt", x)


@quick
def cos(x, /):
    """The cosine of an angle in radians; NaN at +-inf.

    >>> ch.cos(ch.asarray([0.0, 1.0]))
    Tensor([1.        , 0.54030231])
    """
    return unary("cos", x)


@quick
def cosh(x, /):
    """The hyperbolic cosine.

    >>> ch.cosh(ch.asarray([0.0, 1.0]))
    Tensor([1.        , 1.54308063])
    """
    return unary("cosh", x)


@quick
def erf(x, /):
    """The error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x.

    >>> ch.erf(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 0.84270079])
    """
    return unary("erf", x)


@quick
def exp(x, /):
    """e to the power x.

    >>> ch.exp(ch.asarray([0.0, 1.0]))
    Tensor([1.        , 2.71828183])
    """
    return unary("exp", x)


@quick
def exp2(x, /):
    """2 to the power x.

    >>> ch.exp2(ch.asarray([3.0, 0.5]))
    Tensor([8.        , 1.41421356])
    """
    return unary("exp2", x)


@quick
def expm1(x, /):
    """exp(x) - 1, accurate near 0.

    >>> ch.expm1(ch.asarray([0.0, 1e-10]))
    Tensor([0.e+00, 1.e-10])
    """
    return unary("expm1", x)


@quick
def log(x, /):
    """The natural logarithm; -inf at 0, NaN below.

    >>> ch.log(ch.asarray([1.0, 10.0]))
    Tensor([0.        , 2.30258509])
    """
    return unary("log", x)


@quick
def log10(x, /):
    """The logarithm to base 10.

    >>> ch.log10(ch.asarray([1.0, 100.0]))
    Tensor([0., 2.])
    """
    return unary("log10", x)


@quick
def log1p(x, /):
    """log(1 + x), accurate near 0.

    >>> ch.log1p(ch.asarray([0.0, 1e-10]))
    Tensor([0.e+00, 1.e-10])
    """
    return unary("log1p", x)


@quick
def log2(x, /):
    """The logarithm to base 2.

    >>> ch.log2(ch.asarray([1.0, 8.0]))
    Tensor([0., 3.])
    """
    return unary("log2", x)


@quick
def sigmoid(x, /):
    """1 / (1 + exp(-x)), without overflow at either end.

    >>> ch.sigmoid(ch.asarray([0.0, 2.0]))
    Tensor([0.5       , 0.88079708])
    """
    return unary("sigmoid", x)


@quick
def sin(x, /):
    """The sine of an angle in radians; NaN at +-inf.

    >>> ch.sin(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 0.84147098])
    """
    return unary("sin", x)


@quick
def sinh(x, /):
    """The hyperbolic sine.

    >>> ch.sinh(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 1.17520119])
    """
    return unary("sinh", x)


@quick
def sqrt(x, /):
    """The square root, correctly rounded; NaN below 0.

    >>> ch.sqrt(ch.asarray([4.0, 2.0]))
    Tensor([2.        , 1.41421356])
    """
    return unary("sqrt", x)


@quick
def tan(x, /):
    """The tangent of an angle in radians; NaN at +-inf.

    >>> ch.tan(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 1.55740772])
    """
    return unary("tan", x)


@quick
def tanh(x, /):
    """The hyperbolic tangent.

    >>> ch.tanh(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 0.76159416])
    """
    return unary("tanh", x)


@quick
def atan2(x1, x2, /):
    """The angle in [-pi, pi] of the point (x2, x1), by the signs of both. x1 and x2 broadcast; one
    may be a Python scalar.

    >>> ch.atan2(1.0, ch.asarray([1.0, -1.0]))
    Tensor([0.78539816, 2.35619449])
    """
    return binary("atan2", x1, x2)


@quick
def hypot(x1, x2, /):
    """sqrt(x1*x1 + x2*x2) without undue overflow or underflow. x1 and x2 broadcast; one may be a
    Python scalar.

    >>> ch.hypot(ch.asarray([3.0]), 4.0)
    Tensor([5.])
    """
    return binary("hypot", x1, x2)


@quick
def logaddexp(x1, x2, /):
    """log(exp(x1) + exp(x2)) without undue overflow. x1 and x2 broadcast; one may be a Python
    scalar.

    >>> ch.logaddexp(ch.asarray([1000.0]), 1000.0)
    Tensor([1000.69314718])
    """
    return binary("logaddexp", x1, x2)
