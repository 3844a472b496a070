/* One connection: opening it the way Proa uses SQLite, and its cache of prepared statements. All of it in pool
 * threads. */
#include "sqlite_internal.h"

#include <stdlib.h>

enum {
    STEPS_BETWEEN_LOOKS = 2000, /* of SQLite's machine between looks at is_interrupted: some 20 µs */
};

/* -- Opening ---------------------------------------------------------------------------------------------------- */

/* A statement that is interrupted before its first step would run nevertheless, since SQLite forgets interrupts of idle
 * connections: this one does not forget. */
static int look(void *arg)
{
    const struct sqlite_conn *conn = arg;

    return atomic_load_explicit(&conn->is_interrupted, memory_order_relaxed);
}

/* The first column of the first row of a pragma is this text. */
static int pragma_gives(sqlite3 *handle, const char *pragma, const char *expected, bool *ret_gives)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(handle, pragma, -1, &stmt, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(stmt);
    *ret_gives = code == SQLITE_ROW && proa_str_eq_c(proa_str_c((const char *)sqlite3_column_text(stmt, 0)), expected);
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        code = SQLITE_OK;
    sqlite3_finalize(stmt);
    return code;
}

static int set_up(const struct sqlite_conn *conn, sqlite3 *handle, const char **ret_what)
{
    bool is_wal;
    int code;

    sqlite3_extended_result_codes(handle, 1);
    sqlite3_busy_timeout(handle, 0); /* who waits for other processes waits as a fiber */
    sqlite3_progress_handler(handle, STEPS_BETWEEN_LOOKS, look, (void *)(uintptr_t)conn);
    /* A file made by others must not run functions of ours, and "x" is a name, never a text, as in PostgreSQL. */
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    *ret_what = "the database file cannot be used";
    if (!conn->pool->own->is_memory) {
        code = pragma_gives(handle, "PRAGMA journal_mode = WAL", "wal", &is_wal);
        if (code != SQLITE_OK)
            return code;
        if (!is_wal) {
            *ret_what = "the database file cannot have a write-ahead log here";
            return SQLITE_CANTOPEN;
        }
    }
    /* FULL: a commit has reached the disk before it is acknowledged. With NORMAL, WAL would lose the last ones when the
     * power fails. */
    code = sqlite3_exec(handle, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;",
                        NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return code;
    /* A log that grew while a long read held it is cut back. */
    return sqlite3_exec(handle,
                        conn->pool->is_writer ? "PRAGMA journal_size_limit = 67108864" : "PRAGMA query_only = ON", NULL,
                        NULL, NULL);
}

static void set_handle(struct sqlite_conn *conn, sqlite3 *handle)
{
    pthread_mutex_lock(&conn->handle_mutex);
    conn->handle = handle;
    pthread_mutex_unlock(&conn->handle_mutex);
}

/* The file that is open is no longer the one of that name: it was removed or replaced. What is written to it would be
 * lost. */
static bool has_moved(const struct sqlite_conn *conn)
{
    int moved = 0;

    if (conn->pool->own->is_memory || !sqlite3_get_autocommit(conn->handle))
        return false;
    return sqlite3_file_control(conn->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved;
}

int sqlite_conn_open(struct sqlite_conn *conn, const char **ret_what)
{
    const struct sqlite_db *own = conn->pool->own;
    sqlite3 *handle = NULL;
    int code;

    if (conn->handle && has_moved(conn))
        sqlite_conn_close(conn);
    if (conn->handle)
        return SQLITE_OK;
    *ret_what = "the database file cannot be opened";
    code = sqlite3_open_v2(own->path, &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (handle)
        set_handle(conn, handle); /* also one that failed tells why */
    if (code == SQLITE_OK)
        code = set_up(conn, handle, ret_what);
    return code;
}

/* -- Prepared statements ---------------------------------------------------------------------------------------- */

static void statement_free(struct sqlite_statement *statement)
{
    sqlite3_finalize(statement->stmt);
    free(statement->text);
    free(statement);
}

/* The least recently used one. @returns false when there is none. */
static bool forget_one(struct sqlite_conn *conn)
{
    struct proa_list *node = proa_list_pop_front(&conn->by_use);
    struct sqlite_statement *statement;

    if (!node)
        return false;
    statement = PROA_CONTAINER(node, struct sqlite_statement, node);
    proa_map_remove(conn->statements, proa_str_c(statement->text));
    statement_free(statement);
    return true;
}

void sqlite_conn_close(struct sqlite_conn *conn)
{
    sqlite3 *handle = conn->handle;

    while (forget_one(conn)) {
    }
    set_handle(conn, NULL);
    conn->must_roll_back = false;
    sqlite3_close_v2(handle);
}

/* Parameters of Proa are $1, $2, …: to SQLite these are names. *ret_count: the highest number. */
static int read_numbers(sqlite3_stmt *stmt, uint32_t *numbers, int count, uint32_t *ret_count)
{
    uint32_t highest = 0;

    for (int i = 0; i < count; i++) {
        const char *name = sqlite3_bind_parameter_name(stmt, i + 1);
        uint64_t number;

        if (!name || name[0] != '$' || proa_str_to_u64(proa_str_c(name + 1), &number) < 0 || number == 0 ||
            number > UINT16_MAX)
            return PROA_EINTERNAL;
        numbers[i] = (uint32_t)number;
        if (numbers[i] > highest)
            highest = numbers[i];
    }
    *ret_count = highest;
    return 0;
}

/* Nothing but white space, comments and semicolons. */
static bool is_empty(sqlite3 *handle, const char *text)
{
    while (*text) {
        sqlite3_stmt *stmt = NULL;
        int code = sqlite3_prepare_v2(handle, text, -1, &stmt, &text);

        sqlite3_finalize(stmt);
        if (code != SQLITE_OK || stmt)
            return false;
    }
    return true;
}

static int keep(struct sqlite_conn *conn, struct sqlite_statement *statement)
{
    if (proa_map_count(conn->statements) >= SQLITE_STATEMENTS_MAX)
        forget_one(conn);
    PROA_TRY(proa_map_put(conn->statements, proa_str_c(statement->text), statement, NULL));
    proa_list_push_back(&conn->by_use, &statement->node);
    return 0;
}

static int statement_new(struct sqlite_conn *conn, sqlite3_stmt *stmt, const char *text,
                         struct sqlite_statement **ret_statement, struct proa_error *err)
{
    int count = sqlite3_bind_parameter_count(stmt);
    struct sqlite_statement *statement = calloc(1, sizeof *statement + (size_t)count * sizeof statement->numbers[0]);

    if (!statement) {
        sqlite3_finalize(stmt);
        return proa_fail(err, PROA_ENOMEM, "no memory for a statement");
    }
    proa_list_init(&statement->node);
    statement->stmt = stmt;
    statement->text = strdup(text);
    statement->is_read_only = sqlite3_stmt_readonly(stmt);
    statement->parameters_count = count;
    if (read_numbers(stmt, statement->numbers, count, &statement->values_count) < 0) {
        statement_free(statement);
        return proa_fail(err, PROA_EINTERNAL, "parameters of a statement must be $1, $2, …");
    }
    if (!statement->text || keep(conn, statement) < 0) {
        statement_free(statement);
        return proa_fail(err, PROA_ENOMEM, "no memory for a statement");
    }
    *ret_statement = statement;
    return 0;
}

int sqlite_prepare(struct sqlite_conn *conn, const char *text, struct sqlite_statement **ret_statement, int *ret_code,
                   struct proa_error *err)
{
    struct sqlite_statement *statement = proa_map_get(conn->statements, proa_str_c(text));
    sqlite3_stmt *stmt = NULL;
    const char *tail;

    *ret_code = SQLITE_OK;
    if (statement) {
        proa_list_remove(&statement->node);
        proa_list_push_back(&conn->by_use, &statement->node);
        *ret_statement = statement;
        return 0;
    }
    *ret_code = sqlite3_prepare_v3(conn->handle, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
    if (*ret_code != SQLITE_OK)
        return PROA_EINTERNAL;
    if (!stmt || !is_empty(conn->handle, tail)) {
        sqlite3_finalize(stmt);
        return proa_fail(err, PROA_EINTERNAL, "a statement's text must hold one statement");
    }
    return statement_new(conn, stmt, text, ret_statement, err);
}
