"""From values over axes to a Kernel: merge axes, sort values into stages, number the parameters.

A value that depends on the inner axis belongs to a looping stage: the first after all reductions
that it needs. A later stage that wants it again repeats it, or, where it is heavy, keeps it in a
scratch slot.
"""

from __future__ import annotations

from charl.core.named import NamedTuple
from charl.ops.table import OPS
from charl.schedule import tile
from charl.schedule.index import Lin
from charl.schedule.kernel import (
    Access,
    Arg,
    Axis,
    Contract,
    Digits,
    Instr,
    Int,
    Kernel,
    P,
    Stage,
    Value,
)
from charl.schedule.sizes import Number, same

HEAVY = 10


class Val:
    """One value of a group. `lin`: where it loads, stores or counts; attr: what the Instr needs
    besides.
    """

    __slots__ = ("args", "attr", "dtype", "heavy", "inner", "lin", "op", "stage")

    def __init__(self, op: str, dtype: str, args: tuple[Val, ...], attr: object, lin: Lin | None):
        self.op, self.dtype, self.args, self.attr, self.lin = op, dtype, args, attr, lin
        self.inner = self.heavy = False
        self.stage = 0


class Lowered(NamedTuple):
    """A Kernel with what binds it: args are vertices, params are Sizes, ints, or ("scalar",
    number).
    """

    kernel: Value
    roots: list[int]
    args: list[int]
    params: list
    units: Number
    work: Number
    scratch: Number
    sites: list[int]  # the node of each wrap's site
    demanded: dict[int, int] = {}  # vertex computed here -> at how many indices


class Numbering:
    """Arguments, parameters and error sites in order of first use."""

    def __init__(self, group) -> None:
        self.graph = group.graph
        self.args: dict[int, str] = {}
        self.params: list = []
        self.seen: dict[str, int] = {}
        self.sites: list[int] = []
        self.alias = {base: r for r in group.roots for base in group.graph.bases(r)}

    def number(self, n: Number, role: str) -> Int:
        """A literal or a parameter. Two roles never share one: extents that happen to be equal
        change no text.
        """
        if isinstance(n, int) and n in (0, 1, -1):
            return n
        text = f"{role} {n}"
        if text not in self.seen:
            self.seen[text] = len(self.params)
            self.params.append(n)
        return P(self.seen[text])

    def scalar(self, k: int) -> P:
        text = f"scalar {k}"
        if text not in self.seen:
            self.seen[text] = len(self.params)
            self.params.append(("scalar", k))
        return P(self.seen[text])

    def arg(self, vertex: int, mode: str) -> int:
        vertex = self.alias.get(vertex, vertex)
        before = self.args.get(vertex, mode)
        self.args[vertex] = mode if before == mode else "inout"
        return list(self.args).index(vertex)

    def access(self, vertex: int, mode: str, lin: Lin, axes: list[int]) -> Access:
        arg = self.arg(vertex, mode)
        strides = tuple(self.number(lin.terms.get(a, 0), f"a{arg}.{a}") for a in axes)
        return Access(arg, self.number(lin.offset, f"a{arg}"), strides)

    def site(self, node: int) -> int:
        self.sites.append(node)
        return len(self.sites) - 1


def assemble(group) -> Lowered | None:
    """The group's values as a Kernel; None where its inner axes do not merge into one."""
    values = _reachable(group.order_of)
    lins = [v.lin for v in values if v.lin is not None]
    extents = dict(group.extents)
    if group.contract is not None:
        return _contract(group, values, lins, extents)
    inner = list(group.inner or ())
    outer = _merge([a for a in group.space if a not in inner], lins, extents, group.block)
    inner = _merge(inner, lins, extents)
    if len(inner) > 1:
        return None
    if not inner and outer:
        outer, inner = _arranged(outer, values, extents)
    axes = outer + inner
    _levels(values, set(inner))
    numbering = Numbering(group)
    numbers = [Axis(numbering.number(extents[a], str(a))) for a in axes]
    slots: list[str] = []
    stages = _stages(values, axes, numbering, slots)
    kernel = Kernel(
        tuple(Arg(group.graph[v].dtype, mode) for v, mode in numbering.args.items()),
        tuple(numbers[: len(outer)]),
        numbers[-1] if inner else None,
        group.order,
        outer.index(group.block) if group.block is not None else None,
        stages,
        tuple(slots),
    )
    sizes = [extents[a] for a in outer]
    n = extents[inner[0]] if inner else 1
    return Lowered(
        kernel,
        group.roots,
        list(numbering.args),
        numbering.params,
        tile.units(kernel, sizes, n),
        tile.work(kernel, sizes, n),
        tile.scratch(kernel, n),
        numbering.sites,
    )


def _contract(group, values: list[Val], lins: list[Lin], extents: dict) -> Lowered | None:
    what = _turned(group.contract, values) if group.graph.host else group.contract
    (left, lhs), (right, rhs) = what["lhs"], what["rhs"]
    digits = [
        (side, axis, _digits(lin, what[axis], extents))
        for side, lin, axes in (("lhs", lhs, "ik"), ("rhs", rhs, "jk"))
        for axis in axes
    ]
    lins = [*lins, lhs, rhs]
    merged = [_merge(what[axis], lins, extents) for axis in "ijk"]
    if any(len(axes) > 1 for axes in merged):
        return None
    ijk = [axes[0] for axes in merged]
    outer = _merge(what["outer"], lins, extents)
    if (
        outer and outer[-1] not in rhs.terms and not digits[0][2]
    ):  # one right-hand side for the whole batch: its rows are rows of lhs
        if len(_merge([outer[-1], ijk[0]], lins, extents)) == 1:
            outer.pop()
    dtype = group.graph[what["at"]].dtype
    numbering = Numbering(group)
    numbers = [Axis(numbering.number(extents[a], str(a))) for a in outer + ijk]
    accesses = [
        numbering.access(v, "in", lin, outer + ijk) for v, lin in ((left, lhs), (right, rhs))
    ]
    number = numbering.number
    walked = tuple(
        Digits(
            side, axis, tuple((number(n, f"{t}"), number(s, f"{side}.{t}")) for t, n, s in parts)
        )
        for side, axis, parts in digits
        if parts
    )
    acc = [v for v in values if v.op == "acc"]
    order = acc + [v for v in values if v.op != "acc"]
    at: dict[Val, int] = {}
    body = []
    for v in order:
        at[v] = len(body)
        body.append(_instr(v, at, outer + ijk[:2], numbering))
    kernel = Contract(
        tuple(Arg(group.graph[v].dtype, mode) for v, mode in numbering.args.items()),
        tuple(numbers[:-3]), *numbers[-3:], dtype, *accesses, tuple(body), walked,
    )  # fmt: skip
    sizes = [extents[a] for a in outer]
    i, j, k = (extents[a] for a in ijk)
    return Lowered(
        kernel,
        group.roots,
        list(numbering.args),
        numbering.params,
        tile.contract_units(sizes, i, j),
        tile.contract_work(sizes, i, j, k),
        tile.contract_scratch(dtype),
        numbering.sites,
    )


def _turned(what: dict, values: list[Val]) -> dict:
    """The product of the transposes, where that is what is stored row by row: its sums are the same."""
    stores = [v.lin for v in values if v.op == "store" and v.lin is not None]
    i, j = what["i"], what["j"]
    if not (i and j) or not _along(i[-1], stores) or _along(j[-1], stores):
        return what
    return {**what, "lhs": what["rhs"], "rhs": what["lhs"], "i": j, "j": i}


def _digits(lin: Lin, axes: list[int], extents: dict) -> list[tuple[int, Number, Number]]:
    """(axis, extent, stride) of the parts of an axis, taken from the map; none where it walks them
    as one.
    """
    steps = [lin.terms.get(a, 0) for a in axes]
    inner = zip(steps, steps[1:], axes[1:])
    if all(same(high, low * extents[a]) for high, low, a in inner):
        return []
    for a in axes:
        lin.terms.pop(a, None)
    return [(a, extents[a], step) for a, step in zip(axes, steps)]


def _reachable(order: list[Val]) -> list[Val]:
    wanted = set()
    for v in reversed(order):
        if v.op == "store" or v in wanted:
            wanted.add(v)
            wanted.update(v.args)
    return [v for v in order if v in wanted]


def _merge(axes: list[int], lins: list[Lin], extents: dict, fixed: int | None = None) -> list[int]:
    """Joins neighbours (a, b) that every map walks as one; b's number stays, and a leaves the maps."""
    result: list[int] = []
    for b in axes:
        while result and fixed not in (result[-1], b):
            a = result[-1]
            if not all(same(e.terms.get(a, 0), e.terms.get(b, 0) * extents[b]) for e in lins):
                break
            extents[b] = extents[a] * extents[b]
            for e in lins:
                e.terms.pop(a, None)
            result.pop()
        result.append(b)
    return result


def _arranged(axes: list[int], values: list[Val], extents: dict) -> tuple[list[int], list[int]]:
    """The outer axes and the inner one of a kernel that folds nothing: what it stores shall be
    consecutive along the inner one, and what it loads across that, along the last outer one.
    """
    stores = [v.lin for v in values if v.op == "store" and v.lin is not None]
    loads = [v.lin for v in values if v.op == "load" and v.lin is not None]
    at = tile.vector_axis([extents[a] for a in axes])
    if not _along(axes[at], stores):
        long = [k for k, a in enumerate(axes) if _along(a, stores) and extents[a] >= tile.TINY]
        at = long[0] if long else at
    inner = axes.pop(at)
    across = (a for lin in loads for a in axes if lin.terms.get(inner) and _along(a, [lin]))
    last = next(across, None)
    if last is not None:
        axes.remove(last)
        axes.append(last)
    return axes, [inner]


def _along(axis: int, lins: list[Lin]) -> bool:
    """Whether all of these are consecutive along the axis."""
    return all(same(lin.terms.get(axis, 0), 1) for lin in lins)


def _levels(values: list[Val], inner: set[int]) -> None:
    for v in values:
        v.stage = max((a.stage for a in v.args), default=0)
        v.inner = any(a.inner for a in v.args) or (
            v.lin is not None and bool(inner & set(v.lin.terms))
        )
        cost = OPS[v.op].cost if v.op in OPS else 1
        v.heavy = v.inner and (cost >= HEAVY or v.op == "scan" or any(a.heavy for a in v.args))
        if v.op == "reduce":
            v.stage += 1
            v.inner = False
        elif v.op == "scan":
            v.inner = True


def _stages(
    values: list[Val], axes: list[int], numbering: Numbering, slots: list[str]
) -> tuple[Stage, ...]:
    last = max(v.stage for v in values)
    needed: list[set[Val]] = [set() for _ in range(last + 1)]
    kept: list[set[Val]] = [set() for _ in range(last + 1)]  # by the stage that reads it
    keep: dict[Val, int] = {}
    for s in reversed(range(last + 1)):
        wanted = needed[s]
        wanted.update(v for v in values if v.op == "store" and v.inner and v.stage == s)
        wanted.update(v for v in values if v.op == "reduce" and v.stage == s + 1)
        for v in reversed(values):
            if v not in wanted or v in kept[s]:
                continue
            for a in v.args:
                if not a.inner:
                    continue
                wanted.add(a)
                if a.stage < s and a.heavy:
                    kept[s].add(a)
                    keep.setdefault(a, len(keep))
                    needed[a.stage].add(a)
    slots += [v.dtype for v in keep]
    at: dict[Val, int] = {}
    count = 0
    stages = []

    def put(body: list[Instr], v: Val, instr: Instr) -> None:
        nonlocal count
        body.append(instr)
        if instr.op not in ("store", "keep"):
            at[v] = count
        count += 1

    for s in range(last + 1):
        body: list[Instr] = []
        for v in values:
            if not v.inner and v.op != "reduce" and v.stage == s:
                put(body, v, _instr(v, at, axes, numbering))
        if body:
            stages.append(Stage(False, tuple(body)))
        body = []
        for v in values:
            if v not in needed[s]:
                continue
            if v in kept[s]:
                put(body, v, Instr("kept", v.dtype, (), keep[v]))
                continue
            put(body, v, _instr(v, at, axes, numbering))
            if v in keep and v.stage == s:
                put(body, v, Instr("keep", v.dtype, (at[v],), keep[v]))
        if body:
            stages.append(Stage(True, tuple(body)))
    return tuple(stages)


def _instr(v: Val, at: dict[Val, int], axes: list[int], numbering: Numbering) -> Instr:
    args = tuple(at[a] for a in v.args)
    if v.op in ("load", "store"):
        access = numbering.access(v.attr, "in" if v.op == "load" else "out", v.lin, axes)
        return Instr(v.op, v.dtype, args, access)
    if v.op == "gather":
        vertex, stride = v.attr
        return Instr(
            "gather",
            v.dtype,
            args,
            (numbering.access(vertex, "in", v.lin, axes), numbering.number(stride, "stride")),
        )
    if v.op == "index":
        terms = v.lin.terms
        strides = tuple(numbering.number(terms.get(a, 0), f"index.{a}") for a in axes)
        return Instr("index", "i64", (), (numbering.number(v.lin.offset, "index"), strides))
    if v.op == "param":
        return Instr("param", v.dtype, (), numbering.scalar(v.attr))
    if v.op == "wrap":
        extent, node = v.attr
        return Instr(
            "wrap", "i64", args, (numbering.number(extent, "extent"), numbering.site(node))
        )
    return Instr(v.op, v.dtype, args, v.attr)
