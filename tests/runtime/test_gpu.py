"""The GPU runtime, driven by WGSL written by hand."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from charl.core.errors import BackendUnavailable, DeviceLost, InternalError
from charl.core.settings import config
from charl.runtime import direct, gpu
from charl.runtime.device import GROUPS, Copy, Dispatch, Part, fold
from charl.runtime.devicepool import DevicePool, size_class


def _reason() -> str:
    try:
        found = gpu.adapters()
    except BackendUnavailable as error:
        return str(error)
    return "" if found else "no adapter; Debian's package mesa-vulkan-drivers has a software one"


pytestmark = pytest.mark.skipif(bool(_reason()), reason=_reason() or "there is one")

ADD = """
@group(0) @binding(0) var<storage, read> params: array<u32>;
@group(0) @binding(1) var<storage, read> a0: array<f32>;
@group(0) @binding(2) var<storage, read_write> a1: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) n: vec3u,
        @builtin(local_invocation_index) lane: u32) {
    let at = (wid.y * n.x + wid.x) * 64u + lane;
    if (at >= params[1]) { return; }
    a1[at] = a0[at] + bitcast<f32>(params[2]);
}
"""


@pytest.fixture
def device():
    yield gpu.device()
    if gpu.opened():
        gpu.reset()


def _array(device, values):
    buffer = device.allocate(values.nbytes)
    device.upload(buffer, values)
    return buffer


def _values(device, buffer, dtype, count):
    out = np.empty(count, dtype)
    device.read(buffer, out)
    return out


def _params(device, count, addend):
    words = np.array([0, count, 0, 0], np.uint32)
    words[2:3] = np.array([addend], np.float32).view(np.uint32)
    return _array(device, words)


def _add(device, params, source, target, count):
    return Dispatch(device.pipeline(ADD), (params, source, target), -(-count // 64))


@pytest.mark.parametrize("nbytes", [1, 2, 3, 4, 5, 4096, (16 << 20) + 8, (33 << 20) + 3])
def test_bytes_come_back_as_they_were(device, nbytes):
    given = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    assert np.array_equal(_values(device, _array(device, given), np.uint8, nbytes), given)


def test_a_kernel_runs(device):
    given = np.arange(1000, dtype=np.float32)
    source, target = _array(device, given), device.allocate(given.nbytes)
    device.submit([_add(device, _params(device, 1000, 0.5), source, target, 1000)])
    assert np.array_equal(_values(device, target, np.float32, 1000), given + np.float32(0.5))


def test_work_of_one_submit_is_done_in_order(device):
    source = _array(device, np.zeros(100, np.float32))
    buffers = [source, *(device.allocate(400) for _ in range(5))]
    one = _params(device, 100, 1)
    before = gpu.counters()
    work = [_add(device, one, a, b, 100) for a, b in zip(buffers, buffers[1:])]
    last = device.allocate(400)
    device.submit([*work, Copy(buffers[-1], last), _add(device, one, last, source, 100)])
    assert (_values(device, source, np.float32, 100) == 6).all()
    after = gpu.counters()
    assert after["submits"] - before["submits"] == 1
    assert after["dispatches"] - before["dispatches"] == 6


def test_small_work_waits_for_more(device):
    one = _params(device, 100, 1)
    value = _array(device, np.zeros(100, np.float32))

    def steps(count):
        nonlocal value
        before = gpu.counters()["submits"]
        for _ in range(count):
            new = device.allocate(400)
            device.submit([_add(device, one, value, new, 100)])
            value = new
        return gpu.counters()["submits"] - before

    device.synchronize()
    assert steps(10) == 0
    assert (_values(device, value, np.float32, 100) == 10).all()  # a read does not wait
    assert steps(10) == 0
    device.upload(value, np.full(100, 5, np.float32))  # nor does what comes after
    assert (_values(device, value, np.float32, 100) == 5).all()
    assert 1 <= steps(1000) <= 10
    assert (_values(device, value, np.float32, 100) == 1005).all()


def test_large_work_does_not_wait_for_an_idle_device(device):
    count = 5 << 20
    one, source, target = (
        _params(device, count, 1),
        device.allocate(4 * count),
        device.allocate(4 * count),
    )
    device.synchronize()
    device.busy = 0.0
    before = gpu.counters()["submits"]
    device.submit([_add(device, one, source, target, count)])
    assert gpu.counters()["submits"] == before + 1


def test_without_the_shorter_way_to_the_driver(device, monkeypatch):
    monkeypatch.setattr(device, "_direct", direct.calls(object()))
    assert type(device._direct) is direct.Plain
    given = np.arange(1000, dtype=np.float32)
    source, target = _array(device, given), device.allocate(given.nbytes)
    device.submit([_add(device, _params(device, 1000, 0.5), source, target, 1000)])
    assert np.array_equal(_values(device, target, np.float32, 1000), given + np.float32(0.5))


def test_a_binding_may_be_a_part_of_a_buffer(device):
    step = max(device.alignment, 16)
    words = np.zeros(2 * step // 4, np.uint32)
    words[step // 4 + 1] = 10
    words[step // 4 + 2] = np.float32(3).view(np.uint32)
    params = Part(_array(device, words), step, step)
    target = _array(device, np.zeros(10, np.float32))
    source = _array(device, np.ones(10, np.float32))
    device.submit([Dispatch(device.pipeline(ADD), (params, source, target), 1)])
    assert (_values(device, target, np.float32, 10) == 4).all()


@pytest.mark.parametrize("groups", [0, 1, GROUPS, GROUPS + 1, 3 * GROUPS, 12345678])
def test_many_workgroups_are_folded(groups):
    x, y = fold(groups)
    assert x <= GROUPS and y <= GROUPS and groups <= x * y < groups + y


def test_too_many_workgroups_are_refused():
    with pytest.raises(ValueError, match="too large"):
        fold(GROUPS * GROUPS + 1)


def test_a_folded_dispatch_reaches_every_element(device):
    count = 64 * (GROUPS + 10)
    source, target = _array(device, np.zeros(count, np.float32)), device.allocate(4 * count)
    device.submit([_add(device, _params(device, count, 1), source, target, count)])
    assert (_values(device, target, np.float32, count) == 1).all()


def test_pipelines_and_bind_groups_are_kept(device):
    source, target = _array(device, np.zeros(64, np.float32)), device.allocate(256)
    one = _params(device, 64, 1)
    device.submit([_add(device, one, source, target, 64)])
    made = len(device.groups)
    assert device.pipeline(ADD) is device.pipeline(ADD)
    device.submit([_add(device, one, source, target, 64)])
    assert len(device.groups) == made


# -- memory ----------------------------------------------------------------------------------------


def test_dropped_buffers_are_used_again(device):
    number = device.allocate(5000).raw.number
    assert device.allocate(5100).raw.number == number


def test_what_is_dropped_while_it_is_in_use_stays_right(device):
    given = np.arange(100, dtype=np.float32)
    target = device.allocate(400)
    one = _params(device, 100, 1)
    device.submit([_add(device, one, _array(device, given), target, 100)])
    _array(device, np.zeros(100, np.float32))  # takes the dropped memory
    assert np.array_equal(_values(device, target, np.float32, 100), given + 1)


def test_statistics_and_trim(device):
    base = device.memory_stats()
    held = device.allocate(1 << 20)
    assert device.memory_stats()["in_use"] - base["in_use"] == 1 << 20
    assert device.memory_stats()["buffers"] == base["buffers"] + 1
    del held
    assert device.memory_stats()["in_use"] == base["in_use"]
    assert device.memory_stats()["cached"] >= 1 << 20
    device.trim()
    assert device.memory_stats()["cached"] == 0
    assert device.memory_stats()["peak"] >= base["in_use"] + (1 << 20)


def test_the_limit_is_kept_and_survived(device):
    with config(gpu_memory_limit=device.memory_stats()["in_use"] + (1 << 20)):
        held = device.allocate(1 << 19)
        with pytest.raises(MemoryError, match="CHARL_GPU_MEMORY_LIMIT"):
            device.allocate(1 << 20)
        del held
        assert device.allocate(1 << 20).nbytes == 1 << 20


def test_what_no_buffer_can_hold_is_refused(device):
    with pytest.raises(MemoryError):
        device.allocate(1 << 60)
    assert device.allocate(16).nbytes == 16


@pytest.mark.parametrize("nbytes", [0, 1, 256, 257, 4096, 5000, 1 << 20, (1 << 20) + 1, 10**9])
def test_size_classes_waste_little(nbytes):
    size = size_class(nbytes)
    assert size >= nbytes and size % 256 == 0 and size_class(size) == size
    assert size <= max(nbytes * 9 // 8, nbytes + 256)


def test_a_pool_retries_after_the_driver_refused():
    class Handle:
        def destroy(self):
            room.append(1)

    room = [1]

    def create(nbytes):
        if not room:
            raise MemoryError
        room.pop()
        return Handle()

    pool = DevicePool(create, lambda: None, 1 << 30)
    pool.freed.append(pool.take(1000))
    assert pool.take(2000).nbytes == 2048  # the kept block was destroyed for it
    with pytest.raises(MemoryError):
        pool.take(4000)


def test_ten_thousand_steps_leave_memory_flat(device):
    steps = 10_000
    one = _params(device, 64, 1)
    value = _array(device, np.zeros(64, np.float32))
    seen = []
    for k in range(steps):
        new = device.allocate(256)
        device.submit([_add(device, one, value, new, 64)])
        value = new
        if k % (steps // 6) == steps // 6 - 1:
            seen.append((_resident(), device.memory_stats()["in_use"], len(device.groups)))
    assert (_values(device, value, np.float32, 64) == steps).all()
    assert len({in_use for _, in_use, _ in seen}) == 1 and seen[-1][2] <= 10
    assert seen[-1][0] - seen[1][0] < 8 << 20


def _resident() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


# -- threads, failures, forks ----------------------------------------------------------------------


def test_many_threads_call_at_will(device):
    wrong = []

    def work(seed):
        for k in range(10):
            given = np.full(300, seed * 100 + k, np.float32)
            target = device.allocate(given.nbytes)
            params = _params(device, 300, 1)
            device.submit([_add(device, params, _array(device, given), target, 300)])
            if not np.array_equal(_values(device, target, np.float32, 300), given + 1):
                wrong.append((seed, k))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_kernel_that_is_wrong_is_shown(device):
    with pytest.raises(InternalError, match="unknown_function") as caught:
        device.pipeline(ADD.replace("a0[at] +", "unknown_function(a0[at]) +"))
    assert "@compute" in str(caught.value)
    test_a_kernel_runs(device)


def test_a_lost_device_says_so_and_comes_back_by_reset(device):
    buffer = _array(device, np.zeros(4, np.float32))
    device.raw.destroy()
    with pytest.raises(DeviceLost, match=r"gpu.reset\(\)"):
        _values(device, buffer, np.float32, 4)
    with pytest.raises(DeviceLost, match=r"gpu.reset\(\)"):
        device.allocate(16)
    gpu.reset()
    fresh = gpu.device()
    assert fresh is not device
    test_a_kernel_runs(fresh)
    with pytest.raises(DeviceLost):
        fresh.read(buffer, np.empty(4, np.float32))


def test_reset_gives_up_what_was_there(device):
    buffer = _array(device, np.zeros(4, np.float32))
    gpu.reset()
    with pytest.raises(DeviceLost, match="was reset"):
        device.read(buffer, np.empty(4, np.float32))
    test_a_kernel_runs(gpu.device())


FORK = """
import os, sys
import numpy as np
from charl.core.errors import BackendUnavailable, DeviceLost
from charl.runtime import direct, gpu
device = gpu.device()
buffer = device.allocate(16)
child = os.fork()
if child == 0:
    for call in (gpu.device, gpu.adapters, gpu.reset, lambda: device.allocate(16),
                 lambda: device.read(buffer, np.empty(4, np.float32))):
        try:
            call()
        except (BackendUnavailable, DeviceLost) as error:
            assert "fork" in str(error), error
        else:
            os._exit(3)
    import charl as ch
    assert float(ch.sum(ch.ones(10))) == 10
    del buffer, device
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
device.upload(buffer, np.ones(4, np.float32))
out = np.empty(4, np.float32)
device.read(buffer, out)
assert out.sum() == 4
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_and_its_cpu_works():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# -- adapters --------------------------------------------------------------------------------------


def test_adapters_say_what_they_have(device):
    for adapter in gpu.adapters():
        assert adapter.name and adapter.features <= set(gpu.FEATURES)
        assert adapter.limits["max-storage-buffers-per-shader-stage"] >= 4
    caps = device.caps
    assert caps.max_workgroup >= 64 and caps.workgroup_memory >= 16384


def test_masked_features_are_left_out():
    gpu.reset()
    with config(gpu_mask="f64,i64,f16,subgroup"):
        assert gpu.adapters()[0].features <= {"timestamp"}
        assert gpu.device().caps[:4] == (False, False, False, False)
        gpu.reset()
    assert gpu.adapters()[0].masked == frozenset()


def test_an_adapter_is_chosen_by_name():
    gpu.reset()
    last = gpu.adapters()[-1].name
    with config(gpu_adapter=last.upper()):
        assert gpu.adapters()[0].name == last
    with config(gpu_adapter="no such GPU"), pytest.raises(BackendUnavailable, match="there are"):
        gpu.adapters()


def test_a_number_too_high_is_refused():
    with pytest.raises(BackendUnavailable, match="gpu:99"):
        gpu.device(99)
