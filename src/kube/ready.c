#include "ready.h"

/* One that says that it is ready, while something fails all the same, is asked less often. */
enum { PROBE_EVERY_MS = 500, PROBE_READY_EVERY_MS = 1000, PROBE_MS = 2000 };

/* @returns 0 with what it says, or the fiber's reason to stop. */
static int probe(struct proa_kube *kube, enum kube_readiness *ret_seen)
{
    struct proa_loop *loop = kube->options.loop;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_exchange *exchange;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(PROBE_MS));

        rc = kube_open(kube, &arena, &(struct proa_kube_request){.path = PROA_STR("/readyz")}, &exchange, NULL);
        if (rc == 0)
            proa_exchange_close(exchange);
    }
    PROA_TRY(proa_fiber_check(loop));
    if (rc == PROA_ETIMEDOUT)
        kube->is_transport_stale = true;
    if (rc == 0)
        *ret_seen = KUBE_SEEN_READY;
    else
        *ret_seen = rc == PROA_EUNAUTHORIZED || rc == PROA_EFORBIDDEN ? KUBE_SEEN_CLOSED : KUBE_SEEN_DOWN;
    return 0;
}

/* Watches that have been silent since before it went away may hang on connections that lead nowhere, of which nobody
 * tells them. */
static void cut_silent_watches(struct proa_kube *kube)
{
    for (struct proa_list *at = kube->watches.next; at != &kube->watches; at = at->next) {
        struct kube_open_watch *watch = PROA_CONTAINER(at, struct kube_open_watch, list);

        if (watch->heard >= kube->down_since)
            continue;
        watch->was_cut = true;
        proa_exchange_cut(watch->exchange);
    }
}

/* Each step for the better counts: one that has just begun to refuse everybody is worth a try, since some may never be
 * told more, and worth another when it says that it is ready. */
void kube_saw(struct proa_kube *kube, enum kube_readiness seen)
{
    if (seen == KUBE_SEEN_DOWN && kube->seen_as != KUBE_SEEN_DOWN)
        kube->down_since = proa_loop_now_exact(kube->options.loop);
    if (seen < kube->seen_as) {
        kube->ready_count++;
        cut_silent_watches(kube);
    }
    kube->seen_as = (uint8_t)seen;
    proa_event_pulse(&kube->probed);
}

/* The fiber that asks for all. */
static int probe_for_all(struct proa_kube *kube, uint64_t sleep_ns)
{
    enum kube_readiness seen = KUBE_SEEN_DOWN;
    int rc;

    kube->is_probing = true;
    rc = proa_sleep(kube->options.loop, sleep_ns);
    if (rc == 0)
        rc = probe(kube, &seen);
    kube->is_probing = false;
    if (rc == 0)
        kube_saw(kube, seen);
    else
        proa_event_pulse(&kube->probed); /* another is to ask */
    return rc;
}

int kube_wait_ready(struct proa_kube *kube, uint64_t backoff_ns, bool *ret_is_back)
{
    struct proa_loop *loop = kube->options.loop;
    proa_mono_ns until = proa_loop_now_exact(loop) + backoff_ns, now;
    uint64_t seen = kube->ready_count;

    while ((now = proa_loop_now_exact(loop)) < until && kube->ready_count == seen) {
        uint64_t slice = PROA_MS(kube->seen_as == KUBE_SEEN_READY ? PROBE_READY_EVERY_MS : PROBE_EVERY_MS);

        if (until - now < slice)
            slice = until - now;
        PROA_TRY(kube->is_probing ? proa_event_wait(&kube->probed) : probe_for_all(kube, slice));
    }
    if (ret_is_back)
        *ret_is_back = kube->ready_count != seen;
    return 0;
}

int kube_ask(struct proa_kube *kube, enum kube_readiness *ret_seen)
{
    PROA_TRY(kube->is_probing ? proa_event_wait(&kube->probed) : probe_for_all(kube, 0));
    *ret_seen = kube->seen_as;
    return 0;
}
