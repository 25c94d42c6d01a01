# cython: language_level=3
# An int object's value, and a tuple's parts, by pointers alone: no reference is taken and given back.
from cpython.object cimport PyObject

cdef extern from *:
    """
    static inline long long charl_int(PyObject *n) {
    #if PY_VERSION_HEX < 0x030C0000
        if (PyLong_Check(n) && Py_SIZE(n) == 1) return ((PyLongObject *)n)->ob_digit[0];
    #else
        if (PyLong_Check(n) && PyUnstable_Long_IsCompact((PyLongObject *)n))
            return PyUnstable_Long_CompactValue((PyLongObject *)n);
    #endif
        return PyLong_AsLongLong(n);
    }
    """
    long long charl_int(PyObject *n) noexcept  # -1 for what is no int; shapes hold ints alone
    Py_ssize_t PyTuple_GET_SIZE(PyObject *) noexcept
    PyObject *PyTuple_GET_ITEM(PyObject *, Py_ssize_t) noexcept
