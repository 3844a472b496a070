/* Formats of text: each holds what its standard says, no more. */
#include "data_internal.h"

#include <arpa/inet.h>

/* What a character may be part of. */
enum {
    ALPHA = 1,
    DIGIT = 2,
    HEX = 4,
    LOCAL_PART = 8,      /* of an email */
    UNRESERVED_SUB = 16, /* unreserved and sub-delims of RFC 3986 */
    SCHEME = 32,
};
#define BOTH (ALPHA | LOCAL_PART | UNRESERVED_SUB | SCHEME)
static const uint8_t classes[256] = {
    ['0' ... '9'] = DIGIT | HEX | LOCAL_PART | UNRESERVED_SUB | SCHEME,
    ['A' ... 'F'] = BOTH | HEX,
    ['G' ... 'Z'] = BOTH,
    ['a' ... 'f'] = BOTH | HEX,
    ['g' ... 'z'] = BOTH,
    ['.'] = LOCAL_PART | UNRESERVED_SUB | SCHEME,
    ['-'] = LOCAL_PART | UNRESERVED_SUB | SCHEME,
    ['+'] = LOCAL_PART | UNRESERVED_SUB | SCHEME,
    ['!'] = LOCAL_PART | UNRESERVED_SUB,
    ['$'] = LOCAL_PART | UNRESERVED_SUB,
    ['&'] = LOCAL_PART | UNRESERVED_SUB,
    ['\''] = LOCAL_PART | UNRESERVED_SUB,
    ['*'] = LOCAL_PART | UNRESERVED_SUB,
    ['='] = LOCAL_PART | UNRESERVED_SUB,
    ['_'] = LOCAL_PART | UNRESERVED_SUB,
    ['~'] = LOCAL_PART | UNRESERVED_SUB,
    ['#'] = LOCAL_PART,
    ['%'] = LOCAL_PART,
    ['/'] = LOCAL_PART,
    ['?'] = LOCAL_PART,
    ['^'] = LOCAL_PART,
    ['`'] = LOCAL_PART,
    ['{'] = LOCAL_PART,
    ['|'] = LOCAL_PART,
    ['}'] = LOCAL_PART,
    ['('] = UNRESERVED_SUB,
    [')'] = UNRESERVED_SUB,
    [','] = UNRESERVED_SUB,
    [';'] = UNRESERVED_SUB,
};
#undef BOTH

static bool is(char c, unsigned class)
{
    return (classes[(unsigned char)c] & class) != 0;
}

static bool all_are(proa_str s, unsigned class)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is(s.ptr[i], class))
            return false;
    return true;
}

/* Labels of letters, digits and inner hyphens, 1..63 bytes each (RFC 1123 section 2.1). */
static bool is_hostname(proa_str s)
{
    proa_str rest = s, label;

    if (s.len == 0 || s.len > 253)
        return false;
    while (proa_str_split(&rest, '.', &label)) {
        if (label.len == 0 || label.len > 63 || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++)
            if (!is(label.ptr[i], ALPHA | DIGIT) && label.ptr[i] != '-')
                return false;
    }
    return true;
}

/* The form of HTML's input type=email: a willful, practical narrowing of RFC 5322. */
static bool is_email(proa_str s)
{
    ptrdiff_t at = proa_str_find_char(s, '@');

    if (at <= 0 || s.len > 254 || !all_are(proa_str_slice(s, 0, (size_t)at), LOCAL_PART))
        return false;
    return is_hostname(proa_str_slice(s, (size_t)at + 1, s.len));
}

static bool is_uuid(proa_str s)
{
    if (s.len != 36)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        char c = s.ptr[i];

        if (hyphen ? c != '-' : !is(c, HEX))
            return false;
    }
    return true;
}

/* Characters of a URI's part: unreserved, sub-delims, whole escapes and `more`. */
static bool is_uri_text(proa_str s, const char *more)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char byte;

        if (s.ptr[i] == '%') {
            if (proa_hex_decode(&byte, 1, proa_str_slice(s, i + 1, i + 3)) < 0)
                return false;
            i += 2;
        } else if (!is(s.ptr[i], UNRESERVED_SUB) && !(s.ptr[i] && strchr(more, s.ptr[i]))) {
            return false;
        }
    }
    return true;
}

static bool is_address(int family, proa_str s);

/* "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ) */
static bool is_ip_future(proa_str s)
{
    ptrdiff_t dot = proa_str_find_char(s, '.');

    if (s.len < 4 || (s.ptr[0] | 0x20) != 'v' || dot < 2 || (size_t)dot + 1 == s.len)
        return false;
    if (!all_are(proa_str_slice(s, 1, (size_t)dot), HEX))
        return false;
    return proa_str_find_char(s, '%') < 0 && is_uri_text(proa_str_slice(s, (size_t)dot + 1, s.len), ":");
}

/* [ userinfo "@" ] host [ ":" port ] (section 3.2). */
static bool is_authority(proa_str s)
{
    ptrdiff_t at = proa_str_find_char(s, '@'), colon;

    if (at >= 0) {
        if (!is_uri_text(proa_str_slice(s, 0, (size_t)at), ":"))
            return false;
        s = proa_str_slice(s, (size_t)at + 1, s.len);
    }
    if (proa_str_starts_with(s, PROA_STR("["))) {
        ptrdiff_t close = proa_str_find_char(s, ']');
        proa_str address = proa_str_slice(s, 1, close < 0 ? 0 : (size_t)close);

        if (close < 0 || !(is_address(AF_INET6, address) || is_ip_future(address)))
            return false;
        s = proa_str_slice(s, (size_t)close + 1, s.len);
        if (s.len > 0 && s.ptr[0] != ':')
            return false;
    }
    colon = proa_str_find_char(s, ':');
    if (colon < 0)
        return is_uri_text(s, "");
    if (!all_are(proa_str_slice(s, (size_t)colon + 1, s.len), DIGIT))
        return false;
    return is_uri_text(proa_str_slice(s, 0, (size_t)colon), "");
}

/* Cuts off what stands behind the first `c`. */
static bool cut_tail(proa_str *s, char c, proa_str *ret_tail)
{
    ptrdiff_t at = proa_str_find_char(*s, c);

    if (at < 0)
        return false;
    *ret_tail = proa_str_slice(*s, (size_t)at + 1, s->len);
    *s = proa_str_slice(*s, 0, (size_t)at);
    return true;
}

/* scheme ":" hier-part [ "?" query ] [ "#" fragment ] (section 3). */
static bool is_uri(proa_str s)
{
    proa_str rest, tail;

    if (s.len == 0 || !is(s.ptr[0], ALPHA) || !cut_tail(&s, ':', &rest) || !all_are(s, SCHEME))
        return false;
    if (cut_tail(&rest, '#', &tail) && !is_uri_text(tail, ":@/?"))
        return false;
    if (cut_tail(&rest, '?', &tail) && !is_uri_text(tail, ":@/?"))
        return false;
    if (proa_str_starts_with(rest, PROA_STR("//"))) {
        proa_str authority = proa_str_slice(rest, 2, rest.len);

        rest = cut_tail(&authority, '/', &tail) ? tail : proa_str_n("", 0);
        if (!is_authority(authority))
            return false;
    }
    return is_uri_text(rest, ":@/");
}

static bool is_date(proa_str s)
{
    char text[32];
    proa_time_ns time;

    if (s.len != 10)
        return false;
    memcpy(text, s.ptr, 10);
    memcpy(text + 10, "T00:00:00Z", 10);
    return proa_time_parse(proa_str_n(text, 20), &time) != PROA_ESYNTAX;
}

static bool is_address(int family, proa_str s)
{
    char text[64];
    unsigned char room[16];

    if (s.len >= sizeof text || proa_str_find_char(s, '\0') >= 0)
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return inet_pton(family, text, room) == 1;
}

bool format_holds(enum proa_format format, proa_str text)
{
    proa_time_ns time;

    switch (format) {
    case PROA_FORMAT_EMAIL: return is_email(text);
    case PROA_FORMAT_UUID: return is_uuid(text);
    case PROA_FORMAT_URI: return is_uri(text);
    case PROA_FORMAT_DATE_TIME:
        return (text.len > 10 && text.ptr[10] != ' ') && proa_time_parse(text, &time) != PROA_ESYNTAX;
    case PROA_FORMAT_DATE: return is_date(text);
    case PROA_FORMAT_HOSTNAME: return is_hostname(text);
    case PROA_FORMAT_IPV4: return is_address(AF_INET, text);
    case PROA_FORMAT_IPV6: return is_address(AF_INET6, text);
    case PROA_FORMAT_NONE: break;
    }
    return true;
}

const char *format_name(enum proa_format format)
{
    static const char *const names[] = {"text", "email",    "uuid", "uri", "date-time",
                                        "date", "hostname", "ipv4", "ipv6"};

    return names[format];
}
