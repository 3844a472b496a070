/* Addresses as text and back. */
#include "stream_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int parse_unix(const char *path, struct sockaddr_un *un, unsigned *ret_len, struct proa_error *err)
{
    size_t bytes = strlen(path) + 1;

    if (bytes == 1)
        return proa_fail(err, PROA_EINVAL, "a Unix socket needs a path: unix:PATH");
    if (bytes > sizeof un->sun_path)
        return proa_fail(err, PROA_EINVAL, "the path of a Unix socket has at most %zu bytes", sizeof un->sun_path - 1);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, bytes);
    *ret_len = (unsigned)(offsetof(struct sockaddr_un, sun_path) + bytes);
    return 0;
}

/* A host as it stands before the port. */
static int parse_host(const char *text, char *host, size_t len, struct sockaddr_storage *storage, uint16_t port,
                      unsigned *ret_len, struct proa_error *err)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)storage;

    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) != 1)
            return proa_fail(err, PROA_EINVAL, "address \"%s\": what is in brackets is no IPv6 address", text);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *ret_len = sizeof *v6;
        return 0;
    }
    if (strchr(host, ':'))
        return proa_fail(err, PROA_EINVAL, "address \"%s\": an IPv6 address is written in brackets: [::1]:80", text);
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4->sin_addr) != 1)
        return proa_fail(err, PROA_EUNSUPPORTED, "address \"%s\": names are not resolved here", text);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    *ret_len = sizeof *v4;
    return 0;
}

int address_parse(const char *text, void *ret_sockaddr, unsigned *ret_len, struct proa_error *err)
{
    struct sockaddr_storage *storage = ret_sockaddr;
    const char *colon = strrchr(text, ':');
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    char host[PROA_ADDRESS_MAX];
    uint64_t port;

    memset(storage, 0, sizeof *storage);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, (struct sockaddr_un *)storage, ret_len, err);
    if (host_len == 0 || proa_str_to_u64(proa_str_c(colon + 1), &port) < 0 || port > 65535)
        return proa_fail(err, PROA_EINVAL, "address \"%.128s\" is not host:port or unix:PATH", text);
    if (host_len >= sizeof host) /* no numeric one is so long */
        return proa_fail(err, PROA_EUNSUPPORTED, "address \"%.128s\": names are not resolved here", text);
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    return parse_host(text, host, host_len, storage, (uint16_t)port, ret_len, err);
}

static void text_of_v6(const struct sockaddr_in6 *v6, char *out)
{
    char host[INET6_ADDRSTRLEN] = "";

    /* An IPv4 peer of a dual-stack socket is shown as what it is. */
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof host);
        snprintf(out, PROA_ADDRESS_MAX, "%s:%u", host, ntohs(v6->sin6_port));
    } else {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(out, PROA_ADDRESS_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
    }
}

static void text_of_unix(const struct sockaddr_un *un, unsigned len, char *out)
{
    size_t most = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;

    snprintf(out, PROA_ADDRESS_MAX, "unix:%.*s", (int)(most < sizeof un->sun_path ? most : sizeof un->sun_path),
             un->sun_path);
}

void address_text(const void *sockaddr, unsigned len, char *out)
{
    const struct sockaddr *any = sockaddr;
    const struct sockaddr_in *v4 = sockaddr;
    char host[INET_ADDRSTRLEN] = "";

    switch (any->sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, PROA_ADDRESS_MAX, "%s:%u", host, ntohs(v4->sin_port));
        break;
    case AF_INET6: text_of_v6(sockaddr, out); break;
    default: text_of_unix(sockaddr, len, out);
    }
}
