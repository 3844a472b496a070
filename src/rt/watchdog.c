/* A thread that looks at the loops: one that has been in the same fiber for long is stalled. It wakes nobody. */
#include <proa/loops.h>

#include "loop_internal.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum { STALL_MS_DEFAULT = 100, STACK_BYTES = 128 * 1024 };

struct seen {
    uint64_t entered;
    uint64_t since_ms;
    bool running;
    bool told;
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

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void look(struct proa_watchdog *dog, uint32_t index, uint64_t now)
{
    struct proa_loop *loop = proa_loops_at(dog->loops, index);
    struct seen *seen = &dog->seen[index];
    const char *name = atomic_load_explicit(&loop->running_name, memory_order_relaxed);
    uint64_t entered = atomic_load_explicit(&loop->entered, memory_order_relaxed);
    uint64_t held;

    if (name && seen->running && entered == seen->entered) {
        held = now - seen->since_ms;
        if (!seen->told && held >= dog->options.stall_ms) {
            seen->told = true;
            seen->name = name;
            dog->options.stalled(dog->options.arg, proa_loop_name(loop), name, (uint32_t)held, false);
        }
        return;
    }
    if (seen->told)
        dog->options.stalled(dog->options.arg, proa_loop_name(loop), seen->name, (uint32_t)(now - seen->since_ms), true);
    *seen = (struct seen){.entered = entered, .since_ms = now, .running = name != NULL};
}

static void *watch(void *arg)
{
    struct proa_watchdog *dog = arg;

    pthread_mutex_lock(&dog->mutex);
    while (!dog->stopping) {
        struct timespec until;
        uint64_t period_ns = (uint64_t)dog->options.stall_ms * 1000000 / 2;
        uint64_t now = now_ms();

        for (uint32_t i = 0; i < proa_loops_count(dog->loops); i++)
            look(dog, i, now);
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
