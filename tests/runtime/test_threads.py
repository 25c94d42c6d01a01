"""The thread pool as Python sees it, with Python functions as kernels. Races: stress.c."""

import ctypes
import os
import subprocess
import sys
import threading
from typing import NamedTuple

import pytest

from charl.runtime import threads
from tests.runtime.native import KERNEL, PARALLEL, Launch, c_function

pytestmark = pytest.mark.sanitize
parallel = c_function(threads, "parallel", PARALLEL)


@pytest.fixture(autouse=True)
def restored():
    before = threads.num_threads()
    yield
    threads.set_num_threads(before)


class Piece(NamedTuple):
    """One call of a kernel."""

    begin: int
    end: int
    thread: int
    nthreads: int
    scratch: int | None


def pieces_of(units, max_threads=99, scratch=None, backward=False):
    """A launch's pieces, in order."""
    return sorted(run_of(units, max_threads, scratch, backward))


def run_of(units, max_threads=99, scratch=None, backward=False):
    """A launch's pieces, as they ran."""
    seen = []
    launch = Launch(scratch=scratch, scratch_bytes=128, backward=backward)

    @KERNEL
    def kernel(launch, begin, end):
        mine = launch.contents
        seen.append(Piece(begin, end, mine.thread, mine.nthreads, mine.scratch))
        return 0

    assert parallel(kernel, ctypes.byref(launch), units, max_threads) == 0
    return seen


def covered(pieces):
    return [unit for piece in pieces for unit in range(piece.begin, piece.end)]


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("units", [0, 1, 2, 7, 8, 100])
def test_each_unit_runs_once(count, units, backward):
    threads.set_num_threads(count)
    pieces = pieces_of(units, backward=backward)
    assert covered(pieces) == list(range(units))
    assert {piece.nthreads for piece in pieces} <= {min(count, units)}
    assert all(0 <= piece.thread < piece.nthreads for piece in pieces)


def test_a_launch_may_go_backward():
    """What runs first is the last eighth of a thread's share, in place of its first half."""
    threads.set_num_threads(2)
    first = [run_of(160, backward=backward)[0] for backward in (False, True) for _ in range(20)]
    assert {(p.begin % 80, p.end % 80) for p in first[:20]} == {(0, 40)}
    assert {(p.begin % 80, p.end - p.begin) for p in first[20:]} == {(70, 10)}


def test_max_threads_bounds_the_threads():
    threads.set_num_threads(6)
    found = [{piece.nthreads for piece in pieces_of(100, most)} for most in (-1, 0, 1, 2, 6, 7)]
    assert found == [{1}, {1}, {1}, {2}, {6}, {6}]


def test_each_thread_has_its_scratch():
    threads.set_num_threads(4)
    start = 1 << 20
    assert all(p.scratch == start + 128 * p.thread for p in pieces_of(100, scratch=start))
    assert all(p.scratch is None for p in pieces_of(100))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_first_error_in_order_wins(count):
    threads.set_num_threads(count)

    @KERNEL
    def kernel(launch, begin, end):
        for unit in range(begin, end):
            if unit >= 30:
                launch.contents.error.index = unit
                return 1
        return 0

    launch = Launch()
    assert parallel(kernel, ctypes.byref(launch), 100, 8) == 1
    assert launch.error.index == 30


def test_nested_launches_run_serially():
    threads.set_num_threads(4)
    inner = []

    @KERNEL
    def kernel(launch, begin, end):
        inner.append(pieces_of(50))
        return 0

    launch = Launch()
    assert parallel(kernel, ctypes.byref(launch), 4, 4) == 0
    assert {(piece,) for (piece,) in inner} == {(Piece(0, 50, 0, 1, None),)}


def test_concurrent_callers_each_get_all_units():
    threads.set_num_threads(3)
    wrong = []

    def work():
        for units in range(1, 60):
            pieces = pieces_of(units)
            if covered(pieces) != list(range(units)):
                wrong.append(pieces)

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_child_of_a_fork_launches():
    threads.set_num_threads(4)
    pieces_of(100)
    for _ in range(5):
        child = os.fork()
        if child == 0:
            os._exit(0 if {piece.nthreads for piece in pieces_of(100)} == {4} else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert {piece.nthreads for piece in pieces_of(100)} == {4}


def test_set_num_threads_says_what_is_wrong():
    for n in (0, -1, threads.MAX_THREADS + 1):
        with pytest.raises(ValueError, match=f"n is {n}, must be 1 to {threads.MAX_THREADS}"):
            threads.set_num_threads(n)


@pytest.mark.parametrize(
    ("setting", "said"), [("3", "3\n"), (" 7 ", "7\n"), ("0", "ValueError"), ("two", "ValueError")]
)
def test_environment_sets_the_number(setting, said):
    done = subprocess.run(
        [sys.executable, "-c", "from charl.runtime import threads; print(threads.num_threads())"],
        env={**os.environ, "CHARL_NUM_THREADS": setting},
        capture_output=True,
        text=True,
    )
    assert said in (done.stdout or done.stderr)


def test_default_is_at_most_the_affinity_mask(monkeypatch):
    monkeypatch.delenv("CHARL_NUM_THREADS", raising=False)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= threads.default_num_threads() <= allowed


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_quota_of_cgroup_version_2_is_the_least_on_the_way_up(tmp_path):
    member = tmp_path / "cgroup"
    member.write_text("0::/a/b\n")
    root = tmp_path / "sys"
    write(root / "a" / "b", cpu__max="max 100000\n")
    assert threads.quota_cpus(str(member), str(root)) is None
    write(root / "a", cpu__max="150000 100000\n")
    assert threads.quota_cpus(str(member), str(root)) == 1.5
    write(root / "a" / "b", cpu__max="50000 100000\n")
    assert threads.quota_cpus(str(member), str(root)) == 0.5


def test_quota_of_cgroup_version_1(tmp_path):
    member = tmp_path / "cgroup"
    member.write_text("5:memory:/x\n4:cpu,cpuacct:/x\n")
    root = tmp_path / "sys"
    write(root / "cpu,cpuacct" / "x", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert threads.quota_cpus(str(member), str(root)) is None
    write(root / "cpu,cpuacct" / "x", cpu__cfs_quota_us="300000\n")
    assert threads.quota_cpus(str(member), str(root)) == 3


@pytest.mark.parametrize("text", ["", "junk", "0::", "4:cpu:", ":::", "0::/../..", "max"])
def test_quota_of_unreadable_files_is_none(tmp_path, text):
    member = tmp_path / "cgroup"
    member.write_text(text)
    write(tmp_path / "sys", cpu__max="\n")
    assert threads.quota_cpus(str(member), str(tmp_path / "sys")) is None
    assert threads.quota_cpus(str(tmp_path / "absent"), str(tmp_path)) is None
