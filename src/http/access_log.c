/* A line about a finished request: of failures and slow ones, or of all. */
#include "server_internal.h"

#include "conn.h"

enum { FIELDS_MAX = 10 };

static enum proa_log_level level_of(const struct server_loop *part, const struct proa_req *req, bool slow)
{
    /* A probe that is told "not yet", several times a second, is no failure. */
    if (req->status == 503 && req->route && req->route->def->probe)
        return part->server->options.access_log_all ? PROA_LOG_INFO : PROA_LOG_OFF;
    if (req->status == 500)
        return PROA_LOG_ERROR;
    if (req->status > 500 || slow)
        return PROA_LOG_WARN;
    return part->server->options.access_log_all ? PROA_LOG_INFO : PROA_LOG_OFF;
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

void server_log_request(struct server_loop *part, const struct proa_req *req, bool aborted, uint64_t duration_ns)
{
    const struct proa_server_options *options = &part->server->options;
    bool slow = duration_ns >= PROA_MS(options->slow_ms) && !req->sse;
    enum proa_log_level level = level_of(part, req, slow);
    struct proa_kv fields[FIELDS_MAX];
    char peer[PROA_ADDRESS_MAX] = "";

    if (!options->logger || level == PROA_LOG_OFF || !proa_log_enabled(proa_req_log(req), level))
        return;
    conn_peer(req->conn, peer);
    proa_log_line(proa_req_log(req), level,
                  req->status >= 500 ? PROA_STR("request failed")
                  : slow             ? PROA_STR("slow request")
                                     : PROA_STR("request"),
                  fields, describe(req, aborted, duration_ns, peer, fields));
}
