/* The life of a program, in the frame's fiber on loop 0: open the listeners, start, serve, drain, stop. */
#include "app_internal.h"

#include <proa/stream.h>
#include <signal.h>

/* Probes may still be asked when nothing else is to be waited for. */
enum { BRIEF_DRAIN_MS = 500, LATE_MS = 100 };

static int open_server(struct proa_app *app, const char *address, const struct proa_router *router, bool is_admin,
                       struct proa_server **ret_server, struct proa_error *err)
{
    const struct app_http_config *http = &app->config.http;
    struct proa_server_options options = {.loops = app->loops,
                                          .address = address,
                                          .router = router,
                                          .state = app->options->state,
                                          .metrics = is_admin ? NULL : app->metrics,
                                          .logger = &app->logger,
                                          .access_log_all = http->access_log,
                                          .slow_ms = http->slow_ms,
                                          .duration_names = http->duration_metric,
                                          .tracer = is_admin ? NULL : app->tracer};
    char bound[PROA_ADDRESS_MAX];

    if (!address)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    app_config_limits(http, &options.limits);
    if (proa_server_start(&options, ret_server, err) < 0)
        return proa_error_wrap(err, is_admin ? "the server of probes and metrics" : "the HTTP server");
    proa_server_address(*ret_server, bound);
    PROA_INFO(&app->logger, "listening", proa_kv_c("address", bound),
              proa_kv_c("listener", is_admin ? "admin" : "http"));
    return 0;
}

static int start_reload(struct proa_app *app)
{
    if (app->has_reload)
        return 0;
    app->has_reload = true;
    return proa_group_start(&app->checks_group, &(struct proa_fiber_options){.name = "reload"}, reload_run, app);
}

/* The log's writer, the watchdog and the reading of the configuration when asked to, a moment after the beginning:
 * making a thread takes a good part of the time in which a small program is there. */
static void late(struct proa_timer *timer)
{
    struct proa_app *app = PROA_CONTAINER(timer, struct proa_app, late);
    const struct proa_watchdog_options options = {.stalled = app_stalled, .arg = app};
    struct proa_error err = {0};

    app->is_late = true;
    if (proa_log_start_writer(app->log, &err) < 0)
        proa_log_failure(&app->logger, PROA_LOG_WARN, "the log is written without a thread of its own", &err);
    if (proa_watchdog_start(app->loops, &options, &app->watchdog) < 0)
        PROA_WARN(&app->logger, "stalled loops will not be noticed");
    if (app->has_started && start_reload(app) < 0)
        PROA_WARN(&app->logger, "the configuration will not be reloaded");
}

static int open_servers(struct proa_app *app, struct proa_error *err)
{
    if (app->admin_router)
        PROA_TRY(open_server(app, app->config.admin.address.ptr, app->admin_router, true, &app->admin, err));
    return open_server(app, app_config_address(&app->arena, &app->config.http),
                       app->starting_router ? app->starting_router : app->router, false, &app->server, err);
}

static int call_start(void *arg)
{
    struct proa_app *app = arg;

    app->start_result = app->options->start(app, app->options->state, &app->start_error);
    return 0;
}

/* In a fiber of its own, so that a signal can cancel it. */
static int run_start(struct proa_app *app, struct proa_error *err)
{
    int rc;

    if (!app->options->start || app->stop_signal)
        return 0;
    proa_group_init(&app->start_group, app->loop);
    app->is_in_start = true;
    rc = proa_group_start(&app->start_group, &(struct proa_fiber_options){.name = "start"}, call_start, app);
    proa_ignore(proa_group_wait(&app->start_group)); /* what `start` returned is in start_result */
    app->is_in_start = false;
    if (rc < 0)
        return proa_fail(err, rc, "memory is out");
    if (app->start_result < 0) {
        if (!app->start_error.code)
            proa_fail(&app->start_error, app->start_result, "%s", proa_code_name(app->start_result));
        *err = app->start_error;
    }
    return app->start_result;
}

static int serve(struct proa_app *app, struct proa_error *err)
{
    int starting = APP_STARTING;
    int rc = app->starting_router ? proa_server_set_router(app->server, app->router) : 0;

    if (rc == 0)
        rc = checks_start(app);
    if (rc == 0 && (app->is_late || reload_may_have_files(app)))
        rc = start_reload(app);
    if (rc < 0)
        return proa_fail(err, rc, "memory is out");
    atomic_store(&app->has_started, true);
    if (atomic_compare_exchange_strong(&app->phase, &starting, APP_SERVING))
        PROA_INFO(&app->logger, "ready", proa_kv_u64("loops", proa_loops_count(app->loops)));
    proa_ignore(proa_event_wait(&app->stop_asked)); /* nothing cancels this fiber */
    return 0;
}

/* Handlers that cannot end at once are waited for after the cut, until the process is ended the hard way: so it is told
 * when it happens. */
struct cut {
    struct proa_timer timer;
    struct proa_app *app;
    bool is_told;
};

static void tell_cut(struct cut *cut)
{
    if (cut->is_told)
        return;
    cut->is_told = true;
    PROA_WARN(&cut->app->logger, "the drain's time is over: what was left is cut",
              proa_kv_u64("drain_ms", cut->app->config.http.drain_ms));
    proa_counter_add(cut->app->drain_hits, 0, 1);
}

static void time_is_over(struct proa_timer *timer)
{
    tell_cut(PROA_CONTAINER(timer, struct cut, timer));
}

/* @returns false when something had to be cut. */
static bool drain(struct proa_app *app)
{
    const struct app_http_config *http = &app->config.http;
    bool has_served = atomic_load(&app->has_started);
    uint64_t delay_ms = has_served && app->stop_signal == SIGTERM ? http->drain_delay_ms : 0;
    uint64_t drain_ms = has_served ? http->drain_ms : BRIEF_DRAIN_MS;
    struct cut cut = {.app = app};
    int rc = 0;

    signals_limit_exit(delay_ms + drain_ms + app->options->stop_ms + telemetry_stop_ms(app) + CUT_GRACE_MS);
    proa_timer_init(&cut.timer, app->loop, time_is_over);
    if (has_served) /* without memory it is told afterwards */
        proa_ignore(proa_timer_start(&cut.timer, proa_loop_now(app->loop) + PROA_MS(delay_ms + drain_ms + LATE_MS)));
    if (app->server)
        rc = proa_server_drain(app->server, (uint32_t)delay_ms, (uint32_t)drain_ms);
    proa_timer_stop(&cut.timer);
    if (rc < 0 && has_served)
        tell_cut(&cut);
    return rc == 0 || !has_served;
}

static void end_background(struct proa_app *app)
{
    proa_timer_stop(&app->late);
    proa_group_cancel(&app->checks_group, PROA_ECANCELED);
    proa_group_cancel(&app->tasks_group, PROA_ECANCELED);
    proa_ignore(proa_group_wait(&app->checks_group));
    proa_ignore(proa_group_wait(&app->tasks_group));
}

static int live(struct proa_app *app)
{
    struct proa_error err = {.arena = &app->arena};
    bool is_clean = true;
    int rc;

    proa_group_init(&app->checks_group, app->loop);
    proa_group_init(&app->tasks_group, app->loop);
    proa_timer_init(&app->late, app->loop, late);
    rc = proa_timer_start(&app->late, proa_loop_now(app->loop) + PROA_MS(LATE_MS));
    if (rc < 0)
        proa_fail(&err, rc, "memory is out");
    if (rc == 0)
        rc = telemetry_start(app, &err);
    if (rc == 0)
        rc = open_servers(app, &err);
    if (rc == 0)
        rc = run_start(app, &err);
    if (rc == 0 && !app->stop_signal)
        rc = serve(app, &err);
    if (rc < 0 && !app->stop_signal) {
        /* Asked to stop, `start` gives up with an error, which is none. */
        is_clean = false;
        proa_log_failure(&app->logger, PROA_LOG_ERROR, "cannot start", &err);
    }
    atomic_store(&app->phase, APP_DRAINING);
    is_clean = drain(app) && is_clean;
    end_background(app);
    if (app->options->stop)
        app->options->stop(app, app->options->state);
    if (app->admin)
        proa_ignore(proa_server_drain(app->admin, 0, BRIEF_DRAIN_MS)); /* nobody waits for more than a probe here */
    telemetry_stop(app);
    PROA_INFO(&app->logger, "stopped", proa_kv_bool("clean", is_clean));
    return is_clean ? 0 : EXIT_FAILURE_CODE;
}

int lifecycle_run(void *arg)
{
    struct proa_app *app = arg;

    app->exit_code = live(app);
    if (app->exit_code == 0)
        app->exit_code = app->asked_exit_code;
    proa_loops_stop(app->loops);
    return 0;
}

static void begin_stop(struct proa_app *app, int signum)
{
    app->stop_signal = signum;
    atomic_store(&app->phase, APP_DRAINING);
    if (app->is_in_start)
        proa_group_cancel(&app->start_group, PROA_ECANCELED);
    proa_event_set(&app->stop_asked);
}

void lifecycle_stop(struct proa_app *app, int signum)
{
    if (app->stop_signal)
        return;
    PROA_INFO(&app->logger, "stopping", proa_kv_c("signal", signum == SIGINT ? "SIGINT" : "SIGTERM"));
    begin_stop(app, signum);
}

void proa_app_stop(struct proa_app *app, int exit_code)
{
    if (app->stop_signal)
        return;
    app->asked_exit_code = exit_code;
    PROA_INFO(&app->logger, "stopping", proa_kv_i64("exit_code", exit_code));
    begin_stop(app, SIGINT);
}

/* Background fibers of the program. */
struct task {
    struct proa_app *app;
    const char *name;
    proa_fiber_fn *fn;
    void *arg;
};

static int run_task(void *arg)
{
    const struct task *task = arg;
    int rc = task->fn(task->arg);

    if (rc < 0 && app_phase(task->app) != APP_DRAINING)
        PROA_ERROR(&task->app->logger, "a task ended with an error", proa_kv_c("task", task->name),
                   proa_kv_c("error", proa_code_name(rc)));
    return 0;
}

int proa_app_start_task(struct proa_app *app, const char *name, proa_fiber_fn *fn, void *arg)
{
    struct task *task;

    if (!app->is_in_start)
        return PROA_EINVAL;
    task = proa_arena_new(&app->arena, struct task);
    if (!task)
        return PROA_ENOMEM;
    *task = (struct task){app, name, fn, arg};
    return proa_group_start(&app->tasks_group, &(struct proa_fiber_options){.name = name}, run_task, task);
}
