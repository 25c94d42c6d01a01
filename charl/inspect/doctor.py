"""charl doctor: versions, backends with what is missing and how to get it, processor, threads,
caches, adapters.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs

import charl as ch
from charl.inspect import vulkan

# Drivers can hang or crash: adapters are asked for by a process of their own.
ADAPTERS = """
import json
from charl.core.errors import BackendUnavailable
from charl.runtime import gpu
try:
    found = [gpu.describe(), gpu.vendors(), "none; " + gpu.GET_ADAPTER]
except BackendUnavailable as error:
    found = [[], None, str(error).removeprefix("gpu: ")]
print(json.dumps(found))
"""
ADAPTER_SECONDS = 30
# The instruction sets that charl's run-time dispatch chooses by.
LEVELS = {
    "x86-64-v2": {"sse4_2", "popcnt", "ssse3", "cx16"},
    "x86-64-v3": {"avx2", "fma", "f16c", "bmi2", "movbe"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}


def installed(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def failure(module: str) -> str | None:
    """Why a module cannot be imported, or None."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken shared library raises OSError or RuntimeError
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def versions() -> list[tuple[str, str]]:
    """charl, Python, and the packages charl uses."""
    rows = [
        ("charl", f"{ch.__version__} in {Path(ch.__file__).parent}"),
        (
            "python",
            f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}",
        ),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
    ]
    rows += [
        (name, installed(name) or f"missing: pip install {name}")
        for name in ("numpy", "llvmlite", "wgpu", "ml_dtypes", "platformdirs")
    ]
    return rows


def backends() -> list[tuple[str, str]]:
    """Each backend: what it is, or what it lacks."""
    wgpu, why = installed("wgpu"), failure("llvmlite.binding")
    if why is None:
        llvm = importlib.import_module("llvmlite.binding")
        number = ".".join(str(part) for part in llvm.llvm_version_info)
        machine = (
            f"ready: LLVM {number}, {llvm.get_host_cpu_name()}, opt_level {ch.config.opt_level}"
        )
    else:
        machine = f"missing: llvmlite cannot be imported ({why}); get it by: pip install llvmlite"
    return [
        ("llvm", machine),
        ("interp", "ready: needs nothing"),
        ("gpu", f"wgpu {wgpu}: adapters below" if wgpu else "missing: pip install wgpu"),
        ("in use", ch.config.backend),
    ]


def cpu_flags() -> set[str]:
    """Instruction-set names of this processor: /proc/cpuinfo's, empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def processor() -> list[tuple[str, str]]:
    """Instruction-set level and cores."""
    flags = cpu_flags()
    level = "x86-64"
    for name, needed in LEVELS.items():
        if not needed <= flags:
            break
        level = name
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = ch.config.num_threads
    return [
        ("processor", level if platform.machine() in ("x86_64", "AMD64") else platform.machine()),
        ("cores", f"{os.cpu_count()}, of which this process may use {allowed}"),
        ("threads", f"{ch.get_num_threads()}" + (f", CHARL_NUM_THREADS={asked}" if asked else "")),
    ]


def cache() -> list[tuple[str, str]]:
    """The disk cache: where, how full, whether it can be written; and the memory in use."""
    folder = Path(ch.config.cache_dir or platformdirs.user_cache_dir("charl"))
    entries = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in entries)
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    state = f"{len(entries)} files, {size / 2**20:.1f} MiB"
    if not ch.config.disk_cache:
        state = "off (CHARL_DISK_CACHE)"
    elif not os.access(nearest, os.W_OK):
        state += f"; not writable: {nearest} (set CHARL_CACHE_DIR to a folder that is)"
    rows = [("disk cache", f"{folder}: {state}")]
    rows += [("memory", ", ".join(f"{name} {value}" for name, value in ch.memory_stats().items()))]
    return rows


def adapters() -> list[tuple[str, str]]:
    """The GPU adapters that wgpu sees, and what keeps others from being among them."""
    if installed("wgpu") is None:
        return [("adapters", "unknown: wgpu is missing: pip install wgpu")]
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ADAPTERS],
            capture_output=True,
            text=True,
            timeout=ADAPTER_SECONDS,
        )
        found, vendors, missing = json.loads(asked.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return [("adapters", f"unknown: the driver did not answer in {ADAPTER_SECONDS} s")]
    except (ValueError, IndexError):
        why = (asked.stderr.strip().splitlines() or [f"exit status {asked.returncode}"])[-1]
        return [("adapters", f"unknown: wgpu failed ({why})")]
    rows = [("adapter", text) for text in found] or [("adapters", missing)]
    if vendors is None:
        return rows
    return rows + [("vulkan", text) for text in vulkan.lacks(vendors)]


def works() -> tuple[str, bool]:
    """Whether a small computation is right on the backend in use."""
    expected = 1000.0**2  # the sum of the first 1000 odd numbers, exact in float32 too
    try:
        value = float(ch.sum(ch.arange(1000.0) * 2.0 + 1.0))
    except Exception as error:
        return f"fails: {type(error).__name__}: {error}".splitlines()[0], False
    good = value == expected
    return ("works" if good else f"wrong: {value} instead of {expected}"), good


def main() -> int:
    """Prints the report. Returns 0, or 1 where charl does not compute."""
    check, good = works()
    sections = [versions(), backends(), processor(), cache(), adapters(), [("charl", check)]]
    for rows in sections:
        for name, text in rows:
            print(f"{name:14}{text}")
        print()
    return 0 if good else 1
