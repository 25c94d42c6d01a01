"""python -m benchmarks: sets the environment that libraries read when they load, then runs the
command.
"""

import os
import sys

# An OpenBLAS pinned to another processor's kernels would make NumPy look slow.
PINNED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

if __name__ == "__main__":
    if any(name in os.environ for name in PINNED):
        clean = {name: value for name, value in os.environ.items() if name not in PINNED}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], clean)
    from benchmarks.command import main

    sys.exit(main())
