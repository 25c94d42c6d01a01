"""The interpreter against tests/codegen/reference.py, which is kernel.py to the letter in numpy."""

import numpy as np
import pytest

from charl.core.dtypes import ALL, BY_SHORT
from charl.schedule.kernel import Access, Arg, Axis, Instr, Kernel, P, Stage
from tests.codegen import reference
from tests.codegen.kernels import blocked_scan
from tests.codegen.machine import same
from tests.ops.evaluate import NUMPY
from tests.runtime.interpreter import run, units

LENGTHS = [*range(71), 1023, 1024, 1025, 2048, 2049, 5000]
WIDTHS = [1, 2, 3, 17, 64, 127, 128, 129, 255, 256, 257, 600, 1023, 1024, 1025]
SHORTS = [d.short for d in ALL]


def sample(rng, dtype, n):
    """Random values, special ones among them."""
    target = NUMPY[dtype]
    kind = BY_SHORT[dtype].kind
    if kind == "b":
        return rng.random(n) < 0.5
    if kind in "iu":
        return rng.integers(0, 256, n * target.itemsize, dtype=np.uint8).view(target)
    values = rng.standard_normal(n).astype(target)
    special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0], target)
    where = rng.random(n) < 0.05
    values[where] = rng.choice(special, where.sum())
    return values


def check(kernel, arrays, params, cuts=()):
    """Interpreter and reference agree to the bit, units cut or not. Returns the arrays."""
    expected = [a.copy() for a in arrays]
    error = reference.run(kernel, expected, params)
    total = units(kernel, params)
    for splits in ((), [total // 2], [1, total - 1] if total > 2 else [], *cuts):
        got, problem = run(kernel, arrays, params, splits)
        assert problem == error
        for a, (g, e) in enumerate(zip(got, expected)):
            assert error is not None or same(g, e), f"argument {a} differs"
    return expected


def loads(dtype, *args):
    """Loads of the same element of several arguments, in row order without outer axes."""
    return [Instr("load", dtype, (), Access(a, 0, (1,))) for a in args]


def flat(args, body, once=()):
    stages = ((Stage(False, tuple(once)),) if once else ()) + (Stage(True, tuple(body)),)
    return Kernel(tuple(args), (), Axis(P(0)), "row", None, stages)


# -- maps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", LENGTHS)
def test_map(n):
    rng = np.random.default_rng(n)
    f32 = Arg("f32", "in")
    body = [
        *loads("f32", 0, 1),
        Instr("multiply", "f32", (0, 1)),
        Instr("add", "f32", (2, 0)),
        Instr("subtract", "f32", (3, 2)),
        Instr("store", "f32", (4,), Access(2, 0, (1,))),
    ]
    kernel = flat([f32, f32, Arg("f32", "out")], body)
    check(kernel, [sample(rng, "f32", n), sample(rng, "f32", n), np.zeros(n, "f4")], [n])


@pytest.mark.parametrize("dtype", SHORTS)
@pytest.mark.parametrize("stride", [0, 1, -1, 2, -3, 7])
def test_strides(dtype, stride):
    """A strided load, a strided store; as parameters and, where they can be, as literals."""
    rng = np.random.default_rng(stride + 10)
    n = 1100
    reach = abs(stride) * (n - 1) + 1
    x = sample(rng, dtype, reach)
    first = reach - 1 if stride < 0 else 0
    for load in [P(1)] + ([stride] if stride in (0, 1, -1) else []):
        body = [
            Instr("load", dtype, (), Access(0, P(2), (load,))),
            Instr("store", dtype, (0,), Access(1, 0, (1,))),
        ]
        kernel = flat([Arg(dtype, "in"), Arg(dtype, "out")], body)
        check(kernel, [x, np.zeros(n, NUMPY[dtype])], [n, stride, first])
        if stride:
            body = [
                Instr("load", dtype, (), Access(0, 0, (1,))),
                Instr("store", dtype, (0,), Access(1, P(2), (load,))),
            ]
            kernel = flat([Arg(dtype, "in"), Arg(dtype, "out")], body)
            check(
                kernel, [sample(rng, dtype, n), np.zeros(reach, NUMPY[dtype])], [n, stride, first]
            )


@pytest.mark.parametrize("dtype", SHORTS)
def test_scalars(dtype):
    """Constants and parameters, made in the stage or before it, and arithmetic on them alone."""
    rng = np.random.default_rng(3)
    value = {"b": True, "i": -3, "u": 7, "f": -1.5}[BY_SHORT[dtype].kind]
    bits = int.from_bytes(
        np.array([value], NUMPY[dtype]).tobytes().ljust(8, b"\0"), "little", signed=True
    )
    op = "logical_xor" if dtype == "b1" else "add"
    once = [Instr("param", dtype, (), P(1))]
    body = [
        Instr("const", dtype, (), value),
        Instr(op, dtype, (0, 1)),
        Instr("load", dtype, (), Access(0, 0, (1,))),
        Instr(op, dtype, (2, 3)),
        Instr(op, dtype, (4, 1)),
        Instr("store", dtype, (5,), Access(1, 0, (1,))),
        Instr("store", dtype, (2,), Access(2, 0, (1,))),
    ]
    kernel = flat([Arg(dtype, "in"), Arg(dtype, "out"), Arg(dtype, "out")], body, once)
    for n in (1, 40, 1500):
        zeros = np.zeros(n, NUMPY[dtype])
        check(kernel, [sample(rng, dtype, n), zeros, zeros], [n, bits])


def test_one_value_many_uses():
    """A value stored twice, squared in place, and used after its store."""
    rng = np.random.default_rng(4)
    out = Arg("f32", "out")
    body = [
        *loads("f32", 0),
        Instr("add", "f32", (0, 0)),
        Instr("store", "f32", (1,), Access(1, 0, (1,))),
        Instr("multiply", "f32", (1, 1)),
        Instr("store", "f32", (1,), Access(2, 0, (P(1),))),
        Instr("subtract", "f32", (3, 1)),
        Instr("store", "f32", (5,), Access(3, 0, (1,))),
        Instr("store", "f32", (0,), Access(4, 0, (1,))),
    ]
    kernel = flat([Arg("f32", "in"), out, out, out, out], body)
    n = 1500
    zeros = np.zeros(n, "f4")
    check(kernel, [sample(rng, "f32", n), zeros, np.zeros(2 * n, "f4"), zeros, zeros], [n, 2])


def test_update_in_place():
    rng = np.random.default_rng(5)
    body = [
        Instr("load", "i32", (), Access(0, P(1), (P(2),))),
        Instr("load", "i32", (), Access(1, 0, (1,))),
        Instr("multiply", "i32", (0, 1)),
        Instr("add", "i32", (2, 0)),
        Instr("store", "i32", (3,), Access(0, P(1), (P(2),))),
    ]
    kernel = flat([Arg("i32", "inout"), Arg("i32", "in")], body)
    for stride in (1, 2, -1):
        x = sample(rng, "i32", 4000)
        check(kernel, [x, sample(rng, "i32", 1500)], [1500, 1499 if stride < 0 else 3, stride])


def test_mixed_dtypes_share_registers():
    """Casts between widths, where a register of one width may not be written over by another."""
    rng = np.random.default_rng(6)
    body = [*loads("i8", 0)]
    chain = ["i16", "f64", "f32", "i64", "u8", "f16", "bf16", "f64", "i8"]
    for dtype in chain:
        body.append(Instr("cast", dtype, (len(body) - 1,)))
    body.append(Instr("add", "i8", (0, len(body) - 1)))
    body.append(Instr("store", "i8", (len(body) - 1,), Access(1, 0, (1,))))
    kernel = flat([Arg("i8", "in"), Arg("i8", "out")], body)
    check(kernel, [sample(rng, "i8", 3000), np.zeros(3000, "i1")], [3000])


def test_index_and_where():
    """x where 2 <= j < n - 3 else an index-derived value; operands of three dtypes."""
    rng = np.random.default_rng(7)
    once = [Instr("const", "i64", (), 2), Instr("param", "i64", (), P(2))]
    body = [
        Instr("index", "i64", (), (0, (1,))),
        Instr("greater_equal", "b1", (2, 0)),
        Instr("less", "b1", (2, 1)),
        Instr("logical_and", "b1", (3, 4)),
        Instr("load", "f32", (5,), Access(0, P(1), (1,))),
        Instr("cast", "f32", (2,)),
        Instr("where", "f32", (5, 6, 7)),
        Instr("store", "f32", (8,), Access(1, 0, (1,))),
    ]
    kernel = flat([Arg("f32", "in"), Arg("f32", "out")], body, once)
    for n in (6, 100, 1024, 3000):
        check(kernel, [sample(rng, "f32", n - 5), np.zeros(n, "f4")], [n, -2, n - 3])


def test_gather_and_wrap():
    """Rows of a table at wrapped indices, and the first index out of range."""
    rng = np.random.default_rng(8)
    body = [
        Instr("load", "i64", (), Access(1, 0, (1,))),
        Instr("wrap", "i64", (0,), (P(1), 3)),
        Instr("gather", "f64", (1,), (Access(0, P(3), (0,)), P(2))),
        Instr("store", "f64", (2,), Access(2, 0, (1,))),
    ]
    kernel = flat([Arg("f64", "in"), Arg("i64", "in"), Arg("f64", "out")], body)
    for n in (1, 33, 2500):
        table = sample(rng, "f64", 90)
        index = rng.integers(-30, 30, n)
        check(kernel, [table, index, np.zeros(n)], [n, 30, 3, 1])
        index[n // 2] = 30
        index[n - 1] = -31
        check(kernel, [table, index, np.zeros(n)], [n, 30, 3, 1])


@pytest.mark.parametrize("n", [0, 1, 3, 40, 1025])
@pytest.mark.parametrize("m", [0, 1, 7])
def test_outer_axes(m, n):
    """Two outer axes; a broadcast row, a broadcast column (a row value), a transposed load."""
    rng = np.random.default_rng(9)
    strides = (P(3), P(2), 1)
    body = [
        Instr("load", "f32", (), Access(0, 0, strides)),
        Instr("load", "f32", (), Access(1, 0, (0, 0, 1))),
        Instr("load", "f32", (), Access(2, 0, (P(1), 1, 0))),
        Instr("load", "f32", (), Access(0, 0, (P(3), 1, P(1)))),
        Instr("add", "f32", (0, 1)),
        Instr("multiply", "f32", (4, 2)),
        Instr("subtract", "f32", (5, 3)),
        Instr("store", "f32", (6,), Access(3, 0, strides)),
    ]
    axes = (Axis(P(0)), Axis(P(1)))
    f32 = Arg("f32", "in")
    kernel = Kernel(
        (f32, f32, f32, Arg("f32", "out")),
        axes,
        Axis(P(2)),
        "row",
        None,
        (Stage(True, tuple(body)),),
    )
    k = 3
    x = sample(rng, "f32", max(1, m * k * n))
    arrays = [x, sample(rng, "f32", n), sample(rng, "f32", m * k), np.zeros(m * k * n, "f4")]
    check(kernel, arrays, [m, k, n, k * n], [[1, 2, 5]] if m == 7 else [])


def test_without_inner_axis():
    rng = np.random.default_rng(10)
    body = (
        Instr("load", "f32", (), Access(0, 0, (P(1),))),
        Instr("load", "f32", (), Access(0, 1, (P(1),))),
        Instr("add", "f32", (0, 1)),
        Instr("store", "f32", (2,), Access(1, 0, (1,))),
    )
    kernel = Kernel(
        (Arg("f32", "in"), Arg("f32", "out")),
        (Axis(P(0)),),
        None,
        "row",
        None,
        (Stage(False, body),),
    )
    check(kernel, [sample(rng, "f32", 60), np.zeros(20, "f4")], [20, 3])


# -- reductions ------------------------------------------------------------------------------------

KINDS = [
    (kind, d.short)
    for d in ALL
    for kind in ("add", "mul", "max", "min", "or", "and", "dot")
    if (kind in ("max", "min") or d.short not in ("f16", "bf16"))
    and (kind not in ("or", "and") or d.kind != "f")
    and (kind != "dot" or d.short in ("f32", "f64"))
]


def reduction(order, kind, dtype, block=None):
    """Reduces the last axis of (m, n) in row order, the first of (n, m) in column order."""
    args = (0, 1) if kind == "dot" else (0,)
    along = (P(1), 1) if order == "row" else (1, P(0))
    outer: tuple = (Axis(P(0)),)
    to: tuple = (1, 0)
    if block is not None:
        outer, along, to = (Axis(P(2)), *outer), (0, *along), (P(0), *to)
    body = [Instr("load", dtype, (), Access(a, 0, along)) for a in args]
    body.append(Instr("reduce", dtype, args, kind))
    last = (Instr("store", dtype, (len(args),), Access(len(args), 0, to)),)
    buffers = (*(Arg(dtype, "in") for _ in args), Arg(dtype, "out"))
    return Kernel(
        buffers, outer, Axis(P(1)), order, block, (Stage(True, tuple(body)), Stage(False, last))
    )


@pytest.mark.parametrize("kind, dtype", KINDS)
def test_reduce_rows(kind, dtype):
    rng = np.random.default_rng(11)
    kernel = reduction("row", kind, dtype)
    count = 2 if kind == "dot" else 1
    for n in [*range(0, 71, 7), 31, 32, 33, 64, 1023, 1024, 1025, 1056, 2048, 3333]:
        arrays = [sample(rng, dtype, 3 * n) for _ in range(count)]
        check(kernel, [*arrays, np.zeros(3, NUMPY[dtype])], [3, n])


@pytest.mark.parametrize("kind, dtype", KINDS)
def test_reduce_columns(kind, dtype):
    rng = np.random.default_rng(12)
    kernel = reduction("column", kind, dtype)
    count = 2 if kind == "dot" else 1
    for m, n in [
        (3, 0),
        (1, 1),
        (2, 31),
        (300, 5),
        (40, 32),
        (7, 33),
        (130, 64),
        (1030, 3),
        (1, 200),
    ]:
        arrays = [sample(rng, dtype, m * n) for _ in range(count)]
        check(kernel, [*arrays, np.zeros(m, NUMPY[dtype])], [m, n])


@pytest.mark.parametrize("width", WIDTHS)
def test_reduce_columns_of_all_widths(width):
    rng = np.random.default_rng(width)
    kernel = reduction("column", "add", "f32")
    check(kernel, [sample(rng, "f32", 50 * width), np.zeros(width, "f4")], [width, 50], [[1]])


@pytest.mark.parametrize("n", LENGTHS)
def test_sum_of_all_lengths(n):
    rng = np.random.default_rng(n)
    x = rng.standard_normal(n).astype("f4")
    (_, got) = check(reduction("row", "add", "f32"), [x, np.zeros(1, "f4")], [1, n])
    assert abs(got[0] - x.sum(dtype="f8")) <= n * 6e-8 * np.abs(x).sum()


@pytest.mark.parametrize(
    "order, n", [("row", 32767), ("row", 32768), ("row", 70000), ("column", 1024), ("column", 2500)]
)
def test_reduce_in_blocks(order, n):
    rng = np.random.default_rng(n)
    block = 32768 if order == "row" else 1024
    count, m = -(-n // block), 2 if order == "row" else 300
    kernel = reduction(order, "add", "f32", 0)
    check(kernel, [sample(rng, "f32", m * n), np.zeros(m * count, "f4")], [m, n, count])


@pytest.mark.parametrize("dtype", [s for s in SHORTS if s not in ("f16", "bf16")])
@pytest.mark.parametrize("kind", ["add", "mul", "max", "min"])
def test_scan(kind, dtype):
    rng = np.random.default_rng(13)
    for order in ("row", "column"):
        along = (P(1), 1) if order == "row" else (1, P(0))
        body = (
            Instr("load", dtype, (), Access(0, 0, along)),
            Instr("scan", dtype, (0,), kind),
            Instr("store", dtype, (1,), Access(1, 0, along)),
        )
        buffers = (Arg(dtype, "in"), Arg(dtype, "out"))
        kernel = Kernel(buffers, (Axis(P(0)),), Axis(P(1)), order, None, (Stage(True, body),))
        for m, n in [(3, 0), (1, 1), (2, 40), (2, 1100), (300, 7)]:
            check(kernel, [sample(rng, dtype, m * n), np.zeros(m * n, NUMPY[dtype])], [m, n])


@pytest.mark.parametrize("dtype", [s for s in SHORTS if s not in ("f16", "bf16")])
@pytest.mark.parametrize("kind", ["add", "mul", "max", "min"])
def test_scan_in_a_block(kind, dtype):
    rng = np.random.default_rng(14)
    for order in ("row", "column"):
        kernel = blocked_scan(order, kind, dtype)
        for m, n in [(3, 0), (1, 1), (2, 40), (2, 1023), (300, 7)]:
            x = sample(rng, dtype, m * n)
            check(kernel, [x, np.zeros(m * n, x.dtype), np.zeros(m, x.dtype)], [n, m, 1])


# -- stages and slots ------------------------------------------------------------------------------


def softmax(order):
    along = (P(1), 1) if order == "row" else (1, P(0))
    x = Instr("load", "f32", (), Access(0, 0, along))
    stages = (
        Stage(True, (x, Instr("reduce", "f32", (0,), "max"))),
        Stage(
            True,
            (
                x,
                Instr("subtract", "f32", (2, 1)),
                Instr("square", "f32", (3,)),
                Instr("keep", "f32", (4,), 0),
                Instr("reduce", "f32", (4,), "add"),
                Instr("cast", "f64", (3,)),
                Instr("keep", "f64", (7,), 1),
            ),
        ),
        Stage(
            False, (Instr("store", "f32", (6,), Access(2, 0, (1, 0))), Instr("cast", "f64", (6,)))
        ),
        Stage(
            True,
            (
                Instr("kept", "f32", (), 0),
                Instr("divide", "f32", (11, 6)),
                Instr("store", "f32", (12,), Access(1, 0, along)),
                Instr("kept", "f64", (), 1),
                Instr("multiply", "f64", (14, 10)),
                Instr("store", "f64", (15,), Access(3, 0, along)),
            ),
        ),
    )
    buffers = (Arg("f32", "in"), Arg("f32", "out"), Arg("f32", "out"), Arg("f64", "out"))
    return Kernel(buffers, (Axis(P(0)),), Axis(P(1)), order, None, stages, ("f32", "f64"))


@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("m, n", [(1, 1), (3, 33), (2, 1500), (300, 40), (130, 3), (5, 0)])
def test_stages(order, m, n):
    rng = np.random.default_rng(m + n)
    zeros = np.zeros(m * n, "f4")
    arrays = [sample(rng, "f32", m * n), zeros, np.zeros(m, "f4"), zeros.astype("f8")]
    check(softmax(order), arrays, [m, n])


def test_variance_over_two_axes_of_three():
    """(a, n, b): reduces the middle axis, in column order with another outer axis."""
    along = (P(3), 1, P(2))
    x = Instr("load", "f64", (), Access(0, 0, along))
    stages = (
        Stage(True, (x, Instr("reduce", "f64", (0,), "add"))),
        Stage(False, (Instr("param", "f64", (), P(4)), Instr("divide", "f64", (1, 2)))),
        Stage(True, (x, Instr("subtract", "f64", (4, 3)), Instr("reduce", "f64", (5, 5), "dot"))),
        Stage(
            False,
            (
                Instr("divide", "f64", (6, 2)),
                Instr("store", "f64", (7,), Access(1, 0, (P(2), 1, 0))),
            ),
        ),
    )
    axes = (Axis(P(0)), Axis(P(2)))
    kernel = Kernel((Arg("f64", "in"), Arg("f64", "out")), axes, Axis(P(1)), "column", None, stages)
    rng = np.random.default_rng(14)
    for a, n, b in [(1, 1, 1), (3, 50, 20), (2, 33, 700), (4, 9, 130)]:
        x = rng.standard_normal((a, n, b))
        bits = int(np.array([float(n)]).view(np.int64)[0])
        got = check(kernel, [x.ravel(), np.zeros(a * b)], [a, n, b, n * b, bits], [[1, 2]])
        np.testing.assert_allclose(got[1].reshape(a, b), x.var(1), rtol=1e-12, atol=1e-15)


def test_columns_that_do_not_lie_side_by_side():
    """Column order over a transposed array, with a row value for each step and a strided store."""
    stages = (
        Stage(
            True,
            (
                Instr("load", "i32", (), Access(0, 0, (P(1), 1))),
                Instr("load", "i32", (), Access(1, 0, (0, 1))),
                Instr("add", "i32", (0, 1)),
                Instr("index", "i64", (), (P(3), (P(2), 1))),
                Instr("cast", "i32", (3,)),
                Instr("multiply", "i32", (2, 4)),
                Instr("store", "i32", (5,), Access(2, 0, (P(2), P(3)))),
                Instr("reduce", "i32", (5,), "add"),
            ),
        ),
        Stage(False, (Instr("store", "i32", (7,), Access(3, 0, (1, 0))),)),
    )
    args = (Arg("i32", "in"), Arg("i32", "in"), Arg("i32", "out"), Arg("i32", "out"))
    kernel = Kernel(args, (Axis(P(0)),), Axis(P(1)), "column", None, stages)
    rng = np.random.default_rng(15)
    for m, n in [(1, 1), (3, 40), (200, 40), (300, 2)]:
        wide = 3 * n
        arrays = [
            sample(rng, "i32", m * n),
            sample(rng, "i32", n),
            np.zeros(m * wide, "i4"),
            np.zeros(m, "i4"),
        ]
        check(kernel, arrays, [m, n, wide, 3])
