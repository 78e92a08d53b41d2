/* random.h - repeatable chance for decisions (xoshiro128++, Blackman and Vigna 2019). Never for
 * secrets: those take the seam's entropy. */
#ifndef HWS_BASE_RANDOM_H
#define HWS_BASE_RANDOM_H

#include <assert.h>
#include <stdint.h>

typedef struct {
    uint32_t state[4];
} hws_random_t;

/* Every seed, 0 included, gives a sequence of its own. */
void hws_random_init(hws_random_t *random, uint64_t seed);

static inline uint32_t hws_rotate(uint32_t value, int bits)
{
    return (value << bits) | (value >> (32 - bits));
}

static inline uint32_t hws_random_next(hws_random_t *random)
{
    uint32_t *s = random->state;
    uint32_t result = hws_rotate(s[0] + s[3], 7) + s[0];
    uint32_t t = s[1] << 9;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = hws_rotate(s[3], 11);
    return result;
}

/* Even over 0 .. n - 1; n must be above 0. Lemire 2019: a multiplication; the division that finds
 * the biased few is nearly never reached. */
static inline uint32_t hws_random_below(hws_random_t *random, uint32_t n)
{
    uint64_t product;

    assert(n > 0);
    do
        product = (uint64_t)hws_random_next(random) * n;
    while ((uint32_t)product < n && (uint32_t)product < (0U - n) % n);
    return (uint32_t)(product >> 32);
}

#endif
