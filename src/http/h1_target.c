/* The request target, RFC 9112 section 3.2, and authorities. */
#include "h1.h"

/* What a target may hold. Beyond RFC 3986 only what browsers send unescaped and no reader takes for something else. */
enum { IN_PATH = 1, IN_QUERY = 2, IN_HOST = 4, IN_TOKEN = 8 };

#define ALL (IN_PATH | IN_QUERY | IN_HOST)
#define ALNUM (ALL | IN_TOKEN)
static const uint8_t classes[256] = {
    ['0'] = ALNUM,
    ['1'] = ALNUM,
    ['2'] = ALNUM,
    ['3'] = ALNUM,
    ['4'] = ALNUM,
    ['5'] = ALNUM,
    ['6'] = ALNUM,
    ['7'] = ALNUM,
    ['8'] = ALNUM,
    ['9'] = ALNUM,
    ['A'] = ALNUM,
    ['B'] = ALNUM,
    ['C'] = ALNUM,
    ['D'] = ALNUM,
    ['E'] = ALNUM,
    ['F'] = ALNUM,
    ['G'] = ALNUM,
    ['H'] = ALNUM,
    ['I'] = ALNUM,
    ['J'] = ALNUM,
    ['K'] = ALNUM,
    ['L'] = ALNUM,
    ['M'] = ALNUM,
    ['N'] = ALNUM,
    ['O'] = ALNUM,
    ['P'] = ALNUM,
    ['Q'] = ALNUM,
    ['R'] = ALNUM,
    ['S'] = ALNUM,
    ['T'] = ALNUM,
    ['U'] = ALNUM,
    ['V'] = ALNUM,
    ['W'] = ALNUM,
    ['X'] = ALNUM,
    ['Y'] = ALNUM,
    ['Z'] = ALNUM,
    ['a'] = ALNUM,
    ['b'] = ALNUM,
    ['c'] = ALNUM,
    ['d'] = ALNUM,
    ['e'] = ALNUM,
    ['f'] = ALNUM,
    ['g'] = ALNUM,
    ['h'] = ALNUM,
    ['i'] = ALNUM,
    ['j'] = ALNUM,
    ['k'] = ALNUM,
    ['l'] = ALNUM,
    ['m'] = ALNUM,
    ['n'] = ALNUM,
    ['o'] = ALNUM,
    ['p'] = ALNUM,
    ['q'] = ALNUM,
    ['r'] = ALNUM,
    ['s'] = ALNUM,
    ['t'] = ALNUM,
    ['u'] = ALNUM,
    ['v'] = ALNUM,
    ['w'] = ALNUM,
    ['x'] = ALNUM,
    ['y'] = ALNUM,
    ['z'] = ALNUM,
    /* unreserved, sub-delims, escapes */
    ['-'] = ALNUM,
    ['.'] = ALNUM,
    ['_'] = ALNUM,
    ['~'] = ALNUM,
    ['!'] = ALNUM,
    ['$'] = ALNUM,
    ['&'] = ALNUM,
    ['\''] = ALNUM,
    ['*'] = ALNUM,
    ['+'] = ALNUM,
    ['%'] = ALNUM,
    ['('] = ALL,
    [')'] = ALL,
    [','] = ALL,
    [';'] = ALL,
    ['='] = ALL,
    [':'] = IN_PATH | IN_QUERY,
    ['@'] = IN_PATH | IN_QUERY,
    ['/'] = IN_PATH | IN_QUERY,
    ['?'] = IN_QUERY,
    /* what browsers do not escape */
    ['['] = IN_PATH | IN_QUERY,
    [']'] = IN_PATH | IN_QUERY,
    ['|'] = IN_PATH | IN_QUERY | IN_TOKEN,
    ['\\'] = IN_QUERY,
    ['^'] = IN_QUERY | IN_TOKEN,
    ['`'] = IN_QUERY | IN_TOKEN,
    ['{'] = IN_QUERY,
    ['}'] = IN_QUERY,
    ['#'] = IN_TOKEN,
};

bool h1_is_token_char(unsigned char c)
{
    return (classes[c] & IN_TOKEN) != 0;
}

const char *h1_skip_path(const char *at, const char *end)
{
    while (at < end && (classes[(unsigned char)*at] & IN_PATH))
        at++;
    return at;
}

const char *h1_skip_query(const char *at, const char *end)
{
    while (at < end && (classes[(unsigned char)*at] & IN_QUERY))
        at++;
    return at;
}

static bool is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool escapes_valid(proa_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == '%' &&
            !(i + 2 < text.len && is_hex((unsigned char)text.ptr[i + 1]) && is_hex((unsigned char)text.ptr[i + 2])))
            return false;
    return true;
}

/* Inside of [ ]: an IPv6 address, by its characters. */
static bool literal_valid(proa_str text)
{
    unsigned colons = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c == ':')
            colons++;
        else if (!is_hex(c) && c != '.')
            return false;
    }
    return colons >= 2 && text.len <= 45;
}

static bool port_valid(proa_str text)
{
    uint32_t port = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text.ptr[i] - '0');
        if (port > 65535)
            return false;
    }
    return true;
}

bool h1_host_valid(proa_str text)
{
    size_t end = 0;

    if (text.len > 0 && text.ptr[0] == '[') {
        ptrdiff_t close = proa_str_find_char(text, ']');

        if (close < 0 || !literal_valid(proa_str_slice(text, 1, (size_t)close)))
            return false;
        end = (size_t)close + 1;
    } else {
        while (end < text.len && (classes[(unsigned char)text.ptr[end]] & IN_HOST))
            end++;
        if (!escapes_valid(proa_str_slice(text, 0, end)))
            return false;
        if (end == 0 && text.len > 0)
            return false; /* a port of nobody */
    }
    if (end == text.len)
        return true;
    return text.ptr[end] == ':' && port_valid(proa_str_slice(text, end + 1, text.len));
}

/* origin-form, from `at` on; also the tail of an absolute one. */
static int origin(struct h1_parser *parser, const char *base, uint32_t at, uint32_t end)
{
    const char *mark = memchr(base + at, '?', end - at);
    uint32_t path_end = mark ? (uint32_t)(mark - base) : end;

    parser->path = (struct h1_span){at, path_end - at};
    parser->query = mark ? (struct h1_span){path_end + 1, end - path_end - 1} : (struct h1_span){end, 0};
    if (h1_skip_path(base + at, base + path_end) != base + path_end ||
        h1_skip_query(base + parser->query.at, base + end) != base + end)
        return 400;
    return 0;
}

static int absolute(struct h1_parser *parser, const char *base)
{
    proa_str target = proa_str_n(base + parser->target.at, parser->target.len);
    uint32_t end = parser->target.at + parser->target.len;
    size_t scheme, authority_end;
    proa_str authority;

    if (target.len > 7 && proa_str_eq_nocase(proa_str_slice(target, 0, 7), PROA_STR("http://")))
        scheme = 7;
    else if (target.len > 8 && proa_str_eq_nocase(proa_str_slice(target, 0, 8), PROA_STR("https://")))
        scheme = 8;
    else
        return 400;
    authority_end = scheme;
    while (authority_end < target.len && target.ptr[authority_end] != '/' && target.ptr[authority_end] != '?')
        authority_end++;
    authority = proa_str_slice(target, scheme, authority_end);
    /* An empty host and user information are refused (RFC 9110 sections 4.2.1 and 4.2.4). */
    if (authority.len == 0 || !h1_host_valid(authority))
        return 400;
    parser->host = (struct h1_span){parser->target.at + (uint32_t)scheme, (uint32_t)authority.len};
    if (authority_end == target.len && parser->method == PROA_OPTIONS)
        parser->is_asterisk = true;
    return origin(parser, base, parser->target.at + (uint32_t)authority_end, end);
}

int h1_target(struct h1_parser *parser, const char *base)
{
    uint32_t at = parser->target.at, len = parser->target.len;

    if (base[at] == '/')
        return origin(parser, base, at, at + len);
    if (len == 1 && base[at] == '*' && parser->method == PROA_OPTIONS) {
        parser->is_asterisk = true;
        parser->path = (struct h1_span){at, 1};
        parser->query = (struct h1_span){at + 1, 0};
        return 0;
    }
    return absolute(parser, base);
}
