/* Random bytes of the kernel, and a quick generator (xoshiro256++ by Blackman and Vigna, seeded by splitmix64). */
#include <proa/random.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void proa_random_bytes(void *out, size_t bytes)
{
    char *at = out;

    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            abort();
        at += got;
        bytes -= (size_t)got;
    }
}

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

void proa_prng_seed(struct proa_prng *prng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        prng->state[i] = z ^ z >> 31;
    }
}

uint64_t proa_prng_u64(struct proa_prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = rotate(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t proa_prng_below(struct proa_prng *prng, uint64_t bound)
{
    uint64_t least = (0 - bound) % bound; /* 2^64 mod bound: draws below it would make some results likelier */
    uint64_t draw;

    do
        draw = proa_prng_u64(prng);
    while (draw < least);
    return draw % bound;
}

double proa_prng_double(struct proa_prng *prng)
{
    return (double)(proa_prng_u64(prng) >> 11) * 0x1.0p-53;
}
