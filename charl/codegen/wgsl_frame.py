"""One shader while it is written: bindings, launch parameters, addresses, and a stage's instructions.

Addresses are u32 and wrap, so that negative strides need nothing of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from charl.codegen.wgsl_values import Features, Unsupported, Values, chained, rounded_again
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import Access, Instr, Int, Kernel, P, Value, instructions

_PLAIN = {"subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg"}
HEADER = 2  # words of params ahead of the first launch parameter


def _sums(instr: Instr) -> str:
    """ "add" of a sum or a cumulative one, else empty."""
    return "add" if instr.op in ("reduce", "scan") and instr.attr == "add" else ""


class Frame:
    """Buffers of one kernel, and the instructions of its stages as lines of WGSL."""

    def __init__(self, kernel: Value, features: Features):
        self.kernel, self.features = kernel, features
        self.values = Values(features)
        self.lines: list[str] = []
        self.indent = 1
        self.body = instructions(kernel)
        self.dtypes = [i.dtype for i in self.body]
        self.known: dict[int, str] = {}  # value -> its text, where it is in reach
        self.outer: list[str] = []  # texts of the outer indices
        self.inner: str | None = None  # that of j, in a looping stage
        self.active: str | None = None  # a condition for stores, where lanes walk past the end
        self.fails = any(i.op == "wrap" for i in self.body)
        self.scratch: list[tuple[Int, int]] = []
        self.slots: dict[int, str] = {}  # slot -> where it starts in scratch
        floats = {
            n: (_sums(i) or _PLAIN.get(i.op, i.op), i.args)
            for n, i in enumerate(self.body)
            if i.dtype in ("f32", "f64")
        }
        self.guarded = rounded_again(floats) | chained(floats)
        written = {i.attr.arg for i in self.body if i.op == "store"}
        self.written = {k for k, a in enumerate(kernel.args) if a.mode != "in"} | written
        self.quads: set[int] = set()  # arguments that are only taken four neighbours at a time
        self.parts = [1] * (len(kernel.args) + 1)

    def divide(self, parts: Sequence[int]) -> None:
        """Argument k is bound in parts[k] parts, and scratch, if that is given too, in the last."""
        self.parts[: len(parts)] = parts

    # -- text --------------------------------------------------------------------------------------

    def put(self, line: str) -> None:
        self.lines.append("  " * self.indent + line)

    def open(self, line: str) -> None:
        self.put(line + " {")
        self.indent += 1

    def close(self) -> None:
        self.indent -= 1
        self.put("}")

    def int(self, value: Int) -> str:
        """An Int modulo 2**32."""
        if isinstance(value, P):
            return f"params[{HEADER + 2 * value.k}u]"
        return f"{value}u" if value >= 0 else f"0x{value & 0xFFFFFFFF:x}u"

    def affine(self, offset: Int, strides: tuple[Int, ...], axes: list[str]) -> str:
        """offset + sum(strides * axes), a u32."""
        text = "" if offset == 0 else self.int(offset)
        for stride, axis in zip(strides, axes):
            if stride == 0:
                continue
            if stride == -1:
                text = f"{text or '0u'} - {axis}"
                continue
            term = axis if stride == 1 else f"{self.int(stride)} * {axis}"
            text = f"{text} + {term}" if text else term
        return text or "0u"

    def axes(self) -> list[str]:
        return self.outer + ([self.inner] if self.inner is not None else [])

    def where(self, access: Access) -> str:
        return self.affine(access.offset, access.strides, self.axes())

    # -- memory ------------------------------------------------------------------------------------

    def element(self, arg: int) -> str:
        """The type of a buffer's elements."""
        dtype = self.kernel.args[arg].dtype
        if self.by_four(arg):
            return f"vec4<{self.values.register(dtype)}>"
        if BY_SHORT[dtype].itemsize >= 4:
            return self.values.register(dtype)
        return "atomic<u32>" if self.shared_words(arg) else "u32"

    def by_four(self, arg: int) -> bool:
        """Whether a buffer is bound as vectors."""
        dtype = self.kernel.args[arg].dtype
        return arg in self.quads and BY_SHORT[dtype].itemsize >= 4 and not self.values.pair(dtype)

    def shared_words(self, arg: int) -> bool:
        """Whether two invocations may write parts of one word."""
        return arg in self.written and arg not in self.quads

    def load(self, arg: int, at: str) -> str:
        plain = BY_SHORT[self.kernel.args[arg].dtype].itemsize >= 4 and self.parts[arg] == 1
        return f"a{arg}[{at}]" if plain else f"load_a{arg}({at})"

    def store(self, arg: int, at: str, value: str) -> str:
        plain = BY_SHORT[self.kernel.args[arg].dtype].itemsize >= 4 and self.parts[arg] == 1
        if plain and not self.by_four(arg):
            return f"a{arg}[{at}] = {value};"
        return f"store_a{arg}({at}, {value});"

    def load_scratch(self, at: str) -> str:
        return f"scratch[{at}]" if self.parts[-1] == 1 else f"load_scratch({at})"

    def store_scratch(self, at: str, word: str) -> str:
        plain = self.parts[-1] == 1
        return f"scratch[{at}] = {word};" if plain else f"store_scratch({at}, {word});"

    def load4(self, arg: int, quad: str, name: str) -> list[str]:
        """Lines that load elements 4 * quad to 4 * quad + 3; their texts, made of `name`."""
        dtype = self.kernel.args[arg].dtype
        size = BY_SHORT[dtype].itemsize
        if self.by_four(arg):
            self.put(f"let {name} = a{arg}[{quad}];")
            return [f"{name}.{part}" for part in "xyzw"]
        if size >= 4:
            texts = [f"a{arg}[4u * ({quad}) + {k}u]" for k in range(4)]
        else:
            for k in range(size):
                at = quad if size == 1 else f"2u * ({quad}) + {k}u"
                self.put(f"let {name}w{k} = a{arg}[{at}];")
            texts = [
                self.unpacked(dtype, f"{name}w{k * size // 4}", f"{k * size % 4 * 8}u")
                for k in range(4)
            ]
        for k, text in enumerate(texts):
            self.put(f"let {name}_{k} = {text};")
        return [f"{name}_{k}" for k in range(4)]

    def store4(self, arg: int, quad: str, values: list[str]) -> None:
        """Lines that store elements 4 * quad to 4 * quad + 3."""
        dtype = self.kernel.args[arg].dtype
        size = BY_SHORT[dtype].itemsize
        if self.by_four(arg):
            kind = self.values.register(dtype)
            self.put(f"a{arg}[{quad}] = vec4<{kind}>({', '.join(values)});")
        elif size >= 4:
            for k, x in enumerate(values):
                self.put(f"a{arg}[4u * ({quad}) + {k}u] = {x};")
        else:
            per = 4 // size
            for word in range(size):
                parts = [
                    f"({self.packed(dtype, x)}{f' << {8 * size * k}u' if k else ''})"
                    for k, x in enumerate(values[word * per : word * per + per])
                ]
                at = quad if size == 1 else f"2u * ({quad}) + {word}u"
                self.put(f"a{arg}[{at}] = {' | '.join(parts)};")

    def unpacked(self, dtype: str, word: str, at: str) -> str:
        """The value below 32 bits that starts at bit `at` of a word."""
        bits = 8 * BY_SHORT[dtype].itemsize
        got = f"({word} >> {at}) & 0x{(1 << bits) - 1:x}u"
        if dtype == "b1":
            return f"({got}) != 0u"
        if self.values.register(dtype) == "i32":
            return f"(bitcast<i32>(({word} >> {at}) << {32 - bits}u)) >> {32 - bits}u"
        return got

    def packed(self, dtype: str, x: str) -> str:
        """A value below 32 bits as a u32 with zeros above it."""
        register = self.values.register(dtype)
        if register == "bool":
            return f"select(0u, 1u, {x})"
        return f"(bitcast<u32>({x}) & 0x{'f' * 2 * BY_SHORT[dtype].itemsize}u)" if (
            register == "i32") else x  # fmt: skip

    def by_part(self, name: str, parts: int, size: int, at: str, line: str) -> list[str]:
        """`line`, whose {0} is element `at`, of `size` bytes, of a buffer in so many parts."""
        if parts == 1:
            return ["  " + line.format(f"{name}[{at}]")]
        count = self.features.part // size
        lines = [f"  switch ({at}) >> {count.bit_length() - 1}u {{"]
        for part in range(parts):
            case = f"case {part}u" if part else "default"
            element = f"{name}_{part}[({at}) & 0x{count - 1:x}u]"
            lines.append(f"    {case}: {{ {line.format(element)} }}")
        return [*lines, "  }"]

    def accessors(self, arg: int) -> list[str]:
        """load_aK and store_aK of a dtype below 32 bits, or of a buffer in several parts, and store_aK
        of vectors.
        """
        dtype, parts, name = self.kernel.args[arg].dtype, self.parts[arg], f"a{arg}"
        size, register = BY_SHORT[dtype].itemsize, self.values.register(dtype)
        if self.by_four(arg) and arg in self.written:
            head = f"fn store_a{arg}(i: u32, v: {register})"
            return [f"{head} {{ a{arg}[i >> 2u][i & 3u] = v; }}"]
        if size >= 4:
            if parts == 1:
                return []
            return _accessors(
                name,
                register,
                self.by_part(name, parts, size, "i", "return {0};"),
                self.by_part(name, parts, size, "i", "{0} = v;") if arg in self.written else [],
            )
        bits, mask = 8 * size, f"0x{(1 << 8 * size) - 1:x}u"
        first, within = (2, 3) if size == 1 else (1, 1)
        place, word = f"  let at = (i & {within}u) * {bits}u;", f"i >> {first}u"
        shared = self.shared_words(arg)
        got = self.unpacked(dtype, "atomicLoad(&{0})" if shared else "{0}", "at")
        load = [place, *self.by_part(name, parts, 4, word, f"return {got};")]
        clear, put = f"~({mask} << at)", f"{self.packed(dtype, 'v')} << at"
        lines = [f"{{0}} = ({{0}} & {clear}) | ({put});"]
        if shared:
            lines = [f"atomicAnd(&{{0}}, {clear});", f"atomicOr(&{{0}}, {put});"]
        store = [place, *(x for line in lines for x in self.by_part(name, parts, 4, word, line))]
        return _accessors(name, register, load, store if arg in self.written else [])

    def names(self) -> list[str]:
        """The bindings; parts of a buffer stand one after the other."""
        bound = [("params", 1), *((f"a{k}", self.parts[k]) for k in range(len(self.kernel.args)))]
        bound += [("scratch", self.parts[-1])] * bool(self.scratch) + [("error", 1)] * self.fails
        names = []
        for name, parts in bound:
            names += [f"{name}_{part}" for part in range(parts)] if parts > 1 else [name]
        if len(names) > self.features.max_storage_buffers:
            limit = self.features.max_storage_buffers
            what = f"a kernel of {len(names)} storage buffers; this adapter takes {limit}"
            if len(names) > len(bound):
                what += f", and an array takes one for each {self.features.part} bytes"
            raise Unsupported("", what)
        return names

    def module(self, main: list[str]) -> str:
        """The whole text around a function main."""
        head = []
        for binding, name in enumerate(self.names()):
            kind, access = "u32", "read"
            if name == "error":
                kind, access = "atomic<u32>", "read_write"
            elif name.startswith("scratch"):
                access = "read_write"
            elif name != "params":
                arg = int(name[1:].split("_")[0])
                kind = self.element(arg)
                access = "read_write" if arg in self.written else "read"
            head.append(
                f"@group(0) @binding({binding}) var<storage, {access}> {name}: array<{kind}>;"
            )
        for arg in range(len(self.kernel.args)):
            head += self.accessors(arg)
        if self.scratch and self.parts[-1] > 1:
            lines = (
                self.by_part("scratch", self.parts[-1], 4, "i", line)
                for line in ("return {0};", "{0} = v;")
            )
            head += _accessors("scratch", "u32", *lines)
        if self.fails:
            head.append(_FAIL)
        return self.values.texts([*head, *main])

    # -- instructions ------------------------------------------------------------------------------

    def let(self, number: int, text: str, prefix: str = "v") -> None:
        self.put(f"let {prefix}{number} = {text};")
        self.known[number] = f"{prefix}{number}"

    def instruction(self, number: int, instr: Instr, prefix: str = "v") -> None:
        """Lines for one instruction that is neither a fold nor of a slot."""
        args = [self.known[a] for a in instr.args]
        dtype = instr.dtype
        if instr.op == "load":
            text = self.load(instr.attr.arg, self.where(instr.attr))
            if args:
                register = self.values.register(dtype)
                self.put(f"var {prefix}{number}: {register} = {self.values.zero(dtype)};")
                self.put(f"if ({args[0]}) {{ {prefix}{number} = {text}; }}")
                self.known[number] = f"{prefix}{number}"
                return
        elif instr.op == "store":
            line = self.store(instr.attr.arg, self.where(instr.attr), args[0])
            self.put(f"if ({self.active}) {{ {line} }}" if self.active else line)
            return
        elif instr.op == "gather":
            access, stride = instr.attr
            index = f"{args[0]}.x" if not self.values.wide else f"u32({args[0]})"
            start = self.where(access)
            scaled = index if stride == 1 else f"{self.int(stride)} * {index}"
            text = self.load(access.arg, scaled if start == "0u" else f"{start} + {scaled}")
        elif instr.op == "index":
            text = self.long_affine(*instr.attr)
        elif instr.op == "const":
            text = self.values.literal(dtype, instr.attr)
            if dtype in ("f32", "f64"):  # else (x + c) - c would be x
                text = f"guard_{dtype}({text})"
        elif instr.op == "param":
            text = self.scalar(instr.attr, dtype)
        elif instr.op == "wrap":
            text = self.wrapped(number, args[0], *instr.attr, prefix)
        else:
            kinds = tuple(self.dtypes[a] for a in instr.args)
            text = self.values.apply(instr.op, kinds, dtype, args)
            if number in self.guarded:
                text = f"guard_{dtype}({text})"
        self.let(number, text, prefix)

    def long(self, value: Int) -> str:
        """An Int as i64."""
        if not isinstance(value, P):
            return self.values.literal("i64", value)
        return self.scalar(value, "i64")

    def scalar(self, value: P, dtype: str) -> str:
        """A launch parameter's low bits as a value."""
        values, at = self.values, HEADER + 2 * value.k
        low, register = f"params[{at}u]", values.register(dtype)
        bits = 8 * BY_SHORT[dtype].itemsize
        if bits == 64:
            if register == "vec2<u32>":
                return f"vec2<u32>({low}, params[{at + 1}u])"
            text = f"(u64({low}) | (u64(params[{at + 1}u]) << 32u))"
            return text if dtype == "u64" else f"bitcast<{dtype}>{text}"
        if dtype == "b1":
            return f"(({low} & 0xffu) != 0u)"
        if bits == 32:
            return low if register == "u32" else f"bitcast<{register}>({low})"
        if register == "i32":
            return f"(bitcast<i32>({low} << {32 - bits}u) >> {32 - bits}u)"
        return f"({low} & 0x{(1 << bits) - 1:x}u)"

    def long_affine(self, offset: Int, strides: tuple[Int, ...]) -> str:
        """offset + sum(strides * axes) as i64."""
        values = self.values
        text = self.long(offset)
        for stride, axis in zip(strides, self.axes()):
            if stride == 0:
                continue
            term = f"wide_i64(i64({axis}))" if values.wide else f"vec2<u32>({axis}, 0u)"
            if stride != 1:
                term = values.primitive("mul", "i64", [self.long(stride), term])
            text = term if text == values.literal("i64", 0) else (
                values.primitive("add", "i64", [text, term]))  # fmt: skip
        return text

    def wrapped(self, number: int, x: str, extent: Int, site: int, prefix: str) -> str:
        """x or x + extent; 0 and a record in `error` where it is out of range."""
        values, name = self.values, f"{prefix}{number}"
        extents, zero = self.long(extent), values.literal("i64", 0)
        self.put(f"let {name}n = {extents};")
        negative = values.primitive("lt", "i64", [x, zero])
        moved = values.primitive("add", "i64", [x, f"{name}n"])
        self.put(f"let {name}m = select({x}, {moved}, {negative});")
        large = [values.bitcast(f"{name}{end}", "i64", "u64") for end in "mn"]
        self.put(f"let {name}bad = {values.primitive('ge', 'u64', large)};")
        words = [
            v if values.pair("i64") else f"pair_native(bitcast<u64>({v}))" for v in (x, f"{name}n")
        ]
        self.put(f"if ({name}bad) {{ fail({site}u, {words[0]}, {words[1]}); }}")
        return f"select({name}m, {zero}, {name}bad)"


def _accessors(name: str, register: str, load: list[str], store: list[str]) -> list[str]:
    """The functions load_NAME and, where there are lines for it, store_NAME."""
    text = ["\n".join([f"fn load_{name}(i: u32) -> {register} {{", *load, "}"])]
    if store:
        text += ["\n".join([f"fn store_{name}(i: u32, v: {register}) {{", *store, "}"])]
    return text


class Staged(Frame):
    """A Kernel's shader; Elements, Rows and Columns say how its stages are walked."""

    kernel: Kernel

    def __init__(self, kernel: Kernel, features: Features):
        super().__init__(kernel, features)
        self.starts = [0, *itertools.accumulate(len(s.body) for s in kernel.stages)]
        self.stage_of = [k for k, s in enumerate(kernel.stages) for _ in s.body]
        self.stage = 0
        stored = {i.attr.arg for i in self.body if i.op == "store"}
        self.changed = {a for a in stored if kernel.args[a].mode == "inout"}
        self.kept_of = {
            n: max(k for k, i in enumerate(self.body[:n]) if i.op == "keep" and i.attr == x.attr)
            for n, x in enumerate(self.body)
            if x.op == "kept"
        }
        self.stored_slots: dict[int, None] = {
            self.body[n].attr: None for n, keep in self.kept_of.items() if not self.again(keep)
        }

    def again(self, number: int) -> bool:
        """Whether a value of an earlier stage can be computed anew in a later one."""
        instr = self.body[number]
        if instr.op in ("scan", "wrap"):
            return False
        if instr.op in ("load", "gather"):
            access = instr.attr[0] if instr.op == "gather" else instr.attr
            if access.arg in self.changed:
                return False
        if instr.op == "kept":
            return self.again(self.kept_of[number])
        if self.row_value(number):
            return True
        return all(self.again(a) for a in instr.args)

    def row_value(self, number: int) -> bool:
        return (
            not self.kernel.stages[self.stage_of[number]].loop or self.body[number].op == "reduce"
        )

    def recompute(self, number: int) -> str:
        """Lines for a value of an earlier stage, at this stage's j."""
        if number in self.known:
            return self.known[number]
        instr = self.body[number]
        if instr.op == "kept":
            self.known[number] = self.recompute(self.kept_of[number])
        elif instr.op == "keep":
            self.known[number] = self.recompute(instr.args[0])
        else:
            for a in instr.args:
                self.recompute(a)
            self.instruction(number, instr, f"k{self.stage}_")
        return self.known[number]


_FAIL = """fn fail(site: u32, index: vec2<u32>, extent: vec2<u32>) {
  if (atomicAdd(&error[0], 1u) == 0u) {
    atomicStore(&error[1], site);
    atomicStore(&error[2], index.x);
    atomicStore(&error[3], index.y);
    atomicStore(&error[4], extent.x);
    atomicStore(&error[5], extent.y);
  }
}"""
