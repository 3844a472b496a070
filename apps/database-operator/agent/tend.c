/* Looking after a running server: asking how it is, doing what is to be done for it, and judging a standby that does not stream. */
#include "agent_internal.h"

#include <signal.h>

enum {
    SIZE_EVERY_MS = 10000,
    SIZE_RETRY_MS = 60000,
    DRIVER_MS = 30000,
    EAGER_MS = 15000,
    EAGER_POLL_MS = 200,
    MISSES_MAX = 1
};

static proa_mono_ns now_of(const struct agent *agent)
{
    return proa_loop_now_exact(agent->loop);
}

static struct proa_deadline_scope within(struct agent *agent, uint32_t ms)
{
    return proa_deadline_enter(agent->loop, now_of(agent) + PROA_MS(ms));
}

/* A stream that was not there at the last answer does not count yet. */
static void confirm_stream(struct tending *tending, struct engine_status *status)
{
    uint64_t before = tending->last_stream;

    tending->last_stream = status->is_streaming ? status->stream : 0;
    tending->stream_is_new = status->is_ahead || (tending->last_stream != 0 && tending->last_stream != before);
    if (tending->stream_is_new)
        status->is_streaming = status->has_lag = false;
}

/* @returns what `ask` did. */
static int ask(struct agent *agent, struct proa_error *err)
{
    struct tending *tending = &agent->tending;
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = within(agent, agent->config.ask_ms);
    struct engine_status status;
    int rc = agent->driver->ask(&agent->instance, false, &status, err);

    tending->last_was_answered = rc == 0;
    if (rc != PROA_ETIMEDOUT && rc != PROA_ECANCELED)
        tending->last_answer_at = now_of(agent);
    if (rc < 0)
        return rc;
    status.size_bytes = agent->status.size_bytes;
    if (!status.oldest[0])
        memcpy(status.oldest, agent->status.oldest, sizeof status.oldest);
    confirm_stream(tending, &status);
    if (status.is_streaming)
        tending->last_streaming_at = now_of(agent);
    agent->status = status;
    agent->has_status = true;
    agent->phase = LIFE_RUNNING;
    return 0;
}

/* Apart from the question how the engine is: files of many tables on a slow disk take longer to look at than an instance may take to answer, and
 * that is no reason for it not to serve. */
static void ask_sizes_if_due(struct agent *agent)
{
    struct tending *tending = &agent->tending;
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = within(agent, agent->config.ask_ms);
    struct engine_status status;
    struct proa_error err = {0};

    if (now_of(agent) < tending->size_due_at)
        return;
    if (agent->driver->ask(&agent->instance, true, &status, &err) < 0) {
        tending->size_due_at = now_of(agent) + PROA_MS(SIZE_RETRY_MS);
        proa_log_failure(agent->logger, PROA_LOG_WARN, "the sizes of the databases are not known", &err);
        return;
    }
    tending->size_due_at = now_of(agent) + PROA_MS(SIZE_EVERY_MS);
    agent->status.size_bytes = status.size_bytes;
    memcpy(agent->status.oldest, status.oldest, sizeof status.oldest);
}

/* -- Duties ---------------------------------------------------------------------------------------------------------- */

static int settle(struct agent *agent, struct proa_error *err)
{
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = within(agent, DRIVER_MS);

    if (!agent->tending.is_settled && agent->driver->settle)
        PROA_TRY(agent->driver->settle(&agent->instance, err));
    agent->tending.is_settled = true;
    return 0;
}

/* Without its users a primary does not serve; that a standby lacks something is no reason for it not to. */
static int primary_duties(struct agent *agent, struct proa_error *err)
{
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = within(agent, DRIVER_MS);
    struct proa_error why = {0};

    PROA_TRY(agent->driver->apply_credentials(&agent->instance, err));
    agent->tending.credentials_have_changed = false;
    if (!agent->driver->keep_replicas || agent->driver->keep_replicas(&agent->instance, &why) == 0)
        agent_set_warning(agent, "");
    else
        agent_set_warning(agent, why.message);
    return 0;
}

static int standby_duties(struct agent *agent, struct proa_error *err)
{
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = within(agent, DRIVER_MS);

    PROA_TRY(agent->driver->follow(&agent->instance, err));
    agent->tending.credentials_have_changed = false;
    agent_set_warning(agent, "");
    return 0;
}

/* A primary looks again now and then, since somebody may have dropped a slot or changed a password by hand; a standby does only when
 * something has changed. */
static int do_duties(struct agent *agent, struct proa_error *err)
{
    struct tending *tending = &agent->tending;
    bool is_primary = agent->instance.role == ROLE_PRIMARY;
    bool is_due =
        !tending->duties_are_done || tending->credentials_have_changed ||
        (is_primary && (tending->replicas_done != agent->instance.replicas || now_of(agent) >= tending->duties_due_at));

    PROA_TRY(settle(agent, err));
    if (!is_due)
        return 0;
    tending->duties_due_at = now_of(agent) + PROA_MS(agent->config.duties_ms);
    PROA_TRY(is_primary ? primary_duties(agent, err) : standby_duties(agent, err));
    tending->duties_are_done = true;
    tending->replicas_done = agent->instance.replicas;
    return 0;
}

/* An instance that serves goes on serving when what is asked of it later cannot be done. */
static int try_duties(struct agent *agent, struct proa_error *err)
{
    int rc = do_duties(agent, err);

    if (rc == 0 || rc == PROA_ECANCELED || !agent->tending.duties_are_done)
        return rc;
    agent_set_warning(agent, err->message[0] ? err->message : proa_code_name(rc));
    return 0;
}

/* -- Readiness ------------------------------------------------------------------------------------------------------- */

static void tell_primary(struct agent *agent)
{
    if (!agent->status.is_writable)
        agent_set_reason(agent, "the engine does not take writes yet");
    else
        agent_set_reason(agent, NULL);
}

static void tell_standby(struct agent *agent)
{
    const struct engine_status *status = &agent->status;
    proa_mono_ns streaming_at = agent->tending.last_streaming_at;

    if (status->is_writable)
        agent_set_reason(agent, "the engine takes writes, but is to be a standby");
    else if (streaming_at == 0)
        agent_set_reason(agent, "does not stream from " PROA_FMT " yet", PROA_ARG(agent->instance.primary));
    else if (now_of(agent) - streaming_at > PROA_MS(agent->config.ready_lag_ms))
        agent_set_reason(agent, "has not streamed from " PROA_FMT " for too long", PROA_ARG(agent->instance.primary));
    else if (status->has_lag &&
             (status->lag_bytes > agent->config.ready_lag_bytes || status->lag_ms > agent->config.ready_lag_ms))
        agent_set_reason(agent, "is too far behind " PROA_FMT, PROA_ARG(agent->instance.primary));
    else
        agent_set_reason(agent, NULL);
}

/* -- A standby that does not stream ---------------------------------------------------------------------------------- */

/* @returns TEND_GO_ON, or what is to be done. A verdict counts when it is found twice. */
static int act_on(struct agent *agent, enum verdict verdict, const char *why, const char *oldest)
{
    enum verdict before = agent->tending.last_verdict;

    agent->tending.last_verdict = verdict;
    if (verdict == VERDICT_WAIT || verdict != before)
        return TEND_GO_ON;
    agent->why_anew = why;
    PROA_WARN(agent->logger, "can never follow its primary again: it is copied anew", proa_kv_c("why", why),
              proa_kv_c("position", agent->status.position), proa_kv_c("primary_oldest", oldest));
    agent_set_reason(agent, "is copied anew: %s", why);
    return verdict == VERDICT_FOREIGN ? TEND_FOREIGN : TEND_LOST;
}

static int judge(struct agent *agent)
{
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = within(agent, DRIVER_MS);
    struct primary_status primary = {0};
    enum verdict verdict = VERDICT_WAIT;
    struct proa_error err = {0};
    const char *why = "";

    if (peer_ask_primary(agent, &primary, &err) == 0 && primary.is_ready &&
        agent->driver->judge(&agent->instance, &agent->status, &primary, &verdict, &why, &err) < 0)
        verdict = VERDICT_WAIT;
    return act_on(agent, verdict, why, primary.engine.oldest);
}

static int judge_if_due(struct agent *agent)
{
    struct tending *tending = &agent->tending;
    proa_mono_ns now = now_of(agent), since = tending->last_streaming_at;

    /* Without waiting: what the primary writes goes over what is here. */
    if (agent->instance.role == ROLE_STANDBY && agent->status.is_ahead)
        return act_on(agent, VERDICT_FOREIGN, "it is ahead of the primary", "");
    /* One that takes writes may have what its primary lacks: that is for a person. */
    if (agent->instance.role != ROLE_STANDBY || agent->status.is_streaming || agent->status.is_writable) {
        tending->last_verdict = VERDICT_WAIT;
        return TEND_GO_ON;
    }
    if (since == 0)
        since = tending->started_at;
    if (now < since + PROA_MS(agent->config.lost_ms) || now < tending->judge_due_at)
        return TEND_GO_ON;
    tending->judge_due_at = now + PROA_MS(agent->config.lost_ms) / 2;
    return judge(agent);
}

/* -- Changes --------------------------------------------------------------------------------------------------------- */

/* @returns TEND_GO_ON or TEND_RESTART. */
static int take_assignment(struct agent *agent)
{
    bool stays_standby =
        agent->instance.role == ROLE_STANDBY && !proa_str_eq_c(agent->config.pod, agent->assignment.primary);

    if (life_is_as_assigned(agent)) {
        agent->instance.replicas = agent->assignment.replicas;
        return TEND_GO_ON;
    }
    if (!stays_standby)
        return TEND_RESTART; /* why_refused of life.c decides what comes of it */
    life_adopt(agent);
    agent->tending.duties_are_done = false;
    return TEND_GO_ON;
}

/* A server that copies while it runs is whole when it follows. */
static void forget_what_was_before(struct agent *agent)
{
    struct proa_error err = {0};

    if (agent->tending.is_whole || agent->instance.role != ROLE_STANDBY || !agent->status.is_streaming)
        return;
    agent->tending.is_whole = true;
    if (agent->driver->copies_running && volume_forget_before(agent->volume, &err) < 0)
        proa_log_failure(agent->logger, PROA_LOG_WARN, "what the copy has replaced cannot be removed", &err);
}

static void collect_if_due(struct agent *agent)
{
    struct tending *tending = &agent->tending;
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = within(agent, agent->config.ask_ms);
    struct proa_arena *arena = &agent->samples_arena[agent->samples_turn ^ 1];
    struct samples samples = {.arena = arena};
    struct proa_error err = {0};

    if (now_of(agent) < tending->metrics_due_at)
        return;
    tending->metrics_due_at = now_of(agent) + PROA_MS(agent->config.metrics_ms);
    if (agent->driver->collect(&agent->instance, &agent->status, &samples, &err) < 0) {
        proa_arena_done(arena);
        return;
    }
    agent->samples = samples;
    agent->samples_turn ^= 1;
    proa_arena_done(&agent->samples_arena[agent->samples_turn ^ 1]);
}

/* One answer too late is none: an instance that served a moment ago goes on. "Takes no connections" is an answer. */
static bool is_missed(struct agent *agent, int rc)
{
    bool is_answer = rc == 0 || rc == PROA_EUNAVAILABLE || rc == PROA_ECANCELED;

    agent->tending.misses = is_answer ? 0 : agent->tending.misses + 1;
    return !is_answer && agent->is_ready && agent->tending.misses <= MISSES_MAX;
}

static int tend_once(struct agent *agent)
{
    struct proa_error err = {0};
    int rc;

    agent->tending.credentials_have_changed |= credentials_look(agent);
    rc = ask(agent, &err);
    if (is_missed(agent, rc))
        return TEND_GO_ON;
    if (rc == 0)
        rc = try_duties(agent, &err);
    if (rc == PROA_ECANCELED)
        return rc;
    if (rc < 0) {
        agent_set_reason(agent, "%s", err.message[0] ? err.message : proa_code_name(rc));
        return TEND_GO_ON;
    }
    if (agent->instance.role == ROLE_PRIMARY)
        tell_primary(agent);
    else
        tell_standby(agent);
    /* Somebody has promoted it: two servers that take writes. It is not started again, since its data are a primary's now. */
    if (agent->instance.role == ROLE_STANDBY && agent->status.is_writable && agent->driver->stops_writer) {
        PROA_WARN(agent->logger, "the engine takes writes, but is to be a standby: it is stopped");
        return TEND_RESTART;
    }
    forget_what_was_before(agent);
    ask_sizes_if_due(agent);
    collect_if_due(agent);
    return judge_if_due(agent);
}

/* A server that was just started is asked more often, so that it serves a moment after it can; not one that recovers for long. */
static uint32_t next_poll_ms(const struct agent *agent)
{
    bool is_new = agent->tending.stream_is_new ||
                  (!agent->has_status && now_of(agent) < agent->tending.started_at + PROA_MS(EAGER_MS));

    return is_new && agent->config.poll_ms > EAGER_POLL_MS ? EAGER_POLL_MS : agent->config.poll_ms;
}

int tend(struct agent *agent, struct proa_error *err)
{
    for (;;) {
        int exit_code, rc;

        if (child_has_ended(agent->server, &exit_code)) {
            child_free(agent->server);
            agent->server = NULL;
            return proa_fail(err, PROA_EIO, "the engine has ended by itself, with %d", exit_code);
        }
        if (agent->restart_is_wanted) {
            agent->restart_is_wanted = false;
            PROA_INFO(agent->logger, "the engine is restarted on request");
            return TEND_RESTART;
        }
        rc = take_assignment(agent);
        if (rc == TEND_GO_ON)
            rc = tend_once(agent);
        if (rc != TEND_GO_ON)
            return rc;
        PROA_TRY(agent_wait(agent, PROA_MS(next_poll_ms(agent))));
    }
}
