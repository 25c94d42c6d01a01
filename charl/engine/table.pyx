# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Plans by exact signature: an open hash table in C, least recently used dropped by halves.

Used with the engine's lock held.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from charl.runtime.launch cimport Plan

from charl.core.settings import config

ctypedef struct entry_t:
    uint64_t hash
    int64_t *key
    Py_ssize_t words
    PyObject *plan

cdef entry_t *_table = NULL
cdef Py_ssize_t _table_size = 0, _plan_limit = 4096
cdef int64_t _tick = 0


cdef inline uint64_t _hash(const int64_t *key, Py_ssize_t words) noexcept:
    cdef uint64_t h = words
    cdef Py_ssize_t k
    for k in range(words):
        h = (h ^ <uint64_t>key[k]) * <uint64_t>0x9E3779B97F4A7C15
        h ^= h >> 29
    return h


cdef Plan find(const int64_t *key, Py_ssize_t words):
    """The plan of a signature, None where it has none."""
    global _tick, hits, misses
    cdef uint64_t h = _hash(key, words)
    cdef Py_ssize_t at
    cdef entry_t *entry
    if _table_size == 0:
        misses += 1
        return None
    at = h & (_table_size - 1)
    while True:
        entry = &_table[at]
        if entry.plan == NULL:
            misses += 1
            return None
        if entry.hash == h and entry.words == words and memcmp(entry.key, key, words * 8) == 0:
            hits += 1
            _tick += 1
            (<Plan>entry.plan).tick = _tick
            return <Plan>entry.plan
        at = (at + 1) & (_table_size - 1)


cdef int remember(const int64_t *key, Py_ssize_t words, Plan plan) except -1:
    """Makes plan what `find` gives for a signature that it gave None for."""
    global plans, _tick
    cdef uint64_t h = _hash(key, words)
    cdef Py_ssize_t at
    cdef int64_t *copy
    if 2 * plans >= _table_size or plans >= _plan_limit:
        _rebuild()
    copy = <int64_t *>malloc(words * 8 + 8)
    if copy == NULL:
        return 0  # an unremembered plan is merely made again
    memcpy(copy, key, words * 8)
    at = h & (_table_size - 1)
    while _table[at].plan != NULL:
        at = (at + 1) & (_table_size - 1)
    _table[at].hash, _table[at].key, _table[at].words = h, copy, words
    _tick += 1
    plan.tick = _tick
    Py_INCREF(plan)
    _table[at].plan = <PyObject *>plan
    plans += 1
    return 0


cdef int _rebuild() except -1:
    """A larger table, or the same with the older half of a full one dropped."""
    global _table, _table_size, plans
    cdef Py_ssize_t old_size, size, k, at
    cdef entry_t *old
    cdef entry_t *grown
    cdef int64_t oldest = 0
    cdef list dropped = [], ticks = []
    cdef bint full = plans >= _plan_limit
    if full:  # first: making a list may collect garbage, and a finalizer may come here
        ticks = sorted([(<Plan>_table[k].plan).tick for k in range(_table_size) if _table[k].plan != NULL])
        oldest = ticks[(len(ticks) + 1) // 2] if len(ticks) > 1 else ticks[0] + 1
    old, old_size = _table, _table_size
    size = max(old_size, 256) * (1 if full else 2)
    grown = <entry_t *>malloc(size * sizeof(entry_t))
    if grown == NULL:
        raise MemoryError("charl.engine: no memory for the plan cache")
    for k in range(size):
        grown[k].plan = NULL
    _table, _table_size, plans = grown, size, 0
    for k in range(old_size):
        if old[k].plan == NULL:
            continue
        if (<Plan>old[k].plan).tick < oldest:
            dropped.append(<Plan>old[k].plan)
            Py_DECREF(<Plan>old[k].plan)
            free(old[k].key)
            continue
        at = old[k].hash & (size - 1)
        while grown[at].plan != NULL:
            at = (at + 1) & (size - 1)
        grown[at] = old[k]
        plans += 1
    free(old)
    return 0


cdef void clear() noexcept:
    """Forgets all plans."""
    global _table, _table_size, plans
    cdef Py_ssize_t k, size = _table_size
    cdef entry_t *old = _table
    _table, _table_size, plans = NULL, 0, 0
    for k in range(size):
        if old[k].plan != NULL:
            Py_DECREF(<Plan>old[k].plan)
            free(old[k].key)
    free(old)


def _configure(changed: dict):
    global _plan_limit
    _plan_limit = config.plan_cache


config.watch(_configure)
