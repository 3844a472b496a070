/** Random bytes. Code above `rt` takes them from its loop (proa_loop_random), so that a simulation can seed them. */
#ifndef PROA_RANDOM_H
#define PROA_RANDOM_H

#include <proa/defs.h>

PROA_BEGIN_DECLS

/** Bytes of the kernel's generator (getrandom). Aborts when the kernel has none, which cannot happen after boot. */
void proa_random_bytes(void *out, size_t bytes);

/** A fast generator for jitter, sampling and simulations; not for secrets (xoshiro256++). */
struct proa_prng {
    uint64_t state[4];
};

void proa_prng_seed(struct proa_prng *prng, uint64_t seed);
uint64_t proa_prng_u64(struct proa_prng *prng);
/** Uniform in [0, bound), bound > 0, without modulo bias. */
uint64_t proa_prng_below(struct proa_prng *prng, uint64_t bound);
/** Uniform in [0, 1). */
double proa_prng_double(struct proa_prng *prng);

PROA_END_DECLS
#endif
