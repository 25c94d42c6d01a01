# cython: language_level=3, boundscheck=False, wraparound=False
"""What an index means: NumPy's rules for basic, boolean and integer-array indices, as movement and gather Nodes."""

from cpython.long cimport PyLong_CheckExact
from cpython.number cimport PyNumber_AsSsize_t
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack

from charl.graph.node cimport Node
from charl.tensor cimport interop

import math
import os
import sys

import numpy

from charl.core import dtypes, shapes
from charl.graph.node import make, put
from charl.ops.table import OPS

_CODE = {name: OPS[name].code for name in (
    "add", "multiply", "const", "reshape", "permute", "expand", "gather", "wrap_index", "cast"
)}  # fmt: skip
_I64 = dtypes.int64.code
_HERE = os.path.dirname(os.path.dirname(__file__))
_ADVICE = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean "
    "arrays are valid indices"
)


def user_site() -> str:
    """'file:line' of the nearest caller outside charl."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _too_many(ndim, count):
    return IndexError(f"too many indices for array: array is {ndim}-dimensional, but {count} were indexed")


def _is_array(item):
    return hasattr(item, "dtype") and hasattr(item, "shape") or isinstance(item, (list, bool))


cdef tuple basic(object index, tuple shape):
    """(starts + steps, the slice's shape, the result's shape, whether all axes got an int, whether the slice is all of
    the array, the axis of the slice that each of the result's axes is, -1 for a new one); None if not basic.

    Raises IndexError for an int out of range, too many indices, or what is no index.
    """
    cdef tuple items = index if isinstance(index, tuple) else (index,)
    cdef Py_ssize_t ndim = len(shape), count = 0, axis = 0, start, stop, step, n, k, extent
    cdef list starts = [], steps = [], sliced = [], result = [], axes = []
    cdef bint ellipsis = False, ints = True, whole = True
    for item in items:
        if item is Ellipsis:
            if ellipsis:
                raise IndexError("an index can only have a single ellipsis ('...')")
            ellipsis = True
        elif item is not None:
            count += 1
    for item in items:
        if PyLong_CheckExact(item) or (
            not isinstance(item, (slice, bool)) and item is not None and item is not Ellipsis
        ):
            if not PyLong_CheckExact(item) and not isinstance(item, numpy.integer):
                if _is_array(item):
                    return None
                if not hasattr(item, "__index__"):
                    raise IndexError(_ADVICE)
            if count > ndim:
                raise _too_many(ndim, count)
            extent = shape[axis]
            start = PyNumber_AsSsize_t(item, IndexError)
            if not -extent <= start < extent:
                raise IndexError(f"index {start} is out of bounds for axis {axis} with size {extent}")
            whole = whole and extent == 1
            starts.append(start + extent if start < 0 else start)
            steps.append(1)
            sliced.append(1)
            axis += 1
        elif item is None:
            result.append(1)
            axes.append(-1)
            ints = False
        elif item is Ellipsis:
            ints = False
            for _ in range(max(ndim - count, 0)):
                starts.append(0)
                steps.append(1)
                sliced.append(shape[axis])
                result.append(shape[axis])
                axes.append(axis)
                axis += 1
        elif isinstance(item, slice):
            if count > ndim:
                raise _too_many(ndim, count)
            PySlice_Unpack(item, &start, &stop, &step)
            n = PySlice_AdjustIndices(shape[axis], &start, &stop, step)
            starts.append(start if n else 0)
            steps.append(step if n > 1 else 1)
            whole = whole and n == <Py_ssize_t>shape[axis] and (n < 2 or step == 1)
            sliced.append(n)
            result.append(n)
            axes.append(axis)
            axis += 1
            ints = False
        else:
            return None  # True or False: a mask without axes
    for k in range(axis, ndim):
        starts.append(0)
        steps.append(1)
        sliced.append(shape[k])
        result.append(shape[k])
        axes.append(k)
        ints = False
    return tuple(starts + steps), tuple(sliced), tuple(result), ints, whole, axes


# Advanced indices


def _const(value):
    return make(_CODE["const"], _I64, (), (), None, (), value)


def _host(array, axis, extent):
    """A checked int64 array of indices in 0..extent-1."""
    if array.dtype.kind not in "iu":
        if array.size == 0 and array.dtype.kind == "f":  # an empty list
            return array.astype(numpy.int64)
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    index = array.astype(numpy.int64)
    if index.size:
        for bound in (index.min(), index.max()):
            if not -extent <= bound < extent:
                raise IndexError(f"index {bound} is out of bounds for axis {axis} with size {extent}")
    return numpy.where(index < 0, index + extent, index)


class Advanced:
    """An index with arrays in it. `base_index`: the basic part, arrays standing as full slices; then `apply`.

    items: (result axis of the basic part, ndarray | Node) for each array, all broadcasting to `shape`;
    at: where the broadcast axes stand in the result.
    """

    def __init__(self, index, shape):
        """index: Tensors in it given as their Nodes. Masks are realized: the result's shape depends on them."""
        entries = []
        consumed = 0
        for item in index if isinstance(index, tuple) else (index,):
            if isinstance(item, (bool, numpy.bool_, list)):
                item = numpy.asarray(item)
            if isinstance(item, Node) and dtypes.ALL[item.dtype].kind == "b":
                item = interop.to_ndarray(item)
            if isinstance(item, numpy.ndarray) and item.dtype.kind == "b":
                entries.append(("mask", item))
                consumed += item.ndim
                continue
            if isinstance(item, (Node, numpy.ndarray)):
                if isinstance(item, Node) and dtypes.ALL[item.dtype].kind not in "iu":
                    raise IndexError("arrays used as indices must be of integer (or boolean) type")
                entries.append(("array", item))
            elif item is None or item is Ellipsis or isinstance(item, slice):
                entries.append(("basic", item))
                consumed += isinstance(item, slice)
                continue
            elif isinstance(item, (int, numpy.integer)):
                entries.append(("array", numpy.asarray(int(item))))
            else:
                raise IndexError(_ADVICE)
            consumed += 1
        if consumed > len(shape):
            raise _too_many(len(shape), consumed)
        if not any(kind == "basic" and item is Ellipsis for kind, item in entries):
            entries.append(("basic", Ellipsis))
        self._resolve(entries, shape, consumed)

    def _resolve(self, entries, shape, consumed):
        basic_part, self.items, places = [], [], []
        axis = out = 0
        for number, (kind, item) in enumerate(entries):
            if kind == "basic":
                basic_part.append(item)
                if item is None:
                    out += 1
                else:
                    width = 1 if item is not Ellipsis else len(shape) - consumed
                    axis += width
                    out += width
                continue
            arrays = [item]
            if kind == "mask":
                if item.shape != shape[axis : axis + item.ndim]:
                    at = next(k for k in range(item.ndim) if item.shape[k] != shape[axis + k])
                    raise IndexError(
                        "boolean index did not match indexed array along axis "
                        f"{axis + at}; size of axis is {shape[axis + at]} but size of "
                        f"corresponding boolean axis is {item.shape[at]}"
                    )
                arrays = item.nonzero() if item.ndim else [numpy.zeros(int(bool(item)), numpy.int64)]
                if not item.ndim:
                    basic_part.append(None)
                    self.items.append((out, arrays[0], 1))
                    places.append(number)
                    out += 1
                    continue
            for array in arrays:
                extent = shape[axis]
                if isinstance(array, Node):
                    array = checked(array, extent, axis)
                else:
                    array = _host(array, axis, extent)
                self.items.append((out, array, extent))
                places.append(number)
                basic_part.append(slice(None))
                axis += 1
                out += 1
        self.base_index = tuple(basic_part)
        try:
            self.shape = shapes.broadcast_shapes(*(tuple(a.shape) for _, a, _ in self.items))
        except ValueError:
            shown = " ".join(str(tuple(a.shape)).replace(", ", ",") for _, a, _ in self.items)
            raise IndexError(
                f"shape mismatch: indexing arrays could not be broadcast together with shapes {shown} "
            ) from None
        spots = sorted(set(places))
        together = all(b - a == 1 for a, b in zip(spots, spots[1:]))
        self.at = self.items[0][0] if together else 0

    def apply(self, node):
        """node: the basic part's. The Node of the indexed result."""
        axes = [axis for axis, _, _ in self.items]
        rest = [axis for axis in range(len(node.shape)) if axis not in axes]
        perm = tuple(rest[: self.at] + axes + rest[self.at :])
        if perm != tuple(range(len(perm))):
            node = make(_CODE["permute"], node.dtype, tuple(node.shape[p] for p in perm), (node,), perm)
        merged = math.prod(extent for _, _, extent in self.items)
        flat = (*node.shape[: self.at], merged, *node.shape[self.at + len(axes) :])
        if flat != node.shape:
            node = make(_CODE["reshape"], node.dtype, flat, (node,))
        index = self._flat()
        shape = (*flat[: self.at], *self.shape, *flat[self.at + 1 :])
        if 0 in shape:
            zero = make(_CODE["const"], node.dtype, (), (), None, (), 0)
            return put(make(_CODE["expand"], node.dtype, shape, (zero,)), node.device)
        return make(_CODE["gather"], node.dtype, shape, (node, index), self.at)

    def _flat(self):
        """The int64 index into the merged axis, of shape self.shape."""
        stride, host, total = 1, 0, None
        for _, array, extent in reversed(self.items):
            if isinstance(array, numpy.ndarray):
                host = host + array * stride
            else:
                term = array
                if stride != 1:
                    term = make(_CODE["multiply"], _I64, array.shape, (array, _const(stride)))
                if total is not None:
                    joint = shapes.broadcast_shapes(term.shape, total.shape)
                    term = make(_CODE["add"], _I64, joint, (total, term))
                total = term
            stride *= extent
        if total is None:
            return interop.from_ndarray(numpy.broadcast_to(numpy.asarray(host, numpy.int64), self.shape), True)
        if not isinstance(host, int):
            part = interop.from_ndarray(numpy.asarray(host), True)
            total = make(_CODE["add"], _I64, shapes.broadcast_shapes(total.shape, part.shape), (total, part))
        if total.shape != self.shape:
            total = make(_CODE["expand"], _I64, self.shape, (total,))
        return total


cpdef Node checked(Node node, extent, axis):
    """Indices of a Tensor: cast, and checked when they are computed."""
    if node.dtype != _I64:
        node = make(_CODE["cast"], _I64, node.shape, (node,))
    if extent == 0 and 0 not in node.shape:
        raise IndexError(f"index is out of bounds for axis {axis} with size 0")
    return make(_CODE["wrap_index"], _I64, node.shape, (node,), None, (extent,), 0, user_site())
