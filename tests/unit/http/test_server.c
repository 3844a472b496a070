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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
