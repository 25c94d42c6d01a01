"""Kernels that fold along rows, around each boundary: how many lanes share a row, how many rows a
workgroup has, what is kept; against the reference, and to the bit against each other.
"""

import numpy as np
import pytest

from charl.codegen import wgsl, wgsl_rows
from charl.schedule.kernel import Access, Axis, Kernel, P
from tests.codegen import kernels, shaders
from tests.codegen.kernels import CASES
from tests.codegen.test_wgsl import MASKS, check, features

EXTENTS = (1, 3, 4, 5, 16, 17, 31, 127, 128, 129, 1023, 1024, 1025, 1100, 8192, 8193)


def bits(kernel, arrays, params, have, tiling=wgsl.USUAL):
    shader = wgsl.emit(kernel, have, *wgsl.suited(kernel, params, tiling))
    return [a.tobytes() for a in shaders.run(shader, kernel, arrays, params)[0]]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("n", EXTENTS)
def test_softmax(n, mask):
    kernel = CASES["softmax"](1, np.random.default_rng(0))[0]
    for m in (1, 3, 9, 300) if n < 1000 else (2,):
        x = kernels.values("f32", m * n, np.random.default_rng(n))
        check(kernel, [x, np.zeros_like(x)], [n, m], mask, ulp=max(64, n))


@pytest.mark.parametrize("dtype", ["f32", "f64", "i8", "i32", "i64", "u16", "b1", "f16"])
@pytest.mark.parametrize("n", EXTENTS)
def test_reductions(n, dtype):
    kind = "max" if dtype == "f16" else "add"
    kernel = kernels.reduction(kind, dtype)
    for m in (1, 70):
        x = kernels.values(dtype, m * n, np.random.default_rng(n))
        x = abs(x) if dtype[0] == "f" else x
        check(kernel, [x, np.zeros(m, x.dtype)], [n, m], ulp=n)


def padded(dtype):
    """Rows of p0 elements that begin p2 elements apart, each less its least element."""
    at, to = Access(0, P(3), (P(2), 1)), Access(1, 0, (P(0), 1))
    return Kernel(
        kernels.args((dtype, "in"), (dtype, "out"), ("b1", "out")),
        (Axis(P(1)),),
        Axis(P(0)),
        "row",
        None,
        (
            kernels.loop(("load", dtype, (), at), ("reduce", dtype, (0,), "min")),
            kernels.loop(
                ("load", dtype, (), at),
                ("sub", dtype, (2, 1)),
                ("store", dtype, (3,), to),
                ("const", dtype, (), 1),
                ("less", "b1", (3, 5)),
                ("store", "b1", (6,), Access(2, 0, (P(0), 1))),
            ),
        ),
    )


@pytest.mark.parametrize("dtype", ["f32", "i64", "u8", "i16", "f64"])
@pytest.mark.parametrize("mask", MASKS)
def test_strides_move_no_bit(dtype, mask):
    """Rows anywhere give what rows that are vectors give."""
    kernel, rng = padded(dtype), np.random.default_rng(3)
    for n in (4, 21, 64, 300, 1500):
        x = kernels.values(dtype, 7 * n, rng)
        found = []
        for pad, first in ((0, 0), (4, 4), (3, 1)):
            wide = np.zeros(first + 7 * (n + pad), x.dtype)
            wide[first:].reshape(7, n + pad)[:, :n] = x.reshape(7, n)
            arrays = [wide, np.zeros_like(x), np.zeros(7 * n, bool)]
            check(kernel, arrays, [n, 7, n + pad, first], mask)
            if not (mask == "bare" and dtype == "f64"):
                params = [n, 7, n + pad, first]
                found.append(bits(kernel, arrays, params, features(mask))[1:])
        assert all(f == found[0] for f in found)


@pytest.mark.parametrize("name", ["softmax", "variance", "sum_f32", "sum_i32", "max_u8"])
@pytest.mark.parametrize("n", [3, 17, 100, 700, 1025, 5000])
def test_subgroups_move_no_bit(name, n):
    """Shuffles or workgroup memory, one row in a workgroup or many, kept or not: the same pairs."""
    have, rng = features("full"), np.random.default_rng(4)
    if not have.subgroup:
        pytest.skip("this adapter has no subgroups")
    if name in CASES:
        kernel, arrays, params = CASES[name](n, rng)
    else:
        kind, dtype = name.split("_")
        kernel = kernels.reduction({"sum": "add"}.get(kind, kind), dtype)
        arrays, params = (
            [kernels.values(dtype, 50 * n, rng), kernels.values(dtype, 50, rng)],
            [n, 50],
        )
    want = bits(kernel, arrays, params, have)
    assert bits(kernel, arrays, params, have._replace(subgroup=False)) == want
    assert bits(kernel, arrays, params, have, wgsl.Tiling(rows=512 // 8)) == want
    assert bits(kernel, arrays, params, have._replace(workgroup_memory=4096)) == want
    assert "subgroupShuffle" in wgsl.emit(kernel, have, *wgsl.suited(kernel, params)).text or (
        n < 17 or name == "variance"
    )


def test_rows_are_kept_where_they_fit():
    kernel = CASES["softmax"](1, np.random.default_rng(0))[0]

    def text(n, **limits):
        return wgsl.emit(kernel, wgsl.Features(**limits), *wgsl.suited(kernel, [n, 3])).text

    assert "row0: array<vec4<u32>, 4>" in text(4096)
    assert text(4096).count("a0[") == 4 and text(4096).count("= op_exp_f32(") == 16
    assert text(40).count("a0[") == 2
    assert text(8196).count("a0[") == 3
    assert text(4096, max_workgroup=64).count("a0[") == 3  # 16 quads a lane


@pytest.mark.parametrize("n", [40, 41, 64, 128, 1000, 1024])
def test_loops_that_are_not_written_out_give_the_same_bits(n, monkeypatch):
    kernel, arrays, params = CASES["softmax"](n, np.random.default_rng(4))
    have = features("full")
    want = bits(kernel, arrays, params, have)
    monkeypatch.setattr(wgsl_rows, "LONG", 0)
    assert "for (var q" in wgsl.emit(kernel, have, *wgsl.suited(kernel, params)).text
    assert bits(kernel, arrays, params, have) == want
