# cython: language_level=3
from libc.stdint cimport int64_t

cdef enum:
    MAX_OPS = 512
    NDTYPES = 13
    KIND_B = 1
    KIND_I = 2
    KIND_U = 4
    KIND_F = 8
    WEAK_BOOL = 1
    WEAK_INT = 2
    WEAK_FLOAT = 3

cdef enum:  # codes of core/dtypes.py
    B1 = 0
    I8 = 1
    I16 = 2
    I32 = 3
    I64 = 4
    U8 = 5
    U16 = 6
    U32 = 7
    U64 = 8
    F16 = 9
    BF16 = 10
    F32 = 11
    F64 = 12

cdef signed char PROMOTE[NDTYPES][NDTYPES]
cdef unsigned char KIND[NDTYPES]
cdef unsigned char ITEMSIZE[NDTYPES]
cdef signed char OPERAND[MAX_OPS][NDTYPES]
cdef signed char RESULT[MAX_OPS][NDTYPES]

cdef int weak_kind(object value) except -1
cdef int with_weak(int dtype, int weak) noexcept
cdef int operand_dtype(int op, int dtype) except -1
cdef int64_t float_bits(double value, int dtype) noexcept
cdef int64_t scalar_bits(object value, int dtype) except? -1
cdef object bits_value(int64_t bits, int dtype)
cdef tuple broadcast2(tuple a, tuple b)
cdef bint same_shape(tuple a, tuple b) noexcept
cdef int64_t size_of(tuple shape) except? -1
