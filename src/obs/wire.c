/* Attributes in protobuf's wire format. Written by hand: a dozen fields do not need a generator. */
#include "wire.h"

enum { KEY_VALUE_KEY = 1, KEY_VALUE_VALUE = 2 };
enum { ANY_STRING = 1, ANY_BOOL = 2, ANY_INT = 3, ANY_DOUBLE = 4 };

typedef uint64_t words16 __attribute__((vector_size(16)));

/* Copies, 16 bytes at once, never beyond either end. @returns whether there is anything that is not ASCII. */
static inline __attribute__((always_inline)) bool copy_looking(char *out, const char *from, size_t len)
{
    uint64_t head = 0, tail = 0;
    uint32_t first, last;

    if (len >= sizeof(words16)) {
        words16 words, seen = {0};
        size_t i = 0;

        for (; len - i > sizeof words; i += sizeof words) {
            memcpy(&words, from + i, sizeof words);
            memcpy(out + i, &words, sizeof words);
            seen |= words;
        }
        memcpy(&words, from + len - sizeof words, sizeof words); /* some of them again */
        memcpy(out + len - sizeof words, &words, sizeof words);
        seen |= words;
        head = seen[0] | seen[1];
    } else if (len >= sizeof head) {
        memcpy(&head, from, sizeof head);
        memcpy(&tail, from + len - sizeof tail, sizeof tail);
        memcpy(out, &head, sizeof head);
        memcpy(out + len - sizeof tail, &tail, sizeof tail);
    } else if (len >= sizeof first) {
        memcpy(&first, from, sizeof first);
        memcpy(&last, from + len - sizeof last, sizeof last);
        memcpy(out, &first, sizeof first);
        memcpy(out + len - sizeof last, &last, sizeof last);
        head = first | last;
    } else {
        for (size_t i = 0; i < len; i++)
            head |= (unsigned char)(out[i] = from[i]);
    }
    return ((head | tail) & UINT64_C(0x8080808080808080)) != 0;
}

static __attribute__((noinline)) void mend(char *text, size_t len)
{
    proa_str rest = proa_str_n(text, len);

    while (rest.len > 0 && !proa_utf8_valid(rest)) {
        uint32_t code;
        size_t bytes = proa_utf8_next(rest, &code);

        if (bytes == 0)
            text[rest.ptr - text] = '?';
        bytes += bytes == 0;
        rest = proa_str_n(rest.ptr + bytes, rest.len - bytes);
    }
}

void wire_text(char *out, proa_str text)
{
    if (PROA_UNLIKELY(copy_looking(out, text.ptr, text.len)))
        mend(out, text.len);
}

/* An AnyValue but for texts. @returns its length. */
static size_t put_scalar(char *out, const struct proa_kv *kv)
{
    uint64_t bits;
    char *at;

    switch (kv->kind) {
    case PROA_KV_U64:
        if (kv->as.u64 > INT64_MAX) { /* OTLP's integers have a sign */
            char digits[PROA_U64_TEXT_MAX];

            at = wire_bytes(out, ANY_STRING, proa_str_n(digits, proa_u64_text(kv->as.u64, digits)));
        } else {
            at = wire_varint(wire_key(out, ANY_INT, WIRE_VARINT), kv->as.u64);
        }
        break;
    case PROA_KV_I64: at = wire_varint(wire_key(out, ANY_INT, WIRE_VARINT), (uint64_t)kv->as.i64); break;
    case PROA_KV_F64:
        memcpy(&bits, &kv->as.f64, sizeof bits);
        at = wire_fixed64(out, ANY_DOUBLE, bits);
        break;
    case PROA_KV_BOOL: at = wire_varint(wire_key(out, ANY_BOOL, WIRE_VARINT), kv->as.boolean); break;
    case PROA_KV_STR:
    case PROA_KV_JSON:
    default: at = wire_head(out, ANY_STRING, 0); break;
    }
    return (size_t)(at - out);
}

/* The key, and the head of the value. */
static inline __attribute__((always_inline)) char *put_key(char *at, const char *end, enum wire_field field,
                                                           proa_str key, size_t value)
{
    size_t attribute = wire_bytes_len(key.len) + wire_bytes_len(value);

    if (wire_bytes_len(attribute) > (size_t)(end - at))
        return NULL;
    at = wire_head(wire_head(at, field, attribute), KEY_VALUE_KEY, key.len);
    (void)copy_looking(at, key.ptr, key.len);
    return wire_head(at + key.len, KEY_VALUE_VALUE, value);
}

char *wire_attribute(char *at, const char *end, enum wire_field field, const struct proa_kv *kv, size_t text_max)
{
    proa_str key = proa_kv_key(kv);

    if (PROA_LIKELY(kv->kind == PROA_KV_STR || kv->kind == PROA_KV_JSON)) {
        proa_str text = PROA_UNLIKELY(kv->as.str.len > text_max) ? proa_utf8_cut(kv->as.str, text_max) : kv->as.str;

        at = put_key(at, end, field, key, wire_bytes_len(text.len));
        if (!at)
            return NULL;
        at = wire_head(at, ANY_STRING, text.len);
        if (PROA_UNLIKELY(copy_looking(at, text.ptr, text.len)))
            mend(at, text.len);
        return at + text.len;
    }
    char scalar[2 + PROA_U64_TEXT_MAX] __attribute__((uninitialized));
    size_t len = put_scalar(scalar, kv);

    at = put_key(at, end, field, key, len);
    if (!at)
        return NULL;
    (void)copy_looking(at, scalar, len);
    return at + len;
}

/* What was written here can be trusted. */
static uint64_t read_varint(const char **at)
{
    uint64_t value = 0;
    unsigned shift = 0;

    for (; **at & 0x80; (*at)++, shift += 7)
        value |= (uint64_t)(**at & 0x7f) << shift;
    return value | (uint64_t)(unsigned char)*(*at)++ << shift;
}

bool wire_next_attribute(proa_str *rest, proa_str *ret_key)
{
    const char *at = rest->ptr + 1, *end = rest->ptr + rest->len;
    size_t len;

    if (rest->len == 0)
        return false;
    len = read_varint(&at);
    *rest = proa_str_n(at + len, (size_t)(end - at) - len);
    at++;
    len = read_varint(&at);
    *ret_key = proa_str_n(at, len);
    return true;
}
