# cython: language_level=3
"""bfloat16 through DLPack, for which NumPy has no dtype: a capsule of uint16 whose dtype field is changed.

kDLBfloat, 16 bits, is 4 in DLDataType.code; the memory is the same. What a capsule holds is its consumer's, so it may
be changed there, and here between making and handing it on.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

import numpy

cdef enum:  # DLDataTypeCode
    UINT = 1
    BFLOAT = 4

# dlpack.h, version 1
ctypedef struct dtype_t:
    uint8_t code
    uint8_t bits
    uint16_t lanes

ctypedef struct tensor_t:
    void *data
    int32_t device_type
    int32_t device_id
    int32_t ndim
    dtype_t dtype
    int64_t *shape
    int64_t *strides
    uint64_t byte_offset

ctypedef struct managed_t:  # what "dltensor" holds
    tensor_t tensor
    void *context
    void *deleter

ctypedef struct versioned_t:  # what "dltensor_versioned" holds
    uint32_t major
    uint32_t minor
    void *context
    void *deleter
    uint64_t flags
    tensor_t tensor


cdef dtype_t *_dtype_of(object capsule) except NULL:
    """The dtype field of a capsule that is not consumed yet. Raises BufferError for anything else."""
    cdef versioned_t *versioned
    if PyCapsule_IsValid(capsule, "dltensor"):
        return &(<managed_t *>PyCapsule_GetPointer(capsule, "dltensor")).tensor.dtype
    if PyCapsule_IsValid(capsule, "dltensor_versioned"):
        versioned = <versioned_t *>PyCapsule_GetPointer(capsule, "dltensor_versioned")
        if versioned.major == 1:
            return &versioned.tensor.dtype
    raise BufferError("__dlpack__: a capsule of DLPack, below version 2, is needed")


def give(array, **options):
    """The capsule of an ndarray, bfloat16 too. options: __dlpack__'s."""
    cdef dtype_t *dtype
    if array.dtype.name != "bfloat16":
        return array.__dlpack__(**options)
    capsule = array.view(numpy.uint16).__dlpack__(**options)
    dtype = _dtype_of(capsule)
    dtype.code = BFLOAT
    return capsule


class _Taken:
    """A producer whose bfloat16 is shown as uint16; `bfloat16` tells whether it was."""

    def __init__(self, producer):
        self.producer = producer
        self.bfloat16 = False

    def __dlpack_device__(self):
        return self.producer.__dlpack_device__()

    def __dlpack__(self, **options):
        cdef dtype_t *dtype
        capsule = self.producer.__dlpack__(**options)
        dtype = _dtype_of(capsule)
        if dtype.code == BFLOAT and dtype.bits == 16 and dtype.lanes == 1:
            dtype.code = UINT
            self.bfloat16 = True
        return capsule


def take(producer, bfloat16):
    """An ndarray on the memory of an object with __dlpack__. bfloat16() gives NumPy's dtype where it is needed."""
    taken = _Taken(producer)
    array = numpy.from_dlpack(taken)
    return array.view(bfloat16()) if taken.bfloat16 else array
