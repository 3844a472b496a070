/* The span of a request: from the caller's trace, or a new one's root; by the semantic conventions of HTTP servers.
 *
 * Without a tracer the headers are only read when somebody asks for the ids: to log, or to call another service. */
#include "conn.h"
#include "h1.h"

#include <string.h>

/* Of the caller: W3C's header, or one of B3's forms. @returns whether it was W3C's. */
static bool incoming_ids(struct proa_req *req, struct proa_trace_ids *ret_ids)
{
    proa_str b3;

    if (req->traceparent.ptr && proa_traceparent_parse(req->traceparent, ret_ids))
        return true;
    if (req->trace_fields & H1_MAY_HAVE_B3) {
        b3 = proa_req_header(req, "b3");
        if ((b3.ptr && proa_b3_parse(b3, ret_ids)) ||
            proa_b3_parse_multi(proa_req_header(req, "X-B3-TraceId"), proa_req_header(req, "X-B3-SpanId"),
                                proa_req_header(req, "X-B3-Sampled"), proa_req_header(req, "X-B3-Flags"), ret_ids))
            return false;
    }
    *ret_ids = (struct proa_trace_ids){.flags = PROA_TRACE_UNDECIDED};
    return false;
}

/* It belongs to the traceparent beside it. */
static proa_str incoming_tracestate(struct proa_req *req)
{
    proa_str header = proa_req_header(req, "tracestate");
    char *room;
    size_t len;

    if (!header.ptr)
        return header;
    room = proa_arena_alloc(&req->arena, PROA_TRACESTATE_MAX);
    if (!room || !proa_tracestate_parse(header, room, &len))
        return proa_str_n(NULL, 0);
    return proa_str_n(room, len);
}

static proa_str incoming_baggage(struct proa_req *req)
{
    proa_str header = proa_req_header(req, "baggage");

    return header.ptr && proa_baggage_valid(header) ? header : proa_str_n(NULL, 0);
}

static struct proa_tracer *tracer_of(const struct proa_req *req)
{
    /* Probes are asked every few seconds: nobody would find anything else. */
    return req->route && req->route->def->probe ? NULL : req->home->server->options.tracer;
}

static __attribute__((noinline)) void begin_from_caller(struct proa_req *req)
{
    struct proa_trace_ids remote;
    struct proa_span_options options = {.kind = PROA_SPAN_SERVER, .remote = &remote};

    if (incoming_ids(req, &remote))
        options.tracestate = incoming_tracestate(req);
    if (req->trace_fields & H1_MAY_HAVE_BAGGAGE)
        options.baggage = incoming_baggage(req);
    proa_span_start(tracer_of(req), req->home->loop, &options, &req->span);
}

static void begin(struct proa_req *req)
{
    struct proa_trace_ids none = {.flags = PROA_TRACE_UNDECIDED};
    const struct proa_span_options root = {.kind = PROA_SPAN_SERVER, .remote = &none};

    req->traced = true;
    if (req->home->server->options.tracer && !tracer_of(req))
        none.flags = 0; /* what a probe calls is not traced either */
    if (req->traceparent.ptr || req->trace_fields)
        begin_from_caller(req);
    else
        proa_span_start(tracer_of(req), req->home->loop, &root, &req->span);
}

const struct proa_trace_ids *proa_req_trace(const struct proa_req *const_req)
{
    struct proa_req *req = (struct proa_req *)(uintptr_t)const_req;

    if (!req->traced) {
        req->span.resolve = NULL;
        begin(req);
    }
    return &req->span.ids;
}

static void resolve(struct proa_span *span)
{
    begin(PROA_CONTAINER(span, struct proa_req, span));
}

void req_span_enter(struct proa_req *req)
{
    proa_fiber_set_span(req->fiber, &req->span);
    if (req->home->server->options.tracer)
        begin(req);
    else
        req->span.resolve = resolve;
}

static void set_name(struct proa_req *req, proa_str method)
{
    char name[PROA_SPAN_NAME_MAX];
    proa_str route = proa_str_c(proa_req_route(req));
    size_t len = method.len;

    memcpy(name, method.ptr, method.len); /* a short one of ours */
    if (route.len > 0 && len + 1 + route.len <= sizeof name) {
        name[len++] = ' ';
        memcpy(name + len, route.ptr, route.len);
        len += route.len;
    }
    proa_span_rename(&req->span, proa_str_n(name, len));
}

/* "host:port", "[::1]:port", "unix:". */
struct address {
    proa_str host;
    uint64_t port;
    bool has_port;
};

static struct address read_address(proa_str text)
{
    struct address address = {0};
    ptrdiff_t colon = -1;

    for (size_t i = text.len; i > 0 && text.ptr[i - 1] != ']'; i--)
        if (text.ptr[i - 1] == ':') {
            colon = (ptrdiff_t)i - 1;
            break;
        }
    if (colon >= 0 && proa_str_to_u64(proa_str_slice(text, (size_t)colon + 1, text.len), &address.port) == 0) {
        address.has_port = true;
        text = proa_str_slice(text, 0, (size_t)colon);
    }
    if (text.len > 2 && text.ptr[0] == '[')
        text = proa_str_slice(text, 1, text.len - 1);
    address.host = text;
    return address;
}

static void set_address(struct proa_span *span, const struct address *address, const char *host_key,
                        const char *port_key)
{
    if (address->has_port)
        proa_span_set(span, proa_kv_u64(port_key, address->port));
    if (address->host.len > 0)
        proa_span_set(span, proa_kv_str(host_key, address->host));
}

static void set_client(struct proa_req *req)
{
    const char *peer = conn_peer(req->conn);
    struct address address;

    if (!peer[0])
        return;
    address = read_address(proa_str_c(peer));
    set_address(&req->span, &address, "network.peer.address", "network.peer.port");
    set_address(&req->span, &address, "client.address", "client.port");
}

/* Errors are those of the server (5xx), and answers that were not completed. */
static void set_outcome(struct proa_req *req, bool aborted)
{
    struct proa_span *span = &req->span;
    char status[PROA_U64_TEXT_MAX];
    proa_str text = proa_str_n(status, proa_u64_text((uint64_t)req->status, status));

    if (req->status)
        proa_span_set(span, proa_kv_u64("http.response.status_code", (uint64_t)req->status));
    proa_span_set(span, proa_kv_u64("http.response.body.size", req->reply_bytes));
    if (req->status < 500 && !aborted)
        return;
    proa_span_set(span, req->cause < 0 ? proa_kv_c("error.type", proa_code_name(req->cause))
                                       : proa_kv_str("error.type", req->status >= 500 ? text : PROA_STR("aborted")));
    proa_span_set_status(span, PROA_SPAN_ERROR, proa_str_c(req->error.code < 0 ? req->error.message : ""));
}

static void describe(struct proa_req *req, bool aborted)
{
    struct proa_span *span = &req->span;
    bool is_known = req->method != PROA_METHOD_OTHER;
    proa_str agent = proa_req_header(req, "User-Agent");
    struct address address;

    set_name(req, is_known ? req->method_text : PROA_STR("HTTP"));
    proa_span_set(span, proa_kv_str("http.request.method", is_known ? req->method_text : PROA_STR("_OTHER")));
    if (!is_known && req->method_text.len > 0)
        proa_span_set(span, proa_kv_str("http.request.method_original", req->method_text));
    proa_span_set(span, proa_kv_str("url.path", req->path));
    proa_span_set(span, proa_kv_c("url.scheme", "http"));
    if (req->route)
        proa_span_set(span, proa_kv_c("http.route", req->route->name));
    proa_span_set(span, proa_kv_c("network.protocol.version", req->is_http10 ? "1.0" : "1.1"));
    address = read_address(req->host);
    set_address(span, &address, "server.address", "server.port");
    set_client(req);
    if (agent.ptr)
        proa_span_set(span, proa_kv_str("user_agent.original", agent));
    set_outcome(req, aborted);
}

void req_span_end(struct proa_req *req, bool aborted)
{
    if (!req->traced)
        return;
    if (proa_span_is_recorded(&req->span))
        describe(req, aborted);
    proa_span_end(&req->span);
}
