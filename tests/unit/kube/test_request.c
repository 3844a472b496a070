/* What a request sends and how it takes refusals, against a server that says no as often as it is told to. */
#include "http_rig.h"

#include "kube/client_internal.h"

struct api {
    uint32_t refusals; /* still to come */
    uint32_t requests;
    int status;
    const char *retry_after; /* NULL: none */
    bool was_strict;         /* the last asked for the fields to be checked */
};

static int answer(struct proa_req *req)
{
    struct api *api = proa_req_state(req);

    api->requests++;
    api->was_strict = proa_str_find(proa_req_query_text(req), PROA_STR("fieldValidation=Strict")) >= 0;
    if (api->refusals == 0)
        return proa_reply_json_text(req, 200, PROA_STR("{\"metadata\":{\"name\":\"a\"}}"));
    api->refusals--;
    if (api->retry_after)
        PROA_TRY(proa_reply_header(req, "Retry-After", proa_str_c(api->retry_after)));
    return proa_reply_json_text(
        req, api->status, PROA_STR("{\"kind\":\"Status\",\"message\":\"not now\",\"reason\":\"TooManyRequests\"}"));
}

static int answer_list(struct proa_req *req)
{
    struct api *api = proa_req_state(req);

    if (api->refusals > 0)
        return answer(req);
    return proa_reply_json_text(req, 200,
                                PROA_STR("{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"metadata\":{\"name\":"
                                         "\"a\"}}]}"));
}

static const struct proa_route routes[] = {
    {PROA_GET, "/api/v1/namespaces/ns/configmaps", answer_list},
    {PROA_GET, "/api/v1/namespaces/ns/configmaps/a", answer},
    {PROA_PUT, "/api/v1/namespaces/ns/configmaps/a", answer},
    {PROA_PATCH, "/api/v1/namespaces/ns/configmaps/a", answer},
    {PROA_DELETE, "/api/v1/namespaces/ns/configmaps/a", answer},
    {PROA_POST, "/api/v1/namespaces/ns/configmaps", answer},
};

struct client {
    struct proa_kube_config *config;
    struct proa_kube *kube;
    struct proa_arena arena;
    struct proa_error err;
};

static void open_client(struct rig *rig, struct client *client)
{
    *client = (struct client){0};
    proa_arena_init(&client->arena, NULL, 0);
    assert_int_equal(proa_kube_config_plain("http://server:80", &client->config), 0);
    assert_int_equal(
        proa_kube_new(&(struct proa_kube_options){.loop = rig->loop, .config = client->config}, &client->kube, NULL),
        0);
}

static void close_client(struct client *client)
{
    proa_kube_free(client->kube);
    proa_kube_config_free(client->config);
    proa_arena_done(&client->arena);
}

static int patch(struct client *client, enum proa_kube_patch_kind kind)
{
    const struct proa_kube_patch_options options = {.kind = kind};

    return proa_kube_patch(client->kube, &client->arena, &proa_kube_config_maps, PROA_STR("ns"), PROA_STR("a"),
                           kind == PROA_KUBE_JSON ? PROA_STR("[]") : PROA_STR("{\"metadata\":{}}"), &options, NULL,
                           NULL, &client->err);
}

static int create(struct client *client)
{
    return proa_kube_create(client->kube, &client->arena, &proa_kube_config_maps, PROA_STR("ns"),
                            PROA_STR("{\"metadata\":{\"name\":\"a\"}}"), NULL, NULL, &client->err);
}

static int delete (struct client *client)
{
    return proa_kube_delete(client->kube, &client->arena, &proa_kube_config_maps, PROA_STR("ns"), PROA_STR("a"), NULL,
                            &client->err);
}

static int merge(struct client *client)
{
    return patch(client, PROA_KUBE_MERGE);
}

static int json(struct client *client)
{
    return patch(client, PROA_KUBE_JSON);
}

static int apply(struct client *client)
{
    return patch(client, PROA_KUBE_APPLY);
}

static int each(void *arg, const void *object)
{
    ++*(uint32_t *)arg;
    return object ? 0 : PROA_EINVAL;
}

static int list(struct client *client)
{
    uint32_t count = 0;

    PROA_TRY(proa_kube_list(client->kube, &client->arena, &proa_kube_config_maps, PROA_STR("ns"), NULL,
                            &proa_kube_object_type.type, each, &count, NULL, &client->err));
    assert_int_equal(count, 1);
    return 0;
}

static int (*const calls[])(struct client *client) = {create, merge, json, apply, delete, list};

static void busy_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct client client;

    open_client(rig, &client);
    for (size_t i = 0; i < PROA_COUNT(calls); i++)
        for (int status = 429; status <= 503; status += 503 - 429) {
            proa_mono_ns began = proa_loop_now(rig->loop);

            *api = (struct api){.refusals = 5, .status = status, .retry_after = "2"};
            if (calls[i](&client) < 0)
                fail_msg("call %zu: %s", i, client.err.message);
            assert_int_equal(client.err.code, 0);
            assert_int_equal(api->requests, calls[i] == list ? 5 : 6);
            assert_in_range(proa_loop_now(rig->loop) - began, PROA_SECONDS(10), PROA_SECONDS(15));
        }
    close_client(&client);
}

/* However many came before: a budget of repeats is for servers that say nothing of when to come again. */
static void a_busy_server_is_waited_for_whatever_the_method(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, busy_body);
}

static void too_busy_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct client client;

    open_client(rig, &client);
    /* Longer than the request has. */
    *api = (struct api){.refusals = UINT32_MAX, .status = 429, .retry_after = "60"};
    assert_int_equal(create(&client), PROA_EBUSY);
    assert_int_equal(client.err.retry_after_s, 60);
    assert_int_equal(api->requests, 1);
    proa_error_clear(&client.err);
    *api = (struct api){.refusals = UINT32_MAX, .status = 429, .retry_after = "4"};
    assert_int_equal(create(&client), PROA_EBUSY);
    assert_int_equal(client.err.retry_after_s, 4);
    assert_in_range(api->requests, 6, 8);
    /* When to come again is not said, nor what was done. */
    proa_error_clear(&client.err);
    *api = (struct api){.refusals = UINT32_MAX, .status = 503};
    assert_true(create(&client) < 0);
    assert_int_equal(api->requests, 1);
    close_client(&client);
}

static void but_not_for_longer_than_a_request_has(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, too_busy_body);
}

static int replace(struct client *client)
{
    return proa_kube_replace(client->kube, &client->arena, &proa_kube_config_maps, PROA_STR("ns"), PROA_STR("a"), NULL,
                             PROA_STR("{\"metadata\":{\"name\":\"a\"}}"), NULL, NULL, &client->err);
}

static void strict_body(struct rig *rig)
{
    static int (*const writes[])(struct client * client) = {create, replace, merge, json, apply};
    struct api *api = rig->state;
    struct client client;

    open_client(rig, &client);
    for (size_t i = 0; i < PROA_COUNT(writes); i++) {
        *api = (struct api){0};
        assert_int_equal(writes[i](&client), 0);
        assert_true(api->was_strict);
    }
    close_client(&client);
}

/* A member that the kind does not have is told, not dropped. */
static void every_write_has_its_fields_checked(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, strict_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_busy_server_is_waited_for_whatever_the_method),
        cmocka_unit_test(every_write_has_its_fields_checked),
        cmocka_unit_test(but_not_for_longer_than_a_request_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
