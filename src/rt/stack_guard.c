/* A fiber that runs over its stack meets the guard below it. The handler, on a stack of its own, says
 * whose it was and lets the process die of the signal. */
#include "stack_guard.h"

#include "loop_internal.h"
#include <proa/loops.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HANDLER_BYTES = 16 * 1024, SIGNAL_FRAME_BYTES = 16 * 1024 };
enum { ALTERNATIVE_BYTES = HANDLER_BYTES + SIGNAL_FRAME_BYTES };

/* Which fiber runs on this thread: only the handler reads it, since nothing can be passed to it. */
static _Thread_local const struct proa_fiber *running;
/* What handled these signals before. Set once by proa_stack_guard_install. */
static struct sigaction before_segv, before_bus;

void stack_guard_running(const struct proa_fiber *fiber)
{
    running = fiber;
}

void *stack_guard_thread_enter(void)
{
    stack_t stack = {.ss_size = ALTERNATIVE_BYTES};

    stack.ss_sp = mmap(NULL, ALTERNATIVE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED)
        return NULL;
    sigaltstack(&stack, NULL);
    return stack.ss_sp;
}

void stack_guard_thread_leave(void *alternative)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    if (!alternative)
        return;
    sigaltstack(&none, NULL);
    munmap(alternative, ALTERNATIVE_BYTES);
}

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));

    (void)ignored;
}

static void fault(int signum, siginfo_t *info, void *context)
{
    const struct proa_fiber *fiber = running;
    const struct sigaction *before = signum == SIGSEGV ? &before_segv : &before_bus;
    const char *at = info->si_addr;

    if (fiber && at >= fiber->stack - fiber->guard_bytes && at < fiber->stack) {
        say("proa: stack overflow in fiber \"");
        say(fiber->name);
        say("\": raise its loop's fiber_stack_bytes or use less stack\n");
    } else if (before->sa_flags & SA_SIGINFO && before->sa_sigaction) {
        before->sa_sigaction(signum, info, context);
        return;
    } else if (!(before->sa_flags & SA_SIGINFO) && before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
        before->sa_handler(signum);
        return;
    }
    /* Back in the faulting instruction the signal strikes again, now with its default. */
    sigaction(signum, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
}

int proa_stack_guard_install(void)
{
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    struct sigaction present;

    if (sigaction(SIGSEGV, NULL, &present) < 0)
        return PROA_EIO;
    if (present.sa_flags & SA_SIGINFO && present.sa_sigaction == fault)
        return 0; /* installed before */
    sigemptyset(&action.sa_mask);
    if (!stack_guard_thread_enter())
        return PROA_ENOMEM;
    if (sigaction(SIGSEGV, &action, &before_segv) < 0 || sigaction(SIGBUS, &action, &before_bus) < 0)
        return PROA_EIO;
    return 0;
}
