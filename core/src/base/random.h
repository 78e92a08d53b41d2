/* random.h - repeatable chance for decisions (xoshiro128++, Blackman and Vigna 2019). Never for
 * secrets: those take the seam's entropy. */
#ifndef HWS_BASE_RANDOM_H
#define HWS_BASE_RANDOM_H

#include <stdint.h>

typedef struct {
    uint32_t state[4];
} hws_random_t;

/* Every seed, 0 included, gives a sequence of its own. */
void hws_random_init(hws_random_t *random, uint64_t seed);
uint32_t hws_random_next(hws_random_t *random);
/* Even over 0 .. n - 1; n must be above 0. */
uint32_t hws_random_below(hws_random_t *random, uint32_t n);

#endif
