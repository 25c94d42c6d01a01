# cython: language_level=3
from libc.stdint cimport int64_t

from charl.graph.node cimport Node

cdef enum:
    ITEMS = 6

cdef class Box:
    cdef int64_t[4 * ITEMS] numbers  # an item of the index: its axis's extent, and what it says
    cdef Py_ssize_t items
    cdef tuple origin       # the root's shape
    cdef tuple shape        # of what the box shows
    cdef tuple sliced       # with an axis of 1 for each int, and without new ones
    cdef bint whole         # whether that is all of the root
    cdef tuple sizes        # starts, then steps, of the slice
    cdef tuple strides
    cdef int64_t offset
    cdef tuple steps        # the movements of a View; None: the box is not to be used
    cdef tuple extra        # of the Node that is the slice
    cdef tuple stored       # and of one that updates it
    cdef int stored_id

cdef Box of(tuple shape, object index)
cdef Box within(Box outer, object index)
cdef Node shown(Box box, Node root)
cdef Node updated(Box box, Node root, Node value)
cdef tuple c_strides(tuple shape)
