"""Control and inspection of the machinery: realizing, threads, memory, caches."""

from __future__ import annotations

from charl import engine
from charl.core.settings import config
from charl.engine import devices
from charl.tensor import evaluate

eval = evaluate  # realizes all the Tensors given; a C function, for it is called most


def wait_compiled():
    """Returns once every kernel that is queued for LLVM has been compiled; for tests and
    measurements.

    >>> ch.wait_compiled()
    """
    engine.wait_compiled()


def set_num_threads(n, /):
    """Lets launches use n threads; 0: as many as the affinity mask and cgroup quota allow. No
    result depends on it.

    The same as `config.num_threads = n`. Raises ValueError outside 0..1024.

    >>> ch.set_num_threads(2)
    """
    config.num_threads = n


def get_num_threads():
    """The number of threads that launches may use.

    >>> ch.set_num_threads(2); ch.get_num_threads()
    2
    """
    return engine.num_threads()


def memory_stats():
    """What the pool of array memory holds, in bytes and blocks, as a dict; gpu_in_use and so on are
    those of `ch.gpu.memory_stats`.

    >>> "in_use" in ch.memory_stats()
    True
    """
    gpu = devices.memory_stats()
    return {**engine.memory_stats(), **{f"gpu_{name}": value for name, value in gpu.items()}}


def cache_info():
    """Counters of this process, as a dict: compiles (kernels that LLVM compiled), disk_hits,
    plan_hits, plan_misses, launches, interpreted (launches that the interpreter served), and more.

    >>> "compiles" in ch.cache_info()
    True
    """
    return engine.cache_info()
