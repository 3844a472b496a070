/* PostgreSQL: streaming standbys by replication slots. */
#include "engine.h"

enum { WAL_SHARE = 8, WAL_MB_MIN = 64, WAL_MB_MAX = 1024 };

static const char *const owned[] = {"listen_addresses",
                                    "port",
                                    "unix_socket_directories",
                                    "data_directory",
                                    "config_file",
                                    "hba_file",
                                    "ident_file",
                                    "external_pid_file",
                                    "include",
                                    "include_dir",
                                    "include_if_exists",
                                    "wal_level",
                                    "max_wal_senders",
                                    "max_replication_slots",
                                    "hot_standby",
                                    "primary_conninfo",
                                    "primary_slot_name",
                                    "restore_command",
                                    "recovery_target",
                                    "recovery_target_action",
                                    "recovery_target_inclusive",
                                    "recovery_target_lsn",
                                    "recovery_target_name",
                                    "recovery_target_time",
                                    "recovery_target_timeline",
                                    "recovery_target_xid",
                                    "recovery_end_command",
                                    "archive_cleanup_command",
                                    "promote_trigger_file",
                                    "synchronous_standby_names",
                                    "cluster_name",
                                    "logging_collector",
                                    "log_destination",
                                    "wal_log_hints",
                                    "archive_mode",
                                    "archive_command",
                                    "password_encryption",
                                    "fsync",
                                    "full_page_writes",
                                    NULL};

static bool is_lower(char c)
{
    return (c >= 'a' && c <= 'z') || c == '_';
}

/* name, or extension.name */
static bool is_key(proa_str key)
{
    size_t dots = 0;

    for (size_t i = 0; i < key.len; i++) {
        bool begins = i == 0 || key.ptr[i - 1] == '.';

        if (key.ptr[i] == '.' && !begins && i + 1 < key.len)
            dots++;
        else if (!is_lower(key.ptr[i]) && (begins || key.ptr[i] < '0' || key.ptr[i] > '9'))
            return false;
    }
    return key.len > 0 && dots <= 1;
}

static void write_parameter(struct proa_buf *out, proa_str key, proa_str value)
{
    proa_buf_add(out, key);
    proa_buf_add_c(out, " = '");
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '\'' || value.ptr[i] == '\\')
            proa_buf_add_char(out, value.ptr[i]);
        proa_buf_add_char(out, value.ptr[i]);
    }
    proa_buf_add_c(out, "'\n");
}

/* An eighth of the volume each for what a slot holds and for what lies between checkpoints, or one standby that is away, or one large load,
 * would fill the primary's volume and end it. A standby that is away too long is copied anew instead. A change of these restarts nothing, so a
 * volume that grows needs no restart either: they hold from the next one on. */
static void write_wal_limits(struct proa_buf *out, const struct database_spec *spec)
{
    uint64_t bytes = 0, limit = WAL_MB_MAX;

    if (proa_bytes_parse(spec->storage_size, &bytes) == 0)
        limit = (bytes >> 20) / WAL_SHARE;
    limit = limit < WAL_MB_MIN ? WAL_MB_MIN : limit > WAL_MB_MAX ? WAL_MB_MAX : limit;
    proa_buf_printf(out, "max_slot_wal_keep_size = '%lluMB'\n", (unsigned long long)limit);
    proa_buf_printf(out, "max_wal_size = '%lluMB'\n", (unsigned long long)limit);
    proa_buf_printf(out, "min_wal_size = '%lluMB'\n", (unsigned long long)(limit / 2 < 80 ? limit / 2 : 80));
    proa_buf_printf(out, "wal_keep_size = '%lluMB'\n", (unsigned long long)(limit / 8));
}

/* The numbers do not depend on `replicas`, so that scaling restarts nothing. */
static void write_settings(struct proa_buf *out, proa_str name, const struct database_spec *spec)
{
    proa_buf_add_c(out, "listen_addresses = '*'\n"
                        "port = 5432\n"
                        "unix_socket_directories = '" DATABASE_RUN_DIR "'\n"
                        "password_encryption = 'scram-sha-256'\n"
                        "wal_level = replica\n"
                        "wal_log_hints = on\n"
                        "hot_standby = on\n"
                        "max_wal_senders = 20\n"
                        "max_replication_slots = 20\n"
                        "recovery_target_timeline = 'latest'\n"
                        "logging_collector = off\n"
                        "log_destination = 'stderr'\n");
    write_wal_limits(out, spec);
    write_parameter(out, PROA_STR("cluster_name"), name);
}

const struct engine engine_postgres = {
    .id = ENGINE_POSTGRES,
    .name = "postgres",
    .port_name = "postgres",
    .port = 5432,
    .uid = 999,
    .major_min = 14,
    .major_max = 18,
    .image = "postgres:{version}",
    .owned_parameters = owned,
    .server_command = "postgres",
    .init_command = "initdb",
    .client_command = "psql",
    .why_not_user = pg_why_not_user,
    .is_key = is_key,
    .write_settings = write_settings,
    .write_parameter = write_parameter,
};
