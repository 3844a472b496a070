/* Event streams: they hold no fiber, and end in every way a stream can end. */
#include "http_rig.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

struct hub {
    struct proa_sse *sse;
    int closed;
    uint32_t keep_alive_ms, queue_bytes_max;
    bool closes_at_once, fails, stays, naps;
};

static void closed(void *arg, struct proa_sse *sse)
{
    struct hub *hub = arg;

    assert_ptr_equal(hub->sse, sse);
    hub->sse = NULL;
    hub->closed++;
}

static int events(struct proa_req *req)
{
    struct hub *hub = proa_req_state(req);

    if (hub->naps)
        PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(1)));
    PROA_TRY(proa_reply_sse(req,
                            &(struct proa_sse_options){.closed = closed,
                                                       .arg = hub,
                                                       .retry_ms = 3000,
                                                       .keep_alive_ms = hub->keep_alive_ms,
                                                       .queue_bytes_max = hub->queue_bytes_max},
                            &hub->sse));
    assert_int_equal(proa_reply_text(req, 200, PROA_STR("x")), PROA_EINTERNAL);
    assert_ptr_equal(proa_sse_loop(hub->sse), proa_req_loop(req));
    PROA_TRY(proa_sse_send(hub->sse, PROA_STR("hello"), proa_sse_last_event_id(hub->sse), PROA_STR("first")));
    if (hub->closes_at_once)
        proa_sse_close(hub->sse);
    if (hub->stays)
        proa_ignore(proa_sleep(proa_req_loop(req), PROA_SECONDS(5)));
    return hub->fails ? PROA_EIO : 0;
}

static const struct proa_route routes[] = {{PROA_GET, "/events", events}};

static void run(struct hub *hub, void (*body)(struct rig *rig))
{
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = hub}, body);
}

static void open_stream(struct rig *rig, struct rig_client *client)
{
    rig_connect(rig, client);
    rig_send(client, "GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 41\r\n\r\n");
    assert_has(rig_until(client, "\r\n\r\n"), "Content-Type: text/event-stream\r\n");
    assert_string_equal(rig_until(client, "first\n\n\r\n"),
                        "d\r\nretry: 3000\n\n\r\n21\r\nevent: hello\nid: 41\ndata: first\n\n\r\n");
}

static uint64_t streams(struct rig *rig)
{
    struct proa_server_counts counts;

    proa_server_counts(rig->server, &counts);
    return counts.streams;
}

static void lives_body(struct rig *rig)
{
    struct hub *hub = rig->state;
    struct proa_server_counts counts;
    struct rig_client client;

    open_stream(rig, &client);
    assert_int_equal(proa_loop_fibers(rig->loop, NULL), 1); /* this test's */
    proa_server_counts(rig->server, &counts);
    assert_int_equal(counts.streams, 1);
    assert_int_equal(counts.in_flight, 0);
    /* Past the request's deadline. */
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(50)), 0);
    assert_string_equal(rig_until(&client, ":\n\n\r\n"), "3\r\n:\n\n\r\n");
    assert_string_equal(rig_until(&client, ":\n\n\r\n"), "3\r\n:\n\n\r\n");
    assert_string_equal(rig_until(&client, ":\n\n\r\n"), "3\r\n:\n\n\r\n");
    assert_int_equal(client.got.len, 0);
    assert_int_equal(proa_sse_send(hub->sse, PROA_STR(""), PROA_STR(""), PROA_STR("a\nb\r\nc\rd\n")), 0);
    assert_string_equal(rig_until(&client, "\n\n\r\n"), "28\r\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n\r\n");
    assert_int_equal(proa_sse_send(hub->sse, PROA_STR(""), PROA_STR("1"), proa_str_n(NULL, 0)), 0);
    assert_string_equal(rig_until(&client, "\n\n\r\n"), "e\r\nid: 1\ndata: \n\n\r\n");
    assert_int_equal(proa_sse_send(hub->sse, PROA_STR("a\nb"), PROA_STR(""), PROA_STR("x")), PROA_EINVAL);
    assert_int_equal(proa_sse_send(hub->sse, PROA_STR(""), PROA_STR("a\rb"), PROA_STR("x")), PROA_EINVAL);
    /* Its owner ends it; the connection goes on. */
    proa_sse_close(hub->sse);
    assert_int_equal(proa_sse_send(hub->sse, PROA_STR(""), PROA_STR(""), PROA_STR("x")), PROA_ECLOSED);
    proa_sse_close(hub->sse);
    proa_sse_close(NULL);
    assert_string_equal(rig_until(&client, "\r\n\r\n"), "0\r\n\r\n");
    assert_int_equal(hub->closed, 1);
    assert_null(hub->sse);
    assert_int_equal(streams(rig), 0);
    rig_send(&client, "HEAD /events HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_status(rig_answer_of(&client, true), 200);
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(1)), 0);
    assert_int_equal(hub->closed, 2);
    rig_close(&client);
}

static void test_lives(void **state)
{
    struct hub hub = {0};

    run(&hub, lives_body);
}

/* A handler that waited was counted in flight; its stream is not. */
static void test_lives_after_a_wait(void **state)
{
    struct hub hub = {.naps = true};

    run(&hub, lives_body);
}

static void client_ends_body(struct rig *rig)
{
    struct hub *hub = rig->state;
    struct rig_client client;

    open_stream(rig, &client);
    rig_close(&client);
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    assert_int_equal(hub->closed, 1);
    assert_int_equal(streams(rig), 0);
    open_stream(rig, &client);
    proa_sim_cut(rig->sim, "server:80");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    assert_int_equal(hub->closed, 2);
    rig_close(&client);
}

static void test_client_ends(void **state)
{
    struct hub hub = {0};

    run(&hub, client_ends_body);
}

static void drain_ends_body(struct rig *rig)
{
    struct hub *hub = rig->state;
    struct rig_client client;

    open_stream(rig, &client);
    assert_int_equal(proa_server_drain(rig->server, 0, 1000), 0);
    assert_string_equal(rig_rest(&client), "0\r\n\r\n");
    assert_int_equal(hub->closed, 1);
    rig_close(&client);
    rig->no_drain = true;
}

static void test_drain_ends(void **state)
{
    struct hub hub = {0};

    run(&hub, drain_ends_body);
}

static void slow_reader_body(struct rig *rig)
{
    struct hub *hub = rig->state;
    struct rig_client client;
    static char text[5000];
    int sent = 0, rc;

    memset(text, 'x', sizeof text);
    open_stream(rig, &client);
    while ((rc = proa_sse_send(hub->sse, PROA_STR(""), PROA_STR(""), proa_str_n(text, sizeof text))) == 0)
        sent++;
    assert_int_equal(rc, PROA_ECLOSED);
    assert_in_range(sent, 5, 100);
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    assert_int_equal(hub->closed, 1);
    rig_close(&client);
}

static void test_slow_reader(void **state)
{
    struct hub hub = {.queue_bytes_max = 20000};

    run(&hub, slow_reader_body);
}

static void in_handler_body(struct rig *rig)
{
    struct hub *hub = rig->state;
    struct rig_client client;

    hub->closes_at_once = true;
    open_stream(rig, &client);
    assert_string_equal(rig_until(&client, "\r\n\r\n"), "0\r\n\r\n");
    assert_int_equal(hub->closed, 1);
    rig_close(&client);
    hub->closes_at_once = false;
    hub->fails = true;
    rig_connect(rig, &client);
    rig_send(&client, GET("/events"));
    assert_has_not(rig_rest(&client), "0\r\n\r\n");
    assert_int_equal(client.end_code, 0);
    assert_int_equal(hub->closed, 2);
    rig_close(&client);
    /* The client goes while the handler is still there. */
    hub->fails = false;
    hub->stays = true;
    open_stream(rig, &client);
    rig_close(&client);
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    assert_int_equal(hub->closed, 3);
    open_stream(rig, &client);
    proa_sim_cut(rig->sim, "server:80");
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    assert_int_equal(hub->closed, 4);
    assert_int_equal(streams(rig), 0);
    rig_close(&client);
}

static void test_in_handler(void **state)
{
    struct hub hub = {0};

    run(&hub, in_handler_body);
}

static void freed_body(struct rig *rig)
{
    struct hub *hub = rig->state;
    struct rig_client first, second;

    open_stream(rig, &first);
    proa_sse_close(hub->sse); /* has the loop come back later, to a server that is gone by then */
    hub->closed = 0;
    rig_connect(rig, &second);
    proa_server_free(rig->server);
    rig->server = NULL;
    assert_int_equal(hub->closed, 1);
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(10)), 0);
    rig_close(&first);
    rig_close(&second);
    rig->no_drain = true;
}

/* Nothing of a freed server is touched when the loop goes on. */
static void test_freed_open(void **state)
{
    struct hub hub = {0};

    run(&hub, freed_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives),       cmocka_unit_test(test_lives_after_a_wait),
        cmocka_unit_test(test_client_ends), cmocka_unit_test(test_drain_ends),
        cmocka_unit_test(test_freed_open),  cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_in_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
