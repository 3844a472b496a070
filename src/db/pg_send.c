/* Statements onto a connection, in pipeline mode. Each is sent as [DEALLOCATE p<old>] [Parse p<n>] Bind Execute, and a
 * Sync ends one statement or a group of reads (pg_group.c). */
#include "pg_internal.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

bool pg_conn_takes(const struct pg_conn *conn)
{
    return conn->state == PG_UP && !conn->is_retiring && !conn->is_write_blocked && !conn->is_cancelling &&
           !conn->is_fatal && !conn->is_broken && !conn->is_script;
}

static bool send_deallocate(struct pg_conn *conn, uint32_t id)
{
    char name[PG_NAME_MAX], text[PG_NAME_MAX + 16];

    pg_prepared_name(id, name);
    (void)snprintf(text, sizeof text, "DEALLOCATE %s", name);
    return PQsendQueryParams(conn->pq, text, 0, NULL, NULL, NULL, NULL, 0);
}

static bool send_prepared(struct pg_conn *conn, const struct db_statement *statement,
                          const struct pg_prepared *prepared)
{
    struct pg_loop *pl = conn->pl;
    char name[PG_NAME_MAX];

    pg_prepared_name(prepared->id, name);
    return PQsendQueryPrepared(conn->pq, name, (int)statement->values_count, pl->values, pl->lengths, pl->formats, 0);
}

/* Its first time on this connection. */
static bool prepare_and_send(struct pg_conn *conn, struct pg_sent *sent, const struct db_statement *statement)
{
    uint32_t evicted = 0;
    struct pg_prepared *prepared = pg_prepared_add(conn, statement->text, &evicted);
    char name[PG_NAME_MAX];

    if (!prepared)
        return false;
    if (evicted) {
        if (!send_deallocate(conn, evicted))
            return false;
        sent->commands++;
    }
    pg_prepared_name(prepared->id, name);
    if (!PQsendPrepare(conn->pq, name, statement->text, 0, NULL))
        return false;
    sent->commands++;
    sent->is_preparing = true;
    sent->prepared = prepared;
    prepared->holders++;
    return send_prepared(conn, statement, prepared);
}

static bool send_unprepared(struct pg_conn *conn, const struct db_statement *statement)
{
    struct pg_loop *pl = conn->pl;

    return PQsendQueryParams(conn->pq, statement->text, (int)statement->values_count, NULL, pl->values, pl->lengths,
                             pl->formats, 0);
}

static bool send_statement(struct pg_conn *conn, struct pg_sent *sent, const struct pg_call *call)
{
    if (call->is_streamed)
        return send_unprepared(conn, call->statement) && PQsetSingleRowMode(conn->pq);
    if (call->stale == PG_STALE_MAX)
        return send_unprepared(conn, call->statement);
    return sent->prepared ? send_prepared(conn, call->statement, sent->prepared)
                          : prepare_and_send(conn, sent, call->statement);
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
    return PQpipelineSync(conn->pq); /* writes at once */
#endif
}

/* More than one sync in a turn: what follows leaves together, with the flush. */
static void cork(struct pg_conn *conn, bool on)
{
    int value = on;

    if (conn->is_stream)
        (void)setsockopt(PQsocket(conn->pq), IPPROTO_TCP, TCP_CORK, &value, sizeof value);
    conn->is_corked = on;
}

static struct pg_sent *last_of(const struct pg_conn *conn)
{
    return PROA_CONTAINER(conn->sent.prev, struct pg_sent, node);
}

void pg_sync(struct pg_conn *conn)
{
    last_of(conn)->is_last = true;
    if (conn->groups++ == 0)
        conn->busy_since = proa_loop_now_exact(conn->pl->loop);
    if (conn->is_touched && !conn->is_corked)
        cork(conn, true);
    conn->is_touched = true;
    if (!send_sync(conn))
        conn->is_broken = true; /* pg_conn_flush sees to it */
}

int pg_put(struct pg_conn *conn, struct pg_call *call, struct pg_prepared *prepared)
{
    struct pg_sent *sent;

    PROA_TRY(pg_params(conn->pl, call->statement, call->sql.err));
    sent = pg_sent_add(conn, call, prepared);
    if (!sent)
        return proa_fail(call->sql.err, PROA_ENOMEM, "PostgreSQL: no memory for a statement");
    if (send_statement(conn, sent, call))
        return 0;
    /* Half of it may lie in libpq's buffer, but no Sync: it cannot be committed. */
    pg_sent_remove(conn, sent);
    return PROA_EUNAVAILABLE;
}

static int put_script(struct pg_conn *conn, struct pg_call *call)
{
    struct pg_sent *sent = pg_sent_add(conn, call, NULL);

    if (!sent)
        return proa_fail(call->sql.err, PROA_ENOMEM, "PostgreSQL: no memory for a script");
    sent->is_last = true;
    conn->groups++;
    if (send_script(conn, call->script))
        return 0;
    conn->groups--;
    pg_sent_remove(conn, sent);
    return PROA_EUNAVAILABLE;
}

int pg_send(struct pg_conn *conn, struct pg_call *call)
{
    struct pg_prepared *prepared = NULL;

    if (call->script)
        return put_script(conn, call);
    assert(call->statement);
    if (!call->is_streamed && call->stale < PG_STALE_MAX)
        prepared = pg_prepared_find(conn, call->statement->text);
    /* A transaction of one request on a connection of many would take in the others' statements. What was prepared once
     * was looked at then. */
    if (!prepared && conn->kind == DB_SHARED && db_text_controls(call->statement->text, false))
        return proa_fail(call->sql.err, PROA_EINTERNAL, "PostgreSQL: transactions are begun by proa_db_transaction");
    PROA_TRY(pg_put(conn, call, prepared));
    pg_sync(conn);
    return 0;
}

void pg_conn_flush(struct pg_conn *conn)
{
    int rc;

    conn->is_touched = false;
    if (conn->state != PG_UP)
        return;
    rc = PQflush(conn->pq);
    if (conn->is_corked)
        cork(conn, false);
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
