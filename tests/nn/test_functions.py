"""Functions of charl.nn against loops over NumPy arrays, written from PyTorch's definitions."""

import gc
import itertools
import math

import numpy as np
import pytest
from scipy import special

import charl as ch
from charl import nn

RNG = np.random.default_rng(7)


def floats(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def close(got, want, tolerance=1e-5):
    assert got.shape == want.shape and str(got.dtype) == str(want.dtype)
    np.testing.assert_allclose(got.numpy(), want, rtol=tolerance, atol=tolerance)


# -- convolution -----------------------------------------------------------------------------------


def pairs(value):
    return value if isinstance(value, tuple) else (value, value)


def convolved(x, w, stride=1, padding=0, dilation=1, groups=1):
    """x (N, C, H, W), w (O, C / groups, KH, KW) in float64, one output element at a time."""
    (sh, sw), (ph, pw), (dh, dw) = pairs(stride), pairs(padding), pairs(dilation)
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    outs, per, kh, kw = w.shape
    oh = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1
    ow = (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((len(x), outs, oh, ow))
    for o, i, j in itertools.product(range(outs), range(oh), range(ow)):
        first = o // (outs // groups) * per
        part = x[:, first : first + per, i * sh : i * sh + dh * (kh - 1) + 1 : dh]
        part = part[..., j * sw : j * sw + dw * (kw - 1) + 1 : dw]
        y[:, o, i, j] = (part * w[o]).sum((1, 2, 3))
    return y.astype(w.dtype)


CASES = [
    {},
    {"padding": 1},
    {"stride": 2, "padding": (1, 0)},
    {"stride": (1, 3)},
    {"dilation": (2, 1), "padding": 2},
]


@pytest.mark.parametrize("channels, outs, groups", [(3, 5, 1), (4, 6, 2), (4, 4, 4), (3, 6, 3)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4)])
@pytest.mark.parametrize("how", CASES, ids=str)
def test_conv2d(channels, outs, groups, kernel, how):
    x, w, b = floats(2, channels, 9, 8), floats(outs, channels // groups, *kernel), floats(outs)
    want = convolved(x, w, groups=groups, **how)
    close(nn.conv2d(ch.asarray(x), ch.asarray(w), groups=groups, **how), want)
    got = nn.conv2d(ch.asarray(x), ch.asarray(w), ch.asarray(b), groups=groups, **how)
    close(got, want + b[:, None, None])
    last = nn.conv2d(
        ch.asarray(x.transpose(0, 2, 3, 1)), ch.asarray(w), groups=groups, data_format="NHWC", **how
    )
    close(last, want.transpose(0, 2, 3, 1))
    one = nn.conv2d(ch.asarray(x[0]), ch.asarray(w), groups=groups, **how)
    close(one, want[0])


@pytest.mark.parametrize("kernel, dilation", [((3, 5), 1), ((2, 4), 1), ((3, 2), 2)])
def test_padding_by_name(kernel, dilation):
    x, w = floats(1, 2, 10, 11), floats(3, 2, *kernel)
    total = [dilation * (k - 1) for k in kernel]
    wide = np.pad(x, ((0, 0), (0, 0), *((t // 2, t - t // 2) for t in total)))
    got = nn.conv2d(ch.asarray(x), ch.asarray(w), padding="same", dilation=dilation)
    close(got, convolved(wide, w, dilation=dilation))
    got = nn.conv2d(ch.asarray(x), ch.asarray(w), padding="valid", dilation=dilation)
    close(got, convolved(x, w, dilation=dilation))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conv1d(dtype):
    x, w, b = floats(2, 4, 17, dtype=dtype), floats(6, 2, 3, dtype=dtype), floats(6, dtype=dtype)
    want = convolved(x[:, :, None], w[:, :, None], (1, 2), (0, 1), (1, 3), 2)[:, :, 0]
    args = (ch.asarray(w), ch.asarray(b), 2, 1, 3, 2)
    close(nn.conv1d(ch.asarray(x), *args), want + b[:, None])
    close(nn.conv1d(ch.asarray(x[0]), *args), want[0] + b[:, None])
    last = nn.conv1d(ch.asarray(x.transpose(0, 2, 1)), *args, data_format="NLC")
    close(last, (want + b[:, None]).transpose(0, 2, 1))


@pytest.mark.parametrize("shape", [(2, 3, 40), (1, 5, 700), (4, 2, 9)])
@pytest.mark.parametrize("how", [(1, 0, 1), (1, 2, 1), (1, 0, 3), (3, 1, 2)], ids=str)
def test_conv1d_of_one_line(shape, how):
    x, w = floats(*shape), floats(6, shape[1], 3)
    stride, padding, dilation = how
    want = convolved(x[:, :, None], w[:, :, None], (1, stride), (0, padding), (1, dilation))
    close(nn.conv1d(ch.asarray(x), ch.asarray(w), None, *how), want[:, :, 0])


@pytest.mark.parametrize("edge, width", [(23, 41), (14, 14), (7, 7), (40, 300)])
def test_conv2d_of_many_positions(edge, width):
    """Windows that begin and end anywhere in the vectors that a product packs."""
    x, w = floats(2, 3, edge, width), floats(4, 3, 3, 3)
    view = np.lib.stride_tricks.sliding_window_view(x.astype("f8"), (3, 3), (2, 3))
    want = np.einsum("nchwij,ocij->nohw", view, w).astype("f4")
    for backend in ("llvm", "interp"):
        with ch.config(backend=backend):
            close(nn.conv2d(ch.asarray(x), ch.asarray(w)), want, 1e-4)


def test_windows_are_not_stored():
    x, w = ch.asarray(floats(1, 16, 64, 64)), ch.asarray(floats(16, 16, 3, 3))
    for padding in (0, 1):  # an image with padding is a copy
        room = 4 * 16 * (62 * 62 if padding == 0 else 64 * 64 + 66 * 66)
        gc.collect()
        with ch.config(memory_limit=ch.memory_stats()["in_use"] + room * 11 // 10):
            ch.eval(nn.conv2d(x, w, padding=padding))


def test_conv_of_float16_sums_in_float32():
    x, w = (floats(*shape).astype(np.float16) for shape in ((1, 64, 6, 6), (4, 64, 3, 3)))
    want = convolved(x, w.astype(np.float32)).astype(np.float16)
    got = nn.conv2d(ch.asarray(x), ch.asarray(w))
    assert got.dtype == ch.float16
    np.testing.assert_allclose(got.numpy(), want, rtol=2e-3, atol=2e-3)


def test_wrong_convolutions_are_refused():
    x, w = ch.ones((1, 4, 5, 5)), ch.ones((2, 4, 3, 3))
    for change, error, text in (
        ({"weight": ch.ones((2, 3, 3, 3))}, ValueError, "4 channels"),
        ({"weight": ch.ones((2, 4, 3))}, ValueError, "4 axes"),
        ({"weight": ch.ones((2, 4, 6, 6))}, ValueError, "larger than"),
        ({"weight": ch.ones((2, 4, 3, 3), dtype=ch.float32)}, TypeError, "one dtype"),
        ({"input": ch.ones((5, 5))}, ValueError, "axes"),
        ({"input": ch.ones((1, 4, 5, 5), dtype=ch.int32)}, TypeError, "floating-point"),
        ({"bias": ch.ones(3)}, ValueError, "bias"),
        ({"groups": 3}, ValueError, "channels"),
        ({"groups": 0}, ValueError, "groups"),
        ({"stride": 0}, ValueError, "stride"),
        ({"stride": (1, 2, 3)}, ValueError, "stride"),
        ({"stride": 1.5}, TypeError, "stride"),
        ({"padding": -1}, ValueError, "padding"),
        ({"padding": "full"}, ValueError, "padding"),
        ({"padding": "same", "stride": 2}, ValueError, "stride 1"),
        ({"data_format": "HWC"}, ValueError, "data_format"),
    ):
        with pytest.raises(error, match=text):
            nn.conv2d(**{"input": x, "weight": w, **change})


def test_what_equals_an_int_is_still_refused():
    """What a call records is kept by its arguments, and 1.0 == 1."""
    x, w = ch.ones((1, 4, 5, 5)), ch.ones((2, 4, 3, 3))
    for same in (1, (1, 1)):
        nn.conv2d(x, w, stride=same)
        nn.max_pool2d(x, 1, same)
        ch.sliding_window_view(x, 2, 3, stride=1)
    for wrong in (1.0, (1.0, 1), [1, 1.0]):
        with pytest.raises(TypeError, match="stride"):
            nn.conv2d(x, w, stride=wrong)
        with pytest.raises(TypeError, match="stride"):
            nn.max_pool2d(x, 1, wrong)
        with pytest.raises(TypeError, match="sliding_window_view"):
            ch.sliding_window_view(x, (2, 2), (2, 3), stride=wrong)
    ch.reshape(x, (10, 10))
    ch.permute_dims(x, (0, 1, 2, 3))
    for call in (lambda: ch.reshape(x, (10.0, 10)), lambda: ch.permute_dims(x, (0.0, 1, 2, 3))):
        with pytest.raises((TypeError, AttributeError)):
            call()


# -- pooling ---------------------------------------------------------------------------------------


def pooled(x, kernel, stride, padding, dilation, ceil_mode):
    """(windows' elements of x (N, C, H, W), NaN beyond the input; their positions), in loops."""
    outs = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation):
        count = (math.ceil if ceil_mode else math.floor)((n + 2 * p - d * (k - 1) - 1) / s) + 1
        outs.append(count - (ceil_mode and (count - 1) * s >= n + p))
    found = np.full((*x.shape[:2], *outs, *kernel), np.nan)
    at = np.full((*outs, *kernel), -1)
    for i, j, a, b in itertools.product(*map(range, outs), *map(range, kernel)):
        row = i * stride[0] - padding[0] + a * dilation[0]
        column = j * stride[1] - padding[1] + b * dilation[1]
        if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
            found[:, :, i, j, a, b] = x[:, :, row, column]
            at[i, j, a, b] = row * x.shape[3] + column
    return found, at


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2)])
@pytest.mark.parametrize("stride", [None, 1, (3, 2)])
@pytest.mark.parametrize("padding, dilation", [(0, 1), (1, 1), (1, 2)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling(kernel, stride, padding, dilation, ceil_mode):
    x = floats(2, 3, 11, 10)
    sizes = kernel, pairs(kernel if stride is None else stride), pairs(padding), pairs(dilation)
    found, at = pooled(x, *sizes, ceil_mode)
    flat = found.reshape(*found.shape[:4], -1)
    y, index = nn.max_pool2d(
        ch.asarray(x), kernel, stride, padding, dilation, ceil_mode, return_indices=True
    )
    np.testing.assert_array_equal(y.numpy(), np.nanmax(flat, -1).astype(np.float32))
    places = np.broadcast_to(at.reshape(*at.shape[:2], -1), flat.shape)
    best = np.take_along_axis(places, np.nanargmax(flat, -1)[..., None], -1)[..., 0]
    np.testing.assert_array_equal(index.numpy(), best)
    if dilation == 1:
        got = nn.avg_pool2d(
            ch.asarray(x), kernel, stride, padding, ceil_mode, count_include_pad=False
        )
        close(got, np.nanmean(flat, -1).astype(np.float32))
        got = nn.avg_pool2d(ch.asarray(x), kernel, stride, padding, ceil_mode, divisor_override=5)
        close(got, (np.nansum(flat, -1) / 5).astype(np.float32))


def test_the_padding_counts_in_an_average():
    x = ch.ones((1, 1, 3, 3), dtype=ch.float32)
    got = nn.avg_pool2d(x, 2, 2, 1)
    np.testing.assert_array_equal(got.numpy(), [[[[0.25, 0.5], [0.5, 1]]]])
    # with ceil_mode a window may hang over the padding: what is beyond does not count
    got = nn.avg_pool2d(x, 2, 2, 0, ceil_mode=True)
    np.testing.assert_array_equal(got.numpy(), np.ones((1, 1, 2, 2)))


def test_nan_wins_in_a_pool():
    x = floats(1, 1, 4, 4)
    x[0, 0, 1, 1] = np.nan
    got = nn.max_pool2d(ch.asarray(x), 2).numpy()
    assert np.isnan(got[0, 0, 0, 0]) and np.isfinite(got[0, 0, 1]).all()


def test_wrong_pools_are_refused():
    x = ch.ones((1, 1, 4, 4))
    for call, error in (
        (lambda: nn.max_pool2d(x, 2, padding=2), ValueError),
        (lambda: nn.max_pool2d(x, 5), ValueError),
        (lambda: nn.max_pool2d(x, 0), ValueError),
        (lambda: nn.max_pool2d(x[0, 0], 2), ValueError),
        (lambda: nn.max_pool2d(ch.ones((1, 1, 4, 4), dtype=ch.int32), 2), TypeError),
        (lambda: nn.avg_pool2d(x, 2, divisor_override=0), ValueError),
    ):
        with pytest.raises(error, match="pool2d"):
            call()


# -- activations and normalisation -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations(dtype):
    x = np.concatenate([floats(50) * 4, [0, -0.0, 30, -30, np.inf]]).astype(dtype)
    wide = x.astype(np.float64)
    t = ch.asarray(x)
    close(nn.relu(t), np.maximum(x, 0))
    close(nn.sigmoid(t), special.expit(wide).astype(dtype))
    close(nn.silu(t), (wide * special.expit(wide)).astype(dtype))
    close(nn.gelu(t), (wide * special.ndtr(wide)).astype(dtype))
    inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
    close(nn.gelu(t, approximate="tanh"), (0.5 * wide * (1 + np.tanh(inner))).astype(dtype))
    finite = floats(4, 5, 6, dtype=dtype)
    close(nn.softmax(ch.asarray(finite), 1), special.softmax(finite, 1))
    assert np.isnan(nn.relu(ch.asarray(dtype(np.nan))).numpy())
    with pytest.raises(ValueError, match="approximate"):
        nn.gelu(t, approximate="erf")
    with pytest.raises(TypeError, match="floating-point"):
        nn.gelu(ch.arange(3))


@pytest.mark.parametrize("shape", [(6,), (5, 6), 6])
def test_layer_norm(shape):
    x = floats(4, 5, 6) * 3 + 7
    axes = tuple(range(3 - len(shape if isinstance(shape, tuple) else (shape,)), 3))
    inner = x.shape[axes[0] :]
    w, b = floats(*inner), floats(*inner)
    wide = x.astype(np.float64)
    want = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    close(nn.layer_norm(ch.asarray(x), shape), want.astype(np.float32))
    got = nn.layer_norm(ch.asarray(x), shape, ch.asarray(w), ch.asarray(b))
    close(got, (want * w + b).astype(np.float32), 1e-4)
    for call in (
        lambda: nn.layer_norm(ch.asarray(x), 5),
        lambda: nn.layer_norm(ch.asarray(x), ()),
        lambda: nn.layer_norm(ch.asarray(x), 6, ch.ones(5, dtype=ch.float32)),
    ):
        with pytest.raises(ValueError, match="layer_norm"):
            call()


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4), (2, 3, 4, 5)])
def test_batch_norm(shape):
    x, (mean, w, b), var = floats(*shape) * 2 + 1, floats(3, 3), floats(3) ** 2 + 1
    axes, spread = (0, *range(2, len(shape))), (3, *(1,) * (len(shape) - 2))
    m, v = ch.asarray(mean), ch.asarray(var)
    want = (x - mean.reshape(spread)) / np.sqrt(var.reshape(spread) + 1e-5)
    close(nn.batch_norm(ch.asarray(x), m, v), want)
    want = want * w.reshape(spread) + b.reshape(spread)
    close(nn.batch_norm(ch.asarray(x), m, v, ch.asarray(w), ch.asarray(b)), want)
    close(m, mean)
    wide = x.astype(np.float64)
    want = wide - wide.mean(axes, keepdims=True)
    want = (want / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)).astype(np.float32)
    close(nn.batch_norm(ch.asarray(x), m, v, training=True, momentum=0.25), want)
    close(m, 0.75 * mean + 0.25 * x.mean(axes))
    close(v, 0.75 * var + 0.25 * x.var(axes, ddof=1))
    for call in (
        lambda: nn.batch_norm(ch.asarray(x), None, v),
        lambda: nn.batch_norm(ch.asarray(x), m, v, ch.ones(2, dtype=ch.float32)),
        lambda: nn.batch_norm(ch.asarray(x[:1, :, ...][(slice(None),) * 2]), v[:1], v),
        lambda: nn.batch_norm(ch.ones((1, 3)), None, None, training=True),
    ):
        with pytest.raises(ValueError, match="batch_norm"):
            call()


# -- attention -------------------------------------------------------------------------------------


def attended(q, k, v, mask=None, scale=None):
    scores = q.astype(np.float64) @ k.swapaxes(-1, -2) * (scale or 1 / math.sqrt(q.shape[-1]))
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    with np.errstate(invalid="ignore"):
        weights = np.nan_to_num(special.softmax(scores, -1))
    return (weights @ v).astype(np.float32)


@pytest.mark.parametrize("length, keys", [(4, 4), (3, 7), (7, 3)])
def test_attention(length, keys):
    q, k, v = floats(2, 3, length, 8), floats(2, 3, keys, 8), floats(2, 3, keys, 5)
    t = [ch.asarray(x) for x in (q, k, v)]
    close(nn.scaled_dot_product_attention(*t), attended(q, k, v))
    got = nn.scaled_dot_product_attention(*t, is_causal=True)
    close(got, attended(q, k, v, np.tri(length, keys, dtype=bool)))
    mask = RNG.random((length, keys)) > 0.4
    mask[0] = False  # a query that sees nothing
    close(nn.scaled_dot_product_attention(*t, ch.asarray(mask)), attended(q, k, v, mask))
    mask = floats(length, keys)
    got = nn.scaled_dot_product_attention(*t, ch.asarray(mask), scale=0.3)
    close(got, attended(q, k, v, mask, 0.3))
    many = floats(2, 6, length, 8)
    got = nn.scaled_dot_product_attention(ch.asarray(many), *t[1:], enable_gqa=True)
    close(got, attended(many, k.repeat(2, 1), v.repeat(2, 1)))
    ends = [nn.scaled_dot_product_attention(*t, dropout_p=p) for p in (0.5, 1.0)]
    assert ends[0].shape == (2, 3, length, 5) and not ends[1].numpy().any()
    again = nn.scaled_dot_product_attention(*t, dropout_p=0.5)
    assert not np.array_equal(again, ends[0])  # other weights are dropped at each call


@pytest.mark.parametrize("length, keys", [(512, 384), (509, 300), (130, 1100)])
def test_attention_in_blocks_of_queries(length, keys):
    """Lengths that are cut, and a prime; masks of every shape; as many bits as one head by itself."""
    q, k, v = floats(2, 3, length, 8), floats(2, 3, keys, 8), floats(2, 3, keys, 5)
    t = [ch.asarray(x) for x in (q, k, v)]
    got = nn.scaled_dot_product_attention(*t)
    close(got, attended(q, k, v))
    one = nn.scaled_dot_product_attention(*(x[1, 2] for x in t))
    np.testing.assert_array_equal(got[1, 2].numpy(), one.numpy())
    got = nn.scaled_dot_product_attention(*t, is_causal=True)
    close(got, attended(q, k, v, np.tri(length, keys, dtype=bool)))
    for shape in (
        (length, keys),
        (1, keys),
        (keys,),
        (3, length, keys),
        (3, 1, keys),
        (2, 1, 1, keys),
    ):
        mask = RNG.random(shape) > 0.4
        close(nn.scaled_dot_product_attention(*t, ch.asarray(mask)), attended(q, k, v, mask))
    shared = nn.scaled_dot_product_attention(t[0], t[1][0, 0], t[2][0, 0])
    close(shared, attended(q, k[0, 0], v[0, 0]))
    many = floats(2, 6, length, 8)
    got = nn.scaled_dot_product_attention(ch.asarray(many), *t[1:], enable_gqa=True)
    close(got, attended(many, k.repeat(2, 1), v.repeat(2, 1)))


def test_wrong_attention_is_refused():
    q = ch.ones((2, 3, 4))
    for call in (
        lambda: nn.scaled_dot_product_attention(q, ch.ones((2, 3, 5)), q),
        lambda: nn.scaled_dot_product_attention(q, q, ch.ones((2, 4, 4))),
        lambda: nn.scaled_dot_product_attention(q[0, 0], q, q),
        lambda: nn.scaled_dot_product_attention(q, q, q, ch.ones((3, 3)), is_causal=True),
        lambda: nn.scaled_dot_product_attention(q, q, q, dropout_p=1.5),
        lambda: nn.scaled_dot_product_attention(q[:1], q[:1, :2], q, enable_gqa=True),
    ):
        with pytest.raises(ValueError, match="scaled_dot_product_attention"):
            call()


def test_embedding():
    table, index = floats(7, 4), RNG.integers(0, 7, (3, 2))
    close(nn.embedding(ch.asarray(index), ch.asarray(table), padding_idx=-1), table[index])
    with pytest.raises(TypeError, match="integer"):
        nn.embedding(ch.ones(2), ch.asarray(table))
    with pytest.raises(ValueError, match="padding_idx"):
        nn.embedding(ch.asarray(index), ch.asarray(table), 7)
    with pytest.raises(IndexError, match="out of bounds"):
        nn.embedding(ch.asarray([7]), ch.asarray(table)).numpy()


@pytest.mark.parametrize("backend", ["interp", "llvm"])
def test_backends_agree_to_the_bit(backend):
    x, w, q = floats(2, 4, 9, 8), floats(6, 4, 3, 3), floats(2, 3, 5, 8)

    def bits(name):
        with ch.config(backend=name):
            y = nn.max_pool2d(nn.gelu(nn.conv2d(ch.asarray(x), ch.asarray(w), padding=1)), 2)
            t = ch.asarray(q)
            return y.numpy(), nn.scaled_dot_product_attention(t, t, t).numpy()

    for got, want in zip(bits(backend), bits("auto"), strict=True):
        np.testing.assert_array_equal(got, want)
