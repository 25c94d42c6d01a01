/* threads.h: the thread pool that launches run on. */
#ifndef CHARL_THREADS_H
#define CHARL_THREADS_H

#include "charl.h"

#define CHARL_MAX_THREADS 256

/* Runs fn over units [0, units), cut into at most max_threads contiguous ranges whose bounds
 * depend on units and the number of ranges alone. Range t gets its own copy of *launch: thread
 * t, nthreads ranges, and scratch moved on by t * scratch_bytes, so that launch->scratch must
 * have room for max_threads times scratch_bytes. Returns when all ranges are done: 0, or the
 * code of the first range in order that failed, its error record copied to launch->error.
 *
 * The caller runs range 0, and then whatever no other thread has begun. All ranges run in the
 * caller, as one range with nthreads 1, where the call comes from within a kernel or while
 * another thread's launch holds the pool. fn always sees the default floating-point environment:
 * round to nearest, no flushing, no traps. */
int32_t charl_parallel(charl_kernel_t fn, charl_launch_t *launch, int64_t units,
                       int32_t max_threads);

/* The most ranges a launch is cut into; 1 until set. */
int32_t charl_num_threads(void);

/* n is 1 to CHARL_MAX_THREADS. Returns 0, or -1 if it is not. Threads start when a launch first
 * needs them. */
int32_t charl_set_num_threads(int32_t n);

#endif
