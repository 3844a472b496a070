/* Requests on the simulated API server: every verb, errors, repeats, bounds. */
#include "sim_kube_rig.h"

#include "kube/client_internal.h"

static void verbs_body(struct sim_kube_rig *rig, void *arg)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error err = {0};
    struct proa_kube_object object, again;
    const struct proa_kube_kind *kind = &proa_kube_config_maps;
    const proa_str ns = PROA_STR("default"), name = PROA_STR("a");
    struct proa_kube_patch_options apply = {.field_manager = "m"}, merge = {.kind = PROA_KUBE_MERGE};

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(proa_kube_get(rig->kube, &arena, kind, ns, name, &proa_kube_object_type, &object, &err),
                     PROA_ENOTFOUND);
    assert_string_equal(err.message, "get ConfigMap default/a: configmaps \"a\" not found");
    assert_string_equal(err.origin, "NotFound");
    assert_int_equal(proa_kube_create(rig->kube, &arena, kind, ns,
                                      PROA_STR("{\"metadata\":{\"name\":\"a\"},\"data\":{}}"),
                                      &proa_kube_object_type.type, &object, &err),
                     0);
    assert_true(object.metadata.uid.len > 0);
    assert_int_equal(
        proa_kube_create(rig->kube, &arena, kind, ns, PROA_STR("{\"metadata\":{\"name\":\"a\"}}"), NULL, NULL, NULL),
        PROA_EEXISTS);
    assert_int_equal(proa_kube_patch(rig->kube, &arena, kind, ns, name,
                                     PROA_STR("{\"metadata\":{\"labels\":{\"l\":\"1\"}}}"), &apply,
                                     &proa_kube_object_type.type, &object, &err),
                     0);
    assert_true(proa_str_eq_c(proa_kube_label(&object.metadata, "l"), "1"));
    assert_int_equal(proa_kube_patch(rig->kube, &arena, kind, ns, name,
                                     PROA_STR("{\"metadata\":{\"labels\":{\"l\":\"2\"}}}"), &merge, NULL, NULL, &err),
                     0);
    assert_int_equal(proa_kube_patch(rig->kube, &arena, kind, ns, name,
                                     PROA_STR("{\"metadata\":{\"labels\":{\"l\":\"1\"}}}"), &apply, NULL, NULL, &err),
                     PROA_ECONFLICT);
    err = (struct proa_error){.arena = &arena};
    assert_int_equal(proa_kube_replace(rig->kube, &arena, &proa_kube_leases, ns, name, NULL,
                                       PROA_STR("{\"metadata\":{\"resourceVersion\":\"\"},\"spec\":{}}"), NULL, NULL,
                                       &err),
                     0);
    assert_int_equal(proa_kube_replace(rig->kube, &arena, &proa_kube_leases, ns, name, NULL,
                                       PROA_STR("{\"spec\":{\"x\":1}}"), NULL, NULL, &err),
                     PROA_EVALIDATION);
    assert_int_equal(err.fields_count, 1);
    assert_true(proa_str_eq_c(err.fields->pointer, "metadata.resourceVersion"));
    /* Finalizers hold it, each by a manager of its own. */
    assert_int_equal(proa_kube_add_finalizer(rig->kube, kind, &object.metadata, "x.dev/f", &err), 0);
    assert_int_equal(proa_kube_delete(rig->kube, &arena, kind, ns, name, NULL, &err), 0);
    assert_int_equal(proa_kube_get(rig->kube, &arena, kind, ns, name, &proa_kube_object_type, &again, &err), 0);
    assert_true(proa_kube_has_finalizer(&again.metadata, "x.dev/f"));
    assert_int_equal(again.metadata.deletion_timestamp.presence, PROA_SET);
    assert_int_equal(proa_kube_remove_finalizer(rig->kube, kind, &object.metadata, "x.dev/f", &err), 0);
    assert_int_equal(proa_sim_kube_count(rig->server, kind), 0);
    /* Gone, or another of that name: nothing to remove. */
    assert_int_equal(proa_kube_remove_finalizer(rig->kube, kind, &object.metadata, "x.dev/f", &err), 0);
    sim_kube_put(rig, "a", 1);
    assert_int_equal(proa_kube_remove_finalizer(rig->kube, kind, &object.metadata, "x.dev/f", &err), 0);
    assert_true(proa_kube_add_finalizer(rig->kube, kind, &object.metadata, "x.dev/f", &err) < 0);
    assert_int_equal(proa_kube_delete(rig->kube, &arena, kind, ns, name,
                                      &(struct proa_kube_delete_options){.uid = object.metadata.uid}, &err),
                     PROA_ECONFLICT);
}

static void test_verbs(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = verbs_body});
}

static void put_finalized(struct sim_kube_rig *rig, const char *more, struct proa_arena *arena,
                          struct proa_kube_object *ret_object)
{
    char json[200];

    snprintf(json, sizeof json, "{\"metadata\":{\"name\":\"f\",\"finalizers\":[\"x.dev/f\"%s]},\"data\":{}}", more);
    assert_int_equal(proa_sim_kube_put(rig->server, &proa_kube_config_maps, proa_str_c(json), "kubectl", NULL), 0);
    assert_int_equal(proa_sim_kube_delete(rig->server, &proa_kube_config_maps, PROA_STR("default"), PROA_STR("f")), 0);
    assert_int_equal(proa_kube_get(rig->kube, arena, &proa_kube_config_maps, PROA_STR("default"), PROA_STR("f"),
                                   &proa_kube_object_type, ret_object, NULL),
                     0);
    assert_int_equal(ret_object->metadata.deletion_timestamp.presence, PROA_SET);
}

/* What another manager owns, too: an object that came from a backup, finalizers and all. */
static void foreign_finalizer_body(struct sim_kube_rig *rig, void *arg)
{
    static const struct proa_sim_kube_faults conflict = {.conflict = 1}, none = {0};
    const struct proa_kube_kind *kind = &proa_kube_config_maps;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error err = {0};
    struct proa_kube_object object, again;

    proa_arena_init(&arena, NULL, 0);
    put_finalized(rig, "", &arena, &object);
    assert_int_equal(proa_kube_remove_finalizer(rig->kube, kind, &object.metadata, "x.dev/f", &err), 0);
    assert_int_equal(proa_sim_kube_count(rig->server, kind), 0);
    put_finalized(rig, ",\"theirs.dev/f\"", &arena, &object);
    assert_int_equal(proa_kube_remove_finalizer(rig->kube, kind, &object.metadata, "x.dev/f", &err), 0);
    assert_int_equal(proa_kube_get(rig->kube, &arena, kind, PROA_STR("default"), PROA_STR("f"), &proa_kube_object_type,
                                   &again, NULL),
                     0);
    assert_false(proa_kube_has_finalizer(&again.metadata, "x.dev/f"));
    assert_true(proa_kube_has_finalizer(&again.metadata, "theirs.dev/f"));
    assert_int_equal(proa_kube_remove_finalizer(rig->kube, kind, &again.metadata, "theirs.dev/f", &err), 0);
    assert_int_equal(proa_sim_kube_count(rig->server, kind), 0);
    /* 409 says more than that it is gone. */
    put_finalized(rig, "", &arena, &object);
    proa_sim_kube_set_faults(rig->server, &conflict);
    assert_int_equal(proa_kube_remove_finalizer(rig->kube, kind, &object.metadata, "x.dev/f", &err), PROA_ECONFLICT);
    assert_int_equal(proa_sim_kube_count(rig->server, kind), 1);
    proa_sim_kube_set_faults(rig->server, &none);
    proa_error_clear(&err);
    assert_int_equal(proa_kube_remove_finalizer(rig->kube, kind, &object.metadata, "x.dev/f", &err), 0);
    assert_int_equal(proa_sim_kube_count(rig->server, kind), 0);
}

static void test_foreign_finalizer(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = foreign_finalizer_body});
}

static void subresources_body(struct sim_kube_rig *rig, void *arg)
{
    const struct proa_kube_patch_options scale = {.kind = PROA_KUBE_MERGE, .subresource = "scale"};
    const struct proa_kube_kind *kind = &proa_kube_stateful_sets;
    const proa_str ns = PROA_STR("default"), name = PROA_STR("s");
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error err = {0};
    struct proa_kube_object object;
    struct proa_kube_scale got;

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(
        proa_sim_kube_put(rig->server, kind,
                          PROA_STR("{\"metadata\":{\"name\":\"s\",\"namespace\":\"default\"},\"spec\":{\"replicas\":3,"
                                   "\"selector\":{\"matchLabels\":{\"a\":\"b\"}}},\"status\":{\"replicas\":2}}"),
                          "test", NULL),
        0);
    assert_int_equal(
        proa_kube_get_subresource(rig->kube, &arena, kind, ns, name, "scale", &proa_kube_scale_type, &got, &err), 0);
    assert_int_equal(got.spec.replicas, 3);
    assert_int_equal(got.status.replicas, 2);
    assert_true(proa_str_eq_c(got.metadata.name, "s"));
    assert_int_equal(proa_kube_patch(rig->kube, &arena, kind, ns, name, PROA_STR("{\"spec\":{\"replicas\":5}}"), &scale,
                                     &proa_kube_scale_type.type, &got, &err),
                     0);
    assert_int_equal(got.spec.replicas, 5);
    assert_int_equal(
        proa_kube_get_subresource(rig->kube, &arena, kind, ns, name, "status", &proa_kube_object_type, &object, &err),
        0);
    assert_true(proa_str_eq_c(object.metadata.name, "s"));
    assert_int_equal(proa_kube_get_subresource(rig->kube, &arena, &proa_kube_config_maps, ns, name, "scale",
                                               &proa_kube_scale_type, &got, &err),
                     PROA_ENOTFOUND);
}

static void test_subresources(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = subresources_body});
}

static int count_object(void *arg, const void *object)
{
    uint32_t *count = arg;

    assert_true(((const struct proa_kube_object *)object)->metadata.name.len > 0);
    return ++*count == 7777 ? PROA_EFORBIDDEN : 0;
}

/* As a caller says who has a precondition of his own, on the second page. */
static int stop_at_fifth(void *arg, const void *object)
{
    uint32_t *count = arg;

    (void)object;
    return ++*count == 5 ? PROA_EPRECONDITION : 0;
}

static void list_body(struct sim_kube_rig *rig, void *arg)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_kube_list_options options = {.page = 4};
    struct proa_error err = {0};
    uint32_t count = 0;
    proa_str version;
    char name[16];

    proa_arena_init(&arena, NULL, 0);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "n%u", i);
        sim_kube_put(rig, name, i);
    }
    assert_int_equal(proa_kube_list(rig->kube, &arena, &proa_kube_config_maps, PROA_STR("default"), &options,
                                    &proa_kube_object_type.type, count_object, &count, &version, &err),
                     0);
    assert_int_equal(count, 10);
    assert_true(version.len > 0);
    assert_int_equal(proa_sim_kube_requests(rig->server), 3);
    /* The caller ends it. */
    count = 7775;
    assert_int_equal(proa_kube_list(rig->kube, &arena, &proa_kube_config_maps, PROA_STR("default"), &options,
                                    &proa_kube_object_type.type, count_object, &count, NULL, &err),
                     PROA_EFORBIDDEN);
    count = 0;
    assert_int_equal(proa_kube_list(rig->kube, &arena, &proa_kube_config_maps, PROA_STR("default"), &options,
                                    &proa_kube_object_type.type, stop_at_fifth, &count, NULL, &err),
                     PROA_EPRECONDITION);
    assert_int_equal(count, 5); /* it is no expired token */
    options.field_selector = PROA_STR("metadata.name=n3");
    count = 0;
    assert_int_equal(proa_kube_list(rig->kube, &arena, &proa_kube_config_maps, PROA_STR(""), &options,
                                    &proa_kube_object_type.type, count_object, &count, NULL, &err),
                     0);
    assert_int_equal(count, 1);
    options.field_selector = PROA_STR("data.k=1");
    assert_int_equal(proa_kube_list(rig->kube, &arena, &proa_kube_config_maps, PROA_STR(""), &options,
                                    &proa_kube_object_type.type, count_object, &count, NULL, &err),
                     PROA_EINVAL);
}

static void test_list(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = list_body});
}

/* 429 and 503 are waited for, within the request's time. */
static void busy_body(struct sim_kube_rig *rig, void *arg)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_kube_object object;
    struct proa_error err = {0};
    unsigned failed = 0;

    proa_arena_init(&arena, NULL, 0);
    sim_kube_put(rig, "a", 1);
    proa_sim_kube_set_faults(rig->server, &(struct proa_sim_kube_faults){.unavailable = 0.2});
    for (int i = 0; i < 50; i++)
        failed += proa_kube_get(rig->kube, &arena, &proa_kube_config_maps, PROA_STR("default"), PROA_STR("a"),
                                &proa_kube_object_type, &object, &err) < 0;
    assert_true(failed <= 3);
    proa_sim_kube_set_faults(rig->server, &(struct proa_sim_kube_faults){.unavailable = 1});
    proa_error_clear(&err);
    assert_true(proa_kube_get(rig->kube, &arena, &proa_kube_config_maps, PROA_STR("default"), PROA_STR("a"),
                              &proa_kube_object_type, &object, &err) < 0);
    assert_true(err.code == PROA_EBUSY || err.code == PROA_EUNAVAILABLE);
}

static void test_busy(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = busy_body});
}

static void expect_status(const char *body, int http, int code, const char *message)
{
    struct proa_error err = {0};

    assert_int_equal(kube_status_error(proa_str_c(body), http, 0, &err), code);
    assert_non_null(strstr(err.message, message));
    assert_int_equal(kube_status_error(proa_str_c(body), http, 0, NULL), code);
}

static void test_status(void **state)
{
    expect_status("<html>", 502, PROA_EUNAVAILABLE, "the API server answered 502");
    expect_status("{\"kind\":\"Other\"}", 404, PROA_ENOTFOUND, "the API server answered 404");
    expect_status("{\"kind\":\"Status\",\"message\":\"m\",\"code\":410}", 200, PROA_EPRECONDITION, "m");
    expect_status("{\"kind\":\"Status\",\"message\":\"m\",\"reason\":\"Unauthorized\"}", 401, PROA_EUNAUTHORIZED, "m");
    expect_status("{\"kind\":\"Status\",\"message\":\"m\",\"reason\":\"NewOne\",\"code\":413}", 200, PROA_ETOOLARGE,
                  "m");
    expect_status("{\"kind\":\"Status\",\"reason\":\"TooManyRequests\",\"details\":{\"retryAfterSeconds\":3}}", 429,
                  PROA_EBUSY, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs), cmocka_unit_test(test_foreign_finalizer),
        cmocka_unit_test(test_list),  cmocka_unit_test(test_subresources),
        cmocka_unit_test(test_busy),  cmocka_unit_test(test_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
