/* What is to be done, case by case. */
#include "plan_rig.h"

static void every_object_of_every_engine(void **state)
{
    static const struct {
        const struct proa_kube_kind *kind;
        const char *name;
    } objects[] = {
        {&proa_kube_secrets, "shop-credentials"},
        {&proa_kube_config_maps, "shop-config"},
        {&proa_kube_services, "shop-headless"},
        {&proa_kube_services, "shop-rw"},
        {&proa_kube_services, "shop-ro"},
        {&proa_kube_stateful_sets, "shop"},
        {&proa_kube_disruption_budgets, "shop"},
        {&proa_kube_network_policies, "shop"},
        {&proa_kube_service_accounts, "shop-agent"},
        {&proa_kube_roles, "shop-agent"},
        {&proa_kube_role_bindings, "shop-agent"},
    };
    static const char *const versions[ENGINES] = {"17", "8.4", "8.0"};
    struct rig *rig = *state;

    for (int engine = 0; engine < ENGINES; engine++) {
        rig->database.spec.engine = (enum database_engine)engine;
        rig->database.spec.version = proa_str_c(versions[engine]);
        rig_plan(rig);
        assert_null(rig->plan.problem.reason);
        assert_int_equal(rig->plan.objects_count, PROA_COUNT(objects));
        for (size_t i = 0; i < PROA_COUNT(objects); i++) {
            const struct plan_object *object = rig_object(rig, objects[i].kind, objects[i].name);

            if (!object)
                fail_msg("no %s %s", objects[i].kind->kind, objects[i].name);
            assert_true(object->is_owned);
            assert_true(proa_str_starts_with(object->body, PROA_STR("{\"metadata\":{")));
            assert_true(
                proa_str_find(object->body, PROA_STR("\"app.kubernetes.io/managed-by\":\"database-operator\"")) > 0);
        }
    }
}

static void the_stateful_set(void **state)
{
    static const char *const parts[] = {
        "\"podManagementPolicy\":\"Parallel\"",
        "\"updateStrategy\":{\"type\":\"OnDelete\"}",
        "\"replicas\":3",
        "\"serviceName\":\"shop-headless\"",
        "\"image\":\"postgres:17\"",
        "\"image\":\"agent:1\"",
        "\"command\":[\"/database-operator\",\"install-agent\",\"/proa\"]",
        "\"command\":[\"/proa/database-operator\",\"agent\"]",
        "\"fsGroup\":999",
        "\"runAsUser\":999",
        "\"runAsNonRoot\":true",
        "\"seccompProfile\":{\"type\":\"RuntimeDefault\"}",
        "\"drop\":[\"ALL\"]",
        "\"allowPrivilegeEscalation\":false",
        "\"storage\":\"1Gi\"",
        "\"preferredDuringSchedulingIgnoredDuringExecution\"",
        "\"whenUnsatisfiable\":\"ScheduleAnyway\"",
        "\"mountPath\":\"/var/lib/database\"",
    };
    struct rig *rig = *state;

    rig_plan(rig);
    for (size_t i = 0; i < PROA_COUNT(parts); i++)
        if (!rig_body_has(rig, &proa_kube_stateful_sets, "shop", parts[i]))
            fail_msg("the StatefulSet lacks %s", parts[i]);
    assert_false(rig_body_has(rig, &proa_kube_stateful_sets, "shop", "storageClassName"));
    rig->database.spec.storage_class_name = PROA_STR("fast");
    rig->database.spec.image = PROA_STR("mine:1");
    rig->database.spec.credentials_secret_name = PROA_STR("keys");
    rig->facts.user_secret = USER_SECRET_GOOD;
    rig->facts.user_credentials = (struct secret_data){.username = PROA_STR("me"), .password = PROA_STR("mine")};
    rig_plan(rig);
    assert_true(rig_body_has(rig, &proa_kube_stateful_sets, "shop", "\"storageClassName\":\"fast\""));
    assert_true(rig_body_has(rig, &proa_kube_stateful_sets, "shop", "\"image\":\"mine:1\""));
    assert_true(rig_body_has(rig, &proa_kube_stateful_sets, "shop", "\"name\":\"keys\""));
}

static void services(void **state)
{
    struct rig *rig = *state;

    rig_plan(rig);
    assert_true(rig_body_has(rig, &proa_kube_services, "shop-rw", "\"statefulset.kubernetes.io/pod-name\":\"shop-0\""));
    assert_true(rig_body_has(rig, &proa_kube_services, "shop-ro", "\"database.example.com/role\":\"replica\""));
    rig->database.spec.replicas = 1;
    rig_plan(rig);
    assert_false(rig_body_has(rig, &proa_kube_services, "shop-ro", "database.example.com/role"));
}

static void monitors_and_namespaces_by_settings(void **state)
{
    struct rig *rig = *state;

    rig_plan(rig);
    assert_false(rig_body_has(rig, &proa_kube_network_policies, "shop", "namespaceSelector"));
    rig->settings.has_service_monitors = true;
    rig->settings.operator_namespace = PROA_STR("ops");
    rig->settings.monitoring_namespace = PROA_STR("watch");
    rig->settings.images[ENGINE_POSTGRES] = PROA_STR("local/pg:{version}-x");
    rig_plan(rig);
    assert_non_null(rig_object(rig, &service_monitor_kind, "shop"));
    assert_true(rig_body_has(rig, &proa_kube_network_policies, "shop", "\"kubernetes.io/metadata.name\":\"ops\""));
    assert_true(rig_body_has(rig, &proa_kube_network_policies, "shop", "\"kubernetes.io/metadata.name\":\"watch\""));
    assert_true(rig_body_has(rig, &proa_kube_stateful_sets, "shop", "\"image\":\"local/pg:17-x\""));
}

static void credentials(void **state)
{
    struct rig *rig = *state;

    rig_plan(rig);
    assert_true(rig_body_has(rig, &proa_kube_secrets, "shop-credentials", "\"password\":\"ZnJlc2gtcGFzc3dvcmQ=\""));
    assert_false(rig_object(rig, &proa_kube_secrets, "shop-credentials")->adopt);
    /* One that a person changed stays; one that cannot be used is made again; the name is ours. */
    rig->facts.has_secret = true;
    rig->facts.secret = (struct secret_data){.username = PROA_STR("x"),
                                             .password = PROA_STR("changed-by-hand"),
                                             .replication_password = PROA_STR("short"),
                                             .agent_token = PROA_STR("has a space")};
    rig_plan(rig);
    assert_true(rig_body_has(rig, &proa_kube_secrets, "shop-credentials", "\"password\":\"Y2hhbmdlZC1ieS1oYW5k\""));
    assert_true(rig_body_has(rig, &proa_kube_secrets, "shop-credentials",
                             "\"replicationPassword\":\"ZnJlc2gtcmVwbGljYXRpb24=\""));
    assert_true(rig_body_has(rig, &proa_kube_secrets, "shop-credentials", "\"agentToken\":\"ZnJlc2gtdG9rZW4=\""));
    assert_true(rig_body_has(rig, &proa_kube_secrets, "shop-credentials", "\"username\":\"YXBw\""));
    /* It was kept by Retain perhaps: then it has no owner. */
    assert_true(rig_object(rig, &proa_kube_secrets, "shop-credentials")->adopt);
}

static void invalid(void **state)
{
    static const struct {
        const char *spec, *message;
    } cases[] = {
        {"\"version\":\"9.6\",\"storageSize\":\"1Gi\"", "majors 14 to 18"},
        {"\"version\":\"17\",\"storageSize\":\"1Gi\",\"parameters\":{\"port\":\"1\"}", "set by the operator"},
        {"\"version\":\"17\",\"storageSize\":\"1Gi\",\"parameters\":{\"A b\":\"1\"}", "no setting"},
        {"\"version\":\"17\",\"storageSize\":\"1Gi\",\"parameters\":{\"a\":\"1\\n2\"}", "line break"},
        {"\"version\":\"17\",\"storageSize\":\"1Gi\",\"credentialsSecretName\":\"shop-credentials\"", "operator's own"},
        {"\"version\":\"17\",\"storageSize\":\"99999999999999999E\"", "no size"},
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        proa_str json =
            proa_arena_printf(&rig->arena, "{" RIG_FINALIZED ",\"spec\":{\"engine\":\"postgres\",%s}}", cases[i].spec);

        rig_set(rig, json.ptr);
        rig_plan(rig);
        assert_non_null(rig->plan.problem.reason);
        if (proa_str_find(rig->plan.problem.message, proa_str_c(cases[i].message)) < 0)
            fail_msg("%s: " PROA_FMT, cases[i].spec, PROA_ARG(rig->plan.problem.message));
        assert_int_equal(rig->plan.objects_count, 0);
    }
}

static void invalid_by_what_is_there(void **state)
{
    struct rig *rig = *state;

    rig->facts.has_set = true;
    rig->facts.set_size = PROA_STR("2Gi");
    rig_plan(rig);
    assert_string_equal(rig->plan.problem.reason, "InvalidSpec");
    rig->facts.has_set = false;
    rig->database.spec.credentials_secret_name = PROA_STR("keys");
    rig->facts.user_secret = USER_SECRET_MISSING;
    rig_plan(rig);
    assert_string_equal(rig->plan.problem.reason, "CredentialsMissing");
    rig->facts.user_secret = USER_SECRET_INCOMPLETE;
    rig_plan(rig);
    assert_string_equal(rig->plan.problem.reason, "CredentialsIncomplete");
    rig->database.spec.credentials_secret_name = PROA_STR("");
    rig->database.spec.replicas = 9;
    rig_plan(rig);
    assert_string_equal(rig->plan.problem.reason, "InvalidSpec");
    rig->database.spec.replicas = 1;
    rig->database.metadata.name = PROA_STR("Not-A-Label");
    rig_plan(rig);
    assert_string_equal(rig->plan.problem.reason, "InvalidSpec");
}

/* A Secret of a person's with what no instance could use. */
static void credentials_that_cannot_be_used(void **state)
{
    static const struct {
        const char *username, *password, *message; /* NULL: they can */
        enum database_engine engine;
    } cases[] = {
        {"shop", "x", NULL, ENGINE_POSTGRES},
        {"shop\n", "a-file's\r\n", NULL, ENGINE_POSTGRES},
        {"postgres", "x", "choose another username", ENGINE_POSTGRES},
        {"pg_mine", "x", "choose another username", ENGINE_POSTGRES},
        {"postgres", "x", NULL, ENGINE_MYSQL},
        {"root", "x", "choose another username", ENGINE_MYSQL},
        {"__system", "x", "choose another username", ENGINE_MONGODB},
        {"a b", "x", "username must be 1 to 1024 printable", ENGINE_POSTGRES},
        {"shop", "two words", "password must be 1 to 1024 printable", ENGINE_POSTGRES},
        {"shop", "\n", "password must be 1 to 1024 printable", ENGINE_POSTGRES},
        {"shop", "caf\xc3\xa9", "password must be 1 to 1024 printable", ENGINE_POSTGRES},
    };
    static const char *const versions[ENGINES] = {"17", "8.4", "8.0"};
    struct rig *rig = *state;

    rig->database.spec.credentials_secret_name = PROA_STR("keys");
    rig->facts.user_secret = USER_SECRET_GOOD;
    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        rig->database.spec.engine = cases[i].engine;
        rig->database.spec.version = proa_str_c(versions[cases[i].engine]);
        rig->facts.user_credentials =
            (struct secret_data){.username = proa_str_c(cases[i].username), .password = proa_str_c(cases[i].password)};
        rig_plan(rig);
        if (!cases[i].message) {
            assert_null(rig->plan.problem.reason);
            continue;
        }
        assert_string_equal(rig->plan.problem.reason, "CredentialsUnusable");
        if (proa_str_find(rig->plan.problem.message, proa_str_c(cases[i].message)) < 0)
            fail_msg("%zu: " PROA_FMT, i, PROA_ARG(rig->plan.problem.message));
        assert_true(proa_str_find(rig->plan.problem.message, proa_str_c(cases[i].password)) < 0 ||
                    cases[i].password[1] == '\0');
    }
}

/* Carries restarts out until none is left; the order they went in. */
static void restart_all(struct rig *rig, char order[16])
{
    size_t count = 0;

    for (;;) {
        rig_plan(rig);
        if (rig->plan.restart < 0)
            break;
        assert_true(count < 15);
        order[count++] = (char)('0' + rig->plan.restart);
        rig->facts.pods[rig->plan.restart] = (struct plan_pod){0};
        rig_plan(rig);
        assert_int_equal(rig->plan.restart, -1); /* missing */
        rig->facts.pods[order[count - 1] - '0'] = (struct plan_pod){
            .exists = true, .spec_hash = proa_arena_str(&rig->arena, proa_str_c(rig->plan.spec_hash))};
        rig_plan(rig);
        if (rig->facts.pods[0].is_ready)
            assert_int_equal(rig->plan.restart, -1); /* not ready yet */
        rig->facts.pods[order[count - 1] - '0'].is_ready = true;
    }
    order[count] = '\0';
}

static void restarts_standbys_first_and_the_primary_last(void **state)
{
    struct rig *rig = *state;
    char order[16];

    rig_serve(rig);
    restart_all(rig, order);
    assert_string_equal(order, "");
    rig->database.spec.version = PROA_STR("17.2");
    rig_plan(rig);
    assert_true(rig->plan.is_restarting);
    restart_all(rig, order);
    assert_string_equal(order, "210");
}

static void restarts_with_another_primary(void **state)
{
    struct rig *rig = *state;
    char order[16];

    rig->database.status.current_primary = PROA_STR("shop-2");
    rig_serve(rig);
    rig->database.spec.version = PROA_STR("17.2");
    restart_all(rig, order);
    assert_string_equal(order, "102");
}

static void restarts_wait(void **state)
{
    struct rig *rig = *state;

    rig_serve(rig);
    rig->database.spec.version = PROA_STR("17.2");
    rig->facts.set.metadata.generation = 2; /* the template is not the controller's yet */
    rig_plan(rig);
    assert_int_equal(rig->plan.restart, -1);
    rig->facts.set.status.observed_generation = 2;
    rig->facts.pods[1].is_terminating = true;
    rig_plan(rig);
    assert_int_equal(rig->plan.restart, -1);
    /* One that does not serve is restarted before those that do. */
    rig->facts.pods[1].is_terminating = false;
    rig->facts.pods[1].is_ready = false;
    rig_plan(rig);
    assert_int_equal(rig->plan.restart, 1);
}

static void what_restarts_and_what_does_not(void **state)
{
    struct rig *rig = *state;
    char before[SPEC_HASH_LEN + 1];

    rig_plan(rig);
    memcpy(before, rig->plan.spec_hash, sizeof before);
    /* The hash is part of clusters: it must not change with this program. */
    assert_string_equal(before, "5c86e173054ff158");
    rig->database.spec.replicas = 5;
    rig->database.spec.storage_size = PROA_STR("2Gi");
    rig->database.spec.deletion_policy = DELETION_DELETE;
    rig->settings.agent_image = PROA_STR("agent:2");
    rig->settings.images[ENGINE_POSTGRES] = PROA_STR("other:{version}");
    rig_plan(rig);
    assert_string_equal(rig->plan.spec_hash, before);
    rig->database.spec.image = PROA_STR("mine");
    rig_plan(rig);
    assert_string_not_equal(rig->plan.spec_hash, before);
}

static void storage(void **state)
{
    struct rig *rig = *state;

    rig_serve(rig);
    for (uint32_t i = 0; i < 4; i++) /* one of them of an instance that was scaled away */
        rig->facts.claims[i] = (struct plan_claim){.exists = true, .size = PROA_STR("1Gi")};
    rig_plan(rig);
    assert_false(rig->plan.is_growing);
    rig->database.spec.storage_size = PROA_STR("2048Mi");
    rig_plan(rig);
    assert_true(rig->plan.is_growing && rig->plan.replace_set && rig->plan.grow_claims[3]);
    assert_false(rig->plan.grow_claims[4]);
    /* The template keeps its size while it lives. */
    assert_true(rig_body_has(rig, &proa_kube_stateful_sets, "shop", "\"storage\":\"1Gi\""));
    assert_int_equal(rig->plan.restart, -1);
    rig->facts.set_is_terminating = true;
    rig_plan(rig);
    assert_false(rig->plan.replace_set);
    assert_int_equal(rig->plan.objects_count, 0);
    rig->facts.set_is_terminating = rig->facts.has_set = false;
    rig_plan(rig);
    assert_true(rig_body_has(rig, &proa_kube_stateful_sets, "shop", "\"storage\":\"2Gi\""));
}

/* The StatefulSet controller would take it over; of instances that are there it is in use. */
static void claims_of_somebody_else(void **state)
{
    struct rig *rig = *state;

    rig->facts.claims[1].is_foreign = true;
    rig_plan(rig);
    assert_string_equal(rig->plan.problem.reason, "ObjectExists");
    assert_true(proa_str_find(rig->plan.problem.message, PROA_STR("PersistentVolumeClaim data-shop-1")) >= 0);
    assert_int_equal(rig->plan.objects_count, 0);
    rig->database.spec.replicas = 1;
    rig_serve(rig);
    rig_plan(rig);
    assert_null(rig->plan.problem.reason);
    rig->database.spec.replicas = 3;
    rig_plan(rig);
    assert_string_equal(rig->plan.problem.reason, "ObjectExists");
    rig->facts.set.spec.replicas = 3;
    rig_plan(rig);
    assert_null(rig->plan.problem.reason);
}

/* What was made of the last good spec is repaired, roles are given; what would be made of the wrong one waits. */
static void a_mistake_holds_back_only_what_is_made_of_it(void **state)
{
    struct rig *rig = *state;

    rig->database.spec.credentials_secret_name = PROA_STR("keys");
    rig->facts.user_secret = USER_SECRET_MISSING;
    rig_plan(rig);
    assert_int_equal(rig->plan.objects_count, 0); /* nothing has been begun */
    rig->facts.user_secret = USER_SECRET_GOOD;
    rig->facts.user_credentials = (struct secret_data){.username = PROA_STR("me"), .password = PROA_STR("mine")};
    rig_serve(rig);
    rig->facts.user_secret = USER_SECRET_MISSING;
    rig->database.spec.version = PROA_STR("16");
    rig->facts.pods[2].role = PROA_STR("");
    rig->facts.pods[1].credentials = PROA_STR("");
    rig_plan(rig);
    assert_string_equal(rig->plan.problem.reason, "CredentialsMissing");
    assert_non_null(rig_object(rig, &proa_kube_services, "shop-rw"));
    assert_non_null(rig_object(rig, &proa_kube_secrets, "shop-credentials"));
    assert_null(rig_object(rig, &proa_kube_stateful_sets, "shop"));
    assert_null(rig_object(rig, &proa_kube_config_maps, "shop-config"));
    assert_string_equal(rig->plan.roles[2], "replica");
    assert_false(rig->plan.refresh[1]);
    assert_true(rig->plan.restart < 0 && !rig->plan.is_restarting && !rig->plan.is_growing);
    rig_report(rig);
    assert_int_equal(rig->report.status.phase, PHASE_FAILED);
}

static void paused(void **state)
{
    struct rig *rig = *state;

    rig_serve(rig);
    rig->database.spec.paused = true;
    rig->database.spec.version = PROA_STR("17.2");
    rig_plan(rig);
    assert_int_equal(rig->plan.objects_count, 0);
    assert_int_equal(rig->plan.restart, -1);
}

static void roles(void **state)
{
    struct rig *rig = *state;

    rig_serve(rig);
    rig->facts.pods[0].role = PROA_STR("");
    rig->facts.pods[1].role = PROA_STR("primary");
    rig_plan(rig);
    assert_string_equal(rig->plan.roles[0], "primary");
    assert_string_equal(rig->plan.roles[1], "replica");
    assert_null(rig->plan.roles[2]);
}

static void pods_are_told_of_changed_credentials(void **state)
{
    struct rig *rig = *state;
    char before[SPEC_HASH_LEN + 1];

    rig_serve(rig);
    rig_plan(rig);
    assert_true(rig->plan.refresh[0] && rig->plan.refresh[2]);
    memcpy(before, rig->plan.credentials_hash, sizeof before);
    for (uint32_t i = 0; i < 3; i++)
        rig->facts.pods[i].credentials = proa_str_c(before);
    rig_plan(rig);
    assert_false(rig->plan.refresh[0] || rig->plan.refresh[2]);
    rig->facts.secret.password = PROA_STR("another-password");
    rig_plan(rig);
    assert_true(rig->plan.refresh[0] && rig->plan.refresh[2]);
    assert_int_equal(rig->plan.restart, -1);
    assert_string_not_equal(rig->plan.credentials_hash, before);
    rig->facts.pods[0].is_terminating = true;
    rig_plan(rig);
    assert_false(rig->plan.refresh[0]);
}

static void a_primary_is_not_scaled_away(void **state)
{
    struct rig *rig = *state;

    rig->database.status.current_primary = PROA_STR("shop-2");
    rig->database.spec.replicas = 1;
    rig_plan(rig);
    assert_int_equal(rig->plan.replicas, 3);
    assert_true(proa_str_eq_c(rig->plan.primary, "shop-2"));
    rig->database.status.current_primary = PROA_STR("other-99");
    rig_plan(rig);
    assert_true(proa_str_eq_c(rig->plan.primary, "shop-0"));
}

static void a_finalizer_comes_first(void **state)
{
    struct rig *rig = *state;

    rig_plan(rig);
    assert_false(rig->plan.add_finalizer);
    rig->database.metadata.finalizers.len = 0;
    rig_plan(rig);
    assert_true(rig->plan.add_finalizer);
    rig->database.spec.paused = true; /* nothing but the status is written */
    rig_plan(rig);
    assert_false(rig->plan.add_finalizer);
}

static void begin_deletion(struct rig *rig)
{
    rig_serve(rig);
    rig->facts.claims[0] = (struct plan_claim){.exists = true, .size = PROA_STR("1Gi")};
    rig->database.metadata.deletion_timestamp.presence = PROA_SET;
}

static void deletion_that_retains(void **state)
{
    struct rig *rig = *state;

    begin_deletion(rig);
    rig_plan(rig);
    assert_true(rig->plan.remove_finalizer);
    assert_int_equal(rig->plan.objects_count, 1);
    assert_false(rig_object(rig, &proa_kube_secrets, "shop-credentials")->is_owned);
    assert_false(rig->plan.delete_set || rig->plan.delete_claims);
    /* Another finalizer holds it: ours is done. */
    rig->database.metadata.finalizers.len = 0;
    rig_plan(rig);
    assert_int_equal(rig->plan.objects_count, 0);
    assert_false(rig->plan.remove_finalizer || rig->plan.add_finalizer);
}

static void deletion_that_deletes(void **state)
{
    struct rig *rig = *state;

    begin_deletion(rig);
    rig->database.spec.deletion_policy = DELETION_DELETE;
    rig_plan(rig);
    assert_true(rig->plan.delete_set);
    assert_false(rig->plan.delete_claims || rig->plan.remove_finalizer);
    rig->facts.set_is_terminating = true;
    rig_plan(rig);
    assert_false(rig->plan.delete_set || rig->plan.remove_finalizer);
    rig->facts.has_set = false;
    rig_plan(rig);
    assert_false(rig->plan.remove_finalizer); /* pods use the claims */
    memset(rig->facts.pods, 0, sizeof rig->facts.pods);
    rig_plan(rig);
    assert_true(rig->plan.delete_claims && rig->plan.remove_finalizer);
}

/* Pods that no StatefulSet has any more (it was replaced just then) go with the Database, under either policy. */
static void deletion_while_the_set_is_replaced(void **state)
{
    struct rig *rig = *state;

    begin_deletion(rig);
    for (uint32_t i = 0; i < 3; i++)
        rig->facts.pods[i].is_orphan = true;
    rig->facts.set_is_terminating = true;
    rig_plan(rig);
    assert_false(rig->plan.remove_finalizer || rig->plan.delete_pods[0]); /* it may still let go of some */
    assert_int_equal(rig->plan.objects_count, 1);                         /* the Secret is kept at once */
    rig->facts.has_set = false;
    rig->facts.pods[1].is_terminating = true;
    rig->facts.pods[2].is_orphan = false;
    rig_plan(rig);
    assert_true(rig->plan.delete_pods[0] && !rig->plan.delete_pods[1] && !rig->plan.delete_pods[2]);
    assert_true(rig->plan.remove_finalizer);
    rig->database.spec.deletion_policy = DELETION_DELETE;
    rig_plan(rig);
    assert_true(rig->plan.delete_pods[0] && !rig->plan.delete_pods[1] && !rig->plan.delete_pods[2]);
    assert_false(rig->plan.remove_finalizer || rig->plan.delete_claims);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(every_object_of_every_engine),
        RIG_TEST(the_stateful_set),
        RIG_TEST(services),
        RIG_TEST(monitors_and_namespaces_by_settings),
        RIG_TEST(credentials),
        RIG_TEST(invalid),
        RIG_TEST(invalid_by_what_is_there),
        RIG_TEST(credentials_that_cannot_be_used),
        RIG_TEST(restarts_standbys_first_and_the_primary_last),
        RIG_TEST(restarts_with_another_primary),
        RIG_TEST(restarts_wait),
        RIG_TEST(what_restarts_and_what_does_not),
        RIG_TEST(storage),
        RIG_TEST(claims_of_somebody_else),
        RIG_TEST(a_mistake_holds_back_only_what_is_made_of_it),
        RIG_TEST(paused),
        RIG_TEST(roles),
        RIG_TEST(pods_are_told_of_changed_credentials),
        RIG_TEST(a_primary_is_not_scaled_away),
        RIG_TEST(a_finalizer_comes_first),
        RIG_TEST(deletion_that_retains),
        RIG_TEST(deletion_that_deletes),
        RIG_TEST(deletion_while_the_set_is_replaced),
    };

    return cmocka_run_group_tests_name("operator/plan", tests, NULL, NULL);
}
