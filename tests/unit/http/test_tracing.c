/* A trace through the server, a handler and the client, to the next server: spans, and what is passed on. */
#include "http_rig.h"

#include "attributes.h"
#include <proa/client.h>
#include <proa/tracer.h>

#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define HOST "Host: server:80\r\n"

/* What all routes share. */
struct world {
    struct proa_tracer *tracer; /* NULL: nobody traces */
    unsigned propagate;
    char seen[1024]; /* the fields of the second server's request */
};

static int fails(struct proa_req *req)
{
    return proa_fail(proa_req_error(req), PROA_EUNAVAILABLE, "the kitchen is closed");
}

static int sees(struct proa_req *req)
{
    struct world *world = proa_req_state(req);
    proa_str name, value;

    world->seen[0] = '\0';
    for (size_t i = 0; proa_req_header_at(req, i, &name, &value); i++) {
        size_t len = strlen(world->seen);

        snprintf(world->seen + len, sizeof world->seen - len, PROA_FMT ": " PROA_FMT "\n", PROA_ARG(name),
                 PROA_ARG(value));
    }
    return proa_reply_text(req, 200, PROA_STR("seen"));
}

static int calls(struct proa_req *req)
{
    struct world *world = proa_req_state(req);
    struct proa_client_options options = {
        .loop = proa_req_loop(req), .tracer = world->tracer, .propagate = world->propagate};
    struct proa_client_response response;
    struct proa_client *client;
    int rc;

    PROA_TRY(proa_client_new(&options, &client, proa_req_error(req)));
    rc = proa_client_fetch(client, proa_req_arena(req),
                           &(struct proa_client_request){.url = PROA_STR("http://server:80/sees?secret=1")}, &response,
                           proa_req_error(req));
    proa_client_free(client);
    PROA_TRY(rc);
    return proa_reply_text(req, 200, response.body);
}

static const struct proa_route routes[] = {
    {PROA_GET, "/calls/{id:u64}", calls},
    {PROA_GET, "/sees", sees},
    {PROA_GET, "/fails", fails},
    {PROA_GET, "/probe", sees, .probe = true},
    {PROA_GET, "/probe-calls", calls, .probe = true},
};

static void ignore(void *arg)
{
    (void)arg;
}

static void run(struct world *world, const char *sampler, void (*body)(struct rig *rig))
{
    struct proa_server_options options = {.state = world};

    if (sampler) {
        assert_int_equal(proa_tracer_new(&(struct proa_tracer_options){.sampler = sampler}, &world->tracer, NULL), 0);
        tracer_attach(world->tracer, 100, ignore, NULL);
    }
    options.tracer = world->tracer;
    rig_run(routes, PROA_COUNT(routes), &options, body);
    proa_tracer_free(world->tracer);
}

static struct proa_span_record *take(struct rig *rig, const char *name, enum proa_span_kind kind)
{
    struct world *world = rig->state;
    uint32_t count;
    struct proa_span_record *record = tracer_take(world->tracer, 1, &count);

    assert_non_null(record);
    if (!proa_str_eq_c(record->name, name))
        fail_msg("not %s but " PROA_FMT, name, PROA_ARG(record->name));
    assert_int_equal(record->kind, kind);
    return record;
}

static void has_text(const struct proa_span_record *record, const char *key, const char *text)
{
    const struct proa_kv *kv = attribute_of(record, key);

    if (!kv || kv->kind != PROA_KV_STR || !proa_str_eq_c(kv->as.str, text))
        fail_msg("%s is not %s but " PROA_FMT, key, text, PROA_ARG(kv ? kv->as.str : PROA_STR("absent")));
}

static void has_number(const struct proa_span_record *record, const char *key, uint64_t number)
{
    const struct proa_kv *kv = attribute_of(record, key);

    assert_non_null(kv);
    assert_int_equal(kv->as.u64, number);
}

static void is_child(const struct proa_span_record *child, const struct proa_span_record *parent)
{
    assert_memory_equal(child->ids.trace_id, parent->ids.trace_id, 16);
    assert_memory_equal(child->parent_id, parent->ids.span_id, 8);
}

static void through_body(struct rig *rig)
{
    struct world *world = rig->state;
    struct proa_span_record *second, *call, *first;
    struct rig_client client;

    rig_connect(rig, &client);
    assert_status(rig_ask(&client, "GET /calls/7 HTTP/1.1\r\n" HOST "User-Agent: test/1\r\ntraceparent: " PARENT
                                   "\r\ntracestate: a=1, ,b=2\r\nbaggage: who=me\r\n\r\n"),
                  200);
    second = take(rig, "GET /sees", PROA_SPAN_SERVER);
    call = take(rig, "GET", PROA_SPAN_CLIENT);
    first = take(rig, "GET /calls/{id}", PROA_SPAN_SERVER);
    is_child(second, call);
    is_child(call, first);
    assert_memory_equal(first->parent_id, "\x00\xf0\x67\xaa\x0b\xa9\x02\xb7", 8);
    assert_true(first->is_parent_remote && second->is_parent_remote && !call->is_parent_remote);
    has_text(first, "http.request.method", "GET");
    has_text(first, "url.path", "/calls/7");
    has_text(first, "url.scheme", "http");
    has_text(first, "http.route", "/calls/{id}");
    has_text(first, "server.address", "server");
    has_number(first, "server.port", 80);
    has_text(first, "user_agent.original", "test/1");
    has_text(first, "network.protocol.version", "1.1");
    has_number(first, "http.response.status_code", 200);
    assert_non_null(attribute_of(first, "client.address"));
    assert_null(attribute_of(first, "error.type"));
    assert_int_equal(first->status, PROA_SPAN_UNSET);
    assert_true(proa_str_eq_c(first->tracestate, "a=1,b=2"));
    has_text(call, "url.full", "http://server/sees?REDACTED");
    has_text(call, "server.address", "server");
    has_number(call, "server.port", 80);
    has_number(call, "http.response.status_code", 200);
    assert_has(world->seen, "tracestate: a=1,b=2\n");
    assert_has(world->seen, "baggage: who=me\n");
    assert_has(world->seen, "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-");
    assert_has_not(world->seen, "b3: ");
    span_record_free(first);
    span_record_free(call);
    span_record_free(second);
    rig_close(&client);
}

static void test_through(void **state)
{
    run(&(struct world){0}, "parentbased_always_on", through_body);
}

static void errors_body(struct rig *rig)
{
    struct world *world = rig->state;
    struct proa_span_record *record;
    struct rig_client client;
    uint32_t count;

    rig_connect(rig, &client);
    assert_status(rig_ask(&client, "GET /fails HTTP/1.1\r\n" HOST "\r\n"), 503);
    record = take(rig, "GET /fails", PROA_SPAN_SERVER);
    assert_int_equal(record->status, PROA_SPAN_ERROR);
    has_text(record, "error.type", "PROA_EUNAVAILABLE");
    assert_true(proa_str_eq_c(record->status_text, "the kitchen is closed"));
    assert_false(record->has_parent);
    span_record_free(record);
    assert_status(rig_ask(&client, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n"), 404);
    record = take(rig, "GET", PROA_SPAN_SERVER);
    assert_int_equal(record->status, PROA_SPAN_UNSET); /* the client's mistake */
    assert_null(attribute_of(record, "http.route"));
    span_record_free(record);
    assert_status(rig_ask(&client, "PURGE /sees HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n"), 501);
    record = take(rig, "HTTP", PROA_SPAN_SERVER);
    has_text(record, "http.request.method", "_OTHER");
    has_text(record, "http.request.method_original", "PURGE");
    has_text(record, "network.protocol.version", "1.0");
    span_record_free(record);
    /* Neither probes nor what the caller does not sample. */
    assert_status(rig_ask(&client, "GET /probe HTTP/1.1\r\n" HOST "traceparent: " PARENT "\r\n\r\n"), 200);
    assert_status(rig_ask(&client, "GET /probe-calls HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_has(world->seen, "traceparent: ");
    assert_has(world->seen, "-00\n"); /* the call itself, too, would only be noise */
    assert_status(rig_ask(&client, "GET /calls/1 HTTP/1.1\r\n" HOST
                                   "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n\r\n"),
                  200);
    assert_null(tracer_take(world->tracer, 1, &count));
    assert_has(world->seen, "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-");
    assert_has(world->seen, "-00\n");
    rig_close(&client);
}

static void test_errors(void **state)
{
    run(&(struct world){0}, "parentbased_always_on", errors_body);
}

static void untraced_body(struct rig *rig)
{
    struct world *world = rig->state;
    struct rig_client client;

    rig_connect(rig, &client);
    assert_status(rig_ask(&client, "GET /calls/7 HTTP/1.1\r\n" HOST "traceparent: " PARENT
                                   "\r\ntracestate: a=1\r\nbaggage: who=me\r\n\r\n"),
                  200);
    assert_has(world->seen, "traceparent: " PARENT "\n"); /* as it came */
    assert_has(world->seen, "tracestate: a=1\n");
    assert_has(world->seen, "baggage: who=me\n");
    assert_status(rig_ask(&client, "GET /calls/7 HTTP/1.1\r\n" HOST "traceparent: " PARENT
                                   "\r\ntracestate: =\r\nbaggage: ===\r\n\r\n"),
                  200);
    assert_has_not(world->seen, "tracestate");
    assert_has_not(world->seen, "baggage");
    rig_close(&client);
}

static void test_without_a_tracer(void **state)
{
    run(&(struct world){0}, NULL, untraced_body);
}

static void undecided_body(struct rig *rig)
{
    struct world *world = rig->state;
    struct rig_client client;

    rig_connect(rig, &client);
    /* Nothing came, and nobody here decides: the next one does. */
    assert_status(rig_ask(&client, "GET /calls/7 HTTP/1.1\r\n" HOST "baggage: who=me\r\ntracestate: a=1\r\n\r\n"), 200);
    assert_has_not(world->seen, "traceparent");
    assert_has_not(world->seen, "tracestate");
    assert_has(world->seen, "baggage: who=me\n");
    if (world->propagate) {
        assert_has(world->seen, "b3: ");
        assert_has(world->seen, "X-B3-TraceId: ");
        assert_has_not(world->seen, "-0\n");
        assert_has_not(world->seen, "X-B3-Sampled");
    }
    /* Ids without a decision, which W3C's header cannot say. */
    assert_status(rig_ask(&client, "GET /calls/7 HTTP/1.1\r\n" HOST
                                   "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7\r\n\r\n"),
                  200);
    assert_has_not(world->seen, "traceparent");
    if (world->propagate)
        assert_has(world->seen, "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7\n");
    /* A decision alone, without ids. */
    assert_status(rig_ask(&client, "GET /calls/7 HTTP/1.1\r\n" HOST "b3: 0\r\n\r\n"), 200);
    assert_has(world->seen, world->propagate ? "-0\n" : "-00\n");
    rig_close(&client);
}

static void test_nobody_has_decided(void **state)
{
    run(&(struct world){0}, NULL, undecided_body);
    run(&(struct world){.propagate = PROA_PROPAGATE_TRACECONTEXT | PROA_PROPAGATE_BAGGAGE | PROA_PROPAGATE_B3 |
                                     PROA_PROPAGATE_B3MULTI},
        NULL, undecided_body);
}

static void b3_body(struct rig *rig)
{
    struct world *world = rig->state;
    struct rig_client client;

    rig_connect(rig, &client);
    assert_status(rig_ask(&client, "GET /calls/7 HTTP/1.1\r\n" HOST
                                   "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1\r\n\r\n"),
                  200);
    assert_has(world->seen, "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1");
    assert_has(world->seen, "X-B3-TraceId: 4bf92f3577b34da6a3ce929d0e0e4736\n");
    assert_has(world->seen, "X-B3-SpanId: 00f067aa0ba902b7\n");
    assert_has(world->seen, "X-B3-Sampled: 1\n");
    assert_has_not(world->seen, "traceparent");
    rig_close(&client);
}

static void test_b3(void **state)
{
    run(&(struct world){.propagate = PROA_PROPAGATE_B3 | PROA_PROPAGATE_B3MULTI}, NULL, b3_body);
}

static void tune_body(struct rig *rig)
{
    struct proa_server_tuning tuning = {.limits = {.body_bytes = 1024, .target_bytes = 20, .fields = 1}};
    struct rig_client client;

    rig_connect(rig, &client);
    assert_status(rig_ask(&client, "GET /sees?" HOST "\r\n"), 400);
    rig_close(&client);
    proa_server_tune(rig->server, &tuning);
    assert_int_equal(rig_metric(rig, "http_server_limit{limit=\"body_bytes\"} "), 1024);
    assert_int_equal(rig_metric(rig, "http_server_limit{limit=\"fields\"} "), 100); /* not this one */
    rig_connect(rig, &client);
    assert_status(rig_ask(&client, "GET /sees?aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n" HOST "\r\n"), 414);
    rig_close(&client);
    rig_connect(rig, &client);
    assert_status(rig_ask(&client, "GET /sees HTTP/1.1\r\n" HOST "a: b\r\nc: d\r\n\r\n"), 200);
    rig_close(&client);
}

static void test_tuned_while_it_serves(void **state)
{
    run(&(struct world){0}, NULL, tune_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_through),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_without_a_tracer),
        cmocka_unit_test(test_nobody_has_decided),
        cmocka_unit_test(test_b3),
        cmocka_unit_test(test_tuned_while_it_serves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
