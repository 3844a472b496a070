/** Alternative signal stacks of loop threads, see proa_stack_guard_install. */
#ifndef PROA_RT_STACK_GUARD_H
#define PROA_RT_STACK_GUARD_H

/** Gives the calling thread an alternative signal stack. @returns what leave wants. */
void *stack_guard_thread_enter(void);
void stack_guard_thread_leave(void *alternative);
/** Which fiber runs on this thread from now on, NULL for none. */
struct proa_fiber;
void stack_guard_running(const struct proa_fiber *fiber);

#endif
