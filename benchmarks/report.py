"""Results as a table and as JSON."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.floor import Floor, Peak
from benchmarks.peers import versions
from benchmarks.runner import Result
from benchmarks.workload import WORKLOADS


def duration(seconds: float) -> str:
    """1.23 us, 45.6 ms ..."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def table(results: Sequence[Result], floor: Floor) -> str:
    """A row for each workload and size: each contender's time and how many times NumPy's speed that
    is.
    """
    names = list(dict.fromkeys(result.peer for result in results))
    head = ["workload", "size", *names, "floor", "of it", "over best"]
    body, notes = [], []
    for work, size in dict.fromkeys((result.workload, result.size) for result in results):
        by_peer = {r.peer: r for r in results if (r.workload, r.size) == (work, size)}
        base = by_peer["numpy"].median if "numpy" in by_peer else float("nan")
        cells = []
        for name in names:
            result = by_peer.get(name)
            if result is None:
                cells.append("")
            elif result.fault:
                cells.append("wrong")
                notes.append(f"{work} {size}: {name}'s result {result.fault}")
            else:
                ratio = "" if name == "numpy" else f" ({base / result.median:.2f}x)"
                cells.append(duration(result.median) + ratio)
        least = floor.seconds(WORKLOADS[work].nbytes(size), WORKLOADS[work].flops(size))
        mine = by_peer.get("charl")
        good = mine is not None and not mine.fault
        share = f"{least / mine.median:.0%}" if good else ""  # type: ignore[union-attr]
        over = over_best(by_peer)
        last = (duration(least), share, f"{over:.2f}x" if over else "")
        body.append([work, f"{size:,}", *cells, *last])
    return "\n".join([*columns([head, *body]), *notes, *summary(results)])


def over_best(by_peer: dict[str, Result]) -> float | None:
    """The best other library's time over charl's (by LLVM); None where either is missing."""
    mine = by_peer.get("charl")
    others = [r.median for n, r in by_peer.items() if not n.startswith("charl") and not r.fault]
    if mine is None or mine.fault or not others:
        return None
    return min(others) / mine.median


def summary(results: Sequence[Result]) -> list[str]:
    """Lines: of each tag, the geometric mean of `over_best`, and where charl is behind."""
    ratios: dict[str, list[tuple[float, str]]] = {}
    for work, size in dict.fromkeys((result.workload, result.size) for result in results):
        ratio = over_best({r.peer: r for r in results if (r.workload, r.size) == (work, size)})
        for tag in ("all", *WORKLOADS[work].tags):
            if ratio:
                ratios.setdefault(tag, []).append((ratio, f"{work} {size:,}"))
    lines = []
    for tag, found in ratios.items():
        mean = statistics.geometric_mean([ratio for ratio, _ in found])
        worst, where = min(found)
        lines.append(
            f"{tag}: {mean:.2f}x the best other library (geometric mean of {len(found)}), "
            f"{sum(ratio < 0.9 for ratio, _ in found)} below 0.9x; least {worst:.2f}x, {where}"
        )
    return lines


def columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Aligned text: the first column to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if "model name" in line
        ]
        name = models[0] if models else name
    return {
        "processor": name,
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions(),
    }


def to_json(results: Sequence[Result], floor: Floor | Peak) -> str:
    """Everything that was measured: seconds of each round."""
    rows = [
        asdict(result) | {"median": result.median if result.seconds else None} for result in results
    ]
    return (
        json.dumps({"machine": machine(), "floor": asdict(floor), "results": rows}, indent=1) + "\n"
    )
