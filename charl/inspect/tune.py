"""charl tune: the sizes of codegen.wgsl.Tiling that suit a GPU, found by trying.

Each Group of fields is tried on work of its own, all variants in turn for several rounds, so that a
noisy moment hits all. Before it is timed, a variant's result must have the bits of the usual sizes',
which must agree with NumPy's. A variant replaces the usual sizes if it is faster by GAIN.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import charl as ch
from charl import codegen
from charl.core.errors import BackendUnavailable
from charl.engine import devices
from charl.inspect.progress import Bar

GAIN = 0.03  # of the time, below which a difference may be noise
SEED = 20240229
THREADS = ("elements", "rows", "columns")  # fields that are the invocations of a workgroup
LARGE = 1 << 24  # elements: beyond any cache, and little beside any GPU's memory


@dataclass(frozen=True)
class Group:
    """fields: name -> sizes to try; inputs(size, rng): float32 ndarrays; run(xp, *arrays).
    most: the largest size tried; tolerance: of the largest magnitude of NumPy's result.
    """

    name: str
    fields: dict[str, tuple[int, ...]]
    inputs: Callable[[int, np.random.Generator], tuple[np.ndarray, ...]]
    run: Callable[..., Any]
    least: int
    most: int
    tolerance: float = 1e-5


@dataclass(frozen=True)
class Effort:
    """rounds, and the seconds that a turn takes: work grows, and then it is repeated, until it does."""

    rounds: int = 7
    seconds: float = 0.02


QUICK = Effort(rounds=3, seconds=0.002)


def _vectors(size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return tuple(rng.standard_normal(size, dtype=np.float32) for _ in range(3))


def _matrix(size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return (rng.standard_normal((size // 64, 64), dtype=np.float32),)


def _squares(size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return tuple(rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))


GROUPS = (
    Group(
        "element-wise",
        {"elements": (64, 128, 256, 512, 1024), "vector": (1, 4)},
        _vectors,
        lambda xp, a, b, c: a * b + c,
        1 << 16,
        LARGE,
    ),
    Group(
        "rows",
        {"rows": (64, 128, 256, 512, 1024)},
        _matrix,
        lambda xp, x: xp.max(xp.abs(x), axis=1) * 2 + xp.sum(x, axis=1),
        1 << 16,
        LARGE,
        1e-4,
    ),
    Group(
        "columns",
        {"columns": (32, 64, 128, 256)},
        lambda size, rng: (_matrix(size, rng)[0].reshape(64, -1),),
        lambda xp, x: xp.sum(x, axis=0),
        1 << 16,
        LARGE,
        1e-4,
    ),
    Group(
        "matrix product",
        {"side": (4, 8, 16), "each": (4, 8), "step": (8, 16, 32)},
        _squares,
        lambda xp, a, b: a @ b,
        64,
        2048,
        1e-4,
    ),
)


class Wrong(Exception):
    """A result that is not NumPy's."""


class Trial:
    """One Group on one device: its arrays there, and what the usual sizes make of them."""

    def __init__(self, group: Group, device: Any, name: str, effort: Effort):
        self.group, self.device, self.effort = group, device, effort
        self.usual = codegen.wgsl.Tiling()
        self.calls, size = 1, group.least
        while True:
            arrays = group.inputs(size, np.random.default_rng(SEED))
            self.arrays = [ch.asarray(array, device=name) for array in arrays]
            self.set(self.usual)
            self.seconds()
            once = self.seconds()
            if once >= effort.seconds or 2 * size > group.most:
                break
            size *= 2
        self.calls = max(1, round(effort.seconds / once))
        self.expected = self.result()
        wanted = np.asarray(group.run(np, *arrays))
        scale = float(np.max(np.abs(wanted)))
        off = float(np.max(np.abs(self.expected - wanted))) / scale
        if not off <= group.tolerance:
            raise Wrong(f"{group.name}: the usual sizes differ from NumPy by {off:.1e}")

    def set(self, tiling: Sequence[int]) -> None:
        """The device's sizes from now on."""
        self.device.tiling = tuple(tiling)

    def call(self) -> Any:
        result = self.group.run(ch, *self.arrays)
        ch.eval(result)
        return result

    def result(self) -> np.ndarray:
        return self.call().numpy()

    def seconds(self) -> float:
        """Of one call: of `calls` that are handed over, and awaited together."""
        start = time.perf_counter()
        for _ in range(self.calls):
            self.call()
        self.device.synchronize()
        return (time.perf_counter() - start) / self.calls

    def variants(self) -> list:
        """All that the device takes of the Group's sizes, the usual ones first."""
        most = self.device.caps.max_workgroup
        found = [self.usual]
        for sizes in itertools.product(*self.group.fields.values()):
            chosen = dict(zip(self.group.fields, sizes))
            threads = max(chosen.get("side", 1) ** 2, *(chosen.get(name, 1) for name in THREADS))
            made = self.usual._replace(**chosen)
            if threads <= most and made != self.usual:
                found.append(made)
        return found

    def same(self, tiling: Sequence[int]) -> bool:
        """Whether a variant gives the bits of the usual sizes."""
        self.set(tiling)
        return self.result().tobytes() == self.expected.tobytes()

    def measure(self, variants: Sequence[Any], bar: Bar) -> list[float]:
        """Median seconds of each variant; rounds in changing order."""
        taken: list[list[float]] = [[] for _ in variants]
        order = random.Random(0)
        for _ in range(self.effort.rounds):
            for k in order.sample(range(len(variants)), len(variants)):
                self.set(variants[k])
                self.call()  # a plan is made ready anew for other sizes
                taken[k].append(self.seconds())
            bar.step(self.group.name)
        return [statistics.median(seconds) for seconds in taken]


def tune(
    device: Any, name: str, effort: Effort, progress: bool
) -> tuple[Any, list[str], list[str]]:
    """(the best Tiling, a line for each Group, what was wrong). The device keeps its tiling."""
    former, best = device.tiling, codegen.wgsl.Tiling()
    lines, wrong = [], []
    bar = Bar(len(GROUPS) * (effort.rounds + 1), progress)
    try:
        for group in GROUPS:
            try:
                trial = Trial(group, device, name, effort)
            except Wrong as error:
                wrong.append(str(error))
                continue
            variants = trial.variants()
            off = [variant for variant in variants if not trial.same(variant)]
            wrong += [f"{group.name}: {variant} gives other bits than usual" for variant in off]
            variants = [variant for variant in variants if variant not in off]
            bar.step(group.name)
            seconds = trial.measure(variants, bar)
            k = min(range(len(variants)), key=seconds.__getitem__)
            k = k if seconds[k] < (1 - GAIN) * seconds[0] else 0
            chosen = {field: getattr(variants[k], field) for field in group.fields}
            best = best._replace(**chosen)
            sizes = ", ".join(f"{field} {size}" for field, size in chosen.items())
            lines.append(
                f"{group.name:15} {len(variants):3} variants  usual {1e3 * seconds[0]:9.3f} ms"
                f"  best {1e3 * seconds[k]:9.3f} ms  {sizes}{'' if k else ' (the usual)'}"
            )
    finally:
        device.tiling = former
        bar.close()
    return best, lines, wrong


def main(name: str, *, quick: bool = False, progress: bool = True) -> int:
    """Tunes a device; keeps and prints what was found. Returns 0, 1 where a result was wrong or
    nothing could be kept, 2 for a device that is not there.
    """
    try:
        code = devices.code(name, "charl tune")
        if code == 0:
            raise ValueError("charl tune: the cpu has no shaders; name a GPU")
        device = devices.opened(code)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except BackendUnavailable as error:
        print(f"charl tune: {error}", file=sys.stderr)
        return 2
    print(device.name, flush=True)
    best, lines, wrong = tune(device, name, QUICK if quick else Effort(), progress)
    print("\n".join(lines))
    for fault in wrong:
        print(f"charl tune: {fault}", file=sys.stderr)
    if wrong:
        return 1
    device.tiling = tuple(best)
    if not devices.keep_tiling(code, tuple(best)):
        print(
            "charl tune: nothing is kept: charl doctor says why of the disk cache", file=sys.stderr
        )
        return 1
    print("kept: programs that open this GPU use these sizes")
    return 0
