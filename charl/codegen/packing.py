"""Packing an operand of a matrix product into panels, as LLVM functions.

    @pack_lhs, @pack_rhs   (dst, src, sw, sk, count, k)
        panels [k][width] of an array of `count` rows, which step sw; sk is the step along k

Nothing outside of the array is read; dst is overrun by less than OVERRUN elements.
"""

from __future__ import annotations

from charl.codegen.micro import Functions, add, least, mul, sub
from charl.codegen.text import Code, vector
from charl.schedule.kernel import Int, P

OVERRUN = 64
PACK = ("ptr", "ptr", "i64", "i64", "i64", "i64")


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


class Panels:
    """Writes packing for one dtype into a module."""

    def __init__(self, functions: Functions):
        self.functions, self.size, self.type = functions, functions.size, functions.type
        self.at, self.load, self.store = functions.at, functions.load, functions.store

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

        code = Code(self.functions.module, "entry")
        code.loop("0", "%count", width, panel)
        self.functions.define(name, PACK, "dst src sw sk count k", code)

    def _copy(self, code: Code, dst: str, src: str, sk: str, width: int) -> None:
        """A whole panel of contiguous columns."""

        def step(c: Code, p: str) -> None:
            value = self.load(c, self.at(c, src, mul(c, p, sk)), width)
            self.store(c, value, self.at(c, dst, mul(c, p, str(width))), width)

        code.loop("0", "%k", 1, step)

    def _side(self, width: int) -> int:
        """Of the blocks that are transposed in registers: of at most 32 bytes, half that if only
        half divides the panel. (64 bytes are no faster.)"""
        most = min(self.functions.ops.host.vector_bytes, 32) // self.size
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
