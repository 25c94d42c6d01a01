# cython: language_level=3
from charl.graph.node cimport Node

# The codes of ops, set once, at import, from the op table
cdef int ADD, SUBTRACT, MULTIPLY, DIVIDE, FLOOR_DIVIDE, REMAINDER, POW
cdef int AND, OR, XOR, INVERT, LEFT, RIGHT, NEGATIVE, POSITIVE, ABS, SQRT, SQUARE, RECIPROCAL, MATMUL, RESHAPE
cdef int EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL
cdef int LOGICAL_AND, LOGICAL_OR, LOGICAL_NOT

cdef Node const(object value, int dtype)
cdef Node as_node(object value)
cdef Node zeros(int dtype, tuple shape)
cdef Node cast(Node node, int dtype)
cdef bint is_compare(int op) noexcept
cdef int narrowed(int dtype, Node node) except -1
cdef Node general(int op, tuple args)
cdef Node power(object base, object exponent)
cdef Node stored(object value, int dtype, int device)
cdef Node fit(Node node, tuple shape, str what)
