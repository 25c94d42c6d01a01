"""docs/accuracy.md, from the op table: `python -m charl.inspect.accuracy`. A test keeps it current."""

from __future__ import annotations

from charl.ops.table import OPS, Op

KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float"}
PAGE = """# Accuracy

Made from the op table (`charl/ops/`) by `python -m charl.inspect.accuracy`. The same table drives the code and its
tests, so a bound that is stated here is tested.

Every backend of the CPU, thread count, optimisation level and fusion gives the same bits: what follows holds for all
of them. The last section says what holds on a GPU.

- **0** means the correctly rounded or exact result: the same bits as NumPy's (all NaNs counting as equal).
- **n ULP** bounds the distance from the exact value, in units in the last place of the result's dtype, over the
  whole range of float32 and float64, specials included. The exact values come from mpmath.
- float16 and bfloat16 are computed in float32 and rounded back: the error of that rounding comes on top.
- Integer operands of a function with a float result become float64 first.

| function | operands | bound | notes |
|---|---|---|---|
{rows}

Beyond element-wise work:

- **Sums and means** use a fixed number of partial sums and then a fixed tree, whatever the host: the error is within
  n * eps * sum(|x|), in practice near that of pairwise summation. float16 and bfloat16 are summed in float32.
- **Matrix products** use fused multiply-add along k, in blocks of a fixed length that are added in order.
- **Integers** wrap, in sums and products too. x // 0 and x % 0 are 0, and MIN // -1 is MIN. Shifts outside
  0..width-1 give 0 or the sign. Float to integer saturates; NaN gives 0.
- **Comparisons, minimum, maximum, argmin, argmax, sort** are exact; NaN wins, the first index on ties.

On a GPU, whose shading language promises less than IEEE:

- **Integers, bool, casts, comparisons, minimum, maximum, argmin, argmax, sort, data movement and the bits of random
  numbers** are those of the CPU. So are uniform floats in [0, 1), and NaN, infinities and zeros.
- **A single `+`, `-`, `*`, abs, negative, square, floor, ceil, trunc, round, sign or copysign of floats** is exact
  where neither operands nor result are subnormal. Subnormals may count as 0 everywhere.
- **Every other element-wise function of floats** is within 4 ULP, or the table's bound where that is larger. In
  chains of them a driver may fuse a product and a sum.
- **Sums, means, products, cumulative sums and matrix products** have another order, and the bounds above: n * eps *
  sum(|x|). The order depends on op, axes and extents alone.
- **A device without float64** takes float32 where no operand is float64, and int32 and float32 where no dtype is
  stated; integer operands of a function with a float result become float32 first.
"""


def row(op: Op) -> str:
    """One line of the table."""
    kinds = ", ".join(KINDS[kind] for kind in op.kinds)
    note = op.doc.splitlines()[0].replace("|", "\\|") if op.doc else ""
    return f"| `{op.name}` | {kinds} | {f'{op.ulp} ULP' if op.ulp else '0'} | {note} |"


def markdown() -> str:
    """The text of docs/accuracy.md."""
    ops = [op for op in OPS.values() if op.group == "elementwise" and op.numpy]
    return PAGE.format(rows="\n".join(row(op) for op in sorted(ops, key=lambda op: op.name)))


if __name__ == "__main__":
    print(markdown(), end="")
