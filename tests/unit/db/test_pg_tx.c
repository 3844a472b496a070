/* Transactions, connections of one's own, migrations. */
#include "postgres.h"

#include <sys/wait.h>

static int insert_two(struct proa_sql tx, void *arg)
{
    PROA_TRY(proa_db_exec(tx, NULL, "INSERT INTO item VALUES (1, 'one')"));
    PROA_TRY(proa_db_exec(tx, NULL, "INSERT INTO item VALUES (2, 'two')"));
    return *(int *)arg;
}

static int broken_inside(struct proa_sql tx, void *arg)
{
    int rc = proa_db_exec(tx, NULL, "INSERT INTO item VALUES (10, 'ten')");

    assert_int_equal(rc, 0);
    return proa_db_exec(tx, NULL, "INSERT INTO item VALUES (10, 'ten')");
}

static int nested(struct proa_sql tx, void *arg)
{
    int fine = 3;

    assert_int_equal(proa_db_transaction(tx, NULL, broken_inside, NULL), PROA_EEXISTS);
    assert_int_equal(proa_db_transaction(tx, NULL, insert_two, &fine), 3);
    return 0;
}

static int sleep_inside(struct proa_sql tx, void *arg)
{
    PROA_TRY(proa_db_exec(tx, NULL, "INSERT INTO item VALUES (20, 'twenty')"));
    return proa_db_exec(tx, NULL, "SELECT pg_sleep(20)");
}

static int write_inside(struct proa_sql tx, void *arg)
{
    return proa_db_exec(tx, NULL, "INSERT INTO item VALUES (30, 'thirty')");
}

static void transaction_body(struct pg_test *test)
{
    struct proa_tx_options read_only = {.read_only = true};
    int zero = 0, failure = PROA_EPRECONDITION;
    proa_mono_ns began;

    pg_table(test);
    assert_int_equal(proa_db_transaction(pg_sql(test), NULL, insert_two, &failure), PROA_EPRECONDITION);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM item"), 0);
    assert_ok(test, proa_db_transaction(pg_sql(test), NULL, insert_two, &zero));
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM item"), 2);
    assert_ok(test, pg_exec(test, "DELETE FROM item"));
    assert_ok(test, proa_db_transaction(pg_sql(test), NULL, nested, NULL));
    assert_int_equal(pg_number(test, "SELECT sum(id)::bigint AS n FROM item"), 3);
    assert_true(proa_db_transaction(pg_sql(test), &read_only, write_inside, NULL) < 0);
    /* cut short: rolled back, and the one connection is good again */
    began = proa_loop_now_exact(test->loop);
    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(test->loop, began + PROA_MS(200));

        assert_int_equal(proa_db_transaction(pg_sql(test), NULL, sleep_inside, NULL), PROA_ETIMEDOUT);
    }
    assert_in_range(pg_ms_since(test, began), 190, 10000);
    assert_ok(test, proa_db_transaction(pg_sql(test), NULL, write_inside, NULL));
    assert_int_equal(pg_number(test, "SELECT sum(id)::bigint AS n FROM item"), 33);
    assert_int_equal(
        pg_number(test, "SELECT count(*) AS n FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"), 0);
}

static void test_transactions(void **state)
{
    struct proa_db_options options = {.own_connections = 1};

    pg_test_run(&options, transaction_body);
}

/* Only proa_db_transaction begins and ends one. */
static const char *const controls[] = {
    "COMMIT",
    "ROLLBACK",
    "rollback work",
    "BEGIN",
    "END",
    "ABORT",
    "START TRANSACTION",
    "/* /* x */ */ COMMIT",
    "PREPARE TRANSACTION 'x'",
};

static int control_inside(struct proa_sql tx, void *arg)
{
    PROA_TRY(proa_db_exec(tx, NULL, "INSERT INTO item VALUES (1, 'one')"));
    PROA_TRY(proa_db_exec(tx, NULL, "SAVEPOINT mine"));
    PROA_TRY(proa_db_exec(tx, NULL, "ROLLBACK TO SAVEPOINT mine"));
    PROA_TRY(proa_db_exec(tx, NULL, "RELEASE mine"));
    assert_int_equal(proa_db_exec(tx, NULL, arg), PROA_EINTERNAL);
    assert_true(proa_db_exec(tx, NULL, "INSERT INTO item VALUES (2, 'two')") < 0);
    return 0;
}

static void controls_body(struct pg_test *test)
{
    struct pg_timed task = {.test = test, .is_long = true};
    static const struct proa_migration ends[] = {
        {.number = 1, .name = "ends", .sql = "INSERT INTO item VALUES (4, 'four'); COMMIT; SELECT 1"}};

    pg_table(test);
    for (size_t i = 0; i < PROA_COUNT(controls); i++) {
        assert_int_equal(proa_db_transaction(pg_sql(test), NULL, control_inside, (void *)(uintptr_t)controls[i]),
                         PROA_EINTERNAL);
        task.text = controls[i];
        (void)pg_timed(&task);
        assert_int_equal(task.rc, PROA_EINTERNAL);
        assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM item"), 0);
    }
    /* The connection is in no transaction: what follows on it is committed. */
    task.text = "INSERT INTO item VALUES (3, 'three')";
    (void)pg_timed(&task);
    assert_int_equal(task.rc, 0);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM item"), 1);
    /* A step that ends its transaction cannot be recorded with what it did. */
    assert_ok(test, pg_exec(test, "DROP TABLE IF EXISTS proa_migrations"));
    assert_int_equal(proa_db_migrate(pg_sql(test), ends, 1), PROA_EINTERNAL);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM proa_migrations"), 0);
    assert_ok(test, pg_exec(test, "DROP TABLE IF EXISTS proa_migrations"));
}

static void test_only_transactions_begin_and_end(void **state)
{
    struct proa_db_options options = {.own_connections = 1};

    pg_test_run(&options, controls_body);
}

struct counting {
    struct pg_test *test;
    unsigned tries;
};

static int add_one(struct proa_sql tx, void *arg)
{
    struct counting *self = arg;
    struct number number;

    self->tries++;
    PROA_TRY(proa_db_one(tx, &number_type, &number, "SELECT id AS n FROM item WHERE name = 'counter'"));
    PROA_TRY(proa_sleep(tx.loop, PROA_MS(2)));
    return proa_db_exec(tx, NULL, "UPDATE item SET id = $1 WHERE name = 'counter'", proa_i64(number.n + 1));
}

static int count_up(void *arg)
{
    struct counting *self = arg;
    struct proa_tx_options options = {.isolation = PROA_SERIALIZABLE, .retries = 100};

    for (int i = 0; i < 5; i++) {
        struct proa_error err = {0};
        struct proa_arena arena;
        int rc;

        proa_arena_init(&arena, NULL, 0);
        rc = proa_db_transaction(proa_sql(self->test->db, self->test->loop, &arena, &err), &options, add_one, self);
        if (rc < 0)
            print_error("%s\n", err.message);
        assert_int_equal(rc, 0);
        proa_arena_done(&arena);
    }
    return 0;
}

static void serialisation_body(struct pg_test *test)
{
    struct counting self = {.test = test};
    struct proa_group group;

    pg_table(test);
    assert_ok(test, pg_exec(test, "INSERT INTO item VALUES (1, 'counter')"));
    proa_group_init(&group, test->loop);
    for (int i = 0; i < 6; i++)
        assert_int_equal(proa_group_start(&group, NULL, count_up, &self), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(pg_number(test, "SELECT id AS n FROM item"), 31);
    assert_true(self.tries > 30);
}

static void test_serialisation_is_retried(void **state)
{
    struct proa_db_options options = {.own_connections = 3};

    pg_test_run(&options, serialisation_body);
}

static int hold_inside(struct proa_sql tx, void *arg)
{
    return proa_db_exec(tx, NULL, "SELECT pg_sleep(1)");
}

static void own_pool_body(struct pg_test *test)
{
    struct pg_timed first = {.test = test, .inside = hold_inside}, second = first, refused = first;
    struct pg_timed gives_up = {.test = test, .inside = hold_inside, .ms = 100};
    struct proa_group group;

    assert_ok(test, proa_db_ping(pg_sql(test)));
    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &first), 0);
    while (pg_number(test,
                     "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(1)%' "
                     "AND pid <> pg_backend_pid()") == 0)
        assert_int_equal(proa_sleep(test->loop, PROA_MS(5)), 0);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &gives_up), 0);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &second), 0);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &refused), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(first.rc, 0);
    assert_int_equal(gives_up.rc, PROA_ETIMEDOUT);
    assert_int_equal(second.rc, 0);
    assert_int_equal(refused.rc, PROA_EBUSY);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'proa'"), 3);
}

static void test_own_connections_are_bounded(void **state)
{
    struct proa_db_options options = {.own_connections = 1, .waiting_max = 2};

    pg_test_run(&options, own_pool_body);
}

/* -- Migrations, loops -------------------------------------------------------------------------------------------- */

static const struct proa_migration migrations[] = {
    {.number = 1,
     .name = "tables",
     .postgres = "CREATE TABLE migrated (id bigint PRIMARY KEY); SELECT pg_sleep(0.2); INSERT INTO migrated VALUES (1);"
                 "-- a comment\nINSERT INTO migrated VALUES (2)"},
    {.number = 2, .name = "more", .sql = "INSERT INTO migrated SELECT max(id) + 1 FROM migrated"},
};

static void migrate_body(struct pg_test *test)
{
    assert_ok(test, proa_db_migrate(pg_sql(test), migrations, PROA_COUNT(migrations)));
}

static void check_migrated_body(struct pg_test *test)
{
    static const struct proa_migration broken[] = {
        {.number = 1, .name = "tables", .postgres = "CREATE TABLE other (id bigint)"},
        {.number = 2, .name = "more", .sql = "INSERT INTO migrated SELECT max(id) + 1 FROM migrated"},
    };
    struct proa_migration failing[3];

    migrate_body(test);
    assert_int_equal(pg_number(test, "SELECT sum(id)::bigint AS n FROM migrated"), 6);
    assert_int_equal(proa_db_migrate(pg_sql(test), broken, PROA_COUNT(broken)), PROA_ECONFLICT);
    failing[0] = migrations[0];
    failing[1] = migrations[1];
    failing[2] =
        (struct proa_migration){.number = 3, .name = "fails", .sql = "INSERT INTO migrated VALUES (9); SELECT 1 / 0"};
    assert_true(proa_db_migrate(pg_sql(test), failing, 3) < 0);
    assert_int_equal(pg_number(test, "SELECT sum(id)::bigint AS n FROM migrated"), 6);
}

static void test_migrations_race(void **state)
{
    pid_t children[4];

    (void)pg_beside("DROP TABLE IF EXISTS migrated, proa_migrations");
    for (size_t i = 0; i < PROA_COUNT(children); i++) {
        children[i] = fork();
        if (children[i] == 0) {
            (void)execl("/proc/self/exe", "test_pg", "--migrate", NULL);
            _exit(1);
        }
    }
    for (size_t i = 0; i < PROA_COUNT(children); i++) {
        int status = -1;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    pg_test_run(NULL, check_migrated_body);
}

/* -- TLS -- */

static void over_tls_body(struct pg_test *test)
{
    pg_assert_tls(test);
    transaction_body(test);
}

static void test_tls(void **state)
{
    pg_test_run_tls(over_tls_body);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_only_transactions_begin_and_end),
        cmocka_unit_test(test_serialisation_is_retried),
        cmocka_unit_test(test_own_connections_are_bounded),
        cmocka_unit_test(test_migrations_race),
        cmocka_unit_test(test_tls),
    };

    if (argc > 1 && strcmp(argv[1], "--migrate") == 0) {
        pg_test_run(NULL, migrate_body);
        return 0;
    }
    cmocka_set_test_filter(getenv("PROA_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
