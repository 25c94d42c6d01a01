/* fold.c: reductions and scans, in the orders that charl/schedule/kernel.py fixes to the bit. */
#include <math.h>
#include <string.h>

#include "clones.h"
#include "interp.h"

/* Key of a half or bfloat16 by which integers compare as the floats do: -0 and 0 are equal. */
static inline int narrow_key(uint16_t x) { return x & 0x8000 ? -(x & 0x7fff) : x & 0x7fff; }

/* Sums and products wrap: the signed types share those of the unsigned. */
#define T uint8_t
#define PREFIX(part) b1_##part
#define EXTREMA_ONLY
#define LEAST 0
#define GREATEST 1
#include "fold_types.h"

#define T int8_t
#define PREFIX(part) i8_##part
#define EXTREMA_ONLY
#define LEAST INT8_MIN
#define GREATEST INT8_MAX
#include "fold_types.h"

#define T int16_t
#define PREFIX(part) i16_##part
#define EXTREMA_ONLY
#define LEAST INT16_MIN
#define GREATEST INT16_MAX
#include "fold_types.h"

#define T int32_t
#define PREFIX(part) i32_##part
#define EXTREMA_ONLY
#define LEAST INT32_MIN
#define GREATEST INT32_MAX
#include "fold_types.h"

#define T int64_t
#define PREFIX(part) i64_##part
#define EXTREMA_ONLY
#define LEAST INT64_MIN
#define GREATEST INT64_MAX
#include "fold_types.h"

#define T uint8_t
#define PREFIX(part) u8_##part
#define BITS
#define ZERO 0
#define LEAST 0
#define GREATEST UINT8_MAX
#include "fold_types.h"

#define T uint16_t
#define PREFIX(part) u16_##part
#define BITS
#define ZERO 0
#define LEAST 0
#define GREATEST UINT16_MAX
#include "fold_types.h"

#define T uint32_t
#define PREFIX(part) u32_##part
#define BITS
#define ZERO 0
#define LEAST 0
#define GREATEST UINT32_MAX
#include "fold_types.h"

#define T uint64_t
#define PREFIX(part) u64_##part
#define BITS
#define ZERO 0
#define LEAST 0
#define GREATEST UINT64_MAX
#include "fold_types.h"

#define T uint16_t
#define PREFIX(part) f16_##part
#define EXTREMA_ONLY
#define KEY(x) narrow_key(x)
#define IS_NAN(x) (((x) & 0x7fff) > 0x7c00)
#define ORDERED(y) !IS_NAN(y)
#define LEAST 0xfc00
#define GREATEST 0x7c00
#include "fold_types.h"

#define T uint16_t
#define PREFIX(part) bf16_##part
#define EXTREMA_ONLY
#define KEY(x) narrow_key(x)
#define IS_NAN(x) (((x) & 0x7fff) > 0x7f80)
#define ORDERED(y) !IS_NAN(y)
#define LEAST 0xff80
#define GREATEST 0x7f80
#include "fold_types.h"

#define T float
#define PREFIX(part) f32_##part
#define ZERO -0.0f
#define FMA fmaf
#define LEAST -INFINITY
#define GREATEST INFINITY
#include "fold_types.h"

#define T double
#define PREFIX(part) f64_##part
#define ZERO -0.0
#define FMA fma
#define LEAST -INFINITY
#define GREATEST INFINITY
#include "fold_types.h"

#define ENTRY(NAME, SIZE, ...)                                                                     \
    {SIZE,                                                                                         \
     NAME##_start,                                                                                 \
     NAME##_fold_row,                                                                              \
     NAME##_fold_rows,                                                                             \
     NAME##_finish_row,                                                                            \
     NAME##_fold_column,                                                                           \
     NAME##_merge_column,                                                                          \
     __VA_ARGS__}
#define FULL(NAME, SIZE) ENTRY(NAME, SIZE, NAME##_scan, NAME##_scan_groups)
#define NO_SCAN(NAME, SIZE) ENTRY(NAME, SIZE, NULL, NULL)
#define NONE {0}
#define WORDS(OP, ROW) ROW(u8_##OP, 1), ROW(u16_##OP, 2), ROW(u32_##OP, 4), ROW(u64_##OP, 8)
#define FLOATS(OP, ROW) NONE, NONE, ROW(f32_##OP, 4), ROW(f64_##OP, 8)
#define EXTREMA(OP)                                                                                \
    FULL(b1_##OP, 1), FULL(i8_##OP, 1), FULL(i16_##OP, 2), FULL(i32_##OP, 4), FULL(i64_##OP, 8),   \
        WORDS(OP, FULL), FULL(f16_##OP, 2), FULL(bf16_##OP, 2), FULL(f32_##OP, 4),                 \
        FULL(f64_##OP, 8)

/* Kinds in the order of kernel.py's REDUCTIONS; dtypes in that of their codes, b1, signed,
   unsigned, f16 bf16 f32 f64. Of 0 and 1 the sum and or are max, the product and and are min. */
const charl_fold_t charl_folds[CHARL_KINDS * CHARL_DTYPES] = {
    FULL(b1_max, 1),
    WORDS(add, FULL),
    WORDS(add, FULL),
    FLOATS(add, FULL),
    FULL(b1_min, 1),
    WORDS(mul, FULL),
    WORDS(mul, FULL),
    FLOATS(mul, FULL),
    EXTREMA(max),
    EXTREMA(min),
    NO_SCAN(b1_max, 1),
    WORDS(or, NO_SCAN),
    WORDS(or, NO_SCAN),
    NONE,
    NONE,
    NONE,
    NONE,
    NO_SCAN(b1_min, 1),
    WORDS(and, NO_SCAN),
    WORDS(and, NO_SCAN),
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    WORDS(dot, NO_SCAN),
    WORDS(dot, NO_SCAN),
    FLOATS(dot, NO_SCAN),
};
