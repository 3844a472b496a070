/* The rules of descriptions, checked on values in memory; broken ones are collected with their pointers. */
#include "data_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static size_t add_escaped(char *out, size_t cap, size_t at, proa_str key)
{
    for (size_t i = 0; i < key.len && at + 3 < cap; i++) {
        if (key.ptr[i] == '~' || key.ptr[i] == '/') {
            out[at++] = '~';
            out[at++] = key.ptr[i] == '~' ? '0' : '1';
        } else {
            out[at++] = key.ptr[i];
        }
    }
    return at;
}

size_t value_path_text(const struct value_path *path, char *out, size_t cap)
{
    size_t at;

    if (!path)
        return 0;
    at = value_path_text(path->up, out, cap);
    if (at + PROA_U64_TEXT_MAX + 2 >= cap)
        return at;
    out[at++] = '/';
    return path->is_index ? at + proa_u64_text(path->index, out + at) : add_escaped(out, cap, at, path->key);
}

void rule_broken(struct rules *rules, const struct value_path *path, const char *code, const char *format, ...)
{
    char pointer[PROA_ERROR_POINTER_MAX * 2];
    char detail[PROA_ERROR_MESSAGE_MAX];
    size_t len = rules->prefix.len < PROA_ERROR_POINTER_MAX ? rules->prefix.len : 0;
    va_list args;

    rules->broken = true;
    if (len)
        memcpy(pointer, rules->prefix.ptr, len);
    len += value_path_text(path, pointer + len, sizeof pointer - len);
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    proa_error_add_field(rules->err, PROA_EVALIDATION, proa_str_n(pointer, len), code, "%s", detail);
}

static void check_integer(struct rules *rules, const struct proa_field *field, const void *value,
                          const struct value_path *path)
{
    int64_t s;
    uint64_t u;
    long double number;

    /* A long double of this processor's ABI, or IEEE quad elsewhere, holds every 64-bit integer exactly. */
    integer_load(field->kind, value, &s, &u);
    number = kind_is_signed(field->kind) ? (long double)s : (long double)u;
    if (field->has_min && number < (long double)field->min)
        rule_broken(rules, path, "min", "must be at least %.17g", field->min);
    if (field->has_max && number > (long double)field->max)
        rule_broken(rules, path, "max", "must be at most %.17g", field->max);
}

static void check_double(struct rules *rules, const struct proa_field *field, double value,
                         const struct value_path *path)
{
    if (!isfinite(value))
        rule_broken(rules, path, "type", "must be a finite number");
    if (field->has_min && value < field->min)
        rule_broken(rules, path, "min", "must be at least %.17g", field->min);
    if (field->has_max && value > field->max)
        rule_broken(rules, path, "max", "must be at most %.17g", field->max);
}

static void check_matches(struct rules *rules, const struct proa_field *field, proa_str text,
                          const struct value_path *path)
{
    struct proa_arena scratch PROA_CLEANUP(proa_arena_done);
    const struct proa_pattern *pattern;

    proa_arena_init(&scratch, NULL, 0);
    if (proa_pattern_compile(&scratch, proa_str_c(field->pattern), &pattern, NULL) < 0)
        rule_broken(rules, path, "pattern", "the service's pattern is broken");
    else if (!proa_pattern_matches(pattern, &scratch, text))
        rule_broken(rules, path, "pattern", "must match %s", field->pattern);
}

static void check_text(struct rules *rules, const struct proa_field *field, proa_str text,
                       const struct value_path *path)
{
    size_t len;

    if (!proa_utf8_valid(text)) {
        rule_broken(rules, path, "type", "must be valid UTF-8");
        return;
    }
    if (proa_str_find_char(text, '\0') >= 0) {
        rule_broken(rules, path, "character", "must not hold the character U+0000");
        return;
    }
    len = proa_utf8_count(text);
    if (len < field->min_len)
        rule_broken(rules, path, "min_length", "must have at least %u character%s", field->min_len,
                    field->min_len == 1 ? "" : "s");
    if (field->max_len && len > field->max_len)
        rule_broken(rules, path, "max_length", "must have at most %u character%s", field->max_len,
                    field->max_len == 1 ? "" : "s");
    if (field->format && !format_holds(field->format, text))
        rule_broken(rules, path, "format", "must be a valid %s", format_name(field->format));
    if (field->pattern)
        check_matches(rules, field, text, path);
}

void check_value(struct rules *rules, const struct proa_field *field, const void *value, const struct value_path *path)
{
    size_t len;

    switch (field->kind) {
    case PROA_TEXT: check_text(rules, field, *(const proa_str *)value, path); break;
    case PROA_F64: check_double(rules, field, *(const double *)value, path); break;
    case PROA_OBJECT: check_struct(rules, field->type, value, path); break;
    case PROA_BYTES:
        len = ((const proa_str *)value)->len;
        if (len < field->min_len)
            rule_broken(rules, path, "min_length", "must have at least %u bytes", field->min_len);
        if (field->max_len && len > field->max_len)
            rule_broken(rules, path, "max_length", "must have at most %u bytes", field->max_len);
        break;
    case PROA_ENUMERATION:
        if (proa_enum_name(field->names, *(const int *)value).len == 0)
            rule_broken(rules, path, "enum", "is none of the names of %s", field->names->name);
        break;
    case PROA_DURATION:
        check_double(rules, field, (double)((const struct proa_duration *)value)->ns / 1e9, path);
        break;
    case PROA_QUANTITY: check_double(rules, field, (double)((const struct proa_quantity *)value)->bytes, path); break;
    default:
        if (kind_is_integer(field->kind))
            check_integer(rules, field, value, path);
        break;
    }
}

/* Equal items are found by comparing each with each up to a bound, above it by comparing the texts of their JSON, sorted. */
static int compare_texts(const void *a, const void *b)
{
    return proa_str_cmp(*(const proa_str *)a, *(const proa_str *)b);
}

static bool has_equal_items(struct rules *rules, const struct proa_field *field, const char *items, size_t count)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    proa_str *texts;
    struct proa_field item = *field;

    proa_arena_init(&arena, NULL, 0);
    texts = proa_arena_calloc(&arena, count, sizeof *texts);
    if (!texts) {
        rules->memory_out = true;
        return false;
    }
    item.container = PROA_SINGLE;
    item.optional = false;
    item.offset = item.value_offset = 0;
    for (size_t i = 0; i < count; i++) {
        struct proa_buf text;

        proa_buf_init(&text, &arena, 0);
        if (proa_json_write_field(&text, 0, &item, items + i * field->stride) < 0)
            return false;
        texts[i] = proa_buf_str(&text);
    }
    qsort(texts, count, sizeof *texts, compare_texts);
    for (size_t i = 1; i < count; i++)
        if (proa_str_eq(texts[i - 1], texts[i]))
            return true;
    return false;
}

void check_items(struct rules *rules, const struct proa_field *field, const char *items, size_t count,
                 const struct value_path *path)
{
    if (count < field->min_items)
        rule_broken(rules, path, "min_items", "must have at least %u item%s", field->min_items,
                    field->min_items == 1 ? "" : "s");
    if (field->max_items && count > field->max_items)
        rule_broken(rules, path, "max_items", "must have at most %u item%s", field->max_items,
                    field->max_items == 1 ? "" : "s");
    if (field->unique_items && field->container == PROA_LIST && count > 1 &&
        has_equal_items(rules, field, items, count))
        rule_broken(rules, path, "unique_items", "must not hold the same item twice");
}

void check_field(struct rules *rules, const struct proa_field *field, const void *struct_ptr,
                 const struct value_path *path)
{
    const char *at = struct_ptr;
    const struct slice_header *slice;

    if (field->optional && *(const enum proa_presence *)(const void *)(at + field->offset) != PROA_SET)
        return;
    at += field->value_offset;
    if (field->container == PROA_SINGLE) {
        check_value(rules, field, at, path);
        return;
    }
    slice = (const void *)at;
    for (size_t i = 0; i < slice->len; i++) {
        char *element = element_at(field, slice, i);
        struct value_path below = {.up = path, .index = i, .is_index = field->container == PROA_LIST};

        if (field->container == PROA_DICTIONARY)
            below.key = ((struct entry_header *)(void *)element)->key;
        check_value(rules, field, element_value(field, element), &below);
    }
    check_items(rules, field, slice->ptr, slice->len, path);
}

void check_struct(struct rules *rules, const struct proa_type *type, const void *value, const struct value_path *path)
{
    bool broken_before = rules->broken;

    rules->broken = false;
    for (uint32_t i = 0; i < type->fields_count; i++) {
        struct value_path below = {.up = path, .key = proa_field_name(&type->fields[i])};

        check_field(rules, &type->fields[i], value, &below);
    }
    if (!rules->broken && type->check && type->check(value, rules->err) < 0)
        rules->broken = true;
    rules->broken = rules->broken || broken_before;
}

int proa_validate_type(const struct proa_type *type, const void *value, struct proa_error *err)
{
    struct rules rules = {.err = err};

    check_struct(&rules, type, value, NULL);
    if (rules.memory_out)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return rules.broken ? PROA_EVALIDATION : 0;
}
