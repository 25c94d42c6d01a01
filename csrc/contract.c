/* contract.c: blocks of a matrix product. A sum runs over KC products by fma from 0; block sums
   are added in order. */
#include <math.h>
#include <string.h>

#include "clones.h"
#include "interp_run.h"

enum { ROWS = 4, PANEL = 32, RUN = 16 }; /* ROWS x PANEL sums are held in registers */

#define T float
#define FMA fmaf
#define NAME(part) charl_f32_##part
#include "contract_body.h"
#undef T
#undef FMA
#undef NAME

#define T double
#define FMA fma
#define NAME(part) charl_f64_##part
#include "contract_body.h"
