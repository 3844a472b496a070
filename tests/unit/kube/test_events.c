/* Events in virtual time, against a server that keeps what it is sent. */
#include "http_rig.h"

#include "kube/events.h"

struct api {
    uint32_t posts, patches, answered_503;
    uint32_t down; /* requests to be answered with 503 */
    int status;    /* instead of 201; 0: none */
    char last_post[2048], last_patch[512];
};

static int answer(struct proa_req *req, struct api *api, char *keep, size_t bytes, uint32_t *count)
{
    proa_str body;

    PROA_TRY(proa_req_body(req, &body));
    assert_true(body.len < bytes);
    if (api->down > 0) {
        api->down--;
        api->answered_503++;
        return proa_reply_json_text(
            req, 503,
            PROA_STR("{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"ServiceUnavailable\",\"code\":503}"));
    }
    (*count)++;
    memcpy(keep, body.ptr, body.len);
    keep[body.len] = '\0';
    if (api->status)
        return proa_reply_json_text(req, api->status,
                                    PROA_STR("{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Forbidden\"}"));
    return proa_reply_json_text(req, 201, PROA_STR("{\"metadata\":{}}"));
}

static int post(struct proa_req *req)
{
    struct api *api = proa_req_state(req);

    return answer(req, api, api->last_post, sizeof api->last_post, &api->posts);
}

static int patch(struct proa_req *req)
{
    struct api *api = proa_req_state(req);

    return answer(req, api, api->last_patch, sizeof api->last_patch, &api->patches);
}

static int readyz(struct proa_req *req)
{
    return proa_reply_text(req, 200, PROA_STR("ok"));
}

static const struct proa_route routes[] = {
    {PROA_POST, "/apis/events.k8s.io/v1/namespaces/{namespace}/events", post},
    {PROA_PATCH, "/apis/events.k8s.io/v1/namespaces/{namespace}/events/{name}", patch},
    {PROA_GET, "/readyz", readyz},
};

struct bench {
    struct rig *rig;
    struct proa_kube_config *config;
    struct proa_kube *kube;
    struct events events;
    struct proa_group group;
};

static int run(void *arg)
{
    return events_run(&((struct bench *)arg)->events);
}

static void start(struct bench *bench, struct rig *rig)
{
    bench->rig = rig;
    assert_int_equal(proa_kube_config_plain("http://server:80", &bench->config), 0);
    assert_int_equal(
        proa_kube_new(&(struct proa_kube_options){.loop = rig->loop, .config = bench->config, .user_agent = "proa"},
                      &bench->kube, NULL),
        0);
    events_init(&bench->events,
                &(struct events_options){.kube = bench->kube, .controller = "proa", .instance = "proa-1"});
    proa_group_init(&bench->group, rig->loop);
    assert_int_equal(proa_group_start(&bench->group, NULL, run, bench), 0);
}

static void stop(struct bench *bench)
{
    proa_group_cancel(&bench->group, 0);
    assert_int_equal(proa_group_wait(&bench->group), 0);
    events_done(&bench->events);
    proa_kube_free(bench->kube);
    proa_kube_config_free(bench->config);
}

static void pass(struct bench *bench, uint32_t ms)
{
    assert_int_equal(proa_sleep(bench->rig->loop, PROA_MS(ms)), 0);
}

static void add(struct bench *bench, const char *name, const char *reason, const char *note)
{
    const struct proa_kube_meta meta = {.name = proa_str_c(name),
                                        .namespace_ = PROA_STR("ns"),
                                        .uid = PROA_STR("u"),
                                        .resource_version = PROA_STR("7")};

    events_add(&bench->events, &proa_kube_stateful_sets, &meta, PROA_EVENT_WARNING, reason, "Apply", proa_str_c(note));
}

static void series_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct bench bench = {0};

    start(&bench, rig);
    add(&bench, "a", "Failed", "because \"so\"");
    pass(&bench, 10);
    assert_int_equal(api->posts, 1);
    assert_has(api->last_post, "{\"apiVersion\":\"events.k8s.io/v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"a.");
    assert_has(api->last_post, "\"namespace\":\"ns\"");
    assert_has(api->last_post, "\"eventTime\":\"2026-01-01T00:");
    assert_has(api->last_post,
               "\"type\":\"Warning\",\"reason\":\"Failed\",\"action\":\"Apply\",\"note\":\"because \\\"so\\\"\"");
    assert_has(api->last_post, "\"reportingController\":\"proa\",\"reportingInstance\":\"proa-1\"");
    assert_has(api->last_post,
               "\"regarding\":{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"namespace\":\"ns\",\"name\":\"a\","
               "\"uid\":\"u\",\"resourceVersion\":\"7\"}");
    /* The first repetition makes it a series at once, further ones are told once a minute. */
    add(&bench, "a", "Failed", "again");
    pass(&bench, 10);
    assert_int_equal(api->patches, 1);
    assert_has(api->last_patch, "{\"series\":{\"count\":2,\"lastObservedTime\":\"2026-01-01T00:");
    for (int i = 0; i < 50; i++) {
        add(&bench, "a", "Failed", "again");
        pass(&bench, 1000);
    }
    assert_int_equal(api->patches, 1);
    pass(&bench, 11000);
    assert_int_equal(api->patches, 2);
    assert_has(api->last_patch, "\"count\":52");
    /* Another reason is another event, and so is the same one long afterwards. */
    add(&bench, "a", "Other", "x");
    pass(&bench, 10);
    assert_int_equal(api->posts, 2);
    pass(&bench, 400000);
    add(&bench, "a", "Failed", "again");
    pass(&bench, 10);
    assert_int_equal(api->posts, 3);
    assert_int_equal(api->patches, 2);
    stop(&bench);
}

static void repeated_ones_become_a_series(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, series_body);
}

/* What is no UTF-8 (an engine's own words, perhaps) takes more room as it is written: the API server counts that. */
static void notes_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct bench bench = {0};
    char note[EVENT_NOTE_MAX + 1];
    const char *at;
    size_t count = 0;

    start(&bench, rig);
    memset(note, 0xfc, sizeof note);
    note[EVENT_NOTE_MAX] = '\0';
    add(&bench, "a", "Failed", note);
    pass(&bench, 10);
    assert_int_equal(api->posts, 1);
    for (at = api->last_post; (at = strstr(at, "\xef\xbf\xbd")); at += 3)
        count++;
    assert_int_equal(count, EVENT_NOTE_MAX / 3);
    stop(&bench);
}

static void a_note_is_short_as_it_is_written(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, notes_body);
}

/* The event's own name is a DNS subdomain, whatever that of the object is (roles' may have any character). */
static void names_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct bench bench = {0};
    char name[254];

    start(&bench, rig);
    add(&bench, "system:node", "Failed", "x");
    pass(&bench, 10);
    assert_has(api->last_post, "\"metadata\":{\"name\":\"event.");
    assert_has(api->last_post, "\"kind\":\"StatefulSet\",\"namespace\":\"ns\",\"name\":\"system:node\"");
    /* Cut short, it still ends as a label does. */
    memset(name, 'a', sizeof name);
    memset(name + 225, '.', 1);
    memset(name + 229, '-', 1);
    name[253] = '\0';
    add(&bench, name, "Failed", "x");
    pass(&bench, 10);
    assert_has(api->last_post, ".aaa.");
    assert_null(strstr(api->last_post, "-.0"));
    stop(&bench);
}

static void an_event_has_a_proper_name(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, names_body);
}

static void many_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct bench bench = {0};
    char name[16];

    start(&bench, rig);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        add(&bench, name, "Failed", "x");
    }
    assert_int_equal(bench.events.pending_count, 2048);
    assert_int_equal(bench.events.dropped, 3000 - 2048);
    pass(&bench, 1000);
    assert_in_range(api->posts, 100, 160);
    pass(&bench, 9000);
    assert_in_range(api->posts, 500, 620);
    pass(&bench, 60000);
    assert_int_equal(api->posts, 2048);
    /* What is kept is bounded. */
    pass(&bench, 1000);
    add(&bench, "one-more", "Failed", "x");
    assert_in_range(bench.events.known.count, 1, 513);
    stop(&bench);
}

static void their_rate_is_limited(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, many_body);
}

static void trouble_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct bench bench = {0};

    start(&bench, rig);
    /* Passing trouble is tried again, for a while. */
    api->down = 2;
    add(&bench, "a", "Failed", "x");
    pass(&bench, 20000);
    assert_int_equal(api->posts, 1);
    api->down = 1000000;
    add(&bench, "b", "Failed", "x");
    pass(&bench, 300000);
    assert_int_equal(bench.events.dropped, 1);
    assert_int_equal(bench.events.pending_count, 0);
    api->down = 0;
    /* What is refused is not. */
    api->status = 403;
    add(&bench, "c", "Failed", "x");
    pass(&bench, 10000);
    assert_int_equal(api->posts, 2);
    assert_int_equal(bench.events.dropped, 2);
    api->status = 0;
    /* At the end what waits is sent. */
    add(&bench, "d", "Failed", "x");
    add(&bench, "e", "Failed", "x");
    stop(&bench);
    assert_int_equal(api->posts, 4);
}

static void trouble_is_not_for_ever(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, trouble_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeated_ones_become_a_series),    cmocka_unit_test(an_event_has_a_proper_name),
        cmocka_unit_test(a_note_is_short_as_it_is_written), cmocka_unit_test(their_rate_is_limited),
        cmocka_unit_test(trouble_is_not_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
