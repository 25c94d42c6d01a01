"""The builder that records an op's `expand` as primitives, and `expansion`, which caches the
record.

An emitter asks `expansion("exp", ("f32",), "f32")` and writes the returned list of Prims in its own
language. Everything is typed by dtype short names; there is no implicit conversion, but for Python
numbers, which take the dtype of the operand they meet. Equal instructions are recorded once and
unused ones are dropped.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import cache

from charl.core.named import NamedTuple
from charl.ops.loops import KIND, WIDTH
from charl.ops.primitive import PRIMITIVES
from charl.ops.table import OPS

HALVES = ("f16", "bf16")


class Prim(NamedTuple):
    """One instruction. `dtype` is the result's; that of an operand is where the operand is defined.

    op is a PRIMITIVES name, or
    const  attr: the value, exact in its dtype
    lut    args (index: i32, in range); attr: tuple of constants of `dtype`
    rare   args (cond, fast, *operands); attr: Expansion: cond ? attr(operands) : fast
    scaled args (product, y, n): product, y * 2**n rounded once; n unsigned, modulo its width
    """

    op: str
    dtype: str
    args: tuple[int, ...]
    attr: object = None


class Expansion(NamedTuple):
    """A straight-line program. Values 0..len(args)-1 are the operands, code[k] defines value
    len(args)+k.
    """

    op: str
    args: tuple[str, ...]
    code: tuple[Prim, ...]
    result: int

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtype of each value, operands first."""
        return self.args + tuple(p.dtype for p in self.code)

    @property
    def dtype(self) -> str:
        """The dtype of the result."""
        return self.dtypes[self.result]

    def __str__(self) -> str:
        lines = [f"{self.op}({', '.join(f'v{k}: {d}' for k, d in enumerate(self.args))})"]
        for k, p in enumerate(self.code, len(self.args)):
            attr = f" {p.attr.op}" if p.op == "rare" else "" if p.attr is None else f" {p.attr!r}"
            values = "".join(f" v{a}" for a in p.args)
            lines.append(f"  v{k} = {p.op} {p.dtype}{values}{attr}")
        return "\n".join([*lines, f"  -> v{self.result}"])


def round_to(value: float, dtype: str) -> float:
    """The nearest f32 (or f64) to a Python float; overflow gives infinity."""
    if dtype != "f32" or math.isnan(value) or math.isinf(value):
        return float(value)
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def _constant(value, dtype: str):
    kind = KIND[dtype]
    if kind == "b":
        return bool(value)
    if kind == "f":
        return round_to(float(value), dtype)
    value = int(value) & ((1 << WIDTH[dtype]) - 1)
    return value - (1 << WIDTH[dtype]) if kind == "i" and value >> (WIDTH[dtype] - 1) else value


class Value:
    """A value being recorded. Operators record primitives; `/` is for floats, `>>` keeps a signed
    int's sign.
    """

    __slots__ = ("b", "dtype", "id")
    __hash__ = object.__hash__

    def __init__(self, b: Builder, id: int, dtype: str):
        self.b, self.id, self.dtype = b, id, dtype

    @property
    def kind(self) -> str:
        return KIND[self.dtype]

    @property
    def width(self) -> int:
        return WIDTH[self.dtype]

    def __neg__(self):
        return self.b.prim("neg", self) if self.kind == "f" else 0 - self

    def __invert__(self):
        return self ^ (True if self.kind == "b" else -1)


def _operator(op: str, swap: bool = False):
    def method(self, other):
        return self.b.prim(op, other, self) if swap else self.b.prim(op, self, other)

    return method


_ARITHMETIC = {"truediv": "div", "lshift": "shl", "rshift": "shr"}
for _name in ("add", "sub", "mul", "truediv", "and", "or", "xor", "lshift", "rshift"):
    _op = _ARITHMETIC.get(_name, _name)
    setattr(Value, f"__{_name}__", _operator(_op))
    setattr(Value, f"__r{_name}__", _operator(_op, swap=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Value, f"__{_name}__", _operator(_name))


class Builder:
    """Records primitives. `b.NAME(...)` expands the table op NAME in place, or else records the
    primitive NAME.
    """

    def __init__(self, args: tuple[str, ...], narrow: bool = False):
        self.args = args
        self.narrow = narrow  # f32 is computed without f64, to a wider bound
        self.code: list[Prim] = []
        self.operands = [Value(self, k, dtype) for k, dtype in enumerate(args)]
        self._known: dict[tuple, Value] = {}

    def __getattr__(self, name: str) -> Callable[..., Value]:
        if name not in OPS:
            raise AttributeError(f"there is no op {name}")
        expand = OPS[name].expand
        if expand is None:
            return lambda *operands: self.prim(name, *operands)

        def call(*operands):
            like = next(x.dtype for x in reversed(operands) if isinstance(x, Value))
            return expand(
                self, *(x if isinstance(x, Value) else self.const(x, like) for x in operands)
            )

        return call

    def _record(self, op: str, dtype: str, args: tuple[int, ...], attr: object = None) -> Value:
        shown = (attr, math.copysign(1, attr)) if isinstance(attr, float) else attr
        key = (op, dtype, args, "nan" if attr != attr else shown)
        value = self._known.get(key)
        if value is None:
            value = Value(self, len(self.args) + len(self.code), dtype)
            self.code.append(Prim(op, dtype, args, attr))
            self._known[key] = value
        return value

    def const(self, value, dtype: str) -> Value:
        """A constant; ints wrap to the dtype, floats are rounded to it."""
        return self._record("const", dtype, (), _constant(value, dtype))

    def like(self, x: Value, value) -> Value:
        """A constant of the dtype of x."""
        return self.const(value, x.dtype)

    def prim(self, op: str, *operands) -> Value:
        """The primitive `op`, whatever the table makes of that name. Checks arity, kinds and equal
        dtypes.
        """
        row = PRIMITIVES[op]
        typed = operands[1:] if op == "select" else operands
        dtype = next((x.dtype for x in typed if isinstance(x, Value)), None)
        if dtype is None or len(operands) != row.arity:
            raise TypeError(f"{op}: takes {row.arity} operands, at least one of them a Value")
        values = [x if isinstance(x, Value) else self.const(x, dtype) for x in operands]
        wrong = {x.dtype for x in values[len(operands) - len(typed) :]} != {dtype}
        half = dtype in HALVES and op != "select"
        if (
            wrong
            or half
            or KIND[dtype] not in row.kinds
            or (op == "select" and values[0].dtype != "b1")
        ):
            raise TypeError(f"{op}: does not take ({', '.join(x.dtype for x in values)})")
        return self._record(
            op, "b1" if row.result == "bool" else dtype, tuple(x.id for x in values)
        )

    def select(self, condition: Value, x, y) -> Value:
        """condition ? x : y; both sides are computed."""
        return self.prim("select", condition, x, y)

    def cast(self, x: Value, dtype: str) -> Value:
        """Conversion of value: float to int saturates and NaN gives 0, ints wrap, floats round once
        to even.
        """
        return x if x.dtype == dtype else self._record("cast", dtype, (x.id,))

    def bitcast(self, x: Value, dtype: str) -> Value:
        """The same bits as another dtype of the same width."""
        if WIDTH[dtype] != x.width or "b" in (x.kind, KIND[dtype]):
            raise TypeError(f"bitcast: {x.dtype} to {dtype}")
        return x if x.dtype == dtype else self._record("bitcast", dtype, (x.id,))

    def lut(self, index: Value, table, dtype: str) -> Value:
        """table[index]; index is i32 and in range."""
        if index.dtype != "i32":
            raise TypeError(f"lut: the index is {index.dtype}, must be i32")
        return self._record("lut", dtype, (index.id,), tuple(_constant(c, dtype) for c in table))

    def rare(
        self, condition: Value, fast: Value, slow: Callable[..., Value], *operands: Value
    ) -> Value:
        """condition ? slow(b, *operands) : fast; emitters skip slow where no lane has the
        condition.
        """
        b = Builder(tuple(x.dtype for x in operands), self.narrow)
        attr = b.finish(slow.__name__.strip("_"), slow(b, *b.operands))
        if attr.dtype != fast.dtype or condition.dtype != "b1":
            raise TypeError(f"rare: {attr.dtype} in place of {fast.dtype}")
        return self._record(
            "rare", fast.dtype, (condition.id, fast.id, *(x.id for x in operands)), attr
        )

    def scaled(self, product: Value, y: Value, n: Value) -> Value:
        """product, which is y * 2**n rounded once: emitters may have a shorter way to it."""
        return self._record("scaled", product.dtype, (product.id, y.id, n.id))

    def finish(self, op: str, result: Value) -> Expansion:
        """The record without the instructions that `result` does not need."""
        n = len(self.args)
        used = {result.id}
        for k in range(len(self.code) - 1, -1, -1):
            if n + k in used:
                used.update(self.code[k].args)
        number = {k: k for k in range(n)}
        code: list[Prim] = []
        for k, p in enumerate(self.code, n):
            if k in used:
                number[k] = n + len(code)
                code.append(p._replace(args=tuple(number[a] for a in p.args)))
        return Expansion(op, self.args, tuple(code), number[result.id])


@cache
def expansion(op: str, args: tuple[str, ...], result: str, narrow: bool = False) -> Expansion:
    """The primitives of `op` (a table op or a primitive) on operands of dtypes `args`, with result
    dtype `result`. A narrow one takes no f64 for what is f32: GPUs lack it, or are slow at it.

    f16 and bf16 are computed in f32: operands are cast, and the result is rounded back. Raises
    TypeError where the op does not take these dtypes.
    """
    row = OPS[op]
    typed = args[1:] if op in ("where", "select") else args
    kinds = "f" if row.result == "float" else row.kinds
    if len(args) != row.arity or not all(KIND[a] in kinds for a in typed):
        raise TypeError(f"{op}: does not take ({', '.join(args)})")
    b = Builder(args, narrow)
    values = b.operands
    if op in ("cast", "bitcast"):
        return b.finish(op, getattr(b, op)(values[0], result))
    if not row.half:
        values = [b.cast(x, "f32") if x.dtype in HALVES else x for x in values]
    value = row.expand(b, *values) if row.expand else b.prim(op, *values)
    if value.dtype != result:
        if value.dtype != "f32" or result not in HALVES:
            raise TypeError(f"{op}: ({', '.join(args)}) gives {value.dtype}, not {result}")
        value = b.cast(value, result)
    return b.finish(op, value)
