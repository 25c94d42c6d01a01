# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

cdef enum:  # Node.flags
    SEEN = 4

cdef enum:  # depth of a leaf in borrowed memory: beyond every limit, so that what reads it runs at once
    BORROWED = 1 << 24

cdef class Node:
    cdef readonly int op
    cdef readonly int dtype
    cdef readonly tuple shape
    cdef readonly tuple src
    cdef readonly object attrs
    cdef readonly tuple sizes
    cdef readonly object site
    cdef object value
    cdef readonly int64_t bits
    cdef readonly int handles
    cdef int depth
    cdef int flags
    cdef int attr_id
    cdef int index
    cdef int edges
    cdef bint orphan
    cdef uint64_t mark
    cdef uint64_t wanted
    cdef void *thread
    cdef PyObject *older
    cdef PyObject *newer

# cython: the codes below are set once, at import, from the op table
cdef int LEAF, CONST, IOTA, RESHAPE, PERMUTE, EXPAND, SLICE, SUM, PROD, MAX, MIN, ANY, ALL
cdef int MATMUL, CUMSUM, CUMPROD, GATHER, WRAP_INDEX, UPDATE, CAST, WHERE

cdef Node new(int op, int dtype, tuple shape, tuple src)
cdef Node new_const(int dtype, int64_t bits)
cdef Node new_leaf(int dtype, tuple shape, object value)
cpdef Node make(int op, int dtype, tuple shape, tuple src, object attrs=*, tuple sizes=*, int64_t bits=*, object site=*)

cdef void acquire(Node node) noexcept
cdef void release(PyObject *held) noexcept
cdef void settle(Node node, object value) noexcept
cdef void forget_sources(Node node) noexcept
cdef list pending()
cdef void relieve(int64_t nodes, int64_t nbytes) noexcept

cdef bint PRESSURE  # too many pending Nodes are held, or pending work keeps too many bytes: a flush is due
