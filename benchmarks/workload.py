"""The record of a workload and the registry: each workload is declared once, in workloads.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Workload:
    """One thing to measure, at several sizes.

    make(size, rng)  the inputs, as ndarrays
    run              by library name ("numpy", "charl", "numexpr", ...): the function of the inputs
    nbytes(size)     bytes that must be read and written at least once
    flops(size)      arithmetic operations, an exp or tanh counting as one
    tolerance        relative to the largest magnitude of NumPy's result
    quick            the size that --quick takes
    gpu              the sizes for a GPU; without any, the largest of `sizes`
    steps            what one call does so many times: the tables give the time of each
    """

    name: str
    doc: str
    sizes: tuple[int, ...]
    make: Callable[[int, np.random.Generator], tuple[np.ndarray, ...]]
    run: dict[str, Callable[..., Any]]
    nbytes: Callable[[int], int]
    flops: Callable[[int], int]
    tolerance: float = 1e-5
    quick: int = 0
    gpu: tuple[int, ...] = ()
    steps: int = 1
    tags: tuple[str, ...] = field(default=())


WORKLOADS: dict[str, Workload] = {}


def workload(name: str, doc: str, **fields: Any) -> Workload:
    """Declares a workload. Raises ValueError where the name is taken."""
    if name in WORKLOADS:
        raise ValueError(f"workload {name} is declared twice")
    WORKLOADS[name] = Workload(name, doc, **fields)
    return WORKLOADS[name]
