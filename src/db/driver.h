/** What a driver gives to the SQL interface (proa/db.h), and what it gets from it.
 *
 *  db.c checks and measures, binds rows to descriptions, nests transactions by savepoints and runs migrations; a
 *  driver moves statements. Everything here runs on the loop of the calling fiber unless a comment says otherwise.
 */
#ifndef PROA_DB_DRIVER_H
#define PROA_DB_DRIVER_H

#include <proa/db.h>
#include <proa/fiber.h>
#include <stdatomic.h>

/** One execution of a statement. Lives on the stack of the calling fiber. */
struct db_statement {
    const char *text; /**< parameters are $1, $2, …; the cache of prepared statements goes by its content */
    const struct proa_value *values;
    size_t values_count;
    struct db_rows *rows; /**< where rows go; NULL: they are not wanted */
    uint64_t changed;     /**< written by the driver on success: rows changed by INSERT, UPDATE, DELETE; else 0 */
};

struct db_column {
    proa_str name;
};

/* rows.c: where results land. Not thread-safe and uses the request's arena, so a driver that reads rows in another
 * thread keeps them aside and hands them over on the loop. Each returns 0 or an error (err of the statement is filled),
 * after which the driver throws the rest of the result away and returns that error. */
/** The columns of the result; before the first row, also when there is none. */
PROA_MUST_USE int db_rows_columns(struct db_rows *rows, const struct db_column *columns, size_t count);
PROA_MUST_USE int db_rows_begin_row(struct db_rows *rows);
/** One value of the present row. `db_rows_text` takes what a text protocol gives and reads it as the member's kind
 *  (numbers, t/f/0/1/true/false, RFC 3339 and PostgreSQL's timestamps, JSON); bytes are raw. */
PROA_MUST_USE int db_rows_null(struct db_rows *rows, size_t column);
PROA_MUST_USE int db_rows_i64(struct db_rows *rows, size_t column, int64_t value);
PROA_MUST_USE int db_rows_f64(struct db_rows *rows, size_t column, double value);
PROA_MUST_USE int db_rows_text(struct db_rows *rows, size_t column, proa_str text);
PROA_MUST_USE int db_rows_bytes(struct db_rows *rows, size_t column, proa_str bytes);
PROA_MUST_USE int db_rows_end_row(struct db_rows *rows);
/** Forgets what was given: the statement runs once more. */
void db_rows_again(struct db_rows *rows);
/** true when no further row is wanted (proa_db_one has its row): the driver may stop early. */
bool db_rows_full(const struct db_rows *rows);
/** After how many rows the driver may stop; known before the first, for drivers that read rows in another thread. */
size_t db_rows_wanted(const struct db_rows *rows);

/** A transaction on a connection of its own. The driver embeds it in its own struct. */
struct proa_tx {
    struct proa_db *db;
    uint32_t depth; /**< of savepoints; kept by tx.c */
    bool is_failed; /**< a statement failed: until a rollback, also to a savepoint, db.c lets none through */
    bool is_broken; /**< set by the driver: the connection is gone; only end is called any more */
    bool may_retry; /**< set by the driver: a statement failed by serialisation or deadlock */
};

/** The database as its driver sees it; db.c owns it. */
struct proa_db {
    const struct proa_db_driver *driver;
    void *impl;                     /**< the driver's */
    struct proa_db_options options; /**< defaults filled in; `url` is a copy owned by db.c */
    struct proa_logger logger;      /**< with the driver's target; logs nothing without `options.logger` */
    struct proa_loop *const *loops; /**< at least one */
    uint32_t loops_count;
    struct db_metrics *metrics;         /**< NULL: none; metrics.c */
    _Atomic(struct db_target *) target; /**< NULL: nobody traces; db_span.c */
    struct db_part *parts;              /**< each loop's; db_calls.c */
    uint32_t open_parts;                /**< while it is closed: on loop 0 */
    struct proa_waiter *closer;         /**< the same */
};

enum db_connection_kind { DB_SHARED = 0, DB_OWN };

/* db_metrics.c, for drivers: pools and waits, under the semantic conventions' names. From any thread.
 * `loop` is the one whose thread calls, which then has cells of its own to add to; NULL in another thread. */
/** Adds to db_client_connections_usage{state="idle"|"used"} of the pool of this kind. */
void db_metrics_connections(struct proa_db *db, const struct proa_loop *loop, enum db_connection_kind kind, int idle,
                            int used);
/** Adds to db.client.connection.pending_requests. */
void db_metrics_pending(struct proa_db *db, const struct proa_loop *loop, enum db_connection_kind kind, int more);
/** A request gave up waiting for a connection by its deadline (counter). */
void db_metrics_wait_timed_out(struct proa_db *db, const struct proa_loop *loop, enum db_connection_kind kind);
/** A connection was lost or could not be made (counter). */
void db_metrics_connect_failed(struct proa_db *db, const struct proa_loop *loop);

/* db_text.c: what a statement's words tell. */
/** Where its first word begins: behind white space, comments (as PostgreSQL nests them), parentheses and semicolons. */
const char *db_text_begin(const char *text);
/** Whether this word stands there, whatever its case. */
bool db_text_is_word(const char *at, const char *word);
/** Whether it begins or ends a transaction. Savepoints do only outside of one. */
bool db_text_controls(const char *text, bool in_tx);

/** Has proa_db_constraint say this name; after proa_fail, which forgets it. err may be NULL. */
void db_set_constraint(struct proa_error *err, proa_str name);

struct proa_db_driver {
    const char *system;     /**< "postgresql", "sqlite" */
    const char *log_target; /**< "db.pg", "db.sqlite" */
    /** Schemes of URLs, ended by NULL: "postgres", "postgresql". */
    const char *const *schemes;
    /** From loop 0's thread, in a fiber or before the loops run. Does not wait for a server. Sets db->impl. */
    int (*open)(struct proa_db *db, struct proa_error *err);
    /** Ends what runs, and refuses what begins; NULL: what runs is waited for as it is. From a fiber of loop 0; may
     *  suspend. */
    void (*stop)(struct proa_db *db);
    /** From a fiber of loop 0, when nothing runs any more; may suspend. */
    void (*close)(struct proa_db *db);
    /** Takes over another URL of its schemes; the driver copies what it keeps. NULL: it cannot. From a fiber of loop
     *  0. */
    int (*set_url)(struct proa_db *db, const char *url, struct proa_error *err);
    /** Runs one statement: in sql.tx if set; else on a connection of its own if sql.is_long, else on a shared one. May
     *  suspend. */
    int (*run)(struct proa_sql sql, struct db_statement *statement);
    /** Runs a text of several statements without parameters and results (migrations), in sql.tx. May suspend. */
    int (*script)(struct proa_sql sql, const char *text);
    /** Takes a connection and begins. May suspend. */
    int (*begin)(struct proa_sql sql, const struct proa_tx_options *options, struct proa_tx **ret_tx);
    /** Commits or rolls back, gives the connection back and frees the transaction, whatever is returned. May suspend; a
     *  rollback is called in a shield. A commit whose answer was lost is PROA_EUNKNOWN. A transaction that cannot be
     *  committed is rolled back, by a shield of the driver's own. *ret_may_retry is set to true when the commit failed
     *  by serialisation, and left alone else. */
    int (*end)(struct proa_sql sql, struct proa_tx *tx, bool commit, bool *ret_may_retry);
    /** In a transaction: waits until no other process migrates, until the transaction's end. May suspend. */
    int (*lock_migrations)(struct proa_sql sql);
};

#endif
