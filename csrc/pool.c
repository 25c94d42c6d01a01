/* pool.c: blocks in size classes, a cache in every thread, one store behind them.
 *
 *   up to 32 KiB   classes, four a doubling; free lists in each thread, filled in batches
 *   up to 2 MiB    the same classes, straight from the store's free lists
 *   above          an own mapping each: pool_large.c
 *
 * The store is what all threads share, under one lock: `classes`, `charl_store`, and what
 * pool_large.c holds. Its free lists are filled by carving slabs. A block belongs to its class,
 * never to a thread, so a thread frees into its own cache whatever the origin. `handed` counts
 * the bytes that left the store, to users and to threads' caches. Readers of another thread's
 * cache (statistics) see only its counters, which are atomic.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "pool_store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define SMALL_MAX (32 * CHARL_KIB)
#define SMALL_SLAB (272 * CHARL_KIB)
#define MEDIUM_SLAB (8 * CHARL_MIB + 64 * CHARL_KIB)

enum { VECTOR = 256 }; /* the farthest that a masked access reaches past a block's end */
enum { SMALL_CLASSES = 32, CLASSES = 56 };

typedef struct block_t {
    struct block_t *next;
} block_t;

/* A run of equal blocks from the system. */
typedef struct slab_t {
    struct slab_t *next;
    char *start;
    size_t bytes;
    size_t carved; /* blocks made so far, from the start on */
    size_t idle;   /* trim's count of carved blocks that are on the free list */
} slab_t;

/* One class in the store. Only the first slab has room to carve. */
typedef struct class_t {
    block_t *free;
    slab_t *slabs;
} class_t;

typedef struct bin_t {
    block_t *head;
    _Atomic uint32_t count;
    uint32_t room;
} bin_t;

/* A thread's cache. Only its thread writes it. */
typedef struct cache_t {
    bin_t bins[SMALL_CLASSES];
    _Atomic uint64_t allocations;
    uint64_t epoch;
    struct cache_t *prev, *next;
} cache_t;

static class_t classes[CLASSES];
static cache_t *caches;
static uint64_t central_allocations, failed_allocations; /* those not counted by a cache */
static int64_t successes_left, failures_left;            /* of the fault injection */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;
static bool has_exit_key;
static _Atomic bool injecting;
static _Atomic uint64_t trim_epoch;
static _Thread_local cache_t *own_cache;
static _Thread_local bool thread_is_ending;
static _Alignas(CHARL_POOL_ALIGN) char empty_block[CHARL_POOL_ALIGN];

static void take_lock(void) { pthread_mutex_lock(&lock); }

static void leave(void) { pthread_mutex_unlock(&lock); }

/* ---- sizes ---- */

static inline size_t class_bytes(unsigned k) {
    return k < 8 ? 64 * ((size_t)k + 1) : (size_t)(128 * (5 + (k - 8) % 4)) << ((k - 8) / 4);
}

/* From block to block in a slab. Those of whole pages are skewed: pool_large.c says why. */
static inline size_t class_spacing(unsigned k) {
    size_t bytes = class_bytes(k);
    return k >= SMALL_CLASSES ? bytes + 1088 : bytes >= 4096 ? bytes + 64 : bytes;
}

static inline uint64_t peek(const _Atomic uint64_t *x) {
    return atomic_load_explicit(x, memory_order_relaxed);
}

static inline uint32_t count_of(const bin_t *bin) {
    return atomic_load_explicit(&bin->count, memory_order_relaxed);
}

static inline void set_count(bin_t *bin, uint32_t count) {
    atomic_store_explicit(&bin->count, count, memory_order_relaxed);
}

/* ---- classes; the lock is held ---- */

/* A new slab in front of class k's, or NULL. */
static slab_t *add_slab(unsigned k) {
    slab_t *slab = malloc(sizeof *slab);
    if (!slab) return NULL;
    slab->bytes = k < SMALL_CLASSES ? SMALL_SLAB : MEDIUM_SLAB;
    slab->start = charl_system_map(slab->bytes);
    if (!slab->start && charl_large_shrink(0)) slab->start = charl_system_map(slab->bytes);
    if (!slab->start) {
        free(slab);
        return NULL;
    }
    slab->carved = 0;
    slab->next = classes[k].slabs;
    classes[k].slabs = slab;
    charl_store.misses++;
    /* A masked vector access past a block's end into a page never written costs 500 ns each time, on x86. */
    for (size_t at = 0; k < SMALL_CLASSES && at < slab->bytes; at += 4096) slab->start[at] = 0;
    CHARL_POISON(slab->start, slab->bytes);
    return slab;
}

/* The next block of a slab, or NULL where it has no room. */
static block_t *carve(slab_t *slab, unsigned k) {
    if (!slab ||
        (slab->carved + 1) * class_spacing(k) + (k < SMALL_CLASSES ? VECTOR : 0) > slab->bytes)
        return NULL;
    block_t *block = (block_t *)(slab->start + slab->carved++ * class_spacing(k));
    charl_store.held += class_bytes(k);
    CHARL_UNPOISON(block, sizeof *block);
    return block;
}

/* Up to `want` linked blocks of class k, fewer where more would pass the limit or need a slab. */
static block_t *take_blocks(unsigned k, uint32_t want, uint32_t *got) {
    class_t *class = &classes[k];
    size_t size = class_bytes(k);
    block_t *list = NULL;
    if (!class->free) charl_store_make_room(size * want);
    for (*got = 0; *got < want && charl_store_fits(size * (*got + 1)); ++*got) {
        block_t *block = class->free;
        if (block)
            class->free = block->next;
        else
            block = carve(class->slabs, k);
        if (!block && !list) block = carve(add_slab(k), k);
        if (!block) break;
        block->next = list;
        list = block;
    }
    if (list) charl_store_hand_out(size * *got);
    return list;
}

static void put_block(unsigned k, block_t *block) {
    block->next = classes[k].free;
    classes[k].free = block;
    charl_store.handed -= class_bytes(k);
}

static int by_start(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)(*(slab_t *const *)a)->start,
              y = (uintptr_t)(*(slab_t *const *)b)->start;
    return (x > y) - (x < y);
}

static slab_t *slab_of(slab_t **slabs, size_t count, const block_t *block) {
    size_t low = 0, high = count; /* the last slab that starts at or before the block */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)slabs[middle]->start <= (uintptr_t)block)
            low = middle;
        else
            high = middle;
    }
    return slabs[low];
}

/* Unmaps the slabs of class k whose every block is on the free list. */
static size_t trim_class(unsigned k) {
    class_t *class = &classes[k];
    size_t count = 0, at = 0, freed = 0;
    for (slab_t *slab = class->slabs; slab; slab = slab->next) count++;
    slab_t **slabs = count ? malloc(count * sizeof *slabs) : NULL;
    if (!slabs) return 0;
    for (slab_t *slab = class->slabs; slab; slab = slab->next) {
        slab->idle = 0;
        slabs[at++] = slab;
    }
    qsort(slabs, count, sizeof *slabs, by_start);
    for (block_t *block = class->free; block; block = block->next)
        slab_of(slabs, count, block)->idle++;
    for (block_t **link = &class->free; *link;) {
        slab_t *slab = slab_of(slabs, count, *link);
        if (slab->idle == slab->carved)
            *link = (*link)->next;
        else
            link = &(*link)->next;
    }
    free(slabs);
    for (slab_t **link = &class->slabs; *link;) {
        slab_t *slab = *link;
        if (slab->idle < slab->carved) {
            link = &slab->next;
            continue;
        }
        *link = slab->next;
        charl_store.held -= slab->carved * class_bytes(k);
        freed += slab->bytes;
        charl_system_unmap(slab->start, slab->bytes);
        free(slab);
    }
    return freed;
}

static size_t trim_classes(void) {
    size_t freed = 0;
    for (unsigned k = 0; k < CLASSES; k++) freed += trim_class(k);
    return freed;
}

/* First cached large blocks go, then idle slabs. Looking for those walks all free blocks, so it
 * waits until 1 MiB more is free than the last look left. */
void charl_store_make_room(size_t bytes) {
    static size_t left;
    const charl_store_t *s = &charl_store;
    if (!s->limit || s->held + bytes <= s->limit) return;
    size_t over = s->held + bytes - s->limit, cached = charl_large_cached();
    charl_large_shrink(cached > over ? cached - over : 0);
    size_t idle = s->held - s->handed - charl_large_cached();
    if (idle < left) left = idle;
    if (s->held + bytes <= s->limit || idle < left + CHARL_MIB) return;
    trim_classes();
    left = s->held - s->handed - charl_large_cached();
}

/* ---- threads' caches ---- */

/* Gives all but `keep` of a bin's blocks to the store. The lock is held. */
static void flush_bin(bin_t *bin, unsigned k, uint32_t keep) {
    uint32_t count = count_of(bin);
    while (count > keep) {
        block_t *block = bin->head;
        bin->head = block->next;
        set_count(bin, --count);
        put_block(k, block);
    }
}

static void flush_cache(cache_t *cache) {
    for (unsigned k = 0; k < SMALL_CLASSES; k++) flush_bin(&cache->bins[k], k, 0);
    cache->epoch = peek(&trim_epoch);
}

static void unlink_cache(cache_t *cache) {
    *(cache->prev ? &cache->prev->next : &caches) = cache->next;
    if (cache->next) cache->next->prev = cache->prev;
    central_allocations += peek(&cache->allocations);
    free(cache);
}

static void end_thread(void *cache) {
    take_lock();
    flush_cache(cache);
    unlink_cache(cache);
    leave();
    own_cache = NULL;
    thread_is_ending = true;
}

/* Only the forking thread goes on. Another thread's cache may have been caught half-way through
 * a step: its blocks are given up, which is what happens to everything else that thread held. */
static void after_fork(void) {
    for (cache_t *cache = caches, *next; cache; cache = next) {
        next = cache->next;
        if (cache == own_cache) continue;
        for (unsigned k = 0; k < SMALL_CLASSES; k++) {
            size_t bytes = count_of(&cache->bins[k]) * class_bytes(k);
            charl_store.handed -= bytes;
            charl_store.held -= bytes;
        }
        unlink_cache(cache);
    }
    leave();
}

static void start_pool(void) {
    has_exit_key = pthread_key_create(&exit_key, end_thread) == 0;
    pthread_atfork(take_lock, leave, after_fork);
}

static void enter(void) {
    pthread_once(&once, start_pool);
    take_lock();
}

/* The calling thread's cache, made if there is none yet; NULL where there can be none. */
static cache_t *get_cache(void) {
    if (own_cache || thread_is_ending) return own_cache;
    pthread_once(&once, start_pool);
    if (!has_exit_key) return NULL;
    cache_t *cache = aligned_alloc(64, (sizeof *cache + 63) / 64 * 64);
    if (!cache) return NULL;
    memset(cache, 0, sizeof *cache);
    for (unsigned k = 0; k < SMALL_CLASSES; k++) {
        size_t fit = 2 * SMALL_MAX / class_bytes(k);
        cache->bins[k].room = (uint32_t)(fit > 128 ? 128 : fit);
    }
    if (pthread_setspecific(exit_key, cache)) {
        free(cache);
        return NULL;
    }
    enter();
    cache->epoch = peek(&trim_epoch);
    cache->next = caches;
    if (caches) caches->prev = cache;
    caches = cache;
    leave();
    return own_cache = cache;
}

/* ---- alloc and free ---- */

static bool inject(void) {
    if (successes_left > 0) {
        successes_left--;
        return false;
    }
    if (failures_left == 0) {
        atomic_store_explicit(&injecting, false, memory_order_relaxed);
        return false;
    }
    if (failures_left > 0) failures_left--;
    return true;
}

static void catch_up(cache_t *cache) {
    if (cache && cache->epoch != peek(&trim_epoch)) flush_cache(cache);
}

/* From the class's store, with a batch more for the thread's cache. */
static void *alloc_class(cache_t *cache, unsigned k) {
    bin_t *bin = cache && k < SMALL_CLASSES ? &cache->bins[k] : NULL;
    if (bin && bin->head) { /* came here for the injection only */
        block_t *block = bin->head;
        bin->head = block->next;
        set_count(bin, count_of(bin) - 1);
        return block;
    }
    uint32_t got;
    block_t *block = take_blocks(k, bin ? bin->room / 2 : 1, &got);
    if (!block && cache) { /* what the limit misses may lie in this thread's own cache */
        flush_cache(cache);
        block = take_blocks(k, 1, &got);
    }
    if (block && bin) {
        bin->head = block->next;
        set_count(bin, got - 1);
    }
    return block;
}

static __attribute__((noinline)) void *alloc_slowly(size_t nbytes) {
    if (nbytes == 0) return empty_block;
    cache_t *cache = get_cache();
    void *block = NULL;
    enter();
    catch_up(cache);
    if (!atomic_load_explicit(&injecting, memory_order_relaxed) || !inject()) {
        if (nbytes <= CHARL_MEDIUM_MAX) {
            unsigned k = charl_class_of(nbytes);
            block = alloc_class(cache, k);
            if (block) CHARL_UNPOISON(block, nbytes);
        } else {
            block = charl_large_alloc(nbytes);
            if (!block && cache) {
                flush_cache(cache);
                block = charl_large_alloc(nbytes);
            }
        }
    }
    if (block)
        central_allocations++;
    else
        failed_allocations++;
    leave();
    return block;
}

void *charl_pool_alloc(size_t nbytes) {
    cache_t *cache = own_cache;
    if (likely(cache && nbytes - 1 < SMALL_MAX &&
               !atomic_load_explicit(&injecting, memory_order_relaxed))) {
        bin_t *bin = &cache->bins[charl_class_of(nbytes)];
        block_t *block = bin->head;
        if (likely(block)) {
            bin->head = block->next;
            set_count(bin, count_of(bin) - 1);
            uint64_t made = peek(&cache->allocations);
            atomic_store_explicit(&cache->allocations, made + 1, memory_order_relaxed);
            CHARL_UNPOISON(block, nbytes);
            return block;
        }
    }
    return alloc_slowly(nbytes);
}

static __attribute__((noinline)) void free_slowly(void *start, size_t nbytes) {
    if (!start || !nbytes) return;
    cache_t *cache = get_cache();
    enter();
    catch_up(cache);
    if (nbytes > CHARL_MEDIUM_MAX) {
        charl_large_free(start);
    } else {
        unsigned k = charl_class_of(nbytes);
        if (cache && k < SMALL_CLASSES) flush_bin(&cache->bins[k], k, cache->bins[k].room / 2);
        put_block(k, start);
    }
    leave();
}

void charl_pool_free(void *start, size_t nbytes) {
    cache_t *cache = own_cache;
    if (likely(nbytes - 1 < CHARL_MEDIUM_MAX && start)) {
        CHARL_UNPOISON(start, sizeof(block_t));
        CHARL_POISON((char *)start + sizeof(block_t),
                     class_bytes(charl_class_of(nbytes)) - sizeof(block_t));
        if (likely(cache && nbytes <= SMALL_MAX)) {
            bin_t *bin = &cache->bins[charl_class_of(nbytes)];
            uint32_t count = count_of(bin);
            if (likely(count < bin->room)) {
                block_t *block = start;
                block->next = bin->head;
                bin->head = block;
                set_count(bin, count + 1);
                return;
            }
        }
    }
    free_slowly(start, nbytes);
}

/* ---- the rest ---- */

void charl_pool_stats(charl_pool_stats_t *out) {
    enter();
    uint64_t allocations = central_allocations;
    size_t in_caches = 0;
    for (cache_t *cache = caches; cache; cache = cache->next) {
        allocations += peek(&cache->allocations);
        for (unsigned k = 0; k < SMALL_CLASSES; k++)
            in_caches += count_of(&cache->bins[k]) * class_bytes(k);
    }
    out->in_use = charl_store.handed > in_caches ? charl_store.handed - in_caches : 0;
    out->cached = charl_store.held - out->in_use;
    out->peak = charl_store.peak;
    out->limit = charl_store.limit;
    out->allocations = allocations;
    out->hits = allocations - charl_store.misses;
    out->failures = failed_allocations;
    out->bad_frees = charl_store.bad_frees;
    leave();
}

void charl_pool_reset_peak(void) {
    enter();
    charl_store.peak = charl_store.handed;
    leave();
}

size_t charl_pool_trim(void) {
    cache_t *cache = own_cache;
    enter();
    atomic_fetch_add_explicit(&trim_epoch, 1, memory_order_relaxed);
    if (cache) flush_cache(cache);
    size_t freed = charl_large_shrink(0);
    freed += trim_classes();
    leave();
    return freed;
}

void charl_pool_set_limit(size_t nbytes) {
    enter();
    charl_store.limit = nbytes;
    charl_store_make_room(0);
    leave();
}

void charl_pool_fail_after(int64_t successes, int64_t failures) {
    enter();
    successes_left = successes;
    failures_left = failures;
    atomic_store_explicit(&injecting, successes >= 0, memory_order_relaxed);
    leave();
}

size_t charl_pool_largest(size_t *sizes, size_t count) {
    enter();
    size_t live = charl_large_list(sizes, count);
    leave();
    return live;
}
