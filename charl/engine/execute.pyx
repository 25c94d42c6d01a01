# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Running a plan: memory, launches, and the values of Nodes, launch by launch.

An error or an interrupt is seen between launches: after it every Node has its whole value or has none. Waiting for
machine code and asking for it happens here too, by the rules of tiers.py.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

from charl.engine cimport lock
from charl.engine.walk cimport state_t
from charl.graph cimport held
from charl.graph.node cimport Node
from charl.runtime cimport launch
from charl.runtime.abi cimport CHARL_EINDEX, CHARL_ENOMEM, charl_error_t
from charl.runtime.buffer cimport Buffer, buffer_new
from charl.runtime.launch cimport Plan, Program, slot_t, step_t
from charl.runtime.pool cimport pool_alloc, pool_free

from charl.core.errors import InternalError
from charl.core.settings import config
from charl.engine import tiers
from charl.runtime.pool import set_limit
from charl.runtime.shares import set_parallel_work
from charl.runtime.threads import default_num_threads, set_num_threads

cdef int _debug = 0
cdef bint _machine = True        # machine code may run
cdef bint _llvm_only = False
cdef int64_t _hot = 32
cdef bint _compiles = False      # compiles have begun; LLVM is loaded for them
cdef Plan _first = None          # run before that


cdef int run(state_t *s, Plan plan) except -1:
    """All launches, each finished one committing its Nodes. After an error every Node has its value or has none.

    Once a launch has overwritten a value in place nothing may fail or interrupt: all that can is done before.
    """
    cdef int k
    cdef Program program
    cdef bint young = False
    if _machine and not _debug and plan.is_brief():
        return _run_brief(s, plan)
    _ready(s, plan)
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
            _allocate(s, plan, &plan.steps[k])
            _launch(s, plan, k)
            _commit(s, plan, &plan.steps[k])
            _free(s, plan, &plan.steps[k])
            if k + 1 < plan.nsteps and k < plan.overwrites:
                PyErr_CheckSignals()
        if PyTuple_GET_SIZE(plan.unwritten):
            _settle_unwritten(s, plan)
        if young:
            _compile_from_now(plan)
    finally:
        _let_go(s, plan)
    return 0


cdef int _compile_from_now(Plan plan) except -1:
    """After the process's first plan nothing is compiled yet: a short program may have its result."""
    global _first
    if _compiles or _first is not None:
        begin_compiles()
        _start_compiles(plan)
    else:
        _first = plan
    return 0


cdef int begin_compiles() except -1:
    """Has the first plan's kernels compiled, too, if they are not yet."""
    global _compiles, _first
    cdef Plan plan = _first
    _compiles, _first = True, None
    if plan is not None:
        _start_compiles(plan)
    return 0


cdef int _run_brief(state_t *s, Plan plan) except -1:
    """`run` of a brief plan, in a third of the instructions: most of what a small array costs."""
    cdef charl_error_t error
    cdef step_t *st = plan.steps
    cdef slot_t *slot
    cdef int j
    cdef int32_t code
    cdef Buffer buffer = buffer_new(plan.slots[plan.result].nbytes)  # may run other plans, this one too
    for j in range(st.nbuffers):
        slot = &plan.slots[st.slots[j]]
        if slot.kind == launch.SLOT_LEAF:
            st.buffers[j] = (<Buffer>(<Node>s.order[slot.node]).value).data
        else:
            st.buffers[j] = buffer.data
    code = plan.brief_step(s.scalars, &error)
    if code:
        _fail(s, plan, 0, code, &error)
    held.settle(<Node>s.order[plan.slots[plan.result].node], buffer)
    return 0


cdef inline int _ready(state_t *s, Plan plan) except -1:
    """No slot has memory yet but those of leaves."""
    cdef int k
    cdef slot_t *slot
    if plan.nslots > s.slot_capacity:
        _grow_slots(s, 2 * plan.nslots)
    for k in range(plan.nslots):
        slot = &plan.slots[k]
        s.held[k] = NULL
        s.memory[k] = NULL
        if slot.kind == launch.SLOT_LEAF:
            s.memory[k] = (<Buffer>(<Node>s.order[slot.node]).value).data
    return 0


cdef int _grow_slots(state_t *s, Py_ssize_t capacity) except -1:
    free(s.memory)
    free(s.held)
    s.memory = <void **>malloc(capacity * sizeof(void *))
    s.held = <PyObject **>malloc(capacity * sizeof(PyObject *))
    s.slot_capacity = capacity if s.memory != NULL and s.held != NULL else 0
    if s.slot_capacity == 0:
        raise MemoryError("charl.engine: no memory for a plan")
    return 0


cdef inline int _allocate(state_t *s, Plan plan, step_t *step) except -1:
    """Memory of what step is the first to write: Buffers for values, the pool's for what only this plan reads."""
    cdef int j, at
    cdef slot_t *slot
    for j in range(step.first_alloc, step.last_alloc):
        at = plan.events[j]
        slot = &plan.slots[at]
        if slot.owner:
            _take_buffer(s, at, slot.nbytes)
        else:
            s.memory[at] = pool_alloc(slot.nbytes)
            if s.memory[at] == NULL:  # a Buffer collects and trims to get its block
                _take_buffer(s, at, slot.nbytes)
    return 0


cdef inline int _take_buffer(state_t *s, int slot, int64_t nbytes) except -1:
    cdef Buffer buffer = buffer_new(nbytes)
    Py_INCREF(buffer)
    s.held[slot] = <PyObject *>buffer
    s.memory[slot] = buffer.data
    return 0


cdef inline int _launch(state_t *s, Plan plan, int k) except -1:
    cdef charl_error_t error
    cdef int32_t code
    if _debug:
        code = _timed_step(plan, k, s, &error)
    else:
        code = plan.step(k, s.memory, s.scalars, _machine, &error)
    if code:
        _fail(s, plan, k, code, &error)
    return 0


cdef inline void _commit(state_t *s, Plan plan, step_t *step) noexcept:
    """The Nodes that step finished get their values; one that wrote in place takes its base's Buffer."""
    cdef int j
    cdef slot_t *slot
    for j in range(step.first_commit, step.last_commit):
        slot = &plan.slots[plan.events[j]]
        if s.held[slot.root] != NULL:
            held.settle(<Node>s.order[slot.node], <Buffer>s.held[slot.root])
        else:
            held.settle(<Node>s.order[slot.node], (<Node>s.order[plan.slots[slot.root].node]).value)


cdef inline void _free(state_t *s, Plan plan, step_t *step) noexcept:
    """Temporary memory that step was the last to read."""
    cdef int j, at
    for j in range(step.first_free, step.last_free):
        at = plan.events[j]
        if s.held[at] != NULL:  # memory that was hard to get
            Py_DECREF(<Buffer>s.held[at])
            s.held[at] = NULL
        else:
            pool_free(s.memory[at], plan.slots[at].nbytes)
        s.memory[at] = NULL


cdef int _settle_unwritten(state_t *s, Plan plan) except -1:
    """Results without an element to write: no launch commits them."""
    cdef int k
    cdef slot_t *slot
    cdef Buffer buffer
    for k in plan.unwritten:
        slot = &plan.slots[k]
        if s.held[slot.root] != NULL:
            buffer = <Buffer>s.held[slot.root]
        elif plan.slots[slot.root].kind == launch.SLOT_LEAF:
            buffer = <Buffer>(<Node>s.order[plan.slots[slot.root].node]).value
        else:
            buffer = buffer_new(slot.nbytes)
        held.settle(<Node>s.order[slot.node], buffer)
    return 0


cdef inline void _let_go(state_t *s, Plan plan) noexcept:
    """All memory that the run still has; values are held by their Nodes now."""
    cdef int k
    for k in range(plan.nslots):
        if s.held[k] != NULL:
            Py_DECREF(<Buffer>s.held[k])
        elif plan.slots[k].kind == launch.SLOT_TEMP and plan.slots[k].root == k and s.memory[k] != NULL:
            pool_free(s.memory[k], plan.slots[k].nbytes)


cdef int32_t _timed_step(Plan plan, int k, state_t *s, charl_error_t *error) except? -1:
    cdef Program program = <Program>plan.programs[k]
    started = tiers.clock()
    code = plan.step(k, s.memory, s.scalars, _machine, error)
    tiers.report(program, tiers.clock() - started, _machine and program.tier, plan.steps[k].units)
    return code


cdef int _climb(Program program, int64_t work) except -1:
    """Before a launch: waits for machine code where that is asked for or is the cheaper way."""
    cdef double interpreted
    if program.state == launch.FAILED:
        if _llvm_only:
            tiers.unavailable(program)
    elif program.tier == 0:
        interpreted = launch.estimate(program, work, False)
        if tiers.worth_waiting(interpreted):
            if program.state == launch.IDLE:
                tiers.submit(program, interpreted)
            lock.awaits_compile = True
            try:
                tiers.wait(program)
            finally:
                lock.awaits_compile = False
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


def _configure(changed: dict):
    """Mirrors the settings in C variables."""
    global _debug, _machine, _llvm_only, _hot
    _debug = max(config.debug, 5) if config.dump else config.debug
    _machine = config.backend != "interp"
    _llvm_only = config.backend == "llvm"
    _hot = config.hot_launches
    if "parallel_work" in changed:
        set_parallel_work(config.parallel_work)
    if "num_threads" in changed:
        set_num_threads(config.num_threads or default_num_threads())
    if "memory_limit" in changed:
        set_limit(config.memory_limit)


config.watch(_configure)
