/* Leader election. */
#include "leader.h"

#include "ready.h"

#include <stdio.h>
#include <unistd.h>

enum { LEASE_MS = 15000, RENEW_MS = 10000, RETRY_MS = 2000, RELEASE_MS = 2000, RELEASE_TRIES = 3 };

struct lease_spec {
    PROA_OPTIONAL(proa_str) holder;
    PROA_OPTIONAL(int32_t) duration;
    PROA_OPTIONAL(proa_time_ns) acquire_time;
    PROA_OPTIONAL(proa_time_ns) renew_time;
    PROA_OPTIONAL(int32_t) transitions;
};
PROA_DESCRIBE_WITH(lease_spec, (.unknown = PROA_UNKNOWN_IGNORE), (holder, optional(str), .json = "holderIdentity"),
                   (duration, optional(i32), .json = "leaseDurationSeconds"),
                   (acquire_time, optional(timestamp), .json = "acquireTime"),
                   (renew_time, optional(timestamp), .json = "renewTime"),
                   (transitions, optional(i32), .json = "leaseTransitions"));
struct lease_meta {
    proa_str resource_version;
};
PROA_DESCRIBE_WITH(lease_meta, (.unknown = PROA_UNKNOWN_IGNORE),
                   (resource_version, str, .json = "resourceVersion", .default_json = "\"\""));
struct lease {
    struct lease_meta metadata;
    struct lease_spec spec;
};
PROA_DESCRIBE_WITH(lease, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(lease_meta)),
                   (spec, object(lease_spec), .default_json = "{}"));

static struct proa_loop *loop_of(const struct leader *leader)
{
    return proa_kube_loop(leader->options.kube);
}

static bool keep_text(char *out, size_t bytes, proa_str text)
{
    if (text.len >= bytes)
        return false;
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

static void set_defaults(struct leader_options *options)
{
    options->lease_ms = options->lease_ms ? options->lease_ms : LEASE_MS;
    options->renew_ms = options->renew_ms ? options->renew_ms : RENEW_MS;
    options->retry_ms = options->retry_ms ? options->retry_ms : RETRY_MS;
}

int leader_check(const struct leader_options *options, struct proa_error *err)
{
    struct leader_options own = *options;

    set_defaults(&own);
    if (own.lease_ms <= own.renew_ms)
        return proa_fail(err, PROA_EINVAL,
                         "the lease %s lasts %u ms, which has to be longer than its renewals may take (%u ms): another "
                         "would lead too",
                         own.name, (unsigned)own.lease_ms, (unsigned)own.renew_ms);
    /* A pause between two tries may be a fifth longer. */
    if ((uint64_t)own.renew_ms * 5 <= (uint64_t)own.retry_ms * 6)
        return proa_fail(err, PROA_EINVAL,
                         "the lease %s is tried for every %u ms, which leaves no second try within %u ms", own.name,
                         (unsigned)own.retry_ms, (unsigned)own.renew_ms);
    return 0;
}

void leader_init(struct leader *leader, const struct leader_options *options)
{
    *leader = (struct leader){.options = *options};
    set_defaults(&leader->options);
    if (!options->identity || !keep_text(leader->identity, sizeof leader->identity, proa_str_c(options->identity))) {
        char host[64] = "";

        proa_ignore(gethostname(host, sizeof host - 1)); /* without one the random part must do */
        snprintf(leader->identity, sizeof leader->identity, "%s_%016llx", host,
                 (unsigned long long)proa_loop_random_u64(proa_kube_loop(options->kube)));
    }
}

/* -- The record ---------------------------------------------------------------------------------------------------- */

/* Keeps what the API server holds; a changed record is one that somebody renewed just now. */
static int observe(struct leader *leader, const struct lease *lease)
{
    proa_str holder = lease->spec.holder.presence == PROA_SET ? lease->spec.holder.value : PROA_STR("");
    proa_time_ns renew_time = lease->spec.renew_time.presence == PROA_SET ? lease->spec.renew_time.value : 0;
    bool changed = !leader->exists || !proa_str_eq_c(holder, leader->holder) || renew_time != leader->renew_time;

    if (!keep_text(leader->version, sizeof leader->version, lease->metadata.resource_version))
        return PROA_EPROTOCOL;
    /* One too long to keep is somebody else's all the same. */
    if (!keep_text(leader->holder, sizeof leader->holder, proa_utf8_cut(holder, sizeof leader->holder - 1)))
        return PROA_EPROTOCOL;
    leader->renew_time = renew_time;
    leader->acquire_time = lease->spec.acquire_time.presence == PROA_SET ? lease->spec.acquire_time.value : 0;
    leader->duration_s = lease->spec.duration.presence == PROA_SET ? lease->spec.duration.value : 0;
    leader->transitions = lease->spec.transitions.presence == PROA_SET ? lease->spec.transitions.value : 0;
    leader->exists = true;
    if (changed)
        leader->observed = proa_loop_now_exact(loop_of(leader));
    return 0;
}

static bool is_ours(const struct leader *leader)
{
    return leader->exists && strcmp(leader->holder, leader->identity) == 0;
}

static bool is_held_by_another(const struct leader *leader)
{
    int32_t seconds = leader->duration_s > 0 ? leader->duration_s : 0;

    return leader->exists && leader->holder[0] && !is_ours(leader) &&
           proa_loop_now_exact(loop_of(leader)) < leader->observed + PROA_SECONDS(seconds);
}

/* A request of its own rather than proa_kube_patch and the like: those wait behind all others, which may be slow for longer than a lease
 * lasts. */
static int ask(struct leader *leader, struct proa_arena *arena, struct proa_kube_request *request,
               struct lease *ret_lease, struct proa_error *err)
{
    proa_str body;
    int rc;

    request->kind = &proa_kube_leases;
    request->namespace_ = proa_str_c(leader->options.namespace_);
    request->is_urgent = true;
    rc = proa_kube_send(leader->options.kube, arena, request, &body, err);
    if (rc == 0)
        rc = proa_json_read(arena, body, PROA_JSON_LENIENT, &lease_type, ret_lease, err);
    if (rc < 0 && err && err->code)
        return proa_error_wrap(err, "%s Lease %s/%s", request->method ? request->method : "GET",
                               leader->options.namespace_, leader->options.name);
    return rc;
}

static int look(struct leader *leader, struct proa_arena *arena, struct proa_error *err)
{
    struct proa_kube_request request = {.name = proa_str_c(leader->options.name)};
    struct lease lease = {0};
    int rc = ask(leader, arena, &request, &lease, err);

    if (rc == PROA_ENOTFOUND) {
        leader->exists = false;
        return 0;
    }
    PROA_TRY(rc);
    return observe(leader, &lease);
}

static proa_time_ns now_in_micros(const struct leader *leader)
{
    return proa_loop_wall(loop_of(leader)) / 1000 * 1000; /* as MicroTime keeps it */
}

static void micro_time(struct proa_json_writer *w, const char *key, proa_time_ns time)
{
    char text[PROA_TIME_TEXT_MAX];

    proa_json_key(w, proa_str_c(key));
    proa_json_text(w, proa_str_n(text, proa_time_text(time, 6, text)));
}

/* With the version as its precondition, so that of two who try one fails. */
static int write_record(struct leader *leader, struct proa_arena *arena, const char *holder, uint32_t lease_ms,
                        struct proa_error *err)
{
    bool is_new_holder = strcmp(leader->holder, holder) != 0 || !leader->exists;
    struct proa_kube_request request = {.method = leader->exists ? "PATCH" : "POST"};
    proa_time_ns now = now_in_micros(leader);
    struct proa_json_writer w;
    struct proa_buf body, query;
    struct lease lease = {0};

    proa_buf_init(&query, arena, 0);
    kube_query_add(&query, "fieldManager", proa_str_c(proa_kube_field_manager(leader->options.kube)));
    proa_buf_init(&body, arena, 0);
    proa_json_writer_init(&w, &body);
    proa_json_object(&w);
    if (!leader->exists) {
        proa_json_key(&w, PROA_STR("apiVersion"));
        proa_json_text(&w, PROA_STR("coordination.k8s.io/v1"));
        proa_json_key(&w, PROA_STR("kind"));
        proa_json_text(&w, PROA_STR("Lease"));
    }
    proa_json_key(&w, PROA_STR("metadata"));
    proa_json_object(&w);
    proa_json_key(&w, leader->exists ? PROA_STR("resourceVersion") : PROA_STR("name"));
    proa_json_text(&w, proa_str_c(leader->exists ? leader->version : leader->options.name));
    proa_json_object_end(&w);
    proa_json_key(&w, PROA_STR("spec"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("holderIdentity"));
    proa_json_text(&w, proa_str_c(holder));
    proa_json_key(&w, PROA_STR("leaseDurationSeconds"));
    proa_json_i64(&w, (lease_ms + 999) / 1000);
    if (is_new_holder)
        micro_time(&w, "acquireTime", now);
    micro_time(&w, "renewTime", now);
    proa_json_key(&w, PROA_STR("leaseTransitions"));
    proa_json_i64(&w, leader->transitions + (is_new_holder && leader->exists && holder[0] ? 1 : 0));
    proa_json_object_end(&w);
    proa_json_object_end(&w);
    if (body.error < 0 || query.error < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for a lease");
    request.query = proa_buf_str(&query);
    request.body = proa_buf_str(&body);
    if (leader->exists) {
        request.name = proa_str_c(leader->options.name);
        request.content_type = "application/merge-patch+json";
    }
    leader->is_unsure = true;
    PROA_TRY(ask(leader, arena, &request, &lease, err));
    leader->is_unsure = false;
    return observe(leader, &lease);
}

/* One attempt to have it or to go on having it. @returns 1: it is ours, 0: another's, or an error. */
static int attempt(struct leader *leader, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    proa_mono_ns sent;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(loop_of(leader)), 0);
    /* While it is ours nobody else may write it: the record that we know must do. */
    if (!is_ours(leader))
        PROA_TRY(look(leader, &arena, err));
    if (is_held_by_another(leader))
        return 0;
    sent = proa_loop_now_exact(loop_of(leader));
    rc = write_record(leader, &arena, leader->identity, leader->options.lease_ms, err);
    if (rc == PROA_ECONFLICT || rc == PROA_EEXISTS || rc == PROA_ENOTFOUND) {
        /* Somebody wrote it meanwhile: perhaps just its labels. */
        if (leader->options.slow_paths)
            proa_counter_add(leader->options.slow_paths, proa_loop_index(loop_of(leader)), 1);
        if (err)
            proa_error_clear(err);
        PROA_TRY(look(leader, &arena, err));
        if (is_held_by_another(leader))
            return 0;
        sent = proa_loop_now_exact(loop_of(leader));
        rc = write_record(leader, &arena, leader->identity, leader->options.lease_ms, err);
    }
    PROA_TRY(rc);
    leader->renewed = sent;
    return 1;
}

/* In half of the time that a renewal has, so that an answer that does not come, since its connection leads nowhere, can be asked for once
 * more over another. */
static int attempt_in_time(struct leader *leader, struct proa_error *err)
{
    struct proa_kube *kube = leader->options.kube;
    struct proa_loop *loop = loop_of(leader);
    struct proa_deadline_scope scope =
        proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(leader->options.renew_ms / 2));
    int rc = attempt(leader, err);

    proa_deadline_leave(&scope);
    if (rc == PROA_ETIMEDOUT) {
        kube->is_transport_stale = true;
        kube_saw(kube, KUBE_SEEN_DOWN);
    } else if (rc >= 0 && kube->seen_as == KUBE_SEEN_DOWN) {
        kube_saw(kube, KUBE_SEEN_READY);
    }
    return rc;
}

/* -- Acquiring, holding, releasing --------------------------------------------------------------------------------- */

static void log_failure(const struct leader *leader, const char *what, const struct proa_error *err)
{
    if (leader->options.logger)
        proa_log_failure(leader->options.logger, PROA_LOG_WARN, what, err);
}

/* An API server that was away and has come back is asked at once. */
static int pause_for(struct leader *leader, bool has_failed)
{
    uint64_t ns = PROA_MS(leader->options.retry_ms);

    /* Up to a fifth longer, as client-go does, so that candidates do not march in step. */
    ns += proa_loop_random_u64(loop_of(leader)) % (ns / 5 + 1);
    return has_failed ? kube_wait_ready(leader->options.kube, ns, NULL) : proa_sleep(loop_of(leader), ns);
}

int leader_acquire(struct leader *leader)
{
    struct proa_loop *loop = loop_of(leader);

    for (;;) {
        struct proa_error err = {0};
        int rc = attempt_in_time(leader, &err);

        if (rc > 0)
            return 0;
        PROA_TRY(proa_fiber_check(loop));
        if (rc < 0)
            log_failure(leader, "lease not acquired", &err);
        PROA_TRY(pause_for(leader, rc < 0));
    }
}

bool leader_is_in_time(const struct leader *leader)
{
    return proa_loop_now_exact(loop_of(leader)) < leader->renewed + PROA_MS(leader->options.renew_ms);
}

int leader_hold(struct leader *leader)
{
    struct proa_loop *loop = loop_of(leader);

    for (;;) {
        proa_mono_ns until = leader->renewed + PROA_MS(leader->options.renew_ms);
        struct proa_error err = {0};
        struct proa_deadline_scope scope = proa_deadline_enter(loop, until);
        int rc = proa_sleep(loop, PROA_MS(leader->options.retry_ms));

        if (rc == 0)
            rc = attempt_in_time(leader, &err);
        proa_deadline_leave(&scope);
        PROA_TRY(proa_fiber_check(loop));
        if (rc > 0)
            continue;
        if (rc == 0 || !leader_is_in_time(leader))
            return PROA_ECONFLICT;
        log_failure(leader, "lease not renewed", &err);
    }
}

/* The record that we know may be older than a write of ours whose answer did not come. */
static int write_release(struct leader *leader, struct proa_arena *arena, struct proa_error *err)
{
    int rc = is_ours(leader) ? write_record(leader, arena, "", 1000, err) : PROA_ECONFLICT;

    for (int i = 1; i < RELEASE_TRIES && (rc == PROA_ECONFLICT || rc == PROA_EEXISTS); i++) {
        proa_error_clear(err);
        PROA_TRY(look(leader, arena, err));
        if (!is_ours(leader))
            return 0;
        rc = write_record(leader, arena, "", 1000, err);
    }
    return rc == PROA_ENOTFOUND ? 0 : rc;
}

void leader_release(struct leader *leader)
{
    struct proa_loop *loop = loop_of(leader);
    struct proa_shield_scope shield;
    struct proa_arena arena;
    struct proa_error err = {0};

    if (!is_ours(leader) && !leader->is_unsure)
        return;
    shield = proa_shield_enter(loop, PROA_MS(RELEASE_MS));
    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    if (write_release(leader, &arena, &err) < 0)
        log_failure(leader, "lease not released", &err);
    proa_arena_done(&arena);
    proa_shield_leave(&shield);
}
