#include "base/random.h"

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
