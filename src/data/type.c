/* Descriptions: looking up members and names, integers of all widths, durations as text, equality. */
#include "data_internal.h"

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

void integer_limits(uint8_t kind, int64_t *ret_min, uint64_t *ret_max)
{
    static const int64_t least[] = {INT8_MIN, INT16_MIN, INT32_MIN, INT64_MIN, 0, 0, 0, 0};
    static const uint64_t most[] = {INT8_MAX,  INT16_MAX,  INT32_MAX,  INT64_MAX,
                                    UINT8_MAX, UINT16_MAX, UINT32_MAX, UINT64_MAX};

    *ret_min = least[kind - PROA_I8];
    *ret_max = most[kind - PROA_I8];
}

bool integer_fits(uint8_t kind, bool negative, int64_t s, uint64_t u)
{
    int64_t least;
    uint64_t most;

    integer_limits(kind, &least, &most);
    return negative ? s >= least : u <= most;
}

void integer_load(uint8_t kind, const void *at, int64_t *ret_signed, uint64_t *ret_unsigned)
{
    int64_t s = 0;
    uint64_t u = 0;

    switch (kind) {
    case PROA_I8: s = *(const int8_t *)at; break; /* NOLINT(bugprone-signed-char-misuse): a number, not a character */
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

/* -- Equality --------------------------------------------------------------------------------------------------- */

bool equal_value(const struct proa_field *field, const void *a, const void *b)
{
    switch (field->kind) {
    case PROA_TEXT:
    case PROA_RAW:
    case PROA_BYTES: return proa_str_eq(*(const proa_str *)a, *(const proa_str *)b);
    case PROA_OBJECT: return proa_equal_type(field->type, a, b);
    case PROA_F64: return *(const double *)a == *(const double *)b;
    case PROA_BOOLEAN: return *(const bool *)a == *(const bool *)b;
    default: return memcmp(a, b, field->size) == 0;
    }
}

/* The value of a dictionary's key, looked for from `hint` on. */
static const char *entry_of(const struct proa_field *field, const struct slice_header *map, proa_str key, size_t *hint)
{
    for (size_t i = 0; i < map->len; i++) {
        size_t at = *hint + i < map->len ? *hint + i : *hint + i - map->len;
        char *entry = element_at(field, map, at);

        if (proa_str_eq(element_key(entry), key)) {
            *hint = at + 1 < map->len ? at + 1 : 0;
            return element_value(field, entry);
        }
    }
    return NULL;
}

/* The order of a dictionary's entries means nothing; most often it is the same. */
static bool equal_dictionary(const struct proa_field *field, const struct slice_header *a, const struct slice_header *b)
{
    size_t hint = 0;

    for (size_t i = 0; i < a->len; i++) {
        char *entry = element_at(field, a, i);
        const char *other = entry_of(field, b, element_key(entry), &hint);

        if (!other || !equal_value(field, element_value(field, entry), other))
            return false;
    }
    return true;
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
    if (field->container == PROA_DICTIONARY)
        return equal_dictionary(field, list_a, list_b);
    for (size_t i = 0; i < list_a->len; i++)
        if (!equal_value(field, element_at(field, list_a, i), element_at(field, list_b, i)))
            return false;
    return true;
}

bool proa_equal_type(const struct proa_type *type, const void *a, const void *b)
{
    for (uint32_t i = 0; i < type->fields_count; i++)
        if (!equal_member(&type->fields[i], a, b))
            return false;
    return true;
}
