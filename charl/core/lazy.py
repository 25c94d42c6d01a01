"""Submodules that a package loads when they are first asked for: `from charl import codegen`, then
`codegen.llvm`; and imports without garbage collections.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without cyclic garbage collections, which during an import look at all new objects and find
    nothing. What is there afterwards counts as old: the next collection does not look at it, either.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def submodules(package: str, *names: str) -> Callable[[str], Any]:
    """A `__getattr__` for a package's __init__ (PEP 562): imports its submodule at the first
    `package.name`.
    """

    def load(name: str) -> ModuleType:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with uncollected():
            return importlib.import_module(f"{package}.{name}")

    return load


def members(package: dict[str, Any], later: dict[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """A `__getattr__` for the __init__ whose globals are `package`: `later` gives for each name the
    module that it is, or the module and the name there. Sets the package's `__all__` and `__dir__`.
    """
    package["__all__"] = [*(n for n in package if not n.startswith("_")), *later]
    package["__dir__"] = lambda: sorted({*package, *later})

    def load(name: str) -> Any:
        if name not in later:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        module, *inner = later[name]
        with uncollected():
            value = importlib.import_module(module)
        for part in inner:
            value = getattr(value, part)
        package[name] = value
        return value

    return load


def loaded(module: str) -> bool:
    """Whether a module has been imported in this process."""
    return module in sys.modules
