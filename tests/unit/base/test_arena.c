/* Arenas and block pools. Running over an allocation must be seen by AddressSanitizer, so it is asked about the bytes around. */
#include "unit.h"

#include <proa/arena.h>
#include <proa/error.h>
#include <proa/random.h>
#include <stdio.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#endif

static void test_allocations_are_aligned_and_apart(void **state)
{
    enum { COUNT = 2000 };
    static unsigned char *at[COUNT];
    static size_t bytes[COUNT];
    struct proa_arena arena;
    struct proa_prng prng;

    (void)state;
    proa_prng_seed(&prng, 1);
    proa_arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < COUNT; i++) {
        bytes[i] = proa_prng_below(&prng, i % 50 == 0 ? 40000 : 200);
        at[i] = proa_arena_alloc(&arena, bytes[i]);
        assert_non_null(at[i]);
        assert_int_equal((uintptr_t)at[i] % _Alignof(max_align_t), 0);
        memset(at[i], (int)(i & 0xff), bytes[i]);
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < bytes[i]; k++)
            assert_int_equal(at[i][k], i & 0xff);
    proa_arena_done(&arena);
}

static void test_takes_no_memory_before_the_first_allocation(void **state)
{
    struct proa_arena arena;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(arena.used_bytes, 0);
    proa_arena_done(&arena);
    proa_arena_done(&arena);
    assert_non_null(proa_arena_alloc(&arena, 0));
    proa_arena_done(&arena);
}

static void test_huge_sizes_are_refused(void **state)
{
    static const size_t sizes[] = {SIZE_MAX,       SIZE_MAX - 7,     SIZE_MAX - 15,    SIZE_MAX - 16,
                                   SIZE_MAX - 31,  SIZE_MAX - 32,    SIZE_MAX - 47,    SIZE_MAX - 63,
                                   SIZE_MAX - 128, SIZE_MAX / 2 + 1, SIZE_MAX / 2 - 15};
    struct proa_arena arena;
    char *small;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < PROA_COUNT(sizes); i++) {
            assert_null(proa_arena_alloc(&arena, sizes[i]));
            assert_null(proa_arena_calloc(&arena, 1, sizes[i]));
            assert_null(proa_arena_calloc(&arena, sizes[i], 16));
        }
        small = proa_arena_alloc(&arena, 16);
        assert_non_null(small);
        for (size_t i = 0; i < PROA_COUNT(sizes); i++)
            assert_null(proa_arena_grow(&arena, small, 16, sizes[i]));
        assert_null(proa_arena_str(&arena, proa_str_n("", SIZE_MAX)).ptr);
    }
    proa_arena_done(&arena);
}

static void test_calloc_zeroes_reused_memory(void **state)
{
    struct proa_block_pool pool;
    struct proa_arena arena;
    unsigned char *bytes;

    (void)state;
    proa_block_pool_init(&pool, 0, 4);
    proa_arena_init(&arena, &pool, 0);
    bytes = proa_arena_alloc(&arena, 4000);
    memset(bytes, 0xee, 4000);
    proa_arena_done(&arena);
    bytes = proa_arena_calloc(&arena, 40, 100);
    for (size_t i = 0; i < 4000; i++)
        assert_int_equal(bytes[i], 0);
    proa_arena_done(&arena);
    proa_block_pool_done(&pool);
}

static void test_a_limit_is_reached_and_not_passed(void **state)
{
    static const size_t limits[] = {64, 1000, 8192, 20000, 100000};

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(limits); i++) {
        struct proa_arena arena;
        size_t given = 0;

        proa_arena_init(&arena, NULL, limits[i]);
        assert_null(proa_arena_alloc(&arena, limits[i] + 1));
        while (proa_arena_alloc(&arena, 16))
            given += 16;
        assert_in_range(given, limits[i] / 3, limits[i]); /* red zones take half */
        assert_in_range(arena.used_bytes, given, limits[i]);
        assert_null(proa_arena_alloc(&arena, 16));
        proa_arena_done(&arena);
        assert_non_null(proa_arena_alloc(&arena, 16));
        proa_arena_done(&arena);
    }
}

static void test_a_large_allocation_leaves_the_block_in_use(void **state)
{
    struct proa_arena arena;
    char *end;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    assert_non_null(proa_arena_alloc(&arena, 16));
    end = arena.end;
    memset(proa_arena_alloc(&arena, 100000), 1, 100000);
    assert_ptr_equal(arena.end, end);
    assert_non_null(proa_arena_alloc(&arena, 16));
    assert_ptr_equal(arena.end, end);
    proa_arena_done(&arena);
}

static void test_grow_keeps_content(void **state)
{
    struct proa_arena arena;
    char *text, *moved;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    text = proa_arena_grow(&arena, NULL, 0, 8);
    memcpy(text, "abcdefg", 8);
    assert_ptr_equal(proa_arena_grow(&arena, text, 8, 4), text);
    assert_ptr_equal(proa_arena_grow(&arena, text, 8, 1000), text); /* newest: in place */
    assert_string_equal(text, "abcdefg");
    memset(text + 8, 'x', 992);
    assert_non_null(proa_arena_alloc(&arena, 1));
    moved = proa_arena_grow(&arena, text, 1000, 2000);
    assert_ptr_not_equal(moved, text);
    assert_string_equal(moved, "abcdefg");
    moved = proa_arena_grow(&arena, moved, 2000, 50000);
    assert_string_equal(moved, "abcdefg");
    memset(moved, 'y', 50000);
    assert_non_null(proa_arena_grow(&arena, NULL, 0, 0));
    proa_arena_done(&arena);
}

static void test_text_copies(void **state)
{
    char expected[500];
    struct proa_arena arena;
    proa_str s;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    s = proa_arena_str(&arena, PROA_STR("abc\0def"));
    assert_int_equal(s.len, 7);
    assert_memory_equal(s.ptr, "abc\0def", 8);
    s = proa_arena_str(&arena, proa_str_n(NULL, 0));
    assert_non_null(s.ptr);
    assert_string_equal(proa_arena_cstr(&arena, PROA_STR("xy")), "xy");
    for (int width = 0; width < 500; width++) {
        s = proa_arena_printf(&arena, "%0*d", width, 7);
        assert_int_equal(s.len, (size_t)snprintf(expected, sizeof expected, "%0*d", width, 7));
        assert_string_equal(s.ptr, expected);
    }
    proa_arena_done(&arena);
    proa_arena_init(&arena, NULL, 64);
    assert_null(proa_arena_str(&arena, proa_str_n(expected, 400)).ptr);
    assert_null(proa_arena_cstr(&arena, proa_str_n(expected, 400)));
    assert_null(proa_arena_printf(&arena, "%0400d", 1).ptr);
    proa_arena_done(&arena);
}

struct note {
    struct proa_arena *arena;
    char *log;
    char letter;
};

static void take_note(void *arg)
{
    const struct note *note = arg;
    size_t len = strlen(note->log);

    note->log[len] = note->letter;
    note->log[len + 1] = '\0';
    /* The arena still works while its cleanups run. */
    assert_non_null(proa_arena_alloc(note->arena, 100));
}

static void test_cleanups_run_once_newest_first(void **state)
{
    struct proa_arena arena;
    char log[8] = "";

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    for (char letter = 'a'; letter <= 'c'; letter++) {
        struct note *note = proa_arena_new(&arena, struct note);

        *note = (struct note){&arena, log, letter};
        assert_int_equal(proa_arena_defer(&arena, take_note, note), 0);
    }
    assert_string_equal(log, "");
    proa_arena_done(&arena);
    assert_string_equal(log, "cba");
    proa_arena_done(&arena);
    assert_string_equal(log, "cba");
    proa_arena_init(&arena, NULL, 16);
    while (proa_arena_alloc(&arena, 1))
        ;
    assert_int_equal(proa_arena_defer(&arena, take_note, NULL), PROA_ENOMEM);
    proa_arena_done(&arena);
}

static void test_a_pool_keeps_standard_blocks_up_to_its_limit(void **state)
{
    struct proa_block_pool pool;
    struct proa_arena arena;

    (void)state;
    proa_block_pool_init(&pool, 1024, 2);
    proa_arena_init(&arena, &pool, 0);
    for (int i = 0; i < 40; i++)
        assert_non_null(proa_arena_alloc(&arena, 200));
    assert_non_null(proa_arena_alloc(&arena, 5000));
    proa_arena_done(&arena);
    assert_int_equal(pool.free_count, 2);
    assert_non_null(proa_arena_alloc(&arena, 200));
    assert_int_equal(pool.free_count, 1);
    assert_non_null(proa_arena_alloc(&arena, 5000)); /* not out of the pool */
    assert_int_equal(pool.free_count, 1);
    proa_arena_done(&arena);
    assert_int_equal(pool.free_count, 2);
    /* A short last block under a limit is not standard and does not enter the pool. */
    proa_arena_init(&arena, &pool, 500);
    assert_non_null(proa_arena_alloc(&arena, 200));
    assert_int_equal(pool.free_count, 2);
    proa_arena_done(&arena);
    assert_int_equal(pool.free_count, 2);
    proa_block_pool_done(&pool);
    assert_int_equal(pool.free_count, 0);
}

static void test_sanitizer_sees_overflow_and_use_after_done(void **state)
{
#ifdef HAVE_ASAN
    static const size_t sizes[] = {1, 7, 8, 15, 16, 17, 100, 8000, 30000};
    struct proa_block_pool pool;
    struct proa_arena arena;

    (void)state;
    proa_block_pool_init(&pool, 0, 8);
    for (size_t i = 0; i < PROA_COUNT(sizes); i++)
        for (int fresh = 0; fresh < 2; fresh++) {
            char *first;

            proa_arena_init(&arena, &pool, 0);
            if (!fresh)
                assert_non_null(proa_arena_alloc(&arena, 1));
            first = proa_arena_alloc(&arena, sizes[i]);
            assert_non_null(proa_arena_alloc(&arena, 8));
            assert_null(__asan_region_is_poisoned(first, sizes[i]));
            assert_true(__asan_address_is_poisoned(first + sizes[i]));
            first = proa_arena_grow(&arena, first, sizes[i], sizes[i] + 3);
            assert_null(__asan_region_is_poisoned(first, sizes[i] + 3));
            assert_true(__asan_address_is_poisoned(first + sizes[i] + 3));
            proa_arena_done(&arena);
            assert_true(__asan_address_is_poisoned(first));
        }
    proa_block_pool_done(&pool);
#else
    (void)state;
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_are_aligned_and_apart),
        cmocka_unit_test(test_takes_no_memory_before_the_first_allocation),
        cmocka_unit_test(test_huge_sizes_are_refused),
        cmocka_unit_test(test_calloc_zeroes_reused_memory),
        cmocka_unit_test(test_a_limit_is_reached_and_not_passed),
        cmocka_unit_test(test_a_large_allocation_leaves_the_block_in_use),
        cmocka_unit_test(test_grow_keeps_content),
        cmocka_unit_test(test_text_copies),
        cmocka_unit_test(test_cleanups_run_once_newest_first),
        cmocka_unit_test(test_a_pool_keeps_standard_blocks_up_to_its_limit),
        cmocka_unit_test(test_sanitizer_sees_overflow_and_use_after_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
