/* Random bytes and the generator for jitter, sampling and simulations. */
#include "unit.h"

#include <math.h>
#include <proa/random.h>
#include <string.h>

static void test_bytes_differ_and_stay_inside(void **state)
{
    unsigned char a[64] = {0}, b[64] = {0}, zero[64] = {0};

    (void)state;
    proa_random_bytes(a, 32);
    proa_random_bytes(b, 32);
    assert_memory_not_equal(a, b, 32);
    assert_memory_not_equal(a, zero, 32);
    assert_memory_equal(a + 32, zero, 32);
    proa_random_bytes(a, 0);
}

/* First outputs of xoshiro256++ for the state 1, 2, 3, 4, worked out by hand from its definition:
 * rotl(1 + 4, 23) + 1, then the state has become 7, 0, 2^18 + 2, 6 * 2^45. */
static void test_the_generator_is_xoshiro256pp(void **state)
{
    struct proa_prng prng = {{1, 2, 3, 4}};

    (void)state;
    assert_true(proa_prng_u64(&prng) == (UINT64_C(5) << 23) + 1);
    assert_true(prng.state[0] == 7);
    assert_true(prng.state[1] == 0);
    assert_true(prng.state[2] == ((UINT64_C(1) << 18) | 2));
    assert_true(prng.state[3] == UINT64_C(6) << 45);
}

static void test_a_seed_replays(void **state)
{
    struct proa_prng a, b, c;
    int same = 0;

    (void)state;
    proa_prng_seed(&a, 17);
    proa_prng_seed(&b, 17);
    proa_prng_seed(&c, 18);
    for (int i = 0; i < 1000; i++) {
        uint64_t draw = proa_prng_u64(&a);

        assert_true(draw == proa_prng_u64(&b));
        same += draw == proa_prng_u64(&c);
    }
    assert_int_equal(same, 0);
    proa_prng_seed(&a, 0);
    assert_true(a.state[0] | a.state[1] | a.state[2] | a.state[3]);
}

static void test_below_is_uniform_and_below(void **state)
{
    static const uint64_t bounds[] = {1, 2, 3, 10, 1000, UINT64_C(1) << 63, (UINT64_C(1) << 63) + 1, UINT64_MAX};
    unsigned counts[6] = {0};
    struct proa_prng prng;

    (void)state;
    proa_prng_seed(&prng, 5);
    for (size_t i = 0; i < PROA_COUNT(bounds); i++)
        for (int k = 0; k < 1000; k++)
            assert_true(proa_prng_below(&prng, bounds[i]) < bounds[i]);
    for (int i = 0; i < 60000; i++)
        counts[proa_prng_below(&prng, 6)]++;
    for (size_t i = 0; i < 6; i++)
        assert_in_range(counts[i], 9500, 10500);
}

/* 2^64 is 4 * 2^62: a plain remainder by 3 * 2^62 would draw the lowest third twice as often as the others. */
static void test_below_has_no_modulo_bias(void **state)
{
    struct proa_prng prng;
    unsigned lowest = 0;

    (void)state;
    proa_prng_seed(&prng, 6);
    for (int i = 0; i < 30000; i++)
        lowest += proa_prng_below(&prng, UINT64_C(3) << 62) < UINT64_C(1) << 62;
    assert_in_range(lowest, 9500, 10500);
}

static void test_doubles_fill_zero_to_one(void **state)
{
    struct proa_prng prng;
    double sum = 0, least = 1, most = 0;

    (void)state;
    proa_prng_seed(&prng, 7);
    for (int i = 0; i < 100000; i++) {
        double draw = proa_prng_double(&prng);

        assert_true(draw >= 0 && draw < 1);
        sum += draw;
        least = fmin(least, draw);
        most = fmax(most, draw);
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.01);
    assert_true(least < 0.001 && most > 0.999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_differ_and_stay_inside),
        cmocka_unit_test(test_the_generator_is_xoshiro256pp),
        cmocka_unit_test(test_a_seed_replays),
        cmocka_unit_test(test_below_is_uniform_and_below),
        cmocka_unit_test(test_below_has_no_modulo_bias),
        cmocka_unit_test(test_doubles_fill_zero_to_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
