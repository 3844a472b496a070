/* Every limit of the server is reached here, and says so in its metric. */
#include "http_rig.h"

#include "http/server_internal.h"
#include <malloc.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static int hello(struct proa_req *req)
{
    return proa_reply_text(req, 200, PROA_STR("hello"));
}

static int echo(struct proa_req *req)
{
    proa_str body;

    PROA_TRY(proa_req_body(req, &body));
    return proa_reply(req, 200, "application/octet-stream", body);
}

static int waits(struct proa_req *req)
{
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_SECONDS(3)));
    return proa_reply_text(req, 200, PROA_STR("done"));
}

static int large(struct proa_req *req)
{
    struct proa_buf *body = proa_reply_body(req);

    PROA_TRY(proa_buf_reserve(body, 1000 * 1000));
    memset(body->ptr, 'x', 1000 * 1000);
    body->len = 1000 * 1000;
    return proa_reply_buffer(req, 200, "text/plain");
}

/* A body taken piece by piece, after a while. */
static int takes_late(struct proa_req *req)
{
    size_t bytes = 0;
    proa_str piece;

    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_SECONDS(3)));
    do {
        PROA_TRY(proa_req_body_read(req, &piece));
        bytes += piece.len;
    } while (piece.ptr);
    return proa_reply_printf(req, 200, "%zu", bytes);
}

/* Of its own accord, without a look at the body. */
static int not_found_late(struct proa_req *req)
{
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_SECONDS(3)));
    return proa_fail(proa_req_error(req), PROA_ENOTFOUND, "it is not there");
}

static int events(struct proa_req *req)
{
    struct proa_sse *sse;

    return proa_reply_sse(req, NULL, &sse);
}

static const struct proa_route routes[] = {
    {PROA_GET, "/hello", hello},      {PROA_GET, "/probe", hello, .probe = true},
    {PROA_POST, "/echo", echo},       {PROA_POST, "/small", echo, .body_bytes_max = 4},
    {PROA_GET, "/waits", waits},      {PROA_GET, "/short", waits, .timeout_ms = 100},
    {PROA_GET, "/large", large},      {PROA_GET, "/events", events},
    {PROA_POST, "/late", takes_late}, {PROA_POST, "/not-found", not_found_late},
};

static void run(struct proa_server_limits limits, void (*body)(struct rig *rig))
{
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.limits = limits}, body);
}

static void sleep_ms(struct rig *rig, uint64_t ms)
{
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(ms)), 0);
}

static void connections_body(struct rig *rig)
{
    struct rig_client first, second, third, fourth;
    const char *answer;

    assert_int_equal(rig_metric(rig, "http_server_limit{limit=\"connections\"} "), 2);
    rig_connect(rig, &first);
    assert_status(rig_ask(&first, GET("/hello")), 200);
    rig_connect(rig, &second);
    assert_status(rig_ask(&second, GET("/hello")), 200);
    /* The oldest idle one makes room. */
    rig_connect(rig, &third);
    assert_status(rig_ask(&third, GET("/hello")), 200);
    assert_string_equal(rig_rest(&first), "");
    rig_send(&second, GET("/waits"));
    rig_send(&third, GET("/waits"));
    sleep_ms(rig, 10);
    /* None is idle. */
    rig_connect(rig, &fourth);
    answer = rig_rest(&fourth);
    assert_status(answer, 503);
    assert_has(answer, "Connection: close\r\n");
    assert_has(answer, "Retry-After: 1\r\n");
    assert_string_equal(rig_content(rig_answer(&second)), "done");
    assert_string_equal(rig_content(rig_answer(&third)), "done");
    assert_int_equal(rig_hits(rig, "connections"), 2);
    rig_close(&first);
    rig_close(&second);
    rig_close(&third);
    rig_close(&fourth);
}

/* Room that was promised to another loop, when none is idle any more: the next answers close, until it is made. */
static void owed_room_body(struct rig *rig)
{
    struct server_loop *part = &rig->server->parts[0];
    struct rig_client first, second;

    rig_connect(rig, &first);
    rig_connect(rig, &second);
    rig_send(&first, GET("/waits"));
    rig_send(&second, GET("/waits"));
    sleep_ms(rig, 10);
    part->limits.connections = 1; /* as if another loop had taken one more */
    atomic_store(&part->reap_count, 1);
    part->reap.run(&part->reap);
    assert_int_equal(atomic_load(&part->reap_count), 0);
    assert_has(rig_answer(&first), "Connection: close\r\n");
    assert_string_equal(rig_rest(&first), "");
    assert_has_not(rig_answer(&second), "Connection: close");
    assert_has_not(rig_ask(&second, GET("/hello")), "Connection: close");
    rig_close(&first);
    rig_close(&second);
}

static void test_owed_room(void **state)
{
    run((struct proa_server_limits){0}, owed_room_body);
}

static void test_connections(void **state)
{
    run((struct proa_server_limits){.connections = 2}, connections_body);
}

/* The counts are of several threads, read one after the other: as if of ten idle ones nine had been closed in between. */
static void counts_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    assert_status(rig_ask(&client, GET("/hello")), 200);
    assert_true(rig_metric(rig, "http_server_connections{state=\"idle\"} ") == 1);
    assert_true(rig_metric(rig, "http_server_connections{state=\"active\"} ") == 0);
    atomic_fetch_add(&rig->server->parts[0].idle_count, 9);
    assert_true(rig_metric(rig, "http_server_connections{state=\"active\"} ") == 0);
    atomic_fetch_sub(&rig->server->parts[0].idle_count, 9);
    rig_close(&client);
}

static void test_counts(void **state)
{
    run((struct proa_server_limits){0}, counts_body);
}

static void in_flight_body(struct rig *rig)
{
    struct rig_client first, second;
    struct proa_server_counts counts;
    const char *answer;

    rig_connect(rig, &first);
    rig_connect(rig, &second);
    rig_send(&first, GET("/waits"));
    sleep_ms(rig, 10);
    proa_server_counts(rig->server, &counts);
    assert_int_equal(counts.in_flight, 1);
    assert_int_equal(counts.connections, 2);
    answer = rig_ask(&second, GET("/hello"));
    assert_status(answer, 503);
    assert_has(answer, "Retry-After: 1\r\n");
    assert_has_not(answer, "Connection: close");
    assert_status(rig_ask(&second, GET("/probe")), 200);
    assert_status(rig_answer(&first), 200);
    assert_status(rig_ask(&second, GET("/hello")), 200);
    assert_int_equal(rig_hits(rig, "requests_in_flight"), 1);
    rig_close(&first);
    rig_close(&second);
}

static void test_in_flight(void **state)
{
    run((struct proa_server_limits){.requests_in_flight = 1}, in_flight_body);
}

/* More requests than the loop was made for, once they are allowed. */
static void raised_body(struct rig *rig)
{
    enum { CLIENTS = 2500 };
    static struct rig_client clients[CLIENTS];
    const struct proa_server_tuning tuning = {.limits = {.requests_in_flight = CLIENTS}};

    proa_server_tune(rig->server, &tuning);
    for (size_t i = 0; i < CLIENTS; i++) {
        rig_connect(rig, &clients[i]);
        rig_send(&clients[i], GET("/waits"));
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_status(rig_answer(&clients[i]), 200);
        rig_close(&clients[i]);
    }
    assert_int_equal(rig_hits(rig, "requests_in_flight"), 0);
}

static void test_raised_in_flight(void **state)
{
    run((struct proa_server_limits){0}, raised_body);
}

static void streams_body(struct rig *rig)
{
    struct rig_client first, second;

    rig_connect(rig, &first);
    rig_connect(rig, &second);
    rig_send(&first, GET("/events"));
    assert_has(rig_until(&first, "\r\n\r\n"), "text/event-stream");
    assert_status(rig_ask(&second, GET("/events")), 503);
    rig_close(&first);
    sleep_ms(rig, 10);
    rig_send(&second, GET("/events"));
    assert_has(rig_until(&second, "\r\n\r\n"), "text/event-stream");
    assert_int_equal(rig_hits(rig, "streams"), 1);
    rig_close(&second);
}

static void test_streams(void **state)
{
    run((struct proa_server_limits){.streams = 1}, streams_body);
}

static void refused(struct rig *rig, const char *request, int status)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    rig_send(&client, request);
    answer = rig_rest(&client);
    assert_status(answer, status);
    assert_has(answer, "Connection: close\r\n");
    assert_has(answer, "application/problem+json");
    rig_close(&client);
}

static void heads_body(struct rig *rig)
{
    refused(
        rig,
        "GET /hello HTTP/1.1\r\nHost: a\r\nA: 0123456789012345678901234567890123456789012345678901234567890\r\n\r\n",
        431);
    assert_int_equal(rig_hits(rig, "head_bytes"), 1);
    refused(rig, "GET /hello HTTP/1.1\r\nHost: a\r\na:1\r\na:2\r\na:3\r\n\r\n", 431);
    assert_int_equal(rig_hits(rig, "fields"), 1);
    refused(rig, GET("/hello?01234567890123456789"), 414);
    assert_int_equal(rig_hits(rig, "target_bytes"), 1);
}

static void test_heads(void **state)
{
    run((struct proa_server_limits){.head_bytes = 80, .fields = 3, .target_bytes = 20}, heads_body);
}

static void body_bytes_body(struct rig *rig)
{
    refused(rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413);
    refused(
        rig,
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n5\r\nabcde\r\n0\r\n\r\n",
        413);
    refused(rig, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde", 413);
    assert_int_equal(rig_hits(rig, "body_bytes"), 3);
}

static void test_body_bytes(void **state)
{
    run((struct proa_server_limits){.body_bytes = 10}, body_bytes_body);
}

static void times_body(struct rig *rig)
{
    proa_mono_ns from = proa_loop_now(rig->loop);
    struct rig_client client;
    const char *answer;

    refused(rig, "GET /hello HT", 408);
    assert_in_range(proa_loop_now(rig->loop) - from, PROA_MS(1000), PROA_MS(1100));
    assert_int_equal(rig_hits(rig, "head_ms"), 1);
    from = proa_loop_now(rig->loop);
    refused(rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", 408);
    assert_in_range(proa_loop_now(rig->loop) - from, PROA_MS(1500), PROA_MS(1600));
    assert_int_equal(rig_hits(rig, "body_ms"), 1);
    /* The idle time counts from the last answer; nothing is said at its end. */
    from = proa_loop_now(rig->loop);
    rig_connect(rig, &client);
    sleep_ms(rig, 1000);
    assert_status(rig_ask(&client, GET("/hello")), 200);
    assert_string_equal(rig_rest(&client), "");
    assert_in_range(proa_loop_now(rig->loop) - from, PROA_MS(3000), PROA_MS(3100));
    assert_int_equal(rig_hits(rig, "idle_ms"), 1);
    rig_close(&client);
    /* A request's deadline; the connection goes on. */
    rig_connect(rig, &client);
    answer = rig_ask(&client, GET("/waits"));
    assert_status(answer, 504);
    assert_has_not(answer, "Connection: close");
    assert_status(rig_ask(&client, GET("/short")), 504);
    assert_int_equal(rig_hits(rig, "request_ms"), 2);
    rig_close(&client);
}

static void test_times(void **state)
{
    run((struct proa_server_limits){.head_ms = 1000, .body_ms = 1500, .idle_ms = 2000, .request_ms = 2500}, times_body);
}

static void stalled_write_body(struct rig *rig)
{
    proa_mono_ns from = proa_loop_now(rig->loop);
    struct proa_server_counts counts;
    struct rig_client client;

    /* The client takes nothing, then a little, then nothing again. */
    rig_connect(rig, &client);
    rig_send(&client, GET("/large"));
    sleep_ms(rig, 1500);
    assert_true(rig_more(&client));
    sleep_ms(rig, 1000);
    proa_server_counts(rig->server, &counts);
    assert_int_equal(counts.connections, 1);
    sleep_ms(rig, 3000);
    proa_server_counts(rig->server, &counts);
    assert_int_equal(counts.connections, 0);
    assert_int_equal(rig_hits(rig, "write_stall_ms"), 1);
    assert_true(proa_loop_now(rig->loop) > from);
    rig_close(&client);
}

static void test_stalled_write(void **state)
{
    run((struct proa_server_limits){.write_stall_ms = 2000}, stalled_write_body);
}

static void read_ahead_body(struct rig *rig)
{
    static char pipelined[400 * sizeof GET("/hello")];
    struct rig_client client;
    size_t len = 0;

    for (int i = 0; i < 400; i++) {
        memcpy(pipelined + len, GET("/hello"), sizeof GET("/hello") - 1);
        len += sizeof GET("/hello") - 1;
    }
    rig_connect(rig, &client);
    rig_send(&client, GET("/waits"));
    sleep_ms(rig, 1);
    rig_send(&client, pipelined);
    sleep_ms(rig, 1);
    assert_int_equal(rig_hits(rig, "read_ahead_bytes"), 1);
    assert_string_equal(rig_content(rig_answer(&client)), "done");
    for (int i = 0; i < 400; i++)
        assert_string_equal(rig_content(rig_answer(&client)), "hello");
    rig_close(&client);
}

static void test_read_ahead(void **state)
{
    run((struct proa_server_limits){.read_ahead_bytes = 4096}, read_ahead_body);
}

/* A body that nobody takes stays with its sender. */
static void body_waits_body(struct rig *rig)
{
    enum { BODY_BYTES = 1000 * 1000, UNDER_WAY_BYTES = 2 * 64 * 1024 + 4096 };
    static char body[BODY_BYTES];
    struct rig_client client;
    proa_str text = proa_str_n(body, sizeof body);

    rig_connect(rig, &client);
    rig_send(&client, "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    assert_int_equal(proa_stream_send(client.stream, &text, 1), 0);
    sleep_ms(rig, 2000);
    assert_true(proa_stream_queued(client.stream) >= BODY_BYTES - UNDER_WAY_BYTES);
    assert_int_equal(rig_hits(rig, "read_ahead_bytes"), 1);
    assert_string_equal(rig_content(rig_answer(&client)), "1000000");
    rig_close(&client);
}

static void test_body_waits(void **state)
{
    run((struct proa_server_limits){.read_ahead_bytes = 4096}, body_waits_body);
}

/* The time for a body is the client's: what came in time is not late because its handler takes it late. */
static void body_taken_late_body(struct rig *rig)
{
    static char body[100 * 1000];
    struct rig_client client;

    rig_connect(rig, &client);
    assert_string_equal(
        rig_content(rig_ask(&client, "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde")), "5");
    assert_string_equal(
        rig_content(rig_ask(&client, "POST /late HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                     "5\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n")),
        "6");
    rig_send(&client, "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    assert_int_equal(rig_try_send(&client, proa_str_n(body, sizeof body)), 0);
    assert_string_equal(rig_content(rig_answer(&client)), "100000");
    assert_int_equal(rig_hits(rig, "body_ms"), 0);
    rig_close(&client);
}

static void test_body_taken_late(void **state)
{
    run((struct proa_server_limits){.read_ahead_bytes = 4096, .body_ms = 1500}, body_taken_late_body);
}

/* The rest has its time from when it may be sent. */
static void body_late_rest_body(struct rig *rig)
{
    static char body[50 * 1000];
    proa_mono_ns from = proa_loop_now(rig->loop);
    struct rig_client client;

    rig_connect(rig, &client);
    rig_send(&client, "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    assert_int_equal(rig_try_send(&client, proa_str_n(body, sizeof body)), 0);
    assert_status(rig_rest(&client), 408);
    assert_in_range(proa_loop_now(rig->loop) - from, PROA_MS(4500), PROA_MS(4600));
    assert_int_equal(rig_hits(rig, "body_ms"), 1);
    rig_close(&client);
    rig_connect(rig, &client);
    rig_send(&client, "POST /late HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n");
    assert_status(rig_rest(&client), 408);
    assert_int_equal(rig_hits(rig, "body_ms"), 2);
    rig_close(&client);
}

static void test_body_late_rest(void **state)
{
    run((struct proa_server_limits){.read_ahead_bytes = 4096, .body_ms = 1500}, body_late_rest_body);
}

/* By default the request's time ends before the body's: that its client is slow is the client's fault all the same. */
static void body_late_by_default_body(struct rig *rig)
{
    proa_mono_ns from = proa_loop_now(rig->loop);
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    rig_send(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc");
    answer = rig_rest(&client);
    assert_status(answer, 408);
    assert_has(answer, "Connection: close\r\n");
    assert_in_range(proa_loop_now(rig->loop) - from, PROA_MS(20000), PROA_MS(20100));
    assert_int_equal(rig_hits(rig, "request_ms"), 1);
    rig_close(&client);
}

static void test_body_late_by_default(void **state)
{
    run((struct proa_server_limits){0}, body_late_by_default_body);
}

/* A handler that never asked for the body ends with its own error, not with the body's. */
static void own_error_body(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    rig_send(&client, "POST /not-found HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc");
    answer = rig_rest(&client);
    assert_status(answer, 404);
    assert_has(answer, "Connection: close\r\n");
    assert_int_equal(rig_hits(rig, "body_ms"), 1);
    rig_close(&client);
}

static void test_own_error(void **state)
{
    run((struct proa_server_limits){.body_ms = 1500}, own_error_body);
}

/* Who does not read its answers gets no further ones. */
static void unread_answers_body(struct rig *rig)
{
    struct rig_client client;
    double answered;

    rig_connect(rig, &client);
    for (int i = 0; i < 50; i++)
        rig_send(&client, GET("/large"));
    sleep_ms(rig, 1000);
    answered = rig_metric(rig, "http_requests_total{method=\"GET\",route=\"/large\",status=\"200\"} ");
    assert_true(answered >= 1 && answered <= 2);
    for (int i = 0; i < 50; i++)
        assert_status(rig_answer(&client), 200);
    rig_close(&client);
}

static void test_unread_answers(void **state)
{
    run((struct proa_server_limits){0}, unread_answers_body);
}

/* What is allocated, as far as this build can tell. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
                                                   : (size_t)mallinfo2().uordblks;
}

/* A request that came in two pieces, so that its beginning was kept. */
static void ask_in_pieces(struct rig *rig, struct rig_client *clients, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rig_send(&clients[i], "GET /hel");
    sleep_ms(rig, 1);
    for (size_t i = 0; i < count; i++)
        assert_status(rig_ask(&clients[i], "lo HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
}

/* An idle connection holds no buffer, whatever it did before. */
static void idle_body(struct rig *rig)
{
    enum { CLIENTS = 150 };
    static struct rig_client clients[CLIENTS];
    size_t before;

    for (size_t i = 0; i < CLIENTS; i++) {
        rig_connect(rig, &clients[i]);
        assert_status(rig_ask(&clients[i], GET("/hello")), 200);
    }
    ask_in_pieces(rig, clients, CLIENTS / 2); /* what the loop keeps for all */
    sleep_ms(rig, 10);
    before = allocated_bytes();
    ask_in_pieces(rig, clients + CLIENTS / 2, CLIENTS / 2);
    sleep_ms(rig, 10);
    assert_in_range(allocated_bytes(), 0, before + (CLIENTS / 2) * 8);
    for (size_t i = 0; i < CLIENTS; i++)
        rig_close(&clients[i]);
}

static void test_idle_holds_no_buffer(void **state)
{
    run((struct proa_server_limits){0}, idle_body);
}

static void defaults_body(struct rig *rig)
{
    static const struct {
        const char *name;
        double value;
    } defaults[] = {
        {"requests_in_flight", 1000}, {"streams", 10000},      {"head_bytes", 16384}, {"fields", 100},
        {"target_bytes", 8192},       {"body_bytes", 1 << 20}, {"head_ms", 10000},    {"body_ms", 30000},
        {"write_stall_ms", 10000},    {"idle_ms", 60000},      {"request_ms", 20000}, {"read_ahead_bytes", 65536},
    };
    char series[100];

    for (size_t i = 0; i < PROA_COUNT(defaults); i++) {
        snprintf(series, sizeof series, "http_server_limit{limit=\"%s\"} ", defaults[i].name);
        assert_true(rig_metric(rig, series) == defaults[i].value);
        assert_true(rig_hits(rig, defaults[i].name) == 0);
    }
    assert_true(rig_metric(rig, "http_server_limit{limit=\"connections\"} ") > 0);
}

static void test_defaults(void **state)
{
    run((struct proa_server_limits){0}, defaults_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_in_flight),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_body_bytes),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_stalled_write),
        cmocka_unit_test(test_read_ahead),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_idle_holds_no_buffer),
        cmocka_unit_test(test_body_waits),
        cmocka_unit_test(test_unread_answers),
        cmocka_unit_test(test_body_taken_late),
        cmocka_unit_test(test_body_late_rest),
        cmocka_unit_test(test_own_error),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_owed_room),
        cmocka_unit_test(test_raised_in_flight),
        cmocka_unit_test(test_body_late_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
