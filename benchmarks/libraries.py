"""One workload's function for every library: the same text where their names agree, their own where not."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

import charl as ch


class Late:
    """A function made at its first call: its library is not imported unless it is measured."""

    def __init__(self, module: str, make: Callable[[Any], Callable]):
        self.module, self.make, self.function = module, make, None

    def __call__(self, *arrays):
        if self.function is None:
            self.function = self.make(importlib.import_module(self.module))
        return self.function(*arrays)


def versions(function: Callable[..., Any], **own: Callable[..., Any] | None) -> dict[str, Callable]:
    """`function(xp, *arrays)` for charl, NumPy, JAX (compiled) and torch (eager and compiled). `own` gives another one
    for a library, or None where it has none: charl, numpy, jax, torch take the namespace; numba takes the module and
    returns the function of the arrays.
    """
    run: dict[str, Callable] = {}
    for name, xp in (("charl", ch), ("numpy", np)):
        chosen = own.get(name, function)
        if chosen is not None:
            run[name] = functools.partial(chosen, xp)
    jax, torch, numba = (own.get(name, function) for name in ("jax", "torch", "numba"))
    if jax is not None and importlib.util.find_spec("jax"):
        run["jax"] = Late("jax", lambda m: m.jit(functools.partial(jax, m.numpy)))
    if torch is not None and importlib.util.find_spec("torch"):
        run["torch"] = Late("torch", lambda m: functools.partial(torch, m))
        run["torch.compile"] = Late("torch", lambda m: _compiled(m, torch))
    if torch is not None and importlib.util.find_spec("cupy"):
        run["cupy"] = Late("cupy", lambda m: functools.partial(function, m))
    if "numba" in own and numba is not None and importlib.util.find_spec("numba"):
        run["numba"] = Late("numba", numba)
    return run


def _compiled(torch: Any, function: Callable[..., Any]) -> Callable:
    """Compiled for the shapes at hand, under no_grad, as one would for inference."""
    return torch.no_grad()(torch.compile(functools.partial(function, torch), dynamic=False))


def loops(text: str) -> Callable[[Any], Callable]:
    """numba's form of a workload: `run` of this text, whose loops over prange are parallel."""

    def make(numba):
        namespace = {"np": np, "prange": numba.prange}
        exec(text, namespace)
        return numba.njit(parallel=True)(namespace["run"])

    return make


def expression(text: str, *names: str) -> dict[str, Callable]:
    """numexpr's and numba's form of an element-wise workload. h is one half, in float32: a literal
    would be a float64.
    """
    half = np.float32(0.5)

    def evaluated(numexpr):
        return lambda *arrays: numexpr.evaluate(
            text, {"h": half, **dict(zip(names, arrays, strict=True))}, {}
        )

    def compiled(numba):
        namespace = {**vars(np), "h": half}
        exec(f"def fused({', '.join(names)}):\n    return {text}", namespace)
        return numba.njit(parallel=True)(namespace["fused"])

    made = {"numexpr": Late("numexpr", evaluated), "numba": Late("numba", compiled)}
    return {name: run for name, run in made.items() if importlib.util.find_spec(name)}
