"""Writes csrc/gen/ops.h and csrc/gen/loops.h: the interpreter's C loops, one for each op on each dtype.

What a reader of the generated files gets (csrc/loops.c includes gen/ops.h, and nothing else does):

    #define CHARL_OPS_HASH "9a3c..."              table_hash() of the table that was generated
    #define CHARL_LOOPS 1234                      len(loops())
    typedef void (*charl_loop_t)(int64_t n, void *out, const void *const *in);
    const charl_loop_t *charl_ops_loops(void);    the CHARL_LOOPS functions, cloned for the best of
                                                  x86-64, x86-64-v3, x86-64-v4 that this CPU has

`loops()[k]` is the (op, args, result) that function k computes: out[e] = op(in[0][e], in[1][e], ...) for e < n.
args and result are dtype short names. All arrays are contiguous and aligned to their element; n may be 0. `out`
may be exactly one of the `in` pointers where the element sizes are equal (in place), and otherwise must not overlap
an input. b1 is bytes 0 or 1; f16 and bf16 are their 16 bits. There are loops for

    every table op of group elementwise or primitive on operands of one dtype, for the kinds in its row; an op with
    result "float" only on floats; f16 and bf16 as well (computed in f32 and rounded back, as `expansion` does);
    where and select (b1, T, T) -> T;   cast between all pairs of dtypes, also T -> T (a copy);
    bitcast between dtypes of one width;   philox (u64, u64) -> u64.

`index()` is the dict {(op, args, result): k} that codegen/bytecode.py looks up. setup.py calls `write(root)`; at
import the interpreter's C hash is compared with table_hash(), which reads the sources of this package.
"""
