/* contract.c: blocks of a matrix product. A sum runs over KC products by fma from 0; block sums
   are added in order. Sums of integers wrap. */
#include <math.h>
#include <string.h>

#include "clones.h"
#include "interp_run.h"

enum { ROWS = 4, PANEL = 32, RUN = 16 }; /* ROWS x PANEL sums are held in registers */

/* Offsets of `count` elements along an axis, from that of number `from` on. */
static void offsets(int64_t *to, const charl_walk_t *walk, int64_t from, int64_t count) {
    for (int64_t t = 0; t < count; t++) {
        int64_t rest = walk->first + from + t, offset = 0;
        for (int64_t d = walk->parts - 1; d > 0; d--) {
            offset += rest % walk->extent[d] * walk->step[d];
            rest /= walk->extent[d];
        }
        to[t] = walk->parts ? offset + rest * walk->step[0] : (from + t) * walk->stride;
    }
}

static int in_one_stretch(const int64_t *offsets, int64_t count) {
    for (int64_t t = 1; t < count; t++)
        if (offsets[t] != offsets[0] + t) return 0;
    return 1;
}

#define S float
#define T float
#define FMA fmaf
#define NAME(part) charl_f32_##part
#include "contract_body.h"
#undef S
#undef T
#undef FMA
#undef NAME

#define S double
#define T double
#define FMA fma
#define NAME(part) charl_f64_##part
#include "contract_body.h"
#undef S
#undef T
#undef FMA
#undef NAME

#define S int8_t
#define T int32_t
#define FMA(a, b, sum) ((sum) + (T)(a) * (b))
#define NAME(part) charl_i8_##part
#include "contract_body.h"
#undef S
#undef T
#undef NAME

#define S int32_t
#define T int32_t
#define NAME(part) charl_i32_##part
#include "contract_body.h"
#undef S
#undef T
#undef NAME

#define S int64_t
#define T int64_t
#define NAME(part) charl_i64_##part
#include "contract_body.h"
