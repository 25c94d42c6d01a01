"""The table: every name of the standard is there, codes are unique, the fields make sense."""

import subprocess
import sys
from pathlib import Path

import pytest

from charl.ops.loops import loop_number, loops, table_hash
from charl.ops.primitive import PRIMITIVES
from charl.ops.table import OPS, op

# array API standard 2025.12, element-wise functions, without complex ones
STANDARD = """
    abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift
    bitwise_invert bitwise_or bitwise_right_shift bitwise_xor ceil clip copysign cos cosh
    divide equal exp expm1 floor floor_divide greater greater_equal hypot isfinite isinf
    isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not
    logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive
    pow reciprocal remainder round sign signbit sin sinh square sqrt subtract tan tanh
    trunc
"""
OURS = """
    where cast erf exp2 cbrt sigmoid philox
"""
GRAPH = """
    leaf const iota reshape permute expand slice sum prod max min any all matmul cumsum
    cumprod gather wrap_index update
"""


@pytest.mark.parametrize("name", (STANDARD + OURS).split())
def test_elementwise_names(name):
    assert OPS[name].group == "elementwise"


@pytest.mark.parametrize("name", GRAPH.split())
def test_graph_names(name):
    assert OPS[name].group not in ("elementwise", "primitive")
    assert OPS[name].expand is None


def test_codes_are_positions():
    assert [row.code for row in OPS.values()] == list(range(len(OPS)))
    assert all(name == row.name for name, row in OPS.items())


def test_primitives_are_in_the_table():
    assert set(PRIMITIVES) <= set(OPS)


@pytest.mark.parametrize("row", OPS.values(), ids=lambda row: row.name)
def test_fields(row):
    assert set(row.kinds) <= set("biuf") and row.result in (
        "same",
        "bool",
        "float",
        "number",
        "any",
    )
    assert row.cost >= 1 and row.ulp >= 0
    if row.group == "elementwise":
        assert row.expand is not None or row.name in PRIMITIVES


def test_no_op_twice():
    with pytest.raises(ValueError, match="declared twice"):
        op("exp", 1, "f")


def test_the_number_of_a_loop_is_its_place():
    assert [loop_number(*key) for key in loops()] == list(range(len(loops())))
    assert loop_number("sin", ("i32",), "i32") is None
    assert loop_number("no op", ("f32",), "f32") is None


def test_loads_without_numpy_and_without_the_package():
    """As setup.py does it: charl/__init__ does not run, and numpy is not there."""
    root = Path(__file__).resolve().parents[2]
    program = (
        "import sys, types\n"
        "package = types.ModuleType('charl')\n"
        f"package.__path__ = [{str(root / 'charl')!r}]\n"
        "sys.modules.update(charl=package, numpy=None)\n"
        "from charl.ops.loops import loops, table_hash\n"
        "print(table_hash(), len(loops()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [table_hash(), str(len(loops()))]
