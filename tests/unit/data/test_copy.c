/* Deep copies: equal, and independent of the original. */
#include "everything.h"

static void copies_are_equal_and_apart(void **state)
{
    struct bench *b = *state;
    struct proa_arena other;
    struct everything v, copy;

    proa_arena_init(&other, NULL, 0);
    assert_int_equal(proa_json_read(&other, PROA_STR(EVERYTHING_JSON), 0, &everything_type, &v, &b->err), 0);
    assert_int_equal(proa_copy(&b->arena, &everything_type, &v, &copy), 0);
    assert_true(proa_equal_type(&everything_type.type, &v, &copy));
    assert_ptr_not_equal(copy.text.ptr, v.text.ptr);
    proa_arena_done(&other); /* under the address sanitizer nothing of it may be touched now */
    assert_str_is(json_of(b, 0, &everything_type.type, &copy), EVERYTHING_JSON);
}

static void absent_members_are_not_followed(void **state)
{
    struct bench *b = *state;
    struct everything v, copy;

    assert_int_equal(proa_type_defaults(&b->arena, &everything_type.type, &v, &b->err), 0);
    v.maybe_list.value.ptr = (proa_str *)16;
    v.maybe_list.value.len = 5;
    assert_int_equal(proa_copy(&b->arena, &everything_type, &v, &copy), 0);
    assert_int_equal(copy.maybe_list.presence, PROA_ABSENT);
}

static void memory_that_is_out(void **state)
{
    struct bench *b = *state;
    struct everything v, copy;

    assert_int_equal(proa_json_read(&b->arena, PROA_STR(EVERYTHING_JSON), 0, &everything_type, &v, &b->err), 0);
    for (size_t max = 16; max < sizeof v + 512; max += 16) {
        struct proa_arena arena;
        int rc;

        memset(&copy, 0x55, sizeof copy);
        proa_arena_init(&arena, NULL, max);
        rc = proa_copy(&arena, &everything_type, &v, &copy);
        assert_true(rc == 0 || rc == PROA_ENOMEM);
        if (rc < 0)
            assert_int_equal(((unsigned char *)&copy)[0], 0x55);
        proa_arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(copies_are_equal_and_apart),
        bench_test(absent_members_are_not_followed),
        bench_test(memory_that_is_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
