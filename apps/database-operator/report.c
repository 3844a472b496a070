/* Status, conditions and events: what a person reads. */
#include "plan.h"

#include <proa/json.h>
#include <stdio.h>

enum { MESSAGE_MAX = 1500 }; /* a status with more than the definition takes would be refused as a whole */
enum { CONDITION_READY, CONDITION_PROGRESSING, CONDITION_DEGRADED, CONDITIONS };
static const char *const condition_types[CONDITIONS] = {"Ready", "Progressing", "Degraded"};

struct reporting {
    struct proa_arena *arena;
    const struct database *database;
    const struct plan_facts *facts;
    const struct plan *plan;
    struct plan_problem problem;
    struct plan_report report;
    struct database_condition conditions[CONDITIONS];
    int32_t ready;
    bool is_new;      /* no instance has served yet */
    bool is_complete; /* everything is as wanted */
    bool has_failed;  /* an instance of the wanted spec cannot run */
};

static const struct database_condition *condition_before(const struct reporting *r, const char *type)
{
    for (size_t i = 0; i < r->database->status.conditions.len; i++)
        if (proa_str_eq_c(r->database->status.conditions.ptr[i].type, type))
            return &r->database->status.conditions.ptr[i];
    return NULL;
}

/* The time of a condition is that of its status's last change, in whole seconds as the API server keeps it. */
static void set(struct reporting *r, int which, bool is_true, const char *reason, proa_str message)
{
    const struct database_condition *before = condition_before(r, condition_types[which]);
    struct database_condition *condition = &r->conditions[which];

    *condition =
        (struct database_condition){.type = proa_str_c(condition_types[which]),
                                    .status = is_true ? PROA_STR("True") : PROA_STR("False"),
                                    .reason = proa_str_c(reason),
                                    .message = proa_utf8_cut(message, MESSAGE_MAX),
                                    .last_transition_time = r->facts->now - r->facts->now % INT64_C(1000000000)};
    if (before && proa_str_eq(before->status, condition->status))
        condition->last_transition_time = before->last_transition_time;
}

__attribute__((format(printf, 5, 6))) static void event(struct reporting *r, bool is_warning, const char *reason,
                                                        const char *action, const char *format, ...)
{
    va_list args;
    proa_str note;

    if (r->report.events_count == PLAN_EVENTS_MAX)
        return;
    va_start(args, format);
    note = proa_arena_vprintf(r->arena, format, args);
    va_end(args);
    if (note.ptr)
        r->report.events[r->report.events_count++] = (struct plan_event){is_warning, reason, action, note};
}

static bool is_scaling(const struct reporting *r)
{
    const struct stateful_set *set = &r->facts->set;

    return set->status.observed_generation < set->metadata.generation ||
           set->spec.replicas != (int32_t)r->plan->replicas || r->ready > (int32_t)r->plan->replicas;
}

/* A problem that stops all work, not a part of it. */
static bool is_stopped(const struct reporting *r)
{
    return r->problem.reason && !r->problem.is_partial;
}

static proa_str counted(const struct reporting *r)
{
    return proa_arena_printf(r->arena, "%d of %u instances serve", r->ready, r->plan->replicas);
}

static void report_progress(struct reporting *r)
{
    const struct plan *plan = r->plan;

    if (plan->is_deleting)
        set(r, CONDITION_PROGRESSING, true, "Deleting",
            r->facts->has_set ? PROA_STR("waiting for the instances to stop")
                              : PROA_STR("removing what belongs to it"));
    else if (r->problem.reason)
        set(r, CONDITION_PROGRESSING, false, "Stalled", PROA_STR("waiting for what Degraded names to be mended"));
    else if (r->database->spec.paused)
        set(r, CONDITION_PROGRESSING, false, "Paused", PROA_STR("spec.paused is set: nothing is changed"));
    else if (r->is_new)
        set(r, CONDITION_PROGRESSING, true, "Creating", PROA_STR("the instances are made and started"));
    else if (!r->facts->has_set || r->facts->set_is_terminating)
        set(r, CONDITION_PROGRESSING, true, "Creating", PROA_STR("the StatefulSet is being made"));
    else if (plan->is_growing || plan->is_resizing)
        set(r, CONDITION_PROGRESSING, true, "ExpandingStorage",
            proa_arena_printf(r->arena, "volumes grow to " PROA_FMT, PROA_ARG(plan->size)));
    else if (plan->is_restarting)
        set(r, CONDITION_PROGRESSING, true, "Restarting",
            PROA_STR("instances are restarted one by one, standbys first and the primary last"));
    else if (is_scaling(r))
        set(r, CONDITION_PROGRESSING, true, "Scaling", counted(r));
    else if (r->ready < (int32_t)plan->replicas)
        set(r, CONDITION_PROGRESSING, true, "Starting", counted(r));
    else
        set(r, CONDITION_PROGRESSING, false, "Complete", PROA_STR("everything is as the spec says"));
    r->is_complete = proa_str_eq_c(r->conditions[CONDITION_PROGRESSING].reason, "Complete");
}

static bool has_lasted(const struct reporting *r, const struct plan_pod *pod)
{
    return pod->problem_since == 0 || r->facts->now - pod->problem_since >= (proa_time_ns)PROA_SECONDS(UNSCHEDULABLE_S);
}

static const struct plan_pod *failing_pod(const struct reporting *r, uint32_t *ret_index)
{
    for (uint32_t i = 0; i < r->plan->replicas && i < INSTANCES_MAX; i++)
        if (r->facts->pods[i].exists && r->facts->pods[i].problem.len > 0 && has_lasted(r, &r->facts->pods[i])) {
            *ret_index = i;
            return &r->facts->pods[i];
        }
    return NULL;
}

/* What a person can do about a pod's state. */
static const char *advice(proa_str problem)
{
    static const struct {
        const char *problem, *advice;
    } known[] = {
        {"ImagePullBackOff", "correct spec.version or spec.image, or let the nodes reach the registry"},
        {"ErrImagePull", "correct spec.version or spec.image, or let the nodes reach the registry"},
        {"InvalidImageName", "correct spec.version or spec.image"},
        {"CrashLoopBackOff", "the log of the pod's container database says why; correct spec.parameters, spec.image or "
                             "spec.resources if they are the cause"},
        {"Unschedulable", "give the nodes room, lower spec.resources, or name a StorageClass that there is"},
    };

    for (size_t i = 0; i < PROA_COUNT(known); i++)
        if (proa_str_eq_c(problem, known[i].problem))
            return known[i].advice;
    return "kubectl describe tells more of the pod";
}

/* An instance of what the spec says now that will not run before somebody changes something. */
static bool is_mistaken(const struct reporting *r, const struct plan_pod *pod)
{
    return !proa_str_eq_c(pod->problem, "Unschedulable") && !proa_str_eq_c(pod->problem, "ErrImagePull") &&
           proa_str_eq_c(pod->spec_hash, r->plan->spec_hash);
}

static proa_str resize_problem(const struct reporting *r)
{
    for (uint32_t i = 0; i < r->plan->replicas && i < INSTANCES_MAX; i++)
        if (r->facts->claims[i].resize_problem.len > 0)
            return proa_arena_printf(r->arena,
                                     "the volume of PersistentVolumeClaim data-" PROA_FMT "-%u does not grow: " PROA_FMT
                                     "; mend what the StorageClass's driver names",
                                     PROA_ARG(r->database->metadata.name), i,
                                     PROA_ARG(proa_utf8_cut(r->facts->claims[i].resize_problem, 400)));
    return PROA_STR("");
}

/* No pod says why: whoever refuses it tells the StatefulSet's controller. */
static bool is_missing(const struct reporting *r)
{
    return r->facts->has_missing && !r->plan->is_deleting && !r->database->spec.paused &&
           r->facts->now - r->facts->missing_since >= (proa_time_ns)PROA_SECONDS(MISSING_S);
}

/* ": " and what the agent of an instance that does not serve says; "" when it says nothing. */
static proa_str why_not(const struct reporting *r, uint32_t index)
{
    const struct plan_pod *pod = &r->facts->pods[index];

    if (!pod->exists || pod->is_ready || pod->is_warning || pod->says.len == 0)
        return PROA_STR("");
    return proa_arena_printf(r->arena, ": " PROA_FMT, PROA_ARG(pod->says));
}

/* How many serve, and why the first that does not does not. */
static proa_str counted_with_reason(const struct reporting *r)
{
    for (uint32_t i = 0; i < r->plan->replicas && i < INSTANCES_MAX; i++) {
        proa_str reason = why_not(r, i);

        if (reason.len > 0)
            return proa_arena_printf(r->arena, "%d of %u instances serve; " PROA_FMT "-%u" PROA_FMT, r->ready,
                                     r->plan->replicas, PROA_ARG(r->database->metadata.name), i, PROA_ARG(reason));
    }
    return counted(r);
}

/* What an instance that serves could not do; "" for none. */
static proa_str warning(const struct reporting *r)
{
    for (uint32_t i = 0; i < r->plan->replicas && i < INSTANCES_MAX; i++) {
        const struct plan_pod *pod = &r->facts->pods[i];

        if (pod->exists && pod->is_ready && pod->is_warning && pod->says.len > 0)
            return proa_arena_printf(r->arena, "instance " PROA_FMT "-%u serves, but: " PROA_FMT "; it is tried again",
                                     PROA_ARG(r->database->metadata.name), i, PROA_ARG(pod->says));
    }
    return PROA_STR("");
}

/* Where they lie and what to do with them; "" when there are none. */
static proa_str data_aside(const struct reporting *r)
{
    for (uint32_t i = 0; i < INSTANCES_MAX; i++)
        if (r->facts->pods[i].exists && r->facts->pods[i].kept > 0)
            return proa_arena_printf(
                r->arena,
                "instance " PROA_FMT "-%u had data that its primary lacks, and put them aside: %llu "
                "folder(s) " DATABASE_VOLUME_DIR "/data.kept-TIME in its pod (PersistentVolumeClaim "
                "data-" PROA_FMT "-%u); take out of them what is missed, then remove them",
                PROA_ARG(r->database->metadata.name), i, (unsigned long long)r->facts->pods[i].kept,
                PROA_ARG(r->database->metadata.name), i);
    return PROA_STR("");
}

/* Instances that served once and do not now, and that nobody restarts. */
static bool lost_instances(const struct reporting *r)
{
    const struct database_condition *degraded = condition_before(r, "Degraded");
    const struct database_condition *progressing = condition_before(r, "Progressing");
    bool was_complete = r->database->status.phase == PHASE_READY ||
                        (progressing && proa_str_eq_c(progressing->reason, "Complete")) ||
                        (degraded && proa_str_eq_c(degraded->reason, "InstancesNotReady"));

    return was_complete && !r->plan->is_restarting && !r->plan->is_growing && !is_scaling(r) &&
           r->ready < (int32_t)r->plan->replicas && r->database->status.observed_generation != 0;
}

static void report_degraded(struct reporting *r)
{
    const struct plan_pod *pod;
    uint32_t index = 0;
    proa_str resize, aside, notice;

    if (r->problem.reason) {
        set(r, CONDITION_DEGRADED, true, r->problem.reason, r->problem.message);
        return;
    }
    pod = r->plan->is_deleting ? NULL : failing_pod(r, &index);
    resize = r->plan->is_deleting ? PROA_STR("") : resize_problem(r);
    aside = r->plan->is_deleting ? PROA_STR("") : data_aside(r);
    notice = r->plan->is_deleting ? PROA_STR("") : warning(r);
    if (pod) {
        r->has_failed = is_mistaken(r, pod);
        set(r, CONDITION_DEGRADED, true, "InstanceFailing",
            proa_arena_printf(r->arena, "pod " PROA_FMT "-%u: " PROA_FMT "%s" PROA_FMT "; %s",
                              PROA_ARG(r->database->metadata.name), index, PROA_ARG(pod->problem),
                              pod->problem_message.len > 0 ? ": " : "",
                              PROA_ARG(proa_utf8_cut(pod->problem_message, 400)), advice(pod->problem)));
    } else if (is_missing(r))
        set(r, CONDITION_DEGRADED, true, "InstanceMissing",
            proa_arena_printf(r->arena,
                              "pod " PROA_FMT "-%u is not made: kubectl describe statefulset " PROA_FMT
                              " says why (a quota, a limit range, an admission policy); mend that, or change "
                              "spec.resources, spec.storageSize or spec.replicas",
                              PROA_ARG(r->database->metadata.name), r->facts->missing_index,
                              PROA_ARG(r->database->metadata.name)));
    else if (resize.len > 0)
        set(r, CONDITION_DEGRADED, true, "StorageExpansionFailing", resize);
    else if (r->plan->primary_index >= (uint32_t)r->database->spec.replicas && !r->plan->is_deleting)
        set(r, CONDITION_DEGRADED, true, "PrimaryNotMovable",
            proa_arena_printf(r->arena,
                              "spec.replicas %d would remove the primary " PROA_FMT ": %u instances are kept; set "
                              "spec.replicas to that",
                              r->database->spec.replicas, PROA_ARG(r->plan->primary), r->plan->replicas));
    else if (aside.len > 0)
        set(r, CONDITION_DEGRADED, true, "DataPutAside", aside);
    else if (!r->plan->is_deleting && lost_instances(r))
        set(r, CONDITION_DEGRADED, true, "InstancesNotReady", counted_with_reason(r));
    else if (notice.len > 0)
        set(r, CONDITION_DEGRADED, true, "InstanceWarning", notice);
    else
        set(r, CONDITION_DEGRADED, false, "AsExpected", PROA_STR(""));
}

static bool primary_is_ready(const struct reporting *r)
{
    const struct plan_pod *pod = &r->facts->pods[r->plan->primary_index];

    return pod->exists ? pod->is_ready && !pod->is_terminating : r->ready >= (int32_t)r->plan->replicas;
}

static void report_ready(struct reporting *r)
{
    if (r->plan->is_deleting)
        set(r, CONDITION_READY, false, "Deleting", PROA_STR("the Database is being deleted"));
    else if (is_stopped(r))
        set(r, CONDITION_READY, false, r->problem.reason, r->problem.message);
    else if (r->is_new)
        set(r, CONDITION_READY, false, "Creating",
            proa_arena_printf(r->arena, "no instance serves yet" PROA_FMT,
                              PROA_ARG(why_not(r, r->plan->primary_index))));
    else if (!primary_is_ready(r))
        set(r, CONDITION_READY, false, "PrimaryNotReady",
            proa_arena_printf(r->arena, "the primary " PROA_FMT " does not serve" PROA_FMT, PROA_ARG(r->plan->primary),
                              PROA_ARG(why_not(r, r->plan->primary_index))));
    else if (r->ready < (int32_t)r->plan->replicas)
        set(r, CONDITION_READY, false, "InstancesNotReady", counted_with_reason(r));
    else
        set(r, CONDITION_READY, true, "AllInstancesServe", counted(r));
}

static enum database_phase phase(const struct reporting *r)
{
    bool is_settled = r->is_complete || r->database->spec.paused || r->problem.reason;

    if (is_stopped(r) || r->has_failed)
        return PHASE_FAILED;
    if (is_settled && proa_str_eq_c(r->conditions[CONDITION_READY].status, "True"))
        return PHASE_READY;
    return r->ready > 0 ? PHASE_RUNNING : PHASE_PENDING;
}

/* Told once: what the status said before is not told again. */
static void report_events(struct reporting *r)
{
    const struct database_condition *before = condition_before(r, "Degraded");
    const struct database_condition *degraded = &r->conditions[CONDITION_DEGRADED];
    const struct database_status *status = &r->report.status;
    bool is_told =
        before && proa_str_eq(before->reason, degraded->reason) && proa_str_eq(before->message, degraded->message);

    if (r->plan->add_finalizer && !r->plan->is_deleting && !r->problem.reason && !r->database->spec.paused)
        event(r, false, "Created", "Create", "made what %s " PROA_FMT " needs; the primary is " PROA_FMT,
              proa_enum_name(&database_engine_enum, (int)r->database->spec.engine).ptr,
              PROA_ARG(r->database->metadata.name), PROA_ARG(r->plan->primary));
    if (proa_str_eq_c(degraded->status, "True") && !is_told)
        event(r, true, r->problem.reason ? r->problem.reason : degraded->reason.ptr, "Reconcile", PROA_FMT,
              PROA_ARG(degraded->message));
    if (r->plan->restart >= 0 && !is_stopped(r))
        event(r, false, "Restarting", "Restart", "restart pod " PROA_FMT "-%d: its settings changed",
              PROA_ARG(r->database->metadata.name), r->plan->restart);
    if (r->plan->replace_set && !r->problem.reason)
        event(r, false, "ExpandingStorage", "ExpandStorage", "volumes grow from " PROA_FMT " to " PROA_FMT,
              PROA_ARG(r->facts->set_size), PROA_ARG(r->plan->size));
    /* Without a count: events of one reason become a series, which shows the first one's text. */
    if (status->phase == PHASE_READY && r->database->status.phase != PHASE_READY)
        event(r, false, "Ready", "Reconcile", "all instances serve; connect to " PROA_FMT, PROA_ARG(status->endpoint));
}

/* A StatefulSet that its controller has not looked at yet, or that is about to be made again, knows nothing of pods that are there; and
 * it learns a moment later than we do that one does not serve any more. */
static int32_t count_ready(const struct plan_facts *facts, uint32_t replicas)
{
    int32_t ready = 0, failing = 0;

    for (uint32_t i = 0; i < INSTANCES_MAX; i++) {
        ready += facts->pods[i].exists && facts->pods[i].is_ready;
        failing += i < replicas && facts->pods[i].exists && !facts->pods[i].is_ready;
    }
    if (!facts->has_set || facts->set.status.observed_generation == 0)
        return ready;
    ready = facts->set.status.ready_replicas;
    if (failing > 0 && ready > (int32_t)replicas - failing)
        ready = (int32_t)replicas - failing;
    return ready;
}

/* What the StatefulSet was told, not what the spec says: agents drop what they keep for others, and it must not be for one that stays. */
static int32_t kept_replicas(const struct reporting *r)
{
    int32_t before = r->database->status.replicas;

    if (r->facts->has_set)
        return r->facts->set.spec.replicas;
    return before > 0 && (is_stopped(r) || r->database->spec.paused) ? before : (int32_t)r->plan->replicas;
}

/* One that is going (a Database of this name was deleted with its volumes a moment ago) is none. */
static bool has_claim(const struct reporting *r, uint32_t index)
{
    return r->facts->claims[index].exists && !r->facts->claims[index].is_terminating;
}

/* Never false again. A Database made anew over kept claims, without its primary's, has data too. */
static bool is_initialized(const struct reporting *r)
{
    const struct database_status *before = &r->database->status;
    bool has_other_claim = false;

    for (uint32_t i = 0; i < INSTANCES_MAX; i++)
        has_other_claim = has_other_claim || (i != r->plan->primary_index && has_claim(r, i));
    return before->initialized || r->ready > 0 ||
           (before->observed_generation == 0 && !r->facts->has_set && has_other_claim &&
            !has_claim(r, r->plan->primary_index));
}

int plan_report(struct proa_arena *arena, const struct database *database, const struct plan_facts *facts,
                const struct plan *plan, const struct plan_problem *outcome, struct plan_report *ret_report)
{
    struct reporting r = {.arena = arena, .database = database, .facts = facts, .plan = plan};
    struct database_status *status = &r.report.status;
    proa_str name = database->metadata.name;

    r.problem = plan->problem.reason ? plan->problem : *outcome;
    r.ready = count_ready(facts, plan->replicas);
    r.is_new = r.ready == 0 && database->status.phase == PHASE_PENDING && !database->status.initialized;
    report_progress(&r);
    report_degraded(&r);
    report_ready(&r);
    status->phase = phase(&r);
    status->replicas_ready = r.ready;
    status->selector = proa_arena_printf(arena, LABEL_INSTANCE "=" PROA_FMT "," OWNED_SELECTOR, PROA_ARG(name));
    status->observed_generation = database->metadata.generation;
    status->current_primary = plan->primary;
    status->replicas = kept_replicas(&r);
    status->initialized = is_initialized(&r);
    status->endpoint =
        proa_arena_printf(arena, PROA_FMT "-rw." PROA_FMT ".svc:%u", PROA_ARG(name),
                          PROA_ARG(database->metadata.namespace_), engine_of(database->spec.engine)->port);
    status->conditions.ptr = proa_arena_alloc(arena, sizeof r.conditions);
    if (!status->conditions.ptr || !status->selector.ptr || !status->endpoint.ptr)
        return PROA_ENOMEM;
    memcpy(status->conditions.ptr, r.conditions, sizeof r.conditions);
    status->conditions.len = CONDITIONS;
    report_events(&r);
    *ret_report = r.report;
    return 0;
}

static void member(struct proa_json_writer *w, const char *key, proa_str value)
{
    proa_json_key(w, proa_str_c(key));
    proa_json_text(w, value);
}

int plan_status_body(struct proa_arena *arena, const struct database_status *status, proa_str *ret_body)
{
    struct proa_json_writer w;
    struct proa_buf out;

    proa_buf_init(&out, arena, 0);
    proa_json_writer_init(&w, &out);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("status"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("conditions"));
    proa_json_array(&w);
    for (size_t i = 0; i < status->conditions.len; i++) {
        const struct database_condition *condition = &status->conditions.ptr[i];
        char time[PROA_TIME_TEXT_MAX];

        proa_json_object(&w);
        member(&w, "lastTransitionTime", proa_str_n(time, proa_time_text(condition->last_transition_time, 0, time)));
        member(&w, "message", condition->message);
        member(&w, "reason", condition->reason);
        member(&w, "status", condition->status);
        member(&w, "type", condition->type);
        proa_json_object_end(&w);
    }
    proa_json_array_end(&w);
    member(&w, "currentPrimary", status->current_primary);
    member(&w, "endpoint", status->endpoint);
    proa_json_key(&w, PROA_STR("initialized"));
    proa_json_bool(&w, status->initialized);
    proa_json_key(&w, PROA_STR("observedGeneration"));
    proa_json_i64(&w, status->observed_generation);
    member(&w, "phase", proa_enum_name(&database_phase_enum, (int)status->phase));
    proa_json_key(&w, PROA_STR("replicas"));
    proa_json_i64(&w, status->replicas);
    proa_json_key(&w, PROA_STR("replicasReady"));
    proa_json_i64(&w, status->replicas_ready);
    member(&w, "selector", status->selector);
    proa_json_object_end(&w);
    proa_json_object_end(&w);
    if (out.error < 0)
        return PROA_ENOMEM;
    *ret_body = proa_buf_str(&out);
    return 0;
}
