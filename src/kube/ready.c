#include "ready.h"

enum { PROBE_EVERY_MS = 1000, PROBE_MS = 2000 };

/* @returns 1 when it is ready, 0 when it is not, or the fiber's reason to stop. */
static int probe(struct proa_kube *kube)
{
    struct proa_loop *loop = kube->options.loop;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_exchange *exchange;
    bool is_ready = false;
    int stop, rc;

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(PROBE_MS));

        rc = kube_open(kube, &arena, &(struct proa_kube_request){.path = PROA_STR("/readyz")}, &exchange, NULL);
        if (rc == 0)
            proa_exchange_close(exchange);
        /* Who may not ask cannot know. */
        is_ready = rc == 0 || rc == PROA_EUNAUTHORIZED || rc == PROA_EFORBIDDEN;
    }
    stop = proa_fiber_check(loop);
    return stop < 0 ? stop : is_ready;
}

/* The fiber that asks for all. *was_down: an answer before this one said so. */
static int probe_for_all(struct proa_kube *kube, uint64_t sleep_ns, bool *was_down)
{
    int rc;

    kube->is_probing = true;
    rc = proa_sleep(kube->options.loop, sleep_ns);
    if (rc == 0)
        rc = probe(kube);
    kube->is_probing = false;
    if (rc == 1 && *was_down)
        kube->ready_count++;
    *was_down = rc == 0;
    proa_event_pulse(&kube->probed);
    return rc < 0 ? rc : 0;
}

int kube_wait_ready(struct proa_kube *kube, uint64_t backoff_ns)
{
    struct proa_loop *loop = kube->options.loop;
    proa_mono_ns until = proa_loop_now_exact(loop) + backoff_ns;
    uint64_t seen = kube->ready_count;

    for (;;) {
        proa_mono_ns now = proa_loop_now_exact(loop);
        uint64_t slice = PROA_MS(PROBE_EVERY_MS);
        int rc;

        if (now >= until || kube->ready_count != seen)
            return 0;
        if (until - now < slice)
            slice = until - now;
        if (kube->is_probing) {
            rc = proa_event_wait(&kube->probed);
        } else {
            rc = probe_for_all(kube, slice, &kube->was_down);
        }
        PROA_TRY(rc);
    }
}
