"""The disk cache as programs meet it: shared, damaged, read-only, on a full disk."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import charl as ch
from charl import engine

ROOT = Path(__file__).resolve().parent.parent
posix = pytest.mark.skipif(os.name != "posix", reason="file modes and limits are POSIX's")
pytestmark = pytest.mark.cpu

PROGRAM = """
import json, os, sys
import numpy as np
import charl as ch

data = np.linspace(0.0, 1.0, 300).reshape(20, 15)

def compute(k=0.5):
    x = ch.asarray(data)
    y = ch.sum(ch.abs(x * k - 0.25), axis=1)
    z = (x - k) @ ch.asarray(data.T)
    ch.wait_compiled()
    wrong = abs(y.numpy() - np.abs(data * k - 0.25).sum(1)).max() + abs(z.numpy() - (data - k) @ data.T).max()
    ch.wait_compiled()
    assert wrong < 1e-12, wrong

def report(**more):
    print(json.dumps({**ch.cache_info(), **more}))
"""


def start(code="", **env):
    environ = {**os.environ, "CHARL_BACKEND": "llvm", "CHARL_DISK_CACHE": "1"}
    environ |= {name: str(value) for name, value in env.items()}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + (textwrap.dedent(code) or "compute(); report()")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, cwd=ROOT,
    )  # fmt: skip


def finish(process):
    """The counters that the program prints last."""
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    return json.loads(out.splitlines()[-1])


def entries(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def test_eight_processes_compile_the_same_kernels(tmp_path):
    """Then each entry is there once, and whole; and what gets damaged is compiled again."""
    started = [start(CHARL_CACHE_DIR=tmp_path) for _ in range(8)]
    for info in map(finish, started):
        assert info["failures"] == info["disk_damaged"] == info["disk_errors"] == 0
    made = entries(tmp_path)
    count = info["compiles"] + info["disk_hits"]
    assert len(made) == count >= 2 and all(len(path.name) == 64 for path in made)

    truncated, bent, *_ = made
    truncated.write_bytes(truncated.read_bytes()[:-100])
    middle = bent.stat().st_size // 2
    data = bytearray(bent.read_bytes())
    data[middle] ^= 16
    bent.write_bytes(data)
    info = finish(start(CHARL_CACHE_DIR=tmp_path))
    assert (info["compiles"], info["disk_damaged"]) == (2, 2)
    info = finish(start(CHARL_CACHE_DIR=tmp_path))
    assert (info["compiles"], info["disk_hits"], info["disk_damaged"]) == (0, count, 0)


@posix
def test_read_only_home(tmp_path):
    """Nothing is written, nothing is said, values are right."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    code = """
        from tests.runtime.unprivileged import give_up_privileges
        give_up_privileges()
        os.environ.pop("XDG_CACHE_HOME", None)
        os.environ.pop("CHARL_CACHE_DIR", None)
        ch.config.cache_dir = ""
        compute()
        report()
    """
    info = finish(start(code, HOME=home))
    assert info["compiles"] >= 2 and info["disk_hits"] == info["disk_writes"] == 0
    assert info["disk_errors"] >= 2 and info["failures"] == 0
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "where", ["/proc/charl", "/dev/null", "/dev/full/charl", "file/charl", "\0"]
)
def test_a_cache_that_cannot_be_there(tmp_path, where):
    (tmp_path / "file").write_text("")
    engine.clear_plans()
    data = np.linspace(0, 1, 50)
    with ch.config(backend="llvm", disk_cache=True, cache_dir=os.path.join(tmp_path, where)):
        made = ch.floor(ch.asarray(data) * 7.0) - 1.0
        assert made.tolist() == (np.floor(data * 7.0) - 1.0).tolist()
        ch.wait_compiled()
        assert ch.cache_info()["disk_errors"] > 0 and ch.cache_info()["disk_writes"] == 0
    assert (tmp_path / "file").read_text() == ""


@posix
def test_full_disk(tmp_path):
    """No file can grow until the limit is lifted: then the same process fills the cache."""
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        compute()
        full = ch.cache_info()
        files = [name for _, _, names in os.walk(ch.config.cache_dir) for name in names]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        from charl import engine
        engine.clear_plans()
        compute()
        report(full=full, files=files)
    """
    info = finish(start(code, CHARL_CACHE_DIR=tmp_path))
    full = info["full"]
    assert full["compiles"] == full["disk_errors"] >= 2
    assert full["failures"] == full["disk_writes"] == 0 and info["files"] == []
    assert info["disk_writes"] == full["compiles"] == len(entries(tmp_path))
    info = finish(start(CHARL_CACHE_DIR=tmp_path))
    assert info["compiles"] == 0 and info["disk_hits"] == full["compiles"]
