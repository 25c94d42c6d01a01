"""Calls compiled kernels through the launch ABI, with ctypes, between guard bytes."""

import ctypes

import numpy as np

from charl.core.dtypes import BY_SHORT
from charl.runtime.jit import Jit
from charl.schedule.kernel import COLUMNS, UNIT, P


class LaunchError(ctypes.Structure):
    _fields_ = [("site", ctypes.c_int64), ("index", ctypes.c_int64), ("extent", ctypes.c_int64)]


class Launch(ctypes.Structure):
    """charl_launch_t."""

    _fields_ = [
        ("buffers", ctypes.POINTER(ctypes.c_void_p)),
        ("params", ctypes.POINTER(ctypes.c_int64)),
        ("scratch", ctypes.c_void_p),
        ("code", ctypes.c_void_p),
        ("error", LaunchError),
        ("scratch_bytes", ctypes.c_int64),
        ("abi", ctypes.c_int32),
        ("thread", ctypes.c_int32),
        ("nthreads", ctypes.c_int32),
        ("backward", ctypes.c_int32),
    ]


KERNEL = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(Launch), ctypes.c_int64, ctypes.c_int64)
GUARD = 512
_jit = Jit()


def build(text, opt_level="default", tier="full"):
    """(function, owner) of an LLVM text."""
    address, owner = _jit.link(_jit.compile(text, opt_level, tier))
    return KERNEL(address), owner


def units(kernel, params):
    """How many units a launch of the Kernel has."""

    def num(value):
        return params[value.k] if isinstance(value, P) else value

    outer = [num(a.extent) for a in kernel.outer]
    if kernel.order == "column":
        outer[-1] = -(-outer[-1] // COLUMNS)
    if not outer and len(kernel.stages) == 1 and kernel.stages[0].loop:
        if not any(i.op in ("reduce", "scan") for i in kernel.stages[0].body):
            return -(-num(kernel.inner.extent) // UNIT)
    return int(np.prod(outer, dtype=np.int64)) if outer else 1


def scratch_bytes(kernel, params):
    """Of the slots."""
    total = 0
    for dtype in kernel.slots:
        extent = kernel.inner.extent
        n = params[extent.k] if isinstance(extent, P) else extent
        n *= COLUMNS if kernel.order == "column" else 1
        total += -(-n * BY_SHORT[dtype].itemsize // 64) * 64
    return total


def run(function, kernel, arrays, params, splits=()):
    """Runs all units, cut at `splits`, on guarded copies of the arrays. Returns (arrays, error
    record or None).
    """
    guarded = []
    for a in arrays:
        memory = np.full(a.nbytes + 2 * GUARD + 64, 0xA5, np.uint8)
        first = -memory.ctypes.data % 64  # at lines of memory, as the pool's blocks are
        memory = memory[first : first + a.nbytes + 2 * GUARD]
        memory[GUARD : GUARD + a.nbytes] = np.ascontiguousarray(a).view(np.uint8).reshape(-1)
        guarded.append(memory)
    nbytes = scratch_bytes(kernel, params)
    scratch = np.full(nbytes + 2 * GUARD + 64, 0xA5, np.uint8)
    start = GUARD + -(scratch.ctypes.data + GUARD) % 64
    pointers = (ctypes.c_void_p * max(1, len(arrays)))(*[m.ctypes.data + GUARD for m in guarded])
    numbers = (ctypes.c_int64 * max(1, len(params)))(*params)
    launch = Launch(pointers, numbers, scratch.ctypes.data + start, None)
    launch.error = LaunchError(-1, -1, -1)
    cuts = [0, *splits, units(kernel, params)]
    error = None
    for begin, end in zip(cuts, cuts[1:]):
        code = function(ctypes.byref(launch), begin, end)
        assert code in (0, 1)
        if code:
            error = (launch.error.site, launch.error.index, launch.error.extent)
            break
    for memory in guarded:
        assert (memory[:GUARD] == 0xA5).all() and (memory[-GUARD:] == 0xA5).all(), (
            "wrote outside of a buffer"
        )
    assert (scratch[:start] == 0xA5).all() and (scratch[start + nbytes :] == 0xA5).all(), (
        "outside of scratch"
    )
    return [m[GUARD : len(m) - GUARD].view(a.dtype) for m, a in zip(guarded, arrays)], error


def same(a, b):
    """Equal bits, all NaNs counting as equal."""
    if a.dtype.kind in "iub":
        return np.array_equal(a.view(np.uint8), b.view(np.uint8))
    whole = {2: np.uint16, 4: np.uint32, 8: np.uint64}[a.dtype.itemsize]
    return bool(((a.view(whole) == b.view(whole)) | (np.isnan(a) & np.isnan(b))).all())
