/* What the Database says: watched for ever, whatever happens to the API server. The agent may read its own Database only, so the watch
 * names it by a field selector. */
#include "agent_internal.h"

#include <proa/json.h>
#include <stdio.h>

extern char **environ;

enum { CONFIG_RETRY_MS = 2000 };

struct assigned_spec {
    int32_t replicas;
};
PROA_DESCRIBE_WITH(assigned_spec, (.unknown = PROA_UNKNOWN_IGNORE), (replicas, i32, .default_json = "1"));
struct assigned_status {
    /* What the operator has made of the spec's, which it does not follow always: 0 from an operator that does not say it. */
    int32_t replicas;
    proa_str current_primary;
    bool initialized;
};
PROA_DESCRIBE_WITH(assigned_status, (.unknown = PROA_UNKNOWN_IGNORE), (replicas, i32, .default_json = "0"),
                   (current_primary, str, .json = "currentPrimary", .default_json = "\"\""),
                   (initialized, boolean, .default_json = "false"));
struct assigned {
    struct assigned_spec spec;
    struct assigned_status status;
};
PROA_DESCRIBE_WITH(assigned, (.unknown = PROA_UNKNOWN_IGNORE), (spec, object(assigned_spec)),
                   (status, object(assigned_status), .default_json = "{}"));

static void take(struct agent *agent, const struct assigned *assigned)
{
    struct assignment *assignment = &agent->assignment;
    struct assignment next = {
        .is_known = true, .is_from_api = true, .is_initialized = assigned->status.initialized, .replicas = 1};
    proa_str primary = assigned->status.current_primary;
    int32_t replicas = assigned->status.replicas > 0 ? assigned->status.replicas : assigned->spec.replicas;

    /* A status that is not written yet changes nothing of what is known. */
    if (primary.len == 0 || primary.len >= sizeof next.primary)
        return;
    memcpy(next.primary, primary.ptr, primary.len);
    if (replicas > 0 && replicas <= DATABASE_REPLICAS_MAX)
        next.replicas = (uint32_t)replicas;
    if (assignment->is_from_api && strcmp(assignment->primary, next.primary) == 0 &&
        assignment->replicas == next.replicas && assignment->is_initialized == next.is_initialized)
        return;
    *assignment = next;
    PROA_INFO(agent->logger, "the Database says", proa_kv_c("primary", next.primary),
              proa_kv_u64("replicas", next.replicas));
    proa_event_set(&agent->wake);
}

static int event(void *arg, const struct proa_kube_event *event)
{
    struct agent *agent = arg;
    struct proa_error err = {0};
    struct assigned assigned;
    struct proa_arena arena;

    agent->api_is_seen = true;
    if (event->kind != PROA_KUBE_ADDED && event->kind != PROA_KUBE_MODIFIED)
        return 0; /* a Database that is deleted leaves its instances as they are, until their pods are */
    proa_arena_init(&arena, NULL, 0);
    if (proa_json_read(&arena, event->json, PROA_JSON_LENIENT, &assigned_type, &assigned, &err) < 0)
        proa_log_failure(agent->logger, PROA_LOG_WARN, "the Database cannot be read", &err);
    else
        take(agent, &assigned);
    proa_arena_done(&arena);
    return 0;
}

/* The service account's files may come a moment after the container. */
static int connect(struct agent *agent)
{
    const char *kubeconfig = agent->config.kubeconfig.len > 0 ? agent->config.kubeconfig.ptr : NULL;
    bool was_told = false;

    for (;;) {
        struct proa_error err = {0};
        int rc = proa_kube_config_load(agent->loop,
                                       &(struct proa_kube_config_options){.kubeconfig = kubeconfig, .env = environ},
                                       &agent->kube_config, &err);

        if (rc == 0)
            rc = proa_kube_new(&(struct proa_kube_options){.loop = agent->loop,
                                                           .config = agent->kube_config,
                                                           .metrics = proa_app_metrics(agent->app),
                                                           .logger = agent->logger,
                                                           .user_agent = "database-agent"},
                               &agent->kube, &err);
        if (rc == 0)
            return 0;
        proa_kube_config_free(agent->kube_config);
        agent->kube_config = NULL;
        if (!was_told)
            proa_log_failure(agent->logger, PROA_LOG_WARN, "no way to the API server yet", &err);
        was_told = true;
        PROA_TRY(proa_sleep(agent->loop, PROA_MS(CONFIG_RETRY_MS)));
    }
}

int assignment_watch(void *arg)
{
    struct agent *agent = arg;
    char selector[DATABASE_NAME_MAX + 32];
    struct proa_error err = {0};

    PROA_TRY(connect(agent));
    snprintf(selector, sizeof selector, "metadata.name=" PROA_FMT, PROA_ARG(agent->config.database));
    for (;;) {
        int rc = proa_kube_watch(agent->kube, &database_kind,
                                 &(struct proa_kube_watch_options){.namespace_ = agent->config.namespace_,
                                                                   .field_selector = proa_str_c(selector),
                                                                   .event = event,
                                                                   .arg = agent},
                                 &err);

        PROA_TRY(proa_fiber_check(agent->loop));
        if (rc != PROA_ECANCELED)
            proa_log_failure(agent->logger, PROA_LOG_WARN, "watching the Database ended", &err);
        PROA_TRY(proa_sleep(agent->loop, PROA_MS(CONFIG_RETRY_MS)));
    }
}
