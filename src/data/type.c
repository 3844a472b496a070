/* Descriptions: looking up members and names, integers of all widths, equality, mistakes of a description. */
#include "data_internal.h"

#include <stdio.h>
#include <string.h>

const struct proa_field *proa_type_find(const struct proa_type *type, proa_str name, uint32_t *hint)
{
    uint32_t start = hint ? *hint : 0;

    for (uint32_t i = 0; i < type->fields_count; i++) {
        uint32_t at = start + i < type->fields_count ? start + i : start + i - type->fields_count;

        if (proa_str_eq(proa_field_name(&type->fields[at]), name)) {
            if (hint)
                *hint = at + 1 < type->fields_count ? at + 1 : 0;
            return &type->fields[at];
        }
    }
    return NULL;
}

proa_str proa_enum_name(const struct proa_enum *names, int value)
{
    for (uint32_t i = 0; i < names->count; i++)
        if (names->values[i].value == value)
            return names->values[i].name;
    return proa_str_n("", 0);
}

bool proa_enum_value(const struct proa_enum *names, proa_str name, int *ret_value)
{
    for (uint32_t i = 0; i < names->count; i++)
        if (proa_str_eq(names->values[i].name, name)) {
            *ret_value = names->values[i].value;
            return true;
        }
    return false;
}

bool kind_is_integer(uint8_t kind)
{
    return kind >= PROA_I8 && kind <= PROA_U64;
}

bool kind_is_signed(uint8_t kind)
{
    return kind >= PROA_I8 && kind <= PROA_I64;
}

void integer_limits(uint8_t kind, int64_t *ret_min, uint64_t *ret_max)
{
    static const int64_t least[] = {INT8_MIN, INT16_MIN, INT32_MIN, INT64_MIN, 0, 0, 0, 0};
    static const uint64_t most[] = {INT8_MAX,  INT16_MAX,  INT32_MAX,  INT64_MAX,
                                    UINT8_MAX, UINT16_MAX, UINT32_MAX, UINT64_MAX};

    *ret_min = least[kind - PROA_I8];
    *ret_max = most[kind - PROA_I8];
}

void integer_load(uint8_t kind, const void *at, int64_t *ret_signed, uint64_t *ret_unsigned)
{
    int64_t s = 0;
    uint64_t u = 0;

    switch (kind) {
    case PROA_I8: s = *(const int8_t *)at; break;
    case PROA_I16: s = *(const int16_t *)at; break;
    case PROA_I32: s = *(const int32_t *)at; break;
    case PROA_I64: s = *(const int64_t *)at; break;
    case PROA_U8: u = *(const uint8_t *)at; break;
    case PROA_U16: u = *(const uint16_t *)at; break;
    case PROA_U32: u = *(const uint32_t *)at; break;
    default: u = *(const uint64_t *)at; break;
    }
    *ret_signed = s;
    *ret_unsigned = u;
}

void integer_store(uint8_t kind, void *at, int64_t s, uint64_t u)
{
    switch (kind) {
    case PROA_I8: *(int8_t *)at = (int8_t)s; break;
    case PROA_I16: *(int16_t *)at = (int16_t)s; break;
    case PROA_I32: *(int32_t *)at = (int32_t)s; break;
    case PROA_I64: *(int64_t *)at = s; break;
    case PROA_U8: *(uint8_t *)at = (uint8_t)u; break;
    case PROA_U16: *(uint16_t *)at = (uint16_t)u; break;
    case PROA_U32: *(uint32_t *)at = (uint32_t)u; break;
    default: *(uint64_t *)at = u; break;
    }
}

size_t duration_text(uint64_t ns, char *out)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"h", UINT64_C(3600000000000)},
                 {"m", UINT64_C(60000000000)},
                 {"s", 1000000000},
                 {"ms", 1000000},
                 {"us", 1000},
                 {"ns", 1}};
    size_t len = 0;

    if (ns == 0) {
        memcpy(out, "0s", 2);
        return 2;
    }
    for (size_t i = 0; i < PROA_COUNT(units); i++) {
        if (ns < units[i].ns)
            continue;
        len += proa_u64_text(ns / units[i].ns, out + len);
        memcpy(out + len, units[i].name, strlen(units[i].name));
        len += strlen(units[i].name);
        ns %= units[i].ns;
    }
    return len;
}

static bool equal_struct(const struct proa_type *type, const char *a, const char *b);

bool equal_value(const struct proa_field *field, const void *a, const void *b)
{
    switch (field->kind) {
    case PROA_TEXT:
    case PROA_RAW:
    case PROA_BYTES: return proa_str_eq(*(const proa_str *)a, *(const proa_str *)b);
    case PROA_OBJECT: return equal_struct(field->type, a, b);
    case PROA_F64: return *(const double *)a == *(const double *)b;
    default: return memcmp(a, b, field->size) == 0;
    }
}

static bool equal_member(const struct proa_field *field, const char *a, const char *b)
{
    const struct slice_header *list_a, *list_b;

    if (field->optional) {
        enum proa_presence presence = *(const enum proa_presence *)(const void *)(a + field->offset);

        if (presence != *(const enum proa_presence *)(const void *)(b + field->offset))
            return false;
        if (presence != PROA_SET)
            return true;
    }
    a += field->value_offset;
    b += field->value_offset;
    if (field->container == PROA_SINGLE)
        return equal_value(field, a, b);
    list_a = (const void *)a;
    list_b = (const void *)b;
    if (list_a->len != list_b->len)
        return false;
    for (size_t i = 0; i < list_a->len; i++) {
        char *x = element_at(field, list_a, i), *y = element_at(field, list_b, i);

        if (field->container == PROA_DICTIONARY &&
            !proa_str_eq(((struct entry_header *)(void *)x)->key, ((struct entry_header *)(void *)y)->key))
            return false;
        if (!equal_value(field, element_value(field, x), element_value(field, y)))
            return false;
    }
    return true;
}

static bool equal_struct(const struct proa_type *type, const char *a, const char *b)
{
    for (uint32_t i = 0; i < type->fields_count; i++)
        if (!equal_member(&type->fields[i], a, b))
            return false;
    return true;
}

bool proa_equal_type(const struct proa_type *type, const void *a, const void *b)
{
    return equal_struct(type, a, b);
}

/* Mistakes of a description. */
enum { NESTING_MAX = 32 };

static int check_default(const struct proa_type *type, const struct proa_field *field, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error why = {0};
    void *room;

    proa_arena_init(&arena, NULL, 0);
    why.arena = &arena;
    room = proa_arena_calloc(&arena, 1, type->size);
    if (!room)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (field->default_json && proa_json_read_field(&arena, proa_str_c(field->default_json), 0, field, room, &why) < 0)
        return proa_fail(err, PROA_EINVAL, "%s." PROA_FMT ": its default: %s", type->name, PROA_ARG(field->member),
                         why.message);
    return 0;
}

static int check_pattern(const struct proa_type *type, const struct proa_field *field, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    const struct proa_pattern *pattern;

    proa_arena_init(&arena, NULL, 0);
    if (field->pattern && proa_pattern_compile(&arena, proa_str_c(field->pattern), &pattern, err) < 0)
        return proa_error_wrap(err, "%s." PROA_FMT ": its pattern", type->name, PROA_ARG(field->member));
    return 0;
}

static int check_type(const struct proa_type *type, int depth, struct proa_error *err)
{
    if (depth == NESTING_MAX)
        return proa_fail(err, PROA_EINVAL, "%s: nested too deeply, or within itself", type->name);
    if (type->fields_count > 64)
        return proa_fail(err, PROA_EINVAL, "%s: more than 64 members", type->name);
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];

        for (uint32_t j = 0; j < i; j++)
            if (proa_str_eq(proa_field_name(field), proa_field_name(&type->fields[j])))
                return proa_fail(err, PROA_EINVAL, "%s: two members are called \"" PROA_FMT "\"", type->name,
                                 PROA_ARG(proa_field_name(field)));
        if (field->has_min && field->has_max && field->min > field->max)
            return proa_fail(err, PROA_EINVAL, "%s." PROA_FMT ": its minimum is above its maximum", type->name,
                             PROA_ARG(field->member));
        PROA_TRY(check_pattern(type, field, err));
        if (field->kind == PROA_OBJECT)
            PROA_TRY(check_type(field->type, depth + 1, err));
        PROA_TRY(check_default(type, field, err));
    }
    return 0;
}

int proa_type_check(const struct proa_type *type, struct proa_error *err)
{
    return check_type(type, 0, err);
}
