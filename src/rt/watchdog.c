/* A thread that looks at the loops: one whose turn began long ago and has not come back to its poll is
 * stalled. It wakes nobody; a loop only writes down when its turn began and which fiber it runs. */
#include <proa/loops.h>

#include "loop_internal.h"
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum { STALL_MS_DEFAULT = 100, STACK_BYTES = 128 * 1024 };

/* The stall that was told of a loop; since 0: none. */
struct seen {
    proa_mono_ns since;
    const char *name;
};

struct proa_watchdog {
    struct proa_loops *loops;
    struct proa_watchdog_options options;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stopping;
    struct seen seen[];
};

static uint32_t ms_between(proa_mono_ns from, proa_mono_ns to)
{
    return to > from ? (uint32_t)((to - from) / 1000000) : 0;
}

static void look(struct proa_watchdog *dog, uint32_t index)
{
    struct proa_loop *loop = proa_loops_at(dog->loops, index);
    struct seen *seen = &dog->seen[index];
    const char *name = atomic_load_explicit(&loop->running_name, memory_order_relaxed);
    proa_mono_ns since = atomic_load_explicit(&loop->busy_since, memory_order_relaxed);
    proa_mono_ns now = loop->ops->now(loop);

    if (seen->since && since != seen->since) {
        /* The next turn's beginning, when there is one, is nearer to the end than this moment. */
        proa_mono_ns end = since > seen->since ? since : now;

        dog->options.stalled(dog->options.arg, proa_loop_name(loop), seen->name, ms_between(seen->since, end), true);
        *seen = (struct seen){0};
    }
    if (seen->since || !since || ms_between(since, now) < dog->options.stall_ms)
        return;
    *seen = (struct seen){since, name ? name : "callback"};
    dog->options.stalled(dog->options.arg, proa_loop_name(loop), seen->name, ms_between(since, now), false);
}

static void *watch(void *arg)
{
    struct proa_watchdog *dog = arg;

    pthread_mutex_lock(&dog->mutex);
    while (!dog->stopping) {
        struct timespec until;
        uint64_t period_ns = (uint64_t)dog->options.stall_ms * 1000000 / 2;

        for (uint32_t i = 0; i < proa_loops_count(dog->loops); i++)
            look(dog, i);
        clock_gettime(CLOCK_MONOTONIC, &until);
        period_ns += (uint64_t)until.tv_nsec;
        until.tv_sec += (time_t)(period_ns / 1000000000);
        until.tv_nsec = (long)(period_ns % 1000000000);
        pthread_cond_timedwait(&dog->wake, &dog->mutex, &until);
    }
    pthread_mutex_unlock(&dog->mutex);
    return NULL;
}

int proa_watchdog_start(struct proa_loops *loops, const struct proa_watchdog_options *options,
                        struct proa_watchdog **ret_watchdog)
{
    struct proa_watchdog *dog = calloc(1, sizeof *dog + proa_loops_count(loops) * sizeof dog->seen[0]);
    pthread_condattr_t monotonic;
    pthread_attr_t attributes;
    sigset_t all, old;
    int rc;

    if (!dog)
        return PROA_ENOMEM;
    dog->loops = loops;
    dog->options = *options;
    if (!dog->options.stall_ms)
        dog->options.stall_ms = STALL_MS_DEFAULT;
    pthread_mutex_init(&dog->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&dog->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = pthread_create(&dog->thread, &attributes, watch, dog);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    if (rc) {
        pthread_cond_destroy(&dog->wake);
        pthread_mutex_destroy(&dog->mutex);
        free(dog);
        return proa_code_from_errno(-rc);
    }
    *ret_watchdog = dog;
    return 0;
}

void proa_watchdog_stop(struct proa_watchdog *dog)
{
    if (!dog)
        return;
    pthread_mutex_lock(&dog->mutex);
    dog->stopping = true;
    pthread_cond_signal(&dog->wake);
    pthread_mutex_unlock(&dog->mutex);
    pthread_join(dog->thread, NULL);
    pthread_cond_destroy(&dog->wake);
    pthread_mutex_destroy(&dog->mutex);
    free(dog);
}
