"""Arguments of this package's functions: arrays of floats, and numbers for each spatial axis."""

from __future__ import annotations

import operator

import charl as ch

FLOATS = frozenset((ch.float16, ch.bfloat16, ch.float32, ch.float64))


def floating(x, function: str, name: str = "input"):
    """x as a Tensor of floats. Raises TypeError."""
    x = ch.asarray(x)
    if x.dtype not in FLOATS:
        raise TypeError(f"{function}: {name} must be of a floating-point dtype, got {x.dtype}")
    return x


def each(value, count: int, function: str, name: str, least: int = 1) -> tuple[int, ...]:
    """A number for each of `count` axes, from one for all of them or a sequence. Raises TypeError, ValueError."""
    try:
        given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        numbers = tuple(operator.index(v) for v in given)
    except TypeError:
        raise TypeError(
            f"{function}: {name} must be an int or {count} ints, got {value!r}"
        ) from None
    if len(numbers) == 1:
        numbers *= count
    if len(numbers) != count or min(numbers) < least:
        what = f"{count} ints of at least {least}" if count > 1 else f"an int of at least {least}"
        raise ValueError(f"{function}: {name} must be {what}, got {value!r}")
    return numbers
