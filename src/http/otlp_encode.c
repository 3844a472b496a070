/* OTLP's messages for spans and log records in protobuf's wire format (opentelemetry-proto 1: trace.proto, logs.proto, resource.proto);
 * attributes come as they are in it (obs/wire.c). Field numbers stand beside their names. */
#include "otlp_internal.h"

#include "obs/wire.h"

#include <proa/text.h>

enum field {
    ANY_STRING = 1,
    SPAN_TRACE_ID = 1,
    SPAN_SPAN_ID = 2,
    SPAN_TRACE_STATE = 3,
    SPAN_PARENT_ID = 4,
    SPAN_NAME = 5,
    SPAN_KIND = 6,
    SPAN_START = 7,
    SPAN_END = 8,
    SPAN_DROPPED_ATTRIBUTES = 10,
    SPAN_EVENTS = 11,
    SPAN_DROPPED_EVENTS = 12,
    SPAN_STATUS = 15,
    SPAN_FLAGS = 16,
    LOG_TIME = 1,
    LOG_SEVERITY_NUMBER = 2,
    LOG_SEVERITY_TEXT = 3,
    LOG_BODY = 5,
    LOG_DROPPED_ATTRIBUTES = 7,
    LOG_FLAGS = 8,
    LOG_TRACE_ID = 9,
    LOG_SPAN_ID = 10,
    LOG_OBSERVED = 11,
    STATUS_MESSAGE = 2,
    STATUS_CODE = 3,
};
/* SpanFlags beside the trace flags of the low byte. */
enum { FLAG_HAS_IS_REMOTE = 0x100, FLAG_IS_REMOTE = 0x200 };

void otlp_put_bytes(struct proa_buf *out, uint32_t field, proa_str bytes)
{
    if (proa_buf_reserve(out, wire_bytes_len(bytes.len)) == 0) /* else the buffer keeps the error */
        out->len = (size_t)(wire_bytes(out->ptr + out->len, field, bytes) - out->ptr);
}

/* Room for the length of most messages. */
enum { LEN_BYTES = 2 };

size_t otlp_open(struct proa_buf *out, uint32_t field)
{
    static const char none[LEN_BYTES];

    proa_buf_add_char(out, (char)(field << 3 | WIRE_BYTES));
    proa_buf_add(out, proa_str_n(none, sizeof none));
    return out->len;
}

/* The length goes before the content once it is known: shorter or longer than there is room for, it moves the content. */
void otlp_close(struct proa_buf *out, size_t opened)
{
    char bytes[WIRE_VARINT_MAX];
    size_t content = out->error ? 0 : out->len - opened, len = (size_t)(wire_varint(bytes, content) - bytes);
    char *begin;

    if (proa_buf_reserve(out, WIRE_VARINT_MAX) < 0)
        return; /* the buffer keeps the error */
    begin = out->ptr + opened - LEN_BYTES;
    if (PROA_UNLIKELY(len != LEN_BYTES)) {
        memmove(begin + len, begin + LEN_BYTES, content);
        out->len = out->len + len - LEN_BYTES;
    }
    memcpy(begin, bytes, len);
}

static char *put_number(char *at, unsigned field, uint64_t value)
{
    return wire_varint(wire_key(at, field, WIRE_VARINT), value);
}

static char *put_fixed32(char *at, uint32_t value)
{
    for (unsigned i = 0; i < sizeof value; i++)
        *at++ = (char)(value >> (8 * i));
    return at;
}

static char *put_text(char *at, unsigned field, proa_str text)
{
    return text.len > 0 ? wire_bytes(at, field, text) : at;
}

static char *put_raw(char *at, proa_str bytes)
{
    if (bytes.len > 0)
        memcpy(at, bytes.ptr, bytes.len);
    return at + bytes.len;
}

static proa_str id_of(const uint8_t *bytes, size_t count)
{
    return proa_str_n((const char *)bytes, count);
}

static char *put_status(char *at, const struct proa_span_record *span)
{
    proa_str text = span->status_text;

    if (span->status == PROA_SPAN_UNSET)
        return at;
    at = wire_head(at, SPAN_STATUS, (text.len > 0 ? wire_bytes_len(text.len) : 0) + 2);
    return put_number(put_text(at, STATUS_MESSAGE, text), STATUS_CODE, span->status);
}

size_t otlp_span_bytes(const struct proa_span_record *span)
{
    enum { FIXED_MAX = 160 }; /* ids, times and the heads of the rest */
    size_t bytes = FIXED_MAX + span->tracestate.len + span->name.len + span->attributes_bytes + span->status_text.len;

    for (const struct span_event *event = span->events; event; event = event->next)
        bytes += 1 + WIRE_VARINT_MAX + event->len;
    return bytes;
}

void otlp_encode_span(struct proa_buf *out, const struct proa_span_record *span)
{
    uint32_t flags = (span->ids.flags & PROA_TRACE_SAMPLED) | FLAG_HAS_IS_REMOTE;
    char *at;

    if (span->is_parent_remote)
        flags |= FLAG_IS_REMOTE;
    if (proa_buf_reserve(out, otlp_span_bytes(span)) < 0)
        return; /* the buffer keeps the error */
    at = out->ptr + out->len;
    at = wire_bytes(at, SPAN_TRACE_ID, id_of(span->ids.trace_id, sizeof span->ids.trace_id));
    at = wire_bytes(at, SPAN_SPAN_ID, id_of(span->ids.span_id, sizeof span->ids.span_id));
    at = put_text(at, SPAN_TRACE_STATE, span->tracestate);
    if (span->has_parent)
        at = wire_bytes(at, SPAN_PARENT_ID, id_of(span->parent_id, sizeof span->parent_id));
    at = put_text(at, SPAN_NAME, span->name);
    at = put_number(at, SPAN_KIND, span->kind);
    at = wire_fixed64(at, SPAN_START, (uint64_t)span->start);
    at = wire_fixed64(at, SPAN_END, (uint64_t)span->end);
    at = put_raw(at, span_record_attributes(span));
    if (span->attributes_dropped > 0)
        at = put_number(at, SPAN_DROPPED_ATTRIBUTES, span->attributes_dropped);
    for (const struct span_event *event = span->events; event; event = event->next)
        at = wire_bytes(at, SPAN_EVENTS, proa_str_n(event->bytes, event->len));
    if (span->events_dropped > 0)
        at = put_number(at, SPAN_DROPPED_EVENTS, span->events_dropped);
    at = put_status(at, span);
    at = wire_varint(at, SPAN_FLAGS << 3 | WIRE_FIXED32); /* a key of two bytes */
    out->len = (size_t)(put_fixed32(at, flags) - out->ptr);
}

size_t otlp_log_bytes(const struct log_record *record)
{
    enum { FIXED_MAX = 160 };

    return FIXED_MAX + record->severity.len + record->message.len + record->attributes.len;
}

void otlp_encode_log(struct proa_buf *out, const struct log_record *record)
{
    const struct proa_trace_ids *ids = &record->ids;
    char *at;

    if (proa_buf_reserve(out, otlp_log_bytes(record)) < 0)
        return; /* the buffer keeps the error */
    at = out->ptr + out->len;
    at = wire_fixed64(at, LOG_TIME, (uint64_t)record->time);
    at = wire_fixed64(at, LOG_OBSERVED, (uint64_t)record->time);
    at = put_number(at, LOG_SEVERITY_NUMBER, record->level);
    at = put_text(at, LOG_SEVERITY_TEXT, record->severity);
    at = wire_head(at, LOG_BODY, wire_bytes_len(record->message.len));
    at = wire_bytes(at, ANY_STRING, record->message);
    at = put_raw(at, record->attributes);
    if (record->attributes_dropped > 0)
        at = put_number(at, LOG_DROPPED_ATTRIBUTES, record->attributes_dropped);
    if (record->has_ids) {
        at = put_fixed32(wire_key(at, LOG_FLAGS, WIRE_FIXED32), ids->flags & PROA_TRACE_SAMPLED);
        at = wire_bytes(at, LOG_TRACE_ID, id_of(ids->trace_id, sizeof ids->trace_id));
        at = wire_bytes(at, LOG_SPAN_ID, id_of(ids->span_id, sizeof ids->span_id));
    }
    out->len = (size_t)(at - out->ptr);
}

/* The resource: who we are. */
static void put_resource_text(struct proa_buf *out, proa_str key, proa_str value)
{
    const struct proa_kv kv = {.key = key.ptr, .kind = PROA_KV_STR, .key_len = (uint32_t)key.len, .as.str = value};
    size_t most = WIRE_ATTRIBUTE_MAX + key.len + value.len;
    char *begin;

    if (proa_buf_reserve(out, most) < 0)
        return; /* the buffer keeps the error */
    begin = out->ptr + out->len;
    out->len = (size_t)(wire_attribute(begin, begin + most, WIRE_RESOURCE_ATTRIBUTES, &kv, value.len) - out->ptr);
}

static int bad_attributes(struct proa_error *err)
{
    return proa_fail(err, PROA_EINVAL, "resource attributes are not key=value,key=value (OTEL_RESOURCE_ATTRIBUTES)");
}

/* "key=value", percent-encoded. */
static bool read_attribute(struct proa_arena *arena, proa_str part, proa_str *ret_key, proa_str *ret_value)
{
    ptrdiff_t equals = proa_str_find_char(part, '=');

    return equals > 0 &&
           proa_percent_decode(arena, proa_str_trim(proa_str_slice(part, 0, (size_t)equals)), false, ret_key) == 0 &&
           proa_percent_decode(arena, proa_str_trim(proa_str_slice(part, (size_t)equals + 1, part.len)), false,
                               ret_value) == 0 &&
           ret_key->len > 0 && proa_utf8_valid(*ret_key) && proa_utf8_valid(*ret_value);
}

/* A key stands once in a resource: the last one holds. */
static bool is_given_again(struct proa_arena *arena, proa_str rest, proa_str key)
{
    proa_str part, other, value;

    while (rest.len > 0 && proa_str_split(&rest, ',', &part))
        if (read_attribute(arena, part, &other, &value) && proa_str_eq(other, key))
            return true;
    return false;
}

/* Which of ours are given. */
struct given {
    bool name;
    bool version;
};

static int put_given_attributes(struct proa_buf *out, struct proa_arena *arena, const struct proa_otlp_options *options,
                                struct given *ret_given, struct proa_error *err)
{
    proa_str rest = proa_str_c(options->resource_attributes), part;
    struct given given = {0};

    while (rest.len > 0 && proa_str_split(&rest, ',', &part)) {
        proa_str key, value;
        bool is_name;

        if (!read_attribute(arena, part, &key, &value))
            return bad_attributes(err);
        is_name = proa_str_eq_c(key, "service.name");
        /* OTEL_SERVICE_NAME has the last word on the one, and we on the other. */
        if ((is_name && options->service_name) || proa_str_starts_with(key, PROA_STR("telemetry.sdk.")) ||
            is_given_again(arena, rest, key))
            continue;
        given.name = given.name || is_name;
        given.version = given.version || proa_str_eq_c(key, "service.version");
        put_resource_text(out, key, value);
    }
    *ret_given = given;
    return 0;
}

int otlp_encode_resource(struct proa_buf *out, const struct proa_otlp_options *options, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct given given = {0};

    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(put_given_attributes(out, &arena, options, &given, err));
    if (!given.name)
        put_resource_text(out, PROA_STR("service.name"),
                          proa_str_c(options->service_name ? options->service_name : "unknown_service"));
    if (options->service_version && !given.version)
        put_resource_text(out, PROA_STR("service.version"), proa_str_c(options->service_version));
    put_resource_text(out, PROA_STR("telemetry.sdk.name"), PROA_STR("proa"));
    put_resource_text(out, PROA_STR("telemetry.sdk.language"), PROA_STR("c"));
    put_resource_text(out, PROA_STR("telemetry.sdk.version"), PROA_STR(PROA_VERSION));
    return out->error ? proa_fail(err, out->error, "memory is out") : 0;
}

/* The answer. */
static bool read_varint(proa_str *rest, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (size_t i = 0; i < rest->len && i < WIRE_VARINT_MAX; i++) {
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
