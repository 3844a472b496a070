/* Structs as JSON, written directly from their descriptions; and the writer for JSON without one. */
#include "data_internal.h"

#include <math.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

/* 1 for bytes that JSON text must escape, and for those that begin a sequence that must be checked. */
static bool needs_care(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\' || c >= 0x80;
}

static void add_escape(struct proa_buf *out, unsigned char c)
{
    char escape[6] = {'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]};
    char shorter = '\0';

    switch (c) {
    case '"': shorter = '"'; break;
    case '\\': shorter = '\\'; break;
    case '\n': shorter = 'n'; break;
    case '\r': shorter = 'r'; break;
    case '\t': shorter = 't'; break;
    default: break;
    }
    if (shorter) {
        escape[1] = shorter;
        proa_buf_add(out, proa_str_n(escape, 2));
    } else {
        proa_buf_add(out, proa_str_n(escape, 6));
    }
}

/* @returns PROA_EINVAL for invalid UTF-8 when strict; else it becomes U+FFFD. */
static int add_string(struct proa_buf *out, proa_str text, bool strict)
{
    size_t plain = 0;

    PROA_TRY(proa_buf_reserve(out, text.len + 2));
    proa_buf_add_char(out, '"');
    for (size_t i = 0; i < text.len;) {
        unsigned char c = (unsigned char)text.ptr[i];
        uint32_t code;
        size_t len = 1;

        if (!needs_care(c)) {
            i++;
            continue;
        }
        if (c >= 0x80) {
            len = proa_utf8_next(proa_str_slice(text, i, text.len), &code);
            if (len > 0) {
                i += len;
                continue;
            }
            if (strict)
                return PROA_EINVAL;
            len = 1;
        }
        proa_buf_add(out, proa_str_slice(text, plain, i));
        if (c >= 0x80)
            proa_buf_add(out, PROA_STR("\xef\xbf\xbd"));
        else
            add_escape(out, c);
        i += len;
        plain = i;
    }
    proa_buf_add(out, proa_str_slice(text, plain, text.len));
    return proa_buf_add_char(out, '"');
}

int proa_json_escape(struct proa_buf *out, proa_str text)
{
    return add_string(out, text, false);
}

static int write_struct(struct proa_buf *out, unsigned flags, const struct proa_type *type, const char *value);

static int write_quoted(struct proa_buf *out, const char *text, size_t len)
{
    proa_buf_add_char(out, '"');
    proa_buf_add(out, proa_str_n(text, len));
    return proa_buf_add_char(out, '"');
}

static int write_base64(struct proa_buf *out, proa_str bytes)
{
    proa_buf_add_char(out, '"');
    proa_base64_encode(out, bytes);
    return proa_buf_add_char(out, '"');
}

static int write_value(struct proa_buf *out, unsigned flags, const struct proa_field *field, const void *value)
{
    char text[64];
    proa_str name;
    int64_t s;
    uint64_t u;

    switch (field->kind) {
    case PROA_BOOLEAN: return proa_buf_add_c(out, *(const bool *)value ? "true" : "false");
    case PROA_F64:
        return isfinite(*(const double *)value) ? proa_buf_add_double(out, *(const double *)value) : PROA_EINVAL;
    case PROA_TEXT: return add_string(out, *(const proa_str *)value, true);
    case PROA_ENUMERATION:
        name = proa_enum_name(field->names, *(const int *)value);
        return name.len ? add_string(out, name, true) : PROA_EINVAL;
    case PROA_OBJECT: return write_struct(out, flags, field->type, value);
    case PROA_RAW: name = *(const proa_str *)value; return proa_buf_add(out, name.len ? name : PROA_STR("null"));
    case PROA_BYTES: return write_base64(out, *(const proa_str *)value);
    case PROA_TIMESTAMP: return write_quoted(out, text, proa_time_text(*(const proa_time_ns *)value, 6, text));
    case PROA_DURATION: return write_quoted(out, text, duration_text(((const struct proa_duration *)value)->ns, text));
    case PROA_QUANTITY: return proa_buf_add_u64(out, ((const struct proa_quantity *)value)->bytes);
    default:
        integer_load(field->kind, value, &s, &u);
        return kind_is_signed(field->kind) ? proa_buf_add_i64(out, s) : proa_buf_add_u64(out, u);
    }
}

static int write_container(struct proa_buf *out, unsigned flags, const struct proa_field *field,
                           const struct slice_header *slice)
{
    bool list = field->container == PROA_LIST;

    proa_buf_add_char(out, list ? '[' : '{');
    for (size_t i = 0; i < slice->len; i++) {
        char *element = element_at(field, slice, i);

        if (i > 0)
            proa_buf_add_char(out, ',');
        if (!list) {
            PROA_TRY(add_string(out, ((struct entry_header *)(void *)element)->key, true));
            proa_buf_add_char(out, ':');
        }
        PROA_TRY(write_value(out, flags, field, element_value(field, element)));
    }
    return proa_buf_add_char(out, list ? ']' : '}');
}

int proa_json_write_field(struct proa_buf *out, unsigned flags, const struct proa_field *field, const void *struct_ptr)
{
    const char *at = struct_ptr;

    if (field->optional && *(const enum proa_presence *)(const void *)(at + field->offset) != PROA_SET)
        return proa_buf_add_c(out, "null");
    at += field->value_offset;
    if (field->container != PROA_SINGLE)
        return write_container(out, flags, field, (const void *)at);
    return write_value(out, flags, field, at);
}

static int write_struct(struct proa_buf *out, unsigned flags, const struct proa_type *type, const char *value)
{
    bool first = true;

    PROA_TRY(proa_buf_add_char(out, '{'));
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];
        proa_str name = proa_field_name(field);

        if ((flags & PROA_JSON_OUTPUT) && (field->write_only || field->secret))
            continue;
        if (field->optional && *(const enum proa_presence *)(const void *)(value + field->offset) == PROA_ABSENT)
            continue;
        /* Names of members are plain: no escapes. */
        PROA_TRY(proa_buf_reserve(out, name.len + 4));
        if (!first)
            out->ptr[out->len++] = ',';
        first = false;
        out->ptr[out->len++] = '"';
        memcpy(out->ptr + out->len, name.ptr, name.len);
        out->len += name.len;
        out->ptr[out->len++] = '"';
        out->ptr[out->len++] = ':';
        PROA_TRY(proa_json_write_field(out, flags, field, value));
    }
    return proa_buf_add_char(out, '}');
}

int proa_json_write_type(struct proa_buf *out, unsigned flags, const struct proa_type *type, const void *value)
{
    PROA_TRY(write_struct(out, flags, type, value));
    return out->error;
}

/* The writer without a description. */
void proa_json_writer_init(struct proa_json_writer *w, struct proa_buf *out)
{
    *w = (struct proa_json_writer){.out = out};
}

static void before_value(struct proa_json_writer *w)
{
    if (w->after_key)
        w->after_key = false;
    else if (w->has_items & UINT64_C(1) << w->depth)
        proa_buf_add_char(w->out, ',');
    w->has_items |= UINT64_C(1) << w->depth;
}

static void open_level(struct proa_json_writer *w, char c)
{
    before_value(w);
    proa_buf_add_char(w->out, c);
    if (w->depth < 63)
        w->depth++;
    w->has_items &= ~(UINT64_C(1) << w->depth);
}

static void close_level(struct proa_json_writer *w, char c)
{
    if (w->depth > 0)
        w->depth--;
    proa_buf_add_char(w->out, c);
}

void proa_json_object(struct proa_json_writer *w)
{
    open_level(w, '{');
}

void proa_json_object_end(struct proa_json_writer *w)
{
    close_level(w, '}');
}

void proa_json_array(struct proa_json_writer *w)
{
    open_level(w, '[');
}

void proa_json_array_end(struct proa_json_writer *w)
{
    close_level(w, ']');
}

void proa_json_key(struct proa_json_writer *w, proa_str key)
{
    proa_json_text(w, key);
    proa_buf_add_char(w->out, ':');
    w->after_key = true;
}

void proa_json_text(struct proa_json_writer *w, proa_str text)
{
    before_value(w);
    add_string(w->out, text, false);
}

void proa_json_u64(struct proa_json_writer *w, uint64_t value)
{
    before_value(w);
    proa_buf_add_u64(w->out, value);
}

void proa_json_i64(struct proa_json_writer *w, int64_t value)
{
    before_value(w);
    proa_buf_add_i64(w->out, value);
}

void proa_json_f64(struct proa_json_writer *w, double value)
{
    before_value(w);
    if (isfinite(value))
        proa_buf_add_double(w->out, value);
    else
        proa_buf_add_c(w->out, "null");
}

void proa_json_bool(struct proa_json_writer *w, bool value)
{
    before_value(w);
    proa_buf_add_c(w->out, value ? "true" : "false");
}

void proa_json_null(struct proa_json_writer *w)
{
    before_value(w);
    proa_buf_add_c(w->out, "null");
}

void proa_json_raw(struct proa_json_writer *w, proa_str json)
{
    before_value(w);
    proa_buf_add(w->out, json);
}
