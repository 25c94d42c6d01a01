# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Tensor: the user's mutable handle on a Node, with Python's protocols.

A root holds the Node of its whole value; writing replaces that Node. A view holds a View, which names its root and says
what of it the view shows. Functions of the api come in as methods through `register_method`. What the methods do is in
value.pyx, operators.pyx and parts.pyx, which know this class in turn.
"""

cimport cython
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT, Py_NE, PyObject, destructor
from libc.stdint cimport int64_t

from charl.core cimport infer
from charl.core.objects cimport Py_SET_REFCNT
from charl.engine cimport leaves
from charl.graph cimport held
from charl.graph.node cimport Node
from charl.tensor cimport export, interop, operands, parts
from charl.tensor.operands cimport (
    ABS, ADD, AND, DIVIDE, EQUAL, FLOOR_DIVIDE, GREATER, GREATER_EQUAL, INVERT, LEFT, LESS, LESS_EQUAL, MULTIPLY,
    NEGATIVE, NOT_EQUAL, OR, POSITIVE, POW, REMAINDER, RIGHT, SUBTRACT, XOR,
)
from charl.tensor.operators cimport assigned, binary, in_place, power, product, unary
from charl.tensor.value cimport copied, current, demand, dtype_of, root_of, scalar_of, shape_of, wrapped

import builtins
import sys

from charl.core import dtypes
from charl.core.settings import config
from charl.engine import devices

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        PyObject *tp_dict
        destructor tp_dealloc

    void PyType_Modified(PyTypeObject *)
    void PyObject_ClearWeakRefs(PyObject *)

cdef extern from *:
    """
    #define has_weakrefs(tensor) ((tensor)->__weakref__ != NULL)
    """
    bint has_weakrefs(Tensor) noexcept

cdef enum:
    FEW = 8

cdef list _DTYPES = list(dtypes.ALL)
cdef list _REVERSED = [tuple(range(n - 1, -1, -1)) for n in range(FEW)]
cdef int[6] _COMPARE
_COMPARE[Py_EQ], _COMPARE[Py_NE], _COMPARE[Py_LT] = EQUAL, NOT_EQUAL, LESS
_COMPARE[Py_LE], _COMPARE[Py_GT], _COMPARE[Py_GE] = LESS_EQUAL, GREATER, GREATER_EQUAL


@cython.final
@cython.no_gc
@cython.c_api_binop_methods(True)
cdef class Tensor:
    """An n-dimensional array. Made by the functions of the namespace, not by calling this class."""

    __array_ufunc__ = None
    __array_priority__ = 1000.0
    __hash__ = None

    def __init__(self):
        raise TypeError("Tensor: use asarray, zeros, ... to make one")

    # Attributes

    @property
    def shape(self):
        """The extents, a tuple of ints."""
        return shape_of(self)

    @property
    def dtype(self):
        """The DType of the elements."""
        return _DTYPES[dtype_of(self)]

    @property
    def ndim(self):
        """The number of axes."""
        return len(shape_of(self))

    @property
    def size(self):
        """The number of elements."""
        return infer.size_of(shape_of(self))

    @property
    def itemsize(self):
        """Bytes of an element."""
        return infer.ITEMSIZE[dtype_of(self)]

    @property
    def nbytes(self):
        """Bytes of all elements."""
        return infer.size_of(shape_of(self)) * infer.ITEMSIZE[dtype_of(self)]

    @property
    def device(self):
        """Where the elements live: "cpu", "gpu", "gpu:1", ..."""
        return devices.name(root_of(self).node.device)

    @property
    def T(self):
        """A view with the axes in reverse order."""
        cdef Py_ssize_t n = len(shape_of(self))
        return parts.permuted(self, _REVERSED[n] if n < FEW else tuple(range(n - 1, -1, -1)))

    @property
    def mT(self):
        """A view with the last two axes exchanged. Raises ValueError below two axes."""
        cdef Py_ssize_t n = len(shape_of(self))
        if n < 2:
            raise ValueError(f"mT: at least two axes are needed; shape is {shape_of(self)}")
        return parts.permuted(self, (*range(n - 2), n - 1, n - 2))

    @property
    def real(self):
        """A view of all of the Tensor: all dtypes are real."""
        return parts.part(self, Ellipsis)

    @property
    def imag(self):
        """Zeros of the Tensor's shape and dtype: all dtypes are real."""
        return wrapped(operands.zeros(dtype_of(self), shape_of(self)))

    # Operators. The left operand need not be a Tensor.

    def __add__(left, right): return binary(ADD, left, right)
    def __sub__(left, right): return binary(SUBTRACT, left, right)
    def __mul__(left, right): return binary(MULTIPLY, left, right)
    def __truediv__(left, right): return binary(DIVIDE, left, right)
    def __floordiv__(left, right): return binary(FLOOR_DIVIDE, left, right)
    def __mod__(left, right): return binary(REMAINDER, left, right)
    def __and__(left, right): return binary(AND, left, right)
    def __or__(left, right): return binary(OR, left, right)
    def __xor__(left, right): return binary(XOR, left, right)
    def __lshift__(left, right): return binary(LEFT, left, right)
    def __rshift__(left, right): return binary(RIGHT, left, right)

    def __iadd__(self, other): return in_place(self, ADD, other)
    def __isub__(self, other): return in_place(self, SUBTRACT, other)
    def __imul__(self, other): return in_place(self, MULTIPLY, other)
    def __itruediv__(self, other): return in_place(self, DIVIDE, other)
    def __ifloordiv__(self, other): return in_place(self, FLOOR_DIVIDE, other)
    def __imod__(self, other): return in_place(self, REMAINDER, other)
    def __iand__(self, other): return in_place(self, AND, other)
    def __ior__(self, other): return in_place(self, OR, other)
    def __ixor__(self, other): return in_place(self, XOR, other)
    def __ilshift__(self, other): return in_place(self, LEFT, other)
    def __irshift__(self, other): return in_place(self, RIGHT, other)
    def __ipow__(self, other): return in_place(self, POW, other)

    def __neg__(self): return unary(NEGATIVE, self)
    def __pos__(self): return unary(POSITIVE, self)
    def __abs__(self): return unary(ABS, self)
    def __invert__(self): return unary(INVERT, self)

    def __richcmp__(self, other, int relation):
        return binary(_COMPARE[relation], self, other)

    def __divmod__(left, right):
        return binary(FLOOR_DIVIDE, left, right), binary(REMAINDER, left, right)

    def __pow__(left, right, modulus):
        return NotImplemented if modulus is not None else power(left, right)

    def __matmul__(left, right):
        found = product(left, right)
        return (<object>Tensor).matmul(left, right) if found is None else found

    def __imatmul__(self, other):
        return assigned(self, MULTIPLY, current((<object>Tensor).matmul(self, other)))

    # Indexing

    def __getitem__(self, index):
        return parts.part(self, index)

    def __setitem__(self, index, value):
        parts.assign_part(self, index, value)

    def __delitem__(self, index):
        raise ValueError("cannot delete array elements")

    def __len__(self):
        cdef tuple shape = shape_of(self)
        if not shape:
            raise TypeError("len() of unsized object")
        return shape[0]

    def __iter__(self):
        if not shape_of(self):
            raise TypeError("iteration over a 0-d array")
        demand(self)
        return (self[k] for k in range(len(self)))

    def __contains__(self, value):
        found = binary(EQUAL, self, value)
        return found is not NotImplemented and bool(interop.to_ndarray(demand(found)).any())

    # Values

    def item(self, *args):
        """The Python scalar of a Tensor of one element, of the element at an index, or at one in the flat Tensor."""
        cdef tuple shape = shape_of(self)
        if args:
            index = args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
            if len(index) == 1 and len(shape) != 1:
                index = export.flat_index(index[0], shape)
            elif len(index) != len(shape):
                raise ValueError("incorrect number of indices for array")
            return scalar_of(parts.part(self, index)) if shape else scalar_of(self)
        if infer.size_of(shape_of(self)) != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return scalar_of(self)

    def tolist(self):
        """Nested lists of Python scalars; a scalar for a 0-d Tensor."""
        return interop.to_ndarray(demand(self)).tolist()

    def numpy(self):
        """A read-only ndarray snapshot; it shares memory, and never sees later writes."""
        return interop.to_ndarray(demand(self))

    def __array__(self, dtype=None, copy=None):
        array = interop.to_ndarray(demand(self))
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"__array__: a copy is needed to go from {array.dtype} to {dtype}")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __bool__(self):
        cdef int64_t size = infer.size_of(shape_of(self))
        if size != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
                if size
                else "The truth value of an empty array is ambiguous. Use `array.size > 0` to check "
                "that it is not empty."
            )
        return builtins.bool(scalar_of(self))

    def __float__(self):
        return float(_zero_d(self))

    def __int__(self):
        return int(_zero_d(self))

    def __complex__(self):
        return complex(_zero_d(self))

    def __index__(self):
        if shape_of(self) or infer.KIND[dtype_of(self)] not in (infer.KIND_I, infer.KIND_U):
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return scalar_of(self)

    def __round__(self, ndigits=None):
        return builtins.round(_zero_d(self), ndigits)

    def __format__(self, spec):
        if shape_of(self):
            if spec:
                raise TypeError("unsupported format string passed to Tensor.__format__")
            return str(self)
        return format(scalar_of(self), spec)

    def __str__(self):
        return str(interop.to_ndarray(demand(self)))

    def __repr__(self):
        return export.to_text(demand(self))

    # Exchange

    def __getbuffer__(self, Py_buffer *view, int flags):
        export.fill_buffer(self, demand(self), view, flags)

    def __releasebuffer__(self, Py_buffer *view):
        export.free_buffer(view)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """A capsule. Consumers that honour the read-only flag get a snapshot, others (and PyTorch) a copy."""
        if stream is not None:
            raise ValueError("__dlpack__: stream must be None on the cpu")
        caller = sys._getframe().f_globals.get("__name__", "")
        return export.to_capsule(demand(self), caller, max_version, dl_device, copy)

    def __dlpack_device__(self):
        return 1, 0

    def __array_namespace__(self, *, api_version=None):
        namespace = sys.modules["charl"]
        if api_version is not None and api_version > namespace.__array_api_version__:
            raise ValueError(f"__array_namespace__: version {api_version} is not supported")
        return namespace

    def to_device(self, device, *, stream=None):
        """This Tensor if it is there, else one with a copy of its value on a device: "cpu", "gpu", "gpu:1", ..."""
        cdef int code = devices.code(device, "to_device")
        cdef Node node = current(self)
        if node.device == code:
            return self
        devices.check(code, dtypes.ALL[node.dtype].name, "to_device")
        return wrapped(leaves.moved(demand(self), code))

    def copy(self):
        """A Tensor of its own with the same value; nothing is copied until one of the two is written."""
        return copied(self)

    def __copy__(self):
        return copied(self)

    def __deepcopy__(self, memo):
        return copied(self)

    def __reduce__(self):
        return _restore, (interop.to_ndarray(demand(self)).copy(),)


cdef destructor _free = (<PyTypeObject *>Tensor).tp_dealloc


cdef void _dealloc(PyObject *self) noexcept:
    """Tensor's tp_dealloc."""
    global KEPT_COUNT
    cdef PyObject *node = <PyObject *>(<Tensor>self).node
    if has_weakrefs(<Tensor>self):
        PyObject_ClearWeakRefs(self)
    if node != <PyObject *>None:
        held.release(node)
    Py_SET_REFCNT(self, 1)  # for what follows an object like others
    (<Tensor>self).node = None
    if (<Tensor>self).view is not None:
        (<Tensor>self).view = None
    (<Tensor>self).version = 0
    Py_SET_REFCNT(self, 0)
    if KEPT_COUNT == KEPT_TENSORS:
        _free(self)
        return
    KEPT[KEPT_COUNT] = self
    KEPT_COUNT += 1


(<PyTypeObject *>Tensor).tp_dealloc = _dealloc


cdef object _zero_d(Tensor tensor):
    if shape_of(tensor):
        raise TypeError("only 0-dimensional arrays can be converted to Python scalars")
    return scalar_of(tensor)


def _restore(array):
    """Unpickles, on the default device."""
    return wrapped(interop.from_ndarray(array, True)).to_device(config.default_device)


def register_method(str name, function):
    """Makes the Python function(tensor, ...) the method `name` of every Tensor."""
    cdef PyTypeObject *kind = <PyTypeObject *>Tensor
    (<dict>kind.tp_dict)[name] = function
    PyType_Modified(kind)
