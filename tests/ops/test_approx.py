"""Approximations against mpmath: each row's bound on random and hard values, and C99's special
cases.
"""

import math

import mpmath
import numpy as np
import pytest

from charl.ops.table import OPS
from charl.ops.trace import expansion

from .evaluate import NUMPY, evaluate
from .samples import operands, same_bits

ORACLES = {
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "atan2": mpmath.atan2,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": mpmath.atanh,
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "cos": mpmath.cos,
    "cosh": mpmath.cosh,
    "erf": mpmath.erf,
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "expm1": mpmath.expm1,
    "hypot": mpmath.hypot,
    "log": mpmath.log,
    "log10": mpmath.log10,
    "log1p": mpmath.log1p,
    "log2": lambda x: mpmath.log(x, 2),
    "pow": mpmath.power,
    "logaddexp": lambda x, y: max(x, y) + mpmath.log1p(mpmath.exp(-abs(x - y))),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "sin": mpmath.sin,
    "sinh": mpmath.sinh,
    "tan": mpmath.tan,
    "tanh": mpmath.tanh,
}
UNARY = sorted(name for name in ORACLES if OPS[name].arity == 1)
BINARY = sorted(name for name in ORACLES if OPS[name].arity == 2)
DOMAINS = {
    "acosh": (1, np.inf),
    "asin": (-1, 1),
    "acos": (-1, 1),
    "atanh": (-1, 1),
    "log1p": (-1, np.inf),
    "log": (0, np.inf),
    "log2": (0, np.inf),
    "log10": (0, np.inf),
}


def run(name, *xs):
    dtype = "f32" if xs[0].dtype == np.float32 else "f64"
    return evaluate(expansion(name, (dtype,) * len(xs), dtype), *xs)


def ulps(got, exact, dtype):
    """Distance in units of the last place of the exact value's binade."""
    info = np.finfo(NUMPY[dtype])
    exact = mpmath.mpf(exact)
    if abs(exact) > mpmath.mpf(float(info.max)):
        return (
            0.0
            if abs(got) == math.inf and (got > 0) == (exact > 0)
            else float(abs(exact / mpmath.mpf(float(got)) - 1))
        )
    exponent = max(mpmath.frexp(exact)[1] - 1, int(info.minexp)) if exact else int(info.minexp)
    place = mpmath.ldexp(1, exponent - int(info.nmant))
    return float(abs(mpmath.mpf(float(got)) - exact) / place) if math.isfinite(got) else math.inf


def values(dtype, low, high, n, rng):
    """Random bits, ordinary sizes, neighbours of 1, of multiples of pi/4 and ln(2)/2, the ends."""
    target, info = NUMPY[dtype], np.finfo(NUMPY[dtype])
    bits = rng.integers(0, 256, n * target.itemsize, dtype=np.uint8).view(target)
    hard = np.concatenate(
        [
            np.arange(-40, 41) * (np.pi / 4),
            np.arange(-40, 41) * (np.log(2) / 2),
            2.0 ** np.arange(-30, 31),
            1 + np.arange(-20, 21) * float(info.eps),
            1 - 2.0 ** np.arange(-10, 0),
            [88.7, -87.4, 709.7, -708.4, -745, 0.5, 0.9],
            [float(info.max), float(info.tiny), float(info.smallest_subnormal) * 3],
        ]
    )
    with np.errstate(all="ignore"):
        x = np.concatenate(
            [
                bits,
                rng.normal(size=n) * 3,
                rng.uniform(-1, 1, n),
                rng.uniform(-100, 100, n),
                np.exp(rng.uniform(-30, 30, n)) * rng.choice([-1, 1], n),
                hard,
                -hard,
            ]
        ).astype(target)
    return x[np.isfinite(x) & (x > low) & (x < high) & (x != 0)]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", UNARY)
def test_unary_within_its_bound(name, dtype):
    x = values(dtype, *DOMAINS.get(name, (-np.inf, np.inf)), 250, np.random.default_rng(1))
    if name in ("exp", "exp2", "expm1", "cosh", "sinh"):
        x = x[np.abs(x) < 2000]
    with mpmath.workprec(100 if name not in ("sin", "cos", "tan") else 1300):
        exact = [ORACLES[name](mpmath.mpf(float(v))) for v in x]
        errors = np.array([ulps(g, e, dtype) for g, e in zip(run(name, x), exact)])
    worst = errors.argmax()
    assert errors[worst] <= OPS[name].ulp, (x[worst], errors[worst])


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", BINARY)
def test_binary_within_its_bound(name, dtype):
    rng = np.random.default_rng(2)
    x = values(dtype, -np.inf, np.inf, 300, rng)
    y = rng.permutation(x)
    if name == "pow":
        x = np.abs(x)
        with np.errstate(all="ignore"):  # exponents that keep the result in range, too
            y = np.where(
                rng.random(len(x)) < 0.7, rng.uniform(-740, 740, len(x)) / np.log(x), y
            ).astype(x.dtype)
            usual = np.isfinite(y) & (np.abs(np.log2(x.astype(float)) * y) < 5000)
        x, y = x[usual], y[usual]
    with mpmath.workprec(200):
        exact = [ORACLES[name](mpmath.mpf(float(p)), mpmath.mpf(float(q))) for p, q in zip(x, y)]
        if name == "logaddexp":  # where the sum cancels, the bound is on the terms
            size = [max(abs(e), abs(max(p, q))) for e, p, q in zip(exact, x.tolist(), y.tolist())]
            off = [abs(float(g) - e) / n for g, e, n in zip(run(name, x, y), exact, size)]
            errors = np.array(off, float) / np.finfo(x.dtype).eps
        else:
            errors = np.array([ulps(g, e, dtype) for g, e in zip(run(name, x, y), exact)])
    worst = errors.argmax()
    assert errors[worst] <= OPS[name].ulp, (x[worst], y[worst], errors[worst])


INF, NAN = math.inf, math.nan
SPECIALS = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (1e4, INF), (-1e4, 0.0)],
    "exp2": [
        (0.0, 1),
        (INF, INF),
        (-INF, 0.0),
        (10.0, 1024),
        (-3.0, 0.125),
        (1e4, INF),
        (-1e4, 0.0),
    ],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (-1e4, -1), (1e4, INF)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1.0, NAN), (-INF, NAN)],
    "log2": [(1.0, 0.0), (8.0, 3), (0.125, -3), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1.0, NAN)],
    "log10": [(1.0, 0.0), (1000.0, 3), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1.0, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-2.0, NAN), (INF, INF), (-INF, NAN)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1.5, NAN), (-1.5, NAN), (INF, NAN)],
    "acos": [(1.0, 0.0), (1.5, NAN), (-1.5, NAN), (INF, NAN)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (INF, math.pi / 2), (-INF, -math.pi / 2)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (1e4, INF)],
    "cosh": [(0.0, 1), (INF, INF), (-INF, INF), (-1e4, INF)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (50.0, 1), (-50.0, -1)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "acosh": [(1.0, 0.0), (0.5, NAN), (-2.0, NAN), (INF, INF), (-INF, NAN)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (2.0, NAN), (-INF, NAN)],
    "cbrt": [(0.0, 0.0), (-0.0, -0.0), (27.0, 3), (-8.0, -2), (INF, INF), (-INF, -INF)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (9.0, 1)],
    "sigmoid": [(0.0, 0.5), (INF, 1), (-INF, 0.0), (1e4, 1), (-1e4, 0.0)],
}


def same(got, want):
    return (
        math.isnan(got)
        if math.isnan(want)
        else got == want and math.copysign(1, got) == math.copysign(1, want)
    )


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", UNARY)
def test_special_cases_of_one_operand(name, dtype):
    cases = [*SPECIALS[name], (NAN, NAN)]
    got = run(name, np.array([x for x, _ in cases], NUMPY[dtype]))
    for (x, want), g in zip(cases, got.tolist()):
        assert same(g, float(NUMPY[dtype].type(want))), (x, g, want)


SMALL_ODD = "exp2 cos cosh acos sigmoid erf exp log log2 log10 acosh cbrt"


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", [name for name in UNARY if name not in SMALL_ODD.split()])
def test_subnormals_are_their_own_image(name, dtype):
    """f(x) = x + O(x**2) near 0."""
    least = float(np.finfo(NUMPY[dtype]).smallest_subnormal)
    x = np.array([1, -1, 2, 3, -5, 1000], float) * least
    x = x.astype(NUMPY[dtype])
    assert (run(name, x) == x).all()


GRID = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.0,
    -3.0,
    2.5,
    -2.5,
    1e30,
    -1e30,
    INF,
    -INF,
    NAN,
]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", ["atan2", "hypot"])
def test_special_cases_of_two_operands(name, dtype):
    x, y = (g.ravel() for g in np.meshgrid(GRID, GRID, indexing="ij"))
    got = run(name, x.astype(NUMPY[dtype]), y.astype(NUMPY[dtype]))
    for p, q, g in zip(x.tolist(), y.tolist(), got):
        want = NUMPY[dtype].type(getattr(math, name)(p, q))
        assert same(float(g), float(want)) or abs(g - want) <= np.spacing(abs(want)), (
            p,
            q,
            g,
            want,
        )


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_special_cases_of_pow(dtype):
    """NumPy's own pow is C99's."""
    x, y = (g.ravel().astype(NUMPY[dtype]) for g in np.meshgrid(GRID, GRID, indexing="ij"))
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    for p, q, g, w in zip(x, y, run("pow", x, y), want):
        assert same(float(g), float(w)) or abs(g - w) <= np.spacing(abs(w)), (p, q, g, w)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_special_cases_of_logaddexp(dtype):
    x, y = (g.ravel().astype(NUMPY[dtype]) for g in np.meshgrid(GRID, GRID, indexing="ij"))
    with np.errstate(all="ignore"):
        want = np.logaddexp(x, y)
    got = run("logaddexp", x, y)
    assert np.array_equal(np.isnan(got), np.isnan(want))
    assert np.allclose(got, want, rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize("dtype", ["i8", "i16", "i32", "i64", "u8", "u32", "u64"])
def test_integer_pow(dtype):
    """Python's integers, wrapped; a negative exponent gives 1/x, whole."""
    info = np.iinfo(NUMPY[dtype])
    bases = [0, 1, 2, 3, 5, 7, info.max, info.max - 1, info.min] + (
        [-1, -2, -3] if info.min else []
    )
    powers = [0, 1, 2, 3, 6, 31, 62, 63, 64, 65, 100, info.max, info.max - 1] + (
        [-1, -2, info.min] if info.min else []
    )
    powers = [p for p in powers if p <= info.max]
    x, y = (
        g.ravel()
        for g in np.meshgrid(np.array(bases, NUMPY[dtype]), np.array(powers, NUMPY[dtype]))
    )
    got = evaluate(expansion("pow", (dtype, dtype), dtype), x, y)
    modulus = 1 << (8 * NUMPY[dtype].itemsize)
    for p, q, g in zip(x.tolist(), y.tolist(), got.tolist()):
        want = pow(p, q, modulus) if q >= 0 else {1: 1, -1: 1 - 2 * (q % 2)}.get(p, 0)
        assert (g - want) % modulus == 0, (p, q, g)


def hardest_for_reduction(dtype):
    """Floats very near multiples of pi/2 (the nearest there is first), and the largest."""
    known = (
        [6381956970095103 * 2.0**797, 1e22, 2.0**1023, 2.0**30, 2.0**30 + 1]
        if dtype == "f64"
        else [16367173 * 2.0**72, 2.0**127, 1e22, 65536.0, 65537.0]
    )
    return np.array(known + [-k for k in known], NUMPY[dtype])


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_large_arguments(name, dtype):
    rng = np.random.default_rng(3)
    top = 127 if dtype == "f32" else 1023
    x = np.concatenate(
        [hardest_for_reduction(dtype), (2.0 ** rng.uniform(15, top, 300)).astype(NUMPY[dtype])]
    )
    got = run(name, x)
    with mpmath.workprec(1300):
        errors = [ulps(g, ORACLES[name](mpmath.mpf(float(v))), dtype) for g, v in zip(got, x)]
    assert max(errors) <= OPS[name].ulp, x[int(np.argmax(errors))]


# -- narrow forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op", [name for name, row in OPS.items() if row.expand and row.group == "elementwise"]
)
def test_narrow_forms_take_no_f64(op):
    """What GPUs compute for f32: 3 ULP from the usual form, without f64 anywhere."""
    row = OPS[op]
    if "f" not in row.kinds:
        pytest.skip("not for floats")
    first = "b1" if op == "where" else "f32"
    kinds = (first,) + ("f32",) * (row.arity - 1)
    result = "b1" if row.result == "bool" else "f32"
    narrow = expansion(op, kinds, result, narrow=True)
    bodies = [narrow] + [p.attr for p in narrow.code if p.op == "rare"]
    assert not any("f64" in body.dtypes for body in bodies)
    xs = operands(kinds, n=3000)
    got, want = evaluate(narrow, *xs), evaluate(expansion(op, kinds, result), *xs)
    with np.errstate(all="ignore"):
        size = abs(want) if op != "logaddexp" else np.maximum(abs(want), np.maximum(*map(abs, xs)))
        bound = 3 * np.spacing(np.maximum(size, np.float32(2.0**-126)))
        near = abs(got.astype("f8") - want) <= bound
    assert (near | same_bits(got, want)).all()
