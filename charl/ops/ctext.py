"""What the C loops of cgen share: types, literals, conversions, and the frame of csrc/gen/ops.h."""

from __future__ import annotations

import math

from charl.ops.loops import DTYPES, KIND, WIDTH
from charl.ops.trace import HALVES


def register_type(dtype: str) -> str:
    """The C type of a local."""
    if dtype == "b1":
        return "_Bool"
    if dtype in HALVES:
        return "uint16_t"
    return {"f": "float" if WIDTH[dtype] == 32 else "double", "i": f"int{WIDTH[dtype]}_t",
            "u": f"uint{WIDTH[dtype]}_t"}[KIND[dtype]]  # fmt: skip


def memory_type(dtype: str) -> str:
    """The C type of an array element."""
    return "uint8_t" if dtype == "b1" else register_type(dtype)


def literal(value, dtype: str) -> str:
    kind = KIND[dtype]
    if kind == "b":
        return str(int(value))
    if kind == "f":
        suffix = "f" if dtype == "f32" else ""
        if math.isnan(value):
            return f'__builtin_nan{suffix}("")'
        if math.isinf(value):
            return f"{'-' if value < 0 else ''}__builtin_inf{suffix}()"
        return f"{value.hex()}{suffix}"
    if kind == "u":
        return f"UINT{max(WIDTH[dtype], 32)}_C({value})"
    if value == -(1 << 63):
        return "INT64_MIN"
    return f"INT{max(WIDTH[dtype], 32)}_C({value})"


def promoted_unsigned(dtype: str) -> str:
    return "uint64_t" if WIDTH[dtype] == 64 else "uint32_t"


def convert(op: str, source: str, target: str, value: str) -> str:
    """A cast or a bitcast of a C expression."""
    if source == target:
        return value
    if op == "bitcast":
        if "f" in (KIND[source], KIND[target]) and WIDTH[source] > 16:
            return f"CHARL_CLONE(bits_{source}_{target})({value})"
        return f"({register_type(target)}){value}"
    if target == "b1":
        return f"({value} & 0x7fff) != 0" if source in HALVES else f"{value} != 0"
    if source in HALVES:
        return convert(op, "f32", target, f"CHARL_CLONE({source}_f32)({value})")
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
    return f"({register_type(target)}){value}"


def helpers() -> str:
    """Conversions that C has no exact expression for; compiled with each clone, to inline."""
    parts = []
    for bits, f in ((32, "float"), (64, "double")):
        for sign in "iu":
            i = f"{'u' if sign == 'u' else ''}int{bits}_t"
            for (a, an), (r, rn) in (
                ((f"f{bits}", f), (f"{sign}{bits}", i)),
                ((f"{sign}{bits}", i), (f"f{bits}", f)),
            ):
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
            # the bounds are powers of two, or 0: exact in either float
            parts.append(
                f"static inline {register_type(target)} CHARL_CLONE(f{bits}_{target})({f} x)\n{{\n"
                f"    return x >= {float(high + 1).hex()}{suffix} ? {literal(high, target)}\n"
                f"           : x > {float(low).hex()}{suffix} ? ({register_type(target)}){step}x\n"
                f"           : x == x ? {literal(low, target)} : 0;\n}}"
            )
    parts += [_HALF_HELPERS, _LOOK_UP]
    return "\n".join(parts)


_HALF_HELPERS = """\
/* ties to even; subnormals by adding 0.5, whose last place is the least float16 */
static inline uint16_t CHARL_CLONE(f32_f16)(float x)
{
    const uint32_t u = CHARL_CLONE(bits_f32_u32)(x), a = u & 0x7fffffffu;
    const float sum = CHARL_CLONE(bits_u32_f32)(a) + 0.5f;
    const uint32_t normal = (a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u) >> 13;
    const uint32_t small = CHARL_CLONE(bits_f32_u32)(sum) - 0x3f000000u;
    const uint32_t special = a > 0x7f800000u ? 0x7e00u | ((a >> 13) & 0x3ffu) : 0x7c00u;
    const uint32_t r = a >= 0x47800000u ? special : a < 0x38800000u ? small : normal;
    return (uint16_t)(r | ((u >> 16) & 0x8000u));
}
static inline float CHARL_CLONE(f16_f32)(uint16_t h)
{
    const uint32_t a = h & 0x7fffu, s = (uint32_t)(h & 0x8000u) << 16;
    const float sum = CHARL_CLONE(bits_u32_f32)(a + 0x3f000000u);
    const uint32_t small = CHARL_CLONE(bits_f32_u32)(sum - 0.5f);
    const uint32_t r = a < 0x400u ? small : (a << 13) + (a < 0x7c00u ? 0x38000000u : 0x70000000u);
    return CHARL_CLONE(bits_u32_f32)(r | s);
}
static inline uint16_t CHARL_CLONE(f32_bf16)(float x)
{
    const uint32_t u = CHARL_CLONE(bits_f32_u32)(x);
    const uint32_t rounded = u + 0x7fffu + ((u >> 16) & 1u);
    const uint32_t r = (u & 0x7fffffffu) > 0x7f800000u ? u | 0x400000u : rounded;
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
/* a 16-bit loop: blocks of operands are widened, and the result (if it is not bool) rounded */
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

_LOOK_UP = """\
/* out[e] = table[index[e]] of 16 entries; the arrays go on to a multiple of 16 */
static inline void CHARL_CLONE(look_up_f32)(int64_t n, float *out, const int32_t *index,
                                            const float *table)
{
#if defined(CHARL_CLONES) && defined(__AVX512F__)
    typedef float line __attribute__((vector_size(64), may_alias));
    typedef int32_t order __attribute__((vector_size(64), may_alias));
    const line all = *(const line *)table;
    for (int64_t e = 0; e < n; e += 16) {
        *(line *)(out + e) = __builtin_shuffle(all, *(const order *)(index + e));
    }
#elif defined(CHARL_CLONES) && defined(__AVX2__)
    typedef float line __attribute__((vector_size(32), may_alias));
    typedef int32_t order __attribute__((vector_size(32), may_alias));
    const line low = *(const line *)table, high = *(const line *)(table + 8);
    for (int64_t e = 0; e < n; e += 8) {
        const order at = *(const order *)(index + e), upper = at > 7;
        const order a = (order)__builtin_shuffle(low, at), b = (order)__builtin_shuffle(high, at);
        *(order *)(out + e) = (a & ~upper) | (b & upper);
    }
#else
    for (int64_t e = 0; e < n; e++) {
        out[e] = table[index[e]];
    }
#endif
}
static inline void CHARL_CLONE(look_up_f64)(int64_t n, double *out, const int32_t *index,
                                            const double *table)
{
#if defined(CHARL_CLONES) && defined(__AVX512F__)
    typedef double line __attribute__((vector_size(64), may_alias));
    typedef int64_t order __attribute__((vector_size(64)));
    typedef int32_t half __attribute__((vector_size(32), may_alias));
    const line low = *(const line *)table, high = *(const line *)(table + 8);
    for (int64_t e = 0; e < n; e += 8) {
        const order at = __builtin_convertvector(*(const half *)(index + e), order);
        *(line *)(out + e) = __builtin_shuffle(low, high, at);
    }
#else
    for (int64_t e = 0; e < n; e++) {
        out[e] = table[index[e]];
    }
#endif
}
"""

FRAME = """\
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
#define CHARL_ALIGNED __attribute__((aligned(64)))
#else
#define CHARL_NOINLINE
#define CHARL_ALIGNED
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
