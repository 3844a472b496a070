/** The frame of a program: configuration, logging, metrics, probes, signals, drain, --health-check.
 *
 *      int main(int argc, char **argv)
 *      {
 *          return proa_app_run(&(struct proa_app_options){
 *                                  .name = "hello", .routes = routes, .routes_count = PROA_COUNT(routes)},
 *                              argc, argv);
 *      }
 *
 *  Flags over environment over configuration file (YAML, --config) over defaults. Adds /health, /livez, /readyz,
 *  /startupz and /metrics. Start: limits, configuration, logging, `start` (dependencies), listener, ready. SIGTERM or
 *  SIGINT: readiness goes false at once, the listener stays open for the drain delay (none for SIGINT), in-flight
 *  requests finish, connections are closed, `stop`, exit 0. A second SIGINT exits at once with 130; further SIGTERMs
 *  change nothing.
 */
#ifndef PROA_APP_H
#define PROA_APP_H

#include <proa/config.h>
#include <proa/fiber.h>
#include <proa/log.h>
#include <proa/loops.h>
#include <proa/metrics.h>
#include <proa/router.h>
#include <proa/server.h>
#include <proa/stream.h>
#include <proa/tracer.h>

PROA_BEGIN_DECLS

struct proa_app;

struct proa_app_options {
    const char *name;    /**< of the program: in --help, logs, `service.name` */
    const char *version; /**< NULL: "0.0.0" */
    const char *doc;     /**< one sentence for --help */
    const struct proa_route *routes;
    size_t routes_count;
    void *state; /**< proa_req_state */
    /** The program's own configuration: a described struct, filled before `start`; its text and lists live until
     *  proa_app_run returns. NULL: none. */
    const struct proa_type *config_type;
    void *config;
    /** Opens dependencies, registers readiness checks and more routes. In a fiber of loop 0; may suspend. A negative
     *  result ends the program with exit code 1 and the error's text. The probes answer meanwhile (/startupz and
     *  /health with 503), as other routes do with 503. A signal cancels it. */
    int (*start)(struct proa_app *app, void *state, struct proa_error *err);
    /** After the drain, before the loops end; also when `start` failed or was not reached, so it must bear a half-built
     *  state. In a fiber of loop 0; may suspend. */
    void (*stop)(struct proa_app *app, void *state);
    /** The configuration has been read again, after SIGHUP or since a file of it has changed (the YAML file, secrets in
     *  files), and is valid: `config`, of config_type, says what holds now; its text lives until the next call has
     *  returned. Takes over what can change while the program runs. In a fiber of loop 0; may suspend. An error is
     *  logged. Not called when nothing of config_type has changed. NULL: nothing can, and the log says that a restart
     *  is needed. */
    int (*reload)(struct proa_app *app, void *state, const void *config, struct proa_error *err);
    /** What `stop` may take: it has this time beyond the drain's before the process is ended the hard way. 0: none of
     *  its own. */
    uint32_t stop_ms;
    uint32_t default_port; /**< 0: 8080 */
    /** For an https endpoint of telemetry: &proa_tls_provider of proa/tls.h, in programs that link it. NULL: such an
     *  endpoint is an error at start. */
    const struct proa_layer_provider *tls;
};

/** Runs the program; one at a time in a process, whose signals it takes. @returns the exit code: 0 after a clean end,
 *  1 when it could not start or not drain, 2 for a wrong command line or configuration, 130 after a second Ctrl+C. */
PROA_COLD int proa_app_run(const struct proa_app_options *options, int argc, char **argv);

/** Ends the program as a signal would, without the drain delay; it exits with `exit_code` unless it already ends for
 *  another reason. On loop 0. */
void proa_app_stop(struct proa_app *app, int exit_code);

struct proa_loops *proa_app_loops(struct proa_app *app);
/** NULL when metrics are switched off; every function that takes a registry accepts NULL. */
struct proa_metrics *proa_app_metrics(struct proa_app *app);
const struct proa_logger *proa_app_logger(struct proa_app *app);
struct proa_router *proa_app_router(struct proa_app *app);
/** Of the program's spans; NULL when nobody collects them (no endpoint is set). Every function and option that takes a
 *  tracer accepts NULL. */
struct proa_tracer *proa_app_tracer(struct proa_app *app);
/** How clients are to pass traces on (OTEL_PROPAGATORS): proa_client_options.propagate. */
unsigned proa_app_propagate(struct proa_app *app);
/** Process-lifetime memory. */
struct proa_arena *proa_app_arena(struct proa_app *app);

/** A dependency that counts for readiness, or for liveness. `check` runs in a fiber of loop 0 with a deadline of
 *  `timeout_ms`, every `interval_ms`; /readyz (/livez) answers from the last result. One that is still at work after
 *  its deadline, in a call that cannot be cancelled, fails from then on. Metric `readiness_check{name}` 1 or 0; changes
 *  are logged. */
struct proa_check {
    const char *name;
    int (*check)(void *arg, struct proa_loop *loop, struct proa_error *err);
    void *arg;
    uint32_t timeout_ms;  /**< 0: 2,000 */
    uint32_t interval_ms; /**< 0: 5,000 (1,000 while failing) */
    /** Counts for /livez instead: something that only a restart of the process mends. Alive until it has failed
     *  once. */
    bool for_liveness;
};
/** From `start`; PROA_EINVAL elsewhere. */
PROA_MUST_USE int proa_app_add_check(struct proa_app *app, const struct proa_check *check);

/** A background fiber of the program, on loop 0. It is cancelled when the drain has ended and waited for before `stop`.
 *  An error it returns while the program runs is logged. From `start`. */
PROA_MUST_USE int proa_app_start_task(struct proa_app *app, const char *name, proa_fiber_fn *fn, void *arg);

PROA_END_DECLS
#endif
