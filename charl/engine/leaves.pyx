# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Memory in and out: leaves on copied or borrowed memory, and where a Node's value lies."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from charl.core cimport infer
from charl.engine cimport offload
from charl.engine.realize cimport realize
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.runtime.buffer cimport Buffer, buffer_borrow, buffer_new

from charl.graph import node as graph_node

cdef Node on_host(Node node):
    """node, or for one on a GPU a leaf with a copy of its value, computed now if need be."""
    cdef Node copy
    if node.device == 0:
        return node
    realize(node)
    copy = leaf_copy(node.dtype, node.shape, NULL, infer.size_of(node.shape) * infer.ITEMSIZE[node.dtype])
    offload.read(node.value, <Buffer>copy.value)
    return copy


cdef Node moved(Node node, int device):
    """A leaf on a device with node's value, computed now if need be; a constant where node is 0-d and the device the
    cpu; node itself where it is there."""
    cdef Node leaf
    cdef int64_t bits = 0
    if node.device == device and (device or node.shape):
        return node
    node = on_host(node)
    if device == 0:
        if not node.shape:
            memcpy(&bits, memory_of(node), infer.ITEMSIZE[node.dtype])
            return graph.new_const(node.dtype, bits)
        return node
    realize(node)
    leaf = graph.new_leaf(node.dtype, node.shape, offload.uploaded(node.value, device))
    return graph.put(leaf, device)


graph_node.set_mover(lambda node, device: moved(node, device))


cdef void *memory_of(Node node) except NULL:
    """Where the value of a Node on the cpu is, computed now if need be. Never NULL."""
    realize(node)
    return (<Buffer>node.value).data


cdef object holder_of(Node node):
    """What keeps the memory of a realized Node on the cpu: an object to hold on to."""
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


cdef Node leaf_unset(int dtype, tuple shape, int64_t nbytes, int device):
    """A leaf on a GPU, its memory unset."""
    return graph.put(graph.new_leaf(dtype, shape, offload.allocated(nbytes, device)), device)


cdef Node leaf_copy_of(Node node):
    """A leaf with a copy of a Node's value."""
    cdef Buffer buffer
    if node.device:
        return on_host(node)
    realize(node)
    buffer = node.value
    return leaf_copy(node.dtype, node.shape, buffer.data, buffer.nbytes)


cdef Node leaf_borrow(int dtype, tuple shape, void *data, int64_t nbytes, object lender):
    """A leaf on someone else's memory: what reads it is computed before the call that made it returns."""
    cdef Node node = graph.new_leaf(dtype, shape, buffer_borrow(data, nbytes, lender))
    node.depth = graph.BORROWED
    return node
