/* Clients that take their answers slowly, but take them: nothing but a stall or the cut of a drain may end them. */
#include "http_rig.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_CLOSE(path) "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

enum { LARGE_BYTES = 1000 * 1000, DRIPS = 600 };

static int hello(struct proa_req *req)
{
    return proa_reply_text(req, 200, PROA_STR("hello"));
}

static int large(struct proa_req *req)
{
    struct proa_buf *body = proa_reply_body(req);

    PROA_TRY(proa_buf_reserve(body, LARGE_BYTES));
    memset(body->ptr, 'x', LARGE_BYTES);
    body->len = LARGE_BYTES;
    return proa_reply_buffer(req, 200, "text/plain");
}

static int large_later(struct proa_req *req)
{
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(500)));
    return large(req);
}

static int waits(struct proa_req *req)
{
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_SECONDS(20)));
    return proa_reply_text(req, 200, PROA_STR("done"));
}

/* A kilobyte every 10 ms, for six seconds. */
static int drips(struct proa_req *req)
{
    char piece[1000];

    memset(piece, 'x', sizeof piece);
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", DRIPS * sizeof piece));
    for (int i = 0; i < DRIPS; i++) {
        PROA_TRY(proa_reply_write(req, proa_str_n(piece, sizeof piece)));
        PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(10)));
    }
    return 0;
}

static const struct proa_route routes[] = {
    {PROA_GET, "/drips", drips},
    {PROA_GET, "/hello", hello},
    {PROA_GET, "/large", large},
    {PROA_GET, "/large-later", large_later},
    {PROA_GET, "/waits", waits, .timeout_ms = 60000},
};

static void run(struct proa_server_limits limits, void (*body)(struct rig *rig))
{
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.limits = limits}, body);
}

static void sleep_ms(struct rig *rig, uint64_t ms)
{
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(ms)), 0);
}

/* Reads 4 KiB every 20 ms: five seconds for a large answer. @returns bytes of content up to `most`. */
static size_t read_slowly(struct rig_client *client, size_t most)
{
    size_t bytes;

    rig_until(client, "\r\n\r\n");
    while (client->got.len < most && rig_more(client))
        sleep_ms(client->rig, 20);
    bytes = client->got.len < most ? client->got.len : most;
    rig_take(client, bytes);
    return bytes;
}

static void close_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    rig_send(&client, GET_CLOSE("/large"));
    assert_int_equal(read_slowly(&client, SIZE_MAX), LARGE_BYTES);
    assert_int_equal(client.end_code, 0);
    rig_close(&client);
}

static void test_closing_answer_comes_whole(void **state)
{
    run((struct proa_server_limits){0}, close_body);
}

/* When all is taken the client has its time to close; who does not is closed. */
static void linger_body(struct rig *rig)
{
    struct proa_server_counts counts;
    struct rig_client client;

    rig_connect(rig, &client);
    rig_send(&client, GET_CLOSE("/large"));
    assert_int_equal(read_slowly(&client, SIZE_MAX), LARGE_BYTES);
    proa_server_counts(rig->server, &counts);
    assert_int_equal(counts.connections, 1);
    sleep_ms(rig, 2500);
    proa_server_counts(rig->server, &counts);
    assert_int_equal(counts.connections, 0);
    rig_close(&client);
}

static void test_lingering_begins_when_all_is_taken(void **state)
{
    run((struct proa_server_limits){0}, linger_body);
}

/* Idle time counts from when the client has taken the last answer. */
static void idle_body(struct rig *rig)
{
    struct proa_server_counts counts;
    struct rig_client client;
    proa_mono_ns from;

    rig_connect(rig, &client);
    rig_send(&client, GET("/large"));
    sleep_ms(rig, 100);
    proa_server_counts(rig->server, &counts);
    assert_int_equal(counts.idle, 0);
    assert_int_equal(read_slowly(&client, LARGE_BYTES), LARGE_BYTES);
    proa_server_counts(rig->server, &counts);
    assert_int_equal(counts.idle, 1);
    assert_int_equal(rig_hits(rig, "idle_ms"), 0);
    from = proa_loop_now(rig->loop);
    assert_string_equal(rig_rest(&client), "");
    /* What is on its way, 64 KiB, is taken within 400 ms. */
    assert_in_range(proa_loop_now(rig->loop) - from, PROA_MS(500), PROA_MS(1100));
    assert_int_equal(rig_hits(rig, "idle_ms"), 1);
    rig_close(&client);
}

static void test_is_not_idle(void **state)
{
    run((struct proa_server_limits){.idle_ms = 1000}, idle_body);
}

/* Who downloads makes no room for others. */
static void connections_body(struct rig *rig)
{
    struct rig_client downloading, waiting, third;

    rig_connect(rig, &downloading);
    rig_send(&downloading, GET("/large"));
    rig_connect(rig, &waiting);
    rig_send(&waiting, GET("/waits"));
    sleep_ms(rig, 10);
    rig_connect(rig, &third);
    assert_status(rig_rest(&third), 503);
    assert_int_equal(read_slowly(&downloading, LARGE_BYTES), LARGE_BYTES);
    assert_status(rig_ask(&downloading, GET("/hello")), 200);
    rig_close(&downloading);
    rig_close(&waiting);
    rig_close(&third);
}

static void test_makes_no_room(void **state)
{
    run((struct proa_server_limits){.connections = 2}, connections_body);
}

struct drain {
    struct rig *rig;
    uint32_t drain_ms;
    int rc;
};

static int drain(void *arg)
{
    struct drain *drain = arg;

    drain->rc = proa_server_drain(drain->rig->server, 0, drain->drain_ms);
    return 0;
}

static void drain_body(struct rig *rig)
{
    struct drain draining = {.rig = rig, .drain_ms = 20000};
    struct rig_client before, during, pipelined;
    struct proa_group group;
    const char *answer;

    rig_connect(rig, &before);
    rig_connect(rig, &during);
    rig_connect(rig, &pipelined);
    rig_send(&before, GET("/large"));
    rig_send(&during, GET("/large-later"));
    rig_send(&pipelined, GET("/large") GET("/hello"));
    sleep_ms(rig, 100);
    proa_group_init(&group, rig->loop);
    assert_int_equal(proa_group_start(&group, NULL, drain, &draining), 0);
    assert_int_equal(read_slowly(&before, LARGE_BYTES), LARGE_BYTES);
    assert_int_equal(read_slowly(&during, SIZE_MAX), LARGE_BYTES);
    assert_int_equal(during.end_code, 0);
    assert_int_equal(read_slowly(&pipelined, LARGE_BYTES), LARGE_BYTES);
    answer = rig_answer(&pipelined);
    assert_has(answer, "Connection: close\r\n");
    assert_string_equal(rig_content(answer), "hello");
    rig_close(&before);
    rig_close(&during);
    rig_close(&pipelined);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(draining.rc, 0);
    rig->no_drain = true;
}

static void test_drain_waits(void **state)
{
    run((struct proa_server_limits){.write_stall_ms = 60000}, drain_body);
}

/* The drain's end is the end. */
static void cut_body(struct rig *rig)
{
    struct drain draining = {.rig = rig, .drain_ms = 1000};
    struct rig_client client;
    struct proa_group group;

    rig_connect(rig, &client);
    rig_send(&client, GET_CLOSE("/large"));
    proa_group_init(&group, rig->loop);
    assert_int_equal(proa_group_start(&group, NULL, drain, &draining), 0);
    assert_in_range(read_slowly(&client, SIZE_MAX), 1, LARGE_BYTES - 1);
    assert_int_equal(client.end_code, PROA_ECLOSED);
    rig_close(&client);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(draining.rc, PROA_ETIMEDOUT);
    rig->no_drain = true;
}

static void test_drain_cuts(void **state)
{
    run((struct proa_server_limits){0}, cut_body);
}

/* The time for a write begins with the write, however long its handler and the loop were quiet before. */
static void after_quiet_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    rig_send(&client, GET_CLOSE("/large-later"));
    assert_int_equal(read_slowly(&client, SIZE_MAX), LARGE_BYTES);
    assert_int_equal(rig_hits(rig, "write_stall_ms"), 0);
    rig_close(&client);
}

static void test_write_after_a_quiet_time(void **state)
{
    run((struct proa_server_limits){.write_stall_ms = 300}, after_quiet_body);
}

/* More is written than is taken: 100 kB and 80 kB a second. What waits grows, and still the client takes it. */
static void growing_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    rig_send(&client, GET("/drips"));
    rig_until(&client, "\r\n\r\n");
    while (client.got.len < DRIPS * 1000) {
        assert_true(rig_more(&client));
        sleep_ms(rig, 50);
    }
    assert_int_equal(rig_hits(rig, "write_stall_ms"), 0);
    rig_close(&client);
}

static void test_growing_queue_is_no_stall(void **state)
{
    run((struct proa_server_limits){.write_stall_ms = 1000}, growing_body);
}

/* Nothing more is asked: all answers come, those of requests that had to wait for the queue too. */
static void half_closed_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    rig_send(&client, GET("/large") GET("/hello") GET("/large") GET("/hello"));
    proa_stream_shutdown(client.stream);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read_slowly(&client, LARGE_BYTES), LARGE_BYTES);
        assert_string_equal(rig_content(rig_answer(&client)), "hello");
    }
    assert_string_equal(rig_rest(&client), "");
    assert_int_equal(client.end_code, 0);
    rig_close(&client);
}

static void test_half_closed_gets_pipelined_answers(void **state)
{
    run((struct proa_server_limits){0}, half_closed_body);
}

/* Who takes an answer is there, though it has closed its sending side. */
static void half_closed_streams_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    rig_send(&client, GET_CLOSE("/drips"));
    proa_stream_shutdown(client.stream);
    assert_int_equal(read_slowly(&client, SIZE_MAX), DRIPS * 1000);
    assert_int_equal(client.end_code, 0);
    rig_close(&client);
}

static void test_half_closed_gets_a_long_stream(void **state)
{
    run((struct proa_server_limits){0}, half_closed_streams_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closing_answer_comes_whole),
        cmocka_unit_test(test_lingering_begins_when_all_is_taken),
        cmocka_unit_test(test_is_not_idle),
        cmocka_unit_test(test_makes_no_room),
        cmocka_unit_test(test_drain_waits),
        cmocka_unit_test(test_drain_cuts),
        cmocka_unit_test(test_write_after_a_quiet_time),
        cmocka_unit_test(test_growing_queue_is_no_stall),
        cmocka_unit_test(test_half_closed_gets_pipelined_answers),
        cmocka_unit_test(test_half_closed_gets_a_long_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
