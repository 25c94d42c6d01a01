"""charl demo: handwritten digits recognised with plain array code, on every backend of the cpu or
on the GPU that is the default device, checked against NumPy.

Samples are centred by the training mean and projected to 30 principal components, found by subspace
iteration; each third one is held out and given the label of its nearest neighbour. `recognise` is
written once against an array namespace: charl runs it on each backend, NumPy runs the same text for
the comparison of results, and `numpy_fastest` is how one would write it for speed in NumPy.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import charl as ch
from charl.inspect.doctor import failure
from charl.inspect.progress import Bar

HELD_OUT = 3  # each third sample
COMPONENTS = 30
ROUNDS = 3  # of subspace iteration, each with the fourth power of the covariance
BLOCK = 1024  # held-out samples whose distances are computed at once
REPEATS = 7
LEAST_ACCURACY = 0.98  # on the digits
# of nearest distances, relative to the largest, by the bytes of the floats that find the components:
# two ways of rounding; NumPy's own float32 differs from its float64 by 2.5e-3
TOLERANCE = {8: 1e-4, 4: 1e-2}

Tick = Callable[[Any], None]


class BadData(Exception):
    """A data file that the demo cannot use; the message is one line for the user."""


class Samples(NamedTuple):
    """train (n, d) and held (m, d) float64, or float32 on a device that has no float64; known (n,)
    and truth (m,) int64 labels.
    """

    train: Any
    held: Any
    known: Any
    truth: Any


class Answer(NamedTuple):
    """label (m,) int64 of each held-out sample, gap (m,) float32: squared distance to its nearest
    neighbour.
    """

    label: Any
    gap: Any


def orthonormal(xp, a):
    """a (d, k) -> (d, k), orthonormal columns that span the same space. Modified Gram-Schmidt; the
    columns get their length 1 at the end.
    """
    a = xp.asarray(a, copy=True)
    tiny = float(xp.finfo(a.dtype).smallest_normal)  # keeps a column of zeros what it is
    for j in range(a.shape[1] - 1):
        along = a[:, j] @ a[:, j:]
        a[:, j + 1 :] -= a[:, j : j + 1] * (along[1:] / (along[0] + tiny))
    return a / (xp.sqrt(xp.sum(a * a, axis=0)) + tiny)


def components(xp, x, k: int, tick: Tick):
    """x (n, d), centred -> (d, k): the directions of largest variance, by subspace iteration."""
    d = x.shape[1]
    cov = x.T @ x / x.shape[0]
    power = cov @ cov
    power = power @ power / xp.sum(power * power)
    waves = (xp.arange(d, dtype=x.dtype)[:, None] + 0.5) * xp.arange(k, dtype=x.dtype)
    basis = xp.cos(waves * (math.pi / d))
    passes = 1 if x.dtype == xp.float64 else 2  # one of float32 leaves columns far from orthogonal
    for _ in range(ROUNDS):
        basis = power @ basis
        for _ in range(passes):
            basis = orthonormal(xp, basis)
        tick(basis)
    return basis


def nearest(xp, held, train, known) -> Answer:
    """The label of the training sample nearest to each held-out one: held (k, m), train (k, n),
    known (n,). The differences, (k, m, n), are never stored.
    """
    difference = held[:, :, None] - train[:, None, :]
    gaps = xp.sum(difference * difference, axis=0)
    return Answer(xp.take(known, xp.argmin(gaps, axis=1)), xp.min(gaps, axis=1))


def recognise(
    xp, samples: Samples, block: int = BLOCK, tick: Tick = lambda array: None
) -> list[Answer]:
    """Answers for the held-out samples, block by block; tick(array) is told of each step that is
    done.
    """
    mean = xp.mean(samples.train, axis=0)
    x = samples.train - mean
    basis = components(xp, x, min(COMPONENTS, x.shape[1]), tick)
    train = xp.asarray(basis.T @ x.T, dtype=xp.float32)
    held = xp.asarray(basis.T @ (samples.held - mean).T, dtype=xp.float32)
    answers = []
    for start in range(0, held.shape[1], block):
        answers.append(nearest(xp, held[:, start : start + block], train, samples.known))
        tick(answers[-1].label)
    return answers


def numpy_fastest(samples: Samples) -> np.ndarray:
    """The same task as one writes it for NumPy: LAPACK's eigenvectors, distances by matmul. Labels
    (m,).
    """
    mean = samples.train.mean(axis=0)
    x = samples.train - mean
    basis = np.linalg.eigh(x.T @ x)[1][:, -COMPONENTS:]
    train = (x @ basis).astype(np.float32)
    held = ((samples.held - mean) @ basis).astype(np.float32)
    lengths = np.einsum("ij,ij->i", train, train)
    found = [
        samples.known[np.argmin(lengths - 2 * (held[start : start + BLOCK] @ train.T), axis=1)]
        for start in range(0, len(held), BLOCK)
    ]
    return np.concatenate(found)


def load(path: str | None) -> Samples:
    """Samples of a .npz file with X (n, ...) and y (n,), or the digits. Raises BadData."""
    file = Path(path) if path else Path(__file__).parent / "data" / "digits.npz"
    try:
        with np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in ("X", "y") if name not in arrays.files]
            if missing:
                raise BadData(
                    f"{file}: has no array {' and no array '.join(missing)}; it needs X and y"
                )
            x, y = arrays["X"], arrays["y"]
    except FileNotFoundError:
        raise BadData(f"{file}: there is no such file") from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadData(f"{file}: is not a .npz file that NumPy can read ({why})") from None
    return split(x, y, str(file))


def split(x: np.ndarray, y: np.ndarray, name: str) -> Samples:
    """Samples of X (n, ...) and y (n,): each third is held out. Raises BadData."""
    if x.dtype.kind not in "biuf" or x.ndim < 2:
        raise BadData(
            f"{name}: X must be real numbers with 2 axes or more, is {x.dtype} of shape {x.shape}"
        )
    if y.shape != x.shape[:1]:
        raise BadData(
            f"{name}: y must have shape {x.shape[:1]}, one label for each sample, has {y.shape}"
        )
    x = x.reshape(len(x), -1).astype(np.float64)
    if len(x) < HELD_OUT or x.shape[1] == 0:
        raise BadData(
            f"{name}: X must hold at least {HELD_OUT} samples of one number, has shape {x.shape}"
        )
    if not np.isfinite(x).all():
        raise BadData(f"{name}: X holds values that are not finite")
    y = np.unique(y, return_inverse=True)[1].astype(np.int64)
    held = np.arange(len(x)) % HELD_OUT == 0
    return Samples(x[~held], x[held], y[~held], y[held])


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result of one call."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def backends() -> list[str]:
    """What can run here, the quickest first: the cpu's backends, or the GPU that is the default."""
    if ch.config.default_device != "cpu":
        return [ch.config.default_device]
    return ["interp"] if failure("llvmlite.binding") else ["llvm", "interp"]


def chosen(name: str):
    """A context in which arrays are computed by one of `backends`."""
    return ch.config(**({"default_device": name} if "gpu" in name else {"backend": name}))


def moved(samples: Samples) -> Samples:
    """Samples as Tensors of the default device."""
    real = ch.__array_namespace_info__().default_dtypes()["real floating"]
    train, held = (ch.asarray(array, dtype=real) for array in samples[:2])
    return Samples(train, held, *map(ch.asarray, samples[2:]))


class Report(NamedTuple):
    """What one backend did: labels and gaps as ndarrays, seconds of the first run, and the growth
    of ch.cache_info() in it; itemsize of its floats.
    """

    backend: str
    label: np.ndarray
    gap: np.ndarray
    cold: float
    counts: dict
    itemsize: int = 8


def on_charl(tensors: Samples, tick: Tick = lambda array: None) -> list[Answer]:
    """The task on charl, every answer realized."""
    answers = recognise(ch, tensors, tick=tick)
    ch.eval(*(array for answer in answers for array in answer))
    return answers


def first_run(backend: str, samples: Samples, bar: Bar) -> Report:
    """Runs the task once on one backend, and waits for its machine code."""

    def step(array) -> None:
        ch.eval(array)
        bar.step(f"{backend}: first run")

    with chosen(backend):
        before = ch.cache_info()
        tensors = moved(samples)
        cold, answers = timed(lambda: on_charl(tensors, step))
        counts = {name: value - before.get(name, 0) for name, value in ch.cache_info().items()}
        for _ in range(ch.config.hot_launches + 1):  # until the optimised tier runs
            on_charl(tensors)
            ch.wait_compiled()
    label = np.concatenate([answer.label.numpy() for answer in answers])
    gap = np.concatenate([answer.gap.numpy() for answer in answers])
    return Report(backend, label, gap, cold, counts, tensors.train.dtype.itemsize)


def measure(names: list[str], samples: Samples, bar: Bar) -> dict[str, float]:
    """Median seconds of a run of each backend and of "numpy", which take turns."""
    tensors = moved(samples)
    taken: dict[str, list[float]] = {name: [] for name in (*names, "numpy")}
    for _ in range(REPEATS):
        for name in names:
            with chosen(name):
                taken[name].append(timed(lambda: on_charl(tensors))[0])
        taken["numpy"].append(timed(lambda: numpy_fastest(samples))[0])
        bar.step("measuring")
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def faults(report: Report, expected: Answer, truth: np.ndarray, least: float) -> list[str]:
    """What is wrong with a report: a line each."""
    found = []
    accuracy = float(np.mean(report.label == truth))
    off = float(np.max(np.abs(report.gap - expected.gap)) / max(float(np.max(expected.gap)), 1e-30))
    if not accuracy >= least:
        found.append(f"{report.backend}: accuracy {accuracy:.4f} is below {least}")
    if not off <= TOLERANCE[report.itemsize]:
        found.append(
            f"{report.backend}: nearest distances differ from NumPy's by {off:.1e} of the largest"
        )
    return found


def lines(
    reports: list[Report], expected: Answer, truth: np.ndarray, warm: dict[str, float]
) -> list[str]:
    """The table that the demo prints."""
    out = [
        f"{'':8}  accuracy  same labels  distances      cold       warm  speed-up  kernels at first"
    ]
    scale = max(float(np.max(expected.gap)), 1e-30)
    for r in reports:
        same = float(np.mean(r.label == expected.label))
        off = float(np.max(np.abs(r.gap - expected.gap))) / scale
        counted = ("dispatches", "submits") if "gpu" in r.backend else ("launches", "compiles")
        kernels = ", ".join(f"{r.counts[name]} {name}" for name in counted)
        out.append(
            f"{r.backend:8}  {np.mean(r.label == truth):8.4f}  {100 * same:10.2f}%  {off:9.1e}"
            f"  {1e3 * r.cold:6.1f}ms  {1e3 * warm[r.backend]:7.2f}ms"
            f"  {warm['numpy'] / warm[r.backend]:7.2f}x  {kernels}"
        )
    numpy_accuracy = np.mean(expected.label == truth)
    out.append(f"{'numpy':8}  {numpy_accuracy:8.4f}  {'':32}{1e3 * warm['numpy']:7.2f}ms")
    return out


def main(data: str | None = None, *, progress: bool = True) -> int:
    """Runs the demo; prints its table. Returns 0, 1 where a check failed, 2 for a bad file."""
    try:
        samples = load(data)
    except BadData as error:
        print(f"charl demo: {error}", file=sys.stderr)
        return 2
    names = backends()
    blocks = -(-len(samples.truth) // BLOCK)
    bar = Bar(len(names) * (ROUNDS + blocks) + 1 + REPEATS, progress)
    print(
        f"{len(samples.train)} samples to learn from, {len(samples.held)} held out,"
        f" {samples.train.shape[1]} numbers each; nearest neighbour in"
        f" {min(COMPONENTS, samples.train.shape[1])} components",
        flush=True,
    )
    try:
        small = max(
            1, 2_000_000 // samples.train.size
        )  # NumPy stores the differences: a few at a time
        answers = recognise(np, samples, small, lambda array: None)
        expected = Answer(*(np.concatenate(part) for part in zip(*answers, strict=True)))
        bar.step("numpy: the same text")
        reports = [first_run(name, samples, bar) for name in names]
        warm = measure(names, samples, bar)
    finally:
        bar.close()
    print("\n".join(lines(reports, expected, samples.truth, warm)))
    least = 0.0 if data else LEAST_ACCURACY
    wrong = [
        fault for report in reports for fault in faults(report, expected, samples.truth, least)
    ]
    for fault in wrong:
        print(f"charl demo: {fault}", file=sys.stderr)
    if not wrong:
        print("all checks passed")
    return 1 if wrong else 0
