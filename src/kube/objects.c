/* Objects: get, create, replace, patch, delete, finalizers, discovery. */
#include "client_internal.h"

static int wrap(struct proa_error *err, int rc, const char *verb, const struct proa_kube_kind *kind,
                proa_str namespace_, proa_str name)
{
    if (!err || !err->code)
        return rc;
    return proa_error_wrap(err, "%s %s " PROA_FMT "%s" PROA_FMT, verb, kind->kind, PROA_ARG(namespace_),
                           namespace_.len ? "/" : "", PROA_ARG(name));
}

static int read_object(struct proa_arena *arena, proa_str body, const struct proa_type *type, void *ret_object,
                       struct proa_error *err)
{
    int rc;

    if (!type)
        return 0;
    rc = proa_json_read_type(arena, body, PROA_JSON_LENIENT, type, ret_object, err);
    if (rc == PROA_ESYNTAX || rc == PROA_EVALIDATION)
        return err ? proa_error_wrap(err, "the API server's object") : rc;
    return rc;
}

int proa_kube_get_type(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                       proa_str namespace_, proa_str name, const struct proa_type *type, void *ret_object,
                       struct proa_error *err)
{
    return proa_kube_get_subresource_type(kube, arena, kind, namespace_, name, NULL, type, ret_object, err);
}

int proa_kube_get_subresource_type(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                                   proa_str namespace_, proa_str name, const char *subresource,
                                   const struct proa_type *type, void *ret_object, struct proa_error *err)
{
    const struct proa_kube_request request = {
        .kind = kind, .namespace_ = namespace_, .name = name, .subresource = subresource};
    proa_str body;
    int rc = proa_kube_send(kube, arena, &request, &body, err);

    if (rc == 0)
        rc = read_object(arena, body, type, ret_object, err);
    return rc < 0 ? wrap(err, rc, "get", kind, namespace_, name) : 0;
}

/* Puts apiVersion, kind and metadata.name in front of what the body holds; one that begins with apiVersion is whole
 * already. */
static int complete(struct proa_arena *arena, const struct proa_kube_kind *kind, proa_str name, proa_str body,
                    proa_str *ret_body, struct proa_error *err)
{
    const proa_str metadata = PROA_STR("\"metadata\":{");
    proa_str rest = proa_str_slice(body, 1, body.len);
    struct proa_buf out;

    if (body.len < 2 || body.ptr[0] != '{')
        return proa_fail(err, PROA_EINVAL, "the object is no JSON object");
    if (proa_str_starts_with(rest, PROA_STR("\"apiVersion\":"))) {
        *ret_body = body;
        return 0;
    }
    proa_buf_init(&out, arena, 0);
    proa_buf_add_c(&out, "{\"apiVersion\":");
    proa_json_escape(&out, proa_kube_api_version(arena, kind));
    proa_buf_add_c(&out, ",\"kind\":");
    proa_json_escape(&out, proa_str_c(kind->kind));
    if (name.len > 0) {
        proa_buf_add_c(&out, ",\"metadata\":{\"name\":");
        proa_json_escape(&out, name);
        if (proa_str_starts_with(rest, metadata))
            rest = proa_str_slice(rest, metadata.len, rest.len);
        else
            proa_buf_add_char(&out, '}');
    }
    if (rest.ptr[0] != '}')
        proa_buf_add_char(&out, ',');
    proa_buf_add(&out, rest);
    if (out.error < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for an object");
    *ret_body = proa_buf_str(&out);
    return 0;
}

static int write(struct proa_kube *kube, struct proa_arena *arena, struct proa_kube_request *request, const char *verb,
                 proa_str name, const struct proa_type *type, void *ret_object, struct proa_error *err)
{
    proa_str body;
    int rc = proa_kube_send(kube, arena, request, &body, err);

    if (rc == 0)
        rc = read_object(arena, body, type, ret_object, err);
    return rc < 0 ? wrap(err, rc, verb, request->kind, request->namespace_, name) : 0;
}

/* Of whole objects. */
static int write_query(struct proa_kube *kube, struct proa_arena *arena, proa_str *ret_query, struct proa_error *err)
{
    struct proa_buf query;

    proa_buf_init(&query, arena, 0);
    kube_query_add(&query, "fieldManager", proa_str_c(kube->options.field_manager));
    kube_query_add(&query, "fieldValidation", PROA_STR("Strict"));
    if (query.error < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for a request");
    *ret_query = proa_buf_str(&query);
    return 0;
}

int proa_kube_create(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                     proa_str namespace_, proa_str body, const struct proa_type *type, void *ret_object,
                     struct proa_error *err)
{
    struct proa_kube_request request = {.method = "POST", .kind = kind, .namespace_ = namespace_};

    PROA_TRY(write_query(kube, arena, &request.query, err));
    PROA_TRY(complete(arena, kind, (proa_str){NULL, 0}, body, &request.body, err));
    return write(kube, arena, &request, "create", PROA_STR(""), type, ret_object, err);
}

int proa_kube_replace(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                      proa_str namespace_, proa_str name, const char *subresource, proa_str body,
                      const struct proa_type *type, void *ret_object, struct proa_error *err)
{
    struct proa_kube_request request = {
        .method = "PUT", .kind = kind, .namespace_ = namespace_, .name = name, .subresource = subresource};

    PROA_TRY(write_query(kube, arena, &request.query, err));
    PROA_TRY(complete(arena, kind, name, body, &request.body, err));
    return write(kube, arena, &request, "replace", name, type, ret_object, err);
}

int proa_kube_patch(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                    proa_str namespace_, proa_str name, proa_str body, const struct proa_kube_patch_options *options,
                    const struct proa_type *type, void *ret_object, struct proa_error *err)
{
    static const char *const content_types[] = {
        [PROA_KUBE_APPLY] = "application/apply-patch+yaml",
        [PROA_KUBE_MERGE] = "application/merge-patch+json",
        [PROA_KUBE_JSON] = "application/json-patch+json",
    };
    struct proa_kube_request request = {.method = "PATCH",
                                        .kind = kind,
                                        .namespace_ = namespace_,
                                        .name = name,
                                        .subresource = options->subresource,
                                        .content_type = content_types[options->kind],
                                        .body = body};
    struct proa_buf query;

    proa_buf_init(&query, arena, 0);
    kube_query_add(&query, "fieldManager",
                   proa_str_c(options->field_manager ? options->field_manager : kube->options.field_manager));
    if (options->kind == PROA_KUBE_APPLY)
        kube_query_add(&query, "force", options->force ? PROA_STR("true") : PROA_STR("false"));
    if (options->dry_run)
        kube_query_add(&query, "dryRun", PROA_STR("All"));
    kube_query_add(&query, "fieldValidation", PROA_STR("Strict"));
    if (query.error < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for a request");
    request.query = proa_buf_str(&query);
    if (options->kind == PROA_KUBE_APPLY)
        PROA_TRY(complete(arena, kind, name, body, &request.body, err));
    return write(kube, arena, &request, options->kind == PROA_KUBE_APPLY ? "apply" : "patch", name, type, ret_object,
                 err);
}

int proa_kube_delete(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                     proa_str namespace_, proa_str name, const struct proa_kube_delete_options *options,
                     struct proa_error *err)
{
    struct proa_json_writer w;
    struct proa_buf body;
    proa_str ignored;
    int rc;

    proa_buf_init(&body, arena, 0);
    proa_json_writer_init(&w, &body);
    proa_json_object(&w);
    if (options && options->propagation) {
        proa_json_key(&w, PROA_STR("propagationPolicy"));
        proa_json_text(&w, proa_str_c(options->propagation));
    }
    if (options && options->grace_s != 0) {
        proa_json_key(&w, PROA_STR("gracePeriodSeconds"));
        proa_json_i64(&w, options->grace_s < 0 ? 0 : options->grace_s);
    }
    if (options && (options->uid.len > 0 || options->resource_version.len > 0)) {
        proa_json_key(&w, PROA_STR("preconditions"));
        proa_json_object(&w);
        if (options->uid.len > 0) {
            proa_json_key(&w, PROA_STR("uid"));
            proa_json_text(&w, options->uid);
        }
        if (options->resource_version.len > 0) {
            proa_json_key(&w, PROA_STR("resourceVersion"));
            proa_json_text(&w, options->resource_version);
        }
        proa_json_object_end(&w);
    }
    proa_json_object_end(&w);
    if (body.error < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for a request");
    rc = proa_kube_send(
        kube, arena,
        &(struct proa_kube_request){
            .method = "DELETE", .kind = kind, .namespace_ = namespace_, .name = name, .body = proa_buf_str(&body)},
        &ignored, err);
    return rc < 0 ? wrap(err, rc, "delete", kind, namespace_, name) : 0;
}

struct discovered {
    proa_str name;
};
PROA_DESCRIBE_WITH(discovered, (.unknown = PROA_UNKNOWN_IGNORE), (name, str));
struct discovery {
    PROA_ARRAY_OF(struct discovered) resources;
};
PROA_DESCRIBE_WITH(discovery, (.unknown = PROA_UNKNOWN_IGNORE),
                   (resources, array(object(discovered)), .default_json = "[]"));

int proa_kube_is_served(struct proa_kube *kube, const struct proa_kube_kind *kind, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct discovery discovery;
    proa_str path, body;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(kube->options.loop), 0);
    path = kind->group[0] ? proa_arena_printf(&arena, "/apis/%s/%s", kind->group, kind->version)
                          : proa_arena_printf(&arena, "/api/%s", kind->version);
    if (!path.ptr)
        return proa_fail(err, PROA_ENOMEM, "no memory for a request");
    rc = proa_kube_send(kube, &arena, &(struct proa_kube_request){.path = path}, &body, err);
    if (rc == PROA_ENOTFOUND) {
        if (err)
            proa_error_clear(err);
        return 0;
    }
    PROA_TRY(rc);
    PROA_TRY(proa_json_read(&arena, body, PROA_JSON_LENIENT, &discovery_type, &discovery, err));
    for (size_t i = 0; i < discovery.resources.len; i++)
        if (proa_str_eq_c(discovery.resources.ptr[i].name, kind->plural))
            return 1;
    return 0;
}

/* -- Finalizers ---------------------------------------------------------------------------------------------------- */

enum { TAKE_OUT_MAX = 3 };

struct finalizing {
    struct proa_kube *kube;
    struct proa_arena *arena;
    const struct proa_kube_kind *kind;
    proa_str namespace_, name, uid;
    const char *finalizer, *manager;
    struct proa_error *err;
};

static int send_finalizers(const struct finalizing *f, enum proa_kube_patch_kind kind, const struct proa_buf *body,
                           struct proa_kube_object *ret_object)
{
    const struct proa_kube_patch_options options = {.kind = kind, .force = true, .field_manager = f->manager};

    if (body->error < 0)
        return proa_fail(f->err, PROA_ENOMEM, "no memory for a finalizer");
    return proa_kube_patch(f->kube, f->arena, f->kind, f->namespace_, f->name, proa_buf_str(body), &options,
                           &proa_kube_object_type.type, ret_object, f->err);
}

/* Under a manager of its own, since an apply owns just what it names: with the finalizer it is there, without it is
 * gone, unless another manager owns it too. */
static int apply_finalizer(const struct finalizing *f, bool is_wanted, struct proa_kube_object *ret_object)
{
    struct proa_buf body;

    proa_buf_init(&body, f->arena, 0);
    proa_buf_add_c(&body, "{\"metadata\":{\"uid\":");
    proa_json_escape(&body, f->uid);
    if (is_wanted) {
        proa_buf_add_c(&body, ",\"finalizers\":[");
        proa_json_escape(&body, proa_str_c(f->finalizer));
        proa_buf_add_char(&body, ']');
    }
    proa_buf_add_c(&body, "}}");
    return send_finalizers(f, PROA_KUBE_APPLY, &body, ret_object);
}

/* Whoever owns it; only from this version of the object. */
static int take_out(const struct finalizing *f, const struct proa_kube_meta *from, struct proa_kube_object *ret_object)
{
    struct proa_buf body;
    size_t kept = 0;

    proa_buf_init(&body, f->arena, 0);
    proa_buf_add_c(&body, "{\"metadata\":{\"resourceVersion\":");
    proa_json_escape(&body, from->resource_version);
    proa_buf_add_c(&body, ",\"finalizers\":[");
    for (size_t i = 0; i < from->finalizers.len; i++) {
        if (proa_str_eq_c(from->finalizers.ptr[i], f->finalizer))
            continue;
        if (kept++ > 0)
            proa_buf_add_char(&body, ',');
        proa_json_escape(&body, from->finalizers.ptr[i]);
    }
    proa_buf_add_c(&body, "]}}");
    return send_finalizers(f, PROA_KUBE_MERGE, &body, ret_object);
}

static void forget(struct proa_error *err)
{
    if (err)
        proa_error_clear(err);
}

static bool is_over(const struct proa_kube_meta *meta)
{
    return meta->deletion_timestamp.presence == PROA_SET && meta->finalizers.len == 0;
}

static int remove_finalizer(const struct finalizing *f, struct proa_kube_object *ret_object)
{
    struct proa_kube_object object = {0};
    int rc = apply_finalizer(f, false, &object);

    for (int i = 0;; i++) {
        /* Another object of that name, somebody's change, or a webhook's word: what is there tells. */
        if (rc == PROA_ECONFLICT) {
            forget(f->err);
            rc = proa_kube_get(f->kube, f->arena, f->kind, f->namespace_, f->name, &proa_kube_object_type, &object,
                               f->err);
        }
        if (rc == PROA_ENOTFOUND || (rc == 0 && !proa_str_eq(object.metadata.uid, f->uid))) {
            forget(f->err);
            *ret_object = (struct proa_kube_object){0};
            return 0;
        }
        PROA_TRY(rc);
        if (!proa_kube_has_finalizer(&object.metadata, f->finalizer)) {
            *ret_object = is_over(&object.metadata) ? (struct proa_kube_object){0} : object;
            return 0;
        }
        if (i == TAKE_OUT_MAX)
            return proa_fail(f->err, PROA_ECONFLICT, "the finalizer %s of %s " PROA_FMT " cannot be taken off",
                             f->finalizer, f->kind->kind, PROA_ARG(f->name));
        rc = take_out(f, &object.metadata, &object);
    }
}

int kube_set_finalizer(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                       const struct proa_kube_meta *meta, const char *finalizer, bool is_wanted,
                       struct proa_kube_object *ret_object, struct proa_error *err)
{
    const struct finalizing f = {
        .kube = kube,
        .arena = arena,
        .kind = kind,
        .namespace_ = proa_arena_str(arena, meta->namespace_),
        .name = proa_arena_str(arena, meta->name),
        .uid = proa_arena_str(arena, meta->uid),
        .finalizer = finalizer,
        .manager = proa_arena_printf(arena, "%s-finalizer", kube->options.field_manager).ptr,
        .err = err,
    };

    if (!f.namespace_.ptr || !f.name.ptr || !f.uid.ptr || !f.manager)
        return proa_fail(err, PROA_ENOMEM, "no memory for a finalizer");
    return is_wanted ? apply_finalizer(&f, true, ret_object) : remove_finalizer(&f, ret_object);
}

static int set_finalizer(struct proa_kube *kube, const struct proa_kube_kind *kind, const struct proa_kube_meta *meta,
                         const char *finalizer, bool is_wanted, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_kube_object object;

    proa_arena_init(&arena, proa_loop_blocks(kube->options.loop), 0);
    return kube_set_finalizer(kube, &arena, kind, meta, finalizer, is_wanted, &object, err);
}

int proa_kube_add_finalizer(struct proa_kube *kube, const struct proa_kube_kind *kind,
                            const struct proa_kube_meta *meta, const char *finalizer, struct proa_error *err)
{
    return set_finalizer(kube, kind, meta, finalizer, true, err);
}

int proa_kube_remove_finalizer(struct proa_kube *kube, const struct proa_kube_kind *kind,
                               const struct proa_kube_meta *meta, const char *finalizer, struct proa_error *err)
{
    return set_finalizer(kube, kind, meta, finalizer, false, err);
}
