/* SQLite: cancellation and deadlines, who waits for whom and how the pools tell of it, several loops. */
#include "sqlite.h"

#include <pthread.h>
#include <stdatomic.h>

/* -- Cancellation and deadlines */

struct running {
    struct proa_sql sql;
    const char *text;
    int rc;
    struct proa_error err;
};

static int run_text(void *arg)
{
    struct running *own = arg;

    own->sql.err = &own->err;
    own->rc = proa_db_exec(own->sql, NULL, own->text);
    return 0;
}

static void canceled(struct db_case *c)
{
    struct running reader = {.sql = c->sql, .text = ENDLESS};
    struct running writer = {.sql = c->sql, .text = "INSERT INTO users (name, email) " ENDLESS_ROWS};
    proa_mono_ns began;

    make_users(c);
    exec(c->sql, "DELETE FROM users WHERE 0");
    for (int i = 0; i < 20; i++) {
        struct proa_group group;

        proa_group_init(&group, c->loop);
        assert_int_equal(proa_group_start(&group, NULL, run_text, &reader), 0);
        assert_int_equal(proa_group_start(&group, NULL, run_text, &writer), 0);
        /* From before it began to when it is long under way. */
        assert_int_equal(proa_sleep(c->loop, PROA_MS(1) * (uint64_t)i / 2), 0);
        began = proa_loop_now_exact(c->loop);
        proa_group_cancel(&group, 0);
        assert_int_equal(proa_group_wait(&group), 0);
        assert_true(proa_loop_now_exact(c->loop) - began < PROA_SECONDS(10));
        assert_int_equal(reader.rc, PROA_ECANCELED);
        assert_int_equal(writer.rc, PROA_ECANCELED);
        /* The interrupt hits nobody else, and nothing of the write stays. */
        assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 0);
        exec(c->sql, "INSERT INTO users (name, email) VALUES ('a', 'a@x')");
        exec(c->sql, "DELETE FROM users");
    }
}

static void test_cancellation_interrupts_the_statement(void **state)
{
    with_sqlite(canceled, (struct proa_db_options){0});
}

static int long_write(struct proa_sql tx, void *arg)
{
    (void)arg;
    exec(tx, "INSERT INTO users (name, email) VALUES ('a', 'a@x')");
    return proa_db_exec(tx, NULL, "INSERT INTO users (name, email) " ENDLESS_ROWS);
}

static int long_read(struct proa_sql tx, void *arg)
{
    (void)arg;
    assert_int_equal(count(tx, "SELECT count(*) AS n FROM users"), 0);
    return proa_db_exec(tx, NULL, ENDLESS);
}

static void deadlines(struct db_case *c)
{
    struct proa_deadline_scope scope;
    proa_mono_ns began = proa_loop_now_exact(c->loop);

    make_users(c);
    /* statement_ms */
    assert_int_equal(proa_db_exec(c->sql, NULL, ENDLESS), PROA_ETIMEDOUT);
    assert_in_range(proa_loop_now_exact(c->loop) - began, PROA_MS(400), PROA_SECONDS(20));
    /* The fiber's, also in transactions, which end rolled back. */
    for (int i = 0; i < 3; i++) {
        scope = proa_deadline_enter(c->loop, proa_loop_now_exact(c->loop) + PROA_MS(300));
        if (i == 0)
            assert_int_equal(proa_db_exec(c->sql, NULL, ENDLESS), PROA_ETIMEDOUT);
        else if (i == 1)
            assert_int_equal(proa_db_transaction(c->sql, NULL, long_write, NULL), PROA_ETIMEDOUT);
        else
            assert_int_equal(proa_db_transaction(c->sql, &(struct proa_tx_options){.read_only = true}, long_read, NULL),
                             PROA_ETIMEDOUT);
        /* What comes later is not begun. */
        assert_int_equal(proa_db_exec(c->sql, NULL, "SELECT 1"), PROA_ETIMEDOUT);
        assert_int_equal(proa_db_transaction(c->sql, NULL, long_write, NULL), PROA_ETIMEDOUT);
        proa_deadline_leave(&scope);
        assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 0);
    }
    /* A long statement has the fiber's deadline only. */
    scope = proa_deadline_enter(c->loop, proa_loop_now_exact(c->loop) + PROA_MS(1000));
    c->sql.is_long = true;
    began = proa_loop_now_exact(c->loop);
    assert_int_equal(proa_db_exec(c->sql, NULL, ENDLESS), PROA_ETIMEDOUT);
    assert_true(proa_loop_now_exact(c->loop) - began >= PROA_MS(990));
    proa_deadline_leave(&scope);
}

static void test_deadlines(void **state)
{
    with_sqlite(deadlines, (struct proa_db_options){.statement_ms = 400});
}

/* -- Who waits */

static void readers(struct db_case *c)
{
    struct running endless[6];
    struct proa_group group;

    make_users(c);
    proa_group_init(&group, c->loop);
    /* Two long ones run, a third waits; one single read of two connections hangs. */
    for (size_t i = 0; i < 4; i++) {
        endless[i] = (struct running){.sql = c->sql, .text = ENDLESS};
        endless[i].sql.is_long = i > 0;
        assert_int_equal(proa_group_start(&group, NULL, run_text, &endless[i]), 0);
    }
    assert_int_equal(proa_sleep(c->loop, PROA_MS(20)), 0);
    /* Reads and writes go on beside them. */
    for (int i = 0; i < 20; i++) {
        exec(c->sql, "INSERT INTO users (name, email) VALUES ('a', 'a@x')");
        assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 1);
        exec(c->sql, "DELETE FROM users");
    }
    proa_group_cancel(&group, PROA_ECLOSED);
    assert_int_equal(proa_group_wait(&group), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(endless[i].rc, PROA_ECLOSED);
}

static void test_reads_run_in_parallel(void **state)
{
    with_sqlite(readers, (struct proa_db_options){.shared_connections = 2});
}

/* Writers are served in the order of asking. */
static int order[16];
static int order_len;

static int write_in_turn(struct proa_sql tx, void *arg)
{
    order[order_len++] = *(int *)arg;
    PROA_TRY(proa_sleep(tx.loop, PROA_MS(1)));
    return proa_db_exec(tx, NULL, "INSERT INTO turns VALUES (1)");
}

struct turn {
    struct proa_sql sql;
    struct proa_error err;
    int number;
    int rc;
};

static int take_turn(void *arg)
{
    struct turn *own = arg;

    own->sql.err = &own->err;
    own->rc = proa_db_transaction(own->sql, NULL, write_in_turn, &own->number);
    return 0;
}

static void in_turn(struct db_case *c)
{
    struct turn turns[16];
    struct proa_group group;

    exec(c->sql, "CREATE TABLE turns (n integer)");
    order_len = 0;
    proa_group_init(&group, c->loop);
    for (int i = 0; i < 16; i++) {
        turns[i] = (struct turn){.sql = c->sql, .number = i};
        assert_int_equal(proa_group_start(&group, NULL, take_turn, &turns[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(order_len, 16);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(turns[i].rc, 0);
        assert_int_equal(order[i], i);
    }
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM turns"), 16);
}

static void test_writers_in_the_order_of_asking(void **state)
{
    with_sqlite(in_turn, (struct proa_db_options){0});
}

static void too_many(struct db_case *c)
{
    struct turn turns[8];
    struct proa_group group;
    int busy = 0, done = 0;

    exec(c->sql, "CREATE TABLE turns (n integer)");
    order_len = 0;
    proa_group_init(&group, c->loop);
    for (int i = 0; i < 8; i++) {
        turns[i] = (struct turn){.sql = c->sql, .number = i};
        assert_int_equal(proa_group_start(&group, NULL, take_turn, &turns[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    for (int i = 0; i < 8; i++) {
        busy += turns[i].rc == PROA_EBUSY;
        done += turns[i].rc == 0;
    }
    assert_int_equal(done, 4);
    assert_int_equal(busy, 4);
}

static void test_bounded_waiting(void **state)
{
    with_sqlite(too_many, (struct proa_db_options){.waiting_max = 3});
}

/* -- Metrics */

static struct proa_metrics *metrics;

static void expect_line(const char *line)
{
    struct proa_buf text;

    proa_buf_init(&text, NULL, 0);
    assert_int_equal(proa_metrics_write(metrics, PROA_METRICS_TEXT, &text), 0);
    if (proa_str_find(proa_buf_str(&text), proa_str_c(line)) < 0) {
        print_message("no line %s in\n" PROA_FMT, line, PROA_ARG(proa_buf_str(&text)));
        fail();
    }
    proa_buf_done(&text);
}

#define POOL(metric, pool, state, value)                                                                               \
    "db_client_" metric "{db_system_name=\"sqlite\",db_client_connection_pool_name=\"" pool "\"" state "} " value

static int look_at_pools(struct proa_sql tx, void *arg)
{
    struct running waiting = {.sql = *(struct proa_sql *)arg,
                              .text = "INSERT INTO users (name, email) VALUES ('w', 'w')"};
    struct proa_group group;

    proa_group_init(&group, tx.loop);
    assert_int_equal(proa_group_start(&group, NULL, run_text, &waiting), 0);
    assert_int_equal(proa_sleep(tx.loop, PROA_MS(20)), 0);
    expect_line(POOL("connection_pending_requests", "own", "", "1"));
    expect_line(POOL("connections_usage", "own", ",db_client_connection_state=\"used\"", "1"));
    expect_line(POOL("connections_usage", "own", ",db_client_connection_state=\"idle\"", "0"));
    proa_group_cancel(&group, PROA_ETIMEDOUT);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(waiting.rc, PROA_ETIMEDOUT);
    return 0;
}

static void pools(struct db_case *c)
{
    make_users(c);
    assert_int_equal(count(c->sql, "SELECT 1 AS n"), 1);
    assert_int_equal(proa_db_transaction(c->sql, NULL, look_at_pools, &c->sql), 0);
    expect_line(POOL("connection_pending_requests", "own", "", "0"));
    expect_line(POOL("connection_timeouts_total", "own", "", "1"));
    expect_line(POOL("connections_usage", "own", ",db_client_connection_state=\"idle\"", "1"));
    expect_line(POOL("connections_usage", "shared", ",db_client_connection_state=\"idle\"", "1"));
    expect_line(POOL("connection_max", "shared", "", "4"));
    expect_line(POOL("connection_max", "own", "", "19")); /* the writer, 2 long, 16 of transactions */
}

static void test_metrics_of_the_pools(void **state)
{
    assert_int_equal(proa_metrics_new(1, &metrics), 0);
    with_sqlite(pools, (struct proa_db_options){.metrics = metrics});
    expect_line(POOL("connections_usage", "own", ",db_client_connection_state=\"idle\"", "0"));
    expect_line(POOL("connections_usage", "shared", ",db_client_connection_state=\"idle\"", "0"));
    proa_metrics_free(metrics);
}

/* -- Several loops */

enum { LOOPS = 3, FIBERS = 12, WRITES = 15 };

static struct proa_loops *loops;
static struct proa_db *shared_db;
static _Atomic int fibers_left;
static _Atomic int acknowledged;

static int increment(struct proa_sql tx, void *arg)
{
    struct count_row row;

    (void)arg;
    PROA_TRY(proa_db_one(tx, &count_row_type, &row, "SELECT n FROM counter"));
    return proa_db_exec(tx, NULL, "UPDATE counter SET n = $1", proa_i64(row.n + 1));
}

static int hammer(void *arg)
{
    struct proa_loop *loop = arg;

    for (int i = 0; i < WRITES; i++) {
        struct proa_arena arena;
        struct proa_error err = {0};
        struct proa_sql sql = proa_sql(shared_db, loop, &arena, &err);
        struct proa_deadline_scope scope = proa_deadline_enter(loop, PROA_NEVER);
        int rc;

        proa_arena_init(&arena, proa_loop_blocks(loop), 0);
        /* Some give up while they wait, or just as they are given the writer. */
        if (i % 3 == 2)
            scope = proa_deadline_enter(loop, proa_loop_now_exact(loop) + proa_loop_random_u64(loop) % PROA_MS(20));
        if (i % 2)
            rc = proa_db_transaction(sql, NULL, increment, NULL);
        else
            rc = proa_db_exec(sql, NULL, "UPDATE counter SET n = n + 1");
        proa_deadline_leave(&scope);
        if (rc == 0)
            acknowledged++;
        else
            assert_int_equal(rc, PROA_ETIMEDOUT);
        assert_true(count(sql, "SELECT n FROM counter") >= 0);
        proa_arena_done(&arena);
    }
    fibers_left--;
    return 0;
}

struct starter {
    struct proa_task task;
    struct proa_loop *loop;
};

static void start_fibers(struct proa_task *task)
{
    struct starter *own = PROA_CONTAINER(task, struct starter, task);

    for (int i = 0; i < FIBERS / LOOPS; i++)
        assert_int_equal(proa_loop_start_fiber(own->loop, NULL, hammer, own->loop), 0);
}

static int on_loops(void *arg)
{
    struct proa_loop *loop = arg;
    struct starter starters[LOOPS];
    struct proa_arena arena;
    struct proa_error err = {0};
    struct proa_sql sql = proa_sql(shared_db, loop, &arena, &err);

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    exec(sql, "CREATE TABLE counter (n integer)");
    exec(sql, "INSERT INTO counter VALUES (0)");
    fibers_left = FIBERS;
    acknowledged = 0;
    for (uint32_t i = 0; i < LOOPS; i++) {
        starters[i] = (struct starter){.task = {.run = start_fibers}, .loop = proa_loops_at(loops, i)};
        proa_loop_post(starters[i].loop, &starters[i].task);
    }
    while (fibers_left > 0)
        assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    assert_int_equal(count(sql, "SELECT n FROM counter"), acknowledged);
    assert_true(acknowledged >= FIBERS * WRITES / 2);
    proa_arena_done(&arena);
    proa_db_close(shared_db);
    return 0;
}

static void on_some_loops(uint32_t loops_count, int (*body)(void *arg))
{
    const struct proa_db_driver *drivers[] = {&proa_sqlite_driver, NULL};
    struct db_case place = {0};
    struct proa_error err = {0};

    db_case_folder(&place);
    assert_int_equal(proa_loops_new(loops_count, NULL, &loops, &err), 0);
    assert_int_equal(
        proa_db_open(&(struct proa_db_options){.url = place.url, .loops = loops, .drivers = drivers}, &shared_db, &err),
        0);
    assert_int_equal(proa_loop_start_fiber(proa_loops_at(loops, 0), NULL, body, proa_loops_at(loops, 0)), 0);
    assert_int_equal(proa_loops_run(loops, &err), 0);
    proa_loops_free(loops);
    db_case_remove(&place);
}

static void test_several_loops_lose_no_write(void **state)
{
    on_some_loops(LOOPS, on_loops);
}

/* -- Closing while statements run: it waits for them */

static _Atomic bool is_reading, has_ended;

static int read_for_a_while(struct proa_sql tx, void *arg)
{
    struct proa_sql other = tx;
    proa_mono_ns until = proa_loop_now_exact(tx.loop) + PROA_MS(1500);

    (void)arg;
    is_reading = true;
    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(tx.loop, until);

        assert_int_equal(proa_db_exec(tx, NULL, ENDLESS), PROA_ETIMEDOUT);
    }
    /* What begins meanwhile is refused. */
    other.tx = NULL;
    assert_int_equal(proa_db_exec(other, NULL, "SELECT 1"), PROA_EUNAVAILABLE);
    assert_int_equal(proa_db_transaction(other, NULL, increment, NULL), PROA_EUNAVAILABLE);
    return PROA_ETIMEDOUT;
}

static int read_until_closed(void *arg)
{
    struct proa_loop *loop = arg;
    struct proa_arena arena;
    struct proa_error err = {0};

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(proa_db_transaction(proa_sql(shared_db, loop, &arena, &err), NULL, read_for_a_while, NULL),
                     PROA_ETIMEDOUT);
    proa_arena_done(&arena);
    has_ended = true;
    return 0;
}

static void start_reading(struct proa_task *task)
{
    struct starter *own = PROA_CONTAINER(task, struct starter, task);

    assert_int_equal(proa_loop_start_fiber(own->loop, NULL, read_until_closed, own->loop), 0);
}

static int close_meanwhile(void *arg)
{
    struct proa_loop *loop = arg;
    struct starter starter = {.task = {.run = start_reading}, .loop = proa_loops_at(loops, 1)};

    proa_loop_post(starter.loop, &starter.task);
    while (!is_reading)
        assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(50)), 0);
    proa_db_close(shared_db);
    for (int i = 0; i < 100 && !has_ended; i++) /* the other loop's fiber has a last step before it */
        assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    assert_true(has_ended);
    return 0;
}

static void test_closing_waits_for_statements(void **state)
{
    on_some_loops(2, close_meanwhile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancellation_interrupts_the_statement),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_reads_run_in_parallel),
        cmocka_unit_test(test_writers_in_the_order_of_asking),
        cmocka_unit_test(test_bounded_waiting),
        cmocka_unit_test(test_metrics_of_the_pools),
        cmocka_unit_test(test_several_loops_lose_no_write),
        cmocka_unit_test(test_closing_waits_for_statements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
