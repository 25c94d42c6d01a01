# cython: language_level=3
# Reference counts by pointers alone, and dead objects that come back to life.
from cpython.object cimport PyObject

cdef extern from *:
    """
    static inline PyObject *charl_again(PyObject *dead) {
    #if defined(Py_TRACE_REFS) || defined(Py_REF_DEBUG)
        _Py_NewReference(dead);
    #else
        Py_SET_REFCNT(dead, 1);
    #endif
        return dead;
    }
    """
    object again "charl_again"(PyObject *dead)  # an object again, with one reference
    Py_ssize_t Py_REFCNT(PyObject *) noexcept  # cpython.ref's would take a reference first
    void Py_SET_REFCNT(PyObject *, Py_ssize_t) noexcept
