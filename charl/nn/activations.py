"""Activations, element by element, and softmax. Source: torch.nn.functional."""

from __future__ import annotations

import math

import charl as ch
from charl.nn.arguments import floating


def relu(input):
    """max(input, 0). input (...) of numbers; the result has its shape and dtype.

    >>> ch.nn.relu(ch.asarray([-1.0, 2.0]))
    Tensor([0., 2.])
    """
    return ch.maximum(input, 0)


@ch._recorded
def gelu(input, approximate="none"):
    """input * Phi(input), Phi the normal distribution's cumulative function, or with approximate="tanh" its
    approximation 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))). input (...) of floats.

    Raises TypeError for integers, ValueError for another approximation.

    >>> ch.nn.gelu(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 0.84134475])
    """
    x = floating(input, "gelu")
    if approximate == "none":
        return 0.5 * x * (1 + ch.erf(x * math.sqrt(0.5)))
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        return 0.5 * x * (1 + ch.tanh(inner))
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


@ch._recorded
def sigmoid(input):
    """1 / (1 + exp(-input)), without overflow. input (...) of floats.

    >>> ch.nn.sigmoid(ch.asarray([0.0]))
    Tensor([0.5])
    """
    return ch.sigmoid(floating(input, "sigmoid"))


@ch._recorded
def silu(input):
    """input * sigmoid(input). input (...) of floats.

    >>> ch.nn.silu(ch.asarray([0.0, 1.0]))
    Tensor([0.        , 0.73105858])
    """
    x = floating(input, "silu")
    return x * ch.sigmoid(x)


@ch._recorded
def softmax(input, dim=-1):
    """exp(input) over its sum along axis dim, without overflow. input (...) of floats.

    Raises IndexError where there is no such axis.

    >>> ch.nn.softmax(ch.asarray([0.0, 0.0]))
    Tensor([0.5, 0.5])
    """
    x = floating(input, "softmax")
    e = ch.exp(x - ch.max(x, axis=dim, keepdims=True))
    return e * (1 / ch.sum(e, axis=dim, keepdims=True))  # one division a row
