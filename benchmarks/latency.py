"""From the start of a process to the first result of a chain of 15 operations, import included.

    python -m benchmarks latency [--peers all]

cold: nothing is known. again: a second process, which finds what the first has kept on disk. Python's own files of
bytecode are there in both, as in an installed package: a process that is not counted has them written.
"""

from __future__ import annotations

import inspect
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.families.elementwise import chain15
from benchmarks.report import columns, duration

REPEATS = 3
SIZE = 10_000
# By library: imports, what makes `f` of `chain`, the array, and what awaits the result.
LIBRARIES = {
    "charl": ("import charl as xp", "f = chain", "xp.asarray(x)", "xp.eval({})"),
    "numpy": ("import numpy as xp", "f = chain", "x", "{}"),
    "numba": ("import numba, numpy as xp", "f = numba.njit(parallel=True)(alone)", "x", "{}"),
    "jax": (
        "import jax, jax.numpy as xp; jax.config.update('jax_enable_x64', True)",
        "f = jax.jit(chain)",
        "xp.asarray(x)",
        "jax.block_until_ready({})",
    ),
    "torch.compile": (
        "import torch as xp",
        "f = xp.compile(chain)",
        "xp.from_numpy(x)",
        "{}",
    ),
}


def program(library: str) -> str:
    """Prints the seconds since the time of day that it is given."""
    imports, make, take, finish = LIBRARIES[library]
    text = inspect.getsource(chain15)
    alone = text.replace("chain15(xp, x)", "alone(x)")
    return f"""
import sys, time, numpy as np
{imports}
{text}
{alone}
chain = lambda x: chain15(xp, x)
x = np.linspace(-3, 3, {SIZE})
{make}
{finish.format(f"f({take})")}
print(time.time() - float(sys.argv[1]))
{"xp.wait_compiled()" if library == "charl" else ""}
"""


def seconds(library: str, cache: str) -> float:
    """One process, whose compilers keep what they keep in `cache`."""
    kept = ("CHARL_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    done = subprocess.run(
        [sys.executable, "-c", program(library), str(time.time())],
        env={**os.environ, **dict.fromkeys(kept, cache), "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{library} failed:\n{done.stderr}")
    return float(done.stdout.split()[0])


def main(libraries: Sequence[str]) -> int:
    """Prints the medians; libraries beside charl and NumPy are named. Returns 0."""
    rows = []
    for library in ("charl", "numpy", *(name for name in libraries if name in LIBRARIES)):
        cold, again = [], []
        with tempfile.TemporaryDirectory() as cache:
            seconds(library, cache)
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as cache:
                cold.append(seconds(library, cache))
                again.append(seconds(library, cache))
        rows.append([library, *(duration(statistics.median(times)) for times in (cold, again))])
    print("\n".join(columns([["library", "cold", "again"], *rows])))
    return 0
