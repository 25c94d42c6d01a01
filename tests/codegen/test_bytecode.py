"""The bytecode encoder: registers, levels, direct stores; and the format, which C shares."""

import re
from pathlib import Path

import pytest

from charl.codegen import program
from charl.codegen.bytecode import Encoder, encode
from charl.core.dtypes import ALL
from charl.core.errors import InternalError
from charl.schedule import kernel as loop_ir
from charl.schedule.kernel import Access, Arg, Axis, Instr, Kernel, P, Stage

HEADER = Path(__file__).resolve().parents[2] / "csrc" / "interp.h"


def enum(name):
    """Names of a C enum in order, comments removed."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    (body,) = re.findall(rf"enum {name} {{(.*?)}}", text, flags=re.S)
    return [item.strip() for item in body.split(",") if item.strip()]


def flat(args, *stages):
    return Kernel(tuple(args), (), Axis(P(0)), "row", None, tuple(stages))


def chain(n):
    body = [Instr("load", "f32", (), Access(0, 0, (1,)))]
    body += [Instr("square", "f32", (k,)) for k in range(n)]
    body.append(Instr("store", "f32", (n,), Access(1, 0, (1,))))
    return flat([Arg("f32", "in"), Arg("f32", "out")], Stage(True, tuple(body)))


def encoded(kernel):
    """The Encoder after its work, for a look at what it made."""
    encoder = Encoder(kernel)
    encoder.encode()
    return encoder


@pytest.mark.skipif(not HEADER.exists(), reason="the C sources are not installed")
def test_the_format_is_the_same_in_c():
    names = [name.removeprefix("CHARL_OP_").lower() for name in enum("charl_opcode_t")]
    assert tuple(names[:-1]) == program.OPCODES
    sizes = dict(re.findall(r"CHARL_(\w+) = (\d+)", HEADER.read_text()))
    for name in ("LANES", "STEPS", "UNIT", "COLUMNS", "GROUP", "KC"):
        assert int(sizes[name]) == getattr(loop_ir, name)
    assert int(sizes["SIDE"]) == program.SIDE
    assert int(sizes["KINDS"]) == len(loop_ir.REDUCTIONS)
    assert int(sizes["DTYPES"]) == len(ALL)


def test_a_chain_reuses_one_register():
    assert encoded(chain(30)).registers.pool == encoded(chain(2)).registers.pool > 0


def test_contiguous_memory_is_not_copied():
    encoder = encoded(chain(1))
    assert encoder.registers.pool == 0
    assert [r.op for r in encoder.sections[0].body] == ["load", "out", "loop", "store"]


def test_what_the_kernel_writes_is_copied_first():
    body = (
        Instr("load", "f32", (), Access(0, 0, (1,))),
        Instr("square", "f32", (0,)),
        Instr("store", "f32", (1,), Access(0, 0, (1,))),
    )
    encoder = encoded(flat([Arg("f32", "inout")], Stage(True, body)))
    assert encoder.sections[0].body[0].y & program.ALIAS == 0


def test_a_value_is_not_stored_early_where_a_load_comes_between():
    body = (
        Instr("load", "f32", (), Access(0, 0, (1,))),
        Instr("square", "f32", (0,)),
        Instr("load", "f32", (), Access(0, 0, (1,))),
        Instr("add", "f32", (1, 2)),
        Instr("store", "f32", (1,), Access(0, 0, (1,))),
        Instr("store", "f32", (3,), Access(1, 0, (1,))),
    )
    encoder = encoded(flat([Arg("f32", "inout"), Arg("f32", "out")], Stage(True, body)))
    assert [r.dst for r in encoder.sections[0].body if r.op == "out"] == [3]


def test_scalars_are_made_once_a_launch_and_row_values_once_a_unit():
    body = (
        Instr("const", "f32", (), 2.0),
        Instr("param", "f32", (), P(2)),
        Instr("multiply", "f32", (0, 1)),
        Instr("load", "f32", (), Access(0, 0, (1, 0))),
        Instr("add", "f32", (2, 3)),
        Instr("load", "f32", (), Access(1, 0, (P(1), 1))),
        Instr("add", "f32", (4, 5)),
        Instr("add", "f32", (6, 4)),
        Instr("store", "f32", (7,), Access(2, 0, (P(1), 1))),
    )
    args = (Arg("f32", "in"), Arg("f32", "in"), Arg("f32", "out"))
    encoder = encoded(Kernel(args, (Axis(P(0)),), Axis(P(1)), "row", None, (Stage(True, body),)))
    (section,) = encoder.sections
    assert [r.op for r in encoder.launch] == ["fill", "param", "loop"]
    assert [r.op for r in section.pro] == ["load", "loop"]
    assert [r.op for r in section.splat] == ["splat"]
    assert [r.op for r in section.body] == ["load", "loop", "out", "loop", "store"]


def test_an_op_without_a_loop_is_named():
    body = (Instr("load", "f32", (), Access(0, 0, (1,))), Instr("shl", "f32", (0, 0)))
    with pytest.raises(InternalError, match="no loop shl"):
        encode(flat([Arg("f32", "in")], Stage(True, body)))


def test_a_reduction_is_not_ready_in_its_own_stage():
    body = (
        Instr("load", "f32", (), Access(0, 0, (1,))),
        Instr("reduce", "f32", (0,), "add"),
        Instr("add", "f32", (0, 1)),
    )
    with pytest.raises(InternalError, match="v2 uses v1"):
        encode(flat([Arg("f32", "in")], Stage(True, body)))


@pytest.mark.parametrize("dtype, value, bits", [
    ("f16", -1.5, 0xBE00), ("bf16", 1.0, 0x3F80), ("f32", -0.0, 1 << 31), ("f64", -0.0, -(1 << 63)),
    ("i8", -1, 0xFF), ("u64", (1 << 64) - 1, -1), ("i64", -2, -2), ("b1", True, 1),
    ("f16", float("inf"), 0x7C00), ("bf16", float("nan"), 0x7FC0),
])  # fmt: skip
def test_bits_of_constants(dtype, value, bits):
    assert program.bits(value, dtype) == bits
