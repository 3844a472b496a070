/* The driver of MySQL and MariaDB: what it makes of the client's output. Lines are as MariaDB 10.11 and MySQL 9.7 printed them. */
#include "unit.h"

#include "agent/mysql_internal.h"

#define MARIADB_NAMES                                                                                                  \
    "Slave_IO_State\tMaster_Host\tMaster_User\tMaster_Port\tConnect_Retry\tMaster_Log_File\tRead_Master_Log_Pos\t"     \
    "Relay_Log_File\tRelay_Log_Pos\tRelay_Master_Log_File\tSlave_IO_Running\tSlave_SQL_Running\tLast_Errno\t"          \
    "Exec_Master_Log_Pos\tRelay_Log_Space\tSeconds_Behind_Master\tLast_IO_Errno\tLast_IO_Error\tLast_SQL_Errno\t"      \
    "Last_SQL_Error\tGtid_IO_Pos\n"
#define MYSQL_NAMES                                                                                                    \
    "Replica_IO_State\tSource_Host\tSource_User\tSource_Port\tConnect_Retry\tSource_Log_File\tRead_Source_Log_Pos\t"   \
    "Relay_Log_File\tRelay_Log_Pos\tRelay_Source_Log_File\tReplica_IO_Running\tReplica_SQL_Running\tLast_Errno\t"      \
    "Exec_Source_Log_Pos\tRelay_Log_Space\tSeconds_Behind_Source\tLast_IO_Errno\tLast_IO_Error\tLast_SQL_Errno\t"      \
    "Last_SQL_Error\tSource_UUID\n"
#define STATUS_NAMES "version\tread_only\tidentity\tposition\toldest\tsize\n"

static struct engine_status read_status(const char *output, struct my_replica *ret_replica)
{
    struct engine_status status;
    struct proa_error err = {0};

    if (my_read_status(proa_str_c(output), &status, ret_replica, &err) < 0)
        fail_msg("%s", err.message);
    return status;
}

static void a_primary(void **state)
{
    struct my_replica replica;
    struct engine_status status =
        read_status(STATUS_NAMES "10.11.19-MariaDB-0+deb12u1-log\t0\t1f4e2ddc\t0-1864841785-9\t\t4711\n", &replica);

    (void)state;
    assert_true(status.is_writable);
    assert_false(status.is_streaming || status.has_lag || replica.is_set_up);
    assert_string_equal(status.version, "10.11.19");
    assert_string_equal(status.identity, "1f4e2ddc");
    assert_string_equal(status.position, "0-1864841785-9");
    assert_int_equal(status.size_bytes, 4711);
}

static void a_standby_of_mariadb(void **state)
{
    struct my_replica replica;
    struct engine_status status = read_status(
        STATUS_NAMES
        "11.8.2-MariaDB\t1\t1f4e2ddc\t0-1864841785-9\t\t0\n" MARIADB_NAMES
        "Waiting for master to send event\tshop-0\treplicator\t3306\t2\tbinlog.000001\t2108\trelay.000002\t664\t"
        "binlog.000001\tYes\tYes\t0\t2008\t963\t3\t0\t\t0\t\t0-1864841785-9\n",
        &replica);

    (void)state;
    assert_true(!status.is_writable && status.is_streaming && status.has_lag);
    assert_int_equal(status.lag_ms, 3000);
    assert_int_equal(status.lag_bytes, 100);
    assert_true(replica.is_set_up && proa_str_eq_c(replica.host, "shop-0") && replica.port == 3306);
}

static void a_standby_of_mysql(void **state)
{
    struct my_replica replica;
    struct engine_status status = read_status(
        STATUS_NAMES
        "9.7.4-2\t1\tabc\t1f5384bb-e903-11f1-97d9-02fc00000001:1-7\t1f5384bb-e903-11f1-97d9-02fc00000001:1-"
        "3\t0\n" MYSQL_NAMES
        "\tshop-0\treplicator\t3306\t2\tbinlog.000003\t418\trelay.000002\t413\tbinlog.000002\tConnecting\tYes\t0\t"
        "1918\t614\tNULL\t2003\tError connecting to source\\n'replicator@shop-0'\t0\t\t1f5384bb\n",
        &replica);

    (void)state;
    assert_false(status.is_streaming || status.has_lag);
    assert_string_equal(status.oldest, "1f5384bb-e903-11f1-97d9-02fc00000001:1-3");
    assert_int_equal(replica.io_errno, 2003);
    assert_true(proa_str_eq_c(replica.io_error, "Error connecting to source\\n'replicator@shop-0'"));
    /* In different logs of the primary: all that is in the relay logs. */
    assert_int_equal(replica.behind_bytes, 614);
}

static void what_is_no_answer(void **state)
{
    static const char *const outputs[] = {"", "\n", STATUS_NAMES, "version\tread_only\n1\t1\n", "\t\t\n\t\t\n"};
    struct engine_status status;
    struct my_replica replica;

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(outputs); i++)
        assert_int_equal(my_read_status(proa_str_c(outputs[i]), &status, &replica, NULL), PROA_ESYNTAX);
}

/* After a dump was taken in, MariaDB has a row for a primary without a name. */
static void a_row_without_a_host(void **state)
{
    struct my_replica replica;

    (void)state;
    read_status(STATUS_NAMES "10.11.19-MariaDB\t1\t\t\t\t0\n" MARIADB_NAMES
                             "\t\t\t3306\t60\t\t4\t\t4\t\tNo\tNo\t0\t4\t256\tNULL\t0\t\t0\t\t\n",
                &replica);
    assert_false(replica.is_set_up);
}

static void verdicts(void **state)
{
    static const struct {
        unsigned io, sql;
        const char *io_error;
        enum verdict verdict;
        const char *why;
    } cases[] = {
        {0, 0, "", VERDICT_WAIT, ""},
        {2003, 0, "error connecting to master 'replicator@shop-0:3306'", VERDICT_WAIT, ""},
        {1045, 0, "Access denied", VERDICT_WAIT, ""},
        {1236, 0,
         "Got fatal error 1236 from master when reading data from binary log: 'Could not find GTID state requested by "
         "slave "
         "in any binlog files. Probably the slave state is too old and required binlog files have been purged.'",
         VERDICT_LOST, "the primary has purged binary logs that it needs"},
        {13114, 0,
         "Got fatal error 1236 from source when reading data from binary log: 'Cannot replicate because the source "
         "purged "
         "required binary logs.'",
         VERDICT_LOST, "the primary has purged binary logs that it needs"},
        {1236, 0,
         "Got fatal error 1236 from master when reading data from binary log: 'Error: connecting slave requested to "
         "start "
         "from GTID 0-1-100, which is not in the master's binlog.'",
         VERDICT_FOREIGN, "the primary's binary logs do not continue its own"},
        {1236, 0, "A slave with the same server_uuid/server_id as this slave has connected to the master", VERDICT_WAIT,
         ""},
        {0, 1062, "", VERDICT_FOREIGN, "its rows are not those of the primary"},
        {0, 1032, "", VERDICT_FOREIGN, "its rows are not those of the primary"},
        {0, 1050, "", VERDICT_FOREIGN, "its rows are not those of the primary"},
        {0, 1594, "", VERDICT_LOST, "what it has received cannot be applied"},
        {0, 1205, "", VERDICT_WAIT, ""}, /* a lock */
        {0, 1114, "", VERDICT_WAIT, ""}, /* a full disk */
    };

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        struct my_replica replica = {.is_set_up = true,
                                     .io_errno = cases[i].io,
                                     .sql_errno = cases[i].sql,
                                     .io_error = proa_str_c(cases[i].io_error)};
        const char *why;

        assert_int_equal(my_verdict_of(&replica, &why), cases[i].verdict);
        assert_string_equal(why, cases[i].why);
    }
}

static void another_database(void **state)
{
    struct engine_status own = {.identity = "a"};
    struct primary_status primary = {.is_ready = true, .engine = {.identity = "b"}};
    enum verdict verdict;
    const char *why;

    (void)state;
    assert_int_equal(my_judge(NULL, &own, &primary, &verdict, &why, NULL), 0);
    assert_int_equal(verdict, VERDICT_FOREIGN);
}

static void users(void **state)
{
    static const char *const bad[] = {"",          "root",        "ROOT",       "replicator",
                                      "mysql.sys", "mariadb.sys", "proa_setup", "a-name-of-more-than-thirty-two-bytes"};

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(bad); i++)
        if (!my_why_not_user(proa_str_c(bad[i])))
            fail_msg("\"%s\"", bad[i]);
    assert_null(my_why_not_user(PROA_STR("app")));
    assert_null(my_why_not_user(PROA_STR("it's")));
}

static void literals(void **state)
{
    struct proa_buf out = {0};

    (void)state;
    my_add_literal(&out, PROA_STR("a'b\\c\"d"));
    assert_true(proa_str_eq_c(proa_buf_str(&out), "'a\\'b\\\\c\"d'"));
    proa_buf_done(&out);
}

/* -- Metrics --------------------------------------------------------------------------------------------------------- */

#define LOGS "Log_name\tFile_size\tEncrypted\nbinlog.000007\t100\tNo\nbinlog.000008\t200\tNo\nbinlog.000009\t300\tNo\n"

static double value_of(const struct samples *samples, const char *name, const char *label)
{
    for (size_t i = 0; i < samples->len; i++)
        if (strcmp(samples->ptr[i].family->name, name) == 0 &&
            (!label || proa_str_eq_c(samples->ptr[i].labels[0], label)))
            return samples->ptr[i].value;
    fail_msg("no %s{%s}", name, label ? label : "");
    return 0;
}

static void metrics(void **state)
{
    struct proa_arena arena;
    struct samples samples = {.arena = &arena};
    struct proa_error err = {0};
    proa_str first_log;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(
        my_read_metrics(
            PROA_STR(LOGS MYSQL_NAMES
                     "Waiting\tshop-0\treplicator\t3306\t2\tbinlog.000003\t418\trelay.000002\t413\tbinlog.000002\t"
                     "Yes\tNo\t0\t1918\t614\tNULL\t0\t\t1062\tDuplicate\t1f5384bb\n"
                     "Variable_name\tValue\nCom_insert\t3\nThreads_connected\t5\nInnodb_buffer_pool_pages_dirty\t7\n"
                     "Innodb_buffer_pool_pages_free\t11\nInnodb_buffer_pool_pages_flushed\t13\nSsl_cipher\t\n"
                     "Performance_schema_accounts_lost\t1\nRpl_semi_sync_status\tOFF\n"
                     "Variable_name\tValue\nmax_connections\t151\nread_only\tON\n"),
            UINT64_MAX, &samples, &first_log, &err),
        0);
    assert_true(value_of(&samples, "mysql_up", NULL) == 1);
    assert_true(value_of(&samples, "mysql_binlog_size_bytes", NULL) == 600);
    assert_true(value_of(&samples, "mysql_binlog_files", NULL) == 3);
    assert_true(value_of(&samples, "mysql_binlog_file_number", NULL) == 9);
    assert_true(value_of(&samples, "mysql_slave_status_replica_io_running", NULL) == 1);
    assert_true(value_of(&samples, "mysql_slave_status_replica_sql_running", NULL) == 0);
    assert_true(value_of(&samples, "mysql_slave_status_last_sql_errno", NULL) == 1062);
    assert_true(value_of(&samples, "mysql_global_status_commands_total", "insert") == 3);
    assert_true(value_of(&samples, "mysql_global_status_threads_connected", NULL) == 5);
    assert_true(value_of(&samples, "mysql_global_status_buffer_pool_dirty_pages", NULL) == 7);
    assert_true(value_of(&samples, "mysql_global_status_buffer_pool_pages", "free") == 11);
    assert_true(value_of(&samples, "mysql_global_status_buffer_pool_page_changes_total", "flushed") == 13);
    assert_true(value_of(&samples, "mysql_global_status_rpl_semi_sync_status", NULL) == 0);
    assert_true(value_of(&samples, "mysql_global_variables_max_connections", NULL) == 151);
    assert_true(value_of(&samples, "mysql_global_variables_read_only", NULL) == 1);
    for (size_t i = 0; i < samples.len; i++)
        assert_null(strstr(samples.ptr[i].family->name, "performance_schema"));
    assert_int_equal(first_log.len, 0);
    proa_arena_done(&arena);
}

/* The oldest go until what stays fits, and the one that is written to never does. */
static void logs_that_go(void **state)
{
    static const struct {
        uint64_t max;
        const char *first;
    } cases[] = {{600, ""},
                 {599, "binlog.000008"},
                 {500, "binlog.000008"},
                 {499, "binlog.000009"},
                 {300, "binlog.000009"},
                 {0, "binlog.000009"}};

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        struct proa_arena arena;
        struct samples samples = {.arena = &arena};
        struct proa_error err = {0};
        proa_str first_log;

        proa_arena_init(&arena, NULL, 0);
        assert_int_equal(
            my_read_metrics(PROA_STR(LOGS "Variable_name\tValue\n"), cases[i].max, &samples, &first_log, &err), 0);
        if (!proa_str_eq_c(first_log, cases[i].first))
            fail_msg("%llu: " PROA_FMT, (unsigned long long)cases[i].max, PROA_ARG(first_log));
        proa_arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary),
        cmocka_unit_test(a_standby_of_mariadb),
        cmocka_unit_test(a_standby_of_mysql),
        cmocka_unit_test(what_is_no_answer),
        cmocka_unit_test(a_row_without_a_host),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(another_database),
        cmocka_unit_test(users),
        cmocka_unit_test(literals),
        cmocka_unit_test(metrics),
        cmocka_unit_test(logs_that_go),
    };

    return cmocka_run_group_tests_name("operator/agent_mysql", tests, NULL, NULL);
}
