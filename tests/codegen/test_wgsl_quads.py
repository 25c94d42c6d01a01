"""Kernels that take four neighbours at a time, around each boundary, against the reference."""

import numpy as np
import pytest

from charl.codegen import wgsl
from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import Access, Axis, Kernel, P
from tests.codegen import kernels, shaders
from tests.codegen.test_wgsl import MASKS, check, features

DTYPES = list(BY_SHORT)


def copies(dtype, load, store, outer=1):
    """a1 = a0 (for bool, not a0) over outer axes p1.. and j < p0."""
    op = "logical_not" if dtype == "b1" else "maximum"
    args = (0,) if dtype == "b1" else (0, 0)
    return Kernel(
        kernels.args((dtype, "in"), (dtype, "inout")),
        tuple(Axis(P(1 + k)) for k in range(outer)),
        Axis(P(0)),
        "row",
        None,
        (
            kernels.loop(
                ("load", dtype, (), load), (op, dtype, args), ("store", dtype, (1,), store)
            ),
        ),
    )


def texts(kernel, params):
    return wgsl.emit(kernel, features("full"), *wgsl.suited(kernel, params)).text


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_line(dtype, mask):
    """What lies past the end keeps its bits: in the array, and behind it."""
    kernel = copies(dtype, Access(0, P(1), (1,)), Access(1, P(2), (1,)), outer=0)
    rng = np.random.default_rng(1)
    for n in (1, 2, 3, 4, 5, 7, 8, 1023, 1024, 1030):
        for first, to in ((0, 0), (4, 8), (1, 0), (0, 3), (8, 2)):
            x, y = (kernels.values(dtype, k, rng) for k in (n + first, n + to + 5))
            check(kernel, [x, y], [n, first, to], mask)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows(dtype, mask):
    """Rows of any length, begun at multiples of four and not."""
    kernel = copies(dtype, Access(0, P(3), (P(2), 1)), Access(1, 0, (P(4), 1)))
    rng = np.random.default_rng(2)
    for n in (1, 3, 4, 5, 8, 33, 64):
        for pad, first in ((0, 0), (3, 0), (4, 4), (8, 1)):
            x = kernels.values(dtype, 9 * (n + pad) + first, rng)
            y = kernels.values(dtype, 9 * (n + 4), rng)
            check(kernel, [x, y], [n, 9, n + pad, first, n + 4], mask)


@pytest.mark.parametrize("dtype", ["f32", "u8", "i16", "f64"])
def test_transposed(dtype):
    """A workgroup covers a square; the batch axis lies ahead, between, and within."""
    rng = np.random.default_rng(3)
    for m, n in ((1, 1), (5, 4), (33, 31), (64, 32), (40, 100), (7, 4000)):
        load = Access(0, 0, (P(3), 1, P(2)))
        kernel = copies(dtype, load, Access(1, 0, (P(3), P(0), 1)), outer=2)
        x = kernels.values(dtype, 2 * m * n, rng)
        check(kernel, [x, np.zeros_like(x)], [n, 2, m, m * n])


def test_neighbours_follow_what_is_stored():
    """The longest axis is the inner one, the stored array's last axis is shorter."""
    kernel = copies("f32", Access(0, 0, (1, P(1))), Access(1, 0, (1, P(1))))
    x = kernels.values("f32", 3 * 700, np.random.default_rng(4))
    check(kernel, [x, np.zeros_like(x)], [700, 3])
    assert "let i0 = element % params[4u]" in texts(kernel, [700, 3])


@pytest.mark.parametrize("dtype", ["f32", "u8", "b1", "f16", "f64"])
def test_broadcast_and_predicate(dtype):
    """Loads that are the same for all four, that stand still, and that may read nothing."""
    at, none = Access(0, 0, (0, 1)), Access(1, 0, (1, 0))
    kernel = Kernel(
        kernels.args((dtype, "in"), (dtype, "in"), (dtype, "in"), (dtype, "out"), (dtype, "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        "row",
        None,
        (
            kernels.loop(
                ("load", dtype, (), at),
                ("load", dtype, (), none),
                ("index", "i64", (), (0, (P(0), 1))),
                ("param", "i64", (), P(2)),
                ("less", "b1", (2, 3)),
                ("load", dtype, (4,), Access(2, 0, (P(0), 1))),
                ("where", dtype, (4, 0, 1)),
                ("store", dtype, (6,), Access(3, 0, (P(0), 1))),
                ("store", dtype, (5,), Access(4, 0, (P(0), 1))),
            ),
        ),
    )
    rng = np.random.default_rng(5)
    for n in (4, 6, 40):
        x, y, z = (kernels.values(dtype, k, rng) for k in (n, 5, 3 * n + 2))
        out = np.zeros(5 * n, z.dtype)
        check(kernel, [x, y, z, out, out.copy()], [n, 5, 3 * n + 2])


def test_what_is_a_vector():
    kernel = copies("f32", Access(0, P(3), (P(2), 1)), Access(1, 0, (P(4), 1)))
    assert texts(kernel, [8, 9, 12, 4, 8]).count("array<vec4<f32>>") == 2
    assert texts(kernel, [8, 9, 12, 1, 8]).count("array<vec4<f32>>") == 1
    assert texts(kernel, [9, 9, 12, 4, 12]).count("array<vec4<f32>>") == 0
    words = copies("u8", Access(0, 0, (P(2), 1)), Access(1, 0, (P(2), 1)))
    assert "atomic" not in texts(words, [8, 9, 12])
    assert "atomic" in texts(words, [8, 9, 11])


def test_no_index_past_the_end_is_wrapped():
    """The last of four elements may not exist, and what lies there is no index."""
    kernel = kernels.flat(
        kernels.args(("f32", "in"), ("i64", "in"), ("f32", "out")),
        ("load", "i64", (), Access(1, 0, (1,))),
        ("wrap", "i64", (0,), (P(1), 0)),
        ("gather", "f32", (1,), (Access(0, 0, (0,)), 1)),
        ("store", "f32", (2,), Access(2, 0, (1,))),
    )
    for n in (1, 5, 8):
        index = np.arange(n) % 3
        arrays = [np.arange(3, dtype="f4"), index, np.zeros(n, "f4")]
        assert check(kernel, arrays, [n, 3]) is None


def test_an_update_reads_before_it_writes():
    kernel = Kernel(
        kernels.args(("i16", "inout")),
        (),
        Axis(P(0)),
        "row",
        None,
        (
            kernels.loop(
                ("load", "i16", (), Access(0, P(1), (1,))),
                ("add", "i16", (0, 0)),
                ("store", "i16", (1,), Access(0, P(1), (1,))),
            ),
        ),
    )
    for n, first in ((9, 0), (9, 4), (9, 3)):
        x = np.arange(first + n + 3, dtype="i2")
        (got,), _ = shaders.run(
            wgsl.emit(kernel, features("full"), *wgsl.suited(kernel, [n, first])),
            kernel,
            [x],
            [n, first],
        )
        want = x.copy()
        want[first : first + n] *= 2
        assert (got == want).all()
