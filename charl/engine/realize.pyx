# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Realizing: from Nodes to values, and the bounds on what is pending.

The walk writes the signature of the work; the table has its Plan, or planning makes one; execute runs it. All of this
under one lock. Runs nest on one thread (lock.pyx says when): each depth has a state of its own, and a nested run
neither overwrites values in place nor drops sources that the outer one may still use.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from charl.core cimport infer
from charl.engine cimport execute, lock, offload, planning, table, walk
from charl.engine.walk cimport state_t
from charl.graph cimport held
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.runtime.buffer cimport Buffer, buffer_new
from charl.runtime.launch cimport Plan

from charl.core.errors import DeviceLost
from charl.core.settings import config
from charl.engine import tiers
from charl.engine.offload import counts as device_counts
from charl.engine.planning import forget, kernels
from charl.runtime.launch import counts as launch_counts

cdef enum:
    FLUSH_AT_ONCE = 64
    ON_GPU = 2  # chains may be so many times as long there: a dispatch costs far more than a launch

cdef extern from "Python.h":
    void *PyThreadState_Get() noexcept
    Py_ssize_t PySet_GET_SIZE(object) noexcept

cdef set _recorders = set()
cdef state_t _states[lock.NESTING]
cdef bint _eager = False
cdef int64_t _pending_bytes = 1 << 30
cdef int64_t _flushes = 0
PENDING_LIMIT = 64
UPDATE_LIMIT = 32
UNINTERRUPTED_WORK = 1 << 31  # a quarter of a second of machine code on one thread


cdef int realize(Node node) except -1:
    """Gives node its value. Raises IndexError, MemoryError, KeyboardInterrupt; Nodes are then whole all the same."""
    cdef PyObject *root = <PyObject *>node
    if node.value is None:
        return _realize_roots(&root, 1)
    return 0


cdef int realize_all(list nodes) except -1:
    """Gives all of them their values, in one plan."""
    cdef Py_ssize_t count = len(nodes), k
    cdef PyObject **roots = <PyObject **>malloc((count + 1) * sizeof(PyObject *))
    if roots == NULL:
        raise MemoryError("charl.engine: no memory for a list of nodes")
    try:
        for k in range(count):
            roots[k] = <PyObject *>(<Node?>nodes[k])
        _realize_roots(roots, count)
    finally:
        free(roots)
    return 0


cdef int _realize_roots(PyObject **roots, Py_ssize_t count) except -1:
    """One plan for all roots, which the caller keeps alive. A long plan that overwrites values in place could not be
    interrupted: its updates are then realized one by one, and the roots last."""
    cdef list updates = _realize_walk(roots, count)
    return 0 if updates is None else _realize_after(updates, roots, count)


cdef int _realize_after(list updates, PyObject **roots, Py_ssize_t count) except -1:
    cdef PyObject *update
    while updates:
        node = updates.pop()  # the only reference beside the walk's, or the next update could not be done in place
        PyErr_CheckSignals()
        update = <PyObject *>node
        _realize_walk(&update, 1)
    node = None
    PyErr_CheckSignals()
    _realize_walk(roots, count)
    return 0


cdef list _updates_within(state_t *s, PyObject *only_root):
    """The pending updates of a walk, last first; None where there are none but its only root (NULL: it has several).
    """
    cdef list updates = []
    cdef Py_ssize_t k
    cdef Node node
    for k in range(s.count - 1, -1, -1):
        node = <Node>s.order[k]
        if node.op == graph.UPDATE and node.value is None:
            updates.append(node)
    if len(updates) == 1 and <PyObject *>updates[0] == only_root:
        return None
    return updates or None


cdef list _realize_walk(PyObject **roots, Py_ssize_t count):
    """Realizes all roots and returns None, or what is to be realized before them."""
    cdef Py_ssize_t k
    cdef Plan plan
    cdef state_t *s
    cdef int depth = lock.enter()
    try:
        s = &_states[depth - 1]
        for k in range(count):
            if (<Node>roots[k]).op == graph.CONST and (<Node>roots[k]).value is None:
                _store_const(<Node>roots[k])
            if (<Node>roots[k]).device != (<Node>roots[0]).device:
                return _by_device(roots, count)
        walk.record(s, roots, count, depth > 1)
        if s.count == 0:
            return None
        plan = table.find(s.key, s.words)
        if plan is None:
            plan = planning.plan_for(s)
            table.remember(s.key, s.words, plan)
        if s.device:
            try:
                pairs = offload.run(s, plan)
                if pairs is not None:
                    _on_cpu(pairs, s.device)
            finally:
                if depth == 1:
                    walk.settle_walk(s)
            return None
        if plan.in_place and plan.late_work > UNINTERRUPTED_WORK:
            updates = _updates_within(s, roots[0] if count == 1 else NULL)
            if updates is not None:
                return updates
        try:
            execute.run(s, plan)
        finally:
            if depth == 1:
                walk.settle_walk(s)
    finally:
        lock.leave()
    return None


cdef list _by_device(PyObject **roots, Py_ssize_t count):
    """Realizes roots of several devices: one plan for each."""
    cdef dict found = {}
    cdef Py_ssize_t k
    for k in range(count):
        found.setdefault((<Node>roots[k]).device, []).append(<Node>roots[k])
    for nodes in found.values():
        realize_all(nodes)
    return None


cdef int _on_cpu(list pairs, int device) except -1:
    """Nodes of a GPU get the values of their likes on the cpu, computed now."""
    cdef Node node, like
    realize_all([like for _, like in pairs])
    for node, like in pairs:
        held.settle(node, offload.uploaded(like.value, device))
    return 0


cdef int _store_const(Node node) except -1:
    cdef int size = infer.ITEMSIZE[node.dtype]
    cdef Buffer buffer = buffer_new(size)
    memcpy(buffer.data, &node.bits, size)  # little-endian hosts alone are supported
    held.settle(node, offload.uploaded(buffer, node.device) if node.device else buffer)
    graph.forget_sources(node)
    return 0


def flush():
    """Realizes the pending Nodes that Tensors of this thread hold."""
    global _flushes
    cdef list nodes = held.pending()
    cdef Py_ssize_t at
    cdef Node node
    _flushes += 1
    for at in range(0, len(nodes), FLUSH_AT_ONCE):
        try:
            realize_all(nodes[at : at + FLUSH_AT_ONCE])
        except (IndexError, TypeError, DeviceLost) as error:
            for node in nodes[at : at + FLUSH_AT_ONCE]:
                try:
                    realize(node)
                except (IndexError, TypeError, DeviceLost):
                    node.thread = NULL  # told once; later flushes leave it to whoever asks for it
            if not isinstance(error, DeviceLost):  # other work goes on without what was on a lost GPU
                raise


cdef int begin_recording() except -1:
    """This thread records a template, whose Nodes have no values: nothing is realized meanwhile."""
    _recorders.add(<size_t>PyThreadState_Get())
    return 0


cdef int end_recording() except -1:
    _recorders.discard(<size_t>PyThreadState_Get())
    return 0


cdef bint is_recording() except -1:
    return PySet_GET_SIZE(_recorders) != 0 and <size_t>PyThreadState_Get() in _recorders


cdef int bound_pending(Node node, int limit) except -1:
    """Called for a new Tensor's Node that is deeper than limit, in borrowed memory's shade, or made in eager mode."""
    if is_recording():
        return 0
    if _eager or node.depth >= graph.BORROWED:
        return realize(node)
    if node.device and node.depth <= ON_GPU * limit and not graph.PRESSURE:
        return 0
    flush()
    held.relieve(64 * PENDING_LIMIT, _pending_bytes)
    return 0


def wait_compiled():
    """Returns once all that has run is compiled, and nothing is queued."""
    lock.enter()
    try:
        execute.begin_compiles()
    finally:
        lock.leave()
    tiers.drain()


def clear_plans():
    """Forgets all plans, schedules and kernels in memory."""
    lock.enter()
    try:
        table.clear()
        forget()
    finally:
        lock.leave()


def cache_info() -> dict:
    """Counters of this process."""
    launches, interpreted = launch_counts()
    return {
        **tiers.counts(),
        **device_counts(),
        "plan_hits": table.hits,
        "plan_misses": table.misses,
        "structure_hits": planning.structure_hits,
        "launches": launches,
        "interpreted": interpreted,
        "flushes": _flushes,
        "plans": table.plans,
        "kernels": len(kernels()),
    }


def _configure(changed: dict):
    """Mirrors the settings in C variables."""
    global PENDING_LIMIT, UPDATE_LIMIT, _eager, _pending_bytes
    PENDING_LIMIT = 0 if config.eager else min(config.pending_nodes, graph.BORROWED - 1)
    UPDATE_LIMIT = PENDING_LIMIT // 2
    _eager = config.eager
    _pending_bytes = config.pending_bytes
    held.relieve(64 * PENDING_LIMIT, _pending_bytes)


config.watch(_configure)
