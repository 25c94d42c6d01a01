# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Program, a kernel's artefacts, and Plan, the ordered launches of one realization, replayed in C.

The engine walks a Plan's steps: before step k it allocates the slots of that step's alloc run, after it commits
those of its commit run and frees those of its free run. `Plan.step` does one launch. All of this happens
under the engine lock.
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uintptr_t

from charl.core.ints cimport PyTuple_GET_ITEM
from charl.runtime.abi cimport CHARL_ABI, CHARL_ENOMEM, charl_error_t, charl_kernel_t, charl_launch_t
from charl.runtime.chain cimport chain_t, link_t, read_t, run_chain
from charl.runtime.pool cimport pool_alloc, pool_free
from charl.runtime.shares cimport is_alone, launched, threads_for
from charl.runtime.threads cimport num_threads

cdef extern from *:
    """
    /* Kernels run with the default floating-point environment, whatever the host program has set. */
    #if defined(__x86_64__)
    #include <xmmintrin.h>
    typedef unsigned charl_fp_t;
    static inline charl_fp_t charl_fp_enter(void) {
        unsigned was = _mm_getcsr();
        if ((was & ~0x3fu) != 0x1f80u) _mm_setcsr(0x1f80u);
        return was;
    }
    static inline void charl_fp_leave(charl_fp_t was) {
        if ((was & ~0x3fu) != 0x1f80u) _mm_setcsr(was);
    }
    #elif defined(__aarch64__)
    typedef unsigned long charl_fp_t;
    static inline charl_fp_t charl_fp_enter(void) {
        unsigned long was;
        __asm__ volatile("mrs %0, fpcr" : "=r"(was));
        if (was) __asm__ volatile("msr fpcr, %0" : : "r"(0ul));
        return was;
    }
    static inline void charl_fp_leave(charl_fp_t was) {
        if (was) __asm__ volatile("msr fpcr, %0" : : "r"(was));
    }
    #else
    typedef int charl_fp_t;
    static inline charl_fp_t charl_fp_enter(void) { return 0; }
    static inline void charl_fp_leave(charl_fp_t was) { (void)was; }
    #endif
    """
    ctypedef int charl_fp_t
    charl_fp_t charl_fp_enter() nogil
    void charl_fp_leave(charl_fp_t was) nogil

# Rough nanoseconds of an element operation, which decide about the GIL and about waiting, never about a value.
cdef double MACHINE_NS = 0.12
cdef double INTERP_NS = 0.6
cdef double GIL_NS = 50_000
cdef int64_t PACKS = 262_144  # bytes of scratch from which on a kernel packs operands, and wants long runs of units
# Long launches go forward and backward by turns: one begins with what the last left in the cache, of arrays that it
# does not hold.
cdef bint _backward = False

cdef char *_scratch = NULL
cdef int64_t _scratch_bytes = 0


@cython.final
cdef class Program:
    """One kernel, ready to run: by the interpreter at once, as machine code once `machine` has been told of it."""

    def __init__(self, str text, object kernel, int64_t weight=1):
        self.text = text
        self.kernel = kernel
        self.weight = weight

    def interpret(self, entry, code, int64_t registers, owner):
        """The first tier: addresses of the interpreter's entry point and of the program's bytecode."""
        self.interp_owner = owner
        self.interp_fn = <charl_kernel_t><uintptr_t>entry
        self.interp_code = <const void *><uintptr_t>code
        self.registers = registers

    def machine(self, address, owner, int tier):
        """Machine code takes over at the next launch. `owner` keeps it mapped."""
        old = self.machine_owner  # no-cython-lint: dropped when no launch can be running it: on return
        self.machine_fn = <charl_kernel_t><uintptr_t>address
        self.machine_owner = owner
        self.tier = tier

    def forget_machine(self):
        """Back to the interpreter: settings of the compiler have changed."""
        self.machine_fn = NULL
        self.machine_owner = None
        self.tier = 0
        self.state = IDLE
        self.job = None
        self.generation += 1


cdef double estimate(Program program, int64_t work, bint machine) noexcept:
    """Nanoseconds that `work` element operations take on one thread."""
    if machine and program.machine_fn != NULL:
        return work * MACHINE_NS
    return work * INTERP_NS


@cython.final
@cython.no_gc
cdef class Plan:
    """steps: (program, slot numbers, modes, params, patches, units, work, scratch, sites) each.

    slots: (kind, node, alias, nbytes) each, as charl.schedule.plan states them; modes are "in", "out" or "inout".
    chains: as charl.schedule.chain states them, of slots, one item of which a thread holds at a time.
    """

    def __init__(self, list steps, list slots, int nnodes, chains=()):
        cdef int k, j, root, count = 0, kind, alias
        cdef Py_ssize_t bytes_needed
        cdef char *at
        self.nsteps, self.nslots, self.nnodes = len(steps), len(slots), nnodes
        self.programs = tuple([step[0] for step in steps])
        self.sites = tuple([step[8] for step in steps])
        bytes_needed = self.nsteps * sizeof(step_t) + self.nslots * (sizeof(slot_t) + 12 * sizeof(int32_t))
        for _, used, _, params, patches, *_ in steps:
            bytes_needed += len(used) * 12 + len(params) * 8 + len(patches) * 8 + 64
        self.block = PyMem_Calloc(1, bytes_needed + 256)
        if self.block == NULL:
            raise MemoryError("charl.runtime.launch: no memory for a plan")
        at = <char *>self.block
        self.steps = <step_t *>at
        at += self.nsteps * sizeof(step_t)
        self.slots = <slot_t *>at
        at += self.nslots * sizeof(slot_t)

        for k, (kind, node, alias, nbytes) in enumerate(slots):
            self.slots[k].kind, self.slots[k].node, self.slots[k].nbytes = kind, node, nbytes
            root = k
            while slots[root][2] >= 0:
                root = slots[root][2]
            self.slots[k].root = root
            if kind == SLOT_STORE:
                self.slots[root].owner = 1
            if kind != SLOT_LEAF and slots[root][0] == SLOT_LEAF:
                self.in_place = True
        if self.in_place:
            _reuse(self, steps)
            chains = ()
        self.overwrites = self.nsteps
        strips = {slot for chain in chains for slot in chain[3]}
        heads = {k: chain[0] for chain in chains for k in range(chain[0], chain[0] + chain[1])}
        first = {}
        last = {}
        written = {}
        for k, (_, used, modes, params, patches, units, work, scratch, _) in enumerate(steps):
            st = &self.steps[k]
            st.nbuffers, st.npatches = len(used), len(patches)
            st.params = <int64_t *>at
            at += len(params) * 8
            st.buffers = <void **>at
            at += len(used) * 8
            st.slots = <int32_t *>at
            at += len(used) * 4
            st.patches = <int32_t *>at
            at += len(patches) * 8
            at = <char *>((<uintptr_t>at + 7) & ~<uintptr_t>7)
            for j in range(len(params)):
                st.params[j] = params[j]
            for j, (position, number) in enumerate(patches):
                st.patches[2 * j], st.patches[2 * j + 1] = position, number
            for j, slot in enumerate(used):
                root = self.slots[slot].root
                st.slots[j] = root
                if slot not in strips:
                    first.setdefault(root, 0 if self.in_place else heads.get(k, k))
                    last[root] = k
                if modes[j] != "in":
                    written[slot] = k
                    if slots[root][0] == SLOT_LEAF:
                        self.overwrites = min(self.overwrites, k)
            st.units, st.work = units, work
            if k > self.overwrites:
                self.late_work += work
            st.scratch = (scratch + 63) // 64 * 64
        self.events = <int32_t *>at
        self.unwritten = tuple(
            [k for k in range(self.nslots) if self.slots[k].kind == SLOT_STORE and k not in written]
        )
        for k in range(self.nsteps):
            st = &self.steps[k]
            st.first_alloc = count
            for root, when in first.items():
                if when == k and slots[root][0] != SLOT_LEAF:
                    self.events[count] = root
                    count += 1
            st.last_alloc = st.first_commit = count
            for slot, when in written.items():
                if when == k and slots[slot][0] == SLOT_STORE:
                    self.events[count] = slot
                    count += 1
            st.last_commit = st.first_free = count
            for root, when in last.items():
                if when == k and slots[root][0] == SLOT_TEMP and not self.slots[root].owner:
                    self.events[count] = root
                    count += 1
            st.last_free = count
        if chains:
            self.link(chains)
        self.result = _only_result(self)

    def __dealloc__(self):
        PyMem_Free(self.block)
        PyMem_Free(self.chain_block)

    cdef int link(self, object chains) except -1:
        """Lays out what chains need at a launch."""
        cdef Py_ssize_t numbers = 0, links = 0, nreads = 0
        cdef int64_t *at
        cdef link_t *link
        cdef read_t *read
        cdef chain_t *chain
        cdef step_t *st
        cdef int k, j, number
        for first, count, _, _, _, _, _, reads in chains:
            links += count
            nreads += len(reads)
            numbers += sum([2 * self.steps[k].nbuffers for k in range(first, first + count)])
            numbers += sum([2 * len(outer) for *_, outer in reads])
        self.chain_block = PyMem_Calloc(
            1, len(chains) * sizeof(chain_t) + links * sizeof(link_t) + nreads * sizeof(read_t) + 8 * numbers
        )
        if self.chain_block == NULL:
            raise MemoryError("charl.runtime.launch: no memory for a plan")
        self.chains = <chain_t *>self.chain_block
        link = <link_t *>(self.chains + len(chains))
        read = <read_t *>(link + links)
        at = <int64_t *>(read + nreads)
        for number, (first, count, items, slots, inmost, resting, pieces, reads) in enumerate(chains):
            chain = &self.chains[number]
            chain.links, chain.items, chain.first, chain.count = link, items, first, count
            chain.extent, chain.inside = inmost
            chain.resting, chain.pieces = resting, pieces
            chain.reads, chain.nreads = read, len(reads)
            places = {}
            for slot in slots:
                places[slot] = chain.strip_bytes
                chain.strip_bytes += (self.slots[slot].nbytes // items + 63) // 64 * 64
            for k in range(first, first + count):
                st = &self.steps[k]
                st.chain = number + 1 if k == first else -1
                link.units, link.nbuffers = st.units // items, st.nbuffers
                link.strips, link.chunks = at, at + st.nbuffers
                for j in range(st.nbuffers):
                    at[j] = places.get(st.slots[j], -1)
                    at[st.nbuffers + j] = self.slots[st.slots[j]].nbytes // items
                at += 2 * st.nbuffers
                chain.pointer_bytes += st.nbuffers * sizeof(void *)
                link += 1
            for step, arg, offset, rows, apart, nbytes, outer in reads:
                read.link, read.arg, read.offset = step, arg, offset
                read.rows, read.apart, read.lines = rows, apart, (nbytes + 63) // 64
                read.each = (rows + pieces - 1) // pieces
                read.outer, read.naxes = at, len(outer)
                for extent, stride in outer:
                    at[0], at[1] = extent, stride
                    at += 2
                read += 1
            chain.pointer_bytes = (chain.pointer_bytes + chain.nreads * sizeof(void *) + 63) // 64 * 64
        return 0

    cdef int prepare(self, bint machine) except -1:
        """Everything that can fail for want of memory, done before a launch overwrites a value."""
        cdef int64_t threads = num_threads(), needed = 0
        cdef int k
        for k in range(self.nsteps):
            needed = max(needed, self.steps[k].scratch + (<Program>self.programs[k]).registers + 64)
        needed = (needed + 63) // 64 * 64 * threads
        if needed > _scratch_bytes and not _grow_scratch(needed):
            raise MemoryError(f"out of memory: {needed} bytes of scratch space")
        return 0

    cdef int64_t bind(
        self, int k, void **memory, const int64_t *scalars, bint machine, charl_launch_t *launch, charl_kernel_t *fn
    ) noexcept:
        """Readies step k: parameters, buffers, and the code that runs it. Returns the bytes of a thread's scratch."""
        cdef step_t *st = &self.steps[k]
        cdef Program program = <Program>self.programs[k]
        cdef int64_t per_thread = st.scratch
        cdef int j
        for j in range(st.npatches):
            st.params[st.patches[2 * j]] = scalars[st.patches[2 * j + 1]]
        for j in range(st.nbuffers):
            st.buffers[j] = memory[st.slots[j]]
        launch.buffers = st.buffers
        launch.params = st.params
        counters.launches += 1
        program.launches += 1
        if machine and program.machine_fn != NULL:
            fn[0] = program.machine_fn
            launch.code = NULL
        else:
            fn[0] = program.interp_fn
            launch.code = program.interp_code
            per_thread += program.registers
            counters.interpreted += 1
        return (per_thread + 63) // 64 * 64

    cdef bint is_brief(self) noexcept:
        """Whether the plan is one short launch of machine code, on this thread, that reads leaves and makes a value."""
        cdef Program program
        if self.result < 0:
            return False
        program = <Program>PyTuple_GET_ITEM(<PyObject *>self.programs, 0)
        return program.tier == 2 and is_alone(
            &self.steps.timing, self.steps.work * program.weight, estimate(program, self.steps.work, True)
        )

    cdef int32_t brief_step(self, const int64_t *scalars, charl_error_t *error) noexcept:
        """Launches a brief plan, whose step has its buffers; a CHARL_ code."""
        cdef step_t *st = self.steps
        cdef Program program = <Program>PyTuple_GET_ITEM(<PyObject *>self.programs, 0)
        cdef charl_launch_t launch
        cdef charl_fp_t fp
        cdef int32_t code
        cdef int j
        for j in range(st.npatches):
            st.params[st.patches[2 * j]] = scalars[st.patches[2 * j + 1]]
        if st.scratch > _scratch_bytes and not _grow_scratch(st.scratch):
            return CHARL_ENOMEM
        launch.buffers, launch.params, launch.code = st.buffers, st.params, NULL
        launch.scratch, launch.scratch_bytes = _scratch, st.scratch
        launch.abi, launch.thread, launch.nthreads, launch.backward = CHARL_ABI, 0, 1, 0
        counters.launches += 1
        program.launches += 1
        fp = charl_fp_enter()
        code = program.machine_fn(&launch, 0, st.units)
        charl_fp_leave(fp)
        if code:
            error[0] = launch.error
        return code

    cdef int32_t step(
        self, int k, void **memory, const int64_t *scalars, bint machine, charl_error_t *error
    ) except? -1:
        """Launches step k, or the chain that it starts, on the slots' memory; a CHARL_ code. Lets go of the GIL for
        long launches alone.
        """
        global _backward
        cdef step_t *st = &self.steps[k]
        cdef charl_launch_t launch
        cdef charl_kernel_t fn
        cdef chain_t *chain
        cdef link_t *link
        cdef int32_t code = 0, threads = 1
        cdef int64_t per_thread = 0, needed, units = st.units, work = st.work
        cdef double nanoseconds
        cdef bint timed
        cdef int j
        cdef charl_fp_t fp
        if units == 0 or st.chain < 0:
            return 0
        if st.chain == 0:
            per_thread = self.bind(k, memory, scalars, machine, &launch, &fn)
            nanoseconds = estimate(<Program>self.programs[k], work, machine)
            work *= (<Program>self.programs[k]).weight
        else:
            chain = &self.chains[st.chain - 1]
            nanoseconds, work, units = 0, 0, chain.items
            for j in range(chain.count):
                link = &chain.links[j]
                per_thread = max(per_thread, self.bind(k + j, memory, scalars, machine, &launch, &fn))
                link.fn, link.code = fn, launch.code
                link.params, link.buffers = launch.params, launch.buffers
                work += self.steps[k + j].work * (<Program>self.programs[k + j]).weight
                nanoseconds += estimate(<Program>self.programs[k + j], self.steps[k + j].work, machine)
            per_thread += chain.pointer_bytes + chain.strip_bytes
            fn, launch.code = run_chain, chain
        launch.abi = CHARL_ABI
        launch.thread = 0
        launch.nthreads = 1
        launch.backward = 0
        machine = machine and (<Program>self.programs[k]).machine_fn != NULL
        threads = threads_for(&st.timing, units, work, nanoseconds, machine, &timed)
        if st.timing.nanoseconds > 0:
            nanoseconds = st.timing.nanoseconds
        needed = per_thread * threads
        if needed > _scratch_bytes and not _grow_scratch(needed):
            return CHARL_ENOMEM
        launch.scratch = _scratch
        launch.scratch_bytes = per_thread
        if nanoseconds < threads * GIL_NS:
            fp = charl_fp_enter()
            code = launched(fn, &launch, units, threads, &st.timing if timed else NULL)
            charl_fp_leave(fp)
        else:  # a faster tier may take a program's place meanwhile
            count = 1 if st.chain == 0 else self.chains[st.chain - 1].count
            owners = [(<Program>program).machine_owner for program in self.programs[k : k + count]]  # no-cython-lint
            if per_thread < PACKS:
                _backward = not _backward
                launch.backward = _backward
            with nogil:
                fp = charl_fp_enter()
                code = launched(fn, &launch, units, threads, &st.timing if timed else NULL)
                charl_fp_leave(fp)
        if code:
            error[0] = launch.error
        return code


cdef int _only_result(Plan plan) noexcept:
    """The slot of a plan's value where it is one launch, short enough to keep the GIL, on leaves; -1 for all else."""
    cdef int k, result = -1
    cdef step_t *st = plan.steps
    if plan.nsteps != 1 or plan.in_place or plan.chains != NULL or st.units == 0 or st.work * MACHINE_NS >= GIL_NS:
        return -1
    for k in range(plan.nslots):
        if plan.slots[k].root != k or plan.slots[k].kind == SLOT_TEMP:
            return -1
        if plan.slots[k].kind == SLOT_STORE:
            if result >= 0:
                return -1
            result = k
    return -1 if st.last_commit - st.first_commit != 1 else result


cdef int _reuse(Plan plan, list steps) except -1:
    """Temporary memory that is taken ahead of all launches serves one after the other where sizes agree."""
    cdef int k, root
    last = {plan.slots[slot].root: k for k, (_, used, *_) in enumerate(steps) for slot in used}
    spare = {}   # by size: roots that no later launch uses
    serves = {}  # root -> the one whose memory it uses
    for k, (_, used, *_) in enumerate(steps):
        roots = {plan.slots[slot].root for slot in used}
        temporary = [r for r in sorted(roots) if plan.slots[r].kind == SLOT_TEMP and not plan.slots[r].owner]
        for root in temporary:
            if root not in serves:
                free = spare.get(plan.slots[root].nbytes)
                serves[root] = free.pop() if free else root
        for root in temporary:
            if last[root] == k:
                spare.setdefault(plan.slots[root].nbytes, []).append(serves[root])
    for k in range(plan.nslots):
        root = plan.slots[k].root
        plan.slots[k].root = serves.get(root, root)
    return 0


cdef bint _grow_scratch(int64_t needed) noexcept:
    """Scratch is one block for the process: launches happen one at a time."""
    global _scratch, _scratch_bytes
    cdef char *grown = <char *>pool_alloc(needed)
    if grown == NULL:
        return False
    if _scratch != NULL:
        pool_free(_scratch, _scratch_bytes)
    _scratch, _scratch_bytes = grown, needed
    return True


def counts():
    """(launches, launches that the interpreter served) in this process."""
    return counters.launches, counters.interpreted
