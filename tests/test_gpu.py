"""Arrays on a GPU, against NumPy: the whole way from Tensor to the adapter and back."""

import copy
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

import charl as ch
from charl.core.errors import DeviceLost
from charl.engine import shaders
from charl.runtime import gpu

if ch.config.gpu_mask:
    pytest.skip("masks features itself", allow_module_level=True)
pytestmark = [
    pytest.mark.cpu,
    pytest.mark.skipif(
        "gpu" not in ch.devices(),
        reason="no adapter; Debian's package mesa-vulkan-drivers has a software one",
    ),
]
RNG = np.random.default_rng(3)


def put(array, device="gpu"):
    return ch.asarray(array, device=device)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(got, want, rtol=2e-6, atol=1e-6):
    assert got.device == "gpu" and got.shape == want.shape
    np.testing.assert_allclose(got.numpy(), want, rtol=rtol, atol=atol)


def same(got, want):
    assert got.device == "gpu"
    np.testing.assert_array_equal(got.numpy(), want, strict=True)


def dispatches(call):
    """(dispatches, submits) that a call makes, without what it makes ready."""
    ch.gpu.synchronize()
    before = ch.cache_info()
    call()
    ch.gpu.synchronize()
    after = ch.cache_info()
    return after["dispatches"] - before["dispatches"], after["submits"] - before["submits"]


# -- values ----------------------------------------------------------------------------------------


DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
DTYPES += ["float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", ["bool", *DTYPES])
def test_bytes_of_every_dtype_come_back(dtype):
    given = RNG.integers(0, 2, (7, 3)).astype(dtype)
    same(put(given), given)
    same(put(given)[1:, ::-1] + put(np.zeros((), dtype)), given[1:, ::-1])


def test_elementwise():
    a, b = floats(5, 7), floats(7)
    x, y = put(a), put(b)
    same(x + y, a + b)
    same(x * 2 - y, a * np.float32(2) - b)
    close(ch.exp(x) / (1 + ch.abs(y)), np.exp(a) / (1 + np.abs(b)))
    same(x > y, a > b)
    same(ch.where(x > 0, x, 0), np.where(a > 0, a, np.float32(0)))
    i = RNG.integers(-50, 50, (4, 5)).astype(np.int32)
    same(put(i) // 7 + put(i) % 5, i // 7 + i % 5)


@pytest.mark.parametrize("shape", [(1000,), (33, 70), (3, 40, 50), (2, 70000)])
def test_reductions(shape):
    a = floats(*shape)
    x = put(a)
    for axis in (None, 0, -1):
        close(ch.sum(x, axis=axis), a.sum(axis=axis, dtype="f8").astype("f4"), 1e-4, 1e-3)
        same(ch.max(x, axis=axis), a.max(axis=axis))
    close(ch.mean(x, axis=-1), a.mean(axis=-1), 1e-4, 1e-5)
    same(ch.argmax(x, axis=-1), a.argmax(axis=-1))


@pytest.mark.parametrize("shape, axis", [((100_003,), 0), ((2, 70_000), 1), ((5000, 3), 0)])
def test_scans_of_long_axes(shape, axis):
    a = floats(*shape)
    x = put(a)
    close(ch.cumulative_sum(x, axis=axis), a.cumsum(axis, "f8").astype("f4"), 1e-5, 1e-2)
    i = put(RNG.integers(-99, 99, shape).astype(np.int32) | 1)
    for ours, of_numpy in ((ch.cumulative_sum, np.cumsum), (ch.cumulative_prod, np.cumprod)):
        same(ours(i, axis=axis, dtype=ch.int32), of_numpy(i.numpy(), axis, np.int32))
    out = ch.cumulative_sum(x + 1, axis=axis)
    assert dispatches(lambda: ch.eval(out)) == (3, 1)
    a[(..., 1)[: a.ndim]] = a[shape[0] // 2] = np.nan
    found = np.isnan(ch.cumulative_sum(put(a), axis=axis).numpy())
    np.testing.assert_array_equal(found, np.logical_or.accumulate(np.isnan(a), axis))


def test_softmax_is_one_dispatch():
    a = floats(20, 300)
    x = put(a)

    def softmax(x):
        e = ch.exp(x - ch.max(x, axis=1, keepdims=True))
        return e / ch.sum(e, axis=1, keepdims=True)

    out = softmax(x)
    assert dispatches(lambda: ch.eval(out)) == (1, 1)
    e = np.exp(a - a.max(1, keepdims=True))
    close(out, e / e.sum(1, keepdims=True), 1e-5)


@pytest.mark.parametrize("m, k, n", [(1, 5, 1), (3, 4, 5), (65, 130, 70), (128, 64, 128)])
def test_matmul(m, k, n):
    a, b = floats(m, k), floats(k, n)
    close(put(a) @ put(b), a @ b, 1e-4, 1e-4)
    close(put(a) @ put(b) + 1, a @ b + 1, 1e-4, 1e-4)


def test_views_and_writes():
    a = floats(6, 8)
    x = put(a.copy())
    view = x[1:4, ::2].T
    same(view, a[1:4, ::2].T)
    view += 1
    a[1:4, ::2] += 1
    x[0] = 5
    a[0] = 5
    x[1:] += x[:-1]
    a[1:] += a[:-1].copy()
    x[2, 3] = -1.5
    a[2, 3] = -1.5
    x[x > 2] = 0
    a[a > 2] = 0
    same(x, a)
    same(x[ch.asarray([3, 0, -1], device="gpu")], a[[3, 0, -1]])
    x[[0, 2]] = 7
    a[[0, 2]] = 7
    same(x, a)


def test_an_update_in_place_writes_where_the_value_is():
    x = put(np.zeros(1 << 20, np.float32))
    ch.eval(x)
    x[5:] += 1
    ch.eval(x)
    used = ch.gpu.memory_stats()["in_use"]
    for _ in range(5):
        x[5:] += 1
        ch.eval(x)
    assert ch.gpu.memory_stats()["in_use"] == used
    assert float(ch.sum(x)) == 6 * ((1 << 20) - 5)


@pytest.mark.parametrize("index", [np.zeros(0, np.int64), np.zeros((2, 0), np.int32)])
def test_reading_nothing_by_an_array_stays_on_the_device(index):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    same(put(x)[put(index)], x[index])
    same(ch.take(put(x), put(index), axis=0), x[index])
    same(put(x)[:, :0][put(np.asarray([1]))], x[:, :0][[1]])


def test_an_index_out_of_range_names_the_line_and_changes_nothing():
    x = put(np.arange(5, dtype=np.float32))
    index = put(np.array([1, 5]))
    with pytest.raises(IndexError, match=r"index 5 is out of bounds.*test_gpu"):
        ch.eval(x[index])
    x += 1
    same(x, np.arange(1, 6, dtype=np.float32))


@pytest.mark.parametrize("size", [5, 40, 300, 5000])
def test_cumulative_products_keep_the_strict_order(size):
    a = np.full(size, 1e30, np.float32)
    a[0] = 0  # a product of later elements alone overflows, and 0 * inf is NaN
    same(ch.cumulative_prod(put(a)), np.cumprod(a))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_not_finite_is_not_its_own_opposite(dtype):
    a = np.array([1, np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
    x = put(a)
    with np.errstate(all="ignore"):
        same(x - x, a - a)
        same(x != x, a != a)  # noqa: PLR0124
        same(ch.remainder(x, x), np.remainder(a, a))


@pytest.mark.parametrize("name", ["sinh", "exp", "cosh", "tanh"])
def test_scans_of_what_is_computed_once_a_row(name):
    a = floats(3)
    for k in range(3):
        row = getattr(ch, name)(put(a[k : k + 1]))
        want = np.cumsum(np.full(40, getattr(np, name)(a[k])))
        close(ch.cumulative_sum(ch.broadcast_to(row, (40,))), want, 1e-5, 1e-5)
        close(ch.cumulative_sum(put(np.ones(40, np.float32)) * row), want, 1e-5, 1e-5)


@pytest.mark.parametrize("shape", [(63,), (5, 63), (3, 500)])
@pytest.mark.parametrize("name", ["sum", "mean", "var", "prod"])
def test_sums_beside_a_scan_have_the_bits_of_sums_alone(name, shape):
    fold = getattr(ch, name)

    def run():
        x = put(floats(*shape))
        y = ch.cumulative_prod(1 + x / 64, axis=-1)
        total = fold(x, axis=-1, keepdims=True)
        z = ch.cumulative_sum(x - total, axis=-1)
        values = y, fold(y, axis=-1), z
        ch.eval(*values)
        return [v.numpy() for v in values]

    state = RNG.bit_generator.state
    together = run()
    RNG.bit_generator.state = state
    with ch.config(eager=True):
        for got, want in zip(together, run(), strict=True):
            np.testing.assert_array_equal(got, want)


def test_loops_that_an_adapter_ends_early_are_refused():
    """Mesa's llvmpipe leaves a shader's loops after 65,535 rounds, without a word."""
    a = 1 + floats(70_000, 3) / 10_000
    want = np.cumprod(a.astype("f8"), axis=0)
    with ch.config(gpu_fallback="cpu"):
        close(ch.cumulative_prod(put(a), axis=0), want.astype("f4"), 1e-3)
        deep = floats(2, 3_000_000)
        close(put(deep) @ put(deep.T), deep.astype("f8") @ deep.T, 1e-3, 1)
    if not shaders.features(gpu.device()).endless:
        with pytest.raises(TypeError, match="rounds of loops"):
            ch.eval(ch.cumulative_prod(put(a), axis=0))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "uint32"])
def test_widened_integers_are_compared_whole(dtype):
    a = RNG.integers(0, 2 if dtype == "bool" else 9, 1001).astype(dtype)
    x, wide = ch.astype(put(a), ch.int64), a.astype(np.int64)
    for c in (-3, 0, 4, 1 << 32):
        same(ch.abs(x - c), np.abs(wide - c))
        same(ch.sign(x - c), np.sign(wide - c))
        same(ch.clip(x, c, c + 2), np.clip(wide, c, c + 2))
        same(ch.where(x > c, x, -x), np.where(wide > c, wide, -wide))
    same(ch.sign(ch.astype(-put(a.astype(np.int32)), ch.int64)), -np.sign(wide))
    i = ch.arange(1001, dtype=ch.int64, device="gpu")
    same(ch.where(i > 4, i, -i), np.where(np.arange(1001) > 4, np.arange(1001), -np.arange(1001)))


def test_creation_movement_and_what_numpy_sorts():
    same(ch.arange(7, dtype=ch.int32, device="gpu"), np.arange(7, dtype=np.int32))
    close(
        ch.linspace(0.0, 1.0, 9, dtype=ch.float32, device="gpu"), np.linspace(0, 1, 9, dtype="f4")
    )
    same(ch.eye(3, dtype=ch.float32, device="gpu"), np.eye(3, dtype=np.float32))
    a = floats(4, 3)
    x = put(a)
    same(ch.concat([x, x], axis=1), np.concatenate([a, a], 1))
    same(ch.flip(ch.permute_dims(x, (1, 0))), np.flip(a.T))
    same(ch.sort(x, axis=0), np.sort(a, axis=0))
    same(ch.tril(x), np.tril(a))
    same(ch.cumulative_sum(put(np.arange(600, dtype=np.int32)), dtype=ch.int32),
         np.cumsum(np.arange(600), dtype=np.int32))  # fmt: skip
    assert ch.zeros_like(x).device == "gpu"
    same(put(np.zeros((0, 3), np.float32)) + 1, np.zeros((0, 3), np.float32))
    same(ch.sum(put(np.zeros((0, 3), np.float32)), axis=0), np.zeros(3, np.float32))


@pytest.mark.parametrize("left", DTYPES)
def test_results_have_the_dtypes_of_the_cpu(left):
    for right in DTYPES:
        given = np.ones(2, left), np.ones(2, right)
        for name in ("add", "divide", "copysign", "less", "maximum"):
            function = getattr(ch, name)
            there = function(*(put(a) for a in given))
            assert there.dtype == function(*(put(a, "cpu") for a in given)).dtype, (name, right)


def test_random_bits_are_those_of_the_cpu():
    given = ch.random.default_rng(5).integers(0, 1 << 60, 100, dtype=ch.int64)
    with ch.config(default_device="gpu"):
        same(ch.random.default_rng(5).integers(0, 1 << 60, 100, dtype=ch.int64), given.numpy())
        assert ch.ones(3, dtype=ch.float32).device == "gpu"


# -- plans -----------------------------------------------------------------------------------------


def test_a_chain_is_one_dispatch_and_a_plan_one_submit():
    x = put(floats(1000))
    ch.eval(x)

    def chain():
        y = x
        for _ in range(50):
            y = y * 0.5 + 1
        ch.eval(y)

    assert dispatches(chain) == (1, 1)
    w = [put(floats(30, 30)) for _ in range(3)]
    h = put(floats(10, 30))
    for weight in w:
        h = ch.maximum(h @ weight, 0)
    count, submits = dispatches(lambda: ch.eval(h))
    assert count <= 3 and submits == 1


def test_only_exports_read_back():
    x = put(floats(1000))
    before = ch.cache_info()["bytes_down"]
    y = ch.sum(x * 2)
    ch.eval(y)
    assert ch.cache_info()["bytes_down"] == before
    float(y)
    assert ch.cache_info()["bytes_down"] == before + 4


STEPS = """
import os, sys
import numpy as np
import charl as ch

def resident():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0

steps = int(sys.argv[1])
x = ch.asarray(np.zeros(64, np.float32), device="gpu")
seen = []
for k in range(steps):
    x = x + 1
    ch.eval(x)
    if k % (steps // 5) == steps // 5 - 1:
        seen.append((resident(), ch.gpu.memory_stats()["in_use"]))
assert (x.numpy() == steps).all()
assert len({used for _, used in seen}) == 1, seen
assert seen[-1][0] - seen[1][0] < 2 << 20, seen
"""


def test_ten_thousand_steps_leave_memory_flat():
    steps = "2000" if os.environ.get("CI") else "10000"
    code = [sys.executable, "-c", STEPS, steps]
    done = subprocess.run(code, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# -- devices ---------------------------------------------------------------------------------------


def test_arrays_of_two_devices_do_not_mix():
    x, y = put(floats(3)), ch.ones(3, dtype=ch.float32)
    for call in (lambda: x + y, lambda: y * x, lambda: ch.matmul(x, y), lambda: ch.concat([x, y])):
        with pytest.raises(ValueError, match=r"to_device"):
            call()
    with pytest.raises(ValueError, match=r"to_device"):
        y[:] = x
    with pytest.raises(ValueError, match=r"to_device"):
        y[1:] = x[1:]
    same(x + y.to_device("gpu"), x.numpy() + 1)


def test_numbers_and_arrays_of_others_mix():
    a = floats(3)
    x = put(a)
    same(x + ch.asarray(2.0, dtype=ch.float32), a + np.float32(2))
    same(x * ch.sum(ch.ones(3, dtype=ch.float32)), a * np.float32(3))
    same(x + np.float32(1), a + np.float32(1))
    same(x + a, a + a)
    number = ch.asarray(2.0, dtype=ch.float32) * 3
    pending = x + number
    assert float(number) == 6 and number.device == "cpu"
    same(pending, a + np.float32(6))


def test_to_device_and_back():
    a = floats(4, 4)
    x = ch.asarray(a)
    there = x.to_device("gpu")
    assert there.to_device("gpu") is there and x.to_device("cpu") is x
    back = (there * 2).to_device("cpu")
    assert back.device == "cpu"
    np.testing.assert_array_equal(back.numpy(), a * 2)
    there += 1
    np.testing.assert_array_equal(x.numpy(), a)
    assert ch.asarray(x, device="gpu").device == "gpu"
    assert ch.asarray(there).device == "gpu"
    for name in ("tpu", "gpu:x", 3):
        with pytest.raises(ValueError, match="no device"):
            x.to_device(name)


def test_the_array_api_names_them():
    info = ch.__array_namespace_info__()
    assert info.devices() == ch.devices()
    assert set(info.default_dtypes(device="gpu")) == set(info.default_dtypes())


def test_printing_and_export():
    x = put(np.arange(3, dtype=np.float32))
    assert repr(x) == "Tensor([0., 1., 2.], dtype=float32)"
    assert x.tolist() == [0, 1, 2] and [float(v) for v in x] == [0, 1, 2]
    assert np.asarray(memoryview(x)).tolist() == [0, 1, 2]
    assert np.from_dlpack(x).tolist() == [0, 1, 2]
    assert bool(x[1] == 1) and int(x[2]) == 2 and 2 in x


def test_a_reset_takes_what_was_there():
    x = put(floats(3))
    ch.eval(x)
    ch.gpu.reset()
    with pytest.raises(DeviceLost, match="reset"):
        (x + 1).numpy()
    a = floats(3)
    same(put(a) + 1, a + 1)
    assert float(ch.sum(ch.ones(5))) == 5


FORK = """
import os, sys
import numpy as np
import charl as ch
from charl.core.errors import CharlError
x = ch.asarray(np.ones(4, np.float32), device="gpu")
ch.eval(x + 1)
child = os.fork()
if child == 0:
    for call in (lambda: (x + 1).numpy(), lambda: ch.zeros(3, device="gpu"), ch.gpu.reset):
        try:
            call()
        except CharlError as error:
            assert "fork" in str(error), error
        else:
            os._exit(3)
    assert float(ch.sum(ch.ones(10))) == 10
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert float(ch.sum(x)) == 4
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_and_its_cpu_works():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# -- what a device lacks ---------------------------------------------------------------------------


@pytest.fixture
def bare():
    """The GPU without its optional features."""
    ch.gpu.reset()
    with ch.config(gpu_mask="f64,i64,f16,subgroup"):
        yield
        ch.gpu.reset()


def test_default_dtypes_are_those_the_device_has(bare):
    assert ch.zeros(3, device="gpu").dtype == ch.float32
    assert ch.arange(3, device="gpu").dtype == ch.int32
    assert ch.asarray([1.5], device="gpu").dtype == ch.float32
    x = ch.arange(4, device="gpu")
    assert (x + 0.5).dtype == (x / 2).dtype == ch.exp(x).dtype == ch.mean(x).dtype == ch.float32
    np.testing.assert_array_equal((x / 2).numpy(), np.arange(4, dtype="f4") / 2)
    for call in (
        lambda: ch.zeros(3, dtype=ch.float64, device="gpu"),
        lambda: put(np.zeros(3)),
        lambda: ch.zeros(3).to_device("gpu"),
        lambda: ch.astype(x, ch.float64),
    ):
        with pytest.raises(TypeError, match="float64"):
            call()


def test_what_has_no_float64_is_computed_without_it(bare):
    i, u = np.array([-1, 2**62 + 1, 5]), np.array([2**64 - 1, 2**62, 5], np.uint64)
    same(put(i) < put(u), i < u)
    small = np.array([1, 4, 9], np.int32)
    assert (put(small) ** 2.0).dtype == (put(small) ** 0.5).dtype == ch.float32
    close(put(small) ** 0.5, np.array([1, 2, 3], "f4"))
    assert ch.concat([put(small), put(floats(2))]).dtype == ch.float32
    assert (
        ch.result_type(put(small), 2.5) == ch.result_type(put(small), put(floats(2))) == ch.float32
    )
    x = put(np.zeros(3, np.float32))
    x[1:] = np.array([0.1, 1e300])
    x[[0]] = np.float64(2.5)
    same(x, np.array([2.5, 0.1, np.inf], np.float32))
    for call in (
        lambda: x * np.ones(3),
        lambda: x + np.float64(1),
        lambda: ch.concat([x, np.ones(3)]),
        lambda: ch.sum(x, dtype=ch.float64),
        lambda: ch.cumulative_sum(x, dtype=ch.float64),
        lambda: ch.full(3, np.ones(3), device="gpu"),
    ):
        with pytest.raises(TypeError, match=r"gpu:0 .*has no float64; use float32, or the cpu"):
            call()


def test_random_numbers_take_the_dtypes_of_the_device(bare):
    there, here = ch.random.default_rng(5), ch.random.default_rng(5)
    with ch.config(default_device="gpu"):
        given = there.random(3), there.uniform(-1.0, 2.0, 4), there.normal(size=5)
        whole = there.integers(0, 9, 6), there.permutation(7), there.choice(5, 8, p=[0.2] * 5)
        with pytest.raises(TypeError, match="float64"):
            there.random(3, dtype=ch.float64)
    assert {x.dtype for x in given} == {ch.float32} and whole[0].dtype == ch.int32
    same(given[0], here.random(3, dtype=ch.float32).numpy())
    close(given[1], here.uniform(-1.0, 2.0, 4, dtype=ch.float32).numpy())
    close(given[2], here.normal(size=5, dtype=ch.float32).numpy())
    same(whole[0], here.integers(0, 9, 6, dtype=ch.int32).numpy())
    same(whole[1], here.permutation(7).numpy())
    same(whole[2], here.choice(5, 8, p=[0.2] * 5).numpy())


def test_most_of_it_works_without_features(bare):
    test_elementwise()
    test_softmax_is_one_dispatch()
    test_matmul(65, 130, 70)
    test_views_and_writes()
    test_reductions((33, 70))


def test_what_cannot_run_is_refused_or_runs_on_the_cpu(bare):
    x = put(np.arange(4, dtype=np.int32))
    y = x.astype(ch.float32)
    wide = ch.api.build.cast(
        ch.tensor.node_of(y), ch.float64
    )  # no function makes it on such a device
    z = ch.tensor.wrap(wide) * 2
    with pytest.raises(TypeError, match=r"gpu:0 .*gpu_fallback"):
        ch.eval(ch.sum(z))
    with ch.config(gpu_fallback="cpu"):
        assert float(ch.sum(z)) == 12
    with ch.config(gpu_fallback="warn"), pytest.warns(RuntimeWarning, match="runs on the cpu"):
        assert float(ch.max(z)) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(x + 1, np.arange(1, 5, dtype=np.int32))


# -- exchange --------------------------------------------------------------------------------------


def test_dlpack_is_by_way_of_the_cpu():
    a = floats(2, 3)
    x = put(a)
    assert x.__dlpack_device__() == (1, 0)
    assert np.array_equal(np.from_dlpack(x), a)
    assert np.array_equal(np.from_dlpack(x, device="cpu", copy=True), a)
    with pytest.raises(BufferError, match="unsupported device"):
        x.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match="copy=False"):
        np.from_dlpack(x, copy=False)
    same(ch.from_dlpack(a, device="gpu"), a)
    same(ch.from_dlpack(put(a, "cpu"), device="gpu"), a)
    assert ch.from_dlpack(x, device="cpu").device == ch.from_dlpack(a).device == "cpu"
    for given, where in ((a, "gpu"), (x, "cpu"), (put(a, "cpu"), "gpu")):
        with pytest.raises(BufferError, match="copy=False"):
            ch.from_dlpack(given, device=where, copy=False)
    with ch.config(default_device="gpu"):
        assert ch.from_dlpack(a).device == "cpu"
    other = ch.from_dlpack(x)
    other += 1
    same(x, a)


def test_copies_pickles_and_files(tmp_path):
    a = floats(4, 3)
    x = put(a)
    for twin in (copy.copy(x), copy.deepcopy(x), copy.deepcopy(x[:]), x.copy()):
        twin += 1
        same(twin, a + np.float32(1))
    back = pickle.loads(pickle.dumps(x[::2]))
    assert back.device == "cpu" and np.array_equal(back, a[::2])
    with ch.config(default_device="gpu"):
        same(pickle.loads(pickle.dumps(x)), a)
    ch.save(tmp_path / "x.npy", x)
    with ch.config(default_device="gpu"):
        same(ch.load(tmp_path / "x.npy"), a)
    assert np.array_equal(np.load(tmp_path / "x.npy"), a)
    same(x, a)


def test_numpy_and_python_read_it():
    a = floats(3, 4)
    x = put(a)
    assert [row.device for row in x] == ["gpu"] * 3 and np.array_equal(list(x)[1], a[1])
    assert np.array_equal(np.concatenate([x, a]), np.concatenate([a, a]))
    assert np.linalg.norm(x) == np.linalg.norm(a) and np.allclose(x, a)
    assert np.array_equal(a[put(np.array([2, 0]))], a[[2, 0]])
    assert str(x) == str(a) and f"{x[0, 0]:.3f}" == f"{a[0, 0]:.3f}" and float(x[0, 0]) in x
    assert bytes(x) == a.tobytes() and memoryview(x.T).tolist() == a.T.tolist()
    for got in (a + x, a * 1 + x, x + a):
        same(got, a + a)
    same(a[:, :3].T @ x - x[:3] * 0, (put(a[:, :3].T) @ x).numpy())


@pytest.mark.parametrize("index", [slice(None), 0, (slice(None), slice(1, 3)), [1, 0]], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
def test_what_may_be_stored(index, dtype):
    """Numbers and what belongs to other libraries; no array of another device."""
    a = np.zeros((2, 4), np.float32)
    x = put(a.copy())
    width = a[index].shape[-1]
    value = np.arange(1, width + 1).astype(dtype)
    x[index] = value
    a[index] = value
    same(x, a)
    x[index] = ch.asarray(2, dtype=getattr(ch, dtype)) * 3
    a[index] = 6
    same(x, a)
    for wrong in (ch.asarray(value), ch.asarray(value) + 1):
        with pytest.raises(ValueError, match="to_device"):
            x[index] = wrong
    here = ch.asarray(a)
    with pytest.raises(ValueError, match="to_device"):
        here[index] = put(value)
    same(x, a)


@pytest.mark.parametrize("name", ["sum", "prod", "mean"])
def test_sums_over_a_tiny_axis_have_one_order(name):
    """Whatever computes what is summed."""
    x = put(floats(5000, 7))
    fold = getattr(ch, name)
    for y in (x * 2, ch.exp(ch.sin(ch.log1p(ch.abs(x)))), x[:, ::-1] + x):
        together = fold(y, axis=1).numpy()
        apart = fold(put(y.numpy()), axis=1).numpy()
        np.testing.assert_array_equal(together, apart)
