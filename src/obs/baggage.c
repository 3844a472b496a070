/* W3C Baggage: a header of members "key=value;property", passed on as it came. */
#include <proa/text.h>
#include <proa/tracer.h>

static bool is_token(proa_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c != '\0' && strchr("!#$%&'*+-.^_`|~", c))))
            return false;
    }
    return text.len > 0;
}

/* baggage-octet: printable ASCII without space, quote, comma, semicolon and backslash. */
static bool is_value(proa_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c <= 0x20 || c > 0x7e || c == '"' || c == ',' || c == ';' || c == '\\')
            return false;
    }
    return true;
}

static bool split_pair(proa_str text, proa_str *ret_key, proa_str *ret_value)
{
    ptrdiff_t equals = proa_str_find_char(text, '=');

    if (equals < 0)
        return false;
    *ret_key = proa_str_trim(proa_str_slice(text, 0, (size_t)equals));
    *ret_value = proa_str_trim(proa_str_slice(text, (size_t)equals + 1, text.len));
    return is_token(*ret_key) && is_value(*ret_value);
}

/* A member's key and value; its properties are only looked at. */
static bool read_member(proa_str member, proa_str *ret_key, proa_str *ret_value)
{
    proa_str part, key, value;

    if (!proa_str_split(&member, ';', &part) || !split_pair(part, ret_key, ret_value))
        return false;
    while (proa_str_split(&member, ';', &part)) {
        part = proa_str_trim(part);
        if (!is_token(part) && !split_pair(part, &key, &value))
            return false;
    }
    return true;
}

bool proa_baggage_valid(proa_str baggage)
{
    uint32_t members = 0;
    proa_str member, key, value;

    if (baggage.len > PROA_BAGGAGE_MAX || baggage.len == 0)
        return false;
    while (proa_str_split(&baggage, ',', &member))
        if (++members > PROA_BAGGAGE_MEMBERS_MAX || !read_member(member, &key, &value))
            return false;
    return true;
}

int proa_baggage_get(struct proa_arena *arena, proa_str baggage, proa_str key, proa_str *ret_value)
{
    proa_str member;

    if (baggage.len == 0)
        return PROA_ENOTFOUND;
    while (proa_str_split(&baggage, ',', &member)) {
        proa_str name, value;

        if (!read_member(member, &name, &value))
            return PROA_ESYNTAX;
        if (proa_str_eq(name, key))
            return proa_percent_decode(arena, value, false, ret_value);
    }
    return PROA_ENOTFOUND;
}
