"""The command line: charl demo | doctor | tune | bench. Exit status: 0 good, 1 a check failed, 2 wrong
use.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

NO_BENCHMARKS = (
    "charl bench: the benchmarks are part of charl's source repository, not of the wheel; "
    "run it in the root of a clone"
)


def parser() -> argparse.ArgumentParser:
    """The argument parser of all commands."""
    top = argparse.ArgumentParser(
        prog="charl",
        description="NumPy-like arrays whose arithmetic is compiled while the program runs.",
    )
    top.add_argument("--version", action="store_true", help="print the version and stop")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo", help="recognise handwritten digits on every backend, checked against NumPy"
    )
    demo.add_argument(
        "--data", metavar="FILE.npz", help="your own samples: X (n, ...) numbers and y (n,) labels"
    )
    demo.add_argument("--quiet", action="store_true", help="no progress bar")
    tune = commands.add_parser(
        "tune", help="find the sizes of shaders that suit a GPU; no value depends on them"
    )
    tune.add_argument("--device", default="gpu", metavar="NAME", help="gpu (default), gpu:1, ...")
    tune.add_argument("--quick", action="store_true", help="small arrays, few rounds")
    tune.add_argument("--quiet", action="store_true", help="no progress bar")
    commands.add_parser("doctor", help="say what is installed, what is missing, and how to get it")
    bench = commands.add_parser(
        "bench", help="measure against NumPy and other libraries (in a clone)", add_help=False
    )
    bench.add_argument("arguments", nargs=argparse.REMAINDER)
    return top


def bench(arguments: Sequence[str]) -> int:
    """Hands over to the repository's benchmarks package."""
    here = Path.cwd()
    if (here / "benchmarks" / "__main__.py").exists() and (here / "charl" / "cli.py").exists():
        sys.path.append(str(here))
    if importlib.util.find_spec("benchmarks") is None:
        print(NO_BENCHMARKS, file=sys.stderr)
        return 2
    return importlib.import_module("benchmarks.command").main(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["bench"]:  # its own parser knows its options
        return bench(argv[1:])
    given = parser().parse_args(argv)
    if given.version:
        print(f"charl {importlib.import_module('charl').__version__}")
        return 0
    try:
        if given.command == "demo":
            return importlib.import_module("charl.demo").main(given.data, progress=not given.quiet)
        if given.command == "tune":
            tune = importlib.import_module("charl.inspect.tune")
            return tune.main(given.device, quick=given.quick, progress=not given.quiet)
        if given.command == "doctor":
            return importlib.import_module("charl.inspect.doctor").main()
    except KeyboardInterrupt:
        print("charl: interrupted", file=sys.stderr)
        return 130
    parser().print_help()
    return 2
