/* interp.c: runs bytecode: units, stages, and the blocks that interp_block.c computes. */
#include "interp_run.h"

static inline int64_t round64(int64_t n) { return (n + 63) & ~(int64_t)63; }

/* Rows of a block of `columns` columns: one where a row is long enough, since it may then be
   read where it lies. */
static int64_t rows_of(int64_t columns) {
    int64_t rows = 1;
    while (columns < CHARL_COLUMNS / 2 && rows < CHARL_STEPS && 2 * rows * columns <= CHARL_UNIT)
        rows *= 2;
    return rows;
}

/* Sets the block for code that makes row values: `width` rows, or columns. */
static void whole_row(charl_run_t *run, int64_t width) {
    int row_order = run->program->order == CHARL_ROW;
    run->row = run->column = 0;
    run->nrows = row_order ? width : 1;
    run->ncolumns = row_order ? 1 : width;
}

/* All stages of `width` short rows, one row, or `width` columns; the inner axis is [first,
   last). */
static int32_t run_unit(charl_run_t *run, int64_t width) {
    const charl_program_t *program = run->program;
    int row_order = program->order == CHARL_ROW;
    int64_t step = row_order ? CHARL_UNIT : rows_of(width);
    for (int32_t s = 0; s < program->nstages; s++) {
        const charl_stage_t *stage = run->stages + s;
        int32_t status;
        if (stage->init < stage->pro || !stage->loop) {
            whole_row(run, width);
            if ((status =
                     charl_execute(run, stage->init, stage->loop ? stage->pro : stage->end, width)))
                return status;
        }
        if (!stage->loop) continue;
        if (run->first < run->last && stage->pro < stage->body) {
            whole_row(run, width);
            if ((status = charl_execute(run, stage->pro, stage->splat, width))) return status;
            run->nrows = row_order ? width : step;
            run->ncolumns = row_order ? charl_least(step, run->last - run->first) : width;
            if ((status = charl_execute(run, stage->splat, stage->body, width))) return status;
        }
        for (int64_t p = run->first; p < run->last; p += step) {
            int64_t length = charl_least(step, run->last - p);
            run->row = row_order ? 0 : p;
            run->column = row_order ? p : 0;
            run->nrows = row_order ? width : length;
            run->ncolumns = row_order ? length : width;
            if ((status = charl_execute(run, stage->body, stage->epi, width))) return status;
        }
        if (stage->epi < stage->end) {
            whole_row(run, width);
            if ((status = charl_execute(run, stage->epi, stage->end, width))) return status;
        }
    }
    return CHARL_OK;
}

/* The most units that go together: neighbouring columns, for longer runs of memory (a slot has room
   for one unit), and rows so short that what a block costs besides its elements would show. */
static int64_t units_together(const charl_run_t *run) {
    const charl_program_t *program = run->program;
    if (program->order == CHARL_COLUMN) return program->nslots ? 1 : CHARL_UNIT / CHARL_COLUMNS;
    if (program->order >= CHARL_CONTRACT || !program->nouter || program->block >= 0 ||
        run->inner > CHARL_UNIT / 2)
        return 1;
    return charl_least(CHARL_UNIT / (run->inner ? run->inner : 1),
                       run->extents[program->nouter - 1]);
}

/* Takes the tables that follow the slots and registers in scratch; works out what depends on
   params alone. */
static void set_up(charl_run_t *run, const charl_program_t *program, charl_launch_t *launch) {
    const char *bytes = (const char *)program;
    run->program = program;
    run->launch = launch;
    run->loops = charl_loops();
    run->consts = (const int64_t *)(bytes + program->at_consts);
    run->code = (const charl_instr_t *)(bytes + program->at_code);
    run->stages = (const charl_stage_t *)(bytes + program->at_stages);
    run->values = (const charl_value_t *)(bytes + program->at_values);
    run->slot_sizes = (const charl_slot_t *)(bytes + program->at_slots);
    run->inner = charl_number(run, program->inner);
    run->columns = charl_number(run, program->columns);

    int64_t slot_at = 0,
            slot_length = run->inner * (program->order == CHARL_ROW ? 1 : CHARL_COLUMNS);
    for (int32_t s = 0; s < program->nslots; s++)
        slot_at += round64(slot_length * run->slot_sizes[s].size);
    run->registers = launch->scratch + slot_at + program->fixed_bytes;
    char *table = run->registers + program->register_bytes;
    run->at = (char **)table;
    table += program->nvalues * sizeof(char *);
    run->slots = (char **)table;
    table += program->nslots * sizeof(char *);
    run->places = (charl_place_t *)table;
    table += program->naccess * sizeof(charl_place_t);
    run->strides = (int64_t *)table;
    run->extents = run->strides + program->naccess * program->nouter;
    run->indices = run->extents + program->nouter;

    for (int32_t v = 0; v < program->nvalues; v++) run->at[v] = charl_register(run, v);
    const int32_t *outer = (const int32_t *)(bytes + program->at_outer);
    for (int32_t d = 0; d < program->nouter; d++) run->extents[d] = charl_number(run, outer[d]);
    run->together = units_together(run);
    slot_at = 0;
    for (int32_t s = 0; s < program->nslots; s++) {
        run->slots[s] = launch->scratch + slot_at;
        if (program->order == CHARL_ROW && run->together > 1)
            run->slots[s] = charl_register(run, run->slot_sizes[s].value);
        slot_at += round64(slot_length * run->slot_sizes[s].size);
    }
    const charl_access_t *access = (const charl_access_t *)(bytes + program->at_access);
    for (int32_t a = 0; a < program->naccess; a++) {
        charl_place_t *place = run->places + a;
        place->size = access->size;
        place->sr = charl_number(run, access->sr);
        place->sc = charl_number(run, access->sc);
        place->start = charl_number(run, access->offset) * place->size;
        if (access->arg >= 0) place->start += (int64_t)(intptr_t)launch->buffers[access->arg];
        place->base = place->start;
        const int32_t *strides = (const int32_t *)(access + 1);
        for (int32_t d = 0; d < program->nouter; d++)
            run->strides[a * program->nouter + d] = charl_number(run, strides[d]) * place->size;
        access = (const charl_access_t *)(strides + program->nouter);
    }
}

/* The indices of the outer axes from their flat index, in C order. */
static void seek(charl_run_t *run, int64_t flat) {
    for (int32_t d = run->program->nouter; d-- > 0;) {
        run->indices[d] = flat % run->extents[d];
        flat /= run->extents[d];
    }
}

/* `count` further along the last outer axis, which ends within it. */
static void advance(charl_run_t *run, int64_t count) {
    for (int32_t d = run->program->nouter; d-- > 0; count = 1) {
        run->indices[d] += count;
        if (run->indices[d] < run->extents[d]) return;
        run->indices[d] = 0;
    }
}

/* Places every access at the present outer indices and at (row, column) of the blocks' plane. */
static void place_all(charl_run_t *run, int64_t row, int64_t column) {
    int32_t nouter = run->program->nouter;
    const int64_t *strides = run->strides;
    for (int32_t a = 0; a < run->program->naccess; a++, strides += nouter) {
        charl_place_t *place = run->places + a;
        int64_t base = place->start + (row * place->sr + column * place->sc) * place->size;
        for (int32_t d = 0; d < nouter; d++) base += strides[d] * run->indices[d];
        place->base = base;
    }
}

static int32_t run_units(charl_run_t *run, int64_t begin, int64_t end) {
    const charl_program_t *program = run->program;
    int columns = program->order == CHARL_COLUMN;
    int64_t tiles = columns ? (run->columns + CHARL_COLUMNS - 1) / CHARL_COLUMNS : 1;
    int64_t block = CHARL_STEPS * CHARL_STEPS * (columns ? 1 : CHARL_LANES);
    run->first = 0;
    run->last = run->inner;
    if (program->split) {
        run->first = begin * CHARL_UNIT;
        run->last = charl_least(end * CHARL_UNIT, run->inner);
        return run_unit(run, 1);
    }
    seek(run, begin / tiles);
    for (int64_t unit = begin, tile = begin % tiles; unit < end;) {
        int64_t left = columns ? tiles - tile : 1, column = tile * CHARL_COLUMNS;
        if (!columns && program->nouter)
            left = run->extents[program->nouter - 1] - run->indices[program->nouter - 1];
        int64_t count = charl_least(run->together, charl_least(left, end - unit)), width = count;
        if (columns) width = charl_least(count * CHARL_COLUMNS, run->columns - column);
        place_all(run, 0, column);
        if (program->block >= 0) {
            run->first = run->indices[program->block] * block;
            run->last = charl_least(run->first + block, run->inner);
        }
        int32_t status = run_unit(run, width);
        if (status) return status;
        unit += count;
        if (!columns) {
            advance(run, count);
        } else if ((tile += count) == tiles) {
            tile = 0;
            advance(run, 1);
        }
    }
    return CHARL_OK;
}

/* How an operand walks an axis from number `first` on. */
static charl_walk_t walk_of(const charl_run_t *run, int which, int64_t first, int64_t stride) {
    const charl_program_t *program = run->program;
    const charl_digits_t *digits =
        (const charl_digits_t *)((const char *)program + program->at_digits) + which;
    charl_walk_t walk = {.first = first, .stride = stride, .parts = digits->parts};
    for (int32_t d = 0; d < digits->parts; d++) {
        walk.extent[d] = charl_number(run, digits->extent[d]);
        walk.step[d] = charl_number(run, digits->stride[d]);
    }
    return walk;
}

/* Sums of rows [i, i + rows) and columns [j, j + columns), and the epilogue over them. */
static int32_t run_block(charl_run_t *run, int64_t i, int64_t rows, int64_t j, int64_t columns) {
    const charl_program_t *program = run->program;
    char *fixed = run->registers - program->fixed_bytes;
    charl_place_t *lhs = run->places + program->lhs, *rhs = run->places + program->rhs;
    place_all(run, i, j);
    int64_t size = lhs->size, wide = size == 1 ? (int64_t)sizeof(int32_t) : size;
    charl_contract_t c = {
        .lhs = (const void *)(intptr_t)(lhs->base - j * lhs->sc * size), /* its columns are k, */
        .rhs = (const void *)(intptr_t)(rhs->base - i * rhs->sr * size), /* and these its rows */
        .lhs_row = walk_of(run, 0, i, lhs->sr),
        .lhs_depth = walk_of(run, 1, 0, lhs->sc),
        .rhs_depth = walk_of(run, 2, 0, rhs->sr),
        .rhs_column = walk_of(run, 3, j, rhs->sc),
        .rows = rows,
        .columns = columns,
        .depth = charl_number(run, program->depth),
        .pack = fixed,
        .sums = fixed + 2 * CHARL_KC * CHARL_SIDE * wide,
    };
    if (program->order == CHARL_CONTRACT)
        (size == 4 ? charl_f32_contract : charl_f64_contract)(&c);
    else
        (size == 1 ? charl_i8_contract : size == 4 ? charl_i32_contract : charl_i64_contract)(&c);
    charl_place_t *sums = run->places + program->sums;
    sums->base = (int64_t)(intptr_t)c.sums;
    sums->sr = CHARL_SIDE;
    sums->sc = 1;
    run->first = 0;
    run->last = rows;
    return run_unit(run, columns);
}

static int32_t run_contract(charl_run_t *run, int64_t begin, int64_t end) {
    int64_t m = run->inner, n = run->columns;
    int64_t tile_i = run->program->tile_i, tile_j = run->program->tile_j;
    int64_t tiles_i = (m + tile_i - 1) / tile_i, tiles_j = (n + tile_j - 1) / tile_j;
    while (begin < end) { /* units of one j tile are done together */
        int64_t tile = begin % tiles_i, strip = begin / tiles_i;
        int64_t count = charl_least(tiles_i - tile, end - begin);
        int64_t i1 = charl_least((tile + count) * tile_i, m);
        int64_t j0 = strip % tiles_j * tile_j, j1 = charl_least(j0 + tile_j, n);
        seek(run, strip / tiles_j);
        for (int64_t j = j0; j < j1; j += CHARL_SIDE)
            for (int64_t i = tile * tile_i; i < i1; i += CHARL_SIDE) {
                int32_t status = run_block(run, i, charl_least(CHARL_SIDE, i1 - i), j,
                                           charl_least(CHARL_SIDE, j1 - j));
                if (status) return status;
            }
        begin += count;
    }
    return CHARL_OK;
}

int32_t charl_interp_run(charl_launch_t *launch, int64_t begin, int64_t end) {
    const charl_program_t *program = launch->code;
    if (launch->abi != CHARL_ABI || program->magic != CHARL_PROGRAM_MAGIC) return CHARL_EABI;
    if (begin >= end) return CHARL_OK;
    charl_run_t run;
    set_up(&run, program, launch);
    /* what is the same for all units: values, then their splats, which are equal in every lane */
    int64_t block = CHARL_UNIT, width = program->order == CHARL_COLUMN ? CHARL_UNIT : run.together;
    if (program->order == CHARL_ROW) block = charl_least(block, run.inner * run.together);
    whole_row(&run, width);
    charl_execute(&run, 0, program->launch_splat, width);
    whole_row(&run, block);
    charl_execute(&run, program->launch_splat, program->launch_end, 1);
    return (program->order >= CHARL_CONTRACT ? run_contract : run_units)(&run, begin, end);
}
