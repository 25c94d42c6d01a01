/* pool.h: the memory of every Buffer. Safe from any thread; any thread may free any block. */
#ifndef CHARL_POOL_H
#define CHARL_POOL_H

#include <stddef.h>
#include <stdint.h>

#define CHARL_POOL_ALIGN 64

/* Bytes are counted as handed out, that is rounded up to the block's size. */
typedef struct charl_pool_stats_t {
    size_t in_use; /* in live blocks */
    size_t cached; /* held ready for reuse */
    size_t peak;   /* the most there was in live blocks and threads' caches since reset_peak */
    size_t limit;  /* on the same; 0: none */
    uint64_t allocations; /* calls that gave a block */
    uint64_t hits;        /* of these, the ones that asked the system for nothing */
    uint64_t failures;    /* calls that gave NULL */
    uint64_t bad_frees;   /* large blocks freed that were not live; ignored */
} charl_pool_stats_t;

/* At least nbytes, aligned to CHARL_POOL_ALIGN, not cleared. NULL: no memory, over the limit, or
 * injected. Zero bytes give one static block that may be read and written (64 bytes) and freed
 * any number of times. */
void *charl_pool_alloc(size_t nbytes);

/* nbytes is what charl_pool_alloc was asked for. NULL is ignored. */
void charl_pool_free(void *block, size_t nbytes);

/* Exact while no other thread allocates or frees. */
void charl_pool_stats(charl_pool_stats_t *out);
void charl_pool_reset_peak(void);

/* Gives cached memory back to the system; other threads' caches follow at their next slow step.
 * Returns the bytes given back. */
size_t charl_pool_trim(void);

/* Bytes that may be out at once; cached memory is given back first. 0: no limit. */
void charl_pool_set_limit(size_t nbytes);

/* Fault injection: after `successes` more calls of charl_pool_alloc, the next `failures` ones
 * give NULL (failures < 0: all of them until the next call here). successes < 0 ends it. */
void charl_pool_fail_after(int64_t successes, int64_t failures);

/* Writes the sizes asked for of the largest live blocks, largest first, looking only at blocks over
 * 2 MiB. Returns how many such blocks are live. */
size_t charl_pool_largest(size_t *sizes, size_t count);

#endif
