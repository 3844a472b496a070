/** What the files of the PostgreSQL driver share.
 *
 *  Each loop has its own connections; nothing of them is touched from another thread, but for libpq's slow calls
 *  (connecting, cancel requests), which run in the blocking pool while nobody else uses the connection.
 *
 *      pg.c           the driver's table, opening and closing, each loop's part
 *      pg_connect.c   making connections, outside the loop's thread
 *      pg_renew.c     connections anew after a change of the URL
 *      pg_send.c      statements onto a connection
 *      pg_group.c     reads that share one sync: which, how many, and what becomes of them
 *      pg_pipeline.c  results from a connection
 *      pg_shared.c    which connection gets a statement; losing and healing; the tick
 *      pg_own.c       connections of one's own: transactions, long statements, scripts
 *      pg_cancel.c    cancel requests
 *      pg_known.c     what a loop knows of texts
 *      pg_prepared.c  the prepared statements of a connection
 *      pg_text.c      what a statement's text is: a read, one that may share a sync
 *      pg_value.c     parameters and rows
 *      pg_error.c     SQLSTATEs and lost connections as errors
 */
#ifndef PROA_DB_PG_INTERNAL_H
#define PROA_DB_PG_INTERNAL_H

#include "driver.h"

#include <libpq-fe.h>
#include <proa/map.h>
#include <proa/sync.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    PG_OUTSTANDING_MAX = 64,    /* statements on their way on one shared connection */
    PG_GROUP_BYTES = 1 << 16,   /* of parameters, after which a group takes no more reads */
    PG_GROUP_US = 2000,         /* what a group's reads may take the server together, as far as is known */
    PG_SYNC_US = 250,           /* what the way to the server and back takes besides, however close it is */
    PG_GROUPS_AHEAD_MAX = 16,   /* groups on their way on one connection to a server that is far away */
    PG_APART_MS = 1000,         /* a text that failed among others shares no sync for so long */
    PG_STALE_MAX = 2,           /* a statement is sent again after a change of schema; the last time unprepared */
    PG_PREPARED_MAX = 256,      /* statements kept prepared on one connection */
    PG_KNOWN_MAX = 1024,        /* texts of which a loop knows how they do */
    PG_RECENT = 16,             /* of both, those found without a search; a power of two */
    PG_DOWN_WAIT_MS = 1000,     /* how long statements wait for a lost server before they fail at once */
    PG_BACKOFF_MIN_MS = 50,     /* between attempts to connect, doubled each time, with jitter */
    PG_BACKOFF_MAX_MS = 2000,   /* */
    PG_ANSWER_MARGIN_MS = 2000, /* beyond the statement time-out: then the server is taken for dead */
    PG_TICK_MS = 100,           /* how often time-outs are looked at while something is under way */
    PG_IDLE_TICK_MS = 10000,    /* the same while only idle connections of transactions are left */
    PG_OWN_IDLE_MS = 60000,     /* an unused connection of transactions is closed after */
    PG_DRAIN_MS = 2000,   /* for a rollback, or until a cancelled statement has ended; then the connection is closed */
    PG_CANCELS_MAX = 2,   /* cancel requests at a time in the process: each may hold a thread of the pool */
    PG_RENEW_LOOK_MS = 2, /* how often a connection that is to be replaced is looked at */
    PG_REASON_MAX = 256,  /* text kept of why the server cannot be reached */
    PG_TELL_S = 30,       /* how often the log says it again */
};

/** How to connect. Read-only, so from any thread; freed with its last holder. */
struct pg_config {
    _Atomic uint32_t holders;
    uint32_t version; /**< counts up with each URL */
    char *url;
    const char **keywords; /* ended by NULL */
    const char **values;
    char *password; /* as parsed, NULL if none; taken out of messages */
    uint32_t connect_ms;
};

/** The driver's part of a database. */
struct pg {
    struct proa_db *db;
    pthread_mutex_t mutex;    /* of config */
    struct pg_config *config; /* the present one: pg_config_hold */
    _Atomic uint32_t version; /* of it */
    struct pg_loop *loops;
    uint32_t loops_count;
    _Atomic uint32_t cancels; /* under way; shared by all threads */
    _Atomic uint32_t ups;     /* counts how often a loop has reached the server again */
    /* of pg_stop, on loop 0 */
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
    uint32_t waited;                       /* of those, whose fibers still wait */
    uint32_t groups;                       /* of those, what ends with a sync each */
    uint32_t rtt_us;                       /* to the server and back, as the kernel sees it */
    uint32_t groups_ahead;                 /* of reads: so many may be on their way before the next waits */
    struct pg_sent *due;                   /* whose result comes next; NULL: the sync's, or none */
    bool is_undone;                        /* the server has given up the group whose answers come */
    proa_mono_ns busy_since;               /* when the server began with what it answers next, exactly */
    uint64_t load_us;                      /* what is on its way may take the server so long */
    bool is_write_blocked;                 /* libpq holds bytes that the socket did not take */
    bool is_cancelling;                    /* nothing may be sent */
    bool is_fatal;                         /* the server said FATAL: what was sent behind did not run */
    bool is_script;                        /* out of pipeline mode */
    bool is_broken;                        /* it cannot be used any further */
    bool is_touched;                       /* got statements in this turn */
    bool is_corked;                        /* the socket holds back what is written */
    bool is_stream;                        /* TCP: writes of one turn are corked */
    bool is_retiring;                      /* takes no more statements: to be replaced */
    uint32_t version;                      /* of the configuration it was made with */
    uint64_t generation;                   /* of the server connection */
    proa_mono_ns progress_at;              /* when the last answer came */
    struct proa_map *prepared;             /* text -> struct pg_prepared */
    struct pg_prepared *recent[PG_RECENT]; /* of them, by the place of their text */
    struct proa_list prepared_used;        /* the same, least recently used first */
    uint32_t prepared_last;                /* number of the newest */
    uint32_t failures;                     /* to connect, in a row */
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
    struct proa_list node;        /* in conn->sent; when unused, in pl->free_sent */
    struct pg_call *call;         /* NULL: nobody waits any more */
    struct pg_prepared *prepared; /* held; NULL: not prepared */
    struct pg_known *known;       /* held; NULL: on a connection of its own */
    uint64_t cost_us;             /* in conn->load_us */
    uint8_t commands;             /* whose results are to come: DEALLOCATE, prepare, the statement's own */
    bool is_last;                 /* the sync follows */
    bool is_sharing;              /* a read that may have neighbours up to the sync */
    bool is_preparing;
    bool is_failed;   /* an error was seen */
    bool is_stale;    /* … which says that the prepared statement must be made anew */
    bool is_conflict; /* … which may be the neighbours' doing */
};

/** One statement that a fiber waits for; on its stack. */
struct pg_call {
    struct proa_waiter waiter;
    struct proa_list node; /* in pl->waiting or pl->own_unsent while not sent */
    struct proa_sql sql;
    struct db_statement *statement;
    struct pg_known *known; /* held; NULL: for a connection of its own, or memory was out */
    const char *script;     /* instead of a statement */
    struct pg_conn *conn;   /* the own one it must run on; NULL: any shared */
    struct pg_sent *sent;   /* NULL while it waits */
    struct pg_conn *on;     /* where it was sent */
    int rc;                 /* of rows and errors so far */
    bool is_in_tx;
    bool is_commit;
    bool is_committed; /* COMMIT said so, not ROLLBACK */
    bool is_streamed;  /* row by row, not prepared */
    bool has_columns;
    bool was_retried; /* on another connection */
    bool is_apart;    /* shares no sync: its group failed */
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
    uint32_t ups_seen; /* of pg->ups */
    struct proa_task wake;
    _Atomic bool is_wake_posted;
    proa_mono_ns down_since;    /* PROA_NEVER while a shared connection is up */
    char reason[PG_REASON_MAX]; /* why it is down */
    char told[PG_REASON_MAX];   /* what of that was logged */
    proa_mono_ns told_at;
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
    struct proa_fiber *renewer; /* NULL: nothing is renewed */
    struct proa_task renew;
    bool is_renewing;
    _Atomic bool is_renew_posted;
    struct proa_task start;
    struct proa_task stop;
    struct proa_task stopped;           /* to loop 0 */
    struct proa_map *known;             /* text -> struct pg_known */
    struct pg_known *recent[PG_RECENT]; /* of them, by the place of their text */
    /* scratch of one statement's parameters and of one result's columns */
    const char **values;
    int *lengths;
    int *formats;
    size_t values_cap;
    size_t values_bytes; /* of all of them */
    struct proa_buf text;
    struct db_column *columns;
    size_t columns_cap;
};

/* pg.c */
struct pg_loop *pg_loop_of(struct pg *pg, const struct proa_loop *loop);
/** A fiber of this part has ended; the last one of a closing part reports it. */
void pg_fiber_ended(struct pg_loop *pl);

/* pg_connect.c */
PROA_MUST_USE int pg_config_new(const char *url, uint32_t connect_ms, struct pg_config **ret_config,
                                struct proa_error *err);
void pg_config_release(struct pg_config *config);
/** The present one, to be released. From any thread. */
struct pg_config *pg_config_hold(struct pg *pg);
/** A connection that is closed again: whether the server takes this configuration. May suspend. */
PROA_MUST_USE int pg_connect_try(struct pg_loop *pl, const struct pg_config *config);
/** Starts the fiber that connects; it ends in pg_conn_is_up or pg_conn_failed, unless this returns an error. */
PROA_MUST_USE int pg_connect(struct pg_conn *conn);

/* pg_send.c */
/** May a statement be sent on it now? */
bool pg_conn_takes(const struct pg_conn *conn);
/** Sends, or gathers for the turn's write, with a sync of its own. @returns 0; PROA_EUNAVAILABLE: the connection is
 *  broken (the caller closes it) and the statement surely did not run; another error is the statement's own. */
PROA_MUST_USE int pg_send(struct pg_conn *conn, struct pg_call *call);
/** The same without a sync, of a statement that is prepared; pg_sync ends what was put. */
PROA_MUST_USE int pg_put(struct pg_conn *conn, struct pg_call *call, struct pg_prepared *prepared);
void pg_sync(struct pg_conn *conn);
/** Writes what was gathered. May lose the connection. */
void pg_conn_flush(struct pg_conn *conn);

/* pg_group.c */
/** May the call share a sync? */
bool pg_group_takes(const struct pg_loop *pl, const struct pg_call *call);
/** Is it better to wait for an answer than to send the next group of reads now? */
static inline bool pg_group_waits(const struct pg_conn *conn)
{
    return conn->groups >= conn->groups_ahead;
}
/** Sends the reads that wait and may share a sync, as many as one group takes. May lose the connection. */
void pg_group_send(struct pg_conn *conn);
/** Everything up to a sync was answered: ends the calls, or has them run again. */
void pg_group_answered(struct pg_conn *conn);
/** How far away the server is. */
void pg_group_measure(struct pg_conn *conn);

/* pg_pipeline.c */
void pg_conn_init(struct pg_conn *conn, struct pg_loop *pl, enum db_connection_kind kind);
/** Frees what it owns; the server connection must be closed. */
void pg_conn_done(struct pg_conn *conn);
/** The watch's callback. */
void pg_conn_ready(void *arg, int events);
/** Ends all that was sent with what is right for each, and forgets the server connection. */
void pg_conn_drop(struct pg_conn *conn);
/** A new one at the end of conn->sent. @returns NULL when memory is out. */
struct pg_sent *pg_sent_add(struct pg_conn *conn, struct pg_call *call, struct pg_prepared *prepared);
/** Its fiber waits no more. */
void pg_sent_leave(struct pg_conn *conn, struct pg_sent *sent);
/** Takes it away; what becomes of its call, if it has one, is for the caller to see to. */
void pg_sent_remove(struct pg_conn *conn, struct pg_sent *sent);
/** Waits for a call that stands in a list or was sent. May suspend. @returns the call's result, or the reason to give
 *  up. */
PROA_MUST_USE int pg_call_wait(struct pg_call *call);
void pg_call_finish(struct pg_call *call, int rc);
/** Forgets what came of it so far, and puts it in front of those that wait. */
void pg_call_again(struct pg_call *call);

/* pg_shared.c */
PROA_MUST_USE int pg_shared_run(struct pg_call *call, struct pg_loop *pl);
void pg_shared_up(struct pg_conn *conn);
/** Connecting failed. */
void pg_shared_failed(struct pg_conn *conn);
/** The server connection is lost or given up: closes it and starts healing. `reason` may be NULL: as set before. */
void pg_conn_lost(struct pg_conn *conn, const char *reason);
void pg_set_reason(struct pg_loop *pl, const char *text);
/** The connection broke under a statement, which surely did not run. */
void pg_not_sent(struct pg_conn *conn, struct pg_call *call);
/** Logs why there is no connection, now and then. One loop speaks for all. */
void pg_tell(struct pg_loop *pl, const char *what);
/** Puts a call that did not run before those that wait. */
void pg_queue_again(struct pg_loop *pl, struct pg_call *call);
/** Takes a call out of the list it waits in, if any. */
void pg_unqueue(struct pg_call *call);
void pg_retry_fire(struct proa_timer *timer);
void pg_flush_run(struct proa_flush *flush);
void pg_tick_fire(struct proa_timer *timer);
/** Something is under way that has a time limit. */
void pg_tick_arm(struct pg_loop *pl);
/** Whether the server is away, so that nothing should wait for it. When another loop has reached it, it is tried anew
 *  first. */
bool pg_is_down(struct pg_loop *pl);
/** The task of a loop: another one has reached the server. */
void pg_wake_run(struct proa_task *task);
PROA_MUST_USE int pg_fail_down(const struct pg_loop *pl, struct proa_error *err);
int pg_fail_closed(struct proa_error *err);
/** The part is closing: ends those that wait for a shared connection. */
void pg_shared_end(struct pg_loop *pl);

/* pg_renew.c */
int pg_set_url(struct proa_db *db, const char *url, struct proa_error *err);
/** The task of a loop: what was made with an older configuration is to be replaced. */
void pg_renew_run(struct proa_task *task);
static inline bool pg_is_outdated(const struct pg_conn *conn)
{
    return conn->version != atomic_load_explicit(&conn->pl->pg->version, memory_order_acquire);
}

/* pg_own.c */
/** The part is closing: ends those that wait for a connection. */
void pg_own_end(struct pg_loop *pl);
/** Closes the idle ones of an older configuration. */
void pg_own_renew(struct pg_loop *pl);
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
    struct proa_list node; /* in conn->prepared_used; not linked: forgotten */
    uint32_t id;           /* its name is p<id> */
    uint32_t holders;      /* the connection, and statements on their way */
    char text[];
};
enum { PG_NAME_MAX = 24 };
void pg_prepared_name(uint32_t id, char name[static PG_NAME_MAX]);
/** The prepared statement of this text, NULL if there is none yet. */
struct pg_prepared *pg_prepared_find(struct pg_conn *conn, const char *text);
/** Adds one. @param ret_evicted the id of one that had to go, else 0. @returns NULL when memory is out. */
struct pg_prepared *pg_prepared_add(struct pg_conn *conn, const char *text, uint32_t *ret_evicted);
/** The server does not know it, or no longer: the next statement of its text prepares it. Twice is harmless. */
void pg_prepared_forget(struct pg_conn *conn, struct pg_prepared *prepared);
void pg_prepared_release(struct pg_prepared *prepared);
void pg_prepared_clear(struct pg_conn *conn);

/** Where in `recent` this text's is. Texts are mostly constants of the program, so that the place where one stands in
 *  memory finds what belongs to it without a search; what stands there is compared all the same. */
static inline size_t pg_recent_of(const char *text)
{
    uintptr_t place = (uintptr_t)text;

    return (place ^ place >> 5) % PG_RECENT;
}

/* pg_known.c */
struct pg_known {
    uint32_t holders;         /* the loop's part, calls, and statements on their way */
    bool shares;              /* pg_text_shares */
    bool has_run;             /* so that cost_ns is known */
    uint64_t cost_ns;         /* of a run on the server, about, at best */
    proa_mono_ns apart_until; /* it failed among others */
    char text[];
};
/** Of a text, to be released. @returns NULL when memory is out. */
struct pg_known *pg_known_hold(struct pg_loop *pl, const char *text);
/** NULL is fine. */
void pg_known_release(struct pg_known *known);
void pg_known_clear(struct pg_loop *pl);

/* pg_text.c */
/** Whether the text surely changes nothing: SELECT, SHOW, VALUES, TABLE, WITH without a changing part, and without
 *  functions but those known to change nothing. In doubt it may. */
bool pg_text_reads(const char *text);
/** Whether what it does may be committed before it ends: a procedure's steps. */
bool pg_text_commits(const char *text);
/** Whether it may stand in one transaction with others of its kind, and none of them notices: a query without locks
 *  that calls nothing but functions known to leave no trace. In doubt it may not. */
bool pg_text_shares(const char *text);

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
/** Perhaps the error is one of functions that the statement calls. */
bool pg_result_is_from_within(const PGresult *result);
/** Serialisation failure or deadlock: the whole transaction may be run again. */
bool pg_result_may_retry(const PGresult *result);
/** Whether a call that was sent and not answered can have left something behind. */
bool pg_may_have_written(const struct pg_call *call);
/** libpq's text on one line, without the password. */
void pg_reason(const struct pg_config *config, const char *text, char *ret_reason, size_t size);

#endif
