/* The rules of descriptions on structs in memory, and the same when JSON is read. */
#include "everything.h"

#include <math.h>
#include <pthread.h>

struct ruled {
    int64_t i64;
    uint64_t u64;
    uint64_t huge;
    double f64;
    proa_str text;
    proa_str code;
    proa_str bytes;
    struct proa_duration wait;
    struct proa_quantity room;
    PROA_ARRAY_OF(proa_str) tags;
    PROA_ARRAY_OF(int32_t) few;
    PROA_ARRAY_OF(struct point) points;
    PROA_MAP_OF(proa_str) labels;
    enum color color;
    PROA_OPTIONAL(proa_str) email;
};
PROA_DESCRIBE(ruled, (i64, i64, PROA_RANGE(-5.5, 9007199254740993.0), .default_json = "0"),
              (u64, u64, PROA_MIN(1), .default_json = "1"),
              (huge, u64, PROA_MAX(18446744073709551615.0), .default_json = "0"),
              (f64, f64, PROA_RANGE(-1.5, 1.5), .default_json = "0"),
              (text, str, .min_len = 2, .max_len = 3, .default_json = "\"ab\""),
              (code, str, .pattern = "^[A-Z]{2}-[0-9]+$", .default_json = "\"AB-1\""),
              (bytes, bytes, .min_len = 1, .max_len = 2, .default_json = "\"AAA=\""),
              (wait, duration, PROA_RANGE(1, 10), .default_json = "\"1s\""),
              (room, quantity, PROA_MIN(1024), .default_json = "\"1Ki\""),
              (tags, array(str), .unique_items = true, .max_items = 40, .max_len = 4, .default_json = "[]"),
              (few, array(i32), .min_items = 1, .max_items = 2, PROA_MIN(0), .default_json = "[1]"),
              (points, array(object(point)), .unique_items = true, .default_json = "[]"),
              (labels, map(str), .max_items = 1, .pattern = "^v", .default_json = "{}"),
              (color, enumeration(color), .default_json = "\"red\""),
              (email, optional(str), .format = PROA_FORMAT_EMAIL));

static void good(struct bench *b, struct ruled *r)
{
    assert_int_equal(proa_type_defaults(&b->arena, &ruled_type.type, r, &b->err), 0);
    proa_error_clear(&b->err);
}

static void breaks(struct bench *b, const struct ruled *r, const char *expected)
{
    proa_error_clear(&b->err);
    assert_int_equal(proa_validate(&ruled_type, r, &b->err), *expected ? PROA_EVALIDATION : 0);
    assert_string_equal(broken(b), expected);
}

static void every_rule(void **state)
{
    struct bench *b = *state;
    struct ruled r, ok;
    int32_t numbers[] = {0, 1, -1};

    good(b, &ok);
    breaks(b, &ok, "");
#define BREAK(change, expected)                                                                                        \
    r = ok;                                                                                                            \
    change;                                                                                                            \
    breaks(b, &r, expected)
    BREAK(r.i64 = -6, "/i64 min;");
    BREAK(r.i64 = -5, "");
    BREAK(r.i64 = INT64_C(9007199254740992), "");
    BREAK(r.i64 = INT64_C(9007199254740993), "/i64 max;"); /* the double is …992 */
    BREAK(r.i64 = INT64_MIN, "/i64 min;");
    BREAK(r.i64 = INT64_MAX, "/i64 max;");
    BREAK(r.u64 = 0, "/u64 min;");
    BREAK(r.u64 = UINT64_MAX, "");
    BREAK(r.huge = UINT64_MAX, "");
    BREAK(r.f64 = 1.6, "/f64 max;");
    BREAK(r.f64 = -1.6, "/f64 min;");
    BREAK(r.f64 = NAN, "/f64 type;");
    BREAK(r.f64 = INFINITY, "/f64 type;");
    BREAK(r.text = PROA_STR("a"), "/text min_length;");
    BREAK(r.text = PROA_STR("abcd"), "/text max_length;");
    BREAK(r.text = PROA_STR("\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"), "");
    BREAK(r.text = PROA_STR("\xf0\x9f\x98\x80"), "/text min_length;");
    BREAK(r.text = PROA_STR("a\xff"), "/text encoding;");
    BREAK(r.text = proa_str_n("a\0b", 3), "/text character;");
    BREAK(r.text = proa_str_n(NULL, 0), "/text min_length;");
    BREAK(r.code = PROA_STR("AB-"), "/code pattern;");
    BREAK(r.bytes = PROA_STR(""), "/bytes min_length;");
    BREAK(r.bytes = PROA_STR("\xff\xff\xff"), "/bytes max_length;");
    BREAK(r.wait.ns = 999999999, "/wait min;");
    BREAK(r.wait.ns = UINT64_C(10000000001), "/wait max;");
    BREAK(r.room.bytes = 1023, "/room min;");
    BREAK(r.color = (enum color)9, "/color enum;");
    BREAK(r.few.len = 0, "/few min_items;");
    BREAK((r.few.ptr = numbers, r.few.len = 3), "/few/2 min;/few max_items;");
    BREAK((r.email.presence = PROA_SET, r.email.value = PROA_STR("nobody")), "/email format;");
    BREAK((r.email.presence = PROA_NULL, r.email.value = PROA_STR("nobody")), "");
#undef BREAK
    assert_int_equal(proa_validate(&ruled_type, &ok, NULL), 0);
}

static void read(struct bench *b, const char *json, const char *expected)
{
    struct ruled r;

    proa_error_clear(&b->err);
    assert_int_equal(proa_json_read(&b->arena, proa_str_c(json), 0, &ruled_type, &r, &b->err),
                     *expected ? PROA_EVALIDATION : 0);
    assert_string_equal(broken(b), expected);
    if (!*expected)
        breaks(b, &r, "");
}

static void items(void **state)
{
    struct bench *b = *state;
    struct proa_buf many;

    read(b, "{\"tags\":[\"a\",\"b\",\"a\"]}", "/tags unique_items;");
    read(b, "{\"tags\":[\"a\",\"b\",\"longer\"]}", "/tags/2 max_length;");
    read(b, "{\"points\":[{\"x\":1},{\"x\":1,\"y\":0}]}", "/points unique_items;");
    read(b, "{\"points\":[{\"x\":1},{\"x\":1,\"label\":null}]}", "");
    read(b, "{\"labels\":{\"a\":\"v1\"}}", "");
    read(b, "{\"labels\":{\"a\":\"x\"}}", "/labels/a pattern;");
    read(b, "{\"labels\":{\"a\":\"v\",\"b\":\"v\"}}", "/labels max_items;");
    read(b, "{\"few\":[1,2,3]}", "/few max_items;");
    read(b, "{\"few\":[]}", "/few min_items;");
    proa_buf_init(&many, &b->arena, 0);
    proa_buf_add_c(&many, "{\"tags\":[\"x\"");
    for (int i = 0; i < 30; i++)
        proa_buf_printf(&many, ",\"%d\"", i);
    proa_buf_add_c(&many, "]}");
    proa_buf_add_char(&many, '\0');
    read(b, many.ptr, "");
    many.len -= 3;
    proa_buf_add_c(&many, ",\"17\"]}");
    proa_buf_add_char(&many, '\0');
    read(b, many.ptr, "/tags unique_items;");
}

struct inner {
    int32_t from;
    int32_t to;
};
static int in_order(const void *value, struct proa_error *err)
{
    const struct inner *inner = value;

    if (inner->from > inner->to)
        return proa_error_add_field(err, PROA_EVALIDATION, PROA_STR("/from"), "order", "must not be above to");
    if (inner->from == 13)
        return PROA_EVALIDATION; /* says nothing */
    if (inner->from == 14)
        return proa_fail(err, PROA_EVALIDATION, "14 is not liked");
    return 0;
}
PROA_DESCRIBE_WITH(inner, (.check = in_order), (from, i32, PROA_MIN(0)), (to, i32));
struct outer {
    struct inner one;
    PROA_ARRAY_OF(struct inner) list;
};
PROA_DESCRIBE(outer, (one, object(inner)), (list, array(object(inner)), .default_json = "[]"));

static void checks_of_nested_types_point_into_the_document(void **state)
{
    struct bench *b = *state;
    struct inner list[] = {{0, 1}, {3, 1}, {13, 14}};
    struct outer o = {.one = {2, 1}};

    o.list.ptr = list;
    o.list.len = 3;
    assert_int_equal(proa_validate(&outer_type, &o, &b->err), PROA_EVALIDATION);
    assert_string_equal(broken(b), "/one/from order;/list/1/from order;/list/2 check;");
    assert_string_equal(b->err.pointer, "/one/from");
    proa_error_clear(&b->err);
    /* Its rules are broken: the check is not asked. */
    assert_int_equal(
        proa_json_read(&b->arena, PROA_STR("{\"one\":{\"from\":-1,\"to\":-2}}"), 0, &outer_type, &o, &b->err),
        PROA_EVALIDATION);
    assert_string_equal(broken(b), "/one/from min;");
    proa_error_clear(&b->err);
    assert_int_equal(proa_json_read(&b->arena, PROA_STR("{\"one\":{\"from\":1,\"to\":0}}"), PROA_JSON_PARTIAL,
                                    &outer_type, &o, &b->err),
                     0);
    b->err.arena = NULL;
    o = (struct outer){.one = {2, 1}};
    assert_int_equal(proa_validate(&outer_type, &o, &b->err), PROA_EVALIDATION);
    assert_string_equal(b->err.pointer, "/one/from");
    assert_int_equal(proa_validate(&outer_type, &o, NULL), PROA_EVALIDATION);
}

/* proa_fail starts an error anew; what was found before stays all the same. */
static void checks_may_say_it_in_a_sentence(void **state)
{
    struct bench *b = *state;
    struct inner list[] = {{3, 1}, {14, 15}, {4, 2}};
    struct outer o = {.one = {0, 1}};

    o.list.ptr = list;
    o.list.len = 2;
    assert_int_equal(proa_validate(&outer_type, &o, &b->err), PROA_EVALIDATION);
    assert_string_equal(broken(b), "/list/0/from order;/list/1 check;");
    assert_string_equal(b->err.pointer, "/list/0/from");
    assert_str_is(b->err.fields_tail->detail, "14 is not liked");
    proa_error_clear(&b->err);
    o.list.ptr = list + 1;
    assert_int_equal(proa_validate(&outer_type, &o, &b->err), PROA_EVALIDATION);
    assert_string_equal(broken(b), "/list/0 check;/list/1/from order;");
    assert_string_equal(b->err.message, "14 is not liked");
    proa_error_clear(&b->err);
    assert_int_equal(proa_json_read(&b->arena,
                                    PROA_STR("{\"one\":{\"from\":-1,\"to\":1},\"list\":[{\"from\":14,\"to\":15}]}"), 0,
                                    &outer_type, &o, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/one/from min;/list/0 check;");
}

static void messages_are_for_people(void **state)
{
    struct bench *b = *state;
    struct ruled r;

    good(b, &r);
    r.u64 = 0;
    assert_int_equal(proa_validate(&ruled_type, &r, &b->err), PROA_EVALIDATION);
    assert_str_is(b->err.fields->detail, "must be at least 1");
    read(b, "{\"color\":\"pink\"}", "/color enum;");
    assert_str_is(b->err.fields->detail, "must be one of: red, green, blue");
    read(b, "{\"text\":\"a\"}", "/text min_length;");
    assert_str_is(b->err.fields->detail, "must have at least 2 characters");
    read(b, "{\"code\":\"a\"}", "/code pattern;");
    assert_str_is(b->err.fields->detail, "must match ^[A-Z]{2}-[0-9]+$");
}

static void patterns_of_hand_written_descriptions(void **state)
{
    struct bench *b = *state;
    struct proa_field fields[2];
    struct proa_type type = ruled_type.type;
    struct ruled r;

    good(b, &r);
    fields[0] = *proa_type_find(&ruled_type.type, PROA_STR("code"), NULL);
    assert_non_null(fields[0].pattern_once->compiled);
    fields[0].pattern_once = NULL;
    type.fields = fields;
    type.fields_count = 1;
    assert_int_equal(proa_validate_type(&type, &r, &b->err), 0);
    r.code = PROA_STR("x");
    assert_int_equal(proa_validate_type(&type, &r, &b->err), PROA_EVALIDATION);
    fields[0].pattern = "(";
    proa_error_clear(&b->err);
    assert_int_equal(proa_validate_type(&type, &r, &b->err), PROA_EVALIDATION);
    assert_string_equal(broken(b), "/code pattern;");
}

struct shared {
    proa_str name;
};
PROA_DESCRIBE(shared, (name, str, .pattern = "^[a-z]{3}$"));

static void *validate_often(void *arg)
{
    const struct shared good = {PROA_STR_INIT("abc")}, bad = {PROA_STR_INIT("abcd")};

    for (int i = 0; i < 1000; i++)
        if (proa_validate(&shared_type, &good, NULL) != 0 || proa_validate(&shared_type, &bad, NULL) == 0)
            return arg;
    return NULL;
}

/* For the thread sanitizer: the first check of each thread may be the one that compiles. */
static void threads_share_a_pattern(void **state)
{
    pthread_t threads[4];
    void *result;

    for (size_t i = 0; i < PROA_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, validate_often, threads), 0);
    for (size_t i = 0; i < PROA_COUNT(threads); i++) {
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(every_rule),
        bench_test(items),
        bench_test(checks_of_nested_types_point_into_the_document),
        bench_test(checks_may_say_it_in_a_sentence),
        bench_test(messages_are_for_people),
        bench_test(patterns_of_hand_written_descriptions),
        bench_test(threads_share_a_pattern),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
