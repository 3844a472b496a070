/* What clients count, by the semantic conventions of HTTP clients. */
#include "client_internal.h"

#include <stdio.h>

enum {
    LABELS = 5,
    SERIES_KEPT_MAX = 512, /* looked up here, without the registry's lock; further ones are asked of it each time */
    KEY_BYTES = CLIENT_HOST_MAX + 64,
};

static int counter_init(struct proa_metrics *metrics, const char *name, const char *help,
                        struct proa_counter_series **ret_series, struct proa_error *err)
{
    const struct proa_metric_options options = {.name = name, .help = help};
    struct proa_counter *counter;

    PROA_TRY(proa_counter_new(metrics, &options, &counter, err));
    *ret_series = proa_counter_with(counter, NULL);
    return 0;
}

int client_metrics_init(struct client_metrics *own, struct proa_metrics *metrics, uint64_t seed, struct proa_error *err)
{
    static const struct proa_metric_options durations = {
        .name = "http_client_request_duration_seconds",
        .help = "Duration of HTTP client requests until the head of the answer, repeats included",
        .unit = "seconds",
        .labels = {"http_request_method", "server_address", "server_port", "http_response_status_code", "error_type"}};
    static const struct proa_metric_options open = {.name = "http_client_open_connections",
                                                    .help = "Connections of HTTP clients, by state",
                                                    .labels = {"http_connection_state"}};
    struct proa_gauge *connections;

    if (!metrics)
        return 0;
    own->series = proa_map_new(seed);
    if (!own->series)
        return proa_fail(err, PROA_ENOMEM, "no memory for a client");
    PROA_TRY(proa_histogram_new(metrics, &durations, &own->durations, err));
    PROA_TRY(proa_gauge_new(metrics, &open, &connections, err));
    own->connections[CLIENT_IDLE] = proa_gauge_with(connections, &PROA_STR("idle"));
    own->connections[CLIENT_ACTIVE] = proa_gauge_with(connections, &PROA_STR("active"));
    PROA_TRY(
        counter_init(metrics, "http_client_request_resends", "Repeats of HTTP client requests", &own->resends, err));
    return counter_init(metrics, "http_client_request_resends_refused", "Repeats that the budget did not allow",
                        &own->resends_refused, err);
}

void client_metrics_done(struct client_metrics *own)
{
    proa_map_free(own->series);
    own->series = NULL;
}

/* Methods that nobody knows share one value, as the conventions want it. */
static proa_str method_label(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"};

    for (size_t i = 0; i < PROA_COUNT(known); i++)
        if (!method || strcmp(method, known[i]) == 0)
            return proa_str_c(method ? method : known[0]);
    return PROA_STR("_OTHER");
}

/* The series of a client's own requests are few and come again and again: the registry, whose lock all loops share, is
 * asked once. */
static struct proa_histogram_series *series_of(struct client_metrics *own, const proa_str values[LABELS])
{
    char key[KEY_BYTES];
    int len =
        snprintf(key, sizeof key, PROA_FMT " " PROA_FMT " " PROA_FMT " " PROA_FMT " " PROA_FMT, PROA_ARG(values[0]),
                 PROA_ARG(values[1]), PROA_ARG(values[2]), PROA_ARG(values[3]), PROA_ARG(values[4]));
    bool fits = len > 0 && (size_t)len < sizeof key;
    struct proa_histogram_series *series = fits ? proa_map_get(own->series, proa_str_n(key, (size_t)len)) : NULL;

    if (series)
        return series;
    series = proa_histogram_with(own->durations, values);
    if (fits && proa_map_count(own->series) < SERIES_KEPT_MAX)
        proa_ignore(proa_map_put(own->series, proa_str_n(key, (size_t)len), series, NULL));
    return series;
}

void client_metrics_observe(struct client_metrics *own, uint32_t shard, const struct client_observation *what)
{
    char code[PROA_U64_TEXT_MAX], port[PROA_U64_TEXT_MAX];
    bool has_status = what->rc == 0;
    proa_str values[LABELS] = {method_label(what->method), what->url->host,
                               proa_str_n(port, proa_u64_text(what->url->port, port)),
                               proa_str_n(code, has_status ? proa_u64_text((uint64_t)what->status, code) : 0)};

    if (!own->durations)
        return;
    if (!has_status)
        values[4] = proa_str_c(proa_code_name(what->rc));
    else
        values[4] = what->status >= 400 ? values[3] : PROA_STR("");
    proa_histogram_observe(series_of(own, values), shard, (double)what->duration_ns / 1e9, what->exemplar);
}
