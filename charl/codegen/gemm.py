"""Matrix products in LLVM text: BLIS's loops around a packed micro-kernel.

A launch's units are walked in runs: i tiles of one j tile, as one stretch of rows. For a run

    for each block of KC along k
      pack the columns of rhs into panels [k][nr]       (read where it lies, if few rows use it)
      for each block of PACK_I rows
        pack the rows of lhs into panels [k][mr]
        for each panel of rhs, for each panel of lhs
          micro-kernel: mr x nr sums in registers       -> stored, or added to those before
        after the last block of k: the epilogue over these rows

Operands that walk an axis in digits are packed by tables of offsets (charl/codegen/digits.py).
Few rows read a row-major rhs where it lies, few columns the lhs; so small products pack nothing.
The sums lie in the output itself where the epilogue has a store of the product's dtype, contiguous
along j, into a buffer that nothing else reads or writes; in scratch otherwise. At the edges there
are micro-kernels that mask columns and leave rows out, of half the rows or of one vector. None of
this changes a bit: an element's value depends on k and KC alone.
"""

from __future__ import annotations

from typing import NamedTuple

from charl.codegen.body import Body, Operand, Region
from charl.codegen.digits import PACK_AT, ROOM, SLACK, Tables, fill
from charl.codegen.host import Host
from charl.codegen.micro import (
    MICRO,
    OVERRUN,
    PACK,
    Functions,
    add,
    least,
    mul,
    repeat,
    run,
    sub,
    tile_of,
)
from charl.codegen.text import Code, iota, vector
from charl.schedule.kernel import (
    KC,
    PACK_I,
    TILE_I,
    TILE_J,
    Access,
    Contract,
    Int,
    Kernel,
    Stage,
)

DIRECT_ROWS = 96  # fewer rows than this read a row-major rhs unpacked: 1.1 to 2 times as fast
DIRECT_PANELS = 4  # at most so many panels of rhs read lhs where it lies,
WAY = 4096  # unless its rows are a multiple of so many bytes apart and share a cache set
# where things lie in scratch
TILE = {"rhs": 0, "lhs": KC * TILE_J, "sums": KC * (TILE_J + PACK_I) + OVERRUN}


class Run(NamedTuple):
    """Rows [i0, i1) and columns [j0, j1) of one batch item; operands of the text."""

    outer: list[str]
    i0: str
    i1: str
    j0: str
    j1: str
    columns: str
    direct: str  # whether lhs is read where it lies,
    unpacked: str  # and so many of the columns of rhs
    lhs: str  # address at row 0
    rhs: str  # at column j0
    home: str | None  # of the sums at row 0, column j0


class Gemm(Body):
    """Writes one Contract. As a Body it is the epilogue: a kernel of rows (outer, i) along j."""

    in_place = True  # whether micro-kernels can read operands where they lie

    def __init__(self, contract: Contract, host: Host):
        rows = (*contract.outer, contract.i)
        acc, rest = contract.epilogue[:1], contract.epilogue[1:]
        stages = (Stage(True, acc), Stage(True, rest))
        super().__init__(Kernel(contract.args, rows, contract.j, "row", None, stages), host)
        self.contract = contract
        self.tile = tile_of(contract.dtype, host)
        self.width = self.tile.lanes
        self.functions = Functions(self.module, self.ops, contract.dtype, self.tile)
        self.at = self.functions.at
        self.home = home_of(contract)
        self.native = host.native_mask(self.functions.size)
        self.walked = {digits.side for digits in contract.digits}
        # a number of rows that are packed at once
        self.step = PACK_I // self.tile.mr * self.tile.mr

    def text(self) -> str:
        mr, nv, _ = self.tile
        (li, _, lk), (_, rj, rk) = self.contract.lhs.strides[-3:], self.contract.rhs.strides[-3:]
        self.functions.micro()
        for rows in (mr, mr // 2):
            for vectors in (nv, 1):
                self.functions.edge(rows, vectors)
        for side, width, across, along in (("lhs", mr, li, lk), ("rhs", self.tile.nr, rj, rk)):
            self.packs(side, width, across, along)
        code = Code(self.module, "start")
        code.when(code.op("icmp slt i64 %begin, %end"), self._runs)
        code.do("ret i32 0")
        head = "define i32 @kernel(ptr %launch, i64 %begin, i64 %end) nounwind {"
        entry = ["entry:", *self.entry.lines, "  br label %start", "start:"]
        return self.module.text("\n".join([head, *entry, *code.lines, "}"]))

    def scratch(self, name: str) -> str:
        def place() -> str:
            return self.at(self.entry, self.once("scratch", load), str(TILE[name]))

        def load() -> str:
            return self.entry.op(f"load ptr, ptr {self.entry.op(self.launch('scratch'))}")

        return self.once(("scratch", name), place)

    # -- packing

    def packs(self, side: str, width: int, across: Int, along: Int) -> None:
        """Writes the function that packs an operand."""
        if side in self.walked:
            Tables(self.functions).pack(f"@pack_{side}_at", width)
        else:
            self.functions.pack(f"@pack_{side}", width, across, along)

    def steps(self, code: Code, depth: str) -> str:
        """Rows of a packed panel of so many k."""
        return depth

    def reach(self, code: Code, base: str, index: str) -> str:
        """The address of an operand's element."""
        return self.at(code, base, index)

    def _offsets(self, side: str, axis: str) -> str:
        """Where the offsets of an operand along an axis are kept."""
        return self.cell((side, axis), f"[{ROOM[axis] + SLACK} x i64]")

    def _fill(self, code: Code, side: str, axis: str, first: str, count: str) -> None:
        """The offsets of `count` numbers from `first`, less that of the first where a stride says
        all."""
        parts = [tuple(map(self.int, part)) for part in self.contract.walked(side, axis)]
        if not parts:
            access = self.contract.lhs if side == "lhs" else self.contract.rhs
            first, parts = "0", [("0", self.int(access.strides["ijk".index(axis) - 3]))]
        cells = [self.cell((side, axis, n), "i64") for n in range(len(parts) + 1)]
        fill(code, cells, self._offsets(side, axis), first, count, parts)

    def _pack(self, code: Code, side: str, to: str, source: str, count: str, depth: str) -> None:
        """Panels of so many rows of lhs, or columns of rhs, that lie from `source` on."""
        access, axis = (self.contract.lhs, "i") if side == "lhs" else (self.contract.rhs, "j")
        if side in self.walked:
            tables = self._offsets(side, axis), self._offsets(side, "k")
            run(code, f"@pack_{side}_at", PACK_AT, to, source, *tables, count, depth)
            return
        steps = (self.int(access.strides["ijk".index(a) - 3]) for a in (axis, "k"))
        run(code, f"@pack_{side}", PACK, to, source, *steps, count, depth)

    # -- from units to runs

    def _runs(self, code: Code) -> None:
        axes = [(self.contract.i, TILE_I, self.tile.mr), (self.contract.j, TILE_J, self.tile.nr)]

        def cover(extent: str, width: int) -> str:
            return code.op(f"udiv i64 {add(code, extent, str(width - 1))}, {width}")

        extents = [self.int(axis.extent) for axis, _, _ in axes]
        tiles = [cover(extent, size) for extent, (_, size, _) in zip(extents, axes)]
        panels = [cover(extent, width) for extent, (_, _, width) in zip(extents, axes)]

        def edge(code: Code, axis: int, tile: str) -> str:
            """Where a tile begins: tiles share the axis's panels evenly."""
            panel = code.op(f"udiv i64 {mul(code, tile, panels[axis])}, {tiles[axis]}")
            return least(code, mul(code, panel, str(axes[axis][2])), extents[axis])

        def part(code: Code, number: str) -> tuple[str, ...]:
            """The item, and the bounds of its rows and columns, in [begin, end) of a j tile."""
            before = mul(code, number, tiles[0])
            first = sub(code, "%begin", before)
            first = code.call("llvm.smax.i64", "i64", ("i64", first), ("i64", "0"))
            stop = least(code, sub(code, "%end", before), tiles[0])
            item, tile = (code.op(f"{op} i64 {number}, {tiles[1]}") for op in ("udiv", "urem"))
            rows = [edge(code, 0, i) for i in (first, stop)]
            return item, *rows, *(edge(code, 1, j) for j in (tile, add(code, tile, "1")))

        single = code.op(f"icmp eq i64 {mul(code, *tiles)}, 1")

        def column(code: Code, number: str) -> None:
            """A j tile; these are counted through the batch. Small items are one tile each, which
            takes no division.
            """
            whole = (number, "0", extents[0], "0", extents[1])
            item, *bounds = code.either("i64", single, whole, lambda c: part(c, number))
            outer: list[str] = []
            for k, axis in reversed(list(enumerate(self.contract.outer))):
                extent = self.int(axis.extent)
                outer.insert(0, code.op(f"urem i64 {item}, {extent}") if k else item)
                item = code.op(f"udiv i64 {item}, {extent}") if k else item
            self._run(code, outer, *bounds)

        first = code.op(f"udiv i64 %begin, {tiles[0]}")
        last = code.op(f"udiv i64 {sub(code, '%end', '1')}, {tiles[0]}")
        code.loop(first, add(code, last, "1"), 1, column)

    def _place(self, code: Code, access: Access, outer: list[str]) -> str:
        """The address of an access at i = j = k = 0."""
        index = self.affine(code, access.offset, access.strides, outer)
        at = self.at if access is self.home else self.reach
        return at(code, self.buffer(access.arg), index)

    def _run(self, code: Code, outer: list[str], i0: str, i1: str, j0: str, j1: str) -> None:
        contract = self.contract
        columns, unpacked = sub(code, j1, j0), "0"
        direct = "false"
        if self.in_place and "lhs" not in self.walked:
            direct = code.op(f"icmp sle i64 {columns}, {DIRECT_PANELS * self.tile.nr}")
            li = self.int(contract.lhs.strides[-3])
            apart = code.op(f"and i64 {li}, {WAY // self.functions.size - 1}")
            direct = code.op(f"and i1 {direct}, {code.op(f'icmp ne i64 {apart}, 0')}")
        rj = self.int(contract.rhs.strides[-2])
        if self.in_place and rj == "1":
            few = code.op(f"icmp slt i64 {sub(code, i1, i0)}, {DIRECT_ROWS}")
            there = columns
            if not self.native:  # an edge reads whole vectors
                there = code.op(f"and i64 {columns}, {-self.tile.nr}")
            unpacked = code.op(f"select i1 {few}, i64 {there}, i64 0")
        lhs, rhs = (self._place(code, access, outer) for access in (contract.lhs, contract.rhs))
        rhs = self.reach(code, rhs, mul(code, j0, rj))
        home = self.at(code, self._place(code, self.home, outer), j0) if self.home else None
        if "rhs" in self.walked:
            self._fill(code, "rhs", "j", j0, columns)
        this = Run(outer, i0, i1, j0, j1, columns, direct, unpacked, lhs, rhs, home)
        if home:
            self._products(code, this, i0, i1)
            return
        # scratch holds the sums of so many rows
        code.loop(i0, i1, self.step, lambda c, i: (
            self._products(c, this, i, least(c, add(c, i, str(self.step)), i1))))  # fmt: skip

    # -- the loops around the micro-kernel

    def _products(self, code: Code, this: Run, i0: str, i1: str) -> None:
        """All of k for rows [i0, i1)."""
        li, _, lk = (self.int(stride) for stride in self.contract.lhs.strides[-3:])
        _, rj, rk = (self.int(stride) for stride in self.contract.rhs.strides[-3:])
        extent = self.int(self.contract.k.extent)

        def block(code: Code, p: str) -> None:
            depth = least(code, sub(code, extent, p), str(KC))
            steps = self.steps(code, depth)
            rhs = self.reach(code, this.rhs, mul(code, p, rk))
            source = self.reach(code, rhs, mul(code, this.unpacked, rj))
            packed = self.at(code, self.scratch("rhs"), mul(code, this.unpacked, depth))
            count = sub(code, this.columns, this.unpacked)
            for side in sorted(self.walked):
                self._fill(code, side, "k", p, depth)
            code.when(code.op(f"icmp ne i64 {count}, 0"), lambda c: (
                self._pack(c, "rhs", packed, source, count, depth)))  # fmt: skip
            more = code.op(f"icmp ne i64 {p}, 0")
            last = code.op(f"icmp eq i64 {add(code, p, depth)}, {extent}")

            def rows(code: Code, i: str) -> None:
                lhs = self.reach(code, this.lhs, add(code, mul(code, i, li), mul(code, p, lk)))
                count = least(code, sub(code, i1, i), str(self.step))
                room = self.scratch("lhs")
                if "lhs" in self.walked:
                    self._fill(code, "lhs", "i", i, count)
                code.when(code.op(f"xor i1 {this.direct}, true"), lambda c: (
                    self._pack(c, "lhs", room, lhs, count, depth)))  # fmt: skip
                places = zip((lhs, li, lk), (room, "1", str(self.tile.mr)), ("ptr", "i64", "i64"))
                left = [
                    code.op(f"select i1 {this.direct}, {kind} {here}, {kind} {packed}")
                    for here, packed, kind in places
                ]
                sums = self._sums(code, this, i)
                self._panels(code, this, left, rhs, sums, count, steps, more)
                if not self._is_plain():
                    code.when(last, lambda c: self._epilogue(c, this, sums, i, count))

            code.loop(i0, i1, self.step, rows)

        code.loop("0", extent, KC, block)

    def _sums(self, code: Code, this: Run, row: str) -> tuple[str, str]:
        """Where the sums of a row lie, from column j0 on, and the way to the next row's."""
        if self.home is None or this.home is None:
            return self.scratch("sums"), str(TILE_J)
        stride = self.int(self.home.strides[-2])
        return self.at(code, this.home, mul(code, row, stride)), stride

    def _panels(self, code: Code, this: Run, lhs, rhs: str, sums, count, depth, more) -> None:
        """The rows of lhs (address, step from row to row, step along k), `count` of them, against all
        columns of the run.
        """
        mr, nv, lanes = self.tile
        nr, (c0, ldc), (a0, sr, sk) = str(self.tile.nr), sums, lhs
        # packed rows follow each other in panels
        row = code.op(f"select i1 {this.direct}, i64 {sr}, i64 {depth}")

        def panel(code: Code, j: str) -> None:
            wide = least(code, sub(code, this.columns, j), nr)
            b, ldb = self.at(code, self.scratch("rhs"), mul(code, j, depth)), nr
            if this.unpacked != "0":
                there = code.op(f"icmp slt i64 {j}, {this.unpacked}")
                b = code.op(f"select i1 {there}, ptr {self.at(code, rhs, j)}, ptr {b}")
                rk = self.int(self.contract.rhs.strides[-1])
                ldb = code.op(f"select i1 {there}, i64 {rk}, i64 {nr}")
            narrow = code.op(f"icmp sle i64 {wide}, {lanes}")
            whole, half = (
                code.op(f"select i1 {narrow}, ptr @edge_{r}_1, ptr @edge_{r}_{nv}")
                for r in (mr, mr // 2)
            )
            inner = code.op(f"icmp eq i64 {wide}, {nr}")
            inner = code.op(f"select i1 {this.direct}, i1 false, i1 {inner}")
            most = code.op(f"select i1 {inner}, ptr @micro, ptr {whole}")

            def tile(code: Code, i: str) -> None:
                high = least(code, sub(code, count, i), str(mr))
                full, low = (
                    code.op(f"icmp {test} i64 {high}, {rows}")
                    for test, rows in (("eq", mr), ("sle", mr // 2))
                )
                micro = code.op(f"select i1 {full}, ptr {most}, ptr {whole}")
                micro = code.op(f"select i1 {low}, ptr {half}, ptr {micro}")
                a = self.at(code, a0, mul(code, i, row))
                c = self.at(code, c0, add(code, mul(code, i, ldc), j))
                run(code, micro, MICRO, a, sr, sk, b, ldb, depth, c, ldc, high, wide, more)

            code.loop("0", count, mr, tile)

        code.loop("0", this.columns, self.tile.nr, panel)

    # -- the epilogue

    def _is_plain(self) -> bool:
        """Whether the sums are the result, and lie where they belong."""
        return self.home is not None and len(self.contract.epilogue) == 2

    def _epilogue(self, code: Code, this: Run, sums, first: str, count: str) -> None:
        """What becomes of finished sums, for `count` rows from row `first`."""
        (c0, ldc), dtype = sums, self.contract.dtype

        def row(code: Code, i: str) -> None:
            line = self.at(code, c0, mul(code, sub(code, i, first), ldc))
            before, walk = (
                Code(self.module, code.label),
                Code(self.module, self.module.name("walk")),
            )
            start = walk.label
            fixed: dict = {}

            def lanes(code: Code, j: str, mask: str | None) -> None:
                place = self.at(code, line, sub(code, j, this.j0))
                value = self.ops.load(code, dtype, place, self.width, mask)
                self.values[0] = Operand(value, dtype, True, False)
                outer = [*this.outer, i]
                self.stage(Region(code, before, self.width, mask, outer, j, 1, fixed=fixed))

            self._vectors(walk, this.j0, this.j1, lanes)
            code.lines += [*before.lines, f"  br label %{start}", f"{start}:", *walk.lines]
            code.label = walk.label

        code.loop(first, add(code, first, count), 1, row)

    def _vectors(self, code: Code, first: str, stop: str, body) -> None:
        """`body(code, index, mask)` for index first, first + width, ... below stop."""
        width, full = self.width, vector("i64", self.width)
        whole = code.op(f"and i64 {sub(code, stop, first)}, {-width}")
        end = add(code, first, whole)

        def tail(code: Code) -> None:
            left = repeat(code, "i64", sub(code, stop, end), width)
            body(code, end, code.op(f"icmp sgt {full} {left}, {iota(width)}"))

        code.loop(first, end, width, lambda c, j: body(c, j, None))
        code.when(code.op(f"icmp slt i64 {end}, {stop}"), tail)


def home_of(contract: Contract) -> Access | None:
    """The store whose place can hold the sums until the epilogue has made what belongs there."""
    body = contract.epilogue
    stores = [(i.dtype, i.attr) for i in body if i.op == "store" and isinstance(i.attr, Access)]
    for dtype, access in stores:
        others = [other for _, other in stores if other is not access and other.arg == access.arg]
        if dtype == contract.dtype and access.strides[-1] == 1 and not others:
            if contract.args[access.arg].mode == "out":
                return access
    return None
