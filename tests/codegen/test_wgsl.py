"""WGSL against the reference: integers and movement to the bit, floats within bounds."""

from pathlib import Path

import numpy as np
import pytest

from charl.codegen import wgsl, wgsl_probe
from charl.codegen.wgsl_values import chained, rounded_again, scaled
from charl.core.dtypes import BY_SHORT
from charl.ops.loops import loops
from charl.ops.trace import expansion
from charl.schedule.kernel import (
    COLUMN_BLOCK,
    ROW_BLOCK,
    Access,
    Arg,
    Axis,
    Contract,
    Instr,
    P,
    verify,
)
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


CANCELS = {
    "column_statistics": 1 << 14
}  # sums of both signs: ULP by which another order may differ


def check(kernel, arrays, params, mask="full", lanes=0, ulp=64, part=1 << 27):
    verify(kernel)
    suited = wgsl.suited(kernel, params)
    try:
        have = features(mask)._replace(part=part)
        parts = [-(-a.nbytes // part) or 1 for a in arrays]
        shader = wgsl.emit(kernel, have, lanes or suited[0], *suited[1:], parts)
        scratch = shader.scratch_bytes(params)
        if scratch > part:
            parts.append(-(-scratch // part))
            shader = wgsl.emit(kernel, have, lanes or suited[0], *suited[1:], parts)
    except wgsl.Unsupported as missing:
        assert mask == "bare" and missing.dtype == "f64", missing
        pytest.skip("float64 is not for this device")
    want = [a.copy() for a in arrays]
    with np.errstate(all="ignore"):
        error = reference.run(kernel, want, params)
    got, found = shaders.run(shader, kernel, arrays, params, part=part)
    assert (error is None) == (found is None), (error, found)
    if error is None:
        for k, (a, b) in enumerate(zip(got, want)):
            assert close(a, b, ulp), (k, a[:8], b[:8], np.flatnonzero(a != b)[:8], shader.text)
    return found


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", CASES)
def test_cases(name, mask):
    for n in (1, 33, 36, 300):
        check(*CASES[name](n, np.random.default_rng(5)), mask, ulp=CANCELS.get(name, 64))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", CASES)
def test_buffers_in_parts(name, mask):
    case = CASES[name](300, np.random.default_rng(5))
    part = max(256, 1 << (max(a.nbytes for a in case[1]) // 4).bit_length())
    check(*case, mask, ulp=CANCELS.get(name, 64), part=part)


@pytest.mark.parametrize("name, part", [("softmax", 1024), ("column_softmax", 1 << 14)])
def test_values_kept_in_scratch(name, part):
    """What is overwritten cannot be computed again."""
    kernel, arrays, params = CASES[name](300, np.random.default_rng(5))
    *stages, last = kernel.stages
    store = last.body[-1]
    store = store._replace(attr=store.attr._replace(arg=0))
    kernel = kernel._replace(
        args=(Arg(kernel.args[0].dtype, "inout"),),
        stages=(*stages, last._replace(body=(*last.body[:-1], store))),
    )
    check(kernel, arrays[:1], params)
    check(kernel, arrays[:1], params, part=part)
    bindings = wgsl.emit(kernel, features("full"), parts=[1, 3]).bindings
    assert bindings == ("params", "a0", "scratch_0", "scratch_1", "scratch_2")


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
        arrays = [x, np.zeros_like(x), np.zeros(2 * blocks, "f4")]
        check(kernels.blocked_scan(order), arrays, [n, 2, blocks], ulp=n // 8)


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
LOOPS = [key for key in loops() if key[0] not in UNGUARDED]
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
        if op == "logaddexp":  # its bound is in ULP of the larger of result and operands
            with np.errstate(all="ignore"):
                most = np.maximum(abs(xs[0]), abs(xs[1])).astype("f8")
                wrong &= ~(abs(got.astype("f8") - want) <= 4 * np.finfo("f4").eps * most)
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


def test_compilers_may_not_simplify():
    """x - x, x + 0, x * 0 and (x + c) - c keep what IEEE gives."""
    kernel = kernels.flat(
        kernels.args(*[("f32", "in")], *[("f32", "out")] * 4),
        ("load", "f32", (), Access(0, 0, (1,))),
        ("const", "f32", (), 0.0),
        ("const", "f32", (), 1e8),
        ("sub", "f32", (0, 0)),
        ("add", "f32", (0, 1)),
        ("mul", "f32", (0, 1)),
        ("add", "f32", (0, 2)),
        ("sub", "f32", (6, 2)),
        *(("store", "f32", (v,), Access(k, 0, (1,))) for k, v in enumerate((3, 4, 5, 7), 1)),
    )
    x = np.array([1.5, -0.0, 0.0, np.inf, -np.inf, np.nan, 3e38], "f4")
    check(kernel, [x, *np.zeros((4, 7), "f4")], [7], ulp=0)


# -- products --------------------------------------------------------------------------------------


def contract(dtype, transposed=False, source=None):
    """(b, m, k) x (b, k, n) + bias of n, as maximum(., 0) at params b, m, n, k; source is the
    operands' dtype.
    """
    b, m, n, k, mk, nk, mn = (P(at) for at in range(7))
    rhs = (nk, 0, k, 1) if transposed else (nk, 0, 1, n)
    return Contract(
        tuple(
            Arg(*a)
            for a in (
                (source or dtype, "in"),
                (source or dtype, "in"),
                (dtype, "in"),
                (dtype, "out"),
            )
        ),
        (Axis(b),),
        Axis(m),
        Axis(n),
        Axis(k),
        dtype,
        Access(0, 0, (mk, k, 0, 1)),
        Access(1, 0, rhs),
        (
            Instr("acc", dtype),
            Instr("load", dtype, (), Access(2, 0, (0, 0, 1))),
            Instr("add", dtype, (0, 1)),
            Instr("const", dtype, (), 0.0),
            Instr("maximum", dtype, (2, 3)),
            Instr("store", dtype, (4,), Access(3, 0, (mn, n, 1))),
        ),
    )


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_products(dtype, transposed, small):
    rng = np.random.default_rng(1)
    kernel = contract(dtype, transposed)
    verify(kernel)
    have = features("full")
    if dtype == "f64" and not (have.f64 and have.i64):
        pytest.skip("this adapter has no float64")
    have = have._replace(max_workgroup=64) if small else have
    for b, m, n, k in (
        (1, 1, 1, 1),
        (2, 64, 64, 16),
        (1, 65, 130, 33),
        (3, 7, 100, 300),
        (1, 5, 5, 0),
    ):
        x, y = rng.normal(size=(b, m, k)), rng.normal(size=(b, n, k) if transposed else (b, k, n))
        bias = rng.normal(size=n)
        arrays = [a.astype(NUMPY[dtype]) for a in (x, y, bias, np.zeros((b, m, n)))]
        params = [b, m, n, k, m * k, n * k, m * n]
        shader = wgsl.emit(kernel, have, *wgsl.suited(kernel, params))
        got, _ = shaders.run(shader, kernel, [a.ravel() for a in arrays], params)
        x, y, bias = (a.astype("f8") for a in arrays[:3])
        y = y.transpose(0, 2, 1) if transposed else y
        want = np.maximum(x @ y + bias, 0)
        bound = (k + 2) * np.finfo(NUMPY[dtype]).eps * (abs(x) @ abs(y) + abs(bias) + 1)
        assert (abs(got[3].reshape(b, m, n) - want) <= bound).all()


def test_products_of_halves():
    """f16 in memory, sums in f32."""
    kernel = contract("f32", source="f16")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 30)).astype("f2"), rng.normal(size=(30, 40)).astype("f2")
    arrays = [x.ravel(), y.ravel(), np.zeros(40, "f4"), np.zeros(800, "f4")]
    params = [1, 20, 40, 30, 600, 1200, 800]
    shader = wgsl.emit(kernel, features("bare"), *wgsl.suited(kernel, params))
    got, _ = shaders.run(shader, kernel, arrays, params)
    want = np.maximum(x.astype("f8") @ y.astype("f8"), 0)
    assert np.allclose(got[3].reshape(20, 40), want, atol=1e-4)


# -- errors, limits and the text -------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    "name,arg", [("take_elements", 2), ("take_rows", 1), ("column_gathers", 1)]
)
def test_index_out_of_range(name, arg, mask):
    kernel, arrays, params = CASES[name](70, np.random.default_rng(3))
    arrays[arg][2] = 7777
    site, index, extent = check(kernel, arrays, params, mask)
    want = [a.copy() for a in arrays]
    assert (site, index, extent) == reference.run(kernel, want, params)


def test_workgroups_in_two_dimensions():
    """Where a dimension takes fewer, the rest go into the second, and some of those do nothing."""
    for name in ("add", "softmax"):
        kernel, arrays, params = CASES[name](3000, np.random.default_rng(3))
        shader = wgsl.emit(kernel, features("full"))
        want = [a.copy() for a in arrays]
        reference.run(kernel, want, params)
        got, _ = shaders.run(shader, kernel, arrays, params, wide=2 if name == "softmax" else 5)
        assert close(got[-1], want[-1])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("dtype", ["i32", "i64", "u8", "b1"])
def test_slots_that_are_stored(dtype, order, mask):
    """A prefix is kept, and what an update in place has loaded: neither can be computed again."""
    at = (P(0), 1) if order == "row" else (1, P(1))
    scanned = [("scan", dtype, (0,), "max")] if dtype != "b1" else [("logical_not", dtype, (0,))]
    kernel = kernels.Kernel(
        kernels.args((dtype, "inout"), (dtype, "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        order,
        None,
        (
            kernels.loop(
                ("load", dtype, (), Access(0, 0, at)),
                *scanned,
                ("keep", dtype, (1,), 0),
                ("keep", dtype, (0,), 1),
            ),
            kernels.loop(
                ("const", dtype, (), 1),
                ("store", dtype, (4,), Access(0, 0, at)),
                ("kept", dtype, (), 0),
                ("kept", dtype, (), 1),
                ("bitwise_xor", dtype, (6, 7)),
                ("store", dtype, (8,), Access(1, 0, at)),
            ),
        ),
        (dtype, dtype),
    )
    x = kernels.values(dtype, 7 * 90, np.random.default_rng(4))
    check(kernel, [x, np.zeros_like(x)], [90, 7], mask, lanes=32)


@pytest.mark.parametrize("mask", MASKS)
def test_the_probe(mask):
    have = features(mask)
    words = np.frombuffer(wgsl_probe.START, "u4")
    (got,), _ = shaders.run(wgsl.probe(have), None, [words], [])
    assert (got[:2] == words[:2]).all() and set(got[2:4]) <= {0, 1} and got[4] == 0
    found = wgsl_probe.probed(have, got.tolist())
    assert found.subgroup == have.subgroup
    assert found.fused == bool(got[2] and (got[3] or not (have.f64 and have.i64)))
    assert not wgsl_probe.probed(have, [0, 0, 1, 1, 3, 0]).subgroup
    n = 0
    for _ in range(wgsl_probe.ROUNDS):
        n = (n * wgsl_probe.FACTOR + wgsl_probe.ADDEND) & 0xFFFFFFFF
    assert wgsl_probe.probed(have, [0, 0, 1, 1, 0, n]).endless
    assert not wgsl_probe.probed(have, [0, 0, 1, 1, 0, n - 1]).endless


def test_too_many_buffers():
    kernel = kernels.flat(
        kernels.args(*[("f32", "in")] * 9, ("f32", "out")),
        *(("load", "f32", (), Access(k, 0, (1,))) for k in range(9)),
        ("store", "f32", (8,), Access(9, 0, (1,))),
    )
    with pytest.raises(wgsl.Unsupported, match="storage buffers"):
        wgsl.emit(kernel, wgsl.Features())
    assert wgsl.emit(kernel, wgsl.Features(max_storage_buffers=16)).bindings[-1] == "a9"


def test_text_is_deterministic():
    for make in CASES.values():
        kernel = make(1, np.random.default_rng(0))[0]
        have = wgsl.Features(f64=True, i64=True)
        assert wgsl.emit(kernel, have) == wgsl.emit(kernel, have)


GOLDEN = (Path(__file__).parent / "golden_softmax.wgsl").read_text()


def test_golden_text():
    kernel = CASES["softmax"](1, np.random.default_rng(0))[0]
    suited = wgsl.suited(kernel, [40, 3])
    assert wgsl.emit(kernel, wgsl.Features(subgroup=True), *suited).text == GOLDEN


TILINGS = [
    wgsl.Tiling(elements=64, vector=1, columns=32, side=8, each=4, step=8),
    wgsl.Tiling(elements=512, rows=64, columns=128, side=4, each=8, step=4),
]


@pytest.mark.parametrize("name", [*CASES, "product"])
def test_tilings_move_no_bit(name):
    rng = np.random.default_rng(6)
    if name == "product":
        kernel, params = contract("f32"), [2, 70, 90, 300, 70 * 300, 90 * 300, 70 * 90]
        sizes = (2 * 70 * 300, 2 * 300 * 90, 90, 2 * 70 * 90)
        arrays = [rng.normal(size=n).astype("f4") for n in sizes]
    else:
        kernel, arrays, params = CASES[name](300, rng)
    shader = wgsl.emit(kernel, features("full"), *wgsl.suited(kernel, params))
    want, _ = shaders.run(shader, kernel, arrays, params)
    for tiling in TILINGS:
        shader = wgsl.emit(kernel, features("full"), *wgsl.suited(kernel, params, tiling))
        got, _ = shaders.run(shader, kernel, arrays, params)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(got, want)), tiling


def test_fused():
    """Where fma() rounds once, nothing stands in for it."""
    kernel, *_ = CASES["softmax"](1, np.random.default_rng(0))
    text = wgsl.emit(kernel, wgsl.Features(fused=True)).text
    assert "fma_f32(" not in text and text.count("fma(") >= 7
    assert "fma_f32(" in wgsl.emit(kernel, wgsl.Features()).text


def test_what_drivers_get_wrong_is_not_written():
    """Arrays of bool in workgroup memory, and remainders of negative numbers: NVIDIA's has others."""
    for order in ("row", "column"):
        kernel = kernels.reduction("or", "b1", order)
        text = wgsl.emit(kernel, features("full"), 8).text
        assert "var<workgroup>" in text and "array<bool" not in text
    for dtype in ("i8", "i32"):
        text = wgsl.emit(
            kernels.table_op("remainder", (dtype, dtype), dtype), features("full")
        ).text
        assert " % " not in text and "irem_i32(" in text


def test_error_terms_are_hidden_from_compilers():
    """(x - s) + y is not to become (x + y) - s, nor a * c + b * c to become (a + b) * c."""
    two_sum = {2: ("add", (0, 1)), 3: ("sub", (0, 2)), 4: ("add", (3, 1))}
    assert rounded_again(two_sum) == {2, 3}
    residual = {3: ("mul", (0, 1)), 4: ("neg", (3,)), 5: ("fma", (4, 1, 0))}
    assert 5 in rounded_again(residual)
    assert chained({2: ("mul", (0, 1)), 3: ("add", (2, 0)), 4: ("mul", (3, 3))}) == {2, 3}
    chosen = {3: ("select", (0, 8, 9)), 4: ("mul", (1, 3)), 5: ("mul", (1, 2))}
    assert scaled(chosen, {8, 9}) == {4}
