"""Random graphs, scheduled and run through their Kernels, against NumPy; and what must fuse, does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charl.schedule import plan
from charl.schedule.kernel import Contract
from charl.schedule.prepare import HANDLE, OUT, SEEN

from .run import Fake, evaluate, flags_of, leaf, order, run


def elementwise(name, *src, dtype=None):
    shape = np.broadcast_shapes(*(s.shape for s in src))
    dtype = dtype or ["f64", "b1"][name == "less"]
    return Fake(name, dtype, shape, src)


def const(value):
    return Fake("const", "f64", (), scalar=float(value))


def reduce(name, x, axes):
    return Fake(
        name, "f64", [n for a, n in enumerate(x.shape) if a not in axes], (x,), attrs=tuple(axes)
    )


def reshape(x, shape):
    return Fake("reshape", list_short(x), shape, (x,))


def list_short(x):
    from charl.core.dtypes import ALL

    return ALL[x.dtype].short


def keepdims(x, axes):
    return [1 if a in axes else n for a, n in enumerate(x.shape)]


def softmax(x, axis):
    shape = keepdims(x, (axis,))
    e = elementwise("exp", elementwise("subtract", x, reshape(reduce("max", x, (axis,)), shape)))
    total = reshape(reduce("sum", e, (axis,)), shape)
    return elementwise("multiply", e, total)


def data(*shape):
    return leaf(np.random.default_rng(len(shape)).integers(-3, 4, shape).astype(float))


def check(outputs, donate=(), launches=None):
    memo = {}
    expected = [evaluate(o, memo).copy() for o in outputs]
    values, schedule = run(outputs, donate)
    for value, want in zip(values, expected):
        np.testing.assert_allclose(value, want, rtol=1e-12)
    if launches is not None:
        assert len(schedule.steps) == launches, str(schedule)
    return schedule


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax_is_one_kernel_over_any_axis(axis):
    check([softmax(data(4, 5, 6), axis)], launches=1)


def test_layer_norm_is_one_kernel():
    x = data(6, 10)
    mean = elementwise("multiply", reshape(reduce("sum", x, (1,)), (6, 1)), const(0.1))
    centred = elementwise("subtract", x, mean)
    var = reshape(reduce("sum", elementwise("multiply", centred, centred), (1,)), (6, 1))
    check([elementwise("multiply", centred, var)], launches=1)


def test_a_costly_row_is_not_computed_anew_for_each_row():
    x, y = data(6, 1), data(10)
    check([elementwise("multiply", x, elementwise("exp", y))], launches=2)
    check([elementwise("multiply", elementwise("exp", x), y)], launches=1)


def test_a_blocked_sum_of_costly_values_stores_none():
    x = data(40000)
    check([reduce("sum", elementwise("exp", x), (0,))], launches=2)


def test_epilogue_fuses_into_the_contraction():
    x, w, b = data(5, 7), data(7, 3), data(3)
    product = Fake("matmul", "f64", (5, 3), (x, w))
    schedule = check([elementwise("maximum", elementwise("add", product, b), const(0))], launches=1)
    assert isinstance(schedule.steps[0].kernel, Contract)


def test_a_product_that_is_stored_transposed_is_that_of_the_transposes():
    product = Fake("matmul", "f64", (40, 50), (data(40, 30), data(30, 50)))
    turned = Fake("permute", "f64", (50, 40), (product,), attrs=(1, 0))
    for result in (product, turned):
        kernel = check([elementwise("add", result, const(1))], launches=1).steps[0].kernel
        assert isinstance(kernel, Contract) and kernel.epilogue[-1].attr.strides[-1] == 1


def test_a_product_reads_windows_where_they_lie():
    """x (n, c, h, w), weights (o, c * kh * kw) and a bias: one kernel, and its columns in one piece."""
    x, w, b = data(2, 3, 7, 9), data(4, 18), data(4, 1, 1)
    windows = Fake("windows", "f64", (2, 3, 6, 7, 2, 3), (x,), (2, 3), (1, 1, 1, 1))
    turned = Fake("permute", "f64", (2, 3, 2, 3, 6, 7), (windows,), (0, 1, 4, 5, 2, 3))
    product = Fake("matmul", "f64", (2, 4, 42), (w, reshape(turned, (2, 18, 42))))
    schedule = check([reshape(product, (2, 4, 6, 7))], launches=1)
    kernel = schedule.steps[0].kernel
    assert isinstance(kernel, Contract) and [d.axis for d in kernel.digits] == ["j", "k"]
    last = Fake(
        "permute", "f64", (2, 6, 7, 4), (reshape(product, (2, 4, 6, 7)),), attrs=(0, 2, 3, 1)
    )
    kernel = check([elementwise("add", last, const(1))], launches=1).steps[0].kernel
    assert [(d.side, d.axis) for d in kernel.digits] == [("lhs", "i"), ("lhs", "k")]
    biased = elementwise("add", reshape(product, (2, 4, 6, 7)), b)
    check([elementwise("maximum", biased, const(0))], launches=1)
    cut = elementwise("add", reshape(product, (2, 4, 6, 7)), data(6, 1))
    check([cut], launches=2)  # rows of the image are not the product's columns


def test_several_outputs_from_one_pass():
    x = data(8, 9)
    y = elementwise("multiply", x, x)
    check([y, reduce("sum", y, (1,)), elementwise("add", x, const(1))], launches=1)


def test_long_reductions_are_cut_into_blocks():
    x = data(3, 40000)
    check([reduce("sum", x, (1,)), reduce("max", x, (0, 1))])
    check([reduce("sum", data(2100, 5), (0,))])


def test_separate_axes_reduce_last_run_first():
    check([reduce("sum", data(3, 4, 5, 6), (0, 2)), reduce("sum", data(3, 4, 5, 6), (0, 3))])


def view(base, starts, steps, shape):
    return Fake("slice", "f64", shape, (base,), sizes=(*starts, *steps))


def update(base, value, starts, steps, shape):
    return Fake(
        "update",
        "f64",
        base.shape,
        (base, value),
        (("slice", len(shape)),),
        (*starts, *steps, *shape),
    )


def test_update_in_place_takes_one_launch():
    x = data(6, 4)
    part = view(x, (1, 0), (1, 1), (5, 4))
    new = update(x, elementwise("add", part, const(1)), (1, 0), (1, 1), (5, 4))
    schedule = check([new], donate=[new], launches=1)
    assert schedule.steps[0].kernel.args[0].mode == "inout"
    check([new], launches=2)  # the old value is still wanted: a copy first


def test_overlapping_update_goes_through_a_temporary():
    x = data(6, 4)
    part, before = view(x, (1, 0), (1, 1), (5, 4)), view(x, (0, 0), (1, 1), (5, 4))
    new = update(x, elementwise("add", part, before), (1, 0), (1, 1), (5, 4))
    check([new], donate=[new], launches=2)


def test_readers_of_the_old_value_launch_before_the_update():
    x = data(6, 4)
    new = update(x, const_like(x, 7), (0, 0), (1, 1), (6, 4))
    check([new, elementwise("exp", x)], donate=[new])
    check([new, elementwise("add", x, new)], donate=[new])  # needs both: no update in place


def const_like(x, value):
    return Fake("expand", "f64", x.shape, (const(value),))


def test_a_schedule_is_reused_for_new_extents():
    def graph(m, n):
        return [softmax(data(m, n), 1)]

    _, schedule = run(graph(4, 5))
    for shape in [(3, 7), (100, 2), (2, 31)]:
        outputs = graph(*shape)
        values, _ = run(outputs, schedule=schedule)
        np.testing.assert_allclose(values[0], evaluate(outputs[0], {}), rtol=1e-12)
    assert (
        run(graph(3, 40000), schedule=schedule)[0] is None
    )  # longer than a block: another structure


def test_equal_extents_change_no_kernel():
    texts = set()
    for m, k, n in [(4, 5, 6), (4, 4, 4), (7, 7, 3), (3, 9, 9), (8, 2, 8)]:
        _, schedule = run([Fake("matmul", "f64", (m, n), (data(m, k), data(k, n)))])
        texts.add(str(schedule.steps[0].kernel))
    assert len(texts) == 1


def test_seen_and_held_reductions_are_stored():
    x = data(4, 5)
    total = reduce("sum", x, (1,))
    first = elementwise("exp", x)
    out = elementwise("add", first, reshape(total, (4, 1)))
    nodes = order([out])
    flags = flags_of(nodes, [out])
    flags[nodes.index(total)] |= HANDLE
    flags[nodes.index(first)] |= SEEN
    _, schedule = run([out], flags=flags)
    stored = {s.node for s in schedule.slots if s.kind == "store"}
    assert {nodes.index(total), nodes.index(first), nodes.index(out)} <= stored


def test_a_long_chain_is_cut_without_recursion():
    x = data(5)
    for _ in range(3000):
        x = elementwise("add", elementwise("multiply", x, const(0.5)), const(1))
    _, schedule = run([x])
    assert len(schedule.steps) > 10


@pytest.mark.parametrize("shared", [False, True])
def test_kernels_of_many_inputs_are_cut_to_few_buffers(shared):
    x = [data(4, 5) for _ in range(40)]
    outputs = []
    for at in range(0, 40, 20):
        tree = x[at : at + 20]
        while len(tree) > 1:
            tree = [elementwise("add", a, b) for a, b in zip(tree[::2], tree[1::2])] + (
                tree[-1:] if len(tree) % 2 else []
            )
        outputs.append(elementwise("multiply", tree[0], x[0] if shared else x[at]))
    values, schedule = run(outputs, buffers=8)
    for out, value in zip(outputs, values):
        np.testing.assert_array_equal(value, evaluate(out, {}))
    assert max(step.width for step in schedule.steps) <= 8 < 20 <= len(schedule.steps) * 5
    assert max(step.width for step in run(outputs)[1].steps) > 20


def test_stencil_of_a_stencil_is_stored():
    x = data(20)
    for n in (18, 16, 14):
        parts = [view(x, (k,), (1,), (n,)) for k in range(3)]
        x = elementwise("add", elementwise("add", parts[0], parts[1]), parts[2])
    check([x], launches=3)


class Program:
    """Draws a random graph: small extents, so that units, equal extents and empty axes all turn up."""

    def __init__(self, draw):
        self.draw = draw
        self.nodes = [data(*self.shape()) for _ in range(2)]
        self.donate = []

    def shape(self):
        return tuple(self.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=0, max_size=3)))

    def pick(self):
        return self.draw(st.sampled_from(self.nodes))

    def step(self):
        x = self.pick()
        kinds = [
            "unary",
            "binary",
            "reshape",
            "permute",
            "slice",
            "windows",
            "expand",
            "reduce",
            "scan",
            "matmul",
            "gather",
            "update",
        ]
        kind = self.draw(st.sampled_from(kinds))
        made = getattr(self, kind)(x)
        if made is not None:
            self.nodes.append(made)

    def unary(self, x):
        return elementwise(self.draw(st.sampled_from(["negative", "abs"])), x)

    def binary(self, x):
        y = self.pick()
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            y = const(2)
        return elementwise(self.draw(st.sampled_from(["add", "subtract", "maximum"])), x, y)

    def reshape(self, x):
        size = int(np.prod(x.shape))
        options = [(size,), (1, size), (size, 1)]
        options += [(a, size // a) for a in (2, 3, 4, 6) if size % a == 0]
        options += [(a, b, size // a // b) for a in (2, 3) for b in (2, 3) if size % (a * b) == 0]
        return reshape(x, self.draw(st.sampled_from(options)))

    def permute(self, x):
        perm = tuple(self.draw(st.permutations(range(len(x.shape)))))
        return Fake("permute", "f64", [x.shape[p] for p in perm], (x,), attrs=perm)

    def bounds(self, x):
        starts, steps, shape = [], [], []
        for n in x.shape:
            start = self.draw(st.integers(0, n - 1))
            step = self.draw(st.sampled_from([1, 1, 2, -1, -2]))
            most = (n - 1 - start) // step + 1 if step > 0 else start // -step + 1
            starts.append(start)
            steps.append(step)
            shape.append(self.draw(st.integers(1, most)))
        return starts, steps, shape

    def slice(self, x):
        return view(x, *self.bounds(x))

    def windows(self, x):
        axes = sorted(self.draw(st.sets(st.sampled_from(range(max(1, len(x.shape)))), min_size=1)))
        if not x.shape:
            return None
        shape, sizes, steps, apart = list(x.shape), [], [], []
        for axis in axes:
            n = shape[axis]
            sizes.append(self.draw(st.integers(1, min(n, 3))))
            far = (n - 1) // max(1, sizes[-1] - 1)
            apart.append(self.draw(st.integers(1, max(1, min(far, 2)))))
            steps.append(self.draw(st.integers(1, 2)))
            shape[axis] = (n - apart[-1] * (sizes[-1] - 1) - 1) // steps[-1] + 1
        return Fake(
            "windows", "f64", (*shape, *sizes), (x,), attrs=tuple(axes), sizes=(*steps, *apart)
        )

    def expand(self, x):
        shape = [self.draw(st.sampled_from([2, 3])) if n == 1 else n for n in x.shape]
        return Fake("expand", "f64", [self.draw(st.sampled_from([1, 2])), *shape], (x,))

    def reduce(self, x):
        if not x.shape:
            return None
        axes = self.draw(st.sets(st.integers(0, len(x.shape) - 1), min_size=1))
        return reduce(self.draw(st.sampled_from(["sum", "max", "min"])), x, sorted(axes))

    def scan(self, x):
        if not x.shape:
            return None
        return Fake(
            "cumsum", "f64", x.shape, (x,), attrs=self.draw(st.integers(0, len(x.shape) - 1))
        )

    def matmul(self, x):
        if len(x.shape) < 2:
            return None
        n = self.draw(st.sampled_from([1, 2, 4]))
        if self.draw(st.booleans()):
            shape = (*x.shape[:-2], n, x.shape[-1])
            return Fake("matmul", "f64", shape, (data(n, x.shape[-2]), x))
        return Fake("matmul", "f64", (*x.shape[:-1], n), (x, data(x.shape[-1], n)))

    def gather(self, x):
        if not x.shape:
            return None
        axis = self.draw(st.integers(0, len(x.shape) - 1))
        n = x.shape[axis]
        index = np.array(self.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=4)))
        wrapped = Fake("wrap_index", "i64", index.shape, (leaf(index),), sizes=(n,))
        return Fake(
            "gather",
            "f64",
            (*x.shape[:axis], len(index), *x.shape[axis + 1 :]),
            (x, wrapped),
            attrs=axis,
        )

    def update(self, x):
        starts, steps, shape = self.bounds(x)
        value = elementwise(
            "add", view(x, starts, steps, shape), self.draw(st.sampled_from([const(1), const(2)]))
        )
        if self.draw(st.booleans()):
            flip = view(
                x,
                [s + t * (n - 1) for s, t, n in zip(starts, steps, shape)],
                [-t for t in steps],
                shape,
            )
            value = elementwise("add", value, flip)
        made = update(x, value, starts, steps, shape)
        if x.array is None and self.draw(st.booleans()):
            self.donate.append(made)
        return made


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_random_graphs(draws):
    program = Program(draws.draw)
    for _ in range(draws.draw(st.integers(1, 12))):
        program.step()
    outputs = [program.nodes[-1]]
    if draws.draw(st.booleans()):
        outputs.append(program.pick())
    outputs = [o for k, o in enumerate(outputs) if o.array is None and o not in outputs[:k]]
    if not outputs:
        return
    inside = order(outputs)
    donate = [
        d
        for d in program.donate
        if sum(d.src[0] in n.src for n in inside) >= 1 and d.src[0] not in outputs
    ]
    memo = {}
    expected = [evaluate(o, memo).copy() for o in outputs]
    buffers = draws.draw(st.sampled_from([plan.ANY, 8, 6]))
    values, schedule = run(outputs, donate, buffers=buffers)
    for value, want in zip(values, expected):
        np.testing.assert_array_equal(value, want)
    assert all(step.width <= buffers for step in schedule.steps), str(schedule)
    assert OUT
