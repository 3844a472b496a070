/* Opening, several loops, URLs that are wrong or change, closing. */
#include "obs/metrics_internal.h"
#include "postgres.h"

#include <proa/loops.h>
#include <stdatomic.h>

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

/* -- The pools' gauges -- */

/* What stands in the cell that all threads share. */
static void look_at_shared_cells(struct pg_test *test)
{
    const struct proa_metrics *metrics = test->options.metrics;
    unsigned gauges = 0;

    for (struct metric_family *family = metrics->families; family; family = family->next) {
        if (family->kind != METRIC_GAUGE)
            continue;
        for (struct metric_series *series = family->first; series; series = series->next, gauges++)
            assert_int_equal(*(_Atomic uint64_t *)metric_cell(series, series->shards), 0);
    }
    assert_true(gauges >= 8);
}

static int look_inside(struct proa_sql tx, void *arg)
{
    look_at_shared_cells(arg);
    return 0;
}

/* The numbers of connections change with each statement: each loop keeps its own. */
static void gauges_body(struct pg_test *test)
{
    struct pg_timed slow = {.test = test, .text = "SELECT pg_sleep(0.3)"};
    struct proa_group group;

    assert_int_equal(proa_db_ping(pg_sql(test)), 0);
    look_at_shared_cells(test);
    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &slow), 0);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(100)), 0);
    look_at_shared_cells(test);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(proa_db_transaction(pg_sql(test), NULL, look_inside, test), 0);
    look_at_shared_cells(test);
}

static void test_gauges_are_of_the_loop(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    assert_int_equal(proa_metrics_new(1, &options.metrics), 0);
    pg_test_run(&options, gauges_body);
    proa_metrics_free(options.metrics);
}

/* -- Closing while statements run: they end, and it waits for that */

struct closing {
    struct proa_loops *loops;
    struct proa_loop *loop; /* where they run */
    struct proa_db *db;
    struct proa_task task;
    _Atomic int running, ended;
    int at; /* which one is next */
};

struct running {
    const char *text; /* NULL: a transaction */
    bool is_long;
    int rc;
};
static const struct running runs[] = {
    {"SELECT pg_sleep(10)", false, PROA_EUNAVAILABLE},
    {"SELECT pg_sleep(10)", true, PROA_EUNAVAILABLE},
    {"INSERT INTO closing SELECT 1 FROM pg_sleep(10)", false, PROA_EUNKNOWN},
    {NULL, false, PROA_EUNAVAILABLE},
};

static int pause_in_tx(struct proa_sql tx, void *arg)
{
    struct closing *all = arg;
    struct proa_sql other = tx;

    PROA_TRY(proa_db_exec(tx, NULL, "INSERT INTO closing VALUES (2)"));
    all->running++;
    assert_int_equal(proa_sleep(tx.loop, PROA_MS(2500)), 0);
    other.tx = NULL;
    assert_int_equal(proa_db_exec(other, NULL, "SELECT 1"), PROA_EUNAVAILABLE);
    return proa_db_exec(tx, NULL, "INSERT INTO closing VALUES (3)");
}

static int run_until_closed(void *arg)
{
    struct closing *all = arg;
    const struct running *run = &runs[all->at++];
    struct proa_error err = {0};
    struct proa_arena arena;
    struct proa_sql sql;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    sql = proa_sql(all->db, all->loop, &arena, &err);
    sql.is_long = run->is_long;
    if (run->text) {
        all->running++;
        rc = proa_db_exec(sql, NULL, run->text);
    } else {
        rc = proa_db_transaction(sql, NULL, pause_in_tx, all);
    }
    assert_int_equal(rc, run->rc);
    proa_arena_done(&arena);
    all->ended++;
    return 0;
}

static void start_runs(struct proa_task *task)
{
    struct closing *all = PROA_CONTAINER(task, struct closing, task);

    for (size_t i = 0; i < PROA_COUNT(runs); i++)
        assert_int_equal(proa_loop_start_fiber(all->loop, NULL, run_until_closed, all), 0);
}

static int close_meanwhile(void *arg)
{
    struct closing *all = arg;
    struct proa_loop *loop = proa_loops_at(all->loops, 0);

    all->task.run = start_runs;
    (void)pg_beside("CREATE TABLE IF NOT EXISTS closing (id bigint)");
    proa_loop_post(all->loop, &all->task);
    while (all->running < (int)PROA_COUNT(runs))
        assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    /* At work, the long one on a connection of its own; the others may share one. */
    while (pg_beside("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(10)' AND state = 'active'") < 2)
        assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    proa_db_close(all->db);
    for (int i = 0; i < 100 && all->ended < (int)PROA_COUNT(runs);
         i++) /* the other loop's have a last step before them */
        assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    assert_int_equal(all->ended, PROA_COUNT(runs));
    assert_int_equal(pg_beside("SELECT count(*) FROM closing WHERE id > 1"), 0);
    proa_loops_stop(all->loops);
    return 0;
}

static void test_closing_waits_for_statements(void **state)
{
    struct proa_loop_options loop_options = {.fiber_stack_bytes = 256 * 1024};
    struct proa_error err = {0};

    for (uint32_t on = 0; on < 2; on++) {
        struct proa_db_options options = {.url = pg_url(), .drivers = pg_drivers, .own_connections = 4};
        struct closing all = {0};

        assert_int_equal(proa_metrics_new(2, &options.metrics), 0);
        assert_int_equal(proa_loops_new(2, &loop_options, &all.loops, &err), 0);
        options.loops = all.loops;
        all.loop = proa_loops_at(all.loops, on);
        assert_int_equal(proa_db_open(&options, &all.db, &err), 0);
        assert_int_equal(proa_loop_start_fiber(proa_loops_at(all.loops, 0), NULL, close_meanwhile, &all), 0);
        alarm(60);
        assert_int_equal(proa_loops_run(all.loops, &err), 0);
        alarm(0);
        proa_loops_free(all.loops);
        proa_metrics_free(options.metrics);
    }
}

/* When one loop has reached the server again, so have the others: what a readiness check on one of them says is true for all. */
struct outage {
    struct proa_loops *loops;
    struct proa_db *db;
    struct proa_task task;
    _Atomic int rc; /* of the other loop's statement; 1: not yet */
};

static int ping_on(struct outage *self, uint32_t loop)
{
    struct proa_error err = {0};
    struct proa_arena arena;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    rc = proa_db_ping(proa_sql(self->db, proa_loops_at(self->loops, loop), &arena, &err));
    proa_arena_done(&arena);
    return rc;
}

static int ping_on_other(void *arg)
{
    struct outage *self = arg;

    self->rc = ping_on(self, 1);
    return 0;
}

static void start_on_other(struct proa_task *task)
{
    struct outage *self = PROA_CONTAINER(task, struct outage, task);

    assert_int_equal(proa_loop_start_fiber(proa_loops_at(self->loops, 1), NULL, ping_on_other, self), 0);
}

static void ask_other(struct outage *self)
{
    self->rc = 1;
    proa_loop_post(proa_loops_at(self->loops, 1), &self->task);
    while (self->rc == 1)
        assert_int_equal(proa_sleep(proa_loops_at(self->loops, 0), PROA_MS(1)), 0);
}

static int outages(void *arg)
{
    struct outage *self = arg;
    struct proa_loop *loop = proa_loops_at(self->loops, 0);

    for (int round = 0; round < 3; round++) {
        ask_other(self);
        assert_int_equal(self->rc, 0);
        pg_hold(true);
        assert_int_equal(kill(pg_postmaster(), SIGINT), 0);
        assert_int_equal(proa_sleep(loop, PROA_MS(4000)), 0); /* back-offs have grown to seconds */
        ask_other(self);
        assert_int_equal(self->rc, PROA_EUNAVAILABLE);
        pg_hold(false);
        while (ping_on(self, 0) < 0)
            assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
        ask_other(self);
        assert_int_equal(self->rc, 0);
    }
    proa_db_close(self->db);
    proa_loops_stop(self->loops);
    return 0;
}

static void test_loops_come_back_together(void **state)
{
    struct proa_loop_options loop_options = {.fiber_stack_bytes = 256 * 1024};
    struct outage outage = {.task = {.run = start_on_other}};
    struct proa_db_options options = {.url = pg_url(), .drivers = pg_drivers};
    struct proa_error err = {0};

    assert_int_equal(proa_loops_new(2, &loop_options, &outage.loops, &err), 0);
    options.loops = outage.loops;
    assert_int_equal(proa_db_open(&options, &outage.db, &err), 0);
    assert_int_equal(proa_loop_start_fiber(proa_loops_at(outage.loops, 0), NULL, outages, &outage), 0);
    alarm(120);
    assert_int_equal(proa_loops_run(outage.loops, &err), 0);
    alarm(0);
    proa_loops_free(outage.loops);
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

static int hold_inside(struct proa_sql tx, void *arg)
{
    return proa_db_exec(tx, NULL, "SELECT pg_sleep(0.4)");
}

static void wrong_password_body(struct pg_test *test)
{
    proa_mono_ns began = proa_loop_now_exact(test->loop);

    assert_int_equal(proa_db_ping(pg_sql(test)), PROA_EUNAVAILABLE);
    assert_in_range(pg_ms_since(test, began), 0, 10000);
    assert_int_equal(test->err.retry_after_s, 1);
    assert_non_null(strstr(test->err.message, "password authentication failed"));
    assert_null(strstr(test->err.message, "wrongword"));
    /* now it is known: at once */
    began = proa_loop_now_exact(test->loop);
    assert_int_equal(proa_db_ping(pg_sql(test)), PROA_EUNAVAILABLE);
    assert_int_equal(proa_db_transaction(pg_sql(test), NULL, hold_inside, NULL), PROA_EUNAVAILABLE);
    assert_in_range(pg_ms_since(test, began), 0, 700);
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

/* -- Closing while others wait for a connection: they end too, and at once */

struct ending {
    struct pg_test *test;
    bool is_running;
    int ended;
};

static int one_with_the_connection(struct proa_sql tx, void *arg)
{
    struct ending *ending = arg;

    ending->is_running = true;
    return proa_db_exec(tx, NULL, "SELECT pg_sleep(100)");
}

static int run_transaction(void *arg)
{
    struct ending *ending = arg;
    struct proa_error err = {0};
    struct proa_sql sql = proa_sql(ending->test->db, ending->test->loop, &ending->test->arena, &err);

    assert_int_equal(proa_db_transaction(sql, NULL, one_with_the_connection, ending), PROA_EUNAVAILABLE);
    ending->ended++;
    return 0;
}

static int run_single(void *arg)
{
    struct ending *ending = arg;
    struct proa_error err = {0};
    struct proa_sql sql = proa_sql(ending->test->db, ending->test->loop, &ending->test->arena, &err);

    assert_int_equal(proa_db_exec(sql, NULL, "SELECT 1"), PROA_EUNAVAILABLE);
    assert_string_equal(err.message, "PostgreSQL: the database is closed");
    ending->ended++;
    return 0;
}

/* None of the fibers has a deadline. */
static void close_among(struct pg_test *test, struct ending *ending, int fibers)
{
    assert_int_equal(proa_yield(test->loop), 0); /* they wait */
    assert_int_equal(ending->ended, 0);
    proa_db_close(test->db);
    test->db = NULL;
    assert_int_equal(ending->ended, fibers);
}

static void wait_for_own_body(struct pg_test *test)
{
    struct ending ending = {.test = test};

    assert_int_equal(proa_loop_start_fiber(test->loop, NULL, run_transaction, &ending), 0);
    while (!ending.is_running)
        assert_int_equal(proa_sleep(test->loop, PROA_MS(1)), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(proa_loop_start_fiber(test->loop, NULL, run_transaction, &ending), 0);
    close_among(test, &ending, 4);
}

static void wait_for_server_body(struct pg_test *test)
{
    struct ending ending = {.test = test};

    for (int i = 0; i < 3; i++)
        assert_int_equal(proa_loop_start_fiber(test->loop, NULL, run_single, &ending), 0);
    close_among(test, &ending, 3);
}

static void test_closing_ends_those_that_wait(void **state)
{
    struct proa_db_options one = {.own_connections = 1};
    struct proa_db_options nowhere = {.url = "postgres://u:p@127.0.0.1:1/none"};

    pg_test_run(&one, wait_for_own_body);
    pg_test_run(&nowhere, wait_for_server_body);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_loops),
        cmocka_unit_test(test_gauges_are_of_the_loop),
        cmocka_unit_test(test_closing_waits_for_statements),
        cmocka_unit_test(test_loops_come_back_together),
        cmocka_unit_test(test_bad_urls),
        cmocka_unit_test(test_wrong_password),
        cmocka_unit_test(test_new_url),
        cmocka_unit_test(test_closed_at_once),
        cmocka_unit_test(test_closing_ends_those_that_wait),
    };

    cmocka_set_test_filter(getenv("PROA_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
