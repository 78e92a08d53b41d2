/* process.h - facts about this process that are no input: its descriptor limit, and forks. */
#ifndef HWS_IO_PROCESS_H
#define HWS_IO_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* The soft limit on open descriptors, at most UINT32_MAX. */
uint32_t hws_process_descriptor_limit(void);
/* Differs between a process and its forked children. */
uint32_t hws_process_generation(void);
extern uint32_t hws_process_forks; /* for hws_process_is_forked() */
/* Whether this is a child that was forked since `generation` was told. Costs a load. */
static inline bool hws_process_is_forked(uint32_t generation)
{
    return generation != hws_process_forks;
}

#endif
