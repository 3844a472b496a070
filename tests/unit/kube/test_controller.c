/* Managers and controllers against the simulated API server, in virtual time, with its faults. */
#include "sim_run.h"

#include <inttypes.h>
#include <proa/controller.h>
#include <proa/crd.h>
#include <proa/sim_kube.h>
#include <stdio.h>
#include <string.h>

enum { APPS = 12, SEEDS = 40 };

struct app_spec {
    proa_str text;
};
PROA_DESCRIBE(app_spec, (text, str));
struct app_status {
    int64_t observed;
};
PROA_DESCRIBE(app_status, (observed, i64, .default_json = "0"));
struct app {
    struct proa_kube_meta metadata;
    struct app_spec spec;
    struct app_status status;
};
PROA_DESCRIBE_WITH(app, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(proa_kube_meta)), (spec, object(app_spec)),
                   (status, object(app_status), .default_json = "{}"));
struct report {
    struct app_status status;
};
PROA_DESCRIBE(report, (status, object(app_status)));
struct map_data {
    proa_str text;
};
PROA_DESCRIBE(map_data, (text, str));
struct map {
    struct map_data data;
};
PROA_DESCRIBE(map, (data, object(map_data)));

static const struct proa_kube_kind app_kind = {"example.com", "v1", "App", "apps", false};

struct bench {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_sim_kube *api;
    struct proa_kube_config *config;
    struct proa_kube *kube;
    struct proa_manager *manager;
    struct proa_controller *controller;
    struct proa_group group;
    struct proa_sim_kube_faults faults;
    uint64_t seed;
    const char *lease;
    void (*body)(struct bench *bench);
    uint32_t reconciles, writes, running, running_max, patches;
    uint32_t key_running[APPS];
    uint64_t delay_ms; /* in each reconcile */
    bool has_finalizer;
    uint32_t busy_s;    /* each reconcile fails with this Retry-After */
    uint32_t farewells; /* reconciles that took the finalizer off */
    const struct proa_crd_options *crd;
    bool is_task; /* the manager runs as an application's task */
    bool has_ended;
    bool deletes_maps;
    int deleted;         /* what came of it */
    bool has_namespaces; /* and a namespace for each, which is in none itself */
    int owned_abroad;    /* what came of applying what the garbage collector would take for an orphan */
};

/* The watch is cut where it would tell of the deletion, and what was reconciled is to come again at once.
 * @returns 1 when the object was on its way out, and is let go. */
static int clean_up(struct proa_reconcile *ctx, struct bench *bench, const struct app *app)
{
    static const struct proa_sim_kube_faults cut = {.cut_watch = 1};
    bool is_wanted = app->metadata.deletion_timestamp.presence != PROA_SET;

    if (!bench->has_finalizer)
        return 0;
    if (!is_wanted)
        proa_sim_kube_set_faults(bench->api, &cut);
    PROA_TRY(proa_reconcile_finalizer(ctx, &app_kind, &app->metadata, "example.com/farewell", is_wanted));
    if (is_wanted)
        return 0;
    bench->farewells++;
    ctx->requeue_after_ns = PROA_MS(1);
    return 1;
}

/* By what the cache tells of it, while somebody changes it and the API server answers with a conflict. */
static int delete_map(struct proa_reconcile *ctx, struct bench *bench)
{
    static const struct proa_sim_kube_faults conflict = {.conflict = 1, .delay_max_ns = PROA_SECONDS(1)}, none = {0};
    struct proa_cached map;
    struct proa_kube_meta meta = {0};

    assert_true(proa_cache_get(proa_controller_cache(ctx->controller, &proa_kube_config_maps), ctx->namespace_,
                               ctx->name, &map));
    meta.namespace_ = map.namespace_;
    meta.name = map.name;
    meta.uid = map.uid;
    proa_sim_kube_set_faults(bench->api, &conflict);
    assert_int_equal(proa_sim_kube_put(bench->api, &proa_kube_config_maps,
                                       PROA_STR("{\"metadata\":{\"namespace\":\"ns\",\"name\":\"a0\"},"
                                                "\"data\":{\"text\":\"other\"}}"),
                                       "user", NULL),
                     0);
    bench->deleted = proa_reconcile_delete(ctx, &proa_kube_config_maps, &meta, NULL);
    proa_sim_kube_set_faults(bench->api, &none);
    bench->deletes_maps = false;
    return bench->deleted;
}

/* A namespace of the object's name, and what may not have the object for its owner. */
static int apply_namespace(struct proa_reconcile *ctx, struct bench *bench, const struct app *app)
{
    const proa_str labels = PROA_STR("{\"metadata\":{\"labels\":{\"of\":\"an-app\"}}}");
    const struct proa_apply namespace_ = {.kind = &proa_kube_namespaces, .body = labels},
                            owned = {.kind = &proa_kube_namespaces, .body = labels, .owner = &app->metadata},
                            abroad = {.kind = &proa_kube_config_maps,
                                      .namespace_ = PROA_STR("default"),
                                      .body = labels,
                                      .owner = &app->metadata};
    bool changed;

    PROA_TRY(proa_reconcile_apply(ctx, &namespace_, &changed));
    bench->writes += changed;
    bench->owned_abroad = proa_reconcile_apply(ctx, &owned, &changed);
    proa_error_clear(ctx->err);
    if (bench->owned_abroad == PROA_EINVAL)
        bench->owned_abroad = proa_reconcile_apply(ctx, &abroad, &changed);
    proa_error_clear(ctx->err);
    return 0;
}

static int reconcile_app(struct proa_reconcile *ctx, struct bench *bench)
{
    struct report report;
    struct app app;
    struct map map;
    bool changed;
    int found = proa_reconcile_object(ctx, &app_type, &app);

    if (found <= 0)
        return found;
    if (bench->delay_ms)
        PROA_TRY(proa_sleep(bench->loop, PROA_MS(bench->delay_ms)));
    if (bench->deletes_maps)
        return delete_map(ctx, bench);
    if (bench->has_namespaces)
        return apply_namespace(ctx, bench, &app);
    found = clean_up(ctx, bench, &app);
    if (found != 0)
        return found;
    map.data.text = app.spec.text;
    PROA_TRY(proa_reconcile_apply(
        ctx,
        &(struct proa_apply){.kind = &proa_kube_config_maps, .owner = &app.metadata, PROA_APPLY_VALUE(&map_type, &map)},
        &changed));
    bench->writes += changed;
    report.status.observed = app.metadata.generation;
    PROA_TRY(proa_reconcile_apply(
        ctx, &(struct proa_apply){.kind = &app_kind, .subresource = "status", PROA_APPLY_VALUE(&report_type, &report)},
        &changed));
    bench->writes += changed;
    return 0;
}

static int reconcile(struct proa_reconcile *ctx, void *arg)
{
    struct bench *bench = arg;
    uint64_t number = 0;
    int rc;

    bench->reconciles++;
    bench->running++;
    if (bench->running > bench->running_max)
        bench->running_max = bench->running;
    if (proa_str_to_u64(proa_str_slice(ctx->name, 1, ctx->name.len), &number) < 0 || number >= APPS)
        fail_msg("an unknown key");
    assert_int_equal(bench->key_running[number]++, 0); /* never two of one key */
    if (bench->busy_s > 0) {
        rc = proa_fail(ctx->err, PROA_EBUSY, "too many requests");
        ctx->err->retry_after_s = bench->busy_s;
    } else {
        rc = reconcile_app(ctx, bench);
    }
    bench->key_running[number]--;
    bench->running--;
    return rc;
}

static int run_manager(void *arg)
{
    struct bench *bench = arg;
    int rc = bench->is_task ? proa_manager_task(bench->manager) : proa_manager_run(bench->manager, NULL);

    bench->has_ended = true;
    return rc;
}

static void start_manager(struct bench *bench)
{
    const struct proa_source owns[] = {
        {.kind = &proa_kube_config_maps}, {bench->has_namespaces ? &proa_kube_namespaces : NULL}, {NULL}};
    struct proa_error err = {0};

    if (proa_manager_new(
            &(struct proa_manager_options){
                .kube = bench->kube, .lease_name = bench->lease, .lease_namespace = "default", .identity = "one"},
            &bench->manager, &err) < 0 ||
        proa_controller_add(bench->manager,
                            &(struct proa_controller_options){.name = "app",
                                                              .reconcile = reconcile,
                                                              .crd = bench->crd,
                                                              .arg = bench,
                                                              .for_ = {.kind = &app_kind, .type = &app_type.type},
                                                              .owns = owns,
                                                              .concurrency = 3},
                            &bench->controller, &err) < 0)
        fail_msg("%s", err.message);
    assert_ptr_equal(proa_manager_kube(bench->manager), bench->kube);
    proa_group_init(&bench->group, bench->loop);
    assert_int_equal(proa_group_start(&bench->group, NULL, run_manager, bench), 0);
}

static void stop_manager(struct bench *bench)
{
    proa_group_cancel(&bench->group, 0);
    assert_int_equal(proa_group_wait(&bench->group), 0);
    assert_int_equal(bench->running, 0);
    proa_manager_free(bench->manager);
}

static void put_app(struct bench *bench, int number, const char *text)
{
    char json[256];

    snprintf(json, sizeof json,
             "{\"apiVersion\":\"example.com/v1\",\"kind\":\"App\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"a%d\"},"
             "\"spec\":{\"text\":\"%s\"}}",
             number, text);
    assert_int_equal(proa_sim_kube_put(bench->api, &app_kind, proa_str_c(json), "user", NULL), 0);
}

static bool map_says(struct bench *bench, int number, const char *text)
{
    char name[16], part[64];
    proa_str json;

    snprintf(name, sizeof name, "a%d", number);
    snprintf(part, sizeof part, "\"text\":\"%s\"", text);
    json = proa_sim_kube_get(bench->api, &proa_kube_config_maps, PROA_STR("ns"), proa_str_c(name));
    return json.ptr && proa_str_find(json, proa_str_c(part)) >= 0;
}

static bool all_say(struct bench *bench, const char *text)
{
    for (int i = 0; i < APPS; i++)
        if (!map_says(bench, i, text))
            return false;
    return true;
}

static void pass(struct bench *bench, uint32_t ms)
{
    assert_int_equal(proa_sleep(bench->loop, PROA_MS(ms)), 0);
}

/* @returns ms until all say so. */
static uint64_t wait_for(struct bench *bench, const char *text, uint64_t limit_ms)
{
    proa_mono_ns began = proa_loop_now(bench->loop);
    uint64_t ms = 0;

    while (!all_say(bench, text)) {
        pass(bench, 5);
        ms = (proa_loop_now(bench->loop) - began) / 1000000;
        if (ms > limit_ms)
            fail_msg("seed %" PRIu64 ": not all say %s after %" PRIu64 " ms", bench->seed, text, ms);
    }
    return ms;
}

static int body(void *arg)
{
    struct bench *bench = arg;
    struct proa_error err = {0};

    if (proa_sim_kube_start(&(struct proa_sim_kube_options){.loop = bench->loop, .address = "api:6443"}, &bench->api,
                            &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(proa_sim_kube_serve(bench->api, &app_kind, true, false), 0);
    assert_int_equal(proa_kube_config_plain("http://api:6443", &bench->config), 0);
    assert_int_equal(
        proa_kube_new(&(struct proa_kube_options){.loop = bench->loop, .config = bench->config}, &bench->kube, &err),
        0);
    bench->body(bench);
    proa_kube_free(bench->kube);
    proa_kube_config_free(bench->config);
    proa_sim_kube_stop(bench->api);
    return 0;
}

static void run(uint64_t seed, void (*of)(struct bench *bench))
{
    struct bench bench = {.seed = seed, .body = of};

    assert_int_equal(proa_sim_new(&(struct proa_sim_options){.seed = seed}, &bench.sim), 0);
    bench.loop = proa_sim_loop(bench.sim);
    assert_int_equal(proa_loop_start_fiber(bench.loop, NULL, body, &bench), 0);
    assert_int_equal(proa_loop_run(bench.loop), 0);
    proa_sim_free(bench.sim);
}

/* -- Cases --------------------------------------------------------------------------------------------------------- */

/* Somebody changes a map of ours. */
static void drift(struct bench *bench, const char *name, const char *merge_patch)
{
    const struct proa_kube_patch_options merge = {.kind = PROA_KUBE_MERGE, .field_manager = "somebody"};
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(proa_kube_patch(bench->kube, &arena, &proa_kube_config_maps, PROA_STR("ns"), proa_str_c(name),
                                     proa_str_c(merge_patch), &merge, NULL, NULL, NULL),
                     0);
}

static void work_body(struct bench *bench)
{
    uint32_t reconciles, writes;

    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "one");
    bench->delay_ms = 10;
    start_manager(bench);
    wait_for(bench, "one", 5000);
    pass(bench, 2000);
    assert_int_equal(bench->running_max, 3);
    assert_int_equal(bench->writes, 2 * APPS); /* a request for each thing that was not so */
    assert_true(proa_manager_is_leader(bench->manager) && proa_manager_is_ready(bench->manager));
    reconciles = bench->reconciles;
    pass(bench, 3600000);
    assert_int_equal(bench->reconciles, reconciles); /* and none at rest */
    /* Changes and repairs. */
    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "two");
    wait_for(bench, "two", 1000);
    pass(bench, 1000);
    writes = bench->writes;
    assert_int_equal(proa_sim_kube_delete(bench->api, &proa_kube_config_maps, PROA_STR("ns"), PROA_STR("a3")), 0);
    drift(bench, "a4", "{\"data\":{\"text\":\"drift\"}}");
    drift(bench, "a5", "{\"metadata\":{\"ownerReferences\":null}}");
    pass(bench, 1000);
    wait_for(bench, "two", 0);
    assert_int_equal(bench->writes - writes, 3);
    stop_manager(bench);
    /* A new one finds all done. */
    writes = bench->writes;
    reconciles = bench->reconciles;
    start_manager(bench);
    pass(bench, 5000);
    assert_int_equal(bench->reconciles - reconciles, APPS);
    assert_int_equal(bench->writes, writes);
    stop_manager(bench);
}

static void what_is_wanted_comes_to_be(void **state)
{
    (void)state;
    run(1, work_body);
}

static void outage_body(struct bench *bench)
{
    static const uint32_t lengths_ms[] = {1000, 20000, 3600000};

    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "one");
    bench->lease = "lease";
    start_manager(bench);
    wait_for(bench, "one", 5000);
    for (size_t i = 0; i < PROA_COUNT(lengths_ms); i++) {
        char text[16];

        snprintf(text, sizeof text, "text%zu", i);
        proa_sim_kube_set_state(bench->api, PROA_SIM_KUBE_DOWN);
        pass(bench, lengths_ms[i] / 2);
        for (int app = 0; app < APPS; app++)
            put_app(bench, app, text);
        pass(bench, lengths_ms[i] / 2);
        if (lengths_ms[i] > 15000)
            assert_false(proa_manager_is_leader(bench->manager));
        proa_sim_kube_set_state(bench->api, PROA_SIM_KUBE_STARTING);
        pass(bench, 5000);
        proa_sim_kube_set_state(bench->api, PROA_SIM_KUBE_UP);
        wait_for(bench, text, 2000);
    }
    stop_manager(bench);
}

static void an_outage_of_any_length_is_over_at_once(void **state)
{
    (void)state;
    run(2, outage_body);
}

/* Packets are dropped and no connection is told, as when a node loses its power; afterwards the old ones lead nowhere. */
static void silent_outage_body(struct bench *bench)
{
    /* Without a lease nothing is asked for while all is calm: silence is noticed after half a minute. */
    const uint32_t lengths_s[] = {bench->lease ? 12 : 40, 120, 3600};

    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "one");
    start_manager(bench);
    wait_for(bench, "one", 5000);
    for (size_t i = 0; i < PROA_COUNT(lengths_s); i++) {
        char text[16];

        snprintf(text, sizeof text, "text%zu", i);
        pass(bench, 60000);
        proa_sim_partition(bench->sim, "api:6443", true);
        proa_sim_lose(bench->sim, "api:6443");
        pass(bench, lengths_s[i] * 500);
        for (int app = 0; app < APPS; app++)
            put_app(bench, app, text);
        pass(bench, lengths_s[i] * 500);
        proa_sim_partition(bench->sim, "api:6443", false);
        wait_for(bench, text, 3000);
    }
    stop_manager(bench);
}

static void a_silent_outage_is_noticed(void **state)
{
    (void)state;
    run(1, silent_outage_body);
}

static void leased_silent_outage_body(struct bench *bench)
{
    bench->lease = "lease";
    silent_outage_body(bench);
}

static void a_silent_outage_is_noticed_with_a_lease(void **state)
{
    (void)state;
    run(1, leased_silent_outage_body);
}

/* Of two paths one is gone, as when a load balancer forgets its connections: the lease is renewed over a new one in time. */
static void lost_connections_body(struct bench *bench)
{
    proa_mono_ns until;

    bench->lease = "lease";
    start_manager(bench);
    pass(bench, 5000);
    assert_true(proa_manager_is_leader(bench->manager));
    proa_sim_lose(bench->sim, "api:6443");
    until = proa_loop_now(bench->loop) + PROA_SECONDS(60);
    while (proa_loop_now(bench->loop) < until) {
        pass(bench, 100);
        assert_true(proa_manager_is_leader(bench->manager));
    }
    stop_manager(bench);
}

static void lost_connections_do_not_cost_the_lease(void **state)
{
    (void)state;
    run(1, lost_connections_body);
}

static void farewell_body(struct bench *bench)
{
    static const struct proa_sim_kube_faults none = {0};

    bench->has_finalizer = true;
    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "one");
    start_manager(bench);
    wait_for(bench, "one", 5000);
    pass(bench, 1000);
    for (int i = 0; i < APPS; i++) {
        char name[16];

        snprintf(name, sizeof name, "a%d", i);
        assert_int_equal(proa_sim_kube_delete(bench->api, &app_kind, PROA_STR("ns"), proa_str_c(name)), 0);
    }
    pass(bench, 100);
    proa_sim_kube_set_faults(bench->api, &none);
    pass(bench, 10000);
    assert_int_equal(proa_sim_kube_count(bench->api, &app_kind), 0);
    assert_int_equal(bench->farewells, APPS);
    stop_manager(bench);
}

static void a_deleted_object_is_let_go_once(void **state)
{
    (void)state;
    run(3, farewell_body);
}

/* As many objects as there are workers cannot be written, while the API server is well. */
static void broken_body(struct bench *bench)
{
    static const struct proa_sim_kube_faults broken = {.broken = "a1"}, none = {0};
    uint32_t reconciles;

    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "one");
    proa_sim_kube_set_faults(bench->api, &broken);
    start_manager(bench);
    pass(bench, 2000);
    for (int i = 0; i < APPS; i++)
        assert_int_equal(map_says(bench, i, "one"), i != 1 && i < 10);
    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "two");
    pass(bench, 1000);
    for (int i = 0; i < APPS; i++)
        assert_int_equal(map_says(bench, i, "two"), i != 1 && i < 10);
    /* They back off, each by itself. */
    reconciles = bench->reconciles;
    pass(bench, 3600000);
    assert_in_range(bench->reconciles - reconciles, 3 * 5, 3 * 15);
    proa_sim_kube_set_faults(bench->api, &none);
    wait_for(bench, "two", 1000000);
    stop_manager(bench);
}

static void objects_that_cannot_be_written_hold_up_no_others(void **state)
{
    (void)state;
    run(5, broken_body);
}

static const struct proa_crd_options app_crd = {
    .kind = &app_kind, .spec = &app_spec_type.type, .status = &app_status_type.type};

/* The definition is refused while the API server does not know its roles. */
static void starting_body(struct bench *bench)
{
    bench->crd = &app_crd;
    proa_sim_kube_set_state(bench->api, PROA_SIM_KUBE_STARTING);
    start_manager(bench);
    pass(bench, 30000);
    assert_false(bench->has_ended);
    proa_sim_kube_set_state(bench->api, PROA_SIM_KUBE_UP);
    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "one");
    wait_for(bench, "one", 3000);
    assert_int_equal(proa_sim_kube_count(bench->api, &proa_kube_crds), 1);
    stop_manager(bench);
}

static void an_api_server_that_starts_refuses_for_a_while(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++)
        run(seed, starting_body);
}

/* What ends a manager ends no program: it is tried again. */
static void again_body(struct bench *bench)
{
    static const struct proa_sim_kube_faults conflict = {.conflict = 1}, none = {0};

    bench->crd = &app_crd;
    bench->is_task = true;
    proa_sim_kube_set_faults(bench->api, &conflict);
    start_manager(bench);
    pass(bench, 600000);
    assert_false(bench->has_ended || proa_manager_is_ready(bench->manager));
    assert_in_range(proa_sim_kube_requests(bench->api), 15, 100);
    proa_sim_kube_set_faults(bench->api, &none);
    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "one");
    wait_for(bench, "one", 31000);
    stop_manager(bench);
    assert_true(bench->has_ended);
}

static void a_manager_that_ended_is_run_again(void **state)
{
    (void)state;
    run(6, again_body);
}

static void conflict_body(struct bench *bench)
{
    put_app(bench, 0, "one");
    start_manager(bench);
    pass(bench, 5000);
    assert_true(map_says(bench, 0, "one"));
    bench->deletes_maps = true;
    put_app(bench, 0, "two");
    pass(bench, 5000);
    assert_false(bench->deletes_maps);
    assert_int_equal(bench->deleted, PROA_ECONFLICT);
    assert_true(map_says(bench, 0, "other"));
    stop_manager(bench);
}

static void a_conflict_of_a_deletion_is_no_end(void **state)
{
    (void)state;
    run(4, conflict_body);
}

/* A kind without namespaces is in none, also when nothing is said of it; and no owner is in another namespace. */
static void namespaces_body(struct bench *bench)
{
    uint32_t reconciles;

    bench->has_namespaces = true;
    bench->owned_abroad = 1;
    put_app(bench, 0, "one");
    start_manager(bench);
    pass(bench, 5000);
    assert_true(proa_sim_kube_get(bench->api, &proa_kube_namespaces, PROA_STR(""), PROA_STR("a0")).ptr != NULL);
    assert_int_equal(bench->writes, 1);
    assert_int_equal(bench->owned_abroad, PROA_EINVAL);
    assert_null(proa_sim_kube_get(bench->api, &proa_kube_config_maps, PROA_STR("default"), PROA_STR("a0")).ptr);
    /* And is seen to be as it should be. */
    reconciles = bench->reconciles;
    put_app(bench, 0, "two");
    pass(bench, 10000);
    assert_true(bench->reconciles > reconciles);
    assert_int_equal(bench->writes, 1);
    stop_manager(bench);
}

static void kinds_without_namespaces_are_in_none(void **state)
{
    (void)state;
    run(1, namespaces_body);
}

/* One whose lease ends before its own time is over would write while another leads. */
static void lease_times_body(struct bench *bench)
{
    static const struct {
        uint32_t lease_ms, renew_ms, retry_ms;
        int rc;
    } cases[] = {{0, 0, 0, 0},
                 {5000, 0, 0, PROA_EINVAL}, /* the renewals' 10 s are the default */
                 {10000, 10000, 2000, PROA_EINVAL},
                 {0, 10000, 9000, PROA_EINVAL}, /* a retry may be a fifth longer */
                 {3000, 2000, 375, 0}};

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        struct proa_manager_options options = {.kube = bench->kube,
                                               .lease_name = "l",
                                               .lease_namespace = "default",
                                               .lease_ms = cases[i].lease_ms,
                                               .renew_ms = cases[i].renew_ms,
                                               .retry_ms = cases[i].retry_ms};
        struct proa_manager *manager = NULL;

        assert_int_equal(proa_manager_new(&options, &manager, NULL), cases[i].rc);
        proa_manager_free(manager);
        options.lease_name = NULL; /* then they mean nothing */
        assert_int_equal(proa_manager_new(&options, &manager, NULL), 0);
        proa_manager_free(manager);
    }
}

static void a_lease_outlasts_its_renewals(void **state)
{
    (void)state;
    run(1, lease_times_body);
}

static void faults_body(struct bench *bench)
{
    static const struct proa_sim_kube_faults faults = {.lose_request = 0.05,
                                                       .lose_answer = 0.05,
                                                       .unavailable = 0.05,
                                                       .conflict = 0.05,
                                                       .cut_watch = 0.05,
                                                       .expire = 0.2,
                                                       .delay_max_ns = PROA_MS(50)};

    proa_sim_kube_set_faults(bench->api, &faults);
    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "one");
    start_manager(bench);
    wait_for(bench, "one", 600000);
    for (int i = 0; i < APPS; i++)
        put_app(bench, i, i % 2 ? "two" : "three");
    for (int i = 0; i < APPS; i += 3) {
        char name[16];

        snprintf(name, sizeof name, "a%d", i);
        assert_int_equal(proa_sim_kube_delete(bench->api, &proa_kube_config_maps, PROA_STR("ns"), proa_str_c(name)), 0);
    }
    stop_manager(bench);
    start_manager(bench);
    pass(bench, 100);
    for (int i = 0; i < APPS; i++)
        put_app(bench, i, "four");
    wait_for(bench, "four", 600000);
    assert_int_equal(proa_sim_kube_count(bench->api, &proa_kube_config_maps), APPS);
    stop_manager(bench);
}

static void faults_do_not_keep_it_from_converging(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed, faults_body);
}

static void busy_body(struct bench *bench)
{
    bench->busy_s = 7;
    put_app(bench, 0, "one");
    start_manager(bench);
    pass(bench, 6900);
    assert_int_equal(bench->reconciles, 1);
    pass(bench, 200);
    assert_int_equal(bench->reconciles, 2);
    stop_manager(bench);
}

static void a_busy_api_server_sets_the_pace(void **state)
{
    (void)state;
    run(1, busy_body);
}

static bool lease_is_held(struct bench *bench)
{
    proa_str json = proa_sim_kube_get(bench->api, &proa_kube_leases, PROA_STR("default"), PROA_STR("lease"));

    return json.ptr && proa_str_find(json, PROA_STR("\"holderIdentity\":\"one\"")) >= 0;
}

static void unawares_body(struct bench *bench)
{
    bench->lease = "lease";
    proa_sim_set_network(bench->sim,
                         &(struct proa_sim_network){.delay_min_ns = PROA_MS(50), .delay_max_ns = PROA_MS(50)});
    start_manager(bench);
    while (!lease_is_held(bench))
        pass(bench, 1);
    assert_false(proa_manager_is_leader(bench->manager));
    stop_manager(bench);
    assert_false(lease_is_held(bench));
}

/* Stopped while the answer is under way, the manager does not know that it leads. */
static void a_lease_taken_unawares_is_released(void **state)
{
    (void)state;
    run(1, unawares_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wanted_comes_to_be),
        cmocka_unit_test(an_outage_of_any_length_is_over_at_once),
        cmocka_unit_test(a_silent_outage_is_noticed),
        cmocka_unit_test(a_silent_outage_is_noticed_with_a_lease),
        cmocka_unit_test(lost_connections_do_not_cost_the_lease),
        cmocka_unit_test(a_deleted_object_is_let_go_once),
        cmocka_unit_test(objects_that_cannot_be_written_hold_up_no_others),
        cmocka_unit_test(an_api_server_that_starts_refuses_for_a_while),
        cmocka_unit_test(a_manager_that_ended_is_run_again),
        cmocka_unit_test(a_conflict_of_a_deletion_is_no_end),
        cmocka_unit_test(a_busy_api_server_sets_the_pace),
        cmocka_unit_test(a_lease_taken_unawares_is_released),
        cmocka_unit_test(kinds_without_namespaces_are_in_none),
        cmocka_unit_test(a_lease_outlasts_its_renewals),
        cmocka_unit_test(faults_do_not_keep_it_from_converging),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
