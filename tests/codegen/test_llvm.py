"""LLVM text against numpy, to the bit, at every opt_level; and that it touches nothing else."""

import ctypes
import functools
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from charl.codegen import frame, llvm
from charl.codegen.host import GENERIC, HASWELL, Host
from charl.codegen.text import half_bits
from charl.core.dtypes import BY_SHORT
from charl.core.errors import InternalError
from charl.ops.loops import loops
from charl.ops.trace import expansion
from charl.runtime import jit
from charl.schedule.kernel import COLUMN_BLOCK, ROW_BLOCK, UNIT, verify
from tests.codegen import kernels, machine, reference
from tests.codegen.kernels import CASES
from tests.ops.evaluate import NUMPY, cast, evaluate
from tests.ops.samples import operands, same_bits

pytestmark = pytest.mark.skipif(not jit.available()[0], reason=jit.available()[1])
THIS = Host(*jit.machine()) if jit.available()[0] else GENERIC
# Code for older machines runs on this one; AVX-512's does not run everywhere.
HOSTS = {"this": THIS, "generic": GENERIC} | ({"haswell": HASWELL} if THIS.has("avx2") else {})
CSRC = Path(__file__).resolve().parents[2] / "csrc"


def check(kernel, arrays, params, host=THIS, tier="full", opt_level="default", splits=()):
    verify(kernel)
    function, _owner = machine.build(llvm.emit(kernel, host, tier), opt_level, tier)
    compare(function, kernel, arrays, params, splits)


@functools.cache
def known(name, n):
    """A case and what it should give."""
    kernel, arrays, params = CASES[name](n, np.random.default_rng(5))
    want = [a.copy() for a in arrays]
    return kernel, arrays, params, want, reference.run(kernel, want, params)


def compare(function, kernel, arrays, params, splits=()):
    want = [a.copy() for a in arrays]
    expect(function, kernel, arrays, params, want, reference.run(kernel, want, params), splits)


def expect(function, kernel, arrays, params, want, error, splits=()):
    got, found = machine.run(function, kernel, arrays, params, splits)
    assert found == error
    if error is None:
        for k, (a, b) in enumerate(zip(want, got)):
            assert machine.same(a, b), (k, a[:8], b[:8], np.flatnonzero(a != b)[:8])


# -- every kind of instruction ---------------------------------------------------------------------


@pytest.mark.parametrize("opt_level", jit.OPT_LEVELS)
@pytest.mark.parametrize("tier", ["quick", "full"])
@pytest.mark.parametrize("name", CASES)
def test_levels(name, tier, opt_level):
    function, _owner = machine.build(llvm.emit(known(name, 1)[0], THIS, tier), opt_level, tier)
    for n in (1, 33, 131):
        expect(function, *known(name, n))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("tier", ["quick", "full"])
@pytest.mark.parametrize("name", CASES)
def test_tails(name, tier, host):
    function, _owner = machine.build(llvm.emit(known(name, 1)[0], HOSTS[host], tier), "none", tier)
    for n in range(1, 71):
        expect(function, *known(name, n))


@pytest.mark.parametrize(
    "name", ["add", "softmax", "three_outer_axes", "column_softmax", "column_statistics"]
)
def test_splits(name):
    """A launch in pieces gives what the whole gives."""
    rng = np.random.default_rng(7)
    n = 700 if name.startswith("column") else 5 * UNIT + 17
    kernel, arrays, params = CASES[name](n, rng)
    last = machine.units(kernel, params)
    for splits in ((1,), (0, 1, 2), (last - 1, last), tuple(range(last))):
        check(kernel, arrays, params, splits=splits)


@pytest.mark.parametrize(
    "name", ["softmax", "three_outer_axes", "column_statistics", "add", "scan"]
)
def test_nothing_to_do(name):
    """An empty inner axis: rows are walked, and nothing is read."""
    kernel, arrays, params = CASES[name](1, np.random.default_rng(0))
    params = [0 if k in (0, 2) and name != "three_outer_axes" else p for k, p in enumerate(params)]
    if name == "three_outer_axes":
        params = [0, 2, 3, 4, 0, 0, 0, 0]
    for tier in ("quick", "full"):
        check(kernel, [a[:0] if len(a) > 3 else a for a in arrays], params, tier=tier)


# -- orders of reductions --------------------------------------------------------------------------

REDUCTIONS = [
    (kind, dtype)
    for kind in ("add", "mul", "max", "min", "dot", "or", "and")
    for dtype in ("f32", "f64", "i8", "u16", "i32", "i64", "u64", "b1", "f16", "bf16")
    if not (kind == "dot" and dtype not in ("f32", "f64"))
    and not (kind in ("or", "and") and BY_SHORT[dtype].kind == "f")
    and not (kind in ("add", "mul") and dtype in ("f16", "bf16"))
]


@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("kind,dtype", REDUCTIONS)
def test_reductions(kind, dtype, order):
    rng = np.random.default_rng(8)
    kernel = kernels.reduction(kind, dtype, order)
    for tier, host in (("full", THIS), ("quick", THIS), ("full", GENERIC)):
        function, _owner = machine.build(llvm.emit(kernel, host, tier), "less", tier)
        for n, m in ((1, 2), (31, 1), (33, 3), (1023, 2), (1025, 1), (2100, 2), (70, 300)):
            x = kernels.values(dtype, m * n, rng)
            compare(function, kernel, [x, np.zeros(m, x.dtype)], [n, m])


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16"])
@pytest.mark.parametrize("kind", ["add", "mul", "max", "min"])
def test_reductions_of_special_values(kind, dtype):
    if dtype == "f16" and kind in ("add", "mul"):
        pytest.skip("f16 is summed in f32")
    rng = np.random.default_rng(9)
    specials = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -2.0], NUMPY[dtype])
    for n in (1, 2, 5, 40, 1100):
        x = specials[rng.integers(0, 7 if n % 2 else 2, 3 * n)]
        check(kernels.reduction(kind, dtype), [x, np.zeros(3, x.dtype)], [n, 3])


@pytest.mark.parametrize("order,size", [("row", ROW_BLOCK), ("column", COLUMN_BLOCK)])
@pytest.mark.parametrize("tier", ["quick", "full"])
def test_blocks(order, size, tier):
    kernel, rng = kernels.blocked(order), np.random.default_rng(10)
    for n in (size, size + 1, 2 * size + 100):
        blocks = -(-n // size)
        x = kernels.values("f32", 2 * n, rng)
        check(kernel, [x, np.zeros(2 * blocks, "f4")], [n, 2, blocks], tier=tier)
        arrays = [x, np.zeros_like(x), np.zeros(2 * blocks, "f4")]
        check(kernels.blocked_scan(order), arrays, [n, 2, blocks], tier=tier)


@pytest.mark.parametrize("tier", ["quick", "full"])
@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("kind,dtype", [r for r in REDUCTIONS if r[0] in ("add", "mul", "max")])
def test_scans_in_blocks(kind, dtype, order, tier):
    rng = np.random.default_rng(11)
    kernel = kernels.blocked_scan(order, kind, dtype)
    for n, m in ((1, 2), (33, 3), (130, 40)):
        x = kernels.values(dtype, m * n, rng)
        check(kernel, [x, np.zeros_like(x), np.zeros(m, x.dtype)], [n, m, 1], tier=tier)


# -- arithmetic ------------------------------------------------------------------------------------

UNGUARDED = (
    "cast",
    "bitcast",
    "idiv",
    "irem",
    "shl",
    "shr",
)  # tested by pair, or through the ops that guard them
LOOPS = [key for key in loops() if key[0] not in UNGUARDED]


@pytest.mark.parametrize("op", sorted({key[0] for key in LOOPS}))
def test_ops(op):
    """Each op that the interpreter has a loop for, on each of its dtypes; vectors and, through
    tails, masked ones.
    """
    for number, key in enumerate(k for k in LOOPS if k[0] == op):
        name, kinds, result = key
        kernel = kernels.table_op(name, kinds, result)
        xs = operands(kinds, n=501)
        want = evaluate(expansion(*key), *xs)
        host = list(HOSTS.values())[number % len(HOSTS)]
        function, _owner = machine.build(
            llvm.emit(kernel, host, ("quick", "full")[number % 2]), "none"
        )
        got, error = machine.run(
            function, kernel, [*xs, np.zeros(len(want), want.dtype)], [len(want)]
        )
        wrong = ~same_bits(got[-1], want)
        assert error is None
        assert not wrong.any(), (
            key,
            host.cpu,
            [x[wrong][:4] for x in xs],
            got[-1][wrong][:4],
            want[wrong][:4],
        )


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("source", BY_SHORT)
def test_casts(source, host):
    (x,) = operands((source,), n=4000)
    for target in BY_SHORT:
        if target == source:
            continue
        kernel = kernels.table_op("cast", (source,), target)
        function, _owner = machine.build(llvm.emit(kernel, HOSTS[host], "full"), "less")
        with np.errstate(all="ignore"):
            want = cast(x, target)
        got, _ = machine.run(function, kernel, [x, np.zeros(len(x), NUMPY[target])], [len(x)])
        wrong = ~same_bits(got[-1], want)
        assert not wrong.any(), (source, target, x[wrong][:4], got[-1][wrong][:4], want[wrong][:4])


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_every_half(dtype):
    """All 65,536 patterns to f32 and back."""
    x = np.arange(65536, dtype=np.uint16).view(NUMPY[dtype])
    for host in HOSTS.values():
        for op, kinds, result, data in (
            ("cast", (dtype,), "f32", x),
            ("cast", ("f32",), dtype, x.astype(np.float32)),
        ):
            kernel = kernels.table_op(op, kinds, result)
            function, _owner = machine.build(llvm.emit(kernel, host, "full"))
            got, _ = machine.run(
                function, kernel, [data, np.zeros(len(x), NUMPY[result])], [len(x)]
            )
            with np.errstate(invalid="ignore"):
                want = data.astype(NUMPY[result])
            assert same_bits(got[-1], want).all()


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_literals(dtype):
    x = operands(("f64",), n=3000)[0]
    with np.errstate(all="ignore"):
        want = cast(x, dtype)
    got = np.array([half_bits(dtype, float(v)) for v in x], np.uint16).view(NUMPY[dtype])
    assert same_bits(got, want).all()


# -- errors and the ABI ----------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ["quick", "full"])
@pytest.mark.parametrize("at", [0, 5, 31, 32, 69])
@pytest.mark.parametrize("bad", [7, -8, 2**62])
def test_first_index_out_of_range(at, bad, tier):
    kernel, arrays, params = CASES["take_elements"](70, np.random.default_rng(3))
    arrays[2][at] = bad
    arrays[2][at + 1 :] = 99
    check(kernel, arrays, params, tier=tier)


@pytest.mark.parametrize("which", [1, 2])
def test_column_index_out_of_range(which):
    kernel, arrays, params = CASES["column_gathers"](70, np.random.default_rng(3))
    arrays[which][3] = 1000
    check(kernel, arrays, params)


def test_row_index_out_of_range():
    kernel, arrays, params = CASES["take_rows"](10, np.random.default_rng(3))
    arrays[1][2] = -6
    check(kernel, arrays, params)


def test_lanes_past_the_end_raise_nothing():
    """Masked lanes hold index 0, which is out of range of an axis of extent 0."""
    kernel, arrays, params = CASES["take_elements"](1, np.random.default_rng(3))
    params[0] = params[2] = 0
    for tier in ("quick", "full"):
        check(kernel, [a[:0] for a in arrays], params, tier=tier)


def test_launch_offsets(tmp_path):
    """The offsets that generated code uses, asked of the C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler to ask")
    fields = {
        "buffers": "buffers",
        "params": "params",
        "scratch": "scratch",
        "site": "error.site",
        "index": "error.index",
        "extent": "error.extent",
    }
    assert set(fields) == set(frame.LAUNCH)
    shown = "".join(f'printf("%zu ", offsetof(charl_launch_t, {f}));' for f in fields.values())
    source = tmp_path / "offsets.c"
    source.write_text(
        '#include <stdio.h>\n#include "charl.h"\n'
        f'int main(void) {{ {shown} printf("%d", CHARL_EINDEX); }}\n'
    )
    subprocess.run(
        [compiler, "-I", str(CSRC), str(source), "-o", str(tmp_path / "offsets")], check=True
    )
    printed = subprocess.run(
        [tmp_path / "offsets"], check=True, capture_output=True, text=True
    ).stdout
    assert [int(x) for x in printed.split()] == [*(frame.LAUNCH[f] for f in fields), frame.EINDEX]
    assert ctypes.sizeof(machine.Launch) == 80


def test_text_claims_nothing():
    """No flag that would let LLVM change a value or assume what is not so."""
    for tier in ("quick", "full"):
        for name, make in CASES.items():
            text = llvm.emit(make(1, np.random.default_rng(0))[0], THIS, tier)
            assert not re.search(
                r"\b(nsw|nuw|exact|inbounds|noalias|fast|nnan|ninf|nsz|reassoc|ptrtoint|inttoptr)\b",
                text,
            ), name


def test_text_is_deterministic():
    for make in CASES.values():
        kernel = make(1, np.random.default_rng(0))[0]
        assert llvm.emit(kernel, HASWELL, "full") == llvm.emit(kernel, HASWELL, "full")


def test_unverified_text_is_an_error():
    with pytest.raises(InternalError, match="does not accept"):
        machine.build("define i32 @kernel(ptr %launch, i64 %begin, i64 %end) { ret i64 0 }")


GOLDEN = (Path(__file__).parent / "golden_add.ll").read_text()


def test_golden_text():
    kernel = CASES["add"](1, np.random.default_rng(0))[0]
    assert llvm.emit(kernel, HASWELL, "full") == GOLDEN
