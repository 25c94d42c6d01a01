/* contract_body.h: a matrix product of elements of type S summed in type T; contract.c includes it
   once a pair of types, with NAME and FMA. No include guard. */

/* Puts `depth` rhs rows into panels [depth][PANEL]; the last one is filled up with zeros. Columns
   are read a RUN at a time: each line of memory is then touched once. `along` and `across` are
   offsets of rows and columns. */
static void NAME(pack)(const charl_contract_t *c, const int64_t *along, const int64_t *across,
                       int64_t depth) {
    T *restrict to = c->pack;
    const S *rhs = c->rhs;
    for (int64_t j = 0; j < c->columns; j += PANEL, to += PANEL * depth, across += PANEL) {
        int64_t width = charl_least(PANEL, c->columns - j);
        if (width == PANEL && in_one_stretch(across, PANEL)) {
            for (int64_t p = 0; p < depth; p++)
                for (int64_t l = 0; l < PANEL; l++)
                    to[p * PANEL + l] = rhs[along[p] + across[0] + l];
            continue;
        }
        if (width < PANEL) memset(to, 0, PANEL * depth * sizeof(T));
        for (int64_t p0 = 0; p0 < depth; p0 += RUN)
            for (int64_t l = 0; l < width; l++)
                for (int64_t p = p0; p < charl_least(p0 + RUN, depth); p++)
                    to[p * PANEL + l] = rhs[along[p] + across[l]];
    }
}

/* `depth` lhs columns as rows of `depth` elements. */
static const S *NAME(gather)(const charl_contract_t *c, const int64_t *along, int64_t depth) {
    const S *lhs = c->lhs;
    S *restrict to = (S *)((T *)c->pack + CHARL_KC * CHARL_SIDE);
    int64_t rows[CHARL_SIDE];
    offsets(rows, &c->lhs_row, 0, c->rows);
    for (int64_t i = 0; i < c->rows; i++)
        for (int64_t p = 0; p < depth; p++) to[i * depth + p] = lhs[rows[i] + along[p]];
    return to;
}

/* ROWS rows of lhs, `row` apart, times one panel; `more` adds to the sums of earlier blocks.
   gcc keeps acc in registers: 75 GFLOP/s in f32 where the peak of a core is 100. */
CHARL_CLONES static void NAME(rows)(T *restrict sums, const S *restrict lhs, int64_t row,
                                    const T *restrict panel, int64_t depth, int more) {
    T acc[ROWS][PANEL];
    for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < PANEL; l++) acc[r][l] = 0;
    for (int64_t p = 0; p < depth; p++)
        for (int r = 0; r < ROWS; r++) {
            T x = lhs[r * row + p];
            for (int l = 0; l < PANEL; l++) acc[r][l] = FMA(x, panel[p * PANEL + l], acc[r][l]);
        }
    for (int r = 0; r < ROWS; r++, sums += CHARL_SIDE)
        for (int l = 0; l < PANEL; l++) sums[l] = more ? sums[l] + acc[r][l] : acc[r][l];
}

CHARL_CLONES static void NAME(row)(T *restrict sums, const S *restrict lhs, const T *restrict panel,
                                   int64_t depth, int more) {
    T acc[PANEL];
    for (int l = 0; l < PANEL; l++) acc[l] = 0;
    for (int64_t p = 0; p < depth; p++)
        for (int l = 0; l < PANEL; l++) acc[l] = FMA(lhs[p], panel[p * PANEL + l], acc[l]);
    for (int l = 0; l < PANEL; l++) sums[l] = more ? sums[l] + acc[l] : acc[l];
}

void NAME(contract)(const charl_contract_t *c) {
    if (!c->depth)
        for (int64_t i = 0; i < c->rows; i++)
            memset((T *)c->sums + i * CHARL_SIDE, 0, c->columns * sizeof(T));
    int64_t across[CHARL_SIDE], along[CHARL_KC];
    offsets(across, &c->rhs_column, 0, c->columns);
    int near = c->lhs_depth.stride == 1 && !c->lhs_row.parts;
    for (int64_t p = 0; p < c->depth; p += CHARL_KC) {
        int64_t depth = c->depth - p < CHARL_KC ? c->depth - p : CHARL_KC;
        int64_t row = near ? c->lhs_row.stride : depth;
        const S *lhs = (const S *)c->lhs + p;
        if (!near) {
            offsets(along, &c->lhs_depth, p, depth);
            lhs = NAME(gather)(c, along, depth);
        }
        offsets(along, &c->rhs_depth, p, depth);
        NAME(pack)(c, along, across, depth);
        for (int64_t j = 0; j < c->columns; j += PANEL) {
            const T *panel = (const T *)c->pack + j * depth;
            T *sums = (T *)c->sums + j;
            int64_t i = 0;
            for (; i + ROWS <= c->rows; i += ROWS)
                NAME(rows)(sums + i * CHARL_SIDE, lhs + i * row, row, panel, depth, p > 0);
            for (; i < c->rows; i++)
                NAME(row)(sums + i * CHARL_SIDE, lhs + i * row, panel, depth, p > 0);
        }
    }
}
