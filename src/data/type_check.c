/* Mistakes of descriptions that the compiler cannot see. */
#include "data_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MEMBERS_MAX = 64 };

/* Where the check stands, for its messages. */
struct site {
    const struct site *up;
    const struct proa_type *type;
    const struct proa_field *field;
    struct proa_error *err;
};

static PROA_PRINTF(2, 3) int mistake(const struct site *at, const char *format, ...)
{
    char text[PROA_ERROR_MESSAGE_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return proa_fail(at->err, PROA_EINVAL, "%s." PROA_FMT ": %s", at->type->name, PROA_ARG(at->field->member), text);
}

static int check_json(const struct site *at, const char *what, const char *json)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error why = {0};
    const struct proa_field alone = field_alone(at->field);
    void *room;
    int rc;

    if (!json)
        return 0;
    proa_arena_init(&arena, NULL, 0);
    room = proa_arena_calloc(&arena, 1, member_bytes(&alone));
    rc = room ? proa_json_read_field(&arena, proa_str_c(json), 0, &alone, room, &why) : PROA_ENOMEM;
    if (rc == PROA_ENOMEM)
        return proa_fail(at->err, PROA_ENOMEM, "memory is out");
    return rc < 0 ? mistake(at, "its %s %s", what, why.message) : 0;
}

static int check_pattern(const struct site *at)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    const struct proa_pattern *pattern;
    struct proa_error why = {0};
    int rc;

    if (!at->field->pattern)
        return 0;
    if (at->field->kind != PROA_TEXT)
        return mistake(at, "a pattern is for text");
    proa_arena_init(&arena, NULL, 0);
    rc = proa_pattern_compile(&arena, proa_str_c(at->field->pattern), &pattern, &why);
    if (rc == PROA_ENOMEM)
        return proa_fail(at->err, PROA_ENOMEM, "memory is out");
    return rc < 0 ? mistake(at, "%s", why.message) : 0;
}

static int check_range(const struct site *at)
{
    const struct proa_field *field = at->field;
    int64_t least;
    uint64_t most;

    if (!field->has_min && !field->has_max)
        return 0;
    if (!kind_is_integer(field->kind) && field->kind != PROA_F64 && field->kind != PROA_DURATION &&
        field->kind != PROA_QUANTITY)
        return mistake(at, "a minimum or maximum is for numbers, durations and quantities");
    if ((field->has_min && !isfinite(field->min)) || (field->has_max && !isfinite(field->max)))
        return mistake(at, "its minimum or maximum is not finite");
    if (field->has_min && field->has_max && field->min > field->max)
        return mistake(at, "its minimum is above its maximum");
    if (!kind_is_integer(field->kind))
        return 0;
    /* Powers of two less one round up to the power as doubles, so a limit that a double cannot tell from it passes. */
    integer_limits(field->kind, &least, &most);
    if ((field->has_min && field->min < (double)least) || (field->has_max && field->max > (double)most) ||
        (field->has_min && field->min > (double)most) || (field->has_max && field->max < (double)least))
        return mistake(at, "its range is one that the C type cannot hold");
    return 0;
}

static int check_sizes(const struct site *at)
{
    const struct proa_field *field = at->field;

    if ((field->min_len || field->max_len) && field->kind != PROA_TEXT && field->kind != PROA_BYTES)
        return mistake(at, "a length is for text and bytes");
    if (field->max_len && field->min_len > field->max_len)
        return mistake(at, "its minimum length is above its maximum");
    if ((field->min_items || field->max_items) && field->container == PROA_SINGLE)
        return mistake(at, "a number of items is for lists and maps");
    if (field->max_items && field->min_items > field->max_items)
        return mistake(at, "its minimum of items is above its maximum");
    if (field->unique_items && field->container != PROA_LIST)
        return mistake(at, "unique items are for lists");
    if (field->format > PROA_FORMAT_IPV6 || (field->format && field->kind != PROA_TEXT))
        return mistake(at, "a format is for text");
    if (field->read_only && field->write_only)
        return mistake(at, "it is both read-only and write-only");
    if (field->merge_key && (field->container != PROA_LIST || field->kind != PROA_OBJECT ||
                             !proa_type_find(field->type, proa_str_c(field->merge_key), NULL)))
        return mistake(at, "its merge key is no member of its items");
    return 0;
}

static int check_enum(const struct site *at)
{
    const struct proa_enum *names = at->field->names;

    if (at->field->kind != PROA_ENUMERATION)
        return 0;
    if (!names || names->count == 0 || at->field->size != sizeof(int))
        return mistake(at, "its enumeration has no names or another size than int");
    for (uint32_t i = 0; i < names->count; i++) {
        if (names->values[i].name.len == 0 || !json_is_plain(names->values[i].name))
            return mistake(at, "a name of its enumeration is empty or not plain ASCII");
        for (uint32_t j = 0; j < i; j++)
            if (names->values[i].value == names->values[j].value ||
                proa_str_eq(names->values[i].name, names->values[j].name))
                return mistake(at, "its enumeration has \"" PROA_FMT "\" or its value twice",
                               PROA_ARG(names->values[i].name));
    }
    return 0;
}

static int check_name(const struct site *at)
{
    proa_str name = proa_field_name(at->field);

    if (name.len == 0 || !json_is_plain(name))
        return mistake(at, "its name outside is empty or not plain ASCII");
    for (const struct proa_field *other = at->type->fields; other < at->field; other++)
        if (proa_str_eq(name, proa_field_name(other)))
            return mistake(at, "another member is called \"" PROA_FMT "\", too", PROA_ARG(name));
    return 0;
}

static int check_type(const struct proa_type *type, const struct site *up, struct proa_error *err)
{
    struct site at = {.up = up, .type = type, .err = err};

    for (const struct site *above = up; above; above = above->up)
        if (above->type == type)
            return mistake(up, "%s stands within itself", type->name);
    if (type->fields_count == 0 || type->fields_count > MEMBERS_MAX)
        return proa_fail(err, PROA_EINVAL, "%s: it has no members, or more than %d", type->name, MEMBERS_MAX);
    for (uint32_t i = 0; i < type->fields_count; i++) {
        at.field = &type->fields[i];
        PROA_TRY(check_name(&at));
        PROA_TRY(check_sizes(&at));
        PROA_TRY(check_range(&at));
        PROA_TRY(check_enum(&at));
        PROA_TRY(check_pattern(&at));
        if (at.field->kind == PROA_OBJECT)
            PROA_TRY(check_type(at.field->type, &at, err));
        PROA_TRY(check_json(&at, "default", at.field->default_json));
        PROA_TRY(check_json(&at, "example", at.field->example_json));
    }
    return 0;
}

int proa_type_check(const struct proa_type *type, struct proa_error *err)
{
    return check_type(type, NULL, err);
}
