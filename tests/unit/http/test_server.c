/* The server on the wire: keep-alive, pipelining, methods, framing of answers, ends of connections, drain. */
#include "http_rig.h"

#include <proa/conditional.h>

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

static int id(struct proa_req *req)
{
    uint64_t value;

    PROA_TRY(proa_req_param_u64(req, "id", &value));
    return proa_reply_printf(req, 200, "User %llu", (unsigned long long)value);
}

static int slow(struct proa_req *req)
{
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(500)));
    return proa_reply_text(req, 200, PROA_STR("slow"));
}

static int fails(struct proa_req *req)
{
    return proa_fail(proa_req_error(req), PROA_EINTERNAL, "the secret reason");
}

static int nothing(struct proa_req *req)
{
    return 0;
}

static int empty(struct proa_req *req)
{
    return proa_reply_empty(req, 204);
}

static const struct proa_route routes[] = {
    {PROA_GET, "/hello", hello},    {PROA_POST | PROA_PUT, "/echo", echo}, {PROA_GET, "/users/{id}", id},
    {PROA_GET, "/slow", slow},      {PROA_GET, "/fails", fails},           {PROA_GET, "/nothing", nothing},
    {PROA_DELETE, "/empty", empty},
};

static void run(void (*body)(struct rig *rig))
{
    rig_run(routes, PROA_COUNT(routes), NULL, body);
}

static void keep_alive_body(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    answer = rig_ask(&client, GET("/hello"));
    assert_string_equal(answer, "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                                "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello");
    answer = rig_ask(&client, GET("/users/42?x=y"));
    assert_string_equal(rig_content(answer), "User 42");
    answer = rig_ask(&client, GET("/users/x"));
    assert_status(answer, 400);
    assert_has(answer, "Content-Type: application/problem+json\r\n");
    assert_has(answer, "\"pointer\":\"#/path/id\"");
    answer = rig_ask(&client, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_has(answer, "Connection: close\r\n");
    assert_string_equal(rig_rest(&client), "");
    assert_int_equal(client.end_code, 0);
    rig_close(&client);
}

static void test_keep_alive(void **state)
{
    run(keep_alive_body);
}

/* Pipelining: all answers of one read in one write, in order. */
static void pipelining_body(struct rig *rig)
{
    struct rig_client client;
    const char *all;

    rig_connect(rig, &client);
    rig_send(&client, GET("/users/1") GET("/users/2") GET("/users/3"));
    assert_true(rig_more(&client));
    all = rig_take(&client, client.got.len);
    assert_has(all, "User 1HTTP/1.1 200 OK");
    assert_has(all, "User 2HTTP/1.1 200 OK");
    assert_has(all, "User 3");
    /* One that waits holds back the others. */
    rig_send(&client, GET("/slow") GET("/users/4") "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    assert_string_equal(rig_content(rig_answer(&client)), "slow");
    assert_string_equal(rig_content(rig_answer(&client)), "User 4");
    rig_send(&client, "cd" GET("/users/5"));
    assert_string_equal(rig_content(rig_answer(&client)), "abcd");
    assert_string_equal(rig_content(rig_answer(&client)), "User 5");
    /* A broken one ends it, after those before it were answered. */
    rig_send(&client, GET("/users/6") "BAD\r\n\r\n" GET("/users/7"));
    assert_string_equal(rig_content(rig_answer(&client)), "User 6");
    all = rig_rest(&client);
    assert_status(all, 400);
    assert_has(all, "Connection: close\r\n");
    assert_has_not(all, "User 7");
    rig_close(&client);
}

static void test_pipelining(void **state)
{
    run(pipelining_body);
}

static void methods_body(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    rig_send(&client, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    answer = rig_answer_of(&client, true);
    assert_status(answer, 200);
    assert_has(answer, "Content-Length: 5\r\n");
    answer = rig_ask(&client, "OPTIONS /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_status(answer, 204);
    assert_has(answer, "Allow: POST, PUT, OPTIONS\r\n");
    assert_has_not(answer, "Content-Length");
    answer = rig_ask(&client, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_status(answer, 204);
    assert_has(answer, "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n");
    answer = rig_ask(&client, "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_status(answer, 405);
    assert_has(answer, "Allow: GET, HEAD, OPTIONS\r\n");
    assert_has(answer, "\"status\":405");
    answer = rig_ask(&client, GET("/missing"));
    assert_status(answer, 404);
    assert_has(answer, "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404");
    assert_has(answer, "\"instance\":\"/missing\"");
    assert_status(rig_ask(&client, "PURGE /hello HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    answer = rig_ask(&client, "TRACE /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_status(answer, 405);
    assert_has(answer, "Allow: ");
    assert_status(rig_ask(&client, "TRACE /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"), 404);
    assert_status(rig_ask(&client, "DELETE /empty HTTP/1.1\r\nHost: a\r\n\r\n"), 204);
    assert_status(rig_ask(&client, GET("/users/%zz")), 400);
    answer = rig_ask(&client, GET("/fails"));
    assert_status(answer, 500);
    assert_has_not(answer, "secret");
    assert_status(rig_ask(&client, GET("/nothing")), 500);
    assert_status(rig_ask(&client, GET("http://b/hello")), 200);
    rig_close(&client);
    assert_int_equal(rig_metric(rig, "http_requests_total{method=\"HEAD\",route=\"/hello\",status=\"200\"} "), 1);
    assert_int_equal(rig_metric(rig, "http_requests_total{method=\"GET\",route=\"\",status=\"404\"} "), 1);
    assert_int_equal(rig_metric(rig, "http_requests_total{method=\"_OTHER\",route=\"\",status=\"501\"} "), 1);
    assert_int_equal(
        rig_metric(rig, "http_request_duration_seconds_count{method=\"GET\",route=\"/hello\",status=\"200\"} "), 1);
}

static void test_methods(void **state)
{
    run(methods_body);
}

static void old_version_body(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    answer = rig_ask(&client, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_has(answer, "HTTP/1.1 200 OK\r\n");
    assert_has(answer, "Connection: keep-alive\r\n");
    rig_send(&client, "GET /hello HTTP/1.0\r\n\r\n");
    assert_has(rig_rest(&client), "Connection: close\r\n");
    rig_close(&client);
}

static void test_http10(void **state)
{
    run(old_version_body);
}

/* Request bodies. */
static void bodies_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    assert_string_equal(
        rig_content(rig_ask(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                     "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n")),
        "abcde");
    assert_string_equal(rig_content(rig_ask(&client, "POST /echo HTTP/1.1\r\nHost: a\r\n\r\n")), "");
    /* In pieces. */
    rig_send(&client, "POST /echo HTTP/1.1\r\nHo");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(100)), 0);
    rig_send(&client, "st: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(100)), 0);
    rig_send(&client, "4\r\nab");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(100)), 0);
    rig_send(&client, "cd\r\n0\r");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(100)), 0);
    assert_string_equal(rig_content(rig_ask(&client, "\n\r\n")), "abcd");
    /* One that nobody reads is read over, and the next request is found behind it. */
    rig_send(&client, "GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    assert_string_equal(rig_content(rig_answer(&client)), "hello");
    assert_string_equal(rig_content(rig_ask(&client, "67890" GET("/users/9"))), "User 9");
    /* Broken framing in the middle of a body. */
    rig_send(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    assert_status(rig_rest(&client), 400);
    rig_close(&client);
}

static void test_bodies(void **state)
{
    run(bodies_body);
}

static void expect_continue_body(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    rig_send(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_string_equal(rig_until(&client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_string_equal(rig_content(rig_ask(&client, "abc")), "abc");
    /* With the body there already it is not asked for. */
    assert_status(
        rig_ask(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"),
        200);
    /* A handler that does not want the body: the connection cannot go on. */
    rig_send(&client, "GET /hello HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    answer = rig_rest(&client);
    assert_status(answer, 200);
    assert_has(answer, "Connection: close\r\n");
    rig_close(&client);
    rig_connect(rig, &client);
    rig_send(&client, "GET /hello HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n");
    assert_status(rig_rest(&client), 417);
    rig_close(&client);
}

static void test_expect_continue(void **state)
{
    run(expect_continue_body);
}

/* The empty line before a request keeps a connection idle. */
static void blank_line_body(struct rig *rig)
{
    struct proa_server_counts counts;
    struct rig_client client;

    rig_connect(rig, &client);
    assert_status(rig_ask(&client, GET("/hello") "\r\n"), 200);
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(20)), 0);
    proa_server_counts(rig->server, &counts);
    assert_int_equal(counts.idle, 1);
    assert_status(rig_ask(&client, GET("/hello")), 200);
    /* Also when it comes in two pieces. */
    rig_send(&client, "\r");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(1)), 0);
    rig_send(&client, "\n");
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(20)), 0);
    assert_status(rig_ask(&client, GET("/hello")), 200);
    rig_send(&client, "\r\n");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(1)), 0);
    rig_send(&client, "\r\n");
    assert_status(rig_rest(&client), 400);
    rig_close(&client);
}

static void test_blank_line(void **state)
{
    run(blank_line_body);
}

/* A body that no handler reads and whose framing is broken: the answer comes, and nothing behind it is taken for a request. */
static void broken_rest_body(struct rig *rig)
{
    static const char head[] = "POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const char *const rests[] = {"-1\r\nx\r\n", "1\nx\r\n0\r\n\r\n",
                                        "1\r\nxGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"};
    struct rig_client client;
    char all[200];
    const char *answer;

    for (size_t i = 0; i < 2 * PROA_COUNT(rests); i++) {
        rig_connect(rig, &client);
        if (i % 2) {
            snprintf(all, sizeof all, "%s%s", head, rests[i / 2]);
            rig_send(&client, all);
        } else {
            rig_send(&client, head);
            assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
            rig_send(&client, rests[i / 2]);
        }
        answer = rig_rest(&client);
        assert_status(answer, 404);
        assert_has_not(answer, "hello");
        rig_close(&client);
    }
}

static void test_broken_rest(void **state)
{
    run(broken_rest_body);
}

/* A client that goes, or closes its side. */
static int outcome_cause, outcome_status;
static bool outcome_told, outcome_aborted;

static void told(void *arg, const struct proa_req_outcome *outcome)
{
    outcome_told = true;
    outcome_aborted = outcome->aborted;
    outcome_cause = outcome->cause;
    outcome_status = outcome->status;
}

static int waits(struct proa_req *req)
{
    PROA_TRY(proa_req_on_done(req, told, NULL));
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_SECONDS(15)));
    return proa_reply_text(req, 200, PROA_STR("done"));
}

static int naps(struct proa_req *req)
{
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(500)));
    return proa_reply_text(req, 200, PROA_STR("rested"));
}

static int long_answer(struct proa_req *req)
{
    struct proa_buf *body = proa_reply_body(req);

    PROA_TRY(proa_req_on_done(req, told, NULL));
    for (int i = 0; i < 50000; i++)
        proa_buf_add_c(body, "0123456789");
    return proa_reply_buffer(req, 200, "text/plain");
}

static const struct proa_route waits_routes[] = {{PROA_GET, "/waits", waits},
                                                 {PROA_GET, "/naps", naps},
                                                 {PROA_GET, "/hello", hello},
                                                 {PROA_GET, "/long", long_answer}};

/* An answer is done when its last byte was taken, not when the handler has given it. */
static void done_body(struct rig *rig)
{
    struct rig_client client;

    outcome_told = false;
    rig_connect(rig, &client);
    rig_send(&client, GET("/long"));
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(2)), 0);
    assert_false(outcome_told);
    assert_status(rig_answer(&client), 200);
    assert_true(outcome_told);
    assert_false(outcome_aborted);
    assert_int_equal(outcome_cause, 0);
    outcome_told = false;
    rig_send(&client, GET("/long"));
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(2)), 0);
    assert_false(outcome_told);
    proa_sim_cut(rig->sim, "server:80");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    assert_true(outcome_told);
    assert_true(outcome_aborted);
    assert_true(outcome_cause < 0);
    rig_close(&client);
}

static void test_done(void **state)
{
    rig_run(waits_routes, PROA_COUNT(waits_routes), NULL, done_body);
}

static void client_gone_body(struct rig *rig)
{
    struct rig_client client;

    outcome_told = false;
    rig_connect(rig, &client);
    rig_send(&client, GET("/waits"));
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(1)), 0);
    rig_close(&client);
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(900)), 0);
    assert_false(outcome_told);
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(200)), 0);
    assert_true(outcome_told);
    assert_true(outcome_cause < 0);
    /* A reset is no doubt. */
    outcome_told = false;
    rig_connect(rig, &client);
    rig_send(&client, GET("/waits"));
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    proa_sim_cut(rig->sim, "server:80");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    assert_true(outcome_told);
    rig_close(&client);
    /* Nobody was told a status, and a client that leaves is no failure of the service. The first one may still have read. */
    assert_true(outcome_aborted);
    assert_int_equal(outcome_status, 0);
    assert_true(rig_metric(rig, "http_requests_total{method=\"GET\",route=\"/waits\",status=\"503\"} ") == 1);
    /* Half-closed: quick answers come all the same, pipelined ones too. */
    rig_connect(rig, &client);
    rig_send(&client, GET("/naps") GET("/hello"));
    proa_stream_shutdown(client.stream);
    assert_string_equal(rig_content(rig_answer(&client)), "rested");
    assert_string_equal(rig_content(rig_answer(&client)), "hello");
    assert_string_equal(rig_rest(&client), "");
    rig_close(&client);
    /* In the middle of a head or body. */
    rig_connect(rig, &client);
    rig_send(&client, "GET /hello HTT");
    proa_stream_shutdown(client.stream);
    assert_string_equal(rig_rest(&client), "");
    rig_close(&client);
}

static void test_client_gone(void **state)
{
    rig_run(waits_routes, PROA_COUNT(waits_routes), NULL, client_gone_body);
}

/* Drain. */
static int drain(void *arg)
{
    struct rig *rig = arg;

    return proa_server_drain(rig->server, 2000, 5000);
}

static void drain_body(struct rig *rig)
{
    struct rig_client idle, busy, fresh;
    struct proa_group group;
    struct proa_stream *stream;

    rig_connect(rig, &idle);
    assert_status(rig_ask(&idle, GET("/hello")), 200);
    rig_connect(rig, &busy);
    proa_group_init(&group, rig->loop);
    assert_int_equal(proa_group_start(&group, NULL, drain, rig), 0);
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(1000)), 0);
    /* In the delay new connections are taken, and told to close. */
    rig_connect(rig, &fresh);
    assert_has(rig_ask(&fresh, GET("/hello")), "Connection: close\r\n");
    rig_close(&fresh);
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(900)), 0);
    rig_send(&busy, GET("/slow"));
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(200)), 0);
    assert_int_equal(proa_connect(rig->loop, "server:80", &stream, NULL), PROA_EUNAVAILABLE);
    assert_has(rig_answer(&busy), "Connection: close\r\n");
    assert_string_equal(rig_rest(&busy), "");
    rig_close(&busy);
    assert_string_equal(rig_rest(&idle), "");
    rig_close(&idle);
    assert_int_equal(proa_group_wait(&group), 0);
    rig->no_drain = true;
}

static void test_drain(void **state)
{
    run(drain_body);
}

static void cut_body(struct rig *rig)
{
    struct rig_client waiting;
    const char *answer;

    rig_connect(rig, &waiting);
    rig_send(&waiting, GET("/waits"));
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    assert_int_equal(proa_server_drain(rig->server, 0, 1000), PROA_ETIMEDOUT);
    answer = rig_rest(&waiting);
    assert_status(answer, 503);
    rig_close(&waiting);
    rig->no_drain = true;
}

static void test_drain_cuts(void **state)
{
    rig_run(waits_routes, PROA_COUNT(waits_routes), NULL, cut_body);
}

/* A handler that cannot be told to end, for a while: it is waited for, since what it uses may be gone after the drain. */
static bool shielded_ended;

static int shielded(struct proa_req *req)
{
    struct proa_loop *loop = proa_req_loop(req);
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_SECONDS(60));

    PROA_TRY(proa_sleep(loop, PROA_SECONDS(10)));
    shielded_ended = true;
    return proa_reply_text(req, 200, PROA_STR("done"));
}

static const struct proa_route shielded_routes[] = {{PROA_GET, "/shielded", shielded, .timeout_ms = 60000}};

static void cut_shielded_body(struct rig *rig)
{
    struct rig_client waiting;

    rig_connect(rig, &waiting);
    rig_send(&waiting, GET("/shielded"));
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    shielded_ended = false;
    assert_int_equal(proa_server_drain(rig->server, 0, 1000), PROA_ETIMEDOUT);
    assert_true(shielded_ended);
    rig_close(&waiting);
    rig->no_drain = true;
}

static void test_drain_waits_for_what_was_cut(void **state)
{
    rig_run(shielded_routes, PROA_COUNT(shielded_routes), NULL, cut_shielded_body);
}

/* The Date moves on. */
static void date_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    assert_has(rig_ask(&client, GET("/hello")), "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: proa-test\r\n");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(999)), 0);
    assert_has(rig_ask(&client, GET("/hello")), "00:00:00 GMT");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(1)), 0);
    assert_has(rig_ask(&client, GET("/hello")), "00:00:01 GMT");
    /* It is that of the answer, not of the request. */
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(600)), 0);
    assert_has(rig_ask(&client, GET("/slow")), "00:00:02 GMT");
    rig_close(&client);
}

static void test_date(void **state)
{
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.server_name = "proa-test"}, date_body);
}

static void free_open_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    assert_status(rig_ask(&client, GET("/hello")), 200);
    proa_stream_close(client.stream);
    client.stream = NULL;
    rig_close(&client);
    rig->no_drain = true; /* the server is freed with what is open */
}

static void test_free_without_drain(void **state)
{
    run(free_open_body);
}

static void test_start_refuses(void **state)
{
    struct proa_server *server = NULL;
    struct proa_error err = {0};

    assert_int_equal(proa_server_start(&(struct proa_server_options){0}, &server, &err), PROA_EINVAL);
    assert_null(server);
    proa_server_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_http10),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_blank_line),
        cmocka_unit_test(test_broken_rest),
        cmocka_unit_test(test_done),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_cuts),
        cmocka_unit_test(test_drain_waits_for_what_was_cut),
        cmocka_unit_test(test_date),
        cmocka_unit_test(test_free_without_drain),
        cmocka_unit_test(test_start_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
