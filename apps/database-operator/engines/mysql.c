/* MySQL and MariaDB: asynchronous replicas by GTID. */
#include "engine.h"

static const char *const owned[] = {"aria_log_dir_path",
                                    "bind_address",
                                    "binlog_do_db",
                                    "binlog_ignore_db",
                                    "bootstrap",
                                    "datadir",
                                    "enforce_gtid_consistency",
                                    "gtid_domain_id",
                                    "gtid_mode",
                                    "gtid_strict_mode",
                                    "init_file",
                                    "initialize",
                                    "initialize_insecure",
                                    "innodb_data_home_dir",
                                    "innodb_flush_log_at_trx_commit",
                                    "innodb_log_group_home_dir",
                                    "innodb_undo_directory",
                                    "log_bin",
                                    "log_error",
                                    "log_replica_updates",
                                    "log_slave_updates",
                                    "pid_file",
                                    "port",
                                    "read_only",
                                    "relay_log",
                                    "relay_log_recovery",
                                    "replica_skip_errors",
                                    "replicate_do_db",
                                    "replicate_do_table",
                                    "replicate_ignore_db",
                                    "replicate_ignore_table",
                                    "replicate_wild_do_table",
                                    "replicate_wild_ignore_table",
                                    "report_host",
                                    "secure_file_priv",
                                    "server_id",
                                    "skip_grant_tables",
                                    "skip_name_resolve",
                                    "skip_networking",
                                    "skip_replica_start",
                                    "skip_slave_start",
                                    "slave_skip_errors",
                                    "socket",
                                    "super_read_only",
                                    "sync_binlog",
                                    "user",
                                    NULL};

static bool is_name(proa_str key)
{
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];

        if (!(c >= 'a' && c <= 'z') && (i == 0 || !((c >= '0' && c <= '9') || c == '_')))
            return false;
    }
    return key.len > 0;
}

/* The server understands more than one way to write a setting: with a prefix, and, MariaDB, by its beginning alone. Here there is one, or
 * what the operator owns could be written in another. */
static bool is_key(proa_str key)
{
    static const char *const prefixes[] = {"loose_", "enable_", "disable_", "maximum_"};
    static const proa_str skip = PROA_STR_INIT("skip_");
    proa_str skipped = proa_str_starts_with(key, skip) ? proa_str_slice(key, skip.len, key.len) : (proa_str){0};

    for (size_t i = 0; i < PROA_COUNT(prefixes); i++)
        if (proa_str_starts_with(key, proa_str_c(prefixes[i])))
            return false;
    for (const char *const *name = owned; *name; name++)
        if (proa_str_eq_c(skipped, *name) || (key.len < strlen(*name) && proa_str_starts_with(proa_str_c(*name), key)))
            return engine_owns(&engine_mysql, key); /* "initialize" begins another one: told to be the operator's */
    return is_name(key);
}

/* Double quotes, in which a backslash escapes. */
static void write_parameter(struct proa_buf *out, proa_str key, proa_str value)
{
    proa_buf_add(out, key);
    proa_buf_add_c(out, " = \"");
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '"' || value.ptr[i] == '\\')
            proa_buf_add_char(out, '\\');
        proa_buf_add_char(out, value.ptr[i]);
    }
    proa_buf_add_c(out, "\"\n");
}

/* "loose" settings are of one of the two, or of some versions, only. The server's id, who may write, and the rest of what differs between
 * instances are the agent's. A binary log's size and age are bounded, or a volume would fill: a standby that is away longer is copied
 * anew. */
static void write_settings(struct proa_buf *out, proa_str name, const struct database_spec *spec)
{
    (void)name;
    (void)spec;
    proa_buf_add_c(
        out, "[mysqld]\n"
             "bind_address = *\n"
             "port = 3306\n"
             "datadir = " DATABASE_DATA_DIR "\n"
             "socket = " DATABASE_RUN_DIR "/mysqld.sock\n"
             "pid_file = " DATABASE_RUN_DIR "/mysqld.pid\n"
             "secure_file_priv = " DATABASE_RUN_DIR "\n"
             "skip_name_resolve = ON\n"
             "loose_mysqlx = OFF\n"
             "character_set_server = utf8mb4\n"
             "log_bin = binlog\n"
             "max_binlog_size = 100M\n"
             "binlog_expire_logs_seconds = 259200\n"
             "sync_binlog = 1\n"
             "innodb_flush_log_at_trx_commit = 1\n"
             "loose_gtid_mode = ON\n"
             "loose_enforce_gtid_consistency = ON\n"
             "loose_gtid_strict_mode = ON\n"
             "relay_log = relay\n"
             "relay_log_recovery = ON\n"
             "loose_log_slave_updates = ON\n"
             "loose_skip_slave_start = ON\n"
             "loose_skip_replica_start = ON\n"
             /* A connection that is cut without a word is noticed soon; a standby that is being copied may be slow. */
             "loose_slave_net_timeout = 20\n"
             "loose_replica_net_timeout = 20\n"
             "net_write_timeout = 600\n");
}

const struct engine engine_mysql = {
    .id = ENGINE_MYSQL,
    .name = "mysql",
    .port_name = "mysql",
    .port = 3306,
    .uid = 999,
    .major_min = 8,
    .major_max = 12,
    .image = "mysql:{version}",
    .owned_parameters = owned,
    .server_command = "mysqld",
    .init_command = "mysqld",
    .client_command = "mysql",
    .why_not_user = my_why_not_user,
    .is_key = is_key,
    .write_settings = write_settings,
    .write_parameter = write_parameter,
};
