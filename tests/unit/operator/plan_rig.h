/** A Database, what is there of it, and its plan, for the operator's tests. */
#ifndef PROA_TESTS_PLAN_RIG_H
#define PROA_TESTS_PLAN_RIG_H

#include "unit.h"

#include "plan.h"

#include <proa/json.h>
#include <stdlib.h>
#include <string.h>

struct rig {
    struct proa_arena arena;
    struct database database;
    struct plan_facts facts;
    struct plan_settings settings;
    struct plan plan;
    struct plan_problem outcome;
    struct plan_report report;
};

/* @param json the Database, as the API server would give it */
static inline void rig_set(struct rig *rig, const char *json)
{
    struct proa_error err = {.arena = &rig->arena};

    if (proa_json_read(&rig->arena, proa_str_c(json), 0, &database_type, &rig->database, &err) < 0)
        fail_msg("%s: %s", err.pointer, err.message);
}

#define RIG_META "\"metadata\":{\"name\":\"shop\",\"namespace\":\"default\",\"uid\":\"u\",\"generation\":3"
#define RIG_FINALIZED RIG_META ",\"finalizers\":[\"database.example.com/cleanup\"]}"

static inline int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    assert_non_null(rig);
    proa_arena_init(&rig->arena, NULL, 0);
    rig->settings = (struct plan_settings){.agent_image = PROA_STR("agent:1")};
    rig->facts.now = 1700000000 * INT64_C(1000000000) + 5;
    rig->facts.fresh = (struct secret_data){.password = PROA_STR("fresh-password"),
                                            .replication_password = PROA_STR("fresh-replication"),
                                            .agent_token = PROA_STR("fresh-token")};
    rig_set(rig, "{" RIG_FINALIZED
                 ",\"spec\":{\"engine\":\"postgres\",\"version\":\"17\",\"replicas\":3,\"storageSize\":\"1024Mi\"}}");
    *state = rig;
    return 0;
}

static inline int rig_teardown(void **state)
{
    struct rig *rig = *state;

    proa_arena_done(&rig->arena);
    free(rig);
    return 0;
}

static inline void rig_plan(struct rig *rig)
{
    assert_int_equal(plan_make(&rig->arena, &rig->database, &rig->facts, &rig->settings, &rig->plan), 0);
    for (uint32_t i = 0; i < rig->plan.objects_count; i++)
        assert_int_equal(proa_json_check(rig->plan.objects[i].body, NULL), 0);
}

static inline void rig_report(struct rig *rig)
{
    rig_plan(rig);
    assert_int_equal(plan_report(&rig->arena, &rig->database, &rig->facts, &rig->plan, &rig->outcome, &rig->report), 0);
}

/* The StatefulSet and its pods, as many as wanted, ready and of the present spec. */
static inline void rig_serve(struct rig *rig)
{
    rig_plan(rig);
    rig->facts.has_set = true;
    rig->facts.set_size = PROA_STR("1Gi");
    rig->facts.set =
        (struct stateful_set){.metadata = {.generation = 1},
                              .spec = {.replicas = (int32_t)rig->plan.replicas},
                              .status = {.observed_generation = 1, .ready_replicas = (int32_t)rig->plan.replicas}};
    for (uint32_t i = 0; i < rig->plan.replicas; i++)
        rig->facts.pods[i] = (struct plan_pod){
            .exists = true,
            .is_ready = true,
            .role = proa_str_c(i == 0 ? "primary" : "replica"),
            .spec_hash = proa_arena_str(&rig->arena, proa_str_c(rig->plan.spec_hash)),
        };
    rig->facts.has_secret = true;
    rig->facts.secret = rig->facts.fresh;
}

static inline const struct plan_object *rig_object(const struct rig *rig, const struct proa_kube_kind *kind,
                                                   const char *name)
{
    for (uint32_t i = 0; i < rig->plan.objects_count; i++)
        if (rig->plan.objects[i].kind == kind && proa_str_eq_c(rig->plan.objects[i].name, name))
            return &rig->plan.objects[i];
    return NULL;
}

static inline bool rig_body_has(const struct rig *rig, const struct proa_kube_kind *kind, const char *name,
                                const char *text)
{
    const struct plan_object *object = rig_object(rig, kind, name);

    return object && proa_str_find(object->body, proa_str_c(text)) >= 0;
}

static inline const struct database_condition *rig_condition(const struct rig *rig, const char *type)
{
    for (size_t i = 0; i < rig->report.status.conditions.len; i++)
        if (proa_str_eq_c(rig->report.status.conditions.ptr[i].type, type))
            return &rig->report.status.conditions.ptr[i];
    return NULL;
}

static inline bool rig_has_event(const struct rig *rig, const char *reason)
{
    for (uint32_t i = 0; i < rig->report.events_count; i++)
        if (strcmp(rig->report.events[i].reason, reason) == 0)
            return true;
    return false;
}

#define RIG_TEST(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

#endif
