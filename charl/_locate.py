"""Which charl is meant. In a clone's root the uncompiled charl/ comes first on sys.path (`python -m
pytest`, `python -m benchmarks`); an installed one, where there is one, is what the user wants to
run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from importlib.machinery import EXTENSION_SUFFIXES

REMEDY = "charl: this source tree is not compiled; run `pip install .` in its root"


def compiled(folder: str) -> bool:
    """True where a package folder holds its compiled modules."""
    return any(
        os.path.exists(os.path.join(folder, "tensor", "handle" + end)) for end in EXTENSION_SUFFIXES
    )


def installed(own: str) -> str | None:
    """The folder of the first compiled charl on sys.path other than `own`."""
    for entry in sys.path:
        folder = os.path.join(entry or os.getcwd(), "charl")
        if compiled(folder) and not os.path.samefile(folder, own):
            return folder
    return None


def settle(package: MutableMapping) -> None:
    """package is charl's module dict. Leaves a compiled package alone; points an uncompiled one at
    the installed one, so that each submodule is imported from there. Raises ImportError where there
    is none.
    """
    own = os.path.dirname(package["__file__"])
    if compiled(own):
        return
    folder = installed(own)
    if folder is None:
        raise ImportError(REMEDY)
    package["__path__"][:] = [folder]
    package["__file__"] = os.path.join(folder, "__init__.py")
    package["__spec__"].submodule_search_locations = package["__path__"]
