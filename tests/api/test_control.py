"""eval, threads, memory, caches, and the settings that take effect at once."""

import subprocess
import sys

import numpy as np
import pytest

import charl as ch
from tests import device


def test_eval_takes_nested_containers_and_realizes_together():
    x = ch.ones(100)
    parts = [x + 1, (x * 2, {"a": x - 1})]
    ch.eval(parts, x)
    launches = ch.cache_info()[device.LAUNCHES]
    assert parts[1][1]["a"].tolist() == [0] * 100 and parts[0].tolist() == [2] * 100
    assert ch.cache_info()[device.LAUNCHES] == launches
    with pytest.raises(TypeError, match="eval"):
        ch.eval([x, 3])
    assert ch.eval() is None


def test_threads():
    before = ch.config.num_threads
    try:
        ch.set_num_threads(3)
        assert ch.get_num_threads() == 3 == ch.config.num_threads
        with pytest.raises(ValueError, match="num_threads"):
            ch.set_num_threads(-1)
        with pytest.raises(TypeError, match="num_threads"):
            ch.set_num_threads(2.5)
        ch.set_num_threads(0)
        assert ch.get_num_threads() >= 1
    finally:
        ch.set_num_threads(before)


@pytest.mark.cpu
def test_memory_is_counted_and_limited():
    before = ch.memory_stats()["in_use"]
    x = ch.asarray(np.ones(1 << 20))
    assert ch.memory_stats()["in_use"] >= before + (8 << 20)
    with ch.config(memory_limit=ch.memory_stats()["in_use"] + (4 << 20)):
        with pytest.raises(MemoryError):
            ch.eval(ch.concat([x, x]))
    assert float(ch.sum(x + 1)) == 2 << 20
    del x


@pytest.mark.cpu
def test_cache_info_counts():
    wanted = {"compiles", "disk_hits", "plan_hits", "plan_misses", "launches", "interpreted"}
    x, y = ch.asarray(np.arange(50.0)), ch.asarray(np.arange(50.0))
    with ch.config(backend="interp"):
        ch.eval(x * 3 + y)
        before = ch.cache_info()
        assert wanted <= set(before)
        ch.eval(x * 3 + y)
        after = ch.cache_info()
    assert after["plan_hits"] == before["plan_hits"] + 1
    assert after["plan_misses"] == before["plan_misses"]
    assert after["interpreted"] == before["interpreted"] + 1
    assert after["launches"] == before["launches"] + 1


def test_eager_realizes_at_the_call():
    x = ch.arange(10.0)
    ch.eval(x)
    with ch.config(eager=True):
        launches = ch.cache_info()[device.LAUNCHES]
        y = x + 1
        assert ch.cache_info()[device.LAUNCHES] == launches + 1
    assert y.tolist() == list(range(1, 11))


@pytest.mark.cpu
def test_wait_compiled_returns_when_machine_code_is_there():
    pytest.importorskip("llvmlite")
    x = ch.asarray(np.arange(777.0))
    with ch.config(backend="auto", wait="never"):
        for _ in range(3):
            ch.eval(ch.sqrt(x * 1.25 + 3))
            ch.wait_compiled()
        interpreted = ch.cache_info()["interpreted"]
        ch.eval(ch.sqrt(x * 1.25 + 3))
        assert ch.cache_info()["interpreted"] == interpreted


def test_import_loads_nothing_heavy():
    heavy = ("llvmlite", "wgpu", "scipy", "platformdirs", "ml_dtypes", "charl.codegen.llvm")
    code = f"import sys, charl; sys.exit(str([m for m in {heavy} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_a_bad_environment_is_told_at_import():
    code = "import os; os.environ['CHARL_BACKEND'] = 'gpu'; import charl"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "CHARL_BACKEND: must be one of auto, llvm, interp" in done.stderr
