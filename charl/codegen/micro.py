"""What runs inside a matrix product, as LLVM functions: packing and micro-kernels.

    @pack_lhs, @pack_rhs   (dst, src, sw, sk, count, k)
        panels [k][width] of an array of `count` rows, which step sw; sk is the step along k
    @micro                 (a, sr, sk, b, ldb, k, c, ldc, rows, columns, more)
        c[mr][nr] = a . b for a packed panel a; b has rows ldb apart; sr to columns play no part
    @edge_R_V              likewise
        c[rows][columns] = a . b, where rows <= R and columns <= V vectors, and a lies anywhere: sr
        is the step from row to row, sk the step along k

`more` adds to what c holds. Strides count elements. Nothing outside of the arrays is read or
written, but dst is overrun by less than OVERRUN elements; without native masks an edge reads whole
vectors of b.
"""

from __future__ import annotations

from typing import NamedTuple

from charl.codegen.host import Host
from charl.codegen.memory import Memory
from charl.codegen.text import REGISTER, Code, Module, iota, suffix, vector
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import Int, P

OVERRUN = 64
PACK = ("ptr", "ptr", "i64", "i64", "i64", "i64")
MICRO = ("ptr", "i64", "i64", "ptr", "i64", "i64", "ptr", "i64", "i64", "i64", "i1")
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


def zip_rows(n: int, h: int, inside: int) -> tuple[list[int], list[int]]:
    """Shuffles of rows r and r + h, in the step of an n x n transpose that exchanges bit h.

    Steps of whole 16-byte lanes (of `inside` elements) swap lanes; the smaller ones zip within
    them, which transposes a lane when all of them are done. Each is one instruction on x86 and Arm.
    """
    if h >= inside:
        low = [c - h + n if c & h else c for c in range(n)]
        return low, [c + n if c & h else c + h for c in range(n)]
    starts = [lane + e for lane in range(0, n, inside) for e in range(inside // 2)]
    low = [c for e in starts for c in (e, e + n)]
    return low, [c + inside // 2 for c in low]


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
        rows, nv, lanes = self.tile
        code, body = Code(self.module, "entry"), Code(self.module, "loop")
        b = [self.load(body, self.at(body, "%row.b", str(v * lanes)), lanes) for v in range(nv)]
        self._ahead(body)
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
        self.define("@micro", MICRO, NAMES, code)

    def edge(self, rows: int, vectors: int) -> None:
        """Rows beyond the last repeat it, and are not stored."""
        lanes, native = self.tile.lanes, self.ops.host.native_mask(self.size)
        code, body = Code(self.module, "entry"), Code(self.module, "loop")
        masks = [self._mask(code, v * lanes) for v in range(vectors)]
        final = sub(code, "%rows", "1")
        lines = [
            self.at(code, "%a", mul(code, "%sr", least(code, str(r), final))) for r in range(rows)
        ]
        b = [
            self.ops.load(body, self.dtype, self.at(body, "%row.b", str(v * lanes)), lanes, mask)
            for v, mask in enumerate(masks if native else [None] * vectors)
        ]
        if rows < self.tile.mr:
            self._ahead(body)
        elif vectors == self.tile.nv:
            self._below(code, body)
        a = [(line, "%along") for line in lines]
        totals = self._products(code, body, a, b, ("%along", "i64", "0", "%sk"))
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
        self.define(f"@edge_{rows}_{vectors}", MICRO, NAMES, code)

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

    def _products(self, code: Code, body: Code, a, b: list[str], step) -> list[list[str]]:
        """The loop over k: sums of a's elements, given as (pointer, index), each times b's vectors.
        `step` is the phi that leads to a: name, kind, start, and how far it moves.
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
        name, kind, start, stride = step
        begin, skipped = self.begin(code, len(b))
        if skipped and kind == "ptr":
            start = self.at(code, start, stride)
        elif skipped:
            start = stride
        moved = self.at(body, name, stride) if kind == "ptr" else add(body, name, stride)
        after = self.at(body, "%row.b", "%ldb")
        carried = [
            ("%p", "i64", str(skipped), p),
            (name, kind, start, moved),
            ("%row.b", "ptr", self.at(code, "%b", mul(code, "%ldb", str(skipped))), after),
        ]
        for befores, afters in zip(sums, totals):
            carried += [(x, full, zero, y) for x, zero, y in zip(befores, begin, afters)]
        code.do("br label %loop")
        code.lines.append("loop:")
        for name, kind, start, following in carried:
            code.do(f"{name} = phi {kind} [{start}, %{code.label}], [{following}, %loop]")
        code.lines += body.lines
        code.label = "loop"
        code.branch(code.op(f"icmp slt i64 {p}, %k"), "loop", "done")
        code.begin("done")
        return totals

    # -- packing

    def pack(self, name: str, width: int, across: Int, along: Int) -> None:
        """`across` and `along` are the strides sw (across a panel) and sk (along k), where known.

        A last panel that is short repeats its last row; what comes of that is not used.
        """
        sw = "%sw" if isinstance(across, P) else str(across)
        sk = "%sk" if isinstance(along, P) else str(along)

        def panel(code: Code, start: str) -> None:
            rows = least(code, sub(code, "%count", start), str(width))
            last = sub(code, rows, "1")
            src = self.at(code, "%src", mul(code, start, sw))
            dst = self.at(code, "%dst", mul(code, start, "%k"))
            fast = "false"
            if sw == "1":
                fast = code.op(f"icmp eq i64 {rows}, {width}")
                code.when(fast, lambda c: self._copy(c, dst, src, sk, width))
            elif sk == "1":
                fast = code.op(f"icmp sge i64 %k, {self._side(width)}")
                code.when(fast, lambda c: self._transpose(c, dst, src, sw, last, width))
            rest = code.op(f"select i1 {fast}, i64 0, i64 %k")
            code.loop("0", rest, 1, lambda c, p: each(c, dst, src, last, p))

        def each(code: Code, dst: str, src: str, last: str, p: str) -> None:
            """One element at a time."""
            source = self.at(code, src, mul(code, p, sk))
            target = self.at(code, dst, mul(code, p, str(width)))

            def one(c: Code, r: str) -> None:
                value = self.load(c, self.at(c, source, mul(c, least(c, r, last), sw)), 1)
                self.store(c, value, self.at(c, target, r), 1)

            code.loop("0", str(width), 1, one)

        code = Code(self.module, "entry")
        code.loop("0", "%count", width, panel)
        self.define(name, PACK, "dst src sw sk count k", code)

    def _copy(self, code: Code, dst: str, src: str, sk: str, width: int) -> None:
        """A whole panel of contiguous columns."""

        def step(c: Code, p: str) -> None:
            value = self.load(c, self.at(c, src, mul(c, p, sk)), width)
            self.store(c, value, self.at(c, dst, mul(c, p, str(width))), width)

        code.loop("0", "%k", 1, step)

    def _side(self, width: int) -> int:
        """Of the blocks that are transposed in registers: of at most 32 bytes, half that if only
        half divides the panel. (64 bytes are no faster.)"""
        most = min(self.ops.host.vector_bytes, 32) // self.size
        return most // 2 if width % most and width % (most // 2) == 0 and most > 2 else most

    def _transpose(self, code: Code, dst, src, sw, last, width: int) -> None:
        """A panel of rows that are contiguous along k, a square block at a time.

        A block that is wider than the panel spills into the next step's row, which comes later.
        """
        n = self._side(width)
        inside, full = min(n, 16 // self.size), vector(self.type, n)

        def shuffle(code: Code, a: str, b: str, order: list[int]) -> str:
            mask = ", ".join(f"i32 {k}" for k in order)
            return code.op(f"shufflevector {full} {a}, {full} {b}, <{n} x i32> <{mask}>")

        def group(code: Code, first: str) -> None:
            numbers = [least(code, add(code, first, str(r)), last) for r in range(n)]
            rows = [self.at(code, src, mul(code, number, sw)) for number in numbers]
            final = sub(code, "%k", str(n))

            def block(c: Code, p: str) -> None:
                p = least(c, p, final)  # the last block is moved back over the one before it
                values = [self.load(c, self.at(c, row, p), n) for row in rows]
                h = n // 2
                while h:
                    low, high = zip_rows(n, h, inside)
                    for r in (r for r in range(n) if not r & h):
                        a, b = values[r], values[r + h]
                        values[r], values[r + h] = shuffle(c, a, b, low), shuffle(c, a, b, high)
                    h //= 2
                to = self.at(c, dst, add(c, mul(c, p, str(width)), first))
                for r, value in enumerate(values):
                    self.store(c, value, self.at(c, to, str(r * width)), n)

            code.loop("0", "%k", n, block)

        code.loop("0", str(width), n, group)
