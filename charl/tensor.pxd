# cython: language_level=3
from libc.stdint cimport int64_t

from charl.graph.node cimport Node

cdef class Tensor:
    cdef Node node          # a root's value; of a view: its realized Node, while `seen` is the base's version
    cdef Tensor base        # the Tensor a view shows a part of; None: a root
    cdef tuple extents      # a view's shape
    cdef tuple strides      # a view's, in elements of the base as NumPy would hold it
    cdef tuple steps        # base -> view: (op, shape, attrs, sizes) each
    cdef int64_t version
    cdef int64_t seen
    cdef object __weakref__

    cdef tuple get_shape(self)
    cdef int get_dtype(self)

cdef Node current(Tensor tensor)
cdef Tensor wrapped(Node node)
cdef object binary(int op, object left, object right)
