"""The time of each dispatch, by the timestamps of the device: what CHARL_DEBUG shows.

clock = of(device)              None where the device has no timestamps
clock.run([Dispatch(...), ...]) submits and waits; seconds of each dispatch
clock.bandwidth                 bytes a second that the device copies, measured at the first use
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from charl.runtime import probe
from charl.runtime.device import Copy, Device, Dispatch

MOST = 1024  # dispatches that are timed in one submit


class Clock:
    """Times the dispatches of one device."""

    def __init__(self, device: Device):
        self.device = device
        self._queries, self._resolved = device.timestamps(2 * MOST)
        self._stamps = device.allocate(16 * MOST)

    def run(self, work: Sequence[Dispatch | Copy]) -> list[float]:
        """Submits work in order. Returns the seconds that each Dispatch took, each by itself."""
        found = []
        for start in range(0, len(work), MOST):
            part = work[start : start + MOST]
            self.device.submit(part, self)
            count = sum(isinstance(item, Dispatch) for item in part)
            stamps = bytearray(16 * count)
            self.device.read(self._stamps, stamps)
            self.device.counters["bytes_down"] -= len(stamps)
            ticks = memoryview(stamps).cast("Q").tolist()
            # a counter that wraps, or cores that disagree, must not show as centuries
            found += [
                max(0, end - begin) * self.device.tick
                for begin, end in zip(ticks[::2], ticks[1::2])
            ]
        return found

    def writes(self, number: int) -> dict[str, Any]:
        """The timestamps of the compute pass that holds dispatch `number` alone."""
        return {
            "query_set": self._queries,
            "beginning_of_pass_write_index": 2 * number,
            "end_of_pass_write_index": 2 * number + 1,
        }

    def resolve(self, encoder: Any, count: int) -> None:
        """Ends an encoder whose timestamps are to be read."""
        if count:
            encoder.resolve_query_set(self._queries, 0, 2 * count, self._resolved, 0)
            encoder.copy_buffer_to_buffer(self._resolved, 0, self._stamps.raw.handle, 0, 16 * count)

    @functools.cached_property
    def bandwidth(self) -> float:
        """Of a copy, both directions together; 0 where there is no memory left to copy."""
        counters = dict(self.device.counters)
        try:
            return probe.copy_bandwidth(self.device)
        except MemoryError:
            return 0.0
        finally:
            self.device.counters.update(counters)
            self.device.trim()


def of(device: Device) -> Clock | None:
    """The Clock of a device, which is kept; None where it has no timestamps."""
    if device.clock is None and device.tick:
        device.clock = Clock(device)
    return device.clock
