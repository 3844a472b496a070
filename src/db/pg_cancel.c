/* Cancel requests. libpq's call connects to the server and blocks until it answers: it runs in the blocking pool, few
 * at a time, so that a server which does not answer cannot take all of the pool's threads. */
#include "pg_internal.h"

#include <stdlib.h>

struct request {
    PGcancel *cancel;
    struct pg_conn *conn;
    uint64_t generation;
};

static bool take_slot(struct pg *pg)
{
    uint32_t taken = atomic_load(&pg->cancels);

    do {
        if (taken >= PG_CANCELS_MAX)
            return false;
    } while (!atomic_compare_exchange_weak(&pg->cancels, &taken, taken + 1));
    return true;
}

static void send_request(void *arg)
{
    struct request *request = arg;
    char text[256];

    /* Whether it worked is seen at the statement, which ends early or does not. */
    (void)PQcancel(request->cancel, text, sizeof text);
}

static int cancel_fiber(void *arg)
{
    struct request *request = arg;
    struct pg_conn *conn = request->conn;
    struct pg_loop *pl = conn->pl;
    int rc = proa_blocking(pl->loop, send_request, request, NULL, NULL);

    atomic_fetch_sub(&pl->pg->cancels, 1);
    /* The server has been signalled before it closed the request's connection: what is sent from now on is not hit. */
    if (request->generation == conn->generation && conn->state == PG_UP) {
        conn->is_cancelling = false;
        proa_loop_flush_later(pl->loop, &pl->flush);
        if (conn->kind == DB_OWN)
            pg_own_settled(conn);
    }
    pg_own_unref(conn);
    PQfreeCancel(request->cancel);
    free(request);
    pg_fiber_ended(pl);
    return rc;
}

void pg_cancel(struct pg_conn *conn)
{
    static const struct proa_fiber_options options = {.name = "pg cancel"};
    struct pg_loop *pl = conn->pl;
    struct request *request;

    if (conn->state != PG_UP || conn->is_cancelling || conn->is_write_blocked || pl->is_closing || !take_slot(pl->pg))
        return;
    request = calloc(1, sizeof *request);
    if (request)
        request->cancel = PQgetCancel(conn->pq);
    if (request && request->cancel) {
        request->conn = conn;
        request->generation = conn->generation;
        if (proa_loop_start_fiber(pl->loop, &options, cancel_fiber, request) == 0) {
            pl->fibers++;
            conn->holders++;
            conn->is_cancelling = true;
            return;
        }
        PQfreeCancel(request->cancel);
    }
    free(request);
    atomic_fetch_sub(&pl->pg->cancels, 1);
}
