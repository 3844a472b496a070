/* Reading JSON by description: kinds, limits of C types, strictness, pointers, all broken rules at once. */
#include "everything.h"

#include <proa/fiber.h>

#include <math.h>
#include <stdlib.h>

static int read_all(struct bench *b, const char *json, unsigned flags, struct everything *value)
{
    proa_error_clear(&b->err);
    return proa_json_read(&b->arena, proa_str_c(json), flags, &everything_type, value, &b->err);
}

static void every_kind_is_read(void **state)
{
    struct bench *b = *state;
    struct everything v = {0};

    assert_int_equal(read_all(b, EVERYTHING_JSON, 0, &v), 0);
    assert_true(v.flag);
    assert_int_equal(v.i8, INT8_MIN);
    assert_int_equal(v.i16, INT16_MIN);
    assert_int_equal(v.i32, INT32_MIN);
    assert_true(v.i64 == INT64_MIN);
    assert_int_equal(v.u8, UINT8_MAX);
    assert_int_equal(v.u16, UINT16_MAX);
    assert_int_equal(v.u32, UINT32_MAX);
    assert_true(v.u64 == UINT64_MAX);
    assert_true(v.f64 == 1.25);
    assert_str_is(v.text, "a\"\x01\xc3\xa4");
    assert_str_is(v.raw, "{\"a\":[1,null]}");
    assert_int_equal(v.bytes.len, 3);
    assert_memory_equal(v.bytes.ptr, "\0\1\2", 3);
    assert_true(v.when == INT64_C(1767323045678000000));
    assert_true(v.wait.ns == UINT64_C(90000000000));
    assert_int_equal(v.room.bytes, 1048576);
    assert_int_equal(v.color, COLOR_BLUE);
    assert_int_equal(v.at.y, 2);
    assert_int_equal(v.at.label.presence, PROA_NULL);
    assert_int_equal(v.numbers.len, 2);
    assert_int_equal(v.numbers.ptr[1], -2);
    assert_int_equal(v.points.len, 1);
    assert_int_equal(v.points.ptr[0].label.presence, PROA_ABSENT);
    assert_int_equal(v.labels.len, 1);
    assert_str_is(v.labels.ptr[0].key, "k");
    assert_str_is(v.labels.ptr[0].value, "v");
    assert_str_is(v.places.ptr[0].value.label.value, "l");
    assert_int_equal(v.maybe.presence, PROA_NULL);
    assert_int_equal(v.maybe_at.presence, PROA_SET);
    assert_int_equal(v.maybe_at.value.x, 7);
    assert_int_equal(v.maybe_color.value, COLOR_RED);
    assert_int_equal(v.maybe_list.value.len, 2);
    assert_true(v.maybe_map.value.ptr[0].value == -1);
    assert_str_is(v.maybe_raw.value, "[true]");
}

static void defaults_are_given(void **state)
{
    struct bench *b = *state;
    struct everything v = {0};

    assert_int_equal(read_all(b, "{}", 0, &v), 0);
    assert_true(v.f64 == 0.5);
    assert_int_equal(v.room.bytes, 1024);
    assert_int_equal(v.color, COLOR_GREEN);
    assert_int_equal(v.at.x, 1);
    assert_int_equal(v.maybe.presence, PROA_ABSENT);
    assert_str_is(v.raw, "null");
    assert_int_equal(v.labels.len, 0);
    v.i32 = 7;
    assert_int_equal(read_all(b, "{\"i32\":9}", PROA_JSON_PARTIAL, &v), 0);
    assert_int_equal(v.i32, 9);
    assert_true(v.f64 == 0.0); /* no default in a partial text */
    assert_int_equal(proa_type_defaults(&b->arena, &everything_type.type, &v, &b->err), 0);
    assert_int_equal(v.room.bytes, 1024);
    assert_int_equal(v.i32, 0);
}

static void numbers_must_fit(void **state)
{
    static const struct {
        const char *json, *broken;
    } cases[] = {
        {"{\"i8\":128}", "/i8 range;"},
        {"{\"i8\":-129}", "/i8 range;"},
        {"{\"u8\":256}", "/u8 range;"},
        {"{\"u8\":-1}", "/u8 range;"},
        {"{\"i16\":32768}", "/i16 range;"},
        {"{\"u16\":65536}", "/u16 range;"},
        {"{\"i32\":2147483648}", "/i32 range;"},
        {"{\"u32\":4294967296}", "/u32 range;"},
        {"{\"u32\":18446744073709551615}", "/u32 range;"},
        {"{\"i64\":9223372036854775808}", "/i64 range;"},
        {"{\"i64\":-9223372036854775809}", "/i64 range;"},
        {"{\"u64\":18446744073709551616}", "/u64 range;"},
        {"{\"u64\":-1}", "/u64 range;"},
        {"{\"u64\":1e400}", "/u64 range;"},
        {"{\"u64\":1e19}", "/u64 range;"},
        {"{\"u64\":9007199254740993.0}", "/u64 range;"}, /* as a double it is …992 */
        {"{\"i64\":-9007199254740993.0}", "/i64 range;"},
        {"{\"i32\":1.5}", "/i32 type;"},
        {"{\"i32\":\"1\"}", "/i32 type;"},
        {"{\"i32\":null}", "/i32 type;"},
        {"{\"f64\":1e400}", "/f64 range;"},
        {"{\"f64\":-1e400}", "/f64 range;"},
        {"{\"f64\":\"1\"}", "/f64 type;"},
        {"{\"flag\":1}", "/flag type;"},
        {"{\"text\":1}", "/text type;"},
        {"{\"text\":\"a\\u0000\"}", "/text character;"},
        {"{\"color\":\"pink\"}", "/color enum;"},
        {"{\"color\":1}", "/color type;"},
        {"{\"bytes\":\"A\"}", "/bytes format;"},
        {"{\"when\":\"yesterday\"}", "/when format;"},
        {"{\"wait\":\"10\"}", "/wait format;"},
        {"{\"room\":\"10X\"}", "/room format;"},
        {"{\"room\":-1}", "/room type;"},
        {"{\"at\":1}", "/at type;"},
        {"{\"numbers\":{}}", "/numbers type;"},
        {"{\"labels\":[]}", "/labels type;"},
        {"{\"labels\":{\"a/b~c\":1}}", "/labels/a~1b~0c type;"},
        {"{\"points\":[{\"x\":1},{\"x\":\"\"}]}", "/points/1/x type;"},
        {"{\"at\":{}}", "/at/x required;"},
        {"{\"at\":{\"x\":1,\"label\":\"toolong\"}}", "/at/label max_length;"},
        {"[]", " type;"},
        {"1", " type;"},
    };
    struct bench *b = *state;
    struct everything v;

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        memset(&v, 0x55, sizeof v);
        if (read_all(b, cases[i].json, 0, &v) != PROA_EVALIDATION)
            fail_msg("%s", cases[i].json);
        assert_string_equal(broken(b), cases[i].broken);
        assert_int_equal(((unsigned char *)&v)[0], 0x55); /* untouched */
    }
}

static void whole_numbers_may_have_a_point(void **state)
{
    struct bench *b = *state;
    struct everything v = {0};

    assert_int_equal(read_all(b, "{\"i32\":1.0,\"u64\":1e3,\"i64\":-2.0,\"u8\":-0.0}", 0, &v), 0);
    assert_int_equal(v.i32, 1);
    assert_int_equal(v.u64, 1000);
    assert_int_equal(v.i64, -2);
    assert_int_equal(v.u8, 0);
    assert_int_equal(read_all(b, "{\"f64\":123456789012345678901234567890}", 0, &v), 0);
    assert_true(v.f64 == 123456789012345678901234567890.0);
    /* The sign of zero comes back, too. */
    assert_int_equal(read_all(b, "{\"f64\":-0}", 0, &v), 0);
    assert_true(v.f64 == 0 && signbit(v.f64));
    assert_int_equal(read_all(b, "{\"f64\":-0.0}", 0, &v), 0);
    assert_true(v.f64 == 0 && signbit(v.f64));
}

static void all_broken_rules_at_once(void **state)
{
    struct bench *b = *state;
    struct everything v = {0};

    assert_int_equal(
        read_all(b, "{\"i8\":1000,\"what\":1,\"i8\":1,\"at\":{\"z\":1},\"points\":[1,{\"y\":true}]}", 0, &v),
        PROA_EVALIDATION);
    assert_string_equal(broken(b), "/i8 range;/what unknown;/i8 duplicate;/at/z unknown;/at/x required;/points/0 type;"
                                   "/points/1/y type;/points/1/x required;");
    assert_int_equal(b->err.fields_count, 8);
    assert_string_equal(b->err.pointer, "/i8");
    b->err.arena = NULL;
    assert_int_equal(read_all(b, "{\"i8\":1000,\"what\":1}", 0, &v), PROA_EVALIDATION);
    assert_string_equal(b->err.pointer, "/i8");
    assert_int_equal(proa_json_read(&b->arena, PROA_STR("{\"i8\":1000}"), 0, &everything_type, &v, NULL),
                     PROA_EVALIDATION);
}

static void syntax_errors_name_their_place(void **state)
{
    static const struct {
        const char *json, *pointer, *line;
    } cases[] = {
        {"", "", "line 1, column 1"},
        {"{", "", "line 1"},
        {"{\"a\":1,\n \"b\": [1, 2, x]}", "/b/2", "line 2, column 14"},
        {"{\"a\":\"\xff\"}", "/a", "line 1"},
        {"{\"a\":{\"b\":[0,\"\\ud800\"]}}", "/a/b/1", "line 1"},
        {"{\"a\":\"\\udc00\\ud800\"}", "/a", "line 1"},
        {"{\"a\":\"\x01\"}", "/a", "line 1"},
        {"{\"a\":01}", "/a", "line 1"},
        {"{\"a\":+1}", "/a", "line 1"},
        {"{\"a\":NaN}", "/a", "line 1"},
        {"{\"a\":1,}", "/a", "line 1"},
        {"{\"a\":1}x", "", "line 1"},
        {"{\"a\\\"b\":tru}", "/a\\\"b", "line 1"},
        {"// hi\n{}", "", "line 1"},
        {"\xef\xbb\xbf{}", "", "line 1"},
    };
    struct bench *b = *state;
    struct everything v;

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        assert_int_equal(read_all(b, cases[i].json, 0, &v), PROA_ESYNTAX);
        assert_int_equal(b->err.code, PROA_ESYNTAX);
        assert_string_equal(b->err.pointer, cases[i].pointer);
        assert_non_null(strstr(b->err.message, cases[i].line));
        assert_int_equal(proa_json_read(&b->arena, proa_str_c(cases[i].json), 0, &everything_type, &v, NULL),
                         PROA_ESYNTAX);
    }
}

struct tolerant {
    int32_t a;
};
PROA_DESCRIBE_WITH(tolerant, (.unknown = PROA_UNKNOWN_IGNORE), (a, i32));

static void unknown_members_by_policy(void **state)
{
    struct bench *b = *state;
    struct tolerant t;
    struct point p;

    assert_int_equal(proa_json_read(&b->arena, PROA_STR("{\"b\":{\"c\":[1]},\"a\":1}"), 0, &tolerant_type, &t, &b->err),
                     0);
    assert_int_equal(proa_json_read(&b->arena, PROA_STR("{\"b\":1,\"a\":1,\"b\":2}"), 0, &tolerant_type, &t, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/b duplicate;");
    proa_error_clear(&b->err);
    assert_int_equal(
        proa_json_read(&b->arena, PROA_STR("{\"b\":{\"c\":1,\"c\":2},\"a\":1}"), 0, &tolerant_type, &t, &b->err),
        PROA_EVALIDATION);
    assert_string_equal(broken(b), "/b/c duplicate;");
    proa_error_clear(&b->err);
    assert_int_equal(
        proa_json_read(&b->arena, PROA_STR("{\"q\":1,\"x\":1}"), PROA_JSON_LENIENT, &point_type, &p, &b->err), 0);
    assert_int_equal(proa_json_read(&b->arena, PROA_STR("{\"q\":1,\"x\":1}"), 0, &point_type, &p, &b->err),
                     PROA_EVALIDATION);
}

struct message {
    PROA_ARRAY_OF(int32_t) items;
    PROA_MAP_OF(proa_str) labels;
    proa_str text;
    PROA_OPTIONAL(bool) flag;
    int32_t needed;
};
PROA_DESCRIBE(message, (items, array(i32), .default_json = "[]"), (labels, map(str), .default_json = "{}"),
              (text, str, .default_json = "\"none\""), (flag, optional(boolean)), (needed, i32));

static void null_is_absent_in_messages_of_others(void **state)
{
    const proa_str nulls = PROA_STR("{\"items\":null,\"labels\":null,\"text\":null,\"flag\":null,\"needed\":1}");
    struct bench *b = *state;
    struct message m;

    assert_int_equal(proa_json_read(&b->arena, nulls, PROA_JSON_LENIENT, &message_type, &m, &b->err), 0);
    assert_true(m.items.len == 0 && m.labels.len == 0);
    assert_str_is(m.text, "none");
    assert_int_equal(m.flag.presence, PROA_NULL);
    assert_int_equal(proa_json_read(&b->arena, nulls, 0, &message_type, &m, &b->err), PROA_EVALIDATION);
    proa_error_clear(&b->err);
    /* What has no default must be there. */
    assert_int_equal(
        proa_json_read(&b->arena, PROA_STR("{\"needed\":null}"), PROA_JSON_LENIENT, &message_type, &m, &b->err),
        PROA_EVALIDATION);
}

struct account {
    uint64_t id;
    proa_str name;
    proa_str password;
    uint32_t version;
};
PROA_DESCRIBE(account, (id, u64, .read_only = true), (name, str), (password, str, .write_only = true),
              (version, u32, .read_only = true, .default_json = "3"));

static void read_only_members_are_skipped_in_input(void **state)
{
    struct bench *b = *state;
    struct account a = {0};

    assert_int_equal(proa_json_read(&b->arena,
                                    PROA_STR("{\"id\":\"x\",\"version\":9,\"name\":\"n\",\"password\":\"p\"}"),
                                    PROA_JSON_INPUT, &account_type, &a, &b->err),
                     0);
    assert_int_equal(a.id, 0);
    assert_int_equal(a.version, 3);
    assert_str_is(a.password, "p");
    assert_int_equal(proa_json_read(&b->arena, PROA_STR("{\"id\":1,\"id\":2,\"name\":\"n\"}"), PROA_JSON_INPUT,
                                    &account_type, &a, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/id duplicate;/password required;");
    proa_error_clear(&b->err);
    assert_int_equal(
        proa_json_read(&b->arena, PROA_STR("{\"name\":\"n\",\"password\":\"p\"}"), 0, &account_type, &a, &b->err),
        PROA_EVALIDATION);
    assert_string_equal(broken(b), "/id required;");
}

static char *nested(size_t levels, char open, char close)
{
    char *text = malloc(2 * levels + 1);

    assert_non_null(text);
    memset(text, open, levels);
    memset(text + levels, close, levels);
    text[2 * levels] = '\0';
    return text;
}

static void depth_is_bounded(void **state)
{
    struct bench *b = *state;
    char *fits = nested(64, '[', ']'), *deeper = nested(65, '[', ']'), *hostile = nested(300000, '[', ']');

    assert_int_equal(proa_json_check(proa_str_c(fits), &b->err), 0);
    assert_int_equal(proa_json_check(proa_str_c(deeper), &b->err), PROA_EVALIDATION);
    assert_non_null(strstr(b->err.message, "nested deeper"));
    proa_error_clear(&b->err);
    assert_int_equal(proa_json_check(proa_str_c(hostile), &b->err), PROA_EVALIDATION);
    hostile[300000] = '\0'; /* unfinished */
    assert_int_equal(proa_json_check(proa_str_c(hostile), &b->err), PROA_ESYNTAX);
    free(fits);
    free(deeper);
    free(hostile);
}

struct holder {
    proa_str raw;
};
PROA_DESCRIBE_WITH(holder, (.unknown = PROA_UNKNOWN_IGNORE), (raw, raw, .default_json = "null"));

/* The deepest documents that are taken, and ones that break a rule at the bottom, on a stack of 64 KiB. */
static int read_deep(void *arg)
{
    struct bench *b = arg;
    char *list = nested(62, '[', ']');
    struct proa_buf json;
    struct holder holder = {PROA_STR("{}")};

    proa_buf_init(&json, &b->arena, 0);
    proa_buf_printf(&json, "{\"other\":%s,\"raw\":", list);
    for (int i = 0; i < 62; i++)
        proa_buf_add_c(&json, "{\"a/b\":");
    proa_buf_add_c(&json, "1");
    for (int i = 0; i < 63; i++)
        proa_buf_add_char(&json, '}');
    assert_int_equal(proa_json_read(&b->arena, proa_buf_str(&json), 0, &holder_type, &holder, &b->err), 0);
    assert_int_equal(proa_json_merge(&b->arena, proa_buf_str(&json), &holder_type, &holder, &b->err), 0);
    json.len -= 64;
    proa_buf_add_c(&json, "{\"d\":1,\"d\":[[1]]}");
    for (int i = 0; i < 63; i++)
        proa_buf_add_char(&json, '}');
    assert_int_equal(proa_json_read(&b->arena, proa_buf_str(&json), 0, &holder_type, &holder, &b->err),
                     PROA_EVALIDATION);
    assert_int_equal(b->err.fields->pointer.len, strlen("/raw") + 62 * strlen("/a~1b") + strlen("/d"));
    free(list);
    return 0;
}

static void deep_documents_fit_a_fibers_stack(void **state)
{
    struct proa_loop *loop;

    assert_int_equal(proa_loop_new(NULL, &loop), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, read_deep, *state), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_loop_free(loop);
}

static void hostile_documents_stay_linear(void **state)
{
    struct bench *b = *state;
    struct tolerant t;
    struct proa_buf json = {0};

    /* A hundred thousand members, all unknown, the last one doubled. */
    proa_buf_add_c(&json, "{\"a\":1");
    for (int i = 0; i < 100000; i++)
        proa_buf_printf(&json, ",\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%d\":0", i);
    proa_buf_add_c(&json, ",\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa77777\":0}");
    assert_int_equal(proa_json_read(&b->arena, proa_buf_str(&json), 0, &tolerant_type, &t, &b->err), PROA_EVALIDATION);
    assert_string_equal(broken(b), "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa77777 duplicate;");
    proa_error_clear(&b->err);
    assert_int_equal(proa_json_read(&b->arena, proa_buf_str(&json), 0, &point_type, &(struct point){0}, &b->err),
                     PROA_EVALIDATION);
    assert_int_equal(b->err.fields_count, 100003);
    proa_buf_done(&json);
}

static void pointers_of_long_keys(void **state)
{
    struct bench *b = *state;
    struct proa_buf json = {0};
    struct everything v;

    proa_buf_add_c(&json, "{\"labels\":{\"");
    for (int i = 0; i < 1000; i++)
        proa_buf_add_c(&json, "/~");
    proa_buf_add_c(&json, "\":1}}");
    assert_int_equal(proa_json_read(&b->arena, proa_buf_str(&json), 0, &everything_type, &v, &b->err),
                     PROA_EVALIDATION);
    assert_int_equal(b->err.fields->pointer.len, strlen("/labels/") + 4000);
    proa_buf_consume(&json, strlen("{\"labels\":{\""));
    assert_int_equal(strlen(b->err.pointer), PROA_ERROR_POINTER_MAX - 1);
    proa_buf_clear(&json);
    proa_buf_add_c(&json, "{\"labels\":{\"");
    for (int i = 0; i < 5000; i++)
        proa_buf_add_c(&json, "x");
    proa_buf_add_c(&json, "\":1}}");
    proa_error_clear(&b->err);
    assert_int_equal(proa_json_read(&b->arena, proa_buf_str(&json), 0, &everything_type, &v, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/labels type;"); /* of the nearest value that fits */
    proa_buf_done(&json);
}

static void large_texts_leave_the_heap(void **state)
{
    struct bench *b = *state;
    struct proa_buf json = {0};
    struct everything v;

    proa_buf_add_c(&json, "{\"numbers\":[0");
    for (int i = 1; i < 20000; i++)
        proa_buf_printf(&json, ",%d", i);
    proa_buf_add_c(&json, "]}");
    assert_int_equal(proa_json_read(&b->arena, proa_buf_str(&json), 0, &everything_type, &v, &b->err), 0);
    assert_int_equal(v.numbers.len, 20000);
    assert_int_equal(v.numbers.ptr[19999], 19999);
    proa_buf_done(&json);
}

static void memory_that_is_out(void **state)
{
    struct bench *b = *state;
    struct everything v;

    for (size_t max = 16; max < 16384; max += 64) {
        struct proa_arena arena;
        struct proa_error err = {0};
        int rc;

        proa_arena_init(&arena, NULL, max);
        rc = proa_json_read(&arena, PROA_STR(EVERYTHING_JSON), 0, &everything_type, &v, &err);
        assert_true(rc == 0 || rc == PROA_ENOMEM);
        proa_arena_done(&arena);
    }
    assert_int_equal(read_all(b, EVERYTHING_JSON, 0, &v), 0);
}

static void single_fields(void **state)
{
    struct bench *b = *state;
    struct everything v = {.u8 = 7};
    const struct proa_type *type = &everything_type.type;
    const struct proa_field *u8 = proa_type_find(type, PROA_STR("u8"), NULL),
                            *list = proa_type_find(type, PROA_STR("maybe_list"), NULL);

    assert_int_equal(proa_json_read_field(&b->arena, PROA_STR("200"), 0, u8, &v, &b->err), 0);
    assert_int_equal(v.u8, 200);
    assert_int_equal(proa_json_read_field(&b->arena, PROA_STR("300"), 0, u8, &v, &b->err), PROA_EVALIDATION);
    assert_int_equal(v.u8, 200);
    assert_int_equal(proa_json_read_field(&b->arena, PROA_STR("[\"a\"]"), 0, list, &v, &b->err), 0);
    assert_int_equal(v.maybe_list.presence, PROA_SET);
    assert_int_equal(v.maybe_list.value.len, 1);
    assert_int_equal(proa_json_read_field(&b->arena, PROA_STR("null"), 0, list, &v, &b->err), 0);
    assert_int_equal(v.maybe_list.presence, PROA_NULL);
    assert_int_equal(proa_json_read_field(&b->arena, PROA_STR("["), 0, list, &v, &b->err), PROA_ESYNTAX);
}

static void check_takes_any_value(void **state)
{
    struct bench *b = *state;

    assert_int_equal(proa_json_check(PROA_STR(" [1, \"a\", {\"k\":null}] "), &b->err), 0);
    assert_int_equal(proa_json_check(PROA_STR("1e400"), &b->err), 0);
    assert_int_equal(proa_json_check(PROA_STR("{\"a\":[{\"b\":1,\"b\":2}]}"), &b->err), PROA_EVALIDATION);
    assert_string_equal(broken(b), "/a/0/b duplicate;");
    assert_int_equal(proa_json_check(PROA_STR("{\"a\":1,\"a\":1}"), NULL), PROA_EVALIDATION);
    assert_int_equal(proa_json_check(PROA_STR("[1 2]"), NULL), PROA_ESYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(every_kind_is_read),
        bench_test(defaults_are_given),
        bench_test(numbers_must_fit),
        bench_test(whole_numbers_may_have_a_point),
        bench_test(all_broken_rules_at_once),
        bench_test(syntax_errors_name_their_place),
        bench_test(unknown_members_by_policy),
        bench_test(null_is_absent_in_messages_of_others),
        bench_test(read_only_members_are_skipped_in_input),
        bench_test(depth_is_bounded),
        bench_test(deep_documents_fit_a_fibers_stack),
        bench_test(hostile_documents_stay_linear),
        bench_test(pointers_of_long_keys),
        bench_test(large_texts_leave_the_heap),
        bench_test(memory_that_is_out),
        bench_test(single_fields),
        bench_test(check_takes_any_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
