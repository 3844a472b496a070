/** SQL: one interface, drivers beside it (proa/sqlite.h, proa/pg.h).
 *
 *      struct proa_sql sql = proa_sql(db, loop, arena, err);
 *      struct user user;
 *      PROA_TRY(proa_db_one(sql, &user_type, &user,
 *                           "SELECT id, name, email FROM users WHERE id = $1", proa_u64(id)));
 *
 *  All calls that take a `struct proa_sql` come from a fiber of its loop, may suspend, and have the fiber's
 *  deadline. A statement not yet sent when the fiber is cancelled is dropped; one that was sent is cancelled where
 *  no other request can be hit, else its result is thrown away. A write whose answer was lost is PROA_EUNKNOWN and is
 *  never repeated by the kit. Statement text is parsed and prepared once a connection; it should be constant.
 *
 *  Errors: PROA_ENOTFOUND (proa_db_one without a row), PROA_EEXISTS (unique rule), PROA_ECONFLICT (serialisation,
 *  deadlock, foreign key), PROA_EVALIDATION (check or not-null rule), PROA_ETIMEDOUT, PROA_ECANCELED, PROA_EBUSY (the
 *  wait for a connection is full), PROA_EUNAVAILABLE (no server, disk full), PROA_EUNKNOWN, PROA_EIO (SQLite's file
 *  cannot be opened, read or written: the message names it and says why; it is tried again with the next statement),
 *  PROA_EINTERNAL (bad SQL, kinds that do not fit). The constraint's name, when there is one, is in proa_db_constraint.
 */
#ifndef PROA_DB_H
#define PROA_DB_H

#include <proa/arena.h>
#include <proa/args.h>
#include <proa/error.h>
#include <proa/log.h>
#include <proa/loops.h>
#include <proa/metrics.h>
#include <proa/tracer.h>
#include <proa/type.h>

PROA_BEGIN_DECLS

struct proa_db;
struct proa_tx;
struct proa_db_driver; /**< &proa_sqlite_driver, &proa_pg_driver: a program links the ones it names */

struct proa_db_options {
    const char *url; /**< "sqlite:FILE", "sqlite::memory:", "postgres://user:password@host:port/name?…" */
    const struct proa_db_driver *const *drivers; /**< those the URL may choose; ended by NULL */
    struct proa_loops *loops;                    /**< where it is used; NULL: on `loop` */
    struct proa_loop *loop;                      /**< without `loops`: the only one */
    struct proa_metrics *metrics;                /**< NULL: none */
    const struct proa_logger *logger;            /**< speaks as "db.pg" or "db.sqlite"; NULL: none */
    struct proa_tracer *tracer;                  /**< statements of sampled requests become spans; NULL: none */
    /** for single statements, in the process. 0: 2 a loop, at most 8 (SQLite: readers, 4) */
    uint32_t shared_connections;
    uint32_t own_connections; /**< for transactions and long statements, in the process. 0: 16 */
    uint32_t waiting_max;     /**< requests that wait for a connection; more are PROA_EBUSY. 0: 1,000 */
    uint32_t statement_ms;    /**< server-side time-out of single statements. 0: 15,000 */
    uint32_t connect_ms;      /**< 0: 5,000 */
};
/** Chooses the driver and starts connecting in the background; does not wait for a server (see proa_db_ping). From loop
 *  0's thread.
 *  @returns 0, PROA_EINVAL (url; the message never shows its password), PROA_EUNSUPPORTED (no such driver here),
 *  PROA_EIO. */
PROA_MUST_USE int proa_db_open(const struct proa_db_options *options, struct proa_db **ret_db, struct proa_error *err);
/** Takes over a URL that has changed, a rotated password say, while statements run: none fails for it. PostgreSQL: from
 *  now on connections are made with it; each loop first tries it with a connection of its own, again and again, and
 *  then replaces its present connections one by one, when nothing is under way on them; those of transactions when they
 *  are given back. Until the server takes the new URL the old connections serve on. The same URL is no change. From a
 *  fiber of loop 0. @returns 0, PROA_EINVAL (url; the message never shows its password), PROA_EUNSUPPORTED (SQLite, or
 *  a URL of another driver: that needs a restart), PROA_ENOMEM; then all is as before. */
PROA_MUST_USE int proa_db_set_url(struct proa_db *db, const char *url, struct proa_error *err);
/** Closes on every loop, from a fiber of loop 0; may suspend. What begins meanwhile is PROA_EUNAVAILABLE; what runs is
 *  waited for as long as it takes (on PostgreSQL it ends at once, by an error). After it nothing may be called. NULL is
 *  fine. */
void proa_db_close(struct proa_db *db);
/** "postgresql" or "sqlite" (the semantic conventions' db.system.name). */
const char *proa_db_system(const struct proa_db *db);

/** Whether a statement may share a sync with others on PostgreSQL, to be one transaction with them: see
 *  docs/guide/sql.md. */
enum proa_share {
    PROA_SHARE_AUTO = 0, /**< a query that surely leaves no trace does */
    PROA_SHARE_NEVER,
    PROA_SHARE_ALWAYS, /**< it only reads, or may run twice if the first time is undone */
};

/** Where a statement runs and where its results and errors go. A small value. */
struct proa_sql {
    struct proa_db *db;
    struct proa_loop *loop;
    struct proa_arena *arena; /**< rows' text and lists */
    struct proa_error *err;
    struct proa_tx *tx;    /**< NULL: a single statement */
    bool is_long;          /**< takes a connection of its own and has no statement time-out */
    enum proa_share share; /**< of single statements */
};
static inline struct proa_sql proa_sql(struct proa_db *db, struct proa_loop *loop, struct proa_arena *arena,
                                       struct proa_error *err)
{
    struct proa_sql sql = {db, loop, arena, err, NULL, false, PROA_SHARE_AUTO};
    return sql;
}

enum proa_value_kind {
    PROA_VALUE_NULL = 0,
    PROA_VALUE_I64,
    PROA_VALUE_U64,
    PROA_VALUE_F64,
    PROA_VALUE_BOOL,
    PROA_VALUE_TEXT,
    PROA_VALUE_BYTES,
    PROA_VALUE_JSON,
    PROA_VALUE_TIME
};
/** A parameter. Text and bytes must live until the call returns. */
struct proa_value {
    enum proa_value_kind kind;
    union {
        int64_t i64;
        uint64_t u64; /**< above 2^63-1: PROA_ERANGE */
        double f64;
        bool boolean;
        proa_str str;
    } as;
};
static inline struct proa_value proa_i64(int64_t value)
{
    struct proa_value v = {PROA_VALUE_I64, {value}};
    return v;
}
static inline struct proa_value proa_u64(uint64_t value)
{
    struct proa_value v = {PROA_VALUE_U64, {0}};
    v.as.u64 = value;
    return v;
}
static inline struct proa_value proa_f64(double value)
{
    struct proa_value v = {PROA_VALUE_F64, {0}};
    v.as.f64 = value;
    return v;
}
static inline struct proa_value proa_bool(bool value)
{
    struct proa_value v = {PROA_VALUE_BOOL, {0}};
    v.as.boolean = value;
    return v;
}
static inline struct proa_value proa_text(proa_str value)
{
    struct proa_value v = {PROA_VALUE_TEXT, {0}};
    v.as.str = value;
    return v;
}
static inline struct proa_value proa_blob(proa_str value)
{
    struct proa_value v = {PROA_VALUE_BYTES, {0}};
    v.as.str = value;
    return v;
}
static inline struct proa_value proa_json_value(proa_str json)
{
    struct proa_value v = {PROA_VALUE_JSON, {0}};
    v.as.str = json;
    return v;
}
static inline struct proa_value proa_time(proa_time_ns value)
{
    struct proa_value v = {PROA_VALUE_TIME, {0}};
    v.as.i64 = value;
    return v;
}
static inline struct proa_value proa_null(void)
{
    struct proa_value v = {PROA_VALUE_NULL, {0}};
    return v;
}

/* Calls. Parameters are $1, $2, … and given in order. Columns land in the members whose column name (`.column`, else
 * the outside name) is the result column's name; a result column without a member, or a required member without a
 * column, is PROA_EINTERNAL. NULL lands in optional members only. Signed 64-bit columns land in u64 members when not
 * negative.
 *
 * Text must be UTF-8 without a zero byte (PROA_EVALIDATION). Durations and quantities are integers: nanoseconds and
 * bytes; objects, lists and maps are JSON in one column; timestamps keep microseconds. After a statement failed in a
 * transaction, others fail with PROA_EINTERNAL until it, or the savepoint around it, was rolled back. */

/** A statement whose rows are not wanted. @param ret_rows rows changed; may be NULL. */
#define proa_db_exec(sql, ret_rows, text, ...) proa_db_exec_values(sql, ret_rows, text, PROA_VALUES(0, ##__VA_ARGS__))
/** The first row; PROA_ENOTFOUND when there is none. */
#define proa_db_one(sql, typed, ret_row, text, ...)                                                                    \
    proa_db_one_type(sql, PROA_TYPED(typed, ret_row), ret_row, text, PROA_VALUES(0, ##__VA_ARGS__))
/** All rows into a PROA_ARRAY_OF(struct …), at most `max_rows` (PROA_ETOOLARGE above). */
#define proa_db_all(sql, typed, ret_rows, max_rows, text, ...)                                                         \
    proa_db_all_type(sql, PROA_TYPED(typed, (ret_rows)->ptr), (void **)&(ret_rows)->ptr, &(ret_rows)->len, max_rows,   \
                     text, PROA_VALUES(0, ##__VA_ARGS__))

/** The values of a call as array and count. The first argument is nothing: a place for the comma. */
#define PROA_VALUES(nothing, ...)                                                                                      \
    (const struct proa_value[]){{PROA_VALUE_NULL, {0}} PROA_ARGS(struct proa_value, ##__VA_ARGS__)} + 1,               \
        sizeof((const struct proa_value[]){{PROA_VALUE_NULL, {0}} PROA_ARGS(struct proa_value, ##__VA_ARGS__)}) /      \
                sizeof(struct proa_value) -                                                                            \
            1

PROA_MUST_USE int proa_db_exec_values(struct proa_sql sql, uint64_t *ret_rows, const char *text,
                                      const struct proa_value *values, size_t count);
PROA_MUST_USE int proa_db_one_type(struct proa_sql sql, const struct proa_type *type, void *ret_row, const char *text,
                                   const struct proa_value *values, size_t count);
PROA_MUST_USE int proa_db_all_type(struct proa_sql sql, const struct proa_type *type, void **ret_rows,
                                   size_t *ret_count, size_t max_rows, const char *text,
                                   const struct proa_value *values, size_t count);
/** The members of a described struct as parameters, in the order of `columns` ("name, email"): into an arena array for
 *  the …_values calls. */
#define proa_db_values(arena, typed, value, columns, ret_values, ret_count)                                            \
    proa_db_values_type(arena, PROA_TYPED(typed, value), value, columns, ret_values, ret_count)
PROA_MUST_USE int proa_db_values_type(struct proa_arena *arena, const struct proa_type *type, const void *value,
                                      const char *columns, struct proa_value **ret_values, size_t *ret_count);
/** One row written from a described struct, one row read back: `text` names the struct's columns as :name (each becomes
 *  a parameter): "INSERT INTO users (name, email) VALUES (:name, :email) RETURNING id, name, email". */
#define proa_db_write(sql, typed, value, ret_typed, ret_row, text)                                                     \
    proa_db_write_type(sql, PROA_TYPED(typed, value), value, PROA_TYPED(ret_typed, ret_row), ret_row, text)
PROA_MUST_USE int proa_db_write_type(struct proa_sql sql, const struct proa_type *type, const void *value,
                                     const struct proa_type *ret_type, void *ret_row, const char *text);

enum proa_isolation { PROA_READ_COMMITTED = 0, PROA_REPEATABLE_READ, PROA_SERIALIZABLE };
struct proa_tx_options {
    enum proa_isolation isolation; /**< SQLite is always serialisable */
    bool read_only;                /**< SQLite: does not wait for the writer */
    uint32_t retries; /**< of the whole function after PROA_ECONFLICT by serialisation or deadlock; 0: none */
};
/** Runs `fn` in a transaction on a connection of its own; commits when it returns 0 or more, else rolls back (also when
 *  the fiber is cancelled, in a shield). `tx` is the sql to use inside; nested calls make savepoints. A commit whose
 *  answer was lost is PROA_EUNKNOWN.
 *  @returns fn's result or the error. `options` may be NULL. */
PROA_MUST_USE int proa_db_transaction(struct proa_sql sql, const struct proa_tx_options *options,
                                      int (*fn)(struct proa_sql tx, void *arg), void *arg);

/** Name of the constraint that the last failed statement of this error broke, "" if none. */
const char *proa_db_constraint(const struct proa_error *err);

/** A numbered step of the schema. Texts may hold several statements. */
struct proa_migration {
    uint32_t number; /**< rising, from 1 */
    const char *name;
    const char *sql;      /**< for both, or NULL */
    const char *postgres; /**< instead of `sql` on PostgreSQL */
    const char *sqlite;   /**< instead of `sql` on SQLite */
};
/** Brings the schema up to date, each step in a transaction, recorded with a checksum in `proa_migrations`. Safe when
 *  several replicas start at once (one works, the others wait). A recorded step that is missing here or has another
 *  checksum is PROA_ECONFLICT. */
PROA_MUST_USE int proa_db_migrate(struct proa_sql sql, const struct proa_migration *migrations, size_t count);

/** Whether the server answers: SELECT 1 over a shared connection. For readiness. */
PROA_MUST_USE int proa_db_ping(struct proa_sql sql);

PROA_END_DECLS
#endif
