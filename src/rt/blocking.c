/* proa_blocking: work that may block, in the backend's pool of threads. */
#include "loop_internal.h"

int proa_blocking(struct proa_loop *loop, void (*fn)(void *arg), void *arg, void (*interrupt)(void *arg), bool *ret_ran)
{
    struct proa_work work = {.loop = loop, .fn = fn, .arg = arg};
    int rc;

    if (ret_ran)
        *ret_ran = false;
    PROA_TRY(proa_fiber_check(loop));
    proa_waiter_init(&work.waiter, loop);
    PROA_TRY(loop->ops->blocking(loop, &work));
    rc = proa_park(&work.waiter);
    if (rc < 0 && !work.finished) {
        /* The work lives on this stack: whatever happens, its end is waited for. The waiter is new, the old one was woken. */
        proa_waiter_init(&work.waiter, loop);
        if (!loop->ops->blocking_cancel(&work) && interrupt)
            interrupt(arg);
        park_uninterruptible(&work.waiter);
    }
    if (ret_ran)
        *ret_ran = work.ran;
    return rc;
}
