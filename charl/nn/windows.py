"""Sliding windows of (N, C, *spatial) arrays: what convolutions and pools share."""

from __future__ import annotations

import functools
import itertools

import charl as ch


def padded(x, before, after, value=0.0, last=False):
    """x (N, C, *spatial) with so many elements of `value` at the ends of its spatial axes. last: channels are
    neighbours in memory.
    """
    if not any(before) and not any(after):
        return x
    count, channels = x.shape[:2]
    shape = tuple(p + n + q for p, n, q in zip(before, x.shape[2:], after))
    shape = (count, *shape, channels) if last else (count, channels, *shape)
    y = ch.full(shape, value, dtype=x.dtype, device=x.device)
    if last:
        y = ch.moveaxis(y, -1, 1)
    inside = tuple(slice(p, p + n) for p, n in zip(before, x.shape[2:]))
    y[(slice(None), slice(None), *inside)] = x
    return y


def windows(x, kernel, stride, dilation, out):
    """For each place in the kernel, in C order, the elements of x (N, C, *spatial) that it meets: (N, C, *out)."""
    return [x[at] for at in _places(kernel, stride, dilation, out)]


@functools.lru_cache(1024)
def _places(kernel, stride, dilation, out):
    """The index of each place in the kernel. The numbers are plain ints."""
    return [
        (
            *(slice(None), slice(None)),
            *(
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, d, s, n in zip(place, dilation, stride, out)
            ),
        )
        for place in itertools.product(*map(range, kernel))
    ]
