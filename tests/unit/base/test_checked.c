/* Arithmetic that says when it does not fit. */
#include "unit.h"

#include <proa/checked.h>

static void test_sizes(void **state)
{
    size_t out = 7;

    (void)state;
    assert_true(proa_add_size(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_true(proa_mul_size(SIZE_MAX / 2, 2, &out));
    assert_true(out == SIZE_MAX - 1);
    assert_true(proa_mul_size(SIZE_MAX, 0, &out));
    assert_true(out == 0);
    out = 7;
    assert_false(proa_add_size(SIZE_MAX, 1, &out));
    assert_false(proa_mul_size(SIZE_MAX / 2 + 1, 2, &out));
    assert_false(proa_mul_size((size_t)1 << 32, (size_t)1 << 32, &out));
    assert_true(out == 7);
}

static void test_u64(void **state)
{
    uint64_t out = 7;

    (void)state;
    assert_true(proa_add_u64(UINT64_MAX - 1, 1, &out));
    assert_true(out == UINT64_MAX);
    assert_true(proa_mul_u64(UINT64_MAX, 1, &out));
    out = 7;
    assert_false(proa_add_u64(UINT64_MAX, 1, &out));
    assert_false(proa_mul_u64(UINT64_MAX, 2, &out));
    assert_true(out == 7);
    assert_true(proa_add_u64_sat(UINT64_MAX, 1) == UINT64_MAX);
    assert_true(proa_add_u64_sat(UINT64_MAX - 5, 3) == UINT64_MAX - 2);
    assert_true(proa_add_u64_sat(1, 2) == 3);
    out = 9;
    assert_true(proa_add_u64(out, out, &out)); /* the result may be an operand */
    assert_true(out == 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_u64)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
