"""GPUs: which there are, their memory, and giving them up."""

from __future__ import annotations

from charl.engine import devices as _devices


def devices():
    """The devices of this machine: "cpu", then "gpu", "gpu:1", ...

    >>> ch.devices()[0]
    'cpu'
    """
    return _devices.names()


def reset():
    """Gives all GPUs up, and with them the arrays that are there; the next use opens them anew.

    After DeviceLost it brings them back.

    >>> ch.gpu.reset()
    """
    _devices.reset()


def memory_stats():
    """What the pools of the GPUs in use hold: in_use, cached and peak in bytes, buffers; a dict.

    >>> ch.gpu.memory_stats()["in_use"] >= 0
    True
    """
    return _devices.memory_stats()


def trim():
    """Gives memory that the pools only keep for later back to the drivers.

    >>> ch.gpu.trim()
    """
    _devices.trim()
