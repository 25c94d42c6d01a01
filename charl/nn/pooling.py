"""Pooling over windows of (N, C, H, W) or (C, H, W) arrays. Source: torch.nn.functional."""

from __future__ import annotations

import functools
import math

import charl as ch
from charl.nn.arguments import each, floating
from charl.nn.windows import padded, windows


def max_pool2d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
):
    """The largest element of each window; NaN wins. (N, C, H, W) -> (N, C, H', W'), or without N, where
    H' = (H + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1, rounded down, or up with ceil_mode.

    Sizes are ints or pairs (height, width); stride None is kernel_size. Padding counts as -inf and is at most half the
    kernel. return_indices: also the positions h * W + w of the elements (int64, the first one of equals).
    Raises TypeError for dtypes that are not floating-point, ValueError for sizes that do not fit.

    >>> ch.nn.max_pool2d(ch.reshape(ch.arange(4.0), (1, 2, 2)), 2)
    Tensor([[[3.]]])
    """
    sizes = kernel_size, stride, padding, dilation, ceil_mode
    y = _largest(input, *sizes)
    return (y, _positions(input, *sizes)) if return_indices else y


@ch._recorded
def _largest(input, *sizes):
    """The first result of max_pool2d."""
    x, single = _batch(input, "max_pool2d")
    y = functools.reduce(ch.maximum, _parts(x, _walk("max_pool2d", x.shape, *sizes)))
    return y[0].copy() if single else y


@ch._recorded
def _positions(input, *sizes):
    """The second."""
    x, single = _batch(input, "max_pool2d")
    walk = _walk("max_pool2d", x.shape, *sizes)
    kernel, stride, padding, dilation, out, _ = walk
    parts = _parts(x, walk)
    at = ch.argmax(ch.stack(parts, axis=-1), axis=-1)
    rows, columns = (ch.arange(n, device=x.device) * s - p for n, s, p in zip(out, stride, padding))
    row = ch.expand_dims(rows, axis=1) + at // kernel[1] * dilation[0]
    column = columns + at % kernel[1] * dilation[1]
    index = row * x.shape[3] + column
    return index[0] if single else index


def _parts(x, walk):
    """What each place of the kernel meets."""
    kernel, stride, padding, dilation, out, after = walk
    return windows(padded(x, padding, after, -math.inf), kernel, stride, dilation, out)


@ch._recorded
def avg_pool2d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    """The mean of each window. (N, C, H, W) -> (N, C, H', W'), or without N; sizes as in max_pool2d.

    The sum is divided by the number of elements of the window, those of the padding among them if count_include_pad,
    or by divisor_override. Raises TypeError for dtypes that are not floating-point, ValueError for sizes that do not
    fit or a divisor of 0.

    >>> ch.nn.avg_pool2d(ch.reshape(ch.arange(4.0), (1, 2, 2)), 2)
    Tensor([[[1.5]]])
    """
    x, single = _batch(input, "avg_pool2d")
    sizes = kernel_size, stride, padding, 1, ceil_mode
    kernel, stride, padding, one, out, after = _walk("avg_pool2d", x.shape, *sizes)
    total = functools.reduce(ch.add, windows(padded(x, padding, after), kernel, stride, one, out))
    if divisor_override is not None:
        if divisor_override == 0:
            raise ValueError("avg_pool2d: divisor_override must not be 0")
        y = total / divisor_override
    else:
        axes = zip(x.shape[2:], out, kernel, stride, padding)
        rows, columns = (_counts(x, *axis, count_include_pad) for axis in axes)
        if not isinstance(rows, int):
            rows = ch.expand_dims(rows, axis=1)
        y = total / (rows * columns)
    return y[0].copy() if single else y


def _batch(input, name):
    """input as (N, C, H, W), and whether it came without N."""
    x = floating(input, name)
    if x.ndim not in (3, 4):
        raise ValueError(f"{name}: input must have 3 or 4 axes, got {x.shape}")
    return (ch.expand_dims(x, axis=0), True) if x.ndim == 3 else (x, False)


def _walk(name, shape, kernel_size, stride, padding, dilation, ceil_mode):
    """How windows go over (N, C, H, W): kernel, stride, padding before, dilation, results, padding after."""
    kernel = each(kernel_size, 2, name, "kernel_size")
    stride = kernel if stride is None else each(stride, 2, name, "stride")
    padding = each(padding, 2, name, "padding", 0)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f"{name}: padding {padding} is more than half of the kernel {kernel}")
    dilation = each(dilation, 2, name, "dilation")
    out = _out(name, shape[2:], kernel, stride, padding, dilation, ceil_mode)
    after = _after(shape[2:], kernel, stride, padding, dilation, out)
    return kernel, stride, padding, dilation, out, after


def _out(name, shape, kernel, stride, padding, dilation, ceil_mode):
    """Windows along each axis. The last one starts in the input or in the padding before it."""
    out = []
    for n, k, s, p, d in zip(shape, kernel, stride, padding, dilation):
        room = n + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        out.append(count)
    if min(out) < 1:
        raise ValueError(f"{name}: a kernel of {kernel} is larger than the padded input {shape}")
    return tuple(out)


def _after(shape, kernel, stride, padding, dilation, out):
    """Padding at the end, so that the last window is whole."""
    return tuple(
        max(0, (m - 1) * s + d * (k - 1) + 1 - n - p)
        for n, k, s, p, d, m in zip(shape, kernel, stride, padding, dilation, out)
    )


def _counts(x, n, windows, size, pace, before, with_padding):
    """Elements that divide the sum of each window along an axis of n: an int where they are equal,
    else an array in x's dtype.
    """
    first, last = -before, (windows - 1) * pace + size - before
    if last <= n + before if with_padding else (first == 0 and last <= n):
        return size
    start = ch.arange(windows, device=x.device) * pace - before
    stop = ch.minimum(start + size, n + before)
    if not with_padding:
        start, stop = ch.maximum(start, 0), ch.minimum(stop, n)
    return ch.astype(stop - start, x.dtype)
