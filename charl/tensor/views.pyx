# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Views: the movements that lead from a root's value to a part of it, and back in a write.

A View belongs to a Tensor and tells where its elements lie in the root's. Each use applies the movements to the root's
present Node, so that a view sees every write; writing through it gives the root an `update` Node.
"""

cimport cython
from libc.stdint cimport int64_t

from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor cimport boxes


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class View:
    """What makes a Tensor a view: see views.pxd."""


cdef View moved(View view, int op, tuple shape, object attrs, tuple sizes, tuple strides, int64_t offset):
    """view (None: a root) after one more movement; it and a last one of its kind are made one. base is the caller's."""
    cdef View made = View.__new__(View)
    cdef tuple steps = () if view is None else view.steps
    cdef Py_ssize_t n = len(shape), k, last = len(steps) - 1
    if last < 0 or steps[last][0] != op:
        pass
    elif op == graph.RESHAPE or op == graph.EXPAND:
        steps = steps[:last]
    elif op == graph.PERMUTE:
        attrs = tuple([steps[last][2][k] for k in attrs])
        steps = steps[:last]
    else:
        before = steps[last][3]
        starts = [before[k] + before[n + k] * sizes[k] if shape[k] else 0 for k in range(n)]
        paces = [before[n + k] * sizes[n + k] if shape[k] > 1 else 1 for k in range(n)]
        sizes = tuple(starts + paces)
        steps = steps[:last]
    made.shape, made.strides, made.offset = shape, strides, offset
    made.steps = steps + ((op, shape, attrs, sizes),)
    made.readonly = op == graph.EXPAND or view is not None and view.readonly
    return made


cdef Node applied(View view, Node node):
    """What view shows of a root whose value is node."""
    cdef tuple step
    if view.box is not None:
        return boxes.shown(view.box, node)
    for step in view.steps:
        node = graph.make(step[0], node.dtype, <tuple>step[1], (node,), step[2], <tuple>step[3])
    return node


cdef Node updated(View view, Node root, Node value):
    """The root's value with value, of the view's shape, stored where view shows it."""
    cdef list attrs = [], sizes = []
    if view.box is not None:
        return boxes.updated(view.box, root, value)
    if _is_tangled(view.steps):
        attrs.append(("strided", len(view.shape)))
        sizes = [view.offset, *view.strides, *view.shape]
    else:
        for op, shape, permutation, numbers in view.steps:
            if op == graph.SLICE:
                attrs.append(("slice", len(shape)))
                sizes.extend(numbers)
                sizes.extend(shape)
            elif op == graph.PERMUTE:
                attrs.append(("permute", permutation))
            else:
                attrs.append(("reshape", len(shape)))
                sizes.extend(shape)
    return graph.make(graph.UPDATE, root.dtype, root.shape, (root, value), tuple(attrs), tuple(sizes))


cdef bint _is_tangled(tuple steps) except -1:
    """Whether a reshape of more than unit axes follows another movement: strides say it better."""
    cdef Py_ssize_t k
    for k in range(1, len(steps)):
        if steps[k][0] == graph.RESHAPE:
            if [n for n in steps[k][1] if n != 1] != [n for n in steps[k - 1][1] if n != 1]:
                return True
    return False
