"""Data types, and promotion as one literal table. Pure Python; numpy is looked up only by `.np`."""

from __future__ import annotations


class DType:
    """One data type. `code` indexes every table of the house; `kind` is one of b i u f."""

    __slots__ = ("name", "short", "code", "kind", "itemsize")

    def __init__(self, name: str, short: str, code: int, kind: str, itemsize: int):
        self.name, self.short, self.code, self.kind, self.itemsize = name, short, code, kind, itemsize

    def __repr__(self) -> str:
        return f"charl.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self.code == other.code
        try:
            return as_dtype(other) is self
        except TypeError:
            return NotImplemented

    def __reduce__(self) -> tuple:
        return as_dtype, (self.name,)

    @property
    def dtype(self):
        """The numpy.dtype (so that `numpy.dtype(charl.float32)` works)."""
        return to_numpy(self)


# The order is the code, used in every table: C, LLVM and the interpreter's.
ALL = tuple(
    DType(name, short, code, kind, size)
    for code, (name, short, kind, size) in enumerate(
        [
            ("bool", "b1", "b", 1),
            ("int8", "i8", "i", 1),
            ("int16", "i16", "i", 2),
            ("int32", "i32", "i", 4),
            ("int64", "i64", "i", 8),
            ("uint8", "u8", "u", 1),
            ("uint16", "u16", "u", 2),
            ("uint32", "u32", "u", 4),
            ("uint64", "u64", "u", 8),
            ("float16", "f16", "f", 2),
            ("bfloat16", "bf16", "f", 2),
            ("float32", "f32", "f", 4),
            ("float64", "f64", "f", 8),
        ]
    )
)
(bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64) = ALL
BY_NAME = {d.name: d for d in ALL}
BY_SHORT = {d.short: d for d in ALL}

# Row and column are codes; an entry is the short name of the promoted dtype (NumPy 2's rules;
# bfloat16 with float16 gives float32, as ml_dtypes and PyTorch do).
_PROMOTION = """
        b1   i8   i16  i32  i64  u8   u16  u32  u64  f16  bf16 f32  f64
b1      b1   i8   i16  i32  i64  u8   u16  u32  u64  f16  bf16 f32  f64
i8      i8   i8   i16  i32  i64  i16  i32  i64  f64  f16  bf16 f32  f64
i16     i16  i16  i16  i32  i64  i16  i32  i64  f64  f32  bf16 f32  f64
i32     i32  i32  i32  i32  i64  i32  i32  i64  f64  f64  bf16 f64  f64
i64     i64  i64  i64  i64  i64  i64  i64  i64  f64  f64  bf16 f64  f64
u8      u8   i16  i16  i32  i64  u8   u16  u32  u64  f16  bf16 f32  f64
u16     u16  i32  i32  i32  i64  u16  u16  u32  u64  f32  bf16 f32  f64
u32     u32  i64  i64  i64  i64  u32  u32  u32  u64  f64  bf16 f64  f64
u64     u64  f64  f64  f64  f64  u64  u64  u64  u64  f64  bf16 f64  f64
f16     f16  f16  f32  f64  f64  f16  f32  f64  f64  f16  f32  f32  f64
bf16    bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 f32  bf16 f32  f64
f32     f32  f32  f32  f64  f64  f32  f32  f64  f64  f32  f32  f32  f64
f64     f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64
"""
PROMOTE = tuple(
    tuple(BY_SHORT[entry].code for entry in row.split()[1:])
    for row in _PROMOTION.strip().splitlines()[1:]
)


def promote(a: DType, b: DType) -> DType:
    """The dtype that two arrays of dtypes a and b are computed in. Source: NumPy 2, NEP 50."""
    return ALL[PROMOTE[a.code][b.code]]


def as_dtype(spec: object) -> DType:
    """A DType from a DType, a name, a Python type, or anything numpy.dtype takes. Raises TypeError."""
    if isinstance(spec, DType):
        return spec
    if spec is bool:
        return bool_
    if spec is int:
        return int64
    if spec is float:
        return float64
    if isinstance(spec, str) and spec in BY_NAME:
        return BY_NAME[spec]
    import numpy  # only interop comes here; ops/ and setup.py load this module without numpy

    try:
        found = BY_NAME.get(numpy.dtype(spec).name)  # type: ignore[call-overload]
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"dtype: {spec!r} is not a dtype charl has; choose one of {', '.join(BY_NAME)}")
    return found


def to_numpy(dtype: DType):
    """The numpy.dtype of a DType (bfloat16 comes from ml_dtypes)."""
    import numpy

    if dtype is bfloat16:
        import ml_dtypes

        return numpy.dtype(ml_dtypes.bfloat16)
    return numpy.dtype(dtype.name)
