"""Every workload on a GPU, in float32: its share of the adapter's measured limits, beside CUDA
libraries.

Calls of one turn are handed over one after the other, and the device is awaited once, at the end of
the turn: what is measured is the work of the device, or the host's where that takes longer.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import charl as ch
from benchmarks.floor import Peak
from benchmarks.peers import Peer, there
from benchmarks.report import columns, duration
from benchmarks.runner import Effort, Result, measure
from benchmarks.workload import WORKLOADS, Workload
from charl import runtime
from charl.engine import devices

COPIED = 256 << 20  # bytes of the array whose copy is measured
QUICK_COPIED = 4 << 20
WARM = 2.0  # seconds of work ahead of the first measurement
TOLERANCE = 1e-5  # of what the workload states for float64


def peak(device: str, quick: bool) -> Peak:
    """Measures the adapter. Raises ValueError, or BackendUnavailable where there is none."""
    opened = runtime.gpu.device(devices.code(device, "benchmarks") - 1)
    probe = runtime.probe
    if quick:
        copied = probe.copy_bandwidth(opened, QUICK_COPIED)
        return Peak(opened.name, copied, probe.fma_peak(opened, 0.002))
    flops = probe.fma_peak(opened, 0.05, warm=WARM)
    return Peak(opened.name, probe.copy_bandwidth(opened, COPIED, warm=WARM), flops)


def contenders(device: str) -> list[Peer]:
    """charl on this device; torch and CuPy where they are installed and find a CUDA device."""
    found = [
        Peer(
            "charl",
            "charl",
            lambda array: ch.asarray(array, device=device),
            ch.eval,
            lambda t: t.numpy(),
            settle=ch.gpu.synchronize,
        )
    ]
    if importlib.util.find_spec("torch"):
        torch = importlib.import_module("torch")
        if torch.cuda.is_available():
            found.append(
                Peer(
                    "torch",
                    "torch",
                    lambda array: torch.from_numpy(array).cuda(),
                    there,
                    lambda t: t.cpu().numpy(),
                    settle=torch.cuda.synchronize,
                )
            )
    if importlib.util.find_spec("cupy"):
        cupy = importlib.import_module("cupy")
        if cupy.cuda.is_available():
            found.append(
                Peer(
                    "cupy",
                    "cupy",
                    cupy.asarray,
                    there,
                    cupy.asnumpy,
                    settle=cupy.cuda.get_current_stream().synchronize,
                )
            )
    return found


def narrowed(work: Workload) -> Workload:
    """The workload with float32 where it has float64."""

    def make(size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return tuple(
            array.astype(np.float32) if array.dtype == np.float64 else array
            for array in work.make(size, rng)
        )

    return replace(work, make=make, tolerance=max(work.tolerance, TOLERANCE))


def every() -> list[Workload]:
    """All workloads, but for the float64 forms of others."""
    return [
        w
        for w in WORKLOADS.values()
        if w.name.removesuffix("64") not in WORKLOADS.keys() - {w.name}
    ]


def sizes(work: Workload, quick: bool) -> tuple[int, ...]:
    return (work.quick,) if quick else work.gpu or work.sizes[-1:]


def run(chosen: Sequence[Workload], device: str, quick: bool, effort: Effort) -> list[Result]:
    """Measures the workloads one by one, saying which."""
    peers, results = contenders(device), []
    for work in chosen:
        for size in sizes(work, quick):
            if sys.stderr.isatty():
                print(f"\r{work.name} {size:,} ...".ljust(60), end="", file=sys.stderr, flush=True)
            results += measure(narrowed(work), size, peers, effort)
            ch.gpu.trim()
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    return results


def nbytes(work: Workload, size: int) -> int:
    """Bytes that must be moved at least, in float32."""
    arrays = work.make(work.quick or work.sizes[0], np.random.default_rng(0))
    return work.nbytes(size) // (2 if all(a.dtype == np.float64 for a in arrays) else 1)


def table(results: Sequence[Result], limit: Peak) -> str:
    """A row for each workload and size: times, and charl's shares of the copy bandwidth and of the
    fma peak.
    """
    names = list(dict.fromkeys(result.peer for result in results))
    body, notes = [], []
    for name, size in dict.fromkeys((result.workload, result.size) for result in results):
        work = WORKLOADS[name]
        by_peer = {r.peer: r for r in results if (r.workload, r.size) == (name, size)}
        for result in by_peer.values():
            if result.fault:
                notes.append(f"{name} {size}: {result.peer}'s result {result.fault}")
        mine = by_peer["charl"]
        shares = ["", ""]
        if not mine.fault:
            shares = [
                f"{nbytes(work, size) / mine.median / limit.copy:.0%}",
                f"{work.flops(size) / mine.median / limit.flops:.0%}",
            ]
        cells = [cell(by_peer.get(peer), mine, work.steps) for peer in names]
        body.append([name, f"{size:,}", *cells, *shares])
    return "\n".join(columns([["workload", "size", *names, "bandwidth", "fma"], *body]) + notes)


def cell(result: Result | None, mine: Result, steps: int) -> str:
    """A time, of each step where there are many, and of others how many times charl's that is."""
    if result is None:
        return ""
    if result.fault:
        return "wrong"
    shown = duration(result.median / steps) + (" each" if steps > 1 else "")
    if result.peer == "charl" or mine.fault:
        return shown
    return f"{shown} ({result.median / mine.median:.2f}x)"
