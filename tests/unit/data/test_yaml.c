/* YAML into JSON and structs, and JSON as YAML. */
#include "everything.h"

#include <proa/yaml.h>

static void becomes(struct bench *b, const char *yaml, const char *json)
{
    proa_str got;

    if (proa_yaml_to_json(&b->arena, proa_str_c(yaml), &got, &b->err) < 0)
        fail_msg("%s: %s", yaml, b->err.message);
    assert_str_is(got, json);
}

static void scalars(void **state)
{
    static const char *const cases[][2] = {
        {"a", "\"a\""},
        {"~", "null"},
        {"null", "null"},
        {"Null", "null"},
        {"", "null"},
        {"# nothing", "null"},
        {"---\n...\n", "null"},
        {"true", "true"},
        {"False", "false"},
        {"yes", "\"yes\""},
        {"on", "\"on\""},
        {"NO", "\"NO\""},
        {"12", "12"},
        {"-012", "-12"},
        {"+7", "7"},
        {"0o17", "15"},
        {"0x1F", "31"},
        {"0xffffffffffffffff", "18446744073709551615"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
        {"1.50", "1.50"},
        {".5", "0.5"},
        {"-.5e3", "-0.5e3"},
        {"1.", "1.0"},
        {"1.e+2", "1.0e+2"},
        {"007.5", "7.5"},
        {"1e3", "1e3"},
        {"1_000", "\"1_000\""},
        {"12:30", "\"12:30\""},
        {"2026-01-01", "\"2026-01-01\""},
        {"1.2.3", "\"1.2.3\""},
        {"-", "[null]"},
        {"'12'", "\"12\""},
        {"\"true\"", "\"true\""},
        {"\"\\u00e4\\n\\0\"", "\"\xc3\xa4\\n\\u0000\""},
        {"|\n  a\n  b\n", "\"a\\nb\\n\""},
        {">-\n  a\n  b\n", "\"a b\""},
        {"!!str 12", "\"12\""},
        {"! 12", "\"12\""},
        {"!!int 12", "12"},
        {"!!float 12", "12"},
        {"!!float 1.5", "1.5"},
        {"!!bool true", "true"},
        {"!!null ~", "null"},
    };

    for (size_t i = 0; i < PROA_COUNT(cases); i++)
        becomes(*state, cases[i][0], cases[i][1]);
}

static void collections(void **state)
{
    struct bench *b = *state;

    becomes(b, "a: 1\nb:\n- x\n- y: {z: [1, 2]}\n  w:\nc: {}\nd: []\n",
            "{\"a\":1,\"b\":[\"x\",{\"y\":{\"z\":[1,2]},\"w\":null}],\"c\":{},\"d\":[]}");
    becomes(b, "8080: a\ntrue: b\n~: c\n\"x y\": d\n? long\n: e\n",
            "{\"8080\":\"a\",\"true\":\"b\",\"~\":\"c\",\"x y\":\"d\",\"long\":\"e\"}");
    becomes(b, "- - 1\n  - 2\n- - 3\n", "[[1,2],[3]]");
    becomes(b, "!!map {a: !!seq [1]}", "{\"a\":[1]}");
    becomes(b, "a: &x {b: 1}\nc: *x\nd: [*x, *x]\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":[{\"b\":1},{\"b\":1}]}");
    becomes(b, "- &a 1\n- *a\n- &a 2\n- *a\n", "[1,1,2,2]");
    becomes(b, "- &k key\n- *k : 1\n- &n 5\n- {*n : 2}\n", "[\"key\",{\"key\":1},5,{\"5\":2}]");
    becomes(b, "- &o [&i x]\n- *i\n- *o\n", "[[\"x\"],\"x\",[\"x\"]]");
    becomes(b, "{\"json\": [1.0, \"\\ud83d\\ude00\"]}", "{\"json\": [1.0, \"\\ud83d\\ude00\"]}");
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *yaml;
        int code;
        const char *message;
    } cases[] = {
        {"a: 1\nb: 2\na: 3\n", PROA_ESYNTAX, "line 3, column 1: the key \"a\" is given twice"},
        {"x: {a: 1, 'a': 2}", PROA_ESYNTAX, "given twice"},
        {"a: [1, 2\n", PROA_ESYNTAX, "line 2"},
        {"a: b: c", PROA_ESYNTAX, "line 1, column 5"},
        {"\ta: 1", PROA_ESYNTAX, "line 1"},
        {"a: *x", PROA_ESYNTAX, "the alias *x names nothing"},
        {"&x [*x]", PROA_ESYNTAX, "within what it names"},
        {"? [a]\n: 1\n", PROA_ESYNTAX, "a key must be a scalar"},
        {"- &x [a]\n- *x : 1\n", PROA_ESYNTAX, "a key must be a scalar"},
        {"<<: {a: 1}", PROA_ESYNTAX, "merge keys"},
        {"!mine a", PROA_ESYNTAX, "the tag !mine"},
        {"!!binary AAAA", PROA_ESYNTAX, "does not fit its tag !!binary"},
        {"!!int x", PROA_ESYNTAX, "does not fit its tag"},
        {"!!bool 1", PROA_ESYNTAX, "does not fit its tag"},
        {"!!set {a}", PROA_ESYNTAX, "the tag"},
        {"!!map [a]", PROA_ESYNTAX, "the tag"},
        {".inf", PROA_ESYNTAX, "not finite"},
        {"a: -.Inf", PROA_ESYNTAX, "not finite"},
        {"0x10000000000000000", PROA_ESYNTAX, "64 bits"},
        {"a: 1\n---\nb: 2\n", PROA_ESYNTAX, "a second document"},
        {"\xff", PROA_ESYNTAX, "line"},
        {"a: \x01", PROA_ESYNTAX, "line"},
        {"\"\\ud800\"", PROA_ESYNTAX, "line 1"},
    };
    struct bench *b = *state;

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        proa_str json = PROA_STR("untouched");
        int rc = proa_yaml_to_json(&b->arena, proa_str_c(cases[i].yaml), &json, &b->err);

        if (rc != cases[i].code || !strstr(b->err.message, cases[i].message))
            fail_msg("%s: %d, %s", cases[i].yaml, rc, b->err.message);
        assert_str_is(json, "untouched");
        assert_int_equal(proa_yaml_to_json(&b->arena, proa_str_c(cases[i].yaml), &json, NULL), rc);
    }
}

static void bombs(void **state)
{
    struct bench *b = *state;
    struct proa_buf yaml;
    proa_str json;

    /* A billion laughs. */
    proa_buf_init(&yaml, &b->arena, 0);
    proa_buf_add_c(&yaml, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 12; i++) {
        proa_buf_printf(&yaml, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            proa_buf_printf(&yaml, "*a%d%s", i - 1, j < 9 ? "," : "]\n");
    }
    assert_int_equal(proa_yaml_to_json(&b->arena, proa_buf_str(&yaml), &json, &b->err), PROA_ETOOLARGE);
    /* Few nodes, many bytes. */
    proa_buf_clear(&yaml);
    proa_buf_add_c(&yaml, "- &a ");
    for (int i = 0; i < 100000; i++)
        proa_buf_add_char(&yaml, 'x');
    proa_buf_add_c(&yaml, "\n");
    for (int i = 0; i < 1000; i++)
        proa_buf_add_c(&yaml, "- *a\n");
    assert_int_equal(proa_yaml_to_json(&b->arena, proa_buf_str(&yaml), &json, &b->err), PROA_ETOOLARGE);
    /* Depth. */
    for (int levels = 64; levels <= 65; levels++) {
        proa_buf_clear(&yaml);
        for (int i = 0; i < levels; i++)
            proa_buf_add_c(&yaml, "- ");
        proa_buf_add_c(&yaml, "x");
        assert_int_equal(proa_yaml_to_json(&b->arena, proa_buf_str(&yaml), &json, &b->err),
                         levels == 64 ? 0 : PROA_ESYNTAX);
    }
    assert_non_null(strstr(b->err.message, "deeper than 64"));
}

/* Looked for one after the other, the first of them would be found after some billions of comparisons. */
static void many_anchors_stay_linear(void **state)
{
    enum { ANCHORS = 60000 };
    struct bench *b = *state;
    struct proa_buf yaml;
    proa_str json;

    proa_buf_init(&yaml, &b->arena, 0);
    for (int i = 0; i < ANCHORS; i++)
        proa_buf_printf(&yaml, "- &a%d x\n", i);
    for (int i = 0; i < ANCHORS; i++)
        proa_buf_add_c(&yaml, "- *a0\n");
    assert_int_equal(proa_yaml_to_json(&b->arena, proa_buf_str(&yaml), &json, &b->err), 0);
    assert_int_equal(json.len, 2 * ANCHORS * strlen("\"x\",") + 1);
    /* Of one name, the newest counts; of another document, none. */
    assert_int_equal(proa_yaml_to_json(&b->arena, PROA_STR("[&a 1, *a, &a 2, *a]"), &json, &b->err), 0);
    assert_str_is(json, "[1,1,2,2]");
    assert_int_equal(proa_yaml_to_json(&b->arena, PROA_STR("[&a 1, &a [*a]]"), &json, &b->err), PROA_ESYNTAX);
    assert_non_null(strstr(b->err.message, "stands within"));
    assert_int_equal(proa_yaml_to_json(&b->arena, PROA_STR("--- &a 1\n--- *a\n"), &json, &b->err), PROA_ESYNTAX);
    assert_non_null(strstr(b->err.message, "names nothing"));
}

static void many_keys_stay_linear(void **state)
{
    struct bench *b = *state;
    struct proa_buf yaml;
    proa_str json;

    proa_buf_init(&yaml, &b->arena, 0);
    for (int i = 0; i < 50000; i++)
        proa_buf_printf(&yaml, "key%d: 1\n", i);
    assert_int_equal(proa_yaml_to_json(&b->arena, proa_buf_str(&yaml), &json, &b->err), 0);
    proa_buf_add_c(&yaml, "key4711: 2\n");
    assert_int_equal(proa_yaml_to_json(&b->arena, proa_buf_str(&yaml), &json, &b->err), PROA_ESYNTAX);
    assert_non_null(strstr(b->err.message, "line 50001"));
}

static void documents(void **state)
{
    struct bench *b = *state;
    proa_str *json;
    size_t count;

    assert_int_equal(proa_yaml_documents(&b->arena, PROA_STR("a: 1\n---\n---\n- &x 2\n- *x\n---\n# none\n---\nnull\n"),
                                         &json, &count, &b->err),
                     0);
    assert_int_equal(count, 3);
    assert_str_is(json[0], "{\"a\":1}");
    assert_str_is(json[1], "[2,2]");
    assert_str_is(json[2], "null");
    assert_int_equal(proa_yaml_documents(&b->arena, PROA_STR(""), &json, &count, &b->err), 0);
    assert_int_equal(count, 0);
    assert_int_equal(proa_yaml_documents(&b->arena, PROA_STR("{\"a\": 1}"), &json, &count, &b->err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(proa_yaml_documents(&b->arena, PROA_STR("&x a\n---\n*x\n"), &json, &count, &b->err), PROA_ESYNTAX);
    assert_int_equal(proa_yaml_documents(&b->arena, PROA_STR("a: 1\n---\n["), &json, &count, &b->err), PROA_ESYNTAX);
}

static void structs(void **state)
{
    struct bench *b = *state;
    struct point p;

    assert_int_equal(proa_yaml_read(&b->arena, PROA_STR("x: 3\nlabel: abc\n"), 0, &point_type, &p, &b->err), 0);
    assert_int_equal(p.x, 3);
    assert_str_is(p.label.value, "abc");
    assert_int_equal(proa_yaml_read(&b->arena, PROA_STR("x: a\nz: 1\n"), 0, &point_type, &p, &b->err),
                     PROA_EVALIDATION);
    assert_string_equal(broken(b), "/x type;/z unknown;");
    assert_int_equal(proa_yaml_read(&b->arena, PROA_STR("x: ["), 0, &point_type, &p, &b->err), PROA_ESYNTAX);
}

static void written(struct bench *b, const char *json, const char *expected)
{
    struct proa_buf yaml;
    proa_str back;

    proa_buf_init(&yaml, &b->arena, 0);
    assert_int_equal(proa_json_to_yaml(proa_str_c(json), &yaml, &b->err), 0);
    if (expected)
        assert_str_is(proa_buf_str(&yaml), expected);
    if (proa_yaml_to_json(&b->arena, proa_buf_str(&yaml), &back, &b->err) < 0)
        fail_msg("%s: %s", yaml.ptr, b->err.message);
    assert_str_is(back, json);
}

static void json_as_yaml(void **state)
{
    struct bench *b = *state;
    struct proa_buf out;

    written(b, "{\"a\":1,\"b\":{\"c\":[1,[2,[]],{\"d\":{},\"e\":null}]},\"f g\":\"h i\"}",
            "a: 1\nb:\n  c:\n    - 1\n    - - 2\n      - []\n    - d: {}\n      e: null\nf g: h i\n");
    written(b,
            "[\"\",\"yes\",\"No\",\"null\",\"~\",\"1\",\"0x1\",\"1e3\",\".5\",\"- a\",\"a: b\",\"a #b\",\" a\",\"a "
            "\",\"*a\"]",
            NULL);
    written(b, "[\"true\",\"-\",\"?\",\":\",\"{\",\"<<\",\"!a\",\"%a\",\"@a\",\"'a'\",\"a\\nb\",\"\\u0001\",\"\\\\\"]",
            NULL);
    written(b, "{\"<<\":1,\"\":2,\"1\":3,\"true\":4}", NULL);
    written(b, "[\"\xc2\x85\xc2\xa0\x7f\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf\xef\xbf\xbe\xf0\x9f\x98\x80\xc3\xa4\"]",
            NULL);
    written(b, "[1.0,-0.5,1e300,18446744073709551615,-9223372036854775808,true,false,null]", NULL);
    written(b, "\"a\"", "a\n");
    written(b, "[]", "[]\n");
    written(b, "{}", "{}\n");
    written(b, "null", "null\n");
    proa_buf_init(&out, &b->arena, 0);
    assert_int_equal(proa_json_to_yaml(PROA_STR("{"), &out, &b->err), PROA_ESYNTAX);
    assert_int_equal(proa_json_to_yaml(PROA_STR("{\"a\":1,\"a\":1}"), &out, &b->err), PROA_EVALIDATION);
    proa_buf_init(&out, NULL, 4);
    assert_int_equal(proa_json_to_yaml(PROA_STR("[1,2,3,4,5]"), &out, &b->err), PROA_ETOOLARGE);
    proa_buf_done(&out);
}

static void long_keys(void **state)
{
    struct bench *b = *state;
    struct proa_buf json;

    for (size_t len = 500; len < 3000; len += 500) {
        proa_buf_init(&json, &b->arena, 0);
        proa_buf_add_c(&json, "{\"");
        for (size_t i = 0; i < len; i++)
            proa_buf_add_char(&json, 'k');
        proa_buf_add_c(&json, "\":{\"a\":[{\"b\":1}]},\"c\":\"");
        for (size_t i = 0; i < len; i++)
            proa_buf_add_char(&json, "k "[i % 2]);
        proa_buf_add_c(&json, "\"}");
        proa_buf_add_char(&json, '\0');
        written(b, json.ptr, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(scalars),
        bench_test(collections),
        bench_test(what_is_refused),
        bench_test(bombs),
        bench_test(many_keys_stay_linear),
        bench_test(many_anchors_stay_linear),
        bench_test(documents),
        bench_test(structs),
        bench_test(json_as_yaml),
        bench_test(long_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
