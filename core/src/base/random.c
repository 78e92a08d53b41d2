#include "base/random.h"

#include <assert.h>

/* splitmix64, which its authors give for filling a xoshiro state. */
static uint64_t mix(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void hws_random_init(hws_random_t *random, uint64_t seed)
{
    uint64_t a = mix(&seed);
    uint64_t b = mix(&seed);

    random->state[0] = (uint32_t)a;
    random->state[1] = (uint32_t)(a >> 32);
    random->state[2] = (uint32_t)b;
    random->state[3] = (uint32_t)(b >> 32);
}

static uint32_t rotate(uint32_t value, int bits)
{
    return (value << bits) | (value >> (32 - bits));
}

uint32_t hws_random_next(hws_random_t *random)
{
    uint32_t *s = random->state;
    uint32_t result = rotate(s[0] + s[3], 7) + s[0];
    uint32_t t = s[1] << 9;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 11);
    return result;
}

/* Lemire 2019: a multiplication; the division that finds the biased few is nearly never reached. */
uint32_t hws_random_below(hws_random_t *random, uint32_t n)
{
    uint64_t product;

    assert(n > 0);
    do
        product = (uint64_t)hws_random_next(random) * n;
    while ((uint32_t)product < n && (uint32_t)product < (0U - n) % n);
    return (uint32_t)(product >> 32);
}
