/* The turn of a loop, and what does not depend on its implementation. */
#include "loop_internal.h"

#include <limits.h>
#include <malloc.h>
#include <stdlib.h>

enum {
    BLOCK_BYTES = 8192,
    BLOCKS_KEPT = 512,
    TRIMMED_BLOCKS = 4, /* of both so many that a program at rest works without malloc and mmap */
    TRIMMED_STACKS = 2,
    /* Fibers that wake each other, and flushes asked for after a flush, go on this often before the
     * loop looks for events again: a poll is a system call, and no round may wait for ever. */
    READY_ROUNDS_MAX = 16,
    FLUSH_ROUNDS_MAX = 4,
    STACK_BYTES_MIN = 16 * 1024,
};

int loop_init(struct proa_loop *loop, const struct proa_loop_options *options, const struct proa_backend_ops *ops,
              void *backend)
{
    uint64_t seed;

    if (options)
        loop->options = *options;
    if (!loop->options.fiber_stack_bytes)
        loop->options.fiber_stack_bytes = PROA_FIBER_STACK_DEFAULT_BYTES;
    if (loop->options.fiber_stack_bytes < STACK_BYTES_MIN)
        loop->options.fiber_stack_bytes = STACK_BYTES_MIN;
    if (!loop->options.fibers_max)
        loop->options.fibers_max = PROA_FIBERS_DEFAULT;
    if (!loop->options.stacks_kept)
        loop->options.stacks_kept = PROA_STACKS_KEPT_DEFAULT;
    loop->ops = ops;
    loop->backend = backend;
    loop->name = loop->options.name ? loop->options.name : "loop";
    loop->flushes_end = &loop->flushes;
    proa_list_init(&loop->ready);
    proa_list_init(&loop->yielded);
    proa_list_init(&loop->fibers);
    proa_list_init(&loop->free_fibers);
    proa_block_pool_init(&loop->blocks, BLOCK_BYTES, BLOCKS_KEPT);
    ops->random(loop, &seed, sizeof seed);
    proa_prng_seed(&loop->prng, seed);
    loop->now = ops->now(loop);
    loop->now_is_fresh = true;
    proa_group_init(&loop->root, loop);
    return 0;
}

void loop_done(struct proa_loop *loop)
{
    assert(loop->fibers_count == 0);
    assert(loop->held == 0);
    fibers_free_stacks(loop, 0);
    proa_block_pool_done(&loop->blocks);
    free(loop->timers.items);
    free(loop->read_buffer);
}

void proa_loop_free(struct proa_loop *loop)
{
    if (loop)
        loop->ops->free(loop);
}

static struct proa_task *take_posted(struct proa_loop *loop)
{
    struct proa_task *newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    struct proa_task *oldest = NULL;

    while (newest) {
        struct proa_task *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void run_posted(struct proa_loop *loop)
{
    struct proa_task *task;

    if (!atomic_load_explicit(&loop->posted, memory_order_relaxed))
        return;
    task = take_posted(loop);
    while (task) {
        struct proa_task *next = task->next;

        task->run(task);
        task = next;
    }
}

void proa_loop_post(struct proa_loop *loop, struct proa_task *task)
{
    struct proa_task *newest = atomic_load_explicit(&loop->posted, memory_order_relaxed);

    do
        task->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&loop->posted, &newest, task, memory_order_release,
                                                  memory_order_relaxed));
    /* Whoever found the list empty wakes the loop; the others' tasks are taken with it. */
    if (!newest)
        loop->ops->wake(loop);
}

void proa_loop_flush_later(struct proa_loop *loop, struct proa_flush *flush)
{
    loop_assert_here(loop);
    if (flush->queued)
        return;
    flush->queued = true;
    flush->next = NULL;
    *loop->flushes_end = flush;
    loop->flushes_end = &flush->next;
}

static void run_flushes(struct proa_loop *loop)
{
    struct proa_flush *flush = loop->flushes;

    loop->flushes = NULL;
    loop->flushes_end = &loop->flushes;
    while (flush) {
        struct proa_flush *next = flush->next;

        flush->queued = false;
        flush->run(flush);
        flush = next;
    }
}

static void run_ready_fibers(struct proa_loop *loop)
{
    for (int round = 0; !proa_list_empty(&loop->ready) && round < READY_ROUNDS_MAX; round++)
        fibers_run_ready(loop);
}

static void run_what_is_ready(struct proa_loop *loop)
{
    run_posted(loop);
    timers_fire(loop);
    fibers_ready_yielded(loop);
    run_ready_fibers(loop);
    for (int round = 0; loop->flushes && round < FLUSH_ROUNDS_MAX; round++) {
        run_flushes(loop);
        run_ready_fibers(loop);
    }
}

static bool is_alive(const struct proa_loop *loop)
{
    return loop->held || loop->fibers_count || loop->timers.len ||
           atomic_load_explicit(&loop->posted, memory_order_relaxed);
}

static bool must_not_wait(const struct proa_loop *loop)
{
    return !proa_list_empty(&loop->ready) || !proa_list_empty(&loop->yielded) || loop->flushes || loop->stopping ||
           atomic_load_explicit(&loop->posted, memory_order_relaxed);
}

static void take_thread(struct proa_loop *loop)
{
    assert(!loop->has_thread);
    loop->thread = pthread_self();
    loop->has_thread = true;
    loop->now_is_fresh = false;
}

static void give_up_thread(struct proa_loop *loop)
{
    loop->has_thread = false;
    atomic_store_explicit(&loop->busy_since, 0, memory_order_relaxed);
}

static void write_stats(struct proa_loop *loop)
{
    struct loop_stats *stats = &loop->stats;

    atomic_store_explicit(&stats->turns, ++loop->turns, memory_order_relaxed);
    atomic_store_explicit(&stats->blocking, loop->blocking, memory_order_relaxed);
    atomic_store_explicit(&stats->blocking_in_flight, loop->blocking_in_flight, memory_order_relaxed);
    atomic_store_explicit(&stats->fibers, loop->fibers_count, memory_order_relaxed);
    atomic_store_explicit(&stats->fibers_peak, loop->fibers_peak, memory_order_relaxed);
    atomic_store_explicit(&stats->stacks_kept, loop->free_fibers_count, memory_order_relaxed);
    atomic_store_explicit(&stats->timers, loop->timers.len, memory_order_relaxed);
    if (PROA_UNLIKELY(atomic_load_explicit(&stats->measures_stacks, memory_order_relaxed))) {
        size_t peak = fibers_stack_peak(loop);

        atomic_store_explicit(&stats->measures_stacks, false, memory_order_relaxed);
        if (peak > atomic_load_explicit(&stats->stack_peak_bytes, memory_order_relaxed))
            atomic_store_explicit(&stats->stack_peak_bytes, peak, memory_order_relaxed);
    }
}

void proa_loop_read_stats(struct proa_loop *loop, struct proa_loop_stats *ret_stats)
{
    struct loop_stats *stats = &loop->stats;

    *ret_stats = (struct proa_loop_stats){
        .turns = atomic_load_explicit(&stats->turns, memory_order_relaxed),
        .blocking = atomic_load_explicit(&stats->blocking, memory_order_relaxed),
        .blocking_in_flight = atomic_load_explicit(&stats->blocking_in_flight, memory_order_relaxed),
        .fibers = atomic_load_explicit(&stats->fibers, memory_order_relaxed),
        .fibers_peak = atomic_load_explicit(&stats->fibers_peak, memory_order_relaxed),
        .stacks_kept = atomic_load_explicit(&stats->stacks_kept, memory_order_relaxed),
        .timers = atomic_load_explicit(&stats->timers, memory_order_relaxed),
        .stack_bytes = loop->options.fiber_stack_bytes,
        .stack_peak_bytes = atomic_load_explicit(&stats->stack_peak_bytes, memory_order_relaxed),
    };
    atomic_store_explicit(&stats->measures_stacks, true, memory_order_relaxed);
}

void proa_loop_trim(struct proa_loop *loop)
{
    loop_assert_here(loop);
    fibers_free_stacks(loop, TRIMMED_STACKS);
    proa_block_pool_trim(&loop->blocks, TRIMMED_BLOCKS);
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void proa_loop_on_lag(struct proa_loop *loop, void (*late)(void *arg, uint64_t lag_ns), void *arg)
{
    loop_assert_here(loop);
    loop->late = late;
    loop->late_arg = arg;
}

/* @returns false when nothing can happen any more. */
static bool loop_turn(struct proa_loop *loop, bool may_wait)
{
    bool may_happen;

    (void)loop_now(loop);
    run_what_is_ready(loop);
    write_stats(loop);
    if (!is_alive(loop))
        return false;
    if (may_wait && loop->stopping)
        return true;
    /* Callbacks that look at the time during the poll get one read after the wait. */
    loop->now_is_fresh = false;
    atomic_store_explicit(&loop->busy_since, 0, memory_order_relaxed);
    may_happen = loop->ops->poll(loop, !may_wait || must_not_wait(loop) ? 0 : timers_next(loop));
    loop->now_is_fresh = false;
    return may_happen;
}

int proa_loop_run(struct proa_loop *loop)
{
    int rc = 0;

    take_thread(loop);
    while (!loop->stopping) {
        if (loop_turn(loop, true))
            continue;
        if (is_alive(loop))
            rc = PROA_ECONFLICT; /* only a simulation can know that nothing will wake the rest */
        break;
    }
    loop->stopping = false;
    give_up_thread(loop);
    return rc;
}

bool proa_loop_run_once(struct proa_loop *loop, bool may_wait)
{
    bool alive;

    take_thread(loop);
    alive = loop_turn(loop, may_wait);
    (void)loop_now(loop);
    run_what_is_ready(loop);
    give_up_thread(loop);
    return alive || is_alive(loop);
}

void loop_end_fibers(struct proa_loop *loop)
{
    take_thread(loop);
    loop->stopping = false;
    if (loop->fibers_count)
        proa_loop_cancel_fibers(loop, PROA_ECANCELED);
    /* A fiber that it starts meanwhile, as a clean-up may, is waited for too. */
    while (loop->fibers_count && loop_turn(loop, true))
        loop->stopping = false;
    give_up_thread(loop);
}

int proa_loop_timeout_ms(const struct proa_loop *loop)
{
    proa_mono_ns next = timers_next(loop), now;
    uint64_t wait_ms;

    if (must_not_wait(loop) || (loop->ops->is_busy && loop->ops->is_busy(loop)))
        return 0;
    if (next == PROA_NEVER)
        return -1;
    now = proa_loop_now_exact(loop);
    if (next <= now)
        return 0;
    wait_ms = (next - now) / 1000000 + 1;
    return wait_ms < INT_MAX ? (int)wait_ms : INT_MAX;
}

void proa_loop_stop(struct proa_loop *loop)
{
    loop_assert_here(loop);
    loop->stopping = true;
}

proa_mono_ns proa_loop_now(const struct proa_loop *loop)
{
    loop_assert_here(loop);
    return loop_now((struct proa_loop *)(uintptr_t)loop);
}

proa_mono_ns proa_loop_now_exact(const struct proa_loop *loop)
{
    return loop->ops->now((struct proa_loop *)(uintptr_t)loop);
}

proa_time_ns proa_loop_wall(const struct proa_loop *loop)
{
    return loop->ops->wall((struct proa_loop *)(uintptr_t)loop);
}

void proa_loop_random(struct proa_loop *loop, void *out, size_t bytes)
{
    loop->ops->random(loop, out, bytes);
}

uint64_t proa_loop_random_u64(struct proa_loop *loop)
{
    return proa_prng_u64(&loop->prng);
}

const char *proa_loop_name(const struct proa_loop *loop)
{
    return loop->name;
}

bool proa_loop_is_here(const struct proa_loop *loop)
{
    return loop->has_thread && pthread_equal(loop->thread, pthread_self());
}

uint32_t proa_loop_index(const struct proa_loop *loop)
{
    return loop->index;
}

struct proa_block_pool *proa_loop_blocks(struct proa_loop *loop)
{
    return &loop->blocks;
}
