/* threads.c: workers that each wait on a word of their own, and one launch at a time.
 *
 * A launch cuts its units into chunks, gives each thread an equal share of them, posts to each
 * worker (word = POSTED) and wakes the parked ones. A thread runs half of what its share still
 * holds at a time; when that is used up, half of what another's holds, from the end. So a thread
 * that is slow to wake, or whose core is taken by another program, delays nobody for long.
 * Backward, it runs its share chunk by chunk from the end, and takes another's from the front.
 *
 * Whoever moves the word from POSTED to IDLE has claimed the slot: the worker, or the caller when
 * no chunk is left. Nothing of a launch is read before its slot is claimed, and the launch cannot
 * end before every claimed slot is counted off in `pending`: the fields of `job` are stable
 * whenever they are read.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#endif

enum { IDLE = 0, POSTED = 1, QUIT = 2 };
enum { WORKER_SPINS = 5000, CALLER_SPINS = 4000, STACK_BYTES = 4 << 20 };
enum { CHUNKS = 8 }; /* of a thread's share */

typedef _Atomic uint32_t word_t;

/* One thread's part of the current launch. Slot 0 is the caller's. */
typedef struct slot_t {
    _Alignas(128) word_t word;
    word_t parked;
    _Atomic uint64_t share; /* chunks that nobody has begun: the first << 32 | the end */
    int32_t code;           /* of the lowest unit that failed, */
    int64_t failed;         /* where the chunks begin that it lies in, */
    charl_error_t error;    /* and its record */
    charl_launch_t launch;
    pthread_t thread;
} slot_t;

static slot_t slots[CHARL_MAX_THREADS];

static struct {
    charl_kernel_t fn;
    int64_t units, chunks;
    int32_t threads;
    int32_t spins;                /* how often an idle worker looks before it parks */
    _Alignas(128) word_t pending; /* slots posted and not done */
    word_t caller_parked;
} job;

static atomic_flag launching = ATOMIC_FLAG_INIT; /* held by the launch that uses slots and job */
static int32_t workers; /* slots 1..workers have a thread; guarded by `launching` */
static _Atomic int32_t thread_limit = 1;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int32_t cpus = 1;
#ifdef __linux__
enum { FEW_CPUS = 16 };
static int shunned = -1; /* the processor that workers keep off; guarded by `launching` */
#endif
static _Thread_local bool inside_launch;

/* ---- waiting ---- */

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#ifdef __linux__
/* Returns when the word may differ from value. */
static void wait_while(word_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(word_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

static void reset_waiting(void) {}
#else
static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wait_changed = PTHREAD_COND_INITIALIZER;

static void wait_while(word_t *word, uint32_t value) {
    pthread_mutex_lock(&wait_lock);
    if (atomic_load(word) == value) pthread_cond_wait(&wait_changed, &wait_lock);
    pthread_mutex_unlock(&wait_lock);
}

static void wake(word_t *word) {
    (void)word;
    pthread_mutex_lock(&wait_lock);
    pthread_cond_broadcast(&wait_changed);
    pthread_mutex_unlock(&wait_lock);
}

static void reset_waiting(void) {
    pthread_mutex_init(&wait_lock, NULL);
    pthread_cond_init(&wait_changed, NULL);
}
#endif

/* ---- floating-point environment ---- */

#if defined(__x86_64__) || defined(__i386__)
enum { DEFAULT_CONTROL = 0x1F80, STATUS_BITS = 0x3F }; /* MXCSR */

static inline uint32_t enter_default_fp(void) {
    uint32_t old = _mm_getcsr();
    if ((old & ~(uint32_t)STATUS_BITS) != DEFAULT_CONTROL) _mm_setcsr(DEFAULT_CONTROL);
    return old;
}

static inline void leave_default_fp(uint32_t old) {
    if ((old & ~(uint32_t)STATUS_BITS) != DEFAULT_CONTROL) _mm_setcsr(old);
}
#elif defined(__aarch64__)
static inline uint64_t enter_default_fp(void) {
    uint64_t old, zero = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    if (old) __asm__ volatile("msr fpcr, %0" ::"r"(zero));
    return old;
}

static inline void leave_default_fp(uint64_t old) {
    if (old) __asm__ volatile("msr fpcr, %0" ::"r"(old));
}
#else
static inline int enter_default_fp(void) { return 0; }

static inline void leave_default_fp(int old) { (void)old; }
#endif

/* The kernel with a default environment; launches from inside it run serially. */
static int32_t run(charl_kernel_t fn, charl_launch_t *launch, int64_t begin, int64_t end) {
    bool was_inside = inside_launch;
    inside_launch = true;
    __auto_type old = enter_default_fp();
    int32_t code = fn(launch, begin, end);
    leave_default_fp(old);
    inside_launch = was_inside;
    return code;
}

/* ---- shares ---- */

/* Where part t of `parts` even parts begins; the first count % parts of them are one longer. */
static int64_t part_start(int64_t count, int64_t parts, int64_t t) {
    int64_t longer = count % parts;
    return count / parts * t + (t < longer ? t : longer);
}

/* Half of what the share holds: the owner takes the first half, others the last. Backward, the
 * owner takes the last chunk. */
static bool take(slot_t *slot, bool own, uint64_t *begin, uint64_t *end) {
    uint64_t old = atomic_load(&slot->share), left;
    bool front = own != (slot->launch.backward != 0);
    do {
        uint64_t first = old >> 32, last = old & UINT32_MAX;
        if (first >= last) return false;
        uint64_t some = own && slot->launch.backward ? 1 : (last - first + 1) / 2;
        uint64_t cut = front ? first + some : last - some;
        *begin = front ? first : cut;
        *end = front ? cut : last;
        left = front ? cut << 32 | last : first << 32 | cut;
    } while (!atomic_compare_exchange_weak(&slot->share, &old, left));
    return true;
}

static void run_chunks(slot_t *slot, uint64_t first, uint64_t last) {
    int64_t begin = part_start(job.units, job.chunks, (int64_t)first);
    int64_t end = part_start(job.units, job.chunks, (int64_t)last);
    int32_t code = run(job.fn, &slot->launch, begin, end);
    if (code && (!slot->code || begin < slot->failed)) {
        slot->code = code;
        slot->failed = begin;
        slot->error = slot->launch.error;
    }
}

/* Thread t's own chunks, then those that others have not begun. After an error, too: the lowest
 * unit that fails is found whoever runs it. */
static void run_shares(int32_t t) {
    uint64_t begin, end;
    for (int32_t k = 0; k < job.threads; k++) {
        slot_t *owner = &slots[(t + k) % job.threads];
        while (take(owner, k == 0, &begin, &end)) run_chunks(&slots[t], begin, end);
    }
}

static bool claim(slot_t *slot) {
    uint32_t posted = POSTED;
    return atomic_compare_exchange_strong(&slot->word, &posted, IDLE);
}

/* Counts off a slot that is done. */
static void finish_slot(void) {
    if (atomic_fetch_sub(&job.pending, 1) == 1 && atomic_load(&job.caller_parked))
        wake(&job.pending);
}

/* ---- workers ---- */

/* Waits until the slot's word is not IDLE. The order (parked, then the word) pairs with post's
 * (word, then parked). */
static uint32_t await_word(slot_t *slot, int32_t turns) {
    uint32_t word;
    while (turns-- > 0) {
        if ((word = atomic_load_explicit(&slot->word, memory_order_acquire)) != IDLE) return word;
        relax();
    }
    atomic_store(&slot->parked, 1);
    while ((word = atomic_load(&slot->word)) == IDLE) wait_while(&slot->word, IDLE);
    atomic_store(&slot->parked, 0);
    return word;
}

static void post(slot_t *slot, uint32_t word) {
    atomic_store(&slot->word, word);
    if (atomic_load(&slot->parked)) wake(&slot->word);
}

static void *work(void *argument) {
    slot_t *slot = argument;
    int32_t t = (int32_t)(slot - slots), turns = 0;
    while (await_word(slot, turns) != QUIT) {
        if (!claim(slot)) continue;
        turns = job.spins;
        run_shares(t);
        finish_slot();
    }
    return NULL;
}

/* ---- where workers run ---- */

/* Keeps workers off the caller's processor where all of few are wanted. Beside a program that
 * spins on the other one (an idle BLAS thread does, for 30 ms), the system puts a worker that
 * wakes on the caller's every other time: a matrix product of 1024 took 22 ms, now 16. */
static void keep_off_caller(int32_t threads) {
#ifdef __linux__
    int here = sched_getcpu();
    if (threads != cpus || cpus > FEW_CPUS || here == shunned || here < 0) return;
    cpu_set_t others; /* the caller's own, which may have been narrowed since the workers started */
    if (sched_getaffinity(0, sizeof others, &others)) return;
    CPU_CLR((size_t)here, &others);
    if (CPU_COUNT(&others) == 0) return;
    for (int32_t t = 1; t <= workers; t++)
        pthread_setaffinity_np(slots[t].thread, sizeof others, &others);
    shunned = here;
#else
    (void)threads;
#endif
}

static void place_anew(void) {
#ifdef __linux__
    shunned = -1;
#endif
}

/* Faults are delivered where they happen; all other signals belong to the program's own threads. */
static void block_signals(sigset_t *old) {
    sigset_t blocked;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &blocked, old);
}

/* Makes workers 1..wanted as far as the system allows. Returns how many of them there are. */
static int32_t start_workers(int32_t wanted) {
    if (workers >= wanted) return wanted;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return workers;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigset_t old;
    block_signals(&old);
    while (workers < wanted) {
        slot_t *slot = &slots[workers + 1];
        if (pthread_create(&slot->thread, &attributes, work, slot)) break;
        workers++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    place_anew();
    return workers;
}

/* At exit. Keeps `launching`, so that whoever still launches runs serially; a launch that is on
 * its way is left alone, and ends with the process. */
static void stop_workers(void) {
    if (atomic_flag_test_and_set(&launching)) return;
    for (int32_t t = 1; t <= workers; t++) post(&slots[t], QUIT);
    for (int32_t t = 1; t <= workers; t++) pthread_join(slots[t].thread, NULL);
    workers = 0;
}

/* In a forked child: no worker exists, and no launch of another thread will end. */
static void forget_workers(void) {
    for (int32_t t = 1; t < CHARL_MAX_THREADS; t++) {
        atomic_store(&slots[t].word, IDLE);
        atomic_store(&slots[t].parked, 0);
    }
    atomic_store(&job.pending, 0);
    atomic_store(&job.caller_parked, 0);
    workers = 0;
    place_anew();
    reset_waiting();
    atomic_flag_clear(&launching);
}

static void start_up(void) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) online = CPU_COUNT(&allowed);
#endif
    cpus = online > 1 ? (int32_t)online : 1;
    pthread_atfork(NULL, NULL, forget_workers);
    atexit(stop_workers);
}

/* ---- launches ---- */

static int32_t run_serially(charl_kernel_t fn, charl_launch_t *launch, int64_t units) {
    charl_launch_t own = *launch;
    own.thread = 0;
    own.nthreads = 1;
    int32_t code = run(fn, &own, 0, units);
    if (code) launch->error = own.error;
    return code;
}

static void await_workers(int32_t turns) {
    while (turns-- > 0) {
        if (!atomic_load_explicit(&job.pending, memory_order_acquire)) return;
        relax();
    }
    atomic_store(&job.caller_parked, 1);
    uint32_t pending;
    while ((pending = atomic_load(&job.pending)) != 0) wait_while(&job.pending, pending);
    atomic_store(&job.caller_parked, 0);
}

static int32_t run_together(charl_kernel_t fn, charl_launch_t *launch, int64_t units,
                            int32_t threads) {
    job.fn = fn;
    job.units = units;
    job.chunks = units < CHUNKS * (int64_t)threads ? units : CHUNKS * (int64_t)threads;
    job.threads = threads;
    job.spins = threads <= cpus ? WORKER_SPINS : 0;
    atomic_store(&job.pending, (uint32_t)threads - 1);
    for (int32_t t = 0; t < threads; t++) {
        slot_t *slot = &slots[t];
        slot->code = 0;
        slot->launch = *launch;
        slot->launch.thread = t;
        slot->launch.nthreads = threads;
        if (launch->scratch) slot->launch.scratch += t * launch->scratch_bytes;
        uint64_t first = (uint64_t)part_start(job.chunks, threads, t);
        uint64_t end = (uint64_t)part_start(job.chunks, threads, t + 1);
        atomic_store(&slot->share, first << 32 | end);
    }
    keep_off_caller(threads);
    for (int32_t t = 1; t < threads; t++) post(&slots[t], POSTED);
    run_shares(0);
    for (int32_t t = 1; t < threads; t++)
        if (claim(&slots[t])) finish_slot();
    await_workers(threads <= cpus ? CALLER_SPINS : 0);
    slot_t *lowest = NULL;
    for (int32_t t = 0; t < threads; t++)
        if (slots[t].code && (!lowest || slots[t].failed < lowest->failed)) lowest = &slots[t];
    if (!lowest) return CHARL_OK;
    launch->error = lowest->error;
    return lowest->code;
}

int32_t charl_parallel(charl_kernel_t fn, charl_launch_t *launch, int64_t units,
                       int32_t max_threads) {
    if (units <= 0) return CHARL_OK;
    int32_t threads = charl_num_threads();
    if (threads > max_threads) threads = max_threads;
    if (threads > units) threads = (int32_t)units;
    if (threads <= 1 || inside_launch) return run_serially(fn, launch, units);
    pthread_once(&once, start_up);
    if (atomic_flag_test_and_set(&launching)) return run_serially(fn, launch, units);
    threads = start_workers(threads - 1) + 1;
    int32_t code =
        threads > 1 ? run_together(fn, launch, units, threads) : run_serially(fn, launch, units);
    atomic_flag_clear(&launching);
    return code;
}

int32_t charl_num_threads(void) {
    return atomic_load_explicit(&thread_limit, memory_order_relaxed);
}

int32_t charl_set_num_threads(int32_t n) {
    if (n < 1 || n > CHARL_MAX_THREADS) return -1;
    atomic_store_explicit(&thread_limit, n, memory_order_relaxed);
    return 0;
}
