"""Layouts of memory in machine code: what lies near, and beside what nobody may touch."""

import ctypes
import mmap
import os

import numpy as np
import pytest

from charl.codegen import llvm, rows
from charl.codegen.host import GENERIC, HASWELL
from charl.runtime import jit
from charl.schedule.kernel import Access, Arg, Axis, Instr, Kernel, P, Stage
from tests.codegen import machine
from tests.codegen.test_llvm import THIS, check, expect, known
from tests.ops.evaluate import NUMPY
from tests.ops.samples import random

pytestmark = pytest.mark.skipif(not jit.available()[0], reason=jit.available()[1])
HOSTS = [THIS, GENERIC] + ([HASWELL] if THIS.has("avx2") else [])
PAGE = mmap.PAGESIZE


class Fenced:
    """An array between two pages that no one may read; it ends at the second of them."""

    def __init__(self, array):
        pages = -(-array.nbytes // PAGE)
        self.memory = mmap.mmap(-1, (pages + 2) * PAGE)
        held = (ctypes.c_char * len(self.memory)).from_buffer(self.memory)
        start, last = ctypes.addressof(held), (pages + 1) * PAGE
        first = last - array.nbytes
        self.memory[first:last] = array.tobytes()
        protect = ctypes.CDLL(None).mprotect
        for page in (0, last):
            assert protect(ctypes.c_void_p(start + page), PAGE, 0) == 0
        self.address = start + first


def strided(dtype, width):
    """out[j] = (x[p1 * j], j counted as a dtype of `width`): the width decides the lanes."""
    body = (
        Instr("load", dtype, (), Access(0, 0, (P(1),))),
        Instr("load", width, (), Access(1, 0, (1,))),
        Instr("store", dtype, (0,), Access(2, 0, (1,))),
        Instr("store", width, (1,), Access(3, 0, (1,))),
    )
    args = tuple(
        Arg(d, m) for d, m in ((dtype, "in"), (width, "in"), (dtype, "out"), (width, "out"))
    )
    return Kernel(args, (), Axis(P(0)), "row", None, (Stage(True, body),))


@pytest.mark.skipif(os.name != "posix", reason="mprotect is POSIX's")
@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.cpu)
@pytest.mark.parametrize("dtype", ["b1", "i8", "u16", "f16", "f32", "i64", "f64"])
def test_near_strides(dtype, host):
    """Strides that are read as whole vectors touch nothing beyond the first and last element."""
    rng = np.random.default_rng(3)
    for width in ("i8", "f64"):
        kernel = strided(dtype, width)
        function, _owner = machine.build(llvm.emit(kernel, host, "full"), "none")
        for stride in (2, 3, 4, 5, -2):
            for n in (1, 31, 32, 64, 129, 1000):
                x = random(dtype, (n - 1) * abs(stride) + 1, rng)
                fenced, other = Fenced(x), random(width, n, rng)
                out, copy = np.zeros(n, NUMPY[dtype]), np.zeros(n, NUMPY[width])
                at = fenced.address + (x.nbytes - x.itemsize if stride < 0 else 0)
                buffers = [at, *(a.ctypes.data for a in (other, out, copy))]
                launch = machine.Launch(
                    (ctypes.c_void_p * 4)(*buffers), (ctypes.c_int64 * 2)(n, stride), None, None
                )
                assert function(ctypes.byref(launch), 0, machine.units(kernel, [n])) == 0
                assert machine.same(out, x[::stride].copy())
                assert machine.same(copy, other)


def across(dtype):
    """out[i, j] = x[i + p2 * j]"""
    body = (
        Instr("load", dtype, (), Access(0, 0, (1, P(2)))),
        Instr("store", dtype, (0,), Access(1, 0, (P(1), 1))),
    )
    args = (Arg(dtype, "in"), Arg(dtype, "out"))
    return Kernel(args, (Axis(P(0)),), Axis(P(1)), "row", None, (Stage(True, body),))


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.cpu)
@pytest.mark.parametrize("dtype", ["b1", "i8", "u16", "f16", "f32", "i64", "f64"])
def test_transposed(dtype, host):
    """Squares of all sizes and dtypes, cut anywhere by the launch."""
    rng = np.random.default_rng(4)
    kernel = across(dtype)
    function, _owner = machine.build(llvm.emit(kernel, host, "full"), "none")
    for m, n, splits in ((3, 70, ()), (4, 1, ()), (17, 64, (5,)), (130, 67, (1, 40, 129))):
        x = random(dtype, m * n, rng)
        want = x.reshape(n, m).T.copy().reshape(-1)
        expect(function, kernel, [x, x.copy()], [m, n, m], [x, want], None, splits)


@pytest.mark.parametrize("name", ["add", "mixed_widths", "strides", "across", "three_outer_axes"])
def test_stores_past_the_caches(name, monkeypatch):
    """Of small arrays, too: rows that begin at lines of memory, and those that do not."""
    monkeypatch.setattr(rows, "STREAM", 1)
    monkeypatch.setattr(rows, "LONG", 1)
    kernel = known(name, 1)[0]
    text = llvm.emit(kernel, THIS, "full")
    if name == "add" and "x86" in THIS.triple:
        assert "!nontemporal" in text and "sfence" in text
    for n in (1, 5, 31, 64, 128, 257):
        kernel, arrays, params = known(name, n)[:3]
        check(kernel, arrays, params)
