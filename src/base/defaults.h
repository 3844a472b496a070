/** Options whose zero stands for a default. */
#ifndef PROA_BASE_DEFAULTS_H
#define PROA_BASE_DEFAULTS_H

#include <stdint.h>

static inline void fill_u32(uint32_t *value, uint32_t standard)
{
    if (*value == 0)
        *value = standard;
}

#endif
