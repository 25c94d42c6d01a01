"""The figures that the project holds itself to: `python -m benchmarks acceptance [NAME ...]`
measures and prints each.

A check is a generator of Lines. Those that need an empty cache or a new process run in one of their
own.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import charl as ch
from benchmarks import programs
from benchmarks.peers import NUMPY, charl_peer
from benchmarks.runner import Effort, measure
from benchmarks.workload import WORKLOADS
from benchmarks.workloads import black_scholes


class Line(NamedTuple):
    """One figure and its bound: value <= bound, or >= where `least`."""

    text: str
    value: float
    bound: float
    unit: str = ""
    least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.least else self.value <= self.bound


CHECKS: dict[str, Callable[[], Iterator[Line]]] = {}


def check(function: Callable[[], Iterator[Line]]) -> Callable[[], Iterator[Line]]:
    """Registers a check under its function's name."""
    CHECKS[function.__name__] = function
    return function


def fresh(code: str, cache: str, **environment: str) -> dict[str, Any]:
    """Runs code in a new Python with its own disk cache; returns the JSON object that it prints
    last.
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CHARL_CACHE_DIR": cache, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"a benchmark process failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def median_time(function: Callable[[], Any], repeats: int = 7, calls: int = 1) -> float:
    """Median over `repeats` of the mean seconds of `calls` calls."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        taken.append((time.perf_counter() - start) / calls)
    return statistics.median(taken)


# Start and small work.


@check
def import_time() -> Iterator[Line]:
    """Beyond NumPy's own import."""
    taken = []
    for _ in range(9):
        log = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import numpy; import charl"],
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        taken.append(int(re.findall(r"\|\s*(\d+) \| charl\n", log)[-1]) / 1000)
    yield Line("import charl, beyond numpy's import", statistics.median(taken), 60, "ms")


def _pair(name: str, size: int, backend: str = "auto", effort: Effort | None = None) -> float:
    """charl's median time over NumPy's."""
    peers = [charl_peer(backend), NUMPY]
    first, second = measure(WORKLOADS[name], size, peers, effort or Effort(rounds=11))
    if first.fault:
        raise RuntimeError(f"{name}: {first.fault}")
    return first.median / second.median


@check
def small() -> Iterator[Line]:
    """Small arrays against NumPy's."""
    yield Line("a + b, 10 float32: time over numpy's", _pair("small", 10), 0.6, "x")
    yield Line("five ops, 100 float32: time over numpy's", _pair("small5", 100), 0.35, "x")
    yield Line(
        "200 rounds of three ops, 10 float32: time over numpy's", _pair("loop", 10), 0.4, "x"
    )


@check
def new_shapes() -> Iterator[Line]:
    """What a new shape of a known structure costs beyond a plan hit."""
    x = [ch.asarray(np.ones(n, np.float32)) for n in range(100, 1100)]

    def one(a) -> None:
        ch.eval(ch.exp(a) * a + 1.0)

    for a in x[:5]:
        one(a)
    ch.wait_compiled()
    first = [median_time(functools.partial(one, a), 1) for a in x[5:]]
    again = [median_time(functools.partial(one, a), 1) for a in x[5:]]
    cost = (statistics.median(first) - statistics.median(again)) * 1e6
    yield Line("new shape of a known structure, per kernel, over a plan hit", cost, 100, "us")


# Compilation.


@check
def first_result() -> Iterator[Line]:
    """A never-seen chain of 32 ops, 8 of them transcendental, on 1,000 elements."""
    with tempfile.TemporaryDirectory() as cache:
        cold = fresh(programs.LONG_CHAIN.replace("SEEDS", "15"), cache)
        warm = fresh(programs.LONG_CHAIN.replace("SEEDS", "15"), cache)
    yield Line(
        "first result of a never-seen 32-op chain, median of 15", cold["first"] * 1e3, 5, "ms"
    )
    yield Line("its machine code ready, from the call", cold["ready"] * 1e3, 10 + 5, "ms")
    yield Line("kernels that a second process compiles", warm["compiles"], 0)
    yield Line("its machine code ready in a second process, less the first result's time",
               max(0.0, warm["ready"] - warm["first"]) * 1e3, 1, "ms")  # fmt: skip


@check
def compiles() -> Iterator[Line]:
    """Compiles for 1,000 shapes of one structure, extents from 2 to 2,000."""
    with tempfile.TemporaryDirectory() as cache:
        found = fresh(programs.COMPILES, cache)
    for name, count in found.items():
        yield Line(f"compiles of {name} with 1,000 shapes", count, 4)


# Loops.


@check
def one_kernel() -> Iterator[Line]:
    """Black-Scholes with every temporary alive."""
    names = ("spot", "strike", "years")
    arrays = dict(
        zip(names, (ch.asarray(np.linspace(1, 2, 1000) + i) for i in range(3)), strict=True)
    )
    kept: list[Any] = []

    class Keeper:
        """Hands on charl's functions and keeps what they return."""

        def __getattr__(self, name: str):
            def call(*args):
                kept.append(getattr(ch, name)(*args))
                return kept[-1]

            return call

    for _ in range(2):
        before = ch.cache_info()["launches"]
        kept.append(black_scholes(Keeper(), *arrays.values()))
        ch.eval(kept[-1])
    yield Line(
        "launches of Black-Scholes, temporaries alive", ch.cache_info()["launches"] - before, 1
    )


@check
def loops() -> Iterator[Line]:
    """Loops of a million rounds, of a thousand, and a long chain that is dropped."""
    with tempfile.TemporaryDirectory() as cache:
        million = fresh(programs.MILLION, cache)
        yield Line("1e6 rounds of x*0.999 + 0.001, 10 float64: growth", million["grown"], 8, "MiB")
        yield Line("wrong results of it", 0 if million["good"] else 1, 0)
        yield Line("its time a round", million["seconds"], 10, "us")
        body = fresh(programs.BODY, cache)
        yield Line("compiles of a seven-op loop body", body["compiles"], 20)
        yield Line("its plan misses after 1,000 rounds", body["misses"], 0)
        constant = fresh(programs.CONSTANT, cache)
        yield Line(
            "x*0.999+0.001; float(sum(x)): spread of launches a round", constant["spread"], 0
        )
        dropped = fresh(programs.DROPPED, cache)
        yield Line("dropping a chain of 1e6 pending nodes", dropped["seconds"], 2, "s")


# Machine code, interpreter, NumPy.


def _ratio(name: str, size: int, over: str, under: str, rounds: int = 9) -> float:
    """Median time of `over` in units of that of `under`; "numpy" or a backend."""
    peers = [NUMPY if who == "numpy" else charl_peer(who) for who in (over, under)]
    first, second = measure(WORKLOADS[name], size, peers, Effort(rounds=rounds))
    for result in (first, second):
        if result.fault:
            raise RuntimeError(f"{name}: {result.peer} {result.fault}")
    return first.median / second.median


@check
def llvm_interp() -> Iterator[Line]:
    """LLVM over the interpreter, and the interpreter over NumPy."""
    for name, size, bound in (
        ("transcendental", 100_000, 10),
        ("matmul", 512 * 512, 20),
        ("mlp", 32, 10),
    ):
        yield Line(
            f"llvm over interp: {name} {size}",
            _ratio(name, size, "interp", "llvm"),
            bound,
            "x",
            True,
        )
    for name, size in (
        ("chain", 100_000),
        ("chain", 4_000_000),
        *itertools.product(("sum", "max", "rowsum", "colsum", "var"), (10_000, 1_000_000)),
    ):
        yield Line(
            f"interp's time over numpy's: {name} {size}",
            _ratio(name, size, "interp", "numpy"),
            2,
            "x",
        )


@check
def llvm_numpy() -> Iterator[Line]:
    """LLVM over NumPy, with the same number of threads."""
    for name, size, bound in (
        ("chain", 4_000_000, 5),
        ("sum", 10_000_000, 1.5),
        ("cumsum64", 10_000_000, 5),
        ("softmax", 4096 * 1024, 5),
        ("matmul", 1024 * 1024, 0.8),
    ):
        yield Line(
            f"llvm over numpy: {name} {size}", _ratio(name, size, "numpy", "llvm"), bound, "x", True
        )


@check
def many_kernels() -> Iterator[Line]:
    """20,000 distinct kernels; takes minutes."""
    with tempfile.TemporaryDirectory() as cache:
        rss = fresh(programs.KERNELS, cache)["rss"]
    growth = rss[-1] - rss[len(rss) // 2]
    yield Line("20,000 distinct kernels: growth over the second half", growth, 64, "MiB")


def main(names: Sequence[str]) -> int:
    """Prints a line for each figure. Returns 0, 1 where one is not met, 2 for an unknown name."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        print(
            f"benchmarks: no acceptance check {unknown[0]!r}; there are {', '.join(CHECKS)}",
            file=sys.stderr,
        )
        return 2
    lines: list[Line] = []
    for name in names or CHECKS:
        if name == "many_kernels" and not names:
            continue
        for line in CHECKS[name]():
            sign = ">=" if line.least else "<="
            verdict = "met" if line.met else "MISSED"
            print(
                f"{verdict:6}  {line.value:10.3g} {line.unit:3} {sign} {line.bound:g}  {line.text}",
                flush=True,
            )
            lines.append(line)
    missed = sum(not line.met for line in lines)
    print(f"{len(lines) - missed} of {len(lines)} figures met")
    return 1 if missed else 0
