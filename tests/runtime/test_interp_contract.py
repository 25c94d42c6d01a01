"""Contractions in the interpreter, against numpy summing in the documented order: equal bits."""

import numpy as np
import pytest

from charl.schedule.kernel import KC, Access, Arg, Axis, Contract, Digits, Instr, P, verify
from tests.codegen.machine import same
from tests.ops.evaluate import NUMPY, fma
from tests.runtime.interpreter import run, units

SHAPES = [
    (1, 1, 1),
    (2, 3, 0),
    (4, 32, 7),
    (5, 33, 9),
    (16, 31, 256),
    (3, 64, 257),
    (17, 130, 40),
    (300, 20, 5),
    (20, 700, 3),
    (7, 513, 520),
]


def product(a, b):
    """(m, k) x (k, n): fma from 0 over KC products, sums of the blocks in order."""
    total = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for start in range(0, a.shape[1], KC):
        part = np.zeros_like(total)
        for p in range(start, min(start + KC, a.shape[1])):
            x, y = np.broadcast_arrays(a[:, p : p + 1], b[p])
            part = fma(x, y, part)
        total = total + part if start else part
    return total


def contract(dtype, lhs, rhs, epilogue, others=(), outer=()):
    args = (Arg(dtype, "in"), Arg(dtype, "in"), *others)
    return Contract(
        args, tuple(outer), Axis(P(0)), Axis(P(1)), Axis(P(2)), dtype, lhs, rhs, tuple(epilogue)
    )


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("m, n, k", SHAPES)
@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_product(dtype, m, n, k, layout):
    rng = np.random.default_rng(m + n + k)
    a = rng.standard_normal((m, k)).astype(NUMPY[dtype])
    b = rng.standard_normal((k, n)).astype(NUMPY[dtype])
    lhs = Access(0, 0, (P(2), 0, 1) if layout[0] == "n" else (1, 0, P(0)))
    rhs = Access(1, 0, (0, 1, P(1)) if layout[1] == "n" else (0, P(2), 1))
    epilogue = [Instr("acc", dtype), Instr("store", dtype, (0,), Access(2, 0, (P(1), 1)))]
    kernel = contract(dtype, lhs, rhs, epilogue, [Arg(dtype, "out")])
    x = np.ascontiguousarray(a if layout[0] == "n" else a.T).ravel()
    y = np.ascontiguousarray(b if layout[1] == "n" else b.T).ravel()
    params = [m, n, k]
    total = units(kernel, params)
    expected = product(a, b).ravel()
    for splits in ((), [total // 2], range(1, total)):
        (_, _, got), _ = run(kernel, [x, y, np.full(m * n, 7, NUMPY[dtype])], params, splits)
        assert same(got, expected)


def walks(digits, base=0):
    """Offsets of all numbers in mixed radix, of (extent, stride) each."""
    offsets = np.array([base])
    for extent, stride in digits:
        offsets = (offsets[:, None] + np.arange(extent) * stride).ravel()
    return offsets


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "columns, depth",
    [(((5, 12), (9, 1)), ((3, 200), (3, 12), (2, 1))), (((70, 3), (9, -1)), ((40, 25), (9, 2)))],
)
def test_digits(columns, depth, turned):
    """An operand that walks columns (or rows) and k in mixed radix, as windows of an image do."""
    rng = np.random.default_rng(1)
    across, along = walks(columns, 20), walks(depth)
    image = rng.standard_normal(across.max() + along.max() + 1).astype("f4")
    n, k = len(across), len(along)
    a, b = rng.standard_normal((6, k)).astype("f4"), image[along[:, None] + across]
    params = [6, n, k, 20]

    def parts(digits):
        params.extend(number for digit in digits for number in digit)
        places = range(len(params) - 2 * len(digits), len(params), 2)
        return tuple((P(at), P(at + 1)) for at in places)

    sides = ("lhs", "i") if turned else ("rhs", "j")
    digits = (Digits(*sides, parts(columns)), Digits(sides[0], "k", parts(depth)))
    plain, walked = Access(0, 0, (P(2), 0, 1)), Access(1, P(3), (0, 0, 0))
    store = Instr("store", "f32", (0,), Access(2, 0, (P(1), 1)))
    if turned:
        params[:2] = [n, 6]
        plain, walked = walked, plain._replace(strides=(0, P(2), 1))
    kernel = contract("f32", plain, walked, [Instr("acc", "f32"), store], [Arg("f32", "out")])
    kernel = kernel._replace(digits=digits)
    verify(kernel)
    expected = product(b.T, a.T) if turned else product(a, b)
    total = units(kernel, params)
    for splits in ((), range(1, total)):
        (_, _, got), _ = run(kernel, [a.ravel(), image, np.zeros(6 * n, "f4")], params, splits)
        assert same(got, expected.ravel())


@pytest.mark.parametrize("m, n, k", [(3, 5, 4), (40, 300, 9), (2, 1000, 300)])
def test_epilogue(m, n, k):
    """A batch of two, a shared rhs; bias, scale by row, a scalar; stored transposed, as f16."""
    rng = np.random.default_rng(k)
    a = rng.standard_normal((2, m, k)).astype("f4")
    b = rng.standard_normal((k, n)).astype("f4")
    bias, scale = rng.standard_normal(n).astype("f4"), rng.standard_normal((2, m)).astype("f4")
    epilogue = [
        Instr("acc", "f32"),
        Instr("load", "f32", (), Access(2, 0, (0, 0, 1))),
        Instr("add", "f32", (0, 1)),
        Instr("load", "f32", (), Access(3, 0, (P(0), 1, 0))),
        Instr("multiply", "f32", (2, 3)),
        Instr("param", "f32", (), P(5)),
        Instr("maximum", "f32", (4, 5)),
        Instr("store", "f32", (6,), Access(4, 0, (P(4), 1, P(0)))),
        Instr("cast", "f16", (6,)),
        Instr("store", "f16", (8,), Access(5, 0, (P(4), P(1), 1))),
        Instr("index", "i64", (), (0, (P(4), P(1), 1))),
        Instr("store", "i64", (10,), Access(6, 0, (P(4), P(1), 1))),
    ]
    others = [
        Arg("f32", "in"),
        Arg("f32", "in"),
        Arg("f32", "out"),
        Arg("f16", "out"),
        Arg("i64", "out"),
    ]
    lhs, rhs = Access(0, 0, (P(3), P(2), 0, 1)), Access(1, 0, (0, 0, 1, P(1)))
    kernel = contract("f32", lhs, rhs, epilogue, others, [Axis(P(6))])
    half = int(np.array([0.5], "f4").view("u4")[0])
    params = [m, n, k, m * k, m * n, half, 2]
    arrays = [a.ravel(), b.ravel(), bias, scale.ravel()]
    zeros = np.zeros(2 * m * n, "f4")
    arrays += [zeros, zeros.astype("f2"), zeros.astype("i8")]
    expected = np.stack([product(x, b) for x in a])
    expected = np.maximum((expected + bias) * scale[:, :, None], np.float32(0.5))
    total = units(kernel, params)
    for splits in ((), range(1, total, 2)):
        got, _ = run(kernel, arrays, params, splits)
        assert same(got[4], np.ascontiguousarray(expected.transpose(0, 2, 1)).ravel())
        assert same(got[5], expected.astype("f2").ravel())
        assert (got[6] == np.arange(2 * m * n)).all()


def test_products_that_cancel_and_overflow():
    """Signed zeros, infinities and NaN go through the sums as the order says."""
    values = np.array([0.0, -0.0, 1e-30, -1e-30, 3e38, -3e38, np.inf, np.nan, 1.0], "f4")
    a, b = np.meshgrid(values, values)
    b = np.ascontiguousarray(b[::-1])
    kernel = contract(
        "f32",
        Access(0, 0, (P(2), 0, 1)),
        Access(1, 0, (0, 1, P(1))),
        [Instr("acc", "f32"), Instr("store", "f32", (0,), Access(2, 0, (P(1), 1)))],
        [Arg("f32", "out")],
    )
    with np.errstate(all="ignore"):
        expected = product(a, b).ravel()
    (_, _, got), _ = run(kernel, [a.ravel(), b.ravel(), np.zeros(81, "f4")], [9, 9, 9])
    assert same(got, expected)
