# cython: language_level=3
from libc.stdint cimport int32_t, int64_t

from charl.runtime.abi cimport charl_error_t, charl_kernel_t, charl_launch_t
from charl.runtime.chain cimport chain_t
from charl.runtime.shares cimport timing_t

cdef enum:  # Program.state
    IDLE = 0     # nobody compiles it
    QUEUED = 1   # a compile is under way
    FAILED = 2   # it cannot be compiled: interpreted for good

cdef enum:  # slot_t.kind
    SLOT_LEAF = 0
    SLOT_STORE = 1
    SLOT_TEMP = 2

cdef class Program:
    cdef charl_kernel_t interp_fn
    cdef const void *interp_code
    cdef int64_t registers
    cdef object interp_owner
    cdef charl_kernel_t machine_fn
    cdef object machine_owner
    cdef readonly int tier
    cdef readonly int generation
    cdef public int state
    cdef readonly int64_t launches
    cdef readonly str text
    cdef readonly object kernel
    cdef int64_t weight      # of its work, where threads are counted
    cdef public object job    # of a compile under way: an event that is set when it is done
    cdef public object error  # why state is FAILED
    cdef object __weakref__

ctypedef struct step_t:
    int32_t nbuffers
    int32_t npatches
    int32_t *slots
    void **buffers
    int64_t *params
    int32_t *patches       # pairs: position in params, number of the scalar
    int64_t units
    int64_t work
    int64_t scratch        # bytes of one thread, for the kernel's slots
    int32_t first_alloc, last_alloc, first_commit, last_commit, first_free, last_free
    timing_t timing
    int32_t chain          # 1 + the number of the chain that starts here; -1 where its first step does this one too

ctypedef struct slot_t:
    int32_t kind           # of the memory: leaf where it is another node's value
    int32_t node
    int32_t root           # the slot that owns the memory
    int32_t owner          # root only: 1 where it becomes a Buffer, 0 for plain temporary memory
    int64_t nbytes

cdef class Plan:
    cdef readonly tuple programs
    cdef readonly tuple sites
    cdef readonly tuple unwritten  # results without an element to write
    cdef readonly int nsteps
    cdef readonly int nslots
    cdef readonly int nnodes
    cdef readonly int result       # of a brief plan, the slot of its value; -1: the plan is not brief
    cdef step_t *steps
    cdef slot_t *slots
    cdef int32_t *events   # slot numbers to allocate, commit and free, a run of them for each step
    cdef readonly bint in_place
    cdef readonly int overwrites   # the first step that writes into a leaf's value; nsteps if none does
    cdef readonly int64_t late_work  # of the steps after that one
    cdef public object offloaded   # what the engine keeps of a plan that runs on a GPU
    cdef chain_t *chains
    cdef void *block
    cdef void *chain_block
    cdef int64_t tick

    cdef int prepare(self, bint machine) except -1
    cdef int link(self, object chains) except -1
    cdef int64_t bind(self, int k, void **memory, const int64_t *scalars, bint machine,
                      charl_launch_t *launch, charl_kernel_t *fn) noexcept
    cdef bint is_brief(self) noexcept
    cdef int32_t brief_step(self, const int64_t *scalars, charl_error_t *error) noexcept
    cdef int32_t step(self, int k, void **memory, const int64_t *scalars, bint machine, charl_error_t *error) except? -1

cdef struct counters_t:
    int64_t launches
    int64_t interpreted

cdef counters_t counters
cdef double estimate(Program program, int64_t work, bint machine) noexcept
