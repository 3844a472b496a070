/* Limits with their defaults and metrics, and the metrics of requests. */
#include "server_internal.h"

#include "base/defaults.h"
#include "obs/log_form.h"
#include <proa/metrics.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { DESCRIPTORS_KEPT = 64, FIBERS_BESIDE_REQUESTS = 1024 };

void limits_fill(struct proa_server_limits *limits)
{
    struct rlimit files;

    fill_u32(&limits->connections, PROA_SERVER_CONNECTIONS_DEFAULT);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
        uint64_t room = files.rlim_cur > DESCRIPTORS_KEPT ? files.rlim_cur - DESCRIPTORS_KEPT : 1;

        if (limits->connections > room)
            limits->connections = (uint32_t)room;
    }
    fill_u32(&limits->requests_in_flight, PROA_SERVER_REQUESTS_IN_FLIGHT_DEFAULT);
    fill_u32(&limits->streams, PROA_SERVER_STREAMS_DEFAULT);
    fill_u32(&limits->head_bytes, PROA_SERVER_HEAD_BYTES_DEFAULT);
    fill_u32(&limits->fields, PROA_SERVER_FIELDS_DEFAULT);
    fill_u32(&limits->target_bytes, PROA_SERVER_TARGET_BYTES_DEFAULT);
    if (limits->body_bytes == 0)
        limits->body_bytes = PROA_SERVER_BODY_BYTES_DEFAULT;
    fill_u32(&limits->head_ms, PROA_SERVER_HEAD_MS_DEFAULT);
    fill_u32(&limits->body_ms, PROA_SERVER_BODY_MS_DEFAULT);
    fill_u32(&limits->write_stall_ms, PROA_SERVER_WRITE_STALL_MS_DEFAULT);
    fill_u32(&limits->idle_ms, PROA_SERVER_IDLE_MS_DEFAULT);
    fill_u32(&limits->request_ms, PROA_SERVER_REQUEST_MS_DEFAULT);
    fill_u32(&limits->read_ahead_bytes, PROA_SERVER_READ_AHEAD_BYTES_DEFAULT);
}

uint32_t proa_server_fibers(uint32_t requests_in_flight)
{
    uint64_t fibers = (uint64_t)requests_in_flight + requests_in_flight / 2 + FIBERS_BESIDE_REQUESTS;

    return fibers < UINT32_MAX ? (uint32_t)fibers : UINT32_MAX;
}

static const char *const limit_names[LIMITS] = {
    [LIMIT_CONNECTIONS] = "connections",
    [LIMIT_REQUESTS_IN_FLIGHT] = "requests_in_flight",
    [LIMIT_STREAMS] = "streams",
    [LIMIT_HEAD_BYTES] = "head_bytes",
    [LIMIT_FIELDS] = "fields",
    [LIMIT_TARGET_BYTES] = "target_bytes",
    [LIMIT_BODY_BYTES] = "body_bytes",
    [LIMIT_HEAD_MS] = "head_ms",
    [LIMIT_BODY_MS] = "body_ms",
    [LIMIT_WRITE_STALL_MS] = "write_stall_ms",
    [LIMIT_IDLE_MS] = "idle_ms",
    [LIMIT_REQUEST_MS] = "request_ms",
    [LIMIT_READ_AHEAD_BYTES] = "read_ahead_bytes",
};

uint64_t limit_value(const struct proa_server_limits *limits, enum limit limit)
{
    switch (limit) {
    case LIMIT_CONNECTIONS: return limits->connections;
    case LIMIT_REQUESTS_IN_FLIGHT: return limits->requests_in_flight;
    case LIMIT_STREAMS: return limits->streams;
    case LIMIT_HEAD_BYTES: return limits->head_bytes;
    case LIMIT_FIELDS: return limits->fields;
    case LIMIT_TARGET_BYTES: return limits->target_bytes;
    case LIMIT_BODY_BYTES: return limits->body_bytes;
    case LIMIT_HEAD_MS: return limits->head_ms;
    case LIMIT_BODY_MS: return limits->body_ms;
    case LIMIT_WRITE_STALL_MS: return limits->write_stall_ms;
    case LIMIT_IDLE_MS: return limits->idle_ms;
    case LIMIT_REQUEST_MS: return limits->request_ms;
    case LIMIT_READ_AHEAD_BYTES: return limits->read_ahead_bytes;
    case LIMITS: break;
    }
    return 0;
}

void limit_hit(struct server_loop *part, enum limit limit)
{
    struct proa_server *server = part->server;

    atomic_fetch_add_explicit(&server->shared.limit_hits[limit], 1, memory_order_relaxed);
    if (server->limit_series[limit])
        proa_counter_add(server->limit_series[limit], part->shard, 1);
}

/* At each scrape: what is counted anyway is not counted twice. */
static void set_scraped(void *arg)
{
    struct proa_server *server = arg;
    struct proa_server_counts counts;

    proa_server_counts(server, &counts);
    proa_gauge_set(server->gauges[0], (double)(counts.connections - counts.idle));
    proa_gauge_set(server->gauges[1], (double)counts.idle);
    proa_gauge_set(server->gauges[2], (double)counts.in_flight);
    proa_gauge_set(server->gauges[3], (double)counts.streams);
    proa_counter_set(server->accept_failures, (double)proa_listener_accept_failures(server->listener));
}

static int scraped_init(struct proa_server *server, struct proa_error *err)
{
    struct proa_metrics *metrics = server->options.metrics;
    struct proa_counter *failures;
    struct proa_gauge *gauge;

    PROA_TRY(proa_gauge_new(metrics,
                            &(struct proa_metric_options){.name = "http_server_connections",
                                                          .help = "Open connections by state",
                                                          .labels = {"state"}},
                            &gauge, err));
    server->gauges[0] = proa_gauge_with(gauge, (proa_str[]){PROA_STR("active")});
    server->gauges[1] = proa_gauge_with(gauge, (proa_str[]){PROA_STR("idle")});
    PROA_TRY(proa_gauge_new(metrics,
                            &(struct proa_metric_options){.name = "http_server_requests_in_flight",
                                                          .help = "Requests whose handler is waiting"},
                            &gauge, err));
    server->gauges[2] = proa_gauge_with(gauge, NULL);
    PROA_TRY(proa_gauge_new(
        metrics, &(struct proa_metric_options){.name = "http_server_streams", .help = "Event streams that are open"},
        &gauge, err));
    server->gauges[3] = proa_gauge_with(gauge, NULL);
    PROA_TRY(
        proa_counter_new(metrics,
                         &(struct proa_metric_options){
                             .name = "http_server_accept_failures",
                             .help = "How often a connection could not be accepted, for want of descriptors or memory"},
                         &failures, err));
    server->accept_failures = proa_counter_with(failures, NULL);
    return 0;
}

int server_metrics_watch(struct proa_server *server)
{
    return server->options.metrics ? proa_metrics_on_scrape(server->options.metrics, set_scraped, server) : 0;
}

/* One instrument under two names. */
static int duration_init(struct proa_server *server, struct proa_error *err)
{
    static const struct proa_metric_alias semconv = {
        .name = "http_server_request_duration_seconds",
        .labels = {"http_request_method", "http_route", "http_response_status_code"},
        .fixed_labels = "url_scheme=\"http\"",
    };
    enum proa_duration_names names = server->options.duration_names;
    const struct proa_metric_options options = {.name = "http_request_duration_seconds",
                                                .help = "From a request's head to the end of its answer",
                                                .unit = "seconds",
                                                .labels = {"method", "route", "status"},
                                                .is_hidden = names == PROA_DURATION_SEMCONV};

    PROA_TRY(proa_histogram_new(server->options.metrics, &options, &server->duration_metric, err));
    return names == PROA_DURATION_SHORT ? 0 : proa_histogram_show_as(server->duration_metric, &semconv, err);
}

void server_limits_show(struct proa_server *server)
{
    for (int limit = 0; server->options.metrics && limit < LIMITS; limit++)
        proa_gauge_set(server->limit_gauges[limit], (double)limit_value(&server->parts[0].limits, (enum limit)limit));
}

int server_metrics_init(struct proa_server *server, struct proa_error *err)
{
    struct proa_metrics *metrics = server->options.metrics;
    struct proa_gauge *gauge;
    struct proa_counter *counter;

    if (!metrics)
        return 0;
    PROA_TRY(proa_counter_new(metrics,
                              &(struct proa_metric_options){.name = "http_requests",
                                                            .help = "Requests answered",
                                                            .labels = {"method", "route", "status"}},
                              &server->requests_metric, err));
    PROA_TRY(duration_init(server, err));
    PROA_TRY(proa_gauge_new(metrics,
                            &(struct proa_metric_options){.name = "http_server_limit",
                                                          .help = "Limits of the server as configured",
                                                          .labels = {"limit"}},
                            &gauge, err));
    PROA_TRY(proa_counter_new(metrics,
                              &(struct proa_metric_options){.name = "http_server_limit_hits",
                                                            .help = "How often a limit of the server was reached",
                                                            .labels = {"limit"}},
                              &counter, err));
    for (int limit = 0; limit < LIMITS; limit++) {
        const proa_str name = proa_str_c(limit_names[limit]);

        server->limit_gauges[limit] = proa_gauge_with(gauge, &name);
        server->limit_series[limit] = proa_counter_with(counter, &name);
    }
    server_limits_show(server);
    return scraped_init(server, err);
}

static const char *const method_labels[METHOD_SLOTS] = {"_OTHER", "GET",   "HEAD",   "POST",
                                                        "PUT",    "PATCH", "DELETE", "OPTIONS"};

static unsigned method_slot(enum proa_method method)
{
    return method == PROA_METHOD_OTHER ? 0 : (unsigned)__builtin_ctz((unsigned)method) + 1;
}

static struct series *series_new(struct server_loop *part, const struct proa_req *req, unsigned method)
{
    struct series *series = calloc(1, sizeof *series);
    char status[PROA_U64_TEXT_MAX];
    proa_str values[] = {proa_str_c(method_labels[method]), proa_str_c(proa_req_route(req)),
                         proa_str_n(status, proa_u64_text((uint64_t)req->status, status))};

    if (!series)
        return NULL;
    series->status = (uint16_t)req->status;
    series->method = (uint8_t)method;
    series->requests = proa_counter_with(part->server->requests_metric, values);
    series->duration = proa_histogram_with(part->server->duration_metric, values);
    return series;
}

/* Of each bucket one sampled request is shown at a scrape: all slow ones may be it, of the many quick ones some. */
static bool wants_exemplar(struct server_loop *part, const struct proa_req *req, uint64_t duration_ns)
{
    enum { QUICK_MS = 5, QUICK_ONES = 16 };

    if (!req->traceparent.ptr && !req->traced)
        return false;
    if (duration_ns < PROA_MS(QUICK_MS) && ++part->exemplar_turn % QUICK_ONES != 0)
        return false;
    return (proa_req_trace(req)->flags & 1) != 0;
}

struct series *server_series(struct server_loop *part, const struct proa_req *req)
{
    unsigned method = method_slot(req->method);
    uint32_t slot = req->route ? req->route->index + 1 : 0;
    struct series *series;

    if (slot >= part->series_count)
        return NULL;
    for (series = part->series[slot]; series; series = series->next)
        if (series->status == req->status && series->method == method)
            return series;
    series = series_new(part, req, method);
    if (series) {
        series->next = part->series[slot];
        part->series[slot] = series;
    }
    return series;
}

void server_count_request(struct server_loop *part, const struct proa_req *req, const struct series *series,
                          uint64_t duration_ns)
{
    proa_counter_add(series->requests, part->shard, 1);
    proa_histogram_observe(series->duration, part->shard, (double)duration_ns * 1e-9,
                           wants_exemplar(part, req, duration_ns) ? proa_req_trace(req) : NULL);
}

int server_series_reserve(struct server_loop *part, uint32_t routes)
{
    struct series **series;

    if (!(part->server->options.metrics || part->access_log_all) || routes + 1 <= part->series_count)
        return 0;
    series = realloc(part->series, (routes + 1) * sizeof(struct series *));
    if (!series)
        return PROA_ENOMEM;
    for (uint32_t i = part->series_count; i <= routes; i++)
        series[i] = NULL;
    part->series = series;
    part->series_count = routes + 1;
    return 0;
}

void server_series_free(struct server_loop *part)
{
    for (uint32_t i = 0; i < part->series_count; i++)
        while (part->series[i]) {
            struct series *series = part->series[i];

            part->series[i] = series->next;
            log_form_free(series->form);
            free(series);
        }
    free(part->series);
    part->series = NULL;
    part->series_count = 0;
}
