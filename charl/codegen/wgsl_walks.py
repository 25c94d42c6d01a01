"""How the stages of a Kernel are walked: by element, by row, by column."""

from __future__ import annotations

from charl.codegen.wgsl_frame import Staged
from charl.codegen.wgsl_values import Features
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import COLUMN_BLOCK, STEPS, Int, Kernel, Stage

COPIES = ((4, 8), (16, 4))  # of a reduction's body, by its instructions, that go at once


def entry(workgroup: int, lane: str = "lane", subgroups: bool = False) -> list[str]:
    """The head of main: `group` is the workgroup's number, `lane` the invocation's within it; with
    subgroups `size`, their number `subgroups`, and the invocation's number `within` its own.
    """
    more = "@builtin(num_subgroups) subgroups: u32, @builtin(subgroup_size) size: u32,"
    also = [f"        {more}", "        @builtin(subgroup_invocation_id) within: u32,"]
    return [
        f"@compute @workgroup_size({workgroup})",
        "fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) many: vec3<u32>,",
        *(also if subgroups else []),
        "        @builtin(local_invocation_id) lid: vec3<u32>) {",
        "  let group = wid.y * many.x + wid.x;",
        "  if (group >= params[0]) { return; }",
        f"  let {lane} = lid.x;",
    ]


class Walk(Staged):
    """What the three have in common."""

    lanes = 1  # that share a loop over j
    unit = "group"  # the number of what has its part of scratch

    def __init__(self, kernel: Kernel, features: Features, workgroup: int):
        super().__init__(kernel, features)
        self.workgroup = workgroup
        self.shared: dict[str, str] = {}  # WGSL type -> its cells in workgroup memory, one a lane

    def extents(self) -> tuple[Int, ...]:
        return tuple(axis.extent for axis in self.kernel.outer)

    def split(self, flat: str, extents: tuple[Int, ...], names: list[str]) -> None:
        """Lines that take a flat C-order index apart."""
        for k in range(len(extents) - 1, 0, -1):
            self.put(f"let {names[k]} = {flat} % {self.int(extents[k])};")
            self.put(f"let rest{k} = {flat} / {self.int(extents[k])};")
            flat = f"rest{k}"
        if extents:
            self.put(f"let {names[0]} = {flat};")

    def bounds(self, size: int) -> None:
        """start and stop of j."""
        if self.kernel.inner is None:
            return
        n = self.int(self.kernel.inner.extent)
        if self.kernel.block is None:
            self.put("let start = 0u;")
            self.put(f"let stop = {n};")
        else:
            self.put(f"let start = {self.outer[self.kernel.block]} * {size}u;")
            self.put(f"let stop = min(start + {size}u, {n});")

    def numbered(self, stage: int):
        return enumerate(self.kernel.stages[stage].body, self.starts[stage])

    def stages(self) -> None:
        for number, stage in enumerate(self.kernel.stages):
            self.stage = number
            if number and self.changed and self.lanes > 1:
                self.put("storageBarrier();")
            if stage.loop:
                self.loop(stage)
            else:
                self.once(stage)

    def once(self, stage: Stage) -> None:
        self.inner = None
        for number, instr in self.numbered(self.stage):
            self.instruction(number, instr)

    def loop(self, stage: Stage) -> None:
        """The loop over j, with folds of STEPS steps a lane at a time."""
        lanes = self.lanes
        own = dict(self.known)
        folds = [(n, i) for n, i in self.numbered(self.stage) if i.op == "reduce"]
        reduces = [(n, i) for n, i in folds if i.attr != "last"]
        for n, i in reduces:
            self.put(f"var t{n}: {self.values.register(i.dtype)} = {self._identity(i)};")
        for n, i in self.numbered(self.stage):
            if i.op == "scan":
                identity = self.values.identity(i.attr, i.dtype)
                self.put(f"var t{n}: {self.values.register(i.dtype)} = {identity};")
        self.inner, lane = "j", "" if lanes == 1 else " + lane"
        if reduces:
            self.open(f"for (var first = start; first < stop; first += {lanes * STEPS}u)")
            self.put(f"let last = min(first + {lanes * STEPS}u, stop);")
            for n, i in reduces:
                self.put(f"var c{n}: {self.values.register(i.dtype)} = {self._identity(i)};")
            self.put(f"var j = first{lane};")
            copies = next((n for most, n in COPIES if len(stage.body) <= most), 1)
            if copies > 1:
                self._written_out(stage, copies)
            self.open(f"for (; j < last; j += {lanes}u)")
            self.straight(stage, "c")
            self.close()
            for n, i in reduces:
                kind = "add" if i.attr == "dot" else i.attr
                self.put(f"t{n} = {self.values.fold(kind, i.dtype, f't{n}', [f'c{n}'])};")
            self.close()
        else:
            self.open(f"for (var j = start{lane}; j < stop; j += {lanes}u)")
            self.straight(stage, "")
            self.close()
        self.known = own
        self.inner = None
        for n, i in reduces:
            self.known[n] = self.total(n, i)
        for n, i in folds:
            if i.attr == "last":
                self.known[n] = f"t{i.args[0]}"

    def _written_out(self, stage: Stage, copies: int) -> None:
        """The loop over j while so many steps are left, all of whose loads may be under way at once."""
        known, lanes = dict(self.known), self.lanes
        self.open(f"while (j + {(copies - 1) * lanes}u < last)")
        for copy in range(copies):
            self.known = dict(known)
            self.inner = f"j{copy}"
            self.put("{")
            self.indent += 1
            self.put(f"let {self.inner} = j + {copy * lanes}u;")
            self.straight(stage, "c")
            self.close()
        self.put(f"j += {copies * lanes}u;")
        self.close()
        self.known, self.inner = known, "j"

    # -- cells in workgroup memory, one a lane -----------------------------------------------------

    def cells(self, dtype: str) -> str:
        """The array for values of a dtype; bools are words there, since drivers differ in theirs."""
        kind = self.values.register(dtype)
        kind = "u32" if kind == "bool" else kind
        name = "cells_pair" if self.values.pair(dtype) else f"cells_{kind}"
        return self.shared.setdefault(kind, name)

    def from_cell(self, dtype: str, at: str) -> str:
        text = f"{self.cells(dtype)}[{at}]"
        return f"({text} != 0u)" if self.values.register(dtype) == "bool" else text

    def into_cell(self, dtype: str, at: str, x: str) -> str:
        """The line that stores x."""
        if self.values.register(dtype) == "bool":
            x = f"select(0u, 1u, {x})"
        return f"{self.cells(dtype)}[{at}] = {x};"

    def _identity(self, instr) -> str:
        return self.values.identity(instr.attr, instr.dtype)

    def total(self, number: int, instr) -> str:
        """The text of a reduction's result, after its loop."""
        return f"t{number}"

    def straight(self, stage: Stage, cell: str) -> None:
        """The body of a looping stage at one j; reductions fold into `cell`."""
        for number, instr in self.numbered(self.stage):
            args = [self.known[a] for a in instr.args]
            if instr.attr == "last":
                continue
            if instr.op == "reduce":
                name = f"{cell}{number}"
                line = f"{name} = {self.values.fold(instr.attr, instr.dtype, name, args)};"
                self.put(f"if ({self.active}) {{ {line} }}" if self.active else line)
            elif instr.op == "scan":
                self.scan(number, instr, args[0])
            elif instr.op == "keep":
                if instr.attr in self.stored_slots:
                    line = self.keep(instr, args[0])
                    self.put(f"if ({self.active}) {{ {line} }}" if self.active else line)
            elif instr.op == "kept":
                if instr.attr in self.stored_slots:
                    self.let(number, self.kept(instr))
                else:
                    self.known[number] = self.recompute(number)
            else:
                self.instruction(number, instr)

    def scan(self, number: int, instr, x: str) -> None:
        """In order, where one invocation walks all of j."""
        name = f"t{number}"
        self.put(f"{name} = {self.values.fold(instr.attr, instr.dtype, name, [x])};")
        self.let(number, name)

    # -- slots in scratch --------------------------------------------------------------------------

    def slot_at(self, slot: int) -> str:
        """The first word of this invocation's element j; the words of a workgroup lie together."""
        if not self.scratch:
            each = 1 if self.lanes > 1 or self.unit != "group" else self.workgroup
            for s in self.stored_slots:
                words = self.slot_words(s)
                total = sum(w for _, w in self.scratch)
                self.slots[s] = f"{total}u * {self.int(self.kernel.inner.extent)}"
                self.scratch.append((self.kernel.inner.extent, words * each))
        total = sum(w for _, w in self.scratch)
        n = self.int(self.kernel.inner.extent)
        words = self.slot_words(slot)
        index = f"({self.inner} - start)"
        if self.lanes == 1 and self.unit == "group":
            index = f"({index} * {self.workgroup}u + lane)"
        return f"{total}u * {n} * {self.unit} + {self.slots[slot]} + {words}u * {index}"

    def slot_words(self, slot: int) -> int:
        return 2 if BY_SHORT[self.kernel.slots[slot]].itemsize == 8 else 1

    def keep(self, instr, x: str) -> str:
        values, dtype, at = self.values, instr.dtype, self.slot_at(instr.attr)
        if self.slot_words(instr.attr) == 2:
            pair = x
            if not values.pair(dtype):
                bits = x if dtype == "u64" else f"bitcast<u64>({x})"
                pair = f"pair_native({bits})"
            return f"let at{instr.attr} = {at}; let w{instr.attr} = {pair}; " + "".join(
                self.store_scratch(f"at{instr.attr} + {k}u", f"w{instr.attr}.{c}") + " "
                for k, c in enumerate("xy")
            )
        register = values.register(dtype)
        word = {"bool": f"select(0u, 1u, {x})", "u32": x}.get(register, f"bitcast<u32>({x})")
        return self.store_scratch(at, word)

    def kept(self, instr, to: str = "") -> str:
        values, dtype, at = self.values, instr.dtype, self.slot_at(instr.attr)
        if self.slot_words(instr.attr) == 2:
            self.put(f"let from{to}{instr.attr} = {at};")
            low, high = (self.load_scratch(f"from{to}{instr.attr} + {k}u") for k in range(2))
            if values.pair(dtype):
                return f"vec2<u32>({low}, {high})"
            bits = f"(u64({low}) | (u64({high}) << 32u))"
            return bits if dtype == "u64" else f"bitcast<{dtype}>{bits}"
        register = values.register(dtype)
        word = self.load_scratch(at)
        return {"bool": f"({word} != 0u)", "u32": word}.get(
            register, f"bitcast<{register}>({word})"
        )


class Columns(Walk):
    """Some lanes for each outer index: neighbours in the last axis are neighbours in memory, and in
    a workgroup of C columns invocation C * lane + c is a lane of column c.
    """

    def __init__(self, kernel: Kernel, features: Features, lanes: int, workgroup: int):
        super().__init__(kernel, features, workgroup)
        if any(i.op == "scan" for i in self.body) or self.stored_slots:
            lanes = 1
        self.lanes, self.workgroup = lanes, max(lanes, workgroup)
        self.columns = self.workgroup // lanes

    def text(self) -> str:
        self.outer = [f"i{k}" for k in range(len(self.kernel.outer))]
        total = " * ".join(self.int(e) for e in self.extents())
        if self.lanes == 1:
            self.put(f"let column = group * {self.workgroup}u + lane;")
            self.put(f"if (column >= {total}) {{ return; }}")
        else:
            self.put(f"let own = group * {self.columns}u + at % {self.columns}u;")
            self.put(f"let lane = at / {self.columns}u;")
            self.put(f"let on = own < {total};")
            self.put(f"let column = min(own, {total} - 1u);")
        self.split("column", self.extents(), self.outer)
        self.bounds(COLUMN_BLOCK)
        if self.lanes > 1 and self.kernel.inner is not None:
            self.lines[-1] = self.lines[-1].replace("let stop", "let end")
            self.put("let stop = select(0u, end, on);")
        self.stages()
        cells = [
            f"var<workgroup> {name}: array<{kind}, {self.workgroup}>;"
            for kind, name in self.shared.items()
        ]
        head = entry(self.workgroup, "lane" if self.lanes == 1 else "at")
        return self.module([*cells, *head, *self.lines, "}"])

    def launch(self):
        grid = ((self.extents(), self.columns),)
        return tuple(self.names()), self.workgroup, self.columns, grid, tuple(self.scratch)

    def once(self, stage: Stage) -> None:
        self.active = "lane == 0u && on" if self.lanes > 1 else None
        super().once(stage)
        self.active = None

    def total(self, number: int, instr) -> str:
        """The lanes' totals, folded by a tree: lane l takes l + h for h = lanes / 2, ..., 2, 1."""
        if self.lanes == 1:
            return f"t{number}"
        dtype, kind = instr.dtype, "add" if instr.attr == "dot" else instr.attr
        own, other = self.from_cell(dtype, "at"), self.from_cell(dtype, f"at + h * {self.columns}u")
        both = self.values.fold(kind, dtype, own, [other])
        self.put(self.into_cell(dtype, "at", f"t{number}"))
        self.put("workgroupBarrier();")
        self.open(f"for (var h = {self.lanes // 2}u; h > 0u; h >>= 1u)")
        self.put(f"if (lane < h) {{ {self.into_cell(dtype, 'at', both)} }}")
        self.put("workgroupBarrier();")
        self.close()
        self.put(f"t{number} = {self.from_cell(dtype, f'at % {self.columns}u')};")
        self.put("workgroupBarrier();")
        return f"t{number}"
