/* Listeners: one loop accepts and gives each connection to the loop that has the fewest. */
#include "stream_internal.h"

#include <errno.h>
#include <netinet/in.h>
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
    OUT_OF_DESCRIPTORS_MS = 100,
};

static uint32_t loops_count(const struct proa_listener *listener)
{
    return listener->options.loops ? listener->options.loops_count : 1;
}

static struct proa_loop *loop_at(const struct proa_listener *listener, uint32_t index)
{
    return listener->options.loops ? listener->options.loops[index] : listener->loop;
}

static uint32_t least_loaded(const struct proa_listener *listener)
{
    uint32_t best = 0, best_open = UINT32_MAX;

    for (uint32_t i = 0; i < loops_count(listener); i++) {
        uint32_t open = atomic_load_explicit(&listener->open[i], memory_order_relaxed);

        if (open < best_open) {
            best = i;
            best_open = open;
        }
    }
    return best;
}

/* A descriptor on its way to another loop. */
struct handover {
    struct proa_task task;
    struct proa_listener *listener;
    uint32_t index;
    int fd;
};

static void receive(struct proa_listener *listener, uint32_t index, int fd)
{
    struct proa_loop *loop = loop_at(listener, index);
    struct proa_stream *stream;

    if (stream_from_fd(loop, fd, listener->is_unix, &stream) < 0)
        atomic_fetch_sub_explicit(&listener->open[index], 1, memory_order_relaxed);
    else
        listener->options.accepted(listener->options.arg, loop, stream);
}

static void handed_over(struct proa_task *task)
{
    struct handover *handover = PROA_CONTAINER(task, struct handover, task);

    receive(handover->listener, handover->index, handover->fd);
    free(handover);
}

static void hand_out(struct proa_listener *listener, int fd)
{
    uint32_t index = least_loaded(listener);
    struct proa_loop *loop = loop_at(listener, index);
    struct handover *handover;

    atomic_fetch_add_explicit(&listener->open[index], 1, memory_order_relaxed);
    if (loop == listener->loop) {
        receive(listener, index, fd);
        return;
    }
    handover = malloc(sizeof *handover);
    if (!handover) {
        atomic_fetch_sub_explicit(&listener->open[index], 1, memory_order_relaxed);
        close(fd);
        return;
    }
    *handover = (struct handover){{.run = handed_over}, listener, index, fd};
    proa_loop_post(loop, &handover->task);
}

void listener_hand_out(struct proa_listener *listener, struct proa_stream *stream)
{
    atomic_fetch_add_explicit(&listener->open[0], 1, memory_order_relaxed);
    listener->options.accepted(listener->options.arg, listener->loop, stream);
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
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        /* Descriptors or memory are out: looking again at once would only spin. */
        atomic_fetch_add_explicit(&listener->accept_failures, 1, memory_order_relaxed);
        proa_ignore(proa_fd_watch_set(listener->watch, 0));
        proa_ignore(proa_timer_start(&listener->retry, proa_loop_now(listener->loop) + PROA_MS(OUT_OF_DESCRIPTORS_MS)));
        return false;
    case EAGAIN: return false;
    default: return true; /* that connection is gone already */
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

    if (listener->watch)
        proa_ignore(proa_fd_watch_set(listener->watch, PROA_READABLE));
}

/* A socket file that nobody listens on is a leftover of a process that died. */
static void free_stale_path(const struct sockaddr_un *un, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat facts;

    if (fd < 0)
        return;
    if (lstat(un->sun_path, &facts) == 0 && S_ISSOCK(facts.st_mode) &&
        connect(fd, (const struct sockaddr *)un, len) < 0 && errno == ECONNREFUSED)
        unlink(un->sun_path);
    close(fd);
}

static int bind_and_listen(struct proa_listener *listener, struct proa_error *err)
{
    struct sockaddr_storage storage;
    socklen_t len = 0;
    int on = 1;

    PROA_TRY(address_parse(listener->options.address, &storage, &len, err));
    listener->is_unix = storage.ss_family == AF_UNIX;
    if (listener->is_unix && listener->options.free_unix_path)
        free_stale_path((struct sockaddr_un *)&storage, len);
    listener->fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd < 0)
        return proa_fail_errno(err, errno, "a socket for %s", listener->options.address);
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener->fd, (struct sockaddr *)&storage, len) < 0 ||
        listen(listener->fd, (int)(listener->options.backlog ? listener->options.backlog : BACKLOG_DEFAULT)) < 0)
        return proa_fail_errno(err, errno, "listening on %s", listener->options.address);
    len = sizeof storage;
    getsockname(listener->fd, (struct sockaddr *)&storage, &len);
    address_text(&storage, len, listener->address);
    return 0;
}

static int open_real(struct proa_listener *listener, struct proa_error *err)
{
    PROA_TRY(bind_and_listen(listener, err));
    PROA_TRY(proa_fd_watch_new(listener->loop, listener->fd, ready, listener, &listener->watch));
    return proa_fd_watch_set(listener->watch, PROA_READABLE);
}

int proa_listener_open(struct proa_loop *loop, const struct proa_listener_options *options,
                       struct proa_listener **ret_listener, struct proa_error *err)
{
    uint32_t count = options->loops ? options->loops_count : 1;
    struct proa_listener *listener = calloc(1, sizeof *listener + count * sizeof listener->open[0]);
    const struct net_ops *simulated = loop->net_ops;
    int rc;

    if (!listener)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    listener->options = *options;
    listener->loop = loop;
    listener->fd = -1;
    proa_timer_init(&listener->retry, loop, retry);
    if (simulated) {
        listener->simulated = true;
        snprintf(listener->address, sizeof listener->address, "%s", options->address);
        rc = simulated->listen(loop, listener, options->address, err);
    } else {
        rc = open_real(listener, err);
    }
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
    for (uint32_t i = 0; i < loops_count(listener); i++)
        if (loop_at(listener, i) == loop)
            atomic_fetch_sub_explicit(&listener->open[i], 1, memory_order_relaxed);
}

uint64_t proa_listener_accept_failures(const struct proa_listener *listener)
{
    return atomic_load_explicit(&listener->accept_failures, memory_order_relaxed);
}

static void close_socket(struct proa_listener *listener)
{
    if (listener->simulated && listener->simulation)
        ((const struct net_ops *)listener->loop->net_ops)->listener_close(listener);
    listener->simulation = NULL;
    proa_timer_stop(&listener->retry);
    proa_fd_watch_free(listener->watch);
    listener->watch = NULL;
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->fd >= 0 && listener->is_unix && listener->options.free_unix_path)
        unlink(listener->address + strlen("unix:"));
    listener->fd = -1;
}

void proa_listener_drain_close(struct proa_listener *listener)
{
    loop_assert_here(listener->loop);
    while (listener->fd >= 0 && accept_one(listener))
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
