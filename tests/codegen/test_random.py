"""Random Kernels on LLVM against the reference, to the bit.

CHARL_FUZZ=n takes n seeds instead of the usual few; a failure shows the kernel and its seed.
"""

import os

import numpy as np
import pytest

from charl.codegen import llvm
from charl.codegen.host import GENERIC, HASWELL, Host
from charl.core.dtypes import BY_SHORT
from charl.ops.loops import loops
from charl.runtime import jit
from charl.schedule.kernel import Access, Arg, Axis, Instr, Kernel, P, Stage, verify
from tests.codegen import machine, reference
from tests.codegen.kernels import values

pytestmark = pytest.mark.skipif(not jit.available()[0], reason=jit.available()[1])
DTYPES = ("f32", "f32", "f64", "i32", "i64", "u8", "i16", "b1", "f16", "bf16", "u64")
OPS = """add subtract multiply divide negative abs sqrt square maximum minimum less equal where
floor exp logical_not bitwise_and floor_divide remainder sign reciprocal clip isnan"""
LOOPS = [key for key in loops() if key[0] in set(OPS.split())]
CASTS = [("cast", (a,), b) for a in BY_SHORT for b in BY_SHORT if a != b]


class Maker:
    """One random kernel: its parts, and the arrays and params that go with it."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.params, self.args, self.arrays, self.slots = [], [], [], []
        self.order = ("row", "column")[int(rng.integers(2))]
        n_outer = int(rng.integers(self.order == "column", 4))
        self.outer = [int(rng.integers(1, 5)) for _ in range(n_outer)]
        if self.order == "column":
            self.outer[-1] = int(rng.choice([1, 3, 16, 31, 33, 100, 257, 600]))
        sizes = [1, 2, 7, 31, 32, 33, 64, 65, 100]
        sizes += [1023, 1025, 2100] if self.order == "row" else []
        self.inner = int(rng.choice(sizes))
        self.extents = [*self.outer, self.inner]

    def number(self, value):
        """0, 1 and -1 stand for themselves, all else is a param."""
        if value in (0, 1, -1) and self.rng.random() < 0.9:
            return value
        if value in self.params and self.rng.random() < 0.5:
            return P(self.params.index(value))
        self.params.append(value)
        return P(len(self.params) - 1)

    def access(self, dtype, mode, looping, whole=False):
        """A new array and a map of the axes into it, one to one if `whole`."""
        rng = self.rng
        axes = len(self.extents) - (not looping)
        strides, size, offset = [0] * len(self.extents), 1, 0
        last = rng.random() < 0.6  # mostly the innermost axis is the fastest
        for axis in list(range(axes - 1, -1, -1)) if last else rng.permutation(axes):
            if not whole and rng.random() < 0.2:
                continue
            step = size * int(rng.choice([1, 1, 1, 1, 2]))
            if rng.random() < 0.15:
                offset += step * (self.extents[axis] - 1)
                step = -step
            strides[axis] = step
            size = abs(step) * self.extents[axis]
        front = int(rng.integers(0, 3))
        array = values(dtype, size + front, rng)
        self.args.append(Arg(dtype, mode))
        self.arrays.append(array if mode == "in" else np.zeros_like(array))
        shown = tuple(self.number(s) for s in strides)
        if self.inner_axis is None:
            shown = shown[:-1]
        return Access(len(self.args) - 1, self.number(offset + front), shown)

    def kernel(self):
        rng = self.rng
        self.inner_axis = Axis(self.number(self.inner))
        outer = tuple(Axis(self.number(e)) for e in self.outer)
        self.count, self.rows, self.kept = 0, [], []
        stages = []
        for _ in range(int(rng.integers(1, 4))):
            loop = rng.random() < 0.75
            body = self.stage(loop)
            if body:
                stages.append(Stage(loop, tuple(body)))
        if self.rows:
            body = [self.store(*self.rows[-1], False)]
            self.count += 1
            stages.append(Stage(False, tuple(body)))
        return Kernel(
            tuple(self.args),
            outer,
            self.inner_axis,
            self.order,
            None,
            tuple(stages),
            tuple(self.slots),
        )

    def store(self, number, dtype, looping):
        return Instr("store", dtype, (number,), self.access(dtype, "out", looping, whole=True))

    def stage(self, loop):
        rng = self.rng
        body, known, sums = [], list(self.rows), []

        def put(op, dtype, args=(), attr=None):
            body.append(Instr(op, dtype, args, attr))
            self.count += 1
            if op not in ("store", "keep", "reduce"):
                known.append((self.count - 1, dtype))
            return self.count - 1

        for _ in range(int(rng.integers(1, 4))):
            dtype = str(rng.choice(DTYPES))
            put("load", dtype, (), self.access(dtype, "in", loop))
        if rng.random() < 0.3:
            dtype = str(rng.choice(["f32", "i32", "f64"]))
            put("const", dtype, (), 3)
        if rng.random() < 0.3:
            self.params.append(int(np.float32(1.5).view(np.int32)))
            put("param", "f32", (), P(len(self.params) - 1))
        if rng.random() < 0.3:
            strides = tuple(self.number(int(rng.integers(-2, 3))) for _ in self.extents)
            put("index", "i64", (), (self.number(int(rng.integers(0, 3))), strides))
        if loop and rng.random() < 0.4 and self.kept:
            slot = self.kept[int(rng.integers(len(self.kept)))]
            put("kept", self.slots[slot], (), slot)
        for _ in range(int(rng.integers(0, 7))):
            have = {d for _, d in known}
            keys = [k for k in LOOPS if set(k[1]) <= have]
            if not keys or rng.random() < 0.2:
                keys = [k for k in CASTS if set(k[1]) <= have]
            op, kinds, result = keys[int(rng.integers(len(keys)))]
            args = [[v for v, d in known if d == kind] for kind in kinds]
            put(op, result, tuple(int(rng.choice(a[-3:])) for a in args))
        inner = [(v, d) for v, d in known if (v, d) not in self.rows]
        if loop:
            for _ in range(int(rng.integers(0, 3))):
                v, d = inner[int(rng.integers(len(inner)))]
                kinds = ["max", "min"] if d in ("f16", "bf16") else ["add", "max", "min"]
                kind = str(rng.choice([*kinds, "dot"] if d in ("f32", "f64") else kinds))
                sums.append((put("reduce", d, (v, v) if kind == "dot" else (v,), kind), d))
            if rng.random() < 0.2:
                v, d = inner[-1]
                if d not in ("f16", "bf16", "b1"):
                    inner.append((put("scan", d, (v,), "add"), d))
            kept = []
            if rng.random() < 0.4:
                v, d = inner[-1]
                kept.append(len(self.slots))
                self.slots.append(d)
                put("keep", d, (v,), kept[0])
            self.kept += kept
        if loop or rng.random() < 0.5:
            body.append(self.store(*inner[-1], loop))
            self.count += 1
        self.rows += sums if loop else inner
        return body


HOSTS = [Host(*jit.machine())] if jit.available()[0] else []
HOSTS += [GENERIC] + ([HASWELL] if HOSTS and HOSTS[0].has("avx2") else [])


@pytest.mark.parametrize("seed", range(int(os.environ.get("CHARL_FUZZ", "80"))))
def test_random_kernel(seed):
    maker = Maker(seed)
    kernel = maker.kernel()
    verify(kernel)
    want = [a.copy() for a in maker.arrays]
    with np.errstate(all="ignore"):
        assert reference.run(kernel, want, maker.params) is None
    last = machine.units(kernel, maker.params)
    for tier, host, level in (
        ("quick", HOSTS[0], "none"),
        ("full", HOSTS[0], jit.OPT_LEVELS[seed % 4]),
        ("full", HOSTS[seed % len(HOSTS)], "none"),
    ):
        function, _owner = machine.build(llvm.emit(kernel, host, tier), level, tier)
        got, error = machine.run(function, kernel, maker.arrays, maker.params, (last // 2,))
        assert error is None
        for k, (a, b) in enumerate(zip(want, got)):
            same = machine.same(a, b)
            assert same, (
                f"seed {seed} {tier} {host.cpu} {level} a{k}\n{kernel}\n{maker.params}\n{a}\n{b}"
            )
