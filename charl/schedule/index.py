"""Index maps: where an element of a vertex lies, as an affine expression of a kernel's axes.

An expression is a Lin; a vertex's index is one Lin an axis (its `Index`). Movement ops act on
indices alone, from the result's index to the source's. Merging and splitting axes (reshape) may
need a kernel axis in two parts: NeedSplit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from charl.schedule.prepare import Vertex
from charl.schedule.sizes import Number, divide, same

Term = object  # an axis number, or ("gather", key) for a computed index


class NeedSplit(Exception):
    """Kernel axis `axis` must become two: (extent / factor, factor)."""

    def __init__(self, axis: int, factor: Number):
        self.axis, self.factor = axis, factor


class NotAffine(Exception):
    """The map cannot be written as affine expressions of any split of the axes."""


class Lin:
    """offset + sum(coefficient * term)."""

    __slots__ = ("_key", "offset", "terms")

    def __init__(self, offset: Number, terms: dict):
        self.offset = offset
        self.terms = {t: c for t, c in terms.items() if not same(c, 0)}
        self._key: str | None = None

    @property
    def key(self) -> str:
        if self._key is None:
            terms = sorted(f"{t}*{c}" for t, c in self.terms.items())
            self._key = f"{self.offset}+" + "+".join(terms)
        return self._key

    def __add__(self, other: Lin) -> Lin:
        terms = dict(self.terms)
        for t, c in other.terms.items():
            terms[t] = terms.get(t, 0) + c
        return Lin(self.offset + other.offset, terms)

    def scale(self, factor: Number, shift: Number = 0) -> Lin:
        return Lin(self.offset * factor + shift, {t: c * factor for t, c in self.terms.items()})

    def constant(self) -> bool:
        return not self.terms


ZERO = Lin(0, {})
Index = tuple[Lin, ...]


def key(index: Index) -> str:
    return ";".join(e.key for e in index)


def moved(index: Index, by: Sequence[Number]) -> Index:
    return tuple(e.scale(1, n) for e, n in zip(index, by))


def repeats(wanted: Iterable[Index]) -> int:
    """At how many of these indices an element may be computed. Two with different constants along an
    axis have no element in common.
    """
    most: dict[tuple, dict[str, int]] = {}
    for index in wanted:
        axes = tuple(a for a, e in enumerate(index) if e.constant())
        constants = ";".join(str(index[a].offset) for a in axes)
        times = most.setdefault(axes, {})
        times[constants] = times.get(constants, 0) + 1
    return sum(max(times.values()) for times in most.values())


def strides(shape: Sequence[Number]) -> list[Number]:
    """C-order strides in elements."""
    result: list[Number] = []
    step: Number = 1
    for n in reversed(shape):
        result.append(step)
        step = step * n
    return result[::-1]


def flatten(index: Index, shape: Sequence[Number]) -> Lin:
    """Position in C order."""
    total = ZERO
    for e, step in zip(index, strides(shape)):
        total = total + e.scale(step)
    return total


def broadcast(index: Index, shape: Sequence[Number]) -> Index:
    """Index of a source of this shape, right-aligned with the result whose index is given."""
    index = index[len(index) - len(shape) :]
    return tuple(ZERO if same(n, 1) else e for e, n in zip(index, shape))


def through(v: Vertex, source: Sequence[Number], index: Index, extents: dict) -> Index:
    """The index of a movement's source, from the index of its result."""
    if v.op == "expand":
        return broadcast(index, source)
    if v.op == "permute":
        inverse = {axis: e for axis, e in zip(v.attrs, index)}  # type: ignore[call-overload]
        return tuple(inverse[a] for a in range(len(source)))
    if v.op == "slice":
        rank = len(source)
        return tuple(e.scale(v.sizes[rank + a], v.sizes[a]) for a, e in enumerate(index))
    if v.op == "windows":
        return _windows(v, source, index)
    return _reshape(v.shape, source, index, extents)


def _windows(v: Vertex, source: Sequence[Number], index: Index) -> Index:
    axes: tuple[int, ...] = v.attrs  # type: ignore[assignment]
    result = list(index[: len(source)])
    for k, axis in enumerate(axes):
        place = index[len(source) + k].scale(v.sizes[len(axes) + k])
        result[axis] = result[axis].scale(v.sizes[k]) + place
    return tuple(result)


def _reshape(
    shape: Sequence[Number], source: Sequence[Number], index: Index, extents: dict
) -> Index:
    """Groups of axes with equal products are flattened and taken apart again."""
    left = [(n, e) for n, e in zip(shape, index) if not same(n, 1)]
    right = [(a, n) for a, n in enumerate(source) if not same(n, 1)]
    result = [ZERO] * len(source)
    while right:
        (n, e), (a, m) = left.pop(0), right.pop(0)
        ns, es, axes, ms = [n], [e], [a], [m]
        while not n == m:
            if n < m:
                more, e = left.pop(0)
                ns.append(more)
                es.append(e)
                n = n * more
            else:
                a, more = right.pop(0)
                axes.append(a)
                ms.append(more)
                m = m * more
        if len(axes) == 1:
            result[axes[0]] = flatten(tuple(es), ns)
        else:
            for a, e in zip(axes, _digits(flatten(tuple(es), ns), ms, extents)):
                result[a] = e
    return tuple(result)


def _digits(flat: Lin, shape: list[Number], extents: dict) -> list[Lin]:
    """A flat position as one expression an axis of `shape`; every carry must be provably absent."""
    result = []
    rest = flat
    for n, step in list(zip(shape, strides(shape)))[:-1]:
        high, low = Lin(0, {}), Lin(0, {})
        if not same(rest.offset, 0):
            q = rest.offset // step
            high, low = high + Lin(q, {}), low + Lin(rest.offset - q * step, {})
        reach: Number = low.offset  # the largest value that the low part takes
        for term, coef in rest.terms.items():
            if not isinstance(term, int) or not coef > 0:
                raise NotAffine
            q = divide(coef, step)
            if q is None and coef % step == 0:
                q = coef // step
            if q is not None:
                high = high + Lin(0, {term: q})
                continue
            if coef * extents[term] > step:
                factor = divide(step, coef)
                if factor is None:
                    if not step % coef == 0:
                        raise NotAffine
                    factor = step // coef
                if not extents[term] % factor == 0:
                    raise NotAffine
                raise NeedSplit(term, factor)
            low = low + Lin(0, {term: coef})
            reach = reach + coef * (extents[term] - 1)
        if not reach < step:
            raise NotAffine
        result.append(high)
        rest = low
    return [*result, rest]
