# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Memory in and out: leaves on copied or borrowed memory, and where a Node's value lies."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from charl.engine.realize cimport realize
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.runtime.buffer cimport Buffer, buffer_borrow, buffer_new


cdef void *memory_of(Node node) except NULL:
    """Where node's value is, computed now if need be. Never NULL."""
    realize(node)
    return (<Buffer>node.value).data


cdef object holder_of(Node node):
    """What keeps the memory of a realized Node: an object to hold on to."""
    return node.value


cdef Node leaf_again(int dtype, tuple shape, object holder, void *data, int64_t nbytes):
    """A leaf on the whole memory of a holder that left the engine earlier; None if holder is something else."""
    if isinstance(holder, Buffer) and (<Buffer>holder).data == data and (<Buffer>holder).nbytes == <size_t>nbytes:
        return graph.new_leaf(dtype, shape, holder)
    return None


cdef Node leaf_copy(int dtype, tuple shape, const void *data, int64_t nbytes):
    """A leaf with a copy of C-contiguous memory; NULL leaves it unset."""
    cdef Buffer buffer = buffer_new(nbytes)
    if data != NULL and nbytes:
        if nbytes > 1 << 20:
            with nogil:
                memcpy(buffer.data, data, nbytes)
        else:
            memcpy(buffer.data, data, nbytes)
    return graph.new_leaf(dtype, shape, buffer)


cdef Node leaf_copy_of(Node node):
    """A leaf with a copy of a Node's value."""
    cdef Buffer buffer
    realize(node)
    buffer = node.value
    return leaf_copy(node.dtype, node.shape, buffer.data, buffer.nbytes)


cdef Node leaf_borrow(int dtype, tuple shape, void *data, int64_t nbytes, object lender):
    """A leaf on someone else's memory: what reads it is computed before the call that made it returns."""
    cdef Node node = graph.new_leaf(dtype, shape, buffer_borrow(data, nbytes, lender))
    node.depth = graph.BORROWED
    return node
