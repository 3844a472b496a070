/* Merge patches (RFC 7396) on described structs: into a shallow copy, in which changed lists and dictionaries are new
 * ones, so that the original stays whole when a rule is broken. */
#include "json_walk.h"

#include <stdlib.h>

/* The members of a patch's object, sorted by key. */
struct patch_item {
    proa_str key;
    yyjson_val *value;
    size_t order; /* in the document */
    bool used;
};
struct patch_items {
    struct patch_item *items;
    size_t count;
};

static int compare_items(const void *a, const void *b)
{
    return proa_str_cmp(((const struct patch_item *)a)->key, ((const struct patch_item *)b)->key);
}

static int compare_order(const void *a, const void *b)
{
    size_t x = ((const struct patch_item *)a)->order, y = ((const struct patch_item *)b)->order;

    return (x > y) - (x < y);
}

static bool items_of(struct rules *rules, yyjson_val *object, struct patch_items *ret_items)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    struct patch_item *items = proa_arena_calloc(rules->arena, yyjson_obj_size(object), sizeof *items);
    size_t count = 0;
    yyjson_val *key;

    if (!items) {
        rules->memory_out = true;
        return false;
    }
    for (; (key = yyjson_obj_iter_next(&it)); count++)
        items[count] =
            (struct patch_item){.key = json_string(key), .value = yyjson_obj_iter_get_val(key), .order = count};
    qsort(items, count, sizeof *items, compare_items);
    *ret_items = (struct patch_items){items, count};
    return true;
}

/* The patch's member of this name, marked as used; NULL when there is none. */
static yyjson_val *take_item(struct patch_items *items, proa_str key)
{
    const struct patch_item wanted = {.key = key};
    struct patch_item *item = bsearch(&wanted, items->items, items->count, sizeof wanted, compare_items);

    if (!item)
        return NULL;
    item->used = true;
    return item->value;
}

/* -- Raw JSON --------------------------------------------------------------------------------------------------- */

static int merge_text(struct rules *rules, struct proa_buf *out, yyjson_val *target, yyjson_val *patch);

static int add_member(struct rules *rules, struct proa_buf *out, bool *first, proa_str key, yyjson_val *target,
                      yyjson_val *patch)
{
    if (!*first)
        PROA_TRY(proa_buf_add_char(out, ','));
    *first = false;
    PROA_TRY(json_add_string(out, key, false));
    PROA_TRY(proa_buf_add_char(out, ':'));
    return patch ? merge_text(rules, out, target, patch) : json_add_value(out, rules->arena, target);
}

/* Writes target, changed by patch. Its depth was checked. */
static int merge_text(struct rules *rules, struct proa_buf *out, yyjson_val *target, yyjson_val *patch)
{
    struct patch_items items;
    bool first = true;
    yyjson_val *key;

    if (!yyjson_is_obj(patch))
        return json_add_value(out, rules->arena, patch);
    if (!items_of(rules, patch, &items))
        return PROA_ENOMEM;
    PROA_TRY(proa_buf_add_char(out, '{'));
    if (yyjson_is_obj(target)) {
        yyjson_obj_iter it = yyjson_obj_iter_with(target);

        while ((key = yyjson_obj_iter_next(&it))) {
            yyjson_val *change = take_item(&items, json_string(key));

            if (!yyjson_is_null(change))
                PROA_TRY(add_member(rules, out, &first, json_string(key), yyjson_obj_iter_get_val(key), change));
        }
    }
    qsort(items.items, items.count, sizeof *items.items, compare_order);
    for (size_t i = 0; i < items.count; i++)
        if (!items.items[i].used && !yyjson_is_null(items.items[i].value))
            PROA_TRY(add_member(rules, out, &first, items.items[i].key, NULL, items.items[i].value));
    return proa_buf_add_char(out, '}');
}

static void merge_raw(struct rules *rules, yyjson_val *patch, proa_str *text, const struct value_path *path, int depth)
{
    struct json_text target PROA_CLEANUP(json_text_done) = {0};
    uint32_t broken_before = rules->broken;
    struct proa_buf out;

    json_check_tree(rules, patch, path, depth);
    if (rules->broken != broken_before)
        return;
    if (text->len && json_parse(&target, rules->arena, *text, NULL) < 0)
        target.root = NULL; /* not JSON: nothing of it can be kept */
    proa_buf_init(&out, rules->arena, 0);
    if (merge_text(rules, &out, target.root, patch) < 0)
        rules->memory_out = true;
    else
        *text = proa_buf_str(&out);
}

/* -- Described members ------------------------------------------------------------------------------------------ */

/* `fresh`: nothing was there; what is not given gets its default. */
static void merge_object(struct rules *rules, const struct proa_type *type, yyjson_val *patch, char *value, bool fresh,
                         const struct value_path *path, int depth);

/* A value whose patch is not null. */
static void merge_value(struct rules *rules, const struct proa_field *field, yyjson_val *patch, char *value, bool fresh,
                        const struct value_path *path, int depth)
{
    if (field->kind == PROA_OBJECT)
        merge_object(rules, field->type, patch, value, fresh, path, depth);
    else if (field->kind == PROA_RAW)
        merge_raw(rules, patch, (proa_str *)(void *)value, path, depth);
    else
        json_read_value(rules, field, patch, value, path, depth);
}

static void add_entries(struct rules *rules, const struct proa_field *field, struct patch_items *items,
                        struct slice_header *map, const struct value_path *path, int depth)
{
    qsort(items->items, items->count, sizeof *items->items, compare_order);
    for (size_t i = 0; i < items->count; i++) {
        struct patch_item *item = &items->items[i];
        struct value_path below = {.up = path, .key = item->key};
        char *entry = element_at(field, map, map->len);

        if (item->used || yyjson_is_null(item->value))
            continue;
        ((struct entry_header *)(void *)entry)->key = item->key;
        merge_value(rules, field, item->value, element_value(field, entry), true, &below, depth + 1);
        map->len++;
    }
}

static void merge_dictionary(struct rules *rules, const struct proa_field *field, yyjson_val *patch,
                             struct slice_header *map, const struct value_path *path, int depth)
{
    struct slice_header merged = {0};
    struct patch_items items;

    if (!yyjson_is_obj(patch)) {
        rule_broken(rules, path, "type", "must be an object");
        return;
    }
    if (json_too_deep(rules, path, depth) || !items_of(rules, patch, &items))
        return;
    for (size_t i = 1; i < items.count; i++)
        if (proa_str_eq(items.items[i - 1].key, items.items[i].key)) {
            struct value_path below = {.up = path, .key = items.items[i].key};

            rule_broken(rules, &below, "duplicate", "is given twice");
        }
    merged.ptr = proa_arena_calloc(rules->arena, map->len + items.count, field->stride);
    if (!merged.ptr) {
        rules->memory_out = true;
        return;
    }
    for (size_t i = 0; i < map->len; i++) {
        const char *old = element_at(field, map, i);
        yyjson_val *change = take_item(&items, element_key(old));
        struct value_path below = {.up = path, .key = element_key(old)};
        char *entry = element_at(field, &merged, merged.len);

        if (yyjson_is_null(change))
            continue;
        memcpy(entry, old, field->stride);
        merged.len++;
        if (change)
            merge_value(rules, field, change, element_value(field, entry), false, &below, depth + 1);
    }
    add_entries(rules, field, &items, &merged, path, depth);
    *map = merged;
}

static void remove_member(struct rules *rules, const struct proa_field *field, char *value,
                          const struct value_path *path)
{
    if (field->default_json) {
        field_default(rules, field, value, path);
    } else if (field->optional) {
        memset(value + field->offset, 0, member_bytes(field));
        *presence_of(field, value) = PROA_ABSENT;
    } else {
        rule_broken(rules, path, "required", "is required and cannot be removed");
    }
}

static void merge_member(struct rules *rules, const struct proa_field *field, yyjson_val *patch, char *value,
                         bool fresh, const struct value_path *path, int depth)
{
    char *out = value + field->value_offset;

    if (yyjson_is_null(patch)) {
        remove_member(rules, field, value, path);
        return;
    }
    if (field->container == PROA_LIST) {
        json_read_member(rules, field, patch, value, path, depth);
        return;
    }
    if (!is_set(field, value)) {
        memset(out, 0, member_bytes(field) - (field->value_offset - field->offset));
        fresh = true;
    }
    if (field->optional)
        *presence_of(field, value) = PROA_SET;
    if (field->container == PROA_DICTIONARY)
        merge_dictionary(rules, field, patch, (void *)out, path, depth);
    else
        merge_value(rules, field, patch, out, fresh, path, depth);
}

static void merge_object(struct rules *rules, const struct proa_type *type, yyjson_val *patch, char *value, bool fresh,
                         const struct value_path *path, int depth)
{
    uint64_t given = 0;
    struct value_path below;
    struct json_walk walk;

    if (!json_walk_begin(&walk, rules, type, patch, path, depth, &below))
        return;
    while (json_walk_next(&walk)) {
        if (walk.field->read_only) {
            json_check_tree(rules, walk.member, &below, depth + 1);
            continue;
        }
        merge_member(rules, walk.field, walk.member, value, fresh, &below, depth + 1);
        given |= walk.bit;
    }
    if (fresh)
        json_complete(rules, type, given, value, path);
}

int proa_json_merge_type(struct proa_arena *arena, proa_str patch, const struct proa_type *type, void *value,
                         struct proa_error *err)
{
    struct json_text json PROA_CLEANUP(json_text_done) = {0};
    struct rules rules = {.arena = arena, .err = err, .flags = PROA_JSON_INPUT};
    char *merged;

    PROA_TRY(json_parse(&json, arena, patch, err));
    merged = proa_arena_alloc(arena, type->size);
    if (!merged)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    memcpy(merged, value, type->size);
    merge_object(&rules, type, json.root, merged, false, NULL, 1);
    /* What the patch set was checked as it was read. The whole is looked at when that held: a rule is reported once. */
    if (!rules.broken && !rules.memory_out)
        check_struct(&rules, type, merged, NULL);
    PROA_TRY(rules_outcome(&rules));
    memcpy(value, merged, type->size);
    return 0;
}
