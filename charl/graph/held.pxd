# cython: language_level=3
from cpython.object cimport PyObject
from cpython.pystate cimport PyThreadState_Get
from libc.stdint cimport int64_t

from charl.core.objects cimport Py_REFCNT
from charl.graph cimport node as graph
from charl.graph.node cimport Node

cdef PyObject *RING
cdef int64_t HELD, HELD_MARK


cdef inline void acquire(Node node) noexcept:
    """A Tensor takes hold of node."""
    global HELD
    cdef PyObject *ring = RING
    cdef PyObject *latest
    node.handles += 1
    if node.handles > 1:
        return
    if node.value is None:
        node.thread = <void *>PyThreadState_Get()
        latest = (<Node>ring).older
        node.older = latest
        node.newer = ring
        (<Node>latest).newer = (<Node>ring).older = <PyObject *>node
        HELD += 1
        if HELD > HELD_MARK:
            graph.PRESSURE = True
    elif node.flags & graph.ORPHAN:
        graph.count_orphan(node, -1)


cdef inline void release(PyObject *node) noexcept:
    """A Tensor lets go of a Node, to which it still has its one reference."""
    (<Node>node).handles -= 1
    if (<Node>node).handles > 0:
        return
    if (<Node>node).newer != NULL:
        unlink(node)
    elif Py_REFCNT(node) > 1 and (<Node>node).value is not None:
        graph.count_orphan(<Node>node, 1)


cdef inline void unlink(PyObject *node) noexcept:
    global HELD
    cdef PyObject *older = (<Node>node).older
    cdef PyObject *newer = (<Node>node).newer
    (<Node>older).newer = newer
    (<Node>newer).older = older
    (<Node>node).older = (<Node>node).newer = NULL
    HELD -= 1


cdef void settle(Node node, object value) noexcept
cdef list pending()
cdef void relieve(int64_t nodes, int64_t nbytes) noexcept
