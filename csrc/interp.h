/* interp.h: the bytecode that charl/codegen/bytecode.py writes and interp.c runs.

   A program is one block of bytes: this header, then the sections that its at_ fields locate. An
   "Int" is a launch parameter's number, or CHARL_ZERO, CHARL_ONE, CHARL_MINUS. A "value" is a
   number that names a register; the address it has at the moment is in a table, since loads and
   stores may make it memory of a buffer or of a slot. */
#ifndef CHARL_INTERP_H
#define CHARL_INTERP_H

#include "charl.h"

#define CHARL_PROGRAM_MAGIC 0x43524843u
#define CHARL_PROGRAM_VERSION 1

enum { CHARL_ZERO = -1, CHARL_ONE = -2, CHARL_MINUS = -3 };
enum { CHARL_ROW, CHARL_COLUMN, CHARL_CONTRACT, CHARL_INTEGERS };
/* Instead of a buffer: a plain number; a contraction's tile of sums. */
enum { CHARL_NUMBER = -1, CHARL_TILE = -2 };

/* Sizes fixed by charl/schedule/kernel.py; a test compares. */
enum {
    CHARL_LANES = 32,
    CHARL_STEPS = 32,
    CHARL_UNIT = 1024, /* and the most elements of a register */
    CHARL_COLUMNS = 256,
    CHARL_GROUP = 8,
    CHARL_KC = 256,
    CHARL_KINDS = 7, /* of reductions */
    CHARL_DTYPES = 13
};

typedef enum charl_opcode_t {
    CHARL_OP_LOOP,   /* dst = loops[x](in...) */
    CHARL_OP_LOAD,   /* dst = access x, where in[0] if >= 0; y: CHARL_LOAD_ flags */
    CHARL_OP_STORE,  /* access x = in[0]; nothing to do if OUT has bound it */
    CHARL_OP_OUT,    /* the next instruction makes dst: in access x if that is contiguous */
    CHARL_OP_GATHER, /* dst = access x at in[0] * Int y */
    CHARL_OP_INDEX,  /* dst = access x, a number */
    CHARL_OP_FILL,   /* dst = constant x of y bytes */
    CHARL_OP_PARAM,  /* dst = the low y bytes of parameter x */
    CHARL_OP_SPLAT,  /* dst = in[0] of y bytes, repeated over a block */
    CHARL_OP_WRAP,   /* dst = in[0] wrapped into Int x, site y */
    CHARL_OP_KEEP,   /* slot x = in[0] */
    CHARL_OP_KEPT,   /* dst = slot x */
    CHARL_OP_INTO,   /* the next instruction makes dst: in slot x */
    CHARL_OP_START,  /* state dst of fold x at the identity */
    CHARL_OP_FOLD,   /* state dst takes in[0] (and in[1]) by fold x */
    CHARL_OP_DONE,   /* dst = what state in[0] of fold x holds */
    CHARL_OP_SCAN,   /* dst = prefixes of in[0] by fold x, carried in state in[1] */
    CHARL_OPCODES
} charl_opcode_t;

enum {
    CHARL_LOAD_ALIAS = 1,
    CHARL_LOAD_RESET = 2
}; /* may be the buffer's memory; no OUT precedes it */
enum { CHARL_OPERANDS = 4 };

typedef struct charl_instr_t {
    int32_t op, dst, in[CHARL_OPERANDS], x, y;
} charl_instr_t;

/* What runs in a unit: [init, pro); if the inner axis is not empty, [pro, splat) and [splat,
   body) once and [body, epi) for each block; [epi, end). Without a loop: [init, end). */
typedef struct charl_stage_t {
    int32_t loop, init, pro, splat, body, epi, end;
} charl_stage_t;

/* Element offset + row * sr + column * sc + the outer strides that follow this record. What is a
   row and a column: order row: none, and the inner axis; column: the inner axis, and the last
   outer one; contract: i and j (or k). */
typedef struct charl_access_t {
    int32_t arg, size, offset, sr, sc; /* size in bytes; then Ints */
} charl_access_t;

typedef struct charl_slot_t {
    int32_t size, value; /* of an element in bytes; the register that serves while rows are short */
} charl_slot_t;

typedef struct charl_value_t {
    int32_t offset, nbytes; /* its register */
} charl_value_t;

typedef struct charl_program_t {
    uint32_t magic;
    int32_t version;
    char ops_hash[64]; /* of the table whose loops it calls, 0s behind; all 0: not checked */
    int32_t nbytes;
    int32_t order;
    int32_t nouter;  /* outer axes, in a column program without the last */
    int32_t block;   /* the outer axis that counts blocks of the inner one, or -1 */
    int32_t split;   /* a unit is UNIT elements of the inner axis */
    int32_t inner;   /* Int: extent of the inner axis; contract: of i */
    int32_t columns; /* Int: extent of the last outer axis; contract: of j */
    int32_t depth;   /* contract, Int: extent of k */
    int32_t tile_i, tile_j, lhs, rhs, sums; /* contract; the last three are accesses */
    int32_t naccess, nvalues, nslots, nstages, ncode, nconsts, nparams, nbuffers;
    int32_t launch_splat, launch_end; /* code [0, launch_end) runs once a launch */
    int32_t fixed_bytes; /* scratch ahead of the registers, slots apart: a contraction's packing */
    int32_t register_bytes; /* then tables; a multiple of 64 */
    int32_t scratch_bytes;  /* all that is needed beyond the slots */
    int32_t at_consts, at_code, at_stages, at_access, at_values, at_outer, at_slots, at_digits;
} charl_program_t;

/* How a contraction's operands walk their axes: rows of lhs, its depth, the depth of rhs, its
   columns. `parts` digits, most significant first, or 0 where the access's stride says all; at_digits
   is four of these. */
enum { CHARL_WALKS = 4, CHARL_DIGITS = 8 };
typedef struct charl_digits_t {
    int32_t parts, extent[CHARL_DIGITS], stride[CHARL_DIGITS]; /* Ints */
} charl_digits_t;

/* What a launch works out of an access: addresses (or numbers) at outer index 0 and now, strides
   in elements. */
typedef struct charl_place_t {
    int64_t start, base, sr, sc, size;
} charl_place_t;

/* Reductions and scans of one kind and dtype. State of a row: LANES totals; of columns: UNIT
   totals, then UNIT of the present chunk. */
typedef struct charl_fold_t {
    int32_t size;
    void (*start)(void *state, int64_t n);
    void (*fold_row)(void *state, const void *x, const void *y,
                     int64_t n); /* n <= LANES * STEPS: one chunk */
    void (*fold_rows)(void *outs, const void *x, const void *y, int64_t rows, int64_t n);
    void (*finish_row)(void *state, void *out);
    void (*fold_column)(void *state, const void *x, const void *y, int64_t rows, int64_t columns);
    void (*merge_column)(void *total, const void *chunk, int64_t columns);
    void (*scan)(void *carry, void *out, const void *x, int64_t rows, int64_t columns);
    void (*scan_groups)(void *carry, void *out, const void *x, int64_t n);
} charl_fold_t;

extern const charl_fold_t
    charl_folds[CHARL_KINDS * CHARL_DTYPES]; /* kind * DTYPES + dtype; size 0 where there is none */

/* loops.c: the generated element loops, the best that this CPU has. */
typedef void (*charl_loop_t)(int64_t n, void *out, const void *const *in);
const charl_loop_t *charl_loops(void);
extern const int32_t charl_loop_count;
extern const char charl_loop_hash[];

/* contract.c: sums (rows, columns) = lhs (rows, depth) times rhs (depth, columns); rows of sums
   are CHARL_SIDE apart. */
typedef struct charl_walk_t {
    int64_t first;  /* number that the operand's first element has along this axis */
    int64_t stride; /* in elements, where parts is 0 */
    int64_t parts, extent[CHARL_DIGITS], step[CHARL_DIGITS];
} charl_walk_t;

typedef struct charl_contract_t {
    const void *lhs, *rhs;
    charl_walk_t lhs_row, lhs_depth, rhs_depth, rhs_column;
    int64_t rows, columns, depth; /* rows and columns are at most CHARL_SIDE */
    void *pack, *sums;            /* 2 * KC * SIDE and SIDE * SIDE elements of the sums' size */
} charl_contract_t;

enum { CHARL_SIDE = 256 };
void charl_f32_contract(const charl_contract_t *c);
void charl_f64_contract(const charl_contract_t *c);
void charl_i8_contract(const charl_contract_t *c); /* int8 operands, int32 sums */
void charl_i32_contract(const charl_contract_t *c);
void charl_i64_contract(const charl_contract_t *c);

/* Runs units [begin, end) of launch->code. */
int32_t charl_interp_run(charl_launch_t *launch, int64_t begin, int64_t end);

/* NULL, or what is wrong with the program of nbytes bytes. */
const char *charl_interp_check(const void *program, int64_t nbytes);

#endif
