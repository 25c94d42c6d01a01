"""Kernel -> LLVM text: `i32 @kernel(ptr %launch, i64 %begin, i64 %end)`, a launch of units [begin, end).

    entry      buffers, params and constants that the kernel uses
    units      a loop over rows (order row) or over blocks of columns (order column)
      stage    before: what stays the same in the loop: addresses, splats, uniform arithmetic
               walk:   vectors of `width` lanes along the inner axis; in column order the lanes are columns
               finish: the fixed tree over the lanes of a reduction

Tier "full" walks whole vectors without masks, then one masked tail; "quick" masks every vector and is half the text.
A row's sum has LANES lanes whatever the width: where the width is less, the lanes' sums lie in memory.
"""

from __future__ import annotations

from charl.codegen import gemm
from charl.codegen.body import Body, Operand, Region
from charl.codegen.host import Host
from charl.codegen.text import MEMORY, REGISTER, Code, iota, suffix, vector
from charl.core.dtypes import BY_SHORT
from charl.ops.trace import Expansion, expansion
from charl.schedule.kernel import (
    COLUMN_BLOCK,
    COLUMNS,
    LANES,
    ROW_BLOCK,
    STEPS,
    UNIT,
    Instr,
    Kernel,
    Stage,
    Value,
)

# Bodies of at most so many primitives are walked 4 (or 2) vectors at a time: more would spill registers.
WIDE = {"quick": (6, 12), "full": (16, 40)}
FAR = 4  # cost of a load that is not of consecutive elements


def emit(kernel: Value, host: Host, tier: str) -> str:
    """The text of a module that defines @kernel. tier is "quick" (compact) or "full" (fast)."""
    if not isinstance(kernel, Kernel):
        return gemm.emit(kernel, host, tier)
    return Emitter(kernel, host, tier).text()


class Emitter(Body):
    """Writes one Kernel."""

    def __init__(self, kernel: Kernel, host: Host, tier: str):
        super().__init__(kernel, host)
        self.width = lanes_of(kernel, host, tier)
        self.split = tier == "full" or not all(host.native_mask(BY_SHORT[a.dtype].itemsize) for a in kernel.args)

    def text(self) -> str:
        kernel, code = self.kernel, Code(self.module, "start")
        extents = [self.int(axis.extent) for axis in kernel.outer]
        if not kernel.outer and len(kernel.stages) == 1 and _is_map(kernel.stages[0]):
            self._flat(code)
        elif not kernel.outer:
            code.when(code.op("icmp slt i64 %begin, %end"), lambda c: self._row(c, []))
        elif self.column:
            blocks = code.op(f"sdiv i64 {code.op(f'add i64 {extents[-1]}, {COLUMNS - 1}')}, {COLUMNS}")
            self._units(code, [*extents[:-1], blocks], self._columns)
        else:
            self._units(code, extents, self._row)
        code.do("ret i32 0")
        attributes = f'nounwind "prefer-vector-width"="{8 * self.host.vector_bytes}"'
        head = f"define i32 @kernel(ptr %launch, i64 %begin, i64 %end) {attributes} {{"
        lines = [head, "entry:", *self.entry.lines, "  br label %start", "start:", *code.lines, "}"]
        return self.module.text("\n".join(lines))

    # -- units -----------------------------------------------------------------------------------------------------------

    def _units(self, code: Code, extents: list[str], body) -> None:
        """`body(code, indices)` for each unit; several indices are counted up, not divided anew for each."""
        if len(extents) == 1:
            code.loop("%begin", "%end", 1, lambda c, i: body(c, [i]))
            return
        cells = [self.cell(("axis", k), "i64") for k in range(len(extents))]

        def unit(c: Code, _: str) -> None:
            at = [c.op(f"load i64, ptr {cell}") for cell in cells]
            body(c, at)
            carry = "true"
            for cell, index, extent in reversed(list(zip(cells, at, extents))):
                following = c.op(f"add i64 {index}, {c.op(f'zext i1 {carry} to i64')}")
                carry = c.op(f"icmp eq i64 {following}, {extent}")
                c.do(f"store i64 {c.op(f'select i1 {carry}, i64 0, i64 {following}')}, ptr {cell}")

        def run(c: Code) -> None:
            rest = "%begin"
            for cell, extent in reversed(list(zip(cells[1:], extents[1:]))):
                quotient = c.op(f"udiv i64 {rest}, {extent}")
                used = c.op(f"mul i64 {quotient}, {extent}")
                c.do(f"store i64 {c.op(f'sub i64 {rest}, {used}')}, ptr {cell}")
                rest = quotient
            c.do(f"store i64 {rest}, ptr {cells[0]}")
            c.loop("%begin", "%end", 1, unit)

        # no units: an extent may be 0, by which nothing must be divided
        code.when(code.op("icmp slt i64 %begin, %end"), run)

    def _flat(self, code: Code) -> None:
        """A lone map without outer axes: units are cuts of the inner axis, and are walked in one go."""
        first, last = (code.op(f"mul i64 {unit}, {UNIT}") for unit in ("%begin", "%end"))
        last = self._least(code, last, self.int(self.kernel.inner.extent))
        stage = self.kernel.stages[0]
        self._staged(code, first, last, lambda b, c: self._walk(b, c, stage, 0, [], first, last, {}))

    def _row(self, code: Code, outer: list[str]) -> None:
        """All stages for one outer index."""
        first, last = self._range(code, outer, ROW_BLOCK)
        number = 0
        for stage in self.kernel.stages:
            if not stage.loop:
                self.stage(Region(code, code, 1, None, outer), stage, number)
            else:
                self._row_stage(code, stage, number, outer, first, last)
            number += len(stage.body)

    def _row_stage(self, code, stage, number, outer, first, last):
        totals = self._start(code, stage, number, LANES, 1)

        def walk(before: Code, rest: Code) -> None:
            fixed: dict = {}
            if totals:
                self._chunks(rest, totals, first, last, LANES * STEPS, LANES, lambda c, start, stop: (
                    self._walk(before, c, stage, number, outer, start, stop, fixed)))  # fmt: skip
            else:
                self._walk(before, rest, stage, number, outer, first, last, fixed)

        self._staged(code, first, last, walk)
        for at, instr in totals:
            self.values[at] = Operand(self._tree(code, at, instr), instr.dtype, False, True)

    def _columns(self, code: Code, unit: list[str]) -> None:
        """A block of COLUMNS columns, in strips of one vector."""
        start = code.op(f"mul i64 {unit[-1]}, {COLUMNS}")
        stop = self._least(code, code.op(f"add i64 {start}, {COLUMNS}"), self.int(self.kernel.outer[-1].extent))
        first, last = self._range(code, unit, COLUMN_BLOCK)

        def strip(c: Code, column: str, mask: str | None) -> None:
            number = 0
            for stage in self.kernel.stages:
                outer = [*unit[:-1], column]
                if not stage.loop:
                    self.stage(Region(c, c, self.width, mask, outer), stage, number)
                else:
                    self._column_stage(c, stage, number, outer, mask, first, last)
                number += len(stage.body)

        self._vectors(code, start, stop, strip)

    def _column_stage(self, code, stage, number, outer, mask, first, last):
        totals = self._start(code, stage, number, self.width, self.width)

        def walk(before: Code, rest: Code) -> None:
            fixed: dict = {}

            def step(c: Code, p: str) -> None:
                self.stage(Region(c, before, self.width, mask, outer, p, fixed), stage, number)

            if totals:
                self._chunks(rest, totals, first, last, STEPS, self.width, lambda c, start, stop: (
                    c.loop(start, stop, 1, step)))  # fmt: skip
            else:
                rest.loop(first, last, 1, step)

        self._staged(code, first, last, walk)
        for at, instr in totals:
            value = self.ops.load(code, instr.dtype, self._total(at, instr), self.width, None)
            self.values[at] = Operand(value, instr.dtype, True, True)

    # -- loops ---------------------------------------------------------------------------------------------------------

    def _staged(self, code: Code, first: str, last: str, body) -> None:
        """`body(before, rest)` if first < last. What goes into `before`, at any time, runs ahead of `rest`."""

        def inside(c: Code) -> None:
            before, rest = Code(self.module, c.label), Code(self.module, self.module.name("walk"))
            start = rest.label
            body(before, rest)
            c.lines += [*before.lines, f"  br label %{start}", f"{start}:", *rest.lines]
            c.label = rest.label

        code.when(code.op(f"icmp slt i64 {first}, {last}"), inside)

    def _walk(self, before, code, stage, number, outer, first, last, fixed):
        """The stage's body along the inner axis, a vector at a time."""

        def body(c: Code, index: str, mask: str | None) -> None:
            self.stage(Region(c, before, self.width, mask, outer, index, fixed), stage, number)

        self._vectors(code, first, last, body)

    def _vectors(self, code: Code, first: str, last: str, body) -> None:
        """`body(code, index, mask)` for index first, first + width, ... below last."""

        def masked(c: Code, index: str) -> None:
            left = self._least(c, c.op(f"sub i64 {last}, {index}"), str(self.width))
            body(c, index, self._mask(c, c.op(f"trunc i64 {left} to i32")))

        if not self.split:
            code.loop(first, last, self.width, masked)
            return
        length = code.op(f"sub i64 {last}, {first}")
        whole = code.op(f"and i64 {length}, {-self.width}")
        stop = self.plus(code, first, whole)
        code.loop(first, stop, self.width, lambda c, i: body(c, i, None))
        code.when(code.op(f"icmp slt i64 {stop}, {last}"), lambda c: masked(c, stop))

    def _mask(self, code: Code, count: str) -> str:
        """The first `count` (i32) lanes."""
        full = vector("i32", self.width)
        one = code.op(f"insertelement {full} poison, i32 {count}, i64 0")
        every = code.op(f"shufflevector {full} {one}, {full} poison, <{self.width} x i32> zeroinitializer")
        return code.op(f"icmp ult {full} {iota(self.width, 'i32')}, {every}")

    def _range(self, code: Code, outer: list[str], size: int) -> tuple[str, str]:
        """The first p of the inner axis and the end: all of it, or one block."""
        if self.kernel.inner is None:
            return "0", "0"
        extent = self.int(self.kernel.inner.extent)
        if self.kernel.block is None:
            return "0", extent
        first = code.op(f"mul i64 {outer[self.kernel.block]}, {size}")
        return first, self._least(code, code.op(f"add i64 {first}, {size}"), extent)

    def _least(self, code: Code, a: str, b: str) -> str:
        return code.call("llvm.smin.i64", "i64", ("i64", a), ("i64", b))

    # -- reductions ------------------------------------------------------------------------------------------------------

    def _start(self, code, stage, number, lanes, scan_lanes) -> list[tuple[int, Instr]]:
        """Sets totals and scans to the identity. Returns the stage's reductions with their numbers."""
        totals = []
        for at, instr in enumerate(stage.body, number):
            if instr.op == "reduce":
                totals.append((at, instr))
                self._clear(code, self._total(at, instr), instr, lanes)
            elif instr.op == "scan":
                cell = self.cell(("scan", at), vector(MEMORY[instr.dtype], scan_lanes))
                self._clear(code, cell, instr, scan_lanes)
        return totals

    def _total(self, at: int, instr: Instr) -> str:
        return self.cell(("total", at), vector(MEMORY[instr.dtype], self.width if self.column else LANES))

    def _clear(self, code: Code, cell: str, instr: Instr, lanes: int) -> None:
        start = self.ops.identity(instr.attr, instr.dtype, lanes)
        if lanes > 1:
            self.ops.store(code, instr.dtype, start, cell, lanes, None)
        else:
            self.ops.store_one(code, instr.dtype, start, cell)

    def _chunks(self, code, totals, first, last, size, lanes, body):
        """`body(code, start, stop)` for each chunk, whose sums then go into the totals."""

        def chunk(c: Code, start: str) -> None:
            cells = [self.cell(("chunk", at), vector(MEMORY[i.dtype], lanes)) for at, i in totals]
            for cell, (_, instr) in zip(cells, totals):
                self._clear(c, cell, instr, lanes)
            body(c, start, self._least(c, c.op(f"add i64 {start}, {size}"), last))
            for cell, (at, instr) in zip(cells, totals):
                kind = "add" if instr.attr == "dot" else instr.attr
                old, more = (self.ops.load(c, instr.dtype, x, lanes, None) for x in (self._total(at, instr), cell))
                new = self.ops.fold(c, kind, instr.dtype, old, [more], lanes)
                self.ops.store(c, instr.dtype, new, self._total(at, instr), lanes, None)

        code.loop(first, last, size, chunk)

    def _tree(self, code: Code, at: int, instr: Instr) -> str:
        """Lane l takes op(l, l + h) for h = 16, 8, 4, 2, 1."""
        kind = "add" if instr.attr == "dot" else instr.attr
        element, half = REGISTER[instr.dtype], LANES // 2
        value = self.ops.load(code, instr.dtype, self._total(at, instr), LANES, None)
        while half:
            full = vector(element, 2 * half)
            if half > 1:
                low, high = (
                    code.op(f"shufflevector {full} {value}, {full} poison, <{half} x i32> "
                            f"<{', '.join(f'i32 {k}' for k in range(start, start + half))}>")
                    for start in (0, half)
                )  # fmt: skip
            else:
                low, high = (code.op(f"extractelement {full} {value}, i64 {k}") for k in (0, 1))
            value = self.ops.fold(code, kind, instr.dtype, low, [high], half)
            half //= 2
        return value


def _is_map(stage: Stage) -> bool:
    return stage.loop and not any(i.op in ("reduce", "scan") for i in stage.body)


def lanes_of(kernel: Kernel, host: Host, tier: str) -> int:
    """Lanes of a vector: registers of the widest dtype that the body computes in, several where the body is short."""
    body = [i for s in kernel.stages for i in s.body]
    dtypes = [i.dtype for i in body]
    widest, cost = 1, 0
    for instr in body:
        if instr.op in ("const", "param"):
            continue
        cost += _cost(instr, dtypes)
        for dtype in (instr.dtype, *_expanded(instr, dtypes)):
            widest = max(widest, BY_SHORT[dtype].itemsize)
    factor = next((f for f, most in zip((4, 2), WIDE[tier]) if cost <= most), 1)
    return max(2, min(LANES, host.vector_bytes // widest * factor))


def _expansion(instr: Instr, dtypes: list[str]) -> Expansion | None:
    from_memory = ("load", "store", "gather", "index", "const", "param", "wrap", "keep", "kept", "reduce", "scan")
    if instr.op in from_memory:
        return None
    return expansion(instr.op, tuple(dtypes[a] for a in instr.args), instr.dtype)


def _expanded(instr: Instr, dtypes: list[str]) -> tuple[str, ...]:
    found = _expansion(instr, dtypes)
    return found.dtypes if found else ()


def _cost(instr: Instr, dtypes: list[str]) -> int:
    found = _expansion(instr, dtypes)
    if found:
        return sum(1 for p in found.code if p.op != "const")
    if instr.op == "load":
        return 1 if instr.attr.strides and instr.attr.strides[-1] in (0, 1) else FAR
    return FAR if instr.op == "gather" else 1
