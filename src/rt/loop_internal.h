/** What the files of rt share; backend.h is the part that implementations of a loop provide.
 *
 *  One turn of a loop (loop_turn):
 *
 *      posted tasks -> due timers -> ready fibers -> flush hooks -+-> poll: callbacks, which may run
 *           ^                            ^                        |   fibers at once and make others ready
 *           |                            +--- fibers made ready --+        |
 *           +--------------------------------------------------------------+
 *
 *  The poll waits only when no fiber is ready, no task is posted and no flush is asked for.
 */
#ifndef PROA_RT_LOOP_INTERNAL_H
#define PROA_RT_LOOP_INTERNAL_H

#include <assert.h>
#include <proa/fiber.h>
#include <proa/list.h>
#include <proa/loop.h>
#include <proa/random.h>
#include <pthread.h>
#include <stdatomic.h>

#include "backend.h"
#include "switch.h"

struct proa_timer_heap {
    struct proa_timer **items; /* 1-based */
    uint32_t len;
    uint32_t cap;
    uint64_t order;
};

/* Of proa_loop_read_stats: written at the end of a turn, read by any thread. */
struct loop_stats {
    _Atomic uint64_t turns;
    _Atomic uint64_t blocking;
    _Atomic uint32_t blocking_in_flight;
    _Atomic uint32_t fibers;
    _Atomic uint32_t fibers_peak;
    _Atomic uint32_t stacks_kept;
    _Atomic uint32_t timers;
    _Atomic size_t stack_peak_bytes;
    _Atomic bool measures_stacks; /* asked for by a reader */
};

struct proa_loop {
    const struct proa_backend_ops *ops;
    void *backend;       /* of the implementation */
    const void *net_ops; /* of `net`, for loops that are not libuv's; NULL otherwise */
    void *read_buffer;   /* of `net`: shared by all streams of the loop; heap, freed with the loop */
    const char *name;
    uint32_t index;
    pthread_t thread; /* that runs it */
    bool has_thread;
    bool stopping;
    uint32_t held;    /* streams, listeners, watches: what keeps the loop running */
    proa_mono_ns now; /* see loop_now */
    bool now_is_fresh;

    struct proa_timer_heap timers;
    struct proa_list ready;   /* fibers that go on in this turn */
    struct proa_list yielded; /* those that go on in the next, after a poll */
    struct proa_flush *flushes;
    struct proa_flush **flushes_end;
    _Atomic(struct proa_task *) posted; /* newest first; shared by all threads */

    struct proa_fiber *current;
    struct proa_switch_main main_stack;
    struct proa_list fibers;      /* all that live */
    struct proa_list free_fibers; /* stacks kept */
    uint32_t free_fibers_count;
    uint32_t fibers_count;
    uint32_t fibers_peak;
    struct proa_loop_options options;
    struct proa_group root;

    struct proa_block_pool blocks;
    struct proa_prng prng;

    uint64_t turns;
    uint64_t blocking;
    uint32_t blocking_in_flight;
    void (*late)(void *arg, uint64_t lag_ns);
    void *late_arg;
    struct loop_stats stats;

    /* Shared with the watchdog's thread, which only reads. */
    _Atomic uint64_t busy_since;        /* when this turn began, 0 while the loop waits */
    _Atomic(const char *) running_name; /* of the fiber that runs, NULL outside */
};

enum waiter_state { WAITER_NEW, WAITER_PARKED, WAITER_WOKEN };

struct proa_fiber {
    struct proa_list node; /* ready or free */
    struct proa_list all_node;
    struct proa_list group_node;
    struct proa_list child_groups;
    struct proa_loop *loop;
    struct proa_group *group;
    struct proa_switch_context context;
    proa_fiber_fn *fn;
    void *arg;
    const char *name;
    proa_mono_ns deadline;
    struct proa_timer timer;    /* of the deadline; armed only while suspended */
    struct proa_waiter *waiter; /* where it waits, NULL when it does not */
    int cancel_cause;
    bool shielded;
    bool uninterruptible; /* waits for something that will surely come */
    bool ended;
    void *user;
    void *span;
    char *stack; /* lowest usable byte */
    size_t stack_bytes;
    size_t guard_bytes; /* below the stack */
};

/** Initialises everything but the backend. */
int loop_init(struct proa_loop *loop, const struct proa_loop_options *options, const struct proa_backend_ops *ops,
              void *backend);
void loop_done(struct proa_loop *loop);

static inline void loop_assert_here(const struct proa_loop *loop)
{
    assert(!loop->has_thread || pthread_equal(loop->thread, pthread_self()));
    (void)loop;
}
/** Time of this turn. The clock is read at a turn's beginning, and once more by the first callback
 *  after a wait that asks: whoever computes a deadline there must not start from before the wait. */
static inline proa_mono_ns loop_now(struct proa_loop *loop)
{
    if (!loop->now_is_fresh) {
        loop->now = loop->ops->now(loop);
        loop->now_is_fresh = true;
        atomic_store_explicit(&loop->busy_since, loop->now, memory_order_relaxed);
    }
    return loop->now;
}
static inline void loop_hold(struct proa_loop *loop)
{
    loop->held++;
}
static inline void loop_release(struct proa_loop *loop)
{
    assert(loop->held > 0);
    loop->held--;
}

/* timer.c */
proa_mono_ns timers_next(const struct proa_loop *loop);
void timers_fire(struct proa_loop *loop);

/* fiber.c */
void fibers_run_ready(struct proa_loop *loop);
/** Makes those that yielded in the last turn ready. */
void fibers_ready_yielded(struct proa_loop *loop);
/** All unused ones but `kept`. */
void fibers_free_stacks(struct proa_loop *loop, uint32_t kept);
/** The deepest use of a stack that is there. */
size_t fibers_stack_peak(const struct proa_loop *loop);
/** Suspends until unparked whatever the deadline and cancellation say. */
void park_uninterruptible(struct proa_waiter *waiter);
/** For calls that may suspend and this time need not: 0, or why the running fiber must stop. Reads
 *  no clock. */
int fiber_struck(struct proa_loop *loop);
/** After the loop was stopped: cancels its fibers and runs it until all have ended. */
void loop_end_fibers(struct proa_loop *loop);

/* uv_backend.c */
/** libuv's loop; NULL for a loop that is not libuv's. */
struct uv_loop_s *loop_uv(const struct proa_loop *loop);

#endif
