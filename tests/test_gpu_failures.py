"""What fails on a GPU: an exception says which, other values stay whole, the CPU works, a reset
brings the GPU back.
"""

import subprocess
import sys
import threading

import numpy as np
import pytest

import charl as ch
from charl import codegen
from charl.core.errors import DeviceLost, InternalError
from charl.runtime import gpu
from tests import test_gpu as plain
from tests.test_gpu import close, floats, put, same

pytestmark = plain.pytestmark


def run(code, *arguments):
    """Runs a program of its own, which prints nothing on stderr."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def works():
    """The CPU and the GPU compute."""
    a = floats(50)
    assert float(ch.sum(ch.ones(10))) == 10
    same(put(a) * 2, a * 2)


@pytest.fixture
def fresh():
    ch.gpu.reset()
    yield
    ch.gpu.reset()


# -- memory ----------------------------------------------------------------------------------------


def test_the_limit_of_memory_is_kept_and_survived():
    a = np.ones(1 << 18, np.float32)
    x = put(a)
    ch.eval(x)
    used = ch.gpu.memory_stats()["in_use"]
    with ch.config(gpu_memory_limit=used + (1 << 19)):
        with pytest.raises(MemoryError, match="CHARL_GPU_MEMORY_LIMIT") as caught:
            ch.eval(x + 1)
        assert "kernel row" in caught.value.__notes__[0]
        with pytest.raises(MemoryError, match="CHARL_GPU_MEMORY_LIMIT"):
            put(np.ones(1 << 18))
    same(x + 1, a + 1)
    works()


def test_statistics_limit_and_trim(fresh):
    before = ch.memory_stats()["gpu_in_use"]
    x = put(np.ones(1 << 18, np.float32))
    ch.eval(x + 1)
    stats = ch.memory_stats()
    assert stats["gpu_in_use"] - before >= 1 << 20 and stats["gpu_cached"] >= 1 << 20
    assert stats["gpu_peak"] >= 2 << 20 and stats["gpu_limit"] == 0 and stats["gpu_buffers"] >= 1
    ch.gpu.trim()
    assert ch.memory_stats()["gpu_cached"] == 0
    with ch.config(gpu_memory_limit=1 << 30):
        assert ch.memory_stats()["gpu_limit"] == 1 << 30


def test_what_no_buffer_holds_is_refused():
    with pytest.raises(MemoryError, match="largest buffer of this GPU"):
        size = gpu.adapters()[0].limits["max-buffer-size"]
        ch.eval(ch.zeros(size + 1, dtype=ch.uint8, device="gpu"))
    works()


EXHAUSTED = """
import resource
import numpy as np
import charl as ch

x = ch.asarray(np.arange(1000, dtype=np.float32), device="gpu")
ch.eval(x + 1)
float(ch.sum(ch.ones(5)))
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
# two blocks of 256 MiB fit, and leave enough for the driver's own needs, of which it does not check all
resource.setrlimit(resource.RLIMIT_AS, (used + (700 << 20), hard))
held = []
try:
    for _ in range(20):
        held.append(ch.zeros(64 << 20, dtype=ch.float32, device="gpu"))
        ch.eval(held[-1])
except MemoryError as error:
    assert "out of memory of gpu:0" in str(error), error
    assert "kernel row" in error.__notes__[0], error.__notes__
else:
    raise SystemExit("there was room for 5 GB")
del held[1:]  # the process itself needs address space too
assert float(ch.sum(x)) == 499500 and float(ch.sum(ch.ones(5))) == 5
assert int(ch.max(held[0])) == 0
del held
y = ch.ones(64 << 20, dtype=ch.float32, device="gpu")  # the pool gives back what it kept
assert int(ch.min(y)) == 1
assert float(ch.sum(x + 1)) == 500500
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited by Linux's calls")
def test_memory_that_the_driver_refuses_is_survived():
    if gpu.adapters()[0].kind != "CPU":
        pytest.skip("a real GPU's memory is no part of the address space")
    run(EXHAUSTED)


# -- the device, kernels ---------------------------------------------------------------------------


def test_a_lost_device_is_told_of_and_comes_back(fresh):
    a = floats(100)
    x, pending = put(a), put(a) + 1
    here = ch.asarray(a) + 1
    gpu.device().raw.destroy()
    with pytest.raises(DeviceLost, match=r"gpu:0 .* was lost .*gpu\.reset\(\)") as caught:
        ch.eval(pending)
    assert "kernel row" in caught.value.__notes__[0]
    for call in (lambda: x.numpy(), lambda: put(a), lambda: put(np.ones(9 << 20)), lambda: x @ x):
        with pytest.raises(DeviceLost, match="was lost"):
            ch.eval(call())
    np.testing.assert_array_equal(here.numpy(), a + 1)
    ch.gpu.reset()
    works()
    with pytest.raises(DeviceLost, match="was lost"):
        ch.eval(x + 1)


def test_a_kernel_that_the_driver_refuses_is_shown(fresh, monkeypatch):
    a = floats(60)
    x = put(a)
    real = codegen.wgsl.emit

    def wrong(*given):
        shader = real(*given)
        return shader._replace(text=shader.text.replace("fn main", "fn other"))

    y = ch.asinh(x) * 3 + 7
    with monkeypatch.context() as patch, ch.config(disk_cache=False):
        patch.setattr(codegen.wgsl, "emit", wrong)
        with pytest.raises(InternalError, match="main") as caught:
            ch.eval(y)
    assert "@compute" in str(caught.value) and "asinh" in caught.value.__notes__[0]
    same(x, a)
    works()
    close(ch.asinh(x) - 1, np.arcsinh(a) - 1)


# -- threads and interrupts ------------------------------------------------------------------------


def test_many_threads_compute_at_once():
    wrong = []

    def work(seed):
        a = np.full(500, seed, np.float32)
        x = put(a)
        for k in range(10):
            if not np.array_equal(ch.sum(x * k + 1).numpy(), (a * k + 1).sum()):
                wrong.append((seed, k))
            x[3:] += 1
            a[3:] += 1

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


INTERRUPTED = """
import random, signal
import numpy as np
import charl as ch

def stop(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, stop)
random.seed(3)
x = ch.asarray(np.zeros(1 << 14, np.float32), device="gpu")
x[5:] += 1
ch.eval(x)
used = 0
for k in range(2, 150):
    x[5:] += 1
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 3e-3))
        ch.eval(x)
        x.numpy()
        while True:
            pass
    except KeyboardInterrupt:
        pass
    got = x.numpy()
    assert (got[5:] == k).all() and (got[:5] == 0).all(), (k, got[:8])
    used = used or ch.gpu.memory_stats()["in_use"]
assert ch.gpu.memory_stats()["in_use"] - used <= 1024  # parameters of a plan or two
assert signal.getsignal(signal.SIGALRM) is stop
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timers that signal")
def test_interrupts_leave_all_whole():
    run(INTERRUPTED)
