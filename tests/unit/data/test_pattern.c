/* Patterns: the subset, what it refuses, both ways of matching, linear time. */
#include "everything.h"

#include "data/pattern_internal.h"
#include <proa/pattern.h>

static bool matches(struct bench *b, const char *pattern, proa_str text)
{
    const struct proa_pattern *compiled;
    struct proa_pattern walked;
    bool found;

    if (proa_pattern_compile(&b->arena, proa_str_c(pattern), &compiled, &b->err) < 0)
        fail_msg("%s: %s", pattern, b->err.message);
    found = proa_pattern_matches(compiled, &b->arena, text);
    /* Both ways must agree. */
    walked = *compiled;
    walked.table = NULL;
    assert_int_equal(proa_pattern_matches(&walked, &b->arena, text), found);
    return found;
}

#define YES(pattern, text)                                                                                             \
    do {                                                                                                               \
        if (!matches(*state, pattern, PROA_STR(text)))                                                                 \
            fail_msg("%s should match \"%s\"", pattern, text);                                                         \
    } while (0)
#define NO(pattern, text)                                                                                              \
    do {                                                                                                               \
        if (matches(*state, pattern, PROA_STR(text)))                                                                  \
            fail_msg("%s should not match \"%s\"", pattern, text);                                                     \
    } while (0)

static void literals_and_anchors(void **state)
{
    YES("", "");
    YES("", "abc");
    YES("b", "abc");
    NO("d", "abc");
    YES("^abc$", "abc");
    NO("^abc$", "abcd");
    NO("^abc$", "xabc");
    YES("^a", "ab");
    NO("^b", "ab");
    YES("b$", "ab");
    NO("a$", "ab");
    YES("^$", "");
    NO("^$", "\n");
    YES("$^", "");
    NO("$^", "a");
    NO("a^b", "ab");
    NO("a$b", "ab");
    YES("(^|x)a", "a");
    YES("(^|x)a", "bxa");
    NO("(^|x)a", "ba");
    YES("a($|x)", "ba");
    NO("a($|x)", "ab");
    YES("a|b|", "zzz");
    YES("^(a|b|)$", "");
    YES("\\^\\$\\\\\\.\\*\\+\\?\\(\\)\\[\\]\\{\\}\\|\\/", "^$\\.*+?()[]{}|/");
    YES("^\\t\\n\\v\\f\\r$", "\t\n\v\f\r");
    YES("/-=~", "/-=~");
    YES("^\xc3\xa4$", "\xc3\xa4");
    NO("^\xc3\xa4$", "\xc3\xa5");
    NO("^\xc3\xa4$", "a");
}

static void classes(void **state)
{
    YES("^[a-c]+$", "abcabc");
    NO("^[a-c]+$", "abd");
    YES("^[^a-c]$", "d");
    YES("^[^a-c]$", "\xf0\x9f\x98\x80");
    NO("^[^a-c]$", "b");
    YES("^[-a]$", "-");
    YES("^[a-]$", "-");
    YES("^[a\\-z]$", "-");
    NO("^[a\\-z]$", "b");
    YES("^[\\]\\[\\\\^]+$", "][\\^");
    YES("^[[]$", "[");
    YES("^[.*+?(){}|$/]+$", ".*+?(){}|$/");
    YES("^[\\d\\w_-]+$", "azAZ09_-");
    NO("^[\\d]$", "\xd9\xa3"); /* an Arabic digit */
    YES("^[^\\D]$", "7");
    YES("^[\\D]$", "x");
    YES("^\\d\\D\\w\\W\\s\\S$", "1xa- a");
    NO("^\\w$", "\xc3\xa4");
    YES("^\\W$", "\xc3\xa4");
    YES("^[\\s]+$", " \t\n\v\f\r");
    YES("^.$", "\xe2\x82\xac");
    NO("^.$", "\n");
    NO("^.$", "\r");
    NO("^.$", "\xe2\x80\xa8");
    YES("^[\xce\xb1-\xcf\x89]+$", "\xce\xb2\xcf\x88");
    NO("^[\xce\xb1-\xcf\x89]+$", "b");
    YES("^[a-z\xc3\xa4]+[^\xc3\xa4]$", "b\xc3\xa4x");
}

static void repetition(void **state)
{
    YES("^a*$", "");
    YES("^a*$", "aaa");
    NO("^a+$", "");
    YES("^a?b$", "b");
    NO("^a?b$", "aab");
    YES("^a{3}$", "aaa");
    NO("^a{3}$", "aa");
    NO("^a{3}$", "aaaa");
    YES("^a{2,}$", "aaaa");
    NO("^a{2,}$", "a");
    YES("^a{0}$", "");
    NO("^a{0}$", "a");
    YES("^a{1,3}$", "aa");
    NO("^a{1,3}$", "aaaa");
    YES("^(ab|c){2}$", "abc");
    YES("^(?:a*)*$", "aaa");
    YES("^(?:a*)+b$", "aab");
    YES("^(a|b*)*c$", "abbac");
    YES("^()*$", "");
    YES("^(a{2}){3}$", "aaaaaa");
    NO("^(a{2}){3}$", "aaaaa");
    YES("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "my-host-01");
    NO("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "my-host-");
    YES("(x+x+)+y", "xxxxxxxxxxy");
    NO("(x+x+)+y", "xxxxxxxxxx");
    YES("^(a?){20}a{20}$", "aaaaaaaaaaaaaaaaaaaa");
    YES("^.{1,256}$", "x");
    YES("^[01]*1[01]{12}$", "0000001000000000000");
    NO("^[01]*1[01]{12}$", "0000000000000000000");
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *pattern;
        int code;
        const char *message;
    } cases[] = {
        {"(", PROA_ESYNTAX, "at byte 2"},
        {")", PROA_ESYNTAX, "a group ends"},
        {"a)b", PROA_ESYNTAX, "at byte 2"},
        {"(a", PROA_ESYNTAX, "no end"},
        {"[a", PROA_ESYNTAX, "no end"},
        {"[]", PROA_ESYNTAX, "empty class"},
        {"[^]", PROA_ESYNTAX, "empty class"},
        {"[]a]", PROA_ESYNTAX, "empty class"},
        {"[z-a]", PROA_ESYNTAX, "below its start"},
        {"[\\w-a]", PROA_ESYNTAX, "shorthand"},
        {"[a-\\w]", PROA_ESYNTAX, "shorthand"},
        {"[[:alpha:]]", PROA_ESYNTAX, "POSIX"},
        {"*a", PROA_ESYNTAX, "nothing here"},
        {"a|*", PROA_ESYNTAX, "nothing here"},
        {"(?)", PROA_ESYNTAX, "only"},
        {"(+)", PROA_ESYNTAX, "nothing here"},
        {"a**", PROA_ESYNTAX, "doubled"},
        {"a+?", PROA_ESYNTAX, "lazy"},
        {"a++", PROA_ESYNTAX, "possessive"},
        {"a{2}{3}", PROA_ESYNTAX, "doubled"},
        {"^*", PROA_ESYNTAX, "cannot be repeated"},
        {"${2}", PROA_ESYNTAX, "cannot be repeated"},
        {"a{", PROA_ESYNTAX, "a number"},
        {"a{,2}", PROA_ESYNTAX, "a number"},
        {"a{x}", PROA_ESYNTAX, "a number"},
        {"a{2", PROA_ESYNTAX, "no end"},
        {"a{2,1}", PROA_ESYNTAX, "below its minimum"},
        {"a{257}", PROA_ETOOLARGE, "256"},
        {"a{1,99999999999999999999}", PROA_ETOOLARGE, "256"},
        {"{", PROA_ESYNTAX, "escaped"},
        {"}", PROA_ESYNTAX, "escaped"},
        {"]", PROA_ESYNTAX, "escaped"},
        {"\\", PROA_ESYNTAX, "escape"},
        {"\\b", PROA_ESYNTAX, "escape"},
        {"\\B", PROA_ESYNTAX, "escape"},
        {"\\1", PROA_ESYNTAX, "escape"},
        {"\\p{L}", PROA_ESYNTAX, "escape"},
        {"\\x41", PROA_ESYNTAX, "escape"},
        {"\\u0041", PROA_ESYNTAX, "escape"},
        {"\\a", PROA_ESYNTAX, "escape"},
        {"\\-", PROA_ESYNTAX, "escape"},
        {"[\\b]", PROA_ESYNTAX, "escape"},
        {"(?=a)", PROA_ESYNTAX, "only"},
        {"(?!a)", PROA_ESYNTAX, "only"},
        {"(?<=a)", PROA_ESYNTAX, "only"},
        {"(?<n>a)", PROA_ESYNTAX, "only"},
        {"(?P<n>a)", PROA_ESYNTAX, "only"},
        {"(?i)a", PROA_ESYNTAX, "only"},
        {"a\xff", PROA_ESYNTAX, "UTF-8"},
        {"(a{256}){256}", PROA_ETOOLARGE, "states"},
        {"((((((((()){256}){256}){256}){256}){256}){256}){256}){256}", PROA_ETOOLARGE, "states"},
    };
    struct bench *b = *state;

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        const struct proa_pattern *compiled = NULL;
        int rc = proa_pattern_compile(&b->arena, proa_str_c(cases[i].pattern), &compiled, &b->err);

        if (rc != cases[i].code || !strstr(b->err.message, cases[i].message))
            fail_msg("%s: %d, %s", cases[i].pattern, rc, b->err.message);
        assert_null(compiled);
    }
}

static void nesting_is_bounded(void **state)
{
    struct bench *b = *state;
    const struct proa_pattern *compiled;
    struct proa_buf text;

    for (int levels = 32; levels <= 33; levels++) {
        proa_buf_init(&text, &b->arena, 0);
        for (int i = 0; i < levels; i++)
            proa_buf_add_char(&text, '(');
        for (int i = 0; i < levels; i++)
            proa_buf_add_c(&text, ")?");
        assert_int_equal(proa_pattern_compile(&b->arena, proa_buf_str(&text), &compiled, &b->err),
                         levels == 32 ? 0 : PROA_ETOOLARGE);
    }
    proa_buf_clear(&text);
    for (int i = 0; i < 4000; i++)
        proa_buf_add_c(&text, "ab"[i % 2] == 'a' ? "a" : "b");
    assert_int_equal(proa_pattern_compile(&b->arena, proa_buf_str(&text), &compiled, &b->err), 0);
    assert_true(proa_pattern_matches(compiled, &b->arena, proa_buf_str(&text)));
}

static void small_patterns_have_a_table(void **state)
{
    struct bench *b = *state;
    const struct proa_pattern *compiled;

    assert_int_equal(proa_pattern_compile(&b->arena, PROA_STR("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), &compiled, &b->err),
                     0);
    assert_non_null(compiled->table);
    assert_int_equal(proa_pattern_compile(&b->arena, PROA_STR("[01]*1[01]{12}$"), &compiled, &b->err), 0);
    assert_null(compiled->table); /* 2^13 states */
}

static void time_is_linear(void **state)
{
    struct bench *b = *state;
    struct proa_buf text = {0};
    const char *const bad[] = {"^(a+)+$", "(a*)*b", "^(a|a)*$", "(.*)(.*)(.*)(.*)=x", "^(([a-z])+.)+[A-Z]([a-z])+$"};

    for (int i = 0; i < 50000; i++)
        proa_buf_add_char(&text, 'a');
    proa_buf_add_char(&text, '!');
    for (size_t i = 0; i < PROA_COUNT(bad); i++)
        assert_false(matches(b, bad[i], proa_buf_str(&text)));
    proa_buf_done(&text);
}

static void invalid_text_does_no_harm(void **state)
{
    struct bench *b = *state;

    assert_true(matches(b, "^..$", PROA_STR("\xff\xfe")));
    assert_true(matches(b, "^[^a]{3}$",
                        PROA_STR("\xe2\x82"
                                 "b")));
    assert_true(matches(b, "^\xef\xbf\xbd$", PROA_STR("\xff")));
}

static void memory_that_is_out(void **state)
{
    for (size_t max = 16; max < 8192; max += 48) {
        struct proa_arena arena;
        const struct proa_pattern *compiled;
        int rc;

        proa_arena_init(&arena, NULL, max);
        rc = proa_pattern_compile(&arena, PROA_STR("^[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?$"), &compiled, NULL);
        assert_true(rc == 0 || rc == PROA_ENOMEM);
        proa_arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(literals_and_anchors), bench_test(classes),
        bench_test(repetition),           bench_test(what_is_refused),
        bench_test(nesting_is_bounded),   bench_test(small_patterns_have_a_table),
        bench_test(time_is_linear),       bench_test(invalid_text_does_no_harm),
        bench_test(memory_that_is_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
