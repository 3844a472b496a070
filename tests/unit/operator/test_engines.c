/* Engine tables: configuration text, and which parameters may be written into it. */
#include "plan_rig.h"

static proa_str config_of(struct rig *rig)
{
    struct proa_buf out;

    proa_buf_init(&out, &rig->arena, 0);
    assert_int_equal(engine_write_config(&out, engine_of(rig->database.spec.engine), rig->database.metadata.name,
                                         &rig->database.spec),
                     0);
    return proa_buf_str(&out);
}

static void has(proa_str text, const char *part)
{
    if (proa_str_find(text, proa_str_c(part)) < 0)
        fail_msg("no \"%s\" in:\n" PROA_FMT, part, PROA_ARG(text));
}

static void postgres(void **state)
{
    struct rig *rig = *state;
    proa_str text;

    rig_set(rig, "{" RIG_FINALIZED ",\"spec\":{\"engine\":\"postgres\",\"version\":\"17\",\"storageSize\":\"1Gi\","
                 "\"parameters\":{\"work_mem\":\"8MB\",\"application_name\":\"it's \\\\ x\"}}}");
    text = config_of(rig);
    has(text, "\nwal_level = replica\n");
    has(text, "\ncluster_name = 'shop'\n");
    /* In the order of the keys, quoted. */
    has(text, "\napplication_name = 'it''s \\\\ x'\nwork_mem = '8MB'\n");
    assert_true(proa_str_ends_with(text, PROA_STR("work_mem = '8MB'\n")));
}

/* What a slot may hold, and the rest of the log, does not fill the volume. */
static void postgres_log_fits_the_volume(void **state)
{
    static const struct {
        const char *size, *settings;
    } cases[] = {
        {"512Mi",
         "max_slot_wal_keep_size = '64MB'\nmax_wal_size = '64MB'\nmin_wal_size = '32MB'\nwal_keep_size = '8MB'\n"},
        {"1Gi",
         "max_slot_wal_keep_size = '128MB'\nmax_wal_size = '128MB'\nmin_wal_size = '64MB'\nwal_keep_size = '16MB'\n"},
        {"8Gi", "max_slot_wal_keep_size = '1024MB'\nmax_wal_size = '1024MB'\nmin_wal_size = '80MB'\nwal_keep_size = "
                "'128MB'\n"},
        {"1Ti", "max_slot_wal_keep_size = '1024MB'\nmax_wal_size = '1024MB'\nmin_wal_size = '80MB'\nwal_keep_size = "
                "'128MB'\n"},
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        rig->database.spec.storage_size = proa_str_c(cases[i].size);
        has(config_of(rig), cases[i].settings);
    }
}

static void mysql(void **state)
{
    struct rig *rig = *state;

    rig_set(rig, "{" RIG_FINALIZED ",\"spec\":{\"engine\":\"mysql\",\"version\":\"8.4\",\"storageSize\":\"1Gi\","
                 "\"parameters\":{\"init_connect\":\"SET a=\\\"b\\\"\"}}}");
    has(config_of(rig), "[mysqld]\n");
    has(config_of(rig), "\nloose_gtid_mode = ON\n");
    has(config_of(rig), "\ninit_connect = \"SET a=\\\"b\\\"\"\n");
    /* A volume is not filled by binary logs. */
    has(config_of(rig), "\nbinlog_expire_logs_seconds = 259200\n");
}

static void mongodb(void **state)
{
    struct rig *rig = *state;

    rig_set(rig, "{" RIG_FINALIZED
                 ",\"spec\":{\"engine\":\"mongodb\",\"version\":\"8.0\",\"storageSize\":\"1Gi\",\"parameters\":"
                 "{\"net.maxIncomingConnections\":\"100\",\"systemLog.verbosity\":\"0\","
                 "\"setParameter.cursorTimeoutMillis\":\"600\",\"setParameter.ttlMonitorEnabled\":\"false\","
                 "\"storage.wiredTiger.engineConfig.journalCompressor\":\"zlib: x\"}}}");
    has(config_of(rig), "\nreplication.replSetName: \"shop\"\n");
    has(config_of(rig), "\nnet.maxIncomingConnections: 100\n");
    has(config_of(rig), "\nstorage.wiredTiger.engineConfig.journalCompressor: \"zlib: x\"\n");
    /* These are one map: dots are no levels there. */
    has(config_of(rig), "\nsetParameter:\n  cursorTimeoutMillis: 600\n  ttlMonitorEnabled: false\n");
}

static void keys(void **state)
{
    static const struct {
        const struct engine *engine;
        const char *key;
        bool good;
    } cases[] = {
        {&engine_postgres, "work_mem", true},
        {&engine_postgres, "pg_stat_statements.max", true},
        {&engine_postgres, "Work_mem", false},
        {&engine_postgres, "a.b.c", false},
        {&engine_postgres, "a.", false},
        {&engine_postgres, ".a", false},
        {&engine_postgres, "", false},
        {&engine_postgres, "9a", false},
        {&engine_postgres, "a b", false},
        {&engine_postgres, "a\nb", false},
        {&engine_mysql, "max_connections", true},
        {&engine_mysql, "max-connections", false},
        {&engine_mysql, "", false},
        {&engine_mysql, "[x]", false},
        /* The server knows other ways to write what the operator owns. */
        {&engine_mysql, "loose_port", false},
        {&engine_mysql, "disable_log_bin", false},
        {&engine_mysql, "enable_log_bin", false},
        {&engine_mysql, "maximum_server_id", false},
        {&engine_mysql, "skip_log_bin", false},
        {&engine_mysql, "sync_bin", false},
        {&engine_mysql, "gtid_strict", false},
        {&engine_mysql, "skip_external_locking", true},
        {&engine_mysql, "log_error_verbosity", true},
        {&engine_mysql, "port_open_timeout", true},
        {&engine_mysql, "9", false},
        {&engine_mongodb, "net.tls.mode", true},
        {&engine_mongodb, "net", false},
        {&engine_mongodb, "net..x", false},
        {&engine_mongodb, "net.x: y", false},
        {&engine_mongodb, "net.", false},
    };

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(cases); i++)
        if (cases[i].engine->is_key(proa_str_c(cases[i].key)) != cases[i].good)
            fail_msg("%s: \"%s\"", cases[i].engine->name, cases[i].key);
}

static void quantities(void **state)
{
    static const char *const cases[][2] = {
        {"1024Mi", "1Gi"}, {"1Gi", "1Gi"},  {"1536Mi", "1536Mi"}, {"1000M", "1G"},      {"1500", "1500"},
        {"2000", "2k"},    {"0.5", "500m"}, {"1.5", "1500m"},     {"2.0", "2"},         {"1000m", "1"},
        {"500m", "500m"},  {"0", "0"},      {"many", "many"},     {"1.2345", "1.2345"}, {"1024Ki", "1Mi"},
        {"", ""},          {"1Xi", "1Xi"},  {"1.x", "1.x"},       {"0.250", "250m"},
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        proa_str got = quantity_canonical(&rig->arena, proa_str_c(cases[i][0]));

        if (!proa_str_eq_c(got, cases[i][1]))
            fail_msg("%s: " PROA_FMT, cases[i][0], PROA_ARG(got));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(postgres),     RIG_TEST(postgres_log_fits_the_volume),
        RIG_TEST(mysql),        RIG_TEST(mongodb),
        cmocka_unit_test(keys), RIG_TEST(quantities),
    };

    return cmocka_run_group_tests_name("operator/engines", tests, NULL, NULL);
}
