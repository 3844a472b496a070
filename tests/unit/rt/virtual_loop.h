/** A loop in virtual time for the tests of rt itself: time moves only when nothing is ready, and then
 *  straight to the next timer. What is above rt uses proa/sim.h, which has a network too. */
#ifndef PROA_TESTS_VIRTUAL_LOOP_H
#define PROA_TESTS_VIRTUAL_LOOP_H

#include "unit.h"

#include "rt/loop_internal.h"
#include <stdlib.h>

struct virtual_loop {
    struct proa_loop loop;
    proa_mono_ns now;
};

static proa_mono_ns virtual_now(struct proa_loop *loop)
{
    return ((struct virtual_loop *)loop->backend)->now;
}

static proa_time_ns virtual_wall(struct proa_loop *loop)
{
    return (proa_time_ns)virtual_now(loop);
}

static void virtual_random(struct proa_loop *loop, void *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)out)[i] = (unsigned char)(i + 1);
}

static bool virtual_poll(struct proa_loop *loop, proa_mono_ns wake_at)
{
    struct virtual_loop *own = loop->backend;

    if (wake_at == PROA_NEVER)
        return false;
    if (wake_at > own->now)
        own->now = wake_at;
    return true;
}

static void virtual_wake(struct proa_loop *loop)
{
}

static int virtual_blocking(struct proa_loop *loop, struct proa_work *work)
{
    work_run(work);
    work_finished(work);
    return 0;
}

static void virtual_drop(struct proa_work *work)
{
}

static void virtual_free(struct proa_loop *loop)
{
    loop_done(loop);
    free(loop->backend);
}

static const struct proa_backend_ops virtual_ops = {
    .now = virtual_now,
    .wall = virtual_wall,
    .random = virtual_random,
    .poll = virtual_poll,
    .wake = virtual_wake,
    .blocking = virtual_blocking,
    .blocking_drop = virtual_drop,
    .free = virtual_free,
};

static inline struct proa_loop *virtual_loop_new(const struct proa_loop_options *options)
{
    struct virtual_loop *own = calloc(1, sizeof *own);

    assert_non_null(own);
    own->now = PROA_SECONDS(1000);
    assert_int_equal(loop_init(&own->loop, options, &virtual_ops, own), 0);
    return &own->loop;
}

/** Runs a body in a fiber of a fresh loop, to which *ret_loop points meanwhile, until nothing is left. */
static inline int virtual_run(struct proa_loop **ret_loop, proa_fiber_fn *body, void *arg)
{
    int rc;

    *ret_loop = virtual_loop_new(NULL);
    assert_int_equal(proa_loop_start_fiber(*ret_loop, NULL, body, arg), 0);
    rc = proa_loop_run(*ret_loop);
    assert_int_equal(proa_loop_fibers(*ret_loop, NULL), 0);
    proa_loop_free(*ret_loop);
    *ret_loop = NULL;
    return rc;
}

#endif
