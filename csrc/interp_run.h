/* interp_run.h: a launch while it runs, shared by interp.c (units, stages) and interp_block.c
   (instructions). */
#ifndef CHARL_INTERP_RUN_H
#define CHARL_INTERP_RUN_H

#include "interp.h"

typedef struct charl_run_t {
    const charl_program_t *program;
    charl_launch_t *launch;
    const charl_loop_t *loops;
    const int64_t *consts;
    const charl_instr_t *code;
    const charl_stage_t *stages;
    const charl_value_t *values;
    const charl_slot_t *slot_sizes;
    char *registers;
    char **at;             /* a value's address now */
    charl_place_t *places; /* one an access */
    int64_t *strides;      /* outer strides in bytes: (access, outer axis) */
    int64_t *extents;      /* of the outer axes */
    int64_t *indices;      /* of the outer axes */
    char **slots;
    int64_t inner, columns, together; /* the last: units of one block, at most */
    int64_t first, last;              /* of the inner axis: [first, last) */
    int64_t row, column;              /* where the present block begins */
    int64_t nrows, ncolumns;          /* what it covers; its elements lie row by row */
} charl_run_t;

static inline int64_t charl_least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The value of an Int. */
static inline int64_t charl_number(const charl_run_t *run, int32_t code) {
    static const int64_t literals[] = {0, 1, -1};
    return code >= 0 ? run->launch->params[code] : literals[-1 - code];
}

static inline char *charl_register(const charl_run_t *run, int32_t value) {
    return run->registers + run->values[value].offset;
}

/* Runs instructions [from, to) on the present block; row values have `width` elements. Returns a
   CHARL_E code. */
int32_t charl_execute(charl_run_t *run, int32_t from, int32_t to, int64_t width);

#endif
