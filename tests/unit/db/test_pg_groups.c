/* Reads of several fibers that share one sync: that they do, and that nobody notices, whatever happens to one of them. */
#include "postgres.h"

#include "db/pg_internal.h"

enum { CROWD = 32 };

struct answer {
    int64_t n;
    int64_t at; /* microseconds of the transaction that it ran in */
};
PROA_DESCRIBE(answer, (n, i64), (at, i64));

#define AT "(extract(epoch FROM now()) * 1000000)::bigint AS at"
/* Each is one in a hundred's reciprocal; 0 fails. */
static const char division[] = "SELECT 100 / $1::bigint AS n, " AT;

/* A read in a fiber of its own. */
struct reader {
    struct pg_test *test;
    const char *text;
    int64_t number;
    uint64_t ms; /* its deadline; 0: none */
    bool is_marked;
    int rc;
    uint64_t took_ms;
    struct answer answer;
    struct proa_error err;
};

static int read_one(void *arg)
{
    struct reader *self = arg;
    struct pg_test *test = self->test;
    proa_mono_ns began = proa_loop_now_exact(test->loop);
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(test->loop, self->ms ? began + PROA_MS(self->ms) : PROA_NEVER);
    struct proa_arena arena;
    struct proa_sql sql;

    proa_arena_init(&arena, NULL, 0);
    self->err = (struct proa_error){0};
    sql = proa_sql(test->db, test->loop, &arena, &self->err);
    sql.share = self->is_marked ? PROA_SHARE_ALWAYS : PROA_SHARE_AUTO;
    self->rc = proa_db_one(sql, &answer_type, &self->answer, self->text, proa_i64(self->number));
    self->took_ms = pg_ms_since(test, began);
    proa_arena_done(&arena);
    return 0;
}

/* All in one turn of the loop; `numbers` are 1, 2, … where they are 0 in `readers`. */
static void read_together(struct pg_test *test, struct reader *readers, size_t count)
{
    struct proa_group group;

    proa_group_init(&group, test->loop);
    for (size_t i = 0; i < count; i++) {
        readers[i].test = test;
        assert_int_equal(proa_group_start(&group, NULL, read_one, &readers[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
}

/* In how many transactions those ran that worked. */
static size_t transactions_of(const struct reader *readers, size_t count)
{
    size_t transactions = 0;

    for (size_t i = 0; i < count; i++) {
        bool is_new = readers[i].rc == 0;

        for (size_t k = 0; k < i && is_new; k++)
            is_new = readers[k].rc < 0 || readers[k].answer.at != readers[i].answer.at;
        transactions += is_new;
    }
    return transactions;
}

static void fill(struct reader *readers, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        readers[i] = (struct reader){.text = text, .number = (int64_t)i + 1};
}

/* Until the text is prepared on every connection and known to be quick, so that it shares. */
static void warm(struct pg_test *test, const char *text, bool is_marked)
{
    static struct reader readers[CROWD];
    int tries = 0;

    do {
        assert_true(tries++ < 50);
        fill(readers, CROWD, text);
        for (int i = 0; i < CROWD; i++)
            readers[i].is_marked = is_marked;
        read_together(test, readers, CROWD);
    } while (transactions_of(readers, CROWD) > test->options.shared_connections);
}

/* -- Sharing ----------------------------------------------------------------------------------------------------- */

static void shared_body(struct pg_test *test)
{
    static struct reader readers[200];
    size_t together[200] = {0};

    warm(test, division, false);
    fill(readers, CROWD, division);
    read_together(test, readers, CROWD);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(readers[i].rc, 0);
        assert_int_equal(readers[i].answer.n, 100 / (i + 1));
    }
    assert_int_equal(transactions_of(readers, CROWD), 1);
    /* A group is bounded. */
    fill(readers, PROA_COUNT(readers), division);
    read_together(test, readers, PROA_COUNT(readers));
    for (size_t i = 0; i < PROA_COUNT(readers); i++) {
        assert_int_equal(readers[i].rc, 0);
        assert_int_equal(readers[i].answer.n, 100 / (int64_t)(i + 1));
        for (size_t k = 0; k < PROA_COUNT(readers); k++)
            together[i] += readers[k].answer.at == readers[i].answer.at;
        assert_in_range(together[i], 1, 64);
    }
    assert_in_range(transactions_of(readers, PROA_COUNT(readers)), 4, 40);
    /* Nobody waits for others to come. */
    fill(readers, 1, division);
    read_together(test, readers, 1);
    assert_int_equal(readers[0].rc, 0);
    assert_in_range(readers[0].took_ms, 0, 700);
}

static void test_reads_share_a_sync(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};
    struct proa_db_options tls = {.url = getenv("PROA_TEST_PG_TLS"), .shared_connections = 1};

    pg_test_run(&options, shared_body);
    if (tls.url)
        pg_test_run(&tls, shared_body);
}

struct mixed {
    struct pg_test *test;
    int64_t id;
};

static int write_and_read(void *arg)
{
    struct mixed *self = arg;
    struct pg_test *test = self->test;

    for (int64_t i = 1; i <= 40; i++) {
        struct proa_error err = {0};
        struct number number = {0};
        struct proa_arena arena;
        struct proa_sql sql;

        proa_arena_init(&arena, NULL, 0);
        sql = proa_sql(test->db, test->loop, &arena, &err);
        assert_int_equal(
            proa_db_exec(sql, NULL, "UPDATE mixed SET n = $1 WHERE id = $2", proa_i64(i), proa_i64(self->id)), 0);
        assert_int_equal(
            proa_db_one(sql, &number_type, &number, "SELECT n FROM mixed WHERE id = $1", proa_i64(self->id)), 0);
        assert_int_equal(number.n, i);
        proa_arena_done(&arena);
    }
    return 0;
}

static void mixed_body(struct pg_test *test)
{
    static struct mixed mixed[CROWD];
    struct proa_group group;

    assert_ok(test, pg_exec(test, "DROP TABLE IF EXISTS mixed"));
    assert_ok(test, pg_exec(test, "CREATE TABLE mixed AS SELECT i::bigint AS id, 0::bigint AS n FROM "
                                  "generate_series(1, 100) i"));
    proa_group_init(&group, test->loop);
    for (int i = 0; i < CROWD; i++) {
        mixed[i] = (struct mixed){test, i + 1};
        assert_int_equal(proa_group_start(&group, NULL, write_and_read, &mixed[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
}

static void test_a_read_sees_the_write_before_it(void **state)
{
    struct proa_db_options options = {.shared_connections = 2};

    pg_test_run(&options, mixed_body);
}

static void expect_texts(bool (*fn)(const char *text), bool expected, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fn(texts[i]) != expected)
            print_error("not so: %s\n", texts[i]);
        assert_int_equal(fn(texts[i]), expected);
    }
}

static void test_which_texts_share(void **state)
{
    static const char *const shared[] = {
        "SELECT id, name FROM users WHERE id = $1",
        " -- a comment ( with\n select /* insert ( */ count(*) FROM t WHERE a IN ($1, $2) AND (b OR c)",
        "SELECT max ( a ) FROM t WHERE name = 'it''s update (' AND \"insert\" = 1",
        "VALUES (1, 2)",
        "TABLE t",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "SELECT a::numeric(10, 2), CAST(b AS varchar(3)), coalesce(lower(c), '') FROM t ORDER BY a LIMIT $1",
        "SELECT jsonb_build_object('a', a), now(), extract(epoch FROM now()) FROM t",
        "SELECT 1;",
        "(SELECT 1) UNION (SELECT 2)",
    };
    static const char *const alone[] = {
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t FOR NO KEY UPDATE",
        "SELECT * FROM t FOR KEY SHARE",
        "SELECT * INTO u FROM t",
        "SELECT nextval('s')",
        "SELECT setval ('s', 1)",
        "SELECT set_config('a.b', $1, true)",
        "SELECT /* hidden */ effect /* too */ (1)",
        "SELECT \"effect\"(1)",
        "SELECT \"count\"(1)",
        "SELECT other.lower('x')",
        "SELECT other . lower('x')",
        "SELECT * FROM effects($1)",
        "SELECT 'a\\' || effect(1) || '",
        "SELECT $$ text $$",
        "SELECT $a$ text $a$",
        "SELECT E'x'",
        "SELECT U&'x'",
        "SELECT 'unfinished",
        "SELECT \"unfinished",
        "SELECT 1 /* unfinished",
        "SELECT /* /* nested */ */ 1",
        "SELECT 1; SELECT 2",
        "SHOW work_mem",
        "SET work_mem = 1",
        "EXPLAIN ANALYZE SELECT 1",
        "EXECUTE x(1)",
        "CALL p()",
        "NOTIFY x",
        "",
        ";",
    };

    expect_texts(pg_text_shares, true, shared, PROA_COUNT(shared));
    expect_texts(pg_text_shares, false, alone, PROA_COUNT(alone));
    /* Whatever shares only reads. */
    expect_texts(pg_text_reads, true, shared, PROA_COUNT(shared));
}

static void test_which_texts_only_read(void **state)
{
    static const char *const reads[] = {
        "SHOW work_mem",
        "SELECT pg_sleep($1)",
        "SELECT * FROM t WHERE at > clock_timestamp() FOR KEY SHARE",
        "SELECT current_setting('a.b'), pg_backend_pid() FROM generate_series(1, $1)",
        "SELECT 'insert', \"update\", set, share FROM t",
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT i FROM r AS q(i)",
    };
    static const char *const writes[] = {
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "SELECT * INTO u FROM t",
        "SELECT nextval('s')",
        "SELECT create_order($1)",
        "SELECT * FROM create_orders($1) AS o(id)",
        "SELECT other.pg_sleep(1)",
        "SELECT \"count\"(1)",
        "SELECT pg_notify('a', 'b')",
        "SELECT pg_advisory_lock(1)",
        "SELECT 'a\\' || effect(1) || '",
        "SELECT 1; DROP TABLE t",
        "EXPLAIN ANALYZE SELECT 1",
        "CALL p()",
        "REFRESH MATERIALIZED VIEW v",
        "",
    };

    expect_texts(pg_text_reads, true, reads, PROA_COUNT(reads));
    expect_texts(pg_text_reads, false, writes, PROA_COUNT(writes));
}

/* -- One fails --------------------------------------------------------------------------------------------------- */

static void failing_body(struct pg_test *test)
{
    static struct reader readers[CROWD];

    warm(test, division, false);
    for (int round = 0; round < 2; round++) {
        fill(readers, CROWD, division);
        readers[CROWD / 2].number = 0;
        read_together(test, readers, CROWD);
        for (int i = 0; i < CROWD; i++) {
            if (i == CROWD / 2)
                continue;
            assert_int_equal(readers[i].rc, 0);
            assert_int_equal(readers[i].err.code, 0);
            assert_int_equal(readers[i].answer.n, 100 / (i + 1));
        }
        assert_int_equal(readers[CROWD / 2].rc, PROA_EVALIDATION);
        assert_non_null(strstr(readers[CROWD / 2].err.message, "22012"));
        /* What ran before it in the group was undone with it, so that no answer may be from there. For a while the text stays apart. */
        assert_int_equal(transactions_of(readers, CROWD), CROWD - 1);
    }
    assert_int_equal(proa_sleep(test->loop, PROA_MS(1100)), 0);
    fill(readers, CROWD, division);
    read_together(test, readers, CROWD);
    assert_int_equal(transactions_of(readers, CROWD), 1);
}

static void test_one_fails(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, failing_body);
}

/* effect(i) writes i down, and fails for negative ones. */
static void make_effects(struct pg_test *test)
{
    assert_ok(test, pg_exec(test, "DROP TABLE IF EXISTS effects CASCADE"));
    assert_ok(test, pg_exec(test, "CREATE TABLE effects (id bigint, tx xid8 DEFAULT pg_current_xact_id())"));
    assert_ok(test,
              pg_exec(test, "CREATE OR REPLACE FUNCTION effect(i bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN "
                            "INSERT INTO effects VALUES (i); IF i < 0 THEN RAISE 'no'; END IF; "
                            "IF i >= 1000 THEN PERFORM pg_sleep(i / 1000.0 - 1); END IF; RETURN i; END $$"));
}

static const char effect[] = "SELECT effect($1) AS n, " AT;

static void expect_effects(struct pg_test *test, int64_t count)
{
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM effects"), count);
    assert_int_equal(pg_number(test, "SELECT count(DISTINCT id) AS n FROM effects"), count);
}

static void effects_body(struct pg_test *test)
{
    static struct reader readers[CROWD];

    make_effects(test);
    warm(test, effect, true);
    /* Left alone, the text is no plain read. */
    assert_ok(test, pg_exec(test, "TRUNCATE effects"));
    fill(readers, CROWD, effect);
    read_together(test, readers, CROWD);
    expect_effects(test, CROWD);
    assert_int_equal(pg_number(test, "SELECT count(DISTINCT tx) AS n FROM effects"), CROWD);
    /* Marked, it shares. */
    assert_ok(test, pg_exec(test, "TRUNCATE effects"));
    fill(readers, CROWD, effect);
    for (int i = 0; i < CROWD; i++)
        readers[i].is_marked = true;
    read_together(test, readers, CROWD);
    expect_effects(test, CROWD);
    assert_int_equal(pg_number(test, "SELECT count(DISTINCT tx) AS n FROM effects"), 1);
    /* One fails: each of the others is done once, and stays done. */
    assert_ok(test, pg_exec(test, "TRUNCATE effects"));
    readers[CROWD / 2].number = -1;
    read_together(test, readers, CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(readers[i].rc, i == CROWD / 2 ? PROA_EINTERNAL : 0);
    expect_effects(test, CROWD - 1);
}

static void test_effects_are_done_once(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, effects_body);
}

/* The group's statements all worked; what fails is the commit. */
static void late_body(struct pg_test *test)
{
    static struct reader readers[CROWD];

    make_effects(test);
    warm(test, effect, true);
    assert_ok(test, pg_exec(test, "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                                  "IF NEW.id = 13 THEN RAISE SQLSTATE '23514'; END IF; RETURN NULL; END $$"));
    assert_ok(test,
              pg_exec(test, "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED "
                            "FOR EACH ROW EXECUTE FUNCTION refuse()"));
    assert_ok(test, pg_exec(test, "TRUNCATE effects"));
    fill(readers, CROWD, effect);
    for (int i = 0; i < CROWD; i++)
        readers[i].is_marked = true;
    read_together(test, readers, CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(readers[i].rc, i == 12 ? PROA_EVALIDATION : 0);
    expect_effects(test, CROWD - 1);
}

static void test_the_commit_fails(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, late_body);
}

/* A text that fails again and again does not make others run twice each time. */
static void apart_body(struct pg_test *test)
{
    static const char counted[] = "SELECT nextval('runs') AS n, 100 / $1::bigint AS at";
    static struct reader readers[CROWD];
    int64_t before, runs;

    assert_ok(test, pg_exec(test, "DROP SEQUENCE IF EXISTS runs"));
    assert_ok(test, pg_exec(test, "CREATE SEQUENCE runs"));
    for (int round = 0; round < 4; round++) {
        fill(readers, CROWD, counted);
        for (int i = 0; i < CROWD; i++)
            readers[i].is_marked = true;
        readers[CROWD / 2].number = round < 2; /* the first two are to make it known */
        before = pg_number(test, "SELECT last_value AS n FROM runs");
        read_together(test, readers, CROWD);
        for (int i = 0; i < CROWD; i++)
            assert_int_equal(readers[i].rc, round < 2 || i != CROWD / 2 ? 0 : PROA_EVALIDATION);
        runs = pg_number(test, "SELECT last_value AS n FROM runs") - before;
        /* what a sequence gave is not undone: so it tells what ran twice */
        if (round == 2)
            assert_in_range(runs, CROWD + 2, 2 * CROWD);
        if (round == 3)
            assert_int_equal(runs, CROWD);
    }
}

static void test_what_failed_stays_apart(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, apart_body);
}

/* -- The connection goes ----------------------------------------------------------------------------------------- */

#define RUNNING                                                                                                        \
    "FROM pg_stat_activity WHERE application_name = 'proa' AND query LIKE '%effect($1)%' AND state = 'active'"

static int kill_soon(void *arg)
{
    struct pg_test *test = arg;

    do
        PROA_TRY(proa_sleep(test->loop, PROA_MS(20)));
    while (pg_beside("SELECT count(*) " RUNNING " AND wait_event = 'PgSleep'") < 1);
    assert_int_equal(pg_beside("SELECT count(pg_terminate_backend(pid)) " RUNNING), 1);
    return 0;
}

static void killed_body(struct pg_test *test)
{
    static struct reader readers[CROWD];

    make_effects(test);
    warm(test, effect, true);
    assert_ok(test, pg_exec(test, "TRUNCATE effects"));
    fill(readers, CROWD, effect);
    for (int i = 0; i < CROWD; i++)
        readers[i].is_marked = true;
    readers[CROWD / 2].number = 21000; /* sleeps for 20 s */
    assert_int_equal(proa_loop_start_fiber(test->loop, NULL, kill_soon, test), 0);
    read_together(test, readers, CROWD);
    /* The mark lets them share; that they leave nothing behind it does not say. */
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(readers[i].rc, PROA_EUNKNOWN);
    while (proa_db_ping(pg_sql(test)) < 0)
        assert_int_equal(proa_sleep(test->loop, PROA_MS(20)), 0);
    expect_effects(test, 0);
    readers[CROWD / 2].number = 99;
    read_together(test, readers, CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(readers[i].rc, 0);
    expect_effects(test, CROWD);
}

static void test_killed_in_the_middle(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, killed_body);
}

/* -- One is slow ------------------------------------------------------------------------------------------------- */

/* Quick for small numbers: nobody can tell from the text. */
static const char nap[] = "SELECT $1::bigint AS n, " AT " FROM pg_sleep(greatest($1::bigint - 1000, 0) / 1000.0)";

static void deadline_body(struct pg_test *test)
{
    static struct reader readers[CROWD];

    warm(test, nap, true);
    fill(readers, CROWD, nap);
    for (int i = 0; i < CROWD; i++)
        readers[i].is_marked = true;
    readers[CROWD / 2].number = 3000; /* 2 s */
    readers[2].ms = readers[CROWD - 1].ms = 100;
    read_together(test, readers, CROWD);
    for (int i = 0; i < CROWD; i++) {
        bool is_brief = readers[i].ms > 0;

        assert_int_equal(readers[i].rc, is_brief ? PROA_ETIMEDOUT : 0);
        assert_in_range(readers[i].took_ms, is_brief ? 90 : 1990, is_brief ? 1900 : 10000);
    }
    assert_int_equal(transactions_of(readers, CROWD), 1);
}

static void test_deadline_of_one(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, deadline_body);
}

static void abandoned_body(struct pg_test *test)
{
    static struct reader readers[CROWD];
    proa_mono_ns began;

    warm(test, nap, true);
    fill(readers, CROWD, nap);
    for (int i = 0; i < CROWD; i++) {
        readers[i].is_marked = true;
        readers[i].ms = 200;
    }
    readers[CROWD / 2].number = 21000;
    began = proa_loop_now_exact(test->loop);
    read_together(test, readers, CROWD);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(readers[i].rc, PROA_ETIMEDOUT);
        assert_in_range(readers[i].took_ms, 190, 5000);
    }
    /* Nobody waits for it any more, so that it was cancelled: the only connection serves the next. */
    assert_ok(test, proa_db_ping(pg_sql(test)));
    assert_in_range(pg_ms_since(test, began), 190, 10000);
}

static void test_all_give_up(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, abandoned_body);
}

static void timeout_body(struct pg_test *test)
{
    static struct reader readers[CROWD];

    warm(test, nap, true);
    fill(readers, CROWD, nap);
    for (int i = 0; i < CROWD; i++)
        readers[i].is_marked = true;
    readers[CROWD / 2].number = 21000;
    read_together(test, readers, CROWD);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(readers[i].rc, i == CROWD / 2 ? PROA_ETIMEDOUT : 0);
        if (i != CROWD / 2)
            assert_int_equal(readers[i].answer.n, i + 1);
        assert_in_range(readers[i].took_ms, 290, 10000);
    }
}

static void test_statement_timeout_of_one(void **state)
{
    struct proa_db_options options = {.shared_connections = 1, .statement_ms = 300};

    pg_test_run(&options, timeout_body);
}

/* A text that was seen to be slow does not hold up others, but for those that are behind it on its connection. */
static void slow_body(struct pg_test *test)
{
    static struct reader readers[CROWD];
    struct reader slow = {.test = test, .text = nap, .number = 3000, .is_marked = true};

    warm(test, division, false);
    for (int i = 0; i < 2; i++) {
        (void)read_one(&slow);
        assert_int_equal(slow.rc, 0);
    }
    fill(readers, CROWD, division);
    readers[3] = slow;
    read_together(test, readers, CROWD);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(readers[i].rc, 0);
        assert_in_range(readers[i].took_ms, i == 3 ? 1990 : 0, i == 3 ? 10000 : 1500);
    }
}

/* What nobody could know to be slow does not hold up those that come behind it, as long as there is another connection. */
static void slow_once_body(struct pg_test *test)
{
    static struct reader readers[4];
    struct reader slow = {.test = test, .text = nap, .number = 3000, .is_marked = true};
    struct proa_group group;

    warm(test, division, false);
    warm(test, nap, true);
    /* Until the other connection is made, and the driver has heard of it. */
    while (pg_number(test,
                     "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'proa' AND state = 'idle'") <
           1)
        warm(test, division, false);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(100)), 0);
    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, read_one, &slow), 0);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(1)), 0); /* it was sent */
    fill(readers, PROA_COUNT(readers), division);
    read_together(test, readers, PROA_COUNT(readers));
    for (size_t i = 0; i < PROA_COUNT(readers); i++) {
        assert_int_equal(readers[i].rc, 0);
        assert_in_range(readers[i].took_ms, 0, 1500);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(slow.rc, 0);
    assert_in_range(slow.took_ms, 1990, 10000);
}

static void test_what_is_slow_once(void **state)
{
    struct proa_db_options options = {.shared_connections = 2};

    pg_test_run(&options, slow_once_body);
}

static void test_what_is_slow_stays_apart(void **state)
{
    struct proa_db_options options = {.shared_connections = 2};

    pg_test_run(&options, slow_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_texts_share),
        cmocka_unit_test(test_which_texts_only_read),
        cmocka_unit_test(test_reads_share_a_sync),
        cmocka_unit_test(test_a_read_sees_the_write_before_it),
        cmocka_unit_test(test_one_fails),
        cmocka_unit_test(test_effects_are_done_once),
        cmocka_unit_test(test_the_commit_fails),
        cmocka_unit_test(test_what_failed_stays_apart),
        cmocka_unit_test(test_killed_in_the_middle),
        cmocka_unit_test(test_deadline_of_one),
        cmocka_unit_test(test_all_give_up),
        cmocka_unit_test(test_statement_timeout_of_one),
        cmocka_unit_test(test_what_is_slow_stays_apart),
        cmocka_unit_test(test_what_is_slow_once),
    };

    cmocka_set_test_filter(getenv("PROA_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
