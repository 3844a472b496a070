/* Slices, hashes, numbers as text. */
#include "unit.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <proa/error.h>
#include <proa/random.h>
#include <proa/str.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const proa_str none = {NULL, 0};

static void test_equality_and_order(void **state)
{
    (void)state;
    assert_true(proa_str_eq(none, PROA_STR("")));
    assert_true(proa_str_eq(PROA_STR("a\0b"), PROA_STR("a\0b")));
    assert_false(proa_str_eq(PROA_STR("a\0b"), PROA_STR("a\0c")));
    assert_false(proa_str_eq(PROA_STR("a"), PROA_STR("ab")));
    assert_true(proa_str_eq_c(none, NULL));
    assert_true(proa_str_cmp(PROA_STR("a"), PROA_STR("b")) < 0);
    assert_true(proa_str_cmp(PROA_STR("a"), PROA_STR("ab")) < 0);
    assert_true(proa_str_cmp(PROA_STR("b"), PROA_STR("ab")) > 0);
    assert_true(proa_str_cmp(PROA_STR("\xff"), PROA_STR("a")) > 0);
    assert_int_equal(proa_str_cmp(none, PROA_STR("")), 0);
    assert_true(proa_str_eq_nocase(PROA_STR("Content-LENGTH"), PROA_STR("content-length")));
    assert_false(proa_str_eq_nocase(PROA_STR("ab"), PROA_STR("abc")));
    /* Only letters fold: '@' and '`', '[' and '{' are 32 apart as well, and so are Latin-1 letters. */
    assert_false(proa_str_eq_nocase(PROA_STR("@["), PROA_STR("`{")));
    assert_false(proa_str_eq_nocase(PROA_STR("\xc4"), PROA_STR("\xe4")));
    assert_true(proa_str_eq_secret(PROA_STR("abc"), PROA_STR("abc")));
    assert_false(proa_str_eq_secret(PROA_STR("abc"), PROA_STR("abd")));
    assert_false(proa_str_eq_secret(PROA_STR("xbc"), PROA_STR("abc")));
    assert_false(proa_str_eq_secret(PROA_STR("ab"), PROA_STR("abc")));
    assert_true(proa_str_eq_secret(none, PROA_STR("")));
}

static void test_finding(void **state)
{
    (void)state;
    assert_true(proa_str_starts_with(PROA_STR("abc"), PROA_STR("ab")));
    assert_true(proa_str_starts_with(PROA_STR("abc"), none));
    assert_false(proa_str_starts_with(PROA_STR("ab"), PROA_STR("abc")));
    assert_true(proa_str_ends_with(PROA_STR("abc"), PROA_STR("bc")));
    assert_true(proa_str_ends_with(none, none));
    assert_false(proa_str_ends_with(PROA_STR("bc"), PROA_STR("abc")));
    assert_int_equal(proa_str_find_char(PROA_STR("a,b,"), ','), 1);
    assert_int_equal(proa_str_find_char(none, ','), -1);
    assert_int_equal(proa_str_find(PROA_STR("ababc"), PROA_STR("abc")), 2);
    assert_int_equal(proa_str_find(PROA_STR("ab"), PROA_STR("abc")), -1);
    assert_int_equal(proa_str_find(none, PROA_STR("a")), -1);
    assert_int_equal(proa_str_find(none, none), 0);
    assert_true(proa_str_eq_c(proa_str_slice(PROA_STR("abcdef"), 2, 4), "cd"));
    assert_true(proa_str_eq_c(proa_str_slice(PROA_STR("abc"), 1, 99), "bc"));
    assert_true(proa_str_eq_c(proa_str_slice(PROA_STR("abc"), 9, 99), ""));
    assert_true(proa_str_eq_c(proa_str_slice(PROA_STR("abc"), 2, 1), ""));
    assert_int_equal(proa_str_slice(none, 0, 5).len, 0);
    assert_true(proa_str_eq_c(proa_str_trim(PROA_STR(" \t a b\t ")), "a b"));
    assert_true(proa_str_eq_c(proa_str_trim(PROA_STR(" \t ")), ""));
    assert_true(proa_str_eq_c(proa_str_trim(PROA_STR("\na\r")), "\na\r"));
    assert_int_equal(proa_str_trim(none).len, 0);
}

/* The parts of `text`, each in angle brackets. */
static void check_split(proa_str text, const char *expected)
{
    char out[64] = "";
    proa_str part;

    while (proa_str_split(&text, ',', &part)) {
        size_t len = strlen(out);

        snprintf(out + len, sizeof out - len, "<" PROA_FMT ">", PROA_ARG(part));
    }
    assert_string_equal(out, expected);
}

static void test_split(void **state)
{
    (void)state;
    check_split(PROA_STR("a,,b"), "<a><><b>");
    check_split(PROA_STR(""), "<>");
    check_split(PROA_STR(","), "<><>");
    check_split(PROA_STR("a,"), "<a><>");
    check_split(PROA_STR("abc"), "<abc>");
    check_split(none, "");
}

/* One-bit changes of text and seed flip about half of the hash's bits, and no pair of many keys collides. */
static void test_hash_spreads(void **state)
{
    enum { KEYS = 4096 };
    static uint32_t buckets[KEYS];
    char text[24] = "abcdefghijklmnopqrstuvw";
    unsigned flipped = 0, trials = 0, fullest = 0;

    (void)state;
    for (size_t len = 1; len <= sizeof text; len++)
        for (size_t bit = 0; bit < 8 * len; bit += 3) {
            uint64_t before = proa_str_hash(proa_str_n(text, len), 42), after;

            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
            after = proa_str_hash(proa_str_n(text, len), 42);
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
            flipped += (unsigned)__builtin_popcountll(before ^ after);
            trials++;
            assert_true(__builtin_popcountll(before ^ after) >= 12);
        }
    assert_in_range(flipped / trials, 30, 34);
    for (unsigned bit = 0; bit < 64; bit++)
        assert_true(__builtin_popcountll(proa_str_hash(PROA_STR("key"), 7) ^
                                         proa_str_hash(PROA_STR("key"), 7 ^ UINT64_C(1) << bit)) >= 12);
    for (unsigned i = 0; i < KEYS; i++) {
        int len = snprintf(text, sizeof text, "%u", i);
        unsigned filled = ++buckets[proa_str_hash(proa_str_n(text, (size_t)len), 0) % KEYS];

        fullest = filled > fullest ? filled : fullest;
    }
    assert_in_range(fullest, 2, 12);
}

static void test_hash_depends_on_text_and_length_only(void **state)
{
    char zeros[40] = {0};
    char text[64];

    (void)state;
    for (size_t a = 0; a < sizeof zeros; a++)
        for (size_t b = 0; b < a; b++)
            assert_true(proa_str_hash(proa_str_n(zeros, a), 1) != proa_str_hash(proa_str_n(zeros, b), 1));
    for (size_t shift = 0; shift < 16; shift++) {
        memset(text, 'z', sizeof text);
        memcpy(text + shift, "some key of twenty-", 19);
        assert_true(proa_str_hash(proa_str_n(text + shift, 19), 3) ==
                    proa_str_hash(PROA_STR("some key of twenty-"), 3));
    }
    assert_true(proa_str_hash(none, 5) == proa_str_hash(PROA_STR(""), 5));
}

static void check_u64(const char *text, int rc, uint64_t expected)
{
    uint64_t value = 4711;

    assert_int_equal(proa_str_to_u64(proa_str_c(text), &value), rc);
    assert_true(value == (rc ? 4711 : expected));
}

static void check_i64(const char *text, int rc, int64_t expected)
{
    int64_t value = 4711;

    assert_int_equal(proa_str_to_i64(proa_str_c(text), &value), rc);
    assert_true(value == (rc ? 4711 : expected));
}

static void test_integers_from_text(void **state)
{
    static const char *const broken[] = {"", "+1", " 1", "1 ", "01", "00", "1a", "0x1", "1.0", "1e3", "-", "--1", "٣"};

    (void)state;
    check_u64("0", 0, 0);
    check_u64("9", 0, 9);
    check_u64("18446744073709551615", 0, UINT64_MAX);
    check_u64("18446744073709551616", PROA_ERANGE, 0);
    check_u64("18446744073709551620", PROA_ERANGE, 0);
    check_u64("99999999999999999999999999", PROA_ERANGE, 0);
    check_u64("99999999999999999999999999x", PROA_ESYNTAX, 0);
    check_u64("-1", PROA_ESYNTAX, 0);
    check_i64("-9223372036854775808", 0, INT64_MIN);
    check_i64("9223372036854775807", 0, INT64_MAX);
    check_i64("-9223372036854775809", PROA_ERANGE, 0);
    check_i64("9223372036854775808", PROA_ERANGE, 0);
    check_i64("-01", PROA_ESYNTAX, 0);
    check_i64("-7", 0, -7);
    for (size_t i = 0; i < PROA_COUNT(broken); i++) {
        check_u64(broken[i], PROA_ESYNTAX, 0);
        check_i64(broken[i], PROA_ESYNTAX, 0);
    }
}

static void test_integers_as_text(void **state)
{
    char expected[32], out[PROA_U64_TEXT_MAX];
    struct proa_prng prng;

    (void)state;
    proa_prng_seed(&prng, 2);
    for (int i = 0; i < 20000; i++) {
        uint64_t value = i < 2000 ? (uint64_t)i : proa_prng_u64(&prng) >> (i % 64);
        size_t len;

        if (i == 2000)
            value = UINT64_MAX;
        if (i == 2001)
            value = (uint64_t)INT64_MIN;
        len = proa_u64_text(value, out);
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)value);
        assert_int_equal(len, strlen(expected));
        assert_memory_equal(out, expected, len);
        len = proa_i64_text((int64_t)value, out);
        snprintf(expected, sizeof expected, "%lld", (long long)value);
        assert_int_equal(len, strlen(expected));
        assert_memory_equal(out, expected, len);
    }
}

static void test_doubles_from_text(void **state)
{
    static const char *const broken[] = {"",    "-",   "+1",  ".5", "1.", "01",   "1e",  "1e+", "0x1p3",
                                         "inf", "nan", "1,5", " 1", "1 ", "1.e3", "--1", "-.5", "1e5.0"};
    double value = 7;
    char *digits;

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(broken); i++) {
        assert_int_equal(proa_str_to_double(proa_str_c(broken[i]), &value), PROA_ESYNTAX);
        assert_true(value == 7);
    }
    assert_int_equal(proa_str_to_double(PROA_STR("1\0"), &value), PROA_ESYNTAX);
    assert_int_equal(proa_str_to_double(PROA_STR("1e309"), &value), PROA_ERANGE);
    assert_int_equal(proa_str_to_double(PROA_STR("-1e309"), &value), PROA_ERANGE);
    assert_true(value == 7);
    assert_int_equal(proa_str_to_double(PROA_STR("-0"), &value), 0);
    assert_true(value == 0 && signbit(value));
    assert_int_equal(proa_str_to_double(PROA_STR("1e-400"), &value), 0);
    assert_true(value == 0);
    assert_int_equal(proa_str_to_double(PROA_STR("1.5E+2"), &value), 0);
    assert_true(value == 150);
    /* A slice inside more digits. */
    assert_int_equal(proa_str_to_double(proa_str_n("12345", 2), &value), 0);
    assert_true(value == 12);
    /* Half way between two doubles, decided by a digit far behind (round half to even otherwise). */
    assert_int_equal(proa_str_to_double(PROA_STR("9007199254740993"), &value), 0);
    assert_true(value == 9007199254740992.0);
    digits = malloc(1000);
    memset(digits, '0', 1000);
    memcpy(digits, "9007199254740993.", 17);
    digits[999] = '1';
    assert_int_equal(proa_str_to_double(proa_str_n(digits, 1000), &value), 0);
    assert_true(value == 9007199254740994.0);
    free(digits);
}

static void check_double(double value, const char *expected)
{
    char out[PROA_DOUBLE_TEXT_MAX];

    assert_int_equal(proa_double_text(value, out), strlen(expected));
    assert_memory_equal(out, expected, strlen(expected));
}

/* Decimals of every length against printf, which finds the shortest at 15 digits. */
static void test_short_decimals_as_text(void **state)
{
    uint64_t seed = 1;

    for (int i = 0; i < 200000; i++) {
        char text[40], expected[40];
        double value;

        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        snprintf(text, sizeof text, "%s%u.%0*u", i & 1 ? "-" : "", (unsigned)(seed >> 40) >> (seed >> 20 & 31),
                 1 + i % 9, (unsigned)(seed >> 32) % 10);
        value = strtod(text, NULL);
        snprintf(expected, sizeof expected, "%.15g", value);
        if (!strchr(expected, 'e') && value != 0 && strtod(expected, NULL) == value)
            check_double(value, expected);
        /* And any double in their range: what it prints reads back. */
        value = (double)(seed >> 11) * 0x1p-53 * (i % 3 ? 1 : 1e8);
        text[proa_double_text(value, text)] = '\0';
        assert_true(strtod(text, NULL) == value);
    }
    check_double(0.0001, "0.0001");
    check_double(0.00011, "0.00011");
    check_double(999999999.999999, "999999999.999999");
    check_double(0.000099, "9.9e-5");
    check_double(-0.25, "-0.25");
    check_double(1.000001, "1.000001");
    check_double(1000000000.5, "1000000000.5");
}

static void test_doubles_as_text(void **state)
{
    (void)state;
    check_double(0, "0");
    check_double(-0.0, "-0");
    check_double(3, "3");
    check_double(-3, "-3");
    check_double(1.5, "1.5");
    check_double(0.1, "0.1");
    check_double(0.1 + 0.2, "0.30000000000000004");
    check_double(1e300, "1e300");
    check_double(1e-7, "1e-7");
    check_double(5e-324, "5e-324");
    check_double(1e15, "1e15");
    check_double(1e22, "1e22");
    check_double(100000, "100000");
    check_double(2e-310, "2e-310");
    check_double(DBL_MIN, "2.2250738585072014e-308");
    check_double(DBL_MAX, "1.7976931348623157e308");
    check_double(9007199254740993.0, "9007199254740992");
    check_double(123456789012345680.0, "1.2345678901234568e17");
}

static void test_doubles_survive_text(void **state)
{
    char out[PROA_DOUBLE_TEXT_MAX];
    struct proa_prng prng;

    (void)state;
    proa_prng_seed(&prng, 3);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = proa_prng_u64(&prng), back_bits;
        double value, back;
        size_t len;

        if (i % 4 == 0)
            bits &= UINT64_C(0x800fffffffffffff); /* subnormal */
        memcpy(&value, &bits, sizeof value);
        if (i % 4 == 1)
            value = (double)(int64_t)bits / 1000;
        if (!isfinite(value))
            continue;
        len = proa_double_text(value, out);
        assert_true(len <= PROA_DOUBLE_TEXT_MAX);
        assert_int_equal(proa_str_to_double(proa_str_n(out, len), &back), 0);
        memcpy(&bits, &value, sizeof bits);
        memcpy(&back_bits, &back, sizeof back_bits);
        assert_true(bits == back_bits);
    }
}

/* Needs a locale whose decimal point is a comma; a machine without one skips. */
static void test_doubles_do_not_follow_the_locale(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    const char *set = NULL;
    char control[16];
    double value = 0;

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(names) && !set; i++)
        set = setlocale(LC_ALL, names[i]);
    if (!set)
        skip();
    snprintf(control, sizeof control, "%.1f", 1.5);
    assert_string_equal(control, "1,5");
    check_double(1.5, "1.5");
    assert_int_equal(proa_str_to_double(PROA_STR("2.5"), &value), 0);
    snprintf(control, sizeof control, "%.1f", 1.5);
    assert_string_equal(control, "1,5"); /* the caller's locale is as it was */
    setlocale(LC_ALL, "C");
    assert_true(value == 2.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality_and_order),
        cmocka_unit_test(test_finding),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_hash_spreads),
        cmocka_unit_test(test_hash_depends_on_text_and_length_only),
        cmocka_unit_test(test_integers_from_text),
        cmocka_unit_test(test_integers_as_text),
        cmocka_unit_test(test_doubles_from_text),
        cmocka_unit_test(test_short_decimals_as_text),
        cmocka_unit_test(test_doubles_as_text),
        cmocka_unit_test(test_doubles_survive_text),
        cmocka_unit_test(test_doubles_do_not_follow_the_locale),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
