"""Operands that lie across the rows of a kernel: consecutive along the last outer axis, apart along
the inner one, as x.T is. Such a kernel is walked in squares:

    group         of up to SIDE neighbours along the last outer axis
      square      SIDE elements of the inner axis
        turn      each such operand's part goes into a tile, transposed in registers
        row       the body, which reads the tiles instead

A row by itself would read one element of each line of memory that it meets.
"""

from __future__ import annotations

from functools import partial

from charl.codegen.frame import Region
from charl.codegen.loops import Loops
from charl.codegen.text import MEMORY, Code, vector
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import Access, Kernel, P

SIDE = 64
BLOCK = 16  # rows and columns at most that are transposed at once
FEW = 4  # neighbours from which on squares pay
MOST = 4  # operands: their tiles share the first cache


def across(kernel: Kernel) -> tuple[Access, ...]:
    """The accesses that squares are for; none where the kernel folds, or reads what it writes."""
    found: dict[Access, None] = {}
    if kernel.order != "row" or not kernel.outer or kernel.block is not None:
        return ()
    for stage in kernel.stages:
        for instr in stage.body:
            if instr.op in ("reduce", "scan", "keep") or (instr.op == "store" and not stage.loop):
                return ()
            if instr.op == "load" and stage.loop and not instr.args:
                strides, mode = instr.attr.strides, kernel.args[instr.attr.arg].mode
                if mode == "in" and strides[-2] == 1 and isinstance(strides[-1], P):
                    found[instr.attr] = None
    return tuple(found) if len(found) <= MOST else ()


class Squares(Loops):
    """The walk in squares; Rows has that of one row."""

    def squares(self, code: Code, extents: list[str]) -> None:
        """All units, in groups."""
        cells, now = self.indices(code, extents), self.cell("unit", "i64")
        code.do(f"store i64 %begin, ptr {now}")

        def group(c: Code) -> str:
            unit = c.op(f"load i64, ptr {now}")
            at = [c.op(f"load i64, ptr {cell}") for cell in cells]
            left = c.op(f"sub i64 {extents[-1]}, {at[-1]}")
            left = self.least(c, left, c.op(f"sub i64 %end, {unit}"))
            rows = self.least(c, left, str(SIDE))
            extent = self.int(self.kernel.inner.extent)
            c.loop("0", extent, SIDE, lambda c, j: self._square(c, at, rows, j, extent))
            self.count(c, cells, at, extents, rows)
            following = c.op(f"add i64 {unit}, {rows}")
            c.do(f"store i64 {following}, ptr {now}")
            return c.op(f"icmp slt i64 {following}, %end")

        code.repeat(group)

    def _square(self, code: Code, outer: list[str], rows: str, first: str, extent: str) -> None:
        last = self.least(code, code.op(f"add i64 {first}, {SIDE}"), extent)
        for access in self.across:
            self._turn(code, access, outer, rows, first, last)

        def row(c: Code, r: str) -> None:
            own = [*outer[:-1], c.op(f"add i64 {outer[-1]}, {r}")]
            self.part(c, own, first, last, (r, first))

        code.loop("0", rows, 1, row)

    def part(self, code, outer, first, last, square) -> None:
        """All stages for one outer index, along a part of its row."""
        raise NotImplementedError

    # -- tiles -------------------------------------------------------------------------------------

    def _tile(self, access: Access) -> str:
        """Rows of SIDE elements."""
        kind = MEMORY[self.kernel.args[access.arg].dtype]
        return self.cell(("tile", access), f"[{SIDE * SIDE} x {kind}]")

    def in_tile(self, at: Region, access: Access) -> str:
        """Where inner index 0 of the access would lie."""
        key = ("tile", access)
        if key not in at.fixed:
            row, first = at.square
            place = at.before.op(f"mul i64 {row}, {SIDE}")
            place = at.before.op(f"sub i64 {place}, {first}")
            dtype = self.kernel.args[access.arg].dtype
            at.fixed[key] = self.shift(at.before, dtype, self._tile(access), place)
        return at.fixed[key]

    def _turn(self, code, access, outer, rows, first, last) -> None:
        """Fills the tile of an access: block by block, down the inner axis."""
        dtype = self.kernel.args[access.arg].dtype
        side = max(2, min(BLOCK, self.host.vector_bytes // BY_SHORT[dtype].itemsize))
        start = self.affine(code, access.offset, access.strides, outer)
        start = self.shift(code, dtype, self.buffer(access.arg), start)
        final = code.op(f"sub i64 {last}, 1")
        stride = self.int(access.strides[-1])

        def block(c: Code, i: str, j: str, mask: str | None) -> None:
            lines = []
            for k in range(side):  # beyond the last line: that one again
                line = self.least(c, c.op(f"add i64 {j}, {k}"), final)
                place = c.op(f"add i64 {c.op(f'mul i64 {line}, {stride}')}, {i}")
                place = self.shift(c, dtype, start, place)
                lines.append(self.ops.load_raw(c, dtype, place, side, mask))
            column = c.op(f"sub i64 {j}, {first}")
            for k, line in enumerate(_transposed(c, vector(MEMORY[dtype], side), lines)):
                place = c.op(f"mul i64 {c.op(f'add i64 {i}, {k}')}, {SIDE}")
                place = self.shift(c, dtype, self._tile(access), c.op(f"add i64 {place}, {column}"))
                size = BY_SHORT[dtype].itemsize
                c.do(f"store {vector(MEMORY[dtype], side)} {line}, ptr {place}, align {size}")

        def lanes(c: Code, i: str, j: str) -> None:
            left = c.op(f"sub i64 {rows}, {i}")
            whole = c.op(f"icmp sge i64 {left}, {side}")
            c.when(whole, partial(block, i=i, j=j, mask=None))
            mask = self._mask(c, c.op(f"trunc i64 {left} to i32"), side)
            c.when(c.op(f"xor i1 {whole}, true"), partial(block, i=i, j=j, mask=mask))

        code.loop(
            first,
            last,
            side,
            lambda c, j: c.loop("0", rows, side, lambda c, i: lanes(c, i, j)),
        )


def _transposed(code: Code, full: str, lines: list[str]) -> list[str]:
    """The columns of a square of vectors: halves are exchanged, then halves of halves."""
    side = len(lines)
    h = 1
    while h < side:
        low = [n if not n & h else side + n - h for n in range(side)]
        high = [n + h if not n & h else side + n for n in range(side)]
        after = list(lines)
        for k in range(side):
            if not k & h:
                a, b = lines[k], lines[k + h]
                after[k] = code.shuffle(full, a, b, low)
                after[k + h] = code.shuffle(full, a, b, high)
        lines, h = after, 2 * h
    return lines
