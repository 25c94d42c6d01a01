"""The thread pool as Python sees it, with Python functions as kernels. Races: stress.c."""

import ctypes
import os
import subprocess
import sys
import threading

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


def ranges_of(units, max_threads=99, scratch=None):
    """The ranges of a launch: (thread, nthreads, begin, end), sorted; and the scratch of each."""
    seen = []
    launch = Launch(scratch=scratch, scratch_bytes=128)

    @KERNEL
    def kernel(launch, begin, end):
        mine = launch.contents
        seen.append((mine.thread, mine.nthreads, begin, end, mine.scratch))
        return 0

    assert parallel(kernel, ctypes.byref(launch), units, max_threads) == 0
    seen.sort()
    return [entry[:4] for entry in seen], [entry[4] for entry in seen]


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("units", [0, 1, 2, 7, 8, 100])
def test_ranges_are_even_contiguous_and_complete(count, units):
    threads.set_num_threads(count)
    found, _ = ranges_of(units)
    used = min(count, units)
    assert [entry[0] for entry in found] == list(range(used))
    assert all(entry[1] == used for entry in found)
    bounds = [0, *(entry[3] for entry in found)]
    assert [entry[2] for entry in found] == bounds[:-1]
    assert bounds[-1] == units
    sizes = [end - begin for _, _, begin, end in found]
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_max_threads_bounds_the_ranges():
    threads.set_num_threads(6)
    assert [len(ranges_of(100, most)[0]) for most in (-1, 0, 1, 2, 6, 7)] == [1, 1, 1, 2, 6, 6]


def test_each_range_has_its_scratch():
    threads.set_num_threads(4)
    assert ranges_of(4, scratch=1 << 20)[1] == [(1 << 20) + 128 * t for t in range(4)]
    assert ranges_of(4)[1] == [None] * 4


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
        inner.append(ranges_of(50)[0])
        return 0

    launch = Launch()
    assert parallel(kernel, ctypes.byref(launch), 4, 4) == 0
    assert inner == [[(0, 1, 0, 50)]] * 4


def test_concurrent_callers_each_get_all_units():
    threads.set_num_threads(3)
    wrong = []

    def work():
        for units in range(1, 60):
            found, _ = ranges_of(units)
            covered = [unit for _, _, begin, end in found for unit in range(begin, end)]
            if covered != list(range(units)):
                wrong.append(found)

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
    ranges_of(100)
    for _ in range(5):
        child = os.fork()
        if child == 0:
            os._exit(0 if len(ranges_of(100)[0]) == 4 else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert len(ranges_of(100)[0]) == 4


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
