/* UTF-8, base64, hexadecimal, percent-encoding, durations and sizes. */
#include "unit.h"

#include <proa/arena.h>
#include <proa/error.h>
#include <proa/random.h>
#include <proa/text.h>
#include <string.h>

static void test_utf8_every_code_point_comes_back(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x110100; code++) {
        bool valid = code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
        uint32_t back = 0;
        char out[8];
        size_t len = proa_utf8_encode(code, out);

        if (!valid) {
            assert_int_equal(len, 0);
            continue;
        }
        assert_int_equal(len, code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);
        if (proa_utf8_next(proa_str_n(out, len), &back) != len || back != code ||
            !proa_utf8_valid(proa_str_n(out, len)))
            fail_msg("U+%04X", code);
        for (size_t shorter = 0; shorter < len; shorter++)
            if (proa_utf8_next(proa_str_n(out, shorter), &back) != 0)
                fail_msg("U+%04X cut to %zu", code, shorter);
    }
}

/* Every pair of first bytes with telling third and fourth ones, against RFC 3629's table (section 4) spelled out. */
static bool is_sequence(const unsigned char *b, size_t len)
{
    unsigned low = 0x80, high = 0xbf;
    size_t need;

    if (b[0] < 0x80)
        return len == 1;
    need = b[0] >= 0xc2 && b[0] <= 0xdf ? 2 : b[0] >= 0xe0 && b[0] <= 0xef ? 3 : b[0] >= 0xf0 && b[0] <= 0xf4 ? 4 : 0;
    if (need != len)
        return false;
    low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : low;
    high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : high;
    if (b[1] < low || b[1] > high)
        return false;
    for (size_t i = 2; i < len; i++)
        if (b[i] < 0x80 || b[i] > 0xbf)
            return false;
    return true;
}

static void test_utf8_takes_what_the_table_says(void **state)
{
    static const unsigned char lasts[] = {0x7f, 0x80, 0xbf, 0xc0};

    (void)state;
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++)
            for (size_t third = 0; third < 4; third++)
                for (size_t len = 1; len <= 4; len++) {
                    unsigned char b[4] = {(unsigned char)first, (unsigned char)second, lasts[third], 0xbf};
                    proa_str s = {(char *)b, len};
                    uint32_t code;

                    if ((proa_utf8_next(s, &code) == len) != is_sequence(b, len))
                        fail_msg("%02x %02x %02x %02x, %zu bytes", b[0], b[1], b[2], b[3], len);
                }
}

/* One bad byte at any place of a text is found, also beside the fast path over eight bytes at a time. */
static void test_utf8_valid_looks_at_every_byte(void **state)
{
    char text[64];

    (void)state;
    for (size_t len = 0; len <= sizeof text; len++) {
        memset(text, 'a', sizeof text);
        assert_true(proa_utf8_valid(proa_str_n(text, len)));
        for (size_t at = 0; at < len; at++) {
            memset(text, 'a', sizeof text);
            text[at] = '\xff';
            assert_false(proa_utf8_valid(proa_str_n(text, len)));
            text[at] = '\xc3';
            assert_false(proa_utf8_valid(proa_str_n(text, len)));
            if (at + 1 < len) {
                text[at + 1] = '\xa4';
                assert_true(proa_utf8_valid(proa_str_n(text, len)));
                assert_int_equal(proa_utf8_count(proa_str_n(text, len)), len - 1);
            }
        }
    }
    assert_true(proa_utf8_valid(proa_str_n(NULL, 0)));
}

static void test_utf8_cut(void **state)
{
    proa_str text = PROA_STR("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};

    (void)state;
    for (size_t max = 0; max < PROA_COUNT(expected); max++)
        assert_int_equal(proa_utf8_cut(text, max).len, expected[max]);
    assert_int_equal(proa_utf8_count(text), 4);
}

static void check_base64(const char *bytes, const char *text, const char *url)
{
    struct proa_buf buf = {0};

    assert_int_equal(proa_base64_encode(&buf, proa_str_c(bytes)), 0);
    assert_true(proa_str_eq_c(proa_buf_str(&buf), text));
    proa_buf_clear(&buf);
    assert_int_equal(proa_base64_decode(&buf, proa_str_c(text)), 0);
    assert_true(proa_str_eq_c(proa_buf_str(&buf), bytes));
    proa_buf_clear(&buf);
    assert_int_equal(proa_base64url_encode(&buf, proa_str_c(bytes)), 0);
    assert_true(proa_str_eq_c(proa_buf_str(&buf), url));
    proa_buf_clear(&buf);
    assert_int_equal(proa_base64url_decode(&buf, proa_str_c(url)), 0);
    assert_true(proa_str_eq_c(proa_buf_str(&buf), bytes));
    proa_buf_done(&buf);
}

static void test_base64_known_texts(void **state)
{
    (void)state;
    /* RFC 4648 section 10 */
    check_base64("", "", "");
    check_base64("f", "Zg==", "Zg");
    check_base64("fo", "Zm8=", "Zm8");
    check_base64("foo", "Zm9v", "Zm9v");
    check_base64("foob", "Zm9vYg==", "Zm9vYg");
    check_base64("fooba", "Zm9vYmE=", "Zm9vYmE");
    check_base64("foobar", "Zm9vYmFy", "Zm9vYmFy");
    check_base64("\xfb\xff\xbf", "+/+/", "-_-_");
}

static void test_base64_is_strict_and_leaves_the_buffer_alone(void **state)
{
    static const char *const broken[] = {"Z",    "Zg",   "Zg=",  "Zg===",    "=",     "====",
                                         "Z===", "Zh==", "Zm9=", "Zg= ",     "Zm 9",  "Zm9\n",
                                         "Zm-v", "Zm_v", "=Zg=", "Zg==Zg==", "Zm9vY", "Zm9v Zm9"};
    static const char *const broken_url[] = {"Z", "Zg==", "Zm8=", "Zh", "Zm9", "Zm+v", "Zm/v", "Zm9v\n"};
    struct proa_buf buf = {0};

    (void)state;
    assert_int_equal(proa_buf_add_c(&buf, "kept"), 0);
    for (size_t i = 0; i < PROA_COUNT(broken); i++)
        assert_int_equal(proa_base64_decode(&buf, proa_str_c(broken[i])), PROA_ESYNTAX);
    for (size_t i = 0; i < PROA_COUNT(broken_url); i++)
        assert_int_equal(proa_base64url_decode(&buf, proa_str_c(broken_url[i])), PROA_ESYNTAX);
    assert_true(proa_str_eq_c(proa_buf_str(&buf), "kept"));
    proa_buf_done(&buf);
}

static void test_base64_round_trips_within_exact_limits(void **state)
{
    struct proa_prng prng;
    char bytes[100];

    (void)state;
    proa_prng_seed(&prng, 8);
    for (size_t len = 1; len < sizeof bytes; len++) {
        struct proa_buf text, back;

        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)proa_prng_u64(&prng);
        proa_buf_init(&text, NULL, (len + 2) / 3 * 4);
        proa_buf_init(&back, NULL, len);
        assert_int_equal(proa_base64_encode(&text, proa_str_n(bytes, len)), 0);
        assert_int_equal(text.len, text.max);
        assert_int_equal(proa_base64_decode(&back, proa_buf_str(&text)), 0);
        assert_true(proa_str_eq(proa_buf_str(&back), proa_str_n(bytes, len)));
        proa_buf_clear(&text);
        proa_buf_clear(&back);
        text.max = (len * 4 + 2) / 3;
        assert_int_equal(proa_base64url_encode(&text, proa_str_n(bytes, len)), 0);
        assert_int_equal(text.len, text.max);
        assert_int_equal(proa_base64url_decode(&back, proa_buf_str(&text)), 0);
        assert_true(proa_str_eq(proa_buf_str(&back), proa_str_n(bytes, len)));
        proa_buf_done(&back);
        back.max = len > 1 ? len - 1 : 1;
        assert_int_equal(proa_base64url_decode(&back, proa_buf_str(&text)), len > 1 ? PROA_ETOOLARGE : 0);
        proa_buf_done(&back);
        proa_buf_done(&text);
    }
}

static void test_hex(void **state)
{
    unsigned char bytes[3] = {1, 2, 3};
    char out[6];

    (void)state;
    proa_hex_encode(out, PROA_STR("\x00\x9f\xff"));
    assert_memory_equal(out, "009fff", 6);
    assert_int_equal(proa_hex_decode(bytes, 3, PROA_STR("009FfF")), 0);
    assert_memory_equal(bytes, "\x00\x9f\xff", 3);
    assert_int_equal(proa_hex_decode(bytes, 3, PROA_STR("12345")), PROA_ESYNTAX);
    assert_int_equal(proa_hex_decode(bytes, 3, PROA_STR("1234567")), PROA_ESYNTAX);
    assert_int_equal(proa_hex_decode(bytes, 3, PROA_STR("12345g")), PROA_ESYNTAX);
    assert_int_equal(proa_hex_decode(bytes, 3, PROA_STR("1234 6")), PROA_ESYNTAX);
    assert_memory_equal(bytes, "\x00\x9f\xff", 3);
    assert_int_equal(proa_hex_decode(bytes, 0, PROA_STR("")), 0);
}

static void test_hex_of_all_lengths(void **state)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[256], back[256];
    char out[2 * sizeof bytes + 1];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        out[2 * len] = '!';
        proa_hex_encode(out, proa_str_n((const char *)bytes, len));
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(out[2 * i], digits[bytes[i] >> 4]);
            assert_int_equal(out[2 * i + 1], digits[bytes[i] & 15]);
        }
        assert_int_equal(out[2 * len], '!');
        assert_int_equal(proa_hex_decode(back, len, proa_str_n(out, 2 * len)), 0);
        assert_memory_equal(back, bytes, len);
    }
}

static void test_percent_decode(void **state)
{
    static const char *const broken[] = {"%", "a%", "%4", "%4g", "%g4", "%%41", "abc%2", "% 41", "%-1"};
    proa_str plain = PROA_STR("plain+text"), out = {NULL, 0};
    struct proa_arena arena;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(proa_percent_decode(&arena, plain, false, &out), 0);
    assert_ptr_equal(out.ptr, plain.ptr);
    assert_int_equal(arena.used_bytes, 0);
    assert_int_equal(proa_percent_decode(&arena, plain, true, &out), 0);
    assert_true(proa_str_eq_c(out, "plain text"));
    assert_int_equal(proa_percent_decode(&arena, PROA_STR("%2Fa+%c3%A4%2b"), false, &out), 0);
    assert_true(proa_str_eq_c(out, "/a+\xc3\xa4+"));
    assert_int_equal(proa_percent_decode(&arena, PROA_STR("%2Fa+%c3%A4%2b"), true, &out), 0);
    assert_true(proa_str_eq_c(out, "/a \xc3\xa4+"));
    assert_int_equal(proa_percent_decode(&arena, PROA_STR("a%00b"), false, &out), 0);
    assert_true(proa_str_eq(out, PROA_STR("a\0b")));
    assert_int_equal(proa_percent_decode(&arena, PROA_STR("%2541"), false, &out), 0); /* once, not twice */
    assert_true(proa_str_eq_c(out, "%41"));
    out = plain;
    for (size_t i = 0; i < PROA_COUNT(broken); i++)
        assert_int_equal(proa_percent_decode(&arena, proa_str_c(broken[i]), false, &out), PROA_ESYNTAX);
    assert_ptr_equal(out.ptr, plain.ptr);
    /* The escape's digits lie behind the slice. */
    assert_int_equal(proa_percent_decode(&arena, proa_str_n("a%41", 3), false, &out), PROA_ESYNTAX);
    proa_arena_done(&arena);
}

static void test_percent_encode_every_byte(void **state)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    struct proa_arena arena;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        bool stays = i != 0 && strchr(unreserved, i) != NULL;
        struct proa_buf buf = {0};
        proa_str back;

        assert_int_equal(proa_percent_encode(&buf, proa_str_n(&byte, 1)), 0);
        assert_int_equal(buf.len, stays ? 1 : 3);
        assert_int_equal(proa_percent_decode(&arena, proa_buf_str(&buf), true, &back), 0);
        assert_true(proa_str_eq(back, proa_str_n(&byte, 1)));
        proa_buf_done(&buf);
    }
    proa_arena_done(&arena);
}

static void check_duration(const char *text, int rc, uint64_t expected)
{
    uint64_t ns = 4711;

    assert_int_equal(proa_duration_parse(proa_str_c(text), &ns), rc);
    assert_true(ns == (rc ? 4711 : expected));
}

static void test_durations(void **state)
{
    static const char *const broken[] = {"", "1", "s", "-1s", "1.5s", " 1s", "1s ", "1x", "1m30", "00", "1S", "1mss"};

    (void)state;
    check_duration("0", 0, 0);
    check_duration("0s", 0, 0);
    check_duration("7ns", 0, 7);
    check_duration("7us", 0, 7000);
    check_duration("250ms", 0, 250000000);
    check_duration("10s", 0, UINT64_C(10000000000));
    check_duration("1m30s", 0, UINT64_C(90000000000));
    check_duration("2h", 0, UINT64_C(7200000000000));
    check_duration("1d", 0, UINT64_C(86400000000000));
    check_duration("18446744073709551615ns", 0, UINT64_MAX);
    check_duration("18446744073709551616ns", PROA_ERANGE, 0);
    check_duration("18446744073709551615ns1ns", PROA_ERANGE, 0);
    check_duration("213504d", PROA_ERANGE, 0);
    check_duration("99999999999999999999999h", PROA_ERANGE, 0);
    check_duration("99999999999999999999999hx", PROA_ESYNTAX, 0);
    for (size_t i = 0; i < PROA_COUNT(broken); i++)
        check_duration(broken[i], PROA_ESYNTAX, 0);
}

static void check_bytes(const char *text, int rc, uint64_t expected)
{
    uint64_t bytes = 4711;

    assert_int_equal(proa_bytes_parse(proa_str_c(text), &bytes), rc);
    assert_true(bytes == (rc ? 4711 : expected));
}

static void test_sizes(void **state)
{
    static const char *const broken[] = {"", "Ki", "-1", "1.5Mi", " 1", "1 ", "1Kib", "1K", "1m", "1MiMi", "1ki"};

    (void)state;
    check_bytes("0", 0, 0);
    check_bytes("512", 0, 512);
    check_bytes("16Ki", 0, 16384);
    check_bytes("1Mi", 0, 1048576);
    check_bytes("2Gi", 0, UINT64_C(2147483648));
    check_bytes("1Ti", 0, UINT64_C(1) << 40);
    check_bytes("15Ei", 0, UINT64_C(15) << 60);
    check_bytes("1k", 0, 1000);
    check_bytes("1M", 0, 1000000);
    check_bytes("1E", 0, UINT64_C(1000000000000000000));
    check_bytes("18446744073709551615", 0, UINT64_MAX);
    check_bytes("18446744073709551616", PROA_ERANGE, 0);
    check_bytes("16Ei", PROA_ERANGE, 0);
    check_bytes("99999999999999999999999", PROA_ERANGE, 0);
    for (size_t i = 0; i < PROA_COUNT(broken); i++)
        check_bytes(broken[i], PROA_ESYNTAX, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_every_code_point_comes_back),
        cmocka_unit_test(test_utf8_takes_what_the_table_says),
        cmocka_unit_test(test_utf8_valid_looks_at_every_byte),
        cmocka_unit_test(test_utf8_cut),
        cmocka_unit_test(test_base64_known_texts),
        cmocka_unit_test(test_base64_is_strict_and_leaves_the_buffer_alone),
        cmocka_unit_test(test_base64_round_trips_within_exact_limits),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_hex_of_all_lengths),
        cmocka_unit_test(test_percent_decode),
        cmocka_unit_test(test_percent_encode_every_byte),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
