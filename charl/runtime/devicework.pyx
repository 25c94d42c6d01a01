# cython: language_level=3
"""What a GPU is told to do, and how it waits to be submitted: compiled, as small steps have few microseconds each.

A submit costs the host 50 to 100 us, a dispatch 5, and between submits the device pauses for 20. So small work is kept
until there is enough of it, and large work as long as the device is busy.
"""

from cpython.time cimport perf_counter
from libc.stdint cimport int64_t

from charl.runtime.devicepool cimport DeviceBuffer, DevicePool

from charl.core.errors import DeviceLost

cdef enum:
    MOST = 128  # dispatches that may wait for more
    GROUPS_KEPT = 4096
    SMALL = 16 << 20  # bytes that they bind: from here on they only wait for a device that is busy,
    LARGE = 1 << 30  # and from here on for none
cdef double FAST = 2e12  # bytes a second: a device is taken to be busy as long as that takes,
cdef double PAUSE = 4e-4  # and at least so many seconds: some submits of the host


cdef class Part:
    """A part of a buffer, as a binding; offset is a multiple of `Device.alignment`."""

    cdef readonly DeviceBuffer buffer
    cdef readonly int64_t offset
    cdef readonly int64_t nbytes

    def __init__(self, DeviceBuffer buffer, int64_t offset, int64_t nbytes):
        self.buffer, self.offset, self.nbytes = buffer, offset, nbytes


cdef class Dispatch:
    """Runs a pipeline in `groups` workgroups; buffers, each a DeviceBuffer or a Part, stand binding by binding.
    kernel: what it is called by.
    """

    cdef readonly object pipeline
    cdef readonly tuple buffers
    cdef readonly int64_t groups
    cdef readonly object kernel

    def __init__(self, pipeline, tuple buffers, int64_t groups, kernel=None):
        self.pipeline, self.buffers, self.groups, self.kernel = pipeline, buffers, groups, kernel


cdef class Copy:
    """Copies all of a buffer to the beginning of another one."""

    cdef readonly DeviceBuffer source
    cdef readonly DeviceBuffer target

    def __init__(self, DeviceBuffer source, DeviceBuffer target):
        self.source, self.target = source, target


cdef class Waiting:
    """The work of a Device that waits. Under `lock`; `closed` says why no more can be done, or is empty."""

    cdef public object lock
    cdef public str closed
    cdef public DevicePool pool
    cdef public dict counters
    cdef public list waiting  # (pipeline, bind group, x, y), or of copies five arguments
    cdef public double busy  # the time at which the device will have done what was submitted, or later
    cdef public int64_t side  # workgroups along a dimension, at most
    cdef int64_t bound  # bytes that what waits binds
    cdef readonly dict groups  # bind groups, by pipeline and places

    def __init__(self, lock, pool):
        self.lock, self.pool, self.closed = lock, pool, ""
        self.counters = {"dispatches": 0, "submits": 0, "bytes_up": 0, "bytes_down": 0}
        self.waiting, self.groups = [], {}

    def allocate(self, int64_t nbytes):
        """A buffer, its contents unspecified. Raises MemoryError, which says how much is in use."""
        self.lock.acquire()
        try:
            if self.closed:
                raise DeviceLost(f"allocate: {self.closed}")
            return DeviceBuffer(self, self.pool, self.pool.take(nbytes), nbytes)
        finally:
            self.lock.release()

    def submit(self, list work, clock=None):
        """Hands work over, in order. A Clock times each dispatch; such work is submitted at once."""
        self.lock.acquire()
        try:
            if self.closed:
                raise DeviceLost(f"submit: {self.closed}")
            if clock:
                self.flush()
            for item in work:
                if type(item) is Copy:
                    self.waiting.append(self.copied(item))
                else:
                    self._append(<Dispatch>item)
            if clock or len(self.waiting) >= MOST or self.bound >= LARGE or (
                self.bound >= SMALL and perf_counter() >= self.busy
            ):
                self.flush(clock)
        finally:
            self.lock.release()

    cdef int _append(self, Dispatch item) except -1:
        cdef list key = [item.pipeline.number]
        cdef Part part
        cdef DeviceBuffer buffer
        for what in item.buffers:
            if type(what) is Part:
                part = <Part>what
                buffer = part.buffer
                key += (buffer.raw.number, part.offset, part.nbytes)
                self.bound += part.nbytes
            else:
                buffer = what
                key += (buffer.raw.number, 0, buffer.raw.nbytes)
                self.bound += buffer.raw.nbytes
        places = tuple(key)
        group = self.groups.get(places)
        if group is None:
            if len(self.groups) >= GROUPS_KEPT:
                self.groups.clear()
            group = self.groups[places] = self.bind_group(item)
        if item.groups <= self.side:
            self.waiting.append((item.pipeline.compute, group, item.groups, 1))
        else:
            self.waiting.append((item.pipeline.compute, group, *self.folded(item.groups)))
        self.counters["dispatches"] += 1
        return 0

    def taken(self):
        """What waits, which is to be submitted now."""
        cdef list work = self.waiting
        self.busy = perf_counter() + max(self.bound / FAST, PAUSE)
        self.waiting, self.bound = [], 0
        return work
