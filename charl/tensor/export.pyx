# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Realized Nodes shown to others: Python scalars, the buffer protocol, DLPack, text. What is given is a snapshot."""

from cpython.buffer cimport PyBUF_F_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from charl.core cimport infer
from charl.engine cimport leaves
from charl.graph.node cimport Node
from charl.tensor cimport interop

import numpy

from charl.core import dtypes, shapes
from charl.tensor import dlpack

cdef char *_FORMATS[infer.NDTYPES]  # of the struct module, by dtype code; it has none for bfloat16
_FORMATS[:] = [b"?", b"b", b"h", b"i", b"q", b"B", b"H", b"I", b"Q", b"e", NULL, b"f", b"d"]

ctypedef struct hold_t:  # what a Py_buffer keeps
    Py_ssize_t *numbers
    PyObject *holder


cdef object scalar(Node node):
    """The Python scalar of a Node of one element."""
    cdef int64_t bits = 0
    node = leaves.on_host(node)
    memcpy(&bits, leaves.memory_of(node), infer.ITEMSIZE[node.dtype])
    return infer.bits_value(bits, node.dtype)


cdef tuple flat_index(object index, tuple shape):
    """The index of an element in shape that one of the flat array is. Raises IndexError, TypeError as item() does."""
    cdef Py_ssize_t size = infer.size_of(shape), at = index
    if not -size <= at < size:
        raise IndexError(f"index {at} is out of bounds for size {size}")
    return tuple([int(k) for k in numpy.unravel_index(at % size, shape)])


cdef int fill_buffer(object tensor, Node node, Py_buffer *view, int flags) except -1:
    """__getbuffer__ of a Tensor whose value is node."""
    cdef Py_ssize_t k, n = PyTuple_GET_SIZE(node.shape), itemsize = infer.ITEMSIZE[node.dtype]
    cdef object holder
    cdef hold_t *hold
    if flags & PyBUF_WRITABLE:
        raise BufferError("a Tensor's memory is read-only; numpy.array(t) makes a writable copy")
    if _FORMATS[node.dtype] == NULL:
        raise BufferError(f"the buffer protocol has no format for {dtypes.ALL[node.dtype]}")
    if flags & PyBUF_F_CONTIGUOUS == PyBUF_F_CONTIGUOUS and sum([extent > 1 for extent in node.shape]) > 1:
        raise BufferError("a Tensor's memory is in C order, not in Fortran's")
    node = leaves.on_host(node)
    view.buf = leaves.memory_of(node)
    holder = leaves.holder_of(node)
    strides = shapes.c_strides(node.shape)
    hold = <hold_t *>malloc(sizeof(hold_t) + 2 * n * sizeof(Py_ssize_t))
    if hold == NULL:
        raise MemoryError("out of memory: a buffer's shape")
    hold.numbers = <Py_ssize_t *>(hold + 1)
    hold.holder = <PyObject *>holder
    Py_INCREF(holder)
    for k in range(n):
        hold.numbers[k] = node.shape[k]
        hold.numbers[n + k] = strides[k] * itemsize
    view.len = infer.size_of(node.shape) * itemsize
    view.itemsize = itemsize
    view.readonly = 1
    view.ndim = n
    view.format = _FORMATS[node.dtype] if flags & PyBUF_FORMAT else NULL
    view.shape = hold.numbers if flags & PyBUF_ND == PyBUF_ND else NULL
    view.strides = hold.numbers + n if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
    view.suboffsets = NULL
    view.internal = hold
    view.obj = tensor
    return 0


cdef void free_buffer(Py_buffer *view) noexcept:
    """__releasebuffer__."""
    cdef hold_t *hold = <hold_t *>view.internal
    Py_DECREF(<object>hold.holder)
    free(hold)


cdef object to_capsule(Node node, object caller, object max_version, object dl_device, object copy):
    """__dlpack__, called by a module of that name: a snapshot where the read-only flag is honoured, else a copy.

    PyTorch reads the flag and writes all the same.
    """
    if copy is False and node.device:
        raise BufferError("__dlpack__: reading a GPU's array is a copy, but copy=False")
    array = interop.to_ndarray(node)
    if copy or max_version is None or max_version[0] < 1 or caller.partition(".")[0] == "torch":
        if copy is False:
            raise BufferError("__dlpack__: a read-only Tensor can only be given as a copy here")
        array = array.copy()
    return dlpack.give(array, max_version=max_version, dl_device=dl_device)


cdef object to_text(Node node):
    """repr: the elements as NumPy shows them, with what Python's literals would not tell."""
    array = interop.to_ndarray(node)
    dtype = dtypes.ALL[node.dtype]
    usual = array.size and dtype in (dtypes.float64, dtypes.int64, dtypes.bool_)
    tail = ")" if usual else f", dtype={dtype.name})"
    if not array.size:
        shown = "[]" if array.shape == (0,) else f"[], shape={array.shape}"
        return f"Tensor({shown}{tail}"
    shown = numpy.array2string(array, separator=", ", prefix="Tensor(", suffix=tail)
    return f"Tensor({shown}{tail}"
