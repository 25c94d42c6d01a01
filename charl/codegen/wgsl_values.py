"""Arithmetic in WGSL: literals, primitives, casts, folds, and table ops as functions of a module.

In registers bool is bool; i8, i16 and i32 are i32, u8, u16 and u32 are u32, always in their own
dtype's range; f16 and bf16 are u32 that hold their 16 bits; i64 and u64 are vec2<u32> (low, high)
where the device has no 64-bit integers.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence

from charl.codegen.text import half_bits
from charl.codegen.wgsl_library import closure
from charl.core.errors import BackendUnavailable
from charl.core.named import NamedTuple
from charl.ops.loops import KIND, WIDTH
from charl.ops.trace import HALVES, Expansion, expansion


class Features(NamedTuple):
    """What the adapter has and a shader may use. f64 counts only with i64."""

    f64: bool = False
    i64: bool = False
    f16: bool = False
    subgroup: bool = False
    max_workgroup: int = 256
    max_storage_buffers: int = 8
    workgroup_memory: int = 16384
    part: int = 1 << 27  # bytes of a buffer that one binding reaches, a power of two
    fused: bool = False  # fma() rounds once, which WGSL does not promise
    endless: bool = True  # loops go round as often as they are told to


class Tiling(NamedTuple):
    """Sizes that may be tuned: each is a power of two, and none of them moves a value. What a device
    does not take is cut to what it takes.

    elements   invocations of a workgroup of element-wise work
    vector     neighbouring elements that an invocation makes there: 1 or 4
    rows       least invocations of a workgroup that walks rows; short rows share one
    columns    invocations of a workgroup that walks columns
    side       invocations along each side of a product's tile
    each       rows, and columns, of the product that an invocation makes: 4 or 8
    step       depth of a product between two loads of its tiles
    """

    elements: int = 256
    vector: int = 4
    rows: int = 256
    columns: int = 256
    side: int = 16
    each: int = 8
    step: int = 8


class Unsupported(BackendUnavailable):
    """This device cannot run a kernel. `dtype` is a short name or "", `what` says what is missing."""

    def __init__(self, dtype: str, what: str):
        self.dtype, self.what = dtype, what
        super().__init__(f"gpu: {what}")


_FOLD = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum", "or": "or", "and": "and"}
_OF_BOOL = {"add": "or", "max": "or", "mul": "and", "min": "and"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_INFIX = {"add": "+", "sub": "-", "mul": "*", "idiv": "/", "irem": "%"} | {
    "and": "&", "or": "|", "xor": "^"}  # fmt: skip
_OVERFLOWS = ("add", "sub", "mul", "idiv", "shl")  # of 8 and 16 bits
_BOOL = {
    "and": "({0} && {1})", "or": "({0} || {1})", "xor": "({0} != {1})", "eq": "({0} == {1})",
    "ne": "({0} != {1})", "lt": "(!{0} && {1})", "le": "(!{0} || {1})", "gt": "({0} && !{1})",
    "ge": "({0} || !{1})"}  # fmt: skip
_FLOAT = {
    "add": "({0} + {1})", "sub": "({0} - {1})", "mul": "({0} * {1})", "neg": "(-{0})",
    "fma": "fma({0}, {1}, {2})", "fabs": "abs({0})", "rint": "round({0})", "floor": "floor({0})",
    "ceil": "ceil({0})", "trunc": "trunc({0})", "div": "div_{T}({0}, {1})",
    "frem": "frem_{T}({0}, {1})", "sqrt": "sqrt_{T}({0})", "copysign": "copysign_{T}({0}, {1})",
    "eq": "eq_{T}({0}, {1})", "ne": "ne_{T}({0}, {1})", "lt": "lt_{T}({0}, {1})",
    "le": "le_{T}({0}, {1})", "gt": "lt_{T}({1}, {0})", "ge": "le_{T}({1}, {0})"}  # fmt: skip
_PAIR = {
    "add": "add64({0}, {1})", "sub": "sub64({0}, {1})", "mul": "mul64({0}, {1})",
    "idiv": "idiv_{T}({0}, {1})", "irem": "irem_{T}({0}, {1})", "and": "({0} & {1})",
    "or": "({0} | {1})", "xor": "({0} ^ {1})", "shl": "shl64({0}, {1}.x)",
    "shr": "shr_{T}({0}, {1}.x)", "eq": "eq64({0}, {1})", "ne": "(!eq64({0}, {1}))",
    "lt": "lt_{T}({0}, {1})", "le": "(!lt_{T}({1}, {0}))", "gt": "lt_{T}({1}, {0})",
    "ge": "(!lt_{T}({0}, {1}))"}  # fmt: skip


_ZEROS = ("0.0f", "0.0lf")
_ROUNDS = ("add", "sub", "mul", "div", "fma", "sqrt")


def rounded_again(code: dict[int, tuple[str, tuple[int, ...]]]) -> set[int]:
    """The values of which a later instruction finds out how they were rounded: it takes one of them
    and, again, an operand of it, as in s = x + y, s - x. A compiler that sees s would simplify that.
    `code` is (op, args) of values by number; an fma looks at a rounding where it negates something.
    What these find is hidden too, and sums of sums beside them: NVIDIA's compiler makes (a + b) * c of
    a * c + b * c, and (x + y) - s of (x - s) + y.
    """

    def source(k: int) -> int:
        while k in code and code[k][0] == "neg":
            k = code[k][1][0]
        return k

    guarded = set()
    for op, args in code.values():
        if op not in ("add", "sub") and not (op == "fma" and negates(code, args)):
            continue
        operands = {source(a) for a in args}
        for a in operands:
            made, taken = code.get(a, ("", ()))
            if made in _ROUNDS and {source(x) for x in taken} & (operands - {a}):
                guarded.add(a)
    guarded |= {k for k, (op, args) in code.items() if op == "fma" and negates(code, args)}
    sums = {source(a) for op, args in code.values() if op in ("add", "sub") for a in args}
    return guarded | {a for a in sums if guarded and code.get(a, ("",))[0] in ("add", "sub")}


def scaled(code: dict[int, tuple[str, tuple[int, ...]]], constants: set[int]) -> set[int]:
    """Products with a factor that is chosen among constants: so that nothing overflows, which a
    factor taken out of a sum would not prevent.
    """

    def chosen(k: int) -> bool:
        op, args = code.get(k, ("", ()))
        return op == "select" and all(a in constants or chosen(a) for a in args[1:])

    return {k for k, (op, args) in code.items() if op == "mul" and any(map(chosen, args))}


def chained(code: dict[int, tuple[str, tuple[int, ...]]]) -> set[int]:
    """Sums and products that go into others: hidden, each is rounded by itself, as it is elsewhere."""
    taken = {a for op, args in code.values() if op in ("add", "sub", "mul", "neg") for a in args}
    return {k for k, (op, _) in code.items() if op in ("add", "sub", "mul") and k in taken}


def negates(code: dict[int, tuple[str, tuple[int, ...]]], args: tuple[int, ...]) -> bool:
    """Whether an operand is the negative of another value."""
    return any(code.get(a, ("",))[0] == "neg" for a in args)


class Values:
    """The arithmetic of one module. Collects the functions and tables that its texts call."""

    def __init__(self, features: Features):
        self.wide = features.i64
        self.f64 = features.f64 and features.i64
        self.fused = features.fused
        self.functions: dict[str, str] = {}
        self.names: dict[
            str, str
        ] = {}  # an Expansion's text (which tells 0.0 from -0.0) -> function
        self.tables: dict[tuple, str] = {}

    def register(self, dtype: str) -> str:
        """The WGSL type of a value. Raises Unsupported."""
        kind, width = KIND[dtype], WIDTH[dtype]
        if dtype == "b1":
            return "bool"
        if dtype == "f64" and not self.f64:
            raise Unsupported("f64", "float64 needs an adapter with shader-f64 and shader-int64")
        if width == 64 and kind != "f":
            return dtype if self.wide else "vec2<u32>"
        if dtype in HALVES:
            return "u32"
        return dtype if kind == "f" else f"{kind}32"

    def pair(self, dtype: str) -> bool:
        """Whether a value is a vec2<u32>."""
        return self.register(dtype) == "vec2<u32>"

    # -- literals ----------------------------------------------------------------------------------

    def literal(self, dtype: str, value) -> str:
        """A constant. Infinities, NaN, -0 and subnormals are no literals of WGSL: calls make them."""
        self.register(dtype)
        if dtype == "b1":
            return "true" if value else "false"
        if dtype in HALVES:
            return f"0x{half_bits(dtype, float(value)):x}u"
        if KIND[dtype] == "f":
            return self._float(dtype, float(value))
        value, width = int(value), WIDTH[dtype]
        if self.pair(dtype):
            bits = value & (2**64 - 1)
            return f"vec2<u32>({bits & 0xFFFFFFFF}u, {bits >> 32}u)"
        if KIND[dtype] == "u":
            return f"{value}{'lu' if width == 64 else 'u'}"
        end = "li" if width == 64 else "i"
        if value >= 0:
            return f"{value}{end}"
        if (value == -(2**31) and width == 32) or value == -(2**63):
            return f"({value + 1}{end} - 1{end})"
        return f"({value}{end})"

    def _float(self, dtype: str, value: float) -> str:
        if dtype == "f32":
            try:
                packed = struct.pack("<f", value)
            except OverflowError:
                packed = struct.pack("<f", math.copysign(math.inf, value))
            value = struct.unpack("<f", packed)[0]
            tiny = 2.0**-126
        else:
            packed, tiny = struct.pack("<d", value), 2.0**-1022
        zero = value == 0 and math.copysign(1, value) > 0
        if zero or (math.isfinite(value) and abs(value) >= tiny):
            text = f"{value!r}{'f' if dtype == 'f32' else 'lf'}"
            return text if value >= 0 else f"({text})"
        bits = int.from_bytes(packed, "little")
        if dtype == "f32":
            bits = 0x7FC00000 if value != value else bits
            return f"bits_f32(0x{bits:x}u)"
        return f"bits_f64(0x{bits:x}lu)"

    def zero(self, dtype: str) -> str:
        """What a load that reads nothing gives: all bits 0."""
        return self.literal(dtype, 0)

    def identity(self, kind: str, dtype: str) -> str:
        """What a reduction of this kind starts from."""
        if dtype == "b1":
            return "true" if _OF_BOOL.get(kind, kind) == "and" else "false"
        if KIND[dtype] == "f":
            real = {"add": -0.0, "dot": -0.0, "mul": 1.0, "max": -math.inf, "min": math.inf}
            return self.literal(dtype, real[kind])
        width, signed = WIDTH[dtype], KIND[dtype] == "i"
        least = -(1 << (width - 1)) if signed else 0
        whole = {"add": 0, "mul": 1, "or": 0, "max": least, "min": least + (1 << width) - 1}
        return self.literal(dtype, whole.get(kind, -1 if signed else (1 << width) - 1))

    # -- primitives --------------------------------------------------------------------------------

    def primitive(self, op: str, dtype: str, args: list[str]) -> str:
        """An expression; dtype is that of the operands (of the last ones, for select)."""
        kind = KIND[dtype]
        register = self.register(dtype)
        if op == "select":
            return f"select({args[2]}, {args[1]}, {args[0]})"
        if kind == "b":
            return _BOOL[op].format(*args)
        if kind == "f":
            if op == "sub" and args[0] == args[1]:  # no 0 where x is not finite
                args = [args[0], f"guard_{dtype}({args[1]})"]
            return _FLOAT[op].format(*args, T=dtype)
        if self.pair(dtype):
            return _PAIR[op].format(*args, T=dtype)
        if op in _COMPARE:
            return f"({args[0]} {_COMPARE[op]} {args[1]})"
        if op in ("shl", "shr"):
            number = re.fullmatch(r"(\d+)l?[iu]", args[1])
            by = f"{number[1]}u" if number else args[1] if register == "u32" else f"u32({args[1]})"
            text = f"({args[0]} {'<<' if op == 'shl' else '>>'} {by})"
        elif op == "irem" and kind == "i":
            text = f"{'native_' * (register == 'i64')}irem_{register}({', '.join(args)})"
        else:
            text = f"({args[0]} {_INFIX[op]} {args[1]})"
        return self._wrapped(text, dtype) if op in _OVERFLOWS else text

    def _wrapped(self, text: str, dtype: str) -> str:
        """A 32-bit text cut to the width of the dtype."""
        width = WIDTH[dtype]
        if width >= 32:
            return text
        if KIND[dtype] == "u":
            return f"({text} & 0x{(1 << width) - 1:x}u)"
        return f"(({text} << {32 - width}u) >> {32 - width}u)"

    def bitcast(self, x: str, source: str, target: str) -> str:
        a, b = self.register(source), self.register(target)
        if (a == b and (source in HALVES) == (target in HALVES)) or (
            WIDTH[source] == 64 and a == b
        ):
            return x
        if WIDTH[source] == 16:
            if a == b:
                return x
            return self._wrapped(f"bitcast<i32>({x})", "i16") if b == "i32" else (
                f"(bitcast<u32>({x}) & 0xffffu)")  # fmt: skip
        if WIDTH[source] == 8:
            return self._wrapped(f"bitcast<{b}>({x})", target)
        return f"bitcast<{b}>({x})"

    def cast(self, x: str, source: str, target: str) -> str:
        """x as another dtype: float to int saturates and NaN gives 0, ints wrap, floats round once."""
        if source == target:
            return x
        a, b = self.register(source), self.register(target)
        if source in HALVES:
            if target == "b1":
                return f"(({x} & 0x7fffu) != 0u)"
            return self.cast(f"f32_{source}({x})", "f32", target)
        if target in HALVES:
            return f"{target}_f32({self._single(x, source)})"
        if target == "b1":
            if KIND[source] == "f":
                return f"true_{source}({x})"
            zero = self.zero(source)
            return f"(!eq64({x}, {zero}))" if self.pair(source) else f"({x} != {zero})"
        if source == "b1":
            return f"select({self.literal(target, 0)}, {self.literal(target, 1)}, {x})"
        if KIND[source] == "f" and KIND[target] == "f":
            return f"{b}({x})"
        if KIND[source] == "f":
            return self._whole(x, source, target)
        if KIND[target] == "f":
            return f"single_{source}({x}, false)" if self.pair(source) else f"{b}({x})"
        if self.pair(source):
            if self.pair(target):
                return x
            low = f"{x}.x"
            return self._wrapped(f"bitcast<i32>({low})" if b == "i32" else low, target)
        if self.pair(target):
            return f"pair_{a}({x})"
        text = x if a == b else f"{b}({x})"
        if WIDTH[target] == 64 and WIDTH[source] < 64:  # widened by its own sign, and hidden:
            # Mesa 22.3 gets i64(x) < 0li wrong
            text = f"wide_{b}({b}({KIND[source]}64({x})))"
        fits = WIDTH[target] > WIDTH[source] and (
            KIND[source] == "u" or KIND[target] == "i"
        )  # fmt: skip
        return text if fits else self._wrapped(text, target)

    def _single(self, x: str, source: str) -> str:
        """x as an f32 that rounds to f16 or bf16 as x itself would: exact, or rounded to odd."""
        if source == "f32" or source == "b1" or (KIND[source] != "f" and WIDTH[source] <= 16):
            return self.cast(x, source, "f32")
        return f"single_{source}({x}, true)" if self.pair(source) else f"odd_{source}({x})"

    def _whole(self, x: str, source: str, target: str) -> str:
        """A float as an integer: saturated, and NaN as 0."""
        width, signed = WIDTH[target], KIND[target] == "i"
        least = -(1 << (width - 1)) if signed else 0
        most = least + (1 << width) - 1
        if width == 64 and source == "f32":
            return f"{'' if self.pair(target) else 'native_'}{target}_f32({x})"
        if source == "f64":  # by way of 64 bits, which hold all bounds
            wide = "i64" if signed else "u64"
            low = f"{self._float('f64', float(least))}, " if signed else ""
            less = f"{self.literal(wide, least)}, " if signed else ""
            high = self._float("f64", float(most) if width < 64 else float(most + 1))
            text = f"{wide}_f64({x}, {low}{high}, {less}{self.literal(wide, most)})"
            return text if width == 64 else f"{self.register(target)}({text})"
        high = self._float("f32", float(most) if width < 32 else float(most + 1))
        if not signed:
            return f"u32_f32({x}, {high}, {self.literal('u32', most)})"
        low = self._float("f32", float(least))
        return f"i32_f32({x}, {low}, {high}, {self.literal('i32', least)}, {self.literal('i32', most)})"

    # -- table ops ---------------------------------------------------------------------------------

    def apply(self, op: str, dtypes: tuple[str, ...], result: str, args: list[str]) -> str:
        """A table op as an expression: one primitive, or the call of a function."""
        body = expansion(op, dtypes, result, narrow=True)
        for dtype in body.dtypes:
            self.register(dtype)
        if not body.code:
            return args[body.result]
        if len(body.code) == 1 and body.code[0].op not in ("const", "lut", "rare", "fma"):
            prim = body.code[0]
            return self._prim(prim, [args[a] for a in prim.args], [dtypes[a] for a in prim.args])
        return f"{self.function(body)}({', '.join(self._apart(dtypes, args))})"

    def _apart(self, dtypes: Sequence[str], args: list[str]) -> list[str]:
        """Operands of which no two floats are seen to be one: x - x is not 0 for what is not finite."""
        hidden = []
        for k, (dtype, text) in enumerate(zip(dtypes, args)):
            if KIND[dtype] == "f" and text in args[:k]:
                text = f"({text} ^ params[1])" if dtype in HALVES else f"guard_{dtype}({text})"
            hidden.append(text)
        return hidden

    def fold(self, kind: str, dtype: str, total: str, args: list[str]) -> str:
        """total <- op(total, value), for a reduction or scan of this kind."""
        if kind == "dot":
            return self.primitive("fma", dtype, [*args, total])
        op = _OF_BOOL.get(kind, kind) if dtype == "b1" else kind
        return self.apply(_FOLD[op], (dtype, dtype), dtype, [total, *args])

    def function(self, body: Expansion) -> str:
        """The name of the function that computes an Expansion."""
        key = str(body) if not any(p.op == "rare" for p in body.code) else repr(body)
        if key in self.names:
            return self.names[key]
        name = "_".join(("op", body.op, *dict.fromkeys(body.args)))
        if name in self.functions:
            name = f"{name}_{len(self.functions)}"
        self.names[key] = name
        self.functions[name] = ""  # a place before those that it calls
        known = {k: f"v{k}" for k in range(len(body.args))}
        constants, dtypes, lines = set(), body.dtypes, []
        floats = {
            k: (prim.op, prim.args)
            for k, prim in enumerate(body.code, len(body.args))
            if KIND[prim.dtype] == "f"
        }
        literal = {
            k for k, prim in enumerate(body.code, len(body.args)) if prim.op in ("const", "scaled")
        }
        kept = rounded_again(floats) | scaled(floats, literal)
        for k, prim in enumerate(body.code, len(body.args)):
            if prim.op == "const":
                known[k] = self.literal(prim.dtype, prim.attr)
                constants.add(k)
                continue
            if prim.op == "scaled":
                known[k] = known[prim.args[0]]
                continue
            if prim.args and all(a in constants for a in prim.args):
                a = prim.args[
                    0
                ]  # an expression of literals alone would be worked out by the compiler
                lines.append(f"  let c{k} = {known[a]};")
                texts = [f"c{k}", *(known[a] for a in prim.args[1:])]
            else:
                texts = [known[a] for a in prim.args]
            if prim.op in _ROUNDS:  # x + 0 is not always x, nor x * 0 always 0
                texts = [
                    f"guard_{prim.dtype}({text})" if text in _ZEROS else text for text in texts
                ]
            of = [dtypes[a] for a in prim.args]
            if prim.op == "rare":
                lines.append(f"  var v{k} = {texts[1]};")
                slow = f"{self.function(prim.attr)}({', '.join(texts[2:])})"
                lines.append(f"  if ({texts[0]}) {{ v{k} = {slow}; }}")
            else:
                text = self._prim(prim, texts, of)
                if (
                    prim.op == "fma"
                    and not self.fused
                    and self._exact(body, prim, floats, constants)
                ):
                    text = f"fma_{prim.dtype}({', '.join(texts)})"
                if k in kept:
                    text = f"guard_{prim.dtype}({text})"
                lines.append(f"  let v{k} = {text};")
            known[k] = f"v{k}"
        takes = ", ".join(f"v{k}: {self.register(d)}" for k, d in enumerate(body.args))
        head = f"fn {name}({takes}) -> {self.register(body.dtype)} {{"
        self.functions[name] = "\n".join([head, *lines, f"  return {known[body.result]};", "}"])
        return name

    def _exact(self, body, prim, floats, constants) -> bool:
        """Whether an fma is to keep what its product loses: it may cancel, other than in a series."""
        args = prim.args
        scaled = not constants.isdisjoint(args[:2]) and args[2] not in constants
        return negates(floats, args) or scaled or body.op == "fma"

    def _prim(self, prim, args: list[str], dtypes: list[str]) -> str:
        if prim.op == "cast":
            return self.cast(args[0], dtypes[0], prim.dtype)
        if prim.op == "bitcast":
            return self.bitcast(args[0], dtypes[0], prim.dtype)
        if prim.op == "lut":
            table = self.tables.setdefault((prim.dtype, prim.attr), f"table{len(self.tables)}")
            return f"{table}[{args[0]}]"
        return self.primitive(prim.op, dtypes[-1], args)

    # -- text --------------------------------------------------------------------------------------

    def texts(self, main: list[str]) -> str:
        """The module: `main`, and all that it calls."""
        tables = []
        for (dtype, entries), name in self.tables.items():
            kind = f"array<{self.register(dtype)}, {len(entries)}>"
            items = ", ".join(self.literal(dtype, x) for x in entries)
            tables.append(f"var<private> {name}: {kind} = {kind}({items});")
        own = [*tables, *self.functions.values()]
        return "\n".join([*closure([*own, *main]), *own, *main, ""])
