"""Products as WGSL, around each boundary of tiles, slices and vectors."""

import itertools
import re

import numpy as np
import pytest

from charl.codegen import wgsl
from charl.codegen.wgsl_matmul import Cut, cut
from charl.schedule.kernel import Access, Arg, Axis, Contract, Digits, Instr, P
from tests.codegen import shaders
from tests.codegen.test_wgsl import contract, features


def strided(lhs, rhs, source="f32"):
    """(m, k) x (k, n) with given (offset, stride of the side, stride of k) as params 3.. and 6.."""

    def number(value, at):
        return value if value in (0, 1) else P(at)

    (a0, ai, ak), (b0, bj, bk) = lhs, rhs
    return Contract(
        (Arg(source, "in"), Arg(source, "in"), Arg("f32", "out")),
        (),
        Axis(P(0)),
        Axis(P(1)),
        Axis(P(2)),
        "f32",
        Access(0, number(a0, 3), (number(ai, 4), 0, number(ak, 5))),
        Access(1, number(b0, 6), (0, number(bj, 7), number(bk, 8))),
        (Instr("acc", "f32"), Instr("store", "f32", (0,), Access(2, 0, (P(1), 1)))),
    )


def made(kernel, params, arrays, want=None, tiling=wgsl.USUAL, **changed):
    suited = wgsl.suited(kernel, params, tiling)
    shader = wgsl.emit(
        kernel,
        features("full"),
        *suited[:5],
        suited[5]._replace(**changed) if changed else suited[5],
    )
    return shaders.run(shader, kernel, arrays, params)[0][-1]


def check(m, n, k, lhs, rhs, source="f32", tiling=wgsl.USUAL, **changed):
    kernel, rng = strided(lhs, rhs, source), np.random.default_rng(m + n)
    (a0, ai, ak), (b0, bj, bk) = lhs, rhs
    dtype = {"f32": "f4", "f16": "f2"}[source]
    a = rng.normal(size=a0 + (m - 1) * ai + (k - 1) * ak + 1).astype(dtype)
    b = rng.normal(size=b0 + (n - 1) * bj + (k - 1) * bk + 1).astype(dtype)
    i, j, p = np.arange(m)[:, None], np.arange(n)[:, None], np.arange(k)
    x, y = a[a0 + i * ai + p * ak].astype("f8"), b[b0 + j * bj + p * bk].astype("f8")
    got = made(
        kernel,
        [m, n, k, *lhs, *rhs],
        [a, b, np.zeros(m * n, "f4")],
        tiling=tiling,
        **changed,
    ).reshape(m, n)
    bound = (k + 2) * np.finfo("f4").eps * (abs(x) @ abs(y).T)
    assert (abs(got - x @ y.T) <= bound).all()
    return got


@pytest.mark.parametrize("side", ["lhs", "rhs"])
def test_digits(side):
    """Rows or columns (y, x), and k (channel, y, x): windows of an image."""
    rng, across, along = np.random.default_rng(3), ((7, 11), (9, 1)), ((5, 99), (3, 11), (3, 1))

    def offsets(digits):
        found = np.zeros(1, int)
        for extent, stride in digits:
            found = (found[:, None] + np.arange(extent) * stride).ravel()
        return found

    windows = offsets(along)[:, None] + offsets(across)
    k, n = windows.shape
    image, a = rng.normal(size=495).astype("f4"), rng.normal(size=(6, k)).astype("f4")
    turned = side == "lhs"
    params = [n, 6, k] if turned else [6, n, k]

    def parts(digits):
        params.extend(number for digit in digits for number in digit)
        places = range(len(params) - 2 * len(digits), len(params), 2)
        return tuple((P(at), P(at + 1)) for at in places)

    kernel = strided((0, 0, 0), (0, 0, 0))
    accesses = Access(0, 0, (0, 0, 0)), Access(1, 0, (0, P(2), 1) if turned else (P(2), 0, 1))
    kernel = kernel._replace(
        **dict(zip(("lhs", "rhs") if turned else ("rhs", "lhs"), accesses)),
        digits=(
            Digits(side, "i" if turned else "j", parts(across)),
            Digits(side, "k", parts(along)),
        ),
    )
    want = a.astype("f8") @ image[windows]
    got = made(kernel, params, [image, a.ravel(), np.zeros(6 * n, "f4")])
    want = want.T if turned else want
    assert np.allclose(got.reshape(want.shape), want, atol=1e-4)


LAYOUTS = {
    "rows": ((0, 40, 1), (0, 1, 36)),  # both aligned
    "transposed": ((0, 1, 36), (0, 40, 1)),
    "odd": ((0, 41, 1), (3, 1, 37)),
    "shifted": ((4, 44, 1), (8, 1, 40)),
    "strided": ((2, 90, 2), (0, 3, 120)),
}


@pytest.mark.parametrize("source", ["f32", "f16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, source):
    for m, n, k in ((33, 35, 37), (36, 36, 40), (5, 4, 3)):
        check(m, n, k, *LAYOUTS[layout], source)


@pytest.mark.parametrize(
    "m,n,k",
    [
        (2, 200, 600),
        (3, 33, 64),
        (16, 50, 1000),
        (200, 2, 600),
        (17, 5, 129),
        (40, 40, 4096),
        (64, 30, 5001),
    ],
)
def test_thin(m, n, k):
    """Slices of k; those of one product are fixed by its extents."""
    kernel = strided((0, k, 1), (0, 1, n))
    assert cut(kernel, [m, n, k, 0, k, 1, 0, 1, n]).slices > 1
    got = check(m, n, k, (0, k, 1), (0, 1, n))
    for tiling in (wgsl.Tiling(side=4, step=8), wgsl.Tiling(each=4, step=64)):
        assert (check(m, n, k, (0, k, 1), (0, 1, n), tiling=tiling) == got).all()


@pytest.mark.parametrize("rows,columns", [(128, 128), (128, 16), (8, 128), (4, 4)])
def test_tiles_move_no_bit(rows, columns):
    """Nor do vectors."""
    for m, n, k in ((130, 140, 44), (7, 9, 4)):
        layout = (0, k, 1), (0, 1, n)
        want = check(m, n, k, *layout, rows=32, columns=32, slices=1, quads=frozenset())
        got = check(m, n, k, *layout, rows=rows, columns=columns, slices=1)
        assert (got == want).all()
        small = wgsl.Tiling(side=8, each=8, step=4)
        got = check(m, n, k, *layout, tiling=small, rows=rows, columns=columns, slices=1)
        assert (got == want).all()


def test_what_suits():
    """Large tiles for large products, enough workgroups for others, slices where k is long."""

    def of(m, n, k, batch=1):
        return cut(contract("f32"), [batch, m, n, k, m * k, n * k, m * n])

    assert of(4096, 4096, 4096) == Cut(128, 128, 1, frozenset((0, 1)))
    assert of(1024, 1024, 1024)[:3] == (64, 64, 1)
    assert of(8, 4096, 4096)[:3] == (8, 32, 16)
    assert of(4096, 4096, 4095).quads == frozenset((1,))
    assert of(64, 64, 64, batch=1000)[:3] == (64, 64, 1)
    assert of(64, 64, 100_000)[:3] == (8, 8, 64)
    assert of(256, 256, 100_000)[:3] == (32, 16, 8)


def test_limits():
    """A tile fits what workgroup memory and workgroups a device has."""
    cuts = Cut(), Cut(32, 32, 4), Cut(4, 4, 64)
    for memory, most in ((16384, 256), (8192, 64), (4096, 16)):
        have = wgsl.Features(True, True, workgroup_memory=memory, max_workgroup=most)
        for whole, dtype in itertools.product(cuts, ("f32", "f64")):
            shader = wgsl.emit(contract(dtype), have, cut=whole)
            assert shader.workgroup <= most
            arrays = re.findall(r"var<workgroup> \w+: array<vec4<f(32|64)>, (\d+)>", shader.text)
            assert sum(int(bits) // 2 * int(count) for bits, count in arrays) <= memory
