/* JSON into structs: parsed by yyjson, then taken apart by the description. One pass collects all broken rules in the
 * order of the document. The recursion is bounded by the depth of 64 and its frames are small: it runs on fibers'
 * stacks. */
#include "json_walk.h"

#include <math.h>
#include <stdlib.h>

enum {
    SMALL_OBJECT_KEYS = 16, /* keys of so many members are compared with each other, more are sorted */
};

static void wrong_kind(struct rules *rules, const struct proa_field *field, const struct value_path *path)
{
    rule_broken(rules, path, "type", "must be %s", kind_word(field));
}

/* -- Single values ---------------------------------------------------------------------------------------------- */

static void read_integer(struct rules *rules, const struct proa_field *field, yyjson_val *value, void *out,
                         const struct value_path *path)
{
    bool negative = false;
    int64_t s;
    uint64_t u;

    if (yyjson_is_uint(value)) {
        u = yyjson_get_uint(value);
        s = (int64_t)u;
    } else if (yyjson_is_sint(value)) {
        s = yyjson_get_sint(value);
        u = (uint64_t)s;
        negative = s < 0;
    } else if (yyjson_is_real(value)) {
        double number = yyjson_get_real(value);

        /* 1.0 and 1e3 are integers to JSON Schema; from 2^53 on a double does not say which one was meant. */
        if (number != trunc(number)) {
            wrong_kind(rules, field, path);
            return;
        }
        if (fabs(number) >= 9007199254740992.0) {
            integer_out_of_range(rules, field, path);
            return;
        }
        s = (int64_t)number;
        u = (uint64_t)s;
        negative = s < 0;
    } else if (yyjson_is_raw(value)) {
        integer_out_of_range(rules, field, path);
        return;
    } else {
        wrong_kind(rules, field, path);
        return;
    }
    if (integer_fits(field->kind, negative, s, u))
        integer_store(field->kind, out, s, u);
    else
        integer_out_of_range(rules, field, path);
}

static void read_double(struct rules *rules, const struct proa_field *field, yyjson_val *value, void *out,
                        const struct value_path *path)
{
    double number;

    if (yyjson_is_raw(value)) {
        if (proa_str_to_double(proa_str_n(yyjson_get_raw(value), yyjson_get_len(value)), &number) < 0) {
            rule_broken(rules, path, "range", "does not fit a double");
            return;
        }
    } else if (yyjson_is_num(value)) {
        number = yyjson_get_num(value);
        if (number == 0 && yyjson_is_sint(value))
            number = -0.0; /* "-0", which yyjson has as a whole number */
    } else {
        wrong_kind(rules, field, path);
        return;
    }
    *(double *)out = number;
}

static void read_text(struct rules *rules, const struct proa_field *field, yyjson_val *value, void *out,
                      const struct value_path *path)
{
    if (field->kind == PROA_QUANTITY && yyjson_is_uint(value)) {
        ((struct proa_quantity *)out)->bytes = yyjson_get_uint(value);
        return;
    }
    if (!yyjson_is_str(value))
        wrong_kind(rules, field, path);
    else if (!read_textual(rules, field, json_string(value), out))
        text_refused(rules, field, path);
}

/* Kept as compact JSON. */
static void read_raw(struct rules *rules, yyjson_val *value, proa_str *out, const struct value_path *path, int depth)
{
    struct proa_buf text;

    json_check_tree(rules, value, path, depth);
    proa_buf_init(&text, rules->arena, 0);
    if (json_add_value(&text, rules->arena, value) < 0)
        rules->memory_out = true;
    else
        *out = proa_buf_str(&text);
}

void json_read_value(struct rules *rules, const struct proa_field *field, yyjson_val *value, void *out,
                     const struct value_path *path, int depth)
{
    uint32_t broken_before = rules->broken;

    switch (field->kind) {
    case PROA_OBJECT: json_read_object(rules, field->type, value, out, path, depth); return;
    case PROA_RAW: read_raw(rules, value, out, path, depth); return;
    case PROA_BOOLEAN:
        if (yyjson_is_bool(value))
            *(bool *)out = yyjson_get_bool(value);
        else
            wrong_kind(rules, field, path);
        return;
    case PROA_F64: read_double(rules, field, value, out, path); break;
    case PROA_TEXT:
    case PROA_ENUMERATION:
    case PROA_BYTES:
    case PROA_TIMESTAMP:
    case PROA_DURATION:
    case PROA_QUANTITY: read_text(rules, field, value, out, path); break;
    default: read_integer(rules, field, value, out, path); break;
    }
    if (rules->broken == broken_before)
        check_value(rules, field, out, path);
}

/* -- Strictness that yyjson leaves to us ------------------------------------------------------------------------ */

bool json_too_deep(struct rules *rules, const struct value_path *path, int depth)
{
    if (depth <= PROA_JSON_DEPTH_DEFAULT)
        return false;
    rule_broken(rules, path, "depth", "is nested deeper than %d levels", PROA_JSON_DEPTH_DEFAULT);
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    const proa_str *x = a, *y = b;

    /* By length first: cheaper, and any order will do. */
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return x->len ? memcmp(x->ptr, y->ptr, x->len) : 0;
}

static void key_doubled(struct rules *rules, proa_str key, const struct value_path *path)
{
    struct value_path below = {.up = path, .key = key};

    rule_broken(rules, &below, "duplicate", "is given twice");
}

static void check_few_keys(struct rules *rules, yyjson_val *object, const struct value_path *path)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        yyjson_obj_iter earlier = yyjson_obj_iter_with(object);
        yyjson_val *other;

        while ((other = yyjson_obj_iter_next(&earlier)) && other != key)
            if (proa_str_eq(json_string(other), json_string(key))) {
                key_doubled(rules, json_string(key), path);
                break;
            }
    }
}

void json_check_keys(struct rules *rules, struct yyjson_val *object, const struct value_path *path)
{
    size_t count = yyjson_obj_size(object), i = 0;
    yyjson_obj_iter it;
    yyjson_val *key;
    proa_str *keys;

    if (count <= SMALL_OBJECT_KEYS) {
        check_few_keys(rules, object, path);
        return;
    }
    keys = proa_arena_alloc(rules->arena, count * sizeof *keys);
    if (!keys) {
        rules->memory_out = true;
        return;
    }
    it = yyjson_obj_iter_with(object);
    while ((key = yyjson_obj_iter_next(&it)))
        keys[i++] = json_string(key);
    qsort(keys, count, sizeof *keys, compare_keys);
    for (i = 1; i < count; i++)
        if (proa_str_eq(keys[i - 1], keys[i]) && (i < 2 || !proa_str_eq(keys[i - 2], keys[i])))
            key_doubled(rules, keys[i], path);
}

void json_check_tree(struct rules *rules, struct yyjson_val *value, const struct value_path *path, int depth)
{
    struct value_path below = {.up = path};
    yyjson_val *key, *item;

    if (!yyjson_is_ctn(value) || json_too_deep(rules, path, depth))
        return;
    if (yyjson_is_obj(value)) {
        yyjson_obj_iter it = yyjson_obj_iter_with(value);

        json_check_keys(rules, value, path);
        while ((key = yyjson_obj_iter_next(&it))) {
            below.key = json_string(key);
            json_check_tree(rules, yyjson_obj_iter_get_val(key), &below, depth + 1);
        }
    } else {
        yyjson_arr_iter it = yyjson_arr_iter_with(value);

        below.is_index = true;
        for (; (item = yyjson_arr_iter_next(&it)); below.index++)
            json_check_tree(rules, item, &below, depth + 1);
    }
}

/* -- Lists, dictionaries, members ------------------------------------------------------------------------------- */

/* Room for the elements, all zero. NULL: memory is out, or there are more than the description allows, which is
 * said. */
static char *new_elements(struct rules *rules, const struct proa_field *field, size_t count,
                          const struct value_path *path)
{
    char *elements;

    /* What is too long is not read at all: it would only cost memory. */
    if (field->max_items && count > field->max_items) {
        check_count(rules, field, count, path);
        return NULL;
    }
    elements = proa_arena_calloc(rules->arena, count, field->stride);
    if (!elements)
        rules->memory_out = true;
    return elements;
}

static void read_list(struct rules *rules, const struct proa_field *field, yyjson_val *value, struct slice_header *out,
                      const struct value_path *path, int depth)
{
    yyjson_arr_iter it;
    struct value_path below = {.up = path, .is_index = true};
    size_t count = yyjson_arr_size(value);
    uint32_t broken_before = rules->broken;
    yyjson_val *item;
    char *items;

    if (!yyjson_is_arr(value)) {
        rule_broken(rules, path, "type", "must be a list");
        return;
    }
    if (json_too_deep(rules, path, depth) || !(items = new_elements(rules, field, count, path)))
        return;
    it = yyjson_arr_iter_with(value);
    for (; (item = yyjson_arr_iter_next(&it)); below.index++)
        json_read_value(rules, field, item, items + below.index * field->stride, &below, depth + 1);
    out->ptr = items;
    out->len = count;
    if (rules->broken == broken_before)
        check_items(rules, field, items, count, path);
    else
        check_count(rules, field, count, path);
}

static void read_dictionary(struct rules *rules, const struct proa_field *field, yyjson_val *value,
                            struct slice_header *out, const struct value_path *path, int depth)
{
    yyjson_obj_iter it;
    struct value_path below = {.up = path};
    size_t count = yyjson_obj_size(value);
    yyjson_val *key;
    char *entry, *entries;

    if (!yyjson_is_obj(value)) {
        rule_broken(rules, path, "type", "must be an object");
        return;
    }
    if (json_too_deep(rules, path, depth) || !(entries = new_elements(rules, field, count, path)))
        return;
    json_check_keys(rules, value, path);
    it = yyjson_obj_iter_with(value);
    for (entry = entries; (key = yyjson_obj_iter_next(&it)); entry += field->stride) {
        below.key = ((struct entry_header *)(void *)entry)->key = json_string(key);
        json_read_value(rules, field, yyjson_obj_iter_get_val(key), element_value(field, entry), &below, depth + 1);
    }
    out->ptr = entries;
    out->len = count;
    check_count(rules, field, count, path);
}

/* `depth` is the level of the member's value. */
void json_read_member(struct rules *rules, const struct proa_field *field, struct yyjson_val *value, void *struct_ptr,
                      const struct value_path *path, int depth)
{
    void *out = (char *)struct_ptr + field->value_offset;

    if (field->optional) {
        enum proa_presence *presence = presence_of(field, struct_ptr);

        *presence = yyjson_is_null(value) ? PROA_NULL : PROA_SET;
        if (*presence == PROA_NULL)
            return;
    }
    switch (field->container) {
    case PROA_LIST: read_list(rules, field, value, out, path, depth); break;
    case PROA_DICTIONARY: read_dictionary(rules, field, value, out, path, depth); break;
    default: json_read_value(rules, field, value, out, path, depth); break;
    }
}

/* -- Defaults --------------------------------------------------------------------------------------------------- */

/* Numbers, booleans and plain text, which most defaults are, need no parser. @returns false for all others. */
static bool simple_default(const struct proa_field *field, void *out)
{
    proa_str text = proa_str_c(field->default_json);
    uint64_t u;

    if (field->container != PROA_SINGLE)
        return false;
    if (field->kind == PROA_BOOLEAN) {
        *(bool *)out = proa_str_eq_c(text, "true");
        return *(bool *)out || proa_str_eq_c(text, "false");
    }
    if (kind_is_integer(field->kind)) {
        if (proa_str_to_u64(text, &u) < 0 || !integer_fits(field->kind, false, 0, u))
            return false;
        integer_store(field->kind, out, (int64_t)u, u);
        return true;
    }
    if (field->kind != PROA_TEXT || text.len < 2 || text.ptr[0] != '"')
        return false;
    text = proa_str_slice(text, 1, text.len - 1);
    if (!json_is_plain(text))
        return false;
    *(proa_str *)out = text;
    return true;
}

void field_default(struct rules *rules, const struct proa_field *field, void *struct_ptr, const struct value_path *path)
{
    struct json_text json PROA_CLEANUP(json_text_done) = {0};
    struct rules own = {.arena = rules->arena};

    if (simple_default(field, (char *)struct_ptr + field->value_offset)) {
        if (field->optional)
            *presence_of(field, struct_ptr) = PROA_SET;
        return;
    }
    if (json_parse(&json, rules->arena, proa_str_c(field->default_json), NULL) < 0)
        own.broken = 1;
    else
        json_read_member(&own, field, json.root, struct_ptr, NULL, 1);
    rules->memory_out = rules->memory_out || own.memory_out;
    /* proa_type_check finds it earlier. */
    if (own.broken && !own.memory_out)
        rule_broken(rules, path, "default", "has a default that breaks its own rules");
}

/* Members that were not given. */
void json_complete(struct rules *rules, const struct proa_type *type, uint64_t seen, void *out,
                   const struct value_path *path)
{
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];
        struct value_path below = {.up = path};

        if (seen & UINT64_C(1) << i)
            continue;
        below.key = proa_field_name(field);
        if (field->default_json)
            field_default(rules, field, out, &below);
        else if (!field->optional && !((rules->flags & PROA_JSON_INPUT) && field->read_only))
            rule_broken(rules, &below, "required", "is required");
    }
}

/* -- Objects ---------------------------------------------------------------------------------------------------- */

/* Go's programs write null where there is nothing. */
static bool is_absent(const struct rules *rules, const struct proa_field *field, yyjson_val *value)
{
    return (rules->flags & PROA_JSON_LENIENT) && yyjson_is_null(value) && field->default_json && !field->optional &&
           field->kind != PROA_RAW;
}

void json_read_object(struct rules *rules, const struct proa_type *type, struct yyjson_val *value, void *out,
                      const struct value_path *path, int depth)
{
    uint32_t broken_before = rules->broken;
    uint64_t skipped = 0;
    struct value_path below;
    struct json_walk walk;

    if (!json_walk_begin(&walk, rules, type, value, path, depth, &below))
        return;
    while (json_walk_next(&walk)) {
        if ((rules->flags & PROA_JSON_INPUT) && walk.field->read_only) {
            skipped |= walk.bit;
            json_check_tree(rules, walk.member, &below, depth + 1);
        } else if (is_absent(rules, walk.field, walk.member)) {
            skipped |= walk.bit;
        } else {
            json_read_member(rules, walk.field, walk.member, out, &below, depth + 1);
        }
    }
    if (rules->flags & PROA_JSON_PARTIAL)
        return;
    json_complete(rules, type, walk.seen & ~skipped, out, path);
    if (rules->broken == broken_before)
        check_whole(rules, type, out, path);
}

/* -- The public calls ------------------------------------------------------------------------------------------- */

int proa_json_read_type(struct proa_arena *arena, proa_str text, unsigned flags, const struct proa_type *type,
                        void *ret_value, struct proa_error *err)
{
    struct json_text json PROA_CLEANUP(json_text_done) = {0};
    struct rules rules = {.arena = arena, .err = err, .flags = flags};
    void *value;

    PROA_TRY(json_parse(&json, arena, text, err));
    value = proa_arena_calloc(arena, 1, type->size);
    if (!value)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    json_read_object(&rules, type, json.root, value, NULL, 1);
    PROA_TRY(rules_outcome(&rules));
    memcpy(ret_value, value, type->size);
    return 0;
}

int proa_json_read_field(struct proa_arena *arena, proa_str text, unsigned flags, const struct proa_field *field,
                         void *struct_ptr, struct proa_error *err)
{
    struct json_text json PROA_CLEANUP(json_text_done) = {0};
    struct rules rules = {.arena = arena, .err = err, .flags = flags};
    const struct proa_field alone = field_alone(field);
    void *value;

    PROA_TRY(json_parse(&json, arena, text, err));
    value = proa_arena_calloc(arena, 1, member_bytes(field));
    if (!value)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    json_read_member(&rules, &alone, json.root, value, NULL, 1);
    PROA_TRY(rules_outcome(&rules));
    memcpy((char *)struct_ptr + field->offset, value, member_bytes(field));
    return 0;
}

int proa_json_check(proa_str text, struct proa_error *err)
{
    struct json_text json PROA_CLEANUP(json_text_done) = {0};
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct rules rules = {.arena = &arena, .err = err};

    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(json_parse(&json, &arena, text, err));
    json_check_tree(&rules, json.root, NULL, 1);
    return rules_outcome(&rules);
}

static void set_defaults(struct rules *rules, const struct proa_type *type, char *value, const struct value_path *path)
{
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];
        struct value_path below = {.up = path, .key = proa_field_name(field)};

        if (field->default_json)
            field_default(rules, field, value, &below);
        else if (field->kind == PROA_OBJECT && field->container == PROA_SINGLE && !field->optional)
            set_defaults(rules, field->type, value + field->value_offset, &below);
    }
}

int proa_type_defaults(struct proa_arena *arena, const struct proa_type *type, void *ret_value, struct proa_error *err)
{
    struct rules rules = {.arena = arena, .err = err};
    void *value = proa_arena_calloc(arena, 1, type->size);

    if (!value)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    set_defaults(&rules, type, value, NULL);
    PROA_TRY(rules_outcome(&rules));
    memcpy(ret_value, value, type->size);
    return 0;
}
