# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Running a plan on a GPU: shaders of its kernels, one submit, then the values of its Nodes.

A Node's value is there a DeviceBuffer. All launches of a plan go to the device at once, with their parameters in one
buffer. Kernels that check indices report into another one, which is read before values are committed, and before a
launch that overwrites a value in place. What a device cannot run raises TypeError, or runs on the cpu where the
setting gpu_fallback says so.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from charl.core cimport infer
from charl.engine.walk cimport OUT, state_t
from charl.graph cimport node as graph
from charl.graph.held cimport settle
from charl.graph.node cimport Node
from charl.runtime cimport launch
from charl.runtime.buffer cimport Buffer, buffer_new
from charl.runtime.launch cimport Plan, slot_t, step_t

import warnings

from charl import codegen, runtime
from charl.core.dtypes import BY_SHORT
from charl.core.errors import DeviceLost, InternalError
from charl.core.lazy import loaded
from charl.core.settings import config
from charl.engine import shaders

cdef enum:
    ERROR_BYTES = 256  # a kernel's part of the error buffer: an offset that every device takes


cdef object _shaded(Plan plan, Py_ssize_t k, object device):
    """The Shaded of a step: its kernel's for these extents, and for buffers that take several bindings."""
    cdef step_t *step = &plan.steps[k]
    cdef Py_ssize_t j
    cdef int64_t part = device.caps.part, scratch
    cdef list params = _params(plan, k)
    parts = tuple([max(_pieces(plan.slots[step.slots[j]].nbytes, part), 1) for j in range(step.nbuffers)])
    found = shaders.shaded(plan.programs[k], device, params, parts)
    if found.shader is not None and found.shader.scratch:
        scratch = found.shader.scratch_bytes(params)
        if scratch > part:
            found = shaders.shaded(plan.programs[k], device, params, (*parts, _pieces(scratch, part)))
    return found


cdef object _refusal(Plan plan, Py_ssize_t k, object program, object device):
    """Why a device cannot run a step, None where it can."""
    cdef step_t *step = &plan.steps[k]
    cdef Py_ssize_t j
    kernel = plan.programs[k]
    if step.units == 0:
        return None
    for j in range(step.nbuffers):
        count = plan.slots[step.slots[j]].nbytes // BY_SHORT[kernel.args[j].dtype].itemsize
        if count > 1 << 32:
            return codegen.wgsl.Unsupported("", f"an array of {count} elements; at most {1 << 32} are reached")
    if program.refusal is not None:
        return program.refusal
    features = shaders.features(device)
    what = codegen.wgsl.beyond(kernel, program.shader, _params(plan, k), device.side, features)
    return codegen.wgsl.Unsupported("", what) if what else None


cdef list _params(Plan plan, Py_ssize_t k):
    """Launch parameters of a step, those that are scalars unset."""
    cdef Py_ssize_t j
    return [plan.steps[k].params[j] for j in range(_params_count(plan, k))]


class Prepared:
    """What a plan keeps between its runs on one device."""

    def __init__(self, device, plan, steps, params, size, errors):
        self.device, self.tiling = device, device.tiling
        # of each step (pipeline, params' Part, workgroups, bindings, scratch bytes, place of params, arguments
        # written), or None where there is nothing to do
        self.steps = steps
        self.params = params      # a bytearray
        self.buffer = device.allocate(max(size, 4))
        self.sent = None          # the bytes that buffer holds
        self.errors = errors      # steps that check indices


cdef object _prepare(Plan plan, object device, list programs):
    """The Prepared of a plan: pipelines made, places of the parameters known."""
    cdef Py_ssize_t k, count
    cdef step_t *step
    cdef int64_t align = max(<int64_t>device.alignment, 8), size = 0
    cdef list steps = [], places = [], errors = []
    for k in range(plan.nsteps):
        step = &plan.steps[k]
        count = _params_count(plan, k)
        places.append(size)
        size = (size + 8 + 8 * count + align - 1) // align * align
    params = bytearray(size)
    prepared = Prepared(device, plan, steps, params, size, errors)
    for k in range(plan.nsteps):
        step = &plan.steps[k]
        shader = programs[k].shader
        count = _params_count(plan, k)
        if step.units == 0:
            steps.append(None)
            continue
        values = _params(plan, k)
        groups = shader.groups(values)
        if groups == 0:
            steps.append(None)
            continue
        head = groups.to_bytes(8, "little")
        params[places[k] : places[k] + 8] = head
        memcpy(PyByteArray_AS_STRING(params) + <Py_ssize_t>places[k] + 8, step.params, 8 * count)
        part = runtime.device.Part(prepared.buffer, places[k], 8 + 8 * count)
        bindings = [_binding(name) for name in shader.bindings]
        if "error" in shader.bindings:
            errors.append(k)
        try:
            pipeline = device.pipeline(shader.text)
        except Exception as error:
            error.add_note(f"kernel:\n{programs[k].text}")
            raise
        written = [j for (j, _), writes in zip(bindings, pipeline.writes) if writes and j >= 0]
        steps.append((pipeline, part, groups, bindings, shader.scratch_bytes(values), places[k], written))
    return prepared


cdef Py_ssize_t _params_count(Plan plan, Py_ssize_t k) noexcept:
    """Parameters of a step: they lie right before its buffers."""
    return <int64_t *>plan.steps[k].buffers - plan.steps[k].params


cdef tuple _binding(str name):
    """(an argument's number, or -1 params, -2 scratch, -3 error; which part of it, -1: all)."""
    what, _, part = name.partition("_")
    at = {"params": -1, "scratch": -2, "error": -3}[what] if what[0] != "a" else int(what[1:])
    return at, int(part or -1)


cdef list run(state_t *s, Plan plan):
    """Gives the plan's Nodes their values. Returns None, or pairs (Node, Node on the cpu to be computed instead)."""
    try:
        if plan.overwrites >= plan.nsteps:  # an interrupt leaves Nodes as they were, to be computed again
            return _run(s, plan)
        with runtime.interrupts.Held():
            return _run(s, plan)
    except (DeviceLost, InternalError, MemoryError) as error:
        if not hasattr(error, "__notes__"):
            error.add_note("\n".join(["kernels:", *[str(kernel) for kernel in plan.programs]]))
        raise


cdef list _run(state_t *s, Plan plan):
    cdef Py_ssize_t k, j, at
    cdef step_t *step
    cdef slot_t *slot
    cdef Node node
    cdef list memory = [None] * plan.nslots
    cdef char *params
    cdef int64_t scalar
    device = runtime.gpu.device(s.device - 1)
    prepared = plan.offloaded
    if prepared is None or prepared.device is not device or prepared.tiling != device.tiling:
        plan.offloaded = None
        programs = [_shaded(plan, k, device) for k in range(plan.nsteps)]
        for k in range(plan.nsteps):
            refusal = _refusal(plan, k, programs[k], device)
            if refusal is not None:
                return _refused(s, refusal)
        prepared = plan.offloaded = _prepare(plan, device, programs)
    params = PyByteArray_AS_STRING(prepared.params)
    for k in range(plan.nsteps):
        step = &plan.steps[k]
        if step.npatches and prepared.steps[k] is not None:
            at = prepared.steps[k][5]
            for j in range(step.npatches):
                scalar = s.scalars[step.patches[2 * j + 1]]
                memcpy(params + at + 8 + 8 * step.patches[2 * j], &scalar, 8)
    if prepared.sent != prepared.params:
        device.upload(prepared.buffer, prepared.params)
        prepared.sent = bytes(prepared.params)
    errors = None
    if prepared.errors:
        errors = device.allocate(ERROR_BYTES * plan.nsteps)
        device.upload(errors, bytes(ERROR_BYTES * plan.nsteps))
    for k in range(plan.nslots):
        slot = &plan.slots[k]
        if slot.kind == launch.SLOT_LEAF:
            node = <Node>s.order[slot.node]
            memory[k] = node.value if node.device else uploaded(node.value, s.device)
    _launch(s, plan, prepared, memory, errors)
    return None


cdef int _launch(state_t *s, Plan plan, object prepared, list memory, object errors) except -1:
    """All dispatches, and the values of Nodes."""
    cdef Py_ssize_t k
    cdef list work = [], failing = []
    for k in range(plan.nsteps):
        if k >= plan.overwrites and failing:
            shaders.submit(prepared.device, work)
            _check(s, plan, prepared.device, errors, failing)
            work, failing = [], []
        try:
            _dispatch(plan, k, prepared, memory, errors, work, failing)
        except MemoryError as error:
            error.add_note(f"kernel:\n{plan.programs[k]}")
            raise
    if work:
        shaders.submit(prepared.device, work)
    if failing:
        _check(s, plan, prepared.device, errors, failing)
    _commit_all(s, plan, prepared.device, memory)
    return 0


cdef int _dispatch(
    Plan plan, Py_ssize_t k, object prepared, list memory, object errors, list work, list failing
) except -1:
    """A step's memory, and its dispatch onto `work`."""
    cdef Py_ssize_t j
    cdef step_t *step = &plan.steps[k]
    cdef dict held = {}
    cdef list bound = []
    device = prepared.device
    for j in range(step.first_alloc, step.last_alloc):
        memory[plan.events[j]] = device.allocate(plan.slots[plan.events[j]].nbytes)
    if prepared.steps[k] is not None:
        pipeline, params, groups, bindings, scratch, _, written = prepared.steps[k]
        for j, _ in bindings:
            if j in held:
                continue
            if j >= 0:
                held[j] = memory[step.slots[j]]
            elif j == -1:
                held[j] = params
            elif j == -2:
                held[j] = device.allocate(max(scratch, 4))
            else:
                held[j] = runtime.device.Part(errors, ERROR_BYTES * k, 24)
                failing.append(k)
        _part_ways(device, work, held, written)
        for j, at in bindings:
            bound.append(held[j] if at < 0 else _piece(held[j], at, device.caps.part))
        work.append(runtime.device.Dispatch(pipeline, tuple(bound), groups, plan.programs[k]))
    for j in range(step.first_free, step.last_free):
        memory[plan.events[j]] = None
    return 0


cdef int _commit_all(state_t *s, Plan plan, object device, list memory) except -1:
    """All Nodes of the plan get their values."""
    cdef Py_ssize_t k, j
    cdef step_t *step
    cdef slot_t *slot
    for k in range(plan.nsteps):
        step = &plan.steps[k]
        for j in range(step.first_commit, step.last_commit):
            _commit(s, plan, plan.events[j], memory)
    for k in plan.unwritten:
        slot = &plan.slots[k]
        if memory[slot.root] is None:
            memory[slot.root] = device.allocate(slot.nbytes)
        _commit(s, plan, k, memory)
    return 0


cdef int _commit(state_t *s, Plan plan, int at, list memory) except -1:
    """A Node gets its value. Numbers of the cpu that came along stay pending: they are not at home on the device."""
    cdef Node node = <Node>s.order[plan.slots[at].node]
    if node.device:
        settle(node, memory[plan.slots[at].root])
    return 0


cdef int _part_ways(object device, list work, dict held, list written) except -1:
    """A buffer that a kernel writes must not be bound a second time: what it reads is a copy."""
    cdef Py_ssize_t other, j
    for other in written:
        buffer = held[other]
        for j in list(held):
            if j >= 0 and held[j] is buffer and j not in written:
                copy = device.allocate(buffer.nbytes)
                work.append(runtime.device.Copy(buffer, copy))
                held[j] = copy
    return 0


cdef inline int64_t _pieces(int64_t nbytes, int64_t part) noexcept:
    return (nbytes + part - 1) // part


cdef object _piece(object buffer, int64_t at, int64_t part):
    """The part `at` of a buffer, as a binding."""
    return runtime.device.Part(buffer, at * part, min(part, (buffer.nbytes + 3 & ~3) - at * part))


cdef int _check(state_t *s, Plan plan, object device, object errors, list failing) except -1:
    """Reads what kernels report of indices. Raises IndexError."""
    cdef Buffer found = buffer_new(ERROR_BYTES * plan.nsteps)
    cdef uint32_t *words
    cdef Node node
    device.read(errors, _bytes_of(found))
    for k in failing:
        words = <uint32_t *>found.data + ERROR_BYTES // 4 * <Py_ssize_t>k
        if words[0]:
            node = <Node>s.order[plan.sites[k][words[1]]]
            where = f" (indexed at {node.site})" if node.site else ""
            raise IndexError(
                f"index {<int64_t>(words[2] | <uint64_t>words[3] << 32)} is out of bounds for axis "
                f"with size {words[4] | <uint64_t>words[5] << 32}{where}"
            )
    return 0


# What a device cannot run


cdef list _refused(state_t *s, object refusal):
    """As the setting gpu_fallback says. The remedy is for the user to choose."""
    cdef str device = runtime.gpu.device(s.device - 1).name
    cdef str what = f"{device} cannot run this: {refusal.what}"
    if config.gpu_fallback == "error":
        remedy = "use another dtype, " if refusal.dtype else "use "
        raise TypeError(f"{what}; {remedy}x.to_device('cpu'), or charl.config.gpu_fallback = 'cpu'")
    if config.gpu_fallback == "warn":
        warnings.warn(f"{what}; it runs on the cpu", RuntimeWarning, stacklevel=1)
    return _on_cpu(s)


cdef list _on_cpu(state_t *s):
    """The walk's Nodes once more, on the cpu: pairs (Node, its like) of those that shall be stored."""
    cdef Py_ssize_t i
    cdef Node node, made
    cdef dict like = {}
    cdef list pairs = []
    cdef Buffer buffer
    for i in range(s.count):
        node = <Node>s.order[i]
        if node.value is not None:
            if node.device:
                buffer = buffer_new(infer.size_of(node.shape) * infer.ITEMSIZE[node.dtype])
                read(node.value, buffer)
                made = graph.new_leaf(node.dtype, node.shape, buffer)
            else:
                made = node
        else:
            sources = tuple([like[id(source)] for source in node.src])
            made = graph.make(
                node.op, node.dtype, node.shape, sources, node.attrs, node.sizes, node.bits, node.site
            )
        like[id(node)] = made
        if node.value is None and (s.key[s.headers[i]] >> 24) & OUT and node.op != graph.CONST:
            pairs.append((node, made))
    return pairs


# Transfers


cdef object _bytes_of(Buffer buffer):
    return <unsigned char[:buffer.nbytes]>buffer.data if buffer.nbytes else bytearray()


cdef object allocated(int64_t nbytes, int device):
    """A DeviceBuffer, its memory unset."""
    with runtime.interrupts.Held():
        return runtime.gpu.device(device - 1).allocate(nbytes)


cdef object uploaded(Buffer buffer, int device):
    """A DeviceBuffer with a copy of a Buffer's bytes."""
    with runtime.interrupts.Held():
        there = runtime.gpu.device(device - 1)
        made = there.allocate(buffer.nbytes)
        there.upload(made, _bytes_of(buffer))
    return made


cdef int read(object value, Buffer into) except -1:
    """Copies a DeviceBuffer's bytes, once they are there."""
    if into.nbytes:
        with runtime.interrupts.Held():
            value.device.read(value, _bytes_of(into))
    return 0


def counts() -> dict:
    """dispatches, submits, bytes_up, bytes_down, shaders, shader_disk_hits of this process."""
    if loaded("charl.runtime.gpu"):
        return {**runtime.gpu.counters(), **shaders.counts}
    return {"dispatches": 0, "submits": 0, "bytes_up": 0, "bytes_down": 0, **shaders.counts}
