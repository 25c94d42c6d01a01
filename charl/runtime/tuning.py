"""The sizes that suit an adapter, as `charl tune` found them: kept on disk, read when it is opened.

They are the fields of codegen.wgsl.Tiling, in order; no value depends on them. An entry is of one
adapter, its driver, and one version of charl's emitters.
"""

from __future__ import annotations

from charl.runtime import diskcache

MOST = 16  # sizes, and the bits of each


def _key(adapter: str, driver: str) -> str:
    return diskcache.key_of("tiling", adapter, driver, diskcache.fingerprint())


def load(adapter: str, driver: str) -> tuple[int, ...]:
    """The sizes that were kept, or () for the usual ones."""
    cache = diskcache.current()
    data = None if cache is None else cache.get(_key(adapter, driver))
    try:
        found = tuple(int(text) for text in (data or b"").split())
    except ValueError:
        return ()
    good = all(0 < size < 1 << MOST and size & (size - 1) == 0 for size in found)
    return found if good and len(found) <= MOST else ()


def save(adapter: str, driver: str, sizes: tuple[int, ...]) -> bool:
    """Keeps sizes. Returns whether that worked."""
    cache = diskcache.current()
    data = " ".join(map(str, sizes)).encode()
    return cache is not None and cache.put(_key(adapter, driver), data)
