"""Peak memory of workloads, each in a process of its own: what charl's pool handed out at most, over
what inputs and results need.

    python -m benchmarks memory [NAME ...] [--quick]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

import charl as ch
from benchmarks.report import columns
from benchmarks.runner import SEED, each
from benchmarks.workload import WORKLOADS, Workload

ALLOWED = 1.1  # of inputs and results
SLACK = 4 << 20  # bytes: what threads pack panels of matrices into, and rounding of small blocks
TIMES = 3  # calls: the first is interpreted while its code is compiled


def measured(work: Workload, size: int) -> dict[str, int]:
    """Bytes of inputs and results, and the pool's peak; in this process, which must be fresh."""
    inputs = [ch.asarray(array) for array in work.make(size, np.random.default_rng(SEED))]
    before = ch.memory_stats()["in_use"]
    results: tuple = ()
    for _ in range(TIMES):
        results = ()
        results = each(work.run["charl"](*inputs))
        ch.eval(*results)
        ch.wait_compiled()
    nbytes = sum(result.nbytes for result in results)
    return {"inputs": before, "results": nbytes, "peak": ch.memory_stats()["peak"]}


def apart(work: Workload, size: int) -> dict[str, int]:
    """The same, in a process of its own."""
    code = (
        "import json, benchmarks.command; from benchmarks import memory, workload; "
        f"print(json.dumps(memory.measured(workload.WORKLOADS[{work.name!r}], {size})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{work.name} {size} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(names: Sequence[str], quick: bool) -> int:
    """Prints a table of all sizes' peaks. Returns 1 where one is too large."""
    rows, above = [], []
    for work in [WORKLOADS[name] for name in names or WORKLOADS]:
        if "charl" not in work.run:
            continue
        size = work.quick if quick else work.sizes[-1]
        found = apart(work, size)
        needed = found["inputs"] + found["results"]
        mebibytes = [f"{found[key] / 2**20:.1f}" for key in ("inputs", "results", "peak")]
        ratio = found["peak"] / max(needed, 1)
        rows.append([work.name, f"{size:,}", *mebibytes, f"{ratio:.2f}"])
        if found["peak"] > ALLOWED * needed + SLACK:
            above.append(f"{work.name} {size:,}: {ratio:.2f} of inputs and results")
    head = ["workload", "size", "inputs MiB", "results MiB", "peak MiB", "of it"]
    print("\n".join(columns([head, *rows])))
    print(
        f"{len(above)} of {len(rows)} above {ALLOWED} of inputs and results, and 4 MiB",
        *above,
        sep="\n",
    )
    return 1 if above else 0
