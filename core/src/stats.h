/* stats.h - what managers and upstreams say of themselves in figures: statistics, and metrics. */
#ifndef HWS_STATS_H
#define HWS_STATS_H

#include <hawser/manager.h>

/* Adds gauges and counters up; queue_max is the greater. */
void hws_stats_add(hws_stats_t *sum, const hws_stats_t *stats);

#endif
