"""Kernels that scan along rows: a workgroup walks a row, or a block of one, and its invocations are the
lanes of j, four neighbours each. All lanes go round together, 4 * lanes elements at a time.

The prefixes of a lane's four are made in order, those of the lanes by a tree; both come after the total of
the rounds before. So the order depends on the row's extent alone.
"""

from __future__ import annotations

from charl.codegen.wgsl_quads import FOUR, Known
from charl.codegen.wgsl_rows import Folds
from charl.codegen.wgsl_values import Features
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import Instr, Kernel, Stage

UNROLLED = 4  # of the loop of products, whose rounds depend on each other


def one_by_one(instr: Instr) -> bool:
    """Products of floats: where those of later lanes alone overflow, 0 would become 0 * inf."""
    return instr.op == "scan" and instr.attr == "mul" and BY_SHORT[instr.dtype].kind == "f"


class Scans(Folds):
    """Writes a row Kernel with scans."""

    def __init__(self, kernel: Kernel, features: Features, lanes: int, quads):
        super().__init__(kernel, features, lanes, lanes, quads, 0)
        # Mesa 22.3 gets sinh of a row wrong where it lives on into the loop of a scan
        self.guarded |= {
            number
            for at, stage in enumerate(self.kernel.stages)
            for number, instr in self.numbered(at)
            if not stage.loop and instr.dtype in ("f32", "f64")
        }
        self.cells_of = 4 if any(map(one_by_one, self.body)) else 1  # a lane

    def loop(self, stage: Stage) -> None:
        """The loop over quads of j, in step where something is scanned."""
        scans = [(n, i) for n, i in self.numbered(self.stage) if i.op == "scan"]
        if not scans:
            super().loop(stage)
            return
        own = dict(self.known)
        folds = [(n, i) for n, i in self.numbered(self.stage) if i.op == "reduce"]
        reduces = [(n, i) for n, i in folds if i.attr != "last"]
        for n, i in scans + reduces:
            self.put(f"var t{n}: {self.values.register(i.dtype)} = {self._identity(i)};")
        self.cell = "t"
        self.open(f"for (var first = start; first < stop; first += {4 * self.lanes}u)")
        self.put("let own = first + 4u * lane;")
        self.put("let j = min(own, (stop - 1u) & 0xfffffffcu);")
        for k in range(1, 4):
            self.put(f"let j{k} = min(j + {k}u, stop - 1u);")
        masks = ["own < stop", *(f"own + {k}u < stop" for k in range(1, 4))]
        self.four(stage, masks, masks[3])
        self.close()
        self._ended(own, reduces)
        for n, i in folds:
            if i.attr == "last":
                self.known[n] = f"t{i.args[0]}"

    def instruction4(self, number: int, instr: Instr, known: Known, same: set, to: str) -> None:
        if instr.op != "scan":
            if instr.attr != "last":
                super().instruction4(number, instr, known, same, to)
            return
        dtype, identity = instr.dtype, self._identity(instr)
        texts = [f"select({identity}, {known[k][instr.args[0]]}, {self.masks[k]})" for k in FOUR]
        prefixes = self._products if one_by_one(instr) else self._tree
        for k, text in enumerate(prefixes(number, instr, texts)):
            known[k][number] = f"v{k}_{number}"
            self.put(f"let {known[k][number]} = {text};")
        last = self.from_cell(dtype, f"{self.cells_of * self.workgroup - 1}u")
        if not one_by_one(instr):
            last = self.values.fold(instr.attr, dtype, f"t{number}", [last])
        self.put(f"t{number} = {last};")
        self.put("workgroupBarrier();")

    def _tree(self, number: int, instr: Instr, texts: list[str]) -> list[str]:
        """Texts of the four's prefixes: all that the upper h of every 2h lanes have comes after the last
        of the lower h. So sums of what is not negative never fall.
        """
        dtype, names = instr.dtype, [f"s{k}_{number}" for k in FOUR]

        def both(a: str, b: str) -> str:
            return self.values.fold(instr.attr, dtype, a, [b])

        for k, text in enumerate(texts):
            self.put(f"var {names[k]} = {both(names[k - 1], text) if k else text};")
        self.put(self.into_cell(dtype, "lane", names[3]))
        self.put("workgroupBarrier();")
        self.open(f"for (var h = 1u; h < {self.lanes}u; h <<= 1u)")
        self.open("if ((lane & h) != 0u)")
        self.put(f"let lower = {self.from_cell(dtype, '(lane & ~(h - 1u)) - 1u')};")
        for name in names:
            self.put(f"{name} = {both('lower', name)};")
        self.put(self.into_cell(dtype, "lane", names[3]))
        self.close()
        self.put("workgroupBarrier();")
        self.close()
        return [both(f"t{number}", name) for name in names]

    def _products(self, number: int, instr: Instr, texts: list[str]) -> list[str]:
        """Texts of the four's prefixes, which one lane makes."""
        dtype, t = instr.dtype, f"t{number}"
        for k, text in enumerate(texts):
            self.put(self.into_cell(dtype, f"4u * lane + {k}u", text))
        self.put("workgroupBarrier();")
        self.open("if (lane == 0u)")
        self.open(f"for (var k = 0u; k < {4 * self.workgroup}u; k += {UNROLLED}u)")
        for u in range(UNROLLED):
            x = self.from_cell(dtype, f"k + {u}u")
            self.put(f"{t} = {self.values.fold(instr.attr, dtype, t, [x])};")
            self.put(self.into_cell(dtype, f"k + {u}u", t))
        self.close()
        self.close()
        self.put("workgroupBarrier();")
        return [self.from_cell(dtype, f"4u * lane + {k}u") for k in FOUR]
