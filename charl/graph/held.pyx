# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Nodes that Tensors hold. Those without a value form a ring in order of age: what a flush realizes."""

from cpython.object cimport PyObject
from cpython.pystate cimport PyThreadState_Get
from libc.stdint cimport int64_t

from charl.graph cimport node as graph
from charl.graph.node cimport Node

cdef Node _ring = Node.__new__(Node)  # the sentinel; nothing else refers to it
RING = _ring.older = _ring.newer = <PyObject *>_ring
HELD, HELD_MARK = 0, 4096


cdef void settle(Node node, object value) noexcept:
    """Gives node its value; it keeps its sources until `forget_sources`."""
    node.value = value
    node.depth = 0
    if node.newer != NULL:
        unlink(<PyObject *>node)


cdef list pending():
    """Pending Nodes that Tensors of this thread hold, oldest first."""
    cdef list found = []
    cdef void *thread = <void *>PyThreadState_Get()
    cdef PyObject *at = RING
    while (<Node>at).newer != RING:
        at = (<Node>at).newer
        if (<Node>at).thread == thread:
            found.append(<Node>at)
    return found


cdef void relieve(int64_t nodes, int64_t nbytes) noexcept:
    """Pressure rises again once so many held Nodes, or so many bytes, have been added to what there is now."""
    global HELD_MARK
    graph.PRESSURE = False
    HELD_MARK, graph.BYTES_MARK = HELD + nodes, graph.ORPHAN_BYTES + nbytes
