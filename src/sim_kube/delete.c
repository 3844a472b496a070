/* Deletion: preconditions, propagation, finalizers; and the garbage collector, which deletes what has lost all its
 * owners. */
#include "sim_kube_internal.h"

#include <proa/map.h>

struct delete_options {
    proa_str uid, version, propagation;
    int64_t grace; /* -1: not said */
    bool dry_run;
};

static void free_doc(yyjson_mut_doc **doc)
{
    yyjson_mut_doc_free(*doc);
}

static void read_options(struct call *call, proa_str body, struct delete_options *ret_options)
{
    yyjson_doc *doc = body.len ? yyjson_read(body.ptr, body.len, 0) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc), *preconditions = yyjson_obj_get(root, "preconditions");
    yyjson_val *grace = yyjson_obj_get(root, "gracePeriodSeconds");
    proa_str propagation = call_query(call, "propagationPolicy"), text = call_query(call, "gracePeriodSeconds");
    int64_t seconds;

    *ret_options = (struct delete_options){.grace = -1, .propagation = propagation, .dry_run = call->dry_run};
    ret_options->uid = proa_arena_str(call->arena, value_text(yyjson_obj_get(preconditions, "uid")));
    ret_options->version = proa_arena_str(call->arena, value_text(yyjson_obj_get(preconditions, "resourceVersion")));
    if (!propagation.ptr)
        ret_options->propagation = proa_arena_str(call->arena, value_text(yyjson_obj_get(root, "propagationPolicy")));
    if (yyjson_is_int(grace))
        ret_options->grace = yyjson_get_sint(grace);
    else if (text.ptr && proa_str_to_i64(text, &seconds) == 0)
        ret_options->grace = seconds;
    yyjson_doc_free(doc);
}

static int fail_precondition(struct call *call, const struct sim_object *object, const char *what, proa_str wanted,
                             proa_str found, const char *guess)
{
    return fail_call(
        call, 409, "Conflict",
        "Operation cannot be fulfilled on %s \"%.*s\": the %s in the precondition (%.*s) does not match the %s in "
        "record (%.*s). The object might have been %s",
        object->kind->names.kind, PROA_ARG(object->name), what, PROA_ARG(wanted), what, PROA_ARG(found), guess);
}

static int check(struct call *call, const struct sim_object *object, const struct delete_options *options)
{
    proa_str uid = meta_value(snapshot_root(object->now), "uid");
    proa_str version = meta_value(snapshot_root(object->now), "resourceVersion");

    if (options->uid.len && !proa_str_eq(options->uid, uid))
        return fail_precondition(call, object, "UID", options->uid, uid, "deleted and then recreated");
    if (options->version.len && !proa_str_eq(options->version, version))
        return fail_precondition(call, object, "ResourceVersion", options->version, version, "modified");
    return 0;
}

static void add_finalizer(yyjson_mut_doc *doc, tree *metadata, const char *name)
{
    tree *list = yyjson_mut_obj_get(metadata, "finalizers");

    if (!yyjson_mut_is_arr(list)) {
        tree_set(doc, metadata, "finalizers", yyjson_mut_arr(doc));
        list = yyjson_mut_obj_get(metadata, "finalizers");
    }
    yyjson_mut_arr_append(list, yyjson_mut_strcpy(doc, name));
}

static void drop_finalizer(yyjson_mut_doc *doc, tree *root, const char *name)
{
    tree *metadata = yyjson_mut_obj_get(root, "metadata"), *list = yyjson_mut_obj_get(metadata, "finalizers");

    for (size_t i = yyjson_mut_arr_size(list); i-- > 0;)
        if (yyjson_mut_equals_str(yyjson_mut_arr_get(list, i), name))
            yyjson_mut_arr_remove(list, i);
    if (yyjson_mut_arr_size(list) == 0)
        tree_set(doc, metadata, "finalizers", NULL);
}

/* How long it may take: a pod that runs on a node is given time. */
static int64_t grace_of(const struct sim_object *object, const struct delete_options *options)
{
    yyjson_val *root = snapshot_root(object->now);
    yyjson_val *own = value_at(root, PROA_STR("spec.terminationGracePeriodSeconds"));

    if (!proa_str_eq_c(proa_str_c(object->kind->names.plural), "pods") || object->kind->is_custom ||
        !value_text(value_at(root, PROA_STR("spec.nodeName"))).len)
        return 0;
    if (options->grace >= 0)
        return options->grace;
    return yyjson_is_int(own) ? yyjson_get_sint(own) : 30;
}

static void mark(struct call *call, yyjson_mut_doc *doc, int64_t grace)
{
    tree *metadata = tree_object(doc, yyjson_mut_doc_get_root(doc), "metadata");
    tree *generation = yyjson_mut_obj_get(metadata, "generation");
    char text[PROA_TIME_TEXT_MAX];
    proa_time_ns at = proa_loop_wall(call->kube->loop) + grace * 1000000000;

    tree_set(doc, metadata, "deletionGracePeriodSeconds", yyjson_mut_uint(doc, (uint64_t)grace));
    tree_set_text(doc, metadata, "deletionTimestamp", proa_str_n(text, proa_time_text(at, 0, text)));
    if (generation)
        tree_set(doc, metadata, "generation", yyjson_mut_uint(doc, yyjson_mut_get_uint(generation) + 1));
}

int delete_one(struct call *call, struct sim_object *object, proa_str body, struct sim_snapshot **ret_snapshot)
{
    yyjson_mut_doc *doc PROA_CLEANUP(free_doc) = NULL;
    struct delete_options options;
    struct sim_snapshot *snapshot = NULL;
    tree *metadata;
    int64_t grace;
    bool is_marked, is_namespace = object->kind == kinds_of(call->kube, &proa_kube_namespaces);
    int rc;

    read_options(call, body, &options);
    if (check(call, object, &options) < 0)
        return -1;
    *ret_snapshot = NULL;
    doc = yyjson_doc_mut_copy(object->now->doc, NULL);
    if (!doc)
        return fail_memory(call);
    metadata = tree_object(doc, yyjson_mut_doc_get_root(doc), "metadata");
    is_marked = yyjson_mut_obj_get(metadata, "deletionTimestamp");
    grace = grace_of(object, &options);
    if (!is_marked && proa_str_eq_c(options.propagation, "Orphan"))
        add_finalizer(doc, metadata, "orphan");
    if (!is_marked && proa_str_eq_c(options.propagation, "Foreground"))
        add_finalizer(doc, metadata, "foregroundDeletion");
    if (!is_marked && is_namespace)
        add_finalizer(doc, metadata, "kubernetes");
    if (options.dry_run)
        return 0;
    collector_wake(call->kube);
    if (is_marked && (grace > 0 || yyjson_mut_arr_size(yyjson_mut_obj_get(metadata, "finalizers")) > 0)) {
        *ret_snapshot = snapshot_ref(object->now);
        return 0;
    }
    if (is_marked)
        tree_set(doc, metadata, "deletionGracePeriodSeconds", yyjson_mut_uint(doc, 0));
    else if (grace > 0 || yyjson_mut_arr_size(yyjson_mut_obj_get(metadata, "finalizers")) > 0)
        mark(call, doc, grace);
    if (!yyjson_mut_obj_get(metadata, "deletionTimestamp")) {
        /* Nothing holds it: gone at once. */
        if (proa_str_eq_c(proa_str_c(object->kind->names.plural), "customresourcedefinitions"))
            schema_remove(call->kube, snapshot_root(object->now));
        return store_remove(call->kube, object, NULL) < 0 ? fail_memory(call) : 0;
    }
    rc = write_store(call, object, doc, &snapshot);
    if (rc == 0 && !is_marked)
        *ret_snapshot = snapshot;
    else
        snapshot_unref(snapshot);
    return rc;
}

/* -- The garbage collector ----------------------------------------------------------------------------------------- */

void collector_wake(struct proa_sim_kube *kube)
{
    if (!kube->is_stopping && !proa_timer_armed(&kube->collector))
        proa_ignore(proa_timer_start(&kube->collector, proa_loop_now(kube->loop) + PROA_MS(COLLECT_MS)));
}

struct sweep {
    struct proa_sim_kube *kube;
    struct proa_arena arena;
    struct proa_map *uids; /* of all objects, to them */
    bool has_worked;
};

static void each(struct sweep *sweep, void (*visit)(struct sweep *sweep, struct sim_object *object))
{
    for (size_t i = 0; i < sweep->kube->kinds.len; i++) {
        struct sim_kind *kind = *(struct sim_kind **)proa_vec_at(&sweep->kube->kinds, i);

        /* From the end: a visited object may go. */
        for (size_t j = kind->objects.len; j-- > 0;)
            if (j < kind->objects.len)
                visit(sweep, *(struct sim_object **)proa_vec_at(&kind->objects, j));
    }
}

static void note_uid(struct sweep *sweep, struct sim_object *object)
{
    proa_ignore(proa_map_put(sweep->uids, meta_value(snapshot_root(object->now), "uid"), object, NULL));
}

static bool has_finalizer(yyjson_val *root, const char *name)
{
    yyjson_val *list = value_at(root, PROA_STR("metadata.finalizers"));
    yyjson_arr_iter iter = yyjson_arr_iter_with(list);

    for (yyjson_val *item = yyjson_arr_iter_next(&iter); item; item = yyjson_arr_iter_next(&iter))
        if (yyjson_equals_str(item, name))
            return true;
    return false;
}

/* What is gone is known no more. */
static void forget_gone(struct sweep *sweep, const struct call *call, proa_str uid)
{
    sweep->has_worked = true;
    if (!store_find(call->kind, call->namespace_, call->name))
        proa_map_remove(sweep->uids, uid);
}

static struct call collector_call(struct sweep *sweep, struct sim_object *object)
{
    return (struct call){.kube = sweep->kube,
                         .arena = &sweep->arena,
                         .kind = object->kind,
                         .namespace_ = proa_arena_str(&sweep->arena, object->namespace_),
                         .name = proa_arena_str(&sweep->arena, object->name),
                         .manager = PROA_STR("kube-controller-manager")};
}

static void remove_object(struct sweep *sweep, struct sim_object *object, const char *options)
{
    proa_str uid = proa_arena_str(&sweep->arena, meta_value(snapshot_root(object->now), "uid"));
    struct call call = collector_call(sweep, object);
    struct sim_snapshot *snapshot = NULL;

    if (delete_one(&call, object, proa_str_c(options), &snapshot) == 0)
        snapshot_unref(snapshot);
    forget_gone(sweep, &call, uid);
}

static void change_object(struct sweep *sweep, struct sim_object *object, yyjson_mut_doc *doc)
{
    proa_str uid = proa_arena_str(&sweep->arena, meta_value(snapshot_root(object->now), "uid"));
    struct call call = collector_call(sweep, object);
    struct sim_snapshot *snapshot = NULL;

    if (write_store(&call, object, doc, &snapshot) == 0)
        snapshot_unref(snapshot);
    forget_gone(sweep, &call, uid);
}

/* An owner that is absent, or is being deleted with its dependents, holds no more; one that is deleted as an orphan's
 * is taken out. */
static void visit_dependent(struct sweep *sweep, struct sim_object *object)
{
    yyjson_val *owners = value_at(snapshot_root(object->now), PROA_STR("metadata.ownerReferences"));
    size_t count = yyjson_arr_size(owners), absent = 0, orphaned = 0, foreground = 0;
    yyjson_mut_doc *doc;
    tree *list;

    if (count == 0)
        return;
    doc = yyjson_doc_mut_copy(object->now->doc, NULL);
    list = tree_at(yyjson_mut_doc_get_root(doc), PROA_STR("metadata.ownerReferences"));
    for (size_t i = count; i-- > 0;) {
        struct sim_object *owner =
            proa_map_get(sweep->uids, value_text(yyjson_obj_get(yyjson_arr_get(owners, i), "uid")));
        yyjson_val *root = owner ? snapshot_root(owner->now) : NULL;

        if (owner && !meta_value(root, "deletionTimestamp").len)
            continue;
        if (!owner)
            absent++;
        else if (has_finalizer(root, "orphan"))
            orphaned++;
        else if (has_finalizer(root, "foregroundDeletion"))
            foreground++;
        else
            continue;
        yyjson_mut_arr_remove(list, i);
    }
    if (absent + foreground == count) {
        if (!meta_value(snapshot_root(object->now), "deletionTimestamp").len)
            remove_object(sweep, object, foreground ? "{\"propagationPolicy\":\"Foreground\"}" : "");
    } else if (absent + orphaned > 0) {
        if (yyjson_mut_arr_size(list) == 0)
            tree_remove(tree_at(yyjson_mut_doc_get_root(doc), PROA_STR("metadata")), PROA_STR("ownerReferences"));
        change_object(sweep, object, doc);
    }
    yyjson_mut_doc_free(doc);
}

static bool is_waited_for(struct sweep *sweep, proa_str uid)
{
    size_t it = 0;
    proa_str key;
    void *value;

    while (proa_map_next(sweep->uids, &it, &key, &value)) {
        struct sim_object *object = value;
        yyjson_val *owners = value_at(snapshot_root(object->now), PROA_STR("metadata.ownerReferences"));
        yyjson_arr_iter iter = yyjson_arr_iter_with(owners);

        for (yyjson_val *owner = yyjson_arr_iter_next(&iter); owner; owner = yyjson_arr_iter_next(&iter))
            if (proa_str_eq(value_text(yyjson_obj_get(owner, "uid")), uid) &&
                yyjson_is_true(yyjson_obj_get(owner, "blockOwnerDeletion")))
                return true;
    }
    return false;
}

static bool is_populated(struct sweep *sweep, proa_str namespace_)
{
    size_t it = 0;
    proa_str key;
    void *value;

    while (proa_map_next(sweep->uids, &it, &key, &value))
        if (proa_str_eq(((struct sim_object *)value)->namespace_, namespace_))
            return true;
    return false;
}

/* An owner whose dependents have gone, or were let go. */
static void visit_owner(struct sweep *sweep, struct sim_object *object)
{
    yyjson_val *root = snapshot_root(object->now);
    const char *done = NULL;
    yyjson_mut_doc *doc;

    if (!meta_value(root, "deletionTimestamp").len)
        return;
    if (has_finalizer(root, "orphan"))
        done = "orphan";
    else if (has_finalizer(root, "foregroundDeletion") && !is_waited_for(sweep, meta_value(root, "uid")))
        done = "foregroundDeletion";
    else if (has_finalizer(root, "kubernetes") && !is_populated(sweep, object->name))
        done = "kubernetes";
    if (!done)
        return;
    doc = yyjson_doc_mut_copy(object->now->doc, NULL);
    drop_finalizer(doc, yyjson_mut_doc_get_root(doc), done);
    change_object(sweep, object, doc);
    yyjson_mut_doc_free(doc);
}

/* What lies in a namespace that is being deleted. */
static void visit_content(struct sweep *sweep, struct sim_object *object)
{
    const struct sim_object *namespace_;

    if (!object->namespace_.len || meta_value(snapshot_root(object->now), "deletionTimestamp").len)
        return;
    namespace_ = store_find(kinds_of(sweep->kube, &proa_kube_namespaces), PROA_STR(""), object->namespace_);
    if (namespace_ && meta_value(snapshot_root(namespace_->now), "deletionTimestamp").len)
        remove_object(sweep, object, "");
}

void collector_run(struct proa_timer *timer)
{
    struct proa_sim_kube *kube = PROA_CONTAINER(timer, struct proa_sim_kube, collector);
    struct sweep sweep = {.kube = kube};
    void (*const visits[])(struct sweep *, struct sim_object *) = {visit_content, visit_dependent, visit_owner};

    proa_arena_init(&sweep.arena, NULL, 0);
    /* Each look has a fresh view, since the one before may have removed objects. */
    for (size_t i = 0; i < PROA_COUNT(visits); i++) {
        sweep.uids = proa_map_new(0);
        if (!sweep.uids)
            break;
        each(&sweep, note_uid);
        each(&sweep, visits[i]);
        proa_map_free(sweep.uids);
    }
    proa_arena_done(&sweep.arena);
    if (sweep.has_worked)
        collector_wake(kube);
}
