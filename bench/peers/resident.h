/* resident.h - how large this process is. */
#ifndef BENCH_RESIDENT_H
#define BENCH_RESIDENT_H

#include <stddef.h>

/* Bytes of this process that are resident; ends the program where the system does not say (no /proc). */
size_t resident_bytes(void);

#endif
