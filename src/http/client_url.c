/* URLs of requests, RFC 3986: absolute, http and https only. */
#include "client_internal.h"

enum { PORT_HTTP = 80, PORT_HTTPS = 443 };

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
}

static bool is_v6_char(char c)
{
    return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || (c >= '0' && c <= '9') || c == ':' || c == '.';
}

static bool all_are(proa_str text, bool (*is)(char c))
{
    for (size_t i = 0; i < text.len; i++)
        if (!is(text.ptr[i]))
            return false;
    return true;
}

/* "host", "host:port", "[v6]:port". */
static int parse_authority(proa_str authority, struct client_url *url, struct proa_error *err)
{
    proa_str host = authority, port = {NULL, 0};
    ptrdiff_t at;

    if (proa_str_find_char(authority, '@') >= 0)
        return proa_fail(err, PROA_EINVAL, "a URL may not hold user information: send an Authorization field");
    if (authority.len > 0 && authority.ptr[0] == '[') {
        at = proa_str_find_char(authority, ']');
        if (at < 0)
            return proa_fail(err, PROA_EINVAL, "the URL's address lacks its closing bracket");
        host = proa_str_slice(authority, 1, (size_t)at);
        port = proa_str_slice(authority, (size_t)at + 1, authority.len);
        url->is_v6 = true;
    } else {
        at = proa_str_find_char(authority, ':');
        if (at >= 0) {
            host = proa_str_slice(authority, 0, (size_t)at);
            port = proa_str_slice(authority, (size_t)at, authority.len);
        }
    }
    if (host.len == 0 || host.len > CLIENT_HOST_MAX || !all_are(host, url->is_v6 ? is_v6_char : is_host_char))
        return proa_fail(err, PROA_EINVAL, "the URL's host is not valid");
    if (port.len > 0 && port.ptr[0] != ':')
        return proa_fail(err, PROA_EINVAL, "the URL's port is not valid");
    if (port.len > 1) {
        uint64_t number;

        if (proa_str_to_u64(proa_str_slice(port, 1, port.len), &number) < 0 || number == 0 || number > UINT16_MAX)
            return proa_fail(err, PROA_EINVAL, "the URL's port is not valid");
        url->port = (uint16_t)number;
    }
    url->host = host;
    return 0;
}

/* A path and a query are what visible ASCII says; a fragment stays here. */
static int parse_target(struct proa_arena *arena, proa_str rest, struct client_url *url, struct proa_error *err)
{
    ptrdiff_t fragment = proa_str_find_char(rest, '#');

    if (fragment >= 0)
        rest.len = (size_t)fragment;
    for (size_t i = 0; i < rest.len; i++)
        if (rest.ptr[i] <= ' ' || rest.ptr[i] > '~')
            return proa_fail(err, PROA_EINVAL, "the URL holds a character that must be percent-encoded");
    if (rest.len > 0 && rest.ptr[0] == '/')
        url->target = rest;
    else
        url->target = proa_arena_printf(arena, "/" PROA_FMT, PROA_ARG(rest));
    return url->target.ptr ? 0 : proa_fail(err, PROA_ENOMEM, "no memory for a URL");
}

int client_url_parse(struct proa_arena *arena, proa_str text, struct client_url *ret_url, struct proa_error *err)
{
    struct client_url url = {0};
    proa_str rest;
    size_t end = 0;
    bool is_usual;

    if (text.len >= 8 && proa_str_eq_nocase(proa_str_slice(text, 0, 8), PROA_STR("https://")))
        url.is_https = true;
    else if (text.len < 7 || !proa_str_eq_nocase(proa_str_slice(text, 0, 7), PROA_STR("http://")))
        return proa_fail(err, PROA_EINVAL, "a URL must begin with http:// or https://");
    rest = proa_str_slice(text, url.is_https ? 8 : 7, text.len);
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?' && rest.ptr[end] != '#')
        end++;
    url.port = url.is_https ? PORT_HTTPS : PORT_HTTP;
    PROA_TRY(parse_authority(proa_str_slice(rest, 0, end), &url, err));
    PROA_TRY(parse_target(arena, proa_str_slice(rest, end, rest.len), &url, err));
    is_usual = url.port == (url.is_https ? PORT_HTTPS : PORT_HTTP);
    if (is_usual && !url.is_v6)
        url.host_field = url.host;
    else if (is_usual)
        url.host_field = proa_arena_printf(arena, "[" PROA_FMT "]", PROA_ARG(url.host));
    else
        url.host_field = proa_arena_printf(arena, url.is_v6 ? "[" PROA_FMT "]:%u" : PROA_FMT ":%u", PROA_ARG(url.host),
                                           (unsigned)url.port);
    if (!url.host_field.ptr)
        return proa_fail(err, PROA_ENOMEM, "no memory for a URL");
    *ret_url = url;
    return 0;
}
