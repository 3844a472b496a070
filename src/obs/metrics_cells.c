/* What is in the cells of series: written by loops, added up by those who read. */
#include "metrics_internal.h"

#include <math.h>
#include <stdlib.h>

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Of a double above zero: n, where 2^n <= value < 2^(n+1); but not below zero, nor above what the table has. */
static uint32_t octave_of(double value)
{
    enum { EXPONENT_AT = 52, EXPONENT_BIAS = 1023 };
    int octave = (int)(bits_of(value) >> EXPONENT_AT) - EXPONENT_BIAS - METRIC_OCTAVE_MIN;

    return octave < 0 || !(value > 0) ? 0 : octave < METRIC_OCTAVES ? (uint32_t)octave : METRIC_OCTAVES - 1;
}

void metric_find_first_buckets(struct metric_family *family)
{
    for (uint32_t octave = 1, bucket = 0; octave < METRIC_OCTAVES; octave++) {
        while (bucket < family->bounds_count && family->bounds[bucket] < ldexp(1, (int)octave + METRIC_OCTAVE_MIN))
            bucket++;
        family->first_bucket[octave] = (uint8_t)bucket;
    }
}

/* Writing. A shard's cells have one writer, so that adding is a load and a store; the last shard has many. */
static void add_u64(_Atomic uint64_t *cell, uint64_t n)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

static void add_double_shared(_Atomic uint64_t *cell, double n)
{
    uint64_t old = atomic_load_explicit(cell, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(cell, &old, bits_of(double_of(old) + n), memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

static void series_add(struct metric_series *series, uint32_t shard, uint64_t n)
{
    if (!series)
        return;
    if (PROA_LIKELY(shard < series->shards))
        add_u64(metric_cell(series, shard), n);
    else
        atomic_fetch_add_explicit((_Atomic uint64_t *)metric_cell(series, series->shards), n, memory_order_relaxed);
}

void proa_counter_add(struct proa_counter_series *series, uint32_t shard, uint64_t n)
{
    series_add((struct metric_series *)series, shard, n);
}

void proa_gauge_add(struct proa_gauge_series *series, uint32_t shard, int64_t n)
{
    series_add((struct metric_series *)series, shard, (uint64_t)n);
}

void proa_counter_set(struct proa_counter_series *series, double total)
{
    if (series)
        atomic_store_explicit(&((struct metric_series *)series)->set, bits_of(total), memory_order_relaxed);
}

void proa_gauge_set(struct proa_gauge_series *series, double value)
{
    if (series)
        atomic_store_explicit(&((struct metric_series *)series)->set, bits_of(value), memory_order_relaxed);
}

/* The exemplars of a cell, made when the first one comes; NULL when memory is out. */
static struct exemplar *exemplars_of(const struct metric_family *family, struct histogram_cell *cell)
{
    struct exemplar *there = atomic_load_explicit(&cell->exemplars, memory_order_acquire), *fresh;

    if (there)
        return there;
    fresh = calloc(family->bounds_count + 1, sizeof *fresh);
    if (fresh && !atomic_compare_exchange_strong(&cell->exemplars, &there, fresh)) {
        free(fresh);
        fresh = there;
    }
    return fresh;
}

static __attribute__((noinline)) void keep_exemplar(const struct metric_family *family, struct histogram_cell *cell,
                                                    uint32_t bucket, double value, const struct proa_trace_ids *ids)
{
    struct exemplar *exemplar = exemplars_of(family, cell);
    uint64_t version, trace_id[2], span_id;

    if (!exemplar)
        return;
    exemplar += bucket;
    version = atomic_load_explicit(&exemplar->version, memory_order_relaxed);
    /* Only in the shard of other threads can somebody else be writing: then his is kept. */
    if ((version & 1) || !atomic_compare_exchange_strong_explicit(&exemplar->version, &version, version + 1,
                                                                  memory_order_relaxed, memory_order_relaxed))
        return;
    memcpy(trace_id, ids->trace_id, sizeof trace_id);
    memcpy(&span_id, ids->span_id, sizeof span_id);
    /* Each after the odd version (release), and read before the version is looked at again (acquire). */
    atomic_store_explicit(&exemplar->value, bits_of(value), memory_order_release);
    atomic_store_explicit(&exemplar->time, (uint64_t)family->metrics->wall(family->metrics->wall_arg),
                          memory_order_release);
    atomic_store_explicit(&exemplar->trace_id[0], trace_id[0], memory_order_release);
    atomic_store_explicit(&exemplar->trace_id[1], trace_id[1], memory_order_release);
    atomic_store_explicit(&exemplar->span_id, span_id, memory_order_release);
    atomic_store_explicit(&exemplar->version, version + 2, memory_order_release);
}

void proa_histogram_observe(struct proa_histogram_series *histogram, uint32_t shard, double value,
                            const struct proa_trace_ids *exemplar)
{
    struct metric_series *series = (struct metric_series *)histogram;
    const struct metric_family *family;
    struct histogram_cell *cell;
    uint32_t bucket;
    bool is_own;

    if (!series || isnan(value))
        return;
    family = series->family;
    bucket = family->first_bucket[octave_of(value)];
    is_own = shard < series->shards;
    cell = metric_cell(series, is_own ? shard : series->shards);
    while (bucket < family->bounds_count && value > family->bounds[bucket])
        bucket++;
    if (PROA_LIKELY(is_own)) {
        uint64_t sum = bits_of(double_of(atomic_load_explicit(&cell->sum, memory_order_relaxed)) + value);

        add_u64(histogram_counts(cell) + bucket, 1);
        atomic_store_explicit(&cell->sum, sum, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(histogram_counts(cell) + bucket, 1, memory_order_relaxed);
        add_double_shared(&cell->sum, value);
    }
    if (exemplar && (exemplar->flags & PROA_TRACE_SAMPLED) && proa_trace_present(exemplar))
        keep_exemplar(family, cell, bucket, value, exemplar);
}

/* Reading. */
uint64_t metric_sum_u64(const struct metric_series *series)
{
    uint64_t sum = 0;

    for (uint32_t shard = 0; shard <= series->shards; shard++)
        sum += atomic_load_explicit((_Atomic uint64_t *)metric_cell(series, shard), memory_order_relaxed);
    return sum;
}

double metric_gauge_value(const struct metric_series *series)
{
    return double_of(atomic_load_explicit(&series->set, memory_order_relaxed)) +
           (double)(int64_t)metric_sum_u64(series);
}

void metric_histogram_read(const struct metric_series *series, uint64_t *ret_counts, double *ret_sum)
{
    double sum = 0;

    memset(ret_counts, 0, (series->family->bounds_count + 1) * sizeof *ret_counts);
    for (uint32_t shard = 0; shard <= series->shards; shard++) {
        struct histogram_cell *cell = metric_cell(series, shard);

        sum += double_of(atomic_load_explicit(&cell->sum, memory_order_relaxed));
        for (uint32_t i = 0; i <= series->family->bounds_count; i++)
            ret_counts[i] += atomic_load_explicit(histogram_counts(cell) + i, memory_order_relaxed);
    }
    *ret_sum = sum;
}

static bool read_exemplar(struct exemplar *exemplar, struct exemplar_value *ret_value)
{
    enum { TRIES = 8 };

    for (int i = 0; i < TRIES; i++) {
        uint64_t version = atomic_load_explicit(&exemplar->version, memory_order_acquire), trace_id[2], span_id;

        if (version == 0)
            return false;
        if (version & 1)
            continue;
        *ret_value = (struct exemplar_value){.ids = {.flags = PROA_TRACE_SAMPLED}};
        ret_value->value = double_of(atomic_load_explicit(&exemplar->value, memory_order_acquire));
        ret_value->time = (proa_time_ns)atomic_load_explicit(&exemplar->time, memory_order_acquire);
        trace_id[0] = atomic_load_explicit(&exemplar->trace_id[0], memory_order_acquire);
        trace_id[1] = atomic_load_explicit(&exemplar->trace_id[1], memory_order_acquire);
        span_id = atomic_load_explicit(&exemplar->span_id, memory_order_acquire);
        if (atomic_load_explicit(&exemplar->version, memory_order_relaxed) != version)
            continue;
        memcpy(ret_value->ids.trace_id, trace_id, sizeof trace_id);
        memcpy(ret_value->ids.span_id, &span_id, sizeof span_id);
        return true;
    }
    return false;
}

bool metric_exemplar(const struct metric_series *series, uint32_t bucket, struct exemplar_value *ret_exemplar)
{
    bool found = false;

    for (uint32_t shard = 0; shard <= series->shards; shard++) {
        struct histogram_cell *cell = metric_cell(series, shard);
        struct exemplar *exemplars = atomic_load_explicit(&cell->exemplars, memory_order_acquire);
        struct exemplar_value value;

        if (!exemplars || !read_exemplar(exemplars + bucket, &value) || (found && value.time <= ret_exemplar->time))
            continue;
        *ret_exemplar = value;
        found = true;
    }
    return found;
}

uint64_t proa_counter_value(const struct proa_counter_series *series)
{
    return series ? metric_sum_u64((const struct metric_series *)series) : 0;
}

double proa_gauge_value(const struct proa_gauge_series *series)
{
    return series ? metric_gauge_value((const struct metric_series *)series) : 0;
}

uint64_t proa_histogram_count(const struct proa_histogram_series *series, double *ret_sum)
{
    uint64_t counts[PROA_METRIC_BUCKETS_MAX + 1], count = 0;
    double sum = 0;

    if (series)
        metric_histogram_read((const struct metric_series *)series, counts, &sum);
    for (uint32_t i = 0; series && i <= ((const struct metric_series *)series)->family->bounds_count; i++)
        count += counts[i];
    if (ret_sum)
        *ret_sum = sum;
    return count;
}
