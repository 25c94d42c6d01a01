"""The compile thread: jobs, failures, fork, exit, and how long code stays."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import pytest

from charl.core.errors import InternalError
from charl.core.settings import config
from charl.runtime import jit

pytestmark = pytest.mark.skipif(not jit.available()[0], reason=jit.available()[1])
FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
ROOT = Path(__file__).resolve().parents[2]


def text(number):
    """A kernel that returns `number`."""
    return f"define i32 @kernel(ptr %launch, i64 %begin, i64 %end) {{\n  ret i32 {number}\n}}\n"


def call(address):
    return FUNCTION(address)(None, 0, 0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path):
    """Each test with a disk cache of its own."""
    with config(cache_dir=str(tmp_path / "cache"), disk_cache=True):
        yield
        assert jit.drain(60)


def grown(before):
    """What the counters have gained."""
    return {name: count - before.get(name, 0) for name, count in jit.counters().items()}


def test_machine():
    assert jit.machine().vector_bytes in (16, 32, 64)
    assert jit.machine().triple


def test_compile_and_link_at_every_level():
    compiler = jit.Jit()
    for tier in ("quick", "full"):
        for level in jit.OPT_LEVELS:
            address, _owner = compiler.link(compiler.compile(text(7), level, tier))
            assert call(address) == 7
    assert "ret" in compiler.assembly(text(7))


def test_submit_uses_the_disk_cache():
    before, found = jit.counters(), []
    for _ in range(2):
        job = jit.submit(
            "k1", lambda: text(11), lambda address, owner: found.append((address, owner))
        )
        assert job.wait(60) and job.finished and job.error is None
    assert [call(address) for address, _ in found] == [11, 11]
    change = grown(before)
    assert (change["compiles"], change["disk_hits"], change["failures"], change["pending"]) == (
        1,
        1,
        0,
        0,
    )


def test_what_the_cache_depends_on():
    before, owners = jit.counters(), []
    for tier in ("quick", "full"):
        for level in ("none", "aggressive"):
            jit.submit(
                "k2", lambda: text(1), lambda *a: owners.append(a), tier=tier, opt_level=level
            )
    jit.submit("k3", lambda: text(1), lambda *a: owners.append(a), tier="full", opt_level="none")
    assert jit.drain(60)
    assert grown(before)["compiles"] == 5 and len(owners) == 5


def test_a_damaged_entry_is_rebuilt(tmp_path):
    owners = []
    assert jit.submit("k4", lambda: text(5), lambda *a: owners.append(a)).wait(60)
    (entry,) = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    entry.write_bytes(entry.read_bytes()[:-1])
    before = jit.counters()
    assert jit.submit("k4", lambda: text(5), lambda *a: owners.append(a)).wait(60)
    assert grown(before)["compiles"] == 1 and call(owners[-1][0]) == 5
    assert jit.submit("k4", lambda: text(5), lambda *a: owners.append(a)).wait(60)
    assert grown(before)["disk_hits"] == 1


def test_without_the_disk_cache(tmp_path):
    with config(disk_cache=False):
        before, owners = jit.counters(), []
        for _ in range(2):
            assert jit.submit("k5", lambda: text(5), lambda *a: owners.append(a)).wait(60)
        assert grown(before)["compiles"] == 2
    assert not (tmp_path / "cache").exists()


def test_priorities():
    """While the thread is held up, the queue sorts itself."""
    order, hold, begun = [], threading.Event(), threading.Event()
    owners = []

    def made(name):
        def make_text():
            order.append(name)
            return text(1)

        return make_text

    def blocked():
        begun.set()
        hold.wait(60)
        return text(0)

    jit.submit("first", blocked, lambda *a: owners.append(a))
    assert begun.wait(60)
    for name, priority in (("c", 2), ("a", -1), ("b", 0), ("d", 2)):
        jit.submit(name, made(name), lambda *a: owners.append(a), priority)
    unwanted = jit.submit("e", made("e"), lambda *a: owners.append(a), -5)
    unwanted.cancel()
    hold.set()
    assert jit.drain(60)
    assert order == ["a", "b", "c", "d"]
    assert unwanted.finished and len(owners) == 5


@pytest.mark.parametrize(
    "bad",
    [
        lambda: "this is not LLVM",
        lambda: text(1).replace("ret i32", "ret i64"),
        lambda: text(1).replace("@kernel", "@another"),
        lambda: (
            "declare void @no_such_symbol()\n"
            + text(1).replace("  ret", "  call void @no_such_symbol()\n  ret")
        ),
        lambda: 1 / 0,
    ],
)
def test_failures_are_counted_and_told(bad, recwarn):
    before, used = jit.counters(), []
    jit._compiler._warned = False
    job = jit.submit(f"bad {id(bad)}", bad, lambda *a: used.append(a))
    assert job.wait(60)
    assert job.error is not None and jit.last_error() is job.error and not used
    assert grown(before)["failures"] == 1
    after = jit.submit("good", lambda: text(3), lambda *a: used.append(a))
    assert after.wait(60) and after.error is None and call(used[0][0]) == 3


def test_one_warning():
    jit._compiler._warned = False
    with pytest.warns(RuntimeWarning, match="stays interpreted") as seen:
        for k in range(3):
            assert jit.submit(f"bad {k}", lambda: "nonsense", print).wait(60)
    assert len(seen) == 1


def test_a_failure_of_done_is_a_failure():
    before = jit.counters()
    jit._compiler._warned = True
    job = jit.submit("done", lambda: text(1), lambda address: None)
    assert job.wait(60) and isinstance(job.error, TypeError) and grown(before)["failures"] == 1


def test_unverified_text():
    with pytest.raises(InternalError, match="report it"):
        jit.Jit().compile("nonsense")


def test_code_lives_as_long_as_its_owner():
    compiler = jit.Jit()
    address, owner = compiler.link(compiler.compile(text(9)))
    alive = weakref.ref(owner)
    gc.collect()
    assert call(address) == 9
    del owner
    gc.collect()
    assert alive() is None
    assert jit.submit("after", lambda: text(1), lambda *a: None).wait(60), (
        "the thread has unmapped it"
    )


def test_owners_dropped_in_many_threads():
    def work(seed):
        for k in range(10):
            owners = []
            job = jit.submit(f"{seed} {k}", lambda: text(seed), lambda *a: owners.append(a))
            assert job.wait(60) and call(owners[0][0]) == seed

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not any(t.is_alive() for t in threads)


def test_renewal_moves_live_code(monkeypatch):
    """After `links` links there is a new LLJIT; live code is linked again, the rest is not."""
    compiler = jit.Jit(links=10)
    monkeypatch.setattr(jit._compiler, "jit", compiler)
    programs, sessions = {}, set()

    def submit(k):
        def done(address, owner):
            programs[k] = address, owner
            sessions.add(jit._mapped[owner.number][1])

        assert jit.submit(f"renew {k}", lambda: text(k), done).wait(60)

    for k in range(35):
        submit(k)
        if k >= 4:
            programs.pop(k - 4)
        assert all(call(address) == number for number, (address, _) in programs.items())
    assert len(sessions) >= 3
    assert jit.drain(60)
    assert sum(not s.left for s in sessions) == 1 and sum(s in jit._sessions for s in sessions) <= 2


def test_live_code_is_not_moved_again_and_again(monkeypatch):
    """Where nearly all code is alive, a new LLJIT would be full at once: moving waits."""
    monkeypatch.setattr(jit._compiler, "jit", jit.Jit(links=10))
    before, owners = jit.counters()["links"], []
    for k in range(60):
        job = jit.submit(f"live {k}", lambda: text(k), lambda _, owner: owners.append(owner))
        assert job.wait(60)
    assert jit.drain(60)
    assert jit.counters()["links"] - before < 2 * 60


def run(script, **environ):
    script = "import os, sys, threading, ctypes\nfrom charl.runtime import jit\n" + textwrap.dedent(
        script
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "CHARL_DISK_CACHE": "0", **environ},
    )


SLOW = '''
def slow(n=400):
    """Text that takes LLVM a while."""
    lines = ["define i32 @kernel(ptr %launch, i64 %begin, i64 %end) {"]
    lines += ["  %v0 = load <16 x double>, ptr %launch, align 8"]
    lines += [f"  %v{k} = fdiv <16 x double> %v{k-1}, %v{max(0, k-7)}" for k in range(1, n)]
    lines += [f"  store <16 x double> %v{n-1}, ptr %launch, align 8", "  ret i32 5", "}"]
    return "\\n".join(lines)
'''


TABLE = """
@table = private constant [64 x i32] zeroinitializer, align 64
define i32 @kernel(ptr %launch, i64 %begin, i64 %end) {
  %at = getelementptr i32, ptr @table, i64 %begin
  %v = load i32, ptr %at
  %sum = add i32 %v, 7
  ret i32 %sum
}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts on where Linux maps what is new")
def test_code_and_constants_stay_together():
    """Where one page is free above gigabytes in use, as beside what a GPU's driver reserves."""
    done = run(
        f"text = {TABLE!r}"
        """
        compiler = jit.Jit()
        made = compiler.compile(text)
        kept = compiler.link(made)

        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_ssize_t
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        PRIVATE, ANONYMOUS, NORESERVE = 0x2, 0x20, 0x4000

        def reserve(nbytes):
            return libc.mmap(None, nbytes, 0, PRIVATE | ANONYMOUS | NORESERVE, -1, 0)

        wall, page, above = reserve(64 << 30), 4096, []
        if wall == -1:
            sys.exit("limited")
        nbytes = 1 << 30
        while nbytes >= page:
            at = reserve(nbytes)
            if at > wall:
                above.append(at)
            else:  # no hole of this size is left
                libc.munmap(at, nbytes)
                nbytes //= 2
        libc.munmap(above[-1], page)
        address, owner = compiler.link(made)
        F = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        print(F(address)(None, 63, 0))
        """.replace("\n        ", "\n")
    )
    if done.stderr == "limited\n":
        pytest.skip("this process's address space is limited")
    assert done.stdout == "7\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_compiling():
    """Children compile what was pending and what is new; none hangs, and the parent goes on."""
    done = run(
        SLOW
        + """
        owners = []
        use = lambda *a: owners.append(a)
        F = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        first = jit.submit("first", lambda: slow(3), use)
        assert first.wait(60)
        for k in range(12):
            big = lambda: slow(200 + k)
            job = jit.submit(f"p{k}", big, use, opt_level="aggressive", tier="full")
            child = os.fork()
            if child == 0:
                memory = ctypes.create_string_buffer(1024)
                assert F(owners[0][0])(memory, 0, 0) == 5
                new = jit.submit("new", lambda: slow(5), use)
                assert new.wait(60) and new.error is None
                assert job.wait(60) and job.error is None
                assert jit.drain(60)
                assert F(owners[-1][0])(memory, 0, 0) == 5
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        assert jit.drain(60) and jit.counters()["failures"] == 0
        print("fine")
        """.replace("\n        ", "\n")
    )
    assert done.stdout == "fine\n", done.stderr


def test_exit_while_compiling():
    """The current compile is finished, the rest is dropped: no crash, whatever is still alive."""
    for more in ("", "sys.exit(3)", "owners.clear()"):
        done = run(
            SLOW
            + f"""
owners = []
for k in range(20):
    jit.submit(f"p{{k}}", lambda: slow(100 + k), lambda *a: owners.append(a))
print("leaving", flush=True)
{more}
"""
        )
        assert done.returncode == (3 if "exit" in more else 0), done.stderr
        assert done.stderr == "" and done.stdout == "leaving\n"


def test_submit_at_exit():
    """In an atexit function the thread is gone: the job fails, and says why."""
    done = run(
        SLOW
        + """
import atexit, warnings
warnings.simplefilter("ignore")
owners = []
jit.submit("a", lambda: slow(3), lambda *a: owners.append(a)).wait()
def late():
    job = jit.submit("b", lambda: slow(4), lambda *a: owners.append(a))
    assert job.wait(10) and job.error is not None
    memory = ctypes.create_string_buffer(1024)
    F = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    assert F(owners[0][0])(memory, 0, 0) == 5
    print("late", flush=True)
atexit.register(late)
"""
    )
    assert done.returncode == 0 and done.stdout == "late\n", done.stderr


def test_llvmlite_is_loaded_on_first_use():
    done = run(
        "assert 'llvmlite' not in sys.modules; jit.available(); assert 'llvmlite' in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_without_llvmlite():
    done = run(
        """
        sys.modules["llvmlite"] = None
        ok, why = jit.available()
        assert not ok and "pip install llvmlite" in why, why
        import warnings
        warnings.simplefilter("ignore")
        job = jit.submit("k", lambda: "", print)
        assert job.wait(60) and isinstance(job.error, ImportError)
        assert jit.counters()["failures"] == 1
        """
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_killed_between_compiles(tmp_path):
    """kill -9 at any moment leaves a cache that works."""
    script = (
        "import os, sys, threading, ctypes\nfrom charl.runtime import jit\n"
        + SLOW
        + """
k = 0
while True:
    k += 1
    jit.submit(f"p{k % 5}", lambda: slow(5 + k % 5), lambda *a: None).wait()
    print(k, flush=True)
"""
    )
    environ = {**os.environ, "CHARL_CACHE_DIR": str(tmp_path / "cache"), "CHARL_DISK_CACHE": "1"}
    for rounds in (1, 4, 9):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environ
        )
        for _ in range(rounds):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    done = run(
        "print(jit.submit('k', lambda: '', lambda *a: None) and jit.drain(60))",
        CHARL_CACHE_DIR=str(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
