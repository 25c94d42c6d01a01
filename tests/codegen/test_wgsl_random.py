"""Random Kernels as WGSL against the reference: integers to the bit, floats within bounds.

CHARL_FUZZ=n takes n seeds instead of the usual few.
"""

import os

import numpy as np
import pytest

from charl.codegen import wgsl
from charl.schedule.kernel import verify
from tests.codegen import reference, shaders
from tests.codegen.test_random import Maker
from tests.codegen.test_wgsl import features


def near(got, want):
    """Equal, or floats that differ little. What was cast from a float that fell on the other side
    of a boundary differs in a few places.
    """
    if got.dtype.kind in "iub":
        return (got == want).mean() >= 0.9 or (got != want).sum() <= 2
    with np.errstate(all="ignore"):
        a, b = got.astype("f8"), want.astype("f8")
        tolerance = {"float16": 2e-3, "bfloat16": 2e-2}.get(got.dtype.name, 2e-4)
        close = np.isclose(a, b, rtol=tolerance, atol=1e-3, equal_nan=True)
    return close.mean() >= 0.9 or (~close).sum() <= 2


@pytest.mark.parametrize("mask", ["full", "bare"])
@pytest.mark.parametrize("seed", range(int(os.environ.get("CHARL_FUZZ", "60"))))
def test_random_kernel(seed, mask):
    maker = Maker(seed)
    kernel = maker.kernel()
    verify(kernel)
    have = features(mask)._replace(max_storage_buffers=32)
    try:
        shader = wgsl.emit(kernel, have, *wgsl.suited(kernel, maker.params))
        plain = wgsl.emit(kernel, have, lanes=32)
    except wgsl.Unsupported as missing:
        pytest.skip(str(missing))
    want = [a.copy() for a in maker.arrays]
    with np.errstate(all="ignore"):
        assert reference.run(kernel, want, maker.params) is None
    for form in (shader, plain):
        got, error = shaders.run(form, kernel, maker.arrays, maker.params)
        assert error is None
        for k, (a, b) in enumerate(zip(got, want)):
            assert near(a, b), f"seed {seed} a{k}\n{kernel}\n{maker.params}\n{a}\n{b}\n{form.text}"
