/* threads.h: the thread pool that launches run on. */
#ifndef CHARL_THREADS_H
#define CHARL_THREADS_H

#include "charl.h"

#define CHARL_MAX_THREADS 256

/* Runs fn over units [0, units), each once, on at most max_threads threads. fn is called for
 * pieces whose bounds lie among fixed ones; which thread gets which, and in how many calls, depends
 * on how fast they are. Thread t has its own copy of *launch: thread t, nthreads threads, and
 * scratch moved on by t * scratch_bytes, so that launch->scratch must have room for max_threads
 * times scratch_bytes. Returns when all is done: 0, or the code of the first unit in order that
 * failed, its error record copied to launch->error.
 *
 * All units run in the caller, in one call with nthreads 1, where the call comes from within a
 * kernel or while another thread's launch holds the pool. fn always sees the default
 * floating-point environment: round to nearest, no flushing, no traps. */
int32_t charl_parallel(charl_kernel_t fn, charl_launch_t *launch, int64_t units,
                       int32_t max_threads);

/* The most threads of a launch; 1 until set. */
int32_t charl_num_threads(void);

/* n is 1 to CHARL_MAX_THREADS. Returns 0, or -1 if it is not. Threads start when a launch first
 * needs them. */
int32_t charl_set_num_threads(int32_t n);

#endif
