/** What an implementation of a loop provides: time, chance, waiting, and threads for blocking work.
 *
 *  The real one is uv_backend.c, the simulated one src/sim. Timers, ready fibers, groups and all
 *  that is above stand on this alone. An implementation embeds `struct proa_loop`, gives it to
 *  loop_init with its table and ends it with loop_done. Its sockets are in `net`'s own tables
 *  (net/stream_internal.h); descriptors and signals of the system exist on real loops only.
 *
 *      loop_turn --> poll(wake_at) --> callbacks of events, on the loop's thread, outside fibers
 *                                      (they may run fibers, unpark, post, arm timers)
 */
#ifndef PROA_RT_BACKEND_H
#define PROA_RT_BACKEND_H

#include <proa/fiber.h>
#include <stdatomic.h>

/** Who got blocking work first: the thread that runs it, or the fiber that gave it up. */
enum work_phase { WORK_QUEUED, WORK_RUNNING, WORK_DROPPED };

/** Blocking work on its way; on the waiting fiber's stack until `finished`. */
struct proa_work {
    struct proa_loop *loop;
    void (*fn)(void *arg);
    void *arg;
    _Atomic int phase; /* shared with the thread that runs it */
    bool finished;     /* the backend has called back */
    struct proa_waiter waiter;
    void *backend[16]; /* room for the backend's request */
};

struct proa_backend_ops {
    /** This instant; monotonic. */
    proa_mono_ns (*now)(struct proa_loop *loop);
    proa_time_ns (*wall)(struct proa_loop *loop);
    void (*random)(struct proa_loop *loop, void *out, size_t bytes);
    /** Waits for events until `wake_at` (0: does not wait, PROA_NEVER: as long as it takes) and runs
     *  their callbacks. May return earlier. Does not fire timers, run fibers or posted tasks: the
     *  turn does. @returns false when nothing can ever happen any more (simulation only). */
    bool (*poll)(struct proa_loop *loop, proa_mono_ns wake_at);
    /** From any thread: makes a waiting poll return, or the next one not wait. */
    void (*wake)(struct proa_loop *loop);
    /** Has work_run called where it may block, and work_finished afterwards on the loop.
     *  @returns 0, or an error and neither is ever called. */
    int (*blocking)(struct proa_loop *loop, struct proa_work *work);
    /** Work that was dropped need not reach a thread any more; work_finished is called all the
     *  same, later. Only to be quick: may do nothing. */
    void (*blocking_drop)(struct proa_work *work);
    /** Something must be run before an outer loop may wait (proa_loop_timeout_ms). May be NULL. */
    bool (*is_busy)(const struct proa_loop *loop);
    void (*free)(struct proa_loop *loop);
};

/** For implementations of `blocking`: on any thread, and then on the loop. */
void work_run(struct proa_work *work);
void work_finished(struct proa_work *work);

#endif
