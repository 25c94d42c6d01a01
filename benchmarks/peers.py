"""The libraries that are compared: how each takes arrays in, runs a function to its end, and gives
ndarrays back.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

import charl as ch


@dataclass(frozen=True)
class Peer:
    """A contender. `library` names its functions in Workload.run; `finish` returns when the result
    is there, or on its way: then `settle` awaits all that is.
    """

    name: str
    library: str
    take: Callable[[np.ndarray], Any]
    finish: Callable[..., Any]
    give: Callable[[Any], np.ndarray] = np.asarray
    ready: Callable[[], None] = lambda: None
    mode: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    settle: Callable[[], object] = lambda: None


def charl_peer(backend: str) -> Peer:
    """charl on one backend, compiled code awaited before any measurement."""
    return Peer(
        "charl" if backend == "llvm" else f"charl-{backend}",
        "charl",
        ch.asarray,
        ch.eval,
        lambda t: t.numpy(),
        ch.wait_compiled,
        lambda: ch.config(backend=backend),
    )


def there(*results: Any) -> None:
    """For libraries whose functions return when they are done."""


NUMPY = Peer("numpy", "numpy", np.asarray, there)


def numexpr_peer() -> Peer:
    return Peer("numexpr", "numexpr", np.asarray, there)


def numba_peer() -> Peer:
    return Peer("numba", "numba", np.asarray, there)


def jax_peer() -> Peer:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    return Peer("jax", "jax", jax.numpy.asarray, lambda *results: jax.block_until_ready(results))


def torch_peer() -> Peer:
    torch = importlib.import_module("torch")
    return Peer("torch", "torch", torch.from_numpy, there, lambda t: t.numpy())


def compile_peer() -> Peer:
    """torch.compile, which needs a C++ compiler."""
    return replace(torch_peer(), name="torch.compile", library="torch.compile")


OPTIONAL = {
    "numexpr": numexpr_peer,
    "numba": numba_peer,
    "jax": jax_peer,
    "torch": torch_peer,
    "torch.compile": compile_peer,
}


def installed(name: str) -> bool:
    return importlib.util.find_spec(name.partition(".")[0]) is not None


def choose(wanted: str) -> list[Peer]:
    """Peers from "all" or a comma-separated list of names. Raises ValueError for one that is
    unknown or missing.
    """
    found = [charl_peer("llvm"), NUMPY, charl_peer("interp")]
    if wanted == "all":
        names = [name for name in OPTIONAL if installed(name)]
    else:
        names = [name for name in wanted.split(",") if name]
    for name in names:
        if name not in OPTIONAL:
            raise ValueError(f"no peer {name!r}; there are {', '.join(OPTIONAL)}")
        if not installed(name):
            raise ValueError(f"peer {name} is not installed: pip install {name}")
        found.append(OPTIONAL[name]())
    return found


def set_threads(count: int) -> None:
    """Gives every library that is loaded the same number of threads."""
    ch.set_num_threads(count)
    if importlib.util.find_spec("threadpoolctl"):
        importlib.import_module("threadpoolctl").threadpool_limits(count, user_api="blas")
    for name in ("numexpr", "numba", "torch"):
        if importlib.util.find_spec(name):
            importlib.import_module(name).set_num_threads(count)


def versions() -> dict[str, str]:
    """Of the libraries that could be compared and are installed."""
    names = ("numpy", "llvmlite", "wgpu", *(name for name in OPTIONAL if "." not in name))
    return {name: version(name) for name in names if installed(name)}
