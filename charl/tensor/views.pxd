# cython: language_level=3
from libc.stdint cimport int64_t

from charl.graph.node cimport Node
from charl.tensor.boxes cimport Box

cdef class View:
    cdef Box box            # what it shows of its root, where an index of a root says that
    cdef object base        # the Tensor, a root, whose value the view shows a part of
    cdef tuple shape
    cdef tuple strides      # in elements of the base, as NumPy would have them
    cdef int64_t offset     # of the view's first element
    cdef tuple steps        # base -> view: (op, shape, attrs, sizes) each
    cdef Node node          # the view's realized Node, while `seen` is the base's version
    cdef int64_t seen
    cdef bint readonly      # elements are repeated

cdef View moved(View view, int op, tuple shape, object attrs, tuple sizes, tuple strides, int64_t offset)
cdef Node applied(View view, Node node)
cdef Node updated(View view, Node root, Node value)
