"""Normalisation to mean 0 and variance 1. Source: torch.nn.functional."""

from __future__ import annotations

import math

import charl as ch
from charl.nn.arguments import floating


@ch._recorded
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(input - mean) / sqrt(variance + eps) * weight + bias, over the last axes, which are normalized_shape (an int or
    a tuple), as weight and bias are. The variance is that of the population. The result has input's shape and dtype.

    Raises TypeError for dtypes that are not floating-point, ValueError where shapes do not fit.

    >>> ch.nn.layer_norm(ch.asarray([1.0, 3.0]), 2, eps=0.0)
    Tensor([-1.,  1.])
    """
    x = floating(input, "layer_norm")
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[x.ndim - len(shape) :] != shape or len(shape) > x.ndim:
        raise ValueError(
            f"layer_norm: normalized_shape {shape} is not the end of input's shape {x.shape}"
        )
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    y = _normal(x, axes, eps)
    return _affine("layer_norm", y, weight, bias, shape, shape)


def batch_norm(
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
):
    """(input - mean) / sqrt(variance + eps) * weight + bias for each channel of input (N, C, ...); all others are (C,).

    training: mean and variance are those of input, and running_mean and running_var, where given, move towards them in
    place by momentum (the variance, there, is the sample's). Otherwise they are running_mean and running_var.
    Raises TypeError for dtypes that are not floating-point, ValueError where shapes do not fit or nothing is given.

    >>> x = ch.asarray([[1.0], [3.0]])
    >>> ch.nn.batch_norm(x, None, None, training=True, eps=0.0)
    Tensor([[-1.],
            [ 1.]])
    """
    if training:
        return _batch_norm(input, running_mean, running_var, weight, bias, True, momentum, eps)
    return _inference(input, running_mean, running_var, weight, bias, False, momentum, eps)


def _batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps):
    x = floating(input, "batch_norm")
    if x.ndim < 2:
        raise ValueError(f"batch_norm: input must have at least 2 axes, got {x.shape}")
    channels, spread = x.shape[1:2], (-1, *(1,) * (x.ndim - 2))
    for name, value in (("running_mean", running_mean), ("running_var", running_var)):
        if value is not None and tuple(value.shape) != channels:
            raise ValueError(f"batch_norm: {name} must be {channels}, got {tuple(value.shape)}")
    axes = (0, *range(2, x.ndim))
    if training:
        count = math.prod(x.shape) // max(channels[0], 1)
        if count < 2:
            raise ValueError(
                f"batch_norm: training needs more than one value a channel, got {x.shape}"
            )
        y = _normal(x, axes, eps)
        if running_mean is not None:
            running_mean += momentum * (ch.mean(x, axis=axes) - running_mean)
        if running_var is not None:
            running_var += momentum * (ch.var(x, axis=axes, correction=1) - running_var)
    elif running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var are needed unless training")
    else:
        scale = 1 / ch.sqrt(running_var + eps)
        y = (x - ch.reshape(running_mean, spread)) * ch.reshape(scale, spread)
    return _affine("batch_norm", y, weight, bias, channels, spread)


_inference = ch._recorded(_batch_norm)  # training writes


def _normal(x, axes, eps):
    """x less its mean, over its deviation, along axes."""
    centred = x - ch.mean(x, axis=axes, keepdims=True)
    # one division a row: one an element would bound the whole
    return centred * (1 / ch.sqrt(ch.mean(centred * centred, axis=axes, keepdims=True) + eps))


def _affine(function, y, weight, bias, shape, spread):
    """y * weight + bias, each of `shape` and spread over y."""
    for name, value in (("weight", weight), ("bias", bias)):
        if value is None:
            continue
        if tuple(value.shape) != shape:
            raise ValueError(f"{function}: {name} must be {shape}, got {tuple(value.shape)}")
        value = floating(value, function, name)
        if spread != shape:
            value = ch.reshape(value, spread)
        y = y * value if name == "weight" else y + value
    return y
