/** What leaves the program by OTLP in protobuf's wire format (opentelemetry-proto 1: common.proto): attributes are
 *  written once, when they are set, and copied as a whole from then on. The messages around them are
 *  http/otlp_encode.c's.
 */
#ifndef PROA_OBS_WIRE_H
#define PROA_OBS_WIRE_H

#include <proa/log.h>

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/** Fields that have attributes and what lies beside them here. */
enum wire_field {
    WIRE_RESOURCE_ATTRIBUTES = 1,
    WIRE_EVENT_TIME = 1,
    WIRE_EVENT_NAME = 2,
    WIRE_EVENT_ATTRIBUTES = 3,
    WIRE_LOG_ATTRIBUTES = 6,
    WIRE_SPAN_ATTRIBUTES = 9,
};

enum {
    WIRE_VARINT_MAX = 10,
    WIRE_ATTRIBUTE_MAX = 48, /**< bytes of an attribute beside its key and a text */
};

static inline char *wire_varint(char *at, uint64_t value)
{
    for (; PROA_UNLIKELY(value >= 0x80); value >>= 7)
        *at++ = (char)(value | 0x80);
    *at++ = (char)value;
    return at;
}

static inline size_t wire_varint_len(uint64_t value)
{
    size_t len = 1;

    for (; PROA_UNLIKELY(value >= 0x80); value >>= 7)
        len++;
    return len;
}

/** Of a field with a number below 16. */
static inline char *wire_key(char *at, unsigned field, enum wire wire)
{
    *at++ = (char)(field << 3 | wire);
    return at;
}

/** The same, and the length of what comes. */
static inline char *wire_head(char *at, unsigned field, size_t len)
{
    return wire_varint(wire_key(at, field, WIRE_BYTES), len);
}

/** And all of it. */
static inline size_t wire_bytes_len(size_t len)
{
    return 1 + wire_varint_len(len) + len;
}
static inline char *wire_bytes(char *at, unsigned field, proa_str bytes)
{
    at = wire_head(at, field, bytes.len);
    if (bytes.len > 0)
        memcpy(at, bytes.ptr, bytes.len);
    return at + bytes.len;
}

static inline char *wire_fixed64(char *at, unsigned field, uint64_t value)
{
    at = wire_key(at, field, WIRE_FIXED64);
    for (unsigned i = 0; i < sizeof value; i++)
        *at++ = (char)(value >> (8 * i));
    return at;
}

/** An attribute, a KeyValue message, as a field of another. Text is cut at `text_max` bytes, at a character, and
 *  mended. @returns where it ends, or NULL when there is no room for it before `end`. */
char *wire_attribute(char *at, const char *end, enum wire_field field, const struct proa_kv *kv, size_t text_max);

/** Copies text. What is not UTF-8 would make a whole batch unreadable: such bytes become "?". */
void wire_text(char *out, proa_str text);

/** The first attribute that was written to `rest`, which is moved behind it. @returns false at the end. */
bool wire_next_attribute(proa_str *rest, proa_str *ret_key);

#endif
