/* What a handler sees of its request: fields, bound structs, bodies, values, trace context, log. */
#include "http_rig.h"

#include <fcntl.h>
#include <proa/log.h>
#include <proa/type.h>
#include <unistd.h>

#define HOST "Host: a\r\n"

static int state_object, route_object;
static PROA_REQ_KEY(value_key, uint64_t);

static int looks(struct proa_req *req)
{
    struct proa_arena *arena = proa_req_arena(req);
    proa_str name, value, peer = proa_req_peer(req), text;
    uint64_t u64;
    int64_t i64;

    assert_ptr_equal(proa_req_state(req), &state_object);
    assert_ptr_equal(proa_req_route_arg(req), &route_object);
    assert_true(peer.len > 0);
    assert_true(proa_str_eq_c(proa_req_header(req, "x-MANY"), "1, 2"));
    assert_true(proa_str_eq_c(proa_req_header(req, "X-One"), "3"));
    assert_null(proa_req_header(req, "X-None").ptr);
    assert_true(proa_req_header_at(req, 1, &name, &value));
    assert_true(proa_str_eq_c(name, "X-Many") && proa_str_eq_c(value, "1"));
    assert_false(proa_req_header_at(req, 99, &name, &value));
    assert_null(proa_req_trailer(req, "X").ptr);
    assert_null(proa_req_param(req, "none").ptr);
    assert_int_equal(proa_req_param_u64(req, "id", &u64), PROA_EINVAL);
    assert_int_equal(proa_req_param_i64(req, "id", &i64), 0);
    assert_int_equal(i64, -5);
    proa_error_clear(proa_req_error(req));
    assert_null(proa_req_value(req, &value_key));
    assert_int_equal(proa_req_set_value(req, &value_key, &u64), 0);
    assert_ptr_equal(proa_req_value(req, &value_key), &u64);
    text = proa_arena_printf(arena, PROA_FMT " " PROA_FMT " " PROA_FMT " " PROA_FMT " %d %s",
                             PROA_ARG(proa_req_method_text(req)), PROA_ARG(proa_req_path(req)),
                             PROA_ARG(proa_req_query_text(req)), PROA_ARG(proa_req_host(req)), proa_req_method(req),
                             proa_req_route(req));
    return proa_reply_text(req, 200, text);
}

/* Query and header fields. */
struct search {
    uint32_t limit;
    proa_str q;
    PROA_ARRAY_OF(proa_str) tag;
    PROA_OPTIONAL(bool) deep;
};
PROA_DESCRIBE(search, (limit, u32, PROA_RANGE(1, 100), .default_json = "20"), (q, str, .max_len = 5), (tag, array(str)),
              (deep, optional(boolean)));

static int searches(struct proa_req *req)
{
    struct search search;

    PROA_TRY(proa_req_query(req, &search_type, &search));
    return proa_reply_printf(req, 200, "%u " PROA_FMT " %zu " PROA_FMT " %d", search.limit, PROA_ARG(search.q),
                             search.tag.len, PROA_ARG(search.tag.len ? search.tag.ptr[search.tag.len - 1] : search.q),
                             search.deep.presence == PROA_SET ? search.deep.value : -1);
}

struct wanted_fields {
    proa_str x_name;
    PROA_OPTIONAL(int32_t) x_count;
};
PROA_DESCRIBE(wanted_fields, (x_name, str), (x_count, optional(i32)));

static int reads_fields(struct proa_req *req)
{
    struct wanted_fields fields;

    PROA_TRY(proa_req_headers(req, &wanted_fields_type, &fields));
    return proa_reply_printf(req, 200, PROA_FMT " %d", PROA_ARG(fields.x_name), fields.x_count.value);
}

/* Bodies. */
struct user {
    proa_str name;
    uint8_t age;
};
PROA_DESCRIBE(user, (name, str, .min_len = 1), (age, u8));

static int makes(struct proa_req *req)
{
    struct user user;

    PROA_TRY(proa_req_json(req, &user_type, &user));
    return proa_reply_json(req, 201, &user_type, &user);
}

static int patches(struct proa_req *req)
{
    struct user user = {PROA_STR("Ann"), 30};

    PROA_TRY(proa_req_merge_patch(req, &user_type, &user));
    return proa_reply_json(req, 200, &user_type, &user);
}

static int counts(struct proa_req *req)
{
    uint64_t bytes = 0, pieces = 0;
    proa_str piece, trailer;

    for (;;) {
        PROA_TRY(proa_req_body_read(req, &piece));
        if (!piece.ptr)
            break;
        bytes += piece.len;
        pieces++;
        PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(1)));
    }
    PROA_TRY(proa_req_body_read(req, &piece));
    assert_null(piece.ptr);
    trailer = proa_req_trailer(req, "x-sum");
    return proa_reply_printf(req, 200, "%d %d " PROA_FMT, (int)bytes, pieces > 0, PROA_ARG(trailer));
}

static int twice(struct proa_req *req)
{
    proa_str first, second, piece;

    PROA_TRY(proa_req_body(req, &first));
    PROA_TRY(proa_req_body(req, &second));
    assert_true(proa_str_eq(first, second));
    assert_int_equal(proa_req_body_read(req, &piece), PROA_EINTERNAL);
    return proa_reply_text(req, 200, first);
}

static int traces(struct proa_req *req)
{
    const struct proa_trace_ids *ids = proa_req_trace(req);
    char text[PROA_TRACEPARENT_BYTES];

    assert_ptr_equal(ids, proa_req_trace(req));
    proa_traceparent_write(ids, text);
    return proa_reply_text(req, 200, proa_str_n(text, sizeof text));
}

static int logs(struct proa_req *req)
{
    PROA_INFO(proa_req_log(req), "from the handler");
    return proa_fail(proa_req_error(req), PROA_EINTERNAL, "it broke");
}

static int breaks(struct proa_req *req)
{
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", -1));
    PROA_TRY(proa_reply_write(req, PROA_STR("begun")));
    return PROA_EUNAVAILABLE;
}

static int promises(struct proa_req *req)
{
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", 10));
    return proa_reply_write(req, PROA_STR("begun"));
}

static int lasts(struct proa_req *req)
{
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", -1));
    for (;;) {
        PROA_TRY(proa_reply_write(req, PROA_STR("begun")));
        PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(100)));
    }
}

static int dawdles(struct proa_req *req)
{
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(1500)));
    return proa_reply_text(req, 200, PROA_STR("late"));
}

static const struct proa_route routes[] = {
    {PROA_GET, "/looks/{id}", looks, .arg = &route_object},
    {PROA_GET, "/search", searches},
    {PROA_GET, "/fields", reads_fields},
    {PROA_POST, "/users", makes},
    {PROA_PATCH, "/users", patches},
    {PROA_POST, "/counts", counts, .body_bytes_max = 10 * 1000 * 1000},
    {PROA_POST, "/twice", twice},
    {PROA_GET, "/traces", traces},
    {PROA_GET, "/logs", logs},
    {PROA_GET, "/dawdles", dawdles},
    {PROA_GET, "/breaks", breaks},
    {PROA_GET, "/promises", promises},
    {PROA_GET, "/lasts", lasts},
};

static void run(void (*body)(struct rig *rig))
{
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &state_object}, body);
}

static void looks_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    assert_string_equal(rig_content(rig_ask(&client, "GET /looks/-5?a=b HTTP/1.1\r\nHost: a:1\r\nX-Many: 1\r\n"
                                                     "X-One: 3\r\nx-many: 2\r\n\r\n")),
                        "GET /looks/-5 a=b a:1 1 /looks/{id}");
    rig_close(&client);
}

static void test_looks(void **state)
{
    run(looks_body);
}

static void expect(struct rig_client *client, const char *request, int status, const char *part)
{
    const char *answer = rig_ask(client, request);

    assert_status(answer, status);
    assert_has(answer, part);
}

#define SEARCH(query) "GET /search" query " HTTP/1.1\r\n" HOST "\r\n"

static void query_body(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    expect(&client, SEARCH("?q=abc"), 200, "\r\n\r\n20 abc 0 abc -1");
    expect(&client, SEARCH("?q=a%20b+c&limit=7&tag=x&tag=y&deep=true"), 200, "\r\n\r\n7 a b c 2 y 1");
    expect(&client, SEARCH("?q=&&tag=a,b"), 200, "\r\n\r\n20  2 b -1");
    answer = rig_ask(&client, SEARCH("?limit=0&z=1&deep=perhaps&q=toolong"));
    assert_status(answer, 400);
    assert_has(answer, "\"pointer\":\"#/query/limit\"");
    assert_has(answer, "\"pointer\":\"#/query/z\"");
    assert_has(answer, "\"pointer\":\"#/query/deep\"");
    assert_has(answer, "\"pointer\":\"#/query/q\"");
    expect(&client, SEARCH(""), 400, "\"pointer\":\"#/query/q\",\"code\":\"required\"");
    answer = rig_ask(&client, SEARCH("?q=a&q=b&q=c"));
    assert_status(answer, 400);
    assert_has(
        answer,
        "\"errors\":[{\"pointer\":\"#/query/q\",\"code\":\"repeated\",\"detail\":\"q is given more than once\"}]");
    expect(&client, SEARCH("?q=%zz"), 400, "broken escape");
    expect(&client, SEARCH("?%z=a"), 400, "broken escape");
    expect(&client, SEARCH("?%ff=a"), 400, "UTF-8");
    expect(&client, SEARCH("?q=%ff"), 400, "#/query/q");
    /* A name as a part of a JSON pointer, and that as a URI's fragment. */
    expect(&client, SEARCH("?q=a&a/b~c=1"), 400, "\"pointer\":\"#/query/a~1b~0c\"");
    expect(&client, SEARCH("?q=a&%20%C3%A4=1"), 400, "\"pointer\":\"#/query/%20%C3%A4\"");
    expect(&client, "GET /fields HTTP/1.1\r\n" HOST "X-Name: n\r\nx-count: 4\r\n\r\n", 200, "\r\n\r\nn 4");
    expect(&client, "GET /fields HTTP/1.1\r\n" HOST "X-count: x\r\n\r\n", 400, "#/header/x-name");
    rig_close(&client);
}

static void test_query_and_fields(void **state)
{
    run(query_body);
}

static void send_json(struct rig_client *client, const char *method, const char *type, const char *body, int status,
                      const char *part)
{
    char request[500];

    snprintf(request, sizeof request, "%s /users HTTP/1.1\r\n" HOST "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
             method, type, strlen(body), body);
    expect(client, request, status, part);
}

static void json_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    send_json(&client, "POST", "application/json", "{\"name\":\"Bob\",\"age\":300}", 422, "\"pointer\":\"#/age\"");
    send_json(&client, "POST", "application/json; charset=utf-8", "{\"name\":\"Bob\",\"age\":30}", 201,
              "\r\n\r\n{\"name\":\"Bob\",\"age\":30}");
    send_json(&client, "POST", "application/vnd.x+json", "{\"name\":\"Bob\",\"age\":30}", 201, "Bob");
    send_json(&client, "POST", "application/json", "{\"n", 400, "\"status\":400");
    send_json(&client, "POST", "text/plain", "{}", 415, "Accept: application/json\r\n");
    send_json(&client, "POST", "", "{}", 415, "\"status\":415");
    send_json(&client, "POST", "application/json", "{\"age\":\"x\"}", 422, "\"pointer\":\"#/name\"");
    send_json(&client, "POST", "application/json", "{\"age\":\"x\"}", 422, "\"pointer\":\"#/age\"");
    send_json(&client, "PATCH", "application/merge-patch+json", "{\"age\":31}", 200, "{\"name\":\"Ann\",\"age\":31}");
    send_json(&client, "PATCH", "application/json", "{\"age\":31}", 200, "{\"name\":\"Ann\",\"age\":31}");
    send_json(&client, "PATCH", "application/x+json", "{\"age\":31}", 415, "Accept-Patch: ");
    expect(&client, "POST /users HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}", 415, "\"status\":415");
    send_json(&client, "POST", "application/json\r\nContent-Encoding: gzip", "{}", 415,
              "Accept-Encoding: identity\r\n");
    send_json(&client, "POST", "application/json\r\nContent-Encoding: Identity", "{}", 422, "#/name");
    rig_close(&client);
}

static void test_json(void **state)
{
    run(json_body);
}

static void pieces_body(struct rig *rig)
{
    static char piece[100 * 1000];
    struct rig_client client;

    memset(piece, 'x', sizeof piece);
    rig_connect(rig, &client);
    rig_send(&client, "POST /counts HTTP/1.1\r\n" HOST "Content-Length: 5000000\r\n\r\n");
    for (int i = 0; i < 50; i++)
        assert_int_equal(rig_try_send(&client, proa_str_n(piece, sizeof piece)), 0);
    assert_string_equal(rig_content(rig_answer(&client)), "5000000 1 ");
    rig_send(&client, "POST /counts HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        rig_send(&client, "186a0\r\n");
        assert_int_equal(rig_try_send(&client, proa_str_n(piece, sizeof piece)), 0);
        rig_send(&client, "\r\n");
    }
    rig_send(&client, "0\r\nX-Sum: 9\r\n\r\n");
    assert_string_equal(rig_content(rig_answer(&client)), "2000000 1 9");
    assert_string_equal(rig_content(rig_ask(&client, "POST /counts HTTP/1.1\r\n" HOST "\r\n")), "0 0 ");
    assert_string_equal(rig_content(rig_ask(&client, "POST /twice HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc")),
                        "abc");
    /* Cut short. */
    rig_send(&client, "POST /twice HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab");
    proa_stream_shutdown(client.stream);
    assert_status(rig_rest(&client), 400);
    rig_close(&client);
}

static void test_pieces(void **state)
{
    run(pieces_body);
}

static void trace_body(struct rig *rig)
{
    static const char parent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    struct rig_client client;
    char first[PROA_TRACEPARENT_BYTES + 1], request[300];
    const char *text;

    rig_connect(rig, &client);
    snprintf(request, sizeof request, "GET /traces HTTP/1.1\r\n" HOST "traceparent: %s\r\n\r\n", parent);
    text = rig_content(rig_ask(&client, request));
    assert_string_equal(text, parent); /* nobody traces here: it is passed on as it came */
    text = rig_content(rig_ask(&client, "GET /traces HTTP/1.1\r\n" HOST "\r\n"));
    assert_memory_not_equal(text, parent, 36);
    assert_memory_equal(text + 52, "-00", 3);
    memcpy(first, text, sizeof first);
    text = rig_content(rig_ask(&client, "GET /traces HTTP/1.1\r\n" HOST "\r\n"));
    assert_string_not_equal(text, first);
    text = rig_content(rig_ask(&client, "GET /traces HTTP/1.1\r\n" HOST "traceparent: 00-zz-x-01\r\n\r\n"));
    assert_memory_not_equal(text, parent, 36);
    snprintf(request, sizeof request, "GET /traces HTTP/1.1\r\n" HOST "traceparent: %s\r\ntraceparent: %s\r\n\r\n",
             parent, parent);
    assert_memory_not_equal(rig_content(rig_ask(&client, request)), parent, 36);
    /* B3, in one field or several; the W3C's goes before them. */
    text = rig_content(rig_ask(&client, "GET /traces HTTP/1.1\r\n" HOST
                                        "b3: 0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1\r\n\r\n"));
    assert_memory_equal(text, parent, 36);
    assert_memory_equal(text + 52, "-01", 3);
    text = rig_content(rig_ask(&client, "GET /traces HTTP/1.1\r\n" HOST
                                        "X-B3-TraceId: 0af7651916cd43dd8448eb211c80319c\r\nX-B3-Sampled: 1\r\n"
                                        "X-B3-SpanId: b7ad6b7169203331\r\n\r\n"));
    assert_memory_equal(text, parent, 36);
    assert_memory_equal(text + 52, "-01", 3);
    text = rig_content(rig_ask(&client, "GET /traces HTTP/1.1\r\n" HOST "b3: 1\r\n\r\n"));
    assert_memory_not_equal(text + 3, "00000000000000000000000000000000", 32);
    assert_memory_equal(text + 52, "-01", 3);
    text = rig_content(rig_ask(&client, "GET /traces HTTP/1.1\r\n" HOST "x-b3-sampled: 1\r\n\r\n"));
    assert_memory_equal(text + 52, "-01", 3);
    text = rig_content(rig_ask(&client, "GET /traces HTTP/1.1\r\n" HOST "X-B3-Flags: 1\r\n\r\n"));
    assert_memory_equal(text + 52, "-01", 3);
    rig_close(&client);
}

static void test_trace(void **state)
{
    run(trace_body);
}

/* The log. */
static const char *rig_ask_last(struct rig_client *client, const char *request)
{
    rig_send(client, request);
    return rig_rest(client);
}

static void log_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    assert_status(rig_ask(&client, "GET /logs?x HTTP/1.1\r\n" HOST
                                   "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"),
                  500);
    assert_status(rig_ask(&client, "GET /traces HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_status(rig_ask(&client, "GET /dawdles HTTP/1.1\r\n" HOST "\r\n"), 200);
    /* Failures of which the status does not tell: the first two are the handler's, the third is the client's. */
    assert_has(rig_ask_last(&client, "GET /breaks HTTP/1.1\r\n" HOST "\r\n"), "begun");
    rig_close(&client);
    rig_connect(rig, &client);
    assert_has(rig_ask_last(&client, "GET /promises HTTP/1.1\r\n" HOST "\r\n"), "begun");
    rig_close(&client);
    rig_connect(rig, &client);
    rig_send(&client, "GET /lasts HTTP/1.1\r\n" HOST "\r\n");
    rig_until(&client, "begun");
    rig_close(&client);
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(3)), 0);
}

static void read_log(bool all, char *out, size_t bytes)
{
    char path[] = "/tmp/proa-http-log-XXXXXX";
    int fd = mkstemp(path);
    struct proa_log *log;
    struct proa_logger logger;
    ssize_t got;

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(
        proa_log_new(&(struct proa_log_options){.fd = fd, .format = PROA_LOG_FORMAT_JSON, .synchronous = true}, &log,
                     NULL),
        0);
    logger = (struct proa_logger){.log = log, .target = "http"};
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.logger = &logger, .access_log_all = all},
            log_body);
    proa_log_free(log);
    got = pread(fd, out, bytes - 1, 0);
    assert_true(got >= 0);
    out[got] = '\0';
    close(fd);
}

static void test_log(void **state)
{
    static char text[16 * 1024];

    read_log(false, text, sizeof text);
    assert_has(text, "\"target\":\"http\",\"message\":\"from the handler\"");
    assert_has(text, "\"target\":\"http.access\",\"message\":\"request failed\"");
    assert_has(text, "\"request failed\"");
    assert_has(text, "it broke");
    assert_has(text, "0af7651916cd43dd8448eb211c80319c");
    assert_has(text, "\"slow request\"");
    assert_has(text, "\"url.path\":\"/breaks\"");
    assert_has(text, "\"error.type\":\"PROA_EUNAVAILABLE\"");
    assert_has(text, "\"url.path\":\"/promises\"");
    assert_has(text, "\"error.type\":\"PROA_EINTERNAL\",\"error.message\":\"less content than was announced\"");
    assert_has_not(text, "/lasts");
    assert_has_not(text, "/traces");
    read_log(true, text, sizeof text);
    assert_has(text, "\"http.request.method\":\"GET\",\"url.path\":\"/traces\",\"http.route\":\"/traces\","
                     "\"http.response.status_code\":200,\"http.response.body.size\":");
    assert_has(text, ",\"network.peer.address\":\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_looks), cmocka_unit_test(test_query_and_fields),
        cmocka_unit_test(test_json),  cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_trace), cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
