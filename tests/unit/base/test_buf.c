/* Growing buffers: on the heap, in arenas, at their limits, after a failure. */
#include "unit.h"

#include <proa/arena.h>
#include <proa/buf.h>
#include <proa/error.h>
#include <stdio.h>
#include <string.h>

static void check(const struct proa_buf *buf, const char *text)
{
    assert_int_equal(buf->len, strlen(text));
    assert_true(proa_str_eq_c(proa_buf_str(buf), text));
}

static void test_a_zeroed_buffer_works(void **state)
{
    struct proa_buf buf = {0};

    (void)state;
    check(&buf, "");
    assert_int_equal(proa_buf_add(&buf, proa_str_n(NULL, 0)), 0);
    assert_int_equal(proa_buf_printf(&buf, "%s", ""), 0);
    assert_int_equal(proa_buf_add_c(&buf, "ab"), 0);
    assert_int_equal(proa_buf_add_char(&buf, 'c'), 0);
    assert_int_equal(proa_buf_add_u64(&buf, UINT64_MAX), 0);
    assert_int_equal(proa_buf_add_i64(&buf, INT64_MIN), 0);
    assert_int_equal(proa_buf_add_double(&buf, -0.5), 0);
    assert_int_equal(proa_buf_printf(&buf, "<%d>", 7), 0);
    check(&buf, "abc18446744073709551615-9223372036854775808-0.5<7>");
    proa_buf_clear(&buf);
    check(&buf, "");
    assert_int_equal(proa_buf_add_c(&buf, "x"), 0);
    check(&buf, "x");
    proa_buf_done(&buf);
    check(&buf, "");
    proa_buf_done(&buf);
}

static void grow_to(struct proa_buf *buf)
{
    for (int i = 0; i < 30000; i++)
        assert_int_equal(proa_buf_add_char(buf, (char)('a' + i % 26)), 0);
    for (int i = 0; i < 30000; i++)
        assert_int_equal(buf->ptr[i], 'a' + i % 26);
}

static void test_growth_keeps_content(void **state)
{
    struct proa_arena arena;
    struct proa_buf heap = {0}, in_arena;

    (void)state;
    grow_to(&heap);
    proa_buf_done(&heap);
    proa_arena_init(&arena, NULL, 0);
    proa_buf_init(&in_arena, &arena, 0);
    grow_to(&in_arena);
    proa_buf_done(&in_arena);
    proa_arena_done(&arena);
}

static void test_the_limit_is_usable_to_the_last_byte(void **state)
{
    struct proa_buf buf;

    (void)state;
    proa_buf_init(&buf, NULL, 5);
    assert_int_equal(proa_buf_add_c(&buf, "hello"), 0);
    assert_int_equal(proa_buf_add_char(&buf, '!'), PROA_ETOOLARGE);
    check(&buf, "hello");
    proa_buf_done(&buf);
    assert_int_equal(proa_buf_printf(&buf, "%s", "hello"), 0);
    check(&buf, "hello");
    assert_int_equal(proa_buf_printf(&buf, "%s", ""), 0);
    assert_int_equal(proa_buf_printf(&buf, "%s", "x"), PROA_ETOOLARGE);
    check(&buf, "hello");
    proa_buf_clear(&buf);
    assert_int_equal(proa_buf_add_u64(&buf, 99), 0);
    assert_int_equal(proa_buf_add_i64(&buf, -1), 0);
    assert_int_equal(proa_buf_add_double(&buf, 4), 0);
    check(&buf, "99-14");
    assert_int_equal(proa_buf_add_u64(&buf, 0), PROA_ETOOLARGE);
    proa_buf_done(&buf);
}

static void test_a_failure_sticks_until_cleared(void **state)
{
    struct proa_buf buf;

    (void)state;
    proa_buf_init(&buf, NULL, 4);
    assert_int_equal(proa_buf_add_c(&buf, "ab"), 0);
    assert_int_equal(proa_buf_add_c(&buf, "cde"), PROA_ETOOLARGE);
    assert_int_equal(buf.error, PROA_ETOOLARGE);
    assert_int_equal(proa_buf_add_char(&buf, 'c'), PROA_ETOOLARGE);
    assert_int_equal(proa_buf_add(&buf, proa_str_n(NULL, 0)), PROA_ETOOLARGE);
    assert_int_equal(proa_buf_printf(&buf, "x"), PROA_ETOOLARGE);
    assert_int_equal(proa_buf_reserve(&buf, 0), PROA_ETOOLARGE);
    check(&buf, "ab");
    proa_buf_clear(&buf);
    assert_int_equal(proa_buf_add_c(&buf, "abcd"), 0);
    check(&buf, "abcd");
    proa_buf_done(&buf);
}

static void test_sizes_that_cannot_be_are_refused(void **state)
{
    struct proa_arena arena;
    struct proa_buf buf = {0};

    (void)state;
    assert_int_equal(proa_buf_add_c(&buf, "ab"), 0);
    assert_int_equal(proa_buf_reserve(&buf, SIZE_MAX), PROA_ETOOLARGE);
    proa_buf_clear(&buf);
    assert_true(proa_buf_reserve(&buf, SIZE_MAX / 2 + 2) < 0);
    proa_buf_done(&buf);
    proa_arena_init(&arena, NULL, 1000);
    proa_buf_init(&buf, &arena, 0);
    assert_int_equal(proa_buf_reserve(&buf, 5000), PROA_ENOMEM);
    check(&buf, "");
    proa_arena_done(&arena);
}

static void test_printf_at_every_distance_from_the_end(void **state)
{
    (void)state;
    for (size_t filled = 240; filled <= 256; filled++)
        for (int width = 0; width < 40; width++) {
            struct proa_buf buf = {0};
            char filler[256], expected[64];

            memset(filler, 'f', sizeof filler);
            assert_int_equal(proa_buf_add(&buf, proa_str_n(filler, filled)), 0);
            assert_int_equal(proa_buf_printf(&buf, "%0*d", width, 7), 0);
            snprintf(expected, sizeof expected, "%0*d", width, 7);
            assert_int_equal(buf.len, filled + strlen(expected));
            assert_memory_equal(buf.ptr, filler, filled);
            assert_memory_equal(buf.ptr + filled, expected, strlen(expected));
            proa_buf_done(&buf);
        }
}

static void test_consume(void **state)
{
    struct proa_buf buf = {0};

    (void)state;
    proa_buf_consume(&buf, 0);
    assert_int_equal(proa_buf_add_c(&buf, "abcdef"), 0);
    proa_buf_consume(&buf, 0);
    check(&buf, "abcdef");
    proa_buf_consume(&buf, 2);
    check(&buf, "cdef");
    proa_buf_consume(&buf, 4);
    check(&buf, "");
    assert_int_equal(proa_buf_add_c(&buf, "x"), 0);
    proa_buf_consume(&buf, 99);
    check(&buf, "");
    proa_buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_zeroed_buffer_works),
        cmocka_unit_test(test_growth_keeps_content),
        cmocka_unit_test(test_the_limit_is_usable_to_the_last_byte),
        cmocka_unit_test(test_a_failure_sticks_until_cleared),
        cmocka_unit_test(test_sizes_that_cannot_be_are_refused),
        cmocka_unit_test(test_printf_at_every_distance_from_the_end),
        cmocka_unit_test(test_consume),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
