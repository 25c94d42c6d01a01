# cython: language_level=3
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint64_t

from charl.core.objects cimport again

cdef enum:  # Node.flags
    SEEN = 4      # an earlier plan computed it without storing it
    ORPHAN = 64   # a value that pending work alone keeps alive

cdef enum:
    FEW = 3       # sources that most Nodes have at most
    MOST_KEPT = 256

cdef enum:  # depth of a leaf in borrowed memory: beyond every limit, so that what reads it runs at once
    BORROWED = 1 << 24

cdef class Node:
    cdef readonly tuple shape
    cdef PyObject **sources  # references, `count` of them: in `few`, or in a block of their own
    cdef PyObject *few[FEW]
    cdef tuple extra        # (attrs, sizes, site), or None: element-wise Nodes, the most made, have none of them
    cdef object value
    cdef readonly int64_t bits
    cdef uint64_t mark      # the walk that saw this Node last
    cdef uint64_t wanted    # the walk that shall store it
    cdef void *thread
    cdef PyObject *older
    cdef PyObject *newer
    cdef readonly short op
    cdef readonly signed char dtype
    cdef readonly unsigned char device  # 0: the cpu, or anywhere for what no Tensor holds; 1 + k: gpu k
    cdef unsigned char flags
    cdef readonly int handles
    cdef int depth
    cdef int attr_id
    cdef int index
    cdef int edges
    cdef int count

# The codes below are set once, at import, from the op table
cdef int LEAF, CONST, IOTA, RESHAPE, PERMUTE, EXPAND, SLICE, WINDOWS, SUM, PROD, MAX, MIN, ANY, ALL
cdef int MATMUL, CUMSUM, CUMPROD, GATHER, WRAP_INDEX, UPDATE, CAST, WHERE, COMPOUND

cdef PyObject *KEPT[MOST_KEPT]  # dead Nodes for the next ones
cdef int KEPT_COUNT


cdef inline Node blank():
    """A Node without shape and sources."""
    global KEPT_COUNT
    if KEPT_COUNT == 0:
        return Node.__new__(Node)
    KEPT_COUNT -= 1
    return <Node>again(KEPT[KEPT_COUNT])


cdef inline PyObject *referred(Node node) noexcept:
    Py_INCREF(node)
    return <PyObject *>node


cdef inline Node new2(int op, int dtype, tuple shape, Node a, Node b):
    """`new` of two sources."""
    cdef Node node = blank()
    node.op = op
    node.dtype = dtype
    node.shape = shape
    node.sources = node.few
    node.few[0] = referred(a)
    node.few[1] = referred(b)
    node.count = 2
    if op != UPDATE and not a.device | b.device:
        node.depth = max(a.depth, b.depth) + 1
    elif inherit(node):
        gather_devices(node)
    return node


cdef int inherit(Node node) noexcept
cdef int gather_devices(Node node) except -1
cpdef Node put(Node node, int device)
cdef Node new(int op, int dtype, tuple shape, tuple src)
cdef Node new1(int op, int dtype, tuple shape, Node a)
cdef Node new3(int op, int dtype, tuple shape, Node a, Node b, Node c)
cdef Node new_const(int dtype, int64_t bits)
cdef Node new_leaf(int dtype, tuple shape, object value)
cpdef Node make(int op, int dtype, tuple shape, tuple src, object attrs=*, tuple sizes=*, int64_t bits=*, object site=*)

cdef void count_orphan(Node node, int sign) noexcept
cdef void forget_sources(Node node) noexcept

cdef int64_t ORPHAN_BYTES, BYTES_MARK  # of values that pending work alone keeps alive; beyond the mark is pressure
cdef bint PRESSURE  # too many pending Nodes are held, or pending work keeps too many bytes: a flush is due
