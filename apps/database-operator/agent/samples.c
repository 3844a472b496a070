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

static void write_family(const struct samples *samples, const struct sample_family *family, struct proa_collection *out)
{
    struct proa_collected_family collected = {
        .name = family->name, .help = family->help, .is_counter = family->is_counter};

    for (size_t i = 0; i < SAMPLE_LABELS_MAX; i++)
        collected.labels[i] = family->labels[i];
    for (size_t i = 0; i < samples->len; i++)
        if (samples->ptr[i].family == family)
            proa_collect(out, &collected, samples->ptr[i].labels, samples->ptr[i].value);
}

/* Samples are few: each family is looked for in all of them. */
void samples_write(const struct samples *samples, struct proa_collection *out)
{
    for (size_t i = 0; i < samples->len; i++) {
        bool is_first = true;

        for (size_t k = 0; k < i && is_first; k++)
            is_first = samples->ptr[k].family != samples->ptr[i].family;
        if (is_first)
            write_family(samples, samples->ptr[i].family, out);
    }
}

void samples_write_one(const struct sample_family *family, double value, struct proa_collection *out)
{
    struct sample sample = {.family = family, .value = value};

    write_family(&(struct samples){.ptr = &sample, .len = 1}, family, out);
}
