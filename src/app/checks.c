/* Checks for readiness and liveness: each in a fiber of loop 0, again and again; the probes look at the last results. */
#include "app_internal.h"

#include <stdio.h>

enum {
    TIMEOUT_MS_DEFAULT = 2000,
    INTERVAL_MS_DEFAULT = 5000,
    INTERVAL_MS_FAILING = 1000,
    OVERDUE_MS = 100,  /* behind the deadline, which ends a check that can be ended */
    TELL_AGAIN_S = 10, /* at most so often another reason */
};

/* When it begins or ends to fail, and when the reason has become another: a server that was away may now refuse the password. */
static void tell(struct app_check *check, bool passes, const struct proa_error *err)
{
    const struct proa_logger *logger = &check->app->logger;
    const char *reason = err->message[0] ? err->message : proa_code_name(err->code);
    proa_mono_ns now = proa_loop_now(check->app->loop);
    bool is_change = !check->was_run || passes != check->passes, for_liveness = check->def.for_liveness;

    if (passes && is_change && check->was_run)
        PROA_INFO(logger, for_liveness ? "a liveness check passes again" : "a readiness check passes again",
                  proa_kv_c("check", check->def.name));
    if (passes || (!is_change && (strncmp(check->told, reason, sizeof check->told - 1) == 0 ||
                                  now < check->told_at + PROA_SECONDS(TELL_AGAIN_S))))
        return;
    PROA_WARN(logger, for_liveness ? "a liveness check fails" : "a readiness check fails",
              proa_kv_c("check", check->def.name), proa_kv_c("error", reason));
    check->told_at = now;
    (void)snprintf(check->told, sizeof check->told, "%s", reason);
}

static void take_result(struct app_check *check, int rc, struct proa_error *err)
{
    if (rc < 0 && !err->code)
        proa_fail(err, rc, "%s", rc == PROA_ETIMEDOUT ? "no answer in time" : proa_code_name(rc));
    tell(check, rc >= 0, err);
    check->passes = rc >= 0;
    check->was_run = true;
    if (check->gauge)
        proa_gauge_set(check->gauge, rc >= 0);
}

/* It waits for a disk that does not answer, say: what it said last is not true any more. */
static void overdue(struct proa_timer *timer)
{
    struct app_check *check = PROA_CONTAINER(timer, struct app_check, overdue);
    struct proa_error err = {0};

    check->is_overdue = true;
    take_result(check, PROA_ETIMEDOUT, &err);
}

static void run_once(struct app_check *check)
{
    struct proa_loop *loop = check->app->loop;
    struct proa_error err = {0};
    proa_mono_ns until = proa_loop_now_exact(loop) + PROA_MS(check->def.timeout_ms);
    struct proa_deadline_scope scope = proa_deadline_enter(loop, until);
    int rc;

    check->is_overdue = false;
    proa_ignore(
        proa_timer_start(&check->overdue, until + PROA_MS(OVERDUE_MS))); /* without memory it is told when it ends */
    rc = check->def.check(check->def.arg, loop, &err);
    proa_timer_stop(&check->overdue);
    proa_deadline_leave(&scope);
    /* What ends too late has failed already; whether it works again the next run says. */
    if (check->is_overdue || (app_phase(check->app) == APP_DRAINING && rc == PROA_ECANCELED))
        return;
    take_result(check, rc, &err);
}

static int run_check(void *arg)
{
    struct app_check *check = arg;

    for (;;) {
        uint32_t interval_ms;

        run_once(check);
        interval_ms = check->def.interval_ms;
        if (!check->passes && interval_ms > INTERVAL_MS_FAILING)
            interval_ms = INTERVAL_MS_FAILING;
        if (proa_sleep(check->app->loop, PROA_MS(interval_ms)) < 0)
            return 0;
    }
}

int checks_start(struct proa_app *app)
{
    for (struct app_check *check = app->checks; check; check = check->next)
        PROA_TRY(proa_group_start(
            &app->checks_group,
            &(struct proa_fiber_options){.name = check->def.for_liveness ? "liveness check" : "readiness check"},
            run_check, check));
    return 0;
}

bool checks_pass(const struct proa_app *app, bool for_liveness)
{
    for (const struct app_check *check = app->checks; check; check = check->next)
        if (check->def.for_liveness == for_liveness && !check->passes)
            return false;
    return true;
}

static struct proa_gauge_series *gauge_of(struct proa_app *app, const char *name, bool for_liveness)
{
    struct proa_gauge *gauge;
    proa_str label = proa_str_c(name);

    if (!app->metrics ||
        proa_gauge_new(app->metrics,
                       &(struct proa_metric_options){.name = for_liveness ? "liveness_check" : "readiness_check",
                                                     .help = for_liveness ? "Whether the program works"
                                                                          : "Whether a dependency is there",
                                                     .labels = {"name"}},
                       &gauge, NULL) < 0)
        return NULL;
    return proa_gauge_with(gauge, &label);
}

int proa_app_add_check(struct proa_app *app, const struct proa_check *def)
{
    struct app_check *check;

    if (!app->is_in_start || !def->name || !def->check)
        return PROA_EINVAL;
    check = proa_arena_new(&app->arena, struct app_check);
    if (!check)
        return PROA_ENOMEM;
    check->def = *def;
    check->app = app;
    check->gauge = gauge_of(app, def->name, def->for_liveness);
    check->passes = def->for_liveness;
    proa_timer_init(&check->overdue, app->loop, overdue);
    if (!check->def.timeout_ms)
        check->def.timeout_ms = TIMEOUT_MS_DEFAULT;
    if (!check->def.interval_ms)
        check->def.interval_ms = INTERVAL_MS_DEFAULT;
    *app->checks_end = check;
    app->checks_end = &check->next;
    return 0;
}
