"""What walks of rows and of columns share: units, blocks, vectors with masks, sums in memory.

Sums of one chunk lie in a "chunk" cell, sums of chunks in a "total" cell.
"""

from __future__ import annotations

from collections import Counter

from charl.codegen.body import expansion_of
from charl.codegen.host import Host
from charl.codegen.lazy import Lazy
from charl.codegen.text import MEMORY, Code, iota, vector
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import COLUMN_BLOCK, ROW_BLOCK, Instr, Kernel

# Bodies of at most so many primitives are walked 4 (or 2) vectors at a time: more takes longer to
# compile than it gains. Two vectors of a long body hide each other's latency (a fifth faster).
WIDE = {"quick": (6, 12), "full": (16, 400)}
SPLIT = 40  # primitives of a body that is written out without masks, too
FAR = 4  # cost of a load of elements that are not consecutive


class Loops(Lazy):
    """Writes one Kernel. Rows and Columns say how an outer index is walked."""

    most_lanes = 0  # of a vector

    def __init__(self, kernel: Kernel, host: Host, tier: str):
        super().__init__(kernel, host, tier == "quick")
        self.tier = tier
        if tier == "quick":
            used = Counter(i.op for stage in kernel.stages for i in stage.body)
            self.ops.repeated = frozenset(op for op, times in used.items() if times > 1)
        self.costs, self.sizes = self._measure()
        # of one register, for what a row leaves of wider vectors: 22 float64 are 16 and 6 of 8
        self.lanes_left = [max(2, min(self.most_lanes, host.vector_bytes // n)) for n in self.sizes]
        self.native = all(host.native_mask(BY_SHORT[a.dtype].itemsize) for a in kernel.args)

    def choose(self, cost: int, size: int) -> tuple[int, bool]:
        """Lanes of a vector for a body of `cost` primitives on dtypes of `size` bytes, and whether
        whole vectors are walked apart from the tail: where masks are slow, or matter beside the
        rest.
        """
        factor = next((f for f, most in zip((4, 2), WIDE[self.tier]) if cost <= most), 1)
        width = max(2, min(self.most_lanes, self.host.vector_bytes // size * factor))
        split = not self.native or (self.tier == "full" and cost <= SPLIT)
        return width, split

    def text(self) -> str:
        """The module."""
        code = Code(self.module, "start")
        self.units(code)
        self.leave(code)
        code.do("ret i32 0")
        head = "define i32 @kernel(ptr %launch, i64 %begin, i64 %end)"
        head = f"{head} {self.ops.attributes} {{"
        lines = [head, "entry:", *self.entry.lines, "  br label %start", "start:", *code.lines, "}"]
        return self.module.text("\n".join(lines))

    def units(self, code: Code) -> None:
        raise NotImplementedError

    def leave(self, code: Code) -> None:
        """After the last unit."""

    def _measure(self) -> tuple[list[int], list[int]]:
        """By stage: primitives, and bytes of the widest dtype that is computed in."""
        costs, sizes, pure = [], [], [0] * len(self.dtypes)
        for first, stage in zip(self.starts, self.kernel.stages):
            cost, size = 0, 1
            for number, instr in enumerate(stage.body, first):
                if instr.op in ("const", "param"):
                    continue
                found = expansion_of(instr, self.dtypes)
                used = (self.dtypes[number], *(found.dtypes if found else ()))
                size = max(size, *(BY_SHORT[dtype].itemsize for dtype in used))
                if found is not None:
                    pure[number] = sum(p.op != "const" for p in found.code)
                cost += self._cost(instr) if found is None else pure[number]
            costs.append(cost)
            sizes.append(size)
        if self.tier == "full":
            self.put_off(pure)
        return costs, sizes

    def _cost(self, instr: Instr) -> int:
        if instr.op == "load":
            lane = instr.attr.strides[self.lane_axis] if instr.attr.strides else 0
            return 1 if lane in (0, 1) else FAR
        return FAR if instr.op == "gather" else 1

    # -- outer axes --------------------------------------------------------------------------------

    def indices(self, code: Code, extents: list[str]) -> list[str]:
        """Cells that hold the outer indices of unit %begin."""
        cells = [self.cell(("axis", k), "i64") for k in range(len(extents))]
        rest = "%begin"
        for cell, extent in reversed(list(zip(cells[1:], extents[1:]))):
            quotient = code.op(f"udiv i64 {rest}, {extent}")
            used = code.op(f"mul i64 {quotient}, {extent}")
            code.do(f"store i64 {code.op(f'sub i64 {rest}, {used}')}, ptr {cell}")
            rest = quotient
        code.do(f"store i64 {rest}, ptr {cells[0]}")
        return cells

    def count(
        self, code: Code, cells: list[str], at: list[str], extents: list[str], step: str
    ) -> None:
        """Moves the indices `step` units on, which does not reach beyond the last axis's end."""
        following = code.op(f"add i64 {at[-1]}, {step}")
        for k in range(len(cells) - 1, -1, -1):
            carry = code.op(f"icmp eq i64 {following}, {extents[k]}")
            code.do(
                f"store i64 {code.op(f'select i1 {carry}, i64 0, i64 {following}')}, ptr {cells[k]}"
            )
            if k:
                following = code.op(f"add i64 {at[k - 1]}, {code.op(f'zext i1 {carry} to i64')}")

    def range(self, code: Code, outer: list[str]) -> tuple[str, str]:
        """The first p of the inner axis and the end: all of it, or one block."""
        if self.kernel.inner is None:
            return "0", "0"
        extent = self.int(self.kernel.inner.extent)
        if self.kernel.block is None:
            return "0", extent
        size = COLUMN_BLOCK if self.column else ROW_BLOCK
        first = code.op(f"mul i64 {outer[self.kernel.block]}, {size}")
        return first, self.least(code, code.op(f"add i64 {first}, {size}"), extent)

    # -- loops -------------------------------------------------------------------------------------

    def least(self, code: Code, a: str, b: str) -> str:
        return code.call("llvm.smin.i64", "i64", ("i64", a), ("i64", b))

    def hoisted(self, code: Code, body) -> None:
        """`body(before, rest)`; what goes into `before`, at any time, runs ahead of `rest`."""
        before, rest = Code(self.module, code.label), Code(self.module, self.module.name("walk"))
        start = rest.label
        body(before, rest)
        code.lines += [*before.lines, f"  br label %{start}", f"{start}:", *rest.lines]
        code.label = rest.label

    def vectors(
        self,
        code: Code,
        first: str,
        last: str,
        width: int,
        split: bool,
        body,
        streamed=None,
        tail=None,
        steady: bool = False,
    ) -> None:
        """`body(code, index, mask)` for index first, first + width, ... below last. streamed: a
        condition, and where it holds `streamed(code)` gives another, the body for whole vectors
        where that holds too, and how many elements come before the first of them, at most `width`,
        or None; tail: fewer lanes and their body, for what is left of whole vectors. Both need
        `split`. steady: first and last are those of all rows.
        """

        def left(c: Code, index: str, width: int = width, last: str = last) -> str:
            """The mask of what is left from index on."""
            count = self.least(c, c.op(f"sub i64 {last}, {index}"), str(width))
            return self._mask(c, c.op(f"trunc i64 {count} to i32"), width)

        def whole(c: Code, first: str) -> str:
            """Where the last whole vector from `first` on ends."""
            length = c.op(f"sub i64 {last}, {first}")
            return self.plus(c, first, c.op(f"and i64 {length}, {-width}"))

        def ahead(name: str, make) -> str:
            """`make(code)`, once for all rows."""
            return self.once((name, first, last, width), lambda: make(self.entry))

        if not split:
            code.loop(first, last, width, lambda c, i: body(c, i, left(c, i)))
            return
        plain = self.tier == "full"
        begin, mask = first, None
        stop = ahead("stop", lambda c: whole(c, first)) if steady else whole(code, first)
        if steady and not tail:
            mask = ahead("left", lambda c: left(c, stop))
        if streamed:
            lanes = vector("i1", width)
            cells = [self.cell((name, len(self.cells)), "i64") for name in ("begin", "stop")]
            rest = self.cell(("left", len(self.cells)), lanes) if mask else ""
            for cell, value in zip(cells, (begin, stop)):
                code.do(f"store i64 {value}, ptr {cell}")
            if mask:
                code.do(f"store {lanes} {mask}, ptr {rest}")

            def past(c: Code) -> None:
                condition, other, head = streamed[1](c)
                start, end = first, stop
                if head is not None:
                    start = self.least(c, self.plus(c, first, head), last)
                    end = whole(c, start)
                    some = c.op(f"and i1 {condition}, {c.op(f'icmp slt i64 {first}, {start}')}")
                    c.when(some, lambda c: body(c, first, left(c, first, last=start)))
                c.when(condition, lambda c: c.loop(start, end, width, other, plain=plain))
                for cell, value in zip(cells, (first, stop)):
                    value = c.op(f"select i1 {condition}, i64 {end}, i64 {value}")
                    c.do(f"store i64 {value}, ptr {cell}")
                if mask:
                    c.do(f"store {lanes} {left(c, value)}, ptr {rest}")

            code.when(streamed[0], past, rare=True)
            begin, stop = (code.op(f"load i64, ptr {cell}") for cell in cells)
            if mask:
                mask = code.op(f"load {lanes}, ptr {rest}")
        code.loop(begin, stop, width, lambda c, i: body(c, i, None), plain=plain)
        if tail:
            few, less = tail
            code.loop(stop, last, few, lambda c, i: less(c, i, left(c, i, few)), plain=plain)
            return
        some = code.op(f"icmp slt i64 {stop}, {last}")
        code.when(some, lambda c: body(c, stop, mask or left(c, stop)))

    def _mask(self, code: Code, count: str, width: int) -> str:
        """The first `count` (i32) lanes."""
        full = vector("i32", width)
        one = code.op(f"insertelement {full} poison, i32 {count}, i64 0")
        every = code.op(
            f"shufflevector {full} {one}, {full} poison, <{width} x i32> zeroinitializer"
        )
        return code.op(f"icmp ult {full} {iota(width, 'i32')}, {every}")

    # -- reductions and scans ----------------------------------------------------------------------

    def folds(self, stage: int, op: str) -> list[tuple[int, Instr]]:
        """The stage's reductions, scans, or totals of scans ("last"), with their numbers."""
        body = enumerate(self.kernel.stages[stage].body, self.starts[stage])
        return [(n, i) for n, i in body if op == ("last" if i.attr == "last" else i.op)]

    def sum_kind(self, instr: Instr) -> str:
        """How totals are added: a dot product's like any sum."""
        return "add" if instr.attr == "dot" else str(instr.attr)

    def vector_cell(self, name: str, number: int, instr: Instr, lanes: int) -> str:
        return self.cell((name, number), vector(MEMORY[instr.dtype], lanes))

    def clear(self, code: Code, cell: str, instr: Instr, lanes: int) -> None:
        """Sets a cell to the identity."""
        start = self.ops.identity(instr.attr, instr.dtype, lanes)
        if lanes > 1:
            self.ops.store(code, instr.dtype, start, cell, lanes, None)
        else:
            self.ops.store_one(code, instr.dtype, start, cell)

    def merge(self, code: Code, instr: Instr, total: str, chunk: str, lanes: int) -> None:
        """total = op(total, chunk), both in memory."""
        old, more = (self.ops.load(code, instr.dtype, cell, lanes, None) for cell in (total, chunk))
        new = self.ops.fold(code, self.sum_kind(instr), instr.dtype, old, [more], lanes)
        self.ops.store(code, instr.dtype, new, total, lanes, None)
