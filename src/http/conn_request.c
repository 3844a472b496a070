/* One request: from its head to the end of its answer. */
#include "conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Parsers are kept by the loop and lent to connections while a message is under way. */
static int parser_begin(struct conn *conn)
{
    struct server_loop *part = conn->part;

    if (conn->parser)
        return 0;
    if (part->parsers_count > 0) {
        conn->parser = part->parsers[--part->parsers_count];
    } else {
        conn->parser = malloc(h1_parser_bytes(&part->h1_limits));
        if (!conn->parser)
            return PROA_ENOMEM;
        h1_init(conn->parser, &part->h1_limits);
    }
    h1_start(conn->parser, conn->blank);
    return 0;
}

void conn_parser_free(struct conn *conn)
{
    struct server_loop *part = conn->part;

    if (!conn->parser)
        return;
    if (part->parsers_count < PARSERS_KEPT)
        part->parsers[part->parsers_count++] = conn->parser;
    else
        free(conn->parser);
    conn->parser = NULL;
}

/* A request object with the head in its arena. */
static struct proa_req *req_from_head(struct conn *conn, size_t bytes)
{
    const struct h1_parser *parser = conn->parser;
    struct proa_req *req = req_new(conn->part);
    char *text;

    if (!req)
        return NULL;
    text = proa_arena_alloc(&req->arena, bytes);
    req->fields = proa_arena_alloc(&req->arena, parser->fields_count * sizeof *req->fields);
    if (!text || !req->fields) {
        req_free(req);
        return NULL;
    }
    memcpy(text, conn->input.ptr, bytes);
    req->fields_count = parser->fields_count;
    for (uint32_t i = 0; i < parser->fields_count; i++) {
        const struct h1_field *field = &parser->fields[i];

        req->fields[i] = (struct req_field){proa_str_n(text + field->name.at, field->name.len),
                                            proa_str_n(text + field->value.at, field->value.len)};
    }
    req->method = parser->method;
    req->method_text = proa_str_n(text + parser->method_text.at, parser->method_text.len);
    req->path = parser->path.len      ? proa_str_n(text + parser->path.at, parser->path.len)
                : parser->is_asterisk ? PROA_STR("*")
                                      : PROA_STR("/");
    req->query = proa_str_n(text + parser->query.at, parser->query.len);
    req->host = proa_str_n(text + parser->host.at, parser->host.len);
    req->is_http10 = parser->minor == 0;
    req->keep_alive = parser->keep_alive;
    req->expect_continue = parser->expects_continue && parser->has_body;
    req->body_complete = !parser->has_body;
    req->body_known_length = parser->has_length;
    req->body_length = parser->content_length;
    req->trace_fields = parser->trace_fields;
    if (parser->traceparent)
        req->traceparent = req->fields[parser->traceparent - 1].value;
    return req;
}

/* The answers of requests whose last byte was taken by the kernel, or never will be. */
void conn_unsent_done(struct conn *conn, bool aborted)
{
    struct proa_req *req = conn->unsent, *oldest = NULL;

    conn->unsent = NULL;
    while (req) {
        struct proa_req *next = req->next;

        req->next = oldest;
        oldest = req;
        req = next;
    }
    while (oldest) {
        struct proa_req *next = oldest->next;

        req_tell_done(oldest, aborted, conn->part->now);
        req_free(oldest);
        oldest = next;
    }
}

static void uncount(struct proa_req *req)
{
    if (req->counted) {
        req->counted = false;
        atomic_fetch_sub_explicit(&req->home->server->shared.in_flight, 1, memory_order_relaxed);
    }
}

static void look_back(struct proa_req *req, bool aborted)
{
    struct server_loop *part = req->home;
    uint64_t duration_ns = part->now > req->started ? part->now - req->started : 0;
    struct series *series = req->status ? server_series(part, req) : NULL;

    if (req->deadline && part->now >= req->deadline && req->cause == PROA_ETIMEDOUT)
        limit_hit(part, LIMIT_REQUEST_MS);
    if (PROA_UNLIKELY(req->status >= 500 || aborted) || duration_ns >= part->log_from_ns)
        server_log_request(part, req, series, aborted, duration_ns);
    if (series && series->requests)
        server_count_request(part, req, series, duration_ns);
}

void conn_finish_request(struct conn *conn)
{
    struct proa_req *req = conn->req;
    struct server_loop *part = conn->part;
    bool aborted = req->reply != REPLY_COMPLETE;
    /* A client can tell that chunks or a known length were broken off. Then the connection is ended in order, or answers before this
     * one, not read yet, would be lost with it. Content that ends with the connection is only told to be broken by a reset. */
    bool reset = aborted && !req->chunked && req->reply_left < 0;
    bool close = aborted || req->close_after;

    part->now = proa_loop_now_exact(part->loop);
    uncount(req);
    if (req->reply == REPLY_UNANSWERED)
        req->status = 0; /* of what nobody was told: no failure to count or to tell */
    look_back(req, aborted);
    req_span_end(req, aborted);
    if (req->sse)
        sse_done(req);
    if (conn->state != CONN_CLOSED && !close && !req->body_complete) {
        conn_set_state(conn, CONN_DISCARDING);
        conn->discarded = 0;
    }
    conn->req = NULL;
    if (conn->stream && !aborted && req->done) {
        req->next = conn->unsent;
        conn->unsent = req;
    } else {
        req_tell_done(req, aborted, part->now);
        req_free(req);
    }
    if (conn->state == CONN_CLOSED || conn->state == CONN_DISCARDING)
        return;
    if (reset) {
        conn_close(conn, true, 0);
    } else if (!close) {
        conn_set_state(conn, CONN_IDLE);
    } else if (part->current != conn || conn_flush_out(conn) == 0) {
        conn_linger(conn);
    }
}

static int request_fiber(void *arg)
{
    struct proa_req *req = arg;
    struct conn *conn = req->conn;

    req->fiber = proa_fiber_current(req->home->loop);
    proa_fiber_set_context(req->fiber, req);
    req_span_enter(req);
    req_run(req);
    req->fiber = NULL;
    if (req->sse && sse_fiber_ended(req)) {
        uncount(req); /* the stream goes on without us */
        return 0;
    }
    req->finished = true;
    if (!conn->busy)
        conn_later(conn); /* it was suspended: nobody on the stack waits for us */
    return 0;
}

static void answer_error(struct proa_req *req, unsigned status, int code, const char *text)
{
    proa_fail(&req->error, code, "%s", text);
    reply_failure(req, (int)status, &req->error);
    req->cause = code;
    req->finished = true;
}

/* Methods that are known to HTTP but that no route can have: allowed nowhere, so 405 and not 501. */
static bool is_registered(proa_str method)
{
    return proa_str_eq(method, PROA_STR("TRACE")) || proa_str_eq(method, PROA_STR("QUERY"));
}

static void find_route(struct proa_req *req)
{
    struct route_match match __attribute__((uninitialized));
    int rc;

    if (req->method == PROA_METHOD_OTHER && !is_registered(req->method_text)) {
        req->builtin = BUILTIN_UNKNOWN_METHOD;
        return;
    }
    if (req->method == PROA_OPTIONS && proa_str_eq(req->path, PROA_STR("*"))) {
        req->builtin = BUILTIN_METHOD;
        req->allow = req->home->methods;
        return;
    }
    rc = router_find(req->router, req->method, req->path, &req->arena, &match);
    if (rc < 0) {
        req->builtin = BUILTIN_BAD_PATH;
    } else if (match.route) {
        req->route = match.route;
        req->params_count = match.route->params;
        memcpy(req->params, match.values, req->params_count * sizeof(proa_str));
    } else if (match.allow) {
        req->builtin = BUILTIN_METHOD;
        req->allow = match.allow;
    } else if (match.bad_param.ptr) {
        req->builtin = BUILTIN_BAD_PARAM;
        req->bad_param = match.bad_param;
        req->bad_kind = match.bad_kind;
    } else {
        req->builtin = BUILTIN_NOT_FOUND;
    }
}

static void run_in_fiber(struct proa_req *req, bool probe)
{
    struct server_loop *part = req->home;
    int rc;

    if (!part->has_group) {
        proa_group_init(&part->group, part->loop); /* here, where no fiber runs: it is nobody's child */
        part->has_group = true;
    }
    rc = proa_group_run_now(
        &part->group,
        &(struct proa_fiber_options){.name = req->route ? req->route->name : "http", .deadline = req->deadline},
        request_fiber, req);
    if (rc < 0) {
        if (rc == PROA_EBUSY)
            limit_hit(part, LIMIT_REQUESTS_IN_FLIGHT);
        answer_error(req, 503, rc, rc == PROA_EBUSY ? "too many requests are in flight" : "memory is out");
    } else if (!req->finished && req->fiber && !probe) {
        req->counted = true;
        atomic_fetch_add_explicit(&part->server->shared.in_flight, 1, memory_order_relaxed);
    }
}

static void start_request(struct conn *conn, struct proa_req *req)
{
    struct server_loop *part = conn->part;
    struct proa_server *server = part->server;
    const struct proa_server_limits *limits = &part->limits;
    uint32_t timeout_ms = limits->request_ms;
    bool probe = false;

    conn->req = req;
    req->conn = conn;
    req->started = part->now;
    req->body_max = limits->body_bytes;
    req->close_after = !req->keep_alive || server_phase(server) != SERVER_SERVING;
    conn_set_state(conn, CONN_SERVING);
    if (req->body_complete)
        conn_parser_free(conn);
    else
        conn_wait_for(conn, WAIT_BODY);
    if (conn->ended)
        conn_may_be_gone(conn);
    find_route(req);
    if (req->route) {
        const struct proa_route *def = req->route->def;

        probe = def->probe;
        timeout_ms = def->timeout_ms ? def->timeout_ms : timeout_ms;
        req->body_max = def->body_bytes_max ? def->body_bytes_max : req->body_max;
    }
    req->deadline = req->started + PROA_MS(timeout_ms);
    if (!probe && atomic_load_explicit(&server->shared.in_flight, memory_order_relaxed) >= limits->requests_in_flight) {
        limit_hit(part, LIMIT_REQUESTS_IN_FLIGHT);
        answer_error(req, 503, PROA_EBUSY, "too many requests are in flight");
        return;
    }
    run_in_fiber(req, probe);
}

void conn_refuse(struct conn *conn, unsigned status, int code, const char *text)
{
    struct proa_req *req = req_new(conn->part);

    if (!req) {
        conn_close(conn, true, PROA_ENOMEM);
        return;
    }
    req->conn = conn;
    req->started = conn->part->now;
    req->close_after = true;
    req->body_complete = true;
    req->method_text = req->path = req->query = req->host = proa_str_n("", 0);
    conn->req = req;
    conn->busy++;
    conn_set_state(conn, CONN_SERVING);
    answer_error(req, status, code, text);
    conn_finish_request(conn);
    conn->busy--;
    conn_maybe_free(conn);
}

static void refuse_input(struct conn *conn)
{
    static const uint8_t limits[] = {
        [H1_LIMIT_HEAD] = LIMIT_HEAD_BYTES, [H1_LIMIT_FIELDS] = LIMIT_FIELDS, [H1_LIMIT_TARGET] = LIMIT_TARGET_BYTES};
    const struct h1_parser *parser = conn->parser;

    if (parser->limit != H1_LIMIT_NONE)
        limit_hit(conn->part, (enum limit)limits[parser->limit]);
    conn_refuse(conn, parser->status, parser->status >= 500 ? PROA_EUNSUPPORTED : PROA_EINVAL, parser->text);
}

bool conn_step_head(struct conn *conn)
{
    struct proa_req *req;
    size_t used;

    if (conn->input.len == 0)
        return false;
    if (parser_begin(conn) < 0) {
        conn_close(conn, true, PROA_ENOMEM);
        return false;
    }
    switch (h1_head(conn->parser, conn->input, &used)) {
    case H1_HEAD:
        req = req_from_head(conn, used);
        if (!req) {
            conn_close(conn, true, PROA_ENOMEM);
            return false;
        }
        conn->blank = false;
        conn_use(conn, used);
        start_request(conn, req);
        return true;
    case H1_MORE:
        if (h1_is_blank(conn->parser)) {
            /* Just the empty line: the connection is idle all the same. */
            conn->blank = true;
            conn_use(conn, conn->input.len);
            conn_parser_free(conn);
            if (conn->state != CONN_IDLE) /* its two bytes came one by one */
                conn_set_state(conn, CONN_IDLE);
        } else if (conn->state != CONN_HEAD) {
            conn_set_state(conn, CONN_HEAD);
        }
        return false;
    default: refuse_input(conn); return false;
    }
}
