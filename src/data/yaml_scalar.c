/* What a plain scalar is, and numbers as JSON writes them. */
#include "yaml_scalar.h"

#include <proa/checked.h>
#include <proa/error.h>

static bool is_one_of(proa_str text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (proa_str_eq_c(text, words[i]))
            return true;
    return false;
}

static size_t digits_at(proa_str text, size_t at)
{
    size_t start = at;

    while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9')
        at++;
    return at - start;
}

/* The value of a digit in a base up to 16, or 16. */
static unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

static bool is_based(proa_str text, char letter, unsigned base)
{
    if (text.len < 3 || text.ptr[0] != '0' || text.ptr[1] != letter)
        return false;
    for (size_t i = 2; i < text.len; i++)
        if (digit_value(text.ptr[i]) >= base)
            return false;
    return true;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static enum yaml_scalar resolve_decimal(proa_str text)
{
    size_t at = text.len && (text.ptr[0] == '-' || text.ptr[0] == '+'), whole = digits_at(text, at), part = 0;
    bool is_float = false;

    at += whole;
    if (at < text.len && text.ptr[at] == '.') {
        is_float = true;
        part = digits_at(text, at + 1);
        at += 1 + part;
    }
    if (whole + part == 0)
        return YAML_TEXT;
    if (at < text.len && (text.ptr[at] | 0x20) == 'e') {
        size_t exponent;

        is_float = true;
        at++;
        at += at < text.len && (text.ptr[at] == '-' || text.ptr[at] == '+');
        exponent = digits_at(text, at);
        if (exponent == 0)
            return YAML_TEXT;
        at += exponent;
    }
    if (at != text.len)
        return YAML_TEXT;
    return is_float ? YAML_FLOAT : YAML_INTEGER;
}

enum yaml_scalar yaml_resolve(proa_str text)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const trues[] = {"true", "True", "TRUE"};
    static const char *const falses[] = {"false", "False", "FALSE"};
    static const char *const not_finite[] = {".inf",  ".Inf",  ".INF",  "-.inf", "-.Inf", "-.INF",
                                             "+.inf", "+.Inf", "+.INF", ".nan",  ".NaN",  ".NAN"};

    if (is_one_of(text, nulls, PROA_COUNT(nulls)))
        return YAML_NULL;
    if (is_one_of(text, trues, PROA_COUNT(trues)))
        return YAML_TRUE;
    if (is_one_of(text, falses, PROA_COUNT(falses)))
        return YAML_FALSE;
    if (is_one_of(text, not_finite, PROA_COUNT(not_finite)))
        return YAML_NOT_FINITE;
    if (is_based(text, 'o', 8) || is_based(text, 'x', 16))
        return YAML_INTEGER;
    return resolve_decimal(text);
}

static int add_based(struct proa_buf *out, proa_str text)
{
    unsigned base = text.ptr[1] == 'o' ? 8 : 16;
    uint64_t value = 0;

    for (size_t i = 2; i < text.len; i++)
        if (!proa_mul_u64(value, base, &value) || !proa_add_u64(value, digit_value(text.ptr[i]), &value))
            return PROA_ERANGE;
    return proa_buf_add_u64(out, value);
}

/* JSON wants a digit before and behind the point, no plus, no leading zeros. */
int yaml_add_number(struct proa_buf *out, enum yaml_scalar kind, proa_str text)
{
    size_t at = 0, whole, part;

    if (kind == YAML_INTEGER && (is_based(text, 'o', 8) || is_based(text, 'x', 16)))
        return add_based(out, text);
    if (text.ptr[0] == '-')
        PROA_TRY(proa_buf_add_char(out, '-'));
    at = text.ptr[0] == '-' || text.ptr[0] == '+';
    whole = digits_at(text, at);
    while (whole > 1 && text.ptr[at] == '0') {
        at++;
        whole--;
    }
    PROA_TRY(proa_buf_add(out, whole ? proa_str_slice(text, at, at + whole) : PROA_STR("0")));
    at += whole;
    if (at < text.len && text.ptr[at] == '.') {
        part = digits_at(text, at + 1);
        PROA_TRY(proa_buf_add_char(out, '.'));
        PROA_TRY(proa_buf_add(out, part ? proa_str_slice(text, at + 1, at + 1 + part) : PROA_STR("0")));
        at += 1 + part;
    }
    return proa_buf_add(out, proa_str_slice(text, at, text.len));
}
