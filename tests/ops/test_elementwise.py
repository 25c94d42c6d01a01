"""Expansions of the exact ops against NumPy, to the bit."""

import numpy as np
import pytest

from charl.core.dtypes import BY_SHORT
from charl.ops.loops import loops
from charl.ops.table import OPS
from charl.ops.trace import expansion

from .evaluate import NUMPY, evaluate
from .samples import operands, same_bits

EXACT = [
    key for key in loops()
    if OPS[key[0]].group == "elementwise" and OPS[key[0]].numpy and not OPS[key[0]].ulp
    and key[0] not in ("cast", "where")
]  # fmt: skip


def reference(name, xs):
    """NumPy's answer with our rules for what NumPy leaves open. bfloat16 is computed in float32 and
    rounded.
    """
    dtype = xs[0].dtype
    if dtype == NUMPY["bf16"] and name not in ("nextafter", "positive"):
        y = np.asarray(reference(name, [x.astype(np.float32) for x in xs]))
        return y.astype(dtype) if y.dtype.kind == "f" else y
    if name == "clip":
        return np.minimum(np.maximum(xs[0], xs[1]), xs[2])
    if name == "reciprocal" and dtype.kind in "iu":
        return np.where(
            xs[0] == 0, dtype.type(0), np.reciprocal(np.where(xs[0] == 0, dtype.type(1), xs[0]))
        )
    if name == "signbit" and dtype.kind in "biu":
        return xs[0] < 0
    if name == "abs" and dtype.kind == "b":
        return xs[0]
    return getattr(np, OPS[name].numpy)(*xs)


def open_cases(name, xs):
    """Where NumPy's own loops differ among themselves: the sign of max(0, -0), and of equal
    arguments.
    """
    if name in ("maximum", "minimum", "clip") and xs[0].dtype.kind not in "biu":
        return (
            np.logical_and.reduce([(x == 0) | (x != x) for x in xs]) | sum((x == 0) for x in xs)
            >= 2
        )
    if name == "nextafter":
        return (xs[0] == 0) & (xs[1] == 0)
    return np.zeros(len(xs[0]), bool)


@pytest.mark.parametrize("key", EXACT, ids=lambda key: f"{key[0]}-{key[1][0]}")
def test_numpy_agrees(key):
    name, args, result = key
    xs = operands(args)
    with np.errstate(all="ignore"):
        want = np.asarray(reference(name, xs))
    got = evaluate(expansion(*key), *xs)
    assert got.dtype == want.dtype == NUMPY[result]
    with np.errstate(invalid="ignore"):
        wrong = ~same_bits(got, want) & ~(open_cases(name, xs) & (got == want))
    assert not wrong.any(), [(*(x[wrong][:5] for x in xs), got[wrong][:5], want[wrong][:5])]


@pytest.mark.parametrize("dtype", ["b1", "i32", "f16", "bf16", "f64"])
def test_where(dtype):
    c, x, y = operands(("b1", dtype, dtype))
    assert same_bits(
        evaluate(expansion("where", ("b1", dtype, dtype), dtype), c, x, y), np.where(c, x, y)
    ).all()


@pytest.mark.parametrize("name", ["left_shift", "right_shift"])
@pytest.mark.parametrize("dtype", [d for d in BY_SHORT if BY_SHORT[d].kind in "iu"])
def test_shifts_out_of_range(name, dtype):
    """Python's integers are the oracle."""
    x, y = operands((dtype, dtype), n=300)
    got = evaluate(expansion(f"bitwise_{name}", (dtype, dtype), dtype), x, y)
    for a, b, r in zip(x.tolist(), y.tolist(), got):
        inside = 0 <= b < 8 * x.itemsize
        want = (a << b if inside else 0) if name == "left_shift" else a >> (b if inside else 1000)
        assert int(r) == int(np.array(want & (2**64 - 1), np.uint64).astype(x.dtype)), (a, b)


def test_philox_is_random123s():
    """Known answers: Random123's kat_vectors, philox4x32-10 (counter and key all zero), and the
    fields' places.
    """
    e = expansion("philox", ("u64", "u64"), "u64")
    zero = np.zeros(1, np.uint64)
    assert evaluate(e, zero, zero)[0] == 0x6627E8D5 | 0xE169C58D << 32
    counter, key = (
        np.array([2**64 - 1, 0x85A308D3243F6A88], np.uint64),
        np.array([5, 0x299F31D0A4093822], np.uint64),
    )
    for c, k, got in zip(counter.tolist(), key.tolist(), evaluate(e, counter, key).tolist()):
        w, (k0, k1) = [c & 0xFFFFFFFF, c >> 32, 0, 0], (k & 0xFFFFFFFF, k >> 32)
        for _ in range(10):
            p0, p1 = w[0] * 0xD2511F53, w[2] * 0xCD9E8D57
            w = [p1 >> 32 ^ w[1] ^ k0, p1 & 0xFFFFFFFF, p0 >> 32 ^ w[3] ^ k1, p0 & 0xFFFFFFFF]
            k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
        assert got == w[0] | w[1] << 32
