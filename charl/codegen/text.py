"""Text of an LLVM module as it grows: types, literals, and straight pieces of a function.

In registers bool is i1, and f16 and bf16 are i16 bit patterns (casts are explicit, so no backend
has to know these types). In memory bool is a byte.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Sequence

from charl.core.dtypes import BY_SHORT

REGISTER = {
    "b1": "i1",
    "i8": "i8",
    "i16": "i16",
    "i32": "i32",
    "i64": "i64",
    "u8": "i8",
    "u16": "i16",
    "u32": "i32",
    "u64": "i64",
    "f16": "i16",
    "bf16": "i16",
    "f32": "float",
    "f64": "double",
}
MEMORY = {**REGISTER, "b1": "i8"}
_SUFFIX = {"float": "f32", "double": "f64", "ptr": "p0"}


def vector(element: str, width: int) -> str:
    """The vector type, or for width 1 the element itself."""
    return f"<{width} x {element}>" if width > 1 else element


def suffix(element: str, width: int) -> str:
    """An intrinsic's name for the type: v8f32, i64."""
    name = _SUFFIX.get(element, element)
    return f"v{width}{name}" if width > 1 else name


def half_bits(dtype: str, value: float) -> int:
    """The bit pattern of a Python float in f16 or bf16, rounded to nearest even."""
    if dtype == "f16":
        try:
            return struct.unpack("<H", struct.pack("<e", value))[0]
        except OverflowError:
            return 0xFC00 if value < 0 else 0x7C00
    if value != value:
        return 0x7FC0
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    try:
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        return 0xFF80 if value < 0 else 0x7F80
    nearest = struct.unpack("<f", struct.pack("<I", bits))[0]
    if abs(nearest) > abs(
        value
    ):  # to odd, so that the second rounding sees on which side the value lay
        bits = bits - 1 | 1
    elif abs(nearest) < abs(value):
        bits |= 1
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def literal(dtype: str, value) -> str:
    """A scalar constant of the dtype, as it stands in LLVM text."""
    if dtype == "b1":
        return "true" if value else "false"
    if dtype in ("f16", "bf16"):
        return str(half_bits(dtype, float(value)))
    if BY_SHORT[dtype].kind != "f":
        return str(int(value))
    value = float(value)
    if dtype == "f32":
        try:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            value = float("-inf") if value < 0 else float("inf")
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def splat(dtype: str, value, width: int) -> str:
    """A constant of all lanes."""
    text = literal(dtype, value)
    return text if width == 1 else f"splat ({REGISTER[dtype]} {text})"


def iota(width: int, element: str = "i64") -> str:
    """The constant 0, 1, 2, ..."""
    return f"<{', '.join(f'{element} {k}' for k in range(width))}>" if width > 1 else "0"


class Module:
    """What a module collects beside its kernel: declarations, constants, helper functions, fresh
    names.
    """

    def __init__(self):
        self.declared: dict[str, str] = {}
        self.constants: dict[tuple[str, str], str] = {}
        self.helpers: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        self.functions: dict[tuple, str] = {}  # by what they compute, and the width
        self._fresh = 0

    def name(self, stem: str = "") -> str:
        self._fresh += 1
        return f"{stem}{self._fresh}"

    def declare(self, name: str, result: str, *operands: str) -> str:
        self.declared[name] = f"declare {result} @{name}({', '.join(operands)})"
        return f"@{name}"

    def constant(self, kind: str, value: str) -> str:
        """The name of a private constant in memory."""
        return self.constants.setdefault((kind, value), f"@t{len(self.constants)}")

    def text(self, kernel: str) -> str:
        tables = [
            f"{name} = private unnamed_addr constant {kind} {value}"
            for (kind, value), name in self.constants.items()
        ]
        notes = [f"{name} = {value}" for name, value in self.metadata.items()]
        parts = (*tables, kernel, *self.helpers.values(), *self.declared.values(), *notes, "")
        return "\n".join(parts)


class Code:
    """Consecutive lines of one function. `label` is the block that the last of them lies in."""

    def __init__(self, module: Module, label: str):
        self.module, self.label = module, label
        self.lines: list[str] = []

    def op(self, text: str) -> str:
        """Appends an instruction with a result and returns the result's name."""
        name = self.module.name("%v")
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def begin(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def branch(self, condition: str, then: str, other: str) -> None:
        self.do(f"br i1 {condition}, label %{then}, label %{other}")

    def call(self, name: str, result: str, *operands: tuple[str, str]) -> str:
        """Calls a declared function (an intrinsic); operands are (type, text)."""
        callee = self.module.declare(name, result, *(kind for kind, _ in operands))
        text = f"call {result} {callee}({', '.join(f'{kind} {value}' for kind, value in operands)})"
        if result != "void":
            return self.op(text)
        self.do(text)
        return ""

    def shuffle(self, full: str, a: str, b: str, lanes: Collection[int]) -> str:
        """These lanes of the vectors a and b, of type `full`; b's are numbered after a's."""
        order = ", ".join(f"i32 {k}" for k in lanes)
        return self.op(f"shufflevector {full} {a}, {full} {b}, <{len(lanes)} x i32> <{order}>")

    def joined(self, element: str, lanes: int, parts: list[str]) -> str:
        """A power of two of vectors of `lanes` lanes, one after the other, as one."""
        while len(parts) > 1:
            part, lanes = vector(element, lanes), 2 * lanes
            parts = [
                self.shuffle(part, a, b, range(lanes)) for a, b in zip(parts[::2], parts[1::2])
            ]
        return parts[0]

    def loop(self, start: str, stop: str, step: int, body, plain: bool = False) -> None:
        """`body(code, i)` for i64 i = start, start + step, ... below stop. plain: addresses are left
        as they stand, a base and i.
        """
        module = self.module
        head, done, i = module.name("loop"), module.name("done"), module.name("%i")
        self.branch(self.op(f"icmp slt i64 {start}, {stop}"), head, done)
        inside = Code(module, head)
        # LLVM's strength reduction makes pointers ahead of the loop that a short row never earns
        at = inside.op(f'call i64 asm "", "=r,0"(i64 {i})') if plain else i
        body(inside, at)
        following = inside.op(f"add i64 {at}, {step}")
        inside.branch(inside.op(f"icmp slt i64 {following}, {stop}"), head, done)
        self.lines.append(f"{head}:")
        self.lines.append(
            f"  {i} = phi i64 [{start}, %{self.label}], [{following}, %{inside.label}]"
        )
        self.lines += inside.lines
        self.begin(done)

    def repeat(self, body) -> None:
        """`body(code)`, which returns whether to do it again."""
        head, done = self.module.name("loop"), self.module.name("done")
        self.do(f"br label %{head}")
        self.begin(head)
        self.branch(body(self), head, done)
        self.begin(done)

    def when(self, condition: str, body, rare: bool = False) -> None:
        """`body(code)` where the condition holds. rare: what lies around it gets the registers."""
        then, done = self.module.name("then"), self.module.name("done")
        self.branch(condition, then, done)
        if rare:
            self.module.metadata["!1"] = '!{!"branch_weights", i32 1, i32 4096}'
            self.lines[-1] += ", !prof !1"
        self.begin(then)
        body(self)
        self.do(f"br label %{done}")
        self.begin(done)

    def either(self, kind: str, condition: str, values: Sequence[str], body) -> list[str]:
        """`values` where the condition holds, else what `body(code)` gives; all of one type."""
        before, other, done = self.label, self.module.name("other"), self.module.name("done")
        self.branch(condition, done, other)
        self.begin(other)
        others, after = body(self), self.label
        self.do(f"br label %{done}")
        self.begin(done)
        pairs = zip(values, others, strict=True)
        return [self.op(f"phi {kind} [{a}, %{before}], [{b}, %{after}]") for a, b in pairs]


_INTRINSIC = re.compile(r"@(llvm\.[\w.]+)\(")


def intrinsic_of(text: str) -> str | None:
    """The intrinsic that a line calls."""
    found = _INTRINSIC.search(text)
    return found.group(1) if found else None
