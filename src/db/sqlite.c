/* The SQLite driver: statements and transactions of fibers on connections of the pools, and waiting for other
 * processes. */
#include "sqlite_internal.h"

#include <assert.h>
#include <proa/sqlite.h>
#include <stdlib.h>

enum {
    BUSY_PAUSE_MS = 1, /* before the second attempt at a locked file; doubles */
    BUSY_PAUSE_MAX_MS = 50,
    ROLLBACK_GRACE_MS = 5000,
};

struct sqlite_tx {
    struct proa_tx tx;
    struct sqlite_conn *conn;
    bool is_read_only;
};

static struct sqlite_db *own_of(struct proa_sql sql)
{
    return sql.db->impl;
}

/* -- Opening and closing ---------------------------------------------------------------------------------------- */

static void own_free(struct sqlite_db *own)
{
    if (!own)
        return;
    proa_map_free(own->known_writes);
    pthread_mutex_destroy(&own->mutex);
    free(own->path);
    free(own);
}

static int read_url(const char *url, char **ret_path, bool *ret_is_memory, struct proa_error *err)
{
    proa_str path = proa_str_c(url);

    path = proa_str_slice(path, (size_t)proa_str_find_char(path, ':') + 1, path.len);
    if (path.len == 0)
        return proa_fail(err, PROA_EINVAL, "sqlite: needs a file, as in \"sqlite:users.db\"");
    /* Others read sqlite://FILE and sqlite:///FILE in two ways, so it is better to ask. */
    if (proa_str_starts_with(path, PROA_STR("//")))
        return proa_fail(err, PROA_EINVAL, "sqlite: is followed by the file's path alone, without \"//\"");
    if (proa_str_find_char(path, '?') >= 0)
        return proa_fail(err, PROA_EINVAL, "sqlite: takes no options after \"?\"");
    *ret_is_memory = proa_str_eq_c(path, ":memory:");
    if (path.ptr[0] == ':' && !*ret_is_memory)
        return proa_fail(err, PROA_EINVAL, "sqlite: knows \":memory:\" and files");
    *ret_path = strdup(path.ptr);
    return *ret_path ? 0 : proa_fail(err, PROA_ENOMEM, "no memory for a database");
}

static void make_pools(struct sqlite_db *own)
{
    struct proa_db_options *options = &own->db->options;

    sqlite_pool_init(&own->writer, own, DB_OWN, 1, true);
    sqlite_pool_init(&own->readers, own, DB_SHARED, options->shared_connections, false);
    sqlite_pool_init(&own->long_readers, own, DB_OWN, SQLITE_LONG_MAX, false);
    sqlite_pool_init(&own->tx_readers, own, DB_OWN, options->own_connections, false);
    if (own->is_memory)
        options->shared_connections = 0;
    options->own_connections = own->is_memory ? 1 : 1 + SQLITE_LONG_MAX + options->own_connections;
}

static int sqlite_open(struct proa_db *db, struct proa_error *err)
{
    struct sqlite_db *own = calloc(1, sizeof *own);

    if (!own || pthread_mutex_init(&own->mutex, NULL) != 0) {
        free(own);
        return proa_fail(err, PROA_ENOMEM, "no memory for a database");
    }
    own->db = db;
    own->known_writes = proa_map_new(0); /* texts are the program's own */
    if (!own->known_writes || read_url(db->options.url, &own->path, &own->is_memory, err) < 0) {
        int rc = own->known_writes ? PROA_EINVAL : proa_fail(err, PROA_ENOMEM, "no memory for a database");

        own_free(own);
        return rc;
    }
    make_pools(own);
    db->impl = own;
    return 0;
}

static void close_all(void *arg)
{
    struct sqlite_db *own = arg;

    sqlite_pool_done(&own->readers);
    sqlite_pool_done(&own->long_readers);
    sqlite_pool_done(&own->tx_readers);
    /* Last, since the last connection brings the log into the file. */
    sqlite_pool_done(&own->writer);
}

static void sqlite_close(struct proa_db *db)
{
    struct sqlite_db *own = db->impl;
    struct proa_loop *loop = db->loops[0];
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_NEVER);
    bool ran;

    if (proa_blocking(loop, close_all, own, NULL, &ran) < 0 && !ran)
        close_all(own); /* no thread can be had: the process is at its end */
    own_free(own);
}

/* -- Which statements write ------------------------------------------------------------------------------------- */

/* Of a text not seen yet it is guessed that it reads: if it does not, the reader finds out. */
static bool is_known_to_write(struct sqlite_db *own, const char *text)
{
    bool is_known;

    pthread_mutex_lock(&own->mutex);
    is_known = proa_map_get(own->known_writes, proa_str_c(text));
    pthread_mutex_unlock(&own->mutex);
    return is_known;
}

static void remember_write(struct sqlite_db *own, const char *text)
{
    pthread_mutex_lock(&own->mutex);
    /* Texts should be constant. Where they are not, the oldest is forgotten, to be found out again. */
    if (proa_map_count(own->known_writes) >= SQLITE_KNOWN_WRITES_MAX) {
        size_t it = 0;
        proa_str oldest;
        void *kind;

        if (proa_map_next(own->known_writes, &it, &oldest, &kind))
            proa_map_remove(own->known_writes, oldest);
    }
    proa_ignore(proa_map_put(own->known_writes, proa_str_c(text), own, NULL)); /* else it is found out again */
    pthread_mutex_unlock(&own->mutex);
}

/* -- Execution -------------------------------------------------------------------------------------------------- */

static int copy_error(struct proa_sql sql, const struct sqlite_job *job)
{
    if (sql.err) {
        proa_fail(sql.err, job->code, "%s", job->err.message);
        sql.err->os_errno = job->err.os_errno;
        db_set_constraint(sql.err, proa_str_c(job->err.origin));
    }
    return job->code;
}

/* Random within a limit that doubles, so that processes that wait for each other's lock do not meet again. */
static int pause_for_lock(struct proa_sql sql, unsigned attempt, proa_mono_ns give_up_at)
{
    uint64_t limit = attempt < 6 ? PROA_MS(BUSY_PAUSE_MS) << attempt : PROA_MS(BUSY_PAUSE_MAX_MS);
    int rc = 0;

    if (limit > PROA_MS(BUSY_PAUSE_MAX_MS))
        limit = PROA_MS(BUSY_PAUSE_MAX_MS);
    if (proa_loop_now_exact(sql.loop) >= give_up_at)
        rc = PROA_ETIMEDOUT;
    else
        rc = proa_sleep(sql.loop, limit / 2 + proa_loop_random_u64(sql.loop) % (limit / 2));
    if (rc == PROA_ETIMEDOUT)
        return proa_fail(sql.err, rc, "the database file is locked by another process");
    return rc < 0 ? proa_fail(sql.err, rc, "given up while another process locks the database file") : 0;
}

/* May suspend. @returns the job's outcome, or the error by which it did not run or was interrupted. */
static int execute(struct proa_sql sql, struct sqlite_job *job)
{
    proa_mono_ns give_up_at = 0;

    for (unsigned attempt = 0;; attempt++) {
        bool ran;
        int rc;

        atomic_store_explicit(&job->conn->is_interrupted, false, memory_order_relaxed);
        rc = proa_blocking(sql.loop, sqlite_job_run, job, job->is_commit ? NULL : sqlite_interrupt, &ran);
        if (!ran)
            return proa_fail(sql.err, rc, "given up before the statement was run");
        if (job->code == 0)
            return 0; /* done, though the fiber may have been cancelled meanwhile: it will be told so elsewhere */
        if (rc < 0 && (job->was_interrupted || job->is_busy))
            return proa_fail(sql.err, rc, "the statement was interrupted");
        if (!job->is_busy)
            return copy_error(sql, job);
        if (!give_up_at)
            give_up_at = proa_loop_now_exact(sql.loop) + PROA_MS(sql.db->options.statement_ms);
        PROA_TRY(pause_for_lock(sql, attempt, give_up_at));
    }
}

static struct sqlite_job job_of(struct sqlite_conn *conn, const struct db_statement *statement)
{
    return (struct sqlite_job){.conn = conn,
                               .text = statement->text,
                               .values = statement->values,
                               .values_count = statement->values_count,
                               .wants_rows = statement->rows,
                               .rows_wanted = statement->rows ? db_rows_wanted(statement->rows) : 0};
}

static int finish(struct proa_sql sql, const struct sqlite_job *job, struct db_statement *statement)
{
    statement->changed = job->changed;
    return statement->rows ? sqlite_deliver(job, sql, statement->rows) : 0;
}

/* *ret_found_write: it was a reader's connection, the statement writes, and nothing was done. */
static int run_on_pool(struct proa_sql sql, struct sqlite_pool *pool, struct db_statement *statement,
                       bool *ret_found_write)
{
    struct sqlite_conn *conn;
    struct sqlite_job job;
    int rc;

    PROA_TRY(sqlite_acquire(sql, pool, &conn));
    job = job_of(conn, statement);
    job.is_single = true;
    job.must_only_read = !pool->is_writer;
    rc = execute(sql, &job);
    if (rc == 0 && !job.found_write)
        rc = finish(sql, &job, statement);
    *ret_found_write = rc == 0 && job.found_write;
    sqlite_release(sql, conn);
    return rc;
}

static int run_single(struct proa_sql sql, struct db_statement *statement)
{
    struct sqlite_db *own = own_of(sql);
    proa_mono_ns until =
        sql.is_long ? PROA_NEVER : proa_loop_now_exact(sql.loop) + PROA_MS(sql.db->options.statement_ms);
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(sql.loop, until);
    bool found_write = true;

    if (!own->is_memory && !is_known_to_write(own, statement->text)) {
        PROA_TRY(run_on_pool(sql, sql.is_long ? &own->long_readers : &own->readers, statement, &found_write));
        if (!found_write)
            return 0;
        remember_write(own, statement->text);
    }
    return run_on_pool(sql, &own->writer, statement, &found_write);
}

static int run_in_tx(struct proa_sql sql, struct sqlite_job *job)
{
    struct sqlite_tx *tx = PROA_CONTAINER(sql.tx, struct sqlite_tx, tx);
    int rc;

    job->must_only_read = tx->is_read_only;
    job->is_in_tx = true; /* also if it does not come to run */
    rc = execute(sql, job);
    /* Some errors roll the whole transaction back, or close the file. */
    if (!job->is_in_tx)
        tx->tx.is_broken = true;
    if (rc == 0 && job->found_write)
        return proa_fail(sql.err, PROA_EINTERNAL, "the transaction is read-only");
    if (rc == 0 && !job->is_in_tx)
        return proa_fail(sql.err, PROA_EINTERNAL, "the transaction was ended by its own statements");
    return rc;
}

static int sqlite_run(struct proa_sql sql, struct db_statement *statement)
{
    struct sqlite_job job;

    if (!sql.tx)
        return run_single(sql, statement);
    job = job_of(PROA_CONTAINER(sql.tx, struct sqlite_tx, tx)->conn, statement);
    PROA_TRY(run_in_tx(sql, &job));
    return finish(sql, &job, statement);
}

static int sqlite_script(struct proa_sql sql, const char *text)
{
    struct sqlite_job job = {
        .conn = PROA_CONTAINER(sql.tx, struct sqlite_tx, tx)->conn, .text = text, .is_script = true};

    return run_in_tx(sql, &job);
}

/* -- Transactions ----------------------------------------------------------------------------------------------- */

/* The job rolls back what is open before it does anything, and there is nothing else to do. */
static int roll_back(struct proa_sql sql, struct sqlite_tx *tx)
{
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
        proa_shield_enter(sql.loop, PROA_MS(ROLLBACK_GRACE_MS));
    struct sqlite_job job = {.conn = tx->conn, .text = "", .is_script = true};

    sql.err = NULL;
    if (tx->tx.is_broken)
        return 0;
    /* If the job does not come to run in time, the next one on this connection does it. */
    tx->conn->must_roll_back = true;
    return execute(sql, &job);
}

static void tx_free(struct proa_sql sql, struct sqlite_tx *tx)
{
    sqlite_release(sql, tx->conn);
    free(tx);
}

static int begin_on(struct proa_sql sql, struct sqlite_conn *conn, bool read_only)
{
    /* IMMEDIATE: a reader that turns into a writer could only fail where another wrote meanwhile. */
    struct sqlite_job job = {.conn = conn, .text = read_only ? "BEGIN" : "BEGIN IMMEDIATE"};

    return execute(sql, &job);
}

static int sqlite_begin(struct proa_sql sql, const struct proa_tx_options *options, struct proa_tx **ret_tx)
{
    struct sqlite_db *own = own_of(sql);
    struct sqlite_pool *pool = options->read_only && !own->is_memory ? &own->tx_readers : &own->writer;
    struct sqlite_tx *tx = calloc(1, sizeof *tx);
    int rc;

    if (!tx)
        return proa_fail(sql.err, PROA_ENOMEM, "no memory for a transaction");
    tx->is_read_only = options->read_only;
    rc = sqlite_acquire(sql, pool, &tx->conn);
    if (rc < 0) {
        free(tx);
        return rc;
    }
    rc = begin_on(sql, tx->conn, tx->is_read_only);
    if (rc < 0) {
        proa_ignore(roll_back(sql, tx));
        tx_free(sql, tx);
        return rc;
    }
    *ret_tx = &tx->tx;
    return 0;
}

static int commit_on(struct proa_sql sql, struct sqlite_tx *tx)
{
    struct sqlite_job job = {.conn = tx->conn, .text = "COMMIT", .is_commit = true};

    if (tx->tx.is_broken)
        return proa_fail(sql.err, PROA_EUNAVAILABLE, "the transaction is lost");
    return execute(sql, &job);
}

static int sqlite_end(struct proa_sql sql, struct proa_tx *base, bool commit, bool *ret_may_retry)
{
    struct sqlite_tx *tx = PROA_CONTAINER(base, struct sqlite_tx, tx);
    int rc = commit ? commit_on(sql, tx) : 0;

    (void)ret_may_retry; /* one writer: nothing to serialise with */
    if (!commit || rc < 0)
        proa_ignore(roll_back(sql, tx));
    tx_free(sql, tx);
    return rc;
}

/* Its transaction is the only one that writes, in all processes. */
static int sqlite_lock_migrations(struct proa_sql sql)
{
    (void)sql;
    return 0;
}

static const char *const schemes[] = {"sqlite", NULL};
const struct proa_db_driver proa_sqlite_driver = {
    .system = "sqlite",
    .log_target = "db.sqlite",
    .schemes = schemes,
    .open = sqlite_open,
    .close = sqlite_close,
    .run = sqlite_run,
    .script = sqlite_script,
    .begin = sqlite_begin,
    .end = sqlite_end,
    .lock_migrations = sqlite_lock_migrations,
};
