/* Transactions: begin, commit, rollback whatever happens, savepoints for nested calls, repetition after serialisation
 * failures. */
#include "db_internal.h"

#include <assert.h>
#include <stdio.h>

enum {
    ROLLBACK_GRACE_MS = 5000,
    RETRY_PAUSE_MS = 5, /* at most, before the first repetition; doubles */
    RETRY_PAUSE_MAX_MS = 500,
    DEPTH_MAX = 16, /* each holds a part of the fiber's stack */
    SAVEPOINT_MAX = 48,
};

/* -- Savepoints ------------------------------------------------------------------------------------------------- */

static int savepoint(struct proa_sql sql, const char *verb, uint32_t depth, bool always)
{
    char text[SAVEPOINT_MAX];
    struct db_statement statement = {.text = text};

    (void)snprintf(text, sizeof text, "%s proa_%u", verb, (unsigned)depth);
    return always ? db_run_always(sql, &statement) : db_run(sql, &statement);
}

/* Also when the fiber is cancelled: the outer transaction goes on, if it is to, from where it was. */
static void undo(struct proa_sql sql, uint32_t depth)
{
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
        proa_shield_enter(sql.loop, PROA_MS(ROLLBACK_GRACE_MS));

    if (sql.tx->is_broken)
        return;
    sql.err = NULL; /* the first error is the one to tell */
    if (savepoint(sql, "ROLLBACK TO SAVEPOINT", depth, true) == 0 &&
        savepoint(sql, "RELEASE SAVEPOINT", depth, true) == 0)
        sql.tx->is_failed = false;
    else
        sql.tx->is_failed = true;
}

static int run_nested(struct proa_sql sql, int (*fn)(struct proa_sql tx, void *arg), void *arg)
{
    uint32_t depth = sql.tx->depth + 1;
    int rc;

    if (depth > DEPTH_MAX)
        return proa_fail(sql.err, PROA_EINVAL, "transactions nested more than %d deep", DEPTH_MAX);
    PROA_TRY(savepoint(sql, "SAVEPOINT", depth, false));
    sql.tx->depth = depth;
    rc = fn(sql, arg);
    sql.tx->depth = depth - 1;
    if (rc >= 0 && !sql.tx->is_failed) {
        int released = savepoint(sql, "RELEASE SAVEPOINT", depth, false);

        return released < 0 ? released : rc;
    }
    if (rc >= 0)
        rc = proa_fail(sql.err, PROA_EINTERNAL, "a statement failed, and its error was not returned");
    undo(sql, depth);
    return rc;
}

/* -- The transaction -------------------------------------------------------------------------------------------- */

static void roll_back(struct proa_sql sql, struct proa_tx *tx)
{
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
        proa_shield_enter(sql.loop, PROA_MS(ROLLBACK_GRACE_MS));
    bool may_retry = false;

    sql.err = NULL;
    /* Whatever comes of it, the driver gives the connection back only when it is clean. */
    proa_ignore(sql.db->driver->end(sql, tx, false, &may_retry));
}

static int commit(struct proa_sql sql, struct proa_tx *tx, bool *ret_may_retry)
{
    proa_mono_ns began = sql.db->metrics ? proa_loop_now_exact(sql.loop) : 0;
    struct proa_span span;
    bool is_traced = sql.db->target && db_span_begin(sql, "COMMIT", &span);
    int rc = sql.db->driver->end(sql, tx, true, ret_may_retry);

    if (is_traced)
        db_span_end(sql, &span, rc);
    if (sql.db->metrics)
        db_metrics_operation(sql, "COMMIT", rc, began);
    return rc;
}

/* Once. *ret_may_retry: it failed by serialisation or deadlock. */
static int run_once(struct proa_sql sql, const struct proa_tx_options *options,
                    int (*fn)(struct proa_sql tx, void *arg), void *arg, bool *ret_may_retry)
{
    struct proa_sql inner = sql;
    struct proa_tx *tx;
    int rc, struck;

    PROA_TRY(sql.db->driver->begin(sql, options, &tx));
    tx->db = sql.db;
    inner.tx = tx;
    rc = fn(inner, arg);
    assert(tx->depth == 0);
    if (rc >= 0 && tx->is_failed)
        rc = proa_fail(sql.err, PROA_EINTERNAL, "a statement failed, and its error was not returned");
    if (rc >= 0) {
        struck = proa_fiber_check(sql.loop);
        if (struck < 0)
            rc = proa_fail(sql.err, struck, "given up before the commit");
    }
    if (rc < 0) {
        *ret_may_retry = tx->may_retry && rc == PROA_ECONFLICT;
        roll_back(sql, tx);
        return rc;
    }
    struck = commit(sql, tx, ret_may_retry);
    return struck < 0 ? struck : rc;
}

/* Random up to the limit, so that those who collided do not meet again. */
static int pause_before_retry(struct proa_sql sql, uint32_t attempt)
{
    uint64_t limit_ms = attempt < 8 ? (uint64_t)RETRY_PAUSE_MS << attempt : RETRY_PAUSE_MAX_MS;

    if (limit_ms > RETRY_PAUSE_MAX_MS)
        limit_ms = RETRY_PAUSE_MAX_MS;
    return proa_sleep(sql.loop, proa_loop_random_u64(sql.loop) % PROA_MS(limit_ms));
}

static int run_repeatedly(struct proa_sql sql, const struct proa_tx_options *options,
                          int (*fn)(struct proa_sql tx, void *arg), void *arg)
{
    for (uint32_t attempt = 0;; attempt++) {
        bool may_retry = false;
        int rc = run_once(sql, options, fn, arg, &may_retry);

        if (rc >= 0 || !may_retry || attempt >= options->retries)
            return rc;
        if (pause_before_retry(sql, attempt) < 0)
            return rc;
        if (sql.err)
            proa_error_clear(sql.err);
    }
}

int proa_db_transaction(struct proa_sql sql, const struct proa_tx_options *options,
                        int (*fn)(struct proa_sql tx, void *arg), void *arg)
{
    static const struct proa_tx_options plain = {0};
    struct db_part *part;
    int rc;

    if (sql.tx)
        return run_nested(sql, fn, arg);
    PROA_TRY(db_call_enter(sql, &part));
    rc = run_repeatedly(sql, options ? options : &plain, fn, arg);
    db_call_leave(part);
    return rc;
}
