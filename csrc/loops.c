/* loops.c: the element loops, which the build generates from the op table into gen/. */
#include "gen/ops.h"

const int32_t charl_loop_count = CHARL_LOOPS;
const char charl_loop_hash[] = CHARL_OPS_HASH;

const charl_loop_t *charl_loops(void) { return charl_ops_loops(); }
