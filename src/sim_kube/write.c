/* Create, replace, patch and apply: what a request makes of an object, and what of that the API server lets through. */
#include "sim_kube_internal.h"

#include <stdio.h>

static void free_doc(yyjson_mut_doc **doc)
{
    yyjson_mut_doc_free(*doc);
}

static void free_read(yyjson_doc **doc)
{
    yyjson_doc_free(*doc);
}

/* -- Checks -------------------------------------------------------------------------------------------------------- */

static int read_body(struct call *call, yyjson_doc **ret_doc)
{
    *ret_doc = call->body.len ? yyjson_read(call->body.ptr, call->body.len, 0) : NULL;
    return *ret_doc ? 0 : fail_call(call, 400, "BadRequest", "the object provided is unrecognized: it is no JSON");
}

static int check_identity(struct call *call, tree *root)
{
    proa_str version = tree_text(yyjson_mut_obj_get(root, "apiVersion")),
             kind = tree_text(yyjson_mut_obj_get(root, "kind"));
    proa_str expected = kind_api_version(call->arena, call->kind), namespace_ = meta_text(root, "namespace");
    proa_str name = meta_text(root, "name");

    if (!yyjson_mut_is_obj(root))
        return fail_call(call, 400, "BadRequest", "the object provided is no JSON object");
    if (kind.len && !proa_str_eq_c(kind, call->kind->names.kind))
        return fail_call(
            call, 400, "BadRequest",
            "%.*s in version \"%s\" cannot be handled as a %s: converting (%.*s) to (%s): unknown conversion",
            PROA_ARG(kind), call->kind->names.version, call->kind->names.kind, PROA_ARG(kind), call->kind->names.kind);
    if (version.len && !proa_str_eq(version, expected))
        return fail_call(call, 400, "BadRequest",
                         "the API version in the data (" PROA_FMT ") does not match the expected API version (" PROA_FMT
                         ")",
                         PROA_ARG(version), PROA_ARG(expected));
    if (namespace_.len && !proa_str_eq(namespace_, call->namespace_))
        return fail_call(call, 400, "BadRequest",
                         "the namespace of the provided object does not match the namespace sent on the request");
    if (call->name.len && name.len && !proa_str_eq(name, call->name))
        return fail_call(call, 400, "BadRequest",
                         "the name of the object (" PROA_FMT ") does not match the name on the URL (" PROA_FMT ")",
                         PROA_ARG(name), PROA_ARG(call->name));
    return 0;
}

static int check_name(struct call *call, proa_str name)
{
    if (name.len == 0)
        return fail_invalid(call, "FieldValueRequired", "metadata.name",
                            "Required value: name or generateName is required");
    /* RBAC's names are path segments. */
    if (!is_dns_subdomain(name) && !proa_str_eq_c(proa_str_c(call->kind->names.group), "rbac.authorization.k8s.io"))
        return fail_invalid(
            call, "FieldValueInvalid", "metadata.name",
            "Invalid value: \"" PROA_FMT
            "\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
            "'.', and must start and end with an alphanumeric character",
            PROA_ARG(name));
    return 0;
}

static int check_namespace(struct call *call)
{
    const struct sim_kind *namespaces = kinds_of(call->kube, &proa_kube_namespaces);
    const struct sim_object *found;

    if (call->kind->names.is_cluster_scoped)
        return 0;
    found = store_find(namespaces, PROA_STR(""), call->namespace_);
    if (!found) {
        call->failure.kind = namespaces;
        call->failure.name = call->namespace_;
        return fail_call(call, 404, "NotFound", "namespaces \"" PROA_FMT "\" not found", PROA_ARG(call->namespace_));
    }
    if (meta_value(snapshot_root(found->now), "deletionTimestamp").len)
        return fail_call(call, 403, "Forbidden",
                         "%s \"" PROA_FMT "\" is forbidden: unable to create new content in namespace " PROA_FMT
                         " because it is being terminated",
                         call->kind->names.plural, PROA_ARG(call->name), PROA_ARG(call->namespace_));
    return 0;
}

static int fail_conflict(struct call *call, const char *format, proa_str a, proa_str b)
{
    struct proa_buf text;

    proa_buf_init(&text, call->arena, 0);
    if (!format)
        proa_buf_add_c(&text,
                       "the object has been modified; please apply your changes to the latest version and try again");
    else
        proa_buf_printf(&text, "Precondition failed: %s in precondition: " PROA_FMT ", %s in object meta: " PROA_FMT,
                        format, PROA_ARG(a), format, PROA_ARG(b));
    return fail_call(call, 409, "Conflict", "Operation cannot be fulfilled on " PROA_FMT " \"" PROA_FMT "\": " PROA_FMT,
                     PROA_ARG(kind_qualified(call->arena, call->kind)), PROA_ARG(call->name),
                     PROA_ARG(proa_buf_str(&text)));
}

static int check_preconditions(struct call *call, tree *given, tree *live, bool needs_version)
{
    proa_str version = meta_text(given, "resourceVersion"), uid = meta_text(given, "uid");

    if (version.len && !proa_str_eq(version, meta_text(live, "resourceVersion")))
        return fail_conflict(call, NULL, version, version);
    if (uid.len && !proa_str_eq(uid, meta_text(live, "uid")))
        return fail_conflict(call, "UID", uid, meta_text(live, "uid"));
    if (!version.len && needs_version)
        return fail_invalid(call, "FieldValueInvalid", "metadata.resourceVersion",
                            "Invalid value: 0: must be specified for an update");
    return 0;
}

static int check_finalizers(struct call *call, tree *before, tree *after)
{
    tree *old = yyjson_mut_obj_get(yyjson_mut_obj_get(before, "metadata"), "finalizers");
    tree *list = yyjson_mut_obj_get(yyjson_mut_obj_get(after, "metadata"), "finalizers");
    yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(list);

    if (!meta_text(before, "deletionTimestamp").len)
        return 0;
    for (tree *item = yyjson_mut_arr_iter_next(&iter); item; item = yyjson_mut_arr_iter_next(&iter)) {
        yyjson_mut_arr_iter olds = yyjson_mut_arr_iter_with(old);
        tree *one = yyjson_mut_arr_iter_next(&olds);

        while (one && !tree_equal(one, item))
            one = yyjson_mut_arr_iter_next(&olds);
        if (!one)
            return fail_invalid(call, "FieldValueForbidden", "metadata.finalizers",
                                "Forbidden: no new finalizers can be added if the object is being deleted, found new "
                                "finalizers []string{\"" PROA_FMT "\"}",
                                PROA_ARG(tree_text(item)));
    }
    return 0;
}

/* -- Making -------------------------------------------------------------------------------------------------------- */

static void set_now(struct call *call, yyjson_mut_doc *doc, tree *metadata, const char *name)
{
    char text[PROA_TIME_TEXT_MAX];

    tree_set_text(doc, metadata, name, proa_str_n(text, proa_time_text(proa_loop_wall(call->kube->loop), 0, text)));
}

/* metadata is of a Go type, which does not keep these when they are empty. */
static void drop_empty(tree *metadata)
{
    static const char *const names[] = {"labels", "annotations", "finalizers", "ownerReferences"};

    for (size_t i = 0; i < PROA_COUNT(names); i++) {
        tree *value = yyjson_mut_obj_get(metadata, names[i]);

        if (value && yyjson_mut_arr_size(value) == 0 && yyjson_mut_obj_size(value) == 0)
            tree_remove(metadata, proa_str_c(names[i]));
    }
}

/* What the server alone sets. */
static void begin_metadata(struct call *call, yyjson_mut_doc *doc, tree *root)
{
    static const char *const servers[] = {"deletionTimestamp", "deletionGracePeriodSeconds", "selfLink",
                                          "managedFields", "resourceVersion"};
    tree *metadata = tree_object(doc, root, "metadata");
    uint64_t number = ++call->kube->uids;
    char uid[40];

    for (size_t i = 0; i < PROA_COUNT(servers); i++)
        tree_remove(metadata, proa_str_c(servers[i]));
    if (!call->kind->names.is_cluster_scoped)
        tree_set_text(doc, metadata, "namespace", call->namespace_);
    else
        tree_remove(metadata, PROA_STR("namespace"));
    snprintf(uid, sizeof uid, "%08x-0000-4000-8000-%012llx", (unsigned)(proa_prng_u64(&call->kube->chance) >> 32),
             (unsigned long long)number);
    tree_set_text(doc, metadata, "uid", proa_str_c(uid));
    set_now(call, doc, metadata, "creationTimestamp");
    if (call->kind->has_generation)
        tree_set(doc, metadata, "generation", yyjson_mut_uint(doc, 1));
    drop_empty(metadata);
}

static void keep_metadata(yyjson_mut_doc *doc, tree *before, tree *after)
{
    static const char *const kept[] = {"name",
                                       "namespace",
                                       "uid",
                                       "generation",
                                       "creationTimestamp",
                                       "deletionTimestamp",
                                       "deletionGracePeriodSeconds",
                                       "resourceVersion",
                                       "managedFields"};
    tree *metadata = tree_object(doc, after, "metadata"), *old = yyjson_mut_obj_get(before, "metadata");

    for (size_t i = 0; i < PROA_COUNT(kept); i++) {
        tree *value = yyjson_mut_obj_get(old, kept[i]);

        tree_set(doc, metadata, kept[i], value ? yyjson_mut_val_mut_copy(doc, value) : NULL);
    }
    drop_empty(metadata);
    tree_set(doc, after, "apiVersion", yyjson_mut_val_mut_copy(doc, yyjson_mut_obj_get(before, "apiVersion")));
    tree_set(doc, after, "kind", yyjson_mut_val_mut_copy(doc, yyjson_mut_obj_get(before, "kind")));
}

static void set_identity(struct call *call, yyjson_mut_doc *doc, tree *root)
{
    tree_set_text(doc, root, "apiVersion", kind_api_version(call->arena, call->kind));
    tree_set_text(doc, root, "kind", proa_str_c(call->kind->names.kind));
}

static int set_name(struct call *call, yyjson_mut_doc *doc, tree *root)
{
    tree *metadata = tree_object(doc, root, "metadata");
    proa_str name = meta_text(root, "name"), prefix = meta_text(root, "generateName");

    if (!name.len && call->name.len) {
        name = call->name;
        tree_set_text(doc, metadata, "name", name);
    }
    if (!name.len && prefix.len) {
        static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
        char end[6];

        for (size_t i = 0; i < 5; i++)
            end[i] = letters[proa_prng_below(&call->kube->chance, sizeof letters - 1)];
        end[5] = 0;
        name = proa_arena_printf(call->arena, PROA_FMT "%s", PROA_ARG(prefix), end);
        tree_set_text(doc, metadata, "name", name);
    }
    call->name = proa_arena_str(call->arena, name);
    call->failure.name = call->name;
    return check_name(call, call->name);
}

static int finish_create(struct call *call, yyjson_mut_doc *doc, struct sim_snapshot **ret_snapshot)
{
    tree *root = yyjson_mut_doc_get_root(doc);
    struct sim_object *object;

    if (metadata_check(call, root) < 0 || builtin_admit(call, doc, NULL, root) < 0 || schema_admit(call, doc, root) < 0)
        return -1;
    if (call->dry_run) {
        *ret_snapshot = snapshot_new(doc, call->kube->version + 1);
        return *ret_snapshot ? 0 : fail_memory(call);
    }
    if (store_put(call->kube, call->kind, NULL, doc, &object) < 0)
        return fail_memory(call);
    *ret_snapshot = snapshot_ref(object->now);
    if (proa_str_eq_c(proa_str_c(call->kind->names.plural), "customresourcedefinitions") &&
        schema_define(call->kube, snapshot_root(object->now)) < 0)
        return fail_memory(call);
    if (yyjson_mut_obj_get(yyjson_mut_obj_get(root, "metadata"), "ownerReferences"))
        collector_wake(call->kube);
    return 0;
}

int write_create(struct call *call, struct sim_snapshot **ret_snapshot)
{
    yyjson_doc *body PROA_CLEANUP(free_read) = NULL;
    yyjson_mut_doc *doc PROA_CLEANUP(free_doc) = NULL;
    tree *root;

    if (read_body(call, &body) < 0)
        return -1;
    doc = yyjson_doc_mut_copy(body, NULL);
    root = yyjson_mut_doc_get_root(doc);
    if (!doc)
        return fail_memory(call);
    if (check_identity(call, root) < 0)
        return -1;
    if (meta_text(root, "resourceVersion").len)
        return fail_call(call, 500, "", "resourceVersion should not be set on objects to be created");
    if (set_name(call, doc, root) < 0 || check_namespace(call) < 0)
        return -1;
    if (store_find(call->kind, call->kind->names.is_cluster_scoped ? PROA_STR("") : call->namespace_, call->name))
        return fail_call(call, 409, "AlreadyExists", PROA_FMT " \"" PROA_FMT "\" already exists",
                         PROA_ARG(kind_qualified(call->arena, call->kind)), PROA_ARG(call->name));
    set_identity(call, doc, root);
    if (call->kind->has_status)
        tree_remove(root, PROA_STR("status"));
    begin_metadata(call, doc, root);
    managed_update(call, doc, NULL, root);
    return finish_create(call, doc, ret_snapshot);
}

/* An apply of what does not exist. */
static int apply_create(struct call *call, tree *applied, struct sim_snapshot **ret_snapshot)
{
    yyjson_mut_doc *doc PROA_CLEANUP(free_doc) = yyjson_mut_doc_new(NULL);
    tree *root = yyjson_mut_obj(doc);

    if (!root)
        return fail_memory(call);
    yyjson_mut_doc_set_root(doc, root);
    if (meta_text(applied, "uid").len)
        return fail_conflict(call, "UID", meta_text(applied, "uid"), PROA_STR(""));
    if (call->subresource.len)
        return fail_not_found(call);
    tree_remove(applied, PROA_STR("status"));
    if (check_namespace(call) < 0 || check_name(call, call->name) < 0)
        return -1;
    if (managed_apply(call, doc, applied) < 0)
        return -1;
    {
        tree *managed = yyjson_mut_val_mut_copy(
            doc, yyjson_mut_obj_get(yyjson_mut_obj_get(yyjson_mut_doc_get_root(doc), "metadata"), "managedFields"));

        root = yyjson_mut_doc_get_root(doc);
        set_identity(call, doc, root);
        tree_set_text(doc, tree_object(doc, root, "metadata"), "name", call->name);
        begin_metadata(call, doc, root);
        tree_set(doc, tree_object(doc, root, "metadata"), "managedFields", managed);
    }
    return finish_create(call, doc, ret_snapshot);
}

/* -- Changing ------------------------------------------------------------------------------------------------------ */

/* Whether anything but metadata and status differs. */
static bool spec_differs(const struct call *call, tree *before, tree *after)
{
    tree *const sides[] = {before, after};

    for (size_t side = 0; side < 2; side++) {
        yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(sides[side]);

        for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
            proa_str name = tree_text(key);

            if (proa_str_eq_c(name, "metadata") || (proa_str_eq_c(name, "status") && call->kind->has_status))
                continue;
            if (!tree_equal(yyjson_mut_obj_iter_get_val(key), tree_get(sides[!side], name)))
                return true;
        }
    }
    return false;
}

int write_store(struct call *call, struct sim_object *object, yyjson_mut_doc *doc, struct sim_snapshot **ret_snapshot)
{
    tree *root = yyjson_mut_doc_get_root(doc);
    tree *finalizers = yyjson_mut_obj_get(yyjson_mut_obj_get(root, "metadata"), "finalizers");
    bool is_crd = proa_str_eq_c(proa_str_c(object->kind->names.plural), "customresourcedefinitions");
    struct proa_sim_kube *kube = call->kube;
    uint64_t grace =
        yyjson_mut_get_uint(yyjson_mut_obj_get(yyjson_mut_obj_get(root, "metadata"), "deletionGracePeriodSeconds"));

    if (meta_text(root, "deletionTimestamp").len && yyjson_mut_arr_size(finalizers) == 0 && grace == 0) {
        /* The answer bears the version that the object had, the event that of its deletion. */
        struct sim_snapshot *last = snapshot_new(doc, object->now->version);

        if (!last)
            return fail_memory(call);
        if (is_crd)
            schema_remove(kube, snapshot_root(last));
        *ret_snapshot = last;
        collector_wake(kube);
        return store_remove(kube, object, doc) < 0 ? fail_memory(call) : 0;
    }
    if (store_put(kube, object->kind, object, doc, NULL) < 0)
        return fail_memory(call);
    if (is_crd && schema_define(kube, snapshot_root(object->now)) < 0)
        return fail_memory(call);
    *ret_snapshot = snapshot_ref(object->now);
    return 0;
}

static int make_replace(struct call *call, yyjson_mut_doc *doc, yyjson_doc *body, tree *before)
{
    tree *root = yyjson_val_mut_copy(doc, yyjson_doc_get_root(body));

    if (!root)
        return fail_memory(call);
    yyjson_mut_doc_set_root(doc, root);
    if (check_identity(call, root) < 0)
        return -1;
    if (!meta_text(root, "name").len)
        return fail_call(call, 400, "BadRequest",
                         "the name of the object () does not match the name on the URL (" PROA_FMT ")",
                         PROA_ARG(call->name));
    return check_preconditions(call, root, before, call->kind->needs_version);
}

static int make_apply(struct call *call, yyjson_mut_doc *doc, yyjson_doc *body, tree *before)
{
    tree *applied = yyjson_val_mut_copy(doc, yyjson_doc_get_root(body));

    if (check_identity(call, applied) < 0 || check_preconditions(call, applied, before, false) < 0)
        return -1;
    tree_remove(tree_at(applied, PROA_STR("metadata")), PROA_STR("resourceVersion"));
    if (call->kind->has_status && !call->subresource.len)
        tree_remove(applied, PROA_STR("status"));
    if (call->subresource.len) {
        tree_remove(applied, PROA_STR("spec"));
        tree_remove(applied, PROA_STR("metadata"));
    }
    return managed_apply(call, doc, applied);
}

static int make(struct call *call, enum patch_type type, yyjson_mut_doc *doc, yyjson_doc *body, tree *before)
{
    tree *root;

    switch (type) {
    case WRITE_REPLACE: return make_replace(call, doc, body, before);
    case WRITE_APPLY: return make_apply(call, doc, body, before);
    case WRITE_MERGE:
        if (patch_merge(call, doc, yyjson_doc_get_root(body)) < 0)
            return -1;
        break;
    case WRITE_JSON:
        if (patch_json(call, doc, yyjson_doc_get_root(body)) < 0)
            return -1;
        break;
    }
    root = yyjson_mut_doc_get_root(doc);
    if (check_identity(call, root) < 0)
        return -1;
    return check_preconditions(call, root, before, false);
}

/* A request to the scale subresource: the replicas alone. */
static int make_scale(struct call *call, enum patch_type type, yyjson_mut_doc *doc, yyjson_doc *body, tree *before)
{
    struct proa_buf text;
    yyjson_doc *scale PROA_CLEANUP(free_read) = NULL;
    yyjson_mut_doc *changed PROA_CLEANUP(free_doc) = NULL;
    struct sim_object *object = store_find(call->kind, call->namespace_, call->name);
    tree *replicas;

    proa_buf_init(&text, call->arena, 0);
    if (read_scale(call, object->now, &text) < 0)
        return -1;
    scale = yyjson_read(text.ptr, text.len, 0);
    changed = scale ? yyjson_doc_mut_copy(scale, NULL) : NULL;
    if (!changed)
        return fail_memory(call);
    if (type == WRITE_JSON) {
        if (patch_json(call, changed, yyjson_doc_get_root(body)) < 0)
            return -1;
    } else if (type == WRITE_REPLACE) {
        yyjson_mut_doc_set_root(changed, yyjson_val_mut_copy(changed, yyjson_doc_get_root(body)));
    } else if (patch_merge(call, changed, yyjson_doc_get_root(body)) < 0) {
        return -1;
    }
    if (check_preconditions(call, yyjson_mut_doc_get_root(changed), before, false) < 0)
        return -1;
    replicas = tree_at(yyjson_mut_doc_get_root(changed), PROA_STR("spec.replicas"));
    if (yyjson_mut_is_num(replicas) && yyjson_mut_get_sint(replicas) < 0)
        return fail_invalid(call, "FieldValueInvalid", "spec.replicas",
                            "Invalid value: %lld: must be greater than or equal to 0",
                            (long long)yyjson_mut_get_sint(replicas));
    tree_set_at(doc, yyjson_mut_doc_get_root(doc), call->kind->replicas,
                yyjson_mut_sint(doc, replicas ? yyjson_mut_get_sint(replicas) : 0));
    /* Positive numbers are unsigned where they are read. */
    if (!replicas || yyjson_mut_get_sint(replicas) >= 0)
        tree_set_at(doc, yyjson_mut_doc_get_root(doc), call->kind->replicas,
                    yyjson_mut_uint(doc, replicas ? (uint64_t)yyjson_mut_get_sint(replicas) : 0));
    return 0;
}

/* What of the changed object counts: the status, or all else. */
static void keep_rest(struct call *call, yyjson_mut_doc *doc, tree *before, tree *after)
{
    tree *status = yyjson_mut_obj_get(after, "status"), *old = yyjson_mut_obj_get(before, "status");

    if (proa_str_eq_c(call->subresource, "status")) {
        tree *root = yyjson_mut_val_mut_copy(doc, before);
        tree *managed = yyjson_mut_obj_get(yyjson_mut_obj_get(after, "metadata"), "managedFields");

        tree_set(doc, root, "status", status ? yyjson_mut_val_mut_copy(doc, status) : NULL);
        if (managed)
            tree_set(doc, tree_object(doc, root, "metadata"), "managedFields", yyjson_mut_val_mut_copy(doc, managed));
        yyjson_mut_doc_set_root(doc, root);
    } else if (call->kind->has_status) {
        tree_set(doc, after, "status", old ? yyjson_mut_val_mut_copy(doc, old) : NULL);
    }
}

static int finish_change(struct call *call, struct sim_object *object, yyjson_mut_doc *doc, tree *before, bool is_apply,
                         struct sim_snapshot **ret_snapshot)
{
    tree *after = yyjson_mut_doc_get_root(doc);
    tree *managed =
        yyjson_mut_val_mut_copy(doc, yyjson_mut_obj_get(yyjson_mut_obj_get(after, "metadata"), "managedFields"));

    keep_metadata(doc, before, after);
    if (is_apply)
        tree_set(doc, tree_object(doc, after, "metadata"), "managedFields", managed);
    keep_rest(call, doc, before, after);
    after = yyjson_mut_doc_get_root(doc);
    if (metadata_check(call, after) < 0 || check_finalizers(call, before, after) < 0 ||
        builtin_admit(call, doc, before, after) < 0 || schema_admit(call, doc, after) < 0)
        return -1;
    if (!is_apply)
        managed_update(call, doc, before, after);
    if (tree_equal(before, after)) {
        *ret_snapshot = snapshot_ref(object->now);
        return 0;
    }
    if (call->kind->has_generation && spec_differs(call, before, after))
        tree_set(doc, tree_object(doc, after, "metadata"), "generation",
                 yyjson_mut_uint(doc, yyjson_mut_get_uint(tree_at(before, PROA_STR("metadata.generation"))) + 1));
    if (call->dry_run) {
        *ret_snapshot = snapshot_new(doc, call->kube->version + 1);
        return *ret_snapshot ? 0 : fail_memory(call);
    }
    return write_store(call, object, doc, ret_snapshot);
}

int write_change(struct call *call, enum patch_type type, struct sim_snapshot **ret_snapshot, bool *ret_created)
{
    struct sim_object *object = store_find(call->kind, call->namespace_, call->name);
    yyjson_doc *body PROA_CLEANUP(free_read) = NULL;
    yyjson_mut_doc *doc PROA_CLEANUP(free_doc) = NULL;
    bool is_scale = proa_str_eq_c(call->subresource, "scale");
    tree *before;

    if (read_body(call, &body) < 0)
        return -1;
    if (!object && type == WRITE_REPLACE && call->kind->creates_on_update && !call->subresource.len) {
        *ret_created = true;
        return write_create(call, ret_snapshot);
    }
    if (!object && type != WRITE_APPLY)
        return fail_not_found(call);
    doc = object ? yyjson_doc_mut_copy(object->now->doc, NULL) : yyjson_mut_doc_new(NULL);
    if (!doc)
        return fail_memory(call);
    if (!object) {
        tree *applied = yyjson_val_mut_copy(doc, yyjson_doc_get_root(body));

        *ret_created = true;
        return check_identity(call, applied) < 0 ? -1 : apply_create(call, applied, ret_snapshot);
    }
    before = yyjson_mut_val_mut_copy(doc, yyjson_mut_doc_get_root(doc));
    if (is_scale ? make_scale(call, type, doc, body, before) < 0 : make(call, type, doc, body, before) < 0)
        return -1;
    return finish_change(call, object, doc, before, type == WRITE_APPLY && !is_scale, ret_snapshot);
}

/* -- Past HTTP ----------------------------------------------------------------------------------------------------- */

static int make_namespace(struct call *call)
{
    struct sim_kind *namespaces = kinds_of(call->kube, &proa_kube_namespaces);
    struct call other = {.kube = call->kube, .arena = call->arena, .kind = namespaces, .manager = call->manager};

    if (call->kind->names.is_cluster_scoped || store_find(namespaces, PROA_STR(""), call->namespace_))
        return 0;
    other.body =
        proa_arena_printf(call->arena, "{\"metadata\":{\"name\":\"" PROA_FMT "\"}}", PROA_ARG(call->namespace_));
    return write_direct(&other);
}

int write_direct(struct call *call)
{
    yyjson_doc *body PROA_CLEANUP(free_read) = NULL;
    yyjson_mut_doc *doc PROA_CLEANUP(free_doc) = NULL;
    struct sim_snapshot *snapshot = NULL;
    struct sim_object *object;
    tree *root, *before = NULL;
    int rc;

    if (read_body(call, &body) < 0)
        return -1;
    doc = yyjson_doc_mut_copy(body, NULL);
    if (!doc)
        return fail_memory(call);
    root = yyjson_mut_doc_get_root(doc);
    if (!call->kind->names.is_cluster_scoped) {
        call->namespace_ = proa_arena_str(call->arena, meta_text(root, "namespace"));
        if (!call->namespace_.len)
            call->namespace_ = PROA_STR("default");
    }
    if (set_name(call, doc, root) < 0 || make_namespace(call) < 0)
        return -1;
    set_identity(call, doc, root);
    object = store_find(call->kind, call->namespace_, call->name);
    if (!object) {
        begin_metadata(call, doc, root);
        managed_update(call, doc, NULL, root);
        rc = finish_create(call, doc, &snapshot);
        snapshot_unref(snapshot);
        return rc;
    }
    before = yyjson_val_mut_copy(doc, snapshot_root(object->now));
    keep_metadata(doc, before, root);
    if (schema_admit(call, doc, root) < 0)
        return -1;
    managed_update(call, doc, before, root);
    if (tree_equal(before, root))
        return 0;
    if (call->kind->has_generation && spec_differs(call, before, root))
        tree_set(doc, tree_object(doc, root, "metadata"), "generation",
                 yyjson_mut_uint(doc, yyjson_mut_get_uint(tree_at(before, PROA_STR("metadata.generation"))) + 1));
    rc = write_store(call, object, doc, &snapshot);
    snapshot_unref(snapshot);
    return rc;
}
