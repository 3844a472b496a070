/* Members from plain text: query parameters, flags, the environment. */
#include "everything.h"

static int set(struct bench *b, const char *member, const char *text, struct everything *v)
{
    const struct proa_field *field = proa_type_find(&everything_type.type, proa_str_c(member), NULL);

    proa_error_clear(&b->err);
    return proa_field_from_text(&b->arena, field, proa_str_c(text), PROA_STR("/query/x"), v, &b->err);
}

static void every_kind(void **state)
{
    struct bench *b = *state;
    struct everything v = {0};

    assert_int_equal(set(b, "flag", "true", &v), 0);
    assert_true(v.flag);
    assert_int_equal(set(b, "flag", "false", &v), 0);
    assert_false(v.flag);
    assert_int_equal(set(b, "i8", "-128", &v), 0);
    assert_int_equal(v.i8, -128);
    assert_int_equal(set(b, "u64", "18446744073709551615", &v), 0);
    assert_true(v.u64 == UINT64_MAX);
    assert_int_equal(set(b, "i64", "-9223372036854775808", &v), 0);
    assert_true(v.i64 == INT64_MIN);
    assert_int_equal(set(b, "f64", "1e3", &v), 0);
    assert_true(v.f64 == 1000);
    assert_int_equal(set(b, "text", "", &v), 0);
    assert_int_equal(set(b, "text", " a,\"b ", &v), 0);
    assert_str_is(v.text, " a,\"b ");
    assert_int_equal(set(b, "raw", " {\"a\": 1}", &v), 0);
    assert_str_is(v.raw, "{\"a\":1}");
    assert_int_equal(set(b, "bytes", "AAEC", &v), 0);
    assert_int_equal(v.bytes.len, 3);
    assert_int_equal(set(b, "when", "1970-01-01T00:00:01Z", &v), 0);
    assert_true(v.when == 1000000000);
    assert_int_equal(set(b, "wait", "250ms", &v), 0);
    assert_int_equal(v.wait.ns, 250000000);
    assert_int_equal(set(b, "room", "64Mi", &v), 0);
    assert_int_equal(v.room.bytes, 64 << 20);
    assert_int_equal(set(b, "color", "blue", &v), 0);
    assert_int_equal(v.color, COLOR_BLUE);
    assert_int_equal(set(b, "numbers", "1, -2 ,3", &v), 0);
    assert_int_equal(v.numbers.len, 3);
    assert_int_equal(v.numbers.ptr[1], -2);
    assert_int_equal(set(b, "numbers", "", &v), 0);
    assert_int_equal(v.numbers.len, 0);
    assert_int_equal(set(b, "maybe", "5", &v), 0);
    assert_int_equal(v.maybe.presence, PROA_SET);
    assert_int_equal(v.maybe.value, 5);
    assert_int_equal(set(b, "maybe_list", "a,b", &v), 0);
    assert_int_equal(v.maybe_list.presence, PROA_SET);
    assert_str_is(v.maybe_list.value.ptr[1], "b");
}

static void what_does_not_fit(void **state)
{
    static const struct {
        const char *member, *text, *broken;
    } cases[] = {
        {"flag", "1", "/query/x type;"},
        {"flag", "", "/query/x type;"},
        {"flag", "TRUE", "/query/x type;"},
        {"i8", "128", "/query/x range;"},
        {"i8", "-129", "/query/x range;"},
        {"i8", "", "/query/x type;"},
        {"i8", "-", "/query/x type;"},
        {"i8", "+1", "/query/x type;"},
        {"i8", " 1", "/query/x type;"},
        {"i8", "1.0", "/query/x type;"},
        {"u64", "18446744073709551616", "/query/x range;"},
        {"u64", "-1", "/query/x range;"},
        {"i64", "9223372036854775808", "/query/x range;"},
        {"i64", "-9223372036854775809", "/query/x range;"},
        {"f64", "x", "/query/x type;"},
        {"f64", "1e999", "/query/x range;"},
        {"f64", "nan", "/query/x type;"},
        {"raw", "{", "/query/x type;"},
        {"raw", "{\"a\":1,\"a\":2}", "/query/x/a duplicate;"},
        {"text", "\xff", "/query/x encoding;"},
        {"bytes", "?", "/query/x format;"},
        {"color", "pink", "/query/x enum;"},
        {"numbers", "1,,3", "/query/x/1 type;"},
        {"numbers", "1,x,99999999999", "/query/x/1 type;/query/x/2 range;"},
    };
    struct bench *b = *state;
    struct everything v;

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        memset(&v, 0x55, sizeof v);
        assert_int_equal(set(b, cases[i].member, cases[i].text, &v), PROA_EVALIDATION);
        assert_string_equal(broken(b), cases[i].broken);
        for (size_t at = 0; at < sizeof v; at++)
            assert_int_equal(((unsigned char *)&v)[at], 0x55);
    }
    assert_int_equal(set(b, "labels", "a=b", &v), PROA_EUNSUPPORTED);
    assert_int_equal(set(b, "at", "{}", &v), PROA_EUNSUPPORTED);
}

struct bounded {
    PROA_ARRAY_OF(uint8_t) list;
    uint8_t number;
};
PROA_DESCRIBE(bounded, (list, array(u8), .min_items = 1, .max_items = 3, .unique_items = true, PROA_MAX(9)),
              (number, u8, PROA_RANGE(1, 5)));

static void rules_hold(void **state)
{
    struct bench *b = *state;
    const struct proa_field *list = &bounded_type.type.fields[0], *number = &bounded_type.type.fields[1];
    struct bounded v;

    assert_int_equal(proa_field_from_text(&b->arena, list, PROA_STR("1,2,3"), PROA_STR(""), &v, &b->err), 0);
    assert_int_equal(proa_field_from_text(&b->arena, list, PROA_STR("1,2,3,4"), PROA_STR(""), &v, &b->err),
                     PROA_EVALIDATION);
    assert_int_equal(proa_field_from_text(&b->arena, list, PROA_STR(""), PROA_STR(""), &v, &b->err), PROA_EVALIDATION);
    assert_int_equal(proa_field_from_text(&b->arena, list, PROA_STR("1,1"), PROA_STR(""), &v, &b->err),
                     PROA_EVALIDATION);
    assert_int_equal(proa_field_from_text(&b->arena, list, PROA_STR("10"), PROA_STR(""), &v, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), " max_items; min_items; unique_items;/0 max;");
    assert_int_equal(proa_field_from_text(&b->arena, number, PROA_STR("6"), PROA_STR(""), &v, NULL), PROA_EVALIDATION);
}

static void memory_that_is_out(void **state)
{
    struct proa_arena arena;
    struct proa_error err = {0};
    struct everything v;

    proa_arena_init(&arena, NULL, 32);
    assert_int_equal(proa_field_from_text(&arena, proa_type_find(&everything_type.type, PROA_STR("numbers"), NULL),
                                          PROA_STR("1,2,3,4,5,6,7,8,9,10"), PROA_STR(""), &v, &err),
                     PROA_ENOMEM);
    proa_arena_done(&arena);
    proa_arena_init(&arena, NULL, 16);
    assert_int_equal(proa_field_from_text(&arena, proa_type_find(&everything_type.type, PROA_STR("bytes"), NULL),
                                          PROA_STR("AAAA"), PROA_STR(""), &v, &err),
                     PROA_ENOMEM);
    proa_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(every_kind),
        bench_test(what_does_not_fit),
        bench_test(rules_hold),
        bench_test(memory_that_is_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
