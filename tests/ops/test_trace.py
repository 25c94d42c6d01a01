"""The builder: sharing, dropping, typing, and the form of every expansion there is."""

import math

import numpy as np
import pytest

from charl.ops.loops import KIND, WIDTH, loops
from charl.ops.primitive import PRIMITIVES
from charl.ops.trace import HALVES, Builder, expansion

from .evaluate import evaluate


def check(e):
    """An expansion's own rules: operands are defined before, dtypes agree, halves never compute."""
    dtypes = list(e.args)
    for p in e.code:
        args = [dtypes[a] for a in p.args]  # IndexError: used before it is defined
        if p.op == "const":
            assert type(p.attr) is {"b": bool, "f": float}.get(KIND[p.dtype], int)
            assert (
                KIND[p.dtype] != "f"
                or math.isnan(p.attr)
                or np.dtype(f"f{WIDTH[p.dtype] // 8}").type(p.attr) == p.attr
            )
        elif p.op == "lut":
            assert args == ["i32"] and len(p.attr) > 1
        elif p.op == "rare":
            assert args[0] == "b1" and args[1] == p.dtype == p.attr.dtype
            assert tuple(args[2:]) == p.attr.args
            check(p.attr)
        elif p.op == "scaled":
            assert args[0] == args[1] == p.dtype and KIND[args[2]] == "u"
        elif p.op == "cast":
            assert args[0] != p.dtype
        elif p.op == "bitcast":
            assert WIDTH[args[0]] == WIDTH[p.dtype]
        elif p.op == "select":
            assert args == ["b1", p.dtype, p.dtype]
        else:
            row = PRIMITIVES[p.op]
            assert len(set(args)) == 1 and args[0] not in HALVES and KIND[args[0]] in row.kinds
            assert p.dtype == ("b1" if row.result == "bool" else args[0])
        dtypes.append(p.dtype)
    used = {a for p in e.code for a in p.args} | {e.result}
    assert all(k in used for k in range(len(e.args), len(dtypes))), "a dead instruction"
    assert len({repr(p) for p in e.code}) == len(e.code), "an instruction twice"


@pytest.mark.parametrize("name", sorted({key[0] for key in loops()}))
def test_all_expansions_are_well_formed(name):
    for key in loops():
        if key[0] == name:
            e = expansion(*key)
            assert e.dtype == key[2] and e.args == key[1]
            check(e)


def test_equal_instructions_are_shared_and_unused_ones_dropped():
    b = Builder(("f32", "f32"))
    x, y = b.operands
    x * y + 7.0
    e = b.finish("test", (x + y) * (x + y))
    assert [p.op for p in e.code] == ["add", "mul"]
    assert e.code[1].args == (2, 2)


def test_zeros_of_both_signs_differ():
    b = Builder(("f64",))
    (x,) = b.operands
    e = b.finish("test", (x + 0.0) * (x + -0.0))
    assert sum(p.op == "const" for p in e.code) == 2


def test_constants_take_the_dtype_of_what_they_meet():
    b = Builder(("f32", "i8", "u16"))
    x, i, u = b.operands
    assert b.code[(x + 0.1).id - 4].attr == float(np.float32(0.1))
    assert b.code[(i & 0xFF).id - 4].attr == -1
    assert b.code[(u - -1).id - 4].attr == 65535


def test_halves_are_computed_in_f32_and_rounded_once():
    e = expansion("add", ("f16", "f16"), "f16")
    assert [(p.op, p.dtype) for p in e.code] == [
        ("cast", "f32"),
        ("cast", "f32"),
        ("add", "f32"),
        ("cast", "f16"),
    ]
    assert [p.op for p in expansion("where", ("b1", "bf16", "bf16"), "bf16").code] == ["select"]


def test_a_rule_may_call_other_ops():
    b = Builder(("f32",))
    (x,) = b.operands
    t = b.exp(-b.abs(x))
    e = b.finish("test", b.where(x >= 0, 1 / (1 + t), t / (1 + t)))
    values = np.linspace(-5, 5, 101, dtype=np.float32)
    assert np.abs(evaluate(e, values) - 1 / (1 + np.exp(-values.astype(np.float64)))).max() < 1e-6


@pytest.mark.parametrize(
    "key",
    [
        ("add", ("f32",), "f32"),
        ("add", ("f32", "f64"), "f64"),
        ("subtract", ("b1", "b1"), "b1"),
        ("exp", ("i32",), "f32"),
        ("equal", ("i32", "i32"), "i32"),
    ],
    ids=str,
)
def test_wrong_dtypes(key):
    with pytest.raises(TypeError):
        expansion(*key)


def test_expansions_are_cached():
    assert expansion("tanh", ("f32",), "f32") is expansion("tanh", ("f32",), "f32")
