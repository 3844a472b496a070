/* Proxies by environment, as curl and Go's net/http read it. */
#include "client_internal.h"

#include <arpa/inet.h>
#include <proa/buf.h>
#include <proa/text.h>
#include <stdlib.h>

static const char *look_up(char *const *env, const char *name)
{
    size_t len = strlen(name);

    for (; *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

static const char *look_up_either(char *const *env, const char *lower, const char *upper)
{
    const char *value = look_up(env, lower);

    return value && *value ? value : look_up(env, upper);
}

static char *copy(proa_str text)
{
    return strndup(text.ptr ? text.ptr : "", text.len);
}

/* "user:password" in percent-encoding, as Basic credentials (RFC 7617). */
static int read_credentials(struct proa_arena *arena, proa_str text, struct client_proxy *proxy)
{
    struct proa_buf out;
    proa_str plain;

    PROA_TRY(proa_percent_decode(arena, text, false, &plain));
    proa_buf_init(&out, arena, 0);
    proa_buf_add_c(&out, "Basic ");
    proa_base64_encode(&out, plain);
    PROA_TRY(out.error);
    proxy->authorization = copy(proa_buf_str(&out));
    return proxy->authorization ? 0 : PROA_ENOMEM;
}

/* "http://user:password@host:port" or "host:port". */
static int read_proxy(const char *value, const char *name, struct client_proxy *proxy, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct client_url url;
    proa_str text = proa_str_c(value), credentials = {NULL, 0};
    ptrdiff_t at;

    proa_arena_init(&arena, NULL, 0);
    if (text.len == 0)
        return 0;
    if (proa_str_starts_with(text, PROA_STR("https://")) || proa_str_starts_with(text, PROA_STR("socks")))
        return proa_fail(err, PROA_EUNSUPPORTED, "%s: only proxies that are spoken to by http:// are supported", name);
    if (proa_str_starts_with(text, PROA_STR("http://")))
        text = proa_str_slice(text, 7, text.len);
    at = proa_str_find_char(text, '@');
    if (at >= 0) {
        credentials = proa_str_slice(text, 0, (size_t)at);
        text = proa_str_slice(text, (size_t)at + 1, text.len);
    }
    text = proa_arena_printf(&arena, "http://" PROA_FMT, PROA_ARG(text));
    if (!text.ptr)
        return proa_fail(err, PROA_ENOMEM, "no memory for %s", name);
    /* The value may hold a password: it is not shown. */
    if (client_url_parse(&arena, text, &url, NULL) < 0)
        return proa_fail(err, PROA_EINVAL, "%s is not a proxy's URL", name);
    if (credentials.ptr && read_credentials(&arena, credentials, proxy) < 0)
        return proa_fail(err, PROA_EINVAL, "%s has credentials that cannot be read", name);
    text = proa_arena_printf(&arena, url.is_v6 ? "[" PROA_FMT "]:%u" : PROA_FMT ":%u", PROA_ARG(url.host),
                             (unsigned)url.port);
    proxy->address = text.ptr ? copy(text) : NULL;
    return proxy->address ? 0 : proa_fail(err, PROA_ENOMEM, "no memory for %s", name);
}

int client_proxies_init(struct client_proxies *proxies, char *const *env, struct proa_error *err)
{
    const char *value;

    *proxies = (struct client_proxies){0};
    if (!env)
        return 0;
    value = look_up_either(env, "https_proxy", "HTTPS_PROXY");
    if (value)
        PROA_TRY(read_proxy(value, "HTTPS_PROXY", &proxies->https, err));
    value = look_up(env, "http_proxy");
    if ((!value || !*value) && !look_up(env, "REQUEST_METHOD"))
        value = look_up(env, "HTTP_PROXY");
    if (value)
        PROA_TRY(read_proxy(value, "HTTP_PROXY", &proxies->http, err));
    value = look_up_either(env, "no_proxy", "NO_PROXY");
    if (value) {
        proxies->none_for = strdup(value);
        if (!proxies->none_for)
            return proa_fail(err, PROA_ENOMEM, "no memory for NO_PROXY");
    }
    return 0;
}

void client_proxies_done(struct client_proxies *proxies)
{
    free(proxies->http.address);
    free(proxies->http.authorization);
    free(proxies->https.address);
    free(proxies->https.authorization);
    free(proxies->none_for);
    *proxies = (struct client_proxies){0};
}

/* @returns the address's bytes (4 or 16), 0 when it is none. */
static size_t read_address(proa_str text, unsigned char out[16])
{
    char cstr[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof cstr)
        return 0;
    memcpy(cstr, text.ptr, text.len);
    cstr[text.len] = 0;
    if (inet_pton(AF_INET, cstr, out) == 1)
        return 4;
    return inet_pton(AF_INET6, cstr, out) == 1 ? 16 : 0;
}

static bool network_holds(proa_str network, proa_str host)
{
    ptrdiff_t slash = proa_str_find_char(network, '/');
    unsigned char base[16], address[16];
    uint64_t bits;
    size_t bytes;

    if (slash < 0 || proa_str_to_u64(proa_str_slice(network, (size_t)slash + 1, network.len), &bits) < 0)
        return false;
    bytes = read_address(proa_str_slice(network, 0, (size_t)slash), base);
    if (bytes == 0 || bits > bytes * 8 || read_address(host, address) != bytes)
        return false;
    for (size_t i = 0; i < bits; i++)
        if ((base[i / 8] ^ address[i / 8]) & (0x80 >> (i % 8)))
            return false;
    return true;
}

/* "example.org" and ".example.org" stand for the domain and what is below it; "host:port" for that port only. */
static bool entry_fits(proa_str entry, const struct client_url *url)
{
    ptrdiff_t colon = proa_str_find_char(entry, ':');
    proa_str tail;

    if (entry.len == 0)
        return false;
    if (proa_str_eq(entry, PROA_STR("*")))
        return true;
    if (proa_str_find_char(entry, '/') >= 0)
        return network_holds(entry, url->host);
    if (colon >= 0 && !url->is_v6) {
        uint64_t port;

        if (proa_str_to_u64(proa_str_slice(entry, (size_t)colon + 1, entry.len), &port) < 0 || port != url->port)
            return false;
        entry.len = (size_t)colon;
    }
    if (proa_str_starts_with(entry, PROA_STR("*.")))
        entry = proa_str_slice(entry, 1, entry.len);
    if (entry.len > 0 && entry.ptr[0] == '.')
        entry = proa_str_slice(entry, 1, entry.len);
    if (proa_str_eq_nocase(entry, url->host))
        return true;
    if (url->host.len <= entry.len)
        return false;
    tail = proa_str_slice(url->host, url->host.len - entry.len, url->host.len);
    return proa_str_eq_nocase(tail, entry) && url->host.ptr[url->host.len - entry.len - 1] == '.';
}

const struct client_proxy *client_proxy_for(const struct client_proxies *proxies, const struct client_url *url)
{
    const struct client_proxy *proxy = url->is_https ? &proxies->https : &proxies->http;
    proa_str rest = proa_str_c(proxies->none_for), entry;
    unsigned char address[16];
    size_t bytes = read_address(url->host, address);

    if (!proxy->address)
        return NULL;
    /* A proxy cannot reach what is "this machine" here. */
    if (proa_str_eq_nocase(url->host, PROA_STR("localhost")) || (bytes == 4 && address[0] == 127) ||
        (bytes == 16 && memcmp(address, &in6addr_loopback, 16) == 0))
        return NULL;
    while (rest.ptr && proa_str_split(&rest, ',', &entry))
        if (entry_fits(proa_str_trim(entry), url))
            return NULL;
    return proxy;
}
