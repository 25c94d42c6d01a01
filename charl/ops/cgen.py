"""Writes csrc/gen/ops.h: the interpreter's C loops, one for each op on each dtype.

What a reader of the generated file gets (csrc/loops.c includes it once, and nothing else does):

    #define CHARL_OPS_HASH "9a3c..."              table_hash() of the table that was generated
    #define CHARL_LOOPS 1234                      len(loops())
    typedef void (*charl_loop_t)(int64_t n, void *out, const void *const *in);
    static const charl_loop_t *charl_ops_loops(void)    the CHARL_LOOPS functions, as compiled for the best
                                                  of x86-64, x86-64-v3 and x86-64-v4 that this CPU is

`loops()[k]` is the (op, args, result) that function k computes: out[e] = op(in[0][e], in[1][e], ...) for e < n.
args and result are dtype short names. All arrays are contiguous and aligned to their element; n may be 0. `out`
may be exactly one of the `in` pointers where the element sizes are equal (in place), and otherwise must not overlap
an input. b1 is bytes 0 or 1; f16 and bf16 are their 16 bits. There are loops for

    every table op of group elementwise or primitive on operands of one dtype, for the kinds in its row; an op with
    result "float" only on floats; f16 and bf16 as well (computed in f32 and rounded back, as `expansion` does);
    where and select (b1, T, T) -> T;   cast between all pairs of dtypes, also T -> T (a copy);
    bitcast between dtypes of one width;   philox (u64, u64) -> u64.

`index()` is the dict {(op, args, result): k} that codegen/bytecode.py looks up. setup.py writes `header()` to
csrc/gen/ops.h; the interpreter's CHARL_OPS_HASH must equal table_hash(), which reads the sources of this package.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from pathlib import Path

from charl.core.dtypes import ALL
from charl.ops.primitive import PRIMITIVES
from charl.ops.table import OPS
from charl.ops.trace import HALVES, KIND, WIDTH, Expansion, expansion

Key = tuple[str, tuple[str, ...], str]
DTYPES = tuple(d.short for d in ALL)
CHUNK = 256  # elements between two looks at whether a rare case is present


def _reg(dtype: str) -> str:
    """The C type of a local."""
    if dtype == "b1":
        return "_Bool"
    if dtype in HALVES:
        return "uint16_t"
    return {"f": "float" if WIDTH[dtype] == 32 else "double", "i": f"int{WIDTH[dtype]}_t",
            "u": f"uint{WIDTH[dtype]}_t"}[KIND[dtype]]  # fmt: skip


def _mem(dtype: str) -> str:
    """The C type of an array element."""
    return "uint8_t" if dtype == "b1" else _reg(dtype)


@lru_cache(maxsize=None)
def loops() -> tuple[Key, ...]:
    """All (op, args, result) that have a loop; the position is the loop's number."""
    keys: list[Key] = []
    for row in OPS.values():
        if row.name == "cast":
            keys += [("cast", (a,), r) for a in DTYPES for r in DTYPES]
        elif row.name == "bitcast":
            wide = [d for d in DTYPES if d != "b1"]
            keys += [("bitcast", (a,), r) for a in wide for r in wide if WIDTH[a] == WIDTH[r]]
        elif row.name == "philox":
            keys.append(("philox", ("u64", "u64"), "u64"))
        elif row.group in ("elementwise", "primitive"):
            for dtype in DTYPES:
                if KIND[dtype] in (row.kinds if row.result != "float" else "f"):
                    first = "b1" if row.name in ("where", "select") else dtype
                    args = (first,) + (dtype,) * (row.arity - 1)
                    keys.append((row.name, args, "b1" if row.result == "bool" else dtype))
    return tuple(keys)


@lru_cache(maxsize=None)
def index() -> dict[Key, int]:
    """The number of each loop."""
    return {key: k for k, key in enumerate(loops())}


@lru_cache(maxsize=None)
def table_hash() -> str:
    """A hash of everything that the generated file depends on."""
    here = Path(__file__).resolve().parent
    sources = [*sorted(here.glob("*.py")), here.parent / "core" / "dtypes.py"]
    crc = 0
    for path in sources:
        crc = zlib.crc32(path.read_bytes().replace(b"\r\n", b"\n"), crc)
    return f"{crc:08x}"


def _literal(value, dtype: str) -> str:
    kind = KIND[dtype]
    if kind == "b":
        return str(int(value))
    if kind == "f":
        suffix = "f" if dtype == "f32" else ""
        if math.isnan(value):
            return f"__builtin_nan{suffix}(\"\")"
        if math.isinf(value):
            return f"{'-' if value < 0 else ''}__builtin_inf{suffix}()"
        return f"{value.hex()}{suffix}"
    if kind == "u":
        return f"UINT{max(WIDTH[dtype], 32)}_C({value})"
    if value == -(1 << 63):
        return "INT64_MIN"
    return f"INT{max(WIDTH[dtype], 32)}_C({value})"


def _unsigned(dtype: str) -> str:
    return "uint64_t" if WIDTH[dtype] == 64 else "uint32_t"


class _Writer:
    """Text of the loops; look-up tables and the slow sides of rare cases are shared."""

    def __init__(self):
        self.tables: dict[tuple, str] = {}
        self.slow: dict[Expansion, str] = {}
        self.functions: list[str] = []
        self.known: dict[tuple, str] = {}

    def instruction(self, e: Expansion, k: int, slow: bool) -> str:
        """The C expression of value k. A rare case is its fast side unless `slow`."""
        p = e.code[k - len(e.args)]
        values = [f"v{a}" for a in p.args]
        if p.op == "const":
            return _literal(p.attr, p.dtype)
        if p.op == "lut":
            name = self.tables.setdefault((p.dtype, p.attr), f"charl_table{len(self.tables)}")
            return f"{name}[(int64_t){values[0]}]"  # GCC gathers by an index of 64 bits only
        if p.op == "rare":
            if not slow:
                return values[1]
            return f"{values[0]} ? {self.slow_function(p.attr)}({', '.join(values[2:])}) : {values[1]}"
        dtype = e.dtypes[p.args[-1]]
        if p.op in ("cast", "bitcast"):
            return _convert(p.op, dtype, p.dtype, values[0])
        text = PRIMITIVES[p.op].c[KIND[dtype] if dtype not in HALVES else "f"]
        return text.format(*values, T=_reg(dtype), U=_unsigned(dtype), X="f" if dtype == "f32" else "")

    def body(self, e: Expansion, results: list[int], slow: bool, indent: str) -> list[str]:
        """Declarations of all values that `results` need, operands not included."""
        n = len(e.args)
        needed = set(results)
        for k in range(n + len(e.code) - 1, n - 1, -1):
            if k in needed:
                p = e.code[k - n]
                needed.update(p.args[1:2] if p.op == "rare" and not slow else p.args)
        lines = [f"{indent}const {_reg(d)} v{k} = {{load{k}}};" for k, d in enumerate(e.args) if k in needed]
        for k, p in enumerate(e.code, n):
            if k in needed:
                lines.append(f"{indent}const {_reg(p.dtype)} v{k} = {self.instruction(e, k, slow)};")
        return lines

    def slow_function(self, e: Expansion) -> str:
        if e not in self.slow:
            name = self.slow[e] = f"CHARL_CLONE(slow{len(self.slow)})"
            params = ", ".join(f"{_reg(d)} v{k}" for k, d in enumerate(e.args))
            lines = [x for x in self.body(e, [e.result], True, "    ") if "{load" not in x]
            self.functions.append("\n".join([
                f"static CHARL_NOINLINE {_reg(e.dtype)} {name}({params})", "{", *lines,
                f"    return v{e.result};", "}"]))  # fmt: skip
        return self.slow[e]

    def loop(self, op: str, args: tuple[str, ...], result: str) -> str:
        """The name of the loop, which is written unless another op has the same."""
        key: tuple
        if not OPS[op].half and op != "select" and any(a in HALVES for a in args) and op not in ("cast", "bitcast"):
            full = tuple("f32" if a in HALVES else a for a in args)
            back = "f32" if result in HALVES else result
            inner = self.loop(op, full, back)
            key = (inner, args, result)
            half = next(a for a in args if a in HALVES)
            text = (f"    CHARL_CLONE(half)(n, out, in, {len(args)}, CHARL_CLONE(load_{half}), "
                    f"{inner}, {f'CHARL_CLONE(store_{half})' if result in HALVES else 'NULL'});")  # fmt: skip
            return self._define(key, text)
        e = expansion(op, args, result)
        return self._define((e.args, e.dtype, e.code, e.result), lambda: self._loop_body(e))

    def _define(self, key: tuple, text) -> str:
        if key not in self.known:
            text = text if isinstance(text, str) else text()
            name = self.known[key] = f"CHARL_CLONE(loop{len(self.known)})"
            self.functions.append(
                f"static void {name}(int64_t n, void *out, const void *const *in)\n{{\n{text}\n}}"
            )
        return self.known[key]

    def _loop_body(self, e: Expansion) -> str:
        rare = [p.args[0] for p in e.code if p.op == "rare"]
        head = [f"    {_mem(e.dtype)} *o = out;"]
        loads = {}
        for k, dtype in enumerate(e.args):
            loads[f"load{k}"] = f"in{k}[e]" + (" != 0" if dtype == "b1" else "")
            head.append(f"    const {_mem(dtype)} *in{k} = in[{k}];")

        def each(results, slow, last, indent):
            lines = self.body(e, results, slow, indent + "    ")
            return "\n".join([
                *([] if slow else ["#pragma GCC ivdep"]),
                f"{indent}for (int64_t e = s; e < t; e++) {{", *lines, f"{indent}    {last}", f"{indent}}}",
            ]).replace("{load", "{").replace("{", "\0").replace("}", "\1")  # fmt: skip

        def fill(text):
            for k, dtype in enumerate(e.args):
                text = text.replace(f"\0{k}\1", loads[f"load{k}"])
            return text.replace("\0", "{").replace("\1", "}")

        store = f"o[e] = v{e.result};"
        used = {a for p in e.code for a in p.args} | {e.result}
        head += [f"    (void)in{k};" for k in range(len(e.args)) if k not in used]
        if not rare:
            text = each([e.result], False, store, "    ")
            head.append("    const int64_t s = 0, t = n;")
            return "\n".join([*head, fill(text)])
        any_rare = each(rare, True, f"any |= {' | '.join(f'v{r}' for r in rare)};", "        ")
        fast = each([e.result], False, store, "            ")
        slow = each([e.result], True, store, "            ")
        return "\n".join([
            *head,
            f"    for (int64_t s = 0; s < n; s += {CHUNK}) {{",
            f"        const int64_t t = n - s < {CHUNK} ? n : s + {CHUNK};",
            "        uint32_t any = 0;",
            fill(any_rare),
            "        if (!any) {", fill(fast), "        } else {", fill(slow), "        }", "    }"])  # fmt: skip


def _convert(op: str, source: str, target: str, value: str) -> str:
    """A cast or a bitcast of a C expression."""
    if source == target:
        return value
    if op == "bitcast":
        if "f" in (KIND[source], KIND[target]) and WIDTH[source] > 16:
            return f"CHARL_CLONE(bits_{source}_{target})({value})"
        return f"({_reg(target)}){value}"
    if target == "b1":
        return f"({value} & 0x7fff) != 0" if source in HALVES else f"{value} != 0"
    if source in HALVES:
        return _convert(op, "f32", target, f"CHARL_CLONE({source}_f32)({value})")
    if target in HALVES:
        if KIND[source] in "biu" and WIDTH[source] <= 16:
            value, source = f"(float){value}", "f32"
        elif KIND[source] in "iu" and WIDTH[source] == 32:
            value, source = f"(double){value}", "f64"
        if source != "f32":
            value = f"CHARL_CLONE(odd_{source})({value})"
        return f"CHARL_CLONE(f32_{target})({value})"
    if KIND[source] == "f" and KIND[target] in "iu":
        return f"CHARL_CLONE({source}_{target})({value})"
    return f"({_reg(target)}){value}"


def _helpers() -> str:
    """Conversions that C has no exact expression for. Compiled once a clone, so that they inline."""
    parts = []
    for bits, f in ((32, "float"), (64, "double")):
        for sign in "iu":
            i = f"{'u' if sign == 'u' else ''}int{bits}_t"
            for (a, an), (r, rn) in (((f"f{bits}", f), (f"{sign}{bits}", i)), ((f"{sign}{bits}", i), (f"f{bits}", f))):
                parts.append(
                    f"static inline {rn} CHARL_CLONE(bits_{a}_{r})({an} x)\n"
                    f"{{\n    {rn} y;\n    memcpy(&y, &x, sizeof y);\n    return y;\n}}"
                )
        suffix = "f" if bits == 32 else ""
        for target in DTYPES:
            if KIND[target] not in "iu":
                continue
            width = WIDTH[target]
            low = -(1 << (width - 1)) if KIND[target] == "i" else 0
            high = (1 << (width - 1 if KIND[target] == "i" else width)) - 1
            step = "(int32_t)" if width < 32 else ""
            # the comparisons are with powers of two: exact; one below low is not reached by any kept value
            parts.append(
                f"static inline {_reg(target)} CHARL_CLONE(f{bits}_{target})({f} x)\n{{\n"
                f"    return x >= {float(high + 1).hex()}{suffix} ? {_literal(high, target)}\n"
                f"           : x > {float(low).hex()}{suffix} ? ({_reg(target)}){step}x\n"
                f"           : x == x ? {_literal(low, target)} : 0;\n}}"
            )
    parts.append(_HALF_HELPERS)
    return "\n".join(parts)


_HALF_HELPERS = """\
/* round to nearest, ties to even; subnormals by adding 0.5, whose last place is the least float16 */
static inline uint16_t CHARL_CLONE(f32_f16)(float x)
{
    const uint32_t u = CHARL_CLONE(bits_f32_u32)(x), a = u & 0x7fffffffu;
    const uint32_t normal = (a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u) >> 13;
    const uint32_t small = CHARL_CLONE(bits_f32_u32)(CHARL_CLONE(bits_u32_f32)(a) + 0.5f) - 0x3f000000u;
    const uint32_t special = a > 0x7f800000u ? 0x7e00u | ((a >> 13) & 0x3ffu) : 0x7c00u;
    const uint32_t r = a >= 0x47800000u ? special : a < 0x38800000u ? small : normal;
    return (uint16_t)(r | ((u >> 16) & 0x8000u));
}
static inline float CHARL_CLONE(f16_f32)(uint16_t h)
{
    const uint32_t a = h & 0x7fffu, s = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t small = CHARL_CLONE(bits_f32_u32)(CHARL_CLONE(bits_u32_f32)(a + 0x3f000000u) - 0.5f);
    const uint32_t r = a < 0x400u ? small : (a << 13) + (a < 0x7c00u ? 0x38000000u : 0x70000000u);
    return CHARL_CLONE(bits_u32_f32)(r | s);
}
static inline uint16_t CHARL_CLONE(f32_bf16)(float x)
{
    const uint32_t u = CHARL_CLONE(bits_f32_u32)(x);
    const uint32_t r = (u & 0x7fffffffu) > 0x7f800000u ? u | 0x400000u : u + 0x7fffu + ((u >> 16) & 1u);
    return (uint16_t)(r >> 16);
}
static inline float CHARL_CLONE(bf16_f32)(uint16_t h)
{
    return CHARL_CLONE(bits_u32_f32)((uint32_t)h << 16);
}
/* to float with rounding to odd, so that a second rounding to 16 bits is the only one that shows */
static inline float CHARL_CLONE(odd_f64)(double x)
{
    const float f = (float)x;
    const double d = f;
    const uint32_t u = CHARL_CLONE(bits_f32_u32)(f);
    const uint32_t odd = (u - (fabs(d) > fabs(x) ? 1u : 0u)) | 1u;
    return CHARL_CLONE(bits_u32_f32)(d == x || x != x ? u : odd);
}
static inline float CHARL_CLONE(odd_u64)(uint64_t x)
{
    const uint64_t top = (x >> 11) | ((x & 0x7ffu) != 0);
    return CHARL_CLONE(odd_f64)(x >> 53 ? (double)top * 0x1p11 : (double)x);
}
static inline float CHARL_CLONE(odd_i64)(int64_t x)
{
    const float f = CHARL_CLONE(odd_u64)(x < 0 ? 0u - (uint64_t)x : (uint64_t)x);
    return x < 0 ? -f : f;
}
/* a 16-bit loop: blocks of operands are widened to float, and the result (if it is not bool) rounded back */
static void CHARL_CLONE(half)(int64_t n, void *out, const void *const *in, int arity,
                              void (*load)(int64_t, float *, const uint16_t *), charl_loop_t loop,
                              void (*store)(int64_t, uint16_t *, const float *))
{
    float block[4][CHARL_HALF_BLOCK];
    const void *const operands[3] = {block[0], block[1], block[2]};
    for (int64_t s = 0; s < n; s += CHARL_HALF_BLOCK) {
        const int64_t m = n - s < CHARL_HALF_BLOCK ? n - s : CHARL_HALF_BLOCK;
        for (int k = 0; k < arity; k++) {
            load(m, block[k], (const uint16_t *)in[k] + s);
        }
        if (store) {
            loop(m, block[3], operands);
            store(m, (uint16_t *)out + s, block[3]);
        } else {
            loop(m, (uint8_t *)out + s, operands);
        }
    }
}
"""
for _half in HALVES:
    _HALF_HELPERS += f"""\
static void CHARL_CLONE(load_{_half})(int64_t n, float *out, const uint16_t *in)
{{
#pragma GCC ivdep
    for (int64_t e = 0; e < n; e++) {{
        out[e] = CHARL_CLONE({_half}_f32)(in[e]);
    }}
}}
static void CHARL_CLONE(store_{_half})(int64_t n, uint16_t *out, const float *in)
{{
#pragma GCC ivdep
    for (int64_t e = 0; e < n; e++) {{
        out[e] = CHARL_CLONE(f32_{_half})(in[e]);
    }}
}}
"""

_FRAME = """\
/* Generated by charl/ops/cgen.py from the op table. The file includes itself, once a CPU level. */
#ifndef CHARL_CLONE
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CHARL_OPS_HASH "@HASH@"
#define CHARL_LOOPS @COUNT@
#define CHARL_HALF_BLOCK 128
#if defined(__GNUC__)
#define CHARL_NOINLINE __attribute__((noinline, cold))
#else
#define CHARL_NOINLINE
#endif
typedef void (*charl_loop_t)(int64_t n, void *out, const void *const *in);

@TABLES@
#define CHARL_CLONE(name) name##_base
#include "ops.h"
#undef CHARL_CLONE
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define CHARL_CLONES 1
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define CHARL_CLONE(name) name##_v3
#include "ops.h"
#undef CHARL_CLONE
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#define CHARL_CLONE(name) name##_v4
#include "ops.h"
#undef CHARL_CLONE
#pragma GCC pop_options
#endif

static const charl_loop_t *charl_ops_loops(void)
{
#ifdef CHARL_CLONES
    if (__builtin_cpu_supports("x86-64-v4")) {
        return table_v4;
    }
    if (__builtin_cpu_supports("x86-64-v3")) {
        return table_v3;
    }
#endif
    return table_base;
}
#else /* one clone */
@HELPERS@
@FUNCTIONS@

static const charl_loop_t CHARL_CLONE(table)[CHARL_LOOPS] = {
@LOOPS@
};
#endif
"""


def header(keys: tuple[Key, ...] | None = None) -> str:
    """The text of csrc/gen/ops.h, or of one with the loops of `keys` alone (a test compiles a few)."""
    keys = loops() if keys is None else keys
    writer = _Writer()
    names = [writer.loop(*key) for key in keys]
    tables = [
        f"static const {_mem(dtype)} {name}[{len(values)}] = {{{', '.join(_literal(v, dtype) for v in values)}}};"
        for (dtype, values), name in writer.tables.items()
    ]
    entries = [
        f"    {name}, /* {k} {op}({', '.join(args)}) {result} */"
        for k, ((op, args, result), name) in enumerate(zip(keys, names))
    ]
    parts = {"HASH": table_hash(), "COUNT": str(len(names)), "TABLES": "\n".join(tables), "HELPERS": _helpers(),
             "FUNCTIONS": "\n".join(writer.functions), "LOOPS": "\n".join(entries)}  # fmt: skip
    text = _FRAME
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text
