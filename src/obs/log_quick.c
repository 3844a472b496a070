/* Most lines have nothing unusual about them, and each request may have one: these are put together straight away, 16
 * bytes at once, in registers. All others are left to log.c and log_text.c. */
#include "log_put.h"

#include <math.h>

enum {
    FIELD_ROOM = 96, /* a field but for its text: quotes, and a number */
    FIELDS_MAX = 40, /* with more, some may be left out */
    KEY_MAX = 40,
    TARGET_MAX = 64,
};

char *log_quick_head(const struct log_quick *line, char *at)
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

char *log_quick_fields(const struct proa_kv *fields, uint32_t count, uint64_t *seen, char *at, const char *end)
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

bool log_quick_fits(const struct log_quick *line, const struct proa_logger **ret_outer)
{
    return !line->span && line->target.len <= TARGET_MAX && line->message.len <= LOG_VALUE_MAX &&
           only_fields(line->logger, ret_outer) &&
           line->count + (*ret_outer ? (*ret_outer)->fields_count : 0) <= FIELDS_MAX;
}

size_t log_quick_json(const struct log_quick *line, char *out)
{
    const char *end = out + LOG_LINE_MAX - LOG_QUICK_TAIL;
    const struct proa_logger *outer;
    uint64_t seen = 0;
    char *at;

    if (!log_quick_fits(line, &outer))
        return 0;
    at = log_quick_head(line, out);
    if (at && line->ids)
        at = put_ids(line->ids, at);
    if (at && outer)
        at = log_quick_fields(outer->fields, outer->fields_count, &seen, at, end);
    if (at)
        at = log_quick_fields(line->fields, line->count, &seen, at, end);
    return at ? (size_t)(PUT(at, "}\n") - out) : 0;
}
