"""WGSL against the reference: integers and movement to the bit, floats within bounds."""

import numpy as np
import pytest

from charl.codegen import wgsl
from charl.core.dtypes import BY_SHORT
from charl.ops import cgen
from charl.ops.trace import expansion
from charl.schedule.kernel import COLUMN_BLOCK, ROW_BLOCK, verify
from tests.codegen import kernels, reference, shaders
from tests.codegen.kernels import CASES
from tests.ops.evaluate import NUMPY, cast, evaluate
from tests.ops.samples import operands

OPTIONAL = ("f64", "i64", "f16", "subgroup")
MASKS = {"full": dict.fromkeys(OPTIONAL, True), "bare": dict.fromkeys(OPTIONAL, False)}


def close(got, want, ulp=64):
    """Equal, or floats within `ulp`."""
    if got.dtype.kind in "iub":
        return np.array_equal(got, want)
    return bool((shaders.ulps(got, want) <= ulp).all())


def features(mask):
    have = shaders.device()[1]
    return have._replace(**{name: getattr(have, name) and on for name, on in MASKS[mask].items()})


def check(kernel, arrays, params, mask="full", lanes=256, ulp=64):
    verify(kernel)
    try:
        shader = wgsl.emit(kernel, features(mask), lanes)
    except wgsl.Unsupported as missing:
        assert mask == "bare" and missing.dtype == "f64", missing
        pytest.skip("float64 is not for this device")
    want = [a.copy() for a in arrays]
    with np.errstate(all="ignore"):
        error = reference.run(kernel, want, params)
    got, found = shaders.run(shader, kernel, arrays, params)
    assert (error is None) == (found is None), (error, found)
    if error is None:
        for k, (a, b) in enumerate(zip(got, want)):
            assert close(a, b, ulp), (k, a[:8], b[:8], np.flatnonzero(a != b)[:8], shader.text)
    return found


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", CASES)
def test_cases(name, mask):
    for n in (1, 33, 300):
        check(*CASES[name](n, np.random.default_rng(5)), mask, lanes=(32, 256)[n > 40])


# -- reductions ------------------------------------------------------------------------------------

REDUCTIONS = [
    (kind, dtype)
    for kind in ("add", "mul", "max", "min", "dot", "or", "and")
    for dtype in ("f32", "f64", "i8", "u16", "i32", "i64", "u64", "b1", "f16", "bf16")
    if not (kind == "dot" and dtype not in ("f32", "f64"))
    and not (kind in ("or", "and") and BY_SHORT[dtype].kind == "f")
    and not (kind in ("add", "mul") and dtype in ("f16", "bf16"))
]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("kind,dtype", REDUCTIONS)
def test_reductions(kind, dtype, order, mask):
    rng = np.random.default_rng(8)
    kernel = kernels.reduction(kind, dtype, order)
    for n, m in ((1, 2), (33, 3), (1025, 1), (2100, 2), (70, 300)):
        x = kernels.values(dtype, m * n, rng)
        if kind == "add" and BY_SHORT[dtype].kind == "f":
            x = abs(x)  # nothing cancels
        check(kernel, [x, np.zeros(m, x.dtype)], [n, m], mask, ulp=n)


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16"])
@pytest.mark.parametrize("kind", ["add", "mul", "max", "min"])
def test_reductions_of_special_values(kind, dtype):
    if dtype == "f16" and kind in ("add", "mul"):
        pytest.skip("f16 is summed in f32")
    rng = np.random.default_rng(9)
    specials = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -2.0], NUMPY[dtype])
    for n in (1, 2, 5, 40, 1100):
        x = specials[rng.integers(0, 7 if n % 2 else 2, 3 * n)]
        check(kernels.reduction(kind, dtype), [x, np.zeros(3, x.dtype)], [n, 3], lanes=32, ulp=0)


@pytest.mark.parametrize("order,size", [("row", ROW_BLOCK), ("column", COLUMN_BLOCK)])
def test_blocks(order, size):
    kernel, rng = kernels.blocked(order), np.random.default_rng(10)
    for n in (size, size + 1, 2 * size + 100):
        blocks = -(-n // size)
        x = abs(kernels.values("f32", 2 * n, rng))
        check(kernel, [x, np.zeros(2 * blocks, "f4")], [n, 2, blocks], ulp=64)


@pytest.mark.parametrize("lanes", [1, 32, 256])
@pytest.mark.parametrize("name", ["softmax", "scan", "take_rows", "variance"])
def test_lanes(name, lanes):
    for n in (5, 256, 700):
        check(*CASES[name](n, np.random.default_rng(2)), lanes=lanes, ulp=n)


@pytest.mark.parametrize(
    "name", ["softmax", "three_outer_axes", "column_statistics", "add", "scan"]
)
def test_nothing_to_do(name):
    kernel, arrays, params = CASES[name](1, np.random.default_rng(0))
    params = [0 if k in (0, 2) and name != "three_outer_axes" else p for k, p in enumerate(params)]
    if name == "three_outer_axes":
        params = [0, 2, 3, 4, 0, 0, 0, 0]
    check(kernel, arrays, params)


# -- arithmetic ------------------------------------------------------------------------------------

UNGUARDED = ("cast", "bitcast", "idiv", "irem", "shl", "shr")
LOOPS = [key for key in cgen.loops() if key[0] not in UNGUARDED]
EXACT = set(
    """equal not_equal less less_equal greater greater_equal isnan isinf isfinite signbit
    logical_and logical_or logical_xor logical_not maximum minimum clip where abs negative positive
    floor ceil trunc round sign copysign select eq ne lt le gt ge neg fabs rint add sub mul subtract
    multiply square""".split()  # noqa: SIM905
)


def subnormal(x):
    """Whether a device may take an element, or what comes of it, for 0."""
    if BY_SHORT[SHORT[x.dtype]].kind != "f":
        return np.zeros(x.shape, bool)
    tiny = {"f2": 2.0**-14, "f4": 2.0**-126, "f8": 2.0**-1022}.get(x.dtype.str[1:], 2.0**-126)
    with np.errstate(all="ignore"):
        return (x != 0) & (abs(x.astype("f8")) < 2 * tiny)


SHORT = {dtype: short for short, dtype in NUMPY.items()}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("op", sorted({key[0] for key in LOOPS}))
def test_ops(op, mask):
    """Each op on each of its dtypes: compiles, and gives what the reference gives."""
    done = 0
    for key in (k for k in LOOPS if k[0] == op):
        name, kinds, result = key
        kernel = kernels.table_op(name, kinds, result)
        try:
            shader = wgsl.emit(kernel, features(mask))
        except wgsl.Unsupported as missing:
            assert missing.dtype == "f64" and mask == "bare", (key, missing)
            continue
        done += 1
        xs = operands(kinds, n=501)
        want = evaluate(expansion(*key), *xs)
        got, _ = shaders.run(shader, kernel, [*xs, np.zeros(len(want), want.dtype)], [len(want)])
        got = got[-1]
        exact = BY_SHORT[result].kind != "f" or op in EXACT or "f16" in kinds[-1]
        wrong = (
            shaders.ulps(got, want) > (0 if exact else 4)
            if got.dtype.kind not in "iub"
            else got != want
        )
        for x in [*xs, want]:
            wrong &= ~subnormal(x)
        assert not wrong.any(), (
            key,
            [x[wrong][:4] for x in xs],
            got[wrong][:4],
            want[wrong][:4],
            wrong.sum(),
            len(wrong),
        )
    if not done:
        pytest.skip("float64 alone is not for this device")


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("source", BY_SHORT)
def test_casts(source, mask):
    (x,) = operands((source,), n=2000)
    for target in BY_SHORT:
        if target == source or mask == "bare" and "f64" in (source, target):
            continue
        kernel = kernels.table_op("cast", (source,), target)
        with np.errstate(all="ignore"):
            want = cast(x, target)
        got, _ = shaders.run(
            wgsl.emit(kernel, features(mask)), kernel, [x, np.zeros_like(want)], [len(x)]
        )
        wrong = shaders.ulps(got[-1], want) > 0 if want.dtype.kind not in "iub" else got[-1] != want
        wrong &= ~(subnormal(x) | subnormal(want))
        assert not wrong.any(), (source, target, x[wrong][:4], got[-1][wrong][:4], want[wrong][:4])
