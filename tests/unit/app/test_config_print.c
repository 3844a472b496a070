/* --help and --print-config as people see them. */
#include "unit.h"

#include <proa/config.h>
#include <string.h>

enum shade { SHADE_DARK, SHADE_LIGHT };
PROA_ENUM(shade, (SHADE_DARK, "dark"), (SHADE_LIGHT, "light"));

struct inner {
    uint32_t rows;
    bool fast;
};
PROA_DESCRIBE(inner, (rows, u32, .default_json = "3", .doc = "Rows kept"), (fast, boolean, .default_json = "true"));

struct outer {
    struct inner store;
    proa_str token;
    enum shade shade;
    PROA_OPTIONAL(double) ratio;
    PROA_ARRAY_OF(proa_str) hosts;
    struct proa_quantity size;
};
PROA_DESCRIBE(outer, (store, object(inner)), (token, str, .secret = true, .doc = "Of the service"),
              (shade, enumeration(shade), .default_json = "\"dark\""), (ratio, optional(f64)),
              (hosts, array(str), .default_json = "[\"a\"]"), (size, quantity, .default_json = "\"1Ki\""));

/* Another part with members in the same object. */
struct more {
    struct proa_duration wait;
};
PROA_DESCRIBE(more, (wait, duration, .default_json = "\"5s\""));
struct second {
    struct more store;
};
PROA_DESCRIBE(second, (store, object(more)));

static struct outer outer;
static struct second second;
static const struct proa_config_part parts[] = {{&outer_type.type, &outer}, {&second_type.type, &second}};

static void test_help(void **state)
{
    struct proa_buf out = {0};

    assert_int_equal(proa_config_help(&out, parts, PROA_COUNT(parts)), 0);
    proa_buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, "  --store.rows <integer>   [STORE_ROWS]\n"
                                 "       Rows kept. Default: 3.\n"
                                 "  --store.fast, --no-store.fast   [STORE_FAST]\n"
                                 "       Default: true.\n"
                                 "  --token <text>   [TOKEN, or TOKEN_FILE with a path]\n"
                                 "       Of the service. Required.\n"
                                 "  --shade <name>   [SHADE]\n"
                                 "       One of dark, light. Default: dark.\n"
                                 "  --ratio <number>   [RATIO]\n"
                                 "  --hosts <a,b,…>   [HOSTS]\n"
                                 "       Default: [\"a\"].\n"
                                 "  --size <bytes>   [SIZE]\n"
                                 "       Default: 1Ki.\n"
                                 "  --store.wait <duration>   [STORE_WAIT]\n"
                                 "       Default: 5s.\n");
    proa_buf_done(&out);
}

/* What is longer than a terminal's 80 columns goes on in the next line; a default and a variable stay whole. */
struct wide {
    proa_str words;
    proa_str certificate_of_the_authority_and_its_chain;
    bool empty;
};
PROA_DESCRIBE(
    wide,
    (words, str, .default_json = "\"as it is\"",
     .doc = "Of some length, so that it takes more than a line, and, behind it, so many words more…, as there are"),
    (certificate_of_the_authority_and_its_chain, str, .secret = true, .default_json = "\"\"", .doc = "PEM file"),
    (empty, boolean, .default_json = "false", .doc = "Whether it is so by the end of the very same line"));

static void test_help_of_long_texts(void **state)
{
    static struct wide wide;
    const struct proa_config_part part = {&wide_type.type, &wide};
    struct proa_buf out = {0};

    assert_int_equal(proa_config_help(&out, &part, 1), 0);
    proa_buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, "  --words <text>   [WORDS]\n"
                                 "       Of some length, so that it takes more than a line, and, behind it, so\n"
                                 "       many words more…, as there are. Default: as it is.\n"
                                 "  --certificate-of-the-authority-and-its-chain <text>\n"
                                 "       [CERTIFICATE_OF_THE_AUTHORITY_AND_ITS_CHAIN,\n"
                                 "       or CERTIFICATE_OF_THE_AUTHORITY_AND_ITS_CHAIN_FILE with a path]\n"
                                 "       PEM file.\n"
                                 "  --empty, --no-empty   [EMPTY]\n"
                                 "       Whether it is so by the end of the very same line. Default: false.\n");
    proa_buf_done(&out);
}

static void test_print(void **state)
{
    struct proa_arena arena;
    struct proa_buf out = {0};
    char *argv[] = {"program", "--no-store.fast", "--hosts", "x,y"};
    char *const env[] = {"TOKEN=hush", "SHADE=light", "RATIO=", NULL};
    struct proa_config_source source = {.argc = 4,
                                        .argv = argv,
                                        .env = env,
                                        .file = PROA_STR("store: {rows: 9}\nshade: dark\nsize: 2Mi\n"),
                                        .file_name = "f.yaml"};

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(proa_config_load(&arena, &source, parts, PROA_COUNT(parts), NULL), 0);
    assert_int_equal(proa_config_print(&out, &source, parts, PROA_COUNT(parts)), 0);
    proa_buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, "store:\n"
                                 "  rows: 9  # file\n"
                                 "  fast: false  # flag --store.fast\n"
                                 "  wait: \"5s\"  # default\n"
                                 "# token: \"***\"  # environment TOKEN\n"
                                 "shade: \"light\"  # environment SHADE\n"
                                 "ratio: null  # default\n"
                                 "hosts: [\"x\",\"y\"]  # flag --hosts\n"
                                 "size: 2097152  # file\n");
    proa_buf_done(&out);
    proa_arena_done(&arena);
}

/* What is printed is a file that gives the same again. */
static void test_print_reads_back(void **state)
{
    struct proa_arena arena;
    struct proa_buf first = {0}, again = {0};
    char *const env[] = {"TOKEN=hush", "RATIO=2.5", NULL};
    struct proa_config_source source = {.env = env};

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(proa_config_load(&arena, &source, parts, PROA_COUNT(parts), NULL), 0);
    assert_int_equal(proa_config_print(&first, &source, parts, PROA_COUNT(parts)), 0);
    /* but for secrets, which come from where they came from */
    source = (struct proa_config_source){
        .file = proa_buf_str(&first), .file_name = "printed", .env = (char *[]){"TOKEN=hush", NULL}};
    assert_int_equal(proa_config_load(&arena, &source, parts, PROA_COUNT(parts), NULL), 0);
    assert_int_equal(outer.store.rows, 3);
    assert_true(outer.ratio.presence == PROA_SET && outer.ratio.value == 2.5);
    assert_int_equal(outer.size.bytes, 1024);
    assert_int_equal(second.store.wait.ns, 5000000000);
    assert_int_equal(proa_config_print(&again, &source, parts, PROA_COUNT(parts)), 0);
    assert_true(proa_str_find(proa_buf_str(&again), PROA_STR("# file")) > 0);
    assert_true(proa_str_find(proa_buf_str(&again), PROA_STR("# default")) < 0);
    proa_buf_done(&first);
    proa_buf_done(&again);
    proa_arena_done(&arena);
}

struct upstream {
    proa_str url;
    proa_str password;
};
PROA_DESCRIBE(upstream, (url, str), (password, str, .secret = true));
struct upstreams {
    PROA_ARRAY_OF(struct upstream) list;
    PROA_MAP_OF(struct upstream) by_name;
    PROA_OPTIONAL(struct upstream) spare;
    PROA_OPTIONAL(struct upstream) none;
    PROA_ARRAY_OF(proa_str) keys;
    proa_str unset;
    PROA_ARRAY_OF(struct upstream) empty;
};
PROA_DESCRIBE(upstreams, (list, array(object(upstream))), (by_name, map(object(upstream))),
              (spare, optional(object(upstream))), (none, optional(object(upstream))),
              (keys, array(str), .secret = true), (unset, str, .secret = true, .default_json = "\"\""),
              (empty, array(object(upstream)), .default_json = "[]"));

/* At whatever depth they lie; and what was printed reads back. */
static void test_secrets_within(void **state)
{
    struct proa_arena arena;
    struct upstreams upstreams;
    const struct proa_config_part part = {&upstreams_type.type, &upstreams};
    struct proa_buf out = {0};
    struct proa_config_source source = {.file =
                                            PROA_STR("list: [{url: a, password: hush1}, {url: b, password: hush2}]\n"
                                                     "by_name: {x: {url: c, password: hush3}}\n"
                                                     "spare: {url: d, password: hush4}\n"
                                                     "keys: [hush5, hush6]\n")};

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(proa_config_load(&arena, &source, &part, 1, NULL), 0);
    assert_int_equal(proa_config_print(&out, &source, &part, 1), 0);
    proa_buf_add_char(&out, '\0');
    assert_string_equal(out.ptr,
                        "# list: [{\"url\":\"a\",\"password\":\"***\"},{\"url\":\"b\",\"password\":\"***\"}]  # file\n"
                        "# by_name: {\"x\":{\"url\":\"c\",\"password\":\"***\"}}  # file\n"
                        "# spare: {\"url\":\"d\",\"password\":\"***\"}  # file\n"
                        "none: null  # default\n"
                        "# keys: \"***\"  # file\n"
                        "unset: \"\"  # default\n"
                        "empty: []  # default\n");
    proa_buf_done(&out);
    proa_arena_done(&arena);
}

static void test_buffer_full(void **state)
{
    struct proa_buf out = {.max = 20};
    struct proa_config_source source = {0};

    assert_int_equal(proa_config_help(&out, parts, PROA_COUNT(parts)), PROA_ETOOLARGE);
    proa_buf_clear(&out);
    assert_int_equal(proa_config_print(&out, &source, parts, PROA_COUNT(parts)), PROA_ETOOLARGE);
    proa_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),           cmocka_unit_test(test_help_of_long_texts),
        cmocka_unit_test(test_print),          cmocka_unit_test(test_print_reads_back),
        cmocka_unit_test(test_secrets_within), cmocka_unit_test(test_buffer_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
