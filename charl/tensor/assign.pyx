# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Assignment by arrays, in two ways: a select where one mask meets a value that broadcasts, else NumPy on the memory.

Tensors are given as their Nodes, in indices too.
"""

from cpython.tuple cimport PyTuple_GET_SIZE

from charl.core cimport infer
from charl.engine cimport leaves
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor cimport interop, operands
from charl.tensor.views cimport View

import numpy
from numpy.lib.stride_tricks import as_strided

from charl.tensor import indexing


cdef Node selected(Node node, object index, Node value):
    """node with value stored at index: pending, as nothing but shapes is looked at.

    None unless the index is one boolean mask, of all axes or the first ones, and value broadcasts to the other axes.
    """
    cdef tuple shape = node.shape
    cdef Py_ssize_t covered
    cdef Node mask
    given = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    if isinstance(given, (list, numpy.ndarray)):
        given = numpy.asarray(given)
        if given.dtype == "bool":
            given = operands.as_node(given)
    if type(given) is not Node or (<Node>given).dtype != infer.B1 or not (<Node>given).shape:
        return None
    mask = given
    covered = PyTuple_GET_SIZE(mask.shape)
    if mask.shape != shape[:covered]:
        indexing.Advanced(mask, shape)  # raises NumPy's IndexError
    if PyTuple_GET_SIZE(value.shape) > PyTuple_GET_SIZE(shape) - covered:
        return None  # one element for each True
    if covered < len(shape):
        mask = graph.make(graph.RESHAPE, infer.B1, shape[:covered] + (1,) * (len(shape) - covered), (mask,))
    value = operands.fit(value, shape[covered:], "setitem: boolean mask")
    return graph.new3(graph.WHERE, node.dtype, shape, mask, value, node)


cdef Node stored_at(Node root, View view, object index, Node value):
    """A leaf with a root's value, in which value is stored at index of its view (None: all of it), now.

    A copy: while NumPy writes, other threads may read the root's own memory. The last of equal indices wins, as in
    NumPy, whose errors are raised before anything is written.
    """
    cdef Node target
    cdef object array, items
    items = tuple([_host(item) for item in (index if isinstance(index, tuple) else (index,))])
    new = interop.to_ndarray(value)
    target = leaves.leaf_copy_of(root)
    array = interop.writable(target)
    if view is not None:
        size = array.itemsize
        array = as_strided(array.reshape(-1)[view.offset :], view.shape, [stride * size for stride in view.strides])
    array[items] = new
    return leaves.moved(target, root.device)


cdef object _host(object item):
    """An ndarray of a Node's value; anything else as it is."""
    return interop.to_ndarray(item) if type(item) is Node else item
