/* Forms of lines: what they write is what proa_log_line does, and what they cannot write they leave to it. */
#include "unit.h"

#include "obs/export_queue.h"
#include "obs/log_form.h"
#include "obs/log_record.h"
#include <fcntl.h>
#include <proa/random.h>
#include <stdlib.h>
#include <unistd.h>

static struct proa_log *log_;
static struct proa_logger logger;
static int reader, writer;
static char text[64 * 1024];
static proa_time_ns now;

static const struct proa_kv service[] = {{.key = "service.name", .kind = PROA_KV_STR, .as.str = {"users", 5}},
                                         {.key = "number", .kind = PROA_KV_U64, .as.u64 = 7}};
static const struct proa_trace_ids ids = {.trace_id = {0x0a, 0xf7, [15] = 0x9c}, .span_id = {0xb7, [7] = 0x31}};

static proa_time_ns wall(void *arg)
{
    return now;
}

static void open_log(enum proa_log_format format)
{
    static const struct proa_logger outer = {.fields = service, .fields_count = PROA_COUNT(service)};
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    reader = fds[0];
    writer = fds[1];
    now = 1767323045678901234; /* 2026-01-02T03:04:05.678901234Z */
    assert_int_equal(
        proa_log_new(&(struct proa_log_options){.fd = writer, .format = format, .wall = wall, .synchronous = true},
                     &log_, NULL),
        0);
    logger = (struct proa_logger){.log = log_, .target = "http.access", .parent = &outer};
}

static void close_log(void)
{
    proa_log_free(log_);
    close(reader);
    close(writer);
}

static proa_str read_lines(void)
{
    ssize_t got = read(reader, text, sizeof text);

    return proa_str_n(text, got > 0 ? (size_t)got : 0);
}

static void assert_text(proa_str got, proa_str expected)
{
    assert_int_equal(got.len, expected.len);
    assert_memory_equal(got.ptr, expected.ptr, expected.len);
}

static const struct log_form_field fields[] = {
    {{.key = "method", .kind = PROA_KV_STR, .as.str = {"GET", 3}}, LOG_FORM_CONSTANT},
    {{.key = "url.path"}, LOG_FORM_TEXT},
    {{.key = "status", .kind = PROA_KV_U64, .as.u64 = 200}, LOG_FORM_CONSTANT},
    {{.key = "size"}, LOG_FORM_NUMBER},
    {{.key = "duration_ms"}, LOG_FORM_THOUSANDTHS},
    {{.key = "peer"}, LOG_FORM_TEXT},
};

static int form_of(const struct log_form_field *of, uint32_t count, proa_str message, struct log_form **ret_form)
{
    return log_form_new(
        &(struct log_form_options){
            .logger = &logger, .level = PROA_LOG_INFO, .message = message, .fields = of, .count = count},
        ret_form);
}

static struct log_form *form_new(void)
{
    struct log_form *form;

    assert_int_equal(form_of(fields, PROA_COUNT(fields), PROA_STR("request"), &form), 0);
    return form;
}

/* The same line in the usual way. */
static void log_usually(const union log_form_value *values)
{
    struct proa_logger own = logger;

    own.ids = &ids;
    PROA_INFO(&own, "request", proa_kv_c("method", "GET"), proa_kv_str("url.path", values[0].text),
              proa_kv_u64("status", 200), proa_kv_u64("size", values[1].number),
              proa_kv_f64("duration_ms", (double)values[2].number / 1000), proa_kv_str("peer", values[3].text));
}

/* @returns whether the form wrote it. */
static bool compare(struct log_form *form, const union log_form_value *values)
{
    char by_form[8192];
    bool is_put = log_form_put(form, &ids, values);
    proa_str got = read_lines();
    size_t len = got.len;

    assert_true(is_put == (len > 0));
    if (!is_put)
        return false;
    assert_true(len < sizeof by_form);
    memcpy(by_form, got.ptr, len);
    log_usually(values);
    got = read_lines();
    assert_text(got, proa_str_n(by_form, len));
    return true;
}

static void test_a_line(void **state)
{
    struct log_form *form;
    const union log_form_value values[] = {
        {.text = PROA_STR("/users/7")}, {.number = 123}, {.number = 4050}, {.text = PROA_STR("192.0.2.1:80")}};

    open_log(PROA_LOG_FORMAT_JSON);
    form = form_new();
    assert_true(log_form_put(form, &ids, values));
    assert_text(read_lines(),
                PROA_STR("{\"time\":\"2026-01-02T03:04:05.678901Z\",\"level\":\"info\",\"target\":\"http.access\","
                         "\"message\":\"request\",\"trace_id\":\"0af7000000000000000000000000009c\","
                         "\"span_id\":\"b700000000000031\",\"service.name\":\"users\",\"number\":7,"
                         "\"method\":\"GET\",\"url.path\":\"/users/7\",\"status\":200,\"size\":123,"
                         "\"duration_ms\":4.05,\"peer\":\"192.0.2.1:80\"}\n"));
    log_form_free(form);
    log_form_free(NULL);
    close_log();
}

static void test_values(void **state)
{
    static char path[2000];
    static const char *const odd[] = {"a\"b", "\\", "\n", "\x7f", "\xc3\xa4", "1234567890123456\x01", "\xff"};
    struct log_form *form;
    union log_form_value values[] = {{.text = {path, 0}}, {0}, {0}, {.text = PROA_STR("p")}};

    open_log(PROA_LOG_FORMAT_JSON);
    form = form_new();
    memset(path, 'x', sizeof path);
    for (size_t len = 0; len < sizeof path; len++) {
        values[0].text.len = len;
        assert_true(compare(form, values) == (len <= 1024));
    }
    values[0].text.len = 1024;
    values[3].text = proa_str_n(path, 1024);
    assert_true(compare(form, values));
    values[3].text = PROA_STR("p");
    for (size_t i = 0; i < PROA_COUNT(odd); i++) {
        values[0].text = proa_str_c(odd[i]);
        assert_false(compare(form, values));
    }
    values[0].text = PROA_STR("/");
    for (uint64_t number = 1; number < UINT64_MAX / 10; number *= 10) {
        values[1].number = number;
        values[2].number = number % 1000000000;
        assert_true(compare(form, values));
        values[1].number = number - 1;
        values[2].number = (number - 1) % 1000000000;
        assert_true(compare(form, values));
    }
    values[1].number = UINT64_MAX;
    for (uint64_t i = 0; i < 3000; i++) {
        values[2].number = i;
        assert_true(compare(form, values));
    }
    values[2].number = 1000000000;
    assert_false(compare(form, values));
    log_form_free(form);
    close_log();
}

/* Near a line's end values are cut, which is not for forms. */
static void test_room(void **state)
{
    static const struct log_form_field texts[] = {
        {{.key = "a"}, LOG_FORM_TEXT}, {{.key = "b"}, LOG_FORM_TEXT}, {{.key = "c"}, LOG_FORM_TEXT}};
    static char long_text[1024];
    union log_form_value values[3];
    struct log_form *form;
    size_t most = 0;

    open_log(PROA_LOG_FORMAT_JSON);
    assert_int_equal(form_of(texts, 3, PROA_STR("m"), &form), 0);
    memset(long_text, 'x', sizeof long_text);
    for (size_t len = 0; len <= sizeof long_text; len++) {
        for (size_t i = 0; i < 3; i++)
            values[i].text = proa_str_n(long_text, len);
        if (log_form_put(form, &ids, values))
            most = len;
        else
            break;
        assert_true(read_lines().len > 3 * len);
    }
    assert_true(most > 700 && most < 1000);
    log_form_free(form);
    close_log();
}

static void test_times(void **state)
{
    struct proa_prng prng;
    struct log_form *form;
    const union log_form_value values[] = {
        {.text = PROA_STR("/")}, {.number = 1}, {.number = 1}, {.text = PROA_STR("p")}};

    open_log(PROA_LOG_FORMAT_JSON);
    form = form_new();
    proa_prng_seed(&prng, 1);
    for (int i = 0; i < 5000; i++) {
        now += (proa_time_ns)proa_prng_below(&prng, i % 2 ? 1000000000 : UINT64_C(86400000000000) * 40);
        assert_true(compare(form, values));
    }
    now = 999999999;
    assert_true(compare(form, values));
    now = -1;
    assert_false(compare(form, values));
    log_form_free(form);
    close_log();
}

static void ignore(void *arg)
{
}

static void test_who_wants_it(void **state)
{
    struct log_form *form;
    struct export_queue *queue;
    const struct proa_trace_ids none = {0};
    const union log_form_value values[] = {
        {.text = PROA_STR("/")}, {.number = 1}, {.number = 1}, {.text = PROA_STR("p")}};

    open_log(PROA_LOG_FORMAT_JSON);
    form = form_new();
    assert_true(compare(form, values));
    assert_int_equal(proa_log_set_filter(log_, "info,http.access=warn", NULL), 0);
    assert_true(log_form_put(form, &ids, values)); /* nobody wants it, so nobody is to write it */
    assert_int_equal(read_lines().len, 0);
    assert_int_equal(proa_log_set_filter(log_, "info", NULL), 0);
    assert_true(compare(form, values));
    assert_false(log_form_put(form, &none, values));
    assert_int_equal(log_export_to(log_, 10, &queue, NULL), 0);
    assert_true(compare(form, values));
    export_attach(queue, 1, ignore, NULL);
    assert_false(log_form_put(form, &ids, values));
    assert_int_equal(read_lines().len, 0);
    log_form_free(form);
    close_log();
}

static void test_what_has_no_form(void **state)
{
    static char long_text[1100];
    const struct log_form_field repeated[] = {{proa_kv_u64("a", 1), LOG_FORM_CONSTANT}, {{.key = "a"}, LOG_FORM_TEXT}};
    const struct log_form_field inherited[] = {{{.key = "number"}, LOG_FORM_NUMBER}};
    const struct log_form_field reserved[] = {{{.key = "time"}, LOG_FORM_TEXT}};
    const struct log_form_field escaped[] = {{proa_kv_c("a", "\n"), LOG_FORM_CONSTANT}};
    struct log_form_field many[LOG_FORM_VALUES_MAX + 1];
    static const char keys[] = "abcdefghijklm";
    char names[PROA_COUNT(many)][2];
    struct log_form *form;

    memset(long_text, 'x', sizeof long_text - 1);
    open_log(PROA_LOG_FORMAT_JSON);
    assert_int_equal(form_of(repeated, 2, PROA_STR("m"), &form), PROA_EUNSUPPORTED);
    assert_int_equal(form_of(inherited, 1, PROA_STR("m"), &form), PROA_EUNSUPPORTED);
    assert_int_equal(form_of(reserved, 1, PROA_STR("m"), &form), PROA_EUNSUPPORTED);
    assert_int_equal(form_of(escaped, 1, PROA_STR("m"), &form), PROA_EUNSUPPORTED);
    assert_int_equal(form_of(fields, PROA_COUNT(fields), PROA_STR("\""), &form), PROA_EUNSUPPORTED);
    assert_int_equal(form_of(fields, PROA_COUNT(fields), proa_str_c(long_text), &form), PROA_EUNSUPPORTED);
    for (size_t i = 0; i < PROA_COUNT(many); i++) {
        names[i][0] = keys[i];
        names[i][1] = '\0';
        many[i] = (struct log_form_field){{.key = names[i]}, LOG_FORM_NUMBER};
    }
    assert_int_equal(form_of(many, LOG_FORM_VALUES_MAX + 1, PROA_STR("m"), &form), PROA_EUNSUPPORTED);
    assert_int_equal(form_of(many, LOG_FORM_VALUES_MAX, PROA_STR("m"), &form), 0);
    log_form_free(form);
    close_log();
    open_log(PROA_LOG_FORMAT_TEXT);
    assert_int_equal(form_of(fields, PROA_COUNT(fields), PROA_STR("m"), &form), PROA_EUNSUPPORTED);
    close_log();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line), cmocka_unit_test(test_values),       cmocka_unit_test(test_room),
        cmocka_unit_test(test_times),  cmocka_unit_test(test_who_wants_it), cmocka_unit_test(test_what_has_no_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
