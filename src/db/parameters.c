/* Described members as parameters, and :names in a statement. */
#include "db_internal.h"

#include <proa/buf.h>
#include <proa/json.h>

static int as_json(struct proa_arena *arena, const struct proa_field *field, const void *struct_ptr,
                   struct proa_value *ret_value, struct proa_error *err)
{
    struct proa_buf json;

    proa_buf_init(&json, arena, 0);
    if (proa_json_write_field(&json, 0, field, struct_ptr) < 0)
        return proa_fail(err, json.error ? json.error : PROA_EINVAL, "member %.*s cannot be written as JSON",
                         PROA_ARG(field->member));
    *ret_value = proa_json_value(proa_buf_str(&json));
    return 0;
}

static int64_t signed_of(const void *at, uint32_t size)
{
    switch (size) {
    case 1: return *(const int8_t *)at;
    case 2: return *(const int16_t *)at;
    case 4: return *(const int32_t *)at;
    default: return *(const int64_t *)at;
    }
}

static uint64_t unsigned_of(const void *at, uint32_t size)
{
    switch (size) {
    case 1: return *(const uint8_t *)at;
    case 2: return *(const uint16_t *)at;
    case 4: return *(const uint32_t *)at;
    default: return *(const uint64_t *)at;
    }
}

int db_value_of_field(struct proa_arena *arena, const struct proa_field *field, const void *struct_ptr,
                      struct proa_value *ret_value, struct proa_error *err)
{
    const char *object = struct_ptr;
    const void *at = object + field->value_offset;
    proa_str name;

    if (field->optional && *(const enum proa_presence *)(const void *)(object + field->offset) != PROA_SET) {
        *ret_value = proa_null();
        return 0;
    }
    if (field->container != PROA_SINGLE)
        return as_json(arena, field, struct_ptr, ret_value, err);
    switch ((enum proa_kind)field->kind) {
    case PROA_BOOLEAN: *ret_value = proa_bool(*(const bool *)at); return 0;
    case PROA_I8:
    case PROA_I16:
    case PROA_I32:
    case PROA_I64: *ret_value = proa_i64(signed_of(at, field->size)); return 0;
    case PROA_U8:
    case PROA_U16:
    case PROA_U32:
    case PROA_U64:
    case PROA_DURATION: /* nanoseconds */
    case PROA_QUANTITY: /* bytes */ *ret_value = proa_u64(unsigned_of(at, field->size)); return 0;
    case PROA_F64: *ret_value = proa_f64(*(const double *)at); return 0;
    case PROA_TEXT: *ret_value = proa_text(*(const proa_str *)at); return 0;
    case PROA_ENUMERATION:
        name = proa_enum_name(field->names, (int)signed_of(at, field->size));
        if (name.len == 0)
            return proa_fail(err, PROA_EINVAL, "member " PROA_FMT " has a value without a name",
                             PROA_ARG(field->member));
        *ret_value = proa_text(name);
        return 0;
    case PROA_OBJECT: return as_json(arena, field, struct_ptr, ret_value, err);
    case PROA_RAW: *ret_value = proa_json_value(*(const proa_str *)at); return 0;
    case PROA_BYTES: *ret_value = proa_blob(*(const proa_str *)at); return 0;
    case PROA_TIMESTAMP: *ret_value = proa_time(*(const proa_time_ns *)at); return 0;
    }
    return proa_fail(err, PROA_EINTERNAL, "member " PROA_FMT " has no kind", PROA_ARG(field->member));
}

/* -- :names ----------------------------------------------------------------------------------------------------- */

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c)
{
    return is_name_start(c) || (c >= '0' && c <= '9');
}

/* Length of a quoted part at the front, with its quotes; a doubled quote is one inside. To the end when it is not
 * closed: the database will say so. */
static size_t quoted_len(proa_str s, bool has_escapes)
{
    char quote = s.ptr[0];
    size_t i = 1;

    for (; i < s.len; i++) {
        if (has_escapes && s.ptr[i] == '\\') {
            i++;
        } else if (s.ptr[i] == quote) {
            if (i + 1 == s.len || s.ptr[i + 1] != quote)
                return i + 1;
            i++;
        }
    }
    return s.len;
}

/* Of a dollar-quoted text of PostgreSQL, $$…$$ or $tag$…$tag$; 0 when it is none, as for $1. */
static size_t dollar_quoted_len(proa_str s)
{
    size_t tag = 1;
    ptrdiff_t end;

    if (tag < s.len && is_name_start(s.ptr[tag]))
        while (tag < s.len && is_name(s.ptr[tag]))
            tag++;
    if (tag >= s.len || s.ptr[tag] != '$')
        return 0;
    tag++;
    end = proa_str_find(proa_str_slice(s, tag, s.len), proa_str_slice(s, 0, tag));
    return end < 0 ? s.len : tag + (size_t)end + tag;
}

/* Block comments nest, as in PostgreSQL. */
static size_t block_comment_len(proa_str s)
{
    size_t depth = 0, i = 0;

    while (i + 1 < s.len) {
        if (s.ptr[i] == '/' && s.ptr[i + 1] == '*') {
            depth++;
            i += 2;
        } else if (s.ptr[i] == '*' && s.ptr[i + 1] == '/') {
            i += 2;
            if (--depth == 0)
                return i;
        } else {
            i++;
        }
    }
    return s.len;
}

/* Length of what is to be copied as it stands: a literal, a comment, a word, a cast; at least 1. 0 for a :name. */
static size_t plain_len(proa_str s)
{
    char next = s.len > 1 ? s.ptr[1] : 0;
    ptrdiff_t end;
    size_t len;

    switch (s.ptr[0]) {
    case '\'':
    case '"': return quoted_len(s, false);
    case '-':
        if (next != '-')
            return 1;
        end = proa_str_find_char(s, '\n');
        return end < 0 ? s.len : (size_t)end;
    case '/': return next == '*' ? block_comment_len(s) : 1;
    case '$': len = dollar_quoted_len(s); return len ? len : 1;
    case ':':
        if (next == ':')
            return 2;
        return is_name_start(next) ? 0 : 1;
    default:
        if (!is_name_start(s.ptr[0]))
            return 1;
        if ((s.ptr[0] == 'e' || s.ptr[0] == 'E') && next == '\'')
            return 1 + quoted_len(proa_str_slice(s, 1, s.len), true);
        for (len = 1; len < s.len && is_name(s.ptr[len]);)
            len++;
        return len;
    }
}

/* The number of this field's parameter, which is new when the field has none. */
static size_t parameter_of(const struct proa_field **fields, size_t *count, const struct proa_field *field)
{
    for (size_t i = 0; i < *count; i++)
        if (fields[i] == field)
            return i + 1;
    fields[(*count)++] = field;
    return *count;
}

int db_bind_names(struct proa_arena *arena, const struct proa_type *type, const char *text, char **ret_text,
                  const struct proa_field ***ret_fields, size_t *ret_count, struct proa_error *err)
{
    const struct proa_field **fields = proa_arena_calloc(arena, type->fields_count + 1, sizeof(*fields));
    proa_str rest = proa_str_c(text);
    struct proa_buf out;
    size_t count = 0;

    if (!fields)
        return proa_fail(err, PROA_ENOMEM, "no memory for a statement");
    proa_buf_init(&out, arena, 0);
    while (rest.len > 0) {
        size_t len = plain_len(rest);
        const struct proa_field *field;

        if (len > 0) {
            proa_buf_add(&out, proa_str_slice(rest, 0, len));
            rest = proa_str_slice(rest, len, rest.len);
            continue;
        }
        for (len = 1; len < rest.len && is_name(rest.ptr[len]);)
            len++;
        field = db_field_of_column(type, proa_str_slice(rest, 1, len));
        if (!field)
            return proa_fail(err, PROA_EINTERNAL, "struct %s has no member for " PROA_FMT, type->name,
                             PROA_ARG(proa_str_slice(rest, 0, len)));
        proa_buf_add_char(&out, '$');
        proa_buf_add_u64(&out, parameter_of(fields, &count, field));
        rest = proa_str_slice(rest, len, rest.len);
    }
    proa_buf_add_char(&out, 0);
    if (out.error)
        return proa_fail(err, out.error, "no memory for a statement");
    *ret_text = out.ptr;
    *ret_fields = fields;
    *ret_count = count;
    return 0;
}
