"""Kernel: the loop IR that every backend consumes. Axes, index maps, and a linear single-assignment
body.

A Kernel walks `outer` axes (all parallel, C order) and, in each looping stage, one `inner` axis:

    kernel row (a0: in f32, a1: out f32)                 softmax over the last axis
      parallel i0 < p0                                   outer
      stage over j < p1                                  inner
        v0 = load f32 a0[p1*i0 + j]
        v1 = reduce max f32 v0
      stage over j < p1
        v2 = load f32 a0[p1*i0 + j]
        v3 = sub f32 v2, v1
        ...

Numbers. An Int is a literal 0, 1 or -1, or P(k): the k-th launch parameter. So a Kernel's text
holds no extent. Levels. A value made in a looping stage is an inner value: used in that stage only.
A reduce's result and all values of a stage with `loop=False` are row values: one per outer index,
used anywhere later.

Order of reductions, which every backend follows to the bit. `order` says how the inner index p is walked, from
p0 to p1 (0 to the inner extent, or one BLOCK of it where `block` names the outer axis that counts blocks):
  "row"     p in steps of LANES = 32: element p belongs to lane (p - p0) % 32. A chunk is STEPS = 32 steps. Each
            lane starts a chunk at the identity, folds its elements in order, and is folded into that lane's total
            at the chunk's end (total = op(total, chunk)). At the end lane l takes op(l, l + h) for h = 16, 8, 4, 2, 1.
  "column"  the same with LANES = 1 and no final tree; the last outer axis is the one to vectorise over.
Lanes past the end take no part. A BLOCK is STEPS * STEPS steps: 32768 elements in a row, 1024 in a column.
The identities: add -0.0 (0 for ints), mul 1, max -inf or the least integer, min +inf or the greatest, or 0, and 1.
`dot` is add with acc = fma(a, b, acc) in the chunk.

Order of scans. The total starts at the identity, with each BLOCK anew; an element's result is the total once it
is folded in, and `last` the total at the end. Elements are folded one by one, but along a row with `block` by GROUPs
of 8: for h = 1, 2, 4 the upper h of every 2h neighbours take op(last of the lower h, own); then element l of the
group gives op(total, l), the last of which is the next total. A scan of a long axis is three Kernels: the blocks'
totals; their scan, element by element; and the scans in blocks, each result r as op(total of the blocks before, r).
So sums of what is not negative never fall: every rounding is of a sum with the total before, which is a result.

Units. A launch covers units [begin, end):
  "row" with outer axes: a unit is one outer index (flattened in C order);
  "row" without, when no stage reduces or scans: UNIT = 1024 elements of the inner axis; else a single unit 0;
  "column": a unit is COLUMNS = 256 neighbours of the last outer axis; units count the other outer axes, then these.
  Contract: a unit is one of ceil(m / TILE_I) x ceil(n / TILE_J) tiles of a batch item; units count batch, then j
  tiles, then i tiles. Tiles may be cut unevenly and neighbours walked as one: every element is in exactly one tile.
  Scratch of a thread, in elements: (KC + PACK_I) * TILE_J + KC * PACK_I + 4096.
"""

from __future__ import annotations

from typing import Union

from charl.core.errors import InternalError
from charl.core.named import NamedTuple
from charl.ops.table import OPS

LANES = 32
STEPS = 32
ROW_BLOCK = LANES * STEPS * STEPS
COLUMN_BLOCK = STEPS * STEPS
GROUP = 8
UNIT = 1024
COLUMNS = 256
KC = 256  # contraction: products are summed from 0 in blocks of KC along k, block sums added in order
PRODUCTS = ("f32", "f64", "i32", "u32", "i64", "u64")  # dtypes of a contraction's sums
TILE_I = 16
TILE_J = 256
PACK_I = 192  # rows of lhs that are packed at once


class P(NamedTuple):
    """The k-th launch parameter (int64)."""

    k: int

    def __repr__(self) -> str:
        return f"p{self.k}"


Int = Union[int, P]


class Arg(NamedTuple):
    """A buffer. mode is in, out, or inout (an update in place)."""

    dtype: str
    mode: str


class Axis(NamedTuple):
    extent: Int


class Access(NamedTuple):
    """Element offset + sum(strides[a] * axis[a]) of buffer `arg`; axes are outer + (inner,) or
    outer + (i, j, k).
    """

    arg: int
    offset: Int
    strides: tuple[Int, ...]


class Digits(NamedTuple):
    """How an operand of a Contract walks an axis that its own index cuts into several: the axis's
    number in mixed radix, most significant digit first, as (extent, stride) each. The Access has
    stride 0 there.
    """

    side: str  # "lhs" or "rhs"
    axis: str  # "i", "j" or "k"
    parts: tuple[tuple[Int, Int], ...]


class Instr(NamedTuple):
    """Defines the value whose number is its position in the kernel. dtype is the result's name.

    op       args         attr
    load     () or (x,)   Access             lanes whose bool x is false read nothing and give 0
    store    (value,)     Access             defines no value
    gather   (index,)     (Access, stride)   reads at Access + index * stride; index is in range
    index    ()           (offset, strides)  i64: offset + sum(strides[a] * axis[a])
    const    ()           int, float, bool   a literal, part of the text
    param    ()           P                  a scalar: the low bits of the launch parameter
    wrap     (index,)     (extent, site)     i64: -n <= i < n gives i or i + n; else an error, 0
    keep     (value,)     slot               an inner value into this row's scratch slot
    kept     ()           slot               and back, in a later stage
    reduce   (v,), dot 2  kind               add mul max min or and dot; a row value
             (scan,)      "last"             that scan's total
    scan     (value,)     kind               add mul max min; an inner value: inclusive prefix
    acc      ()           None               in a Contract: the sum of products
    other                                    an op of the table, or a primitive (cast, select),
                                             on values of its own level or row values
    """

    op: str
    dtype: str
    args: tuple[int, ...] = ()
    attr: object = None


class Stage(NamedTuple):
    loop: bool
    body: tuple[Instr, ...]


class Kernel(NamedTuple):
    """One fused loop nest. `block` is the outer axis that counts BLOCKs of the inner one, or None."""

    args: tuple[Arg, ...]
    outer: tuple[Axis, ...]
    inner: Axis | None
    order: str
    block: int | None
    stages: tuple[Stage, ...]
    slots: tuple[str, ...] = ()  # dtypes of the scratch slots

    def __str__(self) -> str:
        return _text(self)


class Contract(NamedTuple):
    """out[outer, i, j] = epilogue(sum over k of lhs * rhs). dtype, of operands and sum, is f32 or f64,
    and the sum's order is KC's, or an integer of 32 or 64 bits; operands of i32 sums may be i8.
    """

    args: tuple[Arg, ...]
    outer: tuple[Axis, ...]
    i: Axis
    j: Axis
    k: Axis
    dtype: str
    lhs: Access  # strides over outer + (i, j, k); that of j is 0
    rhs: Access  # that of i is 0
    epilogue: tuple[Instr, ...]  # the first is acc; accesses over outer + (i, j)
    digits: tuple[
        Digits, ...
    ] = ()  # windows of an image, say: columns (y, x), and k (channel, y, x)

    @property
    def operands(self) -> str:
        """The dtype of lhs and rhs."""
        return self.args[self.lhs.arg].dtype

    def walked(self, side: str, axis: str) -> tuple[tuple[Int, Int], ...]:
        """The digits of an operand's axis, or () where its stride says all."""
        found = (d.parts for d in self.digits if (d.side, d.axis) == (side, axis))
        return next(found, ())

    def __str__(self) -> str:
        return _text(self)


Value = Union[Kernel, Contract]


def names(kernel: Value) -> tuple[str, ...]:
    """Names of the axes that an Access of this kernel ranges over."""
    outer = tuple(f"i{k}" for k in range(len(kernel.outer)))
    if isinstance(kernel, Contract):
        return (*outer, "i", "j", "k")
    return outer + (("j",) if kernel.inner is not None else ())


def affine(offset: Int, strides: tuple[Int, ...], axes: tuple[str, ...]) -> str:
    """Text of an affine index, zero terms left out."""
    terms = [] if offset == 0 else [repr(offset)]
    for stride, axis in zip(strides, axes):
        if stride == 1:
            terms.append(axis)
        elif stride != 0:
            terms.append(f"{stride!r}*{axis}")
    return " + ".join(terms) or "0"


def _operand(instr: Instr, axes: tuple[str, ...]) -> str:
    values = ", ".join(f"v{a}" for a in instr.args)
    attr = instr.attr
    if instr.op in ("load", "store"):
        where = f"a{attr.arg}[{affine(attr.offset, attr.strides, axes)}]"
        if instr.op == "store":
            return f"{where} = {values}"
        return where + (f" if {values}" if values else "")
    if instr.op == "gather":
        access, stride = attr
        return f"a{access.arg}[{affine(access.offset, access.strides, axes)} + {stride!r}*{values}]"
    if instr.op == "index":
        return affine(*attr, axes)
    if instr.op == "wrap":
        return f"{values} in {attr[0]!r} site {attr[1]}"
    if instr.op in ("keep", "kept"):
        return f"s{attr}" + (f" = {values}" if values else "")
    if attr is None:
        return values
    return f"{values} {attr!r}" if values else repr(attr)


def _text(kernel: Value) -> str:
    args = ", ".join(f"a{k}: {a.mode} {a.dtype}" for k, a in enumerate(kernel.args))
    axes = names(kernel)
    lines = []
    if isinstance(kernel, Contract):
        lines.append(f"contract {kernel.dtype} ({args})")
    else:
        lines.append(f"kernel {kernel.order} ({args})")
    for k, axis in enumerate(kernel.outer):
        block = " blocks of j" if isinstance(kernel, Kernel) and kernel.block == k else ""
        lines.append(f"  parallel i{k} < {axis.extent!r}{block}")
    number = 0

    def body(instrs, indent):
        nonlocal number
        for instr in instrs:
            shown = _operand(instr, axes[:-1] if isinstance(kernel, Contract) else axes)
            kind = f" {instr.attr}" if instr.op in ("reduce", "scan") else ""
            if instr.op in ("reduce", "scan"):
                shown = ", ".join(f"v{a}" for a in instr.args)
            left = "" if instr.op in ("store", "keep") else f"v{number} = "
            lines.append(f"{indent}{left}{instr.op}{kind} {instr.dtype} {shown}".rstrip())
            number += 1

    if isinstance(kernel, Contract):
        lines.append(f"  i < {kernel.i.extent!r}, j < {kernel.j.extent!r}, k < {kernel.k.extent!r}")
        for side, access in (("lhs", kernel.lhs), ("rhs", kernel.rhs)):
            lines.append(
                f"  {side} = load a{access.arg}[{affine(access.offset, access.strides, axes)}]"
            )
        for side, axis, parts in kernel.digits:
            shown = ", ".join(f"{extent!r}: {stride!r}" for extent, stride in parts)
            lines.append(f"  {side} walks {axis} as digits {shown}")
        lines.append("  epilogue")
        body(kernel.epilogue, "    ")
    else:
        for stage in kernel.stages:
            lines.append(
                f"  stage over j < {kernel.inner.extent!r}" if stage.loop else "  stage once"
            )
            body(stage.body, "    ")
        for slot, dtype in enumerate(kernel.slots):
            lines.append(f"  slot s{slot}: {dtype}")
    return "\n".join(lines)


def instructions(kernel: Value) -> tuple[Instr, ...]:
    """All instructions, in the order that numbers their values."""
    if isinstance(kernel, Contract):
        return kernel.epilogue
    return tuple(instr for stage in kernel.stages for instr in stage.body)


_MEMORY = {
    "load",
    "store",
    "gather",
    "index",
    "const",
    "param",
    "wrap",
    "keep",
    "kept",
    "reduce",
    "scan",
    "acc",
}
REDUCTIONS = ("add", "mul", "max", "min", "or", "and", "dot")


def verify(kernel: Value) -> None:
    """Raises InternalError where a rule of this file is broken. Runs after each pass in tests."""

    def check(condition: bool, what: str) -> None:
        if not condition:
            raise InternalError(f"kernel verifier: {what}", kernel)

    contract = isinstance(kernel, Contract)
    axes = len(names(kernel)) - (1 if contract else 0)
    level: dict[int, object] = {}  # value -> "row" or the number of its stage
    dtypes: dict[int, str] = {}
    stages = (Stage(False, kernel.epilogue),) if contract else kernel.stages
    body = instructions(kernel)
    kept: dict[int, int] = {}
    number = 0

    def check_access(access: Access) -> None:
        check(0 <= access.arg < len(kernel.args), f"no argument a{access.arg}")
        check(
            len(access.strides) == axes, f"access has {len(access.strides)} strides for {axes} axes"
        )
        for value in (access.offset, *access.strides):
            check(
                isinstance(value, P) or value in (0, 1, -1),
                f"{value!r} is neither a parameter nor 0, 1, -1",
            )

    if contract:
        both = [kernel.args[side.arg].dtype for side in (kernel.lhs, kernel.rhs)]
        fits = both == [kernel.dtype] * 2 or (both == ["i8"] * 2 and kernel.dtype == "i32")
        check(fits and kernel.dtype in PRODUCTS, f"{kernel.dtype} sums of {both}")
        for side, axis, parts in kernel.digits:
            access = kernel.lhs if side == "lhs" else kernel.rhs
            check(axis == "k" or (side, axis) in (("lhs", "i"), ("rhs", "j")), f"{side} {axis}")
            check(access.strides["ijk".index(axis) - 3] == 0, f"{side} has digits and a stride")
            for value in (n for part in parts for n in part):
                check(isinstance(value, P) or value in (0, 1, -1), f"digits of {value!r}")
    else:
        check(kernel.order in ("row", "column"), f"order {kernel.order!r}")
        check(kernel.order == "row" or bool(kernel.outer), "a column kernel needs an outer axis")
        check(kernel.block is None or kernel.block < len(kernel.outer), "block names no outer axis")
    for at, stage in enumerate(stages):
        check(not stage.loop or kernel.inner is not None, "a looping stage without an inner axis")
        for instr in stage.body:
            for a in instr.args:
                check(a in level, f"v{number} uses v{a}, which is not defined before it")
                check(
                    level[a] in ("row", at), f"v{number} uses the inner value v{a} of another stage"
                )
            if instr.op in ("load", "store"):
                check_access(instr.attr)
                arg = kernel.args[instr.attr.arg]
                check(arg.dtype == instr.dtype, f"{instr.op} {instr.dtype} of a {arg.dtype} buffer")
                check(
                    (arg.mode != "in") if instr.op == "store" else arg.mode != "out",
                    f"{instr.op}: mode {arg.mode}",
                )
                if instr.op == "store":
                    check(dtypes[instr.args[0]] == instr.dtype, "store of another dtype")
            elif instr.op == "gather":
                check_access(instr.attr[0])
                check(dtypes[instr.args[0]] == "i64", "gather: index must be i64")
            elif instr.op in ("keep", "kept"):
                check(
                    stage.loop and 0 <= instr.attr < len(kernel.slots),
                    f"{instr.op}: slot {instr.attr}",
                )
                if instr.op == "keep":
                    kept[instr.attr] = at
                else:
                    check(
                        kept.get(instr.attr, at) < at,
                        f"slot s{instr.attr} is read before a stage fills it",
                    )
            elif instr.op in ("reduce", "scan"):
                last = instr.op == "reduce" and instr.attr == "last"
                check(stage.loop and (last or instr.attr in REDUCTIONS), f"{instr.op} {instr.attr}")
                check(not last or body[instr.args[0]].op == "scan", "last of what is no scan")
                check(dtypes[instr.args[0]] == instr.dtype, f"{instr.op} changes the dtype")
                check(len(instr.args) == (2 if instr.attr == "dot" else 1), f"{instr.op}: arity")
            elif instr.op == "acc":
                check(contract and number == 0, "acc stands first in a contraction's epilogue")
            elif instr.op not in _MEMORY:
                check(instr.op in OPS, f"unknown op {instr.op}")
                check(
                    OPS[instr.op].arity == len(instr.args),
                    f"{instr.op}: {len(instr.args)} operands",
                )
            if instr.op not in ("store", "keep"):
                dtypes[number] = instr.dtype
                level[number] = at if stage.loop and instr.op != "reduce" else "row"
            number += 1
