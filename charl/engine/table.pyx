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
    Py_ssize_t follower  # the entry that was found after this one last

cdef entry_t *_table = NULL
cdef Py_ssize_t _table_size = 0, _plan_limit = 4096
cdef Py_ssize_t _latest = 0  # the entry that was found last
cdef int64_t _tick = 0


cdef inline uint64_t _mixed(uint64_t h, int64_t word) noexcept:
    h = (h ^ <uint64_t>word) * <uint64_t>0x9E3779B97F4A7C15
    return h ^ h >> 29


cdef inline uint64_t _hash(const int64_t *key, Py_ssize_t words) noexcept:
    """Four chains, since a step of one waits six cycles for the step before."""
    cdef uint64_t a = words, b = 1, c = 2, d = 3
    cdef Py_ssize_t k
    for k in range(0, words - 3, 4):
        a = _mixed(a, key[k])
        b = _mixed(b, key[k + 1])
        c = _mixed(c, key[k + 2])
        d = _mixed(d, key[k + 3])
    for k in range(words - words % 4, words):
        a = _mixed(a, key[k])
    return _mixed(_mixed(_mixed(a, b), c), d)


cdef inline bint _is_of(const entry_t *entry, const int64_t *key, Py_ssize_t words) noexcept:
    return entry.plan != NULL and entry.words == words and memcmp(entry.key, key, words * 8) == 0


cdef Plan find(const int64_t *key, Py_ssize_t words):
    """The plan of a signature, None where it has none."""
    global _tick, _latest, hits, misses
    cdef uint64_t h
    cdef Py_ssize_t at
    if _table_size == 0:
        misses += 1
        return None
    at = _table[_latest].follower  # a loop asks for one plan, or a few, again and again
    if not _is_of(&_table[at], key, words):
        h = _hash(key, words)
        at = h & (_table_size - 1)
        while _table[at].plan != NULL and not (_table[at].hash == h and _is_of(&_table[at], key, words)):
            at = (at + 1) & (_table_size - 1)
        if _table[at].plan == NULL:
            misses += 1
            return None
        _table[_latest].follower = at
    _latest = at
    hits += 1
    _tick += 1
    (<Plan>_table[at].plan).tick = _tick
    return <Plan>_table[at].plan


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
    _table[at].hash, _table[at].key, _table[at].words, _table[at].follower = h, copy, words, at
    _tick += 1
    plan.tick = _tick
    Py_INCREF(plan)
    _table[at].plan = <PyObject *>plan
    plans += 1
    return 0


cdef int _rebuild() except -1:
    """A larger table, or the same with the older half of a full one dropped."""
    global _table, _table_size, _latest, plans
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
        grown[k].plan, grown[k].follower = NULL, 0
    _table, _table_size, _latest, plans = grown, size, 0, 0
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
        grown[at].follower = at
        plans += 1
    free(old)
    return 0


cdef void clear() noexcept:
    """Forgets all plans."""
    global _table, _table_size, _latest, plans
    cdef Py_ssize_t k, size = _table_size
    cdef entry_t *old = _table
    _table, _table_size, _latest, plans = NULL, 0, 0, 0
    for k in range(size):
        if old[k].plan != NULL:
            Py_DECREF(<Plan>old[k].plan)
            free(old[k].key)
    free(old)


def _configure(changed: dict):
    global _plan_limit
    _plan_limit = config.plan_cache


config.watch(_configure)
