/* The scripted server: which rule answers, for how long, when, and what it remembers of what it was asked. */
#include "db_case.h"

static int ask(struct db_case *c, const char *text)
{
    return proa_db_exec(c->sql, NULL, text);
}

static void rule(struct db_case *c, const char *contains, int code, uint32_t times)
{
    assert_int_equal(proa_sim_db_on(c->script, contains, &(struct proa_sim_db_answer){.code = code}, times), 0);
}

static void rules(struct db_case *c)
{
    assert_int_equal(ask(c, "UPDATE a"), PROA_EINTERNAL); /* nobody said how */
    rule(c, "UPDATE", 0, 0);
    assert_int_equal(ask(c, "UPDATE a"), 0);
    rule(c, "UPDATE a", PROA_EEXISTS, 2);
    rule(c, "", PROA_EBUSY, 1);
    assert_int_equal(ask(c, "UPDATE a"), PROA_EBUSY); /* the latest, whatever the text */
    assert_int_equal(ask(c, "UPDATE b"), 0);
    assert_int_equal(ask(c, "UPDATE a"), PROA_EEXISTS);
    assert_int_equal(ask(c, "UPDATE a"), PROA_EEXISTS);
    assert_int_equal(ask(c, "UPDATE a"), 0); /* it was for two */
    assert_int_equal(proa_sim_db_calls(c->script, "UPDATE a"), 6);
    assert_int_equal(proa_sim_db_calls(c->script, "UPDATE b"), 1);
    assert_int_equal(proa_sim_db_calls(c->script, ""), 7);
    assert_int_equal(proa_sim_db_calls(c->script, "DELETE"), 0);
}

static void test_the_latest_rule_that_fits_answers(void **state)
{
    with_script(rules, (struct proa_db_options){0});
}

static void times(struct db_case *c)
{
    proa_mono_ns began = proa_loop_now(c->loop);

    assert_int_equal(proa_sim_db_on(c->script, "SLOW", &(struct proa_sim_db_answer){.latency_ns = PROA_MS(70)}, 0), 0);
    assert_int_equal(ask(c, "SLOW"), 0);
    assert_int_equal(proa_loop_now(c->loop) - began, PROA_MS(70));
    rule(c, "QUICK", 0, 0);
    began = proa_loop_now(c->loop);
    assert_int_equal(ask(c, "QUICK"), 0);
    assert_int_equal(proa_loop_now(c->loop) - began, 0);
}

static void test_an_answer_takes_its_time(void **state)
{
    with_script(times, (struct proa_db_options){0});
}

struct seen {
    uint32_t count;
    bool in_tx;
};

static void see(void *arg, const struct proa_sim_db_call *call, struct proa_sim_db_answer *ret_answer)
{
    struct seen *seen = arg;

    seen->count++;
    seen->in_tx = call->in_tx;
    assert_string_equal(call->text, "WRITE $1");
    assert_int_equal(call->values_count, 1);
    *ret_answer = (struct proa_sim_db_answer){.changed = seen->count};
}

static int write_seven(struct proa_sql sql, void *arg)
{
    return proa_db_exec(sql, arg, "WRITE $1", proa_u64(7));
}

static void functions(struct db_case *c)
{
    struct seen seen = {0};
    uint64_t changed = 0;

    assert_int_equal(proa_sim_db_on_call(c->script, "WRITE", see, &seen, 2), 0);
    assert_int_equal(write_seven(c->sql, &changed), 0);
    assert_int_equal(changed, 1);
    assert_false(seen.in_tx);
    assert_int_equal(proa_db_transaction(c->sql, NULL, write_seven, &changed), 0);
    assert_int_equal(changed, 2);
    assert_true(seen.in_tx);
    assert_int_equal(proa_sim_db_calls(c->script, "COMMIT"), 1);
    assert_int_equal(write_seven(c->sql, NULL), PROA_EINTERNAL); /* it was for two */
    assert_int_equal(seen.count, 2);
}

static void test_a_function_answers(void **state)
{
    with_script(functions, (struct proa_db_options){0});
}

static int close_it(void *arg)
{
    proa_db_close(arg);
    return 0;
}

static void test_its_system_is_chosen(void **state)
{
    struct proa_sim_db *script;
    const struct proa_db_driver *drivers[2] = {NULL, NULL};
    struct proa_db *db;
    struct proa_loop *loop = sim_loop_new(NULL);

    assert_int_equal(proa_sim_db_new(&(struct proa_sim_db_options){.system = "postgresql"}, &script), 0);
    drivers[0] = proa_sim_db_driver(script);
    assert_int_equal(
        proa_db_open(&(struct proa_db_options){.url = "sim:", .loop = loop, .drivers = drivers}, &db, NULL), 0);
    assert_string_equal(proa_db_system(db), "postgresql");
    assert_int_equal(proa_loop_start_fiber(loop, NULL, close_it, db), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_loop_free(loop);
    proa_sim_db_free(script);
    proa_sim_db_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_latest_rule_that_fits_answers),
        cmocka_unit_test(test_an_answer_takes_its_time),
        cmocka_unit_test(test_a_function_answers),
        cmocka_unit_test(test_its_system_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
