# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""quick: gives a function a short way in C, for Tensors that need no rules of promotion or broadcasting.

Python's own part of a call, a frame and the calls in it, takes longer than recording a Node.
"""

from cpython.object cimport PyObject

from charl.core cimport infer
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.tensor.handle cimport Tensor
from charl.tensor.operators cimport recorded, unary
from charl.tensor.value cimport current, wrapped

import functools

from charl.ops.table import OPS

cdef extern from "Python.h":
    ctypedef object (*ternaryfunc)(object, object, object)
    ctypedef struct PyTypeObject:
        Py_ssize_t tp_vectorcall_offset
        unsigned long tp_flags
        ternaryfunc tp_call

    unsigned long Py_TPFLAGS_HAVE_VECTORCALL
    object PyVectorcall_Call(object, object, object)


cdef class Quick:
    """function, with its short way; see `quick`."""

    def __repr__(self):
        return repr(self.function)

    def __reduce__(self):
        return self.__qualname__  # pickled by name, as functions are


cdef object _unary(object callee, PyObject **args, size_t nargsf, PyObject *names):
    if names == NULL and PyVectorcall_NARGS(nargsf) == 1 and type(<object>args[0]) is Tensor:
        return unary((<Quick>callee).op, <Tensor>args[0])
    return PyObject_Vectorcall((<Quick>callee).function, args, nargsf, names)


cdef object _binary(object callee, PyObject **args, size_t nargsf, PyObject *names):
    cdef object found
    if names == NULL and PyVectorcall_NARGS(nargsf) == 2 and type(<object>args[0]) is Tensor:
        found = recorded((<Quick>callee).op, <object>args[0], <object>args[1], False)
        if found is not None:
            return found
    return PyObject_Vectorcall((<Quick>callee).function, args, nargsf, names)


cdef object _where(object callee, PyObject **args, size_t nargsf, PyObject *names):
    """A bool Tensor and Tensors of its shape and one dtype, or one of floats and a Python number."""
    cdef Node test, a, b
    if names == NULL and PyVectorcall_NARGS(nargsf) == 3 and type(<object>args[0]) is Tensor and (
        type(<object>args[1]) is Tensor or type(<object>args[2]) is Tensor
    ):
        test = current(<Tensor>args[0])
        a = _side(<object>args[1], <object>args[2], test)
        b = _side(<object>args[2], <object>args[1], test)
        if test.dtype == infer.B1 and a is not None and b is not None and a.dtype == b.dtype:
            return wrapped(graph.new3(graph.WHERE, a.dtype, test.shape, test, a, b))
    return PyObject_Vectorcall((<Quick>callee).function, args, nargsf, names)


cdef inline Node _side(object x, object other, Node test):
    """A Tensor's Node of the condition's shape, or a number's beside such a Tensor; or None."""
    cdef Node node = current(<Tensor>(x if type(x) is Tensor else other))
    if node.shape is not test.shape and not infer.same_shape(node.shape, test.shape):
        return None
    if type(x) is Tensor:
        return node
    if infer.KIND[node.dtype] != infer.KIND_F or not (type(x) is float or type(x) is int):
        return None
    return graph.new_const(node.dtype, infer.scalar_bits(x, node.dtype))


def quick(function):
    """function(x), (x1, x2), or `where`, for which the op of its name has a short way. It does what function does, and
    calls it where there are rules to follow or errors to tell.
    """
    cdef Quick made = Quick.__new__(Quick)
    row = OPS[function.__name__]
    made.function, made.op = function, row.code
    made.vectorcall = _unary if row.arity == 1 else _binary if row.arity == 2 else _where
    return functools.update_wrapper(made, function)


cdef Quick _sample = Quick.__new__(Quick)
cdef PyTypeObject *_type = <PyTypeObject *>Quick
_type.tp_vectorcall_offset = <char *>&_sample.vectorcall - <char *><PyObject *>_sample
_type.tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL
_type.tp_call = PyVectorcall_Call
