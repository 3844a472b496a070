/* Metrics of the agent itself, and what its driver gathered last. Written at a scrape, on the agent's only loop. */
#include "agent_internal.h"

#define FAMILY(variable, name_, help_, counter)                                                                        \
    static const struct proa_collected_family variable = {.name = name_, .help = help_, .is_counter = counter}

FAMILY(ready, "database_agent_ready", "Whether the instance serves", false);
FAMILY(primary, "database_agent_is_primary", "Whether the instance is to be the primary", false);
FAMILY(runs, "database_agent_engine_up", "Whether the engine's process runs", false);
FAMILY(answered, "database_agent_engine_answer_age_seconds", "Since the engine's last answer", false);
FAMILY(restarts, "database_agent_engine_restarts_total", "Restarts of the engine by the agent", true);
FAMILY(clones, "database_agent_clones_total", "Times the primary's data were copied", true);
FAMILY(kept, "database_agent_kept_data", "Data that were put aside and that nobody has removed", false);
FAMILY(orphans, "database_agent_orphans_reaped_total", "Ended processes that were nobody else's", true);
FAMILY(api, "database_agent_api_seen", "Whether the API server has answered since the start", false);

static const struct proa_collected_family phase = {
    .name = "database_agent_phase", .help = "What the agent is at", .labels = {"phase"}};

void agent_collect(void *arg, struct proa_collection *out)
{
    const struct agent *agent = arg;
    proa_mono_ns now = proa_loop_now(agent->loop), at = agent->tending.last_answer_at;

    proa_collect(out, &ready, NULL, agent->is_ready);
    proa_collect(out, &primary, NULL, agent->instance.role == ROLE_PRIMARY);
    proa_collect(out, &runs, NULL, agent->server != NULL);
    if (agent->server)
        proa_collect(out, &answered, NULL, now > at ? (double)(now - at) / 1e9 : 0);
    for (uint32_t i = 0; i < life_phase_enum.count; i++)
        proa_collect(out, &phase, &life_phase_enum.values[i].name, (uint32_t)agent->phase == i);
    proa_collect(out, &restarts, NULL, (double)agent->restarts);
    proa_collect(out, &clones, NULL, (double)agent->clones);
    proa_collect(out, &kept, NULL, (double)agent->kept);
    proa_collect(out, &orphans, NULL, (double)children_orphans(agent->children));
    proa_collect(out, &api, NULL, agent->api_is_seen);
    if (agent->driver->up)
        samples_write_one(agent->driver->up, agent->server && agent->tending.last_was_answered, out);
    /* What an engine said before it stopped is no news. */
    if (agent->server)
        samples_write(&agent->samples, out);
}
