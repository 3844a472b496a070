/** Names to addresses, asynchronously, by c-ares: works in a static binary, reads /etc/hosts and
 *  /etc/resolv.conf (servers, search, ndots) as it finds them at each call. */
#ifndef PROA_NET_RESOLVE_H
#define PROA_NET_RESOLVE_H

#include <netinet/in.h>
#include <proa/error.h>
#include <proa/loop.h>

enum { RESOLVE_FAMILY_MAX = 8, RESOLVE_MAX = 2 * RESOLVE_FAMILY_MAX };

union net_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/** In the order in which they are to be tried: families take turns, IPv6 first (RFC 8305 section 4). */
struct net_addresses {
    uint32_t count;
    union net_address at[RESOLVE_MAX];
};

/** For tests; zero is the system's. */
struct resolve_options {
    const char *servers;     /* "127.0.0.1:5353", separated by commas */
    const char *resolv_conf; /* path */
    bool hosts_by_env;       /* CARES_HOSTS names the file of hosts */
};

/** May suspend. Real loops only. @returns 0 (at least one address), PROA_EUNAVAILABLE when there is no
 *  such name or no server answers, PROA_EINVAL when it cannot be a name, PROA_ETIMEDOUT, the cause. */
PROA_MUST_USE int resolve_name(struct proa_loop *loop, const char *host, uint16_t port,
                               const struct resolve_options *options, struct net_addresses *ret_addresses,
                               struct proa_error *err);

/** Races the addresses of `address`, which only stands in errors (connect.c). May suspend. @returns a
 *  connected, non-blocking descriptor or an error. */
PROA_MUST_USE int connect_any(struct proa_loop *loop, const char *address, const struct net_addresses *addresses,
                              struct proa_error *err);

#endif
