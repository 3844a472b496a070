/* The shared connections of a loop: which one gets a statement, how they are lost and heal, and what time is up for. */
#include "pg_internal.h"

#include <proa/checked.h>
#include <stdio.h>

void pg_set_reason(struct pg_loop *pl, const char *text)
{
    struct pg_config *config;

    if (!text || !*text)
        return;
    config = pg_config_hold(pl->pg);
    pg_reason(config, text, pl->reason, sizeof pl->reason);
    pg_config_release(config);
}

void pg_tell(struct pg_loop *pl, const char *what)
{
    proa_mono_ns now = proa_loop_now(pl->loop);

    if (pl != pl->pg->loops || (strcmp(pl->told, pl->reason) == 0 && now < pl->told_at + PROA_SECONDS(PG_TELL_S)))
        return;
    memcpy(pl->told, pl->reason, sizeof pl->told);
    pl->told_at = now;
    PROA_WARN(&pl->pg->db->logger, what, proa_kv_c("error", pl->reason));
}

/* The server was reached from elsewhere: connections try it now and not when their back-off ends, and statements wait
 * for that. */
static void try_anew(struct pg_loop *pl)
{
    pl->ups_seen = atomic_load_explicit(&pl->pg->ups, memory_order_acquire);
    if (pl->is_closing)
        return;
    if (pl->shared_up == 0)
        pl->down_since = proa_loop_now(pl->loop);
    for (uint32_t i = 0; i < pl->shared_count; i++) {
        struct pg_conn *conn = &pl->shared[i];

        if (conn->state != PG_DOWN || !proa_timer_armed(&conn->retry))
            continue;
        conn->failures = 0;
        proa_timer_stop(&conn->retry);
        pg_retry_fire(&conn->retry);
    }
}

void pg_wake_run(struct proa_task *task)
{
    struct pg_loop *pl = PROA_CONTAINER(task, struct pg_loop, wake);

    atomic_store(&pl->is_wake_posted, false);
    if (pl->ups_seen != atomic_load_explicit(&pl->pg->ups, memory_order_acquire))
        try_anew(pl);
}

/* A readiness check on one loop speaks for all of them. */
static void tell_others(struct pg_loop *pl)
{
    struct pg *pg = pl->pg;

    atomic_fetch_add_explicit(&pg->ups, 1, memory_order_release);
    try_anew(pl);
    for (uint32_t i = 0; i < pg->loops_count; i++) {
        if (&pg->loops[i] != pl && !atomic_exchange(&pg->loops[i].is_wake_posted, true))
            proa_loop_post(pg->loops[i].loop, &pg->loops[i].wake);
    }
}

bool pg_is_down(struct pg_loop *pl)
{
    /* The first connection of all gets the time it may take, unless it was refused. */
    uint64_t wait_ms = pl->was_up || *pl->reason ? PG_DOWN_WAIT_MS : pl->pg->db->options.connect_ms;

    if (pl->shared_up || proa_loop_now(pl->loop) < proa_add_u64_sat(pl->down_since, PROA_MS(wait_ms)))
        return false;
    if (pl->ups_seen == atomic_load_explicit(&pl->pg->ups, memory_order_acquire))
        return true;
    try_anew(pl); /* the task is still on its way */
    return false;
}

int pg_fail_down(const struct pg_loop *pl, struct proa_error *err)
{
    int rc = proa_fail(err, PROA_EUNAVAILABLE, "PostgreSQL cannot be reached: %s",
                       *pl->reason ? pl->reason : "no connection yet");

    if (err)
        err->retry_after_s = 1;
    return rc;
}

int pg_fail_closed(struct proa_error *err)
{
    return proa_fail(err, PROA_EUNAVAILABLE, "PostgreSQL: the database is closed");
}

/* -- The queue ------------------------------------------------------------------------------------------------- */

static void set_pending(struct pg_call *call, bool is_pending)
{
    if (call->is_pending == is_pending)
        return;
    call->is_pending = is_pending;
    db_metrics_pending(call->sql.db, call->sql.loop, DB_SHARED, is_pending ? 1 : -1);
}

void pg_unqueue(struct pg_call *call)
{
    struct pg_loop *pl = pg_loop_of(call->sql.db->impl, call->sql.loop);

    if (proa_list_empty(&call->node))
        return;
    proa_list_remove(&call->node);
    if (!call->conn) {
        pl->waiting_count--;
        set_pending(call, false);
    }
}

void pg_queue_again(struct pg_loop *pl, struct pg_call *call)
{
    if (call->conn) {
        proa_list_push_front(&pl->own_unsent, &call->node);
    } else {
        proa_list_push_front(&pl->waiting, &call->node);
        pl->waiting_count++;
    }
    proa_loop_flush_later(pl->loop, &pl->flush);
    pg_tick_arm(pl);
}

int pg_shared_run(struct pg_call *call, struct pg_loop *pl)
{
    uint32_t room = pl->shared_up * PG_OUTSTANDING_MAX;
    struct proa_error *err = call->sql.err;
    int result;

    if (pl->is_closing)
        return pg_fail_closed(err);
    if (pg_is_down(pl))
        return pg_fail_down(pl, err);
    room = room > pl->shared_sent ? room - pl->shared_sent : 0;
    if (pl->waiting_count >= pl->waiting_max + room) {
        int rc = proa_fail(err, PROA_EBUSY, "PostgreSQL: %u statements wait already", pl->waiting_count);

        if (err)
            err->retry_after_s = 1;
        return rc;
    }
    call->known = pg_known_hold(pl, call->statement->text);
    proa_waiter_init(&call->waiter, pl->loop);
    proa_list_push_back(&pl->waiting, &call->node);
    pl->waiting_count++;
    proa_loop_flush_later(pl->loop, &pl->flush);
    pg_tick_arm(pl);
    result = pg_call_wait(call);
    pg_known_release(call->known);
    return result;
}

/* Whether `a` is the better one for the next statement. */
static bool is_freer(const struct pg_conn *a, const struct pg_conn *b)
{
    if (pg_group_waits(a) != pg_group_waits(b))
        return !pg_group_waits(a);
    return a->load_us < b->load_us;
}

static struct pg_conn *least_busy(struct pg_loop *pl)
{
    struct pg_conn *best = NULL;

    for (uint32_t i = 0; i < pl->shared_count; i++) {
        struct pg_conn *conn = &pl->shared[i];

        if (pg_conn_takes(conn) && conn->sent_count < PG_OUTSTANDING_MAX && (!best || is_freer(conn, best)))
            best = conn;
    }
    return best;
}

/* Another connection may take it, once. */
void pg_not_sent(struct pg_conn *conn, struct pg_call *call)
{
    struct pg_loop *pl = conn->pl;

    pg_conn_lost(conn, PQerrorMessage(conn->pq));
    if (call->was_retried || call->conn) {
        pg_call_finish(call, pg_fail_lost(call, false, pl->reason));
        return;
    }
    call->was_retried = true;
    pg_queue_again(pl, call);
}

static void give(struct pg_conn *conn, struct pg_call *call)
{
    int rc;

    pg_unqueue(call);
    rc = pg_send(conn, call);
    if (rc == PROA_EUNAVAILABLE)
        pg_not_sent(conn, call);
    else if (rc < 0)
        pg_call_finish(call, rc);
}

static void flush_own(struct pg_loop *pl)
{
    struct proa_list *node = pl->own_unsent.next;

    while (node != &pl->own_unsent) {
        struct pg_call *call = PROA_CONTAINER(node, struct pg_call, node);
        struct pg_conn *conn = call->conn;

        node = node->next;
        if (!pg_conn_takes(conn) || (call->script && conn->sent_count))
            continue;
        conn->holders++;
        give(conn, call);
        pg_conn_flush(conn);
        pg_own_unref(conn);
        /* losing a connection takes its other calls out of the list */
        node = pl->own_unsent.next == &pl->own_unsent ? &pl->own_unsent : node;
    }
}

void pg_flush_run(struct proa_flush *flush)
{
    struct pg_loop *pl = PROA_CONTAINER(flush, struct pg_loop, flush);
    struct pg_conn *conn;

    flush_own(pl);
    while (!proa_list_empty(&pl->waiting) && (conn = least_busy(pl))) {
        struct pg_call *call = PROA_CONTAINER(pl->waiting.next, struct pg_call, node);

        if (!pg_group_takes(pl, call))
            give(conn, call);
        else if (!pg_group_waits(conn))
            pg_group_send(conn);
        else
            break; /* with those that come until there is an answer */
    }
    for (uint32_t i = 0; i < pl->shared_count; i++) {
        if (pl->shared[i].is_touched || pl->shared[i].is_corked)
            pg_conn_flush(&pl->shared[i]);
    }
    /* Those that are left do wait; the ones counted already stand in front. */
    for (struct proa_list *node = pl->waiting.prev; node != &pl->waiting; node = node->prev) {
        struct pg_call *call = PROA_CONTAINER(node, struct pg_call, node);

        if (call->is_pending)
            break;
        set_pending(call, true);
    }
}

/* -- Losing and healing ---------------------------------------------------------------------------------------- */

static void retry_later(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;
    uint32_t shift = conn->failures < 8 ? conn->failures : 8;
    uint64_t ms = (uint64_t)PG_BACKOFF_MIN_MS << shift;
    uint64_t ns = PROA_MS(ms < PG_BACKOFF_MAX_MS ? ms : PG_BACKOFF_MAX_MS);

    /* Half of it to all of it, so that many clients do not come back together. */
    ns = ns / 2 + proa_loop_random_u64(pl->loop) % (ns / 2 + 1);
    if (!pl->is_closing && proa_timer_start(&conn->retry, proa_loop_now(pl->loop) + ns) < 0)
        pg_set_reason(pl, "no memory for a timer");
}

void pg_retry_fire(struct proa_timer *timer)
{
    struct pg_conn *conn = PROA_CONTAINER(timer, struct pg_conn, retry);

    if (pg_connect(conn) < 0) {
        conn->failures++;
        retry_later(conn);
    }
}

void pg_shared_up(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;

    pl->was_up = true;
    pl->told[0] = '\0';
    pl->down_since = PROA_NEVER;
    db_metrics_connections(pl->pg->db, pl->loop, DB_SHARED, 1, 0);
    if (pl->shared_up++ == 0)
        tell_others(pl);
    proa_loop_flush_later(pl->loop, &pl->flush);
}

void pg_shared_failed(struct pg_conn *conn)
{
    conn->failures++;
    if (conn->pl->is_closing)
        return;
    db_metrics_connect_failed(conn->pl->pg->db, conn->pl->loop);
    pg_tell(conn->pl, "PostgreSQL cannot be reached");
    retry_later(conn);
}

void pg_conn_lost(struct pg_conn *conn, const char *reason)
{
    struct pg_loop *pl = conn->pl;

    if (conn->state != PG_UP)
        return;
    pg_set_reason(pl, reason);
    if (!pl->is_closing)
        db_metrics_connect_failed(pl->pg->db, pl->loop);
    if (conn->kind == DB_OWN) {
        pg_own_lost(conn);
        return;
    }
    pg_conn_drop(conn);
    db_metrics_connections(pl->pg->db, pl->loop, DB_SHARED, -1, 0);
    if (--pl->shared_up == 0)
        pl->down_since = proa_loop_now(pl->loop);
    retry_later(conn);
}

/* -- The tick -------------------------------------------------------------------------------------------------- */

void pg_tick_arm(struct pg_loop *pl)
{
    proa_mono_ns at = proa_loop_now(pl->loop) + PROA_MS(PG_TICK_MS);

    if (pl->is_closing || (proa_timer_armed(&pl->tick) && pl->tick.at <= at))
        return;
    /* without memory for a timer the next statement tries again */
    proa_ignore(proa_timer_start(&pl->tick, at));
}

static void watch_answers(struct pg_loop *pl, proa_mono_ns now)
{
    uint64_t limit = PROA_MS((uint64_t)pl->pg->db->options.statement_ms + PG_ANSWER_MARGIN_MS);

    for (uint32_t i = 0; i < pl->shared_count; i++) {
        struct pg_conn *conn = &pl->shared[i];

        /* The server began with the oldest when it had answered the one before. */
        if (conn->state == PG_UP && conn->sent_count && now >= conn->progress_at + limit)
            pg_conn_lost(conn, "the server does not answer");
    }
}

static void fail_waiting(struct pg_loop *pl)
{
    while (!proa_list_empty(&pl->waiting)) {
        struct pg_call *call = PROA_CONTAINER(pl->waiting.next, struct pg_call, node);

        pg_unqueue(call);
        pg_call_finish(call, pg_fail_down(pl, call->sql.err));
    }
}

void pg_shared_end(struct pg_loop *pl)
{
    while (!proa_list_empty(&pl->waiting)) {
        struct pg_call *call = PROA_CONTAINER(pl->waiting.next, struct pg_call, node);

        pg_unqueue(call);
        pg_call_finish(call, pg_fail_closed(call->sql.err));
    }
}

void pg_tick_fire(struct proa_timer *timer)
{
    struct pg_loop *pl = PROA_CONTAINER(timer, struct pg_loop, tick);
    proa_mono_ns now = proa_loop_now(pl->loop);

    watch_answers(pl, now);
    for (uint32_t i = 0; i < pl->shared_count; i++) {
        if (pl->shared[i].state == PG_UP)
            pg_group_measure(&pl->shared[i]);
    }
    if (pl->waiting_count && pg_is_down(pl))
        fail_waiting(pl);
    pg_own_tick(pl, now);
    if (pl->waiting_count || pl->shared_sent || pl->own_draining)
        pg_tick_arm(pl);
    else if (pl->own_count)
        proa_ignore(proa_timer_start(&pl->tick, now + PROA_MS(PG_IDLE_TICK_MS)));
}
