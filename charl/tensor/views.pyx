# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Views: the movements that lead from a root's value to a part of it, and back in a write.

A View belongs to a Tensor and tells where its elements lie in the root's. Each use applies the movements to the root's
present Node, so that a view sees every write; writing through it gives the root an `update` Node.
"""

cimport cython
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from charl.core.ints cimport charl_int
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor cimport indexing

cdef extern from *:
    """
    /* A bound of a slice, if it is None or an int that fits into a machine word's low half. */
    static inline int charl_bound(PyObject *bound, Py_ssize_t none, Py_ssize_t *value) {
        *value = none;
        if (bound == Py_None) return 1;
        if (!PyLong_CheckExact(bound)) return 0;
    #if PY_VERSION_HEX < 0x030C0000
        if (Py_SIZE(bound) < -1 || Py_SIZE(bound) > 1) return 0;
        *value = Py_SIZE(bound) * (Py_ssize_t)((PyLongObject *)bound)->ob_digit[0];
    #else
        if (!PyUnstable_Long_IsCompact((PyLongObject *)bound)) return 0;
        *value = PyUnstable_Long_CompactValue((PyLongObject *)bound);
    #endif
        return 1;
    }
    /* PySlice_Unpack takes 200 instructions. */
    static inline int charl_unpack(PyObject *of, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step) {
        PySliceObject *slice = (PySliceObject *)of;
        if (charl_bound(slice->step, 1, step) && *step > 0 && charl_bound(slice->start, 0, start) &&
            charl_bound(slice->stop, PY_SSIZE_T_MAX, stop))
            return 0;
        return PySlice_Unpack(of, start, stop, step);
    }
    """
    const Py_ssize_t PY_SSIZE_T_MAX
    int charl_unpack(object of, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step) except -1

cdef enum:
    BOXES = 512  # that are known, each in one of the WAYS places that its numbers give it
    WAYS = 4

cdef list _boxes = [None] * BOXES
cdef Py_ssize_t _turn = 0  # whose place among those is the next new one's


@cython.final
@cython.no_gc
cdef class Box:
    """A part of an array that slices say, neither all of it nor empty: what is needed to show and to update it.

    Boxes are kept: a program's loops take the same ones again and again, and making one takes 0.5 us.
    """


cdef int _numbers(tuple shape, object index, int64_t *at) except -1:
    """Writes what says a box, and returns 1; 0 where it takes more than slices."""
    cdef Py_ssize_t ndim = PyTuple_GET_SIZE(shape), count = 1, k, start, stop, step
    cdef object item = index
    if type(index) is tuple:
        count = PyTuple_GET_SIZE(<tuple>index)
    if count > ndim or ndim > BOX_AXES:
        return 0
    for k in range(ndim):
        start, stop, step = 0, PY_SSIZE_T_MAX, 1
        if k < count:
            if type(index) is tuple:
                item = <object>PyTuple_GET_ITEM(<tuple>index, k)
            if type(item) is not slice:
                return 0
            charl_unpack(item, &start, &stop, &step)
        at[4 * k] = charl_int(PyTuple_GET_ITEM(shape, k))
        at[4 * k + 1], at[4 * k + 2], at[4 * k + 3] = start, stop, step
    return 1


cdef Box box_of(tuple shape, object index):
    """The Box of an index into an array of this shape; None where there is none."""
    global _turn
    cdef int64_t[4 * BOX_AXES] numbers
    cdef uint64_t mixed = 0
    cdef Py_ssize_t k, first, ndim = PyTuple_GET_SIZE(shape)
    cdef const uint64_t *axis
    cdef Box box
    if not _numbers(shape, index, numbers):
        return None
    for k in range(ndim):  # a multiplication waits for one other, not for four
        axis = <const uint64_t *>numbers + 4 * k
        mixed ^= axis[0] + axis[1] * <uint64_t>0xBF58476D1CE4E5B9 + axis[2] * <uint64_t>0x94D049BB133111EB + axis[3]
        mixed = (mixed ^ mixed >> 32) * <uint64_t>0x9E3779B97F4A7C15
    first = (mixed >> 57) * WAYS
    for k in range(first, first + WAYS):
        box = <Box>_boxes[k]
        if box is not None and PyTuple_GET_SIZE(box.shape) == ndim and (
            memcmp(box.numbers, numbers, 4 * ndim * sizeof(int64_t)) == 0
        ):
            return box if box.steps is not None else None
    _turn = (_turn + 1) % WAYS
    box = _boxes[first + _turn] = _new_box(shape, index)
    memcpy(box.numbers, numbers, 4 * ndim * sizeof(int64_t))
    return box if box.steps is not None else None


cdef Box _new_box(tuple shape, object index):
    cdef tuple sizes, sliced, strides = c_strides(shape)
    cdef Py_ssize_t n = PyTuple_GET_SIZE(shape), k
    cdef Box box
    cdef Node update
    sizes, sliced, _, _, whole, _ = indexing.basic(index, shape)
    box = Box.__new__(Box)
    box.shape = sliced
    if whole or 0 in sliced:
        return box  # without steps: not to be used
    box.strides = tuple([strides[k] * sizes[n + k] for k in range(n)])
    for k in range(n):
        box.offset += <int64_t>strides[k] * <int64_t>sizes[k]
    box.steps = ((graph.SLICE, sliced, None, sizes),)
    box.extra = (None, sizes, None)
    update = graph.make(graph.UPDATE, 0, shape, (), (("slice", n),), sizes + sliced)
    box.stored, box.stored_id = update.extra, update.attr_id
    return box


cdef Node box_shown(Box box, Node root):
    """What a box shows of a root's value."""
    cdef Node node = graph.new1(graph.SLICE, root.dtype, box.shape, root)
    node.extra = box.extra
    return node


cdef Node box_updated(Box box, Node root, Node value):
    """The root's value with value, of the box's shape, stored in the box."""
    cdef Node node = graph.new2(graph.UPDATE, root.dtype, root.shape, root, value)
    node.extra, node.attr_id = box.stored, box.stored_id
    return node


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
        return box_shown(view.box, node)
    for step in view.steps:
        node = graph.make(step[0], node.dtype, <tuple>step[1], (node,), step[2], <tuple>step[3])
    return node


cdef Node updated(View view, Node root, Node value):
    """The root's value with value, of the view's shape, stored where view shows it."""
    cdef list attrs = [], sizes = []
    if view.box is not None:
        return box_updated(view.box, root, value)
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


cdef tuple c_strides(tuple shape):
    """Strides, in elements, of a C-contiguous array."""
    cdef list strides = list(shape)
    cdef Py_ssize_t k
    cdef int64_t stride = 1
    for k in range(len(strides) - 1, -1, -1):
        extent = strides[k]
        strides[k] = stride
        stride *= max(<int64_t>extent, 1)
    return tuple(strides)
