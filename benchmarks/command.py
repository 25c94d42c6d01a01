"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import benchmarks.families
import benchmarks.workloads  # noqa: F401  (both declare workloads)
from benchmarks import acceptance, floor, gpu, latency, memory, peers, pictures, report
from benchmarks.runner import QUICK, Effort, Result, measure
from benchmarks.workload import WORKLOADS, Workload
from charl.core.errors import BackendUnavailable

RESULTS = Path(__file__).parent / "results"
TABLE_SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures charl against other libraries. Without names: every workload.",
        epilog="`acceptance [NAME ...]` prints the figures that the project holds itself to; "
        "`table` compares LLVM with the interpreter (element-wise, matrix product, network), "
        "sizes 1e2 to 1e7; `memory [NAME ...]` gives the peak of each workload's memory; "
        "`latency` the time from a process's start to its first result.",
    )
    top.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(WORKLOADS)}, table, acceptance, memory, latency",
    )
    top.add_argument(
        "--quick", action="store_true", help="one small size each, short rounds: does it run?"
    )
    top.add_argument(
        "--peers", default="", metavar="LIST", help="all, or of numexpr,numba,jax,torch"
    )
    top.add_argument(
        "--device",
        default="cpu",
        metavar="NAME",
        help="cpu, or gpu, gpu:1, ...: float32 there, beside torch and CuPy where they find CUDA",
    )
    top.add_argument(
        "--threads",
        type=int,
        default=0,
        help="for every library; default: all this process may use",
    )
    top.add_argument(
        "--plot", action="store_true", help=f"PNG pictures in {RESULTS.name}/ (needs matplotlib)"
    )
    top.add_argument(
        "--json",
        nargs="?",
        const="",
        metavar="FILE",
        help=f"write JSON (default: {RESULTS.name}/latest.json)",
    )
    return top


def available_threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sizes(work: Workload, quick: bool, as_table: bool) -> tuple[int, ...]:
    """The sizes to measure."""
    if quick:
        return (work.quick,)
    if as_table and work.name != "mlp":
        return TABLE_SIZES
    return work.sizes


def tagged(name: str) -> list[str]:
    """The workloads of a tag, as families are; else the name itself."""
    found = [] if name in WORKLOADS else [n for n, work in WORKLOADS.items() if name in work.tags]
    return found or [name]


def run(chosen: Sequence[Workload], given: argparse.Namespace, as_table: bool) -> list[Result]:
    """Measures the workloads one by one, saying which."""
    contenders = peers.choose(given.peers)
    effort = QUICK if given.quick else Effort()
    results = []
    for work in chosen:
        for size in sizes(work, given.quick, as_table):
            if sys.stderr.isatty():
                print(f"\r{work.name} {size:,} ...".ljust(60), end="", file=sys.stderr, flush=True)
            results += measure(work, size, contenders, effort)
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 0, 1 where a result was wrong or an acceptance line not met, 2 for
    wrong use.
    """
    given = parser().parse_args(argv)
    threads = given.threads or available_threads()
    if given.names[:1] == ["acceptance"]:
        if given.device != "cpu":
            print("benchmarks: acceptance measures the cpu", file=sys.stderr)
            return 2
        peers.set_threads(threads)
        return acceptance.main(given.names[1:])
    if given.names == ["latency"]:
        every = [name for name in peers.OPTIONAL if peers.installed(name)]
        return latency.main(every if given.peers == "all" else given.peers.split(","))
    as_table = given.names == ["table"]
    of_memory = given.names[:1] == ["memory"]
    names = [name for given_name in given.names[of_memory:] for name in tagged(given_name)]
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        print(
            f"benchmarks: no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}",
            file=sys.stderr,
        )
        return 2
    if of_memory:
        return memory.main(names, given.quick)
    chosen = [WORKLOADS[name] for name in names or WORKLOADS]
    if given.device != "cpu":
        return on_gpu(chosen if names else gpu.every(), given)
    try:
        peers.choose(given.peers)
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    peers.set_threads(threads)
    limit = floor.measure(threads, given.quick)
    print(
        f"{threads} threads; measured limits: read {limit.read / 1e9:.1f} GB/s,"
        f" copy {limit.copy / 1e9:.1f} GB/s, fma {limit.flops / 1e9:.0f} Gflop/s float32"
    )
    results = run(chosen, given, as_table)
    print(report.table(results, limit))
    return finish(results, limit, given)


def on_gpu(chosen: Sequence[Workload], given: argparse.Namespace) -> int:
    """As main, on a GPU."""
    try:
        limit = gpu.peak(given.device, given.quick)
    except (ValueError, BackendUnavailable) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(
        f"{limit.adapter}; measured limits: copy {limit.copy / 1e9:.1f} GB/s,"
        f" fma {limit.flops / 1e9:.0f} Gflop/s float32"
    )
    results = gpu.run(chosen, given.device, given.quick, QUICK if given.quick else Effort())
    print(gpu.table(results, limit))
    return finish(results, limit, given)


def finish(
    results: list[Result], limit: floor.Floor | floor.Peak, given: argparse.Namespace
) -> int:
    """Writes what is wanted. Returns the exit status."""
    if given.json is not None:
        latest = "latest.json" if given.device == "cpu" else "latest-gpu.json"
        file = Path(given.json) if given.json else RESULTS / latest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(report.to_json(results, limit))
        print(f"wrote {file}")
    if given.plot:
        for file in pictures.draw(results, limit, RESULTS):
            print(f"wrote {file}")
    return 1 if any(result.fault for result in results) else 0
