"""A content-addressed cache of bytes on disk, shared by processes and safe against all of them.

An entry is a file named by its key (64 hex digits), in a directory of mode 0700:

    magic (8 bytes) | length (8, little-endian) | sha256 of key and payload (32) | payload

Writers fill a temporary file and rename it, so that a reader sees a whole entry or none. Readers
check owner, mode, length and checksum; what fails is removed, and counts as absent. Where the
directory cannot be used, or the disk is full, nothing is cached and nothing is raised: `stats` says
so.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import stat
import struct
import sys
import time

from charl.core.settings import config

MAGIC = b"charlobj"
_HEADER = struct.Struct("<8sQ32s")
_TEMPORARY = ".tmp-"
_STALE_SECONDS = 3600  # age at which a temporary file belongs to no living writer
_TOUCH_SECONDS = 3600  # recency of use is recorded this finely


def default_directory() -> str:
    """The user's cache directory for charl, or "" where there is none."""
    try:
        platformdirs = importlib.import_module("platformdirs")  # 10 ms of charl's import, if on top
        return os.path.join(platformdirs.user_cache_dir("charl", appauthor=False), "objects")
    except (OSError, RuntimeError):
        return ""


def _sha256(data: bytes = b""):
    return importlib.import_module("hashlib").sha256(data)  # 5 ms of a first result, if on top


def key_of(*parts: str) -> str:
    """The key of an entry that depends on these texts and nothing else."""
    digest = _sha256()
    for part in parts:
        data = part.encode()
        digest.update(struct.pack("<Q", len(data)))
        digest.update(data)
    return digest.hexdigest()


class DiskCache:
    """`get` and `put` by key. `limit` bytes are kept, least recently used entries leave first."""

    def __init__(self, directory: str, limit: int = 256 << 20):
        self.directory, self.limit = directory, limit
        self.stats = {"hits": 0, "misses": 0, "damaged": 0, "writes": 0, "errors": 0, "evicted": 0}
        self._usable = False
        self._bytes: int | None = None  # all entries together, roughly; None until counted
        self._number = itertools.count()

    def _path(self, key: str) -> str:
        return os.path.join(self.directory, key[:2], key)

    # -- reading -----------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """The entry, or None. Never raises."""
        path = self._path(key)
        try:
            data, age = self._read(path)
        except (OSError, ValueError):  # the latter for what no path can be
            self.stats["misses"] += 1
            return None
        payload = None if data is None else _payload(key, data)
        if payload is None:
            self.stats["damaged"] += 1
            self.stats["misses"] += 1
            self._remove(path)
            return None
        self.stats["hits"] += 1
        if age > _TOUCH_SECONDS:
            try:
                os.utime(path)
            except OSError:
                pass
        return payload

    def _read(self, path: str) -> tuple[bytes | None, float]:
        """All bytes (None: the file is not ours to trust) and the seconds since its last use was
        recorded.
        """
        file = os.open(
            path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        )
        try:
            status = os.fstat(file)
            age = time.time() - status.st_mtime
            if (
                not _trusted(status)
                or not stat.S_ISREG(status.st_mode)
                or status.st_size > self.limit
            ):
                return None, age
            with open(file, "rb", closefd=False) as stream:
                return stream.read(), age
        finally:
            os.close(file)

    # -- writing -----------------------------------------------------------------------------------

    def put(self, key: str, payload: bytes) -> bool:
        """Stores an entry. Returns whether that worked; never raises."""
        if not self._ready():
            return False
        data = _HEADER.pack(MAGIC, len(payload), _checksum(key, payload)) + payload
        path = self._path(key)
        folder = os.path.dirname(path)
        temporary = os.path.join(folder, f"{_TEMPORARY}{os.getpid()}-{next(self._number)}")
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._write(temporary, data)
            os.replace(temporary, path)
        except OSError:
            self.stats["errors"] += 1
            self._remove(temporary)
            return False
        self.stats["writes"] += 1
        self._grow(len(data))
        return True

    @staticmethod
    def _write(path: str, data: bytes) -> None:
        file = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600
        )
        with open(file, "wb") as stream:
            stream.write(data)

    def _ready(self) -> bool:
        """Makes the directory. False where it cannot be used now, or is not ours alone."""
        if not self._usable and self.directory:
            try:
                os.makedirs(self.directory, mode=0o700, exist_ok=True)
                status = os.stat(self.directory)
                self._usable = _owned(status)
                if self._usable and os.name == "posix" and stat.S_IMODE(status.st_mode) != 0o700:
                    os.chmod(self.directory, 0o700)
            except (OSError, ValueError):
                self._usable = False
        if not self._usable:
            self.stats["errors"] += 1
        return self._usable

    # -- size --------------------------------------------------------------------------------------

    def _grow(self, nbytes: int) -> None:
        if self._bytes is None:
            self._bytes = sum(size for _, size, _ in self.entries())
        else:
            self._bytes += nbytes
        if self._bytes > self.limit:
            self.trim()

    def entries(self) -> list[tuple[float, int, str]]:
        """(time of last use, bytes, path) of each entry; leftovers of dead writers are removed on
        the way.
        """
        found = []
        now = time.time()
        for folder in _scan(self.directory):
            if len(folder.name) != 2:
                continue
            for file in _scan(folder.path):
                try:
                    status = file.stat(follow_symlinks=False)
                except OSError:
                    continue
                if not file.name.startswith(_TEMPORARY):
                    found.append((status.st_mtime, status.st_size, file.path))
                elif now - status.st_mtime > _STALE_SECONDS:
                    self._remove(file.path)
        return found

    def trim(self) -> None:
        """Removes the least recently used entries, until three quarters of the limit are left."""
        found = sorted(self.entries())
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= self.limit * 3 // 4:
                break
            self._remove(path)
            self.stats["evicted"] += 1
            total -= size
        self._bytes = total

    @staticmethod
    def _remove(path: str) -> None:
        try:
            os.unlink(path)
        except OSError:
            pass


def _scan(directory: str) -> list[os.DirEntry]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError:
        return []


def _checksum(key: str, payload: bytes) -> bytes:
    return _sha256(key.encode() + payload).digest()


def _payload(key: str, data: bytes) -> bytes | None:
    """What an entry holds, or None if a bit of it is wrong."""
    if len(data) < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack_from(data)
    payload = data[_HEADER.size :]
    if magic != MAGIC or length != len(payload) or checksum != _checksum(key, payload):
        return None
    return payload


def _owned(status: os.stat_result) -> bool:
    return os.name != "posix" or status.st_uid == os.geteuid()


def _trusted(status: os.stat_result) -> bool:
    """Written by this user, and by nobody else."""
    return _owned(status) and (os.name != "posix" or not status.st_mode & 0o022)


_current: DiskCache | None = None


def current() -> DiskCache | None:
    """The cache that the settings name, which is kept; None where they want none."""
    global _current
    if not config.disk_cache:
        return None
    directory = config.cache_dir or default_directory()
    if _current is None or _current.directory != directory:
        _current = DiskCache(directory)
    return _current


def counters() -> dict[str, int]:
    """What `current` has counted, as disk_*; the hits are counted where they are of use."""
    found = _current.stats if _current is not None else {}
    return {f"disk_{name}": count for name, count in found.items() if name != "hits"}


@functools.cache
def fingerprint() -> str:
    """A hash of the sources that decide what code a kernel becomes, so that no entry outlives a
    change of them.
    """
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    paths = [
        os.path.join(root, *parts) for parts in (("schedule", "kernel.py"), ("runtime", "jit.py"))
    ]
    for folder in ("codegen", "ops"):
        names = sorted(os.listdir(os.path.join(root, folder)))
        paths += [os.path.join(root, folder, name) for name in names if name.endswith(".py")]
    digest = _sha256(f"{sys.byteorder}{struct.calcsize('P')}".encode())
    for path in paths:
        digest.update(os.path.basename(path).encode() + b"\0")
        try:
            with open(path, "rb") as file:
                digest.update(file.read())
        except OSError:
            continue
    return digest.hexdigest()
