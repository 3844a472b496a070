/* Deadlines, cancellation and time-outs of statements on PostgreSQL. */
#include "postgres.h"

#define SLEEPING "FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(20)%' AND state = 'active'"

/* Lines of the server's log that tell of a statement that was cancelled. */
static int cancelled_lines(void)
{
    char path[512], line[1024];
    int count = 0;
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/log", getenv("PROA_TEST_PG_DIR"));
    file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        count += strstr(line, "canceling statement due to user request") != NULL;
    (void)fclose(file);
    return count;
}

/* It is seen at work by another session, and then no more, long before its time. */
static void cancel_one(struct pg_test *test, bool is_long)
{
    struct pg_timed slow = {.test = test, .text = "SELECT pg_sleep(20)", .ms = 2000, .is_long = is_long};
    struct pg_timed first = {.test = test, .text = "SELECT 1", .is_long = is_long};
    int before = cancelled_lines();
    struct proa_group group;
    proa_mono_ns began;

    (void)pg_timed(&first); /* the time is for the statement, and not for a connection to be made */
    assert_int_equal(first.rc, 0);
    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &slow), 0);
    for (int i = 0; i < 60 && pg_beside("SELECT count(*) " SLEEPING) != 1; i++)
        assert_int_equal(proa_sleep(test->loop, PROA_MS(20)), 0);
    assert_int_equal(pg_beside("SELECT count(*) " SLEEPING), 1);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(slow.rc, PROA_ETIMEDOUT);
    assert_in_range(slow.took_ms, 1990, 10000);
    began = proa_loop_now_exact(test->loop);
    while (pg_beside("SELECT count(*) " SLEEPING) > 0) {
        assert_in_range(pg_ms_since(test, began), 0, 5000);
        assert_int_equal(proa_sleep(test->loop, PROA_MS(10)), 0);
    }
    assert_int_equal(cancelled_lines(), before + 1);
}

static void alone_body(struct pg_test *test)
{
    int64_t pid = pg_number(test, "SELECT pg_backend_pid()::bigint AS n");

    cancel_one(test, false);
    /* the only connection is the same, and serves the next */
    assert_int_equal(pg_number(test, "SELECT pg_backend_pid()::bigint AS n"), pid);
    cancel_one(test, true);
    cancel_one(test, true);
    assert_in_range(pg_beside("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'proa'"), 2,
                    test->options.shared_connections + test->options.own_connections);
}

static void test_cancelled_alone(void **state)
{
    struct proa_db_options options = {.shared_connections = 1, .own_connections = 1};

    pg_test_run(&options, alone_body);
}

static void neighbours_body(struct pg_test *test)
{
    struct pg_timed first = {.test = test, .text = "SELECT pg_sleep(2)"};
    struct pg_timed second = {.test = test, .text = "INSERT INTO item VALUES (5, 'second')", .ms = 150};
    struct pg_timed third = {.test = test, .text = "SELECT 1"};
    struct proa_group group;

    pg_table(test);
    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &first), 0);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &second), 0);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &third), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    /* Sent behind another: its result is thrown away, and neither neighbour is hit. It was written all the same. */
    assert_int_equal(second.rc, PROA_EUNKNOWN);
    assert_in_range(second.took_ms, 140, 1900);
    assert_int_equal(first.rc, 0);
    assert_in_range(first.took_ms, 1990, 10000);
    assert_int_equal(third.rc, 0);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM item"), 1);
}

static void test_given_up_among_neighbours(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, neighbours_body);
}

/* A client that has gone, or a drain's end, cancels the fiber: what it has sent may happen as well as when its time is up. */
static void cancelled_body(struct pg_test *test)
{
    struct pg_timed first = {.test = test, .text = "SELECT pg_sleep(2)"};
    struct pg_timed write = {.test = test, .text = "INSERT INTO item VALUES (5, 'write')"};
    struct pg_timed read = {.test = test, .text = "SELECT 1"};
    struct proa_group kept, cancelled;

    pg_table(test);
    proa_group_init(&kept, test->loop);
    proa_group_init(&cancelled, test->loop);
    assert_int_equal(proa_group_start(&kept, NULL, pg_timed, &first), 0);
    assert_int_equal(proa_group_start(&cancelled, NULL, pg_timed, &write), 0);
    assert_int_equal(proa_group_start(&cancelled, NULL, pg_timed, &read), 0);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(150)), 0);
    proa_group_cancel(&cancelled, 0);
    proa_ignore(proa_group_wait(&cancelled));
    assert_int_equal(write.rc, PROA_EUNKNOWN);
    assert_in_range(write.took_ms, 140, 1900);
    assert_int_equal(read.rc, PROA_ECANCELED);
    assert_int_equal(proa_group_wait(&kept), 0);
    assert_int_equal(first.rc, 0);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM item"), 1);
}

static void test_cancelled_write_is_unknown(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, cancelled_body);
}

enum { FULL = 64 };

static void unsent_body(struct pg_test *test)
{
    static struct pg_timed crowd[FULL];
    struct pg_timed late = {.test = test, .text = "INSERT INTO item VALUES (6, 'late')", .ms = 150};
    struct pg_timed refused = {.test = test, .text = "INSERT INTO item VALUES (7, 'refused')"};
    struct pg_timed waits = {.test = test, .text = "INSERT INTO item VALUES (8, 'waits')"};
    struct proa_group group;

    pg_table(test);
    proa_group_init(&group, test->loop);
    for (int i = 0; i < FULL; i++) {
        crowd[i] = (struct pg_timed){.test = test, .text = i ? "SELECT 1" : "SELECT pg_sleep(2)"};
        assert_int_equal(proa_group_start(&group, NULL, pg_timed, &crowd[i]), 0);
    }
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &late), 0);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &waits), 0);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &refused), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    for (int i = 0; i < FULL; i++)
        assert_int_equal(crowd[i].rc, 0);
    assert_int_equal(late.rc, PROA_ETIMEDOUT);
    assert_in_range(late.took_ms, 140, 1900);
    assert_int_equal(waits.rc, 0);
    assert_int_equal(refused.rc, PROA_EBUSY);
    /* dropped with its request: it never ran */
    assert_int_equal(pg_number(test, "SELECT sum(id)::bigint AS n FROM item"), 8);
}

static void test_given_up_unsent(void **state)
{
    struct proa_db_options options = {.shared_connections = 1, .waiting_max = 2};

    pg_test_run(&options, unsent_body);
}

static void statement_timeout_body(struct pg_test *test)
{
    struct pg_timed slow = {.test = test, .text = "SELECT pg_sleep(20)"}, long_one = {.test = test, .is_long = true};
    struct pg_timed next = {.test = test, .text = "SELECT 1"};
    struct proa_group group;

    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &slow), 0);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &next), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(slow.rc, PROA_ETIMEDOUT);
    assert_in_range(slow.took_ms, 290, 10000);
    assert_int_equal(next.rc, 0);
    long_one.text = "SELECT pg_sleep(0.6)";
    (void)pg_timed(&long_one);
    assert_int_equal(long_one.rc, 0);
}

static void test_statement_timeout(void **state)
{
    struct proa_db_options options = {.shared_connections = 1, .statement_ms = 300};

    pg_test_run(&options, statement_timeout_body);
}

static int cancelled_in_pipeline(void *arg)
{
    struct pg_timed *self = arg;

    self->rc = pg_timed(self);
    return 0;
}

static void storm_body(struct pg_test *test)
{
    static struct pg_timed many[FULL * 2];

    /* Requests that come and go in all states: none may take another's answer, none may be touched after its end. */
    for (int round = 0; round < 20; round++) {
        struct proa_group group;

        proa_group_init(&group, test->loop);
        for (size_t i = 0; i < PROA_COUNT(many); i++) {
            many[i] = (struct pg_timed){
                .test = test, .text = i % 3 ? "SELECT 1" : "SELECT pg_sleep(0.001)", .ms = 1 + i % 12};
            many[i].is_long = i % 16 == 15;
            assert_int_equal(proa_group_start(&group, NULL, cancelled_in_pipeline, &many[i]), 0);
        }
        proa_ignore(proa_sleep(test->loop, PROA_MS(4)));
        if (round % 2)
            proa_group_cancel(&group, 0);
        proa_ignore(proa_group_wait(&group));
        assert_int_equal(pg_number(test, "SELECT 42::bigint AS n"), 42);
    }
}

static void test_storm_of_cancellations(void **state)
{
    struct proa_db_options options = {.shared_connections = 2, .own_connections = 3};

    pg_test_run(&options, storm_body);
}

/* -- TLS -- */

static void over_tls_body(struct pg_test *test)
{
    pg_assert_tls(test);
    alone_body(test);
    storm_body(test);
}

static void test_tls(void **state)
{
    pg_test_run_tls(over_tls_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancelled_alone),
        cmocka_unit_test(test_given_up_among_neighbours),
        cmocka_unit_test(test_cancelled_write_is_unknown),
        cmocka_unit_test(test_given_up_unsent),
        cmocka_unit_test(test_statement_timeout),
        cmocka_unit_test(test_storm_of_cancellations),
        cmocka_unit_test(test_tls),
    };

    cmocka_set_test_filter(getenv("PROA_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
