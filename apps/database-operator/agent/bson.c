/* BSON. Numbers are little-endian, whatever the machine is. */
#include "bson.h"

#include <assert.h>
#include <math.h>
#include <proa/error.h>

enum { LENGTH_BYTES = 4, DOCUMENT_MIN_BYTES = 5 };

/* -- Writing --------------------------------------------------------------------------------------------------------- */

static void add_number(struct proa_buf *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        proa_buf_add_char(out, (char)(value >> (8 * i)));
}

static void begin(struct bson_writer *w)
{
    assert(w->depth < BSON_DEPTH_MAX);
    w->starts[w->depth++] = w->out->len;
    add_number(w->out, 0, LENGTH_BYTES);
}

static void add_key(struct bson_writer *w, enum bson_type type, const char *key)
{
    proa_buf_add_char(w->out, (char)type);
    proa_buf_add_c(w->out, key);
    proa_buf_add_char(w->out, '\0');
}

void bson_begin(struct bson_writer *w, struct proa_buf *out)
{
    *w = (struct bson_writer){.out = out};
    begin(w);
}

void bson_document(struct bson_writer *w, const char *key)
{
    add_key(w, BSON_DOCUMENT, key);
    begin(w);
}

void bson_array(struct bson_writer *w, const char *key)
{
    add_key(w, BSON_ARRAY, key);
    begin(w);
}

void bson_end(struct bson_writer *w)
{
    size_t start;

    assert(w->depth > 0);
    start = w->starts[--w->depth];
    proa_buf_add_char(w->out, '\0');
    if (w->out->error < 0)
        return;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        w->out->ptr[start + i] = (char)((w->out->len - start) >> (8 * i));
}

void bson_text(struct bson_writer *w, const char *key, proa_str value)
{
    add_key(w, BSON_TEXT, key);
    add_number(w->out, value.len + 1, LENGTH_BYTES);
    proa_buf_add(w->out, value);
    proa_buf_add_char(w->out, '\0');
}

void bson_i32(struct bson_writer *w, const char *key, int32_t value)
{
    add_key(w, BSON_I32, key);
    add_number(w->out, (uint32_t)value, 4);
}

void bson_bool(struct bson_writer *w, const char *key, bool value)
{
    add_key(w, BSON_BOOLEAN, key);
    proa_buf_add_char(w->out, value);
}

void bson_binary(struct bson_writer *w, const char *key, proa_str bytes)
{
    add_key(w, BSON_BINARY, key);
    add_number(w->out, bytes.len, LENGTH_BYTES);
    proa_buf_add_char(w->out, '\0'); /* of no particular kind */
    proa_buf_add(w->out, bytes);
}

void bson_copy(struct bson_writer *w, const char *key, const struct bson_value *value)
{
    add_key(w, value->type, key);
    proa_buf_add(w->out, value->bytes);
}

/* -- Reading --------------------------------------------------------------------------------------------------------- */

static uint64_t number_at(const char *at, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return value;
}

/* The text up to a NUL and past it. */
static bool take_c(proa_str *rest, proa_str *ret_text)
{
    const char *end = rest->len > 0 ? memchr(rest->ptr, '\0', rest->len) : NULL;

    if (!end)
        return false;
    *ret_text = proa_str_n(rest->ptr, (size_t)(end - rest->ptr));
    *rest = proa_str_slice(*rest, ret_text->len + 1, rest->len);
    return true;
}

/* Bytes of a value; false when it does not fit into what is left or is of a type that nobody sends any more. */
static bool value_bytes(enum bson_type type, proa_str rest, size_t *ret_bytes)
{
    proa_str after = rest, ignored;
    uint64_t length = rest.len >= LENGTH_BYTES ? number_at(rest.ptr, LENGTH_BYTES) : 0;
    size_t bytes;

    switch (type) {
    case BSON_UNDEFINED:
    case BSON_NULL:
    case BSON_MIN_KEY:
    case BSON_MAX_KEY: bytes = 0; break;
    case BSON_BOOLEAN: bytes = 1; break;
    case BSON_I32: bytes = 4; break;
    case BSON_DOUBLE:
    case BSON_DATETIME:
    case BSON_TIMESTAMP:
    case BSON_I64: bytes = 8; break;
    case BSON_OBJECT_ID: bytes = BSON_OBJECT_ID_BYTES; break;
    case BSON_DECIMAL: bytes = 16; break;
    case BSON_TEXT:
        if (length == 0 || length > rest.len || rest.len - length < LENGTH_BYTES || rest.ptr[LENGTH_BYTES + length - 1])
            return false;
        bytes = LENGTH_BYTES + (size_t)length;
        break;
    case BSON_BINARY:
        if (rest.len < LENGTH_BYTES + 1 || length > rest.len - LENGTH_BYTES - 1)
            return false;
        bytes = LENGTH_BYTES + 1 + (size_t)length;
        break;
    case BSON_DOCUMENT:
    case BSON_ARRAY:
        if (length < DOCUMENT_MIN_BYTES)
            return false;
        bytes = (size_t)length;
        break;
    case BSON_REGEX:
        for (int i = 0; i < 2; i++) /* pattern and options */
            if (!take_c(&after, &ignored))
                return false;
        bytes = rest.len - after.len;
        break;
    default: return false;
    }
    if (bytes > rest.len)
        return false;
    *ret_bytes = bytes;
    return true;
}

static bool take_value(proa_str *rest, struct bson_value *ret_value)
{
    struct bson_value value;
    size_t bytes;

    if (rest->len == 0)
        return false;
    value.type = (enum bson_type)(unsigned char)rest->ptr[0];
    *rest = proa_str_slice(*rest, 1, rest->len);
    if (!take_c(rest, &value.key) || !value_bytes(value.type, *rest, &bytes))
        return false;
    value.bytes = proa_str_slice(*rest, 0, bytes);
    *rest = proa_str_slice(*rest, bytes, rest->len);
    *ret_value = value;
    return true;
}

static bool is_good(proa_str document, unsigned depth)
{
    struct bson_value value;
    proa_str rest;

    if (depth == 0 || document.len < DOCUMENT_MIN_BYTES || number_at(document.ptr, LENGTH_BYTES) != document.len ||
        document.ptr[document.len - 1] != '\0')
        return false;
    rest = bson_elements(document);
    while (rest.len > 0) {
        if (!take_value(&rest, &value))
            return false;
        if ((value.type == BSON_DOCUMENT || value.type == BSON_ARRAY) && !is_good(value.bytes, depth - 1))
            return false;
    }
    return true;
}

int bson_check(proa_str document)
{
    return is_good(document, BSON_DEPTH_MAX) ? 0 : PROA_ESYNTAX;
}

proa_str bson_elements(proa_str document)
{
    return proa_str_slice(document, LENGTH_BYTES, document.len - 1);
}

bool bson_next(proa_str *elements, struct bson_value *ret_value)
{
    return take_value(elements, ret_value);
}

bool bson_find(proa_str document, const char *path, struct bson_value *ret_value)
{
    proa_str rest = proa_str_c(path), name;
    struct bson_value value = {.type = BSON_DOCUMENT, .bytes = document};

    while (proa_str_split(&rest, '.', &name)) {
        proa_str elements;
        bool is_found = false;

        if (value.type != BSON_DOCUMENT && value.type != BSON_ARRAY)
            return false;
        elements = bson_elements(value.bytes);
        while (!is_found && bson_next(&elements, &value))
            is_found = proa_str_eq(value.key, name);
        if (!is_found)
            return false;
    }
    *ret_value = value;
    return true;
}

proa_str bson_as_text(const struct bson_value *value)
{
    return value->type == BSON_TEXT ? proa_str_slice(value->bytes, LENGTH_BYTES, value->bytes.len - 1) : (proa_str){0};
}

bool bson_as_i64(const struct bson_value *value, int64_t *ret_number)
{
    double number;

    switch (value->type) {
    case BSON_I32: *ret_number = (int32_t)number_at(value->bytes.ptr, 4); return true;
    case BSON_I64:
    case BSON_DATETIME: *ret_number = (int64_t)number_at(value->bytes.ptr, 8); return true;
    case BSON_BOOLEAN: *ret_number = value->bytes.ptr[0] != 0; return true;
    case BSON_DOUBLE:
        if (!bson_as_number(value, &number) || !(fabs(number) < 9e15))
            return false;
        *ret_number = (int64_t)number;
        return true;
    default: return false;
    }
}

bool bson_as_number(const struct bson_value *value, double *ret_number)
{
    uint64_t bits;
    int64_t whole;

    if (value->type == BSON_DOUBLE) {
        bits = number_at(value->bytes.ptr, 8);
        memcpy(ret_number, &bits, sizeof bits);
        return true;
    }
    if (!bson_as_i64(value, &whole))
        return false;
    *ret_number = (double)whole;
    return true;
}

proa_str bson_get_text(proa_str document, const char *path)
{
    struct bson_value value;

    return bson_find(document, path, &value) ? bson_as_text(&value) : (proa_str){0};
}

int64_t bson_get_i64(proa_str document, const char *path)
{
    struct bson_value value;
    int64_t number = 0;

    return bson_find(document, path, &value) && bson_as_i64(&value, &number) ? number : 0;
}

uint64_t bson_get_timestamp(proa_str document, const char *path)
{
    struct bson_value value;

    return bson_find(document, path, &value) && value.type == BSON_TIMESTAMP ? number_at(value.bytes.ptr, 8) : 0;
}
