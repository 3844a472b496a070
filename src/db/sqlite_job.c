/* One statement in a pool thread, its rows kept aside in the connection's buffer, and the hand-over of these on the
 * loop. */
#include "sqlite_internal.h"

#include <assert.h>

enum { TIME_DIGITS = 6 }; /* microseconds, as PostgreSQL keeps them; of one width, so that text sorts as time */

/* -- The result: column names, then values, each with its kind before it ---------------------------------------- */

enum result_kind { RESULT_NULL = 0, RESULT_I64, RESULT_F64, RESULT_TEXT, RESULT_BYTES };

static void add_raw(struct proa_buf *out, const void *ptr, size_t len)
{
    proa_buf_add(out, proa_str_n(ptr, len));
}

static void add_slice(struct proa_buf *out, const void *ptr, int len)
{
    uint32_t bytes = (uint32_t)len;

    add_raw(out, &bytes, sizeof bytes);
    add_raw(out, ptr, bytes);
}

static void add_columns(struct sqlite_job *job, sqlite3_stmt *stmt)
{
    struct proa_buf *out = &job->conn->result;

    job->columns_count = (size_t)sqlite3_column_count(stmt);
    for (size_t i = 0; i < job->columns_count; i++) {
        const char *name = sqlite3_column_name(stmt, (int)i);

        add_slice(out, name, name ? (int)strlen(name) : 0);
    }
}

static void add_value(struct proa_buf *out, sqlite3_stmt *stmt, int column)
{
    sqlite3_int64 integer;
    const void *ptr;
    double number;

    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        integer = sqlite3_column_int64(stmt, column);
        proa_buf_add_char(out, RESULT_I64);
        add_raw(out, &integer, sizeof integer);
        return;
    case SQLITE_FLOAT:
        number = sqlite3_column_double(stmt, column);
        proa_buf_add_char(out, RESULT_F64);
        add_raw(out, &number, sizeof number);
        return;
    case SQLITE_TEXT:
        ptr = sqlite3_column_text(stmt, column);
        proa_buf_add_char(out, RESULT_TEXT);
        add_slice(out, ptr, sqlite3_column_bytes(stmt, column));
        return;
    case SQLITE_BLOB:
        ptr = sqlite3_column_blob(stmt, column);
        proa_buf_add_char(out, RESULT_BYTES);
        add_slice(out, ptr, sqlite3_column_bytes(stmt, column));
        return;
    default: proa_buf_add_char(out, RESULT_NULL); return;
    }
}

/* What the buffer holds was written by this file. */
static void take_raw(proa_str *rest, void *out, size_t len)
{
    assert(rest->len >= len);
    memcpy(out, rest->ptr, len);
    *rest = proa_str_slice(*rest, len, rest->len);
}

static proa_str take_slice(proa_str *rest)
{
    uint32_t len;
    proa_str slice;

    take_raw(rest, &len, sizeof len);
    assert(rest->len >= len);
    slice = proa_str_slice(*rest, 0, len);
    *rest = proa_str_slice(*rest, len, rest->len);
    return slice;
}

static int deliver_value(proa_str *rest, struct db_rows *rows, size_t column)
{
    int64_t integer;
    double number;
    char kind;

    take_raw(rest, &kind, 1);
    switch ((enum result_kind)kind) {
    case RESULT_I64: take_raw(rest, &integer, sizeof integer); return db_rows_i64(rows, column, integer);
    case RESULT_F64: take_raw(rest, &number, sizeof number); return db_rows_f64(rows, column, number);
    case RESULT_TEXT: return db_rows_text(rows, column, take_slice(rest));
    case RESULT_BYTES: return db_rows_bytes(rows, column, take_slice(rest));
    case RESULT_NULL: break;
    }
    return db_rows_null(rows, column);
}

int sqlite_deliver(const struct sqlite_job *job, struct proa_sql sql, struct db_rows *rows)
{
    proa_str rest = proa_buf_str(&job->conn->result);
    struct db_column *columns = proa_arena_calloc(sql.arena, job->columns_count + 1, sizeof *columns);

    if (!columns)
        return proa_fail(sql.err, PROA_ENOMEM, "no memory for a result");
    for (size_t i = 0; i < job->columns_count; i++)
        columns[i].name = take_slice(&rest);
    PROA_TRY(db_rows_columns(rows, columns, job->columns_count));
    for (size_t row = 0; row < job->rows_count; row++) {
        PROA_TRY(db_rows_begin_row(rows));
        for (size_t i = 0; i < job->columns_count; i++)
            PROA_TRY(deliver_value(&rest, rows, i));
        PROA_TRY(db_rows_end_row(rows));
    }
    return 0;
}

/* -- Errors ----------------------------------------------------------------------------------------------------- */

/* After a failed call: what the fiber is to make of it. */
static int note_failure(struct sqlite_job *job, int code, const char *what)
{
    int rc = sqlite_fail(&job->err, job->conn, code, what);

    job->sqlite_code = code;
    job->is_busy = rc == PROA_EAGAIN;
    job->was_interrupted = rc == PROA_ECANCELED;
    return rc;
}

/* -- Parameters ------------------------------------------------------------------------------------------------- */

/* Text and bytes are not copied: the fiber that owns them waits for this job. */
static int bind_value(sqlite3_stmt *stmt, int index, const struct proa_value *value)
{
    proa_str str = value->as.str;
    char time[PROA_TIME_TEXT_MAX];

    switch (value->kind) {
    case PROA_VALUE_NULL: return sqlite3_bind_null(stmt, index);
    case PROA_VALUE_I64: return sqlite3_bind_int64(stmt, index, value->as.i64);
    case PROA_VALUE_U64: return sqlite3_bind_int64(stmt, index, (sqlite3_int64)value->as.u64);
    case PROA_VALUE_F64: return sqlite3_bind_double(stmt, index, value->as.f64);
    case PROA_VALUE_BOOL: return sqlite3_bind_int(stmt, index, value->as.boolean);
    case PROA_VALUE_TEXT:
    case PROA_VALUE_JSON:
        return sqlite3_bind_text64(stmt, index, str.ptr ? str.ptr : "", str.len, SQLITE_STATIC, SQLITE_UTF8);
    case PROA_VALUE_BYTES: return sqlite3_bind_blob64(stmt, index, str.ptr ? str.ptr : "", str.len, SQLITE_STATIC);
    case PROA_VALUE_TIME:
        return sqlite3_bind_text64(stmt, index, time, proa_time_text(value->as.i64, TIME_DIGITS, time),
                                   SQLITE_TRANSIENT, SQLITE_UTF8);
    }
    return SQLITE_MISUSE;
}

static int bind_values(struct sqlite_job *job, const struct sqlite_statement *statement)
{
    if (job->values_count != statement->values_count)
        return proa_fail(&job->err, PROA_EINTERNAL, "the statement has %u parameters, and %zu values were given",
                         (unsigned)statement->values_count, job->values_count);
    for (int i = 0; i < statement->parameters_count; i++) {
        int code = bind_value(statement->stmt, i + 1, &job->values[statement->numbers[i] - 1]);

        if (code != SQLITE_OK)
            return note_failure(job, code, NULL);
    }
    return 0;
}

/* -- Running ---------------------------------------------------------------------------------------------------- */

/* The log could not be brought to the disk: whether the last commit is in it will be seen when the file is opened
 * again. */
static bool is_commit_in_doubt(const struct sqlite_job *job, int code, bool is_read_only)
{
    bool commits = job->is_commit || (job->is_single && !is_read_only);

    return commits && (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC);
}

static int fail_step(struct sqlite_job *job, const struct sqlite_statement *statement, int code)
{
    int rc = note_failure(job, code, NULL);

    if (is_commit_in_doubt(job, code, statement->is_read_only))
        rc = proa_fail(&job->err, PROA_EUNKNOWN, "it is not known whether the write reached the disk");
    return rc;
}

static int add_row(struct sqlite_job *job, sqlite3_stmt *stmt)
{
    struct proa_buf *out = &job->conn->result;

    for (size_t i = 0; i < job->columns_count; i++)
        add_value(out, stmt, (int)i);
    job->rows_count++;
    if (out->error)
        return proa_fail(&job->err, out->error, "the result is larger than %d bytes", SQLITE_RESULT_BYTES_MAX);
    return 0;
}

static int step_to_end(struct sqlite_job *job, const struct sqlite_statement *statement)
{
    bool has_columns = false;

    for (;;) {
        int code;

        if (atomic_load_explicit(&job->conn->is_interrupted, memory_order_relaxed))
            return note_failure(job, SQLITE_INTERRUPT, NULL);
        code = sqlite3_step(statement->stmt);
        if (code != SQLITE_ROW && code != SQLITE_DONE)
            return fail_step(job, statement, code);
        if (job->wants_rows && !has_columns)
            add_columns(job, statement->stmt); /* now: the first step prepares anew after the schema changed */
        has_columns = true;
        if (code == SQLITE_DONE)
            return 0;
        if (job->rows_count < job->rows_wanted)
            PROA_TRY(add_row(job, statement->stmt));
        /* A write runs to its end, which is where it commits. */
        if (job->wants_rows && job->rows_count == job->rows_wanted && statement->is_read_only)
            return 0;
    }
}

static int run_statement(struct sqlite_job *job)
{
    struct sqlite_conn *conn = job->conn;
    struct sqlite_statement *statement;
    sqlite3_int64 before;
    int code, rc;

    rc = sqlite_prepare(conn, job->text, &statement, &code, &job->err);
    if (code != SQLITE_OK)
        return note_failure(job, code, NULL);
    PROA_TRY(rc);
    if (job->must_only_read && !statement->is_read_only) {
        job->found_write = true;
        return 0;
    }
    rc = bind_values(job, statement);
    if (rc == 0) {
        before = sqlite3_total_changes64(conn->handle);
        rc = step_to_end(job, statement);
        /* SQLite keeps the number of the last change; a statement that changes nothing leaves it alone. */
        if (rc == 0 && sqlite3_total_changes64(conn->handle) != before)
            job->changed = (uint64_t)sqlite3_changes64(conn->handle);
    }
    sqlite3_reset(statement->stmt);
    sqlite3_clear_bindings(statement->stmt); /* which point to memory of the fiber */
    return rc;
}

static int run_script(struct sqlite_job *job)
{
    const char *rest = job->text;

    while (*rest) {
        sqlite3_stmt *stmt = NULL;
        int code = sqlite3_prepare_v2(job->conn->handle, rest, -1, &stmt, &rest);

        if (code == SQLITE_OK && stmt) {
            while (!atomic_load_explicit(&job->conn->is_interrupted, memory_order_relaxed) &&
                   (code = sqlite3_step(stmt)) == SQLITE_ROW) {
            }
            if (code == SQLITE_OK || code == SQLITE_ROW)
                code = SQLITE_INTERRUPT;
        }
        if (code != SQLITE_OK && code != SQLITE_DONE) {
            int rc = note_failure(job, code, NULL);

            sqlite3_finalize(stmt);
            return rc;
        }
        sqlite3_finalize(stmt);
    }
    return 0;
}

/* The file may be another one next time, or healthy again: it is opened anew. */
static void close_after(struct sqlite_job *job)
{
    struct sqlite_db *own = job->conn->pool->own;

    sqlite_conn_close(job->conn);
    job->is_in_tx = false;
    sqlite_close_idle(own);
    db_metrics_connect_failed(own->db, NULL);
}

static int get_ready(struct sqlite_job *job)
{
    const char *what = NULL;
    int code = sqlite_conn_open(job->conn, &what);

    if (code != SQLITE_OK) {
        int rc = note_failure(job, code, what);

        if (sqlite_is_fatal(code))
            close_after(job);
        else
            sqlite_conn_close(job->conn);
        return rc;
    }
    if (job->conn->must_roll_back && !sqlite3_get_autocommit(job->conn->handle)) {
        code = sqlite3_exec(job->conn->handle, "ROLLBACK", NULL, NULL, NULL);
        if (code != SQLITE_OK)
            return note_failure(job, code, NULL);
    }
    job->conn->must_roll_back = false;
    return 0;
}

/* A single BEGIN would leave the connection in a transaction that the next request found itself in. */
static int check_left_clean(struct sqlite_job *job)
{
    job->is_in_tx = !sqlite3_get_autocommit(job->conn->handle);
    if (!job->is_single || !job->is_in_tx)
        return job->code;
    job->conn->must_roll_back = true;
    return job->code < 0 ? job->code
                         : proa_fail(&job->err, PROA_EINTERNAL, "transactions are begun by proa_db_transaction");
}

void sqlite_job_run(void *arg)
{
    struct sqlite_job *job = arg;

    job->sqlite_code = SQLITE_OK;
    job->is_busy = job->found_write = job->was_interrupted = job->is_in_tx = false;
    job->changed = 0;
    job->columns_count = job->rows_count = 0;
    proa_buf_clear(&job->conn->result);
    job->code = get_ready(job);
    if (job->code < 0)
        return;
    job->code = job->is_script ? run_script(job) : run_statement(job);
    job->code = check_left_clean(job);
    if (sqlite_is_fatal(job->sqlite_code) && !job->conn->pool->own->is_memory)
        close_after(job);
}

void sqlite_interrupt(void *arg)
{
    const struct sqlite_job *job = arg;
    struct sqlite_conn *conn = job->conn;

    atomic_store_explicit(&conn->is_interrupted, true, memory_order_relaxed);
    pthread_mutex_lock(&conn->handle_mutex);
    if (conn->handle)
        sqlite3_interrupt(conn->handle);
    pthread_mutex_unlock(&conn->handle_mutex);
}
