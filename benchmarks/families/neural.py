"""Functions of neural networks, beside oneDNN (torch) and XLA: convolutions, pools, attention, normalisation."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.libraries import versions
from benchmarks.workload import workload
from charl import nn

FAMILY = ("neural",)


def loops_of(x, w, padding):
    """NumPy's convolution by windows and einsum: the reference."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w, optimize=True)


def convolution(xp, x, w):
    return nn.conv2d(x, w, padding=1)


def convolution_jax(xp, x, w):
    import jax

    return jax.lax.conv_general_dilated(x, w, (1, 1), ((1, 1), (1, 1)))


def convolution_torch(xp, x, w):
    return xp.nn.functional.conv2d(x, w, padding=1)


# name: (N, C, edge, O)
CONVOLUTIONS = {
    "conv3": ((1, 3, 32, 32), (4, 3, 64, 32), (8, 3, 128, 32)),
    "conv64": ((1, 64, 14, 64), (1, 64, 56, 64), (4, 64, 56, 64)),
}
for _name, _shapes in CONVOLUTIONS.items():
    _by_size = {n * c * e * e: (n, c, e, o) for n, c, e, o in _shapes}
    workload(
        _name,
        f"3x3 convolution, {_shapes[0][1]} -> {_shapes[0][3]} channels, padding 1, NCHW",
        sizes=tuple(_by_size),
        make=lambda size, rng, t=_by_size: (
            rng.standard_normal((t[size][0], t[size][1], t[size][2], t[size][2])).astype(
                np.float32
            ),
            (rng.standard_normal((t[size][3], t[size][1], 3, 3)) / 10).astype(np.float32),
        ),
        run=versions(
            convolution,
            numpy=lambda xp, x, w: loops_of(x, w, 1),
            jax=convolution_jax,
            torch=convolution_torch,
        ),
        nbytes=lambda size, t=_by_size: 4 * size * (t[size][1] + t[size][3]) // t[size][1],
        flops=lambda size, t=_by_size: 18 * size * t[size][3],
        tolerance=1e-4,
        quick=next(iter(_by_size)),
        tags=FAMILY,
    )


def depthwise(xp, x, w):
    return nn.conv2d(x, w, padding=1, groups=x.shape[1])


def depthwise_numpy(xp, x, w):
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,cij->nchw", windows, w[:, 0])


def depthwise_jax(xp, x, w):
    import jax

    pads = ((1, 1), (1, 1))
    return jax.lax.conv_general_dilated(x, w, (1, 1), pads, feature_group_count=x.shape[1])


def depthwise_torch(xp, x, w):
    return xp.nn.functional.conv2d(x, w, padding=1, groups=x.shape[1])


def pool(xp, x):
    return nn.max_pool2d(x, 2)


def pool_numpy(xp, x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def pool_jax(xp, x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def pool_torch(xp, x):
    return xp.nn.functional.max_pool2d(x, 2)


def image(channels):
    def make(size, rng):
        edge = math.isqrt(size // channels)
        return (rng.standard_normal((1, channels, edge, edge)).astype(np.float32),)

    return make


workload(
    "depthwise",
    "3x3 convolution of each of 64 channels, padding 1",
    sizes=(64 * 14 * 14, 64 * 56 * 56, 64 * 112 * 112),
    make=lambda size, rng: (
        *image(64)(size, rng),
        rng.standard_normal((64, 1, 3, 3)).astype(np.float32),
    ),
    run=versions(depthwise, numpy=depthwise_numpy, jax=depthwise_jax, torch=depthwise_torch),
    nbytes=lambda n: 8 * n,
    flops=lambda n: 18 * n,
    tolerance=1e-4,
    quick=64 * 14 * 14,
    tags=FAMILY,
)
workload(
    "maxpool",
    "2x2 max pool of 64 channels",
    sizes=(64 * 16 * 16, 64 * 56 * 56, 64 * 224 * 224),
    make=image(64),
    run=versions(pool, numpy=pool_numpy, jax=pool_jax, torch=pool_torch),
    nbytes=lambda n: 5 * n,
    flops=lambda n: n,
    tolerance=0,
    quick=64 * 16 * 16,
    tags=FAMILY,
)


def attention(xp, q, k, v):
    return nn.scaled_dot_product_attention(q, k, v)


def attention_numpy(xp, q, k, v):
    s = q @ k.swapaxes(-1, -2) * np.float32(1 / math.sqrt(q.shape[-1]))
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


def attention_jax(xp, q, k, v):
    import jax

    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    return jax.nn.dot_product_attention(q, k, v).swapaxes(1, 2)


def attention_torch(xp, q, k, v):
    return xp.nn.functional.scaled_dot_product_attention(q, k, v)


workload(
    "attention",
    "attention of 4 x 8 heads of width 64; the size is the length",
    sizes=(32, 256, 1024),
    make=lambda t, rng: tuple(
        rng.standard_normal((4, 8, t, 64)).astype(np.float32) for _ in range(3)
    ),
    run=versions(attention, numpy=attention_numpy, jax=attention_jax, torch=attention_torch),
    nbytes=lambda t: 4 * 4 * 32 * 64 * t,
    flops=lambda t: 4 * 32 * 64 * t * t,
    tolerance=1e-4,
    quick=32,
    tags=FAMILY,
)


def softmax_rows(xp, x):
    return nn.softmax(x, 1)


def softmax_numpy(xp, x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def normalized(xp, x, w, b):
    return nn.layer_norm(x, 1024, w, b)


def normalized_numpy(xp, x, w, b):
    c = x - xp.mean(x, axis=1, keepdims=True)
    return c / xp.sqrt(xp.mean(c * c, axis=1, keepdims=True) + 1e-5) * w + b


def normalized_torch(xp, x, w, b):
    return xp.nn.functional.layer_norm(x, (1024,), w, b)


def gelu(xp, x):
    return nn.gelu(x)


def gelu_numpy(xp, x):
    from scipy import special

    return (x * special.ndtr(x.astype(np.float64))).astype(x.dtype)


def jax_nn(name, **how):
    def function(xp, x):
        import jax

        return getattr(jax.nn, name)(x, **how)

    return function


def torch_nn(name, **how):
    return lambda xp, x: getattr(xp.nn.functional, name)(x, **how)


for _name, _doc, _run, _extra, _ops in (
    (
        "softmaxrows",
        "softmax over rows of 1024",
        versions(
            softmax_rows,
            numpy=softmax_numpy,
            jax=jax_nn("softmax", axis=1),
            torch=torch_nn("softmax", dim=1),
        ),
        0,
        5,
    ),
    (
        "layernormrows",
        "layer norm over rows of 1024, with weight and bias",
        versions(normalized, numpy=normalized_numpy, jax=normalized_numpy, torch=normalized_torch),
        2,
        9,
    ),
    (
        "gelu",
        "GELU, by erf",
        versions(
            gelu, numpy=gelu_numpy, jax=jax_nn("gelu", approximate=False), torch=torch_nn("gelu")
        ),
        0,
        5,
    ),
):
    workload(
        _name,
        f"{_doc}, float32",
        sizes=(16 * 1024, 1024 * 1024, 4096 * 1024),
        make=lambda n, rng, extra=_extra: (
            rng.standard_normal((n // 1024, 1024)).astype(np.float32),
            *(rng.standard_normal(1024).astype(np.float32) for _ in range(extra)),
        ),
        run=_run,
        nbytes=lambda n: 8 * n,
        flops=lambda n, ops=_ops: ops * n,
        tolerance=1e-5,
        quick=16 * 1024,
        tags=FAMILY,
    )
