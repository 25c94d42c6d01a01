"""The threads that launches run on (csrc/threads.c): `parallel`, and how many there are."""

from libc.stdint cimport int32_t, int64_t

from charl.runtime.abi cimport charl_kernel_t, charl_launch_t

import os


cdef extern from "threads.h" nogil:
    const int32_t CHARL_MAX_THREADS
    int32_t charl_parallel(
        charl_kernel_t fn, charl_launch_t* launch, int64_t units, int32_t max_threads
    )
    int32_t charl_num_threads()
    int32_t charl_set_num_threads(int32_t n)


MAX_THREADS = CHARL_MAX_THREADS


cdef int32_t parallel(
    charl_kernel_t fn, charl_launch_t* launch, int64_t units, int32_t max_threads
) noexcept nogil:
    return charl_parallel(fn, launch, units, max_threads)


cpdef int32_t num_threads() noexcept nogil:
    """The most threads one launch uses, the calling one included."""
    return charl_num_threads()


cpdef int set_num_threads(int32_t n) except -1:
    """Sets num_threads. Raises ValueError unless 1 <= n <= MAX_THREADS."""
    if charl_set_num_threads(n):
        raise ValueError(f"set_num_threads: n is {n}, must be 1 to {CHARL_MAX_THREADS}")
    return 0


def read_words(*path: str) -> list[str]:
    """The words of a small file, none where it cannot be read."""
    try:
        with open(os.path.join(*path), encoding="utf-8", errors="replace") as file:
            return file.read().split()
    except OSError:
        return []


def folder_cpus(folder: str) -> float | None:
    """The CPUs that one cgroup folder (version 2 or 1) grants, or None where it sets no bound."""
    words = read_words(folder, "cpu.max") or (
        read_words(folder, "cpu.cfs_quota_us") + read_words(folder, "cpu.cfs_period_us")
    )
    try:
        cpus = int(words[0]) / int(words[1])  # the first is "max" or -1 for no bound
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return cpus if cpus > 0 else None


def quota_cpus(
    membership: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup"
) -> float | None:
    """The fewest CPUs that one of this process's cgroups, or one above, grants; None: no bound."""
    found = []
    for line in read_words(membership):
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if number == "0" and not controllers:
            root = mount
        elif "cpu" in controllers.split(","):
            root = os.path.join(mount, controllers)
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            found.append(folder_cpus(os.path.join(root, *parts[:depth])))
    return min((cpus for cpus in found if cpus is not None), default=None)


def default_num_threads() -> int:
    """CHARL_NUM_THREADS where set, else the CPUs that the affinity mask and the cgroup quota allow.

    Raises ValueError where CHARL_NUM_THREADS is not a number from 1 to MAX_THREADS.
    """
    setting = os.environ.get("CHARL_NUM_THREADS", "").strip()
    if setting:
        if not (setting.isdecimal() and 1 <= int(setting) <= MAX_THREADS):
            raise ValueError(
                f"CHARL_NUM_THREADS: {setting!r}, must be a number from 1 to {MAX_THREADS}"
            )
        return int(setting)
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:
        cpus = os.cpu_count() or 1
    quota = quota_cpus()
    if quota is not None:
        cpus = min(cpus, int(-(-quota // 1)))
    return max(1, min(cpus, MAX_THREADS))


set_num_threads(default_num_threads())
