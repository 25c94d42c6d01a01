# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t

cdef enum:  # flags in a header word of the signature, from bit 24 on; graph.node's SEEN is one more
    OUT = 1      # the Node shall be stored
    HANDLE = 2   # a Tensor holds it
    DONATE = 8   # an update may overwrite its base

ctypedef struct frame_t:
    PyObject *node
    Py_ssize_t next

ctypedef struct state_t:
    PyObject **order     # Nodes in the order of the walk, borrowed
    int32_t *headers     # where each one's words begin in `key`
    int64_t *key         # the exact signature
    int64_t *scalars
    frame_t *stack
    void **memory
    PyObject **held      # Buffers of a run's owner slots
    Py_ssize_t count, count_capacity, words, words_capacity, stack_capacity, slot_capacity
    int32_t nscalars
    bint updates         # whether there is an `update` Node
    int device           # of all roots: a Node's
    int64_t buffers      # that a kernel of a GPU may bind
    int64_t part         # bytes of a GPU's buffer that one binding reaches

cdef int record(state_t *s, PyObject **roots, Py_ssize_t count, bint nested) except -1
cdef void settle_walk(state_t *s) noexcept
cdef bint is_owned(PyObject *value) noexcept
