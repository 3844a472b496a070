/* Metrics under postgres_exporter's names, from one row of JSON: what it costs the server is a handful of views, and the sizes of at most
 * DATABASES_MAX databases. */
#include "postgres_internal.h"

#include <proa/json.h>

/* -- What is asked --------------------------------------------------------------------------------------------------- */

struct database_row {
    proa_str name;
    double size, backends, commits, rollbacks, blocks_read, blocks_hit, returned, fetched, inserted, updated, deleted,
        conflicts, temp_files, temp_bytes, deadlocks;
};
PROA_DESCRIBE_WITH(database_row, (.unknown = PROA_UNKNOWN_IGNORE), (name, str), (size, f64), (backends, f64),
                   (commits, f64), (rollbacks, f64), (blocks_read, f64), (blocks_hit, f64), (returned, f64),
                   (fetched, f64), (inserted, f64), (updated, f64), (deleted, f64), (conflicts, f64), (temp_files, f64),
                   (temp_bytes, f64), (deadlocks, f64));
struct activity_row {
    proa_str name, state;
    double count, longest_seconds;
};
PROA_DESCRIBE(activity_row, (name, str), (state, str), (count, f64), (longest_seconds, f64));
struct lock_row {
    proa_str name, mode;
    double count;
};
PROA_DESCRIBE(lock_row, (name, str), (mode, str), (count, f64));
struct standby_row {
    proa_str name, address, state, slot;
    double lag_bytes, lag_seconds;
};
PROA_DESCRIBE(standby_row, (name, str), (address, str), (state, str), (slot, str), (lag_bytes, f64),
              (lag_seconds, f64));
struct slot_row {
    proa_str name, wal_status;
    bool is_active;
    double retained_bytes;
};
PROA_DESCRIBE(slot_row, (name, str), (wal_status, str), (is_active, boolean), (retained_bytes, f64));
struct writer_row {
    double timed, requested, write_ms, sync_ms, checkpoint_buffers, clean_buffers, allocated;
};
PROA_DESCRIBE(writer_row, (timed, f64), (requested, f64), (write_ms, f64), (sync_ms, f64), (checkpoint_buffers, f64),
              (clean_buffers, f64), (allocated, f64));
struct server_row {
    double started_at, max_connections, reserved_connections, shared_buffers_bytes, work_mem_bytes, max_wal_bytes,
        replay_seconds, wal_bytes;
    proa_str version;
};
PROA_DESCRIBE(server_row, (started_at, f64), (max_connections, f64), (reserved_connections, f64),
              (shared_buffers_bytes, f64), (work_mem_bytes, f64), (max_wal_bytes, f64), (replay_seconds, f64),
              (wal_bytes, f64), (version, str));
struct metrics_answer {
    struct server_row server;
    struct writer_row writer;
    PROA_ARRAY_OF(struct database_row) databases;
    PROA_ARRAY_OF(struct activity_row) activity;
    PROA_ARRAY_OF(struct lock_row) locks;
    PROA_ARRAY_OF(struct standby_row) standbys;
    PROA_ARRAY_OF(struct slot_row) slots;
};
PROA_DESCRIBE(metrics_answer, (server, object(server_row)), (writer, object(writer_row)),
              (databases, array(object(database_row))), (activity, array(object(activity_row))),
              (locks, array(object(lock_row))), (standbys, array(object(standby_row))),
              (slots, array(object(slot_row))));

#define POSITION "(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)"
#define LIST(columns) "(SELECT coalesce(json_agg(row_to_json(x)), '[]') FROM (SELECT " columns ") x)"

/* The age of what is replayed is as the exporter counts it: none while all that came is replayed. */
static const char server_question[] =
    "(SELECT json_build_object('started_at', extract(epoch FROM pg_postmaster_start_time()), "
    "'max_connections', current_setting('max_connections')::float8, "
    "'reserved_connections', current_setting('superuser_reserved_connections')::float8, "
    "'shared_buffers_bytes', pg_size_bytes(current_setting('shared_buffers')), "
    "'work_mem_bytes', pg_size_bytes(current_setting('work_mem')), "
    "'max_wal_bytes', pg_size_bytes(current_setting('max_wal_size')), "
    "'replay_seconds', CASE WHEN NOT r OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 "
    "ELSE greatest(0, coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)) END, "
    "'wal_bytes', coalesce((CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) - '0/0'::pg_lsn, "
    "0), "
    "'version', current_setting('server_version')) FROM pg_is_in_recovery() r)";

static const char databases_question[] = LIST(
    "d.datname AS name, pg_database_size(d.oid) AS size, numbackends AS backends, xact_commit AS commits, "
    "xact_rollback AS "
    "rollbacks, blks_read AS blocks_read, blks_hit AS blocks_hit, tup_returned AS returned, tup_fetched AS fetched, "
    "tup_inserted AS inserted, tup_updated AS updated, tup_deleted AS deleted, s.conflicts, temp_files, temp_bytes, "
    "deadlocks "
    "FROM pg_database d JOIN pg_stat_database s ON s.datid = d.oid WHERE NOT datistemplate ORDER BY d.oid LIMIT 50");

static const char activity_question[] = LIST(
    "datname AS name, state, count(*), coalesce(max(extract(epoch FROM now() - xact_start)), 0) AS longest_seconds "
    "FROM pg_stat_activity WHERE datname IS NOT NULL AND state IS NOT NULL AND pid <> pg_backend_pid() "
    "GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 300");

static const char locks_question[] =
    LIST("d.datname AS name, lower(mode) AS mode, count(*) FROM pg_locks l JOIN pg_database d ON "
         "d.oid = l.database WHERE pid <> pg_backend_pid() GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 300");

static const char standbys_question[] = LIST(
    "application_name AS name, coalesce(host(client_addr), '') AS address, r.state, coalesce(slot_name::text, '') AS "
    "slot, "
    "coalesce(" POSITION " - replay_lsn, 0) AS lag_bytes, coalesce(extract(epoch FROM replay_lag), 0) AS lag_seconds "
    "FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid ORDER BY 1, 2 LIMIT 50");

static const char slots_question[] =
    LIST("slot_name AS name, active AS is_active, coalesce(wal_status, '') AS wal_status, coalesce(" POSITION
         " - restart_lsn, 0) AS retained_bytes FROM pg_replication_slots ORDER BY 1 LIMIT 50");

/* PostgreSQL 17 has the checkpoints in a view of their own. */
static const char writer_question_old[] = "(SELECT json_build_object('timed', checkpoints_timed, 'requested', "
                                          "checkpoints_req, 'write_ms', checkpoint_write_time, "
                                          "'sync_ms', checkpoint_sync_time, 'checkpoint_buffers', buffers_checkpoint, "
                                          "'clean_buffers', buffers_clean, 'allocated', "
                                          "buffers_alloc) FROM pg_stat_bgwriter)";
static const char writer_question_new[] =
    "(SELECT json_build_object('timed', num_timed, 'requested', num_requested, 'write_ms', write_time, 'sync_ms', "
    "sync_time, "
    "'checkpoint_buffers', c.buffers_written, 'clean_buffers', buffers_clean, 'allocated', buffers_alloc) FROM "
    "pg_stat_checkpointer c, pg_stat_bgwriter)";

/* -- What is given --------------------------------------------------------------------------------------------------- */

#define GAUGE(variable, name_, help_, ...)                                                                             \
    static const struct sample_family variable = {.name = name_, .help = help_, .labels = {__VA_ARGS__}}
#define COUNTER(variable, name_, help_, ...)                                                                           \
    static const struct sample_family variable = {                                                                     \
        .name = name_, .help = help_, .is_counter = true, .labels = {__VA_ARGS__}}

GAUGE(info, "pg_static", "Version of the server", "short_version", "version");
GAUGE(started, "pg_postmaster_start_time_seconds", "When the server was started", NULL);
GAUGE(in_recovery, "pg_replication_is_replica", "Whether the instance is a standby", NULL);
GAUGE(lag_seconds, "pg_replication_lag_seconds", "Age of what is replayed while something is outstanding", NULL);
GAUGE(max_connections, "pg_settings_max_connections", "Server setting", NULL);
GAUGE(reserved, "pg_settings_superuser_reserved_connections", "Server setting", NULL);
GAUGE(shared_buffers, "pg_settings_shared_buffers_bytes", "Server setting", NULL);
GAUGE(work_mem, "pg_settings_work_mem_bytes", "Server setting", NULL);
GAUGE(max_wal, "pg_settings_max_wal_size_bytes", "Server setting", NULL);
COUNTER(wal_position, "pg_wal_position_bytes", "Position in the log: written, or of a standby replayed", NULL);
GAUGE(database_size, "pg_database_size_bytes", "Size of a database on disk", "datname");
GAUGE(backends, "pg_stat_database_numbackends", "Sessions of a database", "datname");
GAUGE(activity, "pg_stat_activity_count", "Sessions by state", "datname", "state");
GAUGE(longest, "pg_stat_activity_max_tx_duration", "Age in seconds of the oldest transaction, by state", "datname",
      "state");
GAUGE(locks, "pg_locks_count", "Locks held or awaited", "datname", "mode");
GAUGE(standby_lag, "pg_stat_replication_pg_wal_lsn_diff", "Bytes that a standby has not replayed", "application_name",
      "client_addr", "state", "slot_name");
GAUGE(standby_seconds, "pg_stat_replication_replay_lag_seconds", "Seconds until a commit is replayed by a standby",
      "application_name", "client_addr", "state", "slot_name");
GAUGE(slot_active, "pg_replication_slot_slot_is_active", "Whether a standby uses the slot", "slot_name");
GAUGE(slot_retained, "pg_replication_slot_retained_wal_bytes", "Log that is kept for the slot", "slot_name",
      "wal_status");
COUNTER(timed, "pg_stat_bgwriter_checkpoints_timed_total", "Checkpoints that were due", NULL);
COUNTER(requested, "pg_stat_bgwriter_checkpoints_req_total", "Checkpoints that were asked for", NULL);
COUNTER(write_time, "pg_stat_bgwriter_checkpoint_write_time_total", "Milliseconds of writing in checkpoints", NULL);
COUNTER(sync_time, "pg_stat_bgwriter_checkpoint_sync_time_total", "Milliseconds of syncing in checkpoints", NULL);
COUNTER(checkpoint_buffers, "pg_stat_bgwriter_buffers_checkpoint_total", "Buffers written by checkpoints", NULL);
COUNTER(clean_buffers, "pg_stat_bgwriter_buffers_clean_total", "Buffers written in the background", NULL);
COUNTER(allocated, "pg_stat_bgwriter_buffers_alloc_total", "Buffers allocated", NULL);

/* Counters of pg_stat_database, one family a member. */
static const struct {
    struct sample_family family;
    size_t offset;
} database_counters[] = {
#define OF(name_, help_, member)                                                                                       \
    {                                                                                                                  \
        {.name = "pg_stat_database_" name_, .help = help_, .is_counter = true, .labels = {"datname"}},                 \
            offsetof(struct database_row, member)                                                                      \
    }
    OF("xact_commit", "Transactions committed", commits),
    OF("xact_rollback", "Transactions rolled back", rollbacks),
    OF("blks_read", "Blocks read from disk", blocks_read),
    OF("blks_hit", "Blocks found in memory", blocks_hit),
    OF("tup_returned", "Rows read", returned),
    OF("tup_fetched", "Rows fetched by queries", fetched),
    OF("tup_inserted", "Rows inserted", inserted),
    OF("tup_updated", "Rows updated", updated),
    OF("tup_deleted", "Rows deleted", deleted),
    OF("conflicts", "Queries of a standby that were in the way of replaying", conflicts),
    OF("temp_files", "Temporary files", temp_files),
    OF("temp_bytes", "Bytes in temporary files", temp_bytes),
    OF("deadlocks", "Deadlocks", deadlocks),
#undef OF
};

static int add(struct samples *samples, const struct sample_family *family, double value)
{
    return samples_add(samples, family, value, NULL);
}

static int add_server(struct samples *samples, const struct server_row *server, bool is_replica)
{
    proa_str version[] = {proa_str_trim(server->version), server->version};
    ptrdiff_t space = proa_str_find_char(version[0], ' ');

    if (space > 0)
        version[0] = proa_str_slice(version[0], 0, (size_t)space);
    PROA_TRY(samples_add(samples, &info, 1, version));
    PROA_TRY(add(samples, &started, server->started_at));
    PROA_TRY(add(samples, &in_recovery, is_replica));
    PROA_TRY(add(samples, &lag_seconds, server->replay_seconds));
    PROA_TRY(add(samples, &max_connections, server->max_connections));
    PROA_TRY(add(samples, &reserved, server->reserved_connections));
    PROA_TRY(add(samples, &shared_buffers, server->shared_buffers_bytes));
    PROA_TRY(add(samples, &work_mem, server->work_mem_bytes));
    PROA_TRY(add(samples, &max_wal, server->max_wal_bytes));
    return add(samples, &wal_position, server->wal_bytes);
}

static int add_writer(struct samples *samples, const struct writer_row *writer)
{
    PROA_TRY(add(samples, &timed, writer->timed));
    PROA_TRY(add(samples, &requested, writer->requested));
    PROA_TRY(add(samples, &write_time, writer->write_ms));
    PROA_TRY(add(samples, &sync_time, writer->sync_ms));
    PROA_TRY(add(samples, &checkpoint_buffers, writer->checkpoint_buffers));
    PROA_TRY(add(samples, &clean_buffers, writer->clean_buffers));
    return add(samples, &allocated, writer->allocated);
}

static int add_databases(struct samples *samples, const struct metrics_answer *answer)
{
    for (size_t i = 0; i < answer->databases.len; i++) {
        const struct database_row *row = &answer->databases.ptr[i];

        PROA_TRY(samples_add(samples, &database_size, row->size, &row->name));
        PROA_TRY(samples_add(samples, &backends, row->backends, &row->name));
        for (size_t k = 0; k < PROA_COUNT(database_counters); k++) {
            double value;

            memcpy(&value, (const char *)row + database_counters[k].offset, sizeof value);
            PROA_TRY(samples_add(samples, &database_counters[k].family, value, &row->name));
        }
    }
    for (size_t i = 0; i < answer->activity.len; i++) {
        const struct activity_row *row = &answer->activity.ptr[i];
        proa_str labels[] = {row->name, row->state};

        PROA_TRY(samples_add(samples, &activity, row->count, labels));
        PROA_TRY(samples_add(samples, &longest, row->longest_seconds, labels));
    }
    for (size_t i = 0; i < answer->locks.len; i++) {
        const struct lock_row *row = &answer->locks.ptr[i];

        PROA_TRY(samples_add(samples, &locks, row->count, (proa_str[]){row->name, row->mode}));
    }
    return 0;
}

static int add_replication(struct samples *samples, const struct metrics_answer *answer)
{
    for (size_t i = 0; i < answer->standbys.len; i++) {
        const struct standby_row *row = &answer->standbys.ptr[i];
        proa_str labels[] = {row->name, row->address, row->state, row->slot};

        PROA_TRY(samples_add(samples, &standby_lag, row->lag_bytes, labels));
        PROA_TRY(samples_add(samples, &standby_seconds, row->lag_seconds, labels));
    }
    for (size_t i = 0; i < answer->slots.len; i++) {
        const struct slot_row *row = &answer->slots.ptr[i];

        PROA_TRY(samples_add(samples, &slot_active, row->is_active, &row->name));
        PROA_TRY(samples_add(samples, &slot_retained, row->retained_bytes, (proa_str[]){row->name, row->wal_status}));
    }
    return 0;
}

int pg_read_metrics(struct proa_arena *arena, proa_str json, bool is_replica, struct samples *samples,
                    struct proa_error *err)
{
    struct metrics_answer answer = {0};

    PROA_TRY(proa_json_read(arena, json, PROA_JSON_LENIENT, &metrics_answer_type, &answer, err));
    PROA_TRY(add_server(samples, &answer.server, is_replica));
    PROA_TRY(add_writer(samples, &answer.writer));
    PROA_TRY(add_databases(samples, &answer));
    return add_replication(samples, &answer);
}

static bool has_checkpointer_view(const struct engine_status *own)
{
    uint64_t major = 0;
    proa_str rest = proa_str_c(own->version), text;

    return proa_str_split(&rest, '.', &text) && proa_str_to_u64(text, &major) == 0 && major >= 17;
}

static int ask(const struct instance *instance, struct proa_arena *arena, const struct engine_status *own,
               struct samples *samples, struct proa_error *err)
{
    struct child_result result = {0};
    struct proa_buf script;

    proa_buf_init(&script, arena, 0);
    proa_buf_printf(
        &script,
        "SELECT json_build_object('server', %s, 'writer', %s, 'databases', %s, 'activity', %s, 'locks', %s, "
        "'standbys', %s, 'slots', %s);\n",
        server_question, has_checkpointer_view(own) ? writer_question_new : writer_question_old, databases_question,
        activity_question, locks_question, standbys_question, slots_question);
    if (script.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(pg_run(instance, arena, PG_SUPERUSER, proa_buf_str(&script), &result, err));
    return pg_read_metrics(arena, result.output, !own->is_writable, samples, err);
}

int pg_collect(const struct instance *instance, const struct engine_status *own, struct samples *samples,
               struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, NULL, 0);
    return ask(instance, &arena, own, samples, err);
}

const struct sample_family pg_up = {.name = "pg_up", .help = "Whether the server answers"};
