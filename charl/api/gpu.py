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


def synchronize():
    """Returns once the GPUs in use have done all work that was handed to them; for measurements.

    What is only recorded has not been handed to them: `ch.eval(...)` first.

    >>> ch.gpu.synchronize()
    """
    _devices.synchronize()


def memory_stats():
    """What the pools of the GPUs in use hold: in_use, cached and peak in bytes, buffers, and the
    limit of each (0: none); a dict.

    >>> ch.gpu.memory_stats()["in_use"] >= 0
    True
    """
    return _devices.memory_stats()


def trim():
    """Gives memory that the pools only keep for later back to the drivers.

    >>> ch.gpu.trim()
    """
    _devices.trim()
