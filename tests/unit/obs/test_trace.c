/* Headers of trace context: what is taken, what is refused, what is written. */
#include "unit.h"

#include <proa/trace.h>
#include <stdio.h>
#include <stdlib.h>

#define VALID "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static const uint8_t trace_id[16] = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd,
                                     0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c};
static const uint8_t span_id[8] = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31};

static void assert_ids(const struct proa_trace_ids *ids, unsigned flags)
{
    assert_memory_equal(ids->trace_id, trace_id, sizeof trace_id);
    assert_memory_equal(ids->span_id, span_id, sizeof span_id);
    assert_int_equal(ids->flags, flags);
}

/* A copy without room behind it, so that the address sanitizer sees a read past its end. */
static bool parse(const char *text, struct proa_trace_ids *ret_ids)
{
    size_t len = strlen(text);
    char *copy = malloc(len + 1);
    bool taken;

    assert_non_null(copy);
    memcpy(copy, text, len);
    copy = realloc(copy, len ? len : 1);
    taken = proa_traceparent_parse(proa_str_n(copy, len), ret_ids);
    free(copy);
    return taken;
}

static void test_traceparent_is_taken(void **state)
{
    struct proa_trace_ids ids;

    assert_true(parse(VALID, &ids));
    assert_ids(&ids, PROA_TRACE_SAMPLED);
    assert_true(parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", &ids));
    assert_ids(&ids, 0);
    /* Flags without a meaning are not kept. */
    assert_true(parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", &ids));
    assert_ids(&ids, PROA_TRACE_SAMPLED);
    assert_true(parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02", &ids));
    assert_ids(&ids, 0);
    /* Versions to come. */
    assert_true(parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &ids));
    assert_ids(&ids, PROA_TRACE_SAMPLED);
    assert_true(parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings", &ids));
    assert_ids(&ids, PROA_TRACE_SAMPLED);
}

static void test_traceparent_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "00",
        "00-",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0A",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331.01",
        " " VALID,
        VALID " ",
        "000-af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    };
    struct proa_trace_ids ids;

    memset(&ids, 0x55, sizeof ids);
    for (size_t i = 0; i < PROA_COUNT(bad); i++)
        assert_false(parse(bad[i], &ids));
    for (size_t i = 0; i < sizeof ids; i++) /* untouched */
        assert_int_equal(((unsigned char *)&ids)[i], 0x55);
}

static void test_traceparent_every_cut_and_every_changed_byte(void **state)
{
    char text[] = VALID;
    struct proa_trace_ids ids;

    for (size_t len = 0; len < sizeof text - 1; len++)
        assert_false(proa_traceparent_parse(proa_str_n(text, len), &ids));
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char kept = text[i];

        text[i] = 'x';
        assert_false(proa_traceparent_parse(proa_str_c(text), &ids));
        text[i] = kept;
    }
}

static void test_traceparent_is_written(void **state)
{
    struct proa_trace_ids ids = {.flags = PROA_TRACE_SAMPLED | PROA_TRACE_DEBUG};
    char out[PROA_TRACEPARENT_BYTES + 1] = {0};

    memcpy(ids.trace_id, trace_id, sizeof trace_id);
    memcpy(ids.span_id, span_id, sizeof span_id);
    proa_traceparent_write(&ids, out);
    assert_string_equal(out, VALID);
    ids.flags = PROA_TRACE_UNDECIDED;
    proa_traceparent_write(&ids, out);
    assert_string_equal(out, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
}

static void assert_b3(const char *header, unsigned flags)
{
    struct proa_trace_ids ids;

    assert_true(proa_b3_parse(proa_str_c(header), &ids));
    assert_ids(&ids, flags);
}

static void test_b3_single(void **state)
{
    struct proa_trace_ids ids;

    assert_b3("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", PROA_TRACE_UNDECIDED);
    assert_b3("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", 0);
    assert_b3("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", PROA_TRACE_SAMPLED);
    assert_b3("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-d", PROA_TRACE_SAMPLED | PROA_TRACE_DEBUG);
    assert_b3("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-05e3ac9a4f6e3b90", PROA_TRACE_SAMPLED);
    assert_true(proa_b3_parse(PROA_STR("8448eb211c80319c-b7ad6b7169203331-1"), &ids));
    for (int i = 0; i < 8; i++)
        assert_int_equal(ids.trace_id[i], 0);
    assert_memory_equal(ids.trace_id + 8, trace_id + 8, 8);
    assert_true(proa_b3_parse(PROA_STR("0"), &ids));
    assert_false(proa_trace_present(&ids));
    assert_int_equal(ids.flags, 0);
    assert_true(proa_b3_parse(PROA_STR("1"), &ids));
    assert_int_equal(ids.flags, PROA_TRACE_SAMPLED);
    assert_true(proa_b3_parse(PROA_STR("d"), &ids));
    assert_false(proa_trace_present(&ids));
    assert_int_equal(ids.flags, PROA_TRACE_SAMPLED | PROA_TRACE_DEBUG);
}

static void test_b3_single_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2",
        "-",
        "0af7651916cd43dd8448eb211c80319c",
        "0af7651916cd43dd8448eb211c80319c-",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-2",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-true",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-05e3ac9a4f6e3b9",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-05e3ac9a4f6e3b90-x",
        "0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00000000000000000000000000000000-b7ad6b7169203331-1",
        "0000000000000000-b7ad6b7169203331-1",
        "0af7651916cd43dd8448eb211c80319c-0000000000000000-1",
        "0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-1",
    };
    struct proa_trace_ids ids = {.flags = 9};

    for (size_t i = 0; i < PROA_COUNT(bad); i++)
        assert_false(proa_b3_parse(proa_str_c(bad[i]), &ids));
    assert_int_equal(ids.flags, 9);
}

static bool multi(const char *trace, const char *span, const char *sampled, const char *flags,
                  struct proa_trace_ids *ret_ids)
{
    return proa_b3_parse_multi(proa_str_c(trace), proa_str_c(span), proa_str_c(sampled), proa_str_c(flags), ret_ids);
}

static void test_b3_multi(void **state)
{
    static const char *const t = "0af7651916cd43dd8448eb211c80319c", *const s = "b7ad6b7169203331";
    struct proa_trace_ids ids;

    assert_true(multi(t, s, "", "", &ids));
    assert_ids(&ids, PROA_TRACE_UNDECIDED);
    assert_true(multi(t, s, "1", "", &ids));
    assert_ids(&ids, PROA_TRACE_SAMPLED);
    assert_true(multi(t, s, "true", "0", &ids));
    assert_ids(&ids, PROA_TRACE_SAMPLED);
    assert_true(multi(t, s, "0", "", &ids));
    assert_ids(&ids, 0);
    assert_true(multi(t, s, "false", "", &ids));
    assert_ids(&ids, 0);
    assert_true(multi(t, s, "", "1", &ids));
    assert_ids(&ids, PROA_TRACE_SAMPLED | PROA_TRACE_DEBUG);
    assert_true(multi("", "", "0", "", &ids));
    assert_false(proa_trace_present(&ids));
    assert_false(multi("", "", "", "", &ids));
    assert_false(multi(t, "", "1", "", &ids));
    assert_false(multi("", s, "1", "", &ids));
    assert_false(multi(t, s, "d", "", &ids));
    assert_false(multi(t, s, "yes", "", &ids));
    assert_false(multi(t, s, "1", "2", &ids));
    assert_false(multi("x", s, "1", "", &ids));
    assert_false(multi(t, "x", "1", "", &ids));
}

static void test_b3_is_written_as_it_is_read(void **state)
{
    static const char *const headers[] = {
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-d",
        "0",
        "1",
        "d",
    };

    for (size_t i = 0; i < PROA_COUNT(headers); i++) {
        struct proa_trace_ids ids;
        char out[PROA_B3_MAX];

        assert_true(proa_b3_parse(proa_str_c(headers[i]), &ids));
        assert_true(proa_str_eq_c(proa_str_n(out, proa_b3_write(&ids, out)), headers[i]));
    }
}

static void assert_tracestate(const char *header, const char *expected)
{
    char out[PROA_TRACESTATE_MAX];
    size_t len = 99;

    if (!expected) {
        assert_false(proa_tracestate_parse(proa_str_c(header), out, &len));
        assert_int_equal(len, 99);
        return;
    }
    assert_true(proa_tracestate_parse(proa_str_c(header), out, &len));
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(out, expected, len);
}

static void test_tracestate(void **state)
{
    assert_tracestate("", "");
    assert_tracestate("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
    assert_tracestate(" rojo=1 ,\t, congo=2\t,", "rojo=1,congo=2");
    assert_tracestate("a= b", "a= b"); /* a space may begin a value */
    assert_tracestate("0tenant@sys=1", "0tenant@sys=1");
    assert_tracestate("a_-*/z=~", "a_-*/z=~");
    assert_tracestate("a", NULL);
    assert_tracestate("=1", NULL);
    assert_tracestate("a=", NULL);
    assert_tracestate("A=1", NULL);
    assert_tracestate("0a=1", NULL);
    assert_tracestate("a@0b=1", NULL);
    assert_tracestate("a@b@c=1", NULL);
    assert_tracestate("a@=1", NULL);
    assert_tracestate("@a=1", NULL);
    assert_tracestate("tenant@abcdefghijklmno=1", NULL); /* 15 */
    assert_tracestate("a=1=2", NULL);
    assert_tracestate("a=\x7f", NULL);
    assert_tracestate("a=\xc3\xa9", NULL);
    assert_tracestate("a=1,b=2,a=3", NULL);
}

static void test_tracestate_limits(void **state)
{
    char text[8192], expected[1024];
    size_t at = 0, len;
    char out[PROA_TRACESTATE_MAX];

    for (int i = 0; i < 32; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%sk%d=1", i ? "," : "", i);
    assert_tracestate(text, text);
    snprintf(text + at, sizeof text - at, ",k32=1");
    assert_tracestate(text, NULL);
    /* A value of 256 characters is taken, of 257 not. */
    memcpy(text, "a=", 2);
    memset(text + 2, 'v', 257);
    text[258] = '\0';
    assert_tracestate(text, text);
    text[258] = 'v';
    text[259] = '\0';
    assert_tracestate(text, NULL);
    /* A key of 256 is taken. */
    memset(text, 'k', 256);
    memcpy(text + 256, "=1", 3);
    assert_tracestate(text, text);
    memset(text, 'k', 257);
    memcpy(text + 257, "=1", 3);
    assert_tracestate(text, NULL);
    /* Too long: the long member goes first, whatever its place … */
    snprintf(text, sizeof text, "long=%0200d,a=%0110d,b=%0110d,c=%0110d,d=%0110d", 0, 1, 2, 3, 4);
    snprintf(expected, sizeof expected, "a=%0110d,b=%0110d,c=%0110d,d=%0110d", 1, 2, 3, 4);
    assert_tracestate(text, expected);
    /* … then those at the end. */
    snprintf(text, sizeof text, "a=%0120d,b=%0120d,c=%0120d,d=%0120d,e=%0120d", 1, 2, 3, 4, 5);
    snprintf(expected, sizeof expected, "a=%0120d,b=%0120d,c=%0120d,d=%0120d", 1, 2, 3, 4);
    assert_tracestate(text, expected);
    /* As long as may be. */
    snprintf(text, sizeof text, "a=%0126d,b=%0126d,c=%0126d,d=%0121d", 1, 2, 3, 4);
    assert_true(proa_tracestate_parse(proa_str_c(text), out, &len));
    assert_int_equal(len, 510);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traceparent_is_taken),
        cmocka_unit_test(test_traceparent_is_refused),
        cmocka_unit_test(test_traceparent_every_cut_and_every_changed_byte),
        cmocka_unit_test(test_traceparent_is_written),
        cmocka_unit_test(test_b3_single),
        cmocka_unit_test(test_b3_single_is_refused),
        cmocka_unit_test(test_b3_multi),
        cmocka_unit_test(test_b3_is_written_as_it_is_read),
        cmocka_unit_test(test_tracestate),
        cmocka_unit_test(test_tracestate_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
