/* The kind: its description holds together, and its definition says what the issue of it asks. */
#include "plan_rig.h"

static void described(void **state)
{
    const struct proa_type *types[] = {&database_type.type, &database_spec_type.type, &pod_type.type,
                                       &claim_type.type,    &stateful_set_type.type,  &owned_secret_type.type};

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(types); i++) {
        struct proa_error err = {0};

        if (proa_type_check(types[i], &err) < 0)
            fail_msg("%s: %s", types[i]->name, err.message);
    }
}

static void defaults(void **state)
{
    struct rig *rig = *state;

    rig_set(rig, "{" RIG_FINALIZED ",\"spec\":{\"engine\":\"mysql\",\"version\":\"8.4\",\"storageSize\":\"1Gi\"}}");
    assert_int_equal(rig->database.spec.engine, ENGINE_MYSQL);
    assert_int_equal(rig->database.spec.replicas, 1);
    assert_int_equal(rig->database.spec.deletion_policy, DELETION_RETAIN);
    assert_false(rig->database.spec.paused);
    assert_int_equal(rig->database.status.phase, PHASE_PENDING);
}

static void definition(void **state)
{
    static const char *const parts[] = {
        "\"shortNames\":[\"db\"]",
        "\"specReplicasPath\":\".spec.replicas\",\"statusReplicasPath\":\".status.replicasReady\"",
        "\"labelSelectorPath\":\".status.selector\"",
        "\"enum\":[\"postgres\",\"mysql\",\"mongodb\"]",
        "\"enum\":[\"Retain\",\"Delete\"]",
        "\"jsonPath\":\".spec.engine\"",
        "\"maximum\":7",
        "self.metadata.name.size() <= 40",
        "self == oldSelf",
        "storageSize may grow, but not shrink",
        "version may only change within a major",
        "\"x-kubernetes-list-map-keys\":[\"type\"]",
    };
    struct rig *rig = *state;
    struct proa_buf out;

    proa_buf_init(&out, &rig->arena, 0);
    assert_int_equal(proa_crd_write(&out, &database_crd), 0);
    assert_int_equal(proa_json_check(proa_buf_str(&out), NULL), 0);
    for (size_t i = 0; i < PROA_COUNT(parts); i++)
        if (proa_str_find(proa_buf_str(&out), proa_str_c(parts[i])) < 0)
            fail_msg("the definition lacks %s", parts[i]);
}

/* What the engines own stands in the CEL rules too. */
static void owned_parameters_are_ruled_out(void **state)
{
    struct rig *rig = *state;

    for (int id = 0; id < ENGINES; id++) {
        const struct engine *engine = engine_of((enum database_engine)id);

        for (const char *const *name = engine->owned_parameters; *name; name++) {
            proa_str quoted = proa_arena_printf(&rig->arena, "'%s'", *name);
            proa_str guard = proa_arena_printf(&rig->arena, "self.engine != '%s'", engine->name);
            bool found = false;

            for (const struct proa_cel_rule *rule = database_spec_type.type.rules; rule->rule; rule++)
                found = found || (proa_str_find(proa_str_c(rule->rule), quoted) >= 0 &&
                                  proa_str_find(proa_str_c(rule->rule), guard) >= 0);
            if (!found)
                fail_msg("%s: no rule of the definition names %s", engine->name, *name);
            assert_true(engine->is_key(proa_str_c(*name)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(described),
        RIG_TEST(defaults),
        RIG_TEST(definition),
        RIG_TEST(owned_parameters_are_ruled_out),
    };

    return cmocka_run_group_tests_name("operator/types", tests, NULL, NULL);
}
