/** Several loops, one a thread, and the facts of the host that say how many. */
#ifndef PROA_LOOPS_H
#define PROA_LOOPS_H

#include <proa/error.h>
#include <proa/loop.h>

PROA_BEGIN_DECLS

/** What this process may use. Unknown or unlimited numbers are 0. */
struct proa_host {
    uint32_t cpus_affinity;             /**< CPUs the scheduler may put us on */
    double cpus_quota;                  /**< cgroup v1 cfs_quota or v2 cpu.max of our group and its parents; 0: none */
    uint32_t loops;                     /**< what to start: min(affinity, quota rounded up), at least 1 */
    uint64_t memory_limit_bytes;        /**< least of the cgroup limits; 0: none */
    uint64_t open_files_limit;          /**< soft RLIMIT_NOFILE */
    uint64_t address_space_limit_bytes; /**< soft RLIMIT_AS, 0: none */
};
/** @param root  "" or NULL for the real system; a folder with `proc` and `sys` beneath it in tests. */
void proa_host_read(const char *root, struct proa_host *ret_host);

enum { PROA_LOOPS_MAX = 256 };

/** A set of loops. Loop 0 runs in the thread that calls proa_loops_run, the others in threads of their
 *  own (small stacks, all signals blocked). */
struct proa_loops;
/** @param count 1..PROA_LOOPS_MAX, 0: what proa_host_read says. Threads start in proa_loops_run. */
PROA_COLD PROA_MUST_USE int proa_loops_new(uint32_t count, const struct proa_loop_options *options,
                                           struct proa_loops **ret_loops, struct proa_error *err);
/** After proa_loops_run returned or before it was called. NULL is fine. */
PROA_COLD void proa_loops_free(struct proa_loops *loops);
uint32_t proa_loops_count(const struct proa_loops *loops);
struct proa_loop *proa_loops_at(const struct proa_loops *loops, uint32_t index);
/** Runs them all until each has ended or was stopped. The others do not end for lack of work before loop 0
 *  has: from then on each ends when nothing is alive on it. Fibers that live when a loop is stopped are
 *  cancelled, and waited for. Once for a set. */
PROA_COLD PROA_MUST_USE int proa_loops_run(struct proa_loops *loops, struct proa_error *err);
/** From any thread, at any time before proa_loops_free. Loops whose fibers post to each other's end so. */
void proa_loops_stop(struct proa_loops *loops);
/** For how long the loop that is longest away from its poll has been away, in milliseconds: large when a handler holds its loop up.
 *  From any thread. */
uint32_t proa_loops_held_ms(const struct proa_loops *loops);

/** A thread that looks at the loops a few times a second and says when one has not come back to its
 *  poll for longer than `stall_ms`, and which fiber or callback holds it. */
struct proa_watchdog;
struct proa_watchdog_options {
    uint32_t stall_ms; /**< 0: 100 */
    /** On the watchdog's thread; must not call proa_watchdog_stop. Called once when a stall is seen (`over` false) and once when it is over
     *  (then `held_ms` is its length). `fiber` is a static name or "callback". */
    void (*stalled)(void *arg, const char *loop, const char *fiber, uint32_t held_ms, bool over);
    void *arg;
};
/** Starts the thread; the options are copied. Before the loops run or while they do. @returns 0, PROA_ENOMEM, or why there is no thread. */
PROA_MUST_USE int proa_watchdog_start(struct proa_loops *loops, const struct proa_watchdog_options *options,
                                      struct proa_watchdog **ret_watchdog);
/** Ends the thread and waits for it; before proa_loops_free. NULL is fine. */
void proa_watchdog_stop(struct proa_watchdog *watchdog);

/** Installs a SIGSEGV/SIGBUS handler on an alternative stack which, for a hit of a fiber's guard pages,
 *  writes "stack overflow in fiber <name>…" to stderr and lets the process die of the signal; any other
 *  fault goes to the handler that was there. Process-wide and only on request; again is harmless. The
 *  calling thread and each made by proa_loops have the alternative stack. */
PROA_MUST_USE int proa_stack_guard_install(void);

PROA_END_DECLS
#endif
