"""python -m benchmarks.accuracy [NAME ...] [--exhaustive] [--record]: measured maximum errors of the functions on
floats, in ULP.

The exact values are NumPy's and SciPy's, of the next wider float: float64 for float32, an 80-bit long double for
float64 (or mpmath, where NumPy has no such function). Their own error is below 0.001 of the ULP that counts. The worst
point of each block is computed again by mpmath, and it is that error which is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import mpmath
import numpy as np
from scipy import special

import charl as ch
from charl.inspect.progress import Bar

PAGE = Path(__file__).resolve().parent.parent / "docs" / "accuracy.md"
HEADING = "## Measured"
BLOCK = 1 << 14  # values at a time: they and what is made of them stay in the cache
SPAN = 1 << 22  # values a step of the progress bar
DTYPES: tuple[np.dtype, ...] = (np.dtype(np.float32), np.dtype(np.float64))
HALF_PI, LN2 = np.pi / 2, np.log(2)
MPMATH = Lock()  # its precision is one for all threads


class Function(NamedTuple):
    """wide(*arrays of a wide dtype); None in place of a long double: mpmath is asked for every value."""

    wide: Callable[..., Any]
    exact: Callable[..., Any]
    arity: int = 1
    long: bool = True


FUNCTIONS = {
    "acos": Function(np.arccos, mpmath.acos),
    "acosh": Function(np.arccosh, mpmath.acosh),
    "asin": Function(np.arcsin, mpmath.asin),
    "asinh": Function(np.arcsinh, mpmath.asinh),
    "atan": Function(np.arctan, mpmath.atan),
    "atanh": Function(np.arctanh, mpmath.atanh),
    "cbrt": Function(np.cbrt, lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x))),
    "cos": Function(np.cos, mpmath.cos),
    "cosh": Function(np.cosh, mpmath.cosh),
    "erf": Function(special.erf, mpmath.erf, long=False),
    "exp": Function(np.exp, mpmath.exp),
    "exp2": Function(np.exp2, lambda x: mpmath.mpf(2) ** x),
    "expm1": Function(np.expm1, mpmath.expm1),
    "log": Function(np.log, mpmath.log),
    "log10": Function(np.log10, mpmath.log10),
    "log1p": Function(np.log1p, mpmath.log1p),
    "log2": Function(np.log2, lambda x: mpmath.log(x, 2)),
    "reciprocal": Function(np.reciprocal, lambda x: 1 / x if x else mpmath.inf),
    "sigmoid": Function(lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    "sin": Function(np.sin, mpmath.sin),
    "sinh": Function(np.sinh, mpmath.sinh),
    "sqrt": Function(np.sqrt, mpmath.sqrt),
    "tan": Function(np.tan, mpmath.tan),
    "tanh": Function(np.tanh, mpmath.tanh),
    "atan2": Function(np.arctan2, mpmath.atan2, arity=2),
    "hypot": Function(np.hypot, mpmath.hypot, arity=2),
    "pow": Function(np.power, mpmath.power, arity=2),
}


class Found(NamedTuple):
    """The largest error in ULP, and where."""

    ulps: float
    at: tuple[float, ...] = ()


# -- errors ----------------------------------------------------------------------------------------


def place(exact: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The unit in the last place of `dtype` at each exact value: that of its binade."""
    info = np.finfo(dtype)
    if exact.dtype == np.float64:
        binade = (exact.view(np.uint64) & np.uint64(0x7FF << 52)).view(np.float64)
    else:
        binade = np.ldexp(np.ones_like(exact), np.frexp(exact)[1] - 1)
    return np.maximum(binade, info.tiny) * exact.dtype.type(info.eps)


def distance(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    off = got.astype(exact.dtype)
    off -= exact
    np.abs(off, out=off)
    off /= place(exact, got.dtype)
    return off


def errors(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distances in ULP of got's dtype; inf where NaN, a zero's sign or an infinity is wrong.

    An infinite result counts as the first power of two beyond the range, as in rounding.
    """
    off = distance(got, exact)
    if np.isfinite(off.max()) and got.all():
        return off
    top = np.ldexp(exact.dtype.type(1), np.finfo(got.dtype).maxexp)
    limited, infinite = got.astype(exact.dtype), np.isinf(got)
    limited[infinite] = np.copysign(top, limited[infinite])
    beyond = infinite & (abs(exact) > top)
    nan, wrong = np.isnan(exact), np.signbit(got) != np.signbit(exact)
    exact = np.where(beyond, np.copysign(top, exact), exact)
    off = abs(limited - exact) / place(exact, got.dtype)
    off[nan] = 0
    off[np.isnan(off) | (np.isnan(got) != nan) | (wrong & ~nan)] = np.inf
    return off


def exact_error(function: Function, got: float, xs: tuple[float, ...], dtype: np.dtype) -> float:
    """By mpmath. What has no finite exact value was judged before."""
    with MPMATH, mpmath.workprec(1300):
        value = function.exact(*(mpmath.mpf(x) for x in xs))
        info = np.finfo(dtype)
        if not isinstance(value, mpmath.mpf) or not mpmath.isfinite(value):
            return 0.0
        exponent = max(mpmath.frexp(value)[1] - 1, int(info.minexp)) if value else int(info.minexp)
        top = mpmath.ldexp(1, int(info.maxexp))
        near = mpmath.sign(got) * top if np.isinf(got) else mpmath.mpf(got)
        if np.isinf(got) and abs(value) > top:
            return 0.0
        return float(abs(near - value) / mpmath.ldexp(1, exponent - int(info.nmant)))


def worst(name: str, arrays: list[np.ndarray]) -> Found:
    """The largest error of a function on these operands, a block at a time."""
    function, dtype = FUNCTIONS[name], arrays[0].dtype
    wide = np.float64 if dtype == np.float32 else np.longdouble
    found = Found(-1.0)
    for start in range(0, arrays[0].size, BLOCK):
        xs = [x[start : start + BLOCK] for x in arrays]
        got = np.asarray(getattr(ch, name)(*(ch.asarray(x) for x in xs)))
        with np.errstate(all="ignore"):
            off = errors(got, wide_values(function, [x.astype(wide) for x in xs]))
        k = off.argmax()
        if off[k] > found.ulps:
            at = tuple(float(x[k]) for x in xs)
            usual = np.isfinite(off[k]) and np.isfinite(at).all()
            ulps = exact_error(function, float(got[k]), at, dtype) if usual else float(off[k])
            found = max(found, Found(ulps, at))
    return found


def wide_values(function: Function, xs: list[np.ndarray]) -> np.ndarray:
    if function.long or xs[0].dtype == np.float64:
        return function.wide(*xs)
    rough = function.wide(*(x.astype(np.float64) for x in xs)).astype(np.longdouble)
    with MPMATH, mpmath.workprec(80):
        for k in np.flatnonzero(np.isfinite(rough) & (rough != 0)):
            value = function.exact(*(mpmath.mpf(float(x[k])) for x in xs))
            high = float(value)
            rough[k] = np.longdouble(high) + np.longdouble(float(value - high))
    return rough


# -- operands --------------------------------------------------------------------------------------


def every_float() -> Iterator[list[np.ndarray]]:
    """All float32, in order of their bits."""
    for start in range(0, 1 << 32, SPAN):
        yield [np.arange(start, start + SPAN, dtype=np.int64).astype(np.uint32).view(np.float32)]


def sampled(name: str, dtype: np.dtype, count: int) -> Iterator[list[np.ndarray]]:
    """Random operands and those at which a function changes its course."""
    rng = np.random.default_rng(1)
    arity = FUNCTIONS[name].arity
    for start in range(0, count, SPAN):
        n = min(SPAN, count - start)
        columns = [rng.permutation(values(dtype, n, rng)) for _ in range(arity)]
        if name == "pow":  # exponents that keep the result within the range
            columns[0][::2] = abs(columns[0][::2])
            with np.errstate(all="ignore"):
                fit = rng.uniform(-750, 750, n) / np.log(abs(columns[0].astype(np.float64)))
            columns[1][: n // 2] = fit[: n // 2]
        if name == "hypot" or name == "atan2":  # operands of like size
            k = n // 2
            with np.errstate(all="ignore"):
                columns[1][:k] = columns[0][:k] * np.exp(rng.normal(size=k) * 3).astype(dtype)
        yield columns


def values(dtype: np.dtype, n: int, rng: np.random.Generator) -> np.ndarray:
    """Random bits; ordinary sizes; neighbours of multiples of pi/4 and ln(2)/2, of powers of two and of 1."""
    m = n // 6 + 1
    eps = float(np.finfo(dtype).eps)
    hard = np.concatenate([np.arange(-64, 65) * (HALF_PI / 2), np.arange(-64, 65) * (LN2 / 2)])
    hard = np.concatenate(
        [hard, 2.0 ** np.arange(-30, 31), [88.7, -104, 709.7, -745, 0.5, 0.95, 1]]
    )
    parts = [
        rng.normal(size=m) * 3,
        rng.uniform(-1, 1, m),
        rng.uniform(-100, 100, m),
        np.exp(rng.uniform(-40, 40, m)) * rng.choice([-1, 1], m),
        rng.choice(hard, m) * (1 + rng.integers(-40, 41, m) * eps),
    ]
    bits = rng.integers(0, 256, m * dtype.itemsize, dtype=np.uint8).view(dtype)
    with np.errstate(all="ignore"):
        return np.concatenate([bits, *(part.astype(dtype) for part in parts)])[:n]


# -- the command -----------------------------------------------------------------------------------


def measure(name: str, spans: Iterator[list[np.ndarray]], steps: int, threads: int) -> Found:
    """The largest error over all spans."""
    bar = Bar(steps)
    found = Found(-1.0)
    with ThreadPoolExecutor(threads) as pool:
        for one in pool.map(lambda xs: worst(name, xs), spans):
            found = max(found, one)
            bar.step(f"{name} {found.ulps:.3f}")
    bar.close()
    return found


def cell(found: Found, dtype: np.dtype) -> str:
    digits = 9 if dtype == np.float32 else 17
    return f"{found.ulps:.3f} at {', '.join(f'{x:.{digits}g}' for x in found.at)}"


def record(name: str, column: int, text: str) -> None:
    """Puts one cell into the table that ends docs/accuracy.md."""
    page, _, table = PAGE.read_text().partition(HEADING)
    before = [line for line in table.splitlines() if not line.startswith("| `")]
    rows = {r.split("`")[1]: r.split(" | ") for r in table.splitlines() if r.startswith("| `")}
    row = rows.setdefault(name, [f"| `{name}`", "", "|"])
    row[column] = text if column == 1 else f"{text} |"
    lines = [" | ".join(rows[key]) for key in sorted(rows)]
    PAGE.write_text(page + HEADING + "\n".join([*before, *lines]) + "\n")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    top.add_argument("names", nargs="*", metavar="NAME", help="functions; default: all")
    top.add_argument(
        "--exhaustive", action="store_true", help="functions of one float32: all 2^32 of them"
    )
    top.add_argument("--samples", type=int, default=1_000_000, help="values of every other kind")
    top.add_argument("--dtype", choices=("float32", "float64"), help="default: both")
    top.add_argument("--threads", type=int, default=2)
    top.add_argument("--record", action="store_true", help=f"write into {PAGE.name}")
    return top


def main(argv: list[str] | None = None) -> int:
    """Returns 0, 1 where an error is above 1 ULP, or 2 for an unknown name."""
    given = parser().parse_args(argv)
    unknown = [name for name in given.names if name not in FUNCTIONS]
    if unknown:
        print(f"accuracy: no function {unknown[0]!r}; there are {', '.join(FUNCTIONS)}")
        return 2
    ch.set_num_threads(1)  # the spans share the cores
    status = 0
    for name in given.names or FUNCTIONS:
        for column, dtype in enumerate(DTYPES, 1):
            if given.dtype not in (None, dtype.name):
                continue
            function = FUNCTIONS[name]
            if given.exhaustive and function.arity == 1 and dtype == np.float32:
                spans, steps, how = every_float(), (1 << 32) // SPAN, "all"
            else:
                known = function.long or dtype == np.float32
                count = given.samples if known else given.samples // 20
                spans, steps = sampled(name, dtype, count), -(-count // SPAN)
                how = f"{count:,}"
            found = measure(name, spans, steps, given.threads)
            text = cell(found, dtype)
            print(f"{name:12} {dtype.name:8} {how:>12}  {text}", flush=True)
            status |= not found.ulps <= 1
            if given.record:
                record(name, column, f"{text} (of {how})")
    return status


if __name__ == "__main__":
    sys.exit(main())
