/* Most lines have nothing unusual about them, and each request may have one: these are put together straight away, 16 bytes at once, in
 * registers. All others are left to log.c and log_text.c. */
#include "log_internal.h"

#include <math.h>

enum {
    FIELD_ROOM = 96, /* a field but for its text: quotes, and a number */
    TAIL_ROOM = 256, /* where log.c may be cutting already */
    FIELDS_MAX = 40, /* with more, some may be left out */
    KEY_MAX = 40,
    TARGET_MAX = 64,
};

typedef unsigned char bytes16 __attribute__((vector_size(16)));
typedef signed char signed16 __attribute__((vector_size(16)));
typedef uint64_t words16 __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) bool is_ordinary16(bytes16 bytes)
{
    /* As signed numbers, what is not ASCII is below the space too. */
    words16 found = (words16)(((signed16)bytes < 0x20) | (bytes == 0x7f) | (bytes == (unsigned char)'"') |
                              (bytes == (unsigned char)'\\'));

    return (found[0] | found[1]) == 0;
}

static inline bool is_ordinary(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Of short text: both ends, overlapping, in one vector. */
static inline __attribute__((always_inline)) bool copy_short(char *out, proa_str value)
{
    uint64_t ends[2] = {0};
    uint32_t head, tail;
    bytes16 bytes;

    if (value.len < 4) {
        for (size_t i = 0; i < value.len; i++) {
            out[i] = value.ptr[i];
            if (!is_ordinary(value.ptr[i]))
                return false;
        }
        return true;
    }
    if (value.len >= 8) {
        memcpy(&ends[0], value.ptr, 8);
        memcpy(&ends[1], value.ptr + value.len - 8, 8);
        memcpy(out, &ends[0], 8);
        memcpy(out + value.len - 8, &ends[1], 8);
    } else {
        memcpy(&head, value.ptr, 4);
        memcpy(&tail, value.ptr + value.len - 4, 4);
        memcpy(out, &head, 4);
        memcpy(out + value.len - 4, &tail, 4);
        ends[0] = ends[1] = (uint64_t)head << 32 | tail;
    }
    memcpy(&bytes, ends, sizeof bytes);
    return is_ordinary16(bytes);
}

/* Copies as it looks, 16 bytes at once. @returns whether all of it may stand in a JSON string as it is; else `out` holds a part. */
static inline __attribute__((always_inline)) bool copy_ordinary(char *out, proa_str value)
{
    bytes16 bytes;
    size_t i = 0;

    if (value.len < sizeof bytes)
        return copy_short(out, value);
    for (; value.len - i >= sizeof bytes; i += sizeof bytes) {
        memcpy(&bytes, value.ptr + i, sizeof bytes);
        memcpy(out + i, &bytes, sizeof bytes);
        if (!is_ordinary16(bytes))
            return false;
    }
    if (i == value.len)
        return true;
    memcpy(&bytes, value.ptr + value.len - sizeof bytes, sizeof bytes); /* some of them again */
    memcpy(out + value.len - sizeof bytes, &bytes, sizeof bytes);
    return is_ordinary16(bytes);
}

#define PUT(at, literal) (memcpy(at, literal, sizeof(literal) - 1), (at) + sizeof(literal) - 1)

static char *put_head(const struct log_quick *line, char *at)
{
    at = PUT(at, "{\"time\":\"");
    at += proa_time_text(line->time, 6, at);
    at = PUT(at, "\",\"level\":\"");
    memcpy(at, line->level.ptr, line->level.len);
    at += line->level.len;
    if (line->target.len > 0) {
        at = PUT(at, "\",\"target\":\"");
        if (!copy_ordinary(at, line->target))
            return NULL;
        at += line->target.len;
    }
    at = PUT(at, "\",\"message\":\"");
    if (!copy_ordinary(at, line->message))
        return NULL;
    return PUT(at + line->message.len, "\"");
}

static char *put_ids(const struct proa_trace_ids *ids, char *at)
{
    at = PUT(at, ",\"trace_id\":\"");
    proa_hex_encode(at, proa_str_n((const char *)ids->trace_id, sizeof ids->trace_id));
    at = PUT(at + 2 * sizeof ids->trace_id, "\",\"span_id\":\"");
    proa_hex_encode(at, proa_str_n((const char *)ids->span_id, sizeof ids->span_id));
    return PUT(at + 2 * sizeof ids->span_id, "\"");
}

/* @returns NULL when it is not for us. */
static inline __attribute__((always_inline)) char *put_value(const struct proa_kv *kv, char *at)
{
    switch (kv->kind) {
    case PROA_KV_STR:
        *at++ = '"';
        if (!copy_ordinary(at, kv->as.str))
            return NULL;
        at += kv->as.str.len;
        *at++ = '"';
        return at;
    case PROA_KV_U64: return at + proa_u64_text(kv->as.u64, at);
    case PROA_KV_I64: return at + proa_i64_text(kv->as.i64, at);
    case PROA_KV_F64: return isfinite(kv->as.f64) ? at + proa_double_text(kv->as.f64, at) : NULL;
    case PROA_KV_BOOL: return kv->as.boolean ? PUT(at, "true") : PUT(at, "false");
    case PROA_KV_JSON: return NULL;
    }
    return NULL;
}

/* @param seen  bits of the keys before */
static char *put_fields(const struct proa_kv *fields, uint32_t count, uint64_t *seen, char *at, const char *end)
{
    uint64_t bits = *seen;

    for (uint32_t i = 0; i < count; i++) {
        const struct proa_kv *kv = &fields[i];
        proa_str key = proa_kv_key(kv);
        size_t text = kv->kind == PROA_KV_STR ? kv->as.str.len : 0;
        uint64_t bit;

        if (key.len == 0 || key.len > KEY_MAX || text > LOG_VALUE_MAX ||
            (size_t)(end - at) < key.len + text + FIELD_ROOM || log_key_is_reserved(key))
            return NULL;
        bit = log_key_bit(key);
        if (bits & bit)
            return NULL;
        bits |= bit;
        at = PUT(at, ",\"");
        if (!copy_ordinary(at, key))
            return NULL;
        at = PUT(at + key.len, "\":");
        at = put_value(kv, at);
        if (!at)
            return NULL;
    }
    *seen = bits;
    return at;
}

/* The one logger of the chain that has fields. @returns false when several have. */
static bool only_fields(const struct proa_logger *logger, const struct proa_logger **ret_outer)
{
    *ret_outer = NULL;
    for (; logger; logger = logger->parent) {
        if (logger->fields_count == 0)
            continue;
        if (*ret_outer)
            return false;
        *ret_outer = logger;
    }
    return true;
}

size_t log_quick_json(const struct log_quick *line, char *out)
{
    const char *end = out + LOG_LINE_MAX - TAIL_ROOM;
    const struct proa_logger *outer;
    uint64_t seen = 0;
    char *at;

    if (line->target.len > TARGET_MAX || line->message.len > LOG_VALUE_MAX || !only_fields(line->logger, &outer) ||
        line->count + (outer ? outer->fields_count : 0) > FIELDS_MAX)
        return 0;
    at = put_head(line, out);
    if (at && line->ids)
        at = put_ids(line->ids, at);
    if (at && outer)
        at = put_fields(outer->fields, outer->fields_count, &seen, at, end);
    if (at)
        at = put_fields(line->fields, line->count, &seen, at, end);
    return at ? (size_t)(PUT(at, "}\n") - out) : 0;
}
