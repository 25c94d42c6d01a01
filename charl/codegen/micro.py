"""What runs inside a matrix product, as LLVM functions: packing, micro-kernels, merging at edges.

    @pack_lhs, @pack_rhs   (dst, src, sw, sk, count, k)
        panels [k][width] of an array of `count` rows, which step sw; sk is the step along k
    @micro_R_V             (a, b, ldb, k, c, ldc, more)
        c[R][V vectors] = a [k][mr] . b [k], where rows of b are ldb apart
    @merge                 (t, c, ldc, rows, columns, more)
        the valid part of a whole tile t[mr][nr] goes to c

`more` adds to what c holds. Strides count elements. Nothing outside of the arrays is read or
written, but dst is overrun by less than OVERRUN elements.
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
MICRO = ("ptr", "ptr", "i64", "i64", "ptr", "i64", "i1")
MERGE = ("ptr", "ptr", "i64", "i64", "i64", "i1")

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

    def micro(self, rows: int, vectors: int) -> None:
        module, lanes = self.module, self.tile.lanes
        full = vector(self.type, lanes)
        places = [(r, v) for r in range(rows) for v in range(vectors)]
        sums = [module.name("%sum") for _ in places]
        body = Code(module, "loop")
        b = [
            self.load(body, self.at(body, "%row.b", str(v * lanes)), lanes) for v in range(vectors)
        ]
        # the same row of the next panel: an rhs that is read where it lies streams 40% faster
        for v in range(vectors):
            ahead = self.at(body, "%row.b", str((self.tile.nv + v) * lanes))
            hints = [("i32", hint) for hint in ("0", "3", "1")]
            body.call("llvm.prefetch.p0", "void", ("ptr", ahead), *hints)
        a, totals = "", []
        for (r, v), before in zip(places, sums):
            if v == 0:
                one = self.load(body, self.at(body, "%row.a", str(r)), 1)
                a = repeat(body, self.type, one, lanes)
            factors = [(full, a), (full, b[v]), (full, before)]
            totals.append(body.call(f"llvm.fma.{suffix(self.type, lanes)}", full, *factors))
        p = body.op("add i64 %p, 1")
        carried = [
            ("%p", "i64", "0", p),
            ("%row.a", "ptr", "%a", self.at(body, "%row.a", str(self.tile.mr))),
            ("%row.b", "ptr", "%b", self.at(body, "%row.b", "%ldb")),
            *((before, full, "zeroinitializer", total) for before, total in zip(sums, totals)),
        ]
        code = Code(module, "entry")
        for r in range(rows):  # what the sums are added to comes while they are made
            row = self.at(code, "%c", mul(code, "%ldc", str(r)))
            for v in range(vectors):
                hints = [("i32", hint) for hint in ("1", "3", "1")]
                ahead = self.at(code, row, str(v * lanes))
                code.call("llvm.prefetch.p0", "void", ("ptr", ahead), *hints)
        code.do("br label %loop")
        code.begin("loop")
        for place, kind, start, following in carried:
            code.do(f"{place} = phi {kind} [{start}, %entry], [{following}, %loop]")
        code.lines += body.lines
        code.branch(code.op(f"icmp slt i64 {p}, %k"), "loop", "done")
        code.begin("done")
        code.branch("%more", "add", "store")
        for label in ("add", "store"):
            code.begin(label)
            c = "%c"
            for (r, v), total in zip(places, totals):
                c = self.at(code, c, "%ldc") if r and v == 0 else c
                at = self.at(code, c, str(v * lanes))
                if label == "add":
                    total = code.op(f"fadd {full} {self.load(code, at, lanes)}, {total}")
                self.store(code, total, at, lanes)
            if label == "add":
                code.do("ret void")
        self.define(f"@micro_{rows}_{vectors}", MICRO, "a b ldb k c ldc more", code)

    def merge(self) -> None:
        lanes, nr = self.tile.lanes, self.tile.nr
        full, whole = vector(self.type, lanes), vector("i64", lanes)

        def part(code: Code, row: str, column: str) -> None:
            left = repeat(code, "i64", sub(code, "%columns", column), lanes)
            mask = code.op(f"icmp sgt {whole} {left}, {iota(lanes)}")
            t = self.at(code, "%t", add(code, mul(code, row, str(nr)), column))
            c = self.at(code, "%c", add(code, mul(code, row, "%ldc"), column))
            new = self.load(code, t, lanes)
            old = self.ops.load(code, self.dtype, c, lanes, mask)
            both = code.op(f"fadd {full} {old}, {new}")
            total = code.op(f"select i1 %more, {full} {both}, {full} {new}")
            self.ops.store(code, self.dtype, total, c, lanes, mask)

        def row(code: Code, i: str) -> None:
            code.loop("0", "%columns", lanes, lambda c, j: part(c, i, j))

        code = Code(self.module, "entry")
        code.loop("0", "%rows", 1, row)
        self.define("@merge", MERGE, "t c ldc rows columns more", code)

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
