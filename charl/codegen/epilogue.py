"""What a matrix product has beside its loops: scratch, the place of its sums, and the epilogue.

The sums lie in the output itself where the epilogue has a store of the product's dtype, contiguous
along j, into a buffer that nothing else reads or writes; in scratch otherwise.
"""

from __future__ import annotations

from charl.codegen.body import Body, Operand, Region
from charl.codegen.host import Host
from charl.codegen.micro import Functions, add, mul, repeat, sub, tile_of
from charl.codegen.packing import OVERRUN
from charl.codegen.text import Code, iota, vector
from charl.core.named import NamedTuple
from charl.schedule.kernel import KC, PACK_I, TILE_J, Access, Contract, Kernel, Stage

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


class Product(Body):
    """A Contract while it is written. As a Body it is the epilogue: a kernel of rows (outer, i) along
    j.
    """

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
        # rows that are packed at once: half as many of 8 bytes, which leave the rest of a 1 MiB cache to rhs
        self.step = PACK_I * 4 // max(self.functions.size, 4) // self.tile.mr * self.tile.mr

    def scratch(self, name: str) -> str:
        def place() -> str:
            return self.at(self.entry, self.once("scratch", load), str(TILE[name]))

        def load() -> str:
            return self.entry.op(f"load ptr, ptr {self.entry.op(self.launch('scratch'))}")

        return self.once(("scratch", name), place)

    def reach(self, code: Code, base: str, index: str) -> str:
        """The address of an operand's element."""
        return self.at(code, base, index)

    def _place(self, code: Code, access: Access, outer: list[str]) -> str:
        """The address of an access at i = j = k = 0."""
        index = self.affine(code, access.offset, access.strides, outer)
        at = self.at if access is self.home else self.reach
        return at(code, self.buffer(access.arg), index)

    def _sums(self, code: Code, this: Run, row: str) -> tuple[str, str]:
        """Where the sums of a row lie, from column j0 on, and the way to the next row's."""
        if self.home is None or this.home is None:
            return self.scratch("sums"), str(TILE_J)
        stride = self.int(self.home.strides[-2])
        return self.at(code, this.home, mul(code, row, stride)), stride

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
