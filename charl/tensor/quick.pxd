# cython: language_level=3
from cpython.object cimport PyObject

cdef extern from "Python.h":
    ctypedef object (*vectorcallfunc)(object, PyObject **, size_t, PyObject *)
    Py_ssize_t PyVectorcall_NARGS(size_t)
    object PyObject_Vectorcall(object, PyObject **, size_t, PyObject *)

cdef class Quick:
    cdef vectorcallfunc vectorcall
    cdef int op
    cdef object function
    cdef dict __dict__
