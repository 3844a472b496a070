/* OTLP's messages for spans and log records in protobuf's wire format (opentelemetry-proto 1: trace.proto, logs.proto, common.proto,
 * resource.proto).
 * Written by hand: a dozen fields do not need a generator. Field numbers stand beside their names. */
#include "otlp_internal.h"

#include <proa/text.h>

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum field {
    RESOURCE_ATTRIBUTES = 1,
    KEY_VALUE_KEY = 1,
    KEY_VALUE_VALUE = 2,
    ANY_STRING = 1,
    ANY_BOOL = 2,
    ANY_INT = 3,
    ANY_DOUBLE = 4,
    SPAN_TRACE_ID = 1,
    SPAN_SPAN_ID = 2,
    SPAN_TRACE_STATE = 3,
    SPAN_PARENT_ID = 4,
    SPAN_NAME = 5,
    SPAN_KIND = 6,
    SPAN_START = 7,
    SPAN_END = 8,
    SPAN_ATTRIBUTES = 9,
    SPAN_DROPPED_ATTRIBUTES = 10,
    SPAN_EVENTS = 11,
    SPAN_DROPPED_EVENTS = 12,
    SPAN_STATUS = 15,
    SPAN_FLAGS = 16,
    LOG_TIME = 1,
    LOG_SEVERITY_NUMBER = 2,
    LOG_SEVERITY_TEXT = 3,
    LOG_BODY = 5,
    LOG_ATTRIBUTES = 6,
    LOG_DROPPED_ATTRIBUTES = 7,
    LOG_FLAGS = 8,
    LOG_TRACE_ID = 9,
    LOG_SPAN_ID = 10,
    LOG_OBSERVED = 11,
    EVENT_TIME = 1,
    EVENT_NAME = 2,
    EVENT_ATTRIBUTES = 3,
    STATUS_MESSAGE = 2,
    STATUS_CODE = 3,
};
/* SpanFlags beside the trace flags of the low byte. */
enum { FLAG_HAS_IS_REMOTE = 0x100, FLAG_IS_REMOTE = 0x200 };

enum { VARINT_MAX = 10 };

static size_t varint(uint64_t value, char *out)
{
    size_t len = 0;

    while (value >= 0x80) {
        out[len++] = (char)(value | 0x80);
        value >>= 7;
    }
    out[len++] = (char)value;
    return len;
}

static void put_varint(struct proa_buf *out, uint64_t value)
{
    char bytes[VARINT_MAX];

    proa_buf_add(out, proa_str_n(bytes, varint(value, bytes)));
}

static void put_key(struct proa_buf *out, uint32_t field, enum wire wire)
{
    put_varint(out, (uint64_t)field << 3 | wire);
}

static void put_number(struct proa_buf *out, uint32_t field, uint64_t value)
{
    put_key(out, field, WIRE_VARINT);
    put_varint(out, value);
}

static void put_fixed(struct proa_buf *out, uint32_t field, uint64_t value, unsigned bytes)
{
    char little[8];

    for (unsigned i = 0; i < bytes; i++)
        little[i] = (char)(value >> (8 * i));
    put_key(out, field, bytes == 8 ? WIRE_FIXED64 : WIRE_FIXED32);
    proa_buf_add(out, proa_str_n(little, bytes));
}

void otlp_put_bytes(struct proa_buf *out, uint32_t field, proa_str bytes)
{
    put_key(out, field, WIRE_BYTES);
    put_varint(out, bytes.len);
    proa_buf_add(out, bytes);
}

static void put_text(struct proa_buf *out, uint32_t field, proa_str text)
{
    if (text.len > 0)
        otlp_put_bytes(out, field, text);
}

size_t otlp_open(struct proa_buf *out, uint32_t field)
{
    put_key(out, field, WIRE_BYTES);
    return out->len;
}

/* The length goes before the content once it is known. */
void otlp_close(struct proa_buf *out, size_t opened)
{
    char bytes[VARINT_MAX];
    size_t content = out->error ? 0 : out->len - opened, len = varint(content, bytes);

    proa_buf_add(out, proa_str_n(bytes, len));
    if (out->error)
        return;
    memmove(out->ptr + opened + len, out->ptr + opened, content);
    memcpy(out->ptr + opened, bytes, len);
}

/* An attribute's value as OTLP has it. */
struct any {
    enum field field;
    proa_str text;   /* ANY_STRING */
    uint64_t number; /* the others; of a double its bits */
    char digits[PROA_U64_TEXT_MAX];
};

static void any_of(const struct proa_kv *kv, struct any *ret_any)
{
    switch (kv->kind) {
    case PROA_KV_U64:
        ret_any->field = ANY_INT;
        ret_any->number = kv->as.u64;
        if (kv->as.u64 > INT64_MAX) { /* OTLP's integers have a sign */
            ret_any->field = ANY_STRING;
            ret_any->text = proa_str_n(ret_any->digits, proa_u64_text(kv->as.u64, ret_any->digits));
        }
        return;
    case PROA_KV_I64:
        ret_any->field = ANY_INT;
        ret_any->number = (uint64_t)kv->as.i64;
        return;
    case PROA_KV_F64:
        ret_any->field = ANY_DOUBLE;
        memcpy(&ret_any->number, &kv->as.f64, sizeof ret_any->number);
        return;
    case PROA_KV_BOOL:
        ret_any->field = ANY_BOOL;
        ret_any->number = kv->as.boolean;
        return;
    case PROA_KV_STR:
    case PROA_KV_JSON: break;
    }
    ret_any->field = ANY_STRING;
    ret_any->text = kv->as.str;
}

static size_t varint_len(uint64_t value)
{
    size_t len = 1;

    for (; PROA_UNLIKELY(value >= 0x80); value >>= 7)
        len++;
    return len;
}

static size_t bytes_len(size_t len)
{
    return 1 + varint_len(len) + len;
}

static size_t any_len(const struct any *any)
{
    if (any->field == ANY_STRING)
        return bytes_len(any->text.len);
    return any->field == ANY_DOUBLE ? 1 + sizeof any->number : 1 + varint_len(any->number);
}

/* A field number below 16, so that its key is one byte, then a length. */
static char *write_head(char *at, uint32_t field, size_t len)
{
    *at++ = (char)(field << 3 | WIRE_BYTES);
    if (len >= 0x80)
        return at + varint(len, at);
    *at++ = (char)len;
    return at;
}

static char *write_bytes(char *at, uint32_t field, proa_str bytes)
{
    at = write_head(at, field, bytes.len);
    if (bytes.len > 0)
        memcpy(at, bytes.ptr, bytes.len);
    return at + bytes.len;
}

static char *write_any(char *at, const struct any *any)
{
    if (any->field == ANY_STRING)
        return write_bytes(at, ANY_STRING, any->text);
    if (any->field != ANY_DOUBLE) {
        *at++ = (char)(any->field << 3 | WIRE_VARINT);
        return at + varint(any->number, at);
    }
    *at++ = (char)(any->field << 3 | WIRE_FIXED64);
    for (unsigned i = 0; i < sizeof any->number; i++)
        *at++ = (char)(any->number >> (8 * i));
    return at;
}

/* A KeyValue. There are many, so that its lengths are worked out beforehand. */
static void put_attribute(struct proa_buf *out, uint32_t field, proa_str key, const struct proa_kv *kv)
{
    struct any any __attribute__((uninitialized));
    size_t value, attribute;
    char *at;

    any_of(kv, &any);
    value = any_len(&any);
    attribute = bytes_len(key.len) + bytes_len(value);
    if (proa_buf_reserve(out, bytes_len(attribute)) < 0)
        return; /* the buffer keeps the error */
    at = write_head(out->ptr + out->len, field, attribute);
    at = write_bytes(at, KEY_VALUE_KEY, key);
    at = write_head(at, KEY_VALUE_VALUE, value);
    out->len = (size_t)(write_any(at, &any) - out->ptr);
}

static void put_attributes(struct proa_buf *out, uint32_t field, const struct span_attribute *attribute)
{
    for (; attribute; attribute = attribute->next)
        put_attribute(out, field, proa_kv_key(&attribute->kv), &attribute->kv);
}

static void put_event(struct proa_buf *out, const struct span_event *event)
{
    size_t opened = otlp_open(out, SPAN_EVENTS);

    put_fixed(out, EVENT_TIME, (uint64_t)event->time, 8);
    put_text(out, EVENT_NAME, event->name);
    put_attributes(out, EVENT_ATTRIBUTES, event->attributes);
    otlp_close(out, opened);
}

static void put_status(struct proa_buf *out, const struct proa_span_record *span)
{
    size_t opened;

    if (span->status == PROA_SPAN_UNSET)
        return;
    opened = otlp_open(out, SPAN_STATUS);
    put_text(out, STATUS_MESSAGE, span->status_text);
    put_number(out, STATUS_CODE, span->status);
    otlp_close(out, opened);
}

void otlp_encode_span(struct proa_buf *out, const struct proa_span_record *span)
{
    uint32_t flags = (span->ids.flags & PROA_TRACE_SAMPLED) | FLAG_HAS_IS_REMOTE;

    if (span->is_parent_remote)
        flags |= FLAG_IS_REMOTE;
    otlp_put_bytes(out, SPAN_TRACE_ID, proa_str_n((const char *)span->ids.trace_id, sizeof span->ids.trace_id));
    otlp_put_bytes(out, SPAN_SPAN_ID, proa_str_n((const char *)span->ids.span_id, sizeof span->ids.span_id));
    put_text(out, SPAN_TRACE_STATE, span->tracestate);
    if (span->has_parent)
        otlp_put_bytes(out, SPAN_PARENT_ID, proa_str_n((const char *)span->parent_id, sizeof span->parent_id));
    put_text(out, SPAN_NAME, span->name);
    put_number(out, SPAN_KIND, span->kind);
    put_fixed(out, SPAN_START, (uint64_t)span->start, 8);
    put_fixed(out, SPAN_END, (uint64_t)span->end, 8);
    put_attributes(out, SPAN_ATTRIBUTES, span->attributes);
    if (span->attributes_dropped > 0)
        put_number(out, SPAN_DROPPED_ATTRIBUTES, span->attributes_dropped);
    for (const struct span_event *event = span->events; event; event = event->next)
        put_event(out, event);
    if (span->events_dropped > 0)
        put_number(out, SPAN_DROPPED_EVENTS, span->events_dropped);
    put_status(out, span);
    put_fixed(out, SPAN_FLAGS, flags, 4);
}

void otlp_encode_log(struct proa_buf *out, const struct log_record *record)
{
    const struct proa_trace_ids *ids = &record->ids;
    const struct proa_kv message = proa_kv_str("", record->message);
    struct any any __attribute__((uninitialized));

    put_fixed(out, LOG_TIME, (uint64_t)record->time, 8);
    put_fixed(out, LOG_OBSERVED, (uint64_t)record->time, 8);
    put_number(out, LOG_SEVERITY_NUMBER, record->level);
    put_text(out, LOG_SEVERITY_TEXT, record->severity);
    any_of(&message, &any);
    if (proa_buf_reserve(out, bytes_len(any_len(&any))) == 0)
        out->len = (size_t)(write_any(write_head(out->ptr + out->len, LOG_BODY, any_len(&any)), &any) - out->ptr);
    put_attributes(out, LOG_ATTRIBUTES, record->attributes);
    if (record->attributes_dropped > 0)
        put_number(out, LOG_DROPPED_ATTRIBUTES, record->attributes_dropped);
    if (!record->has_ids)
        return;
    put_fixed(out, LOG_FLAGS, ids->flags & PROA_TRACE_SAMPLED, 4);
    otlp_put_bytes(out, LOG_TRACE_ID, proa_str_n((const char *)ids->trace_id, sizeof ids->trace_id));
    otlp_put_bytes(out, LOG_SPAN_ID, proa_str_n((const char *)ids->span_id, sizeof ids->span_id));
}

/* The resource: who we are. */
static void put_resource_text(struct proa_buf *out, proa_str key, proa_str value)
{
    struct proa_kv kv = proa_kv_str("", value);

    put_attribute(out, RESOURCE_ATTRIBUTES, key, &kv);
}

static int bad_attributes(struct proa_error *err)
{
    return proa_fail(err, PROA_EINVAL, "resource attributes are not key=value,key=value (OTEL_RESOURCE_ATTRIBUTES)");
}

/* @param ret_has_name  whether one of them names the service */
static int put_given_attributes(struct proa_buf *out, struct proa_arena *arena, const struct proa_otlp_options *options,
                                bool *ret_has_name, struct proa_error *err)
{
    proa_str rest = proa_str_c(options->resource_attributes), part;

    *ret_has_name = false;
    while (rest.len > 0 && proa_str_split(&rest, ',', &part)) {
        ptrdiff_t equals = proa_str_find_char(part, '=');
        proa_str key, value;
        bool is_name;

        if (equals <= 0 ||
            proa_percent_decode(arena, proa_str_trim(proa_str_slice(part, 0, (size_t)equals)), false, &key) < 0 ||
            proa_percent_decode(arena, proa_str_trim(proa_str_slice(part, (size_t)equals + 1, part.len)), false,
                                &value) < 0 ||
            key.len == 0 || !proa_utf8_valid(key) || !proa_utf8_valid(value))
            return bad_attributes(err);
        is_name = proa_str_eq_c(key, "service.name");
        if (is_name && options->service_name)
            continue; /* OTEL_SERVICE_NAME has the last word */
        *ret_has_name = *ret_has_name || is_name;
        put_resource_text(out, key, value);
    }
    return 0;
}

int otlp_encode_resource(struct proa_buf *out, const struct proa_otlp_options *options, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    bool has_name;

    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(put_given_attributes(out, &arena, options, &has_name, err));
    if (!has_name)
        put_resource_text(out, PROA_STR("service.name"),
                          proa_str_c(options->service_name ? options->service_name : "unknown_service"));
    if (options->service_version)
        put_resource_text(out, PROA_STR("service.version"), proa_str_c(options->service_version));
    put_resource_text(out, PROA_STR("telemetry.sdk.name"), PROA_STR("proa"));
    put_resource_text(out, PROA_STR("telemetry.sdk.language"), PROA_STR("c"));
    return out->error ? proa_fail(err, out->error, "memory is out") : 0;
}

/* The answer. */
static bool read_varint(proa_str *rest, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (size_t i = 0; i < rest->len && i < VARINT_MAX; i++) {
        unsigned char byte = (unsigned char)rest->ptr[i];

        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *rest = proa_str_slice(*rest, i + 1, rest->len);
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* One field. `ret_bytes` of numbers is empty, `ret_number` of bytes their length. */
static bool read_field(proa_str *rest, uint64_t *ret_key, uint64_t *ret_number, proa_str *ret_bytes)
{
    size_t skip = 0;

    *ret_bytes = proa_str_n(NULL, 0);
    if (!read_varint(rest, ret_key))
        return false;
    switch (*ret_key & 7) {
    case WIRE_VARINT: return read_varint(rest, ret_number);
    case WIRE_FIXED64: skip = 8; break;
    case WIRE_FIXED32: skip = 4; break;
    case WIRE_BYTES:
        if (!read_varint(rest, ret_number) || *ret_number > rest->len)
            return false;
        *ret_bytes = proa_str_slice(*rest, 0, (size_t)*ret_number);
        skip = (size_t)*ret_number;
        break;
    default: return false;
    }
    if (skip > rest->len)
        return false;
    *rest = proa_str_slice(*rest, skip, rest->len);
    return true;
}

uint64_t otlp_read_rejected(proa_str body)
{
    enum { PARTIAL_SUCCESS = 1 << 3 | WIRE_BYTES, REJECTED_SPANS = 1 << 3 | WIRE_VARINT };
    uint64_t key, number, rejected = 0;
    proa_str partial;

    while (read_field(&body, &key, &number, &partial)) {
        proa_str bytes;

        if (key != PARTIAL_SUCCESS)
            continue;
        while (read_field(&partial, &key, &number, &bytes))
            if (key == REJECTED_SPANS)
                rejected = number;
    }
    return rejected;
}
