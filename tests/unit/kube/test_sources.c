/* What concerns whom: changes of objects that are mapped to keys by what the controller's caches hold. */
#include "sim_kube_rig.h"

#include <proa/controller.h>

struct site_spec {
    proa_str secret;
};
PROA_DESCRIBE(site_spec, (secret, str));
struct site {
    struct proa_kube_meta metadata;
    struct site_spec spec;
};
PROA_DESCRIBE(site, (metadata, object(proa_kube_meta)), (spec, object(site_spec)));

static const struct proa_kube_kind site_kind = {"example.com", "v1", "Site", "sites", false};

struct seen {
    uint32_t of_a, of_b, of_c;
    struct proa_manager *manager;
    struct proa_group group;
};

static int reconcile(struct proa_reconcile *ctx, void *arg)
{
    struct seen *seen = arg;

    seen->of_a += proa_str_eq_c(ctx->name, "a");
    seen->of_b += proa_str_eq_c(ctx->name, "b");
    seen->of_c += proa_str_eq_c(ctx->name, "c");
    return 0;
}

static void by_secret(const void *object, void (*add)(void *ctx, proa_str key), void *ctx)
{
    add(ctx, ((const struct site *)object)->spec.secret);
}

static void sites_of(struct proa_controller *controller, const struct proa_cached *secret,
                     void (*add)(void *ctx, proa_str namespace_, proa_str name), void *ctx)
{
    struct proa_cached site;
    void *it = NULL;

    while (proa_cache_next_indexed(proa_controller_cache(controller, &site_kind), 0, secret->name, &it, &site))
        if (proa_str_eq(site.namespace_, secret->namespace_))
            add(ctx, site.namespace_, site.name);
}

static void nobody(const void *object, void (*add)(void *ctx, proa_str namespace_, proa_str name), void *ctx)
{
    (void)object;
    (void)add;
    (void)ctx;
}

static int run(void *arg)
{
    return proa_manager_run(((struct seen *)arg)->manager, NULL);
}

static void put(struct sim_kube_rig *rig, const struct proa_kube_kind *kind, const char *name, const char *rest)
{
    char json[200];

    snprintf(json, sizeof json, "{\"metadata\":{\"name\":\"%s\"},%s}", name, rest);
    assert_int_equal(proa_sim_kube_put(rig->server, kind, proa_str_c(json), "user", NULL), 0);
}

static void expect(struct sim_kube_rig *rig, struct seen *seen, uint32_t of_a, uint32_t of_b, uint32_t of_c)
{
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(1)), 0);
    assert_int_equal(seen->of_a, of_a);
    assert_int_equal(seen->of_b, of_b);
    assert_int_equal(seen->of_c, of_c);
    seen->of_a = seen->of_b = seen->of_c = 0;
}

static void mapped_body(struct sim_kube_rig *rig, void *arg)
{
    const struct proa_source watches[] = {{.kind = &proa_kube_secrets, .map_with = sites_of}, {NULL}};
    const struct proa_source both[] = {
        {.kind = &proa_kube_secrets, .type = &proa_kube_object_type.type, .map_with = sites_of, .map = nobody}, {NULL}};
    struct proa_controller_options options = {
        .name = "site",
        .reconcile = reconcile,
        .arg = arg,
        .for_ = {.kind = &site_kind, .type = &site_type.type, .indexes = {by_secret}},
        .watches = both};
    struct seen *seen = arg;

    assert_int_equal(proa_sim_kube_serve(rig->server, &site_kind, false, false), 0);
    put(rig, &site_kind, "a", "\"spec\":{\"secret\":\"s\"}");
    put(rig, &site_kind, "b", "\"spec\":{\"secret\":\"s\"}");
    put(rig, &site_kind, "c", "\"spec\":{\"secret\":\"t\"}");
    put(rig, &proa_kube_secrets, "s", "\"data\":{}");
    assert_int_equal(proa_manager_new(&(struct proa_manager_options){.kube = rig->kube}, &seen->manager, NULL), 0);
    assert_int_equal(proa_controller_add(seen->manager, &options, NULL, NULL), PROA_EINVAL);
    options.watches = watches;
    assert_int_equal(proa_controller_add(seen->manager, &options, NULL, NULL), 0);
    proa_group_init(&seen->group, rig->loop);
    assert_int_equal(proa_group_start(&seen->group, NULL, run, seen), 0);
    expect(rig, seen, 1, 1, 1);
    put(rig, &proa_kube_secrets, "s", "\"data\":{\"k\":\"dg==\"}");
    expect(rig, seen, 1, 1, 0);
    put(rig, &proa_kube_secrets, "t", "\"data\":{}");
    expect(rig, seen, 0, 0, 1);
    put(rig, &proa_kube_secrets, "nobodys", "\"data\":{}");
    expect(rig, seen, 0, 0, 0);
    /* Who names another one is told of that alone, and of its end. */
    put(rig, &site_kind, "b", "\"spec\":{\"secret\":\"t\"}");
    expect(rig, seen, 0, 1, 0);
    assert_int_equal(proa_sim_kube_delete(rig->server, &proa_kube_secrets, PROA_STR("default"), PROA_STR("s")), 0);
    expect(rig, seen, 1, 0, 0);
    assert_int_equal(proa_sim_kube_delete(rig->server, &proa_kube_secrets, PROA_STR("default"), PROA_STR("t")), 0);
    expect(rig, seen, 0, 1, 1);
    proa_group_cancel(&seen->group, 0);
    assert_int_equal(proa_group_wait(&seen->group), 0);
    proa_manager_free(seen->manager);
}

static void changes_are_mapped_by_the_caches(void **state)
{
    struct seen seen = {0};

    (void)state;
    sim_kube_rig_run(&(struct sim_kube_rig){.body = mapped_body, .arg = &seen});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(changes_are_mapped_by_the_caches)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
