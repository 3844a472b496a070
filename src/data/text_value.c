/* Members from plain text: query parameters, headers, flags, the environment. */
#include "data_internal.h"

#include <string.h>

static void one_value(struct rules *rules, const struct proa_field *field, proa_str text, void *out,
                      const struct value_path *path)
{
    struct proa_field single = *field;
    struct proa_error why = {.arena = rules->arena};
    struct proa_buf json;
    int rc;

    if (field->kind == PROA_TEXT) {
        *(proa_str *)out = text;
        check_value(rules, field, out, path);
        return;
    }
    /* Everything else is read as JSON would be: numbers and booleans as they stand, the rest as a JSON string. */
    single.container = PROA_SINGLE;
    single.optional = false;
    single.offset = single.value_offset = 0;
    proa_buf_init(&json, rules->arena, 0);
    if (field->kind == PROA_BOOLEAN || field->kind == PROA_F64 || field->kind == PROA_RAW ||
        kind_is_integer(field->kind))
        rc = proa_buf_add(&json, text);
    else
        rc = proa_json_escape(&json, text);
    if (rc == 0)
        rc = proa_json_read_field(rules->arena, proa_buf_str(&json), 0, &single, out, &why);
    if (rc == PROA_ENOMEM)
        rules->memory_out = true;
    else if (rc == PROA_ESYNTAX)
        rule_broken(rules, path, "type", "must be %s",
                    field->kind == PROA_BOOLEAN ? "true or false"
                    : field->kind == PROA_RAW   ? "JSON"
                                                : "a number");
    else if (rc < 0)
        rule_broken(rules, path, why.fields ? why.fields->code.ptr : "type", "%s", why.message);
}

static void list_of_values(struct rules *rules, const struct proa_field *field, proa_str text, struct slice_header *out,
                           const struct value_path *path)
{
    struct value_path below = {.up = path, .is_index = true};
    proa_str rest = text, part;
    size_t count = 1;
    char *items;

    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == ',';
    if (text.len == 0)
        count = 0;
    items = proa_arena_calloc(rules->arena, count, field->stride);
    if (!items) {
        rules->memory_out = true;
        return;
    }
    for (; below.index < count && proa_str_split(&rest, ',', &part); below.index++)
        one_value(rules, field, proa_str_trim(part), items + below.index * field->stride, &below);
    out->ptr = items;
    out->len = count;
    check_items(rules, field, items, count, path);
}

int proa_field_from_text(struct proa_arena *arena, const struct proa_field *field, proa_str text, proa_str pointer,
                         void *struct_ptr, struct proa_error *err)
{
    struct rules rules = {.arena = arena, .err = err, .prefix = pointer};
    char *at = struct_ptr;

    if (field->container == PROA_DICTIONARY || field->kind == PROA_OBJECT)
        return proa_fail(err, PROA_EUNSUPPORTED, PROA_FMT " cannot be given as text", PROA_ARG(field->member));
    if (field->container == PROA_LIST)
        list_of_values(&rules, field, text, (void *)(at + field->value_offset), NULL);
    else
        one_value(&rules, field, text, at + field->value_offset, NULL);
    if (rules.memory_out)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (rules.broken)
        return PROA_EVALIDATION;
    if (field->optional)
        *(enum proa_presence *)(void *)(at + field->offset) = PROA_SET;
    return 0;
}
