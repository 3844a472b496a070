/** Processes that the agent starts, and those that it inherits as process 1. One set a program; belongs to one loop. */
#ifndef DATABASE_OPERATOR_CHILD_H
#define DATABASE_OPERATOR_CHILD_H

#include <proa/arena.h>
#include <proa/error.h>
#include <proa/fiber.h>
#include <proa/log.h>
#include <proa/sync.h>
#include <sys/types.h>

struct children;
/** Reaps from now on whatever ends: its own children's results are kept for who waits for them, orphans are forgotten. The process
 *  becomes the reaper of its descendants also where it is not process 1. `env` is main's. */
PROA_MUST_USE int children_new(struct proa_loop *loop, const struct proa_logger *logger, char *const *env,
                               struct children **ret_children, struct proa_error *err);
/** No fiber waits. What still runs is not touched. NULL is fine. */
void children_free(struct children *children);
/** Processes of strangers that were reaped. */
uint64_t children_orphans(const struct children *children);

/** Where PATH has a program, in the arena or the name itself; "" when there is none, NULL when memory is out. */
const char *child_find_program(const struct children *children, struct proa_arena *arena, const char *name);

struct child_options {
    const char *const *arguments; /**< ended by NULL; the first is looked up in PATH unless it has a slash */
    /** "NAME=value" ended by NULL, beside the agent's own environment (without what is the agent's, Kubernetes' or a client library's). */
    const char *const *env;
    const char *folder; /**< to run in; NULL: / */
    proa_str input;     /**< standard input, at most 64 KiB; ptr NULL: /dev/null */
    int input_fd,
        output_fd;       /**< 0: none. Standard input, output is (a duplicate of) this; still the caller's to close */
    size_t output_max;   /**< kept of standard output; more is an error. 0: 64 KiB */
    bool inherit_output; /**< standard output goes where the agent's errors go, instead of being kept */
    struct proa_event *wake; /**< set when it ends; NULL: none. Outlives the child */
    int death_signal;        /**< sent when the agent dies; 0: SIGKILL */
};
struct child_result {
    int exit_code;   /**< 128 + N when ended by signal N */
    proa_str output; /**< in the arena, with a NUL behind */
    proa_str errors; /**< the end of standard error, at most 2 KiB, without a final line feed */
};
/** Runs a program to its end. May suspend. When the fiber is cancelled or its deadline strikes, the process and its group are killed, and
 *  it is waited for. @returns 0 whatever its exit code, PROA_ETIMEDOUT, the cancellation's cause, PROA_ENOTFOUND (no such program),
 *           PROA_ETOOLARGE, … */
PROA_MUST_USE int child_run(struct children *children, struct proa_arena *arena, const struct child_options *options,
                            struct child_result *ret_result, struct proa_error *err);
/** The same, and an exit code other than 0 is PROA_EIO with the end of what it said on standard error. */
PROA_MUST_USE int child_run_ok(struct children *children, struct proa_arena *arena, const struct child_options *options,
                               struct child_result *ret_result, struct proa_error *err);

/** A process that lives on: the server. Standard output and error are the agent's. */
struct child;
PROA_MUST_USE int child_start(struct children *children, const struct child_options *options, struct child **ret_child,
                              struct proa_error *err);
pid_t child_pid(const struct child *child);
/** @returns whether it has ended; *ret_exit_code as above (may be NULL). */
bool child_has_ended(const struct child *child, int *ret_exit_code);
/** May suspend until it has ended, or the deadline strikes. @returns 0, PROA_ETIMEDOUT, PROA_ECANCELED. */
PROA_MUST_USE int child_wait(struct child *child);
/** Nothing happens once it has ended. */
void child_signal(const struct child *child, int signum);
/** It has ended (asserted). NULL is fine. */
void child_free(struct child *child);

#endif
