# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from charl.core.objects cimport again
from charl.graph.node cimport Node
from charl.tensor.views cimport View

cdef class Tensor:
    cdef Node node          # a root's value
    cdef View view          # None: a root
    cdef int64_t version    # of a root: the number of writes
    cdef object __weakref__

cdef enum:
    KEPT_TENSORS = 128

cdef PyObject *KEPT[KEPT_TENSORS]  # dead Tensors for the next ones; graph/node.pyx says why
cdef int KEPT_COUNT


cdef inline Tensor blank():
    """A Tensor that shows nothing yet."""
    global KEPT_COUNT
    if KEPT_COUNT == 0:
        return Tensor.__new__(Tensor)
    KEPT_COUNT -= 1
    return <Tensor>again(KEPT[KEPT_COUNT])
