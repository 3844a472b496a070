/* How the server is, whom it follows, and whether it ever can again. */
#include "mysql_internal.h"

#include <proa/file.h>
#include <stdio.h>

enum {
    LOGIN_FILE_MAX_BYTES = 4096,
    CONNECT_RETRY_S = 2,
    HEARTBEAT_S = 2,
    /* Numbers of errors of the receiver … */
    ER_SOURCE_FATAL = 1236,
    ER_SOURCE_FATAL_MYSQL = 13114,
};

/* -- Asking ---------------------------------------------------------------------------------------------------------- */

/* One row, and with a standby's receiver and applier a second result. What is between marks of comments, only the one or only the other
 * of MySQL and MariaDB sees. */
static const char question[] =
    "SELECT VERSION() AS version, @@global.read_only AS read_only, IFNULL((SELECT SUBSTRING_INDEX(table_comment, ' ', "
    "1) FROM information_schema.tables WHERE table_schema = '" MY_OWN_DATABASE "' AND table_name = 'identity'), '') AS "
    "identity, REPLACE(/*M! @@global.gtid_current_pos */ /*!80000 @@global.gtid_executed */, '\\n', '') AS position, "
    "/*M! '' */ /*!80000 REPLACE(@@global.gtid_purged, '\\n', '') */ AS oldest, %s AS size;\n"
    "SHOW REPLICA STATUS;\n";
/* The files of the tables: what is in memory, where information_schema.tables would open every one of them. */
static const char size_question[] =
    "(SELECT IFNULL(SUM(file_size), 0) FROM information_schema./*M! innodb_sys_tablespaces */"
    "/*!80000 innodb_tablespaces */)";

static void copy_text(char *out, size_t max, proa_str text)
{
    snprintf(out, max, PROA_FMT, PROA_ARG(text));
}

/* The same column under MySQL's or MariaDB's name. */
static proa_str either(const struct my_row *row, const char *mysql, const char *mariadb)
{
    proa_str value = my_value(row, mysql);

    return value.ptr ? value : my_value(row, mariadb);
}

static uint64_t number(proa_str text)
{
    uint64_t value = 0;

    proa_ignore(proa_str_to_u64(text, &value)); /* "NULL": 0 */
    return value;
}

/* Exact within one of the primary's binary logs; else what lies in the relay logs, which may be a little too much. */
static uint64_t behind_bytes(const struct my_row *row)
{
    uint64_t received = number(either(row, "Read_Source_Log_Pos", "Read_Master_Log_Pos"));
    uint64_t applied = number(either(row, "Exec_Source_Log_Pos", "Exec_Master_Log_Pos"));

    if (!proa_str_eq(either(row, "Source_Log_File", "Master_Log_File"),
                     either(row, "Relay_Source_Log_File", "Relay_Master_Log_File")))
        return my_number(row, "Relay_Log_Space");
    return received > applied ? received - applied : 0;
}

static void take_replica(const struct my_row *row, struct my_replica *replica)
{
    *replica = (struct my_replica){
        .is_set_up = true,
        .host = either(row, "Source_Host", "Master_Host"),
        .port = number(either(row, "Source_Port", "Master_Port")),
        .io_running = either(row, "Replica_IO_Running", "Slave_IO_Running"),
        .sql_running = either(row, "Replica_SQL_Running", "Slave_SQL_Running"),
        .io_errno = (unsigned)my_number(row, "Last_IO_Errno"),
        .sql_errno = (unsigned)my_number(row, "Last_SQL_Errno"),
        .io_error = my_value(row, "Last_IO_Error"),
        .sql_error = my_value(row, "Last_SQL_Error"),
        .seconds_behind = either(row, "Seconds_Behind_Source", "Seconds_Behind_Master"),
        .behind_bytes = behind_bytes(row),
    };
    /* A dump's CHANGE MASTER without a host leaves an empty row. */
    if (replica->host.len == 0 || proa_str_eq_c(replica->host, "NULL"))
        replica->is_set_up = false;
}

static bool is_yes(proa_str text)
{
    return proa_str_eq_c(text, "Yes");
}

int my_read_status(proa_str output, struct engine_status *ret_status, struct my_replica *ret_replica,
                   struct proa_error *err)
{
    struct engine_status status = {0};
    struct my_replica replica = {0};
    struct my_row row;
    proa_str version;

    if (!my_begin_rows(&output, &row) || !my_next_row(&output, &row) || !my_value(&row, "size").ptr)
        return proa_fail(err, PROA_ESYNTAX, "the client printed no answer");
    status.is_writable = proa_str_eq_c(my_value(&row, "read_only"), "0") ||
                         proa_str_eq_nocase(my_value(&row, "read_only"), PROA_STR("OFF"));
    version = my_value(&row, "version");
    if (proa_str_find_char(version, '-') >= 0)
        version.len = (size_t)proa_str_find_char(version, '-');
    copy_text(status.version, sizeof status.version, version);
    copy_text(status.identity, sizeof status.identity, my_value(&row, "identity"));
    copy_text(status.position, sizeof status.position, my_value(&row, "position"));
    copy_text(status.oldest, sizeof status.oldest, my_value(&row, "oldest"));
    status.size_bytes = my_number(&row, "size");
    if (my_begin_rows(&output, &row) && my_next_row(&output, &row))
        take_replica(&row, &replica);
    if (replica.is_set_up) {
        status.is_streaming = is_yes(replica.io_running) && is_yes(replica.sql_running);
        status.has_lag = status.is_streaming && !proa_str_eq_c(replica.seconds_behind, "NULL");
        status.lag_ms = status.has_lag ? number(replica.seconds_behind) * 1000 : 0;
        status.lag_bytes = status.has_lag ? replica.behind_bytes : 0;
    }
    *ret_status = status;
    *ret_replica = replica;
    return 0;
}

static int ask(const struct instance *instance, struct proa_arena *arena, bool with_size,
               struct engine_status *ret_status, struct my_replica *ret_replica, struct proa_error *err)
{
    proa_str script = proa_arena_printf(arena, question, with_size ? size_question : "0"), output;

    if (!script.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(my_run(instance, arena, script, &output, err));
    return my_read_status(output, ret_status, ret_replica, err);
}

int my_ask(const struct instance *instance, bool with_size, struct engine_status *ret_status, struct proa_error *err)
{
    struct my_replica replica;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, NULL, 0);
    return ask(instance, &arena, with_size, ret_status, &replica, err);
}

/* -- Following ------------------------------------------------------------------------------------------------------- */

/* The options file holds what the server was told last; one that is not there, as in a new pod, differs. */
static bool is_told(const struct instance *instance, struct proa_arena *arena, const struct my_login *source)
{
    const char *path = instance_run_path(arena, instance, MY_SOURCE_FILE);
    struct proa_buf wanted;
    proa_str content;

    proa_buf_init(&wanted, arena, 0);
    my_add_login(&wanted, instance, source);
    return path && wanted.error == 0 &&
           proa_file_read(instance->loop, arena, path, LOGIN_FILE_MAX_BYTES, &content, NULL) == 0 &&
           proa_str_eq_secret(content, proa_buf_str(&wanted));
}

/* MySQL's are encrypted by the certificate that the server makes itself, which nobody can check; MariaDB's before 11.4 are not. */
static void add_change(struct proa_buf *out, const struct instance *instance, const struct my_login *source,
                       bool is_mariadb)
{
    const char *prefix = is_mariadb ? "MASTER" : "SOURCE";

    proa_buf_printf(out, "STOP REPLICA;\nCHANGE %s TO %s_HOST = '%s', %s_PORT = %u, %s_USER = '" PROA_FMT "', ",
                    is_mariadb ? "MASTER" : "REPLICATION SOURCE", prefix, source->host, prefix, my_port(instance),
                    prefix, PROA_ARG(source->user));
    proa_buf_printf(out, "%s_PASSWORD = '" PROA_FMT "', %s_CONNECT_RETRY = %d, %s_HEARTBEAT_PERIOD = %d, ", prefix,
                    PROA_ARG(source->password), prefix, CONNECT_RETRY_S, prefix, HEARTBEAT_S);
    proa_buf_add_c(out, is_mariadb ? "MASTER_USE_GTID = slave_pos;\n"
                                   : "SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 1, GET_SOURCE_PUBLIC_KEY = 1, "
                                     "SOURCE_RETRY_COUNT = 0;\n");
}

static int follow(const struct instance *instance, struct proa_arena *arena, struct proa_error *err)
{
    struct engine_status status;
    struct my_replica replica = {0};
    struct my_login source = {0};
    struct proa_buf script;
    bool is_same;

    PROA_TRY(my_source_login(instance, arena, &source, err));
    PROA_TRY(ask(instance, arena, false, &status, &replica, err));
    is_same = replica.is_set_up && proa_str_eq_c(replica.host, source.host) && replica.port == my_port(instance) &&
              is_told(instance, arena, &source);
    if (is_same && !proa_str_eq_c(replica.io_running, "No") && is_yes(replica.sql_running))
        return 0;
    proa_buf_init(&script, arena, 0);
    if (!is_same)
        add_change(&script, instance, &source, my_is_mariadb(instance, arena));
    proa_buf_add_c(&script, "START REPLICA;\n");
    if (script.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(my_run(instance, arena, proa_buf_str(&script), NULL, err));
    return is_same ? 0 : my_write_source(instance, arena, err);
}

int my_follow(const struct instance *instance, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, NULL, 0);
    return follow(instance, &arena, err);
}

/* -- Judging --------------------------------------------------------------------------------------------------------- */

/* What the applier cannot do because the data here are not what the primary's were: it never will. Others (a full disk, a lock) may pass. */
static bool is_divergence(unsigned error)
{
    static const unsigned errors[] = {
        1007, 1008, 1049,             /* a database is there, or is not */
        1050, 1051, 1146,             /* a table */
        1054, 1060, 1061, 1072, 1091, /* a column, a key */
        1032, 1062,                   /* a row */
        1396,                         /* an account */
        1451, 1452,                   /* a foreign key */
        1950,                         /* a GTID out of order: somebody wrote here */
    };

    for (size_t i = 0; i < PROA_COUNT(errors); i++)
        if (errors[i] == error)
            return true;
    return false;
}

/* An incident at the primary; a relay log that cannot be read. */
static bool is_broken_log(unsigned error)
{
    return error == 1590 || error == 1594;
}

/* What is here and not at the primary may be what the primary has lost: its volume went back. */
enum verdict my_verdict_of(const struct my_replica *replica, const char **ret_why)
{
    *ret_why = "";
    if (replica->io_errno == ER_SOURCE_FATAL || replica->io_errno == ER_SOURCE_FATAL_MYSQL) {
        /* The primary has not noticed yet that an earlier connection of this instance is gone. */
        if (proa_str_find(replica->io_error, PROA_STR("same server_")) >= 0)
            return VERDICT_WAIT;
        if (proa_str_find(replica->io_error, PROA_STR("purged")) >= 0) {
            *ret_why = "the primary has purged binary logs that it needs";
            return VERDICT_LOST;
        }
        *ret_why = "the primary's binary logs do not continue its own";
        return VERDICT_FOREIGN;
    }
    if (is_broken_log(replica->sql_errno)) {
        *ret_why = "what it has received cannot be applied";
        return VERDICT_LOST;
    }
    if (is_divergence(replica->sql_errno)) {
        *ret_why = "its rows are not those of the primary";
        return VERDICT_FOREIGN;
    }
    return VERDICT_WAIT;
}

/* MySQL: transactions here that the primary lacks. MariaDB's receiver is told so by the primary. */
static int has_errant(const struct instance *instance, struct proa_arena *arena, const struct primary_status *primary,
                      bool *ret_has, struct proa_error *err)
{
    struct proa_buf script;
    struct my_row row;
    proa_str output;

    *ret_has = false;
    /* Cut off: says nothing. */
    if (my_is_mariadb(instance, arena) || strlen(primary->engine.position) + 1 >= POSITION_MAX)
        return 0;
    proa_buf_init(&script, arena, 0);
    proa_buf_add_c(&script, "SELECT GTID_SUBSET(@@global.gtid_executed, ");
    my_add_literal(&script, proa_str_c(primary->engine.position));
    proa_buf_add_c(&script, ") AS is_subset;\n");
    if (script.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(my_run(instance, arena, proa_buf_str(&script), &output, err));
    *ret_has =
        my_begin_rows(&output, &row) && my_next_row(&output, &row) && proa_str_eq_c(my_value(&row, "is_subset"), "0");
    return 0;
}

/* A receiver or applier that gave up over something that may pass is started again. */
static int judge(const struct instance *instance, struct proa_arena *arena, const struct primary_status *primary,
                 enum verdict *ret_verdict, const char **ret_why, struct proa_error *err)
{
    struct engine_status status;
    struct my_replica replica = {0};
    bool has_more;

    PROA_TRY(ask(instance, arena, false, &status, &replica, err));
    *ret_verdict = my_verdict_of(&replica, ret_why);
    if (*ret_verdict != VERDICT_WAIT || !replica.is_set_up)
        return 0;
    PROA_TRY(has_errant(instance, arena, primary, &has_more, err));
    if (has_more) {
        *ret_verdict = VERDICT_FOREIGN;
        *ret_why = "it has transactions that the primary lacks";
        return 0;
    }
    if (!proa_str_eq_c(replica.io_running, "No") && is_yes(replica.sql_running))
        return 0;
    PROA_WARN(instance->logger, "replication had stopped, and is started again",
              proa_kv_str("io_error", replica.io_error), proa_kv_str("sql_error", replica.sql_error));
    return my_run(instance, arena, PROA_STR("START REPLICA;\n"), NULL, err);
}

int my_judge(const struct instance *instance, const struct engine_status *own, const struct primary_status *primary,
             enum verdict *ret_verdict, const char **ret_why, struct proa_error *err)
{
    struct proa_arena arena;
    int rc;

    *ret_verdict = VERDICT_WAIT;
    *ret_why = "";
    if (own->identity[0] && primary->engine.identity[0] && strcmp(own->identity, primary->engine.identity) != 0) {
        *ret_verdict = VERDICT_FOREIGN;
        *ret_why = "the primary's database is another one";
        return 0;
    }
    proa_arena_init(&arena, NULL, 0);
    rc = judge(instance, &arena, primary, ret_verdict, ret_why, err);
    proa_arena_done(&arena);
    return rc;
}
