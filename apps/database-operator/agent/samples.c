/* Metrics gathered from the engine. */
#include "samples.h"

#include <proa/error.h>

int samples_add(struct samples *samples, const struct sample_family *family, double value, const proa_str *labels)
{
    struct sample sample = {.family = family, .value = value};

    if (samples->len == SAMPLES_MAX)
        return 0;
    if (samples->len == samples->cap) {
        size_t cap = samples->cap ? 2 * samples->cap : 64;
        void *grown = proa_arena_grow(samples->arena, samples->ptr, samples->cap * sizeof *samples->ptr,
                                      cap * sizeof *samples->ptr);

        if (!grown)
            return PROA_ENOMEM;
        samples->ptr = grown;
        samples->cap = cap;
    }
    for (size_t i = 0; i < SAMPLE_LABELS_MAX && family->labels[i]; i++) {
        sample.labels[i] = proa_arena_str(samples->arena, labels[i]);
        if (!sample.labels[i].ptr)
            return PROA_ENOMEM;
    }
    samples->ptr[samples->len++] = sample;
    return 0;
}
