"""Convolutions: cross-correlations, as in every framework. Source: torch.nn.functional.

A convolution is a matrix product of the weights (out, channels * kernel) and the windows of the input (channels *
kernel, positions), batch by batch and group by group. A kernel of one element needs no windows; where each channel is
a group of its own (depthwise), sums over the few places of the kernel are done element by element.
"""

from __future__ import annotations

import math

import charl as ch
from charl.nn.arguments import each, floating
from charl.nn.windows import padded, windows

FORMATS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC")}


def conv1d(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, data_format="NCL"
):
    """input (N, C, L) or (C, L), weight (O, C / groups, K), bias (O,) -> (N, O, out) or (O, out), where
    out = (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1.

    padding may also be "valid" (none) or "same" (out = L, stride 1). data_format "NLC": input (N, L, C) -> (N, out, O).
    Raises TypeError for dtypes that are not floating-point or differ, ValueError for shapes that do not fit.

    >>> ch.nn.conv1d(ch.asarray([[1.0, 2.0, 4.0]]), ch.asarray([[[1.0, -1.0]]]))
    Tensor([[-1., -2.]])
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups, data_format)


def conv2d(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, data_format="NCHW"
):
    """input (N, C, H, W) or (C, H, W), weight (O, C / groups, KH, KW), bias (O,) -> (N, O, H', W') or (O, H', W');
    H' = (H + 2 * padding - dilation * (KH - 1) - 1) // stride + 1, and W' likewise.

    stride, padding and dilation are ints or a pair of them (height, width); padding may also be "valid" (none) or
    "same" (H' = H, stride 1). data_format "NHWC": input (N, H, W, C) -> (N, H', W', O).
    Raises TypeError for dtypes that are not floating-point or differ, ValueError for shapes that do not fit.

    >>> ch.nn.conv2d(ch.ones((1, 3, 3)), ch.ones((1, 1, 2, 2)))
    Tensor([[[4., 4.],
            [4., 4.]]])
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups, data_format)


def _conv(name, ndim, input, weight, bias, stride, padding, dilation, groups, data_format):
    x, w = floating(input, name), floating(weight, name, "weight")
    if data_format not in FORMATS[ndim]:
        raise ValueError(f"{name}: data_format must be one of {FORMATS[ndim]}, got {data_format!r}")
    last = data_format != FORMATS[ndim][0]
    if x.ndim not in (ndim + 1, ndim + 2):
        raise ValueError(f"{name}: input must have {ndim + 1} or {ndim + 2} axes, got {x.shape}")
    single = x.ndim == ndim + 1
    if single:
        x = ch.expand_dims(x, axis=0)
    if last:
        x = ch.moveaxis(x, -1, 1)
    (groups,) = each(groups, 1, name, "groups")
    b = None if bias is None else floating(bias, name, "bias")
    _check(name, ndim, x, w, b, groups)
    stride = each(stride, ndim, name, "stride")
    dilation = each(dilation, ndim, name, "dilation")
    kernel = w.shape[2:]
    before, after = _padding(name, padding, kernel, stride, dilation)
    out = tuple(
        (n + p + q - d * (k - 1) - 1) // s + 1
        for n, p, q, d, k, s in zip(x.shape[2:], before, after, dilation, kernel, stride)
    )
    if min(out) < 1:
        raise ValueError(
            f"{name}: a kernel of {kernel}, dilated by {dilation}, is larger than the padded input; "
            f"input is {tuple(input.shape)}"
        )
    y = _product(padded(x, before, after), w, kernel, stride, dilation, out, groups)
    if b is not None:
        y = y + ch.reshape(b, (-1, *(1,) * ndim))
    if last:
        y = ch.moveaxis(y, 1, -1)
    return y[0] if single else y


def _check(name, ndim, x, w, b, groups):
    """Raises where weight and bias do not fit the input (N, C, *spatial)."""
    if w.ndim != ndim + 2:
        raise ValueError(f"{name}: weight must have {ndim + 2} axes, got {w.shape}")
    if w.dtype != x.dtype or (b is not None and b.dtype != x.dtype):
        kinds = ", ".join(str(t.dtype) for t in (x, w, b) if t is not None)
        raise TypeError(f"{name}: input, weight and bias must have one dtype, got {kinds}")
    if w.shape[1] * groups != x.shape[1]:
        raise ValueError(
            f"{name}: input has {x.shape[1]} channels, and weight {w.shape} in {groups} groups "
            f"takes {w.shape[1] * groups}"
        )
    if w.shape[0] % groups or 0 in w.shape:
        raise ValueError(f"{name}: weight {w.shape} cannot be cut into {groups} groups")
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"{name}: bias must be {w.shape[:1]}, got {b.shape}")


def _padding(name, padding, kernel, stride, dilation):
    """Elements before and after each spatial axis."""
    if isinstance(padding, str):
        if padding == "valid":
            padding = 0
        elif padding != "same":
            raise ValueError(f"{name}: padding must be ints, 'valid' or 'same', got {padding!r}")
        elif any(s != 1 for s in stride):
            raise ValueError(f"{name}: padding 'same' needs stride 1, got {stride}")
        else:
            total = [d * (k - 1) for d, k in zip(dilation, kernel)]
            return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    both = each(padding, len(kernel), name, "padding", 0)
    return both, both


def _product(x, w, kernel, stride, dilation, out, groups):
    """x (N, C, *padded), w (O, C / groups, *kernel) -> (N, O, *out)."""
    n, channels = x.shape[:2]
    parts = windows(x, kernel, stride, dilation, out)
    if w.shape[1] == 1 and groups > 1:
        each_of = w.shape[0] // groups  # results of a channel
        taps = ch.reshape(w, (1, groups, each_of, math.prod(kernel), *(1,) * len(out)))
        y = None
        for k, part in enumerate(parts):
            term = ch.expand_dims(part, axis=2) * taps[:, :, :, k]
            y = term if y is None else y + term
        return ch.reshape(y, (n, w.shape[0], *out))
    places = list(parts)
    x = places[0] if len(places) == 1 else ch.stack(places, axis=2)
    x = ch.reshape(x, (n, groups, channels // groups * len(places), math.prod(out)))
    w = ch.reshape(w, (groups, w.shape[0] // groups, -1))
    return ch.reshape(ch.matmul(w, x), (n, -1, *out))
