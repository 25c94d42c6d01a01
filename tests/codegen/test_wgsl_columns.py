"""Kernels that fold down columns: how many lanes share one, around each boundary."""

import numpy as np
import pytest

from charl.codegen import wgsl
from tests.codegen import kernels, shaders
from tests.codegen.kernels import CASES
from tests.codegen.test_wgsl import CANCELS, MASKS, check, features


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", ["f32", "i8", "i64", "b1", "f64"])
def test_shared_columns(dtype, mask):
    kernel = kernels.reduction("add", dtype, "column")
    seen = set()
    for n in (1, 15, 16, 17, 100, 1023, 1024):
        for columns in (1, 3, 4, 33, 200):
            x = kernels.values(dtype, n * columns, np.random.default_rng(n))
            x = abs(x) if dtype[0] == "f" else x
            check(kernel, [x, np.zeros(columns, x.dtype)], [n, columns], mask, ulp=n)
            seen.add(wgsl.suited(kernel, [n, columns])[0])
    assert seen == {1, 2, 8, 64}


@pytest.mark.parametrize("name", ["column_softmax", "column_statistics", "column_scan"])
def test_tilings_move_no_bit(name):
    """column_softmax computes its slots again; a scan's column has one lane."""
    for n in (1, 5, 40, 130):
        kernel, arrays, params = CASES[name](n, np.random.default_rng(n))
        check(kernel, arrays, params, ulp=CANCELS.get(name, 256))
        found = []
        for tiling in (wgsl.Tiling(columns=64), wgsl.Tiling(columns=256), wgsl.Tiling(columns=8)):
            suited = wgsl.suited(kernel, params, tiling)
            shader = wgsl.emit(kernel, features("full"), *suited)
            assert name != "column_scan" or "workgroupBarrier" not in shader.text
            got, _ = shaders.run(shader, kernel, arrays, params)
            found.append([a.tobytes() for a in got])
        assert found[0] == found[1] == found[2]


def test_lanes_follow_extents():
    kernel = kernels.reduction("add", "f32", "column")
    assert wgsl.suited(kernel, [1024, 4])[0] == 64
    assert wgsl.suited(kernel, [1024, 1 << 16])[0] == 4
    assert wgsl.suited(kernel, [1024, 1 << 18])[0] == 1
    assert wgsl.suited(kernel, [20, 4])[0] == 2
