"""charl doctor on machines where something is missing, each made by environment or files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import charl as ch
from charl.inspect import doctor, vulkan

ROOT = Path(__file__).resolve().parent.parent
NOWHERE = {
    name: "/nonexistent.json"
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES")
}
linux = pytest.mark.skipif(sys.platform != "linux", reason="Vulkan drivers are found Linux's way")
gpu = pytest.mark.skipif(
    "gpu" not in ch.devices(),
    reason="no adapter; Debian's package mesa-vulkan-drivers has a software one",
)


def rows(monkeypatch, env=()):
    for name, value in dict(env).items():
        monkeypatch.setenv(name, str(value))
    return doctor.adapters()


def broken(folder, text):
    pytest.importorskip("wgpu", reason="wgpu is not installed: there is nothing to break")
    (folder / "wgpu").mkdir()
    (folder / "wgpu" / "__init__.py").write_text(text)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


@gpu
def test_an_adapter_with_features_and_limits(monkeypatch):
    name, text = rows(monkeypatch)[0]
    assert name == "adapter" and text.startswith("gpu:0 ")
    for word in ("MiB a binding", "bindings", "threads", "KiB a workgroup"):
        assert word in text
    masked = rows(monkeypatch, {"CHARL_GPU_MASK": "f64"})[0][1]
    assert "; masked f64;" in masked


def test_without_wgpu(monkeypatch):
    monkeypatch.setattr(doctor, "installed", lambda name: None)
    assert doctor.adapters() == [("adapters", "unknown: wgpu is missing: pip install wgpu")]


def test_wgpu_that_is_broken(monkeypatch, tmp_path):
    env = broken(tmp_path, "raise OSError('libwgpu: wrong ELF class')")
    [(name, text)] = rows(monkeypatch, env)
    assert "wrong ELF class" in text and "pip install --force-reinstall wgpu" in text


def test_wgpu_that_lacks_a_module(monkeypatch, tmp_path):
    [(name, text)] = rows(monkeypatch, broken(tmp_path, "import cffi_that_is_not_here"))
    assert "cffi_that_is_not_here" in text and "pip install wgpu" in text


def test_a_driver_that_crashes(monkeypatch, tmp_path):
    [(name, text)] = rows(monkeypatch, broken(tmp_path, "import os; os._exit(9)"))
    assert text == "unknown: wgpu failed (exit status 9)"


def test_a_driver_that_hangs(monkeypatch):
    pytest.importorskip("wgpu", reason="wgpu is not installed: no driver is asked")

    def hang(*args, **kwargs):
        raise subprocess.TimeoutExpired("python", doctor.ADAPTER_SECONDS)

    monkeypatch.setattr(doctor.subprocess, "run", hang)
    assert "did not answer" in doctor.adapters()[0][1]


@gpu
def test_an_adapter_that_is_not_there(monkeypatch):
    [(name, text)] = rows(monkeypatch, {"CHARL_GPU_ADAPTER": "GeForce 9999"})
    assert text.startswith("CHARL_GPU_ADAPTER=GeForce 9999 fits no adapter; there are: ")


@linux
@gpu
def test_no_adapter_at_all(monkeypatch):
    found = rows(monkeypatch, NOWHERE)
    assert found[0][0] == "adapters" and found[0][1].startswith("none; ")
    assert "mesa-vulkan-drivers" in found[0][1]
    assert ("vulkan", "VK_DRIVER_FILES names /nonexistent.json, which is not there") in found


CODE = """
import charl as ch
assert ch.devices() == ("cpu",)
try:
    ch.zeros(3, device="gpu")
except Exception as error:
    print(type(error).__name__, error)
assert float(ch.sum(ch.ones(3))) == 3
"""


@linux
@gpu
@pytest.mark.parametrize(
    "env, words",
    [
        (NOWHERE, "there is no adapter"),
        ({"VK_DRIVER_FILES": "/nonexistent.json"}, "there is no adapter"),  # OpenGL is not for us
        ({"CHARL_GPU_ADAPTER": "GeForce"}, "CHARL_GPU_ADAPTER=GeForce fits no adapter"),
    ],
)
def test_the_cpu_works_without_an_adapter(env, words):
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True, text=True, timeout=120, env={**os.environ, **env}, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("BackendUnavailable gpu: ") and words in done.stdout


# -- what Vulkan lacks -----------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with a driver and a loader, on which no variable chooses drivers."""
    for name in vulkan.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(vulkan.ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
    monkeypatch.setattr(vulkan.sys, "platform", "linux")
    (tmp_path / vulkan.FOLDERS[1]).mkdir(parents=True)
    (tmp_path / vulkan.FOLDERS[1] / "some_icd.json").write_text("{}")
    return tmp_path


def plug(machine, slot, vendor, kind="0x030000"):
    folder = machine / "sys/bus/pci/devices" / slot
    folder.mkdir(parents=True)
    (folder / "class").write_text(f"{kind}\n")
    (folder / "vendor").write_text(f"{vendor:#06x}\n")


def test_nothing_is_missing(machine):
    plug(machine, "0000:00:02.0", 0x8086)
    plug(machine, "0000:00:03.0", 0x1AF4)  # a virtual one
    plug(machine, "0000:00:04.0", 0x10DE, "0x040300")  # the sound of one
    assert vulkan.lacks([0x8086], machine) == []


def test_a_loader_is_missing(machine, monkeypatch):
    monkeypatch.setattr(vulkan.ctypes.util, "find_library", lambda name: None)
    assert ["libvulkan1" in text for text in vulkan.lacks([], machine)] == [True]


def test_a_driver_is_missing(machine):
    (machine / vulkan.FOLDERS[1] / "some_icd.json").unlink()
    assert ["mesa-vulkan-drivers" in text for text in vulkan.lacks([], machine)] == [True]


def test_a_gpu_has_no_driver(machine):
    plug(machine, "0000:01:00.0", 0x10DE, "0x030200")
    plug(machine, "0000:02:00.0", 0x1002)
    found = vulkan.lacks([0x10005], machine)
    assert len(found) == 2 and "AMD" in found[0] and "mesa-vulkan-drivers" in found[0]
    assert "NVIDIA" in found[1] and "nvidia-vulkan-icd" in found[1]


def test_a_gpu_may_not_be_opened(machine, monkeypatch):
    (machine / "dev/dri").mkdir(parents=True)
    (machine / "dev/dri/renderD128").touch()
    assert vulkan.lacks([], machine) == []
    monkeypatch.setattr(vulkan.os, "access", lambda path, mode: False)
    assert ["renderD128" in text and "render" in text for text in vulkan.lacks([], machine)] == [
        True
    ]
