/** Reads back what spans keep in OTLP's format: KeyValue messages and events. A reader of its own, not wire.c's. */
#ifndef PROA_TESTS_ATTRIBUTES_H
#define PROA_TESTS_ATTRIBUTES_H

#include "obs/span_record.h"

static inline uint64_t attribute_varint(proa_str *rest)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        unsigned char byte;

        assert_true(rest->len > 0);
        byte = (unsigned char)*rest->ptr;
        *rest = proa_str_slice(*rest, 1, rest->len);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    return value;
}

/* One field: of bytes they, else a number. @returns its key; 0 at the end. */
static inline uint64_t attribute_field(proa_str *rest, uint64_t *ret_number, proa_str *ret_bytes)
{
    uint64_t key;

    if (rest->len == 0)
        return 0;
    key = attribute_varint(rest);
    *ret_bytes = proa_str_n(NULL, 0);
    *ret_number = 0;
    if ((key & 7) == 1) {
        assert_true(rest->len >= 8);
        memcpy(ret_number, rest->ptr, 8); /* tests run on little-endian machines */
        *rest = proa_str_slice(*rest, 8, rest->len);
    } else {
        *ret_number = attribute_varint(rest);
    }
    if ((key & 7) == 2) {
        assert_true(*ret_number <= rest->len);
        *ret_bytes = proa_str_slice(*rest, 0, *ret_number);
        *rest = proa_str_slice(*rest, *ret_number, rest->len);
    }
    return key;
}

/** The next attribute; texts and numbers only as far as they have a kind of their own. @returns false at the end. */
static inline bool attribute_next(proa_str *rest, unsigned field, proa_str *ret_key, struct proa_kv *ret_kv)
{
    uint64_t number, kind;
    proa_str message, value, bytes;

    do {
        kind = attribute_field(rest, &number, &message);
        if (kind == 0)
            return false;
    } while (kind >> 3 != field);
    assert_int_equal(attribute_field(&message, &number, ret_key), 1 << 3 | 2);
    assert_int_equal(attribute_field(&message, &number, &value), 2 << 3 | 2);
    assert_int_equal(message.len, 0);
    *ret_kv = (struct proa_kv){.kind = PROA_KV_STR};
    switch (attribute_field(&value, &number, &bytes) >> 3) {
    case 1: ret_kv->as.str = bytes; break;
    case 2:
        ret_kv->kind = PROA_KV_BOOL;
        ret_kv->as.boolean = number;
        break;
    case 3:
        ret_kv->kind = PROA_KV_U64;
        ret_kv->as.u64 = number;
        break;
    case 4:
        ret_kv->kind = PROA_KV_F64;
        memcpy(&ret_kv->as.f64, &number, sizeof number);
        break;
    default: fail();
    }
    assert_int_equal(value.len, 0);
    return true;
}

/** NULL: there is none. Good until it is called again. */
static inline const struct proa_kv *attribute_of(const struct proa_span_record *record, const char *wanted)
{
    static struct proa_kv kv;
    proa_str rest = span_record_attributes(record), key = {0};

    while (attribute_next(&rest, 9, &key, &kv))
        if (proa_str_eq_c(key, wanted))
            return &kv;
    return NULL;
}

#endif
