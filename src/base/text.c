/* UTF-8, base64, hexadecimal, percent-encoding, durations and quantities. Time as text is in time.c. */
#include <proa/text.h>

#include <proa/checked.h>
#include <proa/error.h>
#include <stdint.h>

size_t proa_utf8_next(proa_str s, uint32_t *ret_code_point)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    uint32_t code;
    size_t len;

    if (s.len == 0)
        return 0;
    if (p[0] < 0x80) {
        *ret_code_point = p[0];
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
        code = p[0] & 0x1fu;
    } else if ((p[0] & 0xf0) == 0xe0) {
        len = 3;
        code = p[0] & 0x0fu;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        code = p[0] & 0x07u;
    } else {
        return 0;
    }
    if (s.len < len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    if ((len == 3 && (code < 0x800 || (code >= 0xd800 && code <= 0xdfff))) ||
        (len == 4 && (code < 0x10000 || code > 0x10ffff)))
        return 0;
    *ret_code_point = code;
    return len;
}

bool proa_utf8_valid(proa_str s)
{
    uint32_t code;

    while (s.len > 0) {
        uint64_t word;
        size_t len;

        if (s.len >= 8 && (memcpy(&word, s.ptr, 8), (word & UINT64_C(0x8080808080808080)) == 0)) {
            s = proa_str_n(s.ptr + 8, s.len - 8);
            continue;
        }
        len = proa_utf8_next(s, &code);
        if (len == 0)
            return false;
        s = proa_str_n(s.ptr + len, s.len - len);
    }
    return true;
}

size_t proa_utf8_count(proa_str s)
{
    size_t count = 0;

    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return count;
}

size_t proa_utf8_encode(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code >= 0xd800 && code <= 0xdfff)
        return 0;
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    if (code > 0x10ffff)
        return 0;
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

proa_str proa_utf8_cut(proa_str s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && ((unsigned char)s.ptr[max] & 0xc0) == 0x80)
        max--;
    return proa_str_n(s.ptr, max);
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int encode(struct proa_buf *out, proa_str bytes, const char *alphabet, bool padding)
{
    static const size_t tails[3] = {0, 2, 3}; /* characters for the bytes behind the last group of three */
    const unsigned char *p = (const unsigned char *)bytes.ptr;

    PROA_TRY(proa_buf_reserve(out, bytes.len / 3 * 4 + (padding ? (bytes.len % 3 ? 4 : 0) : tails[bytes.len % 3])));
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);

        out->ptr[out->len++] = alphabet[group >> 18];
        out->ptr[out->len++] = alphabet[group >> 12 & 63];
        if (left > 1)
            out->ptr[out->len++] = alphabet[group >> 6 & 63];
        else if (padding)
            out->ptr[out->len++] = '=';
        if (left > 2)
            out->ptr[out->len++] = alphabet[group & 63];
        else if (padding)
            out->ptr[out->len++] = '=';
    }
    return 0;
}

static int digit_of(char c, const char *alphabet)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == alphabet[62] ? 62 : c == alphabet[63] ? 63 : -1;
}

/* `text` without padding. Appends nothing when it fails. */
static int decode(struct proa_buf *out, proa_str text, const char *alphabet)
{
    uint32_t group = 0;
    unsigned bits = 0;
    size_t len;

    if (text.len % 4 == 1)
        return PROA_ESYNTAX;
    PROA_TRY(proa_buf_reserve(out, text.len / 4 * 3 + text.len % 4 * 3 / 4));
    len = out->len;
    for (size_t i = 0; i < text.len; i++) {
        int digit = digit_of(text.ptr[i], alphabet);

        if (digit < 0)
            return PROA_ESYNTAX;
        group = (group << 6 | (uint32_t)digit) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out->ptr[len++] = (char)(group >> bits & 0xff);
        }
    }
    if (group & ((1u << bits) - 1))
        return PROA_ESYNTAX;
    out->len = len;
    return 0;
}

int proa_base64_encode(struct proa_buf *out, proa_str bytes)
{
    return encode(out, bytes, base64_alphabet, true);
}

int proa_base64url_encode(struct proa_buf *out, proa_str bytes)
{
    return encode(out, bytes, base64url_alphabet, false);
}

int proa_base64_decode(struct proa_buf *out, proa_str text)
{
    if (text.len % 4 != 0)
        return PROA_ESYNTAX;
    for (int i = 0; i < 2 && text.len && text.ptr[text.len - 1] == '='; i++)
        text.len--;
    return decode(out, text, base64_alphabet);
}

int proa_base64url_decode(struct proa_buf *out, proa_str text)
{
    return decode(out, text, base64url_alphabet);
}

enum { HEX_STEP = 8 };
typedef signed char bytes16 __attribute__((vector_size(16)));
typedef uint64_t words16 __attribute__((vector_size(16)));

/* Sixteen digits of eight bytes at once: high and low halves of the bytes take turns, and each becomes '0' or 'a' - 10
 * more. */
static inline void put_hex(char *out, const char *eight)
{
    uint64_t word;
    bytes16 high, low, halves;

    memcpy(&word, eight, HEX_STEP);
    low = (bytes16)(words16){word} & 15;
    high = (bytes16)((words16){word} >> 4) & 15;
    halves = __builtin_shufflevector(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    halves += '0' + ((halves > 9) & ('a' - '0' - 10));
    memcpy(out, &halves, sizeof halves);
}

void proa_hex_encode(char *out, proa_str bytes)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = bytes.ptr, *end = at + bytes.len;

    for (; end - at >= HEX_STEP; at += HEX_STEP, out += 2 * HEX_STEP)
        put_hex(out, at);
    for (; at < end; at++, out += 2) {
        out[0] = digits[(unsigned char)*at >> 4];
        out[1] = digits[(unsigned char)*at & 15];
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int proa_hex_decode(unsigned char *out, size_t out_bytes, proa_str text)
{
    if (text.len / 2 != out_bytes || text.len % 2)
        return PROA_ESYNTAX;
    for (size_t i = 0; i < text.len; i++)
        if (hex_digit(text.ptr[i]) < 0)
            return PROA_ESYNTAX;
    for (size_t i = 0; i < out_bytes; i++)
        out[i] = (unsigned char)((unsigned)hex_digit(text.ptr[2 * i]) << 4 | (unsigned)hex_digit(text.ptr[2 * i + 1]));
    return 0;
}

int proa_percent_decode(struct proa_arena *arena, proa_str text, bool plus_is_space, proa_str *ret_text)
{
    size_t len = 0;
    char *out;

    if (proa_str_find_char(text, '%') < 0 && !(plus_is_space && proa_str_find_char(text, '+') >= 0)) {
        *ret_text = text;
        return 0;
    }
    out = proa_arena_alloc(arena, text.len + 1);
    if (!out)
        return PROA_ENOMEM;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = text.len - i > 2 ? hex_digit(text.ptr[i + 1]) : -1;
            int low = text.len - i > 2 ? hex_digit(text.ptr[i + 2]) : -1;

            if (high < 0 || low < 0)
                return PROA_ESYNTAX;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[len++] = c;
    }
    out[len] = '\0';
    *ret_text = proa_str_n(out, len);
    return 0;
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

int proa_percent_encode(struct proa_buf *out, proa_str text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (is_unreserved((char)c)) {
            proa_buf_add_char(out, (char)c);
        } else {
            char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
            proa_buf_add(out, proa_str_n(escape, 3));
        }
    }
    return out->error;
}

/* Takes decimal digits off the front; *fits turns false when they are more than a number holds. */
static bool take_number(proa_str *s, uint64_t *ret_value, bool *fits)
{
    uint64_t value = 0;
    size_t len = 0;

    while (len < s->len && s->ptr[len] >= '0' && s->ptr[len] <= '9') {
        *fits = *fits && proa_mul_u64(value, 10, &value) && proa_add_u64(value, (uint64_t)(s->ptr[len] - '0'), &value);
        len++;
    }
    if (len == 0)
        return false;
    *s = proa_str_slice(*s, len, s->len);
    *ret_value = value;
    return true;
}

struct unit {
    proa_str name;
    uint64_t factor;
};

static const struct unit *take_unit(proa_str *s, const struct unit *units, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (units[i].name.len && proa_str_starts_with(*s, units[i].name)) {
            *s = proa_str_slice(*s, units[i].name.len, s->len);
            return &units[i];
        }
    return NULL;
}

int proa_duration_parse(proa_str text, uint64_t *ret_ns)
{
    /* "ms" before "m": the first that fits is taken. */
    static const struct unit units[] = {
        {PROA_STR_INIT("ns"), 1},
        {PROA_STR_INIT("us"), 1000},
        {PROA_STR_INIT("ms"), 1000000},
        {PROA_STR_INIT("s"), 1000000000},
        {PROA_STR_INIT("m"), UINT64_C(60000000000)},
        {PROA_STR_INIT("h"), UINT64_C(3600000000000)},
        {PROA_STR_INIT("d"), UINT64_C(86400000000000)},
    };
    uint64_t total = 0;
    bool fits = true;

    if (proa_str_eq_c(text, "0")) {
        *ret_ns = 0;
        return 0;
    }
    if (text.len == 0)
        return PROA_ESYNTAX;
    while (text.len > 0) {
        const struct unit *unit;
        uint64_t number;

        if (!take_number(&text, &number, &fits) || !(unit = take_unit(&text, units, PROA_COUNT(units))))
            return PROA_ESYNTAX;
        fits = fits && proa_mul_u64(number, unit->factor, &number) && proa_add_u64(total, number, &total);
    }
    if (!fits)
        return PROA_ERANGE;
    *ret_ns = total;
    return 0;
}

int proa_bytes_parse(proa_str text, uint64_t *ret_bytes)
{
    static const struct unit units[] = {
        {PROA_STR_INIT("Ki"), UINT64_C(1) << 10},
        {PROA_STR_INIT("Mi"), UINT64_C(1) << 20},
        {PROA_STR_INIT("Gi"), UINT64_C(1) << 30},
        {PROA_STR_INIT("Ti"), UINT64_C(1) << 40},
        {PROA_STR_INIT("k"), 1000},
        {PROA_STR_INIT("M"), 1000000},
        {PROA_STR_INIT("G"), 1000000000},
        {PROA_STR_INIT("T"), UINT64_C(1000000000000)},
        {PROA_STR_INIT("Pi"), UINT64_C(1) << 50},
        {PROA_STR_INIT("Ei"), UINT64_C(1) << 60},
        {PROA_STR_INIT("P"), UINT64_C(1000000000000000)},
        {PROA_STR_INIT("E"), UINT64_C(1000000000000000000)},
    };
    const struct unit *unit;
    uint64_t number;
    bool fits = true;

    if (!take_number(&text, &number, &fits))
        return PROA_ESYNTAX;
    unit = take_unit(&text, units, PROA_COUNT(units));
    if (text.len > 0)
        return PROA_ESYNTAX;
    if (!fits || (unit && !proa_mul_u64(number, unit->factor, &number)))
        return PROA_ERANGE;
    *ret_bytes = number;
    return 0;
}
