"""Arithmetic on LLVM values of one width: primitives, expansions of table ops, casts, folds.

Operands and results are operand texts; a width of 1 means scalars. Every lane is computed, whether
or not it is used: nothing here traps or touches memory, but for constant tables.
"""

from __future__ import annotations

import functools

from charl.codegen import lookup
from charl.codegen.quotient import Whole, divided
from charl.codegen.text import (
    REGISTER,
    Code,
    Module,
    intrinsic_of,
    literal,
    splat,
    suffix,
    vector,
)
from charl.core.dtypes import BY_SHORT
from charl.core.errors import InternalError
from charl.core.named import NamedTuple
from charl.ops.primitive import PRIMITIVES
from charl.ops.trace import expansion

HALVES = ("f16", "bf16")
ARG, CONSTANT, FRESH, BEFORE = "\1", "\2", "\3", "\4"  # marks in a Template
LONG = 12  # primitives of an op that is worth a function where it is repeated
_IDENTITY = {
    "add": (-0.0, 0),
    "dot": (-0.0, 0),
    "mul": (1.0, 1),
    "max": (float("-inf"), None),
    "min": (float("inf"), None),
    "or": (0, 0),
    "and": (1, -1),
}
_FOLD = {
    "add": "add",
    "mul": "mul",
    "max": "maximum",
    "min": "minimum",
    "or": "or",
    "and": "and",
    "dot": "fma",
}
_OF_BOOL = {"add": "or", "max": "or", "mul": "and", "min": "and"}


def _used(body, scales: bool) -> set[int]:
    """Numbers of the values that the result needs."""
    used = {body.result}
    for number in range(len(body.args) + len(body.code) - 1, len(body.args) - 1, -1):
        if number in used:
            prim = body.code[number - len(body.args)]
            if prim.op == "scaled":
                used.update(prim.args[1:] if scales else prim.args[:1])
            else:
                used.update(prim.args)
    return used


class Blank(Module):
    """A module of one expansion's text, with marks for what depends on where it is filled in."""

    def name(self, stem: str = "") -> str:
        return f"{stem}{FRESH}.{super().name()}{';' if stem.startswith('@') else ''}"

    def constant(self, kind: str, value: str) -> str:
        return super().constant(kind, value).replace("@t", CONSTANT) + ";"


class Template(NamedTuple):
    """The text of an expansion, written once."""

    module: Blank
    code: Code
    result: str
    length: int  # primitives

    def fill(self, code: Code, args: list[str]) -> str:
        """Appends it to code and returns its result."""
        module, made = code.module, self.module
        module.declared.update(made.declared)
        places = [module.constant(*constant) for constant in made.constants]
        fresh, before = module.name(), code.label
        functions = {}

        def filled(text: str) -> str:
            for mark, names in ((ARG, args), (CONSTANT, places)):
                for k, name in enumerate(names):
                    text = text.replace(f"{mark}{k};", name)
            for inside, name in functions.items():
                text = text.replace(inside, name)
            return text.replace(BEFORE, before).replace(FRESH, fresh)

        for key, inside in made.functions.items():
            if key not in module.functions:
                functions[inside] = module.functions[key] = module.name("@apart")
                module.helpers[functions[inside]] = filled(made.helpers[inside])
            functions[inside] = module.functions[key]
        if self.code.lines:
            code.lines.append(filled("\n".join(self.code.lines)))
        code.label = filled(self.code.label)
        return filled(self.result)


@functools.lru_cache(4096)
def template_of(host, quick: bool, op: str, dtypes, result: str, width: int) -> Template:
    """A table op's text for operands of these dtypes."""
    code = Code(Blank(), BEFORE)
    args = [f"{ARG}{k};" for k in range(len(dtypes))]
    body = expansion(op, dtypes, result)
    value = Arithmetic(host, quick).splice(code, body, args, width)
    return Template(code.module, code, value, len(body.code))


class Arithmetic:
    """Emits for one host. Holds no state but the choice of instructions.

    quick: constant vectors are loaded. Instruction selection takes 30 us for each that it makes,
    ten times as long as for most instructions.
    """

    def __init__(self, host, quick: bool = False):
        self.host, self.quick = host, quick
        self.repeated: frozenset[str] = frozenset()  # ops that are compiled once, and called
        # functions that pass vectors to each other must agree on how wide a register is
        self.attributes = f'nounwind "prefer-vector-width"="{8 * host.vector_bytes}"'

    # -- table ops and primitives ------------------------------------------------------------------

    def apply(
        self, code: Code, op: str, dtypes: tuple[str, ...], result: str, args: list[str], width: int
    ) -> str:
        """A table op (or primitive) on operands of the given dtypes."""
        template = template_of(self.host, self.quick, op, dtypes, result, width)
        if op not in self.repeated or template.length < LONG:
            return template.fill(code, args)
        types = [vector(REGISTER[dtype], width) for dtype in dtypes]
        full = vector(REGISTER[result], width)
        return self.function(code, (op, dtypes, result, width), types, full, template.fill, args)

    def splice(self, code: Code, body, args: list[str], width: int) -> str:
        """The instructions of an Expansion, inline."""
        values, dtypes = list(args), list(body.args)
        scales = self.host.scales and width > 1
        used = _used(body, scales)
        for number, prim in enumerate(body.code, len(args)):
            dtypes.append(prim.dtype)
            if number not in used:
                values.append("")
                continue
            operands = [values[a] for a in prim.args]
            of = [dtypes[a] for a in prim.args]
            if prim.op == "scaled":
                values.append(self._scaled(code, *operands, of, width) if scales else operands[0])
            else:
                values.append(self._prim(code, prim, operands, of, width))
        return values[body.result]

    def _prim(self, code, prim, args, dtypes, width):
        if prim.op == "const":
            return self.constant(code, prim.dtype, literal(prim.dtype, prim.attr), width)
        if prim.op == "cast":
            return self.cast(code, args[0], dtypes[0], prim.dtype, width)
        if prim.op == "bitcast":
            return self._bitcast(code, args[0], dtypes[0], prim.dtype, width)
        if prim.op == "lut":
            return lookup.table(code, self.host, prim, args[0], width)
        if prim.op == "rare":
            return self._rare(code, prim, args, width)
        return self.primitive(code, prim.op, dtypes, args, width)

    def primitive(self, code: Code, op: str, dtypes, args: list[str], width: int) -> str:
        """A primitive that computes: not cast, bitcast."""
        row = PRIMITIVES.get(op)
        if row is None:
            raise InternalError(f"llvm: no primitive {op}")
        of = dtypes[1] if op == "select" else dtypes[0]
        kind = BY_SHORT[of].kind
        if kind not in row.llvm or (of in HALVES and op != "select"):
            raise InternalError(f"llvm: primitive {op} has no form for {of}")
        element = REGISTER[of]
        full = vector(element, width)
        if op in ("idiv", "irem") and width > 1:
            quotient = divided(code, Whole(BY_SHORT[of].itemsize, kind == "i", width), *args)
            if op == "idiv":
                return quotient
            return code.op(f"sub {full} {args[0]}, {code.op(f'mul {full} {quotient}, {args[1]}')}")
        text = row.llvm[kind].format(*args, T=full, B=vector("i1", width), S=suffix(element, width))
        called = intrinsic_of(text)
        if called:
            code.module.declare(called, full, *[full] * len(args))
        return code.op(text)

    def constant(self, code: Code, dtype: str, text: str, width: int) -> str:
        """All lanes the same literal."""
        if width == 1:
            return text
        element = REGISTER[dtype]
        value, full = f"splat ({element} {text})", vector(element, width)
        if not self.quick or dtype == "b1":
            return value
        return code.op(f"load {full}, ptr {code.module.constant(full, value)}")

    def _scaled(self, code, _, y, n, dtypes, width):
        """y * 2**n in one instruction and a conversion of n."""
        full, whole = vector(REGISTER[dtypes[1]], width), vector("i32", width)
        n = self.cast(code, n, dtypes[2], "u32", width)
        types = f"{suffix(REGISTER[dtypes[1]], width)}.{suffix('i32', width)}"
        return code.call(f"llvm.ldexp.{types}", full, (full, y), (whole, n))

    def _bitcast(self, code, x, source, target, width):
        a, b = vector(REGISTER[source], width), vector(REGISTER[target], width)
        return x if a == b else code.op(f"bitcast {a} {x} to {b}")

    def _rare(self, code, prim, args, width):
        condition, fast, *operands = args
        full = vector(REGISTER[prim.dtype], width)
        slow, done = code.module.name("slow"), code.module.name("done")
        before = code.label
        code.branch(self.any(code, condition, width), slow, done)
        code.begin(slow)
        value = self._apart(code, prim.attr, operands, condition, width)
        if width > 1:
            value = code.op(
                f"select {vector('i1', width)} {condition}, {full} {value}, {full} {fast}"
            )
        after = code.label
        code.do(f"br label %{done}")
        code.begin(done)
        return code.op(f"phi {full} [{fast}, %{before}], [{value}, %{after}]")

    def _apart(self, code, body, args, condition, width):
        """An Expansion as a cold function. It takes the lanes that want it one by one: instruction
        selection of what 64-bit products do in vectors takes LLVM longer than the rest of a kernel.
        """
        types = [vector(REGISTER[dtype], width) for dtype in body.args]
        full = vector(REGISTER[body.dtype], width)
        write = self.splice
        if width > 1:
            args, types = [*args, condition], [*types, vector("i1", width)]
            write = self._lane_by_lane

        def inside(code: Code, names: list[str]) -> str:
            return write(code, body, names, width)

        return self.function(code, (body, width), types, full, inside, args, "cold")

    def function(self, code, key, types, result, write, args, attribute="") -> str:
        """Calls the module's function of this key; `write(code, args)` writes it, once."""
        module = code.module
        name = module.functions.get(key)
        if name is None:
            name = module.functions[key] = module.name("@apart")
            inside = Code(module, "entry")
            names = [f"%a{k}" for k in range(len(args))]
            value = write(inside, names)
            heads = ", ".join(f"{kind} {text}" for kind, text in zip(types, names))
            head = f"define internal {result} {name}({heads}) noinline {attribute} "
            lines = [f"{head}{self.attributes} {{", "entry:", *inside.lines]
            module.helpers[name] = "\n".join([*lines, f"  ret {result} {value}", "}"])
        operands = ", ".join(f"{kind} {text}" for kind, text in zip(types, args))
        return code.op(f"call {result} {name}({operands})")

    def _lane_by_lane(self, code, body, args, width):
        """A vector of what an Expansion makes of each lane whose flag, the last of args, is set. The
        others are not its business: their look-ups would lie outside of tables.
        """
        element = REGISTER[body.dtype]
        full = vector(element, width)
        code.do("br label %lane")
        code.begin("lane")
        code.do("%k = phi i64 [0, %entry], [%following, %more]")
        code.do(f"%made = phi {full} [poison, %entry], [%all, %more]")
        flag = code.op(f"extractelement {vector('i1', width)} {args[-1]}, i64 %k")
        code.branch(flag, "wanted", "more")
        code.begin("wanted")
        scalars = [
            code.op(f"extractelement {vector(REGISTER[dtype], width)} {text}, i64 %k")
            for dtype, text in zip(body.args, args)
        ]
        value = self.splice(code, body, scalars, 1)
        code.do(f"%with = insertelement {full} %made, {element} {value}, i64 %k")
        last = code.label
        code.do("br label %more")
        code.begin("more")
        code.do(f"%all = phi {full} [%made, %lane], [%with, %{last}]")
        code.do("%following = add i64 %k, 1")
        code.branch(code.op(f"icmp ult i64 %following, {width}"), "lane", "done")
        code.begin("done")
        return "%all"

    def any(self, code: Code, mask: str, width: int) -> str:
        """i1: whether a lane of the mask is set."""
        if width == 1:
            return mask
        return code.op(f"icmp ne i{width} {self.bits(code, mask, width)}, 0")

    def bits(self, code: Code, mask: str, width: int) -> str:
        """The mask as one integer of `width` bits, lane 0 the lowest."""
        return code.op(f"bitcast <{width} x i1> {mask} to i{width}")

    # -- folds -------------------------------------------------------------------------------------

    def identity(self, kind: str, dtype: str, width: int) -> str:
        """What a reduction starts from."""
        info = BY_SHORT[dtype]
        real, whole = _IDENTITY[_OF_BOOL.get(kind, kind) if info.kind == "b" else kind]
        if info.kind == "f":
            return splat(dtype, real, width)
        if whole is None:
            bits = 8 * info.itemsize
            low, high = (
                (0, 2**bits - 1) if info.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            )
            whole = low if kind == "max" else high
        return splat(dtype, whole, width)

    def fold(
        self, code: Code, kind: str, dtype: str, total: str, args: list[str], width: int
    ) -> str:
        """total <- op(total, value), for a reduction or scan of this kind."""
        if kind == "dot":
            return self.primitive(code, "fma", (dtype,) * 3, [*args, total], width)
        op = _OF_BOOL.get(kind, kind) if dtype == "b1" else kind
        return self.apply(code, _FOLD[op], (dtype, dtype), dtype, [total, *args], width)

    # -- casts -------------------------------------------------------------------------------------

    def cast(self, code: Code, x: str, source: str, target: str, width: int) -> str:
        """x of dtype source as dtype target: floats to ints saturate (NaN gives 0), all else wraps
        or rounds once.
        """
        if source == target:
            return x
        a, b = BY_SHORT[source], BY_SHORT[target]
        if source in HALVES and target != "b1":
            wide = self._widen(code, x, source, width)
            return self.cast(code, wide, "f32", target, width)
        if target in HALVES:
            return self._narrow(code, self._single(code, x, source, width), target, width)
        full, to = vector(REGISTER[source], width), vector(REGISTER[target], width)
        if b.kind == "b":
            if source in HALVES:
                x = code.op(f"and {full} {x}, {splat('i16', 0x7FFF, width)}")
            if a.kind == "f" and source not in HALVES:
                return code.op(f"fcmp une {full} {x}, {splat(source, 0.0, width)}")
            return code.op(f"icmp ne {full} {x}, {'zeroinitializer' if width > 1 else 0}")
        if a.kind == "f" and b.kind == "f":
            return code.op(
                f"{'fpext' if b.itemsize > a.itemsize else 'fptrunc'} {full} {x} to {to}"
            )
        if a.kind == "f":
            types = f"{suffix(REGISTER[target], width)}.{suffix(REGISTER[source], width)}"
            sign = "u" if b.kind == "u" else "s"
            return code.call(f"llvm.fpto{sign}i.sat.{types}", to, (full, x))
        if b.kind == "f" and a.kind == "b":  # one instruction; a conversion of a mask takes three
            one, zero = (splat(target, number, width) for number in (1.0, 0.0))
            return code.op(f"select {full} {x}, {to} {one}, {to} {zero}")
        if b.kind == "f":
            return code.op(f"{'sitofp' if a.kind == 'i' else 'uitofp'} {full} {x} to {to}")
        if a.kind != "b" and b.itemsize == a.itemsize:
            return x
        grow = "sext" if a.kind == "i" else "zext"
        return code.op(
            f"{'trunc' if a.kind != 'b' and b.itemsize < a.itemsize else grow} {full} {x} to {to}"
        )

    def _single(self, code, x, source, width):
        """x as an f32 that rounds to f16 or bf16 as x itself would: exact, or rounded to odd."""
        info = BY_SHORT[source]
        if source == "f32" or info.kind == "b" or (info.kind in "iu" and info.itemsize <= 2):
            return self.cast(code, x, source, "f32", width)
        if info.itemsize == 8 and info.kind in "iu":
            x = self._sticky(code, x, source, width)
        if info.kind != "f":
            x = self.cast(code, x, source, "f64", width)
        double, whole, mask = vector("double", width), vector("i32", width), vector("i1", width)
        near = code.op(f"fptrunc {double} {x} to {vector('float', width)}")
        back = code.op(f"fpext {vector('float', width)} {near} to {double}")
        exact = code.op(f"fcmp ueq {double} {back}, {x}")
        magnitude = [self.primitive(code, "fabs", ("f64",), [v], width) for v in (back, x)]
        over = code.op(f"fcmp ogt {double} {magnitude[0]}, {magnitude[1]}")
        bits = code.op(f"bitcast {vector('float', width)} {near} to {whole}")
        less = code.op(f"sext {mask} {over} to {whole}")
        odd = code.op(
            f"or {whole} {code.op(f'add {whole} {bits}, {less}')}, {splat('i32', 1, width)}"
        )
        chosen = code.op(f"select {mask} {exact}, {whole} {bits}, {whole} {odd}")
        return code.op(f"bitcast {whole} {chosen} to {vector('float', width)}")

    def _sticky(self, code, x, source, width):
        """A 64-bit integer of 2^53 or more, rounded to odd at 53 bits, so that f64 holds it
        exactly.
        """
        whole, mask = vector("i64", width), vector("i1", width)
        low = code.op(f"and {whole} {x}, {splat('i64', 0x7FF, width)}")
        some = code.op(
            f"zext {mask} {code.op(f'icmp ne {whole} {low}, ' + splat('i64', 0, width))} to {whole}"
        )
        cut = code.op(f"and {whole} {x}, {splat('i64', -0x800, width)}")
        odd = code.op(
            f"or {whole} {cut}, {code.op(f'shl {whole} {some}, ' + splat('i64', 11, width))}"
        )
        big = x
        if source == "i64":  # |x| up to its complement, which has the same highest bit or one less
            big = code.op(
                f"xor {whole} {x}, {code.op(f'ashr {whole} {x}, ' + splat('i64', 63, width))}"
            )
        large = code.op(f"icmp uge {whole} {big}, {splat('i64', 2**53, width)}")
        return code.op(f"select {mask} {large}, {whole} {odd}, {whole} {x}")

    def _widen(self, code, x, source, width):
        """f16 or bf16 bits to f32, exactly."""
        single, whole, mask = vector("float", width), vector("i32", width), vector("i1", width)
        if source == "f16" and self.host.f16c:
            half = code.op(f"bitcast {vector('i16', width)} {x} to {vector('half', width)}")
            return code.op(f"fpext {vector('half', width)} {half} to {single}")
        bits = code.op(f"zext {vector('i16', width)} {x} to {whole}")
        if source == "bf16":
            bits = code.op(f"shl {whole} {bits}, {splat('i32', 16, width)}")
            return code.op(f"bitcast {whole} {bits} to {single}")

        def c(value):
            return splat("i32", value, width)

        sign = code.op(f"shl {whole} {code.op(f'and {whole} {bits}, ' + c(0x8000))}, {c(16)}")
        rest = code.op(f"shl {whole} {code.op(f'and {whole} {bits}, ' + c(0x7FFF))}, {c(13)}")
        normal = code.op(f"add {whole} {rest}, {c(112 << 23)}")
        special = code.op(f"add {whole} {normal}, {c(112 << 23)}")
        is_special = code.op(f"icmp uge {whole} {rest}, {c(0x0F800000)}")
        shifted = code.op(
            f"bitcast {whole} {code.op(f'add {whole} {rest}, ' + c(113 << 23))} to {single}"
        )
        small = code.op(f"fsub {single} {shifted}, {splat('f32', 2.0**-14, width)}")
        small = code.op(f"bitcast {single} {small} to {whole}")
        is_small = code.op(f"icmp ult {whole} {rest}, {c(0x00800000)}")
        out = code.op(f"select {mask} {is_special}, {whole} {special}, {whole} {normal}")
        out = code.op(f"select {mask} {is_small}, {whole} {small}, {whole} {out}")
        return code.op(f"bitcast {whole} {code.op(f'or {whole} {out}, {sign}')} to {single}")

    def _narrow(self, code, x, target, width):
        """f32 to f16 or bf16 bits, to nearest even; a NaN stays one."""
        single, whole, mask = vector("float", width), vector("i32", width), vector("i1", width)
        short = vector("i16", width)
        if target == "f16" and self.host.f16c:
            half = code.op(f"fptrunc {single} {x} to {vector('half', width)}")
            return code.op(f"bitcast {vector('half', width)} {half} to {short}")

        def c(value):
            return splat("i32", value, width)

        bits = code.op(f"bitcast {single} {x} to {whole}")
        high = code.op(f"lshr {whole} {bits}, {c(16)}")
        size = code.op(f"and {whole} {bits}, {c(0x7FFFFFFF)}")
        is_nan = code.op(f"icmp ugt {whole} {size}, {c(0x7F800000)}")
        if target == "bf16":
            up = code.op(f"add {whole} {code.op(f'and {whole} {high}, ' + c(1))}, {c(0x7FFF)}")
            near = code.op(f"lshr {whole} {code.op(f'add {whole} {bits}, {up}')}, {c(16)}")
            quiet = code.op(f"or {whole} {high}, {c(0x40)}")
            out = code.op(f"select {mask} {is_nan}, {whole} {quiet}, {whole} {near}")
            return code.op(f"trunc {whole} {out} to {short}")
        last = code.op(f"and {whole} {code.op(f'lshr {whole} {size}, ' + c(13))}, {c(1)}")
        biased = code.op(f"add {whole} {size}, {c(-(112 << 23) + 0xFFF)}")
        normal = code.op(f"lshr {whole} {code.op(f'add {whole} {biased}, {last}')}, {c(13)}")
        magnitude = code.op(f"bitcast {whole} {size} to {single}")
        small = code.op(f"fadd {single} {magnitude}, {splat('f32', 0.5, width)}")
        small = code.op(
            f"sub {whole} {code.op(f'bitcast {single} {small} to {whole}')}, {c(0x3F000000)}"
        )
        special = code.op(f"select {mask} {is_nan}, {whole} {c(0x7E00)}, {whole} {c(0x7C00)}")
        is_small = code.op(f"icmp ult {whole} {size}, {c(0x38800000)}")
        is_special = code.op(f"icmp uge {whole} {size}, {c(0x47800000)}")
        out = code.op(f"select {mask} {is_small}, {whole} {small}, {whole} {normal}")
        out = code.op(f"select {mask} {is_special}, {whole} {special}, {whole} {out}")
        out = code.op(f"or {whole} {out}, {code.op(f'and {whole} {high}, ' + c(0x8000))}")
        return code.op(f"trunc {whole} {out} to {short}")
