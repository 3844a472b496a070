/* HTTP: which object a path means, which verb a method, and failures as Status. */
#include "sim_kube_internal.h"

#include "http/conn.h"
#include "http/req_internal.h"
#include <proa/text.h>
#include <proa/yaml.h>
#include <stdio.h>

enum { SEGMENTS_MAX = 8 };

/* -- Failures ------------------------------------------------------------------------------------------------------ */

static void fill_failure(struct call *call, int status, const char *reason, proa_str message)
{
    call->failure.status = status;
    call->failure.reason = reason;
    call->failure.message = message;
    if (!call->failure.kind) {
        call->failure.kind = call->kind;
        call->failure.name = call->name;
    }
}

int fail_call(struct call *call, int status, const char *reason, const char *format, ...)
{
    va_list args;
    proa_str message;

    va_start(args, format);
    message = proa_arena_vprintf(call->arena, format, args);
    va_end(args);
    fill_failure(call, status, reason, message);
    return -1;
}

int fail_not_found(struct call *call)
{
    if (!call->kind)
        return fail_call(call, 404, "NotFound", "the server could not find the requested resource");
    return fail_call(call, 404, "NotFound", PROA_FMT " \"" PROA_FMT "\" not found",
                     PROA_ARG(kind_qualified(call->arena, call->kind)), PROA_ARG(call->name));
}

int fail_memory(struct call *call)
{
    return fail_call(call, 500, "InternalError", "memory is out");
}

void add_cause(struct call *call, const char *reason, const char *field, const char *message)
{
    struct proa_buf *causes = &call->failure.causes;

    if (!causes->arena)
        proa_buf_init(causes, call->arena, 0);
    proa_buf_printf(causes, "%s{\"reason\":\"%s\",\"message\":", causes->len ? "," : "", reason);
    proa_json_escape(causes, proa_str_c(message));
    if (field[0]) {
        proa_buf_add_c(causes, ",\"field\":");
        proa_json_escape(causes, proa_str_c(field));
    }
    proa_buf_add_char(causes, '}');
}

int fail_invalid(struct call *call, const char *reason, const char *field, const char *format, ...)
{
    bool is_first = call->failure.causes.len == 0;
    const char *group = call->kind->names.group;
    va_list args;
    proa_str text;

    va_start(args, format);
    text = proa_arena_vprintf(call->arena, format, args);
    va_end(args);
    add_cause(call, reason, field, text.ptr);
    if (is_first)
        return fail_call(call, 422, "Invalid", "%s%s%s \"" PROA_FMT "\" is invalid: %s: " PROA_FMT,
                         call->kind->names.kind, group[0] ? "." : "", group, PROA_ARG(call->name), field,
                         PROA_ARG(text));
    return fail_call(call, 422, "Invalid", PROA_FMT ", %s: " PROA_FMT, PROA_ARG(call->failure.message), field,
                     PROA_ARG(text));
}

void write_status(struct proa_buf *out, struct proa_arena *arena, const struct failure *failure)
{
    struct proa_json_writer w;

    (void)arena;
    proa_json_writer_init(&w, out);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("kind"));
    proa_json_text(&w, PROA_STR("Status"));
    proa_json_key(&w, PROA_STR("apiVersion"));
    proa_json_text(&w, PROA_STR("v1"));
    proa_json_key(&w, PROA_STR("metadata"));
    proa_json_object(&w);
    proa_json_object_end(&w);
    proa_json_key(&w, PROA_STR("status"));
    proa_json_text(&w, PROA_STR("Failure"));
    proa_json_key(&w, PROA_STR("message"));
    proa_json_text(&w, failure->message);
    if (failure->reason[0]) {
        proa_json_key(&w, PROA_STR("reason"));
        proa_json_text(&w, proa_str_c(failure->reason));
    }
    proa_json_key(&w, PROA_STR("details"));
    proa_json_object(&w);
    if (failure->kind) {
        /* Invalid names the kind, the others the resource. */
        bool is_kind = failure->status == 422;

        proa_json_key(&w, PROA_STR("name"));
        proa_json_text(&w, failure->name);
        proa_json_key(&w, PROA_STR("group"));
        proa_json_text(&w, proa_str_c(failure->kind->names.group));
        proa_json_key(&w, PROA_STR("kind"));
        proa_json_text(&w, proa_str_c(is_kind ? failure->kind->names.kind : failure->kind->names.plural));
    }
    if (failure->causes.len) {
        proa_json_key(&w, PROA_STR("causes"));
        proa_json_array(&w);
        proa_json_raw(&w, proa_buf_str(&failure->causes));
        proa_json_array_end(&w);
    }
    if (failure->retry_after_s) {
        proa_json_key(&w, PROA_STR("retryAfterSeconds"));
        proa_json_u64(&w, failure->retry_after_s);
    }
    proa_json_object_end(&w);
    proa_json_key(&w, PROA_STR("code"));
    proa_json_i64(&w, failure->status);
    proa_json_object_end(&w);
}

static int reply_failure_status(struct call *call, struct proa_req *req)
{
    struct proa_buf out;

    proa_buf_init(&out, call->arena, 0);
    write_status(&out, call->arena, &call->failure);
    if (call->failure.retry_after_s) {
        char text[PROA_U64_TEXT_MAX];

        PROA_TRY(
            proa_reply_header(req, "Retry-After", proa_str_n(text, proa_u64_text(call->failure.retry_after_s, text))));
    }
    return proa_reply(req, call->failure.status, "application/json", proa_buf_str(&out));
}

int cut_connection(struct proa_req *req)
{
    /* As if the client had gone: nothing is sent any more. */
    conn_close(req->conn, true, PROA_ECLOSED);
    return PROA_ECLOSED;
}

bool sim_kube_chance(struct proa_sim_kube *kube, double probability)
{
    return probability > 0 && proa_prng_double(&kube->chance) < probability;
}

/* -- What is asked ------------------------------------------------------------------------------------------------- */

proa_str call_query(struct call *call, const char *name)
{
    proa_str rest = call->query, pair;

    while (proa_str_split(&rest, '&', &pair)) {
        proa_str key = {NULL, 0}, value;

        if (!proa_str_split(&pair, '=', &key) || !proa_str_eq_c(key, name))
            continue;
        return proa_percent_decode(call->arena, pair, true, &value) < 0 ? (proa_str){NULL, 0} : value;
    }
    return (proa_str){NULL, 0};
}

static size_t split_path(struct call *call, proa_str path, proa_str segments[static SEGMENTS_MAX + 1])
{
    size_t count = 0;
    proa_str part;

    while (count <= SEGMENTS_MAX && proa_str_split(&path, '/', &part))
        if (part.len && proa_percent_decode(call->arena, part, false, &segments[count]) == 0)
            count++;
    return count;
}

/* "/apis/apps/v1/namespaces/x/statefulsets/y/status" */
static bool parse_path(struct call *call, proa_str path)
{
    proa_str all[SEGMENTS_MAX + 1], *segments = all, group = PROA_STR(""), version;
    size_t count = split_path(call, path, all);
    bool is_core = count > 0 && proa_str_eq_c(segments[0], "api");

    if (count > SEGMENTS_MAX || count < 3 || (!is_core && !proa_str_eq_c(segments[0], "apis")))
        return false;
    if (!is_core)
        group = segments[1];
    version = segments[is_core ? 1 : 2];
    segments += is_core ? 2 : 3;
    count -= is_core ? 2 : 3;
    if (count >= 3 && proa_str_eq_c(segments[0], "namespaces") && !proa_str_eq_c(segments[2], "status") &&
        !proa_str_eq_c(segments[2], "finalize")) {
        call->namespace_ = segments[1];
        segments += 2;
        count -= 2;
    }
    if (count < 1 || count > 3)
        return false;
    call->kind = kinds_find(call->kube, group, version, segments[0]);
    if (count > 1)
        call->name = segments[1];
    if (count > 2)
        call->subresource = segments[2];
    if (!call->kind || !call->kind->is_served || (call->kind->names.is_cluster_scoped && call->namespace_.len) ||
        (call->name.len && !call->namespace_.len && !call->kind->names.is_cluster_scoped)) {
        call->kind = NULL;
        return false;
    }
    if (!call->subresource.len || (proa_str_eq_c(call->subresource, "status") && call->kind->has_status) ||
        (proa_str_eq_c(call->subresource, "scale") && call->kind->has_scale))
        return true;
    call->kind = NULL;
    return false;
}

/* -- Verbs --------------------------------------------------------------------------------------------------------- */

static int reply_snapshot(struct call *call, struct proa_req *req, int status, struct sim_snapshot *snapshot)
{
    struct proa_buf scale;
    int rc;

    if (proa_str_eq_c(call->subresource, "scale")) {
        proa_buf_init(&scale, call->arena, 0);
        rc = read_scale(call, snapshot, &scale);
        if (rc == 0)
            rc = proa_reply(req, status, "application/json", proa_buf_str(&scale));
    } else {
        rc = proa_reply(req, status, "application/json", proa_str_n(snapshot->text, snapshot->len));
    }
    snapshot_unref(snapshot);
    return rc;
}

static int reply_deleted(struct call *call, struct proa_req *req, const char *uid)
{
    struct proa_buf out;

    proa_buf_init(&out, call->arena, 0);
    proa_buf_printf(&out,
                    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\",\"details\":"
                    "{\"name\":\"" PROA_FMT "\",\"group\":\"%s\",\"kind\":\"%s\",\"uid\":\"%s\"}}",
                    PROA_ARG(call->name), call->kind->names.group, call->kind->names.plural, uid);
    return proa_reply(req, 200, "application/json", proa_buf_str(&out));
}

static int serve_delete(struct call *call, struct proa_req *req, bool loses_answer)
{
    struct sim_object *object = store_find(call->kind, call->namespace_, call->name);
    struct sim_snapshot *snapshot = NULL;
    char *uid;

    if (!object)
        return fail_not_found(call);
    uid = proa_arena_cstr(call->arena, meta_value(snapshot_root(object->now), "uid"));
    if (!uid)
        return fail_memory(call);
    if (delete_one(call, object, call->body, &snapshot) < 0)
        return -1;
    if (loses_answer) {
        snapshot_unref(snapshot);
        return cut_connection(req);
    }
    return snapshot ? reply_snapshot(call, req, 200, snapshot) : reply_deleted(call, req, uid);
}

static int serve_delete_all(struct call *call, struct proa_req *req)
{
    struct selectors selectors;
    struct proa_buf out;

    proa_buf_init(&out, call->arena, 0);
    if (selectors_read(call, &selectors) < 0 || read_list(call, &out) < 0)
        return -1;
    for (size_t i = call->kind->objects.len; i-- > 0;) {
        struct sim_object *object = *(struct sim_object **)proa_vec_at(&call->kind->objects, i);
        struct sim_snapshot *snapshot = NULL;

        if ((call->namespace_.len && !proa_str_eq(object->namespace_, call->namespace_)) ||
            !selectors_match(&selectors, object->now))
            continue;
        if (delete_one(call, object, call->body, &snapshot) < 0)
            return -1;
        snapshot_unref(snapshot);
    }
    return proa_reply(req, 200, "application/json", proa_buf_str(&out));
}

static int serve_get(struct call *call, struct proa_req *req)
{
    struct sim_object *object;
    struct proa_buf out;

    if (!call->name.len) {
        proa_buf_init(&out, call->arena, 0);
        if (read_list(call, &out) < 0)
            return -1;
        return proa_reply(req, 200, "application/json", proa_buf_str(&out));
    }
    object = store_find(call->kind, call->namespace_, call->name);
    if (!object)
        return fail_not_found(call);
    return reply_snapshot(call, req, 200, snapshot_ref(object->now));
}

static int read_patch_type(struct call *call, enum patch_type *ret_type)
{
    if (proa_str_starts_with(call->content_type, PROA_STR("application/apply-patch+yaml"))) {
        if (!call_query(call, "fieldManager").len)
            return fail_call(
                call, 422, "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply "
                "patch");
        *ret_type = WRITE_APPLY;
    } else if (proa_str_starts_with(call->content_type, PROA_STR("application/merge-patch+json"))) {
        *ret_type = WRITE_MERGE;
    } else if (proa_str_starts_with(call->content_type, PROA_STR("application/json-patch+json"))) {
        *ret_type = WRITE_JSON;
    } else {
        return fail_call(call, 415, "UnsupportedMediaType",
                         "the body of the request was in an unknown format - accepted media types include: "
                         "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
    }
    return 0;
}

static int serve_write(struct call *call, struct proa_req *req, bool loses_answer)
{
    struct sim_snapshot *snapshot = NULL;
    enum patch_type type = WRITE_REPLACE;
    bool created = false;

    if (proa_str_eq_c(call->method, "POST")) {
        created = true;
        if (write_create(call, &snapshot) < 0)
            return -1;
    } else {
        if (proa_str_eq_c(call->method, "PATCH") && read_patch_type(call, &type) < 0)
            return -1;
        if (write_change(call, type, &snapshot, &created) < 0)
            return -1;
    }
    if (loses_answer) {
        snapshot_unref(snapshot);
        return cut_connection(req);
    }
    return reply_snapshot(call, req, created ? 201 : 200, snapshot);
}

static int fail_method(struct call *call)
{
    return fail_call(call, 405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
}

static int serve_object(struct call *call, struct proa_req *req, bool loses_answer)
{
    proa_str watch = call_query(call, "watch");

    if (proa_str_eq_c(call->method, "GET")) {
        if (!call->name.len && (proa_str_eq_c(watch, "true") || proa_str_eq_c(watch, "1")))
            return watch_serve(call, req);
        return loses_answer ? cut_connection(req) : serve_get(call, req);
    }
    if (proa_str_eq_c(call->method, "DELETE"))
        return call->subresource.len ? fail_method(call)
               : call->name.len      ? serve_delete(call, req, loses_answer)
                                     : serve_delete_all(call, req);
    if (proa_str_eq_c(call->method, "POST")
            ? call->name.len > 0 || (!call->namespace_.len && !call->kind->names.is_cluster_scoped)
            : !call->name.len)
        return fail_method(call);
    if (proa_str_eq_c(call->method, "POST") || proa_str_eq_c(call->method, "PUT") ||
        proa_str_eq_c(call->method, "PATCH"))
        return serve_write(call, req, loses_answer);
    return fail_method(call);
}

/* -- Faults -------------------------------------------------------------------------------------------------------- */

/* One that is starting knows neither roles nor priorities yet. */
/* Roles are not read yet: who asks whether it is ready is refused, or told that it is not. */
static int serve_starting(struct call *call, struct proa_req *req, proa_str path)
{
    if (proa_str_starts_with(path, PROA_STR("/readyz")) && sim_kube_chance(call->kube, 0.5))
        return proa_reply(req, 500, "text/plain",
                          PROA_STR("[-]poststarthook/start-apiextensions-controllers failed\n"));
    if (proa_str_starts_with(path, PROA_STR("/readyz")) || sim_kube_chance(call->kube, 0.5))
        return fail_call(call, 403, "Forbidden", "User \"admin\" cannot do this yet: RBAC: roles are not yet known");
    call->failure.retry_after_s = 1;
    return fail_call(call, 429, "TooManyRequests",
                     "the server has received too many requests and has asked us to try again later");
}

static bool is_write(const struct call *call)
{
    return !proa_str_eq_c(call->method, "GET") && !proa_str_eq_c(call->method, "HEAD");
}

static int serve_faulty(struct call *call, struct proa_req *req, proa_str path)
{
    struct proa_sim_kube *kube = call->kube;
    const struct proa_sim_kube_faults *faults = &kube->options.faults;
    struct proa_buf out;
    int status;

    if (sim_kube_chance(kube, faults->unavailable)) {
        bool is_busy = sim_kube_chance(kube, 0.5);

        call->failure.retry_after_s = is_busy ? 1 : 0;
        return is_busy
                   ? fail_call(call, 429, "TooManyRequests", "too many requests, please try again later")
                   : fail_call(call, 503, "ServiceUnavailable", "the server is currently unable to handle the request");
    }
    if (proa_str_eq_c(path, "/readyz") || proa_str_eq_c(path, "/livez") || proa_str_eq_c(path, "/healthz"))
        return proa_reply(req, 200, "text/plain", PROA_STR("ok"));
    if (proa_str_eq_c(path, "/apis/authentication.k8s.io/v1/selfsubjectreviews") && is_write(call))
        return serve_self_review(call, req);
    proa_buf_init(&out, call->arena, 0);
    if (read_discovery(kube, call->arena, path, &out, &status)) {
        if (status == 404)
            return fail_not_found(call);
        return proa_reply(req, status, "application/json", proa_buf_str(&out));
    }
    if (!parse_path(call, path))
        return fail_not_found(call);
    if (is_write(call) && sim_kube_chance(kube, faults->conflict))
        return fail_call(
            call, 409, "Conflict",
            "Operation cannot be fulfilled on " PROA_FMT " \"" PROA_FMT
            "\": the object has been modified; please apply your changes to the latest version and try again",
            PROA_ARG(kind_qualified(call->arena, call->kind)), PROA_ARG(call->name));
    if (is_write(call) && faults->broken && call->name.len &&
        proa_str_starts_with(call->name, proa_str_c(faults->broken)))
        return fail_call(call, 500, "InternalError",
                         "Internal error occurred: failed calling webhook \"all.example.com\": no endpoints available");
    return serve_object(call, req, sim_kube_chance(kube, faults->lose_answer));
}

static int read_request(struct call *call, struct proa_req *req)
{
    proa_str json, manager, agent = proa_req_header(req, "User-Agent");

    if (proa_str_eq_c(call->method, "GET"))
        return 0;
    PROA_TRY(proa_req_body(req, &call->body));
    if (proa_str_starts_with(call->content_type, PROA_STR("application/apply-patch+yaml")) ||
        proa_str_starts_with(call->content_type, PROA_STR("application/yaml"))) {
        if (proa_yaml_to_json(call->arena, call->body, &json, proa_req_error(req)) < 0)
            return fail_call(call, 400, "BadRequest", "error decoding YAML: %s", proa_req_error(req)->message);
        call->body = json;
    }
    manager = call_query(call, "fieldManager");
    /* As the API server does: what comes before the first slash of the user agent. */
    if (!manager.len && agent.len)
        proa_ignore(proa_str_split(&agent, '/', &manager));
    call->manager = manager.len ? manager : PROA_STR("unknown");
    call->force = proa_str_eq_c(call_query(call, "force"), "true");
    call->dry_run = proa_str_eq_c(call_query(call, "dryRun"), "All");
    call->validation = call_query(call, "fieldValidation");
    return 0;
}

int serve_request(struct proa_req *req)
{
    struct proa_sim_kube *kube = proa_req_state(req);
    struct call call = {.kube = kube,
                        .arena = proa_req_arena(req),
                        .method = proa_req_method_text(req),
                        .query = proa_req_query_text(req),
                        .content_type = proa_req_header(req, "Content-Type")};
    proa_str path = proa_req_path(req);
    int rc;

    kube->requests++;
    if (kube->options.on_request)
        kube->options.on_request(kube->options.arg, kube->requests, proa_arena_cstr(call.arena, call.method), path);
    if (kube->state == PROA_SIM_KUBE_DOWN || sim_kube_chance(kube, kube->options.faults.lose_request))
        return cut_connection(req);
    if (kube->options.faults.delay_max_ns)
        PROA_TRY(proa_sleep(kube->loop, proa_prng_below(&kube->chance, kube->options.faults.delay_max_ns)));
    rc = read_request(&call, req);
    if (rc == 0)
        rc = kube->state == PROA_SIM_KUBE_STARTING ? serve_starting(&call, req, path) : serve_faulty(&call, req, path);
    if (rc < 0 && call.failure.status && proa_reply_status(req) == 0)
        return reply_failure_status(&call, req);
    return rc;
}
