/* Which lines a filter lets through, and what it refuses. */
#include "unit.h"

#include "obs/log_internal.h"
#include <stdio.h>
#include <stdlib.h>

static int level_of(const char *text, const char *target)
{
    struct log_filter *filter;
    int level;

    assert_int_equal(log_filter_new(text, &filter, NULL), 0);
    level = log_filter_level(filter, target);
    assert_true(log_filter_least(filter) <= level);
    log_filter_free(filter);
    return level;
}

static void test_levels(void **state)
{
    assert_int_equal(level_of(NULL, "x"), PROA_LOG_INFO);
    assert_int_equal(level_of("", "x"), PROA_LOG_INFO);
    assert_int_equal(level_of("  ", "x"), PROA_LOG_INFO);
    assert_int_equal(level_of("trace", "x"), PROA_LOG_TRACE);
    assert_int_equal(level_of("DEBUG", "x"), PROA_LOG_DEBUG);
    assert_int_equal(level_of("Warn", "x"), PROA_LOG_WARN);
    assert_int_equal(level_of("warning", "x"), PROA_LOG_WARN);
    assert_int_equal(level_of("error", "x"), PROA_LOG_ERROR);
    assert_int_equal(level_of("off", "x"), PROA_LOG_OFF);
    assert_int_equal(level_of("error", NULL), PROA_LOG_ERROR);
}

static void test_targets_match_up_to_a_dot(void **state)
{
    static const char *const text = " info , db = debug ,http.access=off,http=warn";

    assert_int_equal(level_of(text, "app"), PROA_LOG_INFO);
    assert_int_equal(level_of(text, NULL), PROA_LOG_INFO);
    assert_int_equal(level_of(text, ""), PROA_LOG_INFO);
    assert_int_equal(level_of(text, "db"), PROA_LOG_DEBUG);
    assert_int_equal(level_of(text, "db.pg"), PROA_LOG_DEBUG);
    assert_int_equal(level_of(text, "db.pg.pool"), PROA_LOG_DEBUG);
    assert_int_equal(level_of(text, "dbx"), PROA_LOG_INFO);
    assert_int_equal(level_of(text, "d"), PROA_LOG_INFO);
    assert_int_equal(level_of(text, "http"), PROA_LOG_WARN);
    assert_int_equal(level_of(text, "http.server"), PROA_LOG_WARN);
    assert_int_equal(level_of(text, "http.access"), PROA_LOG_OFF);
    assert_int_equal(level_of(text, "http.access.slow"), PROA_LOG_OFF);
    assert_int_equal(level_of(text, "http.accessory"), PROA_LOG_WARN);
}

static void test_the_longest_target_wins_in_any_order(void **state)
{
    assert_int_equal(level_of("a=error,a.b.c=debug,a.b=warn", "a.b.c.d"), PROA_LOG_DEBUG);
    assert_int_equal(level_of("a.b.c=debug,a.b=warn,a=error", "a.b.c.d"), PROA_LOG_DEBUG);
    assert_int_equal(level_of("a=error,a.b=warn,a.b.c=debug", "a.b.x"), PROA_LOG_WARN);
    /* No level without a target: the default stays. */
    assert_int_equal(level_of("a=error", "b"), PROA_LOG_INFO);
}

static void test_the_last_of_equals_wins(void **state)
{
    assert_int_equal(level_of("info,debug", "x"), PROA_LOG_DEBUG);
    assert_int_equal(level_of("db=warn,xy=info,db=debug", "db"), PROA_LOG_DEBUG);
}

static void test_bad_filters(void **state)
{
    static const char *const bad[] = {
        "inof",    "info,",     "info,,warn", ",",
        "=",       "=info",     "db=",        "db",
        "db=inof", "a b=info",  "db=info=1",  "d\xc3\xa9=info",
        "9",       "info;warn", "a/b=info",   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=info",
    };
    struct log_filter *filter = NULL;

    for (size_t i = 0; i < PROA_COUNT(bad); i++) {
        struct proa_error err = {0};

        assert_int_equal(log_filter_new(bad[i], &filter, &err), PROA_EINVAL);
        assert_int_equal(err.code, PROA_EINVAL);
        assert_non_null(strstr(err.message, "log filter"));
    }
    assert_null(filter);
}

static void test_the_number_of_targets_is_bounded(void **state)
{
    char text[2048];
    size_t at = 0;
    struct log_filter *filter;
    struct proa_error err = {0};

    for (int i = 0; i < 64; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%st%d=debug", i ? "," : "", i);
    assert_int_equal(level_of(text, "t63"), PROA_LOG_DEBUG);
    snprintf(text + at, sizeof text - at, ",t64=debug");
    assert_int_equal(log_filter_new(text, &filter, &err), PROA_EINVAL);
    assert_non_null(strstr(err.message, "more than 64"));
}

static void test_equality(void **state)
{
    struct log_filter *a, *b, *c;

    assert_int_equal(log_filter_new("info,db=debug", &a, NULL), 0);
    assert_int_equal(log_filter_new(" INFO, db=debug", &b, NULL), 0);
    assert_int_equal(log_filter_new("info,db=warn", &c, NULL), 0);
    assert_true(log_filter_equal(a, b));
    assert_false(log_filter_equal(a, c));
    log_filter_free(a);
    log_filter_free(b);
    log_filter_free(c);
    log_filter_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_targets_match_up_to_a_dot),
        cmocka_unit_test(test_the_longest_target_wins_in_any_order),
        cmocka_unit_test(test_the_last_of_equals_wins),
        cmocka_unit_test(test_bad_filters),
        cmocka_unit_test(test_the_number_of_targets_is_bounded),
        cmocka_unit_test(test_equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
