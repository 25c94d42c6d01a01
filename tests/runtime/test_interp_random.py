"""Random kernels: the interpreter against tests/codegen/reference.py, whole and cut into units."""

import numpy as np
import pytest

from charl.core.dtypes import BY_SHORT
from charl.schedule.kernel import Access, Arg, Axis, Instr, Kernel, P, Stage
from tests.codegen import reference
from tests.codegen.machine import same
from tests.ops.evaluate import NUMPY
from tests.runtime.interpreter import run, units
from tests.runtime.test_interp import sample

DTYPES = ("f32", "f64", "i32", "i64", "u8", "b1", "f16", "i16")
BINARY = ("add", "multiply", "maximum", "subtract")
FOLDS = {
    "f32": ("add", "max", "dot"),
    "f64": ("add", "mul", "min"),
    "i32": ("add", "mul", "max"),
    "i64": ("add", "or"),
    "u8": ("add", "and", "min"),
    "b1": ("or", "and"),
    "f16": ("max", "min"),
    "i16": ("add", "max"),
}


class Maker:
    """Grows a kernel of several axes, with stages, slots and all kinds of access."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.order = str(rng.choice(["row", "column"]))
        self.outer = [int(rng.choice([1, 2, 3, 40, 200])) for _ in range(rng.integers(0, 3))]
        if self.order == "column":
            self.outer = [int(rng.choice([1, 2])), int(rng.choice([1, 3, 40, 130, 257, 300]))][
                -max(1, len(self.outer)) :
            ]
        self.inner = int(
            rng.choice([1, 2, 3, 10, 31, 33, 70, 600] if self.outer else [1, 40, 1024, 1025, 2100])
        )
        if np.prod(self.outer) * self.inner > 10_000:
            self.inner = 3
        self.extents = [*self.outer, self.inner]
        self.params, self.args, self.arrays, self.slots = list(self.extents), [], [], []
        self.values, self.stages, self.kept = [], [], []  # values: (dtype, stage or "row", ready)

    def number(self, n):
        if n in (0, 1, -1) and self.rng.random() < 0.8:
            return int(n)
        self.params.append(int(n))
        return P(len(self.params) - 1)

    def access(self, mode, dtype, loop):
        """An argument over permuted axes, some of them left out, in steps of -1, 1 and 2."""
        rng, axes = self.rng, list(range(len(self.extents) - (not loop)))
        used = [a for a in axes if mode == "out" or rng.random() < 0.7]
        order = used if rng.random() < 0.6 else list(rng.permutation(used))
        strides, reach, offset = [0] * len(self.extents), 1, 0
        for a in reversed(order):
            step = int(rng.choice([1, 1, 1, 1, 2, -1]))
            strides[a] = reach * step
            offset += -strides[a] * (self.extents[a] - 1) if step < 0 else 0
            reach *= self.extents[a] * abs(step)
        self.args.append(Arg(dtype, mode))
        self.arrays.append(
            sample(rng, dtype, reach) if mode == "in" else np.zeros(reach, NUMPY[dtype])
        )
        return Access(
            len(self.args) - 1, self.number(offset), tuple(self.number(s) for s in strides)
        )

    def add(self, body, instr, level, ready=0):
        body.append(instr)
        self.values.append((instr.dtype, level, ready))
        return len(self.values) - 1

    def usable(self, at, dtype=None, inner=False):
        return [
            v
            for v, (d, level, ready) in enumerate(self.values)
            if (level == at or (level == "row" and not inner))
            and ready <= at
            and d is not None
            and dtype in (None, d)
        ]

    def stage(self, at, loop):
        rng, body = self.rng, []
        level = at if loop else "row"
        for _ in range(rng.integers(2, 9)):
            dtype = str(rng.choice(DTYPES))
            kind = rng.random()
            have = self.usable(at)
            if kind < 0.3 or not have:
                self.add(body, Instr("load", dtype, (), self.access("in", dtype, loop)), level)
            elif kind < 0.36:
                value = {"b": True, "i": -2, "u": 5, "f": 0.75}[BY_SHORT[dtype].kind]
                self.add(body, Instr("const", dtype, (), value), level)
            elif kind < 0.42:
                strides = [int(s) for s in rng.integers(-1, 2, len(self.extents))]
                strides[-1] *= loop
                self.add(body, Instr("index", "i64", (), (1, tuple(strides))), level)
            elif kind < 0.5 and self.usable(at, "b1"):
                pred = int(rng.choice(self.usable(at, "b1")))
                self.add(body, Instr("load", dtype, (pred,), self.access("in", dtype, loop)), level)
            elif kind < 0.6:
                v = int(rng.choice(have))
                self.add(body, Instr("cast", dtype, (v,)), level)
            elif kind < 0.65 and loop and self.slots and self.kept:
                slot = int(rng.choice(self.kept))
                self.add(body, Instr("kept", self.slots[slot], (), slot), level)
            else:
                v = int(rng.choice(have))
                dtype = self.values[v][0]
                w = int(rng.choice(self.usable(at, dtype)))
                op = str(rng.choice(BINARY)) if dtype != "b1" else "logical_xor"
                self.add(body, Instr(op, dtype, (v, w)), level)
        if loop:
            self.finish(at, body)
        self.stages.append(Stage(loop, tuple(body)))

    def finish(self, at, body):
        rng = self.rng
        fresh = []
        for v in self.usable(at, inner=True):
            dtype = self.values[v][0]
            roll = rng.random()
            if roll < 0.25 and dtype in FOLDS:
                kind = str(rng.choice(FOLDS[dtype]))
                args = (v, v) if kind == "dot" else (v,)
                self.add(body, Instr("reduce", dtype, args, kind), "row", at + 1)
            elif roll < 0.4:
                self.slots.append(dtype)
                fresh.append(len(self.slots) - 1)
                self.add(body, Instr("keep", dtype, (v,), fresh[-1]), None)
                self.values[-1] = (None, None, 0)
            elif roll < 0.6:
                body.append(Instr("store", dtype, (v,), self.access("out", dtype, True)))
                self.values.append((None, None, 0))
        self.kept += fresh

    def make(self):
        for at in range(self.rng.integers(1, 5)):
            self.stage(at, at == 0 or self.rng.random() < 0.7)
        at, body = len(self.stages), []
        for v in self.usable(at):
            if self.values[v][1] == "row" and self.rng.random() < 0.7:
                dtype = self.values[v][0]
                body.append(Instr("store", dtype, (v,), self.access("out", dtype, False)))
                self.values.append((None, None, 0))
        if body:
            self.stages.append(Stage(False, tuple(body)))
        axes = [Axis(P(a)) for a in range(len(self.extents))]
        return Kernel(
            tuple(self.args),
            tuple(axes[:-1]),
            axes[-1],
            self.order,
            None,
            tuple(self.stages),
            tuple(self.slots),
        )


@pytest.mark.parametrize("seed", range(150))
def test_random_kernel(seed):
    maker = Maker(seed)
    kernel = maker.make()
    expected = [a.copy() for a in maker.arrays]
    error = reference.run(kernel, expected, maker.params)
    assert error is None
    total = units(kernel, maker.params)
    for splits in ((), [total // 2], sorted(maker.rng.integers(0, total + 1, 3))):
        got, _ = run(kernel, maker.arrays, maker.params, splits)
        for a, (g, e) in enumerate(zip(got, expected)):
            assert same(g, e), f"argument {a} differs of\n{kernel}"
