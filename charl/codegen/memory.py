"""Loads and stores of LLVM values of one width, aligned to elements, masked past an end.

Masked accesses are intrinsics where the host has them as instructions, and calls of a small lane by
lane function elsewhere, so that the code of a tail stays short.
"""

from __future__ import annotations

from charl.codegen.text import MEMORY, Code, iota, suffix, vector
from charl.codegen.vector import Arithmetic
from charl.core.dtypes import BY_SHORT

LINE = 64  # bytes: of memory that is written at once
NEAR = (2, 3, 4)  # strides of which whole vectors are read, by loads and shuffles


class Memory(Arithmetic):
    """Arithmetic, and memory. `mask` is a vector of i1, or None for all lanes."""

    def load_one(self, code: Code, dtype: str, pointer: str) -> str:
        """A scalar."""
        size = BY_SHORT[dtype].itemsize
        return self._from_memory(
            code, dtype, code.op(f"load {MEMORY[dtype]}, ptr {pointer}, align {size}"), 1
        )

    def load(self, code: Code, dtype: str, pointer: str, width: int, mask: str | None) -> str:
        """`width` consecutive elements; masked lanes read nothing and give 0."""
        return self._from_memory(
            code, dtype, self.load_raw(code, dtype, pointer, width, mask), width
        )

    def load_raw(self, code: Code, dtype: str, pointer: str, width: int, mask: str | None) -> str:
        """As load, but as it is in memory."""
        element, size = MEMORY[dtype], BY_SHORT[dtype].itemsize
        full = vector(element, width)
        if mask is None:
            return code.op(f"load {full}, ptr {pointer}, align {size}")
        if self.host.native_mask(size):
            return code.call(
                f"llvm.masked.load.{suffix(element, width)}.p0",
                full,
                ("ptr", pointer),
                ("i32", str(size)),
                (vector("i1", width), mask),
                (full, "zeroinitializer"),
            )
        return self._gather_lanes(code, dtype, pointer, iota(width), width, mask)

    def gather(
        self, code: Code, dtype: str, pointer: str, offsets: str, width: int, mask: str | None
    ) -> str:
        """Elements at pointer + offsets (i64 elements); masked lanes read nothing and give 0."""
        value = self._gathered(code, dtype, pointer, offsets, width, mask)
        return self._from_memory(code, dtype, value, width)

    def _gathered(self, code, dtype, pointer, offsets, width, mask):
        element, size = MEMORY[dtype], BY_SHORT[dtype].itemsize
        full, lanes = vector(element, width), vector("i1", width)
        if mask is None or self.host.native_gather(size):
            where = code.op(
                f"getelementptr {element}, ptr {pointer}, {vector('i64', width)} {offsets}"
            )
            return code.call(
                f"llvm.masked.gather.{suffix(element, width)}.v{width}p0",
                full,
                (vector("ptr", width), where),
                ("i32", str(size)),
                (lanes, mask or "splat (i1 true)"),
                (full, "zeroinitializer"),
            )
        return self._gather_lanes(code, dtype, pointer, offsets, width, mask)

    def apart(
        self,
        code: Code,
        dtype: str,
        pointer: str,
        stride: str,
        offsets: str,
        width: int,
        mask: str | None,
    ) -> str:
        """Elements `stride` apart (an i64). Where that is one of NEAR, whole vectors are read and
        shuffled: a gather takes three times as long. So does one of masked lanes, where masks are
        registers.
        """
        if mask is not None and (self.quick or not self.host.has("avx512bw")):
            return self.gather(code, dtype, pointer, offsets, width, mask)
        full = vector(MEMORY[dtype], width)
        done, ways = code.module.name("read"), []
        for near in NEAR:
            then, other = code.module.name("near"), code.module.name("far")
            code.branch(code.op(f"icmp eq i64 {stride}, {near}"), then, other)
            code.begin(then)
            ways.append((self._near(code, dtype, pointer, near, width, mask), code.label))
            code.do(f"br label %{done}")
            code.begin(other)
        ways.append((self._gathered(code, dtype, pointer, offsets, width, mask), code.label))
        code.do(f"br label %{done}")
        code.begin(done)
        value = code.op(f"phi {full} " + ", ".join(f"[{v}, %{label}]" for v, label in ways))
        return self._from_memory(code, dtype, value, width)

    def _near(
        self, code: Code, dtype: str, pointer: str, stride: int, width: int, mask: str | None
    ) -> str:
        """Elements 2, 3, ... apart, as many as a register has at a time. A group's last vector ends
        with the last element wanted: what lies behind it may be nobody's.
        """
        element, size = MEMORY[dtype], BY_SHORT[dtype].itemsize
        lanes = min(width, self.host.vector_bytes // size)
        part = vector(element, lanes)
        groups = []
        for first in range(0, width * stride, lanes * stride):
            place: dict[int, int] = {}  # of the lanes that are read: where they are
            made = "poison"
            last = stride * (lanes - 1) + 1 - lanes
            for start in sorted({min(k * lanes, last) for k in range(stride)}):
                at = self.shift(code, dtype, pointer, str(first + start))
                some = mask and self._spread_mask(code, mask, stride, first + start, width, lanes)
                value = self.load_raw(code, dtype, at, lanes, some)
                inside = {n: n * stride - start for n in range(lanes) if n not in place}
                inside = {n: lanes + at for n, at in inside.items() if at < lanes}
                order = {**dict.fromkeys(range(lanes), 0), **place, **inside}
                made = code.shuffle(part, made, value, order.values())
                place = {n: n for n in (*place, *inside)}
            groups.append(made)
        return code.joined(element, lanes, groups)

    def _spread_mask(self, code, mask: str, stride: int, start: int, width: int, lanes: int) -> str:
        """The mask of `lanes` neighbours from `start` on, where lane n of `mask` is n * stride."""
        places = range(start, start + lanes)
        order = [place // stride if place % stride == 0 else width for place in places]
        return code.shuffle(vector("i1", width), mask, "zeroinitializer", order)

    def shift(self, code: Code, dtype: str, pointer: str, elements: str) -> str:
        """The address so many elements on."""
        if elements == "0":
            return pointer
        return code.op(f"getelementptr {MEMORY[dtype]}, ptr {pointer}, i64 {elements}")

    def store_one(self, code: Code, dtype: str, value: str, pointer: str) -> None:
        """A scalar."""
        value = self._to_memory(code, dtype, value, 1)
        code.do(f"store {MEMORY[dtype]} {value}, ptr {pointer}, align {BY_SHORT[dtype].itemsize}")

    def stream(self, code: Code, dtype: str, value: str, pointer: str, width: int) -> None:
        """`width` consecutive elements past the caches. pointer: at a multiple of LINE bytes."""
        full = vector(MEMORY[dtype], width)
        value = self._to_memory(code, dtype, value, width)
        align = min(LINE, width * BY_SHORT[dtype].itemsize)
        code.module.metadata["!0"] = "!{i32 1}"
        code.do(f"store {full} {value}, ptr {pointer}, align {align}, !nontemporal !0")

    def store(
        self, code: Code, dtype: str, value: str, pointer: str, width: int, mask: str | None
    ) -> None:
        """`width` consecutive elements, but those that are masked."""
        element, size = MEMORY[dtype], BY_SHORT[dtype].itemsize
        full = vector(element, width)
        value = self._to_memory(code, dtype, value, width)
        if mask is None:
            code.do(f"store {full} {value}, ptr {pointer}, align {size}")
        elif self.host.native_mask(size):
            code.call(
                f"llvm.masked.store.{suffix(element, width)}.p0",
                "void",
                (full, value),
                ("ptr", pointer),
                ("i32", str(size)),
                (vector("i1", width), mask),
            )
        else:
            self._scatter_lanes(code, dtype, value, pointer, iota(width), width, mask)

    def scatter(
        self,
        code: Code,
        dtype: str,
        value: str,
        pointer: str,
        offsets: str,
        width: int,
        mask: str | None,
    ) -> None:
        """To pointer + offsets (i64, in elements), in the order of the lanes."""
        element, size = MEMORY[dtype], BY_SHORT[dtype].itemsize
        value = self._to_memory(code, dtype, value, width)
        if mask is None or self.host.native_gather(size):
            where = code.op(
                f"getelementptr {element}, ptr {pointer}, {vector('i64', width)} {offsets}"
            )
            code.call(
                f"llvm.masked.scatter.{suffix(element, width)}.v{width}p0",
                "void",
                (vector(element, width), value),
                (vector("ptr", width), where),
                ("i32", str(size)),
                (vector("i1", width), mask or "splat (i1 true)"),
            )
        else:
            self._scatter_lanes(code, dtype, value, pointer, offsets, width, mask)

    def _from_memory(self, code, dtype, value, width):
        if dtype != "b1":
            return value
        return code.op(
            f"icmp ne {vector('i8', width)} {value}, {'zeroinitializer' if width > 1 else 0}"
        )

    def _to_memory(self, code, dtype, value, width):
        if dtype != "b1":
            return value
        return code.op(f"zext {vector('i1', width)} {value} to {vector('i8', width)}")

    def _gather_lanes(self, code, dtype, pointer, offsets, width, mask):
        element = MEMORY[dtype]
        name, full = f"@gather_{element}_{width}", f"<{width} x {element}>"
        code.module.helpers[name] = _LANES.format(
            head=f"{full} {name}(ptr %p, <{width} x i64> %offsets, i{width} %mask)",
            element=element,
            width=width,
            size=BY_SHORT[dtype].itemsize,
            first=f"%lanes = alloca {full}\n  store {full} zeroinitializer, ptr %lanes",
            source="%memory",
            target="%lane",
            attributes=self.attributes,
            last=f"%out = load {full}, ptr %lanes\n  ret {full} %out",
        )
        bits = self.bits(code, mask, width)
        where = f"ptr {pointer}, <{width} x i64> {offsets}, i{width} {bits}"
        return code.op(f"call {full} {name}({where})")

    def _scatter_lanes(self, code, dtype, value, pointer, offsets, width, mask):
        element = MEMORY[dtype]
        name, full = f"@scatter_{element}_{width}", f"<{width} x {element}>"
        code.module.helpers[name] = _LANES.format(
            head=f"void {name}(ptr %p, <{width} x i64> %offsets, i{width} %mask, {full} %value)",
            element=element,
            width=width,
            size=BY_SHORT[dtype].itemsize,
            first=f"%lanes = alloca {full}\n  store {full} %value, ptr %lanes",
            source="%lane",
            target="%memory",
            attributes=self.attributes,
            last="ret void",
        )
        bits = self.bits(code, mask, width)
        where = f"ptr {pointer}, <{width} x i64> {offsets}, i{width} {bits}"
        code.do(f"call void {name}({where}, {full} {value})")


# Moves an element between %lanes and memory for each lane of the mask.
_LANES = """define internal {head} noinline {attributes} {{
entry:
  %table = alloca <{width} x i64>
  store <{width} x i64> %offsets, ptr %table
  {first}
  br label %loop
loop:
  %k = phi i64 [0, %entry], [%next, %step]
  %bit = trunc i64 %k to i{width}
  %shifted = lshr i{width} %mask, %bit
  %on = trunc i{width} %shifted to i1
  br i1 %on, label %move, label %step
move:
  %at = getelementptr i64, ptr %table, i64 %k
  %offset = load i64, ptr %at
  %memory = getelementptr {element}, ptr %p, i64 %offset
  %lane = getelementptr {element}, ptr %lanes, i64 %k
  %x = load {element}, ptr {source}, align {size}
  store {element} %x, ptr {target}, align {size}
  br label %step
step:
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, {width}
  br i1 %more, label %loop, label %done
done:
  {last}
}}"""
