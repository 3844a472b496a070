/* Sets of fields, and walks over two objects at once, as structured-merge-diff does them for KEP-555. Lists with keys
 * and sets are walked by element; every other list, and an atomic map, is one value. */
#include "sim_kube_internal.h"

/* -- Sets ---------------------------------------------------------------------------------------------------------- */

struct field *fields_new(struct proa_arena *arena)
{
    return proa_arena_new(arena, struct field);
}

struct field *fields_child(struct proa_arena *arena, struct field *parent, proa_str element, bool create)
{
    struct field **link = &parent->children;

    while (*link && !proa_str_eq((*link)->element, element))
        link = &(*link)->next;
    if (*link || !create)
        return *link;
    *link = fields_new(arena);
    if (*link)
        (*link)->element = proa_arena_str(arena, element);
    return *link;
}

static void read_into(struct proa_arena *arena, tree *json, struct field *set)
{
    yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(json);

    for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
        tree *below = yyjson_mut_obj_iter_get_val(key);
        struct field *child;

        if (yyjson_mut_equals_str(key, ".")) {
            set->is_member = true;
            continue;
        }
        child = fields_child(arena, set, tree_text(key), true);
        if (yyjson_mut_obj_size(below) == 0)
            child->is_member = true;
        else
            read_into(arena, below, child);
    }
}

struct field *fields_read(struct proa_arena *arena, tree *json)
{
    struct field *set = fields_new(arena);

    read_into(arena, json, set);
    return set;
}

bool fields_empty(const struct field *set)
{
    if (set->is_member)
        return false;
    for (const struct field *child = set->children; child; child = child->next)
        if (!fields_empty(child))
            return false;
    return true;
}

tree *fields_write(yyjson_mut_doc *doc, const struct field *set)
{
    tree *object = yyjson_mut_obj(doc);
    bool has_children = false;

    for (const struct field *child = set->children; child; child = child->next)
        if (!fields_empty(child)) {
            if (!has_children && set->is_member)
                yyjson_mut_obj_add(object, yyjson_mut_str(doc, "."), yyjson_mut_obj(doc));
            has_children = true;
            yyjson_mut_obj_add(object, tree_strn(doc, child->element), fields_write(doc, child));
        }
    return object;
}

static const struct field *find(const struct field *set, proa_str element)
{
    const struct field *child = set ? set->children : NULL;

    while (child && !proa_str_eq(child->element, element))
        child = child->next;
    return child;
}

static bool contains_all(const struct field *a, const struct field *b)
{
    if (b->is_member && (!a || !a->is_member))
        return false;
    for (const struct field *child = b->children; child; child = child->next)
        if (!contains_all(find(a, child->element), child))
            return false;
    return true;
}

bool fields_equal(const struct field *a, const struct field *b)
{
    return contains_all(a, b) && contains_all(b, a);
}

void fields_add(struct proa_arena *arena, struct field *set, const struct field *more)
{
    set->is_member |= more->is_member;
    for (const struct field *child = more->children; child; child = child->next)
        fields_add(arena, fields_child(arena, set, child->element, true), child);
}

void fields_subtract(struct field *set, const struct field *less)
{
    if (less->is_member)
        set->is_member = false;
    for (struct field *child = set->children; child; child = child->next) {
        const struct field *other = find(less, child->element);

        if (other)
            fields_subtract(child, other);
    }
}

struct field *fields_common(struct proa_arena *arena, const struct field *a, const struct field *b)
{
    struct field *set = fields_new(arena);

    set->is_member = a->is_member && b->is_member;
    for (const struct field *child = a->children; child; child = child->next) {
        const struct field *other = find(b, child->element);

        if (other) {
            struct field *common = fields_common(arena, child, other);

            common->element = child->element;
            common->next = set->children;
            set->children = common;
        }
    }
    return set;
}

static bool is_name(proa_str element, const char *name)
{
    return proa_str_starts_with(element, PROA_STR("f:")) &&
           proa_str_eq_c(proa_str_slice(element, 2, element.len), name);
}

void fields_strip(struct field *set, const char *name, const char *below)
{
    for (struct field *child = set->children; child; child = child->next)
        if (is_name(child->element, name)) {
            if (below) {
                fields_strip(child, below, NULL);
            } else {
                child->is_member = false;
                child->children = NULL;
            }
        }
}

/* `["name"="x"]` of "k:{…}"; `[="x"]` of "v:…". */
static proa_str describe_element(struct proa_arena *arena, proa_str element)
{
    proa_str text = proa_str_slice(element, 2, element.len);
    struct proa_buf out;
    yyjson_doc *doc;
    yyjson_obj_iter iter;

    proa_buf_init(&out, arena, 0);
    if (element.ptr[0] == 'f')
        return proa_arena_printf(arena, "." PROA_FMT, PROA_ARG(text));
    if (element.ptr[0] == 'v')
        return proa_arena_printf(arena, "[=" PROA_FMT "]", PROA_ARG(text));
    doc = yyjson_read(text.ptr, text.len, 0);
    iter = yyjson_obj_iter_with(yyjson_doc_get_root(doc));
    proa_buf_add_char(&out, '[');
    for (yyjson_val *key = yyjson_obj_iter_next(&iter); key; key = yyjson_obj_iter_next(&iter)) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);

        proa_buf_printf(&out, "%s%s=", out.len > 1 ? "," : "", yyjson_get_str(key));
        if (yyjson_is_str(value))
            proa_buf_printf(&out, "\"%s\"", yyjson_get_str(value));
        else
            proa_buf_add_i64(&out, yyjson_get_sint(value));
    }
    proa_buf_add_char(&out, ']');
    yyjson_doc_free(doc);
    return proa_buf_str(&out);
}

void fields_describe(struct proa_buf *out, const struct field *set, struct proa_arena *arena, proa_str prefix)
{
    if (set->is_member)
        proa_buf_printf(out, "%s" PROA_FMT, out->len ? "," : "", PROA_ARG(prefix));
    for (const struct field *child = set->children; child; child = child->next)
        fields_describe(out, child, arena,
                        proa_arena_printf(arena, PROA_FMT PROA_FMT, PROA_ARG(prefix),
                                          PROA_ARG(describe_element(arena, child->element))));
}

/* -- Walks --------------------------------------------------------------------------------------------------------- */

static proa_str name_element(struct proa_arena *arena, proa_str name)
{
    return proa_arena_printf(arena, "f:" PROA_FMT, PROA_ARG(name));
}

static bool is_empty_map(tree *value)
{
    return yyjson_mut_is_obj(value) && yyjson_mut_obj_size(value) == 0;
}

void fields_of(struct proa_arena *arena, const struct shape *shape, tree *value, struct field *ret_set)
{
    struct list_keys keys = {0};

    if (yyjson_mut_is_arr(value))
        shape_list(shape, value, &keys);
    if (yyjson_mut_is_obj(value) && !is_empty_map(value) && !shape_is_atomic(shape)) {
        yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(value);

        for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
            struct shape below = shape_member(shape, tree_text(key));

            fields_of(arena, &below, yyjson_mut_obj_iter_get_val(key),
                      fields_child(arena, ret_set, name_element(arena, tree_text(key)), true));
        }
    } else if (yyjson_mut_is_arr(value) && keys.shape != LIST_ATOMIC) {
        struct shape below = shape_item(shape);
        yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(value);

        for (tree *item = yyjson_mut_arr_iter_next(&iter); item; item = yyjson_mut_arr_iter_next(&iter)) {
            proa_str element = shape_element(arena, &keys, item);
            struct field *child = element.ptr ? fields_child(arena, ret_set, element, true) : NULL;

            if (!child)
                continue;
            child->is_member = true;
            if (keys.shape == LIST_MAP)
                fields_of(arena, &below, item, child);
        }
    } else {
        ret_set->is_member = true;
    }
}

static tree *find_item(struct proa_arena *arena, const struct list_keys *keys, tree *list, proa_str element)
{
    yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(list);

    for (tree *item = yyjson_mut_arr_iter_next(&iter); item; item = yyjson_mut_arr_iter_next(&iter))
        if (proa_str_eq(shape_element(arena, keys, item), element))
            return item;
    return NULL;
}

static struct difference below(struct proa_arena *arena, const struct difference *difference, proa_str element)
{
    return (struct difference){fields_child(arena, difference->added, element, true),
                               fields_child(arena, difference->modified, element, true),
                               fields_child(arena, difference->removed, element, true)};
}

static void compare_maps(struct proa_arena *arena, const struct shape *shape, tree *before, tree *after,
                         const struct difference *difference)
{
    tree *const sides[] = {before, after};

    for (size_t side = 0; side < 2; side++) {
        yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(sides[side]);

        for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
            proa_str name = tree_text(key);
            tree *value = yyjson_mut_obj_iter_get_val(key), *other = tree_get(sides[!side], name);
            struct shape member = shape_member(shape, name);
            struct difference deeper;

            if (side == 1 && other)
                continue; /* seen */
            deeper = below(arena, difference, name_element(arena, name));
            fields_compare(arena, &member, side ? other : value, side ? value : other, &deeper);
        }
    }
}

static void compare_lists(struct proa_arena *arena, const struct shape *shape, const struct list_keys *keys,
                          tree *before, tree *after, const struct difference *difference)
{
    tree *const sides[] = {before, after};
    struct shape item_shape = shape_item(shape);

    for (size_t side = 0; side < 2; side++) {
        yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(sides[side]);

        for (tree *item = yyjson_mut_arr_iter_next(&iter); item; item = yyjson_mut_arr_iter_next(&iter)) {
            proa_str element = shape_element(arena, keys, item);
            tree *other = find_item(arena, keys, sides[!side], element);
            struct difference deeper;

            if (!element.ptr || (side == 1 && other))
                continue;
            deeper = below(arena, difference, element);
            if (!other)
                (side ? deeper.added : deeper.removed)->is_member = true;
            if (keys->shape == LIST_MAP)
                fields_compare(arena, &item_shape, side ? other : item, side ? item : other, &deeper);
        }
    }
}

void fields_compare(struct proa_arena *arena, const struct shape *shape, tree *before, tree *after,
                    const struct difference *ret_difference)
{
    tree *one = after ? after : before;
    struct list_keys keys = {0};
    bool same_kind = !before || !after || yyjson_mut_get_type(before) == yyjson_mut_get_type(after);

    if (same_kind && yyjson_mut_is_arr(one))
        shape_list(shape, yyjson_mut_arr_size(one) ? one : before ? before : one, &keys);
    if (same_kind && yyjson_mut_is_obj(one) && !shape_is_atomic(shape) && !is_empty_map(before) &&
        !is_empty_map(after)) {
        compare_maps(arena, shape, before, after, ret_difference);
    } else if (keys.shape != LIST_ATOMIC) {
        compare_lists(arena, shape, &keys, before, after, ret_difference);
    } else if (!before) {
        ret_difference->added->is_member = true;
    } else if (!after) {
        ret_difference->removed->is_member = true;
    } else if (!tree_equal(before, after)) {
        ret_difference->modified->is_member = true;
    }
}

static tree *merge_lists(struct proa_arena *arena, yyjson_mut_doc *doc, const struct shape *shape,
                         const struct list_keys *keys, tree *live, tree *applied)
{
    struct shape item_shape = shape_item(shape);
    yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(applied);
    tree *merged = yyjson_mut_arr(doc);

    /* The live items in their order, then what is new. */
    yyjson_mut_arr_iter old = yyjson_mut_arr_iter_with(live);
    for (tree *item = yyjson_mut_arr_iter_next(&old); item; item = yyjson_mut_arr_iter_next(&old)) {
        tree *other = find_item(arena, keys, applied, shape_element(arena, keys, item));
        tree *copy = yyjson_mut_val_mut_copy(doc, item);

        yyjson_mut_arr_append(
            merged, other && keys->shape == LIST_MAP ? fields_merge(arena, doc, &item_shape, copy, other) : copy);
    }
    for (tree *item = yyjson_mut_arr_iter_next(&iter); item; item = yyjson_mut_arr_iter_next(&iter))
        if (!find_item(arena, keys, live, shape_element(arena, keys, item)))
            yyjson_mut_arr_append(merged, yyjson_mut_val_mut_copy(doc, item));
    return merged;
}

tree *fields_merge(struct proa_arena *arena, yyjson_mut_doc *doc, const struct shape *shape, tree *live, tree *applied)
{
    struct list_keys keys = {0};

    if (yyjson_mut_is_obj(live) && yyjson_mut_is_obj(applied) && !shape_is_atomic(shape)) {
        yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(applied);

        for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
            proa_str name = tree_text(key);
            struct shape member = shape_member(shape, name);

            tree_set_str(doc, live, name,
                         fields_merge(arena, doc, &member, tree_get(live, name), yyjson_mut_obj_iter_get_val(key)));
        }
        return live;
    }
    if (yyjson_mut_is_arr(live) && yyjson_mut_is_arr(applied)) {
        shape_list(shape, applied, &keys);
        if (keys.shape != LIST_ATOMIC)
            return merge_lists(arena, doc, shape, &keys, live, applied);
    }
    return yyjson_mut_val_mut_copy(doc, applied);
}

static bool prune_list(struct proa_arena *arena, const struct shape *shape, const struct list_keys *keys, tree *list,
                       const struct field *set)
{
    struct shape item_shape = shape_item(shape);
    size_t i = 0;

    while (i < yyjson_mut_arr_size(list)) {
        tree *item = yyjson_mut_arr_get(list, i);
        const struct field *child = find(set, shape_element(arena, keys, item));

        if (child && child->is_member) {
            yyjson_mut_arr_remove(list, i);
            continue;
        }
        if (child && keys->shape == LIST_MAP)
            (void)fields_prune(arena, &item_shape, item, child);
        i++;
    }
    return yyjson_mut_arr_size(list) == 0;
}

bool fields_prune(struct proa_arena *arena, const struct shape *shape, tree *value, const struct field *set)
{
    struct list_keys keys = {0};

    if (yyjson_mut_is_arr(value)) {
        shape_list(shape, value, &keys);
        return keys.shape != LIST_ATOMIC && prune_list(arena, shape, &keys, value, set);
    }
    if (!yyjson_mut_is_obj(value))
        return false;
    for (const struct field *child = set->children; child; child = child->next) {
        proa_str name = proa_str_slice(child->element, 2, child->element.len);
        struct shape member = shape_member(shape, name);
        tree *below = tree_get(value, name);

        if (!below || fields_empty(child))
            continue;
        if (child->is_member || fields_prune(arena, &member, below, child))
            tree_remove(value, name);
    }
    return yyjson_mut_obj_size(value) == 0;
}
