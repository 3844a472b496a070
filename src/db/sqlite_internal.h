/** What the files of the SQLite driver share.
 *
 *      fiber -- sqlite_acquire --> connection -- sqlite_execute --> pool thread: sqlite_job_run
 *        ^                                                               |
 *        +-- db_rows_… <-- sqlite_deliver <-- the connection's result ---+
 *
 *  A connection belongs to whoever acquired it, and is touched by a pool thread only while sqlite_execute waits for it.
 *  Nothing but sqlite_interrupt calls SQLite from a loop's thread.
 */
#ifndef PROA_DB_SQLITE_INTERNAL_H
#define PROA_DB_SQLITE_INTERNAL_H

#include "driver.h"

#include <proa/buf.h>
#include <proa/list.h>
#include <proa/map.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

enum {
    SQLITE_LONG_MAX = 2,               /* long statements at a time: they hold a thread of the blocking pool */
    SQLITE_STATEMENTS_MAX = 64,        /* prepared ones kept a connection */
    SQLITE_KNOWN_WRITES_MAX = 1024,    /* texts of which it is known that they write */
    SQLITE_RESULT_BYTES_MAX = 1 << 26, /* of one result, before it goes to the request's arena */
    SQLITE_RESULT_BYTES_KEPT = 1 << 16,
};

struct sqlite_pool;

struct sqlite_conn {
    struct proa_list node; /* among its pool's free ones */
    struct sqlite_pool *pool;
    pthread_mutex_t handle_mutex; /* around opening, closing and interrupting */
    sqlite3 *handle;              /* NULL: not open */
    struct proa_map *statements;  /* text -> struct sqlite_statement */
    struct proa_list by_use;      /* they, the least recently used first */
    struct proa_buf result;       /* of the last statement */
    _Atomic bool is_interrupted;  /* the present job is to end */
    bool must_roll_back;          /* a transaction may be open that nobody wants: before anything else */
};

/* Connections for one purpose, and who waits for one. Shared by all loops, guarded by the database's mutex. */
struct sqlite_pool {
    struct sqlite_db *own;
    enum db_connection_kind kind;
    bool is_writer;
    uint32_t max;
    uint32_t made;
    uint32_t waiting_count;
    struct proa_list free;    /* the last used first: its pages are cached */
    struct proa_list waiting; /* in the order of asking, whatever the loop */
};

struct sqlite_db {
    struct proa_db *db;
    char *path;
    bool is_memory;
    pthread_mutex_t mutex; /* guards the pools' members and known_writes */
    struct sqlite_pool writer;
    struct sqlite_pool readers;      /* single statements */
    struct sqlite_pool long_readers; /* those marked long */
    struct sqlite_pool tx_readers;   /* read-only transactions */
    struct proa_map *known_writes;   /* texts of statements that turned out to write */
};

/* sqlite_pool.c */
void sqlite_pool_init(struct sqlite_pool *pool, struct sqlite_db *own, enum db_connection_kind kind, uint32_t max,
                      bool is_writer);
/** Frees its connections, which must all be free; in a thread that may block. */
void sqlite_pool_done(struct sqlite_pool *pool);
/** May suspend, in the order of asking. Outputs only on success. */
PROA_MUST_USE int sqlite_acquire(struct proa_sql sql, struct sqlite_pool *pool, struct sqlite_conn **ret_conn);
void sqlite_release(struct proa_sql sql, struct sqlite_conn *conn);
/** Closes what nobody uses now, in a pool thread: SQLite keeps a file's state (such as that it may not be written) in
 *  the process as long as one connection to it is open. Each opens again when it is used. */
void sqlite_close_idle(struct sqlite_db *own);

/* sqlite_conn.c: in a pool thread. */
struct sqlite_statement {
    struct proa_list node; /* of by_use */
    sqlite3_stmt *stmt;
    char *text;
    bool is_read_only;
    uint32_t values_count;
    int parameters_count;
    uint32_t numbers[]; /* of the $n that each of SQLite's parameters is */
};
/** Opens it unless it is open. @returns SQLite's code; *ret_what says what failed. */
PROA_MUST_USE int sqlite_conn_open(struct sqlite_conn *conn, const char **ret_what);
void sqlite_conn_close(struct sqlite_conn *conn);
/** The prepared statement, from the cache or new. @returns 0 or an error, of which *ret_code is SQLite's reason, or
 *  SQLITE_OK when err says it all. */
PROA_MUST_USE int sqlite_prepare(struct sqlite_conn *conn, const char *text, struct sqlite_statement **ret_statement,
                                 int *ret_code, struct proa_error *err);

/* sqlite_error.c */
/** Turns a result of SQLite into an error. @param what may be NULL. */
int sqlite_fail(struct proa_error *err, const struct sqlite_conn *conn, int code, const char *what);
/** Whether the connection is of no more use after this. */
bool sqlite_is_fatal(int code);

/* sqlite_job.c: what a pool thread does for a fiber. */
struct sqlite_job {
    struct sqlite_conn *conn;
    const char *text;
    const struct proa_value *values;
    size_t values_count;
    size_t rows_wanted;
    bool wants_rows;
    bool is_script;      /* several statements without parameters and results */
    bool is_single;      /* no transaction may be open afterwards */
    bool must_only_read; /* a write is not run, and `found_write` set */
    bool is_commit;
    /* What came of it. */
    int code; /* 0 or a PROA error */
    bool is_busy;
    bool found_write;
    bool was_interrupted;
    bool is_in_tx;   /* a transaction is open on the connection */
    int sqlite_code; /* of what failed */
    uint64_t changed;
    size_t columns_count;
    size_t rows_count;
    struct proa_error err;
};
void sqlite_job_run(void *job);
/** From the loop's thread, while or just after the job runs. */
void sqlite_interrupt(void *job);
/** Hands the result over to the request, on its loop. */
PROA_MUST_USE int sqlite_deliver(const struct sqlite_job *job, struct proa_sql sql, struct db_rows *rows);

#endif
