"""Measures: results are checked first, contenders take turns in changing order, medians kept."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers import Peer
from benchmarks.workload import Workload

SEED = 20240229


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, and seconds that one contender's turn is to last at least."""

    rounds: int = 9
    turn: float = 0.05
    patience: float = 4.0  # a contender that takes longer for one call gets one timed call in all


QUICK = Effort(rounds=7, turn=0.004)


@dataclass(frozen=True)
class Result:
    """One contender at one size: seconds of each round's mean call, or why it was left out."""

    workload: str
    size: int
    peer: str
    seconds: tuple[float, ...] = ()
    fault: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else float("nan")


class Contender:
    """A peer with its inputs and its function: call() runs it to the end."""

    def __init__(self, peer: Peer, function: Callable[..., Any], arrays: Sequence[np.ndarray]):
        self.peer, self.function = peer, function
        self.arrays = tuple(peer.take(array) for array in arrays)
        self.calls = 1

    def call(self) -> Any:
        result = self.function(*self.arrays)
        self.peer.finish(*each(result))
        return result

    def turn(self, calls: int) -> float:
        """Mean seconds of `calls` calls."""
        function, finish, arrays = self.function, self.peer.finish, self.arrays
        start = time.perf_counter()
        for _ in range(calls):
            result = function(*arrays)
            if type(result) is tuple:
                finish(*result)
            else:
                finish(result)
        self.peer.settle()
        return (time.perf_counter() - start) / calls


def each(result: Any) -> tuple:
    """The results of a function that may have several."""
    return result if isinstance(result, tuple) else (result,)


def wrong(found: np.ndarray, expected: np.ndarray, tolerance: float) -> str:
    """What is wrong with a result; empty where nothing is."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"is {found.dtype}{found.shape}, NumPy's is {expected.dtype}{expected.shape}"
    scale = max(float(np.max(np.abs(expected), initial=0.0)), 1e-30)
    off = float(np.max(np.abs(found.astype(np.float64) - expected), initial=0.0)) / scale
    return (
        ""
        if off <= tolerance
        else f"differs from NumPy's by {off:.1e} of the largest, allowed {tolerance:.0e}"
    )


def prepare(
    work: Workload, size: int, peers: Sequence[Peer]
) -> tuple[list[Contender], list[Result]]:
    """Contenders whose results agree with NumPy's, and a Result with a fault for each of the
    others.
    """
    arrays = work.make(size, np.random.default_rng(SEED))
    expected = [np.asarray(result) for result in each(work.run["numpy"](*arrays))]
    good, bad = [], []
    for peer in peers:
        if peer.library not in work.run:
            continue
        contender = Contender(peer, work.run[peer.library], arrays)
        try:
            with peer.mode():
                found = [np.asarray(peer.give(result)) for result in each(contender.call())]
                peer.ready()
        except Exception as error:  # what a library does not do on this device
            if peer.library == "charl":
                raise
            fault = f"is missing: {error}"
        else:
            faults = [wrong(*pair, work.tolerance) for pair in zip(found, expected, strict=True)]
            fault = next(filter(None, faults), "")
        if fault:
            bad.append(Result(work.name, size, peer.name, fault=fault))
        else:
            good.append(contender)
    return good, bad


def measure(work: Workload, size: int, peers: Sequence[Peer], effort: Effort) -> list[Result]:
    """The Results of all peers that have this workload."""
    contenders, faults = prepare(work, size, peers)
    seconds: dict[str, list[float]] = {contender.peer.name: [] for contender in contenders}
    slow = set()
    for contender in contenders:
        with contender.peer.mode():
            for _ in range(40):  # enough launches to become hot: fully optimised before it is timed
                once = contender.turn(1)
                if once > 0.02:
                    break
            contender.peer.ready()
            once = min(once, contender.turn(1))
        contender.calls = max(1, int(effort.turn / max(once, 1e-9)))
        if once > effort.patience:
            slow.add(contender.peer.name)
            seconds[contender.peer.name].append(once)
    order = random.Random(0)
    for _ in range(effort.rounds):
        # idle threads of some libraries spin for a while: in another's turn each time
        for contender in order.sample(contenders, len(contenders)):
            if contender.peer.name in slow:
                continue
            with contender.peer.mode():
                contender.turn(1)  # the caches hold the last contender's data
                seconds[contender.peer.name].append(contender.turn(contender.calls))
    return faults + [
        Result(work.name, size, contender.peer.name, tuple(seconds[contender.peer.name]))
        for contender in contenders
    ]
