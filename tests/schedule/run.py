"""Runs Schedules in NumPy, slowly: an oracle for what schedule/ makes, with no regard to the order
of sums.

A graph is made of `Fake` nodes: what the scheduler reads of a Node. `evaluate` computes them in
NumPy directly, `run` through the Kernels.
"""

from __future__ import annotations

import numpy as np

from charl.core.dtypes import BY_SHORT
from charl.ops.table import OPS
from charl.schedule import plan
from charl.schedule.kernel import COLUMN_BLOCK, ROW_BLOCK, Contract, P
from charl.schedule.prepare import DONATE, NAMES, OUT

ELEMENTWISE = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "negative": np.negative,
    "exp": np.exp,
    "where": np.where,
    "less": np.less,
    "abs": np.abs,
}
FOLD = {"add": np.sum, "mul": np.prod, "max": np.max, "min": np.min, "or": np.any, "and": np.all}
FOLD["last"] = lambda terms, axis=-1: terms[..., -1]
REDUCE = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "any": np.any,
    "all": np.all,
}


class Fake:
    """What the scheduler reads of a Node; `array` is a leaf's value, `bits` a const's."""

    def __init__(self, op, dtype, shape, src=(), attrs=None, sizes=(), array=None, scalar=None):
        self.op, self.dtype = OPS[op].code, BY_SHORT[dtype].code
        self.shape, self.src, self.attrs = tuple(shape), tuple(src), attrs
        self.sizes, self.array, self.scalar = tuple(sizes), array, scalar
        self.realized = array is not None

    @property
    def name(self):
        return NAMES[self.op]


def short(dtype):
    return next(s for s, d in BY_SHORT.items() if d.name == str(dtype))


def leaf(array):
    return Fake("leaf", short(array.dtype), array.shape, array=np.ascontiguousarray(array))


def order(outputs):
    """Post-order, sources left to right, each node once."""
    found, seen = [], set()
    stack = [(n, False) for n in reversed(outputs)]
    while stack:
        node, done = stack.pop()
        if done:
            found.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(s, False) for s in reversed(node.src) if id(s) not in seen]
    unique = {}
    for node in found:
        unique.setdefault(id(node), node)
    return list(unique.values())


def steps_of(node):
    """An update's map as functions view -> view on NumPy arrays."""
    rest = list(node.sizes)
    for name, what in node.attrs:
        if name == "permute":
            yield lambda a, p=what: a.transpose(p)
        elif name == "slice":
            starts, steps, shape = (rest[k * what : (k + 1) * what] for k in range(3))
            del rest[: 3 * what]
            yield lambda a, s=starts, t=steps, n=shape: sliced(a, s, t, n)
        else:
            shape = rest[:what]
            del rest[:what]
            yield lambda a, n=shape: a.reshape(n)


def sliced(a, starts, steps, shape):
    strides = [s * t for s, t in zip(a.strides, steps)]
    offset = tuple(slice(s, None) if n else slice(0, 0) for s, n in zip(starts, shape))
    return np.lib.stride_tricks.as_strided(a[(*offset, ...)], shape, strides)


def windows(a, axes, sizes, shape):
    strides, count = list(a.strides), len(axes)
    last = [strides[axis] * apart for axis, apart in zip(axes, sizes[count:])]
    for axis, step in zip(axes, sizes):
        strides[axis] *= step
    return np.lib.stride_tricks.as_strided(a, shape, (*strides, *last), writeable=False)


def evaluate(node, memo):
    """The node's value by NumPy."""
    if id(node) in memo:
        return memo[id(node)]
    src = [evaluate(s, memo) for s in node.src]
    name, dtype = node.name, BY_SHORT[list(BY_SHORT)[node.dtype]].name
    if node.array is not None:
        value = node.array.copy()
    elif name == "const":
        value = np.array(node.scalar, dtype)
    elif name == "iota":
        value = np.arange(node.shape[0])
    elif name == "reshape":
        value = src[0].reshape(node.shape)
    elif name == "permute":
        value = src[0].transpose(node.attrs)
    elif name == "expand":
        value = np.broadcast_to(src[0], node.shape)
    elif name == "slice":
        rank = len(node.shape)
        value = sliced(
            np.ascontiguousarray(src[0]), node.sizes[:rank], node.sizes[rank:], node.shape
        )
    elif name == "windows":
        value = windows(np.ascontiguousarray(src[0]), node.attrs, node.sizes, node.shape)
    elif name in REDUCE:
        value = np.asarray(REDUCE[name](src[0], axis=node.attrs)).astype(dtype)
    elif name == "matmul":
        value = src[0] @ src[1]
    elif name in ("cumsum", "cumprod"):
        value = getattr(np, name)(src[0], axis=node.attrs, dtype=dtype)
    elif name == "gather":
        value = np.take(src[0], src[1], axis=node.attrs)
    elif name == "wrap_index":
        value = np.where(src[0] < 0, src[0] + node.sizes[0], src[0])
    elif name == "update":
        value = np.array(src[0], order="C")
        view = value
        for step in steps_of(node):
            view = step(view)
        assert np.shares_memory(view, value) or view.size == 0
        view[...] = src[1]
    else:
        value = np.broadcast_to(ELEMENTWISE[name](*src), node.shape)
    memo[id(node)] = np.ascontiguousarray(value).reshape(node.shape)
    return memo[id(node)]


def flags_of(nodes, outputs, donate=()):
    return [
        (OUT if any(n is o for o in outputs) else 0)
        | (DONATE if any(n is d for d in donate) else 0)
        for n in nodes
    ]


def sizes_of(nodes):
    return [s for n in nodes for s in (*n.shape, *(() if n.realized else n.sizes))]


def run(outputs, donate=(), schedule=None, flags=None, buffers=plan.ANY):
    """(values of the outputs, schedule). With a schedule, binds that one (None where a guard
    fails).
    """
    nodes = order(outputs)
    schedule = schedule or plan.build(nodes, flags or flags_of(nodes, outputs, donate), buffers)
    bound = schedule.bind(sizes_of(nodes))
    if bound is None:
        return None, schedule
    scalars = [n.scalar for n in nodes if n.name == "const" and not n.realized]
    buffers = []
    for slot, nbytes in zip(schedule.slots, bound.nbytes):
        dtype = BY_SHORT[slot.dtype].name
        if slot.kind == "leaf":
            buffers.append(nodes[slot.node].array.copy().ravel())
        elif slot.alias >= 0:
            buffers.append(None)
        else:
            buffers.append(np.zeros(nbytes // BY_SHORT[slot.dtype].itemsize, dtype))
    for k, slot in enumerate(schedule.slots):
        root = k
        while schedule.slots[root].alias >= 0:
            root = schedule.slots[root].alias
        buffers[k] = buffers[root]
    for step, values in zip(schedule.steps, bound.steps):
        params = list(values.params)
        for position, number in values.scalars:
            params[position] = scalars[number]
        execute(step.kernel, [buffers[b] for b in step.buffers], params)
    result = []
    for out in outputs:
        at = next(k for k, n in enumerate(nodes) if n is out)
        slot = next(k for k, s in enumerate(schedule.slots) if s.node == at)
        assert schedule.slots[slot].kind in ("store", "leaf")
        result.append(buffers[slot].reshape(out.shape))
    return result, schedule


def execute(kernel, buffers, params):
    """One Kernel over whole index grids."""

    def number(n):
        return params[n.k] if isinstance(n, P) else n

    def name(dtype):
        return BY_SHORT[dtype].name

    outer = [number(a.extent) for a in kernel.outer]
    if isinstance(kernel, Contract):
        i, j, k = (number(a.extent) for a in (kernel.i, kernel.j, kernel.k))
        full = np.meshgrid(*[np.arange(n) for n in (*outer, i, j, k)], indexing="ij", sparse=True)

        def side(access, name):
            at = number(access.offset) + sum(number(s) * g for s, g in zip(access.strides, full))
            for axis, index in zip("ijk", full[-3:]):
                for extent, stride in reversed(kernel.walked(name, axis)):
                    at = at + index % number(extent) * number(stride)
                    index = index // number(extent)
            return buffers[access.arg][at]

        acc = (side(kernel.lhs, "lhs") * side(kernel.rhs, "rhs")).sum(-1)
        acc = np.broadcast_to(acc, (*outer, i, j))
        loop = np.meshgrid(*[np.arange(n) for n in (*outer, i, j)], indexing="ij")
        stages, valid = [(True, kernel.epilogue)], None
    else:
        acc = valid = None
        inner = number(kernel.inner.extent) if kernel.inner is not None else 1
        grid = [np.arange(n) for n in outer]
        if kernel.block is not None:
            block = ROW_BLOCK if kernel.order == "row" else COLUMN_BLOCK
            loop = list(np.meshgrid(*grid, np.arange(block), indexing="ij"))
            loop[-1] = loop[-1] + block * loop[kernel.block]
            valid = loop[-1] < inner
        else:
            loop = np.meshgrid(*grid, np.arange(inner), indexing="ij")
        stages = kernel.stages
    once = [g[..., 0] for g in loop[: len(outer)]]
    values, slots = [], {}
    for looping, body in stages:
        grids = loop if looping else once

        def where(offset, strides, grids=grids):
            total = number(offset) + sum((number(s) * g for s, g in zip(strides, grids)), start=0)
            shape = grids[0].shape if grids else ()
            position = np.broadcast_to(total, shape)
            return (
                position
                if valid is None or position.shape != valid.shape
                else np.where(valid, position, 0)
            )

        for instr in body:
            args = [values[a] for a in instr.args]
            if looping and not isinstance(kernel, Contract):
                args = [a[..., None] if np.ndim(a) == len(outer) else a for a in args]
            op, attr, value = instr.op, instr.attr, None
            if op == "load":
                value = buffers[attr.arg][where(attr.offset, attr.strides)]
                if args:
                    value = np.where(args[0], value, 0).astype(value.dtype)
            elif op == "store":
                target = where(attr.offset, attr.strides)
                buffers[attr.arg][target] = np.broadcast_to(args[0], target.shape)
            elif op == "gather":
                value = buffers[attr[0].arg][
                    where(attr[0].offset, attr[0].strides) + number(attr[1]) * args[0]
                ]
            elif op == "index":
                value = where(*attr)
            elif op == "param":
                value = np.broadcast_to(np.array(number(attr), name(instr.dtype)), outer)
                if isinstance(kernel, Contract):
                    value = np.broadcast_to(np.array(number(attr), name(instr.dtype)), acc.shape)
            elif op == "const":
                value = np.broadcast_to(np.array(attr, name(instr.dtype)), outer)
            elif op == "wrap":
                value = np.where(args[0] < 0, args[0] + number(attr[0]), args[0])
            elif op == "keep":
                slots[attr] = np.broadcast_to(args[0], loop[-1].shape)
            elif op == "kept":
                value = slots[attr]
            elif op == "reduce":
                terms = args[0] * args[1] if attr == "dot" else args[0]
                fold = FOLD["add" if attr == "dot" else attr]
                terms = np.broadcast_to(terms, loop[-1].shape)
                if valid is None:
                    value = fold(terms, axis=-1)
                else:
                    flat = [
                        fold(t[ok])
                        for t, ok in zip(terms.reshape(-1, block), valid.reshape(-1, block))
                    ]
                    value = np.array(flat).reshape(outer)
                value = value.astype(name(instr.dtype))
            elif op == "scan":
                terms = np.broadcast_to(args[0], loop[-1].shape)
                value = (np.cumsum if attr == "add" else np.cumprod)(
                    terms, axis=-1, dtype=name(instr.dtype)
                )
            elif op == "acc":
                value = acc
            else:
                value = ELEMENTWISE[op](*args)
            values.append(value)
