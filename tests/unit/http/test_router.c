/* The router: ranks, typed parameters, conflicts found at start, groups, and middleware on the wire. */
#include "http_rig.h"

#include "http/router_internal.h"

static int handler(struct proa_req *req)
{
    return proa_reply_text(req, 200, proa_str_c(proa_req_route(req)));
}

struct fixture {
    struct proa_router *router;
    struct proa_arena arena;
    struct proa_error err;
};

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(proa_router_new(&f->router), 0);
    proa_arena_init(&f->arena, NULL, 0);
}

static void end(struct fixture *f)
{
    proa_router_free(f->router);
    proa_arena_done(&f->arena);
}

static int add(struct fixture *f, const char *prefix, unsigned methods, const char *path)
{
    struct proa_route *route = proa_arena_new(&f->arena, struct proa_route);

    *route = (struct proa_route){methods, path, handler};
    proa_error_clear(&f->err);
    return proa_router_add(f->router, prefix, NULL, route, 1, &f->err);
}

/* "ROUTE value value", or "404", "405 methods", "400 param", "broken". */
static const char *find(struct fixture *f, enum proa_method method, const char *path)
{
    struct route_match match;
    struct proa_buf out;
    int rc = router_find(f->router, method, proa_str_c(path), &f->arena, &match);

    proa_buf_init(&out, &f->arena, 0);
    if (rc < 0) {
        proa_buf_add_c(&out, "broken");
    } else if (match.route) {
        proa_buf_add_c(&out, match.route->full_path);
        for (uint32_t i = 0; i < match.route->params; i++)
            proa_buf_printf(&out, " " PROA_FMT "=" PROA_FMT, PROA_ARG(match.route->param_names[i]),
                            PROA_ARG(match.values[i]));
    } else if (match.allow) {
        proa_buf_printf(&out, "405 %u", match.allow);
    } else if (match.bad_param.ptr) {
        proa_buf_printf(&out, "400 " PROA_FMT " %s", PROA_ARG(match.bad_param), match.bad_kind);
    } else {
        proa_buf_add_c(&out, "404");
    }
    proa_buf_add_char(&out, '\0');
    return out.ptr;
}

static void test_ranks(void **state)
{
    struct fixture f;

    begin(&f);
    assert_int_equal(add(&f, "", PROA_GET, "/a/{rest:path}"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/a/{name}"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/a/{id:u64}"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/a/{uuid:uuid}"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/a/7"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/a/{id:u64}/b"), 0);
    assert_string_equal(find(&f, PROA_GET, "/a/7"), "/a/7");
    assert_string_equal(find(&f, PROA_GET, "/a/8"), "/a/{id:u64} id=8");
    assert_string_equal(find(&f, PROA_GET, "/a/18446744073709551616"), "/a/{name} name=18446744073709551616");
    assert_string_equal(find(&f, PROA_GET, "/a/08"), "/a/{name} name=08");
    assert_string_equal(find(&f, PROA_GET, "/a/123e4567-e89b-12d3-a456-426614174000"),
                        "/a/{uuid:uuid} uuid=123e4567-e89b-12d3-a456-426614174000");
    assert_string_equal(find(&f, PROA_GET, "/a/x"), "/a/{name} name=x");
    assert_string_equal(find(&f, PROA_GET, "/a/x/y"), "/a/{rest:path} rest=x/y");
    assert_string_equal(find(&f, PROA_GET, "/a/7/b"), "/a/{id:u64}/b id=7");
    assert_string_equal(find(&f, PROA_GET, "/a/7/c"), "/a/{rest:path} rest=7/c");
    assert_string_equal(find(&f, PROA_GET, "/a/"), "404"); /* parameters are not empty */
    assert_string_equal(find(&f, PROA_GET, "/a"), "404");
    assert_string_equal(find(&f, PROA_GET, "/"), "404");
    assert_string_equal(find(&f, PROA_GET, "*"), "404");
    assert_string_equal(find(&f, PROA_GET, ""), "404");
    end(&f);
}

static void test_types(void **state)
{
    struct fixture f;

    begin(&f);
    assert_int_equal(add(&f, "", PROA_GET, "/u/{id:u64}"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/i/{id:i64}/x"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/g/{id:uuid}"), 0);
    assert_string_equal(find(&f, PROA_GET, "/u/18446744073709551615"), "/u/{id:u64} id=18446744073709551615");
    assert_string_equal(find(&f, PROA_GET, "/u/-1"), "400 id u64");
    assert_string_equal(find(&f, PROA_GET, "/u/x/y"), "404");
    assert_string_equal(find(&f, PROA_GET, "/i/-1/x"), "/i/{id:i64}/x id=-1");
    assert_string_equal(find(&f, PROA_GET, "/i/z/x"), "400 id i64");
    assert_string_equal(find(&f, PROA_GET, "/i/z/y"), "404");
    assert_string_equal(find(&f, PROA_GET, "/g/123"), "400 id uuid");
    assert_string_equal(find(&f, PROA_POST, "/u/1"), "405 1");
    end(&f);
}

static void test_escapes(void **state)
{
    struct fixture f;

    begin(&f);
    assert_int_equal(add(&f, "", PROA_GET, "/files/{rest:path}"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/n/{name}"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/l/hello world"), 0);
    assert_string_equal(find(&f, PROA_GET, "/n/a%2Fb"), "/n/{name} name=a/b");
    assert_string_equal(find(&f, PROA_GET, "/n/%c3%a4"), "/n/{name} name=\xc3\xa4");
    assert_string_equal(find(&f, PROA_GET, "/n/a+b"), "/n/{name} name=a+b");
    assert_string_equal(find(&f, PROA_GET, "/l/hello%20world"), "/l/hello world");
    assert_string_equal(find(&f, PROA_GET, "/files/a/b%20c/"), "/files/{rest:path} rest=a/b c/");
    assert_string_equal(find(&f, PROA_GET, "/n/%2"), "broken");
    assert_string_equal(find(&f, PROA_GET, "/n/%zz"), "broken");
    assert_string_equal(find(&f, PROA_GET, "/n/%ff"), "broken");
    assert_string_equal(find(&f, PROA_GET, "/n/%00"), "broken");
    assert_string_equal(find(&f, PROA_GET, "/files/a/%00"), "broken");
    assert_string_equal(find(&f, PROA_GET, "/files/a/%ff"), "broken");
    end(&f);
}

static void test_methods(void **state)
{
    struct fixture f;

    begin(&f);
    assert_int_equal(add(&f, "", PROA_GET | PROA_POST, "/a"), 0);
    assert_int_equal(add(&f, "", PROA_HEAD, "/h"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/h"), 0);
    assert_int_equal(add(&f, "", PROA_DELETE, "/{x}"), 0);
    assert_string_equal(find(&f, PROA_HEAD, "/a"), "/a");
    assert_string_equal(find(&f, PROA_HEAD, "/h"), "/h");
    assert_string_equal(find(&f, PROA_PUT, "/a"), "405 37"); /* of both routes that fit the path */
    assert_string_equal(find(&f, PROA_DELETE, "/a"), "/{x} x=a");
    assert_string_equal(find(&f, PROA_METHOD_OTHER, "/a"), "405 37");
    assert_int_equal(router_methods(f.router), PROA_GET | PROA_POST | PROA_HEAD | PROA_DELETE);
    end(&f);
}

static void conflict(struct fixture *f, const char *path, const char *part, const char *other)
{
    assert_int_equal(add(f, "", PROA_GET, path), PROA_EINVAL);
    assert_has(f->err.message, part);
    assert_has(f->err.message, other);
}

static void test_conflicts(void **state)
{
    struct fixture f;

    begin(&f);
    assert_int_equal(add(&f, "", PROA_GET, "/a/{id:u64}"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/b/{name}"), 0);
    assert_int_equal(add(&f, "", PROA_GET, "/c"), 0);
    conflict(&f, "/a/{other:u64}", "/a/{other:u64}", "/a/{id:u64}");
    conflict(&f, "/a/{other:i64}", "/a/{other:i64}", "id:u64");
    conflict(&f, "/b/{title}", "/b/{title}", "/b/{name}");
    conflict(&f, "/c", "/c", "/c");
    assert_int_equal(add(&f, "", PROA_POST, "/c"), 0);
    /* Malformed ones. */
    conflict(&f, "x", "x", "slash");
    conflict(&f, "/{}", "/{}", "name");
    conflict(&f, "/{a b}", "a b", "name");
    conflict(&f, "/{a", "/{a", "whole segment");
    conflict(&f, "/a{b}", "/a{b}", "segment");
    conflict(&f, "/a?b", "/a?b", "segment");
    conflict(&f, "/%41", "/%41", "segment");
    conflict(&f, "/{a:float}", "float", "type");
    conflict(&f, "/{a}/{a}", "/{a}/{a}", "twice");
    conflict(&f, "/{a:path}/b", "/{a:path}/b", "last");
    assert_int_equal(add(&f, "v1", PROA_GET, "/x"), PROA_EINVAL);
    assert_int_equal(add(&f, "", 0, "/x"), PROA_EINVAL);
    assert_int_equal(add(&f, "", 1024, "/x"), PROA_EINVAL);
    conflict(&f, "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}", "16", "parameters");
    end(&f);
}

struct portions {
    uint32_t count;
};
PROA_DESCRIBE(portions, (count, u32, PROA_RANGE(1, 9), .default_json = "10"));
struct wishes {
    proa_str dish;
};
PROA_DESCRIBE(wishes, (dish, str, .pattern = "(?=a)"));

/* A mistake in the description of what a route takes and gives is told at start, not to its clients. */
static void test_descriptions(void **state)
{
    static const struct proa_route wrong[] = {
        {PROA_POST, "/body", handler, .body = &portions_type.type},
        {PROA_GET, "/query", handler, .query = &portions_type.type},
        {PROA_GET, "/headers", handler, .headers = &wishes_type.type},
        {PROA_GET, "/reply", handler, .replies = {{204}, {200, &portions_type.type}}},
        {PROA_GET, "/fields", handler, .replies = {{200, NULL, .headers = &wishes_type.type}}},
    };
    struct fixture f;

    begin(&f);
    for (size_t i = 0; i < PROA_COUNT(wrong); i++) {
        struct proa_error err = {0};

        assert_int_equal(proa_router_add(f.router, "/v1", NULL, &wrong[i], 1, &err), PROA_EINVAL);
        assert_non_null(strstr(err.message, wrong[i].path));
        assert_non_null(strstr(err.message, i == 2 || i == 4 ? "wishes.dish: " : "portions.count: its default "));
    }
    end(&f);
}

static void test_walk(void **state)
{
    static const struct proa_route routes[] = {{PROA_GET, "/a/{id:u64}/{rest:path}", handler},
                                               {PROA_GET, "/b", handler, .name = "bee"}};
    const char *full_path, *name;
    struct fixture f;

    begin(&f);
    assert_int_equal(proa_router_add(f.router, "/v1", NULL, routes, 2, NULL), 0);
    assert_ptr_equal(proa_router_route(f.router, 0, &full_path, &name), &routes[0]);
    assert_string_equal(full_path, "/v1/a/{id:u64}/{rest:path}");
    assert_string_equal(name, "/v1/a/{id}/{rest}");
    assert_ptr_equal(proa_router_route(f.router, 1, &full_path, &name), &routes[1]);
    assert_string_equal(name, "bee");
    assert_ptr_equal(proa_router_route(f.router, 1, NULL, NULL), &routes[1]);
    assert_null(proa_router_route(f.router, 2, &full_path, &name));
    assert_int_equal(router_routes(f.router), 2);
    end(&f);
    proa_router_free(NULL);
}

/* Middleware: order, what it sees, what it may do. */
static char trail[256];

static int mark(struct proa_req *req, void *arg)
{
    size_t len = strlen(trail);
    int rc;

    snprintf(trail + len, sizeof trail - len, "%s>", (const char *)arg);
    rc = proa_next(req);
    len = strlen(trail);
    snprintf(trail + len, sizeof trail - len, "<%s:%d:%s:%d", (const char *)arg, proa_reply_status(req),
             proa_req_route(req), rc);
    return rc;
}

static int guard(struct proa_req *req, void *arg)
{
    if (proa_req_header(req, "Key").ptr)
        return proa_next(req);
    return proa_fail(proa_req_error(req), PROA_EUNAUTHORIZED, "no key");
}

static int swallow(struct proa_req *req, void *arg)
{
    return 0;
}

static int failing(struct proa_req *req)
{
    return PROA_EUNAVAILABLE;
}

static const struct proa_middleware own[] = {{mark, (void *)"o"}, {guard, NULL}, {NULL, NULL}};
static const struct proa_middleware swallows[] = {{swallow, NULL}, {NULL, NULL}};
static const struct proa_route plain_routes[] = {
    {PROA_GET, "/plain", handler},
    {PROA_GET, "/failing", failing},
    {PROA_GET, "/swallowed", handler, .middleware = swallows},
};
static const struct proa_route group_routes[] = {{PROA_GET, "/own", handler, .middleware = own},
                                                 {PROA_GET, "/none", handler}};

static int more(struct proa_router *router)
{
    struct proa_middleware group[] = {{mark, (void *)"g"}, {NULL, NULL}}; /* needs to live for the call only */
    int rc;

    PROA_TRY(proa_router_use(router, mark, (void *)"1"));
    PROA_TRY(proa_router_use(router, mark, (void *)"2"));
    rc = proa_router_add(router, "/api", group, group_routes, PROA_COUNT(group_routes), NULL);
    group[0] = (struct proa_middleware){mark, (void *)"gone"};
    return rc;
}

static void expect_trail(struct rig_client *client, const char *request, int status, const char *wanted)
{
    trail[0] = '\0';
    assert_status(rig_ask(client, request), status);
    assert_string_equal(trail, wanted);
}

static void middleware_body(struct rig *rig)
{
    struct rig_client client;

    rig_connect(rig, &client);
    expect_trail(&client, "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n", 200, "1>2><2:200:/plain:0<1:200:/plain:0");
    expect_trail(&client, "GET /api/none HTTP/1.1\r\nHost: a\r\n\r\n", 200,
                 "1>2>g><g:200:/api/none:0<2:200:/api/none:0<1:200:/api/none:0");
    expect_trail(&client, "GET /api/own HTTP/1.1\r\nHost: a\r\nKey: 1\r\n\r\n", 200,
                 "1>2>g>o><o:200:/api/own:0<g:200:/api/own:0<2:200:/api/own:0<1:200:/api/own:0");
    expect_trail(&client, "GET /api/own HTTP/1.1\r\nHost: a\r\n\r\n", 401,
                 "1>2>g>o><o:401:/api/own:-12<g:401:/api/own:-12<2:401:/api/own:-12<1:401:/api/own:-12");
    expect_trail(&client, "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n", 404, "1>2><2:404::-3<1:404::-3");
    expect_trail(&client, "POST /plain HTTP/1.1\r\nHost: a\r\n\r\n", 405, "1>2><2:405::-2<1:405::-2");
    expect_trail(&client, "GET /failing HTTP/1.1\r\nHost: a\r\n\r\n", 503,
                 "1>2><2:503:/failing:-17<1:503:/failing:-17");
    expect_trail(&client, "GET /swallowed HTTP/1.1\r\nHost: a\r\n\r\n", 500,
                 "1>2><2:500:/swallowed:-23<1:500:/swallowed:-23");
    rig_close(&client);
}

static void test_middleware(void **state)
{
    rig_run_with(plain_routes, PROA_COUNT(plain_routes), (struct proa_server_options){0}, (struct proa_sim_options){0},
                 middleware_body, more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),   cmocka_unit_test(test_types),      cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_methods), cmocka_unit_test(test_conflicts),  cmocka_unit_test(test_descriptions),
        cmocka_unit_test(test_walk),    cmocka_unit_test(test_middleware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
