/* Connections of one's own: transactions, long statements and scripts. They are made when first wanted, kept for the
 * next, and closed when nobody wanted them for a minute. The process's number is shared out over the loops.
 *
 *      CONNECTING --up--> idle <-----------------------+
 *          |               | acquire                    | settled
 *          | fails         v          release           |
 *          |            reserved ---------------> draining (a cancelled statement has not ended yet)
 *          v               | lost                       | lost, or for too long
 *        freed <-----------+----------------------------+
 */
#include "pg_internal.h"

#include <stdlib.h>

struct own_wait {
    struct proa_waiter waiter;
    struct proa_list node;
    struct pg_conn *conn;
    struct proa_error *err;
    bool is_done;
    int rc;
};

void pg_own_unref(struct pg_conn *conn)
{
    if (--conn->holders)
        return;
    pg_conn_done(conn);
    free(conn);
}

static int start_one(struct pg_loop *pl)
{
    struct pg_conn *conn = malloc(sizeof *conn);
    int rc;

    if (!conn)
        return PROA_ENOMEM;
    pg_conn_init(conn, pl, DB_OWN);
    rc = pg_connect(conn);
    if (rc < 0) {
        pg_own_unref(conn);
        return rc;
    }
    proa_list_push_back(&pl->own_all, &conn->all);
    pl->own_count++;
    return 0;
}

static void remove_one(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;

    proa_list_remove(&conn->all);
    proa_list_remove(&conn->idle);
    if (conn->is_draining) {
        conn->is_draining = false;
        pl->own_draining--;
    }
    pl->own_count--;
    pg_own_unref(conn);
    /* somebody may have waited for this one */
    if (pl->own_waiting_count && pl->own_count < pl->own_max && !pl->is_closing)
        proa_ignore(start_one(pl));
}

static void finish_wait(struct pg_loop *pl, struct own_wait *wait, struct pg_conn *conn, int rc)
{
    proa_list_remove(&wait->node);
    pl->own_waiting_count--;
    wait->conn = conn;
    wait->rc = rc;
    wait->is_done = true;
    proa_unpark(&wait->waiter, 0);
}

static void reserve(struct pg_conn *conn)
{
    proa_list_remove(&conn->idle);
    conn->is_reserved = true;
    db_metrics_connections(conn->pl->pg->db, conn->pl->loop, DB_OWN, -1, 1);
}

/* It is free: for who has waited longest, or kept. */
static void offer(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;

    conn->since = proa_loop_now(pl->loop);
    if (!proa_list_empty(&pl->own_waiting)) {
        struct own_wait *wait = PROA_CONTAINER(pl->own_waiting.next, struct own_wait, node);

        reserve(conn);
        finish_wait(pl, wait, conn, 0);
        return;
    }
    proa_list_push_front(&pl->own_idle, &conn->idle); /* the one used last first: the others can be closed */
    pg_tick_arm(pl);
}

void pg_own_up(struct pg_conn *conn)
{
    db_metrics_connections(conn->pl->pg->db, conn->pl->loop, DB_OWN, 1, 0);
    offer(conn);
}

void pg_own_failed(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;

    if (!pl->is_closing)
        db_metrics_connect_failed(pl->pg->db, pl->loop);
    if (!proa_list_empty(&pl->own_waiting)) {
        struct own_wait *wait = PROA_CONTAINER(pl->own_waiting.next, struct own_wait, node);

        finish_wait(pl, wait, NULL, pg_fail_down(pl, wait->err));
    }
    remove_one(conn);
}

void pg_own_lost(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;
    struct proa_list *node = pl->own_unsent.next;

    db_metrics_connections(pl->pg->db, pl->loop, DB_OWN, conn->is_reserved ? 0 : -1, conn->is_reserved ? -1 : 0);
    pg_conn_drop(conn);
    conn->tx.base.is_broken = true;
    while (node != &pl->own_unsent) {
        struct pg_call *call = PROA_CONTAINER(node, struct pg_call, node);

        node = node->next;
        if (call->conn == conn)
            pg_call_finish(call, pg_fail_lost(call, false, pl->reason));
    }
    if (!conn->is_reserved)
        remove_one(conn);
}

void pg_own_settled(struct pg_conn *conn)
{
    if (!conn->is_draining || conn->sent_count || conn->is_cancelling || conn->state != PG_UP)
        return;
    conn->is_draining = false;
    conn->pl->own_draining--;
    if (pg_is_outdated(conn))
        pg_own_lost(conn);
    else
        offer(conn);
}

static bool has_waited(proa_mono_ns since, uint64_t ms, proa_mono_ns now)
{
    return now >= since + PROA_MS(ms);
}

void pg_own_tick(struct pg_loop *pl, proa_mono_ns now)
{
    struct proa_list *node = pl->own_all.next;

    while (node != &pl->own_all) {
        struct pg_conn *conn = PROA_CONTAINER(node, struct pg_conn, all);

        node = node->next;
        if (conn->state != PG_UP || conn->is_reserved)
            continue;
        if (conn->is_draining && has_waited(conn->since, PG_DRAIN_MS, now))
            pg_conn_lost(conn, "a cancelled statement did not end");
        else if (!conn->is_draining && has_waited(conn->since, PG_OWN_IDLE_MS, now))
            pg_own_lost(conn);
    }
}

void pg_own_end(struct pg_loop *pl)
{
    while (!proa_list_empty(&pl->own_waiting)) {
        struct own_wait *wait = PROA_CONTAINER(pl->own_waiting.next, struct own_wait, node);

        finish_wait(pl, wait, NULL, pg_fail_closed(wait->err));
    }
}

void pg_own_renew(struct pg_loop *pl)
{
    struct proa_list *node = pl->own_idle.next;

    while (node != &pl->own_idle) {
        struct pg_conn *conn = PROA_CONTAINER(node, struct pg_conn, idle);

        node = node->next;
        if (pg_is_outdated(conn))
            pg_own_lost(conn);
    }
}

static bool may_wait(struct pg_loop *pl, struct proa_error *err, int *ret_rc)
{
    if (pg_is_down(pl)) {
        *ret_rc = pg_fail_down(pl, err);
        return false;
    }
    if (pl->own_waiting_count >= pl->waiting_max) {
        *ret_rc =
            proa_fail(err, PROA_EBUSY, "PostgreSQL: %u transactions wait for a connection", pl->own_waiting_count);
        if (err)
            err->retry_after_s = 1;
        return false;
    }
    return true;
}

static struct pg_conn *wait_for_one(struct pg_loop *pl, struct proa_error *err, int *ret_rc)
{
    struct own_wait wait = {.err = err};
    int rc;

    proa_waiter_init(&wait.waiter, pl->loop);
    proa_list_push_back(&pl->own_waiting, &wait.node);
    pl->own_waiting_count++;
    db_metrics_pending(pl->pg->db, pl->loop, DB_OWN, 1);
    rc = proa_park(&wait.waiter);
    db_metrics_pending(pl->pg->db, pl->loop, DB_OWN, -1);
    if (wait.is_done) {
        *ret_rc = wait.rc;
        return wait.conn;
    }
    proa_list_remove(&wait.node);
    pl->own_waiting_count--;
    if (rc == PROA_ETIMEDOUT)
        db_metrics_wait_timed_out(pl->pg->db, pl->loop, DB_OWN);
    *ret_rc = proa_fail(err, rc < 0 ? rc : PROA_EINTERNAL, "PostgreSQL: %s while waiting for a connection",
                        rc == PROA_ETIMEDOUT ? "the deadline passed" : "cancelled");
    return NULL;
}

/* A connection for this fiber alone. May suspend. @returns NULL with the reason in *ret_rc. */
static struct pg_conn *acquire(struct proa_sql sql, int *ret_rc)
{
    struct pg_loop *pl = pg_loop_of(sql.db->impl, sql.loop);
    int rc;

    if (!pl || pl->is_closing) {
        *ret_rc = proa_fail(sql.err, PROA_EUNAVAILABLE, "PostgreSQL: the database is closed or of other loops");
        return NULL;
    }
    if (!proa_list_empty(&pl->own_idle)) {
        /* One that the server has closed meanwhile is not here any more: its watch has told. */
        struct pg_conn *conn = PROA_CONTAINER(pl->own_idle.next, struct pg_conn, idle);

        reserve(conn);
        return conn;
    }
    if (!may_wait(pl, sql.err, ret_rc))
        return NULL;
    if (pl->own_count < pl->own_max) {
        rc = start_one(pl);
        if (rc < 0 && pl->own_count == 0) {
            *ret_rc = proa_fail(sql.err, rc, "PostgreSQL: a connection cannot be started");
            return NULL;
        }
    }
    return wait_for_one(pl, sql.err, ret_rc);
}

void pg_own_release(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;

    conn->is_reserved = false;
    if (conn->state != PG_UP) {
        remove_one(conn);
        return;
    }
    db_metrics_connections(pl->pg->db, pl->loop, DB_OWN, 1, -1);
    if (pl->is_closing || (pg_is_outdated(conn) && !conn->sent_count && !conn->is_cancelling)) {
        pg_own_lost(conn);
    } else if (conn->sent_count || conn->is_cancelling) {
        conn->is_draining = true;
        conn->since = proa_loop_now(pl->loop);
        pl->own_draining++;
        pg_tick_arm(pl);
    } else {
        offer(conn);
    }
}

int pg_own_run(struct pg_call *call, struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;

    call->conn = conn;
    if (conn->state != PG_UP)
        return pg_fail_lost(call, false, pl->reason);
    proa_waiter_init(&call->waiter, pl->loop);
    proa_list_push_back(&pl->own_unsent, &call->node);
    proa_loop_flush_later(pl->loop, &pl->flush);
    return pg_call_wait(call);
}

int pg_run_long(struct proa_sql sql, struct db_statement *statement)
{
    struct pg_call call = {.sql = sql, .statement = statement, .is_streamed = true};
    struct pg_conn *conn;
    int rc = 0;

    proa_list_init(&call.node);
    conn = acquire(sql, &rc);
    if (!conn)
        return rc;
    rc = pg_own_run(&call, conn);
    pg_own_release(conn);
    return rc;
}

/* -- Transactions ---------------------------------------------------------------------------------------------- */

/* One of the driver's own statements. */
static int run_text(struct proa_sql sql, struct pg_conn *conn, const char *text)
{
    struct db_statement statement = {.text = text};
    struct pg_call call = {.sql = sql, .statement = &statement, .is_in_tx = true};

    proa_list_init(&call.node);
    return pg_own_run(&call, conn);
}

int pg_begin(struct proa_sql sql, const struct proa_tx_options *options, struct proa_tx **ret_tx)
{
    static const char *const texts[3][2] = {
        {"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"},
        {"BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
        {"BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"},
    };
    size_t isolation = options ? (size_t)options->isolation : 0;
    bool read_only = options && options->read_only;
    struct pg_conn *conn;
    int rc = 0;

    if (isolation >= PROA_COUNT(texts))
        return proa_fail(sql.err, PROA_EINVAL, "PostgreSQL: no such isolation level");
    conn = acquire(sql, &rc);
    if (!conn)
        return rc;
    rc = run_text(sql, conn, texts[isolation][read_only]);
    if (rc < 0) {
        /* BEGIN itself may have worked */
        pg_conn_lost(conn, "a transaction could not begin");
        pg_own_release(conn);
        return rc;
    }
    conn->tx = (struct pg_tx){.base = {.db = sql.db}, .conn = conn};
    *ret_tx = &conn->tx.base;
    return 0;
}

/* A script, or a statement whose words did not tell, may have ended the transaction: what follows would be on its
 * own. */
static int check_in_tx(struct proa_sql sql, int rc)
{
    const struct pg_conn *conn = PROA_CONTAINER(sql.tx, struct pg_tx, base)->conn;

    if (rc < 0 || conn->state != PG_UP || PQtransactionStatus(conn->pq) != PQTRANS_IDLE)
        return rc;
    sql.tx->is_broken = true;
    return proa_fail(sql.err, PROA_EINTERNAL, "PostgreSQL: the transaction was ended by its own statements");
}

int pg_run_in_tx(struct proa_sql sql, struct db_statement *statement)
{
    struct pg_call call = {.sql = sql, .statement = statement, .is_in_tx = true};
    int rc;

    proa_list_init(&call.node);
    rc = pg_own_run(&call, PROA_CONTAINER(sql.tx, struct pg_tx, base)->conn);
    if (call.may_retry)
        sql.tx->may_retry = true;
    return check_in_tx(sql, rc);
}

static int commit(struct proa_sql sql, struct pg_conn *conn, bool *ret_may_retry)
{
    struct db_statement statement = {.text = "COMMIT"};
    struct pg_call call = {.sql = sql, .statement = &statement, .is_in_tx = true, .is_commit = true};
    int rc;

    proa_list_init(&call.node);
    rc = pg_own_run(&call, conn);
    if (call.may_retry)
        *ret_may_retry = true;
    if (rc == 0 && !call.is_committed)
        return proa_fail(sql.err, PROA_EINTERNAL,
                         "PostgreSQL: the transaction was rolled back, since a statement in it had failed");
    return rc;
}

/* Behind a cancelled statement it waits until that has ended. */
static int roll_back(struct proa_sql sql, struct pg_conn *conn)
{
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(sql.loop, PROA_MS(PG_DRAIN_MS));

    sql.err = NULL; /* what led here is what is to be told */
    return run_text(sql, conn, "ROLLBACK");
}

static bool is_in_transaction(const struct pg_conn *conn)
{
    return conn->state == PG_UP && (conn->sent_count || PQtransactionStatus(conn->pq) != PQTRANS_IDLE);
}

int pg_end(struct proa_sql sql, struct proa_tx *tx, bool is_commit, bool *ret_may_retry)
{
    struct pg_conn *conn = PROA_CONTAINER(tx, struct pg_tx, base)->conn;
    int rc = is_commit ? commit(sql, conn, ret_may_retry) : 0;

    if (is_in_transaction(conn) && rc != PROA_EUNKNOWN) {
        int rolled_back = roll_back(sql, conn);

        if (!is_commit)
            rc = rolled_back;
    }
    /* Unless the server has said that it is out of the transaction, the connection cannot be used again. */
    if (is_in_transaction(conn))
        pg_conn_lost(conn, "a transaction could not be ended");
    pg_own_release(conn);
    return rc;
}

int pg_script(struct proa_sql sql, const char *text)
{
    struct pg_call call = {.sql = sql, .script = text, .is_in_tx = sql.tx != NULL};
    struct pg_conn *conn;
    int rc = 0;

    proa_list_init(&call.node);
    if (sql.tx)
        return check_in_tx(sql, pg_own_run(&call, PROA_CONTAINER(sql.tx, struct pg_tx, base)->conn));
    conn = acquire(sql, &rc);
    if (!conn)
        return rc;
    rc = pg_own_run(&call, conn);
    pg_own_release(conn);
    return rc;
}

int pg_lock_migrations(struct proa_sql sql)
{
    /* "proa" as a number; any other user of advisory locks would have to choose just this one. */
    return run_text(sql, PROA_CONTAINER(sql.tx, struct pg_tx, base)->conn,
                    "SELECT pg_advisory_xact_lock(8102651803906729844)");
}
