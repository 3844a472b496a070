/* The simulated API server past what it shares with a real one (tests/contract): faults, states, direct access, the dump. */
#include "sim_kube_rig.h"

#include <proa/stream.h>

static const struct proa_kube_kind things = {"sim.dev", "v1", "Thing", "things", false};

static int get(struct sim_kube_rig *rig, const char *name)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_kube_object object;

    proa_arena_init(&arena, NULL, 0);
    return proa_kube_get(rig->kube, &arena, &proa_kube_config_maps, PROA_STR("default"), proa_str_c(name),
                         &proa_kube_object_type, &object, NULL);
}

static void direct_body(struct sim_kube_rig *rig, void *arg)
{
    struct proa_error err = {0};
    struct proa_buf before = {0}, after = {0};

    assert_int_equal(proa_sim_kube_put(rig->server, &things, PROA_STR("{}"), NULL, &err), PROA_ENOTFOUND);
    assert_int_equal(proa_sim_kube_serve(rig->server, &things, true, true), 0);
    assert_int_equal(proa_sim_kube_put(rig->server, &things, PROA_STR("{"), NULL, &err), PROA_EINVAL);
    assert_int_equal(proa_sim_kube_put(rig->server, &things, PROA_STR("{\"metadata\":{}}"), NULL, &err),
                     PROA_EVALIDATION);
    assert_int_equal(
        proa_sim_kube_put(
            rig->server, &things,
            PROA_STR("{\"metadata\":{\"name\":\"t\",\"namespace\":\"new\"},\"spec\":{},\"status\":{\"a\":1}}"), NULL,
            &err),
        0);
    assert_int_equal(proa_sim_kube_count(rig->server, &things), 1);
    assert_true(proa_str_find(proa_sim_kube_get(rig->server, &things, PROA_STR("new"), PROA_STR("t")),
                              PROA_STR("\"a\":1")) > 0);
    assert_non_null(proa_sim_kube_get(rig->server, &proa_kube_namespaces, PROA_STR(""), PROA_STR("new")).ptr);
    assert_null(proa_sim_kube_get(rig->server, &things, PROA_STR("default"), PROA_STR("t")).ptr);
    assert_int_equal(proa_sim_kube_delete(rig->server, &things, PROA_STR("new"), PROA_STR("u")), PROA_ENOTFOUND);
    /* The dump tells outcomes alone. */
    sim_kube_put(rig, "a", 1);
    assert_int_equal(proa_sim_kube_dump(rig->server, &before), 0);
    sim_kube_put(rig, "a", 2);
    sim_kube_put(rig, "a", 1);
    assert_int_equal(proa_sim_kube_delete(rig->server, &things, PROA_STR("new"), PROA_STR("t")), 0);
    assert_int_equal(
        proa_sim_kube_put(
            rig->server, &things,
            PROA_STR("{\"metadata\":{\"name\":\"t\",\"namespace\":\"new\"},\"spec\":{},\"status\":{\"a\":1}}"), NULL,
            &err),
        0);
    assert_int_equal(proa_sim_kube_dump(rig->server, &after), 0);
    assert_true(proa_str_eq(proa_buf_str(&before), proa_buf_str(&after)));
    sim_kube_put(rig, "a", 3);
    proa_buf_clear(&after);
    assert_int_equal(proa_sim_kube_dump(rig->server, &after), 0);
    assert_false(proa_str_eq(proa_buf_str(&before), proa_buf_str(&after)));
    proa_buf_done(&before);
    proa_buf_done(&after);
    /* A namespace takes what is in it along. */
    assert_int_equal(proa_sim_kube_delete(rig->server, &proa_kube_namespaces, PROA_STR(""), PROA_STR("new")), 0);
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(1)), 0);
    assert_int_equal(proa_sim_kube_count(rig->server, &things), 0);
    assert_null(proa_sim_kube_get(rig->server, &proa_kube_namespaces, PROA_STR(""), PROA_STR("new")).ptr);
}

static void address_body(struct sim_kube_rig *rig, void *arg)
{
    char address[PROA_ADDRESS_MAX];

    proa_sim_kube_address(rig->server, address);
    assert_string_equal(address, "10.0.0.1:6443");
}

static void test_address(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = address_body});
}

static void test_direct(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = direct_body});
}

static int create(struct sim_kube_rig *rig, const char *name)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error err = {0};
    proa_str body;

    proa_arena_init(&arena, NULL, 0);
    body = proa_arena_printf(&arena, "{\"metadata\":{\"name\":\"%s\"}}", name);
    return proa_kube_create(rig->kube, &arena, &proa_kube_config_maps, PROA_STR("default"), body, NULL, NULL, &err);
}

static void faults_body(struct sim_kube_rig *rig, void *arg)
{
    size_t count = proa_sim_kube_count(rig->server, &proa_kube_config_maps);

    proa_sim_kube_set_faults(rig->server, &(struct proa_sim_kube_faults){.lose_request = 1});
    assert_true(create(rig, "a") < 0);
    assert_int_equal(proa_sim_kube_count(rig->server, &proa_kube_config_maps), count);
    proa_sim_kube_set_faults(rig->server, &(struct proa_sim_kube_faults){.lose_answer = 1});
    assert_int_equal(create(rig, "a"), PROA_EUNKNOWN);
    assert_int_equal(proa_sim_kube_count(rig->server, &proa_kube_config_maps), count + 1);
    proa_sim_kube_set_faults(rig->server, &(struct proa_sim_kube_faults){.conflict = 1});
    assert_int_equal(create(rig, "b"), PROA_ECONFLICT);
    assert_int_equal(get(rig, "a"), 0);
    proa_sim_kube_set_faults(rig->server, &(struct proa_sim_kube_faults){.delay_max_ns = PROA_SECONDS(1)});
    assert_int_equal(get(rig, "a"), 0);
    proa_sim_kube_set_faults(rig->server, NULL);
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_DOWN);
    assert_true(get(rig, "a") < 0);
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_STARTING);
    assert_true(get(rig, "a") < 0);
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_UP);
    assert_int_equal(get(rig, "a"), 0);
}

static void test_faults(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = faults_body});
}

static void foreground_body(struct sim_kube_rig *rig, void *arg)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_kube_object owner;
    struct proa_error err = {0};
    const proa_str ns = PROA_STR("default");

    proa_arena_init(&arena, NULL, 0);
    sim_kube_put(rig, "owner", 1);
    assert_int_equal(proa_kube_get(rig->kube, &arena, &proa_kube_config_maps, ns, PROA_STR("owner"),
                                   &proa_kube_object_type, &owner, &err),
                     0);
    assert_int_equal(
        proa_sim_kube_put(
            rig->server, &proa_kube_config_maps,
            proa_arena_printf(&arena,
                              "{\"metadata\":{\"name\":\"owned\",\"finalizers\":[\"x.dev/f\"],\"ownerReferences\":[{"
                              "\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"owner\",\"uid\":\"%.*s\","
                              "\"blockOwnerDeletion\":true}]}}",
                              PROA_ARG(owner.metadata.uid)),
            NULL, &err),
        0);
    assert_int_equal(proa_kube_delete(rig->kube, &arena, &proa_kube_config_maps, ns, PROA_STR("owner"),
                                      &(struct proa_kube_delete_options){.propagation = "Foreground"}, &err),
                     0);
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(1)), 0);
    /* Both wait for the dependent's finalizer. */
    assert_int_equal(get(rig, "owner"), 0);
    assert_int_equal(get(rig, "owned"), 0);
    assert_int_equal(proa_kube_patch(rig->kube, &arena, &proa_kube_config_maps, ns, PROA_STR("owned"),
                                     PROA_STR("{\"metadata\":{\"finalizers\":null}}"),
                                     &(struct proa_kube_patch_options){.kind = PROA_KUBE_MERGE}, NULL, NULL, &err),
                     0);
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(1)), 0);
    assert_int_equal(get(rig, "owned"), PROA_ENOTFOUND);
    assert_int_equal(get(rig, "owner"), PROA_ENOTFOUND);
}

static void test_foreground(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = foreground_body});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_foreground),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
