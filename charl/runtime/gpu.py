"""The GPUs of this machine, through wgpu (Vulkan, Metal, DX12). The only importer of wgpu, on first use.

Adapters are numbered from 0: "gpu" is the first one, "gpu:1" the next. Real GPUs come before
software ones, and CHARL_GPU_ADAPTER=name puts the first adapter with that text in its name ahead of
all. A device is opened when it is first asked for, with the optional features and the limits that
its adapter has, less those of CHARL_GPU_MASK, or lower where CHARL_GPU_LIMITS says so.

A child of fork cannot use the devices of its parent, nor the driver: it is told so.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
from typing import Any

from charl.core.errors import BackendUnavailable, DeviceLost
from charl.core.named import NamedTuple
from charl.core.settings import BY_NAME, config
from charl.runtime import tuning
from charl.runtime.device import Caps, Device

FEATURES = {
    "f64": "shader-f64",
    "i64": "shader-int64",
    "f16": "shader-f16",
    "subgroup": "subgroup",
    "timestamp": "timestamp-query",
}
LIMITS = BY_NAME["gpu_limits"].allowed
_ORDER = ("DiscreteGPU", "IntegratedGPU", "VirtualGPU", "Unknown", "CPU")
GET_ADAPTER = (
    "the vendor's Vulkan driver makes a GPU an adapter; on Debian the package mesa-vulkan-drivers "
    "has those of Intel and AMD, and one in software"
)
FORKED = (
    "this process is a fork of one that has used the GPU, and drivers do not survive that; "
    'start it with multiprocessing\'s "spawn", or use the GPU in the parent alone'
)


class Adapter(NamedTuple):
    """A GPU that may be opened. features: of FEATURES, those it has and that are not masked."""

    name: str
    kind: str  # DiscreteGPU, IntegratedGPU, VirtualGPU, CPU (software), Unknown
    backend: str
    driver: str
    features: frozenset[str]
    masked: frozenset[str]
    limits: dict[str, int]
    handle: Any


_lock = threading.RLock()
_adapters: list[Adapter] | None = None
_devices: dict[int, Device] = {}
_forked = False
_past = {"dispatches": 0, "submits": 0, "bytes_up": 0, "bytes_down": 0}  # of devices given up


def _wgpu() -> Any:
    """wgpu, loaded. Raises BackendUnavailable."""
    if _forked:
        raise BackendUnavailable(f"gpu: {FORKED}")
    try:
        import wgpu
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"gpu: {error}; `pip install wgpu` gets it") from None
    except Exception as error:  # a shared library that is broken, or of another system
        raise BackendUnavailable(
            f"gpu: wgpu cannot be used ({error}); `pip install --force-reinstall wgpu` mends it"
        ) from None
    return wgpu


def _enumerate() -> list[Any]:
    """wgpu's adapters. Drivers look for a window system, and libwayland prints an error on a machine
    where this variable is unset.
    """
    name = "XDG_RUNTIME_DIR"
    unset = name not in os.environ
    if unset:
        os.environ[name] = tempfile.gettempdir()
    try:
        return _wgpu().gpu.enumerate_adapters_sync()
    finally:
        if unset:
            del os.environ[name]


def adapters() -> list[Adapter]:
    """All adapters, in the order of their numbers. Raises BackendUnavailable without wgpu."""
    global _adapters
    with _lock:
        if _adapters is None:
            found = [_adapter(a) for a in _enumerate()]
            # OpenGL has one context, current in one thread: wgpu aborts where several meet
            able = [a for a in found if a.backend not in ("OpenGL", "OpenGLES")]
            able.sort(key=lambda a: _ORDER.index(a.kind) if a.kind in _ORDER else 3)
            _adapters = _preferred(able, config.gpu_adapter)
        return _adapters


def _adapter(handle: Any) -> Adapter:
    info, limits = handle.info, handle.limits
    masked = frozenset(config.gpu_mask.split(","))
    lower = dict(item.split("=") for item in config.gpu_limits.split(",") if item)
    features = frozenset(
        name
        for name, theirs in FEATURES.items()
        if theirs in handle.features and name not in masked
    )
    return Adapter(
        str(info["device"]),
        str(info["adapter_type"]),
        str(info["backend_type"]),
        str(info["description"]),
        features,
        masked & FEATURES.keys(),
        {name: min(limits[name], int(lower.get(name, limits[name]))) for name in LIMITS},
        handle,
    )


def describe() -> list[str]:
    """Of each adapter: name, how it is reached, features with those it lacks, limits, and
    whether it has been tuned.
    """
    lines = []
    for k, a in enumerate(adapters()):
        lacks = sorted(FEATURES.keys() - a.features - a.masked)
        has = ", ".join(sorted(a.features)) or "no optional feature"
        has += f"; without {', '.join(lacks)}" if lacks else ""
        has += f"; masked {', '.join(sorted(a.masked))}" if a.masked else ""
        limits = (
            f"buffers of {a.limits['max-buffer-size'] / 2**20:.0f} MiB, "
            f"{a.limits['max-storage-buffer-binding-size'] / 2**20:.0f} MiB a binding, "
            f"{a.limits['max-storage-buffers-per-shader-stage']} bindings, "
            f"{a.limits['max-compute-invocations-per-workgroup']} threads and "
            f"{a.limits['max-compute-workgroup-storage-size'] / 2**10:.0f} KiB a workgroup"
        )
        kind = "software" if a.kind == "CPU" else a.kind
        tuned = "; tuned" if tuning.load(a.name, a.driver) else ""
        lines.append(f"gpu:{k} {a.name} ({kind}, {a.backend}, {a.driver}); {has}; {limits}{tuned}")
    return lines


def vendors() -> list[int]:
    """PCI numbers of the vendors of all adapters."""
    return [int(a.handle.info["vendor_id"]) for a in adapters()]


def _preferred(found: list[Adapter], name: str) -> list[Adapter]:
    """The first one that has `name` in its name ahead of the others."""
    if not name:
        return found
    for at, adapter in enumerate(found):
        if name.lower() in adapter.name.lower():
            return [adapter, *found[:at], *found[at + 1 :]]
    there = ", ".join(a.name for a in found) or "none"
    raise BackendUnavailable(f"gpu: CHARL_GPU_ADAPTER={name} fits no adapter; there are: {there}")


def device(number: int = 0) -> Device:
    """The opened device of an adapter. Raises BackendUnavailable, which says what is missing."""
    found = _devices.get(number)
    if found is not None:
        return found
    with _lock:
        if number not in _devices:
            there = adapters()
            if not there:
                raise BackendUnavailable(f"gpu: there is no adapter; {GET_ADAPTER}")
            if number >= len(there):
                raise BackendUnavailable(
                    f"gpu:{number}: there are {len(there)} adapters: "
                    + ", ".join(f"gpu:{k} {a.name}" for k, a in enumerate(there))
                )
            _devices[number] = _open(there[number], number)
        return _devices[number]


def _open(adapter: Adapter, number: int) -> Device:
    try:
        raw = adapter.handle.request_device_sync(
            required_features=[FEATURES[name] for name in sorted(adapter.features)],
            required_limits=adapter.limits,
        )
    except (RuntimeError, ValueError) as error:
        raise BackendUnavailable(
            f"gpu:{number}: {adapter.name} cannot be opened: {error}"
        ) from None
    limits = adapter.limits
    binding = min(limits["max-storage-buffer-binding-size"], limits["max-buffer-size"])
    caps = Caps(
        f64="f64" in adapter.features,
        i64="i64" in adapter.features,
        f16="f16" in adapter.features,
        subgroup="subgroup" in adapter.features,
        max_workgroup=min(
            limits["max-compute-invocations-per-workgroup"], limits["max-compute-workgroup-size-x"]
        ),
        max_storage_buffers=limits["max-storage-buffers-per-shader-stage"],
        workgroup_memory=limits["max-compute-workgroup-storage-size"],
        part=1 << (binding.bit_length() - 1),
    )
    name = f"gpu:{number} ({adapter.name})"
    tick = _tick(raw) if "timestamp" in adapter.features else 0.0
    made = Device(_wgpu(), raw, name, caps, config.gpu_memory_limit, tick)
    made.tiling = tuning.load(adapter.name, adapter.driver)
    return made


def keep_tiling(number: int, tiling: tuple[int, ...]) -> bool:
    """Keeps the sizes that suit an adapter, for all that open it. Returns whether that worked."""
    adapter = adapters()[number]
    return tuning.save(adapter.name, adapter.driver, tiling)


def _tick(raw: Any) -> float:
    """Seconds between two timestamps of an opened device; 0 where wgpu does not tell."""
    try:
        period = _wgpu().backends.wgpu_native.lib.wgpuQueueGetTimestampPeriod
        return period(raw.queue._internal) * 1e-9
    except AttributeError:
        return 0.0


def reset() -> None:
    """Gives all devices up, and with them all that is on them; the next use opens them anew."""
    global _adapters
    if _forked:
        raise DeviceLost(f"gpu.reset: {FORKED}")
    with _lock:
        for number, old in list(_devices.items()):
            for name in _past:
                _past[name] += old.counters[name]
            old.close(f"{old.name} was reset, and what was on it is gone")
            del _devices[number]
        _adapters = None


def opened() -> list[Device]:
    """The devices in use."""
    return list(_devices.values())


def counters() -> dict[str, int]:
    """dispatches, submits, bytes_up, bytes_down of this process, on all devices."""
    return {
        name: count + sum(d.counters[name] for d in list(_devices.values()))
        for name, count in _past.items()
    }


def _after_fork_in_child() -> None:
    """Nothing may call the driver here, not even to free what it holds: that is kept for good."""
    global _forked, _lock, _adapters
    _lock = threading.RLock()
    if _adapters is None:
        return
    _forked = True
    for kept in (_adapters, *_devices.values()):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    for found in _devices.values():
        found.lock = threading.RLock()
        found.closed = FORKED
    _devices.clear()
    _adapters = None
    _end_without_drivers()


def _end_without_drivers() -> None:
    """This process shall end without the drivers' own exit handlers: they join threads that are
    only in the parent. glibc's on_exit runs what was registered last first.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):
        libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)
        libc.on_exit(ctypes.cast(libc.fcloseall, ctypes.c_void_p), None)


def _configure(changed: dict) -> None:
    global _adapters
    if "gpu_memory_limit" in changed:
        for found in _devices.values():
            found.pool.limit = config.gpu_memory_limit
    if not _devices and {"gpu_mask", "gpu_adapter", "gpu_limits"} & changed.keys():
        _adapters = None


config.watch(_configure, now=False)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
