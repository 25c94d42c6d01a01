"""The record of an op and the registry. Each op is declared once; the rest of the house is driven
by its row.
"""

from __future__ import annotations

from collections.abc import Callable

from charl.core.named import NamedTuple
from charl.ops.primitive import PRIMITIVES


class Op(NamedTuple):
    """One op.

    name     the array API standard's where it has one
    code     its number in signatures and C tables: the order of declaration
    group    elementwise | movement | reduce | scan | contract | index | source
    arity    number of operands
    kinds    accepted operand kinds, of "biuf"
    result   "same" (promoted operands), "bool", "any" (the call states it), or "float": ints and
             bool are cast first, as NumPy does (8 bits to float16, 16 to float32, else float64), so
             expand sees floats alone; or "number": bool is cast to int8 first, else "same"
    expand   expand(b, *operands) builds it from other ops; None where a primitive of that name does
             it
    numpy    the reference: a dotted name below numpy or scipy ("exp", "special.erf"), "" where
             there is none
    domain   (low, high) sampled by tests; None means all values, specials included
    ulp      the tested error bound; 0 means the same bits as NumPy
    half     expand takes float16 and bfloat16 themselves; else they are computed in float32
    cost     rough time of an element in units of one add; 10 and more is worth storing rather than
             repeating
    """

    name: str
    code: int
    group: str
    arity: int
    kinds: str
    result: str
    expand: Callable | None = None
    numpy: str = ""
    domain: tuple[float, float] | None = None
    ulp: int = 0
    half: bool = False
    cost: int = 1
    doc: str = ""


OPS: dict[str, Op] = {}


def op(name, arity, kinds, result="same", *, group="elementwise", **fields) -> Op:
    """Declares an op; the order of declarations gives its code. A primitive's name may be declared
    once more.
    """
    known = OPS.get(name)
    if known is not None and known.group != "primitive":
        raise ValueError(f"op {name} is declared twice")
    row = Op(name, known.code if known else len(OPS), group, arity, kinds, result, **fields)
    OPS[name] = row
    return row


for _p in PRIMITIVES.values():
    op(_p.name, _p.arity, _p.kinds, _p.result, group="primitive")
