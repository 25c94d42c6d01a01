# cython: language_level=3, boundscheck=False, wraparound=False
"""Nodes and NumPy arrays: copies in, borrowed memory in, read-only snapshots out."""

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t

from charl.core cimport infer
from charl.engine.leaves cimport holder_of, leaf_again, leaf_borrow, leaf_copy, memory_of, on_host
from charl.graph.node cimport Node

import numpy

from charl.core import dtypes

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, cnp.npy_intp *dims, cnp.npy_intp *strides, void *data, int flags,
        PyObject *obj,
    )  # fmt: skip
    int PyArray_SetBaseObject(cnp.ndarray array, object base) except -1
    int PyArray_CopyInto(cnp.ndarray to, cnp.ndarray source) except -1
    int NPY_ARRAY_WRITEABLE, NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS

cdef list _DESCR = [None] * infer.NDTYPES  # numpy.dtype by code; bfloat16's on first use
cdef dict _CODES = {}                      # code by numpy.dtype
for _dtype in dtypes.ALL:
    if _dtype is not dtypes.bfloat16:
        _DESCR[_dtype.code] = dtypes.to_numpy(_dtype)
        _CODES[_DESCR[_dtype.code]] = _dtype.code
cdef dict _SHAPES = {}  # equal shapes of leaves are one tuple, so that comparing them is comparing pointers


cdef tuple intern_shape(tuple shape):
    cdef object known = _SHAPES.get(shape)
    if known is None:
        if len(_SHAPES) > 4096:
            _SHAPES.clear()
        known = _SHAPES[shape] = shape
    return <tuple>known


cdef cnp.dtype descr_of(int dtype):
    """The numpy.dtype of a code."""
    if _DESCR[dtype] is None:
        _DESCR[dtype] = dtypes.to_numpy(dtypes.ALL[dtype])
        _CODES[_DESCR[dtype]] = dtype
    return <cnp.dtype>_DESCR[dtype]


cdef int code_of(descr) except -1:
    """The code of a numpy.dtype in native byte order. Raises TypeError for one charl has not."""
    cdef object code = _CODES.get(descr)
    if code is None:
        code = dtypes.as_dtype(descr).code
        if descr.isnative:
            _CODES[descr] = code
    return code


cdef cnp.ndarray _over(Node node, int flags):
    """An ndarray on the memory of node's value, which it keeps alive."""
    cdef cnp.npy_intp dims[64]
    cdef tuple shape = node.shape
    cdef int k, ndim = len(shape)
    cdef void *data
    cdef object holder
    cdef cnp.dtype descr = descr_of(node.dtype)
    cdef cnp.ndarray array
    if ndim > 64:
        raise ValueError(f"numpy: {ndim} dimensions, NumPy has at most 64")
    node = on_host(node)
    data = memory_of(node)
    holder = holder_of(node)
    for k in range(ndim):
        dims[k] = shape[k]
    Py_INCREF(descr)
    array = PyArray_NewFromDescr(cnp.ndarray, descr, ndim, dims, NULL, data, flags, NULL)
    Py_INCREF(holder)
    PyArray_SetBaseObject(array, holder)
    return array


cdef object to_ndarray(Node node):
    """A read-only snapshot of node's value, without a copy; later writes make values elsewhere."""
    return _over(node, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED)


cdef object writable(Node node):
    """An ndarray on the memory of node's value, to be written by whoever knows that nobody else sees it."""
    return _over(node, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE)


cdef Node from_ndarray(object given, object copy):
    """A leaf. copy True: always a copy; None: unless the array says that it is read-only; False: never a copy.

    Raises TypeError for a dtype charl has not, BufferError under copy=False for memory that cannot be borrowed.
    """
    cdef cnp.ndarray array = given
    cdef int dtype = code_of(array.dtype)
    cdef tuple shape = intern_shape((<object>array).shape)
    cdef int64_t nbytes = infer.size_of(shape) * infer.ITEMSIZE[dtype]
    cdef bint plain = (
        cnp.PyArray_IS_C_CONTIGUOUS(array) and cnp.PyArray_ISALIGNED(array) and cnp.PyArray_ISNOTSWAPPED(array)
    )
    cdef Node node
    if copy is False and not plain:
        raise BufferError(
            f"copy=False: the array cannot be borrowed (shape {shape}, strides {given.strides}, {given.dtype}); "
            "it must be C-contiguous, aligned and in native byte order"
        )
    if copy is False or (copy is None and plain and not cnp.PyArray_ISWRITEABLE(array)):
        node = leaf_again(dtype, shape, given.base, cnp.PyArray_DATA(array), nbytes)
        if node is not None:  # a snapshot of ours comes back
            return node
        return leaf_borrow(dtype, shape, cnp.PyArray_DATA(array), nbytes, array)
    if plain:
        return leaf_copy(dtype, shape, cnp.PyArray_DATA(array), nbytes)
    node = leaf_copy(dtype, shape, NULL, nbytes)
    PyArray_CopyInto(writable(node), array)
    return node


def numpy_dtype(int dtype):
    """The numpy.dtype of a dtype code."""
    return descr_of(dtype)


cdef Node from_owned(object array):
    """A leaf on an ndarray's memory, which nobody else will write. Copied if not contiguous."""
    array = numpy.ascontiguousarray(array).reshape(array.shape)
    array = array.view()
    array.flags.writeable = False
    cdef Node node = from_ndarray(array, None)
    node.depth = 0
    return node
