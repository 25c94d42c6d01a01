"""An opened GPU: its memory, its pipelines, its queue. Made by runtime.gpu, which hands it wgpu.

    buffer = device.allocate(nbytes)            pooled; its memory is used again once it is dropped
    device.upload(buffer, data)                 copies data and returns at once
    pipeline = device.pipeline(text)            a WGSL module with the entry point "main"; kept
    device.submit([Dispatch(...), Copy(...)])   hands work over; small pieces wait for each other
    device.read(buffer, into)                   waits for the work so far

Work is done in the order of the calls; what waits (runtime.devicework) is submitted first by whatever
reads, uploads or waits. All calls of the driver are made under one lock, so threads may call at
will; a dropped buffer only joins a queue, since destructors run anywhere. A failure of the driver
becomes MemoryError, DeviceLost, or InternalError with the text of the kernel.
"""

from __future__ import annotations

import collections
import re
import threading
from typing import Any

from charl.core.errors import DeviceLost, InternalError
from charl.core.named import NamedTuple
from charl.runtime import direct, interrupts
from charl.runtime.devicepool import DeviceBuffer, DevicePool
from charl.runtime.devicework import Copy, Dispatch, Part, Waiting

PIPELINES = 1024  # kept, least recently used dropped first
GROUPS = 65535  # workgroups in a dimension that every device takes
READ_CHUNK = 16 << 20  # bytes of a staging buffer
DIRECT = 16 << 20  # uploads of more bytes go by charl's own staging buffers, not the driver's
UPLOAD_CHUNK, RING = 4 << 20, 3  # bytes of such a buffer, and how many there are
AHEAD = 1024, 2  # dispatches between marks, and marks that may be outstanding
SUBMIT = 16  # dispatches that a submit counts as: each holds memory of the driver

_BINDING = re.compile(r"@binding\((\d+)\)\s*var<storage(?:,\s*(read_write|read))?>")


class Caps(NamedTuple):
    """What an emitter may use, in the order of codegen.wgsl.Features."""

    f64: bool
    i64: bool
    f16: bool
    subgroup: bool
    max_workgroup: int
    max_storage_buffers: int
    workgroup_memory: int
    part: int


class Pipeline(NamedTuple):
    """A compiled kernel. number: names it among this device's pipelines; writes: whether it writes
    binding k.
    """

    number: int
    compute: Any
    layout: Any
    text: str
    writes: tuple[bool, ...]


class Calling:
    """A block of calls of a device's driver, see Device._calling; interrupts wait for its end."""

    __slots__ = ("_device", "_held", "_text", "_what")

    def __init__(self, device: Device, what: str, text: str):
        self._device, self._what, self._text = device, what, text
        self._held = interrupts.Held()

    def __enter__(self) -> None:
        device = self._device
        self._held.__enter__()
        device.lock.acquire()
        if device.closed:
            device.lock.release()
            self._held.__exit__()
            raise DeviceLost(f"{self._what}: {device.closed}")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            if error is not None:
                told = self._device.told(self._what, error, self._text)
                if told is not error:
                    raise told from None
        finally:
            self._device.lock.release()
            self._held.__exit__()


class Device(Waiting):
    """One adapter, opened. `closed` says why it cannot be used any more, or is empty. `tiling`: the
    sizes of codegen.wgsl.Tiling that suit it, in that order; those that are missing are the usual.
    `tick`: seconds between two timestamps, 0 where it has none.
    """

    def __init__(
        self,
        wgpu: Any,
        raw: Any,
        name: str,
        caps: Caps,
        memory_limit: int = 0,
        tick: float = 0.0,
    ):
        most = raw.limits["max-buffer-size"]
        super().__init__(threading.RLock(), DevicePool(self._create, self._forget, most))
        self.name, self.caps, self.raw = name, caps, raw
        self.tiling: tuple[int, ...] = ()
        self.tick = tick
        self.clock: Any = None  # runtime.clock's
        self.alignment = raw.limits["min-storage-buffer-offset-alignment"]
        self.side = min(raw.limits["max-compute-workgroups-per-dimension"], GROUPS)
        self.pool.limit = memory_limit
        self._wgpu = wgpu
        self._direct = direct.calls(wgpu)
        self._pipelines: collections.OrderedDict[str, Pipeline] = collections.OrderedDict()
        self._made = 0
        self._staging: list[Any] = []
        self._ring: collections.deque = collections.deque()
        self._marks: collections.deque = collections.deque()
        self._unmarked = 0

    # -- failures ----------------------------------------------------------------------------------

    def _calling(self, what: str, text: str = "") -> Calling:
        """A call of the driver: under the lock, its errors turned into charl's."""
        return Calling(self, what, text)

    def told(self, what: str, error: BaseException, text: str) -> BaseException:
        """What an error of wgpu means; of one that is not wgpu's, itself."""
        if isinstance(error, (DeviceLost, InternalError)):
            return error
        if isinstance(error, self._wgpu.GPUOutOfMemoryError):
            return MemoryError(f"{what}: out of memory of {self.name}: {error}")
        if not isinstance(error, (self._wgpu.GPUError, RuntimeError)):
            return error
        if "not enough memory" in str(error).lower():  # some drivers' kind of it
            return MemoryError(f"{what}: out of memory of {self.name}")
        if _says_lost(str(error)):
            self.closed = (
                f"{self.name} was lost ({_first_line(error)}); what was on it is gone; "
                "charl.gpu.reset() opens it again"
            )
            return DeviceLost(f"{what}: {self.closed}")
        return InternalError(f"{what} on {self.name}: {error}", text or None)

    def close(self, why: str) -> None:
        """Gives the device up: every later call raises DeviceLost, which says why."""
        with self.lock:
            if not self.closed:
                self.closed = why
                self.groups.clear()
                self._pipelines.clear()
                self._staging.clear()
                self._ring.clear()
                self._marks.clear()
                self.waiting.clear()
                self.raw.destroy()

    # -- memory ------------------------------------------------------------------------------------

    def _create(self, nbytes: int) -> Any:
        usage = self._wgpu.BufferUsage
        with self._calling("allocate"):
            return self.raw.create_buffer(
                size=nbytes, usage=usage.STORAGE | usage.COPY_SRC | usage.COPY_DST
            )

    def _forget(self) -> None:
        """Buffers are about to be destroyed: bind groups must not hold them."""
        self.flush()
        self.groups.clear()

    def trim(self) -> None:
        """Gives memory that is only kept for later back to the driver."""
        with self._calling("trim"):
            self.pool.trim()

    def memory_stats(self) -> dict[str, int]:
        """Bytes in use, kept for later, and most that were in use; the number of live buffers."""
        return self.pool.stats()

    # -- transfers ---------------------------------------------------------------------------------

    def upload(self, buffer: DeviceBuffer, data: Any, offset: int = 0) -> None:
        """Copies a C-contiguous object's bytes into a buffer. The object may change afterwards."""
        view = memoryview(data).cast("B")
        nbytes = view.nbytes
        if not nbytes:
            return
        with self._calling("upload"):
            raw, queue = self._raw(buffer), self.raw.queue
            self.flush()
            whole = nbytes & ~3
            if whole > DIRECT:
                self._upload_staged(raw, view[:whole], offset)
            elif whole:
                queue.write_buffer(raw, offset, view[:whole])
            if nbytes > whole:  # copies are of whole words
                tail = bytes(view[whole:]).ljust(4, b"\0")
                queue.write_buffer(raw, offset + whole, tail)
            self.counters["bytes_up"] += nbytes

    def _upload_staged(self, target: Any, view: memoryview, offset: int) -> None:
        """Chunk by chunk: one is filled while those before it are copied. The driver's own way would
        take fresh memory for each chunk.
        """
        usage, mode = self._wgpu.BufferUsage, self._wgpu.MapMode.WRITE
        self.raw.create_command_encoder().finish()  # says so where the device is lost; maps do not
        for start in range(0, view.nbytes, UPLOAD_CHUNK):
            part = view[start : start + UPLOAD_CHUNK]
            if len(self._ring) == RING:
                staging = self._ring.popleft()
            else:
                kind = usage.MAP_WRITE | usage.COPY_SRC
                staging = self.raw.create_buffer(size=UPLOAD_CHUNK, usage=kind)
            staging.map_sync(mode, 0, part.nbytes)
            staging.write_mapped(part)
            staging.unmap()
            encoder = self.raw.create_command_encoder()
            encoder.copy_buffer_to_buffer(staging, 0, target, offset + start, part.nbytes)
            self.raw.queue.submit([encoder.finish()])
            self._ring.append(staging)

    def read(self, buffer: DeviceBuffer, into: Any, offset: int = 0) -> None:
        """Copies a buffer's first bytes into a writable C-contiguous object. Waits for them."""
        view = memoryview(into).cast("B")
        with self._calling("read"):
            self.flush()
            waiting: collections.deque = collections.deque()
            for start in range(0, view.nbytes, READ_CHUNK):
                size = min(READ_CHUNK, view.nbytes - start)
                waiting.append((self._start_read(buffer, offset + start, size), start, size))
                if len(waiting) == 2:  # one is copied out while the other is being filled
                    self._finish_read(view, *waiting.popleft())
            while waiting:
                self._finish_read(view, *waiting.popleft())
            self.counters["bytes_down"] += view.nbytes

    def _start_read(self, buffer: DeviceBuffer, offset: int, size: int) -> Any:
        words = (size + 3) & ~3
        staging = self._take_staging(words)
        encoder = self.raw.create_command_encoder()
        encoder.copy_buffer_to_buffer(self._raw(buffer), offset, staging, 0, words)
        self.raw.queue.submit([encoder.finish()])
        return staging

    def _finish_read(self, view: memoryview, staging: Any, start: int, size: int) -> None:
        staging.map_sync(self._wgpu.MapMode.READ, 0, (size + 3) & ~3)
        try:
            found = staging.read_mapped(0, (size + 3) & ~3, copy=False)
            view[start : start + size] = found[:size]
        finally:
            staging.unmap()
        self._staging.append(staging)

    def _take_staging(self, nbytes: int) -> Any:
        """A buffer to read through: the smallest one at hand, or a new one."""
        fitting = [s for s in self._staging if s.size >= nbytes]
        if fitting:
            found = min(fitting, key=lambda s: s.size)
            self._staging.remove(found)
            return found
        if len(self._staging) >= 4:
            self._staging.remove(min(self._staging, key=lambda s: s.size))
        usage = self._wgpu.BufferUsage
        size = max(4096, 1 << (nbytes - 1).bit_length())
        return self.raw.create_buffer(size=size, usage=usage.COPY_DST | usage.MAP_READ)

    def _raw(self, buffer: DeviceBuffer) -> Any:
        if buffer.device is not self:
            raise DeviceLost(
                buffer.device.closed or f"a buffer of {buffer.device.name} is elsewhere"
            )
        return buffer.raw.handle

    # -- kernels -----------------------------------------------------------------------------------

    def pipeline(self, text: str) -> Pipeline:
        """The compiled kernel of a WGSL module. Raises InternalError with the text if it is wrong."""
        found = self._pipelines.get(text)
        if found is not None:
            self._pipelines.move_to_end(text)
            return found
        with self._calling("pipeline", text):
            modes = {int(k): mode for k, mode in _BINDING.findall(text)}
            layout = self.raw.create_bind_group_layout(
                entries=[
                    {
                        "binding": k,
                        "visibility": self._wgpu.ShaderStage.COMPUTE,
                        "buffer": {
                            "type": "storage" if mode == "read_write" else "read-only-storage"
                        },
                    }
                    for k, mode in sorted(modes.items())
                ]
            )
            module = self._direct.module(self.raw, text)
            compute = self.raw.create_compute_pipeline(
                layout=self.raw.create_pipeline_layout(bind_group_layouts=[layout]),
                compute={"module": module, "entry_point": "main"},
            )
            self._made += 1
            writes = tuple(mode == "read_write" for _, mode in sorted(modes.items()))
            found = self._pipelines[text] = Pipeline(self._made, compute, layout, text, writes)
            while len(self._pipelines) > PIPELINES:
                self._pipelines.popitem(last=False)
            return found

    def bind_group(self, dispatch: Dispatch) -> Any:
        """The bind group of a dispatch."""
        entries = []
        for k, item in enumerate(dispatch.buffers):
            raw, offset = item, 0
            if isinstance(item, Part):
                raw, offset = item.buffer, item.offset
            size = item.nbytes if isinstance(item, Part) else item.raw.nbytes
            where = {"buffer": self._raw(raw), "offset": offset, "size": size}
            entries.append({"binding": k, "resource": where})
        with self._calling("submit"):
            return self.raw.create_bind_group(layout=dispatch.pipeline.layout, entries=entries)

    def copied(self, item: Copy) -> tuple:
        """The arguments of the driver's copy."""
        nbytes = (min(item.source.nbytes, item.target.nbytes) + 3) & ~3
        return self._raw(item.source), 0, self._raw(item.target), 0, nbytes

    def folded(self, groups: int) -> tuple[int, int]:
        """The workgroups of a large dispatch along x and y."""
        return fold(groups, self.side)

    def timestamps(self, count: int) -> tuple[Any, Any]:
        """A query set of so many timestamps, and the buffer that takes them."""
        with self._calling("timestamps"):
            usage = self._wgpu.BufferUsage
            return self.raw.create_query_set(type="timestamp", count=count), self.raw.create_buffer(
                size=8 * count, usage=usage.QUERY_RESOLVE | usage.COPY_SRC
            )

    def flush(self, clock: Any = None) -> None:
        """Submits what waits, as one command buffer."""
        if not self.waiting:
            return
        with self._calling("submit"):
            work = self.taken()
            encoder = self.raw.create_command_encoder()
            count = self._encode(encoder, work, clock)
            if clock:
                clock.resolve(encoder, count)
            self.raw.queue.submit([encoder.finish()])
            self.counters["submits"] += 1
            self._bound_queue(count)

    def _encode(self, encoder: Any, work: list[tuple], clock: Any) -> int:
        """Writes work into an encoder. Returns the number of dispatches."""
        run = pipeline = None
        count = 0
        for item in work:
            if len(item) == 5:
                if run is not None:
                    run.end()
                    run = pipeline = None
                encoder.copy_buffer_to_buffer(*item)
                continue
            if run is None:
                writes = clock.writes(count) if clock else None
                run = encoder.begin_compute_pass(timestamp_writes=writes)
            compute, group, x, y = item
            if compute is not pipeline:
                pipeline = compute
                self._direct.pipeline(run, compute)
            self._direct.dispatch(run, group, x, y)
            count += 1
            if clock:
                run.end()
                run = pipeline = None
        if run is not None:
            run.end()
        return count

    def _bound_queue(self, count: int) -> None:
        """The caller may run ahead of the device by so much, so that memory stays flat."""
        self._unmarked += count + SUBMIT
        if self._unmarked >= AHEAD[0]:
            self._unmarked = 0
            self._marks.append(self._mark())
            if len(self._marks) > AHEAD[1]:
                self._reach(*self._marks.popleft())

    def _mark(self) -> tuple[Any, Any]:
        """(staging buffer, promise) of something small that is done once all work so far is done."""
        staging = self._take_staging(4)
        encoder = self.raw.create_command_encoder()
        encoder.clear_buffer(staging, 0, 4)
        self.raw.queue.submit([encoder.finish()])
        return staging, staging.map_async(self._wgpu.MapMode.READ, 0, 4)

    def _reach(self, staging: Any, promise: Any) -> None:
        promise.sync_wait()
        staging.unmap()
        self._staging.append(staging)

    def synchronize(self) -> None:
        """Waits for all submitted work."""
        with self._calling("synchronize"):
            self.flush()
            while self._marks:
                self._reach(*self._marks.popleft())
            self._reach(*self._mark())


def fold(groups: int, side: int = GROUPS) -> tuple[int, int]:
    """(x, y) with x * y >= groups, each at most `side`; a kernel leaves out what is too many."""
    if groups <= side:
        return groups, 1
    y = -(-groups // side)
    if y > side:
        raise ValueError(f"a kernel of {groups} workgroups is too large for a GPU")
    return -(-groups // y), y


def _says_lost(message: str) -> bool:
    return "device is lost" in message.lower()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
