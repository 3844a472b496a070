/* One request to the API server: path, credentials, a place among those in flight, repeats, errors. */
#include "client_internal.h"

#include <assert.h>
#include <proa/checked.h>
#include <stdlib.h>

enum {
    IN_FLIGHT_DEFAULT = 16,
    REQUEST_DEFAULT_MS = 30000,
    ITEM_DEFAULT_BYTES = 4 * 1024 * 1024,
    ERROR_MAX_BYTES = 256 * 1024,
    BUSY_TRIES = 11 /* the first included */
};

static int metrics_init(struct proa_kube *kube, struct proa_error *err)
{
    if (!kube->options.metrics)
        return 0;
    PROA_TRY(proa_counter_new(
        kube->options.metrics,
        &(struct proa_metric_options){.name = "rest_client_requests",
                                      .help = "Requests to the API server by status code, method and host",
                                      .labels = {"code", "method", "host"}},
        &kube->requests, err));
    PROA_TRY(proa_counter_new(
        kube->options.metrics,
        &(struct proa_metric_options){.name = "proa_kube_skipped_objects",
                                      .help = "Objects of a kind that watches left out since they are too large",
                                      .labels = {"kind"}},
        &kube->skipped, err));
    return proa_histogram_new(kube->options.metrics,
                              &(struct proa_metric_options){.name = "rest_client_request_duration_seconds",
                                                            .help = "Time until the head of the API server's answer",
                                                            .unit = "seconds",
                                                            .labels = {"verb", "host"}},
                              &kube->durations, err);
}

int proa_kube_new(const struct proa_kube_options *options, struct proa_kube **ret_kube, struct proa_error *err)
{
    struct proa_kube *kube = calloc(1, sizeof *kube);
    int rc;

    if (!kube)
        return proa_fail(err, PROA_ENOMEM, "no memory for a client");
    kube->options = *options;
    kube->config = options->config;
    if (!kube->options.user_agent)
        kube->options.user_agent = "proa";
    if (!kube->options.field_manager)
        kube->options.field_manager = kube->options.user_agent;
    if (kube->options.requests_in_flight == 0)
        kube->options.requests_in_flight = IN_FLIGHT_DEFAULT;
    if (kube->options.request_ms == 0)
        kube->options.request_ms = REQUEST_DEFAULT_MS;
    if (kube->options.item_bytes == 0)
        kube->options.item_bytes = ITEM_DEFAULT_BYTES;
    kube_credentials_init(&kube->credentials, kube);
    proa_event_init(&kube->probed, options->loop);
    proa_list_init(&kube->watches);
    kube->places = proa_sem_new(options->loop, kube->options.requests_in_flight);
    rc = kube->places ? metrics_init(kube, err) : proa_fail(err, PROA_ENOMEM, "no memory for a client");
    if (rc < 0) {
        proa_kube_free(kube);
        return rc;
    }
    *ret_kube = kube;
    return 0;
}

void proa_kube_free(struct proa_kube *kube)
{
    if (!kube)
        return;
    kube_transport_free(kube);
    kube_credentials_done(&kube->credentials);
    proa_sem_free(kube->places);
    free(kube);
}

struct proa_loop *proa_kube_loop(const struct proa_kube *kube)
{
    return kube->options.loop;
}

const char *proa_kube_field_manager(const struct proa_kube *kube)
{
    return kube->options.field_manager;
}

void kube_query_add(struct proa_buf *query, const char *name, proa_str value)
{
    if (value.len == 0)
        return;
    if (query->len > 0)
        proa_buf_add_char(query, '&');
    proa_buf_add_c(query, name);
    proa_buf_add_char(query, '=');
    proa_percent_encode(query, value);
}

static void add_segment(struct proa_buf *out, proa_str text)
{
    proa_buf_add_char(out, '/');
    proa_percent_encode(out, text);
}

int kube_path(struct proa_buf *out, const struct proa_kube_request *request)
{
    const struct proa_kube_kind *kind = request->kind;

    if (request->path.ptr) {
        proa_buf_add(out, request->path);
    } else {
        proa_buf_add_c(out, kind->group[0] ? "/apis" : "/api");
        if (kind->group[0])
            add_segment(out, proa_str_c(kind->group));
        add_segment(out, proa_str_c(kind->version));
        if (!kind->is_cluster_scoped && request->namespace_.len > 0) {
            proa_buf_add_c(out, "/namespaces");
            add_segment(out, request->namespace_);
        }
        add_segment(out, proa_str_c(kind->plural));
        if (request->name.len > 0)
            add_segment(out, request->name);
        if (request->subresource)
            add_segment(out, proa_str_c(request->subresource));
    }
    if (request->query.len > 0) {
        proa_buf_add_char(out, '?');
        proa_buf_add(out, request->query);
    }
    return out->error;
}

static proa_str host_of(const struct proa_kube *kube)
{
    const char *slashes = strstr(kube->config->server, "://");
    proa_str host = proa_str_c(slashes ? slashes + 3 : kube->config->server);
    ptrdiff_t end = proa_str_find_char(host, '/');

    return end < 0 ? host : proa_str_slice(host, 0, (size_t)end);
}

static void measure(struct proa_kube *kube, const struct proa_kube_request *request, int status, uint64_t duration_ns)
{
    const char *method = request->method ? request->method : "GET";
    char text[PROA_U64_TEXT_MAX];
    proa_str code = status > 0 ? proa_str_n(text, proa_u64_text((uint64_t)status, text)) : PROA_STR("<error>");
    proa_str host = host_of(kube);
    uint32_t shard = proa_loop_index(kube->options.loop);

    if (!kube->requests)
        return;
    proa_counter_add(proa_counter_with(kube->requests, (const proa_str[]){code, proa_str_c(method), host}), shard, 1);
    proa_histogram_observe(proa_histogram_with(kube->durations, (const proa_str[]){proa_str_c(method), host}), shard,
                           (double)duration_ns / 1e9, NULL);
}

static int send_once(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_request *request,
                     uint64_t rejected, uint64_t *ret_generation, struct proa_exchange **ret_exchange,
                     struct proa_error *err)
{
    const struct proa_kube_config *config = kube->config;
    struct proa_client_field *fields = proa_arena_calloc(arena, 2 + config->impersonation_count, sizeof *fields);
    struct proa_client *client;
    struct proa_buf url;
    size_t count = 0;
    bool changed;
    proa_mono_ns start;
    int rc;

    PROA_TRY(kube_credentials_get(&kube->credentials, rejected, &changed, err));
    PROA_TRY(kube_transport_get(kube, changed, &client, err));
    proa_buf_init(&url, arena, 0);
    proa_buf_add_c(&url, kube->config->server);
    while (url.len > 0 && url.ptr[url.len - 1] == '/')
        url.len--;
    if (!fields || kube_path(&url, request) < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for a request");
    fields[count++] = (struct proa_client_field){"Accept", PROA_STR("application/json")};
    *ret_generation = kube->credentials.generation;
    if (kube->credentials.authorization)
        fields[count++] = (struct proa_client_field){"Authorization", proa_str_c(kube->credentials.authorization)};
    for (size_t i = 0; i < config->impersonation_count; i++)
        fields[count++] = config->impersonation[i];
    start = proa_loop_now_exact(kube->options.loop);
    rc = proa_client_open(
        client, arena,
        &(struct proa_client_request){.method = request->method,
                                      .url = proa_buf_str(&url),
                                      .fields = fields,
                                      .fields_count = count,
                                      .body = request->body,
                                      .content_type = !request->body.ptr      ? NULL
                                                      : request->content_type ? request->content_type
                                                                              : "application/json",
                                      /* An apply is the same done twice. */
                                      .may_repeat = request->method && strcmp(request->method, "PATCH") == 0 &&
                                                    request->content_type &&
                                                    strcmp(request->content_type, "application/apply-patch+yaml") == 0},
        ret_exchange, err);
    measure(kube, request, rc < 0 ? 0 : proa_exchange_status(*ret_exchange),
            proa_loop_now_exact(kube->options.loop) - start);
    return rc;
}

static uint32_t retry_after_s(const struct proa_exchange *exchange)
{
    uint32_t seconds = proa_exchange_retry_after_s(exchange);

    return seconds > 3600 ? 3600 : seconds;
}

static int read_all(struct proa_exchange *exchange, struct proa_arena *arena, size_t bytes_max, proa_str *ret_body,
                    struct proa_error *err)
{
    struct proa_buf body;
    proa_str piece;

    proa_buf_init(&body, arena, 0);
    for (;;) {
        PROA_TRY(proa_exchange_read(exchange, &piece, err));
        if (!piece.ptr)
            break;
        if (piece.len > bytes_max - body.len)
            return proa_fail(err, PROA_ETOOLARGE, "the API server's answer is larger than %zu bytes", bytes_max);
        if (proa_buf_add(&body, piece) < 0)
            return proa_fail(err, PROA_ENOMEM, "no memory for an answer");
    }
    *ret_body = proa_buf_str(&body);
    return 0;
}

int kube_open(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_request *request,
              struct proa_exchange **ret_exchange, struct proa_error *err)
{
    struct proa_exchange *exchange = NULL;
    proa_str body = {NULL, 0};
    uint64_t generation = 0;
    uint32_t after;
    int status, rc;

    rc = send_once(kube, arena, request, 0, &generation, &exchange, err);
    if (rc == PROA_EPROTOCOL)
        kube_transport_recheck(kube); /* a certificate that does not hold, perhaps of an authority that was replaced */
    PROA_TRY(rc);
    assert(exchange);
    if (proa_exchange_status(exchange) == 401 &&
        (kube->config->exec || kube->config->token_file || kube->config->cert_file)) {
        kube_transport_recheck(kube);
        proa_exchange_close(exchange);
        PROA_TRY(send_once(kube, arena, request, generation, &generation, &exchange, err));
    }
    status = proa_exchange_status(exchange);
    if (status < 300) {
        *ret_exchange = exchange;
        return 0;
    }
    after = retry_after_s(exchange);
    proa_ignore(read_all(exchange, arena, ERROR_MAX_BYTES, &body, NULL)); /* the status says enough */
    proa_exchange_close(exchange);
    return kube_status_error(body, status, after, err);
}

/* Whether the server has said when to come again, so that nothing was done. A lost answer and a 503 of its own making say no such thing. */
static bool asks_to_come_again(int rc, const struct proa_error *err)
{
    return (rc == PROA_EBUSY || rc == PROA_EUNAVAILABLE) && err->retry_after_s > 0;
}

/* As client-go does; the HTTP client's budget of repeats, which protects servers from their clients, does not count where the server itself
 * sets the pace. */
int kube_open_when_asked(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_request *request,
                         struct proa_exchange **ret_exchange, struct proa_error *err)
{
    struct proa_loop *loop = kube->options.loop;
    struct proa_error own = {0};

    if (!err)
        err = &own;
    for (uint32_t tries = 1;; tries++) {
        int rc = kube_open(kube, arena, request, ret_exchange, err);
        uint64_t wait;

        if (rc == 0 || !asks_to_come_again(rc, err) || tries == BUSY_TRIES)
            return rc;
        wait = PROA_SECONDS((uint64_t)err->retry_after_s);
        wait += proa_loop_random_u64(loop) % (wait / 8);
        if (proa_add_u64_sat(proa_loop_now_exact(loop), wait) >= proa_deadline(loop))
            return rc;
        proa_error_clear(err);
        rc = proa_sleep(loop, wait);
        if (rc < 0)
            return proa_fail(err, rc, "given up while the API server was busy");
    }
}

int proa_kube_send(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_request *request,
                   proa_str *ret_body, struct proa_error *err)
{
    struct proa_loop *loop = kube->options.loop;
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(kube->options.request_ms));
    struct proa_exchange *exchange = NULL;
    int rc = request->is_urgent ? 0 : proa_sem_acquire(kube->places);

    if (rc < 0)
        return proa_fail(err, rc, "no place among the %u requests in flight",
                         (unsigned)kube->options.requests_in_flight);
    rc = kube_open_when_asked(kube, arena, request, &exchange, err);
    if (rc == 0) {
        assert(exchange);
        rc = read_all(exchange, arena, kube->options.item_bytes, ret_body, err);
        proa_exchange_close(exchange);
    }
    if (!request->is_urgent)
        proa_sem_release(kube->places);
    return rc;
}
