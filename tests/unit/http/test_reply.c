/* Answers: the many ways to give one, streaming with back-pressure, trailers, mistakes of handlers. */
#include "http_rig.h"

#include <proa/type.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

struct point {
    int32_t x;
    proa_str name;
};
PROA_DESCRIBE(point, (x, i32), (name, str));

static int json(struct proa_req *req)
{
    const struct point point = {3, PROA_STR("a\"b")};

    return proa_reply_json(req, 201, &point_type, &point);
}

static int json_text(struct proa_req *req)
{
    return proa_reply_json_text(req, 200, PROA_STR("[1]"));
}

static int fields(struct proa_req *req)
{
    struct proa_error *err = proa_req_error(req);

    assert_int_equal(proa_reply_header(req, "X-One", PROA_STR(" a ")), 0);
    assert_int_equal(proa_reply_header(req, "X-One", PROA_STR("b")), 0);
    assert_int_equal(proa_reply_header(req, "X\r\nY", PROA_STR("b")), PROA_EINVAL);
    assert_int_equal(proa_reply_header(req, "X-Two", PROA_STR("b\r\nSet-Cookie: x")), PROA_EINVAL);
    assert_int_equal(proa_reply_header(req, "", PROA_STR("b")), PROA_EINVAL);
    assert_int_equal(proa_reply_header(req, "content-length", PROA_STR("1")), PROA_EINVAL);
    assert_int_equal(proa_reply_header(req, "Date", PROA_STR("1")), PROA_EINVAL);
    assert_int_equal(proa_reply(req, 200, "text/plain\r\nX: y", PROA_STR("1")), PROA_EINVAL);
    assert_int_equal(proa_reply(req, 99, "text/plain", PROA_STR("1")), PROA_EINTERNAL);
    assert_int_equal(proa_reply_trailer(req, "X", PROA_STR("1")), PROA_EINTERNAL);
    assert_int_equal(proa_reply_write(req, PROA_STR("x")), PROA_ECLOSED);
    assert_int_equal(proa_reply_end(req), PROA_ECLOSED);
    assert_int_equal(proa_reply_status(req), 0);
    assert_int_equal(proa_reply(req, 200, "text/html", PROA_STR("<p>")), 0);
    assert_int_equal(proa_reply_status(req), 200);
    assert_int_equal(proa_reply_bytes(req), 3);
    assert_int_equal(proa_reply_text(req, 200, PROA_STR("again")), PROA_EINTERNAL);
    assert_int_equal(proa_reply_header(req, "X-Late", PROA_STR("b")), PROA_EINTERNAL);
    assert_int_equal(proa_reply_problem(req, err), PROA_EINTERNAL);
    return 0;
}

static int long_text(struct proa_req *req)
{
    return proa_reply_printf(req, 200, "%01000d", 7);
}

static int problem(struct proa_req *req)
{
    struct proa_error err = {.type = "/problems/teapot", .retry_after_s = 7};

    proa_fail(&err, PROA_EBUSY, "come back later");
    err.type = "/problems/teapot";
    err.retry_after_s = 7;
    return proa_reply_problem(req, &err);
}

static int not_modified(struct proa_req *req)
{
    PROA_TRY(proa_reply_header(req, "ETag", PROA_STR("\"1\"")));
    return proa_reply_empty(req, 304);
}

/* More than fits: what does not is left out whole, and the answer is one. */
static int many_fields(struct proa_req *req)
{
    static char value[1500];
    int rc;

    memset(value, 'v', sizeof value);
    while ((rc = proa_reply_header(req, "X-Many", proa_str_n(value, sizeof value))) == 0)
        ;
    PROA_TRY(proa_reply_header(req, "X-Small", PROA_STR("fits")));
    return rc;
}

static int many_trailers(struct proa_req *req)
{
    static char value[1500];

    memset(value, 'v', sizeof value);
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", -1));
    PROA_TRY(proa_reply_write(req, PROA_STR("abc")));
    while (proa_reply_trailer(req, "X-Many", proa_str_n(value, sizeof value)) == 0)
        ;
    return proa_reply_trailer(req, "X-Small", PROA_STR("fits"));
}

static int stream(struct proa_req *req)
{
    PROA_TRY(proa_reply_header(req, "X-Stream", PROA_STR("yes")));
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", -1));
    PROA_TRY(proa_reply_write(req, PROA_STR("hello ")));
    PROA_TRY(proa_reply_write(req, PROA_STR("")));
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(100)));
    PROA_TRY(proa_reply_write(req, PROA_STR("world of streams")));
    PROA_TRY(proa_reply_trailer(req, "X-Sum", PROA_STR("22")));
    return 0;
}

static int known(struct proa_req *req)
{
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", 6));
    PROA_TRY(proa_reply_write(req, PROA_STR("abc")));
    PROA_TRY(proa_reply_write(req, PROA_STR("def")));
    return proa_reply_end(req);
}

static int too_much(struct proa_req *req)
{
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", 2));
    return proa_reply_write(req, PROA_STR("abc"));
}

static int too_little(struct proa_req *req)
{
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", 4));
    return proa_reply_write(req, PROA_STR("abc"));
}

static int breaks_off(struct proa_req *req)
{
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", -1));
    PROA_TRY(proa_reply_write(req, PROA_STR("abc")));
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(10)));
    return PROA_EIO;
}

enum { PIECES = 100, PIECE_BYTES = 50000 };
static int written;

static int endless(struct proa_req *req)
{
    static char piece[PIECE_BYTES];

    memset(piece, 'x', sizeof piece);
    written = 0;
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", (int64_t)PIECES * PIECE_BYTES));
    for (; written < PIECES; written++)
        PROA_TRY(proa_reply_write(req, proa_str_n(piece, sizeof piece)));
    return 0;
}

static int large(struct proa_req *req)
{
    struct proa_buf *body = proa_reply_body(req);

    for (int i = 0; i < 20000; i++)
        proa_buf_add_char(body, (char)('a' + i % 26));
    return proa_reply_buffer(req, 200, "text/plain");
}

static int slow_large(struct proa_req *req)
{
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(10)));
    return large(req);
}

static const struct proa_route routes[] = {
    {PROA_GET, "/json", json},
    {PROA_GET, "/json-text", json_text},
    {PROA_GET, "/fields", fields},
    {PROA_GET, "/long", long_text},
    {PROA_GET, "/problem", problem},
    {PROA_GET, "/not-modified", not_modified},
    {PROA_GET, "/many-fields", many_fields},
    {PROA_GET, "/many-trailers", many_trailers},
    {PROA_GET, "/stream", stream},
    {PROA_GET, "/known", known},
    {PROA_GET, "/too-much", too_much},
    {PROA_GET, "/too-little", too_little},
    {PROA_GET, "/breaks-off", breaks_off},
    {PROA_GET, "/endless", endless},
    {PROA_GET, "/large", large},
    {PROA_GET, "/slow-large", slow_large},
};

static void run(void (*body)(struct rig *rig))
{
    rig_run(routes, PROA_COUNT(routes), NULL, body);
}

static void whole_body(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    answer = rig_ask(&client, GET("/json"));
    assert_status(answer, 201);
    assert_has(answer, "Content-Type: application/json\r\n");
    assert_string_equal(rig_content(answer), "{\"x\":3,\"name\":\"a\\\"b\"}");
    assert_string_equal(rig_content(rig_ask(&client, GET("/json-text"))), "[1]");
    answer = rig_ask(&client, GET("/fields"));
    assert_has(answer, "X-One: a\r\nX-One: b\r\n");
    assert_has_not(answer, "Set-Cookie");
    assert_has_not(answer, "X-Late");
    assert_int_equal(strlen(rig_content(rig_ask(&client, GET("/long")))), 1000);
    answer = rig_ask(&client, GET("/problem"));
    assert_status(answer, 503);
    assert_has(answer, "Retry-After: 7\r\n");
    assert_has(answer, "\"type\":\"/problems/teapot\"");
    assert_has(answer, "\"detail\":\"come back later\"");
    answer = rig_ask(&client, GET("/not-modified"));
    assert_status(answer, 304);
    assert_has(answer, "ETag: \"1\"\r\n");
    assert_has_not(answer, "Content-Length");
    answer = rig_ask(&client, GET("/large"));
    assert_int_equal(strlen(rig_content(answer)), 20000);
    assert_string_equal(rig_content(answer) + 19995, "bcdef");
    rig_send(&client, GET("/json-text") GET("/large") GET("/json-text") GET("/slow-large") GET("/json-text"));
    assert_string_equal(rig_content(rig_answer(&client)), "[1]");
    assert_int_equal(strlen(rig_content(rig_answer(&client))), 20000);
    assert_string_equal(rig_content(rig_answer(&client)), "[1]");
    assert_int_equal(strlen(rig_content(rig_answer(&client))), 20000);
    assert_string_equal(rig_content(rig_answer(&client)), "[1]");
    rig_close(&client);
}

static void test_whole(void **state)
{
    run(whole_body);
}

static void too_many_fields_body(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    answer = rig_ask(&client, GET("/many-fields"));
    assert_status(answer, 500);
    assert_has(answer, "vvv\r\nX-Small: fits\r\n\r\n{\"type\"");
    answer = rig_ask(&client, GET("/many-trailers"));
    assert_has(answer, "abc\r\n0\r\nX-Many: v");
    assert_has(answer, "vvv\r\nX-Small: fits\r\n\r\n");
    assert_string_equal(rig_content(rig_ask(&client, GET("/json-text"))), "[1]");
    rig_close(&client);
}

static void test_too_many_fields(void **state)
{
    run(too_many_fields_body);
}

static void streamed_body(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    rig_send(&client, GET("/stream"));
    assert_has(rig_until(&client, "hello "), "Transfer-Encoding: chunked\r\nX-Stream: yes\r\n\r\n6\r\nhello ");
    assert_string_equal(rig_until(&client, "22\r\n\r\n"), "\r\n10\r\nworld of streams\r\n0\r\nX-Sum: 22\r\n\r\n");
    /* HEAD: no content. */
    rig_send(&client, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(rig_answer_of(&client, true), "Transfer-Encoding: chunked\r\n");
    assert_string_equal(rig_content(rig_ask(&client, GET("/known"))), "abcdef");
    /* HTTP/1.0 has no chunks: the end of the connection is the content's. */
    rig_send(&client, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    answer = rig_rest(&client);
    assert_has(answer, "Connection: close\r\n");
    assert_string_equal(rig_content(answer), "hello world of streams");
    rig_close(&client);
}

static void test_streamed(void **state)
{
    run(streamed_body);
}

static void broken_off(struct rig *rig, const char *request, const char *end)
{
    struct rig_client client;

    rig_connect(rig, &client);
    rig_send(&client, request);
    assert_has(rig_rest(&client), end);
    assert_int_equal(client.end_code, 0);
    rig_close(&client);
    /* The answers before it are whole. */
    rig_connect(rig, &client);
    rig_send(&client, GET("/json-text") GET("/large"));
    rig_send(&client, request);
    assert_string_equal(rig_content(rig_answer(&client)), "[1]");
    assert_int_equal(strlen(rig_content(rig_answer(&client))), 20000);
    assert_has(rig_rest(&client), end);
    assert_int_equal(client.end_code, 0);
    rig_close(&client);
}

static void broken_body(struct rig *rig)
{
    struct rig_client client;

    broken_off(rig, GET("/too-much"), "Content-Length: 2\r\n\r\n");
    broken_off(rig, GET("/too-little"), "Content-Length: 4\r\n\r\nabc");
    broken_off(rig, GET("/breaks-off"), "3\r\nabc\r\n");
    /* Nothing but a reset tells a client of HTTP/1.0 without a length. */
    rig_connect(rig, &client);
    rig_send(&client, "GET /breaks-off HTTP/1.0\r\n\r\n");
    while (rig_more(&client))
        ;
    assert_true(client.end_code < 0);
    rig_close(&client);
}

static void test_broken(void **state)
{
    run(broken_body);
}

static void back_pressure_body(struct rig *rig)
{
    struct rig_client client;
    size_t bytes = 0;

    rig_connect(rig, &client);
    rig_send(&client, GET("/endless"));
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(1)), 0);
    assert_in_range(written, 2, 10); /* about what queue and network hold */
    rig_until(&client, "\r\n\r\n");
    while (bytes < (size_t)PIECES * PIECE_BYTES) {
        bytes += client.got.len;
        proa_buf_clear(&client.got);
        if (bytes < (size_t)PIECES * PIECE_BYTES)
            assert_true(rig_more(&client));
    }
    assert_int_equal(written, PIECES);
    rig_close(&client);
}

static void test_back_pressure(void **state)
{
    run(back_pressure_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),  cmocka_unit_test(test_too_many_fields), cmocka_unit_test(test_streamed),
        cmocka_unit_test(test_broken), cmocka_unit_test(test_back_pressure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
