/* The writer without a description: commas, nesting, escapes, numbers that JSON has not. */
#include "everything.h"

#include <math.h>

static void a_document_of_all(void **state)
{
    struct bench *b = *state;
    struct proa_json_writer w;
    struct proa_buf out;

    proa_buf_init(&out, &b->arena, 0);
    proa_json_writer_init(&w, &out);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("a"));
    proa_json_array(&w);
    proa_json_u64(&w, UINT64_MAX);
    proa_json_i64(&w, INT64_MIN);
    proa_json_f64(&w, 0.1);
    proa_json_f64(&w, NAN);
    proa_json_f64(&w, -INFINITY);
    proa_json_bool(&w, true);
    proa_json_bool(&w, false);
    proa_json_null(&w);
    proa_json_text(&w, PROA_STR("x"));
    proa_json_raw(&w, PROA_STR("{\"r\":1}"));
    proa_json_array(&w);
    proa_json_array_end(&w);
    proa_json_object(&w);
    proa_json_object_end(&w);
    proa_json_array_end(&w);
    proa_json_key(&w, PROA_STR("k\n"));
    proa_json_null(&w);
    proa_json_object_end(&w);
    assert_str_is(
        proa_buf_str(&out),
        "{\"a\":[18446744073709551615,-9223372036854775808,0.1,null,null,true,false,null,\"x\",{\"r\":1},[],{}],"
        "\"k\\n\":null}");
    assert_int_equal(proa_json_check(proa_buf_str(&out), &b->err), 0);
}

static void single_values(void **state)
{
    struct bench *b = *state;
    struct proa_json_writer w;
    struct proa_buf out;

    proa_buf_init(&out, &b->arena, 0);
    proa_json_writer_init(&w, &out);
    proa_json_text(&w, PROA_STR(""));
    assert_str_is(proa_buf_str(&out), "\"\"");
}

static void invalid_text_is_replaced(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"a\xff"
         "b",
         "\"a\xef\xbf\xbd"
         "b\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"12345678\xc3\xa4\xc3", "\"12345678\xc3\xa4\xef\xbf\xbd\""},
        {"\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    };

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        struct proa_buf out;

        proa_buf_init(&out, &b->arena, 0);
        assert_int_equal(proa_json_escape(&out, proa_str_c(cases[i].text)), 0);
        assert_str_is(proa_buf_str(&out), cases[i].json);
    }
}

static void deep_nesting(void **state)
{
    struct bench *b = *state;
    struct proa_json_writer w;
    struct proa_buf out;

    proa_buf_init(&out, &b->arena, 0);
    proa_json_writer_init(&w, &out);
    for (int i = 0; i < 63; i++) {
        proa_json_array(&w);
        if (i < 62)
            proa_json_u64(&w, 1);
    }
    for (int i = 0; i < 63; i++)
        proa_json_array_end(&w);
    assert_int_equal(out.error, 0);
    assert_int_equal(proa_json_check(proa_buf_str(&out), &b->err), 0);
}

static void a_full_buffer_is_told_at_the_end(void **state)
{
    struct proa_json_writer w;
    struct proa_buf out;

    proa_buf_init(&out, NULL, 8);
    proa_json_writer_init(&w, &out);
    proa_json_array(&w);
    for (int i = 0; i < 10; i++)
        proa_json_text(&w, PROA_STR("abc"));
    proa_json_array_end(&w);
    assert_int_equal(out.error, PROA_ETOOLARGE);
    proa_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(a_document_of_all),
        bench_test(single_values),
        bench_test(invalid_text_is_replaced),
        bench_test(deep_nesting),
        bench_test(a_full_buffer_is_told_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
