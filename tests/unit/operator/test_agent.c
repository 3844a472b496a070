/* The agent's parsers and writers, and the volume: what of it needs no server. */
#include "unit.h"

#include "agent/agent_internal.h"
#include "agent/postgres_internal.h"
#include "agent/scram.h"

#include <errno.h>
#include <fcntl.h>
#include <proa/fiber.h>
#include <proa/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct proa_arena arena;

static int setup(void **state)
{
    proa_arena_init(&arena, NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    proa_arena_done(&arena);
    return 0;
}

/* -- Passwords --------------------------------------------------------------------------------------------------------- */

/* The salt and password of RFC 7677 section 3; the keys by another implementation. */
static const char pencil[] = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
                             "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                             "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

static void verifiers(void **state)
{
    static const unsigned char salt[SCRAM_SALT_BYTES] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
                                                         0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};
    static const char *const broken[] = {"",
                                         "md5c4ca4238a0b923820dcc509a6f75849b",
                                         "SCRAM-SHA-256$",
                                         "SCRAM-SHA-256$4096",
                                         "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==",
                                         "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$a:b",
                                         "SCRAM-SHA-256$99999999:W22ZaJ0SNY7soEsUEjb6gQ==$a:b",
                                         "SCRAM-SHA-256$x:W22ZaJ0SNY7soEsUEjb6gQ==$a:b",
                                         "SCRAM-SHA-256$4096:!$a:b"};
    proa_str verifier = scram_verifier(&arena, PROA_STR("pencil"), salt);

    assert_int_equal(verifier.len, strlen(pencil));
    assert_memory_equal(verifier.ptr, pencil, verifier.len);
    assert_true(scram_matches(&arena, proa_str_c(pencil), PROA_STR("pencil")));
    assert_false(scram_matches(&arena, proa_str_c(pencil), PROA_STR("Pencil")));
    for (size_t i = 0; i < PROA_COUNT(broken); i++)
        assert_false(scram_matches(&arena, proa_str_c(broken[i]), PROA_STR("pencil")));
}

static void usernames(void **state)
{
    assert_null(pg_why_not_user(PROA_STR("app")));
    assert_null(pg_why_not_user(PROA_STR("pg")));
    assert_non_null(pg_why_not_user(PROA_STR("")));
    assert_non_null(pg_why_not_user(PROA_STR("postgres")));
    assert_non_null(pg_why_not_user(PROA_STR("replicator")));
    assert_non_null(pg_why_not_user(PROA_STR("pg_monitor")));
    assert_non_null(pg_why_not_user(PROA_STR("1234567890123456789012345678901234567890123456789012345678901234")));
}

/* -- What is written for PostgreSQL ------------------------------------------------------------------------------------ */

static void quoting(void **state)
{
    struct proa_buf out;

    proa_buf_init(&out, &arena, 0);
    pg_add_literal(&out, PROA_STR("a'b\\c\"d"));
    pg_add_identifier(&out, PROA_STR("a'b\\c\"d"));
    proa_buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, "'a''b\\c\"d'\"a'b\\c\"\"d\"");
    proa_buf_clear(&out);
    pg_add_conninfo(&out, "host", PROA_STR("a b"));
    pg_add_conninfo(&out, "user", PROA_STR("o'n\\e"));
    proa_buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, "host='a b' user='o\\'n\\\\e'");
}

static struct agent_config config = {.database = PROA_STR_INIT("my-shop"),
                                     .headless = PROA_STR_INIT("my-shop-headless"),
                                     .namespace_ = PROA_STR_INIT("here"),
                                     .host = PROA_STR_INIT("{pod}.{headless}.{namespace}.svc"),
                                     .run_dir = PROA_STR_INIT("/run/x"),
                                     .pod = PROA_STR_INIT("my-shop-2")};

static void names(void **state)
{
    struct instance instance = {.config = &config};
    char host[HOST_MAX], slot[PG_SLOT_MAX];

    instance_host(&instance, 3, host);
    assert_string_equal(host, "my-shop-3.my-shop-headless.here.svc");
    config.host = PROA_STR("127.0.0.1{ordinal}{nothing}");
    instance_host(&instance, 3, host);
    assert_string_equal(host, "127.0.0.13{nothing}");
    pg_slot_name(&instance, 3, slot);
    assert_string_equal(slot, "my_shop_3");
}

/* -- What is read from PostgreSQL -------------------------------------------------------------------------------------- */

#define ANSWER(recovery, streaming, position, received, source, age)                                                   \
    "{\"in_recovery\":" recovery ",\"timeline\":2,\"system\":\"77\",\"version\":\"15.1\",\"position\":" position       \
    ",\"received\":" received ",\"source\":" source ",\"streaming\":" streaming ",\"replay_age_ms\":" age              \
    ",\"size_bytes\":5,\"oldest\":16777216}\n"

static void read_status(const char *json, struct engine_status *ret_status)
{
    struct proa_error err = {0};

    if (pg_read_status(&arena, proa_str_c(json), ret_status, &err) < 0)
        fail_msg("%s", err.message);
}

static void statuses(void **state)
{
    struct engine_status status;
    struct proa_error err = {0};

    read_status(ANSWER("false", "false", "33554432", "0", "0", "-1"), &status);
    assert_true(status.is_writable && !status.is_streaming && !status.has_lag);
    assert_string_equal(status.position, "33554432");
    assert_string_equal(status.oldest, "16777216");
    assert_string_equal(status.identity, "77");
    assert_string_equal(status.history, "2");
    assert_int_equal(status.size_bytes, 5);
    read_status(ANSWER("true", "true", "100", "150", "250", "1234.5"), &status);
    assert_true(!status.is_writable && status.is_streaming && status.has_lag);
    assert_int_equal(status.lag_bytes, 150);
    assert_int_equal(status.lag_ms, 1234);
    assert_string_equal(status.position, "150"); /* what is received is there */
    read_status(ANSWER("true", "true", "250", "150", "250", "99999"), &status);
    assert_int_equal(status.lag_bytes, 0);
    assert_int_equal(status.lag_ms, 0); /* nothing is outstanding, however old it is */
    assert_false(status.is_ahead);
    read_status(ANSWER("true", "false", "250", "150", "900", "1"), &status);
    assert_true(!status.has_lag && !status.replays_own);
    read_status(ANSWER("true", "false", "250", "0", "0", "1"), &status);
    assert_true(status.replays_own);
    /* A primary that went back; one that has not been heard of yet; one that is not connected to. */
    read_status(ANSWER("true", "true", "251", "150", "250", "1"), &status);
    assert_true(status.is_ahead && !status.is_streaming && !status.has_lag);
    read_status(ANSWER("true", "true", "251", "150", "0", "1"), &status);
    assert_true(!status.is_ahead && status.is_streaming);
    read_status(ANSWER("true", "false", "251", "150", "250", "1"), &status);
    assert_true(!status.is_ahead && !status.is_streaming);
    assert_true(pg_read_status(&arena, PROA_STR(""), &status, &err) < 0);
    assert_true(pg_read_status(&arena, PROA_STR("{}"), &status, &err) < 0);
    assert_true(pg_read_status(&arena, PROA_STR("ERROR:  no\n"), &status, &err) < 0);
}

static void control_data(void **state)
{
    static const char text[] = "pg_control version number:            1300\n"
                               "max_connections setting:              100\n"
                               "max_wal_senders setting:              10\n"
                               "broken setting:              1x\n";
    uint64_t value = 7;

    assert_int_equal(pg_read_control(proa_str_c(text), "max_connections setting:", &value), 0);
    assert_int_equal(value, 100);
    assert_int_equal(pg_read_control(proa_str_c(text), "max_locks_per_xact setting:", &value), PROA_ENOTFOUND);
    assert_true(pg_read_control(proa_str_c(text), "broken setting:", &value) < 0);
    assert_int_equal(pg_read_control((proa_str){0}, "x", &value), PROA_ENOTFOUND);
}

struct judged {
    const char *own[3], *primary[4]; /* identity, history, position; and oldest */
    enum verdict verdict;
    bool replays_own;
};

static void verdicts(void **state)
{
    static const struct judged all[] = {
        {{"1", "1", "40000000"}, {"1", "1", "50000000", "33554432"}, VERDICT_WAIT},
        /* Its segment begins where the oldest one does. */
        {{"1", "1", "33554432"}, {"1", "1", "50000000", "33554432"}, VERDICT_WAIT},
        {{"1", "1", "33554431"}, {"1", "1", "50000000", "33554432"}, VERDICT_LOST},
        {{"1", "1", "33554431"}, {"1", "1", "50000000", ""}, VERDICT_WAIT},
        {{"1", "1", "50000001"}, {"1", "1", "50000000", "33554432"}, VERDICT_FOREIGN},
        {{"1", "1", "50000001"}, {"1", "2", "50000000", "33554432"}, VERDICT_WAIT},
        {{"1", "2", "40000000"}, {"1", "1", "50000000", "33554432"}, VERDICT_FOREIGN},
        {{"1", "1", "40000000"}, {"2", "1", "50000000", "33554432"}, VERDICT_FOREIGN},
        /* It may have received what the primary has removed. */
        {{"1", "1", "33554431"}, {"1", "1", "50000000", "33554432"}, VERDICT_WAIT, .replays_own = true},
        {{"1", "1", "50000001"}, {"1", "1", "50000000", "33554432"}, VERDICT_FOREIGN, .replays_own = true},
        /* What is not known decides nothing. */
        {{"", "1", "40000000"}, {"2", "1", "50000000", "33554432"}, VERDICT_WAIT},
        {{"1", "1", "40000000"}, {"", "", "", ""}, VERDICT_WAIT},
    };

    for (size_t i = 0; i < PROA_COUNT(all); i++) {
        struct engine_status own = {.replays_own = all[i].replays_own};
        struct primary_status primary = {.is_ready = true};
        enum verdict verdict;
        const char *why;

        snprintf(own.identity, sizeof own.identity, "%s", all[i].own[0]);
        snprintf(own.history, sizeof own.history, "%s", all[i].own[1]);
        snprintf(own.position, sizeof own.position, "%s", all[i].own[2]);
        snprintf(primary.engine.identity, sizeof primary.engine.identity, "%s", all[i].primary[0]);
        snprintf(primary.engine.history, sizeof primary.engine.history, "%s", all[i].primary[1]);
        snprintf(primary.engine.position, sizeof primary.engine.position, "%s", all[i].primary[2]);
        snprintf(primary.engine.oldest, sizeof primary.engine.oldest, "%s", all[i].primary[3]);
        assert_int_equal(pg_judge(NULL, &own, &primary, &verdict, &why, NULL), 0);
        if (verdict != all[i].verdict)
            fail_msg("case %zu: %d, expected %d (%s)", i, verdict, all[i].verdict, why);
        assert_true(!*why == (verdict == VERDICT_WAIT));
    }
}

/* -- Samples ----------------------------------------------------------------------------------------------------------- */

static const struct sample_family sizes = {.name = "size", .labels = {"db"}},
                                  counts = {.name = "count", .help = "Of it"};

static void collect(void *arg, struct proa_collection *out)
{
    samples_write(arg, out);
}

static void families_stay_together(void **state)
{
    struct samples samples = {.arena = &arena};
    struct proa_metrics *metrics;
    struct proa_buf out;

    assert_int_equal(samples_add(&samples, &sizes, 1, (proa_str[]){PROA_STR("a")}), 0);
    assert_int_equal(samples_add(&samples, &counts, 2, NULL), 0);
    assert_int_equal(samples_add(&samples, &sizes, 3, (proa_str[]){PROA_STR("b")}), 0);
    assert_int_equal(proa_metrics_new(1, &metrics), 0);
    assert_int_equal(proa_metrics_add_collector(metrics, collect, &samples), 0);
    proa_buf_init(&out, &arena, 0);
    assert_int_equal(proa_metrics_write(metrics, PROA_METRICS_TEXT, &out), 0);
    proa_buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, "# TYPE size gauge\nsize{db=\"a\"} 1\nsize{db=\"b\"} 3\n"
                                 "# HELP count Of it\n# TYPE count gauge\ncount 2\n");
    proa_metrics_free(metrics);
    for (int i = 0; i < 2 * SAMPLES_MAX; i++)
        assert_int_equal(samples_add(&samples, &counts, i, NULL), 0);
    assert_int_equal(samples.len, SAMPLES_MAX);
}

/* -- The volume -------------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/proa-volume-XXXXXX";

static const char *in_folder(const char *name)
{
    const char *path = proa_arena_printf(&arena, "%s/%s", folder, name).ptr;

    assert_non_null(path);
    return path;
}

static void make(const char *name, const char *content)
{
    char path[256];
    FILE *file;

    assert_true(mkdir(in_folder(name), 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "%s/is", in_folder(name));
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

/* What a folder's file says; "" when there is none. */
static const char *read_back(const char *name)
{
    static char text[64];
    char path[256];
    FILE *file;
    size_t got = 0;

    snprintf(path, sizeof path, "%s/is", in_folder(name));
    file = fopen(path, "r");
    if (file) {
        got = fread(text, 1, sizeof text - 1, file);
        fclose(file);
    }
    text[got] = '\0';
    return text;
}

static struct proa_loop *loop;

static int in_fiber(void *arg)
{
    int (*test)(void) = *(int (**)(void))arg;

    return test();
}

static void run(int (*test)(void))
{
    struct proa_group group;

    assert_int_equal(proa_loop_new(NULL, &loop), 0);
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, in_fiber, &test), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(group.first_error, 0);
    proa_loop_free(loop);
}

static int reopen(void)
{
    struct volume *volume;
    struct proa_error err = {0};

    if (volume_open(loop, folder, 0, &volume, &err) < 0)
        fail_msg("%s", err.message);
    volume_close(volume);
    return 0;
}

/* After a crash at any point of the exchange either the old or the new is there, whole, and nothing else. */
static void crashes(void **state)
{
    static const struct {
        const char *names[4]; /* each says its own name */
        const char *expected;
    } points[] = {
        {{"data", "data.new"}, "data"},
        {{"data", "data.ready"}, "data.ready"},
        {{"data.old", "data.ready"}, "data.ready"},
        {{"data", "data.old"}, "data"},
        {{"data", "data.old", "data.ready"}, "data.ready"},
        {{"data.new"}, ""},
        {{"data.ready"}, "data.ready"},
        {{"data"}, "data"},
        {{NULL}, ""},
    };

    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < PROA_COUNT(points); i++) {
        for (size_t k = 0; k < 4 && points[i].names[k]; k++)
            make(points[i].names[k], points[i].names[k]);
        run(reopen);
        if (strcmp(read_back("data"), points[i].expected) != 0)
            fail_msg("point %zu: \"%s\"", i, read_back("data"));
        assert_int_equal(access(in_folder("data.new"), F_OK), -1);
        assert_int_equal(access(in_folder("data.ready"), F_OK), -1);
        assert_int_equal(access(in_folder("data.old"), F_OK), -1);
        if (*points[i].expected) {
            assert_int_equal(unlink(in_folder("data/is")), 0);
            run(reopen); /* an empty data folder is none */
        }
        assert_int_equal(access(in_folder("data"), F_OK), -1);
    }
}

static int use_volume(void)
{
    struct proa_error err = {0};
    struct volume *volume;
    struct memory memory;
    struct volume_room room;
    uint64_t kept = 7;
    const char *fresh;

    PROA_TRY(volume_open(loop, folder, 0, &volume, &err));
    assert_int_equal(volume_remember(volume, &arena, &memory, &err), PROA_ENOTFOUND);
    PROA_TRY(volume_memorise(
        volume, &(struct memory){.role = ROLE_STANDBY, .primary = PROA_STR("shop-0"), .replicas = 3}, &err));
    PROA_TRY(volume_remember(volume, &arena, &memory, &err));
    assert_int_equal(memory.role, ROLE_STANDBY);
    assert_int_equal(memory.replicas, 3);
    assert_true(proa_str_eq_c(memory.primary, "shop-0"));

    PROA_TRY(volume_begin(volume, &fresh, &err));
    make("data.new", "first");
    PROA_TRY(volume_commit(volume, &err));
    assert_string_equal(read_back("data"), "first");
    PROA_TRY(volume_room(volume, &room, &err));
    assert_true(room.free_bytes > 0 && room.data_bytes > 0);
    PROA_TRY(volume_begin(volume, &fresh, &err));
    make("data.new", "second");
    volume_abandon(volume);
    assert_string_equal(read_back("data"), "first");
    PROA_TRY(volume_begin(volume, &fresh, &err));
    make("data.new", "third");
    PROA_TRY(volume_commit(volume, &err));
    assert_string_equal(read_back("data"), "third");
    assert_int_equal(access(in_folder("data.old"), F_OK), -1);

    PROA_TRY(volume_count_kept(volume, &kept, &err));
    assert_int_equal(kept, 0);
    PROA_TRY(volume_put_aside(volume, (proa_time_ns)77 * 1000000000, &err));
    assert_string_equal(read_back("data.kept-77"), "third");
    PROA_TRY(volume_count_kept(volume, &kept, &err));
    assert_int_equal(kept, 1);
    assert_int_equal(access(volume_data(volume), F_OK), -1);
    make("data", "fourth");
    PROA_TRY(volume_remove_data(volume, &err));
    assert_int_equal(access(volume_data(volume), F_OK), -1);

    /* What the server copies is whole later than the exchange: what was there first is kept until then. */
    make("data", "whole");
    PROA_TRY(volume_set_before(volume, &err));
    make("data", "half");
    PROA_TRY(volume_set_before(volume, &err));
    assert_int_equal(access(volume_data(volume), F_OK), -1);
    assert_string_equal(read_back("data.before"), "whole");
    volume_close(volume);
    PROA_TRY(volume_open(loop, folder, 0, &volume, &err));
    assert_string_equal(read_back("data.before"), "whole");
    PROA_TRY(volume_forget_before(volume, &err));
    PROA_TRY(volume_forget_before(volume, &err));
    assert_int_equal(access(in_folder("data.before"), F_OK), -1);
    assert_int_equal(access(in_folder("data.old"), F_OK), -1);

    /* Who runs in it uses it. */
    make("data", "fifth");
    assert_int_equal(volume_user(volume), 0);
    volume_close(volume);
    return 0;
}

static void exchange(void **state)
{
    run(use_volume);
    assert_int_equal(unlink(in_folder("data/is")) | rmdir(in_folder("data")), 0);
    assert_int_equal(unlink(in_folder("data.kept-77/is")) | rmdir(in_folder("data.kept-77")), 0);
    assert_int_equal(unlink(in_folder("agent.lock")) | unlink(in_folder("agent.json")) | rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(verifiers, setup, teardown),
        cmocka_unit_test_setup_teardown(usernames, setup, teardown),
        cmocka_unit_test_setup_teardown(quoting, setup, teardown),
        cmocka_unit_test_setup_teardown(names, setup, teardown),
        cmocka_unit_test_setup_teardown(statuses, setup, teardown),
        cmocka_unit_test_setup_teardown(control_data, setup, teardown),
        cmocka_unit_test_setup_teardown(verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(families_stay_together, setup, teardown),
        cmocka_unit_test_setup_teardown(crashes, setup, teardown),
        cmocka_unit_test_setup_teardown(exchange, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
