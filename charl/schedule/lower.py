"""Lowering: a group of stored vertices (roots) over one iteration space becomes one Kernel.

Three steps, none recursive. `demand_all` walks from the roots to the sources and finds, for each
vertex, the indices at which it is wanted; the first reduction it meets fixes the inner axis.
`build_all` makes one value a (vertex, index), sources first. `assemble` merges axes, sorts values into
stages, and numbers parameters (charl/schedule/stages.py).

What cannot be in one kernel is raised (charl/schedule/demand.py): MustStore names a vertex that has
to be a root of its own, Incompatible says that these roots do not belong together.
"""

from __future__ import annotations

from collections.abc import Sequence

from charl.core.dtypes import BY_SHORT
from charl.schedule import packs
from charl.schedule.demand import HEAVY, OPS_COST, Demand, Incompatible, MustPack, MustStore
from charl.schedule.index import (
    Index,
    Lin,
    NeedSplit,
    NotAffine,
    broadcast,
    flatten,
    key,
    moved,
    through,
)
from charl.schedule.prepare import MOVEMENT, Graph, Vertex
from charl.schedule.sizes import Number
from charl.schedule.stages import Lowered, Val, assemble


def lower(graph: Graph, stored: set[int], roots: Sequence[int]) -> Lowered:
    """Roots in topological order -> one Kernel with its arguments and parameters."""
    splits: dict[int, list[Number]] = {}
    while True:
        group = Group(graph, stored, roots, splits)
        try:
            return group.lower()
        except NeedSplit as need:
            logical, part = group.axis[need.axis]
            extents = splits.setdefault(logical, [group.extents[need.axis]])
            extents[part : part + 1] = [extents[part] // need.factor, need.factor]


class Group(Demand):
    """One attempt at lowering."""

    def lower(self) -> Lowered:
        self.demand_all()
        self.check_rows()
        self.build_all()
        self.check_updates()
        lowered = assemble(self)
        if lowered is None and self.contract is not None:  # others see its rows or columns in parts
            self.store(self.contract["at"])
        if lowered is None:  # the inner axes do not merge: what is folded must be contiguous
            folds = [
                v
                for v in self.demands
                if self.graph[v].op in ("reduce", "scan") and not self.held(v)
            ]
            for at in [s for v in folds for s in self.graph[v].src] + folds:
                if at not in self.stored and self.graph[at].op != "leaf":
                    raise MustStore(at)
            raise Incompatible
        demanded = {v: len(wanted) for v, wanted in self.demands.items() if not self.held(v)}
        return lowered._replace(demanded=demanded)

    def check_rows(self) -> None:
        """A costly value that every row would compute anew is stored: exp(x)[None, :] + y."""
        inner = set(self.inner or self.space[-1:])
        outer = set(self.space) - inner - {self.block}  # a block's axis is a part of the inner one
        for at, wanted in self.demands.items():
            if self.held(at) or OPS_COST.get(self.graph[at].op, 1) < HEAVY:
                continue
            for index in wanted.values():
                used = {t for e in index for t in e.terms}
                if used & inner and not outer <= used:
                    self.store(at)

    def check_updates(self) -> None:
        """An update reads what it overwrites through its own map only, and nothing in it can fail."""
        for root in self.roots:
            bases = self.graph.bases(root)
            if not bases or self.graph[root].op == "rim":
                continue
            (store,) = (v for v in self.order_of if v.op == "store")
            for v in self.order_of:
                source = v.attr[0] if v.op == "gather" else v.attr  # type: ignore[index]
                other = v.op == "load" and source in bases and v.lin.key != store.lin.key  # type: ignore[union-attr]
                if other or v.op == "wrap" or (v.op == "gather" and source in bases):
                    inplace = v.op != "wrap" and len(bases) > 1
                    raise MustStore(self.graph[root].src[1], root if inplace else -1)

    def make(
        self,
        op: str,
        dtype: str,
        args: tuple[Val, ...] = (),
        attr: object = None,
        lin: Lin | None = None,
    ) -> Val:
        """A value, shared where the same one was made before."""
        text = (op, dtype, tuple(id(a) for a in args), repr(attr), lin.key if lin else None)
        found = self.made.get(text)
        if found is None:
            found = self.made[text] = Val(op, dtype, args, attr, lin)
            self.order_of.append(found)
        return found

    def build_all(self) -> None:
        for at in sorted(self.demands):
            v = self.graph[at]
            for k, index in self.demands[at].items():
                self.values[at, k] = self.build(at, v, k, index)
            if at not in self.roots:
                continue
            k = key(self.placed[at])
            if v.op == "parts":
                for part, s in enumerate(v.src):
                    lin = flatten((*self.placed[at], Lin(part, {})), v.shape)
                    self.make("store", v.dtype, (self.values[s, k],), at, lin)
            elif v.op == "rim":
                for corner in v.attrs:  # type: ignore[union-attr]
                    there = moved(self.placed[at], corner)
                    value = self.values[v.src[-1], key(there)]
                    self.make("store", v.dtype, (value,), at, flatten(there, v.shape))
            else:
                lin = (
                    self.loads[at, k][1] if v.op == "update" else flatten(self.placed[at], v.shape)
                )
                self.make("store", v.dtype, (self.values[at, k],), at, lin)

    def build(self, at: int, v: Vertex, k: str, index: Index) -> Val:
        if self.held(at):
            return self.read(at, index, flatten(index, v.shape))
        if v.op in MOVEMENT:
            if (at, k) in self.loads:
                source, lin = self.loads[at, k]
                try:
                    index = through(v, self.graph.shape(source), index, self.extents)
                except (NotAffine, NeedSplit):
                    return self.make("load", v.dtype, (), source, lin)
                return self.read(source, index, lin)
            inner = through(v, self.graph.shape(v.src[0]), index, self.extents)
            return self.values[v.src[0], key(inner)]
        if v.op == "const":
            return self.make("param", v.dtype, (), v.scalar)
        if v.op == "fill":
            return self.make("const", v.dtype, (), v.attrs)
        if v.op == "iota":
            return self.make("index", "i64", (), None, index[0])
        if v.op == "matmul":
            return self.make("acc", v.dtype)
        if v.op == "reduce":
            kind, axis, blocked = v.attrs  # type: ignore[misc]
            if blocked:
                index = index[:axis] + index[axis + 1 :]
            inner = index[:axis] + (self.flat(self.inner or ()),) + index[axis:]
            args = tuple(self.values[s, key(inner)] for s in v.src)
            if kind.startswith("last "):
                args, kind = (self.make("scan", v.dtype, args, kind[5:]),), "last"
            return self.make("reduce", v.dtype, args, kind)
        if v.op == "gather":
            rank = len(self.graph.shape(v.src[1]))
            where = self.values[v.src[1], key(index[v.attrs : v.attrs + rank])]
            source, lin = self.loads[at, k]
            terms = dict(lin.terms)
            stride = terms.pop(("gather", at, k), 0)
            return self.make("gather", v.dtype, (where,), (source, stride), Lin(lin.offset, terms))
        if v.op == "update":
            return self.values[v.src[1], key(index)]
        if v.op == "parts":
            return self.values[v.src[0], k]
        if v.op == "rim":
            return self.values[v.src[-1], key(moved(index, v.attrs[0]))]  # type: ignore[index]
        if v.op == "scan":
            return self.build_scan(v, index)
        args = tuple(self.values[s, key(broadcast(index, self.graph.shape(s)))] for s in v.src)
        if v.op in ("copy", "pack"):
            return args[0]
        if v.op == "wrap_index":
            return self.make("wrap", "i64", args, (v.sizes[0], v.node))
        return self.make(v.op, v.dtype, args)

    def read(self, at: int, index: Index, lin: Lin) -> Val:
        """A load of a held vertex, or of a pack of it."""
        axis = packs.axis(self, at, index, lin)
        if axis is not None:
            if (at, axis) not in self.graph.packs:
                raise MustPack(at, axis)
            at = self.graph.packs[at, axis]
            lin = flatten((*index[:axis], *index[axis + 1 :], index[axis]), self.graph.shape(at))
        return self.make("load", self.graph[at].dtype, (), at, lin)

    def build_scan(self, v: Vertex, index: Index) -> Val:
        kind, axis = v.attrs  # type: ignore[misc]
        value = self.make("scan", v.dtype, (self.values[v.src[0], key(index)],), kind)
        if len(v.src) == 1:
            return value
        before = v.src[1]
        block = Lin(0, {self.block: 1})
        where = (*index[:axis], block + Lin(-1, {}), *index[axis + 1 :])
        lin = flatten(where, self.graph.shape(before))
        zero = self.make("const", "i64", (), 0)
        some = self.make("not_equal", "b1", (self.make("index", "i64", (), None, block), zero))
        total = self.make("load", v.dtype, (some,), before, lin)
        real = BY_SHORT[v.dtype].kind == "f"
        identity = self.make("const", v.dtype, (), 1 if kind == "mul" else -0.0 if real else 0)
        total = self.make("where", v.dtype, (some, total, identity))
        return self.make("add" if kind == "add" else "multiply", v.dtype, (total, value))
