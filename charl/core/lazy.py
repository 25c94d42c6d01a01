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
        return _imported(f"{package}.{name}")

    return load


def members(package: dict[str, Any], later: dict[str, tuple[str, ...]]) -> None:
    """Puts stand-ins into the __init__ whose globals are `package`: `later` gives for each name the
    module that it is, or the module and the function there. Sets the package's `__all__`.

    A `__getattr__` would do, but where a module has one CPython looks up each of its names anew at
    every use: 25 ns a call.
    """
    for name, (module, *function) in later.items():
        package[name] = Function(package, module, *function) if function else Module(module)
    package["__all__"] = [n for n in package if not n.startswith("_")]


def _imported(module: str) -> ModuleType:
    with uncollected():
        return importlib.import_module(module)


def _found(module: str, name: str) -> Any:
    return getattr(_imported(module), name)


class Function:
    """Stands for a function until it is called or asked about."""

    def __init__(self, package: dict[str, Any], module: str, name: str):
        self._place = package, module, name

    def _load(self) -> Any:
        package, module, name = self._place
        package[name] = function = _found(module, name)
        return function

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._load()(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)

    def __repr__(self) -> str:
        return repr(self._load())

    def __reduce__(self) -> Any:
        return _found, self._place[1:]

    __doc__ = property(lambda self: self._load().__doc__)  # type: ignore[assignment]
    __wrapped__ = property(_load)


class Module(ModuleType):
    # Stands for a module until a name in it is asked for.

    def __getattr__(self, name: str) -> Any:
        module = _imported(self.__name__)
        vars(self).update(vars(module))
        return getattr(module, name)

    def __dir__(self) -> list[str]:
        return dir(_imported(self.__name__))

    __doc__ = property(lambda self: self.__getattr__("__doc__"))  # type: ignore[assignment]


def loaded(module: str) -> bool:
    """Whether a module has been imported in this process."""
    return module in sys.modules
