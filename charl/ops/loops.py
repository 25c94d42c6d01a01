"""Which loops the interpreter has, by number, and what tells that they were made for these sources.

`loops()[k]` is the (op, args, result) that function k computes: out[e] = op(in[0][e], in[1][e],
...) for e < n. args and result are dtype short names. All arrays are contiguous and aligned to
their element; n may be 0. `out` may be exactly one of the `in` pointers where the element sizes are
equal (in place), and otherwise must not overlap an input. b1 is bytes 0 or 1; f16 and bf16 are
their 16 bits. There are loops for

    every table op of group elementwise or primitive on operands of one dtype, for the kinds in its
    row; an op with result "float" only on floats; f16 and bf16 as well (computed in f32 and rounded
    back, as `expansion` does);
    where and select (b1, T, T) -> T;   cast between all pairs of dtypes, also T -> T (a copy);
    bitcast between dtypes of one width;   philox (u64, u64) -> u64.

cgen.py writes them; what runs needs their numbers alone. The interpreter's CHARL_OPS_HASH must equal
table_hash(), which reads the sources of this package.
"""

from __future__ import annotations

import os
import zlib
from functools import cache

from charl.core.dtypes import ALL, BY_SHORT
from charl.ops.table import OPS

DTYPES = tuple(d.short for d in ALL)
KIND = {d.short: d.kind for d in BY_SHORT.values()}
WIDTH = {d.short: 8 * d.itemsize for d in BY_SHORT.values()}
Key = tuple[str, tuple[str, ...], str]


@cache
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


@cache
def index() -> dict[Key, int]:
    """The number of each loop."""
    return {key: k for k, key in enumerate(loops())}


@cache
def table_hash() -> str:
    """A hash of everything that the generated file depends on."""
    here = os.path.dirname(os.path.realpath(__file__))
    names = sorted(name for name in os.listdir(here) if name.endswith(".py"))
    crc = 0
    for name in [*names, os.path.join("..", "core", "dtypes.py")]:
        with open(os.path.join(here, name), "rb") as file:
            crc = zlib.crc32(file.read().replace(b"\r\n", b"\n"), crc)
    return f"{crc:08x}"
