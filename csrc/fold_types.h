/* fold_types.h: reductions in type T; fold.c includes it once a type. No include guard.
   PREFIX(part) names them; ZERO, LEAST and GREATEST are identities; EXTREMA_ONLY; FMA where dot
   rounds once; BITS: or, and. */

#ifndef EXTREMA_ONLY
#define NAME(part) PREFIX(add_##part)
#define IDENTITY ZERO
#define OP(x, y) ((T)((x) + (y)))
#include "fold_body.h"

#define NAME(part) PREFIX(mul_##part)
#define IDENTITY 1
#define OP(x, y) ((T)((x) * (y)))
#include "fold_body.h"

#define NO_SCAN
#define NAME(part) PREFIX(dot_##part)
#define IDENTITY ZERO
#define OP(x, y) ((T)((x) + (y)))
#ifdef FMA
#define STEP(acc, s) FMA(x[s], y[s], acc)
#else
#define STEP(acc, s) ((T)((acc) + (T)(x[s] * y[s])))
#endif
#include "fold_body.h"
#endif

#ifdef BITS
#define NO_SCAN
#define NAME(part) PREFIX(or_##part)
#define IDENTITY 0
#define OP(x, y) ((T)((x) | (y)))
#include "fold_body.h"

#define NO_SCAN
#define NAME(part) PREFIX(and_##part)
#define IDENTITY GREATEST
#define OP(x, y) ((T)((x) & (y)))
#include "fold_body.h"
#endif

/* As the op maximum: x is the accumulated value; it stays if it is equal to the new one, or a
   NaN and the new one is none. */
#ifndef KEY
#define KEY(x) (x)
#define ORDERED(y) 1
#define IS_NAN(x) ((x) != (x))
#endif

#ifdef LEAST
#define NAME(part) PREFIX(max_##part)
#define IDENTITY LEAST
#define OP(x, y) (((KEY(y) > KEY(x)) & ORDERED(x)) | IS_NAN(y) ? (y) : (x))
#include "fold_body.h"

#define NAME(part) PREFIX(min_##part)
#define IDENTITY GREATEST
#define OP(x, y) (((KEY(y) < KEY(x)) & ORDERED(x)) | IS_NAN(y) ? (y) : (x))
#include "fold_body.h"
#endif

#undef T
#undef PREFIX
#undef ZERO
#undef LEAST
#undef GREATEST
#undef EXTREMA_ONLY
#undef FMA
#undef BITS
#undef KEY
#undef ORDERED
#undef IS_NAN
