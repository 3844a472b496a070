/* The splitter: every cut of lists and streams gives the same parts; what is no list or too large is refused. */
#include "kube/splitter.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

struct parts {
    struct proa_buf text; /* "I:{…}\n" and "M:{…}\n" */
    int result;           /* of `found` */
};

static int found(void *arg, enum splitter_part part, proa_str text)
{
    struct parts *parts = arg;

    if (part == SPLIT_TOO_LARGE) {
        proa_buf_add_c(&parts->text, "L\n");
        assert_true(text.len > 0 && proa_str_starts_with(PROA_STR("{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaa\"}"), text));
        return parts->result;
    }
    proa_buf_printf(&parts->text, "%c:" PROA_FMT "\n", part == SPLIT_ITEM ? 'I' : 'M', PROA_ARG(text));
    return parts->result;
}

/* In pieces of `first` bytes and the rest, or byte by byte when it is 0; each piece a block of its own. @returns the last code. */
static int split(enum splitter_mode mode, proa_str text, size_t first, uint32_t max, struct parts *parts,
                 bool *ret_whole, struct proa_error *err)
{
    struct splitter splitter;
    int rc = 0;

    splitter_init(&splitter, mode, max, found, parts);
    for (size_t at = 0, next; at < text.len && rc == 0; at = next) {
        char *copy;

        next = first == 0 ? at + 1 : at == 0 && first < text.len ? first : text.len;
        copy = malloc(next - at);
        assert_non_null(copy);
        memcpy(copy, text.ptr + at, next - at);
        rc = splitter_feed(&splitter, proa_str_n(copy, next - at), err);
        free(copy);
    }
    *ret_whole = splitter_is_whole(&splitter);
    splitter_done(&splitter);
    return rc;
}

static void expect_cuts_within(uint32_t max, enum splitter_mode mode, const char *text, const char *expected)
{
    for (size_t first = 0; first <= strlen(text); first++) {
        struct parts parts = {{0}, 0};
        bool whole;

        assert_int_equal(split(mode, proa_str_c(text), first, max, &parts, &whole, NULL), 0);
        assert_true(whole);
        proa_buf_add_char(&parts.text, '\0');
        assert_string_equal(parts.text.ptr, expected);
        proa_buf_done(&parts.text);
    }
}

static void expect_cuts(enum splitter_mode mode, const char *text, const char *expected)
{
    expect_cuts_within(1000, mode, text, expected);
}

/* What is too large is left out, and what comes behind it is found. */
static void test_large(void **state)
{
    expect_cuts_within(20, SPLIT_STREAM,
                       "{}{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaa\"}{\"b\":1}\n{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaa\"}",
                       "I:{}\nL\nI:{\"b\":1}\nL\n");
    expect_cuts_within(
        20, SPLIT_LIST,
        "{\"items\":[{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaa\"},{\"b\":{}},{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaa\"}],"
        "\"metadata\":{\"c\":1}}",
        "L\nI:{\"b\":{}}\nL\nM:{\"c\":1}\n");
}

static void test_list(void **state)
{
    expect_cuts(
        SPLIT_LIST,
        "{\"kind\":\"PodList\",\"x\":{\"items\":[{\"no\":1}],\"metadata\":{}}, \"metadata\" : {\"a\":\"}\\\"]\"},"
        "\"items\" : [ {\"a\":{\"items\":[1]}} ,{}, {\"metadata\":{\"name\":\"{\\\\\"}} ]}\n",
        "M:{\"a\":\"}\\\"]\"}\nI:{\"a\":{\"items\":[1]}}\nI:{}\nI:{\"metadata\":{\"name\":\"{\\\\\"}}\n");
    expect_cuts(SPLIT_LIST, "{\"items\":[{\"a\":1}],\"metadata\":{\"continue\":\"x\"}}",
                "I:{\"a\":1}\nM:{\"continue\":\"x\"}\n");
    expect_cuts(SPLIT_LIST, "{\"metadata\":{},\"items\":[],\"items2\":[{\"a\":1}],\"more-than-sixteen-items\":[{}]}",
                "M:{}\n");
    expect_cuts(SPLIT_LIST, "{\"items\":null,\"metadata\":{\"items\":[{}]},\"v\":\"items\",\"w\":[[{}]]}",
                "M:{\"items\":[{}]}\n");
}

static void test_stream(void **state)
{
    expect_cuts(SPLIT_STREAM, "{\"type\":\"ADDED\",\"object\":{\"a\":[{}]}}\n{\"b\":\"\\\\\"}\r\n {}{\"c\":1}",
                "I:{\"type\":\"ADDED\",\"object\":{\"a\":[{}]}}\nI:{\"b\":\"\\\\\"}\nI:{}\nI:{\"c\":1}\n");
}

static void expect_error(enum splitter_mode mode, const char *text, int code, const char *message)
{
    for (size_t first = 0; first <= strlen(text); first++) {
        struct parts parts = {{0}, 0};
        struct proa_error err = {0};
        bool whole;

        assert_int_equal(split(mode, proa_str_c(text), first, 20, &parts, &whole, &err), code);
        assert_non_null(strstr(err.message, message));
        proa_buf_done(&parts.text);
    }
}

static void test_hostile(void **state)
{
    char deep[600];

    expect_error(SPLIT_LIST, "<html>", PROA_EPROTOCOL, "no JSON");
    expect_error(SPLIT_STREAM, "{}]", PROA_EPROTOCOL, "a bracket too many");
    expect_error(SPLIT_LIST, "{\"metadata\":{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaa\"}}", PROA_ETOOLARGE,
                 "larger than 20 bytes");
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    deep[0] = '{';
    {
        struct parts parts = {{0}, 0};
        bool whole;

        assert_int_equal(split(SPLIT_LIST, proa_str_c(deep), 7, 10000, &parts, &whole, NULL), PROA_EPROTOCOL);
        assert_false(whole);
    }
}

/* Cut off at any byte a list is not whole. */
static void test_cut_off(void **state)
{
    const char *text = "{\"metadata\":{\"a\":\"b\"},\"items\":[{\"a\":1}]}";

    for (size_t len = 1; len <= strlen(text); len++) {
        struct parts parts = {{0}, 0};
        bool whole;

        assert_int_equal(split(SPLIT_LIST, proa_str_n(text, len), 0, 1000, &parts, &whole, NULL), 0);
        assert_int_equal(whole, len == strlen(text));
        proa_buf_done(&parts.text);
    }
}

/* The caller's refusal ends it. */
static void test_refused(void **state)
{
    struct parts parts = {{0}, PROA_EFORBIDDEN};
    bool whole;

    assert_int_equal(split(SPLIT_STREAM, PROA_STR("{}{}"), 0, 1000, &parts, &whole, NULL), PROA_EFORBIDDEN);
    assert_int_equal(parts.text.len, 5);
    proa_buf_done(&parts.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),  cmocka_unit_test(test_stream),  cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_large), cmocka_unit_test(test_cut_off), cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
