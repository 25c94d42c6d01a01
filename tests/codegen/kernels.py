"""Kernels written by hand, one for each thing a Kernel can say, with arrays and params."""

import numpy as np

from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import Access, Arg, Axis, Instr, Kernel, P, Stage
from tests.ops.evaluate import NUMPY
from tests.ops.samples import random

CASES = {}


def case(make):
    """make(n, rng) -> (kernel, arrays, params), for an inner extent (or column count) n >= 1."""
    CASES[make.__name__] = make
    return make


def values(dtype, n, rng):
    """Ordinary numbers, no overflow and no NaN."""
    if BY_SHORT[dtype].kind == "f":
        return rng.normal(size=n).astype(NUMPY[dtype])
    return random(dtype, n, rng)


def args(*pairs):
    return tuple(Arg(dtype, mode) for dtype, mode in pairs)


def loop(*body):
    return Stage(True, tuple(Instr(*i) for i in body))


def once(*body):
    return Stage(False, tuple(Instr(*i) for i in body))


def flat(args, *body):
    return Kernel(args, (), Axis(P(0)), "row", None, (loop(*body),))


def table_op(op, kinds, result):
    """A 1-D map of one op."""
    n = len(kinds)
    loads = [("load", d, (), Access(k, 0, (1,))) for k, d in enumerate(kinds)]
    return flat(
        args(*((d, "in") for d in kinds), (result, "out")),
        *loads,
        (op, result, tuple(range(n))),
        ("store", result, (n,), Access(n, 0, (1,))),
    )


@case
def add(n, rng):
    return (
        table_op("add", ("f32", "f32"), "f32"),
        [values("f32", n, rng), values("f32", n, rng), np.zeros(n, "f4")],
        [n],
    )


@case
def mixed_widths(n, rng):
    """i8, bool and f64 in one body: compare, cast, select."""
    k = flat(
        args(("i8", "in"), ("f64", "in"), ("f64", "out"), ("b1", "out")),
        ("load", "i8", (), Access(0, 0, (1,))),
        ("load", "f64", (), Access(1, 0, (1,))),
        ("cast", "f64", (0,)),
        ("less", "b1", (1, 2)),
        ("where", "f64", (3, 1, 2)),
        ("store", "f64", (4,), Access(2, 0, (1,))),
        ("store", "b1", (3,), Access(3, 0, (1,))),
    )
    return k, [values("i8", n, rng), values("f64", n, rng), np.zeros(n), np.zeros(n, bool)], [n]


def rounds(body, x, limit, count):
    """Rounds of x = where(x < limit, f(x), x), and what else takes the condition; the last x."""
    for _ in range(count):
        n = len(body)
        body += [
            ("less", "b1", (x, limit)),
            ("mul", "f64", (x, x)),
            ("add", "f64", (n + 1, limit)),
            ("add", "f64", (n + 2, n + 1)),
            ("mul", "f64", (n + 3, n + 2)),
            ("where", "f64", (n, n + 4, x)),
            ("where", "f64", (n, n + 4, limit)),  # goes along
            ("tanh", "f64", (n + 5,)),
            ("where", "f64", (n, x, n + 7)),  # the other side, which waits for the first
            ("add", "f64", (n + 8, n + 6)),
        ]
        x = n + 9
    return x


def some_wanted(n, rng):
    """Runs of elements of which all, none or some take a costly operand."""
    x = values("f64", n, rng)
    return np.where(
        np.arange(n) // 40 % 3 == 0, x - 4.0, np.where(np.arange(n) // 40 % 3 == 1, x + 9.0, x)
    )


@case
def wanted(n, rng):
    """Costly operands of `where`: their conditions hold for all lanes, none, or some."""
    body = [("load", "f64", (), Access(0, 0, (1,))), ("const", "f64", (), 0.5)]
    x = rounds(body, 0, 1, 3)
    body.append(("store", "f64", (x,), Access(1, 0, (1,))))
    k = flat(args(("f64", "in"), ("f64", "out")), *body)
    return k, [some_wanted(n, rng), np.zeros(n)], [n]


@case
def wanted_bits(n, rng):
    """The same of bools and of a condition that is one for all lanes of a row."""
    at = Access(0, 0, (P(1), 1))
    body = [
        ("load", "f64", (), at),
        ("load", "f64", (), Access(1, 0, (1, 0))),
        ("const", "f64", (), 0.0),
        ("less", "b1", (0, 2)),
        ("exp", "f64", (0,)),
        ("less", "b1", (4, 1)),
        ("where", "b1", (3, 5, 3)),
        ("less", "b1", (1, 2)),
        ("log", "f64", (1,)),
        ("exp", "f64", (8,)),
        ("where", "f64", (7, 1, 9)),
        ("where", "f64", (6, 0, 10)),
        ("store", "b1", (6,), Access(2, 0, (P(1), 1))),
        ("store", "f64", (11,), Access(3, 0, (P(1), 1))),
    ]
    kinds = args(("f64", "in"), ("f64", "in"), ("b1", "out"), ("f64", "out"))
    k = Kernel(kinds, (Axis(P(0)),), Axis(P(1)), "row", None, (loop(*body),))
    arrays = [some_wanted(3 * n, rng), np.array([-1.0, 0.5, 2.0]), np.zeros(3 * n, bool)]
    return k, [*arrays, np.zeros(3 * n)], [3, n]


@case
def wanted_columns(n, rng):
    """In column order, down (37, n), before a sum."""
    body = [("load", "f64", (), Access(0, 0, (1, P(0)))), ("const", "f64", (), 0.5)]
    x = rounds(body, 0, 1, 2)
    body.append(("reduce", "f64", (x,), "max"))
    total = len(body) - 1
    stages = (loop(*body), once(("store", "f64", (total,), Access(1, 0, (1, 0)))))
    k = Kernel(
        args(("f64", "in"), ("f64", "out")), (Axis(P(0)),), Axis(P(1)), "column", None, stages
    )
    return k, [some_wanted(37 * n, rng), np.zeros(n)], [n, 37]


@case
def strides(n, rng):
    """Reversed, broadcast, strided and shifted loads; a strided and a reversed store."""
    k = flat(
        args(("f32", "in"), ("u8", "in"), ("f32", "out"), ("u8", "out")),
        ("load", "f32", (), Access(0, P(1), (-1,))),
        ("load", "f32", (), Access(0, P(1), (0,))),
        ("load", "f32", (), Access(0, 1, (P(2),))),
        ("load", "u8", (), Access(1, 0, (P(2),))),
        ("add", "f32", (0, 1)),
        ("add", "f32", (4, 2)),
        ("store", "f32", (5,), Access(2, 0, (P(2),))),
        ("store", "u8", (3,), Access(3, P(1), (-1,))),
    )
    return (
        k,
        [
            values("f32", 3 * n, rng),
            values("u8", 3 * n, rng),
            np.zeros(3 * n, "f4"),
            np.zeros(n, "u1"),
        ],
        [n, n - 1, 3],
    )


@case
def predicate(n, rng):
    """Padding: loads of all strides that read nothing outside."""
    k = flat(
        args(("f32", "in"), ("i16", "in"), ("f32", "out"), ("i16", "out")),
        ("index", "i64", (), (0, (1,))),
        ("param", "i64", (), P(1)),
        ("less", "b1", (0, 1)),
        ("load", "f32", (2,), Access(0, 0, (1,))),
        ("load", "i16", (2,), Access(1, 0, (P(2),))),
        ("load", "f32", (2,), Access(0, 0, (0,))),
        ("add", "f32", (3, 5)),
        ("store", "f32", (6,), Access(2, 0, (1,))),
        ("store", "i16", (4,), Access(3, 0, (1,))),
    )
    m = n // 2
    return (
        k,
        [values("f32", m, rng), values("i16", 2 * m, rng), np.zeros(n, "f4"), np.zeros(n, "i2")],
        [n, m, 2],
    )


@case
def uniform_arithmetic(n, rng):
    """Params and constants: all of it ahead of the loop."""
    bits = int(np.float32(0.7).view(np.int32))
    k = flat(
        args(("f32", "in"), ("f32", "in"), ("f32", "out")),
        ("param", "f32", (), P(1)),
        ("const", "f32", (), 2.5),
        ("mul", "f32", (0, 1)),
        ("sqrt", "f32", (2,)),
        ("load", "f32", (), Access(0, 0, (0,))),
        ("add", "f32", (3, 4)),
        ("load", "f32", (), Access(1, 0, (1,))),
        ("mul", "f32", (5, 6)),
        ("store", "f32", (7,), Access(2, 0, (1,))),
    )
    return k, [values("f32", 1, rng), values("f32", n, rng), np.zeros(n, "f4")], [n, bits]


@case
def store_of_a_scalar(n, rng):
    k = flat(
        args(("i64", "out"), ("b1", "out")),
        ("param", "i64", (), P(1)),
        ("const", "b1", (), True),
        ("store", "i64", (0,), Access(0, 0, (1,))),
        ("store", "b1", (1,), Access(1, 0, (1,))),
    )
    return k, [np.zeros(n, "i8"), np.zeros(n, bool)], [n, -(2**62)]


@case
def three_outer_axes(n, rng):
    """(2, 3, 4, n), one axis broadcast."""
    at = Access(0, 0, (P(4), 0, P(5), 1))
    to = Access(1, 0, (P(6), P(7), P(0), 1))
    k = Kernel(
        args(("i32", "in"), ("i32", "out")),
        (Axis(P(1)), Axis(P(2)), Axis(P(3))),
        Axis(P(0)),
        "row",
        None,
        (
            loop(
                ("load", "i32", (), at),
                ("index", "i64", (), (0, (P(7), P(0), 1, 1))),
                ("cast", "i32", (1,)),
                ("add", "i32", (0, 2)),
                ("store", "i32", (3,), to),
            ),
        ),
    )
    return (
        k,
        [values("i32", 8 * n, rng), np.zeros(24 * n, "i4")],
        [n, 2, 3, 4, 4 * n, n, 12 * n, 4 * n],
    )


@case
def across(n, rng):
    """Two operands whose elements are consecutive down the rows, and one along them."""
    k = Kernel(
        args(("f32", "in"), ("i8", "in"), ("f32", "in"), ("f32", "out")),
        (Axis(P(0)), Axis(P(1))),
        Axis(P(2)),
        "row",
        None,
        (
            once(("param", "f32", (), P(6))),
            loop(
                ("load", "f32", (), Access(0, 0, (P(4), 1, P(3)))),
                ("load", "i8", (), Access(1, 1, (0, 1, P(3)))),
                ("cast", "f32", (2,)),
                ("load", "f32", (), Access(2, 0, (P(4), P(5), 1))),
                ("add", "f32", (1, 3)),
                ("multiply", "f32", (5, 4)),
                ("add", "f32", (6, 0)),
                ("store", "f32", (7,), Access(3, 0, (P(4), P(5), 1))),
            ),
        ),
    )
    m = 67 if n > 70 else 19
    arrays = [values("f32", 2 * m * n, rng), values("i8", m * n + 1, rng)]
    arrays += [values("f32", 2 * m * n, rng), np.zeros(2 * m * n, "f4")]
    bits = int(np.float32(0.5).view("i4"))
    return k, arrays, [2, m, n, m, m * n, n, bits]


@case
def in_place(n, rng):
    k = Kernel(
        args(("f64", "inout"), ("f64", "in")),
        (Axis(P(1)),),
        Axis(P(0)),
        "row",
        None,
        (
            loop(
                ("load", "f64", (), Access(0, 0, (P(0), 1))),
                ("load", "f64", (), Access(1, 0, (1, 0))),
                ("mul", "f64", (0, 1)),
                ("store", "f64", (2,), Access(0, 0, (P(0), 1))),
            ),
        ),
    )
    return k, [values("f64", 3 * n, rng), values("f64", 3, rng)], [n, 3]


def reduction(kind, dtype, order="row"):
    """Over the inner axis of (m, n) in row order, of (n, m) in column order; then stored, once an
    outer index.
    """
    access = Access(0, 0, (P(0), 1)) if order == "row" else Access(0, 0, (1, P(1)))
    more = [("load", dtype, (), access)] if kind == "dot" else []
    operands = (0, 1) if kind == "dot" else (0,)
    at = len(operands)
    return Kernel(
        args((dtype, "in"), (dtype, "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        order,
        None,
        (
            loop(("load", dtype, (), access), *more, ("reduce", dtype, operands, kind)),
            once(("store", dtype, (at,), Access(1, 0, (1, 0)))),
        ),
    )


@case
def softmax(n, rng):
    at, to = Access(0, 0, (P(0), 1)), Access(1, 0, (P(0), 1))
    k = Kernel(
        args(("f32", "in"), ("f32", "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        "row",
        None,
        (
            loop(("load", "f32", (), at), ("reduce", "f32", (0,), "max")),
            loop(
                ("load", "f32", (), at),
                ("sub", "f32", (2, 1)),
                ("exp", "f32", (3,)),
                ("keep", "f32", (4,), 0),
                ("reduce", "f32", (4,), "add"),
            ),
            loop(("kept", "f32", (), 0), ("div", "f32", (7, 6)), ("store", "f32", (8,), to)),
        ),
        ("f32",),
    )
    return k, [values("f32", 3 * n, rng), np.zeros(3 * n, "f4")], [n, 3]


@case
def column_softmax(n, rng):
    """Over the first axis of (37, n), with a second slot of another width."""
    at, to = Access(0, 0, (1, P(0))), Access(1, 0, (1, P(0)))
    k = Kernel(
        args(("f32", "in"), ("f32", "out")),
        (Axis(P(0)),),
        Axis(P(1)),
        "column",
        None,
        (
            loop(("load", "f32", (), at), ("reduce", "f32", (0,), "max")),
            loop(
                ("load", "f32", (), at),
                ("sub", "f32", (2, 1)),
                ("exp", "f32", (3,)),
                ("keep", "f32", (4,), 0),
                ("cast", "f64", (4,)),
                ("keep", "f64", (6,), 1),
                ("reduce", "f64", (6,), "add"),
            ),
            once(("cast", "f32", (8,))),
            loop(
                ("kept", "f32", (), 0),
                ("div", "f32", (10, 9)),
                ("kept", "f64", (), 1),
                ("cast", "f32", (12,)),
                ("add", "f32", (11, 13)),
                ("store", "f32", (14,), to),
            ),
        ),
        ("f32", "f64"),
    )
    return k, [values("f32", 37 * n, rng), np.zeros(37 * n, "f4")], [n, 37]


@case
def column_statistics(n, rng):
    """Mean and variance down the columns of (3, 70, n), scaled by batch and by column."""
    at, one = Access(0, 0, (P(2), 1, P(0))), Access(1, 0, (1, 0, 0))
    k = Kernel(
        args(("f64", "in"), ("f64", "in"), ("f64", "in"), ("f64", "out"), ("f64", "out")),
        (Axis(P(3)), Axis(P(0))),
        Axis(P(1)),
        "column",
        None,
        (
            once(
                ("load", "f64", (), one),
                ("load", "f64", (), Access(2, 0, (0, 1, 0))),
                ("mul", "f64", (0, 1)),
            ),
            loop(("load", "f64", (), at), ("mul", "f64", (3, 2)), ("reduce", "f64", (4,), "add")),
            once(
                ("const", "f64", (), 70.0),
                ("div", "f64", (5, 6)),
                ("store", "f64", (7,), Access(3, 0, (P(0), 1, 0))),
            ),
            loop(
                ("load", "f64", (), at),
                ("sub", "f64", (9, 7)),
                ("mul", "f64", (10, 0)),
                ("reduce", "f64", (10, 11), "dot"),
            ),
            once(("store", "f64", (12,), Access(4, 0, (P(0), 1, 0)))),
        ),
    )
    arrays = [
        values("f64", 210 * n, rng),
        values("f64", 3, rng),
        values("f64", n, rng),
        np.zeros(3 * n),
        np.zeros(3 * n),
    ]
    return k, arrays, [n, 70, 70 * n, 3]


@case
def variance(n, rng):
    """Two reductions in one stage, then one that depends on them; row arithmetic between."""
    at = Access(0, 0, (P(0), 1))
    k = Kernel(
        args(("f64", "in"), ("f64", "out"), ("f64", "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        "row",
        None,
        (
            loop(
                ("load", "f64", (), at),
                ("reduce", "f64", (0,), "add"),
                ("reduce", "f64", (0,), "min"),
            ),
            once(("param", "f64", (), P(2)), ("div", "f64", (1, 3)), ("add", "f64", (4, 2))),
            loop(("load", "f64", (), at), ("sub", "f64", (6, 4)), ("reduce", "f64", (7, 7), "dot")),
            once(
                ("store", "f64", (8,), Access(1, 0, (1, 0))),
                ("store", "f64", (5,), Access(2, 0, (1, 0))),
            ),
        ),
    )
    bits = int(np.float64(n).view(np.int64))
    return k, [values("f64", 3 * n, rng), np.zeros(3), np.zeros(3)], [n, 3, bits]


@case
def scan(n, rng):
    """Inclusive prefix sums of a product, and their maximum."""
    k = Kernel(
        args(("f32", "in"), ("f32", "out"), ("f32", "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        "row",
        None,
        (
            loop(
                ("load", "f32", (), Access(0, 0, (P(0), 1))),
                ("mul", "f32", (0, 0)),
                ("scan", "f32", (1,), "add"),
                ("store", "f32", (2,), Access(1, 0, (P(0), 1))),
                ("reduce", "f32", (2,), "max"),
            ),
            once(("store", "f32", (4,), Access(2, 0, (1, 0)))),
        ),
    )
    return k, [values("f32", 3 * n, rng), np.zeros(3 * n, "f4"), np.zeros(3, "f4")], [n, 3]


@case
def column_scan(n, rng):
    k = Kernel(
        args(("i64", "in"), ("i64", "out")),
        (Axis(P(0)),),
        Axis(P(1)),
        "column",
        None,
        (
            loop(
                ("load", "i64", (), Access(0, 0, (1, P(0)))),
                ("scan", "i64", (0,), "mul"),
                ("store", "i64", (1,), Access(1, 0, (1, P(0)))),
            ),
        ),
    )
    return k, [values("i64", 40 * n, rng), np.zeros(40 * n, "i8")], [n, 40]


@case
def take_rows(n, rng):
    """x[idx]: the row's index is one value, its elements are consecutive."""
    k = Kernel(
        args(("f32", "in"), ("i64", "in"), ("f32", "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        "row",
        None,
        (
            loop(
                ("load", "i64", (), Access(1, 0, (1, 0))),
                ("wrap", "i64", (0,), (P(2), 3)),
                ("gather", "f32", (1,), (Access(0, 0, (0, 1)), P(0))),
                ("store", "f32", (2,), Access(2, 0, (P(0), 1))),
            ),
        ),
    )
    return (
        k,
        [values("f32", 5 * n, rng), np.array([4, -5, 0, -1]), np.zeros(4 * n, "f4")],
        [n, 4, 5],
    )


@case
def take_elements(n, rng):
    """x[:, idx] of dtypes f32 and u8, indices of either sign."""
    k = Kernel(
        args(("f32", "in"), ("u8", "in"), ("i64", "in"), ("f32", "out"), ("u8", "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        "row",
        None,
        (
            loop(
                ("load", "i64", (), Access(2, 0, (0, 1))),
                ("wrap", "i64", (0,), (P(2), 0)),
                ("gather", "f32", (1,), (Access(0, 0, (P(2), 0)), 1)),
                ("gather", "u8", (1,), (Access(1, 0, (1, 0)), P(1))),
                ("store", "f32", (2,), Access(3, 0, (P(0), 1))),
                ("store", "u8", (3,), Access(4, 0, (P(0), 1))),
            ),
        ),
    )
    index = rng.integers(-7, 7, n)
    return (
        k,
        [
            values("f32", 21, rng),
            values("u8", 21, rng),
            index,
            np.zeros(3 * n, "f4"),
            np.zeros(3 * n, "u1"),
        ],
        [n, 3, 7],
    )


@case
def column_gathers(n, rng):
    """Down columns: indices by column and by step, a predicate of either kind, an index."""
    body = loop(
        ("load", "i64", (), Access(1, 0, (1, 0))),
        ("wrap", "i64", (0,), (P(1), 0)),
        ("gather", "f32", (1,), (Access(0, 0, (1, 0)), P(0))),
        ("load", "i64", (), Access(2, 0, (0, 1))),
        ("wrap", "i64", (3,), (P(0), 1)),
        ("gather", "f32", (4,), (Access(0, 0, (0, P(0))), 1)),
        ("index", "i64", (), (-3, (1, P(1)))),
        ("less", "b1", (0, 3)),
        ("load", "f32", (7,), Access(0, 0, (1, P(0)))),
        ("const", "i64", (), 4),
        ("less", "b1", (3, 9)),
        ("load", "f32", (10,), Access(0, 0, (0, P(0)))),
        ("load", "f32", (10,), Access(0, 0, (1, P(0)))),
        ("add", "f32", (2, 5)),
        ("add", "f32", (13, 8)),
        ("add", "f32", (14, 11)),
        ("add", "f32", (15, 12)),
        ("store", "f32", (16,), Access(3, 0, (1, P(0)))),
        ("store", "i64", (6,), Access(4, 0, (P(1), 1))),
    )
    k = Kernel(
        args(("f32", "in"), ("i64", "in"), ("i64", "in"), ("f32", "out"), ("i64", "out")),
        (Axis(P(0)),),
        Axis(P(1)),
        "column",
        None,
        (body,),
    )
    arrays = [values("f32", 37 * n, rng), rng.integers(-37, 37, n), rng.integers(-n, n, 37)]
    return k, [*arrays, np.zeros(37 * n, "f4"), np.zeros(37 * n, "i8")], [n, 37]


@case
def diagonal_gather(n, rng):
    """A gather whose own access moves with the inner axis: x[j, idx[j]]."""
    k = flat(
        args(("i16", "in"), ("i64", "in"), ("i16", "out")),
        ("load", "i64", (), Access(1, 0, (1,))),
        ("gather", "i16", (0,), (Access(0, 0, (P(1),)), 1)),
        ("store", "i16", (1,), Access(2, 0, (1,))),
    )
    return k, [values("i16", 3 * n, rng), rng.integers(0, 3, n), np.zeros(n, "i2")], [n, 3]


@case
def halves(n, rng):
    """f16 and bf16 through loads, select, maximum, casts and stores."""
    k = Kernel(
        args(("f16", "in"), ("bf16", "in"), ("f16", "out"), ("bf16", "out"), ("f16", "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        "row",
        None,
        (
            loop(
                ("load", "f16", (), Access(0, 0, (P(0), 1))),
                ("load", "bf16", (), Access(1, 0, (P(0), 1))),
                ("cast", "f32", (1,)),
                ("cast", "f16", (2,)),
                ("maximum", "f16", (0, 3)),
                ("cast", "bf16", (4,)),
                ("const", "bf16", (), 1.5),
                ("less", "b1", (5, 6)),
                ("where", "bf16", (7, 5, 6)),
                ("store", "f16", (4,), Access(2, 0, (P(0), 1))),
                ("store", "bf16", (8,), Access(3, 0, (P(0), 1))),
                ("reduce", "f16", (4,), "max"),
            ),
            once(("store", "f16", (11,), Access(4, 0, (1, 0)))),
        ),
    )
    zeros = [np.zeros(2 * n, NUMPY[d]) for d in ("f16", "bf16")]
    return (
        k,
        [values("f16", 2 * n, rng), values("bf16", 2 * n, rng), *zeros, np.zeros(2, "f2")],
        [n, 2],
    )


@case
def only_scalars(n, rng):
    """No axes at all."""
    k = Kernel(
        args(("f64", "in"), ("f64", "out")),
        (),
        None,
        "row",
        None,
        (
            once(
                ("load", "f64", (), Access(0, P(0), ())),
                ("square", "f64", (0,)),
                ("store", "f64", (1,), Access(1, 0, ())),
            ),
        ),
    )
    return k, [values("f64", n + 1, rng), np.zeros(1)], [n]


@case
def rows_without_an_inner_axis(n, rng):
    k = Kernel(
        args(("b1", "in"), ("i8", "in"), ("i8", "out")),
        (Axis(P(0)),),
        None,
        "row",
        None,
        (
            once(
                ("load", "b1", (), Access(0, 0, (1,))),
                ("load", "i8", (0,), Access(1, 0, (1,))),
                ("store", "i8", (1,), Access(2, 0, (1,))),
            ),
        ),
    )
    return k, [values("b1", n, rng), values("i8", n, rng), np.zeros(n, "i1")], [n]


@case
def whole_sum(n, rng):
    """No outer axes: one unit."""
    k = Kernel(
        args(("f32", "in"), ("f32", "out")),
        (),
        Axis(P(0)),
        "row",
        None,
        (
            loop(("load", "f32", (), Access(0, 0, (1,))), ("reduce", "f32", (0,), "add")),
            once(("store", "f32", (1,), Access(1, 0, (0,)))),
        ),
    )
    return k, [values("f32", n, rng), np.zeros(1, "f4")], [n]


def _blocks(order):
    """outer, block, and accesses (of x's element, of a BLOCK's value); params are the inner extent n,
    m and the number of blocks: outer (m, blocks) by row, (blocks, m) by column.
    """
    if order == "row":
        return (Axis(P(1)), Axis(P(2))), 1, (P(0), 0, 1), (P(2), 1, 0)
    return (Axis(P(2)), Axis(P(1))), 0, (0, 1, P(1)), (P(1), 1, 0)


def blocked(order):
    """Partial sums of the BLOCKs of the inner axis."""
    outer, block, at, to = _blocks(order)
    stages = (
        loop(("load", "f32", (), Access(0, 0, at)), ("reduce", "f32", (0,), "add")),
        once(("store", "f32", (1,), Access(1, 0, to))),
    )
    return Kernel(args(("f32", "in"), ("f32", "out")), outer, Axis(P(0)), order, block, stages)


def blocked_scan(order, kind="add", dtype="f32"):
    """Scans within the BLOCKs of the inner axis, and their totals."""
    outer, block, at, to = _blocks(order)
    stages = (
        loop(
            ("load", dtype, (), Access(0, 0, at)),
            ("scan", dtype, (0,), kind),
            ("store", dtype, (1,), Access(1, 0, at)),
            ("reduce", dtype, (1,), "last"),
        ),
        once(("store", dtype, (3,), Access(2, 0, to))),
    )
    buffers = args((dtype, "in"), (dtype, "out"), (dtype, "out"))
    return Kernel(buffers, outer, Axis(P(0)), order, block, stages)


@case
def scan_in_a_block(n, rng):
    x = abs(values("f32", 3 * n, rng))
    return blocked_scan("row"), [x, np.zeros_like(x), np.zeros(3, "f4")], [n, 3, 1]


@case
def column_scan_in_a_block(n, rng):
    x = abs(values("f32", 40 * n, rng))
    return blocked_scan("column"), [x, np.zeros_like(x), np.zeros(40, "f4")], [n, 40, 1]
