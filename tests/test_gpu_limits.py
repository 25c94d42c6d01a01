"""Arrays on a GPU whose limits are taken to be low: kernels are cut, folded and split."""

import numpy as np
import pytest

import charl as ch
from tests import test_gpu as plain
from tests.test_gpu import close, dispatches, floats, put, same

pytestmark = plain.pytestmark

SMALL = {
    "max-storage-buffer-binding-size": 131072,
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


@pytest.mark.parametrize("shape", [(33, 70), (3, 40, 50), (2, 40000)])
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


def test_dispatches_are_folded():
    ch.gpu.reset()
    with limited(max_storage_buffer_binding_size=1 << 24):
        fold_work()
        ch.gpu.reset()


def fold_work():
    a = RNG.integers(0, 100, 300_000).astype(np.int32)
    x = put(a)
    same(x * 3 + 1, a * 3 + 1)
    same(ch.max(x.reshape(1000, 300), axis=1), a.reshape(1000, 300).max(1))
    same(ch.max(x.reshape(10, 30000), axis=0), a.reshape(10, 30000).max(0))
    b = floats(700, 20)
    close(put(b) @ put(b[:600].T), b @ b[:600].T, 1e-4, 1e-4)


# -- arrays over the size of a binding -------------------------------------------------------------


def many(**changed):
    """SMALL limits, but as many buffers as there are."""
    return limited(max_storage_buffers_per_shader_stage=32, **changed)


@pytest.fixture(params=["full", "bare"])
def tiny(request):
    """Bindings of 4 KiB, with and without the optional features."""
    ch.gpu.reset()
    mask = "f64,i64,f16,subgroup" if request.param == "bare" else ""
    with many(max_storage_buffer_binding_size=4096), ch.config(gpu_mask=mask):
        yield
        ch.gpu.reset()


@pytest.mark.parametrize("dtype", ["bool", *plain.DTYPES])
def test_every_dtype_in_parts(tiny, dtype):
    if dtype == "float64" and not ch.zeros(1, device="gpu").dtype == ch.float64:
        pytest.skip("float64 is not for this device")
    n = 14000 // np.dtype(dtype).itemsize
    a, b = (RNG.integers(0, 2, n).astype(dtype) for _ in range(2))
    x, y = put(a), put(b)
    same(x[::-1] == y, a[::-1] == b)
    same(ch.where(x == y, x, y), np.where(a == b, a, b))
    same(ch.roll(x, 1000), np.roll(a, 1000))
    x[5:-3] = y[3:-5]
    a[5:-3] = b[3:-5]
    same(x, a)
    index = RNG.integers(0, n, 50)
    same(x[put(index.astype("i4"))], a[index])


def test_reductions_products_and_scratch_in_parts(tiny):
    a = floats(30, 100)
    x = put(a)
    close(ch.sum(x, axis=1), a.sum(1), 1e-4, 1e-4)
    close(ch.sum(x, axis=0), a.sum(0), 1e-4, 1e-4)
    close(x @ put(a.T) + 1, a @ a.T + 1, 1e-4, 1e-4)
    close(put(a.T) @ x, a.T @ a, 1e-4, 1e-4)
    got = ch.cumulative_sum(ch.exp(x), axis=1)
    e = np.cumsum(np.exp(a), axis=1)
    close(got / ch.sum(got, axis=1, keepdims=True), e / e.sum(1, keepdims=True), 1e-4, 1e-6)


def test_kernels_are_cut_for_arrays_of_several_bindings():
    ch.gpu.reset()
    with limited(max_storage_buffers_per_shader_stage=16, max_storage_buffer_binding_size=4096):
        a = [floats(3000) for _ in range(8)]
        x = [put(b) for b in a]
        total = x[0]
        for y in x[1:]:
            total = total * 0.5 + y
        want = a[0]
        for b in a[1:]:
            want = want * np.float32(0.5) + b
        close(total, want, 1e-5, 1e-5)
        ch.gpu.reset()


def test_half_a_thousand_million_elements():
    """More workgroups than a dimension takes, and arrays of more bytes than a binding takes."""
    n = 500_000_000
    x = (ch.arange(n, dtype=ch.int32, device="gpu") % 251).astype(ch.uint8)
    ch.eval(x)
    y = x + 1
    same(y[::1009], (np.arange(0, n, 1009) % 251 + 1).astype(np.uint8))
    for at in (1 << 27, 1 << 28, 3 << 27, n):
        near = np.arange(at - 9, min(at + 9, n))
        same(y[at - 9 : at + 9], (near % 251 + 1).astype(np.uint8))


def test_what_cannot_be_bound_is_refused_or_runs_on_the_cpu():
    ch.gpu.reset()
    with limited(max_storage_buffer_binding_size=4096):
        a = floats(8000)
        x = put(a)
        with pytest.raises(TypeError, match=r"storage buffers.*4096 bytes.*gpu_fallback"):
            ch.eval(x + 1)
        with ch.config(gpu_fallback="cpu"):
            same(x + 1, a + 1)
        same(x, a)
        ch.gpu.reset()


# -- more than can be counted ----------------------------------------------------------------------


def test_work_beyond_32_bits_is_refused():
    x = put(np.ones(1, np.uint8))
    for call in (
        lambda: ch.max(ch.broadcast_to(x, (1 << 33,))),
        lambda: ch.max(ch.broadcast_to(x, (1 << 32,))),
        lambda: ch.zeros((1 << 32) + 5, dtype=ch.uint8, device="gpu"),
        lambda: ch.broadcast_to(x, (1 << 17, 1 << 16)) + x,
    ):
        with pytest.raises(
            TypeError, match=r"cannot run this: .* at most 429\d{7} are.*gpu_fallback"
        ):
            ch.eval(call())
    same(x + 1, np.full(1, 2, np.uint8))


def test_numbers_beyond_32_bits_are_right(small):
    if ch.arange(1, device="gpu").dtype == ch.int64:
        far = ch.arange(1 << 40, device="gpu")[1 << 39 : (1 << 39) + 3]
        same(far, np.arange(1 << 39, (1 << 39) + 3))
    x = put(np.arange(5, dtype=np.int32))
    index = ch.asarray(np.array([0, 3 << 40]), dtype=ch.int64, device="gpu")
    with pytest.raises(IndexError, match=f"index {3 << 40} is out of bounds for axis with size 5"):
        ch.eval(x[index])
    with pytest.raises(IndexError, match=f"index -{3 << 40} is out of bounds for axis with size 5"):
        ch.eval(x[-index])


def test_more_workgroups_than_two_dimensions_take_are_refused():
    ch.gpu.reset()
    with limited(max_compute_workgroups_per_dimension=3):
        x = put(np.arange(30_000, dtype=np.int32))
        with pytest.raises(TypeError, match="workgroups; this adapter takes 3 x 3"):
            ch.eval(x + 1)
        same(x[:300] + 1, np.arange(1, 301, dtype=np.int32))
        ch.gpu.reset()
