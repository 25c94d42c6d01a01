"""Integer division in machine code, by many divisors and by one for all, against NumPy."""

import numpy as np
import pytest

from charl.codegen import llvm
from charl.codegen.host import GENERIC, HASWELL
from charl.runtime import jit
from charl.schedule.kernel import Access, Arg, Axis, Instr, Kernel, P, Stage
from tests.codegen import machine
from tests.codegen.test_llvm import THIS
from tests.ops.evaluate import NUMPY

pytestmark = pytest.mark.skipif(not jit.available()[0], reason=jit.available()[1])
HOSTS = [THIS, GENERIC] + ([HASWELL] if THIS.has("avx2") else [])
INTS = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"]


def kernel_of(dtype, one):
    """x // y and x % y; one: y is a launch parameter."""
    body = [
        Instr("load", dtype, (), Access(0, 0, (1,))),
        Instr("param", dtype, (), P(1)) if one else Instr("load", dtype, (), Access(1, 0, (1,))),
        Instr("floor_divide", dtype, (0, 1)),
        Instr("remainder", dtype, (0, 1)),
        Instr("store", dtype, (2,), Access(2, 0, (1,))),
        Instr("store", dtype, (3,), Access(3, 0, (1,))),
    ]
    args = tuple(Arg(dtype, mode) for mode in ("in", "in", "out", "out"))
    return Kernel(args, (), Axis(P(0)), "row", None, (Stage(True, tuple(body)),))


def whole(dtype, rng, n):
    """Integers of all magnitudes, those at which things go wrong, and multiples of a few numbers
    with what lies beside them.
    """
    info = np.iinfo(NUMPY[dtype])
    x = rng.integers(info.min, info.max, n, info.dtype, endpoint=True)
    x >>= rng.integers(0, info.bits, n).astype(info.dtype)
    edges = [e + d for e in (0, info.min, info.max, 1 << 50, -(1 << 50)) for d in (-1, 0, 1)]
    near = [q * y + d for q in (3, 1 << 24, 1 << 44) for y in (3, 7, 127) for d in (-1, 0, 1)]
    picks = [e for e in (*edges, *near, *(-e for e in near)) if info.min <= e <= info.max]
    x[: len(picks)] = picks
    return x


def few(x):
    """Of less magnitude."""
    return x // np.array(1 << min(4 * x.itemsize, 16), x.dtype)


def want(x, y):
    """NumPy's quotient and remainder, x // 0 and x % 0 being 0."""
    with np.errstate(all="ignore"):
        zero = y == 0
        return np.where(zero, 0, x // y).astype(x.dtype), np.where(zero, 0, x % y).astype(x.dtype)


def run(function, kernel, x, y, params):
    many = np.broadcast_to(y, x.shape)
    got, error = machine.run(function, kernel, [x, many, x * 0, x * 0], params)
    assert error is None
    for found, expected in zip(got[2:], want(x, y)):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.cpu)
@pytest.mark.parametrize("dtype", INTS)
def test_by_many(dtype, host):
    rng, kernel = np.random.default_rng(1), kernel_of(dtype, False)
    function, _owner = machine.build(llvm.emit(kernel, host, "full"), "none")
    for n in (100, 1037):
        x, y = whole(dtype, rng, n), rng.permutation(whole(dtype, rng, n))
        run(function, kernel, x, y, [n, 0])
    small = few(x)  # all lanes of a vector below the bound, which random bits never are
    run(function, kernel, small, rng.permutation(small), [n, 0])


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.cpu)
@pytest.mark.parametrize("dtype", INTS)
def test_by_one(dtype, host):
    rng, kernel = np.random.default_rng(2), kernel_of(dtype, True)
    function, _owner = machine.build(llvm.emit(kernel, host, "full"), "none")
    info = np.iinfo(NUMPY[dtype])
    divisors = [0, 1, -1, 2, -2, 3, 7, -7, 127, 1 << 50, info.min, info.max, info.max // 2]
    x = whole(dtype, rng, 1037)
    for y in divisors:
        if info.min <= y <= info.max:
            y = np.array([y], info.dtype)
            bits = int(y.astype(np.int64, casting="unsafe")[0])
            run(function, kernel, x, y, [len(x), bits])
            run(function, kernel, few(x), y, [len(x), bits])
