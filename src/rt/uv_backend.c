/* The real loop, on libuv. One async handle keeps it from ending and wakes it; one timer bounds its wait. */
#include "loop_internal.h"

#include <stdlib.h>
#include <time.h>
#include <uv.h>

struct uv_backend {
    struct proa_loop loop;
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t timer;
    proa_mono_ns timer_at; /* what the timer is armed for; PROA_NEVER when it is not */
};

static struct uv_backend *backend_of(const struct proa_loop *loop)
{
    return loop->backend;
}

uv_loop_t *loop_uv(const struct proa_loop *loop)
{
    return &backend_of(loop)->uv;
}

static proa_mono_ns backend_now(struct proa_loop *loop)
{
    (void)loop;
    return uv_hrtime();
}

static proa_time_ns backend_wall(struct proa_loop *loop)
{
    struct timespec now;

    (void)loop;
    clock_gettime(CLOCK_REALTIME, &now);
    return (proa_time_ns)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void backend_random(struct proa_loop *loop, void *out, size_t bytes)
{
    (void)loop;
    proa_random_bytes(out, bytes);
}

static void woken(uv_async_t *async)
{
    (void)async; /* what was posted is run by the turn */
}

static void backend_wake(struct proa_loop *loop)
{
    uv_async_send(&backend_of(loop)->async);
}

static void timer_fired(uv_timer_t *timer)
{
    struct uv_backend *backend = timer->data;

    backend->timer_at = PROA_NEVER; /* due timers are fired by the turn */
}

static bool backend_poll(struct proa_loop *loop, proa_mono_ns wake_at)
{
    struct uv_backend *backend = backend_of(loop);

    if (wake_at == 0) {
        uv_run(&backend->uv, UV_RUN_NOWAIT);
        return true;
    }
    if (wake_at != backend->timer_at) {
        backend->timer_at = wake_at;
        if (wake_at == PROA_NEVER) {
            uv_timer_stop(&backend->timer);
        } else {
            uint64_t wait_ms = wake_at > loop->now ? (wake_at - loop->now + 999999) / 1000000 : 0;

            uv_update_time(&backend->uv);
            uv_timer_start(&backend->timer, timer_fired, wait_ms, 0);
        }
    }
    uv_run(&backend->uv, UV_RUN_ONCE);
    return true;
}

/* Blocking work. */
static void work_run(uv_work_t *req)
{
    struct proa_work *work = req->data;

    work->ran = true;
    work->fn(work->arg);
}

static void work_done(uv_work_t *req, int status)
{
    struct proa_work *work = req->data;

    (void)status;
    work->finished = true;
    proa_unpark(&work->waiter, 0);
}

static int backend_blocking(struct proa_loop *loop, struct proa_work *work)
{
    uv_work_t *req = (uv_work_t *)(void *)work->backend;
    _Static_assert(sizeof(uv_work_t) <= sizeof work->backend, "room for libuv's request");

    req->data = work;
    return uv_queue_work(loop_uv(loop), req, work_run, work_done) < 0 ? PROA_EIO : 0;
}

static bool backend_blocking_cancel(struct proa_work *work)
{
    return uv_cancel((uv_req_t *)(void *)work->backend) == 0;
}

static void backend_free(struct proa_loop *loop)
{
    struct uv_backend *backend = backend_of(loop);
    int rc;

    uv_close((uv_handle_t *)&backend->async, NULL);
    uv_close((uv_handle_t *)&backend->timer, NULL);
    uv_run(&backend->uv, UV_RUN_DEFAULT);
    loop_done(loop);
    rc = uv_loop_close(&backend->uv);
    assert(rc == 0);
    (void)rc;
    free(backend);
}

static const struct proa_backend_ops uv_ops = {
    .now = backend_now,
    .wall = backend_wall,
    .random = backend_random,
    .poll = backend_poll,
    .wake = backend_wake,
    .blocking = backend_blocking,
    .blocking_cancel = backend_blocking_cancel,
    .free = backend_free,
};

int proa_loop_new(const struct proa_loop_options *options, struct proa_loop **ret_loop)
{
    struct uv_backend *backend = calloc(1, sizeof *backend);

    if (!backend)
        return PROA_ENOMEM;
    if (uv_loop_init(&backend->uv) < 0) {
        free(backend);
        return PROA_EIO;
    }
    if (uv_async_init(&backend->uv, &backend->async, woken) < 0) {
        uv_loop_close(&backend->uv);
        free(backend);
        return PROA_EIO;
    }
    uv_timer_init(&backend->uv, &backend->timer);
    backend->timer.data = backend;
    backend->timer_at = PROA_NEVER;
    PROA_TRY(loop_init(&backend->loop, options, &uv_ops, backend));
    *ret_loop = &backend->loop;
    return 0;
}

int proa_loop_fd(const struct proa_loop *loop)
{
    return loop->ops == &uv_ops ? uv_backend_fd(loop_uv(loop)) : -1;
}
