/* Waiting for descriptors of other libraries, on libuv's poll handles. */
#include "loop_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

struct proa_fd_watch {
    uv_poll_t poll;
    struct proa_loop *loop;
    void (*ready)(void *arg, int events);
    void *arg;
    int wanted; /* libuv's events */
};

static void watch_ready(uv_poll_t *poll, int status, int events)
{
    struct proa_fd_watch *watch = poll->data;
    int seen = 0;

    (void)loop_now(watch->loop); /* the loop waits no more, for the watchdog */

    /* An error is told as both, so that the next read or write meets it. libuv has stopped the watch then; but what
     * came before the error may be read first, so the owner must be called again until it has met the end. */
    if (status < 0) {
        seen = PROA_READABLE | PROA_WRITABLE;
        (void)uv_poll_start(poll, watch->wanted, watch_ready);
    }
    if (events & (UV_READABLE | UV_DISCONNECT))
        seen |= PROA_READABLE;
    if (events & UV_WRITABLE)
        seen |= PROA_WRITABLE;
    watch->ready(watch->arg, seen);
}

int proa_fd_watch_new(struct proa_loop *loop, int fd, void (*ready)(void *arg, int events), void *arg,
                      struct proa_fd_watch **ret_watch)
{
    struct proa_fd_watch *watch = NULL;
    int rc;

    loop_assert_here(loop);
    if (!loop_uv(loop))
        return PROA_EUNSUPPORTED;
    watch = calloc(1, sizeof *watch);
    if (!watch)
        return PROA_ENOMEM;
    watch->loop = loop;
    watch->ready = ready;
    watch->arg = arg;
    rc = uv_poll_init(loop_uv(loop), &watch->poll, fd);
    if (rc < 0) {
        free(watch);
        return proa_code_from_errno(rc);
    }
    watch->poll.data = watch;
    loop_hold(loop);
    *ret_watch = watch;
    return 0;
}

int proa_fd_watch_set(struct proa_fd_watch *watch, int events)
{
    int wanted = (events & PROA_READABLE ? UV_READABLE : 0) | (events & PROA_WRITABLE ? UV_WRITABLE : 0);
    int rc;

    loop_assert_here(watch->loop);
    watch->wanted = wanted;
    rc = wanted ? uv_poll_start(&watch->poll, wanted, watch_ready) : uv_poll_stop(&watch->poll);
    return rc < 0 ? proa_code_from_errno(rc) : 0;
}

static void watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void proa_fd_watch_free(struct proa_fd_watch *watch)
{
    if (!watch)
        return;
    loop_assert_here(watch->loop);
    loop_release(watch->loop);
    uv_close((uv_handle_t *)&watch->poll, watch_closed);
}

struct fd_wait {
    struct proa_waiter waiter;
    int events;
};

static void fd_ready(void *arg, int events)
{
    struct fd_wait *wait = arg;

    wait->events = events;
    proa_unpark(&wait->waiter, 0);
}

int proa_wait_fd(struct proa_loop *loop, int fd, int events, int *ret_events)
{
    struct proa_fd_watch *watch = NULL;
    struct fd_wait wait = {0};
    int rc;

    proa_waiter_init(&wait.waiter, loop);
    PROA_TRY(proa_fd_watch_new(loop, fd, fd_ready, &wait, &watch));
    assert(watch);
    rc = proa_fd_watch_set(watch, events);
    if (rc == 0)
        rc = proa_park(&wait.waiter);
    proa_fd_watch_free(watch);
    if (rc == 0 && ret_events)
        *ret_events = wait.events & events ? wait.events & events : wait.events;
    return rc;
}
