# cython: language_level=3, boundscheck=False, wraparound=False
"""Result dtypes and shapes over C tables: what every recorded op asks.

Promotion is core/dtypes.py's table; what an op accepts and returns is told once by `declare`. Python scalars are weak
(NEP 50): they take the array's dtype unless their kind is higher, and an int that does not fit is an OverflowError.
"""

from cpython.bool cimport PyBool_Check
from cpython.float cimport PyFloat_CheckExact, PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsLongLong, PyLong_AsUnsignedLongLong, PyLong_CheckExact
from cpython.object cimport PyObject
from libc.math cimport fabs, frexp, isinf, isnan, ldexp, rint, signbit
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from charl.core.ints cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, charl_int

from charl.core import dtypes, shapes

_KINDS = {"b": KIND_B, "i": KIND_I, "u": KIND_U, "f": KIND_F}
_NAMES = [d.name for d in dtypes.ALL]
_OP_NAMES = {}
# least and greatest int by dtype code, as Python ints: 1 << 63 would overflow in C
_RANGES = [
    (-(2 ** (8 * d.itemsize - 1)), 2 ** (8 * d.itemsize - 1) - 1) if d.kind == "i" else (0, 2 ** (8 * d.itemsize) - 1)
    for d in dtypes.ALL
]

cdef int _a, _b
for _a in range(NDTYPES):
    KIND[_a] = _KINDS[dtypes.ALL[_a].kind]
    ITEMSIZE[_a] = dtypes.ALL[_a].itemsize
    for _b in range(NDTYPES):
        PROMOTE[_a][_b] = dtypes.PROMOTE[_a][_b]
memset(OPERAND, -1, sizeof(OPERAND))
memset(RESULT, -1, sizeof(RESULT))


def declare(str name, int code, str kinds, str result):
    """Tells the tables about one op: accepted operand kinds and its result rule (ops/table.py's words)."""
    cdef int mask = 0, dtype, operand
    for kind in kinds:
        mask |= _KINDS[kind]
    _OP_NAMES[code] = name
    for dtype in range(NDTYPES):
        operand = dtype
        if result == "float" and KIND[dtype] != KIND_F:
            operand = F64
            if ITEMSIZE[dtype] < 4 and name != "divide":  # NumPy's divide alone goes to float64
                operand = F16 if ITEMSIZE[dtype] == 1 else F32
        elif result == "number" and dtype == B1:
            operand = I8
        if KIND[operand] & mask:
            OPERAND[code][dtype] = operand
            RESULT[code][dtype] = B1 if result == "bool" else operand


cdef int operand_dtype(int op, int dtype) except -1:
    """The dtype that op computes operands of (promoted) `dtype` in; TypeError where it takes none such."""
    cdef int operand = OPERAND[op][dtype]
    if operand < 0:
        raise TypeError(f"{_OP_NAMES.get(op, op)}: an array of dtype {_NAMES[dtype]} is not accepted")
    return operand


cdef int weak_kind(object value) except -1:
    """Which weak scalar a Python object is, 0 if none. NumPy's scalars are not weak."""
    if PyFloat_CheckExact(value):
        return WEAK_FLOAT
    if PyLong_CheckExact(value):
        return WEAK_INT
    if PyBool_Check(value):
        return WEAK_BOOL
    if type(value).__module__ != "numpy":  # subclasses such as enums; numpy.float64 is a float too
        if isinstance(value, float):
            return WEAK_FLOAT
        if isinstance(value, int):
            return WEAK_INT
    return 0


cdef int with_weak(int dtype, int weak) noexcept:
    """dtype of an array op with a weak scalar; -1 for the array means scalars only."""
    if dtype < 0:
        return B1 if weak == WEAK_BOOL else I64 if weak == WEAK_INT else F64
    if weak == WEAK_FLOAT and KIND[dtype] != KIND_F:
        return F64
    if weak == WEAK_INT and dtype == B1:
        return I64
    return dtype


cdef int64_t _narrow(double value, int ebits, int mbits) noexcept:
    """Bits of `value` rounded once, to nearest even, to a float of that many exponent and mantissa bits."""
    cdef int64_t sign = <int64_t>(1 if signbit(value) else 0) << (ebits + mbits)
    cdef int64_t inf = ((<int64_t>1 << ebits) - 1) << mbits
    cdef int64_t least = 2 - (<int64_t>1 << (ebits - 1))  # exponent of the smallest normal
    cdef int64_t bits
    cdef int e
    if isnan(value):
        return sign | inf | (<int64_t>1 << (mbits - 1))
    if isinf(value):
        return sign | inf
    if value == 0:
        return sign
    value = fabs(value)
    frexp(value, &e)
    e = max(e - 1, <int>least)
    bits = <int64_t>rint(ldexp(value, mbits - e)) + ((<int64_t>e - least) << mbits)
    return sign | min(bits, inf)


cdef int64_t float_bits(double value, int dtype) noexcept:
    """Bits of a float in dtype (a float one), rounded once, zero-extended."""
    cdef int64_t bits = 0
    cdef float single
    cdef uint32_t low
    if dtype == F64:
        memcpy(&bits, &value, 8)
    elif dtype == F32:
        single = <float>value
        memcpy(&low, &single, 4)
        bits = low
    elif dtype == F16:
        bits = _narrow(value, 5, 10)
    else:
        bits = _narrow(value, 8, 7)
    return bits


cdef int64_t scalar_bits(object value, int dtype) except? -1:
    """Bits of a Python scalar in dtype, zero-extended. Raises OverflowError where an int does not fit.

    A float for an int dtype truncates (assignment does so); ValueError for NaN, OverflowError for inf, as int() does.
    """
    cdef int kind = KIND[dtype], width
    cdef int64_t number
    cdef uint64_t unsigned_number
    if kind == KIND_F:
        if PyFloat_CheckExact(value):
            return float_bits(PyFloat_AS_DOUBLE(value), dtype)
        return float_bits(float(value), dtype)
    if kind == KIND_B:
        return 1 if value else 0
    value = int(value)
    low, high = _RANGES[dtype]
    if not low <= value <= high:
        raise OverflowError(f"Python integer {value} out of bounds for {_NAMES[dtype]}")
    if kind == KIND_I:
        width = 8 * ITEMSIZE[dtype]
        number = PyLong_AsLongLong(value)
        return number if width == 64 else number & ((<int64_t>1 << width) - 1)
    unsigned_number = PyLong_AsUnsignedLongLong(value)
    return <int64_t>unsigned_number


cdef object bits_value(int64_t bits, int dtype):
    """The Python scalar that `bits` are in dtype: the inverse of scalar_bits."""
    cdef double value
    cdef float single
    cdef uint32_t low
    if dtype == F64:
        memcpy(&value, &bits, 8)
        return value
    if dtype == F32 or dtype == BF16:
        low = <uint32_t>bits if dtype == F32 else <uint32_t>bits << 16
        memcpy(&single, &low, 4)
        return <double>single
    if dtype == F16:
        return _half(bits)
    if dtype == B1:
        return bits != 0
    if dtype == I8:
        return <int8_t>bits
    if dtype == I16:
        return <int16_t>bits
    if dtype == I32:
        return <int32_t>bits
    if dtype == I64:
        return bits
    return <uint64_t>bits


cdef double _half(int64_t bits) noexcept:
    cdef int e = (bits >> 10) & 31
    cdef double m = <double>(bits & 1023), value
    if e == 31:
        value = (<double>1e308 * 10) if m == 0 else (<double>1e308 * 10) * 0
    elif e == 0:
        value = ldexp(m, -24)
    else:
        value = ldexp(m + 1024, e - 25)
    return -value if bits & 0x8000 else value


cdef bint same_shape(tuple a, tuple b) noexcept:
    """Equality of two shapes."""
    cdef PyObject *p = <PyObject *>a
    cdef PyObject *q = <PyObject *>b
    cdef Py_ssize_t n = PyTuple_GET_SIZE(p), k
    if p == q:
        return True
    if n != PyTuple_GET_SIZE(q):
        return False
    for k in range(n):
        if charl_int(PyTuple_GET_ITEM(p, k)) != charl_int(PyTuple_GET_ITEM(q, k)):
            return False
    return True


cdef tuple broadcast2(tuple a, tuple b):
    """The shape two operands broadcast to; one of the given tuples where that is it. Raises ValueError."""
    cdef PyObject *p = <PyObject *>a
    cdef PyObject *q = <PyObject *>b
    cdef Py_ssize_t na = PyTuple_GET_SIZE(p), nb = PyTuple_GET_SIZE(q), k
    cdef int64_t x, y
    cdef bint is_a = na >= nb, is_b = nb >= na
    if p == q:
        return a
    for k in range(1, min(na, nb) + 1):
        x = charl_int(PyTuple_GET_ITEM(p, na - k))
        y = charl_int(PyTuple_GET_ITEM(q, nb - k))
        if x == y:
            continue
        if x == 1:
            is_a = False
        elif y == 1:
            is_b = False
        else:
            is_a = is_b = False  # an error, for shapes to tell
    return a if is_a else b if is_b else shapes.broadcast_shapes(a, b)


cdef int64_t size_of(tuple shape) except? -1:
    """Number of elements."""
    cdef int64_t n = 1
    cdef Py_ssize_t k
    for k in range(PyTuple_GET_SIZE(<PyObject *>shape)):
        n *= charl_int(PyTuple_GET_ITEM(<PyObject *>shape, k))
    return n


def broadcast_pair(tuple a not None, tuple b not None):
    """The shape two shapes broadcast to. Raises ValueError."""
    return broadcast2(a, b)


def scalar_kind(value):
    """0, or which weak scalar a Python object is: 1 bool, 2 int, 3 float."""
    return weak_kind(value)


def encode(value, dtype):
    """Bits of a Python scalar in a DType, zero-extended to 64. Raises OverflowError where an int does not fit."""
    return scalar_bits(value, dtype.code)


def decode(bits, dtype):
    """The Python scalar that `bits` are in a DType."""
    return bits_value(bits, dtype.code)
