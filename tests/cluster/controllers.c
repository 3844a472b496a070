/* Controllers against a real API server (KUBECONFIG): one TAP line a case, nothing run and said so when there is none. */
#include <inttypes.h>
#include <proa/controller.h>
#include <proa/crd.h>
#include <proa/fiber.h>
#include <proa/log.h>
#include <stdio.h>
#include <stdlib.h>

enum { APPS = 50, WAIT_MS = 20000, LEASE_MS = 3000 };

struct app_spec {
    proa_str text;
    int32_t replicas;
};
PROA_DESCRIBE(app_spec, (text, str, .min_len = 1, .max_len = 100),
              (replicas, i32, PROA_RANGE(0, 9), .default_json = "1"));
struct app_status {
    int64_t observed;
    proa_str phase;
};
PROA_DESCRIBE(app_status, (observed, i64, .default_json = "0"), (phase, str, .default_json = "\"\""));
struct app {
    struct proa_kube_meta metadata;
    struct app_spec spec;
    struct app_status status;
};
PROA_DESCRIBE_WITH(app, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(proa_kube_meta)), (spec, object(app_spec)),
                   (status, object(app_status), .default_json = "{}"));
struct owned_status {
    int32_t replicas;
};
PROA_DESCRIBE_WITH(owned_status, (.unknown = PROA_UNKNOWN_IGNORE), (replicas, i32, .default_json = "0"));
struct owned {
    struct owned_status status;
};
PROA_DESCRIBE_WITH(owned, (.unknown = PROA_UNKNOWN_IGNORE), (status, object(owned_status), .default_json = "{}"));

static const struct proa_kube_kind app_kind = {"test.proa.dev", "v1", "App", "apps", false};
static const struct proa_crd_options app_crd = {
    .kind = &app_kind,
    .singular = "app",
    .spec = &app_spec_type.type,
    .status = &app_status_type.type,
    .columns = (const struct proa_crd_column[]){{"Phase", "string", ".status.phase"}, {NULL}},
    .scale_spec_path = ".spec.replicas",
    .scale_status_path = ".status.observed",
    .selectable = (const char *const[]){".spec.text", NULL},
    .rules = (const struct proa_cel_rule[]){{"size(self.metadata.name) <= 20", "the name has more than 20 characters"},
                                            {NULL}},
};
static const char finalizer[] = "test.proa.dev/cleanup";
static const char managed_by[] = "app.kubernetes.io/managed-by=proa-test";

/* A program under test: a manager with one controller. */
struct side {
    struct test *test;
    struct proa_manager *manager;
    struct proa_controller *controller;
    struct proa_group group;
    uint32_t reconciles, writes, conflicts, running, overlapping;
    uint32_t wanted;          /* of what a case waits for */
    uint32_t idle_reconciles; /* before it led again */
};

struct test {
    struct proa_loop *loop;
    struct proa_log *log;
    struct proa_logger logger;
    struct proa_metrics *metrics;
    struct proa_kube_config *config;
    struct proa_kube *kube;
    proa_str namespace_;
    char namespace_text[40];
    uint32_t cases, failed;
};

/* -- The controller ------------------------------------------------------------------------------------------------ */

static int apply(struct proa_reconcile *ctx, struct side *side, const struct proa_kube_kind *kind,
                 const struct app *app, const char *body)
{
    bool changed = false;
    int rc = proa_reconcile_apply(ctx,
                                  &(struct proa_apply){.kind = kind,
                                                       .namespace_ = ctx->namespace_,
                                                       .name = ctx->name,
                                                       .body = proa_str_c(body),
                                                       .owner = &app->metadata,
                                                       .owner_kind = &app_kind},
                                  &changed);

    side->writes += changed;
    return rc;
}

static int apply_owned(struct proa_reconcile *ctx, struct side *side, const struct app *app)
{
    static const char labels[] = "{\"metadata\":{\"labels\":{\"app.kubernetes.io/managed-by\":\"proa-test\"}},";
    proa_str name = ctx->name;
    proa_str map =
        proa_arena_printf(ctx->arena, "%s\"data\":{\"text\":\"" PROA_FMT "\"}}", labels, PROA_ARG(app->spec.text));
    /* 1000m is kept as 1: what the API server writes in another way must not be applied for ever. */
    proa_str set = proa_arena_printf(
        ctx->arena,
        "%s\"spec\":{\"replicas\":%" PRId32 ",\"serviceName\":\"x\",\"selector\":{\"matchLabels\":{\"app\":\"" PROA_FMT
        "\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"" PROA_FMT
        "\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"localhost/none:1\",\"args\":[\"a\",\"b\"],"
        "\"ports\":[{\"containerPort\":80}],\"env\":[{\"name\":\"A\",\"value\":\"\"},{\"name\":\"N\",\"valueFrom\":{"
        "\"fieldRef\":"
        "{\"apiVersion\":\"v1\",\"fieldPath\":\"metadata.name\"}}}],\"resources\":{\"limits\":{\"cpu\":\"1000m\"}}}]}}}"
        "}",
        labels, app->spec.replicas, PROA_ARG(name), PROA_ARG(name));

    if (!map.ptr || !set.ptr)
        return PROA_ENOMEM;
    PROA_TRY(apply(ctx, side, &proa_kube_config_maps, app, map.ptr));
    return apply(ctx, side, &proa_kube_stateful_sets, app, set.ptr);
}

/* There is no garbage collector beside a lone API server. */
static int delete_owned(struct proa_reconcile *ctx, const struct proa_kube_kind *kind, const struct app *app)
{
    struct proa_cache *cache = proa_controller_cache(ctx->controller, kind);
    struct proa_cached cached;
    void *it = NULL;

    struct proa_kube_meta meta = {.namespace_ = ctx->namespace_, .name = ctx->name};

    if (!proa_cache_next_owned(cache, app->metadata.uid, &it, &cached)) /* there is one of each kind */
        return 0;
    meta.uid = proa_arena_str(ctx->arena, cached.uid);
    return proa_reconcile_delete(ctx, kind, &meta, NULL);
}

static int reconcile_app(struct proa_reconcile *ctx, struct side *side)
{
    struct proa_cache *apps = proa_controller_cache(ctx->controller, &app_kind);
    struct proa_cached cached;
    struct app app;
    proa_str status;
    bool changed;

    if (!proa_cache_get(apps, ctx->namespace_, ctx->name, &cached))
        return 0;
    PROA_TRY(proa_copy(ctx->arena, &app_type, (const struct app *)cached.object, &app));
    if (app.metadata.deletion_timestamp.presence == PROA_SET) {
        PROA_TRY(delete_owned(ctx, &proa_kube_config_maps, &app));
        PROA_TRY(delete_owned(ctx, &proa_kube_stateful_sets, &app));
        return proa_reconcile_finalizer(ctx, &app_kind, &app.metadata, finalizer, false);
    }
    PROA_TRY(proa_reconcile_finalizer(ctx, &app_kind, &app.metadata, finalizer, true));
    PROA_TRY(apply_owned(ctx, side, &app));
    status = proa_arena_printf(ctx->arena, "{\"status\":{\"observed\":%" PRId64 ",\"phase\":\"Ready\"}}",
                               app.metadata.generation);
    PROA_TRY(proa_reconcile_apply(ctx,
                                  &(struct proa_apply){.kind = &app_kind,
                                                       .namespace_ = ctx->namespace_,
                                                       .name = ctx->name,
                                                       .body = status,
                                                       .subresource = "status"},
                                  &changed));
    side->writes += changed;
    if (changed)
        proa_reconcile_event(ctx, &app_kind, &app.metadata, PROA_EVENT_NORMAL, "Reconciled", "Apply",
                             "generation %" PRId64, app.metadata.generation);
    return 0;
}

static int reconcile(struct proa_reconcile *ctx, void *arg)
{
    struct side *side = arg;
    int rc;

    side->reconciles++;
    side->overlapping += ++side->running > 4;
    rc = reconcile_app(ctx, side);
    side->running--;
    side->conflicts += rc == PROA_ECONFLICT;
    return rc;
}

static int run_manager(void *arg)
{
    struct side *side = arg;
    struct proa_error err = {0};
    int rc = proa_manager_run(side->manager, &err);

    if (rc < 0)
        printf("# manager: %s\n", err.message);
    return rc;
}

static int side_start(struct test *test, struct side *side, const char *identity)
{
    const struct proa_source owns[] = {
        {.kind = &proa_kube_config_maps, .namespace_ = test->namespace_text, .label_selector = managed_by},
        {.kind = &proa_kube_stateful_sets,
         .type = &owned_type.type,
         .namespace_ = test->namespace_text,
         .label_selector = managed_by},
        {NULL}};
    const struct proa_manager_options options = {.kube = test->kube,
                                                 .metrics = test->metrics,
                                                 .logger = &test->logger,
                                                 .lease_name = "proa-test",
                                                 .lease_namespace = test->namespace_text,
                                                 .identity = identity,
                                                 .lease_ms = LEASE_MS,
                                                 .renew_ms = LEASE_MS * 2 / 3,
                                                 .retry_ms = LEASE_MS / 8};
    const struct proa_controller_options controller = {
        .name = "app",
        .reconcile = reconcile,
        .arg = side,
        .for_ = {.kind = &app_kind, .type = &app_type.type, .namespace_ = test->namespace_text},
        .owns = owns,
        .concurrency = 4};
    struct proa_error err = {0};
    int rc;

    *side = (struct side){.test = test};
    rc = proa_manager_new(&options, &side->manager, &err);
    if (rc == 0)
        rc = proa_controller_add(side->manager, &controller, &side->controller, &err);
    if (rc < 0) {
        printf("# %s\n", err.message);
        return rc;
    }
    proa_group_init(&side->group, test->loop);
    return proa_group_start(&side->group, NULL, run_manager, side);
}

static int side_stop(struct side *side)
{
    int rc;

    proa_group_cancel(&side->group, 0);
    rc = proa_group_wait(&side->group);
    proa_manager_free(side->manager);
    return rc;
}

/* -- The cases ----------------------------------------------------------------------------------------------------- */

static void tell(struct test *test, bool ok, const char *what)
{
    test->cases++;
    test->failed += !ok;
    printf("%s %" PRIu32 " - %s\n", ok ? "ok" : "not ok", test->cases, what);
}

/* Waits until the condition holds. @returns ms it took, or -1. */
static int64_t wait_until(struct test *test, bool (*holds)(struct test *test, void *arg), void *arg)
{
    proa_mono_ns began = proa_loop_now_exact(test->loop);

    while (!holds(test, arg)) {
        if (proa_loop_now_exact(test->loop) - began > PROA_MS(WAIT_MS) || proa_sleep(test->loop, PROA_MS(2)) < 0)
            return -1;
    }
    return (int64_t)((proa_loop_now_exact(test->loop) - began) / 1000000);
}

static proa_str app_name(struct proa_arena *arena, int i)
{
    return proa_arena_printf(arena, "app-%d", i);
}

static bool all_ready(struct test *test, void *arg)
{
    struct side *side = arg;
    struct proa_cache *apps = proa_controller_cache(side->controller, &app_kind);
    struct proa_cached cached;
    size_t ready = 0;
    void *it = NULL;

    (void)test;
    while (proa_cache_next(apps, &it, &cached)) {
        const struct app *app = cached.object;

        ready += proa_str_eq_c(app->status.phase, "Ready") && app->status.observed == app->metadata.generation;
    }
    return ready >= APPS;
}

static bool is_leader(struct test *test, void *arg)
{
    (void)test;
    return proa_manager_is_leader(((struct side *)arg)->manager);
}

static bool has_written(struct test *test, void *arg)
{
    const struct side *side = arg;

    (void)test;
    return side->writes >= side->wanted;
}

static bool has_reconciled(struct test *test, void *arg)
{
    const struct side *side = arg;

    (void)test;
    return side->reconciles >= side->wanted;
}

static bool has_conflict(struct test *test, void *arg)
{
    (void)test;
    return ((struct side *)arg)->conflicts > 0;
}

static int create_app(struct test *test, struct proa_arena *arena, proa_str name, struct proa_error *err)
{
    proa_str body =
        proa_arena_printf(arena,
                          "{\"apiVersion\":\"test.proa.dev/v1\",\"kind\":\"App\",\"metadata\":{\"name\":\"" PROA_FMT
                          "\"},\"spec\":{\"text\":\"one\"}}",
                          PROA_ARG(name));

    return proa_kube_create(test->kube, arena, &app_kind, test->namespace_, body, NULL, NULL, err);
}

static void a_definition_is_installed(struct test *test, struct proa_arena *arena)
{
    struct proa_error err = {0};
    int rc = proa_crd_install(test->kube, &app_crd, &err);

    if (rc < 0)
        printf("# %s\n", err.message);
    tell(test, rc == 0, "a definition is installed and served");
    rc = create_app(test, arena, PROA_STR("a-name-that-is-too-long"), &err);
    tell(test, rc == PROA_EVALIDATION && strstr(err.message, "more than 20"), "its rule refuses a name");
}

static void apps_become_ready(struct test *test, struct proa_arena *arena, struct side *side)
{
    struct proa_error err = {0};
    uint32_t writes;
    int64_t ms;

    for (int i = 0; i < APPS; i++)
        if (create_app(test, arena, app_name(arena, i), &err) < 0)
            printf("# %s\n", err.message);
    ms = wait_until(test, all_ready, side);
    side->wanted = 3 * APPS;
    proa_ignore(wait_until(test, has_written, side)); /* the cache may have seen an answer before the writer */
    proa_ignore(proa_sleep(test->loop, PROA_MS(200)));
    printf("# %d ready after %" PRId64 " ms, %" PRIu32 " reconciles, %" PRIu32 " writes\n", APPS, ms, side->reconciles,
           side->writes);
    tell(test, ms >= 0, "all become ready");
    tell(test, side->writes == 3 * APPS, "with one request an object");
    tell(test, side->overlapping == 0, "and no more reconciles at once than asked for");
    writes = side->writes;
    for (int i = 0; i < APPS; i++)
        proa_controller_enqueue(side->controller, test->namespace_, app_name(arena, i), 0);
    proa_ignore(proa_sleep(test->loop, PROA_MS(500)));
    tell(test, side->writes == writes, "and reconciled again cost none");
    printf("# caches: %zu bytes an app, %zu a map, %zu a set\n",
           proa_cache_bytes(proa_controller_cache(side->controller, &app_kind)) / APPS,
           proa_cache_bytes(proa_controller_cache(side->controller, &proa_kube_config_maps)) / APPS,
           proa_cache_bytes(proa_controller_cache(side->controller, &proa_kube_stateful_sets)) / APPS);
}

struct map {
    struct proa_kube_meta metadata;
    PROA_MAP_OF(proa_str) data;
};
PROA_DESCRIBE_WITH(map, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(proa_kube_meta)),
                   (data, map(str), .default_json = "{}"));

static bool map_is_one(struct test *test, void *arg)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct map map;

    proa_arena_init(&arena, NULL, 0);
    return proa_kube_get(test->kube, &arena, &proa_kube_config_maps, test->namespace_, PROA_STR("app-7"), &map_type,
                         &map, NULL) == 0 &&
           map.data.len == 1 && proa_str_eq_c(map.data.ptr[0].value, arg);
}

static void drift_is_repaired(struct test *test, struct proa_arena *arena, struct side *side)
{
    const struct proa_kube_patch_options merge = {.kind = PROA_KUBE_MERGE, .field_manager = "somebody"};
    uint32_t writes = side->writes;
    struct proa_error err = {0};

    proa_ignore(proa_kube_patch(test->kube, arena, &proa_kube_config_maps, test->namespace_, PROA_STR("app-7"),
                                PROA_STR("{\"data\":{\"text\":\"two\"}}"), &merge, NULL, NULL, &err));
    tell(test, wait_until(test, map_is_one, "one") >= 0, "a changed field is put right");
    proa_ignore(
        proa_kube_delete(test->kube, arena, &proa_kube_config_maps, test->namespace_, PROA_STR("app-7"), NULL, &err));
    tell(test, wait_until(test, map_is_one, "one") >= 0, "a deleted object is made again");
    proa_ignore(proa_kube_patch(test->kube, arena, &app_kind, test->namespace_, PROA_STR("app-7"),
                                PROA_STR("{\"spec\":{\"text\":\"three\"}}"), &merge, NULL, NULL, &err));
    tell(test, wait_until(test, map_is_one, "three") >= 0, "a changed wish is carried out");
    side->wanted = writes + 4;
    proa_ignore(wait_until(test, has_written, side));
    proa_ignore(proa_sleep(test->loop, PROA_MS(200)));
    printf("# %" PRIu32 " writes\n", side->writes - writes);
    tell(test, side->writes - writes == 4, "with a request each");
}

static void foreign_objects_stay(struct test *test, struct proa_arena *arena, struct side *side)
{
    struct proa_error err = {0};
    struct map before, after;

    proa_ignore(proa_kube_create(test->kube, arena, &proa_kube_config_maps, test->namespace_,
                                 PROA_STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                                          "\"foreign\"},\"data\":{\"other\":\"x\"}}"),
                                 &map_type.type, &before, &err));
    proa_ignore(create_app(test, arena, PROA_STR("foreign"), &err));
    tell(test, wait_until(test, has_conflict, side) >= 0, "an object that is not ours is a conflict");
    proa_ignore(proa_kube_get(test->kube, arena, &proa_kube_config_maps, test->namespace_, PROA_STR("foreign"),
                              &map_type, &after, &err));
    tell(test, proa_str_eq(before.metadata.resource_version, after.metadata.resource_version), "and not touched");
}

static bool app_is_gone(struct test *test, void *arg)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct app app;

    proa_arena_init(&arena, NULL, 0);
    return proa_kube_get(test->kube, &arena, &app_kind, test->namespace_, proa_str_c(arg), &app_type, &app, NULL) ==
           PROA_ENOTFOUND;
}

static bool event_is_there(struct test *test, void *arg)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    proa_str events;

    proa_arena_init(&arena, NULL, 0);
    return proa_kube_send(test->kube, &arena,
                          &(struct proa_kube_request){.kind = &proa_kube_events, .namespace_ = test->namespace_},
                          &events, NULL) == 0 &&
           proa_str_find(events, proa_str_c(arg)) >= 0;
}

static void deletion_runs_through_the_finalizer(struct test *test, struct proa_arena *arena)
{
    struct proa_error err = {0};

    tell(test, wait_until(test, event_is_there, "\"count\":2") >= 0, "events are written, repeated ones as a series");
    proa_ignore(proa_kube_delete(test->kube, arena, &app_kind, test->namespace_, PROA_STR("app-7"), NULL, &err));
    proa_ignore(proa_kube_delete(test->kube, arena, &app_kind, test->namespace_, PROA_STR("foreign"), NULL, &err));
    tell(test, wait_until(test, app_is_gone, "app-7") >= 0, "deletion runs through the finalizer");
    proa_ignore(create_app(test, arena, PROA_STR("app-7"), &err));
}

static bool is_no_leader(struct test *test, void *arg)
{
    return !is_leader(test, arg);
}

static bool leads_again(struct test *test, void *arg)
{
    struct side *side = arg;

    if (is_leader(test, side))
        return true;
    side->idle_reconciles = side->reconciles;
    return false;
}

static void a_lost_lease_is_won_again(struct test *test, struct proa_arena *arena, struct side *side)
{
    const struct proa_kube_patch_options merge = {.kind = PROA_KUBE_MERGE};
    struct proa_error err = {0};
    uint32_t reconciles;
    int64_t ms;

    proa_ignore(proa_kube_patch(test->kube, arena, &proa_kube_leases, test->namespace_, PROA_STR("proa-test"),
                                PROA_STR("{\"spec\":{\"holderIdentity\":\"thief\"}}"), &merge, NULL, NULL, &err));
    tell(test, wait_until(test, is_no_leader, side) >= 0, "a stolen lease is noticed");
    reconciles = side->idle_reconciles = side->reconciles;
    proa_controller_enqueue(side->controller, test->namespace_, PROA_STR("app-1"), 0);
    ms = wait_until(test, leads_again, side);
    printf("# leads again after %" PRId64 " ms\n", ms);
    tell(test, reconciles == side->idle_reconciles, "nothing is done meanwhile");
    side->wanted = reconciles + 1;
    tell(test, ms > 0 && wait_until(test, has_reconciled, side) >= 0, "it is won again, and work goes on");
}

static void another_takes_over(struct test *test, struct side *first, struct side *second)
{
    int64_t ms;

    tell(test, side_start(test, second, "second") == 0, "a second one starts");
    proa_ignore(proa_sleep(test->loop, PROA_MS(LEASE_MS + 1000)));
    tell(test, !proa_manager_is_leader(second->manager) && second->reconciles == 0, "and waits");
    tell(test, side_stop(first) == 0, "the first stops");
    ms = wait_until(test, is_leader, second);
    printf("# took over after %" PRId64 " ms\n", ms);
    tell(test, ms >= 0 && ms < LEASE_MS, "and the second takes over");
    tell(test, wait_until(test, all_ready, second) >= 0, "with all ready");
    second->wanted = APPS;
    proa_ignore(wait_until(test, has_reconciled, second));
    proa_ignore(proa_sleep(test->loop, PROA_MS(1000)));
    printf("# %" PRIu32 " reconciles, %" PRIu32 " writes\n", second->reconciles, second->writes);
    /* What the API server wrote in another way (1000m) is applied once more, and nothing else but the app made anew. */
    tell(test, second->reconciles >= APPS && second->writes <= APPS + 3, "which it finds done");
}

static bool is_empty(struct test *test, void *arg)
{
    struct side *side = arg;

    (void)test;
    return proa_cache_count(proa_controller_cache(side->controller, &app_kind)) +
               proa_cache_count(proa_controller_cache(side->controller, &proa_kube_config_maps)) +
               proa_cache_count(proa_controller_cache(side->controller, &proa_kube_stateful_sets)) ==
           0;
}

static void all_are_deleted(struct test *test, struct proa_arena *arena, struct side *side)
{
    struct proa_error err = {0};
    proa_str ignored;
    int rc = proa_kube_send(
        test->kube, arena,
        &(struct proa_kube_request){.method = "DELETE", .kind = &app_kind, .namespace_ = test->namespace_}, &ignored,
        &err);

    tell(test, rc == 0 && wait_until(test, is_empty, side) >= 0, "all are deleted");
}

static void run_cases(struct test *test)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error err = {0};
    struct side first, second;

    proa_arena_init(&arena, NULL, 0);
    snprintf(test->namespace_text, sizeof test->namespace_text, "proa-%08" PRIx32,
             (uint32_t)proa_loop_random_u64(test->loop));
    test->namespace_ = proa_str_c(test->namespace_text);
    if (proa_kube_create(
            test->kube, &arena, &proa_kube_namespaces, PROA_STR(""),
            proa_arena_printf(&arena, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}",
                              test->namespace_text),
            NULL, NULL, &err) < 0)
        printf("# %s\n", err.message);
    a_definition_is_installed(test, &arena);
    tell(test, side_start(test, &first, "first") == 0, "a manager starts");
    tell(test, wait_until(test, is_leader, &first) >= 0, "and leads");
    apps_become_ready(test, &arena, &first);
    drift_is_repaired(test, &arena, &first);
    foreign_objects_stay(test, &arena, &first);
    deletion_runs_through_the_finalizer(test, &arena);
    a_lost_lease_is_won_again(test, &arena, &first);
    another_takes_over(test, &first, &second);
    all_are_deleted(test, &arena, &second);
    tell(test, side_stop(&second) == 0, "the second stops");
    proa_ignore(proa_kube_delete(test->kube, &arena, &proa_kube_crds, PROA_STR(""), PROA_STR("apps.test.proa.dev"),
                                 NULL, &err));
    proa_ignore(
        proa_kube_delete(test->kube, &arena, &proa_kube_namespaces, PROA_STR(""), test->namespace_, NULL, &err));
}

static int body(void *arg)
{
    struct test *test = arg;
    struct proa_error err = {0};
    int rc = proa_kube_config_load(test->loop, &(struct proa_kube_config_options){.kubeconfig = getenv("KUBECONFIG")},
                                   &test->config, &err);

    if (rc == 0)
        rc = proa_kube_new(&(struct proa_kube_options){.loop = test->loop,
                                                       .config = test->config,
                                                       .metrics = test->metrics,
                                                       .logger = &test->logger,
                                                       .field_manager = "proa-test"},
                           &test->kube, &err);
    if (rc < 0) {
        printf("Bail out! %s\n", err.message);
        test->failed++;
        return rc;
    }
    run_cases(test);
    proa_kube_free(test->kube);
    proa_kube_config_free(test->config);
    return 0;
}

int main(void)
{
    struct test test = {0};
    struct proa_buf metrics = {0};
    struct proa_error err = {0};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!getenv("KUBECONFIG")) {
        puts("1..0 # SKIP no API server: KUBECONFIG is not set");
        return 0;
    }
    if (proa_loop_new(NULL, &test.loop) < 0 || proa_metrics_new(1, &test.metrics) < 0 ||
        proa_log_new(&(struct proa_log_options){.fd = 2,
                                                .filter = getenv("PROA_LOG") ? getenv("PROA_LOG") : "off",
                                                .synchronous = true},
                     &test.log, &err) < 0)
        return 1;
    test.logger = (struct proa_logger){.log = test.log, .target = "kube"};
    if (proa_loop_start_fiber(test.loop, NULL, body, &test) < 0 || proa_loop_run(test.loop) < 0)
        return 1;
    if (getenv("PROA_SHOW_METRICS") && proa_metrics_write(test.metrics, PROA_METRICS_TEXT, &metrics) == 0)
        printf("%.*s", (int)metrics.len, metrics.ptr);
    proa_buf_done(&metrics);
    printf("1..%" PRIu32 "\n", test.cases);
    proa_log_free(test.log);
    proa_metrics_free(test.metrics);
    proa_loop_free(test.loop);
    return test.failed > 0;
}
