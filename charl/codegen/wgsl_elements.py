"""Element-wise Kernels: an invocation makes one element, or four neighbours.

Four, where a row begins at a multiple of four: what can be is then loaded and stored as vectors, and
packed elements as whole words. Elsewhere neighbouring invocations take neighbouring elements, which
memory serves nearly as well.

Where an input runs along another axis than the output (a transpose), a workgroup covers a square of
both, so that all of a cache line is used while it is there.
"""

from __future__ import annotations

from charl.codegen.wgsl_quads import Fours
from charl.codegen.wgsl_values import Features, Tiling
from charl.codegen.wgsl_walks import entry
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import Int, Kernel, Stage

SQUARE = 32  # elements of a workgroup's square along the inner axis
LONG = 64  # instructions of a body that is not made four times


class Elements(Fours):
    """Writes a Kernel without folds."""

    def __init__(self, kernel: Kernel, features: Features, workgroup: int, tiling: Tiling, quads):
        super().__init__(kernel, features, workgroup)
        self.looping = any(stage.loop for stage in kernel.stages)
        self.names_of = [f"i{k}" for k in range(len(kernel.outer))] + ["j"] * self.looping
        self.sizes = [*self.extents(), *([kernel.inner.extent] if self.looping else [])]
        stored = [i for i in self.body if i.op == "store" and i.attr.arg in quads]
        packed = any(BY_SHORT[i.dtype].itemsize < 4 for i in stored)
        if packed or (stored and tiling.vector > 1 and len(self.body) <= LONG):
            self.quads = set(quads)
        self.each = 4 if self.quads else 1
        self.across = self._across()

    @staticmethod
    def takes(kernel: Kernel) -> bool:
        """No folds and slots, and rows have nothing that is to happen once."""
        loops = sum(stage.loop for stage in kernel.stages)
        for stage in kernel.stages:
            for instr in stage.body:
                if instr.op in ("reduce", "scan", "keep", "kept"):
                    return False
                if loops and not stage.loop and instr.op in ("store", "wrap"):
                    return False
        return loops <= 1 and (kernel.block is None or not loops)

    def _strides(self, op: str) -> list[tuple[Int, ...]]:
        return [i.attr.strides for i in self.body if i.op == op]

    def _across(self) -> int | None:
        """The outer axis along which a load runs that does not run along j."""
        if not self.looping or any(s[-1] != 1 for s in self._strides("store")):
            return None
        for strides in self._strides("load"):
            if strides[-1] not in (0, 1) and 1 in strides[:-1]:
                return strides.index(1)
        return None

    def text(self) -> str:
        if self.across is None:
            self._line()
        else:
            self._square(self.across)
        self.outer = self.names_of[: len(self.kernel.outer)]
        self.stages()
        return self.module([*entry(self.workgroup), *self.lines, "}"])

    def _line(self) -> None:
        """Lines for the indices of an invocation: neighbours are neighbours in what is stored."""
        axes = list(range(len(self.sizes)))
        stores = self._strides("store")
        if stores and 1 in stores[0] and self.each == 1:
            axes.append(axes.pop(stores[0].index(1)))
        total = " * ".join(self.int(e) for e in self.sizes) or "1u"
        times = f" * {self.each}u" if self.each > 1 else ""
        self.put(f"let element = (group * {self.workgroup}u + lane){times};")
        self.put(f"if (element >= {total}) {{ return; }}")
        self.split("element", tuple(self.sizes[a] for a in axes), [self.names_of[a] for a in axes])

    def _square(self, across: int) -> None:
        """Lines for the indices of an invocation in a square of j and another axis."""
        wide, high = SQUARE // self.each, self._high()
        rest = [a for a in range(len(self.kernel.outer)) if a != across]
        row, n = self.int(self.sizes[across]), self.int(self.sizes[-1])
        self.put(f"let tiles_j = ({n} + {SQUARE - 1}u) / {SQUARE}u;")
        self.put(f"let tiles_i = ({row} + {high - 1}u) / {high}u;")
        self.put(f"let j = group % tiles_j * {SQUARE}u + lane % {wide}u * {self.each}u;")
        self.put(f"let i{across} = group / tiles_j % tiles_i * {high}u + lane / {wide}u;")
        self.put(f"if (i{across} >= {row} || j >= {n}) {{ return; }}")
        sizes = tuple(self.sizes[a] for a in rest)
        if rest:
            self.put("let batch = group / tiles_j / tiles_i;")
            self.split("batch", sizes, [f"i{a}" for a in rest])

    def _high(self) -> int:
        return self.workgroup * self.each // SQUARE

    def loop(self, stage: Stage) -> None:
        if self.each == 1:
            self.inner = "j"
            for number, instr in self.numbered(self.stage):
                self.instruction(number, instr)
            return
        n = self.int(self.sizes[-1])
        line = not self.kernel.outer  # it may end within four; rows of more axes are multiples
        for k in range(1, 4):
            self.put(f"let j{k} = min(j + {k}u, {n} - 1u);" if line else f"let j{k} = j + {k}u;")
        masks = ["", *(f"j + {k}u < {n}" for k in range(1, 4))] if line else [""] * 4
        self.four(stage, masks, masks[3])

    def launch(self):
        units = self.workgroup * self.each
        grid: tuple = ((tuple(self.sizes), units),)
        if self.across is not None:
            rest = tuple(e for a, e in enumerate(self.extents()) if a != self.across)
            row, n = self.sizes[self.across], self.sizes[-1]
            grid = ((rest, 1), ((row,), self._high()), ((n,), SQUARE))
        return tuple(self.names()), self.workgroup, units, grid
