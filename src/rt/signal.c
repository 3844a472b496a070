/* Signals, on libuv's signal handles: installed only while somebody watches. */
#include "loop_internal.h"

#include <stdlib.h>
#include <uv.h>

struct proa_signal {
    uv_signal_t uv;
    struct proa_loop *loop;
    void (*caught)(void *arg, int signum);
    void *arg;
};

static void signal_caught(uv_signal_t *uv, int signum)
{
    struct proa_signal *signal = uv->data;

    (void)loop_now(signal->loop); /* the loop waits no more, for the watchdog */
    signal->caught(signal->arg, signum);
}

static void signal_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int proa_signal_start(struct proa_loop *loop, int signum, void (*caught)(void *arg, int signum), void *arg,
                      struct proa_signal **ret_signal)
{
    struct proa_signal *signal;
    int rc;

    loop_assert_here(loop);
    if (!loop_uv(loop))
        return PROA_EUNSUPPORTED;
    signal = calloc(1, sizeof *signal);
    if (!signal)
        return PROA_ENOMEM;
    signal->loop = loop;
    signal->caught = caught;
    signal->arg = arg;
    rc = uv_signal_init(loop_uv(loop), &signal->uv);
    if (rc < 0) {
        free(signal);
        return proa_code_from_errno(rc);
    }
    signal->uv.data = signal;
    rc = uv_signal_start(&signal->uv, signal_caught, signum);
    if (rc < 0) {
        uv_close((uv_handle_t *)&signal->uv, signal_closed);
        return proa_code_from_errno(rc);
    }
    /* A watched signal does not keep the loop running. */
    uv_unref((uv_handle_t *)&signal->uv);
    *ret_signal = signal;
    return 0;
}

void proa_signal_stop(struct proa_signal *signal)
{
    if (!signal)
        return;
    loop_assert_here(signal->loop);
    uv_close((uv_handle_t *)&signal->uv, signal_closed);
}
