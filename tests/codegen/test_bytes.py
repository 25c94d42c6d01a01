"""Products of int8 summed in int32, against NumPy, on hosts with and without VNNI.

Operands lie against pages that cannot be read; around outputs nothing may change.
"""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import charl as ch
from charl.codegen.bytes import quads
from charl.schedule.kernel import KC, PACK_I, TILE_J
from tests.codegen.test_gemm import HOSTS, Call, margins, put


def without_vnni(host):
    kept = (f for f in host.features.split(",") if "vnni" not in f)
    return host._replace(features=",".join(kept))


MACHINES = {
    **HOSTS,
    **{f"{name} without": without_vnni(host) for name, host in HOSTS.items() if quads(host)},
    "elsewhere": HOSTS["plain"]._replace(triple="riscv64-unknown-linux-gnu"),
}
_kernels = {}


def numbers(rng, shape):
    """Of int8; many are extreme."""
    found = rng.integers(-128, 128, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([-128, 127], shape), found).astype(np.int8)


def laid(page, x, order):
    """x against a page that cannot be read, its rows or its columns contiguous, or neither."""
    if order == "rows":
        return put(page, x)
    if order == "columns":
        return put(page, np.ascontiguousarray(x.T)).T
    return put(page, np.repeat(x, 2, axis=1))[:, ::2]


def check(host, m, k, n, orders=("rows", "rows")):
    rng = np.random.default_rng([m, k, n])
    a, b = numbers(rng, (m, k)), numbers(rng, (k, n))
    out, around = margins((m, n), np.int32)
    call = Call(laid(0, a, orders[0]), laid(1, b, orders[1]), out)
    key = str(call.contract), host
    if key not in _kernels:
        _kernels[key] = call.build(MACHINES[host])
    call(_kernels[key][0])
    assert np.array_equal(out, a.astype(np.int32) @ b.astype(np.int32)), (m, k, n, orders)
    out[...] = 7
    assert (around == 7).all()


@pytest.mark.parametrize("host", MACHINES)
def test_small_shapes(host):
    for m in (1, 2, 4, 5, 8, 9, 17):
        for n in (1, 3, 16, 31, 32, 33, 65):
            for k in (1, 2, 3, 4, 5, 31):
                check(host, m, k, n)


@pytest.mark.parametrize("host", MACHINES)
@pytest.mark.parametrize("left", ["rows", "columns", "neither"])
@pytest.mark.parametrize("right", ["rows", "columns", "neither"])
def test_layouts_and_blocks(host, left, right):
    for m, k, n in (
        (9, KC - 1, 35), (23, KC + 2, 64), (5, 2 * KC + 37, 7), (PACK_I + 5, 12, TILE_J + 3),
    ):  # fmt: skip
        check(host, m, k, n, (left, right))


@pytest.mark.parametrize("backend", ["llvm", "interp"])
def test_sums_of_products_of_bytes_by_any_name(backend):
    """What is written out, windows, batches and epilogues; sums that overflow int32 wrap."""
    rng = np.random.default_rng(0)
    a, b, x = (numbers(rng, shape) for shape in ((3, 20, 40), (40, 30), (50,)))
    wide = a.astype(np.int32) @ b.astype(np.int32)
    full = np.full((2, 1 << 17), -128, np.int8)
    windows = np.lib.stride_tricks.sliding_window_view(x, 8)
    with ch.config(backend=backend):
        p, q, y = map(ch.asarray, (a, b, x))
        assert np.array_equal(ch.matmul(p, q, dtype=ch.int32).numpy(), wide)
        assert np.array_equal(ch.maximum(ch.matmul(p, q, dtype=ch.int32), 5).numpy(), wide.clip(5))
        terms = p[0].astype(ch.int32)[:, :, None] * q.astype(ch.int32)[None]
        assert np.array_equal(ch.sum(terms, axis=1).numpy(), wide[0])
        seen = ch.sliding_window_view(y, 8)
        found = ch.matmul(seen, ch.matrix_transpose(seen), dtype=ch.int32).numpy()
        assert np.array_equal(found, windows.astype(np.int32) @ windows.T.astype(np.int32))
        f = ch.asarray(full)
        found = ch.matmul(f, ch.matrix_transpose(f), dtype=ch.int32).numpy()
        assert (found == np.int32(-(1 << 31))).all()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_wider_integers(host, dtype):
    rng = np.random.default_rng(0)
    for m, k, n in ((3, 5, 7), (9, 2 * KC + 3, 35), (PACK_I + 5, 12, TILE_J + 3)):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        a, b = (rng.integers(low, high, shape, dtype, True) for shape in ((m, k), (k, n)))
        out, around = margins((m, n), dtype)
        call = Call(put(0, a), put(1, b), out)
        built = call.build(HOSTS[host])  # its code lives as long
        call(built[0])
        assert np.array_equal(out, a @ b)
        out[...] = 7
        assert (around == 7).all()


@pytest.mark.parametrize("backend", ["llvm", "interp"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("sums", ["int32", "int64", "uint64", None])
def test_products_of_all_integers(backend, dtype, sums):
    if sums == "uint64" and dtype.startswith("int"):
        return  # no cast
    if sums == "int32" and dtype in ("int64", "uint64", "uint32"):
        return
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    a, b = (rng.integers(info.min, info.max, s, dtype, True) for s in ((20, 300), (300, 40)))
    wide = sums or dtype
    with ch.config(backend=backend):
        found = ch.matmul(ch.asarray(a), ch.asarray(b), dtype=sums and getattr(ch, sums)).numpy()
    assert found.dtype == wide and np.array_equal(found, a.astype(wide) @ b.astype(wide))
