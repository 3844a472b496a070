/* MySQL and MariaDB: asynchronous replicas by GTID. */
#include "engine.h"

static const char *const owned[] = {"bind_address",
                                    "port",
                                    "socket",
                                    "datadir",
                                    "pid_file",
                                    "server_id",
                                    "log_bin",
                                    "gtid_mode",
                                    "enforce_gtid_consistency",
                                    "log_replica_updates",
                                    "log_slave_updates",
                                    "read_only",
                                    "super_read_only",
                                    "skip_replica_start",
                                    "skip_slave_start",
                                    "relay_log",
                                    "report_host",
                                    "log_error",
                                    "user",
                                    "secure_file_priv",
                                    "sync_binlog",
                                    "innodb_flush_log_at_trx_commit",
                                    "skip_networking",
                                    "skip_name_resolve",
                                    NULL};

static bool is_key(proa_str key)
{
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];

        if (!(c >= 'a' && c <= 'z') && (i == 0 || !((c >= '0' && c <= '9') || c == '_')))
            return false;
    }
    return key.len > 0;
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

/* "loose" settings are of one of the two only; the server_id and who may write are the agent's. */
static void write_settings(struct proa_buf *out, proa_str name)
{
    (void)name;
    proa_buf_add_c(out, "[mysqld]\n"
                        "bind_address = *\n"
                        "port = 3306\n"
                        "datadir = " DATABASE_DATA_DIR "\n"
                        "socket = " DATABASE_RUN_DIR "/mysqld.sock\n"
                        "pid_file = " DATABASE_RUN_DIR "/mysqld.pid\n"
                        "log_bin = binlog\n"
                        "relay_log = relay\n"
                        "sync_binlog = 1\n"
                        "innodb_flush_log_at_trx_commit = 1\n"
                        "skip_name_resolve = ON\n"
                        "skip_slave_start = ON\n"
                        "log_slave_updates = ON\n"
                        "loose_gtid_mode = ON\n"
                        "loose_enforce_gtid_consistency = ON\n"
                        "loose_gtid_strict_mode = ON\n"
                        "loose_mysqlx = OFF\n"
                        "secure_file_priv = " DATABASE_RUN_DIR "\n");
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
    .is_key = is_key,
    .write_settings = write_settings,
    .write_parameter = write_parameter,
};
