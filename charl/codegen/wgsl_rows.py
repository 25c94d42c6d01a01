"""Kernels that fold along rows: `lanes` invocations share a row, a workgroup has as many rows as fit.

A lane takes every lanes-th quad of its row, in order, in chunks of STEPS elements. The lanes' totals
are folded by a tree of neighbours: lane l takes op(l, l + h) for h = 1, 2, 4, ... So the order depends
on the row's extent alone. Steps within a subgroup are made by shuffles where the subgroups are runs
of `width` lanes, which the shader sees when it runs; the others go through workgroup memory.

What a later stage needs again, a loaded row or a slot, its lane keeps in registers where it fits:
loops over the row are then written out.
"""

from __future__ import annotations

from enum import IntEnum

from charl.codegen.wgsl_quads import FOUR, Fours, Known
from charl.codegen.wgsl_values import Features
from charl.codegen.wgsl_walks import entry
from charl.core.dtypes import BY_SHORT
from charl.core.named import NamedTuple
from charl.schedule.kernel import ROW_BLOCK, STEPS, Access, Instr, Kernel, Stage

CHUNKED = 256  # lanes from which on a row may be longer than a chunk
SHUFFLED = ("f32", "i32", "u32")  # registers that subgroups exchange
MOST_QUADS = 8  # of a row that a lane keeps
LONG = 128  # instructions, times quads, of loops that are not written out


class Fit(IntEnum):
    """How rows fill quads: their extent is any, a multiple of four, or all that lanes keep."""

    ANY = 0
    FOURS = 1
    FULL = 2


class Kept(NamedTuple):
    """What is kept of a row, from its first stage to its last one."""

    what: Access | int  # loaded there, or a slot
    first: int  # the numbers of the instructions that make it, and that take it last
    last: int
    stage: int


def repeated(kernel: Kernel, changed: set[int]) -> list[Kept]:
    """Slots, and loads of one place in several stages, of at most 32 bits, in order."""
    spans: dict[Access | int, list[tuple[int, int]]] = {}
    number = 0
    for at, stage in enumerate(kernel.stages):
        for instr in stage.body:
            fits = stage.loop and BY_SHORT[instr.dtype].itemsize <= 4
            if fits and instr.op in ("keep", "kept"):
                spans.setdefault(instr.attr, []).append((number, at))
            elif fits and instr.op == "load" and not instr.args:
                if instr.attr.strides[-1] != 0 and instr.attr.arg not in changed:
                    spans.setdefault(instr.attr, []).append((number, at))
            number += 1
    found = [
        Kept(what, span[0][0], span[-1][0], span[0][1])
        for what, span in spans.items()
        if span[0][1] != span[-1][1]
    ]
    return sorted(found, key=lambda kept: kept.first)


class Folds(Fours):
    """Writes a row Kernel without scans."""

    unit = "row"
    on: str | None = None  # whether an invocation has a row, where some have none
    cell = "t"  # what the names of running totals begin with
    arrays = 0
    cells_of = 1  # cells that a lane has in workgroup memory
    quad = "q"  # which one of its quads a lane is at, where it keeps some

    def __init__(
        self,
        kernel: Kernel,
        features: Features,
        lanes: int,
        rows: int,
        quads,
        room: int,
        fit: Fit = Fit.ANY,
    ):
        super().__init__(kernel, features, lanes)
        self.lanes, self.quads = lanes, set(quads)
        self.cell_of: dict[Access | int, int] = {}  # what is kept -> its array
        self.rows, self.fit = max(1, rows // lanes) if kernel.outer else 1, fit
        self.each = max(1, room // (4 * lanes))  # quads of a lane
        if room and self.each <= MOST_QUADS:
            self._keep_rows()
        self.full = bool(self.arrays) and fit is Fit.FULL and room == 4 * lanes * self.each
        self.workgroup = lanes * self.rows

    def _keep_rows(self) -> None:
        """Gives what is kept its arrays, one after another."""
        busy: list[int] = []  # the instruction that takes an array's content last
        for item in repeated(self.kernel, self.changed):
            free = [k for k, last in enumerate(busy) if last < item.first]
            k = free[0] if free else len(busy)
            busy[k : k + 1] = [item.last]
            self.cell_of[item.what] = k
        self.arrays = len(busy)

    # -- text --------------------------------------------------------------------------------------

    def text(self) -> str:
        self.outer = [f"i{k}" for k in range(len(self.kernel.outer))]
        shuffles = self.features.subgroup and self.lanes > 1
        many = " * ".join(self.int(e) for e in self.extents())
        self.put(f"let lane = at % {self.lanes}u;")
        if self.rows == 1:
            self.put("let row = group;")
        else:
            self.put(f"let own = group * {self.rows}u + at / {self.lanes}u;")
            self.put(f"let on = own < {many};")
            self.put(f"let row = min(own, {many} - 1u);")
            self.on = "on"
        self.split("row", self.extents(), self.outer)
        self.bounds(ROW_BLOCK)
        if self.on:
            self.lines[-1] = self.lines[-1].replace("let stop", "let end")
            self.put("let stop = select(0u, end, on);")
        if shuffles:
            self.put(
                "let width = select(1u, min(size, "
                f"{self.lanes}u), subgroups * size == {self.workgroup}u);"
            )
        self.stages()
        cells = [
            f"var<workgroup> {name}: array<{kind}, {self.cells_of * self.workgroup}>;"
            for kind, name in self.shared.items()
        ]
        head = entry(self.workgroup, "at", shuffles)
        head += [f"  var row{k}: array<vec4<u32>, {self.each}>;" for k in range(self.arrays)]
        return self.module([*cells, *head, *self.lines, "}"])

    def launch(self):
        grid = ((self.extents(), self.rows),)
        scratch = tuple((extent, words * self.rows) for extent, words in self.scratch)
        return tuple(self.names()), self.workgroup, self.rows, grid, scratch

    def once(self, stage: Stage) -> None:
        self.active = f"lane == 0u && {self.on}" if self.on else "lane == 0u"
        super().once(stage)
        self.active = None

    def loop(self, stage: Stage) -> None:
        """The loop over quads of j, with folds of STEPS elements a lane at a time."""
        own, lanes, step = dict(self.known), self.lanes, 4 * self.lanes
        reduces = [(n, i) for n, i in self.numbered(self.stage) if i.op == "reduce"]
        for n, i in reduces:
            self.put(f"var t{n}: {self.values.register(i.dtype)} = {self._identity(i)};")
        if self.arrays:  # a row is at most one chunk
            self._kept_loop(stage, step)
            self._ended(own, reduces)
            return
        chunked = bool(reduces) and lanes >= CHUNKED
        self.cell = "c" if chunked else "t"
        first, last = ("first", "last") if chunked else ("start", "stop")
        if chunked:
            self.open(f"for (var first = start; first < stop; first += {lanes * STEPS}u)")
            self.put(f"let last = min(first + {lanes * STEPS}u, stop);")
            for n, i in reduces:
                self.put(f"var c{n}: {self.values.register(i.dtype)} = {self._identity(i)};")
        self.open(f"for (var j = {first} + 4u * lane; j < {last}; j += {step}u)")
        self._four(stage)
        self.close()
        if chunked:
            for n, i in reduces:
                kind = "add" if i.attr == "dot" else i.attr
                self.put(f"t{n} = {self.values.fold(kind, i.dtype, f't{n}', [f'c{n}'])};")
            self.close()
        self._ended(own, reduces)

    def _ended(self, own: dict[int, str], reduces: list[tuple[int, Instr]]) -> None:
        """After a loop: what was known before it, and the folded totals."""
        self.known, self.inner = own, None
        for n, i in reduces:
            self.tree(n, i)

    def _kept_loop(self, stage: Stage, step: int) -> None:
        """The loop over a lane's quads, of which it keeps something."""
        self.cell, known = "t", dict(self.known)
        out = len(stage.body) * self.each <= LONG
        if not out:
            self.open(f"for (var q = 0u; q < {self.each}u; q += 1u)")
        for q in range(self.each if out else 1):
            self.known = dict(known)
            self.quad = f"{q}u" if out else "q"
            self.put("{")
            self.indent += 1
            self.put(f"let j = 4u * lane + {step}u * {self.quad};")
            if not self.full:
                self.open("if (j < stop)")
            self._four(stage)
            if not self.full:
                self.close()
            self.close()
        if not out:
            self.close()

    def _four(self, stage: Stage) -> None:
        if self.fit is Fit.ANY:
            for k in range(1, 4):
                self.put(f"let j{k} = min(j + {k}u, stop - 1u);")
            masks = ["", *(f"j + {k}u < stop" for k in range(1, 4))]
            self.four(stage, masks, masks[3])
            return
        for k in range(1, 4):
            self.put(f"let j{k} = j + {k}u;")
        mask = (self.on or "") if self.full else ""
        self.four(stage, [mask] * 4, mask)

    # -- the four elements -------------------------------------------------------------------------

    def instruction4(self, number: int, instr: Instr, known: Known, same: set, to: str) -> None:
        if instr.op == "reduce":
            name = f"{self.cell}{number}"
            for k in FOUR:
                args = [known[k][a] for a in instr.args]
                line = f"{name} = {self.values.fold(instr.attr, instr.dtype, name, args)};"
                mask = "" if self.full else self.masks[k]
                self.put(f"if ({mask}) {{ {line} }}" if mask else line)
        elif instr.op == "keep":
            self._keep(instr, [texts[instr.args[0]] for texts in known])
        elif instr.op == "kept":
            self._kept(number, instr, known, same)
        elif instr.op == "load" and instr.attr in self.cell_of and to == "v":
            kept = self.body.index(instr) < number  # an earlier stage has loaded it
            if kept:
                self._from_cell(number, instr, known)
            else:
                super().instruction4(number, instr, known, same, to)
                self._into_cell(instr, [texts[number] for texts in known])
        else:
            super().instruction4(number, instr, known, same, to)

    def _cell(self, what: Access | int) -> str:
        """The quad of what is kept of this row."""
        return f"row{self.cell_of[what]}[{self.quad}]"

    def _into_cell(self, instr: Instr, values: list[str]) -> None:
        register = self.values.register(instr.dtype)
        form = {"bool": "select(0u, 1u, {})", "u32": "{}"}.get(register, "bitcast<u32>({})")
        words = ", ".join(form.format(x) for x in values)
        self.put(f"{self._cell(instr.attr)} = vec4<u32>({words});")

    def _from_cell(self, number: int, instr: Instr, known: Known) -> None:
        register = self.values.register(instr.dtype)
        form = {"bool": "({} != 0u)", "u32": "{}"}.get(register, f"bitcast<{register}>({{}})")
        self.put(f"let w{number} = {self._cell(instr.attr)};")
        for texts, part in zip(known, "xyzw"):
            texts[number] = form.format(f"w{number}.{part}")

    def _keep(self, instr: Instr, values: list[str]) -> None:
        if instr.attr in self.cell_of:
            self._into_cell(instr, values)
        elif instr.attr in self.stored_slots:
            for k, x in enumerate(values):
                self.inner = f"j{k}" if k else "j"
                line = self.keep(instr, x)
                self.put(f"if ({self.masks[k]}) {{ {line} }}" if self.masks[k] else f"{{ {line} }}")

    def _kept(self, number: int, instr: Instr, known: Known, same: set) -> None:
        if instr.attr in self.cell_of:
            self._from_cell(number, instr, known)
        elif instr.attr in self.stored_slots:
            for k in FOUR:
                self._at(k, known, f"j{k}" if k else "j")
                self.let(number, self.kept(instr, f"{k}_"), f"v{k}_")
        else:
            self._again(number, known, same)

    def _again(self, number: int, known: Known, same: set) -> None:
        """Lines for values of an earlier stage, at this stage's j."""
        if number in known[0]:
            return
        instr = self.body[number]
        if instr.op in ("keep", "kept"):
            source = instr.args[0] if instr.op == "keep" else self.kept_of[number]
            self._again(source, known, same)
            for texts in known:
                texts[number] = texts[source]
            return
        for a in instr.args:
            self._again(a, known, same)
        self.instruction4(number, instr, known, same, f"k{self.stage}_")

    # -- the tree ----------------------------------------------------------------------------------

    def tree(self, number: int, instr: Instr) -> None:
        """The lanes' totals, folded; all lanes of the row know the result."""
        kind = "add" if instr.attr == "dot" else instr.attr
        register, t = self.values.register(instr.dtype), f"t{number}"
        shuffled = self.features.subgroup and register in SHUFFLED and self.lanes > 1
        self.known[number] = t
        if self.lanes == 1:
            return
        if shuffled:
            both = self.values.fold(kind, instr.dtype, t, [f"subgroupShuffleXor({t}, h)"])
            self.put(f"for (var h = 1u; h < width; h <<= 1u) {{ {t} = {both}; }}")
            self.put(f"{t} = subgroupShuffle({t}, within & ~(width - 1u));")
            self.open(f"if (width < {self.lanes}u)")
        own, other = (self.from_cell(instr.dtype, k) for k in ("at", "at + h"))
        both = self.values.fold(kind, instr.dtype, own, [other])
        self.put(self.into_cell(instr.dtype, "at", t))
        self.put("workgroupBarrier();")
        self.open(f"for (var h = {'width' if shuffled else '1u'}; h < {self.lanes}u; h <<= 1u)")
        line = self.into_cell(instr.dtype, "at", both)
        self.put(f"if ((lane & (2u * h - 1u)) == 0u) {{ {line} }}")
        self.put("workgroupBarrier();")
        self.close()
        self.put(f"{t} = {self.from_cell(instr.dtype, 'at - lane')};")
        self.put("workgroupBarrier();")
        if shuffled:
            self.close()
