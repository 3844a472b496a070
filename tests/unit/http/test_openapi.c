/* OpenAPI documents: what routes and descriptions say is what the document says; and the routes that serve it. */
#include "http_rig.h"

#include <proa/openapi.h>
#include <proa/type.h>

static int nothing(struct proa_req *req)
{
    return proa_reply_empty(req, 204);
}

struct tag {
    proa_str name;
};
PROA_DESCRIBE(tag, (name, str, .min_len = 1));

struct user {
    uint64_t id;
    proa_str name;
    PROA_OPTIONAL(proa_str) nick;
    PROA_ARRAY_OF(struct tag) tags;
    struct tag first;
};
PROA_DESCRIBE_WITH(user, (.doc = "A user"), (id, u64, .read_only = true), (name, str, .max_len = 10),
                   (nick, optional(str)), (tags, array(object(tag)), .default_json = "[]"), (first, object(tag)));

struct users {
    PROA_ARRAY_OF(struct user) items;
};
PROA_DESCRIBE(users, (items, array(object(user))));

struct list_query {
    uint32_t limit;
    PROA_OPTIONAL(proa_str) cursor;
    PROA_ARRAY_OF(proa_str) fields;
    bool all;
};
PROA_DESCRIBE(list_query, (limit, u32, PROA_RANGE(1, 100), .default_json = "20", .doc = "Users on a page"),
              (cursor, optional(str)), (fields, array(str)), (all, boolean, .deprecated = true));

struct conditions {
    PROA_OPTIONAL(proa_str) if_match;
};
PROA_DESCRIBE(conditions, (if_match, optional(str)));

static const struct proa_route routes[] = {
    {.methods = PROA_GET,
     .path = "/users",
     .handler = nothing,
     .summary = "List users",
     .tag = "users",
     .query = &list_query_type.type,
     .replies = {{200, &users_type.type, "A page"}}},
    {.methods = PROA_POST,
     .path = "/users",
     .handler = nothing,
     .body = &user_type.type,
     .replies = {{201, &user_type.type, NULL}, {409, NULL, "The email is in use"}}},
    {.methods = PROA_GET | PROA_PUT, .path = "/users/{id:u64}", .handler = nothing, .headers = &conditions_type.type},
    {.methods = PROA_PATCH,
     .path = "/users/{id:u64}",
     .handler = nothing,
     .body = &user_type.type,
     .replies = {{200, &user_type.type, NULL}}},
    {.methods = PROA_DELETE, .path = "/users/{id:u64}", .handler = nothing, .replies = {{204, NULL, NULL}}},
    {.methods = PROA_GET, .path = "/files/{name}/{rest:path}", .handler = nothing},
    {.methods = PROA_GET, .path = "/things/{thing:uuid}/a-b", .handler = nothing},
    {.methods = PROA_GET, .path = "/things/{thing:uuid}/a_b", .handler = nothing},
    {.methods = PROA_GET, .path = "/numbers/{n:i64}", .handler = nothing},
    {.methods = PROA_GET, .path = "/livez", .handler = nothing, .hidden = true},
};

struct bench {
    struct proa_router *router;
    struct proa_buf out;
    struct proa_error err;
};

static int setup(void **state)
{
    static struct bench bench;

    bench = (struct bench){0};
    assert_int_equal(proa_router_new(&bench.router), 0);
    assert_int_equal(proa_router_add(bench.router, "", NULL, routes, PROA_COUNT(routes), &bench.err), 0);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    proa_router_free(bench->router);
    proa_buf_done(&bench->out);
    return 0;
}

static const char *document(struct bench *b, const struct proa_openapi_options *options)
{
    proa_buf_clear(&b->out);
    if (proa_openapi_write(b->router, options, &b->out, &b->err) < 0)
        fail_msg("%s", b->err.message);
    assert_int_equal(proa_json_check(proa_buf_str(&b->out), &b->err), 0);
    proa_buf_add_char(&b->out, '\0');
    return b->out.ptr;
}

static void says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no %s in\n%s", part, text);
}

static void operations(void **state)
{
    struct bench *b = *state;
    const char *text = document(b, &(struct proa_openapi_options){.title = "Users", .version = "1.2"});

    says(text, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Users\",\"version\":\"1.2\"},\"paths\":{");
    says(text,
         "\"/users\":{\"get\":{\"operationId\":\"getUsers\",\"summary\":\"List users\",\"tags\":[\"users\"],"
         "\"parameters\":[{\"name\":\"limit\",\"in\":\"query\",\"description\":\"Users on a page\",\"schema\":{"
         "\"type\":\"integer\",\"format\":\"uint32\",\"minimum\":1,\"maximum\":100,\"default\":20}},"
         "{\"name\":\"cursor\",\"in\":\"query\",\"schema\":{\"type\":\"string\"}},"
         "{\"name\":\"fields\",\"in\":\"query\",\"schema\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}},"
         "{\"name\":\"all\",\"in\":\"query\",\"required\":true,\"deprecated\":true,\"schema\":{\"type\":\"boolean\"}}],"
         "\"responses\":{\"200\":{\"description\":\"A page\",\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
         "\"#/components/schemas/users\"}}}},\"400\":{");
    says(text,
         "\"post\":{\"operationId\":\"postUsers\",\"requestBody\":{\"required\":true,\"content\":{\"application/json\":"
         "{\"schema\":{\"$ref\":\"#/components/schemas/user\"}}}},\"responses\":{\"201\":{\"description\":\"Created\"");
    says(text, "\"409\":{\"description\":\"The email is in use\",\"content\":{\"application/problem+json\":");
    says(text,
         "\"/users/{id}\":{\"get\":{\"operationId\":\"getUsersById\",\"parameters\":[{\"name\":\"id\",\"in\":\"path\","
         "\"required\":true,\"schema\":{\"type\":\"integer\",\"format\":\"uint64\",\"minimum\":0,"
         "\"maximum\":18446744073709551615}},{\"name\":\"If-Match\",\"in\":\"header\",\"schema\":{\"type\":\"string\"}}"
         "]");
    says(text, "\"put\":{\"operationId\":\"putUsersById\"");
    says(text, "\"patch\":{\"operationId\":\"patchUsersById\"");
    says(text, "\"application/merge-patch+json\":{\"schema\":{\"$ref\":\"#/components/schemas/user-patch\"}}");
    says(text, "\"delete\":{\"operationId\":\"deleteUsersById\"");
    says(text, "\"204\":{\"description\":\"No Content\"}");
    says(text, "\"/files/{name}/{rest}\":{\"get\":{\"operationId\":\"getFilesByNameByRest\"");
    says(text, "\"schema\":{\"type\":\"string\",\"format\":\"uuid\",\"minLength\":1}");
    says(text, "\"operationId\":\"getThingsByThingAB\"");
    says(text, "\"operationId\":\"getThingsByThingAB2\"");
    says(text, "\"minimum\":-9223372036854775808,\"maximum\":9223372036854775807");
    says(text, "\"default\":{\"description\":\"An error\"");
    assert_null(strstr(text, "livez"));
    assert_int_equal(strstr(text, "\"/users\":{") != NULL, 1);
    assert_null(strstr(strstr(text, "\"/users\":{") + 1, "\"/users\":{"));
}

static void schemas(void **state)
{
    struct bench *b = *state;
    const char *text = document(b, NULL);

    says(text, "\"info\":{\"title\":\"API\",\"version\":\"0\"}");
    says(text, "\"users\":{\"type\":\"object\"");
    says(text, "\"tag\":{\"type\":\"object\"");
    says(text, "\"problem\":{\"type\":\"object\"");
    says(text, "\"problem_field\":{\"type\":\"object\"");
    says(text,
         "\"user-patch\":{\"type\":\"object\",\"description\":\"A user\",\"properties\":{\"id\":{\"type\":"
         "\"integer\",\"format\":\"uint64\",\"minimum\":0,\"readOnly\":true},\"name\":"
         "{\"type\":\"string\","
         "\"maxLength\":10},\"nick\":{\"type\":[\"string\",\"null\"]},\"tags\":{\"type\":[\"array\",\"null\"],"
         "\"items\":{\"$ref\":"
         "\"#/components/schemas/tag\"}},\"first\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\","
         "\"minLength\":1}},\"additionalProperties\":false}},\"additionalProperties\":false}");
    assert_null(strstr(text, "tag-patch"));
}

struct other_user {
    proa_str name;
};
PROA_DESCRIBE(other_user, (name, str));

static void names_that_clash(void **state)
{
    struct bench *b = *state;
    struct proa_type clash = other_user_type.type;
    const struct proa_route route = {
        .methods = PROA_GET, .path = "/x", .handler = nothing, .replies = {{200, &clash, NULL}}};

    clash.name = "user";
    assert_int_equal(proa_router_add(b->router, "", NULL, &route, 1, &b->err), 0);
    assert_int_equal(proa_openapi_write(b->router, NULL, &b->out, &b->err), PROA_EINVAL);
    assert_non_null(strstr(b->err.message, "user"));
    assert_int_equal(proa_openapi_add(b->router, NULL, &b->err), PROA_EINVAL);
}

static void routes_are_added_hidden(void **state)
{
    struct bench *b = *state;
    const struct proa_route *route;
    const char *full, *name;
    size_t hidden = 0;

    assert_int_equal(proa_openapi_add(b->router, NULL, &b->err), 0);
    for (size_t i = 0; (route = proa_router_route(b->router, i, &full, &name)); i++)
        hidden += route->hidden;
    assert_int_equal(hidden, 5);
    assert_null(strstr(document(b, NULL), "openapi.json"));
    assert_int_equal(proa_openapi_add(b->router, NULL, &b->err), PROA_EINVAL); /* the paths are taken */
}

static void full_buffers(void **state)
{
    struct bench *b = *state;
    size_t whole = strlen(document(b, NULL));

    for (size_t max = 1; max < whole; max += 97) {
        struct proa_buf out;

        proa_buf_init(&out, NULL, max);
        assert_int_equal(proa_openapi_write(b->router, NULL, &out, &b->err), PROA_ETOOLARGE);
        proa_buf_done(&out);
    }
}

static int add_openapi(struct proa_router *router)
{
    return proa_openapi_add(router, &(struct proa_openapi_options){.title = "Served"}, NULL);
}

static void ask(struct rig *rig)
{
    struct rig_client client;
    const char *answer;

    rig_connect(rig, &client);
    answer = rig_ask(&client, "GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(rig_status(answer), 200);
    says(answer, "application/json");
    says(answer, "\"title\":\"Served\"");
    says(answer, "getUsersById"); /* of routes added later, too */
    answer = rig_ask(&client, "GET /docs HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(rig_status(answer), 200);
    says(answer, "text/html; charset=utf-8");
    says(answer, "default-src 'none'");
    says(answer, "<!doctype html>");
    answer = rig_ask(&client, "GET /docs/page.css HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(rig_status(answer), 200);
    says(answer, "text/css");
    answer = rig_ask(&client, "GET /docs/page.js HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(rig_status(answer), 200);
    says(answer, "text/javascript");
    says(answer, "'use strict'");
    assert_null(strstr(answer, "://cdn"));
    rig_close(&client);
}

static void they_are_served(void **state)
{
    rig_run_with(routes, PROA_COUNT(routes), (struct proa_server_options){0}, (struct proa_sim_options){0}, ask,
                 add_openapi);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(operations, setup, teardown),
        cmocka_unit_test_setup_teardown(schemas, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_clash, setup, teardown),
        cmocka_unit_test_setup_teardown(routes_are_added_hidden, setup, teardown),
        cmocka_unit_test_setup_teardown(full_buffers, setup, teardown),
        cmocka_unit_test(they_are_served),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
