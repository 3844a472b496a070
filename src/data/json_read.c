/* JSON into structs: parsed by yyjson with the arena as its memory, then taken apart by the description. One pass collects all
 * broken rules in the order of the document. */
#include "data_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <yyjson.h>

/* yyjson's memory is the arena's. */
static void *arena_malloc(void *ctx, size_t size)
{
    return proa_arena_alloc(ctx, size);
}

static void *arena_realloc(void *ctx, void *ptr, size_t old_size, size_t size)
{
    return proa_arena_grow(ctx, ptr, old_size, size);
}

static void arena_free(void *ctx, void *ptr)
{
    (void)ctx;
    (void)ptr;
}

int json_parse(struct proa_arena *arena, proa_str text, struct yyjson_val **ret_root, struct proa_error *err)
{
    const yyjson_alc memory = {arena_malloc, arena_realloc, arena_free, arena};
    yyjson_read_err why = {0};
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)(text.len ? text.ptr : ""), text.len,
                                       YYJSON_READ_BIGNUM_AS_RAW, &memory, &why);
    size_t line = 1, column = 1;

    if (doc) {
        *ret_root = yyjson_doc_get_root(doc);
        return 0;
    }
    if (why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    for (size_t i = 0; i < why.pos && i < text.len; i++) {
        column++;
        if (text.ptr[i] == '\n') {
            line++;
            column = 1;
        }
    }
    return proa_fail(err, PROA_ESYNTAX, "not valid JSON at line %zu, column %zu: %s", line, column,
                     text.len ? why.msg : "it is empty");
}

static const char *kind_word(const struct proa_field *field)
{
    switch (field->kind) {
    case PROA_BOOLEAN: return "true or false";
    case PROA_F64: return "a number";
    case PROA_OBJECT: return "an object";
    case PROA_TEXT: return "text";
    case PROA_BYTES: return "base64 text";
    case PROA_TIMESTAMP: return "a date-time";
    case PROA_DURATION: return "a duration";
    case PROA_QUANTITY: return "a quantity";
    case PROA_ENUMERATION: return "a name";
    default: return "an integer";
    }
}

static void wrong_kind(struct rules *rules, const struct proa_field *field, const struct value_path *path)
{
    rule_broken(rules, path, "type", "must be %s", kind_word(field));
}

static void read_integer(struct rules *rules, const struct proa_field *field, yyjson_val *value, void *out,
                         const struct value_path *path)
{
    int64_t least, s = 0;
    uint64_t most, u = 0;
    bool fits;

    integer_limits(field->kind, &least, &most);
    if (yyjson_is_raw(value)) {
        rule_broken(rules, path, "range", "must be an integer of %" PRId64 " to %" PRIu64, least, most);
        return;
    }
    if (yyjson_is_real(value)) {
        double number = yyjson_get_real(value);

        /* 1.0 and 1e3 are integers to JSON Schema; beyond 2^53 a double does not say which one was meant. */
        if (number != trunc(number)) {
            wrong_kind(rules, field, path);
            return;
        }
        if (fabs(number) > 9007199254740992.0) {
            rule_broken(rules, path, "range", "must be an integer of %" PRId64 " to %" PRIu64, least, most);
            return;
        }
        s = (int64_t)number;
        u = (uint64_t)s;
        fits = s >= least && (s < 0 || u <= most);
    } else if (yyjson_is_uint(value)) {
        u = yyjson_get_uint(value);
        s = (int64_t)u;
        fits = u <= most;
    } else if (yyjson_is_sint(value)) {
        s = yyjson_get_sint(value);
        u = (uint64_t)s;
        fits = s >= least && (s < 0 || u <= most);
    } else {
        wrong_kind(rules, field, path);
        return;
    }
    if (!fits) {
        rule_broken(rules, path, "range", "must be an integer of %" PRId64 " to %" PRIu64, least, most);
        return;
    }
    integer_store(field->kind, out, s, u);
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
    } else {
        wrong_kind(rules, field, path);
        return;
    }
    *(double *)out = number;
}

static proa_str text_of(yyjson_val *value)
{
    return proa_str_n(yyjson_get_str(value), yyjson_get_len(value));
}

/* Kinds whose JSON is text. @returns false when it was not; out is set only then. */
static bool read_textual(struct rules *rules, const struct proa_field *field, proa_str text, void *out)
{
    struct proa_buf bytes;

    switch (field->kind) {
    case PROA_TEXT: *(proa_str *)out = text; return true;
    case PROA_ENUMERATION: return proa_enum_value(field->names, text, out);
    case PROA_BYTES:
        proa_buf_init(&bytes, rules->arena, 0);
        if (proa_base64_decode(&bytes, text) < 0)
            return false;
        *(proa_str *)out = proa_buf_str(&bytes);
        return true;
    case PROA_TIMESTAMP: return proa_time_parse(text, out) == 0;
    case PROA_DURATION: return proa_duration_parse(text, &((struct proa_duration *)out)->ns) == 0;
    case PROA_QUANTITY: return proa_bytes_parse(text, &((struct proa_quantity *)out)->bytes) == 0;
    default: return false;
    }
}

static void read_text(struct rules *rules, const struct proa_field *field, yyjson_val *value, void *out,
                      const struct value_path *path)
{
    if (field->kind == PROA_QUANTITY && yyjson_is_uint(value)) {
        ((struct proa_quantity *)out)->bytes = yyjson_get_uint(value);
    } else if (!yyjson_is_str(value)) {
        wrong_kind(rules, field, path);
    } else if (!read_textual(rules, field, text_of(value), out)) {
        if (field->kind == PROA_ENUMERATION)
            rule_broken(rules, path, "enum", "is none of the names of %s", field->names->name);
        else
            rule_broken(rules, path, "format", "must be %s", kind_word(field));
    }
}

static void read_raw(struct rules *rules, yyjson_val *value, void *out, const struct value_path *path, int depth)
{
    const yyjson_alc memory = {arena_malloc, arena_realloc, arena_free, rules->arena};
    size_t len = 0;
    char *text;

    json_check_tree(rules, value, path, depth);
    text = yyjson_val_write_opts(value, 0, &memory, &len, NULL);
    if (!text)
        rules->memory_out = true;
    else
        *(proa_str *)out = proa_str_n(text, len);
}

static void read_value(struct rules *rules, unsigned flags, const struct proa_field *field, yyjson_val *value,
                       void *out, const struct value_path *path, int depth)
{
    bool broken_before = rules->broken;

    rules->broken = false;
    switch (field->kind) {
    case PROA_BOOLEAN:
        if (yyjson_is_bool(value))
            *(bool *)out = yyjson_get_bool(value);
        else
            wrong_kind(rules, field, path);
        break;
    case PROA_F64: read_double(rules, field, value, out, path); break;
    case PROA_OBJECT: proa_ignore(json_read_object(rules, flags, field->type, value, out, path, depth + 1)); break;
    case PROA_RAW: read_raw(rules, value, out, path, depth + 1); break;
    case PROA_TEXT:
    case PROA_ENUMERATION:
    case PROA_BYTES:
    case PROA_TIMESTAMP:
    case PROA_DURATION:
    case PROA_QUANTITY: read_text(rules, field, value, out, path); break;
    default: read_integer(rules, field, value, out, path); break;
    }
    if (!rules->broken && field->kind != PROA_OBJECT)
        check_value(rules, field, out, path);
    rules->broken = rules->broken || broken_before;
}

static int compare_keys(const void *a, const void *b)
{
    return proa_str_cmp(*(const proa_str *)a, *(const proa_str *)b);
}

/* Doubled keys of an object, by sorting: not quadratic whatever is sent. */
static void check_keys(struct rules *rules, yyjson_val *object, const struct value_path *path)
{
    size_t count = yyjson_obj_size(object), i = 0;
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    yyjson_val *key;
    proa_str *keys;

    if (count < 2)
        return;
    keys = proa_arena_calloc(rules->arena, count, sizeof *keys);
    if (!keys) {
        rules->memory_out = true;
        return;
    }
    while ((key = yyjson_obj_iter_next(&it)))
        keys[i++] = text_of(key);
    qsort(keys, count, sizeof *keys, compare_keys);
    for (i = 1; i < count; i++)
        if (proa_str_eq(keys[i - 1], keys[i]) && (i < 2 || !proa_str_eq(keys[i - 2], keys[i]))) {
            struct value_path below = {.up = path, .key = keys[i]};

            rule_broken(rules, &below, "duplicate", "is given twice");
        }
}

static bool too_deep(struct rules *rules, const struct value_path *path, int depth)
{
    if (depth <= PROA_JSON_DEPTH_DEFAULT)
        return false;
    rule_broken(rules, path, "depth", "is nested deeper than %d levels", PROA_JSON_DEPTH_DEFAULT);
    return true;
}

void json_check_tree(struct rules *rules, struct yyjson_val *value, const struct value_path *path, int depth)
{
    struct value_path below = {.up = path};
    yyjson_val *key, *item;

    if (too_deep(rules, path, depth))
        return;
    if (yyjson_is_obj(value)) {
        yyjson_obj_iter it = yyjson_obj_iter_with(value);

        check_keys(rules, value, path);
        while ((key = yyjson_obj_iter_next(&it))) {
            below.key = text_of(key);
            json_check_tree(rules, yyjson_obj_iter_get_val(key), &below, depth + 1);
        }
    } else if (yyjson_is_arr(value)) {
        yyjson_arr_iter it = yyjson_arr_iter_with(value);

        below.is_index = true;
        for (; (item = yyjson_arr_iter_next(&it)); below.index++)
            json_check_tree(rules, item, &below, depth + 1);
    }
}

static void read_list(struct rules *rules, unsigned flags, const struct proa_field *field, yyjson_val *value,
                      struct slice_header *out, const struct value_path *path, int depth)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(value);
    struct value_path below = {.up = path, .is_index = true};
    size_t count = yyjson_arr_size(value);
    char *items = proa_arena_calloc(rules->arena, count, field->stride);
    bool broken_before = rules->broken;
    yyjson_val *item;

    if (!items) {
        rules->memory_out = true;
        return;
    }
    rules->broken = false;
    for (; (item = yyjson_arr_iter_next(&it)); below.index++)
        read_value(rules, flags, field, item, items + below.index * field->stride, &below, depth + 1);
    out->ptr = items;
    out->len = count;
    if (!rules->broken)
        check_items(rules, field, items, count, path);
    rules->broken = rules->broken || broken_before;
}

static void read_dictionary(struct rules *rules, unsigned flags, const struct proa_field *field, yyjson_val *value,
                            struct slice_header *out, const struct value_path *path, int depth)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(value);
    struct value_path below = {.up = path};
    size_t count = yyjson_obj_size(value), i = 0;
    char *entries = proa_arena_calloc(rules->arena, count, field->stride);
    yyjson_val *key;

    if (!entries) {
        rules->memory_out = true;
        return;
    }
    check_keys(rules, value, path);
    for (; (key = yyjson_obj_iter_next(&it)); i++) {
        char *entry = entries + i * field->stride;

        below.key = ((struct entry_header *)(void *)entry)->key = text_of(key);
        read_value(rules, flags, field, yyjson_obj_iter_get_val(key), entry_value(entry), &below, depth + 1);
    }
    out->ptr = entries;
    out->len = count;
    check_items(rules, field, entries, count, path);
}

void json_read_member(struct rules *rules, unsigned flags, const struct proa_field *field, struct yyjson_val *value,
                      void *struct_ptr, const struct value_path *path, int depth)
{
    char *at = struct_ptr;
    void *out = at + field->value_offset;

    if (too_deep(rules, path, depth))
        return;
    if (field->optional) {
        enum proa_presence *presence = (void *)(at + field->offset);

        *presence = yyjson_is_null(value) && field->kind != PROA_RAW ? PROA_NULL : PROA_SET;
        if (*presence == PROA_NULL)
            return;
    }
    if (field->container == PROA_LIST) {
        if (yyjson_is_arr(value))
            read_list(rules, flags, field, value, out, path, depth);
        else
            rule_broken(rules, path, "type", "must be a list");
    } else if (field->container == PROA_DICTIONARY) {
        if (yyjson_is_obj(value))
            read_dictionary(rules, flags, field, value, out, path, depth);
        else
            rule_broken(rules, path, "type", "must be an object");
    } else {
        read_value(rules, flags, field, value, out, path, depth);
    }
}

void field_default(struct rules *rules, const struct proa_field *field, void *struct_ptr)
{
    struct yyjson_val *value;

    if (json_parse(rules->arena, proa_str_c(field->default_json), &value, NULL) < 0)
        rules->memory_out = true; /* proa_type_check finds bad defaults */
    else
        json_read_member(rules, 0, field, value, struct_ptr, NULL, 0);
}

/* Members that were not given. */
static void complete(struct rules *rules, unsigned flags, const struct proa_type *type, uint64_t seen, void *out,
                     const struct value_path *path)
{
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];
        struct value_path below = {.up = path, .key = proa_field_name(field)};

        if (seen & UINT64_C(1) << i)
            continue;
        if (field->default_json)
            field_default(rules, field, out);
        else if (!field->optional && !((flags & PROA_JSON_INPUT) && field->read_only))
            rule_broken(rules, &below, "required", "is required");
    }
}

int json_read_object(struct rules *rules, unsigned flags, const struct proa_type *type, struct yyjson_val *value,
                     void *out, const struct value_path *path, int depth)
{
    yyjson_obj_iter it;
    yyjson_val *key;
    uint64_t seen = 0;
    uint32_t hint = 0;
    bool unknown_keys = false;
    bool broken_before = rules->broken;

    if (too_deep(rules, path, depth))
        return PROA_EVALIDATION;
    if (!yyjson_is_obj(value)) {
        rule_broken(rules, path, "type", "must be an object");
        return PROA_EVALIDATION;
    }
    rules->broken = false;
    it = yyjson_obj_iter_with(value);
    while ((key = yyjson_obj_iter_next(&it))) {
        struct value_path below = {.up = path, .key = text_of(key)};
        const struct proa_field *field = proa_type_find(type, below.key, &hint);
        uint64_t bit = field ? UINT64_C(1) << (field - type->fields) : 0;

        if (!field) {
            unknown_keys = true;
            if (type->unknown == PROA_UNKNOWN_REJECT && !(flags & PROA_JSON_LENIENT))
                rule_broken(rules, &below, "unknown", "is not known here");
            else
                json_check_tree(rules, yyjson_obj_iter_get_val(key), &below, depth + 1);
        } else if (seen & bit) {
            rule_broken(rules, &below, "duplicate", "is given twice");
        } else if (!((flags & PROA_JSON_INPUT) && field->read_only)) {
            json_read_member(rules, flags, field, yyjson_obj_iter_get_val(key), out, &below, depth);
        }
        seen |= bit;
    }
    if (unknown_keys && (type->unknown == PROA_UNKNOWN_IGNORE || (flags & PROA_JSON_LENIENT)))
        check_keys(rules, value, path);
    if (!(flags & PROA_JSON_PARTIAL))
        complete(rules, flags, type, seen, out, path);
    if (!rules->broken && type->check && type->check(out, rules->err) < 0)
        rules->broken = true;
    rules->broken = rules->broken || broken_before;
    return rules->broken ? PROA_EVALIDATION : 0;
}

static int outcome(const struct rules *rules, struct proa_error *err)
{
    if (rules->memory_out)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return rules->broken ? PROA_EVALIDATION : 0;
}

int proa_json_read_type(struct proa_arena *arena, proa_str text, unsigned flags, const struct proa_type *type,
                        void *ret_value, struct proa_error *err)
{
    struct rules rules = {.arena = arena, .err = err};
    struct yyjson_val *root;
    void *value;

    PROA_TRY(json_parse(arena, text, &root, err));
    value = proa_arena_calloc(arena, 1, type->size);
    if (!value)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    proa_ignore(json_read_object(&rules, flags, type, root, value, NULL, 0));
    PROA_TRY(outcome(&rules, err));
    memcpy(ret_value, value, type->size);
    return 0;
}

int proa_json_read_field(struct proa_arena *arena, proa_str text, unsigned flags, const struct proa_field *field,
                         void *struct_ptr, struct proa_error *err)
{
    struct rules rules = {.arena = arena, .err = err};
    struct yyjson_val *root;

    PROA_TRY(json_parse(arena, text, &root, err));
    json_read_member(&rules, flags, field, root, struct_ptr, NULL, 0);
    return outcome(&rules, err);
}

int proa_json_check(proa_str text, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct rules rules = {.err = err};
    struct yyjson_val *root;

    proa_arena_init(&arena, NULL, 0);
    rules.arena = &arena;
    PROA_TRY(json_parse(&arena, text, &root, err));
    json_check_tree(&rules, root, NULL, 0);
    return outcome(&rules, err);
}

int proa_type_defaults(struct proa_arena *arena, const struct proa_type *type, void *ret_value, struct proa_error *err)
{
    struct rules rules = {.arena = arena, .err = err};

    memset(ret_value, 0, type->size);
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];

        if (field->default_json)
            field_default(&rules, field, ret_value);
        else if (field->kind == PROA_OBJECT && field->container == PROA_SINGLE && !field->optional)
            PROA_TRY(proa_type_defaults(arena, field->type, (char *)ret_value + field->offset, err));
    }
    return outcome(&rules, err);
}

/* Merge patches, RFC 7396. */
static void merge_object(struct rules *rules, const struct proa_type *type, yyjson_val *patch, char *value,
                         const struct value_path *path, int depth);

static void merge_member(struct rules *rules, const struct proa_field *field, yyjson_val *patch, char *value,
                         const struct value_path *path, int depth)
{
    if (yyjson_is_null(patch)) {
        if (field->optional)
            *(enum proa_presence *)(void *)(value + field->offset) = PROA_ABSENT;
        else if (field->default_json)
            field_default(rules, field, value);
        else
            rule_broken(rules, path, "required", "is required and cannot be removed");
        return;
    }
    if (field->kind == PROA_OBJECT && field->container == PROA_SINGLE &&
        (!field->optional || *(enum proa_presence *)(void *)(value + field->offset) == PROA_SET)) {
        merge_object(rules, field->type, patch, value + field->value_offset, path, depth + 1);
        return;
    }
    json_read_member(rules, PROA_JSON_INPUT, field, patch, value, path, depth);
}

static void merge_object(struct rules *rules, const struct proa_type *type, yyjson_val *patch, char *value,
                         const struct value_path *path, int depth)
{
    yyjson_obj_iter it;
    yyjson_val *key;
    uint64_t seen = 0;
    uint32_t hint = 0;

    if (too_deep(rules, path, depth))
        return;
    if (!yyjson_is_obj(patch)) {
        rule_broken(rules, path, "type", "must be an object");
        return;
    }
    it = yyjson_obj_iter_with(patch);
    while ((key = yyjson_obj_iter_next(&it))) {
        struct value_path below = {.up = path, .key = text_of(key)};
        const struct proa_field *field = proa_type_find(type, below.key, &hint);
        uint64_t bit = field ? UINT64_C(1) << (field - type->fields) : 0;

        if (!field && type->unknown == PROA_UNKNOWN_REJECT)
            rule_broken(rules, &below, "unknown", "is not known here");
        else if (seen & bit)
            rule_broken(rules, &below, "duplicate", "is given twice");
        else if (field && !field->read_only)
            merge_member(rules, field, yyjson_obj_iter_get_val(key), value, &below, depth);
        seen |= bit;
    }
}

int proa_json_merge_type(struct proa_arena *arena, proa_str patch, const struct proa_type *type, void *value,
                         struct proa_error *err)
{
    struct rules rules = {.arena = arena, .err = err};
    struct yyjson_val *root;
    void *merged;

    PROA_TRY(json_parse(arena, patch, &root, err));
    merged = proa_arena_alloc(arena, type->size);
    if (!merged)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    memcpy(merged, value, type->size);
    merge_object(&rules, type, root, merged, NULL, 0);
    if (!rules.broken)
        check_struct(&rules, type, merged, NULL);
    PROA_TRY(outcome(&rules, err));
    memcpy(value, merged, type->size);
    return 0;
}
