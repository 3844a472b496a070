/* Slices: comparing, searching, splitting, hashing, numbers. */
#include "digits.h"

#include <proa/str.h>

#include <assert.h>
#include <endian.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <proa/error.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

int proa_str_cmp(proa_str a, proa_str b)
{
    size_t least = a.len < b.len ? a.len : b.len;
    int order = least ? memcmp(a.ptr, b.ptr, least) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

bool proa_str_eq_nocase(proa_str a, proa_str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

bool proa_str_eq_secret(proa_str a, proa_str b)
{
    unsigned char difference = 0;

    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        difference |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
    return difference == 0;
}

bool proa_str_starts_with(proa_str s, proa_str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool proa_str_ends_with(proa_str s, proa_str suffix)
{
    return s.len >= suffix.len && (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

ptrdiff_t proa_str_find_char(proa_str s, char c)
{
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;

    return at ? at - s.ptr : -1;
}

ptrdiff_t proa_str_find(proa_str s, proa_str needle)
{
    const char *at;

    if (needle.len == 0)
        return 0;
    at = s.len ? memmem(s.ptr, s.len, needle.ptr, needle.len) : NULL;
    return at ? at - s.ptr : -1;
}

proa_str proa_str_slice(proa_str s, size_t from, size_t to)
{
    if (to > s.len)
        to = s.len;
    if (from > to)
        from = to;
    return proa_str_n(s.ptr ? s.ptr + from : NULL, to - from);
}

proa_str proa_str_trim(proa_str s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

bool proa_str_split(proa_str *rest, char separator, proa_str *ret_part)
{
    ptrdiff_t at;

    if (!rest->ptr)
        return false;
    at = proa_str_find_char(*rest, separator);
    if (at < 0) {
        *ret_part = *rest;
        *rest = proa_str_n(NULL, 0);
        return true;
    }
    *ret_part = proa_str_slice(*rest, 0, (size_t)at);
    *rest = proa_str_slice(*rest, (size_t)at + 1, rest->len);
    return true;
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012, with the reduced rounds its authors allow for hash tables): keyed, so that
 * outside keys cannot be chosen to collide when the seed is secret. The second key word is derived from the first. */
static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint64_t load_le(const char *bytes, size_t count)
{
    uint64_t word = 0;

    memcpy(&word, bytes, count);
    return le64toh(word);
}

uint64_t proa_str_hash(proa_str s, uint64_t seed)
{
    uint64_t second = seed * UINT64_C(0x9e3779b97f4a7c15) ^ UINT64_C(0xd1b54a32d192ed03);
    uint64_t v[4] = {seed ^ UINT64_C(0x736f6d6570736575), second ^ UINT64_C(0x646f72616e646f6d),
                     seed ^ UINT64_C(0x6c7967656e657261), second ^ UINT64_C(0x7465646279746573)};
    size_t at = 0;
    uint64_t word;

    for (; at + 8 <= s.len; at += 8) {
        word = load_le(s.ptr + at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)s.len << 56 | (s.len > at ? load_le(s.ptr + at, s.len - at) : 0);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static int parse_digits(proa_str s, uint64_t *ret_value)
{
    uint64_t value = 0;
    bool fits = true;

    if (s.len == 0 || (s.len > 1 && s.ptr[0] == '0'))
        return PROA_ESYNTAX;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned char)s.ptr[i] - (unsigned)'0';

        if (digit > 9)
            return PROA_ESYNTAX;
        fits = fits && !__builtin_mul_overflow(value, (uint64_t)10, &value) &&
               !__builtin_add_overflow(value, (uint64_t)digit, &value);
    }
    if (!fits)
        return PROA_ERANGE;
    *ret_value = value;
    return 0;
}

int proa_str_to_u64(proa_str s, uint64_t *ret_value)
{
    return parse_digits(s, ret_value);
}

int proa_str_to_i64(proa_str s, int64_t *ret_value)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t value;

    PROA_TRY(parse_digits(negative ? proa_str_n(s.ptr + 1, s.len - 1) : s, &value));
    if (value > (uint64_t)INT64_MAX + negative)
        return PROA_ERANGE;
    *ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return 0;
}

/* JSON's number grammar: -? int frac? exp? */
static bool is_json_number(proa_str s)
{
    size_t i = 0, start;

    if (i < s.len && s.ptr[i] == '-')
        i++;
    start = i;
    while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9')
        i++;
    if (i == start || (s.ptr[start] == '0' && i - start > 1))
        return false;
    if (i < s.len && s.ptr[i] == '.') {
        start = ++i;
        while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9')
            i++;
        if (i == start)
            return false;
    }
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        i++;
        if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-'))
            i++;
        start = i;
        while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9')
            i++;
        if (i == start)
            return false;
    }
    return i == s.len;
}

/* The "C" locale, made once: libc's number texts depend on the process's locale otherwise. Never changed, never
 * freed. */
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

int proa_str_to_double(proa_str s, double *ret_value)
{
    enum { SHORT = 64 };
    char shorter[SHORT];
    char *text = shorter;
    double value;

    if (!is_json_number(s))
        return PROA_ESYNTAX;
    if (s.len >= SHORT && !(text = malloc(s.len + 1)))
        return PROA_ENOMEM;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    pthread_once(&c_locale_once, make_c_locale);
    value = strtod_l(text, NULL, c_locale);
    if (text != shorter)
        free(text);
    if (!isfinite(value))
        return PROA_ERANGE;
    *ret_value = value;
    return 0;
}

static size_t decimal_digits(uint64_t value)
{
    size_t digits = 1;

    for (; value >= 10000; value /= 10000)
        digits += 4;
    return digits + (value >= 10) + (value >= 100) + (value >= 1000);
}

const char digit_pairs[201] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                              "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                              "8081828384858687888990919293949596979899";

size_t proa_u64_text(uint64_t value, char *out)
{
    size_t len = decimal_digits(value), at = len;

    while (value >= 100) {
        at -= 2;
        put_pair(out + at, (unsigned)(value % 100));
        value /= 100;
    }
    if (value >= 10)
        put_pair(out, (unsigned)value);
    else
        out[0] = (char)('0' + value);
    return len;
}

size_t proa_i64_text(int64_t value, char *out)
{
    if (value >= 0)
        return proa_u64_text((uint64_t)value, out);
    out[0] = '-';
    return 1 + proa_u64_text(0 - (uint64_t)value, out + 1);
}

/* Copies printf's "1e+05" as "1e5". @returns the length. */
static size_t drop_exponent_filler(const char *text, size_t len, char *out)
{
    const char *exponent = memchr(text, 'e', len);
    size_t kept = exponent ? (size_t)(exponent - text) + 1 : len;
    size_t at = kept;

    memcpy(out, text, kept);
    if (!exponent)
        return kept;
    if (text[at] == '-')
        out[kept++] = '-';
    at++;
    while (at + 1 < len && text[at] == '0')
        at++;
    memcpy(out + kept, text + at, len - at);
    return kept + len - at;
}

/* Numbers as programs mostly have them, with few decimals: "0.25", "1234.567". @returns 0 when it is no such. */
static size_t short_decimal_text(double value, char *out)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    enum { LAST = sizeof powers / sizeof powers[0] - 1 };
    double magnitude = fabs(value);
    size_t len = 0;

    if (!(magnitude >= 1e-4 && magnitude < 1e9)) /* below, %g has an exponent; above, the digits may not be 15 */
        return 0;
    for (int decimals = 1; decimals <= LAST; decimals++) {
        int64_t scaled = (int64_t)(magnitude * powers[decimals] + 0.5);
        char digits[PROA_U64_TEXT_MAX];
        size_t whole;

        /* Both are exact, and so their quotient is what reading the text gives. */
        if ((double)scaled / powers[decimals] != magnitude)
            continue;
        if (value < 0)
            out[len++] = '-';
        whole = proa_u64_text((uint64_t)scaled / (uint64_t)powers[decimals], out + len);
        len += whole;
        out[len++] = '.';
        /* With a leading one that keeps the zeros behind the point. */
        proa_u64_text((uint64_t)scaled % (uint64_t)powers[decimals] + (uint64_t)powers[decimals], digits);
        memcpy(out + len, digits + 1, (size_t)decimals);
        return len + (size_t)decimals;
    }
    return 0;
}

size_t proa_double_text(double value, char *out)
{
    /* A text of up to 15 digits is found at 15 already, as %g drops zeros; of subnormals fewer digits are
     * significant. */
    int digits = fabs(value) < DBL_MIN ? 1 : DBL_DIG;
    char text[40];
    locale_t old;
    size_t kept;
    int len = 0;

    assert(isfinite(value));
    if (fabs(value) < 1e15 && value == (double)(int64_t)value && !(value == 0 && signbit(value)))
        return proa_i64_text((int64_t)value, out);
    kept = short_decimal_text(value, out);
    if (kept > 0)
        return kept;
    pthread_once(&c_locale_once, make_c_locale);
    old = uselocale(c_locale);
    for (; digits <= DBL_DECIMAL_DIG; digits++) {
        len = snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod_l(text, NULL, c_locale) == value)
            break;
    }
    uselocale(old);
    return drop_exponent_filler(text, (size_t)len, out);
}
