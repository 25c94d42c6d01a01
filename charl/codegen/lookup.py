"""Constant tables read by a vector of indices: permutes of registers where the table fits into few,
since a gather takes 10 to 30 times as long; gathers elsewhere.
"""

from __future__ import annotations

from charl.codegen.host import Host
from charl.codegen.text import REGISTER, Code, literal, suffix, vector
from charl.core.dtypes import BY_SHORT

MOST = 2  # registers of a table that is permuted
# By bytes of a register and of an element: the permute of one register, and of two
PERMUTES = {
    (64, 4): ("llvm.x86.avx512.permvar.sf.512", "llvm.x86.avx512.vpermi2var.ps.512"),
    (64, 8): ("llvm.x86.avx512.permvar.df.512", "llvm.x86.avx512.vpermi2var.pd.512"),
    (32, 4): ("llvm.x86.avx2.permps", ""),
}
NEEDS = {64: "avx512f", 32: "avx2"}


def table(code: Code, host: Host, prim, index: str, width: int) -> str:
    """prim.attr[index], of floats or integers; index is a vector of i32, in range."""
    element, entries, size = REGISTER[prim.dtype], prim.attr, BY_SHORT[prim.dtype].itemsize
    register = host.vector_bytes
    lanes = register // size
    found = PERMUTES.get((register, size)) if prim.dtype[0] == "f" else None
    if width > 1 and found and host.has(NEEDS[register]) and len(entries) <= MOST * lanes:
        return _permuted(code, found, prim.dtype, entries, index, width, lanes)
    text = ", ".join(f"{element} {literal(prim.dtype, value)}" for value in entries)
    place = code.module.constant(f"[{len(entries)} x {element}]", f"[{text}]")
    where = code.op(f"getelementptr {element}, ptr {place}, {vector('i32', width)} {index}")
    if width == 1:
        return code.op(f"load {element}, ptr {where}")
    full = vector(element, width)
    return code.call(
        f"llvm.masked.gather.{suffix(element, width)}.v{width}p0",
        full,
        (vector("ptr", width), where),
        ("i32", str(size)),
        (vector("i1", width), "splat (i1 true)"),
        (full, "poison"),
    )


def _permuted(code, names, dtype, entries, index, width, lanes) -> str:
    """Register by register: an index's low bits name a lane."""
    element = REGISTER[dtype]
    whole = "i32" if BY_SHORT[dtype].itemsize == 4 else "i64"
    full, order = vector(element, lanes), vector(whole, lanes)
    entries = [*entries, *(0.0,) * (-len(entries) % lanes)]
    parts = []
    for k in range(0, len(entries), lanes):
        text = ", ".join(f"{element} {literal(dtype, v)}" for v in entries[k : k + lanes])
        parts.append(code.op(f"load {full}, ptr {code.module.constant(full, f'<{text}>')}"))
    if whole == "i64":
        index = code.op(f"zext {vector('i32', width)} {index} to {vector(whole, width)}")
    of = vector(whole, width)

    def some(first: int) -> str:
        """A register's worth of indices, from this lane on."""
        if width == lanes:
            return index
        places = [first + k if first + k < width else -1 for k in range(lanes)]
        texts = ", ".join(f"i32 {k}" if k >= 0 else "i32 poison" for k in places)
        return code.op(f"shufflevector {of} {index}, {of} poison, <{lanes} x i32> <{texts}>")

    def one(at: str) -> str:
        if len(parts) == 1:
            return code.call(names[0], full, (full, parts[0]), (order, at))
        if names[1]:
            return code.call(names[1], full, (full, parts[0]), (order, at), (full, parts[1]))
        low, high = (code.call(names[0], full, (full, part), (order, at)) for part in parts)
        upper = code.op(f"icmp uge {order} {at}, splat ({whole} {lanes})")
        return code.op(f"select {vector('i1', lanes)} {upper}, {full} {high}, {full} {low}")

    made = [one(some(first)) for first in range(0, width, lanes)]
    if width < lanes:
        return code.shuffle(full, made[0], "poison", range(width))
    return code.joined(element, lanes, made)
