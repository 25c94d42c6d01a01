# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The engine's lock: owned by a thread, counted, awaited without the GIL.

Taking it free is two reads under the GIL; only those who wait use the system's lock, as a bell that the owner rings on
leaving. Whatever calls back into Python while the lock is held (garbage collection, signals, freeing) may realize again
on the same thread: the lock then counts one deeper.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport (
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_get_thread_ident,
    PyThread_release_lock,
    PyThread_type_lock,
    NOWAIT_LOCK,
)

import os
import threading

from charl.engine import tiers

cdef extern from "Python.h":
    int PY_LOCK_INTR, PY_LOCK_ACQUIRED
    int PyThread_acquire_lock_timed(PyThread_type_lock, long long, int) nogil

cdef PyThread_type_lock _bell = PyThread_allocate_lock()
PyThread_acquire_lock(_bell, NOWAIT_LOCK)
cdef unsigned long _owner = 0
cdef int _nesting = 0
cdef int _waiting = 0
cdef bint _rung = False


cdef int enter() except -1:
    """Takes the lock, again where this thread has it. Returns how often it has it now, 1 to NESTING."""
    global _owner, _nesting
    if _nesting:
        if _owner == PyThread_get_thread_ident():
            if _nesting == NESTING:
                raise RuntimeError("charl: values are needed while values are computed, nested too deeply")
            _nesting += 1
            return _nesting
        _await()
    _owner = PyThread_get_thread_ident()
    _nesting = 1
    return 1


cdef int _await() except -1:
    """Returns with the GIL and the lock free."""
    global _waiting, _rung
    cdef int got
    cdef bint compiles = threading.current_thread().name == tiers.COMPILE_THREAD
    cdef long long patience = 20_000 if compiles else -1  # microseconds
    _waiting += 1
    try:
        while _nesting:
            if compiles and awaits_compile:
                raise RuntimeError("charl: a finalizer needs values whose launch waits for this compile thread")
            with nogil:
                got = PyThread_acquire_lock_timed(_bell, patience, 1)
            if got == PY_LOCK_INTR:
                PyErr_CheckSignals()
            elif got == PY_LOCK_ACQUIRED:
                _rung = False
    finally:
        _waiting -= 1
        if _waiting and not _nesting and not _rung:
            _ring()
    return 0


cdef void _ring() noexcept:
    global _rung
    _rung = True
    PyThread_release_lock(_bell)


cdef void leave() noexcept:
    """Gives back what one `enter` took."""
    global _nesting
    _nesting -= 1
    if _waiting and _nesting == 0 and not _rung:
        _ring()


def _after_fork():
    """In a child of fork: the lock may be another thread's, which does not exist here."""
    global _bell, _nesting, _waiting, _rung, awaits_compile
    awaits_compile = False
    if _nesting and _owner != PyThread_get_thread_ident():
        _nesting = 0
    _waiting, _rung = 0, False
    _bell = PyThread_allocate_lock()
    PyThread_acquire_lock(_bell, NOWAIT_LOCK)


os.register_at_fork(after_in_child=_after_fork)
