/* The span of a request to another service, and how it is passed on to it; by the semantic conventions of HTTP
 * clients. */
#include "client_internal.h"

#include <string.h>

void client_trace_begin(const struct proa_client *client, const struct proa_client_request *request,
                        struct client_trace *ret_trace)
{
    const struct proa_span *present = proa_span_current(client->options.loop);
    struct proa_span_options options = {.kind = PROA_SPAN_CLIENT};

    if (request->trace && proa_trace_present(request->trace))
        options.remote = request->trace;
    *ret_trace = (struct client_trace){.is_present = options.remote || present || client->options.tracer};
    if (ret_trace->is_present)
        proa_span_start(client->options.tracer, client->options.loop, &options, &ret_trace->span);
}

static void add_b3_multi(struct proa_buf *head, const struct proa_trace_ids *ids)
{
    char trace_id[2 * sizeof ids->trace_id], span_id[2 * sizeof ids->span_id];

    proa_hex_encode(trace_id, proa_str_n((const char *)ids->trace_id, sizeof ids->trace_id));
    proa_hex_encode(span_id, proa_str_n((const char *)ids->span_id, sizeof ids->span_id));
    proa_buf_add_c(head, "X-B3-TraceId: ");
    proa_buf_add(head, proa_str_n(trace_id, sizeof trace_id));
    proa_buf_add_c(head, "\r\nX-B3-SpanId: ");
    proa_buf_add(head, proa_str_n(span_id, sizeof span_id));
    if (ids->flags & PROA_TRACE_DEBUG)
        proa_buf_add_c(head, "\r\nX-B3-Flags: 1\r\n");
    else if (ids->flags & PROA_TRACE_UNDECIDED)
        proa_buf_add_c(head, "\r\n");
    else
        proa_buf_printf(head, "\r\nX-B3-Sampled: %d\r\n", ids->flags & PROA_TRACE_SAMPLED ? 1 : 0);
}

static void add_field(struct proa_buf *head, const char *name, proa_str value)
{
    proa_buf_add_c(head, name);
    proa_buf_add_c(head, ": ");
    proa_buf_add(head, value);
    proa_buf_add_c(head, "\r\n");
}

void client_trace_fields(const struct proa_client *client, const struct client_trace *trace,
                         bool (*is_given)(const struct proa_client_request *request, const char *name),
                         const struct proa_client_request *request, struct proa_buf *head)
{
    unsigned how =
        client->options.propagate ? client->options.propagate : PROA_PROPAGATE_TRACECONTEXT | PROA_PROPAGATE_BAGGAGE;
    const struct proa_span *span = &trace->span;

    if (!trace->is_present)
        return;
    if (span->baggage.len > 0 && (how & PROA_PROPAGATE_BAGGAGE) && !is_given(request, "baggage"))
        add_field(head, "baggage", span->baggage);
    if (!proa_trace_present(&span->ids))
        return;
    /* W3C's header always says whether the trace is sampled: "not", where nobody has decided, would switch tracing off
     * behind us. */
    if ((how & PROA_PROPAGATE_TRACECONTEXT) && !(span->ids.flags & PROA_TRACE_UNDECIDED) &&
        !is_given(request, "traceparent")) {
        char text[PROA_TRACEPARENT_BYTES];

        proa_traceparent_write(&span->ids, text);
        add_field(head, "traceparent", proa_str_n(text, sizeof text));
        if (span->tracestate.len > 0 && !is_given(request, "tracestate"))
            add_field(head, "tracestate", span->tracestate);
    }
    if ((how & PROA_PROPAGATE_B3) && !is_given(request, "b3")) {
        char text[PROA_B3_MAX];

        add_field(head, "b3", proa_str_n(text, proa_b3_write(&span->ids, text)));
    }
    if ((how & PROA_PROPAGATE_B3MULTI) && !is_given(request, "X-B3-TraceId"))
        add_b3_multi(head, &span->ids);
}

/* Without the query, which may hold secrets. */
static void set_url(struct proa_span *span, const struct client_url *url)
{
    char text[PROA_SPAN_VALUE_MAX];
    ptrdiff_t query = proa_str_find_char(url->target, '?');
    proa_str path = query < 0 ? url->target : proa_str_slice(url->target, 0, (size_t)query);
    proa_str parts[] = {url->is_https ? PROA_STR("https://") : PROA_STR("http://"), url->host_field, path,
                        query < 0 ? PROA_STR("") : PROA_STR("?REDACTED")};
    size_t len = 0;

    for (size_t i = 0; i < PROA_COUNT(parts); i++) {
        size_t room = sizeof text - len, bytes = parts[i].len < room ? parts[i].len : room;

        memcpy(text + len, parts[i].ptr, bytes);
        len += bytes;
    }
    proa_span_set(span, proa_kv_str("url.full", proa_str_n(text, len)));
}

static void describe(struct proa_span *span, const struct proa_client_request *request, const struct client_url *url,
                     int rc, int status, uint32_t tries, const struct proa_error *err)
{
    const char *method = request->method ? request->method : "GET";
    char text[PROA_U64_TEXT_MAX];

    proa_span_rename(span, proa_str_c(method));
    proa_span_set(span, proa_kv_c("http.request.method", method));
    if (url->host.len > 0) {
        proa_span_set(span, proa_kv_str("server.address", url->host));
        proa_span_set(span, proa_kv_u64("server.port", url->port));
        set_url(span, url);
    }
    if (tries > 1)
        proa_span_set(span, proa_kv_u64("http.request.resend_count", tries - 1));
    if (rc < 0) {
        proa_span_set(span, proa_kv_c("error.type", proa_code_name(rc)));
        proa_span_set_status(span, PROA_SPAN_ERROR, proa_str_c(err && err->code ? err->message : ""));
        return;
    }
    proa_span_set(span, proa_kv_u64("http.response.status_code", (uint64_t)status));
    proa_span_set(span, proa_kv_c("network.protocol.version", "1.1"));
    if (status >= 400) {
        proa_span_set(span, proa_kv_str("error.type", proa_str_n(text, proa_u64_text((uint64_t)status, text))));
        proa_span_set_status(span, PROA_SPAN_ERROR, PROA_STR(""));
    }
}

void client_trace_end(struct client_trace *trace, const struct proa_client_request *request,
                      const struct client_url *url, int rc, int status, uint32_t tries, const struct proa_error *err)
{
    if (!trace->is_present)
        return;
    if (proa_span_is_recorded(&trace->span))
        describe(&trace->span, request, url, rc, status, tries, err);
    proa_span_end(&trace->span);
}
