"""python -m benchmarks: sets the environment that libraries read when they load, then runs the
command.
"""

import os
import sys

# An OpenBLAS pinned to another processor's kernels would make NumPy look slow.
PINNED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

# Its idle threads spin for 2^26 cycles unless told otherwise: in the rounds of other libraries.
SPIN = {"OPENBLAS_THREAD_TIMEOUT": "4"}

if __name__ == "__main__":
    clean = {name: value for name, value in os.environ.items() if name not in PINNED} | SPIN
    if clean != dict(os.environ):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], clean)
    from benchmarks.command import main

    sys.exit(main())
