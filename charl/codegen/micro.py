"""What runs inside a matrix product, as LLVM functions: micro-kernels, and arithmetic on indices.

    @micro                 (a, sr, sk, b, ldb, k, c, ldc, rows, columns, more)
        c[mr][nr] = a . b for a packed panel a; b has rows ldb apart; sr to columns play no part
    @edge_R_V              likewise
        c[rows][columns] = a . b, where rows <= R and columns <= V vectors, and a lies anywhere: sr
        is the step from row to row, sk the step along k
    @walked_R_V            (a, across, along, b, ldb, k, c, ldc, rows, columns, more)
        likewise, of an a whose elements lie at offsets: of rows, and of steps along k (tables of i64)
    @pass                  as @micro: for a few steps of k, after those whose sums c holds, if `more`

`more` adds to what c holds. Strides count elements. Nothing outside of the arrays is read or
written; without native masks an edge reads whole vectors of b.
"""

from __future__ import annotations

from charl.codegen.host import Host
from charl.codegen.memory import Memory
from charl.codegen.text import REGISTER, Code, Module, iota, suffix, vector
from charl.core.dtypes import BY_SHORT
from charl.core.named import NamedTuple

MICRO = ("ptr", "i64", "i64", "ptr", "i64", "i64", "ptr", "i64", "i64", "i64", "i1")
WALKED = ("ptr", "ptr", "ptr", "ptr", "i64", "i64", "ptr", "i64", "i64", "i64", "i1")
PASS = 8  # steps of k at a time where few rows stream rhs: as many rows as processors follow
NAMES = "a sr sk b ldb k c ldc rows columns more"

# Rows and vectors of a micro-kernel by the bytes of a vector: sums, a row of rhs and a broadcast
# fit the registers. On Zen 4 at 64 bytes 12x2, 14x2, 24x1 and a loop over k that is unrolled are
# no faster at 1024, and up to a quarter slower below 128.
SHAPES = {16: (8, 2), 32: (6, 2), 64: (8, 2)}


class Tile(NamedTuple):
    """The sums that a micro-kernel holds: mr rows of nv vectors."""

    mr: int
    nv: int
    lanes: int

    @property
    def nr(self) -> int:
        return self.nv * self.lanes


def tile_of(dtype: str, host: Host) -> Tile:
    mr, nv = SHAPES[host.vector_bytes]
    return Tile(mr, nv, host.vector_bytes // BY_SHORT[dtype].itemsize)


# -- i64 arithmetic, where 0 and 1 cost nothing


def add(code: Code, a: str, b: str) -> str:
    if "0" in (a, b):
        return b if a == "0" else a
    return code.op(f"add i64 {a}, {b}")


def sub(code: Code, a: str, b: str) -> str:
    return a if b == "0" else code.op(f"sub i64 {a}, {b}")


def mul(code: Code, a: str, b: str) -> str:
    if "0" in (a, b):
        return "0"
    if "1" in (a, b):
        return b if a == "1" else a
    return code.op(f"mul i64 {a}, {b}")


def least(code: Code, a: str, b: str) -> str:
    return code.call("llvm.smin.i64", "i64", ("i64", a), ("i64", b))


def run(code: Code, name: str, kinds: tuple[str, ...], *values: str) -> None:
    """Calls one of this module's functions."""
    code.do(
        f"call void {name}({', '.join(f'{k} {v}' for k, v in zip(kinds, values, strict=True))})"
    )


def repeat(code: Code, kind: str, value: str, lanes: int) -> str:
    """A vector of one value."""
    full = vector(kind, lanes)
    one = code.op(f"insertelement {full} poison, {kind} {value}, i64 0")
    zeros = f"<{lanes} x i32> zeroinitializer"
    return code.op(f"shufflevector {full} {one}, {full} poison, {zeros}")


class Functions:
    """Writes the functions for one dtype into a module."""

    def __init__(self, module: Module, ops: Memory, dtype: str, tile: Tile):
        self.module, self.ops, self.dtype, self.tile = module, ops, dtype, tile
        self.type, self.size = REGISTER[dtype], BY_SHORT[dtype].itemsize
        self.real = BY_SHORT[dtype].kind == "f"

    def at(self, code: Code, base: str, index: str) -> str:
        if index == "0":
            return base
        return code.op(f"getelementptr {self.type}, ptr {base}, i64 {index}")

    def load(self, code: Code, at: str, width: int) -> str:
        return self.ops.load(code, self.dtype, at, width, None)

    def store(self, code: Code, value: str, at: str, width: int) -> None:
        self.ops.store(code, self.dtype, value, at, width, None)

    def define(self, name: str, kinds: tuple[str, ...], names: str, code: Code) -> None:
        """Never inlined: passes would take longer over the copies than the code is worth."""
        code.do("ret void")
        params = ", ".join(f"{k} %{p}" for k, p in zip(kinds, names.split(), strict=True))
        head = f"define internal void {name}({params}) noinline nounwind {{"
        self.module.helpers[name] = "\n".join([head, "entry:", *code.lines, "}"])

    # -- sums

    def begin(self, code: Code, vectors: int) -> tuple[list[str], int]:
        """What the sums of a row start from, and how many rows of b hold that instead of columns."""
        return ["zeroinitializer"] * vectors, 0

    def multiplied(self, code: Code, factor: str, column: str, before: str) -> str:
        """The sums `before` and the products of two vectors."""
        full = vector(self.type, self.tile.lanes)
        if not self.real:
            return self.added(code, before, code.op(f"mul {full} {factor}, {column}"))
        name = f"llvm.fma.{suffix(self.type, self.tile.lanes)}"
        return code.call(name, full, (full, factor), (full, column), (full, before))

    def added(self, code: Code, a: str, b: str) -> str:
        op = "fadd" if self.real else "add"
        return code.op(f"{op} {vector(self.type, self.tile.lanes)} {a}, {b}")

    def micro(self) -> None:
        lanes, body = self.tile.lanes, Code(self.module, "loop")
        places = (self.at(body, "%row.b", str(v * lanes)) for v in range(self.tile.nv))
        b = [self.load(body, place, lanes) for place in places]
        self._ahead(body)
        self.define("@micro", MICRO, NAMES, self.whole(body, b))

    def whole(self, body: Code, b: list[str]) -> Code:
        """A micro-kernel's code: the tile of a packed panel %a and the vectors b, which `body` makes."""
        (rows, nv, lanes), code = self.tile, Code(self.module, "entry")
        a = [("%row.a", str(r)) for r in range(rows)]
        for r in range(rows):  # what the sums are added to comes while they are made
            row = self.at(code, "%c", mul(code, "%ldc", str(r)))
            for v in range(nv):
                self._prefetch(code, self.at(code, row, str(v * lanes)), write=True)
        totals = self._products(code, body, a, b, ("%row.a", "ptr", "%a", str(rows)))
        code.branch("%more", "add", "store")
        for label in ("add", "store"):
            code.begin(label)
            c = "%c"
            for r, row in enumerate(totals):
                c = self.at(code, c, "%ldc") if r else c
                for v, total in enumerate(row):
                    at = self.at(code, c, str(v * lanes))
                    if label == "add":
                        total = self.added(code, self.load(code, at, lanes), total)
                    self.store(code, total, at, lanes)
            if label == "add":
                code.do("ret void")
        return code

    def passes(self) -> None:
        """@pass: some steps of k for one panel. `more` goes on from the sums in c, which has room for
        whole vectors of all rows.
        """
        (rows, nv, lanes), full = self.tile, vector(self.type, self.tile.lanes)
        code, body = Code(self.module, "entry"), Code(self.module, "loop")
        masks: list[str | None] = [None] * nv
        if self.ops.host.native_mask(self.size):
            masks = [self._mask(code, v * lanes) for v in range(nv)]
        final, reach = sub(code, "%rows", "1"), mul(code, "%ldb", str(PASS))
        ahead = self.at(body, "%row.b", reach)
        b, a, places, start = [], [], [], []
        for v, mask in enumerate(masks):
            b.append(
                self.ops.load(
                    body, self.dtype, self.at(body, "%row.b", str(v * lanes)), lanes, mask
                )
            )
            self._prefetch(body, self.at(body, ahead, str(v * lanes)), write=False)
        for r in range(rows):
            a.append((self.at(code, "%a", mul(code, "%sr", least(code, str(r), final))), "%along"))
            row = self.at(code, "%c", mul(code, "%ldc", str(r)))
            places.append([self.at(code, row, str(v * lanes)) for v in range(nv)])
            olds = [self.load(code, place, lanes) for place in places[-1]]
            start.append(
                [code.op(f"select i1 %more, {full} {x}, {full} zeroinitializer") for x in olds]
            )
        totals = self._products(code, body, a, b, ("%along", "i64", "0", "%sk"), start)
        for row, values in zip(places, totals):
            for place, value in zip(row, values):
                self.store(code, value, place, lanes)
        self.define("@pass", MICRO, NAMES, code)

    def edge(self, rows: int, vectors: int) -> None:
        """Rows beyond the last repeat it, and are not stored."""
        code, body = Code(self.module, "entry"), Code(self.module, "loop")
        final = sub(code, "%rows", "1")
        lines = [
            self.at(code, "%a", mul(code, "%sr", least(code, str(r), final))) for r in range(rows)
        ]
        if rows < self.tile.mr:
            self._ahead(body)
        elif vectors == self.tile.nv:
            self._below(code, body)
        a = [(line, "%along") for line in lines]
        step = "%along", "i64", "0", "%sk"
        self._short(f"@edge_{rows}_{vectors}", MICRO, NAMES, code, body, a, step, vectors)

    def walked(self, rows: int, vectors: int) -> None:
        """As edge, by tables."""
        code, body = Code(self.module, "entry"), Code(self.module, "loop")
        final, lines = sub(code, "%rows", "1"), []
        for r in range(rows):
            entry = code.op(f"getelementptr i64, ptr %across, i64 {least(code, str(r), final)}")
            lines.append(self.at(code, "%a", code.op(f"load i64, ptr {entry}, align 8")))
        along = body.op("load i64, ptr %row.k, align 8")
        step = "%row.k", "ptr", "%along", str(8 // self.size)
        names = NAMES.replace("sr sk", "across along")
        a, name = [(line, along) for line in lines], f"@walked_{rows}_{vectors}"
        self._short(name, WALKED, names, code, body, a, step, vectors)

    def _short(self, name, kinds, names, code, body, a, step, vectors: int) -> None:
        """A micro-kernel for some of %rows and %columns, of a's elements as _products takes them."""
        lanes, native = self.tile.lanes, self.ops.host.native_mask(self.size)
        masks = [self._mask(code, v * lanes) for v in range(vectors)]
        b = [
            self.ops.load(body, self.dtype, self.at(body, "%row.b", str(v * lanes)), lanes, mask)
            for v, mask in enumerate(masks if native else [None] * vectors)
        ]
        totals = self._products(code, body, a, b, step)
        code.branch("%more", "add", "store")
        for label in ("add", "store"):
            code.begin(label)
            c = "%c"
            for r, row in enumerate(totals):
                if r:
                    following = self.module.name("row")
                    code.branch(code.op(f"icmp sgt i64 %rows, {r}"), following, "end")
                    code.begin(following)
                    c = self.at(code, c, "%ldc")
                for v, (total, mask) in enumerate(zip(row, masks)):
                    at = self.at(code, c, str(v * lanes))
                    if label == "add":
                        old = self.ops.load(code, self.dtype, at, lanes, mask)
                        total = self.added(code, old, total)
                    self.ops.store(code, self.dtype, total, at, lanes, mask)
            code.do("br label %end")
        code.begin("end")
        self.define(name, kinds, names, code)

    def _mask(self, code: Code, first: int) -> str:
        """Which lanes of the columns from `first` on exist."""
        lanes = self.tile.lanes
        left = code.op(f"trunc i64 {sub(code, '%columns', str(first))} to i32")
        return code.op(
            f"icmp sgt {vector('i32', lanes)} {repeat(code, 'i32', left, lanes)},"
            f" {iota(lanes, 'i32')}"
        )

    def _prefetch(self, code: Code, at: str, write: bool) -> None:
        hints = [("i32", hint) for hint in ("1" if write else "0", "3", "1")]
        code.call("llvm.prefetch.p0", "void", ("ptr", at), *hints)

    def _ahead(self, body: Code) -> None:
        """The same row of the next panel: an rhs that is read where it lies streams 40% faster."""
        for v in range(self.tile.nv):
            ahead = self.at(body, "%row.b", str((self.tile.nv + v) * self.tile.lanes))
            self._prefetch(body, ahead, write=False)

    def _below(self, code: Code, body: Code) -> None:
        """What the next rows hold, a line of one row every few steps: eight streams at once are too
        short for the processor to see them.
        """
        near = code.op("icmp eq i64 %sk, 1")
        far = [code.op(f"select i1 {near}, i64 {x}, i64 %sk") for x in ("%sr", "1")]
        following = self.at(code, "%a", mul(code, "%sr", str(self.tile.mr)))
        row = body.op("and i64 %p, 7")
        along = sub(body, "%p", row)
        place = add(body, mul(body, row, far[0]), mul(body, along, far[1]))
        self._prefetch(body, self.at(body, following, place), write=False)

    def _products(
        self, code: Code, body: Code, a, b: list[str], step, start=None
    ) -> list[list[str]]:
        """The loop over k: sums of a's elements, given as (pointer, index), each times b's vectors.
        `step` is the phi that leads to a: name, kind, start, and how far it moves; `start` what the
        sums start from, row by row.
        """
        lanes = self.tile.lanes
        full = vector(self.type, lanes)
        sums = [[self.module.name("%sum") for _ in b] for _ in a]
        totals = []
        for place, row in zip(a, sums):
            factor = repeat(body, self.type, self.load(body, self.at(body, *place), 1), lanes)
            totals.append([
                self.multiplied(body, factor, column, before)
                for column, before in zip(b, row)
            ])  # fmt: skip
        p = body.op("add i64 %p, 1")
        name, kind, first, stride = step
        begin, skipped = self.begin(code, len(b))
        if skipped and kind == "ptr":
            first = self.at(code, first, stride)
        elif skipped:
            first = stride
        moved = self.at(body, name, stride) if kind == "ptr" else add(body, name, stride)
        after = self.at(body, "%row.b", "%ldb")
        carried = [
            ("%p", "i64", str(skipped), p),
            (name, kind, first, moved),
            ("%row.b", "ptr", self.at(code, "%b", mul(code, "%ldb", str(skipped))), after),
        ]
        for befores, zeros, afters in zip(sums, start or [begin] * len(a), totals):
            carried += [(x, full, zero, y) for x, zero, y in zip(befores, zeros, afters)]
        code.do("br label %loop")
        code.lines.append("loop:")
        for name, kind, start, following in carried:
            code.do(f"{name} = phi {kind} [{start}, %{code.label}], [{following}, %loop]")
        code.lines += body.lines
        code.label = "loop"
        code.branch(code.op(f"icmp slt i64 {p}, %k"), "loop", "done")
        code.begin("done")
        return totals
