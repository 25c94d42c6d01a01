# cython: language_level=3
cdef tuple basic(object index, tuple shape)
