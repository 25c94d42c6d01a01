"""What the approximations share: the layout of f32 and f64, constants split over several floats,
polynomials.

Coefficients in approx, erf, trig, inverse and special are this project's: minimax fits in the stated
weight (Lawson's iteration in 200-bit arithmetic, one coefficient rounded to the dtype at a time and
the rest refitted). "Error 0.98, 0.97 ULP" in a docstring is the largest seen for f32 and f64: of 70
million float32 spread over all their bits (all of them, from 1/16 to the ends, for exp, exp2,
expm1, sigmoid, tanh and erf), of three million float64 against 64-bit significands. A function
without a stated range is valid for every value.
"""

from __future__ import annotations

from collections.abc import Callable

from charl.core.named import NamedTuple
from charl.ops.table import op

INF = float("inf")
NAN = float("nan")


class Format(NamedTuple):
    """A float format and constants in it; a pair or triple sums to the constant."""

    int: str
    uint: str
    mantissa: int  # stored bits
    bias: int
    magic: float  # adding it rounds to an integer, found in the low bits of the sum
    sqrt_half: int  # bits of sqrt(1/2)
    ln2: tuple[float, float]
    log2_e: tuple[float, float]
    log10_e: tuple[float, float]
    log10_2: tuple[float, float]
    half_pi: tuple[float, float, float]  # the second is positive: 0 times it is no -0

    @property
    def tiny(self) -> float:
        """The least normal number."""
        return 2.0 ** (1 - self.bias)

    @property
    def epsilon(self) -> float:
        return 2.0**-self.mantissa


_hex = float.fromhex
FORMATS = {
    "f32": Format(
        "i32", "u32", 23, 127, 1.5 * 2**23, 0x3F3504F3,
        (_hex("0x1.62e430p-1"), _hex("-0x1.05c610p-29")),
        (_hex("0x1.715476p+0"), _hex("0x1.4ae0c0p-26")),
        (_hex("0x1.bcb7b2p-2"), _hex("-0x1.5b235ep-27")),
        (_hex("0x1.344136p-2"), _hex("-0x1.ec10c0p-27")),
        (_hex("0x1.921fb4p+0"), _hex("0x1.4442d2p-24"), _hex("-0x1.ee59dap-50"))),
    "f64": Format(
        "i64", "u64", 52, 1023, 1.5 * 2**52, 0x3FE6A09E667F3BCD,
        (_hex("0x1.62e42fefa39efp-1"), _hex("0x1.abc9e3b39803fp-56")),
        (_hex("0x1.71547652b82fep+0"), _hex("0x1.777d0ffda0d24p-56")),
        (_hex("0x1.bcb7b1526e50ep-2"), _hex("0x1.95355baaafad3p-57")),
        (_hex("0x1.34413509f79ffp-2"), _hex("-0x1.9dc1da994fd21p-59")),
        (_hex("0x1.921fb54442d18p+0"), _hex("0x1.1a62633145c07p-54"),
         _hex("-0x1.f1976b7ed8fbcp-110"))),
}  # fmt: skip


def horner(b, z, coefficients):
    """c0 + c1*z + c2*z**2 + ..., by fma."""
    p = b.like(z, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        p = b.fma(p, z, c)
    return p


def whole(b, t):
    """The integer n of t = n + magic, as an unsigned number modulo its width (vectors shift and
    compare it cheaply).
    """
    f = FORMATS[t.dtype]
    return b.bitcast(t, f.uint) - b.bitcast(b.like(t, f.magic), f.uint)


def power_of_two(b, n, dtype):
    """2**n of an integer n modulo its width, for exponents of normal numbers."""
    f = FORMATS[dtype]
    return b.bitcast((n << f.mantissa) + (f.bias << f.mantissa), dtype)


def two_sum(b, x, y):
    """x + y exactly, as (rounded, error); |x| >= |y| or x == 0."""
    s = x + y
    return s, (x - s) + y


def sum_any(b, x, y):
    """x + y exactly, as (rounded, error), for any magnitudes (Knuth)."""
    s = x + y
    t = s - x
    return s, (x - (s - t)) + (y - t)


def product(b, x, y):
    """x * y exactly, as (rounded, error)."""
    p = x * y
    return p, b.fma(x, y, -p)


def quotient(b, x, x_error, y, y_error):
    """(x + x_error) / (y + y_error) as (near it, error). y and 1/y are far from the ends of the
    range.
    """
    r = 1 / y
    q = x * r
    return q, (b.fma(-q, y, x) + b.fma(-q, y_error, x_error)) * r


def declare(
    name: str, expand: Callable, *, cost: int, arity: int = 1, ulp: int = 1, numpy="", domain=None
) -> None:
    """The row of a function on floats whose reference has its name, and which documents itself."""
    doc, numpy = expand.__doc__, numpy or name
    fields = {"numpy": numpy, "domain": domain, "ulp": ulp, "cost": cost, "doc": doc}
    op(name, arity, "biuf", "float", expand=expand, **fields)
