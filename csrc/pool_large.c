/* pool_large.c: blocks over 2 MiB, each a mapping of its own, kept for reuse when freed; and the
 * system's pages.
 *
 * A live block lies in a bucket by its address; a cached one in a bin by its capacity and in a
 * list by age. Blocks start at different offsets in their pages: streams that all start at a
 * multiple of 4 KiB share the same few sets of the first cache. Eleven streams of 16 KiB to 1 MiB
 * each run 1.2 to 1.5 times as fast skewed; three streams gain nothing while they fit the cache.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "pool_store.h"

#include <stdlib.h>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#define CHARL_HAVE_MMAP 1
#endif

#define HUGE_PAGE (2 * CHARL_MIB)
#define MAX_BYTES ((size_t)1 << 47)
#define LEAST_STEP (256 * CHARL_KIB)
#define SKEW ((size_t)17 * CHARL_POOL_ALIGN)

enum { BINS = 176, BUCKETS = 4096, BIN_LOOKS = 64, SKEWS = 32 };

typedef struct large_t {
    struct large_t *next; /* in its bucket or bin */
    struct large_t *older, *newer;
    char *start, *mapping;
    size_t capacity, mapped;
    size_t nbytes; /* asked for */
} large_t;

charl_store_t charl_store;

static large_t *live[BUCKETS];
static large_t *bins[BINS];
static large_t *oldest, *newest;
static size_t cached, live_count;
static unsigned next_skew;

/* ---- the system ---- */

void *charl_system_map(size_t bytes) {
#ifdef CHARL_HAVE_MMAP
    size_t extra = bytes >= HUGE_PAGE ? HUGE_PAGE : 0; /* to align it to huge pages */
    char *raw =
        mmap(NULL, bytes + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    if (!extra) return raw;
    size_t before = (HUGE_PAGE - ((uintptr_t)raw & (HUGE_PAGE - 1))) & (HUGE_PAGE - 1);
    char *start = raw + before;
    if (before) munmap(raw, before);
    if (extra > before) munmap(start + bytes, extra - before);
#ifdef MADV_HUGEPAGE
    madvise(start, bytes, MADV_HUGEPAGE);
#endif
    return start;
#else
    return aligned_alloc(CHARL_POOL_ALIGN, bytes);
#endif
}

void charl_system_unmap(void *start, size_t bytes) {
    CHARL_UNPOISON(start, bytes);
#ifdef CHARL_HAVE_MMAP
    munmap(start, bytes);
#else
    (void)bytes;
    free(start);
#endif
}

/* Freed blocks are kept up to a quarter of the machine's memory. */
static size_t most_cached(void) {
    static size_t most;
    if (most) return most;
    most = 1024 * CHARL_MIB;
#ifdef CHARL_HAVE_MMAP
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) most = (size_t)pages / 4 * (size_t)page;
#endif
    return most;
}

/* ---- accounts ---- */

bool charl_store_fits(size_t bytes) {
    const charl_store_t *s = &charl_store;
    return !s->limit || (s->handed <= s->limit && bytes <= s->limit - s->handed);
}

void charl_store_hand_out(size_t bytes) {
    charl_store_t *s = &charl_store;
    s->handed += bytes;
    if (s->handed > s->peak) s->peak = s->handed;
}

/* ---- blocks ---- */

/* At most a sixteenth more than nbytes, or 256 KiB. */
static size_t capacity_for(size_t nbytes) {
    size_t step = ((size_t)1 << (63 - __builtin_clzll((unsigned long long)nbytes))) / 16;
    if (step < LEAST_STEP) step = LEAST_STEP;
    return (nbytes + step - 1) / step * step;
}

static large_t **bucket_of(const void *start) {
    uint64_t hash = (uint64_t)((uintptr_t)start / CHARL_POOL_ALIGN) * 0x9E3779B97F4A7C15u;
    return &live[(hash >> 32) % BUCKETS];
}

static large_t **bin_of(const large_t *large) { return &bins[charl_class_of(large->capacity)]; }

static void cache(large_t *large) {
    large_t **bin = bin_of(large);
    large->next = *bin;
    *bin = large;
    large->newer = NULL;
    large->older = newest;
    *(newest ? &newest->newer : &oldest) = large;
    newest = large;
    cached += large->capacity;
}

static void uncache(large_t *large) {
    large_t **link = bin_of(large);
    while (*link != large) link = &(*link)->next;
    *link = large->next;
    *(large->older ? &large->older->newer : &oldest) = large->newer;
    *(large->newer ? &large->newer->older : &newest) = large->older;
    cached -= large->capacity;
}

/* A cached block of at least `bytes` and at most a quarter more, or NULL. */
static large_t *find_cached(size_t bytes) {
    unsigned first = charl_class_of(bytes);
    for (unsigned k = first; k <= first + 1 && k < BINS; k++) {
        int looks = 0;
        for (large_t *at = bins[k]; at && looks < BIN_LOOKS; at = at->next, looks++)
            if (at->capacity >= bytes && at->capacity - bytes <= bytes / 4) return at;
    }
    return NULL;
}

static large_t *map_large(size_t capacity) {
    charl_store_make_room(capacity);
    large_t *large = malloc(sizeof *large);
    if (!large) return NULL;
    large->capacity = capacity;
    large->mapped = capacity + (SKEWS * SKEW + 4095) / 4096 * 4096;
    large->mapping = charl_system_map(large->mapped);
    if (!large->mapping && charl_large_shrink(0)) large->mapping = charl_system_map(large->mapped);
    if (!large->mapping) {
        free(large);
        return NULL;
    }
    large->start = large->mapping + next_skew++ % SKEWS * SKEW;
    charl_store.held += capacity;
    charl_store.misses++;
    return large;
}

void *charl_large_alloc(size_t nbytes) {
    if (nbytes > MAX_BYTES) return NULL;
    size_t capacity = capacity_for(nbytes);
    large_t *large = find_cached(capacity);
    if (large && charl_store_fits(large->capacity)) {
        uncache(large);
    } else {
        large = charl_store_fits(capacity) ? map_large(capacity) : NULL;
        if (!large) return NULL;
    }
    large_t **bucket = bucket_of(large->start);
    large->next = *bucket;
    *bucket = large;
    large->nbytes = nbytes;
    live_count++;
    charl_store_hand_out(large->capacity);
    CHARL_POISON(large->start, large->capacity);
    CHARL_UNPOISON(large->start, nbytes);
    return large->start;
}

void charl_large_free(void *start) {
    large_t **link = bucket_of(start);
    while (*link && (*link)->start != start) link = &(*link)->next;
    large_t *large = *link;
    if (!large) {
        charl_store.bad_frees++;
        return;
    }
    *link = large->next;
    live_count--;
    charl_store.handed -= large->capacity;
    CHARL_POISON(start, large->capacity);
    cache(large);
    size_t keep = most_cached(), limit = charl_store.limit, handed = charl_store.handed;
    if (limit) {
        size_t room = limit > handed ? limit - handed : 0;
        if (room < keep) keep = room;
    }
    charl_large_shrink(keep);
}

size_t charl_large_shrink(size_t keep) {
    size_t before = cached;
    while (oldest && cached > keep) {
        large_t *large = oldest;
        uncache(large);
        charl_store.held -= large->capacity;
        charl_system_unmap(large->mapping, large->mapped);
        free(large);
    }
    return before - cached;
}

size_t charl_large_cached(void) { return cached; }

size_t charl_large_list(size_t *sizes, size_t count) {
    size_t kept = 0;
    for (size_t b = 0; b < BUCKETS; b++) {
        for (const large_t *large = live[b]; large; large = large->next) {
            if (kept < count)
                kept++;
            else if (!count || sizes[count - 1] >= large->nbytes)
                continue;
            size_t at = kept - 1; /* moves up from the end to its place */
            for (; at && sizes[at - 1] < large->nbytes; at--) sizes[at] = sizes[at - 1];
            sizes[at] = large->nbytes;
        }
    }
    return live_count;
}
