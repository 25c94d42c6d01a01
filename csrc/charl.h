/* charl.h: the launch ABI. Every kernel, compiled or interpreted, has this one signature. */
#ifndef CHARL_H
#define CHARL_H

#include <stddef.h>
#include <stdint.h>

#define CHARL_ABI 1

/* What a kernel found wrong while it ran: which check, the offending index, and the extent. */
typedef struct charl_error_t {
    int64_t site; /* number of the check within the kernel */
    int64_t index;
    int64_t extent;
} charl_error_t;

/* One launch. Offsets are read by generated code: codegen/llvm.py states them again and a test compares. */
typedef struct charl_launch_t {
    void **buffers;        /*  0: one pointer an argument */
    const int64_t *params; /*  8: extents, strides, offsets in elements; scalars as bit patterns */
    char *scratch;         /* 16: this thread's scratch, 64-byte aligned */
    const void *code;      /* 24: the interpreter's bytecode, NULL for machine code */
    charl_error_t error;   /* 32: filled in before a kernel returns CHARL_EINDEX */
    int64_t scratch_bytes; /* 56: of one thread */
    int32_t abi;           /* 64: CHARL_ABI */
    int32_t thread;        /* 68 */
    int32_t nthreads;      /* 72 */
    int32_t backward;      /* 76: whether each thread is to begin at the end of its share */
} charl_launch_t;

/* Runs units [begin, end). Returns 0 or a CHARL_E code. */
typedef int32_t (*charl_kernel_t)(charl_launch_t *launch, int64_t begin, int64_t end);

enum { CHARL_OK = 0, CHARL_EINDEX = 1, CHARL_ENOMEM = 2, CHARL_EABI = 3, CHARL_EINTERRUPT = 4 };

#endif
