/* Start and stop, and what tests reach past HTTP. */
#include "sim_kube_internal.h"

#include <stdlib.h>

enum { DRAIN_MS = 1000 };

static const struct proa_route routes[] = {
    {PROA_METHODS_ANY, "/{rest:path}", serve_request, .name = "api", .body_bytes_max = BODY_MAX_BYTES,
     .timeout_ms = UINT32_MAX},
};

static int add_namespaces(struct proa_sim_kube *kube)
{
    static const char *const names[] = {"default", "kube-node-lease", "kube-public", "kube-system"};

    for (size_t i = 0; i < PROA_COUNT(names); i++) {
        struct proa_buf json = {0};
        int rc;

        proa_buf_printf(&json, "{\"metadata\":{\"name\":\"%s\"}}", names[i]);
        rc = proa_sim_kube_put(kube, &proa_kube_namespaces, proa_buf_str(&json), "kube-apiserver", NULL);
        proa_buf_done(&json);
        PROA_TRY(rc);
    }
    return 0;
}

static void free_all(struct proa_sim_kube *kube)
{
    kube->is_stopping = true;
    proa_timer_stop(&kube->collector);
    proa_server_free(kube->server);
    proa_router_free(kube->router);
    store_done(kube);
    kinds_done(kube);
    proa_arena_done(&kube->arena);
    free(kube);
}

static int start(struct proa_sim_kube *kube, struct proa_error *err)
{
    struct proa_server_options options = {.loop = kube->loop, .address = kube->options.address, .state = kube};

    if (kinds_init(kube) < 0 || store_init(kube) < 0 || proa_router_new(&kube->router) < 0 || add_namespaces(kube) < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for an API server");
    PROA_TRY(proa_router_add(kube->router, "", NULL, routes, PROA_COUNT(routes), err));
    options.router = kube->router;
    options.limits.target_bytes = 32 * 1024;
    options.limits.head_bytes = 64 * 1024;
    return proa_server_start(&options, &kube->server, err);
}

int proa_sim_kube_start(const struct proa_sim_kube_options *options, struct proa_sim_kube **ret_kube,
                        struct proa_error *err)
{
    struct proa_sim_kube *kube = calloc(1, sizeof *kube);
    int rc;

    if (!kube)
        return proa_fail(err, PROA_ENOMEM, "no memory for an API server");
    kube->loop = options->loop;
    kube->options = *options;
    proa_arena_init(&kube->arena, NULL, 0);
    proa_prng_seed(&kube->chance, options->seed ? options->seed : proa_loop_random_u64(options->loop));
    proa_event_init(&kube->changed, kube->loop);
    proa_timer_init(&kube->collector, kube->loop, collector_run);
    rc = start(kube, err);
    if (rc < 0) {
        free_all(kube);
        return rc;
    }
    *ret_kube = kube;
    return 0;
}

void proa_sim_kube_stop(struct proa_sim_kube *kube)
{
    if (!kube)
        return;
    kube->is_stopping = true;
    proa_timer_stop(&kube->collector);
    proa_event_set(&kube->changed);
    proa_ignore(proa_server_drain(kube->server, 0, DRAIN_MS));
    free_all(kube);
}

void proa_sim_kube_address(const struct proa_sim_kube *kube, char *out)
{
    proa_server_address(kube->server, out);
}

void proa_sim_kube_set_faults(struct proa_sim_kube *kube, const struct proa_sim_kube_faults *faults)
{
    kube->options.faults = faults ? *faults : (struct proa_sim_kube_faults){0};
}

void proa_sim_kube_set_state(struct proa_sim_kube *kube, enum proa_sim_kube_state state)
{
    kube->state = state;
    kube->epoch++;
    proa_event_pulse(&kube->changed);
}

void proa_sim_kube_compact(struct proa_sim_kube *kube)
{
    store_forget(kube);
}

int proa_sim_kube_serve(struct proa_sim_kube *kube, const struct proa_kube_kind *names, bool has_status, bool has_scale)
{
    struct sim_kind *kind = kinds_add(kube, names);

    if (!kind)
        return PROA_ENOMEM;
    kind->is_custom = kind->needs_version = kind->has_generation = true;
    kind->has_status = has_status;
    kind->has_scale = has_scale;
    return 0;
}

proa_str proa_sim_kube_get(struct proa_sim_kube *kube, const struct proa_kube_kind *names, proa_str namespace_,
                           proa_str name)
{
    const struct sim_kind *kind = kinds_of(kube, names);
    const struct sim_object *object =
        kind ? store_find(kind, names->is_cluster_scoped ? PROA_STR("") : namespace_, name) : NULL;

    return object ? proa_str_n(object->now->text, object->now->len) : (proa_str){NULL, 0};
}

static int to_error(const struct call *call, struct proa_error *err)
{
    int code = call->failure.status == 404   ? PROA_ENOTFOUND
               : call->failure.status == 409 ? PROA_ECONFLICT
               : call->failure.status == 422 ? PROA_EVALIDATION
               : call->failure.status == 500 ? PROA_ENOMEM
                                             : PROA_EINVAL;

    return proa_fail(err, code, PROA_FMT, PROA_ARG(call->failure.message));
}

int proa_sim_kube_put(struct proa_sim_kube *kube, const struct proa_kube_kind *names, proa_str json,
                      const char *manager, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct call call = {.kube = kube,
                        .arena = &arena,
                        .kind = kinds_of(kube, names),
                        .manager = proa_str_c(manager ? manager : "test"),
                        .body = json};

    proa_arena_init(&arena, NULL, 0);
    if (!call.kind)
        return proa_fail(err, PROA_ENOTFOUND, "%s is not served", names->plural);
    return write_direct(&call) < 0 ? to_error(&call, err) : 0;
}

int proa_sim_kube_delete(struct proa_sim_kube *kube, const struct proa_kube_kind *names, proa_str namespace_,
                         proa_str name)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct call call = {.kube = kube,
                        .arena = &arena,
                        .kind = kinds_of(kube, names),
                        .namespace_ = names->is_cluster_scoped ? PROA_STR("") : namespace_,
                        .name = name};
    struct sim_object *object = call.kind ? store_find(call.kind, call.namespace_, name) : NULL;
    struct sim_snapshot *snapshot = NULL;

    proa_arena_init(&arena, NULL, 0);
    if (!object)
        return PROA_ENOTFOUND;
    if (delete_one(&call, object, (proa_str){NULL, 0}, &snapshot) < 0)
        return to_error(&call, NULL);
    snapshot_unref(snapshot);
    return 0;
}

size_t proa_sim_kube_count(const struct proa_sim_kube *kube, const struct proa_kube_kind *names)
{
    const struct sim_kind *kind = kinds_of(kube, names);

    return kind ? kind->objects.len : 0;
}

uint64_t proa_sim_kube_requests(const struct proa_sim_kube *kube)
{
    return kube->requests;
}

/* -- Dump ---------------------------------------------------------------------------------------------------------- */

static bool is_passing(proa_str name)
{
    static const char *const names[] = {"uid", "resourceVersion", "generation", "observedGeneration", "managedFields"};

    for (size_t i = 0; i < PROA_COUNT(names); i++)
        if (proa_str_eq_c(name, names[i]))
            return true;
    return proa_str_ends_with(name, PROA_STR("Time")) || proa_str_ends_with(name, PROA_STR("Timestamp"));
}

static void strip(tree *value)
{
    yyjson_mut_obj_iter members = yyjson_mut_obj_iter_with(value);
    yyjson_mut_arr_iter items = yyjson_mut_arr_iter_with(value);

    for (tree *key = yyjson_mut_obj_iter_next(&members); key; key = yyjson_mut_obj_iter_next(&members))
        if (is_passing(tree_text(key)))
            yyjson_mut_obj_iter_remove(&members);
        else
            strip(yyjson_mut_obj_iter_get_val(key));
    for (tree *item = yyjson_mut_arr_iter_next(&items); item; item = yyjson_mut_arr_iter_next(&items))
        strip(item);
}

int proa_sim_kube_dump(const struct proa_sim_kube *kube, struct proa_buf *out)
{
    const struct sim_kind *leases = kinds_of(kube, &proa_kube_leases), *events = kinds_of(kube, &proa_kube_events);

    for (size_t i = 0; i < kube->kinds.len; i++) {
        const struct sim_kind *kind = *(struct sim_kind **)proa_vec_at(&kube->kinds, i);

        for (size_t j = 0; j < kind->objects.len && kind != leases && kind != events; j++) {
            const struct sim_object *object = *(struct sim_object **)proa_vec_at(&kind->objects, j);
            yyjson_mut_doc *doc = yyjson_doc_mut_copy(object->now->doc, NULL);
            size_t len;
            char *text;

            if (!doc)
                return PROA_ENOMEM;
            strip(yyjson_mut_doc_get_root(doc));
            text = tree_write(yyjson_mut_doc_get_root(doc), &len);
            yyjson_mut_doc_free(doc);
            if (!text)
                return PROA_ENOMEM;
            proa_buf_add(out, proa_str_n(text, len));
            proa_buf_add_char(out, '\n');
            free(text);
        }
    }
    return out->error;
}
