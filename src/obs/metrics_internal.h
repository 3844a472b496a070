/** What the registry of metrics and its writer share.
 *
 *  A series has one cell in each shard's part of a slab, at the same place in each, so that it is found by the shard's
 *  number and no two shards' cells share a cache line (nor a page). Memory of a shard that never writes is never
 *  touched.
 *
 *      slab:  | shard 0: cells of series a, b, c … | shard 1: cells of a, b, c … | … | shard "other" |
 *             |<-------------- stride ------------>|
 *
 *  Families and series are appended and never removed; a scrape walks them without a lock.
 */
#ifndef PROA_OBS_METRICS_INTERNAL_H
#define PROA_OBS_METRICS_INTERNAL_H

#include <proa/metrics.h>
#include <pthread.h>
#include <stdatomic.h>

enum { METRIC_OCTAVES = 64, METRIC_OCTAVE_MIN = -32 };
enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/** Of a histogram's bucket. Written by one at a time: `version` is odd meanwhile. */
struct exemplar {
    _Atomic uint64_t version; /**< 0: none yet */
    _Atomic uint64_t value;   /**< bits of a double */
    _Atomic uint64_t time;    /**< proa_time_ns */
    _Atomic uint64_t trace_id[2];
    _Atomic uint64_t span_id;
};

/** The cell of a histogram: then come buckets_count + 1 counts (_Atomic uint64_t). */
struct histogram_cell {
    _Atomic uint64_t sum;                 /**< bits of a double */
    _Atomic(struct exemplar *) exemplars; /**< one a bucket; made by the first */
};

struct metric_family;

/** All kinds have the same; the public types are names for it. */
struct metric_series {
    char *cells;   /**< of shard 0 */
    size_t stride; /**< to the next shard's */
    uint32_t shards;
    struct metric_family *family;
    _Atomic uint64_t set; /**< gauges: bits of the double that was set */
    uint64_t hash;
    _Atomic(struct metric_series *) next;
    _Atomic bool shown; /**< the overflow series once it was needed; others always */
    bool is_overflow;
    struct metric_series *hash_next;
    proa_str values[]; /**< as many as the family has labels; the text lies behind */
};

struct metric_family {
    struct proa_metrics *metrics;
    enum metric_kind kind;
    struct proa_metric_options options; /**< without NULL for text */
    const struct metric_family *source; /**< whose series are shown under this name; NULL: its own */
    const char *fixed_labels;           /**< of an alias; NULL: none */
    uint32_t labels_count;
    size_t cell_bytes;
    double *bounds; /**< copy of the buckets */
    uint32_t bounds_count;
    uint8_t first_bucket[METRIC_OCTAVES]; /**< for values from 2^(i + METRIC_OCTAVE_MIN) on: where to begin to look */
    pthread_mutex_t mutex;                /**< of the table and of appending */
    struct metric_series **table;
    uint32_t table_size;
    uint32_t series_count;          /**< without the overflow series */
    struct metric_series *overflow; /**< of a family without labels: its only series */
    struct metric_series *last;
    _Atomic(struct metric_series *) first;
    _Atomic(struct metric_family *) next;
};

struct metric_hook {
    void (*fn)(void *arg);
    void *arg;
    void (*done)(void *arg);                                 /**< frees arg with the registry; may be NULL */
    void (*collect)(void *arg, struct proa_collection *out); /* instead of fn */
    _Atomic(struct metric_hook *) next;
};

struct metric_slab {
    struct metric_slab *next;
    char *memory;
    size_t stride;
    size_t used; /**< of each shard's part */
};

struct proa_metrics {
    uint32_t shards; /**< without the one of other threads */
    uint64_t seed;
    proa_time_ns (*wall)(void *arg);
    void *wall_arg;
    pthread_mutex_t mutex; /**< of appending families and hooks, and of slabs; taken inside a family's */
    _Atomic(struct metric_family *) families;
    struct metric_family *last_family;
    _Atomic(struct metric_hook *) hooks;
    struct metric_hook *last_hook;
    struct metric_slab *slabs;
};

static inline void *metric_cell(const struct metric_series *series, uint32_t shard)
{
    return series->cells + series->stride * shard;
}
static inline _Atomic uint64_t *histogram_counts(struct histogram_cell *cell)
{
    return (_Atomic uint64_t *)(cell + 1);
}

/** Sums over the shards. */
uint64_t metric_sum_u64(const struct metric_series *series);
double metric_gauge_value(const struct metric_series *series);
/** @param ret_counts  of each bucket, not cumulated; bounds_count + 1. */
void metric_histogram_read(const struct metric_series *series, uint64_t *ret_counts, double *ret_sum);

struct exemplar_value {
    double value;
    proa_time_ns time;
    struct proa_trace_ids ids;
};
/** The latest of a bucket over the shards. @returns false when there is none. */
bool metric_exemplar(const struct metric_series *series, uint32_t bucket, struct exemplar_value *ret_exemplar);

/** @returns 0 with the number of labels, or PROA_EINVAL. */
PROA_MUST_USE int metric_options_check(const struct proa_metric_options *options, enum metric_kind kind,
                                       uint32_t *ret_labels, struct proa_error *err);
/** @returns NULL when it was appended, else the one that has its name already. */
struct metric_family *metric_family_append(struct proa_metrics *metrics, struct metric_family *fresh);
void metric_family_free(struct metric_family *family);
/** Fills first_bucket, from the bounds. */
void metric_find_first_buckets(struct metric_family *family);

/** Like proa_metrics_on_scrape, for an arg that goes with the registry. */
PROA_MUST_USE int metric_hook_add(struct proa_metrics *metrics, void (*fn)(void *arg), void *arg,
                                  void (*done)(void *arg));
/** Likewise for any hook; copied. */
PROA_MUST_USE int metric_hook_append(struct proa_metrics *metrics, const struct metric_hook *like);

#endif
