/* The life of an instance, in one fiber: role, data, server, and looking after it. */
#include "agent_internal.h"

#include <proa/file.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    CREDENTIALS_RETRY_MS = 1000,
    IMMEDIATE_STOP_MS = 5000,
    LEFTOVERS_MS = 10000,
    CONFIG_MAX_BYTES = 1024 * 1024,
};

/* -- Small things ---------------------------------------------------------------------------------------------------- */

void agent_set_reason(struct agent *agent, const char *format, ...)
{
    char text[REASON_MAX] = "";

    if (format) {
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
    }
    agent->is_ready = !text[0];
    if (strcmp(text, agent->reason) == 0)
        return;
    if (text[0])
        PROA_INFO(agent->logger, "not ready", proa_kv_c("reason", text));
    else
        PROA_INFO(agent->logger, "serves", proa_kv_c("role", life_role_name(agent)));
    memcpy(agent->reason, text, sizeof text);
}

void agent_set_warning(struct agent *agent, const char *text)
{
    if (strcmp(text, agent->warning) == 0)
        return;
    if (*text)
        PROA_WARN(agent->logger, "something could not be done, and is tried again", proa_kv_c("error", text));
    snprintf(agent->warning, sizeof agent->warning, "%s", text);
}

const char *life_role_name(const struct agent *agent)
{
    return agent->instance.role == ROLE_PRIMARY ? "primary" : "standby";
}

bool agent_is_live(const struct agent *agent)
{
    return !agent->server || agent->phase == LIFE_STOPPING ||
           proa_loop_now(agent->loop) < agent->tending.last_answer_at + PROA_MS(agent->config.hang_ms);
}

int agent_wait(struct agent *agent, uint64_t ns)
{
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(agent->loop, proa_loop_now_exact(agent->loop) + ns);
    int rc = proa_event_wait(&agent->wake);

    proa_event_reset(&agent->wake);
    return rc == PROA_ETIMEDOUT ? 0 : rc;
}

bool life_is_as_assigned(const struct agent *agent)
{
    return strcmp(agent->assignment.primary, agent->primary) == 0;
}

/* -- Role ------------------------------------------------------------------------------------------------------------ */

static int recall(struct agent *agent)
{
    struct proa_error err = {0};
    struct memory memory;
    struct proa_arena arena;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    rc = volume_remember(agent->volume, &arena, &memory, &err);
    if (rc == 0 && memory.primary.len > 0 && memory.primary.len < sizeof agent->assignment.primary) {
        agent->assignment =
            (struct assignment){.is_known = true, .replicas = memory.replicas > 0 ? (uint32_t)memory.replicas : 1};
        memcpy(agent->assignment.primary, memory.primary.ptr, memory.primary.len);
        PROA_WARN(agent->logger, "the API server has not answered: the last role is taken up",
                  proa_kv_c("primary", agent->assignment.primary));
    } else if (rc < 0 && rc != PROA_ENOTFOUND) {
        proa_log_failure(agent->logger, PROA_LOG_WARN, "the last role cannot be read", &err);
    }
    proa_arena_done(&arena);
    return 0;
}

/* docs/decisions/agent-without-api.md says why the last role is good enough. */
static int wait_assignment(struct agent *agent)
{
    proa_mono_ns end = proa_loop_now_exact(agent->loop) + PROA_MS(agent->config.api_wait_ms);

    while (!agent->assignment.is_known) {
        proa_mono_ns now = proa_loop_now_exact(agent->loop);

        agent_set_reason(agent, "waits for the Database's status to name a primary");
        if (now >= end) {
            PROA_TRY(recall(agent));
            end = PROA_NEVER;
            continue;
        }
        PROA_TRY(agent_wait(agent, end == PROA_NEVER ? PROA_SECONDS(3600) : end - now));
    }
    return 0;
}

static uint32_t ordinal_of(proa_str pod)
{
    uint64_t value = 0;

    while (pod.len > 0 && proa_str_find_char(pod, '-') >= 0)
        pod = proa_str_slice(pod, (size_t)proa_str_find_char(pod, '-') + 1, pod.len);
    return proa_str_to_u64(pod, &value) == 0 && value < 1000 ? (uint32_t)value : 0;
}

void life_adopt(struct agent *agent)
{
    struct instance *instance = &agent->instance;

    memcpy(agent->primary, agent->assignment.primary, sizeof agent->primary);
    instance->primary = proa_str_c(agent->primary);
    instance->role = proa_str_eq(instance->primary, agent->config.pod) ? ROLE_PRIMARY : ROLE_STANDBY;
    instance->primary_ordinal = ordinal_of(instance->primary);
    instance->replicas = agent->assignment.replicas;
    instance_host(instance, instance->primary_ordinal, agent->primary_host);
    instance->primary_host = proa_str_c(agent->primary_host);
}

/* The step that moves the primary (promotion, fencing, rewinding) is not built: an instance whose data are of the other role does nothing
 * rather than something wrong. In particular one that was the primary and is told to be a standby does not serve: its log may have what
 * the new primary lacks, and nobody may write to it. */
static const char *why_refused(const struct agent *agent, const struct data_facts *facts)
{
    if (!facts->is_complete)
        return NULL;
    if (agent->instance.role == ROLE_PRIMARY && facts->was_standby)
        return "the status names this instance as the primary, but its data are a standby's: moving the primary is not "
               "built yet";
    if (agent->instance.role == ROLE_STANDBY && !facts->was_standby)
        return "the status names another instance as the primary, but the data here are a primary's: nothing is "
               "started "
               "that could write";
    return NULL;
}

/* A role that is written down already is not written again, and one that cannot be is no reason not to start. */
static void memorise(struct agent *agent)
{
    const struct memory next = {.role = agent->instance.role,
                                .primary = agent->instance.primary,
                                .replicas = (int32_t)agent->instance.replicas};
    struct proa_error err = {0};
    struct memory is;
    struct proa_arena arena;

    proa_arena_init(&arena, NULL, 0);
    if ((volume_remember(agent->volume, &arena, &is, NULL) < 0 || is.role != next.role ||
         is.replicas != next.replicas || !proa_str_eq(is.primary, next.primary)) &&
        volume_memorise(agent->volume, &next, &err) < 0)
        proa_log_failure(agent->logger, PROA_LOG_WARN, "the role cannot be written down", &err);
    proa_arena_done(&arena);
}

/* -- The server ------------------------------------------------------------------------------------------------------ */

static int start_server(struct agent *agent, struct proa_error *err)
{
    const char *arguments[SERVER_ARGUMENTS_MAX], *folder = volume_data(agent->volume);
    struct proa_arena arena;
    int rc;

    agent->phase = LIFE_STARTING;
    agent_set_reason(agent, "the engine starts");
    agent->has_status = false;
    agent->tending = (struct tending){.started_at = proa_loop_now_exact(agent->loop)};
    agent->tending.last_answer_at = agent->tending.started_at;
    proa_arena_init(&arena, NULL, 0);
    rc = volume_wait_unused(agent->volume, PROA_MS(LEFTOVERS_MS), err);
    if (rc == 0)
        rc = agent->driver->configure(&agent->instance, folder, err);
    if (rc == 0)
        memorise(agent);
    if (rc == 0)
        rc = agent->driver->server_arguments(&agent->instance, &arena, folder, arguments, err);
    if (rc == 0)
        rc = child_start(agent->children,
                         &(struct child_options){.arguments = arguments,
                                                 .folder = folder,
                                                 .wake = &agent->wake,
                                                 .death_signal = agent->driver->kill_signal},
                         &agent->server, err);
    proa_arena_done(&arena);
    if (rc == 0)
        PROA_INFO(agent->logger, "the engine is started", proa_kv_c("role", life_role_name(agent)),
                  proa_kv_i64("pid", child_pid(agent->server)));
    return rc;
}

static int wait_server(struct agent *agent, uint64_t ns)
{
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(agent->loop, proa_loop_now_exact(agent->loop) + ns);

    return child_wait(agent->server);
}

void life_stop_server(struct agent *agent)
{
    struct proa_error err = {0};
    proa_mono_ns begin = proa_loop_now_exact(agent->loop);
    /* Covers a fiber that is cancelled while it restarts the server. */
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
        proa_shield_enter(agent->loop, PROA_MS((uint64_t)agent->config.stop_ms + 2 * IMMEDIATE_STOP_MS + LEFTOVERS_MS));

    if (!agent->server)
        return;
    agent->phase = LIFE_STOPPING;
    agent_set_reason(agent, "the engine stops");
    child_signal(agent->server, agent->driver->stop_signal);
    if (wait_server(agent, PROA_MS(agent->config.stop_ms)) < 0) {
        PROA_WARN(agent->logger, "the engine did not end in time: it is ended at once, and recovers at its next start",
                  proa_kv_u64("stop_ms", agent->config.stop_ms));
        child_signal(agent->server, agent->driver->kill_signal);
        if (wait_server(agent, PROA_MS(IMMEDIATE_STOP_MS)) < 0) {
            child_signal(agent->server, SIGKILL);
            proa_ignore(wait_server(agent, PROA_MS(IMMEDIATE_STOP_MS)));
        }
    }
    if (!child_has_ended(agent->server, NULL))
        return; /* in the kernel's hands */
    child_free(agent->server);
    agent->server = NULL;
    if (volume_wait_unused(agent->volume, PROA_MS(LEFTOVERS_MS), &err) < 0)
        proa_log_failure(agent->logger, PROA_LOG_WARN, "processes of the engine are left", &err);
    PROA_INFO(agent->logger, "the engine has stopped",
              proa_kv_u64("ms", (proa_loop_now_exact(agent->loop) - begin) / 1000000));
}

/* -- One life -------------------------------------------------------------------------------------------------------- */

static int wait_for_other_assignment(struct agent *agent, const char *why)
{
    agent->phase = LIFE_REFUSED;
    agent_set_reason(agent, "%s", why);
    while (life_is_as_assigned(agent)) {
        PROA_TRY(agent_wait(agent, PROA_MS(CREDENTIALS_EVERY_MS)));
        credentials_look(agent); /* others ask with the present token */
    }
    return 0;
}

static void note_data(struct agent *agent, const struct data_facts *facts)
{
    agent->has_data = facts->is_complete;
    agent->data_are_known = true;
}

/* Before the role is known, since a primary that finds its volume empty asks. What cannot be told stays unknown. */
static void look_first(struct agent *agent)
{
    struct data_facts facts = {0};

    proa_ignore(volume_count_kept(agent->volume, &agent->kept, NULL));
    if (agent->driver->look(&agent->instance, volume_data(agent->volume), &facts, NULL) == 0)
        note_data(agent, &facts);
}

/* From a role to the end of a server. @returns 0 when another life is to follow. */
static int live_once(struct agent *agent, struct proa_error *err)
{
    struct data_facts facts = {0};
    const char *why;
    int rc;

    agent->phase = LIFE_WAITING;
    PROA_TRY(wait_assignment(agent));
    life_adopt(agent);
    PROA_TRY(agent->driver->look(&agent->instance, volume_data(agent->volume), &facts, err));
    note_data(agent, &facts);
    why = why_refused(agent, &facts);
    if (why)
        return wait_for_other_assignment(agent, why);
    if (!facts.is_complete) {
        rc = make_data(agent, err);
        return rc == PROA_ECONFLICT ? 0 : rc; /* looked at again */
    }
    PROA_TRY(start_server(agent, err));
    rc = tend(agent, err);
    if (rc < 0)
        return rc;
    life_stop_server(agent);
    agent->restarts++;
    if (rc == TEND_RESTART)
        return 0;
    rc = make_anew(agent, rc == TEND_FOREIGN ? VERDICT_FOREIGN : VERDICT_LOST, err);
    return rc == PROA_ECONFLICT ? 0 : rc;
}

static int wait_credentials(struct agent *agent)
{
    for (;;) {
        struct proa_error err = {0};
        bool changed;

        if (credentials_load(agent, &changed, &err) == 0)
            return 0;
        agent_set_reason(agent, "waits for the credentials: %s", err.message);
        PROA_TRY(proa_sleep(agent->loop, PROA_MS(CREDENTIALS_RETRY_MS)));
    }
}

/* The operator's file is one for all instances, and it changes below pods that run; what it says is meant for the pods that the operator makes
 * anew, standbys first and one at a time. So an instance keeps to the file that its pod began with: a mistake stops at the first standby,
 * instead of waiting for the primary's container to start again. */
static int keep_config(struct agent *agent, struct proa_error *err)
{
    struct agent_config *config = &agent->config;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    const char *kept, *mounted;
    proa_str text;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    kept = instance_run_path(&arena, &agent->instance, DATABASE_CONFIG_FILE);
    mounted = proa_arena_printf(&arena, PROA_FMT "/" DATABASE_CONFIG_FILE, PROA_ARG(config->config_dir)).ptr;
    rc = kept && mounted ? proa_file_read(agent->loop, &arena, kept, CONFIG_MAX_BYTES, &text, err)
                         : proa_fail(err, PROA_ENOMEM, "memory is out");
    if (rc == PROA_ENOTFOUND) {
        rc = proa_file_read(agent->loop, &arena, mounted, CONFIG_MAX_BYTES, &text, err);
        if (rc == 0)
            rc = proa_file_write(agent->loop, kept, text, 0600, err);
    }
    if (rc == 0)
        config->config_dir = config->run_dir;
    return rc;
}

static int live(struct agent *agent, struct proa_error *err)
{
    PROA_TRY(keep_config(agent, err));
    PROA_TRY(wait_credentials(agent));
    PROA_TRY(
        volume_open(agent->loop, agent->config.volume_dir.ptr, PROA_MS(agent->config.lock_ms), &agent->volume, err));
    look_first(agent);
    for (;;)
        PROA_TRY(live_once(agent, err));
}

int life_run(void *arg)
{
    struct agent *agent = arg;
    struct proa_error err = {0};
    int rc = live(agent, &err);

    if (proa_fiber_check(agent->loop) < 0)
        return rc;
    agent_set_reason(agent, "%s", err.message[0] ? err.message : proa_code_name(rc));
    proa_log_failure(agent->logger, PROA_LOG_ERROR, "the instance ends", &err);
    proa_app_stop(agent->app, 1);
    return 0;
}
