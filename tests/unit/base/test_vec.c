/* Growing arrays. */
#include "unit.h"

#include <proa/vec.h>
#include <string.h>

struct item {
    char text[20];
    uint32_t number;
};

static void test_push_gives_zeroed_items_that_stay(void **state)
{
    struct proa_vec vec;

    (void)state;
    proa_vec_init(&vec, sizeof(struct item));
    for (uint32_t i = 0; i < 1000; i++) {
        static const struct item zero;
        struct item *item = proa_vec_push(&vec);

        assert_memory_equal(item, &zero, sizeof zero);
        memset(item->text, 'x', sizeof item->text);
        item->number = i;
    }
    assert_int_equal(vec.len, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(((struct item *)proa_vec_at(&vec, i))->number, i);
    proa_vec_done(&vec);
    assert_int_equal(vec.len, 0);
    assert_non_null(proa_vec_push(&vec));
    proa_vec_done(&vec);
    proa_vec_done(&vec);
}

static void test_a_reused_place_is_zeroed(void **state)
{
    struct proa_vec vec;
    uint64_t *item;

    (void)state;
    proa_vec_init(&vec, sizeof *item);
    item = proa_vec_push(&vec);
    *item = 7;
    proa_vec_remove(&vec, 0);
    item = proa_vec_push(&vec);
    assert_int_equal(*item, 0);
    proa_vec_done(&vec);
}

static void check(const struct proa_vec *vec, const char *expected)
{
    assert_int_equal(vec->len, strlen(expected));
    for (size_t i = 0; i < vec->len; i++)
        assert_int_equal(*(char *)proa_vec_at(vec, i), expected[i]);
}

static void test_remove_keeps_the_order(void **state)
{
    struct proa_vec vec;

    (void)state;
    proa_vec_init(&vec, 1);
    for (char c = 'a'; c <= 'h'; c++)
        *(char *)proa_vec_push(&vec) = c;
    proa_vec_remove(&vec, 3);
    check(&vec, "abcefgh");
    proa_vec_remove(&vec, 0);
    check(&vec, "bcefgh");
    proa_vec_remove(&vec, 5);
    check(&vec, "bcefg");
    while (vec.len)
        proa_vec_remove(&vec, vec.len - 1);
    proa_vec_done(&vec);
}

static void test_items_too_large_are_refused(void **state)
{
    struct proa_vec vec;

    (void)state;
    proa_vec_init(&vec, SIZE_MAX / 4);
    assert_null(proa_vec_push(&vec));
    assert_int_equal(vec.len, 0);
    proa_vec_done(&vec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push_gives_zeroed_items_that_stay),
        cmocka_unit_test(test_a_reused_place_is_zeroed),
        cmocka_unit_test(test_remove_keeps_the_order),
        cmocka_unit_test(test_items_too_large_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
