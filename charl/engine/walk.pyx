# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The walk: pending Nodes below the demanded ones, in order, and their signature in C memory.

The signature is a word or more a Node: op, dtype, rank and flags, then sources, attrs, and the sizes that the rest does
not imply; a leaf is its dtype and shape. Equal signatures are the same work on other memory and other scalars. A walk
only reads Nodes, but for the marks that it leaves in them.
"""

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc

from charl.core cimport infer
from charl.core.ints cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, charl_int
from charl.core.objects cimport Py_REFCNT
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.runtime.buffer cimport Buffer

from charl import runtime

cdef uint64_t _epoch = 0  # number of the latest walk: what its Nodes are marked with
cdef bint[infer.MAX_OPS] _sized  # ops whose shape neither sources nor attrs imply
for _op in (graph.LEAF, graph.IOTA, graph.RESHAPE, graph.EXPAND, graph.SLICE, graph.WINDOWS):
    _sized[_op] = True


cdef int record(state_t *s, PyObject **roots, Py_ssize_t count, bint nested) except -1:
    """Fills s with the walk that stores the roots, which the caller keeps alive. s.count is 0 if all have values."""
    global _epoch
    cdef Py_ssize_t k
    s.count = s.words = 0
    s.nscalars = 0
    s.updates = False
    s.device = 0
    s.buffers = s.part = 0
    _epoch += 1
    for k in range(count):
        if (<Node>roots[k]).value is None:
            (<Node>roots[k]).wanted = _epoch
    for k in range(count):
        if (<Node>roots[k]).value is None:
            _walk(s, roots[k])
            s.device = (<Node>roots[k]).device
    if s.device and s.count:
        caps = runtime.gpu.device(s.device - 1).caps
        s.buffers, s.part = caps.max_storage_buffers, caps.part
        if s.words + 3 > s.words_capacity:
            _grow_words(s, 3)
        s.key[s.words] = -s.device
        s.key[s.words + 1] = s.buffers
        s.key[s.words + 2] = s.part
        s.words += 3
    if s.updates:
        _donate(s, nested)
    return 0


cdef void settle_walk(state_t *s) noexcept:
    """Stored Nodes drop their sources; what stays pending and is held has been seen. Sources come first in the walk,
    so that a Node freed here has been passed already."""
    cdef Py_ssize_t k
    cdef PyObject *node
    for k in range(s.count):
        node = s.order[k]
        if (<Node>node).value is not None:
            if (<Node>node).op != graph.LEAF:
                graph.forget_sources(<Node>node)
        elif (<Node>node).handles:
            (<Node>node).flags |= graph.SEEN


cdef int _grow_nodes(state_t *s) except -1:
    cdef Py_ssize_t capacity = 2 * s.count_capacity + 256
    cdef PyObject **order = <PyObject **>realloc(s.order, capacity * sizeof(PyObject *))
    if order != NULL:
        s.order = order
    cdef int32_t *headers = <int32_t *>realloc(s.headers, capacity * sizeof(int32_t))
    if headers != NULL:
        s.headers = headers
    cdef int64_t *scalars = <int64_t *>realloc(s.scalars, capacity * sizeof(int64_t))
    if scalars != NULL:
        s.scalars = scalars
    if order == NULL or headers == NULL or scalars == NULL:
        raise MemoryError("charl.engine: no memory for a signature")
    s.count_capacity = capacity
    return 0


cdef int _grow_words(state_t *s, Py_ssize_t needed) except -1:
    cdef Py_ssize_t capacity = 2 * s.words_capacity + needed + 1024
    cdef int64_t *key = <int64_t *>realloc(s.key, capacity * sizeof(int64_t))
    if key == NULL:
        raise MemoryError("charl.engine: no memory for a signature")
    s.key, s.words_capacity = key, capacity
    return 0


cdef int _grow_stack(state_t *s) except -1:
    cdef Py_ssize_t capacity = 2 * s.stack_capacity + 128
    cdef frame_t *stack = <frame_t *>realloc(s.stack, capacity * sizeof(frame_t))
    if stack == NULL:
        raise MemoryError("charl.engine: no memory for a walk")
    s.stack, s.stack_capacity = stack, capacity
    return 0


cdef inline int64_t *_put_numbers(int64_t *at, PyObject *numbers) noexcept:
    cdef Py_ssize_t k
    for k in range(PyTuple_GET_SIZE(numbers)):
        at[0] = charl_int(PyTuple_GET_ITEM(numbers, k))
        at += 1
    return at


cdef inline int _begin(state_t *s, PyObject *node, Py_ssize_t words) except -1:
    """Makes node the walk's next, with room for its words."""
    if s.count == s.count_capacity:
        _grow_nodes(s)
    if s.words + words > s.words_capacity:
        _grow_words(s, words)
    (<Node>node).mark = _epoch
    (<Node>node).index = s.count
    (<Node>node).edges = 0
    s.order[s.count] = node
    s.headers[s.count] = s.words
    s.count += 1
    return 0


cdef int _emit_source(state_t *s, PyObject *node) except -1:
    """Appends a leaf, with its shape, or a constant, whose bits are no part of the signature."""
    cdef PyObject *shape = <PyObject *>(<Node>node).shape
    cdef Py_ssize_t ndim = PyTuple_GET_SIZE(shape)
    cdef int64_t *at
    _begin(s, node, 1 + ndim)
    at = s.key + s.words
    at[0] = <int64_t>(<Node>node).dtype << 16 | ndim << 32
    if (<Node>node).value is not None:
        at[0] |= graph.LEAF
        s.words = _put_numbers(at + 1, shape) - s.key
    else:
        at[0] |= graph.CONST
        s.words += 1
        s.scalars[s.nscalars] = (<Node>node).bits
        s.nscalars += 1
    return 0


cdef inline int _emit(state_t *s, PyObject *node) except -1:
    """Appends node to the walk: a header word, then sources, attrs, and the sizes that the rest does not imply."""
    cdef Py_ssize_t k, nsrc = (<Node>node).count, ndim = PyTuple_GET_SIZE(<PyObject *>(<Node>node).shape)
    cdef int64_t head = <int64_t>(<Node>node).dtype << 16 | ndim << 32 | nsrc << 40
    cdef int64_t *at
    cdef PyObject **sources = (<Node>node).sources
    cdef int op = (<Node>node).op
    if (<Node>node).wanted == _epoch:
        head |= <int64_t>OUT << 24
    elif (<Node>node).handles:
        head |= <int64_t>HANDLE << 24
    head |= op | <int64_t>((<Node>node).flags & graph.SEEN) << 24
    _begin(s, node, 2 + nsrc)
    at = s.key + s.words
    at[0] = head
    if nsrc == 2:  # most have two
        at[1] = (<Node>sources[0]).index
        at[2] = (<Node>sources[1]).index
        (<Node>sources[0]).edges += 1
        (<Node>sources[1]).edges += 1
    else:
        for k in range(nsrc):
            at[k + 1] = (<Node>sources[k]).index
            (<Node>sources[k]).edges += 1
    s.words += nsrc + 1
    if (<Node>node).attr_id or (<Node>node).extra is not None or _sized[op]:
        _emit_rest(s, node)
    return 0


cdef int _emit_rest(state_t *s, PyObject *node) except -1:
    """Appends what more than sources says of a Node: attrs and sizes."""
    cdef PyObject *shape = <PyObject *>(<Node>node).shape
    cdef PyObject *sizes = NULL
    cdef Py_ssize_t nsizes = 0
    cdef int64_t *at
    if (<Node>node).extra is not None:
        sizes = PyTuple_GET_ITEM(<PyObject *>(<Node>node).extra, 1)
        nsizes = PyTuple_GET_SIZE(sizes)
    if s.words + 1 + PyTuple_GET_SIZE(shape) + nsizes > s.words_capacity:
        _grow_words(s, 1 + PyTuple_GET_SIZE(shape) + nsizes)
    s.key[s.headers[s.count - 1]] |= nsizes << 48
    at = s.key + s.words
    if (<Node>node).attr_id:
        at[0] = (<Node>node).attr_id
        at += 1
    if _sized[(<Node>node).op]:
        at = _put_numbers(at, shape)
    if nsizes:
        at = _put_numbers(at, sizes)
        if (<Node>node).op == graph.UPDATE:
            s.updates = True
    s.words = at - s.key
    return 0


cdef int _walk(state_t *s, PyObject *root) except -1:
    """Depth first, sources left to right, each Node once, after its sources."""
    cdef Py_ssize_t depth = 0, k = 0
    cdef PyObject *node = root
    cdef PyObject *source
    cdef int const = graph.CONST
    if (<Node>root).mark == _epoch:
        return 0
    if (<Node>root).op == const:
        return _emit_source(s, root)
    while True:
        while k < (<Node>node).count:
            source = (<Node>node).sources[k]
            k += 1
            if (<Node>source).mark == _epoch:
                continue
            if (<Node>source).value is not None or (<Node>source).op == const:
                _emit_source(s, source)
                continue
            if depth == s.stack_capacity:
                _grow_stack(s)
            s.stack[depth].node = node
            s.stack[depth].next = k
            depth += 1
            node, k = source, 0
        _emit(s, node)
        if depth == 0:
            return 0
        depth -= 1
        node, k = s.stack[depth].node, s.stack[depth].next


cdef int _donate(state_t *s, bint nested) except -1:
    """Marks the updates that may overwrite their base, whose value nothing else can see any more.

    A base must be referred to by this walk's Nodes alone, and be no source of one that stays pending and is held
    elsewhere: that one would read the overwritten value later. A nested walk overwrites no realized value: the outer
    run may still use it.
    """
    cdef uint64_t *reach = <uint64_t *>malloc(s.count * sizeof(uint64_t))
    cdef PyObject **bases = <PyObject **>malloc(64 * sizeof(PyObject *))
    cdef Py_ssize_t i, k
    cdef int candidates = 0, b
    cdef uint64_t bad = 0
    cdef PyObject *base
    cdef Node node
    cdef bint held = False
    try:
        if reach == NULL or bases == NULL:
            raise MemoryError("charl.engine: no memory for a walk")
        for i in range(s.count):
            reach[i] = 0
            held = held or _stays(s.order[i])
        for i in range(s.count):
            node = <Node>s.order[i]
            if node.op != graph.UPDATE or node.value is not None:
                continue
            base = node.sources[0]
            if Py_REFCNT(base) != (<Node>base).edges or (<Node>base).wanted == _epoch:
                continue
            if (<Node>base).value is not None and (nested or not _is_owned_by(base)):
                continue
            if not held:
                s.key[s.headers[i]] |= <int64_t>DONATE << 24
            elif candidates < 64:
                bases[candidates] = <PyObject *>node
                reach[(<Node>base).index] |= <uint64_t>1 << candidates
                candidates += 1
        for i in range(s.count if candidates else 0):
            node = <Node>s.order[i]
            if node.value is None:
                for k in range(node.count):
                    reach[i] |= reach[(<Node>node.sources[k]).index]
                if node.wanted == _epoch:
                    reach[i] = 0
                elif _stays(s.order[i]):
                    bad |= reach[i]
        for b in range(candidates):
            if not bad >> b & 1:
                s.key[s.headers[(<Node>bases[b]).index]] |= <int64_t>DONATE << 24
    finally:
        free(reach)
        free(bases)
    return 0


cdef inline bint _is_owned_by(PyObject *node) noexcept:
    """Whether a Node's value is charl's own and no other Node's. A GPU's buffers are seen by Nodes alone."""
    cdef PyObject *value = <PyObject *>(<Node>node).value
    return Py_REFCNT(value) == 1 if (<Node>node).device else is_owned(value)


cdef inline bint _stays(PyObject *node) noexcept:
    """Whether a Node of the walk stays pending and something beside the walk's Nodes holds it."""
    return (<Node>node).value is None and (<Node>node).wanted != _epoch and Py_REFCNT(node) > (<Node>node).edges


cdef bint is_owned(PyObject *value) noexcept:
    """Whether a Buffer is charl's own and held by one Node alone."""
    return Py_REFCNT(value) == 1 and (<Buffer>value).lender is None and (<Buffer>value).exports == 0
