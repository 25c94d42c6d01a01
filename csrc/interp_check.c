/* interp_check.c: whether a program's counts, offsets and indices are all in range. */
#include <string.h>

#include "interp.h"

typedef enum what_t {
    NOTHING,
    VALUE,
    MAYBE,
    ACCESS,
    LOOP,
    CONST,
    PARAM,
    INT,
    SLOT,
    FOLD,
    SCAN,
    SIZE
} what_t;

/* What dst, in[0], in[1], in[2], x and y of an instruction must be. */
static const struct {
    uint8_t dst, in[3], x, y;
} rules[CHARL_OPCODES] = {
    [CHARL_OP_LOOP] = {VALUE, {VALUE, MAYBE, MAYBE}, LOOP, NOTHING},
    [CHARL_OP_LOAD] = {VALUE, {MAYBE}, ACCESS, NOTHING},
    [CHARL_OP_STORE] = {NOTHING, {VALUE}, ACCESS, NOTHING},
    [CHARL_OP_OUT] = {VALUE, {NOTHING}, ACCESS, NOTHING},
    [CHARL_OP_GATHER] = {VALUE, {VALUE}, ACCESS, INT},
    [CHARL_OP_INDEX] = {VALUE, {NOTHING}, ACCESS, NOTHING},
    [CHARL_OP_FILL] = {VALUE, {NOTHING}, CONST, SIZE},
    [CHARL_OP_PARAM] = {VALUE, {NOTHING}, PARAM, SIZE},
    [CHARL_OP_SPLAT] = {VALUE, {VALUE}, NOTHING, SIZE},
    [CHARL_OP_WRAP] = {VALUE, {VALUE}, INT, NOTHING},
    [CHARL_OP_KEEP] = {NOTHING, {VALUE}, SLOT, NOTHING},
    [CHARL_OP_KEPT] = {VALUE, {NOTHING}, SLOT, NOTHING},
    [CHARL_OP_INTO] = {VALUE, {NOTHING}, SLOT, NOTHING},
    [CHARL_OP_START] = {VALUE, {NOTHING}, FOLD, NOTHING},
    [CHARL_OP_FOLD] = {VALUE, {VALUE, MAYBE}, FOLD, NOTHING},
    [CHARL_OP_DONE] = {VALUE, {VALUE}, FOLD, NOTHING},
    [CHARL_OP_SCAN] = {VALUE, {VALUE, VALUE}, SCAN, NOTHING},
};

static int is_size(int32_t n) { return n == 1 || n == 2 || n == 4 || n == 8; }

static int fits(const charl_program_t *p, what_t what, int32_t n) {
    switch (what) {
    case VALUE:
        return n >= 0 && n < p->nvalues;
    case MAYBE:
        return n >= -1 && n < p->nvalues;
    case ACCESS:
        return n >= 0 && n < p->naccess;
    case LOOP:
        return n >= 0 && n < charl_loop_count;
    case CONST:
        return n >= 0 && n < p->nconsts;
    case PARAM:
        return n >= 0 && n < p->nparams;
    case INT:
        return n >= CHARL_MINUS && n < p->nparams;
    case SLOT:
        return n >= 0 && n < p->nslots;
    case FOLD:
        return n >= 0 && n < CHARL_KINDS * CHARL_DTYPES && charl_folds[n].size;
    case SCAN:
        return n >= 0 && n < CHARL_KINDS * CHARL_DTYPES && charl_folds[n].scan;
    case SIZE:
        return is_size(n);
    default:
        return 1;
    }
}

/* Whether `count` records of `size` bytes lie within the program at byte `at`. */
static int holds(const charl_program_t *p, int32_t at, int32_t count, size_t size) {
    return at >= (int32_t)sizeof *p && at % 8 == 0 && count >= 0 && at <= p->nbytes &&
           (size_t)count <= (p->nbytes - at) / size;
}

static const char *check_header(const charl_program_t *p, int64_t nbytes) {
    if (nbytes < (int64_t)sizeof *p || p->magic != CHARL_PROGRAM_MAGIC || p->nbytes != nbytes)
        return "not a program";
    if (p->version != CHARL_PROGRAM_VERSION) return "a program of another version";
    char hash[sizeof p->ops_hash] = {0};
    strncpy(hash, charl_loop_hash, sizeof hash - 1);
    if (p->ops_hash[0] && memcmp(hash, p->ops_hash, sizeof hash))
        return "made for another op table; rebuild the extension modules";
    if (p->nouter < 0 || p->nouter > nbytes) return "outer axes";
    size_t access = sizeof(charl_access_t) + p->nouter * sizeof(int32_t);
    if (!holds(p, p->at_consts, p->nconsts, 8) ||
        !holds(p, p->at_code, p->ncode, sizeof(charl_instr_t)) ||
        !holds(p, p->at_stages, p->nstages, sizeof(charl_stage_t)) ||
        !holds(p, p->at_access, p->naccess, access) ||
        !holds(p, p->at_values, p->nvalues, sizeof(charl_value_t)) ||
        !holds(p, p->at_outer, p->nouter, 4) ||
        !holds(p, p->at_slots, p->nslots, sizeof(charl_slot_t)))
        return "a section's bounds";
    if (p->order < CHARL_ROW || p->order > CHARL_INTEGERS || p->block < -1 || p->block >= p->nouter)
        return "order or block";
    if (!fits(p, INT, p->inner) || !fits(p, INT, p->columns) || !fits(p, INT, p->depth))
        return "an extent";
    if (p->launch_splat < 0 || p->launch_splat > p->launch_end || p->launch_end > p->ncode)
        return "launch code";
    return NULL;
}

static const char *check_scratch(const charl_program_t *p) {
    int64_t tables = sizeof(char *) * ((int64_t)p->nvalues + p->nslots) +
                     sizeof(charl_place_t) * (int64_t)p->naccess +
                     sizeof(int64_t) * (int64_t)p->nouter * (p->naccess + 2);
    if (p->fixed_bytes < 0 || p->fixed_bytes % 64 || p->register_bytes < 0 ||
        p->register_bytes % 64 ||
        p->scratch_bytes < (int64_t)p->fixed_bytes + p->register_bytes + tables)
        return "scratch";
    return NULL;
}

static const char *check_contract(const charl_program_t *p, const int32_t *access) {
    size_t width = sizeof(charl_access_t) / 4 + p->nouter;
    if (!fits(p, ACCESS, p->lhs) || !fits(p, ACCESS, p->rhs) || !fits(p, ACCESS, p->sums) ||
        p->tile_i < 1 || p->tile_j < 1)
        return "the contraction";
    const charl_access_t *lhs = (const charl_access_t *)(access + width * p->lhs);
    const charl_access_t *rhs = (const charl_access_t *)(access + width * p->rhs);
    const charl_access_t *sums = (const charl_access_t *)(access + width * p->sums);
    int32_t size = lhs->size, wide = size == 1 && p->order == CHARL_INTEGERS ? 4 : size;
    int32_t need = (2 * CHARL_KC + CHARL_SIDE) * CHARL_SIDE * wide;
    if (wide < 4 || rhs->size != size || sums->size != wide || lhs->arg < 0 || rhs->arg < 0 ||
        p->fixed_bytes < need)
        return "the contraction's operands";
    if (!holds(p, p->at_digits, CHARL_WALKS, sizeof(charl_digits_t))) return "a section's bounds";
    const charl_digits_t *digits = (const charl_digits_t *)((const char *)p + p->at_digits);
    for (int w = 0; w < CHARL_WALKS; w++) {
        if (digits[w].parts < 0 || digits[w].parts > CHARL_DIGITS) return "digits";
        for (int32_t d = 0; d < CHARL_DIGITS; d++)
            if (!fits(p, INT, digits[w].extent[d]) || !fits(p, INT, digits[w].stride[d]))
                return "a digit";
    }
    return NULL;
}

static const char *check_code(const charl_program_t *p, const charl_instr_t *in) {
    for (int32_t k = 0; k < p->ncode; k++, in++) {
        if (in->op < 0 || in->op >= CHARL_OPCODES) return "an opcode";
        for (int o = 0; o < CHARL_OPERANDS; o++)
            if (!fits(p, o < 3 ? rules[in->op].in[o] : MAYBE, in->in[o])) return "an operand";
        if (!fits(p, rules[in->op].dst, in->dst) || !fits(p, rules[in->op].x, in->x) ||
            !fits(p, rules[in->op].y, in->y))
            return "an instruction";
    }
    return NULL;
}

const char *charl_interp_check(const void *program, int64_t nbytes) {
    const charl_program_t *p = program;
    const char *wrong = check_header(p, nbytes);
    if (wrong || (wrong = check_scratch(p))) return wrong;
    const char *bytes = program;
    const int32_t *outer = (const int32_t *)(bytes + p->at_outer);
    for (int32_t d = 0; d < p->nouter; d++)
        if (!fits(p, INT, outer[d])) return "an outer extent";
    const charl_slot_t *slots = (const charl_slot_t *)(bytes + p->at_slots);
    for (int32_t s = 0; s < p->nslots; s++)
        if (!is_size(slots[s].size) || !fits(p, VALUE, slots[s].value)) return "a slot";
    const int32_t *access = (const int32_t *)(bytes + p->at_access), *at = access;
    for (int32_t a = 0; a < p->naccess; a++) {
        if (at[0] < CHARL_TILE || at[0] >= p->nbuffers || !is_size(at[1])) return "an access";
        at += 2;
        for (int32_t k = 0; k < 3 + p->nouter; k++)
            if (!fits(p, INT, *at++)) return "a stride";
    }
    const charl_value_t *values = (const charl_value_t *)(bytes + p->at_values);
    for (int32_t v = 0; v < p->nvalues; v++)
        if (values[v].offset < 0 || values[v].nbytes < 0 ||
            values[v].offset > p->register_bytes - values[v].nbytes)
            return "a register";
    const charl_stage_t *stage = (const charl_stage_t *)(bytes + p->at_stages);
    for (int32_t s = 0; s < p->nstages; s++, stage++)
        if (stage->init < 0 || stage->init > stage->pro || stage->pro > stage->splat ||
            stage->splat > stage->body || stage->body > stage->epi || stage->epi > stage->end ||
            stage->end > p->ncode)
            return "a stage";
    if (p->order >= CHARL_CONTRACT && (wrong = check_contract(p, access))) return wrong;
    return check_code(p, (const charl_instr_t *)(bytes + p->at_code));
}
