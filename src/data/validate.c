/* The rules of descriptions, checked on values in memory; broken ones are collected with their pointers. */
#include "data_internal.h"

#include <inttypes.h>
#include <math.h>
#include <proa/text.h>
#include <stdio.h>
#include <stdlib.h>

/* -- Collecting ------------------------------------------------------------------------------------------------- */

enum {
    POINTER_SHORT = PROA_ERROR_POINTER_MAX,
    POINTER_LONG_MAX = 4096, /* longer ones are cut */
};

static size_t step_bytes(const struct value_path *path)
{
    size_t bytes = 1;

    if (path->is_index)
        return bytes + PROA_U64_TEXT_MAX;
    for (size_t i = 0; i < path->key.len; i++)
        bytes += path->key.ptr[i] == '~' || path->key.ptr[i] == '/' ? 2 : 1;
    return bytes;
}

/* Room that the pointer needs at most. */
static size_t pointer_bytes(const struct rules *rules, const struct value_path *path)
{
    size_t bytes = rules->prefix.len;

    for (; path; path = path->up)
        bytes += step_bytes(path);
    return bytes;
}

/* From the document inwards: the path's links go the other way. */
static size_t add_steps(const struct value_path *path, char *out, size_t at)
{
    if (!path)
        return at;
    at = add_steps(path->up, out, at);
    out[at++] = '/';
    if (path->is_index)
        return at + proa_u64_text(path->index, out + at);
    for (size_t i = 0; i < path->key.len; i++) {
        char c = path->key.ptr[i];

        if (c == '~' || c == '/') {
            out[at++] = '~';
            c = c == '~' ? '0' : '1';
        }
        out[at++] = c;
    }
    return at;
}

/* RFC 6901, in `room` of POINTER_SHORT bytes or the arena. One that is out of all bounds becomes that of the nearest
 * value above that fits. */
static proa_str pointer_text(const struct rules *rules, const struct value_path *path, char *room)
{
    size_t bytes = pointer_bytes(rules, path), at = rules->prefix.len;
    char *out = room;

    if (bytes > POINTER_SHORT) {
        struct proa_arena *arena = rules->err && rules->err->arena ? rules->err->arena : rules->arena;
        size_t max = arena ? POINTER_LONG_MAX : POINTER_SHORT;

        for (; path && bytes > max; path = path->up)
            bytes -= step_bytes(path);
        if (bytes > max)
            return proa_str_n("", 0);
        if (bytes > POINTER_SHORT)
            out = proa_arena_alloc(arena, bytes);
        if (!out)
            return proa_str_n("", 0);
    }
    if (at)
        memcpy(out, rules->prefix.ptr, at);
    return proa_str_n(out, add_steps(path, out, at));
}

void rule_broken(struct rules *rules, const struct value_path *path, const char *code, const char *format, ...)
{
    char pointer[POINTER_SHORT];
    char detail[PROA_ERROR_MESSAGE_MAX];
    va_list args;

    rules->broken++;
    if (!rules->err)
        return;
    /* Only counted: a hostile document may break rules by the hundred thousand. */
    if (rules->err->fields_count >= PROA_ERROR_FIELDS_MAX) {
        rules->err->fields_count++;
        return;
    }
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    proa_error_add_field(rules->err, PROA_EVALIDATION, pointer_text(rules, path, pointer), code, "%s", detail);
}

int rules_outcome(const struct rules *rules)
{
    if (rules->memory_out)
        return proa_fail(rules->err, PROA_ENOMEM, "memory is out");
    return rules->broken ? PROA_EVALIDATION : 0;
}

/* -- Numbers ---------------------------------------------------------------------------------------------------- */

void integer_out_of_range(struct rules *rules, const struct proa_field *field, const struct value_path *path)
{
    int64_t least;
    uint64_t most;

    integer_limits(field->kind, &least, &most);
    rule_broken(rules, path, "range", "must be an integer from %" PRId64 " to %" PRIu64, least, most);
}

/* Exactly: no 64-bit integer is rounded to a double. -1, 0, 1. */
static int compare_with_double(bool negative, int64_t s, uint64_t u, double limit)
{
    if (negative) {
        if (limit >= 0)
            return -1;
        if (limit < -9223372036854775808.0)
            return 1;
        if (s != (int64_t)limit)
            return s < (int64_t)limit ? -1 : 1;
        return (double)(int64_t)limit > limit ? 1 : 0;
    }
    if (limit < 0)
        return 1;
    if (limit >= 18446744073709551616.0)
        return -1;
    if (u != (uint64_t)limit)
        return u < (uint64_t)limit ? -1 : 1;
    return (double)(uint64_t)limit < limit ? -1 : 0;
}

static void limit_broken(struct rules *rules, bool low, double limit, const struct value_path *path)
{
    char text[PROA_DOUBLE_TEXT_MAX];
    size_t len = isfinite(limit) ? proa_double_text(limit, text) : 0;

    rule_broken(rules, path, low ? "min" : "max", "must be at %s %.*s", low ? "least" : "most", (int)len, text);
}

static void check_integer(struct rules *rules, const struct proa_field *field, const void *value,
                          const struct value_path *path)
{
    int64_t s;
    uint64_t u;
    bool negative;

    if (!field->has_min && !field->has_max)
        return;
    integer_load(field->kind, value, &s, &u);
    negative = kind_is_signed(field->kind) && s < 0;
    if (kind_is_signed(field->kind))
        u = (uint64_t)s;
    if (field->has_min && compare_with_double(negative, s, u, field->min) < 0)
        limit_broken(rules, true, field->min, path);
    if (field->has_max && compare_with_double(negative, s, u, field->max) > 0)
        limit_broken(rules, false, field->max, path);
}

static void check_double(struct rules *rules, const struct proa_field *field, double value,
                         const struct value_path *path)
{
    if (!isfinite(value)) {
        rule_broken(rules, path, "type", "must be a finite number");
        return;
    }
    if (field->has_min && value < field->min)
        limit_broken(rules, true, field->min, path);
    if (field->has_max && value > field->max)
        limit_broken(rules, false, field->max, path);
}

/* -- Text ------------------------------------------------------------------------------------------------------- */

static void check_length(struct rules *rules, const struct proa_field *field, size_t len, const char *unit,
                         const struct value_path *path)
{
    if (len < field->min_len)
        rule_broken(rules, path, "min_length", "must have at least %u %s%s", field->min_len, unit,
                    field->min_len == 1 ? "" : "s");
    if (field->max_len && len > field->max_len)
        rule_broken(rules, path, "max_length", "must have at most %u %s%s", field->max_len, unit,
                    field->max_len == 1 ? "" : "s");
}

static void check_pattern(struct rules *rules, const struct proa_field *field, proa_str text,
                          const struct value_path *path)
{
    bool holds = false;
    int rc = pattern_holds(field, text, &holds);

    if (rc == PROA_ENOMEM)
        rules->memory_out = true;
    else if (rc < 0) /* proa_type_check finds it earlier */
        rule_broken(rules, path, "pattern", "cannot be checked: its description's pattern is broken");
    else if (!holds)
        rule_broken(rules, path, "pattern", "must match %s", field->pattern);
}

static void check_text(struct rules *rules, const struct proa_field *field, proa_str text,
                       const struct value_path *path)
{
    if (!proa_utf8_valid(text)) {
        rule_broken(rules, path, "encoding", "must be valid UTF-8");
        return;
    }
    if (text.len && memchr(text.ptr, '\0', text.len)) {
        rule_broken(rules, path, "character", "must not hold the character U+0000");
        return;
    }
    if (field->min_len || field->max_len)
        check_length(rules, field, proa_utf8_count(text), "character", path);
    if (field->format && !format_holds(field->format, text))
        rule_broken(rules, path, "format", "must be a valid %s", format_name(field->format));
    /* What is too long is not looked through. */
    if (field->pattern && (!field->max_len || text.len <= 4 * (size_t)field->max_len))
        check_pattern(rules, field, text, path);
}

void check_value(struct rules *rules, const struct proa_field *field, const void *value, const struct value_path *path)
{
    switch (field->kind) {
    case PROA_TEXT: check_text(rules, field, *(const proa_str *)value, path); break;
    case PROA_F64: check_double(rules, field, *(const double *)value, path); break;
    case PROA_OBJECT: check_struct(rules, field->type, value, path); break;
    case PROA_BYTES: check_length(rules, field, ((const proa_str *)value)->len, "byte", path); break;
    case PROA_ENUMERATION:
        if (proa_enum_name(field->names, *(const int *)value).len == 0)
            text_refused(rules, field, path);
        break;
    case PROA_DURATION:
        check_double(rules, field, (double)((const struct proa_duration *)value)->ns / 1e9, path);
        break;
    case PROA_QUANTITY: check_double(rules, field, (double)((const struct proa_quantity *)value)->bytes, path); break;
    case PROA_BOOLEAN:
    case PROA_RAW:
    case PROA_TIMESTAMP: break;
    default: check_integer(rules, field, value, path); break;
    }
}

/* -- Lists ------------------------------------------------------------------------------------------------------ */

enum { FEW_ITEMS = 16 };

static int compare_texts(const void *a, const void *b)
{
    return proa_str_cmp(*(const proa_str *)a, *(const proa_str *)b);
}

/* Few items are compared each with each, many by the texts of their JSON, sorted. */
static bool has_equal_items(struct rules *rules, const struct proa_field *field, const char *items, size_t count)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    const struct proa_field item = field_of_item(field);
    proa_str *texts;

    proa_arena_init(&arena, NULL, 0);
    if (count <= FEW_ITEMS) {
        for (size_t i = 1; i < count; i++)
            for (size_t j = 0; j < i; j++)
                if (equal_value(field, items + i * field->stride, items + j * field->stride))
                    return true;
        return false;
    }
    texts = proa_arena_calloc(&arena, count, sizeof *texts);
    for (size_t i = 0; texts && i < count; i++) {
        struct proa_buf text;

        proa_buf_init(&text, &arena, 0);
        /* A value that has no JSON (a bad enumeration, …) breaks a rule of its own. */
        if (proa_json_write_field(&text, 0, &item, items + i * field->stride) == PROA_ENOMEM)
            texts = NULL;
        else
            texts[i] = proa_buf_str(&text);
    }
    if (!texts) {
        rules->memory_out = true;
        return false;
    }
    qsort(texts, count, sizeof *texts, compare_texts);
    for (size_t i = 1; i < count; i++)
        if (proa_str_eq(texts[i - 1], texts[i]))
            return true;
    return false;
}

bool check_count(struct rules *rules, const struct proa_field *field, size_t count, const struct value_path *path)
{
    uint32_t broken_before = rules->broken;

    if (count < field->min_items)
        rule_broken(rules, path, "min_items", "must have at least %u item%s", field->min_items,
                    field->min_items == 1 ? "" : "s");
    if (field->max_items && count > field->max_items)
        rule_broken(rules, path, "max_items", "must have at most %u item%s", field->max_items,
                    field->max_items == 1 ? "" : "s");
    return rules->broken == broken_before;
}

void check_items(struct rules *rules, const struct proa_field *field, const char *items, size_t count,
                 const struct value_path *path)
{
    if (check_count(rules, field, count, path) && field->unique_items && field->container == PROA_LIST &&
        has_equal_items(rules, field, items, count))
        rule_broken(rules, path, "unique_items", "must not hold the same item twice");
}

/* -- Members and structs ---------------------------------------------------------------------------------------- */

static void check_member(struct rules *rules, const struct proa_field *field, const char *struct_ptr,
                         const struct value_path *path)
{
    const char *at = struct_ptr + field->value_offset;
    const struct slice_header *slice = (const void *)at;

    if (!is_set(field, struct_ptr))
        return;
    if (field->container == PROA_SINGLE) {
        check_value(rules, field, at, path);
        return;
    }
    for (size_t i = 0; i < slice->len; i++) {
        char *element = element_at(field, slice, i);
        struct value_path below = {.up = path, .index = i, .is_index = field->container == PROA_LIST};

        if (field->container == PROA_DICTIONARY)
            below.key = element_key(element);
        check_value(rules, field, element_value(field, element), &below);
    }
    check_items(rules, field, slice->ptr, slice->len, path);
}

/* Puts the place of a nested struct before the pointers that its own check gave. */
static void move_below(struct rules *rules, const struct value_path *path, uint32_t count_before,
                       struct proa_error_field *tail_before)
{
    struct proa_error *err = rules->err;
    char room[POINTER_SHORT];
    proa_str prefix = pointer_text(rules, path, room);
    struct proa_error_field *field = tail_before ? tail_before->next : err->fields;

    if (prefix.len == 0)
        return;
    if (count_before == 0) {
        size_t len = strlen(err->pointer);

        if (prefix.len + len < sizeof err->pointer) {
            memmove(err->pointer + prefix.len, err->pointer, len + 1);
            memcpy(err->pointer, prefix.ptr, prefix.len);
        }
    }
    for (; err->arena && field; field = field->next) {
        proa_str moved = proa_arena_printf(err->arena, PROA_FMT PROA_FMT, PROA_ARG(prefix), PROA_ARG(field->pointer));

        if (moved.ptr)
            field->pointer = moved;
    }
}

/* A check that said it in one sentence, by proa_fail, which forgets what was found before; or not at all. */
static void broken_as_a_whole(struct rules *rules, const struct proa_type *type, const struct value_path *path,
                              const struct proa_error *before)
{
    char said[PROA_ERROR_MESSAGE_MAX] = "";

    if (rules->err) {
        if (rules->err->fields_count < before->fields_count || strcmp(rules->err->message, before->message) != 0)
            memcpy(said, rules->err->message, sizeof said);
        *rules->err = *before;
    }
    if (said[0])
        rule_broken(rules, path, "check", "%s", said);
    else
        rule_broken(rules, path, "check", "breaks a rule of %s", type->name);
}

void check_whole(struct rules *rules, const struct proa_type *type, const void *value, const struct value_path *path)
{
    struct proa_error *err = rules->err;
    struct proa_error before = {0};

    if (!type->check)
        return;
    if (err)
        before = *err;
    if (type->check(value, err) >= 0)
        return;
    if (!err || err->fields_count <= before.fields_count) {
        broken_as_a_whole(rules, type, path, &before);
        return;
    }
    rules->broken += err->fields_count - before.fields_count;
    move_below(rules, path, before.fields_count, before.fields_tail);
}

void check_struct(struct rules *rules, const struct proa_type *type, const void *value, const struct value_path *path)
{
    uint32_t broken_before = rules->broken;
    struct value_path below = {.up = path};

    for (uint32_t i = 0; i < type->fields_count; i++) {
        below.key = proa_field_name(&type->fields[i]);
        check_member(rules, &type->fields[i], value, &below);
    }
    if (rules->broken == broken_before)
        check_whole(rules, type, value, path);
}

int proa_validate_type(const struct proa_type *type, const void *value, struct proa_error *err)
{
    struct rules rules = {.err = err};

    check_struct(&rules, type, value, NULL);
    return rules_outcome(&rules);
}
