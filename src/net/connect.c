/* Connecting from a fiber: names are resolved, and several addresses are raced (RFC 8305).
 *
 * The next address is tried when the one before has failed, or has not answered for 250 ms; the first that
 * connects wins and the others are closed.
 */
#include "resolve.h"
#include "stream_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ATTEMPT_DELAY_MS = 250, HOST_MAX = 256 };

/* One address being tried. */
struct attempt {
    struct race *race;
    struct proa_fd_watch *watch;
    int fd; /* -1: not tried, or failed */
    bool has_event;
};

/* On the stack of the fiber that waits. */
struct race {
    struct proa_loop *loop;
    const char *address; /* as it was asked for */
    struct proa_waiter *waiter;
    struct proa_timer next;
    const struct net_addresses *addresses;
    struct attempt attempts[RESOLVE_MAX];
    uint32_t begun, pending;
};

static void wake(struct race *race)
{
    if (race->waiter)
        proa_unpark(race->waiter, 0);
}

static void on_next(struct proa_timer *timer)
{
    wake(PROA_CONTAINER(timer, struct race, next));
}

static void on_event(void *arg, int events)
{
    struct attempt *attempt = arg;

    (void)events;
    attempt->has_event = true;
    proa_ignore(proa_fd_watch_set(attempt->watch, 0));
    wake(attempt->race);
}

static void give_up(struct attempt *attempt)
{
    proa_fd_watch_free(attempt->watch);
    attempt->watch = NULL;
    if (attempt->fd >= 0)
        close(attempt->fd);
    attempt->fd = -1;
}

/* Why an address failed, with the address where the caller gave a name. */
static int failed(const struct race *race, const union net_address *to, int os_errno, struct proa_error *err)
{
    char text[PROA_ADDRESS_MAX];

    address_text(to, sizeof *to, text);
    if (strcmp(text, race->address) == 0)
        return proa_fail_errno(err, os_errno, "connecting to %s", text);
    return proa_fail_errno(err, os_errno, "connecting to %s (%s)", race->address, text);
}

static int open_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

    if (fd >= 0 && family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* @returns 1 when connected, 0 when under way, or an error. */
static int begin(struct race *race, struct proa_error *err)
{
    struct attempt *attempt = &race->attempts[race->begun];
    const union net_address *to = &race->addresses->at[race->begun++];
    int rc;

    attempt->fd = open_socket(to->any.sa_family);
    if (attempt->fd < 0)
        return failed(race, to, errno, err);
    if (connect(attempt->fd, &to->any, to->any.sa_family == AF_INET ? sizeof to->v4 : sizeof to->v6) == 0)
        return 1;
    rc = errno == EINPROGRESS || errno == EINTR ? 0 : failed(race, to, errno, err);
    if (rc == 0) {
        rc = proa_fd_watch_new(race->loop, attempt->fd, on_event, attempt, &attempt->watch);
        if (rc == 0)
            rc = proa_fd_watch_set(attempt->watch, PROA_WRITABLE);
        if (rc < 0)
            rc = proa_fail(err, rc, "connecting to %s: the socket cannot be watched", race->address);
    }
    if (rc < 0) {
        give_up(attempt);
        return rc;
    }
    race->pending++;
    return 0;
}

/* Looks at what has happened. @returns like begin, for the attempts under way; *ret_winner with 1. */
static int look(struct race *race, uint32_t *ret_winner, struct proa_error *err)
{
    int rc = 0;

    for (uint32_t i = 0; i < race->begun; i++) {
        struct attempt *attempt = &race->attempts[i];
        int failure = 0;
        socklen_t len = sizeof failure;

        if (attempt->fd < 0 || !attempt->has_event)
            continue;
        if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0)
            failure = errno;
        if (failure == 0) {
            *ret_winner = i;
            return 1;
        }
        rc = failed(race, &race->addresses->at[i], failure, err);
        give_up(attempt);
        race->pending--;
    }
    return rc;
}

static int wait_for_event(struct race *race, struct proa_error *err)
{
    struct proa_waiter waiter;
    proa_mono_ns at = PROA_NEVER;
    int rc;

    if (race->begun < race->addresses->count)
        at = proa_loop_now_exact(race->loop) + PROA_MS(ATTEMPT_DELAY_MS);
    proa_waiter_init(&waiter, race->loop);
    race->waiter = &waiter;
    rc = proa_timer_start(&race->next, at);
    if (rc == 0)
        rc = proa_park(&waiter);
    race->waiter = NULL;
    proa_timer_stop(&race->next);
    if (rc < 0)
        return proa_fail(err, rc, "connecting to %s: %s", race->address,
                         rc == PROA_ETIMEDOUT ? "timed out" : "given up");
    return 0;
}

static int run_race(struct race *race, uint32_t *ret_winner, struct proa_error *err)
{
    int rc = -1;

    for (;;) {
        if (race->begun < race->addresses->count) {
            rc = begin(race, err);
            *ret_winner = race->begun - 1;
            if (rc > 0)
                return 0;
            if (rc < 0 && race->begun < race->addresses->count)
                continue;
        }
        if (race->pending == 0)
            return rc;
        PROA_TRY(wait_for_event(race, err));
        rc = look(race, ret_winner, err);
        if (rc > 0)
            return 0;
        if (race->pending == 0 && race->begun == race->addresses->count)
            return rc;
    }
}

int connect_any(struct proa_loop *loop, const char *address, const struct net_addresses *addresses,
                struct proa_error *err)
{
    struct race race = {.loop = loop, .address = address, .addresses = addresses};
    uint32_t winner = 0;
    int rc, fd = -1;

    proa_timer_init(&race.next, loop, on_next);
    for (uint32_t i = 0; i < RESOLVE_MAX; i++) {
        race.attempts[i].race = &race;
        race.attempts[i].fd = -1;
    }
    rc = run_race(&race, &winner, err);
    if (rc == 0) {
        fd = race.attempts[winner].fd;
        race.attempts[winner].fd = -1;
        proa_error_clear(err); /* of those that failed before */
    }
    for (uint32_t i = 0; i < race.begun; i++)
        give_up(&race.attempts[i]);
    return rc < 0 ? rc : fd;
}

/* Unix sockets connect at once or not at all. */
static int connect_unix(const char *address, const void *to, unsigned len, struct proa_error *err)
{
    int fd = open_socket(AF_UNIX), failure;

    if (fd < 0)
        return proa_fail_errno(err, errno, "a socket for %s", address);
    if (connect(fd, to, len) == 0)
        return fd;
    failure = errno;
    close(fd);
    if (failure == EAGAIN)
        return proa_fail(err, PROA_EUNAVAILABLE, "connecting to %s: its queue of connections is full", address);
    return proa_fail_errno(err, failure, "connecting to %s", address);
}

static int connect_name(struct proa_loop *loop, const char *address, struct proa_error *err)
{
    const char *colon = strrchr(address, ':'); /* address_parse has looked at the port */
    size_t len = (size_t)(colon - address);
    struct net_addresses addresses = {0};
    char host[HOST_MAX];
    uint64_t port = 0;

    if (len >= sizeof host || proa_str_to_u64(proa_str_c(colon + 1), &port) < 0)
        return proa_fail(err, PROA_EINVAL, "address \"%.128s\": the name is too long", address);
    memcpy(host, address, len);
    host[len] = '\0';
    PROA_TRY(resolve_name(loop, host, (uint16_t)port, NULL, &addresses, err));
    return connect_any(loop, address, &addresses, err);
}

static int connect_real(struct proa_loop *loop, const char *address, struct proa_error *err)
{
    struct sockaddr_storage storage;
    struct net_addresses addresses = {.count = 1};
    unsigned len;
    int rc = address_parse(address, &storage, &len, err);

    if (rc == PROA_EUNSUPPORTED) {
        proa_error_clear(err);
        return connect_name(loop, address, err);
    }
    PROA_TRY(rc);
    if (storage.ss_family == AF_UNIX)
        return connect_unix(address, &storage, len, err);
    memcpy(&addresses.at[0], &storage, sizeof addresses.at[0]);
    return connect_any(loop, address, &addresses, err);
}

int proa_connect(struct proa_loop *loop, const char *address, struct proa_stream **ret_stream, struct proa_error *err)
{
    const struct net_ops *simulated = loop->net_ops;
    int rc, fd;

    rc = fiber_struck(loop);
    if (rc < 0)
        return proa_fail(err, rc, "connecting to %s: given up", address);
    if (simulated)
        return simulated->connect(loop, address, ret_stream, err);
    fd = connect_real(loop, address, err);
    if (fd < 0)
        return fd;
    rc = stream_from_fd(loop, fd, ret_stream);
    return rc < 0 ? proa_fail(err, rc, "connecting to %s: memory is out", address) : 0;
}
