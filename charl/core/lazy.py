"""Submodules that a package loads when they are first asked for: `from charl import codegen`, then
`codegen.llvm`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def submodules(package: str, *names: str) -> Callable[[str], Any]:
    """A `__getattr__` for a package's __init__ (PEP 562): imports its submodule at the first
    `package.name`.
    """

    def load(name: str) -> ModuleType:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    return load


def loaded(module: str) -> bool:
    """Whether a module has been imported in this process."""
    return module in sys.modules
