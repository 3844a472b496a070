/* Structs as JSON, written directly from their descriptions; and the writer for JSON without one. */
#include "data_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* -- Text ------------------------------------------------------------------------------------------------------- */

/* Whether one of eight bytes must be escaped or is not ASCII. */
static bool word_needs_care(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');

    /* Each term has a byte's high bit set where the byte is below 0x20, zero, or not ASCII; false alarms behind a true
     * one do no harm. */
    return (((word - ones * 0x20) | (quote - ones) | (backslash - ones) | word) & high) != 0;
}

static bool byte_needs_care(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\' || c >= 0x80;
}

/* Bytes at the front that go as they stand. */
static size_t plain_bytes(const char *at, size_t len)
{
    size_t i = 0;

    for (; i + 8 <= len; i += 8) {
        uint64_t word;

        memcpy(&word, at + i, 8);
        if (word_needs_care(word))
            break;
    }
    while (i < len && !byte_needs_care((unsigned char)at[i]))
        i++;
    return i;
}

static void add_escape(struct proa_buf *out, unsigned char c)
{
    static const char hex_digits[] = "0123456789abcdef";
    static const char named[] = "\"\\\n\r\t\b\f", names[] = "\"\\nrtbf";
    char escape[6] = {'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]};
    const char *short_form = c ? strchr(named, c) : NULL;

    if (short_form) {
        escape[1] = names[short_form - named];
        proa_buf_add(out, proa_str_n(escape, 2));
    } else {
        proa_buf_add(out, proa_str_n(escape, 6));
    }
}

/* The rest of a string, from its first byte that needs care. */
static int add_careful(struct proa_buf *out, proa_str rest, bool strict)
{
    while (rest.len > 0) {
        size_t plain = plain_bytes(rest.ptr, rest.len);
        unsigned char c;
        uint32_t code;
        size_t len = 1;

        PROA_TRY(proa_buf_add(out, proa_str_n(rest.ptr, plain)));
        rest = proa_str_n(rest.ptr + plain, rest.len - plain);
        if (rest.len == 0)
            break;
        c = (unsigned char)rest.ptr[0];
        if (c < 0x80) {
            add_escape(out, c);
        } else if ((len = proa_utf8_next(rest, &code)) > 0) {
            proa_buf_add(out, proa_str_n(rest.ptr, len));
        } else if (strict) {
            return PROA_EINVAL;
        } else {
            proa_buf_add(out, PROA_STR("\xef\xbf\xbd"));
            len = 1;
        }
        rest = proa_str_n(rest.ptr + len, rest.len - len);
    }
    return proa_buf_add_char(out, '"');
}

int json_add_string(struct proa_buf *out, proa_str text, bool strict)
{
    size_t plain;

    PROA_TRY(proa_buf_reserve(out, text.len + 2));
    plain = plain_bytes(text.ptr, text.len);
    out->ptr[out->len++] = '"';
    if (plain)
        memcpy(out->ptr + out->len, text.ptr, plain);
    out->len += plain;
    if (PROA_UNLIKELY(plain < text.len))
        return add_careful(out, proa_str_n(text.ptr + plain, text.len - plain), strict);
    out->ptr[out->len++] = '"';
    return 0;
}

bool json_is_plain(proa_str text)
{
    return plain_bytes(text.ptr, text.len) == text.len;
}

int proa_json_escape(struct proa_buf *out, proa_str text)
{
    return json_add_string(out, text, false);
}

/* -- By description --------------------------------------------------------------------------------------------- */

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

static int write_raw(struct proa_buf *out, proa_str json)
{
#ifndef NDEBUG
    if (json.len && proa_json_check(json, NULL) < 0)
        return PROA_EINVAL;
#endif
    return proa_buf_add(out, json.len ? json : PROA_STR("null"));
}

/* As many digits of the fraction as the time has, in threes: a value survives being read back. */
static size_t timestamp_text(proa_time_ns time, char *out)
{
    unsigned digits = 9;

    for (int64_t part = 1000; digits > 0 && time % part == 0; part *= 1000)
        digits -= 3;
    return proa_time_text(time, digits, out);
}

static int write_value(struct proa_buf *out, unsigned flags, const struct proa_field *field, const void *value)
{
    char text[DURATION_TEXT_MAX];
    proa_str name;
    int64_t s;
    uint64_t u;

    switch (field->kind) {
    case PROA_BOOLEAN: return proa_buf_add_c(out, *(const bool *)value ? "true" : "false");
    case PROA_F64:
        return isfinite(*(const double *)value) ? proa_buf_add_double(out, *(const double *)value) : PROA_EINVAL;
    case PROA_TEXT: return json_add_string(out, *(const proa_str *)value, true);
    case PROA_ENUMERATION:
        name = proa_enum_name(field->names, *(const int *)value);
        return name.len ? json_add_string(out, name, true) : PROA_EINVAL;
    case PROA_OBJECT: return write_struct(out, flags, field->type, value);
    case PROA_RAW: return write_raw(out, *(const proa_str *)value);
    case PROA_BYTES: return write_base64(out, *(const proa_str *)value);
    case PROA_TIMESTAMP: return write_quoted(out, text, timestamp_text(*(const proa_time_ns *)value, text));
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
            PROA_TRY(json_add_string(out, element_key(element), true));
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
    if ((flags & PROA_JSON_MASKED) && field->secret)
        return proa_buf_add_c(out, "\"***\"");
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

/* -- Without a description -------------------------------------------------------------------------------------- */

enum { WRITER_DEPTH_MAX = 63 };

void proa_json_writer_init(struct proa_json_writer *w, struct proa_buf *out)
{
    *w = (struct proa_json_writer){.out = out};
}

static uint64_t level_bit(const struct proa_json_writer *w)
{
    return UINT64_C(1) << w->depth;
}

static void next_item(struct proa_json_writer *w)
{
    if (w->has_items & level_bit(w))
        proa_buf_add_char(w->out, ',');
    w->has_items |= level_bit(w);
}

static void before_value(struct proa_json_writer *w)
{
    assert(w->after_key || !(w->is_object & level_bit(w)));
    assert(w->depth > 0 || !(w->has_items & 1));
    if (w->after_key)
        w->after_key = false;
    else
        next_item(w);
}

static void open_level(struct proa_json_writer *w, bool is_object)
{
    before_value(w);
    proa_buf_add_char(w->out, is_object ? '{' : '[');
    assert(w->depth < WRITER_DEPTH_MAX);
    if (w->depth == WRITER_DEPTH_MAX) {
        w->out->error = PROA_EINVAL;
        return;
    }
    w->depth++;
    w->has_items &= ~level_bit(w);
    w->is_object = is_object ? w->is_object | level_bit(w) : w->is_object & ~level_bit(w);
}

static void close_level(struct proa_json_writer *w, bool is_object)
{
    assert(w->depth > 0 && !w->after_key);
    assert(((w->is_object & level_bit(w)) != 0) == is_object);
    if (w->depth > 0)
        w->depth--;
    proa_buf_add_char(w->out, is_object ? '}' : ']');
}

void proa_json_object(struct proa_json_writer *w)
{
    open_level(w, true);
}

void proa_json_object_end(struct proa_json_writer *w)
{
    close_level(w, true);
}

void proa_json_array(struct proa_json_writer *w)
{
    open_level(w, false);
}

void proa_json_array_end(struct proa_json_writer *w)
{
    close_level(w, false);
}

void proa_json_key(struct proa_json_writer *w, proa_str key)
{
    assert(!w->after_key && (w->is_object & level_bit(w)));
    next_item(w);
    json_add_string(w->out, key, false);
    proa_buf_add_char(w->out, ':');
    w->after_key = true;
}

void proa_json_text(struct proa_json_writer *w, proa_str text)
{
    before_value(w);
    json_add_string(w->out, text, false);
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
