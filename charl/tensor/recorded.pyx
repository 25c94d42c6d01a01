# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""recorded: makes a function of arrays quick to call again.

Such a function composes its result of other functions and looks at no value. For given dtypes, shapes and further
arguments it is run once, on operands without values, and what it records is kept as a template (graph/template.pyx).
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM

from charl.core cimport infer
from charl.engine cimport realize as engine
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.graph.template cimport use
from charl.tensor.handle cimport Tensor
from charl.tensor.quick cimport PyObject_Vectorcall, PyVectorcall_NARGS, Quick
from charl.tensor.value cimport current, wrapped

import functools

from charl.core.dtypes import DType
from charl.core.errors import ValueNeeded
from charl.graph.template import template

cdef enum:
    TEMPLATES = 1024  # of a function; beyond them all are forgotten


cdef class Recorded(Quick):
    """function, with its templates; see `recorded`."""
    cdef dict known


cdef tuple _key(PyObject **args, Py_ssize_t count, PyObject *names):
    """What a template depends on; None where one of the arguments keeps it from being known."""
    cdef tuple key = PyTuple_New(2 * count + 1), inner
    cdef PyObject *arg
    cdef object first, second
    cdef Node node
    cdef int device = -1
    cdef Py_ssize_t k, j
    for k in range(count):
        arg = args[k]
        if type(<object>arg) is Tensor:
            node = (<Tensor>arg).node if (<Tensor>arg).view is None else (<Tensor>(<Tensor>arg).view.base).node
            if device >= 0 and node.device != device:
                return None
            device = node.device
            first = node.dtype
            second = node.shape if (<Tensor>arg).view is None else (<Tensor>arg).view.shape
        else:
            second = <object>arg
            first = type(second)
            if first is float:
                second = infer.float_bits(second, infer.F64)
            elif first is tuple:
                inner = <tuple>second
                for j in range(PyTuple_GET_SIZE(inner)):
                    if type(<object>PyTuple_GET_ITEM(inner, j)) is not int:
                        return None
            elif first is DType:
                second = second.code
            elif not (second is None or first is bool or first is int or first is str):
                return None
        Py_INCREF(first)
        PyTuple_SET_ITEM(key, 2 * k, first)
        Py_INCREF(second)
        PyTuple_SET_ITEM(key, 2 * k + 1, second)
    if device < 0:
        return None
    first = (<object>names, device) if names != NULL else device
    Py_INCREF(first)
    PyTuple_SET_ITEM(key, 2 * count, first)
    return key


cdef object _call(object callee, PyObject **args, size_t nargsf, PyObject *names):
    cdef Recorded self = <Recorded>callee
    cdef Py_ssize_t positional = PyVectorcall_NARGS(nargsf), k, arrays = 0
    cdef Py_ssize_t count = positional + (PyTuple_GET_SIZE(<tuple>names) if names != NULL else 0)
    cdef tuple key, extra, sources
    cdef Node node
    key = None if engine.is_recording() else _key(args, count, names)  # templates hold no others
    if key is None:
        return PyObject_Vectorcall(self.function, args, nargsf, names)
    extra = _template(self, key, args, positional, names)
    if extra is None:
        return PyObject_Vectorcall(self.function, args, nargsf, names)
    for k in range(count):
        if type(<object>args[k]) is Tensor:
            arrays += 1
    sources = PyTuple_New(arrays)
    arrays = 0
    for k in range(count):
        if type(<object>args[k]) is Tensor:
            node = current(<Tensor>args[k])
            Py_INCREF(node)
            PyTuple_SET_ITEM(sources, arrays, node)
            arrays += 1
    return wrapped(use(extra, sources))


cdef tuple _template(Recorded self, tuple key, PyObject **args, Py_ssize_t positional, PyObject *names):
    """The known template, as a Node's `extra`, or that of a first run. None where the function has none."""
    cdef Py_ssize_t k, count = (PyTuple_GET_SIZE(key) - 1) // 2
    cdef list given = [], inputs = []
    cdef Node leaf
    cdef object found = self.known.get(key, self)
    if found is not self:
        return <tuple>found
    for k in range(count):
        if type(<object>args[k]) is Tensor:
            leaf = graph.new(graph.LEAF, key[2 * k], key[2 * k + 1], ())
            leaf.device = key[2 * count] if names == NULL else key[2 * count][1]
            inputs.append(leaf)
        given.append(<object>args[k])
    engine.begin_recording()
    try:
        arrays = iter([wrapped(leaf) for leaf in inputs])
        given = [next(arrays) if type(value) is Tensor else value for value in given]
        named = {} if names == NULL else dict(zip(<tuple>names, given[positional:]))
        result = self.function(*given[:positional], **named)
        made = template(current(<Tensor?>result), tuple(inputs))
    except ValueNeeded:
        made = None
    finally:
        engine.end_recording()
    extra = None if made is None else (made, (), None)
    if len(self.known) >= TEMPLATES:
        self.known.clear()
    self.known[key] = extra
    return extra


def recorded(function):
    """function(arrays and other arguments) -> Tensor, which is quick to call again with like arguments.

    It must write nothing, check no index, and depend on its arguments alone: on their dtypes, shapes and device where
    they are Tensors. Arguments that are neither Tensors nor plain (None, bool, int, float, str, a DType, a tuple of
    ints), or Tensors of two devices, call it as it is, and so do those of which it looks at a value.
    """
    cdef Recorded made = Recorded.__new__(Recorded)
    made.function, made.known, made.vectorcall = function, {}, _call
    return functools.update_wrapper(made, function)
