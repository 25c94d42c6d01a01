"""Nodes: printing, verification, and the tables that give dtypes and shapes."""

import numpy as np
import pytest

import charl as ch
from charl.core import dtypes, infer, shapes
from charl.core.errors import InternalError
from charl.graph import printer
from charl.graph.node import make
from charl.graph.verify import verify
from charl.ops.table import OPS
from charl.tensor import node_of

F64, I64, B1 = dtypes.float64.code, dtypes.int64.code, dtypes.bool_.code


def code(name):
    return OPS[name].code


def test_text():
    x = ch.asarray(np.zeros((2, 3)))
    ch.eval(x)
    nodes = printer.walk([node_of(ch.sum(x * 2.5, axis=1)), node_of(x.T)])
    assert printer.text(nodes) == (
        "%0 = leaf f64 (2, 3)\n"
        "%1 = const f64 () 2.5\n"
        "%2 = multiply f64 (2, 3) %0, %1\n"
        "%3 = sum f64 (2,) %2 (1,)\n"
        "%4 = permute f64 (3, 2) %0 (1, 0)"
    )


def test_walk_does_not_recurse():
    node = make(code("const"), F64, (), ())
    for _ in range(20_000):
        node = make(code("add"), F64, (), (node, node))
    assert len(printer.walk([node])) == 20_001


def test_what_the_api_makes_verifies():
    x = ch.asarray(np.arange(24.0).reshape(2, 3, 4))
    y = ch.asarray([1, 0])
    x[0, 1:] = 5
    made = [
        x, ch.sum(x, axis=(0, 2)), x @ x.mT, ch.cumulative_sum(x[0, 0]), x[y], ch.where(x > 3, x, 0.0),
        ch.astype(x, ch.int8), x[:, ::-2].T, ch.take(x, y, axis=0), ch.arange(5) * 2,
    ]  # fmt: skip
    verify(printer.walk([node_of(t) for t in made]))


@pytest.mark.parametrize(
    "build",
    [
        lambda x: make(code("add"), F64, (3, 3), (x, x)),
        lambda x: make(code("add"), I64, (2, 3), (x, x)),
        lambda x: make(code("add"), F64, (2, 3), (x,)),
        lambda x: make(code("less"), F64, (2, 3), (x, x)),
        lambda x: make(code("where"), F64, (2, 3), (x, x, x)),
        lambda x: make(code("reshape"), F64, (5,), (x,)),
        lambda x: make(code("permute"), F64, (3, 2), (x,), (0, 0)),
        lambda x: make(code("expand"), F64, (3, 3), (x,)),
        lambda x: make(code("slice"), F64, (2, 3), (x,), None, (0, 1, 1, 1)),
        lambda x: make(code("slice"), F64, (2, 3), (x,), None, (1, 2, -1, -1)),
        lambda x: make(code("windows"), F64, (2, 3, 2), (x,), (1,), (1, 1)),
        lambda x: make(code("windows"), F64, (1, 2, 2), (x,), (1,), (1, 1)),
        lambda x: make(code("sum"), F64, (3,), (x,), (1,)),
        lambda x: make(code("matmul"), F64, (2, 2), (x, x)),
        lambda x: make(code("gather"), F64, (2, 3, 3), (x, x), 1),
        lambda x: make(code("update"), F64, (2, 3), (x, x), (("slice", 2),), (0, 0, 1, 1, 1, 3)),
        lambda x: make(code("leaf"), F64, (2, 3), ()),
        lambda x: make(code("iota"), F64, (2,), ()),
    ],
)
def test_broken_nodes_are_found(build):
    x = node_of(ch.asarray(np.zeros((2, 3))))
    y = build(x)
    if OPS["slice"].code == y.op and y.sizes == (1, 2, -1, -1):
        verify([x, y])
        return
    with pytest.raises(InternalError, match="graph verifier"):
        verify([x, y])


# Shapes


@pytest.mark.parametrize(
    "given",
    [
        [(3,), (1,)],
        [(2, 1), (1, 3)],
        [(), (4,)],
        [(0,), (1,)],
        [(2, 3), (3,), (1, 1)],
        [(2,), (3,)],
        [(0,), (2,)],
    ],
)
def test_broadcast_is_numpys(given):
    try:
        expected = np.broadcast_shapes(*given)
    except ValueError:
        with pytest.raises(ValueError, match="operands could not be broadcast together"):
            shapes.broadcast_shapes(*given)
        return
    assert shapes.broadcast_shapes(*given) == expected


@pytest.mark.parametrize(
    "cut",
    [
        np.s_[:],
        np.s_[::2],
        np.s_[:, ::-1],
        np.s_[1:, 1:2],
        np.s_[:, :, ::3],
        np.s_[:0],
        np.s_[..., 0],
    ],
)
@pytest.mark.parametrize("axes", [None, (2, 0, 1), (0, 2, 1)])
@pytest.mark.parametrize("target", [(-1,), (2, -1), (-1, 3), (-1, 2, 3), (1, -1, 1)])
def test_reshape_without_a_copy_where_numpy_needs_none(cut, axes, target):
    x = np.zeros((4, 6, 6))[cut]
    if axes is not None and x.ndim == 3:
        x = x.transpose(axes)
    try:
        target = shapes.resolve_reshape(x.size, target)
    except ValueError:
        with pytest.raises(ValueError):
            x.reshape(target)
        return
    view = x.reshape(target)
    found = shapes.reshape_strides(x.shape, tuple(s // 8 for s in x.strides), target)
    assert (found is not None) == (np.shares_memory(view, x) or x.size == 0)
    if found is not None and x.size:
        assert all(a * 8 == b for a, b, n in zip(found, view.strides, target) if n > 1)


def test_axes():
    assert shapes.normalize_axes((-1, 0), 3) == (0, 2) and shapes.normalize_axes(None, 2) == (0, 1)
    for wrong, error in ((3, IndexError), ((0, -3), ValueError), (1.5, TypeError)):
        with pytest.raises(error):
            shapes.normalize_axes(wrong, 3)


# Dtypes


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        -0.0,
        1.5,
        65504.0,
        65519.9,
        65520.0,
        6e-8,
        2.9e-8,
        1e-30,
        np.inf,
        -np.inf,
        np.nan,
        3.4e38,
        1e39,
    ],
)
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_scalars_round_once(value, name):
    dtype = dtypes.BY_NAME[name]
    with np.errstate(all="ignore"):
        expected = np.array([value]).astype(dtypes.to_numpy(dtype))
    bits = infer.encode(value, dtype)
    width = dtype.itemsize
    got = np.frombuffer((bits & ((1 << 64) - 1)).to_bytes(8, "little")[:width], expected.dtype)
    if value != value:
        assert got[0] != got[0]
    else:
        assert got.tobytes() == expected.tobytes()
        assert infer.decode(bits, dtype) == float(expected[0])


def test_ints_that_do_not_fit():
    for dtype, low, high in (
        (dtypes.int8, -128, 127),
        (dtypes.uint64, 0, 2**64 - 1),
        (dtypes.int64, -(2**63), 2**63 - 1),
    ):
        for value in (low, high):
            assert infer.decode(infer.encode(value, dtype), dtype) == value
        for value in (low - 1, high + 1):
            with pytest.raises(OverflowError):
                infer.encode(value, dtype)
