# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The miss path: a Plan for a signature that has none.

A structure, which is a signature with its sizes told apart by equality alone, keeps its Schedules; one that binds to
the new sizes costs no scheduling. Programs are known by their kernel's text.
"""

from charl.engine.opening cimport Work, opened
from charl.engine.walk cimport DONATE, state_t
from charl.graph cimport node as graph
from charl.graph.node cimport Node
from charl.runtime cimport launch
from charl.runtime.launch cimport Plan, Program

import weakref
from collections import OrderedDict

from charl import schedule as scheduling
from charl.core.errors import InternalError
from charl.core.settings import config
from charl.engine import tiers
from charl.graph import printer, verify

cdef enum:
    LEAST_BUFFERS = 4  # of a kernel: parameters, two inputs and an output

cdef object _structures = OrderedDict()       # structure -> list of (schedule, programs)
cdef object _programs = weakref.WeakValueDictionary()
cdef object _recent = OrderedDict()           # Program by text: keeps the latest alive


cdef tuple _structure(state_t *s, Work work):
    """(structure key, sizes): sizes by the numbers that classes of them first had."""
    cdef list words = [], sizes = []
    cdef dict classes = {0: 0, 1: 1, -1: -1}
    cdef Py_ssize_t i
    cdef Node node, source
    for i in range(len(work.nodes)):
        node = <Node>work.nodes[i]
        numbers = node.shape
        words.append((graph.LEAF if node.value is not None else node.op) | node.dtype << 16 | len(numbers) << 32)
        if node.value is None and node.op != graph.CONST:
            words.append(<int>work.flags[i] | node.attr_id << 8)
            for source in node.src:
                words.append(source.index)
            numbers += node.sizes
        for number in numbers:
            words.append(classes.setdefault(number, len(classes)))
        sizes.extend(numbers)
    words.append(-s.device)
    words.append(s.buffers)
    return tuple(words), sizes


cdef Plan plan_for(state_t *s):
    """A plan for a signature that has none."""
    global structure_hits
    cdef Work work = opened(s)
    key, sizes = _structure(s, work)
    known = _structures.get(key)
    bound = None
    if known is None:
        known = _structures[key] = []
        while len(_structures) > config.plan_cache:
            _structures.popitem(last=False)
    else:
        _structures.move_to_end(key)
    for schedule, programs in known:  # no-cython-lint: read after the loop
        bound = schedule.bind(sizes)
        if bound is not None and _excess(s, schedule, bound) <= 0:
            structure_hits += 1
            break
        bound = None
    if bound is None:
        schedule, bound = _fitting(s, work, sizes)
        if s.device:
            programs = tuple([step.kernel for step in schedule.steps])  # offload makes shaders for sizes
        else:
            programs = tuple([_program(step.kernel) for step in schedule.steps])
        known.append((schedule, programs))
    return _bound_plan(schedule, bound, programs, s, work)


cdef tuple _fitting(state_t *s, Work work, list sizes):
    """(Schedule, Bound) of the walk: cut further while arrays of several bindings make a kernel too wide."""
    cdef Py_ssize_t buffers = s.buffers or scheduling.plan.ANY, excess
    while True:
        schedule = _scheduled(work, buffers)
        bound = schedule.bind(sizes)
        if bound is None:
            raise InternalError("schedule: its own sizes do not bind", schedule)
        excess = _excess(s, schedule, bound)
        if excess <= 0 or buffers <= LEAST_BUFFERS:
            return schedule, bound
        buffers = max(buffers - excess, LEAST_BUFFERS)


cdef Py_ssize_t _excess(state_t *s, schedule, bound) except? -1:
    """By how many bindings the widest kernel is more than the device takes, where it can be cut at all."""
    cdef Py_ssize_t most = 0, count
    if s.device == 0:
        return 0
    for step in schedule.steps:
        count = step.width - len(step.buffers)
        for slot in step.buffers:
            count += max((<int64_t>bound.nbytes[slot] + s.part - 1) // s.part, 1)
        if count > s.buffers and step.width > LEAST_BUFFERS:
            most = max(most, count - s.buffers)
    return most


cdef object _scheduled(Work work, Py_ssize_t buffers):
    """A Schedule of the walk's Nodes, in kernels of so many buffers."""
    cdef list nodes = work.nodes, flags = work.flags
    cdef bint shown = config.debug >= 2 or config.dump
    if config.verify:
        verify.verify(nodes)
    if shown:
        tiers.show(printer.text(nodes))
    schedule = scheduling.plan.build(nodes, flags, buffers)
    if _too_late_to_fail(schedule):
        schedule = scheduling.plan.build(nodes, [f & ~DONATE for f in flags], buffers)
    if shown:
        tiers.show(schedule)
    return schedule


cdef Plan _bound_plan(schedule, bound, tuple programs, state_t *s, Work work):
    """The Plan of a Schedule bound to sizes, in the walk's numbers. On a GPU, which does all of a launch before the
    next, it has no chains.
    """
    cdef list steps = [], slots = [], places = work.places
    kinds = {"leaf": launch.SLOT_LEAF, "store": launch.SLOT_STORE, "temp": launch.SLOT_TEMP}
    for program, step, made in zip(programs, schedule.steps, bound.steps):
        modes = [arg.mode for arg in step.kernel.args]
        params, scalars = work.params(made.params, made.scalars)
        sites = tuple([places[site] for site in step.sites])
        steps.append(
            (program, step.buffers, modes, params, scalars, made.units, made.work, made.scratch, sites)
        )
    for slot, nbytes in zip(schedule.slots, bound.nbytes):
        place = places[slot.node] if slot.node >= 0 else -1
        kind = "temp" if slot.kind == "store" and place < 0 else slot.kind
        slots.append((kinds[kind], place, slot.alias, nbytes))
    return Plan(steps, slots, s.count, () if s.device else bound.chains)


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
        # products are worth a second thread sooner: what they read is in a cache
        weight = 8 if isinstance(kernel, scheduling.kernel.Contract) else 1
        program = Program(text, kernel, weight)
        tiers.interpret(program)
        _programs[text] = program
    _recent[text] = program
    _recent.move_to_end(text)
    while len(_recent) > config.kernel_cache:
        _recent.popitem(last=False)
    return program


def forget():
    """Forgets all Schedules, and Programs that no plan holds."""
    _structures.clear()
    _recent.clear()


def kernels() -> list:
    """The Programs in memory, least recently planned first."""
    return list(_recent.values())


def _configure(changed: dict):
    """A new opt_level: what is compiled is compiled again."""
    if "opt_level" in changed:
        for program in list(_programs.values()):
            program.forget_machine()


config.watch(_configure)
