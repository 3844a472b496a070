/* Several loops, one a thread.
 *
 * Loop 0 decides: while it runs the others are held, even with nothing to do. When it ends by itself
 * they are let go and end by themselves; proa_loops_stop stops all of them. */
#include <proa/loops.h>

#include "loop_internal.h"
#include "stack_guard.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREAD_STACK_BYTES = 256 * 1024 };

struct slot {
    struct proa_loop *loop;
    struct proa_task stop;
    struct proa_task let_go;
    pthread_t thread;
    bool started;
    bool is_held;
    int rc;
};

struct proa_loops {
    uint32_t count;
    _Atomic bool stopping; /* shared by all threads */
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

static void stop_loop(struct proa_task *task)
{
    proa_loop_stop(PROA_CONTAINER(task, struct slot, stop)->loop);
}

static void let_go(struct proa_task *task)
{
    struct slot *slot = PROA_CONTAINER(task, struct slot, let_go);

    loop_release(slot->loop);
    slot->is_held = false;
}

static void *thread_main(void *arg)
{
    enum { NAME_BYTES = 16 }; /* Linux's limit, with the NUL */
    struct slot *slot = arg;
    void *alternative = stack_guard_thread_enter();
    char name[NAME_BYTES];

    snprintf(name, sizeof name, "%.10s-%u", proa_loop_name(slot->loop), proa_loop_index(slot->loop));
    pthread_setname_np(pthread_self(), name);
    loop_hold(slot->loop);
    slot->is_held = true;
    slot->rc = proa_loop_run(slot->loop);
    loop_end_fibers(slot->loop);
    if (slot->is_held) {
        loop_release(slot->loop);
        slot->is_held = false;
    }
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

static void join(struct proa_loops *loops, int *rc)
{
    for (uint32_t i = 1; i < loops->count; i++) {
        struct slot *slot = &loops->slots[i];

        if (!slot->started)
            continue;
        pthread_join(slot->thread, NULL);
        slot->started = false;
        if (*rc == 0)
            *rc = slot->rc;
    }
}

int proa_loops_run(struct proa_loops *loops, struct proa_error *err)
{
    int rc = start_threads(loops, err);

    if (rc < 0) {
        proa_loops_stop(loops);
        join(loops, &rc);
        return rc;
    }
    rc = proa_loop_run(loops->slots[0].loop);
    loop_end_fibers(loops->slots[0].loop);
    for (uint32_t i = 1; i < loops->count; i++) {
        loops->slots[i].let_go.run = let_go;
        proa_loop_post(loops->slots[i].loop, &loops->slots[i].let_go);
    }
    join(loops, &rc);
    return rc < 0 ? proa_fail(err, rc, "an event loop ended with fibers that nothing can wake") : 0;
}

void proa_loops_stop(struct proa_loops *loops)
{
    if (atomic_exchange(&loops->stopping, true))
        return;
    for (uint32_t i = 0; i < loops->count; i++) {
        loops->slots[i].stop.run = stop_loop;
        proa_loop_post(loops->slots[i].loop, &loops->slots[i].stop);
    }
}

uint32_t proa_loops_held_ms(const struct proa_loops *loops)
{
    uint64_t longest = 0;

    for (uint32_t i = 0; i < loops->count; i++) {
        struct proa_loop *loop = loops->slots[i].loop;
        proa_mono_ns since = atomic_load_explicit(&loop->busy_since, memory_order_relaxed);
        proa_mono_ns now = loop->ops->now(loop);

        if (since && now > since && now - since > longest)
            longest = now - since;
    }
    longest /= 1000000;
    return longest > UINT32_MAX ? UINT32_MAX : (uint32_t)longest;
}
