/* A Database's reconcile: facts from the caches, the plan, its steps, the status. Each step may be lost, fail, or be the last before the
 * process dies: the next reconcile begins from what is there. */
#include "reconcile.h"

enum {
    RETRY_FIRST_S = 5,
    RETRY_MAX_S = 300,
    WAIT_S = 1, /* for what the garbage collector is about to remove */
    SECRET_BYTES = 24,
};

struct reconciling {
    struct proa_reconcile *ctx;
    const struct plan_settings *settings;
    struct database_controller *controller;
    struct database database;
    struct plan_facts facts;
    proa_str set_uid, pod_uids[INSTANCES_MAX], claim_uids[INSTANCES_MAX];
    proa_str foreign_set_uid; /* of somebody else's of that name; "": there is none */
    struct plan plan;
    struct plan_problem outcome;
    uint32_t changes;
    bool set_changed;  /* its controller has not seen the new template yet */
    bool is_replacing; /* the StatefulSet is on its way out */
};

/* -- Facts ----------------------------------------------------------------------------------------------------------- */

static bool find(const struct reconciling *r, const struct proa_kube_kind *kind, proa_str name,
                 struct proa_cached *ret_cached)
{
    return proa_cache_get(proa_controller_cache(r->ctx->controller, kind), r->ctx->namespace_, name, ret_cached);
}

static proa_str keep(const struct reconciling *r, proa_str text)
{
    return proa_arena_str(r->ctx->arena, text);
}

static proa_str random_text(const struct reconciling *r)
{
    unsigned char bytes[SECRET_BYTES];
    struct proa_buf out;

    proa_loop_random(proa_kube_loop(r->ctx->kube), bytes, sizeof bytes);
    proa_buf_init(&out, r->ctx->arena, 0);
    proa_base64url_encode(&out, proa_str_n((const char *)bytes, sizeof bytes));
    return proa_buf_str(&out);
}

static int gather_secret(struct reconciling *r)
{
    struct secret_data *is = &r->facts.secret, *fresh = &r->facts.fresh;
    struct proa_cached cached;

    /* Another's is none of ours, whatever its labels say; one without an owner was kept from a former Database of this name. */
    r->facts.has_secret =
        find(r, &proa_kube_secrets, plan_secret_name(r->ctx->arena, r->database.metadata.name), &cached) &&
        (cached.owner_uid.len == 0 || proa_str_eq(cached.owner_uid, r->database.metadata.uid));
    if (r->facts.has_secret)
        PROA_TRY(proa_copy(r->ctx->arena, &secret_data_type, &((const struct owned_secret *)cached.object)->data, is));
    if (!credential_is_good(is->password))
        fresh->password = random_text(r);
    if (!credential_is_good(is->replication_password))
        fresh->replication_password = random_text(r);
    if (!credential_is_good(is->agent_token))
        fresh->agent_token = random_text(r);
    return 0;
}

static int gather_set(struct reconciling *r)
{
    struct proa_cached cached;
    const struct stateful_set *set;

    /* That of a former Database of this name, or of somebody who copied our labels, is none of ours: applying tells. */
    if (!find(r, &proa_kube_stateful_sets, r->database.metadata.name, &cached))
        return 0;
    if (cached.owner_uid.len == 0 ? cached.applied_digest == 0
                                  : !proa_str_eq(cached.owner_uid, r->database.metadata.uid)) {
        if (cached.owner_uid.len == 0)
            r->foreign_set_uid = keep(r, cached.uid);
        return 0;
    }
    set = cached.object;
    r->facts.has_set = true;
    r->set_uid = keep(r, cached.uid);
    r->facts.set_is_terminating = set->metadata.deletion_timestamp.len > 0;
    PROA_TRY(proa_copy(r->ctx->arena, &stateful_set_type, set, &r->facts.set));
    if (set->spec.volume_claim_templates.len > 0)
        r->facts.set_size = r->facts.set.spec.volume_claim_templates.ptr[0].spec.resources.requests.storage;
    return 0;
}

static bool is_fatal(proa_str reason)
{
    static const char *const reasons[] = {
        "ImagePullBackOff",     "ErrImagePull",      "InvalidImageName",           "CrashLoopBackOff",
        "CreateContainerError", "RunContainerError", "CreateContainerConfigError", NULL};

    for (const char *const *known = reasons; *known; known++)
        if (proa_str_eq_c(reason, *known))
            return true;
    return false;
}

static void gather_problem(const struct reconciling *r, const struct pod *pod, struct plan_pod *out)
{
    for (size_t i = 0; i < pod->status.init_container_statuses.len + pod->status.container_statuses.len; i++) {
        size_t inits = pod->status.init_container_statuses.len;
        const struct container_status *status =
            i < inits ? &pod->status.init_container_statuses.ptr[i] : &pod->status.container_statuses.ptr[i - inits];

        if (out->problem.len == 0 && is_fatal(status->state.waiting.reason)) {
            out->problem = keep(r, status->state.waiting.reason);
            out->problem_message = keep(r, status->state.waiting.message);
        }
    }
}

static void gather_pod(struct reconciling *r, uint32_t index)
{
    struct plan_pod *out = &r->facts.pods[index];
    struct instance_words words;
    struct proa_cached cached;
    const struct pod *pod;

    if (!find(r, &proa_kube_pods, plan_pod_name(r->ctx->arena, r->database.metadata.name, index), &cached) ||
        (r->foreign_set_uid.len > 0 && proa_str_eq(cached.owner_uid, r->foreign_set_uid)))
        return;
    pod = cached.object;
    words = instances_heard(&r->controller->instances, cached.uid);
    r->pod_uids[index] = keep(r, cached.uid);
    *out = (struct plan_pod){.exists = true,
                             .is_orphan = cached.owner_uid.len == 0,
                             .kept = words.kept,
                             .says = keep(r, words.says),
                             .is_warning = words.is_warning,
                             .is_terminating = pod->metadata.deletion_timestamp.len > 0,
                             .role = keep(r, pod->metadata.labels.role),
                             .spec_hash = keep(r, pod->metadata.annotations.spec_hash),
                             .credentials = keep(r, pod->metadata.annotations.credentials)};
    gather_problem(r, pod, out);
    for (size_t i = 0; i < pod->status.conditions.len; i++) {
        const struct pod_condition *condition = &pod->status.conditions.ptr[i];

        if (proa_str_eq_c(condition->type, "Ready"))
            out->is_ready = proa_str_eq_c(condition->status, "True");
        if (proa_str_eq_c(condition->type, "PodScheduled") && proa_str_eq_c(condition->reason, "Unschedulable")) {
            out->problem = PROA_STR("Unschedulable");
            out->problem_message = keep(r, condition->message);
            out->problem_since = condition->last_transition_time.value;
            r->ctx->requeue_after_ns = PROA_SECONDS(UNSCHEDULABLE_S);
        }
    }
}

static void gather_claim(struct reconciling *r, uint32_t index)
{
    struct proa_cached cached;
    const struct claim *claim;

    if (!find(r, &proa_kube_claims, plan_claim_name(r->ctx->arena, r->database.metadata.name, index), &cached))
        return;
    claim = cached.object;
    if (!proa_str_eq_c(claim->metadata.labels.managed_by, OPERATOR_NAME) ||
        !proa_str_eq(claim->metadata.labels.instance, r->database.metadata.name)) {
        r->facts.claims[index].is_foreign = true;
        return;
    }
    r->claim_uids[index] = keep(r, cached.uid);
    r->facts.claims[index] = (struct plan_claim){.exists = true,
                                                 .is_terminating = claim->metadata.deletion_timestamp.len > 0,
                                                 .size = keep(r, claim->spec.resources.requests.storage),
                                                 .capacity = keep(r, claim->status.capacity.storage)};
    for (size_t i = 0; i < claim->status.conditions.len; i++) {
        const struct claim_condition *condition = &claim->status.conditions.ptr[i];

        if (proa_str_ends_with(condition->type, PROA_STR("ResizeError")) && proa_str_eq_c(condition->status, "True"))
            r->facts.claims[index].resize_problem =
                keep(r, condition->message.len > 0 ? condition->message : condition->type);
    }
}

/* The user's Secret is not among those that we watch: it is asked for. */
static int gather_user_secret(struct reconciling *r)
{
    struct owned_secret secret;
    proa_str name = r->database.spec.credentials_secret_name;
    int rc;

    if (name.len == 0)
        return 0;
    rc = proa_kube_get(r->ctx->kube, r->ctx->arena, &proa_kube_secrets, r->ctx->namespace_, name, &owned_secret_type,
                       &secret, r->ctx->err);
    if (rc == PROA_ENOTFOUND) {
        proa_error_clear(r->ctx->err);
        r->facts.user_secret = USER_SECRET_MISSING;
        return 0;
    }
    PROA_TRY(rc);
    r->facts.user_secret =
        secret.data.username.len > 0 && secret.data.password.len > 0 ? USER_SECRET_GOOD : USER_SECRET_INCOMPLETE;
    r->facts.user_credentials = secret.data;
    return 0;
}

static proa_str key_of(const struct proa_reconcile *ctx)
{
    return proa_arena_printf(ctx->arena, PROA_FMT "/" PROA_FMT, PROA_ARG(ctx->namespace_), PROA_ARG(ctx->name));
}

/* A pod that its StatefulSet's controller knows to be wanted, and that does not come. Since when is remembered with its index, as one
 * number: in a rolling restart another one is missing each time. */
static int note_missing(struct reconciling *r)
{
    const struct stateful_set *set = &r->facts.set;
    uintptr_t since = (uintptr_t)proa_map_get(r->controller->missing, key_of(r->ctx));
    uint32_t index = 0;

    while (index < INSTANCES_MAX && r->facts.pods[index].exists)
        index++;
    if (!r->facts.has_set || r->facts.set_is_terminating || (int32_t)index >= set->spec.replicas ||
        set->status.ready_replicas >= set->spec.replicas ||
        set->status.observed_generation < set->metadata.generation) {
        proa_map_remove(r->controller->missing, key_of(r->ctx));
        return 0;
    }
    if (since == 0 || since % 8 != index) {
        since = (uintptr_t)(r->facts.now / INT64_C(1000000000)) * 8 + index;
        PROA_TRY(proa_map_put(r->controller->missing, key_of(r->ctx), (void *)since, NULL));
    }
    r->facts.has_missing = true;
    r->facts.missing_index = index;
    r->facts.missing_since = (proa_time_ns)(since / 8) * INT64_C(1000000000);
    r->ctx->requeue_after_ns = PROA_SECONDS(MISSING_S);
    return 0;
}

/* May suspend first, then reads all caches at one moment. */
static int gather(struct reconciling *r)
{
    PROA_TRY(gather_user_secret(r));
    r->facts.now = proa_loop_wall(proa_kube_loop(r->ctx->kube));
    PROA_TRY(gather_secret(r));
    PROA_TRY(gather_set(r));
    for (uint32_t i = 0; i < INSTANCES_MAX; i++) {
        gather_pod(r, i);
        gather_claim(r, i);
    }
    return note_missing(r);
}

/* -- Steps ------------------------------------------------------------------------------------------------------------ */

/* Whether an error is a person's to mend: then it is told in the status, and the 30 seconds of verification are the pace at which it is
 * tried again. The API server's own conflicts, outages and the like are tried again by the queue. */
static bool take_refusal(struct reconciling *r, int rc, const char *reason, const char *advice)
{
    struct proa_error *err = r->ctx->err;
    bool is_foreign = rc == PROA_ECONFLICT && err->origin[0] == '\0';
    bool is_refused = rc == PROA_EVALIDATION || rc == PROA_EFORBIDDEN || rc == PROA_EINVAL;

    if (!is_foreign && !is_refused)
        return false;
    if (!r->outcome.reason) {
        r->outcome.reason = is_foreign ? "ObjectExists" : reason;
        r->outcome.message = proa_arena_printf(r->ctx->arena, "%s: %s", err->message,
                                               is_foreign ? "delete it, or give the Database another name" : advice);
    }
    proa_error_clear(err);
    return true;
}

/* What a former Database of this name owned and the garbage collector is about to remove; what another controller has is not.
 * @returns 1, 0 or an error. */
static int is_leftover(struct reconciling *r, const struct plan_object *object)
{
    const struct proa_kube_owner *owner;
    struct proa_kube_object there;
    struct proa_cached cached;
    int rc;

    if (!object->is_owned || !find(r, object->kind, object->name, &cached) || cached.owner_uid.len == 0 ||
        proa_str_eq(cached.owner_uid, r->database.metadata.uid))
        return 0;
    rc = proa_kube_get(r->ctx->kube, r->ctx->arena, object->kind, r->ctx->namespace_, object->name,
                       &proa_kube_object_type, &there, r->ctx->err);
    if (rc == PROA_ENOTFOUND) {
        proa_error_clear(r->ctx->err);
        return 1; /* gone, and the cache is about to see it */
    }
    PROA_TRY(rc);
    owner = proa_kube_controller_of(&there.metadata);
    return !owner || proa_str_eq(owner->uid, r->database.metadata.uid) ||
           (proa_str_eq_c(owner->kind, database_kind.kind) && proa_str_eq(owner->name, r->database.metadata.name) &&
            proa_str_starts_with(owner->api_version, proa_str_c(database_kind.group)));
}

/* @returns 1 when it waits for a leftover to go. */
static int apply_object(struct reconciling *r, const struct plan_object *object)
{
    bool is_set = object->kind == &proa_kube_stateful_sets, changed = false;
    int rc;

    rc = is_leftover(r, object);
    PROA_TRY(rc);
    if (rc > 0) {
        r->ctx->requeue_after_ns = PROA_SECONDS(WAIT_S);
        return 1;
    }
    rc = proa_reconcile_apply(r->ctx,
                              &(struct proa_apply){.kind = object->kind,
                                                   .namespace_ = r->ctx->namespace_,
                                                   .name = object->name,
                                                   .body = object->body,
                                                   .owner = object->is_owned ? &r->database.metadata : NULL,
                                                   .owner_kind = object->is_owned ? &database_kind : NULL,
                                                   .adopt = object->adopt,
                                                   .may_stay = object->may_stay},
                              &changed);
    if (rc < 0)
        return take_refusal(r, rc, "Rejected", "correct the spec, or what the API server names") ? 0 : rc;
    if (changed) {
        r->changes++;
        r->set_changed = r->set_changed || is_set;
        PROA_DEBUG(r->ctx->logger, "applied an object", proa_kv_c("kind", object->kind->kind),
                   proa_kv_str("object", object->name));
    }
    return 0;
}

/* Before anything runs it stops at the first that is refused, which what comes later stands on. Of a Database that runs the others are
 * looked after all the same. */
static int apply_objects(struct reconciling *r)
{
    for (uint32_t i = 0; i < r->plan.objects_count && (!r->outcome.reason || r->facts.has_set); i++) {
        int rc = apply_object(r, &r->plan.objects[i]);

        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A refusal of something beside the spec, without which the rest goes on. @returns 0 when it was one, or the error. */
static int refused_in_part(struct reconciling *r, int rc, const char *reason, const char *advice)
{
    bool is_first = !r->outcome.reason;

    if (rc == 0)
        return 0;
    if (rc == PROA_ECONFLICT || !take_refusal(r, rc, reason, advice))
        return rc;
    r->outcome.is_partial = r->outcome.is_partial || is_first;
    return 0;
}

/* A merge patch of one object of ours. One that is gone meanwhile is no error, nor is a conflict, which may be with a new one of that name:
 * looked at again when the cache has had time to see it. */
static int patch(struct reconciling *r, const struct proa_kube_kind *kind, proa_str name, proa_str body)
{
    static const struct proa_kube_patch_options merge = {.kind = PROA_KUBE_MERGE};
    struct proa_kube_object answer;
    int rc = body.ptr ? proa_kube_patch(r->ctx->kube, r->ctx->arena, kind, r->ctx->namespace_, name, body, &merge,
                                        &proa_kube_object_type.type, &answer, r->ctx->err)
                      : PROA_ENOMEM;

    if (rc == PROA_ENOTFOUND || (rc == PROA_ECONFLICT && r->ctx->err->origin[0] != '\0')) {
        proa_error_clear(r->ctx->err);
        r->ctx->requeue_after_ns = PROA_SECONDS(WAIT_S);
        return 0;
    }
    PROA_TRY(rc);
    r->changes++;
    proa_reconcile_await(r->ctx, kind, answer.metadata.resource_version);
    return 0;
}

/* Role and credentials in one request. */
static int mark_pods(struct reconciling *r)
{
    for (uint32_t i = 0; i < INSTANCES_MAX; i++) {
        struct proa_arena *arena = r->ctx->arena;
        proa_str label = PROA_STR(""), annotation = PROA_STR("");

        if (r->plan.roles[i])
            label = proa_arena_printf(arena, ",\"labels\":{\"" LABEL_ROLE "\":\"%s\"}", r->plan.roles[i]);
        if (r->plan.refresh[i])
            annotation = proa_arena_printf(arena, ",\"annotations\":{\"" ANNOTATION_CREDENTIALS "\":\"%s\"}",
                                           r->plan.credentials_hash);
        if (!label.ptr || !annotation.ptr)
            return proa_fail(r->ctx->err, PROA_ENOMEM, "no memory for a pod's labels");
        if (label.len + annotation.len == 0)
            continue;
        PROA_TRY(refused_in_part(
            r,
            patch(r, &proa_kube_pods, plan_pod_name(arena, r->database.metadata.name, i),
                  proa_arena_printf(arena, "{\"metadata\":{\"uid\":\"" PROA_FMT "\"" PROA_FMT PROA_FMT "}}",
                                    PROA_ARG(r->pod_uids[i]), PROA_ARG(label), PROA_ARG(annotation))),
            "Rejected", "let the operator mark its pods, or their roles and credentials are not kept up"));
    }
    return 0;
}

/* Every claim first: a StorageClass that does not grow volumes refuses there, before anything else has changed. */
static int grow_storage(struct reconciling *r)
{
    struct proa_kube_delete_options orphan = {.propagation = "Orphan"};
    struct proa_kube_meta meta = {
        .namespace_ = r->ctx->namespace_, .name = r->database.metadata.name, .uid = r->set_uid};
    bool is_refused = false;
    int rc = 0;

    for (uint32_t i = 0; i < INSTANCES_MAX && !is_refused; i++) {
        if (r->plan.grow_claims[i])
            rc = patch(r, &proa_kube_claims, plan_claim_name(r->ctx->arena, r->database.metadata.name, i),
                       proa_arena_printf(r->ctx->arena,
                                         "{\"metadata\":{\"uid\":\"" PROA_FMT
                                         "\"},\"spec\":{\"resources\":{\"requests\":{\"storage\":\"" PROA_FMT "\"}}}}",
                                         PROA_ARG(r->claim_uids[i]), PROA_ARG(r->plan.size)));
        is_refused = rc < 0;
        PROA_TRY(refused_in_part(r, rc, "StorageExpansionRefused",
                                 r->facts.claims[i].capacity.len == 0
                                     ? "a claim grows once it is bound to a volume"
                                     : "allow the StorageClass to expand volumes if its driver can, or make another "
                                       "Database and move the data; meanwhile the volumes stay as they are"));
    }
    if (!r->plan.replace_set || is_refused)
        return 0;
    rc = proa_reconcile_delete(r->ctx, &proa_kube_stateful_sets, &meta, &orphan);
    if (rc < 0)
        return refused_in_part(r, rc, "StorageExpansionRefused", "let the operator replace its StatefulSet");
    r->is_replacing = true;
    r->changes++;
    PROA_INFO(r->ctx->logger, "replacing the StatefulSet without its pods", proa_kv_str("size", r->plan.size));
    return 0;
}

static int restart_pod(struct reconciling *r)
{
    struct proa_kube_meta meta = {.namespace_ = r->ctx->namespace_};
    int rc;

    if (r->plan.restart < 0)
        return 0;
    if (r->set_changed || r->is_replacing) {
        r->plan.restart = -1; /* later, with what is there then */
        return 0;
    }
    meta.name = plan_pod_name(r->ctx->arena, r->database.metadata.name, (uint32_t)r->plan.restart);
    meta.uid = r->pod_uids[r->plan.restart];
    rc = proa_reconcile_delete(r->ctx, &proa_kube_pods, &meta, NULL);
    if (rc < 0) {
        r->plan.restart = -1;
        return refused_in_part(r, rc, "Rejected", "let the operator delete its pods, by which it restarts instances");
    }
    r->changes++;
    PROA_INFO(r->ctx->logger, "restarting an instance", proa_kv_str("pod", meta.name));
    return 0;
}

/* -- Status ------------------------------------------------------------------------------------------------------------ */

static int write_status(struct reconciling *r)
{
    struct proa_reconcile *ctx = r->ctx;
    struct plan_report report;
    bool changed = false;
    proa_str body;

    PROA_TRY(plan_report(ctx->arena, &r->database, &r->facts, &r->plan, &r->outcome, &report));
    PROA_TRY(plan_status_body(ctx->arena, &report.status, &body));
    PROA_TRY(proa_reconcile_apply(ctx,
                                  &(struct proa_apply){.kind = &database_kind,
                                                       .namespace_ = ctx->namespace_,
                                                       .name = ctx->name,
                                                       .body = body,
                                                       .subresource = "status"},
                                  &changed));
    r->changes += changed;
    for (uint32_t i = 0; i < report.events_count; i++)
        proa_reconcile_event(ctx, &database_kind, &r->database.metadata,
                             report.events[i].is_warning ? PROA_EVENT_WARNING : PROA_EVENT_NORMAL,
                             report.events[i].reason, report.events[i].action, PROA_FMT,
                             PROA_ARG(report.events[i].note));
    if (changed && r->outcome.reason)
        PROA_WARN(ctx->logger, "cannot go on", proa_kv_c("reason", r->outcome.reason),
                  proa_kv_str("message", r->outcome.message));
    return 0;
}

/* -- Deletion ---------------------------------------------------------------------------------------------------------- */

struct found_claims {
    struct reconciling *r;
    struct proa_kube_meta metas[INSTANCES_MAX];
    uint32_t count;
};

static int note_claim(void *arg, const void *object)
{
    struct found_claims *found = arg;
    struct proa_arena *arena = found->r->ctx->arena;
    const struct proa_kube_meta *meta = &((const struct proa_kube_object *)object)->metadata;
    struct proa_kube_meta *copy = &found->metas[found->count];

    for (uint32_t i = 0; i < INSTANCES_MAX && found->count < INSTANCES_MAX; i++) {
        if (!proa_str_eq(meta->name, plan_claim_name(arena, found->r->database.metadata.name, i)))
            continue;
        copy->namespace_ = found->r->ctx->namespace_;
        copy->name = proa_arena_str(arena, meta->name);
        copy->uid = proa_arena_str(arena, meta->uid);
        if (!copy->name.ptr || !copy->uid.ptr)
            return PROA_ENOMEM;
        found->count++;
        break;
    }
    return 0;
}

/* Asks the API server itself: the cache of claims may lag behind that of the StatefulSet which is seen to be gone, and this is the last
 * time that anybody looks. */
static int delete_claims(struct reconciling *r)
{
    struct proa_reconcile *ctx = r->ctx;
    struct found_claims *found = proa_arena_new(ctx->arena, struct found_claims);
    struct proa_kube_list_options options = {
        .label_selector = proa_arena_printf(ctx->arena, "%s,app.kubernetes.io/instance=" PROA_FMT, OWNED_SELECTOR,
                                            PROA_ARG(r->database.metadata.name))};

    if (!found || !options.label_selector.ptr)
        return proa_fail(ctx->err, PROA_ENOMEM, "no memory for the claims");
    found->r = r;
    PROA_TRY(proa_kube_list(ctx->kube, ctx->arena, &proa_kube_claims, ctx->namespace_, &options,
                            &proa_kube_object_type.type, note_claim, found, NULL, ctx->err));
    for (uint32_t i = 0; i < found->count; i++)
        PROA_TRY(proa_reconcile_delete(ctx, &proa_kube_claims, &found->metas[i], NULL));
    return 0;
}

static int stop_instances(struct reconciling *r)
{
    struct proa_kube_meta meta = {
        .namespace_ = r->ctx->namespace_, .name = r->database.metadata.name, .uid = r->set_uid};
    struct proa_kube_delete_options background = {.propagation = "Background"};

    if (r->plan.delete_set)
        PROA_TRY(proa_reconcile_delete(r->ctx, &proa_kube_stateful_sets, &meta, &background));
    for (uint32_t i = 0; i < INSTANCES_MAX; i++) {
        if (!r->plan.delete_pods[i])
            continue;
        meta.name = plan_pod_name(r->ctx->arena, r->database.metadata.name, i);
        meta.uid = r->pod_uids[i];
        PROA_TRY(proa_reconcile_delete(r->ctx, &proa_kube_pods, &meta, NULL));
    }
    return 0;
}

static int carry_out_deletion(struct reconciling *r)
{
    static const char refused[] = "let the operator delete what belongs to it, or delete it yourself";

    if (!proa_kube_has_finalizer(&r->database.metadata, DATABASE_FINALIZER))
        return 0;
    PROA_TRY(apply_objects(r));
    if (!r->outcome.reason)
        PROA_TRY(refused_in_part(r, stop_instances(r), "Rejected", refused));
    if (!r->outcome.reason && r->plan.delete_claims)
        PROA_TRY(refused_in_part(r, delete_claims(r), "Rejected", refused));
    if (r->outcome.reason || !r->plan.remove_finalizer)
        return write_status(r);
    proa_reconcile_event(r->ctx, &database_kind, &r->database.metadata, PROA_EVENT_NORMAL, "Deleted", "Delete",
                         r->database.spec.deletion_policy == DELETION_RETAIN ? "volumes and credentials are kept"
                                                                             : "volumes and credentials are deleted");
    PROA_TRY(proa_reconcile_finalizer(r->ctx, &database_kind, &r->database.metadata, DATABASE_FINALIZER, false));
    PROA_INFO(r->ctx->logger, "deleted",
              proa_kv_str("policy", proa_enum_name(&deletion_policy_enum, (int)r->database.spec.deletion_policy)));
    return 0;
}

/* -- All of it --------------------------------------------------------------------------------------------------------- */

static int carry_out(struct reconciling *r)
{
    int rc;

    if (r->plan.add_finalizer) {
        PROA_TRY(proa_reconcile_finalizer(r->ctx, &database_kind, &r->database.metadata, DATABASE_FINALIZER, true));
        PROA_INFO(r->ctx->logger, "started",
                  proa_kv_str("engine", proa_enum_name(&database_engine_enum, (int)r->database.spec.engine)));
        r->changes++;
    }
    rc = apply_objects(r);
    PROA_TRY(rc);
    if (rc == 0 && (!r->outcome.reason || r->facts.has_set))
        PROA_TRY(mark_pods(r));
    if (rc == 0 && (!r->outcome.reason || r->outcome.is_partial)) {
        if (r->plan.is_growing)
            PROA_TRY(grow_storage(r));
        PROA_TRY(restart_pod(r));
    } else {
        r->plan.restart = -1;
    }
    PROA_TRY(write_status(r));
    if (r->changes > 0)
        PROA_INFO(r->ctx->logger, "applied", proa_kv_u64("changes", r->changes));
    else
        PROA_INFO(r->ctx->logger, "resynced");
    return 0;
}

/* -- What was verified before ------------------------------------------------------------------------------------------ */

static uint64_t mix(const struct proa_reconcile *ctx, uint64_t h, const struct proa_kube_kind *kind, proa_str name)
{
    const struct proa_cache *cache = proa_controller_cache(ctx->controller, kind);
    struct proa_cached cached;

    if (!cache || !proa_cache_get(cache, ctx->namespace_, name, &cached))
        return h * 31 + 1;
    return proa_str_hash(cached.resource_version, h);
}

static uint64_t mix_instance(const struct proa_reconcile *ctx, const struct instances *instances, uint64_t h,
                             uint32_t index)
{
    proa_str name = plan_pod_name(ctx->arena, ctx->name, index);
    struct proa_cached pod;

    h = mix(ctx, h, &proa_kube_pods, name);
    h = mix(ctx, h, &proa_kube_claims, plan_claim_name(ctx->arena, ctx->name, index));
    if (proa_cache_get(proa_controller_cache(ctx->controller, &proa_kube_pods), ctx->namespace_, name, &pod))
        h = h * 31 + instances_hash(instances, pod.uid);
    return h;
}

/* Over the versions of all that a plan is made from. Two that are equal mean that nothing has changed in between. */
static uint64_t fingerprint(const struct proa_reconcile *ctx, const struct instances *instances)
{
    static const struct {
        const struct proa_kube_kind *kind;
        const char *suffix;
    } owned[] = {{&database_kind, ""},
                 {&proa_kube_stateful_sets, ""},
                 {&proa_kube_secrets, "-credentials"},
                 {&proa_kube_config_maps, "-config"},
                 {&proa_kube_services, "-headless"},
                 {&proa_kube_services, "-rw"},
                 {&proa_kube_services, "-ro"},
                 {&proa_kube_disruption_budgets, ""},
                 {&proa_kube_network_policies, ""},
                 {&proa_kube_service_accounts, "-agent"},
                 {&proa_kube_roles, "-agent"},
                 {&proa_kube_role_bindings, "-agent"},
                 {&service_monitor_kind, ""}};
    char text[DATABASE_NAME_MAX + 64];
    uint64_t h = 1;

    for (size_t i = 0; i < PROA_COUNT(owned); i++) {
        size_t len = strlen(owned[i].suffix);

        if (ctx->name.len + len > sizeof text)
            return 0;
        memcpy(text, ctx->name.ptr, ctx->name.len);
        memcpy(text + ctx->name.len, owned[i].suffix, len);
        h = mix(ctx, h, owned[i].kind, proa_str_n(text, ctx->name.len + len));
    }
    for (uint32_t i = 0; i < INSTANCES_MAX; i++)
        h = mix_instance(ctx, instances, h, i);
    return h | 1;
}

/* A plan that found nothing to do, and that looked at nothing but the caches. */
static void note_verified(struct reconciling *r, struct database_controller *controller, uint64_t before)
{
    proa_str key = key_of(r->ctx);
    bool is_settled = before != 0 && r->changes == 0 && !r->outcome.reason && !r->plan.problem.reason &&
                      r->ctx->requeue_after_ns == 0 && r->database.spec.credentials_secret_name.len == 0;

    /* Without memory for it, the next one is whole again. */
    if (!is_settled)
        proa_map_remove(controller->verified, key);
    else
        proa_ignore(proa_map_put(controller->verified, key, (void *)(uintptr_t)before, NULL));
}

static int reconcile(struct proa_reconcile *ctx, void *arg)
{
    struct database_controller *controller = arg;
    struct reconciling *r;
    uint64_t before;
    int rc;

    instances_look(&controller->instances, ctx);
    before = fingerprint(ctx, &controller->instances);
    if (before != 0 && (uintptr_t)proa_map_get(controller->verified, key_of(ctx)) == (uintptr_t)before) {
        PROA_INFO(ctx->logger, "resynced");
        return 0;
    }
    r = proa_arena_new(ctx->arena, struct reconciling);

    if (!r)
        return proa_fail(ctx->err, PROA_ENOMEM, "no memory for a reconcile");
    r->ctx = ctx;
    r->settings = controller->settings;
    r->controller = controller;
    rc = proa_reconcile_object(ctx, &database_type, &r->database);
    if (rc == 0) {
        proa_map_remove(controller->verified, key_of(ctx));
        proa_map_remove(controller->missing, key_of(ctx));
    }
    if (rc <= 0)
        return rc;
    PROA_TRY(gather(r));
    if (plan_make(ctx->arena, &r->database, &r->facts, r->settings, &r->plan) < 0)
        return proa_fail(ctx->err, PROA_ENOMEM, "no memory for a plan");
    if (r->plan.is_deleting)
        return carry_out_deletion(r);
    PROA_TRY(carry_out(r));
    note_verified(r, controller, before);
    return 0;
}

/* Pods are the StatefulSet's; their label names the Database. */
static void map_pod(const void *object, void (*add)(void *ctx, proa_str namespace_, proa_str name), void *ctx)
{
    const struct pod *pod = object;

    if (pod->metadata.labels.instance.len > 0)
        add(ctx, pod->metadata.namespace_, pod->metadata.labels.instance);
}

/* By its name, "data-NAME-0": also one that is not ours stands where ours would be. */
static void map_claim(const void *object, void (*add)(void *ctx, proa_str namespace_, proa_str name), void *ctx)
{
    const struct claim *claim = object;
    proa_str name = claim->metadata.name;
    size_t end = name.len;

    while (end > 0 && name.ptr[end - 1] != '-')
        end--;
    if (proa_str_starts_with(name, PROA_STR("data-")) && end > strlen("data-") + 1)
        add(ctx, claim->metadata.namespace_, proa_str_slice(name, strlen("data-"), end - 1));
}

int database_controller_add(struct proa_manager *manager, const struct reconcile_options *options,
                            const struct plan_settings *settings, struct database_controller *controller,
                            struct proa_error *err)
{
    static const struct proa_kube_kind *const kinds[] = {
        &proa_kube_config_maps,   &proa_kube_services,           &proa_kube_service_accounts, &proa_kube_roles,
        &proa_kube_role_bindings, &proa_kube_disruption_budgets, &proa_kube_network_policies, &service_monitor_kind};
    struct proa_source owns[PROA_COUNT(kinds) + 3] = {
        {.kind = &proa_kube_stateful_sets, .type = &stateful_set_type.type},
        {.kind = &proa_kube_secrets, .type = &owned_secret_type.type},
    };
    struct proa_source watches[] = {{.kind = &proa_kube_pods, .type = &pod_type.type, .map = map_pod},
                                    {.kind = &proa_kube_claims, .type = &claim_type.type, .map = map_claim},
                                    {.kind = NULL}};
    size_t count = 2;

    *controller =
        (struct database_controller){.settings = settings, .verified = proa_map_new(0), .missing = proa_map_new(0)};
    if (!controller->verified || !controller->missing)
        return proa_fail(err, PROA_ENOMEM, "no memory for a controller");
    PROA_TRY(instances_start(&controller->instances, proa_kube_loop(options->kube), err));
    for (size_t i = 0; i < PROA_COUNT(kinds); i++)
        if (kinds[i] != &service_monitor_kind || settings->has_service_monitors)
            owns[count++].kind = kinds[i];
    for (size_t i = 0; i < count; i++) {
        owns[i].label_selector = OWNED_SELECTOR;
        owns[i].namespace_ = options->namespace_;
    }
    for (size_t i = 0; watches[i].kind; i++)
        watches[i].namespace_ = options->namespace_;
    /* All claims are looked at: the StatefulSet controller would take over one of a name that it needs, whoever made it. */
    watches[0].label_selector = OWNED_SELECTOR;
    return proa_controller_add(manager,
                               &(struct proa_controller_options){.name = "database",
                                                                 .reconcile = reconcile,
                                                                 .arg = controller,
                                                                 .for_ = {.kind = &database_kind,
                                                                          .type = &database_type.type,
                                                                          .namespace_ = options->namespace_,
                                                                          .predicate = proa_generation_changed},
                                                                 .crd = options->install_crd ? &database_crd : NULL,
                                                                 .owns = owns,
                                                                 .watches = watches,
                                                                 .concurrency = options->concurrency,
                                                                 .resync_ns = options->verify_ns,
                                                                 .backoff_first_ns = PROA_SECONDS(RETRY_FIRST_S),
                                                                 .backoff_max_ns = PROA_SECONDS(RETRY_MAX_S)},
                               NULL, err);
}

void database_controller_done(struct database_controller *controller)
{
    instances_stop(&controller->instances);
    proa_map_free(controller->verified);
    proa_map_free(controller->missing);
    controller->verified = controller->missing = NULL;
}
