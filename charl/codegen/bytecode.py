"""Bytecode for the interpreter: encode(kernel) writes the program that csrc/interp.c runs.

What is worked out here, so that a launch need not: at which level a value is made, which register
it lies in, and which stores the producing instruction can do by itself. Levels of a value:

  LAUNCH  constants, scalars, and what is computed from these alone: made once a launch
  ONCE    row values, and those of a looping stage that its inner axis does not change: once a unit
  INNER   once a block of the inner axis: at most UNIT elements, in column order steps x columns

An instruction that makes an INNER value takes the others as splats: registers that repeat the value
over a block. A load of contiguous memory that the kernel does not write costs nothing: the value is
that memory. A register is free again after the last use of its value, and an element loop may write
over an operand of the same size.
"""

from __future__ import annotations

from charl.codegen.program import (
    ALIAS,
    COLUMN,
    CONTRACT,
    INTEGERS,
    NUMBER,
    ONE,
    RESET,
    ROW,
    SIDE,
    TILE,
    Encoded,
    Program,
    Record,
    Section,
    bits,
    round_up,
)
from charl.core.dtypes import BY_SHORT
from charl.core.errors import InternalError
from charl.ops.loops import loop_number
from charl.schedule.kernel import (
    KC,
    LANES,
    REDUCTIONS,
    TILE_I,
    TILE_J,
    UNIT,
    Access,
    Contract,
    Instr,
    Int,
    P,
    Stage,
    Value,
)

LAUNCH, ONCE, INNER = range(3)
STAGGER = 64  # bytes between registers: equal offsets in two of them are in different cache sets
# What the interpreter has code of its own for; all else is an element loop.
OWN = {"load", "store", "gather", "index", "wrap", "keep", "kept", "scan", "reduce", "acc"}

Place = tuple[str, int, int]  # "fixed" or "pool", offset, nbytes


class Registers:
    """Memory of registers: some last for the launch, others are a pool for a stage's values."""

    def __init__(self) -> None:
        self.fixed = self.pool = 0
        self.free: list[tuple[int, int]] = []  # (nbytes, offset)

    def lasting(self, nbytes: int) -> Place:
        at = self.fixed
        self.fixed += round_up(nbytes, 64)
        return "fixed", at, nbytes

    def take(self, nbytes: int) -> Place:
        fits = sorted(hole for hole in self.free if hole[0] >= nbytes)
        if fits:
            self.free.remove(fits[0])
            return "pool", fits[0][1], fits[0][0]
        at = self.pool
        self.pool += round_up(nbytes, 64) + STAGGER
        return "pool", at, nbytes

    def give(self, place: Place) -> None:
        if place[0] == "pool":
            self.free.append((place[2], place[1]))


class Encoder:
    """Builds one program. Values have the kernel's numbers; splats and fold states come after."""

    def __init__(self, kernel: Value):
        self.kernel = kernel
        self.contract = isinstance(kernel, Contract)
        self.row = not self.contract and kernel.order == "row"
        # whether a block is never more than one row; otherwise short rows go together
        self.alone = self.row and (not kernel.outer or kernel.block is not None)
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
        self.states: dict[int, int] = {}  # scan -> what holds its total
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
        """The number of the access (arg, size, offset, strides of row, column, *outer)."""
        if self.contract:
            outer, (sr, sc) = strides[:-2], strides[-2:]
        else:
            n = len(self.kernel.outer)
            along = strides[n] if len(strides) > n else 0
            outer, sr, sc = (
                (strides[:n], strides[n - 1] if n else 0, along)
                if self.row
                else (strides[: n - 1], along, strides[n - 1])
            )
        record = (arg, size, *(self.int(n) for n in (offset, sr, sc, *outer)))
        return self.accesses.setdefault((role, record), len(self.accesses))

    def memory(self, access: Access) -> int:
        dtype = self.kernel.args[access.arg].dtype
        return self.access(access.arg, BY_SHORT[dtype].itemsize, access.offset, access.strides)

    def sums(self, size: int) -> int:
        """The access that stands for a contraction's tile of sums."""
        return self.access(TILE, size, 0, (0,) * (len(self.kernel.outer) + 2), "sums")

    def new(self, place) -> int:
        self.places.append(place)
        return len(self.places) - 1

    def size(self, value: int) -> int:
        return BY_SHORT[self.instrs[value].dtype].itemsize

    def row_bytes(self, value: int) -> int:
        return self.size(value) * (1 if self.contract or self.alone else UNIT)

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
            return ONCE
        if instr.op not in OWN:
            return level
        if not loop:
            return ONCE
        if self.contract or instr.op not in ("load", "gather", "index") or level == INNER:
            return INNER
        if instr.op == "index":
            return ONCE if instr.attr[1][-1] == 0 else INNER
        where = instr.attr[0] if instr.op == "gather" else instr.attr
        return INNER if self.along(where) != 0 or self.writable(where.arg) else ONCE

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
            return Record("load", v, (), self.sums(self.size(v)), ALIAS | flags)
        if op == "store":
            return Record("store", -1, args, self.memory(attr))
        if op == "gather":
            return Record("gather", v, args, self.memory(attr[0]), self.int(attr[1]))
        if op == "index":
            return Record("index", v, (), self.access(NUMBER, 1, *attr))
        if op == "const":
            number = self.consts.setdefault(bits(attr, instr.dtype), len(self.consts))
            return Record("fill", v, (), number, self.size(v))
        if op == "param":
            return Record("param", v, (), self.int(attr), self.size(v))
        if op == "wrap":
            return Record("wrap", v, args, self.int(attr[0]), attr[1])
        if op in ("keep", "kept"):
            return Record(op, -1 if op == "keep" else v, args, attr)
        dtypes = tuple(self.instrs[a].dtype for a in instr.args)
        loop = loop_number(op, dtypes, instr.dtype)
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
        if self.instrs[v].attr == "last":  # of the state, the other lanes are the identity
            self.places[v] = self.registers.lasting(self.row_bytes(v))
            scan = self.instrs[v].args[0]
            section.epi.append(
                Record("done", v, (self.states[scan],), self.fold(self.instrs[scan]))
            )
            return
        fold = self.fold(self.instrs[v])
        lanes = LANES if self.alone else UNIT if self.row else 2 * UNIT
        state = self.new(self.registers.lasting(lanes * self.size(v)))
        self.places[v] = self.registers.lasting(self.row_bytes(v))
        section.init.append(Record("start", state, (), fold))
        section.body.append(Record("fold", state, args, fold))
        section.epi.append(Record("done", v, (state,), fold))

    def inner_value(self, v: int, args: tuple[int, ...], target: int | None, last: dict[int, int],
                    live: dict[int, Place], section: Section) -> None:  # fmt: skip
        """Makes an INNER value: in the memory that `target` would store it to, or in a register."""
        instr, code = self.instrs[v], section.body
        nowhere = instr.op == "kept" or self.always_alias(instr)  # it is memory already
        if target is not None:
            op, where = self.instrs[target].op, self.instrs[target].attr
            code.append(
                Record("into", v, (), where)
                if op == "keep"
                else Record("out", v, (), self.memory(where))
            )
            nowhere = nowhere or op == "keep" or (self.alone and self.along(where) == 1)
        if not nowhere:
            dying = self.overwritable(v, args, last, live)
            live[v] = self.registers.take(UNIT * self.size(v)) if dying is None else live.pop(dying)
            self.places[v] = live[v]
        if instr.op == "scan":
            state = self.new(self.registers.lasting((LANES if self.alone else UNIT) * self.size(v)))
            self.states[v] = state
            section.init.append(Record("start", state, (), self.fold(instr)))
            code.append(Record("scan", v, (*args, state), self.fold(instr)))
        else:
            code.append(self.record(v, args, RESET if target is None else 0))

    def always_alias(self, instr: Instr) -> bool:
        """Whether a load is the buffer's memory at every launch."""
        if instr.op != "load" or instr.args or not self.alone:
            return False
        return self.along(instr.attr) == 1 and not self.writable(instr.attr.arg)

    def overwritable(
        self, v: int, args: tuple[int, ...], last: dict[int, int], live: dict[int, Place]
    ) -> int | None:
        """An operand that dies here and whose register an element loop may write over."""
        if self.instrs[v].op in OWN or len(set(args)) < len(args):
            return None
        dying = (a for a in args if last.get(a) == v and a in live and self.size(a) == self.size(v))
        return next(dying, None)

    def direct_stores(self, numbers: range) -> dict[int, int]:
        """Value -> the store or keep whose memory it is made in: nothing in between can tell."""
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
                across = -1 if self.row or self.contract else len(self.kernel.outer) - 1
                column = instr.attr.strides[across]
                others = [w for w in touched[instr.attr.arg] if w != u]
                stored = any(self.instrs[w].op == "store" or w > instr.args[0] for w in others)
                if stored or not (isinstance(column, P) or column == 1):
                    continue
            found[instr.args[0]] = u
        return found

    # -- the whole ----------------------------------------------------------------------------

    def program(self) -> Program:
        """The parts that walk the kernel: order, extents, slots."""
        kernel = self.kernel
        if self.contract:
            size = BY_SHORT[kernel.dtype].itemsize
            each = BY_SHORT[kernel.operands].itemsize
            *outer, i, _, k = kernel.lhs.strides
            lhs = self.access(kernel.lhs.arg, each, kernel.lhs.offset, (*outer, i, k), "lhs")
            *outer, _, j, k = kernel.rhs.strides
            rhs = self.access(kernel.rhs.arg, each, kernel.rhs.offset, (*outer, k, j), "rhs")
            extents = (self.int(axis.extent) for axis in (kernel.i, kernel.j, kernel.k))
            return Program(
                CONTRACT if BY_SHORT[kernel.dtype].kind == "f" else INTEGERS,
                **dict(zip(("inner", "columns", "depth"), extents)),
                tiles=(TILE_I, TILE_J),
                sides=(lhs, rhs, self.sums(size)),
                fixed_bytes=(2 * KC * SIDE + SIDE * SIDE) * size,
                outer=[self.int(axis.extent) for axis in kernel.outer],
                digits=[
                    [(self.int(n), self.int(stride)) for n, stride in kernel.walked(*walk)]
                    for walk in (("lhs", "i"), ("lhs", "k"), ("rhs", "k"), ("rhs", "j"))
                ],
            )
        walked = kernel.outer if self.row else kernel.outer[:-1]
        if kernel.block is not None and kernel.block >= len(walked):
            raise self.fail("the axis that counts blocks cannot be that of the columns")
        folds = any(i.op in ("reduce", "scan") for i in self.instrs)
        split = self.row and not kernel.outer and kernel.inner is not None and not folds
        return Program(
            ROW if self.row else COLUMN,
            block=-1 if kernel.block is None else kernel.block,
            split=int(split),
            inner=ONE if kernel.inner is None else self.int(kernel.inner.extent),
            columns=ONE if self.row else self.int(kernel.outer[-1].extent),
            outer=[self.int(axis.extent) for axis in walked],
            slots=[self.slot(BY_SHORT[slot].itemsize) for slot in kernel.slots],
        )

    def slot(self, size: int) -> tuple[int, int]:
        """A slot's element size, and the register that holds it where short rows go together."""
        short = self.row and not self.alone
        return size, self.new(self.registers.lasting(UNIT * size) if short else None)

    def assemble(self) -> Encoded:
        program = self.program()  # which makes places and accesses of its own
        fixed = round_up(self.registers.fixed, 64)
        places = [place or ("fixed", 0, 0) for place in self.places]
        return program._replace(
            register_bytes=round_up(fixed + self.registers.pool, 64),
            registers=[(at + (fixed if kind == "pool" else 0), n) for kind, at, n in places],
            params=self.nparams,
            buffers=len(self.kernel.args),
            consts=list(self.consts),
            accesses=[record for _, record in self.accesses],
            launch=self.launch,
            launch_splats=self.launch_splats,
            sections=self.sections,
        ).encode()


def encode(kernel: Value) -> Encoded:
    """The program of a verified kernel. Raises InternalError where an op has no element loop."""
    return Encoder(kernel).encode()
