/** Event loops: one thread's timers, fibers and I/O.
 *
 *  A loop is an interface with two implementations: the real one (libuv) and the simulated one of
 *  proa/sim.h, with virtual time, seeded chance and an in-memory network. Nothing is process-global:
 *  a program may run several loops, one a thread, or drive one from a loop of its own.
 *
 *  Unless a call says otherwise it must come from the loop's own thread (asserted in debug builds).
 */
#ifndef PROA_LOOP_H
#define PROA_LOOP_H

#include <proa/arena.h>
#include <proa/defs.h>
#include <proa/error.h>
#include <proa/text.h>

PROA_BEGIN_DECLS

struct proa_loop;

/** Monotonic nanoseconds. PROA_NEVER is later than everything. */
typedef uint64_t proa_mono_ns;
#define PROA_NEVER UINT64_MAX
#define PROA_MS(n) ((uint64_t)(n)*1000000u)
#define PROA_SECONDS(n) ((uint64_t)(n)*1000000000u)

enum {
    PROA_FIBER_STACK_DEFAULT_BYTES = 64 * 1024,
    PROA_FIBERS_DEFAULT = 2048,
    PROA_STACKS_KEPT_DEFAULT = 128,
};

/** Zero is the default of every member. */
struct proa_loop_options {
    const char *name;           /**< static; names the thread and the log's `loop`; NULL: "loop" */
    uint32_t fiber_stack_bytes; /**< 0: 64 KiB; at least 16 KiB; rounded up to pages */
    uint32_t fibers_max;        /**< living fibers; starting one more gives PROA_EBUSY. 0: 2,048 */
    uint32_t stacks_kept;       /**< unused stacks kept for reuse. 0: 128 */
};

/** A real loop. It may be made in one thread and run in another. @returns 0, PROA_ENOMEM or PROA_EIO. */
PROA_MUST_USE int proa_loop_new(const struct proa_loop_options *options, struct proa_loop **ret_loop);
/** The loop must have ended: no living fibers, no open streams, watches or signals (asserted). A loop that
 *  was stopped with fibers alive: proa_loop_cancel_fibers, then proa_loop_run again. NULL is fine. */
void proa_loop_free(struct proa_loop *loop);

/** Runs until proa_loop_stop, or until nothing is left that could wake it. @returns 0, or
 *  PROA_ECONFLICT (simulation only) when fibers are left that nothing can wake: a deadlock. */
int proa_loop_run(struct proa_loop *loop);
/** Makes proa_loop_run return soon. From the loop's thread; from elsewhere post a task that calls it. */
void proa_loop_stop(struct proa_loop *loop);

/** To live inside another loop: poll proa_loop_fd() for reading with proa_loop_timeout_ms() as the
 *  longest wait (-1: for ever), then call proa_loop_run_once. */
int proa_loop_fd(const struct proa_loop *loop);
int proa_loop_timeout_ms(const struct proa_loop *loop);
/** One iteration. @param may_wait false: only what is due now. @returns true while something is alive. */
bool proa_loop_run_once(struct proa_loop *loop, bool may_wait);

/** Time at which this iteration began or, after a wait, at which its first event was handled; cheap. */
proa_mono_ns proa_loop_now(const struct proa_loop *loop);
/** Time of this instant (a clock read); in a simulation the same as proa_loop_now. */
proa_mono_ns proa_loop_now_exact(const struct proa_loop *loop);
/** Wall clock of now, nanoseconds since 1970. */
proa_time_ns proa_loop_wall(const struct proa_loop *loop);
/** Random bytes: of the kernel, or of the simulation's seed. */
void proa_loop_random(struct proa_loop *loop, void *out, size_t bytes);
/** Quick random number for jitter and sampling; not for secrets. */
uint64_t proa_loop_random_u64(struct proa_loop *loop);
const char *proa_loop_name(const struct proa_loop *loop);
/** Index among a program's loops (0 when alone); what proa_loops_start gave it. */
uint32_t proa_loop_index(const struct proa_loop *loop);
/** Blocks for arenas that live on this loop. */
struct proa_block_pool *proa_loop_blocks(struct proa_loop *loop);

/** What a loop has done and holds, as of the end of its last turn. */
struct proa_loop_stats {
    uint64_t turns;
    uint64_t blocking;           /**< calls of proa_blocking ever */
    uint32_t blocking_in_flight; /**< those that wait for a thread of the pool or run in one */
    uint32_t fibers;             /**< living */
    uint32_t fibers_peak;
    uint32_t stacks_kept; /**< unused, for reuse */
    uint32_t timers;      /**< armed */
    size_t stack_bytes;   /**< size of a fiber's stack */
    /** The deepest use of any fiber's stack so far, in bytes (page granularity). Measured at the end of the first turn
     *  after each call; 0 before the first. */
    size_t stack_peak_bytes;
};
/** From any thread. */
void proa_loop_read_stats(struct proa_loop *loop, struct proa_loop_stats *ret_stats);
/** Gives back what is kept for reuse and not needed now: unused stacks and blocks, and the pages of the heap that are free, which are
 *  the whole process's. For a program that comes to rest after a burst; takes about a millisecond for 10 MiB. From the loop's thread. */
void proa_loop_trim(struct proa_loop *loop);
/** Calls `late` on the loop's thread in every turn in which a timer is due, with how late the earliest of them fires:
 *  the loop's lag. NULL: no more. Before the loop runs, or from its thread. */
void proa_loop_on_lag(struct proa_loop *loop, void (*late)(void *arg, uint64_t lag_ns), void *arg);

/** Work given to a loop. Embedded in its owner, which keeps it alive until `run` was called;
 *  posted again only after that. */
struct proa_task {
    struct proa_task *next;
    void (*run)(struct proa_task *task); /**< on the loop's thread, not in a fiber */
};
/** Hands a task to a loop. From any thread and from signal-free code of any library; never fails,
 *  never blocks for long. Tasks of one thread run in the order of posting. The loop must live until the
 *  call has returned, which may be after the task ran. */
void proa_loop_post(struct proa_loop *loop, struct proa_task *task);

/** Work to be done once before the loop waits for events again, after all that is ready now has run:
 *  where writes of many fibers are brought together. Asking twice before it ran is harmless. */
struct proa_flush {
    struct proa_flush *next;
    bool queued;
    void (*run)(struct proa_flush *flush);
};
void proa_loop_flush_later(struct proa_loop *loop, struct proa_flush *flush);

/** A timer, embedded in its owner. Belongs to one loop. */
struct proa_timer {
    struct proa_loop *loop;
    proa_mono_ns at;
    uint32_t heap_index; /**< 0: not armed */
    uint64_t order;      /**< among timers of the same time: order of arming */
    void (*fire)(struct proa_timer *timer);
};
void proa_timer_init(struct proa_timer *timer, struct proa_loop *loop, void (*fire)(struct proa_timer *timer));
/** Arms, or moves, to an absolute time; PROA_NEVER disarms. @returns 0 or PROA_ENOMEM. */
PROA_MUST_USE int proa_timer_start(struct proa_timer *timer, proa_mono_ns at);
void proa_timer_stop(struct proa_timer *timer);
static inline bool proa_timer_armed(const struct proa_timer *timer)
{
    return timer->heap_index != 0;
}

/** Calls `caught` on the loop's thread for each signal. The handler is installed for the process
 *  only while somebody watches. Real loops only. Stop before the loop is freed. */
struct proa_signal;
PROA_MUST_USE int proa_signal_start(struct proa_loop *loop, int signum, void (*caught)(void *arg, int signum),
                                    void *arg, struct proa_signal **ret_signal);
/** On its loop; `caught` is not called any more. NULL is fine. */
void proa_signal_stop(struct proa_signal *signal);

PROA_END_DECLS
#endif
