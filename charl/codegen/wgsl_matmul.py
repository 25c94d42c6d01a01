"""A Contract as WGSL: a workgroup makes one tile of the output, each invocation a block of it.

main      for k in steps: both tiles into workgroup memory as [k][row or column], zeros past the
          edges, while the next ones are fetched into registers; then outer products of vectors
slices    where few tiles have a long k, several invocations share a block: slice s of them takes
          every k with k % slices = s, and a tree adds the slices. Elsewhere a sum goes along k.
epilogue  a function of one sum and its indices, called for each that is inside

How many slices there are moves values, so it follows extents alone; the size of a tile moves none.
"""

from __future__ import annotations

from collections.abc import Sequence

from charl.codegen.wgsl_frame import Frame
from charl.codegen.wgsl_values import Features, Tiling
from charl.core.named import NamedTuple
from charl.schedule.kernel import Access, Axis, Contract, Int, P

BUSY = 1 << 16  # invocations that keep a GPU busy
TILES = 192  # and tiles, if each has a workgroup of its own
SMALL = 32  # rows and columns of a tile that is shared by slices
SLICE = 32  # least part of k that a slice takes
LONG = 2048  # k, from where on few tiles are made smaller, down to SMALLEST elements
FEW = 128
SMALLEST = 64
FETCHED = 4096  # elements of both tiles that a step with slices has
WORKGROUP = 256  # invocations of a tile with slices, at most
MOST_SLICES = 64
UNROLLED = 8
SHORT = 8  # instructions of an epilogue that is called once for each sum
PARTS = "xyzw"


class Cut(NamedTuple):
    """How a product is cut. rows, columns: most that a tile has; slices: of k; quads: the operands
    that are fetched as aligned vectors.
    """

    rows: int = 128
    columns: int = 128
    slices: int = 1
    quads: frozenset[int] = frozenset()


def cut(kernel: Contract, params: Sequence[int]) -> Cut:
    """What suits these launch parameters."""

    def number(value: Int) -> int:
        return params[value.k] if isinstance(value, P) else value

    m, n, depth = (number(axis.extent) for axis in (kernel.i, kernel.j, kernel.k))
    batch = 1
    for axis in kernel.outer:
        batch *= number(axis.extent)
    rows, columns = (min(SMALL, max(4, 1 << (x - 1).bit_length())) for x in (m, n))
    tiles = batch * -(-m // rows) * -(-n // columns)
    while tiles < FEW and depth >= LONG and rows * columns > SMALLEST:
        rows, columns = (rows // 2, columns) if rows > columns else (rows, columns // 2)
        tiles = batch * -(-m // rows) * -(-n // columns)
    block, slices = rows * columns // 16, 1
    while (
        tiles * block * slices < BUSY
        and depth >= 2 * slices * SLICE
        and slices < MOST_SLICES
        and 2 * slices * block <= WORKGROUP
    ):
        slices *= 2
    if slices == 1:
        rows, columns = (min(128, max(4, 1 << (x - 1).bit_length())) for x in (m, n))
        while rows * columns > SMALL**2 and batch * -(-m // rows) * -(-n // columns) < TILES:
            rows, columns = (rows // 2, columns) if rows > columns else (rows, columns // 2)
    return Cut(rows, columns, slices, _quads(kernel, number))


def _quads(kernel: Contract, number) -> frozenset[int]:
    """The operands of which neighbours along k, or along the other axis, are aligned vectors."""
    found: set[int] = set()
    other = {i.attr.arg for i in kernel.epilogue if i.op in ("load", "store")}
    other |= {i.attr[0].arg for i in kernel.epilogue if i.op == "gather"}
    walked = {digits.side for digits in kernel.digits}
    other |= {a.arg for s, a in (("lhs", kernel.lhs), ("rhs", kernel.rhs)) if s in walked}
    for access, side in ((kernel.lhs, -3), (kernel.rhs, -2)):
        along = _along(access, side)
        rest = [s for k, s in enumerate(access.strides) if k != along % len(access.strides)]
        whole = access.strides[along] == 1 and all(number(s) % 4 == 0 for s in rest)
        if along == -1:  # past its end there must be zeros
            whole = whole and number(kernel.k.extent) % 4 == 0
        (found if whole and number(access.offset) % 4 == 0 else other).add(access.arg)
    return frozenset(found - other)


def _along(access: Access, side: int) -> int:
    """The axis that neighbouring invocations fetch along: that whose stride is 1."""
    return -1 if access.strides[-1] == 1 and access.strides[side] != 1 else side


class Product(Frame):
    """Writes one Contract."""

    kernel: Contract

    def __init__(self, kernel: Contract, features: Features, tiling: Tiling, cut: Cut):
        super().__init__(kernel, features)
        self.type = self.values.register(kernel.dtype)
        self.quads = set(cut.quads)
        self.at_hand, self.read = False, dict[int, str]()  # parameter -> the line that reads it
        self._fit(features, tiling, cut)

    def _fit(self, features: Features, tiling: Tiling, cut: Cut) -> None:
        """Tile, blocks and step that the device takes."""
        nbytes, most = (8, 4) if self.kernel.dtype == "f64" else (4, tiling.each)
        invocations = 1 << (features.max_workgroup.bit_length() - 1)
        side = tiling.side
        while side > 4 and side * side > invocations:
            side //= 2
        self.slices = min(cut.slices, invocations)
        self.rows, self.columns = min(cut.rows, side * most), min(cut.columns, side * most)
        self.step = max(tiling.step, 4)
        if self.slices > 1:
            fetched = FETCHED // (self.rows + self.columns)
            self.step = max(tiling.step, 32, self.slices, 1 << (fetched.bit_length() - 1))
        while True:
            self.down = most if self.rows == side * most else 4
            self.right = most if self.columns == side * most else 4
            self.high, self.wide = self.rows // self.down, self.columns // self.right
            self.blocks = self.high * self.wide
            self.workgroup = self.blocks * self.slices
            cells = self.step * (self._pitch("lhs") + self._pitch("rhs"))
            cells += 4 * self.workgroup if self.slices > 1 else 0
            large = cells * nbytes > features.workgroup_memory
            if large and self.step > max(4, self.slices):
                self.step //= 2
            elif not large and self.workgroup <= invocations:
                break
            elif self.rows >= self.columns:
                self.rows //= 2
            else:
                self.columns //= 2

    def _pitch(self, name: str) -> int:
        """Elements from one k to the next in workgroup memory: more where they are written across."""
        size = self.rows if name == "lhs" else self.columns
        access, side = (self.kernel.lhs, -3) if name == "lhs" else (self.kernel.rhs, -2)
        return size + 4 if _along(access, side) == -1 else size

    # -- text --------------------------------------------------------------------------------------

    def int(self, value: Int) -> str:
        """In main a parameter is read once: in a loop with barriers it would be each time."""
        if not (self.at_hand and isinstance(value, P)):
            return super().int(value)
        self.read.setdefault(value.k, f"  let p{value.k} = {super().int(value)};")
        return f"p{value.k}"

    def text(self) -> str:
        epilogue = self._epilogue()
        self.lines, self.indent = [], 1
        self.at_hand = True
        self._indices()
        for r in range(self.down):
            for q in range(self.right // 4):
                self.put(f"var acc{r}_{q} = vec4<{self.type}>();")
        sides = (
            ("lhs", self.kernel.lhs, "i", self.kernel.i, self.rows),
            ("rhs", self.kernel.rhs, "j", self.kernel.j, self.columns),
        )
        for name, *_, size in sides:
            for t in range(self._turns(size)):
                self.put(f"var {name}_{t} = vec4<{self.type}>();")
        for side in sides:
            self._fetch(*side, "0u")
        self.open(f"for (var first = 0u; first < depth; first += {self.step}u)")
        for side in sides:
            self._place(*side)
        self.put("workgroupBarrier();")
        self.put(f"let next = first + {self.step}u;")
        self.open("if (next < depth)")
        for side in sides:
            self._fetch(*side, "next")
        self.close()
        self._multiply()
        self.put("workgroupBarrier();")
        self.close()
        self._store()
        kind = f"vec4<{self.type}>"
        cells = [
            f"var<workgroup> {name}: array<{kind}, {self.step * self._pitch(name) // 4}>;"
            for name in ("lhs", "rhs")
        ]
        if self.slices > 1:
            cells.append(f"var<workgroup> sums: array<{kind}, {self.workgroup}>;")
        head = [
            f"@compute @workgroup_size({self.workgroup})",
            "fn main(@builtin(workgroup_id) wid: vec3<u32>,",
            "        @builtin(num_workgroups) many: vec3<u32>,",
            "        @builtin(local_invocation_id) lid: vec3<u32>) {",
            "  let group = wid.y * many.x + wid.x;",
            "  if (group >= params[0]) { return; }",
            "  let at = lid.x;",
            *self.read.values(),
        ]
        self.at_hand = False
        return self.module([*cells, *epilogue, *head, *self.lines, "}"])

    def _indices(self) -> None:
        """Lines that find the tile of a workgroup, and an invocation's block and slice."""
        many = [self._tiles(self.kernel.i, self.rows), self._tiles(self.kernel.j, self.columns)]
        flat = "group"
        for name, count in (("tile_j", many[1]), ("tile_i", many[0])):
            self.put(f"let {name} = {flat} % ({count});")
            self.put(f"let after_{name} = {flat} / ({count});")
            flat = f"after_{name}"
        for k in range(len(self.kernel.outer) - 1, -1, -1):
            extent = self.int(self.kernel.outer[k].extent)
            self.put(f"let i{k} = {flat} % {extent};")
            self.put(f"let rest{k} = {flat} / {extent};")
            flat = f"rest{k}"
        self.outer = [f"i{k}" for k in range(len(self.kernel.outer))]
        self.put(f"let slice = at / {self.blocks}u;")
        self.put(f"let row = at % {self.blocks}u / {self.wide}u;")
        self.put(f"let column = at % {self.wide}u;")
        self.put(f"let depth = {self.int(self.kernel.k.extent)};")

    def _tiles(self, axis: Axis, size: int) -> str:
        return f"({self.int(axis.extent)} + {size - 1}u) / {size}u"

    def _turns(self, size: int) -> int:
        """Vectors of a tile that an invocation fetches."""
        return -(-size * self.step // (4 * self.workgroup))

    def _where(self, access: Access, letter: str, size: int, t: int) -> bool:
        """Lines for x and p, the place in a tile of vector t. Whether it lies along k."""
        across = _along(access, -3 if letter == "i" else -2) == -1
        per = (self.step if across else size) // 4
        one, other = ("p", "x") if across else ("x", "p")
        self.put(f"let e = at + {t * self.workgroup}u;")
        self.put(f"let {one} = e % {per}u * 4u;")
        self.put(f"let {other} = e / {per}u;")
        return across

    def _inside(self, size: int, t: int) -> str:
        """The condition on which an invocation has a vector t, or empty."""
        vectors = size * self.step // 4
        return f"e < {vectors}u" if vectors < (t + 1) * self.workgroup else ""

    def _fetch(
        self, name: str, access: Access, letter: str, axis: Axis, size: int, first: str
    ) -> None:
        """Lines that load an invocation's vectors of a tile, from k = first on."""
        batch = len(self.outer)
        side = access.strides[batch + (letter == "j")]
        strides = (*access.strides[:batch], side, access.strides[-1])
        source, extent = self.kernel.args[access.arg].dtype, self.int(axis.extent)
        for t in range(self._turns(size)):
            self.put("{")
            self.indent += 1
            across = self._where(access, letter, size, t)
            self.put(f"let {letter} = tile_{letter} * {size}u + x;")
            self.put(f"let k = {first} + p;")
            conditions = [self._inside(size, t), f"{letter} < {extent}", "k < depth"]
            self.put(f"{name}_{t} = vec4<{self.type}>();")
            self.open(f"if ({' && '.join(c for c in conditions if c)})")
            at = self._at(name, access, strides, letter, "k")
            if access.arg in self.quads:
                texts = self.load4(access.arg, f"({at}) >> 2u", "q")
                parts = [self.values.cast(x, source, self.kernel.dtype) for x in texts]
                self.put(f"{name}_{t} = vec4<{self.type}>({', '.join(parts)});")
            else:
                self._fetch_each(name, t, access, letter, strides, extent, across)
            self.close()
            self.close()

    def _fetch_each(
        self,
        name: str,
        t: int,
        access: Access,
        letter: str,
        strides: tuple,
        extent: str,
        across: bool,
    ) -> None:
        """Lines that load four neighbours one by one."""
        source = self.kernel.args[access.arg].dtype
        for c, part in enumerate(PARTS):
            k = f"(k + {c}u)" if across and c else "k"
            x = letter if across or not c else f"({letter} + {c}u)"
            place = self._at(name, access, strides, x, k)
            text = self.values.cast(self.load(access.arg, place), source, self.kernel.dtype)
            bound = f"{k} < depth" if across else f"{x} < {extent}"
            line = f"{name}_{t}.{part} = {text};"
            self.put(f"if ({bound}) {{ {line} }}" if c else line)

    def _at(self, name: str, access: Access, strides: tuple, x: str, k: str) -> str:
        """Where an operand has row or column x at k."""
        text = self.affine(access.offset, strides, [*self.outer, x, k])
        for axis, number in (("i" if name == "lhs" else "j", x), ("k", k)):
            parts = self.kernel.walked(name, axis)
            for d, (extent, stride) in reversed(list(enumerate(parts))):
                digit = f"{number} % {self.int(extent)}" if d else number
                text += f" + {self.int(stride)} * ({digit})"
                number = f"({number} / {self.int(extent)})"
        return text

    def _place(self, name: str, access: Access, letter: str, axis: Axis, size: int) -> None:
        """Lines that store an invocation's vectors into the tile."""
        pitch = self._pitch(name)
        for t in range(self._turns(size)):
            self.put("{")
            self.indent += 1
            across = self._where(access, letter, size, t)
            inside = self._inside(size, t)
            if inside:
                self.open(f"if ({inside})")
            if across:
                self.put(f"let to = p * {pitch}u + x;")
                for c, part in enumerate(PARTS):
                    row = f"(to >> 2u) + {c * pitch // 4}u"
                    self.put(f"{name}[{row}][to & 3u] = {name}_{t}.{part};")
            else:
                self.put(f"{name}[(p * {pitch}u + x) >> 2u] = {name}_{t};")
            if inside:
                self.close()
            self.close()

    def _multiply(self) -> None:
        """Lines that add the outer products of this step."""
        copies = min(UNROLLED, self.step) if self.slices == 1 else 1
        start, step = ("slice", self.slices) if self.slices > 1 else ("0u", copies)
        self.open(f"for (var p = {start}; p < {self.step}u; p += {step}u)")
        for u in range(copies):
            left, right = (f"(p + {u}u) * {self._pitch(name) // 4}u" for name in ("lhs", "rhs"))
            for q in range(self.down // 4):
                self.put(f"let l{u}_{q} = lhs[{left} + row * {self.down // 4}u + {q}u];")
            for q in range(self.right // 4):
                self.put(f"let r{u}_{q} = rhs[{right} + column + {q * self.wide}u];")
            for r in range(self.down):
                left = f"vec4<{self.type}>(l{u}_{r // 4}.{PARTS[r % 4]})"
                for q in range(self.right // 4):
                    self.put(f"acc{r}_{q} = fma({left}, r{u}_{q}, acc{r}_{q});")
        self.close()

    def _store(self) -> None:
        """Lines that add the slices, s taking s + h for h = slices / 2, ..., 2, 1, and call the
        epilogue: in a loop, where it is long or slices meet.
        """
        per = self.right // 4
        names = [f"acc{r}_{q}" for r in range(self.down) for q in range(per)]
        if self.slices == 1 and len(self.kernel.epilogue) <= SHORT:
            for e, name in enumerate(names):
                self._finish(f"{name}", f"{e // per}u", f"{e % per * self.wide}u")
            return
        kind = f"array<vec4<{self.type}>, {len(names)}>"
        self.put(f"var made = {kind}({', '.join(names)});")
        self.open(f"for (var e = 0u; e < {len(names)}u; e += 1u)")
        if self.slices > 1:
            self.put("sums[at] = made[e];")
            self.put("workgroupBarrier();")
            self.open(f"for (var h = {self.slices // 2}u; h > 0u; h >>= 1u)")
            both = f"sums[at] + sums[at + h * {self.blocks}u]"
            self.put(f"if (slice < h) {{ sums[at] = {both}; }}")
            self.put("workgroupBarrier();")
            self.close()
            self.open("if (slice == 0u)")
        sums = "sums[at]" if self.slices > 1 else "made[e]"
        self._finish(sums, f"e / {per}u", f"e % {per}u * {self.wide}u")
        if self.slices > 1:
            self.close()
        self.close()

    def _finish(self, sums: str, row: str, column: str) -> None:
        """Lines that call the epilogue for the four sums at this place of a block."""
        self.put("{")
        self.indent += 1
        self.put(f"let sum = {sums};")
        self.put(f"let i = tile_i * {self.rows}u + row * {self.down}u + {row};")
        self.put(f"let j = tile_j * {self.columns}u + ({column} + column) * 4u;")
        batch = "".join(f"{name}, " for name in self.outer)
        for c, part in enumerate(PARTS):
            self.put(f"epilogue(sum.{part}, {batch}i, j + {c}u);")
        self.close()

    def _epilogue(self) -> list[str]:
        self.lines, self.indent = [], 1
        outer = [f"i{k}" for k in range(len(self.kernel.outer))]
        self.outer = [*outer, "i", "j"]
        inside = [
            f"{x} < {self.int(a.extent)}" for x, a in zip("ij", (self.kernel.i, self.kernel.j))
        ]
        self.put(f"if (!({' && '.join(inside)})) {{ return; }}")
        for number, instr in enumerate(self.kernel.epilogue):
            if instr.op == "acc":
                self.known[number] = "acc"
            else:
                self.instruction(number, instr)
        takes = "".join(f", {name}: u32" for name in self.outer)
        return [f"fn epilogue(acc: {self.type}{takes}) {{", *self.lines, "}"]

    def launch(self):
        kernel = self.kernel
        batch = tuple(axis.extent for axis in kernel.outer)
        grid = ((batch, 1), ((kernel.i.extent,), self.rows), ((kernel.j.extent,), self.columns))
        return tuple(self.names()), self.workgroup, 1, grid
