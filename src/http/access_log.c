/* A line about a finished request: of failures and slow ones, or of all. */
#include "server_internal.h"

#include "conn.h"
#include "obs/log_form.h"

enum { FIELDS_MAX = 10 };

/* A streamed answer that we did not end, to a client that is there and waits for the rest. */
static bool is_broken_off(const struct proa_req *req)
{
    return req->reply == REPLY_FAILED && req->conn->stream && !req->conn->ended;
}

static enum proa_log_level level_of(const struct server_loop *part, const struct proa_req *req, bool slow)
{
    /* A probe that is told "not yet", several times a second, is no failure. */
    if (req->status == 503 && req->route && req->route->def->probe)
        return part->access_log_all ? PROA_LOG_INFO : PROA_LOG_OFF;
    if (req->status == 500)
        return PROA_LOG_ERROR;
    if (req->status > 500 || slow || is_broken_off(req))
        return PROA_LOG_WARN;
    return part->access_log_all ? PROA_LOG_INFO : PROA_LOG_OFF;
}

static uint32_t describe(const struct proa_req *req, bool aborted, uint64_t duration_ns, const char *peer,
                         struct proa_kv *fields)
{
    uint64_t duration_us = duration_ns / 1000; /* finer digits say nothing */
    uint32_t count = 0;

    fields[count++] = proa_kv_str("http.request.method", req->method_text);
    fields[count++] = proa_kv_str("url.path", req->path);
    if (req->route)
        fields[count++] = proa_kv_c("http.route", req->route->name);
    if (req->status)
        fields[count++] = proa_kv_u64("http.response.status_code", (uint64_t)req->status);
    fields[count++] = proa_kv_u64("http.response.body.size", req->reply_bytes);
    fields[count++] = proa_kv_f64("duration_ms", (double)duration_us / 1000);
    if (peer[0])
        fields[count++] = proa_kv_c("network.peer.address", peer);
    if (req->cause < 0)
        fields[count++] = proa_kv_c("error.type", proa_code_name(req->cause));
    if (req->error.code < 0 && req->error.message[0])
        fields[count++] = proa_kv_c("error.message", req->error.message);
    if (aborted)
        fields[count++] = proa_kv_bool("aborted", true);
    return count;
}

/* Most lines tell of a success, and differ in few values from the route's others. */
static __attribute__((noinline)) struct log_form *form_new(const struct proa_req *req)
{
    const struct log_form_field fields[] = {
        {proa_kv_str("http.request.method", req->method_text), LOG_FORM_CONSTANT},
        {{.key = "url.path"}, LOG_FORM_TEXT},
        {proa_kv_c("http.route", req->route->name), LOG_FORM_CONSTANT},
        {proa_kv_u64("http.response.status_code", (uint64_t)req->status), LOG_FORM_CONSTANT},
        {{.key = "http.response.body.size"}, LOG_FORM_NUMBER},
        {{.key = "duration_ms"}, LOG_FORM_THOUSANDTHS},
        {{.key = "network.peer.address"}, LOG_FORM_TEXT},
    };
    struct log_form *form = NULL;

    proa_ignore(log_form_new(&(struct log_form_options){.logger = &req->home->server->access_logger,
                                                        .level = PROA_LOG_INFO,
                                                        .message = PROA_STR("request"),
                                                        .fields = fields,
                                                        .count = PROA_COUNT(fields)},
                             &form));
    return form;
}

/* @returns false when the line has to be made the long way. */
static bool log_by_form(const struct proa_req *req, struct series *series, uint64_t duration_ns)
{
    const char *peer = conn_peer(req->conn);
    const union log_form_value values[] = {
        {.text = req->path}, {.number = req->reply_bytes}, {.number = duration_ns / 1000}, {.text = proa_str_c(peer)}};

    if (!series->form && !series->has_no_form) {
        series->form = form_new(req);
        series->has_no_form = !series->form;
    }
    return series->form && peer[0] && log_form_put(series->form, proa_req_trace(req), values);
}

static __attribute__((noinline)) void log_by_fields(const struct proa_req *req, enum proa_log_level level,
                                                    proa_str message, bool aborted, uint64_t duration_ns)
{
    struct proa_logger logger = req->home->server->access_logger;
    struct proa_kv fields[FIELDS_MAX];

    logger.ids = proa_req_trace(req);
    if (proa_log_enabled(&logger, level))
        proa_log_line(&logger, level, message, fields,
                      describe(req, aborted, duration_ns, conn_peer(req->conn), fields));
}

void server_log_request(struct server_loop *part, const struct proa_req *req, struct series *series, bool aborted,
                        uint64_t duration_ns)
{
    bool slow = duration_ns >= PROA_MS(part->slow_ms) && !req->sse;
    bool has_failed = req->status >= 500 || is_broken_off(req);
    enum proa_log_level level = level_of(part, req, slow);

    if (!part->server->options.logger || level == PROA_LOG_OFF)
        return;
    if (level == PROA_LOG_INFO && series && req->route && !aborted && !has_failed && req->cause >= 0 &&
        req->error.code >= 0 && req->method != PROA_METHOD_OTHER && log_by_form(req, series, duration_ns))
        return;
    log_by_fields(req, level,
                  has_failed ? PROA_STR("request failed")
                  : slow     ? PROA_STR("slow request")
                             : PROA_STR("request"),
                  aborted, duration_ns);
}
