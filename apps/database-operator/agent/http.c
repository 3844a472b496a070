/* What the agent answers beside the frame's probes and /metrics: its status, and a restart on request, behind the token. */
#include "agent_internal.h"

PROA_DEFINE_TYPE_WITH(agent_status, (.unknown = PROA_UNKNOWN_IGNORE), (pod, str), (role, str), (phase, str),
                      (reason, str), (warning, str, .default_json = "\"\""), (primary, str), (ready, boolean),
                      (live, boolean), (has_data, optional(boolean)), (writable, boolean), (streaming, boolean),
                      (engine, str), (version, str), (identity, str), (timeline, str), (position, str), (oldest, str),
                      (size_bytes, u64), (lag_bytes, optional(u64)), (lag_ms, optional(u64)), (restarts, u64),
                      (clones, u64), (orphans, u64), (api_seen, boolean));

static proa_str role_text(enum instance_role role)
{
    return role == ROLE_PRIMARY ? PROA_STR("primary") : role == ROLE_STANDBY ? PROA_STR("standby") : PROA_STR("");
}

void agent_fill_status(const struct agent *agent, struct agent_status *ret_status)
{
    const struct engine_status *engine = &agent->status;
    bool runs = agent->phase == LIFE_RUNNING && agent->has_status;

    *ret_status = (struct agent_status){
        .pod = agent->config.pod,
        .role = role_text(agent->instance.role),
        .phase = life_phase_enum.values[agent->phase].name,
        .reason = proa_str_c(agent->reason),
        .warning = proa_str_c(agent->warning),
        .primary = proa_str_c(agent->assignment.primary),
        .ready = agent->is_ready,
        .live = agent_is_live(agent),
        .writable = runs && engine->is_writable,
        .streaming = runs && engine->is_streaming,
        .engine = proa_str_c(agent->instance.engine->name),
        .version = proa_str_c(engine->version),
        .identity = proa_str_c(engine->identity),
        .timeline = proa_str_c(engine->history),
        .position = proa_str_c(engine->position),
        .oldest = proa_str_c(engine->oldest),
        .size_bytes = engine->size_bytes,
        .restarts = agent->restarts,
        .clones = agent->clones,
        .orphans = children_orphans(agent->children),
        .api_seen = agent->api_is_seen,
    };
    if (agent->data_are_known) {
        ret_status->has_data.presence = PROA_SET;
        ret_status->has_data.value = agent->has_data;
    }
    if (runs && engine->has_lag) {
        ret_status->lag_bytes.presence = ret_status->lag_ms.presence = PROA_SET;
        ret_status->lag_bytes.value = engine->lag_bytes;
        ret_status->lag_ms.value = engine->lag_ms;
    }
}

static int require_token(struct proa_req *req, void *arg)
{
    const struct agent *agent = proa_req_state(req);
    proa_str given = proa_req_header(req, "Authorization"), token = agent->credentials.agent_token, scheme;

    (void)arg;
    if (token.len > 0 && given.ptr && proa_str_split(&given, ' ', &scheme) &&
        proa_str_eq_nocase(scheme, PROA_STR("Bearer")) && given.ptr && proa_str_eq_secret(proa_str_trim(given), token))
        return proa_next(req);
    PROA_TRY(proa_reply_header(req, "WWW-Authenticate", PROA_STR("Bearer")));
    return proa_fail(proa_req_error(req), PROA_EUNAUTHORIZED, "the agent's token is wanted");
}

static int get_status(struct proa_req *req)
{
    struct agent_status status;

    agent_fill_status(proa_req_state(req), &status);
    return proa_reply_json(req, 200, &agent_status_type, &status);
}

static int post_restart(struct proa_req *req)
{
    struct agent *agent = proa_req_state(req);

    if (!agent->server)
        return proa_fail(proa_req_error(req), PROA_ECONFLICT, "the engine does not run");
    agent->restart_is_wanted = true;
    proa_event_set(&agent->wake);
    return proa_reply_empty(req, 202);
}

static const struct proa_middleware behind_token[] = {{require_token, NULL}, {NULL, NULL}};

const struct proa_route agent_routes[] = {
    {PROA_GET, "/v1/status", get_status, .middleware = behind_token, .summary = "How the instance is"},
    {PROA_POST, "/v1/restart", post_restart, .middleware = behind_token, .summary = "Restarts the engine"},
};
const size_t agent_routes_count = PROA_COUNT(agent_routes);
