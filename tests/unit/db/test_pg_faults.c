/* The PostgreSQL driver when its server dies, restarts, freezes or was never there. Real time: a few seconds each. */
#include "pg_proxy.h"

#include <malloc.h>

static void start(struct proa_group *group, struct pg_timed *task, struct pg_test *test, const char *text)
{
    *task = (struct pg_timed){.test = test, .text = text, .ms = task->ms, .is_long = task->is_long};
    assert_int_equal(proa_group_start(group, NULL, pg_timed, task), 0);
}

static void table(struct pg_test *test)
{
    assert_ok(test, pg_exec(test, "DROP TABLE IF EXISTS fault"));
    assert_ok(test, pg_exec(test, "CREATE TABLE fault (id bigint)"));
}

/* @returns milliseconds until a statement works again. */
static uint64_t heal(struct pg_test *test)
{
    proa_mono_ns began = proa_loop_now_exact(test->loop);

    while (pg_exec(test, "SELECT 1") < 0) {
        assert_int_equal(test->err.code, PROA_EUNAVAILABLE);
        if (pg_ms_since(test, began) > 15000)
            fail_msg("not healed: %s", test->err.message);
        assert_int_equal(proa_sleep(test->loop, PROA_MS(20)), 0);
    }
    return pg_ms_since(test, began);
}

#define SLEEPERS                                                                                                       \
    "FROM pg_stat_activity WHERE application_name = 'proa' AND query LIKE '%pg_sleep%' AND state = 'active' "
static const char terminate[] = "SELECT count(pg_terminate_backend(pid)) " SLEEPERS;

/* Until a statement is at work there. */
static void wait_at_work(struct pg_test *test, const char *where)
{
    proa_mono_ns began = proa_loop_now_exact(test->loop);
    char text[512];

    (void)snprintf(text, sizeof text, "SELECT count(*) %s", where);
    while (pg_beside(text) < 1) {
        assert_in_range(pg_ms_since(test, began), 0, 15000);
        assert_int_equal(proa_sleep(test->loop, PROA_MS(10)), 0);
    }
}

/* -- A connection is cut ---------------------------------------------------------------------------------------- */

static void terminated_body(struct pg_test *test)
{
    struct pg_timed write = {0}, behind = {0}, read_behind = {0}, read = {0};
    struct proa_group group;

    table(test);
    proa_group_init(&group, test->loop);
    start(&group, &write, test, "INSERT INTO fault SELECT 1 FROM pg_sleep(20)");
    start(&group, &behind, test, "INSERT INTO fault VALUES (2)");
    start(&group, &read_behind, test, "SELECT * FROM fault");
    wait_at_work(test, SLEEPERS);
    assert_int_equal(pg_beside(terminate), 1);
    assert_int_equal(proa_group_wait(&group), 0);
    /* It ran: nobody can say how far. Those behind it surely did not. */
    assert_int_equal(write.rc, PROA_EUNKNOWN);
    assert_int_equal(behind.rc, PROA_EUNAVAILABLE);
    assert_int_equal(behind.retry_after_s, 1);
    assert_int_equal(read_behind.rc, PROA_EUNAVAILABLE);
    (void)heal(test);

    proa_group_init(&group, test->loop);
    start(&group, &read, test, "/* a read */ SELECT pg_sleep(20)");
    wait_at_work(test, SLEEPERS);
    assert_int_equal(pg_beside(terminate), 1);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(read.rc, PROA_EUNAVAILABLE);
    (void)heal(test);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM fault"), 0);
}

static void test_backend_terminated(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, terminated_body);
}

/* A query is not a read because it begins with SELECT. */
static void writing_query_body(struct pg_test *test)
{
    struct pg_timed cut = {0}, late = {.ms = 200}, given_up = {0};
    struct proa_group group;

    table(test);
    assert_ok(test, pg_exec(test, "CREATE OR REPLACE FUNCTION put_fault(i bigint) RETURNS bigint LANGUAGE sql AS $$ "
                                  "INSERT INTO fault SELECT i FROM pg_sleep(2) RETURNING id $$"));
    proa_group_init(&group, test->loop);
    start(&group, &cut, test, "SELECT put_fault(1) /* pg_sleep */");
    wait_at_work(test, SLEEPERS);
    assert_int_equal(pg_beside(terminate), 1);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(cut.rc, PROA_EUNKNOWN);
    assert_int_equal(cut.retry_after_s, 0);
    (void)heal(test);

    proa_group_init(&group, test->loop);
    start(&group, &late, test, "SELECT put_fault(2)");
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(late.rc, PROA_EUNKNOWN);

    proa_group_init(&group, test->loop);
    start(&group, &given_up, test, "WITH x AS (SELECT put_fault(3)) SELECT * FROM x /* pg_sleep */");
    wait_at_work(test, SLEEPERS);
    proa_group_cancel(&group, 0);
    proa_ignore(proa_group_wait(&group));
    assert_int_equal(given_up.rc, PROA_EUNKNOWN);
}

static void test_query_that_writes(void **state)
{
    struct proa_db_options options = {.shared_connections = 1};

    pg_test_run(&options, writing_query_body);
}

static void killed_body(struct pg_test *test)
{
    struct pg_timed write = {0}, behind = {0}, cte = {0}, read = {0};
    struct proa_group group;
    long pid;

    table(test);
    proa_group_init(&group, test->loop);
    start(&group, &write, test, "UPDATE fault SET id = (SELECT 1 FROM pg_sleep(20))");
    start(&group, &behind, test, "WITH x AS (DELETE FROM fault RETURNING 1) SELECT * FROM x");
    start(&group, &read, test, "WITH x AS (SELECT id FROM fault) SELECT * FROM x");
    start(&group, &cte, test, "INSERT INTO fault SELECT 2 FROM pg_sleep(20)");
    wait_at_work(test, SLEEPERS);
    pid = pg_beside("SELECT pid " SLEEPERS " LIMIT 1");
    assert_true(pid > 0);
    /* kill -9: no last word, and the server restarts itself */
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_true(write.rc == PROA_EUNKNOWN || cte.rc == PROA_EUNKNOWN);
    assert_true(behind.rc == PROA_EUNKNOWN || behind.rc == PROA_EUNAVAILABLE || behind.rc == 0);
    assert_true(read.rc == PROA_EUNAVAILABLE || read.rc == 0);
    (void)heal(test);
}

static void killed_alone_body(struct pg_test *test)
{
    struct pg_timed write = {0}, behind = {0}, read = {0};
    struct proa_group group;
    long pid;

    assert_ok(test, pg_exec(test, "CREATE TABLE IF NOT EXISTS fault (id bigint)"));
    proa_group_init(&group, test->loop);
    start(&group, &write, test, "INSERT INTO fault SELECT 1 FROM pg_sleep(20)");
    start(&group, &behind, test, "INSERT INTO fault VALUES (2)");
    start(&group, &read, test, "SELECT * FROM fault");
    wait_at_work(test, SLEEPERS);
    pid = pg_beside("SELECT pid " SLEEPERS);
    assert_true(pid > 0);
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(write.rc, PROA_EUNKNOWN);
    assert_int_equal(behind.rc, PROA_EUNKNOWN); /* the answers of both may have been on their way */
    assert_int_equal(read.rc, PROA_EUNAVAILABLE);
    (void)heal(test);
}

static void test_backend_killed(void **state)
{
    struct proa_db_options two = {.shared_connections = 2}, one = {.shared_connections = 1};

    pg_test_run(&two, killed_body);
    pg_test_run(&one, killed_alone_body);
}

static int insert_and_sleep(struct proa_sql tx, void *arg)
{
    PROA_TRY(proa_db_exec(tx, NULL, "INSERT INTO fault VALUES (3)"));
    return proa_db_exec(tx, NULL, "UPDATE fault SET id = 4 WHERE (SELECT true FROM pg_sleep(20))");
}

static int insert_late(struct proa_sql tx, void *arg)
{
    return proa_db_exec(tx, NULL, "INSERT INTO late VALUES (1)");
}

#define COMMITTING "FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'"

static void transaction_cut_body(struct pg_test *test)
{
    struct pg_timed inside = {.test = test, .inside = insert_and_sleep};
    struct pg_timed at_commit = {.test = test, .inside = insert_late};
    struct pg_timed too_late = {.test = test, .inside = insert_late, .ms = 1200};
    struct proa_group group;

    table(test);
    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &inside), 0);
    wait_at_work(test, SLEEPERS);
    assert_int_equal(pg_beside(terminate), 1);
    assert_int_equal(proa_group_wait(&group), 0);
    /* before COMMIT nothing can have been kept */
    assert_int_equal(inside.rc, PROA_EUNAVAILABLE);
    assert_int_equal(pg_number(test, "SELECT count(*) AS n FROM fault"), 0);

    assert_ok(test, pg_exec(test, "DROP TABLE IF EXISTS late"));
    assert_ok(test, pg_exec(test, "CREATE TABLE late (id bigint)"));
    assert_ok(test,
              pg_exec(test, "CREATE OR REPLACE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM "
                            "pg_sleep(3); RETURN NULL; END $$"));
    assert_ok(test,
              pg_exec(test,
                      "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH "
                      "ROW EXECUTE FUNCTION late()"));
    proa_group_init(&group, test->loop);
    assert_int_equal(proa_group_start(&group, NULL, pg_timed, &at_commit), 0);
    wait_at_work(test, COMMITTING);
    assert_int_equal(pg_beside("SELECT count(pg_terminate_backend(pid)) " COMMITTING), 1);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(at_commit.rc, PROA_EUNKNOWN);
    /* the deadline passes while COMMIT runs: it is not cancelled, and its outcome unknown */
    (void)pg_timed(&too_late);
    assert_int_equal(too_late.rc, PROA_EUNKNOWN);
    /* an idle connection that is cut is not handed out */
    while (pg_beside("SELECT count(*) " COMMITTING) > 0)
        assert_int_equal(proa_sleep(test->loop, PROA_MS(20)), 0);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(100)), 0);
    (void)pg_beside("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'proa'");
    assert_int_equal(proa_sleep(test->loop, PROA_MS(300)), 0);
    (void)heal(test);
    at_commit.ms = 20000;
    (void)pg_timed(&at_commit);
    assert_int_equal(at_commit.rc, 0);
}

static void test_transaction_cut(void **state)
{
    struct proa_db_options options = {.own_connections = 2};

    pg_test_run(&options, transaction_cut_body);
}

/* -- The server goes away ---------------------------------------------------------------------------------------- */

struct load {
    struct pg_test *test;
    bool stop;
    unsigned ok, unavailable, timed_out, busy, other;
    uint64_t deadline_ms;
    uint64_t longest_ms;
    int running;
};

static int load_fiber(void *arg)
{
    struct load *load = arg;

    load->running++;
    while (!load->stop) {
        struct pg_timed task = {.test = load->test, .text = "SELECT 1", .ms = load->deadline_ms};

        (void)pg_timed(&task);
        if (task.rc == 0)
            load->ok++;
        else if (task.rc == PROA_EUNAVAILABLE)
            load->unavailable++;
        else if (task.rc == PROA_ETIMEDOUT)
            load->timed_out++;
        else if (task.rc == PROA_EBUSY)
            load->busy++;
        else
            load->other++;
        if (task.took_ms > load->longest_ms)
            load->longest_ms = task.took_ms;
        if (task.rc < 0)
            proa_ignore(proa_sleep(load->test->loop, PROA_MS(20)));
    }
    load->running--;
    return 0;
}

/* Until it answers again. */
static void wait_served(struct pg_test *test, const struct load *load)
{
    proa_mono_ns began = proa_loop_now_exact(test->loop);
    unsigned before = load->ok;

    while (load->ok <= before + 100) {
        assert_in_range(pg_ms_since(test, began), 0, 15000);
        assert_int_equal(proa_sleep(test->loop, PROA_MS(20)), 0);
    }
}

/* Until a server that was told to stop has ended. */
static void wait_gone(struct pg_test *test, pid_t postmaster)
{
    proa_mono_ns began = proa_loop_now_exact(test->loop);

    while (kill(postmaster, 0) == 0) {
        assert_in_range(pg_ms_since(test, began), 0, 15000);
        assert_int_equal(proa_sleep(test->loop, PROA_MS(20)), 0);
    }
}

static void restart_body(struct pg_test *test)
{
    struct load load = {.test = test, .deadline_ms = 3000};
    struct proa_group group;
    pid_t postmaster;

    assert_ok(test, pg_exec(test, "SELECT 1"));
    proa_group_init(&group, test->loop);
    for (int i = 0; i < 64; i++)
        assert_int_equal(proa_group_start(&group, NULL, load_fiber, &load), 0);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(300)), 0);
    postmaster = pg_postmaster();
    assert_int_equal(kill(postmaster, SIGINT), 0); /* fast shutdown; the rig starts it again */
    wait_gone(test, postmaster);
    wait_served(test, &load);
    load.stop = true;
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(load.other, 0);
    assert_in_range(load.longest_ms, 0, 6000);
}

static void test_restart_heals(void **state)
{
    pg_test_run(NULL, restart_body);
}

static void down_body(struct pg_test *test)
{
    struct pg_timed task = {.test = test, .text = "INSERT INTO fault VALUES (9)"};
    pid_t postmaster;

    assert_ok(test, pg_exec(test, "CREATE TABLE IF NOT EXISTS fault (id bigint)"));
    pg_hold(true);
    postmaster = pg_postmaster();
    assert_int_equal(kill(postmaster, SIGINT), 0);
    wait_gone(test, postmaster);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(300)), 0);
    (void)pg_timed(&task); /* waits a bounded time, in the hope of a restart */
    assert_int_equal(task.rc, PROA_EUNAVAILABLE);
    assert_in_range(task.took_ms, 0, 4000);
    assert_int_equal(task.retry_after_s, 1);
    assert_non_null(strstr(task.message, "cannot be reached"));
    (void)pg_timed(&task); /* then fails at once */
    assert_int_equal(task.rc, PROA_EUNAVAILABLE);
    assert_in_range(task.took_ms, 0, 400);
    task.is_long = true;
    (void)pg_timed(&task);
    assert_int_equal(task.rc, PROA_EUNAVAILABLE);
    assert_in_range(task.took_ms, 0, 400);
    pg_hold(false);
    assert_in_range(heal(test), 0, 14000);
    task.is_long = false;
    (void)pg_timed(&task);
    assert_int_equal(task.rc, 0);
    task.is_long = true;
    (void)pg_timed(&task);
    assert_int_equal(task.rc, 0);
}

static void test_down_fails_fast(void **state)
{
    pg_test_run(NULL, down_body);
}

/* -- The server freezes ------------------------------------------------------------------------------------------ */

/* The sanitizers' own malloc keeps its own books. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t heap_bytes(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    return mallinfo2().uordblks + mallinfo2().hblkhd;
}

static void frozen_body(struct pg_test *test)
{
    struct load load = {.test = test, .deadline_ms = 800};
    struct proa_group group;
    unsigned before;
    size_t memory;

    assert_ok(test, pg_exec(test, "SELECT 1"));
    proa_group_init(&group, test->loop);
    for (int i = 0; i < 300; i++)
        assert_int_equal(proa_group_start(&group, NULL, load_fiber, &load), 0);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(300)), 0);
    assert_int_equal(load.timed_out + load.unavailable + load.busy + load.other, 0);
    load.longest_ms = 0;
    pg_signal_all(SIGSTOP);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(1500)), 0);
    memory = heap_bytes();
    before = load.ok;
    assert_int_equal(proa_sleep(test->loop, PROA_MS(2000)), 0);
    /* every request has ended by its deadline, again and again, and nothing has piled up */
    assert_int_equal(load.ok, before);
    assert_true(load.timed_out > 600);
    assert_in_range(load.longest_ms, 790, 3000);
    assert_true(heap_bytes() < memory + 256 * 1024);
    pg_signal_all(SIGCONT);
    wait_served(test, &load);
    load.stop = true;
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(load.other, 0);
}

static void test_frozen_under_load(void **state)
{
    pg_test_run(NULL, frozen_body);
}

static void silent_body(struct pg_test *test)
{
    struct pg_timed write = {.test = test, .text = "INSERT INTO fault VALUES (1)"};
    struct pg_timed read = {.test = test, .text = "SELECT 1"},
                    long_one = {.test = test, .text = "SELECT 1", .is_long = true};
    struct proa_group group;

    assert_ok(test, pg_exec(test, "CREATE TABLE IF NOT EXISTS fault (id bigint)"));
    proa_group_init(&group, test->loop);
    pg_signal_all(SIGSTOP);
    long_one.ms = 500;
    start(&group, &write, test, write.text);
    start(&group, &read, test, read.text);
    start(&group, &long_one, test, long_one.text);
    assert_int_equal(proa_group_wait(&group), 0);
    /* without a deadline of their own they end by the driver's: statement_ms and two seconds */
    assert_int_equal(write.rc, PROA_EUNKNOWN);
    assert_int_equal(read.rc, PROA_EUNAVAILABLE);
    assert_in_range(write.took_ms, 2000, 10000);
    assert_int_equal(long_one.rc, PROA_ETIMEDOUT);
    pg_signal_all(SIGCONT);
    (void)heal(test);
}

static void test_silent_server_is_given_up(void **state)
{
    struct proa_db_options options = {.shared_connections = 1, .statement_ms = 200};

    pg_test_run(&options, silent_body);
}

static void cancels_frozen_body(struct pg_test *test)
{
    static struct pg_timed tasks[8];
    struct proa_group group;
    proa_mono_ns began;

    assert_ok(test, pg_exec(test, "SELECT 1"));
    proa_group_init(&group, test->loop);
    for (size_t i = 0; i < PROA_COUNT(tasks); i++) {
        tasks[i].ms = 1500;
        tasks[i].is_long = true;
        start(&group, &tasks[i], test, "SELECT pg_sleep(20)");
    }
    assert_int_equal(proa_sleep(test->loop, PROA_MS(1000)), 0);
    began = proa_loop_now_exact(test->loop);
    pg_signal_all(SIGSTOP);
    /* Cancelling cannot work, and must not hold anybody: neither the requests nor the pool's threads. */
    assert_int_equal(proa_group_wait(&group), 0);
    assert_in_range(pg_ms_since(test, began), 0, 6000);
    for (size_t i = 0; i < PROA_COUNT(tasks); i++)
        assert_int_equal(tasks[i].rc, PROA_ETIMEDOUT);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(2500)), 0); /* the connections are given up meanwhile */
    pg_signal_all(SIGCONT);
    (void)heal(test);
    tasks[0].ms = 15000;
    tasks[0].text = "SELECT 1";
    (void)pg_timed(&tasks[0]);
    assert_int_equal(tasks[0].rc, 0);
}

static void test_cancelled_while_frozen(void **state)
{
    pg_test_run(NULL, cancels_frozen_body);
}

static struct pg_proxy proxy;

/* Given up while most of it is not written yet, on a connection of its own that ends before it has drained, while there is room to write
 * some more. */
static void lost_while_draining_body(struct pg_test *test)
{
    enum { LARGE = 32 << 20, TAKEN = 6 << 20 };
    char *text = malloc(LARGE);
    struct pg_timed large = {.test = test, .text = text, .ms = 300, .is_long = true};
    size_t taken = 0;
    int fd;

    assert_non_null(text);
    memset(text, 'a', LARGE);
    memcpy(text, "SELECT 1 /*", 11);
    memcpy(text + LARGE - 3, "*/", 3);
    assert_ok(test, proa_db_ping(pg_sql(test)));
    (void)pg_timed(&(struct pg_timed){.test = test, .text = "SELECT 1", .is_long = true});
    pg_proxy_stop(&proxy);
    (void)pg_timed(&large);
    assert_int_equal(large.rc, PROA_ETIMEDOUT);
    fd = pg_proxy_fullest(&proxy);
    assert_true(fd >= 0);
    while (taken < TAKEN) {
        ssize_t len = recv(fd, text, LARGE / 2, MSG_DONTWAIT);

        if (len <= 0)
            break;
        taken += (size_t)len;
    }
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_int_equal(proa_sleep(test->loop, PROA_MS(200)), 0);
    free(text);
}

static void test_lost_while_draining(void **state)
{
    struct proa_db_options options = {.url = proxy.url, .shared_connections = 1, .own_connections = 1};

    pg_proxy_start(&proxy);
    pg_test_run(&options, lost_while_draining_body);
    pg_proxy_end(&proxy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backend_terminated),     cmocka_unit_test(test_query_that_writes),
        cmocka_unit_test(test_backend_killed),         cmocka_unit_test(test_transaction_cut),
        cmocka_unit_test(test_restart_heals),          cmocka_unit_test(test_down_fails_fast),
        cmocka_unit_test(test_frozen_under_load),      cmocka_unit_test(test_silent_server_is_given_up),
        cmocka_unit_test(test_cancelled_while_frozen), cmocka_unit_test(test_lost_while_draining),
    };

    cmocka_set_test_filter(getenv("PROA_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
