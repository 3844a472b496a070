/* A program's run: everything is set up in the thread that calls, then the loops run with the frame's own fiber (lifecycle.c) on loop 0,
 * then everything is taken down in reverse. */
#include "app_internal.h"

#include <stdio.h>
#include <stdlib.h>

struct proa_loops *proa_app_loops(struct proa_app *app)
{
    return app->loops;
}

struct proa_metrics *proa_app_metrics(struct proa_app *app)
{
    return app->metrics;
}

const struct proa_logger *proa_app_logger(struct proa_app *app)
{
    return &app->logger;
}

struct proa_router *proa_app_router(struct proa_app *app)
{
    return app->router;
}

struct proa_arena *proa_app_arena(struct proa_app *app)
{
    return &app->arena;
}

/* On the watchdog's thread. */
void app_stalled(void *arg, const char *loop, const char *fiber, uint32_t held_ms, bool over)
{
    struct proa_app *app = arg;
    proa_str label = proa_str_c(fiber);

    if (!over) {
        proa_counter_add(proa_counter_with(app->stalls, &label), PROA_SHARD_OTHER, 1);
        PROA_WARN(&app->logger, "a loop is held up", proa_kv_c("loop", loop), proa_kv_c("fiber", fiber),
                  proa_kv_u64("held_ms", held_ms));
        return;
    }
    PROA_INFO(&app->logger, "a loop goes on", proa_kv_c("loop", loop), proa_kv_c("fiber", fiber),
              proa_kv_u64("held_ms", held_ms));
}

static int set_up_log(struct proa_app *app, uint64_t open_files, struct proa_error *err)
{
    const struct app_log_config *config = &app->config.log;

    /* Its writer's thread is started a moment after the program (lifecycle.c). */
    PROA_TRY(proa_log_new(
        &(struct proa_log_options){.format = config->format, .filter = config->level.ptr, .late_writer = true},
        &app->log, err));
    app->service[0] = proa_kv_c("service.name", telemetry_service_name(app));
    app->service[1] = proa_kv_str("deployment.environment.name", app->config.environment);
    app->logger = (struct proa_logger){.log = app->log,
                                       .target = "app",
                                       .fields = app->service,
                                       .fields_count = app->config.environment.len > 0 ? 2 : 1};
    if (open_files < app->config.process.open_files)
        PROA_WARN(&app->logger, "the limit of open files cannot be raised as far as asked for",
                  proa_kv_u64("asked", app->config.process.open_files), proa_kv_u64("limit", open_files));
    return 0;
}

static int set_up_loops(struct proa_app *app, struct proa_error *err)
{
    struct proa_loop_options options = {
        .name = "loop",
        .fiber_stack_bytes = (uint32_t)app->config.process.fiber_stack_bytes.bytes,
        .fibers_max = proa_server_fibers(app->config.http.requests_in_flight),
    };

    PROA_TRY(proa_loops_new(app->config.threads, &options, &app->loops, err));
    app->loop = proa_loops_at(app->loops, 0);
    proa_event_init(&app->stop_asked, app->loop);
    proa_event_init(&app->reload_asked, app->loop);
    return 0;
}

/* Limits of the frame stand beside the server's. */
static int add_limits(struct proa_app *app, struct proa_error *err)
{
    struct proa_gauge *gauge;

    PROA_TRY(proa_gauge_new(
        app->metrics,
        &(struct proa_metric_options){.name = "http_server_limit", .help = "Configured limits", .labels = {"limit"}},
        &gauge, err));
    app->drain_delay_limit = proa_gauge_with(gauge, (proa_str[]){PROA_STR("drain_delay_ms")});
    app->drain_limit = proa_gauge_with(gauge, (proa_str[]){PROA_STR("drain_ms")});
    app_show_limits(app);
    return 0;
}

void app_show_limits(struct proa_app *app)
{
    proa_gauge_set(app->drain_delay_limit, app->config.http.drain_delay_ms);
    proa_gauge_set(app->drain_limit, app->config.http.drain_ms);
}

/* At a scrape. */
static void count_lost_lines(void *arg)
{
    struct proa_app *app = arg;

    proa_counter_set(app->lost_lines, (double)proa_log_dropped(app->log));
}

/* In the log itself they are told to a reader who is too slow for it. */
static int add_lost_lines(struct proa_app *app, struct proa_error *err)
{
    struct proa_counter *lost;

    if (!app->metrics)
        return 0;
    PROA_TRY(
        proa_counter_new(app->metrics,
                         &(struct proa_metric_options){.name = "log_lines_lost",
                                                       .help = "Log lines that whoever reads them was too slow for"},
                         &lost, err));
    app->lost_lines = proa_counter_with(lost, NULL);
    if (proa_metrics_on_scrape(app->metrics, count_lost_lines, app) < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return 0;
}

static int set_up_metrics(struct proa_app *app, struct proa_error *err)
{
    int rc = app->config.metrics ? proa_metrics_new(proa_loops_count(app->loops), &app->metrics) : 0;
    const proa_str drain_ms = PROA_STR("drain_ms");
    struct proa_counter *hits;

    if (rc < 0)
        return proa_fail(err, rc, "memory is out");
    PROA_TRY(proa_metrics_add_process(app->metrics, err));
    PROA_TRY(proa_metrics_add_loops(app->metrics, app->loops, err));
    PROA_TRY(add_limits(app, err));
    PROA_TRY(proa_counter_new(app->metrics,
                              &(struct proa_metric_options){.name = "http_server_limit_hits",
                                                            .help = "How often a limit of the server was reached",
                                                            .labels = {"limit"}},
                              &hits, err));
    app->drain_hits = proa_counter_with(hits, &drain_ms);
    PROA_TRY(reload_metrics(app, err));
    PROA_TRY(add_lost_lines(app, err));
    return proa_counter_new(app->metrics,
                            &(struct proa_metric_options){.name = "loop_stalls",
                                                          .help = "Times a loop was held up for over 100 ms, by fiber",
                                                          .labels = {"fiber"}},
                            &app->stalls, err);
}

/* The starting router's routes are the first of the program's router, as proa_server_set_router wants. */
static int set_up_routers(struct proa_app *app, struct proa_error *err)
{
    bool has_admin = app->config.admin.address.len > 0;
    bool metrics = app->config.metrics && !has_admin, has_start = app->options->start != NULL;

    if (proa_router_new(&app->router) < 0 || (has_admin && proa_router_new(&app->admin_router) < 0) ||
        (has_start && (proa_router_new(&app->starting_router) < 0 ||
                       proa_router_use(app->starting_router, probes_refuse_others, NULL) < 0)))
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (has_admin)
        PROA_TRY(probes_add(app, app->admin_router, app->config.metrics, err));
    if (has_start)
        PROA_TRY(probes_add(app, app->starting_router, metrics, err));
    PROA_TRY(probes_add(app, app->router, metrics, err));
    return proa_router_add(app->router, "", NULL, app->options->routes, app->options->routes_count, err);
}

static int set_up(struct proa_app *app, struct proa_error *err)
{
    uint64_t open_files;

    PROA_TRY(process_limits_apply(&app->config.process, &open_files, err));
    PROA_TRY(set_up_log(app, open_files, err));
    if (proa_stack_guard_install() < 0)
        PROA_WARN(&app->logger, "stack overflows will not be named");
    PROA_TRY(set_up_loops(app, err));
    PROA_TRY(set_up_metrics(app, err));
    PROA_TRY(set_up_routers(app, err));
    PROA_TRY(telemetry_init(app, err));
    return signals_catch(app, err);
}

static void take_down(struct proa_app *app)
{
    proa_watchdog_stop(app->watchdog);
    proa_server_free(app->server);
    proa_server_free(app->admin);
    signals_release(app);
    telemetry_free(app);
    proa_loops_free(app->loops);
    proa_router_free(app->router);
    proa_router_free(app->starting_router);
    proa_router_free(app->admin_router);
    proa_log_free(app->log);
    proa_metrics_free(app->metrics);
    proa_arena_done(&app->arena);
    /* Asked for only now, it runs before the clean-up of libraries that the program has used meanwhile. */
    atexit(proa_blocking_end);
}

static int fail(const struct proa_app *app, const struct proa_error *err)
{
    if (app->log)
        proa_log_failure(&app->logger, PROA_LOG_ERROR, "cannot start", err);
    else
        fprintf(stderr, "%s: %s\n", app->options->name, err->message);
    return EXIT_FAILURE_CODE;
}

static int run(struct proa_app *app)
{
    struct proa_error err = {.arena = &app->arena};
    int rc = set_up(app, &err);

    if (rc == 0)
        rc = proa_loop_start_fiber(app->loop, &(struct proa_fiber_options){.name = "lifecycle"}, lifecycle_run, app);
    if (rc == 0)
        rc = proa_loops_run(app->loops, &err);
    if (rc < 0 && !err.code)
        proa_fail(&err, rc, "memory is out");
    return rc < 0 ? fail(app, &err) : app->exit_code;
}

int proa_app_run(const struct proa_app_options *options, int argc, char **argv)
{
    struct proa_app app PROA_CLEANUP(take_down) = {.options = options, .checks_end = &app.checks, .signal_fd = -1};
    int exit_code, command;

    process_keep_standard_descriptors();
    proa_arena_init(&app.arena, NULL, 0);
    signals_hold(&app);
    command = command_line_read(&app, argc, argv, &exit_code);
    if (command < 0)
        return exit_code;
    return command == COMMAND_HEALTH_CHECK ? health_check(&app.config) : run(&app);
}
