/** What the agent asks of an engine: one table each, as postgres.c has it. The agent decides when; the driver knows how.
 *
 *  The order in which the agent calls, for one life of the server:
 *
 *      look ── no data, primary ─► initialise ─┐
 *        │  └─ no data, standby ─► clone ──────┤ (into a folder beside the data's, renamed when complete)
 *        │◄────────────────────────────────────┘
 *        ├─► configure ─► server_arguments, the server is started
 *        │      ask, again and again; once it answers: settle, then
 *        │        primary: apply_credentials, keep_replicas     standby: follow
 *        │      collect, now and then; judge, while a standby does not stream
 *        ▼
 *      the server is stopped by stop_signal, kill_signal after too long
 *
 *  Every call comes from the one fiber that looks after the instance, may suspend, and has a deadline that the agent set. Every call may
 *  be repeated, after a crash at any point too. Passwords: never an argument, an environment variable or a log line; by standard input
 *  of a client (child_run's `input`), by a file of mode 0600 below the run folder, or as a hash.
 */
#ifndef DATABASE_OPERATOR_DRIVER_H
#define DATABASE_OPERATOR_DRIVER_H

#include "../engines/engine.h"
#include "child.h"
#include "agent_config.h"
#include "samples.h"

enum instance_role { ROLE_NONE = 0, ROLE_PRIMARY, ROLE_STANDBY };
PROA_ENUM(instance_role, (ROLE_NONE, ""), (ROLE_PRIMARY, "primary"), (ROLE_STANDBY, "standby"));

enum {
    IDENTITY_MAX = 64,
    POSITION_MAX = 512, /* a GTID set of a few servers fits */
    VERSION_MAX = 32,
    HOST_MAX = 256,
    SERVER_ARGUMENTS_MAX = 24,
};

/** As mounted. Text lives until they are read again, which only happens between two calls of the driver. */
struct credentials {
    proa_str username, password, replication_password, agent_token;
};

/** What a driver is told; it changes nothing of it. Between two calls anything may have changed. */
struct instance {
    struct proa_loop *loop;
    const struct proa_logger *logger;
    const struct agent_config *config; /**< folders, ports, deadlines */
    const struct engine *engine;
    struct children *children;
    const struct credentials *credentials;
    enum instance_role role;
    uint32_t ordinal;         /**< of config->pod: 0 of "shop-0" */
    uint32_t primary_ordinal; /**< of the primary's pod */
    uint32_t replicas;        /**< instances that there are to be, status.replicas: ordinals below it */
    proa_str primary;         /**< the primary's pod */
    proa_str primary_host;    /**< where it is reached: "shop-0.shop-headless.default.svc" */
};
/** Where another instance is reached, NUL-terminated. */
void instance_host(const struct instance *instance, uint32_t ordinal, char ret_host[HOST_MAX]);
/** A file below the run folder, NUL-terminated, in the arena; NULL when memory is out. */
const char *instance_run_path(struct proa_arena *arena, const struct instance *instance, const char *name);
/** A program of the engine: below config->bin_dir if that is set, else as it is, for PATH. In the arena; NULL when memory is out. */
const char *instance_program(struct proa_arena *arena, const struct instance *instance, const char *name);

/** What a data folder holds, told from its files alone. */
struct data_facts {
    bool is_complete; /**< a whole database: the folder is never half-made, since the agent renames it */
    bool was_standby; /**< its last role */
};

/** An answer of the server. Texts are "" where they do not apply. */
struct engine_status {
    bool is_writable;  /**< takes writes: a primary */
    bool is_streaming; /**< standby: connected to its primary and receiving */
    bool
        is_ahead; /**< standby: connected to a primary that has less than it, which never is so between the two of one history */
    bool replays_own; /**< standby: still at what it has itself, and has not asked its primary for more */
    /** Of the connection by which it streams; 0: not told. A stream counts when two answers in a row tell of the same one: a connection that
     *  the primary refuses looks like a stream for a moment. */
    uint64_t stream;
    bool has_lag; /**< lag_bytes and lag_ms are known */
    uint64_t
        lag_bytes; /**< received by or known to be at the primary, and not replayed; 0 where an engine counts only time */
    uint64_t lag_ms;           /**< age of what is replayed; 0 when nothing is outstanding */
    uint64_t size_bytes;       /**< of all data, about; 0: not asked this time */
    char version[VERSION_MAX]; /**< "15.14" */
    char identity
        [IDENTITY_MAX]; /**< the same for all instances of one database: PostgreSQL's system identifier, MongoDB's replica set id */
    char history[VERSION_MAX];   /**< PostgreSQL's timeline */
    char position[POSITION_MAX]; /**< how far its own log goes: an LSN, a GTID set, an optime */
    char oldest[POSITION_MAX];   /**< the oldest position a standby can still continue from here; of a primary */
};

/** What the primary's agent says over HTTP, as far as another instance needs it. */
struct primary_status {
    bool is_ready; /**< it answers, is the primary, and its engine serves: only then may anything be cloned from it */
    struct engine_status engine;
};

enum verdict {
    VERDICT_WAIT = 0, /**< may still catch up, or nobody can tell */
    VERDICT_LOST,     /**< can never follow this primary again: to be cloned anew */
    VERDICT_FOREIGN, /**< has what the primary lacks (it has another database, or has lost a part of this one): cloned anew, the old data are
                           kept aside */
};

struct driver {
    enum database_engine engine;
    int stop_signal; /**< an orderly and quick end: sessions are cut, what is committed is safe and sent to standbys */
    int kill_signal; /**< an end at once that a restart repairs */
    bool copies_running; /**< `clone` copies nothing: the server does, when it runs */
    bool stops_writer;   /**< a standby's server that takes writes has been told so by somebody, and is to be stopped */

    /** Tells what `folder` (which may be absent) holds. Starts no process. */
    int (*look)(const struct instance *instance, const char *folder, struct data_facts *ret_facts,
                struct proa_error *err);
    /** Makes the first instance's data in `folder`, which exists and is empty; durable on return, with users and database if the engine can do
     *  that before it listens. Cut short at any point, the folder is thrown away. */
    int (*initialise)(const struct instance *instance, const char *folder, struct proa_error *err);
    /** Copies the primary's data into `folder` in the same way. */
    int (*clone)(const struct instance *instance, const char *folder, struct proa_error *err);
    /** Before every start, when no process of the engine runs (the agent has made sure): writes the engine's own configuration files for role and
     *  primary (config->config_dir holds the operator's, as it was when the pod was made), and removes what a server that was killed left in the way, such as a pid file. */
    int (*configure)(const struct instance *instance, const char *folder, struct proa_error *err);
    /** What to run, ended by NULL; text in the arena or static. */
    int (*server_arguments)(const struct instance *instance, struct proa_arena *arena, const char *folder,
                            const char *ret_arguments[SERVER_ARGUMENTS_MAX], struct proa_error *err);
    /** One question over the local socket. PROA_EUNAVAILABLE: not accepting connections, which is an answer too (starting, recovering);
     *  PROA_ETIMEDOUT: no answer. `with_size`: fill size_bytes. */
    int (*ask)(const struct instance *instance, bool with_size, struct engine_status *ret_status,
               struct proa_error *err);
    /** Once after each start, when it answers first: what cannot be said by configuration (a replica set's initiation). NULL: nothing. */
    int (*settle)(const struct instance *instance, struct proa_error *err);
    /** Primary: users, their passwords and the database are as the credentials say. Called after each start, when their files have changed,
     *  and now and then; changes only what differs. A primary is not ready before this has succeeded once. */
    int (*apply_credentials)(const struct instance *instance, struct proa_error *err);
    /** Primary: keeps what each standby needs (slots, members), and drops what removed replicas left. Called after each start, on a change
     *  of `replicas`, and now and then. NULL: nothing. */
    int (*keep_replicas)(const struct instance *instance, struct proa_error *err);
    /** Standby: follows the primary with the present credentials. Called after each start and when either has changed; changes only what
     *  differs. */
    int (*follow)(const struct instance *instance, struct proa_error *err);
    /** Standby that does not stream: whether it ever can again. `own` is the last answer of its server, `primary` of one that is ready. *ret_why
     *  is static. */
    int (*judge)(const struct instance *instance, const struct engine_status *own, const struct primary_status *primary,
                 enum verdict *ret_verdict, const char **ret_why, struct proa_error *err);
    /** Whether it answers, under the usual exporter's name ("pg_up"): the agent gives its value, 0 or 1. */
    const struct sample_family *up;
    /** Metrics under the names of the engine's usual exporter; real queries, bounded. */
    int (*collect)(const struct instance *instance, const struct engine_status *own, struct samples *samples,
                   struct proa_error *err);
};

extern const struct driver driver_postgres, driver_mysql, driver_mongodb;
/** NULL where this build has none yet. */
const struct driver *driver_of(enum database_engine engine);

#endif
