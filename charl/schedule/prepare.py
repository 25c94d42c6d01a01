"""Nodes become Vertices: sizes turn symbolic, and compound operations take the forms that lowering
knows.

After `prepare` a graph holds only: leaf, const, fill, empty, iota, element-wise ops, movements, and
  reduce  attrs (kind, axis, blocked)   one axis of a shape without unit axes; kinds as in
    kernel.py; dot has two sources; "last add" and "last mul" are the totals of such scans
  scan    attrs (kind, axis)            likewise; a second source, in blocks: the totals of all blocks
    up to each one
  parts   one source for each element of a tiny last axis, which the others lack; always stored
  pack    its source, stored in another order of axes (see Graph.pack)
  rim     (the rim before, if any, whose buffer it shares; base): what an update leaves of its base;
    attrs the places of its slabs, sizes their one shape (see schedule/rims.py)
  matmul  m, n, k all larger than 1; of one dtype, or of i8 with i32 sums
  gather  attrs axis
  update  (copy of the base, value): writes the value into that copy's buffer
  copy    its source; stored where an update needs a buffer of its own, and not made at all where
    it is in
          `Graph.inplace`: then the update writes into the base's own buffer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from charl.core.dtypes import ALL, BY_SHORT
from charl.ops.table import OPS
from charl.schedule import unroll
from charl.schedule.kernel import COLUMN_BLOCK, COLUMNS, PRODUCTS, ROW_BLOCK
from charl.schedule.sizes import Number, Trace, ceildiv, product, same

OUT, HANDLE, SEEN, DONATE = 1, 2, 4, 8
NAMES = list(OPS)
MOVEMENT = ("reshape", "permute", "expand", "slice", "windows")
REDUCE_KIND = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and"}
SCAN_KIND = {"cumsum": "add", "cumprod": "mul"}
IDENTITY = {"add": 0, "mul": 1, "or": 0, "and": 1}
# So many rows, or columns, keep all threads busy: their scans are not cut, since that reads them twice
MANY_ROWS, MANY_COLUMNS = 64, 64 * COLUMNS

Shape = tuple[Number, ...]


class Vertex:
    """A Node as the scheduler sees it. `node` and `scalar` are numbers of the plan's nodes and
    consts, or -1.
    """

    __slots__ = ("op", "dtype", "shape", "src", "attrs", "sizes", "flags", "node", "scalar")

    def __init__(
        self,
        op: str,
        dtype: str,
        shape: Shape,
        src: tuple[int, ...] = (),
        attrs: Any = None,
        sizes: tuple[Number, ...] = (),
        flags: int = 0,
        node: int = -1,
    ) -> None:
        self.op, self.dtype, self.shape, self.src = op, dtype, shape, src
        self.attrs, self.sizes, self.flags = attrs, sizes, flags
        self.node, self.scalar = node, -1


class Graph:
    """Vertices in topological order; `of[node]` is the vertex of a plan's node."""

    def __init__(self, trace: Trace, host: bool = True) -> None:
        self.trace = trace
        self.vertices: list[Vertex] = []
        self.of: list[int] = []
        self.inplace: set[int] = set()
        self.host = host  # on a GPU nothing is written out, packed or given a rim
        self.packs: dict[tuple[int, int], int] = {}
        self.turned: dict[int, int] = {}  # updates that got another buffer: what they update

    def __str__(self) -> str:
        lines = []
        for at, v in enumerate(self.vertices):
            src = ", ".join(f"v{s}" for s in v.src)
            shape = ", ".join(str(n) for n in v.shape)
            extra = f" {v.attrs}" if v.attrs is not None else ""
            lines.append(f"v{at} = {v.op} {v.dtype} ({shape}) {src}{extra}".rstrip())
        return "\n".join(lines)

    def __getitem__(self, at: int) -> Vertex:
        return self.vertices[at]

    def add(self, op, dtype, shape, src=(), attrs=None, sizes=()) -> int:
        self.vertices.append(Vertex(op, dtype, tuple(shape), tuple(src), attrs, tuple(sizes)))
        return len(self.vertices) - 1

    def shape(self, at: int) -> Shape:
        return self.vertices[at].shape

    def bases(self, at: int) -> tuple[int, ...]:
        """The vertices whose buffer an update writes; () for any other vertex."""
        v = self.vertices[at]
        if v.op == "rim":
            return v.src[:-1]
        if v.op != "update":
            return ()
        copy = v.src[0]
        return (copy, self.vertices[copy].src[0]) if copy in self.inplace else (copy,)

    def owned(self, at: int) -> bool:
        """Whether a vertex's buffer may be overwritten: it gets one of its own, and no update before
        claimed it.
        """
        v = self.vertices[at]
        claimed = any(self.vertices[c].src[0] == at for c in self.inplace)
        return (
            not claimed and not v.flags & (OUT | HANDLE) and v.op not in ("const", "fill", "empty")
        )

    def reshape(self, at: int, shape: Sequence[Number]) -> int:
        x = self.vertices[at]
        if len(x.shape) == len(shape) and all(same(a, b) for a, b in zip(x.shape, shape)):
            return at
        return self.add("reshape", x.dtype, shape, (at,))

    def expand(self, at: int, shape: Sequence[Number]) -> int:
        x = self.vertices[at]
        if len(x.shape) == len(shape) and all(same(a, b) for a, b in zip(x.shape, shape)):
            return at
        return self.add("expand", x.dtype, shape, (at,))

    def reduce(self, kind: str, src: tuple[int, ...], axis: int) -> int:
        """One axis of a shape without unit axes, cut into blocks while it is longer than a block."""
        x = self.vertices[src[0]]
        if self.host and kind != "dot":  # a GPU's own order of a sum is another
            tiny = unroll.folded(self, kind, src[0], axis)
            if tiny is not None:
                return tiny
            parts = unroll.split(self, kind, src[0], axis)
            if parts is not None:
                return self._reduce_parts(kind, parts, x.shape[-1])
        block = ROW_BLOCK if axis == len(x.shape) - 1 else COLUMN_BLOCK
        extent = x.shape[axis]
        rest = x.shape[:axis], x.shape[axis + 1 :]
        if extent > block:
            count = ceildiv(extent, block)
            partial = self.add(
                "reduce", x.dtype, (*rest[0], count, *rest[1]), src, (kind, axis, True)
            )
            return self.reduce("add" if kind == "dot" else kind, (partial,), axis)
        return self.add("reduce", x.dtype, rest[0] + rest[1], src, (kind, axis, False))

    def _reduce_parts(self, kind: str, parts: Sequence[int], count: Number) -> int:
        """Each of `parts` over its first axis, side by side along a new last axis."""
        x = self.vertices[parts[0]]
        extent, rest = x.shape[0], x.shape[1:]
        blocked = extent > COLUMN_BLOCK
        shape = (ceildiv(extent, COLUMN_BLOCK), *rest) if blocked else rest
        src = [self.add("reduce", x.dtype, shape, (p,), (kind, 0, blocked)) for p in parts]
        made = self.add("parts", x.dtype, (*shape, count), src)
        return self.reduce(kind, (made,), 0) if blocked else made

    def pack(self, at: int, axis: int) -> int:
        """A copy of vertex `at` in which `axis` is last, to be read along it; made once."""
        if (at, axis) not in self.packs:
            x = self.vertices[at]
            order = [a for a in range(len(x.shape)) if a != axis] + [axis]
            shape = [x.shape[a] for a in order]
            moved = self.add("permute", x.dtype, shape, (at,), tuple(order))
            self.packs[at, axis] = self.add("pack", x.dtype, shape, (moved,))
        return self.packs[at, axis]

    def scan(self, kind: str, src: int, axis: int) -> int:
        """Along one axis of a shape without unit axes; cut into blocks where it is long and few others
        go beside it. Products of floats are never cut: where the strict order has 0 * x = 0, a
        product of later elements alone may overflow, and 0 * inf is NaN.
        """
        x = self.vertices[src]
        row = axis == len(x.shape) - 1
        block, many = (ROW_BLOCK, MANY_ROWS) if row else (COLUMN_BLOCK, MANY_COLUMNS)
        rest = x.shape[:axis], x.shape[axis + 1 :]
        cut = kind == "add" or BY_SHORT[x.dtype].kind != "f"
        if not cut or not x.shape[axis] > block or not product(rest[0] + rest[1]) < many:
            return self.add("scan", x.dtype, x.shape, (src,), (kind, axis))
        shape = (*rest[0], ceildiv(x.shape[axis], block), *rest[1])
        totals = self.add("reduce", x.dtype, shape, (src,), (f"last {kind}", axis, True))
        before = self.add("scan", x.dtype, shape, (totals,), (kind, axis))
        return self.add("scan", x.dtype, x.shape, (src, before), (kind, axis))


def prepare(nodes: Sequence, flags: Sequence[int], trace: Trace, host: bool = True) -> Graph:
    """Nodes in DFS order with their flags -> Graph. Sizes are numbered as the engine's signature
    numbers them. host: for the cpu, not for a GPU.
    """
    graph = Graph(trace, host)
    first: dict[int, Number] = {}
    count = scalars = 0

    def symbols(values: Sequence[int]) -> Shape:
        nonlocal count
        result = []
        for number in values:
            if number in (0, 1, -1):
                result.append(number)
            else:
                if number not in first:
                    first[number] = trace.symbol(count, number)
                result.append(first[number])
            count += 1
        return tuple(result)

    position = {id(node): k for k, node in enumerate(nodes)}
    for k, node in enumerate(nodes):
        leaf = node.realized
        op = "leaf" if leaf else NAMES[node.op]
        shape = symbols(node.shape)
        sizes = symbols(() if leaf else node.sizes)
        src = () if leaf else tuple(graph.of[position[id(s)]] for s in node.src)
        v = Vertex(op, ALL[node.dtype].short, shape, src, node.attrs, sizes, flags[k], k)
        if op == "const":
            v.scalar, scalars = scalars, scalars + 1
        at = _normal(graph, v)
        if at < 0:
            graph.vertices.append(v)
            at = len(graph.vertices) - 1
        else:
            final = graph.vertices[at]
            if (
                final.node >= 0
            ):  # an identity: give the node a vertex of its own, so that flags stay apart
                at = graph.add("copy", v.dtype, v.shape, (at,))
                final = graph.vertices[at]
            final.flags, final.node = v.flags, k
        graph.of.append(at)
    return graph


def _normal(graph: Graph, v: Vertex) -> int:
    """Rewrites a vertex into the known forms; -1 where it is in one already."""
    if v.op != "leaf" and any(isinstance(n, int) and n == 0 for n in v.shape):
        return graph.add("empty", v.dtype, v.shape)
    if v.op in REDUCE_KIND:
        return _reduce(graph, v)
    if v.op in SCAN_KIND:
        return _scan(graph, v)
    if v.op == "matmul":
        return _matmul(graph, v)
    if v.op == "update":
        return _update(graph, v)
    return -1


def _update(graph: Graph, v: Vertex) -> int:
    base, value = v.src
    mine = v.flags & DONATE and graph.owned(base)
    if value == base:  # x.T[...] = x: the value must be a copy by the time that the base changes
        value = graph.add("copy", v.dtype, v.shape, (base,))
    copy = graph.add("copy", v.dtype, v.shape, (base,))
    if mine:
        graph.inplace.add(copy)
    return graph.add("update", v.dtype, v.shape, (copy, value), v.attrs, v.sizes)


def _fill(graph: Graph, v: Vertex, number: int) -> int:
    kind = BY_SHORT[v.dtype].kind
    value = bool(number) if kind == "b" else float(number) if kind == "f" else number
    return graph.expand(graph.add("fill", v.dtype, (), (), value), v.shape)


def _squeeze(graph: Graph, at: int) -> int:
    return graph.reshape(at, [n for n in graph.shape(at) if not same(n, 1)])


def _reduce(graph: Graph, v: Vertex) -> int:
    """Unit axes go; runs of adjacent axes become one axis each, and the last run is reduced first."""
    kind = REDUCE_KIND[v.op]
    shape = graph.shape(v.src[0])
    if any(same(n, 0) for n in shape):
        return _fill(graph, v, IDENTITY[kind])
    at = _integer_product(graph, v)
    if at >= 0:
        return at
    reduced = [a in v.attrs for a, n in enumerate(shape) if not same(n, 1)]
    at = _squeeze(graph, v.src[0])
    while any(reduced):
        stop = len(reduced) - reduced[::-1].index(True)
        start = stop - 1
        while start and reduced[start - 1]:
            start -= 1
        kept = graph.shape(at)
        at = graph.reshape(at, [*kept[:start], product(kept[start:stop]), *kept[stop:]])
        at = graph.reduce(kind, (at,), start)
        reduced[start:stop] = []
    return graph.reshape(at, v.shape)


def _integer_product(graph: Graph, v: Vertex) -> int:
    """The sum over k of (..., m, k, 1) * (..., 1, k, n), integers, as a product of matrices; of int8
    where int32 is made of it. -1 for any other sum. Integers wrap, so any order gives the same.
    """
    terms = graph[v.src[0]]
    wanted = graph.host and v.op == "sum" and v.dtype in PRODUCTS and terms.op == "multiply"
    if not wanted or BY_SHORT[v.dtype].kind == "f" or v.attrs != (len(terms.shape) - 2,):
        return -1
    m, k, n = terms.shape[-3:]
    shapes = [graph.shape(s) for s in terms.src]
    outer = [len(s) >= 3 and same(s[a], 1) for s, a in zip(shapes, (-1, -3))]
    if not all(outer) or any(same(e, 1) for e in (m, k, n)):
        return -1
    a, b = (_narrow(graph, s) if v.dtype == "i32" else -1 for s in terms.src)
    if a < 0 or b < 0:
        a, b = terms.src
    a = graph.reshape(a, (*shapes[0][:-3], m, k))
    b = graph.reshape(b, (*shapes[1][:-3], k, n))
    return graph.add("matmul", v.dtype, v.shape, (a, b))


def _narrow(graph: Graph, at: int) -> int:
    """A vertex that is cast from i8, as it was before; -1 where it is not."""
    v = graph[at]
    if v.op == "cast":
        return v.src[0] if graph[v.src[0]].dtype == "i8" else -1
    if v.op not in MOVEMENT:
        return -1
    source = _narrow(graph, v.src[0])
    return source if source < 0 else graph.add(v.op, "i8", v.shape, (source,), v.attrs, v.sizes)


def _scan(graph: Graph, v: Vertex) -> int:
    shape = graph.shape(v.src[0])
    at = _squeeze(graph, v.src[0])
    if not same(shape[v.attrs], 1):
        axis = sum(not same(n, 1) for n in shape[: v.attrs])
        at = graph.scan(SCAN_KIND[v.op], at, axis)
    return graph.reshape(at, v.shape)


def _matmul(graph: Graph, v: Vertex) -> int:
    """m or n of 1: a reduction with fma. k of 0 or 1: a constant or a plain product."""
    a, b = v.src
    m, n, k = v.shape[-2], v.shape[-1], graph.shape(a)[-1]
    batch = v.shape[:-2]
    if same(k, 0):
        return _fill(graph, v, 0)
    if same(k, 1):
        return graph.add("multiply", v.dtype, v.shape, (a, b))
    if same(n, 1):  # rows: (..., m, k) . (..., 1, k) over the last axis
        b = graph.reshape(b, (*graph.shape(b)[:-2], 1, k))
        space = (*batch, m, k)
    elif same(m, 1):  # columns: (..., k, 1) . (..., k, n) over the first
        a = graph.reshape(a, (*graph.shape(a)[:-2], k, 1))
        space = (*batch, k, n)
    else:
        return -1
    a, b = (_squeeze(graph, graph.expand(x, space)) for x in (a, b))
    axis = len(graph.shape(a)) - (1 if same(n, 1) else 2)
    return graph.reshape(graph.reduce("dot", (a, b), axis), v.shape)
