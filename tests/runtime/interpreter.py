"""Runs kernels in the interpreter, through the launch ABI with ctypes, between guard bytes."""

import ctypes

import numpy as np

from charl.codegen.bytecode import encode
from charl.core.dtypes import BY_SHORT
from charl.runtime.interp import ENTRY, Bytecode
from charl.schedule.kernel import COLUMNS, TILE_I, TILE_J, UNIT, Contract, P, verify
from tests.codegen.machine import GUARD, KERNEL, Launch, LaunchError

ABI = 1
function = KERNEL(ENTRY)


def units(kernel, params):
    """How many units a launch has."""

    def num(value):
        return params[value.k] if isinstance(value, P) else value

    outer = [num(axis.extent) for axis in kernel.outer]
    if isinstance(kernel, Contract):
        outer += [-(-num(kernel.i.extent) // TILE_I), -(-num(kernel.j.extent) // TILE_J)]
    elif kernel.order == "column":
        outer[-1] = -(-outer[-1] // COLUMNS)
    elif not outer and kernel.inner is not None:
        if not any(i.op in ("reduce", "scan") for stage in kernel.stages for i in stage.body):
            outer = [-(-num(kernel.inner.extent) // UNIT)]
    return int(np.prod(outer, dtype=np.int64))


def slot_bytes(kernel, params):
    total = 0
    for dtype in getattr(kernel, "slots", ()):
        extent = kernel.inner.extent
        n = params[extent.k] if isinstance(extent, P) else extent
        n *= COLUMNS if kernel.order == "column" else 1
        total += -(-n * BY_SHORT[dtype].itemsize // 64) * 64
    return total


def run(kernel, arrays, params, splits=()):
    """Runs all units, cut at `splits`, on guarded copies of flat arrays.

    Returns (arrays, error record or None).
    """
    verify(kernel)
    bytecode = Bytecode(encode(kernel))
    guarded = []
    for a in arrays:
        memory = np.full(a.nbytes + 2 * GUARD, 0xA5, np.uint8)
        memory[GUARD : GUARD + a.nbytes] = a.view(np.uint8)
        guarded.append(memory)
    nbytes = slot_bytes(kernel, params) + bytecode.scratch_bytes
    scratch = np.full(nbytes + 2 * GUARD + 64, 0xA5, np.uint8)
    start = GUARD + -(scratch.ctypes.data + GUARD) % 64
    pointers = (ctypes.c_void_p * max(1, len(arrays)))(*[m.ctypes.data + GUARD for m in guarded])
    numbers = (ctypes.c_int64 * max(1, len(params)))(*params)
    launch = Launch(pointers, numbers, scratch.ctypes.data + start, bytecode.address)
    launch.error = LaunchError(-1, -1, -1)
    launch.abi = ABI
    error = None
    cuts = [0, *splits, units(kernel, params)]
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
