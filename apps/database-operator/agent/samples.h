/** Metrics that an engine gives: gathered by its driver now and then, written at a scrape as they were last. */
#ifndef DATABASE_OPERATOR_SAMPLES_H
#define DATABASE_OPERATOR_SAMPLES_H

#include <proa/arena.h>
#include <proa/metrics.h>

enum { SAMPLE_LABELS_MAX = 4, SAMPLES_MAX = 2000 };

struct sample_family {
    const char *name; /**< as the engine's usual exporter has it */
    const char *help;
    bool is_counter;
    const char *labels[SAMPLE_LABELS_MAX];
};
/** Writes them, for a collector of the program's metrics. */
struct samples;
void samples_write(const struct samples *samples, struct proa_collection *out);
/** One of a family without labels. */
void samples_write_one(const struct sample_family *family, double value, struct proa_collection *out);

struct sample {
    const struct sample_family *family;
    proa_str labels[SAMPLE_LABELS_MAX]; /**< as many as the family has */
    double value;
};
struct samples {
    struct proa_arena *arena; /**< labels are copied into it */
    struct sample *ptr;
    size_t len, cap;
};
/** In any order; those of a family are written together. More than SAMPLES_MAX are dropped. `labels` may be NULL for none. */
PROA_MUST_USE int samples_add(struct samples *samples, const struct sample_family *family, double value,
                              const proa_str *labels);

#endif
