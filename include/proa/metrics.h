/** Metrics: counters, gauges and histograms with labels, written from any loop without a shared cache line.
 *
 *  Each loop writes to a shard of its own; a scrape adds them up, so sums are exact. Series are made once and
 *  kept by their user; the hot path is one add to memory that only this loop writes.
 */
#ifndef PROA_METRICS_H
#define PROA_METRICS_H

#include <proa/buf.h>
#include <proa/defs.h>
#include <proa/error.h>
#include <proa/loop.h>
#include <proa/trace.h>

PROA_BEGIN_DECLS

enum {
    PROA_METRIC_LABELS_MAX = 8,
    PROA_METRIC_VALUE_MAX = 256,       /**< bytes of a label value; longer ones are cut at a character */
    PROA_METRIC_SERIES_DEFAULT = 2000, /**< series a metric may have; more share the series `overflow="true"` */
    PROA_METRIC_BUCKETS_MAX = 32,
};

struct proa_metrics;
/** @param shards  number of loops (1..PROA_LOOPS_MAX); threads that are no loop share one more. */
PROA_COLD PROA_MUST_USE int proa_metrics_new(uint32_t shards, struct proa_metrics **ret_metrics);
/** Nobody writes any more. NULL is fine. */
PROA_COLD void proa_metrics_free(struct proa_metrics *metrics);

struct proa_metric_options {
    /** Prometheus name with unit, without "_total": "http_requests", "…_duration_seconds". Static. No two families may
     *  give the same sample name ("x" as a histogram and "x_count"). */
    const char *name;
    const char *help;                           /**< static */
    const char *unit;                           /**< "seconds", "bytes" or NULL; the name must end in it */
    const char *labels[PROA_METRIC_LABELS_MAX]; /**< label names; static */
    /** Histograms: upper bounds, rising, without +Inf; NULL: 5 ms … 10 s as OTel's http.server.request.duration */
    const double *buckets;
    uint32_t buckets_count;
    uint32_t series_max; /**< 0: 2,000 */
    bool is_hidden;      /**< not written under this name, but only as proa_histogram_show_as says */
};

struct proa_counter; /**< a family */
struct proa_gauge;
struct proa_histogram;
struct proa_counter_series; /**< one combination of label values */
struct proa_gauge_series;
struct proa_histogram_series;

/** A family with the same name and kind is given again; another kind or other labels is PROA_EEXISTS. From any thread.
 *  Without a registry (NULL: metrics are switched off) the family is NULL, its series are NULL, and writing to them
 *  does nothing. */
PROA_COLD PROA_MUST_USE int proa_counter_new(struct proa_metrics *metrics, const struct proa_metric_options *options,
                                             struct proa_counter **ret_counter, struct proa_error *err);
PROA_COLD PROA_MUST_USE int proa_gauge_new(struct proa_metrics *metrics, const struct proa_metric_options *options,
                                           struct proa_gauge **ret_gauge, struct proa_error *err);
PROA_COLD PROA_MUST_USE int proa_histogram_new(struct proa_metrics *metrics, const struct proa_metric_options *options,
                                               struct proa_histogram **ret_histogram, struct proa_error *err);

/** A second name for a family: another convention's. */
struct proa_metric_alias {
    const char *name;                           /**< static; its unit is the family's */
    const char *labels[PROA_METRIC_LABELS_MAX]; /**< for the family's labels, in their order; static */
    const char *fixed_labels; /**< `url_scheme="http"`: a further label as it is written; NULL: none. Static */
};
/** Has the series of a histogram written a second time under another name. Observing costs no more. Again is harmless.
 *  From any thread.
 *  @returns 0, PROA_EEXISTS (a family has the name), PROA_EINVAL, PROA_ENOMEM. */
PROA_COLD PROA_MUST_USE int proa_histogram_show_as(struct proa_histogram *histogram,
                                                   const struct proa_metric_alias *alias, struct proa_error *err);

/** The series of these label values (as many as the family has labels), made when new; past the limit the
 *  overflow series. Never NULL, but for a family that is: when memory is out, the overflow series too. Live as long as
 *  the registry. From any thread; takes a lock, so keep what it returns. */
struct proa_counter_series *proa_counter_with(struct proa_counter *counter, const proa_str *values);
struct proa_gauge_series *proa_gauge_with(struct proa_gauge *gauge, const proa_str *values);
struct proa_histogram_series *proa_histogram_with(struct proa_histogram *histogram, const proa_str *values);

/** `shard`: proa_loop_index of the writing loop, or PROA_SHARD_OTHER from other threads. */
#define PROA_SHARD_OTHER UINT32_MAX
void proa_counter_add(struct proa_counter_series *series, uint32_t shard, uint64_t n);
/** For a total that somebody else keeps (the process's CPU time), at a scrape. Not together with adding. */
void proa_counter_set(struct proa_counter_series *series, double total);
/** Sum of what all shards added. */
uint64_t proa_counter_value(const struct proa_counter_series *series);
/** Gauges are sums of what the shards added (in-flight counts) … */
void proa_gauge_add(struct proa_gauge_series *series, uint32_t shard, int64_t n);
/** … or a value set by one owner. */
void proa_gauge_set(struct proa_gauge_series *series, double value);
double proa_gauge_value(const struct proa_gauge_series *series);
/** `exemplar` may be NULL; kept (the last one of each bucket) when sampled. A value that is NaN is not counted. */
void proa_histogram_observe(struct proa_histogram_series *series, uint32_t shard, double value,
                            const struct proa_trace_ids *exemplar);
uint64_t proa_histogram_count(const struct proa_histogram_series *series, double *ret_sum);

/** For the time stamps of exemplars; NULL: the system's clock. Before the first scrape. */
void proa_metrics_set_clock(struct proa_metrics *metrics, proa_time_ns (*wall)(void *arg), void *arg);

/** The process as Prometheus' clients show it: process_cpu_seconds_total, process_resident_memory_bytes,
 *  process_virtual_memory_bytes, process_virtual_memory_max_bytes, process_start_time_seconds, process_open_fds,
 *  process_max_fds, process_threads. Once a registry; NULL: nothing is done. */
PROA_COLD PROA_MUST_USE int proa_metrics_add_process(struct proa_metrics *metrics, struct proa_error *err);
struct proa_loops;
/** Each loop's fibers, stacks, timers, turns, blocking calls and lag, as proa_… with the label `loop`. Before the loops
 *  run; they must live as long as the registry is written, and the registry as long as they run. Once a set of loops. A
 *  registry of NULL: nothing is done. */
PROA_COLD PROA_MUST_USE int proa_metrics_add_loops(struct proa_metrics *metrics, struct proa_loops *loops,
                                                   struct proa_error *err);

/** Called at each scrape before writing, to set gauges from facts (process_*, pools). Not under the lock. */
PROA_COLD PROA_MUST_USE int proa_metrics_on_scrape(struct proa_metrics *metrics, void (*fn)(void *arg), void *arg);

/** Samples that somebody else keeps, a database server for one: written at each scrape as they are then, so families
 *  and series may come and go, and have any name. */
struct proa_collected_family {
    const char *name;                           /**< as it is written; none of the registry's */
    const char *help;                           /**< may be NULL */
    bool is_counter;                            /**< else a gauge */
    const char *labels[PROA_METRIC_LABELS_MAX]; /**< label names */
};
struct proa_collection;
/** `collect` is called at each scrape, after the registry's own families, in the thread that writes; it gives samples
 *  by proa_collect. A registry of NULL: nothing is done. */
PROA_MUST_USE int proa_metrics_add_collector(struct proa_metrics *metrics,
                                             void (*collect)(void *arg, struct proa_collection *out), void *arg);
/** One sample; those of a family one after the other. `family` is looked at during the call only, but its name lives
 *  until `collect` returns. `labels` has as many as the family; what is not UTF-8 is left empty. In OpenMetrics, where
 *  a counter must be called "…_total", a counter with another name is of unknown type. */
void proa_collect(struct proa_collection *out, const struct proa_collected_family *family, const proa_str *labels,
                  double value);

enum proa_metrics_format {
    PROA_METRICS_TEXT = 0,    /**< Prometheus text 0.0.4 */
    PROA_METRICS_OPENMETRICS, /**< OpenMetrics 1.0, with exemplars */
};
/** Chooses by an Accept header (RFC 9110 section 12.5.1); *ret_content_type is static. */
enum proa_metrics_format proa_metrics_negotiate(proa_str accept, const char **ret_content_type);
/** Writes all families, in the order of their making. From any thread. */
PROA_MUST_USE int proa_metrics_write(struct proa_metrics *metrics, enum proa_metrics_format format,
                                     struct proa_buf *out);

PROA_END_DECLS
#endif
