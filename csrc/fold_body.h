/* fold_body.h: one reduction in type T; fold.c includes it once a kind and type. No include
   guard. NAME(part), IDENTITY, OP(acc, new); STEP(acc, s) folds element s of x (dot: and y), OP
   unless defined. */

#ifndef STEP
#define STEP(acc, s) OP(acc, x[s])
#endif

static void NAME(start)(void *state, int64_t n) {
    T *total = state;
    for (int64_t c = 0; c < n; c++) total[c] = IDENTITY;
}

CHARL_CLONES static void NAME(fold_row)(void *state, const void *xs, const void *ys, int64_t n) {
    T *restrict total = state;
    const T *restrict x = xs, *restrict y = ys;
    T acc[CHARL_LANES];
    int64_t s = 0;
    for (int l = 0; l < CHARL_LANES; l++) acc[l] = IDENTITY;
    for (; s + CHARL_LANES <= n; s += CHARL_LANES)
        for (int l = 0; l < CHARL_LANES; l++) acc[l] = STEP(acc[l], s + l);
    for (int l = 0; s + l < n; l++) acc[l] = STEP(acc[l], s + l);
    for (int l = 0; l < CHARL_LANES; l++) total[l] = OP(total[l], acc[l]);
    (void)y;
}

/* The results of whole rows of n <= LANES * STEPS elements: one chunk. Where n < LANES, the tree
   begins at the first level that has two lanes in use: the others would take op(x, identity). */
CHARL_CLONES static void NAME(fold_rows)(void *outs, const void *xs, const void *ys, int64_t rows,
                                         int64_t n) {
    T *restrict out = outs;
    const T *restrict x = xs, *restrict y = ys;
    int64_t lanes = 1;
    while (lanes < n && lanes < CHARL_LANES) lanes *= 2;
    for (int64_t r = 0; r < rows; r++, x += n, y = y ? y + n : y) {
        T acc[CHARL_LANES];
        int64_t s = 0;
        for (int l = 0; l < lanes; l++) acc[l] = IDENTITY;
        for (; s + CHARL_LANES <= n; s += CHARL_LANES)
            for (int l = 0; l < CHARL_LANES; l++) acc[l] = STEP(acc[l], s + l);
        for (int l = 0; s + l < n; l++) acc[l] = STEP(acc[l], s + l);
        for (int64_t h = lanes / 2; h; h /= 2)
            for (int l = 0; l < h; l++) acc[l] = OP(acc[l], acc[l + h]);
        out[r] = acc[0];
    }
}

static void NAME(finish_row)(void *state, void *out) {
    T *total = state;
    for (int h = CHARL_LANES / 2; h; h /= 2)
        for (int l = 0; l < h; l++) total[l] = OP(total[l], total[l + h]);
    *(T *)out = total[0];
}

CHARL_CLONES static void NAME(fold_column)(void *state, const void *xs, const void *ys,
                                           int64_t rows, int64_t columns) {
    T *restrict chunk = state;
    const T *restrict x = xs, *restrict y = ys;
    for (int64_t r = 0; r < rows; r++, x += columns, y = y ? y + columns : y)
        for (int64_t c = 0; c < columns; c++) chunk[c] = STEP(chunk[c], c);
}

static void NAME(merge_column)(void *totals, const void *chunks, int64_t columns) {
    T *restrict total = totals;
    const T *restrict chunk = chunks;
    for (int64_t c = 0; c < columns; c++) total[c] = OP(total[c], chunk[c]);
}

#ifndef NO_SCAN
static void NAME(scan)(void *carries, void *outs, const void *xs, int64_t rows, int64_t columns) {
    T *restrict carry = carries, *restrict out = outs;
    const T *restrict x = xs;
    if (columns == 1) {
        T last = carry[0];
        for (int64_t r = 0; r < rows; r++) out[r] = last = OP(last, x[r]);
        carry[0] = last;
        return;
    }
    for (int64_t r = 0; r < rows; r++, x += columns, out += columns)
        for (int64_t c = 0; c < columns; c++) out[c] = carry[c] = OP(carry[c], x[c]);
}

static inline void NAME(group)(T *v) {
    for (int h = 1; h < CHARL_GROUP; h *= 2)
        for (int l = 0; l < CHARL_GROUP; l++)
            if (l & h) v[l] = OP(v[(l & -h) - 1], v[l]);
}

/* n elements of a row, from a group's first on. */
CHARL_CLONES static void NAME(scan_groups)(void *carry, void *outs, const void *xs, int64_t n) {
    T *restrict out = outs;
    const T *restrict x = xs;
    T last = *(T *)carry, v[CHARL_GROUP];
    int64_t s = 0;
    for (; s + CHARL_GROUP <= n; s += CHARL_GROUP) {
        for (int l = 0; l < CHARL_GROUP; l++) v[l] = x[s + l];
        NAME(group)(v);
        for (int l = 0; l < CHARL_GROUP; l++) out[s + l] = OP(last, v[l]);
        last = OP(last, v[CHARL_GROUP - 1]);
    }
    for (int l = 0; l < CHARL_GROUP; l++) v[l] = s + l < n ? x[s + l] : IDENTITY;
    NAME(group)(v);
    for (int l = 0; s + l < n; l++) out[s + l] = OP(last, v[l]);
    *(T *)carry = OP(last, v[CHARL_GROUP - 1]);
}
#endif

#undef NAME
#undef IDENTITY
#undef OP
#undef STEP
#undef NO_SCAN
