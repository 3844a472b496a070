/** What the files of the PostgreSQL driver share.
 *
 *  Each loop has its own connections; nothing of them is touched from another thread, but for libpq's slow calls
 *  (connecting, cancel requests), which run in the blocking pool while nobody else uses the connection.
 *
 *      pg.c           the driver's table, opening and closing, each loop's part
 *      pg_connect.c   making connections, outside the loop's thread
 *      pg_pipeline.c  statements and results on a connection
 *      pg_shared.c    which connection gets a statement; losing and healing; the tick
 *      pg_own.c       connections of one's own: transactions, long statements, scripts
 *      pg_cancel.c    cancel requests
 *      pg_prepared.c  the prepared statements of a connection
 *      pg_value.c     parameters and rows
 *      pg_error.c     SQLSTATEs and lost connections as errors
 */
#ifndef PROA_DB_PG_INTERNAL_H
#define PROA_DB_PG_INTERNAL_H

#include "driver.h"

#include <libpq-fe.h>
#include <proa/map.h>
#include <proa/sync.h>
#include <stdatomic.h>

enum {
    PG_OUTSTANDING_MAX = 64,    /* statements on their way on one shared connection */
    PG_STALE_MAX = 2,           /* a statement is sent again after a change of schema; the last time unprepared */
    PG_PREPARED_MAX = 256,      /* statements kept prepared on one connection */
    PG_DOWN_WAIT_MS = 1000,     /* how long statements wait for a lost server before they fail at once */
    PG_BACKOFF_MIN_MS = 50,     /* between attempts to connect, doubled each time, with jitter */
    PG_BACKOFF_MAX_MS = 2000,   /* */
    PG_ANSWER_MARGIN_MS = 2000, /* beyond the statement time-out: then the server is taken for dead */
    PG_TICK_MS = 100,           /* how often time-outs are looked at while something is under way */
    PG_IDLE_TICK_MS = 10000,    /* the same while only idle connections of transactions are left */
    PG_OWN_IDLE_MS = 60000,     /* an unused connection of transactions is closed after */
    PG_DRAIN_MS = 2000,  /* for a rollback, or until a cancelled statement has ended; then the connection is closed */
    PG_CANCELS_MAX = 2,  /* cancel requests at a time in the process: each may hold a thread of the pool */
    PG_REASON_MAX = 256, /* text kept of why the server cannot be reached */
};

/** How to connect. Read-only once open, so from any thread. */
struct pg_config {
    const char **keywords; /* ended by NULL */
    const char **values;
    char *password; /* as parsed, NULL if none; taken out of messages */
    uint32_t connect_ms;
};

/** The driver's part of a database. */
struct pg {
    struct proa_db *db;
    struct pg_config config;
    struct pg_loop *loops;
    uint32_t loops_count;
    _Atomic uint32_t cancels; /* under way; shared by all threads */
    /* of pg_close, on loop 0 */
    uint32_t open_loops;
    struct proa_waiter *closer;
};

enum pg_state {
    PG_DOWN = 0,   /* no server connection; a shared one has its timer running */
    PG_CONNECTING, /* a fiber is at it */
    PG_UP,
};

struct pg_tx {
    struct proa_tx base;
    struct pg_conn *conn;
};

/** A connection.
 *
 *      shared:  DOWN --timer--> CONNECTING --ok--> UP --lost--> DOWN …            (lives as long as its loop's part)
 *                 ^---failed, back-off--+
 *      own:     CONNECTING --ok--> UP: reserved <-> idle, draining in between --lost--> freed once nobody holds it
 */
struct pg_conn {
    struct pg_loop *pl;
    enum db_connection_kind kind;
    enum pg_state state;
    PGconn *pq;                  /* NULL unless UP */
    struct proa_fd_watch *watch; /* NULL unless UP */
    struct proa_list sent;       /* struct pg_sent, in the order of their answers */
    uint32_t sent_count;
    bool is_write_blocked;          /* libpq holds bytes that the socket did not take */
    bool is_cancelling;             /* nothing may be sent */
    bool is_fatal;                  /* the server said FATAL: what was sent behind did not run */
    bool is_script;                 /* out of pipeline mode */
    bool is_broken;                 /* it cannot be used any further */
    bool is_touched;                /* got statements in this turn */
    bool is_corked;                 /* the socket holds back what is written */
    bool is_stream;                 /* TCP: writes of one turn are corked */
    uint64_t generation;            /* of the server connection */
    proa_mono_ns progress_at;       /* when the last answer came */
    struct proa_map *prepared;      /* text -> struct pg_prepared */
    struct proa_list prepared_used; /* the same, least recently used first */
    uint32_t prepared_last;         /* number of the newest */
    uint32_t failures;              /* to connect, in a row */
    struct proa_timer retry;
    struct proa_fiber *connector;
    /* own connections */
    struct proa_list all;  /* in pl->own_all */
    struct proa_list idle; /* in pl->own_idle */
    bool is_reserved;      /* a fiber has it */
    bool is_draining;
    proa_mono_ns since; /* idle or draining */
    uint32_t holders;   /* the pool's list, a fiber, a cancel request, a callback: freed with the last */
    struct pg_tx tx;
};

/** One statement that was sent. Outlives the fiber that asked for it. */
struct pg_sent {
    struct proa_list node; /* in conn->sent; when unused, in pl->free_sent */
    struct pg_call *call;  /* NULL: nobody waits any more */
    proa_mono_ns at;
    uint32_t prepared_id; /* 0: not prepared */
    uint8_t leading;      /* results before the statement's own: DEALLOCATE, prepare */
    bool is_preparing;
    bool is_failed; /* an error was seen */
    bool is_stale;  /* … which says that the prepared statement must be made anew */
};

/** One statement that a fiber waits for; on its stack. */
struct pg_call {
    struct proa_waiter waiter;
    struct proa_list node; /* in pl->waiting or pl->own_unsent while not sent */
    struct proa_sql sql;
    struct db_statement *statement;
    const char *script;   /* instead of a statement */
    struct pg_conn *conn; /* the own one it must run on; NULL: any shared */
    struct pg_sent *sent; /* NULL while it waits */
    struct pg_conn *on;   /* where it was sent */
    int rc;               /* of rows and errors so far */
    bool is_in_tx;
    bool is_commit;
    bool is_committed; /* COMMIT said so, not ROLLBACK */
    bool is_streamed;  /* row by row, not prepared */
    bool has_columns;
    bool was_retried; /* on another connection */
    uint8_t stale;    /* how often its prepared statement was out of date */
    bool may_retry;   /* serialisation, deadlock */
    bool is_pending;  /* counted as such */
    bool is_done;
};

/** A loop's part. */
struct pg_loop {
    struct pg *pg;
    struct proa_loop *loop;
    struct pg_conn *shared;
    uint32_t shared_count;
    uint32_t shared_up;
    uint32_t shared_sent;     /* statements on their way */
    struct proa_list waiting; /* struct pg_call, not sent, for shared connections */
    uint32_t waiting_count;
    uint32_t waiting_max;
    struct proa_flush flush;
    struct proa_timer tick;
    bool was_up;
    proa_mono_ns down_since;    /* PROA_NEVER while a shared connection is up */
    char reason[PG_REASON_MAX]; /* why it is down */
    struct proa_list free_sent;
    struct proa_list own_all;
    struct proa_list own_idle;
    struct proa_list own_waiting; /* struct pg_own_wait */
    struct proa_list own_unsent;  /* struct pg_call */
    uint32_t own_count;
    uint32_t own_max;
    uint32_t own_draining;
    uint32_t own_waiting_count;
    uint32_t fibers; /* that connect or cancel */
    bool is_closing;
    bool is_stopped;
    struct proa_task start;
    struct proa_task stop;
    struct proa_task stopped; /* to loop 0 */
    /* scratch of one statement's parameters and of one result's columns */
    const char **values;
    int *lengths;
    int *formats;
    size_t values_cap;
    struct proa_buf text;
    struct db_column *columns;
    size_t columns_cap;
};

/* pg.c */
struct pg_loop *pg_loop_of(struct pg *pg, const struct proa_loop *loop);
/** A fiber of this part has ended; the last one of a closing part reports it. */
void pg_fiber_ended(struct pg_loop *pl);

/* pg_connect.c */
PROA_MUST_USE int pg_config_init(struct pg_config *config, const struct proa_db_options *options,
                                 struct proa_error *err);
void pg_config_done(struct pg_config *config);
/** Starts the fiber that connects; it ends in pg_conn_is_up or pg_conn_failed, unless this returns an error. */
PROA_MUST_USE int pg_connect(struct pg_conn *conn);

/* pg_pipeline.c */
void pg_conn_init(struct pg_conn *conn, struct pg_loop *pl, enum db_connection_kind kind);
/** Frees what it owns; the server connection must be closed. */
void pg_conn_done(struct pg_conn *conn);
/** May a statement be sent on it now? */
bool pg_conn_takes(const struct pg_conn *conn);
/** Sends, or gathers for the turn's write. @returns 0; PROA_EUNAVAILABLE: the connection is broken (the caller closes it) and
 *  the statement surely did not run; another error is the statement's own. */
PROA_MUST_USE int pg_send(struct pg_conn *conn, struct pg_call *call);
/** Writes what was gathered. May lose the connection. */
void pg_conn_flush(struct pg_conn *conn);
/** Several statements follow: on TCP they leave together, with the flush. */
void pg_conn_cork(struct pg_conn *conn, bool on);
/** The watch's callback. */
void pg_conn_ready(void *arg, int events);
/** Ends all that was sent with what is right for each, and forgets the server connection. */
void pg_conn_drop(struct pg_conn *conn);
/** Waits for a call that stands in a list or was sent. May suspend. @returns the call's result, or the reason to give up. */
PROA_MUST_USE int pg_call_wait(struct pg_call *call);
void pg_call_finish(struct pg_call *call, int rc);

/* pg_shared.c */
PROA_MUST_USE int pg_shared_run(struct pg_call *call, struct pg_loop *pl);
void pg_shared_up(struct pg_conn *conn);
/** Connecting failed. */
void pg_shared_failed(struct pg_conn *conn);
/** The server connection is lost or given up: closes it and starts healing. `reason` may be NULL: as set before. */
void pg_conn_lost(struct pg_conn *conn, const char *reason);
void pg_set_reason(struct pg_loop *pl, const char *text);
/** Puts a call that did not run before those that wait. */
void pg_queue_again(struct pg_loop *pl, struct pg_call *call);
/** Takes a call out of the list it waits in, if any. */
void pg_unqueue(struct pg_call *call);
void pg_retry_fire(struct proa_timer *timer);
void pg_flush_run(struct proa_flush *flush);
void pg_tick_fire(struct proa_timer *timer);
/** Something is under way that has a time limit. */
void pg_tick_arm(struct pg_loop *pl);
bool pg_is_down(const struct pg_loop *pl);
PROA_MUST_USE int pg_fail_down(const struct pg_loop *pl, struct proa_error *err);

/* pg_own.c */
void pg_own_release(struct pg_conn *conn);
void pg_own_up(struct pg_conn *conn);
void pg_own_failed(struct pg_conn *conn);
/** A statement of it has ended, or its cancel request: perhaps it is free now. */
void pg_own_settled(struct pg_conn *conn);
void pg_own_lost(struct pg_conn *conn);
void pg_own_unref(struct pg_conn *conn);
void pg_own_tick(struct pg_loop *pl, proa_mono_ns now);
/** Runs on this reserved connection. */
PROA_MUST_USE int pg_own_run(struct pg_call *call, struct pg_conn *conn);
int pg_run_long(struct proa_sql sql, struct db_statement *statement);
int pg_run_in_tx(struct proa_sql sql, struct db_statement *statement);
int pg_begin(struct proa_sql sql, const struct proa_tx_options *options, struct proa_tx **ret_tx);
int pg_end(struct proa_sql sql, struct proa_tx *tx, bool commit, bool *ret_may_retry);
int pg_script(struct proa_sql sql, const char *text);
int pg_lock_migrations(struct proa_sql sql);

/* pg_cancel.c */
/** Asks the server to cancel what runs on the connection, if that may be asked now; nothing is sent on it meanwhile. */
void pg_cancel(struct pg_conn *conn);

/* pg_prepared.c */
struct pg_prepared {
    struct proa_list node; /* in conn->prepared_used */
    uint32_t id;           /* its name is p<id> */
    char text[];
};
enum { PG_NAME_MAX = 24 };
void pg_prepared_name(uint32_t id, char name[static PG_NAME_MAX]);
/** The prepared statement of this text, NULL if there is none yet. */
struct pg_prepared *pg_prepared_find(struct pg_conn *conn, const char *text);
/** Adds one. @param ret_evicted the id of one that had to go, else 0. @returns NULL when memory is out. */
struct pg_prepared *pg_prepared_add(struct pg_conn *conn, const char *text, uint32_t *ret_evicted);
void pg_prepared_forget(struct pg_conn *conn, uint32_t id);
void pg_prepared_clear(struct pg_conn *conn);

/* pg_value.c */
/** Fills pl->values, lengths and formats. Valid until the next call. */
PROA_MUST_USE int pg_params(struct pg_loop *pl, const struct db_statement *statement, struct proa_error *err);
/** Gives a result's rows to the call; keeps its first error. */
void pg_rows(struct pg_loop *pl, struct pg_call *call, const PGresult *result);

/* pg_error.c */
/** An error result as the call's error. */
int pg_fail_result(struct proa_error *err, const PGresult *result);
/** The error of a statement whose connection was lost. */
int pg_fail_lost(struct pg_call *call, bool may_have_run, const char *reason);
bool pg_result_is_fatal(const PGresult *result);
/** The prepared statement is gone or no longer fits; the statement did not run. */
bool pg_result_is_stale(const PGresult *result);
/** Serialisation failure or deadlock: the whole transaction may be run again. */
bool pg_result_may_retry(const PGresult *result);
/** Whether the text surely changes nothing: SELECT, SHOW, VALUES, TABLE, WITH without a changing part. */
bool pg_text_reads(const char *text);
/** Whether it begins, ends or divides a transaction. */
bool pg_text_controls(const char *text);
/** libpq's text on one line, without the password. */
void pg_reason(const struct pg_config *config, const char *text, char *ret_reason, size_t size);

#endif
