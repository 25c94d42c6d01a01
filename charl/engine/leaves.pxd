# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from charl.graph.node cimport Node

cdef Node on_host(Node node)
cdef Node moved(Node node, int device)
cdef void *memory_of(Node node) except NULL
cdef object holder_of(Node node)
cdef Node leaf_again(int dtype, tuple shape, object holder, void *data, int64_t nbytes)
cdef Node leaf_copy(int dtype, tuple shape, const void *data, int64_t nbytes)
cdef Node leaf_unset(int dtype, tuple shape, int64_t nbytes, int device)
cdef Node leaf_copy_of(Node node)
cdef Node leaf_borrow(int dtype, tuple shape, void *data, int64_t nbytes, object lender)
