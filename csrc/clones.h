/* clones.h: one C function, compiled for x86-64, -v3 and -v4, and chosen when the library is
   loaded. */
#ifndef CHARL_CLONES_H
#define CHARL_CLONES_H

/* Resolvers run before a sanitizer's runtime is ready, so its builds do without. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CHARL_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define CHARL_CLONES
#endif

#endif
