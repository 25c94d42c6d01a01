/* pool_store.h: what pool.c and pool_large.c share. All of it is read and written under pool.c's
 * lock. */
#ifndef CHARL_POOL_STORE_H
#define CHARL_POOL_STORE_H

#include "pool.h"

#include <stdbool.h>

#define CHARL_KIB ((size_t)1024)
#define CHARL_MIB (CHARL_KIB * 1024)
#define CHARL_MEDIUM_MAX (2 * CHARL_MIB) /* a block over this is large */

/* A free block is poisoned but for its first word, the link; a live one past its nbytes. */
#if defined(__SANITIZE_ADDRESS__)
#define CHARL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHARL_ASAN 1
#endif
#endif
#ifdef CHARL_ASAN
#include <sanitizer/asan_interface.h>
#define CHARL_POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define CHARL_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define CHARL_POISON(p, n) ((void)0)
#define CHARL_UNPOISON(p, n) ((void)0)
#endif

typedef struct charl_store_t {
    size_t handed; /* bytes in users' hands and in threads' caches */
    size_t held;   /* the same and those free in the store */
    size_t peak, limit;
    uint64_t misses, bad_frees;
} charl_store_t;

extern charl_store_t charl_store;

/* Classes 0..7 are 64..512 bytes by 64; then four to a doubling: 640 768 896 1024 1280 ...;
 * nbytes > 0. */
static inline unsigned charl_class_of(size_t nbytes) {
    size_t last = (nbytes - 1) / 64; /* the last 64-byte unit */
    if (last < 8) return (unsigned)last;
    unsigned doubling = 60 - (unsigned)__builtin_clzll((unsigned long long)last);
    return 4 + 4 * doubling + (unsigned)(last >> (doubling + 1));
}

/* Memory from the system in whole pages, on huge pages from 2 MiB on, or NULL. */
void *charl_system_map(size_t bytes);
void charl_system_unmap(void *start, size_t bytes);

/* Whether so many bytes more may be handed out. */
bool charl_store_fits(size_t bytes);

/* Counts bytes that leave the store. */
void charl_store_hand_out(size_t bytes);

/* Gives free memory back to the system as far as `bytes` more would take what is held past the
 * limit. Called before blocks are mapped or carved. */
void charl_store_make_room(size_t bytes);

/* nbytes > CHARL_MEDIUM_MAX; NULL over the limit or where the system has none. */
void *charl_large_alloc(size_t nbytes);
void charl_large_free(void *start);

/* Unmaps the oldest cached blocks until at most `keep` bytes of them are left. Returns the bytes
 * unmapped. */
size_t charl_large_shrink(size_t keep);
size_t charl_large_cached(void);

/* charl_pool_largest, under the lock. */
size_t charl_large_list(size_t *sizes, size_t count);

#endif
