/* Addresses as text and back. */
#include "stream_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int parse_unix(const char *path, struct sockaddr_storage *storage, unsigned *ret_len, struct proa_error *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)storage;

    if (!*path)
        return proa_fail(err, PROA_EINVAL, "a Unix socket needs a path: unix:PATH");
    if (strlen(path) >= sizeof un->sun_path)
        return proa_fail(err, PROA_EINVAL, "the path of a Unix socket has at most %zu bytes", sizeof un->sun_path - 1);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, strlen(path) + 1);
    *ret_len = (unsigned)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    return 0;
}

int address_parse(const char *text, void *ret_sockaddr, unsigned *ret_len, struct proa_error *err)
{
    struct sockaddr_storage *storage = ret_sockaddr;
    struct sockaddr_in *v4 = ret_sockaddr;
    struct sockaddr_in6 *v6 = ret_sockaddr;
    const char *colon = strrchr(text, ':');
    char host[PROA_ADDRESS_MAX];
    size_t host_len;
    uint64_t port;

    memset(storage, 0, sizeof *storage);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, storage, ret_len, err);
    host_len = colon ? (size_t)(colon - text) : 0;
    if (!colon || host_len >= sizeof host || proa_str_to_u64(proa_str_c(colon + 1), &port) < 0 || port > 65535)
        return proa_fail(err, PROA_EINVAL, "address \"%s\" is not host:port or unix:PATH", text);
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host[host_len - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1) {
            v6->sin6_family = AF_INET6;
            v6->sin6_port = htons((uint16_t)port);
            *ret_len = sizeof *v6;
            return 0;
        }
    } else if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_len = sizeof *v4;
        return 0;
    }
    return proa_fail(err, PROA_EUNSUPPORTED, "address \"%s\": names are not resolved here", text);
}

void address_text(const void *sockaddr, unsigned len, char *out)
{
    const struct sockaddr_storage *storage = sockaddr;
    char host[INET6_ADDRSTRLEN] = "";

    if (storage->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = sockaddr;

        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, PROA_ADDRESS_MAX, "%s:%u", host, ntohs(v4->sin_port));
    } else if (storage->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = sockaddr;

        /* An IPv4 peer of a dual-stack socket is shown as what it is. */
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof host);
            snprintf(out, PROA_ADDRESS_MAX, "%s:%u", host, ntohs(v6->sin6_port));
        } else {
            inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
            snprintf(out, PROA_ADDRESS_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
        }
    } else if (storage->ss_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path)) {
        snprintf(out, PROA_ADDRESS_MAX, "unix:%.*s", (int)sizeof(((struct sockaddr_un *)0)->sun_path),
                 ((const struct sockaddr_un *)sockaddr)->sun_path);
    } else {
        snprintf(out, PROA_ADDRESS_MAX, "unix:");
    }
}
