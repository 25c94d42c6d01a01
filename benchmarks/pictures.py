"""Results as PNG pictures: size sweeps, bars for each family, and a roofline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.floor import Floor, Peak
from benchmarks.report import over_best
from benchmarks.runner import Result
from benchmarks.workload import WORKLOADS

COLOURS = {"charl": "#c1440e", "charl-interp": "#e0a458", "numpy": "#4d6fae"}
SHADES = ("#e8b49a", "#d4764a", "#c1440e", "#7d2c09")  # of charl's sizes, small to large


def draw(results: Sequence[Result], floor: Floor | Peak, folder: Path) -> list[Path]:
    """Writes all pictures into `folder`. Returns their paths. Raises ImportError where matplotlib is
    missing.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    timed = [result for result in results if result.seconds]
    written = []

    def save(figure: Any, name: str) -> None:
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=130)
        plt.close(figure)

    for work in dict.fromkeys(result.workload for result in timed):
        figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")
        sweep(axes, [result for result in timed if result.workload == work], floor)
        save(figure, work)
    for family in dict.fromkeys(tag for r in timed for tag in WORKLOADS[r.workload].tags):
        ratios = over(timed, family)
        if ratios:
            height = 1.2 + 0.16 * sum(map(len, ratios.values())) + 0.1 * len(ratios)
            figure, axes = plt.subplots(figsize=(7, height), layout="constrained")
            bars(axes, ratios, family)
            save(figure, f"family-{family}")
    if any(result.peer.startswith("charl") for result in timed):
        figure, axes = plt.subplots(figsize=(8, 5.2), layout="constrained")
        roofline(axes, timed, floor)
        save(figure, "roofline")
    return written


def sweep(axes: Any, results: Sequence[Result], floor: Floor | Peak) -> None:
    """Of one workload: each contender's time over size, with the limit."""
    work = WORKLOADS[results[0].workload]
    for peer in dict.fromkeys(result.peer for result in results):
        points = sorted((r.size, r.median) for r in results if r.peer == peer)
        axes.loglog(
            *zip(*points, strict=True), "o-", label=peer, color=COLOURS.get(peer), lw=1.6, ms=4
        )
    sizes = sorted({result.size for result in results})
    least = [floor.seconds(work.nbytes(n), work.flops(n)) for n in sizes]
    axes.loglog(sizes, least, "--", color="grey", lw=1, label="limit of memory or arithmetic")
    axes.set(title=f"{work.name}: {work.doc}", xlabel="size", ylabel="seconds, median")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(frameon=False, fontsize=9)


def over(results: Sequence[Result], family: str) -> dict[str, list[float]]:
    """Of each workload of a family, charl's speed over the best other library's, by size."""
    found: dict[str, list[float]] = {}
    for work, size in sorted({(r.workload, r.size) for r in results}):
        if family in WORKLOADS[work].tags:
            ratio = over_best({r.peer: r for r in results if (r.workload, r.size) == (work, size)})
            if ratio:
                found.setdefault(work, []).append(ratio)
    return found


def bars(axes: Any, ratios: dict[str, list[float]], family: str) -> None:
    """A bar for each workload and size, from 1 to the right where charl is ahead."""
    at, places = 0.0, []
    for found in ratios.values():
        for k, ratio in enumerate(found):
            axes.barh(at + k, ratio - 1, 0.9, left=1, color=SHADES[k % len(SHADES)])
            axes.text(ratio, at + k, f" {ratio:.2f}", va="center", fontsize=7)
        places.append(at + (len(found) - 1) / 2)
        at += len(found) + 0.6
    axes.set_yticks(places, list(ratios), fontsize=8)
    axes.axvline(1, color="grey", lw=1)
    axes.set_xscale("log")
    axes.margins(x=0.1)
    axes.invert_yaxis()
    axes.set(title=f"{family}: speed over the best other library", xlabel="ratio, small size first")


def roofline(axes: Any, results: Sequence[Result], floor: Floor | Peak) -> None:
    """charl's operations a second over operations a byte, under the machine's two limits."""
    points = []
    for result in results:
        work = WORKLOADS[result.workload]
        flops, nbytes = work.flops(result.size), work.nbytes(result.size)
        if result.peer == "charl" and flops and nbytes:
            points.append((flops / nbytes, flops / result.median, result.workload, result.size))
    if not points:
        return
    edges = np.geomspace(min(p[0] for p in points) / 2, max(p[0] for p in points) * 2, 200)
    roof = [edge / floor.seconds(1, 0) if edge else 0 for edge in edges]
    axes.loglog(edges, np.minimum(roof, 1 / floor.seconds(0, 1)), color="grey", lw=1.4)
    largest: dict[str, tuple[float, float, int]] = {}
    for x, y, name, size in points:
        axes.plot(x, y, "o", color=COLOURS["charl"], ms=3, alpha=0.35)
        if name not in largest or largest[name][2] < size:
            largest[name] = (x, y, size)
    for name, (x, y, _) in largest.items():
        axes.plot(x, y, "o", color=COLOURS["charl"], ms=5)
        axes.annotate(name, (x, y), fontsize=6, xytext=(3, 2), textcoords="offset points")
    axes.grid(True, which="major", alpha=0.3)
    axes.set(
        title="charl under the limits of memory and arithmetic; the largest size has its name",
        xlabel="operations a byte (an exp or tanh counts as one)",
        ylabel="operations a second",
    )
