/** What the files of the agent share.
 *
 *  One fiber (life.c) looks after the instance and is the only one that changes anything:
 *
 *      WAITING ─► REFUSED ─────────────┐           waits until the status names another primary
 *        │  ▲        ▲                 │
 *        ▼  └────────┴─────────────────┘
 *      MAKING (initialise or clone) ─► STARTING ─► RUNNING ─► STOPPING ─► WAITING
 *                    ▲                                │ lost
 *                    └────────────────────────────────┘
 *
 *  Any phase ends the program with exit code 1 when the engine ends by itself, or when the volume cannot be used.
 *
 *  | phase    | engine runs | /readyz | /livez            |
 *  | -------- | ----------- | ------- | ----------------- |
 *  | WAITING  | no          | 503     | 200               |
 *  | REFUSED  | no          | 503     | 200               |
 *  | MAKING   | no          | 503     | 200               |
 *  | STARTING | yes         | 503     | 200               |
 *  | RUNNING  | yes         | if it serves | while it answers |
 *  | STOPPING | yes         | 503     | 200               |
 *
 *  Two fibers beside it only tell it something: the watch of the Database (assignment.c), and requests (http.c).
 */
#ifndef DATABASE_OPERATOR_AGENT_INTERNAL_H
#define DATABASE_OPERATOR_AGENT_INTERNAL_H

#include "driver.h"
#include "volume.h"

#include <proa/app.h>
#include <proa/client.h>
#include <proa/kube.h>
#include <proa/sync.h>

enum { POD_NAME_MAX = 64, REASON_MAX = 400 };

enum life_phase { LIFE_WAITING = 0, LIFE_REFUSED, LIFE_MAKING, LIFE_STARTING, LIFE_RUNNING, LIFE_STOPPING };
PROA_ENUM(life_phase, (LIFE_WAITING, "Waiting"), (LIFE_REFUSED, "Refused"), (LIFE_MAKING, "Making"),
          (LIFE_STARTING, "Starting"), (LIFE_RUNNING, "Running"), (LIFE_STOPPING, "Stopping"));

/** What the Database says, as far as it concerns an instance. */
struct assignment {
    bool is_known;
    bool is_from_api;    /**< and not from memory */
    bool is_initialized; /**< there have been data, on whatever volume */
    char primary[POD_NAME_MAX];
    uint32_t replicas;
};

/** The answer of /v1/status, which other instances' agents and people read. */
struct agent_status {
    proa_str pod, role, phase, reason, warning, primary;
    bool ready, live, writable, streaming;
    PROA_OPTIONAL(bool) has_data; /* absent: not known yet */
    proa_str engine, version, identity, timeline, position, oldest;
    uint64_t size_bytes;
    PROA_OPTIONAL(uint64_t) lag_bytes;
    PROA_OPTIONAL(uint64_t) lag_ms;
    uint64_t restarts, clones, orphans;
    bool api_seen; /* the API server has answered since the start */
};
PROA_DECLARE_TYPE(agent_status);

/** What the looking after one life of the server remembers. Times are of the loop. */
struct tending {
    proa_mono_ns started_at;
    proa_mono_ns last_answer_at;    /* also "starting" is one */
    proa_mono_ns last_streaming_at; /* 0: not yet */
    proa_mono_ns size_due_at, metrics_due_at, duties_due_at, judge_due_at;
    bool last_was_answered;
    uint32_t misses;      /* answers in a row that did not come */
    uint64_t last_stream; /* of the last answer; 0: none */
    bool stream_is_new;   /* to be looked at again soon */
    bool is_settled;
    bool is_whole;        /* a standby's, which follows: what was there before it is removed */
    bool duties_are_done; /* once */
    bool credentials_have_changed;
    uint32_t replicas_done; /* that keep_replicas was last called for */
    enum verdict last_verdict;
};

struct agent {
    struct agent_config config;
    struct proa_app *app;
    struct proa_app_options options;
    struct proa_loop *loop;
    struct proa_logger own_logger;
    const struct proa_logger *logger;
    const struct driver *driver;
    struct children *children;
    struct proa_kube_config *kube_config; /* NULL until it could be read */
    struct proa_kube *kube;
    struct proa_client *client; /* to the other agents */
    struct volume *volume;

    struct proa_arena credentials_arena;
    struct credentials credentials;
    char credentials_error[PROA_ERROR_MESSAGE_MAX]; /* why the mounted ones cannot be used; "" */

    struct assignment assignment;
    bool api_is_seen;
    struct proa_event wake; /* something has changed for the fiber that looks after the instance */
    bool restart_is_wanted;

    struct instance instance;
    char primary[POD_NAME_MAX]; /* what instance.primary points to */
    char primary_host[HOST_MAX];

    enum life_phase phase;
    char reason[REASON_MAX];       /* why not ready; "" when ready */
    char warning[REASON_MAX];      /* what could not be done although it serves; "" if nothing */
    const char *why_anew;          /* why the data are made anew; static */
    bool has_data, data_are_known; /* whether the volume holds a database; once it has been looked at */
    bool is_ready;
    struct child *server;
    struct engine_status status; /* the last answer */
    bool has_status;
    struct tending tending;

    uint64_t restarts, clones;
    struct proa_arena samples_arena[2]; /* the last samples, and those that are being gathered */
    struct samples samples;
    unsigned samples_turn;
};

/* agent.c */
/** Says why it is not ready, in status, log (when it changes) and /readyz?verbose's log line; NULL: it is ready. */
void agent_set_reason(struct agent *agent, const char *format, ...) PROA_PRINTF(2, 3);

/** What could not be done, though the instance serves; "": nothing. */
void agent_set_warning(struct agent *agent, const char *text);

/* assignment.c */
/** The fiber that watches the Database. `arg` is the agent. */
int assignment_watch(void *arg);

/* credentials.c */
/** Reads the mounted files again. May suspend. *ret_changed: they differ from what was there. The old stay when some cannot be read. */
PROA_MUST_USE int credentials_load(struct agent *agent, bool *ret_changed, struct proa_error *err);

/** Reads them again while others are in use: true when they differ. What cannot be read or used is told in the log, and changes nothing. */
bool credentials_look(struct agent *agent);
enum { CREDENTIALS_EVERY_MS = 2000 }; /* while nothing else asks for them */

/* life.c */
/** The fiber that looks after the instance. */
int life_run(void *arg);
/** False when only a new start can mend the instance. */
bool agent_is_live(const struct agent *agent);
/** Waits for `ns`, or until something has changed. @returns 0 or the cancellation's cause. */
PROA_MUST_USE int agent_wait(struct agent *agent, uint64_t ns);
/** Takes up what the Database says. */
void life_adopt(struct agent *agent);
/** Whether the assignment still is the one that the instance has taken up. */
bool life_is_as_assigned(const struct agent *agent);
/** Stops the engine if it runs, within config.stop_ms. May suspend. */
void life_stop_server(struct agent *agent);

const char *life_role_name(const struct agent *agent);

/* tend.c */
enum { TEND_GO_ON = 0, TEND_RESTART, TEND_LOST, TEND_FOREIGN };
/** Looks after the running server until something else is to be done: TEND_RESTART, TEND_LOST or TEND_FOREIGN with the server still running, or
 *  a negative code when it has ended or the fiber is cancelled. */
PROA_MUST_USE int tend(struct agent *agent, struct proa_error *err);

/* make.c */
/** Makes the data that are not there, or makes them anew for a standby that is lost. Tries again and again, until they are there (0), or the
 *  assignment has changed (PROA_ECONFLICT). */
PROA_MUST_USE int make_data(struct agent *agent, struct proa_error *err);
/** Whether the data are to be made anew although there are some. */
PROA_MUST_USE int make_anew(struct agent *agent, enum verdict verdict, struct proa_error *err);

/* peers.c */
/** Asks another instance's agent for its status. Text in the arena. */
PROA_MUST_USE int peer_ask(struct agent *agent, struct proa_arena *arena, uint32_t ordinal,
                           struct agent_status *ret_status, struct proa_error *err);
/** Asks the primary's. */
PROA_MUST_USE int peer_ask_primary(struct agent *agent, struct primary_status *ret_status, struct proa_error *err);

/* metrics.c */
/** Of proa_metrics_add_collector; `arg` is the agent. */
void agent_collect(void *arg, struct proa_collection *out);

/* http.c */
extern const struct proa_route agent_routes[];
extern const size_t agent_routes_count;
void agent_fill_status(const struct agent *agent, struct agent_status *ret_status);

#endif
