/* How the server is, its standbys' slots, and whether a standby can ever follow again. */
#include "postgres_internal.h"

#include <proa/json.h>
#include <stdio.h>

struct answer {
    bool in_recovery;
    uint64_t timeline;
    proa_str system;
    proa_str version;
    uint64_t position; /* written or replayed */
    uint64_t received; /* standby: from its primary, or to be received; 0: it has not asked since its start */
    uint64_t source;   /* standby: what its primary last said it has */
    bool streaming;
    uint64_t receiver;    /* the process that receives; another one for each connection */
    double replay_age_ms; /* of the last replayed commit; negative: unknown */
    uint64_t size_bytes;
    uint64_t oldest;
};
PROA_DESCRIBE(answer, (in_recovery, boolean), (timeline, u64), (system, str), (version, str), (position, u64),
              (received, u64), (source, u64), (streaming, boolean), (receiver, u64, .default_json = "0"),
              (replay_age_ms, f64), (size_bytes, u64), (oldest, u64));

/* One row of JSON. What follows is added when sizes are asked for too. `source` is a query of its own, so that it is read after `position`, and
 * is never less on a standby that is well. */
static const char question[] =
    "SELECT json_build_object('in_recovery', r, 'timeline', c.timeline_id, 'system', s.system_identifier::text, "
    "'version', split_part(current_setting('server_version'), ' ', 1), 'position', "
    "(CASE WHEN r THEN coalesce(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_lsn() END) - '0/0'::pg_lsn, "
    "'received', (CASE WHEN r THEN coalesce(pg_last_wal_receive_lsn(), '0/0') ELSE '0/0' END) - '0/0'::pg_lsn, "
    "'source', (SELECT coalesce(max(latest_end_lsn), '0/0') - '0/0'::pg_lsn FROM pg_stat_wal_receiver), 'receiver', "
    "coalesce(w.pid, 0), 'streaming', "
    "coalesce(w.status = 'streaming', "
    "false), "
    "'replay_age_ms', coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000, -1), "
    "'size_bytes', %s, 'oldest', %s) "
    "FROM pg_is_in_recovery() r, pg_control_checkpoint() c, pg_control_system() s "
    "LEFT JOIN pg_stat_wal_receiver w ON true;\n";

static const char size_question[] = "(SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database)";
/* The first byte of the oldest segment there is: a standby that needs less cannot get it. */
static const char oldest_question[] =
    "(SELECT coalesce(min(('x' || substr(name, 9, 8))::bit(32)::bigint * 4294967296 + "
    "('x' || substr(name, 17, 8))::bit(32)::bigint * (SELECT setting::bigint FROM pg_settings "
    "WHERE name = 'wal_segment_size')), 0) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')";

static void copy_text(char *out, size_t max, proa_str text)
{
    snprintf(out, max, PROA_FMT, PROA_ARG(text));
}

static void take_lag(const struct answer *answer, struct engine_status *status)
{
    bool is_behind = answer->source > answer->position;

    if (!status->is_streaming)
        return;
    status->has_lag = true;
    status->lag_bytes = is_behind ? answer->source - answer->position : 0;
    status->lag_ms = is_behind && answer->replay_age_ms > 0 ? (uint64_t)answer->replay_age_ms : 0;
}

int pg_read_status(struct proa_arena *arena, proa_str json, struct engine_status *ret_status, struct proa_error *err)
{
    struct engine_status status = {0};
    struct answer answer = {0};
    uint64_t reached;

    PROA_TRY(proa_json_read(arena, json, PROA_JSON_LENIENT, &answer_type, &answer, err));
    status.is_writable = !answer.in_recovery;
    /* A primary that went back a little within a segment of WAL is connected to, and would write over what is here. */
    status.is_ahead = answer.in_recovery && answer.streaming && answer.source > 0 && answer.position > answer.source;
    status.is_streaming = answer.in_recovery && answer.streaming && !status.is_ahead;
    status.replays_own = answer.in_recovery && answer.received == 0;
    status.stream = answer.receiver;
    status.size_bytes = answer.size_bytes;
    take_lag(&answer, &status);
    copy_text(status.version, sizeof status.version, answer.version);
    copy_text(status.identity, sizeof status.identity, answer.system);
    snprintf(status.history, sizeof status.history, "%llu", (unsigned long long)answer.timeline);
    reached = answer.received > answer.position ? answer.received : answer.position;
    snprintf(status.position, sizeof status.position, "%llu", (unsigned long long)reached);
    if (answer.oldest > 0)
        snprintf(status.oldest, sizeof status.oldest, "%llu", (unsigned long long)answer.oldest);
    *ret_status = status;
    return 0;
}

int pg_ask(const struct instance *instance, bool with_size, struct engine_status *ret_status, struct proa_error *err)
{
    struct child_result result = {0};
    struct proa_arena arena;
    struct proa_buf script;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    proa_buf_init(&script, &arena, 0);
    proa_buf_printf(&script, question, with_size ? size_question : "0", with_size ? oldest_question : "0");
    rc = script.error < 0 ? proa_fail(err, PROA_ENOMEM, "memory is out")
                          : pg_run(instance, &arena, PG_SUPERUSER, proa_buf_str(&script), &result, err);
    if (rc == 0)
        rc = pg_read_status(&arena, result.output, ret_status, err);
    proa_arena_done(&arena);
    return rc;
}

/* -- Slots ----------------------------------------------------------------------------------------------------------- */

/* A slot for each standby that is wanted. One whose WAL is gone is made anew, for the clone that follows; those of removed replicas are
 * dropped, once nobody uses them. Others' slots are not touched. */
static void add_wanted(struct proa_buf *out, const struct instance *instance)
{
    char slot[PG_SLOT_MAX];
    bool any = false;

    proa_buf_add_c(out, "ARRAY[");
    for (uint32_t i = 0; i < instance->replicas; i++) {
        if (i == instance->ordinal)
            continue;
        pg_slot_name(instance, i, slot);
        proa_buf_add_c(out, any ? "," : "");
        pg_add_literal(out, proa_str_c(slot));
        any = true;
    }
    proa_buf_add_c(out, "]::text[]");
}

static void add_slots(struct proa_buf *out, const struct instance *instance)
{
    char slot[PG_SLOT_MAX];
    proa_str common;

    pg_slot_name(instance, 0, slot);
    common = proa_str_slice(proa_str_c(slot), 0, strlen(slot) - 1);
    proa_buf_add_c(out, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_type = "
                        "'physical' AND NOT active AND NOT temporary AND CASE WHEN slot_name::text = ANY(");
    add_wanted(out, instance);
    proa_buf_add_c(out, ") THEN coalesce(wal_status = 'lost', false) ELSE starts_with(slot_name::text, ");
    pg_add_literal(out, common);
    proa_buf_printf(out, ") AND substr(slot_name::text, %zu) ~ '^[0-9]$' END;\n", common.len + 1);
    proa_buf_add_c(out, "SELECT pg_create_physical_replication_slot(slot::name, true) FROM unnest(");
    add_wanted(out, instance);
    proa_buf_add_c(out, ") AS slot WHERE slot NOT IN (SELECT slot_name::text FROM pg_replication_slots);\n");
}

int pg_keep_replicas(const struct instance *instance, struct proa_error *err)
{
    struct child_result result = {0};
    struct proa_arena arena;
    struct proa_buf script;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    proa_buf_init(&script, &arena, 0);
    add_slots(&script, instance);
    rc = script.error < 0 ? proa_fail(err, PROA_ENOMEM, "memory is out")
                          : pg_run(instance, &arena, PG_SUPERUSER, proa_buf_str(&script), &result, err);
    proa_arena_done(&arena);
    return rc;
}

/* -- Judging --------------------------------------------------------------------------------------------------------- */

static uint64_t number(const char *text)
{
    uint64_t value = 0;

    proa_ignore(proa_str_to_u64(proa_str_c(text), &value)); /* "": 0 */
    return value;
}

/* A primary sends what it has flushed, and stays the primary: a standby that has more is the witness that the primary's volume went back (a
 * snapshot, an old copy, a disk that lied), and may have the only copy of what was acknowledged.
 *
 * One that was restarted far behind, or that delays what it replays, has received more than its position says, and the primary keeps nothing
 * of that any more: what it lacks shows when it has replayed it and asks for more. */
int pg_judge(const struct instance *instance, const struct engine_status *own, const struct primary_status *primary,
             enum verdict *ret_verdict, const char **ret_why, struct proa_error *err)
{
    const struct engine_status *theirs = &primary->engine;
    uint64_t position = number(own->position), oldest = number(theirs->oldest);

    (void)instance;
    (void)err;
    *ret_verdict = VERDICT_WAIT;
    *ret_why = "";
    if (!own->identity[0] || !theirs->identity[0])
        return 0;
    if (strcmp(own->identity, theirs->identity) != 0) {
        *ret_verdict = VERDICT_FOREIGN;
        *ret_why = "the primary's database is another one";
    } else if (number(own->history) > number(theirs->history)) {
        *ret_verdict = VERDICT_FOREIGN;
        *ret_why = "its timeline is ahead of the primary's";
    } else if (number(own->history) == number(theirs->history) && position > number(theirs->position)) {
        *ret_verdict = VERDICT_FOREIGN;
        *ret_why = "it is ahead of the primary";
    } else if (!own->replays_own && oldest > 0 && position - position % PG_SEGMENT_BYTES < oldest) {
        *ret_verdict = VERDICT_LOST;
        *ret_why = "the primary has removed the WAL that it needs";
    }
    return 0;
}
