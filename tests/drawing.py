"""Random array programs, drawn by Hypothesis: steps that fit the variables there are."""

import numpy as np
from hypothesis import strategies as st

from tests import device, oracle
from tests.programs import EXACT1, EXACT2, EXTREMES, INTEGER2, ROUNDED1, ROUNDED2, SUMS, World

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 63, 64, 65, 100)
# around lanes, chunks, blocks, units and tiles: schedule/kernel.py states them
LONG = (
    *((n,) for n in (1025, 1023, 1024, 2049, 4097, 32767, 32768, 32769, 33000, 66000)),
    *((1025, 33), (2049, 5), (3, 1025), (33, 1024), (257, 130), (97, 300), (300, 97), (2, 33000)),
    *((5, 7, 300), (300, 2, 65), (2, 1030, 31), (2, 100, 257)),
)


class Draw:
    """Draws steps that fit the variables so far, by running them on NumPy."""

    def __init__(self, draw, long):
        self.draw, self.world, self.long = draw, World(np), long
        self.steps = []

    def one(self, options):
        return self.draw(st.sampled_from(options))

    def variable(self, wanted=lambda v: True):
        fitting = [k for k, v in self.world.vars.items() if wanted(v)]
        return self.one(fitting) if fitting else None

    def add(self, *step):
        """Runs the step; keeps it unless NumPy refuses it or the result is too large."""
        count, kept = self.world.count, dict(self.world.vars)
        try:
            self.world.run(step)
            fine = all(v.size <= 70000 for k, v in self.world.vars.items() if k >= count)
            fine = fine and all(v.dtype in device.DTYPES for v in self.world.vars.values())
        except (TypeError, ValueError, IndexError, OverflowError):
            fine = False
        if fine:
            self.steps.append(step)
        else:
            self.world.vars, self.world.count = kept, count

    def new(self):
        ndim = self.one((1, 1, 2, 2, 3, 0))
        shape = [self.one(SIZES) for _ in range(ndim)]
        if self.long and self.one((True, True, False)):
            shape = list(self.one(LONG))
        elif ndim == 3:
            shape = [min(s, 9) for s in shape]
        if shape and self.one(range(12)) == 11:
            shape[self.one(range(len(shape)))] = self.one((1, 1, 0))
        names = [device.FLOAT.name] * 3 + ["float32"] * 4 + [d.name for d in device.DTYPES]
        style = self.one(("whole", "plain", "mixed"))
        self.add("new", tuple(shape), self.one(names), self.draw(st.integers(0, 999)), style)

    def slice_of(self, size):
        kind = self.one(range(7))
        if kind == 0 and size:
            return self.draw(st.integers(-size, size - 1))
        bounds = st.none() | st.integers(-size - 1, size + 1)
        step = self.one((None, None, 1, 2, 3, -1, -2))
        return slice(self.draw(bounds), self.draw(bounds), step)

    def index(self, v):
        parts = [self.slice_of(n) for n in v.shape[: self.one(range(v.ndim + 1))]]
        extra = self.one(range(6))
        if extra == 0:
            parts.insert(self.one(range(len(parts) + 1)), None)
        elif extra == 1:
            parts.append(Ellipsis)
        return tuple(parts)

    def sliced(self, v):
        """An index that keeps every axis, so that two arrays of a shape fit each other."""
        ends = [self.one((None, 1, 2)) for _ in v.shape]
        return [
            (slice(e, None), slice(None, -e if e else None), slice(None, None, -1)) for e in ends
        ]

    def scalar(self, v):
        whole = self.one((0, 1, 2, 3, 7))
        if v.dtype.kind in "bu":
            return ("scalar", whole)
        return (
            "scalar",
            self.one((whole, -whole, 0.5, -1.5)) if oracle.is_float(v.dtype) else whole,
        )

    def partner(self, x):
        """A variable or scalar that may go with variable x."""
        v = self.world.vars[x]
        if self.one(range(3)) == 0:
            return self.scalar(v)
        return self.variable(lambda w: _broadcasts(v, w) and _mixes(v, w))

    def axis(self, v):
        if v.ndim and self.one(range(3)):
            one = self.one(range(-v.ndim, v.ndim))
            return (
                (one, (one + 1) % v.ndim)
                if v.ndim > 1 and self.one(range(4)) == 0 and one >= 0
                else one
            )
        return None

    def step(self):
        name = self.one(
            (
                "new",
                "map1",
                "map1",
                "map2",
                "map2",
                "map2",
                "map2",
                "where",
                "clip",
                "cast",
                "reduce",
                "reduce",
                "scan",
                "matmul",
                "view",
                "view",
                "transpose",
                "reshape",
                "broadcast",
                "concat",
                "take",
                "roll",
                "sort",
                "call",
                "call",
                "fancy",
                "write",
                "update",
                "update",
                "mask",
                "export",
                "delete",
                "eval",
            )
        )
        x = self.variable()
        if name == "new" or x is None:
            return self.new()
        return getattr(self, "step_" + name)(x, self.world.vars[x])

    def step_map1(self, x, v):
        names = EXACT1 + ROUNDED1 if oracle.is_float(v.dtype) else EXACT1[:8]
        if v.dtype == oracle.BFLOAT16:  # whose sign of -0.0 is -0.0 in ml_dtypes
            names = tuple(n for n in names if n != "sign")
        if v.dtype == bool:  # whose square and sign are NumPy's int8 or none
            names = ("abs", "floor", "sqrt", "isnan", "logical_not")
        self.add("map", self.one(names), x)

    def step_map2(self, x, v):
        names = EXACT2 * 2 + (ROUNDED2 if oracle.is_float(v.dtype) else INTEGER2)
        if v.dtype == bool:  # NumPy's quotients and shifts of bools are int8, charl has none
            names = tuple(n for n in names if n not in ("floor_divide", "remainder", *INTEGER2[3:]))
        y = self.partner(x)
        pair = (x, y) if self.one((True, True, False)) else (y, x)
        self.add("map", self.one(names), *pair)

    def step_where(self, x, v):
        c = self.variable(lambda w: w.dtype == bool and _broadcasts(v, w))
        if c is not None:
            self.add("where", c, x, self.partner(x))

    def step_clip(self, x, v):
        low = self.scalar(v)[1]
        if v.dtype == oracle.BFLOAT16:  # ml_dtypes clips to float32
            return
        self.add("clip", x, low, low + self.one((0, 1, 5)))

    def step_cast(self, x, v):
        self.add("cast", x, self.one(device.DTYPES).name)

    def step_reduce(self, x, v):
        name = self.one(EXTREMES + SUMS)
        axis = self.axis(v)
        if name.startswith("arg") and isinstance(axis, tuple):
            axis = axis[0]
        self.add("reduce", name, x, axis, self.one((False, True)))

    def step_scan(self, x, v):
        if v.ndim and v.dtype.itemsize > 2 - (v.dtype.kind in "iu"):
            self.add(
                "scan", self.one(("cumulative_sum", "cumulative_prod")), x, self.one(range(v.ndim))
            )

    def step_matmul(self, x, v):
        y = self.variable(
            lambda w: (
                w.ndim
                and v.ndim
                and w.shape[-2 if w.ndim > 1 else 0] == v.shape[-1]
                and v.size * w.size < 3_000_000 * max(v.shape[-1], 1)
                and w.dtype == v.dtype
                and v.dtype not in (bool, oracle.BFLOAT16)  # ml_dtypes multiplies to float32
            )
        )
        if y is not None:
            self.add("matmul", x, y)

    def step_view(self, x, v):
        if v.ndim:
            self.add("view", x, self.index(v))

    def step_transpose(self, x, v):
        self.add("transpose", x, tuple(self.draw(st.permutations(range(v.ndim)))))

    def step_reshape(self, x, v):
        shapes = [(-1,), (*v.shape, 1), (1, *v.shape), tuple(n for n in v.shape if n != 1)]
        shapes += [(k, v.size // k) for k in (2, 3, 8) if v.size and v.size % k == 0]
        if v.ndim > 1:
            shapes.append((v.shape[0] * v.shape[1], *v.shape[2:]))
        self.add("reshape", x, self.one(shapes))

    def step_broadcast(self, x, v):
        shape = tuple(self.one((2, 3)) if n == 1 else n for n in v.shape)
        self.add("broadcast", x, self.one((shape, (3, *shape), (1, *v.shape))))

    def step_concat(self, x, v):
        y = self.variable(
            lambda w: w.ndim == v.ndim and v.ndim and w.shape[1:] == v.shape[1:] and _mixes(v, w)
        )
        if y is not None:
            self.add("concat", self.one(((x, y), (y, x, y), (x,))), 0)

    def step_take(self, x, v):
        if v.ndim:
            axis = self.one(range(v.ndim))
            n = v.shape[axis]
            index = self.draw(st.lists(st.integers(-n, n - 1), max_size=5)) if n else []
            self.add("take", x, tuple(index), axis)

    def step_roll(self, x, v):
        self.add(
            "roll", x, self.draw(st.integers(-5, 5)), self.one(range(v.ndim)) if v.ndim else None
        )

    def step_sort(self, x, v):
        if v.ndim and v.dtype != oracle.BFLOAT16:
            self.add("sort", x, self.one(range(v.ndim)))

    def step_call(self, x, v):
        if not v.ndim or v.dtype == oracle.BFLOAT16:
            return
        axis = self.one(range(v.ndim))
        calls = [
            ("flip", (), {"axis": axis}),
            ("repeat", (self.one((0, 1, 2, 3)),), {"axis": self.one((axis, None))}),
            ("tile", (self.one(((2,), (1, 3), (2, 1, 2))),), {}),
            ("diff", (), {"axis": axis, "n": self.one((1, 2))}),
            ("argsort", (), {"axis": axis, "stable": True}),
            ("count_nonzero", (), {"axis": axis}),
        ]
        if v.ndim > 1:
            calls.append((self.one(("tril", "triu")), (), {"k": self.one((-1, 0, 2))}))
        name, args, kw = self.one(calls)
        self.add("call", name, x, args, kw)

    def step_fancy(self, x, v):
        if not v.ndim or 0 in v.shape:
            return
        index = [slice(None)] * self.one(range(v.ndim))
        count = self.one((1, 2, 5))
        for n in v.shape[len(index) : len(index) + self.one((1, 2))]:
            bounds = st.integers(-n, n - 1)
            index.append(tuple(self.draw(st.lists(bounds, min_size=count, max_size=count))))
        if self.one(range(3)) == 2 and _writable(v):
            self.add("fancy_write", x, tuple(index), self.scalar(v)[1])
        else:
            self.add("fancy", x, tuple(index))

    def step_write(self, x, v):
        if v.ndim and _writable(v):
            index = self.index(v)
            part = v[index].shape
            y = self.variable(lambda w: len(w.shape) <= len(part) and _fits(w.shape, part))
            self.add(
                "write", x, index, y if y is not None and self.one(range(3)) else self.scalar(v)
            )

    def step_update(self, x, v):
        """x[1:] += x[:-1] and the like, with x or a view of it on both sides."""
        if not v.ndim or v.dtype == bool or not _writable(v):
            return
        triples = self.sliced(v)
        index = tuple(t[self.one(range(3))] for t in triples)
        y = self.variable(lambda w: w.shape == v.shape and w.dtype == v.dtype)
        other = tuple(t[self.one(range(3))] for t in triples)
        if self.one(range(4)) == 0 or v[index].shape != v[other].shape:
            y = self.scalar(v)
        names = (
            ("add", "subtract", "multiply", "divide")
            if oracle.is_float(v.dtype)
            else ("add", "multiply")
        )
        self.add("update", self.one(names), x, index, y, other)

    def step_mask(self, x, v):
        if v.ndim and v.dtype != bool and _writable(v):
            self.add("mask", x, self.one((0, 1, 2)), self.one((0, 1, 5)))

    def step_export(self, x, v):
        self.add("export", x)

    def step_delete(self, x, v):
        if len(self.world.vars) > 1:
            self.add("delete", x)

    def step_eval(self, x, v):
        self.add("eval", *{x, self.variable()})


def _writable(v):
    return v.flags.writeable


def _broadcasts(v, w):
    try:
        np.broadcast_shapes(v.shape, w.shape)
    except ValueError:
        return False
    return True


def _fits(shape, target):
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def _mixes(v, w):
    """bfloat16 goes with itself alone here: promotion beside it is ml_dtypes', tested elsewhere."""
    return v.dtype == w.dtype or oracle.BFLOAT16 not in (v.dtype, w.dtype)


@st.composite
def programs(draw, most=40, long=False):
    """A tuple of steps: one or two new arrays, then up to `most` steps."""
    maker = Draw(draw, long)
    maker.new()
    for _ in range(draw(st.integers(1, most))):
        maker.step()
    return tuple(maker.steps)
