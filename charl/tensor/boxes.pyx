# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Boxes: parts of whole arrays that slices, ints and new axes say.

They are kept: a program's loops take the same ones again and again, and making one takes 0.5 us.
"""

cimport cython
from cpython.slice cimport PySlice_AdjustIndices
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
    const Py_ssize_t PY_SSIZE_T_MAX, PY_SSIZE_T_MIN
    int charl_bound(object bound, Py_ssize_t none, Py_ssize_t *value) noexcept
    int charl_unpack(object of, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step) except -1

cdef enum:
    BOXES = 512  # that are known, each in one of the WAYS places that its numbers give it
    WAYS = 4

cdef list _boxes = [None] * BOXES
cdef Py_ssize_t _turn = 0  # whose place among those is the next new one's


@cython.final
@cython.no_gc
cdef class Box:
    """A part of an array of shape `origin`: what is needed to show and to update it."""


cdef inline int _write_item(object item, int64_t *at) except -1:
    """Writes what an item says behind its axis's extent. Returns how many axes it takes, -2 for what no box has."""
    cdef Py_ssize_t start = 0, stop = 0, step = PY_SSIZE_T_MIN  # which no slice has
    if type(item) is slice:
        charl_unpack(item, &start, &stop, &step)
    elif type(item) is int:
        if not charl_bound(item, 0, &start):
            return -2
    elif item is not None:
        return -2
    at[1], at[2], at[3] = start, stop, step
    return item is not None


cdef Py_ssize_t _write(tuple shape, object index, int64_t *at) except -1:
    """Writes what says a box, and returns the number of items; 0 where no box is meant."""
    cdef Py_ssize_t ndim = PyTuple_GET_SIZE(shape), given = 1, items = 0, axis = 0, k
    cdef bint whole = type(index) is tuple, element = True
    cdef object item = index
    cdef int taken
    if whole:
        given = PyTuple_GET_SIZE(<tuple>index)
    for k in range(given):
        if whole:
            item = <object>PyTuple_GET_ITEM(<tuple>index, k)
        if items == ITEMS:
            return 0
        taken = _write_item(item, at + 4 * items)
        if taken < 0 or axis + taken > ndim:
            return 0
        at[4 * items] = charl_int(PyTuple_GET_ITEM(shape, axis)) if taken else -1
        element = element and taken and at[4 * items + 3] == PY_SSIZE_T_MIN
        items += 1
        axis += taken
    if items + ndim - axis > ITEMS or ndim == 0 or element and axis == ndim:
        return 0
    for axis in range(axis, ndim):
        at[4 * items] = charl_int(PyTuple_GET_ITEM(shape, axis))
        at[4 * items + 1], at[4 * items + 2], at[4 * items + 3] = 0, PY_SSIZE_T_MAX, 1
        items += 1
    return items


cdef Box of(tuple shape, object index):
    """The Box of an index into an array of this shape; None where there is none."""
    cdef int64_t[4 * ITEMS] numbers
    cdef Py_ssize_t items = _write(shape, index, numbers)
    return _known(shape, index, numbers, items, False) if items else None


cdef Box _known(tuple shape, object index, const int64_t *numbers, Py_ssize_t items, bint slices):
    """The Box that numbers say. So does index, or, with `slices`, they are slices alone."""
    global _turn
    cdef uint64_t mixed = PyTuple_GET_SIZE(shape)
    cdef Py_ssize_t k, first
    cdef const uint64_t *item
    cdef Box box
    for k in range(items):  # a multiplication waits for one other, not for four
        item = <const uint64_t *>numbers + 4 * k
        mixed ^= item[0] + item[1] * <uint64_t>0xBF58476D1CE4E5B9 + item[2] * <uint64_t>0x94D049BB133111EB + item[3]
        mixed = (mixed ^ mixed >> 32) * <uint64_t>0x9E3779B97F4A7C15
    first = (mixed >> 57) * WAYS
    for k in range(first, first + WAYS):
        box = <Box>_boxes[k]
        if box is not None and box.items == items and (
            memcmp(box.numbers, numbers, 4 * items * sizeof(int64_t)) == 0
        ):
            return box if box.steps is not None else None
    if slices:
        index = tuple([slice(numbers[4 * k + 1], numbers[4 * k + 2], numbers[4 * k + 3]) for k in range(items)])
    box = _new_box(shape, index)
    memcpy(box.numbers, numbers, 4 * items * sizeof(int64_t))
    box.items = items
    _turn = (_turn + 1) % WAYS
    _boxes[first + _turn] = box
    return box if box.steps is not None else None


cdef Box _new_box(tuple shape, object index):
    cdef tuple sizes, sliced, strides = c_strides(shape)
    cdef Py_ssize_t n = PyTuple_GET_SIZE(shape), k
    cdef Box box = Box.__new__(Box)
    cdef Node update
    box.origin = shape
    box.sizes, sliced, box.shape, _, box.whole, axes = indexing.basic(index, shape)
    sizes = box.sizes
    box.sliced = box.shape if sliced == box.shape else sliced
    if box.whole and box.sliced is box.shape or 0 in sliced:
        return box
    for k in range(n):
        box.offset += <int64_t>strides[k] * <int64_t>sizes[k]
    strides = tuple([strides[k] * sizes[n + k] for k in range(n)])
    box.strides = tuple([strides[k] if k >= 0 else 1 for k in axes])
    box.steps = () if box.whole else ((graph.SLICE, sliced, None, sizes),)
    if box.sliced is not box.shape:
        box.steps += ((graph.RESHAPE, box.shape, None, ()),)
    box.extra = (None, sizes, None)
    update = graph.make(graph.UPDATE, 0, shape, (), (("slice", n),), sizes + sliced)
    box.stored, box.stored_id = update.extra, update.attr_id
    return box


cdef Box within(Box outer, object index):
    """The Box of an index into what a Box shows; None where slices alone do not say that."""
    cdef int64_t[4 * ITEMS] numbers
    cdef int64_t *at
    cdef Py_ssize_t items, k, start, stop, step, count
    if outer.sliced is not outer.shape:
        return None
    items = _write(outer.shape, index, numbers)
    if items == 0 or items != PyTuple_GET_SIZE(outer.shape):  # new axes are among them
        return None
    for k in range(items):
        at = numbers + 4 * k
        if at[3] < 1:
            return None
        start, stop, step = at[1], at[2], at[3]
        count = PySlice_AdjustIndices(at[0], &start, &stop, step)
        if count == 0:
            return None
        at[0] = charl_int(PyTuple_GET_ITEM(outer.origin, k))
        at[3] = charl_int(PyTuple_GET_ITEM(outer.sizes, items + k))
        if at[3] < 1:
            return None
        at[1] = charl_int(PyTuple_GET_ITEM(outer.sizes, k)) + at[3] * start
        at[3] *= step if count > 1 else 1
        at[2] = at[1] + at[3] * (count - 1) + 1
    return _known(outer.origin, None, numbers, items, True)


cdef Node shown(Box box, Node root):
    """What a box shows of a root's value."""
    cdef Node node = root
    if not box.whole:
        node = graph.new1(graph.SLICE, root.dtype, box.sliced, root)
        node.extra = box.extra
    if box.sliced is not box.shape:
        node = graph.new1(graph.RESHAPE, root.dtype, box.shape, node)
    return node


cdef Node updated(Box box, Node root, Node value):
    """The root's value with value, of the box's shape, stored in the box."""
    cdef Node node
    if box.sliced is not box.shape:
        value = graph.new1(graph.RESHAPE, root.dtype, box.sliced, value)
    if box.whole:
        return value
    node = graph.new2(graph.UPDATE, root.dtype, root.shape, root, value)
    node.extra, node.attr_id = box.stored, box.stored_id
    return node


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
