/* Error objects: chains of causes, cutting, lists of broken rules. */
#include "unit.h"

#include <errno.h>
#include <proa/arena.h>
#include <proa/error.h>
#include <proa/text.h>
#include <string.h>

static void test_every_code_has_its_own_name(void **state)
{
    (void)state;
    for (int a = 0; a >= PROA_ECODE_MIN; a--) {
        assert_non_null(proa_code_name(a));
        assert_string_not_equal(proa_code_name(a), "PROA_E?");
        for (int b = a - 1; b >= PROA_ECODE_MIN; b--)
            assert_string_not_equal(proa_code_name(a), proa_code_name(b));
    }
    assert_string_equal(proa_code_name(PROA_OK), "PROA_OK");
    assert_string_equal(proa_code_name(PROA_ETIMEDOUT), "PROA_ETIMEDOUT");
    assert_string_equal(proa_code_name(PROA_EIO), "PROA_EIO");
    assert_string_equal(proa_code_name(PROA_EAGAIN), "PROA_EAGAIN");
    assert_string_equal(proa_code_name(1), "PROA_E?");
    assert_string_equal(proa_code_name(PROA_ECODE_MIN - 1), "PROA_E?");
}

static void test_codes_of_errno(void **state)
{
    (void)state;
    assert_int_equal(proa_code_from_errno(0), PROA_OK);
    assert_int_equal(proa_code_from_errno(-ENOMEM), PROA_ENOMEM);
    assert_int_equal(proa_code_from_errno(-ENOENT), PROA_ENOTFOUND);
    assert_int_equal(proa_code_from_errno(-ECONNREFUSED), PROA_EUNAVAILABLE);
    assert_int_equal(proa_code_from_errno(-EPIPE), PROA_ECLOSED);
    assert_int_equal(proa_code_from_errno(-EMFILE), PROA_EBUSY);
    assert_int_equal(proa_code_from_errno(-9999), PROA_EIO);
}

static void test_without_an_object_the_code_comes_back(void **state)
{
    (void)state;
    assert_int_equal(proa_fail(NULL, PROA_EINVAL, "x"), PROA_EINVAL);
    assert_int_equal(proa_fail_errno(NULL, ENOENT, "x"), PROA_ENOTFOUND);
    assert_int_equal(proa_error_add_field(NULL, PROA_EVALIDATION, PROA_STR("/a"), "r", "x"), PROA_EVALIDATION);
    (void)proa_error_wrap(NULL, "x");
    proa_error_clear(NULL);
}

static void test_messages_chain_from_outside_to_inside(void **state)
{
    struct proa_error err = {0};

    (void)state;
    assert_int_equal(proa_fail_errno(&err, ENOENT, "open %s", "a.conf"), PROA_ENOTFOUND);
    assert_int_equal(err.os_errno, ENOENT);
    assert_string_equal(err.message, "open a.conf: No such file or directory");
    assert_int_equal(proa_error_wrap(&err, "load %d", 7), PROA_ENOTFOUND);
    assert_string_equal(err.message, "load 7: open a.conf: No such file or directory");
    assert_int_equal(err.code, PROA_ENOTFOUND);
}

static void test_a_message_may_be_built_from_the_one_it_replaces(void **state)
{
    struct proa_error err = {0};

    (void)state;
    assert_int_equal(proa_fail(&err, PROA_EIO, "inner"), PROA_EIO);
    assert_int_equal(proa_fail(&err, PROA_EBUSY, "outer: %s", err.message), PROA_EBUSY);
    assert_string_equal(err.message, "outer: inner");
    assert_int_equal(err.code, PROA_EBUSY);
    assert_int_equal(proa_error_wrap(&err, "(%s)", err.message), PROA_EBUSY);
    assert_string_equal(err.message, "(outer: inner): outer: inner");
}

static void test_failing_anew_forgets_all_but_arena_and_retry(void **state)
{
    struct proa_error err = {.retry_after_s = 3};
    struct proa_arena arena;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    err.arena = &arena;
    (void)proa_error_add_field(&err, PROA_EVALIDATION, PROA_STR("/a"), "required", "missing");
    err.type = "urn:x";
    (void)proa_fail(&err, PROA_EBUSY, "full");
    assert_int_equal(err.fields_count, 0);
    assert_null(err.fields);
    assert_null(err.type);
    assert_string_equal(err.pointer, "");
    assert_int_equal(err.retry_after_s, 3);
    assert_ptr_equal(err.arena, &arena);
    proa_error_clear(&err);
    assert_int_equal(err.code, 0);
    assert_string_equal(err.message, "");
    assert_int_equal(err.retry_after_s, 0);
    assert_ptr_equal(err.arena, &arena);
    proa_arena_done(&arena);
}

/* Text that does not fit, at every distance of a character from the end. */
static void test_cut_messages_end_at_a_character(void **state)
{
    static const char *const characters[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

    (void)state;
    for (size_t kind = 0; kind < PROA_COUNT(characters); kind++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[2 * PROA_ERROR_MESSAGE_MAX] = "xxx";
            size_t width = strlen(characters[kind]), len = shift;
            struct proa_error err = {0};

            while (len + width < sizeof text) {
                memcpy(text + len, characters[kind], width + 1);
                len += width;
            }
            (void)proa_fail(&err, PROA_EIO, "%s", text);
            assert_true(proa_utf8_valid(proa_str_c(err.message)));
            assert_in_range(strlen(err.message), PROA_ERROR_MESSAGE_MAX - 4, PROA_ERROR_MESSAGE_MAX - 1);
            assert_memory_equal(err.message, text, strlen(err.message));
            (void)proa_error_wrap(&err, "w");
            assert_true(proa_utf8_valid(proa_str_c(err.message)));
            assert_in_range(strlen(err.message), PROA_ERROR_MESSAGE_MAX - 4, PROA_ERROR_MESSAGE_MAX - 1);
            (void)proa_fail_errno(&err, ENOENT, "%s", text);
            assert_true(proa_utf8_valid(proa_str_c(err.message)));
        }
    }
}

static void test_a_text_that_just_fits_is_whole(void **state)
{
    struct proa_error err = {0};
    char text[PROA_ERROR_MESSAGE_MAX];

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text - 4, "\xe2\x82\xac", 4);
    (void)proa_fail(&err, PROA_EIO, "%s", text);
    assert_string_equal(err.message, text);
}

static void test_fields_are_kept_in_order_and_copied(void **state)
{
    char pointer[] = "/name", rule[] = "required";
    struct proa_error err = {0};
    struct proa_arena arena;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    err.arena = &arena;
    assert_int_equal(proa_error_add_field(&err, PROA_EVALIDATION, proa_str_c(pointer), rule, "is %s", "missing"),
                     PROA_EVALIDATION);
    assert_int_equal(proa_error_add_field(&err, PROA_ESYNTAX, PROA_STR("/age"), "range", "too big"), PROA_ESYNTAX);
    memset(pointer, 'x', sizeof pointer - 1);
    memset(rule, 'x', sizeof rule - 1);
    assert_int_equal(err.code, PROA_EVALIDATION);
    assert_string_equal(err.message, "is missing");
    assert_string_equal(err.pointer, "/name");
    assert_int_equal(err.fields_count, 2);
    assert_true(proa_str_eq_c(err.fields->pointer, "/name"));
    assert_true(proa_str_eq_c(err.fields->code, "required"));
    assert_true(proa_str_eq_c(err.fields->detail, "is missing"));
    assert_true(proa_str_eq_c(err.fields->next->pointer, "/age"));
    assert_null(err.fields->next->next);
    proa_arena_done(&arena);
}

static void test_fields_are_counted_beyond_those_listed(void **state)
{
    struct proa_error err = {0};
    struct proa_error bare = {0};
    struct proa_arena arena;
    unsigned listed = 0;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    err.arena = &arena;
    for (int i = 0; i < PROA_ERROR_FIELDS_MAX + 10; i++) {
        (void)proa_error_add_field(&err, PROA_EVALIDATION, PROA_STR("/a"), "r", "%d", i);
        (void)proa_error_add_field(&bare, PROA_EVALIDATION, PROA_STR("/b"), "r", "%d", i);
    }
    for (struct proa_error_field *field = err.fields; field; field = field->next)
        listed++;
    assert_int_equal(listed, PROA_ERROR_FIELDS_MAX);
    assert_int_equal(err.fields_count, PROA_ERROR_FIELDS_MAX + 10);
    assert_null(bare.fields);
    assert_string_equal(bare.pointer, "/b");
    assert_string_equal(bare.message, "0");
    proa_arena_done(&arena);
}

static void test_a_long_pointer_is_cut_at_a_character(void **state)
{
    char text[2 * PROA_ERROR_POINTER_MAX];
    struct proa_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa4", 2);
    (void)proa_error_add_field(&err, PROA_EVALIDATION, proa_str_n(text, sizeof text), "r", "x");
    assert_int_equal(strlen(err.pointer), PROA_ERROR_POINTER_MAX - 2);
    assert_true(proa_utf8_valid(proa_str_c(err.pointer)));
}

static void test_a_full_arena_loses_the_list_only(void **state)
{
    struct proa_error err = {0};
    struct proa_arena arena;

    (void)state;
    proa_arena_init(&arena, NULL, 16);
    err.arena = &arena;
    assert_int_equal(proa_error_add_field(&err, PROA_EVALIDATION, PROA_STR("/a"), "r", "text"), PROA_EVALIDATION);
    assert_null(err.fields);
    assert_string_equal(err.message, "text");
    proa_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_its_own_name),
        cmocka_unit_test(test_codes_of_errno),
        cmocka_unit_test(test_without_an_object_the_code_comes_back),
        cmocka_unit_test(test_messages_chain_from_outside_to_inside),
        cmocka_unit_test(test_a_message_may_be_built_from_the_one_it_replaces),
        cmocka_unit_test(test_failing_anew_forgets_all_but_arena_and_retry),
        cmocka_unit_test(test_cut_messages_end_at_a_character),
        cmocka_unit_test(test_a_text_that_just_fits_is_whole),
        cmocka_unit_test(test_fields_are_kept_in_order_and_copied),
        cmocka_unit_test(test_fields_are_counted_beyond_those_listed),
        cmocka_unit_test(test_a_long_pointer_is_cut_at_a_character),
        cmocka_unit_test(test_a_full_arena_loses_the_list_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
