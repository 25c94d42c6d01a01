# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Assignment by arrays: the Node of a whole value of which an index's part is replaced.

Tensors are given as their Nodes, in indices too.
"""

from cpython.tuple cimport PyTuple_GET_SIZE

from charl.core cimport infer
from charl.engine.realize cimport realize
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor cimport interop, operands

import numpy

from charl.tensor import indexing


cdef Node scattered(Node node, object index, object value):
    """node with value stored at index: a select for one boolean mask, else by NumPy on a copy of the whole."""
    given = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    if isinstance(given, (list, numpy.ndarray)):
        given = numpy.asarray(given)
        if given.dtype == "bool":
            given = operands.as_node(given)
    if type(given) is Node and (<Node>given).dtype == infer.B1 and (<Node>given).shape:
        return masked(node, given, operands.stored(value, node.dtype))
    return _by_numpy(node, index, value)


cdef Node masked(Node node, Node mask, Node value):
    """node with value where the mask of its first axes holds: one element for each True, or broadcast to the others."""
    cdef tuple shape = node.shape
    cdef Py_ssize_t covered = PyTuple_GET_SIZE(mask.shape)
    cdef Node place
    if mask.shape != shape[:covered]:
        indexing.Advanced(mask, shape)  # raises NumPy's IndexError
    if covered < len(shape):
        mask = graph.make(graph.RESHAPE, infer.B1, shape[:covered] + (1,) * (len(shape) - covered), (mask,))
    if len(value.shape) > len(shape) - covered:
        realize(mask)
        places = interop.to_ndarray(mask).reshape(shape[:covered])
        value = operands.fit(value, (int(places.sum()), *shape[covered:]), "setitem: boolean mask")
        if not places.any():
            return node
        order = numpy.maximum(numpy.cumsum(places.reshape(-1), dtype=numpy.int64) - 1, 0).reshape(places.shape)
        place = interop.from_ndarray(order, True)
        value = graph.make(graph.GATHER, node.dtype, shape, (value, place), 0)
    else:
        value = operands.fit(value, shape[covered:], "setitem: boolean mask")
    return graph.new(graph.WHERE, node.dtype, shape, (mask, value, node))


cdef Node _by_numpy(Node node, object index, object value):
    """Any other index: the last of equal indices wins, as in NumPy."""
    items = index if isinstance(index, tuple) else (index,)
    items = tuple([_host(item) for item in items])
    array = _host(node).copy()
    array[items] = _host(value)
    return interop.from_ndarray(array, True)


cdef object _host(object item):
    """An ndarray of a Node's value; anything else as it is."""
    return interop.to_ndarray(item) if type(item) is Node else item
