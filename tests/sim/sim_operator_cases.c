/* Single encounters of the database operator with a simulated API server on virtual time: objects of others that look like its own, a
 * deletion at a bad moment, what an instance's agent has to tell, a pod that nobody makes. */
#include "operator_life.h"
#include "unit.h"

#include <proa/fiber.h>
#include <proa/server.h>
#include <proa/sim.h>
#include <proa/sim_kube.h>
#include <stdio.h>
#include <stdlib.h>

#define ADDRESS "10.0.0.1:6443"
#define POD_IP "10.0.0.7"

enum { STEP_MS = 250, STEPS_MAX = 1200, LOOKS_S = 120 };

struct world {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_sim_kube *api;
    struct plan_settings settings;
    void (*story)(struct world *world);
    struct proa_server *agent;
    const char *reason, *warning;
    uint64_t kept; /* what the agent says */
    unsigned asked, unauthorized;
    bool delete_with_set; /* the Database, when the operator deletes the StatefulSet */
    const char *failure;
};

static void expect(struct world *world, bool is_true, const char *what)
{
    if (!is_true && !world->failure)
        world->failure = what;
}

static proa_str find(struct world *world, const struct proa_kube_kind *kind, const char *name)
{
    return proa_sim_kube_get(world->api, kind, PROA_STR("default"), proa_str_c(name));
}

static bool has(proa_str json, const char *text)
{
    return json.ptr && proa_str_find(json, proa_str_c(text)) >= 0;
}

static proa_str text_after(proa_str json, const char *mark)
{
    ptrdiff_t at = proa_str_find(json, proa_str_c(mark));
    proa_str rest = at < 0 ? PROA_STR("") : proa_str_slice(json, (size_t)at + strlen(mark), json.len);
    ptrdiff_t end = proa_str_find_char(rest, '"');

    return end < 0 ? PROA_STR("") : proa_str_slice(rest, 0, (size_t)end);
}

static void put(struct world *world, const struct proa_kube_kind *kind, const char *manager, const char *json)
{
    struct proa_error err = {0};

    if (proa_sim_kube_put(world->api, kind, proa_str_c(json), manager, &err) < 0) {
        fprintf(stderr, "# %s: %s\n", kind->kind, err.message);
        world->failure = "an object is refused";
    }
}

static void wait_until(struct world *world, bool (*is_done)(struct world *world), const char *what)
{
    for (int step = 0; step < STEPS_MAX && !world->failure; step++) {
        if (is_done(world))
            return;
        if (proa_sleep(world->loop, PROA_MS(STEP_MS)) < 0)
            break;
    }
    expect(world, false, what);
}

#define DATABASE(more)                                                                                                 \
    "{\"apiVersion\":\"database.example.com/v1\",\"kind\":\"Database\",\"metadata\":{\"name\":\"shop\","               \
    "\"namespace\":\"default\"},\"spec\":{\"engine\":\"postgres\",\"version\":\"17\",\"replicas\":1,"                  \
    "\"storageSize\":\"1Gi\"" more "}}"
#define OURS                                                                                                           \
    "\"namespace\":\"default\",\"labels\":{\"app.kubernetes.io/instance\":\"shop\","                                   \
    "\"app.kubernetes.io/managed-by\":\"database-operator\"}"

/* Of the present template, so that nobody restarts it. */
static void put_pod_as(struct world *world, const char *status, const char *is_ready)
{
    proa_str hash = text_after(find(world, &proa_kube_stateful_sets, "shop"), "\"database.example.com/spec-hash\":\"");
    struct proa_buf json = {0};

    proa_buf_printf(&json,
                    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"shop-0\"," OURS
                    ",\"annotations\":{\"database.example.com/spec-hash\":\"" PROA_FMT
                    "\"}},\"status\":{%s\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"}]}}",
                    PROA_ARG(hash), status, is_ready);
    proa_buf_add_char(&json, '\0');
    if (json.error == 0)
        put(world, &proa_kube_pods, "kubelet", json.ptr);
    proa_buf_done(&json);
}

static void put_pod(struct world *world, const char *status)
{
    put_pod_as(world, status, "True");
}

static bool has_set(struct world *world)
{
    return find(world, &proa_kube_stateful_sets, "shop").ptr;
}

static bool is_gone(struct world *world)
{
    return !find(world, &database_kind, "shop").ptr;
}

static bool is_taken(struct world *world)
{
    return has(find(world, &database_kind, "shop"), "\"reason\":\"ObjectExists\"");
}

static void delete_database(struct world *world)
{
    proa_ignore(proa_sim_kube_delete(world->api, &database_kind, PROA_STR("default"), PROA_STR("shop")));
}

/* -- Objects of others ------------------------------------------------------------------------------------------------- */

/* A Secret with our labels that another controller has, as when its YAML was copied. */
static void anothers_secret(struct world *world)
{
    struct proa_buf json = {0}, before = {0};
    uint64_t requests;
    proa_str secret;

    put(world, &proa_kube_config_maps, "somebody",
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"other\",\"namespace\":\"default\"}}");
    proa_buf_printf(
        &json,
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"shop-credentials\"," OURS
        ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"other\",\"uid\":\"" PROA_FMT
        "\",\"controller\":true}]},\"data\":{\"password\":\"c29tZWJvZHktZWxzZXM=\"}}",
        PROA_ARG(text_after(find(world, &proa_kube_config_maps, "other"), "\"uid\":\"")));
    proa_buf_add_char(&json, '\0');
    put(world, &proa_kube_secrets, "somebody", json.ptr);
    proa_buf_add(&before, find(world, &proa_kube_secrets, "shop-credentials"));
    put(world, &database_kind, "user", DATABASE(""));
    wait_until(world, is_taken, "another controller's Secret is not told");
    requests = proa_sim_kube_requests(world->api);
    proa_ignore(proa_sleep(world->loop, PROA_SECONDS(LOOKS_S)));
    /* Verified every 30 s, and looked at each time; watches begin anew meanwhile. */
    expect(world, proa_sim_kube_requests(world->api) - requests < LOOKS_S / 30 * 2 + 10,
           "it is asked for again and again");
    delete_database(world);
    wait_until(world, is_gone, "the Database is not gone");
    secret = find(world, &proa_kube_secrets, "shop-credentials");
    expect(world, proa_str_eq(secret, proa_buf_str(&before)), "another controller's Secret is written to");
    proa_buf_done(&json);
    proa_buf_done(&before);
}

/* A StatefulSet with our labels and no owner, which we did not make. */
static void copied_set(struct world *world)
{
    put(world, &proa_kube_stateful_sets, "somebody",
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"metadata\":{\"name\":\"shop\"," OURS
        "},\"spec\":{\"replicas\":1,\"serviceName\":\"x\",\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
        "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":"
        "\"a\"}]}}}}");
    put(world, &database_kind, "user", DATABASE(",\"deletionPolicy\":\"Delete\""));
    wait_until(world, is_taken, "somebody's StatefulSet is not told");
    delete_database(world);
    wait_until(world, is_gone, "the Database is not gone");
    expect(world, has_set(world), "somebody's StatefulSet is deleted");
}

/* -- Deletion ---------------------------------------------------------------------------------------------------------- */

static bool has_no_pod(struct world *world)
{
    return is_gone(world) && !find(world, &proa_kube_pods, "shop-0").ptr;
}

/* While the StatefulSet is replaced without its pods, which are nobody's at that moment. */
static void deleted_while_volumes_grow(struct world *world, const char *database)
{
    struct proa_buf json = {0};
    proa_str is;
    ptrdiff_t at;

    put(world, &database_kind, "user", database);
    wait_until(world, has_set, "no StatefulSet");
    put_pod(world, "");
    is = find(world, &database_kind, "shop");
    at = proa_str_find(is, PROA_STR("\"1Gi\""));
    proa_buf_add(&json, proa_str_slice(is, 0, (size_t)at));
    proa_buf_add_c(&json, "\"2Gi\"");
    proa_buf_add(&json, proa_str_slice(is, (size_t)at + strlen("\"1Gi\""), is.len));
    proa_buf_add_char(&json, '\0');
    world->delete_with_set = true;
    put(world, &database_kind, "user", json.ptr);
    wait_until(world, is_gone, "the Database is not gone");
    wait_until(world, has_no_pod, "a pod runs on");
    expect(world, !has_set(world), "the StatefulSet is made again");
    proa_buf_done(&json);
}

static void deleted_while_growing(struct world *world)
{
    deleted_while_volumes_grow(world, DATABASE(""));
}

static void deleted_with_volumes_while_growing(struct world *world)
{
    deleted_while_volumes_grow(world, DATABASE(",\"deletionPolicy\":\"Delete\""));
}

/* -- What an instance tells --------------------------------------------------------------------------------------------- */

static int get_status(struct proa_req *req)
{
    struct world *world = proa_req_state(req);
    proa_str secret = find(world, &proa_kube_secrets, "shop-credentials"),
             given = proa_req_header(req, "Authorization");
    struct proa_buf token;

    world->asked++;
    proa_buf_init(&token, proa_req_arena(req), 0);
    proa_buf_add_c(&token, "Bearer ");
    if (proa_base64_decode(&token, text_after(secret, "\"agentToken\":\"")) < 0 ||
        !proa_str_eq(given, proa_buf_str(&token)))
        world->unauthorized++;
    return proa_reply_text(req, 200,
                           proa_arena_printf(proa_req_arena(req),
                                             "{\"pod\":\"shop-0\",\"kept\":%llu,\"reason\":\"%s\",\"warning\":\"%s\"}",
                                             (unsigned long long)world->kept, world->reason ? world->reason : "",
                                             world->warning ? world->warning : ""));
}

static bool is_told(struct world *world)
{
    return has(find(world, &database_kind, "shop"), "\"reason\":\"DataPutAside\"");
}

static bool is_told_no_more(struct world *world)
{
    return !is_told(world);
}

static bool was_asked(struct world *world)
{
    return world->asked > 0;
}

static void data_put_aside(struct world *world)
{
    put(world, &database_kind, "user", DATABASE(""));
    wait_until(world, has_set, "no StatefulSet");
    put_pod(world, "\"podIP\":\"" POD_IP "\",");
    wait_until(world, was_asked, "the agent is not asked");
    expect(world, !is_told(world), "it is told without reason");
    world->kept = 1;
    /* Its readiness changes meanwhile, as it does when an instance is copied anew. */
    put_pod(world, "\"podIP\":\"" POD_IP "\",\"reason\":\"x\",");
    wait_until(world, is_told, "data that were put aside are not told");
    expect(world, has(find(world, &database_kind, "shop"), "PersistentVolumeClaim data-shop-0"),
           "it is not told where");
    world->kept = 0;
    wait_until(world, is_told_no_more, "it is told for ever");
    expect(world, world->unauthorized == 0, "the token is not the Secret's");
    /* At rest nobody is asked every moment. */
    world->asked = 0;
    proa_ignore(proa_sleep(world->loop, PROA_SECONDS(3600)));
    expect(world, world->asked > 0 && world->asked <= 3600 / 300, "asked too often, or never");
}

static bool has_served(struct world *world)
{
    return has(find(world, &database_kind, "shop"), "\"phase\":\"Ready\"");
}

static bool is_told_why(struct world *world)
{
    return has(find(world, &database_kind, "shop"), "the primary shop-0 does not serve: its volume is lost");
}

static bool is_warned(struct world *world)
{
    return has(find(world, &database_kind, "shop"), "\"reason\":\"InstanceWarning\"") &&
           has(find(world, &database_kind, "shop"), "instance shop-0 serves, but: the password");
}

static bool is_quiet(struct world *world)
{
    return has(find(world, &database_kind, "shop"), "\"reason\":\"AsExpected\"");
}

static void put_set_status(struct world *world, int ready)
{
    proa_str is = find(world, &proa_kube_stateful_sets, "shop");
    ptrdiff_t at = proa_str_find(is, PROA_STR(",\"status\":{\"observedGeneration\""));
    struct proa_buf json = {0};

    proa_buf_add(&json, proa_str_slice(is, 0, at >= 0 ? (size_t)at : is.len - 1));
    proa_buf_printf(&json, ",\"status\":{\"observedGeneration\":1,\"replicas\":%d,\"readyReplicas\":%d}}", ready,
                    ready);
    proa_buf_add_char(&json, '\0');
    put(world, &proa_kube_stateful_sets, "controllers", json.ptr);
    proa_buf_done(&json);
}

/* Why an instance does not serve, and what one that does could not do. */
static void an_instance_says_why(struct world *world)
{
    put(world, &database_kind, "user", DATABASE(""));
    wait_until(world, has_set, "no StatefulSet");
    put_pod(world, "\"podIP\":\"" POD_IP "\",");
    put_set_status(world, 1);
    wait_until(world, has_served, "it is not ready");
    world->reason = "its volume is lost";
    put_pod_as(world, "\"podIP\":\"" POD_IP "\",", "False");
    put_set_status(world, 0);
    wait_until(world, is_told_why, "it is not told why the primary does not serve");
    world->reason = NULL;
    world->warning = "the password";
    put_pod(world, "\"podIP\":\"" POD_IP "\",");
    put_set_status(world, 1);
    wait_until(world, is_warned, "a warning is not told");
    expect(world, has_served(world), "a warning is no reason not to be ready");
    world->warning = NULL;
    wait_until(world, is_quiet, "a warning is told for ever");
}

/* One that does not answer holds up nothing, and is left alone for a while. */
static void silent_agent(struct world *world)
{
    put(world, &database_kind, "user", DATABASE(""));
    wait_until(world, has_set, "no StatefulSet");
    put_pod(world, "\"podIP\":\"10.9.9.9\",");
    proa_ignore(proa_sleep(world->loop, PROA_SECONDS(LOOKS_S)));
    expect(world, !is_told(world), "it is told without reason");
    delete_database(world);
    wait_until(world, is_gone, "the Database is not gone");
}

/* -- What nobody tells ------------------------------------------------------------------------------------------------- */

static bool is_missing(struct world *world)
{
    return has(find(world, &database_kind, "shop"), "\"reason\":\"InstanceMissing\"");
}

static bool is_made(struct world *world)
{
    return !is_missing(world);
}

/* Its controller has seen the StatefulSet, and no pod comes, as when a quota refuses it. */
static void refused_pod(struct world *world)
{
    put(world, &database_kind, "user", DATABASE(""));
    wait_until(world, has_set, "no StatefulSet");
    put_set_status(world, 0);
    proa_ignore(proa_sleep(world->loop, PROA_SECONDS(20)));
    expect(world, !is_missing(world), "it is told too soon");
    wait_until(world, is_missing, "a pod that is not made is not told");
    put_pod(world, "");
    wait_until(world, is_made, "it is told for ever");
}

/* -- Whether ServiceMonitors are served -------------------------------------------------------------------------------- */

static int look(struct world *world, struct proa_kube *kube)
{
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(world->loop, proa_loop_now(world->loop) + PROA_SECONDS(60));
    struct proa_error err = {0};

    return proa_kube_is_served(kube, &service_monitor_kind, &err);
}

/* An API server that cannot say it has not said no. */
static void no_answer_is_no_no(struct world *world)
{
    const struct proa_sim_kube_faults unavailable = {.unavailable = 1}, none = {0};
    struct proa_kube_config *config = NULL;
    struct proa_kube *kube = NULL;
    struct proa_error err = {0};

    assert_int_equal(proa_kube_config_plain("http://" ADDRESS, &config), 0);
    assert_int_equal(proa_kube_new(&(struct proa_kube_options){.loop = world->loop, .config = config}, &kube, &err), 0);
    expect(world, look(world, kube) == 0, "the kind is not there");
    proa_sim_kube_set_faults(world->api, &unavailable);
    expect(world, look(world, kube) < 0, "429 and 503 count as no");
    proa_sim_kube_set_faults(world->api, &none);
    proa_sim_kube_set_state(world->api, PROA_SIM_KUBE_STARTING);
    expect(world, look(world, kube) < 0, "one that starts counts as no");
    proa_sim_kube_set_state(world->api, PROA_SIM_KUBE_DOWN);
    expect(world, look(world, kube) < 0, "one that is down counts as no");
    proa_sim_kube_set_state(world->api, PROA_SIM_KUBE_UP);
    if (proa_sim_kube_serve(world->api, &service_monitor_kind, false, false) < 0)
        world->failure = "the kind cannot be served";
    expect(world, look(world, kube) == 1, "the kind is there");
    proa_kube_free(kube);
    proa_kube_config_free(config);
}

/* -- All of it --------------------------------------------------------------------------------------------------------- */

static void on_request(void *arg, uint64_t number, const char *method, proa_str path)
{
    struct world *world = arg;

    (void)number;
    if (world->delete_with_set && strcmp(method, "DELETE") == 0 &&
        proa_str_find(path, PROA_STR("/statefulsets/shop")) >= 0) {
        world->delete_with_set = false;
        delete_database(world);
    }
}

static int live(void *arg)
{
    struct world *world = arg;

    return operator_live(world->loop, "http://" ADDRESS, &world->settings, 0);
}

static int tell(void *arg)
{
    struct world *world = arg;
    struct proa_group group;

    proa_group_init(&group, world->loop);
    PROA_TRY(proa_group_start(&group, NULL, live, world));
    world->story(world);
    proa_group_cancel(&group, PROA_ECANCELED);
    proa_ignore(proa_group_wait(&group));
    proa_sim_kube_stop(world->api);
    return proa_server_drain(world->agent, 0, 1000);
}

static void run(void (*story)(struct world *world))
{
    static const struct proa_route routes[] = {{PROA_GET, "/v1/status", get_status}};
    struct world world = {.story = story, .settings = {.agent_image = PROA_STR("agent:1")}};
    struct proa_sim_kube_options options = {.address = ADDRESS, .on_request = on_request, .arg = &world};
    struct proa_router *router;
    struct proa_error err = {0};
    int rc;

    assert_int_equal(proa_sim_new(&(struct proa_sim_options){.seed = 1}, &world.sim), 0);
    world.loop = options.loop = proa_sim_loop(world.sim);
    assert_int_equal(proa_sim_kube_start(&options, &world.api, &err), 0);
    assert_int_equal(proa_sim_kube_serve(world.api, &database_kind, true, true), 0);
    assert_int_equal(proa_router_new(&router), 0);
    assert_int_equal(proa_router_add(router, "", NULL, routes, PROA_COUNT(routes), &err), 0);
    assert_int_equal(proa_server_start(
                         &(struct proa_server_options){
                             .loop = world.loop, .address = POD_IP ":8008", .router = router, .state = &world},
                         &world.agent, &err),
                     0);
    assert_int_equal(proa_loop_start_fiber(world.loop, NULL, tell, &world), 0);
    rc = proa_loop_run(world.loop);
    proa_server_free(world.agent);
    if (proa_loop_run(world.loop) < 0 || world.failure || rc < 0)
        fail_msg("%s", world.failure ? world.failure : proa_code_name(rc));
    proa_router_free(router);
    proa_sim_free(world.sim);
}

#define STORY(name)                                                                                                    \
    static void test_##name(void **state)                                                                              \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        run(name);                                                                                                     \
    }
STORY(anothers_secret)
STORY(copied_set)
STORY(deleted_while_growing)
STORY(deleted_with_volumes_while_growing)
STORY(data_put_aside)
STORY(an_instance_says_why)
STORY(silent_agent)
STORY(refused_pod)
STORY(no_answer_is_no_no)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anothers_secret),       cmocka_unit_test(test_copied_set),
        cmocka_unit_test(test_deleted_while_growing), cmocka_unit_test(test_deleted_with_volumes_while_growing),
        cmocka_unit_test(test_data_put_aside),        cmocka_unit_test(test_an_instance_says_why),
        cmocka_unit_test(test_silent_agent),          cmocka_unit_test(test_refused_pod),
        cmocka_unit_test(test_no_answer_is_no_no),
    };

    return cmocka_run_group_tests_name("sim/operator_cases", tests, NULL, NULL);
}
