"""Demand: at which indices each vertex of a group is wanted, from the roots to the sources."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from charl.ops.table import OPS
from charl.schedule.index import (
    ZERO,
    Index,
    Lin,
    NeedSplit,
    NotAffine,
    broadcast,
    flatten,
    key,
    moved,
    repeats,
    through,
)
from charl.schedule.prepare import MOVEMENT, Graph, Vertex
from charl.schedule.sizes import Number, product, same
from charl.schedule.stages import Val

OPS_COST = {name: row.cost for name, row in OPS.items()}
HEAVY = 10  # the cost of an op from which on it is stored rather than computed twice
REPEATS = 2  # at so many indices a cheap value is computed in one kernel; a stencil of a stencil is stored
COPIES = 128  # values of one kernel that are at further indices, for the sake of its length


class MustStore(Exception):
    """This vertex must be stored before the group can be lowered. Or else `update`, which it is the
    value of, must not write in place.
    """

    def __init__(self, vertex: int, update: int = -1):
        self.vertex, self.update = vertex, update


class MustPack(Exception):
    """This held vertex is to be read along `axis`, and is small beside the group: a pack pays."""

    def __init__(self, vertex: int, axis: int):
        self.vertex, self.axis = vertex, axis


class Incompatible(Exception):
    """The roots cannot share a kernel."""


class Demand:
    """The axes of one attempt at lowering, split as `splits` says (logical axis -> extents), and the indices."""

    def __init__(self, graph: Graph, stored: set[int], roots: Sequence[int], splits: dict):
        self.graph, self.stored, self.roots, self.splits = graph, stored, list(roots), splits
        self.extents: dict[int, Number] = {}
        self.axis: dict[int, tuple[int, int]] = {}  # axis -> (logical axis, part)
        self.space: list[int] = []  # the first root's axes, in order
        self.inner: list[int] | None = None
        self.order = "row"
        self.block: int | None = None
        self.contract: dict | None = None
        self.demands: dict[int, dict[str, Index]] = {}
        self.copies = 0  # of values at several indices
        self.heap: list[int] = []
        self.fresh: dict[int, list[Index]] = {}  # demands not yet passed on
        self.loads: dict[tuple[int, str], tuple[int, Lin]] = {}
        self.placed: dict[int, Index] = {}  # root -> the index it is stored at
        self.values: dict[tuple[int, str], Val] = {}
        self.made: dict[tuple, Val] = {}
        self.order_of: list[Val] = []

    # -- axes ---------------------------------------------------------------------------------

    def new_axis(self, logical: int, extent: Number) -> tuple[Lin, list[int]]:
        """A logical axis as one expression of its parts."""
        if same(extent, 1):
            return ZERO, []
        expression, ids = ZERO, []
        for part, n in enumerate(self.splits.get(logical, [extent])):
            at = len(self.extents)
            self.extents[at], self.axis[at] = n, (logical, part)
            expression = expression.scale(n) + Lin(0, {at: 1})
            ids.append(at)
        return expression, ids

    def flat(self, ids: Sequence[int]) -> Lin:
        expression = ZERO
        for at in ids:
            expression = expression.scale(self.extents[at]) + Lin(0, {at: 1})
        return expression

    # -- demand -------------------------------------------------------------------------------

    def demand(self, v: int, index: Index) -> None:
        wanted = self.demands.setdefault(v, {})
        k = key(index)
        if k not in wanted:
            wanted[k] = index
            heappush(self.heap, -v)
            self.fresh.setdefault(v, []).append(index)

    def demand_all(self) -> None:
        first = self.roots[0] if len(self.roots) == 1 else max(self.roots, key=self.rank)
        shape = self.root_shape(first)
        index = []
        for logical, n in enumerate(shape):
            expression, ids = self.new_axis(logical, n)
            index.append(expression)
            self.space += ids
        late = []
        for root in self.roots:
            own = self.root_shape(root)
            if len(own) == len(shape) and all(same(a, b) for a, b in zip(own, shape)):
                self.place(root, tuple(index))
            else:
                late.append(root)
        self.drain()
        for root in reversed(late):  # roots over the outer axes alone
            if root not in self.placed:
                self.place(root, self.outer_index(root, shape, index))
                self.drain()
        for root in self.roots:
            if root not in self.placed or set(self.demands[root]) - {key(self.placed[root])}:
                raise Incompatible
            self.check_cover(root)

    def rank(self, root: int) -> int:
        return sum(not same(n, 1) for n in self.root_shape(root))

    def root_shape(self, root: int) -> tuple[Number, ...]:
        v = self.graph[root]
        if v.op == "parts":
            return v.shape[:-1]
        if v.op == "rim":
            return v.sizes
        return self.graph.shape(v.src[1]) if v.op == "update" else v.shape

    def place(self, root: int, index: Index) -> None:
        self.placed[root] = index
        self.demand(root, index)

    def outer_index(self, root: int, shape: Sequence[Number], index: Sequence[Lin]) -> Index:
        """A root of the space's shape less one run of axes, which is what it reduces."""
        own = [n for n in self.root_shape(root) if not same(n, 1)]
        axes = [(n, e) for n, e in zip(shape, index) if not same(n, 1)]
        if self.inner is not None:
            axes = [(n, e) for n, e in axes if not any(t in self.inner for t in e.terms)]
        else:
            for drop in reversed(range(len(axes))):
                rest = axes[:drop] + axes[drop + 1 :]
                if len(rest) == len(own) and all(same(a, n) for a, (n, _) in zip(own, rest)):
                    axes = rest
                    break
        if len(axes) != len(own) or not all(same(a, n) for a, (n, _) in zip(own, axes)):
            raise Incompatible
        expressions = iter([e for _, e in axes])
        return tuple(ZERO if same(n, 1) else next(expressions) for n in self.root_shape(root))

    def check_cover(self, root: int) -> None:
        """Each root must be written once an element: its index uses all outer axes, and only axes
        of the space.
        """
        used = {t for e in self.placed[root] for t in e.terms}
        inner = set(self.inner or ())
        outer = set(self.space) - inner
        if self.graph[root].op == "scan":
            outer.discard(self.block)  # type: ignore[arg-type]
        if not outer <= used or used & inner not in (set(), inner & set(self.space)):
            raise Incompatible
        if not used <= set(self.extents):
            raise Incompatible
        if not product(self.extents[t] for t in used) == product(self.root_shape(root)):
            raise Incompatible  # a part of it is all that others want

    def drain(self) -> None:
        """Passes demands on, from results to sources: a vertex comes after all that use it."""
        while self.heap:
            v = -heappop(self.heap)
            fresh = self.fresh.pop(v, None)
            if fresh:
                if (
                    v in self.roots and v not in self.placed
                ):  # a late root that others want has its place
                    self.placed[v] = fresh[0]
                self.visit(v, fresh)

    def visit(self, at: int, fresh: list[Index]) -> None:
        v = self.graph[at]
        root = at in self.roots
        if not root and (at in self.stored or v.op in ("leaf", "const", "fill", "iota", "empty")):
            return
        if len(self.demands[at]) > 1 and v.op not in MOVEMENT:
            self.copies += len(fresh)
            heavy = v.op in ("reduce", "matmul") or OPS_COST.get(v.op, 1) >= HEAVY
            wanted = self.demands[at].values()
            if heavy or repeats(wanted) > REPEATS or self.copies > COPIES:
                self.store(at)
        for index in fresh:
            k = key(index)
            if v.op in MOVEMENT:
                source, lin = self.step(at, index)
                if lin is not None:
                    self.loads[at, k] = source, lin
            elif v.op == "reduce":
                self.visit_reduce(at, v, index)
            elif v.op == "scan":
                self.visit_scan(at, v, index)
            elif v.op == "matmul":
                self.visit_matmul(at, v, index)
            elif v.op == "gather":
                self.visit_gather(at, v, k, index)
            elif v.op == "parts":
                for s in v.src:
                    self.demand(s, index)
            elif v.op == "rim":
                for corner in v.attrs:  # type: ignore[union-attr]
                    self.demand(v.src[-1], moved(index, corner))
            elif v.op == "update":
                self.demand(v.src[1], index)
                self.loads[at, k] = at, self.view(v, index)
            else:
                for s in v.src:
                    self.demand(s, broadcast(index, self.graph.shape(s)))

    def store(self, at: int) -> None:
        """Vertex `at` cannot be computed inside this group."""
        if at in self.roots or at in self.stored:
            raise Incompatible
        raise MustStore(at)

    def held(self, at: int) -> bool:
        """Whether a vertex's buffer can be read: stored by an earlier launch."""
        return at not in self.roots and (at in self.stored or self.graph[at].op == "leaf")

    def step(self, at: int, index: Index, want: bool = True) -> tuple[int, Lin | None]:
        """One movement: demands the source, or gives the flat position where a reshape's source is
        in memory.
        """
        v = self.graph[at]
        source = v.src[0]
        if v.op == "reshape" and self.held(source):
            return source, flatten(index, v.shape)
        try:
            inner = through(v, self.graph.shape(source), index, self.extents)
        except NotAffine:
            self.store(source)
        if want:
            self.demand(source, inner)
        self.last = inner
        return source, None

    def locate(self, at: int, index: Index) -> tuple[int, Lin]:
        """The buffer and flat position that a chain of movements reads; MustStore where it ends in
        arithmetic.
        """
        while not self.held(at):
            if self.graph[at].op not in MOVEMENT or at in self.roots:
                self.store(at)
            source, lin = self.step(at, index, want=False)
            if lin is not None:
                return source, lin
            at, index = source, self.last
        return at, flatten(index, self.graph.shape(at))

    def visit_reduce(self, at: int, v: Vertex, index: Index) -> None:
        kind, axis, blocked = v.attrs  # type: ignore[misc]
        shape = self.graph.shape(v.src[0])
        n = shape[axis]
        order = "row" if axis == len(shape) - 1 else "column"
        together = self.is_part(at)  # with others of the same blocks
        first = self.inner is None
        if self.contract is not None or (
            not first and not together and (self.block is not None or blocked)
        ):
            self.store(at)
        if blocked and not together and (at not in self.roots or len(self.roots) > 1):
            self.store(at)
        if blocked:
            self.block = next(iter(index[axis].terms))
            if len(index[axis].terms) > 1:
                self.store(at)
            index = index[:axis] + index[axis + 1 :]
        used = {t for e in index for t in e.terms}
        if not used <= set(self.space) or (order == "column" and not used and not blocked):
            self.store(at)
        if self.inner is None:
            free = [a for a in self.space if a not in used and a != self.block]
            if not free:
                _, free = self.new_axis(-1, n)
            if not product(self.extents[a] for a in free) == n:
                self.store(at)
            self.inner, self.order = free, order
        elif (
            self.order != order
            or used != set(self.space) - {*self.inner, self.block}
            or not product(self.extents[a] for a in self.inner) == n
        ):
            self.store(at)
        inner = index[:axis] + (self.flat(self.inner),) + index[axis:]
        for s in v.src:
            self.demand(s, inner)

    def is_part(self, at: int) -> bool:
        """Whether the one root puts this vertex beside others like it."""
        root = self.graph[self.roots[0]]
        return root.op == "parts" and at in root.src

    def visit_scan(self, at: int, v: Vertex, index: Index) -> None:
        kind, axis = v.attrs  # type: ignore[misc]
        order = "row" if axis == len(v.shape) - 1 else "column"
        mine = list(index[axis].terms)
        plain = same(index[axis].offset, 0) and index[axis].key == self.flat(mine).key
        if at not in self.roots or self.inner is not None or self.contract is not None or not plain:
            self.store(at)
        self.inner, self.order = mine, order
        if len(v.src) == 2:
            if len(self.roots) > 1:
                self.store(at)
            _, (self.block,) = self.new_axis(-1, self.graph.shape(v.src[1])[axis])
            self.space.insert(self.space.index(mine[0]), self.block)
        self.demand(v.src[0], index)

    def visit_gather(self, at: int, v: Vertex, k: str, index: Index) -> None:
        axis = v.attrs
        rank = len(self.graph.shape(v.src[1]))
        term = ("gather", at, k)
        position = index[:axis] + (Lin(0, {term: 1}),) + index[axis + rank :]
        self.demand(v.src[1], index[axis : axis + rank])
        source, lin = self.locate(v.src[0], position)
        if any(not isinstance(t, int) and t != term for t in lin.terms):
            self.store(v.src[0])
        self.loads[at, k] = source, lin

    def visit_matmul(self, at: int, v: Vertex, index: Index) -> None:
        parts = [list(e.terms) for e in index]
        axes = [t for part in parts for t in part]
        whole = sorted(axes, key=str) == sorted(self.space, key=str) and all(
            e.key == self.flat(part).key and self.covers(part, n)
            for n, e, part in zip(v.shape, index, parts)
        )
        if not whole or self.inner is not None or self.contract is not None:
            self.store(at)
        a, b = v.src
        depth, k = self.new_axis(-1, self.graph.shape(a)[-1])
        outer = [t for part in parts[:-2] for t in part]
        self.contract = {"at": at, "i": parts[-2], "j": parts[-1], "k": k, "outer": outer}
        for side, operand, last in (("lhs", a, (index[-2], depth)), ("rhs", b, (depth, index[-1]))):
            where = broadcast((*index[:-2], *last), self.graph.shape(operand))
            try:
                self.contract[side] = self.locate(operand, where)
            except NeedSplit:  # windows are read where they lie, all else in a copy
                if not self.windowed(operand):
                    self.store(operand)
                raise

    def covers(self, axes: list[int], n: Number) -> bool:
        """Whether these axes, together, count to n."""
        return product(self.extents[a] for a in axes) == n

    def windowed(self, at: int) -> bool:
        """Whether a chain of movements shows windows."""
        while not self.held(at) and self.graph[at].op in MOVEMENT:
            if self.graph[at].op == "windows":
                return True
            at = self.graph[at].src[0]
        return False

    def view(self, v: Vertex, index: Index) -> Lin:
        """Where an update writes: the position in the base's buffer of a view's element."""
        if v.attrs[0][0] == "strided":  # type: ignore[index]
            position = Lin(v.sizes[0], {})
            for e, stride in zip(index, v.sizes[1:]):
                position = position + e.scale(stride)
            return position
        shapes, rest, steps = [self.graph.shape(v.src[0])], list(v.sizes), []
        for name, what in v.attrs:  # type: ignore[union-attr]
            if name == "permute":
                shape = tuple(shapes[-1][a] for a in what)
                steps.append(Vertex("permute", v.dtype, shape, (), what))
            elif name == "slice":
                sizes, shape = tuple(rest[: 2 * what]), tuple(rest[2 * what : 3 * what])
                del rest[: 3 * what]
                steps.append(Vertex("slice", v.dtype, shape, (), None, sizes))
            else:
                shape = tuple(rest[:what])
                del rest[:what]
                steps.append(Vertex("reshape", v.dtype, shape))
            shapes.append(shape)
        for depth in reversed(range(len(steps))):
            if depth == 0 and steps[0].op == "reshape":
                return flatten(index, steps[0].shape)
            try:
                index = through(steps[depth], shapes[depth], index, self.extents)
            except NotAffine:
                raise MustStore(v.src[1]) from None
        return flatten(index, shapes[0])
