"""The instructions of a Kernel's stage as LLVM text, for one vector of lanes at a time.

A value is wide (a vector, one lane an element) or one scalar for all lanes. A scalar that stays the
same in the loop is worked out ahead of it, whatever arithmetic it takes.
"""

from __future__ import annotations

from charl.codegen import quotient
from charl.codegen.frame import EINDEX, Frame, Operand, Region
from charl.codegen.text import MEMORY, REGISTER, Code, iota, literal, splat, vector
from charl.core.dtypes import BY_SHORT
from charl.ops.trace import Expansion, expansion
from charl.schedule.kernel import COLUMNS, GROUP, LANES, Instr, Int, P


class Body(Frame):
    """Writes stages of one kernel; Rows and Columns put the loops around them."""

    def lanes(self, at: Region, stride: Int) -> str:
        """The vector of i64: 0, stride, 2 * stride, ..."""
        if isinstance(stride, P):
            key = ("lanes", stride, at.width)
            if key not in at.fixed:
                full = vector("i64", at.width)
                factor = self.spread(at, Operand(self.int(stride), "i64", False, True))
                at.fixed[key] = at.before.op(f"mul {full} {iota(at.width)}, {factor}")
            return at.fixed[key]
        return f"<{', '.join(f'i64 {k * stride}' for k in range(at.width))}>"

    # -- operands ----------------------------------------------------------------------------------

    def spread(self, at: Region, x: Operand) -> str:
        """x as a vector: scalars are repeated."""
        if x.wide or at.width == 1:
            return x.text
        element = REGISTER[x.dtype]
        if not x.text.startswith("%"):
            return self.ops.constant(at.code, x.dtype, x.text, at.width)
        code, seen = (at.before, at.fixed) if x.fixed else (at.code, at.splats)
        key = ("splat", x.text)
        if key not in seen:
            full = vector(element, at.width)
            one = code.op(f"insertelement {full} poison, {element} {x.text}, i64 0")
            seen[key] = code.op(
                f"shufflevector {full} {one}, {full} poison, <{at.width} x i32> zeroinitializer"
            )
        return seen[key]

    def value(self, at: Region, number: int) -> Operand:
        return self.values[number]

    def uniform(self, at: Region, number: int, args: list[Operand], make) -> Operand | None:
        """`make(code)` if no operand is wide; ahead of the loop if all operands are."""
        if any(x.wide for x in args):
            return None
        dtype = self.dtypes[number]
        if not all(x.fixed for x in args):
            return Operand(make(at.code), dtype, False, False)
        key = ("value", number)
        if key not in at.fixed:
            at.fixed[key] = make(at.before)
        return Operand(at.fixed[key], dtype, False, True)

    # -- instructions ------------------------------------------------------------------------------

    def stage(self, at: Region) -> None:
        """One copy of the stage's body."""
        for number, _ in enumerate(self.kernel.stages[at.stage].body, self.starts[at.stage]):
            self.one(at, number)

    def one(self, at: Region, number: int) -> None:
        """One instruction."""
        instr = self.kernel.stages[at.stage].body[number - self.starts[at.stage]]
        write = getattr(self, f"_{instr.op}", None) if instr.op in _OWN else self._table
        value = write(at, number, instr)
        if value is not None:
            self.values[number] = value

    def _table(self, at, number, instr):
        args = [self.value(at, a) for a in instr.args]
        kinds = tuple(x.dtype for x in args)
        if instr.op in ("floor_divide", "remainder") and args[0].wide and args[1].fixed:
            value = self._by_one(at, instr, *args)
            if value is not None:
                return value

        def make(code: Code, width: int = 1) -> str:
            texts = [self.spread(at, x) if width > 1 else x.text for x in args]
            return self.ops.apply(code, instr.op, kinds, instr.dtype, texts, width)

        return self.uniform(at, number, args, make) or Operand(
            make(at.code, at.width), instr.dtype, True, False
        )

    def _by_one(self, at, instr, x, y):
        """Integers divided by one number: three times as fast as by as many numbers."""
        info = BY_SHORT[instr.dtype]
        if y.wide or info.kind not in "iu" or at.width == 1:
            return None
        of = quotient.Whole(info.itemsize, info.kind == "i", at.width)
        key = ("divisor", y.text)
        if key not in at.fixed:
            at.fixed[key] = quotient.prepared(at.before, of.size, of.signed, y.text)
        kinds = (of.float, of.float, "b1", instr.dtype)
        parts = (Operand(v, kind, False, True) for v, kind in zip(at.fixed[key], kinds))
        by = quotient.Divisor(*(self.spread(at, part) for part in parts))
        many, pair, full = self.spread(at, y), (instr.dtype,) * 2, of.full

        def far(code: Code) -> str:
            return self.ops.apply(code, "floor_divide", pair, instr.dtype, [x.text, many], of.width)

        q = quotient.floor_by(at.code, of, x.text, by, far)
        if instr.op == "remainder":  # x % 0 is 0
            some = at.code.op(f"and {full} {x.text}, {by.some}")
            q = at.code.op(f"sub {full} {some}, {at.code.op(f'mul {full} {q}, {many}')}")
        return Operand(q, instr.dtype, True, False)

    def _const(self, at, number, instr):
        return Operand(literal(instr.dtype, instr.attr), instr.dtype, False, True)

    def _param(self, at, number, instr):
        return Operand(self.scalar(instr.attr, instr.dtype), instr.dtype, False, True)

    def _load(self, at, number, instr):
        access, dtype = instr.attr, instr.dtype
        if at.square and access in self.across:
            trip, lane, pointer = 1, 1, self.in_tile(at, access)
        else:
            trip, lane = self.strides(at, access.strides)
            pointer = self.base(at, access)
        if instr.args:
            return self._load_where(at, instr, pointer, trip, lane)
        if at.width == 1 or lane == 0:
            fixed = trip == 0 and self.kernel.args[access.arg].mode == "in"
            args = [Operand("", dtype, False, fixed)]

            def make(code: Code) -> str:
                return self.ops.load_one(code, dtype, self._at(at, code, dtype, pointer, trip))

            return self.uniform(at, number, args, make)
        pointer = self._at(at, at.code, dtype, pointer, trip)
        return Operand(self._lanes(at, dtype, pointer, lane, at.mask), dtype, True, False)

    def _at(self, at, code, dtype, pointer, trip):
        """The address at the loop's index."""
        return (
            pointer
            if trip == 0
            else self.shift(code, dtype, pointer, self.times(code, at.inner, trip))
        )

    def _lanes(self, at, dtype, pointer, lane, mask):
        """A vector of elements `lane` apart."""
        if lane == 1:
            return self.ops.load(at.code, dtype, pointer, at.width, mask)
        if lane == -1 and mask is None:
            full, last = vector(REGISTER[dtype], at.width), at.width - 1
            pointer = self.shift(at.code, dtype, pointer, str(-last))
            value = self.ops.load(at.code, dtype, pointer, at.width, None)
            return at.code.shuffle(full, value, "poison", range(last, -1, -1))
        offsets = self.lanes(at, lane)
        if isinstance(lane, P):
            return self.ops.apart(at.code, dtype, pointer, self.int(lane), offsets, at.width, mask)
        return self.ops.gather(at.code, dtype, pointer, offsets, at.width, mask)

    def _load_where(self, at, instr, pointer, trip, lane):
        """Lanes whose predicate is false read nothing and give 0."""
        code, dtype, width = at.code, instr.dtype, at.width
        predicate = self.value(at, instr.args[0])
        pointer = self._at(at, code, dtype, pointer, trip)
        if width > 1 and (predicate.wide or lane != 0):
            mask = self.spread(at, predicate)
            if at.mask is not None:
                mask = code.op(f"and <{width} x i1> {mask}, {at.mask}")
            return Operand(self._lanes(at, dtype, pointer, lane, mask), dtype, True, False)
        before, read, done = code.label, self.module.name("read"), self.module.name("done")
        code.branch(predicate.text, read, done)
        code.begin(read)
        value = self.ops.load_one(code, dtype, pointer)
        code.do(f"br label %{done}")
        code.begin(done)
        zero = literal(dtype, 0)
        text = code.op(f"phi {REGISTER[dtype]} [{zero}, %{before}], [{value}, %{read}]")
        return Operand(text, dtype, False, at.inner is None)

    def _gather(self, at, number, instr):
        access, stride = instr.attr
        index, dtype = self.value(at, instr.args[0]), instr.dtype
        trip, lane = self.strides(at, access.strides)
        pointer = self.base(at, access)
        if not index.wide:

            def make(code: Code) -> str:
                return self.shift(code, dtype, pointer, self.times(code, index.text, stride))

            pointer = self.uniform(at, number, [index], make).text
            pointer = self._at(at, at.code, dtype, pointer, trip)
            if at.width == 1 or lane == 0:
                return Operand(
                    self.ops.load_one(at.code, dtype, pointer), dtype, False, at.inner is None
                )
            return Operand(self._lanes(at, dtype, pointer, lane, at.mask), dtype, True, False)
        full, code = vector("i64", at.width), at.code
        offsets = index.text
        if stride != 1:
            factor = self.spread(at, Operand(self.int(stride), "i64", False, True))
            offsets = code.op(f"mul {full} {offsets}, {factor}")
        if lane != 0:
            offsets = code.op(f"add {full} {offsets}, {self.lanes(at, lane)}")
        pointer = self._at(at, code, dtype, pointer, trip)
        value = self.ops.gather(code, dtype, pointer, offsets, at.width, at.mask)
        return Operand(value, dtype, True, False)

    def _store(self, at, number, instr):
        access, dtype, code = instr.attr, instr.dtype, at.code
        value = self.value(at, instr.args[0])
        trip, lane = self.strides(at, access.strides)
        pointer = self._at(at, code, dtype, self.base(at, access), trip)
        if at.width == 1 or (lane == 0 and not value.wide):
            self.ops.store_one(code, dtype, value.text, pointer)
        elif at.streams:
            self.ops.stream(code, dtype, self.spread(at, value), pointer, at.width)
        elif lane == 1:
            self.ops.store(code, dtype, self.spread(at, value), pointer, at.width, at.mask)
        else:
            offsets = self.lanes(at, lane)
            self.ops.scatter(
                code, dtype, self.spread(at, value), pointer, offsets, at.width, at.mask
            )

    def _index(self, at, number, instr):
        offset, strides = instr.attr
        trip, lane = self.strides(at, strides)
        start = self.affine(at.before, offset, strides, at.outer)
        fixed = trip == 0
        if not fixed:
            start = self.plus(at.code, start, self.times(at.code, at.inner, trip))
        first = Operand(start, "i64", False, fixed)
        if at.width == 1 or lane == 0:
            return first
        full = vector("i64", at.width)
        text = at.code.op(f"add {full} {self.spread(at, first)}, {self.lanes(at, lane)}")
        return Operand(text, "i64", True, False)

    def _wrap(self, at, number, instr):
        x = self.value(at, instr.args[0])
        extent, site = instr.attr

        def make(code: Code) -> str:
            return self._wrapped(at, code, x.text, 1, None, extent, site)

        return self.uniform(at, number, [x], make) or Operand(
            self._wrapped(at, at.code, x.text, at.width, at.mask, extent, site), "i64", True, False
        )

    def _wrapped(self, at, code, x, width, mask, extent, site):
        """x, or x + extent where x is negative; leaves the kernel at the first lane that is out of
        range.
        """
        full, lanes = vector("i64", width), vector("i1", width)
        n = self.int(extent)
        every = n if width == 1 else self.spread(at, Operand(n, "i64", False, True))
        negative = code.op(f"icmp slt {full} {x}, {splat('i64', 0, width)}")
        moved = code.op(
            f"select {lanes} {negative}, {full} {code.op(f'add {full} {x}, {every}')}, {full} {x}"
        )
        bad = code.op(f"icmp uge {full} {moved}, {every}")
        if mask is not None:
            bad = code.op(f"and {lanes} {bad}, {mask}")
        wrong, right = self.module.name("wrong"), self.module.name("right")
        code.branch(self.ops.any(code, bad, width), wrong, right)
        code.begin(wrong)
        if width > 1:
            bits = f"i{width}"
            lane = code.call(
                f"llvm.cttz.{bits}", bits, (bits, self.ops.bits(code, bad, width)), ("i1", "false")
            )
            x = code.op(f"extractelement {full} {x}, {bits} {lane}")
        for name, value in (("site", site), ("index", x), ("extent", n)):
            code.do(f"store i64 {value}, ptr {code.op(self.launch(name))}")
        code.do(f"ret i32 {EINDEX}")
        code.begin(right)
        return moved

    def _keep(self, at, number, instr):
        value = self.spread(at, self.value(at, instr.args[0]))
        mask = None if self.column else at.mask
        self.ops.store(at.code, instr.dtype, value, self._slot_at(at, instr), at.width, mask)

    def _kept(self, at, number, instr):
        mask = None if self.column else at.mask
        value = self.ops.load(at.code, instr.dtype, self._slot_at(at, instr), at.width, mask)
        return Operand(value, instr.dtype, True, False)

    def _slot_at(self, at, instr):
        elements = at.inner
        if self.column:
            row = at.code.op(f"mul i64 {at.inner}, {COLUMNS}")
            elements = at.code.op(f"add i64 {row}, {self.column_of(at.code, at)}")
        return self.shift(at.code, self.kernel.slots[instr.attr], self.slot(instr.attr), elements)

    def _reduce(self, at, number, instr):
        if instr.attr == "last":
            return
        args = [self.spread(at, self.value(at, a)) for a in instr.args]
        code, dtype = at.code, instr.dtype
        cell = self.cell(
            (at.chunk, number), vector(MEMORY[dtype], at.width if self.column else LANES)
        )
        if not self.column and at.width < LANES:
            lane = code.op(f"and i64 {at.inner}, {LANES - 1}")
            cell = self.shift(code, dtype, cell, lane)
        old = self.ops.load(code, dtype, cell, at.width, None)
        if self.nans_apart(instr):
            new = self._numbers(at, number, instr, old, args[0])
        else:
            new = self.ops.fold(code, instr.attr, dtype, old, args, at.width)
        if at.mask is not None and not self.column:
            full = vector(REGISTER[dtype], at.width)
            new = code.op(f"select <{at.width} x i1> {at.mask}, {full} {new}, {full} {old}")
        self.ops.store(code, dtype, new, cell, at.width, None)

    def nans_apart(self, instr: Instr) -> bool:
        """Whether a chunk keeps its last NaNs beside the extremes of its numbers: each element then
        waits for one instruction of the element before, not three.
        """
        extreme = instr.attr in ("max", "min") and instr.dtype in ("f32", "f64")
        return extreme and not self.column

    def _numbers(self, at, number, instr, old, x):
        """The extreme of old and x, old where x is a NaN, which goes into the cell of NaNs."""
        code, dtype = at.code, instr.dtype
        full, mask = vector(REGISTER[dtype], at.width), vector("i1", at.width)
        cell = self.cell(("nan", number), vector(MEMORY[dtype], LANES))
        if at.width < LANES:
            cell = self.shift(code, dtype, cell, code.op(f"and i64 {at.inner}, {LANES - 1}"))
        last = self.ops.load(code, dtype, cell, at.width, None)
        isnan = code.op(f"fcmp uno {full} {x}, {x}")
        if at.mask is not None:
            isnan = code.op(f"and {mask} {isnan}, {at.mask}")
        last = code.op(f"select {mask} {isnan}, {full} {x}, {full} {last}")
        self.ops.store(code, dtype, last, cell, at.width, None)
        return self.better(code, instr, x, old, at.width)

    def better(self, code, instr, x, old, width):
        """x where it is the greater (or the lesser), else old."""
        full, mask = vector(REGISTER[instr.dtype], width), vector("i1", width)
        chosen = code.op(f"fcmp {'ogt' if instr.attr == 'max' else 'olt'} {full} {x}, {old}")
        return code.op(f"select {mask} {chosen}, {full} {x}, {full} {old}")

    def _scan(self, at, number, instr):
        code, dtype = at.code, instr.dtype
        value = self.spread(at, self.value(at, instr.args[0]))
        element = MEMORY[dtype]
        if self.column:
            cell = self.cell(("scan", number), vector(element, at.width))
            old = self.ops.load(code, dtype, cell, at.width, None)
            new = self.ops.fold(code, instr.attr, dtype, old, [value], at.width)
            self.ops.store(code, dtype, new, cell, at.width, None)
            return Operand(new, dtype, True, False)
        full, one = vector(REGISTER[dtype], at.width), REGISTER[dtype]
        if at.mask is not None:  # the total of lanes past the end is that of the last before it
            start = self.ops.identity(instr.attr, dtype, at.width)
            value = code.op(f"select <{at.width} x i1> {at.mask}, {full} {value}, {full} {start}")
        cell = self.cell(("scan", number), element)
        total = self.ops.load_one(code, dtype, cell)
        if self.kernel.block is not None:
            out, total = self._groups(at, instr, value, total)
        else:
            out = "poison"
            for lane in range(at.width):
                x = code.op(f"extractelement {full} {value}, i64 {lane}")
                total = self.ops.fold(code, instr.attr, dtype, total, [x], 1)
                out = code.op(f"insertelement {full} {out}, {one} {total}, i64 {lane}")
        self.ops.store_one(code, dtype, total, cell)
        return Operand(out, dtype, True, False)

    def _groups(self, at, instr, value: str, total: str) -> tuple[str, str]:
        """Prefixes of a vector by GROUPs, and the total after it. Only one operation a group waits for
        the group before.
        """
        code, kind, dtype = at.code, instr.attr, instr.dtype
        full, part = (vector(REGISTER[dtype], n) for n in (at.width, GROUP))
        start = self.ops.identity(kind, dtype, GROUP)
        one = code.op(f"insertelement {part} poison, {REGISTER[dtype]} {total}, i64 0")
        total = code.shuffle(part, one, "poison", [0] * GROUP)
        parts = []
        for first in range(0, at.width, GROUP):
            x = code.shuffle(full, value, "poison", range(first, first + GROUP))
            for h in (1, 2, 4):
                lanes = [(l & -h) - 1 if l & h else GROUP + l for l in range(GROUP)]
                below = code.shuffle(part, x, start, lanes)
                x = self.ops.fold(code, kind, dtype, below, [x], GROUP)
            parts.append(self.ops.fold(code, kind, dtype, total, [x], GROUP))
            most = code.shuffle(part, x, "poison", [GROUP - 1] * GROUP)
            total = self.ops.fold(code, kind, dtype, total, [most], GROUP)
        out = code.joined(REGISTER[dtype], GROUP, parts)
        return out, code.op(f"extractelement {part} {total}, i64 0")


def expansion_of(instr: Instr, dtypes: list[str]) -> Expansion | None:
    """The primitives of an instruction that is a table op."""
    if instr.op in _OWN:
        return None
    return expansion(instr.op, tuple(dtypes[a] for a in instr.args), instr.dtype)


_OWN = (
    "load",
    "store",
    "gather",
    "index",
    "const",
    "param",
    "wrap",
    "keep",
    "kept",
    "reduce",
    "scan",
)
