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
Few rows read a row-major rhs where it lies, few columns the lhs; so small products pack nothing. A
tile of rows goes down a large one in passes of a few of its rows, each over all columns of a run. At
the edges there are micro-kernels that mask columns and leave rows out, of half the rows or of one
vector. None of this changes a bit: an element's value depends on k and KC alone.
"""

from __future__ import annotations

from charl.codegen.digits import FIRST, PACK_AT, ROOM, SLACK, Tables, fill
from charl.codegen.epilogue import Product, Run
from charl.codegen.micro import MICRO, PASS, WALKED, add, least, mul, run, sub
from charl.codegen.packing import PACK, Panels
from charl.codegen.text import Code, vector
from charl.schedule.kernel import KC, TILE_I, TILE_J, Int

DIRECT_ROWS = 96  # fewer rows than this read a row-major rhs unpacked: 1.1 to 2 times as fast
DIRECT_PANELS = 4  # at most so many panels of rhs read lhs where it lies,
WAY = 4096  # unless its rows are a multiple of so many bytes apart and share a cache set
FAR = 1 << 13  # from so many bytes on, rows of rhs lie in pages of memory of their own


class Gemm(Product):
    """Writes one Contract."""

    def text(self) -> str:
        mr, nv, _ = self.tile
        (li, _, lk), (_, rj, rk) = self.contract.lhs.strides[-3:], self.contract.rhs.strides[-3:]
        if not self.walks_lhs:
            self.functions.micro()
        if self.reads_rows and not self.walks_lhs:
            self.functions.passes()
        for rows in (mr, mr // 2):
            for vectors in (nv, 1):
                if self.walks_lhs:
                    self.functions.walked(rows, vectors)
                else:
                    self.functions.edge(rows, vectors)
        if self.packs_late:
            Tables(self.functions).first(self.tile.nr)
        for side, width, across, along in (("lhs", mr, li, lk), ("rhs", self.tile.nr, rj, rk)):
            if side == "rhs" or not self.walks_lhs:
                self.packs(side, width, across, along)
        code = Code(self.module, "start")
        code.when(code.op("icmp slt i64 %begin, %end"), self._runs)
        code.do("ret i32 0")
        head = "define i32 @kernel(ptr %launch, i64 %begin, i64 %end) nounwind {"
        entry = ["entry:", *self.entry.lines, "  br label %start", "start:"]
        return self.module.text("\n".join([head, *entry, *code.lines, "}"]))

    @property
    def packs_late(self) -> bool:
        """Whether a panel of rhs is packed where it is first multiplied."""
        return "rhs" in self.walked and self.in_place and self.native

    @property
    def walks_lhs(self) -> bool:
        """Whether an lhs in digits is read where it lies: packing it takes longer than the product."""
        return "lhs" in self.walked and "rhs" not in self.walked and self.in_place

    @property
    def reads_rows(self) -> bool:
        """Whether rows of rhs lie as a packed panel's do, one stride apart: few rows of lhs read them
        there.
        """
        return self.contract.rhs.strides[-2] == 1 and self.in_place and "rhs" not in self.walked

    # -- packing

    def packs(self, side: str, width: int, across: Int, along: Int) -> None:
        """Writes the function that packs an operand."""
        if side in self.walked:
            Tables(self.functions).pack(f"@pack_{side}_at", width)
        else:
            Panels(self.functions).pack(f"@pack_{side}", width, across, along)

    def steps(self, code: Code, depth: str) -> str:
        """Rows of a packed panel of so many k."""
        return depth

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
        if self.reads_rows:
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
            if not self.packs_late:
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
                if not self.walks_lhs:
                    code.when(code.op(f"xor i1 {this.direct}, true"), lambda c: (
                        self._pack(c, "lhs", room, lhs, count, depth)))  # fmt: skip
                places = zip((lhs, li, lk), (room, "1", str(self.tile.mr)), ("ptr", "i64", "i64"))
                left = [
                    here
                    if self.walks_lhs
                    else code.op(f"select i1 {this.direct}, {kind} {here}, {kind} {packed}")
                    for here, packed, kind in places
                ]
                sums = self._sums(code, this, i)
                seen = code.op(f"icmp ne i64 {i}, {i0}") if self.packs_late else "true"
                self._rows(code, this, left, rhs, sums, count, steps, more, seen)
                if not self._is_plain():
                    code.when(last, lambda c: self._epilogue(c, this, sums, i, count))

            code.loop(i0, i1, self.step, rows)

        code.loop("0", extent, KC, block)

    def _rows(self, code: Code, this: Run, left, rhs, sums, count, depth, more, seen) -> None:
        """As _panels; a few rows read a large rhs in passes of some of its rows: panel by panel they
        would take 128 bytes of a row at a time, and memory open another page for each.
        """
        block = this, left, rhs, sums, count, depth, more
        if this.unpacked == "0" or not self.home or self.walks_lhs:
            self._panels(code, *block, seen)
            return
        rk, size = self.int(self.contract.rhs.strides[-1]), self.functions.size
        streams = "true"
        for test in (
            f"sle i64 {count}, {self.tile.mr}",
            f"eq i64 {this.unpacked}, {this.columns}",
            f"sge i64 {rk}, {FAR // size}",
        ):
            streams = code.op(f"and i1 {streams}, {code.op(f'icmp {test}')}")
        panels = code.op(f"xor i1 {streams}, true")
        code.when(streams, lambda c: self._passes(c, *block))
        code.when(panels, lambda c: self._panels(c, *block))

    def _passes(self, code: Code, this: Run, left, rhs, sums, count, depth, more) -> None:
        (a, sr, sk), (c0, ldc), part = left, sums, self.scratch("sums")
        rk = self.int(self.contract.rhs.strides[-1])

        def some(code: Code, p: str) -> None:
            steps = least(code, sub(code, depth, p), str(PASS))
            again = code.op(f"icmp ne i64 {p}, 0")
            lhs, row = self.at(code, a, mul(code, p, sk)), self.at(code, rhs, mul(code, p, rk))

            def panel(code: Code, j: str) -> None:
                b, c = self.at(code, row, j), self.at(code, part, j)
                wide = least(code, sub(code, this.columns, j), str(self.tile.nr))
                given = lhs, sr, sk, b, rk, steps, c, str(TILE_J), count, wide, again
                run(code, "@pass", MICRO, *given)

            code.loop("0", this.columns, self.tile.nr, panel)

        def add_row(code: Code, i: str) -> None:
            source = self.at(code, part, mul(code, i, str(TILE_J)))
            target = self.at(code, c0, mul(code, i, ldc))

            def lanes(code: Code, j: str, mask: str | None) -> None:
                x, y = (
                    self.ops.load(
                        code, self.contract.dtype, self.at(code, line, j), self.width, mask
                    )
                    for line in (source, target)
                )
                full = vector(self.functions.type, self.width)
                total = self.functions.added(code, y, x)
                total = code.op(f"select i1 {more}, {full} {total}, {full} {x}")
                to = self.at(code, target, j)
                self.ops.store(code, self.contract.dtype, total, to, self.width, mask)

            self._vectors(code, "0", this.columns, lanes)

        code.loop("0", depth, PASS, some)
        code.loop("0", count, 1, add_row)

    def _panels(
        self, code: Code, this: Run, lhs, rhs, sums, count, depth, more, seen="true"
    ) -> None:
        """The rows of lhs (address, step from row to row, step along k), `count` of them, against all
        columns of the run. seen: whether the rows before have had a walked rhs packed.
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
            edge = "@walked" if self.walks_lhs else "@edge"
            whole, half = (
                code.op(f"select i1 {narrow}, ptr {edge}_{r}_1, ptr {edge}_{r}_{nv}")
                for r in (mr, mr // 2)
            )

            def walked(code: Code, i: str) -> None:
                high = least(code, sub(code, count, i), str(mr))
                low = code.op(f"icmp sle i64 {high}, {mr // 2}")
                micro = code.op(f"select i1 {low}, ptr {half}, ptr {whole}")
                across, along = (self._offsets("lhs", axis) for axis in "ik")
                across = code.op(f"getelementptr i64, ptr {across}, i64 {i}")
                c = self.at(code, c0, add(code, mul(code, i, ldc), j))
                run(code, micro, WALKED, a0, across, along, b, ldb, depth, c, ldc, high, wide, more)

            if self.walks_lhs:
                code.loop("0", count, mr, walked)
                return
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

            first = "0"
            if self.packs_late:
                operands = a0, b, rhs, self.at(code, c0, j), ldc, depth, more
                rows = code.op(f"icmp sge i64 {count}, {mr}")
                fits = code.op(f"and i1 {rows}, {inner}")
                (first,) = code.either("i64", seen, ("0",), lambda c: (
                    self._first(c, j, wide, fits, *operands)))  # fmt: skip
            code.loop(first, count, mr, tile)

        code.loop("0", this.columns, self.tile.nr, panel)

    def _first(self, code: Code, j, wide, whole, a, b, rhs, c, ldc, depth, more) -> list[str]:
        """Packs one panel of rhs, if `whole` beside its product with the first panel of lhs. How many
        rows that makes.
        """
        across, along = (self._offsets("rhs", axis) for axis in "jk")
        across = code.op(f"getelementptr i64, ptr {across}, i64 {j}")
        tables = b, rhs, across, along
        alone = code.op(f"xor i1 {whole}, true")
        code.when(whole, lambda c_: (
            run(c_, "@first", FIRST, *tables, depth, a, c, ldc, more)))  # fmt: skip
        code.when(alone, lambda c_: run(c_, "@pack_rhs_at", PACK_AT, *tables, wide, depth))
        return [code.op(f"select i1 {whole}, i64 {self.tile.mr}, i64 0")]
