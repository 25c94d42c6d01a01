"""Arrays on a GPU whose limits are taken to be low: kernels are cut, folded and split."""

import numpy as np
import pytest

import charl as ch
from tests import test_gpu as plain
from tests.test_gpu import close, dispatches, floats, put, same

pytestmark = plain.pytestmark

SMALL = {
    "max-storage-buffers-per-shader-stage": 8,
    "max-compute-invocations-per-workgroup": 64,
    "max-compute-workgroup-size-x": 64,
    "max-compute-workgroup-storage-size": 16384,
    "max-compute-workgroups-per-dimension": 100,
}


def limited(**changed):
    """The setting for SMALL limits, some of them changed."""
    limits = SMALL | {name.replace("_", "-"): value for name, value in changed.items()}
    return ch.config(gpu_limits=",".join(f"{name}={value}" for name, value in limits.items()))


@pytest.fixture(params=["full", "bare"])
def small(request):
    """The GPU with SMALL limits, with and without its optional features."""
    ch.gpu.reset()
    mask = "f64,i64,f16,subgroup" if request.param == "bare" else ""
    with limited(), ch.config(gpu_mask=mask):
        yield
        ch.gpu.reset()


# -- what is done without them is right with them --------------------------------------------------


def test_values(small):
    plain.test_elementwise()
    plain.test_views_and_writes()
    plain.test_softmax_is_one_dispatch()
    plain.test_an_index_out_of_range_names_the_line_and_changes_nothing()
    plain.test_random_bits_are_those_of_the_cpu()


@pytest.mark.parametrize("shape", [(33, 70), (3, 40, 50), (2, 70000)])
def test_reductions(small, shape):
    plain.test_reductions(shape)


@pytest.mark.parametrize("m, k, n", [(3, 4, 5), (65, 130, 70), (200, 30, 300)])
def test_matmul(small, m, k, n):
    plain.test_matmul(m, k, n)


# -- kernels over the number of storage buffers ----------------------------------------------------


def test_sums_of_many_arrays_are_cut(small):
    arrays = [floats(50) for _ in range(30)]
    chain = tree = [put(a) for a in arrays]
    while len(tree) > 1:
        tree = [sum(tree[k : k + 3][1:], tree[k]) for k in range(0, len(tree), 3)]
    want = np.sum(arrays, axis=0, dtype="f8")
    close(tree[0], want, 1e-4, 1e-5)
    total = chain[0]
    for x in chain[1:]:
        total = total + x
    close(total, want, 1e-4, 1e-5)


def test_many_outputs_are_cut(small):
    arrays = [floats(40, 50) for _ in range(6)]
    x = [put(a) for a in arrays]
    outs, want = [], []
    for k in range(6):
        outs.append(x[k] * x[k - 1] + ch.sum(x[k], axis=1, keepdims=True))
        want.append(arrays[k] * arrays[k - 1] + arrays[k].sum(1, keepdims=True))
    ch.eval(*outs)
    for got, expected in zip(outs, want):
        close(got, expected, 1e-4, 1e-4)


def test_gathers_epilogues_and_joins_are_cut(small):
    a, b = floats(20, 30), floats(30, 40)
    bias = [floats(40) for _ in range(9)]
    got, want = put(a) @ put(b), a @ b
    for row in bias:
        got, want = got + put(row), want + row
    close(got, want, 1e-4, 1e-4)
    index = [RNG.integers(0, 20, 15) for _ in range(6)]
    x = put(a)
    close(sum(x[put(i.astype("i4"))] for i in index), sum(a[i] for i in index), 1e-5, 1e-5)
    parts = [floats(3, k) for k in range(1, 14)]
    same(ch.concat([put(p) for p in parts], axis=1), np.concatenate(parts, axis=1))
    same(ch.stack([put(p) for p in parts[:1] * 12]), np.stack(parts[:1] * 12))


def test_more_buffers_are_used_where_there_are_more():
    def work():
        x = [put(floats(50)) for _ in range(12)]
        total = x[0]
        for y in x[1:]:
            total = total * y
        return dispatches(lambda: ch.eval(total))[0]

    ch.gpu.reset()
    wide = work()
    ch.gpu.reset()
    with limited():
        assert work() > wide == 1  # the same structure, planned anew
        ch.gpu.reset()
    assert work() == wide


RNG = plain.RNG


# -- dispatches of too many workgroups -------------------------------------------------------------


def test_dispatches_are_folded(small):
    a = RNG.integers(0, 100, 300_000).astype(np.int32)
    x = put(a)
    same(x * 3 + 1, a * 3 + 1)
    same(ch.max(x.reshape(1000, 300), axis=1), a.reshape(1000, 300).max(1))
    same(ch.max(x.reshape(10, 30000), axis=0), a.reshape(10, 30000).max(0))
    b = floats(700, 20)
    close(put(b) @ put(b[:600].T), b @ b[:600].T, 1e-4, 1e-4)
