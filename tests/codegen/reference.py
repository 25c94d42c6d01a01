"""Runs a Kernel with numpy and plain loops, by the letter of kernel.py: an oracle for every backend, to the bit.

`run(kernel, arrays, params)` fills in the output arrays (flat, one for each argument) and returns the error record of
the first wrap that fails, as (site, index, extent), or None.
"""

import itertools

import numpy as np

from charl.core.dtypes import BY_SHORT
from charl.ops.trace import expansion
from charl.schedule.kernel import COLUMN_BLOCK, LANES, ROW_BLOCK, STEPS, Kernel, P
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
    return {"add": 0, "mul": 1, "max": limits.min, "min": limits.max, "or": 0, "and": -1 if info.kind == "i" else limits.max}[kind]


def apply(op, dtype, *args):
    n = max(len(a) for a in args)
    args = [np.broadcast_to(a, n).copy() for a in args]
    kinds = tuple(next(s for s, t in NUMPY.items() if t == a.dtype) for a in args)
    return evaluate(expansion(op, kinds, dtype), *args)


def fold(kind, dtype, total, *values):
    if kind == "dot":
        return apply("fma", dtype, *values, total)
    if dtype == "b1":
        kind = OF_BOOL.get(kind, kind)
    return apply(FOLDS[kind], dtype, total, *values)


def reduced(kind, dtype, args, lanes):
    """Arrays over p -> one value, in the order of kernel.py."""
    add = "add" if kind == "dot" else kind
    first = np.full(lanes, identity(add, dtype), NUMPY[dtype])
    total = first.copy()
    n = len(args[0])
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


def scanned(kind, dtype, x):
    out, total = x.copy(), np.full(1, identity(kind, dtype), NUMPY[dtype])
    for p in range(len(x)):
        total = fold(kind, dtype, total, x[p : p + 1])
        out[p] = total[0]
    return out


def run(kernel: Kernel, arrays, params):
    """arrays: flat numpy arrays by argument; params: ints."""

    def num(value):
        return params[value.k] if isinstance(value, P) else value

    arrays = list(arrays)
    extents = [num(a.extent) for a in kernel.outer]
    inner = num(kernel.inner.extent) if kernel.inner is not None else 0
    lanes = LANES if kernel.order == "row" else 1
    size = ROW_BLOCK if kernel.order == "row" else COLUMN_BLOCK
    try:
        for outer in itertools.product(*map(range, extents)):
            first = outer[kernel.block] * size if kernel.block is not None else 0
            last = min(first + size, inner) if kernel.block is not None else inner
            _unit(kernel, arrays, params, outer, np.arange(first, last), num, lanes)
    except WrapError as error:
        return error.args[0]
    return None


def _unit(kernel, arrays, params, outer, p, num, lanes):
    values, slots, number = {}, {}, 0
    for stage in kernel.stages:
        over = p if stage.loop else np.zeros(1, np.int64)

        def where(offset, strides):
            index = np.full(len(over), num(offset), np.int64)
            for stride, i in zip(strides, outer):
                index += num(stride) * i
            if stage.loop:
                index += num(strides[-1]) * over
            return index

        for instr in stage.body:
            args = [values[a] for a in instr.args]
            target = NUMPY[instr.dtype]
            n = len(over)
            value = None
            if instr.op == "load":
                index = where(instr.attr.offset, instr.attr.strides)
                value = np.zeros(n, target)
                on = np.broadcast_to(args[0], n) if args else np.ones(n, bool)
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
                value = np.full(1, instr.attr, target)
            elif instr.op == "param":
                bits = np.array([num(instr.attr)], np.int64)
                value = bits.view(np.uint8)[: target.itemsize].copy().view(target)
            elif instr.op == "wrap":
                extent, site = num(instr.attr[0]), instr.attr[1]
                bad = (args[0] < -extent) | (args[0] >= extent)
                if bad.any() and n:
                    raise WrapError((site, int(args[0][np.argmax(bad)]), extent))
                value = np.where(args[0] < 0, args[0] + extent, args[0])
            elif instr.op == "keep":
                slots[instr.attr] = np.broadcast_to(args[0], n).copy()
            elif instr.op == "kept":
                value = slots[instr.attr]
            elif instr.op == "reduce":
                full = [np.broadcast_to(a, n) for a in args]
                value = reduced(instr.attr, instr.dtype, full, lanes)
            elif instr.op == "scan":
                value = scanned(instr.attr, instr.dtype, np.broadcast_to(args[0], n))
            else:
                value = apply(instr.op, instr.dtype, *args)
            if value is not None:
                assert value.dtype == target, (instr, value.dtype)
                values[number] = value
            number += 1
