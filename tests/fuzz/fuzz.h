/** What every fuzzer has. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Not assert: must hold in builds without asserts, too. */
static inline void must(bool holds)
{
    if (!holds)
        abort();
}

#endif
