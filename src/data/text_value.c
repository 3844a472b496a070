/* Values from text: JSON's textual kinds; and members from plain text (query parameters, headers, flags, the
 * environment). */
#include "data_internal.h"

#include <string.h>

bool read_textual(struct rules *rules, const struct proa_field *field, proa_str text, void *out)
{
    struct proa_buf bytes;
    int rc;

    switch (field->kind) {
    case PROA_TEXT: *(proa_str *)out = text; return true;
    case PROA_ENUMERATION: return proa_enum_value(field->names, text, out);
    case PROA_BYTES:
        proa_buf_init(&bytes, rules->arena, 0);
        rc = proa_base64_decode(&bytes, text);
        rules->memory_out = rules->memory_out || rc == PROA_ENOMEM;
        if (rc == 0)
            *(proa_str *)out = bytes.len ? proa_buf_str(&bytes) : proa_str_n("", 0);
        return rc == 0;
    case PROA_TIMESTAMP: return proa_time_parse(text, out) == 0;
    case PROA_DURATION: return proa_duration_parse(text, &((struct proa_duration *)out)->ns) == 0;
    case PROA_QUANTITY: return proa_bytes_parse(text, &((struct proa_quantity *)out)->bytes) == 0;
    default: return false;
    }
}

const char *kind_word(const struct proa_field *field)
{
    switch (field->kind) {
    case PROA_BOOLEAN: return "true or false";
    case PROA_F64: return "a number";
    case PROA_OBJECT: return "an object";
    case PROA_TEXT: return "text";
    case PROA_RAW: return "JSON";
    case PROA_BYTES: return "base64 text";
    case PROA_TIMESTAMP: return "a date-time like 2026-01-31T12:00:00Z";
    case PROA_DURATION: return "a duration like 1m30s";
    case PROA_QUANTITY: return "a number of bytes like 64Mi";
    case PROA_ENUMERATION: return "a name";
    default: return "an integer";
    }
}

static void not_a_name(struct rules *rules, const struct proa_field *field, const struct value_path *path)
{
    char names[256];
    size_t len = 0;

    for (uint32_t i = 0; i < field->names->count; i++) {
        proa_str name = field->names->values[i].name;

        if (len + name.len + sizeof ", …" >= sizeof names) {
            memcpy(names + len, "…", strlen("…"));
            len += strlen("…");
            break;
        }
        memcpy(names + len, name.ptr, name.len);
        len += name.len;
        if (i + 1 < field->names->count) {
            memcpy(names + len, ", ", 2);
            len += 2;
        }
    }
    rule_broken(rules, path, "enum", "must be one of: %.*s", (int)len, names);
}

void text_refused(struct rules *rules, const struct proa_field *field, const struct value_path *path)
{
    if (rules->memory_out)
        return;
    if (field->kind == PROA_ENUMERATION)
        not_a_name(rules, field, path);
    else
        rule_broken(rules, path, "format", "must be %s", kind_word(field));
}

/* -- Members from plain text ------------------------------------------------------------------------------------ */

/* Stricter than JSON: a number stands alone, without spaces, exponents or fractions. */
static void integer_from_text(struct rules *rules, const struct proa_field *field, proa_str text, void *out,
                              const struct value_path *path)
{
    int64_t s = 0;
    uint64_t u = 0;
    bool negative = text.len && text.ptr[0] == '-';
    int rc = negative ? proa_str_to_i64(text, &s) : proa_str_to_u64(text, &u);

    if (rc == PROA_ESYNTAX) {
        rule_broken(rules, path, "type", "must be an integer");
        return;
    }
    if (negative)
        u = (uint64_t)s;
    else
        s = (int64_t)u;
    if (rc < 0 || !integer_fits(field->kind, negative, s, u))
        integer_out_of_range(rules, field, path);
    else
        integer_store(field->kind, out, s, u);
}

static void raw_from_text(struct rules *rules, const struct proa_field *field, proa_str text, void *out,
                          const struct value_path *path)
{
    struct json_text json PROA_CLEANUP(json_text_done) = {0};
    int rc = json_parse(&json, rules->arena, text, NULL);

    if (rc == PROA_ENOMEM)
        rules->memory_out = true;
    else if (rc < 0)
        rule_broken(rules, path, "type", "must be JSON");
    else
        json_read_value(rules, field, json.root, out, path, 1);
}

static void value_from_text(struct rules *rules, const struct proa_field *field, proa_str text, void *out,
                            const struct value_path *path)
{
    uint32_t broken_before = rules->broken;
    int rc;

    switch (field->kind) {
    case PROA_RAW: raw_from_text(rules, field, text, out, path); return;
    case PROA_BOOLEAN:
        *(bool *)out = proa_str_eq_c(text, "true");
        if (!*(bool *)out && !proa_str_eq_c(text, "false"))
            rule_broken(rules, path, "type", "must be true or false");
        return;
    case PROA_F64:
        rc = proa_str_to_double(text, out);
        if (rc == PROA_ERANGE)
            rule_broken(rules, path, "range", "does not fit a double");
        else if (rc < 0)
            rule_broken(rules, path, "type", "must be a number");
        break;
    case PROA_TEXT:
    case PROA_ENUMERATION:
    case PROA_BYTES:
    case PROA_TIMESTAMP:
    case PROA_DURATION:
    case PROA_QUANTITY:
        if (!read_textual(rules, field, text, out))
            text_refused(rules, field, path);
        break;
    default: integer_from_text(rules, field, text, out, path); break;
    }
    if (rules->broken == broken_before && !rules->memory_out)
        check_value(rules, field, out, path);
}

static void list_from_text(struct rules *rules, const struct proa_field *field, proa_str text, struct slice_header *out,
                           const struct value_path *path)
{
    struct value_path below = {.up = path, .is_index = true};
    proa_str rest = text, part;
    size_t count = text.len > 0;
    uint32_t broken_before = rules->broken;
    char *items;

    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == ',';
    if (!check_count(rules, field, count, path))
        return;
    items = proa_arena_calloc(rules->arena, count, field->stride);
    if (!items) {
        rules->memory_out = true;
        return;
    }
    for (; below.index < count && proa_str_split(&rest, ',', &part); below.index++)
        value_from_text(rules, field, proa_str_trim(part), items + below.index * field->stride, &below);
    out->ptr = items;
    out->len = count;
    if (rules->broken == broken_before)
        check_items(rules, field, items, count, path);
}

int proa_field_from_text(struct proa_arena *arena, const struct proa_field *field, proa_str text, proa_str pointer,
                         void *struct_ptr, struct proa_error *err)
{
    struct rules rules = {.arena = arena, .err = err, .prefix = pointer};
    const struct proa_field alone = field_alone(field);
    char *value;

    if (field->container == PROA_DICTIONARY || field->kind == PROA_OBJECT)
        return proa_fail(err, PROA_EUNSUPPORTED, PROA_FMT " cannot be given as text", PROA_ARG(field->member));
    value = proa_arena_calloc(arena, 1, member_bytes(field));
    if (!value)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (field->container == PROA_LIST)
        list_from_text(&rules, field, text, (void *)(value + alone.value_offset), NULL);
    else
        value_from_text(&rules, field, text, value + alone.value_offset, NULL);
    PROA_TRY(rules_outcome(&rules));
    if (field->optional)
        *presence_of(&alone, value) = PROA_SET;
    memcpy((char *)struct_ptr + field->offset, value, member_bytes(field));
    return 0;
}
