/** What the files of the frame share.
 *
 *  Phases of a program, moved on loop 0 only and read by the probes of all loops:
 *
 *      STARTING -- `start` returned 0 --> SERVING -- SIGTERM, SIGINT --> DRAINING
 *          +---------------- SIGTERM, SIGINT, `start` failed ---------------^
 *
 *  | phase    | /health | /livez | /readyz            | /startupz | other routes          |
 *  | -------- | ------- | ------ | ------------------ | --------- | --------------------- |
 *  | STARTING | 503     | 200    | 503                | 503       | 503                   |
 *  | SERVING  | 200     | 200    | 200 if checks pass | 200       | the program's         |
 *  | DRAINING | 503     | 200    | 503                | as before | as before, then close |
 *
 *  /livez is 503 in every phase once a loop has been held up for LIVEZ_HELD_MS, or while a check for liveness fails.
 */
#ifndef PROA_APP_APP_INTERNAL_H
#define PROA_APP_APP_INTERNAL_H

#include "app_config.h"
#include <proa/app.h>
#include <proa/sync.h>
#include <signal.h>
#include <stdatomic.h>

enum app_phase { APP_STARTING = 0, APP_SERVING, APP_DRAINING };

enum {
    LIVEZ_HELD_MS = 10000, /* a loop that is away from its poll for so long makes the process not alive */
    CUT_GRACE_MS = 5000,   /* for cancelled work to end before the process is ended the hard way */
    EXIT_FAILURE_CODE = 1,
    EXIT_USAGE = 2,
    EXIT_INTERRUPTED = 130,
};

struct app_check {
    struct proa_check def;
    struct proa_app *app;
    struct proa_gauge_series *gauge; /* NULL without metrics */
    _Atomic bool passes;             /* written by loop 0, read by the probes */
    bool was_run;
    struct proa_timer
        overdue;          /* behind the deadline of the run under way, which may wait for what cannot be cancelled */
    bool is_overdue;      /* it has fired */
    proa_mono_ns told_at; /* of the last line about it */
    char told[PROA_ERROR_MESSAGE_MAX]; /* why it fails, as was told */
    struct app_check *next;            /* in the order of adding */
};

struct proa_app {
    const struct proa_app_options *options;
    int argc; /* what is left of the command line: settings */
    char **argv;
    const struct proa_type *config_type; /* the frame's, as described for this program */
    struct app_config config;            /* what holds: reloaded values are taken over */
    struct proa_event reload_asked;
    uint64_t files_seen; /* what the files with settings looked like before they were read */
    struct proa_arena arena;
    struct proa_log *log;
    struct proa_kv service[2]; /* the fields that every line has */
    struct proa_logger logger;
    struct proa_metrics *metrics; /* NULL: switched off */
    struct proa_loops *loops;
    struct proa_loop *loop;     /* 0, where the frame lives */
    struct proa_tracer *tracer; /* NULL: nobody collects spans */
    struct telemetry *telemetry;
    struct proa_watchdog *watchdog;
    struct proa_counter *stalls;
    struct proa_counter_series *drain_hits;
    struct proa_gauge_series *drain_delay_limit, *drain_limit;
    struct proa_counter_series *lost_lines;
    struct proa_counter_series *reloads_done, *reloads_failed;
    struct proa_timer late; /* for what can wait until the program answers */
    bool is_late;           /* it has fired */
    bool has_reload;        /* its fiber was started */
    struct proa_router
        *starting_router;       /* the probes, while the program starts; NULL: there is nothing to be started */
    struct proa_router *router; /* the probes and the program's routes */
    struct proa_router *admin_router;
    struct proa_server *server;
    struct proa_server *admin;
    _Atomic int phase; /* enum app_phase */
    _Atomic bool has_started;
    bool is_in_start;         /* `start` runs: tasks and checks may be added */
    struct app_check *checks; /* grows only while the program starts, when no probe walks it */
    struct app_check **checks_end;
    struct proa_group start_group;
    struct proa_group checks_group; /* and other background work of the frame */
    struct proa_group tasks_group;
    struct proa_error start_error; /* what it says */
    int start_result;
    struct proa_event stop_asked;
    sigset_t mask_before; /* of the thread that runs the program */
    struct proa_fd_watch *signal_watch;
    int signal_fd;
    int stop_signal; /* the first, 0 while there was none */
    int exit_code;
    int asked_exit_code; /* of proa_app_stop */
};

static inline enum app_phase app_phase(const struct proa_app *app)
{
    return (enum app_phase)atomic_load_explicit(&app->phase, memory_order_acquire);
}

/* app.c */
/** Shows the limits of the frame, as they are now, beside the server's. */
void app_show_limits(struct proa_app *app);
/** For the watchdog: logs and counts. `arg` is the app. */
void app_stalled(void *arg, const char *loop, const char *fiber, uint32_t held_ms, bool over);

/* command_line.c */
enum app_command {
    COMMAND_RUN = 0,
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_PRINT_CONFIG,
    COMMAND_HEALTH_CHECK,
};
/** Reads the command line and the configuration, telling mistakes on standard error, and does what needs no running program.
 *  @returns COMMAND_RUN or COMMAND_HEALTH_CHECK, or -1 when all is done; *ret_exit_code is then what to exit with. */
PROA_COLD int command_line_read(struct proa_app *app, int argc, char **argv, int *ret_exit_code);

/** The name of the configuration file, NULL when there is none. */
const char *command_line_file_name(const struct proa_app *app);
/** The text of the configuration file, into the arena; ptr NULL when there is none. May block. */
PROA_MUST_USE int command_line_file(struct proa_app *app, struct proa_arena *arena, proa_str *ret_text,
                                    const char **ret_name, struct proa_error *err);

/* reload.c */
PROA_COLD PROA_MUST_USE int reload_metrics(struct proa_app *app, struct proa_error *err);
/** Notes what the files with settings look like: before they are read, so that no change is overlooked. May block. */
PROA_COLD PROA_MUST_USE int reload_note_files(struct proa_app *app, struct proa_error *err);
/** Whether files may be watched: then reload_run is not to wait. */
bool reload_may_have_files(const struct proa_app *app);
/** The fiber that reads the configuration again when it is asked to, or when a file of it has changed. `arg` is the app. */
PROA_COLD int reload_run(void *arg);

/* health_check.c */
/** Asks the running instance. @returns 0 when it serves, 1 when not within 3 s, with the reason on standard error. */
PROA_COLD int health_check(const struct app_config *config);

/* process_limits.c */
/** Opens /dev/null for standard input, output and error where they are closed: else files and sockets of the program
 *  would get their numbers, and with them what is written for people. Before anything is opened. */
PROA_COLD void process_keep_standard_descriptors(void);
/** Applies RLIMIT_NOFILE and RLIMIT_AS, and fits malloc to the latter. Before threads are started. *ret_open_files is less than asked
 *  for where the hard limit allows no more. */
PROA_COLD PROA_MUST_USE int process_limits_apply(const struct app_process_config *process, uint64_t *ret_open_files,
                                                 struct proa_error *err);

/* probes.c */
/** Adds the probes to a router; with `metrics` /metrics too. */
PROA_COLD PROA_MUST_USE int probes_add(struct proa_app *app, struct proa_router *router, bool metrics,
                                       struct proa_error *err);
/** Middleware that refuses all but the probes while the program starts. */
int probes_refuse_others(struct proa_req *req, void *arg);

/* checks.c */
/** From loop 0: starts the fibers that run the checks. */
PROA_MUST_USE int checks_start(struct proa_app *app);
/** Whether all checks for readiness, or for liveness, pass. From any loop. */
bool checks_pass(const struct proa_app *app, bool for_liveness);

/* telemetry.c */
/** That of OTEL_SERVICE_NAME, else of OTEL_RESOURCE_ATTRIBUTES, else the program's; in its arena. */
PROA_COLD const char *telemetry_service_name(struct proa_app *app);
/** Makes what the otel settings ask for; nothing when no endpoint is set. Before the loops run. */
PROA_COLD PROA_MUST_USE int telemetry_init(struct proa_app *app, struct proa_error *err);
/** From a fiber of loop 0: exporting begins. */
PROA_COLD PROA_MUST_USE int telemetry_start(struct proa_app *app, struct proa_error *err);
/** On loop 0: takes over what can change, the headers. */
PROA_COLD PROA_MUST_USE int telemetry_reload(struct proa_app *app, const struct app_otel_config *next,
                                             struct proa_error *err);
/** From a fiber of loop 0, when no request is served any more: what waits is sent. May suspend. */
PROA_COLD void telemetry_stop(struct proa_app *app);
/** How long that may take. */
uint32_t telemetry_stop_ms(const struct proa_app *app);
/** After the loops have ended. */
PROA_COLD void telemetry_free(struct proa_app *app);

/* signals.c */
/** SIGTERM and SIGINT wait from here on. */
void signals_hold(struct proa_app *app);
/** Has `app->signal_fd` tell of them; a second SIGINT ends the process at once. Before the loops run; lets what waited
 *  come. PROA_EBUSY when another program of this process has them. */
PROA_COLD PROA_MUST_USE int signals_catch(struct proa_app *app, struct proa_error *err);
/** The first signal that came; 0 when none did. */
int signals_first(void);
/** Ends the process with exit code 1 after `ms` whatever its loops do. */
void signals_limit_exit(uint64_t ms);
/** Everything as it was before signals_hold. */
PROA_COLD void signals_release(struct proa_app *app);

/* lifecycle.c */
/** The frame's own fiber on loop 0: from opening the listeners to the last thing before the loops end. `arg` is the app. */
PROA_COLD int lifecycle_run(void *arg);
/** On loop 0, outside fibers: a signal asked the program to stop. */
PROA_COLD void lifecycle_stop(struct proa_app *app, int signum);

#endif
