/* process.h - facts about this process that are no input: its descriptor limit, and forks. */
#ifndef HWS_IO_PROCESS_H
#define HWS_IO_PROCESS_H

#include <stdint.h>

/* The soft limit on open descriptors, at most UINT32_MAX. */
uint32_t hws_process_descriptor_limit(void);
/* Differs between a process and its forked children. Costs a load, not a system call. */
uint32_t hws_process_generation(void);

#endif
