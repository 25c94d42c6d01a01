"""What a user sees of a GPU: counters, measured limits, what is shown under CHARL_DEBUG."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import charl as ch
from charl import runtime
from charl.codegen import wgsl_probe
from charl.codegen.wgsl import Shader
from charl.codegen.wgsl_store import pack, unpack
from charl.engine import shaders
from charl.schedule.kernel import P

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(
    "gpu" not in ch.devices(),
    reason="no adapter; Debian's package mesa-vulkan-drivers has a software one",
)


def put(*shape):
    return ch.asarray(np.ones(shape, np.float32), device="gpu")


def counted(call):
    """What a call adds to the GPU's counters."""
    names = "dispatches", "submits", "bytes_up", "bytes_down"
    ch.gpu.synchronize()
    before = ch.cache_info()
    call()
    ch.gpu.synchronize()
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


# -- CHARL_DEBUG -----------------------------------------------------------------------------------


@pytest.fixture
def shown(capfd):
    """Runs a call under a level of CHARL_DEBUG, on a device opened for it; what it prints."""

    def run(call, level=1, **settings):
        ch.gpu.reset()
        with ch.config(**settings):
            call()
            capfd.readouterr()
            with ch.config(debug=level):
                call()
                text = capfd.readouterr().err
        ch.gpu.reset()
        return text

    return run


LINE = (
    r"dispatch (\d+) workgroups on gpu:0 .*, ([\d,]+) bytes"
    r"(?:, ([\d.]+) us)?(?:, (\d+)% of the copy bandwidth)?\nkernel (\w+)"
)


def test_each_dispatch_is_shown_with_its_time(shown):
    x = np.ones((64, 50), np.float32)

    def call():
        y = ch.asarray(x, device="gpu")
        ch.eval(ch.sum(y, axis=1))
        ch.eval(y * 2)

    found = re.findall(LINE, shown(call))
    assert [int(nbytes.replace(",", "")) for _, nbytes, *_ in found] == [13056, 25600]
    assert all(float(us) > 0 and share for _, _, us, share, _ in found)


def test_a_copy_is_shown_too(shown):
    def call():
        x = ch.asarray(np.arange(100, dtype=np.float32), device="gpu")
        ch.eval(x)
        x[1:] += x[:-1]
        want = np.arange(100, dtype=np.float32)
        want[1:] += want[:-1]
        assert np.array_equal(x.numpy(), want)

    assert len(re.findall(LINE, shown(call))) >= 1


def test_without_timestamps_it_says_so_once(shown):
    def call():
        x = ch.asarray(np.ones(100, np.float32), device="gpu")
        ch.eval(x + 1)
        ch.eval(x * 3)

    text = shown(call, gpu_mask="timestamp")
    assert text.count("has no timestamps") == 1
    found = re.findall(LINE, text)
    assert len(found) == 2 and all(us == share == "" for _, _, us, share, _ in found)


def test_counters_tell_of_the_program_alone_while_it_is_watched(shown):
    def call():
        x = put(100)
        ch.eval(x)
        seen.append(counted(lambda: ch.eval(x + 1)))

    seen = []
    shown(call)
    assert seen[0]["dispatches"] == seen[1]["dispatches"] == 1
    assert seen[1]["bytes_down"] == 0 and seen[1]["submits"] == 1


def test_level_4_shows_wgsl(tmp_path):
    code = """
        import numpy as np, charl as ch
        x = ch.asarray(np.ones(100, np.float32), device="gpu")
        ch.eval(ch.exp(x) * 7)
    """
    for _ in range(2):  # emitted, then read from disk
        done = process(code, CHARL_DEBUG=4, CHARL_CACHE_DIR=tmp_path)
        assert done.stderr.count("@compute") == 1 and "@workgroup_size" in done.stderr


# -- shaders on disk -------------------------------------------------------------------------------


def process(code, **env):
    """A finished Python process that ran the code."""
    environ = {**os.environ, **{name: str(value) for name, value in env.items()}}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=120, env=environ, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


SHADERS = """
import json, numpy as np, charl as ch
a = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
x = ch.asarray(a, device="gpu")
e = ch.exp(x - ch.max(x, axis=1, keepdims=True))
np.testing.assert_allclose((x @ x.T).numpy(), a @ a.T, rtol=1e-4, atol=1e-4)
np.testing.assert_allclose(ch.sum(e).numpy(), np.exp(a - a.max(1, keepdims=True)).sum(), rtol=1e-5)
assert (x > 0).numpy().tolist() == (a > 0).tolist()
print(json.dumps(ch.cache_info()))
"""


def shader_counts(folder, **env):
    info = json.loads(process(SHADERS, CHARL_CACHE_DIR=folder, **env).stdout)
    return info["shaders"], info["shader_disk_hits"]


def test_a_second_process_emits_nothing(tmp_path):
    made, found = shader_counts(tmp_path)
    assert made >= 3 and found == 0
    assert shader_counts(tmp_path) == (0, made)
    assert shader_counts(tmp_path, CHARL_DISK_CACHE=0) == (made, 0)
    assert shader_counts(tmp_path, CHARL_GPU_MASK="f16,i64,f64") == (made, 0)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[-7] ^= 16
            path.write_bytes(data)
    assert shader_counts(tmp_path) == (made, 0)
    assert shader_counts(tmp_path) == (0, made)


def test_packed_shaders_are_what_they_were():
    shader = Shader("text\n\"'é", ("params", "a0"), 64, 2, (((P(3), 5), 7), ((), 1)), ((P(0), 2),))
    assert unpack(pack(shader)) == shader
    assert unpack(pack(shader)).groups((9, 0, 0, 4)) == 3


def test_a_device_is_probed_before_its_first_shader(monkeypatch):
    """It costs no counter; what does not hold is not used."""
    text = wgsl_probe.text

    def other(features):
        return text(features).replace("within != lane % size", "within == lane % size")

    for probe, holds in ((other, False), (text, True)):
        monkeypatch.setattr(wgsl_probe, "text", probe)
        ch.gpu.reset()
        x = put(200, 300)
        assert counted(lambda x=x: ch.eval(ch.sum(x, axis=1)))["dispatches"] == 1
        device = runtime.gpu.device(0)
        assert shaders.features(device).subgroup == (device.caps.subgroup and holds)
        assert (ch.sum(x, axis=1).numpy() == 300).all()


# -- what a device cannot do -----------------------------------------------------------------------


@pytest.fixture
def wide():
    """A float64 value on a device without it: no function makes one, a Node does."""
    ch.gpu.reset()
    with ch.config(gpu_mask="f64,i64"):
        x = ch.asarray(np.arange(4, dtype=np.float32), device="gpu")
        cast = ch.api.build.cast(ch.tensor.node_of(x), ch.float64)
        yield ch.tensor.wrap(cast) * 2
        ch.gpu.reset()


def test_a_refusal_names_device_dtype_and_remedies(wide):
    with pytest.raises(TypeError) as refused:
        float(ch.sum(wide))
    for words in ("gpu:0 (", "float64", "to_device('cpu')", "config.gpu_fallback = 'cpu'"):
        assert words in str(refused.value)


def test_a_fallback_that_warns_names_them_at_the_users_line(wide):
    with ch.config(gpu_fallback="warn"), pytest.warns(RuntimeWarning) as warned:
        assert float(ch.sum(wide)) == 12
    assert warned[0].filename == __file__
    for words in ("gpu:0 (", "float64", "runs on the cpu"):
        assert words in str(warned[0].message)
