/* Durations of operations and the state of the pools, by the semantic conventions of database clients. Series are made
 * once and kept, so that a statement costs one observation. */
#include "db_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

enum operation { SELECT = 0, INSERT, UPDATE, DELETE, COMMIT, OTHER, OPERATIONS };
static const proa_str operation_names[OPERATIONS] = {
    PROA_STR_INIT("SELECT"), PROA_STR_INIT("INSERT"), PROA_STR_INIT("UPDATE"),
    PROA_STR_INIT("DELETE"), PROA_STR_INIT("COMMIT"), PROA_STR_INIT("_OTHER"),
};
enum { OPERATION_LETTERS = 6 }; /* all have as many */
static const char operation_letters[OTHER][OPERATION_LETTERS + 1] = {"select", "insert", "update", "delete", "commit"};
static const char *const pool_names[2] = {"shared", "own"};
enum { OUTCOMES = 1 - PROA_ECODE_MIN };

struct db_metrics {
    struct proa_histogram *durations;
    /* By operation and code: made at first use, from any loop. */
    _Atomic(struct proa_histogram_series *) durations_of[OPERATIONS][OUTCOMES];
    struct proa_gauge_series *idle[2];
    struct proa_gauge_series *used[2];
    struct proa_gauge_series *max[2];
    struct proa_gauge_series *pending[2];
    struct proa_counter_series *timeouts[2];
    struct proa_counter_series *connect_failures;
};

static const double duration_bounds[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10};

static int make_durations(struct proa_db *db, struct db_metrics *own, struct proa_error *err)
{
    const struct proa_metric_options options = {.name = "db_client_operation_duration_seconds",
                                                .help = "Duration of database operations as the program waits for them",
                                                .unit = "seconds",
                                                .labels = {"db_system_name", "db_operation_name", "error_type"},
                                                .buckets = duration_bounds,
                                                .buckets_count = PROA_COUNT(duration_bounds)};

    return proa_histogram_new(db->options.metrics, &options, &own->durations, err);
}

static int make_gauges(struct proa_db *db, struct db_metrics *own, struct proa_error *err)
{
    proa_str system = proa_str_c(db->driver->system);
    struct proa_gauge *counts, *max, *pending;

    /* The conventions' present name, db.client.connection.count, would end as a histogram's count does, which
     * Prometheus keeps for those (`promtool check metrics`): so the name that they had for it before. */
    PROA_TRY(proa_gauge_new(db->options.metrics,
                            &(struct proa_metric_options){.name = "db_client_connections_usage",
                                                          .help = "Connections by state",
                                                          .labels = {"db_system_name", "db_client_connection_pool_name",
                                                                     "db_client_connection_state"}},
                            &counts, err));
    PROA_TRY(
        proa_gauge_new(db->options.metrics,
                       &(struct proa_metric_options){.name = "db_client_connection_max",
                                                     .help = "Connections that the pool may have",
                                                     .labels = {"db_system_name", "db_client_connection_pool_name"}},
                       &max, err));
    PROA_TRY(
        proa_gauge_new(db->options.metrics,
                       &(struct proa_metric_options){.name = "db_client_connection_pending_requests",
                                                     .help = "Requests that wait for a connection",
                                                     .labels = {"db_system_name", "db_client_connection_pool_name"}},
                       &pending, err));
    for (int kind = DB_SHARED; kind <= DB_OWN; kind++) {
        proa_str pool = proa_str_c(pool_names[kind]);

        own->idle[kind] = proa_gauge_with(counts, (const proa_str[]){system, pool, PROA_STR("idle")});
        own->used[kind] = proa_gauge_with(counts, (const proa_str[]){system, pool, PROA_STR("used")});
        own->max[kind] = proa_gauge_with(max, (const proa_str[]){system, pool});
        own->pending[kind] = proa_gauge_with(pending, (const proa_str[]){system, pool});
    }
    return 0;
}

static int make_counters(struct proa_db *db, struct db_metrics *own, struct proa_error *err)
{
    proa_str system = proa_str_c(db->driver->system);
    struct proa_counter *timeouts, *failures;

    PROA_TRY(
        proa_counter_new(db->options.metrics,
                         &(struct proa_metric_options){.name = "db_client_connection_timeouts",
                                                       .help = "Requests that gave up waiting for a connection",
                                                       .labels = {"db_system_name", "db_client_connection_pool_name"}},
                         &timeouts, err));
    PROA_TRY(proa_counter_new(db->options.metrics,
                              &(struct proa_metric_options){.name = "db_client_connection_failures",
                                                            .help = "Connections that were lost or could not be made",
                                                            .labels = {"db_system_name"}},
                              &failures, err));
    for (int kind = DB_SHARED; kind <= DB_OWN; kind++)
        own->timeouts[kind] = proa_counter_with(timeouts, (const proa_str[]){system, proa_str_c(pool_names[kind])});
    own->connect_failures = proa_counter_with(failures, &system);
    return 0;
}

int db_metrics_new(struct proa_db *db, struct proa_error *err)
{
    struct db_metrics *own = calloc(1, sizeof *own);

    if (!own)
        return proa_fail(err, PROA_ENOMEM, "no memory for metrics");
    db->metrics = own; /* freed with the database in any case */
    PROA_TRY(make_durations(db, own, err));
    PROA_TRY(make_gauges(db, own, err));
    return make_counters(db, own, err);
}

void db_metrics_free(struct db_metrics *metrics)
{
    free(metrics);
}

void db_metrics_limits(struct proa_db *db)
{
    if (!db->metrics)
        return;
    proa_gauge_set(db->metrics->max[DB_SHARED], db->options.shared_connections);
    proa_gauge_set(db->metrics->max[DB_OWN], db->options.own_connections);
}

/* `letters` in either case. Of each statement: without a call. */
static inline bool begins_with(const char *text, const char *letters)
{
    for (int i = 0; i < OPERATION_LETTERS; i++)
        if ((text[i] | 0x20) != letters[i])
            return false;
    return true;
}

/* By the statement's first word; the words are few, so the series are bounded. */
static enum operation operation_of(const char *text)
{
    while (*text == ' ' || (*text >= '\t' && *text <= '\r'))
        text++;
    for (int i = 0; i < OTHER; i++) {
        if (begins_with(text, operation_letters[i]))
            return (enum operation)i;
    }
    return OTHER;
}

static struct proa_histogram_series *series_of(struct proa_sql sql, enum operation operation, int code)
{
    struct db_metrics *own = sql.db->metrics;
    size_t outcome = code >= PROA_ECODE_MIN ? (size_t)-code : (size_t)-PROA_EINTERNAL;
    struct proa_histogram_series *series =
        atomic_load_explicit(&own->durations_of[operation][outcome], memory_order_acquire);

    if (series)
        return series;
    series = proa_histogram_with(own->durations,
                                 (const proa_str[]){proa_str_c(sql.db->driver->system), operation_names[operation],
                                                    code < 0 ? proa_str_c(proa_code_name(code)) : PROA_STR("")});
    atomic_store_explicit(&own->durations_of[operation][outcome], series, memory_order_release);
    return series;
}

void db_metrics_operation(struct proa_sql sql, const char *text, int rc, proa_mono_ns began)
{
    double seconds = (double)(proa_loop_now_exact(sql.loop) - began) / 1e9;

    proa_histogram_observe(series_of(sql, operation_of(text), rc < 0 ? rc : 0), proa_loop_index(sql.loop), seconds,
                           NULL);
}

static uint32_t shard_of(const struct proa_loop *loop)
{
    return loop ? proa_loop_index(loop) : PROA_SHARD_OTHER;
}

void db_metrics_connections(struct proa_db *db, const struct proa_loop *loop, enum db_connection_kind kind, int idle,
                            int used)
{
    if (!db->metrics)
        return;
    if (idle)
        proa_gauge_add(db->metrics->idle[kind], shard_of(loop), idle);
    if (used)
        proa_gauge_add(db->metrics->used[kind], shard_of(loop), used);
}

void db_metrics_pending(struct proa_db *db, const struct proa_loop *loop, enum db_connection_kind kind, int more)
{
    if (db->metrics)
        proa_gauge_add(db->metrics->pending[kind], shard_of(loop), more);
}

void db_metrics_wait_timed_out(struct proa_db *db, const struct proa_loop *loop, enum db_connection_kind kind)
{
    if (db->metrics)
        proa_counter_add(db->metrics->timeouts[kind], shard_of(loop), 1);
}

void db_metrics_connect_failed(struct proa_db *db, const struct proa_loop *loop)
{
    if (db->metrics)
        proa_counter_add(db->metrics->connect_failures, shard_of(loop), 1);
}
