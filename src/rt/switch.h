/** The switch between a thread's own stack and a fiber's: the only place that knows the processor (through
 *  Boost.Context) and the tools that must be told of stacks (AddressSanitizer, ThreadSanitizer, valgrind). */
#ifndef PROA_RT_SWITCH_H
#define PROA_RT_SWITCH_H

#include <stddef.h>

struct proa_switch_main {
    const void *stack_bottom; /* of the thread's own stack, as AddressSanitizer tells */
    size_t stack_bytes;
    void *fake_stack;
    void *tsan;
};

struct proa_switch_context {
    void *point; /* where the suspended side goes on */
    struct proa_switch_main *main;
    void (*entry)(void *arg);
    void *arg;
    const void *stack_bottom;
    size_t stack_bytes;
    void *fake_stack;
    void *tsan;
    unsigned valgrind_id;
};

/** Prepares a context that calls entry(arg) on its own stack [stack, stack + bytes) when first entered. Entry never
 *  returns. */
void switch_init(struct proa_switch_context *context, struct proa_switch_main *main, void *stack, size_t bytes,
                 void (*entry)(void *arg), void *arg);
void switch_done(struct proa_switch_context *context);
/** From the thread's own stack into the fiber; returns when the fiber leaves. */
void switch_enter(struct proa_switch_context *context);
/** From the fiber back to whoever entered it; returns when it is entered again. */
void switch_leave(struct proa_switch_context *context);

#endif
