"""What surrounds the instructions of a Kernel in LLVM text: the entry block, indices, addresses.

The entry block loads what a launch holds, each thing once and when it is first asked for.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from charl.codegen.host import Host
from charl.codegen.memory import Memory
from charl.codegen.text import Code, Module
from charl.core.dtypes import BY_SHORT
from charl.core.named import NamedTuple
from charl.schedule.kernel import COLUMNS, Access, Int, Kernel, P

# Offsets in charl_launch_t; tests/codegen compares them with csrc/charl.h.
LAUNCH = {"buffers": 0, "params": 8, "scratch": 16, "site": 32, "index": 40, "extent": 48}
EINDEX = 1
SLOT_ALIGN = 64


class Operand(NamedTuple):
    """A value of the kernel. Not `wide`: one scalar for all lanes. `fixed`: defined ahead of the
    loop at hand.
    """

    text: str
    dtype: str
    wide: bool
    fixed: bool


@dataclass
class Region:
    """Where one copy of a stage's body is written, and the indices there.

    `before` runs once ahead of the loop; copies of one loop's body share it and `fixed`, what it
    defines.
    """

    code: Code
    before: Code
    width: int
    mask: str | None
    outer: list[str]
    inner: str | None = None  # None in a stage that does not loop
    stage: int = 0
    first_column: str = "0"  # column order: where the group starts
    chunk: str = "chunk"  # the cells that a chunk's sums lie in
    streams: bool = False  # stores go past the caches
    square: tuple[str, str] | None = None  # codegen/squares.py: the row in it, and its first p
    fixed: dict = field(default_factory=dict)
    splats: dict = field(default_factory=dict)  # of scalars that the body makes


class Frame:
    """One kernel while it is written: its function's entry block, and where its buffers lie."""

    def __init__(self, kernel: Kernel, host: Host, quick: bool = False):
        self.kernel, self.host = kernel, host
        self.column = kernel.order == "column"
        self.ops = Memory(host, quick)
        self.module = Module()
        self.entry = Code(self.module, "entry")
        self.known: dict[object, str] = {}  # what entry defines
        self.values: dict[int, Operand] = {}
        self.cells: dict[object, str] = {}  # variables of the function
        self.dtypes = [i.dtype for s in kernel.stages for i in s.body]
        self.starts = [0, *itertools.accumulate(len(s.body) for s in kernel.stages)]
        self.width = 1
        self.across: tuple[Access, ...] = ()  # what squares are for

    # -- what entry defines ------------------------------------------------------------------------

    def launch(self, name: str) -> str:
        """The address of a field of the launch."""
        return f"getelementptr i8, ptr %launch, i64 {LAUNCH[name]}"

    def once(self, key: object, make) -> str:
        """What `make()` writes into entry, the first time."""
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    def int(self, value: Int) -> str:
        """An i64 operand."""
        if not isinstance(value, P):
            return str(value)

        return self.once(value, lambda: self.entry.op(f"load i64, ptr {self.param(value)}"))

    def param(self, value: P) -> str:
        """The address of a launch parameter."""
        params = self.once(
            "params",
            lambda: self.entry.op(f"load ptr, ptr {self.entry.op(self.launch('params'))}"),
        )
        return self.entry.op(f"getelementptr i64, ptr {params}, i64 {value.k}")

    def buffer(self, arg: int, kind: str = "ptr") -> str:
        """The pointer of an argument; its number, for a look at its low bits, where kind is i64."""

        def load() -> str:
            table = self.once(
                "buffers",
                lambda: self.entry.op(f"load ptr, ptr {self.entry.op(self.launch('buffers'))}"),
            )
            at = self.entry.op(f"getelementptr ptr, ptr {table}, i64 {arg}")
            return self.entry.op(f"load {kind}, ptr {at}")

        return self.once(("buffer", arg, kind), load)

    def scalar(self, value: P, dtype: str) -> str:
        """A launch parameter as a value of the dtype: its low bytes, which come first."""

        def load() -> str:
            return self.ops.load_one(self.entry, dtype, self.param(value))

        return self.once((value, dtype), load)

    def slot(self, number: int) -> str:
        """The first byte of a scratch slot; slots follow each other, each rounded up to SLOT_ALIGN
        bytes.
        """

        def place() -> str:
            code = self.entry
            if number == 0:
                return code.op(f"load ptr, ptr {code.op(self.launch('scratch'))}")
            last = self.slot(number - 1)
            each = BY_SHORT[self.kernel.slots[number - 1]].itemsize * (
                COLUMNS if self.column else 1
            )
            size = code.op(f"mul i64 {self.int(self.kernel.inner.extent)}, {each}")
            size = code.op(f"and i64 {code.op(f'add i64 {size}, {SLOT_ALIGN - 1}')}, {-SLOT_ALIGN}")
            return code.op(f"getelementptr i8, ptr {last}, i64 {size}")

        return self.once(("slot", number), place)

    def cell(self, key: object, kind: str) -> str:
        """A variable, made once for each key. Passes turn it into registers where they can."""
        if key not in self.cells:
            self.cells[key] = self.entry.op(f"alloca {kind}, align {SLOT_ALIGN}")
        return self.cells[key]

    # -- indices and addresses ---------------------------------------------------------------------

    def times(self, code: Code, value: str, factor: Int) -> str:
        if factor == 0 or value == "0":
            return "0"
        if factor == 1:
            return value
        return code.op(f"mul i64 {value}, {self.int(factor)}")

    def plus(self, code: Code, a: str, b: str) -> str:
        if a == "0" or b == "0":
            return b if a == "0" else a
        return code.op(f"add i64 {a}, {b}")

    def affine(self, code: Code, offset: Int, strides: tuple[Int, ...], axes: list[str]) -> str:
        total = self.int(offset)
        for stride, axis in zip(strides, axes):
            total = self.plus(code, total, self.times(code, axis, stride))
        return total

    def shift(self, code: Code, dtype: str, pointer: str, elements: str) -> str:
        return self.ops.shift(code, dtype, pointer, elements)

    def base(self, at: Region, access: Access) -> str:
        """The access's address at inner index 0, ahead of the loop."""
        key = ("base", access)
        if key not in at.fixed:
            dtype = self.kernel.args[access.arg].dtype
            strides = access.strides[: len(at.outer)]
            row = ("row", strides)
            if row not in at.fixed:
                at.fixed[row] = self.affine(at.before, 0, strides, at.outer)
            origin = self.once(
                ("origin", access.arg, access.offset),
                lambda: self.shift(
                    self.entry, dtype, self.buffer(access.arg), self.int(access.offset)
                ),
            )
            at.fixed[key] = self.shift(at.before, dtype, origin, at.fixed[row])
        return at.fixed[key]

    def strides(self, at: Region, strides: tuple[Int, ...]) -> tuple[Int, Int]:
        """Of an access: the stride from trip to trip of the loop, and from lane to lane."""
        outer = len(self.kernel.outer)
        trip = strides[outer] if at.inner is not None else 0
        if self.column:
            return trip, strides[outer - 1]
        return trip, trip

    def column_of(self, code: Code, at: Region) -> str:
        """Column order: the strip's first column, counted from that of the group."""
        return code.op(f"sub i64 {at.outer[-1]}, {at.first_column}")
