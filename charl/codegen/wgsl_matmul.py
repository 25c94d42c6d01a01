"""A Contract as WGSL: a workgroup makes one tile of the output, each invocation 4 x 4 of it.

main      for k in steps of Tiling.step: both tiles into workgroup memory, zeros past the edges;
          each invocation adds as many outer products of 4 x 4
epilogue  a function of one sum and its indices, called for each that is inside
"""

from __future__ import annotations

from charl.codegen.wgsl_frame import Frame
from charl.codegen.wgsl_values import Features, Tiling
from charl.schedule.kernel import Access, Contract

EACH = 4  # rows and columns of an invocation
LEAST = 4  # invocations along each side of a tile that every device takes


class Product(Frame):
    """Writes one Contract."""

    kernel: Contract

    def __init__(self, kernel: Contract, features: Features, tiling: Tiling):
        super().__init__(kernel, features)
        self.type = self.values.register(kernel.dtype)
        nbytes = 8 if kernel.dtype == "f64" else 4
        self.side, self.step = tiling.side, tiling.step
        while self.side > LEAST and (
            self.side**2 > features.max_workgroup
            or 2 * self.step * self.side * EACH * nbytes > features.workgroup_memory
        ):
            self.side //= 2
        self.tile = self.side * EACH

    def text(self) -> str:
        epilogue, tile = self._epilogue(), self.tile
        self.lines, self.indent = [], 1
        many = [self._tiles(self.kernel.i), self._tiles(self.kernel.j)]
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
        self.put(f"let row = lane / {self.side}u;")
        self.put(f"let column = lane % {self.side}u;")
        self.put(f"let depth = {self.int(self.kernel.k.extent)};")
        for r in range(EACH):
            self.put(f"var acc{r} = vec4<{self.type}>();")
        self.open(f"for (var first = 0u; first < depth; first += {self.step}u)")
        self._fill("lhs", self.kernel.lhs, "i", self.kernel.i)
        self._fill("rhs", self.kernel.rhs, "j", self.kernel.j)
        self.put("workgroupBarrier();")
        self.open(f"for (var p = 0u; p < {self.step}u; p += 1u)")
        for name, at in (("lhs", "row"), ("rhs", "column")):
            parts = ", ".join(f"{name}[p * {tile}u + {at} * {EACH}u + {c}u]" for c in range(EACH))
            self.put(f"let {name[0]} = vec4<{self.type}>({parts});")
        for r, part in enumerate("xyzw"):
            self.put(f"acc{r} = fma(vec4<{self.type}>(l.{part}), r, acc{r});")
        self.close()
        self.put("workgroupBarrier();")
        self.close()
        self.put(f"let i = tile_i * {tile}u + row * {EACH}u;")
        self.put(f"let j = tile_j * {tile}u + column * {EACH}u;")
        batch = "".join(f"{name}, " for name in self.outer)
        for r in range(EACH):
            for c, part in enumerate("xyzw"):
                self.put(f"epilogue(acc{r}.{part}, {batch}i + {r}u, j + {c}u);")
        cells = [
            f"var<workgroup> {name}: array<{self.type}, {self.step * tile}>;"
            for name in ("lhs", "rhs")
        ]
        head = [
            f"@compute @workgroup_size({self.side**2})",
            "fn main(@builtin(workgroup_id) wid: vec3<u32>,",
            "        @builtin(num_workgroups) many: vec3<u32>,",
            "        @builtin(local_invocation_id) lid: vec3<u32>) {",
            "  let group = wid.y * many.x + wid.x;",
            "  if (group >= params[0]) { return; }",
            "  let lane = lid.x;",
        ]
        return self.module([*cells, *epilogue, *head, *self.lines, "}"])

    def _tiles(self, axis) -> str:
        return f"({self.int(axis.extent)} + {self.tile - 1}u) / {self.tile}u"

    def _fill(self, name: str, access: Access, letter: str, axis) -> None:
        """Lines that load a tile; neighbouring invocations take the axis whose stride is 1."""
        batch = len(self.outer)
        side = access.strides[batch + (letter == "j")]
        count, size = self.side**2, self.tile * self.step
        self.open(f"for (var e = lane; e < {size}u; e += {count}u)")
        if side == 1 or access.strides[-1] != 1:
            self.put(f"let x = e % {self.tile}u;")
            self.put(f"let p = e / {self.tile}u;")
        else:
            self.put(f"let x = e / {self.step}u;")
            self.put(f"let p = e % {self.step}u;")
        self.put(f"let {letter} = tile_{letter} * {self.tile}u + x;")
        self.put("let k = first + p;")
        strides = (*access.strides[:batch], side, access.strides[-1])
        at = self.affine(access.offset, strides, [*self.outer, letter, "k"])
        dtype, zero = self.kernel.dtype, self.values.zero(self.kernel.dtype)
        loaded = self.load(access.arg, at)
        loaded = self.values.cast(loaded, self.kernel.args[access.arg].dtype, dtype)
        self.put(f"var loaded = {zero};")
        self.put(f"if ({letter} < {self.int(axis.extent)} && k < depth) {{ loaded = {loaded}; }}")
        self.put(f"{name}[p * {self.tile}u + x] = loaded;")
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
        grid = ((batch, 1), ((kernel.i.extent,), self.tile), ((kernel.j.extent,), self.tile))
        return tuple(self.names()), self.side**2, 1, grid
