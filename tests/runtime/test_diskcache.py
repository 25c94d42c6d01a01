"""The disk cache against damage, other processes, and directories that do not play along."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from charl.runtime.diskcache import DiskCache, default_directory, fingerprint, key_of
from tests.runtime.unprivileged import as_owner

KEY = key_of("kernel", "host")
posix = pytest.mark.skipif(os.name != "posix", reason="file modes and signals are POSIX's")


def entry(cache, key=KEY):
    return Path(cache._path(key))


@pytest.fixture
def cache(tmp_path):
    return DiskCache(str(tmp_path / "objects"))


def test_what_was_put_comes_back(cache):
    assert cache.get(KEY) is None
    for data in (b"", b"x", os.urandom(100_000)):
        assert cache.put(KEY, data)
        assert cache.get(KEY) == data
        assert DiskCache(cache.directory).get(KEY) == data
    assert cache.stats["misses"] == 1 and cache.stats["hits"] == 3 and cache.stats["damaged"] == 0


def test_keys_depend_on_each_part():
    keys = {key_of("a", "bc"), key_of("ab", "c"), key_of("a", "b", "c"), key_of("abc")}
    assert len(keys) == 4 and all(len(k) == 64 for k in keys)


def test_fingerprint_is_of_the_sources():
    assert fingerprint() == fingerprint() and len(fingerprint()) == 64


@posix
def test_private(cache):
    cache.put(KEY, b"data")
    assert Path(cache.directory).stat().st_mode & 0o777 == 0o700
    assert entry(cache).parent.stat().st_mode & 0o777 == 0o700
    assert entry(cache).stat().st_mode & 0o777 == 0o600


def test_every_truncation(cache):
    cache.put(KEY, b"0123456789")
    whole = entry(cache).read_bytes()
    for length in range(len(whole)):
        entry(cache).write_bytes(whole[:length])
        assert cache.get(KEY) is None
        assert not entry(cache).exists(), "a damaged entry is dropped"
    cache.put(KEY, b"0123456789")
    assert cache.get(KEY) == b"0123456789", "and rebuilt"


def test_every_flipped_bit(cache):
    cache.put(KEY, b"01234567")
    whole = entry(cache).read_bytes()
    for bit in range(8 * len(whole)):
        bent = bytearray(whole)
        bent[bit // 8] ^= 1 << bit % 8
        entry(cache).write_bytes(bent)
        assert cache.get(KEY) is None
    assert cache.stats["damaged"] == 8 * len(whole)


def test_an_entry_under_another_name(cache):
    other = key_of("another")
    cache.put(KEY, b"data")
    entry(cache, other).parent.mkdir(exist_ok=True)
    entry(cache).rename(entry(cache, other))
    assert cache.get(other) is None


def test_something_else_in_its_place(cache):
    cache.put(KEY, b"data")
    entry(cache).unlink()
    entry(cache).mkdir()
    assert cache.get(KEY) is None
    assert not cache.put(KEY, b"data")
    assert cache.stats["errors"] == 1


@posix
def test_links_and_entries_others_may_write_are_not_trusted(cache, tmp_path):
    cache.put(KEY, b"data")
    entry(cache).chmod(0o666)
    assert cache.get(KEY) is None
    cache.put(KEY, b"data")
    entry(cache).rename(tmp_path / "elsewhere")
    entry(cache).symlink_to(tmp_path / "elsewhere")
    assert cache.get(KEY) is None


@posix
def test_an_open_directory_is_closed(tmp_path):
    (tmp_path / "objects").mkdir(mode=0o777)
    cache = DiskCache(str(tmp_path / "objects"))
    assert cache.put(KEY, b"data")
    assert (tmp_path / "objects").stat().st_mode & 0o777 == 0o700


@posix
def test_read_only_directory(cache):
    """What is in it is used; what cannot be added is not; once it is writable, it is."""
    cache.put(KEY, b"data")
    folders = [entry(cache).parent, Path(cache.directory)]
    below = DiskCache(str(Path(cache.directory) / "below"))
    for folder in folders:
        folder.chmod(0o500)

    def read_and_write():
        return cache.get(KEY), cache.put(KEY, b"new"), below.put(KEY, b"data"), below.get(KEY)

    try:
        assert as_owner(read_and_write) == (b"data", False, False, None)
    finally:
        for folder in reversed(folders):
            folder.chmod(0o700)
    assert as_owner(read_and_write) == (b"data", True, True, b"data")
    assert cache.stats["errors"] == below.stats["errors"] == 1


def test_a_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    for where in ("file", "file/below", ""):
        cache = DiskCache(str(tmp_path / where) if where else "")
        assert cache.get(KEY) is None
        assert not cache.put(KEY, b"data")
        assert cache.stats["errors"] == 1


def no_space(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["makedirs", "open", "replace"])
def test_full_disk(cache, monkeypatch, call):
    """Whatever fails first: nothing is stored or left behind, until there is space again."""
    monkeypatch.setattr(os, call, no_space)
    assert not cache.put(KEY, b"data")
    assert cache.get(KEY) is None
    monkeypatch.undo()
    assert [path for path in Path(cache.directory).rglob("*") if path.is_file()] == []
    assert cache.put(KEY, b"data") and cache.get(KEY) == b"data"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_disk_full_while_written(cache, monkeypatch, size):
    """The system's own error, which comes with the write or, for few bytes, with the close."""
    really_open = os.open

    def onto_full_disk(path, flags, mode=0o777):
        os.close(really_open(path, flags, mode))
        return really_open("/dev/full", os.O_WRONLY)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", onto_full_disk)
        assert not cache.put(KEY, bytes(size))
    assert cache.stats["errors"] == 1
    assert list(entry(cache).parent.iterdir()) == [], "nothing is left behind"
    assert cache.put(KEY, bytes(size)) and cache.get(KEY) == bytes(size)


def test_least_recently_used_leave_first(tmp_path):
    cache = DiskCache(str(tmp_path), limit=20_000)
    keys = [key_of(str(k)) for k in range(30)]
    for age, key in enumerate(keys):
        cache.put(key, bytes(952))  # 1,000 with the header
        if entry(cache, key).exists():
            os.utime(entry(cache, key), (10**9 + age, 10**9 + age))
        if age == 15:
            os.utime(entry(cache, keys[2]), (2 * 10**9, 2 * 10**9))
    kept = [k for k, key in enumerate(keys) if cache.get(key) is not None]
    assert 2 in kept and 29 in kept and 0 not in kept and 1 not in kept
    assert sum(size for _, size, _ in cache.entries()) <= 20_000
    assert cache.stats["evicted"] == 30 - len(kept)


def test_old_temporary_files_are_removed(cache):
    cache.put(KEY, b"data")
    old, new = entry(cache).parent / ".tmp-1-1", entry(cache).parent / ".tmp-2-1"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (10**9, 10**9))
    assert len(cache.entries()) == 1
    assert not old.exists() and new.exists()


def test_default_directory():
    assert "charl" in default_directory()


WRITER = """
import sys
from charl.runtime.diskcache import DiskCache, key_of
cache = DiskCache(sys.argv[1], limit=int(sys.argv[2]))
key = key_of("shared")
print("ready", flush=True)
for k in range(int(sys.argv[3])):
    data = bytes([k % 256]) * (1 + k * 997 % 50000)
    cache.put(key_of(str(k % 40)), data)
    cache.put(key, data)
    found = cache.get(key)
    assert found is None or found == found[:1] * len(found), "a torn entry was believed"
assert cache.stats["damaged"] == 0, cache.stats
"""


def start(directory, limit, rounds):
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(WRITER),
        str(directory),
        str(limit),
        str(rounds),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_eight_processes(tmp_path):
    """All write the same entries, and evict each other's."""
    running = [start(tmp_path, 300_000, 150) for _ in range(8)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


@posix
def test_killed_while_writing(tmp_path):
    process = start(tmp_path, 10**8, 10**9)
    assert process.stdout.readline() == "ready\n"
    cache = DiskCache(str(tmp_path))
    shared = key_of("shared")
    while cache.get(shared) is None:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    for k in range(40):
        data = cache.get(key_of(str(k)))
        assert data is None or data == data[:1] * len(data)
    assert cache.stats["damaged"] == 0
    assert cache.put(shared, b"new") and cache.get(shared) == b"new"


def killing(really, before):
    """A function of os, but its process is killed before or after the call."""

    def call(*arguments, **options):
        result = None if before else really(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def at_call(name, before):
    return lambda: setattr(os, name, killing(getattr(os, name), before))


def in_mid_write():
    """The file may not grow beyond a few bytes, and trying that ends the process."""
    import resource  # POSIX's

    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def killed(arrange, cache, data):
    """A forked child arranges its own end and puts an entry."""
    child = os.fork()
    if child == 0:
        try:
            arrange()
            cache.put(KEY, data)
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


MOMENTS = [
    at_call(name, when) for name in ("makedirs", "open", "replace") for when in (True, False)
]


@posix
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("moment", range(len(MOMENTS) + 1))
@pytest.mark.parametrize("old", [None, b"old"])
def test_killed_at_each_step_of_a_write(cache, old, moment):
    """Readers see the old entry or the new one, whole, and writers go on."""
    new = b"half" * 10_000
    if old is not None:
        assert cache.put(KEY, old)
    killed([*MOMENTS, in_mid_write][moment], cache, new)
    assert cache.get(KEY) == (new if moment == len(MOMENTS) - 1 else old)
    assert cache.put(KEY, b"newer") and cache.get(KEY) == b"newer"
    assert cache.stats["damaged"] == 0
