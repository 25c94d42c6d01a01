"""Primitives: the operations that every emitter writes directly. All other ops expand into these.

A row gives, by kind of the operand dtype (b bool, i signed, u unsigned, f float), one LLVM line and
one C expression. In LLVM text {T} is the operand's (vector) type, {R} the result's, {0} {1} {2}
operands; bool is i1 in registers and 0/1 bytes in memory. In C {T} is the operand's type, {U} the
unsigned one it is promoted to; values are locals of exactly their dtype, bool is _Bool. f16 and
bf16 never reach arithmetic here: trace.py uses f32.

Preconditions are the expansion's duty: shl/shr amounts lie in 0..width-1, idiv/irem never see a
zero divisor nor MIN / -1. ftoi saturates and sends NaN to 0 by itself.
"""

from __future__ import annotations

from charl.core.named import NamedTuple


class Primitive(NamedTuple):
    """`result` is "same" (as operand 0), "bool", or "any" (the instruction states it)."""

    name: str
    arity: int
    kinds: str
    result: str
    llvm: dict[str, str]
    c: dict[str, str]


def _row(name, arity, kinds, result, llvm, c):
    if isinstance(llvm, str):
        llvm = dict.fromkeys(kinds, llvm)
    if isinstance(c, str):
        c = dict.fromkeys(kinds, c)
    return Primitive(name, arity, kinds, result, llvm, c)


def _cmp(name, f, i, u, c):
    llvm = {"f": f"fcmp {f} {{T}} {{0}}, {{1}}", "i": f"icmp {i} {{T}} {{0}}, {{1}}",
            "u": f"icmp {u} {{T}} {{0}}, {{1}}", "b": f"icmp {u} {{T}} {{0}}, {{1}}"}  # fmt: skip
    return _row(name, 2, "biuf", "bool", llvm, f"{{0}} {c} {{1}}")


def _call(name, arity=1, c=None):
    """A float intrinsic: llvm.NAME and the C function of math.h, suffixed f for float."""
    operands = ", ".join(f"{{T}} {{{k}}}" for k in range(arity))
    values = ", ".join(f"{{{k}}}" for k in range(arity))
    llvm = f"call {{T}} @llvm.{name}.{{S}}({operands})"
    return {"f": llvm}, {"f": f"{c or name}{{X}}({values})"}


# {S} is the intrinsic's type suffix (v8f32, f64), {X} is "f" for float and "" for double.
# fmt: off
PRIMITIVES = {
    p.name: p
    for p in [
        _row("add", 2, "iuf", "same",
             {"i": "add {T} {0}, {1}", "u": "add {T} {0}, {1}", "f": "fadd {T} {0}, {1}"},
             {"i": "({T})({0} + {1})", "u": "({T})({0} + {1})", "f": "{0} + {1}"}),
        _row("sub", 2, "iuf", "same",
             {"i": "sub {T} {0}, {1}", "u": "sub {T} {0}, {1}", "f": "fsub {T} {0}, {1}"},
             {"i": "({T})({0} - {1})", "u": "({T})({0} - {1})", "f": "{0} - {1}"}),
        # the C of u16 goes through unsigned, because uint16_t promotes to int and could overflow
        _row("mul", 2, "iuf", "same",
             {"i": "mul {T} {0}, {1}", "u": "mul {T} {0}, {1}", "f": "fmul {T} {0}, {1}"},
             {"i": "({T})({0} * {1})", "u": "({T})(1u * {0} * {1})", "f": "{0} * {1}"}),
        _row("div", 2, "f", "same", "fdiv {T} {0}, {1}", "{0} / {1}"),
        _row("idiv", 2, "iu", "same",
             {"i": "sdiv {T} {0}, {1}", "u": "udiv {T} {0}, {1}"}, "({T})({0} / {1})"),
        _row("irem", 2, "iu", "same",
             {"i": "srem {T} {0}, {1}", "u": "urem {T} {0}, {1}"}, "({T})({0} % {1})"),
        _row("neg", 1, "f", "same", "fneg {T} {0}", "-{0}"),
        _row("fma", 3, "f", "same", *_call("fma", 3)),
        _row("frem", 2, "f", "same", "frem {T} {0}, {1}", "fmod{X}({0}, {1})"),  # exact
        _row("sqrt", 1, "f", "same", *_call("sqrt")),
        _row("fabs", 1, "f", "same", *_call("fabs")),
        _row("rint", 1, "f", "same", *_call("rint")),
        _row("floor", 1, "f", "same", *_call("floor")),
        _row("ceil", 1, "f", "same", *_call("ceil")),
        _row("trunc", 1, "f", "same", *_call("trunc")),
        _row("copysign", 2, "f", "same", *_call("copysign", 2)),
        _row("and", 2, "biu", "same", "and {T} {0}, {1}", "({T})({0} & {1})"),
        _row("or", 2, "biu", "same", "or {T} {0}, {1}", "({T})({0} | {1})"),
        _row("xor", 2, "biu", "same", "xor {T} {0}, {1}", "({T})({0} ^ {1})"),
        _row("shl", 2, "iu", "same", "shl {T} {0}, {1}", "({T})(({U}){0} << {1})"),
        _row("shr", 2, "iu", "same",
             {"i": "ashr {T} {0}, {1}", "u": "lshr {T} {0}, {1}"}, "({T})({0} >> {1})"),
        _cmp("eq", "oeq", "eq", "eq", "=="),
        _cmp("ne", "une", "ne", "ne", "!="),
        _cmp("lt", "olt", "slt", "ult", "<"),
        _cmp("le", "ole", "sle", "ule", "<="),
        _cmp("gt", "ogt", "sgt", "ugt", ">"),
        _cmp("ge", "oge", "sge", "uge", ">="),
        # operand 0 is bool; {B} is its type, {T} that of operands 1 and 2
        _row("select", 3, "biuf", "same", "select {B} {0}, {T} {1}, {T} {2}", "{0} ? {1} : {2}"),
        # conversions: the instruction states the result dtype; the emitters know the pairs
        _row("cast", 1, "biuf", "any", {}, {}),
        _row("bitcast", 1, "iuf", "any", {}, {}),
    ]
}
