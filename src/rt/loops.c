/* Several loops, one a thread. */
#include <proa/loops.h>

#include "loop_internal.h"
#include "stack_guard.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

enum { THREAD_STACK_BYTES = 256 * 1024 };

struct slot {
    struct proa_loop *loop;
    struct proa_task stop;
    pthread_t thread;
    bool started;
    int rc;
};

struct proa_loops {
    uint32_t count;
    struct slot slots[];
};

int proa_loops_new(uint32_t count, const struct proa_loop_options *options, struct proa_loops **ret_loops,
                   struct proa_error *err)
{
    struct proa_loops *loops;

    if (count == 0) {
        struct proa_host host;

        proa_host_read(NULL, &host);
        count = host.loops;
    }
    if (count > PROA_LOOPS_MAX)
        return proa_fail(err, PROA_EINVAL, "%u loops are more than %d", count, PROA_LOOPS_MAX);
    loops = calloc(1, sizeof *loops + count * sizeof loops->slots[0]);
    if (!loops)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    for (uint32_t i = 0; i < count; i++) {
        int rc = proa_loop_new(options, &loops->slots[i].loop);

        if (rc < 0) {
            proa_loops_free(loops);
            return proa_fail(err, rc, "event loop %u could not be made (descriptors or memory are out)", i);
        }
        loops->slots[i].loop->index = i;
        loops->count = i + 1;
    }
    *ret_loops = loops;
    return 0;
}

void proa_loops_free(struct proa_loops *loops)
{
    if (!loops)
        return;
    for (uint32_t i = 0; i < loops->count; i++)
        proa_loop_free(loops->slots[i].loop);
    free(loops);
}

uint32_t proa_loops_count(const struct proa_loops *loops)
{
    return loops->count;
}

struct proa_loop *proa_loops_at(const struct proa_loops *loops, uint32_t index)
{
    assert(index < loops->count);
    return loops->slots[index].loop;
}

/* The other loops must not end because they have nothing to do yet: they are held until they are stopped. */
static void *thread_main(void *arg)
{
    struct slot *slot = arg;
    void *alternative = stack_guard_thread_enter();

    loop_hold(slot->loop);
    slot->rc = proa_loop_run(slot->loop);
    loop_release(slot->loop);
    stack_guard_thread_leave(alternative);
    return NULL;
}

static int start_threads(struct proa_loops *loops, struct proa_error *err)
{
    sigset_t all, old;
    pthread_attr_t attributes;
    int rc = 0;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    for (uint32_t i = 1; i < loops->count && rc == 0; i++) {
        rc = pthread_create(&loops->slots[i].thread, &attributes, thread_main, &loops->slots[i]);
        loops->slots[i].started = rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return rc ? proa_fail_errno(err, rc, "starting a thread for a loop") : 0;
}

static void stop_loop(struct proa_task *task)
{
    struct slot *slot = PROA_CONTAINER(task, struct slot, stop);

    proa_loop_stop(slot->loop);
}

int proa_loops_run(struct proa_loops *loops, struct proa_error *err)
{
    int rc = start_threads(loops, err);

    if (rc == 0)
        rc = proa_loop_run(loops->slots[0].loop);
    /* Loop 0 has ended: so do the others. */
    for (uint32_t i = 1; i < loops->count; i++) {
        struct slot *slot = &loops->slots[i];

        if (!slot->started)
            continue;
        slot->stop.run = stop_loop;
        proa_loop_post(slot->loop, &slot->stop);
        pthread_join(slot->thread, NULL);
        slot->started = false;
        if (rc == 0)
            rc = slot->rc;
    }
    return rc;
}

void proa_loops_stop(struct proa_loops *loops)
{
    loops->slots[0].stop.run = stop_loop;
    proa_loop_post(loops->slots[0].loop, &loops->slots[0].stop);
}
