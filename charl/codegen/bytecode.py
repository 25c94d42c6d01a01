"""Bytecode for the interpreter: encode(kernel) writes what csrc/interp.h defines and csrc/interp.c runs.

What is worked out here, so that a launch need not: at which level a value is made, which register it lies in, and
which stores the producing instruction can do by itself. Levels of a value:

  LAUNCH  constants, scalars, and what is computed from these alone: once a launch
  UNIT    row values, and values of a looping stage that do not vary along its inner axis: once a unit
  INNER   once a block of the inner axis: up to UNIT elements in row order, steps x columns in column order

An instruction that makes an INNER value takes row values as splats: registers that repeat the value over a block.
A load of contiguous memory that the kernel does not write costs nothing: the value is that memory. A register is
free again after the last use of its value; element loops may write over an operand of the same size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from charl.core.dtypes import BY_SHORT
from charl.core.errors import InternalError
from charl.ops.cgen import index, table_hash
from charl.schedule.kernel import (
    COLUMNS, KC, LANES, REDUCTIONS, TILE_I, TILE_J, UNIT, Access, Contract, Instr, Int, Kernel, P, Stage, Value,
)  # fmt: skip

MAGIC, VERSION = 0x43524843, 1
SIDE = 256  # rows and columns of a contraction's block: csrc/interp.h
ORDERS = {"row": 0, "column": 1}
CONTRACT = 2
NUMBER, TILE = -1, -2  # instead of an argument: a plain number, the tile of sums
OPCODES = (
    "loop", "load", "store", "out", "gather", "index", "fill", "param", "splat", "wrap", "keep", "kept", "into",
    "start", "fold", "done", "scan",
)  # fmt: skip
OPCODE = {name: code for code, name in enumerate(OPCODES)}
ALIAS, RESET = 1, 2
OPERANDS = 4
HEADER = struct.Struct("<Ii64s" + "i" * 34)
PLACE_BYTES = 40
STAGGER = 64  # bytes between registers, so that equal offsets in two of them fall into different cache sets
LAUNCH, UNIT_LEVEL, INNER = range(3)
ONE = -2


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


Place = tuple[str, int, int]  # "fixed" or "pool", offset, nbytes


class Registers:
    """Memory of registers: what lasts for the launch, and a pool that a stage's values take turns in."""

    def __init__(self) -> None:
        self.fixed = self.pool = 0
        self.free: list[tuple[int, int]] = []  # (nbytes, offset)

    def lasting(self, nbytes: int) -> Place:
        at = self.fixed
        self.fixed += _round(nbytes, 64)
        return "fixed", at, nbytes

    def take(self, nbytes: int) -> Place:
        fits = sorted(hole for hole in self.free if hole[0] >= nbytes)
        if fits:
            self.free.remove(fits[0])
            return "pool", fits[0][1], fits[0][0]
        at = self.pool
        self.pool += _round(nbytes, 64) + STAGGER
        return "pool", at, nbytes

    def give(self, place: Place) -> None:
        if place[0] == "pool":
            self.free.append((place[2], place[1]))


class Encoder:
    """Builds one program. A value is numbered as in the kernel; splats and fold states come after those."""

    def __init__(self, kernel: Value):
        self.kernel = kernel
        self.contract = isinstance(kernel, Contract)
        self.row = not self.contract and kernel.order == "row"
        self.column = not self.contract and kernel.order == "column"
        self.stages = (Stage(True, kernel.epilogue),) if self.contract else kernel.stages
        self.instrs = [i for stage in self.stages for i in stage.body]
        self.level: list[int] = []
        self.ready: list[int] = []  # the first stage in which a value may be used
        self.places: list[Place | None] = [None] * len(self.instrs)
        self.registers = Registers()
        self.accesses: dict[tuple, int] = {}
        self.consts: dict[int, int] = {}
        self.launch: list[Record] = []
        self.launch_splats: list[Record] = []
        self.sections: list[Section] = []
        self.splats: dict[int, int] = {}  # value -> its splat, for the launch
        self.nparams = 0

    # -- pieces -------------------------------------------------------------------------------

    def fail(self, what: str) -> InternalError:
        return InternalError(f"bytecode: {what}", self.kernel)

    def int(self, value: Int) -> int:
        """An Int as the program holds it: a parameter's number, or -1, -2, -3 for 0, 1, -1."""
        if isinstance(value, P):
            self.nparams = max(self.nparams, value.k + 1)
            return value.k
        return {0: -1, 1: -2, -1: -3}[value]

    def access(
        self, arg: int, size: int, offset: Int, strides: tuple[Int, ...], role: str = ""
    ) -> int:
        """The number of an access record: arg, size, offset, strides of row and column, outer strides."""
        if self.contract:
            outer, (sr, sc) = strides[:-2], strides[-2:]
        else:
            n = len(self.kernel.outer)
            along = strides[n] if len(strides) > n else 0
            outer, sr, sc = (
                (strides[:n], 0, along) if self.row else (strides[: n - 1], along, strides[n - 1])
            )
        record = (arg, size, *(self.int(n) for n in (offset, sr, sc, *outer)))
        return self.accesses.setdefault((role, record), len(self.accesses))

    def memory(self, access: Access) -> int:
        dtype = self.kernel.args[access.arg].dtype
        return self.access(access.arg, BY_SHORT[dtype].itemsize, access.offset, access.strides)

    def new(self, place) -> int:
        self.places.append(place)
        return len(self.places) - 1

    def size(self, value: int) -> int:
        return BY_SHORT[self.instrs[value].dtype].itemsize

    def row_bytes(self, value: int) -> int:
        return self.size(value) * (UNIT if self.column else 1)

    def along(self, access: Access) -> Int:
        """The stride of an access along the inner axis."""
        return access.strides[-1] if self.kernel.inner is not None else 0

    def writable(self, arg: int) -> bool:
        return self.kernel.args[arg].mode != "in"

    def fold(self, instr: Instr) -> int:
        return REDUCTIONS.index(instr.attr) * len(BY_SHORT) + BY_SHORT[instr.dtype].code

    # -- levels -------------------------------------------------------------------------------

    def find_level(self, instr: Instr, loop: bool) -> int:
        level = max((self.level[a] for a in instr.args), default=LAUNCH)
        if instr.op in ("const", "param"):
            return LAUNCH
        if instr.op == "reduce":
            return UNIT_LEVEL
        if instr.op not in _OWN:
            return level
        if not loop:
            return UNIT_LEVEL
        if self.contract or instr.op not in ("load", "gather", "index") or level == INNER:
            return INNER
        if instr.op == "index":
            return UNIT_LEVEL if instr.attr[1][-1] == 0 else INNER
        where = instr.attr[0] if instr.op == "gather" else instr.attr
        return INNER if self.along(where) != 0 or self.writable(where.arg) else UNIT_LEVEL

    def find_levels(self) -> None:
        for at, stage in enumerate(self.stages):
            for instr in stage.body:
                for a in instr.args:
                    if self.ready[a] > at:
                        raise self.fail(
                            f"v{len(self.level)} uses v{a}, which stage {at} has yet to reduce"
                        )
                self.level.append(self.find_level(instr, stage.loop))
                self.ready.append(at + 1 if instr.op == "reduce" else at)

    # -- stages -------------------------------------------------------------------------------

    def encode(self) -> Encoded:
        self.find_levels()
        number = 0
        for stage in self.stages:
            numbers = range(number, number + len(stage.body))
            number += len(stage.body)
            section = Section(stage.loop, [], [], [], [], [])
            self.sections.append(section)
            self.registers.free = [(self.registers.pool, 0)] if self.registers.pool else []
            if stage.loop:
                self.looping(section, numbers)
            else:
                for v in numbers:
                    self.once(v, section.body)
        return self.assemble()

    def once(self, v: int, code: list[Record]) -> None:
        """A value made once a launch or once a unit."""
        instr = self.instrs[v]
        if instr.op not in ("store", "keep"):
            self.places[v] = self.registers.lasting(self.row_bytes(v))
        code = self.launch if self.level[v] == LAUNCH else code
        code.append(self.record(v, instr.args, RESET))

    def record(self, v: int, args: tuple[int, ...], flags: int) -> Record:
        """The instruction that makes value v (or stores) from the values `args`."""
        instr = self.instrs[v]
        op, attr = instr.op, instr.attr
        if op == "load":
            alias = 0 if self.writable(attr.arg) else ALIAS
            return Record("load", v, args, self.memory(attr), alias | flags)
        if op == "acc":
            strides = (0,) * len(self.kernel.outer) + (0, 0)
            return Record(
                "load", v, (), self.access(TILE, self.size(v), 0, strides, "sums"), ALIAS | flags
            )
        if op == "store":
            return Record("store", -1, args, self.memory(attr))
        if op == "gather":
            return Record("gather", v, args, self.memory(attr[0]), self.int(attr[1]))
        if op == "index":
            return Record("index", v, (), self.access(NUMBER, 1, *attr))
        if op == "const":
            bits = _bits(attr, instr.dtype)
            return Record(
                "fill", v, (), self.consts.setdefault(bits, len(self.consts)), self.size(v)
            )
        if op == "param":
            return Record("param", v, (), self.int(attr), self.size(v))
        if op == "wrap":
            return Record("wrap", v, args, self.int(attr[0]), attr[1])
        if op in ("keep", "kept"):
            return Record(op, -1 if op == "keep" else v, args, attr)
        dtypes = tuple(self.instrs[a].dtype for a in instr.args)
        loop = index().get((op, dtypes, instr.dtype))
        if loop is None:
            raise self.fail(f"there is no loop {op}{dtypes} -> {instr.dtype}")
        return Record("loop", v, args, loop)

    def looping(self, section: Section, numbers: range) -> None:
        inner = [v for v in numbers if self.level[v] == INNER or self.instrs[v].op == "reduce"]
        for v in numbers:
            if v not in inner:
                self.once(v, section.pro)
        local: dict[
            int, int
        ] = {}  # splats of this stage's row values; taken first, since they outlast a block
        operands = {
            v: tuple(self.operand(a, section, local) for a in self.instrs[v].args) for v in inner
        }
        last = {a: v for v in inner for a in self.instrs[v].args}
        direct = self.direct_stores(numbers)
        live: dict[int, Place] = {}
        for v in inner:
            instr = self.instrs[v]
            if instr.op == "reduce":
                self.reduce(v, operands[v], section)
            elif instr.op in ("store", "keep"):
                section.body.append(self.record(v, operands[v], 0))
            else:
                self.inner_value(v, operands[v], direct.get(v), last, live, section)
            for a in (*instr.args, v):
                if last.get(a, v) == v and a in live:
                    self.registers.give(live.pop(a))

    def operand(self, a: int, section: Section, local: dict[int, int]) -> int:
        """The value itself, or the splat of a row value, made on first use."""
        if self.level[a] == INNER:
            return a
        splats = self.splats if self.level[a] == LAUNCH else local
        if a not in splats:
            nbytes = UNIT * self.size(a)
            if self.level[a] == LAUNCH:
                place, code = self.registers.lasting(nbytes + STAGGER), self.launch_splats
            else:
                place, code = self.registers.take(nbytes), section.splat
            splats[a] = self.new(place)
            code.append(Record("splat", splats[a], (a,), 0, self.size(a)))
        return splats[a]

    def reduce(self, v: int, args: tuple[int, ...], section: Section) -> None:
        fold = self.fold(self.instrs[v])
        lanes = LANES if self.row else 2 * UNIT
        state = self.new(self.registers.lasting(lanes * self.size(v)))
        self.places[v] = self.registers.lasting(self.row_bytes(v))
        section.init.append(Record("start", state, (), fold))
        section.body.append(Record("fold", state, args, fold))
        section.epi.append(Record("done", v, (state,), fold))

    def inner_value(self, v: int, args: tuple[int, ...], target: int | None, last: dict[int, int],
                    live: dict[int, Place], section: Section) -> None:  # fmt: skip
        """Code that makes one INNER value: in the memory that `target` would store it to, or in a register."""
        instr, code = self.instrs[v], section.body
        nowhere = instr.op == "kept" or self.always_alias(instr)  # it is memory already
        if target is not None:
            op, where = self.instrs[target].op, self.instrs[target].attr
            code.append(
                Record("into", v, (), where)
                if op == "keep"
                else Record("out", v, (), self.memory(where))
            )
            nowhere = nowhere or op == "keep" or (self.row and self.along(where) == 1)
        if not nowhere:
            dying = self.overwritable(v, args, last, live)
            live[v] = self.registers.take(UNIT * self.size(v)) if dying is None else live.pop(dying)
            self.places[v] = live[v]
        if instr.op == "scan":
            state = self.new(
                self.registers.lasting((LANES if self.row else UNIT) * self.size(v))
            )
            section.init.append(Record("start", state, (), self.fold(instr)))
            code.append(Record("scan", v, (*args, state), self.fold(instr)))
        else:
            code.append(self.record(v, args, RESET if target is None else 0))

    def always_alias(self, instr: Instr) -> bool:
        """Whether a load is the buffer's memory at every launch."""
        if instr.op != "load" or instr.args or not self.row:
            return False
        return self.along(instr.attr) == 1 and not self.writable(instr.attr.arg)

    def overwritable(
        self, v: int, args: tuple[int, ...], last: dict[int, int], live: dict[int, Place]
    ) -> int | None:
        """An operand that dies here and whose register an element loop may write over."""
        if self.instrs[v].op in _OWN or len(set(args)) < len(args):
            return None
        dying = (a for a in args if last.get(a) == v and a in live and self.size(a) == self.size(v))
        return next(dying, None)

    def direct_stores(self, numbers: range) -> dict[int, int]:
        """Value -> the store or keep whose memory it may be made in, because nothing in between can tell."""
        touched: dict[int, list[int]] = {}  # argument -> the instructions that read or write it
        for u in numbers:
            attr = self.instrs[u].attr
            where = attr[0] if self.instrs[u].op == "gather" else attr
            if isinstance(where, Access):
                touched.setdefault(where.arg, []).append(u)
        found: dict[int, int] = {}
        for u in numbers:
            instr = self.instrs[u]
            if instr.op not in ("store", "keep") or instr.args[0] in found:
                continue
            if instr.op == "store":
                column = instr.attr.strides[len(self.kernel.outer) - 1 if self.column else -1]
                others = [w for w in touched[instr.attr.arg] if w != u]
                stored = any(self.instrs[w].op == "store" or w > instr.args[0] for w in others)
                if stored or not (isinstance(column, P) or column == 1):
                    continue
            found[instr.args[0]] = u
        return found

    # -- bytes --------------------------------------------------------------------------------

    def assemble(self) -> Encoded:
        kernel = self.kernel
        lhs = rhs = sums = tile_i = tile_j = 0
        depth = ONE
        fixed_bytes = 0
        slots: tuple[str, ...] = ()
        if self.contract:
            order, block, split = CONTRACT, -1, 0
            size = BY_SHORT[kernel.dtype].itemsize
            *outer, i, _, k = kernel.lhs.strides
            lhs = self.access(kernel.lhs.arg, size, kernel.lhs.offset, (*outer, i, k), "lhs")
            *outer, _, j, k = kernel.rhs.strides
            rhs = self.access(kernel.rhs.arg, size, kernel.rhs.offset, (*outer, k, j), "rhs")
            sums = self.access(TILE, size, 0, (0,) * (len(kernel.outer) + 2), "sums")
            inner, columns, depth = (
                self.int(axis.extent) for axis in (kernel.i, kernel.j, kernel.k)
            )
            tile_i, tile_j = TILE_I, TILE_J
            fixed_bytes = (2 * KC * SIDE + SIDE * SIDE) * size
            walked = kernel.outer
        else:
            slots = kernel.slots
            order, block = ORDERS[kernel.order], -1 if kernel.block is None else kernel.block
            folds = any(i.op in ("reduce", "scan") for i in self.instrs)
            split = int(self.row and not kernel.outer and kernel.inner is not None and not folds)
            inner = ONE if kernel.inner is None else self.int(kernel.inner.extent)
            columns = ONE if self.row else self.int(kernel.outer[-1].extent)
            walked = kernel.outer if self.row else kernel.outer[:-1]
        if block >= len(walked):
            raise self.fail("the axis that counts blocks cannot be the one of the columns")
        extents = [self.int(axis.extent) for axis in walked]

        code = self.launch + self.launch_splats
        stages = []
        for s in self.sections:
            ends = [len(code)]
            for part in (s.init, s.pro, s.splat, s.body, s.epi):
                code = code + part
                ends.append(len(code))
            stages.append((int(s.loop), *ends))
        fixed = _round(self.registers.fixed, 64)
        register_bytes = _round(fixed + self.registers.pool, 64)
        values = []
        for place in self.places:
            kind, at, nbytes = place or ("fixed", 0, 0)
            values.append((at + (fixed if kind == "pool" else 0), nbytes))
        accesses = [record for _, record in self.accesses]
        scratch = (
            fixed_bytes
            + register_bytes
            + 8 * (len(values) + len(slots))
            + PLACE_BYTES * len(accesses)
        )
        scratch += 8 * len(walked) * (len(accesses) + 2)

        sections = [
            _pack("q", [list(self.consts)]),
            _pack("i", ((OPCODE[r.op], r.dst, *_operands(r.args), r.x, r.y) for r in code)),
            _pack("i", stages),
            _pack("i", accesses),
            _pack("i", values),
            _pack("i", [extents]),
            _pack("i", [[BY_SHORT[s].itemsize for s in slots]]),
        ]
        starts, at = [], _round(HEADER.size, 8)
        for section in sections:
            starts.append(at)
            at += len(section)
        header = HEADER.pack(
            MAGIC, VERSION, table_hash().encode(), at, order, len(walked), block, split, inner, columns, depth,
            tile_i, tile_j, lhs, rhs, sums, len(accesses), len(values), len(slots), len(stages), len(code),
            len(self.consts), self.nparams, len(kernel.args), len(self.launch), len(self.launch) + len(self.launch_splats),
            fixed_bytes, register_bytes, scratch, *starts, 0,
        )  # fmt: skip
        program = header.ljust(_round(HEADER.size, 8), b"\0") + b"".join(sections)
        return Encoded(program, _round(scratch, 64), self.nparams, len(kernel.args), len(slots))


# What the interpreter has code of its own for; all else is an element loop.
_OWN = {"load", "store", "gather", "index", "wrap", "keep", "kept", "scan", "reduce", "acc"}


def encode(kernel: Value) -> Encoded:
    """The program of a verified Kernel or Contract. Raises InternalError where an op has no element loop."""
    return Encoder(kernel).encode()


def _round(n: int, to: int) -> int:
    return -(-n // to) * to


def _operands(args: tuple[int, ...]) -> tuple[int, ...]:
    return args + (-1,) * (OPERANDS - len(args))


def _pack(code: str, rows: Iterable) -> bytes:
    """Rows of integers, little-endian, filled up to 8 bytes."""
    flat = [n for row in rows for n in row]
    packed = struct.pack(f"<{len(flat)}{code}", *flat)
    return packed.ljust(_round(len(packed), 8), b"\0")


def _bits(value, dtype: str) -> int:
    """The bits of a constant of a dtype, as a signed 64-bit number."""
    d = BY_SHORT[dtype]
    if dtype == "bf16":
        bits = struct.unpack("<I", struct.pack("<f", value))[0] >> 16
    elif d.kind == "f":
        bits = int.from_bytes(struct.pack({2: "<e", 4: "<f", 8: "<d"}[d.itemsize], value), "little")
    else:
        bits = int(value) & ((1 << 8 * d.itemsize) - 1)
    return bits - (1 << 64) if bits >> 63 else bits
