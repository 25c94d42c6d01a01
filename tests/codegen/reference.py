"""Runs a Kernel with numpy, by the letter of kernel.py: an oracle for every backend, to the bit.

`run(kernel, arrays, params)` fills in the output arrays (flat, one for each argument) and returns
the error record of the first wrap that fails, as (site, index, extent), or None.
"""

import itertools

import numpy as np

from charl.core.dtypes import BY_SHORT
from charl.ops.trace import expansion
from charl.schedule.kernel import (
    COLUMN_BLOCK,
    GROUP,
    LANES,
    ROW_BLOCK,
    STEPS,
    Kernel,
    P,
    instructions,
)
from tests.ops.evaluate import NUMPY, evaluate

FOLDS = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum", "or": "or", "and": "and"}
OF_BOOL = {"add": "or", "max": "or", "mul": "and", "min": "and"}


class WrapError(Exception):
    pass


def identity(kind, dtype):
    info = BY_SHORT[dtype]
    if info.kind == "b":
        return OF_BOOL.get(kind, kind) == "and"
    if info.kind == "f":
        return {"add": -0.0, "mul": 1.0, "max": -np.inf, "min": np.inf}[kind]
    limits = np.iinfo(NUMPY[dtype])
    return {
        "add": 0,
        "mul": 1,
        "max": limits.min,
        "min": limits.max,
        "or": 0,
        "and": -1 if info.kind == "i" else limits.max,
    }[kind]


def apply(op, dtype, *args):
    args = np.broadcast_arrays(*args)
    kinds = tuple(next(s for s, t in NUMPY.items() if t == a.dtype) for a in args)
    flat = (a.ravel().copy() for a in args)
    return evaluate(expansion(op, kinds, dtype), *flat).reshape(args[0].shape)


def fold(kind, dtype, total, *values):
    if kind == "dot":
        return apply("fma", dtype, *values, total)
    if dtype == "b1":
        kind = OF_BOOL.get(kind, kind)
    return apply(FOLDS[kind], dtype, total, *values)


def reduced(kind, dtype, args, lanes):
    """(p, columns) -> (1, columns), in the order of kernel.py."""
    add = "add" if kind == "dot" else kind
    n, columns = args[0].shape
    first = np.full((lanes, columns), identity(add, dtype), NUMPY[dtype])
    total = first
    for chunk in range(0, n, lanes * STEPS):
        partial = first.copy()
        for p in range(chunk, min(chunk + lanes * STEPS, n), lanes):
            parts = [a[p : min(p + lanes, n)] for a in args]
            k = len(parts[0])
            partial[:k] = fold(kind, dtype, partial[:k], *parts)
        total = fold(add, dtype, total, partial)
    while lanes > 1:
        lanes //= 2
        total = fold(add, dtype, total[:lanes], total[lanes : 2 * lanes])
    return total


def scanned(kind, dtype, x, group):
    """Inclusive prefixes down (p, columns), by groups of 8 or one by one."""
    n, columns = x.shape
    first = np.full((group, columns), identity(kind, dtype), NUMPY[dtype])
    out = np.concatenate([x, first[: -n % group]]).reshape(-1, group, columns)
    for h in (h for h in (1, 2, 4) if h < group):
        for start in range(0, group, 2 * h):
            upper = slice(start + h, start + 2 * h)
            out[:, upper] = fold(kind, dtype, out[:, start + h - 1 : start + h], out[:, upper])
    total = first[0]
    for part in out:
        part[:] = fold(kind, dtype, total, part)
        total = part[-1]
    return out.reshape(-1, columns)[:n]


def run(kernel: Kernel, arrays, params):
    """arrays: flat numpy arrays by argument; params: ints."""

    def num(value):
        return params[value.k] if isinstance(value, P) else value

    arrays = list(arrays)
    extents = [num(a.extent) for a in kernel.outer]
    columns = np.arange(extents.pop() if kernel.order == "column" else 1)
    inner = num(kernel.inner.extent) if kernel.inner is not None else 0
    size = ROW_BLOCK if kernel.order == "row" else COLUMN_BLOCK
    try:
        for outer in itertools.product(*map(range, extents)):
            first = outer[kernel.block] * size if kernel.block is not None else 0
            last = min(first + size, inner) if kernel.block is not None else inner
            _unit(kernel, arrays, outer, columns, np.arange(first, last), num)
    except WrapError as error:
        return error.args[0]
    return None


def _unit(kernel, arrays, outer, columns, p, num):
    """Values are (p, columns), or (1, columns), or (1, 1)."""
    values, slots, number = {}, {}, 0
    column = kernel.order == "column"
    for stage in kernel.stages:
        over = p if stage.loop else np.zeros(1, np.int64)
        shape = len(over), len(columns)

        def where(offset, strides):
            index = np.full(shape, num(offset), np.int64)
            for stride, i in zip(strides, outer):
                index += num(stride) * i
            if column:
                index += num(strides[len(outer)]) * columns
            if stage.loop:
                index += num(strides[-1]) * over[:, None]
            return index

        for instr in stage.body:
            args = [values[a] for a in instr.args]
            target = NUMPY[instr.dtype]
            value = None
            if instr.op == "load":
                index = where(instr.attr.offset, instr.attr.strides)
                value = np.zeros(shape, target)
                on = np.broadcast_to(args[0], shape) if args else np.ones(shape, bool)
                assert (index[on] >= 0).all()
                value[on] = arrays[instr.attr.arg][index[on]]
            elif instr.op == "store":
                index = where(instr.attr.offset, instr.attr.strides)
                assert (index >= 0).all()
                arrays[instr.attr.arg][index] = args[0]
            elif instr.op == "gather":
                access, stride = instr.attr
                index = where(access.offset, access.strides) + num(stride) * args[0]
                assert (index >= 0).all()
                value = arrays[access.arg][index]
            elif instr.op == "index":
                value = where(*instr.attr)
            elif instr.op == "const":
                value = np.full((1, 1), instr.attr, target)
            elif instr.op == "param":
                bits = np.array([num(instr.attr)], np.int64)
                value = bits.view(np.uint8)[: target.itemsize].copy().view(target).reshape(1, 1)
            elif instr.op == "wrap":
                extent, site = num(instr.attr[0]), instr.attr[1]
                bad = np.broadcast_to((args[0] < -extent) | (args[0] >= extent), shape)
                if bad.any():
                    first = np.broadcast_to(args[0], shape).ravel()[np.argmax(bad)]
                    raise WrapError((site, int(first), extent))
                value = np.where(args[0] < 0, args[0] + extent, args[0])
            elif instr.op == "keep":
                slots[instr.attr] = np.broadcast_to(args[0], shape).copy()
            elif instr.op == "kept":
                value = slots[instr.attr]
            elif instr.attr == "last":
                scan = instructions(kernel)[instr.args[0]]
                start = np.full((1, shape[1]), identity(scan.attr, scan.dtype), target)
                value = np.concatenate([start, args[0]])[-1:]
            elif instr.op == "reduce":
                full = [np.broadcast_to(a, shape) for a in args]
                value = reduced(instr.attr, instr.dtype, full, 1 if column else LANES)
            elif instr.op == "scan":
                x = np.broadcast_to(args[0], shape)
                grouped = kernel.block is not None and not column
                value = scanned(instr.attr, instr.dtype, x, GROUP if grouped else 1)
            else:
                value = apply(instr.op, instr.dtype, *args)
            if value is not None:
                assert value.dtype == target, (instr, value.dtype)
                values[number] = value
            number += 1
