"""What a user sees of a GPU: counters, measured limits, what is shown under CHARL_DEBUG."""

import numpy as np
import pytest

import charl as ch
from charl import runtime

pytestmark = pytest.mark.skipif(
    "gpu" not in ch.devices(),
    reason="no adapter; Debian's package mesa-vulkan-drivers has a software one",
)


def put(*shape):
    return ch.asarray(np.ones(shape, np.float32), device="gpu")


def counted(call):
    """What a call adds to the GPU's counters."""
    names = "dispatches", "submits", "bytes_up", "bytes_down"
    before = ch.cache_info()
    call()
    after = ch.cache_info()
    return {name: after[name] - before[name] for name in names}


def test_counters_of_transfers_are_their_bytes():
    x = counted(lambda: ch.eval(put(1000)))
    assert x == {"dispatches": 0, "submits": 0, "bytes_up": 4000, "bytes_down": 0}
    y = put(1000)
    ch.eval(y)
    assert counted(y.numpy) == {"dispatches": 0, "submits": 0, "bytes_up": 0, "bytes_down": 4000}


def test_counters_of_work():
    x = put(1000)
    ch.eval(x * 2)  # its parameters are sent once
    assert counted(lambda: ch.eval(x * 2)) == {
        "dispatches": 1, "submits": 1, "bytes_up": 0, "bytes_down": 0}  # fmt: skip


def test_synchronize_leaves_nothing_to_wait_for():
    x = put(1000)
    ch.eval(x + 1)
    ch.gpu.synchronize()
    assert float(ch.sum(x)) == 1000


def test_measured_limits_are_those_of_some_machine():
    device = runtime.gpu.device()
    assert 1e6 < runtime.probe.copy_bandwidth(device, 1 << 20) < 1e14
    assert 1e6 < runtime.probe.fma_peak(device, 0.001) < 1e16
