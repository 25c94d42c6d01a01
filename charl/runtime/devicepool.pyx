# cython: language_level=3
"""Memory of a GPU by size class: what is dropped is kept for the next request of its class.

`freed` takes blocks from any thread at any time; all other calls are made under the device's lock.
"""

import collections
import gc
import heapq

cdef enum:
    LEAST = 256  # bytes of a block
    STEPS = 8  # size classes between two powers of two
    KEPT = 512 << 20  # bytes kept for later; beyond them the largest blocks are given back


cdef class Raw:
    """A block: the driver's handle, the bytes of its class, and a number that is never used again."""

    def __init__(self, handle, int64_t nbytes, int64_t number):
        self.handle, self.nbytes, self.number = handle, nbytes, number

    def __lt__(self, Raw other):
        return self.number < other.number


cdef class DeviceBuffer:
    """nbytes of a device's memory, which go back to its pool with the last reference."""

    def __init__(self, device, DevicePool pool, Raw raw, int64_t nbytes):
        self.device, self.pool, self.raw, self.nbytes = device, pool, raw, nbytes

    def __del__(self):
        self.pool.freed.append(self.raw)

    def __repr__(self):
        return f"<DeviceBuffer {self.nbytes} bytes on {self.device.name}>"


cdef class DevicePool:
    """create(nbytes) gives a handle or raises; forget() is called before handles are destroyed."""

    def __init__(self, create, forget, int64_t largest):
        self._create, self._forget, self._largest = create, forget, largest
        self.freed = collections.deque()
        self.limit = 0  # bytes in use; 0: none
        self._free = {}  # heaps by number: a loop gets its blocks again
        self._numbers = self._live = self._kept = self._peak = self._count = 0

    cpdef Raw take(self, int64_t nbytes):
        """A block of at least nbytes. Raises MemoryError."""
        cdef int64_t size = size_class(nbytes)
        cdef list kept
        self._collect()
        kept = self._free.get(size)
        if kept:
            self._kept -= size
            return self._lend(heapq.heappop(kept))
        if size > self._largest:
            size = (nbytes + 255) & ~255
            if size > self._largest:
                raise MemoryError(
                    f"the largest buffer of this GPU has {self._largest} bytes; "
                    f"{nbytes} were asked for"
                )
        if self.limit and self._live + size > self.limit:
            gc.collect()
            self._collect()
            if self._live + size > self.limit:
                raise MemoryError(
                    f"out of memory of the GPU: {nbytes} bytes were asked for, {self._live} are in "
                    f"use, the limit (CHARL_GPU_MEMORY_LIMIT) is {self.limit}"
                )
        if self.limit and self._live + self._kept + size > self.limit:
            self.trim()
        try:
            handle = self._create(size)
        except MemoryError:
            gc.collect()
            self._collect()
            self.trim()
            handle = self._create(size)
        self._numbers += 1
        return self._lend(Raw(handle, size, self._numbers))

    cdef Raw _lend(self, Raw raw):
        self._live += raw.nbytes
        self._count += 1
        self._peak = max(self._peak, self._live)
        return raw

    cdef int _collect(self) except -1:
        """Takes back what was dropped meanwhile."""
        cdef Raw raw
        while self.freed:
            raw = self.freed.popleft()
            self._live -= raw.nbytes
            self._count -= 1
            self._kept += raw.nbytes
            heapq.heappush(self._free.setdefault(raw.nbytes, []), raw)
        if self._kept > KEPT:
            self._shrink(KEPT // 2)
        return 0

    cdef int _shrink(self, int64_t most) except -1:
        """Destroys kept blocks, largest first, until `most` bytes are left. The driver waits for
        the work that uses them.
        """
        self._forget()
        for size in sorted(self._free, reverse=True):
            blocks = self._free[size]
            while blocks and self._kept > most:
                blocks.pop().handle.destroy()
                self._kept -= size
            if not blocks:
                del self._free[size]
        return 0

    def trim(self):
        """Destroys all kept blocks."""
        self._collect()
        self._shrink(0)

    def stats(self):
        """in_use, cached and peak in bytes; buffers, their number."""
        gone = list(self.freed)
        back = sum(raw.nbytes for raw in gone)
        return {
            "in_use": self._live - back,
            "cached": self._kept + back,
            "peak": self._peak,
            "buffers": self._count - len(gone),
        }


cpdef int64_t size_class(int64_t nbytes) noexcept:
    """The bytes of the block that serves nbytes: at most an eighth more, beyond small sizes."""
    cdef int64_t power = LEAST, step
    if nbytes <= LEAST:
        return LEAST
    while power < nbytes:
        power *= 2
    step = max(<int64_t>LEAST, power // (2 * STEPS))
    return (nbytes + step - 1) // step * step
