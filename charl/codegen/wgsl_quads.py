"""Four neighbouring elements an invocation: element j, a multiple of four, and the three after it.

An access is a quad if its inner stride is 1 and all else that leads to it is a multiple of four: its
four elements are then one vector of the buffer, or one or two words of packed elements.
"""

from __future__ import annotations

from collections.abc import Sequence

from charl.codegen.wgsl_walks import Walk
from charl.schedule.kernel import Instr, Int, Kernel, P, Stage

FOUR = range(4)
_ONCE = ("store", "reduce", "scan", "keep", "kept")  # what is never the same for all four

Known = list[dict[int, str]]  # texts of the values of each of the four


def quads(kernel: Kernel, params: Sequence[int]) -> frozenset[int]:
    """The arguments of which all accesses are quads, for these launch parameters."""

    def multiple(value: Int) -> bool:
        return params[value.k] % 4 == 0 if isinstance(value, P) else value == 0

    found: set[int] = set()
    other: set[int] = set()
    indexed = any(i.op in ("wrap", "gather") for stage in kernel.stages for i in stage.body)
    for stage in kernel.stages:
        for instr in stage.body:
            if instr.op == "gather":
                other.add(instr.attr[0].arg)
            elif instr.op in ("load", "store"):
                access = instr.attr
                whole = stage.loop and access.strides[-1] == 1
                if instr.op == "load":  # what a vector has past the end is no index
                    whole = whole and not instr.args and not indexed
                whole = whole and all(multiple(x) for x in (access.offset, *access.strides[:-1]))
                (found if whole else other).add(access.arg)
    return frozenset(found - other)


class Fours(Walk):
    """What walks by elements and by rows have in common."""

    def four(self, stage: Stage, masks: list[str], whole: str) -> None:
        """The body of a looping stage at j to j3. masks[k]: the condition on which the k-th element
        exists, `whole` that of all; empty where they do.
        """
        self.masks, self.whole = masks, whole
        known = [dict(self.known) for _ in FOUR]
        same: set[int] = set()  # inner values that are equal for all four
        for number, instr in self.numbered(self.stage):
            self.instruction4(number, instr, known, same, "v")

    def instruction4(self, number: int, instr: Instr, known: Known, same: set, to: str) -> None:
        """Lines for one instruction at all four; `to` begins the names of its values."""
        op, access = instr.op, instr.attr
        if op in ("load", "store") and access.arg in self.quads:
            self.inner = "j"
            quad = f"({self.where(access)}) >> 2u"
            if op == "load":
                for texts, text in zip(known, self.load4(access.arg, quad, f"{to}{number}q")):
                    texts[number] = text
            else:
                self._store_quad(instr, quad, [texts[instr.args[0]] for texts in known])
        elif op not in _ONCE and self._same(instr, same):
            same.add(number)
            self._at(0, known, "j")
            self.instruction(number, instr, to)
            for texts in known:
                texts[number] = known[0][number]
        else:
            for k in FOUR:
                self._at(k, known, f"j{k}" if k else "j")
                self.active = self.masks[k] or None
                self.instruction(number, instr, f"{to}{k}_")
            self.active = None

    def _at(self, k: int, known: Known, inner: str) -> None:
        self.known, self.inner = known[k], inner

    def _same(self, instr: Instr, same: set[int]) -> bool:
        """Whether an instruction gives one value for all four."""
        access = instr.attr[0] if instr.op == "gather" else instr.attr
        if instr.op in ("load", "gather") and access.strides[-1] != 0:
            return False
        if instr.op == "index" and instr.attr[1][-1] != 0:
            return False
        return all(a in same or self.row_value(a) for a in instr.args)

    def _store_quad(self, instr: Instr, quad: str, values: list[str]) -> None:
        if not self.whole:
            self.store4(instr.attr.arg, quad, values)
            return
        if self.whole == self.masks[0]:  # all four are wanted, or none
            self.open(f"if ({self.whole})")
            self.store4(instr.attr.arg, quad, values)
            self.close()
            return
        self.open(f"if ({self.whole})")
        self.store4(instr.attr.arg, quad, values)
        self.indent -= 1
        self.open("} else")
        for k, value in enumerate(values):
            self.inner = f"j{k}" if k else "j"
            line = self.store(instr.attr.arg, self.where(instr.attr), value)
            self.put(f"if ({self.masks[k]}) {{ {line} }}" if self.masks[k] else line)
        self.close()
