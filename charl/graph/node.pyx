# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Node: a typed, shaped vertex of the lazy graph: what to compute.

A Node never changes what it means. The engine gives it a `value` once, and it then forgets its sources. Nodes hold no
cycles and take no part in garbage collection; a chain of any length is freed by a loop, not by recursion.

op          src         attrs, sizes: meaning
leaf        ()          value is a C-contiguous Buffer
const       ()          shape (); bits: the value's bits in its dtype, zero-extended
element-wise  n nodes   src shapes broadcast to shape; src dtypes are what the op's row wants
iota        ()          shape (n,): 0..n-1 in int64
reshape     (x,)        C order
permute     (x,)        attrs: the permutation
expand      (x,)        right-aligned broadcast
slice       (x,)        sizes: starts, then steps; index = start + step * i
windows     (x,)        attrs: axes; sizes: steps, then dilations of these. Axes keep their places, with an element a
                        window, and the windows' own axes come last; index = step * i + dilation * p
sum prod max min any all  (x,)   attrs: sorted axes, which are dropped
matmul      (a, b)      (..., m, k) x (..., k, n), batch axes broadcast
cumsum cumprod  (x,)    attrs: axis; inclusive
gather      (x, index)  attrs: axis; index int64 in 0..extent-1
wrap_index  (index,)    sizes: (extent,); site: the user's line, named by the IndexError
update      (base, value)  base with the view that attrs and sizes describe replaced by value. attrs: the
                           movements that lead from base to the view, ("slice", ndim) | ("permute", perm) |
                           ("reshape", ndim of the result), or ("strided", ndim) alone; sizes: their numbers (slice:
                           starts, steps, shape; reshape: shape; strided: offset, strides, shape, in elements)
compound    operands    attrs: a Template, whose Nodes it stands for; no op of the table
"""

cimport cython
from cpython.object cimport PyObject, PyTypeObject, destructor
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from charl.core cimport infer
from charl.core.ints cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, charl_int
from charl.core.objects cimport Py_REFCNT, Py_SET_REFCNT

from charl.core import infer as infer_tables
from charl.ops import table

cdef enum:
    STORED = 3  # what an update adds to the depth of its base, or a quarter of the chain in between

cdef dict _ATTR_IDS = {}
cdef tuple _EMPTY = ()

for _row in table.OPS.values():
    if _row.code >= infer.MAX_OPS:
        raise ImportError("charl.core.infer: MAX_OPS is too small for the op table")
    if _row.group == "elementwise":
        infer_tables.declare(_row.name, _row.code, _row.kinds, _row.result)


def _code(name):
    return table.OPS[name].code


LEAF, CONST, IOTA = _code("leaf"), _code("const"), _code("iota")
RESHAPE, PERMUTE, EXPAND, SLICE, WINDOWS = map(_code, ("reshape", "permute", "expand", "slice", "windows"))
SUM, PROD, MAX, MIN, ANY, ALL = map(_code, ("sum", "prod", "max", "min", "any", "all"))
MATMUL, CUMSUM, CUMPROD = map(_code, ("matmul", "cumsum", "cumprod"))
GATHER, WRAP_INDEX, UPDATE = map(_code, ("gather", "wrap_index", "update"))
CAST, WHERE = _code("cast"), _code("where")
COMPOUND = len(table.OPS)


@cython.final
@cython.no_gc
cdef class Node:
    """One vertex; made by `make`. op and dtype are codes (ops.table, core.dtypes)."""

    @property
    def src(self):
        """The sources, a tuple."""
        return tuple([<Node>self.sources[k] for k in range(self.count)])

    @property
    def realized(self):
        """Whether the value is there; such a Node reads as a leaf."""
        return self.value is not None

    @property
    def attrs(self):
        """What is structure."""
        return None if self.extra is None else self.extra[0]

    @property
    def sizes(self):
        """Numbers that become launch parameters."""
        return _EMPTY if self.extra is None else self.extra[1]

    @property
    def site(self):
        """The user's "file:line" of a wrap_index."""
        return None if self.extra is None else self.extra[2]

    def __repr__(self):
        return f"<Node {table_name(self.op)} dtype={self.dtype} shape={self.shape}>"


# Dead Nodes for the next ones, as Node.__new__ makes them but for `shape`. Cython's freelists clear every field twice
# and save and restore the error in flight around a __dealloc__: 130 instructions more a Node.
cdef destructor _free = (<PyTypeObject *>Node).tp_dealloc


cdef void _dealloc(PyObject *self) noexcept:
    """Node's tp_dealloc. A chain is freed by a loop: sources that die with a Node wait, linked by `older`."""
    global KEPT_COUNT
    cdef PyObject *next_one
    cdef PyObject *source
    cdef Py_ssize_t k
    (<Node>self).older = NULL
    while self != NULL:
        next_one = (<Node>self).older
        (<Node>self).older = NULL
        for k in range((<Node>self).count):
            source = (<Node>self).sources[k]
            if Py_REFCNT(source) > 1:
                Py_SET_REFCNT(source, Py_REFCNT(source) - 1)
            else:
                (<Node>source).older = next_one
                next_one = source
        Py_SET_REFCNT(self, 1)  # for what follows an object like others
        _clear(<Node>self)
        Py_SET_REFCNT(self, 0)
        if KEPT_COUNT == MOST_KEPT:
            _free(self)
        else:
            KEPT[KEPT_COUNT] = self
            KEPT_COUNT += 1
        self = next_one


cdef inline void _clear(Node node) noexcept:
    """All but `shape` and what a new Node gets, when its sources are let go."""
    if node.count > FEW:
        free(node.sources)
    node.count = 0
    if node.flags & ORPHAN:
        count_orphan(node, -1)
    if node.value is not None:
        node.value = None
    if node.extra is not None:
        node.extra = None
    node.device = node.flags = 0
    node.depth = node.attr_id = 0


(<PyTypeObject *>Node).tp_dealloc = _dealloc


def table_name(int op):
    """Name of an op code."""
    return _NAMES[op]


_NAMES = [*table.OPS, "compound"]


cdef int _take_sources(Node node, tuple src) except -1:
    """Gives a Node that has none its sources."""
    cdef Py_ssize_t count = PyTuple_GET_SIZE(<PyObject *>src), k
    node.sources = node.few
    if count > FEW:
        node.sources = <PyObject **>malloc(count * sizeof(PyObject *))
        if node.sources == NULL:
            raise MemoryError("charl.graph: no memory for a node")
    for k in range(count):
        node.sources[k] = referred(<Node>PyTuple_GET_ITEM(<PyObject *>src, k))
    node.count = count
    return 0


cdef void _drop_sources(Node node) noexcept:
    cdef PyObject *few[FEW]
    cdef PyObject **sources = node.sources
    cdef Py_ssize_t count = node.count, k
    if count <= FEW:  # what is freed here may run Python, which finds the Node without them
        sources = few
        for k in range(count):
            few[k] = node.few[k]
    node.count = 0
    for k in range(count):
        Py_DECREF(<object>sources[k])
    if count > FEW:
        free(sources)


cdef int inherit(Node node) noexcept:
    """Gives node its depth. Returns 0, or something else where a source is on a GPU."""
    cdef int deepest = -1, devices = 0, first
    cdef Py_ssize_t k
    cdef PyObject *source
    for k in range(node.count):
        source = node.sources[k]
        devices |= (<Node>source).device
        deepest = max(deepest, (<Node>source).depth)
    node.depth = deepest + 1
    if node.op == UPDATE and 0 <= deepest < BORROWED:  # it ends a kernel: a chain may have more of them than of others
        first = (<Node>node.sources[0]).depth
        node.depth = first + max(STORED, (deepest - first) // 4)
    return devices


cdef Node new(int op, int dtype, tuple shape, tuple src):
    """A Node without attrs and sizes."""
    cdef Node node = blank()
    node.op = op
    node.dtype = dtype
    node.shape = shape
    _take_sources(node, src)
    if inherit(node):
        gather_devices(node)
    return node


cdef Node new1(int op, int dtype, tuple shape, Node a):
    """`new` of one source."""
    cdef Node node = blank()
    node.op = op
    node.dtype = dtype
    node.shape = shape
    node.sources = node.few
    node.few[0] = referred(a)
    node.count = 1
    node.depth = a.depth + 1
    node.device = a.device
    return node


cdef Node new3(int op, int dtype, tuple shape, Node a, Node b, Node c):
    """`new` of three."""
    cdef Node node = blank()
    node.op = op
    node.dtype = dtype
    node.shape = shape
    node.sources = node.few
    node.few[0] = referred(a)
    node.few[1] = referred(b)
    node.few[2] = referred(c)
    node.count = 3
    if inherit(node):
        gather_devices(node)
    return node


# Gives a Node's value on another device: move(node, device). The engine's, who knows devices.
_move = None


def set_mover(move):
    """move(node, device) shall give a leaf, or a constant for a 0-d Node, with node's value on that device."""
    global _move
    _move = move


cdef int gather_devices(Node node) except -1:
    """Puts a Node with a source on a GPU there. Sources that are free to move come along."""
    cdef Node source
    cdef int device = 0
    cdef tuple src = node.src
    for source in src:
        if source.device and device and source.device != device:
            raise ValueError(f"{table_name(node.op)}: arrays are on different devices, gpu {device - 1} and "
                             f"gpu {source.device - 1}; x.to_device(...) moves one")
        device = device or source.device
    node.device = device
    src = tuple([source if source.device else _moved(source, device, node.op) for source in src])
    _drop_sources(node)
    _take_sources(node, src)
    inherit(node)
    return 0


cdef Node _moved(Node node, int device, int op):
    """A Node of the cpu for a Node of a GPU to read. Constants and what is made of them are at home everywhere, numbers
    go with the launch, and arrays that no Tensor holds have just come in. Raises ValueError for all others."""
    if node.op == CONST and node.value is None:
        return node
    if PyTuple_GET_SIZE(<PyObject *>node.shape) == 0:
        return <Node>_move(node, 0) if node.value is not None or node.handles else _remade(node, device, op)
    if node.handles:
        raise ValueError(f"{table_name(op)}: arrays are on different devices, cpu and gpu; x.to_device(...) moves one")
    if node.value is not None:
        return <Node>_move(node, device)
    return _remade(node, device, op)


cdef Node _remade(Node node, int device, int op):
    cdef Node made
    cdef tuple src = node.src
    cdef list sources = [source if (<Node>source).device else _moved(source, device, op) for source in src]
    for k in range(len(sources)):
        if sources[k] is not src[k]:
            made = make(node.op, node.dtype, node.shape, tuple(sources), node.attrs, node.sizes, node.bits, node.site)
            return made
    return node


cpdef Node put(Node node, int device):
    """A pending Node of the cpu that its maker alone knows, on a GPU. Raises ValueError where it reads what is not."""
    if node.op != CONST:
        node = _remade(node, device, node.op)
    node.device = device
    return node


cdef Node new_const(int dtype, int64_t bits):
    cdef Node node = blank()
    node.op = CONST
    node.dtype = dtype
    node.shape = _EMPTY
    node.bits = bits
    return node


cdef Node new_leaf(int dtype, tuple shape, object value):
    cdef Node node = blank()
    node.op = LEAF
    node.dtype = dtype
    node.shape = shape
    node.value = value
    return node


cpdef Node make(
    int op, int dtype, tuple shape, tuple src, object attrs=None, tuple sizes=(), int64_t bits=0, object site=None
):
    """A Node; arguments as the module's docstring says, and trusted. graph/verify.py checks them in tests."""
    cdef Node node = new(op, dtype, shape, src)
    cdef object known
    if attrs is not None or sizes or site is not None:
        node.extra = (attrs, sizes, site)
    if op == COMPOUND:
        node.attr_id = attrs.number
    elif attrs is not None:
        known = _ATTR_IDS.get(attrs)
        if known is None:
            known = _ATTR_IDS.setdefault(attrs, len(_ATTR_IDS) + 1)
        node.attr_id = known
    node.bits = bits
    return node


ORPHAN_BYTES, BYTES_MARK, PRESSURE = 0, 1 << 30, False


cdef void count_orphan(Node node, int sign) noexcept:
    """A value that no Tensor holds is kept alive by pending work alone: its bytes are counted."""
    global ORPHAN_BYTES, PRESSURE
    cdef int64_t nbytes = infer.ITEMSIZE[node.dtype]
    cdef Py_ssize_t k
    for k in range(PyTuple_GET_SIZE(<PyObject *>node.shape)):
        nbytes *= charl_int(PyTuple_GET_ITEM(<PyObject *>node.shape, k))
    ORPHAN_BYTES += sign * nbytes
    if sign > 0:
        node.flags |= ORPHAN
    else:
        node.flags &= ~ORPHAN
    if ORPHAN_BYTES > BYTES_MARK:
        PRESSURE = True


cdef void forget_sources(Node node) noexcept:
    """Turns a node that has its value into a leaf."""
    node.op = LEAF
    node.flags &= ORPHAN
    node.attr_id = 0
    node.extra = None
    _drop_sources(node)
