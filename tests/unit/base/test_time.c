/* Time as text: RFC 3339 and HTTP dates. */
#include "unit.h"

#include <proa/error.h>
#include <proa/random.h>
#include <proa/text.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const int64_t second_ns = 1000000000;

static void check_text(proa_time_ns time, unsigned digits, const char *expected)
{
    char out[PROA_TIME_TEXT_MAX];

    assert_int_equal(proa_time_text(time, digits, out), strlen(expected));
    assert_memory_equal(out, expected, strlen(expected));
}

static void check_parse(const char *text, int rc, proa_time_ns expected)
{
    proa_time_ns time = 4711;

    if (proa_time_parse(proa_str_c(text), &time) != rc || time != (rc ? 4711 : expected))
        fail_msg("%s: %lld", text, (long long)time);
}

static void test_known_times_as_text(void **state)
{
    (void)state;
    check_text(0, 0, "1970-01-01T00:00:00Z");
    check_text(1, 9, "1970-01-01T00:00:00.000000001Z");
    check_text(1, 3, "1970-01-01T00:00:00.000Z");
    check_text(-1, 9, "1969-12-31T23:59:59.999999999Z");
    check_text(-1, 0, "1969-12-31T23:59:59Z");
    check_text(-second_ns, 1, "1969-12-31T23:59:59.0Z");
    check_text(second_ns - 1, 6, "1970-01-01T00:00:00.999999Z"); /* cut, not rounded into the next second */
    check_text(1709164800 * second_ns, 0, "2024-02-29T00:00:00Z");
    check_text(951782400 * second_ns, 0, "2000-02-29T00:00:00Z");
    check_text(INT64_MAX, 9, "2262-04-11T23:47:16.854775807Z");
    check_text(INT64_MIN, 9, "1677-09-21T00:12:43.145224192Z");
    check_text(5, 99, "1970-01-01T00:00:00.000000005Z");
}

static void test_known_texts_as_time(void **state)
{
    (void)state;
    check_parse("1970-01-01T00:00:00Z", 0, 0);
    check_parse("1970-01-01t00:00:00z", 0, 0);
    check_parse("1970-01-01T00:00:01.5Z", 0, 1500000000);
    check_parse("1970-01-01T00:00:00.123456789999Z", 0, 123456789);
    check_parse("1970-01-01T01:00:00+01:00", 0, 0);
    check_parse("1969-12-31T23:30:00-00:30", 0, 0);
    check_parse("1969-12-31T23:59:59.75Z", 0, -250000000);
    check_parse("2016-12-31T23:59:60Z", 0, INT64_C(1483228799) * second_ns);
    check_parse("2262-04-11T23:47:16.854775807Z", 0, INT64_MAX);
    check_parse("1677-09-21T00:12:43.145224192Z", 0, INT64_MIN);
    check_parse("2262-04-11T23:47:16.854775808Z", PROA_ERANGE, 0);
    check_parse("1677-09-21T00:12:43.145224191Z", PROA_ERANGE, 0);
    check_parse("2262-04-12T00:47:16+01:00", 0, INT64_C(9223372036) * second_ns);
    check_parse("9999-12-31T23:59:59Z", PROA_ERANGE, 0);
    check_parse("0001-01-01T00:00:00Z", PROA_ERANGE, 0);
}

static void test_broken_texts(void **state)
{
    static const char *const broken[] = {"",
                                         "1970-01-01",
                                         "1970-01-01T00:00:00",
                                         "1970-01-01T00:00Z",
                                         "1970-1-01T00:00:00Z",
                                         "1970-01-01T00:00:00.Z",
                                         "1970-01-01T00:00:00,5Z",
                                         "1970-01-01T00:00:00ZZ",
                                         "1970-01-01T00:00:00Z ",
                                         " 1970-01-01T00:00:00Z",
                                         "1970-01-01T00:00:00+1:00",
                                         "1970-01-01T00:00:00+0100",
                                         "1970-01-01T00:00:00+24:00",
                                         "1970-01-01T00:00:00+00:60",
                                         "1970-01-01T24:00:00Z",
                                         "1970-01-01T00:60:00Z",
                                         "1970-01-01T00:00:61Z",
                                         "1970-00-01T00:00:00Z",
                                         "1970-13-01T00:00:00Z",
                                         "1970-01-00T00:00:00Z",
                                         "1970-01-32T00:00:00Z",
                                         "1970-04-31T00:00:00Z",
                                         "2023-02-29T00:00:00Z",
                                         "1900-02-29T00:00:00Z",
                                         "0000-01-01T00:00:00Z",
                                         "-970-01-01T00:00:00Z",
                                         "+970-01-01T00:00:00Z",
                                         "1970-01-01X00:00:00Z",
                                         "1970/01/01T00:00:00Z"};

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(broken); i++)
        check_parse(broken[i], PROA_ESYNTAX, 0);
    /* Every prefix of a good text is broken. */
    for (size_t len = 0; len < 35; len++) {
        static const char good[] = "2024-02-29T12:34:56.123456789+01:00";
        proa_time_ns time;

        assert_int_equal(proa_time_parse(proa_str_n(good, len), &time), PROA_ESYNTAX);
    }
}

/* Against the C library's calendar. */
static void test_like_gmtime_and_back(void **state)
{
    struct proa_prng prng;

    (void)state;
    proa_prng_seed(&prng, 9);
    for (int i = 0; i < 50000; i++) {
        proa_time_ns time = (int64_t)proa_prng_u64(&prng), back;
        int64_t ns = (time % second_ns + second_ns) % second_ns;
        time_t seconds = (time_t)(time / second_ns - (time % second_ns < 0));
        char expected[64], out[PROA_TIME_TEXT_MAX];
        struct tm tm;
        size_t len;

        gmtime_r(&seconds, &tm);
        len = strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(expected + len, sizeof expected - len, ".%09lldZ", (long long)ns);
        len = proa_time_text(time, 9, out);
        assert_int_equal(len, strlen(expected));
        assert_memory_equal(out, expected, len);
        assert_int_equal(proa_time_parse(proa_str_n(out, len), &back), 0);
        assert_true(back == time);

        strftime(expected, sizeof expected, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        assert_int_equal(proa_time_http(time, out), 29);
        assert_memory_equal(out, expected, 29);
        /* The first fraction of a second of the range has no whole second before it. */
        if (time < INT64_MIN + second_ns)
            continue;
        assert_int_equal(proa_time_http_parse(proa_str_n(out, 29), &back), 0);
        assert_true(back == time - ns);
    }
}

static void check_http(const char *text, int rc, int64_t expected_s)
{
    proa_time_ns time = 4711;

    if (proa_time_http_parse(proa_str_c(text), &time) != rc || time != (rc ? 4711 : expected_s * second_ns))
        fail_msg("%s: %lld", text, (long long)time);
}

static void test_http_dates(void **state)
{
    static const char *const broken[] = {"",
                                         "Sun",
                                         "Sun, 06 Nov 1994 08:49:37",
                                         "Sun, 06 Nov 1994 08:49:37 UTC",
                                         "Sun, 06 Nov 1994 08:49:37 GMT ",
                                         "Sun, 6 Nov 1994 08:49:37 GMT",
                                         "sun, 06 Nov 1994 08:49:37 GMT",
                                         "Sun, 06 nov 1994 08:49:37 GMT",
                                         "Sun, 31 Nov 1994 08:49:37 GMT",
                                         "Sun, 06 Nov 1994 24:49:37 GMT",
                                         "Sun 06 Nov 1994 08:49:37 GMT",
                                         "Sunday, 06-Nov-94 08:49:37",
                                         "Sunday, 06-Nov-1994 08:49:37 GMT",
                                         "Sun Nov 6 08:49:37 1994",
                                         "Sun Nov  6 08:49:37 1994 GMT",
                                         "784111777"};

    (void)state;
    /* The three forms of RFC 9110 section 5.6.7 */
    check_http("Sun, 06 Nov 1994 08:49:37 GMT", 0, 784111777);
    check_http("Sunday, 06-Nov-94 08:49:37 GMT", 0, 784111777);
    check_http("Sun Nov  6 08:49:37 1994", 0, 784111777);
    check_http("Wednesday, 16-Nov-94 08:49:37 GMT", 0, 784975777);
    check_http("Tuesday, 15-Nov-94 08:49:37 GMT", 0, 784889377);
    check_http("Thursday, 17-Nov-94 08:49:37 GMT", 0, 785062177);
    check_http("Saturday, 19-Nov-94 08:49:37 GMT", 0, 785234977);
    check_http("Wed Nov 16 08:49:37 1994", 0, 784975777);
    check_http("Thursday, 01-Jan-70 00:00:00 GMT", 0, 0);
    check_http("Wednesday, 01-Jan-20 00:00:00 GMT", 0, 1577836800);
    check_http("Fri, 01 Jan 9999 00:00:00 GMT", PROA_ERANGE, 0);
    for (size_t i = 0; i < PROA_COUNT(broken); i++)
        check_http(broken[i], PROA_ESYNTAX, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_times_as_text), cmocka_unit_test(test_known_texts_as_time),
        cmocka_unit_test(test_broken_texts),        cmocka_unit_test(test_like_gmtime_and_back),
        cmocka_unit_test(test_http_dates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
