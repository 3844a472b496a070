/* Transactions on a scripted server: commit, rollback whatever happens, savepoints, repetition. */
#include "db_case.h"

static void answer(struct db_case *c, const char *contains, struct proa_sim_db_answer answer, uint32_t times)
{
    assert_int_equal(proa_sim_db_on(c->script, contains, &answer, times), 0);
}

static uint32_t calls(struct db_case *c, const char *contains)
{
    return proa_sim_db_calls(c->script, contains);
}

static int one_write(struct proa_sql tx, void *arg)
{
    assert_non_null(tx.tx);
    PROA_TRY(proa_db_exec(tx, NULL, "WRITE"));
    return arg ? *(int *)arg : 0;
}

static void commits(struct db_case *c)
{
    int result = 42;

    answer(c, "WRITE", (struct proa_sim_db_answer){.changed = 1}, 0);
    assert_int_equal(proa_db_transaction(c->sql, NULL, one_write, NULL), 0);
    assert_int_equal(proa_db_transaction(c->sql, NULL, one_write, &result), 42);
    assert_int_equal(calls(c, "BEGIN"), 2);
    assert_int_equal(calls(c, "COMMIT"), 2);
    assert_int_equal(calls(c, "ROLLBACK"), 0);
    result = PROA_EFORBIDDEN;
    assert_int_equal(proa_db_transaction(c->sql, NULL, one_write, &result), PROA_EFORBIDDEN);
    assert_int_equal(calls(c, "COMMIT"), 2);
    assert_int_equal(calls(c, "ROLLBACK"), 1);
    answer(c, "BEGIN", (struct proa_sim_db_answer){.code = PROA_EUNAVAILABLE}, 1);
    assert_int_equal(proa_db_transaction(c->sql, NULL, one_write, NULL), PROA_EUNAVAILABLE);
    assert_int_equal(calls(c, "ROLLBACK"), 1);
}

static void test_commit_and_rollback(void **state)
{
    with_script(commits, (struct proa_db_options){0});
}

static int ignores_error(struct proa_sql tx, void *arg)
{
    (void)arg;
    assert_int_equal(proa_db_exec(tx, NULL, "BAD"), PROA_EEXISTS);
    assert_int_equal(proa_db_exec(tx, NULL, "WRITE"), PROA_EINTERNAL);
    return 0;
}

static int nests_ignoring(struct proa_sql tx, void *arg)
{
    assert_int_equal(proa_db_transaction(tx, NULL, ignores_error, arg), PROA_EINTERNAL);
    return proa_db_exec(tx, NULL, "WRITE");
}

static void failed(struct db_case *c)
{
    answer(c, "WRITE", (struct proa_sim_db_answer){0}, 0);
    answer(c, "BAD", (struct proa_sim_db_answer){.code = PROA_EEXISTS}, 0);
    /* After an error nothing is sent and nothing committed, as PostgreSQL has it. */
    assert_int_equal(proa_db_transaction(c->sql, NULL, ignores_error, NULL), PROA_EINTERNAL);
    assert_int_equal(calls(c, "WRITE"), 0);
    assert_int_equal(calls(c, "COMMIT"), 0);
    assert_int_equal(calls(c, "ROLLBACK"), 1);
    /* A savepoint makes it good again. */
    assert_int_equal(proa_db_transaction(c->sql, NULL, nests_ignoring, NULL), 0);
    assert_int_equal(calls(c, "ROLLBACK TO SAVEPOINT proa_1"), 1);
    assert_int_equal(calls(c, "WRITE"), 1);
    assert_int_equal(calls(c, "COMMIT"), 1);
}

static void test_a_failed_transaction_does_nothing_more(void **state)
{
    with_script(failed, (struct proa_db_options){0});
}

static int nest_deep(struct proa_sql tx, void *arg)
{
    int *depth = arg;

    if (--*depth > 0)
        return proa_db_transaction(tx, NULL, nest_deep, arg);
    return proa_db_exec(tx, NULL, "WRITE");
}

static void nested(struct db_case *c)
{
    int depth = 3;

    answer(c, "WRITE", (struct proa_sim_db_answer){0}, 2);
    assert_int_equal(proa_db_transaction(c->sql, NULL, nest_deep, &depth), 0);
    assert_int_equal(calls(c, "BEGIN"), 1);
    assert_int_equal(calls(c, "SAVEPOINT proa_1"), 2);
    assert_int_equal(calls(c, "RELEASE SAVEPOINT proa_2"), 1);
    assert_int_equal(calls(c, "COMMIT"), 1);
    /* The innermost fails, and all give its error on. */
    answer(c, "WRITE", (struct proa_sim_db_answer){.code = PROA_EVALIDATION}, 1);
    depth = 3;
    assert_int_equal(proa_db_transaction(c->sql, NULL, nest_deep, &depth), PROA_EVALIDATION);
    assert_int_equal(c->err.code, PROA_EVALIDATION);
    assert_int_equal(calls(c, "COMMIT"), 1);
    /* Too deep. */
    depth = 1000;
    assert_int_equal(proa_db_transaction(c->sql, NULL, nest_deep, &depth), PROA_EINVAL);
    /* A savepoint that cannot be undone spoils the transaction. */
    answer(c, "WRITE", (struct proa_sim_db_answer){.code = PROA_EVALIDATION}, 1);
    answer(c, "ROLLBACK TO", (struct proa_sim_db_answer){.code = PROA_EUNAVAILABLE}, 1);
    depth = 2;
    assert_int_equal(proa_db_transaction(c->sql, NULL, nest_deep, &depth), PROA_EVALIDATION);
}

static void test_savepoints(void **state)
{
    with_script(nested, (struct proa_db_options){0});
}

/* -- Cancellation */

struct canceled {
    struct db_case *c;
    int rc;
};

static int sleeps(struct proa_sql tx, void *arg)
{
    PROA_TRY(proa_db_exec(tx, NULL, "WRITE"));
    (void)arg;
    return proa_sleep(tx.loop, PROA_SECONDS(100));
}

static int run_canceled(void *arg)
{
    struct canceled *own = arg;

    own->rc = proa_db_transaction(own->c->sql, NULL, sleeps, NULL);
    return 0;
}

static int forgets(struct proa_sql tx, void *arg)
{
    (void)arg;
    proa_ignore(proa_sleep(tx.loop, PROA_SECONDS(100)));
    return 0;
}

static void canceled(struct db_case *c)
{
    struct canceled own = {.c = c};
    struct proa_deadline_scope scope;
    struct proa_group group;

    answer(c, "WRITE", (struct proa_sim_db_answer){0}, 0);
    answer(c, "ROLLBACK", (struct proa_sim_db_answer){.latency_ns = PROA_MS(10)}, 0);
    proa_group_init(&group, c->loop);
    assert_int_equal(proa_group_start(&group, NULL, run_canceled, &own), 0);
    assert_int_equal(proa_sleep(c->loop, PROA_SECONDS(1)), 0);
    proa_group_cancel(&group, 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(own.rc, PROA_ECANCELED);
    assert_int_equal(calls(c, "ROLLBACK"), 1);
    /* A function that does not look: no commit after the deadline. */
    scope = proa_deadline_enter(c->loop, proa_loop_now(c->loop) + PROA_SECONDS(1));
    assert_int_equal(proa_db_transaction(c->sql, NULL, forgets, NULL), PROA_ETIMEDOUT);
    proa_deadline_leave(&scope);
    assert_int_equal(calls(c, "ROLLBACK"), 2);
    assert_int_equal(calls(c, "COMMIT"), 0);
    /* A rollback that never comes back is not waited for for ever. */
    answer(c, "ROLLBACK", (struct proa_sim_db_answer){.never = true}, 1);
    assert_int_equal(proa_db_transaction(c->sql, NULL, one_write, &(int){PROA_EFORBIDDEN}), PROA_EFORBIDDEN);
}

static void test_cancellation_rolls_back(void **state)
{
    with_script(canceled, (struct proa_db_options){0});
}

static void lost_commit(struct db_case *c)
{
    struct proa_deadline_scope scope;

    answer(c, "WRITE", (struct proa_sim_db_answer){0}, 0);
    answer(c, "COMMIT", (struct proa_sim_db_answer){.breaks_connection = true}, 1);
    assert_int_equal(proa_db_transaction(c->sql, &(struct proa_tx_options){.retries = 5}, one_write, NULL),
                     PROA_EUNKNOWN);
    assert_int_equal(calls(c, "BEGIN"), 1);
    answer(c, "COMMIT", (struct proa_sim_db_answer){.never = true}, 1);
    scope = proa_deadline_enter(c->loop, proa_loop_now(c->loop) + PROA_SECONDS(1));
    assert_int_equal(proa_db_transaction(c->sql, NULL, one_write, NULL), PROA_EUNKNOWN);
    proa_deadline_leave(&scope);
    /* The connection goes in the middle. */
    answer(c, "WRITE", (struct proa_sim_db_answer){.breaks_connection = true}, 1);
    assert_int_equal(proa_db_transaction(c->sql, NULL, one_write, NULL), PROA_EUNAVAILABLE);
    assert_int_equal(calls(c, "ROLLBACK"), 0);
}

static void test_a_lost_commit_is_unknown_and_not_repeated(void **state)
{
    with_script(lost_commit, (struct proa_db_options){0});
}

/* -- Repetition */

static void retries(struct db_case *c)
{
    struct proa_tx_options options = {.retries = 3};
    const struct proa_sim_db_answer collision = {.code = PROA_ECONFLICT, .may_retry = true};

    answer(c, "WRITE", (struct proa_sim_db_answer){0}, 0);
    answer(c, "WRITE", collision, 2);
    assert_int_equal(proa_db_transaction(c->sql, &options, one_write, NULL), 0);
    assert_int_equal(c->err.code, 0);
    assert_int_equal(calls(c, "BEGIN"), 3);
    /* By the commit. */
    answer(c, "COMMIT", collision, 3);
    assert_int_equal(proa_db_transaction(c->sql, &options, one_write, NULL), 0);
    assert_int_equal(calls(c, "BEGIN"), 7);
    /* Once too often; and not at all. */
    answer(c, "COMMIT", collision, 5);
    assert_int_equal(proa_db_transaction(c->sql, &options, one_write, NULL), PROA_ECONFLICT);
    assert_int_equal(calls(c, "BEGIN"), 11);
    assert_int_equal(proa_db_transaction(c->sql, NULL, one_write, NULL), PROA_ECONFLICT);
    assert_int_equal(calls(c, "BEGIN"), 12);
    /* Another conflict is none of serialisation. */
    answer(c, "WRITE", (struct proa_sim_db_answer){.code = PROA_ECONFLICT}, 1);
    assert_int_equal(proa_db_transaction(c->sql, &options, one_write, NULL), PROA_ECONFLICT);
    assert_int_equal(proa_db_transaction(c->sql, &options, one_write, &(int){PROA_ECONFLICT}), PROA_ECONFLICT);
    assert_int_equal(calls(c, "BEGIN"), 14);
}

static void test_repetition_after_serialisation_failures(void **state)
{
    with_script(retries, (struct proa_db_options){0});
}

static void retry_deadline(struct db_case *c)
{
    struct proa_deadline_scope scope = proa_deadline_enter(c->loop, proa_loop_now(c->loop) + PROA_SECONDS(1));

    answer(c, "WRITE",
           (struct proa_sim_db_answer){.code = PROA_ECONFLICT, .may_retry = true, .latency_ns = PROA_MS(300)}, 0);
    assert_true(proa_db_transaction(c->sql, &(struct proa_tx_options){.retries = 1000}, one_write, NULL) < 0);
    assert_in_range(calls(c, "BEGIN"), 2, 4);
    proa_deadline_leave(&scope);
}

static void test_repetition_ends_at_the_deadline(void **state)
{
    with_script(retry_deadline, (struct proa_db_options){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_and_rollback),
        cmocka_unit_test(test_a_failed_transaction_does_nothing_more),
        cmocka_unit_test(test_savepoints),
        cmocka_unit_test(test_cancellation_rolls_back),
        cmocka_unit_test(test_a_lost_commit_is_unknown_and_not_repeated),
        cmocka_unit_test(test_repetition_after_serialisation_failures),
        cmocka_unit_test(test_repetition_ends_at_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
