# cython: language_level=3
from charl.graph.node cimport Node

cdef class Template:
    cdef readonly tuple inputs  # the Nodes that stand for operands
    cdef readonly tuple order   # all others, sources first; the last one is the result
    cdef readonly int number    # in signatures
    cdef readonly bint small    # whether the result is no larger than what a reduction in it leaves
    cdef bint alone             # whether it is one Node, on the operands in their order
    cdef int depth

cdef Node use(tuple extra, tuple src)
