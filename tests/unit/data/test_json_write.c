/* Writing JSON by description: every kind, escapes, what is left out, what is refused. */
#include "everything.h"

#include <math.h>

static void what_is_read_is_written(void **state)
{
    struct bench *b = *state;
    struct everything v, back;
    proa_str json;

    assert_int_equal(proa_json_read(&b->arena, PROA_STR(EVERYTHING_JSON), 0, &everything_type, &v, &b->err), 0);
    json = json_of(b, 0, &everything_type.type, &v);
    assert_str_is(json, EVERYTHING_JSON);
    assert_int_equal(proa_json_read(&b->arena, json, 0, &everything_type, &back, &b->err), 0);
    assert_true(proa_equal_type(&everything_type.type, &v, &back));
}

static void write_text(struct bench *b, proa_str text, const char *expected)
{
    struct proa_buf out;
    struct everything v = {.text = text};
    const struct proa_field *field = proa_type_find(&everything_type.type, PROA_STR("text"), NULL);

    proa_buf_init(&out, &b->arena, 0);
    if (!expected) {
        assert_int_equal(proa_json_write_field(&out, 0, field, &v), PROA_EINVAL);
        return;
    }
    assert_int_equal(proa_json_write_field(&out, 0, field, &v), 0);
    assert_str_is(proa_buf_str(&out), expected);
}

static void text_is_escaped(void **state)
{
    struct bench *b = *state;

    write_text(b, PROA_STR(""), "\"\"");
    write_text(b, proa_str_n(NULL, 0), "\"\"");
    write_text(b, PROA_STR("plain text, longer than a word"), "\"plain text, longer than a word\"");
    write_text(b, PROA_STR("\"\\\b\f\n\r\t/"), "\"\\\"\\\\\\b\\f\\n\\r\\t/\"");
    write_text(b, proa_str_n("\0\x1f\x7f", 3), "\"\\u0000\\u001f\x7f\"");
    write_text(b, PROA_STR("1234567\"90123456\x01"), "\"1234567\\\"90123456\\u0001\"");
    write_text(b, PROA_STR("12345678\xe2\x82\xac and \xf0\x9f\x98\x80"),
               "\"12345678\xe2\x82\xac and \xf0\x9f\x98\x80\"");
    write_text(b, PROA_STR("\xff"), NULL);
    write_text(b, PROA_STR("12345678\xed\xa0\x80"), NULL);
    write_text(b, PROA_STR("12345678\xe2\x82"), NULL);
}

static void every_byte_position_is_escaped(void **state)
{
    struct bench *b = *state;
    static const char bad[] = {'"', '\\', '\n', '\x01', '\x1f'};

    for (size_t len = 1; len < 20; len++)
        for (size_t at = 0; at < len; at++)
            for (size_t i = 0; i < sizeof bad; i++) {
                char text[20];
                struct proa_buf out;
                struct everything back;
                struct everything v = {.text = {text, len}};
                const struct proa_field *field = proa_type_find(&everything_type.type, PROA_STR("text"), NULL);

                memset(text, ' ', sizeof text);
                text[at] = bad[i];
                proa_buf_init(&out, &b->arena, 0);
                assert_int_equal(proa_json_write_field(&out, 0, field, &v), 0);
                assert_int_equal(proa_json_read_field(&b->arena, proa_buf_str(&out), 0, field, &back, &b->err), 0);
                assert_true(proa_str_eq(back.text, v.text));
            }
}

struct account {
    uint64_t id;
    proa_str password;
    proa_str token;
    PROA_OPTIONAL(uint32_t) age;
};
PROA_DESCRIBE(account, (id, u64, .json = "accountId", .read_only = true), (password, str, .write_only = true),
              (token, str, .secret = true), (age, optional(u32)));

static void output_leaves_out_what_is_not_shown(void **state)
{
    struct bench *b = *state;
    struct account a = {.id = 1, .password = PROA_STR("p"), .token = PROA_STR("t")};

    assert_str_is(json_of(b, PROA_JSON_OUTPUT, &account_type.type, &a), "{\"accountId\":1}");
    a.age.presence = PROA_NULL;
    assert_str_is(json_of(b, PROA_JSON_OUTPUT, &account_type.type, &a), "{\"accountId\":1,\"age\":null}");
    a.age.presence = PROA_SET;
    assert_str_is(json_of(b, 0, &account_type.type, &a),
                  "{\"accountId\":1,\"password\":\"p\",\"token\":\"t\",\"age\":0}");
}

static int write_all(struct bench *b, const struct everything *v)
{
    struct proa_buf out;

    proa_buf_init(&out, &b->arena, 0);
    return proa_json_write(&out, 0, &everything_type, v);
}

static void what_has_no_json_is_refused(void **state)
{
    struct bench *b = *state;
    struct everything v, good;
    proa_str broken_text = PROA_STR("\x80");

    assert_int_equal(proa_type_defaults(&b->arena, &everything_type.type, &good, &b->err), 0);
    assert_int_equal(write_all(b, &good), 0);
    v = good;
    v.f64 = NAN;
    assert_int_equal(write_all(b, &v), PROA_EINVAL);
    v.f64 = INFINITY;
    assert_int_equal(write_all(b, &v), PROA_EINVAL);
    v = good;
    v.color = (enum color)77;
    assert_int_equal(write_all(b, &v), PROA_EINVAL);
    v = good;
    v.raw = PROA_STR("{");
#ifndef NDEBUG
    assert_int_equal(write_all(b, &v), PROA_EINVAL);
#endif
    v = good;
    v.maybe_list.presence = PROA_SET;
    v.maybe_list.value.ptr = &broken_text;
    v.maybe_list.value.len = 1;
    assert_int_equal(write_all(b, &v), PROA_EINVAL);
}

static void buffers_that_are_full(void **state)
{
    struct bench *b = *state;
    struct everything v;

    assert_int_equal(proa_json_read(&b->arena, PROA_STR(EVERYTHING_JSON), 0, &everything_type, &v, &b->err), 0);
    for (size_t max = 1; max < strlen(EVERYTHING_JSON); max++) {
        struct proa_buf out;

        proa_buf_init(&out, NULL, max);
        assert_int_equal(proa_json_write(&out, 0, &everything_type, &v), PROA_ETOOLARGE);
        proa_buf_done(&out);
    }
}

static void times_and_durations(void **state)
{
    struct bench *b = *state;
    static const struct {
        proa_time_ns when;
        uint64_t wait;
        const char *json;
    } cases[] = {
        {0, 0, "\"when\":\"1970-01-01T00:00:00Z\",\"wait\":\"0s\""},
        {1000000, 1, "\"when\":\"1970-01-01T00:00:00.001Z\",\"wait\":\"1ns\""},
        {-1000, 3600000000000 + 1001, "\"when\":\"1969-12-31T23:59:59.999999Z\",\"wait\":\"1h1us1ns\""},
        {1, UINT64_MAX, "\"when\":\"1970-01-01T00:00:00.000000001Z\",\"wait\":\"5124095h34m33s709ms551us615ns\""},
    };

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        struct everything v, back;
        proa_str json;

        assert_int_equal(proa_type_defaults(&b->arena, &everything_type.type, &v, &b->err), 0);
        v.when = cases[i].when;
        v.wait.ns = cases[i].wait;
        json = json_of(b, 0, &everything_type.type, &v);
        assert_true(proa_str_find(json, proa_str_c(cases[i].json)) > 0);
        assert_int_equal(proa_json_read(&b->arena, json, 0, &everything_type, &back, &b->err), 0);
        assert_true(back.when == v.when && back.wait.ns == v.wait.ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(what_is_read_is_written),
        bench_test(text_is_escaped),
        bench_test(every_byte_position_is_escaped),
        bench_test(output_leaves_out_what_is_not_shown),
        bench_test(what_has_no_json_is_refused),
        bench_test(buffers_that_are_full),
        bench_test(times_and_durations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
