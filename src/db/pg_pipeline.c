/* Results from one connection, in pipeline mode, and who waits for them. A statement has as many results as commands
 * were sent for it; behind the last one of a group comes PGRES_PIPELINE_SYNC: only then it is known that it was
 * committed, since the server commits when it meets the Sync. Everything here runs on the loop's own stack, but for
 * pg_call_wait.
 *
 *      call on a fiber's stack --pg_send, pg_group_send--> pg_sent in conn->sent --the sync's result--> fiber woken,
 *                                                                |                                      or sent again
 *                                     fiber gave up: pg_sent stays without its call, its results are thrown away
 */
#include "pg_internal.h"

#include <stdlib.h>

enum { COST_UNKNOWN_US = 1000, COST_LEAST_US = 10 };

void pg_conn_init(struct pg_conn *conn, struct pg_loop *pl, enum db_connection_kind kind)
{
    *conn = (struct pg_conn){.pl = pl, .kind = kind, .holders = 1, .groups_ahead = 1};
    proa_list_init(&conn->sent);
    proa_list_init(&conn->prepared_used);
    proa_list_init(&conn->all);
    proa_list_init(&conn->idle);
    proa_timer_init(&conn->retry, pl->loop, pg_retry_fire);
    conn->prepared = proa_map_new(0);
}

void pg_conn_done(struct pg_conn *conn)
{
    pg_prepared_clear(conn);
    proa_map_free(conn->prepared);
    conn->prepared = NULL;
}

/* -- What was sent ----------------------------------------------------------------------------------------------- */

static void count_sent(struct pg_conn *conn, int more)
{
    uint32_t before = conn->sent_count;

    conn->sent_count = (uint32_t)((int)before + more);
    if (conn->kind != DB_SHARED)
        return;
    conn->pl->shared_sent = (uint32_t)((int)conn->pl->shared_sent + more);
    if (before == 0)
        db_metrics_connections(conn->pl->pg->db, conn->pl->loop, DB_SHARED, -1, 1);
    else if (conn->sent_count == 0)
        db_metrics_connections(conn->pl->pg->db, conn->pl->loop, DB_SHARED, 1, -1);
}

struct pg_sent *pg_sent_add(struct pg_conn *conn, struct pg_call *call, struct pg_prepared *prepared)
{
    struct pg_loop *pl = conn->pl;
    struct proa_list *node = proa_list_pop_front(&pl->free_sent);
    struct pg_sent *sent = node ? PROA_CONTAINER(node, struct pg_sent, node) : malloc(sizeof *sent);
    uint64_t cost_us = COST_UNKNOWN_US;

    if (!sent)
        return NULL;
    if (call->known && call->known->has_run)
        cost_us = call->known->cost_ns / 1000 + COST_LEAST_US;
    *sent =
        (struct pg_sent){.call = call, .prepared = prepared, .known = call->known, .commands = 1, .cost_us = cost_us};
    if (prepared)
        prepared->holders++;
    if (sent->known)
        sent->known->holders++;
    if (conn->sent_count == 0) {
        conn->progress_at = proa_loop_now(pl->loop);
        conn->due = sent;
    }
    proa_list_push_back(&conn->sent, &sent->node);
    call->sent = sent;
    call->on = conn;
    conn->waited++;
    conn->load_us += sent->cost_us;
    count_sent(conn, 1);
    return sent;
}

void pg_sent_remove(struct pg_conn *conn, struct pg_sent *sent)
{
    if (sent->call)
        pg_sent_leave(conn, sent);
    if (sent->prepared)
        pg_prepared_release(sent->prepared);
    pg_known_release(sent->known);
    if (conn->due == sent)
        conn->due = NULL;
    conn->load_us -= sent->cost_us;
    count_sent(conn, -1);
    proa_list_remove(&sent->node);
    proa_list_push_front(&conn->pl->free_sent, &sent->node);
}

void pg_sent_leave(struct pg_conn *conn, struct pg_sent *sent)
{
    if (sent->call->sent == sent)
        sent->call->sent = NULL;
    sent->call = NULL;
    conn->waited--;
}

/* -- Results --------------------------------------------------------------------------------------------------- */

void pg_call_finish(struct pg_call *call, int rc)
{
    proa_list_remove(&call->node);
    call->sent = NULL;
    call->rc = rc;
    call->is_done = true;
    proa_unpark(&call->waiter, 0);
}

void pg_call_again(struct pg_call *call)
{
    struct pg_loop *pl = call->on->pl;

    call->sent = NULL;
    call->rc = 0;
    call->has_columns = false;
    call->may_retry = false;
    if (call->statement->rows)
        db_rows_again(call->statement->rows);
    call->statement->changed = 0;
    proa_error_clear(call->sql.err);
    pg_queue_again(pl, call);
}

/* One more of its commands was answered for good. */
static void command_answered(struct pg_conn *conn, struct pg_sent *sent)
{
    if (conn->is_script || --sent->commands)
        return;
    conn->due = sent->is_last ? NULL : PROA_CONTAINER(sent->node.next, struct pg_sent, node);
}

/* An error undoes what its statement did, but for a procedure that has committed in between. */
static bool is_undone(const struct pg_call *call, const PGresult *result)
{
    return !pg_result_is_from_within(result) || (call && call->statement && !pg_text_commits(call->statement->text));
}

static void take_error(struct pg_conn *conn, struct pg_sent *sent, const PGresult *result)
{
    struct pg_call *call = sent->call;

    if (sent->is_failed)
        return;
    sent->is_failed = true;
    if (sent->is_preparing && sent->commands > 1)
        pg_prepared_forget(conn, sent->prepared);
    sent->is_stale = pg_result_is_stale(result) && is_undone(call, result);
    sent->is_conflict = pg_result_may_retry(result);
    if (call && call->rc == 0)
        call->rc = pg_fail_result(call->sql.err, result);
    if (call && sent->is_conflict)
        call->may_retry = true;
}

/* @param sent NULL: the sync itself failed, which is the whole group's. */
static void take_failure(struct pg_conn *conn, struct pg_sent *sent, const PGresult *result)
{
    if (pg_result_is_fatal(result)) {
        pg_set_reason(conn->pl, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
        conn->is_fatal = true;
        return;
    }
    if (!PQresultErrorField(result, PG_DIAG_SQLSTATE))
        return; /* it is libpq's own word about a lost connection */
    conn->is_undone = true;
    if (sent)
        take_error(conn, sent, result);
}

/* @returns false when nothing of ours can have this result. */
static bool take_result(struct pg_conn *conn, PGresult *result)
{
    struct pg_sent *first = PROA_CONTAINER(conn->sent.next, struct pg_sent, node);
    struct pg_sent *sent = conn->is_script ? first : conn->due;
    ExecStatusType status = PQresultStatus(result);

    switch (status) {
    case PGRES_EMPTY_QUERY:
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
        if (!sent)
            return false;
        if (sent->commands == 1 && sent->call) {
            sent->call->is_committed = strcmp(PQcmdStatus(result), "COMMIT") == 0;
            pg_rows(conn->pl, sent->call, result);
        }
        break;
    case PGRES_PIPELINE_ABORTED:
        if (sent && sent->is_preparing && sent->commands > 1)
            pg_prepared_forget(conn, sent->prepared);
        break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        if (sent && sent->call && sent->call->rc == 0)
            sent->call->rc =
                proa_fail(sent->call->sql.err, PROA_EUNSUPPORTED, "PostgreSQL: COPY is not supported here");
        if (sent)
            sent->is_failed = true;
        conn->is_broken = true; /* there is no way back but a new connection */
        return true;
    default: take_failure(conn, sent || !first->is_last ? sent : first, result); break;
    }
    if (sent && status != PGRES_SINGLE_TUPLE)
        command_answered(conn, sent);
    return true;
}

static bool end_script(struct pg_conn *conn)
{
    conn->is_script = false;
    return PQenterPipelineMode(conn->pq);
}

/* Everything that has come. @returns false when libpq and we disagree about what comes next. */
static bool take_results(struct pg_conn *conn)
{
    int empty = 0;
    bool ok = true;

    while (ok && !PQisBusy(conn->pq) && !proa_list_empty(&conn->sent) && !conn->is_fatal && !conn->is_broken) {
        PGresult *result = PQgetResult(conn->pq);

        if (!result && conn->is_script) {
            ok = end_script(conn);
            if (ok)
                pg_group_answered(conn);
            continue;
        }
        if (!result) {
            /* the end of one command; two in a row are none of ours */
            ok = ++empty <= 2;
            continue;
        }
        empty = 0;
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
            pg_group_answered(conn);
        else
            ok = take_result(conn, result);
        PQclear(result);
    }
    return ok;
}

/* Nobody asked for NOTIFY; libpq would keep them. */
static void drop_notices(struct pg_conn *conn)
{
    PGnotify *notify;

    while ((notify = PQnotifies(conn->pq)))
        PQfreemem(notify);
}

static void read_answers(struct pg_conn *conn)
{
    bool ok = PQconsumeInput(conn->pq);

    ok = take_results(conn) && ok;
    drop_notices(conn);
    if (conn->state == PG_UP && (!ok || conn->is_fatal || conn->is_broken || PQstatus(conn->pq) == CONNECTION_BAD))
        pg_conn_lost(conn, conn->is_fatal ? NULL : PQerrorMessage(conn->pq));
}

void pg_conn_ready(void *arg, int events)
{
    struct pg_conn *conn = arg;

    conn->holders++; /* an own connection may be lost, and given up, by any of this */
    if (events & PROA_WRITABLE && conn->is_write_blocked)
        pg_conn_flush(conn);
    if (conn->state == PG_UP && events & PROA_READABLE)
        read_answers(conn);
    pg_own_unref(conn);
}

void pg_conn_drop(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;
    bool is_first = true, was_fatal = conn->is_fatal;

    proa_fd_watch_free(conn->watch);
    PQfinish(conn->pq);
    conn->watch = NULL;
    conn->pq = NULL;
    conn->state = PG_DOWN;
    conn->generation++;
    conn->is_write_blocked = conn->is_cancelling = conn->is_fatal = conn->is_broken = conn->is_undone = false;
    conn->is_script = conn->is_corked = conn->is_touched = conn->is_retiring = false;
    pg_prepared_clear(conn);
    while (!proa_list_empty(&conn->sent)) {
        struct pg_sent *sent = PROA_CONTAINER(conn->sent.next, struct pg_sent, node);
        struct pg_call *call = sent->call;

        /* The server takes them in order: what stood behind the group it died over did not run. */
        if (call)
            pg_call_finish(call, sent->is_failed && call->rc < 0
                                     ? call->rc
                                     : pg_fail_lost(call, is_first || !was_fatal, pl->reason));
        is_first = is_first && !sent->is_last;
        pg_sent_remove(conn, sent);
    }
    conn->groups = 0;
    conn->due = NULL;
}

/* -- Waiting --------------------------------------------------------------------------------------------------- */

/* Nobody waits for what is on its way, so that a cancel request can hit nobody: a single statement, or reads. */
static bool may_cancel(const struct pg_conn *conn)
{
    if (conn->waited)
        return false;
    for (struct proa_list *node = conn->sent.next; node != &conn->sent; node = node->next)
        if (!PROA_CONTAINER(node, struct pg_sent, node)->is_sharing && conn->sent_count > 1)
            return false;
    return true;
}

static void abandon(struct pg_call *call)
{
    struct pg_conn *conn = call->on;

    pg_unqueue(call);
    if (!call->sent)
        return;
    pg_sent_leave(conn, call->sent);
    if (!call->is_commit && may_cancel(conn))
        pg_cancel(conn);
}

int pg_call_wait(struct pg_call *call)
{
    int rc = proa_park(&call->waiter);
    const char *ended;
    bool was_sent;

    if (call->is_done)
        return call->rc;
    was_sent = call->sent != NULL;
    abandon(call);
    if (!was_sent && !call->conn && rc == PROA_ETIMEDOUT)
        db_metrics_wait_timed_out(call->sql.db, call->sql.loop, DB_SHARED);
    ended = rc == PROA_ETIMEDOUT ? "the deadline passed" : "cancelled";
    /* A write that was sent goes on without us, and may yet succeed, whatever ended the wait. */
    if (was_sent && pg_may_have_written(call))
        return proa_fail(call->sql.err, PROA_EUNKNOWN,
                         "PostgreSQL: %s after the statement was sent, its outcome is unknown", ended);
    return proa_fail(call->sql.err, rc < 0 ? rc : PROA_EINTERNAL, "PostgreSQL: %s %s", ended,
                     was_sent ? "while the statement ran" : "before the statement was sent");
}
