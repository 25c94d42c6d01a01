"""Operands of a product that walk an axis as digits: windows of an image are packed where they lie.

The offsets of the columns of a run, or rows of a block, and those of a block of k each become a
table of i64; packing adds the two.

    @pack_rhs_at, @pack_lhs_at   (dst, src, across, along, count, k)
        panels [k][width] of an array of `count` rows; the tables hold offsets of rows and of k
    @first                 (dst, src, across, along, k, a, c, ldc, more)
        packs one whole panel of rhs, and does what @micro would do with it and the panel a
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from charl.codegen.micro import MICRO, Functions, add, least, mul, repeat, run, sub
from charl.codegen.text import Code, iota, vector
from charl.core.named import NamedTuple
from charl.schedule.kernel import KC, PACK_I, TILE_J

PACK_AT = ("ptr", "ptr", "ptr", "ptr", "i64", "i64")
# of a function that takes one way: its parameters before those of the panel's vectors
BESIDE = ("ptr", "ptr", "i64", "i64", "ptr", "i64", "i1", "ptr")
FIRST = ("ptr", "ptr", "ptr", "ptr", "i64", "ptr", "ptr", "i64", "i1")
ROOM = {"i": PACK_I, "j": TILE_J, "k": KC}
SLACK = 64  # entries that filling and packing may reach beyond the end of a table
RUN = 8  # entries that are written at once


class Stretches(NamedTuple):
    """A vector of a panel's rows. They mostly lie in one stretch of memory, or in two: the end of an
    image's line and the start of another. Texts of values.
    """

    offsets: str
    valid: str  # lanes that are wanted
    places: list[str]  # where lane 0 would lie in the first stretch, and in the last
    masks: list[
        str
    ]  # the lanes that lie there; where neighbours are two apart, of all in between, too
    one: str  # whether the first has all lanes
    two: str  # whether both have all that are wanted


Load = Callable[[Code, Stretches, str], str]
Parts = list[tuple[str, str]]  # extent and stride of each digit, most significant first


def fill(code: Code, cells: list[str], table: str, first: str, count: str, parts: Parts) -> None:
    """Offsets of the numbers first, first + 1, ... into a table; `cells` are a variable (i64) a digit
    and one more. At least one is wanted.
    """
    full = vector("i64", RUN)
    *high, (extent, stride) = parts
    rest = first
    for cell, (size, _) in reversed(list(zip(cells[1:], parts[1:]))):
        quotient = code.op(f"udiv i64 {rest}, {size}")
        code.do(f"store i64 {sub(code, rest, mul(code, quotient, size))}, ptr {cell}")
        rest = quotient
    code.do(f"store i64 {rest}, ptr {cells[0]}")
    code.do(f"store i64 0, ptr {cells[-1]}")
    steps = code.op(f"mul {full} {repeat(code, 'i64', stride, RUN)}, {iota(RUN)}")

    def stretch(code: Code) -> str:
        """The entries up to where the last digit starts again. Whether there are more."""
        done = code.op(f"load i64, ptr {cells[-1]}")
        digits = [code.op(f"load i64, ptr {cell}") for cell in cells[:-1]]
        start = mul(code, digits[-1], stride)
        for digit, (_, step) in zip(digits, high):
            start = add(code, start, mul(code, digit, step))
        length = sub(code, count, done)
        if high:
            length = least(code, length, sub(code, extent, digits[-1]))
        place = code.op(f"getelementptr i64, ptr {table}, i64 {done}")

        def some(code: Code, p: str) -> None:
            base = repeat(code, "i64", add(code, start, mul(code, p, stride)), RUN)
            values = code.op(f"add {full} {base}, {steps}")
            to = code.op(f"getelementptr i64, ptr {place}, i64 {p}")
            code.do(f"store {full} {values}, ptr {to}, align 8")

        code.loop("0", length, RUN, some)
        code.do(f"store i64 0, ptr {cells[len(parts) - 1]}")
        carry = "true"
        for at in reversed(range(len(high))):
            following = code.op(f"add i64 {digits[at]}, {code.op(f'zext i1 {carry} to i64')}")
            carry = code.op(f"icmp eq i64 {following}, {high[at][0]}") if at else "false"
            value = code.op(f"select i1 {carry}, i64 0, i64 {following}")
            code.do(f"store i64 {value}, ptr {cells[at]}")
        done = add(code, done, length)
        code.do(f"store i64 {done}, ptr {cells[-1]}")
        return code.op(f"icmp slt i64 {done}, {count}")

    code.repeat(stretch)


class Tables:
    """Writes packing by tables into a module."""

    def __init__(self, functions: Functions):
        self.functions = functions
        self.at, self.ops, self.dtype = functions.at, functions.ops, functions.dtype

    def pack(self, name: str, width: int) -> None:
        """A panel's rows by vectors where it is as wide as some, and one by one elsewhere."""
        whole = width % self.functions.tile.lanes == 0

        def panel(code: Code, start: str) -> None:
            dst = self.at(code, "%dst", mul(code, start, "%k"))
            rows = least(code, sub(code, "%count", start), str(width))
            if whole:
                walk = functools.partial(self._pack, dst=dst, width=width)
                self._vectors(code, start, rows, width, walk)
            else:
                self._each(code, dst, start, rows, width)

        code = Code(self.functions.module, "entry")
        code.loop("0", "%count", width, panel)
        self.functions.define(name, PACK_AT, "dst src across along count k", code)

    def _entry(self, code: Code, table: str, index: str, width: int = 1) -> str:
        place = code.op(f"getelementptr i64, ptr {table}, i64 {index}")
        return code.op(f"load {vector('i64', width)}, ptr {place}, align 8")

    def _each(self, code: Code, dst: str, start: str, rows: str, width: int) -> None:
        """A short panel repeats its last row."""
        last = sub(code, rows, "1")

        def step(code: Code, p: str) -> None:
            source = self.at(code, "%src", self._entry(code, "%along", p))
            target = self.at(code, dst, mul(code, p, str(width)))

            def one(c: Code, r: str) -> None:
                offset = self._entry(c, "%across", add(c, start, least(c, r, last)))
                value = self.functions.load(c, self.at(c, source, offset), 1)
                self.functions.store(c, value, self.at(c, target, r), 1)

            code.loop("0", str(width), 1, one)

        code.loop("0", "%k", 1, step)

    def first(self, width: int) -> None:
        """@first. Packing a panel by itself takes 3 cycles a vector; here they pass beside the products."""
        code = Code(self.functions.module, "entry")
        nv, lanes = self.functions.tile.nv, self.functions.tile.lanes

        def walk(code: Code, v: list[Stretches], load: Load) -> None:
            if load == self._any:
                columns = str(width)
                tables = "%dst", "%src", "%across", "%along"
                run(code, "@pack_rhs_at", PACK_AT, *tables, columns, "%k")
                panel = "%a", "0", "0", "%dst", columns, "%k", "%c", "%ldc", "0", "0", "%more"
                run(code, "@micro", MICRO, *panel)
                return
            wide = lanes * (2 if load == self._apart else 1)
            kinds = [*BESIDE, *["ptr", "ptr", *[vector("i1", wide)] * 2] * nv]
            given = ["%a", "%dst", str(width), "%k", "%c", "%ldc", "%more", "%along"]
            for stretch in v:
                given += [*stretch.places, *stretch.masks]
            run(code, self._beside(kinds, load), tuple(kinds), *given)

        self._vectors(code, "0", str(width), width, walk)
        self.functions.define("@first", FIRST, "dst src across along k a c ldc more", code)

    def _beside(self, kinds: list[str], load: Load) -> str:
        """The function that multiplies a panel while it packs it, by one way to load. Its name."""
        lanes, body = self.functions.tile.lanes, Code(self.functions.module, "loop")
        names = ["a", "b", "ldb", "k", "c", "ldc", "more", "along"]
        offset, b = self._entry(body, "%along", "%p"), []
        for v in range(self.functions.tile.nv):
            names += [f"{part}{v}" for part in ("near", "far", "here", "there")]
            places, masks = [f"%near{v}", f"%far{v}"], [f"%here{v}", f"%there{v}"]
            b.append(load(body, Stretches("", "", places, masks, "", ""), offset))
            self.functions.store(body, b[-1], self.at(body, "%row.b", str(v * lanes)), lanes)
        name = f"@first{load.__name__}"
        self.functions.define(name, tuple(kinds), " ".join(names), self.functions.whole(body, b))
        return name

    def _vectors(self, code: Code, start: str, rows: str, width: int, walk) -> None:
        """walk(code, vectors, load) by the best way to load a panel's vectors."""
        lanes = self.functions.tile.lanes
        near, apart = (
            [
                self._stretches(code, add(code, start, str(v)), sub(code, rows, str(v)), pace)
                for v in range(0, width, lanes)
            ]
            for pace in (1, 2)
        )

        def every(flags: list[str]) -> str:
            return functools.reduce(lambda a, b: code.op(f"and i1 {a}, {b}"), flags)

        left = "true"
        for flags, vectors, load in (
            ([v.one for v in near], near, self._one),
            ([v.two for v in near], near, self._two),
            ([v.two for v in apart], apart, self._apart),
            (["true"], near, self._any),
        ):
            fits = code.op(f"and i1 {left}, {every(flags)}")
            left = code.op(f"xor i1 {left}, {fits}")
            code.when(fits, functools.partial(walk, v=vectors, load=load))

    def _pack(self, code: Code, dst: str, width: int, v: list[Stretches], load: Load) -> None:
        """All vectors of a step, then the next step's: rows of the panel are written in one stretch."""
        lanes = self.functions.tile.lanes

        def step(c: Code, p: str) -> None:
            offset = self._entry(c, "%along", p)
            target = self.at(c, dst, mul(c, p, str(width)))
            for k, stretch in enumerate(v):
                to = self.at(c, target, str(k * lanes))
                self.functions.store(c, load(c, stretch, offset), to, lanes)

        code.loop("0", "%k", 1, step)

    # -- ways to load a vector

    def _one(self, code: Code, v: Stretches, offset: str) -> str:
        return self.functions.load(
            code, self.at(code, v.places[0], offset), self.functions.tile.lanes
        )

    def _two(self, code: Code, v: Stretches, offset: str) -> str:
        return self._both(code, v, offset, self.functions.tile.lanes)

    def _apart(self, code: Code, v: Stretches, offset: str) -> str:
        lanes = 2 * self.functions.tile.lanes
        wide = self._both(code, v, offset, lanes)
        return code.shuffle(vector(self.functions.type, lanes), wide, "poison", range(0, lanes, 2))

    def _any(self, code: Code, v: Stretches, offset: str) -> str:
        source, lanes = self.at(code, "%src", offset), self.functions.tile.lanes
        return self.ops.gather(code, self.dtype, source, v.offsets, lanes, v.valid)

    def _both(self, code: Code, v: Stretches, offset: str, width: int) -> str:
        a, b = (
            self.ops.load(code, self.dtype, self.at(code, place, offset), width, mask)
            for place, mask in zip(v.places, v.masks)
        )
        kind = vector(self.functions.type, width)
        return code.op(f"select {vector('i1', width)} {v.masks[0]}, {kind} {a}, {kind} {b}")

    def _stretches(self, code: Code, first: str, left: str, pace: int) -> Stretches:
        """The vector of rows from `first` on, of which `left` are wanted, where neighbours are `pace`
        apart.
        """
        lanes = self.functions.tile.lanes
        full, mask = vector("i64", lanes), vector("i1", lanes)
        offsets = self._entry(code, "%across", first, lanes)
        valid = code.op(f"icmp slt {full} {iota(lanes)}, {repeat(code, 'i64', left, lanes)}")
        last = sub(code, least(code, left, str(lanes)), "1")
        ends = [self._entry(code, "%across", first)]
        end = self._entry(code, "%across", add(code, first, last))
        ends.append(sub(code, end, mul(code, last, str(pace))))
        masks = []
        for end in ends:
            paces = ", ".join(f"i64 {k * pace}" for k in range(lanes))
            run = code.op(f"add {full} {repeat(code, 'i64', end, lanes)}, <{paces}>")
            same = code.op(f"icmp eq {full} {offsets}, {run}")
            masks.append(code.op(f"and {mask} {same}, {valid}"))

        def equal(some: str, wanted: str) -> str:
            bits = [self.ops.bits(code, m, lanes) for m in (some, wanted)]
            return code.op(f"icmp eq i{lanes} {bits[0]}, {bits[1]}")

        one = equal(masks[0], "splat (i1 true)")
        two = equal(code.op(f"or {mask} {masks[0]}, {masks[1]}"), valid)
        places = [self.at(code, "%src", end) for end in ends]
        if pace > 1:  # of a vector twice as wide, every second lane
            lanes *= pace
            zeros = f"{mask} zeroinitializer"
            order = ", ".join(f"i32 {k // 2 if k % 2 == 0 else lanes // 2}" for k in range(lanes))
            masks = [
                code.op(f"shufflevector {mask} {m}, {zeros}, <{lanes} x i32> <{order}>")
                for m in masks
            ]
        return Stretches(offsets, valid, places, masks, one, two)
