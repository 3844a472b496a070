/* The HTTP client against a scripted server on the simulated network. */
#include "client_rig.h"

#include <proa/otlp.h>
#include <zlib.h>

/* -- Requests ----------------------------------------------------------------------------------------------------- */

static void get_body(struct net *net)
{
    struct proa_trace_ids ids = {.flags = 1};
    struct proa_client_response response;

    memset(ids.trace_id, 0xab, sizeof ids.trace_id);
    memset(ids.span_id, 0xcd, sizeof ids.span_id);
    assert_int_equal(
        fetch(net, (struct proa_client_request){.url = PROA_STR("http://10.0.0.1?q=1#part"), .trace = &ids}, &response),
        0);
    assert_int_equal(response.status, 200);
    assert_int_equal(response.tries, 1);
    assert_true(proa_str_eq(response.body, PROA_STR("hello")));
    assert_true(proa_str_eq(proa_client_field(&response, "x-a"), PROA_STR("1, 2")));
    assert_null(proa_client_field(&response, "absent").ptr);
    assert_string_equal(net->requests[0],
                        "GET /?q=1 HTTP/1.1\r\nHost: 10.0.0.1\r\nUser-Agent: proa\r\n"
                        "Accept-Encoding: gzip\r\n"
                        "traceparent: 00-abababababababababababababababab-cdcdcdcdcdcdcdcd-01\r\n\r\n");
}

static void test_get(void **state)
{
    struct net net = {.steps = {{"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\nx-a:  2 \r\n\r\nhello"}}};

    run(&net, get_body);
}

static void post_body(struct net *net)
{
    static const struct proa_client_field fields[] = {{"X-Key", {"k", 1}}, {"user-agent", {"mine", 4}}};
    struct proa_client_response response;

    assert_int_equal(fetch(net,
                           (struct proa_client_request){.method = "POST",
                                                        .body = PROA_STR("{}"),
                                                        .content_type = "application/json",
                                                        .fields = fields,
                                                        .fields_count = 2},
                           &response),
                     0);
    assert_int_equal(response.status, 204);
    assert_int_equal(response.body.len, 0);
    assert_string_equal(net->requests[0], "POST /x HTTP/1.1\r\nHost: 10.0.0.1\r\nAccept-Encoding: gzip\r\n"
                                          "Content-Type: application/json\r\nContent-Length: 2\r\nX-Key: k\r\n"
                                          "user-agent: mine\r\n\r\n{}");
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "HEAD"}, &response), 0);
    assert_int_equal(response.status, 200);
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(net->connections, 1); /* the HEAD's Content-Length was not waited for */
}

static void test_post_and_head(void **state)
{
    struct net net = {
        .steps = {{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"}, {OK("500")}, {OK("0")}}};

    run(&net, post_body);
}

static void refused_body(struct net *net)
{
    static const struct proa_client_field bad_name[] = {{"X Key", {"k", 1}}}, bad_value[] = {{"X", {"a\r\nB: c", 7}}},
                                          ours[] = {{"content-length", {"7", 1}}};
    static const char *const urls[] = {"ftp://10.0.0.1/",
                                       "http://",
                                       "http://a b/",
                                       "http://10.0.0.1:0/",
                                       "http://10.0.0.1:99999/",
                                       "http://u:p@10.0.0.1/",
                                       "http://10.0.0.1/a b",
                                       "http://10.0.0.1/\r\nX: y",
                                       "http://[::1/",
                                       "x"};
    struct proa_client_response response;

    for (size_t i = 0; i < PROA_COUNT(urls); i++)
        assert_int_equal(fetch(net, (struct proa_client_request){.url = proa_str_c(urls[i])}, &response), PROA_EINVAL);
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "GE T"}, &response), PROA_EINVAL);
    assert_int_equal(fetch(net, (struct proa_client_request){.fields = bad_name, .fields_count = 1}, &response),
                     PROA_EINVAL);
    assert_int_equal(fetch(net, (struct proa_client_request){.fields = bad_value, .fields_count = 1}, &response),
                     PROA_EINVAL);
    assert_int_equal(fetch(net, (struct proa_client_request){.fields = ours, .fields_count = 1}, &response),
                     PROA_EINVAL);
    assert_int_equal(fetch(net, (struct proa_client_request){.url = PROA_STR("https://10.0.0.1/")}, &response),
                     PROA_EUNSUPPORTED);
    assert_int_equal(net->connections, 0);
}

static void test_bad_requests_are_refused(void **state)
{
    struct net net = {0};

    run(&net, refused_body);
}

/* -- Answers ------------------------------------------------------------------------------------------------------ */

static void answers_body(struct net *net)
{
    struct proa_client_response response;

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_true(proa_str_eq(response.body, PROA_STR("hello world")));
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0); /* no length: up to the end */
    assert_true(proa_str_eq(response.body, PROA_STR("until the end")));
    assert_int_equal(net->connections, 1);
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_EUNAVAILABLE);
    assert_non_null(strstr(net->err.message, "cut off"));
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_EPROTOCOL);
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_EPROTOCOL);
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true, .body_bytes_max = 10}, &response),
                     PROA_ETOOLARGE);
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_EPROTOCOL);
    /* Codings of the transfer that were not offered: what is inside is not the body. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_EPROTOCOL);
        assert_string_equal(net->err.message, "GET 10.0.0.1: the answer has a transfer coding beside chunked");
    }
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), 0);
}

static void test_answers(void **state)
{
    struct net net = {
        .steps = {
            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: 1\r\n\r\n"},
            {"HTTP/1.1 200 OK\r\n\r\nuntil the end", .close = true},
            {OK("10") "short", .close = true},
            {"SSH-2.0-x\r\n", .close = true},
            {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", .close = true},
            {OK("11") "hello world"},
            {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", .close = true},
            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", .close = true},
            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", .close = true},
            {"HTTP/1.1 200 OK\r\ntransfer-encoding:Chunked\r\n\r\n0\r\n\r\n"}}};

    run(&net, answers_body);
}

/* What is not HTTP/1.1 beyond doubt is refused, and nothing of it is taken for the next request's answer. */
struct odd_answer {
    const char *text;
    int rc;           /* of the fetch */
    const char *body; /* NULL: not looked at */
    const char *next; /* the field X-Next; NULL: none */
};

#define HEAD_200 "HTTP/1.1 200 OK\r\n"
static const struct odd_answer odd_answers[] = {
    {HEAD_200 "X-Empty:\r\nX-Next: v\r\nContent-Length: 1\r\n\r\na", 0, "a", "v"},
    {HEAD_200 "Content-Length: 1\r\nX-Empty: \r\nX-Next:\r\n\r\na", 0, "a", ""},
    {HEAD_200 "X-Next: v\r\nContent-Length: 1\r\nX-Empty:\r\n\r\na", 0, "a", "v"},
    {HEAD_200 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Content-Length: 1, 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Content-Length: +1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Content-Length: -1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Content-Length: 0x1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Content-Length:\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Content-Length: 18446744073709551617\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Content-Length : 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Content-Length: 1\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {"HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "X-Next: a\r\n b\r\nContent-Length: 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "X-Next: a\rb\r\nContent-Length: 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "X-Next: a\x01\r\nContent-Length: 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Content-Length: 1\r\n\r\nabc", 0, "a", NULL},
    {HEAD_200 "Content-Length: 1\r\n\r\na" HEAD_200 "Content-Length: 4\r\n\r\nevil", 0, "a", NULL},
    {"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", 0, "", NULL},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil", 0, "", NULL},
    {"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n", 0, "", NULL},
    {"HTTP/1.1 103 Early Hints\r\nX-Next: x\r\n\r\n" HEAD_200 "Content-Length: 1\r\n\r\na", 0, "a", NULL},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\n" HEAD_200 "Content-Length: 1\r\n\r\na", 0, "a", NULL},
    {"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\n" HEAD_200 "Content-Length: 1\r\n\r\na", 0, "a", NULL},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 0, "a", NULL},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\na", 0, "a", NULL},
    {"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", 0, "a", NULL},
    {"HTTP/0.9 200 OK\r\nContent-Length: 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {"HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {"HTTP/1.1 20 OK\r\nContent-Length: 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {"HTTP/1.1 2000 OK\r\nContent-Length: 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {"HTTP/1.1 000 OK\r\nContent-Length: 1\r\n\r\na", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Transfer-Encoding: chunked\r\n\r\n1;x\n\r\na\r\n0\r\n\r\n", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Next: t\r\n\r\n", 0, "a", NULL},
    {HEAD_200 "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 9\r\n\r\n", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", PROA_EPROTOCOL, NULL, NULL},
    {HEAD_200 "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", PROA_EPROTOCOL, NULL, NULL},
};

static void odd_body(struct net *net)
{
    for (size_t i = 0; i < PROA_COUNT(odd_answers); i++) {
        const struct odd_answer *odd = &odd_answers[i];
        struct proa_client_response response;
        int rc;

        proa_error_clear(&net->err);
        net->steps[net->step % STEPS_MAX] = (struct step){odd->text};
        rc = fetch(net, (struct proa_client_request){.no_retries = true}, &response);
        if (rc != odd->rc)
            fail_msg("%d (%s) for %s", rc, net->err.message, odd->text);
        if (rc == 0) {
            assert_true(proa_str_eq_c(response.body, odd->body));
            assert_true(proa_str_eq(proa_client_field(&response, "X-Next"), proa_str_c(odd->next)));
        }
        net->steps[net->step % STEPS_MAX] = (struct step){OK("5") "clean"};
        assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), 0);
        assert_true(proa_str_eq(response.body, PROA_STR("clean")));
    }
}

static void test_odd_answers(void **state)
{
    struct net net = {0};

    run(&net, odd_body);
}

static void cut_off_body(struct net *net)
{
    struct proa_client_request request = {.method = "POST", .url = PROA_STR("http://10.0.0.1/")};
    struct proa_client_response response;
    struct proa_exchange *exchange;
    proa_str piece;

    /* It was done, and what came of it is lost: no error that asks for a repeat. */
    assert_int_equal(fetch(net, request, &response), PROA_EUNKNOWN);
    assert_string_equal(net->err.message, "POST 10.0.0.1: the answer was cut off: what came of the request is unknown");
    request.may_repeat = true;
    assert_int_equal(fetch(net, request, &response), PROA_EUNAVAILABLE);
    assert_string_equal(net->err.message, "POST 10.0.0.1: the answer was cut off");
    /* Who reads piece by piece has seen the status. */
    request.may_repeat = false;
    proa_error_clear(&net->err);
    assert_int_equal(proa_client_open(net->client, &net->arena, &request, &exchange, &net->err), 0);
    assert_int_equal(proa_exchange_read(exchange, &piece, &net->err), 0);
    assert_true(proa_str_eq(piece, PROA_STR("short")));
    assert_int_equal(proa_exchange_read(exchange, &piece, &net->err), PROA_EUNAVAILABLE);
    proa_exchange_close(exchange);
    assert_int_equal(net->requests_count, 3);
}

static void test_answers_that_are_cut_off(void **state)
{
    struct net net = {.steps = {{OK("10") "short", .close = true},
                                {OK("10") "short", .close = true},
                                {OK("10") "short", .close = true}}};

    run(&net, cut_off_body);
}

static void large_head_body(struct net *net)
{
    struct proa_client_response response;

    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_ETOOLARGE);
}

static void test_large_heads_are_refused(void **state)
{
    static char head[80 * 1024];
    struct net net = {.steps = {{head}}};
    size_t len = (size_t)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nX: ");

    memset(head + len, 'a', sizeof head - len - 1);
    run(&net, large_head_body);
}

static void gzip_body(struct net *net)
{
    struct proa_client_response response;
    struct proa_exchange *exchange;
    size_t total = 0, largest = 0;
    proa_str piece;

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(response.body.len, 300000);
    for (size_t i = 0; i < response.body.len; i++)
        assert_true(response.body.ptr[i] == 'z');
    /* Not held in memory whole when read piece by piece; refused when it would be too large in memory. */
    assert_int_equal(proa_client_open(net->client, &net->arena,
                                      &(struct proa_client_request){.url = PROA_STR("http://10.0.0.1/")}, &exchange,
                                      &net->err),
                     0);
    assert_true(proa_str_eq_c(proa_exchange_field(exchange, "content-encoding"), "gzip"));
    assert_null(proa_exchange_field(exchange, "X-Missing").ptr);
    for (;;) {
        assert_int_equal(proa_exchange_read(exchange, &piece, &net->err), 0);
        if (!piece.ptr)
            break;
        total += piece.len;
        largest = piece.len > largest ? piece.len : largest;
    }
    assert_int_equal(total, 300000);
    assert_true(largest <= 16 * 1024);
    proa_exchange_close(exchange);
    proa_exchange_close(exchange);
    assert_int_equal(fetch(net, (struct proa_client_request){.body_bytes_max = 1000}, &response), PROA_ETOOLARGE);
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_EPROTOCOL);
    assert_int_equal(net->connections, 1); /* what was refused had been read to its end */
}

/* A member of its own. @returns its bytes. */
static size_t compress_to(const unsigned char *plain, size_t bytes, char *out, size_t room)
{
    z_stream z = {0};
    size_t len;

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)plain;
    z.avail_in = (unsigned)bytes;
    z.next_out = (unsigned char *)out;
    z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    len = z.total_out;
    deflateEnd(&z);
    return len;
}

/* An answer with a compressed body. @returns its bytes. */
static size_t coded_answer(const char *body, size_t len, char *out, size_t room)
{
    size_t head =
        (size_t)snprintf(out, room, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", len);

    assert_true(head + len <= room);
    memcpy(out + head, body, len);
    return head + len;
}

static void test_gzip(void **state)
{
    static unsigned char plain[300000];
    static char answer[4096], broken[] = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope";
    char compressed[2048];
    size_t len;

    memset(plain, 'z', sizeof plain);
    len = compress_to(plain, sizeof plain, compressed, sizeof compressed);
    len = coded_answer(compressed, len, answer, sizeof answer);
    {
        struct net net = {.steps = {{answer, len}, {answer, len}, {answer, len}, {broken}}};

        run(&net, gzip_body);
    }
}

static void gzip_empty_body(struct net *net)
{
    struct proa_client_response response;

    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(fetch(net, (struct proa_client_request){.method = "DELETE"}, &response), 0);
        assert_int_equal(response.body.len, 0);
    }
    assert_int_equal(net->connections, 1);
    /* One that breaks off in a member is cut off. */
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_EPROTOCOL);
}

static void test_coded_answers_without_content(void **state)
{
    char nothing[64], none[256], half[256];
    size_t len = compress_to((const unsigned char *)"", 0, nothing, sizeof nothing), none_len, half_len;
    struct net net = {0};

    none_len = coded_answer(nothing, len, none, sizeof none);
    half_len = coded_answer(nothing, len - 5, half, sizeof half);
    net.steps[0] = (struct step){"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n"};
    net.steps[1] = (struct step){"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\nContent-Length: 77\r\n\r\n"};
    net.steps[2] = (struct step){"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"};
    net.steps[3] = (struct step){none, none_len};
    net.steps[4] = (struct step){half, half_len};
    run(&net, gzip_empty_body);
}

static void gzip_members_body(struct net *net)
{
    struct proa_client_response response;

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_true(proa_str_eq(response.body, PROA_STR("one, two")));
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_true(proa_str_eq(response.body, PROA_STR("one, two")));
    assert_int_equal(net->connections, 1);
    /* What begins as a member must be one. */
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_EPROTOCOL);
}

static void test_gzip_of_several_members(void **state)
{
    char body[256], plain[512], padded[512], broken[512];
    size_t len = compress_to((const unsigned char *)"one, ", 5, body, sizeof body);
    struct net net = {0};

    len += compress_to((const unsigned char *)"two", 3, body + len, sizeof body - len);
    net.steps[0] = (struct step){plain, coded_answer(body, len, plain, sizeof plain)};
    memcpy(body + len, "\0\0\0", 3);
    net.steps[1] = (struct step){padded, coded_answer(body, len + 3, padded, sizeof padded)};
    memcpy(body + len, "\x1f\x8b\x01", 3);
    net.steps[2] = (struct step){broken, coded_answer(body, len + 3, broken, sizeof broken)};
    run(&net, gzip_members_body);
}

/* -- Repeats ------------------------------------------------------------------------------------------------------ */

static void repeats_body(struct net *net)
{
    struct proa_client_response response;
    proa_mono_ns start = proa_loop_now_exact(net->loop);

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(response.status, 200);
    assert_int_equal(response.tries, 2); /* the kept connection that was gone is no try */
    assert_true(proa_loop_now_exact(net->loop) - start >= PROA_SECONDS(2)); /* Retry-After was heard */
    /* A POST that was answered is answered. */
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "POST"}, &response), 0);
    assert_int_equal(response.status, 503);
    assert_int_equal(response.tries, 1);
    /* One that was lost is unknown … */
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "POST"}, &response), PROA_EUNKNOWN);
    /* … unless the caller says that twice is as once. */
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "POST", .may_repeat = true}, &response), 0);
    assert_int_equal(response.tries, 2);
    /* An answer to try later that does not end is given to the caller. */
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(response.status, 503);
    assert_int_equal(response.tries, 3);
    assert_int_equal(proa_client_status(&response, &net->err), PROA_EBUSY);
    assert_string_equal(net->err.message, "answered 503: the shop is closed");
    /* Longer than the deadline is not waited. */
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(response.tries, 1);
    assert_int_equal(response.status, 503);
    assert_int_equal(proa_client_status(&response, &net->err), PROA_EBUSY);
    assert_int_equal(net->err.retry_after_s, 100);
}

static const char later[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno";
static const char problem[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: "
    "31\r\n\r\n{\"detail\":\"the shop is closed\"} ";

static void test_repeats(void **state)
{
    struct net net = {
        .steps = {{"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 2\r\n\r\nno"},
                  {.reset = true},
                  {OK("0")},
                  {later},
                  {.reset = true},
                  {.reset = true},
                  {OK("0")},
                  {problem},
                  {problem},
                  {problem},
                  {"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 100\r\nContent-Length: 2\r\n\r\nno"}}};

    run(&net, repeats_body);
}

/* The simulated year begins with the test. */
#define BUSY_UNTIL(date) "HTTP/1.1 503 Service Unavailable\r\nRetry-After: " date "\r\nContent-Length: 2\r\n\r\nno"

static uint32_t retry_after_told(struct net *net)
{
    struct proa_client_response response;

    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), 0);
    assert_int_equal(response.status, 503);
    assert_int_equal(proa_client_status(&response, &net->err), PROA_EBUSY);
    assert_int_equal(net->err.retry_after_s, response.retry_after_s);
    return response.retry_after_s;
}

static void dates_body(struct net *net)
{
    struct proa_client_response response;
    proa_mono_ns start = proa_loop_now_exact(net->loop);

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(response.status, 200);
    assert_in_range(proa_loop_now_exact(net->loop) - start, PROA_MS(4900), PROA_MS(6500));
    assert_int_equal(response.retry_after_s, 0);
    /* In all three forms, and up to the second that is told. */
    assert_in_range(retry_after_told(net), 3590, 3595);
    assert_in_range(retry_after_told(net), 3590, 3595);
    assert_in_range(retry_after_told(net), 3590, 3595);
    assert_in_range(retry_after_told(net), UINT32_C(7900) * 365 * 86400, UINT32_MAX);
    /* Over, or no date. */
    for (int i = 0; i < 4; i++)
        assert_int_equal(retry_after_told(net), 0);
    assert_int_equal(retry_after_told(net), UINT32_MAX);
}

static void test_retry_after_as_a_date(void **state)
{
    struct net net = {.steps = {{BUSY_UNTIL("Thu, 01 Jan 2026 00:00:05 GMT")},
                                {OK("0")},
                                {BUSY_UNTIL("Thu, 01 Jan 2026 01:00:00 GMT")},
                                {BUSY_UNTIL("Thursday, 01-Jan-26 01:00:00 GMT")},
                                {BUSY_UNTIL("Thu Jan  1 01:00:00 2026")},
                                {BUSY_UNTIL("Fri, 01 Jan 2262 00:00:00 GMT")},
                                {BUSY_UNTIL("Wed, 31 Dec 2025 23:59:59 GMT")},
                                {BUSY_UNTIL("Thu, 01 Jan 2026 00:00:00 GMT")},
                                {BUSY_UNTIL("2026-01-01T01:00:00Z")},
                                {BUSY_UNTIL("-5")},
                                {BUSY_UNTIL("99999999999")}}};

    run(&net, dates_body);
}

static void otlp_body(struct net *net)
{
    static const uint32_t least[] = {7, 25, 3600, 3600, 0}, most[] = {7, 30, 3600, 3600, 0};
    struct proa_otlp_client sender = {.client = net->client, .url = PROA_STR("http://10.0.0.1/v1/traces")};
    const struct proa_otlp_request request = {.content_type = "application/x-protobuf", .body = PROA_STR("x")};

    for (size_t i = 0; i < PROA_COUNT(least); i++) {
        struct proa_otlp_answer answer = {0};

        assert_int_equal(proa_otlp_client_send(&sender, &request, &answer, &net->err), 0);
        assert_int_equal(answer.status, 503);
        assert_in_range(answer.retry_after_s, least[i], most[i]);
        proa_buf_done(&answer.body);
    }
}

/* What the exporter hears of a collector: no more than an hour. */
static void test_retry_after_of_a_collector(void **state)
{
    struct net net = {.steps = {{BUSY_UNTIL("7")},
                                {BUSY_UNTIL("Thu, 01 Jan 2026 00:00:30 GMT")},
                                {BUSY_UNTIL("Thu, 01 Jan 2026 02:00:00 GMT")},
                                {BUSY_UNTIL("7200")},
                                {BUSY_UNTIL("Wed, 31 Dec 2025 23:00:00 GMT")}}};

    run(&net, otlp_body);
}

static void budget_body(struct net *net)
{
    struct proa_client_response response;

    for (int i = 0; i < 6; i++) {
        assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
        assert_int_equal(response.status, 503);
    }
    /* Ten repeats at the most, and a tenth of one for each request. */
    assert_true(net->requests_count >= 16 && net->requests_count <= 17);
}

static void test_the_budget_bounds_repeats(void **state)
{
    struct net net = {0};

    for (size_t i = 0; i < STEPS_MAX; i++)
        net.steps[i].answer = later;
    run(&net, budget_body);
}

static void stale_body(struct net *net)
{
    struct proa_client_response response;

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    /* The server closes without an answer as the next request comes: repeated at once, and not counted as a try. */
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(response.tries, 1);
    assert_int_equal(net->connections, 2);
    /* Not for what may not be repeated. */
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "POST"}, &response), PROA_EUNKNOWN);
    /* A close while it is idle is seen at once. */
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(proa_sleep(net->loop, PROA_MS(100)), 0);
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "POST"}, &response), 0);
    assert_int_equal(net->connections, 4);
}

static void test_stale_connections(void **state)
{
    struct net net = {
        .steps = {{OK("0")}, {.close = true}, {OK("0")}, {.close = true}, {OK("0"), .close = true}, {OK("0")}}};

    run(&net, stale_body);
}

/* -- Deadlines ------------------------------------------------------------------------------------------------------- */

static void deadlines_body(struct net *net)
{
    struct proa_client_response response;
    proa_mono_ns start = proa_loop_now_exact(net->loop);

    assert_int_equal(fetch(net, (struct proa_client_request){.timeout_ms = 300}, &response), PROA_ETIMEDOUT);
    assert_true(proa_loop_now_exact(net->loop) - start < PROA_MS(310));
    proa_sim_partition(net->sim, "10.0.0.1:80", true);
    start = proa_loop_now_exact(net->loop);
    assert_int_equal(fetch(net, (struct proa_client_request){.no_retries = true}, &response), PROA_EUNAVAILABLE);
    assert_in_range(proa_loop_now_exact(net->loop) - start, PROA_SECONDS(5), PROA_SECONDS(6)); /* connect_ms */
    assert_int_equal(fetch(net, (struct proa_client_request){.timeout_ms = 100}, &response), PROA_ETIMEDOUT);
    /* What was certainly not sent is tried again, whatever its method. */
    start = proa_loop_now_exact(net->loop);
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "POST"}, &response), PROA_EUNAVAILABLE);
    assert_in_range(proa_loop_now_exact(net->loop) - start, PROA_SECONDS(15), PROA_SECONDS(16));
    proa_sim_partition(net->sim, "10.0.0.1:80", false);
    assert_int_equal(
        fetch(net, (struct proa_client_request){.url = PROA_STR("http://10.0.0.9/"), .no_retries = true}, &response),
        PROA_EUNAVAILABLE);
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
}

static void test_deadlines(void **state)
{
    struct net net = {.steps = {{OK("0"), .delay_ms = 1000, .close = true}, {OK("0")}, {OK("0")}}};

    run(&net, deadlines_body);
}

/* -- Proxies and described answers -------------------------------------------------------------------------------- */

static void proxy_body(struct net *net)
{
    struct proa_client_response response;

    assert_int_equal(fetch(net, (struct proa_client_request){.url = PROA_STR("http://example.org:8080/a")}, &response),
                     0);
    assert_non_null(strstr(net->requests[0], "GET http://example.org:8080/a HTTP/1.1\r\nHost: example.org:8080\r\n"));
    assert_non_null(strstr(net->requests[0], "Proxy-Authorization: Basic dTpw\r\n"));
    assert_int_equal(fetch(net, (struct proa_client_request){.url = PROA_STR("http://10.0.0.1/b")}, &response), 0);
    assert_non_null(strstr(net->requests[1], "GET /b HTTP/1.1\r\n"));
}

static void test_proxy(void **state)
{
    char *env[] = {"HTTP_PROXY=http://u:p@10.0.0.1:80", "NO_PROXY=.example.com, 10.0.0.0/8", NULL};
    struct net net = {.steps = {{OK("0")}, {OK("0")}}, .options = {.env = env}};

    run(&net, proxy_body);
}

/* A layer that lays nothing: what TLS would be given. */
static int wrap_nothing(const struct proa_stream_layer *layer, struct proa_stream *inner, const char *server_name,
                        struct proa_stream **ret_stream, struct proa_error *err)
{
    *ret_stream = inner;
    return 0;
}

static const struct proa_stream_layer nothing = {wrap_nothing};

static void tunnel_body(struct net *net)
{
    struct proa_client_response response;

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(fetch(net, (struct proa_client_request){.url = PROA_STR("https://example.org/a")}, &response),
                         0);
        assert_true(proa_str_eq(response.body, PROA_STR("hello")));
    }
    assert_int_equal(net->connections, 1);
    assert_string_equal(net->requests[0], "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n"
                                          "Proxy-Authorization: Basic dTpw\r\n\r\n");
    assert_non_null(strstr(net->requests[1], "GET /a HTTP/1.1\r\nHost: example.org\r\n"));
    assert_null(strstr(net->requests[1], "Proxy-Authorization"));
    /* The brackets of IPv6 are told in both places. */
    assert_int_equal(
        fetch(net, (struct proa_client_request){.url = PROA_STR("https://[2001:db8::1]:8443/"), .no_retries = true},
              &response),
        PROA_EUNAUTHORIZED);
    assert_string_equal(net->err.message, "GET [2001:db8::1]:8443: the proxy 10.0.0.1:80 answered 407");
    assert_string_equal(net->requests[3], "CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n"
                                          "Proxy-Authorization: Basic dTpw\r\n\r\n");
    assert_int_equal(net->connections, 2);
}

static void test_tunnel(void **state)
{
    char *env[] = {"HTTPS_PROXY=http://u:p@10.0.0.1:80", NULL};
    struct net net = {.steps = {{"HTTP/1.1 200 Connection established\r\n\r\n"},
                                {OK("5") "hello"},
                                {OK("5") "hello"},
                                {"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno"}},
                      .options = {.env = env, .tls = &nothing}};

    run(&net, tunnel_body);
}

static void broken_tunnel_body(struct net *net)
{
    struct proa_client_request post = {.method = "POST", .url = PROA_STR("https://example.org/"), .timeout_ms = 20000};
    struct proa_client_response response;

    /* Reset, closed, silent, not HTTP: nothing was sent to the origin, and so a POST is tried again too. */
    assert_int_equal(fetch(net, post, &response), 0);
    assert_int_equal(response.tries, 3);
    post.no_retries = true;
    post.url = PROA_STR("https://example.com/");
    assert_int_equal(fetch(net, post, &response), PROA_EUNAVAILABLE);
    assert_string_equal(net->err.message, "POST example.com: the proxy 10.0.0.1:80: no answer in time");
    assert_int_equal(fetch(net, post, &response), PROA_EPROTOCOL);
    assert_int_equal(fetch(net, post, &response), PROA_EUNAVAILABLE);
    assert_string_equal(net->err.message, "POST example.com: the proxy 10.0.0.1:80 answered 502");
    assert_int_equal(proa_sleep(net->loop, PROA_SECONDS(10)), 0);
    assert_int_equal(net->open, 1); /* that of the first request, which is kept */
}

static void test_tunnels_that_break(void **state)
{
    char *env[] = {"https_proxy=10.0.0.1:80", NULL};
    struct net net = {.steps = {{.reset = true},
                                {.close = true},
                                {"HTTP/1.1 200 OK\r\n\r\n"},
                                {OK("0")},
                                {.delay_ms = 10000},
                                {"SSH-2.0-x\r\n", .close = true},
                                {"HTTP/1.1 502 Bad Gateway\r\n\r\n", .close = true}},
                      .options = {.env = env, .tls = &nothing}};

    run(&net, broken_tunnel_body);
}

static void test_no_proxy(void **state)
{
    static const struct {
        const char *none_for, *url;
        bool proxied;
    } cases[] = {
        {"", "http://example.org/", true},
        {"*", "http://example.org/", false},
        {"example.org", "http://example.org/", false},
        {"example.org", "http://www.example.org/", false},
        {".example.org", "http://example.org/", false},
        {"*.example.org", "http://www.Example.Org/", false},
        {"example.org", "http://notexample.org/", true},
        {"example.org:81", "http://example.org/", true},
        {"a, example.org:81", "http://example.org:81/", false},
        {"192.168.0.0/16", "http://192.168.3.4/", false},
        {"192.168.0.0/16", "http://192.169.3.4/", true},
        {"2001:db8::/32", "http://[2001:db8::5]/", false},
        {"", "http://localhost/", false},
        {"", "http://127.0.0.9:8080/", false},
        {"", "http://[::1]/", false},
    };

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        char none_for[64];
        char *env[] = {"http_proxy=10.0.0.1:80", none_for, NULL};
        struct client_proxies proxies;
        struct proa_arena arena;
        struct client_url url;

        snprintf(none_for, sizeof none_for, "no_proxy=%s", cases[i].none_for);
        proa_arena_init(&arena, NULL, 0);
        assert_int_equal(client_proxies_init(&proxies, env, NULL), 0);
        assert_int_equal(client_url_parse(&arena, proa_str_c(cases[i].url), &url, NULL), 0);
        if ((client_proxy_for(&proxies, &url) != NULL) != cases[i].proxied)
            fail_msg("%s with NO_PROXY=%s", cases[i].url, cases[i].none_for);
        client_proxies_done(&proxies);
        proa_arena_done(&arena);
    }
    {
        char *cgi[] = {"HTTP_PROXY=10.0.0.1:80", "REQUEST_METHOD=GET", NULL},
             *bad[] = {"HTTPS_PROXY=http://secret@", NULL};
        struct proa_error err = {0};
        struct client_proxies proxies;

        assert_int_equal(client_proxies_init(&proxies, cgi, NULL), 0);
        assert_null(proxies.http.address);
        client_proxies_done(&proxies);
        assert_int_equal(client_proxies_init(&proxies, bad, &err), PROA_EINVAL);
        assert_null(strstr(err.message, "secret"));
        client_proxies_done(&proxies);
    }
}

struct price {
    uint64_t cents;
};
PROA_DESCRIBE(price, (cents, u64));

static void json_body(struct net *net)
{
    struct proa_client_request request = {.url = PROA_STR("http://10.0.0.1/price")};
    struct price price = {0};

    assert_int_equal(proa_client_json(net->client, &net->arena, &request, &price_type, &price, &net->err), 0);
    assert_int_equal(price.cents, 125);
    assert_int_equal(proa_client_json(net->client, &net->arena, &request, &price_type, &price, &net->err),
                     PROA_EPROTOCOL);
    assert_int_equal(proa_client_json(net->client, &net->arena, &request, &price_type, &price, &net->err),
                     PROA_ENOTFOUND);
}

static void test_json(void **state)
{
    struct net net = {.steps = {{OK("13") "{\"cents\":125}"},
                                {OK("14") "{\"cents\":\"no\"}"},
                                {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}}};

    run(&net, json_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_post_and_head),
        cmocka_unit_test(test_bad_requests_are_refused),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_odd_answers),
        cmocka_unit_test(test_answers_that_are_cut_off),
        cmocka_unit_test(test_large_heads_are_refused),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_coded_answers_without_content),
        cmocka_unit_test(test_gzip_of_several_members),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_retry_after_as_a_date),
        cmocka_unit_test(test_retry_after_of_a_collector),
        cmocka_unit_test(test_the_budget_bounds_repeats),
        cmocka_unit_test(test_stale_connections),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_tunnel),
        cmocka_unit_test(test_tunnels_that_break),
        cmocka_unit_test(test_no_proxy),
        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests_name("http/client", tests, NULL, NULL);
}
