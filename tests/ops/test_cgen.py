"""Generated C loops against the numpy evaluator, to the bit, in each clone, in place and not."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from charl.core.dtypes import BY_SHORT
from charl.ops import cgen
from charl.ops.loops import loops
from charl.ops.table import OPS
from charl.ops.trace import expansion

from .evaluate import NUMPY, evaluate
from .samples import operands, same_bits

# one of each way that a loop is written: plain, rare, lut, by f32, conversions, libm, division
NAMES = (
    "add floor_divide remainder sin pow exp tanh maximum isnan logical_and where nextafter philox"
)
DTYPES = ["b1", "i8", "i64", "u16", "u32", "f16", "bf16", "f32", "f64"]
KEYS = tuple(
    key
    for key in loops()
    if (key[0] in NAMES.split() and key[1][-1] in (*DTYPES, "u64")) or key[0] == "cast"
)
FLAGS = "-std=c11 -O1 -fwrapv -ffp-contract=off -fno-math-errno -fno-trapping-math"
DRIVER = """
#include "ops.h"
const charl_loop_t *loops(int clone)
{
#ifdef CHARL_CLONES
    if (clone == 2) return __builtin_cpu_supports("x86-64-v4") ? table_v4 : NULL;
    if (clone == 1) return __builtin_cpu_supports("x86-64-v3") ? table_v3 : NULL;
#endif
    return clone == 0 ? table_base : clone == 3 ? charl_ops_loops() : NULL;
}
"""
CC = shutil.which("cc") or shutil.which("gcc")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A shared object with the loops of KEYS."""
    folder = tmp_path_factory.mktemp("loops")
    (folder / "ops.h").write_text(cgen.header(KEYS))
    (folder / "driver.c").write_text(DRIVER)
    flags = [*FLAGS.split(), "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run([CC, *flags, "driver.c", "-o", "loops.so", "-lm"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "loops.so"))
    library.loops.restype = ctypes.POINTER(ctypes.c_void_p)
    return library


LOOP = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))


def call(loop, out, xs):
    pointers = (ctypes.c_void_p * len(xs))(*(x.ctypes.data for x in xs))
    LOOP(loop)(len(out), out.ctypes.data, pointers)


@pytest.mark.skipif(CC is None, reason="there is no C compiler")
@pytest.mark.parametrize("clone", range(4), ids=["base", "v3", "v4", "chosen"])
def test_loops_equal_their_expansions(library, clone):
    table = library.loops(clone)
    if not table:
        pytest.skip("this CPU or compiler has not that clone")
    for k, key in enumerate(KEYS):
        _, args, result = key
        xs = [np.ascontiguousarray(x) for x in operands(args, n=500)]
        want = evaluate(expansion(*key), *xs)
        out = np.empty(len(want), NUMPY[result])
        call(table[k], out, xs)
        assert same_bits(out, want).all(), key
        for at, x in enumerate(xs):
            if x.itemsize == out.itemsize:
                place = x.copy()
                call(table[k], place.view(out.dtype), [*xs[:at], place, *xs[at + 1 :]])
                assert same_bits(place.view(out.dtype), want).all(), ("in place", key)
        call(table[k], out[:0], xs)


def test_loops_of_all_ops_and_dtypes():
    """Each element-wise row has a loop for each dtype that it takes."""
    known = set(loops())
    assert len(known) == len(loops())
    for row in OPS.values():
        if row.group == "elementwise" and row.name not in ("cast", "where", "philox"):
            for dtype in BY_SHORT.values():
                if dtype.kind in ("f" if row.result == "float" else row.kinds):
                    result = "b1" if row.result == "bool" else dtype.short
                    assert (row.name, (dtype.short,) * row.arity, result) in known
    for a in BY_SHORT:
        assert ("where", ("b1", a, a), a) in known
        assert all(("cast", (a,), b) in known for b in BY_SHORT)
