/* interp_block.c: runs instructions on one block. Elements are the business of loops.c and
   fold.c. */
#include <string.h>

#include "interp_run.h"

/* Address or number of the first element of the present block. */
static inline int64_t address(const charl_run_t *run, const charl_place_t *place) {
    return place->base + (run->row * place->sr + run->column * place->sc) * place->size;
}

static inline int contiguous(const charl_run_t *run, const charl_place_t *place) {
    return (place->sc == 1 || run->ncolumns == 1) &&
           (run->nrows == 1 || place->sr == run->ncolumns);
}

/* Moves a block between memory, strided, and a register. The copies of whole rows are the
   compiler's memcpy. */
#define BY_SIZE(SIZE, DO)                                                                          \
    switch (SIZE) {                                                                                \
    case 1:                                                                                        \
        DO(uint8_t) break;                                                                         \
    case 2:                                                                                        \
        DO(uint16_t) break;                                                                        \
    case 4:                                                                                        \
        DO(uint32_t) break;                                                                        \
    default:                                                                                       \
        DO(uint64_t) break;                                                                        \
    }

static void read_block(const charl_run_t *run, const charl_place_t *place, void *to) {
    int64_t rows = run->nrows, columns = run->ncolumns, sr = place->sr, sc = place->sc;
    const char *from = (const char *)address(run, place);
    if (contiguous(run, place)) {
        memcpy(to, from, rows * columns * place->size);
        return;
    }
#define READ(T)                                                                                    \
    for (int64_t r = 0; r < rows; r++) {                                                           \
        const T *restrict x = (const T *)from + r * sr;                                            \
        T *restrict out = (T *)to + r * columns;                                                   \
        if (sc == 1)                                                                               \
            for (int64_t c = 0; c < columns; c++) out[c] = x[c];                                   \
        else if (sc == 0)                                                                          \
            for (int64_t c = 0; c < columns; c++) out[c] = x[0];                                   \
        else if (sc == -1)                                                                         \
            for (int64_t c = 0; c < columns; c++) out[c] = x[-c];                                  \
        else                                                                                       \
            for (int64_t c = 0; c < columns; c++) out[c] = x[c * sc];                              \
    }
    BY_SIZE(place->size, READ)
}

static void write_block(const charl_run_t *run, const charl_place_t *place, const void *from) {
    int64_t rows = run->nrows, columns = run->ncolumns, sr = place->sr, sc = place->sc;
    char *to = (char *)address(run, place);
    if (contiguous(run, place)) {
        memcpy(to, from, rows * columns * place->size);
        return;
    }
#define WRITE(T)                                                                                   \
    for (int64_t r = 0; r < rows; r++) {                                                           \
        const T *restrict x = (const T *)from + r * columns;                                       \
        T *restrict out = (T *)to + r * sr;                                                        \
        if (sc == 1)                                                                               \
            for (int64_t c = 0; c < columns; c++) out[c] = x[c];                                   \
        else                                                                                       \
            for (int64_t c = 0; c < columns; c++) out[c * sc] = x[c];                              \
    }
    BY_SIZE(place->size, WRITE)
}

/* Elements whose predicate is false are not read: padding may lie outside the buffer. */
static void read_where(const charl_run_t *run, const charl_place_t *place, const uint8_t *where,
                       void *to) {
    int64_t rows = run->nrows, columns = run->ncolumns, sr = place->sr, sc = place->sc;
    const char *from = (const char *)address(run, place);
    if (!memchr(where, 0, rows * columns)) {
        read_block(run, place, to);
        return;
    }
#define READ_WHERE(T)                                                                              \
    for (int64_t r = 0; r < rows; r++)                                                             \
        for (int64_t c = 0; c < columns; c++)                                                      \
            ((T *)to)[r * columns + c] =                                                           \
                where[r * columns + c] ? ((const T *)from)[r * sr + c * sc] : 0;
    BY_SIZE(place->size, READ_WHERE)
}

static void gather(const charl_run_t *run, const charl_place_t *place, const int64_t *index,
                   int64_t stride, void *to) {
    int64_t rows = run->nrows, columns = run->ncolumns, sr = place->sr, sc = place->sc;
    const char *from = (const char *)address(run, place);
#define GATHER(T)                                                                                  \
    for (int64_t r = 0; r < rows; r++)                                                             \
        for (int64_t c = 0; c < columns; c++)                                                      \
            ((T *)to)[r * columns + c] =                                                           \
                ((const T *)from)[r * sr + c * sc + stride * index[r * columns + c]];
    BY_SIZE(place->size, GATHER)
}

static void count(const charl_run_t *run, const charl_place_t *place, int64_t *to) {
    int64_t from = address(run, place);
    for (int64_t r = 0; r < run->nrows; r++, to += run->ncolumns)
        for (int64_t c = 0; c < run->ncolumns; c++) to[c] = from + r * place->sr + c * place->sc;
}

static void fill(void *to, int64_t bits, int64_t size, int64_t n) {
#define FILL(T)                                                                                    \
    for (int64_t e = 0; e < n; e++) ((T *)to)[e] = (T)bits;
    BY_SIZE(size, FILL)
}

/* A row value for use in a block: one a row in row order, a vector over the columns in column
   order. */
static void splat(charl_run_t *run, const charl_instr_t *in, int64_t width) {
    char *from = run->at[in->in[0]];
    char *to = charl_register(run, in->dst);
    int64_t bits = 0, size = in->y;
    if (width == 1) {
        memcpy(&bits, from, size);
        fill(to, bits, size, run->nrows * run->ncolumns);
    } else if (run->program->order == CHARL_ROW) {
#define REPEAT(T)                                                                                  \
    for (int64_t r = 0; r < width; r++)                                                            \
        for (int64_t c = 0; c < run->ncolumns; c++)                                                \
            ((T *)to)[r * run->ncolumns + c] = ((const T *)from)[r];
        BY_SIZE(size, REPEAT)
    } else if (run->nrows == 1) {
        to = from;
    } else {
        for (int64_t r = 0; r < run->nrows; r++) memcpy(to + r * width * size, from, width * size);
    }
    run->at[in->dst] = to;
}

static int32_t wrap(charl_run_t *run, const int64_t *index, int64_t extent, int32_t site,
                    int64_t *to) {
    int64_t n = run->nrows * run->ncolumns, wrong = 0;
    for (int64_t e = 0; e < n; e++) {
        to[e] = index[e] + (index[e] < 0 ? extent : 0);
        wrong |= (to[e] < 0) | (to[e] >= extent);
    }
    if (!wrong) return CHARL_OK;
    int64_t e = 0;
    while (to[e] >= 0 && to[e] < extent) e++;
    run->launch->error = (charl_error_t){site, index[e], extent};
    return CHARL_EINDEX;
}

static void fold(charl_run_t *run, const charl_instr_t *in, const charl_fold_t *with,
                 int64_t width) {
    const void *x = run->at[in->in[0]], *y = in->in[1] < 0 ? NULL : run->at[in->in[1]];
    char *total = run->at[in->dst];
    if (run->program->order == CHARL_ROW) {
        if (width > 1)
            with->fold_rows(total, x, y, width, run->ncolumns);
        else
            with->fold_row(total, x, y, run->ncolumns);
        return;
    }
    /* nrows divides STEPS, so that a block lies within one chunk */
    char *chunk = total + CHARL_UNIT * with->size;
    if ((run->row - run->first) % CHARL_STEPS == 0) with->start(chunk, run->ncolumns);
    with->fold_column(chunk, x, y, run->nrows, run->ncolumns);
    int64_t next = run->row + run->nrows;
    if ((next - run->first) % CHARL_STEPS == 0 || next == run->last)
        with->merge_column(total, chunk, run->ncolumns);
}

static void scan(charl_run_t *run, const charl_instr_t *in, const charl_fold_t *with) {
    char *carry = run->at[in->in[1]], *to = run->at[in->dst];
    const char *x = run->at[in->in[0]];
    if (run->program->order != CHARL_ROW) {
        with->scan(carry, to, x, run->nrows, run->ncolumns);
        return;
    }
    if (run->program->block >= 0) {
        with->scan_groups(carry, to, x, run->ncolumns);
        return;
    }
    int64_t nbytes = run->ncolumns * with->size;
    for (int64_t r = 0; r < run->nrows; r++, x += nbytes, to += nbytes, carry += with->size)
        with->scan(carry, to, x, run->ncolumns, 1);
}

int32_t charl_execute(charl_run_t *run, int32_t from, int32_t to, int64_t width) {
    char **at = run->at;
    int64_t n = run->nrows * run->ncolumns;
    int row_order = run->program->order == CHARL_ROW, lone_row = row_order && width == 1;
    for (const charl_instr_t *in = run->code + from, *end = run->code + to; in < end; in++) {
        const charl_place_t *place = run->places + in->x;
        switch ((charl_opcode_t)in->op) {
        case CHARL_OP_LOOP: {
            const void *operands[CHARL_OPERANDS];
            for (int k = 0; k < CHARL_OPERANDS && in->in[k] >= 0; k++) operands[k] = at[in->in[k]];
            run->loops[in->x](n, at[in->dst], operands);
            break;
        }
        case CHARL_OP_LOAD:
            if (in->in[0] < 0 && (in->y & CHARL_LOAD_ALIAS) && contiguous(run, place)) {
                at[in->dst] = (char *)address(run, place);
                break;
            }
            if (in->y & CHARL_LOAD_RESET) at[in->dst] = charl_register(run, in->dst);
            if (in->in[0] < 0)
                read_block(run, place, at[in->dst]);
            else
                read_where(run, place, (const uint8_t *)at[in->in[0]], at[in->dst]);
            break;
        case CHARL_OP_STORE:
            if (at[in->in[0]] != (char *)address(run, place))
                write_block(run, place, at[in->in[0]]);
            break;
        case CHARL_OP_OUT:
            at[in->dst] =
                contiguous(run, place) ? (char *)address(run, place) : charl_register(run, in->dst);
            break;
        case CHARL_OP_GATHER:
            gather(run, place, (const int64_t *)at[in->in[0]], charl_number(run, in->y),
                   at[in->dst]);
            break;
        case CHARL_OP_INDEX:
            count(run, place, (int64_t *)at[in->dst]);
            break;
        case CHARL_OP_FILL:
            fill(at[in->dst], run->consts[in->x], in->y, n);
            break;
        case CHARL_OP_PARAM:
            fill(at[in->dst], run->launch->params[in->x], in->y, n);
            break;
        case CHARL_OP_SPLAT:
            splat(run, in, width);
            break;
        case CHARL_OP_WRAP: {
            int32_t status = wrap(run, (const int64_t *)at[in->in[0]], charl_number(run, in->x),
                                  in->y, (int64_t *)at[in->dst]);
            if (status) return status;
            break;
        }
        case CHARL_OP_KEEP:
        case CHARL_OP_KEPT:
        case CHARL_OP_INTO: {
            int64_t size = run->slot_sizes[in->x].size;
            char *slot = run->slots[in->x] + (run->row * run->ncolumns + run->column) * size;
            if (in->op != CHARL_OP_KEEP)
                at[in->dst] = slot;
            else if (at[in->in[0]] != slot)
                memcpy(slot, at[in->in[0]], n * size);
            break;
        }
        case CHARL_OP_START:
            charl_folds[in->x].start(at[in->dst], lone_row ? CHARL_LANES : width);
            break;
        case CHARL_OP_FOLD:
            fold(run, in, charl_folds + in->x, width);
            break;
        case CHARL_OP_DONE:
            if (lone_row)
                charl_folds[in->x].finish_row(at[in->in[0]], at[in->dst]);
            else
                memcpy(at[in->dst], at[in->in[0]], width * charl_folds[in->x].size);
            break;
        case CHARL_OP_SCAN:
            scan(run, in, charl_folds + in->x);
            break;
        case CHARL_OPCODES:
            break;
        }
    }
    return CHARL_OK;
}
