# cython: language_level=3
from libc.stdint cimport int32_t, int64_t

from charl.runtime.abi cimport charl_kernel_t, charl_launch_t

ctypedef struct link_t:    # a step of a chain
    charl_kernel_t fn
    const void *code
    const int64_t *params
    void **buffers
    const int64_t *strips  # for each buffer: where in the thread's strips it lies, or -1
    const int64_t *chunks  # and the bytes of an item
    int64_t units          # of an item
    int32_t nbuffers

ctypedef struct read_t:    # what a step reads of an item, ahead of which it is fetched; in bytes
    int32_t link
    int32_t arg
    int64_t offset
    int64_t rows
    int64_t apart          # from row to row
    int64_t lines          # of a row
    int64_t each           # rows that are fetched at a time
    const int64_t *outer   # (extent, step) of each outer axis
    int32_t naxes

ctypedef struct chain_t:   # steps that are done together, item by item
    link_t *links
    read_t *reads
    int64_t items
    int64_t extent         # of the axis that items are walked along first
    int64_t inside         # items of a step along it
    int64_t pieces         # of step `resting`, between which the next item's operands are fetched
    int64_t pointer_bytes  # of a thread's own buffer pointers, and of what it fetches
    int64_t strip_bytes    # of one item of all that only the chain reads
    int32_t first
    int32_t count
    int32_t resting
    int32_t nreads

cdef int32_t run_chain(charl_launch_t *launch, int64_t begin, int64_t end) noexcept nogil
