# cython: language_level=3
from libc.stdint cimport int64_t

from charl.graph.node cimport Node

cdef class View:
    cdef Tensor base        # the root whose value the view shows a part of
    cdef tuple shape
    cdef tuple strides      # in elements of the base, as NumPy would have them
    cdef int64_t offset     # of the view's first element
    cdef tuple steps        # base -> view: (op, shape, attrs, sizes) each
    cdef Node node          # the view's realized Node, while `seen` is the base's version
    cdef int64_t seen

cdef class Tensor:
    cdef Node node          # a root's value
    cdef View view          # None: a root
    cdef int64_t version    # of a root: the number of writes
    cdef object __weakref__

    cdef tuple get_shape(self)
    cdef int get_dtype(self)

cdef Node current(Tensor tensor)
cdef Tensor wrapped(Node node)
cdef object binary(int op, object left, object right)
