"""Einstein's summation over labelled axes, as products of pairs. Source: NumPy's einsum.

Each operand loses its repeated labels (a diagonal) and those that only it has (a sum). Then pairs
are multiplied: as a matrix product where they share labels that nothing else needs, else element
by element. So the rounding is that of `matmul` and `sum`. What is done follows from subscripts and
shapes alone: it is worked out once for them and then repeated.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from charl.api import build as b
from charl.api.linear_algebra_functions import contract
from charl.core import dtypes
from charl.graph.node import Node
from charl.tensor import recorded, wrap

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
Labels = tuple[Hashable, ...]  # a letter, or for an axis of an ellipsis its number from the end


class Term(NamedTuple):
    """A value, by its number, with a label for each axis."""

    value: int
    labels: Labels


@recorded
def einsum(*operands, dtype=None, optimize=False):
    """einsum(subscripts, *operands): products of the operands, summed over the labels that the output
    has not.

    subscripts: "ij,jk->ik", a letter for each axis; without "->" the output has the labels that occur
    once, in alphabetical order. "..." stands for any axes, which broadcast. Or operands and lists of
    ints in turn, einsum(x, [0, 1], y, [1, 2], [0, 2]), with Ellipsis for "...".
    dtype: what operands are cast to first, where that is safe.
    optimize: False multiplies from left to right; True, or the name of one of its strategies, takes
    opt_einsum's order if that package is installed; or a path as of numpy.einsum_path.

    The result is never a view. Raises ValueError for wrong subscripts or sizes that differ, TypeError
    for an unsafe dtype.

    >>> ch.einsum("ij,j->i", ch.asarray([[1.0, 2.0], [3.0, 4.0]]), ch.asarray([1.0, 10.0]))
    Tensor([21., 43.])
    >>> ch.einsum("ii", ch.asarray([[1, 2], [3, 4]]))
    Tensor(5)
    """
    inputs, output, arrays = _parse(operands)
    values = _cast([b.tensor(x, "einsum") for x in arrays], dtype)
    if isinstance(optimize, (list, tuple)):
        optimize = tuple(tuple(x) if isinstance(x, (list, tuple)) else x for x in optimize)
    steps = _steps(tuple(inputs), output, tuple(n.shape for n in values), optimize)
    for function, sources, extra in steps.code:
        values.append(function(*(values[k] for k in sources), *extra))
    return wrap(values[steps.result])


@functools.lru_cache(1024)
def _steps(inputs: tuple[str, ...], output: str | None, shapes: tuple, optimize) -> Steps:
    """What einsum does with operands of these shapes."""
    steps = Steps(shapes)
    labels = [_expand(s, shape, k) for k, (s, shape) in enumerate(zip(inputs, shapes))]
    result = _output(output, inputs, labels, max(map(_depth, labels)))
    terms = [steps.diagonal(Term(k, term)) for k, term in enumerate(labels)]
    sizes = steps.sizes(terms)
    terms = [steps.squeezed(term, sizes) for term in terms]
    for positions in _path(terms, result, sizes, optimize):
        chosen = [terms[p] for p in positions]
        terms = [term for k, term in enumerate(terms) if k not in positions]
        needed = set(result).union(*(term.labels for term in terms))
        terms.append(steps.product(chosen, needed))
    term = steps.summed(terms[0], set(result))
    steps.result = steps.permute(term, result)
    return steps


# -- subscripts


def _parse(operands) -> tuple[list[str], str | None, Sequence]:
    """The inputs' subscripts, the output's (None: implicit), and the arrays."""
    if not operands:
        raise ValueError("einsum: needs subscripts and an operand")
    if isinstance(operands[0], str):
        text, arrays = operands[0].replace(" ", ""), operands[1:]
        left, arrow, right = text.partition("->")
        inputs, output = left.split(","), right if arrow else None
    else:
        paired = len(operands) // 2 * 2
        arrays, lists = operands[:paired:2], operands[1:paired:2]
        inputs = [_from_list(given) for given in lists]
        output = _from_list(operands[-1]) if len(operands) > paired else None
    if not arrays or len(arrays) != len(inputs):
        raise ValueError(f"einsum: {len(inputs)} subscripts for {len(arrays)} operands")
    for term in [*inputs, *([] if output is None else [output])]:
        wrong = [x for x in term.replace("...", "", 1) if x not in LETTERS]
        if wrong:
            raise ValueError(f"einsum: subscripts are letters or one '...'; got {term!r}")
    return inputs, output, arrays


def _from_list(given) -> str:
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"einsum: subscripts must be a string or lists; got {given!r}")
    text = ""
    for x in given:
        number = -1 if x is Ellipsis else b.integer(x, "einsum", "a subscript")
        if x is not Ellipsis and not 0 <= number < len(LETTERS):
            raise ValueError(f"einsum: a subscript must be in 0..51; got {number}")
        text += "..." if x is Ellipsis else LETTERS[number]
    return text


def _expand(term: str, shape: tuple[int, ...], number: int) -> Labels:
    """A label for each axis."""
    before, dots, after = term.partition("...")
    rest = len(shape) - len(before) - len(after)
    if rest < 0 or (rest and not dots):
        raise ValueError(f"einsum: operand {number} has shape {shape}, subscripts {term!r}")
    return (*before, *range(-rest, 0), *after)


def _depth(labels: Labels) -> int:
    return max((-x for x in labels if isinstance(x, int)), default=0)


def _output(
    output: str | None, inputs: tuple[str, ...], labels: list[Labels], depth: int
) -> Labels:
    dots = range(-depth, 0)
    if output is None:
        text = "".join(inputs).replace(".", "")
        return (*dots, *sorted(x for x in set(text) if text.count(x) == 1))
    before, given, after = output.partition("...")
    if depth and not given:
        raise ValueError(f"einsum: the output {output!r} has no '...' for the axes of the inputs'")
    for x in before + after:
        if (before + after).count(x) > 1:
            raise ValueError(f"einsum: the output {output!r} has {x!r} twice")
        if not any(x in term for term in labels):
            raise ValueError(f"einsum: {x!r} of the output {output!r} is in no input")
    return (*before, *dots, *after)


def _cast(tensors, dtype) -> list[Node]:
    nodes = b.common("einsum", *tensors)
    if dtype is None:
        return nodes
    target = b.dtype_at(nodes[0], dtype, dtypes.float64, "einsum")
    for n in nodes:
        if dtypes.promote(b.dtype_of(n), target) is not target:
            raise TypeError(f"einsum: {b.dtype_of(n).name} cannot be cast to {target.name} safely")
    return [b.cast(n, target) for n in nodes]


# -- the order of products


def _path(terms: list[Term], result: Labels, sizes, optimize) -> list[tuple[int, ...]]:
    """Positions of the operands of each product; what it gives is put last."""
    count = len(terms)
    if isinstance(optimize, (list, tuple)) and list(optimize[:1]) == ["einsum_path"]:
        path = [tuple(step) for step in optimize[1:]]
    elif count < 3 or optimize is False or not importlib.util.find_spec("opt_einsum"):
        path = [(0, 1)] + [(count - k - 1, 0) for k in range(1, count - 1)] if count > 1 else []
    else:
        path = _optimized(terms, result, sizes, optimize)
    left = count
    for step in path:
        if not step or len(set(step)) < len(step) or not all(0 <= k < left for k in step):
            raise ValueError(f"einsum: optimize={optimize!r} is no path for {count} operands")
        left -= len(step) - 1
    if left != 1:
        raise ValueError(f"einsum: optimize={optimize!r} is no path for {count} operands")
    return path


def _optimized(terms: list[Term], result: Labels, sizes, optimize) -> list[tuple[int, ...]]:
    """opt_einsum's path. Raises ValueError or KeyError for a strategy that it has not."""
    package = importlib.import_module("opt_einsum")
    symbols: dict[Hashable, str] = {}
    texts = [
        "".join(symbols.setdefault(x, package.get_symbol(len(symbols))) for x in labels)
        for labels in (*(term.labels for term in terms), result)
    ]
    strategy = "auto" if optimize is True else optimize
    try:
        path, _ = package.contract_path(
            f"{','.join(texts[:-1])}->{texts[-1]}",
            *([sizes[x] for x in term.labels] for term in terms),
            shapes=True,
            optimize=strategy,
        )
    except (KeyError, TypeError):
        raise ValueError(f"einsum: optimize={optimize!r} is no strategy of opt_einsum") from None
    return [tuple(step) for step in path]


# -- steps


def _sum(node: Node, axes: tuple[int, ...]) -> Node:
    dtype = b.dtype_of(node)
    name = "any" if dtype is dtypes.bool_ else "sum"
    return b.cast(b.reduce(name, b.cast(node, b.WIDE.get(dtype, dtype)), axes), dtype)


def _multiply(left: Node, right: Node) -> Node:
    return b.call("logical_and" if b.dtype_of(left) is dtypes.bool_ else "multiply", left, right)


class Steps:
    """Functions of values, which are numbered: the operands come first."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self.shapes = list(shapes)
        self.code: list[tuple[Callable[..., Node], tuple[int, ...], tuple]] = []
        self.result = 0

    def add(self, shape: Sequence[int], function, sources: tuple[int, ...], *extra) -> int:
        self.code.append((function, sources, extra))
        self.shapes.append(tuple(shape))
        return len(self.shapes) - 1

    def reshape(self, value: int, shape: Sequence[int]) -> int:
        if self.shapes[value] == tuple(shape):
            return value
        return self.add(shape, b.reshape, (value,), tuple(shape))

    def permute(self, term: Term, labels: Sequence[Hashable]) -> int:
        if tuple(labels) == term.labels:
            return term.value
        order = tuple(term.labels.index(x) for x in labels)
        shape = [self.shapes[term.value][k] for k in order]
        return self.add(shape, b.permute, (term.value,), order)

    def sized(self, *terms: Term) -> dict[Hashable, int]:
        """Of these terms' labels, the sizes."""
        return {x: n for value, labels in terms for x, n in zip(labels, self.shapes[value])}

    # -- one operand

    def diagonal(self, term: Term) -> Term:
        """An operand without repeated labels."""
        value, labels = term
        while len(set(labels)) < len(labels):
            label = next(x for x in labels if labels.count(x) > 1)
            p, q = [k for k, x in enumerate(labels) if x == label][:2]
            shape = self.shapes[value]
            n = shape[p]
            if n != shape[q]:
                raise ValueError(
                    f"einsum: label {label!r} stands for sizes {n} and {shape[q]} of one operand"
                )
            rest = [k for k in range(len(labels)) if k not in (p, q)]
            kept = [shape[k] for k in rest]
            # element k of the diagonal is element k * (n + 1) of the square
            turned = (*kept, n, n)
            value = self.add(turned, b.permute, (value,), (*rest, p, q))
            value = self.reshape(value, (*kept, n * n))
            value = self.add((*kept, n), b.cut, (value,), len(rest), 0, n * n, n + 1)
            labels = (*(labels[k] for k in rest), label)
        return Term(value, labels)

    def sizes(self, terms: list[Term]) -> dict[Hashable, int]:
        """Of each label; size 1 broadcasts."""
        sizes: dict[Hashable, int] = {}
        for value, labels in terms:
            for label, n in zip(labels, self.shapes[value]):
                if sizes.setdefault(label, n) == 1:
                    sizes[label] = n
                elif n not in (1, sizes[label]):
                    name = "..." if isinstance(label, int) else label
                    raise ValueError(
                        f"einsum: label {name!r} stands for sizes {sizes[label]} and {n}"
                    )
        return sizes

    def squeezed(self, term: Term, sizes: dict[Hashable, int]) -> Term:
        """Without axes that broadcast."""
        shape = self.shapes[term.value]
        kept = [k for k, x in enumerate(term.labels) if shape[k] == sizes[x]]
        value = self.reshape(term.value, [shape[k] for k in kept])
        return Term(value, tuple(term.labels[k] for k in kept))

    def summed(self, term: Term, needed: set) -> Term:
        """Without labels that nothing needs."""
        axes = tuple(k for k, x in enumerate(term.labels) if x not in needed)
        if not axes:
            return term
        shape = [n for k, n in enumerate(self.shapes[term.value]) if k not in axes]
        value = self.add(shape, _sum, (term.value,), axes)
        return Term(value, tuple(x for x in term.labels if x in needed))

    # -- products

    def product(self, chosen: list[Term], needed: set) -> Term:
        """Of some terms, from left to right, without labels that are not needed."""
        first = chosen[0]
        for k, second in enumerate(chosen[1:], 1):
            later = needed.union(*(term.labels for term in chosen[k + 1 :]))
            first = self.pair(first, second, later)
        return self.summed(first, needed)

    def pair(self, first: Term, second: Term, needed: set) -> Term:
        first = self.summed(first, needed | set(second.labels))
        second = self.summed(second, needed | set(first.labels))
        both = [x for x in first.labels if x in second.labels]
        batch = [x for x in both if x in needed]
        inner = [x for x in both if x not in needed]
        rows = [x for x in first.labels if x not in both]
        columns = [x for x in second.labels if x not in both]
        labels, sizes = (*batch, *rows, *columns), self.sized(first, second)
        shape = [sizes[x] for x in labels]
        if not inner:
            left, right = (self.along(term, labels) for term in (first, second))
            return Term(self.add(shape, _multiply, (left, right)), labels)
        left = self.matrix(first, batch, rows, inner, sizes)
        right = self.matrix(second, batch, inner, columns, sizes)
        ends = self.shapes[left][-2], self.shapes[right][-1]
        value = self.add((*shape[: len(batch)], *ends), contract, (left, right))
        return Term(self.reshape(value, shape), labels)

    def matrix(self, term: Term, batch: list, rows: list, columns: list, sizes: dict) -> int:
        """A term with one axis for some labels, and one for others, behind those of the batch."""
        value = self.permute(term, (*batch, *rows, *columns))
        ends = (math.prod(sizes[x] for x in part) for part in (rows, columns))
        return self.reshape(value, (*(sizes[x] for x in batch), *ends))

    def along(self, term: Term, labels: Labels) -> int:
        """A term that broadcasts over these labels."""
        value = self.permute(term, [x for x in labels if x in term.labels])
        sizes = self.sized(term)
        return self.reshape(value, [sizes.get(x, 1) for x in labels])
