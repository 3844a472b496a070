/* Statements and results on one connection, in pipeline mode.
 *
 * Each statement is sent as  [DEALLOCATE p<old>] [Parse p<n>] Bind Execute Sync  and answered by as many results, the
 * last of them PGRES_PIPELINE_SYNC: only then it is known that it was committed, since the server commits a single
 * statement when it meets the Sync. Everything here runs on the loop's own stack, but for pg_call_wait.
 *
 *      call on a fiber's stack --pg_send--> pg_sent in conn->sent --last result--> fiber woken
 *                                                |
 *                                  fiber gave up: pg_sent stays without its call, its results are thrown away
 */
#include "pg_internal.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

void pg_conn_init(struct pg_conn *conn, struct pg_loop *pl, enum db_connection_kind kind)
{
    *conn = (struct pg_conn){.pl = pl, .kind = kind, .holders = 1};
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

bool pg_conn_takes(const struct pg_conn *conn)
{
    return conn->state == PG_UP && !conn->is_write_blocked && !conn->is_cancelling && !conn->is_fatal &&
           !conn->is_broken && !conn->is_script;
}

static void count_sent(struct pg_conn *conn, int more)
{
    uint32_t before = conn->sent_count;

    conn->sent_count = (uint32_t)((int)before + more);
    if (conn->kind != DB_SHARED)
        return;
    conn->pl->shared_sent = (uint32_t)((int)conn->pl->shared_sent + more);
    if (before == 0)
        db_metrics_connections(conn->pl->pg->db, DB_SHARED, -1, 1);
    else if (conn->sent_count == 0)
        db_metrics_connections(conn->pl->pg->db, DB_SHARED, 1, -1);
}

static struct pg_sent *sent_new(struct pg_loop *pl)
{
    struct proa_list *node = proa_list_pop_front(&pl->free_sent);
    struct pg_sent *sent = node ? PROA_CONTAINER(node, struct pg_sent, node) : malloc(sizeof *sent);

    if (sent) {
        *sent = (struct pg_sent){.at = proa_loop_now(pl->loop)};
        proa_list_init(&sent->node);
    }
    return sent;
}

static void sent_free(struct pg_loop *pl, struct pg_sent *sent)
{
    proa_list_remove(&sent->node);
    proa_list_push_front(&pl->free_sent, &sent->node);
}

/* -- Sending --------------------------------------------------------------------------------------------------- */

static bool send_deallocate(struct pg_conn *conn, uint32_t id)
{
    char name[PG_NAME_MAX], text[PG_NAME_MAX + 16];

    pg_prepared_name(id, name);
    (void)snprintf(text, sizeof text, "DEALLOCATE %s", name);
    return PQsendQueryParams(conn->pq, text, 0, NULL, NULL, NULL, NULL, 0);
}

/* @param prepared NULL: not yet. */
static bool send_prepared(struct pg_conn *conn, struct pg_sent *sent, const struct db_statement *statement,
                          const struct pg_prepared *prepared)
{
    struct pg_loop *pl = conn->pl;
    uint32_t evicted = 0;
    char name[PG_NAME_MAX];

    if (!prepared) {
        prepared = pg_prepared_add(conn, statement->text, &evicted);
        if (!prepared)
            return false;
        if (evicted) {
            if (!send_deallocate(conn, evicted))
                return false;
            sent->leading++;
        }
        pg_prepared_name(prepared->id, name);
        if (!PQsendPrepare(conn->pq, name, statement->text, 0, NULL))
            return false;
        sent->leading++;
        sent->is_preparing = true;
    } else {
        pg_prepared_name(prepared->id, name);
    }
    sent->prepared_id = prepared->id;
    return PQsendQueryPrepared(conn->pq, name, (int)statement->values_count, pl->values, pl->lengths, pl->formats, 0);
}

static bool send_unprepared(struct pg_conn *conn, const struct db_statement *statement)
{
    struct pg_loop *pl = conn->pl;

    return PQsendQueryParams(conn->pq, statement->text, (int)statement->values_count, NULL, pl->values, pl->lengths,
                             pl->formats, 0);
}

static bool send_statement(struct pg_conn *conn, struct pg_sent *sent, const struct pg_call *call,
                           const struct pg_prepared *prepared)
{
    assert(call->statement);
    if (call->is_streamed)
        return send_unprepared(conn, call->statement) && PQsetSingleRowMode(conn->pq);
    return call->stale == PG_STALE_MAX ? send_unprepared(conn, call->statement)
                                       : send_prepared(conn, sent, call->statement, prepared);
}

static bool send_script(struct pg_conn *conn, const char *script)
{
    if (!PQexitPipelineMode(conn->pq))
        return false;
    conn->is_script = true;
    return PQsendQuery(conn->pq, script);
}

static bool send_sync(struct pg_conn *conn)
{
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
    return PQsendPipelineSync(conn->pq);
#else
    /* Writes at once: the statements of one turn then leave in one segment (TCP) by pg_cork, else one by one. */
    return PQpipelineSync(conn->pq);
#endif
}

/* A transaction of one request on a connection of many would take in the others' statements. What was prepared once was looked
 * at then. */
static int check_statement(struct pg_conn *conn, const struct pg_call *call, struct pg_prepared **ret_prepared)
{
    struct pg_prepared *prepared = call->is_streamed ? NULL : pg_prepared_find(conn, call->statement->text);

    if (!prepared && conn->kind == DB_SHARED && pg_text_controls(call->statement->text))
        return proa_fail(call->sql.err, PROA_EINTERNAL, "PostgreSQL: transactions are begun by proa_db_transaction");
    *ret_prepared = prepared;
    return pg_params(conn->pl, call->statement, call->sql.err);
}

int pg_send(struct pg_conn *conn, struct pg_call *call)
{
    struct pg_loop *pl = conn->pl;
    struct pg_prepared *prepared = NULL;
    struct pg_sent *sent;
    bool ok;

    if (call->statement)
        PROA_TRY(check_statement(conn, call, &prepared));
    sent = sent_new(pl);
    if (!sent)
        return proa_fail(call->sql.err, PROA_ENOMEM, "PostgreSQL: no memory for a statement");
    ok = call->script ? send_script(conn, call->script) : send_statement(conn, sent, call, prepared);
    if (!ok) {
        /* Half of it may lie in libpq's buffer, but no Sync: it cannot be committed. */
        sent_free(pl, sent);
        return PROA_EUNAVAILABLE;
    }
    if (conn->sent_count == 0)
        conn->progress_at = sent->at;
    sent->call = call;
    call->sent = sent;
    call->on = conn;
    proa_list_push_back(&conn->sent, &sent->node);
    count_sent(conn, 1);
    conn->is_touched = true;
    if (!call->script && !send_sync(conn))
        conn->is_broken = true; /* pg_conn_flush sees to it */
    return 0;
}

void pg_conn_cork(struct pg_conn *conn, bool on)
{
    int value = on;

    if (conn->is_stream)
        (void)setsockopt(PQsocket(conn->pq), IPPROTO_TCP, TCP_CORK, &value, sizeof value);
    conn->is_corked = on;
}

void pg_conn_flush(struct pg_conn *conn)
{
    int rc;

    if (conn->state != PG_UP)
        return;
    rc = PQflush(conn->pq);
    if (conn->is_corked)
        pg_conn_cork(conn, false);
    if (rc < 0 || conn->is_broken || PQstatus(conn->pq) == CONNECTION_BAD) {
        pg_conn_lost(conn, PQerrorMessage(conn->pq));
        return;
    }
    if ((rc == 1) == conn->is_write_blocked)
        return;
    conn->is_write_blocked = rc == 1;
    if (proa_fd_watch_set(conn->watch, conn->is_write_blocked ? PROA_READABLE | PROA_WRITABLE : PROA_READABLE) < 0)
        pg_conn_lost(conn, "its descriptor cannot be watched");
    else if (!conn->is_write_blocked)
        proa_loop_flush_later(conn->pl->loop, &conn->pl->flush);
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

/* The prepared statement was gone or out of date, and nothing ran: once more, with a new one. */
static bool try_again(struct pg_conn *conn, struct pg_sent *sent)
{
    struct pg_call *call = sent->call;

    if (sent->prepared_id)
        pg_prepared_forget(conn, sent->prepared_id);
    if (!call || call->is_in_tx)
        return false; /* the transaction has failed with it */
    if (call->stale == PG_STALE_MAX)
        return false;
    call->stale++;
    call->sent = NULL;
    call->rc = 0;
    proa_error_clear(call->sql.err);
    pg_queue_again(conn->pl, call);
    return true;
}

static void sent_finished(struct pg_conn *conn, struct pg_sent *sent)
{
    struct pg_loop *pl = conn->pl;
    struct pg_call *call = sent->call;

    conn->progress_at = proa_loop_now(pl->loop);
    count_sent(conn, -1);
    if (!(sent->is_stale && try_again(conn, sent)) && call) {
        if (sent->is_stale && call->is_in_tx) {
            call->may_retry = true;
            call->rc = proa_fail(call->sql.err, PROA_ECONFLICT,
                                 "PostgreSQL: the schema was changed; the transaction must be run again");
        }
        pg_call_finish(call, call->rc);
    }
    sent_free(pl, sent);
    if (conn->kind == DB_OWN)
        pg_own_settled(conn);
    if (pl->waiting_count)
        proa_loop_flush_later(pl->loop, &pl->flush);
}

static void take_failure(struct pg_conn *conn, struct pg_sent *sent, const PGresult *result)
{
    struct pg_call *call = sent->call;

    if (pg_result_is_fatal(result)) {
        pg_set_reason(conn->pl, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
        conn->is_fatal = true;
        return;
    }
    if (sent->is_failed || !PQresultErrorField(result, PG_DIAG_SQLSTATE))
        return; /* without a state it is libpq's own word about a lost connection */
    sent->is_failed = true;
    if (sent->is_preparing && sent->leading && sent->prepared_id)
        pg_prepared_forget(conn, sent->prepared_id);
    sent->is_stale = pg_result_is_stale(result);
    if (call && call->rc == 0)
        call->rc = pg_fail_result(call->sql.err, result);
    if (call && pg_result_may_retry(result))
        call->may_retry = true;
}

/* @returns true when it was the last result of `sent`. */
static bool take_result(struct pg_conn *conn, struct pg_sent *sent, PGresult *result)
{
    struct pg_call *call = sent->call;

    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC: return true;
    case PGRES_PIPELINE_ABORTED: return false;
    case PGRES_EMPTY_QUERY:
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
        if (sent->leading) {
            sent->leading--;
        } else if (call) {
            call->is_committed = strcmp(PQcmdStatus(result), "COMMIT") == 0;
            pg_rows(conn->pl, call, result);
        }
        return false;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        if (call && call->rc == 0)
            call->rc = proa_fail(call->sql.err, PROA_EUNSUPPORTED, "PostgreSQL: COPY is not supported here");
        sent->is_failed = true;
        conn->is_broken = true; /* there is no way back but a new connection */
        return false;
    default: take_failure(conn, sent, result); return false;
    }
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

    while (!PQisBusy(conn->pq) && !proa_list_empty(&conn->sent) && !conn->is_fatal && !conn->is_broken) {
        struct pg_sent *sent = PROA_CONTAINER(conn->sent.next, struct pg_sent, node);
        PGresult *result = PQgetResult(conn->pq);
        bool is_last;

        if (!result && conn->is_script) {
            if (!end_script(conn))
                return false;
            sent_finished(conn, sent);
            continue;
        }
        if (!result) {
            /* the end of one command; two in a row are none of ours */
            if (++empty > 2)
                return false;
            continue;
        }
        empty = 0;
        is_last = take_result(conn, sent, result);
        PQclear(result);
        if (is_last)
            sent_finished(conn, sent);
    }
    return true;
}

/* Nobody asked for NOTIFY; libpq would keep them. */
static void drop_notices(struct pg_conn *conn)
{
    PGnotify *notify;

    while ((notify = PQnotifies(conn->pq)))
        PQfreemem(notify);
}

void pg_conn_ready(void *arg, int events)
{
    struct pg_conn *conn = arg;
    bool ok = true;

    if (events & PROA_WRITABLE && conn->is_write_blocked)
        pg_conn_flush(conn);
    if (conn->state != PG_UP || !(events & PROA_READABLE))
        return;
    conn->holders++; /* an own connection may be given up meanwhile */
    ok = PQconsumeInput(conn->pq);
    ok = take_results(conn) && ok;
    drop_notices(conn);
    if (conn->state == PG_UP && (!ok || conn->is_fatal || conn->is_broken || PQstatus(conn->pq) == CONNECTION_BAD))
        pg_conn_lost(conn, conn->is_fatal ? NULL : PQerrorMessage(conn->pq));
    pg_own_unref(conn);
}

void pg_conn_drop(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;
    bool is_head = true, was_fatal = conn->is_fatal;
    struct proa_list *node;

    proa_fd_watch_free(conn->watch);
    PQfinish(conn->pq);
    conn->watch = NULL;
    conn->pq = NULL;
    conn->state = PG_DOWN;
    conn->generation++;
    conn->is_write_blocked = conn->is_cancelling = conn->is_fatal = conn->is_broken = false;
    conn->is_script = conn->is_corked = conn->is_touched = false;
    pg_prepared_clear(conn);
    while ((node = proa_list_pop_front(&conn->sent))) {
        struct pg_sent *sent = PROA_CONTAINER(node, struct pg_sent, node);
        struct pg_call *call = sent->call;

        count_sent(conn, -1);
        /* The server takes statements in order: what stood behind the one it died over did not run. */
        if (call)
            pg_call_finish(call, sent->is_failed && call->rc < 0
                                     ? call->rc
                                     : pg_fail_lost(call, is_head || !was_fatal, pl->reason));
        is_head = false;
        sent_free(pl, sent);
    }
}

/* -- Waiting --------------------------------------------------------------------------------------------------- */

static void abandon(struct pg_call *call)
{
    struct pg_sent *sent = call->sent;
    struct pg_conn *conn;

    pg_unqueue(call);
    if (!sent)
        return;
    sent->call = NULL;
    conn = call->on;
    if (conn->sent_count == 1 && !call->is_commit)
        pg_cancel(conn);
}

int pg_call_wait(struct pg_call *call)
{
    int rc = proa_park(&call->waiter);
    bool was_sent;

    if (call->is_done)
        return call->rc;
    was_sent = call->sent != NULL;
    abandon(call);
    if (!was_sent && !call->conn && rc == PROA_ETIMEDOUT)
        db_metrics_wait_timed_out(call->sql.db, DB_SHARED);
    return proa_fail(call->sql.err, rc < 0 ? rc : PROA_EINTERNAL, "PostgreSQL: %s %s",
                     rc == PROA_ETIMEDOUT ? "the deadline passed" : "cancelled",
                     was_sent ? "while the statement ran" : "before the statement was sent");
}
