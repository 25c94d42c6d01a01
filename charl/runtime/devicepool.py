"""Memory of a GPU by size class: what is dropped is kept for the next request of its class.

`freed` takes blocks from any thread at any time; all other calls are made under the device's lock.
"""

from __future__ import annotations

import collections
import gc
import heapq
import itertools
from collections.abc import Callable
from typing import Any

LEAST = 256  # bytes of a block
STEPS = 8  # size classes between two powers of two
KEPT = 512 << 20  # bytes kept for later; beyond them the largest blocks are given back


class Raw:
    """A block: the driver's handle, the bytes of its class, and a number that is never used again."""

    __slots__ = ("handle", "nbytes", "number")

    def __init__(self, handle: Any, nbytes: int, number: int):
        self.handle, self.nbytes, self.number = handle, nbytes, number


class DevicePool:
    """create(nbytes) gives a handle or raises; forget() is called before handles are destroyed."""

    def __init__(self, create: Callable[[int], Any], forget: Callable[[], None], largest: int):
        self._create, self._forget, self._largest = create, forget, largest
        self.freed: collections.deque[Raw] = collections.deque()
        self.limit = 0  # bytes in use; 0: none
        self._free: dict[
            int, list[tuple[int, Raw]]
        ] = {}  # heaps by number: a loop gets its blocks again
        self._numbers = itertools.count()
        self._live = self._kept = self._peak = self._count = 0

    def take(self, nbytes: int) -> Raw:
        """A block of at least nbytes. Raises MemoryError."""
        self._collect()
        size = size_class(nbytes)
        kept = self._free.get(size)
        if kept:
            self._kept -= size
            return self._lend(heapq.heappop(kept)[1])
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
        return self._lend(Raw(handle, size, next(self._numbers)))

    def _lend(self, raw: Raw) -> Raw:
        self._live += raw.nbytes
        self._count += 1
        self._peak = max(self._peak, self._live)
        return raw

    def _collect(self) -> None:
        """Takes back what was dropped meanwhile."""
        while self.freed:
            raw = self.freed.popleft()
            self._live -= raw.nbytes
            self._count -= 1
            self._kept += raw.nbytes
            heapq.heappush(self._free.setdefault(raw.nbytes, []), (raw.number, raw))
        if self._kept > KEPT:
            self._shrink(KEPT // 2)

    def _shrink(self, most: int) -> None:
        """Destroys kept blocks, largest first, until `most` bytes are left. The driver waits for
        the work that uses them.
        """
        self._forget()
        for size in sorted(self._free, reverse=True):
            blocks = self._free[size]
            while blocks and self._kept > most:
                blocks.pop()[1].handle.destroy()
                self._kept -= size
            if not blocks:
                del self._free[size]

    def trim(self) -> None:
        """Destroys all kept blocks."""
        self._collect()
        self._shrink(0)

    def stats(self) -> dict[str, int]:
        """in_use, cached and peak in bytes; buffers, their number."""
        gone = list(self.freed)
        back = sum(raw.nbytes for raw in gone)
        return {
            "in_use": self._live - back,
            "cached": self._kept + back,
            "peak": self._peak,
            "buffers": self._count - len(gone),
        }


def size_class(nbytes: int) -> int:
    """The bytes of the block that serves nbytes: at most an eighth more, beyond small sizes."""
    if nbytes <= LEAST:
        return LEAST
    step = max(LEAST, (1 << (nbytes - 1).bit_length()) // (2 * STEPS))
    return -(-nbytes // step) * step
