/* Objects by key, their versions, and the newest changes in a ring. */
#include "sim_kube_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int store_init(struct proa_sim_kube *kube)
{
    kube->history_max = kube->options.history ? kube->options.history : HISTORY_DEFAULT;
    kube->history = calloc(kube->history_max, sizeof *kube->history);
    kube->version = kube->forgotten = FIRST_VERSION;
    return kube->history ? 0 : PROA_ENOMEM;
}

void snapshot_unref(struct sim_snapshot *snapshot)
{
    if (!snapshot || --snapshot->refs > 0)
        return;
    yyjson_doc_free(snapshot->doc);
    free(snapshot->text);
    free(snapshot);
}

static void drop_change(struct sim_change *change)
{
    snapshot_unref(change->before);
    snapshot_unref(change->after);
    free(change->owned_key);
    *change = (struct sim_change){0};
}

static void object_free(struct sim_object *object)
{
    snapshot_unref(object->now);
    free((void *)(uintptr_t)object->key.ptr);
    free(object);
}

void store_done(struct proa_sim_kube *kube)
{
    store_forget(kube);
    free(kube->history);
    for (size_t i = 0; i < kube->kinds.len; i++) {
        struct sim_kind *kind = *(struct sim_kind **)proa_vec_at(&kube->kinds, i);

        for (size_t j = 0; j < kind->objects.len; j++)
            object_free(*(struct sim_object **)proa_vec_at(&kind->objects, j));
    }
}

void store_forget(struct proa_sim_kube *kube)
{
    while (kube->changes_from < kube->changes)
        drop_change(&kube->history[kube->changes_from++ % kube->history_max]);
    kube->forgotten = kube->version;
}

size_t store_lower(const struct sim_kind *kind, proa_str key)
{
    size_t low = 0, high = kind->objects.len;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct sim_object *object = *(struct sim_object **)proa_vec_at(&kind->objects, middle);

        if (proa_str_cmp(object->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Heap text. */
static proa_str make_key(proa_str namespace_, proa_str name)
{
    size_t len = namespace_.len + name.len + 1;
    char *key = malloc(len + 1);

    if (!key)
        return (proa_str){NULL, 0};
    if (namespace_.len)
        memcpy(key, namespace_.ptr, namespace_.len);
    key[namespace_.len] = '/';
    if (name.len)
        memcpy(key + namespace_.len + 1, name.ptr, name.len);
    key[len] = 0;
    return proa_str_n(key, len);
}

struct sim_object *store_find(const struct sim_kind *kind, proa_str namespace_, proa_str name)
{
    proa_str key = make_key(namespace_, name);
    struct sim_object *found = NULL;
    size_t at;

    if (!key.ptr)
        return NULL;
    at = store_lower(kind, key);
    if (at < kind->objects.len)
        found = *(struct sim_object **)proa_vec_at(&kind->objects, at);
    if (found && !proa_str_eq(found->key, key))
        found = NULL;
    free((void *)(uintptr_t)key.ptr);
    return found;
}

struct sim_snapshot *snapshot_new(yyjson_mut_doc *doc, uint64_t version)
{
    struct sim_snapshot *snapshot = calloc(1, sizeof *snapshot);
    tree *root = yyjson_mut_doc_get_root(doc);
    char text[PROA_U64_TEXT_MAX];

    if (!snapshot)
        return NULL;
    snapshot->refs = 1;
    snapshot->version = version;
    tree_set_text(doc, tree_object(doc, root, "metadata"), "resourceVersion",
                  proa_str_n(text, proa_u64_text(version, text)));
    snapshot->text = tree_write(root, &snapshot->len);
    snapshot->doc = snapshot->text ? yyjson_read(snapshot->text, snapshot->len, 0) : NULL;
    if (!snapshot->doc) {
        free(snapshot->text);
        free(snapshot);
        return NULL;
    }
    return snapshot;
}

/* Writes a change down; takes over nothing. */
static int record(struct proa_sim_kube *kube, const struct sim_object *object, struct sim_snapshot *before,
                  struct sim_snapshot *after, bool is_deletion)
{
    struct sim_change *change = &kube->history[kube->changes % kube->history_max];
    char *key = strdup(object->key.ptr);

    if (!key)
        return PROA_ENOMEM;
    if (kube->changes - kube->changes_from == kube->history_max) {
        kube->forgotten = change->version;
        drop_change(change);
        kube->changes_from++;
    }
    *change = (struct sim_change){.version = after->version,
                                  .kind = object->kind,
                                  .key = proa_str_c(key),
                                  .owned_key = key,
                                  .before = before ? snapshot_ref(before) : NULL,
                                  .after = snapshot_ref(after),
                                  .is_deletion = is_deletion};
    kube->changes++;
    kube->version = after->version;
    proa_event_pulse(&kube->changed);
    return 0;
}

static struct sim_object *insert(struct sim_kind *kind, tree *root)
{
    proa_str namespace_ = meta_text(root, "namespace"), name = meta_text(root, "name");
    struct sim_object *object = calloc(1, sizeof *object), **items;
    size_t at;

    if (!object)
        return NULL;
    object->kind = kind;
    object->key = make_key(namespace_, name);
    if (!object->key.ptr || !proa_vec_push(&kind->objects)) {
        free((void *)(uintptr_t)object->key.ptr);
        free(object);
        return NULL;
    }
    object->namespace_ = proa_str_slice(object->key, 0, namespace_.len);
    object->name = proa_str_slice(object->key, namespace_.len + 1, object->key.len);
    /* The new last item has no object yet: search without it. */
    kind->objects.len--;
    at = store_lower(kind, object->key);
    items = kind->objects.items;
    memmove(items + at + 1, items + at, (kind->objects.len - at) * sizeof *items);
    items[at] = object;
    kind->objects.len++;
    return object;
}

int store_put(struct proa_sim_kube *kube, struct sim_kind *kind, struct sim_object *object, yyjson_mut_doc *doc,
              struct sim_object **ret_object)
{
    struct sim_snapshot *snapshot = snapshot_new(doc, kube->version + 1), *before;

    if (!snapshot)
        return PROA_ENOMEM;
    if (!object)
        object = insert(kind, yyjson_mut_doc_get_root(doc));
    if (!object || record(kube, object, object->now, snapshot, false) < 0) {
        snapshot_unref(snapshot);
        return PROA_ENOMEM;
    }
    before = object->now;
    object->now = snapshot;
    snapshot_unref(before);
    if (ret_object)
        *ret_object = object;
    return 0;
}

int store_remove(struct proa_sim_kube *kube, struct sim_object *object, yyjson_mut_doc *doc)
{
    yyjson_mut_doc *own = doc ? NULL : yyjson_doc_mut_copy(object->now->doc, NULL);
    struct sim_snapshot *last = doc || own ? snapshot_new(doc ? doc : own, kube->version + 1) : NULL;
    struct sim_kind *kind = object->kind;
    int rc;

    yyjson_mut_doc_free(own);
    if (!last)
        return PROA_ENOMEM;
    rc = record(kube, object, object->now, last, true);
    snapshot_unref(last);
    PROA_TRY(rc);
    proa_vec_remove(&kind->objects, store_lower(kind, object->key));
    object_free(object);
    return 0;
}

int store_changes_after(const struct proa_sim_kube *kube, uint64_t version, uint64_t *ret_change)
{
    uint64_t low = kube->changes_from, high = kube->changes;

    if (version < kube->forgotten)
        return PROA_EPRECONDITION;
    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (kube->history[middle % kube->history_max].version <= version)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_change = low;
    return 0;
}

/* -- As it was ----------------------------------------------------------------------------------------------------- */

void store_entries_done(struct proa_vec *entries)
{
    for (size_t i = 0; i < entries->len; i++) {
        struct store_entry *entry = proa_vec_at(entries, i);

        free((void *)(uintptr_t)entry->key.ptr);
        snapshot_unref(entry->snapshot);
    }
    proa_vec_done(entries);
}

static size_t find_entry(const struct proa_vec *entries, proa_str key, bool *ret_found)
{
    size_t low = 0, high = entries->len;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (proa_str_cmp(((struct store_entry *)proa_vec_at(entries, middle))->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = low < entries->len && proa_str_eq(((struct store_entry *)proa_vec_at(entries, low))->key, key);
    return low;
}

/* What a change made is unmade. */
static int undo(struct proa_vec *entries, const struct sim_change *change)
{
    bool found;
    size_t at = find_entry(entries, change->key, &found);
    struct store_entry *items;

    if (found) {
        struct store_entry *entry = proa_vec_at(entries, at);

        snapshot_unref(entry->snapshot);
        entry->snapshot = change->before ? snapshot_ref(change->before) : NULL;
        if (!entry->snapshot) {
            free((void *)(uintptr_t)entry->key.ptr);
            proa_vec_remove(entries, at);
        }
        return 0;
    }
    if (!change->before)
        return 0;
    if (!proa_vec_push(entries))
        return PROA_ENOMEM;
    items = entries->items;
    memmove(items + at + 1, items + at, (entries->len - 1 - at) * sizeof *items);
    items[at] =
        (struct store_entry){proa_str_n(strdup(change->key.ptr), change->key.len), snapshot_ref(change->before)};
    return items[at].key.ptr ? 0 : PROA_ENOMEM;
}

int store_list_at(struct proa_sim_kube *kube, const struct sim_kind *kind, uint64_t version,
                  struct proa_vec *ret_entries)
{
    struct proa_vec entries;
    uint64_t from;
    int rc = 0;

    PROA_TRY(store_changes_after(kube, version, &from));
    proa_vec_init(&entries, sizeof(struct store_entry));
    for (size_t i = 0; i < kind->objects.len && rc == 0; i++) {
        const struct sim_object *object = *(struct sim_object **)proa_vec_at(&kind->objects, i);
        struct store_entry *entry = proa_vec_push(&entries);

        if (entry) {
            *entry =
                (struct store_entry){proa_str_n(strdup(object->key.ptr), object->key.len), snapshot_ref(object->now)};
            rc = entry->key.ptr ? 0 : PROA_ENOMEM;
        } else {
            rc = PROA_ENOMEM;
        }
    }
    for (uint64_t i = kube->changes; rc == 0 && i > from; i--) {
        const struct sim_change *change = &kube->history[(i - 1) % kube->history_max];

        if (change->kind == kind)
            rc = undo(&entries, change);
    }
    if (rc < 0) {
        store_entries_done(&entries);
        return rc;
    }
    *ret_entries = entries;
    return 0;
}
