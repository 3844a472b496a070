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

static const struct proa_backend_ops uv_ops;

uv_loop_t *loop_uv(const struct proa_loop *loop)
{
    return loop->ops == &uv_ops ? &backend_of(loop)->uv : NULL;
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The clock of uv_hrtime, read several times a request: without the way through libuv. */
static proa_mono_ns backend_now(struct proa_loop *loop)
{
    (void)loop;
    return read_clock(CLOCK_MONOTONIC);
}

static proa_time_ns backend_wall(struct proa_loop *loop)
{
    (void)loop;
    return (proa_time_ns)read_clock(CLOCK_REALTIME);
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
    /* libuv looks at its timers once before it waits, and would now wait without any. */
    uv_stop(&backend->uv);
}

static void arm(struct uv_backend *backend, proa_mono_ns wake_at)
{
    proa_mono_ns now;

    if (wake_at == backend->timer_at)
        return;
    backend->timer_at = wake_at;
    if (wake_at == PROA_NEVER) {
        uv_timer_stop(&backend->timer);
        return;
    }
    now = uv_hrtime();
    uv_update_time(&backend->uv);
    uv_timer_start(&backend->timer, timer_fired, wake_at > now ? (wake_at - now + 999999) / 1000000 : 0, 0);
}

static bool backend_poll(struct proa_loop *loop, proa_mono_ns wake_at)
{
    struct uv_backend *backend = backend_of(loop);

    if (wake_at <= loop->now) {
        uv_run(&backend->uv, UV_RUN_NOWAIT);
        return true;
    }
    arm(backend, wake_at);
    uv_run(&backend->uv, UV_RUN_ONCE);
    return true;
}

/* Blocking work. */
static void pool_run(uv_work_t *req)
{
    work_run(req->data);
}

static void pool_done(uv_work_t *req, int status)
{
    (void)status;
    work_finished(req->data);
}

static int backend_blocking(struct proa_loop *loop, struct proa_work *work)
{
    uv_work_t *req = (uv_work_t *)(void *)work->backend;
    _Static_assert(sizeof(uv_work_t) <= sizeof work->backend, "room for libuv's request");

    req->data = work;
    return uv_queue_work(loop_uv(loop), req, pool_run, pool_done) < 0 ? PROA_EIO : 0;
}

static void backend_blocking_drop(struct proa_work *work)
{
    uv_cancel((uv_req_t *)(void *)work->backend);
}

void proa_blocking_end(void)
{
    uv_library_shutdown();
}

/* libuv gives new descriptors to the kernel, and closes handles, in its next run only: until then an
 * outer loop would wait on uv_backend_fd in vain. uv_backend_timeout knows of both. */
static bool backend_is_busy(const struct proa_loop *loop)
{
    return uv_backend_timeout(loop_uv(loop)) == 0;
}

/* Runs what closing handles still have to do. @returns false when something was left open. */
static bool run_to_end(uv_loop_t *uv)
{
    enum { ROUNDS_MAX = 16 };

    for (int i = 0; i < ROUNDS_MAX; i++)
        if (!uv_run(uv, UV_RUN_NOWAIT))
            return true;
    return false;
}

static void backend_free(struct proa_loop *loop)
{
    struct uv_backend *backend = backend_of(loop);
    bool ended;

    loop_assert_here(loop);
    uv_close((uv_handle_t *)&backend->async, NULL);
    uv_close((uv_handle_t *)&backend->timer, NULL);
    ended = run_to_end(&backend->uv);
    assert(ended && "a stream, watch or signal of this loop was left open");
    loop_done(loop);
    ended = uv_loop_close(&backend->uv) == 0 && ended;
    assert(ended && "a stream, watch or signal of this loop was left open");
    if (ended) /* else rather a leak than memory that is still used */
        free(backend);
}

static const struct proa_backend_ops uv_ops = {
    .now = backend_now,
    .wall = backend_wall,
    .random = backend_random,
    .poll = backend_poll,
    .wake = backend_wake,
    .blocking = backend_blocking,
    .blocking_drop = backend_blocking_drop,
    .is_busy = backend_is_busy,
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
