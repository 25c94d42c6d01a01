"""Kernels in row order: vectors along the inner axis; outer indices are units.

A row's sum has LANES lanes whatever the width: where the width is less, the lanes' sums lie in
memory. The lanes are added up by a fixed tree. A kernel without outer axes and folds is cut into
units along the inner axis.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from charl.codegen.frame import Operand, Region
from charl.codegen.host import Host
from charl.codegen.memory import LINE
from charl.codegen.squares import FEW, Squares, across
from charl.codegen.text import REGISTER, Code, splat, vector
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import GROUP, LANES, STEPS, UNIT, Access, Instr, Kernel, Stage

# Bytes that a launch moves from which on its stores go past the caches (here 32 MiB): exp of 1e7
# float32 (80 MB) takes 1.1 ms so, and 2.0 otherwise; of 4e6 and less, what reads the result loses.
STREAM = 48 << 20
# Bytes of a row from which on one that begins within a line may be stored so: 1.1 ms in place of 1.4.
LONG = 8192
ACCESS = ("load", "store")
FINE = 4  # registers of a vector from which on what is left of it is walked by single ones


class Rows(Squares):
    """Writes one Kernel of order "row"."""

    most_lanes = LANES
    lane_axis = -1

    def __init__(self, kernel: Kernel, host: Host, tier: str):
        super().__init__(kernel, host, tier)
        if tier == "full":
            self.across = across(kernel)
        self.walks = list(map(self.choose, self.costs, self.sizes))
        for stage, (width, split) in enumerate(self.walks):
            if self.folds(stage, "scan"):  # one by one, but for groups
                least = GROUP if kernel.block is None else max(width, GROUP)
                self.walks[stage] = least, split
        self.streaming = {}
        if tier == "full" and host.triple.startswith("x86_64"):
            stages = enumerate(zip(kernel.stages, self.walks))
            found = {k: streamable(kernel, stage) for k, (stage, (_, split)) in stages if split}
            self.streaming = {k: stores for k, stores in found.items() if stores}

    def units(self, code: Code) -> None:
        kernel = self.kernel
        if (
            not kernel.outer
            and kernel.inner is not None
            and all(map(_folds_nothing, kernel.stages))
        ):
            self._flat(code)
            return
        some = code.op("icmp slt i64 %begin, %end")
        extents = [self.int(axis.extent) for axis in kernel.outer]
        if self.across:
            many = code.op(f"icmp sge i64 {extents[-1]}, {FEW}")
            many = code.op(f"and i1 {some}, {many}")
            code.when(many, lambda c: self.squares(c, extents))
            some = code.op(f"xor i1 {many}, {some}")
            code.when(some, lambda c: self._singly(c, some, extents))
        else:
            self._singly(code, some, extents)

    def _singly(self, code: Code, some: str, extents: list[str]) -> None:
        """Row by row. some: whether there is one."""
        if not extents:
            code.when(some, lambda c: self._row(c, []))
        elif len(extents) == 1:
            code.loop("%begin", "%end", 1, lambda c, i: self._row(c, [i]))
        else:

            def run(c: Code) -> None:
                cells = self.indices(c, extents)

                def unit(c: Code, _: str) -> None:
                    at = [c.op(f"load i64, ptr {cell}") for cell in cells]
                    self._row(c, at)
                    self.count(c, cells, at, extents, "1")

                c.loop("%begin", "%end", 1, unit)

            code.when(some, run)

    def _flat(self, code: Code) -> None:
        first, last = (code.op(f"mul i64 {unit}, {UNIT}") for unit in ("%begin", "%end"))
        last = self.least(code, last, self.int(self.kernel.inner.extent))

        def walk(c: Code, stage: int) -> None:
            self.hoisted(
                c,
                lambda b, r: self._walk(
                    Region(r, b, self.walks[stage][0], None, [], stage=stage), first, last
                ),
            )

        for number, stage in enumerate(self.kernel.stages):
            if stage.loop:
                code.when(code.op(f"icmp slt i64 {first}, {last}"), partial(walk, stage=number))
            else:
                self.stage(Region(code, code, 1, None, [], stage=number))

    def _row(self, code: Code, outer: list[str]) -> None:
        """All stages for one outer index."""
        self.part(code, outer, *self.range(code, outer))

    def part(self, code, outer, first, last, square=None) -> None:
        for number, stage in enumerate(self.kernel.stages):
            if stage.loop:
                self._looping(code, number, outer, first, last, square)
            else:
                self.stage(Region(code, code, 1, None, outer, stage=number))

    def _looping(self, code, stage, outer, first, last, square):
        sums = [
            (n, i, self.vector_cell("total", n, i, LANES)) for n, i in self.folds(stage, "reduce")
        ]
        for _, instr, total in sums:
            self.clear(code, total, instr, LANES)
        for n, instr in self.folds(stage, "scan"):
            self.clear(code, self.vector_cell("scan", n, instr, 1), instr, 1)

        def walk(before: Code, rest: Code) -> None:
            width, _ = self.walks[stage]
            at = Region(rest, before, width, None, outer, stage=stage, square=square)
            if sums:
                rest.loop(first, last, LANES * STEPS, lambda c, p: chunk(replace(at, code=c), p))
            else:
                self._walk(at, first, last)

        def chunk(at: Region, p: str) -> None:
            cells = [self.vector_cell("chunk", n, i, LANES) for n, i, _ in sums]
            for cell, (n, instr, _) in zip(cells, sums):
                self.clear(at.code, cell, instr, LANES)
                if self.nans_apart(instr):
                    nans = self.vector_cell("nan", n, instr, LANES)
                    zero = splat(instr.dtype, 0.0, LANES)
                    self.ops.store(at.code, instr.dtype, zero, nans, LANES, None)
            self._walk(
                at, p, self.least(at.code, at.code.op(f"add i64 {p}, {LANES * STEPS}"), last)
            )
            for cell, (n, instr, total) in zip(cells, sums):
                if self.nans_apart(instr):
                    self._with_nans(at.code, instr, cell, self.vector_cell("nan", n, instr, LANES))
                self.merge(at.code, instr, total, cell, LANES)

        code.when(code.op(f"icmp slt i64 {first}, {last}"), lambda c: self.hoisted(c, walk))
        for n, instr, total in sums:
            self.values[n] = Operand(self._tree(code, instr, total), instr.dtype, False, True)
        for n, instr in self.folds(stage, "last"):
            cell = self.vector_cell("scan", instr.args[0], instr, 1)
            total = self.ops.load_one(code, instr.dtype, cell)
            self.values[n] = Operand(total, instr.dtype, False, True)

    def _with_nans(self, code: Code, instr: Instr, cell: str, nans: str) -> None:
        """A chunk's NaNs in place of its extremes, where there are any."""
        full, dtype = vector(REGISTER[instr.dtype], LANES), instr.dtype
        extremes, last = (self.ops.load(code, dtype, c, LANES, None) for c in (cell, nans))
        isnan = code.op(f"fcmp uno {full} {last}, {last}")
        kept = f"{full} {last}, {full} {extremes}"
        value = code.op(f"select {vector('i1', LANES)} {isnan}, {kept}")
        self.ops.store(code, dtype, value, cell, LANES, None)

    def _walk(self, at: Region, first: str, last: str) -> None:
        """The stage's body along the inner axis."""
        stage = self.kernel.stages[at.stage]

        def body(c: Code, index: str, mask: str | None, streams: bool = False) -> None:
            self.stage(replace(at, code=c, inner=index, mask=mask, splats={}, streams=streams))

        tail, few, steady = None, self.lanes_left[at.stage], first == "0"
        width, split = self.walks[at.stage]
        if split and self.native and few < width and not at.square and _folds_nothing(stage):
            less = replace(at, width=few, fixed={})

            def rest(c: Code, index: str, mask: str) -> None:
                self.stage(replace(less, code=c, inner=index, mask=mask, splats={}))

            if few * FINE <= width:
                tail = few, rest
            lead = self._lead(stage, few) if steady else None
            if lead is not None:
                some = at.code.op(f"icmp ne i64 {lead}, 0")
                at.code.when(some, lambda c: self._first_lanes(c, lead, last, few, rest))
                start = lead
                first = self.once(("from", lead), lambda: self.least(self.entry, start, last))
        streamed = None
        if at.stage in self.streaming:

            def past(c: Code) -> tuple:
                stores = self.streaming[at.stage]
                condition, head = self.streams(replace(at, code=c, before=c), first, stores)
                return condition, lambda c, index: body(c, index, None, True), head

            streamed = self.large(), past
        self.vectors(at.code, first, last, width, split, body, streamed, tail, steady)

    def _first_lanes(self, code: Code, lead: str, last: str, width: int, body) -> None:
        """Elements 0 to `lead`, as the last lanes of a vector that begins before the row."""
        index = self.once(("first", lead), lambda: self.entry.op(f"sub i64 {lead}, {width}"))
        mask = self.once(("lanes", lead), lambda: self._first_mask(lead, index, last, width))
        body(code, index, mask)

    def _first_mask(self, lead: str, index: str, last: str, width: int) -> str:
        """The lanes of that vector that are elements, the same ones for all rows."""
        code = self.entry
        skipped = code.op(f"sub i64 {width}, {lead}")
        end = self.least(code, code.op(f"sub i64 {last}, {index}"), str(width))
        before = self._mask(code, code.op(f"trunc i64 {skipped} to i32"), width)
        mask = self._mask(code, code.op(f"trunc i64 {end} to i32"), width)
        lanes = vector("i1", width)
        return code.op(f"select {lanes} {before}, {lanes} zeroinitializer, {lanes} {mask}")

    def _lead(self, stage: Stage, width: int) -> str | None:
        """The elements of each row ahead of the first that is stored at a line; 0 where rows differ
        in that. Vectors that lie across two lines take twice as long.
        """
        stores = [i.attr for i in stage.body if i.op == "store" and i.attr.strides[-1] == 1]
        if not stores or not self.kernel.outer:
            return None
        size = BY_SHORT[self.kernel.args[stores[0].arg].dtype].itemsize
        if size * width != LINE:
            return None

        def make() -> str:
            code, access = self.entry, stores[0]
            start = code.op(f"mul i64 {self.int(access.offset)}, {size}")
            start = code.op(f"add i64 {self.buffer(access.arg, 'i64')}, {start}")
            lead = code.op(f"and i64 {code.op(f'sub i64 0, {start}')}, {LINE - 1}")
            lead = code.op(f"udiv i64 {lead}, {size}")
            for stride in access.strides[:-1]:
                rest = code.op(f"and i64 {self.int(stride)}, {LINE // size - 1}")
                same = code.op(f"icmp eq i64 {rest}, 0")
                lead = code.op(f"select i1 {same}, i64 {lead}, i64 0")
            return lead

        return self.once(("lead", stores[0]), make)

    # -- stores past the caches --------------------------------------------------------------------

    def leave(self, code: Code) -> None:
        if self.streaming:  # what is stored this way is ordered with nothing else
            fence = code.module.declare("llvm.x86.sse.sfence", "void")
            code.when(self.large(), lambda c: c.do(f"call void {fence}()"))

    def large(self) -> str:
        """i1: whether the launch moves more than caches hold."""

        def make() -> str:
            code, total = self.entry, "0"
            axes = (*self.kernel.outer, self.kernel.inner)
            body = (i for stage in self.kernel.stages for i in stage.body)
            for access in dict.fromkeys(i.attr for i in body if i.op in ACCESS):
                size = str(BY_SHORT[self.kernel.args[access.arg].dtype].itemsize)
                for axis, stride in zip(axes, access.strides):
                    if stride != 0:
                        size = code.op(f"mul i64 {size}, {self.int(axis.extent)}")
                total = self.plus(code, total, size)
            return code.op(f"icmp sge i64 {total}, {STREAM}")

        return self.once("large", make)

    def streams(self, at: Region, first: str, stores: tuple[Access, ...]) -> tuple[str, str | None]:
        """i1: whether a walk from `first` may store past the caches; and, where rows may begin
        anywhere if they are long, how many elements come before the first line, in all stores.
        """
        code, yes, head = at.code, self.large(), None
        for access in stores:
            size = BY_SHORT[self.kernel.args[access.arg].dtype].itemsize
            start = self.affine(at.before, access.offset, access.strides, at.outer)
            start = code.op(f"mul i64 {self.plus(code, start, first)}, {size}")
            start = code.op(f"add i64 {self.buffer(access.arg, 'i64')}, {start}")
            if not at.outer or at.square:
                rest = code.op(f"and i64 {start}, {LINE - 1}")
                yes = code.op(f"and i1 {yes}, {code.op(f'icmp eq i64 {rest}, 0')}")
                continue
            left = code.op(f"and i64 {code.op(f'sub i64 0, {start}')}, {LINE - 1}")
            left = code.op(f"udiv i64 {left}, {size}")
            most = self.walks[at.stage][0]
            same = f"icmp ule i64 {left}, {most}" if head is None else f"icmp eq i64 {left}, {head}"
            yes = code.op(f"and i1 {yes}, {code.op(same)}")
            long = f"icmp sge i64 {self.int(self.kernel.inner.extent)}, {LONG // size}"
            long = code.op(f"or i1 {code.op(f'icmp eq i64 {left}, 0')}, {code.op(long)}")
            yes = code.op(f"and i1 {yes}, {long}")
            head = head or left
        return yes, head

    def _tree(self, code: Code, instr: Instr, total: str) -> str:
        """Lane l takes op(l, l + h) for h = 16, 8, 4, 2, 1."""
        value = self.ops.load(code, instr.dtype, total, LANES, None)
        if not self.nans_apart(instr):
            return self._folded(code, instr, value)
        full = vector(REGISTER[instr.dtype], LANES)
        isnan = code.op(f"fcmp uno {full} {value}, {value}")
        some, none, done = (code.module.name(stem) for stem in ("some", "none", "done"))
        code.branch(self.ops.any(code, isnan, LANES), some, none)
        ways = []
        for label, numbers in ((some, False), (none, True)):
            code.begin(label)
            ways.append(f"[{self._folded(code, instr, value, numbers)}, %{code.label}]")
            code.do(f"br label %{done}")
        code.begin(done)
        return code.op(f"phi {REGISTER[instr.dtype]} {', '.join(ways)}")

    def _folded(self, code: Code, instr: Instr, value: str, numbers: bool = False) -> str:
        """The tree over a vector's lanes. numbers: there is no NaN among them."""
        dtype, half = instr.dtype, LANES // 2
        while half:
            full = vector(REGISTER[dtype], 2 * half)
            low, high = (_part(code, full, value, start, half) for start in (0, half))
            if numbers:
                value = self.better(code, instr, high, low, half)
            else:
                value = self.ops.fold(code, self.sum_kind(instr), dtype, low, [high], half)
            half //= 2
        return value


def _part(code: Code, full: str, value: str, start: int, count: int) -> str:
    """Lanes start, start + 1, ... of a vector."""
    if count == 1:
        return code.op(f"extractelement {full} {value}, i64 {start}")
    return code.shuffle(full, value, "poison", range(start, start + count))


def streamable(kernel: Kernel, stage: Stage) -> tuple[Access, ...]:
    """The stage's stores, if all could go past the caches: nothing that is folded or read again."""
    if not stage.loop:
        return ()
    stores = []
    for instr in stage.body:
        if instr.op == "store":
            stores.append(instr.attr)
        elif instr.op in ("reduce", "scan", "keep", "kept"):
            return ()
    fresh = all(kernel.args[a.arg].mode == "out" and a.strides[-1] == 1 for a in stores)
    return tuple(stores) if fresh else ()


def _folds_nothing(stage: Stage) -> bool:
    return not any(i.op in ("reduce", "scan") for i in stage.body)
