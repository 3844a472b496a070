/* Making an instance's data: the first of all, or a copy of the primary's. What is made lies beside the data until it is whole. */
#include "agent_internal.h"

enum { RETRY_MIN_MS = 1000, RETRY_MAX_MS = 30000 };

static int ask_for_data(struct agent *agent, uint32_t ordinal, struct proa_error *err)
{
    struct proa_error ignored = {0};
    struct agent_status status = {0};
    bool is_unknown, has_data;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(agent->loop), 0);
    rc = peer_ask(agent, &arena, ordinal, &status, &ignored);
    is_unknown = rc == 0 && status.has_data.presence != PROA_SET;
    has_data = rc == 0 && !is_unknown && status.has_data.value;
    PROA_TRY(proa_fiber_check(agent->loop));
    if (is_unknown)
        return proa_fail(err, PROA_EUNAVAILABLE,
                         "the volume is empty: waits for instance %u to say whether it has data", ordinal);
    if (has_data)
        return proa_fail(
            err, PROA_ECONFLICT,
            "this is to be the primary and its volume is empty, but instance %u has data: nothing is made, so "
            "that they are not replaced. Bring the volume back, or delete the Database and the other instances' "
            "claims to begin anew",
            ordinal);
    return 0;
}

/* A primary whose volume is empty although there has been a database has lost its volume. New data would be another database, and the
 * others would put theirs aside for it. That there was one says the Database's status, also when nobody else can be asked; before it says so,
 * one who does not answer has none: it is the first start. */
static int look_for_data_elsewhere(struct agent *agent, struct proa_error *err)
{
    const struct instance *instance = &agent->instance;

    for (uint32_t i = 0; i < instance->replicas; i++)
        if (i != instance->ordinal)
            PROA_TRY(ask_for_data(agent, i, err));
    if (!agent->assignment.is_from_api)
        return proa_fail(err, PROA_EUNAVAILABLE,
                         "the volume is empty: waits for the API server to say whether there has been a database");
    if (agent->assignment.is_initialized)
        return proa_fail(err, PROA_ECONFLICT,
                         "this is to be the primary and its volume is empty, but the Database has served before "
                         "(status.initialized): nothing is made. Bring the volume back, or delete the Database and "
                         "its claims to begin anew");
    return 0;
}

static int initialise(struct agent *agent, struct proa_error *err)
{
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(agent->loop, proa_loop_now_exact(agent->loop) + PROA_MS(agent->config.init_ms));
    const char *folder;

    PROA_TRY(look_for_data_elsewhere(agent, err));
    agent_set_reason(agent, "makes the first data");
    PROA_TRY(volume_begin(agent->volume, &folder, err));
    PROA_TRY(agent->driver->initialise(&agent->instance, folder, err));
    PROA_TRY(volume_commit(agent->volume, err));
    PROA_INFO(agent->logger, "the first data are made");
    return 0;
}

/* Nothing is copied from a primary that does not say of itself that it serves. */
static int ask_ready_primary(struct agent *agent, struct primary_status *ret_status, struct proa_error *err)
{
    if (peer_ask_primary(agent, ret_status, err) < 0) {
        proa_error_wrap(err, "waits for the primary " PROA_FMT, PROA_ARG(agent->instance.primary));
        return PROA_EUNAVAILABLE;
    }
    return ret_status->is_ready ? 0
                                : proa_fail(err, PROA_EUNAVAILABLE, "waits for the primary " PROA_FMT " to be ready",
                                            PROA_ARG(agent->instance.primary));
}

static int clone(struct agent *agent, struct proa_error *err)
{
    struct primary_status primary;
    const char *folder;

    PROA_TRY(ask_ready_primary(agent, &primary, err));
    agent_set_reason(agent, "copies the data of " PROA_FMT, PROA_ARG(agent->instance.primary));
    PROA_TRY(volume_begin(agent->volume, &folder, err));
    PROA_TRY(agent->driver->clone(&agent->instance, folder, err));
    PROA_TRY(volume_commit(agent->volume, err));
    agent->clones++;
    PROA_INFO(agent->logger, "the data are copied", proa_kv_str("primary", agent->instance.primary));
    return 0;
}

/* What failed may have been for the credentials: with other ones it is tried at once. */
static int wait_retry(struct agent *agent, uint64_t ms)
{
    proa_mono_ns end = proa_loop_now_exact(agent->loop) + PROA_MS(ms);

    while (!credentials_look(agent)) {
        proa_mono_ns now = proa_loop_now_exact(agent->loop), until = now + PROA_MS(CREDENTIALS_EVERY_MS);

        if (now >= end)
            return 0;
        until = until < end ? until : end;
        PROA_TRY(agent_wait(agent, until - now));
        if (proa_loop_now_exact(agent->loop) < until)
            return 0; /* something else has changed */
    }
    return 0;
}

/* @returns 0, PROA_ECONFLICT (assigned otherwise meanwhile) or the cancellation's cause. */
static int again_and_again(struct agent *agent, int (*try_once)(struct agent *agent, struct proa_error *err),
                           struct proa_error *err)
{
    uint64_t wait_ms = RETRY_MIN_MS;

    for (;;) {
        struct proa_error why = {0};
        int rc = try_once(agent, &why);

        if (rc == 0)
            return 0;
        PROA_TRY(proa_fiber_check(agent->loop));
        agent_set_reason(agent, "%s", why.message[0] ? why.message : proa_code_name(rc));
        volume_abandon(agent->volume);
        /* A primary that is not ready yet is asked again soon, a failed attempt ever later. */
        PROA_TRY(wait_retry(agent, rc == PROA_EUNAVAILABLE ? RETRY_MIN_MS : wait_ms));
        wait_ms = wait_ms * 2 < RETRY_MAX_MS ? wait_ms * 2 : RETRY_MAX_MS;
        if (!life_is_as_assigned(agent))
            return proa_fail(err, PROA_ECONFLICT, "assigned otherwise");
        agent->instance.replicas = agent->assignment.replicas;
    }
}

/* Data that somebody brought back meanwhile are not replaced. */
static int make_missing(struct agent *agent, struct proa_error *err)
{
    struct data_facts facts;

    PROA_TRY(agent->driver->look(&agent->instance, volume_data(agent->volume), &facts, err));
    if (facts.is_complete)
        return 0;
    return agent->instance.role == ROLE_PRIMARY ? initialise(agent, err) : clone(agent, err);
}

int make_data(struct agent *agent, struct proa_error *err)
{
    agent->phase = LIFE_MAKING;
    return again_and_again(agent, make_missing, err);
}

/* The old data stay until the new are whole, if there is room for both. */
static int make_room(struct agent *agent, enum verdict verdict, struct proa_error *err)
{
    struct primary_status primary;
    struct volume_room room;
    uint64_t needed;
    bool has_room;

    PROA_TRY(ask_ready_primary(agent, &primary, err));
    PROA_TRY(volume_room(agent->volume, &room, err));
    /* What the primary could not say is about what is here. */
    needed = primary.engine.size_bytes > 0 ? primary.engine.size_bytes : room.data_bytes;
    /* A tenth and a few WAL segments more than the data alone. */
    needed += needed / 10 + ((uint64_t)128 << 20);
    has_room = room.free_bytes > needed;
    if (verdict == VERDICT_FOREIGN) {
        if (!has_room)
            return proa_fail(
                err, PROA_EBUSY,
                "this instance has data that the primary lacks (%s), and the volume has no room to keep them beside a "
                "copy of the primary's: save them, then delete this instance's claim to have it copied anew",
                agent->why_anew);
        PROA_WARN(agent->logger, "the primary lacks what the data here have: they are put aside",
                  proa_kv_c("why", agent->why_anew), proa_kv_c("identity", agent->status.identity),
                  proa_kv_c("primary_identity", primary.engine.identity));
        PROA_TRY(volume_put_aside(agent->volume, proa_loop_wall(agent->loop), err));
        return volume_count_kept(agent->volume, &agent->kept, err);
    }
    if (has_room)
        return agent->driver->copies_running ? volume_set_before(agent->volume, err) : 0;
    PROA_WARN(agent->logger, "the volume has no room for the old and the new data: the old are removed first",
              proa_kv_u64("free_bytes", room.free_bytes), proa_kv_u64("needed_bytes", needed));
    return volume_remove_data(agent->volume, err);
}

static int make_room_for_lost(struct agent *agent, struct proa_error *err)
{
    return make_room(agent, VERDICT_LOST, err);
}

static int make_room_for_foreign(struct agent *agent, struct proa_error *err)
{
    return make_room(agent, VERDICT_FOREIGN, err);
}

int make_anew(struct agent *agent, enum verdict verdict, struct proa_error *err)
{
    agent->phase = LIFE_MAKING;
    PROA_TRY(again_and_again(agent, verdict == VERDICT_FOREIGN ? make_room_for_foreign : make_room_for_lost, err));
    return again_and_again(agent, clone, err);
}
