"""Bytecode refuses malformed programs: whatever is wrong in one raises, and nothing crashes."""

import struct

import numpy as np
import pytest

from charl.codegen.bytecode import encode
from charl.codegen.program import HEADER
from charl.runtime.interp import Bytecode
from charl.schedule.kernel import Access, Arg, Axis, Contract, Instr, P
from tests.runtime.test_interp import softmax

FIELDS = """
    magic version hash nbytes order nouter block split inner columns depth tile_i tile_j lhs rhs
    sums naccess nvalues nslots nstages ncode nconsts nparams nbuffers launch_splat launch_end
    fixed_bytes register_bytes scratch_bytes
    at_consts at_code at_stages at_access at_values at_outer at_slots reserved
""".split()  # noqa: SIM905
# Fields that may be large: a program cannot know how many parameters a launch has.
UNBOUNDED = {"nparams", "nbuffers", "scratch_bytes", "tile_i", "tile_j"}
UNCHECKED = {"split", "reserved", "hash"}
ONLY_CONTRACT = {"tile_i", "tile_j", "lhs", "rhs", "sums"}


def product():
    epilogue = (Instr("acc", "f64"), Instr("store", "f64", (0,), Access(2, 0, (P(1), 1))))
    args = (Arg("f64", "in"), Arg("f64", "in"), Arg("f64", "out"))
    sides = Access(0, 0, (P(2), 0, 1)), Access(1, 0, (0, 1, P(1)))
    return Contract(args, (), Axis(P(0)), Axis(P(1)), Axis(P(2)), "f64", *sides, epilogue)


@pytest.fixture(params=["softmax", "product"])
def good(request):
    return encode(softmax("column") if request.param == "softmax" else product())


def test_a_good_program(good):
    bytecode = Bytecode(good)
    assert bytecode.nbytes == len(good.program) and bytecode.address % 8 == 0
    assert bytecode.scratch_bytes % 64 == 0 and bytecode.buffers >= 3


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in UNCHECKED])
def test_a_wrong_header(good, name):
    values = list(HEADER.unpack_from(good.program))
    if name in ONLY_CONTRACT and values[FIELDS.index("order")] != 2:
        return
    for wrong in (-5, -(1 << 31), 1 << 30)[: 2 if name in UNBOUNDED else 3]:
        values[FIELDS.index(name)] = abs(wrong) if name == "magic" else wrong
        with pytest.raises(ValueError, match="Bytecode"):
            Bytecode(good._replace(program=HEADER.pack(*values) + good.program[HEADER.size :]))


def test_a_program_for_another_op_table(good):
    values = list(HEADER.unpack_from(good.program))
    values[FIELDS.index("hash")] = b"another"
    with pytest.raises(ValueError, match="rebuild"):
        Bytecode(good._replace(program=HEADER.pack(*values) + good.program[HEADER.size :]))


def test_a_cut_program(good):
    for n in range(len(good.program)):
        with pytest.raises(ValueError, match="Bytecode"):
            Bytecode(good._replace(program=good.program[:n]))


def test_words_out_of_range(good):
    """Every word behind the header, huge or very negative: refused, but for the data among them."""
    refused = 0
    count = (len(good.program) - HEADER.size) // 4
    for k in range(count):
        at = HEADER.size + 4 * k
        for wrong in (1 << 30, -(1 << 30)):
            program = good.program[:at] + struct.pack("<i", wrong) + good.program[at + 4 :]
            try:
                Bytecode(good._replace(program=program))
            except ValueError:
                refused += 1
    assert refused > count


def test_noise_never_crashes(good):
    rng = np.random.default_rng(0)
    for _ in range(3000):
        program = bytearray(good.program)
        for at in rng.integers(80, len(program), rng.integers(1, 4)):
            program[at] = rng.integers(0, 256)
        try:
            Bytecode(good._replace(program=bytes(program)))
        except ValueError:
            pass
