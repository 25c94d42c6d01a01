"""Builds and runs stress.c: the C of the pool and the threads, plain and under the sanitizers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    ROOT / "tests/runtime/stress.c",
    *(ROOT / "csrc").glob("pool*.c"),
    ROOT / "csrc/threads.c",
]
FLAGS = {
    "plain": ["-O3"],
    "address,undefined": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-O1", "-g", "-fsanitize=thread"],
}
CASES = [
    *("pool_sizes", "pool_reuse", "pool_trim", "pool_limit", "pool_room"),
    *("pool_largest", "pool_failures", "pool_threads", "threads_counts"),
    *("threads_errors", "threads_nested", "threads_callers", "threads_fp"),
]
FORKING = ["pool_fork", "threads_fork", "threads_exit"]


def run(command, **environment):
    return subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture(scope="module", params=FLAGS)
def program(request, tmp_path_factory):
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler (cc, or what CC names) on this machine")
    folder = tmp_path_factory.mktemp("stress")
    build = [compiler, "-std=c11", "-pthread", *FLAGS[request.param]]
    if request.param != "plain":
        empty = folder / "empty.c"
        empty.write_text("int main(void) { return 0; }\n")
        made = run([*build, empty, "-o", folder / "empty"])
        if made.returncode or run([folder / "empty"]).returncode:
            pytest.skip(f"{compiler} cannot build or run programs with -fsanitize={request.param}")
    build += ["-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}"]
    built = run([*build, *SOURCES, "-o", folder / "stress"])
    assert built.returncode == 0, built.stderr
    return folder / "stress", request.param


@pytest.mark.parametrize("case", [*CASES, *FORKING])
def test_stress(program, case):
    path, kind = program
    if kind != "plain" and case in FORKING:
        pytest.skip("a sanitizer's own locks do not survive a fork beside threads")
    done = run([path, case], ASAN_OPTIONS="detect_leaks=1", LD_PRELOAD="")
    assert (done.returncode, done.stdout) == (0, f"{case} held\n"), done.stderr
