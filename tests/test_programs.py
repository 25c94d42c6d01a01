"""Random programs: every step agrees with NumPy by the stated bounds, and every way to run gives
the same bits.

Run A is eager, interpreted, with one thread. After each step its result is compared with NumPy's
step on the same operands, and NumPy's variable then takes charl's value, so that rounding does not
add up. Runs B are lazy, on both backends, with 1, 2 and 5 threads, and must end with A's bits.
Where a GPU is the default device, A and one B run there. CHARL_PROGRAMS=n draws n programs.
"""

import os

import numpy as np
import pytest
from hypothesis import given, note, settings

import charl as ch
from charl.schedule.kernel import COLUMN_BLOCK, ROW_BLOCK
from tests import device, drawing, oracle, programs
from tests.programs import World

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of empty slices
MANY = os.environ.get("CI") or os.environ.get("HYPOTHESIS_PROFILE") == "ci"
EXAMPLES = int(os.environ.get("CHARL_PROGRAMS", 2100 if MANY and not device.GPU else 150))
THREADS = (1, 2, 5)
# one thread more for every few elements, so that small arrays are cut as large ones are
SMALL_WORK = 16


def reduced(x, axis):
    """Number of elements that go into each result."""
    if axis is None:
        return x.size
    axes = axis if isinstance(axis, tuple) else (axis,)
    return int(np.prod([x.shape[a] for a in axes]))


def bound_of_sum(name, x, axis, keepdims, dtype):
    """(reference, bound) of sum, mean, prod, var, std in extended precision; a NaN bound is not
    compared.
    """
    wide = x.astype(np.longdouble)
    n = reduced(x, axis)
    work = np.float32 if dtype.itemsize < 4 else dtype
    eps, own = float(oracle.finfo(work).eps), float(oracle.finfo(dtype).eps)
    limit = float(oracle.finfo(work).max) / 4
    least = device.least(dtype) * max(n, 1)
    kw = {"axis": axis, "keepdims": keepdims}
    # of the finite elements: beside an overflow in the way, an infinity may become NaN
    size = np.where(np.isfinite(wide), np.abs(wide), 0).sum(**kw)
    finite = np.isfinite(wide).all(**kw)
    if name == "prod":
        logs = np.abs(np.log2(np.where(wide == 0, 1, np.abs(wide)))).sum(**kw)
        want = wide.prod(**kw)
        bound = (n + 2) * eps * np.abs(want) + own * np.abs(want) + device.least(dtype)
        return want, np.where(logs < np.log2(limit) - 4, bound, np.nan)
    count = 1 if name == "sum" else max(n, 1)
    if name in ("sum", "mean"):
        want = wide.sum(**kw) / (1 if name == "sum" else n if n else np.longdouble("nan"))
        bound = (n * eps * size + eps * np.abs(want)) / count + own * np.abs(want)
        return want, np.where(size > limit, np.nan, bound + least)
    mean = wide.mean(axis=axis, keepdims=True)
    away = np.abs(wide - mean)
    want = (away**2).mean(**kw)
    drift = n * eps * np.abs(wide).mean(**kw)
    bound = 4 * (n + 4) * eps * want + 4 * drift * (away.mean(**kw) + drift)
    good = finite & ((away**2).sum(**kw) < limit)
    if name == "std":
        bound = np.sqrt(want + bound) - np.sqrt(np.maximum(want - bound, 0))
        want = np.sqrt(want)
    return want, np.where(good, bound + own * np.abs(want) + least, np.nan)


def bound_of_scan(name, x, axis, dtype):
    """(reference, bound) of a cumulative sum or product in an order of the device's."""
    wide = x.astype(np.longdouble)
    n, eps = x.shape[axis], float(oracle.finfo(dtype).eps)
    limit = float(oracle.finfo(dtype).max) / 4
    if name == "cumulative_prod":
        want = np.cumprod(wide, axis=axis)
        logs = np.cumsum(np.abs(np.log2(np.where(wide == 0, 1, np.abs(wide)))), axis=axis)
        return want, np.where(logs < np.log2(limit) - 4, (n + 2) * eps * np.abs(want), np.nan)
    want = np.cumsum(wide, axis=axis)
    size = np.cumsum(np.where(np.isfinite(wide), np.abs(wide), 0), axis=axis)
    bound = (n + 1) * eps * size + n * device.least(dtype)
    return want, np.where(size > limit, np.nan, bound)


def in_numpys_order(axis, result):
    """Whether a scan goes strictly from element to element; those of long axes go in blocks."""
    block = ROW_BLOCK if axis % result.ndim == result.ndim - 1 else COLUMN_BLOCK
    return not device.GPU and result.shape[axis] <= block


def check_map(name, operands, want, got):
    """An element-wise step."""
    wide = [np.broadcast_to(x, want.shape) for x in operands]
    kept = ~device.open_at(want, *(x.astype(device.own(x.dtype)) for x in wide))
    got, want = got[kept], want[kept]
    bound = device.ulp(name, 4 if name in programs.ROUNDED1 + programs.ROUNDED2 else 0)
    if bound and oracle.is_float(want.dtype):
        assert oracle.ulps(got, want) <= bound, (got, want)
    elif name in ("maximum", "minimum"):
        assert oracle.equal(got, want), (got, want)
    else:
        assert oracle.same(got, want), (got, want)


def check(step, before, want, got):
    """Compares one new value of charl with NumPy's; `before`: the operands that the step reads."""
    name, *rest = step
    assert got.shape == want.shape and got.dtype == want.dtype, (
        got.dtype,
        got.shape,
        want.dtype,
        want.shape,
    )
    if name == "reduce" and rest[0] in programs.SUMS and oracle.is_float(want.dtype):
        x = before[rest[1]]
        reference, bound = bound_of_sum(
            rest[0],
            x.astype(np.promote_types(x.dtype, np.float64)) if not oracle.is_float(x.dtype) else x,
            *rest[2:],
            want.dtype,
        )
        assert oracle.close(got, reference, bound), (got, reference, bound)
    elif name == "map":
        check_map(rest[0], [before[x] if isinstance(x, int) else x[1] for x in rest[1:]], want, got)
    elif name == "update" and device.GPU and oracle.is_float(want.dtype):
        x, index, y, other = rest[1:]
        opened = device.open_at(before[x])
        if isinstance(y, int):
            opened[index] |= device.open_at(before[y])[other]
        kept = ~(opened | device.open_at(want))
        assert oracle.ulps(got[kept], want[kept]) <= device.ulp(rest[0], 0), (got, want)
    elif name == "scan" and oracle.is_float(want.dtype) and not in_numpys_order(rest[2], want):
        reference, bound = bound_of_scan(rest[0], before[rest[1]], rest[2], want.dtype)
        assert oracle.close(got, reference, bound), (got, reference, bound)
    elif name == "matmul" and oracle.is_float(want.dtype):
        a, b = (before[k].astype(np.longdouble) for k in rest)
        eps = float(oracle.finfo(np.float32 if want.dtype.itemsize < 4 else want.dtype).eps)
        own = float(oracle.finfo(want.dtype).eps)
        reference, size = np.matmul(a, b), np.matmul(np.abs(a), np.abs(b))
        bound = (a.shape[-1] + 1) * eps * size + own * np.abs(reference)
        parts = (np.where(np.isfinite(z), np.abs(z), 0) for z in (a, b))
        huge = np.matmul(*parts) > float(oracle.finfo(want.dtype).max) / 4
        least = device.least(want.dtype)
        assert oracle.close(
            got, reference, np.where(huge, np.nan, bound), (a.shape[-1] + 1) * least
        )
    elif name == "mask":
        kept = ~device.open_at(before[rest[0]])
        assert oracle.same(got[kept], want[kept]), (got, want)
    elif name in ("clip", "sort", "reduce"):
        assert oracle.equal(got, want), (got, want)
    else:
        assert oracle.same(got, want), (got, want)


class Interpreted(World):
    """The same program on the cpu, beside one that runs on a GPU."""

    def __init__(self):
        super().__init__(ch)

    def run(self, step):
        with ch.config(default_device="cpu"):
            return super().run(step)

    def take(self, k, value):
        """Variable k becomes the GPU's value, in the GPU's dtype."""
        if self.value(k).dtype == value.dtype:
            self.vars[k][...] = ch.asarray(value, device="cpu")
        else:
            self.vars[k] = ch.asarray(value, device="cpu")


def is_narrowed(step, before):
    """Whether a step on these operands is computed in float32 only because the device has no float64."""
    name, *rest = step
    operands = {"map": rest[1:], "update": rest[1:4:2]}.get(name, ())
    arrays = [before[x] for x in operands if isinstance(x, int)]
    return device.FLOAT.itemsize == 4 and bool(arrays) and ch.result_type(*arrays) == ch.float64


def run_checked(program):
    """Run A. Returns the final world."""
    theirs, ours = World(np), World(ch)
    also = Interpreted() if device.GPU else None
    for step in program:
        note(f"step {step}")
        before = {k: v.copy() for k, v in theirs.vars.items()}
        made = theirs.run(step)
        assert ours.run(step) == made
        if also:
            also.run(step)
        for k in made:
            got = ours.value(k)
            check(step, before, theirs.value(k), got)
            theirs.vars[k][...] = got
            if also:
                if not is_narrowed(
                    step, before
                ):  # of integers beside float32, the cpu's is another
                    check(step, before, also.value(k).astype(got.dtype), got)
                also.take(k, got)
    compare(ours, theirs.vars, theirs.exports)
    return ours


def compare(world, variables, exports):
    flushed = device.flushed
    for k, value in variables.items():
        assert oracle.same(flushed(world.value(k)), flushed(value)), f"variable {k}"
    for k, value in exports.items():
        assert oracle.same(flushed(world.exports[k]), flushed(value)), f"export {k}"


def run(program, **config):
    with ch.config(parallel_work=SMALL_WORK, **config):
        world = World(ch)
        for step in program:
            world.run(step)
        values = {k: world.value(k) for k in world.vars}
    return world, values


def agree(program):
    with ch.config(backend="interp", eager=True, num_threads=1):
        first = run_checked(program)
        values = {k: first.value(k) for k in first.vars}
    ways = (("interp", False), ("llvm", False), ("auto", False), ("llvm", True))
    ways = ways[2:3] if device.GPU else ways  # whose software driver fuses nothing either
    for k, (backend, eager) in enumerate(ways):
        threads = THREADS[(len(program) + k) % 3]
        if eager and threads != 5:
            continue
        note(f"backend={backend} eager={eager} num_threads={threads}")
        world, others = run(program, backend=backend, eager=eager, num_threads=threads)
        compare(world, values, first.exports)


@pytest.mark.slow
@given(drawing.programs())
@settings(max_examples=EXAMPLES)
def test_programs(program):
    agree(program)


@pytest.mark.slow
@given(drawing.programs(most=8, long=True))
@settings(max_examples=EXAMPLES // 10)
def test_programs_on_long_arrays(program):
    agree(program)
