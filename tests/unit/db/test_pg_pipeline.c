/* Many statements on few connections, and the prepared statements of a connection. */
#include "postgres.h"

/* -- The pipeline ------------------------------------------------------------------------------------------------ */

enum { MANY = 200 };

struct one_of_many {
    struct pg_test *test;
    int index;
    unsigned *done;
};

static int one_of_many(void *arg)
{
    struct one_of_many *self = arg;
    struct pg_test *test = self->test;

    for (int round = 0; round < 5; round++) {
        struct proa_error err = {0};
        struct proa_arena arena;
        struct proa_sql sql;
        struct number number = {0};
        int rc;

        proa_arena_init(&arena, proa_loop_blocks(test->loop), 0);
        sql = proa_sql(test->db, test->loop, &arena, &err);
        switch (self->index % 4) {
        case 0:
            rc = proa_db_one(sql, &number_type, &number, "SELECT $1::bigint / 0 AS n", proa_i64(self->index));
            assert_int_equal(rc, PROA_EVALIDATION);
            break;
        case 1:
            rc = proa_db_exec(sql, NULL, "INSERT INTO item VALUES (1, $1)", proa_text(PROA_STR("again")));
            assert_int_equal(rc, PROA_EEXISTS);
            break;
        case 2:
            rc = proa_db_exec(sql, NULL, "SELECT no such thing");
            assert_int_equal(rc, PROA_EINTERNAL);
            break;
        default:
            rc = proa_db_one(sql, &number_type, &number, "SELECT $1::bigint * 2 AS n", proa_i64(self->index));
            assert_int_equal(rc, 0);
            assert_int_equal(number.n, self->index * 2);
        }
        proa_arena_done(&arena);
        (*self->done)++;
    }
    return 0;
}

static void pipeline_body(struct pg_test *test)
{
    static struct one_of_many many[MANY];
    struct proa_group group;
    unsigned done = 0;

    pg_table(test);
    assert_ok(test, pg_exec(test, "INSERT INTO item VALUES (1, 'a')"));
    proa_group_init(&group, test->loop);
    for (int i = 0; i < MANY; i++) {
        many[i] = (struct one_of_many){test, i, &done};
        assert_int_equal(proa_group_start(&group, NULL, one_of_many, &many[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(done, MANY * 5);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM item"), 1);
}

static void test_errors_among_neighbours(void **state)
{
    struct proa_db_options one = {.shared_connections = 1}, three = {.shared_connections = 3};

    pg_test_run(&one, pipeline_body);
    pg_test_run(&three, pipeline_body);
}

struct line {
    int64_t id;
    proa_str text;
};
PROA_DESCRIBE(line, (id, i64), (text, str));

static void big_body(struct pg_test *test)
{
    PROA_ARRAY_OF(struct line) lines = {0};
    struct proa_sql sql = pg_sql(test);
    char *large;

    for (int is_long = 0; is_long < 2; is_long++) {
        sql.is_long = is_long;
        assert_ok(test, proa_db_all(sql, &line_type, &lines, 30000,
                                    "SELECT i AS id, repeat('x', 1000) AS text FROM generate_series(1, 20000) i"));
        assert_int_equal(lines.len, 20000);
        assert_int_equal(lines.ptr[19999].id, 20000);
        assert_int_equal(lines.ptr[19999].text.len, 1000);
        assert_int_equal(
            proa_db_all(sql, &line_type, &lines, 100, "SELECT i AS id, '' AS text FROM generate_series(1, 20000) i"),
            PROA_ETOOLARGE);
    }
    /* a parameter that no socket takes at once */
    large = malloc(8 << 20);
    memset(large, 'y', 8 << 20);
    assert_ok(test, proa_db_all(pg_sql(test), &line_type, &lines, 3, "SELECT length($1) AS id, $1::text AS text",
                                proa_text(proa_str_n(large, 8 << 20))));
    assert_int_equal(lines.ptr[0].id, 8 << 20);
    assert_memory_equal(lines.ptr[0].text.ptr, large, 8 << 20);
    free(large);
}

static void test_big(void **state)
{
    pg_test_run(NULL, big_body);
}

/* -- Prepared statements ----------------------------------------------------------------------------------------- */

static void prepared_body(struct pg_test *test)
{
    for (int i = 0; i < 20; i++)
        assert_int_equal(pg_number(test, "SELECT 7::bigint AS n"), 7);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM pg_prepared_statements"), 2);
    for (int i = 0; i < 700; i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "SELECT %d::bigint AS n", i % 350);
        assert_int_equal(pg_number(test, text), i % 350);
    }
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM pg_prepared_statements"), 256);
    /* somebody threw them away */
    assert_ok(test, pg_exec(test, "DEALLOCATE ALL"));
    assert_int_equal(pg_number(test, "SELECT 7::bigint AS n"), 7);
    assert_ok(test, pg_exec(test, "DISCARD ALL"));
    for (int i = 0; i < 700; i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "SELECT %d::bigint AS n", i % 350);
        assert_int_equal(pg_number(test, text), i % 350);
    }
    assert_true(pg_number(test, "SELECT count(*) AS n FROM pg_prepared_statements") <= 256);
}

static void session_body(struct pg_test *test)
{
    static const char *const texts[] = {"BEGIN",    " -- x\n start transaction", "/* y */ Commit",
                                        "ROLLBACK", "/* /* z */ */ BEGIN",       "savepoint a"};

    for (size_t i = 0; i < PROA_COUNT(texts); i++)
        assert_int_equal(pg_exec(test, texts[i]), PROA_EINTERNAL);
    assert_int_equal(pg_beside("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"), 0);
    /* notifications that nobody takes are not kept */
    assert_ok(test, pg_exec(test, "LISTEN proa_test"));
    for (int i = 0; i < 20; i++)
        assert_ok(test, pg_exec(test, "NOTIFY proa_test, 'hello'"));
    assert_ok(test, pg_exec(test, "UNLISTEN *"));
}

/* A procedure commits as it goes: what its error says must not have it run once more. */
static void procedure_body(struct pg_test *test)
{
    struct pg_timed long_one = {.test = test, .text = "CALL step()", .is_long = true};

    pg_table(test);
    assert_ok(test, pg_exec(test, "DROP SEQUENCE IF EXISTS step_number"));
    assert_ok(test, pg_exec(test, "CREATE SEQUENCE step_number"));
    assert_ok(test, pg_exec(test, "CREATE OR REPLACE PROCEDURE step() LANGUAGE plpgsql AS $$ DECLARE n bigint := "
                                  "nextval('step_number'); BEGIN INSERT INTO item VALUES (n, n::text); COMMIT; "
                                  "RAISE SQLSTATE '26000' USING MESSAGE = 'inside'; END $$"));
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(pg_exec(test, "/* one */ CALL step()"), PROA_EINTERNAL);
        assert_non_null(strstr(test->err.message, "inside"));
        assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM item"), i);
    }
    (void)pg_timed(&long_one);
    assert_int_equal(long_one.rc, PROA_EINTERNAL);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM item"), 3);
    assert_ok(test, pg_exec(test, "DROP PROCEDURE step"));
}

static void test_procedure_runs_once(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, procedure_body);
}

static void test_session_is_left_alone(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, session_body);
}

static void test_prepared(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, prepared_body);
}

struct changing {
    struct pg_test *test;
    unsigned done;
};

static int read_changing(void *arg)
{
    struct changing *self = arg;

    for (int i = 0; i < 50; i++) {
        struct proa_error err = {0};
        struct proa_arena arena;
        struct number number = {0};

        proa_arena_init(&arena, NULL, 0);
        assert_int_equal(proa_db_one(proa_sql(self->test->db, self->test->loop, &arena, &err), &number_type, &number,
                                     "SELECT n FROM changing"),
                         0);
        assert_int_equal(number.n, 5);
        proa_arena_done(&arena);
        self->done++;
    }
    return 0;
}

static int read_in_tx(struct proa_sql tx, void *arg)
{
    struct number number;

    ++*(int *)arg;
    return proa_db_one(tx, &number_type, &number, "SELECT n FROM changing");
}

static void invalidated_body(struct pg_test *test)
{
    struct changing self = {.test = test};
    struct proa_tx_options retry = {.retries = 1};
    struct proa_group group;
    int tries = 0;

    assert_ok(test, pg_exec(test, "DROP TABLE IF EXISTS changing"));
    assert_ok(test, pg_exec(test, "CREATE TABLE changing AS SELECT 5::int AS n"));
    assert_int_equal(pg_number(test, "SELECT n FROM changing"), 5);
    assert_ok(test, pg_exec(test, "ALTER TABLE changing ALTER n TYPE bigint"));
    assert_int_equal(pg_number(test, "SELECT n FROM changing"), 5);
    /* while many are on their way */
    proa_group_init(&group, test->loop);
    for (int i = 0; i < 20; i++)
        assert_int_equal(proa_group_start(&group, NULL, read_changing, &self), 0);
    for (int i = 0; i < 10; i++) {
        assert_ok(test, pg_exec(test, i % 2 ? "ALTER TABLE changing ALTER n TYPE bigint"
                                            : "ALTER TABLE changing ALTER n TYPE int"));
    }
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(self.done, 1000);
    /* in a transaction the whole of it must be run again */
    assert_ok(test, proa_db_transaction(pg_sql(test), NULL, read_in_tx, &tries));
    assert_ok(test, pg_exec(test, "ALTER TABLE changing ALTER n TYPE int"));
    assert_ok(test, pg_exec(test, "ALTER TABLE changing ALTER n TYPE smallint"));
    tries = 0;
    assert_ok(test, proa_db_transaction(pg_sql(test), &retry, read_in_tx, &tries));
    assert_int_equal(tries, 2);
}

static void test_plan_out_of_date(void **state)
{
    pg_test_run(NULL, invalidated_body);
}

/* -- TLS -- */

static void over_tls_body(struct pg_test *test)
{
    pg_assert_tls(test);
    big_body(test);
    pipeline_body(test);
}

static void test_tls(void **state)
{
    pg_test_run_tls(over_tls_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_among_neighbours),
        cmocka_unit_test(test_big),
        cmocka_unit_test(test_prepared),
        cmocka_unit_test(test_session_is_left_alone),
        cmocka_unit_test(test_procedure_runs_once),
        cmocka_unit_test(test_plan_out_of_date),
        cmocka_unit_test(test_tls),
    };

    cmocka_set_test_filter(getenv("PROA_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
