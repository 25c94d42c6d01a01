/* stress.c: drives csrc/pool.c and csrc/threads.c without Python. `stress NAME` runs one case,
 * `stress` all of them. Exit status 0: held. Built by test_stress.py, plain and with the
 * sanitizers. */
#define _GNU_SOURCE
#include "pool.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
#include <xmmintrin.h>
#endif

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "stress.c:%d: %s\n", __LINE__, #condition);                            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum { THREADS = 8, ROUNDS = 20000, SHARED = 64 };
#define MIB ((size_t)1 << 20)

static charl_pool_stats_t stats(void) {
    charl_pool_stats_t s;
    charl_pool_stats(&s);
    CHECK(s.bad_frees == 0);
    CHECK(s.hits <= s.allocations);
    return s;
}

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Mostly small, some medium, few large; boundaries of classes often. */
static size_t random_size(uint64_t *state) {
    uint64_t r = next_random(state);
    size_t most = r % 100 < 90 ? 2048 : r % 100 < 98 ? 200000 : 3 * MIB;
    size_t size = next_random(state) % most;
    return r & 1024 ? (size + 63) / 64 * 64 : size;
}

/* A block is marked at both ends and in the middle with its address, so that an overlap shows. */
static void mark(unsigned char *block, size_t size) {
    CHECK((uintptr_t)block % CHARL_POOL_ALIGN == 0);
    if (!size) return;
    unsigned char value = (unsigned char)((uintptr_t)block >> 6) ^ (unsigned char)size;
    block[0] = block[size / 2] = block[size - 1] = value;
}

static void check_mark(const unsigned char *block, size_t size) {
    if (!size) return;
    unsigned char value = (unsigned char)((uintptr_t)block >> 6) ^ (unsigned char)size;
    CHECK(block[0] == value && block[size / 2] == value && block[size - 1] == value);
}

/* ---- pool ---- */

static void pool_sizes(void) {
    size_t before = stats().in_use;
    for (size_t size = 0; size < 70000; size = size < 4200 ? size + 1 : size + 509) {
        unsigned char *block = charl_pool_alloc(size);
        CHECK(block);
        memset(block, 0x5A, size);
        CHECK(size == 0 || stats().in_use - before >= size);
        CHECK(stats().in_use - before <= size + size / 4 + 64);
        charl_pool_free(block, size);
        CHECK(stats().in_use == before);
    }
    for (size_t size = 64; size <= 64 * MIB; size *= 2)
        for (int shift = -1; shift <= 1; shift++) {
            size_t bytes = size + (size_t)shift;
            unsigned char *a = charl_pool_alloc(bytes), *b = charl_pool_alloc(bytes);
            CHECK(a && b && (a + bytes <= b || b + bytes <= a));
            mark(a, bytes);
            mark(b, bytes);
            check_mark(a, bytes);
            charl_pool_free(a, bytes);
            charl_pool_free(b, bytes);
        }
    CHECK(stats().in_use == before);
    CHECK(!charl_pool_alloc(SIZE_MAX) && !charl_pool_alloc((size_t)1 << 62));
    CHECK(charl_pool_alloc(0) == charl_pool_alloc(0));
    memset(charl_pool_alloc(0), 1, 64);
    charl_pool_free(charl_pool_alloc(0), 0);
    charl_pool_free(NULL, 100);
}

/* Large blocks come back for sizes near their own, and not for small ones. */
static void pool_reuse(void) {
    charl_pool_trim();
    void *block = charl_pool_alloc(20 * MIB);
    memset(block, 1, 20 * MIB);
    charl_pool_free(block, 20 * MIB);
    uint64_t hits = stats().hits;
    CHECK(charl_pool_alloc(19 * MIB) == block);
    CHECK(stats().hits == hits + 1);
    charl_pool_free(block, 19 * MIB);
    void *other = charl_pool_alloc(5 * MIB);
    CHECK(other != block);
    charl_pool_free(other, 5 * MIB);
    CHECK(stats().cached >= 25 * MIB);
    CHECK(charl_pool_trim() >= 25 * MIB);
    CHECK(stats().cached < 25 * MIB);
}

static void pool_trim(void) {
    enum { COUNT = 800 };
    static void *blocks[COUNT];
    charl_pool_trim();
    charl_pool_stats_t before = stats();
    for (size_t size = 100; size < 400000; size *= 5) {
        for (int k = 0; k < COUNT; k++) {
            CHECK(blocks[k] = charl_pool_alloc(size));
            mark(blocks[k], size);
        }
        for (int k = 1; k < COUNT; k += 2) charl_pool_free(blocks[k], size);
        charl_pool_trim(); /* every other block is live: little can go */
        for (int k = 0; k < COUNT; k += 2) check_mark(blocks[k], size);
        for (int k = 1; k < COUNT; k += 2) {
            CHECK(blocks[k] = charl_pool_alloc(size));
            mark(blocks[k], size);
        }
        for (int k = 0; k < COUNT; k++) {
            check_mark(blocks[k], size);
            charl_pool_free(blocks[k], size);
        }
        CHECK(charl_pool_trim() >= COUNT * size / 2);
        CHECK(stats().in_use == before.in_use && stats().cached <= before.cached);
    }
}

static void pool_limit(void) {
    charl_pool_trim();
    size_t used = stats().in_use;
    charl_pool_set_limit(used + 64 * MIB);
    void *a = charl_pool_alloc(40 * MIB);
    CHECK(a && !charl_pool_alloc(30 * MIB));
    void *b = charl_pool_alloc(20 * MIB);
    CHECK(b);
    charl_pool_free(a, 40 * MIB); /* stays cached until it is in the way */
    void *c = charl_pool_alloc(30 * MIB);
    CHECK(c);
    CHECK(stats().in_use + stats().cached <= used + 66 * MIB);
    charl_pool_free(b, 20 * MIB);
    charl_pool_free(c, 30 * MIB);
    enum { COUNT = 1 << 18 };
    static void *blocks[COUNT];
    int got = 0; /* small blocks, to the last one that fits */
    while (got < COUNT && (blocks[got] = charl_pool_alloc(1000))) got++;
    CHECK(got == 64 * MIB / 1024);
    charl_pool_free(blocks[--got], 1000);
    CHECK(blocks[got] = charl_pool_alloc(500));
    CHECK(!charl_pool_alloc(600));
    charl_pool_free(blocks[got], 500);
    while (got) charl_pool_free(blocks[--got], 1000);
    CHECK(stats().in_use == used && stats().limit == used + 64 * MIB);
    charl_pool_set_limit(0);
    CHECK(a = charl_pool_alloc(100 * MIB));
    size_t sizes[2];
    CHECK(charl_pool_largest(sizes, 2) == 1 && sizes[0] == 100 * MIB);
    charl_pool_free(a, 100 * MIB);
}

/* Under a limit, free memory of one kind makes room for another. */
static void pool_room(void) {
    static const size_t sizes[6] = {100, 5000, 100000, 1500000, 3000000, 20000000};
    static void *blocks[1 << 20];
    charl_pool_trim();
    size_t used = stats().in_use, limit = used + 64 * MIB;
    charl_pool_set_limit(limit);
    for (int round = 0; round < 12; round++) {
        size_t size = sizes[round * 5 % 6];
        int got = 0;
        while ((blocks[got] = charl_pool_alloc(size))) mark(blocks[got++], size);
        CHECK((size_t)got * (size + size / 4 + 256 * 1024 * (size > 2 * MIB)) >= 40 * MIB);
        CHECK(stats().in_use <= limit && stats().in_use + stats().cached <= limit + 2 * MIB);
        while (got) {
            check_mark(blocks[--got], size);
            charl_pool_free(blocks[got], size);
        }
        CHECK(stats().in_use == used);
    }
    charl_pool_set_limit(0);
}

static void pool_largest(void) {
    size_t asked[7] = {3, 9, 4, 27, 5, 26, 6}, sizes[4];
    void *blocks[7];
    for (int k = 0; k < 7; k++) CHECK(blocks[k] = charl_pool_alloc(asked[k] * MIB));
    CHECK(charl_pool_largest(sizes, 4) == 7);
    CHECK(sizes[0] == 27 * MIB && sizes[1] == 26 * MIB && sizes[2] == 9 * MIB);
    CHECK(sizes[3] == 6 * MIB);
    CHECK(charl_pool_largest(NULL, 0) == 7);
    for (int k = 0; k < 7; k++) charl_pool_free(blocks[k], asked[k] * MIB);
    CHECK(charl_pool_largest(sizes, 4) == 0);
}

static void pool_failures(void) {
    static const size_t sizes[6] = {10, 1000, 30000, 100000, 3000000, 64};
    void *blocks[6];
    for (int64_t at = 0; at < 6; at++) {
        size_t used = stats().in_use;
        uint64_t failures = stats().failures;
        charl_pool_fail_after(at, 1);
        for (int k = 0; k < 6; k++) {
            blocks[k] = charl_pool_alloc(sizes[k]);
            CHECK((blocks[k] == NULL) == (k == at));
        }
        CHECK(stats().failures == failures + 1);
        charl_pool_fail_after(at, -1);
        for (int k = 0; k < 6; k++) charl_pool_free(blocks[k], sizes[k]);
        for (int k = 0; k < 6; k++) {
            blocks[k] = charl_pool_alloc(sizes[k]);
            CHECK((blocks[k] == NULL) == (k >= at));
        }
        charl_pool_fail_after(-1, 0);
        for (int k = 0; k < 6; k++) charl_pool_free(blocks[k], sizes[k]);
        CHECK(stats().in_use == used);
    }
}

typedef struct shared_t {
    pthread_mutex_t lock;
    unsigned char *block[SHARED];
    size_t size[SHARED];
    _Atomic bool stop;
} shared_t;

static shared_t shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Allocates, marks, swaps with what some other thread left, checks that and frees it. */
static void *pool_worker(void *argument) {
    uint64_t state = (uintptr_t)argument;
    for (int round = 0; round < ROUNDS && !atomic_load(&shared.stop); round++) {
        size_t size = random_size(&state);
        unsigned char *block = charl_pool_alloc(size);
        CHECK(block);
        mark(block, size);
        size_t at = next_random(&state) % SHARED;
        pthread_mutex_lock(&shared.lock);
        unsigned char *old = shared.block[at];
        size_t old_size = shared.size[at];
        shared.block[at] = block;
        shared.size[at] = size;
        pthread_mutex_unlock(&shared.lock);
        if (old) check_mark(old, old_size);
        charl_pool_free(old, old_size);
        if (round % 4096 == 0) charl_pool_trim();
        if (round % 512 == 0) (void)stats();
    }
    return NULL;
}

static void free_shared(void) {
    for (int k = 0; k < SHARED; k++) {
        if (shared.block[k]) check_mark(shared.block[k], shared.size[k]);
        charl_pool_free(shared.block[k], shared.size[k]);
        shared.block[k] = NULL;
    }
}

static void pool_threads(void) {
    pthread_t threads[THREADS];
    size_t used = stats().in_use;
    for (int rerun = 0; rerun < 3; rerun++) {
        for (uintptr_t k = 0; k < THREADS; k++)
            CHECK(!pthread_create(&threads[k], NULL, pool_worker, (void *)(k + 100)));
        for (int k = 0; k < THREADS; k++) CHECK(!pthread_join(threads[k], NULL));
    }
    free_shared();
    CHECK(stats().in_use == used);
    charl_pool_trim();
    CHECK(stats().cached < 2 * MIB);
}

static void expect_child(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Forks beside threads that allocate; the child does everything again. */
static void pool_fork(void) {
    pthread_t threads[THREADS];
    size_t own_size = 5000;
    unsigned char *own = charl_pool_alloc(own_size);
    mark(own, own_size);
    atomic_store(&shared.stop, false);
    for (uintptr_t k = 0; k < 3; k++)
        CHECK(!pthread_create(&threads[k], NULL, pool_worker, (void *)(k + 7)));
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        if (child == 0) {
            uint64_t state = (uint64_t)round;
            check_mark(own, own_size);
            charl_pool_free(own, own_size);
            for (int k = 0; k < 2000; k++) {
                size_t size = random_size(&state);
                unsigned char *block = charl_pool_alloc(size);
                CHECK(block);
                mark(block, size);
                check_mark(block, size);
                charl_pool_free(block, size);
            }
            charl_pool_trim();
            (void)stats();
            pthread_t thread;
            pthread_mutex_init(&shared.lock, NULL);
            memset(shared.block, 0,
                   sizeof shared.block); /* a torn entry is the test's, not the pool's */
            CHECK(!pthread_create(&thread, NULL, pool_worker, (void *)3));
            CHECK(!pthread_join(thread, NULL));
            _exit(0);
        }
        expect_child(child);
    }
    atomic_store(&shared.stop, true);
    for (int k = 0; k < 3; k++) CHECK(!pthread_join(threads[k], NULL));
    atomic_store(&shared.stop, false);
    free_shared();
    charl_pool_free(own, own_size);
}

/* ---- threads ---- */

enum { UNITS = 1000 };

/* params[0]: units to expect; buffers[0]: a count a unit; buffers[1]: the thread a unit ran as. */
static int32_t count_units(charl_launch_t *launch, int64_t begin, int64_t end) {
    int32_t *counts = launch->buffers[0], *threads = launch->buffers[1];
    CHECK(0 <= begin && begin < end && end <= launch->params[0]);
    CHECK(0 <= launch->thread && launch->thread < launch->nthreads);
    if (launch->scratch) memset(launch->scratch, launch->thread, (size_t)launch->scratch_bytes);
    for (int64_t unit = begin; unit < end; unit++) {
        counts[unit]++;
        threads[unit] = launch->thread;
    }
    if (launch->scratch)
        for (int64_t k = 0; k < launch->scratch_bytes; k++)
            CHECK(launch->scratch[k] == (char)launch->thread);
    return 0;
}

static void launch_counting(int32_t max_threads, int64_t units, int32_t backward) {
    int32_t counts[UNITS] = {0}, threads[UNITS];
    _Alignas(64) char scratch[16 * 128];
    void *buffers[2] = {counts, threads};
    charl_launch_t launch = {.buffers = buffers,
                             .params = &units,
                             .scratch = scratch,
                             .scratch_bytes = 128,
                             .backward = backward};
    CHECK(charl_parallel(count_units, &launch, units, max_threads) == 0);
    int32_t most = max_threads < 1 ? 1 : max_threads;
    for (int64_t unit = 0; unit < units; unit++) CHECK(counts[unit] == 1 && threads[unit] < most);
}

static void threads_counts(void) {
    CHECK(charl_set_num_threads(0) == -1 && charl_set_num_threads(CHARL_MAX_THREADS + 1) == -1);
    for (int32_t n = 1; n <= 8; n++) {
        CHECK(charl_set_num_threads(n) == 0 && charl_num_threads() == n);
        for (int64_t units = 0; units <= 40; units++) launch_counting(16, units, units % 2);
        for (int round = 0; round < 300; round++) launch_counting(16, UNITS - round % 3, round % 2);
        for (int32_t most = -1; most <= 10; most++) launch_counting(most, UNITS, 0);
    }
}

static int32_t fail_from(charl_launch_t *launch, int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; unit++)
        if (unit >= launch->params[0]) {
            launch->error = (charl_error_t){.site = 7, .index = unit, .extent = end - begin};
            return CHARL_EINDEX;
        }
    return 0;
}

/* The error is that of the lowest unit, however many threads there are. */
static void threads_errors(void) {
    for (int32_t n = 1; n <= 8; n++) {
        charl_set_num_threads(n);
        for (int64_t first = 0; first < 100; first += 9) {
            charl_launch_t launch = {.params = &first};
            CHECK(charl_parallel(fail_from, &launch, 100, 8) == CHARL_EINDEX);
            CHECK(launch.error.site == 7 && launch.error.index == first && launch.thread == 0);
        }
        int64_t none = 100;
        charl_launch_t launch = {.params = &none};
        CHECK(charl_parallel(fail_from, &launch, 100, 8) == 0 && launch.error.site == 0);
    }
}

static int32_t launch_again(charl_launch_t *launch, int64_t begin, int64_t end) {
    (void)launch;
    for (int64_t unit = begin; unit < end; unit++) {
        int32_t counts[50] = {0}, threads[50];
        int64_t units = 50;
        void *buffers[2] = {counts, threads};
        charl_launch_t inner = {.buffers = buffers, .params = &units};
        CHECK(charl_parallel(count_units, &inner, units, 8) == 0);
        for (int k = 0; k < 50; k++) CHECK(counts[k] == 1 && threads[k] == 0);
    }
    return 0;
}

static void threads_nested(void) {
    for (int32_t n = 1; n <= 8; n++) {
        charl_set_num_threads(n);
        charl_launch_t launch = {0};
        for (int round = 0; round < 50; round++)
            CHECK(charl_parallel(launch_again, &launch, 20, 8) == 0);
    }
}

static void *launch_much(void *argument) {
    for (int round = 0; round < 2000; round++) {
        if (argument) charl_set_num_threads(1 + round % 8);
        launch_counting(8, 1 + round % 200, round % 2);
    }
    return NULL;
}

static void threads_callers(void) {
    pthread_t threads[4];
    charl_set_num_threads(4);
    for (int k = 0; k < 4; k++)
        CHECK(!pthread_create(&threads[k], NULL, launch_much, k == 3 ? &shared : NULL));
    for (int k = 0; k < 4; k++) CHECK(!pthread_join(threads[k], NULL));
}

static int32_t check_fp(charl_launch_t *launch, int64_t begin, int64_t end) {
    (void)launch;
    volatile double tiny = 4.9406564584124654e-324, one = 1.0, third;
    for (int64_t unit = begin; unit < end; unit++) {
        CHECK(tiny * 1.0 > 0);
        third = one / 3.0;
        CHECK(third == 0.33333333333333331);
    }
    return 0;
}

static void threads_fp(void) {
#ifdef __x86_64__
    uint32_t odd = 0xFFC0; /* flush to zero, denormals are zero, round to zero, all masked */
    for (int32_t n = 1; n <= 4; n++) {
        charl_set_num_threads(n);
        charl_launch_t launch = {0};
        uint32_t old = _mm_getcsr();
        _mm_setcsr(odd);
        int32_t code = charl_parallel(check_fp, &launch, 100, 4);
        uint32_t after = _mm_getcsr();
        _mm_setcsr(old);
        CHECK(code == 0 && (after & ~0x3Fu) == odd);
    }
#endif
    charl_set_num_threads(4);
    charl_launch_t launch = {0};
    CHECK(charl_parallel(check_fp, &launch, 100, 4) == 0);
}

/* Forks with workers idle, then beside another thread's launches; the child launches on its own
 * workers. */
static void threads_fork(void) {
    pthread_t thread;
    charl_set_num_threads(4);
    launch_counting(4, UNITS, 0);
    for (int round = 0; round < 20; round++) {
        if (round == 5) CHECK(!pthread_create(&thread, NULL, launch_much, NULL));
        pid_t child = fork();
        if (child == 0) {
            for (int k = 0; k < 100; k++) launch_counting(4, UNITS, 0);
            if (round % 2) exit(0); /* through the exit handlers */
            _exit(0);
        }
        expect_child(child);
        launch_counting(4, UNITS, 0);
    }
    CHECK(!pthread_join(thread, NULL));
}

static void *launch_forever(void *argument) {
    for (;;) launch_much(argument);
    return NULL;
}

/* A process ends while a thread of it launches. */
static void threads_exit(void) {
    charl_set_num_threads(4);
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            CHECK(!pthread_create(&thread, NULL, launch_forever, NULL));
            for (int k = 0; k < round * 50; k++) launch_counting(4, UNITS, 0);
            exit(0);
        }
        expect_child(child);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
    bool forks;
} cases[] = {
    {"pool_sizes", pool_sizes, false},
    {"pool_reuse", pool_reuse, false},
    {"pool_trim", pool_trim, false},
    {"pool_limit", pool_limit, false},
    {"pool_room", pool_room, false},
    {"pool_largest", pool_largest, false},
    {"pool_failures", pool_failures, false},
    {"pool_threads", pool_threads, false},
    {"pool_fork", pool_fork, true},
    {"threads_counts", threads_counts, false},
    {"threads_errors", threads_errors, false},
    {"threads_nested", threads_nested, false},
    {"threads_callers", threads_callers, false},
    {"threads_fp", threads_fp, false},
    {"threads_fork", threads_fork, true},
    {"threads_exit", threads_exit, true},
};

int main(int argc, char **argv) {
    bool found = false;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        if (argc > 1 && strcmp(argv[1], cases[k].name) != 0) continue;
        found = true;
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
        if (cases[k].forks)
            continue; /* a sanitizer's own locks do not survive a fork beside threads */
#endif
        cases[k].run();
        printf("%s held\n", cases[k].name);
        fflush(stdout);
    }
    return found ? 0 : 2;
}
