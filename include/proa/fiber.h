/** Fibers: straight-line C that may suspend. Groups, deadlines, cancellation, parking.
 *
 *  A fiber runs on a stack of its loop's pool, stays on its loop for life and runs until it suspends;
 *  there is no preemption. Calls documented "may suspend" must come from a fiber.
 */
#ifndef PROA_FIBER_H
#define PROA_FIBER_H

#include <proa/defs.h>
#include <proa/list.h>
#include <proa/loop.h>

PROA_BEGIN_DECLS

struct proa_fiber;

/** What a fiber runs. A negative result is an error for its group. */
typedef int proa_fiber_fn(void *arg);

/** Fibers that belong together. A group is not left before its fibers have ended. Embedded; usually
 *  on the stack of the fiber that waits for it. */
struct proa_group {
    struct proa_loop *loop;
    struct proa_list fibers;
    struct proa_list siblings;  /**< in the parent fiber's list: cancellation goes down through it */
    struct proa_fiber *parent;  /**< NULL when made outside a fiber */
    struct proa_waiter *waiter; /**< of proa_group_wait */
    proa_mono_ns deadline;      /**< of the parent when the group was made */
    uint32_t running;
    int cancel_cause; /**< 0, or the code its fibers are cancelled with */
    int first_error;
    bool cancel_on_error; /**< set after init: the first error cancels the others */
    bool is_sheltered;    /**< made in a shield: the parent's cancellation does not reach it there */
};

/** Made inside a fiber, the group inherits its deadline and cancellation, and must be waited for before
 *  the fiber ends (asserted), also when nothing was started in it. Made outside one, any fiber may wait
 *  for it. After the wait it is over: proa_group_init makes it new. */
void proa_group_init(struct proa_group *group, struct proa_loop *loop);

struct proa_fiber_options {
    const char *name;      /**< static; in the watchdog's, the overflow's and the debug texts */
    proa_mono_ns deadline; /**< absolute; 0: inherited; an inherited earlier one wins */
};
/** Starts a fiber; it runs first when the present fiber suspends or the callback returns.
 *  `options` may be NULL. From a fiber or a callback of the loop. @returns 0, PROA_EBUSY (fibers_max)
 *  or PROA_ENOMEM; `fn` is then never called. */
PROA_MUST_USE int proa_group_start(struct proa_group *group, const struct proa_fiber_options *options,
                                   proa_fiber_fn *fn, void *arg);
/** Cancels what runs in the group and below it: suspended calls return `cause` (PROA_ECANCELED when 0). */
void proa_group_cancel(struct proa_group *group, int cause);
/** May suspend, until all its fibers have ended (one waits at a time); when the waiting fiber is cancelled or its
 *  deadline strikes, so are they, and it still waits. @returns 0 or the first error of a fiber. */
int proa_group_wait(struct proa_group *group);

/** Starts a fiber that belongs to the loop (proa_loop_run returns only when it has ended or was stopped). */
PROA_MUST_USE int proa_loop_start_fiber(struct proa_loop *loop, const struct proa_fiber_options *options,
                                        proa_fiber_fn *fn, void *arg);
/** Cancels all fibers of the loop, as at the end of a drain. */
void proa_loop_cancel_fibers(struct proa_loop *loop, int cause);
/** Creates the fiber and runs it at once, nested in the present callback (not from a fiber), until it
 *  first suspends: the request path. @returns like proa_group_start. */
PROA_MUST_USE int proa_group_run_now(struct proa_group *group, const struct proa_fiber_options *options,
                                     proa_fiber_fn *fn, void *arg);

/** The running fiber, NULL in a callback. */
struct proa_fiber *proa_fiber_current(const struct proa_loop *loop);
const char *proa_fiber_name(const struct proa_fiber *fiber);
/** Renames the running fiber (static text), as when a pooled worker takes a job. */
void proa_fiber_set_name(struct proa_fiber *fiber, const char *name);
/** The deepest use of this fiber's stack so far, in bytes (page granularity), and its size. */
size_t proa_fiber_stack_used(const struct proa_fiber *fiber);
size_t proa_fiber_stack_size(const struct proa_fiber *fiber);
/** One pointer that a higher layer hangs on the running fiber (the request); inherited by started fibers. */
void *proa_fiber_context(const struct proa_fiber *fiber);
void proa_fiber_set_context(struct proa_fiber *fiber, void *context);
/** And one for the present span of a trace (proa/tracer.h); inherited too. */
void *proa_fiber_span(const struct proa_fiber *fiber);
void proa_fiber_set_span(struct proa_fiber *fiber, void *span);
/** Living fibers of a loop and the most there ever were. */
uint32_t proa_loop_fibers(const struct proa_loop *loop, uint32_t *ret_peak);
/** Raises fibers_max of the loop's options to `fibers`, if it is lower. From the loop's thread. */
void proa_loop_allow_fibers(struct proa_loop *loop, uint32_t fibers);

/** Cancels one fiber, as when its client hung up. The present suspended call returns `cause` (PROA_ECANCELED
 *  when 0), and so does every later one outside a shield; the first cause stays. */
void proa_fiber_cancel(struct proa_fiber *fiber, int cause);
/** 0, or why the running fiber should stop now: its cancellation cause or PROA_ETIMEDOUT. For long
 *  computations between suspensions. Reads the clock. */
int proa_fiber_check(const struct proa_loop *loop);

/** The running fiber's deadline (PROA_NEVER if none). */
proa_mono_ns proa_deadline(const struct proa_loop *loop);
/** Narrows the running fiber's deadline for a scope; a later one than the present changes nothing.
 *  `struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(loop, at);` */
struct proa_deadline_scope {
    struct proa_fiber *fiber;
    proa_mono_ns previous;
};
struct proa_deadline_scope proa_deadline_enter(struct proa_loop *loop, proa_mono_ns at);
void proa_deadline_leave(struct proa_deadline_scope *scope);
/** In a shield the fiber's cancellation and deadline do not strike, for clean-up that must suspend
 *  (a rollback). `grace_ns` bounds it: the scope has that much time from now. Groups made in it are
 *  covered too. A cancellation that came meanwhile strikes after the scope. */
struct proa_shield_scope {
    struct proa_fiber *fiber;
    proa_mono_ns previous;
    bool was_shielded;
};
struct proa_shield_scope proa_shield_enter(struct proa_loop *loop, uint64_t grace_ns);
void proa_shield_leave(struct proa_shield_scope *scope);

/** A place where a fiber waits; on its stack. It wakes once: to wait again, initialise it again, and first
 *  look whether what was waited for came after the wake. */
struct proa_waiter {
    struct proa_list list; /**< free for the owner of a wait queue; initialised, self-removing on wake */
    struct proa_fiber *fiber;
    struct proa_loop *loop;
    int result; /**< what proa_park returns */
    uint8_t state;
};
void proa_waiter_init(struct proa_waiter *waiter, struct proa_loop *loop);
/** May suspend, until proa_unpark (which may have come before: then it returns at once), the deadline
 *  (PROA_ETIMEDOUT) or cancellation (its cause). Leaves `waiter->list` removed. Whoever holds a pointer
 *  to the waiter must be told by its owner when park returned an error. @returns 0 or an error. */
PROA_MUST_USE int proa_park(struct proa_waiter *waiter);
/** Lets a parked fiber go on with `result` (0 or an error); it runs later in this iteration. Harmless
 *  when it was woken already. From the loop's thread; other threads post a task. */
void proa_unpark(struct proa_waiter *waiter, int result);

/** May suspend for `ns`. @returns 0, PROA_ETIMEDOUT or the cancellation's cause. */
PROA_MUST_USE int proa_sleep(struct proa_loop *loop, uint64_t ns);
/** Lets other ready fibers run, and the loop look for events. @returns as proa_fiber_check. */
int proa_yield(struct proa_loop *loop);

enum { PROA_READABLE = 1, PROA_WRITABLE = 2 };
/** May suspend, until the descriptor (non-blocking, of another library) is ready. For libraries that
 *  hand out a descriptor. @param ret_events may be NULL. @returns 0, PROA_ETIMEDOUT, PROA_ECANCELED, PROA_EIO. */
PROA_MUST_USE int proa_wait_fd(struct proa_loop *loop, int fd, int events, int *ret_events);

/** A lasting watch on a descriptor, for drivers: cheaper than proa_wait_fd for each event. `ready` is
 *  called on the loop outside fibers; level-triggered. Real loops only. */
struct proa_fd_watch;
PROA_MUST_USE int proa_fd_watch_new(struct proa_loop *loop, int fd, void (*ready)(void *arg, int events), void *arg,
                                    struct proa_fd_watch **ret_watch);
/** @param events PROA_READABLE|PROA_WRITABLE, 0 for none. */
PROA_MUST_USE int proa_fd_watch_set(struct proa_fd_watch *watch, int events);
/** Stop before the descriptor is closed. NULL is fine. */
void proa_fd_watch_free(struct proa_fd_watch *watch);

/** Runs `fn(arg)` in the pool of blocking threads. May suspend until it has ended. When the fiber is
 *  cancelled or timed out before a thread took it, it is dropped and never runs; after that `interrupt`
 *  (may be NULL; called once from the loop's thread while fn runs or has just ended) is asked to make fn end early, and
 *  the call still waits for fn. @returns 0 when fn ran to its end undisturbed, else PROA_ETIMEDOUT/the cause, with
 *  *ret_ran telling whether fn ran at all (may be NULL). In a simulation fn runs inline. */
PROA_MUST_USE int proa_blocking(struct proa_loop *loop, void (*fn)(void *arg), void *arg, void (*interrupt)(void *arg),
                                bool *ret_ran);
/** Ends the pool's threads and waits for them, so that what libraries keep for each thread is given back while they
 *  still can (OpenSSL cannot once `exit` has begun with its own clean-up). The last call to the kit: no loop lives,
 *  none is made afterwards. */
void proa_blocking_end(void);

PROA_END_DECLS
#endif
