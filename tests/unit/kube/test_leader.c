/* Leader election in virtual time, against a server that knows one Lease. */
#include "http_rig.h"

#include "kube/leader.h"

#include <inttypes.h>
#include <proa/sync.h>

struct api_spec {
    PROA_OPTIONAL(proa_str) holder;
    PROA_OPTIONAL(int32_t) duration;
    PROA_OPTIONAL(proa_str) acquire_time;
    PROA_OPTIONAL(proa_str) renew_time;
    PROA_OPTIONAL(int32_t) transitions;
};
PROA_DESCRIBE(api_spec, (holder, optional(str), .json = "holderIdentity"),
              (duration, optional(i32), .json = "leaseDurationSeconds"),
              (acquire_time, optional(str), .json = "acquireTime", .format = PROA_FORMAT_DATE_TIME),
              (renew_time, optional(str), .json = "renewTime", .format = PROA_FORMAT_DATE_TIME),
              (transitions, optional(i32), .json = "leaseTransitions"));
struct api_meta {
    PROA_OPTIONAL(proa_str) name;
    PROA_OPTIONAL(proa_str) version;
};
PROA_DESCRIBE(api_meta, (name, optional(str)), (version, optional(str), .json = "resourceVersion"));
struct api_lease {
    PROA_OPTIONAL(proa_str) api_version;
    PROA_OPTIONAL(proa_str) kind;
    struct api_meta metadata;
    struct api_spec spec;
};
PROA_DESCRIBE(api_lease, (api_version, optional(str), .json = "apiVersion"), (kind, optional(str)),
              (metadata, object(api_meta)), (spec, object(api_spec)));

/* The API server's only object. */
struct api {
    bool exists, is_down;
    uint32_t version, writes, reads;
    char holder[128], acquired[40], renewed[40];
    int32_t duration, transitions;
    struct proa_event *freed; /* what other requests wait for */
    bool loses_answers;       /* does what a write asks for, and then says nothing */
};

static void keep(char *out, size_t bytes, proa_str text)
{
    assert_true(text.len < bytes);
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
}

static int refuse(struct proa_req *req, int status, const char *reason)
{
    char text[200];

    snprintf(text, sizeof text,
             "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"%s\",\"reason\":\"%s\","
             "\"code\":%d}",
             reason, reason, status);
    return proa_reply_json_text(req, status, proa_str_c(text));
}

static int show(struct proa_req *req, const struct api *api, int status)
{
    char text[512];

    snprintf(text, sizeof text,
             "{\"metadata\":{\"name\":\"l\",\"resourceVersion\":\"%" PRIu32 "\"},\"spec\":{\"holderIdentity\":\"%s\","
             "\"leaseDurationSeconds\":%" PRId32
             ",\"acquireTime\":\"%s\",\"renewTime\":\"%s\",\"leaseTransitions\":%" PRId32 "}}",
             api->version, api->holder, api->duration, api->acquired, api->renewed, api->transitions);
    return proa_reply_json_text(req, status, proa_str_c(text));
}

static int change(struct api *api, const struct api_lease *lease)
{
    if (lease->spec.holder.presence == PROA_SET)
        keep(api->holder, sizeof api->holder, lease->spec.holder.value);
    if (lease->spec.acquire_time.presence == PROA_SET)
        keep(api->acquired, sizeof api->acquired, lease->spec.acquire_time.value);
    if (lease->spec.renew_time.presence == PROA_SET)
        keep(api->renewed, sizeof api->renewed, lease->spec.renew_time.value);
    if (lease->spec.duration.presence == PROA_SET)
        api->duration = lease->spec.duration.value;
    if (lease->spec.transitions.presence == PROA_SET)
        api->transitions = lease->spec.transitions.value;
    api->version++;
    api->writes++;
    return 0;
}

static int get_lease(struct proa_req *req)
{
    struct api *api = proa_req_state(req);

    api->reads++;
    if (api->is_down)
        return refuse(req, 503, "ServiceUnavailable");
    return api->exists ? show(req, api, 200) : refuse(req, 404, "NotFound");
}

static int read_body(struct proa_req *req, struct api_lease *ret_lease)
{
    proa_str body;

    PROA_TRY(proa_req_body(req, &body));
    return proa_json_read(proa_req_arena(req), body, 0, &api_lease_type, ret_lease, proa_req_error(req));
}

/* The write was done, but who asked for it does not learn that. */
static int lose(struct proa_req *req, const struct api *api)
{
    return api->loses_answers ? proa_sleep(proa_req_loop(req), PROA_SECONDS(20)) : 0;
}

/* Other requests, which a webhook holds up. */
static int slow(struct proa_req *req)
{
    const struct api *api = proa_req_state(req);

    PROA_TRY(proa_event_wait(api->freed));
    return refuse(req, 404, "NotFound");
}

static int create_lease(struct proa_req *req)
{
    struct api *api = proa_req_state(req);
    struct api_lease lease;

    if (api->is_down)
        return refuse(req, 503, "ServiceUnavailable");
    if (api->exists)
        return refuse(req, 409, "AlreadyExists");
    PROA_TRY(read_body(req, &lease));
    api->exists = true;
    change(api, &lease);
    PROA_TRY(lose(req, api));
    return show(req, api, 201);
}

static int patch_lease(struct proa_req *req)
{
    struct api *api = proa_req_state(req);
    struct api_lease lease;
    char version[16];

    if (api->is_down)
        return refuse(req, 503, "ServiceUnavailable");
    if (!api->exists)
        return refuse(req, 404, "NotFound");
    PROA_TRY(read_body(req, &lease));
    snprintf(version, sizeof version, "%" PRIu32, api->version);
    if (!proa_str_eq_c(lease.metadata.version.value, version))
        return refuse(req, 409, "Conflict");
    change(api, &lease);
    PROA_TRY(lose(req, api));
    return show(req, api, 200);
}

static int readyz(struct proa_req *req)
{
    const struct api *api = proa_req_state(req);

    return api->is_down ? refuse(req, 503, "ServiceUnavailable") : proa_reply_text(req, 200, PROA_STR("ok"));
}

static const struct proa_route routes[] = {
    {PROA_GET, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l", get_lease},
    {PROA_PATCH, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l", patch_lease},
    {PROA_POST, "/apis/coordination.k8s.io/v1/namespaces/ns/leases", create_lease},
    {PROA_GET, "/readyz", readyz},
    {PROA_GET, "/api/v1/namespaces/ns/configmaps/{name}", slow},
};

/* -- Candidates ---------------------------------------------------------------------------------------------------- */

struct candidate {
    struct rig *rig;
    struct api *api;
    struct proa_kube_config *config;
    struct proa_kube *kube;
    struct leader leader;
    struct proa_group group;
    bool leads, releases;
    uint32_t terms;
    proa_mono_ns won, lost;
};

static int stand(void *arg)
{
    struct candidate *candidate = arg;
    int rc;

    while ((rc = leader_acquire(&candidate->leader)) == 0) {
        candidate->leads = true;
        candidate->terms++;
        candidate->won = proa_loop_now(candidate->rig->loop);
        rc = leader_hold(&candidate->leader);
        candidate->leads = false;
        candidate->lost = proa_loop_now(candidate->rig->loop);
        if (rc != PROA_ECONFLICT)
            break;
        assert_false(leader_is_in_time(&candidate->leader) && !candidate->api->is_down &&
                     strcmp(candidate->api->holder, candidate->leader.identity) == 0);
    }
    if (candidate->releases)
        leader_release(&candidate->leader);
    return rc;
}

static void start(struct candidate *candidate, struct rig *rig, const char *identity)
{
    *candidate = (struct candidate){.rig = rig, .api = rig->state, .releases = true};
    assert_int_equal(proa_kube_config_plain("http://server:80", &candidate->config), 0);
    assert_int_equal(proa_kube_new(&(struct proa_kube_options){.loop = rig->loop, .config = candidate->config},
                                   &candidate->kube, NULL),
                     0);
    leader_init(
        &candidate->leader,
        &(struct leader_options){.kube = candidate->kube, .name = "l", .namespace_ = "ns", .identity = identity});
    proa_group_init(&candidate->group, rig->loop);
    assert_int_equal(proa_group_start(&candidate->group, NULL, stand, candidate), 0);
}

static void stop(struct candidate *candidate)
{
    proa_group_cancel(&candidate->group, 0);
    assert_int_equal(proa_group_wait(&candidate->group), PROA_ECANCELED);
    proa_kube_free(candidate->kube);
    proa_kube_config_free(candidate->config);
}

static void pass(struct rig *rig, uint32_t ms)
{
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(ms)), 0);
}

static uint64_t ms_since(struct rig *rig, proa_mono_ns since)
{
    return (proa_loop_now(rig->loop) - since) / 1000000;
}

static void wait_to_lead(struct candidate *candidate)
{
    while (!candidate->leads)
        pass(candidate->rig, 10);
}

static void one_alone_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct candidate a;
    proa_mono_ns at = proa_loop_now(rig->loop);
    uint32_t writes;

    start(&a, rig, "a");
    wait_to_lead(&a);
    assert_in_range(ms_since(rig, at), 0, 100);
    assert_string_equal(api->holder, "a");
    assert_int_equal(api->duration, 15);
    assert_int_equal(api->transitions, 0);
    assert_int_equal(strlen(api->renewed), strlen("2026-01-01T00:00:00.000000Z"));
    writes = api->writes;
    pass(rig, 60000);
    assert_true(a.leads && leader_is_in_time(&a.leader));
    assert_in_range(api->writes - writes, 28, 30); /* every 2 s, and not one read */
    assert_int_equal(api->reads, 1);
    /* Somebody else writes to the record: it goes on. */
    api->version++;
    pass(rig, 10000);
    assert_true(a.leads && a.terms == 1);
    /* It is deleted: it is made again. */
    api->exists = false;
    pass(rig, 10000);
    assert_true(a.leads && a.terms == 1 && api->exists);
    stop(&a);
    assert_string_equal(api->holder, "");
    assert_int_equal(api->duration, 1);
}

static void one_alone(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, one_alone_body);
}

static void two_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct candidate a, b;
    proa_mono_ns at;

    start(&a, rig, "a");
    wait_to_lead(&a);
    start(&b, rig, "b");
    pass(rig, 60000);
    assert_true(a.leads && !b.leads);
    /* Released, it need not be waited for. */
    at = proa_loop_now(rig->loop);
    stop(&a);
    wait_to_lead(&b);
    assert_in_range(ms_since(rig, at), 0, 2500);
    assert_string_equal(api->holder, "b");
    assert_int_equal(api->transitions, 1);
    /* Without a release it must be seen to be silent for 15 s. */
    start(&a, rig, "a");
    pass(rig, 20000);
    b.releases = false;
    at = b.leader.renewed;
    stop(&b);
    wait_to_lead(&a);
    assert_in_range(ms_since(rig, at), 15000, 20000);
    assert_int_equal(api->transitions, 2);
    stop(&a);
}

static void two_take_turns(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, two_body);
}

static void clocks_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct candidate a;

    /* A holder that may be alive, whose clock is far behind, or ahead. */
    for (int i = 0; i < 2; i++) {
        proa_mono_ns at = proa_loop_now(rig->loop);

        *api = (struct api){
            .exists = true, .version = 7, .duration = 15, .holder = "other", .acquired = "2020-01-01T00:00:00Z"};
        snprintf(api->renewed, sizeof api->renewed, "20%d-01-01T00:00:00.000000Z", i ? 50 : 20);
        start(&a, rig, "a");
        wait_to_lead(&a);
        assert_in_range(ms_since(rig, at), 15000, 18000);
        stop(&a);
    }
    /* It moves: it lives. */
    *api = (struct api){
        .exists = true, .version = 7, .duration = 15, .holder = "other", .acquired = "2020-01-01T00:00:00Z"};
    start(&a, rig, "a");
    for (int i = 0; i < 20; i++) {
        snprintf(api->renewed, sizeof api->renewed, "2020-01-01T00:00:%02d.000000Z", i);
        api->version++;
        pass(rig, 10000);
        assert_false(a.leads);
    }
    wait_to_lead(&a);
    stop(&a);
}

static void clocks_of_others_do_not_count(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, clocks_body);
}

static void outage_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct candidate a, b;
    proa_mono_ns renewed;

    start(&a, rig, "a");
    wait_to_lead(&a);
    start(&b, rig, "b");
    pass(rig, 30000);
    api->is_down = true;
    renewed = a.leader.renewed;
    /* A short one does not matter. */
    pass(rig, 5000);
    api->is_down = false;
    pass(rig, 10000);
    assert_true(a.leads && a.terms == 1 && a.leader.renewed > renewed);
    /* In a long one it stops 10 s after its last renewal, 5 s before another may start. */
    api->is_down = true;
    renewed = a.leader.renewed;
    while (a.leads)
        pass(rig, 10);
    assert_in_range(a.lost - renewed, PROA_MS(9900), PROA_MS(10050));
    assert_false(leader_is_in_time(&a.leader));
    pass(rig, 60000);
    assert_false(a.leads || b.leads);
    api->is_down = false;
    while (!a.leads && !b.leads)
        pass(rig, 10);
    pass(rig, 30000);
    assert_int_equal(a.leads + b.leads, 1);
    stop(&a);
    stop(&b);
}

static void an_outage_ends_the_term_in_time(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, outage_body);
}

static void theft_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct candidate a;
    proa_mono_ns at;

    start(&a, rig, "a");
    wait_to_lead(&a);
    pass(rig, 5000);
    keep(api->holder, sizeof api->holder, PROA_STR("thief"));
    api->version++;
    at = proa_loop_now(rig->loop);
    while (a.leads)
        pass(rig, 10);
    assert_in_range(ms_since(rig, at), 0, 2500);
    /* It stands again, without a restart. */
    wait_to_lead(&a);
    assert_in_range(ms_since(rig, at), 15000, 20000);
    assert_int_equal(a.terms, 2);
    assert_string_equal(api->holder, "a");
    stop(&a);
}

static void a_stolen_lease_is_stood_for_again(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, theft_body);
}

static void identities_body(struct rig *rig)
{
    struct candidate a, b;
    char longer[200];

    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    start(&a, rig, NULL);
    start(&b, rig, longer); /* too long: like none */
    assert_true(strlen(a.leader.identity) > 16 && strlen(b.leader.identity) > 16);
    assert_string_not_equal(a.leader.identity, b.leader.identity);
    pass(rig, 10000);
    assert_int_equal(a.leads + b.leads, 1);
    stop(&a);
    stop(&b);
}

static void identities_differ_by_themselves(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, identities_body);
}

static int ask_for_a_map(void *arg)
{
    struct candidate *candidate = arg;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_kube_object object;

    proa_arena_init(&arena, NULL, 0);
    return proa_kube_get(candidate->kube, &arena, &proa_kube_config_maps, PROA_STR("ns"), PROA_STR("m"),
                         &proa_kube_object_type, &object, NULL);
}

static void busy_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct candidate a;
    struct proa_group others;
    struct proa_event freed;

    proa_event_init(&freed, rig->loop);
    api->freed = &freed;
    start(&a, rig, "a");
    wait_to_lead(&a);
    proa_group_init(&others, rig->loop);
    for (int i = 0; i < 40; i++)
        assert_int_equal(proa_group_start(&others, NULL, ask_for_a_map, &a), 0);
    pass(rig, 25000);
    assert_true(a.leads && a.terms == 1);
    proa_event_set(&freed);
    assert_true(proa_group_wait(&others) < 0);
    stop(&a);
}

/* All places among the requests in flight are taken, for longer than the lease lasts. */
static void slow_requests_do_not_cost_the_lease(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, busy_body);
}

static void lost_answers_body(struct rig *rig)
{
    struct api *api = rig->state;
    struct candidate a;
    uint32_t writes;

    /* Stopped while a renewal is under way that is done. */
    start(&a, rig, "a");
    wait_to_lead(&a);
    pass(rig, 5000);
    api->loses_answers = true;
    writes = api->writes;
    while (api->writes == writes)
        pass(rig, 10);
    api->loses_answers = false;
    stop(&a);
    assert_string_equal(api->holder, "");
    /* While it is taken. */
    api->loses_answers = true;
    writes = api->writes;
    start(&a, rig, "a");
    while (api->writes == writes)
        pass(rig, 10);
    api->loses_answers = false;
    assert_string_equal(api->holder, "a");
    stop(&a);
    assert_string_equal(api->holder, "");
    /* And while it is made. */
    api->exists = false;
    api->loses_answers = true;
    start(&a, rig, "a");
    while (!api->exists)
        pass(rig, 10);
    api->loses_answers = false;
    stop(&a);
    assert_string_equal(api->holder, "");
    /* One that another took meanwhile is the other's. */
    start(&a, rig, "a");
    wait_to_lead(&a);
    pass(rig, 5000);
    keep(api->holder, sizeof api->holder, PROA_STR("other"));
    api->version++;
    stop(&a);
    assert_string_equal(api->holder, "other");
}

static void released_also_when_the_last_answer_is_lost(void **state)
{
    struct api api = {0};

    (void)state;
    rig_run(routes, PROA_COUNT(routes), &(struct proa_server_options){.state = &api}, lost_answers_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_alone),
        cmocka_unit_test(two_take_turns),
        cmocka_unit_test(clocks_of_others_do_not_count),
        cmocka_unit_test(an_outage_ends_the_term_in_time),
        cmocka_unit_test(a_stolen_lease_is_stood_for_again),
        cmocka_unit_test(identities_differ_by_themselves),
        cmocka_unit_test(slow_requests_do_not_cost_the_lease),
        cmocka_unit_test(released_also_when_the_last_answer_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
