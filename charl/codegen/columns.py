"""Kernels in column order: lanes are neighbours along the last outer axis, the loop runs down.

    groups        of neighbouring units: up to GROUP blocks of columns, to read long parts of a row
      stage       one after the other, for all columns of the group
        chunk     STEPS steps down, after which a chunk's sums go into the totals
          pass    PASS steps down
            strip one vector of columns, with its sums in registers
        chunks    CHAINS at once, where all columns are one vector: a sum waits for the one before

Between passes, the sums, and between stages, the values that later stages use, lie in memory: one a
column of the group.
"""

from __future__ import annotations

from dataclasses import replace

from charl.codegen.frame import Operand, Region
from charl.codegen.host import Host
from charl.codegen.loops import Loops
from charl.codegen.memory import LINE
from charl.codegen.text import MEMORY, Code
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import COLUMNS, LANES, STEPS, Instr, Kernel

GROUP = 16  # blocks of columns at most
# Steps down that are taken together; divides STEPS. More streams defeat the prefetcher (32: a third
# of the bandwidth); fewer cost more loads and stores of sums.
PASS = 8
AHEAD = 2 * PASS  # rows asked for: the sum down 10,240 x 1,024 float32 takes 1.0 ms in place of 1.5
GROUP_BYTES = 32768  # for the values of all columns
CHAINS = 4
SHORT = 24  # primitives of a body that is written out for so many chunks


class Columns(Loops):
    """Writes one Kernel of order "column"."""

    most_lanes = LANES
    lane_axis = -2

    def __init__(self, kernel: Kernel, host: Host, tier: str):
        self.lane_axis = len(kernel.outer) - 1
        super().__init__(kernel, host, tier)
        self.width, self.split = self.choose(sum(self.costs), max(self.sizes))
        self.crossing = self._crossing()
        each = sum(BY_SHORT[self.dtypes[n]].itemsize for n in self.crossing)
        self.blocks = max(1, min(GROUP, GROUP_BYTES // (COLUMNS * max(1, each))))
        if kernel.slots:
            self.blocks = 1  # a slot has room for one

    def _crossing(self) -> set[int]:
        """Numbers of the reductions, the scans, and the row values that a later stage uses."""
        made: dict[int, int] = {}
        crossing, number = set(), 0
        for at, stage in enumerate(self.kernel.stages):
            for instr in stage.body:
                crossing |= {a for a in instr.args if a in made and made[a] != at}
                if instr.op in ("reduce", "scan"):
                    crossing.add(number)
                if instr.op == "reduce" or not (stage.loop or instr.op in ("const", "param")):
                    made[number] = at
                number += 1
        return crossing

    def _array(self, name: str, number: int) -> str:
        """One value a column of the group."""
        return self.cell(
            (name, "of columns", number),
            f"[{self.blocks * COLUMNS} x {MEMORY[self.dtypes[number]]}]",
        )

    # -- groups of units ---------------------------------------------------------------------------

    def units(self, code: Code) -> None:
        extents = [self.int(axis.extent) for axis in self.kernel.outer]
        columns = extents[-1]
        extents[-1] = code.op(f"sdiv i64 {code.op(f'add i64 {columns}, {COLUMNS - 1}')}, {COLUMNS}")

        def run(c: Code) -> None:
            cells = self.indices(c, extents)
            now = self.cell("unit", "i64")
            c.do(f"store i64 %begin, ptr {now}")

            def group(c: Code) -> str:
                unit = c.op(f"load i64, ptr {now}")
                at = [c.op(f"load i64, ptr {cell}") for cell in cells]
                left = self.least(
                    c, c.op(f"sub i64 %end, {unit}"), c.op(f"sub i64 {extents[-1]}, {at[-1]}")
                )
                blocks = self.least(c, left, str(self.blocks))
                start = c.op(f"mul i64 {at[-1]}, {COLUMNS}")
                stop = c.op(f"add i64 {start}, {c.op(f'mul i64 {blocks}, {COLUMNS}')}")
                self._group(c, at[:-1], start, self.least(c, stop, columns))
                self.count(c, cells, at, extents, blocks)
                following = c.op(f"add i64 {unit}, {blocks}")
                c.do(f"store i64 {following}, ptr {now}")
                return c.op(f"icmp slt i64 {following}, %end")

            c.repeat(group)

        code.when(code.op("icmp slt i64 %begin, %end"), run)

    def _group(self, code: Code, outer: list[str], start: str, stop: str) -> None:
        """All stages for the columns from start to stop."""
        first, last = self.range(code, [*outer, start])
        for number, stage in enumerate(self.kernel.stages):
            if stage.loop:
                self._looping(code, number, outer, start, stop, first, last)
            else:
                self.vectors(
                    code,
                    start,
                    stop,
                    self.width,
                    self.split,
                    lambda c, column, mask: self._once(c, number, outer, start, column, mask),
                )

    def _once(self, code, stage, outer, start, column, mask):
        at = self._region(code, code, stage, [*outer, column], mask, start)
        self.stage(at)
        for n in range(self.starts[stage], self.starts[stage + 1]):
            if n in self.crossing:
                value = self.spread(at, self.values[n])
                self.ops.store(
                    code,
                    self.dtypes[n],
                    value,
                    self._place(code, at, "column", n),
                    self.width,
                    None,
                )

    # -- a stage that loops ------------------------------------------------------------------------

    def _looping(self, code, stage, outer, start, stop, first, last):
        sums, scans, lasts = (self.folds(stage, op) for op in ("reduce", "scan", "last"))

        def strips(c: Code, body) -> None:
            """`body(code, at, ...)` for each vector of columns; lanes past the last column are
            computed too.
            """
            c.loop(
                start,
                stop,
                self.width,
                lambda c, column: body(c, self._region(c, c, stage, [*outer, column], None, start)),
            )

        def clear(c: Code, at: Region, name: str, folds) -> None:
            for n, instr in folds:
                self.clear(c, self._place(c, at, name, n), instr, self.width)

        def merge(c: Code, at: Region) -> None:
            for n, instr in sums:
                total, chunk = (self._place(c, at, name, n) for name in ("column", "chunk"))
                self.merge(c, instr, total, chunk, self.width)

        def totals(c: Code, at: Region) -> None:
            for n, instr in lasts:
                source, target = (self._place(c, at, "column", k) for k in (instr.args[0], n))
                self._copy(c, instr, source, target)

        def down(c: Code, p: str, end: str) -> None:
            """A pass of a few steps over all columns."""
            after = self.least(c, c.op(f"add i64 {p}, {PASS}"), end)
            self.vectors(
                c,
                start,
                stop,
                self.width,
                self.split,
                lambda s, column, mask: self._strip(
                    s, stage, [*outer, column], start, mask, p, after
                ),
            )

        def chunk(c: Code, p: str) -> None:
            end = self.least(c, c.op(f"add i64 {p}, {STEPS}"), last)
            strips(c, lambda c, at: clear(c, at, "chunk", sums))
            c.loop(p, end, PASS, lambda c, p: down(c, p, end))
            strips(c, merge)

        if sums or scans:
            strips(code, lambda c, at: clear(c, at, "column", [*sums, *scans]))
        if sums:
            if not scans:
                first = self._narrow(code, stage, outer, start, stop, first, last)
            code.loop(first, last, STEPS, chunk)
        else:
            code.loop(first, last, PASS, lambda c, p: down(c, p, last))
        if lasts:
            strips(code, totals)

    def _narrow(self, code, stage, outer, start, stop, first, last) -> str:
        """CHAINS chunks at a time, side by side, where one vector has all columns; then their sums go
        into the totals in order. Returns where the rest begins.
        """
        if self.tier != "full" or self.costs[stage] > SHORT:
            return first
        most = min(self.most_lanes, self.host.vector_bytes // self.sizes[stage])
        done, columns = self.cell("narrow", "i64"), code.op(f"sub i64 {stop}, {start}")
        code.do(f"store i64 {first}, ptr {done}")
        whole = code.op(f"sdiv i64 {code.op(f'sub i64 {last}, {first}')}, {CHAINS * STEPS}")
        end = code.op(f"add i64 {first}, {code.op(f'mul i64 {whole}, {CHAINS * STEPS}')}")

        def chunks(c: Code, p: str, at: Region) -> None:
            sums = self.folds(stage, "reduce")
            names = [f"chunk {k} of {at.width}" for k in range(CHAINS)]
            for name in names:
                for n, instr in sums:
                    self.clear(c, self.vector_cell(name, n, instr, at.width), instr, at.width)

            def step(c: Code, q: str) -> None:
                ahead = c.op(f"mul i64 {c.op(f'sub i64 {q}, {p}')}, {CHAINS}")
                ahead = c.op(f"add i64 {ahead}, {c.op(f'add i64 {p}, {CHAINS * STEPS}')}")
                for k, name in enumerate(names):
                    inner = c.op(f"add i64 {q}, {k * STEPS}")
                    self.stage(replace(at, code=c, inner=inner, splats={}, chunk=name))
                    self._fetch(replace(at, code=c, inner=c.op(f"add i64 {ahead}, {k}")), 1)

            c.loop(p, c.op(f"add i64 {p}, {STEPS}"), 1, step)
            for n, instr in sums:
                total = self._place(c, at, "column", n)
                for name in names:
                    chunk = self.vector_cell(name, n, instr, at.width)
                    self.merge(c, instr, total, chunk, at.width)

        def walk(c: Code, width: int) -> None:
            mask = self._mask(c, c.op(f"trunc i64 {columns} to i32"), width)

            def run(before: Code, rest: Code) -> None:
                at = replace(
                    self._region(rest, before, stage, [*outer, start], mask, start), width=width
                )
                rest.loop(first, end, CHAINS * STEPS, lambda c, p: chunks(c, p, at))

            self.hoisted(c, run)
            c.do(f"store i64 {end}, ptr {done}")

        least = "0"
        for width in (most // 2, most):
            if width > 1:
                fits = code.op(f"icmp sle i64 {columns}, {width}")
                fits = code.op(f"and i1 {fits}, {code.op(f'icmp sgt i64 {columns}, {least}')}")
                code.when(fits, lambda c, width=width: walk(c, width))
                least = str(width)
        return code.op(f"load i64, ptr {done}")

    def _fetch(self, at: Region, cache: int) -> None:
        """Asks for what the body will load at an index, into cache 1 or 2: rows of a matrix are no
        stream that the processor sees.
        """
        body = self.kernel.stages[at.stage].body
        for access in dict.fromkeys(i.attr for i in body if i.op == "load" and not i.args):
            trip, lane = self.strides(at, access.strides)
            if trip == 0 or lane not in (0, 1):
                continue
            dtype = self.kernel.args[access.arg].dtype
            place = self._at(at, at.code, dtype, self.base(at, access), trip)
            hints = (("i32", "0"), ("i32", str(4 - cache)), ("i32", "1"))
            size = at.width * BY_SHORT[dtype].itemsize if lane else 1
            for byte in range(0, size, LINE):
                line = at.code.op(f"getelementptr i8, ptr {place}, i64 {byte}")
                at.code.call("llvm.prefetch.p0", "void", ("ptr", line), *hints)

    def _strip(self, code, stage, outer, start, mask, first, last):
        """A pass over one vector of columns."""
        folds = [("chunk", n, i) for n, i in self.folds(stage, "reduce")]
        folds += [("column", n, i) for n, i in self.folds(stage, "scan")]

        def walk(before: Code, rest: Code) -> None:
            at = self._region(rest, before, stage, outer, mask, start)
            for name, n, instr in folds:
                self._copy(rest, instr, self._place(rest, at, name, n), self._cell(n, instr))

            def step(c: Code, p: str) -> None:
                self.stage(replace(at, code=c, inner=p, splats={}))
                if self.tier == "full":
                    self._fetch(replace(at, code=c, inner=c.op(f"add i64 {p}, {AHEAD}")), 2)

            rest.loop(first, last, 1, step)
            for name, n, instr in folds:
                self._copy(rest, instr, self._cell(n, instr), self._place(rest, at, name, n))

        self.hoisted(code, walk)

    def _cell(self, number: int, instr: Instr) -> str:
        """What the body folds into."""
        return self.vector_cell(
            "chunk" if instr.op == "reduce" else "scan", number, instr, self.width
        )

    def _copy(self, code: Code, instr: Instr, source: str, target: str) -> None:
        value = self.ops.load(code, instr.dtype, source, self.width, None)
        self.ops.store(code, instr.dtype, value, target, self.width, None)

    # -- values of columns -------------------------------------------------------------------------

    def _region(self, code, before, stage, outer, mask, start) -> Region:
        return Region(code, before, self.width, mask, outer, first_column=start, stage=stage)

    def _place(self, code: Code, at: Region, name: str, number: int) -> str:
        """Where the value of the strip's columns is kept."""
        array = self._array(name, number)
        return self.shift(code, self.dtypes[number], array, self.column_of(code, at))

    def value(self, at: Region, number: int) -> Operand:
        """A value of an earlier stage comes from memory."""
        if number not in self.crossing or number >= self.starts[at.stage]:
            return super().value(at, number)
        key = ("crossing", number)
        if key not in at.fixed:
            place = self._place(at.before, at, "column", number)
            dtype = self.dtypes[number]
            at.fixed[key] = self.ops.load(at.before, dtype, place, at.width, None)
        return Operand(at.fixed[key], self.dtypes[number], True, True)
