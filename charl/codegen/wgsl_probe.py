"""What WGSL leaves to the device, found out by one small shader: whether fma() rounds once, whether
subgroups are runs of neighbouring invocations, and whether a long loop comes to its end.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from charl.codegen.wgsl_values import Features

START = struct.pack("<2f4I", 2.0**-13, 2.0**-27, 0, 0, 0, 0)  # what a0 holds before
INVOCATIONS = 64

# (1 + t)(1 - t) - 1 is -t * t if it is rounded once, else 0.
_FMA = """    let {t} = {type}(bitcast<f32>(atomicLoad(&a0[{k}u])));
    let r{k} = fma({one} + {t}, {one} - {t}, -{one});
    atomicStore(&a0[{to}u], select(0u, 1u, bitcast<{bits}>(r{k}) << 1u != {zero}));"""
_LINE = """  let from_first = subgroupShuffle(lane, 0u) + within;
  let neighbour = subgroupShuffleXor(lane, 1u);
  if (within != lane % size || from_first != lane || neighbour != (lane ^ 1u)) {
    atomicAdd(&a0[4], 1u);
  }"""
ROUNDS, FACTOR, ADDEND = 70_000, 1664525, 1013904223
_LOOP = f"""    var n = 0u;
    for (var i = 0u; i < {ROUNDS}u; i += 1u) {{ n = n * {FACTOR}u + {ADDEND}u; }}
    atomicStore(&a0[5], n);"""
# the sum of ADDEND * FACTOR**i over i < ROUNDS, modulo 2**32
_END = (pow(FACTOR, ROUNDS, (FACTOR - 1) << 32) - 1) // (FACTOR - 1) * ADDEND % (1 << 32)


def text(features: Features) -> str:
    """The shader: of a0, six words, 0 and 1 are as in START; 2 and 3 tell whether fma of f32 and of
    f64 rounds once; 4 counts the invocations that are not in line; 5 is what a long loop makes.
    """
    fma = [_FMA.format(k=0, to=2, t="x", type="f32", one="1.0f", bits="u32", zero="0u")]
    if features.f64 and features.i64:
        fma.append(_FMA.format(k=1, to=3, t="y", type="f64", one="1.0lf", bits="u64", zero="0lu"))
    more = [
        "        @builtin(subgroup_size) size: u32,",
        "        @builtin(subgroup_invocation_id) within: u32,",
    ]
    lines = [
        "@group(0) @binding(0) var<storage, read> params: array<u32>;",
        "@group(0) @binding(1) var<storage, read_write> a0: array<atomic<u32>>;",
        f"@compute @workgroup_size({INVOCATIONS})",
        "fn main(",
        *(more if features.subgroup else []),
        "        @builtin(local_invocation_id) lid: vec3<u32>) {",
        "  let lane = lid.x;",
        "  if (lane == params[1]) {",
        *fma,
        _LOOP,
        "  }",
        *([_LINE] if features.subgroup else []),
        "}",
        "",
    ]
    return "\n".join(lines)


def probed(features: Features, words: Sequence[int]) -> Features:
    """The Features of a device whose probe left these six words in a0."""
    fused = bool(words[2]) and (bool(words[3]) or not (features.f64 and features.i64))
    in_line = features.subgroup and words[4] == 0
    return features._replace(fused=fused, subgroup=in_line, endless=words[5] == _END)
