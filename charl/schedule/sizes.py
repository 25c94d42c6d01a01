"""Symbolic sizes: a schedule is made once for a structure and bound to new extents by one small
function.

A Size stands for a number that comes at launch. It behaves as an integer polynomial over atoms (the
numbers of the signature, `d[3]`), so two ways of writing a product are one Size. A decision that
depends on its value (a comparison that the polynomials alone do not settle) is recorded as a guard;
a schedule is reused only where all guards hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

Number = Union[int, "Size"]
Poly = dict[tuple[str, ...], int]


class Trace:
    """The guards that one schedule's decisions rest on: text -> outcome."""

    def __init__(self) -> None:
        self.guards: dict[str, bool] = {}

    def symbol(self, index: int, value: int) -> Size:
        """The Size of number `index` of the signature; never 0, 1 or -1 (those are literals)."""
        return Size(self, value, {(f"d[{index}]",): 1}, True)


class Size:
    """An integer polynomial with its present value. `atom`: a bare number of the signature."""

    __slots__ = ("_text", "atom", "poly", "trace", "value")

    def __init__(self, trace: Trace, value: int, poly: Poly, atom: bool = False):
        self.trace, self.value, self.poly, self.atom = trace, value, poly, atom
        self._text: str | None = None

    @property
    def text(self) -> str:
        """A Python expression over d."""
        if self._text is None:
            parts = []
            for atoms, coef in sorted(self.poly.items()):
                factors = ([str(coef)] if coef != 1 or not atoms else []) + list(atoms)
                parts.append("*".join(factors))
            self._text = " + ".join(parts)
        return self._text

    def __repr__(self) -> str:
        return self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __bool__(self) -> bool:
        return self != 0

    def __index__(self) -> int:
        raise TypeError(f"the size {self.text} is a launch parameter, not a constant")

    def _make(self, value: int, poly: Poly) -> Number:
        poly = {atoms: coef for atoms, coef in poly.items() if coef}
        if not poly:
            return 0
        if len(poly) == 1 and () in poly:
            return poly[()]
        atom = False
        if len(poly) == 1:
            ((atoms, coef),) = poly.items()
            atom = coef == 1 and len(atoms) == 1 and atoms[0].startswith("d[")
        return Size(self.trace, value, poly, atom)

    def __add__(self, other: Number) -> Number:
        poly = dict(self.poly)
        for atoms, coef in _poly(other).items():
            poly[atoms] = poly.get(atoms, 0) + coef
        return self._make(self.value + value(other), poly)

    __radd__ = __add__

    def __mul__(self, other: Number) -> Number:
        poly: Poly = {}
        for left, a in self.poly.items():
            for right, b in _poly(other).items():
                atoms = tuple(sorted(left + right))
                poly[atoms] = poly.get(atoms, 0) + a * b
        return self._make(self.value * value(other), poly)

    __rmul__ = __mul__

    def __neg__(self) -> Number:
        return self * -1

    def __sub__(self, other: Number) -> Number:
        return self + other * -1

    def __rsub__(self, other: Number) -> Number:
        return self * -1 + other

    def __floordiv__(self, other: Number) -> Number:
        exact = divide(self, other)
        if exact is not None:
            return exact
        atom = f"(({self.text})//({other}))"
        return self._make(self.value // value(other), {(atom,): 1})

    def __rfloordiv__(self, other: int) -> Number:
        return self._make(other // self.value, {(f"({other}//({self.text}))",): 1})

    def __mod__(self, other: Number) -> Number:
        if divide(self, other) is not None:
            return 0
        atom = f"(({self.text})%({other}))"
        return self._make(self.value % value(other), {(atom,): 1})

    def __rmod__(self, other: int) -> Number:
        return self._make(other % self.value, {(f"({other}%({self.text}))",): 1})

    def _guard(self, sign: str, other: Number, outcome: bool) -> bool:
        self.trace.guards[f"({self.text}) {sign} ({other})"] = outcome
        return outcome

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (int, Size)):
            return NotImplemented
        if _poly(other) == self.poly:
            return True
        # two numbers of a signature that are equal are one symbol, and none is 0, 1 or -1
        if self.atom and (other.atom if isinstance(other, Size) else other in (0, 1, -1)):
            return False
        return self._guard("==", other, self.value == value(other))

    def __lt__(self, other: Number) -> bool:
        return self._guard("<", other, self.value < value(other))

    def __le__(self, other: Number) -> bool:
        return self._guard("<=", other, self.value <= value(other))

    def __gt__(self, other: Number) -> bool:
        return self._guard(">", other, self.value > value(other))

    def __ge__(self, other: Number) -> bool:
        return self._guard(">=", other, self.value >= value(other))


def _poly(number: object) -> Poly:
    if isinstance(number, Size):
        return number.poly
    return {(): number} if number else {}  # type: ignore[dict-item]


def value(number: Number) -> int:
    """The number as it is now, without a guard: for estimates, never for a decision that a result
    rests on.
    """
    return number.value if isinstance(number, Size) else number


def same(a: Number, b: Number) -> bool:
    """Equal for every binding: no guard. Use it where unequal is merely slower, never wrong."""
    return _poly(a) == _poly(b)


def product(numbers: Iterable[Number]) -> Number:
    result: Number = 1
    for number in numbers:
        result = result * number
    return result


def ceildiv(a: Number, b: Number) -> Number:
    return -(-a // b)


def divide(a: Number, b: Number) -> Number | None:
    """a / b where every term of a has all atoms of the single term b; else None."""
    if same(b, 1):
        return a
    left, right = _poly(a), _poly(b)
    if len(right) != 1:
        return 1 if left == right else None
    ((atoms, coef),) = right.items()
    result: Poly = {}
    for term, c in left.items():
        rest = list(term)
        for atom in atoms:
            if atom not in rest:
                return None
            rest.remove(atom)
        if c % coef:
            return None
        result[tuple(rest)] = c // coef
    if not isinstance(a, Size):
        return a // b if not isinstance(b, Size) else None
    return a._make(a.value // value(b), result)
