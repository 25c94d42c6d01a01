"""Writes csrc/gen/ops.h: the interpreter's C loops, one for each op on each dtype.

What a reader of the generated file gets (csrc/loops.c includes it once, and nothing else does):

    #define CHARL_OPS_HASH "9a3c..."    table_hash() of the table that was generated
    #define CHARL_LOOPS 1234            len(loops())
    typedef void (*charl_loop_t)(int64_t n, void *out, const void *const *in);
    static const charl_loop_t *charl_ops_loops(void)
                                        the CHARL_LOOPS functions, as compiled for the best of
                                        x86-64, x86-64-v3 and x86-64-v4 that this CPU is

setup.py writes `header()` to csrc/gen/ops.h. loops.py says which loops there are and what they compute.
"""

from __future__ import annotations

import re

from charl.ops.ctext import (
    FRAME,
    convert,
    helpers,
    literal,
    memory_type,
    promoted_unsigned,
    register_type,
)
from charl.ops.loops import KIND, Key, loops, table_hash
from charl.ops.primitive import PRIMITIVES
from charl.ops.table import OPS
from charl.ops.trace import HALVES, Expansion, Prim, expansion

CHUNK = 256  # elements between two looks at whether a rare case is present, or of table entries
SHORT = 16  # entries of a table that is permuted: a gather of as many floats takes 40 cycles


class _Writer:
    """Text of the loops; look-up tables and the slow sides of rare cases are shared.

    An Expansion is known by its text: 0.0 and -0.0 are equal in Python.
    """

    def __init__(self):
        self.tables: dict[str, tuple[str, str]] = {}  # text of the values -> name, definition
        self.slow: dict[str, str] = {}
        self.functions: list[str] = []
        self.known: dict[str, str] = {}

    def instruction(self, e: Expansion, k: int, slow: bool) -> str:
        """The C expression of value k. A rare case is its fast side unless `slow`."""
        p = e.code[k - len(e.args)]
        values = [f"v{a}" for a in p.args]
        if p.op == "const":
            return literal(p.attr, p.dtype)
        if p.op == "lut" and _short(p):
            return f"{self.table(p.dtype, p.attr)}_at[e - s]"
        if p.op == "lut":
            # GCC gathers by an index of 64 bits only
            return f"{self.table(p.dtype, p.attr)}[(int64_t){values[0]}]"
        if p.op == "rare":
            if not slow:
                return values[1]
            call = f"{self.slow_function(p.attr)}({', '.join(values[2:])})"
            return f"{values[0]} ? {call} : {values[1]}"
        if p.op == "scaled":
            return values[0]
        dtype = e.dtypes[p.args[-1]]
        if p.op in ("cast", "bitcast"):
            return convert(p.op, dtype, p.dtype, values[0])
        types = {
            "T": register_type(dtype),
            "U": promoted_unsigned(dtype),
            "X": "f" if dtype == "f32" else "",
        }
        return PRIMITIVES[p.op].c[KIND[dtype]].format(*values, **types)

    def table(self, dtype: str, values: tuple) -> str:
        items = ", ".join(literal(v, dtype) for v in values)
        text = f"[{len(values)}] = {{{items}}};"
        name = f"charl_table{len(self.tables)}"
        definition = f"static const CHARL_ALIGNED {memory_type(dtype)} {name}{text}"
        return self.tables.setdefault(dtype + text, (name, definition))[0]

    def body(self, e: Expansion, results: list[int], slow: bool) -> list[str]:
        """Declarations of all values that `results` need, operands not included."""
        n = len(e.args)
        needed = set(results)
        for k in range(n + len(e.code) - 1, n - 1, -1):
            if k in needed:
                p = e.code[k - n]
                short = {"rare": p.args if slow else p.args[1:2], "scaled": p.args[:1]}
                needed.update(() if _short(p) else short.get(p.op, p.args))
        return [
            f"const {register_type(p.dtype)} v{k} = {self.instruction(e, k, slow)};"
            for k, p in enumerate(e.code, n)
            if k in needed
        ]

    def slow_function(self, e: Expansion) -> str:
        if repr(e) not in self.slow:
            name = self.slow[repr(e)] = f"CHARL_CLONE(slow{len(self.slow)})"
            params = ", ".join(f"{register_type(d)} v{k}" for k, d in enumerate(e.args))
            lines = [
                f"static CHARL_NOINLINE {register_type(e.dtype)} {name}({params})",
                "{",
                *(f"    {line}" for line in self.body(e, [e.result], True)),
                f"    return v{e.result};",
                "}",
            ]
            self.functions.append("\n".join(lines))
        return self.slow[repr(e)]

    def loop(self, op: str, args: tuple[str, ...], result: str) -> str:
        """The name of the loop, which is written unless another op has the same."""
        half = next((a for a in args if a in HALVES), None)
        if half and not OPS[op].half and op not in ("select", "bitcast"):
            inner = self.loop(op, ("f32",) * len(args), "f32" if result in HALVES else result)
            store = f"CHARL_CLONE(store_{result})" if result in HALVES else "NULL"
            call = f"CHARL_CLONE(half)(n, out, in, {len(args)}, CHARL_CLONE(load_{half}), {inner}"
            return self.define(f"    {call}, {store});")
        return self.define(self.loop_body(expansion(op, args, result)))

    def define(self, body: str) -> str:
        if body not in self.known:
            name = self.known[body] = f"CHARL_CLONE(loop{len(self.known)})"
            head = f"static void {name}(int64_t n, void *out, const void *const *in)"
            self.functions.append(f"{head}\n{{\n{body}\n}}")
        return self.known[body]

    def loop_body(self, e: Expansion) -> str:
        """The statements of a loop. A rare case is looked for in CHUNK elements at a time, before
        they may be overwritten; the fast loop has no trace of it. Short tables are read for as many.
        """
        short = [p for p in e.code if _short(p)]
        rare = [p.args[0] for p in e.code if p.op == "rare"]
        used = {a for p in e.code for a in p.args} | {e.result}
        lines = ["(void)in;", f"{memory_type(e.dtype)} *o = out;"]
        loads = []
        for k, dtype in enumerate(e.args):
            if k in used:
                lines.append(f"const {memory_type(dtype)} *in{k} = in[{k}];")
                test = " != 0" if dtype == "b1" else ""
                loads.append(f"const {register_type(dtype)} v{k} = in{k}[e]{test};")

        def each(results, slow, last):
            body = self.body(e, results, slow)
            text = "\n".join([*body, last])
            needed = [x for k, x in enumerate(loads) if f"{x.split()[2]}" in _names(text)]
            return [
                *([] if slow else ["#pragma GCC ivdep"]),
                "for (int64_t e = s; e < t; e++) {",
                *(f"    {line}" for line in [*needed, *body, last]),
                "}",
            ]

        store = f"o[e] = v{e.result};"
        if rare:
            find = each(rare, True, f"any |= {' | '.join(f'v{r}' for r in rare)};")
            lines += [
                f"for (int64_t s = 0; s < n; s += {CHUNK}) {{",
                f"    const int64_t t = n - s < {CHUNK} ? n : s + {CHUNK};",
                "    uint32_t any = 0;",
                *(f"    {line}" for line in find),
                "    if (!any) {",
                *(f"        {line}" for line in each([e.result], False, store)),
                "    } else {",
                *(f"        {line}" for line in each([e.result], True, store)),
                "    }",
                "}",
            ]
        elif short:
            names = [self.table(p.dtype, p.attr) for p in short]
            (index,) = {p.args[0] for p in short}
            arrays = ", ".join(f"{name}_at[{CHUNK}]" for name in names)
            (dtype,) = {p.dtype for p in short}
            look = f"CHARL_CLONE(look_up_{dtype})(t - s, {{0}}_at, at, {{0}});"
            lines += [
                f"CHARL_ALIGNED int32_t at[{CHUNK}];",
                f"CHARL_ALIGNED {memory_type(dtype)} {arrays};",
                f"for (int64_t s = 0; s < n; s += {CHUNK}) {{",
                f"    const int64_t t = n - s < {CHUNK} ? n : s + {CHUNK};",
                *(f"    {line}" for line in each([index], False, f"at[e - s] = v{index};")),
                *(f"    {look.format(name)}" for name in names),
                *(f"    {line}" for line in each([e.result], False, store)),
                "}",
            ]
        else:
            lines += ["const int64_t s = 0, t = n;", *each([e.result], False, store)]
        return "\n".join(f"    {line}" for line in lines)


def _short(p: Prim) -> bool:
    """Whether an instruction reads a table that is permuted."""
    return p.op == "lut" and KIND[p.dtype] == "f" and len(p.attr) == SHORT  # type: ignore[arg-type]


def _names(text: str) -> set[str]:
    """The values (v0, v1, ...) that a C text mentions."""
    return set(re.findall(r"\bv\d+\b", text))


def header(keys: tuple[Key, ...] | None = None) -> str:
    """The text of csrc/gen/ops.h, or of one that has the loops of `keys` alone."""
    keys = loops() if keys is None else keys
    writer = _Writer()
    names = [writer.loop(*key) for key in keys]
    entries = [
        f"    {name}, /* {k} {op}({', '.join(args)}) {result} */"
        for k, ((op, args, result), name) in enumerate(zip(keys, names))
    ]
    parts = {
        "HASH": table_hash(),
        "COUNT": str(len(names)),
        "TABLES": "\n".join(definition for _, definition in writer.tables.values()),
        "HELPERS": helpers(),
        "FUNCTIONS": "\n".join(writer.functions),
        "LOOPS": "\n".join(entries),
    }
    text = FRAME
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text
