/* The simulated loop: time that moves only when nothing is ready, and chance that follows from the seed. */
#include "sim_internal.h"

#include <stdlib.h>

/* Monotonic time does not begin at zero, so that "a second before the start" can be computed. */
#define START_NS PROA_SECONDS(1000)
#define WALL_START_DEFAULT_S 1767225600 /* 2026-01-01T00:00:00Z */

/* In the room that blocking work has for its backend. */
struct sim_work {
    struct proa_list node;
    struct proa_work *work;
};

void sim_trace(struct proa_sim *sim, enum sim_event event, uint64_t a, uint64_t b)
{
    const uint64_t parts[] = {(uint64_t)event, a, b};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        uint64_t mixed = (sim->hash ^ parts[i]) * UINT64_C(0x9fb21c651e98df25);

        sim->hash = mixed ^ mixed >> 32;
    }
}

static proa_mono_ns sim_now(struct proa_loop *loop)
{
    return sim_of(loop)->now;
}

static proa_time_ns sim_wall(struct proa_loop *loop)
{
    return sim_of(loop)->wall_offset + (proa_time_ns)sim_of(loop)->now;
}

static void sim_random(struct proa_loop *loop, void *out, size_t bytes)
{
    unsigned char *at = out;

    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(proa_prng_u64(&sim_of(loop)->app_prng) >> 56);
}

/* Blocking work runs on the loop's own stack, which is deep, in an order of chance as it would in a pool. */
static int sim_blocking(struct proa_loop *loop, struct proa_work *work)
{
    struct sim_work *own = (struct sim_work *)(void *)work->backend;
    _Static_assert(sizeof *own <= sizeof work->backend, "room for the simulation's part");

    own->work = work;
    proa_list_push_back(&sim_of(loop)->blocking, &own->node);
    sim_of(loop)->blocking_count++;
    return 0;
}

static void sim_blocking_drop(struct proa_work *work)
{
    (void)work; /* work_run leaves out what was dropped */
}

static bool run_blocking(struct proa_sim *sim)
{
    struct proa_list *node = sim->blocking.next;
    uint64_t skip;

    if (sim->blocking_count == 0)
        return false;
    for (skip = proa_prng_below(&sim->net_prng, sim->blocking_count); skip > 0; skip--)
        node = node->next;
    proa_list_remove(node);
    sim->blocking_count--;
    sim_trace(sim, SIM_BLOCKING, sim->now, sim->blocking_count);
    work_run(PROA_CONTAINER(node, struct sim_work, node)->work);
    work_finished(PROA_CONTAINER(node, struct sim_work, node)->work);
    return true;
}

static bool sim_poll(struct proa_loop *loop, proa_mono_ns wake_at)
{
    struct proa_sim *sim = sim_of(loop);

    if (run_blocking(sim))
        return true;
    if (wake_at == PROA_NEVER)
        return false;
    if (wake_at > sim->now) {
        sim->now = wake_at;
        sim_trace(sim, SIM_TIME, sim->now, loop->fibers_count);
    }
    return true;
}

static void sim_wake(struct proa_loop *loop)
{
    (void)loop; /* it never waits */
}

static bool sim_is_busy(const struct proa_loop *loop)
{
    return sim_of(loop)->blocking_count > 0;
}

static void sim_loop_free(struct proa_loop *loop)
{
    sim_network_done(sim_of(loop));
    loop_done(loop);
    free(loop->backend);
}

static const struct proa_backend_ops sim_ops = {
    .now = sim_now,
    .wall = sim_wall,
    .random = sim_random,
    .poll = sim_poll,
    .wake = sim_wake,
    .blocking = sim_blocking,
    .blocking_drop = sim_blocking_drop,
    .is_busy = sim_is_busy,
    .free = sim_loop_free,
};

int proa_sim_new(const struct proa_sim_options *options, struct proa_sim **ret_sim)
{
    static const struct proa_sim_options defaults = {0};
    struct proa_sim *sim = calloc(1, sizeof *sim);
    int rc;

    if (!sim)
        return PROA_ENOMEM;
    if (!options)
        options = &defaults;
    sim->seed = sim->hash = options->seed;
    sim->now = START_NS;
    sim->wall_offset = options->wall_start ? options->wall_start : (proa_time_ns)WALL_START_DEFAULT_S * 1000000000;
    sim->wall_offset -= (proa_time_ns)START_NS;
    proa_prng_seed(&sim->app_prng, options->seed);
    proa_prng_seed(&sim->net_prng, ~options->seed);
    proa_list_init(&sim->blocking);
    sim->network = options->network;
    sim_network_init(sim);
    rc = loop_init(&sim->loop, &options->loop, &sim_ops, sim);
    if (rc < 0) {
        free(sim);
        return rc;
    }
    sim->loop.net_ops = &sim_net_ops;
    *ret_sim = sim;
    return 0;
}

void proa_sim_free(struct proa_sim *sim)
{
    if (sim)
        proa_loop_free(&sim->loop);
}

struct proa_loop *proa_sim_loop(struct proa_sim *sim)
{
    return &sim->loop;
}

void proa_sim_step_wall(struct proa_sim *sim, int64_t by_ns)
{
    sim->wall_offset += by_ns;
    sim_trace(sim, SIM_WALL, (uint64_t)by_ns, 0);
}

uint64_t proa_sim_seed(const struct proa_sim *sim)
{
    return sim->seed;
}

uint64_t proa_sim_trace_hash(const struct proa_sim *sim)
{
    return sim->hash;
}
