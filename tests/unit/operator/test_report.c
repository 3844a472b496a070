/* What is told: phase, conditions, events. */
#include "plan_rig.h"

#include <stdlib.h>

static bool is(const struct rig *rig, const char *type, const char *status, const char *reason)
{
    const struct database_condition *condition = rig_condition(rig, type);

    return proa_str_eq_c(condition->status, status) && proa_str_eq_c(condition->reason, reason);
}

/* The status is written, and what it says is there at the next look. */
static void keep(struct rig *rig)
{
    rig->database.status = rig->report.status;
}

static void from_nothing_to_ready(void **state)
{
    struct rig *rig = *state;

    rig->database.metadata.finalizers.len = 0;
    rig_report(rig);
    assert_int_equal(rig->report.status.phase, PHASE_PENDING);
    assert_true(is(rig, "Ready", "False", "Creating"));
    assert_true(is(rig, "Progressing", "True", "Creating"));
    assert_true(is(rig, "Degraded", "False", "AsExpected"));
    assert_true(rig_has_event(rig, "Created"));
    assert_true(proa_str_eq_c(rig->report.status.current_primary, "shop-0"));
    assert_true(proa_str_eq_c(rig->report.status.endpoint, "shop-rw.default.svc:5432"));
    assert_true(proa_str_eq_c(rig->report.status.selector,
                              "app.kubernetes.io/instance=shop,app.kubernetes.io/managed-by=database-operator"));
    assert_int_equal(rig->report.status.observed_generation, 3);
    keep(rig);
    rig->database.metadata.finalizers.len = 1;
    rig_serve(rig);
    rig->facts.set.status.ready_replicas = 1;
    rig_report(rig);
    assert_int_equal(rig->report.status.phase, PHASE_RUNNING);
    assert_true(is(rig, "Ready", "False", "InstancesNotReady"));
    keep(rig);
    rig->facts.set.status.ready_replicas = 3;
    rig_report(rig);
    assert_int_equal(rig->report.status.phase, PHASE_READY);
    assert_true(is(rig, "Ready", "True", "AllInstancesServe"));
    assert_true(is(rig, "Progressing", "False", "Complete"));
    assert_true(rig_has_event(rig, "Ready"));
    keep(rig);
    rig_report(rig);
    assert_int_equal(rig->report.events_count, 0);
}

/* The first look and the one after the StatefulSet was made say the same, so that one write less is needed. */
static void making_is_one_state(void **state)
{
    struct rig *rig = *state;
    proa_str first, second;

    rig_report(rig);
    assert_int_equal(plan_status_body(&rig->arena, &rig->report.status, &first), 0);
    keep(rig);
    rig->facts.has_set = true;
    rig->facts.set = (struct stateful_set){.metadata = {.generation = 1}, .spec = {.replicas = 3}};
    rig->facts.now += INT64_C(7000000000);
    rig_report(rig);
    assert_int_equal(plan_status_body(&rig->arena, &rig->report.status, &second), 0);
    assert_true(proa_str_eq(first, second));
}

static void times_change_with_the_status_only(void **state)
{
    struct rig *rig = *state;
    proa_time_ns first;

    rig_serve(rig);
    rig_report(rig);
    first = rig_condition(rig, "Ready")->last_transition_time;
    assert_int_equal(first % 1000000000, 0);
    keep(rig);
    rig->facts.now += INT64_C(60000000000);
    rig_report(rig);
    assert_int_equal(rig_condition(rig, "Ready")->last_transition_time, first);
    rig->facts.pods[0].is_ready = false;
    rig_report(rig);
    assert_true(is(rig, "Ready", "False", "PrimaryNotReady"));
    assert_int_not_equal(rig_condition(rig, "Ready")->last_transition_time, first);
}

static void problems_are_told_once(void **state)
{
    struct rig *rig = *state;

    rig->outcome = (struct plan_problem){.reason = "ObjectExists", .message = PROA_STR("Service shop-rw: delete it")};
    rig_report(rig);
    assert_int_equal(rig->report.status.phase, PHASE_FAILED);
    assert_true(is(rig, "Degraded", "True", "ObjectExists"));
    assert_true(is(rig, "Progressing", "False", "Stalled"));
    assert_true(rig_has_event(rig, "ObjectExists"));
    assert_true(rig->report.events[0].is_warning);
    keep(rig);
    rig_report(rig);
    assert_int_equal(rig->report.events_count, 0);
    rig->outcome.message = PROA_STR("Service shop-ro: delete it");
    rig_report(rig);
    assert_true(rig_has_event(rig, "ObjectExists"));
}

static void a_partial_problem_does_not_fail(void **state)
{
    struct rig *rig = *state;

    rig_serve(rig);
    rig->database.spec.storage_size = PROA_STR("2Gi");
    rig->outcome =
        (struct plan_problem){.reason = "StorageExpansionRefused", .message = PROA_STR("no"), .is_partial = true};
    rig_report(rig);
    assert_int_equal(rig->report.status.phase, PHASE_READY);
    assert_true(is(rig, "Ready", "True", "AllInstancesServe"));
    assert_true(is(rig, "Degraded", "True", "StorageExpansionRefused"));
    assert_true(is(rig, "Progressing", "False", "Stalled"));
}

static void degraded(void **state)
{
    struct rig *rig = *state;

    rig_serve(rig);
    rig_report(rig);
    keep(rig);
    /* The pod says so first, the StatefulSet a moment later. */
    rig->facts.pods[2].is_ready = false;
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "InstancesNotReady"));
    assert_int_equal(rig->report.status.replicas_ready, 2);
    assert_int_equal(rig->report.status.phase, PHASE_RUNNING);
    keep(rig);
    rig->facts.set.status.ready_replicas = 2;
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "InstancesNotReady"));
    assert_int_equal(rig->report.status.phase, PHASE_RUNNING);
    keep(rig);
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "InstancesNotReady"));
    assert_int_equal(rig->report.events_count, 0);
    rig->facts.pods[2].problem = PROA_STR("ImagePullBackOff");
    rig->facts.pods[2].problem_message = PROA_STR("no such image");
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "InstanceFailing"));
    assert_true(proa_str_eq_c(rig_condition(rig, "Degraded")->message,
                              "pod shop-2: ImagePullBackOff: no such image; correct spec.version or spec.image, or let "
                              "the nodes reach the registry"));
    assert_int_equal(rig->report.status.phase, PHASE_FAILED);
    assert_true(is(rig, "Ready", "False", "InstancesNotReady"));
    /* One of what the spec said before is being mended. */
    rig->facts.pods[2].spec_hash = PROA_STR("0123456789abcdef");
    rig_report(rig);
    assert_int_equal(rig->report.status.phase, PHASE_RUNNING);
    rig->facts.pods[2].spec_hash = rig->facts.pods[1].spec_hash;
    /* A new pod waits for its volume a moment: that is no failure yet. */
    rig->facts.pods[2].problem = PROA_STR("Unschedulable");
    rig->facts.pods[2].problem_since = rig->facts.now - INT64_C(5000000000);
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "InstancesNotReady"));
    rig->facts.now += INT64_C(20000000000);
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "InstanceFailing"));
}

/* All down is not being made, however often it is looked at. */
static void wholly_down(void **state)
{
    struct rig *rig = *state;

    rig->database.spec.replicas = 1;
    rig_serve(rig);
    rig_report(rig);
    keep(rig);
    rig->facts.pods[0].is_ready = false;
    rig->facts.set.status.ready_replicas = 0;
    for (int look = 0; look < 3; look++) {
        rig_report(rig);
        assert_int_equal(rig->report.status.phase, PHASE_PENDING);
        assert_true(is(rig, "Ready", "False", "PrimaryNotReady"));
        assert_true(is(rig, "Degraded", "True", "InstancesNotReady"));
        assert_true(is(rig, "Progressing", "True", "Starting"));
        keep(rig);
    }
}

static void progress(void **state)
{
    struct rig *rig = *state;

    rig_serve(rig);
    rig_report(rig);
    keep(rig);
    rig->facts.set.metadata.generation = 2;
    rig_report(rig);
    assert_true(is(rig, "Progressing", "True", "Scaling"));
    rig->facts.set.metadata.generation = 1;
    rig->database.spec.parameters.len = 0;
    rig->database.spec.image = PROA_STR("mine");
    rig_report(rig);
    assert_true(is(rig, "Progressing", "True", "Restarting"));
    assert_true(rig_has_event(rig, "Restarting"));
    rig->database.spec.image = PROA_STR("");
    rig->database.spec.storage_size = PROA_STR("2Gi");
    rig_report(rig);
    assert_true(is(rig, "Progressing", "True", "ExpandingStorage"));
    assert_true(rig_has_event(rig, "ExpandingStorage"));
    rig->database.spec.paused = true;
    rig_report(rig);
    assert_true(is(rig, "Progressing", "False", "Paused"));
    /* Without its StatefulSet for a moment, the pods count. */
    rig->database.spec.paused = false;
    rig->facts.has_set = false;
    rig_report(rig);
    assert_int_equal(rig->report.status.replicas_ready, 3);
    rig->database.metadata.deletion_timestamp.presence = PROA_SET;
    rig_report(rig);
    assert_true(is(rig, "Progressing", "True", "Deleting"));
    assert_true(is(rig, "Ready", "False", "Deleting"));
}

/* Asked for is not done: a volume has its size when its claim says so. */
static void volumes_grow_until_they_have_grown(void **state)
{
    struct rig *rig = *state;

    for (uint32_t i = 0; i < 3; i++)
        rig->facts.claims[i] =
            (struct plan_claim){.exists = true, .size = PROA_STR("1Gi"), .capacity = PROA_STR("1Gi")};
    rig_serve(rig);
    rig_report(rig);
    assert_int_equal(rig->report.status.phase, PHASE_READY);
    rig->database.spec.storage_size = PROA_STR("2Gi");
    rig->facts.set_size = PROA_STR("2Gi");
    for (uint32_t i = 0; i < 3; i++)
        rig->facts.claims[i].size = PROA_STR("2Gi");
    rig->facts.claims[0].capacity = rig->facts.claims[1].capacity = PROA_STR("2Gi");
    rig_report(rig);
    assert_true(is(rig, "Progressing", "True", "ExpandingStorage"));
    assert_int_equal(rig->report.status.phase, PHASE_RUNNING);
    rig->facts.claims[2].resize_problem = PROA_STR("the pool is full");
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "StorageExpansionFailing"));
    assert_true(
        proa_str_find(rig_condition(rig, "Degraded")->message, PROA_STR("data-shop-2 does not grow: the pool")) > 0);
    rig->facts.claims[2].resize_problem = PROA_STR("");
    rig->facts.claims[2].capacity = PROA_STR("3Gi");
    rig_report(rig);
    assert_int_equal(rig->report.status.phase, PHASE_READY);
}

static void body(void **state)
{
    struct rig *rig = *state;
    struct database_status read;
    proa_str text;

    rig_serve(rig);
    rig_report(rig);
    assert_int_equal(plan_status_body(&rig->arena, &rig->report.status, &text), 0);
    assert_true(proa_str_starts_with(text, PROA_STR("{\"status\":{")));
    text = proa_str_slice(text, strlen("{\"status\":"), text.len - 1);
    assert_int_equal(proa_json_read(&rig->arena, text, 0, &database_status_type, &read, NULL), 0);
    assert_true(proa_equal_type(&database_status_type.type, &read, &rig->report.status));
}

/* A pod that a quota refuses says nothing itself. */
static void an_instance_that_is_not_made(void **state)
{
    struct rig *rig = *state;

    rig_serve(rig);
    rig->facts.pods[1].exists = false;
    rig->facts.set.status.ready_replicas = 2;
    rig->facts.has_missing = true;
    rig->facts.missing_index = 1;
    rig->facts.missing_since = rig->facts.now - INT64_C(29000000000);
    rig_report(rig);
    assert_true(is(rig, "Degraded", "False", "AsExpected"));
    rig->facts.now += INT64_C(1000000000);
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "InstanceMissing"));
    assert_true(proa_str_starts_with(rig_condition(rig, "Degraded")->message,
                                     PROA_STR("pod shop-1 is not made: kubectl describe statefulset shop says why")));
    assert_true(rig_has_event(rig, "InstanceMissing"));
    rig->database.spec.paused = true;
    rig_report(rig);
    assert_true(is(rig, "Degraded", "False", "AsExpected"));
}

/* The definition's limit holds for the status too, whatever a webhook or a key of spec.parameters says. */
static void a_long_message_is_cut(void **state)
{
    struct rig *rig = *state;
    char *text = proa_arena_alloc(&rig->arena, 4000);

    assert_non_null(text);
    memset(text, 'x', 4000);
    rig->outcome = (struct plan_problem){.reason = "Rejected", .message = proa_str_n(text, 4000)};
    rig_report(rig);
    assert_true(rig_condition(rig, "Degraded")->message.len <= 2000);
    body(state);
}

/* An instance that had data which its primary lacks: where they lie and what to do, while all serve. */
static void data_that_were_put_aside(void **state)
{
    struct rig *rig = *state;

    rig_serve(rig);
    rig_report(rig);
    keep(rig);
    rig->facts.pods[2].kept = 2;
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "DataPutAside"));
    assert_true(rig_has_event(rig, "DataPutAside"));
    assert_true(
        proa_str_find(rig_condition(rig, "Degraded")->message,
                      PROA_STR("shop-2 had data that its primary lacks, and put them aside: 2 folder(s) "
                               "/var/lib/database/data.kept-TIME in its pod (PersistentVolumeClaim data-shop-2)")) > 0);
    assert_int_equal(rig->report.status.phase, PHASE_READY);
    assert_true(is(rig, "Ready", "True", "AllInstancesServe"));
    keep(rig);
    rig_report(rig);
    assert_int_equal(rig->report.events_count, 0);
    rig->facts.pods[2].kept = 0;
    rig_report(rig);
    assert_true(is(rig, "Degraded", "False", "AsExpected"));
}

static void a_primary_that_cannot_be_moved(void **state)
{
    struct rig *rig = *state;

    rig->database.status.current_primary = PROA_STR("shop-2");
    rig->database.spec.replicas = 1;
    rig_serve(rig);
    rig_report(rig);
    assert_true(is(rig, "Degraded", "True", "PrimaryNotMovable"));
}

static void replicas_are_those_of_the_set(void **state)
{
    struct rig *rig = *state;

    rig_report(rig);
    assert_int_equal(rig->report.status.replicas, 3);
    rig_serve(rig);
    rig->database.spec.replicas = 1;
    rig->database.spec.paused = true;
    rig_report(rig);
    assert_int_equal(rig->report.status.replicas, 3);
    /* Also while the StatefulSet is away. */
    keep(rig);
    rig->facts.has_set = false;
    rig_report(rig);
    assert_int_equal(rig->report.status.replicas, 3);
    rig->database.spec.paused = false;
    rig_report(rig);
    assert_int_equal(rig->report.status.replicas, 1);
}

static void there_have_been_data(void **state)
{
    struct rig *rig = *state;

    rig_report(rig);
    assert_false(rig->report.status.initialized);
    rig_serve(rig);
    rig_report(rig);
    assert_true(rig->report.status.initialized);
    keep(rig);
    rig->facts.set.status.ready_replicas = 0;
    for (unsigned i = 0; i < 3; i++)
        rig->facts.pods[i].is_ready = false;
    rig_report(rig);
    assert_int_equal(rig->report.status.replicas_ready, 0);
    assert_true(rig->report.status.initialized);
}

/* Over the claims of a deleted Database: without the primary's, a new database would be another one than theirs. */
static void there_are_kept_claims(void **state)
{
    struct rig *rig = *state;

    rig->facts.claims[1].exists = true;
    rig_report(rig);
    assert_true(rig->report.status.initialized);
    rig->facts.claims[0].exists = true; /* an empty one is like those of a Database that never served */
    rig_report(rig);
    assert_false(rig->report.status.initialized);
    rig->facts.claims[0].is_terminating = true; /* somebody gave up on it */
    rig_report(rig);
    assert_true(rig->report.status.initialized);
    rig->facts.claims[1].is_terminating = true; /* all of a Database that was deleted with its volumes */
    rig->facts.claims[0].exists = false;
    rig_report(rig);
    assert_false(rig->report.status.initialized);
    rig->facts.claims[1].is_terminating = false;
    rig->facts.has_set = true; /* whose claims are being made */
    rig_report(rig);
    assert_false(rig->report.status.initialized);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(from_nothing_to_ready),
        RIG_TEST(making_is_one_state),
        RIG_TEST(times_change_with_the_status_only),
        RIG_TEST(problems_are_told_once),
        RIG_TEST(a_partial_problem_does_not_fail),
        RIG_TEST(degraded),
        RIG_TEST(wholly_down),
        RIG_TEST(progress),
        RIG_TEST(volumes_grow_until_they_have_grown),
        RIG_TEST(an_instance_that_is_not_made),
        RIG_TEST(a_long_message_is_cut),
        RIG_TEST(data_that_were_put_aside),
        RIG_TEST(a_primary_that_cannot_be_moved),
        RIG_TEST(replicas_are_those_of_the_set),
        RIG_TEST(there_have_been_data),
        RIG_TEST(there_are_kept_claims),
        RIG_TEST(body),
    };

    return cmocka_run_group_tests_name("operator/report", tests, NULL, NULL);
}
