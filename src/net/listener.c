/* Listeners: one loop accepts and gives each connection to the loop that has the fewest.
 *
 * One accepting loop and not one socket a loop (SO_REUSEPORT), because there the kernel spreads connections
 * by a hash of their addresses, which is uneven for the few hundred lasting connections of a service, and
 * because what waits in such a socket's queue is lost when it is closed before the others. A connection costs
 * its receiving loop one message; keep-alive makes that rare beside its requests.
 */
#include "stream_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG_DEFAULT = 1024,
    ACCEPTS_A_TURN = 64, /* so that a flood of connections does not starve the others */
    PAUSE_MS = 100,      /* when descriptors are out */
};

/* Equal loads go round, so that short connections, which are never open together, are spread too. */
static uint32_t least_loaded(struct proa_listener *listener)
{
    uint32_t best = 0, best_open = UINT32_MAX;

    for (uint32_t i = 0; i < listener->shares_count; i++) {
        uint32_t index = (listener->next_share + i) % listener->shares_count;
        uint32_t open = atomic_load_explicit(&listener->shares[index].open, memory_order_relaxed);

        if (open < best_open) {
            best = index;
            best_open = open;
        }
    }
    listener->next_share = best + 1;
    return best;
}

/* A descriptor on its way to another loop. */
struct handover {
    struct proa_task task;
    struct proa_listener *listener;
    struct listener_share *share;
    int fd;
};

static void give_back(struct listener_share *share)
{
    atomic_fetch_sub_explicit(&share->open, 1, memory_order_release);
}

/* On the share's loop. */
static void receive(struct proa_listener *listener, struct listener_share *share, int fd)
{
    struct proa_stream *stream;

    if (stream_from_fd(share->loop, fd, &stream) < 0) {
        atomic_fetch_add_explicit(&listener->accept_failures, 1, memory_order_relaxed);
        give_back(share);
        return;
    }
    listener->options.accepted(listener->options.arg, share->loop, stream);
}

static void handed_over(struct proa_task *task)
{
    struct handover *handover = PROA_CONTAINER(task, struct handover, task);

    receive(handover->listener, handover->share, handover->fd);
    free(handover);
}

static void hand_out(struct proa_listener *listener, int fd)
{
    struct listener_share *share = &listener->shares[least_loaded(listener)];
    struct handover *handover;

    atomic_fetch_add_explicit(&share->open, 1, memory_order_relaxed);
    if (share->loop == listener->loop) {
        receive(listener, share, fd);
        return;
    }
    handover = malloc(sizeof *handover);
    if (!handover) {
        atomic_fetch_add_explicit(&listener->accept_failures, 1, memory_order_relaxed);
        give_back(share);
        close(fd);
        return;
    }
    *handover = (struct handover){{.run = handed_over}, listener, share, fd};
    proa_loop_post(share->loop, &handover->task);
}

void listener_hand_out(struct proa_listener *listener, struct proa_stream *stream)
{
    atomic_fetch_add_explicit(&listener->shares[0].open, 1, memory_order_relaxed);
    listener->options.accepted(listener->options.arg, listener->loop, stream);
}

static void pause_accepting(struct proa_listener *listener)
{
    atomic_fetch_add_explicit(&listener->accept_failures, 1, memory_order_relaxed);
    /* Without memory for the timer rather try again at once than never. */
    if (proa_timer_start(&listener->retry, proa_loop_now(listener->loop) + PROA_MS(PAUSE_MS)) == 0)
        proa_ignore(proa_fd_watch_set(listener->watch, 0));
}

/* @returns false when the kernel's queue is empty or nothing can be accepted now. */
static bool accept_one(struct proa_listener *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        hand_out(listener, fd);
        return true;
    }
    switch (errno) {
    case EAGAIN: return false;
    case EINTR:
    case ECONNABORTED:
    case EPERM: /* a firewall's no */
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH: return true; /* errors of that connection (accept(2)), which has gone */
    default:
        /* Descriptors or memory are out: looking again at once would only spin. */
        pause_accepting(listener);
        return false;
    }
}

static void ready(void *arg, int events)
{
    struct proa_listener *listener = arg;

    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && listener->fd >= 0 && accept_one(listener); i++)
        ;
}

static void retry(struct proa_timer *timer)
{
    struct proa_listener *listener = PROA_CONTAINER(timer, struct proa_listener, retry);

    proa_ignore(proa_fd_watch_set(listener->watch, PROA_READABLE));
}

/* A socket file that nobody listens on is a leftover of a process that died. */
static void free_stale_path(const struct sockaddr_un *un, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct stat facts;

    if (fd < 0)
        return;
    if (lstat(un->sun_path, &facts) == 0 && S_ISSOCK(facts.st_mode) &&
        connect(fd, (const struct sockaddr *)un, len) < 0 && errno == ECONNREFUSED)
        unlink(un->sun_path);
    close(fd);
}

static void set_options(int fd, int family)
{
    int on = 1, off = 0;

    if (family == AF_UNIX)
        return;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* Inherited by what is accepted. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
}

static int bind_and_listen(struct proa_listener *listener, const char *address, struct proa_error *err)
{
    struct sockaddr_storage storage;
    socklen_t len = 0;
    int backlog = listener->options.backlog ? (int)listener->options.backlog : BACKLOG_DEFAULT;

    PROA_TRY(address_parse(address, &storage, &len, err));
    if (storage.ss_family == AF_UNIX && listener->options.free_unix_path)
        free_stale_path((struct sockaddr_un *)&storage, len);
    listener->fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd < 0)
        return proa_fail_errno(err, errno, "a socket for %s", address);
    set_options(listener->fd, storage.ss_family);
    if (bind(listener->fd, (struct sockaddr *)&storage, len) < 0)
        return proa_fail_errno(err, errno, "listening on %s", address);
    listener->has_path = storage.ss_family == AF_UNIX;
    if (listen(listener->fd, backlog) < 0)
        return proa_fail_errno(err, errno, "listening on %s", address);
    len = sizeof storage;
    getsockname(listener->fd, (struct sockaddr *)&storage, &len);
    address_text(&storage, len, listener->address);
    return 0;
}

static int open_real(struct proa_listener *listener, const char *address, struct proa_error *err)
{
    int rc;

    PROA_TRY(bind_and_listen(listener, address, err));
    rc = proa_fd_watch_new(listener->loop, listener->fd, ready, listener, &listener->watch);
    if (rc == 0)
        rc = proa_fd_watch_set(listener->watch, PROA_READABLE);
    return rc < 0 ? proa_fail(err, rc, "listening on %s: the socket cannot be watched", address) : 0;
}

static struct proa_listener *listener_new(struct proa_loop *loop, const struct proa_listener_options *options)
{
    uint32_t count = options->loops ? options->loops_count : 1;
    struct proa_listener *listener = calloc(1, sizeof *listener + count * sizeof listener->shares[0]);

    assert(count > 0 && count <= PROA_LOOPS_MAX);
    if (!listener)
        return NULL;
    listener->options = *options;
    listener->loop = loop;
    listener->fd = -1;
    listener->shares_count = count;
    for (uint32_t i = 0; i < count; i++)
        listener->shares[i].loop = options->loops ? options->loops[i] : loop;
    proa_timer_init(&listener->retry, loop, retry);
    return listener;
}

int proa_listener_open(struct proa_loop *loop, const struct proa_listener_options *options,
                       struct proa_listener **ret_listener, struct proa_error *err)
{
    const struct net_ops *simulated = loop->net_ops;
    struct proa_listener *listener;
    int rc;

    loop_assert_here(loop);
    listener = listener_new(loop, options);
    if (!listener)
        return proa_fail(err, PROA_ENOMEM, "listening on %s: memory is out", options->address);
    if (simulated)
        rc = simulated->listen(loop, listener, options->address, err);
    else
        rc = open_real(listener, options->address, err);
    if (rc < 0) {
        proa_listener_free(listener);
        return rc;
    }
    *ret_listener = listener;
    return 0;
}

void proa_listener_address(const struct proa_listener *listener, char *out)
{
    memcpy(out, listener->address, PROA_ADDRESS_MAX);
}

void proa_listener_released(struct proa_listener *listener, struct proa_loop *loop)
{
    for (uint32_t i = 0; i < listener->shares_count; i++) {
        if (listener->shares[i].loop == loop) {
            give_back(&listener->shares[i]);
            return;
        }
    }
    assert(!"a loop that this listener gives nothing to");
}

uint64_t proa_listener_accept_failures(const struct proa_listener *listener)
{
    return atomic_load_explicit(&listener->accept_failures, memory_order_relaxed);
}

static void close_socket(struct proa_listener *listener)
{
    if (listener->simulation)
        ((const struct net_ops *)listener->loop->net_ops)->listener_close(listener);
    listener->simulation = NULL;
    proa_timer_stop(&listener->retry);
    proa_fd_watch_free(listener->watch);
    listener->watch = NULL;
    if (listener->fd < 0)
        return;
    close(listener->fd);
    listener->fd = -1;
    if (listener->has_path && listener->options.free_unix_path)
        unlink(listener->address + strlen("unix:"));
}

void proa_listener_drain_close(struct proa_listener *listener)
{
    /* The kernel holds one more than the backlog. Who floods us does not keep us here. */
    uint32_t most = (listener->options.backlog ? listener->options.backlog : BACKLOG_DEFAULT) + 1;

    loop_assert_here(listener->loop);
    for (uint32_t i = 0; i < most && listener->fd >= 0 && accept_one(listener); i++)
        ;
    close_socket(listener);
}

void proa_listener_free(struct proa_listener *listener)
{
    if (!listener)
        return;
    close_socket(listener);
    free(listener);
}
