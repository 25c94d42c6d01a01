"""Integer division of vectors, which processors do not have: through floats, exactly.

A quotient x / y that is no integer is at least |1 / y| away from one, more than 1 / |x| of itself. So
rounding it to a float of more bits than x has moves it neither to an integer nor past one, and
cutting off its fraction gives the quotient. By one divisor for all lanes it is the floor of
x * (1 / y) + |0.5 / y|: half a unit of x away from all integers, more than what the roundings add up to.
"""

from __future__ import annotations

from charl.codegen.text import Code, literal, splat, suffix, vector
from charl.core.named import NamedTuple

FLOAT = {1: "f32", 2: "f32", 4: "f64", 8: "f64"}  # by bytes: what holds every x
REAL = {"f32": "float", "f64": "double"}
FITS = 1 << 50  # 64-bit integers below this magnitude go through floats


class Whole(NamedTuple):
    """A vector of integers."""

    size: int  # bytes
    signed: bool
    width: int

    @property
    def full(self) -> str:
        return vector(f"i{8 * self.size}", self.width)

    @property
    def float(self) -> str:
        return FLOAT[self.size]

    def real(self, code: Code, x: str) -> str:
        """x as floats."""
        to = vector(REAL[self.float], self.width)
        return code.op(f"{'s' if self.signed else 'u'}itofp {self.full} {x} to {to}")

    def cut(self, code: Code, x: str) -> str:
        """Floats without their fractions."""
        sign, of = "s" if self.signed else "u", vector(REAL[self.float], self.width)
        if self.size >= 4:
            return code.op(f"fpto{sign}i {of} {x} to {self.full}")
        whole = vector("i32", self.width)
        return code.op(f"trunc {whole} {code.op(f'fptosi {of} {x} to {whole}')} to {self.full}")

    def either(self, code: Code, small: list[str], near, far) -> str:
        """near(code) where all integers of `small` are of small magnitude, else far(code)."""
        if self.size < 8:
            return near(code)
        full, width, highest = self.full, self.width, ""
        for x in small:
            x = code.op(f"add {full} {x}, {splat('i64', FITS, width)}") if self.signed else x
            highest = code.op(f"or {full} {highest}, {x}") if highest else x
        most = splat("i64", 2 * FITS, width)
        bits = f"i{width}"
        large = code.op(f"icmp uge {full} {highest}, {most}")
        large = code.op(f"bitcast <{width} x i1> {large} to {bits}")
        begin, other, done = (code.module.name(stem) for stem in ("near", "far", "done"))
        code.branch(code.op(f"icmp eq {bits} {large}, 0"), begin, other)
        ways = []
        for label, way in ((begin, near), (other, far)):
            code.begin(label)
            ways.append(f"[{way(code)}, %{code.label}]")
            code.do(f"br label %{done}")
        code.begin(done)
        return code.op(f"phi {full} {', '.join(ways)}")


def divided(code: Code, of: Whole, x: str, y: str) -> str:
    """x / y, cut towards zero. y is not 0, nor -1 where x is the least integer."""

    def near(code: Code) -> str:
        real = vector(REAL[of.float], of.width)
        a, b = of.real(code, x), of.real(code, y)
        return of.cut(code, code.op(f"fdiv {real} {a}, {b}"))

    def far(code: Code) -> str:
        return code.op(f"{'s' if of.signed else 'u'}div {of.full} {x}, {y}")

    return of.either(code, [x, y], near, far)


class Divisor(NamedTuple):
    """A scalar y, prepared: 1 / y and |0.5 / y| (0 for y = 0), whether it is -1, and 0 or all bits
    for y = 0 or not.
    """

    inverse: str
    half: str
    minus: str
    some: str


def prepared(code: Code, size: int, signed: bool, y: str) -> Divisor:
    """Ahead of the loop."""
    kind, dtype = f"i{8 * size}", FLOAT[size]
    real, nought = REAL[dtype], literal(dtype, 0)
    zero, minus = (code.op(f"icmp eq {kind} {y}, {n}") for n in (0, -1))
    inverse = code.op(f"fdiv {real} {literal(dtype, 1)}, {Whole(size, signed, 1).real(code, y)}")
    inverse = code.op(f"select i1 {zero}, {real} {nought}, {real} {inverse}")
    size_of = code.call(f"llvm.fabs.{suffix(real, 1)}", real, (real, inverse))
    half = code.op(f"fmul {real} {size_of}, {literal(dtype, 0.5)}")
    return Divisor(inverse, half, minus, code.op(f"select i1 {zero}, {kind} 0, {kind} -1"))


def floor_by(code: Code, of: Whole, x: str, by: Divisor, far) -> str:
    """x // y by a Divisor whose parts are vectors now; far(code): for integers that are too large."""

    def near(code: Code) -> str:
        real = vector(REAL[of.float], of.width)
        typed = [(real, text) for text in (of.real(code, x), by.inverse, by.half)]
        name = suffix(REAL[of.float], of.width)
        q = code.call(f"llvm.fma.{name}", real, *typed)
        q = of.cut(code, code.call(f"llvm.floor.{name}", real, (real, q)))
        if not of.signed or of.size != 4:
            return q
        least = code.op(f"sub {of.full} {splat('i32', 0, of.width)}, {x}")  # MIN // -1 is MIN
        mask = vector("i1", of.width)
        return code.op(f"select {mask} {by.minus}, {of.full} {least}, {of.full} {q}")

    return of.either(code, [x], near, far)
