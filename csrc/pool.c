/* pool.c: blocks in size classes, a cache in every thread, large blocks mapped one by one and reused.
 *
 *   up to 32 KiB   class of 4 sizes a doubling; a free list in each thread; batches go to and from the store
 *   up to 2 MiB    the same classes, straight from the store's free lists
 *   above          an own mapping each, on huge pages; freed ones are kept in bins, the oldest unmapped first
 *
 * The store is what all threads share: everything in `pool`, under one lock. Its free lists are filled by carving
 * slabs. A block belongs to its class, never to a thread, so a thread frees into its own cache whatever the
 * origin. `handed` counts the bytes that left the store, to users and to threads' caches.
 * Readers of another thread's cache (statistics) see only its counters, which are atomic.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#define CHARL_HAVE_MMAP 1
#endif

#if defined(__SANITIZE_ADDRESS__)
#define CHARL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHARL_ASAN 1
#endif
#endif

/* A free block is poisoned but for its first word, the link; a live one past its nbytes. */
#ifdef CHARL_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define KIB ((size_t)1024)
#define MIB (KIB * 1024)
#define HUGE_PAGE (2 * MIB)
#define SMALL_MAX (32 * KIB)
#define MEDIUM_MAX (2 * MIB)
#define SMALL_SLAB (256 * KIB)
#define MEDIUM_SLAB (8 * MIB)
#define MAX_BYTES ((size_t)1 << 47)

enum { SMALL_CLASSES = 32, CLASSES = 56, BINS = 176, BUCKETS = 4096, BIN_LOOKS = 64 };

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

/* A block over MEDIUM_MAX, live (in a bucket) or cached (in a bin, and in the list by age). */
typedef struct large_t {
    struct large_t *next;         /* in its bucket or bin */
    struct large_t *older, *newer;
    void *start;
    size_t capacity;
    size_t nbytes;
} large_t;

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

static struct {
    class_t classes[CLASSES];
    large_t *live[BUCKETS];
    large_t *bins[BINS];
    large_t *oldest, *newest;
    cache_t *caches;
    size_t handed, held; /* held: carved or mapped, handed or not */
    size_t large_cached, large_cached_max;
    size_t live_large;
    size_t peak, limit;
    uint64_t allocations, misses, failures, bad_frees;
    int64_t successes_left, failures_left;
} pool;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;
static bool has_exit_key;
static _Atomic bool injecting;
static _Atomic uint64_t trim_epoch;
static _Thread_local cache_t *own_cache;
static _Thread_local bool thread_is_ending;
static _Alignas(CHARL_POOL_ALIGN) char empty_block[CHARL_POOL_ALIGN];

static void take_lock(void) {
    pthread_mutex_lock(&lock);
}

static void leave(void) {
    pthread_mutex_unlock(&lock);
}

/* ---- sizes ---- */

/* Classes 0..7 are 64..512 bytes by 64; then four to a doubling: 640 768 896 1024 1280 ... */
static inline unsigned class_of(size_t nbytes) {
    size_t last = (nbytes - 1) / 64; /* the last 64-byte unit; nbytes > 0 */
    if (last < 8) return (unsigned)last;
    unsigned doubling = 60 - (unsigned)__builtin_clzll((unsigned long long)last);
    return 4 + 4 * doubling + (unsigned)(last >> (doubling + 1));
}

static inline size_t class_bytes(unsigned k) {
    return k < 8 ? 64 * ((size_t)k + 1) : (size_t)(128 * (5 + (k - 8) % 4)) << ((k - 8) / 4);
}

/* Large blocks waste a sixteenth at most, or 256 KiB. */
static size_t large_bytes(size_t nbytes) {
    size_t step = ((size_t)1 << (63 - __builtin_clzll((unsigned long long)nbytes))) / 16;
    if (step < 256 * KIB) step = 256 * KIB;
    return (nbytes + step - 1) / step * step;
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

/* ---- the system ---- */

static void *system_map(size_t bytes) {
#ifdef CHARL_HAVE_MMAP
    size_t align = bytes >= MEDIUM_MAX ? HUGE_PAGE : 4 * KIB;
    size_t extra = align == HUGE_PAGE ? HUGE_PAGE : 0;
    char *raw = mmap(NULL, bytes + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    char *start = raw;
    if (extra) {
        size_t before = (HUGE_PAGE - ((uintptr_t)raw & (HUGE_PAGE - 1))) & (HUGE_PAGE - 1);
        start = raw + before;
        if (before) munmap(raw, before);
        if (extra > before) munmap(start + bytes, extra - before);
#ifdef MADV_HUGEPAGE
        madvise(start, bytes, MADV_HUGEPAGE);
#endif
    }
    return start;
#else
    return aligned_alloc(CHARL_POOL_ALIGN, bytes);
#endif
}

static void system_unmap(void *start, size_t bytes) {
    UNPOISON(start, bytes);
#ifdef CHARL_HAVE_MMAP
    munmap(start, bytes);
#else
    (void)bytes;
    free(start);
#endif
}

static size_t physical_bytes(void) {
#ifdef CHARL_HAVE_MMAP
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) return (size_t)pages * (size_t)page;
#endif
    return 4096 * MIB;
}

/* ---- large blocks; the lock is held ---- */

static size_t bucket_of(const void *start) {
    return ((uintptr_t)start / CHARL_POOL_ALIGN * 0x9E3779B97F4A7C15u >> 32) % BUCKETS;
}

static void uncache_large(large_t *large) {
    large_t **link = &pool.bins[class_of(large->capacity)];
    while (*link != large) link = &(*link)->next;
    *link = large->next;
    *(large->older ? &large->older->newer : &pool.oldest) = large->newer;
    *(large->newer ? &large->newer->older : &pool.newest) = large->older;
    pool.large_cached -= large->capacity;
}

/* Unmaps the oldest cached blocks until at most `keep` bytes of them are left. Returns the bytes unmapped. */
static size_t shrink_large(size_t keep) {
    size_t before = pool.large_cached;
    while (pool.oldest && pool.large_cached > keep) {
        large_t *large = pool.oldest;
        uncache_large(large);
        pool.held -= large->capacity;
        system_unmap(large->start, large->capacity);
        free(large);
    }
    return before - pool.large_cached;
}

/* A cached block of at least `bytes` and at most a quarter more, or NULL. */
static large_t *find_cached(size_t bytes) {
    unsigned first = class_of(bytes);
    for (unsigned k = first; k <= first + 1 && k < BINS; k++) {
        int looks = 0;
        for (large_t *at = pool.bins[k]; at && looks < BIN_LOOKS; at = at->next, looks++)
            if (at->capacity >= bytes && at->capacity - bytes <= bytes / 4) return at;
    }
    return NULL;
}

static bool fits_limit(size_t bytes) {
    return !pool.limit || (pool.handed <= pool.limit && bytes <= pool.limit - pool.handed);
}

/* Bytes leave the store. Cached mappings make room where the limit would be passed by what is held. */
static void hand_out(size_t bytes) {
    pool.handed += bytes;
    if (pool.handed > pool.peak) pool.peak = pool.handed;
    if (pool.limit && pool.held > pool.limit) {
        size_t over = pool.held - pool.limit;
        shrink_large(pool.large_cached > over ? pool.large_cached - over : 0);
    }
}

static void *alloc_large(size_t nbytes) {
    if (nbytes > MAX_BYTES) return NULL;
    size_t bytes = large_bytes(nbytes);
    large_t *large = find_cached(bytes);
    if (large && fits_limit(large->capacity)) {
        uncache_large(large);
    } else {
        if (!fits_limit(bytes)) return NULL;
        large = malloc(sizeof *large);
        if (!large) return NULL;
        large->capacity = bytes;
        large->start = system_map(bytes);
        if (!large->start && shrink_large(0)) large->start = system_map(bytes);
        if (!large->start) {
            free(large);
            return NULL;
        }
        pool.held += bytes;
        pool.misses++;
    }
    large_t **bucket = &pool.live[bucket_of(large->start)];
    large->next = *bucket;
    *bucket = large;
    large->nbytes = nbytes;
    pool.live_large++;
    hand_out(large->capacity);
    UNPOISON(large->start, nbytes);
    POISON((char *)large->start + (nbytes + 7) / 8 * 8, large->capacity - (nbytes + 7) / 8 * 8);
    return large->start;
}

static void free_large(void *start) {
    large_t **link = &pool.live[bucket_of(start)];
    while (*link && (*link)->start != start) link = &(*link)->next;
    large_t *large = *link;
    if (!large) {
        pool.bad_frees++;
        return;
    }
    *link = large->next;
    pool.live_large--;
    pool.handed -= large->capacity;
    POISON(start, large->capacity);
    large_t **bin = &pool.bins[class_of(large->capacity)];
    large->next = *bin;
    *bin = large;
    large->newer = NULL;
    large->older = pool.newest;
    *(pool.newest ? &pool.newest->newer : &pool.oldest) = large;
    pool.newest = large;
    pool.large_cached += large->capacity;
    size_t keep = pool.large_cached_max;
    if (pool.limit) {
        size_t room = pool.limit > pool.handed ? pool.limit - pool.handed : 0;
        if (room < keep) keep = room;
    }
    shrink_large(keep);
}

/* ---- classes; the lock is held ---- */

/* Up to `want` linked blocks of class k, fewer at the limit or where the system has none. */
static block_t *take_blocks(unsigned k, uint32_t want, uint32_t *got) {
    class_t *class = &pool.classes[k];
    size_t size = class_bytes(k);
    block_t *list = NULL;
    *got = 0;
    while (*got < want && fits_limit(size * (*got + 1))) {
        block_t *block = class->free;
        if (block) {
            class->free = block->next;
        } else {
            slab_t *slab = class->slabs;
            if (!slab || (slab->carved + 1) * size > slab->bytes) {
                if (*got) break; /* a part of the batch is enough: do not ask the system */
                size_t bytes = k < SMALL_CLASSES ? SMALL_SLAB : MEDIUM_SLAB;
                slab = malloc(sizeof *slab);
                if (!slab) break;
                slab->start = system_map(bytes);
                if (!slab->start && shrink_large(0)) slab->start = system_map(bytes);
                if (!slab->start) {
                    free(slab);
                    break;
                }
                slab->bytes = bytes;
                slab->carved = 0;
                slab->next = class->slabs;
                class->slabs = slab;
                pool.misses++;
                POISON(slab->start, bytes);
            }
            block = (block_t *)(slab->start + slab->carved++ * size);
            pool.held += size;
            UNPOISON(block, sizeof *block);
        }
        block->next = list;
        list = block;
        ++*got;
    }
    if (list) hand_out(size * *got);
    return list;
}

static void put_block(unsigned k, block_t *block) {
    block->next = pool.classes[k].free;
    pool.classes[k].free = block;
    pool.handed -= class_bytes(k);
}

static int by_start(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)(*(slab_t *const *)a)->start, y = (uintptr_t)(*(slab_t *const *)b)->start;
    return (x > y) - (x < y);
}

static slab_t *slab_of(slab_t **slabs, size_t count, const block_t *block) {
    size_t low = 0, high = count; /* the last slab that starts at or before the block */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)slabs[middle]->start <= (uintptr_t)block) low = middle;
        else high = middle;
    }
    return slabs[low];
}

/* Unmaps the slabs of class k whose every block is on the free list. */
static size_t trim_class(unsigned k) {
    class_t *class = &pool.classes[k];
    size_t count = 0, at = 0, freed = 0;
    for (slab_t *slab = class->slabs; slab; slab = slab->next) count++;
    slab_t **slabs = count ? malloc(count * sizeof *slabs) : NULL;
    if (!slabs) return 0;
    for (slab_t *slab = class->slabs; slab; slab = slab->next) {
        slab->idle = 0;
        slabs[at++] = slab;
    }
    qsort(slabs, count, sizeof *slabs, by_start);
    for (block_t *block = class->free; block; block = block->next) slab_of(slabs, count, block)->idle++;
    for (block_t **link = &class->free; *link;) {
        slab_t *slab = slab_of(slabs, count, *link);
        if (slab->idle == slab->carved) *link = (*link)->next;
        else link = &(*link)->next;
    }
    free(slabs);
    for (slab_t **link = &class->slabs; *link;) {
        slab_t *slab = *link;
        if (slab->idle < slab->carved) {
            link = &slab->next;
            continue;
        }
        *link = slab->next;
        pool.held -= slab->carved * class_bytes(k);
        freed += slab->bytes;
        system_unmap(slab->start, slab->bytes);
        free(slab);
    }
    return freed;
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
    *(cache->prev ? &cache->prev->next : &pool.caches) = cache->next;
    if (cache->next) cache->next->prev = cache->prev;
    pool.allocations += peek(&cache->allocations);
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


/* Only the forking thread goes on. Another thread's cache may have been caught half-way through a step: its
 * blocks are given up, which is what happens to everything else that thread held. */
static void after_fork(void) {
    for (cache_t *cache = pool.caches, *next; cache; cache = next) {
        next = cache->next;
        if (cache == own_cache) continue;
        for (unsigned k = 0; k < SMALL_CLASSES; k++) {
            size_t bytes = count_of(&cache->bins[k]) * class_bytes(k);
            pool.handed -= bytes;
            pool.held -= bytes;
        }
        unlink_cache(cache);
    }
    leave();
}

static void start_pool(void) {
    pool.large_cached_max = physical_bytes() / 4;
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
    cache->next = pool.caches;
    if (pool.caches) pool.caches->prev = cache;
    pool.caches = cache;
    leave();
    return own_cache = cache;
}

/* ---- alloc and free ---- */

static bool inject(void) {
    if (pool.successes_left > 0) {
        pool.successes_left--;
        return false;
    }
    if (pool.failures_left == 0) {
        atomic_store_explicit(&injecting, false, memory_order_relaxed);
        return false;
    }
    if (pool.failures_left > 0) pool.failures_left--;
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
        if (nbytes <= MEDIUM_MAX) {
            unsigned k = class_of(nbytes);
            block = alloc_class(cache, k);
            if (block) UNPOISON(block, nbytes);
        } else {
            block = alloc_large(nbytes);
            if (!block && cache) {
                flush_cache(cache);
                block = alloc_large(nbytes);
            }
        }
    }
    if (block) pool.allocations++;
    else pool.failures++;
    leave();
    return block;
}

void *charl_pool_alloc(size_t nbytes) {
    cache_t *cache = own_cache;
    if (likely(cache && nbytes - 1 < SMALL_MAX && !atomic_load_explicit(&injecting, memory_order_relaxed))) {
        bin_t *bin = &cache->bins[class_of(nbytes)];
        block_t *block = bin->head;
        if (likely(block)) {
            bin->head = block->next;
            set_count(bin, count_of(bin) - 1);
            uint64_t made = peek(&cache->allocations);
            atomic_store_explicit(&cache->allocations, made + 1, memory_order_relaxed);
            UNPOISON(block, nbytes);
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
    if (nbytes > MEDIUM_MAX) {
        free_large(start);
    } else {
        unsigned k = class_of(nbytes);
        if (cache && k < SMALL_CLASSES) flush_bin(&cache->bins[k], k, cache->bins[k].room / 2);
        put_block(k, start);
    }
    leave();
}

void charl_pool_free(void *start, size_t nbytes) {
    cache_t *cache = own_cache;
    if (likely(nbytes - 1 < MEDIUM_MAX && start)) {
        UNPOISON(start, sizeof(block_t));
        POISON((char *)start + sizeof(block_t), class_bytes(class_of(nbytes)) - sizeof(block_t));
        if (likely(cache && nbytes <= SMALL_MAX)) {
            bin_t *bin = &cache->bins[class_of(nbytes)];
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
    uint64_t allocations = pool.allocations;
    size_t in_caches = 0;
    for (cache_t *cache = pool.caches; cache; cache = cache->next) {
        allocations += peek(&cache->allocations);
        for (unsigned k = 0; k < SMALL_CLASSES; k++) in_caches += count_of(&cache->bins[k]) * class_bytes(k);
    }
    out->in_use = pool.handed > in_caches ? pool.handed - in_caches : 0;
    out->cached = pool.held - out->in_use;
    out->peak = pool.peak;
    out->limit = pool.limit;
    out->allocations = allocations;
    out->hits = allocations - pool.misses;
    out->failures = pool.failures;
    out->bad_frees = pool.bad_frees;
    leave();
}

void charl_pool_reset_peak(void) {
    enter();
    pool.peak = pool.handed;
    leave();
}

size_t charl_pool_trim(void) {
    cache_t *cache = own_cache;
    enter();
    atomic_fetch_add_explicit(&trim_epoch, 1, memory_order_relaxed);
    if (cache) flush_cache(cache);
    size_t freed = shrink_large(0);
    for (unsigned k = 0; k < CLASSES; k++) freed += trim_class(k);
    leave();
    return freed;
}

void charl_pool_set_limit(size_t nbytes) {
    enter();
    pool.limit = nbytes;
    if (nbytes && pool.held > nbytes) {
        size_t over = pool.held - nbytes;
        shrink_large(pool.large_cached > over ? pool.large_cached - over : 0);
    }
    leave();
}

void charl_pool_fail_after(int64_t successes, int64_t failures) {
    enter();
    pool.successes_left = successes;
    pool.failures_left = failures;
    atomic_store_explicit(&injecting, successes >= 0, memory_order_relaxed);
    leave();
}

size_t charl_pool_largest(size_t *sizes, size_t count) {
    size_t kept = 0;
    enter();
    for (size_t b = 0; b < BUCKETS; b++)
        for (large_t *large = pool.live[b]; large; large = large->next) {
            size_t at = kept < count ? kept++ : count; /* sinks to its place from the end */
            if (at == count) {
                if (!count || sizes[count - 1] >= large->nbytes) continue;
                at = count - 1;
            }
            for (; at && sizes[at - 1] < large->nbytes; at--) sizes[at] = sizes[at - 1];
            sizes[at] = large->nbytes;
        }
    size_t live = pool.live_large;
    leave();
    return live;
}
