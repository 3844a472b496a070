/* Conditional requests. */
#include "http_rig.h"

#include <proa/conditional.h>

static int matches(const char *list, const char *etag, bool strong)
{
    return proa_etag_matches(proa_str_c(list), etag ? proa_str_c(etag) : proa_str_n(NULL, 0), strong);
}

static void test_matches(void **state)
{
    assert_int_equal(matches("\"a\"", "\"a\"", true), 1);
    assert_int_equal(matches("\"a\"", "\"b\"", true), 0);
    assert_int_equal(matches(" \"x\" ,\"a\"", "\"a\"", true), 1);
    assert_int_equal(matches("W/\"a\"", "\"a\"", true), 0);
    assert_int_equal(matches("W/\"a\"", "\"a\"", false), 1);
    assert_int_equal(matches("\"a\"", "W/\"a\"", true), 0);
    assert_int_equal(matches("\"a\"", "W/\"a\"", false), 1);
    assert_int_equal(matches("*", "\"a\"", true), 1);
    assert_int_equal(matches("*", NULL, true), 0);
    assert_int_equal(matches("\"a\"", NULL, true), 0);
    assert_int_equal(matches("\"a,b\"", "\"a,b\"", true), 1);
    assert_int_equal(matches("\"\"", "\"\"", true), 1);
    assert_int_equal(matches("\"a\",", "\"a\"", true), 1);
    assert_int_equal(matches("", "\"a\"", true), PROA_EINVAL);
    assert_int_equal(matches("a", "\"a\"", true), PROA_EINVAL);
    assert_int_equal(matches("\"a", "\"a\"", true), PROA_EINVAL);
    assert_int_equal(matches("\"a\" \"b\"", "\"a\"", true), PROA_EINVAL);
    assert_int_equal(matches("w/\"a\"", "\"a\"", false), PROA_EINVAL);
    assert_int_equal(matches("\"a b\"", "\"a b\"", false), PROA_EINVAL);
}

static int resource(struct proa_req *req)
{
    int rc = proa_req_precondition(req, PROA_STR("\"7\""));

    PROA_TRY(rc);
    if (rc == PROA_NOT_MODIFIED)
        return proa_reply_empty(req, 304);
    return proa_reply_text(req, 200, PROA_STR("seven"));
}

static int absent(struct proa_req *req)
{
    PROA_TRY(proa_req_precondition(req, proa_str_n(NULL, 0)));
    return proa_reply_empty(req, 201);
}

static const struct proa_route routes[] = {{PROA_GET | PROA_PUT, "/r", resource}, {PROA_PUT, "/n", absent}};

static void wire_body(struct rig *rig)
{
    static const struct {
        const char *line;
        const char *field;
        int status;
    } samples[] = {
        {"GET /r", "If-None-Match: \"7\"", 304},
        {"GET /r", "If-None-Match: \"6\"", 200},
        {"GET /r", "If-None-Match: W/\"7\"", 304},
        {"GET /r", "If-None-Match: *", 304},
        {"GET /r", "If-None-Match: x", 400},
        {"PUT /r", "If-None-Match: *", 412},
        {"PUT /r", "If-Match: \"7\"", 200},
        {"PUT /r", "If-Match: \"6\"", 412},
        {"PUT /r", "If-Match: W/\"7\"", 412},
        {"PUT /r", "If-Match: *", 200},
        {"PUT /r", "If-Match: x", 400},
        {"PUT /r", "X: y", 200},
        {"PUT /n", "If-None-Match: *", 201},
        {"PUT /n", "If-Match: *", 412},
        {"PUT /r", "If-Match: \"6\"\r\nIf-Match: \"7\"", 200},
        {"GET /r", "If-Match: \"6\"\r\nIf-None-Match: \"7\"", 412},
    };
    struct rig_client client;
    char request[200];

    rig_connect(rig, &client);
    for (size_t i = 0; i < PROA_COUNT(samples); i++) {
        snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", samples[i].line, samples[i].field);
        assert_status(rig_ask(&client, request), samples[i].status);
    }
    assert_has(rig_ask(&client, "PUT /r HTTP/1.1\r\nHost: a\r\nIf-Match: x\r\n\r\n"),
               "\"pointer\":\"#/header/if-match\",\"code\":\"syntax\"");
    assert_has(rig_ask(&client, "GET /r HTTP/1.1\r\nHost: a\r\nIf-None-Match: x\r\n\r\n"),
               "\"pointer\":\"#/header/if-none-match\",\"code\":\"syntax\"");
    rig_close(&client);
}

static void test_wire(void **state)
{
    rig_run(routes, PROA_COUNT(routes), NULL, wire_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matches), cmocka_unit_test(test_wire)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
