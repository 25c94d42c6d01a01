# cython: language_level=3
from charl.tensor.handle cimport Tensor

cdef Tensor part(Tensor tensor, object index)
cdef int assign_part(Tensor tensor, object index, object value) except -1
cdef Tensor permuted(Tensor x, tuple perm)
