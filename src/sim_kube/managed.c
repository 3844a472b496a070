/* metadata.managedFields: who set what, and what an apply may therefore change (KEP-555). */
#include "sim_kube_internal.h"

#include <stdlib.h>

struct manager {
    proa_str name, operation, api_version, subresource, time;
    struct field *set;
    struct manager *next;
};

struct managers {
    struct manager *first;
};

static proa_str now_text(const struct call *call)
{
    char text[PROA_TIME_TEXT_MAX];

    return proa_arena_str(call->arena, proa_str_n(text, proa_time_text(proa_loop_wall(call->kube->loop), 0, text)));
}

static void read_managers(struct call *call, tree *object, struct managers *ret_managers)
{
    tree *list = yyjson_mut_obj_get(yyjson_mut_obj_get(object, "metadata"), "managedFields");
    yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(list);
    struct manager **link = &ret_managers->first;

    for (tree *entry = yyjson_mut_arr_iter_next(&iter); entry; entry = yyjson_mut_arr_iter_next(&iter)) {
        struct manager *manager = proa_arena_new(call->arena, struct manager);

        manager->name = tree_text(yyjson_mut_obj_get(entry, "manager"));
        manager->operation = tree_text(yyjson_mut_obj_get(entry, "operation"));
        manager->api_version = tree_text(yyjson_mut_obj_get(entry, "apiVersion"));
        manager->subresource = tree_text(yyjson_mut_obj_get(entry, "subresource"));
        manager->time = tree_text(yyjson_mut_obj_get(entry, "time"));
        manager->set = fields_read(call->arena, yyjson_mut_obj_get(entry, "fieldsV1"));
        *link = manager;
        link = &manager->next;
    }
}

static void write_managers(struct call *call, yyjson_mut_doc *doc, tree *object, const struct managers *managers)
{
    tree *list = yyjson_mut_arr(doc);

    for (const struct manager *manager = managers->first; manager; manager = manager->next) {
        tree *entry;

        if (fields_empty(manager->set))
            continue;
        entry = yyjson_mut_obj(doc);
        tree_set_text(doc, entry, "apiVersion", manager->api_version);
        tree_set_text(doc, entry, "fieldsType", PROA_STR("FieldsV1"));
        tree_set(doc, entry, "fieldsV1", fields_write(doc, manager->set));
        tree_set_text(doc, entry, "manager", manager->name);
        tree_set_text(doc, entry, "operation", manager->operation);
        if (manager->subresource.len)
            tree_set_text(doc, entry, "subresource", manager->subresource);
        tree_set_text(doc, entry, "time", manager->time);
        yyjson_mut_arr_append(list, entry);
    }
    tree_set(doc, tree_object(doc, object, "metadata"), "managedFields", yyjson_mut_arr_size(list) ? list : NULL);
}

static struct manager *own_manager(struct call *call, struct managers *managers, const char *operation)
{
    struct manager **link = &managers->first;

    while (*link && !(proa_str_eq((*link)->name, call->manager) && proa_str_eq_c((*link)->operation, operation) &&
                      proa_str_eq((*link)->subresource, call->subresource)))
        link = &(*link)->next;
    if (!*link) {
        *link = proa_arena_new(call->arena, struct manager);
        (*link)->name = call->manager;
        (*link)->operation = proa_str_c(operation);
        (*link)->subresource = call->subresource;
        (*link)->set = fields_new(call->arena);
    }
    (*link)->api_version = kind_api_version(call->arena, call->kind);
    return *link;
}

/* What nobody owns. */
static void strip(const struct call *call, struct field *set)
{
    static const char *const metadata[] = {
        "name",       "namespace",       "creationTimestamp", "deletionTimestamp", "uid",
        "generation", "resourceVersion", "managedFields",     "selfLink",          "deletionGracePeriodSeconds"};

    fields_strip(set, "apiVersion", NULL);
    fields_strip(set, "kind", NULL);
    for (size_t i = 0; i < PROA_COUNT(metadata); i++)
        fields_strip(set, "metadata", metadata[i]);
    for (struct field *child = set->children; child; child = child->next)
        if (proa_str_eq_c(child->element, "f:metadata"))
            child->is_member = false;
    if (proa_str_eq_c(call->subresource, "status")) {
        fields_strip(set, "metadata", NULL);
        fields_strip(set, "spec", NULL);
    } else if (call->kind->has_status && !call->subresource.len) {
        fields_strip(set, "status", NULL);
    }
}

static struct difference compare(struct call *call, tree *before, tree *after)
{
    struct difference difference = {fields_new(call->arena), fields_new(call->arena), fields_new(call->arena)};
    struct shape root = shape_root(call->kind);

    fields_compare(call->arena, &root, before, after, &difference);
    strip(call, difference.added);
    strip(call, difference.modified);
    strip(call, difference.removed);
    return difference;
}

static bool is_changed(const struct difference *difference)
{
    return !fields_empty(difference->added) || !fields_empty(difference->modified) ||
           !fields_empty(difference->removed);
}

void managed_update(struct call *call, yyjson_mut_doc *doc, tree *before, tree *after)
{
    struct difference difference = compare(call, before, after);
    struct managers managers = {NULL};
    struct manager *own;

    read_managers(call, before, &managers);
    if (!is_changed(&difference)) {
        write_managers(call, doc, after, &managers);
        return;
    }
    own = own_manager(call, &managers, "Update");
    own->time = now_text(call);
    for (struct manager *manager = managers.first; manager; manager = manager->next) {
        fields_subtract(manager->set, difference.removed);
        if (manager != own) {
            fields_subtract(manager->set, difference.added);
            fields_subtract(manager->set, difference.modified);
        }
    }
    fields_add(call->arena, own->set, difference.added);
    fields_add(call->arena, own->set, difference.modified);
    write_managers(call, doc, after, &managers);
}

/* -- Apply --------------------------------------------------------------------------------------------------------- */

static proa_str describe_manager(struct call *call, const struct manager *manager)
{
    struct proa_buf out;

    proa_buf_init(&out, call->arena, 0);
    proa_buf_printf(&out, "conflict with \"" PROA_FMT "\"", PROA_ARG(manager->name));
    if (manager->subresource.len)
        proa_buf_printf(&out, " with subresource \"" PROA_FMT "\"", PROA_ARG(manager->subresource));
    if (proa_str_eq_c(manager->operation, "Update"))
        proa_buf_printf(&out, " using " PROA_FMT, PROA_ARG(manager->api_version));
    return proa_buf_str(&out);
}

/* Adds a cause for each field of the conflict. */
static size_t add_conflicts(struct call *call, const struct manager *manager, const struct field *set,
                            struct proa_buf *out)
{
    struct proa_buf fields;
    proa_str rest, field, who = describe_manager(call, manager);
    size_t count = 0;

    proa_buf_init(&fields, call->arena, 0);
    fields_describe(&fields, set, call->arena, PROA_STR(""));
    rest = proa_buf_str(&fields);
    while (proa_str_split(&rest, ',', &field)) {
        add_cause(call, "FieldManagerConflict", proa_arena_cstr(call->arena, field), proa_arena_cstr(call->arena, who));
        proa_buf_printf(out, "%s" PROA_FMT ": " PROA_FMT, out->len ? "\n" : "", PROA_ARG(who), PROA_ARG(field));
        count++;
    }
    return count;
}

static int check_conflicts(struct call *call, const struct managers *managers, const struct manager *own,
                           const struct field *taken)
{
    struct proa_buf text;
    size_t count = 0;

    proa_buf_init(&text, call->arena, 0);
    for (struct manager *manager = managers->first; manager; manager = manager->next) {
        struct field *common;

        if (manager == own)
            continue;
        common = fields_common(call->arena, manager->set, taken);
        if (fields_empty(common))
            continue;
        if (call->force)
            fields_subtract(manager->set, taken);
        else
            count += add_conflicts(call, manager, common, &text);
    }
    if (count == 0)
        return 0;
    return fail_call(call, 409, "Conflict", "Apply failed with %zu conflict%s: " PROA_FMT, count, count > 1 ? "s" : "",
                     PROA_ARG(proa_buf_str(&text)));
}

int managed_apply(struct call *call, yyjson_mut_doc *doc, tree *applied)
{
    tree *live = yyjson_mut_doc_get_root(doc), *before = yyjson_mut_val_mut_copy(doc, live);
    struct shape root = shape_root(call->kind);
    struct field *wanted = fields_new(call->arena), *gone = fields_new(call->arena), *taken = fields_new(call->arena);
    struct managers managers = {NULL};
    struct difference difference;
    struct manager *own;

    read_managers(call, before, &managers);
    own = own_manager(call, &managers, "Apply");
    fields_of(call->arena, &root, applied, wanted);
    strip(call, wanted);
    live = fields_merge(call->arena, doc, &root, live, applied);
    /* What we applied last time, and neither now nor anybody else. */
    fields_add(call->arena, gone, own->set);
    fields_subtract(gone, wanted);
    for (const struct manager *manager = managers.first; manager; manager = manager->next)
        if (manager != own)
            fields_subtract(gone, manager->set);
    (void)fields_prune(call->arena, &root, live, gone);
    difference = compare(call, before, live);
    fields_add(call->arena, taken, difference.added);
    fields_add(call->arena, taken, difference.modified);
    if (check_conflicts(call, &managers, own, taken) < 0)
        return -1;
    if (is_changed(&difference) || !fields_equal(own->set, wanted) || own->time.len == 0)
        own->time = now_text(call);
    own->set = wanted;
    for (struct manager *manager = managers.first; manager; manager = manager->next)
        fields_subtract(manager->set, difference.removed);
    write_managers(call, doc, live, &managers);
    return 0;
}
