/* The PostgreSQL driver against a real server: values, errors, the pipeline, prepared statements, cancellation, transactions,
 * migrations. What goes wrong with the server itself is in test_pg_faults.c. */
#include "postgres.h"

#include <proa/loops.h>
#include <stdatomic.h>
#include <sys/wait.h>

struct number {
    int64_t n;
};
PROA_DESCRIBE(number, (n, i64));

struct item {
    int64_t id;
    proa_str name;
};
PROA_DESCRIBE(item, (id, i64), (name, str));

static int64_t number_of(struct pg_test *test, const char *text)
{
    struct number number = {-1};

    assert_ok(test, proa_db_one(pg_sql(test), &number_type, &number, text));
    return number.n;
}

static void table(struct pg_test *test)
{
    assert_ok(test, proa_db_exec(pg_sql(test), NULL, "DROP TABLE IF EXISTS child, item"));
    assert_ok(test, proa_db_exec(
                        pg_sql(test), NULL,
                        "CREATE TABLE item (id bigint PRIMARY KEY, name text NOT NULL CONSTRAINT item_name_key UNIQUE, "
                        "CONSTRAINT item_id_positive CHECK (id > 0))"));
}

/* -- Values and results ----------------------------------------------------------------------------------------- */

struct everything {
    int16_t small;
    int32_t medium;
    int64_t large;
    uint64_t natural;
    double real;
    bool yes, no;
    proa_str text, json, uuid, numeric;
    proa_str data, empty_data;
    proa_time_ns at;
    PROA_OPTIONAL(int64_t) nothing;
    proa_str empty;
};
PROA_DESCRIBE(everything, (small, i16), (medium, i32), (large, i64), (natural, u64), (real, f64), (yes, boolean),
              (no, boolean), (text, str), (json, raw), (uuid, str), (numeric, str), (data, bytes), (empty_data, bytes),
              (at, timestamp), (nothing, optional(i64)), (empty, str));

static void values_body(struct pg_test *test)
{
    struct everything row;

    assert_ok(
        test,
        proa_db_one(pg_sql(test), &everything_type, &row,
                    "SELECT $1::smallint AS small, $2::int AS medium, $3::bigint AS large, $4::bigint AS natural, "
                    "$5::float8 AS real, $6::bool AS yes, $7::bool AS no, $8::text AS text, $9::jsonb AS json, "
                    "$10::uuid AS uuid, 12.50::numeric::text AS numeric, $11::bytea AS data, ''::bytea AS empty_data, "
                    "$12::timestamptz AS at, $13::bigint AS nothing, $14::text AS empty",
                    proa_i64(-7), proa_i64(70000), proa_i64(INT64_MIN), proa_u64(INT64_MAX), proa_f64(0.1),
                    proa_bool(true), proa_bool(false), proa_text(PROA_STR("Zoë \"quoted\" \\ end")),
                    proa_json_value(PROA_STR("{\"a\":1}")), proa_text(PROA_STR("5f0c6d5e-0000-4000-8000-0123456789ab")),
                    proa_blob(PROA_STR("\0\1\xff'\\")), proa_time(1234567890123456000), proa_null(),
                    proa_text(PROA_STR(""))));
    assert_int_equal(row.small, -7);
    assert_int_equal(row.medium, 70000);
    assert_true(row.large == INT64_MIN);
    assert_true(row.natural == INT64_MAX);
    assert_true(row.real == 0.1);
    assert_true(row.yes && !row.no);
    assert_true(proa_str_eq(row.text, PROA_STR("Zoë \"quoted\" \\ end")));
    assert_true(proa_str_eq(row.json, PROA_STR("{\"a\": 1}")) || proa_str_eq(row.json, PROA_STR("{\"a\":1}")));
    assert_true(proa_str_eq(row.uuid, PROA_STR("5f0c6d5e-0000-4000-8000-0123456789ab")));
    assert_true(proa_str_eq(row.numeric, PROA_STR("12.50")));
    assert_true(proa_str_eq(row.data, PROA_STR("\0\1\xff'\\")));
    assert_int_equal(row.empty_data.len, 0);
    assert_true(row.at == 1234567890123456000);
    assert_false(row.nothing.presence == PROA_SET);
    assert_int_equal(row.empty.len, 0);
}

static void test_values(void **state)
{
    pg_test_run(NULL, values_body);
}

static void exec_body(struct pg_test *test)
{
    uint64_t rows = 99;
    struct item item;

    table(test);
    assert_ok(test, proa_db_exec(pg_sql(test), &rows, "INSERT INTO item VALUES ($1, $2), ($3, $4)", proa_i64(1),
                                 proa_text(PROA_STR("a")), proa_i64(2), proa_text(PROA_STR("b"))));
    assert_int_equal(rows, 2);
    assert_ok(test, proa_db_exec(pg_sql(test), &rows, "SELECT * FROM item"));
    assert_int_equal(rows, 0);
    assert_ok(test, proa_db_exec(pg_sql(test), &rows, "UPDATE item SET name = name || 'x' WHERE id > $1", proa_i64(1)));
    assert_int_equal(rows, 1);
    assert_ok(test, proa_db_one(pg_sql(test), &item_type, &item,
                                "UPDATE item SET name = 'c' WHERE id = $1 RETURNING id, name", proa_i64(2)));
    assert_true(proa_str_eq(item.name, PROA_STR("c")));
    assert_ok(test, proa_db_exec(pg_sql(test), &rows, "DELETE FROM item"));
    assert_int_equal(rows, 2);
    assert_ok(test, proa_db_exec(pg_sql(test), &rows, ""));
    assert_ok(test, proa_db_exec(pg_sql(test), NULL, "DO $$ BEGIN RAISE NOTICE 'hello'; END $$"));
    assert_ok(test, proa_db_ping(pg_sql(test)));
    assert_string_equal(proa_db_system(test->db), "postgresql");
}

static void test_exec(void **state)
{
    struct proa_db_options options = {.url = getenv("PROA_TEST_PG_SOCKET")};

    pg_test_run(NULL, exec_body);
    pg_test_run(&options, exec_body);
}

/* -- Errors ------------------------------------------------------------------------------------------------------ */

static int exec(struct pg_test *test, const char *text)
{
    return proa_db_exec(pg_sql(test), NULL, text);
}

static void errors_body(struct pg_test *test)
{
    struct item item;
    static const struct {
        const char *text;
        int code;
        const char *constraint;
    } cases[] = {
        {"INSERT INTO item VALUES (1, 'b')", PROA_EEXISTS, "item_pkey"},
        {"INSERT INTO item VALUES (2, 'a')", PROA_EEXISTS, "item_name_key"},
        {"INSERT INTO item VALUES (-1, 'z')", PROA_EVALIDATION, "item_id_positive"},
        {"INSERT INTO item VALUES (3, NULL)", PROA_EVALIDATION, "name"},
        {"INSERT INTO child VALUES (77)", PROA_ECONFLICT, "child_item_fkey"},
        {"DELETE FROM item WHERE id = 1", PROA_ECONFLICT, "child_item_fkey"},
        {"SELEC 1", PROA_EINTERNAL, ""},
        {"SELECT * FROM no_such_table", PROA_EINTERNAL, ""},
        {"SELECT 1; SELECT 2", PROA_EINTERNAL, ""},
        {"SELECT 1 / 0", PROA_EVALIDATION, ""},
        {"SELECT 1000000000000::bigint::int", PROA_ERANGE, ""},
        {"SELECT 'x'::bigint", PROA_EVALIDATION, ""},
        {"SELECT pg_cancel_backend(pg_backend_pid())", PROA_ETIMEDOUT, ""},
        {"DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", PROA_ECONFLICT, ""},
        {"DO $$ BEGIN RAISE SQLSTATE '53300'; END $$", PROA_EBUSY, ""},
        {"DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", PROA_EUNAVAILABLE, ""},
        {"DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$", PROA_EBUSY, ""},
        {"DO $$ BEGIN RAISE EXCEPTION 'custom'; END $$", PROA_EINTERNAL, ""},
    };

    table(test);
    assert_ok(test, exec(test, "CREATE TABLE child (item bigint REFERENCES item)"));
    assert_ok(test, exec(test, "INSERT INTO item VALUES (1, 'a')"));
    assert_ok(test, exec(test, "INSERT INTO child VALUES (1)"));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < PROA_COUNT(cases); i++) {
            int rc = exec(test, cases[i].text);

            if (rc != cases[i].code)
                print_error("%s: %s %s\n", cases[i].text, proa_code_name(rc), test->err.message);
            assert_int_equal(rc, cases[i].code);
            assert_int_equal(test->err.code, cases[i].code);
            assert_string_equal(proa_db_constraint(&test->err), cases[i].constraint);
        }
    }
    assert_int_equal(proa_db_one(pg_sql(test), &item_type, &item, "SELECT id, name FROM item WHERE id = 99"),
                     PROA_ENOTFOUND);
    assert_int_equal(proa_db_exec(pg_sql(test), NULL, "SELECT $1::bigint", proa_u64(UINT64_MAX)), PROA_ERANGE);
    assert_int_equal(proa_db_exec(pg_sql(test), NULL, "SELECT $1::text", proa_text(proa_str_n("a\0b", 3))),
                     PROA_EVALIDATION);
    /* too few parameters */
    assert_int_equal(proa_db_exec(pg_sql(test), NULL, "SELECT $1::text"), PROA_EINTERNAL);
    /* a deferred rule is broken only when the server commits, behind the statement's own result */
    assert_ok(test,
              exec(test,
                   "ALTER TABLE child ADD CONSTRAINT late FOREIGN KEY (item) REFERENCES item DEFERRABLE INITIALLY "
                   "DEFERRED"));
    assert_ok(test, exec(test, "ALTER TABLE child DROP CONSTRAINT child_item_fkey"));
    assert_int_equal(exec(test, "INSERT INTO child VALUES (78)"), PROA_ECONFLICT);
    assert_string_equal(proa_db_constraint(&test->err), "late");
    assert_int_equal(number_of(test, "SELECT count(*) AS n FROM child"), 1);
}

static void test_errors(void **state)
{
    pg_test_run(NULL, errors_body);
}

static void copy_body(struct pg_test *test)
{
    assert_int_equal(exec(test, "COPY (SELECT 1) TO STDOUT"), PROA_EUNSUPPORTED);
    assert_ok(test, proa_db_ping(pg_sql(test)));
    assert_int_equal(exec(test, "COPY item FROM STDIN"), PROA_EUNSUPPORTED);
    assert_ok(test, proa_db_ping(pg_sql(test)));
}

static void test_copy(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, copy_body);
}

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

    table(test);
    assert_ok(test, exec(test, "INSERT INTO item VALUES (1, 'a')"));
    proa_group_init(&group, test->loop);
    for (int i = 0; i < MANY; i++) {
        many[i] = (struct one_of_many){test, i, &done};
        assert_int_equal(proa_group_start(&group, NULL, one_of_many, &many[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(done, MANY * 5);
    assert_int_equal(number_of(test, "SELECT count(*) AS n FROM item"), 1);
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
        assert_int_equal(number_of(test, "SELECT 7::bigint AS n"), 7);
    assert_int_equal(number_of(test, "SELECT count(*) AS n FROM pg_prepared_statements"), 2);
    for (int i = 0; i < 700; i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "SELECT %d::bigint AS n", i % 350);
        assert_int_equal(number_of(test, text), i % 350);
    }
    assert_int_equal(number_of(test, "SELECT count(*) AS n FROM pg_prepared_statements"), 256);
    /* somebody threw them away */
    assert_ok(test, exec(test, "DEALLOCATE ALL"));
    assert_int_equal(number_of(test, "SELECT 7::bigint AS n"), 7);
    assert_ok(test, exec(test, "DISCARD ALL"));
    for (int i = 0; i < 700; i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "SELECT %d::bigint AS n", i % 350);
        assert_int_equal(number_of(test, text), i % 350);
    }
    assert_true(number_of(test, "SELECT count(*) AS n FROM pg_prepared_statements") <= 256);
}

static void session_body(struct pg_test *test)
{
    static const char *const texts[] = {"BEGIN", " -- x\n start transaction", "/* y */ Commit", "ROLLBACK",
                                        "savepoint a"};

    for (size_t i = 0; i < PROA_COUNT(texts); i++)
        assert_int_equal(exec(test, texts[i]), PROA_EINTERNAL);
    assert_int_equal(pg_beside("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"), 0);
    /* notifications that nobody takes are not kept */
    assert_ok(test, exec(test, "LISTEN proa_test"));
    for (int i = 0; i < 20; i++)
        assert_ok(test, exec(test, "NOTIFY proa_test, 'hello'"));
    assert_ok(test, exec(test, "UNLISTEN *"));
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

    assert_ok(test, exec(test, "DROP TABLE IF EXISTS changing"));
    assert_ok(test, exec(test, "CREATE TABLE changing AS SELECT 5::int AS n"));
    assert_int_equal(number_of(test, "SELECT n FROM changing"), 5);
    assert_ok(test, exec(test, "ALTER TABLE changing ALTER n TYPE bigint"));
    assert_int_equal(number_of(test, "SELECT n FROM changing"), 5);
    /* while many are on their way */
    proa_group_init(&group, test->loop);
    for (int i = 0; i < 20; i++)
        assert_int_equal(proa_group_start(&group, NULL, read_changing, &self), 0);
    for (int i = 0; i < 10; i++) {
        assert_ok(test, exec(test, i % 2 ? "ALTER TABLE changing ALTER n TYPE bigint"
                                         : "ALTER TABLE changing ALTER n TYPE int"));
    }
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(self.done, 1000);
    /* in a transaction the whole of it must be run again */
    assert_ok(test, proa_db_transaction(pg_sql(test), NULL, read_in_tx, &tries));
    assert_ok(test, exec(test, "ALTER TABLE changing ALTER n TYPE int"));
    assert_ok(test, exec(test, "ALTER TABLE changing ALTER n TYPE smallint"));
    tries = 0;
    assert_ok(test, proa_db_transaction(pg_sql(test), &retry, read_in_tx, &tries));
    assert_int_equal(tries, 2);
}

static void test_plan_out_of_date(void **state)
{
    pg_test_run(NULL, invalidated_body);
}

/* -- Giving up --------------------------------------------------------------------------------------------------- */

struct timed {
    struct pg_test *test;
    const char *text;
    uint64_t ms;
    int rc;
    uint64_t took_ms;
    bool is_long;
};

static int timed(void *arg)
{
    struct timed *self = arg;
    struct pg_test *test = self->test;
    proa_mono_ns began = proa_loop_now_exact(test->loop);
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(test->loop, self->ms ? began + PROA_MS(self->ms) : PROA_NEVER);
    struct proa_error err = {0};
    struct proa_arena arena;
    struct proa_sql sql;

    proa_arena_init(&arena, NULL, 0);
    sql = proa_sql(test->db, test->loop, &arena, &err);
    sql.is_long = self->is_long;
    self->rc = proa_db_exec(sql, NULL, self->text);
    assert_int_equal(err.code, self->rc);
    self->took_ms = pg_ms_since(test, began);
    proa_arena_done(&arena);
    return 0;
}

static void alone_body(struct pg_test *test)
{
    struct timed slow = {.test = test, .text = "SELECT pg_sleep(20)", .ms = 200};
    proa_mono_ns began = proa_loop_now_exact(test->loop);

    assert_ok(test, proa_db_ping(pg_sql(test)));
    (void)timed(&slow);
    assert_int_equal(slow.rc, PROA_ETIMEDOUT);
    assert_in_range(slow.took_ms, 190, 2000);
    /* it was cancelled, so the only connection serves the next */
    assert_ok(test, proa_db_ping(pg_sql(test)));
    assert_in_range(pg_ms_since(test, began), 190, 5000);
    assert_int_equal(
        number_of(test, "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = "
                        "'active' AND pid <> pg_backend_pid()"),
        0);
    /* the same on a connection of its own */
    slow.is_long = true;
    (void)timed(&slow);
    assert_int_equal(slow.rc, PROA_ETIMEDOUT);
    slow.text = "SELECT 1";
    slow.ms = 5000;
    (void)timed(&slow);
    assert_int_equal(slow.rc, 0);
}

static void test_cancelled_alone(void **state)
{
    struct proa_db_options options = {.shared_connections = 1, .own_connections = 1};

    pg_test_run(&options, alone_body);
}

static void neighbours_body(struct pg_test *test)
{
    struct timed first = {.test = test, .text = "SELECT pg_sleep(0.6)"};
    struct timed second = {.test = test, .text = "INSERT INTO item VALUES (5, 'second')", .ms = 150};
    struct timed third = {.test = test, .text = "SELECT 1"};
    struct proa_group group;

    table(test);
    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, timed, &first), 0);
    assert_int_equal(proa_group_start(&group, NULL, timed, &second), 0);
    assert_int_equal(proa_group_start(&group, NULL, timed, &third), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    /* Sent behind another: its result is thrown away, and neither neighbour is hit. It was written all the same. */
    assert_int_equal(second.rc, PROA_EUNKNOWN);
    assert_in_range(second.took_ms, 140, 550);
    assert_int_equal(first.rc, 0);
    assert_in_range(first.took_ms, 590, 5000);
    assert_int_equal(third.rc, 0);
    assert_int_equal(number_of(test, "SELECT count(*) AS n FROM item"), 1);
}

static void test_given_up_among_neighbours(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, neighbours_body);
}

enum { FULL = 64 };

static void unsent_body(struct pg_test *test)
{
    static struct timed crowd[FULL];
    struct timed late = {.test = test, .text = "INSERT INTO item VALUES (6, 'late')", .ms = 150};
    struct timed refused = {.test = test, .text = "INSERT INTO item VALUES (7, 'refused')"};
    struct timed waits = {.test = test, .text = "INSERT INTO item VALUES (8, 'waits')"};
    struct proa_group group;

    table(test);
    proa_group_init(&group, test->loop);
    for (int i = 0; i < FULL; i++) {
        crowd[i] = (struct timed){.test = test, .text = i ? "SELECT 1" : "SELECT pg_sleep(0.5)"};
        assert_int_equal(proa_group_start(&group, NULL, timed, &crowd[i]), 0);
    }
    assert_int_equal(proa_group_start(&group, NULL, timed, &late), 0);
    assert_int_equal(proa_group_start(&group, NULL, timed, &waits), 0);
    assert_int_equal(proa_group_start(&group, NULL, timed, &refused), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    for (int i = 0; i < FULL; i++)
        assert_int_equal(crowd[i].rc, 0);
    assert_int_equal(late.rc, PROA_ETIMEDOUT);
    assert_in_range(late.took_ms, 140, 450);
    assert_int_equal(waits.rc, 0);
    assert_int_equal(refused.rc, PROA_EBUSY);
    /* dropped with its request: it never ran */
    assert_int_equal(number_of(test, "SELECT sum(id)::bigint AS n FROM item"), 8);
}

static void test_given_up_unsent(void **state)
{
    struct proa_db_options options = {.shared_connections = 1, .waiting_max = 2};

    pg_test_run(&options, unsent_body);
}

static void statement_timeout_body(struct pg_test *test)
{
    struct timed slow = {.test = test, .text = "SELECT pg_sleep(20)"}, long_one = {.test = test, .is_long = true};
    struct timed next = {.test = test, .text = "SELECT 1"};
    struct proa_group group;

    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, timed, &slow), 0);
    assert_int_equal(proa_group_start(&group, NULL, timed, &next), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(slow.rc, PROA_ETIMEDOUT);
    assert_in_range(slow.took_ms, 290, 3000);
    assert_int_equal(next.rc, 0);
    long_one.text = "SELECT pg_sleep(0.6)";
    (void)timed(&long_one);
    assert_int_equal(long_one.rc, 0);
}

static void test_statement_timeout(void **state)
{
    struct proa_db_options options = {.shared_connections = 1, .statement_ms = 300};

    pg_test_run(&options, statement_timeout_body);
}

static int cancelled_in_pipeline(void *arg)
{
    struct timed *self = arg;

    self->rc = timed(self);
    return 0;
}

static void storm_body(struct pg_test *test)
{
    static struct timed many[FULL * 2];

    /* Requests that come and go in all states: none may take another's answer, none may be touched after its end. */
    for (int round = 0; round < 20; round++) {
        struct proa_group group;

        proa_group_init(&group, test->loop);
        for (size_t i = 0; i < PROA_COUNT(many); i++) {
            many[i] =
                (struct timed){.test = test, .text = i % 3 ? "SELECT 1" : "SELECT pg_sleep(0.001)", .ms = 1 + i % 12};
            many[i].is_long = i % 16 == 15;
            assert_int_equal(proa_group_start(&group, NULL, cancelled_in_pipeline, &many[i]), 0);
        }
        proa_ignore(proa_sleep(test->loop, PROA_MS(4)));
        if (round % 2)
            proa_group_cancel(&group, 0);
        proa_ignore(proa_group_wait(&group));
        assert_int_equal(number_of(test, "SELECT 42::bigint AS n"), 42);
    }
}

static void test_storm_of_cancellations(void **state)
{
    struct proa_db_options options = {.shared_connections = 2, .own_connections = 3};

    pg_test_run(&options, storm_body);
}

/* -- Transactions ------------------------------------------------------------------------------------------------ */

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

    table(test);
    assert_int_equal(proa_db_transaction(pg_sql(test), NULL, insert_two, &failure), PROA_EPRECONDITION);
    assert_int_equal(number_of(test, "SELECT count(*) AS n FROM item"), 0);
    assert_ok(test, proa_db_transaction(pg_sql(test), NULL, insert_two, &zero));
    assert_int_equal(number_of(test, "SELECT count(*) AS n FROM item"), 2);
    assert_ok(test, exec(test, "DELETE FROM item"));
    assert_ok(test, proa_db_transaction(pg_sql(test), NULL, nested, NULL));
    assert_int_equal(number_of(test, "SELECT sum(id)::bigint AS n FROM item"), 3);
    assert_true(proa_db_transaction(pg_sql(test), &read_only, write_inside, NULL) < 0);
    /* cut short: rolled back, and the one connection is good again */
    began = proa_loop_now_exact(test->loop);
    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(test->loop, began + PROA_MS(200));

        assert_int_equal(proa_db_transaction(pg_sql(test), NULL, sleep_inside, NULL), PROA_ETIMEDOUT);
    }
    assert_in_range(pg_ms_since(test, began), 190, 2500);
    assert_ok(test, proa_db_transaction(pg_sql(test), NULL, write_inside, NULL));
    assert_int_equal(number_of(test, "SELECT sum(id)::bigint AS n FROM item"), 33);
    assert_int_equal(
        number_of(test, "SELECT count(*) AS n FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"), 0);
}

static void test_transactions(void **state)
{
    struct proa_db_options options = {.own_connections = 1};

    pg_test_run(&options, transaction_body);
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

    table(test);
    assert_ok(test, exec(test, "INSERT INTO item VALUES (1, 'counter')"));
    proa_group_init(&group, test->loop);
    for (int i = 0; i < 6; i++)
        assert_int_equal(proa_group_start(&group, NULL, count_up, &self), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(number_of(test, "SELECT id AS n FROM item"), 31);
    assert_true(self.tries > 30);
}

static void test_serialisation_is_retried(void **state)
{
    struct proa_db_options options = {.own_connections = 3};

    pg_test_run(&options, serialisation_body);
}

static int hold_inside(struct proa_sql tx, void *arg)
{
    return proa_db_exec(tx, NULL, "SELECT pg_sleep(0.4)");
}

static int hold_one(void *arg)
{
    struct timed *self = arg;
    struct pg_test *test = self->test;
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(test->loop, self->ms ? proa_loop_now_exact(test->loop) + PROA_MS(self->ms) : PROA_NEVER);
    struct proa_error err = {0};
    struct proa_arena arena;

    proa_arena_init(&arena, NULL, 0);
    self->rc = proa_db_transaction(proa_sql(test->db, test->loop, &arena, &err), NULL, hold_inside, NULL);
    proa_arena_done(&arena);
    return 0;
}

static void own_pool_body(struct pg_test *test)
{
    struct timed first = {.test = test}, gives_up = {.test = test, .ms = 100}, second = {.test = test};
    struct timed refused = {.test = test};
    struct proa_group group;

    assert_ok(test, proa_db_ping(pg_sql(test)));
    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, hold_one, &first), 0);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(150)), 0);
    assert_int_equal(proa_group_start(&group, NULL, hold_one, &gives_up), 0);
    assert_int_equal(proa_group_start(&group, NULL, hold_one, &second), 0);
    assert_int_equal(proa_group_start(&group, NULL, hold_one, &refused), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(first.rc, 0);
    assert_int_equal(gives_up.rc, PROA_ETIMEDOUT);
    assert_int_equal(second.rc, 0);
    assert_int_equal(refused.rc, PROA_EBUSY);
    assert_int_equal(number_of(test, "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'proa'"), 3);
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
    assert_int_equal(number_of(test, "SELECT sum(id)::bigint AS n FROM migrated"), 6);
    assert_int_equal(proa_db_migrate(pg_sql(test), broken, PROA_COUNT(broken)), PROA_ECONFLICT);
    failing[0] = migrations[0];
    failing[1] = migrations[1];
    failing[2] =
        (struct proa_migration){.number = 3, .name = "fails", .sql = "INSERT INTO migrated VALUES (9); SELECT 1 / 0"};
    assert_true(proa_db_migrate(pg_sql(test), failing, 3) < 0);
    assert_int_equal(number_of(test, "SELECT sum(id)::bigint AS n FROM migrated"), 6);
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

struct on_loops {
    struct proa_loops *loops;
    struct proa_db *db;
    _Atomic unsigned busy;
    _Atomic unsigned done;
};
struct on_loop {
    struct on_loops *all;
    struct proa_loop *loop;
    struct proa_task task;
};

static int in_loop_tx(struct proa_sql tx, void *arg)
{
    PROA_TRY(proa_db_exec(tx, NULL, "SELECT 1"));
    return proa_db_exec(tx, NULL, "SELECT 2");
}

static int use_from_loop(void *arg)
{
    struct on_loop *self = arg;

    for (int i = 0; i < 40; i++) {
        struct proa_error err = {0};
        struct proa_arena arena;
        struct proa_sql sql;
        struct number number;

        proa_arena_init(&arena, proa_loop_blocks(self->loop), 0);
        sql = proa_sql(self->all->db, self->loop, &arena, &err);
        if (i % 20 == 7) {
            struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
                proa_deadline_enter(self->loop, proa_loop_now(self->loop) + PROA_MS(5));

            proa_ignore(proa_db_exec(sql, NULL, "SELECT pg_sleep(0.02)"));
        } else if (i % 20 == 3) {
            assert_int_equal(proa_db_transaction(sql, NULL, in_loop_tx, NULL), 0);
        } else {
            assert_int_equal(proa_db_one(sql, &number_type, &number, "SELECT $1::bigint + 1 AS n", proa_i64(i)), 0);
            assert_int_equal(number.n, i + 1);
        }
        proa_arena_done(&arena);
        self->all->done++;
    }
    self->all->busy--;
    return 0;
}

static void start_on_loop(struct proa_task *task)
{
    struct on_loop *self = PROA_CONTAINER(task, struct on_loop, task);

    for (int i = 0; i < 16; i++)
        assert_int_equal(proa_loop_start_fiber(self->loop, NULL, use_from_loop, self), 0);
}

static int close_when_done(void *arg)
{
    struct on_loops *all = arg;

    while (all->busy)
        assert_int_equal(proa_sleep(proa_loops_at(all->loops, 0), PROA_MS(5)), 0);
    proa_db_close(all->db);
    proa_loops_stop(all->loops);
    return 0;
}

static void test_two_loops(void **state)
{
    struct proa_loop_options loop_options = {.fiber_stack_bytes = 256 * 1024};
    struct on_loops all = {.busy = 32};
    struct on_loop each[2];
    struct proa_db_options options = {.url = pg_url(), .drivers = pg_drivers, .own_connections = 4};
    struct proa_error err = {0};

    assert_int_equal(proa_loops_new(2, &loop_options, &all.loops, &err), 0);
    options.loops = all.loops;
    assert_int_equal(proa_db_open(&options, &all.db, &err), 0);
    for (uint32_t i = 0; i < 2; i++) {
        each[i] = (struct on_loop){&all, proa_loops_at(all.loops, i), {.run = start_on_loop}};
        proa_loop_post(each[i].loop, &each[i].task);
    }
    assert_int_equal(proa_loop_start_fiber(proa_loops_at(all.loops, 0), NULL, close_when_done, &all), 0);
    alarm(60);
    assert_int_equal(proa_loops_run(all.loops, &err), 0);
    alarm(0);
    assert_int_equal(all.done, 32 * 40);
    proa_loops_free(all.loops);
}

/* -- Opening ------------------------------------------------------------------------------------------------------ */

static void test_bad_urls(void **state)
{
    static const char *const urls[] = {
        "postgres://u:hidden@host:port/db", "postgres://u:hidden@h/db?no_such=1", "postgres://u:hid@den@host/db",
        "postgres://u:hidden@[::1/db",      "postgres://u:hidden%zz@h/db",
    };
    struct proa_loop *loop;
    struct proa_db *db;

    assert_int_equal(proa_loop_new(NULL, &loop), 0);
    for (size_t i = 0; i < PROA_COUNT(urls); i++) {
        struct proa_db_options options = {.url = urls[i], .drivers = pg_drivers, .loop = loop};
        struct proa_error err = {0};
        int rc = proa_db_open(&options, &db, &err);

        if (rc != PROA_EINVAL)
            print_error("%s: %d\n", urls[i], rc);
        assert_int_equal(rc, PROA_EINVAL);
        assert_null(strstr(err.message, "hid"));
        assert_null(strstr(err.message, "den"));
    }
    proa_loop_free(loop);
}

static void wrong_password_body(struct pg_test *test)
{
    proa_mono_ns began = proa_loop_now_exact(test->loop);

    assert_int_equal(proa_db_ping(pg_sql(test)), PROA_EUNAVAILABLE);
    assert_in_range(pg_ms_since(test, began), 0, 3000);
    assert_int_equal(test->err.retry_after_s, 1);
    assert_non_null(strstr(test->err.message, "password authentication failed"));
    assert_null(strstr(test->err.message, "wrongword"));
    /* now it is known: at once */
    began = proa_loop_now_exact(test->loop);
    assert_int_equal(proa_db_ping(pg_sql(test)), PROA_EUNAVAILABLE);
    assert_int_equal(proa_db_transaction(pg_sql(test), NULL, hold_inside, NULL), PROA_EUNAVAILABLE);
    assert_in_range(pg_ms_since(test, began), 0, 100);
}

static void test_wrong_password(void **state)
{
    char url[256];
    const char *at = strrchr(pg_url(), '@');
    struct proa_db_options options = {.url = url};

    (void)snprintf(url, sizeof url, "postgresql://proa:wrongword%s", at);
    pg_test_run(&options, wrong_password_body);
}

/* Whether the connection was made with the URL that names it so. */
static bool is_renewed(struct pg_test *test, struct proa_sql sql, const char *name)
{
    struct proa_sql with_error = sql;
    struct proa_error err = {0};

    (void)test;
    with_error.err = &err;
    return proa_db_exec(with_error, NULL, "SELECT 1 / (current_setting('application_name') = $1)::int",
                        proa_text(proa_str_c(name))) == 0;
}

static void wait_renewed(struct pg_test *test, const char *name)
{
    for (int quiet = 0, tries = 0; quiet < 20; tries++) { /* several in a row: over all connections */
        assert_true(tries < 1000);
        quiet = is_renewed(test, pg_sql(test), name) ? quiet + 1 : 0;
        assert_int_equal(proa_sleep(test->loop, PROA_MS(5)), 0);
    }
}

static char other_url[256];

static int change_inside(struct proa_sql tx, void *arg)
{
    PROA_TRY(proa_db_set_url(tx.db, pg_url(), tx.err));
    assert_int_equal(proa_sleep(tx.loop, PROA_MS(300)), 0);
    return is_renewed(arg, tx, "first") ? 0 : PROA_EINTERNAL; /* its connection stays to the end */
}

static void new_url_body(struct pg_test *test)
{
    char wrong[256];

    assert_int_equal(proa_db_ping(pg_sql(test)), 0);
    assert_int_equal(proa_db_set_url(test->db, pg_url(), &test->err), 0); /* no change */
    assert_int_equal(proa_db_set_url(test->db, "postgres://u:hidden%zz@h/db", &test->err), PROA_EINVAL);
    assert_null(strstr(test->err.message, "hidden"));
    assert_int_equal(proa_db_set_url(test->db, "other:x", &test->err), PROA_EUNSUPPORTED);
    /* A wrong one, however long: the old connections serve. */
    (void)snprintf(wrong, sizeof wrong, "postgresql://proa:wrongword%s", strrchr(pg_url(), '@'));
    assert_int_equal(proa_db_set_url(test->db, wrong, &test->err), 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(proa_db_ping(pg_sql(test)), 0);
        assert_int_equal(proa_sleep(test->loop, PROA_MS(10)), 0);
    }
    (void)snprintf(other_url, sizeof other_url, "%s&application_name=first", pg_url());
    assert_int_equal(proa_db_set_url(test->db, other_url, &test->err), 0);
    wait_renewed(test, "first");
    assert_int_equal(proa_db_transaction(pg_sql(test), NULL, change_inside, test), 0);
    wait_renewed(test, "proa");
    /* Closed while it is under way. */
    assert_int_equal(proa_db_set_url(test->db, wrong, &test->err), 0);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(20)), 0);
}

static void test_new_url(void **state)
{
    struct proa_db_options options = {0};

    pg_test_run(&options, new_url_body);
}

static void nothing(struct pg_test *test)
{
}

static void test_closed_at_once(void **state)
{
    struct proa_db_options nowhere = {.url = "postgres://u:p@127.0.0.1:1/none"};

    for (int i = 0; i < 5; i++)
        pg_test_run(NULL, nothing);
    pg_test_run(&nowhere, nothing);
}

/* -- TLS ----------------------------------------------------------------------------------------------------------- */

static int over_tls(struct proa_sql tx, void *arg)
{
    struct number number;

    PROA_TRY(
        proa_db_one(tx, &number_type, &number, "SELECT ssl::int AS n FROM pg_stat_ssl WHERE pid = pg_backend_pid()"));
    *(int64_t *)arg = number.n;
    return 0;
}

static void tls_body(struct pg_test *test)
{
    int64_t is_tls = 0;

    assert_ok(test, proa_db_transaction(pg_sql(test), NULL, over_tls, &is_tls));
    assert_int_equal(is_tls, 1);
    exec_body(test);
    big_body(test);
    pipeline_body(test);
    alone_body(test);
    storm_body(test);
    transaction_body(test);
}

static void test_tls(void **state)
{
    struct proa_db_options options = {.url = getenv("PROA_TEST_PG_TLS"), .shared_connections = 1, .own_connections = 2};

    if (!options.url) {
        skip();
        return;
    }
    pg_test_run(&options, tls_body);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_exec),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_errors_among_neighbours),
        cmocka_unit_test(test_big),
        cmocka_unit_test(test_prepared),
        cmocka_unit_test(test_session_is_left_alone),
        cmocka_unit_test(test_plan_out_of_date),
        cmocka_unit_test(test_cancelled_alone),
        cmocka_unit_test(test_given_up_among_neighbours),
        cmocka_unit_test(test_given_up_unsent),
        cmocka_unit_test(test_statement_timeout),
        cmocka_unit_test(test_storm_of_cancellations),
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_serialisation_is_retried),
        cmocka_unit_test(test_own_connections_are_bounded),
        cmocka_unit_test(test_migrations_race),
        cmocka_unit_test(test_two_loops),
        cmocka_unit_test(test_bad_urls),
        cmocka_unit_test(test_wrong_password),
        cmocka_unit_test(test_new_url),
        cmocka_unit_test(test_closed_at_once),
        cmocka_unit_test(test_tls),
    };

    if (argc > 1 && strcmp(argv[1], "--migrate") == 0) {
        pg_test_run(NULL, migrate_body);
        return 0;
    }
    cmocka_set_test_filter(getenv("PROA_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
