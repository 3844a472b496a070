/* proa_blocking: work that may block, in the backend's pool of threads.
 *
 *      QUEUED ----- a thread takes it -----> RUNNING ---- fn returns ---> work_finished
 *         |                                     |                              ^
 *         +-- the fiber gives up --> DROPPED    +-- the fiber gives up: ------+
 *                                       |           interrupt                  |
 *                                       +--- skipped, or never taken ----------+
 *
 *  The work lives on the waiting fiber's stack, so that its end is waited for in any case.
 */
#include "loop_internal.h"

static bool move(struct proa_work *work, int to)
{
    int queued = WORK_QUEUED;

    return atomic_compare_exchange_strong(&work->phase, &queued, to);
}

void work_run(struct proa_work *work)
{
    if (move(work, WORK_RUNNING))
        work->fn(work->arg);
}

void work_finished(struct proa_work *work)
{
    work->finished = true;
    proa_unpark(&work->waiter, 0);
}

int proa_blocking(struct proa_loop *loop, void (*fn)(void *arg), void *arg, void (*interrupt)(void *arg), bool *ret_ran)
{
    struct proa_work work = {.loop = loop, .fn = fn, .arg = arg};
    int rc;

    if (ret_ran)
        *ret_ran = false;
    PROA_TRY(proa_fiber_check(loop));
    proa_waiter_init(&work.waiter, loop);
    PROA_TRY(loop->ops->blocking(loop, &work));
    loop->blocking++;
    loop->blocking_in_flight++;
    rc = proa_park(&work.waiter);
    if (rc < 0 && !work.finished) {
        bool dropped = move(&work, WORK_DROPPED);

        proa_waiter_init(&work.waiter, loop); /* the old one was woken */
        if (dropped)
            loop->ops->blocking_drop(&work);
        else if (interrupt)
            interrupt(arg);
        park_uninterruptible(&work.waiter);
    }
    loop->blocking_in_flight--;
    if (ret_ran)
        *ret_ran = atomic_load(&work.phase) == WORK_RUNNING;
    return rc;
}
