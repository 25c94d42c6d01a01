"""The bytes of an interpreter program: header, records and opcodes, as csrc/interp.h has them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from charl.core.dtypes import BY_SHORT
from charl.core.named import NamedTuple
from charl.ops.loops import checked_hash

MAGIC, VERSION = 0x43524843, 1
ROW, COLUMN, CONTRACT, INTEGERS = range(4)  # the last: a contraction of integers
ZERO, ONE, MINUS = -1, -2, -3  # an Int that is not a parameter's number
NUMBER, TILE = -1, -2  # instead of an argument: a plain number, a contraction's tile of sums
ALIAS, RESET = 1, 2  # flags of a load: may be the buffer's memory; no `out` precedes it
SIDE = 256  # rows and columns of a contraction's block
OPERANDS = 4
DIGITS = 8  # of a walk, at most
OPCODES = (
    "loop", "load", "store", "out", "gather", "index", "fill", "param", "splat",
    "wrap", "keep", "kept", "into", "start", "fold", "done", "scan",
)  # fmt: skip
OPCODE = {name: code for code, name in enumerate(OPCODES)}
HEADER = struct.Struct("<Ii64s" + "i" * 34)
PLACE_BYTES = 40  # charl_place_t


class Encoded(NamedTuple):
    """A program, and what a launch of it needs: scratch_bytes come after the kernel's slots."""

    program: bytes
    scratch_bytes: int
    params: int
    buffers: int
    slots: int


class Record(NamedTuple):
    """One instruction; csrc/interp.h says what dst, operands, x and y mean."""

    op: str
    dst: int = -1
    args: tuple[int, ...] = ()
    x: int = 0
    y: int = 0

    def __str__(self) -> str:
        dst = f"v{self.dst} = " if self.dst >= 0 else ""
        return f"{dst}{self.op} {' '.join(f'v{a}' for a in self.args)} x={self.x} y={self.y}"


class Section(NamedTuple):
    """The parts of a stage's code, in the order in which they run."""

    loop: bool
    init: list[Record]
    pro: list[Record]
    splat: list[Record]
    body: list[Record]
    epi: list[Record]


class Program(NamedTuple):
    """All that goes into the bytes. Extents and strides are Ints as the program holds them."""

    order: int
    block: int = -1
    split: int = 0
    inner: int = ONE
    columns: int = ONE
    depth: int = ONE
    tiles: tuple[int, int] = (0, 0)
    sides: tuple[int, int, int] = (0, 0, 0)  # accesses: lhs, rhs, sums
    fixed_bytes: int = 0
    register_bytes: int = 0
    params: int = 0
    buffers: int = 0
    outer: Sequence[int] = ()
    # of lhs rows, lhs depth, rhs depth, rhs columns: (extent, stride) each
    digits: Sequence[Sequence[tuple[int, int]]] = ((), (), (), ())
    slots: Sequence[tuple[int, int]] = ()  # bytes of an element, a register
    consts: Sequence[int] = ()
    launch: list[Record] = []
    launch_splats: list[Record] = []
    sections: Sequence[Section] = ()
    accesses: Sequence[tuple[int, ...]] = ()
    registers: Sequence[tuple[int, int]] = ()  # by value: offset, nbytes

    def encode(self) -> Encoded:
        code, stages = self.launch + self.launch_splats, []
        for section in self.sections:
            ends = [len(code)]
            for part in section[1:]:
                code = code + part
                ends.append(len(code))
            stages.append((int(section.loop), *ends))
        values, nouter, naccess = len(self.registers), len(self.outer), len(self.accesses)
        tables = 8 * (values + len(self.slots) + nouter * (naccess + 2)) + PLACE_BYTES * naccess
        scratch = self.fixed_bytes + self.register_bytes + tables
        parts = [
            _pack("q", [self.consts]),
            _pack("i", (_instr(record) for record in code)),
            _pack("i", stages),
            _pack("i", self.accesses),
            _pack("i", self.registers),
            _pack("i", [self.outer]),
            _pack("i", self.slots),
            _pack("i", map(_digits, self.digits)),
        ]
        starts, end = [], HEADER.size
        for part in parts:
            starts.append(end)
            end += len(part)
        launch = len(self.launch), len(self.launch) + len(self.launch_splats)
        sizes = self.fixed_bytes, self.register_bytes, scratch
        counts = naccess, values, len(self.slots), len(stages), len(code), len(self.consts)
        header = HEADER.pack(
            *(MAGIC, VERSION, checked_hash().encode(), end),
            *(self.order, nouter, self.block, self.split, self.inner, self.columns, self.depth),
            *(*self.tiles, *self.sides, *counts, self.params, self.buffers),
            *(*launch, *sizes, *starts),
        )
        program = header + b"".join(parts)
        return Encoded(program, round_up(scratch, 64), self.params, self.buffers, len(self.slots))


def round_up(n: int, to: int) -> int:
    return -(-n // to) * to


def bits(value, dtype: str) -> int:
    """The bits of a constant of a dtype, as a signed 64-bit number."""
    d = BY_SHORT[dtype]
    if dtype == "bf16":
        number = struct.unpack("<I", struct.pack("<f", value))[0] >> 16
    elif d.kind == "f":
        packed = struct.pack({2: "<e", 4: "<f", 8: "<d"}[d.itemsize], value)
        number = int.from_bytes(packed, "little")
    else:
        number = int(value) & ((1 << 8 * d.itemsize) - 1)
    return number - (1 << 64) if number >> 63 else number


def _instr(r: Record) -> tuple[int, ...]:
    return OPCODE[r.op], r.dst, *r.args, *(-1,) * (OPERANDS - len(r.args)), r.x, r.y


def _digits(parts: list[tuple[int, int]]) -> list[int]:
    rows = [[part[k] for part in parts] + [ZERO] * (DIGITS - len(parts)) for k in (0, 1)]
    return [len(parts), *rows[0], *rows[1]]


def _pack(code: str, rows: Iterable[Sequence[int]]) -> bytes:
    """Rows of integers, little-endian, filled up to 8 bytes."""
    flat = [n for row in rows for n in row]
    packed = struct.pack(f"<{len(flat)}{code}", *flat)
    return packed.ljust(round_up(len(packed), 8), b"\0")
