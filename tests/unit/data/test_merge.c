/* Merge patches on described structs, RFC 7396. */
#include "everything.h"

static void start(struct bench *b, struct everything *v, const char *json)
{
    assert_int_equal(proa_json_read(&b->arena, proa_str_c(json), 0, &everything_type, v, &b->err), 0);
}

/* The member `name` as JSON after the patch. */
static void patched(struct bench *b, const char *before, const char *patch, const char *name, const char *after)
{
    struct everything v;
    struct proa_buf out;

    start(b, &v, before);
    proa_error_clear(&b->err);
    if (proa_json_merge(&b->arena, proa_str_c(patch), &everything_type, &v, &b->err) < 0)
        fail_msg("%s: %s", patch, b->err.message);
    proa_buf_init(&out, &b->arena, 0);
    assert_int_equal(proa_json_write_field(&out, 0, proa_type_find(&everything_type.type, proa_str_c(name), NULL), &v),
                     0);
    assert_str_is(proa_buf_str(&out), after);
}

static void members_are_replaced(void **state)
{
    struct bench *b = *state;

    patched(b, "{\"i32\":1,\"u8\":2}", "{\"u8\":3}", "u8", "3");
    patched(b, "{\"i32\":1,\"u8\":2}", "{\"u8\":3}", "i32", "1");
    patched(b, "{\"numbers\":[1,2]}", "{\"numbers\":[3]}", "numbers", "[3]");
    patched(b, "{\"maybe_list\":[\"a\"]}", "{\"maybe_list\":null}", "maybe_list", "null");
    patched(b, "{\"at\":{\"x\":1,\"y\":2,\"label\":\"l\"}}", "{\"at\":{\"y\":3}}", "at",
            "{\"x\":1,\"y\":3,\"label\":\"l\"}");
    patched(b, "{\"at\":{\"x\":1,\"y\":2,\"label\":\"l\"}}", "{\"at\":{\"label\":null}}", "at", "{\"x\":1,\"y\":2}");
    patched(b, "{\"points\":[{\"x\":1}]}", "{\"points\":[{\"x\":2,\"label\":null}]}", "points",
            "[{\"x\":2,\"y\":0,\"label\":null}]");
}

static void null_removes(void **state)
{
    struct bench *b = *state;
    struct everything v;

    patched(b, "{\"f64\":9}", "{\"f64\":null}", "f64", "0.5");
    patched(b, "{\"color\":\"red\"}", "{\"color\":null}", "color", "\"green\"");
    start(b, &v, "{\"maybe\":1,\"at\":{\"x\":1}}");
    assert_int_equal(proa_json_merge(&b->arena, PROA_STR("{\"maybe\":null}"), &everything_type, &v, &b->err), 0);
    assert_int_equal(v.maybe.presence, PROA_ABSENT);
    assert_int_equal(proa_json_merge(&b->arena, PROA_STR("{\"at\":{\"x\":null}}"), &everything_type, &v, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/at/x required;");
}

static void absent_objects_begin_anew(void **state)
{
    struct bench *b = *state;
    struct everything v;

    patched(b, "{}", "{\"maybe_at\":{\"x\":5}}", "maybe_at", "{\"x\":5,\"y\":0}");
    patched(b, "{\"maybe_at\":null}", "{\"maybe_at\":{\"x\":5,\"label\":null}}", "maybe_at", "{\"x\":5,\"y\":0}");
    start(b, &v, "{}");
    assert_int_equal(proa_json_merge(&b->arena, PROA_STR("{\"maybe_at\":{\"y\":5}}"), &everything_type, &v, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/maybe_at/x required;");
    assert_int_equal(v.maybe_at.presence, PROA_ABSENT);
}

static void dictionaries_are_merged(void **state)
{
    struct bench *b = *state;
    struct everything v;

    patched(b, "{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}",
            "{\"labels\":{\"b\":null,\"d\":\"4\",\"a\":\"9\",\"c\":\"3\"}}", "labels",
            "{\"a\":\"9\",\"d\":\"4\",\"c\":\"3\"}");
    patched(b, "{\"labels\":{\"a\":\"1\"}}", "{\"labels\":{\"x\":null}}", "labels", "{\"a\":\"1\"}");
    patched(b, "{\"labels\":{\"a\":\"1\"}}", "{\"labels\":null}", "labels", "{}");
    patched(b, "{\"places\":{\"p\":{\"x\":1,\"y\":2}}}", "{\"places\":{\"p\":{\"y\":3},\"q\":{\"x\":4}}}", "places",
            "{\"p\":{\"x\":1,\"y\":3},\"q\":{\"x\":4,\"y\":0}}");
    patched(b, "{}", "{\"maybe_map\":{\"a\":1,\"b\":null}}", "maybe_map", "{\"a\":1}");
    start(b, &v, "{\"labels\":{\"a\":\"1\"}}");
    assert_int_equal(proa_json_merge(&b->arena, PROA_STR("{\"labels\":{\"a\":1,\"b\":\"\",\"b\":\"\"},\"places\":[]}"),
                                     &everything_type, &v, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/labels/b duplicate;/labels/a type;/places type;");
    assert_str_is(v.labels.ptr[0].value, "1");
}

/* The table of RFC 7396, appendix A, on raw JSON. */
static void raw_json_is_merged(void **state)
{
    static const char *const cases[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };
    struct bench *b = *state;

    for (size_t i = 0; i < PROA_COUNT(cases); i++)
        patched(b, proa_arena_printf(&b->arena, "{\"raw\":%s}", cases[i][0]).ptr,
                proa_arena_printf(&b->arena, "{\"raw\":%s}", cases[i][1]).ptr, "raw", cases[i][2]);
    patched(b, "{\"raw\":{\"a\":1}}", "{\"raw\":null}", "raw", "null");
}

struct limited {
    uint64_t id;
    int32_t low;
    int32_t high;
};
static int low_below_high(const void *value, struct proa_error *err)
{
    const struct limited *l = value;

    if (l->low <= l->high)
        return 0;
    return proa_error_add_field(err, PROA_EVALIDATION, PROA_STR("/low"), "order", "must not be above high");
}
PROA_DESCRIBE_WITH(limited, (.check = low_below_high), (id, u64, .read_only = true), (low, i32, PROA_RANGE(0, 10)),
                   (high, i32));

static void the_result_is_validated(void **state)
{
    struct bench *b = *state;
    struct limited l = {.id = 7, .low = 1, .high = 5};

    assert_int_equal(proa_json_merge(&b->arena, PROA_STR("{\"low\":6,\"id\":8}"), &limited_type, &l, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/low order;");
    assert_int_equal(l.low, 1);
    proa_error_clear(&b->err);
    assert_int_equal(proa_json_merge(&b->arena,
                                     PROA_STR("{\"low\":11,\"high\":\"\",\"z\":1,\"low\":1,\"id\":\"free\"}"),
                                     &limited_type, &l, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/low max;/high type;/z unknown;/low duplicate;");
    proa_error_clear(&b->err);
    assert_int_equal(proa_json_merge(&b->arena, PROA_STR("{\"low\":5,\"id\":8}"), &limited_type, &l, &b->err), 0);
    assert_int_equal(l.low, 5);
    assert_int_equal(l.id, 7);
    assert_int_equal(proa_json_merge(&b->arena, PROA_STR("[]"), &limited_type, &l, &b->err), PROA_EVALIDATION);
    assert_int_equal(proa_json_merge(&b->arena, PROA_STR("{"), &limited_type, &l, &b->err), PROA_ESYNTAX);
}

struct tolerant {
    int32_t a;
};
PROA_DESCRIBE_WITH(tolerant, (.unknown = PROA_UNKNOWN_IGNORE), (a, i32));
struct tolerant_in {
    struct tolerant in;
};
PROA_DESCRIBE(tolerant_in, (in, object(tolerant)));

/* Also of members that the description does not know and ignores: a patch is JSON like any other. */
static void doubled_members(void **state)
{
    static const char *const cases[][2] = {
        {"{\"in\":{\"x\":1,\"x\":2}}", "/in/x duplicate;"},
        {"{\"in\":{\"x\":1,\"a\":2,\"y\":{\"z\":1,\"z\":1}}}", "/in/y/z duplicate;"},
        {"{\"in\":{\"a\":1,\"x\":1,\"a\":2}}", "/in/a duplicate;"},
        {"{\"in\":{\"a\":1},\"in\":{\"a\":1}}", "/in duplicate;"},
    };
    struct bench *b = *state;
    struct tolerant_in v = {{5}};

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        proa_error_clear(&b->err);
        assert_int_equal(proa_json_merge(&b->arena, proa_str_c(cases[i][0]), &tolerant_in_type, &v, &b->err),
                         PROA_EVALIDATION);
        assert_string_equal(broken(b), cases[i][1]);
        assert_int_equal(v.in.a, 5);
    }
    proa_error_clear(&b->err);
    assert_int_equal(
        proa_json_merge(&b->arena, PROA_STR("{\"in\":{\"x\":1,\"a\":6,\"y\":2}}"), &tolerant_in_type, &v, &b->err), 0);
    assert_int_equal(v.in.a, 6);
}

static void memory_that_is_out(void **state)
{
    struct bench *b = *state;
    struct everything v;

    start(b, &v, EVERYTHING_JSON);
    for (size_t max = 16; max < 16384; max += 128) {
        struct proa_arena arena;
        struct everything copy = v;
        struct proa_error err = {0};
        int rc;

        proa_arena_init(&arena, NULL, max);
        rc = proa_json_merge(&arena, PROA_STR(EVERYTHING_JSON), &everything_type, &copy, &err);
        assert_true(rc == 0 || rc == PROA_ENOMEM);
        if (rc < 0)
            assert_memory_equal(&copy, &v, sizeof v);
        proa_arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(members_are_replaced),    bench_test(null_removes),       bench_test(absent_objects_begin_anew),
        bench_test(dictionaries_are_merged), bench_test(raw_json_is_merged), bench_test(the_result_is_validated),
        bench_test(memory_that_is_out),      bench_test(doubled_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
