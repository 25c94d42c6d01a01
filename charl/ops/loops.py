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

cgen.py writes them; what runs needs their numbers alone. In a clone the interpreter's CHARL_OPS_HASH
must equal table_hash(), which reads the sources of this package.
"""

from __future__ import annotations

import os
from functools import cache
from itertools import accumulate

from charl.core.dtypes import ALL, BY_SHORT
from charl.ops.table import OPS, Op

HERE = os.path.dirname(os.path.realpath(__file__))
DTYPES = tuple(d.short for d in ALL)
KIND = {d.short: d.kind for d in BY_SHORT.values()}
WIDTH = {d.short: 8 * d.itemsize for d in BY_SHORT.values()}
Key = tuple[str, tuple[str, ...], str]


@cache
def _with(kinds: str) -> tuple[str, ...]:
    return tuple(d for d in DTYPES if KIND[d] in kinds)


def _dtypes(row: Op) -> tuple[str, ...]:
    """Of the operands of an elementwise op."""
    return _with(row.kinds if row.result != "float" else "f")


def _of(row: Op) -> list[Key]:
    """The loops of one op, in order."""
    if row.name == "cast":
        return [("cast", (a,), r) for a in DTYPES for r in DTYPES]
    if row.name == "bitcast":
        wide = [d for d in DTYPES if d != "b1"]
        return [("bitcast", (a,), r) for a in wide for r in wide if WIDTH[a] == WIDTH[r]]
    if row.name == "philox":
        return [("philox", ("u64", "u64"), "u64")]
    if row.group not in ("elementwise", "primitive"):
        return []
    chooses, truth = row.name in ("where", "select"), row.result == "bool"
    return [
        (row.name, ("b1" if chooses else d, *(d,) * (row.arity - 1)), "b1" if truth else d)
        for d in _dtypes(row)
    ]


def _count(row: Op) -> int:
    """len(_of(row)), for most ops without making the keys."""
    plain = row.group == "elementwise" and row.name != "cast"
    return len(_dtypes(row) if plain else _of(row))


def loops() -> tuple[Key, ...]:
    """All (op, args, result) that have a loop; the position is the loop's number."""
    return tuple(key for row in OPS.values() for key in _of(row))


@cache
def _firsts() -> dict[str, int]:
    """The number of each op's first loop."""
    counts = accumulate((_count(row) for row in OPS.values()), initial=0)
    return dict(zip(OPS, counts, strict=False))


@cache
def loop_number(op: str, args: tuple[str, ...], result: str) -> int | None:
    """The number of a loop, None where there is none."""
    of_op = _of(OPS[op]) if op in OPS else []
    key = (op, args, result)
    return _firsts()[op] + of_op.index(key) if key in of_op else None


def table_hash() -> str:
    """A hash of everything that the generated file depends on."""
    import zlib  # here: an installed package needs no hash

    names = sorted(name for name in os.listdir(HERE) if name.endswith(".py"))
    crc = 0
    for name in [*names, os.path.join("..", "core", "dtypes.py")]:
        with open(os.path.join(HERE, name), "rb") as file:
            crc = zlib.crc32(file.read().replace(b"\r\n", b"\n"), crc)
    return f"{crc:08x}"


@cache
def checked_hash() -> str:
    """table_hash() in a clone, whose compiled modules may be older than its sources, or "": any."""
    setup = os.path.join(HERE, "..", "..", "setup.py")
    return table_hash() if os.path.exists(setup) else ""
