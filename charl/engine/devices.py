"""Names of devices and their codes in Nodes: "cpu" is 0, "gpu" or "gpu:0" is 1, "gpu:1" is 2."""

from __future__ import annotations

import re

from charl import runtime
from charl.core.errors import BackendUnavailable
from charl.core.lazy import loaded
from charl.core.settings import config


def code(name: object, function: str) -> int:
    """A device's code; None stands for the default device. Raises ValueError for what is no device,
    BackendUnavailable for one that this machine has not, which says what is missing.
    """
    if name is None:
        name = config.default_device
    if name == "cpu":
        return 0
    found = re.fullmatch(r"gpu(?::(\d{1,2}))?", name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(
            f"{function}: there is no device {name!r}; there are 'cpu', 'gpu', 'gpu:1'"
        )
    number = int(found[1] or 0)
    runtime.gpu.device(number)
    return number + 1


def name(device: int) -> str:
    """The name of a code."""
    return "cpu" if device == 0 else "gpu" if device == 1 else f"gpu:{device - 1}"


def names() -> tuple[str, ...]:
    """The devices of this machine."""
    try:
        count = len(runtime.gpu.adapters())
    except BackendUnavailable:
        count = 0
    return tuple(name(k) for k in range(count + 1))


def lacks(device: int, dtype: str) -> bool:
    """Whether a device cannot compute with a dtype. 64-bit integers it lacks are made of 32-bit ones."""
    return device != 0 and dtype == "float64" and not runtime.gpu.device(device - 1).caps.f64


def check(device: int, dtype: str, function: str) -> None:
    """Raises TypeError where a device lacks a dtype that was asked for."""
    if lacks(device, dtype):
        raise TypeError(
            f"{function}: {runtime.gpu.device(device - 1).name} has no {dtype}; use float32, or the cpu"
        )


def narrow(device: int, dtype: str) -> bool:
    """Whether a default dtype of 64 bits is one of 32 bits on a device."""
    if device == 0:
        return False
    caps = runtime.gpu.device(device - 1).caps
    return not (caps.f64 if dtype == "float64" else caps.i64)


def opened(device: int):
    """The runtime's Device of a code that is not the cpu's."""
    return runtime.gpu.device(device - 1)


def keep_tiling(device: int, tiling: tuple[int, ...]) -> bool:
    """Keeps the sizes that suit a GPU, for all that open it. Returns whether that worked."""
    return runtime.gpu.keep_tiling(device - 1, tiling)


def reset() -> None:
    """Gives all GPUs up, and with them the arrays that are there; the next use opens them anew."""
    runtime.gpu.reset()


def synchronize() -> None:
    """Returns once all GPUs in use have done their work."""
    for device in runtime.gpu.opened():
        device.synchronize()


def memory_stats() -> dict[str, int]:
    """What the pools of all GPUs in use hold: in_use, cached and peak in bytes, buffers; and the
    limit of each, 0 for none.
    """
    total = {"in_use": 0, "cached": 0, "peak": 0, "buffers": 0, "limit": config.gpu_memory_limit}
    for device in runtime.gpu.opened() if loaded("charl.runtime.gpu") else ():
        for key, value in device.memory_stats().items():
            total[key] += value
    return total


def trim() -> None:
    """Gives memory that the pools only keep for later back to the drivers."""
    for device in runtime.gpu.opened():
        device.trim()
