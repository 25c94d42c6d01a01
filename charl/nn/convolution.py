"""Convolutions: cross-correlations, as in every framework. Source: torch.nn.functional.

A convolution is a matrix product of the weights (out, channels * kernel) and the windows of the input (channels *
kernel, positions), batch by batch and group by group. Windows are never stored: the product reads them from the input,
or from its copy with padding. Where each channel is a group of its own (depthwise), sums over the few places of the
kernel are done element by element.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import charl as ch
from charl.nn.arguments import each, floating
from charl.nn.windows import padded, windows

HALVES = (ch.float16, ch.bfloat16)
FORMATS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC")}


@ch._recorded
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


@ch._recorded
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
    b = None if bias is None else floating(bias, name, "bias")
    if w.dtype != x.dtype or (b is not None and b.dtype != x.dtype):
        kinds = ", ".join(str(t.dtype) for t in (x, w, b) if t is not None)
        raise TypeError(f"{name}: input, weight and bias must have one dtype, got {kinds}")
    shapes = x.shape, w.shape, None if b is None else b.shape
    walk = _geometry(name, ndim, *shapes, stride, padding, dilation, groups)
    # sums by element go along the channels where these are last; a GPU's products want lines of columns
    last_in_copy = last and (_is_depthwise(w, walk) or x.device == "cpu")
    x = padded(x, walk.before, walk.after, last=last_in_copy)
    y = _product(x, w, walk)
    if b is not None:
        y = y + b.reshape((-1, *(1,) * ndim))
    if last:
        y = ch.moveaxis(y, 1, -1)
    return (y[0] if single else y).copy()  # a root: what it would be a view of is not stored, too


class Walk(NamedTuple):
    """How windows go over an image: numbers of each spatial axis. before, after: the padding."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    out: tuple[int, ...]
    groups: int


def _geometry(name, ndim, shape, weight, bias, stride, padding, dilation, groups):
    """The Walk over an image (N, C, *spatial). Raises for shapes and numbers that do not fit."""
    (groups,) = each(groups, 1, name, "groups")
    _check(name, ndim, shape, weight, bias, groups)
    stride = each(stride, ndim, name, "stride")
    dilation = each(dilation, ndim, name, "dilation")
    kernel = weight[2:]
    before, after = _padding(name, padding, kernel, stride, dilation)
    out = tuple(
        (n + p + q - d * (k - 1) - 1) // s + 1
        for n, p, q, d, k, s in zip(shape[2:], before, after, dilation, kernel, stride)
    )
    if min(out) < 1:
        raise ValueError(
            f"{name}: a kernel of {kernel}, dilated by {dilation}, is larger than the padded input; "
            f"input is {shape}"
        )
    return Walk(kernel, stride, dilation, before, after, out, groups)


def _check(name, ndim, x, w, b, groups):
    """Raises where the shapes of weight and bias do not fit that of the input (N, C, *spatial)."""
    if len(w) != ndim + 2:
        raise ValueError(f"{name}: weight must have {ndim + 2} axes, got {w}")
    if w[1] * groups != x[1]:
        raise ValueError(
            f"{name}: input has {x[1]} channels, and weight {w} in {groups} groups "
            f"takes {w[1] * groups}"
        )
    if w[0] % groups or 0 in w:
        raise ValueError(f"{name}: weight {w} cannot be cut into {groups} groups")
    if b is not None and b != w[:1]:
        raise ValueError(f"{name}: bias must be {w[:1]}, got {b}")


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


def _product(x, w, walk):
    """x (N, C, *padded), w (O, C / groups, *kernel) -> (N, O, *out)."""
    n, channels = x.shape[:2]
    results, own = w.shape[:2]  # own: channels of a group
    if _is_depthwise(w, walk):
        return _depthwise(x, w, walk)
    if x.dtype in HALVES:  # products are summed in float32: the windows of a cast would be stored
        wide = (ch.astype(t, ch.float32) for t in (x, w))
        return ch.astype(_product(*wide, walk), x.dtype)
    spatial = tuple(range(2, x.ndim))
    places = tuple(a + len(spatial) for a in spatial)
    size, count = math.prod(walk.kernel), math.prod(walk.out)
    x = ch.sliding_window_view(x, walk.kernel, spatial, stride=walk.stride, dilation=walk.dilation)
    x = x.transpose((0, 1, *places, *spatial)).reshape((n, walk.groups, own * size, count))
    w = w.reshape((walk.groups, results // walk.groups, own * size))
    return ch.matmul(w, x).reshape((n, results, *walk.out))


def _is_depthwise(w, walk):
    return w.shape[1] == 1 and walk.groups > 1


def _depthwise(x, w, walk):
    """Each channel by itself: sums over the places of the kernel, in C order."""
    (n, channels), results = x.shape[:2], w.shape[0]
    many = results > channels  # results of a channel
    shape = (results, math.prod(walk.kernel), *(1,) * len(walk.out))
    taps = w.reshape((channels, results // channels, *shape[1:]) if many else shape)
    y = None
    for k, part in enumerate(windows(x, walk.kernel, walk.stride, walk.dilation, walk.out)):
        term = ch.expand_dims(part, axis=2) * taps[:, :, k] if many else part * taps[:, k]
        y = term if y is None else y + term
    return y.reshape((n, results, *walk.out)) if many else y
