"""Products of int8 summed in int32: the loops of gemm.py around words of several factors along k.

A word is 32 bits: four bytes, for processors that multiply and add four pairs of them at a time
(VNNI), or two halves elsewhere. VNNI wants one side unsigned: lhs is packed as x + 128, and the sums
of a column start from what that adds to them, less. All of it wraps, so it is exact.

    @pack_lhs, @pack_rhs   as in packing.py, or, for operands that walk in digits, as in digits.py
        panels [1 + words][width]; row 0 of rhs is what the sums start from
"""

from __future__ import annotations

from collections.abc import Callable

from charl.codegen.digits import PACK_AT
from charl.codegen.gemm import Gemm
from charl.codegen.host import Host
from charl.codegen.micro import Functions, add, least, mul, repeat, sub
from charl.codegen.packing import PACK
from charl.codegen.text import Code, vector
from charl.schedule.kernel import Contract, Int, P

PAIRS = {4: "sse2.pmadd.wd", 8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}  # by lanes
FLIP = {1: -128, 4: -0x7F7F7F80}  # the signs of so many bytes


def quads(host: Host) -> bool:
    """Whether sums of four products of bytes are one instruction."""
    if host.vector_bytes == 64:
        return host.has("avx512vnni")
    vnni = host.has("avxvnni") or (host.has("avx512vnni") and host.has("avx512vl"))
    return host.vector_bytes == 32 and vnni


class Words(Functions):
    """Functions whose elements are words."""

    @property
    def group(self) -> int:
        """Factors of a word."""
        return 4 if quads(self.ops.host) else 2

    def begin(self, code: Code, vectors: int) -> tuple[list[str], int]:
        lanes = self.tile.lanes
        return [
            self.load(code, self.at(code, "%b", str(v * lanes)), lanes) for v in range(vectors)
        ], 1

    def multiplied(self, code: Code, factor: str, column: str, before: str) -> str:
        lanes, host = self.tile.lanes, self.ops.host
        full = vector("i32", lanes)
        if self.group == 4:
            name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
            return code.call(name, full, (full, before), (full, factor), (full, column))
        if not host.triple.startswith("x86_64"):
            for bits in ("16", "0"):  # the low halves of both, then the high ones
                a, b = (
                    code.op(f"ashr {full} {code.op(f'shl {full} {x}, splat (i32 {bits})')},"
                            f" splat (i32 16)")
                    for x in (factor, column)
                )  # fmt: skip
                before = self.added(code, before, code.op(f"mul {full} {a}, {b}"))
            return before
        halves = vector("i16", 2 * lanes)
        a, b = (code.op(f"bitcast {full} {x} to {halves}") for x in (factor, column))
        name = f"llvm.x86.{PAIRS[lanes]}"
        return self.added(code, before, code.call(name, full, (halves, a), (halves, b)))

    # -- packing

    def words(self, name: str, width: int, across: Int, along: Int, walked: bool) -> None:
        """`across` and `along` are strides as pack's, or the operand is walked by tables. A last panel
        that is short repeats its last row; factors beyond the end of k are 0.
        """
        group, flip = self.group, self.group == 4 and "lhs" in name
        sw = "%sw" if isinstance(across, P) or walked else str(across)
        sk = "%sk" if isinstance(along, P) or walked else str(along)
        near = not walked and (sw == "1" or sk == "1")

        def panel(code: Code, start: str) -> None:
            rows = least(code, sub(code, "%count", start), str(width))
            last = sub(code, rows, "1")
            whole = code.op(f"udiv i64 %k, {group}")
            words = code.op(f"udiv i64 {add(code, '%k', str(group - 1))}, {group}")
            dst = self.at(code, "%dst", mul(code, start, add(code, words, "1")))
            body = self.at(code, dst, str(width))
            first = "0"
            if near:
                src = self._byte(code, "%src", mul(code, start, sw))
                if sw == "1":
                    fits = code.op(f"icmp eq i64 {rows}, {width}")
                    first = code.op(f"select i1 {fits}, i64 {whole}, i64 0")
                    code.loop(
                        "0", first, 1, lambda c, p: self._zipped(c, body, src, sk, p, width, flip)
                    )
                else:
                    first = whole
                    code.loop("0", str(width), 1, lambda c, r: (
                        self._copied(c, body, src, mul(c, least(c, r, last), sw), r, whole, width, flip)))  # fmt: skip

            def at(code: Code, r: str, p: str) -> str:
                r = add(code, start, r)
                if walked:
                    tables = ("%across", r), ("%along", p)
                    places = (f"getelementptr i64, ptr {table}, i64 {n}" for table, n in tables)
                    a, b = (code.op(f"load i64, ptr {code.op(place)}") for place in places)
                    return self._byte(code, "%src", add(code, a, b))
                return self._byte(code, "%src", add(code, mul(code, r, sw), mul(code, p, sk)))

            def word(code: Code, p: str) -> None:
                code.loop("0", str(width), 1, lambda c, r: (
                    self._gathered(c, body, p, r, lambda c, q: at(c, least(c, r, last), q), width, flip)))  # fmt: skip

            code.loop(first, words, 1, word)
            if "rhs" in name:
                self._start(code, dst, words, width)

        code = Code(self.module, "entry")
        code.loop("0", "%count", width, panel)
        if walked:
            self.define(name, PACK_AT, "dst src across along count k", code)
        else:
            self.define(name, PACK, "dst src sw sk count k", code)

    def _byte(self, code: Code, base: str, index: str) -> str:
        return code.op(f"getelementptr i8, ptr {base}, i64 {index}")

    def _zipped(self, code, body, src, sk, p, width, flip) -> None:
        """Word p of a panel of contiguous rows."""
        group, narrow = self.group, vector("i8", width)
        first = mul(code, p, str(group))
        rows = []
        for q in range(group):
            place = self._byte(code, src, mul(code, add(code, first, str(q)), sk))
            rows.append(code.op(f"load {narrow}, ptr {place}, align 1"))
        kind, lanes = "i8", width
        if group == 2:
            kind = "i16"
            rows = [code.op(f"sext {narrow} {row} to {vector(kind, width)}") for row in rows]
        elif flip:
            rows = [code.op(f"xor {narrow} {row}, splat (i8 {FLIP[1]})") for row in rows]
        while len(rows) > 1:  # rows 0 and 2, 1 and 3; then these: neighbours along k at last
            half = len(rows) // 2
            order = [n for k in range(lanes) for n in (k, k + lanes)]
            full = vector(kind, lanes)
            rows = [code.shuffle(full, rows[k], rows[k + half], order) for k in range(half)]
            lanes *= 2
        to = self.at(code, body, mul(code, p, str(width)))
        code.do(f"store {vector(kind, lanes)} {rows[0]}, ptr {to}, align 4")

    def _copied(self, code, body, src, row, r, whole, width, flip) -> None:
        """All whole words of a row that is contiguous along k."""
        source, group = self._byte(code, src, row), self.group

        def word(c: Code, p: str) -> None:
            place = self._byte(c, source, mul(c, p, str(group)))
            if group == 4:
                value = c.op(f"load i32, ptr {place}, align 1")
                if flip:
                    value = c.op(f"xor i32 {value}, {FLIP[4]}")
            else:
                pair = c.op(f"load <2 x i8>, ptr {place}, align 1")
                pair = c.op(f"sext <2 x i8> {pair} to <2 x i16>")
                value = c.op(f"bitcast <2 x i16> {pair} to i32")
            self.store(c, value, self.at(c, body, add(c, mul(c, p, str(width)), r)), 1)

        code.loop("0", whole, 1, word)

    def _gathered(
        self, code, body, p: str, r: str, at: Callable[[Code, str], str], width: int, flip: bool
    ) -> None:
        """Word p of row r, factor by factor; at(code, k) is where one lies."""
        group, final, value = self.group, sub(code, "%k", "1"), "0"
        for q in range(group):
            k = add(code, mul(code, p, str(group)), str(q))
            factor = code.op(f"load i8, ptr {at(code, least(code, k, final))}")
            if flip:
                factor = code.op(f"xor i8 {factor}, {FLIP[1]}")
            there = code.op(f"icmp sle i64 {k}, {final}")
            factor = code.op(f"select i1 {there}, i8 {factor}, i8 0")
            bits = 32 // group
            if group == 2:
                factor = code.op(f"sext i8 {factor} to i16")
            wide = code.op(f"zext i{bits} {factor} to i32")
            value = code.op(f"or i32 {value}, {code.op(f'shl i32 {wide}, {q * bits}')}")
        self.store(code, value, self.at(code, body, add(code, mul(code, p, str(width)), r)), 1)

    def _start(self, code: Code, dst: str, words: str, width: int) -> None:
        """Row 0 of a panel of rhs."""
        lanes = self.tile.lanes
        full = vector("i32", lanes)
        signs = repeat(code, "i32", str(FLIP[4]), lanes)
        for v in range(0, width, lanes):
            total, to = "zeroinitializer", self.at(code, dst, str(v))
            if self.group == 4:
                cell = self.at(code, dst, str(v))
                self.store(code, total, cell, lanes)

                def row(c: Code, p: str, cell: str = cell) -> None:
                    value = self.load(
                        c, self.at(c, cell, mul(c, add(c, p, "1"), str(width))), lanes
                    )
                    before = self.load(c, cell, lanes)
                    self.store(c, self.multiplied(c, signs, value, before), cell, lanes)

                code.loop("0", words, 1, row)
                total = code.op(f"sub {full} zeroinitializer, {self.load(code, cell, lanes)}")
            self.store(code, total, to, lanes)


class Bytes(Gemm):
    """Writes a Contract of int8."""

    in_place = False

    def __init__(self, contract: Contract, host: Host):
        super().__init__(contract, host)
        self.functions: Words = Words(self.module, self.ops, contract.dtype, self.tile)

    def reach(self, code: Code, base: str, index: str) -> str:
        return base if index == "0" else code.op(f"getelementptr i8, ptr {base}, i64 {index}")

    def steps(self, code: Code, depth: str) -> str:
        group = self.functions.group
        return add(code, code.op(f"udiv i64 {add(code, depth, str(group - 1))}, {group}"), "1")

    def packs(self, side: str, width: int, across: Int, along: Int) -> None:
        walked = side in self.walked
        self.functions.words(f"@pack_{side}{'_at' * walked}", width, across, along, walked)
