# cython: language_level=3
from libc.stdint cimport int64_t

from charl.graph.node cimport Node

cdef enum:
    BOX_AXES = 4

cdef class Box:
    cdef int64_t[4 * BOX_AXES] numbers  # an axis: its extent, and what its slice says
    cdef tuple shape
    cdef tuple strides
    cdef int64_t offset
    cdef tuple steps        # the one movement of a View
    cdef tuple extra        # of the Node that shows the box
    cdef tuple stored       # and of one that updates it
    cdef int stored_id

cdef class View:
    cdef Box box            # what it shows of its root, where slices alone say that
    cdef object base        # the Tensor, a root, whose value the view shows a part of
    cdef tuple shape
    cdef tuple strides      # in elements of the base, as NumPy would have them
    cdef int64_t offset     # of the view's first element
    cdef tuple steps        # base -> view: (op, shape, attrs, sizes) each
    cdef Node node          # the view's realized Node, while `seen` is the base's version
    cdef int64_t seen
    cdef bint readonly      # elements are repeated

cdef Box box_of(tuple shape, object index)
cdef Node box_shown(Box box, Node root)
cdef Node box_updated(Box box, Node root, Node value)
cdef View moved(View view, int op, tuple shape, object attrs, tuple sizes, tuple strides, int64_t offset)
cdef Node applied(View view, Node node)
cdef Node updated(View view, Node root, Node value)
cdef tuple c_strides(tuple shape)
