# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The engine: from Nodes to values. The one place where the compiler's wing and the runtime's wing meet.

realize() walks the pending Nodes below the demanded ones, writing their signature into C memory. A signature seen
before finds its Plan at once; a known structure with new extents binds its schedule anew; else charl.schedule.plan
builds one. Plans run under one lock, which is awaited without the GIL. Nodes get their values launch by launch.

A depth-first walk only reads Nodes; whatever can call back into Python (garbage collection, signals, freeing) happens
with the lock held and may realize again on the same thread: each depth of nesting has a State of its own, and a nested
run neither overwrites values in place nor drops sources that the outer one may still use.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.pythread cimport (
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_get_thread_ident,
    PyThread_release_lock,
    PyThread_type_lock,
    NOWAIT_LOCK,
)
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

from charl.core cimport infer
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.runtime cimport launch
from charl.runtime.abi cimport CHARL_EINDEX, CHARL_ENOMEM, charl_error_t
from charl.runtime.buffer cimport Buffer, buffer_borrow, buffer_new
from charl.runtime.launch cimport Plan, Program, slot_t, step_t
from charl.runtime.pool cimport pool_alloc, pool_free

import os
import threading
import weakref
from collections import OrderedDict

from charl import schedule as scheduling
from charl import tiers
from charl.core.errors import InternalError
from charl.core.settings import config
from charl.graph import printer, verify
from charl.runtime.launch import counts as launch_counts
from charl.runtime.launch import set_parallel_work
from charl.runtime.pool import set_limit
from charl.runtime.pool import stats as memory_stats  # no-cython-lint: the api's
from charl.runtime.threads import default_num_threads, set_num_threads
from charl.runtime.threads import num_threads  # no-cython-lint: the api's

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *)  # cpython.ref's would take a reference first
    long long PyLong_AsLongLong(PyObject *)  # -1 for what is no int; shapes hold ints alone
    int PY_LOCK_INTR, PY_LOCK_ACQUIRED
    int PyThread_acquire_lock_timed(PyThread_type_lock, long long, int) nogil

cdef enum:
    OUT = 1
    HANDLE = 2
    SEEN = 4
    DONATE = 8
    NESTING = 4
    FLUSH_AT_ONCE = 64

ctypedef struct frame_t:
    PyObject *node
    Py_ssize_t next

ctypedef struct state_t:
    PyObject **order     # Nodes in the order of the walk, borrowed
    int32_t *headers     # where each one's words begin in `key`
    int64_t *key         # the exact signature
    int64_t *scalars
    frame_t *stack
    void **memory
    PyObject **held      # Buffers of a run's owner slots
    Py_ssize_t count, count_capacity, words, words_capacity, stack_capacity, slot_capacity
    int32_t nscalars
    bint updates

ctypedef struct entry_t:
    uint64_t hash
    int64_t *key
    Py_ssize_t words
    PyObject *plan

cdef state_t _states[NESTING]
cdef uint64_t _epoch = 0

PENDING_LIMIT = 64
EAGER = False
UNINTERRUPTED_WORK = 1 << 31  # a quarter of a second of machine code on one thread
cdef int64_t _pending_bytes = 1 << 30
cdef int _debug = 0
cdef bint _verify = False
cdef bint _machine = True        # machine code may run
cdef bint _llvm_only = False
cdef int64_t _hot = 32
cdef int64_t _plan_hits = 0, _plan_misses = 0, _structure_hits = 0, _flushes = 0


# The lock: owned by a thread, counted, awaited without the GIL. Taking it free is two reads under the GIL; only those
# who wait use the system's lock, as a bell that the owner rings on leaving.

cdef PyThread_type_lock _bell = PyThread_allocate_lock()
PyThread_acquire_lock(_bell, NOWAIT_LOCK)
cdef unsigned long _owner = 0
cdef int _nesting = 0
cdef int _waiting = 0
cdef bint _rung = False
cdef bint _awaits_compile = False  # the owner waits for the compile thread


cdef int _enter() except -1:
    global _owner, _nesting
    if _nesting:
        if _owner == PyThread_get_thread_ident():
            if _nesting == NESTING:
                raise RuntimeError("charl: values are needed while values are computed, nested too deeply")
            _nesting += 1
            return 0
        _await()
    _owner = PyThread_get_thread_ident()
    _nesting = 1
    return 0


cdef int _await() except -1:
    """Returns with the GIL and the lock free."""
    global _waiting, _rung
    cdef int got
    cdef bint compiles = threading.current_thread().name == tiers.COMPILE_THREAD
    cdef long long patience = 20_000 if compiles else -1  # microseconds
    _waiting += 1
    try:
        while _nesting:
            if compiles and _awaits_compile:
                raise RuntimeError("charl: a finalizer needs values whose launch waits for this compile thread")
            with nogil:
                got = PyThread_acquire_lock_timed(_bell, patience, 1)
            if got == PY_LOCK_INTR:
                PyErr_CheckSignals()
            elif got == PY_LOCK_ACQUIRED:
                _rung = False
    finally:
        _waiting -= 1
        if _waiting and not _nesting and not _rung:
            _ring()
    return 0


cdef void _ring() noexcept:
    global _rung
    _rung = True
    PyThread_release_lock(_bell)


cdef inline void _leave() noexcept:
    global _nesting
    _nesting -= 1
    if _waiting and _nesting == 0 and not _rung:
        _ring()


def _after_fork():
    """In a child of fork: the lock may be another thread's, which does not exist here."""
    global _bell, _nesting, _waiting, _rung
    if _nesting and _owner != PyThread_get_thread_ident():
        _nesting = 0
    _waiting, _rung = 0, False
    _bell = PyThread_allocate_lock()
    PyThread_acquire_lock(_bell, NOWAIT_LOCK)


os.register_at_fork(after_in_child=_after_fork)


# The walk: a signature in C memory.


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
    for k in range(PyTuple_GET_SIZE(<tuple>numbers)):
        at[0] = PyLong_AsLongLong(PyTuple_GET_ITEM(<tuple>numbers, k))
        at += 1
    return at


cdef int _emit(state_t *s, Node node) except -1:
    """Appends node to the walk: a header word, then sources, attrs, and the sizes that the rest does not imply."""
    cdef Py_ssize_t k, nsrc, ndim = PyTuple_GET_SIZE(node.shape), nsizes
    cdef int64_t *at
    cdef int64_t header, flags = 0
    cdef int op = node.op
    cdef Node source
    cdef PyObject *sizes
    if s.count == s.count_capacity:
        _grow_nodes(s)
    nsrc = PyTuple_GET_SIZE(node.src)
    nsizes = 0
    if node.extra is not None:
        sizes = PyTuple_GET_ITEM(node.extra, 1)
        nsizes = PyTuple_GET_SIZE(<tuple>sizes)
    if s.words + 2 + nsrc + ndim + nsizes > s.words_capacity:
        _grow_words(s, 2 + nsrc + ndim + nsizes)
    node.mark = _epoch
    node.index = s.count
    node.edges = 0
    s.order[s.count] = <PyObject *>node
    s.headers[s.count] = s.words
    s.count += 1
    at = s.key + s.words
    header = <int64_t>node.dtype << 16 | ndim << 32
    if node.value is not None:
        at[0] = header | graph.LEAF
        s.words = _put_numbers(at + 1, <PyObject *>node.shape) - s.key
        return 0
    if op == graph.CONST:
        at[0] = header | op
        s.words += 1
        s.scalars[s.nscalars] = node.bits
        s.nscalars += 1
        return 0
    if node.wanted == _epoch:
        flags = OUT | node.flags & SEEN
    else:
        flags = (HANDLE if node.handles else 0) | node.flags & SEEN
    at[0] = header | op | flags << 24 | nsrc << 40 | nsizes << 48
    at += 1
    for k in range(nsrc):
        source = <Node>PyTuple_GET_ITEM(node.src, k)
        source.edges += 1
        at[0] = source.index
        at += 1
    if node.attr_id:
        at[0] = node.attr_id
        at += 1
    if nsrc == 0 or op == graph.RESHAPE or op == graph.EXPAND or op == graph.SLICE:
        at = _put_numbers(at, <PyObject *>node.shape)
    if nsizes:
        at = _put_numbers(at, sizes)
        if op == graph.UPDATE:
            s.updates = True
    s.words = at - s.key
    return 0


cdef int _walk(state_t *s, Node root) except -1:
    """Depth first, sources left to right, each Node once, after its sources."""
    cdef Py_ssize_t depth = 0
    cdef frame_t *frame
    cdef Node node, source
    if root.mark == _epoch:
        return 0
    if s.stack_capacity == 0:
        _grow_stack(s)
    s.stack[0].node = <PyObject *>root
    s.stack[0].next = 0
    depth = 1
    while depth:
        frame = &s.stack[depth - 1]
        node = <Node>frame.node
        if frame.next < PyTuple_GET_SIZE(node.src):
            source = <Node>PyTuple_GET_ITEM(node.src, frame.next)
            frame.next += 1
            if source.mark != _epoch:
                if source.value is not None or source.src is _EMPTY:
                    _emit(s, source)
                else:
                    if depth == s.stack_capacity:
                        _grow_stack(s)
                    s.stack[depth].node = <PyObject *>source
                    s.stack[depth].next = 0
                    depth += 1
        else:
            _emit(s, node)
            depth -= 1
    return 0


cdef tuple _EMPTY = ()


cdef int _donate(state_t *s) except -1:
    """Marks the updates that may overwrite their base, whose value nothing else can see any more.

    A base must be referred to by this walk's Nodes alone, and be no source of one that stays pending and is held
    elsewhere: that one would read the overwritten value later.
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
            base = PyTuple_GET_ITEM(node.src, 0)
            if Py_REFCNT(base) != (<Node>base).edges or (<Node>base).wanted == _epoch:
                continue
            if (<Node>base).value is not None and (_nesting > 1 or not _owned(<PyObject *>(<Node>base).value)):
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
                for k in range(PyTuple_GET_SIZE(node.src)):
                    reach[i] |= reach[(<Node>PyTuple_GET_ITEM(node.src, k)).index]
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


cdef inline bint _stays(PyObject *node) noexcept:
    """Whether a Node of the walk stays pending and something beside the walk's Nodes holds it."""
    return (<Node>node).value is None and (<Node>node).wanted != _epoch and Py_REFCNT(node) > (<Node>node).edges


cdef inline bint _owned(PyObject *value) noexcept:
    return Py_REFCNT(value) == 1 and (<Buffer>value).lender is None and (<Buffer>value).exports == 0


# Plans by exact signature: an open hash table in C, least recently used dropped by halves.

cdef entry_t *_table = NULL
cdef Py_ssize_t _table_size = 0, _table_count = 0, _plan_limit = 4096
cdef int64_t _tick = 0


cdef inline uint64_t _hash(const int64_t *key, Py_ssize_t words) noexcept:
    cdef uint64_t h = words
    cdef Py_ssize_t k
    for k in range(words):
        h = (h ^ <uint64_t>key[k]) * <uint64_t>0x9E3779B97F4A7C15
        h ^= h >> 29
    return h


cdef Plan _find(const int64_t *key, Py_ssize_t words, uint64_t h):
    cdef Py_ssize_t at
    cdef entry_t *entry
    if _table_size == 0:
        return None
    at = h & (_table_size - 1)
    while True:
        entry = &_table[at]
        if entry.plan == NULL:
            return None
        if entry.hash == h and entry.words == words and memcmp(entry.key, key, words * 8) == 0:
            return <Plan>entry.plan
        at = (at + 1) & (_table_size - 1)


cdef int _remember(const int64_t *key, Py_ssize_t words, uint64_t h, Plan plan) except -1:
    global _table_count
    cdef Py_ssize_t at
    cdef int64_t *copy
    if 2 * _table_count >= _table_size or _table_count >= _plan_limit:
        _rebuild()
    copy = <int64_t *>malloc(words * 8 + 8)
    if copy == NULL:
        return 0  # an unremembered plan is merely made again
    memcpy(copy, key, words * 8)
    at = h & (_table_size - 1)
    while _table[at].plan != NULL:
        at = (at + 1) & (_table_size - 1)
    _table[at].hash, _table[at].key, _table[at].words = h, copy, words
    Py_INCREF(plan)
    _table[at].plan = <PyObject *>plan
    _table_count += 1
    return 0


cdef int _rebuild() except -1:
    """A larger table, or the same with the older half of a full one dropped."""
    global _table, _table_size, _table_count
    cdef Py_ssize_t old_size = _table_size, size = max(_table_size, 256), k, at
    cdef entry_t *old = _table
    cdef entry_t *grown
    cdef int64_t oldest = 0
    cdef list dropped = []
    if _table_count >= _plan_limit:
        ticks = sorted([(<Plan>old[k].plan).tick for k in range(old_size) if old[k].plan != NULL])
        oldest = ticks[(len(ticks) + 1) // 2] if len(ticks) > 1 else ticks[0] + 1
    else:
        size *= 2
    grown = <entry_t *>malloc(size * sizeof(entry_t))
    if grown == NULL:
        raise MemoryError("charl.engine: no memory for the plan cache")
    for k in range(size):
        grown[k].plan = NULL
    _table, _table_size, _table_count = grown, size, 0
    for k in range(old_size):
        if old[k].plan == NULL:
            continue
        if (<Plan>old[k].plan).tick < oldest:
            dropped.append(<Plan>old[k].plan)
            Py_DECREF(<Plan>old[k].plan)
            free(old[k].key)
            continue
        at = old[k].hash & (size - 1)
        while grown[at].plan != NULL:
            at = (at + 1) & (size - 1)
        grown[at] = old[k]
        _table_count += 1
    free(old)
    return 0


def clear_plans():
    """Forgets all plans, schedules and kernels in memory."""
    global _table, _table_size, _table_count
    cdef Py_ssize_t k
    cdef entry_t *old = _table
    cdef Py_ssize_t size = _table_size
    _enter()
    try:
        _table, _table_size, _table_count = NULL, 0, 0
        for k in range(size):
            if old[k].plan != NULL:
                Py_DECREF(<Plan>old[k].plan)
                free(old[k].key)
        free(old)
        _structures.clear()
        _recent.clear()
    finally:
        _leave()


# The miss path: schedules by structure, Programs by kernel text.

cdef object _structures = OrderedDict()       # structure -> list of (schedule, programs)
cdef object _programs = weakref.WeakValueDictionary()
cdef object _recent = OrderedDict()           # Program by text: keeps the latest alive


cdef tuple _structure(state_t *s):
    """(structure key, sizes): sizes by the numbers that classes of them first had."""
    cdef list words = [], sizes = []
    cdef dict classes = {0: 0, 1: 1, -1: -1}
    cdef Py_ssize_t i, k, at
    cdef Node node
    for i in range(s.count):
        node = <Node>s.order[i]
        at = s.headers[i]
        words.append(s.key[at])
        numbers = node.shape
        if node.value is None and node.op != graph.CONST:
            for k in range(PyTuple_GET_SIZE(node.src) + (1 if node.attr_id else 0)):
                words.append(s.key[at + 1 + k])
            numbers += node.sizes
        for number in numbers:
            words.append(classes.setdefault(number, len(classes)))
        sizes.extend(numbers)
    return tuple(words), sizes


cdef Plan _miss(state_t *s):
    """A plan for a signature that has none."""
    global _structure_hits
    cdef Py_ssize_t i
    cdef list nodes, flags, steps, slots
    key, sizes = _structure(s)
    known = _structures.get(key)
    bound = None
    if known is None:
        known = _structures[key] = []
        while len(_structures) > _plan_limit:
            _structures.popitem(last=False)
    else:
        _structures.move_to_end(key)
    for schedule, programs in known:  # no-cython-lint: read after the loop
        bound = schedule.bind(sizes)
        if bound is not None:
            _structure_hits += 1
            break
    if bound is None:
        nodes = [<Node>s.order[i] for i in range(s.count)]
        flags = [(s.key[s.headers[i]] >> 24) & 255 for i in range(s.count)]
        if _verify:
            verify.verify(nodes)
        if _debug >= 2:
            tiers.show(printer.text(nodes))
        schedule = scheduling.plan.build(nodes, flags)
        if _too_late_to_fail(schedule):
            schedule = scheduling.plan.build(nodes, [f & ~DONATE for f in flags])
        bound = schedule.bind(sizes)
        if bound is None:
            raise InternalError("schedule: its own sizes do not bind", schedule)
        if _debug >= 2:
            tiers.show(schedule)
        programs = tuple([_program(step.kernel) for step in schedule.steps])
        known.append((schedule, programs))
    kinds = {"leaf": launch.SLOT_LEAF, "store": launch.SLOT_STORE, "temp": launch.SLOT_TEMP}
    steps = [
        (program, step.buffers, [arg.mode for arg in step.kernel.args], made.params, made.scalars, made.units,
         made.work, made.scratch, step.sites)
        for program, step, made in zip(programs, schedule.steps, bound.steps)
    ]  # fmt: skip
    slots = [
        (kinds[slot.kind], slot.node, slot.alias, nbytes) for slot, nbytes in zip(schedule.slots, bound.nbytes)
    ]
    return Plan(steps, slots, s.count)


cdef bint _too_late_to_fail(schedule) except -1:
    """Whether a launch that checks indices follows one that overwrites a value in place."""
    overwrites = False
    slots = schedule.slots
    for step in schedule.steps:
        if overwrites and step.sites:
            return True
        for number, arg in zip(step.buffers, step.kernel.args):
            while slots[number].alias >= 0:
                number = slots[number].alias
            overwrites |= arg.mode != "in" and slots[number].kind == "leaf"
    return False


cdef Program _program(kernel):
    cdef str text = str(kernel)
    cdef Program program = _programs.get(text)
    if program is None:
        program = Program(text, kernel)
        tiers.interpret(program)
        _programs[text] = program
    _recent[text] = program
    _recent.move_to_end(text)
    while len(_recent) > config.kernel_cache:
        _recent.popitem(last=False)
    return program


# Running a plan.


cdef int _run(state_t *s, Plan plan) except -1:
    """All launches, each finished one committing its Nodes. After an error every Node has its value or has none.

    Once a launch has overwritten a value in place nothing may fail or interrupt: all that can is done before.
    """
    cdef int k, j
    cdef int32_t code
    cdef slot_t *slot
    cdef step_t *step
    cdef Py_ssize_t capacity
    cdef Buffer buffer
    cdef Program program
    cdef charl_error_t error
    cdef bint young = False
    if plan.nslots > s.slot_capacity:
        capacity = 2 * plan.nslots
        free(s.memory)
        free(s.held)
        s.memory = <void **>malloc(capacity * sizeof(void *))
        s.held = <PyObject **>malloc(capacity * sizeof(PyObject *))
        s.slot_capacity = capacity if s.memory != NULL and s.held != NULL else 0
        if s.slot_capacity == 0:
            raise MemoryError("charl.engine: no memory for a plan")
    for k in range(plan.nslots):
        slot = &plan.slots[k]
        s.held[k] = NULL
        s.memory[k] = NULL
        if slot.kind == launch.SLOT_LEAF:
            s.memory[k] = (<Buffer>(<Node>s.order[slot.node]).value).data
    try:
        if plan.in_place:
            plan.prepare(_machine)
        for k in range(plan.nsteps):
            program = <Program>plan.programs[k]
            if _machine and program.tier < 2:
                young = True
                if program.tier == 0:
                    _climb(program, plan.steps[k].work)
        for k in range(plan.nsteps):
            step = &plan.steps[k]
            for j in range(step.first_alloc, step.last_alloc):
                slot = &plan.slots[plan.events[j]]
                if slot.owner:
                    buffer = buffer_new(slot.nbytes)
                    Py_INCREF(buffer)
                    s.held[plan.events[j]] = <PyObject *>buffer
                    s.memory[plan.events[j]] = buffer.data
                else:
                    s.memory[plan.events[j]] = pool_alloc(slot.nbytes)
                    if s.memory[plan.events[j]] == NULL:
                        _alloc_hard(s, plan.events[j], slot.nbytes)
            if _debug:
                code = _timed_step(plan, k, s, &error)
            else:
                code = plan.step(k, s.memory, s.scalars, _machine, &error)
            if code:
                _fail(s, plan, k, code, &error)
            for j in range(step.first_commit, step.last_commit):
                slot = &plan.slots[plan.events[j]]
                if s.held[slot.root] != NULL:
                    buffer = <Buffer>s.held[slot.root]
                else:
                    buffer = <Buffer>(<Node>s.order[plan.slots[slot.root].node]).value
                graph.settle(<Node>s.order[slot.node], buffer)
            for j in range(step.first_free, step.last_free):
                if s.held[plan.events[j]] != NULL:  # memory that was hard to get
                    Py_DECREF(<Buffer>s.held[plan.events[j]])
                    s.held[plan.events[j]] = NULL
                else:
                    pool_free(s.memory[plan.events[j]], plan.slots[plan.events[j]].nbytes)
                s.memory[plan.events[j]] = NULL
            if k + 1 < plan.nsteps and k < plan.overwrites:
                PyErr_CheckSignals()
        for j in range(PyTuple_GET_SIZE(plan.unwritten)):
            k = plan.unwritten[j]
            slot = &plan.slots[k]
            if s.held[slot.root] != NULL:
                buffer = <Buffer>s.held[slot.root]
            elif plan.slots[slot.root].kind == launch.SLOT_LEAF:
                buffer = <Buffer>(<Node>s.order[plan.slots[slot.root].node]).value
            else:
                buffer = buffer_new(slot.nbytes)
            graph.settle(<Node>s.order[slot.node], buffer)
        if young:
            _start_compiles(plan)
    finally:
        buffer = None
        for k in range(plan.nslots):
            if s.held[k] != NULL:
                Py_DECREF(<Buffer>s.held[k])
            elif plan.slots[k].kind == launch.SLOT_TEMP and plan.slots[k].root == k and s.memory[k] != NULL:
                pool_free(s.memory[k], plan.slots[k].nbytes)
    return 0


cdef int _alloc_hard(state_t *s, int slot, int64_t nbytes) except -1:
    """Temporary memory where the pool has none left: a Buffer's way of collecting and trimming, then its block."""
    cdef Buffer buffer = buffer_new(nbytes)
    Py_INCREF(buffer)
    s.held[slot] = <PyObject *>buffer
    s.memory[slot] = buffer.data
    return 0


cdef int32_t _timed_step(Plan plan, int k, state_t *s, charl_error_t *error) except? -1:
    cdef Program program = <Program>plan.programs[k]
    started = tiers.clock()
    code = plan.step(k, s.memory, s.scalars, _machine, error)
    tiers.report(program, tiers.clock() - started, _machine and program.tier, plan.steps[k].units)
    return code


cdef int _climb(Program program, int64_t work) except -1:
    """Before a launch: waits for machine code where that is asked for or is the cheaper way."""
    global _awaits_compile
    cdef double interpreted
    if program.state == launch.FAILED:
        if _llvm_only:
            tiers.unavailable(program)
    elif program.tier == 0:
        interpreted = launch.estimate(program, work, False)
        if tiers.worth_waiting(interpreted):
            if program.state == launch.IDLE:
                tiers.submit(program, interpreted)
            _awaits_compile = True
            try:
                tiers.wait(program)
            finally:
                _awaits_compile = False
            if _llvm_only and program.state == launch.FAILED:
                tiers.unavailable(program)
    return 0


cdef int _start_compiles(Plan plan) except -1:
    """After a plan, so that compiling does not hold up its result: what is due for the next tier is queued."""
    cdef int k
    cdef Program program
    for k in range(plan.nsteps):
        program = <Program>plan.programs[k]
        if program.state == launch.IDLE and (program.tier == 0 or program.launches >= _hot) and program.tier < 2:
            tiers.submit(program, launch.estimate(program, plan.steps[k].work, False))
        elif program.state == launch.QUEUED:
            tiers.check(program)
    return 0


cdef int _fail(state_t *s, Plan plan, int k, int32_t code, charl_error_t *error) except -1:
    cdef Node node
    if code == CHARL_EINDEX:
        node = <Node>s.order[plan.sites[k][error.site]]
        where = f" (indexed at {node.site})" if node.site else ""
        raise IndexError(f"index {error.index} is out of bounds for axis with size {error.extent}{where}")
    if code == CHARL_ENOMEM:
        raise MemoryError("out of memory: scratch space of a kernel")
    raise InternalError(f"launch returned code {code}", (<Program>plan.programs[k]).text)


cdef int _realize_roots(PyObject **roots, Py_ssize_t count) except -1:
    """One plan for all roots, which the caller keeps alive. A long plan that overwrites values in place could not be
    interrupted: its updates are then realized one by one, and the roots last."""
    cdef list updates = _realize_walk(roots, count)
    cdef PyObject *update
    if updates is None:
        return 0
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
    global _epoch, _plan_hits, _plan_misses, _tick
    cdef Py_ssize_t k
    cdef Node node
    cdef Plan plan
    cdef state_t *s
    cdef uint64_t h
    _enter()
    try:
        s = &_states[_nesting - 1]
        s.count = s.words = 0
        s.nscalars = 0
        s.updates = False
        _epoch += 1
        for k in range(count):
            node = <Node>roots[k]
            if node.value is None:
                if node.op == graph.CONST:
                    _store_const(node)
                else:
                    node.wanted = _epoch
        for k in range(count):
            node = <Node>roots[k]
            if node.value is None:
                _walk(s, node)
        if s.count == 0:
            return None
        node = None
        if s.updates:
            _donate(s)
        h = _hash(s.key, s.words)
        plan = _find(s.key, s.words, h)
        if plan is None:
            _plan_misses += 1
            plan = _miss(s)
            _remember(s.key, s.words, h, plan)
        else:
            _plan_hits += 1
        _tick += 1
        plan.tick = _tick
        if plan.in_place and plan.late_work > UNINTERRUPTED_WORK:
            updates = _updates_within(s, roots[0] if count == 1 else NULL)
            if updates is not None:
                return updates
        try:
            _run(s, plan)
        finally:
            if _nesting == 1:
                _settle_walk(s)
    finally:
        _leave()
    return None


cdef void _settle_walk(state_t *s) noexcept:
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
            (<Node>node).flags |= SEEN


cdef int _store_const(Node node) except -1:
    cdef int size = infer.ITEMSIZE[node.dtype]
    cdef Buffer buffer = buffer_new(size)
    memcpy(buffer.data, &node.bits, size)  # little-endian hosts alone are supported
    graph.settle(node, buffer)
    graph.forget_sources(node)
    return 0


# What the floors above call.


cdef int realize(Node node) except -1:
    """Gives node its value. Raises IndexError, MemoryError, KeyboardInterrupt; Nodes are then whole all the same."""
    cdef PyObject *root = <PyObject *>node
    if node.value is None:
        _realize_roots(&root, 1)
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


def flush():
    """Realizes the pending Nodes that Tensors of this thread hold."""
    global _flushes
    cdef list nodes = graph.pending()
    cdef Py_ssize_t at
    cdef Node node
    _flushes += 1
    for at in range(0, len(nodes), FLUSH_AT_ONCE):
        try:
            realize_all(nodes[at : at + FLUSH_AT_ONCE])
        except IndexError:
            for node in nodes[at : at + FLUSH_AT_ONCE]:
                try:
                    realize(node)
                except IndexError:
                    node.thread = NULL  # told once; later flushes leave it to whoever asks for it
            raise


cdef int bound_pending(Node node) except -1:
    """Called for a new Tensor's Node that is too deep, in borrowed memory's shade, or made in eager mode."""
    if EAGER or node.depth >= graph.BORROWED:
        return realize(node)
    flush()
    graph.relieve(64 * PENDING_LIMIT, _pending_bytes)
    return 0


cdef void *memory_of(Node node) except NULL:
    """Where node's value is, computed now if need be. Never NULL."""
    realize(node)
    return (<Buffer>node.value).data


cdef object holder_of(Node node):
    """What keeps the memory of a realized Node: an object to hold on to."""
    return node.value


cdef Node leaf_again(int dtype, tuple shape, object holder, void *data, int64_t nbytes):
    """A leaf on the whole memory of a holder that left the engine earlier; None if holder is something else."""
    if isinstance(holder, Buffer) and (<Buffer>holder).data == data and (<Buffer>holder).nbytes == <size_t>nbytes:
        return graph.new_leaf(dtype, shape, holder)
    return None


cdef Node leaf_copy(int dtype, tuple shape, const void *data, int64_t nbytes):
    """A leaf with a copy of C-contiguous memory; NULL leaves it unset."""
    cdef Buffer buffer = buffer_new(nbytes)
    if data != NULL and nbytes:
        if nbytes > 1 << 20:
            with nogil:
                memcpy(buffer.data, data, nbytes)
        else:
            memcpy(buffer.data, data, nbytes)
    return graph.new_leaf(dtype, shape, buffer)


cdef Node leaf_borrow(int dtype, tuple shape, void *data, int64_t nbytes, object lender):
    """A leaf on someone else's memory: what reads it is computed before the call that made it returns."""
    cdef Node node = graph.new_leaf(dtype, shape, buffer_borrow(data, nbytes, lender))
    node.depth = graph.BORROWED
    return node


def evaluate(list nodes):
    """Realizes Nodes in one plan: `realize_all` for Python."""
    realize_all(nodes)


def wait_compiled():
    """Returns once no compile is queued or running."""
    tiers.drain()


def cache_info() -> dict:
    """Counters of this process."""
    launches, interpreted = launch_counts()
    return {
        **tiers.counts(),
        "plan_hits": _plan_hits,
        "plan_misses": _plan_misses,
        "structure_hits": _structure_hits,
        "launches": launches,
        "interpreted": interpreted,
        "flushes": _flushes,
        "plans": _table_count,
        "kernels": len(_recent),
    }


def kernels() -> list:
    """The Programs in memory, least recently planned first."""
    return list(_recent.values())


def _configure(changed: dict):
    """Mirrors the settings in C variables."""
    global PENDING_LIMIT, EAGER, _pending_bytes, _debug, _verify, _machine, _llvm_only, _hot, _plan_limit
    PENDING_LIMIT = 0 if config.eager else min(config.pending_nodes, graph.BORROWED - 1)
    EAGER = config.eager
    _pending_bytes = config.pending_bytes
    graph.relieve(64 * PENDING_LIMIT, _pending_bytes)
    _debug, _verify = config.debug, config.verify
    if config.dump:
        _debug = max(_debug, 5)
    _machine = config.backend != "interp"
    _llvm_only = config.backend == "llvm"
    _hot = config.hot_launches
    _plan_limit = config.plan_cache
    if "parallel_work" in changed:
        set_parallel_work(config.parallel_work)
    if "num_threads" in changed:
        set_num_threads(config.num_threads or default_num_threads())
    if "memory_limit" in changed:
        set_limit(config.memory_limit)
    if "opt_level" in changed:
        for program in list(_programs.values()):
            program.forget_machine()


config.watch(_configure)
